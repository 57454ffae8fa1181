/* The rules of tokenizer.json: normalizer, pre-tokenizer, post-processor, decoder. What they say is
 * taken into the flags and patterns of the vocabulary; what does not fit there is named, for a
 * tokenizer that did not honour it would give other ids. */
#include <string.h>

#include "model/vocabulary.h"

#define SPACE_MARK "\xE2\x96\x81"

enum { MAX_PATTERN = 1 << 16, MAX_SEQUENCE = 16 };

typedef enum uqff_code apply_rule(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                  const struct vocabulary_node *node, struct uqff_error *err);

/* A rule that has a row here is honoured; "Sequence" is a list of them. */
struct rule_row {
    const char *type;
    apply_rule *apply;
};

static enum uqff_code apply_by_type(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                    const struct vocabulary_node *node, const struct rule_row *rows,
                                    const char *what, const char *list, unsigned depth,
                                    struct uqff_error *err) {
    const char *type = uqff_vocab_string(node, "type");
    if (type == NULL) {
        return uqff_fail(err, UQFF_E_FIELD, node->offset, "%s: %s: found no type", v->where, what);
    }
    if (strcmp(type, "Sequence") == 0 && depth < MAX_SEQUENCE) {
        const struct vocabulary_node *items = uqff_vocab_member(node, list);
        enum uqff_code code = UQFF_OK;
        if (items == NULL || items->kind != UQFF_JSON_ARRAY) {
            return uqff_fail(err, UQFF_E_FIELD, node->offset, "%s: %s: found no list '%s'",
                             v->where, what, list);
        }
        for (items = items->child; items != NULL && code == UQFF_OK; items = items->next) {
            code = apply_by_type(v, rules, items, rows, what, list, depth + 1, err);
        }
        return code;
    }
    for (; rows->type != NULL; rows++) {
        if (strcmp(rows->type, type) == 0) {
            return rows->apply(v, rules, node, err);
        }
    }
    return uqff_vocab_unsupported(v, err, "the %s '%.100s'", what, type);
}

static enum uqff_code apply_nothing(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                    const struct vocabulary_node *node, struct uqff_error *err) {
    (void)v;
    (void)rules;
    (void)node;
    (void)err;
    return UQFF_OK;
}

/* ---- normalizer ------------------------------------------------------------------------------ */

/* Normal form, lower case and space marks are applied in this order; a file with another one means
 * something else. */
static enum uqff_code apply_form(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                 const struct vocabulary_node *node, struct uqff_error *err) {
    struct uqff_vocabulary_info *info = &v->info;
    const char *type = uqff_vocab_string(node, "type");
    bool *form = strcmp(type, "NFC") == 0    ? &info->normalize_nfc
                 : strcmp(type, "NFKC") == 0 ? &info->normalize_nfkc
                 : strcmp(type, "NFD") == 0  ? &info->normalize_nfd
                                             : &info->normalize_nfkd;
    if (info->normalize_nfc || info->normalize_nfkc || info->normalize_nfd ||
        info->normalize_nfkd || info->lowercase || rules->replaces_space) {
        return uqff_vocab_unsupported(v, err, "the normalizer '%s' behind others", type);
    }
    *form = true;
    return UQFF_OK;
}

static enum uqff_code apply_lowercase(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                      const struct vocabulary_node *node, struct uqff_error *err) {
    (void)rules;
    (void)node;
    (void)err;
    v->info.lowercase = true;
    return UQFF_OK;
}

/* The pattern's one member: {"String": "…"} or {"Regex": "…"}. */
static const char *pattern_of(const struct vocabulary_node *node, bool *is_regex) {
    const struct vocabulary_node *pattern = uqff_vocab_member(node, "pattern");
    const char *text = uqff_vocab_string(pattern, "Regex");
    *is_regex = text != NULL;
    return text != NULL ? text : uqff_vocab_string(pattern, "String");
}

static enum uqff_code apply_replace(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                    const struct vocabulary_node *node, struct uqff_error *err) {
    bool is_regex;
    const char *pattern = pattern_of(node, &is_regex);
    if (pattern == NULL || strcmp(pattern, " ") != 0 ||
        !uqff_vocab_is(uqff_vocab_member(node, "content"), SPACE_MARK)) {
        return uqff_vocab_unsupported(v, err, "the normalizer 'Replace' of '%.100s'",
                                      pattern == NULL ? "" : pattern);
    }
    rules->replaces_space = true;
    return UQFF_OK;
}

static enum uqff_code apply_prepend(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                    const struct vocabulary_node *node, struct uqff_error *err) {
    (void)rules;
    if (!uqff_vocab_is(uqff_vocab_member(node, "prepend"), SPACE_MARK)) {
        return uqff_vocab_unsupported(v, err, "the normalizer 'Prepend' of other than U+2581");
    }
    v->info.add_prefix_space = true;
    return UQFF_OK;
}

static const struct rule_row normalizers[] = {
    {"NFC", apply_form},
    {"NFKC", apply_form},
    {"NFD", apply_form},
    {"NFKD", apply_form},
    {"Lowercase", apply_lowercase},
    {"Replace", apply_replace},
    {"Prepend", apply_prepend},
    {NULL, NULL},
};

/* ---- pre-tokenizer --------------------------------------------------------------------------- */

static enum uqff_code add_pattern(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                  const char *pattern, struct uqff_error *err) {
    const size_t most = sizeof rules->patterns / sizeof *rules->patterns;
    size_t length = strlen(pattern);
    if (rules->pattern_count == most || length > MAX_PATTERN) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: pre-tokenizer: found more than %zu split rules, or one of more than "
                         "%d bytes",
                         v->where, most, MAX_PATTERN);
    }
    char *copy = uqff_arena_copy(&v->arena, pattern, length);
    rules->patterns[rules->pattern_count++] = copy;
    return copy == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* A string as a regular expression that matches just it. */
static enum uqff_code add_string(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                 const char *text, struct uqff_error *err) {
    struct uqff_buffer quoted = {0};
    for (; *text != 0; text++) {
        if (strchr("\\^$.[]|()?*+{}", *text) != NULL) {
            uqff_buffer_append(&quoted, "\\", 1);
        }
        uqff_buffer_append(&quoted, text, 1);
    }
    enum uqff_code code =
        quoted.failed ? uqff_fail_memory(err) : add_pattern(v, rules, quoted.data, err);
    uqff_buffer_free(&quoted);
    return code;
}

static enum uqff_code apply_split(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                  const struct vocabulary_node *node, struct uqff_error *err) {
    bool is_regex;
    const char *pattern = pattern_of(node, &is_regex);
    const char *behavior = uqff_vocab_string(node, "behavior");
    bool invert = uqff_vocab_flag(node, "invert", false);
    if (pattern == NULL || behavior == NULL || *pattern == 0 ||
        strlen(pattern) != (is_regex
                                ? uqff_vocab_member(uqff_vocab_member(node, "pattern"), "Regex")
                                : uqff_vocab_member(uqff_vocab_member(node, "pattern"), "String"))
                               ->length) {
        return uqff_fail(err, UQFF_E_FIELD, node->offset,
                         "%s: pre-tokenizer 'Split': found no pattern or no behavior, or a NUL in "
                         "them",
                         v->where);
    }
    /* Spaces are gone when the normalizer replaced them: nothing to split at. */
    if (!is_regex && strcmp(pattern, " ") == 0 && rules->replaces_space) {
        return UQFF_OK;
    }
    /* What is removed is what lies between matches: nothing, for some. */
    bool isolated =
        strcmp(behavior, "Isolated") == 0 || (strcmp(behavior, "Removed") == 0 && invert &&
                                              is_regex && uqff_vocab_pattern_covers(pattern));
    if (!isolated) {
        return uqff_vocab_unsupported(v, err, "the pre-tokenizer 'Split' with behavior '%.100s'",
                                      behavior);
    }
    return is_regex ? add_pattern(v, rules, pattern, err) : add_string(v, rules, pattern, err);
}

static enum uqff_code apply_byte_level(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                       const struct vocabulary_node *node, struct uqff_error *err) {
    if (uqff_vocab_flag(node, "add_prefix_space", true)) {
        if (rules->pattern_count != 0) {
            return uqff_vocab_unsupported(v, err,
                                          "'ByteLevel' with add_prefix_space behind other "
                                          "pre-tokenizers");
        }
        v->info.add_prefix_space = v->info.prefix_unless_space = true;
    }
    rules->byte_level = true;
    return uqff_vocab_flag(node, "use_regex", true)
               ? add_pattern(v, rules, uqff_vocab_gpt2_pattern, err)
               : UQFF_OK;
}

static enum uqff_code apply_digits(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                   const struct vocabulary_node *node, struct uqff_error *err) {
    bool one = uqff_vocab_flag(node, "individual_digits", false);
    return add_pattern(v, rules, one ? "\\p{N}" : "\\p{N}+", err);
}

static enum uqff_code apply_punctuation(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                        const struct vocabulary_node *node,
                                        struct uqff_error *err) {
    const char *behavior = uqff_vocab_string(node, "behavior");
    if (behavior == NULL || strcmp(behavior, "Isolated") == 0) {
        return add_pattern(v, rules, "[\\p{P}$+<=>^`|~]", err);
    }
    if (strcmp(behavior, "Contiguous") == 0) {
        return add_pattern(v, rules, "[\\p{P}$+<=>^`|~]+", err);
    }
    return uqff_vocab_unsupported(v, err, "the pre-tokenizer 'Punctuation' with behavior '%.100s'",
                                  behavior);
}

static enum uqff_code apply_metaspace(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                      const struct vocabulary_node *node, struct uqff_error *err) {
    const char *mark = uqff_vocab_string(node, "replacement");
    const char *scheme = uqff_vocab_string(node, "prepend_scheme");
    if (scheme == NULL) {
        scheme = uqff_vocab_flag(node, "add_prefix_space", true) ? "always" : "never";
    }
    if (rules->pattern_count != 0 || (mark != NULL && strcmp(mark, SPACE_MARK) != 0)) {
        return uqff_vocab_unsupported(v, err,
                                      "the pre-tokenizer 'Metaspace' behind others, or "
                                      "with another mark than U+2581");
    }
    rules->replaces_space = true;
    if (strcmp(scheme, "never") != 0) {
        v->info.add_prefix_space = v->info.prefix_unless_space = true;
        v->info.prefix_once = strcmp(scheme, "first") == 0;
    }
    return uqff_vocab_flag(node, "split", true)
               ? add_pattern(v, rules, SPACE_MARK "[^" SPACE_MARK "]*", err)
               : UQFF_OK;
}

static const struct rule_row pre_tokenizers[] = {
    {"Split", apply_split},         {"ByteLevel", apply_byte_level},
    {"Digits", apply_digits},       {"Punctuation", apply_punctuation},
    {"Metaspace", apply_metaspace}, {NULL, NULL},
};

/* ---- post-processor -------------------------------------------------------------------------- */

static enum uqff_code copy_text(struct uqff_vocabulary *v, const char *text, const char **out,
                                struct uqff_error *err) {
    *out = uqff_arena_copy(&v->arena, text, strlen(text));
    return *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, …] */
static enum uqff_code apply_template(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                     const struct vocabulary_node *node, struct uqff_error *err) {
    const struct vocabulary_node *items = uqff_vocab_member(node, "single");
    bool behind = false;
    (void)rules;
    for (items = items == NULL ? NULL : items->child; items != NULL; items = items->next) {
        const char *text = uqff_vocab_string(uqff_vocab_member(items, "SpecialToken"), "id");
        const char **place = behind ? &v->template_eos : &v->template_bos;
        if (text == NULL) {
            behind = true;
            continue;
        }
        if (*place != NULL) {
            return uqff_vocab_unsupported(v, err, "a post-processor that adds several tokens");
        }
        enum uqff_code code = copy_text(v, text, place, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

static const struct rule_row post_processors[] = {
    {"TemplateProcessing", apply_template},
    {"ByteLevel", apply_nothing}, /* moves offsets, not tokens */
    {NULL, NULL},
};

/* ---- decoder --------------------------------------------------------------------------------- */

static enum uqff_code apply_byte_level_decoder(struct uqff_vocabulary *v,
                                               struct vocabulary_rules *rules,
                                               const struct vocabulary_node *node,
                                               struct uqff_error *err) {
    (void)node;
    return rules->byte_level ? UQFF_OK
                             : uqff_vocab_unsupported(v, err,
                                                      "the decoder 'ByteLevel' without such a "
                                                      "pre-tokenizer");
}

/* These undo what the flags tell: space marks, byte tokens, the space put first. */
static const struct rule_row decoders[] = {
    {"ByteLevel", apply_byte_level_decoder},
    {"Replace", apply_nothing},
    {"ByteFallback", apply_nothing},
    {"Fuse", apply_nothing},
    {"Strip", apply_nothing},
    {"Metaspace", apply_nothing},
    {NULL, NULL},
};

/* ---- all of them ----------------------------------------------------------------------------- */

static enum uqff_code take_patterns(struct uqff_vocabulary *v, const struct vocabulary_rules *rules,
                                    struct uqff_error *err) {
    const char **patterns = uqff_arena_array(&v->arena, rules->pattern_count, sizeof *patterns);
    if (patterns == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < rules->pattern_count; i++) {
        patterns[i] = rules->patterns[i];
    }
    v->info.patterns = patterns;
    v->info.pattern_count = rules->pattern_count;
    return UQFF_OK;
}

enum uqff_code uqff_vocab_apply_rules(struct uqff_vocabulary *v, struct vocabulary_rules *rules,
                                      struct uqff_error *err) {
    const struct {
        const struct vocabulary_node *node;
        const struct rule_row *rows;
        const char *what, *list;
    } all[] = {
        {rules->normalizer, normalizers, "normalizer", "normalizers"},
        {rules->pre_tokenizer, pre_tokenizers, "pre-tokenizer", "pretokenizers"},
        {rules->post_processor, post_processors, "post-processor", "processors"},
        {rules->decoder, decoders, "decoder", "decoders"},
    };
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all && code == UQFF_OK; i++) {
        if (all[i].node != NULL) {
            code =
                apply_by_type(v, rules, all[i].node, all[i].rows, all[i].what, all[i].list, 0, err);
        }
    }
    code = code != UQFF_OK ? code : take_patterns(v, rules, err);
    if (code != UQFF_OK) {
        return code;
    }
    v->info.kind = rules->byte_level ? UQFF_VOCABULARY_BPE : UQFF_VOCABULARY_SPM;
    v->info.byte_fallback = rules->byte_fallback;
    v->info.escape_whitespace = rules->replaces_space;
    if (rules->byte_level && rules->replaces_space) {
        code = uqff_vocab_unsupported(v, err, "space marks together with 'ByteLevel'");
    }
    return code;
}
