/* Files of UQFF 0.x: safetensors whose entries are called by numbers, each one blob. Numbers run
 * over all shards of a set. */
#include "container/legacy.h"

#include <stdlib.h>
#include <string.h>

/* ---- recognising ----------------------------------------------------------------------------- */

static bool is_number(const char *name, uint64_t *out) {
    size_t n = strlen(name);
    if (!uqff_container_all_digits(name, n) || n > 9 || (n > 1 && name[0] == '0')) {
        return false;
    }
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        *out = 10 * *out + (uint64_t)(name[i] - '0');
    }
    return true;
}

enum uqff_code uqff_legacy_is(const char *path, bool *out, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_safetensors *file = NULL;
    uint64_t number;
    enum uqff_code code = uqff_source_open(path, &source, err);
    code = code != UQFF_OK ? code : uqff_safetensors_open(source, NULL, &file, err);
    *out = code == UQFF_OK && uqff_safetensors_count(file) > 0;
    for (size_t i = 0; *out && i < uqff_safetensors_count(file); i++) {
        *out = is_number(uqff_safetensors_tensor(file, i)->name, &number);
    }
    uqff_safetensors_close(file);
    uqff_source_close(source);
    return code == UQFF_E_MEMORY ? code : UQFF_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum uqff_code open_shards(struct uqff_legacy *legacy, const char *path,
                                  const struct uqff_warner *warner, size_t *entries,
                                  struct uqff_error *err) {
    const char **paths = NULL;
    size_t count = 0;
    enum uqff_code code = uqff_container_shard_paths(path, &legacy->arena, &paths, &count, err);
    if (code != UQFF_OK) {
        return code;
    }
    legacy->shards = uqff_arena_array(&legacy->arena, count, sizeof *legacy->shards);
    if (legacy->shards == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        struct legacy_shard *shard = &legacy->shards[legacy->shard_count++];
        code = uqff_source_open(paths[i], &shard->source, err);
        if (code == UQFF_OK) {
            code = uqff_safetensors_open(shard->source, warner, &shard->file, err);
        }
        *entries += code == UQFF_OK ? uqff_safetensors_count(shard->file) : 0;
    }
    return code;
}

/* Entries of all shards by number. */
struct placed {
    uint64_t number;
    const struct uqff_st_tensor *tensor;
    struct uqff_source *source;
};

static int by_number(const void *a, const void *b) {
    const struct placed *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static enum uqff_code list_entries(const struct uqff_legacy *legacy, struct placed *list,
                                   struct uqff_error *err) {
    size_t n = 0;
    for (size_t s = 0; s < legacy->shard_count; s++) {
        const struct legacy_shard *shard = &legacy->shards[s];
        for (size_t i = 0; i < uqff_safetensors_count(shard->file); i++) {
            const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(shard->file, i);
            struct placed *placed = &list[n++];
            placed->tensor = tensor;
            placed->source = shard->source;
            if (!is_number(tensor->name, &placed->number)) {
                return uqff_fail(err, UQFF_E_NAME, tensor->offset,
                                 "%s: entry '%s': expected a number, as a UQFF 0.x file has",
                                 uqff_source_name(shard->source), tensor->name);
            }
            if (tensor->dtype != UQFF_DTYPE_U8 || tensor->rank != 1) {
                return uqff_fail(err, UQFF_E_FIELD, tensor->offset,
                                 "%s: entry '%s': found %s of rank %u, expected U8 of rank 1",
                                 uqff_source_name(shard->source), tensor->name,
                                 uqff_dtype_name(tensor->dtype), tensor->rank);
            }
        }
    }
    if (n > 1) {
        qsort(list, n, sizeof *list, by_number);
    }
    for (size_t i = 0; i < n; i++) {
        if (list[i].number != i) {
            bool twice = i > 0 && list[i].number == list[i - 1].number;
            return uqff_fail(err, twice ? UQFF_E_DUPLICATE : UQFF_E_MISSING, UQFF_NO_OFFSET,
                             "%s: found entry %llu %s, expected %zu",
                             uqff_source_name(list[i].source), (unsigned long long)list[i].number,
                             twice ? "twice" : "next", i);
        }
    }
    return UQFF_OK;
}

static enum uqff_code read_layers(struct uqff_legacy *legacy, size_t count,
                                  struct uqff_error *err) {
    struct placed *list = uqff_alloc_array(count, sizeof *list);
    legacy->layers = uqff_arena_array(&legacy->arena, count, sizeof *legacy->layers);
    enum uqff_code code = list == NULL || legacy->layers == NULL ? uqff_fail_memory(err) : UQFF_OK;
    if (code == UQFF_OK && count == 0) {
        code = uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET, "%s: holds no entry",
                         uqff_source_name(legacy->shards[0].source));
    }
    code = code != UQFF_OK ? code : list_entries(legacy, list, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = uqff_legacy_blob(list[i].source, list[i].tensor, &legacy->arena, &legacy->layers[i],
                                err);
        legacy->layer_count = i + 1;
    }
    uqff_free(list);
    return code;
}

enum uqff_code uqff_legacy_open(const char *path, const struct uqff_warner *warner,
                                struct uqff_legacy **out, struct uqff_error *err) {
    size_t entries = 0;
    struct uqff_legacy *legacy = uqff_alloc_array(1, sizeof *legacy);
    if (legacy == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = open_shards(legacy, path, warner, &entries, err);
    code = code != UQFF_OK ? code : read_layers(legacy, entries, err);
    if (code != UQFF_OK) {
        uqff_legacy_close(legacy);
        return code;
    }
    *out = legacy;
    return UQFF_OK;
}

void uqff_legacy_close(struct uqff_legacy *legacy) {
    if (legacy == NULL) {
        return;
    }
    for (size_t i = 0; i < legacy->shard_count; i++) {
        uqff_safetensors_close(legacy->shards[i].file);
        uqff_source_close(legacy->shards[i].source);
    }
    uqff_arena_free(&legacy->arena);
    uqff_free(legacy);
}

/* ---- views ----------------------------------------------------------------------------------- */

size_t uqff_legacy_count(const struct uqff_legacy *legacy) {
    return legacy->layer_count;
}

const struct uqff_legacy_layer *uqff_legacy_layer(const struct uqff_legacy *legacy, size_t i) {
    return &legacy->layers[i];
}

size_t uqff_legacy_shard_count(const struct uqff_legacy *legacy) {
    return legacy->shard_count;
}

struct uqff_source *uqff_legacy_source(const struct uqff_legacy *legacy, size_t i) {
    return legacy->shards[i].source;
}
