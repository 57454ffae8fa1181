/* Writing the GGUFs of a plan. */
#include "pack/gguf.h"

#include <inttypes.h>
#include <string.h>

#include "pack/run.h"

/* One GGUF, or split set, being filled. */
struct writing {
    const struct gguf_output *output;
    struct uqff_sink **sinks; /* one a file */
    size_t file_count;
    uint64_t *done; /* bytes of every tensor; each is touched by one thread at a time */
};

struct gguf_run {
    struct uqff_pack_plan *plan;
    const struct uqff_progress *progress;
    struct run_folder folder;
    struct writing *writings; /* one a variant */
    struct slab_job *job;
    uint64_t copied, to_copy;
};

/* A slab_append; entries are tensors. */
static enum uqff_code append(void *place, size_t entry, const void *bytes, size_t n,
                             struct uqff_error *err) {
    struct writing *writing = place;
    size_t file = 0;
    uint64_t offset = 0, size = 0;
    uqff_gguf_layout_place(writing->output->layout, entry, &file, &offset, &size);
    uint64_t done = writing->done[entry];
    if (n > size - done) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                         "%s: %zu bytes more for a tensor that has %" PRIu64 " of %" PRIu64,
                         uqff_sink_path(writing->sinks[file]), n, done, size);
    }
    writing->done[entry] = done + n;
    return uqff_sink_write(writing->sinks[file], offset + done, bytes, n, err);
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum uqff_code open_writing(struct gguf_run *run, size_t variant, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = run->plan;
    struct writing *writing = &run->writings[variant];
    writing->output = &plan->gguf->outputs[variant];
    size_t count = uqff_gguf_layout_file_count(writing->output->layout);
    writing->done = uqff_alloc_array(plan->gguf->count, sizeof *writing->done);
    writing->sinks = uqff_alloc_array(count, sizeof(void *));
    if (writing->done == NULL || writing->sinks == NULL) {
        return uqff_fail_memory(err);
    }
    writing->file_count = count;
    for (size_t i = 0; i < count; i++) {
        char *name = uqff_gguf_layout_file_name(writing->output->layout, writing->output->stem, i);
        char *path = name == NULL ? NULL : uqff_path_join(plan->directory, name);
        enum uqff_code code =
            path == NULL ? uqff_fail_memory(err)
                         : uqff_sink_create(path, plan->options.overwrite, &writing->sinks[i], err);
        uqff_free(path);
        uqff_free(name);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* ---- what goes where ------------------------------------------------------------------------- */

static bool copy_tensor_of(const struct uqff_pack_plan *plan, const struct uqff_gguf_tensor *tensor,
                           struct run_whole *out) {
    if (tensor != NULL) {
        out->source = uqff_gguf_source(plan->gguf->source, tensor->file);
        out->offset = tensor->offset;
        out->bytes = tensor->bytes;
    }
    return tensor != NULL;
}

/* Whether the bytes of an entry are those of the source, and where: of a tensor of a GGUF, or of
 * weights that nothing else is wanted of and whose rows lie as a GGUF has them. */
static bool copy_of(const struct uqff_pack_plan *plan, size_t variant,
                    const struct gguf_entry *entry, struct run_whole *out) {
    if (entry->kind == GGUF_COPY) {
        return copy_tensor_of(plan, entry->copied, out);
    }
    if (entry->kind != GGUF_MODULE) {
        return false;
    }
    const struct uqff_model_module *module = uqff_model_module(plan->model, entry->index);
    if (module->type != plan->types[variant][entry->index]) {
        return false;
    }
    if (uqff_model_kind(plan->model) == UQFF_MODEL_GGUF) {
        return copy_tensor_of(plan, uqff_gguf_module_tensor(plan->model, entry->index), out);
    }
    return plan->given && module->gguf_heads == 0 &&
           uqff_run_whole_tensor(plan->model, entry->index, module->type, out) &&
           out->source != NULL;
}

static enum uqff_code attach_entry(struct gguf_run *run, size_t variant, size_t index,
                                   struct uqff_error *err) {
    const struct uqff_pack_plan *plan = run->plan;
    const struct gguf_entry *entry = &plan->gguf->entries[index];
    struct slab_target target = {append, &run->writings[variant], index};
    struct run_whole whole;
    if (copy_of(plan, variant, entry, &whole)) {
        run->to_copy += whole.bytes;
        return UQFF_OK;
    }
    switch (entry->kind) {
    case GGUF_MODULE:
        return uqff_slab_job_module(run->job, entry->index, plan->types[variant][entry->index],
                                    &target, err);
    case GGUF_BIAS:
        return uqff_slab_job_bias(run->job, entry->index, entry->type, &target, err);
    case GGUF_FLOATS:
        return uqff_slab_job_floats(run->job, entry->index, entry->type, &target, err);
    case GGUF_MADE:
        return append(&run->writings[variant], index, entry->content,
                      (size_t)entry->ne[0] * sizeof(float), err);
    case GGUF_COPY:
        break;
    }
    return UQFF_OK;
}

static enum uqff_code attach(struct gguf_run *run, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = run->plan;
    enum uqff_code code = uqff_slab_job_new(plan->model, false, &run->job, err);
    if (code != UQFF_OK) {
        return code;
    }
    uqff_slab_job_for_gguf(run->job);
    for (size_t i = 0; i < plan->variant_count && code == UQFF_OK; i++) {
        for (size_t k = 0; k < plan->gguf->count && code == UQFF_OK; k++) {
            code = attach_entry(run, i, k, err);
        }
    }
    size_t modules = uqff_model_module_count(plan->model);
    for (size_t i = 0; plan->importance != NULL && i < modules && code == UQFF_OK; i++) {
        const struct uqff_model_module *module = uqff_model_module(plan->model, i);
        uqff_slab_job_importance(run->job, i, plan->importance[i],
                                 module->rank == 3 ? module->shape[0] : 1);
    }
    return code;
}

/* ---- copying --------------------------------------------------------------------------------- */

static enum uqff_code copy_tensor(struct gguf_run *run, struct writing *writing, size_t index,
                                  const struct run_whole *whole, struct uqff_error *err) {
    enum { PIECE = 64 << 20 };
    size_t file = 0;
    uint64_t offset = 0, bytes = 0;
    enum uqff_code code = UQFF_OK;
    uqff_gguf_layout_place(writing->output->layout, index, &file, &offset, &bytes);
    for (uint64_t done = 0; done < bytes && code == UQFF_OK; done = writing->done[index]) {
        uint64_t n = bytes - done < PIECE ? bytes - done : PIECE;
        code = uqff_sink_copy(writing->sinks[file], offset + done, whole->source,
                              whole->offset + done, n, err);
        writing->done[index] = done + n;
        run->copied += n;
        if (code == UQFF_OK) {
            code = uqff_progress_update(run->progress, "copy", run->copied, run->to_copy, err);
        }
    }
    return code;
}

static enum uqff_code copy_all(struct gguf_run *run, struct uqff_error *err) {
    const struct uqff_pack_plan *plan = run->plan;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < plan->variant_count && code == UQFF_OK; i++) {
        for (size_t k = 0; k < plan->gguf->count && code == UQFF_OK; k++) {
            struct run_whole whole;
            if (copy_of(plan, i, &plan->gguf->entries[k], &whole)) {
                code = copy_tensor(run, &run->writings[i], k, &whole, err);
            }
        }
    }
    return code;
}

/* ---- finishing ------------------------------------------------------------------------------- */

static enum uqff_code write_zeros(struct uqff_sink *sink, uint64_t offset, uint64_t n,
                                  struct uqff_error *err) {
    static const unsigned char zeros[512];
    enum uqff_code code = UQFF_OK;
    while (n > 0 && code == UQFF_OK) {
        size_t take = n < sizeof zeros ? (size_t)n : sizeof zeros;
        code = uqff_sink_write(sink, offset, zeros, take, err);
        offset += take;
        n -= take;
    }
    return code;
}

/* Padding behind each tensor, once all of them are complete. */
static enum uqff_code pad(const struct writing *writing, size_t count, struct uqff_error *err) {
    const struct uqff_gguf_layout *layout = writing->output->layout;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        size_t file = 0, next_file = SIZE_MAX;
        uint64_t offset = 0, bytes = 0, next = 0, next_bytes = 0;
        uqff_gguf_layout_place(layout, i, &file, &offset, &bytes);
        if (writing->done[i] != bytes) {
            return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                             "%s: a tensor has %" PRIu64 " bytes of %" PRIu64,
                             uqff_sink_path(writing->sinks[file]), writing->done[i], bytes);
        }
        if (i + 1 < count) {
            uqff_gguf_layout_place(layout, i + 1, &next_file, &next, &next_bytes);
        }
        if (next_file != file) {
            next = uqff_gguf_layout_file_bytes(layout, file);
        }
        code = write_zeros(writing->sinks[file], offset + bytes, next - offset - bytes, err);
    }
    return code;
}

static enum uqff_code finish(const struct gguf_run *run, const struct writing *writing,
                             struct uqff_error *err) {
    enum uqff_code code = pad(writing, run->plan->gguf->count, err);
    for (size_t i = 0; i < writing->file_count && code == UQFF_OK; i++) {
        struct uqff_buffer header = {0};
        code = uqff_gguf_layout_header(writing->output->layout, i, &header, err);
        if (code == UQFF_OK) {
            code = header.failed
                       ? uqff_fail_memory(err)
                       : uqff_sink_write(writing->sinks[i], 0, header.data, header.size, err);
        }
        uqff_buffer_free(&header);
        if (code == UQFF_OK) {
            code = uqff_sink_flush(writing->sinks[i], err);
        }
        if (code == UQFF_OK) {
            code = uqff_gguf_read_back(writing->sinks[i], err);
        }
    }
    return code;
}

/* The first file of a set comes last: without it the others are no model. */
static enum uqff_code publish(struct gguf_run *run, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < run->plan->variant_count; i++) {
        const struct writing *writing = &run->writings[i];
        for (size_t k = writing->file_count; k > 0 && code == UQFF_OK; k--) {
            struct uqff_sink *sink = writing->sinks[k - 1];
            code = uqff_run_folder_expect(&run->folder, uqff_sink_path(sink), err);
            if (code == UQFF_OK) {
                code = uqff_sink_publish(sink, err);
            }
        }
    }
    return code;
}

static void close_all(struct gguf_run *run, bool keep) {
    uqff_slab_job_free(run->job);
    for (size_t i = 0; run->writings != NULL && i < run->plan->variant_count; i++) {
        struct writing *writing = &run->writings[i];
        for (size_t k = 0; k < writing->file_count; k++) {
            uqff_sink_close(writing->sinks[k]);
        }
        uqff_free(writing->sinks);
        uqff_free(writing->done);
    }
    uqff_free(run->writings);
    uqff_run_folder_close(&run->folder, keep);
}

enum uqff_code uqff_gguf_run(struct uqff_pack_plan *plan, const struct uqff_progress *progress,
                             struct uqff_error *err) {
    struct gguf_run run = {.plan = plan, .progress = progress};
    const struct slab_options options = {
        .memory = plan->options.memory,
        .threads = plan->options.threads,
        .allow_nonfinite = plan->options.allow_nonfinite,
        .stage = "pack",
        .warner = plan->options.warner,
    };
    enum uqff_code code = UQFF_OK;
    run.writings = uqff_alloc_array(plan->variant_count, sizeof *run.writings);
    if (run.writings == NULL) {
        return uqff_fail_memory(err);
    }
    if (uqff_text_ends(plan->directory, "/")) {
        code = uqff_run_folder_make(&run.folder, plan->directory, err);
    }
    for (size_t i = 0; i < plan->variant_count && code == UQFF_OK; i++) {
        code = open_writing(&run, i, err);
    }
    if (code == UQFF_OK) {
        code = attach(&run, err);
    }
    if (code == UQFF_OK) {
        code = uqff_slab_job_run(run.job, &options, progress, err);
    }
    if (code == UQFF_OK) {
        code = copy_all(&run, err);
    }
    for (size_t i = 0; i < plan->variant_count && code == UQFF_OK; i++) {
        code = finish(&run, &run.writings[i], err);
    }
    if (code == UQFF_OK) {
        code = uqff_model_unchanged(plan->model, err);
    }
    if (code == UQFF_OK) {
        code = publish(&run, err);
    }
    close_all(&run, code == UQFF_OK);
    return code;
}
