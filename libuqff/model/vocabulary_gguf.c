/* GGUF metadata as a vocabulary: the keys tokenizer.ggml.*, and what llama.cpp takes for granted
 * where one is missing. */
#include <string.h>

#include "model/vocabulary.h"

static enum uqff_code fail_key(const struct uqff_vocabulary *v, const char *key, const char *found,
                               const char *expected, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET, "%s: key '%s': found %s, expected %s",
                     v->where, key, found, expected);
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* *array is NULL when the key is absent; else an array of one of two kinds, with one element a
 * token unless `count` is 0. */
static enum uqff_code find_array(const struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                 const char *key, enum uqff_gguf_kind kind,
                                 enum uqff_gguf_kind other, size_t count,
                                 const struct uqff_gguf_value **array, struct uqff_error *err) {
    const struct uqff_gguf_value *value = uqff_gguf_find_value(gguf, key);
    *array = value;
    if (value == NULL) {
        return UQFF_OK;
    }
    if (value->kind != UQFF_GGUF_ARRAY ||
        (value->as.array.kind != kind && value->as.array.kind != other)) {
        const char *found = uqff_gguf_kind_name(
            value->kind == UQFF_GGUF_ARRAY ? value->as.array.kind : value->kind);
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: key '%s': found %s%s, expected an array of %s", v->where, key,
                         value->kind == UQFF_GGUF_ARRAY ? "an array of " : "", found,
                         uqff_gguf_kind_name(kind));
    }
    if (count != 0 && value->as.array.count != count) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: key '%s': found %llu elements, expected %zu, one a token", v->where,
                         key, (unsigned long long)value->as.array.count, count);
    }
    return UQFF_OK;
}

static enum uqff_code read_tokens(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                  struct uqff_error *err) {
    const char *key = "tokenizer.ggml.tokens";
    const struct uqff_gguf_value *array;
    struct uqff_gguf_value element;
    enum uqff_code code =
        find_array(v, gguf, key, UQFF_GGUF_STRING, UQFF_GGUF_STRING, 0, &array, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (array == NULL || array->as.array.count == 0) {
        return uqff_fail(err, array == NULL ? UQFF_E_MISSING : UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: key '%s': found %s, expected the tokens", v->where, key,
                         array == NULL ? "no such key" : "an empty list");
    }
    struct uqff_gguf_iterator iterator = uqff_gguf_iterate(gguf, array);
    for (uint64_t id = 0; code == UQFF_OK && uqff_gguf_next(&iterator, &element); id++) {
        code = uqff_vocab_add(v, id, element.as.string.bytes, element.as.string.length,
                              UQFF_TOKEN_NORMAL, NULL, err);
    }
    return code != UQFF_OK ? code : uqff_vocab_index(v, err);
}

static enum uqff_code read_scores(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                  struct uqff_error *err) {
    const struct uqff_gguf_value *array;
    struct uqff_gguf_value element;
    enum uqff_code code = find_array(v, gguf, "tokenizer.ggml.scores", UQFF_GGUF_F32, UQFF_GGUF_I32,
                                     v->count, &array, err);
    if (code != UQFF_OK || v->info.kind != UQFF_VOCABULARY_SPM) {
        return code;
    }
    if (array == NULL) {
        uqff_warn(&v->warner, "%s: there are no tokenizer.ggml.scores: all tokens score alike",
                  v->where);
        return UQFF_OK;
    }
    struct uqff_gguf_iterator iterator = uqff_gguf_iterate(gguf, array);
    for (size_t i = 0; uqff_gguf_next(&iterator, &element); i++) {
        v->tokens[i].score =
            element.kind == UQFF_GGUF_F32 ? (float)element.as.f : (float)element.as.i;
    }
    return UQFF_OK;
}

/* Without types a token is what it looks like. */
static void guess_types(struct uqff_vocabulary *v) {
    for (size_t i = 0; i < v->count && v->info.kind == UQFF_VOCABULARY_SPM; i++) {
        if (uqff_vocab_byte(v->tokens[i].text, v->tokens[i].length) >= 0) {
            v->tokens[i].type = UQFF_TOKEN_BYTE;
        }
    }
}

static enum uqff_code read_types(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                 struct uqff_error *err) {
    const struct uqff_gguf_value *array;
    struct uqff_gguf_value element;
    const char *key = "tokenizer.ggml.token_type";
    enum uqff_code code =
        find_array(v, gguf, key, UQFF_GGUF_I32, UQFF_GGUF_U32, v->count, &array, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (array == NULL) {
        guess_types(v);
        return UQFF_OK;
    }
    struct uqff_gguf_iterator iterator = uqff_gguf_iterate(gguf, array);
    for (size_t i = 0; uqff_gguf_next(&iterator, &element); i++) {
        int64_t type = element.kind == UQFF_GGUF_I32 ? element.as.i : (int64_t)element.as.u;
        if (type < UQFF_TOKEN_NORMAL || type > UQFF_TOKEN_BYTE) {
            return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: key '%s': token %zu: found type %lld, expected 1 to 6", v->where,
                             key, i, (long long)type);
        }
        v->tokens[i].type = (unsigned char)type;
    }
    return UQFF_OK;
}

static enum uqff_code read_merges(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                  struct uqff_error *err) {
    const char *key = "tokenizer.ggml.merges";
    const struct uqff_gguf_value *array;
    struct uqff_gguf_value element;
    enum uqff_code code =
        find_array(v, gguf, key, UQFF_GGUF_STRING, UQFF_GGUF_STRING, 0, &array, err);
    if (code != UQFF_OK || v->info.kind != UQFF_VOCABULARY_BPE) {
        return code; /* SentencePiece merges by score */
    }
    if (array == NULL) {
        return fail_key(v, key, "no such key", "the merges of byte-level BPE", err);
    }
    struct uqff_gguf_iterator iterator = uqff_gguf_iterate(gguf, array);
    for (size_t i = 0; code == UQFF_OK && uqff_gguf_next(&iterator, &element); i++) {
        code = uqff_vocab_merge_line(v, i, UQFF_NO_OFFSET, element.as.string.bytes,
                                     element.as.string.length, err);
    }
    return code;
}

/* ---- single values --------------------------------------------------------------------------- */

static const struct {
    const char *key;
    enum vocabulary_special which;
    uint32_t spm; /* what SentencePiece vocabularies have when the key is absent */
} ids[] = {
    {"tokenizer.ggml.bos_token_id", SPECIAL_BOS, 1},
    {"tokenizer.ggml.eos_token_id", SPECIAL_EOS, 2},
    {"tokenizer.ggml.unknown_token_id", SPECIAL_UNKNOWN, 0},
    {"tokenizer.ggml.seperator_token_id", SPECIAL_SEPARATOR, UQFF_NO_TOKEN},
    {"tokenizer.ggml.padding_token_id", SPECIAL_PADDING, UQFF_NO_TOKEN},
    {"tokenizer.ggml.cls_token_id", SPECIAL_CLASSIFIER, UQFF_NO_TOKEN},
    {"tokenizer.ggml.mask_token_id", SPECIAL_MASK, UQFF_NO_TOKEN},
    {"tokenizer.ggml.eot_token_id", SPECIAL_EOT, UQFF_NO_TOKEN},
    {"tokenizer.ggml.eom_token_id", SPECIAL_EOM, UQFF_NO_TOKEN},
};

static enum uqff_code read_ids(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                               struct uqff_error *err) {
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        bool found;
        uint64_t id;
        uint32_t *out = uqff_vocab_special(v, ids[i].which);
        enum uqff_code code =
            uqff_gguf_get_u64(gguf, ids[i].key, v->info.size - 1, &found, &id, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (found) {
            *out = (uint32_t)id;
        } else if (v->info.kind == UQFF_VOCABULARY_SPM && ids[i].spm < v->info.size) {
            *out = ids[i].spm;
        }
    }
    return UQFF_OK;
}

static enum uqff_code read_flags(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                 struct uqff_error *err) {
    bool spm = v->info.kind == UQFF_VOCABULARY_SPM;
    bool unused;
    const struct {
        const char *key;
        bool *out;
    } flags[] = {
        {"tokenizer.ggml.add_bos_token", &v->info.add_bos},
        {"tokenizer.ggml.add_eos_token", &v->info.add_eos},
        /* llama.cpp looks at these for SentencePiece only. */
        {"tokenizer.ggml.add_space_prefix", spm ? &v->info.add_prefix_space : &unused},
        {"tokenizer.ggml.remove_extra_whitespaces",
         spm ? &v->info.remove_extra_whitespace : &unused},
    };
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        bool found, value;
        enum uqff_code code = uqff_gguf_get_bool(gguf, flags[i].key, &found, &value, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (found) {
            *flags[i].out = value;
        }
    }
    return UQFF_OK;
}

static enum uqff_code read_template(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                    struct uqff_error *err) {
    bool found;
    struct uqff_gguf_string text;
    enum uqff_code code = uqff_gguf_get_string(gguf, "tokenizer.chat_template", &found, &text, err);
    return code != UQFF_OK || !found
               ? code
               : uqff_vocab_set_template(v, text.bytes, text.length, v->where, err);
}

/* A name that is to be compared: NULL when the key is absent. */
static enum uqff_code read_name(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                const char *key, const char **out, struct uqff_error *err) {
    bool found;
    struct uqff_gguf_string text;
    *out = NULL;
    enum uqff_code code = uqff_gguf_get_string(gguf, key, &found, &text, err);
    if (code != UQFF_OK || !found) {
        return code;
    }
    *out = uqff_arena_copy(&v->arena, text.bytes, text.length);
    return *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* ---- what follows from them ------------------------------------------------------------------ */

static enum uqff_code set_kind(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                               struct uqff_error *err) {
    const char *key = "tokenizer.ggml.model";
    const char *model, *pre;
    enum uqff_code code = read_name(v, gguf, key, &model, err);
    code = code != UQFF_OK ? code : read_name(v, gguf, "tokenizer.ggml.pre", &pre, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (model == NULL || strcmp(model, "none") == 0 || strcmp(model, "no_vocab") == 0) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: key '%s': found %s, expected the kind of vocabulary", v->where, key,
                         model == NULL ? "no such key" : model);
    }
    if (strcmp(model, "llama") == 0) {
        v->info.kind = UQFF_VOCABULARY_SPM;
        v->info.add_bos = v->info.add_prefix_space = v->info.escape_whitespace = true;
        return UQFF_OK;
    }
    if (strcmp(model, "gpt2") == 0) {
        v->info.kind = UQFF_VOCABULARY_BPE;
        if (pre == NULL) {
            uqff_warn(&v->warner, "%s: there is no tokenizer.ggml.pre: text is split by a default",
                      v->where);
        }
        return uqff_vocab_pre_by_name(v, pre, err);
    }
    return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                     "%s: key '%s': found '%.100s', expected llama or gpt2", v->where, key, model);
}

/* Tokens that stand for themselves in a text. Special ones that the types do not tell are control
 * tokens, as for llama.cpp. */
static void mark_added(struct uqff_vocabulary *v) {
    for (int i = SPECIAL_BOS; i < SPECIAL_COUNT; i++) {
        uint32_t id = *uqff_vocab_special(v, (enum vocabulary_special)i);
        if (id != UQFF_NO_TOKEN && v->tokens[id].type == UQFF_TOKEN_NORMAL) {
            v->tokens[id].type = i == SPECIAL_UNKNOWN ? UQFF_TOKEN_UNKNOWN : UQFF_TOKEN_CONTROL;
        }
    }
    for (size_t i = 0; i < v->count; i++) {
        struct vocabulary_token *token = &v->tokens[i];
        if (token->type == UQFF_TOKEN_BYTE) {
            v->info.byte_fallback = true;
        } else if (token->length != 0 && token->length <= UQFF_ADDED_LIMIT &&
                   (token->type == UQFF_TOKEN_CONTROL || token->type == UQFF_TOKEN_UNKNOWN ||
                    token->type == UQFF_TOKEN_USER_DEFINED)) {
            token->flags = TOKEN_ADDED;
        }
    }
}

/* A GGUF does not say which added tokens take the white space behind them. llama.cpp knows it of
 * Phi-3, by its name. */
static enum uqff_code mark_phi3(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                struct uqff_error *err) {
    static const char *const plain[] = {"<unk>", "<s>", "<|endoftext|>"};
    const char *name;
    enum uqff_code code = read_name(v, gguf, "general.name", &name, err);
    if (code != UQFF_OK || name == NULL ||
        (strcasestr(name, "phi-3") == NULL && strcasestr(name, "phi3") == NULL)) {
        return code;
    }
    for (size_t i = 0; i < v->count; i++) {
        v->tokens[i].flags |= (v->tokens[i].flags & TOKEN_ADDED) != 0 ? TOKEN_RSTRIP : 0;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct vocabulary_token *token = uqff_vocab_find(v, plain[i], strlen(plain[i]));
        if (token != NULL) {
            token->flags &= (unsigned char)~TOKEN_RSTRIP;
        }
    }
    return UQFF_OK;
}

static enum uqff_code check_rows(const struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                 struct uqff_error *err) {
    const struct uqff_gguf_tensor *tensor = uqff_gguf_find_tensor(gguf, "token_embd.weight");
    if (tensor != NULL && tensor->ne[1] < v->info.size) {
        return uqff_fail(
            err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
            "%s: tensor 'token_embd.weight': found %llu rows, expected one for each of "
            "%u tokens",
            v->where, (unsigned long long)tensor->ne[1], v->info.size);
    }
    return UQFF_OK;
}

enum uqff_code uqff_vocab_read_gguf(struct uqff_vocabulary *v, const struct uqff_gguf *gguf,
                                    struct uqff_error *err) {
    enum uqff_code code = set_kind(v, gguf, err);
    code = code != UQFF_OK ? code : read_tokens(v, gguf, err);
    code = code != UQFF_OK ? code : read_scores(v, gguf, err);
    code = code != UQFF_OK ? code : read_types(v, gguf, err);
    code = code != UQFF_OK ? code : read_merges(v, gguf, err);
    code = code != UQFF_OK ? code : read_ids(v, gguf, err);
    code = code != UQFF_OK ? code : read_flags(v, gguf, err);
    code = code != UQFF_OK ? code : read_template(v, gguf, err);
    if (code != UQFF_OK) {
        return code;
    }
    mark_added(v);
    code = mark_phi3(v, gguf, err);
    return code != UQFF_OK ? code : check_rows(v, gguf, err);
}

/* ---- a key-value section alone --------------------------------------------------------------- */

enum uqff_code uqff_vocab_read_kv(struct uqff_vocabulary *v, const char *bytes, size_t size,
                                  struct uqff_error *err) {
    struct uqff_gguf *gguf = NULL;
    enum uqff_code code = uqff_gguf_open_keys(bytes, size, v->where, &gguf, err);
    code = code != UQFF_OK ? code : uqff_vocab_read_gguf(v, gguf, err);
    uqff_gguf_close(gguf);
    return code;
}
