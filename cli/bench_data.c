/* bench_data: weights to measure on. */
#include "bench.h"

#include <string.h>
#include <sys/mman.h>

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1d;
}

/* Near a normal distribution: the sum of four 16-bit numbers. */
static float random_weight(uint64_t *state) {
    uint64_t r = next_random(state);
    int32_t sum = (int32_t)(r & 0xffff) + (int32_t)(r >> 16 & 0xffff) +
                  (int32_t)(r >> 32 & 0xffff) + (int32_t)(r >> 48);
    return (float)(sum - 2 * 0xffff) * 0x1p-21f;
}

static void fill(float *x, size_t count, uint64_t *state) {
    for (size_t i = 0; x != NULL && i < count; i++) {
        x[i] = random_weight(state);
    }
}

/* Pages that the system makes large where it can, and all of them present: what is measured are
 * kernels, not faults. */
static void *allocate(size_t bytes) {
    const size_t page = 4096;
    unsigned char *block = uqff_alloc_aligned(bytes);
    if (block != NULL) {
        unsigned char *first = block + (page - (uintptr_t)block % page) % page;
        if (bytes > (size_t)4 << 20) {
            madvise(first, (bytes - (size_t)(first - block)) / page * page, MADV_HUGEPAGE);
        }
        memset(block, 1, bytes);
    }
    return block;
}

enum uqff_code bench_data_make(size_t rows, struct bench_data *data, struct uqff_error *err) {
    const size_t count = rows * BENCH_COLUMNS;
    uint64_t state = 0x9e3779b97f4a7c15;
    *data = (struct bench_data){
        .rows = rows,
        .weights = allocate(count * sizeof(float)),
        .importance = allocate(BENCH_COLUMNS * sizeof(float)),
        .floats = allocate(count * sizeof(float)),
        /* No type takes more than Q8_K would with four bytes a weight. */
        .encoded = allocate(count * sizeof(float) + count / 4),
        .activations = allocate(sizeof(float) * BENCH_TOKENS * BENCH_SIDE),
        .row = allocate(2 * sizeof(float) * BENCH_SIDE),
        .filled_type = UQFF_NO_TYPE,
    };
    if (data->weights == NULL || data->importance == NULL || data->floats == NULL ||
        data->encoded == NULL || data->activations == NULL || data->row == NULL) {
        bench_data_free(data);
        return uqff_fail_memory(err);
    }
    fill(data->weights, count, &state);
    fill(data->activations, (size_t)BENCH_TOKENS * BENCH_SIDE, &state);
    fill(data->importance, BENCH_COLUMNS, &state);
    for (size_t i = 0; i < BENCH_COLUMNS; i++) {
        data->importance[i] *= data->importance[i];
    }
    return UQFF_OK;
}

void bench_data_free(struct bench_data *data) {
    void *const blocks[] = {data->weights,     data->importance, data->floats,   data->encoded,
                            data->activations, data->row,        data->prepared, data->scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        uqff_free_aligned(blocks[i]);
    }
}

void bench_data_set_type(struct bench_data *data, const struct uqff_type_info *type) {
    data->type = type->id;
    data->row_bytes = (size_t)BENCH_COLUMNS / type->block_length * type->block_bytes;
    data->activation_type = uqff_activation_type(type->id);
}
