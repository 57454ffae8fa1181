/* What uqff bench measures, the data that it works on, and the clock. */
#ifndef UQFF_CLI_BENCH_H
#define UQFF_CLI_BENCH_H

#include "uqff/quant.h"

enum {
    BENCH_COLUMNS = 4096, /* weights a row: what one call encodes */
    BENCH_SIDE = 2048,    /* columns of a matrix, and its most rows for many tokens */
    BENCH_TOKENS = 512,
    BENCH_FEWEST_ROWS = 64, /* 262,144 weights: fewer would be learnt by the branch predictor */
    BENCH_MOST_ROWS = 1 << 20,
};

/* Arrays of `rows` rows of BENCH_COLUMNS weights, and what belongs to them. Weights of a block type
 * are the same bytes as a matrix of twice the rows, BENCH_SIDE wide. */
struct bench_data {
    size_t rows;
    float *weights;
    float *importance;      /* one row of it */
    float *floats;          /* results */
    unsigned char *encoded; /* encoded[row * row_bytes] */
    uint32_t type;
    size_t row_bytes;     /* of BENCH_COLUMNS weights */
    uint32_t filled_type; /* the type that all rows of `encoded` hold, or UQFF_NO_TYPE */

    float *activations; /* [BENCH_TOKENS][BENCH_SIDE] */
    uint32_t activation_type;
    unsigned char *row;      /* an encoded row of activations, for uqff_dot */
    struct uqff_matmul plan; /* of the product that was prepared last */
    void *prepared, *scratch;
    size_t prepared_capacity, scratch_capacity;
};

/* UQFF_E_MEMORY; frees what it had by then. */
enum uqff_code bench_data_make(size_t rows, struct bench_data *data,
                               struct uqff_error *err) UQFF_MUST_CHECK;
void bench_data_free(struct bench_data *data);
void bench_data_set_type(struct bench_data *data, const struct uqff_type_info *type);

/* How much there is to work on. Rows are the work's own: a call may be about any number of them. */
struct bench_extent {
    size_t rows;          /* to stream over, more than fits into a cache; 0: that is not measured */
    size_t cached_rows;   /* that fit into a cache and are worked on again and again; 0: likewise */
    size_t step;          /* the most rows of one call; the clock is read between calls */
    size_t fewest;        /* rows that a measurement takes, however long that is */
    double units_per_row; /* weights, or multiply-adds */
    double bytes_per_row; /* what a copy of as many bytes is set beside; 0: nothing */
};

struct bench_work {
    const char *group, *name;
    const char *unit;
    /* NULL: to every type that can be encoded. */
    bool (*applies)(const struct uqff_type_info *type);
    /* Before the clock starts. */
    enum uqff_code (*prepare)(struct bench_data *data, struct bench_extent *extent,
                              struct uqff_error *err);
    /* At the beginning of each pass over all rows, under the clock; NULL: nothing. */
    void (*begin)(struct bench_data *data);
    /* Works on rows first .. first + count - 1. */
    enum uqff_code (*run)(struct bench_data *data, size_t first, size_t count,
                          struct uqff_error *err);
};

extern const struct bench_work bench_copy;
extern const struct bench_work bench_works[]; /* those of a group together; ends with name NULL */

struct bench_clock {
    double seconds; /* the most for one repeat */
    unsigned repeats;
};

/* Units a second and bytes a second of the best repeat; 0: not measured. */
struct bench_rate {
    double memory, cache;
    double memory_bytes, cache_bytes;
};

enum uqff_code bench_measure(const struct bench_work *work, const struct bench_clock *clock,
                             struct bench_data *data, struct bench_rate *rate,
                             struct uqff_error *err) UQFF_MUST_CHECK;

#endif
