/* Gate files, baselines, and what is held against them. */
#include <math.h>
#include <stdio.h>

#include "support/support.h"
#include "uqff/validation.h"

static const char *write_gate(const char *name, const char *text) {
    const char *path = scratch_file(name);
    write_file(path, text, strlen(text));
    return path;
}

static struct uqff_gate *must_open(const char *text) {
    struct uqff_error err;
    struct uqff_gate *gate = NULL;
    assert_ok(uqff_gate_open(write_gate("gate.json", text), &gate, &err), &err);
    return gate;
}

/* ---- malformed files ------------------------------------------------------------------------- */

static void test_malformed(void **state) {
    (void)state;
    static const struct {
        const char *text, *needle;
        enum uqff_code code;
    } cases[] = {
        {"", "gate.json", UQFF_E_SYNTAX},
        {"{\"limits\": {\"*\": {\"max_ppl\": 3,}}}", "gate.json", UQFF_E_SYNTAX},
        {"{\"limits\": {\"*\": {\"max_ppl\": 3}}} {}", "gate.json", UQFF_E_SYNTAX},
        {"[]", "expected", UQFF_E_FIELD},
        {"{}", "holds no limit", UQFF_E_FIELD},
        {"{\"limits\": {}}", "holds no limit", UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {}}}", "holds no limit", UQFF_E_FIELD},
        {"{\"limit\": {}}", "did you mean 'limits'?", UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"max_kld_meen\": 1}}}", "did you mean 'max_kld_mean'?",
         UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"max_same_top\": 1}}}", "did you mean 'min_same_top'?",
         UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"ppl\": 1}}}", "unknown key 'ppl'", UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"max_ppl\": \"3\"}}}", "max_ppl", UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"max_ppl\": true}}}", "a number or null", UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"max_ppl\": 1e999}}}", "gate.json", UQFF_E_FIELD},
        {"{\"limits\":\n{\"*\":\n 3\n}}\n", "(line 3)", UQFF_E_FIELD},
        {"{\"limits\":\n{\"*\":\n 3,,\n}}\n", "(line 3)", UQFF_E_FIELD},
        {"{\n\"limits\" }", "(line 2)", UQFF_E_SYNTAX},
        {"{\"limits\": {\"*\": 3}}", "the limits of a variant", UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"max_ppl\": 3, \"max_ppl\": 4}}}", "max_ppl", UQFF_E_DUPLICATE},
        {"{\"limits\": {\"a\": {}, \"a\": {}}}", "'a'", UQFF_E_DUPLICATE},
        /* A share where a percentage belongs would let everything pass. */
        {"{\"limits\": {\"*\": {\"min_same_top\": 0.95}}}", "95 for 95 %", UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"min_same_top\": 101}}}", "percentage", UQFF_E_FIELD},
        {"{\"limits\": {\"*\": {\"min_correlation\": 99}}}", "from -1 to 1", UQFF_E_FIELD},
        {"{\"baseline\": {\"drift\": {\"*\": {\"ppl\": 1}}}}", "'file' is missing", UQFF_E_FIELD},
        {"{\"baseline\": {\"file\": \"\"}}", "the path of a file", UQFF_E_FIELD},
        {"{\"baseline\": {\"fil\": \"x\"}}", "did you mean 'file'?", UQFF_E_FIELD},
        {"{\"baseline\": {\"file\": \"x\", \"drift\": {\"*\": {\"max_ppl\": 1}}}}",
         "unknown key 'max_ppl'", UQFF_E_FIELD},
        {"{\"baseline\": {\"file\": \"x\", \"drift\": {\"*\": {\"ppl\": -1}}}}", "not negative",
         UQFF_E_FIELD},
        {"{\"baseline\": {\"file\": \"x\", \"drift\": {\"*\": {\"ppl\": \"1\"}}}}", "0.5%",
         UQFF_E_FIELD},
        {"{\"baseline\": {\"file\": \"x\", \"drift\": {\"*\": {\"ppl\": \"x%\"}}}}", "0.5%",
         UQFF_E_FIELD},
        {"{\"baseline\": {\"file\": \"absent\", \"drift\": {\"*\": {\"ppl\": \"1%\"}}}}", "absent",
         UQFF_E_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct uqff_error err;
        struct uqff_gate *gate = NULL;
        assert_fails(uqff_gate_open(write_gate("gate.json", cases[i].text), &gate, &err),
                     cases[i].code, &err, cases[i].needle);
        assert_null(gate);
    }
    struct uqff_error err;
    struct uqff_gate *gate = NULL;
    assert_fails(uqff_gate_open(scratch_file("none.json"), &gate, &err), UQFF_E_NOT_FOUND, &err,
                 "none.json");
}

static void test_malformed_baseline(void **state) {
    (void)state;
    static const struct {
        const char *text, *needle;
    } cases[] = {
        {"[]", "the baseline"},
        {"{}", "'schema' is missing"},
        {"{\"schema\": \"uqff.diff/1\"}", "uqff.validate/1"},
        {"{\"schema\": \"uqff.validate/1\", \"variants\": {}}", "variants"},
        {"{\"schema\": \"uqff.validate/1\", \"variants\": [3]}", "an object"},
        {"{\"schema\": \"uqff.validate/1\", \"variants\": [{}]}", "'name'"},
        {"{\"schema\": \"uqff.validate/1\", \"variants\": [{\"name\": 1}]}", "name"},
        {"{\"schema\": \"uqff.validate/1\", \"variants\": [{\"name\": \"a\", \"figures\": "
         "{\"ppl\": \"x\"}}]}",
         "a number or null"},
        {"{\"schema\": \"uqff.validate/1\", \"context\": 1.5}", "a whole number"},
        {"{\"schema\": \"uqff.validate/1\", \"exact\": 1}", "true or false"},
        {"{\"schema\": \"uqff.validate/1\", \"text\": 1}", "an object or null"},
        {"{\"schema\": \"uqff.validate/1\", \"text\": {\"sha256\": 1}}", "sha256"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct uqff_error err;
        struct uqff_gate *gate = NULL;
        write_gate("old.json", cases[i].text);
        assert_fails(
            uqff_gate_open(write_gate("gate.json", "{\"limits\": {\"*\": {\"max_ppl\": 9}}, "
                                                   "\"baseline\": {\"file\": \"old.json\"}}"),
                           &gate, &err),
            UQFF_E_FIELD, &err, cases[i].needle);
        assert_non_null(strstr(err.text, "gate.json: baseline: "));
        assert_null(gate);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

static struct uqff_gate_subject subject(const char *name) {
    struct uqff_gate_subject out = {.variant = name};
    uqff_figures_clear(&out.figures);
    return out;
}

/* The checks as lines: "q4_k_m max_ppl 3 4 failed". */
static const char *evaluate(const struct uqff_gate *gate,
                            const struct uqff_gate_conditions *conditions,
                            const struct uqff_gate_subject *subjects, size_t count) {
    static char text[4096];
    static const struct uqff_gate_conditions none = {0};
    struct uqff_error err;
    struct uqff_gate_check *checks = NULL;
    size_t check_count = 0, used = 0;
    assert_ok(uqff_gate_evaluate(gate, conditions != NULL ? conditions : &none, subjects, count,
                                 &checks, &check_count, &err),
              &err);
    text[0] = '\0';
    for (size_t i = 0; i < check_count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %s %g %g %s\n",
                                 checks[i].variant, checks[i].key, checks[i].limit,
                                 isnan(checks[i].found) ? -999 : checks[i].found,
                                 checks[i].passed ? "passed" : "failed");
    }
    uqff_free(checks);
    return text;
}

static void test_limits(void **state) {
    (void)state;
    struct uqff_gate *gate = must_open("{\"limits\": {"
                                       "\"*\": {\"max_ppl\": 5, \"min_same_top\": 90},"
                                       "\"a\": {\"max_ppl\": 4},"
                                       "\"b\": {\"min_same_top\": null, \"max_bytes\": 100}}}");
    struct uqff_gate_subject subjects[] = {subject("a"), subject("b"), subject("c")};
    for (size_t i = 0; i < 3; i++) {
        subjects[i].figures.value[UQFF_FIGURE_PPL] = 4.5;
        subjects[i].figures.value[UQFF_FIGURE_SAME_TOP] = 90;
    }
    subjects[1].figures.value[UQFF_FIGURE_BYTES] = 101;
    subjects[2].figures.value[UQFF_FIGURE_SAME_TOP] = (double)NAN;
    assert_string_equal(evaluate(gate, NULL, subjects, 3), "a max_ppl 4 4.5 failed\n"
                                                           "a min_same_top 90 90 passed\n"
                                                           "b max_ppl 5 4.5 passed\n"
                                                           "b max_bytes 100 101 failed\n"
                                                           "c max_ppl 5 4.5 passed\n"
                                                           "c min_same_top 90 -999 failed\n");
    assert_string_equal(evaluate(gate, NULL, subjects, 0), "");
    uqff_gate_close(gate);
    uqff_gate_close(NULL);
}

static void test_names(void **state) {
    (void)state;
    static const char *const names[] = {"q4_k_m", "q8_0"};
    struct uqff_error err;
    struct uqff_gate *gate =
        must_open("{\"limits\": {\"*\": {\"max_ppl\": 5}, \"q4_km\": {\"max_ppl\": 5}}}");
    assert_fails(uqff_gate_check_names(gate, names, 2, &err), UQFF_E_UNKNOWN, &err,
                 "no variant 'q4_km' here; did you mean 'q4_k_m'?");
    uqff_gate_close(gate);
    gate = must_open("{\"limits\": {\"*\": {\"max_ppl\": 5}, \"q8_0\": {\"max_ppl\": 5}}}");
    assert_ok(uqff_gate_check_names(gate, names, 2, &err), &err);
    uqff_gate_close(gate);
}

static void test_wants_base(void **state) {
    (void)state;
    static const struct {
        const char *text, *wants;
    } cases[] = {
        {"{\"limits\": {\"*\": {\"max_ppl\": 5, \"max_bits\": 3, \"max_bytes\": 7}}}", NULL},
        {"{\"limits\": {\"*\": {\"max_ppl\": 5, \"max_kld_mean\": null}}}", NULL},
        {"{\"limits\": {\"*\": {\"max_kld_mean\": 1}}}", "max_kld_mean"},
        {"{\"limits\": {\"*\": {\"min_snr\": 1}}}", "min_snr"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct uqff_gate *gate = must_open(cases[i].text);
        const char *wants = uqff_gate_wants_base(gate);
        assert_true((wants == NULL) == (cases[i].wants == NULL));
        if (wants != NULL) {
            assert_string_equal(wants, cases[i].wants);
        }
        uqff_gate_close(gate);
    }
}

/* ---- baselines ------------------------------------------------------------------------------- */

static const char old_document[] =
    "{\"schema\":\"uqff.validate/1\",\"base\":null,\"text\":{\"path\":\"t\",\"sha256\":\"ab\"},"
    "\"context\":512,\"chunks\":4,\"stride\":0,\"exact\":false,\"scored\":1020,"
    "\"variants\":[{\"name\":\"a\",\"tensors\":[[{}]],\"figures\":{\"ppl\":2,\"same_top\":90,"
    "\"kld_mean\":null,\"bytes\":100,\"of_a_later_version\":[1]}}],\"gate\":null}";

static void test_drift(void **state) {
    (void)state;
    write_gate("old.json", old_document);
    struct uqff_gate *gate = must_open(
        "{\"baseline\": {\"file\": \"old.json\", \"drift\": {"
        "\"*\": {\"ppl\": \"0.5%\", \"same_top\": 0.25, \"kld_mean\": 1, \"bytes\": 0}}}}");
    assert_string_equal(uqff_gate_wants_base(gate), "drift same_top");
    const struct uqff_gate_conditions same = {"ab", 512, 4, 0, false};
    struct uqff_gate_subject subjects[] = {subject("a"), subject("new")};
    subjects[0].figures.value[UQFF_FIGURE_PPL] = 2.01;
    subjects[0].figures.value[UQFF_FIGURE_SAME_TOP] = 89.5;
    subjects[0].figures.value[UQFF_FIGURE_KLD_MEAN] = 7; /* the baseline had none */
    subjects[0].figures.value[UQFF_FIGURE_BYTES] = 100;
    assert_string_equal(evaluate(gate, &same, subjects, 2), "a drift ppl 2.01 2.01 passed\n"
                                                            "a drift same_top 89.75 89.5 failed\n"
                                                            "a drift bytes 100 100 passed\n");
    const struct {
        struct uqff_gate_conditions conditions;
        const char *needle;
    } others[] = {
        {{"cd", 512, 4, 0, false}, "the text's SHA-256 was ab, now it is cd"},
        {{NULL, 512, 4, 0, false}, "the text was given, now it is none"},
        {{"ab", 256, 4, 0, false}, "the context was 512, now it is 256"},
        {{"ab", 512, 5, 0, false}, "the number of chunks was 4, now it is 5"},
        {{"ab", 512, 4, 8, false}, "the stride was 0, now it is 8"},
        {{"ab", 512, 4, 0, true}, "--exact was not given, now it is given"},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct uqff_error err;
        struct uqff_gate_check *checks = NULL;
        size_t count = 0;
        assert_fails(
            uqff_gate_evaluate(gate, &others[i].conditions, subjects, 2, &checks, &count, &err),
            UQFF_E_ARGUMENT, &err, others[i].needle);
        assert_null(checks);
    }
    uqff_gate_close(gate);
}

static void test_out_of_memory(void **state) {
    (void)state;
    static const char text[] = "{\"limits\": {\"*\": {\"max_ppl\": 5}}, \"baseline\": {\"file\": "
                               "\"old.json\", \"drift\": {\"a\": {\"ppl\": \"0.5%\"}}}}";
    char path[1024];
    write_gate("old.json", old_document);
    snprintf(path, sizeof path, "%s", write_gate("gate.json", text));
    const struct uqff_gate_conditions same = {"ab", 512, 4, 0, false};
    const struct uqff_gate_subject subjects[] = {subject("a")};
    for (size_t n = 1;; n++) {
        struct uqff_error err;
        struct uqff_gate *gate = NULL;
        struct uqff_gate_check *checks = NULL;
        size_t count = 0;
        fail_allocation(n);
        enum uqff_code code = uqff_gate_open(path, &gate, &err);
        if (code == UQFF_OK) {
            code = uqff_gate_evaluate(gate, &same, subjects, 1, &checks, &count, &err);
        }
        const size_t asked = fail_allocation(0);
        uqff_free(checks);
        uqff_gate_close(gate);
        if (code == UQFF_OK) {
            assert_true(asked < n);
            break;
        }
        assert_int_equal(code, UQFF_E_MEMORY);
    }
}

static void test_figures(void **state) {
    (void)state;
    struct uqff_measure measure = {.perplexity = {3, 1}};
    struct uqff_figures figures;
    uqff_figures_clear(&figures);
    uqff_figures_of_measure(&measure, &figures);
    for (int i = 0; i < UQFF_FIGURE_COUNT; i++) {
        assert_true(isnan(figures.value[i]) == (i != UQFF_FIGURE_PPL));
        assert_non_null(uqff_figure_name((enum uqff_figure)i));
    }
    measure.has_base = true;
    measure.same_top.value = 0.75;
    measure.rms_delta_p.value = 0.5;
    measure.kld_percentiles.p999 = 7;
    uqff_figures_of_measure(&measure, &figures);
    assert_true(figures.value[UQFF_FIGURE_SAME_TOP] == 75);
    assert_true(figures.value[UQFF_FIGURE_RMS_DELTA_P] == 50);
    assert_true(figures.value[UQFF_FIGURE_KLD_P999] == 7);
    assert_string_equal(uqff_figure_name(UQFF_FIGURE_KLD_P999), "kld_p999");
    assert_true(uqff_figure_more_is_better(UQFF_FIGURE_COSINE));
    assert_false(uqff_figure_more_is_better(UQFF_FIGURE_PPL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed),     cmocka_unit_test(test_malformed_baseline),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_names),
        cmocka_unit_test(test_wants_base),    cmocka_unit_test(test_drift),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
