/* Everything before the data of a file that is written, measured and rendered. */
#include <string.h>

#include "writer.h"

/* What a file is in its set. llama.cpp asks for exactly these kinds. */
static const struct {
    const char *name;
    enum uqff_gguf_kind kind;
} split_keys[] = {
    {"split.no", UQFF_GGUF_U16},
    {"split.count", UQFF_GGUF_U16},
    {"split.tensors.count", UQFF_GGUF_I32},
};
#define SPLIT_KEYS (sizeof split_keys / sizeof split_keys[0])

bool uqff_gguf_is_split_key(const char *key) {
    for (size_t i = 0; i < SPLIT_KEYS; i++) {
        if (strcmp(key, split_keys[i].name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- which pairs a file has ------------------------------------------------------------------ */

/* The first file has every key. Others have what is needed to read them by themselves. */
static bool has_key(const struct uqff_gguf_layout *layout, size_t file,
                    const struct layout_key *key) {
    if (key->unset) {
        return false;
    }
    return file == 0 || (strcmp(key->name, GGUF_ALIGNMENT_KEY) == 0 &&
                         layout->alignment != GGUF_DEFAULT_ALIGNMENT);
}

static bool is_set_of_files(const struct uqff_gguf_layout *layout) {
    return layout->file_count > 1;
}

static uint64_t count_pairs(const struct uqff_gguf_layout *layout, size_t file) {
    uint64_t count = is_set_of_files(layout) ? SPLIT_KEYS : 0;
    for (size_t i = 0; i < layout->key_count; i++) {
        count += has_key(layout, file, &layout->keys[i]);
    }
    return count;
}

/* ---- measuring ------------------------------------------------------------------------------- */

bool uqff_gguf_measure_header(const struct uqff_gguf_layout *layout, size_t file, uint64_t *bytes) {
    const struct layout_file *part = &layout->files[file];
    uint64_t sum = GGUF_FIXED_HEADER;
    bool fits = true;
    for (size_t i = 0; i < layout->key_count; i++) {
        const struct layout_key *key = &layout->keys[i];
        if (has_key(layout, file, key)) {
            fits = fits && uqff_add_u64(sum, 8 + strlen(key->name) + key->value.size, &sum);
        }
    }
    for (size_t i = 0; i < SPLIT_KEYS && is_set_of_files(layout); i++) {
        uint64_t pair =
            8 + strlen(split_keys[i].name) + 4 + uqff_gguf_kind_bytes(split_keys[i].kind);
        fits = fits && uqff_add_u64(sum, pair, &sum);
    }
    for (size_t i = part->first; i < part->first + part->count; i++) {
        const struct layout_tensor *tensor = &layout->tensors[i];
        uint64_t info = 8 + strlen(tensor->name) + 4 + 8 * (uint64_t)tensor->n_dims + 4 + 8;
        fits = fits && uqff_add_u64(sum, info, &sum);
    }
    *bytes = sum;
    return fits;
}

/* ---- rendering ------------------------------------------------------------------------------- */

static void put_number(struct uqff_buffer *out, uint64_t v, unsigned size) {
    unsigned char bytes[8];
    uqff_store_le64(bytes, v);
    uqff_buffer_append(out, bytes, size);
}

static void put_string(struct uqff_buffer *out, const char *text) {
    size_t n = strlen(text);
    put_number(out, n, 8);
    uqff_buffer_append(out, text, n);
}

static void put_pairs(const struct uqff_gguf_layout *layout, size_t file, struct uqff_buffer *out) {
    for (size_t i = 0; i < layout->key_count; i++) {
        const struct layout_key *key = &layout->keys[i];
        if (has_key(layout, file, key)) {
            put_string(out, key->name);
            uqff_buffer_append(out, key->value.data, key->value.size);
        }
    }
    const uint64_t values[SPLIT_KEYS] = {file, layout->file_count, layout->tensor_count};
    for (size_t i = 0; i < SPLIT_KEYS && is_set_of_files(layout); i++) {
        put_string(out, split_keys[i].name);
        put_number(out, split_keys[i].kind, 4);
        put_number(out, values[i], uqff_gguf_kind_bytes(split_keys[i].kind));
    }
}

/* name string | n_dims u32 | ne u64 each | type u32 | offset u64 */
static void put_info(const struct layout_tensor *tensor, struct uqff_buffer *out) {
    put_string(out, tensor->name);
    put_number(out, tensor->n_dims, 4);
    for (unsigned i = 0; i < tensor->n_dims; i++) {
        put_number(out, tensor->ne[i], 8);
    }
    put_number(out, tensor->type, 4);
    put_number(out, tensor->offset, 8);
}

static void put_zeros(struct uqff_buffer *out, uint64_t n) {
    static const unsigned char zeros[4096];
    while (n > 0) {
        size_t step = n < sizeof zeros ? (size_t)n : sizeof zeros;
        uqff_buffer_append(out, zeros, step);
        n -= step;
    }
}

/* "GGUF" | version u32 | tensors u64 | pairs u64 | pairs | infos | padding */
enum uqff_code uqff_gguf_layout_header(const struct uqff_gguf_layout *layout, size_t file,
                                       struct uqff_buffer *out, struct uqff_error *err) {
    if (file >= layout->file_count) {
        return layout->file_count == 0
                   ? uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                               "a layout's header was asked for before it was finished")
                   : uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                               "file %zu of a layout of %zu was asked for", file,
                               layout->file_count);
    }
    const struct layout_file *part = &layout->files[file];
    size_t start = out->size;
    uqff_buffer_append(out, "GGUF\x03\0\0", 8);
    put_number(out, part->count, 8);
    put_number(out, count_pairs(layout, file), 8);
    put_pairs(layout, file, out);
    for (size_t i = part->first; i < part->first + part->count; i++) {
        put_info(&layout->tensors[i], out);
    }
    if (out->failed) {
        return uqff_fail_memory(err);
    }
    put_zeros(out, part->data_offset - (out->size - start));
    return out->failed ? uqff_fail_memory(err) : UQFF_OK;
}

/* The last byte comes with the header: what padding there is between tensors comes into being as
 * zeros when something is written behind it. */
enum uqff_code uqff_gguf_layout_write_header(const struct uqff_gguf_layout *layout, size_t file,
                                             struct uqff_sink *sink, struct uqff_error *err) {
    struct uqff_buffer header = {0};
    enum uqff_code code = uqff_gguf_layout_header(layout, file, &header, err);
    if (code == UQFF_OK) {
        code = uqff_sink_write(sink, 0, header.data, header.size, err);
    }
    if (code == UQFF_OK && uqff_gguf_layout_file_bytes(layout, file) > header.size) {
        code = uqff_sink_write(sink, uqff_gguf_layout_file_bytes(layout, file) - 1, "", 1, err);
    }
    uqff_buffer_free(&header);
    return code;
}
