/*
 * The table of digests, the last entry of a shard: U8 [n, 16], big-endian XXH3-128.
 *
 *   row 0        the header's JSON without its padding
 *   row 1 …      every entry before the table, in data order
 */
#include <string.h>

#include "container/internal.h"

static enum uqff_code check_table(const struct uqff_container *container, size_t shard,
                                  const struct uqff_st_tensor *table, size_t index, size_t number,
                                  struct uqff_error *err) {
    size_t count = uqff_safetensors_count(container->shards[shard].file);
    const char *where = uqff_container_where(container, shard);
    if (number != shard) {
        return uqff_fail(err, UQFF_E_LAYOUT, table->offset,
                         "%s: '%s': this is shard %zu, expected '%zu@uqff.digests'", where,
                         table->name, shard, shard);
    }
    if (table->dtype != UQFF_DTYPE_U8 || table->rank != 2 || table->shape[1] != 16 ||
        table->shape[0] != count) {
        return uqff_fail(err, UQFF_E_SHAPE, table->offset,
                         "%s: '%s': found %s of rank %u and %llu bytes, expected U8 [%zu, 16]: one "
                         "row more than there are entries before it",
                         where, table->name, uqff_dtype_name(table->dtype), table->rank,
                         (unsigned long long)table->bytes, count);
    }
    if (index != count - 1) {
        return uqff_fail(err, UQFF_E_LAYOUT, table->offset,
                         "%s: '%s': entries lie behind it, expected it to be the last", where,
                         table->name);
    }
    return UQFF_OK;
}

enum uqff_code uqff_container_load_digests(struct uqff_container *container,
                                           struct uqff_error *err) {
    for (size_t s = 0; s < container->shard_count; s++) {
        struct uqff_container_shard *shard = &container->shards[s];
        size_t count = uqff_safetensors_count(shard->file);
        const struct uqff_st_tensor *table = NULL;
        for (size_t i = 0; i < count; i++) {
            const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(shard->file, i);
            struct uqff_entry_name name;
            uqff_container_name_parse(tensor->name, tensor->name_length, &name);
            if (name.kind != UQFF_NAME_DIGESTS) {
                continue;
            }
            enum uqff_code code = check_table(container, s, tensor, i, (size_t)name.number, err);
            if (code != UQFF_OK) {
                return code;
            }
            table = tensor;
        }
        if (table == NULL) {
            continue;
        }
        /* As large as the header has entries, so no more than what is present. */
        size_t n = (size_t)table->bytes;
        unsigned char *rows = uqff_arena_alloc(&container->arena, n);
        if (rows == NULL) {
            return uqff_fail_memory(err);
        }
        enum uqff_code code = uqff_source_read(shard->source, table->offset, rows, n, err);
        if (code != UQFF_OK) {
            return code;
        }
        shard->digests = rows;
    }
    return UQFF_OK;
}

/* The order that the safetensors reader keeps: offset, empty entries first, name. */
static int order_by_place(const void *key, const void *file, size_t i) {
    const struct uqff_st_tensor *tensor = key, *t = uqff_safetensors_tensor(file, i);
    int order = (tensor->offset > t->offset) - (tensor->offset < t->offset);
    if (order == 0) {
        order = (tensor->bytes != 0) - (t->bytes != 0);
    }
    return order != 0 ? order : strcmp(tensor->name, t->name);
}

bool uqff_container_entry_digest(const struct uqff_container *container, struct uqff_entry entry,
                                 struct uqff_digest *out) {
    const struct uqff_container_shard *shard = &container->shards[entry.shard];
    if (shard->digests == NULL) {
        return false;
    }
    size_t place, count = uqff_safetensors_count(shard->file);
    /* The table itself has no row. */
    if (!uqff_search(entry.tensor, shard->file, count, order_by_place, &place) ||
        place + 1 >= count) {
        return false;
    }
    memcpy(out->bytes, shard->digests + (place + 1) * sizeof out->bytes, sizeof out->bytes);
    return true;
}

bool uqff_container_header_digest(const struct uqff_container *container, size_t shard,
                                  struct uqff_digest *out) {
    const unsigned char *rows = container->shards[shard].digests;
    if (rows == NULL) {
        return false;
    }
    memcpy(out->bytes, rows, sizeof out->bytes);
    return true;
}
