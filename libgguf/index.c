/* A hash table from names to numbers: open addressing, linear probing, at most half full. */
#include <string.h>

#include "internal.h"

static uint64_t hash_name(const char *name) {
    struct uqff_digest digest = uqff_hash(name, strlen(name));
    return uqff_load_le64(digest.bytes);
}

/* Names come from files, whose author could choose them to land in one place and make the look-ups
 * quadratic. Where the table lies is not known to that author, so it goes into the choice. */
static size_t first_place(const struct gguf_slot *slots, size_t capacity, uint64_t hash) {
    uint64_t mixed = (hash ^ (uint64_t)(uintptr_t)slots) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(mixed >> 32) & (capacity - 1);
}

/* The slot that holds the name, or the free one where it would go. */
static struct gguf_slot *place(struct gguf_slot *slots, size_t capacity, const char *name,
                               uint64_t hash) {
    size_t at = first_place(slots, capacity, hash);
    while (slots[at].name != NULL &&
           (slots[at].hash != hash || strcmp(slots[at].name, name) != 0)) {
        at = (at + 1) & (capacity - 1);
    }
    return &slots[at];
}

static enum uqff_code grow(struct gguf_index *index, struct uqff_error *err) {
    size_t capacity = index->capacity == 0 ? 64 : index->capacity * 2;
    struct gguf_slot *slots =
        (struct gguf_slot *)uqff_alloc_array(capacity, sizeof(struct gguf_slot));
    if (slots == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < index->capacity; i++) {
        const struct gguf_slot *old = &index->slots[i];
        if (old->name != NULL) {
            *place(slots, capacity, old->name, old->hash) = *old;
        }
    }
    uqff_free(index->slots);
    index->slots = slots;
    index->capacity = capacity;
    return UQFF_OK;
}

enum uqff_code uqff_gguf_index_add(struct gguf_index *index, const char *name, size_t number,
                                   bool *known, size_t *first, struct uqff_error *err) {
    if (index->count >= index->capacity / 2) {
        enum uqff_code code = grow(index, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    uint64_t hash = hash_name(name);
    struct gguf_slot *slot = place(index->slots, index->capacity, name, hash);
    *known = slot->name != NULL;
    if (*known) {
        *first = slot->number;
        return UQFF_OK;
    }
    *slot = (struct gguf_slot){.name = name, .hash = hash, .number = number};
    index->count++;
    return UQFF_OK;
}

bool uqff_gguf_index_find(const struct gguf_index *index, const char *name, size_t *number) {
    if (index->count == 0) {
        return false;
    }
    const struct gguf_slot *slot = place(index->slots, index->capacity, name, hash_name(name));
    *number = slot->number;
    return slot->name != NULL;
}

void uqff_gguf_index_renumber(struct gguf_index *index, const char *name, size_t number) {
    place(index->slots, index->capacity, name, hash_name(name))->number = number;
}

void uqff_gguf_index_free(struct gguf_index *index) {
    uqff_free(index->slots);
    *index = (struct gguf_index){0};
}
