/* verify_llamacpp_model: what llama.cpp's loader needs to find in a GGUF: keys and tensors of the
 * architecture, and a vocabulary that fits the embedding. */
#include <string.h>

#include "pack/gguf.h"
#include "pack/verify.h"

#define FAIL(loading, code, ...)                                                                   \
    uqff_findings_add((loading)->verify, UQFF_FAILURE, (code), __VA_ARGS__)

struct loading {
    struct verify *verify;
    const struct uqff_gguf *gguf;
    const char *where;
    struct uqff_arena arena;
    const char *name;             /* general.architecture */
    const struct gguf_arch *arch; /* NULL: not known here */
    uint64_t blocks, experts;
    bool has_blocks; /* the number of them is told */
};

/* ---- values ---------------------------------------------------------------------------------- */

static bool string_is(const struct uqff_gguf_value *value, const char *text) {
    return value != NULL && value->kind == UQFF_GGUF_STRING &&
           value->as.string.length == strlen(text) &&
           memcmp(value->as.string.bytes, text, strlen(text)) == 0;
}

/* "<architecture>.<name>" */
static enum uqff_code find_number(struct loading *loading, const char *name, bool *found,
                                  uint64_t *out, struct uqff_error *err) {
    struct uqff_error problem;
    *found = false;
    *out = 0;
    const char *key = uqff_arena_printf(&loading->arena, "%s.%s", loading->name, name);
    if (key == NULL) {
        return uqff_fail_memory(err);
    }
    /* Some counts may be lists with a number for each layer. */
    const struct uqff_gguf_value *value = uqff_gguf_find_value(loading->gguf, key);
    if (value != NULL && value->kind == UQFF_GGUF_ARRAY) {
        *found = true;
    } else if (uqff_gguf_get_u64(loading->gguf, key, UINT32_MAX, found, out, &problem) != UQFF_OK) {
        *found = true;
        uqff_findings_add_error(loading->verify, "key", &problem);
    }
    return UQFF_OK;
}

static enum uqff_code need_number(struct loading *loading, const char *name, uint64_t *out,
                                  struct uqff_error *err) {
    bool found = false;
    enum uqff_code code = find_number(loading, name, &found, out, err);
    if (code == UQFF_OK && !found) {
        FAIL(loading, "key", "%s: '%s.%s' is missing", loading->where, loading->name, name);
    }
    return code;
}

/* ---- the architecture ------------------------------------------------------------------------ */

static enum uqff_code find_architecture(struct loading *loading, struct uqff_error *err) {
    bool found = false;
    enum uqff_code code = find_number(loading, "expert_count", &found, &loading->experts, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_arch *arch = uqff_arch_find(loading->name);
    if (arch == NULL) {
        uqff_findings_add(loading->verify, UQFF_WARNING, "architecture",
                          "%s: the architecture '%s' is not known here; whether llama.cpp knows it "
                          "cannot be told",
                          loading->where, loading->name);
    } else if (loading->experts > 0 && strcmp(arch->gguf_name, "llama") == 0) {
        arch = uqff_arch_find("mixtral"); /* whose GGUFs are llamas with experts */
    }
    loading->arch = uqff_gguf_arch(arch);
    return UQFF_OK;
}

static enum uqff_code check_needed(struct loading *loading, const struct gguf_key *keys,
                                   struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    uint64_t ignored = 0;
    for (; keys->kind != GGUF_KEY_END && code == UQFF_OK; keys++) {
        if (keys->kind == GGUF_KEY_INCLUDE) {
            code = check_needed(loading, keys->list, err);
        } else if (keys->kind == GGUF_KEY_COUNT && keys->needed != NULL) {
            code = need_number(loading, keys->name, &ignored, err);
        }
    }
    return code;
}

static enum uqff_code check_keys(struct loading *loading, struct uqff_error *err) {
    /* What llama.cpp asks of any architecture. */
    static const struct gguf_key any[] = {
        {.kind = GGUF_KEY_COUNT, .name = "context_length", .needed = ""},
        {.kind = GGUF_KEY_COUNT, .name = "embedding_length", .needed = ""},
        {.kind = GGUF_KEY_COUNT, .name = "block_count", .needed = ""},
        {.kind = GGUF_KEY_END},
    };
    uint64_t ignored = 0;
    enum uqff_code code =
        check_needed(loading, loading->arch != NULL ? loading->arch->keys : any, err);
    const char *blocks = uqff_arena_printf(&loading->arena, "%s.block_count", loading->name);
    if (blocks == NULL) {
        return uqff_fail_memory(err);
    }
    /* That it is missing, or no number, has been told; that it is a list, which other counts may
     * be, has not. */
    struct uqff_error problem;
    if (uqff_gguf_get_u64(loading->gguf, blocks, UINT32_MAX, &loading->has_blocks, &loading->blocks,
                          &problem) != UQFF_OK) {
        loading->has_blocks = false;
        if (uqff_gguf_find_value(loading->gguf, blocks)->kind == UQFF_GGUF_ARRAY) {
            uqff_findings_add_error(loading->verify, "key", &problem);
        }
    }
    if (code == UQFF_OK && loading->experts > 0) {
        code = need_number(loading, "expert_used_count", &ignored, err);
    }
    if (code != UQFF_OK || loading->arch == NULL) {
        return code;
    }
    const char *epsilon =
        uqff_arena_printf(&loading->arena, "%s.attention.layer_norm_rms_epsilon", loading->name);
    if (epsilon == NULL) {
        return uqff_fail_memory(err);
    }
    if (uqff_gguf_find_value(loading->gguf, epsilon) == NULL) {
        FAIL(loading, "key", "%s: '%s' is missing", loading->where, epsilon);
    }
    return UQFF_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* The number in "blk.N.", or UINT64_MAX. */
static uint64_t block_of(const char *name) {
    static const char prefix[] = "blk.";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) {
        return UINT64_MAX;
    }
    const char *digits = name + sizeof prefix - 1;
    uint64_t number = 0;
    size_t n = 0;
    for (; digits[n] >= '0' && digits[n] <= '9' && n < 10; n++) {
        number = number * 10 + (uint64_t)(digits[n] - '0');
    }
    return n > 0 && digits[n] == '.' ? number : UINT64_MAX;
}

static bool has(const struct loading *loading, const char *pattern, uint64_t block) {
    char name[UQFF_GGUF_PATTERN_MAX];
    uqff_gguf_expand(name, sizeof name, pattern, block);
    return uqff_gguf_find_tensor(loading->gguf, name) != NULL;
}

/* Weights that llama.cpp takes in one tensor too. */
static bool has_fused(const struct loading *loading, const char *pattern, uint64_t block) {
    static const struct {
        const char *part, *whole;
    } fused[] = {
        {"blk.{}.attn_q.weight", "blk.{}.attn_qkv.weight"},
        {"blk.{}.attn_k.weight", "blk.{}.attn_qkv.weight"},
        {"blk.{}.attn_v.weight", "blk.{}.attn_qkv.weight"},
        {"blk.{}.attn_q.bias", "blk.{}.attn_qkv.bias"},
        {"blk.{}.attn_k.bias", "blk.{}.attn_qkv.bias"},
        {"blk.{}.attn_v.bias", "blk.{}.attn_qkv.bias"},
        {"blk.{}.ffn_gate_exps.weight", "blk.{}.ffn_gate_up_exps.weight"},
        {"blk.{}.ffn_up_exps.weight", "blk.{}.ffn_gate_up_exps.weight"},
    };
    for (size_t i = 0; i < sizeof fused / sizeof fused[0]; i++) {
        if (strcmp(fused[i].part, pattern) == 0) {
            return has(loading, fused[i].whole, block);
        }
    }
    return false;
}

static void check_required(struct loading *loading, uint64_t block, bool of_blocks) {
    if (loading->arch == NULL) {
        return;
    }
    for (const char *const *pattern = loading->arch->required; *pattern != NULL; pattern++) {
        if ((strstr(*pattern, "{}") != NULL) == of_blocks && !has(loading, *pattern, block) &&
            !has_fused(loading, *pattern, block)) {
            char name[UQFF_GGUF_PATTERN_MAX];
            uqff_gguf_expand(name, sizeof name, *pattern, block);
            FAIL(loading, "tensors", "%s: there is no tensor '%s'", loading->where, name);
        }
    }
}

/* Every block has its tensors. */
static enum uqff_code check_blocks(struct loading *loading, struct uqff_error *err) {
    const size_t tensors = uqff_gguf_tensor_count(loading->gguf);
    /* A block takes a tensor at least, so what is there bounds the count. */
    if (loading->blocks > tensors) {
        FAIL(loading, "tensors", "%s: %llu blocks, but only %zu tensors", loading->where,
             (unsigned long long)loading->blocks, tensors);
        return UQFF_OK;
    }
    bool *seen = uqff_alloc_array((size_t)loading->blocks, sizeof *seen);
    if (seen == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < tensors; i++) {
        const char *name = uqff_gguf_tensor(loading->gguf, i)->name;
        const uint64_t block = block_of(name);
        if (block < loading->blocks) {
            seen[block] = true;
        } else if (block != UINT64_MAX) {
            FAIL(loading, "tensors", "%s: tensor '%s': found block %llu, expected fewer than %llu",
                 loading->where, name, (unsigned long long)block,
                 (unsigned long long)loading->blocks);
        }
    }
    for (uint64_t block = 0; block < loading->blocks; block++) {
        if (seen[block]) {
            check_required(loading, block, true);
        } else {
            FAIL(loading, "tensors", "%s: block %llu of %llu has no tensor", loading->where,
                 (unsigned long long)block, (unsigned long long)loading->blocks);
        }
    }
    uqff_free(seen);
    return UQFF_OK;
}

/* The loader asks for tensors by name and refuses a file that has more of them. Which it asks for
 * is not known to the last here, so that this is a warning. */
static void check_surplus(const struct loading *loading) {
    for (size_t i = 0; loading->arch != NULL && i < uqff_gguf_tensor_count(loading->gguf); i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(loading->gguf, i);
        const uint64_t block = block_of(tensor->name);
        const int64_t layer = block <= INT64_MAX ? (int64_t)block : -1;
        if (strcmp(tensor->name, "output.weight") != 0 &&
            !uqff_gguf_is_listed(loading->arch->required, tensor->name, layer) &&
            !uqff_gguf_is_listed(loading->arch->optional, tensor->name, layer)) {
            uqff_findings_add(loading->verify, UQFF_WARNING, "tensors",
                              "%s: tensor '%s' is none that the architecture '%s' has; llama.cpp "
                              "refuses a file with tensors that it does not ask for",
                              loading->where, tensor->name, loading->name);
        }
    }
}

/* ---- the vocabulary -------------------------------------------------------------------------- */

static uint64_t array_length(const struct loading *loading, const char *key) {
    const struct uqff_gguf_value *value = uqff_gguf_find_value(loading->gguf, key);
    return value != NULL && value->kind == UQFF_GGUF_ARRAY ? value->as.array.count : 0;
}

/* A vector or matrix of the embedding's width, with a row for each token. */
static void check_embedding(const struct loading *loading, const char *name, uint64_t width,
                            uint64_t tokens, const char *from) {
    const struct uqff_gguf_tensor *tensor = uqff_gguf_find_tensor(loading->gguf, name);
    if (tensor == NULL || tensor->n_dims == 0) {
        return;
    }
    const uint64_t rows = tensor->n_dims > 1 ? tensor->ne[1] : 1;
    if (width != 0 && tensor->ne[0] != width) {
        FAIL(loading, "shape", "%s: tensor '%s': found rows of %llu, expected %llu", loading->where,
             name, (unsigned long long)tensor->ne[0], (unsigned long long)width);
    }
    if (tokens != 0 && rows != tokens) {
        FAIL(loading, "vocabulary",
             "%s: tensor '%s': found %llu rows, expected %llu: one for each of %s", loading->where,
             name, (unsigned long long)rows, (unsigned long long)tokens, from);
    }
}

static enum uqff_code check_vocabulary(struct loading *loading, struct uqff_error *err) {
    static const char *const parallel[] = {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"};
    const struct uqff_gguf_value *model =
        uqff_gguf_find_value(loading->gguf, "tokenizer.ggml.model");
    const char *from = "tokenizer.ggml.tokens";
    uint64_t tokens = array_length(loading, from), width = 0;
    bool found = false;
    enum uqff_code code = find_number(loading, "embedding_length", &found, &width, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (model == NULL) {
        FAIL(loading, "tokenizer", "%s: 'tokenizer.ggml.model' is missing", loading->where);
    } else if (string_is(model, "none") || string_is(model, "no_vocab")) {
        from = "the vocab_size of its keys";
        code = find_number(loading, "vocab_size", &found, &tokens, err);
    } else if (tokens == 0) {
        FAIL(loading, "tokenizer", "%s: '%s' is missing", loading->where, from);
    } else if (string_is(model, "gpt2")) {
        if (array_length(loading, "tokenizer.ggml.merges") == 0) {
            FAIL(loading, "tokenizer", "%s: 'tokenizer.ggml.merges' is missing", loading->where);
        }
        if (uqff_gguf_find_value(loading->gguf, "tokenizer.ggml.pre") == NULL) {
            uqff_findings_add(loading->verify, UQFF_WARNING, "tokenizer",
                              "%s: 'tokenizer.ggml.pre' is missing: llama.cpp splits text by a "
                              "rule that may not be the model's",
                              loading->where);
        }
    }
    for (size_t i = 0; i < sizeof parallel / sizeof parallel[0]; i++) {
        const uint64_t count = array_length(loading, parallel[i]);
        if (tokens != 0 && count != 0 && count != tokens) {
            FAIL(loading, "vocabulary", "%s: '%s': found %llu elements, expected %llu",
                 loading->where, parallel[i], (unsigned long long)count,
                 (unsigned long long)tokens);
        }
    }
    check_embedding(loading, "token_embd.weight", width, tokens, from);
    check_embedding(loading, "output.weight", width, tokens, from);
    return code;
}

/* ---- all together ---------------------------------------------------------------------------- */

static enum uqff_code check_model(struct loading *loading, struct uqff_error *err) {
    enum uqff_code code = find_architecture(loading, err);
    if (code == UQFF_OK) {
        code = check_keys(loading, err);
    }
    /* Without their number each tensor would be one too many. */
    if (code == UQFF_OK && loading->has_blocks) {
        code = check_blocks(loading, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    check_required(loading, 0, false);
    if (loading->arch == NULL &&
        uqff_gguf_find_tensor(loading->gguf, "token_embd.weight") == NULL) {
        FAIL(loading, "tensors", "%s: there is no tensor 'token_embd.weight'", loading->where);
    }
    check_surplus(loading);
    return check_vocabulary(loading, err);
}

enum uqff_code uqff_verify_llamacpp_model(struct verify *verify, const struct uqff_gguf *gguf,
                                          struct uqff_error *err) {
    struct loading loading = {
        .verify = verify,
        .gguf = gguf,
        .where = uqff_source_name(uqff_gguf_source(gguf, 0)),
    };
    const struct uqff_gguf_value *value = uqff_gguf_find_value(gguf, "general.architecture");
    if (value == NULL || value->kind != UQFF_GGUF_STRING || value->as.string.length == 0) {
        FAIL(&loading, "architecture", "%s: 'general.architecture' is missing", loading.where);
        return UQFF_OK;
    }
    loading.name = uqff_arena_copy(&loading.arena, value->as.string.bytes, value->as.string.length);
    enum uqff_code code = loading.name == NULL ? uqff_fail_memory(err) : check_model(&loading, err);
    uqff_arena_free(&loading.arena);
    return code;
}
