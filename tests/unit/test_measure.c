/* Perplexity and divergence: how texts are cut, scores, sums and estimates, the file of logits. */
#include <math.h>
#include <stdio.h>

#include "support/text.h"
#include "uqff/validation.h"
#include "validation/measure.h"

/* ---- how a text is cut ----------------------------------------------------------------------- */

static void cutting(void **state) {
    struct measure_plan plan;
    struct uqff_error err;
    struct uqff_measure_options options = {0};
    (void)state;
    assert_ok(uqff_measure_plan(&options, 5 * 512 + 511, 2, &plan, &err), &err);
    assert_int_equal(plan.chunks, 5);
    assert_int_equal(plan.step, 512);
    assert_int_equal(plan.first, 256);
    assert_int_equal(plan.end, 511);
    options.chunks = 3;
    options.context = 7;
    assert_ok(uqff_measure_plan(&options, 700, 2, &plan, &err), &err);
    assert_int_equal(plan.chunks, 3);
    assert_int_equal(plan.end - plan.first, uqff_logits_rows(7));
    assert_fails(uqff_measure_plan(&options, 13, 2, &plan, &err), UQFF_E_ARGUMENT, &err,
                 "found 13 tokens, expected at least 14, two chunks of 7");
    assert_ok(uqff_measure_plan(&options, 13, 1, &plan, &err), &err);
    assert_int_equal(plan.chunks, 1);
    options.context = 3;
    assert_fails(uqff_measure_plan(&options, 700, 2, &plan, &err), UQFF_E_ARGUMENT, &err,
                 "a context of 3 tokens");
    /* Windows of 512 + 64 tokens, each 128 behind the last, which score their last 128. */
    options = (struct uqff_measure_options){.stride = 128};
    assert_ok(uqff_measure_plan(&options, 576 + 300, 2, &plan, &err), &err);
    assert_int_equal(plan.length, 576);
    assert_int_equal(plan.chunks, 3);
    assert_int_equal(plan.first, 576 - 129);
    assert_int_equal(plan.end, 575);
    assert_fails(uqff_measure_plan(&options, 576, 2, &plan, &err), UQFF_E_ARGUMENT, &err,
                 "found 576 tokens, expected at least 577");
    options.stride = 512;
    assert_fails(uqff_measure_plan(&options, 5000, 2, &plan, &err), UQFF_E_ARGUMENT, &err,
                 "a stride of 512 tokens");
}

/* ---- scores ---------------------------------------------------------------------------------- */

static double log_sum(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)x[i]);
    }
    return log(sum);
}

static void scoring(void **state) {
    struct test_random random = {5};
    const struct uqff_ops *ops = uqff_ops_in_use();
    float x[1003], base[1003];
    (void)state;
    for (size_t n = 1; n <= 1003; n += n < 20 ? 1 : 123) {
        for (size_t i = 0; i < n; i++) {
            base[i] = 4 * random_gauss(&random);
            x[i] = base[i] + 0.3f * random_gauss(&random) + 1;
        }
        /* The first of two that are equally large counts. */
        base[n / 2] = base[n - 1] = 20;
        double of_x = log_sum(x, n), of_base = log_sum(base, n), kld = 0;
        for (size_t i = 0; i < n; i++) {
            double p = (double)base[i] - of_base, q = (double)x[i] - of_x;
            kld += p > -16 ? exp(p) * (p - q) : 0;
        }
        struct row_shape shape = uqff_row_shape(ops, base, n);
        uint32_t token = (uint32_t)(n / 3);
        struct score score = uqff_score_row(ops, x, base, &shape, n, token);
        assert_int_equal(shape.top, n / 2);
        assert_true(fabs(shape.log_sum - of_base) < 1e-6);
        assert_true(fabs(score.nll - (of_x - (double)x[token])) < 1e-6);
        assert_true(fabs(score.base_nll - (of_base - (double)base[token])) < 1e-6);
        assert_true(fabs(score.kld - kld) < 1e-6 * fmax(1, kld));
        assert_true(fabs(score.delta_p - (exp(-score.nll) - exp(-score.base_nll))) < 1e-12);
        score = uqff_score_row(ops, base, base, &shape, n, token);
        assert_true(score.kld == 0 && score.delta_p == 0 && score.same_top);
    }
}

/* ---- estimates ------------------------------------------------------------------------------- */

static void estimates(void **state) {
    enum { COUNT = 1000 };
    struct test_random random = {9};
    static struct score scores[COUNT];
    struct tally tally = {0};
    struct uqff_measure m = {0};
    struct uqff_error err;
    double mean = 0, base_mean = 0, square = 0, same = 0;
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        double base = 2 + (double)random_float(&random), more = 0.1 * (double)random_float(&random);
        scores[i] = (struct score){.nll = base + more,
                                   .base_nll = base,
                                   .kld = (double)i / 999,
                                   .delta_p = exp(-base - more) - exp(-base),
                                   .same_top = i % 4 != 0};
        assert_ok(uqff_tally_add(&tally, &scores[i], true, &err), &err);
        mean += scores[i].nll / COUNT;
        base_mean += base / COUNT;
        square += scores[i].delta_p * scores[i].delta_p / COUNT;
        same += scores[i].same_top ? 1.0 / COUNT : 0;
    }
    uqff_tally_estimate(&tally, true, &m);
    uqff_tally_percentiles(&tally, &m);
    assert_int_equal(m.tokens, COUNT);
    assert_true(fabs(m.perplexity.value - exp(mean)) < 1e-9);
    assert_true(fabs(m.base_perplexity.value - exp(base_mean)) < 1e-9);
    assert_true(fabs(m.ln_ratio.value - (mean - base_mean)) < 1e-9);
    assert_true(fabs(m.ratio.value - exp(mean - base_mean)) < 1e-9);
    assert_true(fabs(m.rms_delta_p.value - sqrt(square)) < 1e-9);
    assert_true(fabs(m.same_top.value - same) < 1e-9);
    assert_true(fabs(m.same_top.error - sqrt(0.75 * 0.25 / 999)) < 1e-9);
    assert_true(fabs(m.kld.value - 0.5) < 1e-9);
    /* The error of the logarithm of the ratio is that of the mean of the differences. */
    double difference = 0, variance = 0;
    for (size_t i = 0; i < COUNT; i++) {
        double d = scores[i].nll - scores[i].base_nll;
        difference += d / COUNT;
        variance += d * d / COUNT;
    }
    variance = sqrt((variance - difference * difference) / (COUNT - 1));
    assert_true(fabs(m.ln_ratio.error - variance) < 1e-9);
    assert_true(m.correlation > 0.99 && m.correlation <= 1);
    assert_true(fabs(m.kld_percentiles.median - 0.5) < 1e-6);
    assert_true(fabs(m.kld_percentiles.p999 - 0.999) < 1e-6);
    assert_true(fabs(m.kld_percentiles.p25 - 0.25) < 1e-6);
    assert_true(m.kld_percentiles.max == 1 && m.kld_percentiles.min == 0);
    uqff_tally_free(&tally);
}

/* ---- rows of the file ------------------------------------------------------------------------ */

static void encoding(void **state) {
    unsigned char row[24];
    float decoded[5];
    const float x[5] = {1, 0.5f, -30, 1, -14};
    const struct uqff_ops *ops = uqff_ops_in_use();
    struct row_shape shape = uqff_row_shape(ops, x, 5);
    (void)state;
    assert_int_equal(uqff_logits_row_bytes(5), 20);
    assert_int_equal(uqff_logits_row_bytes(6), 20);
    memset(row, 0xee, sizeof row);
    uqff_logits_encode(x, &shape, 5, row);
    assert_int_equal(uqff_load_le16(row + 8), 65535);
    assert_int_equal(uqff_load_le16(row + 10), 63487); /* 15.5 / 16 * 65535, to even */
    assert_int_equal(uqff_load_le16(row + 12), 0);
    assert_int_equal(uqff_load_le16(row + 18), 0); /* the odd one */
    assert_int_equal(row[20], 0xee);
    assert_true(uqff_logits_decode(row, 5, decoded));
    for (size_t i = 0; i < 5; i++) {
        double expected = fmax((double)x[i], -15) - shape.log_sum;
        assert_true(fabs((double)decoded[i] - expected) < 1.3e-4);
    }
    /* Logits that are all the same have no scale. */
    const float flat[4] = {2, 2, 2, 2};
    shape = uqff_row_shape(ops, flat, 4);
    uqff_logits_encode(flat, &shape, 4, row);
    assert_true(uqff_logits_decode(row, 4, decoded));
    assert_true(fabs((double)decoded[3] + log(4)) < 1e-6);
    uqff_store_le32(row, 0x7f800000);
    assert_false(uqff_logits_decode(row, 4, decoded));
}

/* ---- the bundled model ----------------------------------------------------------------------- */

static struct uqff_measure measure(const struct uqff_model *base, const struct uqff_model *model,
                                   const struct text *text,
                                   const struct uqff_measure_options *options) {
    struct uqff_measure out;
    struct uqff_error err;
    assert_ok(uqff_measure(base, &model, 1, text->ids, text->count, text->bos, text->add_bos,
                           options, NULL, NULL, &out, &err),
              &err);
    return out;
}

static bool near(double found, double expected, double relative) {
    print_message("    %.6f, by llama.cpp %.6f\n", found, expected);
    return fabs(found / expected - 1) < relative;
}

/* llama-perplexity: 1.8341 ± 0.02949 over 41 chunks of 512. */
static void storyteller(void **state) {
    (void)state;
    if (!FAST_BUILD) {
        skip();
    }
    struct uqff_model *model = open_model(test_data("storyteller"));
    struct text text = tokenize(model, test_data("storyteller/valid.txt"));
    const struct uqff_measure_options options = {.exact = true};
    struct uqff_measure m = measure(NULL, model, &text, &options);
    assert_int_equal(m.chunks, 41);
    assert_int_equal(m.tokens, 41 * 255);
    assert_true(near(m.perplexity.value, 1.8341, 1e-4));
    assert_true(near(m.perplexity.error, 0.02949, 1e-3));
    uqff_free(text.ids);
    uqff_model_close(model);
}

static void small_models(void **state) {
    static const struct {
        const char *path;
        double perplexity, error;
    } models[] = {
        {"models/stories260K/hf", 3.9647, 0.15238},
        {"models/stories260K-wide256", 3.9647, 0.15238},
        {"models/tinystories-656k-f32", 37.6759, 0},
    };
    const struct uqff_measure_options options = {.chunks = 8, .exact = true};
    (void)state;
    if (!FAST_BUILD || extra_data("models") == NULL) {
        skip();
    }
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct uqff_model *model = open_model(extra_data(models[i].path));
        struct text text = tokenize(model, extra_data("text/slice64k_clean.txt"));
        struct uqff_measure m = measure(NULL, model, &text, &options);
        assert_true(near(m.perplexity.value, models[i].perplexity, 1e-4));
        assert_true(models[i].error == 0 || near(m.perplexity.error, models[i].error, 1e-3));
        uqff_free(text.ids);
        uqff_model_close(model);
    }
}

/* Every digit, whatever computes it: threads, and plain C in place of vector instructions. */
static void digits(void **state) {
    static const struct {
        unsigned threads;
        bool plain;
    } ways[] = {{1, false}, {2, false}, {5, false}, {2, true}};
    struct uqff_model *model = open_model(test_data("storyteller"));
    struct text text = tokenize(model, test_data("storyteller/valid.txt"));
    struct uqff_measure first;
    struct uqff_error err;
    enum uqff_cpu_level level = uqff_cpu_level();
    (void)state;
    /* Plain C in a slow build would take a minute. */
    for (size_t i = 0; i < sizeof ways / sizeof *ways - (FAST_BUILD ? 0 : 1); i++) {
        const struct uqff_measure_options options = {
            .context = 96, .chunks = 2, .threads = ways[i].threads};
        assert_ok(uqff_cpu_set_level(ways[i].plain ? UQFF_CPU_REF : level, &err), &err);
        struct uqff_measure m = measure(model, model, &text, &options);
        print_message("    %u threads, %s: %a ± %a\n", ways[i].threads,
                      uqff_cpu_level_name(uqff_cpu_level()), m.perplexity.value,
                      m.perplexity.error);
        if (i == 0) {
            first = m;
        }
        assert_memory_equal(&m, &first, sizeof m);
        assert_true(m.kld.value == 0 && m.same_top.value == 1);
    }
    assert_ok(uqff_cpu_set_level(level, &err), &err);
    uqff_free(text.ids);
    uqff_model_close(model);
}

static bool count_chunk(void *context, size_t chunk, size_t chunks,
                        const struct uqff_measure *so_far) {
    size_t *seen = context;
    assert_true(chunk >= 1 && chunk <= chunks && so_far != NULL);
    ++*seen;
    return true;
}

/* A file is as good as the model, but for the rounding of its rows. */
static void logits_file(void **state) {
    struct uqff_model *model = open_model(test_data("storyteller"));
    struct text text = tokenize(model, test_data("storyteller/valid.txt"));
    const struct uqff_measure_options options = {.context = 64, .chunks = 2};
    const char *path = scratch_file("logits.bin");
    struct uqff_measure m, n;
    struct uqff_error err;
    size_t size, seen = 0;
    (void)state;
    assert_ok(uqff_logits_write(model, text.ids, text.count, text.bos, text.add_bos, &options, path,
                                false, count_chunk, &seen, &m, &err),
              &err);
    assert_int_equal(seen, 2);
    assert_fails(uqff_logits_write(model, text.ids, text.count, text.bos, text.add_bos, &options,
                                   path, false, NULL, NULL, &n, &err),
                 UQFF_E_EXISTS, &err, "logits.bin");
    n = measure(NULL, model, &text, &options);
    assert_memory_equal(&m, &n, sizeof m);
    unsigned char *bytes = read_file(path, &size);
    assert_int_equal(size, 20 + 4 * 128 + 2 * 31 * (2 * 1024 + 8));
    assert_memory_equal(bytes, "_logits_\x40\0\0\0\0\4\0\0\2\0\0", 20);
    assert_int_equal(uqff_load_le32(bytes + 20), text.ids[0]);
    assert_int_equal(uqff_load_le32(bytes + 20 + 4 * 64), text.ids[64]);

    assert_ok(uqff_measure_against_file(path, model, NULL, count_chunk, &seen, &n, &err), &err);
    assert_int_equal(seen, 4);
    assert_int_equal(n.tokens, m.tokens);
    assert_true(n.perplexity.value == m.perplexity.value);
    assert_true(fabs(n.ln_ratio.value) < 1e-4 && fabs(n.kld.value) < 1e-5);
    assert_true(n.same_top.value == 1);
    const struct uqff_measure_options one = {.chunks = 1}, other = {.context = 32};
    assert_ok(uqff_measure_against_file(path, model, &one, NULL, NULL, &n, &err), &err);
    assert_int_equal(n.tokens, 31);
    assert_fails(uqff_measure_against_file(path, model, &other, NULL, NULL, &n, &err),
                 UQFF_E_ARGUMENT, &err, "found chunks of 64 tokens, expected the 32");

    static const struct {
        size_t at;
        uint32_t value;
        enum uqff_code code;
        const char *text;
    } damage[] = {
        {0, 0x676f6c5f + 1, UQFF_E_MAGIC, "is no file of logits"},
        {8, 0, UQFF_E_FIELD, "context: found 0"},
        {12, 0, UQFF_E_FIELD, "vocabulary: found 0"},
        {12, 1000, UQFF_E_SHAPE, "expected the 1000 of what it is compared with"},
        {16, 0xffffffff, UQFF_E_FIELD, "chunks: found -1"},
        {16, 0x7fffffff, UQFF_E_TRUNCATED, "too few for 2147483647 chunks"},
        {24, 5000, UQFF_E_ARGUMENT, "token 1 of the text: found id 5000"},
        {20 + 4 * 128, 0x7fc00000, UQFF_E_NONFINITE, "row 0 is NaN or infinite"},
    };
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        uint32_t kept = uqff_load_le32(bytes + damage[i].at);
        uqff_store_le32(bytes + damage[i].at, damage[i].value);
        write_file(path, bytes, size);
        assert_fails(uqff_measure_against_file(path, model, NULL, NULL, NULL, &n, &err),
                     damage[i].code, &err, damage[i].text);
        uqff_store_le32(bytes + damage[i].at, kept);
    }
    write_file(path, bytes, size - 1);
    assert_fails(uqff_measure_against_file(path, model, NULL, NULL, NULL, &n, &err),
                 UQFF_E_TRUNCATED, &err, "too few for 2 chunks");
    write_file(path, bytes, 19);
    assert_fails(uqff_measure_against_file(path, model, NULL, NULL, NULL, &n, &err),
                 UQFF_E_TRUNCATED, &err, "a header of 20");
    free(bytes);
    uqff_free(text.ids);
    uqff_model_close(model);
}

static bool stop_after_one(void *context, size_t chunk, size_t chunks,
                           const struct uqff_measure *so_far) {
    assert_int_equal(chunk, 1);
    assert_int_equal(chunks, 2);
    assert_int_equal(so_far->tokens, 31);
    *(double *)context = so_far->perplexity.value;
    return false;
}

static void refusals(void **state) {
    struct uqff_model *model = open_model(test_data("storyteller"));
    const struct uqff_model *candidate = model;
    const struct uqff_measure_options options = {.context = 64};
    struct uqff_measure out;
    struct uqff_error err;
    uint32_t ids[128] = {0};
    double seen = 0;
    (void)state;
    assert_fails(
        uqff_measure(NULL, &candidate, 1, ids, 127, 0, false, &options, NULL, NULL, &out, &err),
        UQFF_E_ARGUMENT, &err, "the text is too short: found 127 tokens");
    assert_fails(
        uqff_measure(NULL, &candidate, 1, ids, 128, 1024, true, &options, NULL, NULL, &out, &err),
        UQFF_E_ARGUMENT, &err, "found 1024 as the token that begins a text");
    assert_fails(uqff_measure(NULL, &candidate, 1, ids, 128, 0, true, &options, stop_after_one,
                              &seen, &out, &err),
                 UQFF_E_CANCELLED, &err, "stopped after chunk 1 of 2");
    assert_true(seen > 1);
    ids[127] = 1024;
    assert_fails(
        uqff_measure(NULL, &candidate, 1, ids, 128, 0, false, &options, NULL, NULL, &out, &err),
        UQFF_E_ARGUMENT, &err, "token 127 of the text: found id 1024");
    uqff_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutting),  cmocka_unit_test(scoring),     cmocka_unit_test(estimates),
        cmocka_unit_test(encoding), cmocka_unit_test(digits),      cmocka_unit_test(logits_file),
        cmocka_unit_test(refusals), cmocka_unit_test(storyteller), cmocka_unit_test(small_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
