/* A collection of importance: entries by name, merging, statistics. */
#include "validation/importance.h"

#include <math.h>
#include <string.h>

#include "validation/math.h"

struct uqff_importance *uqff_importance_new(void) {
    struct uqff_importance *importance = uqff_alloc_array(1, sizeof *importance);
    if (importance != NULL) {
        importance->chunk_size = UQFF_USUAL_CHUNK;
    }
    return importance;
}

void uqff_importance_free(struct uqff_importance *importance) {
    if (importance == NULL) {
        return;
    }
    for (size_t i = 0; i < importance->count; i++) {
        uqff_free(importance->entries[i].name);
        uqff_free(importance->entries[i].sums);
        uqff_free(importance->entries[i].counts);
    }
    for (size_t i = 0; i < importance->dataset_count; i++) {
        uqff_free(importance->datasets[i]);
    }
    uqff_free(importance->entries);
    uqff_free(importance->datasets);
    uqff_free(importance);
}

/* ---- entries --------------------------------------------------------------------------------- */

static char *copy_text(const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = uqff_alloc(n);
    if (copy != NULL) {
        memcpy(copy, text, n);
    }
    return copy;
}

static int order_by_name(const void *name, const void *entries, size_t i) {
    return strcmp(name, ((const struct importance_entry *)entries)[i].name);
}

/* Where a name is, or belongs. */
static size_t place_of(const struct uqff_importance *importance, const char *name, bool *found) {
    size_t place;
    *found = uqff_search(name, importance->entries, importance->count, order_by_name, &place);
    return place;
}

static enum uqff_code add_entry(struct uqff_importance *importance, size_t at, const char *name,
                                size_t matrices, size_t columns, struct uqff_error *err) {
    uint64_t n;
    size_t values;
    if (!uqff_mul_u64(matrices, columns, &n) || !uqff_to_size(n, &values)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET, "entry '%s' does not fit memory",
                         name);
    }
    void *items = importance->entries;
    enum uqff_code code = uqff_grow(&items, &importance->capacity, importance->count + 1,
                                    sizeof *importance->entries, err);
    importance->entries = items;
    if (code != UQFF_OK) {
        return code;
    }
    struct importance_entry entry = {
        .name = copy_text(name),
        .matrices = matrices,
        .columns = columns,
        .sums = uqff_alloc_array(values, sizeof(double)),
        .counts = uqff_alloc_array(matrices, sizeof(double)),
    };
    if (entry.name == NULL || entry.sums == NULL || entry.counts == NULL) {
        uqff_free(entry.name);
        uqff_free(entry.sums);
        uqff_free(entry.counts);
        return uqff_fail_memory(err);
    }
    memmove(&importance->entries[at + 1], &importance->entries[at],
            (importance->count - at) * sizeof entry);
    importance->entries[at] = entry;
    importance->count++;
    return UQFF_OK;
}

/* Files of the older form do not tell experts apart: they have one count for all values. */
static enum uqff_code split_matrices(struct importance_entry *entry, size_t matrices,
                                     struct uqff_error *err) {
    double *counts = uqff_alloc_array(matrices, sizeof *counts);
    if (counts == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t m = 0; m < matrices; m++) {
        counts[m] = entry->counts[0];
    }
    uqff_free(entry->counts);
    entry->counts = counts;
    entry->columns /= matrices;
    entry->matrices = matrices;
    return UQFF_OK;
}

/* Whether values of this shape can be added to an entry. */
static enum uqff_code check_shape(const struct importance_entry *entry, size_t matrices,
                                  size_t columns, struct uqff_error *err) {
    bool apart = entry->matrices != matrices && entry->matrices != 1 && matrices != 1;
    if (!apart && entry->matrices * entry->columns == matrices * columns) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                     "entry '%s': found %zu by %zu values, expected %zu by %zu as before",
                     entry->name, matrices, columns, entry->matrices, entry->columns);
}

enum uqff_code uqff_importance_entry(struct uqff_importance *importance, const char *name,
                                     size_t matrices, size_t columns, struct importance_entry **out,
                                     struct uqff_error *err) {
    bool found;
    size_t at = place_of(importance, name, &found);
    enum uqff_code code = found ? check_shape(&importance->entries[at], matrices, columns, err)
                                : add_entry(importance, at, name, matrices, columns, err);
    if (code != UQFF_OK) {
        return code;
    }
    *out = &importance->entries[at];
    return (*out)->matrices < matrices ? split_matrices(*out, matrices, err) : UQFF_OK;
}

enum uqff_code uqff_importance_dataset(struct uqff_importance *importance, const char *name,
                                       struct uqff_error *err) {
    void *items = importance->datasets;
    if (name == NULL || name[0] == '\0') {
        return UQFF_OK;
    }
    for (size_t i = 0; i < importance->dataset_count; i++) {
        if (strcmp(importance->datasets[i], name) == 0) {
            return UQFF_OK;
        }
    }
    enum uqff_code code = uqff_grow(&items, &importance->dataset_capacity,
                                    importance->dataset_count + 1, sizeof(char *), err);
    importance->datasets = items;
    if (code != UQFF_OK) {
        return code;
    }
    char *copy = copy_text(name);
    if (copy == NULL) {
        return uqff_fail_memory(err);
    }
    importance->datasets[importance->dataset_count++] = copy;
    return UQFF_OK;
}

/* ---- merging --------------------------------------------------------------------------------- */

static enum uqff_code merge_entry(struct uqff_importance *into,
                                  const struct importance_entry *other, struct uqff_error *err) {
    struct importance_entry *entry;
    enum uqff_code code =
        uqff_importance_entry(into, other->name, other->matrices, other->columns, &entry, err);
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < entry->matrices * entry->columns; i++) {
        entry->sums[i] += other->sums[i];
    }
    for (size_t m = 0; m < entry->matrices; m++) {
        entry->counts[m] += other->counts[other->matrices == 1 ? 0 : m];
    }
    return UQFF_OK;
}

enum uqff_code uqff_importance_merge(struct uqff_importance *into,
                                     const struct uqff_importance *other, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    /* Nothing is added before it is known that all can be. */
    for (size_t i = 0; i < other->count && code == UQFF_OK; i++) {
        const struct importance_entry *entry = &other->entries[i];
        bool found;
        size_t at = place_of(into, entry->name, &found);
        if (found) {
            code = check_shape(&into->entries[at], entry->matrices, entry->columns, err);
        }
    }
    for (size_t i = 0; i < other->count && code == UQFF_OK; i++) {
        code = merge_entry(into, &other->entries[i], err);
    }
    for (size_t i = 0; i < other->dataset_count && code == UQFF_OK; i++) {
        code = uqff_importance_dataset(into, other->datasets[i], err);
    }
    if (code == UQFF_OK) {
        into->chunks += other->chunks;
    }
    return code;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The older form has averages times calls, a call being a chunk; mistral.rs's only averages, which
 * count as one chunk. */
static enum uqff_code take_entry(struct uqff_importance *importance,
                                 const struct uqff_imatrix_entry *from, double scale,
                                 struct uqff_error *err) {
    struct importance_entry *entry;
    enum uqff_code code = uqff_importance_entry(importance, from->name, (size_t)from->matrices,
                                                (size_t)from->columns, &entry, err);
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < entry->matrices * entry->columns; i++) {
        entry->sums[i] = scale * (double)(from->sums != NULL ? from->sums[i] : from->values[i]);
    }
    for (size_t m = 0; m < entry->matrices; m++) {
        entry->counts[m] = scale * (from->counts != NULL ? (double)from->counts[m] : 1);
    }
    return UQFF_OK;
}

enum uqff_code uqff_importance_open(const char *path, struct uqff_importance **out,
                                    struct uqff_error *err) {
    struct uqff_imatrix *imatrix = NULL;
    enum uqff_code code = uqff_imatrix_open(path, &imatrix, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_importance *importance = uqff_importance_new();
    uint64_t chunk_size = uqff_imatrix_chunk_size(imatrix);
    double scale = chunk_size == 0 ? UQFF_USUAL_CHUNK : 1;
    code = importance == NULL ? uqff_fail_memory(err) : UQFF_OK;
    for (size_t i = 0; i < uqff_imatrix_count(imatrix) && code == UQFF_OK; i++) {
        code = take_entry(importance, uqff_imatrix_entry(imatrix, i), scale, err);
    }
    if (code == UQFF_OK) {
        importance->chunks = uqff_imatrix_chunks(imatrix);
        importance->chunk_size = chunk_size != 0 ? chunk_size : UQFF_USUAL_CHUNK;
    }
    for (size_t i = 0; i < uqff_imatrix_dataset_count(imatrix) && code == UQFF_OK; i++) {
        code = uqff_importance_dataset(importance, uqff_imatrix_dataset_at(imatrix, i), err);
    }
    uqff_imatrix_close(imatrix);
    if (code != UQFF_OK) {
        uqff_importance_free(importance);
        return code;
    }
    *out = importance;
    return UQFF_OK;
}

/* ---- statistics ------------------------------------------------------------------------------ */

size_t uqff_importance_count(const struct uqff_importance *importance) {
    return importance->count;
}

/* The mean square of a column; where nothing was seen, every column counts the same. */
static double value_of(const struct importance_entry *entry, size_t i) {
    double count = entry->counts[i / entry->columns];
    return count > 0 ? entry->sums[i] / count : 1;
}

/* The entry of the same name one layer before; NULL when there is none. */
static const struct importance_entry *layer_before(const struct uqff_importance *importance,
                                                   const struct importance_entry *entry) {
    char name[300];
    uint64_t layer = 0;
    const char *digit = entry->name + 4;
    if (strncmp(entry->name, "blk.", 4) != 0 || *digit < '0' || *digit > '9') {
        return NULL;
    }
    for (; *digit >= '0' && *digit <= '9' && layer < UINT32_MAX; digit++) {
        layer = 10 * layer + (uint64_t)(*digit - '0');
    }
    if (layer == 0 || strlen(digit) + 32 > sizeof name) {
        return NULL;
    }
    struct uqff_buffer text = {0};
    bool found = false;
    uqff_buffer_printf(&text, "blk.%llu%s", (unsigned long long)(layer - 1), digit);
    size_t at = text.failed ? 0 : place_of(importance, text.data, &found);
    uqff_buffer_free(&text);
    return found && importance->entries[at].columns == entry->columns &&
                   importance->entries[at].matrices == entry->matrices
               ? &importance->entries[at]
               : NULL;
}

static double cosine_of(const struct importance_entry *a, const struct importance_entry *b) {
    double product = 0, a2 = 0, b2 = 0;
    for (size_t i = 0; i < a->matrices * a->columns; i++) {
        double x = value_of(a, i), y = value_of(b, i);
        product += x * y;
        a2 += x * x;
        b2 += y * y;
    }
    return a2 > 0 && b2 > 0 ? product / (uqff_math_sqrt(a2) * uqff_math_sqrt(b2)) : 0;
}

#define ACTIVE 1e-5 /* what llama.cpp takes for more than nothing */

void uqff_importance_stats(const struct uqff_importance *importance, size_t i,
                           struct uqff_importance_stats *out) {
    const struct importance_entry *entry = &importance->entries[i];
    size_t n = entry->matrices * entry->columns, active = 0, outliers = 0;
    double square = 0;
    *out = (struct uqff_importance_stats){
        .name = entry->name, .columns = n, .min = value_of(entry, 0), .max = value_of(entry, 0)};
    for (size_t k = 0; k < n; k++) {
        double value = value_of(entry, k);
        out->sum += value;
        square += value * value;
        out->min = value < out->min ? value : out->min;
        out->max = value > out->max ? value : out->max;
        active += value > ACTIVE ? 1 : 0;
    }
    out->mean = out->sum / (double)n;
    double variance = square / (double)n - out->mean * out->mean;
    out->deviation = variance > 0 ? uqff_math_sqrt(variance) : 0;
    out->active = (double)active / (double)n;
    for (size_t k = 0; k < n; k++) {
        double value = value_of(entry, k), share = out->sum > 0 ? value / out->sum : 0;
        out->entropy -= share > 0 ? share * uqff_math_log(share) / 0.69314718055994530942 : 0;
        outliers += out->deviation > 0 && (value - out->mean) / out->deviation > 1 ? 1 : 0;
    }
    if (n > 1) {
        out->normalized_entropy = out->entropy * 0.69314718055994530942 / uqff_math_log((double)n);
    }
    out->z_density = (double)outliers / (double)n;
    const struct importance_entry *before = layer_before(importance, entry);
    out->cosine = before != NULL ? cosine_of(entry, before) : (double)NAN;
}
