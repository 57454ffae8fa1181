/* The bundled model in full, references to models, and what cannot be opened. */
#include "test_model_builder.h"

#include <unistd.h>

static const struct made small[] = {
    {"lm_head.weight", UQFF_DTYPE_BF16, 2, {64, 32}},
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {64, 32}},
    {"model.layers.0.self_attn.q_proj.weight", UQFF_DTYPE_BF16, 2, {32, 32}},
    {"model.norm.weight", UQFF_DTYPE_BF16, 1, {32}},
};
#define SMALL (sizeof small / sizeof *small)

static const char llama[] = "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
                            "\"hidden_size\":32,\"num_attention_heads\":4}";

/* ---- the bundled model ----------------------------------------------------------------------- */

static const struct {
    const char *leaf, *gguf;
    enum uqff_role role;
    uint64_t rows, columns;
} layer_modules[] = {
    {"mlp.down_proj", "ffn_down", UQFF_ROLE_FFN_DOWN, 256, 512},
    {"mlp.gate_proj", "ffn_gate", UQFF_ROLE_FFN_GATE, 512, 256},
    {"mlp.up_proj", "ffn_up", UQFF_ROLE_FFN_UP, 512, 256},
    {"self_attn.k_proj", "attn_k", UQFF_ROLE_ATTN_K, 128, 256},
    {"self_attn.o_proj", "attn_output", UQFF_ROLE_ATTN_OUTPUT, 256, 256},
    {"self_attn.q_proj", "attn_q", UQFF_ROLE_ATTN_Q, 256, 256},
    {"self_attn.v_proj", "attn_v", UQFF_ROLE_ATTN_V, 128, 256},
};
#define LAYER_MODULES (sizeof layer_modules / sizeof *layer_modules)

static void lists_the_bundled_modules(void **state) {
    (void)state;
    struct uqff_model *model = must_open(test_data("storyteller"));
    assert_string_equal(warnings, "");
    assert_int_equal(uqff_model_kind(model), UQFF_MODEL_HF);
    assert_string_equal(uqff_model_name(model), "storyteller");
    assert_string_equal(uqff_model_arch(model)->name, "llama");
    assert_non_null(uqff_model_safetensors(model));
    assert_null(uqff_model_gguf(model));
    assert_null(uqff_model_container(model));
    assert_int_equal(uqff_model_variant(model), UQFF_NONE);
    assert_int_equal(uqff_model_module_count(model), 2 + 4 * LAYER_MODULES);
    assert_int_equal(uqff_model_residual_count(model), 9);
    assert_int_equal(uqff_model_tensor_count(model), 39);
    assert_string_equal(uqff_model_module(model, 0)->name, "lm_head");
    assert_string_equal(uqff_model_module(model, 0)->gguf_name, "output");
    assert_int_equal(uqff_model_module(model, 0)->role, UQFF_ROLE_OUTPUT);
    assert_int_equal(uqff_model_module(model, 0)->layer, -1);
    assert_string_equal(uqff_model_module(model, 1)->name, "model.embed_tokens");
    assert_string_equal(uqff_model_module(model, 1)->gguf_name, "token_embd");
    assert_int_equal(uqff_model_module(model, 1)->role, UQFF_ROLE_EMBEDDING);
    for (size_t i = 0; i < 4 * LAYER_MODULES; i++) {
        const struct uqff_model_module *module = uqff_model_module(model, 2 + i);
        size_t layer = i / LAYER_MODULES, kind = i % LAYER_MODULES;
        char name[128];
        snprintf(name, sizeof name, "model.layers.%zu.%s", layer, layer_modules[kind].leaf);
        assert_string_equal(module->name, name);
        assert_int_equal(uqff_model_find_module(model, name), 2 + i);
        snprintf(name, sizeof name, "blk.%zu.%s", layer, layer_modules[kind].gguf);
        assert_string_equal(module->gguf_name, name);
        assert_int_equal(module->role, layer_modules[kind].role);
        assert_int_equal(module->layer, layer);
        assert_int_equal(module->rank, 2);
        assert_int_equal(module->rows, layer_modules[kind].rows);
        assert_int_equal(module->columns, layer_modules[kind].columns);
        assert_int_equal(module->type, UQFF_TYPE_BF16);
        assert_int_equal(module->bias, UQFF_NONE);
        uint64_t heads = module->role == UQFF_ROLE_ATTN_Q   ? 4
                         : module->role == UQFF_ROLE_ATTN_K ? 2
                                                            : 0;
        assert_int_equal(module->gguf_heads, heads);
    }
    uqff_model_close(model);
}

static void lists_the_bundled_residual(void **state) {
    (void)state;
    struct uqff_model *model = must_open(test_data("storyteller"));
    static const char *const assets[] = {"config.json", "generation_config.json", "tokenizer.json",
                                         "tokenizer_config.json"};
    const struct uqff_tensor *first = uqff_model_tensor(model, uqff_model_residual(model, 0));
    const struct uqff_tensor *last = uqff_model_tensor(model, uqff_model_residual(model, 8));
    assert_string_equal(first->name, "model.layers.0.input_layernorm.weight");
    assert_string_equal(first->hf_name, first->name);
    assert_string_equal(first->gguf_name, "blk.0.attn_norm.weight");
    assert_true(first->gguf_shift == 0);
    assert_string_equal(last->name, "model.norm.weight");
    assert_string_equal(last->gguf_name, "output_norm.weight");
    assert_int_equal(uqff_model_asset_count(model), 4);
    for (size_t i = 0; i < 4; i++) {
        struct uqff_error err;
        char *bytes, path[64];
        size_t size, expected_size;
        assert_string_equal(uqff_model_asset_path(model, i), assets[i]);
        snprintf(path, sizeof path, "storyteller/%s", assets[i]);
        char *expected = read_file(test_data(path), &expected_size);
        assert_ok(uqff_model_read_asset(model, i, &bytes, &size, &err), &err);
        assert_int_equal(size, expected_size);
        assert_int_equal(size, uqff_model_asset_size(model, i));
        assert_memory_equal(bytes, expected, size);
        uqff_free(bytes);
        free(expected);
    }
    uqff_model_close(model);
}

static void reads_the_bundled_rows(void **state) {
    (void)state;
    struct uqff_model *model = must_open(test_data("storyteller"));
    struct uqff_error err;
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        size_t n = (size_t)(module->rows * module->columns);
        uint64_t row;
        const char *name = uqff_model_module_source_name(model, i, 3, &row);
        assert_int_equal(row, 3);
        size_t tensor = uqff_model_find_tensor(model, name);
        struct uqff_source *source;
        uint64_t offset;
        assert_true(uqff_model_tensor_range(model, tensor, &source, &offset));
        unsigned char *stored = malloc(2 * n), *raw = malloc(2 * n);
        assert_ok(uqff_source_read(source, offset, stored, 2 * n, &err), &err);
        assert_ok(uqff_model_module_raw_rows(model, i, 0, module->rows, raw, &err), &err);
        assert_memory_equal(stored, raw, 2 * n);
        float *values = module_values(model, module->name);
        for (size_t k = 0; k < n; k++) {
            uint32_t bits;
            memcpy(&bits, &values[k], 4);
            assert_int_equal(bits, (uint32_t)uqff_load_le16(stored + 2 * k) << 16);
        }
        free(values);
        free(stored);
        free(raw);
    }
    uqff_model_close(model);
}

static void keeps_to_its_ranges(void **state) {
    (void)state;
    struct uqff_model *model = must_open(test_data("storyteller"));
    struct uqff_error err;
    float values[512];
    assert_fails(uqff_model_read_module_rows(model, 0, 1024, 1, values, &err), UQFF_E_ARGUMENT,
                 &err, "lm_head");
    assert_fails(uqff_model_read_module_rows(model, 0, 1, UINT64_MAX, values, &err),
                 UQFF_E_ARGUMENT, &err, "lm_head");
    assert_fails(uqff_model_module_raw_rows(model, 0, 1025, 0, values, &err), UQFF_E_ARGUMENT, &err,
                 "lm_head");
    assert_fails(uqff_model_read_rows(model, 0, 1020, 5, values, &err), UQFF_E_ARGUMENT, &err,
                 "found 1024");
    assert_fails(uqff_model_read(model, 0, 524287, values, 2, &err), UQFF_E_ARGUMENT, &err,
                 "found 524288");
    assert_ok(uqff_model_read_module_rows(model, 0, 1024, 0, values, &err), &err);
    assert_ok(uqff_model_read(model, 0, 524288, values, 0, &err), &err);
    const size_t none = uqff_model_find_tensor(model, "lm_head.weigh");
    assert_int_equal(none, UQFF_NONE);
    char *text = NULL;
    size_t size;
    assert_fails(uqff_model_read(model, none, 0, values, 1, &err), UQFF_E_ARGUMENT, &err,
                 "no such tensor");
    assert_fails(uqff_model_read_rows(model, none, 0, 1, values, &err), UQFF_E_ARGUMENT, &err,
                 "no such tensor");
    assert_fails(uqff_model_read_module_rows(model, none, 0, 1, values, &err), UQFF_E_ARGUMENT,
                 &err, "no such module");
    assert_fails(
        uqff_model_module_raw_rows(model, uqff_model_module_count(model), 0, 1, values, &err),
        UQFF_E_ARGUMENT, &err, "no such module");
    assert_fails(uqff_model_read_asset(model, none, &text, &size, &err), UQFF_E_ARGUMENT, &err,
                 "no such side file");
    uqff_model_close(model);
}

static void knows_its_inputs(void **state) {
    (void)state;
    struct uqff_model *model = must_open(test_data("storyteller"));
    struct uqff_error err;
    assert_true(uqff_model_is_input(model, test_data("storyteller/model.safetensors")));
    assert_true(uqff_model_is_input(model, test_data("storyteller/config.json")));
    assert_false(uqff_model_is_input(model, test_data("storyteller/valid.txt")));
    assert_false(uqff_model_is_input(model, in_folder("absent")));
    assert_ok(uqff_model_unchanged(model, &err), &err);
    uqff_model_close(model);

    model = open_made(llama, small, SMALL);
    write_text("config.json", "{\"changed\":1}");
    assert_fails(uqff_model_unchanged(model, &err), UQFF_E_CHANGED, &err, "config.json");
    uqff_model_close(model);
}

/* ---- where weights are looked for ------------------------------------------------------------ */

static void check_opens(const char *reference, const char *name) {
    struct uqff_model *model = must_open(reference);
    assert_string_equal(uqff_model_name(model), name);
    assert_int_equal(uqff_model_tensor_count(model), SMALL);
    assert_non_null(uqff_model_arch(model));
    uqff_model_close(model);
}

static void finds_weights(void **state) {
    (void)state;
    const char *own = strrchr(folder, '/') + 1;
    char slashes[600], with_mark[600];
    write_text("config.json", llama);
    write_tensors("other.safetensors", small, SMALL);
    check_opens(folder, own);
    check_opens(in_folder("other.safetensors"), "other");
    snprintf(slashes, sizeof slashes, "%s//", folder);
    check_opens(slashes, own);
    snprintf(with_mark, sizeof with_mark, "%s", in_folder("a#b.safetensors"));
    write_tensors("a#b.safetensors", small, SMALL);
    check_opens(with_mark, "a#b");

    /* Two files that no index ties together. */
    struct uqff_model *model;
    struct uqff_error err;
    assert_fails(uqff_model_open(folder, &options, &model, &err), UQFF_E_MISSING, &err,
                 "holds 2 safetensors files");
    write_tensors("consolidated.safetensors", small, 1);
    model = must_open(folder);
    assert_int_equal(uqff_model_tensor_count(model), 1);
    uqff_model_close(model);
    write_tensors("model.safetensors", small, 2);
    model = must_open(folder);
    assert_int_equal(uqff_model_tensor_count(model), 2);
    uqff_model_close(model);
    write_text("model.safetensors.index.json",
               "{\"weight_map\":{\"lm_head.weight\":\"consolidated.safetensors\"}}");
    model = must_open(folder);
    assert_int_equal(uqff_model_tensor_count(model), 1);
    assert_true(uqff_model_is_input(model, in_folder("model.safetensors.index.json")));
    uqff_model_close(model);
    model = must_open(in_folder("model.safetensors.index.json"));
    assert_string_equal(uqff_model_name(model), own);
    uqff_model_close(model);
}

static void says_what_is_missing(void **state) {
    (void)state;
    struct uqff_model *model;
    struct uqff_error err;
    assert_fails(uqff_model_open("", &options, &model, &err), UQFF_E_ARGUMENT, &err, "empty");
    assert_fails(uqff_model_open(in_folder("absent"), &options, &model, &err), UQFF_E_NOT_FOUND,
                 &err, "absent");
    assert_fails(uqff_model_open(in_folder("absent#q4k"), &options, &model, &err), UQFF_E_NOT_FOUND,
                 &err, "absent");
    assert_fails(uqff_model_open(folder, &options, &model, &err), UQFF_E_NOT_FOUND, &err,
                 "looked for model.safetensors.index.json");
    write_text("model.gguf", "GGUF");
    assert_fails(uqff_model_open(folder, &options, &model, &err), UQFF_E_TRUNCATED, &err,
                 "model.gguf");
    assert_int_equal(remove(in_folder("model.gguf")), 0);
    write_text("pytorch_model.bin", "PK");
    assert_fails(uqff_model_open(folder, &options, &model, &err), UQFF_E_UNSUPPORTED, &err,
                 "expected safetensors");
    write_tensors("model.safetensors", small, SMALL);
    char reference[600];
    snprintf(reference, sizeof reference, "%s#q4k", folder);
    assert_fails(uqff_model_open(reference, &options, &model, &err), UQFF_E_UNKNOWN, &err,
                 "no variant 'q4k'");
    assert_fails(uqff_model_open(in_folder("model.safetensors#q4k"), &options, &model, &err),
                 UQFF_E_UNKNOWN, &err, "has no variants");
    snprintf(reference, sizeof reference, "%s#", folder);
    assert_fails(uqff_model_open(reference, &options, &model, &err), UQFF_E_ARGUMENT, &err,
                 "behind '#'");
    assert_int_equal(mkfifo(in_folder("pipe.safetensors"), 0600), 0);
    assert_fails(uqff_model_open(in_folder("pipe.safetensors"), &options, &model, &err),
                 UQFF_E_NOT_REGULAR, &err, "pipe");
}

static void opens_without_configuration(void **state) {
    (void)state;
    write_tensors("model.safetensors", small, SMALL);
    struct uqff_model *model = must_open(folder);
    assert_null(uqff_model_arch(model));
    assert_string_equal(uqff_model_config(model)->architecture, "");
    assert_non_null(strstr(warnings, "no config.json"));
    assert_non_null(strstr(warnings, "is not known"));
    assert_int_equal(uqff_model_module_count(model), 3);
    uqff_model_close(model);
    write_text("config.json", "{\"hidden_size\":\"x\"}");
    struct uqff_error err;
    assert_fails(uqff_model_open(folder, &options, &model, &err), UQFF_E_FIELD, &err,
                 "config.json");
}

/* ---- side files ------------------------------------------------------------------------------ */

static void collects_side_files(void **state) {
    (void)state;
    static const char *const expected[] = {
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "LICENSE-MIT",
        "NOTICE",
        "README.md",
        "chat_template.jinja",
        "config.json",
        "modules.json",
    };
    write_text("NOTICE", "n");
    write_text("LICENSE-MIT", "l");
    write_text("README.md", "");
    write_text("chat_template.jinja", "{{ x }}");
    write_text("pickle.bin", "x");
    write_text("modules.json",
               "[{\"idx\":0,\"path\":\"\"},{\"path\":\"1_Pooling\",\"type\":{\"a\":[]}},"
               "{\"path\":\"2_Dense\"},{\"path\":\"3_Normalize\"},{\"path\":\"1_Pooling\"}]");
    assert_int_equal(mkdir(in_folder("1_Pooling"), 0777), 0);
    assert_int_equal(mkdir(in_folder("2_Dense"), 0777), 0);
    assert_int_equal(mkdir(in_folder("3_Normalize"), 0777), 0);
    assert_int_equal(mkdir(in_folder("LICENSES"), 0777), 0);
    assert_int_equal(mkdir(in_folder("tokenizer.json"), 0777), 0);
    assert_int_equal(symlink("absent", in_folder("vocab.json")), 0);
    write_text("1_Pooling/config.json", "{}");
    write_text("2_Dense/config.json", "{}");
    write_text("2_Dense/model.safetensors", "x");
    write_text("2_Dense/other", "x");
    struct uqff_model *model = open_made(llama, small, SMALL);
    assert_int_equal(uqff_model_asset_count(model), sizeof expected / sizeof *expected);
    for (size_t i = 0; i < uqff_model_asset_count(model); i++) {
        assert_string_equal(uqff_model_asset_path(model, i), expected[i]);
    }
    uqff_model_close(model);
}

static void refuses_bad_modules(void **state) {
    (void)state;
    static const struct {
        const char *json;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {"[{\"path\":\"../x\"}]", UQFF_E_NAME, "../x"},
        {"[{\"path\":\"/etc\"}]", UQFF_E_NAME, "/etc"},
        {"[{\"path\":\"..\"}]", UQFF_E_NAME, ".."},
        {"[{\"path\":\"a\\\\b\"}]", UQFF_E_NAME, "modules.json"},
        {"[{\"path\":1}]", UQFF_E_FIELD, "path"},
        {"[1]", UQFF_E_FIELD, "module"},
        {"{}", UQFF_E_FIELD, "modules.json"},
        {"[{\"path\":\"\"}] x", UQFF_E_SYNTAX, "modules.json"},
        {"[{\"path\":\"\"", UQFF_E_SYNTAX, "modules.json"},
    };
    write_tensors("model.safetensors", small, SMALL);
    write_text("config.json", llama);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqff_model *model;
        struct uqff_error err;
        write_text("modules.json", cases[i].json);
        assert_fails(uqff_model_open(folder, &options, &model, &err), cases[i].code, &err,
                     cases[i].needle);
    }
}

static void limits_side_files(void **state) {
    (void)state;
    struct uqff_model *model;
    struct uqff_error err;
    write_tensors("model.safetensors", small, SMALL);
    write_text("config.json", llama);
    write_text("README.md", "x");
    assert_int_equal(truncate(in_folder("README.md"), ((off_t)256 << 20) + 1), 0);
    assert_fails(uqff_model_open(folder, &options, &model, &err), UQFF_E_LIMIT, &err, "README.md");
}

/* ---- failing allocations --------------------------------------------------------------------- */

static void survives_failing_allocations(void **state) {
    (void)state;
    write_tensors("model.safetensors", small, SMALL);
    write_text("config.json", llama);
    for (size_t n = 1;; n++) {
        struct uqff_error err;
        struct uqff_model *model = NULL;
        fail_allocation(n);
        enum uqff_code code = uqff_model_open(folder, NULL, &model, &err);
        fail_allocation(0);
        if (code == UQFF_OK) {
            assert_true(n > 20);
            uqff_model_close(model);
            return;
        }
        assert_int_equal(code, UQFF_E_MEMORY);
    }
}

static void takes_files_for_what_they_are(void **state) {
    (void)state;
    static const struct {
        const char *name, *text;
        enum uqff_model_kind kind;
    } files[] = {
        {"a.gguf", "", UQFF_MODEL_GGUF},       {"a.bin", "GGUF", UQFF_MODEL_GGUF},
        {"a.uqff", "GGUFx", UQFF_MODEL_GGUF},  {"b.uqff", "GGU", UQFF_MODEL_UQFF},
        {"a.safetensors", "", UQFF_MODEL_HF},  {"uqff", "what", UQFF_MODEL_HF},
        {"x.index.json", "{}", UQFF_MODEL_HF},
    };
    enum uqff_model_kind kind;
    struct uqff_error err;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_text(files[i].name, files[i].text);
        assert_ok(uqff_model_sniff(in_folder(files[i].name), &kind, &err), &err);
        assert_int_equal(kind, files[i].kind);
    }
    assert_fails(uqff_model_sniff(in_folder("absent.gguf"), &kind, &err), UQFF_E_NOT_FOUND, &err,
                 "absent.gguf");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, enter_folder)
    const struct CMUnitTest tests[] = {
        TEST(lists_the_bundled_modules),
        TEST(lists_the_bundled_residual),
        TEST(reads_the_bundled_rows),
        TEST(keeps_to_its_ranges),
        TEST(knows_its_inputs),
        TEST(finds_weights),
        TEST(says_what_is_missing),
        TEST(opens_without_configuration),
        TEST(collects_side_files),
        TEST(refuses_bad_modules),
        TEST(limits_side_files),
        TEST(survives_failing_allocations),
        TEST(takes_files_for_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
