/* verify_recompute: what a UQFF file holds, against its source. */
#include <string.h>

#include "pack/rebuild.h"
#include "pack/recompute.h"

/* ---- containers ------------------------------------------------------------------------------ */

static struct expected expect_entry(const struct uqff_container *container, struct uqff_entry entry,
                                    const char *name, const char *what, uint64_t rows) {
    return (struct expected){
        .name = name,
        .what = what,
        .source = uqff_safetensors_source(uqff_container_shard(container, entry.shard)),
        .offset = entry.tensor->offset,
        .row_bytes = rows > 0 && entry.tensor->bytes >= rows ? entry.tensor->bytes / rows : 1,
    };
}

static enum uqff_code add_blob(struct recompute *recompute, const struct uqff_container *container,
                               size_t module, const struct uqff_blob *blob,
                               struct uqff_error *err) {
    const struct uqff_model_module *info = uqff_model_module(recompute->source, module);
    const struct uqff_type_info *type = uqff_type_info(blob->type);
    if ((blob->format != UQFF_FORMAT_GGUF && blob->format != UQFF_FORMAT_UNQUANT) || type == NULL ||
        (type->flags & UQFF_TYPE_CAN_ENCODE) == 0) {
        uqff_findings_add(recompute->verify, UQFF_NOTE, "recompute",
                          "%s: module '%s': %s is not encoded here, so it is not compared",
                          recompute->where, info->name, blob->label);
        return UQFF_OK;
    }
    if (recompute->without_importance && (type->flags & UQFF_TYPE_USES_IMPORTANCE) != 0) {
        return UQFF_OK; /* told once for all */
    }
    const struct expected expected =
        expect_entry(container, blob->entry, info->name, type->name, info->rows);
    struct slab_target target;
    enum uqff_code code = uqff_recompute_expect(recompute, &expected, &target, err);
    return code == UQFF_OK ? uqff_slab_job_module(recompute->job, module, blob->type, &target, err)
                           : code;
}

static enum uqff_code add_bias(struct recompute *recompute, const struct uqff_container *container,
                               size_t index, size_t module, struct uqff_error *err) {
    const struct uqff_module *stored = uqff_container_module(container, index);
    const struct uqff_model_module *info = uqff_model_module(recompute->source, module);
    if (stored->has_bias != (info->bias != UQFF_NONE)) {
        RECOMPUTE_FAIL(recompute, "%s: module '%s': %s", recompute->where, info->name,
                       stored->has_bias ? "has a bias, which the source has not"
                                        : "has no bias, which the source has");
        return UQFF_OK;
    }
    if (!stored->has_bias) {
        return UQFF_OK;
    }
    const struct uqff_st_tensor *tensor = stored->bias.tensor;
    const uint32_t type = uqff_type_from_dtype(tensor->dtype);
    const struct uqff_tensor *bias = uqff_model_tensor(recompute->source, info->bias);
    const struct uqff_type_info *type_info = uqff_type_info(type);
    if (type_info == NULL || (type_info->flags & UQFF_TYPE_CAN_ENCODE) == 0 ||
        tensor->bytes / type_info->block_bytes != bias->elements) {
        RECOMPUTE_FAIL(recompute, "%s: module '%s': its bias does not have the source's shape",
                       recompute->where, info->name);
        return UQFF_OK;
    }
    const struct expected expected =
        expect_entry(container, stored->bias, info->name, "bias", bias->elements);
    struct slab_target target;
    enum uqff_code code = uqff_recompute_expect(recompute, &expected, &target, err);
    return code == UQFF_OK ? uqff_slab_job_bias(recompute->job, module, type, &target, err) : code;
}

static enum uqff_code add_modules(struct recompute *recompute,
                                  const struct uqff_container *container, size_t variant,
                                  struct uqff_error *err) {
    const size_t count = uqff_container_module_count(container);
    const size_t *chosen =
        variant != UQFF_NONE ? uqff_container_variant(container, variant)->blobs : NULL;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        const struct uqff_module *stored = uqff_container_module(container, i);
        const size_t module = uqff_model_find_module(recompute->source, stored->name);
        if (module == UQFF_NONE) {
            RECOMPUTE_FAIL(recompute, "%s: the source has no module '%s'", recompute->where,
                           stored->name);
            continue;
        }
        const struct uqff_model_module *info = uqff_model_module(recompute->source, module);
        if (!uqff_recompute_same_shape(stored->shape, stored->rank, info->shape, info->rank)) {
            RECOMPUTE_FAIL(recompute, "%s: module '%s': does not have the source's shape",
                           recompute->where, stored->name);
            continue;
        }
        for (size_t b = 0; b < stored->blob_count && code == UQFF_OK; b++) {
            if (chosen == NULL || chosen[i] == stored->first_blob + b) {
                code = add_blob(recompute, container, module,
                                uqff_container_blob(container, stored->first_blob + b), err);
            }
        }
        if (code == UQFF_OK) {
            code = add_bias(recompute, container, i, module, err);
        }
    }
    for (size_t i = 0; i < uqff_model_module_count(recompute->source) && code == UQFF_OK; i++) {
        const char *name = uqff_model_module(recompute->source, i)->name;
        if (uqff_container_find_module(container, name) == UQFF_NONE) {
            RECOMPUTE_FAIL(recompute, "%s: lacks the module '%s', which the source has",
                           recompute->where, name);
        }
    }
    return code;
}

/* ---- residual tensors and side files --------------------------------------------------------- */

static enum uqff_code add_residual(struct recompute *recompute, const char *name,
                                   struct uqff_source *source, const struct uqff_st_tensor *tensor,
                                   struct uqff_error *err) {
    const size_t index = uqff_recompute_find_tensor(recompute, name);
    if (index == UQFF_NONE) {
        RECOMPUTE_FAIL(recompute, "%s: the source has no tensor '%s'", recompute->where, name);
        return UQFF_OK;
    }
    const struct uqff_tensor *info = uqff_model_tensor(recompute->source, index);
    if (info->type != uqff_type_from_dtype(tensor->dtype) || info->bytes != tensor->bytes ||
        !uqff_recompute_same_shape(info->shape, info->rank, tensor->shape, tensor->rank)) {
        RECOMPUTE_FAIL(recompute, "%s: tensor '%s': does not have the source's type and shape",
                       recompute->where, name);
        return UQFF_OK;
    }
    const uint64_t columns = tensor->rank == 0 ? 1 : tensor->shape[tensor->rank - 1];
    const uint64_t rows = columns == 0 ? 1 : info->elements / columns;
    const struct expected expected = {
        .name = name,
        .what = "residual",
        .source = source,
        .offset = tensor->offset,
        .row_bytes = rows > 0 && tensor->bytes >= rows ? tensor->bytes / rows : 1,
    };
    struct slab_target target;
    enum uqff_code code = uqff_recompute_expect(recompute, &expected, &target, err);
    return code == UQFF_OK ? uqff_slab_job_tensor(recompute->job, index, &target, err) : code;
}

static bool container_has_residual(const struct uqff_container *container, const char *name) {
    size_t low = 0, high = uqff_container_residual_count(container);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(uqff_container_residual(container, middle)->name, name);
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

static enum uqff_code add_residuals(struct recompute *recompute,
                                    const struct uqff_container *container,
                                    const struct uqff_safetensors_set *set,
                                    struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    const bool multi = uqff_container_is_multi(container);
    for (size_t i = 0; i < uqff_container_residual_count(container) && code == UQFF_OK; i++) {
        const struct uqff_residual *residual = uqff_container_residual(container, i);
        const struct uqff_safetensors *file =
            uqff_container_shard(container, residual->entry.shard);
        code = add_residual(recompute, residual->name, uqff_safetensors_source(file),
                            residual->entry.tensor, err);
    }
    for (size_t i = 0; set != NULL && !multi && i < uqff_safetensors_set_count(set); i++) {
        const struct uqff_st_set_tensor found = uqff_safetensors_set_tensor(set, i);
        const struct uqff_safetensors *file = uqff_safetensors_set_file(set, found.file);
        code = add_residual(recompute, found.tensor->name, uqff_safetensors_source(file),
                            found.tensor, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    if (!multi && set == NULL) {
        return code; /* a set by itself says nothing about the rest */
    }
    for (size_t i = 0; i < uqff_model_residual_count(recompute->source) && code == UQFF_OK; i++) {
        const struct uqff_tensor *tensor =
            uqff_model_tensor(recompute->source, uqff_model_residual(recompute->source, i));
        const char *name = tensor->hf_name != NULL ? tensor->hf_name : tensor->name;
        struct uqff_st_set_tensor found;
        if (multi ? !container_has_residual(container, name)
                  : !uqff_safetensors_set_find(set, name, &found)) {
            RECOMPUTE_FAIL(recompute, "%s: lacks the tensor '%s', which the source has",
                           recompute->where, name);
        }
    }
    return code;
}

static enum uqff_code compare_asset(struct recompute *recompute,
                                    const struct uqff_container *container, size_t index,
                                    const struct pack_side *sides, size_t count,
                                    struct uqff_error *err) {
    const char *path = uqff_container_asset(container, index)->path;
    char *a = NULL, *b = NULL;
    size_t a_size = 0, b_size = 0, k = 0;
    while (k < count && strcmp(sides[k].name, path) != 0) {
        k++;
    }
    if (k == count) {
        uqff_findings_add(recompute->verify, UQFF_WARNING, "recompute",
                          "%s: the source has no side file '%s'", recompute->where, path);
        return UQFF_OK;
    }
    const char *made = sides[k].content;
    enum uqff_code code = uqff_container_read_asset(container, index, &a, &a_size, err);
    if (code == UQFF_OK && made == NULL) {
        code = uqff_model_read_asset(recompute->source, sides[k].asset, &b, &b_size, err);
        made = b;
    } else {
        b_size = (size_t)sides[k].bytes;
    }
    if (code == UQFF_OK && (a_size != b_size || memcmp(a, made, a_size) != 0)) {
        uqff_findings_add(recompute->verify, UQFF_WARNING, "recompute",
                          "%s: the side file '%s' differs from the source's", recompute->where,
                          path);
    }
    uqff_free(a);
    uqff_free(b);
    return code;
}

/* Side files are made again too, where packing makes them: of a GGUF's metadata. */
static enum uqff_code compare_assets(struct recompute *recompute,
                                     const struct uqff_container *container,
                                     struct uqff_error *err) {
    const size_t count = uqff_container_asset_count(container);
    struct pack_side *sides = NULL;
    size_t side_count = 0;
    enum uqff_code code = count == 0
                              ? UQFF_OK
                              : uqff_rebuild_sides(recompute->source, NULL, 0, &recompute->arena,
                                                   &sides, &side_count, err);
    for (size_t i = 0; code == UQFF_OK && i < count; i++) {
        code = compare_asset(recompute, container, i, sides, side_count, err);
    }
    return code;
}

/* ---- what the file says about its making ----------------------------------------------------- */

/* Whether each variant has the types that its recipe gives with the options at hand. Without
 * options others may have been used, so a difference is only worth a note. */
static void compare_types(const struct recompute *recompute, const struct uqff_pack_plan *plan,
                          const struct uqff_container *container, size_t variant, size_t planned) {
    const struct uqff_variant *stored = uqff_container_variant(container, variant);
    const struct uqff_module *first = NULL;
    uint32_t found = 0, wanted = 0;
    size_t count = 0;
    for (size_t i = 0; i < uqff_container_module_count(container); i++) {
        const struct uqff_module *module = uqff_container_module(container, i);
        const size_t source = uqff_model_find_module(recompute->source, module->name);
        const uint32_t type = uqff_container_blob(container, stored->blobs[i])->type;
        if (source == UQFF_NONE || plan->types[planned][source] == type) {
            continue;
        }
        if (count++ == 0) {
            first = module;
            found = type;
            wanted = plan->types[planned][source];
        }
    }
    if (first != NULL) {
        const struct uqff_type_info *info = uqff_type_info(found);
        uqff_findings_add(recompute->verify,
                          recompute->verify->options->pack != NULL ? UQFF_WARNING : UQFF_NOTE,
                          "recipe",
                          "%s: variant '%s': %zu modules have other types than the recipe gives, "
                          "the first is '%s': %s, expected %s",
                          recompute->where, stored->name, count, first->name,
                          info != NULL ? info->name : "another format", uqff_type_name(wanted));
    }
}

static enum uqff_code check_types(const struct recompute *recompute, struct uqff_pack_plan *plan,
                                  const struct uqff_container *container, size_t only,
                                  struct uqff_error *err) {
    const size_t variants = uqff_container_variant_count(container);
    const char **names = uqff_arena_array(&plan->arena, variants, sizeof *names);
    size_t *indexes = uqff_arena_array(&plan->arena, variants, sizeof *indexes);
    size_t count = 0;
    if (names == NULL || indexes == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < variants; i++) {
        struct uqff_quant quant;
        const char *name = uqff_container_variant(container, i)->name;
        if ((only == UQFF_NONE || only == i) && uqff_quant_parse(name, &quant, NULL) == UQFF_OK) {
            names[count] = name;
            indexes[count++] = i;
        }
    }
    if (count == 0) {
        return UQFF_OK;
    }
    plan->options.quants = names;
    plan->options.quant_count = count;
    enum uqff_code code = uqff_pack_plan_quants(plan, err);
    if (code == UQFF_OK) {
        code = uqff_pack_plan_types(plan, NULL, err);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        compare_types(recompute, plan, container, indexes[i], i);
    }
    return code;
}

/* Whether the importance matrix is the one that the file was packed with. Its digest comes first in
 * the metadata. */
static void compare_imatrix(struct recompute *recompute, const struct uqff_pack_plan *plan,
                            const struct uqff_container *container) {
    static const char before[] = "{\"digest\":\"";
    const char *json = uqff_container_metadata(container, UQFF_KEY_IMATRIX);
    struct uqff_digest stored, found;
    if (json == NULL && plan->imatrix != NULL) {
        RECOMPUTE_FAIL(recompute, "%s: was packed without an importance matrix, but one is given",
                       recompute->where);
    }
    if (json != NULL && plan->imatrix == NULL) {
        recompute->without_importance = true;
        RECOMPUTE_FAIL(recompute,
                       "%s: was packed with an importance matrix; without it the blobs that it "
                       "shaped cannot be compared",
                       recompute->where);
    }
    if (json == NULL || plan->imatrix == NULL || strncmp(json, before, sizeof before - 1) != 0 ||
        !uqff_unhex(stored.bytes, json + sizeof before - 1, sizeof stored.bytes)) {
        return;
    }
    found = uqff_imatrix_digest(plan->imatrix);
    if (!uqff_digest_equal(&stored, &found)) {
        RECOMPUTE_FAIL(recompute, "%s: was packed with another importance matrix",
                       recompute->where);
    }
}

/* Whether the file was packed from this source, as its own metadata has it. */
static enum uqff_code compare_source(const struct recompute *recompute,
                                     const struct uqff_container *container,
                                     struct uqff_error *err) {
    const char *json = uqff_container_metadata(container, UQFF_KEY_SOURCE);
    struct uqff_digest stored, found;
    if (json == NULL || !uqff_pack_source_digest_of(json, &stored)) {
        return UQFF_OK;
    }
    enum uqff_code code =
        uqff_pack_source_digest(recompute->source, recompute->job->digests, &found, err);
    if (code == UQFF_OK && !uqff_digest_equal(&stored, &found)) {
        RECOMPUTE_FAIL(recompute, "%s: was packed from another source than %s", recompute->where,
                       uqff_model_path(recompute->source));
    }
    return code;
}

enum uqff_code uqff_verify_recompute(struct verify *verify, const struct uqff_container *container,
                                     const struct uqff_safetensors_set *residual, size_t variant,
                                     struct uqff_error *err) {
    struct recompute recompute;
    struct uqff_pack_plan plan = {0};
    const bool multi = uqff_container_is_multi(container);
    const char *where =
        uqff_source_name(uqff_safetensors_source(uqff_container_shard(container, 0)));
    enum uqff_code code = uqff_recompute_begin(&recompute, verify, where, multi, err);
    if (code == UQFF_OK) {
        code = uqff_recompute_plan(&recompute, &plan, err);
    }
    if (code == UQFF_OK) {
        code = check_types(&recompute, &plan, container, variant, err);
    }
    if (code == UQFF_OK) {
        if (multi) {
            compare_imatrix(&recompute, &plan, container);
        }
        code = add_modules(&recompute, container, variant, err);
    }
    if (code == UQFF_OK) {
        code = add_residuals(&recompute, container, residual, err);
    }
    if (code == UQFF_OK) {
        code = uqff_recompute_run(&recompute, &plan, err);
    }
    if (code == UQFF_OK && multi) {
        code = compare_source(&recompute, container, err);
    }
    if (code == UQFF_OK) {
        code = compare_assets(&recompute, container, err);
    }
    uqff_recompute_plan_end(&plan);
    uqff_recompute_end(&recompute);
    return code;
}
