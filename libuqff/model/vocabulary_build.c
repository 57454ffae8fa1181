/* What all readers of vocabularies do alike: merges, added tokens, the last checks. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/vocabulary.h"

#define SPACE_MARK "\xE2\x96\x81" /* U+2581, which SentencePiece writes for a space */

/* ---- merges ---------------------------------------------------------------------------------- */

static enum uqff_code fail_merge(const struct uqff_vocabulary *v, size_t number, uint64_t offset,
                                 const char *what, const char *text, size_t length,
                                 struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_FIELD, offset,
                     "%s: merge %zu: %s '%.*s', expected one of the "
                     "vocabulary",
                     v->where, number + 1, what, (int)(length < 100 ? length : 100), text);
}

static const struct vocabulary_token *find_result(const struct uqff_vocabulary *v, const char *left,
                                                  size_t left_length, const char *right,
                                                  size_t right_length, char *joined) {
    memcpy(joined, left, left_length);
    memcpy(joined + left_length, right, right_length);
    return uqff_vocab_find(v, joined, left_length + right_length);
}

enum uqff_code uqff_vocab_merge(struct uqff_vocabulary *v, size_t number, uint64_t offset,
                                const char *left, size_t left_length, const char *right,
                                size_t right_length, struct uqff_error *err) {
    char small[256];
    const struct vocabulary_token *a = uqff_vocab_find(v, left, left_length);
    const struct vocabulary_token *b = uqff_vocab_find(v, right, right_length);
    if (a == NULL || b == NULL) {
        return a == NULL
                   ? fail_merge(v, number, offset, "found the token", left, left_length, err)
                   : fail_merge(v, number, offset, "found the token", right, right_length, err);
    }
    /* Both are tokens, so neither is longer than 2^32 and the sum fits. */
    size_t length = left_length + right_length;
    char *joined = length <= sizeof small ? small : uqff_alloc(length);
    if (joined == NULL) {
        return uqff_fail_memory(err);
    }
    const struct vocabulary_token *c =
        find_result(v, left, left_length, right, right_length, joined);
    enum uqff_code code =
        c != NULL ? UQFF_OK
                  : fail_merge(v, number, offset, "found the result", joined, length, err);
    void *items = v->merges;
    code = code != UQFF_OK
               ? code
               : uqff_grow(&items, &v->merge_capacity, v->info.merges + 1, sizeof *v->merges, err);
    v->merges = items;
    if (code == UQFF_OK) {
        v->merges[v->info.merges++] = (struct uqff_merge){a->id, b->id, c->id};
    }
    if (joined != small) {
        uqff_free(joined);
    }
    return code;
}

enum uqff_code uqff_vocab_merge_line(struct uqff_vocabulary *v, size_t number, uint64_t offset,
                                     const char *line, size_t length, struct uqff_error *err) {
    const char *space = length < 2 ? NULL : memchr(line + 1, ' ', length - 1);
    if (space == NULL || space == line + length - 1) {
        return uqff_fail(err, UQFF_E_FIELD, offset,
                         "%s: merge %zu: found '%.*s', expected two tokens and a space between "
                         "them",
                         v->where, number + 1, (int)(length < 100 ? length : 100), line);
    }
    size_t left = (size_t)(space - line);
    return uqff_vocab_merge(v, number, offset, line, left, space + 1, length - left - 1, err);
}

/* ---- added tokens ---------------------------------------------------------------------------- */

/* A GGUF spells a token that the user defined as it stands in a text: with spaces. */
static enum uqff_code spell_spaces(struct uqff_vocabulary *v, struct vocabulary_token *token,
                                   struct uqff_error *err) {
    const size_t mark = strlen(SPACE_MARK);
    char *text = uqff_arena_copy(&v->arena, token->text, token->length);
    size_t n = 0;
    if (text == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < token->length;) {
        bool is_mark = token->length - i >= mark && memcmp(token->text + i, SPACE_MARK, mark) == 0;
        text[n++] = is_mark ? ' ' : token->text[i];
        i += is_mark ? mark : 1;
    }
    text[n] = 0;
    token->text = text;
    token->length = (uint32_t)n;
    return UQFF_OK;
}

const struct vocabulary_flag uqff_vocab_flags[UQFF_VOCAB_FLAGS] = {
    {"lstrip", TOKEN_LSTRIP},
    {"rstrip", TOKEN_RSTRIP},
    {"normalized", TOKEN_NORMALIZED},
    {"single_word", TOKEN_SINGLE_WORD},
};

enum uqff_code uqff_vocab_declare(struct uqff_vocabulary *v, uint64_t id, const char *text,
                                  size_t length, bool special, unsigned flags, uint64_t offset,
                                  struct uqff_error *err) {
    int shown = (int)(length < 100 ? length : 100);
    struct vocabulary_token *token = uqff_vocab_find(v, text, length);
    struct vocabulary_token *holder =
        id < UQFF_VOCABULARY_LIMIT ? uqff_vocab_token(v, (uint32_t)id) : NULL;
    if (length == 0 || length > UQFF_ADDED_LIMIT) {
        /* An empty one would match everywhere. */
        return uqff_fail(err, length == 0 ? UQFF_E_FIELD : UQFF_E_LIMIT, offset,
                         "%s: added token %llu: found %zu bytes, expected 1 to %u", v->where,
                         (unsigned long long)id, length, UQFF_ADDED_LIMIT);
    }
    if (token == NULL && holder != NULL && holder->length != 0) {
        uqff_warn(&v->warner,
                  "%s: added token '%.*s': its id %llu is that of '%.100s'; it is passed over",
                  v->where, shown, text, (unsigned long long)id, holder->text);
        return UQFF_OK;
    }
    if (token != NULL && token->id != id) {
        uqff_warn(&v->warner, "%s: added token '%.*s': its id is %u in the vocabulary, not %llu",
                  v->where, shown, text, token->id, (unsigned long long)id);
    }
    enum uqff_code code = UQFF_OK;
    if (token == NULL) {
        code = uqff_vocab_add(v, id, text, length, UQFF_TOKEN_NORMAL, &token, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    token->flags = (unsigned char)(flags | TOKEN_ADDED);
    if (token->type != UQFF_TOKEN_UNKNOWN && token->type != UQFF_TOKEN_BYTE) {
        token->type = special ? UQFF_TOKEN_CONTROL : UQFF_TOKEN_USER_DEFINED;
    }
    if (v->info.kind == UQFF_VOCABULARY_SPM) {
        token->score = -1000.0f; /* as llama.cpp's converter gives them */
        if (token->type == UQFF_TOKEN_USER_DEFINED) {
            code = spell_spaces(v, token, err);
        }
    }
    return code;
}

enum uqff_code uqff_vocab_unsupported(struct uqff_vocabulary *v, struct uqff_error *err,
                                      const char *format, ...) {
    char text[256];
    va_list args;
    if (v->info.unsupported != NULL) {
        return UQFF_OK;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    v->info.unsupported = uqff_arena_copy(&v->arena, text, strlen(text));
    return v->info.unsupported == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* ---- the last checks ------------------------------------------------------------------------- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uqff_vocab_byte(const char *text, size_t length) {
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') {
        return -1;
    }
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static enum uqff_code check_tokens(const struct uqff_vocabulary *v, struct uqff_error *err) {
    bool seen[256] = {false};
    for (size_t i = 0; i < v->count; i++) {
        const struct vocabulary_token *token = &v->tokens[i];
        if (!isfinite(token->score)) {
            return uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                             "%s: token %u: found a score that is not finite", v->where, token->id);
        }
        if (token->type != UQFF_TOKEN_BYTE) {
            continue;
        }
        int byte = uqff_vocab_byte(token->text, token->length);
        if (byte < 0 || seen[byte]) {
            return uqff_fail(err, byte < 0 ? UQFF_E_FIELD : UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                             "%s: byte token %u: found '%.100s', expected <0xHH> with two hex "
                             "digits, each byte once",
                             v->where, token->id, token->text);
        }
        seen[byte] = true;
    }
    return UQFF_OK;
}

/* Texts that end a turn, where no key names the token; llama.cpp goes by them too. */
static const char *const end_of_turn[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>",         "<end_of_turn>",      "<|endoftext|>",
    "<EOT>",      "_<EOT>",     "<|end_of_text|>", "<end_of_utterance>",
};
static const char *const end_of_message[] = {"<|eom_id|>"};

static void find_special(struct uqff_vocabulary *v, enum vocabulary_special which,
                         const char *const *texts, size_t count) {
    uint32_t *id = uqff_vocab_special(v, which);
    for (size_t i = 0; i < count && *id == UQFF_NO_TOKEN; i++) {
        const struct vocabulary_token *token = uqff_vocab_find(v, texts[i], strlen(texts[i]));
        if (token != NULL && (token->flags & TOKEN_ADDED) != 0) {
            *id = token->id;
        }
    }
}

enum uqff_code uqff_vocab_finish(struct uqff_vocabulary *v, struct uqff_error *err) {
    if (v->count == 0) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: found a vocabulary without tokens, expected at least one", v->where);
    }
    for (size_t i = 0; i < v->count; i++) {
        if (v->tokens[i].length == 0) {
            v->tokens[i].type = UQFF_TOKEN_UNUSED;
            v->tokens[i].flags = 0;
        }
    }
    find_special(v, SPECIAL_EOT, end_of_turn, sizeof end_of_turn / sizeof *end_of_turn);
    find_special(v, SPECIAL_EOM, end_of_message, sizeof end_of_message / sizeof *end_of_message);
    if (v->info.bos == UQFF_NO_TOKEN) {
        v->info.add_bos = false;
    }
    if (v->info.eos == UQFF_NO_TOKEN) {
        v->info.add_eos = false;
    }
    if (v->info.kind == UQFF_VOCABULARY_SPM) {
        v->info.pre_known = v->info.pattern_count == 0;
    } else if (*v->info.pre == 0) {
        uqff_vocab_pre_by_patterns(v);
    }
    return check_tokens(v, err);
}
