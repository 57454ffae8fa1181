/* config.json: what is taken, what is tolerated, what is refused. */
#include "test_model_builder.h"

#include <dirent.h>

#define COUNT(array) (sizeof array / sizeof *array)

static enum uqff_code parse(const char *json, struct uqff_arena *arena, struct uqff_config *out,
                            struct uqff_error *err) {
    return uqff_config_parse(json, strlen(json), "config.json", arena, out, err);
}

static void must_parse(const char *json, struct uqff_arena *arena, struct uqff_config *out) {
    struct uqff_error err;
    assert_ok(parse(json, arena, out, &err), &err);
}

static void reads_all_fields(void **state) {
    (void)state;
    struct uqff_arena arena = {0};
    struct uqff_config c;
    must_parse("{\"architectures\":[\"A\",\"B\"],\"model_type\":\"m\",\"torch_dtype\":\"bfloat16\","
               "\"num_hidden_layers\":1,\"hidden_size\":2,\"intermediate_size\":3,"
               "\"num_attention_heads\":4,\"num_key_value_heads\":5,\"head_dim\":6,"
               "\"vocab_size\":7,\"num_local_experts\":8,\"num_experts_per_tok\":9,"
               "\"max_position_embeddings\":10,\"rms_norm_eps\":1e-6,\"rope_theta\":1E4,"
               "\"tie_word_embeddings\":true,\"other\":[{\"hidden_size\":\"x\"},null,1.5e300]}",
               &arena, &c);
    assert_string_equal(c.architecture, "A");
    assert_string_equal(c.model_type, "m");
    assert_string_equal(c.torch_dtype, "bfloat16");
    assert_int_equal(c.layers, 1);
    assert_int_equal(c.hidden, 2);
    assert_int_equal(c.feed_forward, 3);
    assert_int_equal(c.heads, 4);
    assert_int_equal(c.kv_heads, 5);
    assert_int_equal(c.head_dim, 6);
    assert_int_equal(c.vocabulary, 7);
    assert_int_equal(c.experts, 8);
    assert_int_equal(c.experts_used, 9);
    assert_int_equal(c.context, 10);
    assert_true(c.rms_epsilon == 1e-6);
    assert_true(c.rope_theta == 1e4);
    assert_true(c.tied);
    uqff_arena_free(&arena);
}

static void takes_absence_and_null_alike(void **state) {
    (void)state;
    static const char nulls[] =
        "{\"architectures\":null,\"hidden_size\":null,\"rope_theta\":null,\"dtype\":null,"
        "\"text_config\":null,\"rope_parameters\":null,\"tie_word_embeddings\":null}";
    static const char empty[] =
        "{\"architectures\":[],\"num_key_value_heads\":[1,2],\"rope_parameters\":{}}";
    static const char *const texts[] = {"{}", nulls, empty};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct uqff_arena arena = {0};
        struct uqff_config c;
        must_parse(texts[i], &arena, &c);
        assert_string_equal(c.architecture, "");
        assert_string_equal(c.model_type, "");
        assert_string_equal(c.torch_dtype, "");
        assert_int_equal(c.hidden, 0);
        assert_int_equal(c.kv_heads, 0);
        assert_true(c.rope_theta == 0);
        assert_false(c.tied);
        uqff_arena_free(&arena);
    }
}

static void looks_in_nested_objects(void **state) {
    (void)state;
    struct uqff_arena arena = {0};
    struct uqff_config c;
    must_parse("{\"text_config\":{\"architectures\":[\"T\"],\"model_type\":\"t\",\"hidden_size\":7,"
               "\"vocab_size\":3,\"tie_word_embeddings\":true,"
               "\"text_config\":{\"num_hidden_layers\":0}},"
               "\"vision_config\":{\"num_hidden_layers\":-1},"
               "\"architectures\":[\"Gemma3ForConditionalGeneration\"],\"model_type\":\"gemma3\","
               "\"vocab_size\":4}",
               &arena, &c);
    assert_string_equal(c.architecture, "Gemma3ForConditionalGeneration");
    assert_string_equal(c.model_type, "gemma3");
    assert_int_equal(c.hidden, 7);
    assert_int_equal(c.vocabulary, 4);
    assert_int_equal(c.layers, 0);
    assert_true(c.tied);
    must_parse("{\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":5}}", &arena, &c);
    assert_true(c.rope_theta == 5);
    must_parse("{\"rope_parameters\":{\"sliding_attention\":{\"rope_theta\":1},"
               "\"full_attention\":{\"rope_theta\":6}}}",
               &arena, &c);
    assert_true(c.rope_theta == 6);
    must_parse("{\"rope_parameters\":{\"rope_theta\":5},\"rope_theta\":7}", &arena, &c);
    assert_true(c.rope_theta == 7);
    must_parse("{\"dtype\":\"float16\",\"n_ctx\":1,\"n_positions\":2,\"n_embd\":3}", &arena, &c);
    assert_string_equal(c.torch_dtype, "float16");
    assert_int_equal(c.context, 2);
    assert_int_equal(c.hidden, 3);
    must_parse("{\"_mistralrs_qk_rope_layout\":\"adjacent\"}", &arena, &c);
    assert_true(c.rotary_adjacent);
    must_parse("{\"_mistralrs_qk_rope_layout\":\"half_split\"}", &arena, &c);
    assert_false(c.rotary_adjacent);
    must_parse("{\"_mistralrs_qk_rope_layout\":[1]}", &arena, &c);
    assert_false(c.rotary_adjacent);
    uqff_arena_free(&arena);
}

static void reads_the_stretching_of_the_rotation(void **state) {
    (void)state;
    struct uqff_arena arena = {0};
    struct uqff_config c;
    must_parse("{\"rope_scaling\":{\"factor\":32.0,\"high_freq_factor\":4,\"low_freq_factor\":1.0,"
               "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}",
               &arena, &c);
    assert_string_equal(c.rope.type, "llama3");
    assert_true(c.rope.factor == 32 && c.rope.high_freq_factor == 4 && c.rope.low_freq_factor == 1);
    assert_int_equal(c.rope.original_context, 8192);
    must_parse("{\"original_max_position_embeddings\":4096,\"rope_scaling\":{\"type\":\"longrope\","
               "\"long_factor\":[1,2.5],\"short_factor\":[1.25,3,4],"
               "\"original_max_position_embeddings\":1},\"partial_rotary_factor\":0.75}",
               &arena, &c);
    assert_string_equal(c.rope.type, "longrope");
    assert_int_equal(c.rope.original_context, 4096);
    assert_int_equal(c.rope.long_count, 2);
    assert_int_equal(c.rope.short_count, 3);
    assert_true(c.rope.long_factors[1] == 2.5 && c.rope.short_factors[2] == 4);
    assert_true(c.rotary_share == 0.75);
    must_parse("{\"rope_scaling\":null,\"sliding_window\":null,\"final_logit_softcapping\":30,"
               "\"attn_logit_softcapping\":50.0,\"moe_intermediate_size\":768}",
               &arena, &c);
    assert_string_equal(c.rope.type, "");
    assert_true(c.rope.long_factors == NULL && c.sliding_window == 0);
    assert_true(c.output_softcap == 30 && c.attention_softcap == 50);
    assert_int_equal(c.expert_feed_forward, 768);
    uqff_arena_free(&arena);
}

static void knows_who_ties_by_default(void **state) {
    (void)state;
    static const struct {
        const char *json;
        bool tied;
    } cases[] = {
        {"{\"architectures\":[\"GemmaForCausalLM\"]}", true},
        {"{\"model_type\":\"smollm3\"}", true},
        {"{\"model_type\":\"llama\"}", false},
        {"{\"model_type\":\"gemma2\",\"tie_word_embeddings\":false}", false},
        {"{\"model_type\":\"unheard-of\"}", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_arena arena = {0};
        struct uqff_config c;
        must_parse(cases[i].json, &arena, &c);
        assert_int_equal(c.tied, cases[i].tied);
        uqff_arena_free(&arena);
    }
}

static void refuses_wrong_kinds_and_ranges(void **state) {
    (void)state;
    static const struct {
        const char *json, *needle;
    } cases[] = {
        {"{\"hidden_size\":-1}", "hidden_size"},
        {"{\"hidden_size\":0}", "hidden_size"},
        {"{\"hidden_size\":32.0}", "hidden_size"},
        {"{\"hidden_size\":1e300}", "hidden_size"},
        {"{\"hidden_size\":\"32\"}", "hidden_size"},
        {"{\"hidden_size\":true}", "hidden_size"},
        {"{\"hidden_size\":{}}", "hidden_size"},
        {"{\"hidden_size\":268435457}", "hidden_size"},
        {"{\"vocab_size\":4611686018427387904}", "vocab_size"},
        {"{\"num_hidden_layers\":4294967295}", "num_hidden_layers"},
        {"{\"num_attention_heads\":0}", "num_attention_heads"},
        {"{\"num_key_value_heads\":0}", "num_key_value_heads"},
        {"{\"n_layer\":1,\"num_hidden_layers\":2,\"num_layers\":0}", "num_layers"},
        {"{\"rms_norm_eps\":0}", "rms_norm_eps"},
        {"{\"rms_norm_eps\":-1e-5}", "rms_norm_eps"},
        {"{\"rms_norm_eps\":1e999}", "number"},
        {"{\"rope_theta\":-1}", "rope_theta"},
        {"{\"rope_theta\":\"1\"}", "rope_theta"},
        {"{\"rope_parameters\":{\"rope_theta\":0}}", "rope_theta"},
        {"{\"rope_scaling\":{\"factor\":\"2\"}}", "factor"},
        {"{\"rope_scaling\":{\"long_factor\":2}}", "long_factor"},
        {"{\"rope_scaling\":{\"short_factor\":[1,[2]]}}", "short_factor"},
        {"{\"architectures\":\"A\"}", "architectures"},
        {"{\"architectures\":[1]}", "architectures"},
        {"{\"model_type\":1}", "model_type"},
        {"{\"model_type\":\"a\\u0000b\"}", "NUL"},
        {"{\"tie_word_embeddings\":1}", "tie_word_embeddings"},
        {"{\"text_config\":[]}", "text_config"},
        {"{\"text_config\":{\"hidden_size\":-1}}", "hidden_size"},
        {"[]", "configuration"},
        {"1", "configuration"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_arena arena = {0};
        struct uqff_config c;
        struct uqff_error err;
        assert_fails(parse(cases[i].json, &arena, &c, &err), UQFF_E_FIELD, &err, cases[i].needle);
        uqff_arena_free(&arena);
    }
    static const char *const broken[] = {"", "{", "{}{}", "{\"hidden_size\":NaN}", "{\"a\":01}"};
    for (size_t i = 0; i < COUNT(broken); i++) {
        struct uqff_arena arena = {0};
        struct uqff_config c;
        struct uqff_error err;
        assert_fails(parse(broken[i], &arena, &c, &err), UQFF_E_SYNTAX, &err, "config.json");
        uqff_arena_free(&arena);
    }
    struct uqff_arena arena = {0};
    struct uqff_config c;
    struct uqff_error err;
    assert_fails(parse("{\"hidden_size\":1,\"hidden_size\":1}", &arena, &c, &err), UQFF_E_DUPLICATE,
                 &err, "hidden_size");
    uqff_arena_free(&arena);
}

static void gives_the_verdicts_of_the_corpus(void **state) {
    (void)state;
    size_t count, seen = 0;
    const struct bad_case *cases = bad_cases("json", &count);
    static const struct made weights[] = {{"lm_head.weight", UQFF_DTYPE_BF16, 2, {4, 32}}};
    write_tensors("model.safetensors", weights, 1);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(cases[i].file, "j_config_", 9) != 0) {
            continue;
        }
        size_t size;
        struct uqff_model *model;
        struct uqff_error err;
        void *bytes = read_file(bad_file(cases[i].file), &size);
        write_file(in_folder("config.json"), bytes, size);
        free(bytes);
        assert_string_equal(cases[i].verdict, "reject");
        enum uqff_code code = uqff_model_open(folder, NULL, &model, &err);
        if (code == UQFF_OK) {
            fail_msg("%s: %s, found accepted", cases[i].file, cases[i].reason);
        }
        assert_non_null(strstr(err.text, "config.json"));
        seen++;
    }
    assert_int_equal(seen, 6);
}

/* ---- configurations of published models ------------------------------------------------------ */

static const struct {
    const char *file, *arch;
    uint64_t layers, hidden, kv_heads, experts;
    bool tied;
} published[] = {
    {"Mixtral-8x7B-v0.1.json", "mixtral", 32, 4096, 8, 8, false},
    {"deepseek_v2_lite.json", "deepseek_v2", 27, 2048, 16, 64, false},
    {"gemma2_2b.json", "gemma2", 26, 2304, 4, 0, true},
    {"gemma3_1b_it.json", "gemma3_text", 26, 1152, 1, 0, true},
    {"gemma_2b.json", "gemma", 18, 2048, 1, 0, true},
    {"llama3_1_8b.json", "llama", 32, 4096, 8, 0, false},
    {"llama3_2_1b.json", "llama", 16, 2048, 8, 0, true},
    {"mistral_7b.json", "mistral", 32, 4096, 8, 0, false},
    {"ministral3_3b_2512.json", NULL, 26, 3072, 8, 0, true},
    {"phi-3_5.json", "phi3", 32, 3072, 32, 0, false},
    {"phi-2.json", NULL, 32, 2560, 0, 0, false},
    {"qwen2_0_5b.json", "qwen2", 24, 896, 2, 0, true},
    {"qwen3_0.6b.json", "qwen3", 28, 1024, 8, 0, true},
    {"gpt2.json", NULL, 12, 768, 0, 0, false},
};

static struct uqff_config read_published(const char *directory, const char *file,
                                         struct uqff_arena *arena) {
    char path[1024];
    size_t size;
    struct uqff_config c;
    struct uqff_error err;
    snprintf(path, sizeof path, "%s/%s", directory, file);
    char *json = read_file(path, &size);
    assert_ok(uqff_config_parse(json, size, path, arena, &c, &err), &err);
    free(json);
    return c;
}

static void reads_published_configurations(void **state) {
    (void)state;
    const char *directory = extra_data("zoo/configs/mlc-presets");
    if (directory == NULL) {
        skip();
    }
    struct uqff_arena arena = {0};
    for (size_t i = 0; i < COUNT(published); i++) {
        struct uqff_config c = read_published(directory, published[i].file, &arena);
        const struct uqff_arch *arch = uqff_arch_find(c.architecture);
        assert_int_equal(arch == NULL, published[i].arch == NULL);
        if (arch != NULL) {
            assert_string_equal(arch->name, published[i].arch);
        }
        assert_int_equal(c.layers, published[i].layers);
        assert_int_equal(c.hidden, published[i].hidden);
        assert_int_equal(c.kv_heads, published[i].kv_heads);
        assert_int_equal(c.experts, published[i].experts);
        assert_int_equal(c.tied, published[i].tied);
        assert_true(c.vocabulary > 1000);
    }
    DIR *listing = opendir(directory);
    size_t count = 0;
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        size_t n = strlen(entry->d_name);
        if (n > 5 && strcmp(entry->d_name + n - 5, ".json") == 0) {
            struct uqff_config c = read_published(directory, entry->d_name, &arena);
            assert_string_not_equal(c.architecture, "");
            assert_true(c.layers > 0 && c.hidden > 0 && c.heads > 0);
            count++;
        }
    }
    closedir(listing);
    assert_true(count >= 57);
    uqff_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_fields),
        cmocka_unit_test(takes_absence_and_null_alike),
        cmocka_unit_test(looks_in_nested_objects),
        cmocka_unit_test(reads_the_stretching_of_the_rotation),
        cmocka_unit_test(knows_who_ties_by_default),
        cmocka_unit_test(refuses_wrong_kinds_and_ranges),
        cmocka_unit_test_setup(gives_the_verdicts_of_the_corpus, enter_folder),
        cmocka_unit_test(reads_published_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
