/* The sampler: steps one by one, shares of draws, and the sequence that a seed gives everywhere. */
#include <math.h>
#include <stdio.h>

#include "support/support.h"
#include "uqff/validation.h"

static struct uqff_sampler *make(const struct uqff_sampler_options *options) {
    struct uqff_error err;
    struct uqff_sampler *sampler = NULL;
    assert_ok(uqff_sampler_new(options, &sampler, &err), &err);
    return sampler;
}

static uint32_t choose(struct uqff_sampler *sampler, const float *logits, size_t count) {
    struct uqff_error err;
    uint32_t token = 0;
    assert_ok(uqff_sampler_choose(sampler, logits, count, &token, &err), &err);
    return token;
}

static void test_greedy(void **state) {
    (void)state;
    static const float logits[] = {1, 3, -2, 3, 0};
    struct uqff_sampler *sampler = make(&(struct uqff_sampler_options){.temperature = 0});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(choose(sampler, logits, 5), 1); /* the first of equals */
    }
    uqff_sampler_free(sampler);
    uqff_sampler_free(NULL);
}

static void test_penalty(void **state) {
    (void)state;
    static const float logits[] = {-1, 3, 2.9f, 2.5f, -1.5f};
    struct uqff_sampler *sampler =
        make(&(struct uqff_sampler_options){.repeat_penalty = 1.25, .repeat_last = 2});
    assert_int_equal(choose(sampler, logits, 5), 1);
    assert_int_equal(choose(sampler, logits, 5), 2);
    assert_int_equal(choose(sampler, logits, 5), 3);
    assert_int_equal(choose(sampler, logits, 5), 1); /* forgotten by now */
    uqff_sampler_free(sampler);
    /* Below zero it multiplies, once for a token that came twice; unknown ids are no harm. */
    static const float negative[] = {-1, -1.5f};
    sampler = make(&(struct uqff_sampler_options){.repeat_penalty = 1.4});
    uqff_sampler_accept(sampler, 0);
    uqff_sampler_accept(sampler, 0);
    uqff_sampler_accept(sampler, 77);
    assert_int_equal(choose(sampler, negative, 2), 0);
    uqff_sampler_free(sampler);
}

/* How often each of 4 tokens is drawn in 20000. */
static void count_draws(const struct uqff_sampler_options *options, const float *logits,
                        size_t counts[4]) {
    struct uqff_sampler *sampler = make(options);
    memset(counts, 0, 4 * sizeof *counts);
    for (int i = 0; i < 20000; i++) {
        counts[choose(sampler, logits, 4)]++;
    }
    uqff_sampler_free(sampler);
}

static void assert_near(size_t found, double expected) {
    assert_in_range(found, (size_t)(20000 * expected) - 400, (size_t)(20000 * expected) + 400);
}

static void test_shares(void **state) {
    (void)state;
    /* Shares of 0.1, 0.4, 0.2 and 0.3. */
    const float logits[] = {logf(0.1f), logf(0.4f), logf(0.2f), logf(0.3f)};
    size_t counts[4];
    count_draws(&(struct uqff_sampler_options){.temperature = 1, .seed = 3}, logits, counts);
    assert_near(counts[0], 0.1);
    assert_near(counts[1], 0.4);
    assert_near(counts[2], 0.2);
    assert_near(counts[3], 0.3);
    count_draws(&(struct uqff_sampler_options){.temperature = 1, .top_k = 2, .seed = 3}, logits,
                counts);
    assert_near(counts[1], 4.0 / 7);
    assert_near(counts[3], 3.0 / 7);
    count_draws(&(struct uqff_sampler_options){.temperature = 1, .top_p = 0.8, .seed = 3}, logits,
                counts);
    assert_int_equal(counts[0], 0);
    assert_near(counts[2], 2.0 / 9);
    count_draws(&(struct uqff_sampler_options){.temperature = 1, .min_p = 0.6, .seed = 3}, logits,
                counts);
    assert_int_equal(counts[0] + counts[2], 0);
    assert_near(counts[3], 3.0 / 7);
    count_draws(&(struct uqff_sampler_options){.temperature = 0.5, .seed = 3}, logits, counts);
    assert_near(counts[1], 16.0 / 30);
    count_draws(&(struct uqff_sampler_options){.temperature = 1e-9, .seed = 3}, logits, counts);
    assert_int_equal(counts[1], 20000);
}

/* The order among many candidates does not depend on how they came to be sorted. */
static void test_many(void **state) {
    (void)state;
    enum { COUNT = 5000 };
    static float logits[COUNT];
    struct test_random random = {99};
    for (size_t i = 0; i < COUNT; i++) {
        logits[i] = (float)((int)(random_float(&random) * 40)) / 8; /* with ties */
    }
    struct uqff_sampler *all =
        make(&(struct uqff_sampler_options){.temperature = 0.3, .top_p = 0.01, .seed = 5});
    struct uqff_sampler *few = make(&(struct uqff_sampler_options){
        .temperature = 0.3, .top_k = COUNT - 1, .top_p = 0.01, .seed = 5});
    for (int i = 0; i < 200; i++) {
        assert_int_equal(choose(all, logits, COUNT), choose(few, logits, COUNT));
    }
    uqff_sampler_free(all);
    uqff_sampler_free(few);
}

static void test_seed(void **state) {
    (void)state;
    float logits[100];
    for (size_t i = 0; i < 100; i++) {
        logits[i] = (float)(i % 7) / 4;
    }
    /* Computed by a program of ten lines that holds the two generators' published code. */
    static const uint32_t expected[8] = {34, 54, 38, 85, 91, 9, 66, 93};
    struct uqff_sampler *sampler =
        make(&(struct uqff_sampler_options){.temperature = 1, .seed = 42});
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(choose(sampler, logits, 100), expected[i]);
    }
    uqff_sampler_free(sampler);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        struct uqff_sampler_options options;
        const char *needle;
    } cases[] = {
        {{.temperature = -1}, "temperature"},
        {{.temperature = (double)INFINITY}, "temperature"},
        {{.temperature = 1, .top_p = 1.5}, "top-p"},
        {{.temperature = 1, .min_p = -0.5}, "min-p"},
        {{.repeat_penalty = (double)NAN}, "repeat penalty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct uqff_error err;
        struct uqff_sampler *sampler = NULL;
        assert_fails(uqff_sampler_new(&cases[i].options, &sampler, &err), UQFF_E_ARGUMENT, &err,
                     cases[i].needle);
    }
    struct uqff_error err;
    uint32_t token;
    struct uqff_sampler *sampler = make(&(struct uqff_sampler_options){.temperature = 0});
    assert_fails(uqff_sampler_choose(sampler, NULL, 0, &token, &err), UQFF_E_ARGUMENT, &err, "0");
    uqff_sampler_free(sampler);
}

static void test_out_of_memory(void **state) {
    (void)state;
    static const float logits[] = {1, 2};
    for (size_t n = 1; n <= 4; n++) {
        struct uqff_error err;
        struct uqff_sampler *sampler = NULL;
        uint32_t token;
        fail_allocation(n);
        enum uqff_code code =
            uqff_sampler_new(&(struct uqff_sampler_options){.temperature = 1}, &sampler, &err);
        if (code == UQFF_OK) {
            code = uqff_sampler_choose(sampler, logits, 2, &token, &err);
        }
        fail_allocation(0);
        assert_int_equal(code, UQFF_E_MEMORY);
        if (sampler != NULL) { /* and it may be used on */
            choose(sampler, logits, 2);
        }
        uqff_sampler_free(sampler);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),        cmocka_unit_test(test_penalty),
        cmocka_unit_test(test_shares),        cmocka_unit_test(test_many),
        cmocka_unit_test(test_seed),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
