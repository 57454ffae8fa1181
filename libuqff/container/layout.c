/* Where every entry of a plan lies. */
#include <stdlib.h>
#include <string.h>

#include "container/internal.h"

static int compare_sequence(const struct uqff_plan_item *a, const struct uqff_plan_item *b) {
    return (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

static int compare_multi(const void *left, const void *right) {
    const struct uqff_plan_item *a = left, *b = right;
    if (a->entry.shard != b->entry.shard) {
        return a->entry.shard < b->entry.shard ? -1 : 1;
    }
    if (a->class != b->class) {
        return a->class < b->class ? -1 : 1;
    }
    return compare_sequence(a, b);
}

/* The order of safetensors' own serializer: rank of the dtype, highest first, then name. */
static int compare_plain(const void *left, const void *right) {
    const struct uqff_plan_item *a = left, *b = right;
    if (a->entry.shard != b->entry.shard) {
        return a->entry.shard < b->entry.shard ? -1 : 1;
    }
    if (a->dtype != b->dtype) {
        return a->dtype > b->dtype ? -1 : 1;
    }
    return strcmp(a->entry.name, b->entry.name);
}

/* Zero bytes that bring `position` to the alignment that `item` wants. */
static enum uqff_code add_pad(struct uqff_container_plan *plan, struct uqff_plan_item *out,
                              const struct uqff_plan_item *item, uint64_t position, size_t number,
                              bool *added, struct uqff_error *err) {
    bool aligned = item->class == UQFF_CLASS_RESIDUAL || item->class == UQFF_CLASS_BLOB;
    uint64_t alignment = aligned ? plan->alignment : uqff_dtype_alignment(item->dtype), start;
    if (!uqff_align_u64(position, alignment, &start)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "'%s': the offset does not fit 64 bits", item->entry.name);
    }
    *added = start > position;
    if (!*added) {
        return UQFF_OK;
    }
    uint64_t *shape = uqff_arena_array(&plan->arena, 1, sizeof *shape);
    char *name = uqff_arena_printf(&plan->arena, "%zu@uqff.pad", number);
    if (shape == NULL || name == NULL) {
        return uqff_fail_memory(err);
    }
    shape[0] = start - position;
    *out = (struct uqff_plan_item){
        .entry = {.kind = UQFF_PLAN_FIXED,
                  .name = name,
                  .index = number,
                  .type = UQFF_TYPE_U8,
                  .shard = item->entry.shard,
                  .bytes = start - position},
        .class = item->class,
        .dtype = UQFF_DTYPE_U8,
        .rank = 1,
        .shape = shape,
    };
    return UQFF_OK;
}

static enum uqff_code add_digests(struct uqff_container_plan *plan, struct uqff_plan_item *out,
                                  size_t shard, size_t before, struct uqff_error *err) {
    uint64_t *shape = uqff_arena_array(&plan->arena, 2, sizeof *shape);
    char *name = uqff_arena_printf(&plan->arena, "%zu@uqff.digests", shard);
    if (shape == NULL || name == NULL) {
        return uqff_fail_memory(err);
    }
    shape[0] = before + 1;
    shape[1] = 16;
    *out = (struct uqff_plan_item){
        .entry = {.kind = UQFF_PLAN_DIGESTS,
                  .name = name,
                  .index = shard,
                  .type = UQFF_TYPE_U8,
                  .shard = shard,
                  .bytes = 16 * ((uint64_t)before + 1)},
        .class = UQFF_CLASS_DIGESTS,
        .dtype = UQFF_DTYPE_U8,
        .rank = 2,
        .shape = shape,
    };
    return UQFF_OK;
}

/* The sorted items with padding between them and a table of digests behind each shard. */
static enum uqff_code complete_multi(struct uqff_container_plan *plan, struct uqff_error *err) {
    /* At most one padding before each item. */
    size_t room = 2 * plan->count + plan->shard_count, count = 0, pads = 0;
    struct uqff_plan_item *items = uqff_alloc_array(room, sizeof *items);
    if (items == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    uint64_t position = 0;
    for (size_t i = 0, first = 0; i < plan->count; i++) {
        const struct uqff_plan_item *item = &plan->items[i];
        bool added = false;
        if ((code = add_pad(plan, &items[count], item, position, pads, &added, err)) != UQFF_OK) {
            goto out;
        }
        if (added) {
            position += items[count++].entry.bytes;
            pads++;
        }
        items[count++] = *item;
        if (!uqff_add_u64(position, item->entry.bytes, &position)) {
            code = uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "'%s': the offset does not fit 64 bits", item->entry.name);
            goto out;
        }
        if (i + 1 == plan->count || item[1].entry.shard != item->entry.shard) {
            code = add_digests(plan, &items[count], item->entry.shard, count - first, err);
            if (code != UQFF_OK) {
                goto out;
            }
            first = ++count;
            position = 0;
        }
    }
    uqff_free(plan->items);
    plan->items = items;
    plan->count = count;
    plan->capacity = room;
    items = NULL;
out:
    uqff_free(items);
    return code;
}

/* ---- headers --------------------------------------------------------------------------------- */

static unsigned header_alignment(const struct uqff_container_plan *plan) {
    return plan->multi ? plan->alignment : 8;
}

/* The layout of a shard; the caller frees it. With `offsets`, items are given theirs, in the data.
 */
static enum uqff_code build_layout(const struct uqff_container_plan *plan, size_t shard,
                                   const struct uqff_spec_metadata *metadata,
                                   struct uqff_plan_item *offsets, struct uqff_st_layout **out,
                                   struct uqff_error *err) {
    struct uqff_st_layout *layout;
    enum uqff_code code = uqff_st_layout_new(&layout, err);
    if (code != UQFF_OK) {
        return code;
    }
    size_t metadata_count = shard == 0 ? plan->metadata_count : 3;
    for (size_t i = 0; i < metadata_count && code == UQFF_OK; i++) {
        code = uqff_st_layout_metadata(layout, metadata[i].key, metadata[i].value, err);
    }
    const struct uqff_plan_shard *s = &plan->shards[shard];
    for (size_t i = s->first; i < s->first + s->count && code == UQFF_OK; i++) {
        const struct uqff_plan_item *item = &plan->items[i];
        uint64_t offset;
        code = uqff_st_layout_add(layout, item->entry.name, item->dtype, item->shape, item->rank,
                                  &offset, err);
        if (offsets != NULL && code == UQFF_OK) {
            offsets[i].entry.offset = offset;
        }
    }
    if (code != UQFF_OK) {
        uqff_st_layout_free(layout);
        return code;
    }
    *out = layout;
    return UQFF_OK;
}

enum uqff_code uqff_container_plan_header(const struct uqff_container_plan *plan, size_t shard,
                                          const struct uqff_spec_metadata *metadata,
                                          struct uqff_buffer *out, struct uqff_error *err) {
    struct uqff_st_layout *layout;
    enum uqff_code code = build_layout(plan, shard, metadata, NULL, &layout, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_st_layout_header(layout, header_alignment(plan), out, err);
    uqff_st_layout_free(layout);
    if (code == UQFF_OK && out->failed) {
        code = uqff_fail_memory(err);
    }
    return code;
}

static enum uqff_code place_shard(struct uqff_container_plan *plan, size_t shard,
                                  struct uqff_error *err) {
    struct uqff_plan_shard *s = &plan->shards[shard];
    struct uqff_st_layout *layout;
    enum uqff_code code = build_layout(plan, shard, plan->metadata, plan->items, &layout, err);
    if (code != UQFF_OK) {
        return code;
    }
    s->header_bytes = uqff_st_layout_header_bytes(layout, header_alignment(plan));
    uint64_t data = uqff_st_layout_data_bytes(layout);
    uqff_st_layout_free(layout);
    if (!uqff_add_u64(s->header_bytes, data, &s->bytes)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "'%s': its size does not fit 64 bits", s->name);
    }
    if (s->header_bytes > 8 + (uint64_t)UQFF_SAFETENSORS_MAX_HEADER) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "'%s': a header of %llu bytes, above the limit of %u", s->name,
                         (unsigned long long)(s->header_bytes - 8), UQFF_SAFETENSORS_MAX_HEADER);
    }
    for (size_t i = s->first; i < s->first + s->count; i++) {
        plan->items[i].entry.offset += s->header_bytes;
    }
    return UQFF_OK;
}

static enum uqff_code name_shards(struct uqff_container_plan *plan, struct uqff_error *err) {
    plan->shards = uqff_arena_array(&plan->arena, plan->shard_count, sizeof *plan->shards);
    if (plan->shards == NULL) {
        return uqff_fail_memory(err);
    }
    bool single = plan->multi && plan->shard_count == 1;
    for (size_t s = 0; s < plan->shard_count; s++) {
        plan->shards[s].name = single
                                   ? uqff_arena_printf(&plan->arena, "%s.uqff", plan->stem)
                                   : uqff_arena_printf(&plan->arena, "%s-%zu.uqff", plan->stem, s);
        if (plan->shards[s].name == NULL) {
            return uqff_fail_memory(err);
        }
    }
    for (size_t i = 0; i < plan->count; i++) {
        struct uqff_plan_shard *s = &plan->shards[plan->items[i].entry.shard];
        if (s->count++ == 0) {
            s->first = i;
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_container_plan_layout(struct uqff_container_plan *plan,
                                          struct uqff_error *err) {
    if (plan->shard_count > UQFF_CONTAINER_MAX_SHARDS) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET, "%zu shards, above the limit of %d",
                         plan->shard_count, UQFF_CONTAINER_MAX_SHARDS);
    }
    qsort(plan->items, plan->count, sizeof *plan->items,
          plan->multi ? compare_multi : compare_plain);
    enum uqff_code code = plan->multi ? complete_multi(plan, err) : UQFF_OK;
    if (code == UQFF_OK) {
        code = name_shards(plan, err);
    }
    for (size_t s = 0; s < plan->shard_count && code == UQFF_OK; s++) {
        code = place_shard(plan, s, err);
    }
    return code;
}
