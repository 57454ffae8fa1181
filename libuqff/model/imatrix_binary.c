/* The two forms without a magic number: llama.cpp's older .dat and mistral.rs's .cimatrix. Every
 * count is held against the bytes that are left before anything is done with it. */
#include <string.h>

#include "model/imatrix.h"

struct cursor {
    struct uqff_source *source;
    uint64_t at, size;
};

static enum uqff_code fail_at(const struct cursor *c, enum uqff_code code, const char *what,
                              long long found, const char *expected, struct uqff_error *err) {
    return uqff_fail(err, code, c->at, "%s: %s at byte %llu: found %lld, expected %s",
                     uqff_source_name(c->source), what, (unsigned long long)c->at, found, expected);
}

static enum uqff_code need(const struct cursor *c, uint64_t n, const char *what,
                           struct uqff_error *err) {
    if (n <= c->size - c->at) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_TRUNCATED, c->at,
                     "%s: %s at byte %llu: found %llu bytes left, expected %llu",
                     uqff_source_name(c->source), what, (unsigned long long)c->at,
                     (unsigned long long)(c->size - c->at), (unsigned long long)n);
}

static enum uqff_code take(struct cursor *c, void *out, size_t n, const char *what,
                           struct uqff_error *err) {
    enum uqff_code code = need(c, n, what, err);
    code = code != UQFF_OK ? code : uqff_source_read(c->source, c->at, out, n, err);
    if (code == UQFF_OK) {
        c->at += n;
    }
    return code;
}

/* A signed 32-bit number that must lie above 0. */
static enum uqff_code take_positive(struct cursor *c, const char *what, uint32_t *out,
                                    struct uqff_error *err) {
    unsigned char bytes[4];
    enum uqff_code code = take(c, bytes, sizeof bytes, what, err);
    if (code != UQFF_OK) {
        return code;
    }
    *out = uqff_load_le32(bytes);
    if (*out == 0 || *out > INT32_MAX) {
        c->at -= sizeof bytes;
        return fail_at(c, UQFF_E_FIELD, what, (int32_t)*out, "a number above 0", err);
    }
    return UQFF_OK;
}

static enum uqff_code take_u64(struct cursor *c, const char *what, uint64_t *out,
                               struct uqff_error *err) {
    unsigned char bytes[8];
    enum uqff_code code = take(c, bytes, sizeof bytes, what, err);
    *out = code == UQFF_OK ? uqff_load_le64(bytes) : 0;
    return code;
}

/* A name: UTF-8 without NUL, so that it can be compared and printed. */
static enum uqff_code take_name(struct uqff_imatrix *imatrix, struct cursor *c, uint64_t n,
                                const char *what, char **out, struct uqff_error *err) {
    enum uqff_code code = need(c, n, what, err);
    if (code != UQFF_OK) {
        return code;
    }
    char *name = uqff_arena_alloc(&imatrix->arena, (size_t)n + 1);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    uint64_t begin = c->at;
    code = take(c, name, (size_t)n, what, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (memchr(name, 0, (size_t)n) != NULL || !uqff_utf8_valid(name, (size_t)n, NULL)) {
        return uqff_fail(err, UQFF_E_ENCODING, begin,
                         "%s: %s at byte %llu: found bytes that are not UTF-8 without NUL",
                         uqff_source_name(c->source), what, (unsigned long long)begin);
    }
    *out = name;
    return UQFF_OK;
}

static enum uqff_code take_values(struct uqff_imatrix *imatrix, struct cursor *c, const char *name,
                                  uint64_t n, float **values, struct uqff_error *err) {
    if (n > (c->size - c->at) / 4) {
        return uqff_fail(err, UQFF_E_TRUNCATED, c->at,
                         "%s: entry '%s': found %llu bytes left, expected %llu values",
                         uqff_source_name(c->source), name, (unsigned long long)(c->size - c->at),
                         (unsigned long long)n);
    }
    enum uqff_code code = uqff_imatrix_add(imatrix, name, 1, n, values, err);
    code = code != UQFF_OK ? code : uqff_imatrix_floats(c->source, c->at, *values, (size_t)n, err);
    c->at += 4 * n;
    return code;
}

/* ---- .dat: i32 count; per entry i32 length, name, i32 calls, i32 count, f32 values ----------- */

static enum uqff_code read_dat_entry(struct uqff_imatrix *imatrix, struct cursor *c,
                                     struct uqff_error *err) {
    uint32_t length, calls, n;
    char *name;
    float *values, *counts;
    enum uqff_code code = take_positive(c, "name length", &length, err);
    code = code != UQFF_OK ? code : take_name(imatrix, c, length, "name", &name, err);
    code = code != UQFF_OK ? code : take_positive(c, "number of calls", &calls, err);
    code = code != UQFF_OK ? code : take_positive(c, "number of values", &n, err);
    code = code != UQFF_OK ? code : take_values(imatrix, c, name, n, &values, err);
    code = code != UQFF_OK ? code : uqff_imatrix_add_sums(imatrix, &counts, err);
    if (code != UQFF_OK) {
        return code;
    }
    counts[0] = (float)calls;
    for (uint32_t i = 0; i < n; i++) {
        values[i] /= (float)calls;
    }
    return UQFF_OK;
}

/* Optional: i32 chunks; then, also optional, i32 length and the path of the text. */
static enum uqff_code read_dat_tail(struct uqff_imatrix *imatrix, struct cursor *c,
                                    struct uqff_error *err) {
    unsigned char bytes[4];
    char *dataset = NULL;
    if (c->at == c->size) {
        return UQFF_OK;
    }
    enum uqff_code code = take(c, bytes, sizeof bytes, "number of chunks", err);
    if (code != UQFF_OK) {
        return code;
    }
    if (uqff_load_le32(bytes) > INT32_MAX) {
        c->at -= sizeof bytes;
        return fail_at(c, UQFF_E_FIELD, "number of chunks", (int32_t)uqff_load_le32(bytes),
                       "a number not below 0", err);
    }
    imatrix->chunks = uqff_load_le32(bytes);
    if (c->at == c->size) {
        return UQFF_OK;
    }
    code = take(c, bytes, sizeof bytes, "length of the dataset's name", err);
    if (code != UQFF_OK) {
        return code;
    }
    uint32_t length = uqff_load_le32(bytes);
    if (length != c->size - c->at) {
        return uqff_fail(err, UQFF_E_LAYOUT, c->at,
                         "%s: dataset's name at byte %llu: found length %lld, expected the %llu "
                         "bytes that are left",
                         uqff_source_name(c->source), (unsigned long long)c->at,
                         (long long)(int32_t)length, (unsigned long long)(c->size - c->at));
    }
    code = take_name(imatrix, c, length, "dataset's name", &dataset, err);
    return code != UQFF_OK ? code : uqff_imatrix_add_dataset(imatrix, dataset, err);
}

enum uqff_code uqff_imatrix_read_dat(struct uqff_imatrix *imatrix, struct uqff_source *source,
                                     struct uqff_error *err) {
    struct cursor c = {source, 0, uqff_source_size(source)};
    uint32_t count = 0;
    enum uqff_code code = take_positive(&c, "number of entries", &count, err);
    for (uint32_t i = 0; i < count && code == UQFF_OK; i++) {
        code = read_dat_entry(imatrix, &c, err);
    }
    return code != UQFF_OK ? code : read_dat_tail(imatrix, &c, err);
}

/* ---- .cimatrix: u64 count; per entry u64 length, name, u64 count, f32 values ----------------- */

static enum uqff_code read_cimatrix_entry(struct uqff_imatrix *imatrix, struct cursor *c,
                                          struct uqff_error *err) {
    uint64_t length, n;
    char *name;
    float *values;
    enum uqff_code code = take_u64(c, "name length", &length, err);
    if (code == UQFF_OK && length == 0) {
        return uqff_fail(
            err, UQFF_E_UNSUPPORTED, c->at,
            "%s: entry at byte %llu has no name; a .cimatrix of the older form numbers "
            "its entries, and is not read",
            uqff_source_name(c->source), (unsigned long long)(c->at - 8));
    }
    code = code != UQFF_OK ? code : take_name(imatrix, c, length, "name", &name, err);
    code = code != UQFF_OK ? code : take_u64(c, "number of values", &n, err);
    if (code == UQFF_OK && n == 0) {
        return fail_at(c, UQFF_E_FIELD, "number of values", 0, "a number above 0", err);
    }
    return code != UQFF_OK ? code : take_values(imatrix, c, name, n, &values, err);
}

enum uqff_code uqff_imatrix_read_cimatrix(struct uqff_imatrix *imatrix, struct uqff_source *source,
                                          struct uqff_error *err) {
    struct cursor c = {source, 0, uqff_source_size(source)};
    uint64_t count = 0;
    enum uqff_code code = take_u64(&c, "number of entries", &count, err);
    for (uint64_t i = 0; i < count && code == UQFF_OK; i++) {
        code = read_cimatrix_entry(imatrix, &c, err);
    }
    if (code == UQFF_OK && c.at != c.size) {
        return uqff_fail(err, UQFF_E_LAYOUT, c.at, "%s: found %llu bytes behind the last entry",
                         uqff_source_name(source), (unsigned long long)(c.size - c.at));
    }
    return code;
}
