/* Exporting variants and editing them: the bytes that packing would have given. */
#include <unistd.h>

#include "test_pack_support.h"

static void make_directory(char out[512], const char *name) {
    struct uqff_error err;
    snprintf(out, 512, "%s", scratch_file(name));
    assert_ok(uqff_make_directory(out, &err), &err);
}

static void pack_multi(const char *model, const char *output, const char *const *quants,
                       size_t count, const char *default_quant) {
    struct uqff_pack_options options = pack_options(output, quants, count);
    options.default_quant = default_quant;
    pack(model, &options);
}

static enum uqff_code try_export(const char *reference, enum uqff_export_format format,
                                 const char *output, uint32_t dtype, uint64_t max_shard,
                                 struct uqff_error *err) {
    struct uqff_model *model = open_model(reference);
    struct uqff_export_options options = {
        .format = format, .output = output, .dtype = uqff_type_info(dtype), .max_shard = max_shard};
    enum uqff_code code = uqff_export(model, &options, NULL, err);
    uqff_model_close(model);
    return code;
}

/* ---- mistral.rs ------------------------------------------------------------------------------ */

static void check_exports(const char *model, const char *name, const char *const *quants,
                          size_t count, const char *default_quant) {
    struct uqff_error err;
    char folder[512], multi[600], reference[700], packed[700], exported[700];
    make_directory(folder, name);
    snprintf(multi, sizeof multi, "%s/m.uqff", folder);
    pack_multi(model, multi, quants, count, default_quant);
    for (size_t i = 0; i < count; i++) {
        snprintf(reference, sizeof reference, "%s#%s", multi, quants[i]);
        snprintf(packed, sizeof packed, "%s/packed-%s", folder, quants[i]);
        snprintf(exported, sizeof exported, "%s/exported-%s", folder, quants[i]);
        struct uqff_pack_options options = pack_options(packed, &quants[i], 1);
        options.format = UQFF_PACK_MISTRALRS;
        pack(model, &options);
        assert_ok(try_export(reference, UQFF_EXPORT_MISTRALRS, exported, UQFF_NO_TYPE, 0, &err),
                  &err);
        assert_same_directory(packed, exported);
    }
}

static void test_plain_is_packing_alone(void **state) {
    (void)state;
    static const char *const quants[] = {"q4_k_m", "q6_k", "q8_0", "bf16"};
    check_exports(test_data("storyteller"), "alone", quants, COUNT(quants), NULL);
}

/* With biases of three types and a default of each kind. */
static void test_plain_biases(void **state) {
    (void)state;
    static const char *const quants[] = {"q8_0", "bf16", "f16", "q4_k_m"};
    const char *model = tiny_qwen2_model("biases");
    check_exports(model, "biases-blocks", quants, COUNT(quants), "q8_0");
    check_exports(model, "biases-bf16", quants, COUNT(quants), "bf16");
    check_exports(model, "biases-f16", quants, COUNT(quants), "f16");
}

static void test_plain_experts(void **state) {
    (void)state;
    static const char *const quants[] = {"q8_0", "bf16"};
    check_exports(tiny_mixtral_model("stack"), "stack-out", quants, COUNT(quants), NULL);
}

/* Metadata that the user set goes along, and so does a limit on shards. */
static void test_plain_options(void **state) {
    (void)state;
    struct uqff_error err;
    char folder[512], multi[600], packed[700], exported[700];
    make_directory(folder, "options");
    snprintf(multi, sizeof multi, "%s/m.uqff", folder);
    snprintf(packed, sizeof packed, "%s/packed", folder);
    snprintf(exported, sizeof exported, "%s/exported", folder);
    static const char *const quants[] = {"q8_0"};
    struct uqff_metadata_pair pair = {"author", "nobody"};
    struct uqff_pack_options options = pack_options(multi, quants, 1);
    options.metadata = &pair;
    options.metadata_count = 1;
    options.compress_assets = true;
    pack(test_data("storyteller"), &options);
    options.format = UQFF_PACK_MISTRALRS;
    options.output = packed;
    options.max_shard = 1 << 20;
    pack(test_data("storyteller"), &options);
    assert_ok(try_export(multi, UQFF_EXPORT_MISTRALRS, exported, UQFF_NO_TYPE, 1 << 20, &err),
              &err);
    assert_true(count_files(exported) > 7);
    assert_same_directory(packed, exported);
    assert_fails(try_export(multi, UQFF_EXPORT_MISTRALRS, exported, UQFF_NO_TYPE, 0, &err),
                 UQFF_E_EXISTS, &err, "already exists");
}

/* ---- decoded safetensors --------------------------------------------------------------------- */

/* Every tensor of the source is there again, with the bytes it had. */
static void assert_same_tensors(const char *source, const char *exported) {
    struct uqff_error err;
    struct uqff_model *a = open_model(source), *b = open_model(exported);
    assert_int_equal(uqff_model_kind(b), UQFF_MODEL_HF);
    assert_int_equal(uqff_model_tensor_count(a), uqff_model_tensor_count(b));
    for (size_t i = 0; i < uqff_model_tensor_count(a); i++) {
        const struct uqff_tensor *x = uqff_model_tensor(a, i), *y = uqff_model_tensor(b, i);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->rank, y->rank);
        assert_memory_equal(x->shape, y->shape, x->rank * sizeof *x->shape);
        char *left = malloc(x->bytes), *right = malloc(x->bytes);
        assert_ok(uqff_model_read(a, i, 0, left, x->bytes, &err), &err);
        assert_ok(uqff_model_read(b, i, 0, right, x->bytes, &err), &err);
        assert_memory_equal(left, right, x->bytes);
        free(left);
        free(right);
    }
    uqff_model_close(a);
    uqff_model_close(b);
}

static void test_decoded_is_the_source(void **state) {
    (void)state;
    struct uqff_error err;
    char folder[512], multi[600], reference[700], out[700];
    make_directory(folder, "decoded");
    static const char *const quants[] = {"q4_k_m", "bf16"};
    const char *models[] = {test_data("storyteller"), tiny_mixtral_model("decoded-experts")};
    for (size_t i = 0; i < COUNT(models); i++) {
        snprintf(multi, sizeof multi, "%s/m%zu.uqff", folder, i);
        snprintf(reference, sizeof reference, "%s#bf16", multi);
        snprintf(out, sizeof out, "%s/whole%zu", folder, i);
        pack_multi(models[i], multi, quants, COUNT(quants), NULL);
        assert_ok(try_export(reference, UQFF_EXPORT_SAFETENSORS, out, UQFF_NO_TYPE, 0, &err), &err);
        assert_same_tensors(models[i], out);
        snprintf(out, sizeof out, "%s/sharded%zu", folder, i);
        assert_ok(try_export(reference, UQFF_EXPORT_SAFETENSORS, out, UQFF_NO_TYPE, 40000, &err),
                  &err);
        assert_true(count_files(out) > 3);
        assert_same_tensors(models[i], out);
    }
}

static void test_decoded_values(void **state) {
    (void)state;
    struct uqff_error err;
    char folder[512], multi[600], out[700], path[800];
    make_directory(folder, "values");
    snprintf(multi, sizeof multi, "%s/m.uqff", folder);
    snprintf(out, sizeof out, "%s/f32", folder);
    static const char *const quants[] = {"q8_0"};
    pack_multi(tiny_qwen2_model("values-model"), multi, quants, 1, NULL);
    assert_ok(try_export(multi, UQFF_EXPORT_SAFETENSORS, out, UQFF_TYPE_F32, 0, &err), &err);
    struct uqff_model *a = open_model(multi), *b = open_model(out);
    assert_int_equal(uqff_model_module_count(a), uqff_model_module_count(b));
    for (size_t i = 0; i < uqff_model_module_count(a); i++) {
        const struct uqff_model_module *x = uqff_model_module(a, i), *y = uqff_model_module(b, i);
        assert_string_equal(x->name, y->name);
        assert_int_equal(y->type, UQFF_TYPE_F32);
        assert_int_equal(x->bias == UQFF_NONE, y->bias == UQFF_NONE);
        size_t n = (size_t)(x->rows * x->columns);
        float *left = malloc(n * sizeof *left), *right = malloc(n * sizeof *right);
        assert_ok(uqff_model_read_module_rows(a, i, 0, x->rows, left, &err), &err);
        assert_ok(uqff_model_read_module_rows(b, i, 0, x->rows, right, &err), &err);
        assert_memory_equal(left, right, n * sizeof *left);
        free(left);
        free(right);
    }
    uqff_model_close(a);
    uqff_model_close(b);
    snprintf(path, sizeof path, "%s/config.json", out);
    size_t size = 0;
    char *config = read_file(path, &size);
    config = realloc(config, size + 1);
    config[size] = '\0';
    assert_non_null(strstr(config, "\"torch_dtype\": \"float32\""));
    assert_null(strstr(config, "quantization_config"));
    free(config);
    assert_fails(try_export(multi, UQFF_EXPORT_SAFETENSORS, out, UQFF_TYPE_Q8_0, 0, &err),
                 UQFF_E_ARGUMENT, &err, "Q8_0");
    assert_fails(try_export(multi, UQFF_EXPORT_SAFETENSORS, out, UQFF_TYPE_F32, 0, &err),
                 UQFF_E_EXISTS, &err, "already exists");
    assert_fails(try_export(out, UQFF_EXPORT_SAFETENSORS, out, UQFF_TYPE_F32, 0, &err),
                 UQFF_E_IS_INPUT, &err, "is read from");
}

/* ---- editing variants ------------------------------------------------------------------------ */

static enum uqff_code rewrite(const char *path, const char *from, const char *add, const char *drop,
                              const char *default_variant, struct uqff_error *err) {
    struct uqff_pack_options pack = pack_options(NULL, NULL, 0);
    struct uqff_variants_edit edit = {
        .add = &add,
        .add_count = add != NULL,
        .from = from != NULL ? open_model(from) : NULL,
        .drop = &drop,
        .drop_count = drop != NULL,
        .default_variant = default_variant,
        .pack = &pack,
    };
    enum uqff_code code = uqff_variants_rewrite(path, &edit, NULL, err);
    uqff_model_close((struct uqff_model *)edit.from);
    return code;
}

struct edit_case {
    const char *before[4], *before_default;
    const char *add, *drop, *make_default;
    const char *after[4], *after_default;
};

static size_t length(const char *const *names) {
    size_t n = 0;
    while (n < 4 && names[n] != NULL) {
        n++;
    }
    return n;
}

static void check_edit(const char *model, const struct edit_case *c, size_t i) {
    struct uqff_error err;
    char folder[512], edited[600], fresh[600], name[32];
    snprintf(name, sizeof name, "edit%zu", i);
    make_directory(folder, name);
    snprintf(edited, sizeof edited, "%s/m.uqff", folder);
    pack_multi(model, edited, c->before, length(c->before), c->before_default);
    assert_ok(
        rewrite(edited, c->add != NULL ? model : NULL, c->add, c->drop, c->make_default, &err),
        &err);
    strcat(name, "f");
    make_directory(folder, name);
    snprintf(fresh, sizeof fresh, "%s/m.uqff", folder);
    pack_multi(model, fresh, c->after, length(c->after), c->after_default);
    assert_same_file(edited, fresh);
    assert_digests(edited);
}

static void test_edits(void **state) {
    (void)state;
    static const struct edit_case cases[] = {
        /* add */
        {{"q4_k_m"}, NULL, "q6_k", NULL, NULL, {"q4_k_m", "q6_k"}, NULL},
        {{"q4_k_m", "q8_0"}, "q8_0", "bf16", NULL, NULL, {"q4_k_m", "q8_0", "bf16"}, "q8_0"},
        {{"iq4_xs"}, NULL, "q8_0", NULL, NULL, {"iq4_xs", "q8_0"}, NULL},
        /* drop, the default among them */
        {{"q4_k_m", "q8_0"}, NULL, NULL, "q8_0", NULL, {"q4_k_m"}, NULL},
        {{"q4_k_m", "q8_0"}, NULL, NULL, "Q4_K_M", NULL, {"q8_0"}, NULL},
        {{"q8_0", "iq4_xs"}, NULL, NULL, "q8_0", NULL, {"iq4_xs"}, NULL},
        /* another default */
        {{"q4_k_m", "bf16"}, NULL, NULL, NULL, "bf16", {"q4_k_m", "bf16"}, "bf16"},
        {{"q4_k_m", "bf16"}, "bf16", NULL, NULL, "q4_k_m", {"q4_k_m", "bf16"}, "q4_k_m"},
        {{"f16", "bf16"}, "bf16", NULL, NULL, "f16", {"f16", "bf16"}, "f16"},
        /* everything at once */
        {{"q8_0", "bf16", "q4_0"}, NULL, "f16", "q8_0", "f16", {"bf16", "q4_0", "f16"}, "f16"},
    };
    const char *biased = tiny_qwen2_model("edit-model");
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_edit(i < 6 ? test_data("storyteller") : biased, &cases[i], i);
    }
}

/* Options of the layout are kept, and a set may get more or fewer shards. */
static void test_edit_shards(void **state) {
    (void)state;
    struct uqff_error err;
    char folder[512], fresh[512], path[600];
    static const char *const three[] = {"q4_k_m", "q6_k", "q8_0"};
    make_directory(folder, "cut");
    make_directory(fresh, "cut-fresh");
    snprintf(path, sizeof path, "%s/m.uqff", folder);
    struct uqff_pack_options options = pack_options(path, three, 3);
    options.max_shard = 1 << 20;
    options.alignment = 256;
    pack(test_data("storyteller"), &options);
    size_t before = count_files(folder);
    snprintf(path, sizeof path, "%s/m-0.uqff", folder);
    assert_ok(rewrite(path, NULL, NULL, "q8_0", NULL, &err), &err);
    assert_true(count_files(folder) < before);
    snprintf(path, sizeof path, "%s/m.uqff", fresh);
    options.quant_count = 2;
    pack(test_data("storyteller"), &options);
    assert_same_directory(folder, fresh);
    snprintf(path, sizeof path, "%s/m-0.uqff", folder);
    assert_ok(rewrite(path, test_data("storyteller"), "bf16", NULL, NULL, &err), &err);
    assert_digests(path);
    assert_true(count_files(folder) > before);
}

/* One importance matrix for all of a file. */
static void test_edit_importance(void **state) {
    (void)state;
    struct uqff_error err;
    char folder[512], edited[600], fresh[600], imatrix[512];
    make_directory(folder, "weighted");
    snprintf(edited, sizeof edited, "%s/m.uqff", folder);
    make_directory(folder, "weighted-fresh");
    snprintf(fresh, sizeof fresh, "%s/m.uqff", folder);
    snprintf(imatrix, sizeof imatrix, "%s", test_data("storyteller/imatrix.gguf"));
    static const char *const both[] = {"q4_k_s", "q5_0"};
    struct uqff_pack_options options = pack_options(edited, both, 1);
    options.imatrix = imatrix;
    pack(test_data("storyteller"), &options);
    options.output = fresh;
    options.quant_count = 2;
    pack(test_data("storyteller"), &options);
    struct uqff_model *model = open_model(test_data("storyteller"));
    struct uqff_variants_edit edit = {.add = &both[1], .add_count = 1, .from = model};
    assert_fails(uqff_variants_rewrite(edited, &edit, NULL, &err), UQFF_E_DIGEST, &err,
                 "importance matrix");
    edit.pack = &options;
    assert_ok(uqff_variants_rewrite(edited, &edit, NULL, &err), &err);
    assert_same_file(edited, fresh);
    uqff_model_close(model);
}

static void test_edit_refusals(void **state) {
    (void)state;
    struct uqff_error err;
    char folder[512], path[600], copy[600];
    make_directory(folder, "refuse");
    snprintf(path, sizeof path, "%s/m.uqff", folder);
    snprintf(copy, sizeof copy, "%s/copy.uqff", folder);
    static const char *const quants[] = {"q8_0", "iq4_nl"};
    const char *model = tiny_qwen2_model("refuse-model");
    pack_multi(model, path, quants, 2, NULL);
    assert_int_equal(link(path, copy), 0);
    assert_fails(rewrite(path, NULL, NULL, "q4_0", NULL, &err), UQFF_E_UNKNOWN, &err, "'q4_0'");
    assert_fails(rewrite(path, NULL, NULL, NULL, "q4_0", &err), UQFF_E_UNKNOWN, &err, "'q4_0'");
    assert_fails(rewrite(path, NULL, NULL, NULL, "iq4_nl", &err), UQFF_E_TYPE, &err, "iq4_nl");
    assert_fails(rewrite(path, NULL, "q4_0", NULL, NULL, &err), UQFF_E_ARGUMENT, &err,
                 "packed from");
    assert_fails(rewrite(path, model, "q8_0", NULL, NULL, &err), UQFF_E_ARGUMENT, &err, "already");
    assert_fails(rewrite(path, test_data("storyteller"), "q4_0", NULL, NULL, &err), UQFF_E_DIGEST,
                 &err, "modules differ");
    /* One weight differs. */
    const char *other = tiny_model("refuse-other", "Qwen2ForCausalLM", "qwen2", tiny_qwen2,
                                   COUNT(tiny_qwen2), "model.norm.weight", 3);
    assert_fails(rewrite(path, other, "q4_0", NULL, NULL, &err), UQFF_E_DIGEST, &err,
                 "digest differs");
    const char *drop[] = {"q8_0", "iq4_nl"};
    struct uqff_variants_edit edit = {.drop = drop, .drop_count = 2};
    assert_fails(uqff_variants_rewrite(path, &edit, NULL, &err), UQFF_E_ARGUMENT, &err,
                 "no variant left");
    assert_fails(rewrite(scratch_file("none.uqff"), NULL, NULL, "x", NULL, &err), UQFF_E_NOT_FOUND,
                 &err, "none.uqff");
    assert_same_file(path, copy);
    assert_int_equal(count_files(folder), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_is_packing_alone),
        cmocka_unit_test(test_plain_biases),
        cmocka_unit_test(test_plain_experts),
        cmocka_unit_test(test_plain_options),
        cmocka_unit_test(test_decoded_is_the_source),
        cmocka_unit_test(test_decoded_values),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_edit_shards),
        cmocka_unit_test(test_edit_importance),
        cmocka_unit_test(test_edit_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
