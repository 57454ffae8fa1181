#include <inttypes.h>

#include "pack/run.h"

struct run_tensors {
    struct uqff_sink *sink;
    const struct uqff_st_layout *layout;
    unsigned alignment;
    uint64_t data; /* where the data section begins */
    size_t count;
    const struct run_range *ranges;
    uint64_t *done; /* bytes of every range; each is touched by one thread at a time */
};

enum uqff_code uqff_run_tensors_new(const char *path, const struct uqff_st_layout *layout,
                                    const struct run_range *ranges, size_t count,
                                    unsigned alignment, bool overwrite, struct run_tensors **out,
                                    struct uqff_error *err) {
    enum uqff_code code;
    struct run_tensors *tensors = uqff_alloc_array(1, sizeof *tensors);
    if (tensors == NULL) {
        return uqff_fail_memory(err);
    }
    tensors->layout = layout;
    tensors->alignment = alignment;
    tensors->data = uqff_st_layout_header_bytes(layout, alignment);
    tensors->ranges = ranges;
    tensors->count = count;
    tensors->done = uqff_alloc_array(count, sizeof *tensors->done);
    if (tensors->done == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    code = uqff_sink_create(path, overwrite, &tensors->sink, err);
out:
    if (code != UQFF_OK) {
        uqff_run_tensors_free(tensors);
        return code;
    }
    *out = tensors;
    return UQFF_OK;
}

enum uqff_code uqff_run_tensors_append(void *context, size_t entry, const void *bytes, size_t n,
                                       struct uqff_error *err) {
    struct run_tensors *tensors = context;
    const struct run_range *range = &tensors->ranges[entry];
    uint64_t done = tensors->done[entry];
    if (n > range->bytes - done) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                         "%s: %zu bytes more for a tensor that has %" PRIu64 " of %" PRIu64,
                         uqff_sink_path(tensors->sink), n, done, range->bytes);
    }
    tensors->done[entry] = done + n;
    return uqff_sink_write(tensors->sink, tensors->data + range->offset + done, bytes, n, err);
}

static enum uqff_code reopen(const struct run_tensors *tensors, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_safetensors *file = NULL;
    enum uqff_code code = uqff_source_open(uqff_sink_temporary_path(tensors->sink), &source, err);
    if (code == UQFF_OK) {
        code = uqff_safetensors_open(source, NULL, &file, err);
    }
    uqff_safetensors_close(file);
    uqff_source_close(source);
    return code;
}

enum uqff_code uqff_run_tensors_finish(struct run_tensors *tensors, struct uqff_error *err) {
    for (size_t i = 0; i < tensors->count; i++) {
        if (tensors->done[i] != tensors->ranges[i].bytes) {
            return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                             "%s: a tensor has %" PRIu64 " bytes of %" PRIu64,
                             uqff_sink_path(tensors->sink), tensors->done[i],
                             tensors->ranges[i].bytes);
        }
    }
    struct uqff_buffer header = {0};
    enum uqff_code code = uqff_st_layout_header(tensors->layout, tensors->alignment, &header, err);
    if (code == UQFF_OK) {
        code = header.failed ? uqff_fail_memory(err)
                             : uqff_sink_write(tensors->sink, 0, header.data, header.size, err);
    }
    uqff_buffer_free(&header);
    if (code == UQFF_OK) {
        code = uqff_sink_flush(tensors->sink, err);
    }
    return code == UQFF_OK ? reopen(tensors, err) : code;
}

enum uqff_code uqff_run_tensors_publish(struct run_tensors *tensors, struct uqff_error *err) {
    return uqff_sink_publish(tensors->sink, err);
}

const char *uqff_run_tensors_path(const struct run_tensors *tensors) {
    return uqff_sink_path(tensors->sink);
}

void uqff_run_tensors_free(struct run_tensors *tensors) {
    if (tensors != NULL) {
        uqff_sink_close(tensors->sink);
        uqff_free(tensors->done);
        uqff_free(tensors);
    }
}
