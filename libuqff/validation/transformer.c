/* Opening a transformer: every tensor that its architecture needs, found and checked. */
#include "validation/transformer.h"

#include <stdio.h>
#include <string.h>

struct names {
    char text[1400];
};

/* "model.layers.<layer>.<rest>" */
static const char *in_layer(struct names *names, size_t layer, const char *rest) {
    snprintf(names->text, sizeof names->text, "model.layers.%zu.%s", layer, rest);
    return names->text;
}

static bool has_flag(const struct binder *binder, unsigned flag) {
    return (binder->transformer->shape.traits->flags & flag) != 0;
}

/* ---- parts of a layer ------------------------------------------------------------------------ */

static enum uqff_code bind_norms(struct binder *binder, size_t l, struct layer *layer,
                                 struct uqff_error *err) {
    const struct arch_shape *shape = &binder->transformer->shape;
    bool post = has_flag(binder, ARCH_POST_NORMS), heads = has_flag(binder, ARCH_QK_NORMS);
    const struct {
        const char *name;
        bool needed;
        size_t elements;
        const float **out;
    } rows[] = {
        {"input_layernorm.weight", true, shape->hidden, &layer->input_norm},
        /* The same name for the norm before the feed forward, or for one behind the attention. */
        {"post_attention_layernorm.weight", true, shape->hidden,
         post ? &layer->post_attention_norm : &layer->ffn_norm},
        {"pre_feedforward_layernorm.weight", post, shape->hidden, &layer->ffn_norm},
        {"post_feedforward_layernorm.weight", post, shape->hidden, &layer->post_ffn_norm},
        {"self_attn.q_norm.weight", heads, shape->head_dim, &layer->q_norm},
        {"self_attn.k_norm.weight", heads, shape->head_dim, &layer->k_norm},
    };
    enum uqff_code code = UQFF_OK;
    struct names names;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && code == UQFF_OK; i++) {
        if (rows[i].needed) {
            code = uqff_bind_vector(binder, in_layer(&names, l, rows[i].name), rows[i].elements,
                                    rows[i].out, err);
        }
    }
    return code;
}

static enum uqff_code bind_attention(struct binder *binder, size_t l, struct layer *layer,
                                     struct uqff_error *err) {
    const struct arch_shape *shape = &binder->transformer->shape;
    size_t hidden = shape->hidden, q_rows = shape->heads * shape->head_dim,
           kv_rows = shape->kv_heads * shape->head_dim;
    struct names names;
    enum uqff_code code;
    if (has_flag(binder, ARCH_FUSED)) {
        struct weight fused;
        code = uqff_bind_weight(binder, in_layer(&names, l, "self_attn.qkv_proj"),
                                q_rows + 2 * kv_rows, hidden, &fused, err);
        layer->q = uqff_weight_rows(&fused, 0, q_rows);
        layer->k = uqff_weight_rows(&fused, q_rows, kv_rows);
        layer->v = uqff_weight_rows(&fused, q_rows + kv_rows, kv_rows);
    } else {
        code = uqff_bind_weight(binder, in_layer(&names, l, "self_attn.q_proj"), q_rows, hidden,
                                &layer->q, err);
        code = code != UQFF_OK ? code
                               : uqff_bind_weight(binder, in_layer(&names, l, "self_attn.k_proj"),
                                                  kv_rows, hidden, &layer->k, err);
        code = code != UQFF_OK ? code
                               : uqff_bind_weight(binder, in_layer(&names, l, "self_attn.v_proj"),
                                                  kv_rows, hidden, &layer->v, err);
    }
    return code != UQFF_OK ? code
                           : uqff_bind_weight(binder, in_layer(&names, l, "self_attn.o_proj"),
                                              hidden, q_rows, &layer->o, err);
}

static enum uqff_code bind_dense(struct binder *binder, size_t l, struct layer *layer,
                                 struct uqff_error *err) {
    const struct arch_shape *shape = &binder->transformer->shape;
    size_t hidden = shape->hidden, ff = shape->feed_forward;
    struct names names;
    enum uqff_code code;
    if (ff == 0) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: configuration: the size of the feed forward is missing",
                         uqff_model_path(binder->transformer->model));
    }
    if (has_flag(binder, ARCH_FUSED)) {
        struct weight fused;
        code = uqff_bind_weight(binder, in_layer(&names, l, "mlp.gate_up_proj"), 2 * ff, hidden,
                                &fused, err);
        layer->gate = uqff_weight_rows(&fused, 0, ff);
        layer->up = uqff_weight_rows(&fused, ff, ff);
    } else {
        code = uqff_bind_weight(binder, in_layer(&names, l, "mlp.gate_proj"), ff, hidden,
                                &layer->gate, err);
        code = code != UQFF_OK ? code
                               : uqff_bind_weight(binder, in_layer(&names, l, "mlp.up_proj"), ff,
                                                  hidden, &layer->up, err);
    }
    return code != UQFF_OK ? code
                           : uqff_bind_weight(binder, in_layer(&names, l, "mlp.down_proj"), hidden,
                                              ff, &layer->down, err);
}

static enum uqff_code bind_experts(struct binder *binder, size_t l, struct layer *layer,
                                   struct uqff_error *err) {
    const struct arch_shape *shape = &binder->transformer->shape;
    size_t hidden = shape->hidden, ff = shape->expert_feed_forward, n = shape->experts;
    const char *folder = shape->traits->experts;
    struct names names;
    char rest[80];
    if (ff == 0) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: configuration: the size of the experts is missing",
                         uqff_model_path(binder->transformer->model));
    }
    const struct {
        const char *name;
        size_t rows, columns;
        struct weight **out;
    } stacks[] = {
        {"gate_proj", ff, hidden, &layer->expert_gate},
        {"up_proj", ff, hidden, &layer->expert_up},
        {"down_proj", hidden, ff, &layer->expert_down},
    };
    snprintf(rest, sizeof rest, "%s.gate", folder);
    enum uqff_code code =
        uqff_bind_residual(binder, in_layer(&names, l, rest), n, hidden, &layer->router, err);
    for (size_t i = 0; i < 3 && code == UQFF_OK; i++) {
        snprintf(rest, sizeof rest, "%s.experts.%s", folder, stacks[i].name);
        code = uqff_bind_experts(binder, in_layer(&names, l, rest), n, stacks[i].rows,
                                 stacks[i].columns, stacks[i].out, err);
    }
    return code;
}

/* Some models have experts in some of their layers only: what is stored decides. */
static bool layer_has_experts(const struct binder *binder, size_t l) {
    const struct arch_shape *shape = &binder->transformer->shape;
    struct names names;
    return shape->experts > 0 && !uqff_binder_has(binder, in_layer(&names, l, "mlp.down_proj"));
}

static enum uqff_code bind_layer(struct binder *binder, size_t l, struct uqff_error *err) {
    struct layer *layer = &binder->transformer->layers[l];
    enum uqff_code code = bind_norms(binder, l, layer, err);
    code = code != UQFF_OK ? code : bind_attention(binder, l, layer, err);
    if (code != UQFF_OK) {
        return code;
    }
    return layer_has_experts(binder, l) ? bind_experts(binder, l, layer, err)
                                        : bind_dense(binder, l, layer, err);
}

/* ---- both ends ------------------------------------------------------------------------------- */

/* The embedding's rows are the vocabulary. A configuration that claims more would have ids without
 * a row. */
static enum uqff_code bind_ends(struct binder *binder, struct uqff_error *err) {
    struct uqff_transformer *t = binder->transformer;
    const struct uqff_config *config = uqff_model_config(t->model);
    bool embedding = uqff_binder_has(binder, "model.embed_tokens");
    bool head = uqff_binder_has(binder, "lm_head");
    /* Of a tied pair either may be the one that is stored. */
    const char *first = embedding || !config->tied || !head ? "model.embed_tokens" : "lm_head";
    size_t index = UQFF_NONE;
    for (size_t i = 0; i < uqff_model_module_count(t->model); i++) {
        if (strcmp(uqff_model_module(t->model, i)->name, first) == 0) {
            index = i;
        }
    }
    uint64_t rows = index != UQFF_NONE ? uqff_model_module(t->model, index)->rows : 0;
    if (index != UQFF_NONE && (rows == 0 || rows >= UINT32_MAX || rows < config->vocabulary)) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s.weight': found %llu rows, expected one for each of the "
                         "%llu tokens",
                         uqff_model_path(t->model), first, (unsigned long long)rows,
                         (unsigned long long)config->vocabulary);
    }
    t->vocabulary = (size_t)rows;
    enum uqff_code code =
        uqff_bind_weight(binder, first, rows, t->shape.hidden, &t->embedding, err);
    if (code == UQFF_OK && (config->tied || strcmp(first, "lm_head") == 0)) {
        t->head = t->embedding;
    } else if (code == UQFF_OK) {
        code = uqff_bind_weight(binder, "lm_head", rows, t->shape.hidden, &t->head, err);
    }
    return code != UQFF_OK ? code
                           : uqff_bind_vector(binder, "model.norm.weight", t->shape.hidden,
                                              &t->output_norm, err);
}

static enum uqff_code bind_all(struct uqff_transformer *t, struct uqff_error *err) {
    struct binder binder;
    enum uqff_code code = uqff_binder_open(t, &binder, err);
    if (code != UQFF_OK) {
        return code;
    }
    t->layers = uqff_arena_array(&t->arena, t->shape.layers, sizeof *t->layers);
    code = t->layers == NULL ? uqff_fail_memory(err) : bind_ends(&binder, err);
    for (size_t l = 0; l < t->shape.layers && code == UQFF_OK; l++) {
        code = bind_layer(&binder, l, err);
    }
    uqff_binder_close(&binder);
    return code;
}

/* ---- the public functions -------------------------------------------------------------------- */

enum uqff_code uqff_transformer_open(const struct uqff_model *model,
                                     const struct uqff_transformer_options *options,
                                     struct uqff_transformer **out, struct uqff_error *err) {
    struct uqff_transformer *t = uqff_alloc_array(1, sizeof *t);
    if (t == NULL) {
        return uqff_fail_memory(err);
    }
    t->model = model;
    if (options != NULL) {
        t->exact = options->exact;
        t->threads = options->threads;
    }
    if (t->threads == 0) {
        t->threads = uqff_available_threads();
    }
    enum uqff_code code = uqff_arch_shape(model, &t->arena, &t->shape, err);
    code = code != UQFF_OK ? code : bind_all(t, err);
    code =
        code != UQFF_OK ? code : uqff_arch_stretch(model, &t->shape, &t->arena, &t->stretch, err);
    if (code != UQFF_OK) {
        uqff_transformer_close(t);
        return code;
    }
    *out = t;
    return UQFF_OK;
}

void uqff_transformer_close(struct uqff_transformer *transformer) {
    if (transformer == NULL) {
        return;
    }
    for (size_t i = 0; i < transformer->copy_count; i++) {
        uqff_free_aligned(transformer->copies[i]);
    }
    uqff_free(transformer->copies);
    uqff_arena_free(&transformer->arena);
    uqff_free(transformer);
}

uint32_t uqff_transformer_vocabulary(const struct uqff_transformer *transformer) {
    return (uint32_t)transformer->vocabulary;
}

uint64_t uqff_transformer_context(const struct uqff_transformer *transformer) {
    return transformer->shape.context;
}
