/* diff_values: are the values of two tensors the same, and how far apart are they. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "pack/diff.h"

enum { PART_ELEMENTS = 256 << 10 };

/* What the comparison of some rows gives. Parts have a fixed size and are added in order, so the
 * result does not depend on the threads. */
struct part {
    uint64_t count;               /* elements that differ */
    double max_abs, error, power; /* largest difference; sums of squares, of difference and of A */
};

struct buffers {
    unsigned char *raw[2];
    float *rows[2];
};

struct comparison {
    struct diff *diff;
    const struct diff_item *items[2];
    const struct uqff_model *models[2];
    uint64_t rows_per_part;
    bool raw; /* this pass compares bytes, which are of one type; else decoded values */
    struct part *parts;
    struct buffers *buffers; /* one a thread */
    atomic_uint_least64_t done;
};

/* ---- reading --------------------------------------------------------------------------------- */

static enum uqff_code read_raw(const struct comparison *comparison, int side, uint64_t first,
                               uint64_t rows, void *out, struct uqff_error *err) {
    const struct diff_item *item = comparison->items[side];
    if (item->is_module) {
        return uqff_model_module_raw_rows(comparison->models[side], item->index, first, rows, out,
                                          err);
    }
    return uqff_model_read(comparison->models[side], item->index, first * item->row_bytes, out,
                           (size_t)(rows * item->row_bytes), err);
}

static enum uqff_code read_rows(const struct comparison *comparison, int side, uint64_t first,
                                uint64_t rows, float *out, struct uqff_error *err) {
    const struct diff_item *item = comparison->items[side];
    return item->is_module
               ? uqff_model_read_module_rows(comparison->models[side], item->index, first, rows,
                                             out, err)
               : uqff_model_read_rows(comparison->models[side], item->index, first, rows, out, err);
}

/* ---- one part -------------------------------------------------------------------------------- */

/* Elements in blocks that differ: what can be said without decoding. */
static uint64_t count_blocks(const struct diff_item *item, const unsigned char *a,
                             const unsigned char *b, size_t n) {
    const struct uqff_type_info *info = uqff_type_info(item->type);
    uint64_t count = 0;
    if (memcmp(a, b, n) == 0) {
        return 0;
    }
    for (size_t at = 0; at < n; at += info->block_bytes) {
        if (memcmp(a + at, b + at, info->block_bytes) != 0) {
            count += info->block_length;
        }
    }
    return count;
}

static void compare_floats(struct part *part, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double x = (double)a[i], y = (double)b[i];
        if (isfinite(a[i])) {
            part->power += x * x;
        }
        if (a[i] == b[i] || (isnan(a[i]) && isnan(b[i]))) {
            continue;
        }
        const double distance = fabs(x - y);
        part->count++;
        /* A number against a NaN or an infinity is as far away as can be. */
        part->max_abs = isfinite(distance) ? fmax(part->max_abs, distance) : (double)INFINITY;
        part->error = isfinite(distance) ? part->error + distance * distance : (double)INFINITY;
    }
}

static enum uqff_code compare_part(void *context, size_t i, unsigned thread,
                                   struct uqff_error *err) {
    struct comparison *comparison = (struct comparison *)context;
    struct part *part = &comparison->parts[i];
    const struct buffers *buffers = &comparison->buffers[thread];
    const struct diff_item *item = comparison->items[0];
    const uint64_t first = i * comparison->rows_per_part, left = item->rows - first;
    const uint64_t rows = left < comparison->rows_per_part ? left : comparison->rows_per_part;
    const uint64_t elements = rows * item->columns;
    enum uqff_code code = UQFF_OK;
    for (int side = 0; side < 2 && code == UQFF_OK; side++) {
        code = comparison->raw ? read_raw(comparison, side, first, rows, buffers->raw[side], err)
                               : read_rows(comparison, side, first, rows, buffers->rows[side], err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    if (comparison->raw) {
        part->count =
            count_blocks(item, buffers->raw[0], buffers->raw[1], (size_t)(rows * item->row_bytes));
    } else {
        compare_floats(part, buffers->rows[0], buffers->rows[1], (size_t)elements);
    }
    const uint64_t done = atomic_fetch_add(&comparison->done, elements) + elements;
    return thread != 0
               ? UQFF_OK
               : uqff_progress_update(comparison->diff->progress, "diff",
                                      comparison->diff->done + done, comparison->diff->total, err);
}

/* ---- all parts ------------------------------------------------------------------------------- */

static bool make_buffers(struct comparison *comparison, unsigned threads) {
    comparison->buffers = uqff_alloc_array(threads, sizeof *comparison->buffers);
    if (comparison->buffers == NULL) {
        return false;
    }
    const struct diff_item *item = comparison->items[0];
    const size_t floats = (size_t)(comparison->rows_per_part * item->columns) * sizeof(float);
    const size_t raw = (size_t)(comparison->rows_per_part * item->row_bytes);
    for (unsigned t = 0; t < threads; t++) {
        for (int side = 0; side < 2; side++) {
            struct buffers *buffers = &comparison->buffers[t];
            if (comparison->raw) {
                buffers->raw[side] = uqff_alloc_aligned(raw);
            } else {
                buffers->rows[side] = uqff_alloc_aligned(floats);
            }
            if (buffers->raw[side] == NULL && buffers->rows[side] == NULL) {
                return false;
            }
        }
    }
    return true;
}

static void free_buffers(struct comparison *comparison, unsigned threads) {
    for (unsigned t = 0; comparison->buffers != NULL && t < threads; t++) {
        for (int side = 0; side < 2; side++) {
            uqff_free_aligned(comparison->buffers[t].raw[side]);
            uqff_free_aligned(comparison->buffers[t].rows[side]);
        }
    }
    uqff_free(comparison->buffers);
}

/* One pass over all rows. */
static enum uqff_code pass(struct comparison *comparison, struct part *sum,
                           struct uqff_error *err) {
    const struct diff_item *item = comparison->items[0];
    const size_t count =
        item->rows == 0 ? 0 : (size_t)((item->rows - 1) / comparison->rows_per_part + 1);
    unsigned threads = comparison->diff->options->threads;
    threads = threads != 0 ? threads : uqff_available_threads();
    threads = threads < count ? threads : (unsigned)count;
    enum uqff_code code = UQFF_OK;
    atomic_init(&comparison->done, 0);
    comparison->parts = uqff_alloc_array(count, sizeof *comparison->parts);
    if (comparison->parts == NULL || !make_buffers(comparison, threads)) {
        code = uqff_fail_memory(err);
        goto out;
    }
    code = uqff_parallel_for(count, threads, compare_part, comparison, err);
    *sum = (struct part){0};
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        const struct part *part = &comparison->parts[i];
        sum->count += part->count;
        sum->max_abs = fmax(sum->max_abs, part->max_abs);
        sum->error += part->error;
        sum->power += part->power;
    }
out:
    free_buffers(comparison, threads);
    comparison->buffers = NULL;
    uqff_free(comparison->parts);
    comparison->parts = NULL;
    return code;
}

/* RMS of the difference relative to A's RMS; infinite where A is zero and B is not. */
static double relative_error(const struct part *sum) {
    if (sum->count == 0) {
        return 0.0;
    }
    return sum->power > 0.0 ? sqrt(sum->error / sum->power) : (double)INFINITY;
}

enum uqff_code uqff_diff_values(struct diff *diff, const struct diff_item *a,
                                const struct diff_item *b, bool *differs,
                                struct uqff_difference *found, struct uqff_error *err) {
    struct comparison comparison = {
        .diff = diff,
        .items = {a, b},
        .models = {diff->a, diff->b},
        .rows_per_part =
            a->columns < PART_ELEMENTS && a->columns > 0 ? PART_ELEMENTS / a->columns : 1,
        .raw = a->type == b->type && a->row_bytes != 0 && b->row_bytes != 0,
    };
    const struct uqff_type_info *info = uqff_type_info(a->type);
    struct part sum = {0};
    enum uqff_code code = UQFF_OK;
    *differs = false;
    if (comparison.raw) {
        code = pass(&comparison, &sum, err);
        if (code != UQFF_OK || sum.count == 0) {
            return code;
        }
        if (!diff->options->values || (info->flags & UQFF_TYPE_CAN_DECODE) == 0) {
            *differs = true;
            *found = (struct uqff_difference){
                .kind = UQFF_DIFF_VALUES, .name = a->name, .count = sum.count};
            return UQFF_OK;
        }
    }
    comparison.raw = false;
    code = pass(&comparison, &sum, err);
    if (code != UQFF_OK) {
        return code;
    }
    const double error = relative_error(&sum);
    *differs = sum.count > 0 && !(error <= diff->options->tolerance);
    *found = (struct uqff_difference){
        .kind = UQFF_DIFF_VALUES,
        .name = a->name,
        .max_abs = sum.max_abs,
        .rel_rmse = error,
        .count = sum.count,
    };
    return UQFF_OK;
}
