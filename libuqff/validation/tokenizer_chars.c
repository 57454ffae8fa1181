/* The characters of a SentencePiece vocabulary: their symbols, which of them stand side by side in
 * a token, and the pairs that merge, by merges or by scores. */
#include <stdlib.h>
#include <string.h>

#include "validation/tokenizer.h"
#include "validation/unicode.h"

enum { MAX_PIECE = 512 }; /* every cut of a piece is looked up */

/* A token that merging may make, and how early. */
struct candidate {
    uint32_t id;
    float score;
};

/* ---- looking up ------------------------------------------------------------------------------ */

uint32_t uqff_chars_symbol(const struct char_table *chars, uint32_t character) {
    if (character < 128) {
        return chars->ascii[character];
    }
    const struct pair_slot *slot = uqff_pairs_find(&chars->symbols, 0, character);
    return slot == NULL ? UQFF_NO_TOKEN : slot->result;
}

/* U+2581 takes the place of the space, which it stands for. */
static uint32_t joint_place(uint32_t character) {
    return character == 0x2581 ? ' ' : character;
}

bool uqff_chars_joined(const struct char_table *chars, uint32_t left, uint32_t right) {
    left = joint_place(left);
    right = joint_place(right);
    if (left < 128 && right < 128) {
        return (chars->ascii_joints[left][right / 8] >> right % 8 & 1) != 0;
    }
    return uqff_pairs_find(&chars->joints, left, right) != NULL;
}

/* ---- building -------------------------------------------------------------------------------- */

static enum uqff_code add_joint(struct char_table *chars, uint32_t left, uint32_t right,
                                struct uqff_error *err) {
    left = joint_place(left);
    right = joint_place(right);
    if (left < 128 && right < 128) {
        chars->ascii_joints[left][right / 8] |= (unsigned char)(1u << right % 8);
        return UQFF_OK;
    }
    return uqff_pairs_add(&chars->joints, left, right, 0, 0, err);
}

static enum uqff_code add_symbol(struct char_table *chars, uint32_t character, uint32_t symbol,
                                 struct uqff_error *err) {
    if (character >= 128) {
        return uqff_pairs_add(&chars->symbols, 0, character, 0, symbol, err);
    }
    if (chars->ascii[character] == UQFF_NO_TOKEN) {
        chars->ascii[character] = symbol;
    }
    return UQFF_OK;
}

/* Tokens of one character are symbols. A space that a token's text has stands for the mark, where
 * marks replace spaces. */
static enum uqff_code add_single(struct uqff_tokenizer *t, const struct uqff_token *token,
                                 uint32_t id, struct uqff_error *err) {
    size_t length;
    if (token->length == 0 || token->length > 4) {
        return UQFF_OK;
    }
    uint32_t character = unicode_decode(token->text, token->length, &length);
    if (length != token->length || (character == 0xFFFD && length != 3)) {
        return UQFF_OK;
    }
    if (character == ' ' && t->info->escape_whitespace) {
        character = 0x2581;
    }
    return add_symbol(&t->chars, character, id, err);
}

/* Joints of a token, and symbols for characters that are no tokens by themselves. */
static enum uqff_code add_joined(struct uqff_tokenizer *t, const struct uqff_token *token,
                                 uint32_t *next, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    size_t length;
    uint32_t before = 0;
    for (size_t i = 0; i < token->length && code == UQFF_OK; i += length) {
        uint32_t character = unicode_decode(token->text + i, token->length - i, &length);
        if (i > 0) {
            code = add_joint(&t->chars, before, character, err);
        }
        if (code == UQFF_OK && uqff_chars_symbol(&t->chars, character) == UQFF_NO_TOKEN) {
            code = add_symbol(&t->chars, character, (*next)++, err);
        }
        before = character;
    }
    return code;
}

static int by_score(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return (x->id > y->id) - (x->id < y->id);
}

/* The symbol of a stretch of a token: a token itself, or one character. */
static uint32_t part_symbol(const struct uqff_tokenizer *t, const char *text, size_t length) {
    size_t used;
    uint32_t character = unicode_decode(text, length, &used);
    if (used == length) {
        return uqff_chars_symbol(&t->chars, character);
    }
    uint32_t id = uqff_vocabulary_find(t->vocabulary, text, length);
    return id != UQFF_NO_TOKEN && uqff_vocabulary_token(t->vocabulary, id).type == UQFF_TOKEN_NORMAL
               ? id
               : UQFF_NO_TOKEN;
}

/* Every cut of the token into two symbols is a pair that becomes it. */
static enum uqff_code add_cuts(struct uqff_tokenizer *t, uint32_t id, uint32_t rank,
                               struct uqff_error *err) {
    struct uqff_token token = uqff_vocabulary_token(t->vocabulary, id);
    enum uqff_code code = UQFF_OK;
    size_t length;
    if (token.length > MAX_PIECE) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "vocabulary: token %u: found %zu bytes, expected at most %d", id,
                         token.length, MAX_PIECE);
    }
    for (size_t i = 0; i < token.length && code == UQFF_OK; i += length) {
        unicode_decode(token.text + i, token.length - i, &length);
        if (i == 0) {
            continue;
        }
        uint32_t left = part_symbol(t, token.text, i);
        uint32_t right = left == UQFF_NO_TOKEN ? UQFF_NO_TOKEN
                                               : part_symbol(t, token.text + i, token.length - i);
        if (right != UQFF_NO_TOKEN) {
            code = uqff_pairs_add(&t->pairs, left, right, rank, id, err);
        }
    }
    return code;
}

static enum uqff_code pairs_by_score(struct uqff_tokenizer *t, struct candidate *candidates,
                                     size_t count, struct uqff_error *err) {
    uint32_t rank = 0;
    enum uqff_code code = UQFF_OK;
    if (count > 1) {
        qsort(candidates, count, sizeof *candidates, by_score);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        rank += i > 0 && candidates[i].score != candidates[i - 1].score;
        code = add_cuts(t, candidates[i].id, rank, err);
    }
    return code;
}

/* Without merges: all normal tokens may be made. Control tokens and bytes never come of text. */
static enum uqff_code build_by_score(struct uqff_tokenizer *t, struct uqff_error *err) {
    uint32_t next = t->info->size;
    size_t count = 0, capacity = 0;
    struct candidate *candidates = NULL;
    enum uqff_code code = UQFF_OK;
    for (uint32_t id = 0; id < t->info->size && code == UQFF_OK; id++) {
        struct uqff_token token = uqff_vocabulary_token(t->vocabulary, id);
        if (token.type != UQFF_TOKEN_NORMAL) {
            continue;
        }
        void *items = candidates;
        code = uqff_grow(&items, &capacity, count + 1, sizeof *candidates, err);
        candidates = items;
        if (code == UQFF_OK) {
            candidates[count++] = (struct candidate){id, token.score};
            code = add_joined(t, &token, &next, err);
        }
    }
    code = code != UQFF_OK ? code : pairs_by_score(t, candidates, count, err);
    uqff_free(candidates);
    return code;
}

static enum uqff_code build_by_merges(struct uqff_tokenizer *t, struct uqff_error *err) {
    uint32_t next = t->info->size;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < t->info->merges && code == UQFF_OK; i++) {
        struct uqff_merge merge = uqff_vocabulary_merge(t->vocabulary, i);
        struct uqff_token token = uqff_vocabulary_token(t->vocabulary, merge.result);
        code = uqff_pairs_add(&t->pairs, merge.left, merge.right, (uint32_t)i, merge.result, err);
        code = code != UQFF_OK ? code : add_joined(t, &token, &next, err);
    }
    return code;
}

enum uqff_code uqff_chars_build(struct uqff_tokenizer *t, struct uqff_error *err) {
    const bool by_merges = t->info->merges != 0;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < 128; i++) {
        t->chars.ascii[i] = UQFF_NO_TOKEN;
    }
    for (uint32_t id = 0; id < t->info->size && code == UQFF_OK; id++) {
        struct uqff_token token = uqff_vocabulary_token(t->vocabulary, id);
        if (token.type == UQFF_TOKEN_NORMAL || (by_merges && token.type != UQFF_TOKEN_BYTE)) {
            code = add_single(t, &token, id, err);
        }
    }
    if (code != UQFF_OK) {
        return code;
    }
    return by_merges ? build_by_merges(t, err) : build_by_score(t, err);
}
