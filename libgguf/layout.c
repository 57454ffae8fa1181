/* Where tensor data lies: aligned, without overlap or hole, and inside the file. */
#include <inttypes.h>
#include <stdlib.h>

#include "internal.h"

/* By offset; an empty tensor comes before the one that begins where it lies; else as in the file.
 */
static int compare_tensors(const void *a, const void *b) {
    const struct uqff_gguf_tensor *x = *(struct uqff_gguf_tensor *const *)a;
    const struct uqff_gguf_tensor *y = *(struct uqff_gguf_tensor *const *)b;
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? -1 : 1;
    }
    return (x > y) - (x < y);
}

/* Where the data of a tensor, whose offset is relative still, would begin in the file. */
static uint64_t place(const struct uqff_gguf *file, const struct uqff_gguf_tensor *tensor) {
    uint64_t at;
    return uqff_add_u64(file->data_offset, tensor->offset, &at) ? at : UQFF_NO_OFFSET;
}

static enum uqff_code fail(const struct uqff_gguf *file, const struct uqff_gguf_tensor *tensor,
                           enum uqff_code code, const char *text, uint64_t found,
                           const char *expected_text, uint64_t expected, struct uqff_error *err) {
    return uqff_fail(err, code, place(file, tensor), "%s: tensor '%s': %s %" PRIu64 ", %s %" PRIu64,
                     uqff_source_name(file->source), tensor->name, text, found, expected_text,
                     expected);
}

/* Tensors in order of their offsets; offsets are relative here. */
static enum uqff_code sort_tensors(struct uqff_gguf *file, struct uqff_gguf_tensor ***out,
                                   struct uqff_error *err) {
    struct uqff_gguf_tensor **order = (struct uqff_gguf_tensor **)uqff_alloc_array(
        file->tensor_count, sizeof(struct uqff_gguf_tensor *));
    if (order == NULL) {
        return uqff_fail_memory(err);
    }
    const struct uqff_gguf_tensor *stray = NULL;
    for (size_t i = 0; i < file->tensor_count; i++) {
        order[i] = &file->tensors[i];
        if (i > 0 && stray == NULL && compare_tensors(&order[i - 1], &order[i]) > 0) {
            stray = order[i];
        }
    }
    if (stray != NULL) {
        qsort(order, file->tensor_count, sizeof(struct uqff_gguf_tensor *), compare_tensors);
        uqff_warn(file->warner,
                  "%s: tensor '%s': infos are not in order of their offsets; llama.cpp does not "
                  "load such a file",
                  uqff_source_name(file->source), stray->name);
    }
    *out = order;
    return UQFF_OK;
}

/* Every tensor begins exactly where the one before, padded, ends. *end is where the last one ends
 * and *padded_end the same with its padding, both relative. */
static enum uqff_code sweep(const struct uqff_gguf *file, struct uqff_gguf_tensor *const *order,
                            uint64_t *end, uint64_t *padded_end, struct uqff_error *err) {
    *end = 0;
    *padded_end = 0;
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct uqff_gguf_tensor *tensor = order[i];
        if (tensor->offset % file->alignment != 0) {
            return fail(file, tensor, UQFF_E_LAYOUT, "found offset", tensor->offset,
                        "expected a multiple of the alignment", file->alignment, err);
        }
        if (tensor->offset < *end) {
            return uqff_fail(err, UQFF_E_LAYOUT, place(file, tensor),
                             "%s: tensor '%s' at offset %" PRIu64
                             " overlaps tensor '%s', which ends at %" PRIu64,
                             uqff_source_name(file->source), tensor->name, tensor->offset,
                             order[i - 1]->name, *end);
        }
        if (tensor->offset != *padded_end) {
            return fail(file, tensor, UQFF_E_LAYOUT, "a hole lies before it: found offset",
                        tensor->offset, "expected", *padded_end, err);
        }
        if (!uqff_add_u64(tensor->offset, tensor->bytes, end) ||
            !uqff_align_u64(*end, file->alignment, padded_end)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, place(file, tensor),
                             "%s: tensor '%s': the end of %" PRIu64 " bytes at offset %" PRIu64
                             " does not fit into 64 bits",
                             uqff_source_name(file->source), tensor->name, tensor->bytes,
                             tensor->offset);
        }
    }
    return UQFF_OK;
}

/* The whole of every tensor must be there; `end` is where the last one ends in the file. */
static enum uqff_code check_extents(const struct uqff_gguf *file,
                                    struct uqff_gguf_tensor *const *order, uint64_t end,
                                    struct uqff_error *err) {
    if (end <= file->size) {
        return UQFF_OK;
    }
    /* The first that sticks out; sums up to `end` are known to fit. */
    size_t i = 0;
    while (file->data_offset + order[i]->offset + order[i]->bytes <= file->size) {
        i++;
    }
    return uqff_fail(err, UQFF_E_TRUNCATED, file->size,
                     "%s: the file is cut off in tensor '%s': found %" PRIu64
                     " bytes, expected at least %" PRIu64,
                     uqff_source_name(file->source), order[i]->name, file->size, end);
}

static void warn_about_tail(const struct uqff_gguf *file, uint64_t padded_end) {
    const char *name = uqff_source_name(file->source);
    if (file->size < padded_end) {
        uqff_warn(file->warner,
                  "%s: the padding after the last tensor is missing: found %" PRIu64
                  " bytes, expected %" PRIu64,
                  name, file->size, padded_end);
    } else if (file->size > padded_end) {
        uqff_warn(file->warner, "%s: %" PRIu64 " bytes follow the last tensor at offset %" PRIu64,
                  name, file->size - padded_end, padded_end);
    }
}

/* Padding before the data is looked at as far as it is likely to be any; a file may declare an
 * alignment of a gigabyte. */
static enum uqff_code warn_about_padding(const struct uqff_gguf *file, struct uqff_error *err) {
    unsigned char bytes[4096];
    uint64_t end = file->data_offset < file->size ? file->data_offset : file->size;
    if (end <= file->infos_end) {
        return UQFF_OK;
    }
    uint64_t left = end - file->infos_end;
    size_t n = left < sizeof bytes ? (size_t)left : sizeof bytes;
    enum uqff_code code = uqff_source_read(file->source, file->infos_end, bytes, n, err);
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != 0) {
            uqff_warn(file->warner,
                      "%s: the padding before the data is not zero at offset %" PRIu64,
                      uqff_source_name(file->source), file->infos_end + i);
            return UQFF_OK;
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_gguf_check_layout(struct uqff_gguf *file, struct uqff_error *err) {
    if (!uqff_align_u64(file->infos_end, file->alignment, &file->data_offset)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, file->infos_end,
                         "%s: the beginning of the data does not fit into 64 bits",
                         uqff_source_name(file->source));
    }
    if (file->tensor_count == 0 && file->data_offset > file->size) {
        file->data_offset = file->size; /* no data: the padding before it may be missing */
    }
    struct uqff_gguf_tensor **order = NULL;
    uint64_t end = 0;
    uint64_t padded_end = 0;
    enum uqff_code code = sort_tensors(file, &order, err);
    if (code == UQFF_OK) {
        code = sweep(file, order, &end, &padded_end, err);
    }
    if (code == UQFF_OK && (!uqff_add_u64(end, file->data_offset, &end) ||
                            !uqff_add_u64(padded_end, file->data_offset, &padded_end))) {
        code = uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "%s: the end of the data does not fit into 64 bits",
                         uqff_source_name(file->source));
    }
    if (code == UQFF_OK) {
        code = check_extents(file, order, end, err);
    }
    if (code == UQFF_OK) {
        code = warn_about_padding(file, err);
    }
    if (code == UQFF_OK) {
        warn_about_tail(file, padded_end);
        for (size_t i = 0; i < file->tensor_count; i++) {
            file->tensors[i].offset += file->data_offset; /* at most `end` */
        }
    }
    uqff_free(order);
    return code;
}
