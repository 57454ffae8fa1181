/* The cache of keys and values, and attention over it. */
#include <math.h>
#include <string.h>

#include "validation/transformer.h"

/* ---- the cache ------------------------------------------------------------------------------- */

static float *keys_of(const struct uqff_sequence *sequence, size_t layer, size_t head) {
    const struct arch_shape *shape = &sequence->transformer->shape;
    size_t size = sequence->positions * (shape->head_dim + sequence->value_dims);
    return sequence->cache + (layer * shape->kv_heads + head) * size;
}

static float *values_of(const struct uqff_sequence *sequence, size_t layer, size_t head) {
    return keys_of(sequence, layer, head) +
           sequence->positions * sequence->transformer->shape.head_dim;
}

void uqff_cache_store(struct uqff_sequence *sequence, size_t l, size_t first, size_t tokens,
                      const float *k, const float *v) {
    const struct arch_shape *shape = &sequence->transformer->shape;
    size_t dims = shape->head_dim, width = shape->kv_heads * dims;
    for (size_t head = 0; head < shape->kv_heads; head++) {
        float *keys = keys_of(sequence, l, head), *values = values_of(sequence, l, head);
        for (size_t t = 0; t < tokens; t++) {
            size_t position = first + t, within = position % UQFF_KEY_BLOCK;
            float *block = keys + (position - within) * dims;
            float *value = values + position * sequence->value_dims;
            const float *key = k + t * width + head * dims;
            if (within == 0) {
                memset(block, 0, UQFF_KEY_BLOCK * dims * sizeof *block);
            }
            for (size_t d = 0; d < dims; d++) {
                block[d * UQFF_KEY_BLOCK + within] = key[d];
            }
            memcpy(value, v + t * width + head * dims, dims * sizeof *value);
            memset(value + dims, 0, (sequence->value_dims - dims) * sizeof *value);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

struct attention {
    struct uqff_sequence *sequence;
    size_t layer, first, tokens;
    const float *q;
    float *out;
    size_t group;         /* heads that share keys and values */
    size_t blocks;        /* of queries, for one of these */
    size_t piece, pieces; /* blocks that are one piece of work, pieces of one head of keys */
    size_t row;           /* floats for the scores of a query */
};

/* Queries that meet the same keys are numbered token by token, and within it head by head. */
struct query {
    const float *q;
    float *out;
    size_t begin, end; /* positions that it sees */
};

static struct query query_of(const struct attention *a, size_t head, size_t index) {
    const struct arch_shape *shape = &a->sequence->transformer->shape;
    size_t token = index / a->group, position = a->first + token;
    size_t at = token * shape->heads + head * a->group + index % a->group;
    uint64_t window = shape->layer[a->layer].window;
    return (struct query){
        .q = a->q + at * shape->head_dim,
        .out = a->out + at * shape->head_dim,
        .begin = position >= window ? (size_t)(position + 1 - window) : 0,
        .end = position + 1,
    };
}

static void fill(float *x, size_t from, size_t to) {
    for (size_t k = from; k < to; k++) {
        x[k] = -INFINITY;
    }
}

/* Up to UQFF_QUERIES queries against all keys that any of them sees. What one of them does not see
 * has weight 0, which changes neither its sum nor its result, so company makes no difference. */
static void attend_block(const struct attention *a, size_t head, size_t first, size_t count,
                         float *scratch) {
    const struct uqff_sequence *sequence = a->sequence;
    const struct arch_shape *shape = &sequence->transformer->shape;
    const struct uqff_ops *ops = sequence->ops;
    struct query query[UQFF_QUERIES];
    const float *q[UQFF_QUERIES];
    float *scores = scratch, *mixed = scratch + UQFF_QUERIES * a->row, *out[UQFF_QUERIES];
    size_t begin = SIZE_MAX, end = 0;
    for (size_t i = 0; i < UQFF_QUERIES; i++) {
        /* A block that is not full repeats its last query. */
        query[i] = query_of(a, head, first + (i < count ? i : count - 1));
        q[i] = query[i].q;
        out[i] = mixed + i * sequence->value_dims;
        begin = query[i].begin < begin ? query[i].begin : begin;
        end = query[i].end > end ? query[i].end : end;
    }
    begin = begin / UQFF_KEY_BLOCK * UQFF_KEY_BLOCK;
    size_t blocks = (end - begin + UQFF_KEY_BLOCK - 1) / UQFF_KEY_BLOCK;
    size_t n = blocks * UQFF_KEY_BLOCK;
    ops->scores(q, keys_of(sequence, a->layer, head) + begin * shape->head_dim, shape->head_dim,
                blocks, scores, a->row);
    float sums[UQFF_QUERIES];
    for (size_t i = 0; i < UQFF_QUERIES; i++) {
        float *row = scores + i * a->row;
        if (shape->attention_softcap != 0) {
            ops->softcap(row, n, shape->attention_softcap);
        }
        fill(row, 0, query[i].begin - begin);
        fill(row, query[i].end - begin, n);
        sums[i] = ops->softmax(row, n);
    }
    ops->mix(scores, a->row, values_of(sequence, a->layer, head) + begin * sequence->value_dims,
             end - begin, sequence->value_dims, out);
    for (size_t i = 0; i < count; i++) {
        for (size_t d = 0; d < shape->head_dim; d++) {
            query[i].out[d] = out[i][d] / sums[i];
        }
    }
}

static enum uqff_code run_piece(void *context, size_t index, unsigned thread,
                                struct uqff_error *err) {
    struct attention *a = context;
    size_t head = index / a->pieces, queries = a->tokens * a->group;
    size_t from = index % a->pieces * a->piece, to = from + a->piece;
    float *scratch = (float *)a->sequence->attention.data +
                     thread * UQFF_QUERIES * (a->row + a->sequence->value_dims);
    (void)err;
    for (size_t b = from; b < to && b < a->blocks; b++) {
        size_t left = queries - b * UQFF_QUERIES;
        attend_block(a, head, b * UQFF_QUERIES, left < UQFF_QUERIES ? left : UQFF_QUERIES, scratch);
    }
    return UQFF_OK;
}

enum uqff_code uqff_attend(struct uqff_sequence *sequence, size_t l, size_t first, size_t tokens,
                           const float *q, float *out, struct uqff_error *err) {
    const struct arch_shape *shape = &sequence->transformer->shape;
    unsigned threads = sequence->transformer->threads;
    struct attention a = {
        .sequence = sequence,
        .layer = l,
        .first = first,
        .tokens = tokens,
        .q = q,
        .out = out,
        .group = shape->heads / shape->kv_heads,
        .row = (first + tokens + UQFF_KEY_BLOCK - 1) / UQFF_KEY_BLOCK * UQFF_KEY_BLOCK,
    };
    a.blocks = (tokens * a.group + UQFF_QUERIES - 1) / UQFF_QUERIES;
    a.piece = a.blocks > 32 ? 8 : 1;
    a.pieces = (a.blocks + a.piece - 1) / a.piece;
    enum uqff_code code =
        uqff_room(&sequence->attention, threads,
                  UQFF_QUERIES * (a.row + sequence->value_dims) * sizeof(float), err);
    if (code != UQFF_OK) {
        return code;
    }
    threads = uqff_product_threads(sequence, tokens, a.row * shape->heads * shape->head_dim);
    return uqff_parallel_for(shape->kv_heads * a.pieces, threads, run_piece, &a, err);
}
