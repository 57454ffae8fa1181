/* Names to indices: a hash table with open addressing and linear probing. */
#include <string.h>

#include "container/internal.h"

static size_t find_slot(const struct uqff_map *map, const char *key, size_t length) {
    struct uqff_digest digest = uqff_hash(key, length);
    size_t mask = map->capacity - 1;
    size_t i = (size_t)uqff_load_le64(digest.bytes) & mask;
    /* Ends: the table is never more than half full. */
    while (map->slots[i].key != NULL &&
           (map->slots[i].length != length || memcmp(map->slots[i].key, key, length) != 0)) {
        i = (i + 1) & mask;
    }
    return i;
}

static enum uqff_code enlarge(struct uqff_map *map, struct uqff_error *err) {
    size_t capacity = map->capacity == 0 ? 64 : map->capacity * 2;
    struct uqff_map larger = {
        .slots = uqff_alloc_array(capacity, sizeof *larger.slots),
        .capacity = capacity,
        .count = map->count,
    };
    if (larger.slots == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < map->capacity; i++) {
        const struct uqff_map_slot *slot = &map->slots[i];
        if (slot->key != NULL) {
            larger.slots[find_slot(&larger, slot->key, slot->length)] = *slot;
        }
    }
    uqff_free(map->slots);
    *map = larger;
    return UQFF_OK;
}

enum uqff_code uqff_container_map_put(struct uqff_map *map, const char *key, size_t length,
                                      size_t value, size_t *existing, struct uqff_error *err) {
    if (map->count * 2 >= map->capacity) {
        enum uqff_code code = enlarge(map, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    struct uqff_map_slot *slot = &map->slots[find_slot(map, key, length)];
    if (slot->key != NULL) {
        *existing = slot->value;
        return UQFF_OK;
    }
    *slot = (struct uqff_map_slot){.key = key, .length = length, .value = value};
    map->count++;
    *existing = UQFF_NONE;
    return UQFF_OK;
}

size_t uqff_container_map_get(const struct uqff_map *map, const char *key, size_t length) {
    if (map->capacity == 0) {
        return UQFF_NONE;
    }
    const struct uqff_map_slot *slot = &map->slots[find_slot(map, key, length)];
    return slot->key == NULL ? UQFF_NONE : slot->value;
}

void uqff_container_map_free(struct uqff_map *map) {
    uqff_free(map->slots);
    *map = (struct uqff_map){0};
}
