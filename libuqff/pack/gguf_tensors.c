/* The tensors of a GGUF, in the order in which llama-quantize writes them: those outside the layers
 * first, then layer by layer, each by name, bytewise. */
#include "pack/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum uqff_code uqff_gguf_add_entry(struct uqff_pack_plan *plan, const struct gguf_entry *entry,
                                   struct uqff_error *err) {
    struct gguf_plan *gguf = plan->gguf;
    enum uqff_code code = uqff_grow((void **)&gguf->entries, &gguf->capacity, gguf->count + 1,
                                    sizeof *gguf->entries, err);
    if (code == UQFF_OK) {
        gguf->entries[gguf->count++] = *entry;
    }
    return code;
}

int64_t uqff_gguf_layer(const char *name) {
    static const char prefix[] = "blk.";
    int64_t number = 0;
    size_t digits = 0;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) {
        return -1;
    }
    for (name += sizeof prefix - 1; name[digits] >= '0' && name[digits] <= '9'; digits++) {
        if (digits == 9) {
            return -1;
        }
        number = 10 * number + (name[digits] - '0');
    }
    return digits > 0 && name[digits] == '.' ? number : -1;
}

bool uqff_gguf_has_entry(const struct gguf_plan *gguf, const char *name) {
    for (size_t i = 0; i < gguf->count; i++) {
        if (strcmp(gguf->entries[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int by_layer_and_name(const void *a, const void *b) {
    const struct gguf_entry *left = a, *right = b;
    if (left->layer != right->layer) {
        return left->layer < right->layer ? -1 : 1;
    }
    return strcmp(left->name, right->name);
}

/* ne[] is innermost first. */
static enum uqff_code set_shape(const struct uqff_pack_plan *plan, const char *name,
                                const uint64_t *shape, unsigned rank, struct gguf_entry *entry,
                                struct uqff_error *err) {
    if (rank > UQFF_GGUF_MAX_DIMS) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found %u dimensions, expected at most %u",
                         uqff_model_path(plan->model), name, rank, UQFF_GGUF_MAX_DIMS);
    }
    /* A tensor without dimensions has one element. */
    entry->n_dims = rank > 0 ? rank : 1;
    for (unsigned i = 0; i < UQFF_GGUF_MAX_DIMS; i++) {
        entry->ne[i] = i < rank ? shape[rank - 1 - i] : 1;
    }
    return UQFF_OK;
}

/* ---- modules and their biases ---------------------------------------------------------------- */

/* Rows change places within heads, so there must be an even number of them in each. */
static enum uqff_code check_heads(const struct uqff_pack_plan *plan,
                                  const struct uqff_model_module *module, struct uqff_error *err) {
    uint64_t heads = module->gguf_heads;
    if (heads != 0 && (module->rows % heads != 0 || module->rows / heads % 2 != 0)) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: module '%s': found %" PRIu64
                         " rows, expected an even number for each "
                         "of %" PRIu64 " heads",
                         uqff_model_path(plan->model), module->name, module->rows, heads);
    }
    return UQFF_OK;
}

static enum uqff_code fail_surplus(const struct uqff_pack_plan *plan, const char *name,
                                   struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                     "%s: tensor '%s': the architecture '%s' has no such tensor in a GGUF",
                     uqff_model_path(plan->model), name, plan->gguf->architecture);
}

/* What came from a GGUF of an architecture that is not known kept its names. */
static const char *name_for_gguf(const struct uqff_pack_plan *plan, const char *gguf_name,
                                 const char *name) {
    bool kept = plan->gguf->source != NULL && uqff_model_arch(plan->model) == NULL;
    return gguf_name == NULL && kept ? name : gguf_name;
}

static enum uqff_code add_bias(struct uqff_pack_plan *plan, size_t index, struct uqff_error *err) {
    const struct uqff_model_module *module = uqff_model_module(plan->model, index);
    const struct uqff_tensor *bias = uqff_model_tensor(plan->model, module->bias);
    struct gguf_entry entry = {
        .name = name_for_gguf(plan, bias->gguf_name, bias->name),
        .kind = GGUF_BIAS,
        .index = index,
        .layer = module->layer,
        .type = UQFF_TYPE_F32,
    };
    if (entry.name == NULL) {
        return fail_surplus(plan, bias->name, err);
    }
    enum uqff_code code = set_shape(plan, bias->name, bias->shape, bias->rank, &entry, err);
    return code == UQFF_OK ? uqff_gguf_add_entry(plan, &entry, err) : code;
}

static enum uqff_code add_module(struct uqff_pack_plan *plan, size_t index,
                                 struct uqff_error *err) {
    const struct uqff_model_module *module = uqff_model_module(plan->model, index);
    const char *name = name_for_gguf(plan, module->gguf_name, module->name);
    struct gguf_entry entry = {.kind = GGUF_MODULE, .index = index, .layer = module->layer};
    if (name == NULL) {
        return fail_surplus(plan, module->name, err);
    }
    enum uqff_code code = check_heads(plan, module, err);
    if (code == UQFF_OK) {
        code = set_shape(plan, module->name, module->shape, module->rank, &entry, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    entry.name = uqff_arena_printf(&plan->arena, "%s.weight", name);
    if (entry.name == NULL) {
        return uqff_fail_memory(err);
    }
    uint64_t weights = module->rows * module->columns;
    plan->gguf->weights += weights;
    plan->gguf->expert_weights += module->rank == 3 ? weights : 0;
    if (module->role == UQFF_ROLE_EMBEDDING && strcmp(entry.name, "token_embd.weight") == 0) {
        plan->gguf->vocabulary_rows = module->rows;
    }
    return uqff_gguf_add_entry(plan, &entry, err);
}

/* ---- what is no module ----------------------------------------------------------------------- */

/* Buffers that old checkpoints carry along, and the towers of models that see or hear: a GGUF of
 * the text model has none of them. */
static const char *const dropped_endings[] = {
    ".rotary_emb.inv_freq",
    ".attention.masked_bias",
    ".attention.bias",
};
static const char *const towers[] = {
    "vision_tower.",          "model.vision_tower.",          "vision_model.",
    "multi_modal_projector.", "model.multi_modal_projector.", "audio_tower.",
    "model.audio_tower.",
};

static bool is_dropped(const char *name) {
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof dropped_endings / sizeof dropped_endings[0]; i++) {
        size_t n = strlen(dropped_endings[i]);
        if (length >= n && memcmp(name + length - n, dropped_endings[i], n) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_tower(const char *name) {
    for (size_t i = 0; i < sizeof towers / sizeof towers[0]; i++) {
        if (strncmp(name, towers[i], strlen(towers[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* llama.cpp's converter writes them all as F32. What a GGUF had otherwise comes back as it was. */
static uint32_t residual_type(const struct uqff_pack_plan *plan, const struct uqff_tensor *tensor) {
    const struct uqff_type_info *info = uqff_type_info(tensor->type);
    bool kept = plan->gguf->source != NULL && uqff_model_kind(plan->model) != UQFF_MODEL_HF &&
                tensor->gguf_shift == 0 && info != NULL && (info->flags & UQFF_TYPE_IS_FLOAT) != 0;
    return kept ? tensor->type : UQFF_TYPE_F32;
}

static enum uqff_code add_residual(struct uqff_pack_plan *plan, size_t index, size_t *left_out,
                                   struct uqff_error *err) {
    const struct uqff_tensor *tensor = uqff_model_tensor(plan->model, index);
    struct gguf_entry entry = {
        .name = name_for_gguf(plan, tensor->gguf_name, tensor->hf_name),
        .kind = GGUF_FLOATS,
        .index = index,
        .type = residual_type(plan, tensor),
    };
    if (is_dropped(tensor->hf_name)) {
        return UQFF_OK;
    }
    if (is_tower(tensor->hf_name)) {
        ++*left_out;
        return UQFF_OK;
    }
    if (entry.name == NULL) {
        return fail_surplus(plan, tensor->name, err);
    }
    entry.layer = uqff_gguf_layer(entry.name);
    plan->gguf->weights += tensor->elements;
    enum uqff_code code = set_shape(plan, tensor->name, tensor->shape, tensor->rank, &entry, err);
    return code == UQFF_OK ? uqff_gguf_add_entry(plan, &entry, err) : code;
}

/* ---- a GGUF as source ------------------------------------------------------------------------ */

const struct uqff_gguf_tensor *uqff_gguf_module_tensor(const struct uqff_model *model,
                                                       size_t index) {
    const struct uqff_gguf *gguf = uqff_model_gguf(model);
    const struct uqff_model_module *module = uqff_model_module(model, index);
    uint64_t row = 0, elements = 1;
    const char *name = uqff_model_module_source_name(model, index, 0, &row);
    const struct uqff_gguf_tensor *tensor =
        gguf != NULL && name != NULL ? uqff_gguf_find_tensor(gguf, name) : NULL;
    if (tensor == NULL || tensor->type != module->type) {
        return NULL;
    }
    /* That the product fits was checked when the file was opened. */
    for (unsigned i = 0; i < tensor->n_dims; i++) {
        elements *= tensor->ne[i];
    }
    return elements == module->rows * module->columns ? tensor : NULL;
}

static enum uqff_code add_copy(struct uqff_pack_plan *plan, size_t index, struct uqff_error *err) {
    const char *name = uqff_model_tensor(plan->model, index)->name;
    const struct uqff_gguf_tensor *tensor = uqff_gguf_find_tensor(plan->gguf->source, name);
    struct gguf_entry entry = {.kind = GGUF_COPY, .copied = tensor};
    if (tensor == NULL) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET, "%s: tensor '%s' is in no file",
                         uqff_model_path(plan->model), name);
    }
    entry.name = tensor->name;
    entry.layer = uqff_gguf_layer(tensor->name);
    entry.n_dims = tensor->n_dims;
    entry.type = tensor->type;
    memcpy(entry.ne, tensor->ne, sizeof entry.ne);
    return uqff_gguf_add_entry(plan, &entry, err);
}

/* All that is no module is taken over, byte for byte. */
static enum uqff_code add_copies(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct uqff_model *model = plan->model;
    enum uqff_code code = UQFF_OK;
    if (uqff_gguf_is_big_endian(plan->gguf->source)) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: data of big-endian files is not read", uqff_model_path(model));
    }
    for (size_t i = 0; i < uqff_model_residual_count(model) && code == UQFF_OK; i++) {
        code = add_copy(plan, uqff_model_residual(model, i), err);
    }
    for (size_t i = 0; i < uqff_model_module_count(model) && code == UQFF_OK; i++) {
        size_t bias = uqff_model_module(model, i)->bias;
        code = bias == UQFF_NONE ? UQFF_OK : add_copy(plan, bias, err);
    }
    return code;
}

/* ---- what must be there ---------------------------------------------------------------------- */

static const struct gguf_entry *find_entry(const struct gguf_plan *gguf, const char *name) {
    struct gguf_entry key = {.name = name, .layer = uqff_gguf_layer(name)};
    return bsearch(&key, gguf->entries, gguf->count, sizeof key, by_layer_and_name);
}

void uqff_gguf_expand(char *out, size_t size, const char *pattern, uint64_t layer) {
    const char *hole = strstr(pattern, "{}");
    if (hole == NULL) {
        snprintf(out, size, "%s", pattern);
    } else {
        snprintf(out, size, "%.*s%" PRIu64 "%s", (int)(hole - pattern), pattern, layer, hole + 2);
    }
}

static enum uqff_code fail_missing(const struct uqff_pack_plan *plan, const char *name,
                                   struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                     "%s: there is nothing for tensor '%s', which a GGUF of the architecture '%s' "
                     "must have",
                     uqff_model_path(plan->model), name, plan->gguf->architecture);
}

static enum uqff_code check_missing(const struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct gguf_plan *gguf = plan->gguf;
    const struct uqff_config *config = &gguf->numbers.config;
    char name[UQFF_GGUF_PATTERN_MAX];
    for (const char *const *pattern = gguf->arch->required; *pattern != NULL; pattern++) {
        /* A layer without a tensor ends the search, so what is there bounds it. */
        uint64_t layers = strstr(*pattern, "{}") != NULL ? config->layers : 1;
        for (uint64_t layer = 0; layer < layers; layer++) {
            uqff_gguf_expand(name, sizeof name, *pattern, layer);
            if (find_entry(gguf, name) == NULL) {
                return fail_missing(plan, name, err);
            }
        }
    }
    if (!config->tied && find_entry(gguf, "output.weight") == NULL) {
        return fail_missing(plan, "output.weight", err);
    }
    return UQFF_OK;
}

bool uqff_gguf_is_listed(const char *const *patterns, const char *name, int64_t layer) {
    char expected[UQFF_GGUF_PATTERN_MAX];
    for (; *patterns != NULL; patterns++) {
        uqff_gguf_expand(expected, sizeof expected, *patterns, layer < 0 ? 0 : (uint64_t)layer);
        if (strcmp(expected, name) == 0) {
            return true;
        }
    }
    return false;
}

static enum uqff_code check_surplus(const struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct gguf_plan *gguf = plan->gguf;
    for (size_t i = 0; i < gguf->count; i++) {
        const struct gguf_entry *entry = &gguf->entries[i];
        if (i > 0 && by_layer_and_name(entry - 1, entry) == 0) {
            return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                             "%s: two tensors would both be '%s' in a GGUF",
                             uqff_model_path(plan->model), entry->name);
        }
        if (entry->layer >= 0 && (uint64_t)entry->layer >= gguf->numbers.config.layers) {
            return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: found a tensor for '%s', expected fewer layers than the %" PRIu64
                             " of the configuration",
                             uqff_model_path(plan->model), entry->name,
                             gguf->numbers.config.layers);
        }
        if (entry->kind != GGUF_MADE && strcmp(entry->name, "output.weight") != 0 &&
            !uqff_gguf_is_listed(gguf->arch->required, entry->name, entry->layer) &&
            !uqff_gguf_is_listed(gguf->arch->optional, entry->name, entry->layer)) {
            return fail_surplus(plan, entry->name, err);
        }
    }
    return UQFF_OK;
}

/* ---- all together ---------------------------------------------------------------------------- */

enum uqff_code uqff_gguf_tensors(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct uqff_model *model = plan->model;
    struct gguf_plan *gguf = plan->gguf;
    bool copy = gguf->source != NULL && uqff_model_kind(model) == UQFF_MODEL_GGUF;
    size_t left_out = 0;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_model_module_count(model) && code == UQFF_OK; i++) {
        code = add_module(plan, i, err);
        if (code == UQFF_OK && !copy && uqff_model_module(model, i)->bias != UQFF_NONE) {
            code = add_bias(plan, i, err);
        }
    }
    if (copy) {
        code = code == UQFF_OK ? add_copies(plan, err) : code;
    } else {
        for (size_t i = 0; i < uqff_model_residual_count(model) && code == UQFF_OK; i++) {
            code = add_residual(plan, uqff_model_residual(model, i), &left_out, err);
        }
    }
    if (code == UQFF_OK && gguf->source == NULL) {
        code = uqff_gguf_rope(plan, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    if (left_out > 0) {
        uqff_warn(plan->options.warner,
                  "%s: %zu tensors of vision or audio towers are left out: this is a GGUF of the "
                  "text model",
                  uqff_model_path(model), left_out);
    }
    qsort(gguf->entries, gguf->count, sizeof *gguf->entries, by_layer_and_name);
    if (copy || gguf->arch == NULL) {
        return UQFF_OK;
    }
    code = check_missing(plan, err);
    return code == UQFF_OK ? check_surplus(plan, err) : code;
}
