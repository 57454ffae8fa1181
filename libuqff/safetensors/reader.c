/*
 * A file:
 *
 *   0     u64     n, little-endian: bytes of the header
 *   8     n       the header: a JSON object, padded with spaces
 *   8+n   D       data: the tensors, end to end, and nothing behind the last
 */
#include "safetensors/header.h"
#include "safetensors/sniff.h"

#include <stdlib.h>
#include <string.h>

/* ---- the header's bytes ---------------------------------------------------------------------- */

/* All that can be known of the header before it is read. `start` has the file's first bytes: 9 of
 * them unless the file is shorter. */
static enum uqff_code check_length(const char *name, uint64_t size, const unsigned char *start,
                                   uint64_t *length, struct uqff_error *err) {
    if (size < 8) {
        return uqff_fail(err, UQFF_E_TRUNCATED, 0,
                         "%s: %llu bytes, too few for the 8 of the header's length", name,
                         (unsigned long long)size);
    }
    *length = uqff_load_le64(start);
    if (*length > UQFF_SAFETENSORS_MAX_HEADER) {
        return uqff_fail(err, UQFF_E_LIMIT, 0, "%s: the header's length is %llu, the limit is %u",
                         name, (unsigned long long)*length, UQFF_SAFETENSORS_MAX_HEADER);
    }
    if (*length > size - 8) {
        return uqff_fail(err, UQFF_E_TRUNCATED, 0,
                         "%s: the header's length is %llu, but only %llu bytes follow", name,
                         (unsigned long long)*length, (unsigned long long)(size - 8));
    }
    if (*length < 2) {
        return uqff_fail(err, UQFF_E_SYNTAX, 0,
                         "%s: the header's length is %llu, the shortest header is {}", name,
                         (unsigned long long)*length);
    }
    if (start[8] != '{') {
        return uqff_fail(err, UQFF_E_SYNTAX, 8,
                         "%s: the header begins with byte 0x%02x, it must begin with '{'", name,
                         start[8]);
    }
    return UQFF_OK;
}

static enum uqff_code check_start(struct uqff_source *source, uint64_t *length,
                                  struct uqff_error *err) {
    const char *name = uqff_source_name(source);
    uint64_t size = uqff_source_size(source);
    unsigned char start[UQFF_ST_SNIFF_BYTES];
    size_t n = size < sizeof start ? (size_t)size : sizeof start;
    if (n == 0) {
        return uqff_fail(err, UQFF_E_TRUNCATED, 0, "%s: the file is empty", name);
    }
    enum uqff_code code = uqff_source_read(source, 0, start, n, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = check_length(name, size, start, length, err);
    const char *kind = code == UQFF_OK ? NULL : uqff_st_looks_like(start, n);
    if (kind != NULL) { /* worth more than the length that such a file happens to spell */
        return uqff_fail(err, UQFF_E_MAGIC, 0, "%s: no safetensors file: it looks like %s", name,
                         kind);
    }
    return code;
}

/* The header without its padding, which may hold what JSON calls white space. */
static size_t without_padding(const char *text, size_t n, bool *other_than_spaces) {
    *other_than_spaces = false;
    while (n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL && text[n - 1] != '\0') {
        n--;
        *other_than_spaces |= text[n] != ' ';
    }
    return n;
}

static enum uqff_code read_header(struct uqff_safetensors *file, const struct uqff_warner *warner,
                                  struct uqff_error *err) {
    size_t n = (size_t)file->header_bytes; /* at most UQFF_SAFETENSORS_MAX_HEADER */
    char *text = uqff_alloc(n);
    if (text == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_source_read(file->source, 8, text, n, err);
    if (code == UQFF_OK && (code = uqff_st_parse_header(file, text, n, warner, err)) == UQFF_OK) {
        bool other_than_spaces;
        size_t used = without_padding(text, n, &other_than_spaces);
        file->digest = uqff_hash(text, used);
        if (other_than_spaces) {
            uqff_warn(warner, "%s: the header is padded with white space other than spaces",
                      uqff_source_name(file->source));
        }
    }
    uqff_free(text);
    return code;
}

/* ---- the layout of the data ------------------------------------------------------------------ */

static int compare_tensors(const void *left, const void *right) {
    const struct uqff_st_tensor *a = left, *b = right;
    if (a->offset != b->offset) {
        return a->offset < b->offset ? -1 : 1;
    }
    /* An empty tensor lies before the one that begins at the same place. */
    if ((a->bytes == 0) != (b->bytes == 0)) {
        return a->bytes == 0 ? -1 : 1;
    }
    return uqff_st_name_compare(a->name, a->name_length, b->name, b->name_length);
}

/* Files are nearly always in order, so the sort is seldom needed. */
static void sort_tensors(struct uqff_safetensors *file) {
    for (size_t i = 1; i < file->count; i++) {
        if (compare_tensors(&file->tensors[i - 1], &file->tensors[i]) > 0) {
            qsort(file->tensors, file->count, sizeof *file->tensors, compare_tensors);
            return;
        }
    }
}

/* The tensors, in order, must fill the data from its first byte to its last. No sum overflows:
 * offset + bytes is the end that the header gave. */
static enum uqff_code check_tiles(struct uqff_safetensors *file, struct uqff_error *err) {
    const char *name = uqff_source_name(file->source);
    uint64_t start = 8 + file->header_bytes;
    uint64_t present = uqff_source_size(file->source) - start;
    uint64_t end = 0;
    for (size_t i = 0; i < file->count; i++) {
        const struct uqff_st_tensor *tensor = &file->tensors[i];
        if (tensor->offset != end) {
            bool overlap = tensor->offset < end;
            return uqff_fail(
                err, UQFF_E_LAYOUT, end <= present ? start + end : UQFF_NO_OFFSET,
                "%s: tensor '%.200s': data begins at %llu, expected %llu, where %s%.200s%s "
                "(%s)",
                name, tensor->name, (unsigned long long)tensor->offset, (unsigned long long)end,
                i == 0 ? "the data begins" : "'", i == 0 ? "" : file->tensors[i - 1].name,
                i == 0 ? "" : "' ends", overlap ? "they overlap" : "a hole");
        }
        end += tensor->bytes;
    }
    if (end > present) {
        return uqff_fail(err, UQFF_E_TRUNCATED, start + present,
                         "%s: the file is cut: %llu bytes of tensor data, expected %llu", name,
                         (unsigned long long)present, (unsigned long long)end);
    }
    if (end < present) {
        return uqff_fail(err, UQFF_E_LAYOUT, start + end,
                         "%s: bytes behind the last tensor: found %llu, expected none", name,
                         (unsigned long long)(present - end));
    }
    return UQFF_OK;
}

/* Once the tiles are checked: offsets within the file, and the look-up by name. */
static enum uqff_code place_tensors(struct uqff_safetensors *file, struct uqff_error *err) {
    for (size_t i = 0; i < file->count; i++) {
        struct uqff_st_tensor *tensor = &file->tensors[i];
        size_t number;
        bool added;
        tensor->offset += 8 + file->header_bytes;
        enum uqff_code code = uqff_st_names_add(&file->names, tensor->name, tensor->name_length,
                                                &number, &added, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* ---- open and close -------------------------------------------------------------------------- */

enum uqff_code uqff_safetensors_open(struct uqff_source *source, const struct uqff_warner *warner,
                                     struct uqff_safetensors **out, struct uqff_error *err) {
    struct uqff_safetensors *file = uqff_alloc_array(1, sizeof *file);
    if (file == NULL) {
        return uqff_fail_memory(err);
    }
    file->source = source;
    enum uqff_code code;
    if ((code = check_start(source, &file->header_bytes, err)) != UQFF_OK ||
        (code = read_header(file, warner, err)) != UQFF_OK) {
        goto out;
    }
    sort_tensors(file);
    if ((code = check_tiles(file, err)) != UQFF_OK ||
        (code = place_tensors(file, err)) != UQFF_OK) {
        goto out;
    }
    *out = file;
    file = NULL;
out:
    uqff_safetensors_close(file);
    return code;
}

void uqff_safetensors_close(struct uqff_safetensors *file) {
    if (file == NULL) {
        return;
    }
    uqff_st_names_free(&file->names);
    uqff_st_names_free(&file->keys);
    uqff_free(file->tensors);
    uqff_free(file->metadata);
    uqff_arena_free(&file->arena);
    uqff_free(file);
}

/* ---- views ----------------------------------------------------------------------------------- */

struct uqff_source *uqff_safetensors_source(const struct uqff_safetensors *file) {
    return file->source;
}

size_t uqff_safetensors_count(const struct uqff_safetensors *file) {
    return file->count;
}

const struct uqff_st_tensor *uqff_safetensors_tensor(const struct uqff_safetensors *file,
                                                     size_t i) {
    return &file->tensors[i];
}

const struct uqff_st_tensor *uqff_safetensors_find(const struct uqff_safetensors *file,
                                                   const char *name) {
    size_t i;
    return uqff_st_names_find(&file->names, name, strlen(name), &i) ? &file->tensors[i] : NULL;
}

size_t uqff_safetensors_metadata_count(const struct uqff_safetensors *file) {
    return file->metadata_count;
}

void uqff_safetensors_metadata(const struct uqff_safetensors *file, size_t i, const char **key,
                               const char **value, size_t *value_length) {
    const struct uqff_st_metadata *entry = &file->metadata[i];
    *key = entry->key;
    *value = entry->value;
    if (value_length != NULL) {
        *value_length = entry->value_length;
    }
}

const char *uqff_safetensors_metadata_find(const struct uqff_safetensors *file, const char *key,
                                           size_t *value_length) {
    size_t i;
    if (!uqff_st_names_find(&file->keys, key, strlen(key), &i)) {
        return NULL;
    }
    if (value_length != NULL) {
        *value_length = file->metadata[i].value_length;
    }
    return file->metadata[i].value;
}

uint64_t uqff_safetensors_header_bytes(const struct uqff_safetensors *file) {
    return file->header_bytes;
}

struct uqff_digest uqff_safetensors_header_digest(const struct uqff_safetensors *file) {
    return file->digest;
}
