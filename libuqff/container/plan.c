/* The plan of a container: made once, then read. */
#include <stdlib.h>
#include <string.h>

#include "container/internal.h"

enum uqff_code uqff_container_plan_add(struct uqff_container_plan *plan,
                                       const struct uqff_plan_item *item, struct uqff_error *err) {
    enum uqff_code code = uqff_grow((void **)&plan->items, &plan->capacity, plan->count + 1,
                                    sizeof *plan->items, err);
    if (code == UQFF_OK) {
        plan->items[plan->count] = *item;
        plan->items[plan->count].sequence = plan->count;
        plan->count++;
    }
    return code;
}

uint64_t uqff_container_json_bytes(const char *text) {
    uint64_t n = 2;
    for (; *text != 0; text++) {
        n += *text == '"' || *text == '\\' ? 2 : (unsigned char)*text < 0x20 ? 6 : 1;
    }
    return n;
}

/* ---- metadata -------------------------------------------------------------------------------- */

static enum uqff_code make_metadata(struct uqff_container_plan *plan,
                                    const struct uqff_container_spec *spec,
                                    struct uqff_error *err) {
    struct uqff_buffer index = {0};
    struct uqff_spec_metadata *list =
        uqff_arena_array(&plan->arena, spec->metadata_count + 5, sizeof *list);
    if (list == NULL) {
        return uqff_fail_memory(err);
    }
    size_t n = 0;
    /* These three are on every shard, the others on the first. */
    list[n++] = (struct uqff_spec_metadata){UQFF_KEY_PRODUCER, "uqff"};
    list[n++] = (struct uqff_spec_metadata){UQFF_KEY_PRODUCER_VERSION, UQFF_VERSION};
    list[n++] = (struct uqff_spec_metadata){UQFF_KEY_VERSION, "1.2.0"};
    if (spec->multi) {
        enum uqff_code code = uqff_container_index_render(spec, &index, err);
        char *text = code == UQFF_OK ? uqff_arena_copy(&plan->arena, index.data, index.size) : NULL;
        uqff_buffer_free(&index);
        if (code != UQFF_OK) {
            return code;
        }
        if (text == NULL) {
            return uqff_fail_memory(err);
        }
        list[n++] = (struct uqff_spec_metadata){UQFF_KEY_MULTI_VERSION, "1.0"};
        list[n++] = (struct uqff_spec_metadata){UQFF_KEY_MULTI_INDEX, text};
    }
    for (size_t i = 0; i < spec->metadata_count; i++) {
        list[n++] = spec->metadata[i];
    }
    plan->metadata = list;
    plan->metadata_count = n;
    return UQFF_OK;
}

/* ---- look-up --------------------------------------------------------------------------------- */

static int compare_keys(const struct uqff_plan_entry *a, const struct uqff_plan_entry *b) {
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    if (a->index != b->index) {
        return a->index < b->index ? -1 : 1;
    }
    /* Only a blob is told apart by its type. */
    return a->kind != UQFF_PLAN_BLOB ? 0 : (a->type > b->type) - (a->type < b->type);
}

struct lookup_key {
    const struct uqff_plan_item *item;
    size_t place;
};

static int compare_lookup(const void *left, const void *right) {
    const struct lookup_key *a = left, *b = right;
    int order = compare_keys(&a->item->entry, &b->item->entry);
    return order != 0 ? order : (a->place > b->place) - (a->place < b->place);
}

static enum uqff_code make_lookup(struct uqff_container_plan *plan, struct uqff_error *err) {
    struct lookup_key *keys = uqff_alloc_array(plan->count, sizeof *keys);
    plan->lookup = uqff_alloc_array(plan->count, sizeof *plan->lookup);
    if (keys == NULL || plan->lookup == NULL) {
        uqff_free(keys);
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < plan->count; i++) {
        keys[i] = (struct lookup_key){.item = &plan->items[i], .place = i};
    }
    qsort(keys, plan->count, sizeof *keys, compare_lookup);
    for (size_t i = 0; i < plan->count; i++) {
        plan->lookup[i] = keys[i].place;
    }
    uqff_free(keys);
    return UQFF_OK;
}

static int order_by_key(const void *key, const void *self, size_t i) {
    const struct uqff_container_plan *plan = self;
    return compare_keys(key, &plan->items[plan->lookup[i]].entry);
}

size_t uqff_container_plan_find(const struct uqff_container_plan *plan, enum uqff_plan_kind kind,
                                size_t index, uint32_t type) {
    const struct uqff_plan_entry key = {.kind = kind, .index = index, .type = type};
    size_t place;
    return uqff_search(&key, plan, plan->count, order_by_key, &place) ? plan->lookup[place]
                                                                      : UQFF_NONE;
}

/* ---- the plan -------------------------------------------------------------------------------- */

enum uqff_code uqff_container_plan_new(const struct uqff_container_spec *spec,
                                       struct uqff_container_plan **out, struct uqff_error *err) {
    enum uqff_code code = uqff_container_spec_check(spec, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_container_plan *plan = uqff_alloc_array(1, sizeof *plan);
    if (plan == NULL) {
        return uqff_fail_memory(err);
    }
    plan->multi = spec->multi;
    plan->stem = spec->stem;
    plan->alignment = spec->alignment == 0 ? 64 : spec->alignment;
    if ((code = make_metadata(plan, spec, err)) != UQFF_OK ||
        (code = spec->multi ? uqff_container_plan_multi(plan, spec, err)
                            : uqff_container_plan_plain(plan, spec, err)) != UQFF_OK ||
        (code = uqff_container_plan_layout(plan, err)) != UQFF_OK ||
        (code = make_lookup(plan, err)) != UQFF_OK) {
        uqff_container_plan_free(plan);
        return code;
    }
    *out = plan;
    return UQFF_OK;
}

void uqff_container_plan_free(struct uqff_container_plan *plan) {
    if (plan == NULL) {
        return;
    }
    uqff_free(plan->items);
    uqff_free(plan->lookup);
    uqff_arena_free(&plan->arena);
    uqff_free(plan);
}

size_t uqff_container_plan_shard_count(const struct uqff_container_plan *plan) {
    return plan->shard_count;
}

const char *uqff_container_plan_shard_name(const struct uqff_container_plan *plan, size_t i) {
    return plan->shards[i].name;
}

uint64_t uqff_container_plan_shard_bytes(const struct uqff_container_plan *plan, size_t i) {
    return plan->shards[i].bytes;
}

size_t uqff_container_plan_count(const struct uqff_container_plan *plan) {
    return plan->count;
}

const struct uqff_plan_entry *uqff_container_plan_entry(const struct uqff_container_plan *plan,
                                                        size_t i) {
    return &plan->items[i].entry;
}
