/* Importance matrices: telling the forms apart, and what all have in common. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/imatrix.h"

enum uqff_code uqff_imatrix_add(struct uqff_imatrix *imatrix, const char *name, uint64_t matrices,
                                uint64_t columns, float **values, struct uqff_error *err) {
    size_t n;
    void *items = imatrix->entries;
    enum uqff_code code =
        uqff_grow(&items, &imatrix->capacity, imatrix->count + 1, sizeof *imatrix->entries, err);
    imatrix->entries = items;
    if (code != UQFF_OK) {
        return code;
    }
    *values = uqff_to_size(matrices * columns, &n)
                  ? uqff_arena_array(&imatrix->arena, n, sizeof **values)
                  : NULL;
    if (*values == NULL) {
        return uqff_fail_memory(err);
    }
    imatrix->entries[imatrix->count++] = (struct uqff_imatrix_entry){
        .name = name, .matrices = matrices, .columns = columns, .values = *values};
    return UQFF_OK;
}

enum uqff_code uqff_imatrix_add_sums(struct uqff_imatrix *imatrix, float **counts,
                                     struct uqff_error *err) {
    struct uqff_imatrix_entry *entry = &imatrix->entries[imatrix->count - 1];
    size_t n = (size_t)(entry->matrices * entry->columns); /* its values have it */
    float *sums = uqff_arena_array(&imatrix->arena, n, sizeof *sums);
    *counts = uqff_arena_array(&imatrix->arena, (size_t)entry->matrices, sizeof **counts);
    if (sums == NULL || *counts == NULL) {
        return uqff_fail_memory(err);
    }
    memcpy(sums, entry->values, n * sizeof *sums);
    entry->sums = sums;
    entry->counts = *counts;
    return UQFF_OK;
}

enum uqff_code uqff_imatrix_add_dataset(struct uqff_imatrix *imatrix, const char *name,
                                        struct uqff_error *err) {
    void *items = imatrix->datasets;
    enum uqff_code code = uqff_grow(&items, &imatrix->dataset_capacity, imatrix->dataset_count + 1,
                                    sizeof *imatrix->datasets, err);
    imatrix->datasets = items;
    if (code == UQFF_OK) {
        imatrix->datasets[imatrix->dataset_count++] = name;
    }
    return code;
}

enum uqff_code uqff_imatrix_floats(struct uqff_source *source, uint64_t offset, float *out,
                                   size_t n, struct uqff_error *err) {
    unsigned char bytes[8192];
    while (n > 0) {
        size_t take = n < sizeof bytes / 4 ? n : sizeof bytes / 4;
        enum uqff_code code = uqff_source_read(source, offset, bytes, 4 * take, err);
        if (code != UQFF_OK) {
            return code;
        }
        for (size_t i = 0; i < take; i++) {
            out[i] = uqff_load_le_f32(bytes + 4 * i);
        }
        offset += 4 * take;
        out += take;
        n -= take;
    }
    return UQFF_OK;
}

/* ---- checks that hold for every form --------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct uqff_imatrix_entry *)a)->name,
                  ((const struct uqff_imatrix_entry *)b)->name);
}

static enum uqff_code check_values(const struct uqff_imatrix_entry *entry, const char *where,
                                   struct uqff_error *err) {
    uint64_t n = entry->matrices * entry->columns;
    for (uint64_t i = 0; i < n; i++) {
        float value = entry->values[i];
        if (isfinite(value) && value >= 0) {
            continue;
        }
        return uqff_fail(err, isfinite(value) ? UQFF_E_FIELD : UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                         "%s: entry '%s': value %llu: found %g, expected a finite number not "
                         "below 0",
                         where, entry->name, (unsigned long long)i, (double)value);
    }
    return UQFF_OK;
}

static enum uqff_code check(struct uqff_imatrix *imatrix, const char *where,
                            struct uqff_error *err) {
    if (imatrix->count == 0) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET, "%s: holds no entries", where);
    }
    qsort(imatrix->entries, imatrix->count, sizeof *imatrix->entries, by_name);
    for (size_t i = 0; i < imatrix->count; i++) {
        if (i > 0 && by_name(&imatrix->entries[i - 1], &imatrix->entries[i]) == 0) {
            return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET, "%s: entry '%s' occurs twice",
                             where, imatrix->entries[i].name);
        }
        enum uqff_code code = check_values(&imatrix->entries[i], where, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

static enum uqff_code take_digest(struct uqff_imatrix *imatrix, struct uqff_source *source,
                                  struct uqff_error *err) {
    enum { PIECE = 65536 };
    uint64_t size = uqff_source_size(source), offset = 0;
    struct uqff_hasher *hasher = uqff_hasher_new();
    unsigned char *bytes = uqff_alloc(PIECE);
    enum uqff_code code = hasher == NULL || bytes == NULL ? uqff_fail_memory(err) : UQFF_OK;
    while (offset < size && code == UQFF_OK) {
        size_t n = (size_t)(size - offset < PIECE ? size - offset : PIECE);
        code = uqff_source_read(source, offset, bytes, n, err);
        if (code == UQFF_OK) {
            uqff_hasher_update(hasher, bytes, n);
        }
        offset += n;
    }
    if (code == UQFF_OK) {
        imatrix->digest = uqff_hasher_digest(hasher);
    }
    uqff_free(bytes);
    uqff_hasher_free(hasher);
    return code;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* A .dat begins with a 32-bit count and the length of a name, which is not 0; a .cimatrix with a
 * 64-bit count, whose upper half is, as no file holds 2^32 entries. */
static enum uqff_code read_form(struct uqff_imatrix *imatrix, struct uqff_source *source,
                                struct uqff_error *err) {
    unsigned char head[8] = {0};
    uint64_t size = uqff_source_size(source);
    enum uqff_code code =
        uqff_source_read(source, 0, head, size < sizeof head ? (size_t)size : sizeof head, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (size >= 4 && memcmp(head, "GGUF", 4) == 0) {
        return uqff_imatrix_read_gguf(imatrix, source, err);
    }
    if (size > sizeof head && uqff_load_le32(head) != 0 && uqff_load_le32(head + 4) == 0) {
        return uqff_imatrix_read_cimatrix(imatrix, source, err);
    }
    return uqff_imatrix_read_dat(imatrix, source, err);
}

enum uqff_code uqff_imatrix_open(const char *path, struct uqff_imatrix **out,
                                 struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_imatrix *imatrix = uqff_alloc_array(1, sizeof *imatrix);
    if (imatrix == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_source_open(path, &source, err);
    code = code != UQFF_OK ? code : read_form(imatrix, source, err);
    code = code != UQFF_OK ? code : check(imatrix, uqff_source_name(source), err);
    code = code != UQFF_OK ? code : take_digest(imatrix, source, err);
    uqff_source_close(source);
    if (code != UQFF_OK) {
        uqff_imatrix_close(imatrix);
        return code;
    }
    *out = imatrix;
    return UQFF_OK;
}

void uqff_imatrix_close(struct uqff_imatrix *imatrix) {
    if (imatrix == NULL) {
        return;
    }
    uqff_arena_free(&imatrix->arena);
    uqff_free(imatrix->entries);
    uqff_free(imatrix->datasets);
    uqff_free(imatrix);
}

/* ---- using it -------------------------------------------------------------------------------- */

static bool holds_any(const char *name, const char *const *substrings, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strstr(name, substrings[i]) != NULL) {
            return true;
        }
    }
    return false;
}

void uqff_imatrix_filter(struct uqff_imatrix *imatrix, const char *const *substrings, size_t count,
                         bool include) {
    size_t kept = 0;
    for (size_t i = 0; i < imatrix->count; i++) {
        if (holds_any(imatrix->entries[i].name, substrings, count) == include) {
            imatrix->entries[kept++] = imatrix->entries[i];
        }
    }
    imatrix->count = kept;
}

size_t uqff_imatrix_count(const struct uqff_imatrix *imatrix) {
    return imatrix->count;
}

const struct uqff_imatrix_entry *uqff_imatrix_entry(const struct uqff_imatrix *imatrix, size_t i) {
    return &imatrix->entries[i];
}

/* A name in two pieces. */
struct wanted {
    const char *stem, *ending;
};

static int order_by_name(const void *key, const void *entries, size_t i) {
    const struct wanted *wanted = key;
    const char *name = ((const struct uqff_imatrix_entry *)entries)[i].name;
    size_t n = strlen(wanted->stem);
    int order = strncmp(wanted->stem, name, n);
    return order != 0 ? order : strcmp(wanted->ending, name + n);
}

static const struct uqff_imatrix_entry *find(const struct uqff_imatrix *imatrix, const char *stem,
                                             const char *ending) {
    const struct wanted wanted = {stem, ending};
    size_t place;
    return uqff_search(&wanted, imatrix->entries, imatrix->count, order_by_name, &place)
               ? &imatrix->entries[place]
               : NULL;
}

const struct uqff_imatrix_entry *uqff_imatrix_find(const struct uqff_imatrix *imatrix,
                                                   const struct uqff_model_module *module) {
    const struct uqff_imatrix_entry *entry =
        module->gguf_name == NULL ? NULL : find(imatrix, module->gguf_name, ".weight");
    return entry != NULL ? entry : find(imatrix, module->name, "");
}

const char *uqff_imatrix_dataset(const struct uqff_imatrix *imatrix) {
    return imatrix->dataset_count > 0 ? imatrix->datasets[0] : "";
}

size_t uqff_imatrix_dataset_count(const struct uqff_imatrix *imatrix) {
    return imatrix->dataset_count;
}

const char *uqff_imatrix_dataset_at(const struct uqff_imatrix *imatrix, size_t i) {
    return imatrix->datasets[i];
}

uint64_t uqff_imatrix_chunks(const struct uqff_imatrix *imatrix) {
    return imatrix->chunks;
}

struct uqff_digest uqff_imatrix_digest(const struct uqff_imatrix *imatrix) {
    return imatrix->digest;
}

uint64_t uqff_imatrix_chunk_size(const struct uqff_imatrix *imatrix) {
    return imatrix->chunk_size;
}
