/* The key-value section: validation, linear in its bytes, and what is told about odd entries. */
#include <inttypes.h>
#include <string.h>

#include "internal.h"

/* Bytes of one element, and the name that people see. A kind that is not in here has no known size,
 * so nothing behind its value could be found. */
static const struct {
    const char *name;
    unsigned bytes;
} kinds[UQFF_GGUF_KIND_COUNT] = {
    [UQFF_GGUF_U8] = {"u8", 1},         [UQFF_GGUF_I8] = {"i8", 1},
    [UQFF_GGUF_U16] = {"u16", 2},       [UQFF_GGUF_I16] = {"i16", 2},
    [UQFF_GGUF_U32] = {"u32", 4},       [UQFF_GGUF_I32] = {"i32", 4},
    [UQFF_GGUF_F32] = {"f32", 4},       [UQFF_GGUF_BOOL] = {"bool", 1},
    [UQFF_GGUF_STRING] = {"string", 0}, [UQFF_GGUF_ARRAY] = {"array", 0},
    [UQFF_GGUF_U64] = {"u64", 8},       [UQFF_GGUF_I64] = {"i64", 8},
    [UQFF_GGUF_F64] = {"f64", 8},
};

const char *uqff_gguf_kind_name(enum uqff_gguf_kind kind) {
    return (unsigned)kind < UQFF_GGUF_KIND_COUNT ? kinds[kind].name : "unknown kind";
}

unsigned uqff_gguf_kind_bytes(enum uqff_gguf_kind kind) {
    return kinds[kind].bytes;
}

/* The smallest number of bytes that an element can take: a string is at least its length, an array
 * at least its element kind and count. */
static unsigned smallest_element(const struct uqff_gguf *file, enum uqff_gguf_kind kind) {
    if (kind == UQFF_GGUF_STRING) {
        return gguf_count_bytes(file);
    }
    if (kind == UQFF_GGUF_ARRAY) {
        return 4 + gguf_count_bytes(file);
    }
    return kinds[kind].bytes;
}

static enum uqff_code read_kind(struct gguf_cursor *cursor, const char *what,
                                enum uqff_gguf_kind *out, struct uqff_error *err) {
    uint64_t at = cursor->position;
    uint32_t kind = 0;
    enum uqff_code code = uqff_gguf_read_u32(cursor, what, &kind, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (kind >= UQFF_GGUF_KIND_COUNT) {
        return uqff_gguf_fail(cursor, err, UQFF_E_FIELD, at,
                              "%s is %" PRIu32 ", expected 0 to %d: the size of an unknown kind "
                              "is not known, nor is what follows it",
                              what, kind, UQFF_GGUF_KIND_COUNT - 1);
    }
    *out = (enum uqff_gguf_kind)kind;
    return UQFF_OK;
}

/* Steps over n bools, each of which must be 0 or 1. They are loaded. */
static enum uqff_code check_bools(struct gguf_cursor *cursor, uint64_t n, struct uqff_error *err) {
    const unsigned char *bytes = cursor->file->bytes + cursor->position;
    for (uint64_t i = 0; i < n; i++) {
        if (bytes[i] > 1) {
            return uqff_gguf_fail(cursor, err, UQFF_E_FIELD, cursor->position + i,
                                  "a bool is %u, expected 0 or 1", bytes[i]);
        }
    }
    return UQFF_OK;
}

/* Steps over n scalars; n times their size was compared with the bytes that are left. */
static enum uqff_code skip_scalars(struct gguf_cursor *cursor, enum uqff_gguf_kind kind, uint64_t n,
                                   struct uqff_error *err) {
    uint64_t bytes = n * kinds[kind].bytes;
    enum uqff_code code = gguf_need(cursor, bytes, "a value", err);
    if (code == UQFF_OK && kind == UQFF_GGUF_BOOL) {
        code = check_bools(cursor, n, err);
    }
    if (code == UQFF_OK) {
        cursor->position += bytes;
    }
    return code;
}

static enum uqff_code skip_strings(struct gguf_cursor *cursor, uint64_t n, struct uqff_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        uint64_t length = 0;
        enum uqff_code code = uqff_gguf_read_length(cursor, "a string", &length, err);
        if (code != UQFF_OK) {
            return code;
        }
        cursor->position += length;
    }
    return UQFF_OK;
}

struct level {
    enum uqff_gguf_kind kind;
    uint64_t left; /* elements still to be walked */
};

static enum uqff_code enter_array(struct gguf_cursor *cursor, struct level *level,
                                  struct uqff_error *err) {
    enum uqff_code code = read_kind(cursor, "the kind of an array's elements", &level->kind, err);
    if (code != UQFF_OK) {
        return code;
    }
    uint64_t at = cursor->position;
    code = uqff_gguf_read_count(cursor, "the length of an array", &level->left, err);
    if (code != UQFF_OK) {
        return code;
    }
    uint64_t room = gguf_left(cursor) / smallest_element(cursor->file, level->kind);
    if (level->left > room) {
        return uqff_gguf_fail(cursor, err, UQFF_E_TRUNCATED, at,
                              "an array declares %" PRIu64 " elements of kind %s at offset %" PRIu64
                              ", but the file has room for %" PRIu64,
                              level->left, uqff_gguf_kind_name(level->kind), at, room);
    }
    return UQFF_OK;
}

/* Steps over an array, from its element kind on. Levels lie in an array of fixed size, so that
 * nesting cannot use up the C stack. */
static enum uqff_code skip_array(struct gguf_cursor *cursor, bool *nested, struct uqff_error *err) {
    struct level levels[UQFF_GGUF_MAX_ARRAY_DEPTH];
    unsigned depth = 1;
    enum uqff_code code = enter_array(cursor, &levels[0], err);
    while (code == UQFF_OK && depth > 0) {
        struct level *level = &levels[depth - 1];
        if (level->left == 0) {
            depth--;
        } else if (level->kind == UQFF_GGUF_STRING) {
            code = skip_strings(cursor, level->left, err);
            level->left = 0;
        } else if (level->kind != UQFF_GGUF_ARRAY) {
            code = skip_scalars(cursor, level->kind, level->left, err);
            level->left = 0;
        } else if (depth == UQFF_GGUF_MAX_ARRAY_DEPTH) {
            return uqff_gguf_fail(cursor, err, UQFF_E_LIMIT, cursor->position,
                                  "arrays are nested more than %u deep", UQFF_GGUF_MAX_ARRAY_DEPTH);
        } else {
            *nested = true;
            level->left--;
            code = enter_array(cursor, &levels[depth++], err);
        }
    }
    return code;
}

static enum uqff_code skip_value(struct gguf_cursor *cursor, enum uqff_gguf_kind kind, bool *nested,
                                 struct uqff_error *err) {
    switch (kind) {
    case UQFF_GGUF_STRING:
        return skip_strings(cursor, 1, err);
    case UQFF_GGUF_ARRAY:
        return skip_array(cursor, nested, err);
    default:
        return skip_scalars(cursor, kind, 1, err);
    }
}

/* Keys are lower-case words with underscores, joined by dots; architecture names, which begin many
 * of them, also have hyphens. */
static bool is_usual_key(const char *key) {
    return strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == strlen(key);
}

static enum uqff_code parse_entry(struct gguf_cursor *cursor, struct gguf_entry *entry,
                                  struct uqff_error *err) {
    struct uqff_gguf *file = cursor->file;
    enum uqff_code code = uqff_gguf_read_name(cursor, "key", GGUF_MAX_KEY, &entry->key, err);
    if (code != UQFF_OK) {
        return code;
    }
    entry->key_position = cursor->position - strlen(entry->key);
    bool known = false;
    size_t first = 0;
    code = uqff_gguf_index_add(&file->keys, entry->key, file->entry_count, &known, &first, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (known) {
        return uqff_gguf_fail(cursor, err, UQFF_E_DUPLICATE, entry->key_position,
                              "found twice, at offsets %" PRIu64 " and %" PRIu64 ", expected once",
                              file->entries[first].key_position, entry->key_position);
    }
    code = read_kind(cursor, "the kind of the value", &entry->kind, err);
    if (code != UQFF_OK) {
        return code;
    }
    entry->position = cursor->position;
    bool nested = false;
    code = skip_value(cursor, entry->kind, &nested, err);
    if (code == UQFF_OK && nested) {
        uqff_warn(file->warner, "%s: key '%s': an array of arrays, which llama.cpp does not load",
                  uqff_source_name(file->source), entry->key);
    }
    return code;
}

static void warn_odd_keys(const struct uqff_gguf *file) {
    const char *first = NULL;
    size_t odd = 0;
    for (size_t i = 0; i < file->entry_count; i++) {
        if (!is_usual_key(file->entries[i].key)) {
            first = odd == 0 ? file->entries[i].key : first;
            odd++;
        }
    }
    if (odd == 1) {
        uqff_warn(file->warner, "%s: key '%s' is not of lower-case letters, digits, '_' and '.'",
                  uqff_source_name(file->source), first);
    } else if (odd > 1) {
        uqff_warn(file->warner,
                  "%s: key '%s' and %zu more are not of lower-case letters, digits, '_' and '.'",
                  uqff_source_name(file->source), first, odd - 1);
    }
}

enum uqff_code uqff_gguf_parse_entries(struct gguf_cursor *cursor, struct uqff_error *err) {
    struct uqff_gguf *file = cursor->file;
    file->kv_offset = cursor->position;
    for (uint64_t i = 0; i < file->entries_declared; i++) {
        void *entries = file->entries;
        enum uqff_code code = uqff_grow(&entries, &file->entry_capacity, file->entry_count + 1,
                                        sizeof(struct gguf_entry), err);
        file->entries = (struct gguf_entry *)entries;
        if (code != UQFF_OK) {
            return code;
        }
        struct gguf_entry entry = {0};
        code = parse_entry(cursor, &entry, err);
        if (code != UQFF_OK) {
            return code;
        }
        file->entries[file->entry_count++] = entry;
        cursor->entry = NULL;
    }
    file->kv_end = cursor->position;
    warn_odd_keys(file);
    return UQFF_OK;
}
