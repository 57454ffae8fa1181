/* Sequences: the memory of an evaluation, and evaluating tokens in batches. */
#include <string.h>

#include "validation/math.h"
#include "validation/transformer.h"

/* Floats of logits that are held at once, about. */
#define SLAB_FLOATS ((size_t)8 << 20)

size_t uqff_slab_rows(size_t vocabulary) {
    size_t rows = SLAB_FLOATS / vocabulary;
    return rows < 16 ? 16 : rows > 128 ? 128 : rows;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static enum uqff_code make_cache(struct uqff_sequence *s, struct uqff_error *err) {
    const struct arch_shape *shape = &s->transformer->shape;
    uint64_t floats, bytes;
    size_t size;
    s->value_dims = (shape->head_dim + 15) / 16 * 16;
    if (s->capacity > SIZE_MAX - UQFF_KEY_BLOCK) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET, "%zu positions do not fit memory",
                         s->capacity);
    }
    s->positions = (s->capacity + UQFF_KEY_BLOCK - 1) / UQFF_KEY_BLOCK * UQFF_KEY_BLOCK;
    if (!uqff_mul_u64(s->positions, shape->head_dim + s->value_dims, &floats) ||
        !uqff_mul_u64(floats, (uint64_t)shape->layers * shape->kv_heads, &floats) ||
        !uqff_mul_u64(floats, sizeof(float), &bytes) || !uqff_to_size(bytes, &size) ||
        size > SIZE_MAX / 2) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "keys and values of %zu positions do not fit memory", s->capacity);
    }
    s->cache = uqff_alloc_aligned(size);
    return s->cache == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

static enum uqff_code make_frequencies(struct uqff_sequence *s, struct uqff_error *err) {
    const struct uqff_transformer *t = s->transformer;
    size_t half = t->shape.rotary / 2;
    s->rope.frequency = uqff_alloc_array(half, sizeof(double));
    s->local_rope.frequency = uqff_alloc_array(half, sizeof(double));
    if (s->rope.frequency == NULL || s->local_rope.frequency == NULL) {
        return uqff_fail_memory(err);
    }
    uqff_arch_frequencies(&t->shape, &t->stretch, s->capacity, false, &s->rope);
    if ((t->shape.traits->flags & ARCH_LOCAL_THETA) != 0) {
        uqff_arch_frequencies(&t->shape, &t->stretch, s->capacity, true, &s->local_rope);
    }
    return uqff_room(&s->angles, (uint64_t)4 * UQFF_BATCH * half, sizeof(float), err);
}

/* Room for the activations of the largest batch. */
static enum uqff_code make_room(struct uqff_sequence *s, struct uqff_error *err) {
    const struct arch_shape *shape = &s->transformer->shape;
    size_t width = shape->feed_forward > shape->expert_feed_forward ? shape->feed_forward
                                                                    : shape->expert_feed_forward;
    size_t batch = s->capacity < UQFF_BATCH ? s->capacity : UQFF_BATCH;
    size_t kv_width = shape->kv_heads * shape->head_dim, q_width = shape->heads * shape->head_dim;
    const struct {
        struct room *room;
        size_t width;
    } rooms[] = {
        {&s->x, shape->hidden}, {&s->normed, shape->hidden}, {&s->part, shape->hidden},
        {&s->q, q_width},       {&s->mixed, q_width},        {&s->k, kv_width},
        {&s->v, kv_width},      {&s->gate, width},           {&s->up, width},
    };
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms && code == UQFF_OK; i++) {
        code = uqff_room(rooms[i].room, batch, rooms[i].width * sizeof(float), err);
    }
    return code;
}

enum uqff_code uqff_sequence_new(struct uqff_transformer *transformer, size_t capacity,
                                 struct uqff_sequence **out, struct uqff_error *err) {
    if (capacity == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "found a sequence of 0 positions, expected at least 1");
    }
    struct uqff_sequence *s = uqff_alloc_array(1, sizeof *s);
    if (s == NULL) {
        return uqff_fail_memory(err);
    }
    s->transformer = transformer;
    s->ops = uqff_ops_in_use();
    s->capacity = capacity;
    enum uqff_code code = make_cache(s, err);
    code = code != UQFF_OK ? code : make_frequencies(s, err);
    code = code != UQFF_OK ? code : make_room(s, err);
    if (code != UQFF_OK) {
        uqff_sequence_free(s);
        return code;
    }
    *out = s;
    return UQFF_OK;
}

void uqff_sequence_free(struct uqff_sequence *sequence) {
    if (sequence == NULL) {
        return;
    }
    struct room *const rooms[] = {
        &sequence->angles,   &sequence->x,          &sequence->normed,  &sequence->part,
        &sequence->q,        &sequence->k,          &sequence->v,       &sequence->mixed,
        &sequence->gate,     &sequence->up,         &sequence->router,  &sequence->chosen,
        &sequence->gathered, &sequence->expert_out, &sequence->scratch, &sequence->attention,
    };
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        uqff_room_free(rooms[i]);
    }
    for (size_t i = 0; i < UQFF_PRODUCTS; i++) {
        uqff_room_free(&sequence->prepared[i]);
    }
    uqff_free_aligned(sequence->cache);
    uqff_free(sequence->rope.frequency);
    uqff_free(sequence->local_rope.frequency);
    uqff_free(sequence);
}

void uqff_sequence_reset(struct uqff_sequence *sequence) {
    sequence->length = 0;
}

/* ---- a batch --------------------------------------------------------------------------------- */

static void fill_angles(const struct arch_rope *rope, size_t half, size_t first, size_t tokens,
                        float *cosines) {
    float *sines = cosines + UQFF_BATCH * half;
    for (size_t t = 0; t < tokens; t++) {
        for (size_t i = 0; i < half; i++) {
            double sine, cosine;
            uqff_math_sincos((double)(first + t) * rope->frequency[i], &sine, &cosine);
            cosines[t * half + i] = (float)(cosine * rope->scale);
            sines[t * half + i] = (float)(sine * rope->scale);
        }
    }
}

static enum uqff_code embed(struct uqff_sequence *s, const uint32_t *tokens, size_t count,
                            struct uqff_error *err) {
    const struct uqff_transformer *t = s->transformer;
    size_t hidden = t->shape.hidden;
    float *x = s->x.data;
    for (size_t i = 0; i < count; i++, x += hidden) {
        if (tokens[i] >= t->vocabulary) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "%s: found token %u, expected one below %zu, the rows of the "
                             "embedding",
                             uqff_model_path(t->model), tokens[i], t->vocabulary);
        }
        enum uqff_code code = uqff_weight_decode(t, &t->embedding, tokens[i], x, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (t->shape.input_scale != 1) {
            uqff_scale(x, t->shape.input_scale, hidden);
        }
        if (uqff_find_nonfinite(x, hidden) != hidden) {
            return uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                             "%s: the embedding of token %u holds NaN or infinity",
                             uqff_model_path(t->model), tokens[i]);
        }
    }
    return UQFF_OK;
}

static void show(const struct uqff_sequence *s, int64_t layer, size_t count) {
    const struct uqff_observer *observer = s->observer;
    if (observer != NULL && observer->layer != NULL) {
        observer->layer(observer->context, layer, s->x.data, count, s->transformer->shape.hidden);
    }
}

enum uqff_code uqff_sequence_forward(struct uqff_sequence *s, const uint32_t *tokens, size_t count,
                                     struct uqff_error *err) {
    const struct uqff_transformer *t = s->transformer;
    const struct arch_shape *shape = &t->shape;
    size_t first = s->length, half = shape->rotary / 2;
    float *x = s->x.data, *normed = s->normed.data;
    if (count > s->capacity - first) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "found %zu tokens, expected at most %zu: the sequence was made for %zu",
                         first + count, s->capacity, s->capacity);
    }
    fill_angles(&s->rope, half, first, count, s->angles.data);
    if ((shape->traits->flags & ARCH_LOCAL_THETA) != 0) {
        fill_angles(&s->local_rope, half, first, count,
                    (float *)s->angles.data + 2 * UQFF_BATCH * half);
    }
    enum uqff_code code = embed(s, tokens, count, err);
    if (code == UQFF_OK) {
        show(s, -1, count);
    }
    for (size_t l = 0; l < shape->layers && code == UQFF_OK; l++) {
        code = uqff_run_layer(s, l, x, first, count, err);
        if (code == UQFF_OK) {
            show(s, (int64_t)l, count);
        }
    }
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < count; i++) {
        uqff_rms_norm(x + i * shape->hidden, t->output_norm, shape->norm_shift, shape->epsilon,
                      normed + i * shape->hidden, shape->hidden);
    }
    s->length += count;
    return UQFF_OK;
}

/* ---- logits ---------------------------------------------------------------------------------- */

struct logits {
    struct uqff_sequence *sequence;
    float *rows;
};

static enum uqff_code finish_row(void *context, size_t row, unsigned thread,
                                 struct uqff_error *err) {
    const struct logits *logits = context;
    const struct uqff_transformer *t = logits->sequence->transformer;
    size_t n = t->vocabulary, whole = n / 8 * 8;
    float *x = logits->rows + row * n;
    (void)thread;
    if (t->shape.output_softcap != 0) {
        float cap = t->shape.output_softcap, tail[8] = {0};
        logits->sequence->ops->softcap(x, whole, cap);
        memcpy(tail, x + whole, (n - whole) * sizeof *x);
        logits->sequence->ops->softcap(tail, 8, cap);
        memcpy(x + whole, tail, (n - whole) * sizeof *x);
    }
    return uqff_find_nonfinite(x, n) == n
               ? UQFF_OK
               : uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                           "%s: module '%s': the logits that it gives hold NaN or infinity",
                           uqff_model_path(t->model), t->head.module);
}

enum uqff_code uqff_sequence_logits(struct uqff_sequence *s, size_t first, size_t count, float *out,
                                    struct uqff_error *err) {
    const struct uqff_transformer *t = s->transformer;
    const struct product product = {&t->head, out, t->vocabulary};
    struct logits logits = {s, out};
    enum uqff_code code = uqff_multiply(
        s, &product, 1, (const float *)s->normed.data + first * t->shape.hidden, count, err);
    return code != UQFF_OK ? code : uqff_each_token(s, count, finish_row, &logits, err);
}

/* Logits of the batch that was just evaluated, from token `first` of it on; `base` of the caller's
 * tokens came before the batch. */
static enum uqff_code give_logits(struct uqff_sequence *s, size_t base, size_t first, size_t count,
                                  const struct uqff_logits *logits, float *slab, size_t slab_rows,
                                  struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = first; i < count && code == UQFF_OK; i += slab_rows) {
        size_t n = count - i < slab_rows ? count - i : slab_rows;
        code = uqff_sequence_logits(s, i, n, slab, err);
        code = code != UQFF_OK ? code : logits->rows(logits->context, base + i, n, slab, err);
    }
    return code;
}

struct evaluation {
    struct uqff_sequence *sequence;
    const uint32_t *tokens;
    size_t count, first_logits;
    const struct uqff_logits *logits;
};

static enum uqff_code evaluate(void *context, struct uqff_error *err) {
    const struct evaluation *e = context;
    size_t vocabulary = e->sequence->transformer->vocabulary;
    size_t slab_rows = uqff_slab_rows(vocabulary);
    bool wanted = e->logits != NULL && e->logits->rows != NULL && e->first_logits < e->count;
    struct room slab = {0};
    enum uqff_code code = UQFF_OK;
    if (wanted) {
        slab_rows = e->count - e->first_logits < slab_rows ? e->count - e->first_logits : slab_rows;
        code = uqff_room(&slab, slab_rows, vocabulary * sizeof(float), err);
    }
    for (size_t i = 0; i < e->count && code == UQFF_OK; i += UQFF_BATCH) {
        size_t n = e->count - i < UQFF_BATCH ? e->count - i : UQFF_BATCH;
        code = uqff_sequence_forward(e->sequence, e->tokens + i, n, err);
        if (code == UQFF_OK && wanted && e->first_logits < i + n) {
            size_t first = e->first_logits > i ? e->first_logits - i : 0;
            code = give_logits(e->sequence, i, first, n, e->logits, slab.data, slab_rows, err);
        }
    }
    uqff_room_free(&slab);
    return code;
}

enum uqff_code uqff_sequence_eval(struct uqff_sequence *sequence, const uint32_t *tokens,
                                  size_t count, size_t first_logits,
                                  const struct uqff_logits *logits,
                                  const struct uqff_observer *observer, struct uqff_error *err) {
    struct evaluation evaluation = {sequence, tokens, count, first_logits, logits};
    sequence->observer = observer;
    enum uqff_code code =
        uqff_parallel_team(sequence->transformer->threads, evaluate, &evaluation, err);
    sequence->observer = NULL;
    return code;
}
