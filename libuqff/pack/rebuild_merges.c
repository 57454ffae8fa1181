/* A SentencePiece vocabulary joins whatever pieces give the token of the best score; tokenizer.json
 * wants that spelled out as a list of pairs, best first. */
#include "pack/rebuild.h"

#include <stdlib.h>
#include <string.h>

struct ranked {
    struct rebuild_merge merge;
    float score;
};

/* The better score first; then the result that comes first, and its pieces in the same way. */
static int by_rank(const void *a, const void *b) {
    const struct ranked *left = a, *right = b;
    if (left->score != right->score) {
        return left->score > right->score ? -1 : 1;
    }
    const uint32_t x[] = {left->merge.result, left->merge.left, left->merge.right};
    const uint32_t y[] = {right->merge.result, right->merge.left, right->merge.right};
    for (size_t i = 0; i < 3; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}

/* Pieces that text is made of; control and byte tokens never come of joining. */
static bool is_piece(struct uqff_token token) {
    return token.length > 0 &&
           (token.type == UQFF_TOKEN_NORMAL || token.type == UQFF_TOKEN_USER_DEFINED);
}

static uint32_t find_piece(const struct uqff_vocabulary *vocabulary, const char *text,
                           size_t length) {
    uint32_t id = uqff_vocabulary_find(vocabulary, text, length);
    return id != UQFF_NO_TOKEN && is_piece(uqff_vocabulary_token(vocabulary, id)) ? id
                                                                                  : UQFF_NO_TOKEN;
}

/* Tokens that are longer are not of words, and would cost time in proportion to their square. */
enum { LONGEST = 512 };

static enum uqff_code add_token(const struct uqff_vocabulary *vocabulary, uint32_t id,
                                struct ranked **items, size_t *count, size_t *capacity,
                                struct uqff_error *err) {
    struct uqff_token token = uqff_vocabulary_token(vocabulary, id);
    if (!is_piece(token) || token.length > LONGEST) {
        return UQFF_OK;
    }
    for (size_t cut = 1; cut < token.length; cut++) {
        /* Not within a character. */
        if (((unsigned char)token.text[cut] & 0xC0) == 0x80) {
            continue;
        }
        uint32_t left = find_piece(vocabulary, token.text, cut);
        uint32_t right = left == UQFF_NO_TOKEN
                             ? UQFF_NO_TOKEN
                             : find_piece(vocabulary, token.text + cut, token.length - cut);
        if (right == UQFF_NO_TOKEN) {
            continue;
        }
        enum uqff_code code = uqff_grow((void **)items, capacity, *count + 1, sizeof **items, err);
        if (code != UQFF_OK) {
            return code;
        }
        (*items)[(*count)++] = (struct ranked){{left, right, id}, token.score};
    }
    return UQFF_OK;
}

enum uqff_code uqff_rebuild_merges(const struct uqff_vocabulary *vocabulary,
                                   struct rebuild_merge **out, size_t *count,
                                   struct uqff_error *err) {
    uint32_t size = uqff_vocabulary_info(vocabulary)->size;
    struct ranked *items = NULL;
    size_t n = 0, capacity = 0;
    enum uqff_code code = UQFF_OK;
    for (uint32_t id = 0; id < size && code == UQFF_OK; id++) {
        code = add_token(vocabulary, id, &items, &n, &capacity, err);
    }
    struct rebuild_merge *merges = code == UQFF_OK ? uqff_alloc_array(n, sizeof *merges) : NULL;
    if (code == UQFF_OK && merges == NULL) {
        code = uqff_fail_memory(err);
    }
    if (code == UQFF_OK) {
        if (n > 1) {
            qsort(items, n, sizeof *items, by_rank);
        }
        for (size_t i = 0; i < n; i++) {
            merges[i] = items[i].merge;
        }
        *out = merges;
        *count = n;
    }
    uqff_free(items);
    return code;
}
