/* What uqff validate measured, and the forms in which it is told. */
#ifndef UQFF_CLI_VALIDATE_H
#define UQFF_CLI_VALIDATE_H

#include "corpus.h"
#include "json.h"

#include "uqff/validation.h"

/* One model, or one variant of a multi-quant file. */
struct candidate {
    const char *name; /* as tables and gates call it */
    const char *reference;
    const char *recipe; /* "" when the file does not tell */
    struct uqff_model *model;
    uint64_t bytes, weights; /* of what can be quantized */
    struct uqff_measure measure;
    struct uqff_weights *weight_errors; /* NULL: not compared */
    struct uqff_figures figures;
};

struct validation {
    struct cli *cli;
    const char *base_path;        /* NULL: none */
    const char *logits_base_path; /* takes the place of a base */
    struct uqff_model *base;
    uint64_t base_bytes, base_weights;
    struct corpus text; /* path NULL: none */
    uint64_t context, chunks, stride;
    bool exact;
    bool measured; /* the models were run */
    struct candidate *candidates;
    size_t count;
    struct list left_out; /* names of quantizations that were not chosen */

    const char *gate_path; /* NULL: no gate */
    struct uqff_gate_check *checks;
    size_t check_count, failed_count;
    struct list written; /* files */
    bool printed;        /* a report is on standard output, in place of the table */
};

static inline bool validation_has_base(const struct validation *v) {
    return v->base_path != NULL || v->logits_base_path != NULL;
}

/* ---- validate_open.c: models ----------------------------------------------------------------- */

/* Opens every variant of every reference, or those that `variants` names, at v->candidates, which
 * live in the program's arena. */
enum uqff_code validation_open(struct validation *v, const struct list *references,
                               const struct list *variants, const struct uqff_warner *warner,
                               struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code validation_open_base(struct validation *v, const struct uqff_warner *warner,
                                    struct uqff_error *err) UQFF_MUST_CHECK;
/* UQFF_E_SHAPE when base and candidates do not mean the same by a token's id. */
enum uqff_code validation_check_vocabularies(const struct validation *v,
                                             const struct uqff_vocabulary *vocabulary,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
/* True when one of the models is read from that file. */
bool validation_is_input(const struct validation *v, const char *path);
void validation_close(struct validation *v);

/* ---- validate_text.c: words and numbers ------------------------------------------------------ */

/* "1.00123", "98.431 %", "1.69 MiB"; "-" for what was not measured. */
const char *validation_figure(char out[40], enum uqff_figure figure, double value);
/* What a report calls a figure: "KLD 99.9 %". */
const char *validation_title(enum uqff_figure figure);
/* "at most 1.05" */
const char *validation_limit(char out[64], const struct uqff_gate_check *check);
/* The figures that tables of a run show, UQFF_FIGURE_COUNT at the end. */
const enum uqff_figure *validation_columns(const struct validation *v);
/* The value of a figure for the base: NaN where it has none. */
double validation_base_figure(const struct validation *v, enum uqff_figure figure);
/* "4 chunks of 512 tokens of valid.txt, 1020 scored" */
void validation_describe(const struct validation *v, struct uqff_buffer *out);

/* Rows of the lists of percentiles, as llama-perplexity has them. */
struct percentile_row {
    const char *title, *key;
    size_t offset; /* in struct uqff_percentiles */
};
extern const struct percentile_row validation_percentiles[13];
double validation_percentile(const struct uqff_percentiles *all, size_t row);
/* Zero in place of what is printed as zero: a minus before it would mean nothing. */
double validation_plain(double value, double half_digit);

enum uqff_code validation_print(const struct validation *v, struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- the other forms ------------------------------------------------------------------------- */

enum uqff_code validation_print_json(const struct validation *v,
                                     struct uqff_error *err) UQFF_MUST_CHECK;
void validation_markdown(const struct validation *v, struct uqff_buffer *out);
void validation_junit(const struct validation *v, struct uqff_buffer *out);
void validation_html(const struct validation *v, struct uqff_buffer *out);
/* A chart of a figure against size, as SVG; nothing when no candidate has the figure. */
void validation_chart(const struct validation *v, enum uqff_figure figure, struct uqff_buffer *out);

#endif
