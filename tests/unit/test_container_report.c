/* uqff_report.json: what is written, and what is refused. */
#include "unit/test_container_builder.h"

static const char *const shards[] = {"q4k-0.uqff", "q4k-1.uqff"};
static const struct uqff_report_module report_modules[] = {
    {"model.embed_tokens", UQFF_TYPE_Q6_K, 2, (const uint64_t[]){8, 256}},
    {"model.layers.0.mlp.experts.up_proj", UQFF_TYPE_Q4_K, 3, (const uint64_t[]){2, 4, 256}},
    {"model.layers.0.\"odd\"", UQFF_TYPE_BF16, 2, (const uint64_t[]){2, 4}},
    {"model.layers.1.mlp.up_proj", UQFF_TYPE_Q4_K, 2, (const uint64_t[]){4, 256}},
};
static const char *const float_shards[] = {"bf16-0.uqff"};
static const struct uqff_report_output outputs[] = {
    {"q4_k_m", UQFF_TYPE_Q4_K, shards, 2, report_modules, 4},
    {"bf16", UQFF_TYPE_BF16, float_shards, 1, &report_modules[2], 1},
};

static const char expected[] =
    "{\n"
    "  \"schema\": 1,\n"
    "  \"generated_by\": {\"tool\": \"uqff " UQFF_VERSION "\"},\n"
    "  \"uqff_version\": \"1.2.0\",\n"
    "  \"outputs\": [\n"
    "    {\n"
    "      \"quant\": \"q4_k_m\",\n"
    "      \"shards\": [\"q4k-0.uqff\", \"q4k-1.uqff\"],\n"
    "      \"layers\": 4,\n"
    "      \"actual_counts\": {\"q4k\": 2, \"q6k\": 1, \"unquant\": 1},\n"
    "      \"fallback_count\": 1,\n"
    "      \"fallbacks\": [\n"
    "        {\"module\": \"model.layers.0.\\\"odd\\\"\", \"from\": \"q4k\", \"to\": \"unquant\", "
    "\"shape\": [2, 4]}\n"
    "      ],\n"
    "      \"layer_details\": [\n"
    "        {\"module\": \"model.embed_tokens\", \"default_target\": \"q4k\", \"stored\": "
    "\"q6k\", "
    "\"shape\": [8, 256]},\n"
    "        {\"module\": \"model.layers.0.mlp.experts.up_proj\", \"default_target\": \"q4k\", "
    "\"stored\": \"q4k\", \"shape\": [2, 4, 256]},\n"
    "        {\"module\": \"model.layers.0.\\\"odd\\\"\", \"default_target\": \"q4k\", \"stored\": "
    "\"unquant\", \"shape\": [2, 4]},\n"
    "        {\"module\": \"model.layers.1.mlp.up_proj\", \"default_target\": \"q4k\", \"stored\": "
    "\"q4k\", \"shape\": [4, 256]}\n"
    "      ]\n"
    "    },\n"
    "    {\n"
    "      \"quant\": \"bf16\",\n"
    "      \"shards\": [\"bf16-0.uqff\"],\n"
    "      \"layers\": 1,\n"
    "      \"actual_counts\": {\"unquant\": 1},\n"
    "      \"fallback_count\": 0,\n"
    "      \"layer_details\": [\n"
    "        {\"module\": \"model.layers.0.\\\"odd\\\"\", \"default_target\": \"bf16\", "
    "\"stored\": "
    "\"unquant\", \"shape\": [2, 4]}\n"
    "      ]\n"
    "    }\n"
    "  ]\n"
    "}\n";

static void test_render(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_buffer text = {0};
    struct uqff_arena arena = {0};
    struct uqff_report_entry *entries;
    size_t count;
    assert_ok(uqff_report_render(outputs, 2, &text, &err), &err);
    assert_string_equal(text.data, expected);
    assert_ok(uqff_report_parse(text.data, text.size, "report", &arena, &entries, &count, &err),
              &err);
    assert_int_equal(count, 2);
    assert_string_equal(entries[0].quant, "q4_k_m");
    assert_int_equal(entries[0].shard_count, 2);
    assert_string_equal(entries[0].shards[1], "q4k-1.uqff");
    assert_string_equal(entries[1].shards[0], "bf16-0.uqff");
    uqff_arena_free(&arena);
    uqff_buffer_free(&text);
}

#define REPORT(outputs) "{\"schema\":1,\"outputs\":[" outputs "]}"
#define OUTPUT(quant, shards) "{\"quant\":\"" quant "\",\"shards\":[" shards "]}"

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {"", UQFF_E_SYNTAX, "where"},
        {"[]", UQFF_E_FIELD, "where"},
        {"{}", UQFF_E_FIELD, "no outputs"},
        {REPORT(""), UQFF_E_FIELD, "no outputs"},
        {"{\"schema\":2,\"outputs\":[]}", UQFF_E_VERSION, "schema 2"},
        {"{\"schema\":1.0,\"outputs\":[]}", UQFF_E_VERSION, "schema 1.0"},
        {REPORT("1"), UQFF_E_FIELD, "outputs"},
        {REPORT("{}"), UQFF_E_FIELD, "no quant"},
        {REPORT(OUTPUT("a", "")), UQFF_E_FIELD, "no shards"},
        {REPORT(OUTPUT("", "\"a.uqff\"")), UQFF_E_FIELD, "no quant"},
        {REPORT(OUTPUT("a", "1")), UQFF_E_FIELD, "shards"},
        {REPORT(OUTPUT("a", "\"a.txt\"")), UQFF_E_NAME, "a.txt"},
        {REPORT(OUTPUT("a", "\"../a.uqff\"")), UQFF_E_NAME, "../a.uqff"},
        {REPORT(OUTPUT("a", "\"a.uqff\",\"a.uqff\"")), UQFF_E_DUPLICATE, "a.uqff"},
        {REPORT(OUTPUT("a", "\"a.uqff\"") "," OUTPUT("b", "\"a.uqff\"")), UQFF_E_DUPLICATE,
         "a.uqff"},
        {REPORT(OUTPUT("a", "\"a.uqff\"") "," OUTPUT("A", "\"b.uqff\"")), UQFF_E_DUPLICATE, "'A'"},
        {REPORT(OUTPUT("a", "\"a.uqff\"")) "x", UQFF_E_SYNTAX, "where"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_error err;
        struct uqff_arena arena = {0};
        struct uqff_report_entry *entries;
        size_t count;
        assert_fails(uqff_report_parse(cases[i].text, strlen(cases[i].text), "where", &arena,
                                       &entries, &count, &err),
                     cases[i].code, &err, cases[i].needle);
        uqff_arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
