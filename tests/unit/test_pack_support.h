/* What the tests of packing, exporting and editing share: tiny models, options, comparing files. */
#ifndef UQFF_TEST_PACK_SUPPORT_H
#define UQFF_TEST_PACK_SUPPORT_H

#include <stdio.h>
#include <sys/stat.h>

#include "tests/support/text.h"
#include "uqff/pack.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct tiny_tensor {
    const char *name;
    enum uqff_dtype dtype;
    unsigned rank;
    uint64_t shape[3];
};

/* A Llama of one layer whose rows are 64 and 128 wide, with biases as Qwen2 has them in three
 * types. */
static const struct tiny_tensor tiny_qwen2[] = {
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
    {"model.norm.weight", UQFF_DTYPE_F32, 1, {64}},
    {"model.layers.0.input_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.post_attention_layernorm.weight", UQFF_DTYPE_F16, 1, {64}},
    {"model.layers.0.self_attn.q_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.q_proj.bias", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.self_attn.k_proj.weight", UQFF_DTYPE_BF16, 2, {32, 64}},
    {"model.layers.0.self_attn.k_proj.bias", UQFF_DTYPE_F32, 1, {32}},
    {"model.layers.0.self_attn.v_proj.weight", UQFF_DTYPE_F16, 2, {32, 64}},
    {"model.layers.0.self_attn.v_proj.bias", UQFF_DTYPE_F16, 1, {32}},
    {"model.layers.0.self_attn.o_proj.weight", UQFF_DTYPE_F32, 2, {64, 64}},
    {"model.layers.0.mlp.gate_proj.weight", UQFF_DTYPE_BF16, 2, {128, 64}},
    {"model.layers.0.mlp.up_proj.weight", UQFF_DTYPE_BF16, 2, {128, 64}},
    {"model.layers.0.mlp.down_proj.weight", UQFF_DTYPE_BF16, 2, {64, 128}},
    {"lm_head.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
};

/* Three experts, apart as Mixtral's checkpoints have them. */
static const struct tiny_tensor tiny_mixtral[] = {
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
    {"model.norm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.input_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.self_attn.q_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.k_proj.weight", UQFF_DTYPE_BF16, 2, {32, 64}},
    {"model.layers.0.self_attn.v_proj.weight", UQFF_DTYPE_BF16, 2, {32, 64}},
    {"model.layers.0.self_attn.o_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.block_sparse_moe.gate.weight", UQFF_DTYPE_BF16, 2, {3, 64}},
    {"model.layers.0.block_sparse_moe.experts.0.w1.weight", UQFF_DTYPE_BF16, 2, {96, 64}},
    {"model.layers.0.block_sparse_moe.experts.0.w2.weight", UQFF_DTYPE_BF16, 2, {64, 96}},
    {"model.layers.0.block_sparse_moe.experts.0.w3.weight", UQFF_DTYPE_BF16, 2, {96, 64}},
    {"model.layers.0.block_sparse_moe.experts.1.w1.weight", UQFF_DTYPE_BF16, 2, {96, 64}},
    {"model.layers.0.block_sparse_moe.experts.1.w2.weight", UQFF_DTYPE_BF16, 2, {64, 96}},
    {"model.layers.0.block_sparse_moe.experts.1.w3.weight", UQFF_DTYPE_BF16, 2, {96, 64}},
    {"model.layers.0.block_sparse_moe.experts.2.w1.weight", UQFF_DTYPE_BF16, 2, {96, 64}},
    {"model.layers.0.block_sparse_moe.experts.2.w2.weight", UQFF_DTYPE_BF16, 2, {64, 96}},
    {"model.layers.0.block_sparse_moe.experts.2.w3.weight", UQFF_DTYPE_BF16, 2, {96, 64}},
    {"lm_head.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
};

static const char tiny_config[] =
    "{\"architectures\":[\"%s\"],\"model_type\":\"%s\",\"hidden_size\":64,"
    "\"intermediate_size\":128,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":24,\"num_local_experts\":%d,"
    "\"num_experts_per_tok\":%d,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
    "\"max_position_embeddings\":64,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\","
    "\"_name_or_path\":\"tiny/model\",\"big\":12345678901234567890,"
    "\"quantization_config\":{\"quant_method\":\"none\"},"
    "\"text_config\":{\"quantization_config\":{},\"list\":[1,[],{}],\"last\":null}}";

/* Writes a model directory with made-up weights. `poison`, unless NULL, names a tensor that gets a
 * NaN as element `at`. */
static inline const char *tiny_model(const char *name, const char *class, const char *type,
                                     const struct tiny_tensor *tensors, size_t count,
                                     const char *poison, size_t at) {
    struct uqff_error err;
    struct test_random random = {.state = 7};
    struct uqff_st_layout *layout = NULL;
    static char directories[8][512];
    static unsigned next;
    char *directory = directories[next++ % 8], path[1024], config[2048];
    snprintf(directory, 512, "%s/%s", scratch(), name);
    assert_int_equal(mkdir(directory, 0777), 0);
    assert_ok(uqff_st_layout_new(&layout, &err), &err);
    /* Wide types first, for the alignment of all. */
    uint64_t offsets[32], bytes = 0;
    for (int bits = 32; bits >= 16; bits /= 2) {
        for (size_t i = 0; i < count; i++) {
            if ((int)uqff_dtype_bits(tensors[i].dtype) == bits) {
                assert_ok(uqff_st_layout_add(layout, tensors[i].name, tensors[i].dtype,
                                             tensors[i].shape, tensors[i].rank, &offsets[i], &err),
                          &err);
            }
        }
    }
    struct uqff_buffer file = {0};
    assert_ok(uqff_st_layout_header(layout, 8, &file, &err), &err);
    size_t data = file.size;
    bytes = uqff_st_layout_data_bytes(layout);
    char *all = calloc(1, data + bytes);
    memcpy(all, file.data, data);
    for (size_t i = 0; i < count; i++) {
        size_t n = 1;
        for (unsigned k = 0; k < tensors[i].rank; k++) {
            n *= tensors[i].shape[k];
        }
        float *x = calloc(n, sizeof *x);
        for (size_t k = 0; k < n; k++) {
            x[k] = 0.1f * random_gauss(&random);
        }
        if (poison != NULL && strcmp(tensors[i].name, poison) == 0) {
            x[at] = __builtin_nanf("");
        }
        assert_ok(uqff_quantize_row(uqff_type_from_dtype(tensors[i].dtype), x,
                                    all + data + offsets[i], n, NULL, &err),
                  &err);
        free(x);
    }
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    write_file(path, all, data + bytes);
    bool experts = strcmp(type, "mixtral") == 0;
    snprintf(config, sizeof config, tiny_config, class, type, experts ? 3 : 0, experts ? 2 : 0);
    snprintf(path, sizeof path, "%s/config.json", directory);
    write_file(path, config, strlen(config));
    free(all);
    uqff_buffer_free(&file);
    uqff_st_layout_free(layout);
    return directory;
}

static inline const char *tiny_qwen2_model(const char *name) {
    return tiny_model(name, "Qwen2ForCausalLM", "qwen2", tiny_qwen2, COUNT(tiny_qwen2), NULL, 0);
}

static inline const char *tiny_mixtral_model(const char *name) {
    return tiny_model(name, "MixtralForCausalLM", "mixtral", tiny_mixtral, COUNT(tiny_mixtral),
                      NULL, 0);
}

/* A byte-level tokenizer of 22 tokens, two fewer than the embedding has rows, with Llama 3's split
 * rule; id 20 is a hole. */
static const char tiny_tokenizer[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":19,\"content\":\"<|begin|>\",\"special\":true,"
    "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false},{\"id\":21,"
    "\"content\":\"<|end|>\",\"special\":true,\"single_word\":false,\"lstrip\":false,"
    "\"rstrip\":false,\"normalized\":false}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
    "\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},"
    "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}]},\"post_processor\":"
    "null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,"
    "\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"f\":5,\"g\":6,\"h\":7,\"i\":8,\"j\":9,\"\u0120\":10,"
    "\"\u010a\":11,\"ab\":12,\"\u0120a\":13,\"abc\":14,\"de\":15,\"1\":16,\"2\":17,\"!\":18},"
    "\"merges\":[\"a b\",\"\u0120 a\",\"ab c\",\"d e\"]}}";
#define LLAMA3_RULE                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"          \
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static inline void add_tiny_tokenizer(const char *directory, const char *rule) {
    char path[1024], text[4096];
    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
    snprintf(text, sizeof text, tiny_tokenizer, rule);
    write_file(path, text, strlen(text));
    snprintf(path, sizeof path, "%s/tokenizer_config.json", directory);
    static const char settings[] =
        "{\"bos_token\":\"<|begin|>\",\"eos_token\":\"<|end|>\",\"add_bos_token\":true,"
        "\"chat_template\":\"{{ bos_token }}\"}";
    write_file(path, settings, sizeof settings - 1);
}

static inline struct uqff_pack_options pack_options(const char *output, const char *const *quants,
                                                    size_t count) {
    return (struct uqff_pack_options){
        .format = UQFF_PACK_UQFF,
        .output = output,
        .quants = quants,
        .quant_count = count,
    };
}

static inline enum uqff_code try_pack(const struct uqff_model *model,
                                      const struct uqff_pack_options *options,
                                      struct uqff_error *err) {
    struct uqff_pack_plan *plan = NULL;
    enum uqff_code code = uqff_pack_plan_new(model, options, &plan, err);
    if (code == UQFF_OK) {
        code = uqff_pack_run(plan, NULL, err);
    }
    uqff_pack_plan_free(plan);
    return code;
}

static inline void pack(const char *model_path, const struct uqff_pack_options *options) {
    struct uqff_error err;
    struct uqff_model *model = open_model(model_path);
    assert_ok(try_pack(model, options, &err), &err);
    uqff_model_close(model);
}

static inline void assert_same_file(const char *a, const char *b) {
    size_t n = 0, m = 0;
    char *x = read_file(a, &n), *y = read_file(b, &m);
    if (n != m || memcmp(x, y, n) != 0) {
        size_t at = 0;
        while (at < n && at < m && x[at] == y[at]) {
            at++;
        }
        fail_msg("%s (%zu bytes) and %s (%zu bytes) differ at byte %zu", a, n, b, m, at);
    }
    free(x);
    free(y);
}

/* The names in a directory, for failing tests' sake with a NUL at the end; SIZE_MAX: no directory.
 */
static inline size_t count_files(const char *directory) {
    struct uqff_arena arena = {0};
    struct uqff_error err;
    const char **names = NULL;
    size_t count = 0;
    if (!uqff_path_is_directory(directory)) {
        return SIZE_MAX;
    }
    assert_ok(uqff_list_directory(directory, &arena, &names, &count, &err), &err);
    uqff_arena_free(&arena);
    return count;
}

static inline void assert_same_directory(const char *a, const char *b) {
    struct uqff_arena arena = {0};
    struct uqff_error err;
    const char **names = NULL;
    size_t count = 0;
    char left[1024], right[1024];
    assert_ok(uqff_list_directory(a, &arena, &names, &count, &err), &err);
    assert_int_equal(count, count_files(b));
    for (size_t i = 0; i < count; i++) {
        snprintf(left, sizeof left, "%s/%s", a, names[i]);
        snprintf(right, sizeof right, "%s/%s", b, names[i]);
        assert_same_file(left, right);
    }
    uqff_arena_free(&arena);
}

/* Every digest in a multi-quant file is that of its entry. */
static inline void assert_digests(const char *path) {
    struct uqff_error err;
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(path, NULL, &container, &err), &err);
    for (size_t s = 0; s < uqff_container_shard_count(container); s++) {
        struct uqff_safetensors *shard = uqff_container_shard(container, s);
        size_t count = uqff_safetensors_count(shard), checked = 0;
        for (size_t i = 0; i < count; i++) {
            const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(shard, i);
            struct uqff_digest stored, found;
            if (!uqff_container_entry_digest(container, (struct uqff_entry){s, tensor}, &stored)) {
                continue;
            }
            void *bytes = malloc(tensor->bytes + 1);
            assert_ok(uqff_source_read(uqff_safetensors_source(shard), tensor->offset, bytes,
                                       tensor->bytes, &err),
                      &err);
            found = uqff_hash(bytes, tensor->bytes);
            free(bytes);
            assert_true(uqff_digest_equal(&stored, &found));
            checked++;
        }
        assert_int_equal(checked, count - 1); /* all but the table itself */
    }
    uqff_container_close(container);
}

/* Collects warnings. */
struct warnings {
    size_t count;
    char text[8192];
};
static inline void take_warning(void *context, const char *text) {
    struct warnings *warnings = context;
    warnings->count++;
    strncat(warnings->text, text, sizeof warnings->text - strlen(warnings->text) - 2);
    strncat(warnings->text, "\n", sizeof warnings->text - strlen(warnings->text) - 1);
}

#endif
