/* Added tokens: texts that stand for a token wherever they are met. */
#include <stdlib.h>
#include <string.h>

#include "validation/tokenizer.h"
#include "validation/unicode.h"

enum uqff_code uqff_added_add(struct added_set *set, const struct added_token *token,
                              struct uqff_error *err) {
    void *items = set->items;
    enum uqff_code code = uqff_grow(&items, &set->capacity, set->count + 1, sizeof *token, err);
    set->items = items;
    if (code == UQFF_OK) {
        set->items[set->count++] = *token;
    }
    return code;
}

static int by_text(const void *a, const void *b) {
    const struct added_token *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);
    return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

void uqff_added_sort(struct added_set *set) {
    if (set->count > 1) {
        qsort(set->items, set->count, sizeof *set->items, by_text);
    }
    size_t i = 0;
    for (size_t byte = 0; byte <= 256; byte++) {
        while (i < set->count && (unsigned char)set->items[i].text[0] < byte) {
            i++;
        }
        set->first[byte] = i;
    }
}

/* First of items[low … high) whose byte at `depth` is at least `byte`; those that end before it are
 * sorted first. */
static size_t lower_bound(const struct added_set *set, size_t low, size_t high, size_t depth,
                          unsigned byte) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct added_token *token = &set->items[middle];
        if (token->length <= depth || (unsigned char)token->text[depth] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* HF's rule: a single word has no character of a word on either side. */
static bool stands_alone(const char *text, size_t n, size_t begin, size_t end) {
    return !uqff_unicode_ends_word(text, begin) && !uqff_unicode_begins_word(text + end, n - end);
}

/* The longest token at `at`: the range of tokens that agree with the text so far gets narrower byte
 * by byte, and the shortest of a range is its first. */
static const struct added_token *longest_at(const struct added_set *set, const char *text, size_t n,
                                            size_t at, bool parse_special) {
    const struct added_token *best = NULL;
    unsigned byte = (unsigned char)text[at];
    size_t low = set->first[byte], high = set->first[byte + 1];
    for (size_t depth = 1; low < high; depth++) {
        const struct added_token *token = &set->items[low];
        if (token->length == depth) {
            if ((parse_special || !token->special) &&
                (!token->single_word || stands_alone(text, n, at, at + depth))) {
                best = token;
            }
            if (++low == high) {
                break;
            }
        }
        if (at + depth == n) {
            break;
        }
        byte = (unsigned char)text[at + depth];
        low = lower_bound(set, low, high, depth, byte);
        high = lower_bound(set, low, high, depth, byte + 1);
    }
    return best;
}

bool uqff_added_find(const struct added_set *set, const char *text, size_t n, size_t at,
                     bool parse_special, struct added_match *match) {
    if (set->count == 0) {
        return false;
    }
    for (size_t i = at; i < n; i++) {
        unsigned byte = (unsigned char)text[i];
        if (set->first[byte] == set->first[byte + 1]) {
            continue;
        }
        const struct added_token *token = longest_at(set, text, n, i, parse_special);
        if (token == NULL) {
            continue;
        }
        *match = (struct added_match){i, i + token->length, token->id};
        size_t length;
        while (token->lstrip && match->begin > at) {
            size_t before = uqff_unicode_before(text, match->begin);
            if (before < at || (unicode_class_at(text + before, match->begin - before, &length) &
                                CLASS_SPACE) == 0) {
                break;
            }
            match->begin = before;
        }
        while (token->rstrip && match->end < n &&
               (unicode_class_at(text + match->end, n - match->end, &length) & CLASS_SPACE) != 0) {
            match->end += length;
        }
        return true;
    }
    return false;
}
