/* The writer's plan of a file: text of the header, and where each tensor goes. */
#include "safetensors/names.h"
#include "uqff/safetensors.h"

#include <inttypes.h>
#include <string.h>

static const char metadata_name[] = "__metadata__";

struct uqff_st_layout {
    struct uqff_arena arena;    /* names and keys */
    struct uqff_st_names names; /* of the tensors */
    struct uqff_st_names keys;  /* of the metadata, numbered as `pairs` */
    struct uqff_buffer *pairs;  /* each "key":"value" */
    size_t pair_capacity;
    /* "name":{...},"name":{...} A failed append sticks, so that later calls cannot render a
     * header that lacks a tensor. */
    struct uqff_buffer tensors;
    uint64_t data_bytes;
};

enum uqff_code uqff_st_layout_new(struct uqff_st_layout **out, struct uqff_error *err) {
    struct uqff_st_layout *layout = uqff_alloc_array(1, sizeof *layout);
    if (layout == NULL) {
        return uqff_fail_memory(err);
    }
    *out = layout;
    return UQFF_OK;
}

void uqff_st_layout_free(struct uqff_st_layout *layout) {
    if (layout == NULL) {
        return;
    }
    for (size_t i = 0; i < layout->keys.count; i++) {
        uqff_buffer_free(&layout->pairs[i]);
    }
    uqff_free(layout->pairs);
    uqff_st_names_free(&layout->names);
    uqff_st_names_free(&layout->keys);
    uqff_buffer_free(&layout->tensors);
    uqff_arena_free(&layout->arena);
    uqff_free(layout);
}

/* ---- metadata -------------------------------------------------------------------------------- */

static enum uqff_code check_text(const char *what, const char *key, const char *text,
                                 struct uqff_error *err) {
    size_t bad;
    if (!uqff_utf8_valid(text, strlen(text), &bad)) {
        return uqff_fail(err, UQFF_E_ENCODING, UQFF_NO_OFFSET,
                         "metadata '%.200s': the %s is not UTF-8 from its byte %zu on", key, what,
                         bad);
    }
    return UQFF_OK;
}

/* The number of a key, which becomes a new one with an empty text unless it is there. */
static enum uqff_code pair_of(struct uqff_st_layout *layout, const char *key, size_t *number,
                              struct uqff_error *err) {
    size_t n = strlen(key);
    if (uqff_st_names_find(&layout->keys, key, n, number)) {
        return UQFF_OK;
    }
    void *pairs = layout->pairs;
    enum uqff_code code = uqff_grow(&pairs, &layout->pair_capacity, layout->keys.count + 1,
                                    sizeof *layout->pairs, err);
    layout->pairs = pairs;
    if (code != UQFF_OK) {
        return code;
    }
    layout->pairs[layout->keys.count] = (struct uqff_buffer){0};
    char *copy = uqff_arena_copy(&layout->arena, key, n);
    bool added;
    return copy == NULL ? uqff_fail_memory(err)
                        : uqff_st_names_add(&layout->keys, copy, n, number, &added, err);
}

enum uqff_code uqff_st_layout_metadata(struct uqff_st_layout *layout, const char *key,
                                       const char *value, struct uqff_error *err) {
    struct uqff_buffer text = {0};
    size_t number;
    enum uqff_code code;
    if ((code = check_text("key", key, key, err)) != UQFF_OK ||
        (code = check_text("value", key, value, err)) != UQFF_OK) {
        return code;
    }
    /* Rendered before it is registered, so that a failure leaves no key without a value. */
    uqff_buffer_json_string(&text, key, strlen(key));
    uqff_buffer_append(&text, ":", 1);
    uqff_buffer_json_string(&text, value, strlen(value));
    code = text.failed ? uqff_fail_memory(err) : pair_of(layout, key, &number, err);
    if (code != UQFF_OK) {
        uqff_buffer_free(&text);
        return code;
    }
    uqff_buffer_free(&layout->pairs[number]);
    layout->pairs[number] = text;
    return UQFF_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static enum uqff_code check_name(const char *name, size_t n, struct uqff_error *err) {
    const char *fault = NULL;
    if (n == 0) {
        fault = "it is empty";
    } else if (n > UQFF_SAFETENSORS_MAX_NAME) {
        fault = "it has more than 1024 bytes";
    } else if (!uqff_utf8_valid(name, n, NULL)) {
        fault = "it is not UTF-8";
    } else if (strcmp(name, metadata_name) == 0) {
        fault = "the format keeps this name for itself";
    }
    return fault == NULL ? UQFF_OK
                         : uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                                     "tensor '%.200s' cannot be written: %s", name, fault);
}

static enum uqff_code place(const struct uqff_st_layout *layout, const char *name,
                            enum uqff_dtype dtype, const uint64_t *shape, unsigned rank,
                            uint64_t *end, struct uqff_error *err) {
    if (rank > UQFF_SAFETENSORS_MAX_RANK) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "tensor '%.200s': %u dimensions, the limit is %u", name, rank,
                         UQFF_SAFETENSORS_MAX_RANK);
    }
    uint64_t bytes;
    enum uqff_code code = uqff_dtype_bytes(dtype, shape, rank, &bytes, err);
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "tensor '%.200s'", name);
        return code;
    }
    /* Empty tensors too: a reader that makes a typed pointer of their offset is then content. */
    if (layout->data_bytes % uqff_dtype_alignment(dtype) != 0) {
        return uqff_fail(err, UQFF_E_LAYOUT, UQFF_NO_OFFSET,
                         "tensor '%.200s': it would begin at %" PRIu64 ", no multiple of the %u "
                         "bytes of %s",
                         name, layout->data_bytes, uqff_dtype_alignment(dtype),
                         uqff_dtype_name(dtype));
    }
    if (!uqff_add_u64(layout->data_bytes, bytes, end)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "tensor '%.200s': the end of its data overflows", name);
    }
    return UQFF_OK;
}

static enum uqff_code register_name(struct uqff_st_layout *layout, const char *name, size_t n,
                                    struct uqff_error *err) {
    size_t number;
    bool added;
    if (uqff_st_names_find(&layout->names, name, n, &number)) {
        return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET, "tensor '%.200s' is there already",
                         name);
    }
    char *copy = uqff_arena_copy(&layout->arena, name, n);
    return copy == NULL ? uqff_fail_memory(err)
                        : uqff_st_names_add(&layout->names, copy, n, &number, &added, err);
}

static void render_tensor(struct uqff_buffer *out, const char *name, enum uqff_dtype dtype,
                          const uint64_t *shape, unsigned rank, uint64_t begin, uint64_t end) {
    if (out->size > 0) {
        uqff_buffer_append(out, ",", 1);
    }
    uqff_buffer_json_string(out, name, strlen(name));
    uqff_buffer_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", uqff_dtype_name(dtype));
    for (unsigned i = 0; i < rank; i++) {
        uqff_buffer_printf(out, "%s%" PRIu64, i == 0 ? "" : ",", shape[i]);
    }
    uqff_buffer_printf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
}

enum uqff_code uqff_st_layout_add(struct uqff_st_layout *layout, const char *name,
                                  enum uqff_dtype dtype, const uint64_t *shape, unsigned rank,
                                  uint64_t *offset, struct uqff_error *err) {
    size_t n = strlen(name);
    uint64_t begin = layout->data_bytes, end = 0;
    enum uqff_code code;
    if ((code = check_name(name, n, err)) != UQFF_OK ||
        (code = place(layout, name, dtype, shape, rank, &end, err)) != UQFF_OK ||
        (code = register_name(layout, name, n, err)) != UQFF_OK) {
        return code;
    }
    render_tensor(&layout->tensors, name, dtype, shape, rank, begin, end);
    if (layout->tensors.failed) {
        return uqff_fail_memory(err);
    }
    layout->data_bytes = end;
    if (offset != NULL) {
        *offset = begin;
    }
    return UQFF_OK;
}

uint64_t uqff_st_layout_data_bytes(const struct uqff_st_layout *layout) {
    return layout->data_bytes;
}

size_t uqff_st_layout_count(const struct uqff_st_layout *layout) {
    return layout->names.count;
}

/* ---- the header ------------------------------------------------------------------------------ */

static bool alignment_is_valid(unsigned alignment) {
    return alignment >= 8 && (alignment & (alignment - 1)) == 0;
}

/* Bytes of the JSON without padding:
 * {"__metadata__":{"k":"v","k":"v"},"name":{...},"name":{...}}
 * These are sums of sizes of blocks in memory, a few bytes added, so they cannot overflow. */
static uint64_t json_bytes(const struct uqff_st_layout *layout) {
    uint64_t bytes = 2 + layout->tensors.size;
    for (size_t i = 0; i < layout->keys.count; i++) {
        bytes += layout->pairs[i].size + 1; /* and a comma, or the closing brace */
    }
    if (layout->keys.count > 0) {
        bytes += sizeof "\"__metadata__\":{" - 1;
        bytes += layout->tensors.size > 0; /* a comma between */
    }
    return bytes;
}

uint64_t uqff_st_layout_header_bytes(const struct uqff_st_layout *layout, unsigned alignment) {
    uint64_t bytes;
    if (!alignment_is_valid(alignment) ||
        !uqff_align_u64(8 + json_bytes(layout), alignment, &bytes)) {
        return 0;
    }
    return bytes;
}

static void render_metadata(const struct uqff_st_layout *layout, struct uqff_buffer *out) {
    uqff_buffer_printf(out, "\"%s\":", metadata_name);
    for (size_t i = 0; i < layout->keys.count; i++) {
        uqff_buffer_append(out, i == 0 ? "{" : ",", 1);
        uqff_buffer_append(out, layout->pairs[i].data, layout->pairs[i].size);
    }
    uqff_buffer_append(out, "}", 1);
}

static void render_padding(struct uqff_buffer *out, uint64_t n) {
    static const char spaces[] = "                                                                ";
    while (n > 0) {
        size_t step = n < sizeof spaces - 1 ? (size_t)n : sizeof spaces - 1;
        uqff_buffer_append(out, spaces, step);
        n -= step;
    }
}

enum uqff_code uqff_st_layout_header(const struct uqff_st_layout *layout, unsigned alignment,
                                     struct uqff_buffer *out, struct uqff_error *err) {
    if (!alignment_is_valid(alignment)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "an alignment of %u, expected a power of two from 8 on", alignment);
    }
    if (layout->tensors.failed) {
        return uqff_fail_memory(err);
    }
    uint64_t bytes = uqff_st_layout_header_bytes(layout, alignment);
    if (bytes - 8 > UQFF_SAFETENSORS_MAX_HEADER) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "a header of %" PRIu64 " bytes, the format's limit is %u", bytes - 8,
                         UQFF_SAFETENSORS_MAX_HEADER);
    }
    unsigned char length[8];
    uqff_store_le64(length, bytes - 8);
    uqff_buffer_append(out, length, sizeof length);
    uqff_buffer_append(out, "{", 1);
    if (layout->keys.count > 0) {
        render_metadata(layout, out);
    }
    if (layout->keys.count > 0 && layout->tensors.size > 0) {
        uqff_buffer_append(out, ",", 1);
    }
    uqff_buffer_append(out, layout->tensors.data, layout->tensors.size);
    uqff_buffer_append(out, "}", 1);
    render_padding(out, bytes - 8 - json_bytes(layout));
    return out->failed ? uqff_fail_memory(err) : UQFF_OK;
}
