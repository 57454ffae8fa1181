#include "pack/run.h"
#include "pack/gguf.h"

#include <inttypes.h>
#include <string.h>

/* Everything that a run has open. */
struct run_outputs {
    struct uqff_pack_plan *plan;
    struct run_folder folder;
    struct uqff_container_writer **writers;
    size_t writer_count;
    struct run_tensors *residual;
    struct run_range *residual_ranges;
    struct slab_job *job;
    struct run_direct direct; /* of the first container */
};

static enum uqff_code append_to_writer(void *writer, size_t entry, const void *bytes, size_t n,
                                       struct uqff_error *err) {
    return uqff_container_writer_append(writer, entry, bytes, n, err);
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum uqff_code open_writers(struct run_outputs *outputs, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    outputs->writers = uqff_alloc_array(plan->output_count, sizeof(void *));
    if (outputs->writers == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < plan->output_count; i++) {
        enum uqff_code code =
            uqff_container_writer_new(plan->outputs[i].plan, plan->directory,
                                      plan->options.overwrite, &outputs->writers[i], err);
        if (code != UQFF_OK) {
            return code;
        }
        outputs->writer_count++;
    }
    return UQFF_OK;
}

static enum uqff_code open_residual(struct run_outputs *outputs, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    const struct pack_residual *residual = &plan->residual_file;
    outputs->residual_ranges = uqff_alloc_array(residual->count, sizeof(struct run_range));
    if (outputs->residual_ranges == NULL) {
        return uqff_fail_memory(err);
    }
    /* Tensors were laid out one behind the other, which is how safetensors must lie. */
    uint64_t offset = 0;
    for (size_t i = 0; i < residual->count; i++) {
        uint64_t bytes = uqff_model_tensor(plan->model, residual->tensors[i])->bytes;
        outputs->residual_ranges[i] = (struct run_range){offset, bytes};
        offset += bytes;
    }
    char *path = uqff_path_join(plan->directory, "residual.safetensors");
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code =
        uqff_run_tensors_new(path, residual->layout, outputs->residual_ranges, residual->count, 8,
                             plan->options.overwrite, &outputs->residual, err);
    uqff_free(path);
    return code;
}

static enum uqff_code open_outputs(struct run_outputs *outputs, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    enum uqff_code code = UQFF_OK;
    if (plan->options.format == UQFF_PACK_MISTRALRS || uqff_text_ends(plan->directory, "/")) {
        code = uqff_run_folder_make(&outputs->folder, plan->directory, err);
    }
    if (code == UQFF_OK) {
        code = open_writers(outputs, err);
    }
    if (code == UQFF_OK && plan->beside) {
        code = open_residual(outputs, err);
    }
    for (size_t i = 0; i < plan->side_count && code == UQFF_OK; i++) {
        code = uqff_run_folder_side(&outputs->folder, plan->model, plan->directory, &plan->sides[i],
                                    plan->options.overwrite, err);
    }
    return code;
}

/* ---- what goes where ------------------------------------------------------------------------- */

/* The blocks of a module go to two entries of a plain container. */
static enum uqff_code attach_mxfp4(struct run_outputs *outputs, size_t output, size_t index,
                                   struct uqff_error *err) {
    const struct uqff_container_plan *plan = outputs->plan->outputs[output].plan;
    const struct uqff_plan_entry *entry = uqff_container_plan_entry(plan, index);
    struct run_mxfp4 *parts = uqff_arena_alloc(&outputs->plan->arena, sizeof *parts);
    if (parts == NULL) {
        return uqff_fail_memory(err);
    }
    parts->writer = outputs->writers[output];
    parts->weight = index;
    parts->scales = uqff_container_plan_find(plan, UQFF_PLAN_SCALES, entry->index, UQFF_TYPE_MXFP4);
    struct slab_target target = {uqff_run_mxfp4_append, parts, 0};
    return uqff_slab_job_module(outputs->job, entry->index, UQFF_TYPE_MXFP4, &target, err);
}

static enum uqff_code attach_entry(struct run_outputs *outputs, size_t output, size_t index,
                                   struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    const struct uqff_plan_entry *entry =
        uqff_container_plan_entry(plan->outputs[output].plan, index);
    struct slab_target target = {append_to_writer, outputs->writers[output], index};
    struct run_whole whole;
    switch (entry->kind) {
    case UQFF_PLAN_BIAS:
        return uqff_slab_job_bias(outputs->job, entry->index, entry->type, &target, err);
    case UQFF_PLAN_RESIDUAL_BIAS:
        return uqff_slab_job_bias(outputs->job, entry->index, plan->modules[entry->index].bias_type,
                                  &target, err);
    case UQFF_PLAN_RESIDUAL:
        return uqff_slab_job_tensor(outputs->job, uqff_model_residual(plan->model, entry->index),
                                    &target, err);
    case UQFF_PLAN_BLOB:
        if (entry->type == UQFF_TYPE_MXFP4 && plan->options.format == UQFF_PACK_MISTRALRS) {
            return attach_mxfp4(outputs, output, index, err);
        }
        /* What is read for one purpose only needs no slab. */
        if (plan->given && uqff_run_whole_tensor(plan->model, entry->index, entry->type, &whole)) {
            outputs->job->streamed[whole.tensor] = true;
            return uqff_run_direct_add(&outputs->direct, index, &whole, err);
        }
        return uqff_slab_job_module(outputs->job, entry->index, entry->type, &target, err);
    case UQFF_PLAN_ASSET:
    case UQFF_PLAN_FIXED:
    case UQFF_PLAN_SCALES:
    case UQFF_PLAN_DIGESTS:
        break;
    }
    return UQFF_OK;
}

static enum uqff_code attach(struct run_outputs *outputs, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    enum uqff_code code =
        uqff_slab_job_new(plan->model, plan->options.format == UQFF_PACK_UQFF, &outputs->job, err);
    for (size_t i = 0; i < plan->output_count && code == UQFF_OK; i++) {
        size_t entries = uqff_container_plan_count(plan->outputs[i].plan);
        for (size_t k = 0; k < entries && code == UQFF_OK; k++) {
            code = attach_entry(outputs, i, k, err);
        }
    }
    if (outputs->residual != NULL) {
        for (size_t i = 0; i < plan->residual_file.count && code == UQFF_OK; i++) {
            struct slab_target target = {uqff_run_tensors_append, outputs->residual, i};
            code = uqff_slab_job_tensor(outputs->job, plan->residual_file.tensors[i], &target, err);
        }
    }
    for (size_t i = 0; plan->importance != NULL && i < plan->module_count && code == UQFF_OK; i++) {
        const struct uqff_spec_module *module = &plan->modules[i];
        uqff_slab_job_importance(outputs->job, i, plan->importance[i],
                                 module->rank == 3 ? module->shape[0] : 1);
    }
    return code;
}

static enum uqff_code write_asset(struct run_outputs *outputs, size_t entry, size_t asset,
                                  struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    const char *bytes = plan->asset_contents[asset];
    size_t size = (size_t)plan->assets[asset].size;
    char *content = NULL;
    enum uqff_code code = UQFF_OK;
    if (bytes == NULL) {
        code = uqff_model_read_asset(plan->model, plan->carried[asset].asset, &content, &size, err);
        bytes = content;
    }
    if (code == UQFF_OK && size != plan->assets[asset].size) {
        code = uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET,
                         "%s: side file '%s': found %zu bytes, expected %" PRIu64,
                         uqff_model_path(plan->model), plan->assets[asset].path, size,
                         plan->assets[asset].size);
    }
    if (code == UQFF_OK) {
        code = uqff_container_writer_append(outputs->writers[0], entry, bytes, size, err);
    }
    uqff_free(content);
    return code;
}

/* Side files and the digest of the source: what a multi-quant file has beside tensors. */
static enum uqff_code write_multi(struct run_outputs *outputs, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    const struct uqff_container_plan *container = plan->outputs[0].plan;
    struct uqff_digest digest;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_container_plan_count(container) && code == UQFF_OK; i++) {
        const struct uqff_plan_entry *entry = uqff_container_plan_entry(container, i);
        if (entry->kind == UQFF_PLAN_ASSET) {
            code = write_asset(outputs, i, entry->index, err);
        }
    }
    if (code == UQFF_OK) {
        code = uqff_pack_source_digest(plan->model, outputs->job->digests, &digest, err);
    }
    if (code == UQFF_OK) {
        char *source = uqff_pack_source_with_digest(plan->source, &digest);
        code = source == NULL ? uqff_fail_memory(err)
                              : uqff_container_writer_metadata(outputs->writers[0], UQFF_KEY_SOURCE,
                                                               source, err);
        uqff_free(source);
    }
    return code;
}

/* ---- publishing ------------------------------------------------------------------------------ */

static enum uqff_code expect_shards(struct run_outputs *outputs, size_t output,
                                    struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    const struct uqff_container_plan *container = plan->outputs[output].plan;
    for (size_t i = 0; i < uqff_container_plan_shard_count(container); i++) {
        char *path = uqff_path_join(plan->directory, uqff_container_plan_shard_name(container, i));
        if (path == NULL) {
            return uqff_fail_memory(err);
        }
        enum uqff_code code = uqff_run_folder_expect(&outputs->folder, path, err);
        uqff_free(path);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* What stands beside the containers comes first: as long as they are missing, nothing looks
 * finished. */
static enum uqff_code publish(struct run_outputs *outputs, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = outputs->plan;
    enum uqff_code code = UQFF_OK;
    if (outputs->residual != NULL) {
        char *path = uqff_path_join(plan->directory, "residual.safetensors");
        code = path == NULL ? uqff_fail_memory(err)
                            : uqff_run_folder_expect(&outputs->folder, path, err);
        uqff_free(path);
        if (code == UQFF_OK) {
            code = uqff_run_tensors_publish(outputs->residual, err);
        }
    }
    if (code == UQFF_OK) {
        code = uqff_run_folder_publish(&outputs->folder, err);
    }
    for (size_t i = 0; i < outputs->writer_count && code == UQFF_OK; i++) {
        code = expect_shards(outputs, i, err);
        if (code == UQFF_OK) {
            code = uqff_container_writer_publish(outputs->writers[i], err);
        }
    }
    return code;
}

enum uqff_code uqff_pack_run(struct uqff_pack_plan *plan, const struct uqff_progress *progress,
                             struct uqff_error *err) {
    if (plan->options.format == UQFF_PACK_GGUF) {
        return uqff_gguf_run(plan, progress, err);
    }
    struct run_outputs outputs = {.plan = plan};
    struct slab_options options = {
        .memory = plan->options.memory,
        .threads = plan->options.threads,
        .allow_nonfinite = plan->options.allow_nonfinite,
        .stage = "pack",
        .warner = plan->options.warner,
    };
    enum uqff_code code = open_outputs(&outputs, err);
    if (code == UQFF_OK) {
        code = attach(&outputs, err);
    }
    if (code == UQFF_OK) {
        code = uqff_slab_job_run(outputs.job, &options, progress, err);
    }
    if (code == UQFF_OK && outputs.direct.count > 0) {
        code = uqff_run_direct_move(&outputs.direct, outputs.writers[0], outputs.job,
                                    options.threads, progress, err);
    }
    if (code == UQFF_OK && plan->options.format == UQFF_PACK_UQFF) {
        code = write_multi(&outputs, err);
    }
    if (code == UQFF_OK && outputs.residual != NULL) {
        code = uqff_run_tensors_finish(outputs.residual, err);
    }
    if (code == UQFF_OK) {
        code = uqff_model_unchanged(plan->model, err);
    }
    if (code == UQFF_OK) {
        code = publish(&outputs, err);
    }
    uqff_slab_job_free(outputs.job);
    uqff_run_tensors_free(outputs.residual);
    for (size_t i = 0; i < outputs.writer_count; i++) {
        uqff_container_writer_free(outputs.writers[i]);
    }
    uqff_free(outputs.writers);
    uqff_free(outputs.residual_ranges);
    uqff_free(outputs.direct.items);
    uqff_run_folder_close(&outputs.folder, code == UQFF_OK);
    return code;
}
