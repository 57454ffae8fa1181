/* weights: how far the tensors of a model are from those of its source. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uqff/validation.h"
#include "validation/math.h"

/* Elements that one thread reads at once from each side; rows that are longer go one by one. */
enum { PART_ELEMENTS = 256 << 10 };
/* Every sum has this many accumulators, element i going to i mod LANES, so that the compiler may
 * use vectors and the order of additions is still a stated one. */
enum { LANES = 8 };

/* ---- listing --------------------------------------------------------------------------------- */

/* A tensor of a model, as rows. */
struct tensor {
    const char *name; /* Hugging Face's */
    bool is_module;
    size_t index;
    uint32_t type;
    unsigned rank;
    const uint64_t *shape;
    uint64_t rows, columns;
};

struct listing {
    const struct uqff_model *model;
    struct tensor *tensors;
    size_t count;
};

struct uqff_weights {
    struct uqff_arena arena; /* names are copied: the report outlives the models */
    struct uqff_weight_error *errors;
    size_t count;
    struct uqff_weight_error total;
};

static struct tensor plain_tensor(const struct uqff_model *model, size_t index) {
    const struct uqff_tensor *tensor = uqff_model_tensor(model, index);
    struct tensor out = {
        .name = tensor->hf_name != NULL ? tensor->hf_name : tensor->name,
        .index = index,
        .type = tensor->type,
        .rank = tensor->rank,
        .shape = tensor->shape,
        .columns = tensor->rank == 0 ? 1 : tensor->shape[tensor->rank - 1],
    };
    out.rows = tensor->elements == 0 ? 0 : tensor->elements / out.columns;
    return out;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

/* Modules, their biases and all other tensors, sorted by name. */
static enum uqff_code list_tensors(const struct uqff_model *model, struct uqff_arena *arena,
                                   struct listing *out, struct uqff_error *err) {
    const size_t modules = uqff_model_module_count(model);
    const size_t residual = uqff_model_residual_count(model);
    out->model = model;
    out->tensors = uqff_arena_array(arena, 2 * modules + residual, sizeof *out->tensors);
    if (out->tensors == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < modules; i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        const char *name = uqff_arena_printf(arena, "%s.weight", module->name);
        if (name == NULL) {
            return uqff_fail_memory(err);
        }
        out->tensors[out->count++] = (struct tensor){
            .name = name,
            .is_module = true,
            .index = i,
            .type = module->type,
            .rank = module->rank,
            .shape = module->shape,
            .rows = module->rows,
            .columns = module->columns,
        };
        if (module->bias != UQFF_NONE) {
            out->tensors[out->count++] = plain_tensor(model, module->bias);
        }
    }
    for (size_t i = 0; i < residual; i++) {
        out->tensors[out->count++] = plain_tensor(model, uqff_model_residual(model, i));
    }
    if (out->count > 1) {
        qsort(out->tensors, out->count, sizeof *out->tensors, compare_names);
    }
    return UQFF_OK;
}

/* ---- one pair of tensors --------------------------------------------------------------------- */

/* Sums over some rows of x, the source, and y. */
struct sums {
    double error, xx, yy, xy; /* of (x - y)², x², y², x·y */
    double max_abs;
    uint64_t max_at; /* counted from the first of the rows */
};

struct comparison {
    const struct listing *sides[2]; /* source, candidate */
    const struct tensor *tensors[2];
    uint64_t rows_per_part;
    struct sums *parts;
    float *(*rows)[2]; /* [thread][side] */
    const struct uqff_progress *progress;
    uint64_t before, total; /* elements, of all tensors */
    atomic_uint_least64_t done;
};

static double fold(const double lanes[LANES]) {
    const double a = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
    const double b = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
    return a + b;
}

static struct sums sum_elements(const float *x, const float *y, size_t n) {
    double error[LANES] = {0}, xx[LANES] = {0}, yy[LANES] = {0}, xy[LANES] = {0};
    double largest[LANES] = {0};
    const size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            const double a = (double)x[i + lane], b = (double)y[i + lane];
            const double distance = fabs(a - b);
            error[lane] += distance * distance;
            xx[lane] += a * a;
            yy[lane] += b * b;
            xy[lane] += a * b;
            largest[lane] = distance > largest[lane] ? distance : largest[lane];
        }
    }
    for (size_t i = whole; i < n; i++) {
        const double a = (double)x[i], b = (double)y[i], distance = fabs(a - b);
        const size_t lane = i - whole;
        error[lane] += distance * distance;
        xx[lane] += a * a;
        yy[lane] += b * b;
        xy[lane] += a * b;
        largest[lane] = distance > largest[lane] ? distance : largest[lane];
    }
    struct sums sums = {.error = fold(error), .xx = fold(xx), .yy = fold(yy), .xy = fold(xy)};
    for (size_t lane = 0; lane < LANES; lane++) {
        sums.max_abs = largest[lane] > sums.max_abs ? largest[lane] : sums.max_abs;
    }
    while (sums.max_at < n &&
           fabs((double)x[sums.max_at] - (double)y[sums.max_at]) < sums.max_abs) {
        sums.max_at++;
    }
    return sums;
}

static enum uqff_code read_rows(const struct comparison *comparison, int side, uint64_t first,
                                uint64_t rows, float *out, struct uqff_error *err) {
    const struct uqff_model *model = comparison->sides[side]->model;
    const struct tensor *tensor = comparison->tensors[side];
    return tensor->is_module
               ? uqff_model_read_module_rows(model, tensor->index, first, rows, out, err)
               : uqff_model_read_rows(model, tensor->index, first, rows, out, err);
}

/* Names the first element that is not finite. */
static enum uqff_code fail_nonfinite(const struct comparison *comparison, uint64_t first,
                                     float *const rows[2], size_t n, struct uqff_error *err) {
    const uint64_t columns = comparison->tensors[0]->columns;
    for (size_t i = 0; i < n; i++) {
        for (int side = 0; side < 2; side++) {
            if (!isfinite(rows[side][i])) {
                return uqff_fail(
                    err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                    "%s: tensor '%s': row %llu, column %llu: found %s, expected a "
                    "finite number",
                    uqff_model_path(comparison->sides[side]->model),
                    comparison->tensors[side]->name, (unsigned long long)(first + i / columns),
                    (unsigned long long)(i % columns), isnan(rows[side][i]) ? "NaN" : "infinity");
            }
        }
    }
    return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET, "%s: a sum of finite numbers is not",
                     comparison->tensors[0]->name);
}

static enum uqff_code compare_part(void *context, size_t i, unsigned thread,
                                   struct uqff_error *err) {
    struct comparison *comparison = context;
    const struct tensor *tensor = comparison->tensors[0];
    const uint64_t first = i * comparison->rows_per_part, left = tensor->rows - first;
    const uint64_t rows = left < comparison->rows_per_part ? left : comparison->rows_per_part;
    const size_t elements = (size_t)(rows * tensor->columns);
    float *const *buffers = comparison->rows[thread];
    for (int side = 0; side < 2; side++) {
        enum uqff_code code = read_rows(comparison, side, first, rows, buffers[side], err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    struct sums *sums = &comparison->parts[i];
    *sums = sum_elements(buffers[0], buffers[1], elements);
    sums->max_at += first * tensor->columns;
    /* The squares of floats do not overflow a double: a sum that is not finite holds an element
     * that is not. */
    if (!isfinite(sums->xx + sums->yy)) {
        return fail_nonfinite(comparison, first, buffers, elements, err);
    }
    const uint64_t done = atomic_fetch_add(&comparison->done, elements) + elements;
    return thread != 0 ? UQFF_OK
                       : uqff_progress_update(comparison->progress, "weights",
                                              (comparison->before + done) * sizeof(float),
                                              comparison->total * sizeof(float), err);
}

static void add_sums(struct sums *to, const struct sums *part) {
    to->error += part->error;
    to->xx += part->xx;
    to->yy += part->yy;
    to->xy += part->xy;
    if (part->max_abs > to->max_abs) {
        to->max_abs = part->max_abs;
        to->max_at = part->max_at;
    }
}

/* Sums over a pair of tensors: of parts of a fixed size, added in order. */
static enum uqff_code compare_tensors(struct comparison *comparison, unsigned threads,
                                      struct sums *sums, struct uqff_error *err) {
    const struct tensor *tensor = comparison->tensors[0];
    const uint64_t columns = tensor->columns == 0 ? 1 : tensor->columns;
    comparison->rows_per_part = columns < PART_ELEMENTS ? PART_ELEMENTS / columns : 1;
    const size_t count =
        tensor->rows == 0 ? 0 : (size_t)((tensor->rows - 1) / comparison->rows_per_part + 1);
    const uint64_t most =
        tensor->rows < comparison->rows_per_part ? tensor->rows : comparison->rows_per_part;
    const size_t bytes = (size_t)(most * columns) * sizeof(float);
    enum uqff_code code = UQFF_OK;
    threads = threads < count ? threads : (unsigned)count;
    atomic_init(&comparison->done, 0);
    comparison->parts = uqff_alloc_array(count, sizeof *comparison->parts);
    comparison->rows = uqff_alloc_array(threads, sizeof *comparison->rows);
    if (comparison->parts == NULL || comparison->rows == NULL) {
        code = uqff_fail_memory(err);
    }
    for (unsigned i = 0; code == UQFF_OK && i < 2 * threads; i++) {
        comparison->rows[i / 2][i % 2] = uqff_alloc_aligned(bytes);
        code = comparison->rows[i / 2][i % 2] == NULL ? uqff_fail_memory(err) : UQFF_OK;
    }
    if (code == UQFF_OK) {
        code = uqff_parallel_for(count, threads, compare_part, comparison, err);
    }
    *sums = (struct sums){0};
    for (size_t i = 0; code == UQFF_OK && i < count; i++) {
        add_sums(sums, &comparison->parts[i]);
    }
    for (unsigned i = 0; comparison->rows != NULL && i < 2 * threads; i++) {
        uqff_free_aligned(comparison->rows[i / 2][i % 2]);
    }
    uqff_free(comparison->rows);
    uqff_free(comparison->parts);
    return code;
}

static double decibels(double rel_rmse) {
    return rel_rmse == 0     ? (double)INFINITY
           : isinf(rel_rmse) ? -(double)INFINITY
                             : -20 * (uqff_math_log(rel_rmse) / uqff_math_log(10));
}

static void set_error(struct uqff_weight_error *error, const struct sums *sums) {
    error->rel_rmse = sums->error == 0 ? 0
                      : sums->xx == 0  ? (double)INFINITY
                                       : uqff_math_sqrt(sums->error / sums->xx);
    error->snr = decibels(error->rel_rmse);
    /* Of equal tensors it is 1, whatever the roots round to. */
    const double norms = uqff_math_sqrt(sums->xx) * uqff_math_sqrt(sums->yy);
    error->cosine = sums->error == 0 ? 1 : norms > 0 ? sums->xy / norms : 0;
    error->cosine = error->cosine > 1 ? 1 : error->cosine;
    error->max_abs = sums->max_abs;
    error->max_at = sums->max_at;
}

/* ---- all tensors ----------------------------------------------------------------------------- */

struct pair {
    const struct tensor *source, *candidate;
};

static bool same_shape(const struct tensor *a, const struct tensor *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

static void put_shape(char out[64], const struct tensor *tensor) {
    size_t used = (size_t)snprintf(out, 64, "[");
    for (unsigned i = 0; i < tensor->rank && used < 40; i++) {
        used += (size_t)snprintf(out + used, 64 - used, "%s%llu", i == 0 ? "" : ", ",
                                 (unsigned long long)tensor->shape[i]);
    }
    snprintf(out + used, 64 - used, "]");
}

static void warn_alone(const struct uqff_warner *warner, const struct listing *side,
                       const struct tensor *tensor) {
    uqff_warn(warner, "%s: tensor '%s' has no counterpart and was not compared",
              uqff_model_path(side->model), tensor->name);
}

/* Pairs tensors of the same name: *count of them. */
static enum uqff_code pair_up(const struct listing sides[2], const struct uqff_warner *warner,
                              struct pair *pairs, size_t *count, struct uqff_error *err) {
    size_t i = 0, k = 0;
    *count = 0;
    while (i < sides[0].count || k < sides[1].count) {
        const struct tensor *a = &sides[0].tensors[i], *b = &sides[1].tensors[k];
        const int order = i == sides[0].count   ? 1
                          : k == sides[1].count ? -1
                                                : strcmp(a->name, b->name);
        if (order < 0) {
            warn_alone(warner, &sides[0], a);
        } else if (order > 0) {
            warn_alone(warner, &sides[1], b);
        } else if (!same_shape(a, b)) {
            char shapes[2][64];
            put_shape(shapes[0], a);
            put_shape(shapes[1], b);
            return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                             "%s: tensor '%s': found shape %s, expected %s as in %s",
                             uqff_model_path(sides[1].model), b->name, shapes[1], shapes[0],
                             uqff_model_path(sides[0].model));
        } else {
            pairs[(*count)++] = (struct pair){a, b};
        }
        i += order <= 0;
        k += order >= 0;
    }
    return *count > 0 ? UQFF_OK
                      : uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                                  "%s: has no tensor of a name that %s has",
                                  uqff_model_path(sides[1].model), uqff_model_path(sides[0].model));
}

static enum uqff_code compare_all(const struct listing sides[2], const struct pair *pairs,
                                  const struct uqff_weights_options *options,
                                  const struct uqff_progress *progress, struct uqff_weights *out,
                                  struct uqff_error *err) {
    struct comparison comparison = {.sides = {&sides[0], &sides[1]}, .progress = progress};
    const unsigned threads = options->threads != 0 ? options->threads : uqff_available_threads();
    struct sums total = {0};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < out->count; i++) {
        comparison.total += pairs[i].source->rows * pairs[i].source->columns;
    }
    for (size_t i = 0; code == UQFF_OK && i < out->count; i++) {
        const struct tensor *source = pairs[i].source;
        const uint64_t elements = source->rows * source->columns;
        struct sums sums;
        comparison.tensors[0] = source;
        comparison.tensors[1] = pairs[i].candidate;
        code = compare_tensors(&comparison, threads, &sums, err);
        if (code == UQFF_OK) {
            struct uqff_weight_error *error = &out->errors[i];
            *error = (struct uqff_weight_error){
                .name = uqff_arena_copy(&out->arena, source->name, strlen(source->name)),
                .source_type = source->type,
                .type = pairs[i].candidate->type,
                .elements = elements,
            };
            set_error(error, &sums);
            add_sums(&total, &sums);
            comparison.before += elements;
            code = error->name == NULL ? uqff_fail_memory(err) : UQFF_OK;
        }
    }
    out->total = (struct uqff_weight_error){
        .name = "",
        .source_type = UINT32_MAX,
        .type = UINT32_MAX,
        .elements = comparison.total,
    };
    set_error(&out->total, &total);
    return code;
}

enum uqff_code uqff_weights_compare(const struct uqff_model *source,
                                    const struct uqff_model *candidate,
                                    const struct uqff_weights_options *options,
                                    const struct uqff_progress *progress, struct uqff_weights **out,
                                    struct uqff_error *err) {
    static const struct uqff_weights_options defaults = {.threads = 0};
    options = options != NULL ? options : &defaults;
    struct uqff_arena arena = {0};
    struct listing sides[2] = {{.count = 0}};
    struct pair *pairs = NULL;
    struct uqff_weights *weights = uqff_alloc_array(1, sizeof *weights);
    enum uqff_code code = weights == NULL ? uqff_fail_memory(err) : UQFF_OK;
    if (code == UQFF_OK) {
        code = list_tensors(source, &arena, &sides[0], err);
    }
    if (code == UQFF_OK) {
        code = list_tensors(candidate, &arena, &sides[1], err);
    }
    if (code == UQFF_OK) {
        pairs = uqff_arena_array(&arena, sides[0].count + 1, sizeof *pairs);
        code = pairs == NULL ? uqff_fail_memory(err)
                             : pair_up(sides, options->warner, pairs, &weights->count, err);
    }
    if (code == UQFF_OK) {
        weights->errors =
            uqff_arena_array(&weights->arena, weights->count, sizeof *weights->errors);
        code = weights->errors == NULL ? uqff_fail_memory(err)
                                       : compare_all(sides, pairs, options, progress, weights, err);
    }
    uqff_arena_free(&arena);
    if (code != UQFF_OK) {
        uqff_weights_free(weights);
        return code;
    }
    *out = weights;
    return UQFF_OK;
}

void uqff_weights_free(struct uqff_weights *weights) {
    if (weights != NULL) {
        uqff_arena_free(&weights->arena);
        uqff_free(weights);
    }
}

size_t uqff_weights_count(const struct uqff_weights *weights) {
    return weights->count;
}

const struct uqff_weight_error *uqff_weights_at(const struct uqff_weights *weights, size_t i) {
    return &weights->errors[i];
}

const struct uqff_weight_error *uqff_weights_total(const struct uqff_weights *weights) {
    return &weights->total;
}
