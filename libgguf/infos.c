/* Tensor infos: name, shape, type and where the data is said to be. */
#include <inttypes.h>
#include <string.h>

#include "internal.h"
#include "uqff/quant.h"

/* Ids above are ours and never stand in a file; nothing near them is in sight as a type of ggml's.
 */
#define LARGEST_PLAUSIBLE_TYPE 999u

static enum uqff_code check_type(const struct gguf_cursor *cursor, uint32_t type, uint64_t at,
                                 struct uqff_error *err) {
    if (type > LARGEST_PLAUSIBLE_TYPE) {
        return uqff_gguf_fail(cursor, err, UQFF_E_TYPE, at,
                              "tensor type %" PRIu32 " does not exist: the file is damaged", type);
    }
    if (uqff_type_is_retired(type)) {
        return uqff_gguf_fail(
            cursor, err, UQFF_E_TYPE, at,
            "retired tensor type %" PRIu32 ": only older versions of llama.cpp read it", type);
    }
    if (uqff_type_info(type) == NULL) {
        return uqff_gguf_fail(cursor, err, UQFF_E_TYPE, at,
                              "unknown tensor type %" PRIu32 ": the file is newer than this tool",
                              type);
    }
    return UQFF_OK;
}

static enum uqff_code parse_shape(struct gguf_cursor *cursor, struct uqff_gguf_tensor *tensor,
                                  struct uqff_error *err) {
    uint64_t at = cursor->position;
    uint32_t n_dims = 0;
    enum uqff_code code = uqff_gguf_read_u32(cursor, "the number of dimensions", &n_dims, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (n_dims > UQFF_GGUF_MAX_DIMS) {
        return uqff_gguf_fail(cursor, err, UQFF_E_SHAPE, at,
                              "found %" PRIu32 " dimensions, expected 0 to %u", n_dims,
                              UQFF_GGUF_MAX_DIMS);
    }
    tensor->n_dims = n_dims;
    for (unsigned i = 0; i < UQFF_GGUF_MAX_DIMS; i++) {
        tensor->ne[i] = 1;
    }
    for (unsigned i = 0; i < n_dims; i++) {
        at = cursor->position;
        code = uqff_gguf_read_count(cursor, "a dimension", &tensor->ne[i], err);
        if (code != UQFF_OK) {
            return code;
        }
        /* The format's dimensions are signed for its other readers; and a dimension of 0 must not
         * hide such a one. */
        if (tensor->ne[i] > INT64_MAX) {
            return uqff_gguf_fail(cursor, err, UQFF_E_SHAPE, at,
                                  "dimension %u is %" PRIu64 ", expected at most 2^63-1", i,
                                  tensor->ne[i]);
        }
    }
    return UQFF_OK;
}

/* Elements are counted in signed 64-bit numbers by whoever walks over them. Sub-byte types could
 * have more of them in a file that still fits its own size. */
bool uqff_gguf_elements_fit(unsigned n_dims, const uint64_t *ne) {
    uint64_t elements = 1;
    for (unsigned i = 0; i < n_dims; i++) {
        if (ne[i] == 0) {
            return true;
        }
    }
    for (unsigned i = 0; i < n_dims; i++) {
        if (!uqff_mul_u64(elements, ne[i], &elements)) {
            return false;
        }
    }
    return elements <= INT64_MAX;
}

static enum uqff_code set_bytes(const struct gguf_cursor *cursor, struct uqff_gguf_tensor *tensor,
                                uint64_t at, struct uqff_error *err) {
    uint64_t shape[UQFF_GGUF_MAX_DIMS]; /* outermost first */
    for (unsigned i = 0; i < tensor->n_dims; i++) {
        shape[i] = tensor->ne[tensor->n_dims - 1 - i];
    }
    if (!uqff_gguf_elements_fit(tensor->n_dims, tensor->ne)) {
        return uqff_gguf_fail(cursor, err, UQFF_E_OVERFLOW, at,
                              "shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64
                              "] has more elements than 2^63-1",
                              tensor->ne[0], tensor->ne[1], tensor->ne[2], tensor->ne[3]);
    }
    struct uqff_error inner;
    enum uqff_code code =
        uqff_tensor_bytes(tensor->type, shape, tensor->n_dims, &tensor->bytes, &inner);
    if (code != UQFF_OK) {
        return uqff_gguf_fail(cursor, err, code, at,
                              "shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64
                              "] of type %s: %s",
                              tensor->ne[0], tensor->ne[1], tensor->ne[2], tensor->ne[3],
                              uqff_type_name(tensor->type), inner.text);
    }
    return UQFF_OK;
}

/*
 * name      length[C] bytes          C is 4 bytes in version 1, 8 since
 * n_dims    u32
 * ne        C bytes each
 * type      u32
 * offset    u64, from the beginning of the data section
 */
static enum uqff_code parse_info(struct gguf_cursor *cursor, struct uqff_gguf_tensor *tensor,
                                 struct uqff_error *err) {
    struct uqff_gguf *file = cursor->file;
    enum uqff_code code = uqff_gguf_read_name(cursor, "tensor", GGUF_MAX_NAME, &tensor->name, err);
    if (code != UQFF_OK) {
        return code;
    }
    uint64_t at = cursor->position - strlen(tensor->name);
    bool known = false;
    size_t first = 0;
    code = uqff_gguf_index_add(&file->names, tensor->name, file->tensor_count, &known, &first, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (known) {
        return uqff_gguf_fail(cursor, err, UQFF_E_DUPLICATE, at,
                              "found twice, as tensors %zu and %zu, expected once", first,
                              file->tensor_count);
    }
    code = parse_shape(cursor, tensor, err);
    if (code != UQFF_OK) {
        return code;
    }
    at = cursor->position;
    code = uqff_gguf_read_u32(cursor, "the tensor type", &tensor->type, err);
    if (code == UQFF_OK) {
        code = check_type(cursor, tensor->type, at, err);
    }
    if (code == UQFF_OK) {
        code = set_bytes(cursor, tensor, at, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_read_u64(cursor, "the offset of the data", &tensor->offset, err);
    }
    return code;
}

static void warn_long_names(const struct uqff_gguf *file) {
    for (size_t i = 0; i < file->tensor_count; i++) {
        if (strlen(file->tensors[i].name) == GGUF_MAX_NAME) {
            uqff_warn(file->warner,
                      "%s: tensor '%s': llama.cpp takes names of at most %u bytes, found %u",
                      uqff_source_name(file->source), file->tensors[i].name, GGUF_MAX_NAME - 1,
                      GGUF_MAX_NAME);
            return; /* one is enough to know it by */
        }
    }
}

enum uqff_code uqff_gguf_parse_infos(struct gguf_cursor *cursor, struct uqff_error *err) {
    struct uqff_gguf *file = cursor->file;
    for (uint64_t i = 0; i < file->tensors_declared; i++) {
        void *tensors = file->tensors;
        enum uqff_code code = uqff_grow(&tensors, &file->tensor_capacity, file->tensor_count + 1,
                                        sizeof(struct uqff_gguf_tensor), err);
        file->tensors = (struct uqff_gguf_tensor *)tensors;
        if (code != UQFF_OK) {
            return code;
        }
        struct uqff_gguf_tensor tensor = {0};
        code = parse_info(cursor, &tensor, err);
        if (code != UQFF_OK) {
            return code;
        }
        file->tensors[file->tensor_count++] = tensor;
        cursor->entry = NULL;
    }
    file->infos_end = cursor->position;
    warn_long_names(file);
    return UQFF_OK;
}
