/* The layout of a file, or split set, to be written: its tensors, and where everything goes. */
#include <inttypes.h>
#include <string.h>

#include "uqff/quant.h"
#include "writer.h"

enum uqff_code uqff_gguf_layout_new(uint64_t alignment, struct uqff_gguf_layout **out,
                                    struct uqff_error *err) {
    if (alignment < GGUF_SMALLEST_ALIGNMENT || alignment > UINT32_MAX ||
        (alignment & (alignment - 1)) != 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "alignment %" PRIu64
                         ": expected a power of two that is at least %u and fits into 32 bits",
                         alignment, GGUF_SMALLEST_ALIGNMENT);
    }
    struct uqff_gguf_layout *layout =
        (struct uqff_gguf_layout *)uqff_alloc_array(1, sizeof(struct uqff_gguf_layout));
    if (layout == NULL) {
        return uqff_fail_memory(err);
    }
    layout->alignment = alignment;
    *out = layout;
    return UQFF_OK;
}

void uqff_gguf_layout_free(struct uqff_gguf_layout *layout) {
    if (layout == NULL) {
        return;
    }
    for (size_t i = 0; i < layout->key_count; i++) {
        uqff_buffer_free(&layout->keys[i].value);
    }
    uqff_free(layout->keys);
    uqff_gguf_index_free(&layout->key_index);
    uqff_free(layout->tensors);
    uqff_gguf_index_free(&layout->tensor_index);
    uqff_free(layout->files);
    uqff_arena_free(&layout->arena);
    uqff_free(layout);
}

/* ---- tensors --------------------------------------------------------------------------------- */

static enum uqff_code check_name(const char *name, struct uqff_error *err) {
    size_t n = strlen(name);
    size_t bad;
    if (n == 0 || n > GGUF_MAX_WRITTEN_NAME) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "tensor '%.96s': the name has %zu bytes, expected 1 to %u", name, n,
                         GGUF_MAX_WRITTEN_NAME);
    }
    if (!uqff_utf8_valid(name, n, &bad)) {
        return uqff_fail(err, UQFF_E_ENCODING, UQFF_NO_OFFSET,
                         "tensor '%s': byte %zu of the name is not UTF-8", name, bad);
    }
    return UQFF_OK;
}

/* Fills type, shape and size. */
static enum uqff_code set_shape(struct layout_tensor *tensor, unsigned n_dims, const uint64_t *ne,
                                struct uqff_error *err) {
    uint64_t shape[UQFF_GGUF_MAX_DIMS]; /* outermost first */
    if (n_dims > UQFF_GGUF_MAX_DIMS) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "tensor '%s': found %u dimensions, expected 0 to %u", tensor->name, n_dims,
                         UQFF_GGUF_MAX_DIMS);
    }
    tensor->n_dims = n_dims;
    for (unsigned i = 0; i < n_dims; i++) {
        if (ne[i] > INT64_MAX) {
            return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                             "tensor '%s': dimension %u is %" PRIu64 ", expected at most 2^63-1",
                             tensor->name, i, ne[i]);
        }
        tensor->ne[i] = ne[i];
        shape[n_dims - 1 - i] = ne[i];
    }
    if (!uqff_gguf_elements_fit(n_dims, ne)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "tensor '%s': the shape has more elements than 2^63-1", tensor->name);
    }
    /* Ids from 1000 are known to us, but mean nothing in this format. */
    if (tensor->type >= UQFF_TYPE_BOOL || uqff_type_info(tensor->type) == NULL) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET, "tensor '%s': GGUF has no type for %s",
                         tensor->name, uqff_type_name(tensor->type));
    }
    enum uqff_code code = uqff_tensor_bytes(tensor->type, shape, n_dims, &tensor->bytes, err);
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "tensor '%s'", tensor->name);
    }
    return code;
}

enum uqff_code uqff_gguf_layout_add(struct uqff_gguf_layout *layout, const char *name,
                                    uint32_t type, const uint64_t *ne, unsigned n_dims,
                                    struct uqff_error *err) {
    if (layout->finished) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                         "tensor '%.96s': added after the file was laid out", name);
    }
    struct layout_tensor tensor = {.name = name, .type = type};
    enum uqff_code code = check_name(name, err);
    if (code == UQFF_OK) {
        code = set_shape(&tensor, n_dims, ne, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    void *tensors = layout->tensors;
    code = uqff_grow(&tensors, &layout->tensor_capacity, layout->tensor_count + 1,
                     sizeof(struct layout_tensor), err);
    layout->tensors = (struct layout_tensor *)tensors;
    if (code != UQFF_OK) {
        return code;
    }
    tensor.name = uqff_arena_copy(&layout->arena, name, strlen(name));
    if (tensor.name == NULL) {
        return uqff_fail_memory(err);
    }
    bool known = false;
    size_t first = 0;
    code = uqff_gguf_index_add(&layout->tensor_index, tensor.name, layout->tensor_count, &known,
                               &first, err);
    if (code == UQFF_OK && known) {
        code = uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                         "tensor '%s': found twice, as tensors %zu and %zu, expected once", name,
                         first, layout->tensor_count);
    }
    if (code == UQFF_OK) {
        layout->tensors[layout->tensor_count++] = tensor;
    }
    return code;
}

void uqff_gguf_layout_empty_first(struct uqff_gguf_layout *layout) {
    layout->empty_first = true;
}

/* ---- placing --------------------------------------------------------------------------------- */

static enum uqff_code new_file(struct uqff_gguf_layout *layout, size_t first,
                               struct uqff_error *err) {
    if (layout->file_count == GGUF_MAX_PARTS) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "the split makes more than %u files, expected at most that many",
                         GGUF_MAX_PARTS);
    }
    void *files = layout->files;
    enum uqff_code code = uqff_grow(&files, &layout->file_capacity, layout->file_count + 1,
                                    sizeof(struct layout_file), err);
    layout->files = (struct layout_file *)files;
    if (code == UQFF_OK) {
        layout->files[layout->file_count++] = (struct layout_file){.first = first};
    }
    return code;
}

/* Gives every tensor its file and its offset there. */
static enum uqff_code place_tensors(struct uqff_gguf_layout *layout, uint64_t max_bytes,
                                    uint64_t max_tensors, struct uqff_error *err) {
    enum uqff_code code = new_file(layout, 0, err);
    if (code == UQFF_OK && layout->empty_first && layout->tensor_count > 0) {
        code = new_file(layout, 0, err);
    }
    for (size_t i = 0; code == UQFF_OK && i < layout->tensor_count; i++) {
        struct layout_tensor *tensor = &layout->tensors[i];
        struct layout_file *file = &layout->files[layout->file_count - 1];
        uint64_t padded, end;
        if (!uqff_align_u64(tensor->bytes, layout->alignment, &padded) ||
            !uqff_add_u64(file->data_bytes, padded, &end)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "tensor '%s': the end of its %" PRIu64
                             " bytes does not fit into 64 bits",
                             tensor->name, tensor->bytes);
        }
        bool full =
            (max_bytes != 0 && end > max_bytes) || (max_tensors != 0 && file->count >= max_tensors);
        if (full && file->count > 0) {
            code = new_file(layout, i, err);
            if (code != UQFF_OK) {
                return code;
            }
            file = &layout->files[layout->file_count - 1];
        }
        tensor->file = layout->file_count - 1;
        tensor->offset = file->data_bytes;
        file->data_bytes += padded;
        file->count++;
    }
    return code;
}

/* Where the data of each file begins, now that it is known which keys and infos it has. */
static enum uqff_code place_data(struct uqff_gguf_layout *layout, struct uqff_error *err) {
    for (size_t i = 0; i < layout->file_count; i++) {
        struct layout_file *file = &layout->files[i];
        uint64_t end;
        if (!uqff_gguf_measure_header(layout, i, &file->data_offset) ||
            !uqff_align_u64(file->data_offset, layout->alignment, &file->data_offset) ||
            file->data_offset > GGUF_MAX_HEADER) {
            return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                             "keys, tensor infos and their padding take more than %" PRIu64
                             " bytes",
                             GGUF_MAX_HEADER);
        }
        if (!uqff_add_u64(file->data_offset, file->data_bytes, &end) || end > INT64_MAX) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "%" PRIu64 " bytes of tensor data are more than a file can hold",
                             file->data_bytes);
        }
    }
    return UQFF_OK;
}

/* Keys that the layout decides on: the caller's do not stand beside them. */
static enum uqff_code settle_keys(struct uqff_gguf_layout *layout, struct uqff_error *err) {
    for (size_t i = 0; !layout->keep_split && i < layout->key_count; i++) {
        if (uqff_gguf_is_split_key(layout->keys[i].name)) {
            uqff_gguf_unset(layout, layout->keys[i].name);
        }
    }
    if (layout->alignment == GGUF_DEFAULT_ALIGNMENT ||
        uqff_gguf_is_set(layout, GGUF_ALIGNMENT_KEY)) {
        return UQFF_OK;
    }
    return uqff_gguf_set_u64(layout, GGUF_ALIGNMENT_KEY, UQFF_GGUF_U32, layout->alignment, err);
}

enum uqff_code uqff_gguf_layout_finish(struct uqff_gguf_layout *layout, uint64_t max_bytes,
                                       uint64_t max_tensors, struct uqff_error *err) {
    if (layout->finished) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET, "a layout was finished twice");
    }
    if (layout->tensor_count > INT32_MAX) { /* what split.tensors.count holds */
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "found %zu tensors, expected at most 2^31-1", layout->tensor_count);
    }
    layout->file_count = 0;
    enum uqff_code code = settle_keys(layout, err);
    if (code == UQFF_OK) {
        code = place_tensors(layout, max_bytes, max_tensors, err);
    }
    if (code == UQFF_OK) {
        code = place_data(layout, err);
    }
    layout->finished = code == UQFF_OK;
    return code;
}

/* ---- room for edits -------------------------------------------------------------------------- */

uint64_t uqff_gguf_layout_padding(const struct uqff_gguf_layout *layout) {
    /* kind u32 | element kind u32 | count u64 | elements */
    const struct layout_key *padding = uqff_gguf_layout_find(layout, GGUF_PADDING_KEY);
    return uqff_gguf_has_padding(layout) ? padding->value.size - 16 : 0;
}

uint64_t uqff_gguf_layout_least(const struct uqff_gguf_layout *layout) {
    uint64_t bytes;
    (void)uqff_gguf_measure_header(layout, 0, &bytes); /* was possible when it was laid out */
    return bytes - uqff_gguf_layout_padding(layout);
}

enum uqff_code uqff_gguf_layout_fit(struct uqff_gguf_layout *layout, uint64_t data_offset,
                                    bool *fits, struct uqff_error *err) {
    uint64_t least = uqff_gguf_layout_least(layout);
    *fits = least <= data_offset && data_offset <= GGUF_MAX_HEADER;
    if (!*fits) {
        return UQFF_OK;
    }
    enum uqff_code code = uqff_gguf_set_padding(layout, (size_t)(data_offset - least), err);
    if (code == UQFF_OK) {
        layout->files[0].data_offset = data_offset;
    }
    return code;
}

/* ---- the finished layout --------------------------------------------------------------------- */

size_t uqff_gguf_layout_file_count(const struct uqff_gguf_layout *layout) {
    return layout->file_count;
}

char *uqff_gguf_layout_file_name(const struct uqff_gguf_layout *layout, const char *stem,
                                 size_t file) {
    struct uqff_buffer name = {0};
    uqff_buffer_printf(&name, "%s", stem);
    if (layout->file_count > 1) {
        uqff_buffer_printf(&name, "-%05zu-of-%05zu", file + 1, layout->file_count);
    }
    uqff_buffer_append(&name, ".gguf", 5);
    if (name.failed) {
        uqff_buffer_free(&name);
        return NULL;
    }
    return name.data;
}

uint64_t uqff_gguf_layout_file_bytes(const struct uqff_gguf_layout *layout, size_t file) {
    return layout->files[file].data_offset + layout->files[file].data_bytes;
}

void uqff_gguf_layout_place(const struct uqff_gguf_layout *layout, size_t tensor, size_t *file,
                            uint64_t *offset, uint64_t *bytes) {
    const struct layout_tensor *entry = &layout->tensors[tensor];
    *file = entry->file;
    *offset = layout->files[entry->file].data_offset + entry->offset;
    *bytes = entry->bytes;
}
