/* Values of the key-value section after it was validated: decoding, look-up, iteration. */
#include <inttypes.h>
#include <string.h>

#include "internal.h"

/* Bytes that the elements of a validated array take. Recursion is at most as deep as arrays may be
 * nested. */
static uint64_t array_bytes(const struct uqff_gguf *file, enum uqff_gguf_kind kind, uint64_t count,
                            uint64_t position) {
    unsigned size = uqff_gguf_kind_bytes(kind);
    if (size != 0) {
        return count * size;
    }
    unsigned count_bytes = gguf_count_bytes(file);
    uint64_t at = position;
    for (uint64_t i = 0; i < count; i++) {
        const unsigned char *p = file->bytes + at;
        if (kind == UQFF_GGUF_STRING) {
            at += count_bytes + gguf_load_count(file, p);
        } else {
            enum uqff_gguf_kind inner = (enum uqff_gguf_kind)gguf_load32(file, p);
            at += 4 + count_bytes;
            at += array_bytes(file, inner, gguf_load_count(file, p + 4), at);
        }
    }
    return at - position;
}

static double load_f32(const struct uqff_gguf *file, const unsigned char *p) {
    uint32_t bits = gguf_load32(file, p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static double load_f64(const struct uqff_gguf *file, const unsigned char *p) {
    uint64_t bits = gguf_load64(file, p);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void decode_scalar(const struct uqff_gguf *file, enum uqff_gguf_kind kind,
                          const unsigned char *p, struct uqff_gguf_value *out) {
    switch (kind) {
    case UQFF_GGUF_I8:
        out->as.i = (int8_t)p[0];
        break;
    case UQFF_GGUF_U16:
        out->as.u = gguf_load16(file, p);
        break;
    case UQFF_GGUF_I16:
        out->as.i = (int16_t)gguf_load16(file, p);
        break;
    case UQFF_GGUF_U32:
        out->as.u = gguf_load32(file, p);
        break;
    case UQFF_GGUF_I32:
        out->as.i = (int32_t)gguf_load32(file, p);
        break;
    case UQFF_GGUF_F32:
        out->as.f = load_f32(file, p);
        break;
    case UQFF_GGUF_U64:
        out->as.u = gguf_load64(file, p);
        break;
    case UQFF_GGUF_I64:
        out->as.i = (int64_t)gguf_load64(file, p);
        break;
    case UQFF_GGUF_F64:
        out->as.f = load_f64(file, p);
        break;
    default: /* u8 and bool */
        out->as.u = p[0];
        break;
    }
}

/*
 * As they lie in the file, C being 4 bytes in version 1 and 8 since:
 *
 *   scalar   value
 *   string   length[C]  bytes[length]
 *   array    element kind[4]  count[C]  elements, each as above without their kind
 */
uint64_t uqff_gguf_decode(const struct uqff_gguf *file, enum uqff_gguf_kind kind, uint64_t position,
                          struct uqff_gguf_value *out) {
    const unsigned char *p = file->bytes + position;
    unsigned count_bytes = gguf_count_bytes(file);
    *out = (struct uqff_gguf_value){.kind = kind};
    if (kind == UQFF_GGUF_STRING) {
        out->as.string.length = (size_t)gguf_load_count(file, p);
        out->as.string.bytes = (const char *)p + count_bytes;
        return position + count_bytes + out->as.string.length;
    }
    if (kind == UQFF_GGUF_ARRAY) {
        out->as.array.kind = (enum uqff_gguf_kind)gguf_load32(file, p);
        out->as.array.count = gguf_load_count(file, p + 4);
        out->as.array.position = position + 4 + count_bytes;
        out->as.array.bytes =
            array_bytes(file, out->as.array.kind, out->as.array.count, out->as.array.position);
        return out->as.array.position + out->as.array.bytes;
    }
    decode_scalar(file, kind, p, out);
    return position + uqff_gguf_kind_bytes(kind);
}

size_t uqff_gguf_kv_count(const struct uqff_gguf *file) {
    return file->entry_count;
}

const char *uqff_gguf_key(const struct uqff_gguf *file, size_t i) {
    return file->entries[i].key;
}

const struct uqff_gguf_value *uqff_gguf_value(const struct uqff_gguf *file, size_t i) {
    return &file->entries[i].value;
}

static const struct gguf_entry *find_entry(const struct uqff_gguf *file, const char *key) {
    size_t i;
    return uqff_gguf_index_find(&file->keys, key, &i) ? &file->entries[i] : NULL;
}

const struct uqff_gguf_value *uqff_gguf_find_value(const struct uqff_gguf *file, const char *key) {
    const struct gguf_entry *entry = find_entry(file, key);
    return entry == NULL ? NULL : &entry->value;
}

struct uqff_gguf_iterator uqff_gguf_iterate(const struct uqff_gguf *file,
                                            const struct uqff_gguf_value *array) {
    struct uqff_gguf_iterator iterator = {.file = file};
    if (array->kind == UQFF_GGUF_ARRAY) {
        iterator.kind = array->as.array.kind;
        iterator.position = array->as.array.position;
        iterator.left = array->as.array.count;
    }
    return iterator;
}

bool uqff_gguf_next(struct uqff_gguf_iterator *iterator, struct uqff_gguf_value *out) {
    if (iterator->left == 0) {
        return false;
    }
    iterator->left--;
    iterator->position = uqff_gguf_decode(iterator->file, iterator->kind, iterator->position, out);
    return true;
}

/* ---- typed look-ups -------------------------------------------------------------------------- */

enum number_class { CLASS_UNSIGNED, CLASS_SIGNED, CLASS_FLOAT, CLASS_OTHER };

static enum number_class class_of(enum uqff_gguf_kind kind) {
    switch (kind) {
    case UQFF_GGUF_U8:
    case UQFF_GGUF_U16:
    case UQFF_GGUF_U32:
    case UQFF_GGUF_U64:
        return CLASS_UNSIGNED;
    case UQFF_GGUF_I8:
    case UQFF_GGUF_I16:
    case UQFF_GGUF_I32:
    case UQFF_GGUF_I64:
        return CLASS_SIGNED;
    case UQFF_GGUF_F32:
    case UQFF_GGUF_F64:
        return CLASS_FLOAT;
    default:
        return CLASS_OTHER;
    }
}

static enum uqff_code wrong_kind(const struct uqff_gguf *file, const struct gguf_entry *entry,
                                 const char *expected, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_FIELD, entry->position, "%s: key '%s': found kind %s, expected %s",
                     uqff_source_name(file->source), entry->key,
                     uqff_gguf_kind_name(entry->value.kind), expected);
}

enum uqff_code uqff_gguf_get_u64(const struct uqff_gguf *file, const char *key, uint64_t max,
                                 bool *found, uint64_t *out, struct uqff_error *err) {
    const struct gguf_entry *entry = find_entry(file, key);
    *found = entry != NULL;
    if (entry == NULL) {
        return UQFF_OK;
    }
    const struct uqff_gguf_value *value = &entry->value;
    enum number_class class = class_of(value->kind);
    if (class != CLASS_UNSIGNED && class != CLASS_SIGNED) {
        return wrong_kind(file, entry, "an integer", err);
    }
    if (class == CLASS_SIGNED && value->as.i < 0) {
        return uqff_fail(err, UQFF_E_FIELD, entry->position,
                         "%s: key '%s': found %" PRId64 ", expected 0 to %" PRIu64,
                         uqff_source_name(file->source), key, value->as.i, max);
    }
    uint64_t number = class == CLASS_SIGNED ? (uint64_t)value->as.i : value->as.u;
    if (number > max) {
        return uqff_fail(err, UQFF_E_FIELD, entry->position,
                         "%s: key '%s': found %" PRIu64 ", expected 0 to %" PRIu64,
                         uqff_source_name(file->source), key, number, max);
    }
    *out = number;
    return UQFF_OK;
}

/* True when a double holds the integer exactly: its magnitude has at most 53 significant bits. */
static bool fits_double(uint64_t magnitude) {
    while (magnitude != 0 && magnitude % 2 == 0) {
        magnitude /= 2;
    }
    return magnitude <= (uint64_t)1 << 53;
}

enum uqff_code uqff_gguf_get_double(const struct uqff_gguf *file, const char *key, bool *found,
                                    double *out, struct uqff_error *err) {
    const struct gguf_entry *entry = find_entry(file, key);
    *found = entry != NULL;
    if (entry == NULL) {
        return UQFF_OK;
    }
    const struct uqff_gguf_value *value = &entry->value;
    enum number_class class = class_of(value->kind);
    if (class == CLASS_OTHER) {
        return wrong_kind(file, entry, "a number", err);
    }
    if (class == CLASS_FLOAT) {
        *out = value->as.f;
        return UQFF_OK;
    }
    bool negative = class == CLASS_SIGNED && value->as.i < 0;
    uint64_t magnitude = class == CLASS_UNSIGNED ? value->as.u : (uint64_t)value->as.i;
    magnitude = negative ? 0 - magnitude : magnitude;
    if (!fits_double(magnitude)) {
        return uqff_fail(err, UQFF_E_FIELD, entry->position,
                         "%s: key '%s': found %s%" PRIu64
                         ", expected a number that a double holds exactly",
                         uqff_source_name(file->source), key, negative ? "-" : "", magnitude);
    }
    *out = negative ? -(double)magnitude : (double)magnitude;
    return UQFF_OK;
}

enum uqff_code uqff_gguf_get_bool(const struct uqff_gguf *file, const char *key, bool *found,
                                  bool *out, struct uqff_error *err) {
    const struct gguf_entry *entry = find_entry(file, key);
    *found = entry != NULL;
    if (entry == NULL) {
        return UQFF_OK;
    }
    if (entry->value.kind != UQFF_GGUF_BOOL) {
        return wrong_kind(file, entry, "a bool", err);
    }
    *out = entry->value.as.u != 0;
    return UQFF_OK;
}

enum uqff_code uqff_gguf_get_string(const struct uqff_gguf *file, const char *key, bool *found,
                                    struct uqff_gguf_string *out, struct uqff_error *err) {
    const struct gguf_entry *entry = find_entry(file, key);
    *found = entry != NULL;
    if (entry == NULL) {
        return UQFF_OK;
    }
    if (entry->value.kind != UQFF_GGUF_STRING) {
        return wrong_kind(file, entry, "a string", err);
    }
    *out = entry->value.as.string;
    return UQFF_OK;
}
