/* What each tensor is part of: by the rules of the architecture, or by its name and shape. */
#include <string.h>

#include "model/group.h"

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

/* A tensor's name without what marks it as a weight. */
char *uqff_model_module_name(struct uqff_model *model, const char *name) {
    size_t n = strlen(name);
    return uqff_arena_copy(&model->arena, name, uqff_text_ends(name, ".weight") ? n - 7 : n);
}

bool uqff_model_is_quantized(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return info != NULL && (info->flags & UQFF_TYPE_IS_QUANTIZED) != 0;
}

/* ---- which tensors are modules --------------------------------------------------------------- */

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
    char *name = uqff_model_module_name(model, t->info.hf_name);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    return add_claim(g, (struct claim){.module = name, .tensor = i}, err);
}

/* The tensor that a rule calls a module. Where the bare name stands for the transpose, it is one
 * only as MXFP4, whose blocks lie along the rows. */
static enum uqff_code claim_module(struct grouping *g, size_t i, const struct uqff_arch_rule *rule,
                                   struct uqff_error *err) {
    const struct tensor *t = &g->model->tensors[i];
    if ((rule->flags & RULE_TRANSPOSED) != 0 && !uqff_text_ends(t->info.hf_name, ".weight") &&
        !uqff_model_is_quantized(t->info.type)) {
        uqff_warn(&g->model->warner, "%s: tensor '%s' has inputs before outputs; it stays as it is",
                  g->model->path, t->info.name);
        return UQFF_OK;
    }
    return claim_whole(g, i, (rule->flags & RULE_BARE) != 0, err);
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
    size_t stem = strlen(name) - (uqff_text_ends(name, ".weight") ? 7 : 0) - (sizeof fused - 1);
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

/* ---- architectures that are not known -------------------------------------------------------- */

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

/* What can be said of a tensor by its name and shape alone. Whatever is quantized already is a
 * module, as no residual can hold block types; from a GGUF, stacks of experts are too. */
static bool looks_like_module(const struct uqff_model *model, const struct tensor *t) {
    if (uqff_model_is_quantized(t->info.type)) {
        return has_module_shape(t, true);
    }
    return model->arch == NULL && uqff_text_ends(t->info.hf_name, ".weight") &&
           has_module_shape(t, model->kind == UQFF_MODEL_GGUF) && t->columns % 32 == 0 &&
           !is_spared(t->info.hf_name);
}

/* ---- one tensor ------------------------------------------------------------------------------ */

static bool is_named(const struct tensor *t, const char *module, const char *gguf) {
    const char *name = t->info.hf_name;
    size_t n = strlen(name), m = strlen(module);
    if (strcmp(name, gguf) == 0) {
        return true;
    }
    /* The module, or the module under a wrapper's prefix. */
    return n >= m + 7 && uqff_text_ends(name, ".weight") &&
           memcmp(name + n - 7 - m, module, m) == 0 && (n == m + 7 || name[n - 8 - m] == '.') &&
           strstr(name, "layers.") == NULL;
}

void uqff_model_find_ends(struct grouping *g) {
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
    *taken =
        i == g->head && model->config.tied && uqff_text_ends(t->info.hf_name, "lm_head.weight");
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

enum uqff_code uqff_model_claim(struct grouping *g, size_t i, struct uqff_error *err) {
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
            return match.is_bias ? UQFF_OK : claim_module(g, i, match.rule, err);
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
