/* How tensors become modules: experts stacked, fused ones split, scales folded in, tied heads, and
 * architectures that nobody told us about. */
#include "test_model_builder.h"

#include <math.h>

#define COUNT(array) (sizeof array / sizeof *array)

static const char qwen_moe[] =
    "{\"architectures\":[\"Qwen3MoeForCausalLM\"],\"hidden_size\":32,\"num_experts\":3,"
    "\"tie_word_embeddings\":false}";
static const char gpt_oss[] = "{\"architectures\":[\"GptOssForCausalLM\"],\"hidden_size\":64}";
static const char llama[] = "{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_size\":32}";
static const char llama_tied[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"tie_word_embeddings\":true}";
static const char unknown[] = "{\"architectures\":[\"NewForCausalLM\"],\"hidden_size\":32}";

#define X "model.layers.0.mlp.experts."
#define BF16 UQFF_DTYPE_BF16
#define F32 UQFF_DTYPE_F32
#define F8 UQFF_DTYPE_F8_E4M3

/* Asserts that two arrays of float32 hold the same bits, and frees both. */
static void assert_same(float *a, float *b, size_t n) {
    assert_memory_equal(a, b, n * sizeof *a);
    free(a);
    free(b);
}

/* Asserts that a module's rows `first` on are those of a made tensor. */
static void assert_rows(const struct uqff_model *model, const char *module, uint64_t first,
                        const struct made *made, uint64_t from, uint64_t rows) {
    float *all = module_values(model, module), *expected = made_floats(made);
    uint64_t columns = made->shape[made->rank - 1];
    assert_memory_equal(all + first * columns, expected + from * columns,
                        (size_t)(rows * columns) * 4);
    free(all);
    free(expected);
}

static void assert_open_fails(const char *config, const struct made *made, size_t count,
                              enum uqff_code code, const char *needle) {
    struct uqff_model *model;
    struct uqff_error err;
    write_tensors("model.safetensors", made, count);
    write_text("config.json", config);
    assert_fails(uqff_model_open(folder, &options, &model, &err), code, &err, needle);
}

/* ---- experts --------------------------------------------------------------------------------- */

static const struct made stack[] = {
    {X "2.gate_proj.weight", BF16, 2, {8, 32}}, {X "0.gate_proj.weight", BF16, 2, {8, 32}},
    {X "1.gate_proj.weight", BF16, 2, {8, 32}}, {X "0.down_proj.weight", F32, 2, {32, 8}},
    {X "1.down_proj.weight", BF16, 2, {32, 8}}, {X "2.down_proj.weight", BF16, 2, {32, 8}},
};

static void stacks_experts_in_order(void **state) {
    (void)state;
    struct uqff_model *model = open_made(qwen_moe, stack, COUNT(stack));
    const struct uqff_model_module *module = module_named(model, X "gate_proj");
    static const uint64_t shape[] = {3, 8, 32};
    assert_int_equal(module->rank, 3);
    assert_memory_equal(module->shape, shape, sizeof shape);
    assert_int_equal(module->type, UQFF_TYPE_BF16);
    assert_rows(model, X "gate_proj", 0, &stack[1], 0, 8);
    assert_rows(model, X "gate_proj", 8, &stack[2], 0, 8);
    assert_rows(model, X "gate_proj", 16, &stack[0], 0, 8);
    uint64_t row;
    size_t gate = module_index(model, X "gate_proj");
    assert_string_equal(uqff_model_module_source_name(model, gate, 17, &row),
                        X "2.gate_proj.weight");
    assert_int_equal(row, 1);

    module = module_named(model, X "down_proj");
    assert_int_equal(module->type, UINT32_MAX);
    assert_rows(model, X "down_proj", 0, &stack[3], 0, 32);
    assert_rows(model, X "down_proj", 64, &stack[5], 0, 32);
    struct uqff_error err;
    char raw[64];
    size_t down = module_index(model, X "down_proj");
    assert_fails(uqff_model_module_raw_rows(model, down, 0, 1, raw, &err), UQFF_E_TYPE, &err,
                 "more than one type");
    assert_int_equal(uqff_model_residual_count(model), 0);
    uqff_model_close(model);
}

static void names_missing_experts(void **state) {
    (void)state;
    assert_open_fails(qwen_moe, stack, 2, UQFF_E_MISSING, X "1.gate_proj.weight");
    assert_open_fails(qwen_moe, stack + 1, 1, UQFF_E_MISSING, X "1.gate_proj.weight");
    assert_open_fails(qwen_moe, stack, 1, UQFF_E_MISSING, X "0.gate_proj.weight");
    static const char no_count[] = "{\"architectures\":[\"Qwen3MoeForCausalLM\"]}";
    static const struct made huge[] = {{X "0.up_proj.weight", BF16, 2, {8, 32}},
                                       {X "999999999.up_proj.weight", BF16, 2, {8, 32}}};
    assert_open_fails(no_count, huge, 2, UQFF_E_MISSING, X "1.up_proj.weight");
    struct uqff_model *model = open_made(no_count, huge, 1);
    assert_int_equal(module_named(model, X "up_proj")->shape[0], 1);
    uqff_model_close(model);
}

static void refuses_odd_experts(void **state) {
    (void)state;
    static const struct made shapes[] = {{X "0.up_proj.weight", BF16, 2, {8, 32}},
                                         {X "1.up_proj.weight", BF16, 2, {8, 64}},
                                         {X "2.up_proj.weight", BF16, 2, {8, 32}}};
    assert_open_fails(qwen_moe, shapes, 3, UQFF_E_SHAPE, X "1.up_proj.weight");
    static const struct made many[] = {{X "0.up_proj.weight", BF16, 2, {8, 32}},
                                       {X "1.up_proj.weight", BF16, 2, {8, 32}},
                                       {X "2.up_proj.weight", BF16, 2, {8, 32}},
                                       {X "3.up_proj.weight", BF16, 2, {8, 32}}};
    assert_open_fails(qwen_moe, many, 4, UQFF_E_FIELD, X "3.up_proj.weight");
    static const struct made both[] = {{X "0.up_proj.weight", BF16, 2, {8, 32}},
                                       {X "up_proj.weight", BF16, 3, {3, 8, 32}}};
    assert_open_fails(qwen_moe, both, 2, UQFF_E_DUPLICATE, X "up_proj");
    static const struct made twice[] = {{X "up_proj", BF16, 3, {3, 8, 32}},
                                        {X "up_proj.weight", BF16, 3, {3, 8, 32}}};
    assert_open_fails(qwen_moe, twice, 2, UQFF_E_DUPLICATE, X "up_proj.weight");
    static const struct made biased[] = {{X "0.up_proj.bias", BF16, 1, {8}}};
    assert_open_fails(qwen_moe, biased, 1, UQFF_E_UNSUPPORTED, X "0.up_proj.bias");
}

static void splits_fused_experts(void **state) {
    (void)state;
    static const struct made fused[] = {{X "gate_up_proj", BF16, 3, {3, 16, 32}},
                                        {X "down_proj", BF16, 3, {3, 32, 8}}};
    static const uint64_t shape[] = {3, 8, 32};
    struct uqff_model *model = open_made(qwen_moe, fused, 2);
    assert_int_equal(uqff_model_module_count(model), 3);
    assert_memory_equal(module_named(model, X "gate_proj")->shape, shape, sizeof shape);
    assert_memory_equal(module_named(model, X "up_proj")->shape, shape, sizeof shape);
    assert_string_equal(module_named(model, X "up_proj")->gguf_name, "blk.0.ffn_up_exps");
    for (uint64_t e = 0; e < 3; e++) {
        assert_rows(model, X "gate_proj", 8 * e, &fused[0], 16 * e, 8);
        assert_rows(model, X "up_proj", 8 * e, &fused[0], 16 * e + 8, 8);
    }
    uint64_t row;
    size_t up = module_index(model, X "up_proj");
    assert_string_equal(uqff_model_module_source_name(model, up, 9, &row), X "gate_up_proj");
    assert_int_equal(row, 25);
    uqff_model_close(model);

    /* The transpose, and what cannot be halved, stay as they are. */
    static const struct made others[] = {{X "gate_up_proj", BF16, 3, {3, 32, 16}}};
    static const struct made odd[] = {{X "gate_up_proj", BF16, 3, {3, 15, 32}}};
    static const struct made flat[] = {{X "gate_up_proj", BF16, 2, {16, 32}}};
    const struct made *const kept[] = {others, odd, flat};
    for (size_t i = 0; i < 3; i++) {
        warnings[0] = 0;
        model = open_made(qwen_moe, kept[i], 1);
        assert_int_equal(uqff_model_module_count(model), 0);
        assert_int_equal(uqff_model_residual_count(model), 1);
        assert_non_null(strstr(warnings, "stays as it is"));
        uqff_model_close(model);
    }
    static const struct made biased[] = {{X "gate_up_proj", BF16, 3, {3, 16, 32}},
                                         {X "gate_up_proj_bias", BF16, 2, {3, 16}}};
    assert_open_fails(qwen_moe, biased, 2, UQFF_E_UNSUPPORTED, X "gate_up_proj_bias");
}

/* ---- biases ---------------------------------------------------------------------------------- */

static void moves_biases_with_modules(void **state) {
    (void)state;
    static const struct made made[] = {
        {"model.layers.0.self_attn.q_proj.weight", BF16, 2, {16, 32}},
        {"model.layers.0.self_attn.q_proj.bias", F32, 1, {16}},
        {"model.layers.0.self_attn.k_proj.bias", BF16, 1, {16}},
        {"model.layers.0.input_layernorm.bias", BF16, 1, {16}},
    };
    struct uqff_model *model = open_made(llama, made, COUNT(made));
    const struct uqff_model_module *module = module_named(model, "model.layers.0.self_attn.q_proj");
    assert_int_equal(module->bias, uqff_model_find_tensor(model, made[1].name));
    assert_false(is_residual(model, made[1].name));
    assert_true(is_residual(model, made[2].name));
    assert_true(is_residual(model, made[3].name));
    assert_same(tensor_values(model, module->bias), made_floats(&made[1]), 16);
    uqff_model_close(model);
    static const struct made wrong[] = {
        {"model.layers.0.self_attn.q_proj.weight", BF16, 2, {16, 32}},
        {"model.layers.0.self_attn.q_proj.bias", F32, 1, {32}},
    };
    assert_open_fails(llama, wrong, 2, UQFF_E_SHAPE, "q_proj.bias");
}

/* ---- heads and embeddings -------------------------------------------------------------------- */

static const struct made ends[] = {
    {"lm_head.weight", BF16, 2, {64, 32}},
    {"model.embed_tokens.weight", BF16, 2, {64, 32}},
};

static void ties_heads(void **state) {
    (void)state;
    /* Both stored: the embedding is enough. */
    struct uqff_model *model = open_made(llama_tied, ends, 2);
    assert_int_equal(uqff_model_module_count(model), 1);
    assert_int_equal(uqff_model_residual_count(model), 0);
    assert_int_equal(uqff_model_tensor_count(model), 2);
    assert_string_equal(uqff_model_module(model, 0)->name, "model.embed_tokens");
    assert_rows(model, "model.embed_tokens", 0, &ends[1], 0, 64);
    uqff_model_close(model);

    /* Only the head: it is the embedding. */
    static const char *const configs[] = {llama_tied, llama};
    for (size_t i = 0; i < 2; i++) {
        model = open_made(configs[i], ends, 1);
        assert_true(uqff_model_config(model)->tied);
        assert_int_equal(uqff_model_module_count(model), 1);
        assert_string_equal(uqff_model_module(model, 0)->name, "model.embed_tokens");
        assert_string_equal(uqff_model_module(model, 0)->gguf_name, "token_embd");
        assert_int_equal(uqff_model_module(model, 0)->role, UQFF_ROLE_EMBEDDING);
        assert_rows(model, "model.embed_tokens", 0, &ends[0], 0, 64);
        uint64_t row;
        assert_string_equal(uqff_model_module_source_name(model, 0, 0, &row), "lm_head.weight");
        uqff_model_close(model);
    }

    /* Not tied, and not said: as the architecture has it. */
    model = open_made(llama, ends, 2);
    assert_false(uqff_model_config(model)->tied);
    assert_int_equal(uqff_model_module_count(model), 2);
    uqff_model_close(model);
    model = open_made("{\"architectures\":[\"Gemma2ForCausalLM\"]}", ends, 2);
    assert_true(uqff_model_config(model)->tied);
    assert_int_equal(uqff_model_module_count(model), 1);
    uqff_model_close(model);
    model = open_made("{\"architectures\":[\"LlamaForCausalLM\"],\"tie_word_embeddings\":false}",
                      ends, 1);
    assert_string_equal(uqff_model_module(model, 0)->name, "lm_head");
    uqff_model_close(model);
    static const struct made wrapped[] = {{"language_model.lm_head.weight", BF16, 2, {64, 32}}};
    model = open_made("{\"architectures\":[\"Gemma3ForConditionalGeneration\"]}", wrapped, 1);
    assert_string_equal(uqff_model_module(model, 0)->name, "language_model.model.embed_tokens");
    uqff_model_close(model);
}

/* ---- architectures that are not known -------------------------------------------------------- */

static void guesses_modules(void **state) {
    (void)state;
    static const struct made made[] = {
        {"lm_head.weight", BF16, 2, {64, 32}},
        {"transformer.embed_tokens.weight", BF16, 2, {64, 32}},
        {"transformer.h.3.attn.weight", BF16, 2, {64, 32}},
        {"transformer.h.3.attn.bias", BF16, 1, {64}},
        {"transformer.h.3.narrow.weight", BF16, 2, {64, 24}},
        {"transformer.h.3.ln_norm.weight", BF16, 2, {64, 32}},
        {"transformer.h.3.mlp.gate.weight", BF16, 2, {64, 32}},
        {"transformer.h.3.router.weight", BF16, 2, {64, 32}},
        {"transformer.position_embeddings.weight", BF16, 2, {64, 32}},
        {"transformer.h.3.conv1d.weight", BF16, 3, {64, 1, 32}},
        {"transformer.h.3.ints.weight", UQFF_DTYPE_I32, 2, {64, 32}},
        {"transformer.h.3.other", BF16, 2, {64, 32}},
    };
    struct uqff_model *model = open_made(unknown, made, COUNT(made));
    assert_null(uqff_model_arch(model));
    assert_non_null(strstr(warnings, "'NewForCausalLM' is not known"));
    assert_int_equal(uqff_model_module_count(model), 3);
    assert_int_equal(uqff_model_residual_count(model), 8);
    const struct uqff_model_module *module = module_named(model, "transformer.h.3.attn");
    assert_null(module->gguf_name);
    assert_int_equal(module->role, UQFF_ROLE_OTHER);
    assert_int_equal(module->layer, 3);
    assert_int_equal(module->bias, uqff_model_find_tensor(model, "transformer.h.3.attn.bias"));
    assert_int_equal(module_named(model, "lm_head")->role, UQFF_ROLE_OUTPUT);
    assert_int_equal(module_named(model, "transformer.embed_tokens")->role, UQFF_ROLE_EMBEDDING);
    uqff_model_close(model);
}

static void keeps_what_no_weight_can_be(void **state) {
    (void)state;
    static const struct made made[] = {
        {"model.layers.0.mlp.up_proj.weight", UQFF_DTYPE_I8, 2, {16, 32}},
        {"model.layers.0.mlp.gate_proj.weight", BF16, 1, {32}},
        {"model.layers.0.mlp.down_proj.weight", BF16, 2, {0, 32}},
        {"model.layers.0.mlp.down_proj.qweight", UQFF_DTYPE_I32, 2, {4, 32}},
    };
    struct uqff_model *model = open_made(llama, made, COUNT(made));
    assert_int_equal(uqff_model_module_count(model), 0);
    assert_int_equal(uqff_model_residual_count(model), 4);
    assert_non_null(strstr(warnings, "up_proj.weight' has type I8"));
    assert_non_null(strstr(warnings, "none of its 4 tensors"));
    uqff_model_close(model);
}

/* ---- FP8 ------------------------------------------------------------------------------------- */

#define W "model.layers.0.mlp.up_proj.weight"

/* What the weights mean, by the plain formula. `rows` and `columns` are what one scale covers. */
static float *scaled(const struct made *weight, const struct made *scale, uint64_t height,
                     uint64_t width, uint64_t bands, uint64_t blocks) {
    float *values = made_floats(weight), *scales = made_floats(scale);
    uint64_t columns = weight->shape[weight->rank - 1], rows = weight->shape[weight->rank - 2];
    uint64_t all = made_bytes(weight) / columns;
    for (uint64_t r = 0; r < all; r++) {
        for (uint64_t c = 0; c < columns; c++) {
            uint64_t band = r / rows * bands + r % rows / height;
            values[r * columns + c] *= scales[band * blocks + c / width];
        }
    }
    free(scales);
    return values;
}

static void check_fp8(const struct made *pair, const char *config, const char *module,
                      float *expected) {
    struct uqff_model *model = open_made(config, pair, 2);
    size_t n = made_bytes(&pair[0]);
    assert_int_equal(uqff_model_tensor_count(model), 1);
    const struct uqff_tensor *tensor = uqff_model_tensor(model, 0);
    assert_string_equal(tensor->name, pair[0].name);
    assert_int_equal(tensor->type, UQFF_TYPE_F32);
    assert_int_equal(tensor->bytes, 4 * n);
    struct uqff_source *source;
    uint64_t offset;
    assert_false(uqff_model_tensor_range(model, 0, &source, &offset));
    float *values = module_values(model, module);
    assert_memory_equal(values, expected, 4 * n);
    static const size_t pieces[] = {1, 1000, 1 << 20};
    for (size_t i = n < 5000 ? 0 : 1; i < COUNT(pieces); i++) {
        unsigned char *bytes = tensor_bytes(model, 0, pieces[i]);
        for (size_t k = 0; k < n; k++) {
            uint32_t bits;
            memcpy(&bits, &expected[k], 4);
            assert_int_equal(uqff_load_le32(bytes + 4 * k), bits);
        }
        free(bytes);
    }
    free(values);
    free(expected);
    uqff_model_close(model);
}

static void folds_fp8_scales(void **state) {
    (void)state;
    static const struct made blocks[] = {{W, F8, 2, {200, 300}}, {W "_scale_inv", F32, 2, {2, 3}}};
    static const struct made one[] = {{W, F8, 2, {6, 32}}, {W "_scale", F32, 0, {0}}};
    static const struct made one_1d[] = {{W, F8, 2, {6, 32}}, {W "_scale", BF16, 1, {1}}};
    static const struct made rows[] = {{W, F8, 2, {6, 32}}, {W "_scale", BF16, 2, {6, 1}}};
    static const struct made flat[] = {{W, UQFF_DTYPE_F8_E5M2, 2, {6, 32}},
                                       {W "_scale", F32, 1, {6}}};
    static const struct made wide[] = {{W, F8, 2, {2, 40000}}, {W "_scale_inv", F32, 2, {1, 313}}};
    static const struct made stacked[] = {{X "up_proj", F8, 3, {3, 130, 256}},
                                          {X "up_proj_scale_inv", F32, 3, {3, 2, 2}}};
    const char *up = "model.layers.0.mlp.up_proj";
    check_fp8(blocks, llama, up, scaled(&blocks[0], &blocks[1], 128, 128, 2, 3));
    check_fp8(one, llama, up, scaled(&one[0], &one[1], 6, 32, 0, 1));
    check_fp8(one_1d, llama, up, scaled(&one_1d[0], &one_1d[1], 6, 32, 0, 1));
    check_fp8(rows, llama, up, scaled(&rows[0], &rows[1], 1, 32, 6, 1));
    check_fp8(flat, llama, up, scaled(&flat[0], &flat[1], 1, 32, 6, 1));
    check_fp8(wide, llama, up, scaled(&wide[0], &wide[1], 128, 128, 1, 313));
    check_fp8(stacked, qwen_moe, X "up_proj", scaled(&stacked[0], &stacked[1], 128, 128, 2, 2));
}

static void refuses_scales_that_do_not_fit(void **state) {
    (void)state;
    static const struct made counts[] = {{W, F8, 2, {200, 300}}, {W "_scale_inv", F32, 2, {3, 2}}};
    static const struct made type[] = {{W, F8, 2, {8, 32}}, {W "_scale", UQFF_DTYPE_C64, 1, {1}}};
    assert_open_fails(llama, counts, 2, UQFF_E_SHAPE, W "_scale_inv");
    assert_open_fails(llama, type, 2, UQFF_E_TYPE, W "_scale");
    /* Scales of other formats are tensors of their own; FP8 without scales reads as it is. */
    static const struct made others[] = {
        {W, F8, 2, {8, 32}},
        {"model.layers.0.mlp.gate_proj.weight", BF16, 2, {8, 32}},
        {"model.layers.0.mlp.gate_proj.weight_scale", BF16, 1, {8}},
        {"model.layers.0.mlp.gate_proj.input_scale", BF16, 1, {1}},
    };
    struct uqff_model *model = open_made(llama, others, 4);
    assert_int_equal(uqff_model_module_count(model), 2);
    assert_int_equal(uqff_model_residual_count(model), 2);
    assert_same(module_values(model, "model.layers.0.mlp.up_proj"), made_floats(&others[0]), 256);
    uqff_model_close(model);
}

/* ---- MXFP4 ----------------------------------------------------------------------------------- */

static const struct made mxfp4[] = {
    {X "gate_up_proj_blocks", UQFF_DTYPE_U8, 4, {2, 4, 5, 16}},
    {X "gate_up_proj_scales", UQFF_DTYPE_U8, 3, {2, 4, 5}},
    {X "gate_up_proj_bias", BF16, 2, {2, 4}},
};

/* The value of element `i` of the stored form: neighbours share a byte, the even one low. */
static float mxfp4_value(const unsigned char *blocks, const unsigned char *scales, size_t i) {
    static const float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    unsigned nibble = blocks[i / 2] >> 4 * (i % 2) & 15;
    float value = ldexpf(values[nibble & 7], scales[i / 32] - 127);
    return (nibble & 8) != 0 ? -value : value;
}

static void folds_mxfp4(void **state) {
    (void)state;
    struct uqff_model *model = open_made(gpt_oss, mxfp4, 3);
    assert_int_equal(uqff_model_module_count(model), 1);
    assert_int_equal(uqff_model_residual_count(model), 0);
    const struct uqff_model_module *module = module_named(model, X "gate_up_proj");
    static const uint64_t shape[] = {2, 4, 160};
    assert_int_equal(module->rank, 3);
    assert_memory_equal(module->shape, shape, sizeof shape);
    assert_int_equal(module->type, UQFF_TYPE_MXFP4);
    assert_null(module->gguf_name);
    assert_int_equal(module->bias, uqff_model_find_tensor(model, X "gate_up_proj_bias"));
    unsigned char *blocks = made_content(&mxfp4[0]), *scales = made_content(&mxfp4[1]);
    float *values = module_values(model, X "gate_up_proj");
    for (size_t i = 0; i < 2 * 4 * 160; i++) {
        assert_true(values[i] == mxfp4_value(blocks, scales, i));
    }
    /* Raw rows are ggml's blocks: decoding them gives the same, in whatever pieces they come. */
    struct uqff_error err;
    size_t tensor = uqff_model_find_tensor(model, X "gate_up_proj");
    static const size_t pieces[] = {1, 16, 17, 100, 4000};
    unsigned char raw[8 * 85];
    assert_ok(uqff_model_module_raw_rows(model, 0, 0, 8, raw, &err), &err);
    float *decoded = malloc(8 * 160 * 4);
    assert_ok(uqff_dequantize_row(UQFF_TYPE_MXFP4, raw, decoded, 8 * 160, &err), &err);
    for (size_t i = 0; i < COUNT(pieces); i++) {
        unsigned char *bytes = tensor_bytes(model, tensor, pieces[i]);
        assert_memory_equal(bytes, raw, sizeof raw);
        free(bytes);
    }
    assert_same(values, decoded, 8 * 160);
    free(blocks);
    free(scales);
    uqff_model_close(model);
}

static void refuses_mxfp4_that_does_not_fit(void **state) {
    (void)state;
    static const struct made wrong[] = {{X "down_proj_blocks", UQFF_DTYPE_U8, 4, {2, 4, 5, 16}},
                                        {X "down_proj_scales", UQFF_DTYPE_U8, 3, {2, 4, 4}}};
    assert_open_fails(gpt_oss, wrong, 2, UQFF_E_SHAPE, X "down_proj_scales");
    /* Without its partner each is a tensor like others. */
    struct uqff_model *model = open_made(gpt_oss, wrong, 1);
    assert_int_equal(uqff_model_residual_count(model), 1);
    uqff_model_close(model);
    /* The transposed floats of other releases stay, and say so. */
    static const struct made floats[] = {{X "gate_up_proj", BF16, 3, {2, 64, 8}}};
    model = open_made(gpt_oss, floats, 1);
    assert_int_equal(uqff_model_module_count(model), 0);
    assert_non_null(strstr(warnings, "stays as it is"));
    uqff_model_close(model);
}

/* ---- many tensors ---------------------------------------------------------------------------- */

static void groups_many_experts(void **state) {
    (void)state;
    enum { EXPERTS = 128, LAYERS = 20, LEAVES = 3, N = EXPERTS * LAYERS * LEAVES };
    static const char *const leaves[] = {"gate_proj", "up_proj", "down_proj"};
    struct made *made = calloc(N, sizeof *made);
    char(*names)[80] = calloc(N, sizeof *names);
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.%zu.mlp.experts.%zu.%s.weight",
                 i / LEAVES / EXPERTS, i / LEAVES % EXPERTS, leaves[i % LEAVES]);
        made[i] = (struct made){names[i], UQFF_DTYPE_F8_E4M3, 2, {1, 4}};
    }
    struct uqff_model *model = open_made(
        "{\"architectures\":[\"DeepseekV3ForCausalLM\"],\"n_routed_experts\":128}", made, N);
    assert_int_equal(uqff_model_module_count(model), LAYERS * LEAVES);
    assert_rows(model, "model.layers.19.mlp.experts.up_proj", 127, &made[N - 2], 0, 1);
    uqff_model_close(model);
    free(made);
    free(names);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, enter_folder)
    const struct CMUnitTest tests[] = {
        TEST(stacks_experts_in_order),
        TEST(names_missing_experts),
        TEST(refuses_odd_experts),
        TEST(splits_fused_experts),
        TEST(moves_biases_with_modules),
        TEST(ties_heads),
        TEST(guesses_modules),
        TEST(keeps_what_no_weight_can_be),
        TEST(folds_fp8_scales),
        TEST(refuses_scales_that_do_not_fit),
        TEST(folds_mxfp4),
        TEST(refuses_mxfp4_that_does_not_fit),
        TEST(groups_many_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
