#include <string.h>
#include <unistd.h>

#include "pack/slab.h"
#include "pack/variants.h"

struct rewriting {
    struct variants *v;
    struct uqff_container_writer *writer;
    struct slab_job *job; /* NULL when nothing is added */
    const struct uqff_progress *progress;
    uint64_t copied, total;
};

static enum uqff_code append_to_writer(void *writer, size_t entry, const void *bytes, size_t n,
                                       struct uqff_error *err) {
    return uqff_container_writer_append(writer, entry, bytes, n, err);
}

/* ---- entries that move as they are ----------------------------------------------------------- */

static enum uqff_code copy_entry(struct rewriting *r, size_t index, struct uqff_entry from,
                                 struct uqff_error *err) {
    const struct uqff_container *old = r->v->old;
    struct uqff_digest digest;
    struct uqff_source *source = uqff_safetensors_source(uqff_container_shard(old, from.shard));
    bool known = uqff_container_entry_digest(old, from, &digest);
    enum uqff_code code = uqff_container_writer_copy(r->writer, index, source, from.tensor->offset,
                                                     known ? &digest : NULL, err);
    if (code == UQFF_OK) {
        r->copied += from.tensor->bytes;
        code = uqff_progress_update(r->progress, "copy", r->copied, r->total, err);
    }
    return code;
}

static const struct uqff_blob *find_blob(const struct variants *v, size_t module, uint32_t type) {
    const struct uqff_module *info = uqff_container_module(v->old, module);
    for (size_t i = 0; i < info->blob_count; i++) {
        const struct uqff_blob *blob = uqff_container_blob(v->old, info->first_blob + i);
        if (blob->type == type &&
            (blob->format == UQFF_FORMAT_GGUF || blob->format == UQFF_FORMAT_UNQUANT)) {
            return blob;
        }
    }
    return NULL;
}

/* ---- biases in another form ------------------------------------------------------------------ */

/* Turns a bias of the old file into another float type. The one as the source had it is taken where
 * there is one; without it the form of the old default has lost nothing. */
static enum uqff_code convert_bias(struct rewriting *r, size_t index, size_t module, uint32_t type,
                                   struct uqff_error *err) {
    const struct variants *v = r->v;
    struct uqff_entry from = v->exact[module] != NULL ? v->exact[module]->entry
                                                      : uqff_container_module(v->old, module)->bias;
    uint32_t old_type = uqff_type_from_dtype(from.tensor->dtype);
    if (old_type == type) {
        return copy_entry(r, index, from, err);
    }
    struct uqff_source *source = uqff_safetensors_source(uqff_container_shard(v->old, from.shard));
    unsigned char *bytes = NULL;
    float *values = NULL;
    uint64_t encoded = 0;
    size_t size = 0, n = 0, total = 0;
    enum uqff_code code = UQFF_OK;
    if (!uqff_to_size(from.tensor->bytes, &size)) {
        return uqff_fail_memory(err);
    }
    n = size / (uqff_dtype_bits(from.tensor->dtype) / 8);
    code = uqff_row_bytes(type, n, &encoded, err);
    if (code != UQFF_OK || !uqff_to_size(encoded, &total)) {
        return code != UQFF_OK ? code : uqff_fail_memory(err);
    }
    bytes = uqff_alloc(size > total ? size : total);
    values = uqff_alloc_array(n, sizeof *values);
    if (bytes == NULL || values == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    code = uqff_source_read(source, from.tensor->offset, bytes, size, err);
    if (code == UQFF_OK) {
        code = uqff_dequantize_row(old_type, bytes, values, n, err);
    }
    if (code == UQFF_OK) {
        code = uqff_quantize_row(type, values, bytes, n, NULL, err);
    }
    if (code == UQFF_OK) {
        code = uqff_container_writer_append(r->writer, index, bytes, total, err);
    }
out:
    uqff_free(values);
    uqff_free(bytes);
    return code;
}

/* ---- all entries ----------------------------------------------------------------------------- */

static enum uqff_code fill_entry(struct rewriting *r, size_t index, struct uqff_error *err) {
    const struct variants *v = r->v;
    const struct uqff_plan_entry *entry = uqff_container_plan_entry(v->plan, index);
    const struct uqff_blob *blob = NULL;
    switch (entry->kind) {
    case UQFF_PLAN_BIAS:
        return convert_bias(r, index, entry->index, entry->type, err);
    case UQFF_PLAN_RESIDUAL_BIAS:
        return convert_bias(r, index, entry->index, v->modules[entry->index].bias_type, err);
    case UQFF_PLAN_RESIDUAL:
        return copy_entry(r, index, v->residual[entry->index]->entry, err);
    case UQFF_PLAN_ASSET:
        return copy_entry(r, index, uqff_container_asset(v->old, entry->index)->entry, err);
    case UQFF_PLAN_BLOB:
        blob = find_blob(v, entry->index, entry->type);
        if (blob != NULL) {
            return copy_entry(r, index, blob->entry, err);
        }
        return uqff_slab_job_module(r->job, entry->index, entry->type,
                                    &(struct slab_target){append_to_writer, r->writer, index}, err);
    case UQFF_PLAN_FIXED:
    case UQFF_PLAN_SCALES:
    case UQFF_PLAN_DIGESTS:
        break;
    }
    return UQFF_OK;
}

/* Encodes what is new and makes sure that it comes from the same source as the rest. */
static enum uqff_code encode_added(struct rewriting *r, struct uqff_error *err) {
    const struct variants *v = r->v;
    const struct uqff_pack_options *pack = &v->added.options;
    struct slab_options options = {
        .memory = pack->memory,
        .threads = pack->threads,
        .allow_nonfinite = pack->allow_nonfinite,
        .stage = "pack",
        .warner = pack->warner,
    };
    struct uqff_digest expected, found;
    for (size_t i = 0; v->added.importance != NULL && i < v->spec.module_count; i++) {
        uqff_slab_job_importance(r->job, i, v->added.importance[i],
                                 v->modules[i].rank == 3 ? v->modules[i].shape[0] : 1);
    }
    enum uqff_code code = uqff_slab_job_run(r->job, &options, r->progress, err);
    if (code == UQFF_OK) {
        code = uqff_pack_source_digest(v->edit->from, r->job->digests, &found, err);
    }
    if (code == UQFF_OK && (!uqff_pack_source_digest_of(v->source, &expected) ||
                            !uqff_digest_equal(&expected, &found))) {
        code = uqff_fail(err, UQFF_E_DIGEST, UQFF_NO_OFFSET,
                         "%s: is not the model that '%s' was packed from: its digest differs",
                         uqff_model_path(v->edit->from), uqff_container_shard_path(v->old, 0));
    }
    return code == UQFF_OK ? uqff_model_unchanged(v->edit->from, err) : code;
}

static enum uqff_code old_unchanged(const struct variants *v, struct uqff_error *err) {
    for (size_t i = 0; i < uqff_container_shard_count(v->old); i++) {
        enum uqff_code code =
            uqff_source_unchanged(uqff_safetensors_source(uqff_container_shard(v->old, i)), err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

static bool is_new_shard(const struct variants *v, const char *name) {
    for (size_t i = 0; i < uqff_container_plan_shard_count(v->plan); i++) {
        if (strcmp(uqff_container_plan_shard_name(v->plan, i), name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_old_shard(const struct variants *v, const char *name) {
    for (size_t i = 0; i < uqff_container_shard_count(v->old); i++) {
        if (strcmp(uqff_path_name(uqff_container_shard_path(v->old, i)), name) == 0) {
            return true;
        }
    }
    return false;
}

/* The old files may be replaced; others that happen to have a new shard's name may not. */
static enum uqff_code check_names(const struct variants *v, struct uqff_error *err) {
    for (size_t i = 0; i < uqff_container_plan_shard_count(v->plan); i++) {
        const char *name = uqff_container_plan_shard_name(v->plan, i);
        char *path = uqff_path_join(v->directory, name);
        enum uqff_code code = UQFF_OK;
        if (path == NULL) {
            code = uqff_fail_memory(err);
        } else if (!is_old_shard(v, name) && uqff_path_exists(path)) {
            code = uqff_fail(err, UQFF_E_EXISTS, UQFF_NO_OFFSET, "%s: already exists", path);
        }
        uqff_free(path);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* A set that has become a single file, or the other way round, leaves old names behind. */
static void remove_old(const struct variants *v) {
    for (size_t i = 0; i < uqff_container_shard_count(v->old); i++) {
        const char *path = uqff_container_shard_path(v->old, i);
        if (!is_new_shard(v, uqff_path_name(path)) && unlink(path) != 0) {
            uqff_warn(v->added.options.warner, "%s: is of no use any more but cannot be removed",
                      path);
        }
    }
}

enum uqff_code uqff_variants_write(struct variants *v, const struct uqff_progress *progress,
                                   struct uqff_error *err) {
    struct rewriting r = {.v = v, .progress = progress};
    size_t count = uqff_container_plan_count(v->plan);
    enum uqff_code code = check_names(v, err);
    if (code == UQFF_OK) {
        code = uqff_container_writer_new(v->plan, v->directory, true, &r.writer, err);
    }
    if (code == UQFF_OK && v->edit->add_count > 0) {
        code = uqff_slab_job_new(v->edit->from, true, &r.job, err);
    }
    for (size_t i = 0; i < count; i++) {
        r.total += uqff_container_plan_entry(v->plan, i)->bytes;
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = fill_entry(&r, i, err);
    }
    if (code == UQFF_OK && r.job != NULL) {
        code = encode_added(&r, err);
    }
    if (code == UQFF_OK) {
        code = old_unchanged(v, err);
    }
    if (code == UQFF_OK) {
        code = uqff_container_writer_publish(r.writer, err);
    }
    if (code == UQFF_OK) {
        remove_old(v);
    }
    uqff_slab_job_free(r.job);
    uqff_container_writer_free(r.writer);
    return code;
}
