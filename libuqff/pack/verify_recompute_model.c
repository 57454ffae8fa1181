/* verify_recompute_model: what a GGUF or safetensors model holds, against its source. */
#include "pack/recompute.h"

static enum uqff_code add_model_module(struct recompute *recompute, const struct uqff_model *model,
                                       size_t index, struct uqff_error *err) {
    const struct uqff_model_module *stored = uqff_model_module(model, index);
    const size_t module = uqff_model_find_module(recompute->source, stored->name);
    const struct uqff_type_info *info = uqff_type_info(stored->type);
    if (module == UQFF_NONE) {
        RECOMPUTE_FAIL(recompute, "%s: the source has no module '%s'", recompute->where,
                       stored->name);
        return UQFF_OK;
    }
    const struct uqff_model_module *source = uqff_model_module(recompute->source, module);
    if (!uqff_recompute_same_shape(stored->shape, stored->rank, source->shape, source->rank)) {
        RECOMPUTE_FAIL(recompute, "%s: module '%s': does not have the source's shape",
                       recompute->where, stored->name);
        return UQFF_OK;
    }
    struct expected expected = {
        .name = stored->name, .model = model, .index = index, .is_module = true};
    if (info == NULL || (info->flags & UQFF_TYPE_CAN_ENCODE) == 0 ||
        uqff_row_bytes(stored->type, stored->columns, &expected.row_bytes, NULL) != UQFF_OK ||
        expected.row_bytes == 0) {
        uqff_findings_add(recompute->verify, UQFF_NOTE, "recompute",
                          "%s: module '%s': %s is not encoded here, so it is not compared",
                          recompute->where, stored->name,
                          info != NULL ? info->name : "a mixture of types");
        return UQFF_OK;
    }
    expected.what = info->name;
    struct slab_target target;
    enum uqff_code code = uqff_recompute_expect(recompute, &expected, &target, err);
    return code == UQFF_OK
               ? uqff_slab_job_module(recompute->job, module, stored->type, &target, err)
               : code;
}

/* Tensors that are no modules are compared where both have them in the same type. */
static enum uqff_code add_model_residual(struct recompute *recompute,
                                         const struct uqff_model *model, size_t index,
                                         struct uqff_error *err) {
    const struct uqff_tensor *stored = uqff_model_tensor(model, index);
    const char *name = stored->hf_name != NULL ? stored->hf_name : stored->name;
    const size_t source = uqff_recompute_find_tensor(recompute, name);
    if (source == UQFF_NONE || uqff_model_tensor(recompute->source, source)->type != stored->type ||
        uqff_model_tensor(recompute->source, source)->bytes != stored->bytes) {
        return UQFF_OK;
    }
    const uint64_t columns = stored->rank == 0 ? 1 : stored->shape[stored->rank - 1];
    const uint64_t rows = columns == 0 ? 1 : stored->elements / columns;
    const struct expected expected = {
        .name = name,
        .what = "residual",
        .model = model,
        .index = index,
        .row_bytes = rows > 0 && stored->bytes >= rows ? stored->bytes / rows : 1,
    };
    struct slab_target target;
    enum uqff_code code = uqff_recompute_expect(recompute, &expected, &target, err);
    return code == UQFF_OK ? uqff_slab_job_tensor(recompute->job, source, &target, err) : code;
}

enum uqff_code uqff_verify_recompute_model(struct verify *verify, const struct uqff_model *model,
                                           struct uqff_error *err) {
    struct recompute recompute;
    struct uqff_pack_plan plan = {0};
    enum uqff_code code =
        uqff_recompute_begin(&recompute, verify, uqff_model_path(model), false, err);
    if (code == UQFF_OK) {
        code = uqff_recompute_plan(&recompute, &plan, err);
    }
    for (size_t i = 0; i < uqff_model_module_count(model) && code == UQFF_OK; i++) {
        code = add_model_module(&recompute, model, i, err);
    }
    for (size_t i = 0; i < uqff_model_residual_count(model) && code == UQFF_OK; i++) {
        code = add_model_residual(&recompute, model, uqff_model_residual(model, i), err);
    }
    if (code == UQFF_OK) {
        code = uqff_recompute_run(&recompute, &plan, err);
    }
    uqff_recompute_plan_end(&plan);
    uqff_recompute_end(&recompute);
    return code;
}
