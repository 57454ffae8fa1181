/* Byte pair encoding: of all neighbours the pair of the lowest rank becomes one symbol, the
 * leftmost first, until none is left. */
#include <string.h>

#include "validation/tokenizer.h"

enum {
    FIRST_BITS = 6,
    SHORT_WORD = 40, /* up to here a look at each pair is quicker than a heap */
};

#define NO_RANK UINT32_MAX
#define NO_SYMBOL UINT32_MAX

/* ---- the table ------------------------------------------------------------------------------- */

static struct pair_slot *slot_of(const struct pair_table *pairs, uint64_t key) {
    size_t mask = ((size_t)1 << pairs->bits) - 1;
    uint64_t mixed = (key ^ key >> 32) * pairs->secret;
    size_t i = (size_t)(mixed >> (64 - pairs->bits));
    while (pairs->slots[i].key != key && pairs->slots[i].key != NO_PAIR) {
        i = (i + 1) & mask;
    }
    return &pairs->slots[i];
}

/* Moves all pairs into a table of 2^bits places. */
static enum uqff_code resize(struct pair_table *pairs, unsigned bits, struct uqff_error *err) {
    struct pair_table old = *pairs;
    struct pair_slot *slots = uqff_alloc_array((size_t)1 << bits, sizeof *slots);
    if (slots == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < (size_t)1 << bits; i++) {
        slots[i].key = NO_PAIR;
    }
    pairs->slots = slots;
    pairs->bits = bits;
    /* Ids come from a file: a factor that its author cannot know keeps them from crowding. */
    pairs->secret = (uint64_t)(uintptr_t)slots * UINT64_C(0x9E3779B97F4A7C15) | 1;
    for (size_t i = 0; old.slots != NULL && i < (size_t)1 << old.bits; i++) {
        if (old.slots[i].key != NO_PAIR) {
            *slot_of(pairs, old.slots[i].key) = old.slots[i];
        }
    }
    uqff_free(old.slots);
    return UQFF_OK;
}

enum uqff_code uqff_pairs_reserve(struct pair_table *pairs, size_t count, struct uqff_error *err) {
    unsigned bits = pairs->slots == NULL ? FIRST_BITS : pairs->bits;
    while ((size_t)1 << bits < count * 2) { /* at most half full: probes end, and soon */
        bits++;
    }
    return pairs->slots != NULL && bits == pairs->bits ? UQFF_OK : resize(pairs, bits, err);
}

enum uqff_code uqff_pairs_add(struct pair_table *pairs, uint32_t left, uint32_t right,
                              uint32_t rank, uint32_t result, struct uqff_error *err) {
    uint64_t key = (uint64_t)left << 32 | right;
    enum uqff_code code = uqff_pairs_reserve(pairs, pairs->count + 1, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct pair_slot *slot = slot_of(pairs, key);
    if (slot->key == NO_PAIR) {
        *slot = (struct pair_slot){key, rank, result};
        pairs->count++;
    }
    return UQFF_OK;
}

const struct pair_slot *uqff_pairs_find(const struct pair_table *pairs, uint32_t left,
                                        uint32_t right) {
    uint64_t key = (uint64_t)left << 32 | right;
    if (key == NO_PAIR || pairs->slots == NULL) {
        return NULL;
    }
    const struct pair_slot *slot = slot_of(pairs, key);
    return slot->key == NO_PAIR ? NULL : slot;
}

/* ---- short words ----------------------------------------------------------------------------- */

struct ranked {
    uint32_t rank[SHORT_WORD], result[SHORT_WORD]; /* of the pair (i, i + 1) */
};

static void rank_pair(const struct pair_table *pairs, const struct symbol *symbols,
                      struct ranked *ranked, size_t i) {
    const struct pair_slot *slot = uqff_pairs_find(pairs, symbols[i].id, symbols[i + 1].id);
    ranked->rank[i] = slot == NULL ? NO_RANK : slot->rank;
    ranked->result[i] = slot == NULL ? 0 : slot->result;
}

static void merge_short(const struct pair_table *pairs, struct symbol *symbols, size_t *count) {
    struct ranked ranked;
    size_t n = *count;
    for (size_t i = 0; i + 1 < n; i++) {
        rank_pair(pairs, symbols, &ranked, i);
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            best = ranked.rank[i] < ranked.rank[best] ? i : best;
        }
        if (ranked.rank[best] == NO_RANK) {
            break;
        }
        symbols[best].id = ranked.result[best];
        /* Symbol best + 1 goes, and with it the pair that it began. */
        size_t behind = n - best - 2;
        memmove(&symbols[best + 1], &symbols[best + 2], behind * sizeof *symbols);
        if (behind > 0) {
            memmove(&ranked.rank[best + 1], &ranked.rank[best + 2],
                    (behind - 1) * sizeof ranked.rank[0]);
            memmove(&ranked.result[best + 1], &ranked.result[best + 2],
                    (behind - 1) * sizeof ranked.result[0]);
        }
        n--;
        if (best > 0) {
            rank_pair(pairs, symbols, &ranked, best - 1);
        }
        if (best + 1 < n) {
            rank_pair(pairs, symbols, &ranked, best);
        }
    }
    *count = n;
}

/* ---- long words ------------------------------------------------------------------------------ */

static bool goes_before(const struct heap_entry *a, const struct heap_entry *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static enum uqff_code push(struct merge_scratch *s, const struct heap_entry *entry,
                           struct uqff_error *err) {
    void *items = s->heap;
    enum uqff_code code =
        uqff_grow(&items, &s->heap_capacity, s->heap_count + 1, sizeof *s->heap, err);
    s->heap = items;
    if (code != UQFF_OK) {
        return code;
    }
    size_t i = s->heap_count++;
    while (i > 0 && goes_before(entry, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = *entry;
    return UQFF_OK;
}

static struct heap_entry pop(struct merge_scratch *s) {
    struct heap_entry top = s->heap[0], last = s->heap[--s->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->heap_count) {
            break;
        }
        if (child + 1 < s->heap_count && goes_before(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (!goes_before(&s->heap[child], &last)) {
            break;
        }
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static enum uqff_code push_pair(const struct pair_table *pairs, struct merge_scratch *s,
                                uint32_t left, struct uqff_error *err) {
    if (left == NO_SYMBOL || s->symbols[left].next == NO_SYMBOL) {
        return UQFF_OK;
    }
    uint32_t a = s->symbols[left].id, b = s->symbols[s->symbols[left].next].id;
    const struct pair_slot *slot = uqff_pairs_find(pairs, a, b);
    if (slot == NULL) {
        return UQFF_OK;
    }
    struct heap_entry entry = {slot->rank, left, a, b};
    return push(s, &entry, err);
}

/* A symbol that was taken in has this id. No pair has it. */
#define GONE UINT32_MAX

/* True while both symbols of the entry are what they were when it was pushed. */
static bool still_there(const struct merge_scratch *s, const struct heap_entry *entry) {
    const struct symbol *left = &s->symbols[entry->left];
    return left->id == entry->left_id && left->next != NO_SYMBOL &&
           s->symbols[left->next].id == entry->right_id;
}

static enum uqff_code merge_long(const struct pair_table *pairs, struct merge_scratch *s,
                                 size_t *count, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    size_t n = *count, kept = 0;
    s->heap_count = 0;
    for (size_t i = 0; i < n; i++) {
        s->symbols[i].prev = i == 0 ? NO_SYMBOL : (uint32_t)(i - 1);
        s->symbols[i].next = i + 1 == n ? NO_SYMBOL : (uint32_t)(i + 1);
    }
    for (size_t i = 0; i < n && code == UQFF_OK; i++) {
        code = push_pair(pairs, s, (uint32_t)i, err);
    }
    while (code == UQFF_OK && s->heap_count > 0) {
        struct heap_entry entry = pop(s);
        if (!still_there(s, &entry)) {
            continue;
        }
        struct symbol *left = &s->symbols[entry.left], *right = &s->symbols[left->next];
        left->id = uqff_pairs_find(pairs, entry.left_id, entry.right_id)->result;
        right->id = GONE;
        left->next = right->next;
        if (left->next != NO_SYMBOL) {
            s->symbols[left->next].prev = entry.left;
        }
        code = push_pair(pairs, s, left->prev, err);
        code = code != UQFF_OK ? code : push_pair(pairs, s, entry.left, err);
    }
    for (uint32_t i = 0; code == UQFF_OK && i != NO_SYMBOL; i = s->symbols[i].next) {
        s->symbols[kept++] = s->symbols[i]; /* kept <= i: what lies ahead is untouched */
    }
    *count = kept;
    return code;
}

enum uqff_code uqff_merge_symbols(const struct pair_table *pairs, struct merge_scratch *scratch,
                                  size_t *count, struct uqff_error *err) {
    if (*count <= SHORT_WORD) {
        merge_short(pairs, scratch->symbols, count);
        return UQFF_OK;
    }
    return merge_long(pairs, scratch, count, err);
}
