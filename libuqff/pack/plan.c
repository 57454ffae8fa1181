#include "pack/plan.h"

#include <stdio.h>
#include <string.h>

#include "pack/gguf.h"
#include "pack/rebuild.h"
#include "pack/recipe.h"
#include "pack/sidecars.h"

/* One variant that is given instead of chosen. */
static enum uqff_code take_given(struct uqff_pack_plan *plan, const struct pack_given *given,
                                 struct uqff_error *err) {
    plan->variant_count = 1;
    plan->given = true;
    plan->quants = uqff_arena_array(&plan->arena, 1, sizeof *plan->quants);
    if (plan->quants == NULL) {
        return uqff_fail_memory(err);
    }
    struct uqff_quant *quant = &plan->quants[0];
    if (strlen(given->name) >= sizeof quant->name) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "variant '%s': found a name of %zu bytes, expected at most %zu",
                         given->name, strlen(given->name), sizeof quant->name - 1);
    }
    memcpy(quant->name, given->name, strlen(given->name) + 1);
    quant->recipe = given->recipe;
    quant->type = given->type;
    quant->family = UQFF_QUANT_UNIFORM;
    quant->file_type = -1;
    return UQFF_OK;
}

static enum uqff_code check_options(const struct uqff_pack_options *options,
                                    struct uqff_error *err) {
    unsigned alignment = options->alignment;
    unsigned least = options->format == UQFF_PACK_GGUF ? 8 : 64;
    if (alignment != 0 &&
        (alignment > 4096 || alignment < least || (alignment & (alignment - 1)) != 0)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "alignment %u: expected a power of two from %u to 4096", alignment, least);
    }
    if (options->format == UQFF_PACK_GGUF &&
        (options->sidecars || options->compress_assets || options->default_quant != NULL)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "a GGUF has neither side files nor a default among variants");
    }
    if (options->no_tokenizer && options->format != UQFF_PACK_GGUF) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "the tokenizer can be left out of a GGUF only");
    }
    if (options->include_count > 0 && options->exclude_count > 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "weights of the importance matrix can be included or excluded, not both");
    }
    return UQFF_OK;
}

/* A pattern that decides nothing is most often a slip, and what it was to protect is not. */
static enum uqff_code warn_of_idle_patterns(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct uqff_recipe_options *recipe = &plan->options.recipe;
    struct recipe_patterns *patterns = NULL;
    struct uqff_arena arena = {0};
    bool *used = uqff_arena_array(&arena, recipe->rule_count, sizeof *used);
    enum uqff_code code =
        used == NULL ? uqff_fail_memory(err)
                     : uqff_recipe_patterns_new(recipe->rules, recipe->rule_count, &patterns, err);
    for (size_t i = 0; code == UQFF_OK && i < uqff_model_module_count(plan->model); i++) {
        const struct uqff_model_module *module = uqff_model_module(plan->model, i);
        size_t rule = UQFF_NONE;
        code = uqff_recipe_module_rule(patterns, module->name, module->gguf_name, &rule, err);
        if (code == UQFF_OK && rule != UQFF_NONE) {
            used[rule] = true;
        }
    }
    for (size_t i = 0; code == UQFF_OK && i < recipe->rule_count; i++) {
        if (!used[i]) {
            uqff_warn(plan->options.warner,
                      "pattern '%.200s' decides nothing: no weight that could be quantized has it "
                      "in its name, or patterns before it take them",
                      recipe->rules[i].pattern);
        }
    }
    uqff_recipe_patterns_free(patterns);
    uqff_arena_free(&arena);
    return code;
}

static enum uqff_code plan_containers(struct uqff_pack_plan *plan, struct uqff_error *err) {
    enum uqff_code code = uqff_rebuild_sides(plan->model, plan->options.warner, 0, &plan->arena,
                                             &plan->carried, &plan->asset_count, err);
    if (code == UQFF_OK) {
        code = uqff_pack_plan_spec(plan, err);
    }
    if (code == UQFF_OK && plan->beside) {
        code = uqff_sidecars_plan(plan, err);
    }
    return code == UQFF_OK ? uqff_pack_plan_files(plan, err) : code;
}

enum uqff_code uqff_pack_plan_make(const struct uqff_model *model,
                                   const struct uqff_pack_options *options,
                                   const struct pack_given *given, struct uqff_pack_plan **out,
                                   struct uqff_error *err) {
    enum uqff_code code = check_options(options, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_pack_plan *plan = uqff_alloc_array(1, sizeof *plan);
    if (plan == NULL) {
        return uqff_fail_memory(err);
    }
    plan->model = model;
    plan->options = *options;
    plan->beside = options->format == UQFF_PACK_MISTRALRS || options->sidecars;
    code = uqff_pack_plan_place(plan, err);
    if (code == UQFF_OK) {
        code = given != NULL ? take_given(plan, given, err) : uqff_pack_plan_quants(plan, err);
    }
    if (code == UQFF_OK) {
        code = uqff_pack_plan_importance(plan, err);
    }
    if (code == UQFF_OK) {
        code = uqff_pack_plan_types(plan, given, err);
    }
    if (code == UQFF_OK && given == NULL && options->recipe.rule_count > 0) {
        code = warn_of_idle_patterns(plan, err);
    }
    if (code == UQFF_OK) {
        code = options->format == UQFF_PACK_GGUF ? uqff_gguf_plan(plan, err)
                                                 : plan_containers(plan, err);
    }
    if (code != UQFF_OK) {
        uqff_pack_plan_free(plan);
        return code;
    }
    *out = plan;
    return UQFF_OK;
}

enum uqff_code uqff_pack_plan_new(const struct uqff_model *model,
                                  const struct uqff_pack_options *options,
                                  struct uqff_pack_plan **out, struct uqff_error *err) {
    static const struct uqff_pack_options none = {.output = NULL};
    return uqff_pack_plan_make(model, options != NULL ? options : &none, NULL, out, err);
}

void uqff_pack_plan_free(struct uqff_pack_plan *plan) {
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->output_count; i++) {
        uqff_container_plan_free(plan->outputs[i].plan);
    }
    uqff_gguf_plan_free(plan->gguf);
    uqff_st_layout_free(plan->residual_file.layout);
    uqff_imatrix_close(plan->imatrix);
    uqff_arena_free(&plan->arena);
    uqff_free(plan);
}

size_t uqff_pack_plan_file_count(const struct uqff_pack_plan *plan) {
    return plan->file_count;
}

struct uqff_pack_file uqff_pack_plan_file(const struct uqff_pack_plan *plan, size_t i) {
    return plan->files[i];
}

size_t uqff_pack_plan_variant_count(const struct uqff_pack_plan *plan) {
    return plan->variant_count;
}

const struct uqff_pack_variant *uqff_pack_plan_variant(const struct uqff_pack_plan *plan,
                                                       size_t i) {
    return &plan->variants[i];
}

struct uqff_choice uqff_pack_plan_choice(const struct uqff_pack_plan *plan, size_t variant,
                                         size_t module) {
    return plan->choices[variant][module];
}

uint64_t uqff_pack_plan_bytes(const struct uqff_pack_plan *plan, size_t variant, size_t module) {
    const struct uqff_model_module *info = uqff_model_module(plan->model, module);
    uint64_t bytes = 0;
    /* Was computed without an error when the plan was made. */
    if (uqff_tensor_bytes(plan->types[variant][module], info->shape, info->rank, &bytes, NULL) !=
        UQFF_OK) {
        return 0;
    }
    return bytes;
}

uint64_t uqff_pack_plan_shared_bytes(const struct uqff_pack_plan *plan) {
    return plan->shared_bytes;
}

uint64_t uqff_pack_plan_residual_bytes(const struct uqff_pack_plan *plan) {
    return plan->residual_bytes;
}

uint64_t uqff_pack_plan_asset_bytes(const struct uqff_pack_plan *plan) {
    return plan->asset_bytes;
}
