/* A tokenizer's tables, from its vocabulary. */
#include <string.h>

#include "validation/tokenizer.h"
#include "validation/unicode.h"

/* ---- bytes and pairs ------------------------------------------------------------------------- */

static enum uqff_code build_byte_level(struct uqff_tokenizer *t, struct uqff_error *err) {
    enum uqff_code code = uqff_pairs_reserve(&t->pairs, t->info->merges, err);
    for (size_t i = 0; i < 256; i++) {
        char character[4];
        size_t n = uqff_put_byte(character, (unsigned char)i);
        t->bytes[i] = uqff_vocabulary_find(t->vocabulary, character, n);
    }
    for (size_t i = 0; i < t->info->merges && code == UQFF_OK; i++) {
        struct uqff_merge merge = uqff_vocabulary_merge(t->vocabulary, i);
        code = uqff_pairs_add(&t->pairs, merge.left, merge.right, (uint32_t)i, merge.result, err);
    }
    return code;
}

static enum uqff_code build_characters(struct uqff_tokenizer *t, struct uqff_error *err) {
    static const char digits[] = "0123456789ABCDEF", lower[] = "0123456789abcdef";
    for (size_t i = 0; i < 256; i++) {
        char text[] = {'<', '0', 'x', digits[i / 16], digits[i % 16], '>'};
        t->bytes[i] = uqff_vocabulary_find(t->vocabulary, text, sizeof text);
        if (t->bytes[i] == UQFF_NO_TOKEN) {
            text[3] = lower[i / 16];
            text[4] = lower[i % 16];
            t->bytes[i] = uqff_vocabulary_find(t->vocabulary, text, sizeof text);
        }
    }
    return uqff_chars_build(t, err);
}

/* ---- added tokens ---------------------------------------------------------------------------- */

/* HF looks for such a token in normalized text, and normalizes the token's text for that: all of
 * it, the space put first included. */
static enum uqff_code normalize_added(struct uqff_tokenizer *t, struct added_token *token,
                                      struct uqff_error *err) {
    struct session s = {.t = t, .err = err};
    enum uqff_code code = uqff_normal_clean(&s, &token->text, &token->length);
    if (code == UQFF_OK && t->normalizes) {
        code = uqff_normal_form(&s, &token->text, &token->length);
    }
    if (code == UQFF_OK && !t->info->prefix_unless_space) {
        code = uqff_normal_mark(&s, &token->text, &token->length, true);
    }
    token->text = code != UQFF_OK ? NULL : uqff_arena_copy(&t->arena, token->text, token->length);
    if (code == UQFF_OK && token->text == NULL) {
        code = uqff_fail_memory(err);
    }
    uqff_session_free(&s);
    return code;
}

static enum uqff_code build_added(struct uqff_tokenizer *t, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (uint32_t id = 0; id < t->info->size && code == UQFF_OK; id++) {
        struct uqff_token token = uqff_vocabulary_token(t->vocabulary, id);
        t->longest = token.length > t->longest ? token.length : t->longest;
        if (!token.added) {
            continue;
        }
        bool special = token.type == UQFF_TOKEN_CONTROL || token.type == UQFF_TOKEN_UNKNOWN;
        struct added_token added = {.text = token.text,
                                    .length = token.length,
                                    .id = id,
                                    .special = special,
                                    .lstrip = token.lstrip,
                                    .rstrip = token.rstrip,
                                    .single_word = token.single_word};
        code = token.normalized ? normalize_added(t, &added, err) : UQFF_OK;
        if (code == UQFF_OK && added.length != 0) {
            code = uqff_added_add(token.normalized ? &t->added_normalized : &t->added, &added, err);
        }
    }
    uqff_added_sort(&t->added);
    uqff_added_sort(&t->added_normalized);
    return code;
}

/* ---- split rules ----------------------------------------------------------------------------- */

static enum uqff_code build_steps(struct uqff_tokenizer *t, struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = t->info;
    if (info->kind == UQFF_VOCABULARY_BPE && info->pre_known &&
        uqff_split_by_name(info->pre, t->steps, &t->step_count)) {
        return UQFF_OK;
    }
    if (info->pattern_count > MAX_STEPS) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "vocabulary: found %zu split rules, expected at most %d",
                         info->pattern_count, MAX_STEPS);
    }
    for (size_t i = 0; i < info->pattern_count; i++) {
        enum uqff_code code = uqff_regex_new(info->patterns[i], &t->steps[i].regex, err);
        if (code != UQFF_OK) {
            return code;
        }
        t->step_count = i + 1;
    }
    return UQFF_OK;
}

enum uqff_code uqff_tokenizer_build(struct uqff_tokenizer *t, struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = t->info;
    t->normalizes = info->normalize_nfc || info->normalize_nfd || info->normalize_nfkc ||
                    info->normalize_nfkd || info->lowercase;
    enum uqff_code code = build_steps(t, err);
    if (code == UQFF_OK && info->unsupported != NULL) {
        code = uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "vocabulary: %s is not supported by this version", info->unsupported);
    }
    code = code != UQFF_OK                     ? code
           : info->kind == UQFF_VOCABULARY_BPE ? build_byte_level(t, err)
                                               : build_characters(t, err);
    return code != UQFF_OK ? code : build_added(t, err);
}
