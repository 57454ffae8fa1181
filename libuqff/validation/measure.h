/*
 * Perplexity and divergence from inside: rows of logits become scores, scores become sums, and sums
 * estimates. Private to validation/.
 */
#ifndef UQFF_VALIDATION_MEASURE_H
#define UQFF_VALIDATION_MEASURE_H

#include "validation/transformer.h"

/* ---- rows (measure_rows.c) ------------------------------------------------------------------- */

/* What a row of logits says of itself. */
struct row_shape {
    float largest;
    size_t top;     /* index of its first largest */
    double log_sum; /* of the exponentials of the logits: log p[i] = x[i] - log_sum */
};
struct row_shape uqff_row_shape(const struct uqff_ops *ops, const float *x, size_t n);

/* One scored token; without a base, all but `nll` are 0. */
struct score {
    double nll, base_nll; /* negative logarithms of the probability of the token that follows */
    double kld;
    double delta_p;
    bool same_top;
};
/* `base` may be NULL; base_shape->log_sum is 0 where the row holds logarithms of probabilities. */
struct score uqff_score_row(const struct uqff_ops *ops, const float *x, const float *base,
                            const struct row_shape *base_shape, size_t n, uint32_t token);

/* ---- sums (measure_estimate.c) --------------------------------------------------------------- */

/* Everything is added in the order of the text. */
struct tally {
    size_t count, same_top;
    double nll, nll2, base_nll, base_nll2, cross;
    double kld, kld2, delta, delta2, delta4;
    float *klds, *deltas; /* [count], with a base */
    size_t kld_capacity, delta_capacity;
};
enum uqff_code uqff_tally_add(struct tally *tally, const struct score *score, bool has_base,
                              struct uqff_error *err) UQFF_MUST_CHECK;
void uqff_tally_free(struct tally *tally);
/* Everything but the percentiles. */
void uqff_tally_estimate(const struct tally *tally, bool has_base, struct uqff_measure *out);
/* Sorts the values. */
void uqff_tally_percentiles(struct tally *tally, struct uqff_measure *out);

/* ---- llama.cpp's logits file (logits_file.c) ------------------------------------------------- */

struct logits_header {
    uint32_t context;
    uint32_t vocabulary, chunks;
};
#define UQFF_LOGITS_HEADER 20u /* bytes before the tokens */

/* Bytes of an encoded row. */
size_t uqff_logits_row_bytes(size_t vocabulary);
/* Scored rows of a chunk. */
size_t uqff_logits_rows(size_t context);
/* Where row `row` of chunk `chunk` lies. False when it does not fit 64 bits. */
bool uqff_logits_offset(const struct logits_header *header, uint64_t chunk, uint64_t row,
                        uint64_t *out);
void uqff_logits_encode(const float *x, const struct row_shape *shape, size_t n,
                        unsigned char *out);
/* Logarithms of probabilities. False when the row's scale or minimum is not finite. */
bool uqff_logits_decode(const unsigned char *row, size_t n, float *out);

/* ---- a run over the text (measure.c) --------------------------------------------------------- */

/* Where a run gets the base's rows from, or takes rows to, besides models. Members may be NULL. */
struct rows_hook {
    /* Fills base rows first … first + count - 1 of a chunk, as logarithms of probabilities. */
    enum uqff_code (*read)(void *context, size_t chunk, size_t first, size_t count, float *rows,
                           struct uqff_error *err);
    /* Sees the rows of the first candidate. */
    enum uqff_code (*write)(void *context, size_t chunk, size_t first, size_t count,
                            const float *rows, struct uqff_error *err);
    void *context;
};

struct measure_task {
    const struct uqff_model *base;
    const struct uqff_model *const *candidates;
    size_t count;
    const uint32_t *tokens;
    size_t token_count;
    uint32_t bos;
    bool add_bos;
    struct uqff_measure_options options;
    size_t vocabulary;   /* that all must have; 0: that of the first */
    size_t least_chunks; /* that a text must have: 2, or 1 for what was cut before */
    struct rows_hook hook;
    uqff_measure_progress *progress;
    void *progress_context;
};

/* How a text is cut: chunk i begins at token i * step, `length` tokens long, and predictions at
 * positions first … end - 1 of it are scored. */
struct measure_plan {
    size_t chunks, step, length, first, end;
};
/* UQFF_E_ARGUMENT for options that make no sense, or a text that is too short for them. */
enum uqff_code uqff_measure_plan(const struct uqff_measure_options *options, size_t token_count,
                                 size_t least_chunks, struct measure_plan *out,
                                 struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code uqff_measure_run(const struct measure_task *task, struct uqff_measure *out,
                                struct uqff_error *err) UQFF_MUST_CHECK;

#endif
