/* The files beside a tokenizer: tokenizer_config.json, added_tokens.json, config.json. */
#include <stdlib.h>
#include <string.h>

#include "model/vocabulary.h"

#define TEMPLATE_LIMIT (4u << 20)

/* Names in all three files: bos_token, add_bos_token, bos_token_id. */
static const struct {
    const char *name;
    enum vocabulary_special which;
} specials[] = {
    {"bos", SPECIAL_BOS},       {"eos", SPECIAL_EOS},     {"unk", SPECIAL_UNKNOWN},
    {"sep", SPECIAL_SEPARATOR}, {"pad", SPECIAL_PADDING}, {"cls", SPECIAL_CLASSIFIER},
    {"mask", SPECIAL_MASK},     {"eot", SPECIAL_EOT},     {"eom", SPECIAL_EOM},
};

/* What is read of one file. */
struct settings {
    struct uqff_vocabulary *v;
    struct uqff_json *json;
    const char *where;
    struct uqff_arena arena;
    bool tokens;
    const struct vocabulary_node *named[SPECIAL_COUNT]; /* looked up when all tokens are there */
};

typedef enum uqff_code read_member(struct settings *s, const char *key, size_t length,
                                   struct uqff_error *err);

/* True for PREFIX name SUFFIX of a special token. */
static bool is_special(const char *key, size_t length, const char *prefix, const char *suffix,
                       enum vocabulary_special *which) {
    size_t a = strlen(prefix), b = strlen(suffix);
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        size_t n = strlen(specials[i].name);
        if (length == a + n + b && memcmp(key, prefix, a) == 0 &&
            memcmp(key + a, specials[i].name, n) == 0 && memcmp(key + a + n, suffix, b) == 0) {
            *which = specials[i].which;
            return true;
        }
    }
    return false;
}

/* Reads an object's members, each by `read`. */
static enum uqff_code read_members(struct settings *s, read_member *read, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = UQFF_OK;
    while (code == UQFF_OK) {
        bool done;
        code = uqff_json_member(s->json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        char *key = uqff_arena_copy(&s->arena, event.text, event.length);
        code = key == NULL ? uqff_fail_memory(err) : read(s, key, event.length, err);
    }
    return code;
}

static enum uqff_code read_file(struct settings *s, const char *text, size_t size,
                                read_member *read, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_open(text, size, s->where, 0, 0, &s->json, err);
    code = code != UQFF_OK ? code
                           : uqff_json_expect(s->json, UQFF_JSON_OBJECT, "settings", &event, err);
    code = code != UQFF_OK ? code : read_members(s, read, err);
    code =
        code != UQFF_OK ? code : uqff_json_expect(s->json, UQFF_JSON_END, "settings", &event, err);
    uqff_json_close(s->json);
    s->json = NULL;
    return code;
}

/* A key that holds an id, in decimal. */
static bool parse_id(const char *text, size_t length, uint64_t *out) {
    uint64_t id = 0;
    if (length == 0 || length > 9 || (length > 1 && text[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        id = id * 10 + (uint64_t)(text[i] - '0');
    }
    *out = id;
    return true;
}

/* ---- chat template --------------------------------------------------------------------------- */

enum uqff_code uqff_vocab_set_template(struct uqff_vocabulary *v, const char *text, size_t size,
                                       const char *where, struct uqff_error *err) {
    size_t bad;
    if (size > TEMPLATE_LIMIT) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: chat template: found %zu bytes, expected at most %u", where, size,
                         TEMPLATE_LIMIT);
    }
    if (!uqff_utf8_valid(text, size, &bad)) {
        return uqff_fail(err, UQFF_E_ENCODING, bad,
                         "%s: chat template: found invalid UTF-8 at "
                         "byte %zu",
                         where, bad);
    }
    v->info.chat_template = uqff_arena_copy(&v->arena, text, size);
    v->info.chat_template_length = size;
    return v->info.chat_template == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* A string, or a list of {"name", "template"} of which "default" is the one. */
static enum uqff_code read_template(struct settings *s, struct uqff_error *err) {
    struct vocabulary_node *node;
    enum uqff_code code = uqff_vocab_tree(&s->arena, s->json, s->where, &node, err);
    const struct vocabulary_node *text = node;
    if (code != UQFF_OK) {
        return code;
    }
    if (node->kind == UQFF_JSON_ARRAY) {
        text = NULL;
        for (const struct vocabulary_node *item = node->child; item != NULL; item = item->next) {
            if (text == NULL || uqff_vocab_is(uqff_vocab_member(item, "name"), "default")) {
                text = uqff_vocab_member(item, "template");
            }
        }
    }
    return text == NULL || text->kind != UQFF_JSON_STRING
               ? UQFF_OK
               : uqff_vocab_set_template(s->v, text->text, text->length, s->where, err);
}

/* ---- tokenizer_config.json ------------------------------------------------------------------- */

static enum uqff_code read_declared(struct settings *s, const char *key, size_t length,
                                    struct uqff_error *err) {
    struct vocabulary_node *node;
    uint64_t id;
    unsigned set = 0;
    enum uqff_code code = uqff_vocab_tree(&s->arena, s->json, s->where, &node, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct vocabulary_node *content = uqff_vocab_member(node, "content");
    if (!parse_id(key, length, &id) || content == NULL || content->kind != UQFF_JSON_STRING) {
        return uqff_fail(err, UQFF_E_FIELD, node->offset,
                         "%s: added_tokens_decoder: entry '%.100s': expected an id, and an object "
                         "with content",
                         s->where, key);
    }
    for (size_t i = 0; i < UQFF_VOCAB_FLAGS; i++) {
        bool given = uqff_vocab_flag(node, uqff_vocab_flags[i].name, false);
        set |= given ? uqff_vocab_flags[i].flag : 0;
    }
    return uqff_vocab_declare(s->v, id, content->text, content->length,
                              uqff_vocab_flag(node, "special", false), set, node->offset, err);
}

static enum uqff_code read_declarations(struct settings *s, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(s->json, &event, err);
    if (code != UQFF_OK || event.kind != UQFF_JSON_OBJECT) {
        return code != UQFF_OK ? code : uqff_json_skip(s->json, &event, err);
    }
    code = read_members(s, read_declared, err);
    return code != UQFF_OK ? code : uqff_vocab_index(s->v, err);
}

static enum uqff_code read_flag(struct settings *s, bool *flag, bool *given,
                                struct uqff_error *err) {
    struct vocabulary_node *node;
    enum uqff_code code = uqff_vocab_tree(&s->arena, s->json, s->where, &node, err);
    if (code == UQFF_OK && (node->kind == UQFF_JSON_TRUE || node->kind == UQFF_JSON_FALSE)) {
        *flag = node->kind == UQFF_JSON_TRUE;
        if (given != NULL) {
            *given = true;
        }
    }
    return code;
}

static enum uqff_code read_setting(struct settings *s, const char *key, size_t length,
                                   struct uqff_error *err) {
    struct uqff_vocabulary_info *info = &s->v->info;
    enum vocabulary_special which;
    if (is_special(key, length, "", "_token", &which)) {
        struct vocabulary_node *node;
        enum uqff_code code = uqff_vocab_tree(&s->arena, s->json, s->where, &node, err);
        if (code == UQFF_OK && node->kind != UQFF_JSON_NULL) {
            s->named[which] = node;
        }
        return code;
    }
    if (strcmp(key, "add_bos_token") == 0) {
        return read_flag(s, &info->add_bos, &s->v->bos_given, err);
    }
    if (strcmp(key, "add_eos_token") == 0) {
        return read_flag(s, &info->add_eos, &s->v->eos_given, err);
    }
    if (strcmp(key, "chat_template") == 0) {
        return read_template(s, err);
    }
    if (s->tokens && strcmp(key, "add_prefix_space") == 0) {
        return read_flag(s, &info->add_prefix_space, NULL, err);
    }
    if (s->tokens && strcmp(key, "added_tokens_decoder") == 0) {
        return read_declarations(s, err);
    }
    return uqff_json_skip_next(s->json, err);
}

/* bos_token and its like name a token by its text, or by an object with that text. */
static void find_named(struct settings *s) {
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        const struct vocabulary_node *node = s->named[i];
        if (node != NULL && node->kind == UQFF_JSON_OBJECT) {
            node = uqff_vocab_member(node, "content");
        }
        if (node == NULL || node->kind != UQFF_JSON_STRING || node->length == 0) {
            continue;
        }
        const struct vocabulary_token *token = uqff_vocab_find(s->v, node->text, node->length);
        if (token != NULL) {
            *uqff_vocab_special(s->v, (enum vocabulary_special)i) = token->id;
        } else {
            uqff_warn(&s->v->warner, "%s: '%s': the vocabulary has no such token", s->where,
                      node->text);
        }
    }
}

enum uqff_code uqff_vocab_read_settings(struct uqff_vocabulary *v, const char *text, size_t size,
                                        const char *where, bool tokens, struct uqff_error *err) {
    struct settings s = {.v = v, .where = where, .tokens = tokens};
    enum uqff_code code = read_file(&s, text, size, read_setting, err);
    if (code == UQFF_OK) {
        find_named(&s);
    }
    uqff_arena_free(&s.arena);
    return code;
}

/* ---- added_tokens.json ----------------------------------------------------------------------- */

static enum uqff_code read_added(struct settings *s, const char *key, size_t length,
                                 struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(s->json, &event, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (event.kind != UQFF_JSON_NUMBER || !event.is_u64) {
        return uqff_json_unexpected(s->json, &event, "an added token", "an id", err);
    }
    /* The file does not tell what is special; "<|…|>" is, by its look. */
    bool special =
        length > 4 && memcmp(key, "<|", 2) == 0 && memcmp(key + length - 2, "|>", 2) == 0;
    return uqff_vocab_declare(s->v, event.integer, key, length, special, 0, event.offset, err);
}

enum uqff_code uqff_vocab_read_added(struct uqff_vocabulary *v, const char *text, size_t size,
                                     const char *where, struct uqff_error *err) {
    struct settings s = {.v = v, .where = where};
    enum uqff_code code = read_file(&s, text, size, read_added, err);
    code = code != UQFF_OK ? code : uqff_vocab_index(v, err);
    uqff_arena_free(&s.arena);
    return code;
}

/* ---- config.json ----------------------------------------------------------------------------- */

/* A number, or a list whose first number counts. */
static void take_id(struct settings *s, enum vocabulary_special which,
                    const struct vocabulary_node *node) {
    uint32_t *id = uqff_vocab_special(s->v, which);
    uint64_t value;
    if (node->kind == UQFF_JSON_ARRAY) {
        node = node->child;
    }
    if (*id != UQFF_NO_TOKEN || node == NULL || node->kind != UQFF_JSON_NUMBER) {
        return;
    }
    if (!parse_id(node->text, node->length, &value) || value >= UQFF_VOCABULARY_LIMIT ||
        uqff_vocab_token(s->v, (uint32_t)value) == NULL) {
        uqff_warn(&s->v->warner, "%s: %s: found id %s, which the vocabulary does not have",
                  s->where, node->key, node->text);
        return;
    }
    *id = (uint32_t)value;
}

static enum uqff_code read_config(struct settings *s, const char *key, size_t length,
                                  struct uqff_error *err) {
    enum vocabulary_special which;
    if (!is_special(key, length, "", "_token_id", &which)) {
        if (strcmp(key, "text_config") == 0) {
            struct uqff_json_event event;
            enum uqff_code code = uqff_json_next(s->json, &event, err);
            if (code != UQFF_OK) {
                return code;
            }
            return event.kind == UQFF_JSON_OBJECT ? read_members(s, read_config, err)
                                                  : uqff_json_skip(s->json, &event, err);
        }
        return uqff_json_skip_next(s->json, err);
    }
    struct vocabulary_node *node;
    enum uqff_code code = uqff_vocab_tree(&s->arena, s->json, s->where, &node, err);
    if (code == UQFF_OK) {
        take_id(s, which, node);
    }
    return code;
}

enum uqff_code uqff_vocab_read_config(struct uqff_vocabulary *v, const char *text, size_t size,
                                      const char *where, struct uqff_error *err) {
    struct settings s = {.v = v, .where = where};
    enum uqff_code code = read_file(&s, text, size, read_config, err);
    uqff_arena_free(&s.arena);
    return code;
}
