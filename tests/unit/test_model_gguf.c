/* GGUF files as models: names mapped, the converter's changes undone, metadata read. */
#include "test_gguf_builder.h"

#include <sys/stat.h>

#include "uqff/model.h"

static const struct uqff_model_options quiet = {NULL, false};

/* A tensor: float32 unless `type` is another, filled with 0, 1, 2 … or, quantized, from those. */
struct entry {
    const char *name;
    uint32_t type, n_dims;
    uint64_t ne[4]; /* innermost first */
};

struct key {
    const char *name;
    uint32_t kind;
    uint32_t number;
    const char *text;
    float real;
};

#define TEXT(name, text)                                                                           \
    { name, UQFF_GGUF_STRING, 0, text, 0 }
#define NUMBER(name, number)                                                                       \
    { name, UQFF_GGUF_U32, number, NULL, 0 }
#define REAL(name, real)                                                                           \
    { name, UQFF_GGUF_F32, 0, NULL, real }
#define COUNT(array) (sizeof array / sizeof *array)

static uint64_t elements_of(const struct entry *e) {
    uint64_t n = 1;
    for (unsigned i = 0; i < e->n_dims; i++) {
        n *= e->ne[i];
    }
    return n;
}

static uint64_t bytes_of(const struct entry *e) {
    struct uqff_error err;
    uint64_t bytes;
    assert_ok(uqff_row_bytes(e->type, elements_of(e), &bytes, &err), &err);
    return bytes;
}

static void put_data(struct builder *b, const struct entry *e) {
    struct uqff_error err;
    uint64_t n = elements_of(e);
    float *values = malloc(n * 4 + 4);
    for (uint64_t i = 0; i < n; i++) {
        values[i] = (float)i;
    }
    unsigned char *bytes = malloc(bytes_of(e) + 1);
    assert_ok(uqff_quantize_row(e->type, values, bytes, n, NULL, &err), &err);
    put(b, bytes, bytes_of(e));
    put_pad(b, 32);
    free(values);
    free(bytes);
}

static const char *build(const struct key *keys, size_t key_count, const struct entry *entries,
                         size_t count, bool big) {
    struct builder b = begin(3, big, count, key_count);
    uint64_t offset = 0;
    for (size_t i = 0; i < key_count; i++) {
        put_key(&b, keys[i].name, keys[i].kind);
        if (keys[i].kind == UQFF_GGUF_STRING) {
            put_string(&b, keys[i].text);
        } else if (keys[i].kind == UQFF_GGUF_U16) {
            put_number(&b, keys[i].number, 2);
        } else if (keys[i].kind == UQFF_GGUF_U32 || keys[i].kind == UQFF_GGUF_I32) {
            put_u32(&b, keys[i].number);
        } else {
            put_f32(&b, keys[i].real);
        }
    }
    for (size_t i = 0; i < count; i++) {
        put_info(&b, entries[i].name, entries[i].n_dims, entries[i].ne, entries[i].type, offset);
        offset += (bytes_of(&entries[i]) + 31) / 32 * 32;
    }
    put_pad(&b, 32);
    for (size_t i = 0; i < count; i++) {
        put_data(&b, &entries[i]);
    }
    const char *path = scratch_file("model.gguf");
    write_file(path, b.bytes, b.size);
    free(b.bytes);
    return path;
}

static struct uqff_model *open_gguf(const struct key *keys, size_t key_count,
                                    const struct entry *entries, size_t count) {
    struct uqff_model *model;
    struct uqff_error err;
    assert_ok(uqff_model_open(build(keys, key_count, entries, count, false), &quiet, &model, &err),
              &err);
    return model;
}

static size_t module_index(const struct uqff_model *model, const char *name) {
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        if (strcmp(uqff_model_module(model, i)->name, name) == 0) {
            return i;
        }
    }
    fail_msg("no module '%s'", name);
    return 0;
}

static float *rows_of(const struct uqff_model *model, const char *name) {
    struct uqff_error err;
    size_t i = module_index(model, name);
    const struct uqff_model_module *module = uqff_model_module(model, i);
    float *values = malloc((size_t)(module->rows * module->columns) * 4);
    assert_ok(uqff_model_read_module_rows(model, i, 0, module->rows, values, &err), &err);
    return values;
}

/* ---- Llama ----------------------------------------------------------------------------------- */

static const struct key llama[] = {
    TEXT("general.architecture", "llama"),
    NUMBER("llama.block_count", 3),
    NUMBER("llama.embedding_length", 32),
    NUMBER("llama.feed_forward_length", 96),
    NUMBER("llama.attention.head_count", 4),
    NUMBER("llama.attention.head_count_kv", 2),
    NUMBER("llama.context_length", 4294967295u),
    REAL("llama.rope.freq_base", 5e5f),
    REAL("llama.attention.layer_norm_rms_epsilon", 1e-5f),
};
static const struct entry llama_tensors[] = {
    {"token_embd.weight", UQFF_TYPE_Q8_0, 2, {32, 8}},
    {"output_norm.weight", UQFF_TYPE_F32, 1, {32}},
    {"blk.2.attn_q.weight", UQFF_TYPE_Q4_0, 2, {32, 32}},
    {"blk.2.attn_k.weight", UQFF_TYPE_F32, 2, {32, 16}},
    {"blk.2.attn_k.bias", UQFF_TYPE_F32, 1, {16}},
    {"blk.2.ffn_gate.weight", UQFF_TYPE_F16, 2, {32, 96}},
    {"rope_freqs.weight", UQFF_TYPE_F32, 1, {4}},
    {"blk.2.attn_rot_embd.weight", UQFF_TYPE_F32, 1, {4}},
};

static void maps_llama(void **state) {
    (void)state;
    struct uqff_model *model = open_gguf(llama, COUNT(llama), llama_tensors, COUNT(llama_tensors));
    const struct uqff_config *config = uqff_model_config(model);
    assert_int_equal(uqff_model_kind(model), UQFF_MODEL_GGUF);
    assert_string_equal(uqff_model_name(model), "model");
    assert_string_equal(uqff_model_arch(model)->name, "llama");
    assert_string_equal(config->architecture, "LlamaForCausalLM");
    assert_string_equal(config->model_type, "llama");
    assert_int_equal(config->layers, 3);
    assert_int_equal(config->hidden, 32);
    assert_int_equal(config->feed_forward, 96);
    assert_int_equal(config->heads, 4);
    assert_int_equal(config->kv_heads, 2);
    assert_int_equal(config->context, 4294967295u);
    assert_true(config->rope_theta == 5e5);
    assert_true(config->tied);
    assert_int_equal(uqff_model_module_count(model), 4);
    const struct uqff_model_module *q =
        uqff_model_module(model, module_index(model, "model.layers.2.self_attn.q_proj"));
    assert_string_equal(q->gguf_name, "blk.2.attn_q");
    assert_int_equal(q->role, UQFF_ROLE_ATTN_Q);
    assert_int_equal(q->layer, 2);
    assert_int_equal(q->gguf_heads, 4);
    assert_int_equal(q->type, UQFF_TYPE_Q4_0);
    assert_int_equal(uqff_model_residual_count(model), 3);
    size_t norm = uqff_model_find_tensor(model, "output_norm.weight");
    assert_string_equal(uqff_model_tensor(model, norm)->hf_name, "model.norm.weight");
    size_t freqs = uqff_model_find_tensor(model, "rope_freqs.weight");
    assert_string_equal(uqff_model_tensor(model, freqs)->hf_name, "model.rope_freqs.weight");
    size_t strange = uqff_model_find_tensor(model, "blk.2.attn_rot_embd.weight");
    assert_string_equal(uqff_model_tensor(model, strange)->hf_name, "blk.2.attn_rot_embd.weight");
    assert_int_equal(uqff_model_find_tensor(model, "model.norm.weight"), UQFF_NONE);
    assert_int_equal(uqff_model_asset_count(model), 1);
    assert_string_equal(uqff_model_asset_path(model, 0), "gguf-metadata.bin");
    char *metadata;
    size_t size;
    struct uqff_error err;
    assert_ok(uqff_model_read_asset(model, 0, &metadata, &size, &err), &err);
    assert_int_equal(uqff_load_le64(metadata), strlen("general.architecture"));
    assert_memory_equal(metadata + 8, "general.architecture", 20);
    uqff_free(metadata);
    uqff_model_close(model);
}

/* Row r of Hugging Face's order, heads of `d` rows: pairs lie side by side in the file. */
static size_t stored_row(size_t r, size_t d) {
    size_t in_head = r % d;
    return r - in_head + 2 * (in_head % (d / 2)) + in_head / (d / 2);
}

static void undoes_the_permutation(void **state) {
    (void)state;
    struct uqff_model *model = open_gguf(llama, COUNT(llama), llama_tensors, COUNT(llama_tensors));
    struct uqff_error err;
    float *k = rows_of(model, "model.layers.2.self_attn.k_proj");
    for (size_t r = 0; r < 16; r++) {
        for (size_t c = 0; c < 32; c++) {
            assert_true(k[r * 32 + c] == (float)(stored_row(r, 8) * 32 + c));
        }
    }
    free(k);
    /* Rows of blocks move as they are: decoded, and raw through both interfaces. */
    size_t module = module_index(model, "model.layers.2.self_attn.q_proj");
    size_t tensor = uqff_model_find_tensor(model, "blk.2.attn_q.weight");
    unsigned char all[32 * 18], raw[18];
    struct uqff_gguf *file = uqff_model_gguf(model);
    const struct uqff_gguf_tensor *stored = uqff_gguf_find_tensor(file, "blk.2.attn_q.weight");
    assert_ok(uqff_source_read(uqff_gguf_source(file, 0), stored->offset, all, sizeof all, &err),
              &err);
    float *q = rows_of(model, "model.layers.2.self_attn.q_proj");
    for (size_t r = 0; r < 32; r++) {
        float row[32];
        const unsigned char *expected = all + stored_row(r, 8) * 18;
        assert_ok(uqff_model_module_raw_rows(model, module, r, 1, raw, &err), &err);
        assert_memory_equal(raw, expected, 18);
        for (size_t i = 0; i < 18; i += 5) {
            size_t n = i + 5 < 18 ? 5 : 18 - i;
            assert_ok(uqff_model_read(model, tensor, r * 18 + i, raw + i, n, &err), &err);
        }
        assert_memory_equal(raw, expected, 18);
        assert_ok(uqff_dequantize_row(UQFF_TYPE_Q4_0, expected, row, 32, &err), &err);
        assert_memory_equal(row, q + 32 * r, sizeof row);
    }
    free(q);
    struct uqff_source *source;
    uint64_t offset;
    assert_false(uqff_model_tensor_range(model, tensor, &source, &offset));
    assert_true(uqff_model_tensor_range(model, uqff_model_find_tensor(model, "token_embd.weight"),
                                        &source, &offset));
    /* The bias likewise. */
    float bias[16];
    size_t index =
        uqff_model_module(model, module_index(model, "model.layers.2.self_attn.k_proj"))->bias;
    assert_string_equal(uqff_model_tensor(model, index)->name, "blk.2.attn_k.bias");
    assert_ok(uqff_model_read_rows(model, index, 0, 1, bias, &err), &err);
    for (size_t r = 0; r < 16; r++) {
        assert_true(bias[r] == (float)stored_row(r, 8));
    }
    uqff_model_close(model);
}

static void refuses_heads_that_do_not_fit(void **state) {
    (void)state;
    static const struct entry odd[] = {{"blk.0.attn_q.weight", UQFF_TYPE_F32, 2, {32, 20}}};
    static const struct entry uneven[] = {{"blk.0.attn_q.weight", UQFF_TYPE_F32, 2, {32, 30}}};
    struct uqff_model *model;
    struct uqff_error err;
    assert_fails(uqff_model_open(build(llama, COUNT(llama), odd, 1, false), &quiet, &model, &err),
                 UQFF_E_SHAPE, &err, "blk.0.attn_q.weight");
    assert_fails(
        uqff_model_open(build(llama, COUNT(llama), uneven, 1, false), &quiet, &model, &err),
        UQFF_E_SHAPE, &err, "blk.0.attn_q.weight");
    assert_fails(uqff_model_open(build(llama, 1, odd, 1, false), &quiet, &model, &err),
                 UQFF_E_FIELD, &err, "head count");
}

static void opens_split_sets(void **state) {
    (void)state;
    static const char *const names[] = {"tiny-00001-of-00002.gguf", "tiny-00002-of-00002.gguf"};
    for (uint32_t i = 0; i < 2; i++) {
        const struct key keys[] = {
            {"split.no", UQFF_GGUF_U16, i, NULL, 0},
            {"split.count", UQFF_GGUF_U16, 2, NULL, 0},
            {"split.tensors.count", UQFF_GGUF_I32, 2, NULL, 0},
            TEXT("general.architecture", "llama"),
        };
        const char *path = build(keys, i == 0 ? 4 : 3, &llama_tensors[i], 1, false);
        assert_int_equal(rename(path, scratch_file(names[i])), 0);
    }
    struct uqff_model *model;
    struct uqff_error err;
    float values[32];
    assert_ok(uqff_model_open(scratch_file(names[0]), &quiet, &model, &err), &err);
    assert_string_equal(uqff_model_name(model), "tiny");
    assert_int_equal(uqff_model_tensor_count(model), 2);
    assert_true(uqff_model_is_input(model, scratch_file(names[1])));
    assert_ok(uqff_model_read_rows(model, uqff_model_find_tensor(model, "output_norm.weight"), 0, 1,
                                   values, &err),
              &err);
    assert_true(values[31] == 31);
    uqff_model_close(model);
}

/* A directory stands for the one GGUF in it, or for the one split set. */
static void opens_directories(void **state) {
    (void)state;
    static const char *const names[] = {"set/tiny-00001-of-00002.gguf",
                                        "set/tiny-00002-of-00002.gguf"};
    struct uqff_model *model;
    struct uqff_error err;
    assert_int_equal(mkdir(scratch_file("set"), 0777), 0);
    for (uint32_t i = 0; i < 2; i++) {
        const struct key keys[] = {
            {"split.no", UQFF_GGUF_U16, i, NULL, 0},
            {"split.count", UQFF_GGUF_U16, 2, NULL, 0},
            {"split.tensors.count", UQFF_GGUF_I32, 2, NULL, 0},
        };
        const char *path = build(keys, COUNT(keys), &llama_tensors[i], 1, false);
        assert_int_equal(rename(path, scratch_file(names[i])), 0);
    }
    assert_ok(uqff_model_open(scratch_file("set"), &quiet, &model, &err), &err);
    assert_int_equal(uqff_model_kind(model), UQFF_MODEL_GGUF);
    assert_string_equal(uqff_model_name(model), "set");
    assert_int_equal(uqff_model_tensor_count(model), 2);
    uqff_model_close(model);

    const char *path = build(llama, COUNT(llama), llama_tensors, COUNT(llama_tensors), false);
    assert_int_equal(rename(path, scratch_file("set/other.gguf")), 0);
    assert_fails(uqff_model_open(scratch_file("set"), &quiet, &model, &err), UQFF_E_UNKNOWN, &err,
                 "holds 2 models as GGUF; name one of them");
    assert_int_equal(remove(scratch_file(names[0])), 0);
    assert_int_equal(remove(scratch_file(names[1])), 0);
    assert_ok(uqff_model_open(scratch_file("set"), &quiet, &model, &err), &err);
    assert_int_equal(uqff_model_tensor_count(model), COUNT(llama_tensors));
    assert_true(uqff_model_is_input(model, scratch_file("set/other.gguf")));
    uqff_model_close(model);
}

/* ---- other architectures --------------------------------------------------------------------- */

static void maps_mixtral(void **state) {
    (void)state;
    static const struct key keys[] = {TEXT("general.architecture", "llama"),
                                      NUMBER("llama.expert_count", 4),
                                      NUMBER("llama.expert_used_count", 2)};
    static const struct entry tensors[] = {
        {"blk.0.ffn_gate_exps.weight", UQFF_TYPE_F32, 3, {32, 8, 4}},
        {"blk.0.ffn_down.0.weight", UQFF_TYPE_F32, 2, {8, 32}},
        {"blk.0.ffn_down.1.weight", UQFF_TYPE_F32, 2, {8, 32}},
        {"blk.0.ffn_down.2.weight", UQFF_TYPE_F32, 2, {8, 32}},
        {"blk.0.ffn_down.3.weight", UQFF_TYPE_F32, 2, {8, 32}},
        {"blk.0.ffn_gate_inp.weight", UQFF_TYPE_Q8_0, 2, {32, 4}},
        {"blk.0.ffn_norm.weight", UQFF_TYPE_F32, 1, {32}},
    };
    static const uint64_t gate[] = {4, 8, 32}, down[] = {4, 32, 8};
    struct uqff_model *model = open_gguf(keys, COUNT(keys), tensors, COUNT(tensors));
    assert_string_equal(uqff_model_arch(model)->name, "mixtral");
    assert_int_equal(uqff_model_config(model)->experts_used, 2);
    assert_int_equal(uqff_model_module_count(model), 2);
    size_t i = module_index(model, "model.layers.0.block_sparse_moe.experts.gate_proj");
    assert_memory_equal(uqff_model_module(model, i)->shape, gate, sizeof gate);
    i = module_index(model, "model.layers.0.block_sparse_moe.experts.down_proj");
    assert_memory_equal(uqff_model_module(model, i)->shape, down, sizeof down);
    /* A router that came quantized is listed as what it decodes to. */
    i = uqff_model_find_tensor(model, "blk.0.ffn_gate_inp.weight");
    const struct uqff_tensor *router = uqff_model_tensor(model, i);
    assert_string_equal(router->hf_name, "model.layers.0.block_sparse_moe.gate.weight");
    assert_string_equal(router->gguf_name, "blk.0.ffn_gate_inp.weight");
    assert_int_equal(router->type, UQFF_TYPE_F32);
    assert_int_equal(router->bytes, 4 * 128);
    struct uqff_error err;
    float values[128], direct[128];
    unsigned char q8[4 * 34], raw[4 * 128];
    const struct uqff_gguf_tensor *stored =
        uqff_gguf_find_tensor(uqff_model_gguf(model), router->name);
    assert_ok(uqff_source_read(uqff_gguf_source(uqff_model_gguf(model), 0), stored->offset, q8,
                               sizeof q8, &err),
              &err);
    assert_ok(uqff_dequantize_row(UQFF_TYPE_Q8_0, q8, direct, 128, &err), &err);
    assert_ok(uqff_model_read_rows(model, i, 0, 4, values, &err), &err);
    assert_memory_equal(values, direct, sizeof direct);
    assert_ok(uqff_model_read(model, i, 0, raw, 3, &err), &err);
    assert_ok(uqff_model_read(model, i, 3, raw + 3, sizeof raw - 3, &err), &err);
    assert_memory_equal(raw, direct, sizeof direct);
    uqff_model_close(model);
}

static void shifts_gemma_norms(void **state) {
    (void)state;
    static const struct key keys[] = {TEXT("general.architecture", "gemma3")};
    static const struct entry tensors[] = {
        {"blk.1.post_ffw_norm.weight", UQFF_TYPE_F32, 1, {40}},
        {"blk.1.attn_q_norm.weight", UQFF_TYPE_BF16, 1, {40}},
        {"blk.1.attn_q.weight", UQFF_TYPE_F32, 2, {32, 32}},
    };
    struct uqff_model *model = open_gguf(keys, COUNT(keys), tensors, COUNT(tensors));
    struct uqff_error err;
    assert_string_equal(uqff_model_arch(model)->name, "gemma3_text");
    for (size_t i = 0; i < 2; i++) {
        size_t tensor = uqff_model_find_tensor(model, tensors[i].name);
        const struct uqff_tensor *info = uqff_model_tensor(model, tensor);
        float values[40];
        unsigned char raw[160];
        assert_int_equal(info->type, UQFF_TYPE_F32);
        assert_int_equal(info->bytes, 160);
        assert_true(info->gguf_shift == 1);
        assert_ok(uqff_model_read_rows(model, tensor, 0, 1, values, &err), &err);
        assert_ok(uqff_model_read(model, tensor, 0, raw, sizeof raw, &err), &err);
        for (size_t k = 0; k < 40; k++) {
            uint32_t bits;
            assert_true(values[k] == (float)k - 1);
            memcpy(&bits, &values[k], 4);
            assert_int_equal(uqff_load_le32(raw + 4 * k), bits);
        }
    }
    float *q = rows_of(model, "model.layers.1.self_attn.q_proj");
    assert_true(q[33] == 33);
    free(q);
    uqff_model_close(model);
}

static void tells_deepseek_apart(void **state) {
    (void)state;
    static const struct key keys[] = {TEXT("general.architecture", "deepseek2"),
                                      NUMBER("deepseek2.expert_gating_func", 2)};
    static const struct entry tensors[] = {
        {"blk.0.attn_k_b.weight", UQFF_TYPE_F32, 3, {32, 8, 4}},
        {"blk.0.exp_probs_b.bias", UQFF_TYPE_F32, 1, {4}},
    };
    struct uqff_model *model = open_gguf(keys, 1, tensors, 2);
    assert_string_equal(uqff_model_arch(model)->name, "deepseek_v2");
    uqff_model_close(model);
    model = open_gguf(keys, 2, tensors, 2);
    assert_string_equal(uqff_model_arch(model)->name, "deepseek_v3");
    assert_int_equal(uqff_model_module_count(model), 1);
    assert_string_equal(uqff_model_module(model, 0)->name, "model.layers.0.self_attn.k_b_proj");
    assert_string_equal(uqff_model_tensor(model, uqff_model_residual(model, 0))->hf_name,
                        "model.layers.0.mlp.gate.e_score_correction_bias");
    uqff_model_close(model);
}

static void takes_unknown_architectures_as_they_are(void **state) {
    (void)state;
    static const struct key keys[] = {TEXT("general.architecture", "newest")};
    static const struct entry tensors[] = {
        {"token_embd.weight", UQFF_TYPE_F32, 2, {32, 8}},
        {"blk.7.attn_q.weight", UQFF_TYPE_Q4_0, 2, {32, 8}},
        {"blk.7.ffn_up_exps.weight", UQFF_TYPE_F32, 3, {32, 8, 2}},
        {"blk.7.ffn_gate_inp.weight", UQFF_TYPE_F32, 2, {32, 8}},
        {"blk.7.attn_norm.weight", UQFF_TYPE_F32, 1, {32}},
        {"blk.7.ssm_conv1d.weight", UQFF_TYPE_F32, 2, {32, 8}},
    };
    static const struct {
        const char *name;
        enum uqff_role role;
    } expected[] = {
        {"blk.7.attn_q", UQFF_ROLE_ATTN_Q},
        {"blk.7.ffn_up_exps", UQFF_ROLE_FFN_UP},
        {"token_embd", UQFF_ROLE_EMBEDDING},
    };
    struct uqff_model *model = open_gguf(keys, 1, tensors, COUNT(tensors));
    assert_null(uqff_model_arch(model));
    assert_string_equal(uqff_model_config(model)->model_type, "newest");
    assert_int_equal(uqff_model_module_count(model), 3);
    for (size_t i = 0; i < 3; i++) {
        const struct uqff_model_module *module =
            uqff_model_module(model, module_index(model, expected[i].name));
        assert_string_equal(module->gguf_name, expected[i].name);
        assert_int_equal(module->role, expected[i].role);
        assert_int_equal(module->layer, i == 2 ? -1 : 7);
    }
    const struct uqff_tensor *norm =
        uqff_model_tensor(model, uqff_model_find_tensor(model, "blk.7.attn_norm.weight"));
    assert_string_equal(norm->gguf_name, norm->name);
    uqff_model_close(model);
}

static void lists_big_endian_files(void **state) {
    (void)state;
    static const struct entry tensors[] = {
        {"output_norm.weight", UQFF_TYPE_F32, 1, {32}},
        {"token_embd.weight", UQFF_TYPE_F32, 2, {32, 8}},
    };
    struct uqff_model *model;
    struct uqff_error err;
    float values[32];
    assert_ok(uqff_model_open(build(llama, COUNT(llama), tensors, 2, true), &quiet, &model, &err),
              &err);
    assert_int_equal(uqff_model_tensor_count(model), 2);
    assert_int_equal(uqff_model_config(model)->layers, 3);
    assert_fails(uqff_model_read_rows(model, 0, 0, 1, values, &err), UQFF_E_UNSUPPORTED, &err,
                 "big-endian");
    assert_fails(uqff_model_read(model, 0, 0, values, 1, &err), UQFF_E_UNSUPPORTED, &err,
                 "output_norm.weight");
    assert_fails(uqff_model_read_module_rows(model, 0, 0, 1, values, &err), UQFF_E_UNSUPPORTED,
                 &err, "token_embd.weight");
    struct uqff_source *source;
    uint64_t offset;
    assert_false(uqff_model_tensor_range(model, 0, &source, &offset));
    uqff_model_close(model);
}

static void checks_metadata(void **state) {
    (void)state;
    static const struct entry tensors[] = {{"output_norm.weight", UQFF_TYPE_F32, 1, {32}}};
    static const struct {
        struct key key;
        const char *needle;
    } cases[] = {
        {NUMBER("llama.block_count", 0), "llama.block_count"},
        {{"llama.block_count", UQFF_GGUF_I32, 0xffffffffu, NULL, 0}, "llama.block_count"},
        {TEXT("llama.block_count", "3"), "llama.block_count"},
        {NUMBER("llama.attention.head_count", 0), "llama.attention.head_count"},
        {NUMBER("llama.embedding_length", 4294967295u), "llama.embedding_length"},
        {REAL("llama.rope.freq_base", 0), "llama.rope.freq_base"},
        {REAL("llama.rope.freq_base", -1), "llama.rope.freq_base"},
        {TEXT("llama.rope.freq_base", "1"), "llama.rope.freq_base"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct key keys[] = {llama[0], cases[i].key};
        struct uqff_model *model;
        struct uqff_error err;
        assert_fails(uqff_model_open(build(keys, 2, tensors, 1, false), &quiet, &model, &err),
                     UQFF_E_FIELD, &err, cases[i].needle);
    }
    static const struct key number[] = {NUMBER("general.architecture", 3)};
    static const struct key none[] = {TEXT("general.name", "x")};
    struct uqff_model *model;
    struct uqff_error err;
    assert_fails(uqff_model_open(build(number, 1, tensors, 1, false), &quiet, &model, &err),
                 UQFF_E_FIELD, &err, "general.architecture");
    model = open_gguf(none, 1, tensors, 1);
    assert_string_equal(uqff_model_config(model)->model_type, "");
    uqff_model_close(model);
}

static void survives_failing_allocations(void **state) {
    (void)state;
    const char *path = build(llama, COUNT(llama), llama_tensors, COUNT(llama_tensors), false);
    for (size_t n = 1;; n++) {
        struct uqff_model *model = NULL;
        struct uqff_error err;
        fail_allocation(n);
        enum uqff_code code = uqff_model_open(path, &quiet, &model, &err);
        fail_allocation(0);
        if (code == UQFF_OK) {
            assert_true(n > 8);
            uqff_model_close(model);
            return;
        }
        assert_int_equal(code, UQFF_E_MEMORY);
    }
}

/* ---- against the same models as safetensors -------------------------------------------------- */

static void compare(const char *hf_path, const char *gguf_path) {
    struct uqff_model *hf, *gguf;
    struct uqff_error err;
    assert_ok(uqff_model_open(hf_path, &quiet, &hf, &err), &err);
    assert_ok(uqff_model_open(gguf_path, &quiet, &gguf, &err), &err);
    assert_int_equal(uqff_model_module_count(hf), uqff_model_module_count(gguf));
    for (size_t i = 0; i < uqff_model_module_count(hf); i++) {
        const struct uqff_model_module *a = uqff_model_module(hf, i);
        const struct uqff_model_module *b = uqff_model_module(gguf, i);
        assert_string_equal(a->name, b->name);
        assert_string_equal(a->gguf_name, b->gguf_name);
        assert_int_equal(a->role, b->role);
        float *x = rows_of(hf, a->name), *y = rows_of(gguf, a->name);
        assert_memory_equal(x, y, (size_t)(a->rows * a->columns) * 4);
        free(x);
        free(y);
    }
    assert_int_equal(uqff_model_residual_count(hf), uqff_model_residual_count(gguf));
    for (size_t i = 0; i < uqff_model_residual_count(gguf); i++) {
        const struct uqff_tensor *b = uqff_model_tensor(gguf, uqff_model_residual(gguf, i));
        assert_int_not_equal(uqff_model_find_tensor(hf, b->hf_name), UQFF_NONE);
    }
    uqff_model_close(hf);
    uqff_model_close(gguf);
}

static void agrees_with_safetensors(void **state) {
    (void)state;
    if (extra_data("models") == NULL) {
        skip();
    }
    compare(extra_data("models/stories260K/hf"),
            extra_data("models/stories260K/gguf/stories260K-f32.gguf"));
    compare(extra_data("models/tinystories-656k-f32"),
            extra_data("models/tinystories-656k-f32/gguf/tinystories-656k-f32.gguf"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_llama),
        cmocka_unit_test(undoes_the_permutation),
        cmocka_unit_test(refuses_heads_that_do_not_fit),
        cmocka_unit_test(opens_split_sets),
        cmocka_unit_test(opens_directories),
        cmocka_unit_test(maps_mixtral),
        cmocka_unit_test(shifts_gemma_norms),
        cmocka_unit_test(tells_deepseek_apart),
        cmocka_unit_test(takes_unknown_architectures_as_they_are),
        cmocka_unit_test(lists_big_endian_files),
        cmocka_unit_test(checks_metadata),
        cmocka_unit_test(survives_failing_allocations),
        cmocka_unit_test(agrees_with_safetensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
