/* Importance in llama.cpp's two forms. Entries are in order of name; numbers are float32. */
#include <float.h>
#include <string.h>

#include "validation/importance.h"

static enum uqff_code fail_large(const struct importance_entry *entry, size_t i,
                                 struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                     "entry '%s': value %zu: found %g, more than a float32 can hold", entry->name,
                     i, entry->sums[i]);
}

static enum uqff_code fail_chunks(const struct uqff_importance *importance,
                                  struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                     "found %llu chunks, more than a file can hold",
                     (unsigned long long)importance->chunks);
}

/* ---- GGUF: NAME.in_sum2 [columns, matrices], NAME.counts [1, matrices] ----------------------- */

/* ggml writes no trailing dimension of 1. */

static enum uqff_code set_keys(const struct uqff_importance *importance,
                               struct uqff_gguf_layout *layout, struct uqff_error *err) {
    struct uqff_gguf_string *names = uqff_alloc_array(importance->dataset_count, sizeof *names);
    if (names == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < importance->dataset_count; i++) {
        names[i].bytes = importance->datasets[i];
        names[i].length = strlen(importance->datasets[i]);
    }
    enum uqff_code code = uqff_gguf_set_string(layout, "general.type", "imatrix", 7, err);
    code = code != UQFF_OK ? code
                           : uqff_gguf_set_strings(layout, "imatrix.datasets", names,
                                                   importance->dataset_count, err);
    code = code != UQFF_OK ? code
                           : uqff_gguf_set_u64(layout, "imatrix.chunk_count", UQFF_GGUF_U32,
                                               importance->chunks, err);
    code = code != UQFF_OK ? code
                           : uqff_gguf_set_u64(layout, "imatrix.chunk_size", UQFF_GGUF_U32,
                                               importance->chunk_size, err);
    uqff_free(names);
    return code;
}

static enum uqff_code add_tensors(const struct uqff_importance *importance,
                                  struct uqff_gguf_layout *layout, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < importance->count && code == UQFF_OK; i++) {
        const struct importance_entry *entry = &importance->entries[i];
        const uint64_t sums[2] = {entry->columns, entry->matrices},
                       counts[2] = {1, entry->matrices};
        const unsigned rank = entry->matrices > 1 ? 2 : 1;
        struct uqff_buffer name = {0};
        uqff_buffer_printf(&name, "%s.in_sum2", entry->name);
        code = name.failed
                   ? uqff_fail_memory(err)
                   : uqff_gguf_layout_add(layout, name.data, UQFF_TYPE_F32, sums, rank, err);
        uqff_buffer_free(&name);
        uqff_buffer_printf(&name, "%s.counts", entry->name);
        if (code == UQFF_OK) {
            code = name.failed
                       ? uqff_fail_memory(err)
                       : uqff_gguf_layout_add(layout, name.data, UQFF_TYPE_F32, counts, rank, err);
        }
        uqff_buffer_free(&name);
    }
    return code;
}

/* Floats at the place of a tensor, and zeros behind them up to the next. */
static enum uqff_code write_floats(struct uqff_sink *sink, const struct uqff_gguf_layout *layout,
                                   size_t tensor, const double *values, size_t n,
                                   struct uqff_error *err) {
    unsigned char piece[4096];
    uint64_t offset, bytes;
    size_t file;
    enum uqff_code code = UQFF_OK;
    uqff_gguf_layout_place(layout, tensor, &file, &offset, &bytes);
    for (size_t i = 0; i < n && code == UQFF_OK; i += sizeof piece / 4) {
        size_t count = n - i < sizeof piece / 4 ? n - i : sizeof piece / 4;
        for (size_t k = 0; k < count; k++) {
            uqff_store_le_f32(piece + 4 * k, (float)values[i + k]);
        }
        code = uqff_sink_write(sink, offset + 4 * (uint64_t)i, piece, 4 * count, err);
    }
    return code;
}

/* The one that readers assume where no key says another. */
enum { IMATRIX_ALIGNMENT = 32 };

static enum uqff_code check_gguf(const struct uqff_importance *importance, struct uqff_error *err) {
    for (size_t i = 0; i < importance->count; i++) {
        const struct importance_entry *entry = &importance->entries[i];
        for (size_t k = 0; k < entry->matrices * entry->columns; k++) {
            if (entry->sums[k] > (double)FLT_MAX) {
                return fail_large(entry, k, err);
            }
        }
    }
    return importance->chunks <= UINT32_MAX ? UQFF_OK : fail_chunks(importance, err);
}

static enum uqff_code write_gguf(const struct uqff_importance *importance, struct uqff_sink *sink,
                                 struct uqff_error *err) {
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_code code = check_gguf(importance, err);
    code = code != UQFF_OK ? code : uqff_gguf_layout_new(IMATRIX_ALIGNMENT, &layout, err);
    code = code != UQFF_OK ? code : set_keys(importance, layout, err);
    code = code != UQFF_OK ? code : add_tensors(importance, layout, err);
    code = code != UQFF_OK ? code : uqff_gguf_layout_finish(layout, 0, 0, err);
    code = code != UQFF_OK ? code : uqff_gguf_layout_write_header(layout, 0, sink, err);
    for (size_t i = 0; i < importance->count && code == UQFF_OK; i++) {
        const struct importance_entry *entry = &importance->entries[i];
        code =
            write_floats(sink, layout, 2 * i, entry->sums, entry->matrices * entry->columns, err);
        code = code != UQFF_OK
                   ? code
                   : write_floats(sink, layout, 2 * i + 1, entry->counts, entry->matrices, err);
    }
    uqff_gguf_layout_free(layout);
    return code;
}

/* ---- .dat ------------------------------------------------------------------------------------ */

static void append_u32(struct uqff_buffer *out, uint64_t value) {
    unsigned char bytes[4];
    uqff_store_le32(bytes, (uint32_t)value);
    uqff_buffer_append(out, bytes, sizeof bytes);
}

/* Calls are chunks: as many as the rows of the busiest matrix fill. */
static double calls_of(const struct importance_entry *entry, uint64_t chunk_size) {
    double most = 0;
    for (size_t m = 0; m < entry->matrices; m++) {
        most = entry->counts[m] > most ? entry->counts[m] : most;
    }
    if (most >= (double)INT32_MAX * (double)chunk_size) {
        return (double)INT32_MAX + 1;
    }
    /* Below 2^63: chunk_size is a number of 32 bits. */
    const uint64_t rows = (uint64_t)most;
    const uint64_t calls = rows / chunk_size + (rows % chunk_size != 0);
    return calls == 0 ? 1 : (double)calls;
}

/* An expert that was never chosen weighs 1 throughout. Rounded where llama.cpp rounds, so that the
 * same sums give the same file. */
static float dat_value(const struct importance_entry *entry, size_t i, double calls) {
    const double count = entry->counts[i / entry->columns];
    const float mean = count > 0 ? (float)entry->sums[i] / (float)count : 1;
    return mean * (float)calls;
}

static void append_entry(struct uqff_buffer *out, const struct importance_entry *entry,
                         uint64_t chunk_size) {
    const size_t n = entry->matrices * entry->columns;
    const double calls = calls_of(entry, chunk_size);
    append_u32(out, strlen(entry->name));
    uqff_buffer_append(out, entry->name, strlen(entry->name));
    append_u32(out, (uint64_t)calls);
    append_u32(out, n);
    for (size_t i = 0; i < n; i++) {
        unsigned char bytes[4];
        uqff_store_le_f32(bytes, dat_value(entry, i, calls));
        uqff_buffer_append(out, bytes, sizeof bytes);
    }
}

static enum uqff_code check_dat_entry(const struct importance_entry *entry, uint64_t chunk_size,
                                      struct uqff_error *err) {
    const size_t n = entry->matrices * entry->columns;
    const double calls = calls_of(entry, chunk_size);
    if (n > INT32_MAX || calls > INT32_MAX) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "entry '%s': found %zu values of %.0f calls, more than a .dat can hold",
                         entry->name, n, calls);
    }
    for (size_t i = 0; i < n; i++) {
        if (entry->sums[i] > (double)FLT_MAX || dat_value(entry, i, calls) > FLT_MAX) {
            return fail_large(entry, i, err);
        }
    }
    return UQFF_OK;
}

static enum uqff_code check_dat(const struct uqff_importance *importance, struct uqff_error *err) {
    enum uqff_code code = importance->chunks <= INT32_MAX ? UQFF_OK : fail_chunks(importance, err);
    for (size_t i = 0; i < importance->count && code == UQFF_OK; i++) {
        code = check_dat_entry(&importance->entries[i], importance->chunk_size, err);
    }
    return code;
}

static enum uqff_code write_dat(const struct uqff_importance *importance, struct uqff_sink *sink,
                                struct uqff_error *err) {
    struct uqff_buffer out = {0};
    uint64_t at = 0;
    enum uqff_code code = check_dat(importance, err);
    const char *dataset = importance->dataset_count > 0 ? importance->datasets[0] : "";
    append_u32(&out, importance->count);
    for (size_t i = 0; i < importance->count && code == UQFF_OK; i++) {
        append_entry(&out, &importance->entries[i], importance->chunk_size);
        code =
            out.failed ? uqff_fail_memory(err) : uqff_sink_write(sink, at, out.data, out.size, err);
        at += out.size;
        out.size = 0;
    }
    append_u32(&out, importance->chunks);
    append_u32(&out, strlen(dataset));
    uqff_buffer_append(&out, dataset, strlen(dataset));
    if (code == UQFF_OK) {
        code =
            out.failed ? uqff_fail_memory(err) : uqff_sink_write(sink, at, out.data, out.size, err);
    }
    uqff_buffer_free(&out);
    return code;
}

/* ---- either ---------------------------------------------------------------------------------- */

enum uqff_code uqff_importance_write(const struct uqff_importance *importance, const char *path,
                                     bool as_dat, bool overwrite, struct uqff_error *err) {
    struct uqff_sink *sink = NULL;
    if (importance->count == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: nothing was collected, so there is nothing to write", path);
    }
    enum uqff_code code = uqff_sink_create(path, overwrite, &sink, err);
    if (code == UQFF_OK) {
        code = as_dat ? write_dat(importance, sink, err) : write_gguf(importance, sink, err);
        if (code == UQFF_E_LIMIT) {
            uqff_error_prefix(err, "%s", path);
        }
    }
    code = code != UQFF_OK ? code : uqff_sink_flush(sink, err);
    code = code != UQFF_OK ? code : uqff_sink_publish(sink, err);
    uqff_sink_close(sink);
    return code;
}
