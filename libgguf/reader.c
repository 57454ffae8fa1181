/* Opening one GGUF file: magic, version, counts; then the sections in turn. */
#include <inttypes.h>
#include <string.h>

#include "internal.h"

/* What a file that is not GGUF most often is. Longer beginnings come first where two agree. */
static const struct {
    const char *bytes;
    size_t length;
    const char *what;
} foreign[] = {
    {"version https://git-lfs", 23, "a Git LFS pointer; fetch the file that it stands for"},
    {"FUGG", 4,
     "the GGUF magic with its bytes reversed; the magic is the same in both byte orders"},
    {"gguf", 4, "the GGUF magic in lower case"},
    {"lmgg", 4, "a GGML model, a format from before GGUF; convert the original model anew"},
    {"ggml", 4, "a GGML model, a format from before GGUF; convert the original model anew"},
    {"fmgg", 4, "a GGMF model, a format from before GGUF; convert the original model anew"},
    {"ggmf", 4, "a GGMF model, a format from before GGUF; convert the original model anew"},
    {"tjgg", 4, "a GGJT model, a format from before GGUF; convert the original model anew"},
    {"ggjt", 4, "a GGJT model, a format from before GGUF; convert the original model anew"},
    {"algg", 4, "a GGLA adapter, a format from before GGUF; convert the original adapter anew"},
    {"GGML", 4, "a GGML model, a format from before GGUF; convert the original model anew"},
    {"GGMF", 4, "a GGMF model, a format from before GGUF; convert the original model anew"},
    {"GGJT", 4, "a GGJT model, a format from before GGUF; convert the original model anew"},
    {"PK\x03\x04", 4, "a zip archive, perhaps a PyTorch checkpoint"},
    {"\x80\x02", 2, "a Python pickle, perhaps a PyTorch checkpoint"},
    {"<!DO", 4, "an HTML page, perhaps an error page saved under this name"},
    {"<!do", 4, "an HTML page, perhaps an error page saved under this name"},
    {"<htm", 4, "an HTML page, perhaps an error page saved under this name"},
    {"<HTM", 4, "an HTML page, perhaps an error page saved under this name"},
    {"\x1f\x8b", 2, "gzip data"},
    {"\x28\xb5\x2f\xfd", 4, "zstd data"},
    {"\xfd\x37zXZ", 5, "xz data"},
    {"{", 1, "JSON text"},
    {"\0\0\0\0", 4, "zeros; perhaps whatever wrote the file was interrupted"},
};

static const char *name_foreign(const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        if (foreign[i].length <= n && memcmp(bytes, foreign[i].bytes, foreign[i].length) == 0) {
            return foreign[i].what;
        }
    }
    /* A safetensors file begins with the length of its JSON header, in 8 bytes. */
    if (n > 8 && bytes[8] == '{' && uqff_load_le64(bytes) < (uint64_t)1 << 32) {
        return "a safetensors file";
    }
    return NULL;
}

static enum uqff_code check_magic(struct gguf_cursor *cursor, struct uqff_error *err) {
    static const unsigned char magic[4] = {'G', 'G', 'U', 'F'};
    struct uqff_gguf *file = cursor->file;
    uint64_t n = file->size < 64 ? file->size : 64;
    enum uqff_code code = gguf_need(cursor, n, "the magic", err);
    if (code != UQFF_OK) {
        return code;
    }
    if (n < sizeof magic && (n == 0 || memcmp(file->bytes, magic, (size_t)n) == 0)) {
        return gguf_need(cursor, sizeof magic, "the magic", err);
    }
    if (n >= sizeof magic && memcmp(file->bytes, magic, sizeof magic) == 0) {
        cursor->position = sizeof magic;
        return UQFF_OK;
    }
    const char *what = name_foreign(file->bytes, (size_t)n);
    if (what != NULL) {
        return uqff_gguf_fail(cursor, err, UQFF_E_MAGIC, 0, "not a GGUF file: found %s", what);
    }
    char found[2 * sizeof magic + 1];
    size_t shown = n < sizeof magic ? (size_t)n : sizeof magic;
    uqff_hex(found, file->bytes, shown);
    return uqff_gguf_fail(cursor, err, UQFF_E_MAGIC, 0,
                          "not a GGUF file: it begins with the bytes %s, expected 47475546 "
                          "(\"GGUF\")",
                          found);
}

/* The version tells the byte order too: only one of the two readings of these four bytes is a small
 * number. */
static enum uqff_code read_version(struct gguf_cursor *cursor, struct uqff_error *err) {
    struct uqff_gguf *file = cursor->file;
    enum uqff_code code = gguf_need(cursor, 4, "the version", err);
    if (code != UQFF_OK) {
        return code;
    }
    uint32_t little = uqff_load_le32(file->bytes + cursor->position);
    uint32_t big = uqff_load_be32(file->bytes + cursor->position);
    file->big_endian = big < little;
    file->version = file->big_endian ? big : little;
    if (file->version < 1 || file->version > 3) {
        return uqff_gguf_fail(
            cursor, err, UQFF_E_VERSION, cursor->position,
            "found GGUF version %" PRIu32 "%s, expected 1 to 3%s", file->version,
            file->big_endian ? " (big-endian)" : "",
            file->version > 3 && file->version < 100 ? ": the file is newer than this tool" : "");
    }
    if (file->big_endian && file->version < 3) {
        return uqff_gguf_fail(cursor, err, UQFF_E_VERSION, cursor->position,
                              "found GGUF version %" PRIu32
                              " in big-endian order, expected version 3: earlier ones are "
                              "little-endian",
                              file->version);
    }
    cursor->position += 4;
    return UQFF_OK;
}

/* A count of entries, none of which can take less than `smallest` bytes of the `left` there are. */
static enum uqff_code check_count(const struct gguf_cursor *cursor, const char *what,
                                  uint64_t count, uint64_t smallest, uint64_t left,
                                  struct uqff_error *err) {
    if (count > left / smallest) {
        return uqff_gguf_fail(cursor, err, UQFF_E_TRUNCATED, cursor->position,
                              "the header declares %" PRIu64
                              " %s, but the file has room for %" PRIu64,
                              count, what, left / smallest);
    }
    return UQFF_OK;
}

/*
 * "GGUF"  version u32  tensors C  key-values C        C is 4 bytes in version 1, 8 since
 */
static enum uqff_code read_header(struct gguf_cursor *cursor, struct uqff_error *err) {
    struct uqff_gguf *file = cursor->file;
    enum uqff_code code = check_magic(cursor, err);
    if (code == UQFF_OK) {
        code = read_version(cursor, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_read_count(cursor, "the number of tensors", &file->tensors_declared, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_read_count(cursor, "the number of key-value pairs",
                                    &file->entries_declared, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    /* A pair is a name of one byte, a kind and one byte of value; an info is a name of one byte, no
     * dimensions, a type and an offset. */
    uint64_t smallest_pair = gguf_count_bytes(file) + 1u + 4u + 1u;
    uint64_t smallest_info = gguf_count_bytes(file) + 1u + 4u + 4u + 8u;
    uint64_t left = gguf_left(cursor);
    code = check_count(cursor, "key-value pairs", file->entries_declared, smallest_pair, left, err);
    if (code == UQFF_OK) {
        left -= file->entries_declared * smallest_pair;
        code = check_count(cursor, "tensors", file->tensors_declared, smallest_info, left, err);
    }
    return code;
}

static enum uqff_code set_alignment(struct uqff_gguf *file, struct uqff_error *err) {
    size_t i;
    file->alignment = GGUF_DEFAULT_ALIGNMENT;
    if (!uqff_gguf_index_find(&file->keys, GGUF_ALIGNMENT_KEY, &i)) {
        return UQFF_OK;
    }
    const struct gguf_entry *entry = &file->entries[i];
    if (entry->kind != UQFF_GGUF_U32) {
        return uqff_fail(err, UQFF_E_FIELD, entry->position,
                         "%s: key 'general.alignment': found kind %s, expected u32",
                         uqff_source_name(file->source), uqff_gguf_kind_name(entry->kind));
    }
    uint64_t alignment = entry->value.as.u;
    if (alignment < GGUF_SMALLEST_ALIGNMENT || (alignment & (alignment - 1)) != 0) {
        return uqff_fail(err, UQFF_E_FIELD, entry->position,
                         "%s: key 'general.alignment': found %" PRIu64
                         ", expected a power of two that is at least %u",
                         uqff_source_name(file->source), alignment, GGUF_SMALLEST_ALIGNMENT);
    }
    file->alignment = alignment;
    return UQFF_OK;
}

/* Keeps the bytes up to the end of the key-value section, which values point into, and no more. */
static void trim(struct uqff_gguf *file) {
    unsigned char *bytes =
        (unsigned char *)uqff_realloc_array(file->bytes, (size_t)file->kv_end, 1);
    if (bytes != NULL) { /* else the larger block stays, which is no harm */
        file->bytes = bytes;
        file->capacity = (size_t)file->kv_end;
    }
    file->loaded = (size_t)file->kv_end;
}

static enum uqff_code parse(struct uqff_gguf *file, struct uqff_error *err) {
    struct gguf_cursor cursor = {.file = file};
    enum uqff_code code = read_header(&cursor, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_parse_entries(&cursor, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_parse_infos(&cursor, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    trim(file);
    for (size_t i = 0; i < file->entry_count; i++) {
        struct gguf_entry *entry = &file->entries[i];
        uqff_gguf_decode(file, entry->kind, entry->position, &entry->value);
    }
    code = set_alignment(file, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_check_layout(file, err);
    }
    return code;
}

enum uqff_code uqff_gguf_open_one(struct uqff_source *source, bool owns_source,
                                  const struct uqff_warner *warner, struct uqff_gguf **out,
                                  struct uqff_error *err) {
    struct uqff_gguf *file = (struct uqff_gguf *)uqff_alloc_array(1, sizeof(struct uqff_gguf));
    if (file == NULL) {
        if (owns_source) {
            uqff_source_close(source);
        }
        return uqff_fail_memory(err);
    }
    file->source = source;
    file->owns_source = owns_source;
    file->warner = warner;
    file->size = uqff_source_size(source);
    enum uqff_code code = parse(file, err);
    file->warner = NULL;
    if (code != UQFF_OK) {
        uqff_gguf_close(file);
        return code;
    }
    *out = file;
    return UQFF_OK;
}

enum uqff_code uqff_gguf_open(struct uqff_source *source, const struct uqff_warner *warner,
                              struct uqff_gguf **out, struct uqff_error *err) {
    return uqff_gguf_open_one(source, false, warner, out, err);
}

void uqff_gguf_close(struct uqff_gguf *file) {
    if (file == NULL) {
        return;
    }
    /* Other files of a set have none of their own: no recursion beyond this one level. */
    for (size_t i = 0; i < file->other_count; i++) {
        uqff_gguf_close(file->others[i]);
    }
    uqff_free(file->others);
    uqff_gguf_index_free(&file->keys);
    uqff_gguf_index_free(&file->names);
    uqff_free(file->entries);
    uqff_free(file->tensors);
    uqff_free(file->bytes);
    uqff_arena_free(&file->arena);
    if (file->owns_source) {
        uqff_source_close(file->source);
    }
    uqff_free(file);
}

uint32_t uqff_gguf_file_version(const struct uqff_gguf *file) {
    return file->version;
}

bool uqff_gguf_is_big_endian(const struct uqff_gguf *file) {
    return file->big_endian;
}

uint64_t uqff_gguf_alignment(const struct uqff_gguf *file) {
    return file->alignment;
}

size_t uqff_gguf_file_count(const struct uqff_gguf *file) {
    return 1 + file->other_count;
}

struct uqff_source *uqff_gguf_source(const struct uqff_gguf *file, size_t i) {
    return i == 0 ? file->source : file->others[i - 1]->source;
}

void uqff_gguf_kv_range(const struct uqff_gguf *file, uint64_t *offset, uint64_t *bytes) {
    *offset = file->kv_offset;
    *bytes = file->kv_end - file->kv_offset;
}

uint64_t uqff_gguf_data_offset(const struct uqff_gguf *file, size_t i) {
    return i == 0 ? file->data_offset : file->others[i - 1]->data_offset;
}

size_t uqff_gguf_tensor_count(const struct uqff_gguf *file) {
    return file->tensor_count;
}

const struct uqff_gguf_tensor *uqff_gguf_tensor(const struct uqff_gguf *file, size_t i) {
    return &file->tensors[i];
}

const struct uqff_gguf_tensor *uqff_gguf_find_tensor(const struct uqff_gguf *file,
                                                     const char *name) {
    size_t i;
    return uqff_gguf_index_find(&file->names, name, &i) ? &file->tensors[i] : NULL;
}
