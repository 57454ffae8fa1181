/* The keys of a file to be written: each is kept as the bytes that it will have. */
#include <float.h>
#include <inttypes.h>
#include <string.h>

#include "writer.h"

/* ---- little-endian output -------------------------------------------------------------------- */

static void put_u32(struct uqff_buffer *out, uint32_t v) {
    unsigned char bytes[4];
    uqff_store_le32(bytes, v);
    uqff_buffer_append(out, bytes, sizeof bytes);
}

static void put_u64(struct uqff_buffer *out, uint64_t v) {
    unsigned char bytes[8];
    uqff_store_le64(bytes, v);
    uqff_buffer_append(out, bytes, sizeof bytes);
}

/* The low `size` bytes of a number; those of a negative one are two's complement's. */
static void put_number(struct uqff_buffer *out, uint64_t v, unsigned size) {
    unsigned char bytes[8];
    uqff_store_le64(bytes, v);
    uqff_buffer_append(out, bytes, size);
}

static void put_string(struct uqff_buffer *out, const char *bytes, size_t n) {
    put_u64(out, n);
    uqff_buffer_append(out, bytes, n);
}

#define NO_KEY SIZE_MAX /* the number of a name that no key has any more */

/* ---- the table of keys ----------------------------------------------------------------------- */

static enum uqff_code check_key(const char *key, struct uqff_error *err) {
    size_t n = strlen(key);
    if (n == 0 || n > GGUF_MAX_KEY) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "key '%.96s': the name has %zu bytes, expected 1 to %u", key, n,
                         GGUF_MAX_KEY);
    }
    size_t bad;
    if (!uqff_utf8_valid(key, n, &bad)) {
        return uqff_fail(err, UQFF_E_ENCODING, UQFF_NO_OFFSET,
                         "key '%.96s': byte %zu of the name is not UTF-8", key, bad);
    }
    return UQFF_OK;
}

/* The alignment is the layout's: whatever is declared is how the data will lie. */
static enum uqff_code take_alignment(struct uqff_gguf_layout *layout,
                                     const struct uqff_buffer *value, struct uqff_error *err) {
    uint32_t kind = uqff_load_le32(value->data);
    if (kind != UQFF_GGUF_U32) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "key '" GGUF_ALIGNMENT_KEY "': found kind %s, expected u32",
                         uqff_gguf_kind_name((enum uqff_gguf_kind)kind));
    }
    uint64_t alignment = uqff_load_le32(value->data + 4);
    if (alignment < GGUF_SMALLEST_ALIGNMENT || (alignment & (alignment - 1)) != 0) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "key '" GGUF_ALIGNMENT_KEY "': found %" PRIu64
                         ", expected a power of two that is at least %u",
                         alignment, GGUF_SMALLEST_ALIGNMENT);
    }
    if (layout->finished && alignment != layout->alignment) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                         "key '" GGUF_ALIGNMENT_KEY "': set to %" PRIu64
                         " after the data was laid out for %" PRIu64,
                         alignment, layout->alignment);
    }
    layout->alignment = alignment;
    return UQFF_OK;
}

static struct layout_key *find_key(const struct uqff_gguf_layout *layout, const char *key) {
    size_t i;
    if (!uqff_gguf_index_find(&layout->key_index, key, &i) || i == NO_KEY ||
        layout->keys[i].unset) {
        return NULL;
    }
    return &layout->keys[i];
}

/* A place at the end for a key that is not there, or no more. */
static enum uqff_code append_key(struct uqff_gguf_layout *layout, const char *key,
                                 struct layout_key **out, struct uqff_error *err) {
    void *keys = layout->keys;
    enum uqff_code code = uqff_grow(&keys, &layout->key_capacity, layout->key_count + 1,
                                    sizeof(struct layout_key), err);
    layout->keys = (struct layout_key *)keys;
    if (code != UQFF_OK) {
        return code;
    }
    char *name = uqff_arena_copy(&layout->arena, key, strlen(key));
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    bool known = false;
    size_t earlier = 0;
    code = uqff_gguf_index_add(&layout->key_index, name, layout->key_count, &known, &earlier, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (known) {
        uqff_gguf_index_renumber(&layout->key_index, name, layout->key_count);
    }
    *out = &layout->keys[layout->key_count++];
    **out = (struct layout_key){.name = name};
    return UQFF_OK;
}

/* Puts a value, which is the layout's from here on, or freed, under its key. Nothing changes on
 * failure. */
static enum uqff_code commit(struct uqff_gguf_layout *layout, const char *key,
                             struct uqff_buffer *value, struct uqff_error *err) {
    struct layout_key *entry = NULL;
    enum uqff_code code = UQFF_OK;
    if (value->failed) {
        code = uqff_fail_memory(err);
        goto out;
    }
    code = check_key(key, err);
    if (code != UQFF_OK) {
        goto out;
    }
    entry = find_key(layout, key);
    if (layout->finished && (entry == NULL || entry->value.size != value->size)) {
        code = uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET,
                         "key '%.96s': changed in length after the file was laid out", key);
        goto out;
    }
    if (entry == NULL) {
        code = append_key(layout, key, &entry, err);
        if (code != UQFF_OK) {
            goto out;
        }
        entry->unset = true; /* until it has a value that may stay */
    }
    if (strcmp(key, GGUF_ALIGNMENT_KEY) == 0) {
        code = take_alignment(layout, value, err);
        if (code != UQFF_OK) {
            goto out;
        }
    }
    uqff_buffer_free(&entry->value);
    entry->value = *value;
    entry->unset = false;
    return UQFF_OK;
out:
    uqff_buffer_free(value);
    return code;
}

void uqff_gguf_unset(struct uqff_gguf_layout *layout, const char *key) {
    struct layout_key *entry = find_key(layout, key);
    if (entry == NULL || layout->finished) {
        return;
    }
    uqff_buffer_free(&entry->value);
    entry->unset = true;
    if (strcmp(key, GGUF_ALIGNMENT_KEY) == 0) {
        layout->alignment = GGUF_DEFAULT_ALIGNMENT;
    }
}

const struct layout_key *uqff_gguf_layout_find(const struct uqff_gguf_layout *layout,
                                               const char *key) {
    return find_key(layout, key);
}

enum uqff_code uqff_gguf_rename_key(struct uqff_gguf_layout *layout, const char *key,
                                    const char *name, struct uqff_error *err) {
    struct layout_key *entry = find_key(layout, key);
    enum uqff_code code = check_key(name, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (entry == NULL) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET, "key '%.96s' is not set", key);
    }
    if (strcmp(key, name) == 0) {
        return UQFF_OK;
    }
    if (find_key(layout, name) != NULL) {
        return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                         "key '%.96s' cannot be called '%.96s': there is one of that name", key,
                         name);
    }
    if (layout->finished || strcmp(key, GGUF_ALIGNMENT_KEY) == 0 ||
        strcmp(name, GGUF_ALIGNMENT_KEY) == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "key '%.96s' cannot be called '%.96s': the layout depends on it", key,
                         name);
    }
    char *copy = uqff_arena_copy(&layout->arena, name, strlen(name));
    if (copy == NULL) {
        return uqff_fail_memory(err);
    }
    size_t number = (size_t)(entry - layout->keys);
    bool known = false;
    size_t earlier = 0;
    code = uqff_gguf_index_add(&layout->key_index, copy, number, &known, &earlier, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (known) {
        uqff_gguf_index_renumber(&layout->key_index, copy, number);
    }
    uqff_gguf_index_renumber(&layout->key_index, key, NO_KEY);
    entry->name = copy;
    return UQFF_OK;
}

bool uqff_gguf_is_set(const struct uqff_gguf_layout *layout, const char *key) {
    return find_key(layout, key) != NULL;
}

bool uqff_gguf_set_kind(const struct uqff_gguf_layout *layout, const char *key,
                        enum uqff_gguf_kind *kind) {
    const struct layout_key *entry = find_key(layout, key);
    if (entry == NULL) {
        return false;
    }
    /* The kind stands before the value. */
    *kind = (enum uqff_gguf_kind)uqff_load_le32(entry->value.data);
    return true;
}

/* ---- scalars --------------------------------------------------------------------------------- */

static enum uqff_code wrong_kind(const char *key, enum uqff_gguf_kind kind, const char *what,
                                 struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "key '%.96s': kind %s does not hold %s",
                     key, uqff_gguf_kind_name(kind), what);
}

enum uqff_code uqff_gguf_set_u64(struct uqff_gguf_layout *layout, const char *key,
                                 enum uqff_gguf_kind kind, uint64_t value, struct uqff_error *err) {
    if (kind != UQFF_GGUF_U8 && kind != UQFF_GGUF_U16 && kind != UQFF_GGUF_U32 &&
        kind != UQFF_GGUF_U64) {
        return wrong_kind(key, kind, "an unsigned integer", err);
    }
    unsigned size = uqff_gguf_kind_bytes(kind);
    if (size < 8 && value >> 8 * size != 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "key '%.96s': %" PRIu64 " does not fit into kind %s", key, value,
                         uqff_gguf_kind_name(kind));
    }
    struct uqff_buffer bytes = {0};
    put_u32(&bytes, (uint32_t)kind);
    put_number(&bytes, value, size);
    return commit(layout, key, &bytes, err);
}

enum uqff_code uqff_gguf_set_i64(struct uqff_gguf_layout *layout, const char *key,
                                 enum uqff_gguf_kind kind, int64_t value, struct uqff_error *err) {
    if (kind != UQFF_GGUF_I8 && kind != UQFF_GGUF_I16 && kind != UQFF_GGUF_I32 &&
        kind != UQFF_GGUF_I64) {
        return wrong_kind(key, kind, "a signed integer", err);
    }
    unsigned size = uqff_gguf_kind_bytes(kind);
    int64_t largest = (int64_t)(UINT64_MAX >> (64 - 8 * size + 1));
    if (value > largest || value < -largest - 1) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "key '%.96s': %" PRId64 " does not fit into kind %s", key, value,
                         uqff_gguf_kind_name(kind));
    }
    struct uqff_buffer bytes = {0};
    put_u32(&bytes, (uint32_t)kind);
    put_number(&bytes, (uint64_t)value, size);
    return commit(layout, key, &bytes, err);
}

enum uqff_code uqff_gguf_set_double(struct uqff_gguf_layout *layout, const char *key,
                                    enum uqff_gguf_kind kind, double value,
                                    struct uqff_error *err) {
    struct uqff_buffer bytes = {0};
    if (kind == UQFF_GGUF_F64) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        put_u32(&bytes, (uint32_t)kind);
        put_u64(&bytes, bits);
        return commit(layout, key, &bytes, err);
    }
    if (kind != UQFF_GGUF_F32) {
        return wrong_kind(key, kind, "a float", err);
    }
    /* A finite number beyond the range would become infinite; what is a NaN or infinite stays. */
    double magnitude = value < 0 ? -value : value;
    if (magnitude > (double)FLT_MAX && magnitude <= DBL_MAX) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "key '%.96s': %g does not fit into kind f32", key, value);
    }
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    put_u32(&bytes, (uint32_t)kind);
    put_u32(&bytes, bits);
    return commit(layout, key, &bytes, err);
}

enum uqff_code uqff_gguf_set_bool(struct uqff_gguf_layout *layout, const char *key, bool value,
                                  struct uqff_error *err) {
    struct uqff_buffer bytes = {0};
    put_u32(&bytes, UQFF_GGUF_BOOL);
    put_number(&bytes, value, 1);
    return commit(layout, key, &bytes, err);
}

/* ---- strings and arrays ---------------------------------------------------------------------- */

static enum uqff_code check_length(const char *key, size_t length, struct uqff_error *err) {
    if (length > GGUF_MAX_STRING) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "key '%.96s': a string has %zu bytes, expected at most %" PRIu64, key,
                         length, GGUF_MAX_STRING);
    }
    return UQFF_OK;
}

enum uqff_code uqff_gguf_set_string(struct uqff_gguf_layout *layout, const char *key,
                                    const char *bytes, size_t length, struct uqff_error *err) {
    enum uqff_code code = check_length(key, length, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_buffer value = {0};
    put_u32(&value, UQFF_GGUF_STRING);
    put_string(&value, bytes, length);
    return commit(layout, key, &value, err);
}

/* element kind u32 | count u64 | elements */
static void put_array_head(struct uqff_buffer *out, enum uqff_gguf_kind kind, uint64_t count) {
    put_u32(out, (uint32_t)kind);
    put_u64(out, count);
}

enum uqff_code uqff_gguf_set_array(struct uqff_gguf_layout *layout, const char *key,
                                   enum uqff_gguf_kind kind, const void *elements, uint64_t count,
                                   struct uqff_error *err) {
    unsigned size = (unsigned)kind < UQFF_GGUF_KIND_COUNT ? uqff_gguf_kind_bytes(kind) : 0;
    if (size == 0) {
        return wrong_kind(key, kind, "elements of a fixed size", err);
    }
    uint64_t total;
    size_t n;
    if (!uqff_mul_u64(count, size, &total) || !uqff_to_size(total, &n) || total > GGUF_MAX_HEADER) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "key '%.96s': %" PRIu64 " elements of kind %s are too many", key, count,
                         uqff_gguf_kind_name(kind));
    }
    const unsigned char *bytes = (const unsigned char *)elements;
    for (size_t i = 0; kind == UQFF_GGUF_BOOL && i < n; i++) {
        if (bytes[i] > 1) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "key '%.96s': bool %zu is %u, expected 0 or 1", key, i, bytes[i]);
        }
    }
    struct uqff_buffer value = {0};
    put_u32(&value, UQFF_GGUF_ARRAY);
    put_array_head(&value, kind, count);
    uqff_buffer_append(&value, bytes, n);
    return commit(layout, key, &value, err);
}

enum uqff_code uqff_gguf_set_strings(struct uqff_gguf_layout *layout, const char *key,
                                     const struct uqff_gguf_string *strings, uint64_t count,
                                     struct uqff_error *err) {
    struct uqff_buffer value = {0};
    put_u32(&value, UQFF_GGUF_ARRAY);
    put_array_head(&value, UQFF_GGUF_STRING, count);
    for (uint64_t i = 0; i < count; i++) {
        enum uqff_code code = check_length(key, strings[i].length, err);
        if (code != UQFF_OK) {
            uqff_buffer_free(&value);
            return code;
        }
        put_string(&value, strings[i].bytes, strings[i].length);
    }
    return commit(layout, key, &value, err);
}

/* ---- padding --------------------------------------------------------------------------------- */

bool uqff_gguf_has_padding(const struct uqff_gguf_layout *layout) {
    const struct layout_key *entry = find_key(layout, GGUF_PADDING_KEY);
    return entry != NULL && uqff_load_le32(entry->value.data) == UQFF_GGUF_ARRAY &&
           uqff_load_le32(entry->value.data + 4) == UQFF_GGUF_U8;
}

enum uqff_code uqff_gguf_set_padding(struct uqff_gguf_layout *layout, size_t n,
                                     struct uqff_error *err) {
    unsigned char *zeros = (unsigned char *)uqff_alloc_array(n, 1);
    if (zeros == NULL) {
        return uqff_fail_memory(err);
    }
    bool finished = layout->finished;
    layout->finished = false; /* who calls this lays out the file again */
    enum uqff_code code =
        uqff_gguf_set_array(layout, GGUF_PADDING_KEY, UQFF_GGUF_U8, zeros, n, err);
    layout->finished = finished;
    uqff_free(zeros);
    return code;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* The elements of a validated array of a fixed-size kind, or one such value, in our byte order. */
static void copy_scalars(struct uqff_buffer *out, const struct uqff_gguf *file,
                         enum uqff_gguf_kind kind, uint64_t count, uint64_t position) {
    const unsigned char *bytes = file->bytes + position;
    unsigned size = uqff_gguf_kind_bytes(kind);
    if (!file->big_endian || size == 1) {
        uqff_buffer_append(out, bytes, (size_t)(count * size));
        return;
    }
    for (uint64_t i = 0; i < count; i++, bytes += size) {
        unsigned char swapped[8];
        for (unsigned k = 0; k < size; k++) {
            swapped[k] = bytes[size - 1 - k];
        }
        uqff_buffer_append(out, swapped, size);
    }
}

/* Recursion is as deep as arrays may be nested, which the reader has checked. */
static void copy_array(struct uqff_buffer *out, const struct uqff_gguf *file,
                       const struct uqff_gguf_value *array) {
    enum uqff_gguf_kind kind = array->as.array.kind;
    put_array_head(out, kind, array->as.array.count);
    if (uqff_gguf_kind_bytes(kind) != 0) {
        copy_scalars(out, file, kind, array->as.array.count, array->as.array.position);
        return;
    }
    struct uqff_gguf_iterator iterator = uqff_gguf_iterate(file, array);
    struct uqff_gguf_value element;
    while (!out->failed && uqff_gguf_next(&iterator, &element)) {
        if (kind == UQFF_GGUF_STRING) {
            put_string(out, element.as.string.bytes, element.as.string.length);
        } else {
            copy_array(out, file, &element);
        }
    }
}

void uqff_gguf_encode_value(struct uqff_buffer *out, const struct uqff_gguf *file, size_t key) {
    const struct gguf_entry *entry = &file->entries[key];
    put_u32(out, (uint32_t)entry->kind);
    if (entry->kind == UQFF_GGUF_STRING) {
        put_string(out, entry->value.as.string.bytes, entry->value.as.string.length);
    } else if (entry->kind == UQFF_GGUF_ARRAY) {
        copy_array(out, file, &entry->value);
    } else {
        copy_scalars(out, file, entry->kind, 1, entry->position);
    }
}

enum uqff_code uqff_gguf_set_copy_as(struct uqff_gguf_layout *layout, const struct uqff_gguf *file,
                                     size_t key, const char *name, struct uqff_error *err) {
    struct uqff_buffer value = {0};
    uqff_gguf_encode_value(&value, file, key);
    return commit(layout, name, &value, err);
}

enum uqff_code uqff_gguf_set_copy(struct uqff_gguf_layout *layout, const struct uqff_gguf *file,
                                  size_t key, struct uqff_error *err) {
    return uqff_gguf_set_copy_as(layout, file, key, file->entries[key].key, err);
}
