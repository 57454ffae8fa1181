/* Modules from the claims of tensors: experts stacked, fused ones cut; then biases and residual.
 * Claims are sorted by module and expert, so that modules come in container order. */
#include <stdlib.h>
#include <string.h>

#include "model/group.h"

/* ---- from claims to modules ------------------------------------------------------------------ */

static int by_module(const void *a, const void *b) {
    const struct claim *x = a, *y = b;
    int order = uqff_module_order(x->module, y->module);
    if (order != 0) {
        return order;
    }
    if (x->expert != y->expert) {
        return x->expert < y->expert ? -1 : 1;
    }
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

static enum uqff_code fail_missing_expert(const struct grouping *g, const struct claim *sibling,
                                          uint64_t expert, struct uqff_error *err) {
    const char *name = g->model->tensors[sibling->tensor].info.hf_name;
    return uqff_fail(
        err, UQFF_E_MISSING, UQFF_NO_OFFSET,
        "%s: tensor '%.*s%llu%s' is missing, expected experts 0 to %llu", g->model->path,
        (int)sibling->expert_begin, name, (unsigned long long)expert, name + sibling->expert_end,
        (unsigned long long)(g->model->config.experts > 0 ? g->model->config.experts - 1
                                                          : sibling->expert));
}

static enum uqff_code check_experts(const struct grouping *g, const struct claim *claims,
                                    size_t count, struct uqff_error *err) {
    const struct uqff_model *model = g->model;
    const struct uqff_tensor *first = &model->tensors[claims[0].tensor].info;
    for (size_t i = 0; i < count; i++) {
        const struct uqff_tensor *info = &model->tensors[claims[i].tensor].info;
        if (claims[i].kind != CLAIM_EXPERT || (i > 0 && claims[i].expert == claims[i - 1].expert)) {
            return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                             "%s: tensors '%s' and '%s' both hold module '%s'", model->path,
                             first->name, info->name, claims[0].module);
        }
        if (claims[i].expert != i) {
            return fail_missing_expert(g, &claims[i], i, err);
        }
        if (model->config.experts > 0 && i >= model->config.experts) {
            return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: tensor '%s': found expert %zu, expected fewer than the %llu of "
                             "the configuration",
                             model->path, info->name, i, (unsigned long long)model->config.experts);
        }
        if (info->shape[0] != first->shape[0] || info->shape[1] != first->shape[1]) {
            return uqff_fail(
                err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                "%s: tensor '%s': found [%llu, %llu], expected [%llu, %llu] as in '%s'",
                model->path, info->name, (unsigned long long)info->shape[0],
                (unsigned long long)info->shape[1], (unsigned long long)first->shape[0],
                (unsigned long long)first->shape[1], first->name);
        }
    }
    if (count < model->config.experts) {
        return fail_missing_expert(g, &claims[count - 1], count, err);
    }
    return UQFF_OK;
}

static enum uqff_code make_stack(struct grouping *g, const struct claim *claims, size_t count,
                                 struct module *out, struct uqff_error *err) {
    struct uqff_model *model = g->model;
    enum uqff_code code = check_experts(g, claims, count, err);
    if (code != UQFF_OK) {
        return code;
    }
    size_t *parts = uqff_arena_array(&model->arena, count, sizeof *parts);
    uint64_t *shape = uqff_arena_array(&model->arena, 3, sizeof *shape);
    if (parts == NULL || shape == NULL) {
        return uqff_fail_memory(err);
    }
    const struct tensor *first = &model->tensors[claims[0].tensor];
    out->info.type = first->info.type;
    for (size_t i = 0; i < count; i++) {
        parts[i] = claims[i].tensor;
        if (model->tensors[parts[i]].info.type != first->info.type) {
            out->info.type = UINT32_MAX;
        }
    }
    shape[0] = count;
    shape[1] = first->info.shape[0];
    shape[2] = first->info.shape[1];
    out->parts = parts;
    out->part_rows = first->rows;
    out->info.rank = 3;
    out->info.shape = shape;
    return UQFF_OK;
}

static enum uqff_code make_half(struct grouping *g, const struct claim *claim, struct module *out,
                                struct uqff_error *err) {
    const struct tensor *t = &g->model->tensors[claim->tensor];
    uint64_t *shape = uqff_arena_array(&g->model->arena, 3, sizeof *shape);
    if (shape == NULL) {
        return uqff_fail_memory(err);
    }
    shape[0] = t->info.shape[0];
    shape[1] = t->info.shape[1] / 2;
    shape[2] = t->info.shape[2];
    out->tensor = claim->tensor;
    out->stride = t->info.shape[1];
    out->part_rows = shape[1];
    out->base = claim->kind == CLAIM_UP ? shape[1] : 0;
    out->info.type = t->info.type;
    out->info.rank = 3;
    out->info.shape = shape;
    return UQFF_OK;
}

static void make_whole(struct grouping *g, const struct claim *claim, struct module *out) {
    const struct tensor *t = &g->model->tensors[claim->tensor];
    out->tensor = claim->tensor;
    out->part_rows = t->rows;
    out->info.type = t->info.type;
    out->info.rank = t->info.rank;
    out->info.shape = t->info.shape;
}

/* Role, layer and GGUF name: by rule, or by what the name itself tells. */
static enum uqff_code describe(struct grouping *g, struct module *module, struct uqff_error *err) {
    struct uqff_model *model = g->model;
    struct uqff_model_module *info = &module->info;
    struct rule_match match;
    info->layer = -1;
    if (model->arch != NULL && uqff_model_match_module(model->arch, info->name, &match)) {
        info->role = match.rule->role;
        info->layer = match.layer == UINT64_MAX ? -1 : (int64_t)match.layer;
        if (match.rule->gguf != NULL) {
            info->gguf_name = uqff_model_expand(&model->arena, match.rule->gguf, &match, "");
            if (info->gguf_name == NULL) {
                return uqff_fail_memory(err);
            }
        }
        if ((match.rule->flags & RULE_ROTATED) != 0 && !model->config.rotary_adjacent) {
            uint64_t kv =
                model->config.kv_heads != 0 ? model->config.kv_heads : model->config.heads;
            info->gguf_heads = info->role == UQFF_ROLE_ATTN_K ? kv : model->config.heads;
        }
        return UQFF_OK;
    }
    info->layer = uqff_model_guess_layer(info->name);
    const struct tensor *t =
        &model->tensors[module->parts != NULL ? module->parts[0] : module->tensor];
    if (model->kind == UQFF_MODEL_GGUF) {
        info->role = uqff_role_from_gguf_name(t->info.name);
        info->gguf_name = uqff_model_module_name(model, t->info.name);
        return info->gguf_name == NULL ? uqff_fail_memory(err) : UQFF_OK;
    }
    size_t tensor = (size_t)(t - model->tensors);
    bool tied_head = tensor == g->head && model->config.tied;
    info->role = tensor == g->embedding || tied_head ? UQFF_ROLE_EMBEDDING
                 : tensor == g->head                 ? UQFF_ROLE_OUTPUT
                                                     : UQFF_ROLE_OTHER;
    return UQFF_OK;
}

static enum uqff_code make_module(struct grouping *g, const struct claim *claims, size_t count,
                                  struct uqff_error *err) {
    struct uqff_model *model = g->model;
    struct module module = {.info = {.name = claims[0].module, .bias = UQFF_NONE}};
    enum uqff_code code = UQFF_OK;
    if (claims[0].kind == CLAIM_EXPERT) {
        code = make_stack(g, claims, count, &module, err);
    } else if (count > 1) {
        return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                         "%s: tensors '%s' and '%s' both hold module '%s'", model->path,
                         model->tensors[claims[0].tensor].info.name,
                         model->tensors[claims[1].tensor].info.name, claims[0].module);
    } else if (claims[0].kind == CLAIM_WHOLE) {
        make_whole(g, &claims[0], &module);
    } else {
        code = make_half(g, &claims[0], &module, err);
    }
    code = code != UQFF_OK ? code : describe(g, &module, err);
    if (code != UQFF_OK) {
        return code;
    }
    /* A container's weight may have any rank; its size is known to fit 64 bits. */
    module.info.columns = module.info.shape[module.info.rank - 1];
    module.info.rows = 1;
    for (unsigned i = 0; i + 1 < module.info.rank; i++) {
        module.info.rows *= module.info.shape[i];
    }
    model->modules[model->module_count++] = module;
    return UQFF_OK;
}

static enum uqff_code make_modules(struct grouping *g, struct uqff_error *err) {
    if (g->count > 0) {
        qsort(g->claims, g->count, sizeof *g->claims, by_module);
    }
    /* There are at most as many modules as claims. */
    g->model->modules = uqff_alloc_array(g->count, sizeof *g->model->modules);
    if (g->model->modules == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0, end; i < g->count; i = end) {
        for (end = i + 1; end < g->count && strcmp(g->claims[i].module, g->claims[end].module) == 0;
             end++) {
        }
        enum uqff_code code = make_module(g, &g->claims[i], end - i, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* ---- biases and residual --------------------------------------------------------------------- */

static int order_by_name(const void *name, const void *modules, size_t i) {
    return uqff_module_order(name, ((const struct module *)modules)[i].info.name);
}

size_t uqff_model_find_module(const struct uqff_model *model, const char *name) {
    size_t place;
    return uqff_search(name, model->modules, model->module_count, order_by_name, &place)
               ? place
               : UQFF_NONE;
}

static struct module *find_module(struct uqff_model *model, const char *name, size_t n) {
    char buffer[1200];
    if (n >= sizeof buffer) {
        return NULL;
    }
    memcpy(buffer, name, n);
    buffer[n] = 0;
    size_t module = uqff_model_find_module(model, buffer);
    return module == UQFF_NONE ? NULL : &model->modules[module];
}

/* A bias goes where its module goes: a loader that finds the weight looks for it there only. */
static enum uqff_code attach_bias(struct uqff_model *model, size_t i, struct uqff_error *err) {
    struct tensor *t = &model->tensors[i];
    const char *name = t->info.hf_name;
    if (!uqff_text_ends(name, ".bias") && !uqff_text_ends(name, "_bias")) {
        return UQFF_OK;
    }
    struct module *module = find_module(model, name, strlen(name) - 5);
    if (module == NULL) {
        return UQFF_OK;
    }
    if (module->info.bias != UQFF_NONE) {
        return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                         "%s: tensors '%s' and '%s' are both the bias of module '%s'", model->path,
                         model->tensors[module->info.bias].info.name, t->info.name,
                         module->info.name);
    }
    if (t->info.elements != module->info.rows || t->info.rank != module->info.rank - 1) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found rank %u and %llu elements, expected the %llu rows "
                         "of module '%s'",
                         model->path, t->info.name, t->info.rank,
                         (unsigned long long)t->info.elements,
                         (unsigned long long)module->info.rows, module->info.name);
    }
    module->info.bias = i;
    t->use = USE_BIAS;
    return UQFF_OK;
}

static enum uqff_code name_for_gguf(struct uqff_model *model, struct tensor *t,
                                    struct uqff_error *err) {
    struct rule_match match;
    if (model->arch == NULL) {
        t->info.gguf_name = model->kind == UQFF_MODEL_GGUF ? t->info.name : NULL;
        return UQFF_OK;
    }
    if (!uqff_model_match_hf(model->arch, t->info.hf_name, &match) || match.rule->gguf == NULL ||
        (match.rule->kind != RULE_RESIDUAL && !match.is_bias)) {
        t->info.gguf_name = model->kind == UQFF_MODEL_GGUF ? t->info.name : NULL;
        return UQFF_OK;
    }
    t->info.gguf_shift = (match.rule->flags & RULE_SHIFTED) != 0 ? 1.0f : 0.0f;
    t->info.gguf_name =
        uqff_model_expand(&model->arena, match.rule->gguf, &match, match.is_bias ? ".bias" : "");
    return t->info.gguf_name == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* A residual has no room for block types: a router or norm that came quantized is listed as what it
 * decodes to. */
static enum uqff_code decode_residual(struct tensor *t, struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(t->info.type);
    if (t->reading != READ_PLAIN || !uqff_model_is_quantized(t->info.type) ||
        (info->flags & UQFF_TYPE_CAN_DECODE) == 0) {
        return UQFF_OK;
    }
    t->reading = READ_SHIFTED;
    t->info.type = UQFF_TYPE_F32;
    return uqff_model_finish_tensor(t, err);
}

static enum uqff_code collect_residual(struct uqff_model *model, struct uqff_error *err) {
    model->residual = uqff_alloc_array(model->tensor_count, sizeof *model->residual);
    if (model->residual == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < model->tensor_count; i++) {
        struct tensor *t = &model->tensors[i];
        enum uqff_code code =
            t->use == USE_RESIDUAL && !t->keep_residual ? attach_bias(model, i, err) : UQFF_OK;
        if (code == UQFF_OK && (t->use == USE_RESIDUAL || t->use == USE_BIAS)) {
            code = name_for_gguf(model, t, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
        if (t->use == USE_RESIDUAL) {
            code = decode_residual(t, err);
            if (code != UQFF_OK) {
                return code;
            }
            model->residual[model->residual_count++] = i;
        }
    }
    return UQFF_OK;
}

/* ---- all together ---------------------------------------------------------------------------- */

/* A configuration that does not say whether the head is tied leaves it to the architecture; a model
 * that stores no head, or nothing but a head, is tied whatever that says. */
static void decide_tied(struct grouping *g) {
    struct uqff_model *model = g->model;
    if (model->tied_given) {
        return;
    }
    bool one_stored = (g->embedding == UQFF_NONE) != (g->head == UQFF_NONE);
    model->config.tied = one_stored || (model->arch != NULL && model->arch->tied_by_default);
}

enum uqff_code uqff_model_group(struct uqff_model *model, struct uqff_error *err) {
    struct grouping g = {.model = model};
    enum uqff_code code = uqff_model_sort_tensors(model, err);
    if (code != UQFF_OK) {
        return code;
    }
    uqff_model_find_ends(&g);
    decide_tied(&g);
    if (model->arch == NULL && model->container == NULL) {
        uqff_warn(&model->warner,
                  "%s: architecture '%s' is not known: matrices are taken for modules by their "
                  "names and shapes",
                  model->path,
                  *model->config.architecture != 0 ? model->config.architecture
                                                   : model->config.model_type);
    }
    for (size_t i = 0; i < model->tensor_count && code == UQFF_OK; i++) {
        code = uqff_model_claim(&g, i, err);
    }
    code = code != UQFF_OK ? code : make_modules(&g, err);
    code = code != UQFF_OK ? code : collect_residual(model, err);
    if (code == UQFF_OK && model->module_count == 0) {
        uqff_warn(&model->warner, "%s: none of its %zu tensors is a quantizable module",
                  model->path, model->tensor_count);
    }
    uqff_free(g.claims);
    return code;
}
