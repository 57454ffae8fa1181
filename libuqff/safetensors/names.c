#include "safetensors/names.h"

#include <string.h>

/* Where a probe starts. The names come from files, and a file could bring names whose hashes agree
 * in the bits of a table of known form; the salt, different in every process that loads at
 * different addresses, and full mixing keep such a file from making the look-up quadratic. */
static size_t slot_of(const struct uqff_st_names *names, uint64_t hash) {
    uint64_t x = hash ^ names->salt;
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
    return (size_t)(x ^ x >> 33) & (names->slot_count - 1);
}

static uint64_t hash_of(const char *text, size_t n) {
    struct uqff_digest digest = uqff_hash(text, n);
    return uqff_load_le64(digest.bytes);
}

/* The slot that holds the name, or the empty one where it would go. The table is never full. */
static size_t probe(const struct uqff_st_names *names, const char *text, size_t n, uint64_t hash) {
    size_t slot = slot_of(names, hash);
    for (; names->slots[slot] != 0; slot = (slot + 1) & (names->slot_count - 1)) {
        const struct uqff_st_name *item = &names->items[names->slots[slot] - 1];
        if (item->hash == hash && item->length == n && memcmp(item->text, text, n) == 0) {
            break;
        }
    }
    return slot;
}

static enum uqff_code enlarge(struct uqff_st_names *names, struct uqff_error *err) {
    size_t slot_count = names->slot_count == 0 ? 16 : names->slot_count * 2;
    size_t *slots = uqff_alloc_array(slot_count, sizeof *slots);
    if (slots == NULL) {
        return uqff_fail_memory(err);
    }
    uqff_free(names->slots);
    names->slots = slots;
    names->slot_count = slot_count;
    names->salt = (uint64_t)(uintptr_t)slots;
    for (size_t i = 0; i < names->count; i++) {
        size_t slot = slot_of(names, names->items[i].hash);
        while (slots[slot] != 0) {
            slot = (slot + 1) & (slot_count - 1);
        }
        slots[slot] = i + 1;
    }
    return UQFF_OK;
}

enum uqff_code uqff_st_names_add(struct uqff_st_names *names, const char *text, size_t n,
                                 size_t *number, bool *added, struct uqff_error *err) {
    enum uqff_code code;
    if (names->count >= names->slot_count / 2 && (code = enlarge(names, err)) != UQFF_OK) {
        return code;
    }
    uint64_t hash = hash_of(text, n);
    size_t slot = probe(names, text, n, hash);
    *added = names->slots[slot] == 0;
    if (!*added) {
        *number = names->slots[slot] - 1;
        return UQFF_OK;
    }
    void *items = names->items;
    code = uqff_grow(&items, &names->capacity, names->count + 1, sizeof *names->items, err);
    names->items = items;
    if (code != UQFF_OK) {
        return code;
    }
    *number = names->count;
    names->items[names->count++] = (struct uqff_st_name){text, n, hash};
    names->slots[slot] = names->count;
    return UQFF_OK;
}

bool uqff_st_names_find(const struct uqff_st_names *names, const char *text, size_t n,
                        size_t *number) {
    if (names->count == 0) {
        return false;
    }
    size_t found = names->slots[probe(names, text, n, hash_of(text, n))];
    *number = found - 1;
    return found != 0;
}

void uqff_st_names_free(struct uqff_st_names *names) {
    uqff_free(names->items);
    uqff_free(names->slots);
    *names = (struct uqff_st_names){0};
}

int uqff_st_name_compare(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t common = a_length < b_length ? a_length : b_length;
    int order = common == 0 ? 0 : memcmp(a, b, common);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}
