/* UQFF as models: variants of a multi-quant file, plain sets with their residual beside them,
 * directories, and encodings that only the container can decode. */
#include "unit/test_container_raw.h"

#include "test_model_builder.h"
#include "uqff/pack.h"

static const struct made checkpoint[] = {
    {"lm_head.weight", UQFF_DTYPE_BF16, 2, {48, 64}},
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {48, 64}},
    {"model.norm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.self_attn.q_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.q_proj.bias", UQFF_DTYPE_F32, 1, {64}},
    {"model.layers.0.mlp.up_proj.weight", UQFF_DTYPE_F32, 2, {32, 64}},
    {"model.layers.0.mlp.gate_proj.weight", UQFF_DTYPE_I8, 2, {32, 64}},
};
#define Q "model.layers.0.self_attn.q_proj"
#define UP "model.layers.0.mlp.up_proj"

static const char config[] =
    "{\"architectures\":[\"Qwen2ForCausalLM\"],\"hidden_size\":64,\"num_attention_heads\":4,"
    "\"tie_word_embeddings\":false,\"padding\":\""
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}";

/* Packs the checkpoint, which lies in source/, to `output` in the folder. */
static void pack(enum uqff_pack_format format, const char *output, const char *const *quants,
                 size_t count, bool compress) {
    static char directory[512], to[1024];
    struct uqff_error err;
    struct uqff_model *model;
    struct uqff_pack_plan *plan;
    snprintf(to, sizeof to, "%s", in_folder(output));
    snprintf(directory, sizeof directory, "%s", folder);
    snprintf(folder, sizeof folder, "%.400s/source", directory);
    if (mkdir(folder, 0777) == 0) {
        write_tensors("model.safetensors", checkpoint, COUNT(checkpoint));
        write_text("config.json", config);
        write_text("LICENSE", "free");
    }
    assert_ok(uqff_model_open(folder, NULL, &model, &err), &err);
    snprintf(folder, sizeof folder, "%s", directory);
    const struct uqff_pack_options pack_options = {.format = format,
                                                   .output = to,
                                                   .quants = quants,
                                                   .quant_count = count,
                                                   .compress_assets = compress,
                                                   .threads = 1};
    assert_ok(uqff_pack_plan_new(model, &pack_options, &plan, &err), &err);
    assert_ok(uqff_pack_run(plan, NULL, &err), &err);
    uqff_pack_plan_free(plan);
    uqff_model_close(model);
}

/* What a module of the checkpoint is once it was stored as `type`. */
static float *through(const struct made *made, uint32_t type) {
    struct uqff_error err;
    float *values = made_floats(made);
    size_t columns = (size_t)made->shape[1];
    unsigned char *bytes = malloc(4 * columns);
    for (size_t r = 0; r < made->shape[0]; r++) {
        float *row = values + r * columns;
        assert_ok(uqff_quantize_row(type, row, bytes, columns, NULL, &err), &err);
        assert_ok(uqff_dequantize_row(type, bytes, row, columns, &err), &err);
    }
    free(bytes);
    return values;
}

static void check_module(const struct uqff_model *model, const char *name, const struct made *made,
                         uint32_t type) {
    const struct uqff_model_module *module = module_named(model, name);
    assert_int_equal(module->type, type);
    assert_int_equal(module->rows, made->shape[0]);
    float *values = module_values(model, name), *expected = through(made, type);
    assert_memory_equal(values, expected, (size_t)(module->rows * module->columns) * 4);
    free(values);
    free(expected);
}

/* What every form of the checkpoint must show, whatever its modules' types. */
static void check_common(const struct uqff_model *model) {
    assert_string_equal(uqff_model_arch(model)->name, "qwen2");
    assert_int_equal(uqff_model_module_count(model), 4);
    const struct uqff_model_module *q = module_named(model, Q);
    assert_string_equal(q->gguf_name, "blk.0.attn_q");
    assert_int_equal(q->role, UQFF_ROLE_ATTN_Q);
    assert_int_equal(q->layer, 0);
    assert_string_equal(uqff_model_tensor(model, q->bias)->name, Q ".bias");
    assert_string_equal(uqff_model_tensor(model, q->bias)->gguf_name, "blk.0.attn_q.bias");
    float *bias = tensor_values(model, q->bias), *expected = made_floats(&checkpoint[4]);
    assert_memory_equal(bias, expected, 64 * 4);
    free(bias);
    free(expected);
    assert_int_equal(uqff_model_residual_count(model), 2);
    assert_true(is_residual(model, "model.norm.weight"));
    assert_true(is_residual(model, "model.layers.0.mlp.gate_proj.weight"));
    size_t norm = uqff_model_find_tensor(model, "model.norm.weight");
    unsigned char *bytes = tensor_bytes(model, norm, 50), *stored = made_content(&checkpoint[2]);
    assert_memory_equal(bytes, stored, 128);
    free(bytes);
    free(stored);
}

/* ---- multi-quant ----------------------------------------------------------------------------- */

static void shows_variants(void **state) {
    (void)state;
    static const char *const quants[] = {"q4_0", "q8_0"};
    struct uqff_error err;
    pack(UQFF_PACK_UQFF, "many.uqff", quants, 2, false);
    struct uqff_model *model = must_open(in_folder("many.uqff"));
    assert_int_equal(uqff_model_kind(model), UQFF_MODEL_MULTI);
    assert_string_equal(uqff_model_name(model), "many");
    assert_non_null(uqff_model_container(model));
    assert_null(uqff_model_safetensors(model));
    assert_int_equal(uqff_model_variant(model),
                     uqff_container_find_variant(uqff_model_container(model), "q4_0"));
    check_common(model);
    check_module(model, Q, &checkpoint[3], UQFF_TYPE_Q4_0);
    assert_true(uqff_model_is_input(model, in_folder("many.uqff")));
    assert_int_equal(uqff_model_asset_count(model), 2);
    assert_string_equal(uqff_model_asset_path(model, 0), "LICENSE");
    char *text;
    size_t size;
    assert_ok(uqff_model_read_asset(model, 1, &text, &size, &err), &err);
    assert_int_equal(size, uqff_model_asset_size(model, 1));
    uqff_free(text);
    /* Blocks are a range of the file. */
    struct uqff_source *source;
    uint64_t offset;
    size_t up = uqff_model_find_tensor(model, UP ".weight");
    assert_true(uqff_model_tensor_range(model, up, &source, &offset));
    assert_int_equal(uqff_model_tensor(model, up)->bytes, 32 * 36);
    uqff_model_close(model);

    model = must_open(in_folder("many.uqff#Q8_0"));
    check_common(model);
    check_module(model, Q, &checkpoint[3], UQFF_TYPE_Q8_0);
    uqff_model_close(model);
    assert_fails(uqff_model_open(in_folder("many.uqff#q5_0"), &options, &model, &err),
                 UQFF_E_UNKNOWN, &err, "expected one of: q4_0, q8_0");
    /* A folder that holds nothing else: the variant is meant. */
    assert_int_equal(rename(in_folder("source"), in_folder("elsewhere")), 0);
    char reference[600];
    snprintf(reference, sizeof reference, "%s#q8_0", folder);
    model = must_open(reference);
    check_module(model, UP, &checkpoint[5], UQFF_TYPE_Q8_0);
    uqff_model_close(model);
}

static void inflates_side_files(void **state) {
    (void)state;
    static const char *const quants[] = {"q8_0"};
    struct uqff_error err;
    pack(UQFF_PACK_UQFF, "small.uqff", quants, 1, true);
    struct uqff_model *model = must_open(in_folder("small.uqff"));
    check_common(model);
    char *text;
    size_t size;
    assert_ok(uqff_model_read_asset(model, 1, &text, &size, &err), &err);
    assert_string_equal(uqff_model_asset_path(model, 1), "config.json");
    assert_int_equal(size, uqff_model_asset_size(model, 1));
    assert_non_null(strstr(text, "Qwen2ForCausalLM"));
    uqff_free(text);
    uqff_model_close(model);
}

static void asks_where_there_is_no_default(void **state) {
    (void)state;
    static const char *const quants[] = {"iq4_nl", "mxfp4"};
    struct uqff_model *model;
    struct uqff_error err;
    pack(UQFF_PACK_UQFF, "none.uqff", quants, 2, false);
    assert_fails(uqff_model_open(in_folder("none.uqff"), &options, &model, &err), UQFF_E_UNKNOWN,
                 &err, "no default variant");
    model = must_open(in_folder("none.uqff#iq4_nl"));
    check_common(model);
    check_module(model, UP, &checkpoint[5], UQFF_TYPE_IQ4_NL);
    uqff_model_close(model);
    pack(UQFF_PACK_UQFF, "one.uqff", quants, 1, false);
    model = must_open(in_folder("one.uqff"));
    check_module(model, UP, &checkpoint[5], UQFF_TYPE_IQ4_NL);
    uqff_model_close(model);
}

/* ---- plain directories ----------------------------------------------------------------------- */

static void opens_plain_directories(void **state) {
    (void)state;
    static const char *const one[] = {"q8_0"}, *const two[] = {"q8_0", "q4_0"};
    char reference[600];
    struct uqff_model *model;
    struct uqff_error err;
    pack(UQFF_PACK_MISTRALRS, "plain", one, 1, false);
    model = must_open(in_folder("plain"));
    assert_int_equal(uqff_model_kind(model), UQFF_MODEL_UQFF);
    assert_string_equal(uqff_model_name(model), "plain");
    check_common(model);
    check_module(model, Q, &checkpoint[3], UQFF_TYPE_Q8_0);
    assert_true(uqff_model_is_input(model, in_folder("plain/residual.safetensors")));
    uqff_model_close(model);
    model = must_open(in_folder("plain/q8_0-0.uqff"));
    assert_string_equal(uqff_model_name(model), "q8_0");
    check_common(model);
    uqff_model_close(model);

    pack(UQFF_PACK_MISTRALRS, "both", two, 2, false);
    assert_fails(uqff_model_open(in_folder("both"), &options, &model, &err), UQFF_E_UNKNOWN, &err,
                 "#q4_0: q4_0, q8_0");
    snprintf(reference, sizeof reference, "%s#q4_0", in_folder("both"));
    model = must_open(reference);
    check_module(model, Q, &checkpoint[3], UQFF_TYPE_Q4_0);
    uqff_model_close(model);
    /* By the stem alone, and refused when it is neither. */
    assert_int_equal(remove(in_folder("both/uqff_report.json")), 0);
    model = must_open(reference);
    check_module(model, Q, &checkpoint[3], UQFF_TYPE_Q4_0);
    uqff_model_close(model);
    snprintf(reference, sizeof reference, "%s#q5_0", in_folder("both"));
    assert_fails(uqff_model_open(reference, &options, &model, &err), UQFF_E_UNKNOWN, &err,
                 "has no quantization 'q5_0'");
    /* A report that names a shard which is gone. */
    write_text("both/uqff_report.json",
               "{\"schema\":1,\"outputs\":[{\"quant\":\"Q5_0\",\"shards\":[\"q5_0-0.uqff\"]}]}");
    assert_fails(uqff_model_open(reference, &options, &model, &err), UQFF_E_MISSING, &err,
                 "q5_0-0.uqff");
    /* Source weights win, unless a quantization is asked for. */
    char from[1024];
    snprintf(from, sizeof from, "%s", in_folder("source/model.safetensors"));
    assert_int_equal(rename(from, in_folder("both/model.safetensors")), 0);
    warnings[0] = 0;
    model = must_open(in_folder("both"));
    assert_int_equal(uqff_model_kind(model), UQFF_MODEL_HF);
    assert_non_null(strstr(warnings, "the source weights are read"));
    uqff_model_close(model);
    snprintf(reference, sizeof reference, "%s#q8_0", in_folder("both"));
    model = must_open(reference);
    assert_int_equal(uqff_model_kind(model), UQFF_MODEL_UQFF);
    uqff_model_close(model);
}

/* ---- encodings ------------------------------------------------------------------------------- */

/* Saves what was made by hand as hand-0.uqff and opens it. */
static struct uqff_model *open_raw(struct raw *raw) {
    raw_finish(raw);
    write_file(in_folder("hand-0.uqff"), raw->file, raw->size);
    raw_free(raw);
    return must_open(in_folder("hand-0.uqff"));
}

static void check_bytes_are_floats(const struct uqff_model *model, size_t tensor) {
    const struct uqff_tensor *info = uqff_model_tensor(model, tensor);
    float *values = tensor_values(model, tensor);
    unsigned char *bytes = tensor_bytes(model, tensor, 33);
    assert_int_equal(info->type, UQFF_TYPE_F32);
    for (size_t i = 0; i < info->elements; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], 4);
        assert_int_equal(uqff_load_le32(bytes + 4 * i), bits);
    }
    free(values);
    free(bytes);
}

/* 4 bits: byte (r, c) of 32 by 4 holds the values r and r + 32 of column c; [8, 32] in all. */
static void reads_hqq_by_rows(void **state) {
    (void)state;
    struct raw raw = {0};
    unsigned char packed[128], scales[16], zeros[16];
    for (size_t i = 0; i < sizeof packed; i++) {
        packed[i] = (unsigned char)(i * 37);
    }
    for (size_t i = 0; i < 4; i++) {
        uqff_store_le32(scales + 4 * i, 0x3f000000); /* 0.5 */
        uqff_store_le32(zeros + 4 * i, 0x40000000);  /* 2 */
    }
    raw_versions(&raw);
    raw_u8(&raw, "a.b.weight.format", 2);
    raw_add(&raw, "a.b.weight", "U8", "[32,4]", packed, sizeof packed);
    raw_add(&raw, "a.b.weight.scales", "F32", "[1,4]", scales, sizeof scales);
    raw_add(&raw, "a.b.weight.zeros", "F32", "[1,4]", zeros, sizeof zeros);
    raw_shape(&raw, "a.b.weight.shape", 2, DIMS(8, 32));
    raw_u8(&raw, "a.b.weight.bits", 4);
    raw_u32(&raw, "a.b.weight.group_size", 64);
    raw_u8(&raw, "a.b.weight.axis", 0);
    raw_u32(&raw, "a.b.weight.optimization_steps", 10);
    raw_u8(&raw, "a.b.weight.round_zeros", 0);
    raw_u8(&raw, "a.b.weight.channel_wise", 1);
    struct uqff_model *model = open_raw(&raw);
    assert_non_null(strstr(warnings, "no config.json"));
    assert_non_null(strstr(warnings, "no residual.safetensors"));
    assert_int_equal(uqff_model_module_count(model), 1);
    float *values = module_values(model, "a.b");
    for (size_t i = 0; i < 256; i++) {
        size_t r = i / 4, c = i % 4;
        unsigned q = r < 32 ? packed[4 * r + c] >> 4 : packed[4 * (r - 32) + c] & 15u;
        assert_true(values[i] == ((float)q - 2) / 2);
    }
    free(values);
    check_bytes_are_floats(model, 0);
    uqff_model_close(model);
}

static void reads_fp8_and_mxfp4(void **state) {
    (void)state;
    struct raw raw = {0};
    unsigned char nibbles[64], exponents[4] = {127, 128, 126, 120}, fp8[12], scale[4];
    for (size_t i = 0; i < sizeof nibbles; i++) {
        nibbles[i] = (unsigned char)(i * 29);
    }
    for (size_t i = 0; i < sizeof fp8; i++) {
        fp8[i] = (unsigned char)(0x30 + i);
    }
    uqff_store_le32(scale, 0x3e800000); /* 0.25 */
    raw_versions(&raw);
    raw_u8(&raw, "layers.0.x.weight.format", 6);
    raw_add(&raw, "layers.0.x.weight", "U8", "[2,2,16]", nibbles, sizeof nibbles);
    raw_add(&raw, "layers.0.x.weight.scales", "U8", "[2,2,1]", exponents, sizeof exponents);
    raw_zeros(&raw, "layers.0.x.bias", "BF16", "[2,2]", 8);
    raw_u8(&raw, "y.weight.format", 3);
    raw_add(&raw, "y.weight", "F8_E4M3", "[3,4]", fp8, sizeof fp8);
    raw_add(&raw, "y.weight.dequant_w_scale", "F32", "[]", scale, 4);
    raw_add(&raw, "y.weight.dequant_x_scale", "F32", "[]", scale, 4);
    raw_add(&raw, "y.weight.quant_scale", "F32", "[]", scale, 4);
    raw_u32(&raw, "y.weight.dtype", 9);
    struct uqff_model *model = open_raw(&raw);
    struct uqff_error err;
    assert_int_equal(uqff_model_module_count(model), 2);
    const struct uqff_model_module *x = module_named(model, "layers.0.x");
    assert_int_equal(x->type, UQFF_TYPE_MXFP4);
    assert_int_equal(x->rank, 3);
    assert_int_equal(x->layer, 0);
    assert_string_equal(uqff_model_tensor(model, x->bias)->name, "layers.0.x.bias");
    float *values = module_values(model, "layers.0.x"), decoded[128];
    static const float kinds[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6}, powers[] = {1, 2, 0.5f, 0x1p-7f};
    for (size_t i = 0; i < 128; i++) {
        unsigned nibble = (unsigned)nibbles[i / 2] >> (i % 2 * 4) & 15u;
        float value = kinds[nibble & 7] * powers[i / 32];
        assert_true(values[i] == (nibble > 7 ? -value : value));
    }
    unsigned char blocks[4 * 17];
    assert_ok(
        uqff_model_module_raw_rows(model, module_index(model, "layers.0.x"), 0, 4, blocks, &err),
        &err);
    assert_ok(uqff_dequantize_row(UQFF_TYPE_MXFP4, blocks, decoded, 128, &err), &err);
    assert_memory_equal(values, decoded, sizeof decoded);
    free(values);
    values = module_values(model, "y");
    float expected[12];
    assert_ok(uqff_dequantize_row(UQFF_TYPE_F8_E4M3, fp8, expected, 12, &err), &err);
    for (size_t i = 0; i < 12; i++) {
        assert_true(values[i] == expected[i] / 4);
    }
    free(values);
    check_bytes_are_floats(model, uqff_model_find_tensor(model, "y.weight"));
    uqff_model_close(model);
}

/* Files of UQFF 1.1 keep the embedding dense in the residual: it is a module all the same. The
 * container's own weights win over the residual's. */
static void takes_dense_modules_from_the_residual(void **state) {
    (void)state;
    static const struct made residual[] = {
        {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {16, 64}},
        {Q ".weight", UQFF_DTYPE_BF16, 2, {64, 64}},
        {"model.norm.weight", UQFF_DTYPE_BF16, 1, {64}},
    };
    struct raw raw = {0};
    write_tensors("residual.safetensors", residual, 3);
    write_text("config.json",
               "{\"architectures\":[\"LlamaForCausalLM\"],"
               "\"num_attention_heads\":4,\"_mistralrs_qk_rope_layout\":\"adjacent\"}");
    raw_versions(&raw);
    raw_u8(&raw, Q ".weight.format", 1);
    raw_zeros(&raw, Q ".weight", "BF16", "[8,64]", 1024);
    struct uqff_model *model = open_raw(&raw);
    assert_int_equal(uqff_model_module_count(model), 2);
    assert_int_equal(module_named(model, Q)->rows, 8);
    assert_int_equal(module_named(model, "model.embed_tokens")->role, UQFF_ROLE_EMBEDDING);
    assert_int_equal(uqff_model_residual_count(model), 1);
    assert_true(uqff_model_config(model)->rotary_adjacent);
    assert_true(uqff_model_config(model)->tied);
    assert_non_null(strstr(warnings, "as a GGUF has them"));
    assert_int_equal(module_named(model, Q)->gguf_heads, 0);
    uqff_model_close(model);
    model = must_open(folder);
    assert_int_equal(uqff_model_kind(model), UQFF_MODEL_UQFF);
    uqff_model_close(model);
}

static void survives_failing_allocations(void **state) {
    (void)state;
    static const char *const quants[] = {"q4_0", "q8_0"};
    static const char *const references[] = {"many.uqff", "plain#q8_0"};
    pack(UQFF_PACK_UQFF, "many.uqff", quants, 2, true);
    pack(UQFF_PACK_MISTRALRS, "plain", quants, 2, false);
    for (size_t i = 0; i < COUNT(references); i++) {
        for (size_t n = 1;; n++) {
            struct uqff_model *model = NULL;
            struct uqff_error err;
            fail_allocation(n);
            enum uqff_code code = uqff_model_open(in_folder(references[i]), NULL, &model, &err);
            fail_allocation(0);
            if (code == UQFF_OK) {
                assert_true(n > 20);
                uqff_model_close(model);
                break;
            }
            assert_int_equal(code, UQFF_E_MEMORY);
        }
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, enter_folder)
    const struct CMUnitTest tests[] = {
        TEST(shows_variants),
        TEST(inflates_side_files),
        TEST(asks_where_there_is_no_default),
        TEST(opens_plain_directories),
        TEST(reads_hqq_by_rows),
        TEST(reads_fp8_and_mxfp4),
        TEST(takes_dense_modules_from_the_residual),
        TEST(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
