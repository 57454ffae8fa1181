/*
 * validation: what quantization cost. Tokenizers, a reference transformer that runs a model from
 * any container, perplexity and divergence in the field's definitions, gates and reports, and text
 * generation.
 *
 * The numbers are the same on every machine: every sum has a stated order, parallel work is split
 * by rows, and no result depends on the C library's mathematics.
 */
#ifndef UQFF_VALIDATION_H
#define UQFF_VALIDATION_H

#include "uqff/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tokenizers ------------------------------------------------------------------------------ */

/* Text to ids and back, by a vocabulary: SentencePiece BPE with scores and byte fallback,
 * byte-level BPE with any split rule. Immutable after opening; safe to use from several threads at
 * once. */
struct uqff_tokenizer;

/* The vocabulary must outlive the tokenizer. UQFF_E_UNSUPPORTED for a kind or split rule that is
 * beyond this version (named), UQFF_E_LIMIT for a pattern that could run away. */
UQFF_API enum uqff_code uqff_tokenizer_new(const struct uqff_vocabulary *vocabulary,
                                           const struct uqff_warner *warner,
                                           struct uqff_tokenizer **out,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_tokenizer_free(struct uqff_tokenizer *tokenizer);

struct uqff_tokenize_options {
    bool add_special;   /* BOS and EOS by the vocabulary's own rule */
    bool parse_special; /* the text of a control token stands for the token */
};

/* Ids of a text, appended to *ids (grown by uqff_grow; freed by uqff_free): *ids, *count and
 * *capacity are NULL, 0 and 0 before the first call. `text` is UTF-8; bytes that are not come out
 * as byte tokens or as U+FFFD, as the vocabulary does. */
UQFF_API enum uqff_code uqff_tokenize(const struct uqff_tokenizer *tokenizer, const char *text,
                                      size_t length, const struct uqff_tokenize_options *options,
                                      uint32_t **ids, size_t *count, size_t *capacity,
                                      struct uqff_error *err) UQFF_MUST_CHECK;
/* Text of ids, appended to *out; control tokens are left out unless `with_special`. */
UQFF_API enum uqff_code uqff_detokenize(const struct uqff_tokenizer *tokenizer, const uint32_t *ids,
                                        size_t count, bool with_special, struct uqff_buffer *out,
                                        struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- chat templates -------------------------------------------------------------------------- */

/* The part of Jinja that chat templates use, rendered as @huggingface/jinja renders it, with limits
 * on steps, depth and output. spec/templates.md describes the language. A template is immutable
 * after opening; it may be rendered from several threads at once. */
struct uqff_template;

/* Limits; what exceeds one is UQFF_E_LIMIT. */
#define UQFF_TEMPLATE_SIZE (1024 * 1024) /* bytes of a template */
#define UQFF_TEMPLATE_DEPTH 100          /* of blocks, parentheses, printed values, variables */
#define UQFF_TEMPLATE_STEPS 5000000      /* of one rendering */
#define UQFF_TEMPLATE_OUTPUT (16 * 1024 * 1024)  /* bytes of rendered text */
#define UQFF_TEMPLATE_MEMORY (256 * 1024 * 1024) /* bytes of all values of one rendering */

/* Parses a template, which is copied. `where` names it in errors (NULL: "chat template"). What does
 * not parse is UQFF_E_SYNTAX, a statement that is not known UQFF_E_UNSUPPORTED, both with line and
 * column in the text and the byte offset in the error; UQFF_E_ENCODING when it is not UTF-8. */
UQFF_API enum uqff_code uqff_template_open(const char *text, size_t size, const char *where,
                                           struct uqff_template **out,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_template_close(struct uqff_template *tmpl);
/* Renders with the variables of a JSON object: {"messages": […], "bos_token": "…",
 * "add_generation_prompt": true, "tools": …} and appends the text to *out, which stays as it was on
 * failure. raise_exception() in the template is UQFF_E_ARGUMENT with its message, and so is an
 * operation that the values do not allow (none + "a"); a filter, test, function or method that is
 * not known is UQFF_E_UNSUPPORTED; each with line and column. JSON that is malformed gives the
 * strict parser's errors. The clock is not read: strftime_now() speaks of the moment that the
 * variable of this name gives, "2024-07-26" or "2024-07-26T12:30:00", and is UQFF_E_UNSUPPORTED
 * without it. */
UQFF_API enum uqff_code uqff_template_render(const struct uqff_template *tmpl,
                                             const char *variables, size_t size,
                                             struct uqff_buffer *out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- the reference transformer --------------------------------------------------------------- */

/* A model made ready to run: weights stay where they are (mapped), in any type that can be decoded.
 */
struct uqff_transformer;

struct uqff_transformer_options {
    bool exact;       /* weights expanded to F32, activations not rounded */
    unsigned threads; /* 0: all available; never changes a digit */
    const struct uqff_warner *warner;
};
/* The model must outlive it. UQFF_E_UNSUPPORTED for an architecture that cannot be run,
 * UQFF_E_MISSING naming an absent tensor, UQFF_E_SHAPE for one that does not fit the configuration.
 */
UQFF_API enum uqff_code uqff_transformer_open(const struct uqff_model *model,
                                              const struct uqff_transformer_options *options,
                                              struct uqff_transformer **out,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_transformer_close(struct uqff_transformer *transformer);
/* Logits a token, and the positions that the model was made for (0 where it does not say). */
UQFF_API uint32_t uqff_transformer_vocabulary(const struct uqff_transformer *transformer);
UQFF_API uint64_t uqff_transformer_context(const struct uqff_transformer *transformer);

/* One sequence: its key and value cache for up to `capacity` positions. The transformer must
 * outlive it. Sequences of one transformer may be evaluated at the same time, each on a thread of
 * its own. */
struct uqff_sequence;
UQFF_API enum uqff_code uqff_sequence_new(struct uqff_transformer *transformer, size_t capacity,
                                          struct uqff_sequence **out,
                                          struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_sequence_free(struct uqff_sequence *sequence);
/* Back to no tokens. */
UQFF_API void uqff_sequence_reset(struct uqff_sequence *sequence);

/* Sees what an evaluation computes, while it computes it. Any member may be NULL. */
struct uqff_observer {
    /* Input rows of a weight matrix: [rows][columns] float32; `module` by its Hugging Face path,
     * `expert` -1 or the expert that these rows went to. For importance matrices. */
    void (*input)(void *context, const char *module, int64_t expert, const float *rows,
                  size_t row_count, size_t columns);
    /* Activations behind a layer (or -1: behind the embedding): [tokens][hidden]. For tests. */
    void (*layer)(void *context, int64_t layer, const float *rows, size_t row_count, size_t hidden);
    void *context;
};

/* Takes what an evaluation gives: logits[i][j] says how likely token j is behind token first + i of
 * those that were given to it, for i below `count`; valid during the call only. Another code than
 * UQFF_OK ends the evaluation, which returns it. */
struct uqff_logits {
    enum uqff_code (*rows)(void *context, size_t first, size_t count, const float *logits,
                           struct uqff_error *err);
    void *context;
};
/* Appends `count` tokens to the sequence and calls `logits` for tokens first_logits … count-1 of
 * them, in slabs of rows [slab][vocabulary], so that ctx × vocabulary is never held: count - 1
 * gives the one row that chooses the next token. `logits` and `observer` may be NULL. UQFF_E_LIMIT
 * beyond the capacity, UQFF_E_ARGUMENT for a token beyond the vocabulary, UQFF_E_NONFINITE; after
 * an error the sequence is to be reset. */
UQFF_API enum uqff_code uqff_sequence_eval(struct uqff_sequence *sequence, const uint32_t *tokens,
                                           size_t count, size_t first_logits,
                                           const struct uqff_logits *logits,
                                           const struct uqff_observer *observer,
                                           struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- perplexity and divergence --------------------------------------------------------------- */

struct uqff_measure_options {
    size_t context; /* tokens a chunk; 0: 512 */
    size_t chunks;  /* at most; 0: all */
    size_t stride;  /* 0: chunks side by side, scored in their second half */
    unsigned threads;
    bool exact;
};

struct uqff_estimate {
    double value, error; /* error: one standard deviation of the mean */
};

/* Percentiles as llama.cpp lists them. */
struct uqff_percentiles {
    double max, p999, p99, p95, p90, p75, median, p25, p10, p5, p1, p01, min;
};

struct uqff_measure {
    size_t chunks, tokens; /* scored tokens */
    struct uqff_estimate perplexity;
    bool has_base;
    struct uqff_estimate base_perplexity, ln_ratio, ratio, difference;
    double correlation; /* of the two series of negative log-likelihoods */
    struct uqff_estimate kld, delta_p, rms_delta_p, same_top;
    struct uqff_percentiles kld_percentiles, delta_p_percentiles;
};

/* Called after each chunk with the running values. Returns false to stop. */
typedef bool uqff_measure_progress(void *context, size_t chunk, size_t chunks,
                                   const struct uqff_measure *so_far);

/* Measures models on tokens, in one pass over the text: `base` may be NULL; each candidate is
 * compared with it side by side, so no logits are stored. `out` has one element a candidate. */
UQFF_API enum uqff_code
uqff_measure(const struct uqff_model *base, const struct uqff_model *const *candidates,
             size_t count, const uint32_t *tokens, size_t token_count, uint32_t bos, bool add_bos,
             const struct uqff_measure_options *options, uqff_measure_progress *progress,
             void *context, struct uqff_measure *out, struct uqff_error *err) UQFF_MUST_CHECK;

/* llama.cpp's logits file ("_logits_"): written from a base, or read in place of one. `progress`,
 * which may be NULL, is called as by uqff_measure. */
UQFF_API enum uqff_code
uqff_logits_write(const struct uqff_model *base, const uint32_t *tokens, size_t token_count,
                  uint32_t bos, bool add_bos, const struct uqff_measure_options *options,
                  const char *path, bool overwrite, uqff_measure_progress *progress, void *context,
                  struct uqff_measure *out, struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_measure_against_file(const char *logits_path,
                                                  const struct uqff_model *candidate,
                                                  const struct uqff_measure_options *options,
                                                  uqff_measure_progress *progress, void *context,
                                                  struct uqff_measure *out,
                                                  struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- weights: what quantization cost, without running the model ------------------------------ */

/* How far a tensor is from its source. */
struct uqff_weight_error {
    const char *name;           /* Hugging Face's */
    uint32_t source_type, type; /* UINT32_MAX: more than one */
    uint64_t elements;
    double rel_rmse; /* root mean square of the difference, over that of the source; infinite where
                        only the source is zero throughout */
    double snr; /* signal to noise in decibels, -20 log10(rel_rmse): infinite for equal tensors */
    double cosine;   /* of the angle between the two; 1 when both are zero throughout */
    double max_abs;  /* largest difference of two elements */
    uint64_t max_at; /* the first element that is so far off, counted over the whole tensor */
};
struct uqff_weights;

struct uqff_weights_options {
    unsigned threads;                 /* 0: all available; never changes a digit */
    const struct uqff_warner *warner; /* told of tensors that only one of the models has */
};
/* Compares a model with its source, tensor by tensor, whatever container each lies in; rows are
 * read in slabs. UQFF_E_SHAPE where a tensor has another shape in the source, UQFF_E_NONFINITE for
 * NaN or infinity, UQFF_E_MISSING when no tensor has the same name in both. */
UQFF_API enum uqff_code uqff_weights_compare(const struct uqff_model *source,
                                             const struct uqff_model *candidate,
                                             const struct uqff_weights_options *options,
                                             const struct uqff_progress *progress,
                                             struct uqff_weights **out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_weights_free(struct uqff_weights *weights);
UQFF_API size_t uqff_weights_count(const struct uqff_weights *weights);
/* In order of name. */
UQFF_API const struct uqff_weight_error *uqff_weights_at(const struct uqff_weights *weights,
                                                         size_t i);
/* Over all elements of all tensors; the name is "". */
UQFF_API const struct uqff_weight_error *uqff_weights_total(const struct uqff_weights *weights);

/* ---- gates ----------------------------------------------------------------------------------- */

/* The figures of a variant that a gate can limit, by the names that reports and gate files use.
 * Shares of tokens and changes of probability are percentages, as llama-perplexity prints them. */
enum uqff_figure {
    UQFF_FIGURE_PPL,
    UQFF_FIGURE_PPL_RATIO,
    UQFF_FIGURE_LN_PPL_RATIO,
    UQFF_FIGURE_PPL_DIFFERENCE,
    UQFF_FIGURE_CORRELATION,
    UQFF_FIGURE_KLD_MEAN,
    UQFF_FIGURE_KLD_MEDIAN,
    UQFF_FIGURE_KLD_P90,
    UQFF_FIGURE_KLD_P95,
    UQFF_FIGURE_KLD_P99,
    UQFF_FIGURE_KLD_P999,
    UQFF_FIGURE_KLD_MAX,
    UQFF_FIGURE_DELTA_P_MEAN,
    UQFF_FIGURE_RMS_DELTA_P,
    UQFF_FIGURE_SAME_TOP,
    UQFF_FIGURE_BYTES,
    UQFF_FIGURE_BITS,     /* a weight */
    UQFF_FIGURE_REL_RMSE, /* of the weights: the worst tensor's */
    UQFF_FIGURE_SNR,
    UQFF_FIGURE_COSINE,
    UQFF_FIGURE_COUNT,
};
UQFF_API const char *uqff_figure_name(enum uqff_figure figure); /* "kld_p999" */
/* A limit is max_NAME, or min_NAME where more is better. */
UQFF_API bool uqff_figure_more_is_better(enum uqff_figure figure);

struct uqff_figures {
    double value[UQFF_FIGURE_COUNT]; /* NaN: not measured */
};
/* Nothing is measured, until what one of the others knows is filled in. */
UQFF_API void uqff_figures_clear(struct uqff_figures *figures);
UQFF_API void uqff_figures_of_measure(const struct uqff_measure *measure,
                                      struct uqff_figures *figures);
UQFF_API void uqff_figures_of_weights(const struct uqff_weights *weights,
                                      struct uqff_figures *figures);

/* A gate file: JSON of the user's own.
 *
 *     {
 *       "limits": {
 *         "*":      {"max_ppl_ratio": 1.05, "min_same_top": 90},
 *         "q4_k_m": {"max_kld_mean": 0.02, "min_same_top": null}
 *       },
 *       "baseline": {
 *         "file": "release-1.json",
 *         "drift": {"*": {"ppl": "0.5%", "same_top": 0.2}}
 *       }
 *     }
 *
 * What a variant's own entry says goes before "*"; null lifts a limit. The baseline is what
 * "uqff validate --json" printed earlier, its path being relative to the gate file; drift is how
 * much worse a figure may be than there: a number, or a share of the baseline's value. */
struct uqff_gate;

/* UQFF_E_SYNTAX, UQFF_E_FIELD (with "did you mean") and UQFF_E_DUPLICATE for a malformed file, its
 * baseline included. */
UQFF_API enum uqff_code uqff_gate_open(const char *path, struct uqff_gate **out,
                                       struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_gate_close(struct uqff_gate *gate);
/* The first key that needs a base to compare with ("max_kld_mean"), or NULL. */
UQFF_API const char *uqff_gate_wants_base(const struct uqff_gate *gate);
/* UQFF_E_UNKNOWN, with "did you mean", when the gate names a variant that is not in the list. */
UQFF_API enum uqff_code uqff_gate_check_names(const struct uqff_gate *gate,
                                              const char *const *names, size_t count,
                                              struct uqff_error *err) UQFF_MUST_CHECK;

/* How figures were measured: a baseline that was measured otherwise is refused. */
struct uqff_gate_conditions {
    const char *text_sha256; /* NULL: without text */
    uint64_t context, chunks, stride;
    bool exact;
};
struct uqff_gate_subject {
    const char *variant;
    struct uqff_figures figures;
};
struct uqff_gate_check {
    const char *variant; /* the subject's */
    enum uqff_figure figure;
    const char *key;     /* "max_kld_mean", or "drift kld_mean" */
    double limit, found; /* found is NaN when the figure was not measured: the check fails */
    bool passed;
};
/* Measures × gate: the checks of every subject in order, at *out, freed with uqff_free. A variant
 * that the baseline does not have is not held against it. UQFF_E_ARGUMENT when the baseline was
 * measured under other conditions. */
UQFF_API enum uqff_code uqff_gate_evaluate(const struct uqff_gate *gate,
                                           const struct uqff_gate_conditions *conditions,
                                           const struct uqff_gate_subject *subjects, size_t count,
                                           struct uqff_gate_check **out, size_t *check_count,
                                           struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- text generation ------------------------------------------------------------------------- */

/* Chooses the next token of a text. The steps are llama.cpp's, in its order: penalty on repeated
 * tokens, top-k, top-p, min-p, temperature. Ties go to the smaller id, and all arithmetic is double
 * with functions of our own, so that a seed gives the same text on every machine. */
struct uqff_sampler_options {
    double temperature;    /* 0: the token with the largest logit */
    size_t top_k;          /* keep that many tokens; 0: all */
    double top_p;          /* keep the likeliest that hold this share together; 0 or 1: all */
    double min_p;          /* drop what is less likely than this share of the likeliest */
    double repeat_penalty; /* divides (or multiplies, below zero) logits of recent tokens; 0, 1:
                              none */
    size_t repeat_last;    /* how many tokens are recent; 0: 64 */
    uint64_t seed;         /* of xoshiro256**, whose state splitmix64 fills */
};
struct uqff_sampler;
/* UQFF_E_ARGUMENT for an option out of its range. */
UQFF_API enum uqff_code uqff_sampler_new(const struct uqff_sampler_options *options,
                                         struct uqff_sampler **out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_sampler_free(struct uqff_sampler *sampler);
/* Notes a token of the prompt, or of another's making, as recent. */
UQFF_API void uqff_sampler_accept(struct uqff_sampler *sampler, uint32_t token);
/* Chooses among `count` finite logits, and notes what it chose. */
UQFF_API enum uqff_code uqff_sampler_choose(struct uqff_sampler *sampler, const float *logits,
                                            size_t count, uint32_t *token,
                                            struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- importance matrices --------------------------------------------------------------------- */

/* What was collected so far: for each weight matrix, and each expert of a stack, the sums of the
 * squares that its columns were multiplied with, and how many rows of activations they come from.
 * One thread at a time may change it; any number may read it. */
struct uqff_importance;

struct uqff_collect_options {
    size_t context;      /* tokens a chunk; 0: 512 */
    size_t chunks;       /* at most; 0: all */
    unsigned threads;    /* 0: all available; never changes a digit */
    bool process_output; /* also collect for the output head */
};

/* Runs a model over [token_count] tokens, chunk by chunk, every chunk from an empty context with
 * its first token replaced by `bos` when `add_bos`, and sums up what llama-imatrix does: all
 * positions, all matrices of the layers, routers included, of experts the rows that each was chosen
 * for. Sums are in float64 and in the order of the text, whatever the number of threads. `dataset`
 * names the text in the file; NULL or "" for none. Entries are named as in GGUF
 * ("blk.0.attn_q.weight"). The result is freed with uqff_importance_free.
 * UQFF_E_ARGUMENT for a text shorter than a chunk, UQFF_E_UNSUPPORTED for a model that cannot be
 * run, UQFF_E_NONFINITE, with module and token, for NaN or infinity in what a matrix is multiplied
 * with; UQFF_E_CANCELLED when the progress says so. Nothing is returned then. */
UQFF_API enum uqff_code uqff_importance_collect(const struct uqff_model *model,
                                                const uint32_t *tokens, size_t token_count,
                                                uint32_t bos, bool add_bos, const char *dataset,
                                                const struct uqff_collect_options *options,
                                                const struct uqff_progress *progress,
                                                struct uqff_importance **out,
                                                struct uqff_error *err) UQFF_MUST_CHECK;
/* Reads a file in any form that uqff_imatrix_open reads, with its errors, to be merged, written or
 * shown. The forms other than GGUF count in chunks: each stands for 512 rows. */
UQFF_API enum uqff_code uqff_importance_open(const char *path, struct uqff_importance **out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
/* Adds sums, counts, chunks and names of texts of another collection, which stays as it is. Experts
 * that one of the two does not tell apart, as a .dat, are added to those of the other in order.
 * UQFF_E_SHAPE, with the entry's name, where shapes differ: then nothing was added. */
UQFF_API enum uqff_code uqff_importance_merge(struct uqff_importance *into,
                                              const struct uqff_importance *other,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
/* Writes GGUF, or the older .dat, as llama-imatrix does: entries by name, numbers in float32; a
 * .dat keeps of an entry's counts only one, in chunks. The file appears when it is complete.
 * UQFF_E_ARGUMENT when there is no entry, UQFF_E_LIMIT for a number that the form cannot hold,
 * UQFF_E_EXISTS unless `overwrite`. */
UQFF_API enum uqff_code uqff_importance_write(const struct uqff_importance *importance,
                                              const char *path, bool as_dat, bool overwrite,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_importance_free(struct uqff_importance *importance);

/* Figures of an entry's mean squares, over all columns of all its matrices; of a matrix that no row
 * came by, every column is 1. As llama-imatrix shows them. */
struct uqff_importance_stats {
    const char *name; /* belongs to the collection */
    uint64_t columns; /* of all matrices together */
    double sum, min, max, mean, deviation;
    double active;             /* share of columns above 1e-5 */
    double entropy;            /* of the columns' shares in the sum, in bits */
    double normalized_entropy; /* as a share of the largest possible; 0 for a single column */
    double z_density;          /* share of columns more than a deviation above the mean */
    double cosine; /* of the angle to the same entry one layer before; NaN: there is none */
};
UQFF_API size_t uqff_importance_count(const struct uqff_importance *importance);
/* Of entry i in order of name, i below the count. */
UQFF_API void uqff_importance_stats(const struct uqff_importance *importance, size_t i,
                                    struct uqff_importance_stats *out);

#ifdef __cplusplus
}
#endif

#endif
