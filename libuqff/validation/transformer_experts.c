/* Layers with experts: a router chooses some for each token, and their results are summed by its
 * probabilities. */
#include <math.h>
#include <string.h>

#include "validation/transformer.h"

/* Where each token goes. A choice is a token's n-th: choice t * used + n. */
struct routing {
    struct uqff_sequence *sequence;
    const struct layer *layer;
    size_t tokens, used, experts, padded;
    const float *x;
    float *scores; /* [tokens][padded], then [tokens][used]: weights of the choices */
    float *weights;
    uint32_t *expert;          /* [tokens][used] */
    uint32_t *choices;         /* by expert, in order of tokens */
    size_t *begin;             /* [experts + 1], into choices */
    float *gathered, *results; /* [tokens][hidden], [tokens * used][hidden] */
    float *out;
};

static const struct arch_shape *shape_of(const struct routing *r) {
    return &r->sequence->transformer->shape;
}

static enum uqff_code make_room(struct routing *r, struct uqff_error *err) {
    struct uqff_sequence *s = r->sequence;
    uint64_t hidden = shape_of(r)->hidden, choices = (uint64_t)r->tokens * r->used;
    enum uqff_code code =
        uqff_room(&s->router, r->tokens, (r->padded + r->used) * sizeof(float), err);
    code = code != UQFF_OK
               ? code
               : uqff_room(&s->chosen, 1,
                           (r->experts + 1) * sizeof(size_t) + 2 * choices * sizeof(uint32_t), err);
    code = code != UQFF_OK ? code : uqff_room(&s->gathered, r->tokens, hidden * sizeof(float), err);
    code = code != UQFF_OK ? code : uqff_room(&s->expert_out, choices, hidden * sizeof(float), err);
    if (code != UQFF_OK) {
        return code;
    }
    r->scores = s->router.data;
    r->weights = r->scores + r->tokens * r->padded;
    r->begin = s->chosen.data;
    r->expert = (uint32_t *)(void *)(r->begin + r->experts + 1);
    r->choices = r->expert + choices;
    r->gathered = s->gathered.data;
    r->results = s->expert_out.data;
    return UQFF_OK;
}

/* Probabilities over all experts; of these the largest, the earlier of equal ones first. Sums are
 * in the order of the choices. */
static enum uqff_code choose(void *context, size_t token, unsigned thread, struct uqff_error *err) {
    struct routing *r = context;
    float *scores = r->scores + token * r->padded, *weights = r->weights + token * r->used;
    (void)thread;
    if (uqff_find_nonfinite(scores, r->experts) != r->experts) {
        return uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                         "%s: module '%s': its result for token %zu holds NaN or infinity",
                         uqff_model_path(r->sequence->transformer->model), r->layer->router.module,
                         r->sequence->length + token);
    }
    for (size_t e = r->experts; e < r->padded; e++) {
        scores[e] = -INFINITY;
    }
    float total = r->sequence->ops->softmax(scores, r->padded), sum = 0;
    for (size_t n = 0; n < r->used; n++) {
        size_t best = 0;
        for (size_t e = 1; e < r->experts; e++) {
            best = scores[e] > scores[best] ? e : best;
        }
        r->expert[token * r->used + n] = (uint32_t)best;
        weights[n] = scores[best];
        sum += scores[best];
        scores[best] = -1; /* not again */
    }
    for (size_t n = 0; n < r->used; n++) {
        weights[n] /= shape_of(r)->normalize_experts ? sum : total;
    }
    return UQFF_OK;
}

/* Sorts the choices by expert. */
static void sort_choices(struct routing *r) {
    size_t count = r->tokens * r->used, sum = 0;
    memset(r->begin, 0, (r->experts + 1) * sizeof *r->begin);
    for (size_t c = 0; c < count; c++) {
        r->begin[r->expert[c]]++;
    }
    for (size_t e = 0; e <= r->experts; e++) {
        size_t n = r->begin[e];
        r->begin[e] = sum;
        sum += n;
    }
    for (size_t c = 0; c < count; c++) {
        r->choices[r->begin[r->expert[c]]++] = (uint32_t)c;
    }
    /* Each beginning has moved to its end, which is where the next one begins. */
    memmove(r->begin + 1, r->begin, r->experts * sizeof *r->begin);
    r->begin[0] = 0;
}

static enum uqff_code run_expert(struct routing *r, size_t e, struct uqff_error *err) {
    struct uqff_sequence *s = r->sequence;
    const struct arch_shape *shape = shape_of(r);
    size_t hidden = shape->hidden, width = shape->expert_feed_forward;
    size_t count = r->begin[e + 1] - r->begin[e];
    const uint32_t *choices = r->choices + r->begin[e];
    const struct product in[] = {
        {&r->layer->expert_gate[e], s->gate.data, width},
        {&r->layer->expert_up[e], s->up.data, width},
    };
    const struct product out = {&r->layer->expert_down[e], r->gathered, hidden};
    for (size_t i = 0; i < count; i++) {
        memcpy(r->gathered + i * hidden, r->x + choices[i] / r->used * hidden,
               hidden * sizeof(float));
    }
    enum uqff_code code = uqff_multiply(s, in, 2, r->gathered, count, err);
    code = code != UQFF_OK ? code : uqff_activate(s, s->gate.data, s->up.data, width, count, err);
    code = code != UQFF_OK ? code : uqff_multiply(s, &out, 1, s->gate.data, count, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        memcpy(r->results + choices[i] * hidden, r->gathered + i * hidden, hidden * sizeof(float));
    }
    return code;
}

/* out = sum of weight * result, in the order of the choices. */
static enum uqff_code combine(void *context, size_t token, unsigned thread,
                              struct uqff_error *err) {
    struct routing *r = context;
    size_t hidden = shape_of(r)->hidden;
    float *out = r->out + token * hidden;
    (void)thread, (void)err;
    memset(out, 0, hidden * sizeof *out);
    for (size_t n = 0; n < r->used; n++) {
        const float *result = r->results + (token * r->used + n) * hidden;
        float weight = r->weights[token * r->used + n];
        for (size_t k = 0; k < hidden; k++) {
            out[k] += weight * result[k];
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_run_experts(struct uqff_sequence *sequence, const struct layer *layer,
                                const float *x, size_t tokens, float *out, struct uqff_error *err) {
    const struct arch_shape *shape = &sequence->transformer->shape;
    struct routing r = {
        .sequence = sequence,
        .layer = layer,
        .tokens = tokens,
        .used = shape->experts_used,
        .experts = shape->experts,
        .padded = (shape->experts + 7) / 8 * 8,
        .x = x,
        .out = out,
    };
    enum uqff_code code = make_room(&r, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct product route = {&layer->router, r.scores, r.padded};
    code = uqff_multiply(sequence, &route, 1, x, tokens, err);
    code = code != UQFF_OK ? code : uqff_each_token(sequence, tokens, choose, &r, err);
    if (code != UQFF_OK) {
        return code;
    }
    sort_choices(&r);
    for (size_t e = 0; e < r.experts && code == UQFF_OK; e++) {
        if (r.begin[e + 1] > r.begin[e]) {
            code = run_expert(&r, e, err);
        }
    }
    return code != UQFF_OK ? code : uqff_each_token(sequence, tokens, combine, &r, err);
}
