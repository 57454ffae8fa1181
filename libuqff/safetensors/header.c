/*
 * The header's JSON:
 *
 *   {"__metadata__":{"key":"text",...},
 *    "name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...}
 *
 * The pull parser refuses what is not JSON, and keys that occur twice, at every level.
 */
#include "safetensors/header.h"

#include <stdio.h>
#include <string.h>

enum {
    NAME_WARN_BYTES = 255, /* longer names work, but other tools may cut them */
    NAME_SHOWN = 200       /* bytes of a name in a message */
};

/* Tolerated things of one kind: a file may hold 100,000 of them, and gets one warning. */
struct tally {
    size_t count;
    const char *first_tensor; /* in the arena */
    char first[64];
};

struct parse {
    struct uqff_safetensors *file;
    struct uqff_json *json;
    const char *where;
    const char *entry; /* the tensor whose entry is being read; in the arena */
    uint64_t position; /* of its name in the file */
    struct tally unknown_fields, long_names;
};

/* As much of a text as a message shows; its precision for printf, which also stops at a NUL. */
static int shown_bytes(const struct uqff_json_event *event) {
    return event->length < NAME_SHOWN ? (int)event->length : NAME_SHOWN;
}

static void tally(struct tally *t, const char *tensor, const char *text, size_t n) {
    if (t->count++ == 0) {
        t->first_tensor = tensor;
        snprintf(t->first, sizeof t->first, "%.*s", (int)(n < 63 ? n : 63), text);
    }
}

/* "<where>: tensor 'x': <field>: found <kind>, expected ..." */
static enum uqff_code unexpected(const struct parse *p, const struct uqff_json_event *event,
                                 const char *field, const char *expected, struct uqff_error *err) {
    char what[NAME_SHOWN + 64];
    snprintf(what, sizeof what, "tensor '%.*s': %s", NAME_SHOWN, p->entry, field);
    return uqff_json_unexpected(p->json, event, what, expected, err);
}

static enum uqff_code next_of_kind(struct parse *p, enum uqff_json_kind kind, const char *field,
                                   const char *expected, struct uqff_json_event *event,
                                   struct uqff_error *err) {
    enum uqff_code code = uqff_json_next(p->json, event, err);
    if (code == UQFF_OK && event->kind != kind) {
        return unexpected(p, event, field, expected, err);
    }
    return code;
}

/* Only 0 or [1-9][0-9]*, at most 2^64 - 1: other spellings are read differently by other readers.
 */
static enum uqff_code integer(const struct parse *p, const struct uqff_json_event *event,
                              const char *field, uint64_t *out, struct uqff_error *err) {
    if (event->kind != UQFF_JSON_NUMBER) {
        return unexpected(p, event, field, "an unsigned integer", err);
    }
    if (!event->is_u64) {
        return uqff_fail(err, UQFF_E_FIELD, 8 + event->offset,
                         "%s: tensor '%.*s': %s: found %.*s, expected an integer from 0 to 2^64-1 "
                         "in plain digits",
                         p->where, NAME_SHOWN, p->entry, field, shown_bytes(event), event->text);
    }
    *out = event->integer;
    return UQFF_OK;
}

/* ---- the three fields ------------------------------------------------------------------------ */

static enum uqff_code unknown_dtype(const struct parse *p, const struct uqff_json_event *event,
                                    struct uqff_error *err) {
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; i < UQFF_DTYPE_COUNT && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i == 0 ? "" : " ",
                                 uqff_dtype_name((enum uqff_dtype)i));
    }
    bool nul = memchr(event->text, '\0', event->length) != NULL;
    return uqff_fail(err, UQFF_E_TYPE, 8 + event->offset,
                     "%s: tensor '%.*s': dtype: found '%.*s'%s, expected one of %s", p->where,
                     NAME_SHOWN, p->entry, shown_bytes(event), event->text,
                     nul ? " before a NUL" : "", known);
}

static enum uqff_code read_dtype(struct parse *p, struct uqff_st_tensor *tensor,
                                 struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = next_of_kind(p, UQFF_JSON_STRING, "dtype", "a string", &event, err);
    if (code == UQFF_OK && !uqff_dtype_from_name(event.text, event.length, &tensor->dtype)) {
        return unknown_dtype(p, &event, err);
    }
    return code;
}

static enum uqff_code read_shape(struct parse *p, struct uqff_st_tensor *tensor,
                                 struct uqff_error *err) {
    static const uint64_t no_dimensions[1];
    uint64_t shape[UQFF_SAFETENSORS_MAX_RANK];
    struct uqff_json_event event;
    enum uqff_code code = next_of_kind(p, UQFF_JSON_ARRAY, "shape", "an array", &event, err);
    if (code != UQFF_OK) {
        return code;
    }
    for (tensor->rank = 0;; tensor->rank++) {
        if ((code = uqff_json_next(p->json, &event, err)) != UQFF_OK) {
            return code;
        }
        if (event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        if (tensor->rank == UQFF_SAFETENSORS_MAX_RANK) {
            return uqff_fail(err, UQFF_E_LIMIT, 8 + event.offset,
                             "%s: tensor '%.*s': shape: more than %u dimensions", p->where,
                             NAME_SHOWN, p->entry, UQFF_SAFETENSORS_MAX_RANK);
        }
        if ((code = integer(p, &event, "shape", &shape[tensor->rank], err)) != UQFF_OK) {
            return code;
        }
    }
    if (tensor->rank == 0) {
        tensor->shape = no_dimensions;
        return UQFF_OK;
    }
    uint64_t *copy = uqff_arena_array(&p->file->arena, tensor->rank, sizeof *copy);
    if (copy == NULL) {
        return uqff_fail_memory(err);
    }
    memcpy(copy, shape, tensor->rank * sizeof *copy);
    tensor->shape = copy;
    return UQFF_OK;
}

static enum uqff_code read_offsets(struct parse *p, uint64_t offsets[2], struct uqff_error *err) {
    static const char *const field = "data_offsets", *const expected = "an array of two integers";
    struct uqff_json_event event;
    enum uqff_code code = next_of_kind(p, UQFF_JSON_ARRAY, field, expected, &event, err);
    for (int i = 0; i < 2 && code == UQFF_OK; i++) {
        code = next_of_kind(p, UQFF_JSON_NUMBER, field, expected, &event, err);
        if (code == UQFF_OK) {
            code = integer(p, &event, field, &offsets[i], err);
        }
    }
    return code != UQFF_OK ? code
                           : next_of_kind(p, UQFF_JSON_ARRAY_END, field, expected, &event, err);
}

/* ---- entries --------------------------------------------------------------------------------- */

enum field { FIELD_DTYPE, FIELD_SHAPE, FIELD_OFFSETS, FIELD_COUNT };
static const char *const fields[FIELD_COUNT] = {"dtype", "shape", "data_offsets"};

static enum field field_of(const struct uqff_json_event *key) {
    unsigned f = 0;
    while (f < FIELD_COUNT &&
           (strlen(fields[f]) != key->length || memcmp(fields[f], key->text, key->length) != 0)) {
        f++;
    }
    return (enum field)f;
}

static enum uqff_code skip_field(struct parse *p, const struct uqff_json_event *key,
                                 struct uqff_error *err) {
    tally(&p->unknown_fields, p->entry, key->text, key->length);
    return uqff_json_skip_next(p->json, err);
}

/* Fills the three fields; each is there exactly once, as the parser refuses a second. */
static enum uqff_code read_fields(struct parse *p, struct uqff_st_tensor *tensor,
                                  uint64_t offsets[2], struct uqff_error *err) {
    bool seen[FIELD_COUNT + 1] = {false};
    struct uqff_json_event key;
    bool done = false;
    enum uqff_code code;
    while ((code = uqff_json_member(p->json, &key, &done, err)) == UQFF_OK && !done) {
        enum field field = field_of(&key);
        seen[field] = true;
        switch (field) {
        case FIELD_DTYPE:
            code = read_dtype(p, tensor, err);
            break;
        case FIELD_SHAPE:
            code = read_shape(p, tensor, err);
            break;
        case FIELD_OFFSETS:
            code = read_offsets(p, offsets, err);
            break;
        default:
            code = skip_field(p, &key, err);
            break;
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
    for (unsigned f = 0; f < FIELD_COUNT && code == UQFF_OK; f++) {
        if (!seen[f]) {
            return uqff_fail(err, UQFF_E_FIELD, p->position, "%s: tensor '%.*s': %s is missing",
                             p->where, NAME_SHOWN, p->entry, fields[f]);
        }
    }
    return code;
}

/* Shape and offsets must agree on the size; begin + bytes then cannot overflow. */
static enum uqff_code check_size(const struct parse *p, struct uqff_st_tensor *tensor,
                                 const uint64_t offsets[2], struct uqff_error *err) {
    enum uqff_code code =
        uqff_dtype_bytes(tensor->dtype, tensor->shape, tensor->rank, &tensor->bytes, err);
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "%s: tensor '%.*s'", p->where, NAME_SHOWN, p->entry);
        if (err != NULL) {
            err->offset = p->position;
        }
        return code;
    }
    if (offsets[0] > offsets[1]) {
        return uqff_fail(err, UQFF_E_LAYOUT, p->position,
                         "%s: tensor '%.*s': data_offsets begin at %llu and end before, at %llu",
                         p->where, NAME_SHOWN, p->entry, (unsigned long long)offsets[0],
                         (unsigned long long)offsets[1]);
    }
    if (offsets[1] - offsets[0] != tensor->bytes) {
        return uqff_fail(err, UQFF_E_SHAPE, p->position,
                         "%s: tensor '%.*s': data_offsets span %llu bytes, the shape needs %llu as "
                         "%s",
                         p->where, NAME_SHOWN, p->entry,
                         (unsigned long long)(offsets[1] - offsets[0]),
                         (unsigned long long)tensor->bytes, uqff_dtype_name(tensor->dtype));
    }
    tensor->offset = offsets[0];
    return UQFF_OK;
}

static enum uqff_code check_name(struct parse *p, const struct uqff_json_event *key,
                                 struct uqff_error *err) {
    if (memchr(key->text, '\0', key->length) != NULL) {
        return uqff_fail(err, UQFF_E_NAME, 8 + key->offset,
                         "%s: tensor name '%.*s' goes on behind a NUL, where other readers end it",
                         p->where, shown_bytes(key), key->text);
    }
    if (key->length > UQFF_SAFETENSORS_MAX_NAME) {
        return uqff_fail(err, UQFF_E_LIMIT, 8 + key->offset,
                         "%s: tensor name '%.*s...' has %zu bytes, the limit is %u", p->where,
                         shown_bytes(key), key->text, key->length, UQFF_SAFETENSORS_MAX_NAME);
    }
    return UQFF_OK;
}

static enum uqff_code read_tensor(struct parse *p, const struct uqff_json_event *key,
                                  struct uqff_error *err) {
    struct uqff_safetensors *file = p->file;
    struct uqff_st_tensor tensor = {.name_length = key->length};
    enum uqff_code code = check_name(p, key, err);
    if (code != UQFF_OK) {
        return code;
    }
    if ((tensor.name = uqff_arena_copy(&file->arena, key->text, key->length)) == NULL) {
        return uqff_fail_memory(err);
    }
    p->entry = tensor.name;
    p->position = 8 + key->offset;
    if (tensor.name_length > NAME_WARN_BYTES) {
        tally(&p->long_names, tensor.name, "", 0);
    }

    uint64_t offsets[2] = {0, 0};
    struct uqff_json_event event;
    if ((code = next_of_kind(p, UQFF_JSON_OBJECT, "entry", "an object", &event, err)) != UQFF_OK ||
        (code = read_fields(p, &tensor, offsets, err)) != UQFF_OK ||
        (code = check_size(p, &tensor, offsets, err)) != UQFF_OK) {
        return code;
    }
    void *tensors = file->tensors;
    code = uqff_grow(&tensors, &file->capacity, file->count + 1, sizeof tensor, err);
    file->tensors = tensors;
    if (code == UQFF_OK) {
        file->tensors[file->count++] = tensor;
    }
    return code;
}

/* ---- __metadata__ ---------------------------------------------------------------------------- */

static enum uqff_code read_metadata_member(struct parse *p, const struct uqff_json_event *key,
                                           struct uqff_error *err) {
    struct uqff_safetensors *file = p->file;
    if (memchr(key->text, '\0', key->length) != NULL) {
        return uqff_fail(err, UQFF_E_NAME, 8 + key->offset,
                         "%s: __metadata__: key '%.*s' goes on behind a NUL", p->where,
                         shown_bytes(key), key->text);
    }
    size_t key_length = key->length;
    struct uqff_st_metadata entry = {.key = uqff_arena_copy(&file->arena, key->text, key_length)};
    if (entry.key == NULL) {
        return uqff_fail_memory(err);
    }

    struct uqff_json_event value;
    enum uqff_code code = uqff_json_next(p->json, &value, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (value.kind != UQFF_JSON_STRING) {
        char what[NAME_SHOWN + 32];
        snprintf(what, sizeof what, "__metadata__: '%.*s'", NAME_SHOWN, entry.key);
        return uqff_json_unexpected(p->json, &value, what, "a string", err);
    }
    entry.value = uqff_arena_copy(&file->arena, value.text, value.length);
    entry.value_length = value.length;
    if (entry.value == NULL) {
        return uqff_fail_memory(err);
    }

    void *items = file->metadata;
    code = uqff_grow(&items, &file->metadata_capacity, file->metadata_count + 1, sizeof entry, err);
    file->metadata = items;
    if (code != UQFF_OK) {
        return code;
    }
    size_t number;
    bool added;
    if ((code = uqff_st_names_add(&file->keys, entry.key, key_length, &number, &added, err)) ==
        UQFF_OK) {
        file->metadata[file->metadata_count++] = entry;
    }
    return code;
}

static enum uqff_code read_metadata(struct parse *p, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_OBJECT, "__metadata__", &event, err);
    bool done = false;
    while (code == UQFF_OK && (code = uqff_json_member(p->json, &event, &done, err)) == UQFF_OK &&
           !done) {
        code = read_metadata_member(p, &event, err);
    }
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void give_warnings(const struct parse *p, const struct uqff_warner *warner) {
    if (p->unknown_fields.count > 0) {
        uqff_warn(warner,
                  "%s: fields of tensors that are not known are ignored: %zu, the first is '%s' of "
                  "'%.*s'",
                  p->where, p->unknown_fields.count, p->unknown_fields.first, NAME_SHOWN,
                  p->unknown_fields.first_tensor);
    }
    if (p->long_names.count > 0) {
        uqff_warn(warner, "%s: tensor names of more than %d bytes: %zu, the first is '%.*s...'",
                  p->where, NAME_WARN_BYTES, p->long_names.count, NAME_SHOWN,
                  p->long_names.first_tensor);
    }
    for (size_t i = 0; i < p->file->count; i++) {
        if (p->file->tensors[i].name_length == 0) {
            uqff_warn(warner, "%s: a tensor's name is empty", p->where);
            break; /* names are unique */
        }
    }
}

enum uqff_code uqff_st_parse_header(struct uqff_safetensors *file, const char *text, size_t n,
                                    const struct uqff_warner *warner, struct uqff_error *err) {
    static const char metadata[] = "__metadata__";
    struct parse p = {.file = file, .where = uqff_source_name(file->source)};
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = uqff_json_open(text, n, p.where, 8, 0, &p.json, err);
    if (code != UQFF_OK ||
        (code = uqff_json_expect(p.json, UQFF_JSON_OBJECT, "header", &event, err)) != UQFF_OK) {
        goto out;
    }
    while ((code = uqff_json_member(p.json, &event, &done, err)) == UQFF_OK && !done) {
        bool is_metadata = event.length == sizeof metadata - 1 &&
                           memcmp(event.text, metadata, sizeof metadata - 1) == 0;
        code = is_metadata ? read_metadata(&p, err) : read_tensor(&p, &event, err);
        if (code != UQFF_OK) {
            goto out;
        }
    }
    if (code == UQFF_OK &&
        (code = uqff_json_expect(p.json, UQFF_JSON_END, "header", &event, err)) == UQFF_OK) {
        give_warnings(&p, warner);
    }
out:
    uqff_json_close(p.json);
    return code;
}
