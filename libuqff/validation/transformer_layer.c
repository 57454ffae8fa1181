/* A layer: attention and feed forward, each added to what runs through. */
#include "validation/transformer.h"

struct step {
    struct uqff_sequence *sequence;
    const struct layer *layer;
    size_t l, first, tokens;
    float *x;          /* [tokens][hidden] */
    const float *in;   /* the same */
    const float *norm; /* [hidden] */
    float *out;        /* the same as x */
    float *gate;
    const float *up;
    size_t n;
};

static const struct arch_shape *shape_of(const struct step *step) {
    return &step->sequence->transformer->shape;
}

/* ---- operators, a token at a time ------------------------------------------------------------ */

/* out = norm(in) */
static enum uqff_code norm_token(void *context, size_t token, unsigned thread,
                                 struct uqff_error *err) {
    struct step *step = context;
    const struct arch_shape *shape = shape_of(step);
    size_t at = token * shape->hidden;
    (void)thread, (void)err;
    uqff_rms_norm(step->in + at, step->norm, shape->norm_shift, shape->epsilon, step->out + at,
                  shape->hidden);
    return UQFF_OK;
}

static enum uqff_code norm_all(struct step *step, const float *in, const float *norm, float *out,
                               struct uqff_error *err) {
    step->in = in;
    step->norm = norm;
    step->out = out;
    return uqff_each_token(step->sequence, step->tokens, norm_token, step, err);
}

/* x += in, normed before where the architecture says so. */
static enum uqff_code add_token(void *context, size_t token, unsigned thread,
                                struct uqff_error *err) {
    struct step *step = context;
    const struct arch_shape *shape = shape_of(step);
    size_t at = token * shape->hidden;
    (void)thread, (void)err;
    if (step->norm != NULL) {
        uqff_rms_norm(step->in + at, step->norm, shape->norm_shift, shape->epsilon, step->out + at,
                      shape->hidden);
    }
    uqff_add(step->x + at, step->in + at, shape->hidden);
    return UQFF_OK;
}

static enum uqff_code add_all(struct step *step, float *in, const float *norm,
                              struct uqff_error *err) {
    step->in = step->out = in;
    step->norm = norm;
    return uqff_each_token(step->sequence, step->tokens, add_token, step, err);
}

/* Norms and rotates the heads of one token. */
static void turn_heads(const struct step *step, float *heads, size_t count, const float *norm,
                       size_t token) {
    const struct uqff_sequence *sequence = step->sequence;
    const struct arch_shape *shape = shape_of(step);
    size_t half = shape->rotary / 2, table = UQFF_BATCH * half;
    const float *cosines = (const float *)sequence->angles.data + token * half;
    if (shape->layer[step->l].local) {
        cosines += 2 * table;
    }
    for (size_t h = 0; h < count; h++, heads += shape->head_dim) {
        if (norm != NULL) {
            uqff_rms_norm(heads, norm, shape->norm_shift, shape->epsilon, heads, shape->head_dim);
        }
        if (shape->layer[step->l].rotates) {
            uqff_rope(heads, cosines, cosines + table, half);
        }
    }
}

static enum uqff_code turn_token(void *context, size_t token, unsigned thread,
                                 struct uqff_error *err) {
    struct step *step = context;
    const struct arch_shape *shape = shape_of(step);
    size_t q_width = shape->heads * shape->head_dim, k_width = shape->kv_heads * shape->head_dim;
    float *q = (float *)step->sequence->q.data + token * q_width;
    float *k = (float *)step->sequence->k.data + token * k_width;
    (void)thread, (void)err;
    turn_heads(step, q, shape->heads, step->layer->q_norm, token);
    turn_heads(step, k, shape->kv_heads, step->layer->k_norm, token);
    uqff_scale(q, shape->query_scale, q_width);
    return UQFF_OK;
}

static enum uqff_code activate_token(void *context, size_t token, unsigned thread,
                                     struct uqff_error *err) {
    struct step *step = context;
    const struct uqff_ops *ops = step->sequence->ops;
    float *gate = step->gate + token * step->n;
    const float *up = step->up + token * step->n;
    (void)thread, (void)err;
    switch (shape_of(step)->activation) {
    case ARCH_SILU:
        ops->swiglu(gate, up, step->n);
        break;
    case ARCH_GELU_TANH:
        ops->geglu(gate, up, step->n);
        break;
    case ARCH_GELU_ERF:
        uqff_geglu_erf(gate, up, step->n);
        break;
    case ARCH_RELU:
        uqff_reglu(gate, up, step->n);
        break;
    }
    return UQFF_OK;
}

enum uqff_code uqff_activate(struct uqff_sequence *sequence, float *gate, const float *up, size_t n,
                             size_t tokens, struct uqff_error *err) {
    struct step step = {.sequence = sequence, .gate = gate, .up = up, .n = n};
    return uqff_each_token(sequence, tokens, activate_token, &step, err);
}

/* ---- the two halves of a layer --------------------------------------------------------------- */

static enum uqff_code attention(struct step *step, struct uqff_error *err) {
    struct uqff_sequence *s = step->sequence;
    const struct layer *layer = step->layer;
    const struct arch_shape *shape = shape_of(step);
    size_t q_width = shape->heads * shape->head_dim, kv_width = shape->kv_heads * shape->head_dim;
    const struct product in[] = {
        {&layer->q, s->q.data, q_width},
        {&layer->k, s->k.data, kv_width},
        {&layer->v, s->v.data, kv_width},
    };
    const struct product out = {&layer->o, s->part.data, shape->hidden};
    enum uqff_code code = norm_all(step, step->x, layer->input_norm, s->normed.data, err);
    code = code != UQFF_OK ? code : uqff_multiply(s, in, 3, s->normed.data, step->tokens, err);
    code = code != UQFF_OK ? code : uqff_each_token(s, step->tokens, turn_token, step, err);
    if (code != UQFF_OK) {
        return code;
    }
    uqff_cache_store(s, step->l, step->first, step->tokens, s->k.data, s->v.data);
    code = uqff_attend(s, step->l, step->first, step->tokens, s->q.data, s->mixed.data, err);
    code = code != UQFF_OK ? code : uqff_multiply(s, &out, 1, s->mixed.data, step->tokens, err);
    return code != UQFF_OK ? code : add_all(step, s->part.data, layer->post_attention_norm, err);
}

static enum uqff_code feed_forward(struct step *step, struct uqff_error *err) {
    struct uqff_sequence *s = step->sequence;
    const struct layer *layer = step->layer;
    const struct arch_shape *shape = shape_of(step);
    size_t width = shape->feed_forward;
    const struct product in[] = {
        {&layer->gate, s->gate.data, width},
        {&layer->up, s->up.data, width},
    };
    const struct product out = {&layer->down, s->part.data, shape->hidden};
    enum uqff_code code = norm_all(step, step->x, layer->ffn_norm, s->normed.data, err);
    if (code == UQFF_OK && layer->expert_gate != NULL) {
        code = uqff_run_experts(s, layer, s->normed.data, step->tokens, s->part.data, err);
    } else if (code == UQFF_OK) {
        code = uqff_multiply(s, in, 2, s->normed.data, step->tokens, err);
        code = code != UQFF_OK
                   ? code
                   : uqff_activate(s, s->gate.data, s->up.data, width, step->tokens, err);
        code = code != UQFF_OK ? code : uqff_multiply(s, &out, 1, s->gate.data, step->tokens, err);
    }
    return code != UQFF_OK ? code : add_all(step, s->part.data, layer->post_ffn_norm, err);
}

static enum uqff_code check_token(void *context, size_t token, unsigned thread,
                                  struct uqff_error *err) {
    struct step *step = context;
    size_t hidden = shape_of(step)->hidden;
    (void)thread;
    return uqff_find_nonfinite(step->x + token * hidden, hidden) == hidden
               ? UQFF_OK
               : uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                           "%s: layer %zu: what it makes of token %zu holds NaN or infinity",
                           uqff_model_path(step->sequence->transformer->model), step->l,
                           step->first + token);
}

enum uqff_code uqff_run_layer(struct uqff_sequence *sequence, size_t l, float *x, size_t first,
                              size_t tokens, struct uqff_error *err) {
    struct step step = {
        .sequence = sequence,
        .layer = &sequence->transformer->layers[l],
        .l = l,
        .first = first,
        .tokens = tokens,
        .x = x,
    };
    enum uqff_code code = attention(&step, err);
    code = code != UQFF_OK ? code : feed_forward(&step, err);
    return code != UQFF_OK ? code : uqff_each_token(sequence, tokens, check_token, &step, err);
}
