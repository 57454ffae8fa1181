/* Weights that are moved as they are: whole tensors of the source, whose bytes become an entry.
 * They are read, hashed and written piece by piece while a piece is still in the cache, several
 * tensors at a time. A file without digests has them copied by the system. */
#include <stdatomic.h>

#include "pack/run.h"

struct direct_run {
    const struct run_direct *direct;
    const struct uqff_progress *progress;
    struct uqff_container_writer *writer;
    struct slab_job *job;
    bool hashes;
    uint64_t total;
    atomic_uint_least64_t done;
};

bool uqff_run_whole_tensor(const struct uqff_model *model, size_t index, uint32_t type,
                           struct run_whole *out) {
    const struct uqff_model_module *module = uqff_model_module(model, index);
    const struct uqff_type_info *info = uqff_type_info(type);
    uint64_t row = 0;
    const char *name = uqff_model_module_source_name(model, index, 0, &row);
    if (name == NULL || row != 0 || module->type != type || info == NULL) {
        return false;
    }
    /* Nobody has looked at a checkpoint's floats yet: they pass through a slab, which does. */
    if (uqff_model_kind(model) == UQFF_MODEL_HF && (info->flags & UQFF_TYPE_IS_QUANTIZED) == 0) {
        return false;
    }
    out->tensor = uqff_model_find_tensor(model, name);
    if (out->tensor == UQFF_NONE) {
        return false;
    }
    const struct uqff_tensor *tensor = uqff_model_tensor(model, out->tensor);
    out->bytes = tensor->bytes;
    if (!uqff_model_tensor_range(model, out->tensor, &out->source, &out->offset)) {
        out->source = NULL;
    }
    return tensor->type == type && tensor->elements == module->rows * module->columns;
}

enum uqff_code uqff_run_direct_add(struct run_direct *direct, size_t entry,
                                   const struct run_whole *whole, struct uqff_error *err) {
    enum uqff_code code = uqff_grow((void **)&direct->items, &direct->capacity, direct->count + 1,
                                    sizeof *direct->items, err);
    if (code == UQFF_OK) {
        direct->items[direct->count++] = (struct run_direct_item){entry, *whole};
    }
    return code;
}

static enum uqff_code report(struct direct_run *run, uint64_t n, unsigned thread,
                             struct uqff_error *err) {
    uint64_t done = atomic_fetch_add(&run->done, n) + n;
    /* Thread 0 is the one that called: progress is promised to come from one thread. */
    return thread == 0 ? uqff_progress_update(run->progress, "copy", done, run->total, err)
                       : UQFF_OK;
}

static enum uqff_code move_by_reading(struct direct_run *run, const struct run_direct_item *item,
                                      unsigned thread, struct uqff_error *err) {
    enum { PIECE = 256 << 10 };
    const struct run_whole *whole = &item->whole;
    unsigned char *bytes = uqff_alloc(PIECE);
    enum uqff_code code = bytes == NULL ? uqff_fail_memory(err) : UQFF_OK;
    for (uint64_t done = 0; done < whole->bytes && code == UQFF_OK;) {
        size_t n = whole->bytes - done < PIECE ? (size_t)(whole->bytes - done) : PIECE;
        code = whole->source != NULL
                   ? uqff_source_read(whole->source, whole->offset + done, bytes, n, err)
                   : uqff_model_read(run->job->model, whole->tensor, done, bytes, n, err);
        if (code == UQFF_OK) {
            code = uqff_container_writer_append(run->writer, item->entry, bytes, n, err);
        }
        done += n;
        if (code == UQFF_OK) {
            code = report(run, n, thread, err);
        }
    }
    uqff_free(bytes);
    if (code == UQFF_OK && run->hashes) {
        code = uqff_container_writer_digest(run->writer, item->entry,
                                            &run->job->digests[whole->tensor], err);
    }
    return code;
}

static enum uqff_code move(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    struct direct_run *run = context;
    const struct run_direct_item *item = &run->direct->items[i];
    if (run->hashes || item->whole.source == NULL) {
        return move_by_reading(run, item, thread, err);
    }
    enum uqff_code code = uqff_container_writer_copy(run->writer, item->entry, item->whole.source,
                                                     item->whole.offset, NULL, err);
    return code == UQFF_OK ? report(run, item->whole.bytes, thread, err) : code;
}

enum uqff_code uqff_run_direct_move(const struct run_direct *direct,
                                    struct uqff_container_writer *writer, struct slab_job *job,
                                    unsigned threads, const struct uqff_progress *progress,
                                    struct uqff_error *err) {
    struct direct_run run = {
        .direct = direct,
        .progress = progress,
        .writer = writer,
        .job = job,
        .hashes = job->want_digests,
    };
    for (size_t i = 0; i < direct->count; i++) {
        run.total += direct->items[i].whole.bytes;
    }
    atomic_init(&run.done, 0);
    return uqff_parallel_for(direct->count, threads, move, &run, err);
}
