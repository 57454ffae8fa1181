/* bench_works: the functions that are measured. */
#include "bench.h"

#include <string.h>

enum {
    MATRICES_PER_ROW = BENCH_COLUMNS / BENCH_SIDE,
    CACHED_BYTES = 384 << 10, /* in the second-level cache of any machine of today */
    CACHED_ROWS = CACHED_BYTES / BENCH_COLUMNS / 4, /* of float32 */
    TILE = 16,                                      /* rows of a matrix that are fastest together */
    ENCODE_STEP = 48,                               /* rows between two looks at the clock */
    MATRIX_STEP = 64,                               /* the same, of a product of many tokens */
    DOT_BYTES = 16 << 10, /* of weights: half of a small first-level cache */
    DOT_STEP = 1024,      /* products between two looks at the clock */
};

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* ---- rows of weights ------------------------------------------------------------------------- */

static enum uqff_code encode(struct bench_data *data, size_t first, size_t count,
                             const float *importance, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t row = first; row < first + count && code == UQFF_OK; row++) {
        code = uqff_quantize_row(data->type, data->weights + row * BENCH_COLUMNS,
                                 data->encoded + row * data->row_bytes, BENCH_COLUMNS, importance,
                                 err);
    }
    return code;
}

/* Encodes a few rows and repeats them: decoders and products do not care what they read. */
static enum uqff_code fill_encoded(struct bench_data *data, struct uqff_error *err) {
    if (data->filled_type == data->type) {
        return UQFF_OK;
    }
    enum uqff_code code = encode(data, 0, least(BENCH_FEWEST_ROWS, data->rows), NULL, err);
    for (size_t row = BENCH_FEWEST_ROWS; row < data->rows && code == UQFF_OK; row++) {
        memcpy(data->encoded + row * data->row_bytes,
               data->encoded + row % BENCH_FEWEST_ROWS * data->row_bytes, data->row_bytes);
    }
    data->filled_type = code == UQFF_OK ? data->type : UQFF_NO_TYPE;
    return code;
}

static struct bench_extent float_extent(const struct bench_data *data, size_t step) {
    return (struct bench_extent){
        .rows = data->rows,
        .cached_rows = least(CACHED_ROWS, data->rows),
        .step = step,
        .fewest = BENCH_FEWEST_ROWS,
        .units_per_row = BENCH_COLUMNS,
        .bytes_per_row = BENCH_COLUMNS * sizeof(float),
    };
}

static enum uqff_code prepare_quantize(struct bench_data *data, struct bench_extent *extent,
                                       struct uqff_error *err) {
    (void)err;
    data->filled_type = UQFF_NO_TYPE;
    *extent = float_extent(data, ENCODE_STEP);
    return UQFF_OK;
}

static enum uqff_code run_quantize(struct bench_data *data, size_t first, size_t count,
                                   struct uqff_error *err) {
    return encode(data, first, count, NULL, err);
}

static bool uses_importance(const struct uqff_type_info *type) {
    return (type->flags & UQFF_TYPE_USES_IMPORTANCE) != 0;
}

static enum uqff_code run_quantize_importance(struct bench_data *data, size_t first, size_t count,
                                              struct uqff_error *err) {
    return encode(data, first, count, data->importance, err);
}

static bool can_decode(const struct uqff_type_info *type) {
    return (type->flags & UQFF_TYPE_CAN_DECODE) != 0;
}

/* All rows in one call, as one who wants a whole tensor does. */
static enum uqff_code prepare_dequantize(struct bench_data *data, struct bench_extent *extent,
                                         struct uqff_error *err) {
    *extent = float_extent(data, SIZE_MAX);
    return fill_encoded(data, err);
}

static enum uqff_code run_dequantize(struct bench_data *data, size_t first, size_t count,
                                     struct uqff_error *err) {
    return uqff_dequantize_row(data->type, data->encoded + first * data->row_bytes,
                               data->floats + first * BENCH_COLUMNS, count * BENCH_COLUMNS, err);
}

/* All in one call: the C library stores large copies past the caches. */
static enum uqff_code prepare_copy(struct bench_data *data, struct bench_extent *extent,
                                   struct uqff_error *err) {
    (void)err;
    *extent = float_extent(data, SIZE_MAX);
    return UQFF_OK;
}

static enum uqff_code run_copy(struct bench_data *data, size_t first, size_t count,
                               struct uqff_error *err) {
    (void)err;
    memcpy(data->floats + first * BENCH_COLUMNS, data->weights + first * BENCH_COLUMNS,
           count * BENCH_COLUMNS * sizeof(float));
    return UQFF_OK;
}

/* ---- products -------------------------------------------------------------------------------- */

static bool has_products(const struct uqff_type_info *type) {
    return uqff_activation_type(type->id) != UQFF_NO_TYPE;
}

static bool has_two_products(const struct uqff_type_info *type) {
    return has_products(type) && uqff_activation_type(type->id) != UQFF_TYPE_F32;
}

/* Rows of weights that the dot products go through again and again. */
static size_t dot_rows(const struct bench_data *data) {
    const size_t rows = DOT_BYTES / (data->row_bytes / MATRICES_PER_ROW);
    return least(rows > 0 ? rows : 1, data->rows * MATRICES_PER_ROW);
}

static enum uqff_code prepare_dot(struct bench_data *data, struct bench_extent *extent,
                                  struct uqff_error *err) {
    *extent = (struct bench_extent){
        .cached_rows = DOT_STEP,
        .step = DOT_STEP,
        .fewest = DOT_STEP,
        .units_per_row = BENCH_SIDE,
        .bytes_per_row = (double)data->row_bytes / MATRICES_PER_ROW,
    };
    enum uqff_code code = fill_encoded(data, err);
    return code == UQFF_OK ? uqff_quantize_row(data->activation_type, data->activations, data->row,
                                               BENCH_SIDE, NULL, err)
                           : code;
}

static enum uqff_code run_dot(struct bench_data *data, size_t first, size_t count,
                              struct uqff_error *err) {
    const size_t bytes = data->row_bytes / MATRICES_PER_ROW, rows = dot_rows(data);
    enum uqff_code code = UQFF_OK;
    size_t row = first % rows;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = uqff_dot(data->type, data->encoded + row * bytes, data->activation_type, data->row,
                        BENCH_SIDE, data->floats, err);
        row = row + 1 < rows ? row + 1 : 0;
    }
    return code;
}

/* Makes *block hold at least `bytes`; what was in it is lost. */
static enum uqff_code reserve(void **block, size_t *capacity, size_t bytes,
                              struct uqff_error *err) {
    if (bytes <= *capacity && *block != NULL) {
        return UQFF_OK;
    }
    uqff_free_aligned(*block);
    *block = uqff_alloc_aligned(bytes);
    *capacity = *block != NULL ? bytes : 0;
    return *block != NULL ? UQFF_OK : uqff_fail_memory(err);
}

static enum uqff_code prepare_product(struct bench_data *data, uint32_t activation_type,
                                      size_t tokens, struct uqff_error *err) {
    enum uqff_code code = fill_encoded(data, err);
    if (code == UQFF_OK) {
        code = uqff_matmul_plan(data->type, activation_type, BENCH_SIDE, tokens, &data->plan, err);
    }
    if (code == UQFF_OK) {
        code = reserve(&data->prepared, &data->prepared_capacity, data->plan.activation_bytes, err);
    }
    if (code == UQFF_OK) {
        code = reserve(&data->scratch, &data->scratch_capacity, data->plan.scratch_bytes, err);
    }
    return code;
}

/* A matrix of BENCH_SIDE rows, or what there is. Copies say nothing about it: each weight is used
 * for all tokens. */
static struct bench_extent matrix_extent(const struct bench_data *data) {
    return (struct bench_extent){
        .rows = least(BENCH_SIDE, data->rows * MATRICES_PER_ROW),
        .step = MATRIX_STEP,
        .fewest = MATRIX_STEP,
        .units_per_row = (double)BENCH_SIDE * BENCH_TOKENS,
    };
}

static enum uqff_code prepare_matmul(struct bench_data *data, struct bench_extent *extent,
                                     struct uqff_error *err) {
    *extent = matrix_extent(data);
    return prepare_product(data, data->activation_type, BENCH_TOKENS, err);
}

static enum uqff_code prepare_matmul_exact(struct bench_data *data, struct bench_extent *extent,
                                           struct uqff_error *err) {
    *extent = matrix_extent(data);
    return prepare_product(data, UQFF_TYPE_F32, BENCH_TOKENS, err);
}

static void begin_product(struct bench_data *data) {
    uqff_matmul_prepare(&data->plan, data->activations, BENCH_SIDE, 0, data->plan.tokens,
                        data->prepared);
}

/* One token: weights stream past, as from all layers of a model. To round its activations takes no
 * time worth telling beside a whole matrix, and too much beside the few rows in a cache. */
static enum uqff_code prepare_matvec(struct bench_data *data, struct bench_extent *extent,
                                     struct uqff_error *err) {
    const size_t rows = data->rows * MATRICES_PER_ROW;
    const size_t bytes = data->row_bytes / MATRICES_PER_ROW;
    *extent = (struct bench_extent){
        .rows = rows,
        .cached_rows = least(CACHED_BYTES / bytes / TILE * TILE, rows),
        .step = BENCH_SIDE,
        .fewest = BENCH_SIDE,
        .units_per_row = BENCH_SIDE,
        .bytes_per_row = (double)bytes,
    };
    enum uqff_code code = prepare_product(data, data->activation_type, 1, err);
    if (code == UQFF_OK) {
        begin_product(data);
    }
    return code;
}

static enum uqff_code run_product(struct bench_data *data, size_t first, size_t count,
                                  struct uqff_error *err) {
    (void)err;
    const size_t stride = least(BENCH_SIDE, data->rows * MATRICES_PER_ROW);
    uqff_matmul_run(&data->plan, data->encoded + first * data->plan.row_bytes, count,
                    data->prepared, data->floats + first % stride, stride, data->scratch);
    return UQFF_OK;
}

/* ---- the table ------------------------------------------------------------------------------- */

const struct bench_work bench_copy = {"copy",       "copy", "weights", NULL,
                                      prepare_copy, NULL,   run_copy};

const struct bench_work bench_works[] = {
    {"quantize", "quantize", "weights", NULL, prepare_quantize, NULL, run_quantize},
    {"quantize", "quantize_importance", "weights", uses_importance, prepare_quantize, NULL,
     run_quantize_importance},
    {"dequantize", "dequantize", "weights", can_decode, prepare_dequantize, NULL, run_dequantize},
    {"dot", "dot", "weights", has_products, prepare_dot, NULL, run_dot},
    {"matmul", "matmul", "multiply-adds", has_products, prepare_matmul, begin_product, run_product},
    {"matmul", "matmul_exact", "multiply-adds", has_two_products, prepare_matmul_exact,
     begin_product, run_product},
    {"matmul", "matvec", "multiply-adds", has_products, prepare_matvec, NULL, run_product},
    {0},
};
