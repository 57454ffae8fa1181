/* tokenizer.json: the vocabulary, its merges and its added tokens are pulled from the text one by
 * one; the rules, being small, are read as trees. */
#include <string.h>

#include "model/vocabulary.h"

/* One of added_tokens, kept until the vocabulary is there to check it against. */
struct added {
    const char *text;
    size_t length;
    uint64_t id, offset;
    bool has_id, special;
    unsigned flags;
};

struct reader {
    struct uqff_vocabulary *v;
    struct uqff_json *json;
    struct uqff_arena arena; /* for what is not kept */
    struct vocabulary_rules rules;
    struct added *added;
    size_t added_count, added_capacity;
    const char *unknown; /* unk_token */
    bool has_model, has_vocab, has_merges;
    bool merges_only; /* second reading, of a file that has its merges before the vocabulary */
};

static bool is(const struct uqff_json_event *event, const char *text) {
    return event->length == strlen(text) && memcmp(event->text, text, event->length) == 0;
}

/* Reads the value of the member `key`, whose text is gone with the next event. */
typedef enum uqff_code member_reader(struct reader *r, const struct uqff_json_event *key,
                                     struct uqff_error *err);

static enum uqff_code read_object(struct reader *r, const char *what, member_reader *read,
                                  struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(r->json, UQFF_JSON_OBJECT, what, &event, err);
    while (code == UQFF_OK) {
        bool done;
        code = uqff_json_member(r->json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        code = read(r, &event, err);
    }
    return code;
}

/* ---- the model ------------------------------------------------------------------------------- */

static enum uqff_code read_vocab_member(struct reader *r, const struct uqff_json_event *key,
                                        struct uqff_error *err) {
    /* The id comes next, and the text's bytes are gone then: it is added first. */
    struct vocabulary_token *token;
    struct uqff_json_event event;
    enum uqff_code code =
        uqff_vocab_add(r->v, 0, key->text, key->length, UQFF_TOKEN_NORMAL, &token, err);
    code = code != UQFF_OK ? code : uqff_json_next(r->json, &event, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (event.kind != UQFF_JSON_NUMBER || !event.is_u64 || event.integer >= UQFF_VOCABULARY_LIMIT) {
        return uqff_json_unexpected(r->json, &event, "an id of model.vocab",
                                    "a whole number below 2^22", err);
    }
    token->id = (uint32_t)event.integer;
    return UQFF_OK;
}

static enum uqff_code read_vocab(struct reader *r, struct uqff_error *err) {
    enum uqff_code code = read_object(r, "model.vocab", read_vocab_member, err);
    r->has_vocab = true;
    return code != UQFF_OK ? code : uqff_vocab_index(r->v, err);
}

/* ["a", "b"]; the first text is copied, for the second takes its place. */
static enum uqff_code read_pair(struct reader *r, size_t number, struct uqff_buffer *left,
                                struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(r->json, UQFF_JSON_STRING, "a merge", &event, err);
    if (code != UQFF_OK) {
        return code;
    }
    left->size = 0;
    uqff_buffer_append(left, event.text, event.length);
    if (left->failed) {
        return uqff_fail_memory(err);
    }
    code = uqff_json_expect(r->json, UQFF_JSON_STRING, "a merge", &event, err);
    code = code != UQFF_OK ? code
                           : uqff_vocab_merge(r->v, number, event.offset, left->data, left->size,
                                              event.text, event.length, err);
    return code != UQFF_OK ? code
                           : uqff_json_expect(r->json, UQFF_JSON_ARRAY_END, "a merge", &event, err);
}

static enum uqff_code read_merges(struct reader *r, struct uqff_error *err) {
    struct uqff_buffer left = {0};
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(r->json, UQFF_JSON_ARRAY, "model.merges", &event, err);
    for (size_t number = 0; code == UQFF_OK; number++) {
        code = uqff_json_next(r->json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        if (event.kind == UQFF_JSON_STRING) {
            code = uqff_vocab_merge_line(r->v, number, event.offset, event.text, event.length, err);
        } else if (event.kind == UQFF_JSON_ARRAY) {
            code = read_pair(r, number, &left, err);
        } else {
            code = uqff_json_unexpected(r->json, &event, "a merge", "a string or a pair", err);
        }
    }
    uqff_buffer_free(&left);
    r->has_merges = true;
    return code;
}

/* Small members of the model. Those that would change what merging means are refused at once. */
static enum uqff_code read_setting(struct reader *r, const char *key, struct uqff_error *err) {
    struct vocabulary_node *node;
    enum uqff_code code = uqff_vocab_tree(&r->arena, r->json, r->v->where, &node, err);
    if (code != UQFF_OK || node->kind == UQFF_JSON_NULL) {
        return code;
    }
    if (strcmp(key, "type") == 0 && !uqff_vocab_is(node, "BPE")) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, node->offset,
                         "%s: model: found type '%.100s', expected BPE", r->v->where, node->text);
    }
    if ((strcmp(key, "continuing_subword_prefix") == 0 || strcmp(key, "end_of_word_suffix") == 0) &&
        node->length != 0) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, node->offset,
                         "%s: model: found %s '%.100s', expected none", r->v->where, key,
                         node->text);
    }
    if (strcmp(key, "unk_token") == 0 && node->kind == UQFF_JSON_STRING) {
        r->unknown = node->text;
    } else if (strcmp(key, "byte_fallback") == 0) {
        r->rules.byte_fallback = node->kind == UQFF_JSON_TRUE;
    } else if (strcmp(key, "ignore_merges") == 0) {
        r->v->info.ignore_merges = node->kind == UQFF_JSON_TRUE;
    } else if (strcmp(key, "dropout") == 0 && strpbrk(node->text, "123456789") != NULL) {
        code = uqff_vocab_unsupported(r->v, err, "model.dropout %.20s", node->text);
    }
    return code;
}

static const char *const settings[] = {
    "type",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "unk_token",
    "byte_fallback",
    "ignore_merges",
    "dropout",
};

static enum uqff_code read_model_member(struct reader *r, const struct uqff_json_event *key,
                                        struct uqff_error *err) {
    const char *setting = NULL;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        setting = is(key, settings[i]) ? settings[i] : setting;
    }
    if (is(key, "vocab") && !r->merges_only) {
        return read_vocab(r, err);
    }
    if (is(key, "merges") && r->has_vocab) {
        return read_merges(r, err);
    }
    if (setting != NULL && !r->merges_only) {
        return read_setting(r, setting, err);
    }
    return uqff_json_skip_next(r->json, err);
}

static enum uqff_code read_model(struct reader *r, struct uqff_error *err) {
    r->has_model = true;
    return read_object(r, "model", read_model_member, err);
}

/* ---- added tokens ---------------------------------------------------------------------------- */

static enum uqff_code read_added_member(struct reader *r, struct added *added,
                                        const struct uqff_json_event *key, struct uqff_error *err) {
    bool is_id = is(key, "id"), is_content = is(key, "content"), is_special = is(key, "special");
    unsigned flag = 0;
    for (size_t i = 0; i < UQFF_VOCAB_FLAGS; i++) {
        flag = is(key, uqff_vocab_flags[i].name) ? uqff_vocab_flags[i].flag : flag;
    }
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(r->json, &event, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (is_id) {
        if (event.kind != UQFF_JSON_NUMBER || !event.is_u64) {
            return uqff_json_unexpected(r->json, &event, "id of an added token", "a whole number",
                                        err);
        }
        added->id = event.integer;
        added->has_id = true;
        added->offset = event.offset;
    } else if (is_content) {
        if (event.kind != UQFF_JSON_STRING) {
            return uqff_json_unexpected(r->json, &event, "content of an added token", "a string",
                                        err);
        }
        added->text = uqff_arena_copy(&r->arena, event.text, event.length);
        added->length = event.length;
        return added->text == NULL ? uqff_fail_memory(err) : UQFF_OK;
    } else if (is_special) {
        added->special = event.kind == UQFF_JSON_TRUE;
    } else if (flag != 0 && event.kind == UQFF_JSON_TRUE) {
        added->flags |= flag;
    } else if (flag != 0) {
        added->flags &= ~flag;
    }
    return uqff_json_skip(r->json, &event, err);
}

static enum uqff_code read_added_token(struct reader *r, struct uqff_error *err) {
    void *items = r->added;
    enum uqff_code code =
        uqff_grow(&items, &r->added_capacity, r->added_count + 1, sizeof *r->added, err);
    r->added = items;
    if (code != UQFF_OK) {
        return code;
    }
    struct added *added = &r->added[r->added_count++];
    *added = (struct added){0};
    for (;;) {
        struct uqff_json_event event;
        bool done;
        code = uqff_json_member(r->json, &event, &done, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (done) {
            return added->text != NULL && added->has_id
                       ? UQFF_OK
                       : uqff_fail(err, UQFF_E_FIELD, event.offset,
                                   "%s: added token %zu: found no %s", r->v->where, r->added_count,
                                   added->text == NULL ? "content" : "id");
        }
        code = read_added_member(r, added, &event, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
}

static enum uqff_code read_added_tokens(struct reader *r, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(r->json, &event, err);
    if (code != UQFF_OK || event.kind == UQFF_JSON_NULL) {
        return code;
    }
    if (event.kind != UQFF_JSON_ARRAY) {
        return uqff_json_unexpected(r->json, &event, "added_tokens", "an array", err);
    }
    while (code == UQFF_OK) {
        code = uqff_json_next(r->json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        code = event.kind == UQFF_JSON_OBJECT
                   ? read_added_token(r, err)
                   : uqff_json_unexpected(r->json, &event, "an added token", "an object", err);
    }
    return code;
}

/* ---- the document ---------------------------------------------------------------------------- */

static enum uqff_code read_rule(struct reader *r, const struct vocabulary_node **out,
                                struct uqff_error *err) {
    struct vocabulary_node *node;
    enum uqff_code code = uqff_vocab_tree(&r->arena, r->json, r->v->where, &node, err);
    if (code != UQFF_OK || node->kind == UQFF_JSON_NULL) {
        return code;
    }
    if (node->kind != UQFF_JSON_OBJECT) {
        return uqff_fail(err, UQFF_E_FIELD, node->offset,
                         "%s: a rule at byte %llu: expected an object or null", r->v->where,
                         (unsigned long long)node->offset);
    }
    *out = node;
    return UQFF_OK;
}

static enum uqff_code read_document_member(struct reader *r, const struct uqff_json_event *key,
                                           struct uqff_error *err) {
    if (is(key, "model")) {
        return read_model(r, err);
    }
    if (r->merges_only) {
        return uqff_json_skip_next(r->json, err);
    }
    if (is(key, "added_tokens")) {
        return read_added_tokens(r, err);
    }
    if (is(key, "normalizer")) {
        return read_rule(r, &r->rules.normalizer, err);
    }
    if (is(key, "pre_tokenizer")) {
        return read_rule(r, &r->rules.pre_tokenizer, err);
    }
    if (is(key, "post_processor")) {
        return read_rule(r, &r->rules.post_processor, err);
    }
    if (is(key, "decoder")) {
        return read_rule(r, &r->rules.decoder, err);
    }
    return uqff_json_skip_next(r->json, err);
}

static enum uqff_code read_document(struct reader *r, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = read_object(r, "tokenizer", read_document_member, err);
    return code != UQFF_OK ? code
                           : uqff_json_expect(r->json, UQFF_JSON_END, "tokenizer", &event, err);
}

static enum uqff_code parse(struct reader *r, const char *text, size_t size,
                            struct uqff_error *err) {
    enum uqff_code code = uqff_json_open(text, size, r->v->where, 0, 0, &r->json, err);
    code = code != UQFF_OK ? code : read_document(r, err);
    uqff_json_close(r->json);
    r->json = NULL;
    return code;
}

/* ---- what follows from it -------------------------------------------------------------------- */

static enum uqff_code declare_added(struct reader *r, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < r->added_count && code == UQFF_OK; i++) {
        const struct added *added = &r->added[i];
        code = uqff_vocab_declare(r->v, added->id, added->text, added->length, added->special,
                                  added->flags, added->offset, err);
    }
    return code;
}

static void find_unknown(struct reader *r) {
    struct vocabulary_token *token =
        r->unknown == NULL ? NULL : uqff_vocab_find(r->v, r->unknown, strlen(r->unknown));
    if (token == NULL) {
        return;
    }
    r->v->info.unknown = token->id;
    if (r->v->info.kind == UQFF_VOCABULARY_SPM) {
        token->type = UQFF_TOKEN_UNKNOWN;
    }
}

static void find_bytes(struct uqff_vocabulary *v) {
    for (size_t i = 0; i < v->count; i++) {
        if (uqff_vocab_byte(v->tokens[i].text, v->tokens[i].length) >= 0) {
            v->tokens[i].type = UQFF_TOKEN_BYTE;
        }
    }
}

/* tokenizer.json orders merges where SentencePiece scores pieces: a piece scores the higher, the
 * earlier a merge makes it. What no merge makes (characters) scores below all. */
static void score_by_merges(struct uqff_vocabulary *v) {
    float lowest = -(float)v->info.merges;
    for (size_t i = 0; i < v->count; i++) {
        v->tokens[i].score = v->tokens[i].type == UQFF_TOKEN_NORMAL ? lowest : 0;
    }
    for (size_t i = v->info.merges; i-- > 0;) {
        struct vocabulary_token *token = uqff_vocab_token(v, v->merges[i].result);
        if (token->type == UQFF_TOKEN_NORMAL) {
            token->score = -(float)i;
        }
    }
}

static enum uqff_code complete(struct reader *r, struct uqff_error *err) {
    struct uqff_vocabulary *v = r->v;
    enum uqff_code code = uqff_vocab_apply_rules(v, &r->rules, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (v->info.kind == UQFF_VOCABULARY_SPM) {
        if (r->rules.byte_fallback) {
            find_bytes(v);
        }
        find_unknown(r);
        score_by_merges(v);
    }
    code = declare_added(r, err);
    code = code != UQFF_OK ? code : uqff_vocab_index(v, err);
    find_unknown(r);
    return code;
}

enum uqff_code uqff_vocab_read_json(struct uqff_vocabulary *v, const char *text, size_t size,
                                    struct uqff_error *err) {
    struct reader r = {.v = v};
    enum uqff_code code = parse(&r, text, size, err);
    if (code == UQFF_OK && !r.has_vocab) {
        code = uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET, "%s: found no %s", v->where,
                         r.has_model ? "model.vocab" : "model");
    }
    if (code == UQFF_OK && !r.has_merges) {
        r.merges_only = true;
        code = parse(&r, text, size, err);
    }
    code = code != UQFF_OK ? code : complete(&r, err);
    uqff_free(r.added);
    uqff_arena_free(&r.arena);
    return code;
}
