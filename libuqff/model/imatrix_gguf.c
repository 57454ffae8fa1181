/* llama.cpp's importance matrices in GGUF: for each weight NAME the tensors NAME.in_sum2 (sums of
 * squared activations, [columns, matrices]) and NAME.counts (tokens seen, one a matrix). */
#include <math.h>
#include <string.h>

#include "model/imatrix.h"
#include "uqff/quant.h"

static const char sums_ending[] = ".in_sum2";
static const char counts_ending[] = ".counts";

static bool ends_with(const char *name, const char *ending) {
    size_t n = strlen(name), m = strlen(ending);
    return n > m && memcmp(name + n - m, ending, m) == 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static enum uqff_code fail_key(const struct uqff_gguf *file, const char *key, const char *expected,
                               struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET, "%s: key '%s': expected %s",
                     uqff_source_name(uqff_gguf_source(file, 0)), key, expected);
}

static enum uqff_code read_type(const struct uqff_gguf *file, struct uqff_error *err) {
    struct uqff_gguf_string type = {0};
    bool found;
    enum uqff_code code = uqff_gguf_get_string(file, "general.type", &found, &type, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (!found || type.length != 7 || memcmp(type.bytes, "imatrix", 7) != 0) {
        return fail_key(file, "general.type", "\"imatrix\"", err);
    }
    return UQFF_OK;
}

static enum uqff_code read_datasets(struct uqff_imatrix *imatrix, const struct uqff_gguf *file,
                                    struct uqff_error *err) {
    static const char key[] = "imatrix.datasets";
    const struct uqff_gguf_value *value = uqff_gguf_find_value(file, key);
    struct uqff_gguf_value item;
    if (value == NULL || value->kind != UQFF_GGUF_ARRAY ||
        value->as.array.kind != UQFF_GGUF_STRING) {
        return fail_key(file, key, "an array of strings", err);
    }
    struct uqff_gguf_iterator iterator = uqff_gguf_iterate(file, value);
    enum uqff_code code = UQFF_OK;
    while (code == UQFF_OK && uqff_gguf_next(&iterator, &item)) {
        const struct uqff_gguf_string text = item.as.string;
        if (memchr(text.bytes, 0, text.length) != NULL ||
            !uqff_utf8_valid(text.bytes, text.length, NULL)) {
            return fail_key(file, key, "names in UTF-8 without NUL", err);
        }
        char *name = uqff_arena_copy(&imatrix->arena, text.bytes, text.length);
        code = name == NULL ? uqff_fail_memory(err) : uqff_imatrix_add_dataset(imatrix, name, err);
    }
    return code;
}

static enum uqff_code read_count(const struct uqff_gguf *file, const char *key, uint64_t *out,
                                 struct uqff_error *err) {
    bool found;
    enum uqff_code code = uqff_gguf_get_u64(file, key, UINT32_MAX, &found, out, err);
    if (code == UQFF_OK && !found) {
        return fail_key(file, key, "a number", err);
    }
    return code;
}

static enum uqff_code read_keys(struct uqff_imatrix *imatrix, const struct uqff_gguf *file,
                                struct uqff_error *err) {
    enum uqff_code code = read_type(file, err);
    code = code != UQFF_OK ? code : read_datasets(imatrix, file, err);
    code = code != UQFF_OK ? code : read_count(file, "imatrix.chunk_count", &imatrix->chunks, err);
    code =
        code != UQFF_OK ? code : read_count(file, "imatrix.chunk_size", &imatrix->chunk_size, err);
    if (code == UQFF_OK && imatrix->chunk_size == 0) {
        return fail_key(file, "imatrix.chunk_size", "a number above 0", err);
    }
    return code;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static enum uqff_code fail_tensor(const struct uqff_gguf *file, const char *name,
                                  enum uqff_code code, const char *what, struct uqff_error *err) {
    return uqff_fail(err, code, UQFF_NO_OFFSET, "%s: tensor '%s': %s",
                     uqff_source_name(uqff_gguf_source(file, 0)), name, what);
}

/* The other tensor of a pair, by the name of this one. */
static const struct uqff_gguf_tensor *find_partner(const struct uqff_gguf *file, const char *name,
                                                   const char *own, const char *other) {
    char partner[128];
    size_t stem = strlen(name) - strlen(own);
    if (stem + strlen(other) >= sizeof partner) {
        return NULL;
    }
    memcpy(partner, name, stem);
    strcpy(partner + stem, other);
    return uqff_gguf_find_tensor(file, partner);
}

static enum uqff_code check_pair(const struct uqff_gguf *file, const struct uqff_gguf_tensor *sums,
                                 const struct uqff_gguf_tensor *counts, struct uqff_error *err) {
    if (sums->type != UQFF_TYPE_F32) {
        return fail_tensor(file, sums->name, UQFF_E_TYPE, "expected type F32", err);
    }
    if (counts->type != UQFF_TYPE_F32) {
        return fail_tensor(file, counts->name, UQFF_E_TYPE, "expected type F32", err);
    }
    if (sums->ne[0] == 0 || sums->ne[1] == 0 || sums->ne[2] != 1 || sums->ne[3] != 1) {
        return fail_tensor(file, sums->name, UQFF_E_SHAPE, "expected [columns, matrices]", err);
    }
    if (counts->ne[0] != 1 || counts->ne[1] != sums->ne[1] || counts->ne[2] != 1 ||
        counts->ne[3] != 1) {
        return fail_tensor(file, counts->name, UQFF_E_SHAPE,
                           "expected one count for each matrix of its sums", err);
    }
    return UQFF_OK;
}

static enum uqff_code check_count(const struct uqff_gguf *file, const char *name, float count,
                                  struct uqff_error *err) {
    if (isfinite(count) && count >= 0) {
        return UQFF_OK;
    }
    return fail_tensor(file, name, isfinite(count) ? UQFF_E_FIELD : UQFF_E_NONFINITE,
                       "expected finite counts not below 0", err);
}

/* Sums become means; where nothing was seen every column counts the same. */
static enum uqff_code read_pair(struct uqff_imatrix *imatrix, const struct uqff_gguf *file,
                                const struct uqff_gguf_tensor *sums,
                                const struct uqff_gguf_tensor *counts, struct uqff_error *err) {
    float *values, *all_counts;
    size_t columns = (size_t)sums->ne[0];
    size_t stem = strlen(sums->name) - (sizeof sums_ending - 1);
    char *name = uqff_arena_copy(&imatrix->arena, sums->name, stem);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_imatrix_add(imatrix, name, sums->ne[1], sums->ne[0], &values, err);
    code = code != UQFF_OK ? code
                           : uqff_imatrix_floats(uqff_gguf_source(file, sums->file), sums->offset,
                                                 values, columns * (size_t)sums->ne[1], err);
    code = code != UQFF_OK ? code : uqff_imatrix_add_sums(imatrix, &all_counts, err);
    code = code != UQFF_OK
               ? code
               : uqff_imatrix_floats(uqff_gguf_source(file, counts->file), counts->offset,
                                     all_counts, (size_t)sums->ne[1], err);
    for (uint64_t m = 0; m < sums->ne[1] && code == UQFF_OK; m++) {
        float *row = values + m * columns, count = all_counts[m];
        code = check_count(file, counts->name, count, err);
        if (code != UQFF_OK) {
            return code;
        }
        for (size_t i = 0; i < columns; i++) {
            /* A sum that is no number must not pass for want of a count. */
            bool bad = !isfinite(row[i]) || row[i] < 0;
            row[i] = bad ? row[i] : count > 0 ? row[i] / count : 1.0f;
        }
    }
    return code;
}

static enum uqff_code read_tensor(struct uqff_imatrix *imatrix, const struct uqff_gguf *file,
                                  const struct uqff_gguf_tensor *tensor, struct uqff_error *err) {
    if (ends_with(tensor->name, counts_ending)) {
        return find_partner(file, tensor->name, counts_ending, sums_ending) != NULL
                   ? UQFF_OK
                   : fail_tensor(file, tensor->name, UQFF_E_MISSING, "its .in_sum2 is missing",
                                 err);
    }
    if (!ends_with(tensor->name, sums_ending)) {
        return fail_tensor(file, tensor->name, UQFF_E_NAME, "expected NAME.in_sum2 or NAME.counts",
                           err);
    }
    const struct uqff_gguf_tensor *counts =
        find_partner(file, tensor->name, sums_ending, counts_ending);
    if (counts == NULL) {
        return fail_tensor(file, tensor->name, UQFF_E_MISSING, "its .counts is missing", err);
    }
    enum uqff_code code = check_pair(file, tensor, counts, err);
    return code != UQFF_OK ? code : read_pair(imatrix, file, tensor, counts, err);
}

enum uqff_code uqff_imatrix_read_gguf(struct uqff_imatrix *imatrix, struct uqff_source *source,
                                      struct uqff_error *err) {
    struct uqff_gguf *file = NULL;
    enum uqff_code code = uqff_gguf_open(source, NULL, &file, err);
    if (code == UQFF_OK && uqff_gguf_is_big_endian(file)) {
        code = uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: data of big-endian files is not read", uqff_source_name(source));
    }
    code = code != UQFF_OK ? code : read_keys(imatrix, file, err);
    for (size_t i = 0; code == UQFF_OK && i < uqff_gguf_tensor_count(file); i++) {
        code = read_tensor(imatrix, file, uqff_gguf_tensor(file, i), err);
    }
    uqff_gguf_close(file);
    return code;
}
