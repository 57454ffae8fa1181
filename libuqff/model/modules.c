/* Sorting tensors into modules, biases and residual. Every tensor is looked at once and lays claim
 * to rows of a module; claims sorted by module and expert then make the modules in container order.
 */
#include <stdlib.h>
#include <string.h>

#include "model/internal.h"

enum claim_kind {
    CLAIM_WHOLE,  /* the tensor is the module */
    CLAIM_EXPERT, /* the tensor is one expert of it */
    CLAIM_GATE,   /* the first half of each expert's rows */
    CLAIM_UP,     /* the second half */
};

struct claim {
    const char *module;
    size_t tensor;
    enum claim_kind kind;
    uint64_t expert;
    size_t expert_begin, expert_end; /* the expert's number within the tensor's name */
};

struct grouping {
    struct uqff_model *model;
    struct claim *claims;
    size_t count, capacity;
    size_t embedding, head; /* tensors, or UQFF_NONE */
};

static enum uqff_code add_claim(struct grouping *g, struct claim claim, struct uqff_error *err) {
    void *items = g->claims;
    enum uqff_code code = uqff_grow(&items, &g->capacity, g->count + 1, sizeof claim, err);
    g->claims = items;
    if (code == UQFF_OK) {
        g->claims[g->count++] = claim;
        g->model->tensors[claim.tensor].use = USE_MODULE;
    }
    return code;
}

static bool ends_with(const char *name, const char *ending) {
    size_t n = strlen(name), m = strlen(ending);
    return n >= m && memcmp(name + n - m, ending, m) == 0;
}

/* A tensor's name without what marks it as a weight. */
static char *module_name(struct uqff_model *model, const char *name) {
    size_t n = strlen(name);
    return uqff_arena_copy(&model->arena, name, ends_with(name, ".weight") ? n - 7 : n);
}

/* ---- which tensors are modules
 * ---------------------------------------------------------------------- */

/* A weight of rank 2, or of rank 3 where the rule is one for stacked experts. Anything else under a
 * module's name goes along as it is. */
static bool has_module_shape(const struct tensor *t, bool stacked) {
    return t->info.elements > 0 && uqff_model_is_weight_type(t->info.type) &&
           (t->info.rank == 2 || (stacked && t->info.rank == 3));
}

static enum uqff_code claim_whole(struct grouping *g, size_t i, bool stacked,
                                  struct uqff_error *err) {
    struct uqff_model *model = g->model;
    const struct tensor *t = &model->tensors[i];
    if (!has_module_shape(t, stacked)) {
        uqff_warn(&model->warner,
                  "%s: tensor '%s' has type %s and rank %u, which no quantizable weight has; it "
                  "stays as it is",
                  model->path, t->info.name, uqff_type_name(t->info.type), t->info.rank);
        return UQFF_OK;
    }
    char *name = module_name(model, t->info.hf_name);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    return add_claim(g, (struct claim){.module = name, .tensor = i}, err);
}

/* experts.7.w1.weight → experts.gate_proj, expert 7 */
static enum uqff_code claim_expert(struct grouping *g, size_t i, const struct rule_match *match,
                                   struct uqff_error *err) {
    struct uqff_model *model = g->model;
    const struct tensor *t = &model->tensors[i];
    if (match->is_bias) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: tensor '%s': biases of single experts cannot be stacked", model->path,
                         t->info.name);
    }
    if (!has_module_shape(t, false)) {
        return claim_whole(g, i, false, err);
    }
    char *name = uqff_arena_printf(&model->arena, "%.*s%s", (int)match->expert_begin,
                                   t->info.hf_name, match->rule->leaf);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    struct claim claim = {
        name, i, CLAIM_EXPERT, match->expert, match->expert_begin, match->expert_end};
    return add_claim(g, claim, err);
}

/* [experts, 2*rows, columns] with rows outermost becomes gate and up. Some releases store the
 * transpose; there the last dimension is not the model's width, and the tensor stays as it is. */
static enum uqff_code claim_fused(struct grouping *g, size_t i, const struct rule_match *match,
                                  struct uqff_error *err) {
    static const char fused[] = "gate_up_proj";
    struct uqff_model *model = g->model;
    const struct tensor *t = &model->tensors[i];
    if (match->is_bias) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: tensor '%s': a bias of fused experts cannot be split", model->path,
                         t->info.name);
    }
    bool fits = t->info.rank == 3 && has_module_shape(t, true) && t->info.shape[1] % 2 == 0 &&
                (model->config.hidden == 0 || t->columns == model->config.hidden);
    if (!fits) {
        uqff_warn(
            &model->warner,
            "%s: tensor '%s' is not laid out as [experts, 2 * rows, hidden size]; it stays as "
            "it is",
            model->path, t->info.name);
        return UQFF_OK;
    }
    const char *name = t->info.hf_name;
    size_t stem = strlen(name) - (ends_with(name, ".weight") ? 7 : 0) - (sizeof fused - 1);
    char *gate = uqff_arena_printf(&model->arena, "%.*sgate_proj", (int)stem, name);
    char *up = uqff_arena_printf(&model->arena, "%.*sup_proj", (int)stem, name);
    if (gate == NULL || up == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code =
        add_claim(g, (struct claim){.module = gate, .tensor = i, .kind = CLAIM_GATE}, err);
    return code != UQFF_OK
               ? code
               : add_claim(g, (struct claim){.module = up, .tensor = i, .kind = CLAIM_UP}, err);
}

/* ---- architectures that are not known
 * ------------------------------------------------------------------- */

/* Parts of names that matrices have which must keep their precision, or are no matrices at all. */
static const char *const spared[] = {
    "norm",
    "router",
    "mlp.gate.",
    "moe.gate.",
    "gate_inp",
    "position",
    "pos_emb",
    "relative_",
    "rotary",
    "rope",
    "conv",
    "bias_table",
    "token_type",
    "patch_emb",
    "rel_pos",
    "attn_rel_b",
    "altup",
    "laurel",
    "ssm_",
    "time_mix",
    "shortconv",
    "per_layer_model_proj",
    "shared_expert_gate",
    "gate_tid2eid",
    "indexer.",
    "wpe.",
};

static bool is_spared(const char *name) {
    for (size_t i = 0; i < sizeof spared / sizeof *spared; i++) {
        if (strstr(name, spared[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool is_quantized(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return info != NULL && (info->flags & UQFF_TYPE_IS_QUANTIZED) != 0;
}

/* What can be said of a tensor by its name and shape alone. Whatever is quantized already is a
 * module, as no residual can hold block types; from a GGUF, stacks of experts are too. */
static bool looks_like_module(const struct uqff_model *model, const struct tensor *t) {
    if (is_quantized(t->info.type)) {
        return has_module_shape(t, true);
    }
    return model->arch == NULL && ends_with(t->info.hf_name, ".weight") &&
           has_module_shape(t, model->kind == UQFF_MODEL_GGUF) && t->columns % 32 == 0 &&
           !is_spared(t->info.hf_name);
}

/* ---- one tensor
 * ------------------------------------------------------------------------------------------- */

static bool is_named(const struct tensor *t, const char *module, const char *gguf) {
    const char *name = t->info.hf_name;
    size_t n = strlen(name), m = strlen(module);
    if (strcmp(name, gguf) == 0) {
        return true;
    }
    /* The module, or the module under a wrapper's prefix. */
    return n >= m + 7 && ends_with(name, ".weight") && memcmp(name + n - 7 - m, module, m) == 0 &&
           (n == m + 7 || name[n - 8 - m] == '.') && strstr(name, "layers.") == NULL;
}

static void find_ends(struct grouping *g) {
    g->embedding = g->head = UQFF_NONE;
    for (size_t i = 0; i < g->model->tensor_count; i++) {
        const struct tensor *t = &g->model->tensors[i];
        if (t->info.rank != 2) {
            continue;
        }
        if (g->embedding == UQFF_NONE && is_named(t, "embed_tokens", "token_embd.weight")) {
            g->embedding = i;
        }
        if (g->head == UQFF_NONE && is_named(t, "lm_head", "output.weight")) {
            g->head = i;
        }
    }
}

/* Name of the embedding that stands where the head does: "lm_head" → "model.embed_tokens". */
static char *embedding_name(struct uqff_model *model, const char *head) {
    size_t prefix = strlen(head) - strlen("lm_head.weight");
    return uqff_arena_printf(&model->arena, "%.*smodel.embed_tokens", (int)prefix, head);
}

/* True when the tensor is the output head of a tied model, which is dropped if the embedding is
 * there, and else stands in for it. */
static enum uqff_code take_tied_head(struct grouping *g, size_t i, bool *taken,
                                     struct uqff_error *err) {
    struct uqff_model *model = g->model;
    struct tensor *t = &model->tensors[i];
    *taken = i == g->head && model->config.tied && ends_with(t->info.hf_name, "lm_head.weight");
    if (!*taken) {
        return UQFF_OK;
    }
    if (g->embedding != UQFF_NONE) {
        t->use = USE_NONE;
        return UQFF_OK;
    }
    if (!has_module_shape(t, false)) {
        *taken = false;
        return UQFF_OK;
    }
    char *name = embedding_name(model, t->info.hf_name);
    return name == NULL ? uqff_fail_memory(err)
                        : add_claim(g, (struct claim){.module = name, .tensor = i}, err);
}

static enum uqff_code classify(struct grouping *g, size_t i, struct uqff_error *err) {
    struct uqff_model *model = g->model;
    const struct tensor *t = &model->tensors[i];
    struct rule_match match;
    bool taken = false;
    if (t->module != NULL) {
        return add_claim(g, (struct claim){.module = t->module, .tensor = i}, err);
    }
    if (t->keep_residual) {
        return UQFF_OK;
    }
    enum uqff_code code = take_tied_head(g, i, &taken, err);
    if (code != UQFF_OK || taken) {
        return code;
    }
    if (model->arch != NULL && uqff_model_match_hf(model->arch, t->info.hf_name, &match)) {
        switch (match.rule->kind) {
        case RULE_MODULE:
            return match.is_bias ? UQFF_OK
                                 : claim_whole(g, i, (match.rule->flags & RULE_BARE) != 0, err);
        case RULE_EXPERT:
            return claim_expert(g, i, &match, err);
        case RULE_FUSED:
            return claim_fused(g, i, &match, err);
        default:
            return UQFF_OK;
        }
    }
    return looks_like_module(model, t) ? claim_whole(g, i, true, err) : UQFF_OK;
}

/* ---- from claims to modules
 * ----------------------------------------------------------------------------------- */

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
        if ((match.rule->flags & RULE_ROTATED) != 0) {
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
        info->gguf_name = module_name(model, t->info.name);
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
    module.info.columns = module.info.shape[module.info.rank - 1];
    module.info.rows = module.info.shape[0] * (module.info.rank == 3 ? module.info.shape[1] : 1);
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

/* ---- biases and residual
 * ------------------------------------------------------------------------------------------ */

static struct module *find_module(struct uqff_model *model, const char *name, size_t n) {
    char buffer[1200];
    if (n >= sizeof buffer) {
        return NULL;
    }
    memcpy(buffer, name, n);
    buffer[n] = 0;
    size_t low = 0, high = model->module_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = uqff_module_order(buffer, model->modules[middle].info.name);
        if (order == 0) {
            return &model->modules[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

/* A bias goes where its module goes: a loader that finds the weight looks for it there only. */
static enum uqff_code attach_bias(struct uqff_model *model, size_t i, struct uqff_error *err) {
    struct tensor *t = &model->tensors[i];
    const char *name = t->info.hf_name;
    if (!ends_with(name, ".bias") && !ends_with(name, "_bias")) {
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
    if (t->reading != READ_PLAIN || !is_quantized(t->info.type) ||
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

/* ---- all together
 * --------------------------------------------------------------------------------------------------
 */

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
    find_ends(&g);
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
        code = classify(&g, i, err);
    }
    code = code != UQFF_OK ? code : make_modules(&g, err);
    code = code != UQFF_OK ? code : collect_residual(model, err);
    uqff_free(g.claims);
    return code;
}
