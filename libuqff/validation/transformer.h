/*
 * The reference transformer from inside: weights bound to a model, a sequence's memory, and the
 * steps of an evaluation. Private to validation/.
 */
#ifndef UQFF_VALIDATION_TRANSFORMER_H
#define UQFF_VALIDATION_TRANSFORMER_H

#include "uqff/validation.h"
#include "validation/arch.h"
#include "validation/ops.h"

/* ---- weights --------------------------------------------------------------------------------- */

/* A matrix of `rows` rows of `columns` elements. */
struct weight {
    const char *module; /* its Hugging Face path */
    int64_t expert;     /* -1: not one of several */
    uint32_t type;
    size_t rows, columns, row_bytes;
    const unsigned char *data; /* all rows; NULL: they are read from the tensor, a few at a time */
    size_t tensor;
    uint64_t first_row; /* of the tensor */
    size_t
        head_rows; /* not 0: within each that many rows, pairs of the rotation lie side by side */
    const float *bias; /* in the order of the results, halves; NULL: none */
};

struct layer {
    const float *input_norm, *post_attention_norm, *ffn_norm, *post_ffn_norm;
    const float *q_norm, *k_norm;
    struct weight q, k, v, o;
    struct weight gate, up, down; /* of a layer without experts: rows is 0 otherwise */
    struct weight router;
    struct weight *expert_gate, *expert_up, *expert_down; /* [experts] */
};

struct uqff_transformer {
    const struct uqff_model *model;
    struct uqff_arena arena;
    struct arch_shape shape;
    struct arch_stretch stretch;
    struct layer *layers;
    struct weight embedding, head;
    const float *output_norm;
    size_t vocabulary;
    unsigned threads;
    bool exact;
    unsigned char **copies; /* weights that could not stay where they are */
    size_t copy_count, copy_capacity;
};

/* transformer_weights.c: finds tensors and modules by name and checks their shapes. */
struct binder {
    struct uqff_transformer *transformer;
    struct named *modules, *tensors; /* sorted by Hugging Face name */
    size_t module_count, tensor_count;
};
enum uqff_code uqff_binder_open(struct uqff_transformer *transformer, struct binder *out,
                                struct uqff_error *err) UQFF_MUST_CHECK;
void uqff_binder_close(struct binder *binder);
bool uqff_binder_has(const struct binder *binder, const char *module);
/* A module of one matrix, or of several: *out is then an array. */
enum uqff_code uqff_bind_weight(struct binder *binder, const char *module, uint64_t rows,
                                uint64_t columns, struct weight *out,
                                struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code uqff_bind_experts(struct binder *binder, const char *module, uint64_t experts,
                                 uint64_t rows, uint64_t columns, struct weight **out,
                                 struct uqff_error *err) UQFF_MUST_CHECK;
/* A matrix that is no module. */
enum uqff_code uqff_bind_residual(struct binder *binder, const char *module, uint64_t rows,
                                  uint64_t columns, struct weight *out,
                                  struct uqff_error *err) UQFF_MUST_CHECK;
/* A vector of floats by its tensor's full name. */
enum uqff_code uqff_bind_vector(struct binder *binder, const char *name, uint64_t elements,
                                const float **out, struct uqff_error *err) UQFF_MUST_CHECK;
/* Rows first … first + rows - 1 of a matrix, as a matrix. */
struct weight uqff_weight_rows(const struct weight *weight, size_t first, size_t rows);
/* Rows as they are stored, of a matrix without `data`. Any thread. */
enum uqff_code uqff_weight_read(const struct uqff_transformer *transformer,
                                const struct weight *weight, size_t first, size_t rows, void *out,
                                struct uqff_error *err) UQFF_MUST_CHECK;
/* One row, decoded. */
enum uqff_code uqff_weight_decode(const struct uqff_transformer *transformer,
                                  const struct weight *weight, size_t row, float *out,
                                  struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- memory ---------------------------------------------------------------------------------- */

/* Grows to what is asked for and keeps it; its content does not survive growth. */
struct room {
    void *data;
    size_t size;
};
enum uqff_code uqff_room(struct room *room, uint64_t count, uint64_t size,
                         struct uqff_error *err) UQFF_MUST_CHECK;
void uqff_room_free(struct room *room);

/* Tokens that are evaluated together, at most. */
#define UQFF_BATCH 512
/* Matrices with one input that are multiplied together. */
#define UQFF_PRODUCTS 3

struct uqff_sequence {
    struct uqff_transformer *transformer;
    const struct uqff_ops *ops;
    const struct uqff_observer *observer; /* of the evaluation that is going on; or NULL */
    size_t capacity, length;

    /* Of layer l and head h: keys in blocks of UQFF_KEY_BLOCK positions, [block][head_dim][position
     * in block], values [position][value_dims]. */
    float *cache;
    size_t positions;  /* capacity, in whole blocks */
    size_t value_dims; /* head_dim, rounded up to 16 */

    struct arch_rope rope, local_rope;
    struct room angles; /* [0: global, 1: local][cosines, sines][tokens][rotary / 2] */

    struct room x, normed, part; /* [tokens][hidden] */
    struct room q, k, v, mixed;
    struct room gate, up;
    struct room router, chosen, gathered, expert_out;
    struct room prepared[UQFF_PRODUCTS], scratch; /* of products */
    size_t scratch_stride;                        /* bytes a thread */
    struct room attention;
};

/* Runs body(context, i) for i < count: on this thread when there are few, else on all. */
enum uqff_code uqff_each_token(const struct uqff_sequence *sequence, size_t count,
                               uqff_loop_body *body, void *context,
                               struct uqff_error *err) UQFF_MUST_CHECK;

/* How many threads `products` multiplications for each of `tokens` tokens are worth. */
unsigned uqff_product_threads(const struct uqff_sequence *sequence, size_t tokens, size_t products);

/* ---- steps ----------------------------------------------------------------------------------- */

struct product {
    const struct weight *weight;
    float *out; /* [tokens][stride] */
    size_t stride;
};
/* out[t][r] = weight[r] · x[t] + bias[r], for up to UQFF_PRODUCTS matrices of the same columns.
 * Pairs of rows of a head that lie side by side come out in halves. UQFF_E_NONFINITE naming the
 * module when x is not finite. */
enum uqff_code uqff_multiply(struct uqff_sequence *sequence, const struct product *products,
                             size_t count, const float *x, size_t tokens,
                             struct uqff_error *err) UQFF_MUST_CHECK;

/* Layer `l` on x [tokens][hidden] at positions from `first` on, in place. */
enum uqff_code uqff_run_layer(struct uqff_sequence *sequence, size_t l, float *x, size_t first,
                              size_t tokens, struct uqff_error *err) UQFF_MUST_CHECK;

/* Puts keys and values of `tokens` positions from `first` on into the cache. k, v:
 * [tokens][kv_heads * head_dim], k rotated. */
void uqff_cache_store(struct uqff_sequence *sequence, size_t l, size_t first, size_t tokens,
                      const float *k, const float *v);
/* out[t] = attention of queries q[t] at position first + t, both [tokens][heads * head_dim];
 * queries come rotated and scaled, and the cache holds what they may see. */
enum uqff_code uqff_attend(struct uqff_sequence *sequence, size_t l, size_t first, size_t tokens,
                           const float *q, float *out, struct uqff_error *err) UQFF_MUST_CHECK;

/* out[t] = what the experts make of x[t]; [tokens][hidden]. */
enum uqff_code uqff_run_experts(struct uqff_sequence *sequence, const struct layer *layer,
                                const float *x, size_t tokens, float *out,
                                struct uqff_error *err) UQFF_MUST_CHECK;
/* gate[t] = activation(gate[t]) * up[t] for n floats a token. */
enum uqff_code uqff_activate(struct uqff_sequence *sequence, float *gate, const float *up, size_t n,
                             size_t tokens, struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- an evaluation in two halves ------------------------------------------------------------- */

/* Appends up to UQFF_BATCH tokens: what the head sees of them is left in sequence->normed. */
enum uqff_code uqff_sequence_forward(struct uqff_sequence *sequence, const uint32_t *tokens,
                                     size_t count, struct uqff_error *err) UQFF_MUST_CHECK;
/* Logits of `count` of the tokens that were last appended, from the `first` on. out:
 * [count][vocabulary]. */
enum uqff_code uqff_sequence_logits(struct uqff_sequence *sequence, size_t first, size_t count,
                                    float *out, struct uqff_error *err) UQFF_MUST_CHECK;
/* Rows of logits that are held at once. */
size_t uqff_slab_rows(size_t vocabulary);

#endif
