/* What mistral.rs demands of UQFF files and of the directory around them. */
#include <unistd.h>

#include "unit/test_verify_made.h"

#define MISTRALRS .target = UQFF_TARGET_MISTRALRS

static bool check(const char *path) {
    return verify(path, &(struct uqff_verify_options){MISTRALRS});
}

/* ---- multi-quant files ----------------------------------------------------------------------- */

static char file[600], out[600];

/* Packs the small model into out/small.uqff. */
static void make_multi(const char *const *quants, size_t count, bool sidecars) {
    write_small();
    snprintf(out, sizeof out, "%s", in_folder("out"));
    snprintf(file, sizeof file, "%s", in_folder("out/small.uqff"));
    assert_int_equal(mkdir(out, 0777), 0);
    struct uqff_model *model = must_open(folder);
    struct uqff_pack_options wanted = pack_options(quants, count, file);
    wanted.sidecars = sidecars;
    pack(model, &wanted);
    uqff_model_close(model);
}

static void test_multi_with_sidecars(void **state) {
    (void)state;
    static const char *const quants[] = {"q8_1", "q4_k_m", "q8_0"};
    make_multi(quants, COUNT(quants), true);
    assert_passes(file, MISTRALRS, .strict = true);
    assert_string_equal(found.text, "");
    assert_passes(out, MISTRALRS, .strict = true);
    assert_string_equal(found.text, "");

    const char *residual = in_folder("out/residual.safetensors");
    patch(residual, entry_offset(residual, "model.norm.weight", NULL), "\x11", 1);
    assert_false(check(file));
    assert_int_equal(found.failures, 1);
    assert_told("failure digest:", "residual.safetensors: 'model.norm.weight'");

    write_text("out/tokenizer.json", "{}");
    write_text("out/config.json",
               "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
               "\"num_hidden_layers\":2,\"quantization_config\":{\"bits\":4}}");
    assert_false(check(file));
    assert_told("warning sidecar:", "tokenizer.json");
    assert_told("warning sidecar:", "config.json");
    assert_told("warning config:", "quantization_config");

    assert_int_equal(unlink(residual), 0);
    assert_false(check(file));
    assert_told("failure sidecar:", "'residual.safetensors' is missing");
}

static void test_multi_alone(void **state) {
    (void)state;
    static const char *const quants[] = {"q8_0"};
    make_multi(quants, 1, false);
    assert_passes(file, MISTRALRS, .strict = true);
    assert_told("note sidecar:", "no side files");
    assert_int_equal(found.notes, 2);
}

static void test_no_default(void **state) {
    (void)state;
    static const char *const quants[] = {"q8_1", "iq4_nl"};
    make_multi(quants, COUNT(quants), false);
    assert_passes(file, .strict = true);
    assert_false(check(file));
    assert_told("failure no-default:", "small.uqff");
}

/* ---- a directory as mistral.rs has it -------------------------------------------------------- */

static void make_plain(void) {
    static const char *const quants[] = {"q4k", "q8_0"};
    write_small();
    snprintf(out, sizeof out, "%s", in_folder("out"));
    struct uqff_model *model = must_open(folder);
    struct uqff_pack_options wanted = pack_options(quants, COUNT(quants), out);
    wanted.format = UQFF_PACK_MISTRALRS;
    pack(model, &wanted);
    uqff_model_close(model);
}

static void test_directory(void **state) {
    (void)state;
    make_plain();
    assert_passes(out, MISTRALRS, .strict = true);
    assert_string_equal(found.text, "");
    assert_passes(in_folder("out/q4k-0.uqff"), MISTRALRS, .strict = true);

    write_text("out/pytorch_model.bin", "");
    assert_false(check(out));
    assert_int_equal(found.failures, 1);
    assert_told("failure checkpoint:", "pytorch_model.bin");
    assert_int_equal(unlink(in_folder("out/pytorch_model.bin")), 0);

    size_t size = 0;
    char *report = read_file(in_folder("out/uqff_report.json"), &size);
    char *layers = memmem(report, size, "\"layers\": 16", 12);
    assert_non_null(layers);
    layers[11] = '7';
    write_file(in_folder("out/uqff_report.json"), report, size);
    assert_false(check(out));
    assert_told("failure report:", "'q4k' has 17 layers, but 'q4k-0.uqff' holds 16");
    free(report);

    write_text("out/config.json", "{\"num_hidden_layers\":2,");
    assert_false(check(out));
    assert_told("failure config:", "config.json");
    write_text("out/config.json", small_config);

    assert_int_equal(rename(in_folder("out/q8_0-0.uqff"), in_folder("out/other-0.uqff")), 0);
    assert_false(check(out));
    assert_told("failure report:", "the shard 'q8_0-0.uqff' of 'q8_0' is missing");
    assert_told("failure report:", "does not list the shard 'other-0.uqff'");
    write_text("out/uqff_report.json", "[]");
    assert_false(check(out));
    assert_told("failure report:", "uqff_report.json");
    assert_int_equal(unlink(in_folder("out/uqff_report.json")), 0);
    assert_passes(out, MISTRALRS, .strict = true);
    assert_told("note name:", "other-0.uqff");
}

/* A residual that lacks a norm, has a weight that moved, and a bias that was left behind. */
static void test_residual(void **state) {
    (void)state;
    static const struct made residual[] = {
        {"model.norm.weight", UQFF_DTYPE_BF16, 1, {256}},
        {"model.layers.0.input_layernorm.weight", UQFF_DTYPE_BF16, 1, {256}},
        {"model.layers.0.post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {256}},
        {"model.layers.1.input_layernorm.weight", UQFF_DTYPE_BF16, 1, {256}},
        {"lm_head.weight", UQFF_DTYPE_BF16, 2, {32, 256}},
        {"model.layers.0.self_attn.q_proj.bias", UQFF_DTYPE_BF16, 1, {256}},
    };
    make_plain();
    write_tensors("out/residual.safetensors", residual, COUNT(residual));
    assert_false(check(in_folder("out/q4k-0.uqff")));
    assert_told("failure residual-incomplete:",
                "layer 1 lacks the tensor 'post_attention_layernorm.weight', which layer 0 has");
    assert_told("failure residual-moved:", "'lm_head.weight'");
    assert_told("failure bias:", "'model.layers.0.self_attn.q_proj.bias'");

    write_tensors("out/residual.safetensors", residual + 1, 1);
    assert_false(check(in_folder("out/q4k-0.uqff")));
    assert_told("failure residual-incomplete:", "lack a norm behind the layers");
}

/* ---- files by other hands -------------------------------------------------------------------- */

struct entry {
    const char *name;
    enum uqff_dtype dtype;
    unsigned rank;
    uint64_t shape[4];
    uint32_t value; /* of U8 and U32 scalars; the content of others is zeros */
};

#define SCALAR(name, dtype, value)                                                                 \
    { name, UQFF_DTYPE_##dtype, 0, {0}, value }
#define VERSION(minor)                                                                             \
    SCALAR("uqff.version.major", U32, 1), SCALAR("uqff.version.minor", U32, minor),                \
        SCALAR("uqff.version.patch", U32, 0)

static void write_entries(const char *name, const struct entry *entries, size_t count) {
    struct uqff_error err;
    struct uqff_st_layout *layout = NULL;
    struct uqff_buffer bytes = {0};
    assert_ok(uqff_st_layout_new(&layout, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_ok(uqff_st_layout_add(layout, entries[i].name, entries[i].dtype, entries[i].shape,
                                     entries[i].rank, NULL, &err),
                  &err);
    }
    assert_ok(uqff_st_layout_header(layout, 8, &bytes, &err), &err);
    for (size_t i = 0; i < count; i++) {
        static const unsigned char zeros[4096];
        uint64_t n = 0;
        unsigned char scalar[4];
        assert_ok(uqff_dtype_bytes(entries[i].dtype, entries[i].shape, entries[i].rank, &n, &err),
                  &err);
        assert_true(n <= sizeof zeros);
        uqff_store_le32(scalar, entries[i].value);
        uqff_buffer_append(&bytes, entries[i].rank == 0 ? scalar : zeros, (size_t)n);
    }
    assert_false(bytes.failed);
    write_file(in_folder(name), bytes.data, bytes.size);
    uqff_buffer_free(&bytes);
    uqff_st_layout_free(layout);
}

static void test_types(void **state) {
    (void)state;
    /* Shapes are vectors whose contents must hold, so they are U32 pairs written after. */
    static const struct entry entries[] = {
        VERSION(0),
        SCALAR("a.q8_1.weight.dtype", U32, UQFF_TYPE_Q8_1),
        {"a.q8_1.weight.shape", UQFF_DTYPE_U32, 1, {2}, 0},
        SCALAR("a.ragged.weight.dtype", U32, UQFF_TYPE_Q8_1),
        {"a.ragged.weight.shape", UQFF_DTYPE_U32, 1, {2}, 0},
        SCALAR("a.f32.weight.dtype", U32, UQFF_TYPE_F32),
        {"a.f32.weight.shape", UQFF_DTYPE_U32, 1, {2}, 0},
        {"a.f32.weight", UQFF_DTYPE_U8, 1, {256}, 0},
        {"a.plain.weight", UQFF_DTYPE_F32, 2, {2, 32}, 0},
        {"model.embed_tokens.weight", UQFF_DTYPE_F16, 2, {2, 32}, 0},
        {"a.mlp.experts.0.up_proj.weight", UQFF_DTYPE_F16, 2, {2, 32}, 0},
        {"a.mlp.experts.sideways.weight", UQFF_DTYPE_F16, 3, {2, 2, 32}, 0},
        {"lm_head.weight", UQFF_DTYPE_F16, 2, {2, 32}, 0},
        {"a.q8_1.weight", UQFF_DTYPE_U8, 1, {72}, 0},
        {"a.ragged.weight", UQFF_DTYPE_U8, 1, {72}, 0},
        {"nodot", UQFF_DTYPE_U8, 1, {8}, 0},
        SCALAR("a.q8_1.weight.format", U8, 0),
        SCALAR("a.ragged.weight.format", U8, 0),
        SCALAR("a.f32.weight.format", U8, 0),
        SCALAR("a.plain.weight.format", U8, 1),
        SCALAR("model.embed_tokens.weight.format", U8, 1),
        SCALAR("a.mlp.experts.0.up_proj.weight.format", U8, 1),
        SCALAR("a.mlp.experts.sideways.weight.format", U8, 1),
        SCALAR("lm_head.weight.format", U8, 1),
    };
    static const unsigned char shape[8] = {2, 0, 0, 0, 32, 0, 0, 0};
    static const unsigned char ragged[8] = {4, 0, 0, 0, 16, 0, 0, 0};
    write_entries("odd-0.uqff", entries, COUNT(entries));
    const char *path = in_folder("odd-0.uqff");
    patch(path, entry_offset(path, "a.q8_1.weight.shape", NULL), shape, sizeof shape);
    patch(path, entry_offset(path, "a.f32.weight.shape", NULL), shape, sizeof shape);
    patch(path, entry_offset(path, "a.ragged.weight.shape", NULL), ragged, sizeof ragged);
    write_text("config.json", "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
                              "\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\"}");
    assert_false(check(path));
    assert_told("failure unloadable-type:", "'a.q8_1': blocks of Q8_1");
    assert_told("failure block:", "'a.ragged': rows of 16 weights, expected a multiple of 32");
    assert_told("warning float-blocks:", "'a.f32': F32");
    assert_told("warning dtype:", "'a.plain': F32 in a model of dtype bfloat16");
    assert_told("failure version:", "'a.plain': unquantized, which needs UQFF 1.1");
    assert_told("failure version:", "'model.embed_tokens': an embedding");
    assert_told("failure experts:", "'a.mlp.experts.0.up_proj': a single expert");
    assert_told("warning experts:", "'a.mlp.experts.sideways'");
    assert_told("warning tied:", "'lm_head'");
    assert_told("failure name:", "'nodot'");
    assert_told("failure sidecar:", "'tokenizer.json' is missing");
    assert_told("note name:", "odd-0.uqff");
}

static void test_not_uqff(void **state) {
    (void)state;
    write_small();
    assert_false(check(folder));
    assert_told("failure target:", "no UQFF file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_multi_with_sidecars, enter_folder),
        cmocka_unit_test_setup(test_multi_alone, enter_folder),
        cmocka_unit_test_setup(test_no_default, enter_folder),
        cmocka_unit_test_setup(test_directory, enter_folder),
        cmocka_unit_test_setup(test_residual, enter_folder),
        cmocka_unit_test_setup(test_types, enter_folder),
        cmocka_unit_test_setup(test_not_uqff, enter_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
