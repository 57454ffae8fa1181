/*
 * stats: figures of one tensor.
 *
 * The tensor is cut into parts of a fixed size, whatever the number of threads. Each part is summed
 * up by itself in one pass, and the parts are put together in their order, so the digits are the
 * same everywhere. Mean and squared deviation are updated element by element (Welford) and joined
 * as Chan, Golub and LeVeque do: neither needs a second pass, and neither cancels.
 */
#include <math.h>
#include <string.h>

#include "uqff/pack.h"

enum { PART_ELEMENTS = 256 << 10 };

struct part {
    double min, max, mean, squares; /* squares: sum of squared deviations from the mean */
    uint64_t finite, zeros, nonfinite;
    bool has_scales;
    float scale_min, scale_max;
};

struct stats {
    const struct uqff_model *model;
    size_t tensor;
    const struct uqff_tensor *info;
    uint64_t columns, rows, rows_per_part;
    uint64_t row_bytes; /* 0: no scales to be had */
    struct part *parts;
    float **floats;
    unsigned char **bytes; /* one scratch a thread each */
};

static void sum_up(struct part *part, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            part->nonfinite++;
            continue;
        }
        const double value = (double)x[i];
        const double delta = value - part->mean;
        part->min = part->finite == 0 || value < part->min ? value : part->min;
        part->max = part->finite == 0 || value > part->max ? value : part->max;
        part->zeros += value == 0.0;
        part->finite++;
        part->mean += delta / (double)part->finite;
        part->squares += delta * (value - part->mean);
    }
}

static void join(struct part *a, const struct part *b) {
    if (b->has_scales) {
        a->scale_min = a->has_scales ? fminf(a->scale_min, b->scale_min) : b->scale_min;
        a->scale_max = a->has_scales ? fmaxf(a->scale_max, b->scale_max) : b->scale_max;
        a->has_scales = true;
    }
    a->nonfinite += b->nonfinite;
    a->zeros += b->zeros;
    if (b->finite == 0) {
        return;
    }
    a->min = a->finite == 0 || b->min < a->min ? b->min : a->min;
    a->max = a->finite == 0 || b->max > a->max ? b->max : a->max;
    const double na = (double)a->finite, nb = (double)b->finite, delta = b->mean - a->mean;
    a->finite += b->finite;
    a->mean += delta * (nb / (na + nb));
    a->squares += b->squares + delta * delta * (na * nb / (na + nb));
}

static enum uqff_code scan_part(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    struct stats *stats = (struct stats *)context;
    struct part *part = &stats->parts[i];
    const uint64_t first = i * stats->rows_per_part;
    const uint64_t left = stats->rows - first;
    const uint64_t rows = left < stats->rows_per_part ? left : stats->rows_per_part;
    const size_t elements = (size_t)(rows * stats->columns);
    if (stats->floats[thread] == NULL) {
        stats->floats[thread] =
            uqff_alloc_aligned((size_t)(stats->rows_per_part * stats->columns) * sizeof(float));
        stats->bytes[thread] =
            uqff_alloc_aligned((size_t)(stats->rows_per_part * stats->row_bytes));
    }
    float *x = stats->floats[thread];
    unsigned char *bytes = stats->bytes[thread];
    if (x == NULL || bytes == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_model_read_rows(stats->model, stats->tensor, first, rows, x, err);
    if (code != UQFF_OK) {
        return code;
    }
    sum_up(part, x, elements);
    if (stats->row_bytes == 0) {
        return UQFF_OK;
    }
    struct uqff_scale_range range;
    code = uqff_model_read(stats->model, stats->tensor, first * stats->row_bytes, bytes,
                           (size_t)(rows * stats->row_bytes), err);
    if (code == UQFF_OK) {
        code = uqff_scan_scales(stats->info->type, bytes, elements, &range, err);
    }
    if (code == UQFF_OK) {
        part->has_scales = true;
        part->scale_min = range.min;
        part->scale_max = range.max;
    }
    return code;
}

enum uqff_code uqff_model_stats(const struct uqff_model *model, size_t tensor, unsigned threads,
                                struct uqff_tensor_stats *out, struct uqff_error *err) {
    if (tensor >= uqff_model_tensor_count(model)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: no such tensor: found index %zu, expected one below %zu",
                         uqff_model_path(model), tensor, uqff_model_tensor_count(model));
    }
    struct stats stats = {
        .model = model, .tensor = tensor, .info = uqff_model_tensor(model, tensor)};
    const struct uqff_type_info *type = uqff_type_info(stats.info->type);
    struct part whole = {0};
    enum uqff_code code = UQFF_OK;
    size_t count = 0;
    stats.columns = stats.info->rank == 0 ? 1 : stats.info->shape[stats.info->rank - 1];
    if (stats.info->elements > 0) {
        stats.rows = stats.info->elements / stats.columns;
        stats.rows_per_part = stats.columns < PART_ELEMENTS ? PART_ELEMENTS / stats.columns : 1;
        count = (size_t)((stats.rows - 1) / stats.rows_per_part + 1);
    }
    if (type != NULL && (type->flags & UQFF_TYPE_IS_QUANTIZED) != 0) {
        code = uqff_row_bytes(stats.info->type, stats.columns, &stats.row_bytes, err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "%s: tensor '%s'", uqff_model_path(model), stats.info->name);
            return code;
        }
    }
    threads = threads != 0 ? threads : uqff_available_threads();
    threads = threads < count ? threads : (unsigned)count;
    stats.parts = uqff_alloc_array(count, sizeof *stats.parts);
    stats.floats = uqff_alloc_array(threads, sizeof *stats.floats);
    stats.bytes = uqff_alloc_array(threads, sizeof *stats.bytes);
    if (stats.parts == NULL || stats.floats == NULL || stats.bytes == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    code = uqff_parallel_for(count, threads, scan_part, &stats, err);
    if (code != UQFF_OK) {
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        join(&whole, &stats.parts[i]);
    }
    *out = (struct uqff_tensor_stats){
        .min = whole.min,
        .max = whole.max,
        .mean = whole.mean,
        .deviation = whole.finite > 0 ? sqrt(whole.squares / (double)whole.finite) : 0.0,
        .zeros = whole.zeros,
        .nonfinite = whole.nonfinite,
        .elements = stats.info->elements,
        .has_scales = whole.has_scales,
        .scale_min = whole.scale_min,
        .scale_max = whole.scale_max,
    };
out:
    for (unsigned i = 0; i < threads; i++) {
        if (stats.floats != NULL) {
            uqff_free_aligned(stats.floats[i]);
        }
        if (stats.bytes != NULL) {
            uqff_free_aligned(stats.bytes[i]);
        }
    }
    uqff_free(stats.parts);
    uqff_free(stats.floats);
    uqff_free(stats.bytes);
    return code;
}
