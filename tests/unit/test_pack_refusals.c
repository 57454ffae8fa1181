/* Packing: what is refused, and what only a wish allows. */
#include <unistd.h>

#include "test_pack_support.h"

static const char *const four[] = {"q4_k_m", "q5_k_m", "q6_k", "q8_0"};

static void test_nonfinite(void **state) {
    (void)state;
    struct uqff_error err;
    struct warnings warnings = {0};
    struct uqff_warner warner = {take_warning, &warnings};
    static const char *const quants[] = {"q8_0", "q4_0"};
    const char *directory =
        tiny_model("nan", "MixtralForCausalLM", "mixtral", tiny_mixtral, COUNT(tiny_mixtral),
                   "model.layers.0.block_sparse_moe.experts.1.w2.weight", 777);
    struct uqff_model *model = open_model(directory);
    struct uqff_pack_options options = pack_options(scratch_file("nan.uqff"), quants, 2);
    char out[512];
    snprintf(out, sizeof out, "%s", options.output);
    options.output = out;
    options.warner = &warner;
    for (unsigned threads = 1; threads <= 3; threads++) {
        options.threads = threads;
        options.memory = threads == 3 ? 4096 : 0;
        assert_fails(try_pack(model, &options, &err), UQFF_E_NONFINITE, &err,
                     "'model.layers.0.block_sparse_moe.experts.1.w2.weight': element 777 ");
        assert_false(uqff_path_exists(out));
    }
    options.allow_nonfinite = true;
    assert_ok(try_pack(model, &options, &err), &err);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.text, "1 elements are NaN"));
    uqff_model_close(model);
}

/* What is copied is scanned as well. */
static void test_nonfinite_residual(void **state) {
    (void)state;
    struct uqff_error err;
    static const char *const quants[] = {"q8_0"};
    const char *directory = tiny_model("nan-norm", "MixtralForCausalLM", "mixtral", tiny_mixtral,
                                       COUNT(tiny_mixtral), "model.norm.weight", 5);
    struct uqff_model *model = open_model(directory);
    char out[512];
    snprintf(out, sizeof out, "%s", scratch_file("nan-norm.uqff"));
    struct uqff_pack_options options = pack_options(out, quants, 1);
    for (unsigned threads = 1; threads <= 3; threads++) {
        options.threads = threads;
        assert_fails(try_pack(model, &options, &err), UQFF_E_NONFINITE, &err,
                     "'model.norm.weight': element 5 ");
        assert_false(uqff_path_exists(out));
    }
    options.allow_nonfinite = true;
    assert_ok(try_pack(model, &options, &err), &err);
    uqff_model_close(model);
}

static void test_too_large_for_half(void **state) {
    (void)state;
    struct uqff_error err;
    const char *directory = tiny_qwen2_model("half");
    char path[600];
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    size_t size = 0;
    unsigned char *bytes = read_file(path, &size);
    uint64_t header = uqff_load_le64(bytes);
    /* o_proj is the first F32 tensor but for norm and k's bias; whichever it is, 1e6 is no half. */
    uqff_store_le32(bytes + 8 + header + 4 * (64 + 32 + 100), 0x49742400);
    write_file(path, bytes, size);
    free(bytes);
    static const char *const quants[] = {"f16"};
    struct uqff_model *model = open_model(directory);
    struct uqff_pack_options options = pack_options(scratch_file("half.uqff"), quants, 1);
    assert_fails(try_pack(model, &options, &err), UQFF_E_NONFINITE, &err, "too large for F16");
    uqff_model_close(model);
}

static void test_refusals(void **state) {
    (void)state;
    struct uqff_error err;
    char out[512], directory[512], input[600];
    snprintf(out, sizeof out, "%s", scratch_file("refused.uqff"));
    snprintf(directory, sizeof directory, "%s", tiny_qwen2_model("refused"));
    struct uqff_model *model = open_model(directory);
    struct uqff_pack_options options = pack_options(out, four, COUNT(four));

    static const char *const unknown[] = {"q4_k_x"};
    options.quants = unknown;
    options.quant_count = 1;
    assert_fails(try_pack(model, &options, &err), UQFF_E_UNKNOWN, &err, "q4_k_x");
    static const char *const twice[] = {"q4_0", "Q4_0"};
    options.quants = twice;
    options.quant_count = 2;
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "twice");
    options.quant_count = 0;
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "at least one");
    options.quants = four;
    options.quant_count = COUNT(four);
    options.recipe.no_fallback = true;
    assert_fails(try_pack(model, &options, &err), UQFF_E_SHAPE, &err, "");
    options.recipe.no_fallback = false;
    options.alignment = 100;
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "alignment 100");
    options.alignment = 0;
    struct uqff_metadata_pair pair = {"uqff.version", "9"};
    options.metadata = &pair;
    options.metadata_count = 1;
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "uqff.version");
    options.metadata_count = 0;
    options.output = scratch_file("no-ending");
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "'.uqff'");
    options.output = scratch_file("model-7.uqff");
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "model-7");
    options.output = scratch_file("nowhere/x.uqff");
    assert_fails(try_pack(model, &options, &err), UQFF_E_NOT_FOUND, &err, "nowhere");
    options.output = out;
    write_file(out, "here", 4);
    assert_fails(try_pack(model, &options, &err), UQFF_E_EXISTS, &err, "already exists");
    options.overwrite = true;
    assert_ok(try_pack(model, &options, &err), &err);

    /* Side files would replace what is being read. */
    snprintf(input, sizeof input, "%s/packed.uqff", directory);
    options.output = input;
    options.sidecars = true;
    assert_fails(try_pack(model, &options, &err), UQFF_E_IS_INPUT, &err, "config.json");
    uqff_model_close(model);

    /* So would packing a file onto itself, here through a link. */
    model = open_model(out);
    snprintf(input, sizeof input, "%s", scratch_file("link.uqff"));
    assert_int_equal(link(out, input), 0);
    options.sidecars = false;
    options.allow_requantize = true;
    options.output = input;
    assert_fails(try_pack(model, &options, &err), UQFF_E_IS_INPUT, &err, "link.uqff");
    uqff_model_close(model);
}

static void test_requantize(void **state) {
    (void)state;
    struct uqff_error err;
    char first[512], second[512];
    snprintf(first, sizeof first, "%s", scratch_file("once.uqff"));
    snprintf(second, sizeof second, "%s", scratch_file("again.uqff"));
    static const char *const quants[] = {"q8_0"};
    struct uqff_pack_options options = pack_options(first, quants, 1);
    pack(test_data("storyteller"), &options);

    /* The same type is copied; another one must be allowed. */
    struct uqff_model *model = open_model(first);
    options.output = second;
    assert_ok(try_pack(model, &options, &err), &err);
    struct uqff_container *a = NULL, *b = NULL;
    assert_ok(uqff_container_open(first, NULL, &a, &err), &err);
    assert_ok(uqff_container_open(second, NULL, &b, &err), &err);
    for (size_t i = 0; i < uqff_container_blob_count(a); i++) {
        struct uqff_digest x, y;
        assert_true(uqff_container_entry_digest(a, uqff_container_blob(a, i)->entry, &x));
        assert_true(uqff_container_entry_digest(b, uqff_container_blob(b, i)->entry, &y));
        assert_true(uqff_digest_equal(&x, &y));
    }
    uqff_container_close(a);
    uqff_container_close(b);
    static const char *const other[] = {"q4_0"};
    options.quants = other;
    options.output = scratch_file("third.uqff");
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err,
                 "already quantized as Q8_0");
    options.allow_requantize = true;
    assert_ok(try_pack(model, &options, &err), &err);
    uqff_model_close(model);
}

/* A GGUF: names and row orders are those of Hugging Face, residual tensors included. */
static void test_from_gguf(void **state) {
    (void)state;
    struct uqff_error err;
    const char *path = extra_data("models/stories260K-wide256/model.safetensors");
    if (path == NULL) {
        skip();
    }
    static const char *const quants[] = {"q8_0"};
    char hf[512], gguf[512];
    snprintf(hf, sizeof hf, "%s", scratch_file("hf.uqff"));
    snprintf(gguf, sizeof gguf, "%s", scratch_file("gguf.uqff"));
    struct uqff_pack_options options = pack_options(hf, quants, 1);
    pack(extra_data("models/stories260K/hf"), &options);
    options.output = gguf;
    pack(extra_data("models/stories260K/gguf/stories260K-f32.gguf"), &options);
    struct uqff_container *a = NULL, *b = NULL;
    assert_ok(uqff_container_open(hf, NULL, &a, &err), &err);
    assert_ok(uqff_container_open(gguf, NULL, &b, &err), &err);
    assert_int_equal(uqff_container_module_count(a), uqff_container_module_count(b));
    for (size_t i = 0; i < uqff_container_blob_count(a); i++) {
        struct uqff_digest x, y;
        assert_true(uqff_container_entry_digest(a, uqff_container_blob(a, i)->entry, &x));
        assert_true(uqff_container_entry_digest(b, uqff_container_blob(b, i)->entry, &y));
        assert_true(uqff_digest_equal(&x, &y));
    }
    assert_int_equal(uqff_container_residual_count(a), uqff_container_residual_count(b));
    for (size_t i = 0; i < uqff_container_residual_count(a); i++) {
        assert_string_equal(uqff_container_residual(a, i)->name,
                            uqff_container_residual(b, i)->name);
    }
    uqff_container_close(a);
    uqff_container_close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nonfinite),          cmocka_unit_test(test_nonfinite_residual),
        cmocka_unit_test(test_too_large_for_half), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_requantize),         cmocka_unit_test(test_from_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
