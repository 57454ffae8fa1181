#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "pack/plan.h"
#include "pack/quantized.h"

/* ---- quants ---------------------------------------------------------------------------------- */

enum uqff_code uqff_pack_plan_quants(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct uqff_pack_options *options = &plan->options;
    if (options->quant_count == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "no quantization was asked for, expected at least one");
    }
    plan->variant_count = options->quant_count;
    plan->quants = uqff_arena_array(&plan->arena, options->quant_count, sizeof *plan->quants);
    if (plan->quants == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < options->quant_count; i++) {
        enum uqff_code code = uqff_quant_parse(options->quants[i], &plan->quants[i], err);
        if (code != UQFF_OK) {
            return code;
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(plan->quants[k].name, plan->quants[i].name) == 0) {
                return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                                 "the quantization '%s' was asked for twice", plan->quants[i].name);
            }
        }
    }
    return UQFF_OK;
}

/* ---- importance ------------------------------------------------------------------------------ */

static uint64_t matrix_count(const struct uqff_model_module *module) {
    return module->rank == 3 ? module->shape[0] : 1;
}

static bool all_zero(const float *values, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) {
        if (values[i] != 0.0f) {
            return false;
        }
    }
    return true;
}

/* The vectors of one module: its entry's, with ones in place of a vector that says nothing, for
 * weights that are all zero would leave the quantizer nothing to minimise. A module without an
 * entry is quantized without importance, as llama-quantize does: its bytes are then those that
 * llama-quantize writes. */
static enum uqff_code module_importance(struct uqff_pack_plan *plan, size_t index,
                                        struct uqff_error *err) {
    const struct uqff_model_module *module = uqff_model_module(plan->model, index);
    const struct uqff_imatrix_entry *entry = uqff_imatrix_find(plan->imatrix, module);
    uint64_t matrices = matrix_count(module), columns = module->columns;
    if (entry == NULL) {
        return UQFF_OK;
    }
    if (entry->matrices * entry->columns != matrices * columns ||
        (entry->matrices != 1 && entry->matrices != matrices)) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: entry '%s': found %" PRIu64 " x %" PRIu64 " values, expected %" PRIu64
                         " x %" PRIu64 " for module '%s'",
                         plan->options.imatrix, entry->name, entry->matrices, entry->columns,
                         matrices, columns, module->name);
    }
    const float *found = entry->values;
    float *own = NULL;
    uint64_t zeros = 0;
    for (uint64_t i = 0; i < matrices; i++) {
        if (!all_zero(found + i * columns, columns)) {
            continue;
        }
        zeros++;
        if (own == NULL) {
            own = uqff_arena_array(&plan->arena, (size_t)(matrices * columns), sizeof *own);
            if (own == NULL) {
                return uqff_fail_memory(err);
            }
            memcpy(own, found, (size_t)(matrices * columns) * sizeof *own);
        }
        for (uint64_t k = 0; k < columns; k++) {
            own[i * columns + k] = 1.0f;
        }
    }
    if (zeros > 0) {
        uqff_warn(plan->options.warner,
                  "%s: entry '%s': %" PRIu64 " of %" PRIu64
                  " vectors are all zero; their columns weigh the same",
                  plan->options.imatrix, entry->name, zeros, matrices);
    }
    plan->importance[index] = own != NULL ? own : found;
    return UQFF_OK;
}

/* One line for all: a matrix that fits badly would else say the same of every module. */
static void warn_of_missing(const struct uqff_pack_plan *plan) {
    enum { NAMED = 3 };
    const struct uqff_model_module *named[NAMED] = {NULL};
    size_t modules = uqff_model_module_count(plan->model), missing = 0;
    for (size_t i = 0; i < modules; i++) {
        if (plan->importance[i] == NULL) {
            if (missing < NAMED) {
                named[missing] = uqff_model_module(plan->model, i);
            }
            missing++;
        }
    }
    if (missing > NAMED) {
        uqff_warn(plan->options.warner,
                  "%s: %zu of %zu modules have no entry, the first is '%s'; they are quantized "
                  "without importance",
                  plan->options.imatrix, missing, modules, named[0]->name);
        return;
    }
    for (size_t i = 0; i < missing; i++) {
        uqff_warn(plan->options.warner,
                  "%s: module '%s' has no entry; it is quantized without importance",
                  plan->options.imatrix, named[i]->name);
    }
}

enum uqff_code uqff_pack_plan_importance(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct uqff_pack_options *options = &plan->options;
    if (options->imatrix == NULL) {
        return UQFF_OK;
    }
    enum uqff_code code = uqff_imatrix_open(options->imatrix, &plan->imatrix, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (options->include_count > 0) {
        uqff_imatrix_filter(plan->imatrix, options->include_weights, options->include_count, true);
    }
    if (options->exclude_count > 0) {
        uqff_imatrix_filter(plan->imatrix, options->exclude_weights, options->exclude_count, false);
    }
    size_t modules = uqff_model_module_count(plan->model);
    plan->importance = uqff_arena_array(&plan->arena, modules, sizeof *plan->importance);
    if (plan->importance == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < modules && code == UQFF_OK; i++) {
        code = module_importance(plan, i, err);
    }
    if (code == UQFF_OK) {
        warn_of_missing(plan);
    }
    return code;
}

/* ---- types ----------------------------------------------------------------------------------- */

static bool is_quantized(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return info != NULL && (info->flags & UQFF_TYPE_IS_QUANTIZED) != 0;
}

/* The quantized type that some rows of a module have, or UQFF_NO_TYPE. */
static uint32_t quantized_type(const struct uqff_model *model, size_t index) {
    const struct uqff_model_module *module = uqff_model_module(model, index);
    if (module->type != UQFF_NO_TYPE) {
        return is_quantized(module->type) ? module->type : UQFF_NO_TYPE;
    }
    uint64_t step = module->rows / matrix_count(module);
    for (uint64_t row = 0; row < module->rows; row += (step > 0 ? step : 1)) {
        uint64_t inner = 0;
        const char *name = uqff_model_module_source_name(model, index, row, &inner);
        size_t tensor = name != NULL ? uqff_model_find_tensor(model, name) : UQFF_NONE;
        if (tensor != UQFF_NONE && is_quantized(uqff_model_tensor(model, tensor)->type)) {
            return uqff_model_tensor(model, tensor)->type;
        }
    }
    return UQFF_NO_TYPE;
}

/* Whether a module's source can become `type`. */
static enum uqff_code check_type(const struct uqff_pack_plan *plan, size_t index, uint32_t type,
                                 struct uqff_error *err) {
    const struct uqff_model_module *module = uqff_model_module(plan->model, index);
    const struct uqff_type_info *info = uqff_type_info(type);
    if (module->type == type) {
        return UQFF_OK;
    }
    uint32_t source = quantized_type(plan->model, index);
    /* The float8 of a checkpoint is what its authors published: nothing is quantized twice. */
    const char *label =
        uqff_model_container(plan->model) != NULL ? uqff_quantized_label(plan->model, index) : NULL;
    if ((source != UQFF_NO_TYPE || label != NULL) && !plan->options.allow_requantize) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: module '%s' is already quantized as %s; quantizing it again as %s "
                         "loses accuracy and must be allowed (--allow-requantize)",
                         uqff_model_path(plan->model), module->name,
                         label != NULL ? label : uqff_type_name(source), uqff_type_name(type));
    }
    if (info == NULL || (info->flags & UQFF_TYPE_CAN_ENCODE) == 0) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "%s: module '%s': cannot be encoded as %s", uqff_model_path(plan->model),
                         module->name, uqff_type_name(type));
    }
    return UQFF_OK;
}

static enum uqff_code recipe_inputs(struct uqff_pack_plan *plan, struct uqff_recipe_model *model,
                                    struct uqff_recipe_tensor **out, struct uqff_error *err) {
    const struct uqff_arch *arch = uqff_model_arch(plan->model);
    const struct uqff_config *config = uqff_model_config(plan->model);
    size_t modules = uqff_model_module_count(plan->model);
    struct uqff_recipe_tensor *tensors = uqff_arena_array(&plan->arena, modules, sizeof *tensors);
    if (tensors == NULL) {
        return uqff_fail_memory(err);
    }
    *model = (struct uqff_recipe_model){
        .gguf_arch = arch != NULL ? arch->gguf_name
                     /* What a GGUF calls its architecture is known to llama.cpp. */
                     : plan->options.format == UQFF_PACK_GGUF &&
                             uqff_model_kind(plan->model) == UQFF_MODEL_GGUF
                         ? config->model_type
                         : "",
        .layers = config->layers,
        .heads = config->heads,
        .kv_heads = config->kv_heads,
        .experts = config->experts,
        .has_importance = plan->imatrix != NULL,
    };
    for (size_t i = 0; i < modules; i++) {
        const struct uqff_model_module *module = uqff_model_module(plan->model, i);
        tensors[i] = (struct uqff_recipe_tensor){
            .name = module->name,
            .gguf_name = module->gguf_name,
            .role = module->role,
            .layer = module->layer,
            .columns = module->columns,
            .matrices = matrix_count(module),
            .source_type = module->type == UQFF_NO_TYPE ? UQFF_TYPE_F32 : module->type,
        };
    }
    *out = tensors;
    return UQFF_OK;
}

/* Sums what a variant has, and checks that all of it can be made. */
static enum uqff_code finish_variant(struct uqff_pack_plan *plan, size_t index,
                                     struct uqff_error *err) {
    struct uqff_pack_variant *variant = &plan->variants[index];
    const struct uqff_choice *choices = plan->choices[index];
    size_t modules = uqff_model_module_count(plan->model);
    variant->quant = &plan->quants[index];
    for (size_t i = 0; i < modules; i++) {
        const struct uqff_model_module *module = uqff_model_module(plan->model, i);
        uint64_t bytes = 0;
        enum uqff_code code = check_type(plan, i, choices[i].type, err);
        if (code == UQFF_OK) {
            code = uqff_tensor_bytes(choices[i].type, module->shape, module->rank, &bytes, err);
        }
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "%s", plan->quants[index].name);
            return code;
        }
        /* No sum of sizes of real tensors can overflow: their bytes or rows are in the source. */
        variant->bytes += bytes;
        variant->weights += module->rows * module->columns;
        variant->fallbacks += choices[i].why == UQFF_WHY_FALLBACK;
        plan->types[index][i] = choices[i].type;
    }
    return UQFF_OK;
}

size_t uqff_pack_plan_unloadable(const struct uqff_pack_plan *plan, size_t variant) {
    for (size_t i = 0; i < uqff_model_module_count(plan->model); i++) {
        uint32_t type = plan->types[variant][i];
        bool plain = plan->options.format == UQFF_PACK_MISTRALRS;
        if (!uqff_type_is_mistralrs(type) && !(plain && type == UQFF_TYPE_MXFP4)) {
            return i;
        }
    }
    return UQFF_NONE;
}

static enum uqff_code fail_unloadable(const struct uqff_pack_plan *plan, size_t variant,
                                      struct uqff_error *err) {
    size_t module = uqff_pack_plan_unloadable(plan, variant);
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "%s: module '%s' would be %s, which mistral.rs cannot load",
                     plan->quants[variant].name, uqff_model_module(plan->model, module)->name,
                     uqff_type_name(plan->types[variant][module]));
}

static enum uqff_code choose_default(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const char *wanted = plan->options.default_quant;
    plan->default_variant = UQFF_NONE;
    if (plan->options.format == UQFF_PACK_GGUF) {
        return UQFF_OK;
    }
    for (size_t i = 0; i < plan->variant_count; i++) {
        bool loadable = uqff_pack_plan_unloadable(plan, i) == UQFF_NONE;
        if (!loadable && plan->options.format == UQFF_PACK_MISTRALRS) {
            return fail_unloadable(plan, i, err);
        }
        if (plan->default_variant != UQFF_NONE) {
            continue;
        }
        if (wanted == NULL ? loadable : strcasecmp(wanted, plan->quants[i].name) == 0) {
            if (!loadable) {
                return fail_unloadable(plan, i, err);
            }
            plan->default_variant = i;
        }
    }
    if (wanted != NULL && plan->default_variant == UQFF_NONE) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "the default '%s' is none of the quantizations that were asked for",
                         wanted);
    }
    if (plan->default_variant != UQFF_NONE) {
        plan->variants[plan->default_variant].is_default = true;
    }
    return UQFF_OK;
}

enum uqff_code uqff_pack_plan_types(struct uqff_pack_plan *plan, const struct pack_given *given,
                                    struct uqff_error *err) {
    size_t modules = uqff_model_module_count(plan->model), variants = plan->variant_count;
    struct uqff_recipe_model model;
    struct uqff_recipe_tensor *tensors = NULL;
    enum uqff_code code = recipe_inputs(plan, &model, &tensors, err);
    if (code != UQFF_OK) {
        return code;
    }
    plan->variants = uqff_arena_array(&plan->arena, variants, sizeof *plan->variants);
    plan->choices = uqff_arena_array(&plan->arena, variants, sizeof *plan->choices);
    plan->types = uqff_arena_array(&plan->arena, variants, sizeof *plan->types);
    if (plan->variants == NULL || plan->choices == NULL || plan->types == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < variants && code == UQFF_OK; i++) {
        struct uqff_choice *choices = uqff_arena_array(&plan->arena, modules, sizeof *choices);
        plan->choices[i] = choices;
        plan->types[i] = uqff_arena_array(&plan->arena, modules, sizeof **plan->types);
        if (choices == NULL || plan->types[i] == NULL) {
            return uqff_fail_memory(err);
        }
        if (given != NULL) {
            for (size_t k = 0; k < modules; k++) {
                choices[k] = (struct uqff_choice){
                    given->types[k], given->types[k],
                    given->types[k] == given->type ? UQFF_WHY_BASE : UQFF_WHY_MIXTURE};
            }
        } else {
            code = uqff_recipe_choose(&plan->quants[i], &model, tensors, modules,
                                      &plan->options.recipe, choices, err);
        }
        if (code == UQFF_OK) {
            code = finish_variant(plan, i, err);
        }
    }
    return code == UQFF_OK ? choose_default(plan, err) : code;
}
