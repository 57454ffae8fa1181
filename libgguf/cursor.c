/* Reading the header in bounded steps: what is declared costs nothing until its bytes are seen. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define FIRST_STEP ((uint64_t)64 << 10)
#define LARGEST_STEP ((uint64_t)4 << 20)
#define SHOWN_NAME 96 /* bytes of a name that a message shows */

/* Length of the part of a name that a message shows, cut between characters: a key of 60 kB would
 * push out what the message has to say. */
static int shown_length(const char *name) {
    size_t n = strlen(name);
    if (n <= SHOWN_NAME) {
        return (int)n;
    }
    n = SHOWN_NAME;
    while (n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80) {
        n--;
    }
    return (int)n;
}

enum uqff_code uqff_gguf_fail(const struct gguf_cursor *cursor, struct uqff_error *err,
                              enum uqff_code code, uint64_t offset, const char *format, ...) {
    char text[UQFF_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *source = uqff_source_name(cursor->file->source);
    if (cursor->entry == NULL) {
        return uqff_fail(err, code, offset, "%s: %s", source, text);
    }
    int shown = shown_length(cursor->name);
    return uqff_fail(err, code, offset, "%s: %s '%.*s%s': %s", source, cursor->entry, shown,
                     cursor->name, cursor->name[shown] == '\0' ? "" : "...", text);
}

static enum uqff_code read_up_to(struct gguf_cursor *cursor, uint64_t end, struct uqff_error *err) {
    struct uqff_gguf *file = cursor->file;
    size_t needed;
    if (!uqff_to_size(end, &needed)) {
        return uqff_fail_memory(err);
    }
    void *bytes = file->bytes;
    enum uqff_code code = uqff_grow(&bytes, &file->capacity, needed, 1, err);
    file->bytes = (unsigned char *)bytes;
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_source_read(file->source, file->loaded, file->bytes + file->loaded,
                            needed - file->loaded, err);
    if (code == UQFF_OK) {
        file->loaded = needed;
    }
    return code;
}

enum uqff_code uqff_gguf_load(struct gguf_cursor *cursor, uint64_t n, const char *what,
                              struct uqff_error *err) {
    struct uqff_gguf *file = cursor->file;
    if (n > gguf_left(cursor)) {
        return uqff_gguf_fail(cursor, err, UQFF_E_TRUNCATED, cursor->position,
                              "the file ends within %s: found %" PRIu64 " bytes at offset %" PRIu64
                              ", expected %" PRIu64,
                              what, gguf_left(cursor), cursor->position, n);
    }
    uint64_t end = cursor->position + n; /* fits: it is not beyond the file's size */
    if (end <= file->loaded) {
        return UQFF_OK;
    }
    if (end > GGUF_MAX_HEADER) {
        return uqff_gguf_fail(cursor, err, UQFF_E_LIMIT, cursor->position,
                              "%s ends at offset %" PRIu64 ": expected a header of at most %" PRIu64
                              " bytes",
                              what, end, GGUF_MAX_HEADER);
    }
    /* Reading ahead saves calls; it doubles up to a few MiB, so a small header costs little. */
    uint64_t step = file->loaded < FIRST_STEP ? FIRST_STEP : file->loaded;
    step = step < LARGEST_STEP ? step : LARGEST_STEP;
    uint64_t ahead = file->size - file->loaded < step ? file->size : file->loaded + step;
    return read_up_to(cursor, end > ahead ? end : ahead, err);
}

enum uqff_code uqff_gguf_read_u32(struct gguf_cursor *cursor, const char *what, uint32_t *out,
                                  struct uqff_error *err) {
    enum uqff_code code = gguf_need(cursor, 4, what, err);
    if (code == UQFF_OK) {
        *out = gguf_load32(cursor->file, cursor->file->bytes + cursor->position);
        cursor->position += 4;
    }
    return code;
}

enum uqff_code uqff_gguf_read_u64(struct gguf_cursor *cursor, const char *what, uint64_t *out,
                                  struct uqff_error *err) {
    enum uqff_code code = gguf_need(cursor, 8, what, err);
    if (code == UQFF_OK) {
        *out = gguf_load64(cursor->file, cursor->file->bytes + cursor->position);
        cursor->position += 8;
    }
    return code;
}

enum uqff_code uqff_gguf_read_count(struct gguf_cursor *cursor, const char *what, uint64_t *out,
                                    struct uqff_error *err) {
    unsigned bytes = gguf_count_bytes(cursor->file);
    enum uqff_code code = gguf_need(cursor, bytes, what, err);
    if (code == UQFF_OK) {
        *out = gguf_load_count(cursor->file, cursor->file->bytes + cursor->position);
        cursor->position += bytes;
    }
    return code;
}

enum uqff_code uqff_gguf_read_length(struct gguf_cursor *cursor, const char *what, uint64_t *out,
                                     struct uqff_error *err) {
    uint64_t at = cursor->position;
    enum uqff_code code = uqff_gguf_read_count(cursor, what, out, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (*out > gguf_left(cursor)) {
        return uqff_gguf_fail(cursor, err, UQFF_E_TRUNCATED, at,
                              "%s declares %" PRIu64 " bytes at offset %" PRIu64
                              ", but the file has %" PRIu64 " more",
                              what, *out, at, gguf_left(cursor));
    }
    if (*out > GGUF_MAX_STRING) {
        return uqff_gguf_fail(cursor, err, UQFF_E_LIMIT, at,
                              "%s has %" PRIu64 " bytes: expected at most %" PRIu64, what, *out,
                              GGUF_MAX_STRING);
    }
    return gguf_need(cursor, *out, what, err);
}

enum uqff_code uqff_gguf_read_name(struct gguf_cursor *cursor, const char *entry, uint64_t limit,
                                   const char **out, struct uqff_error *err) {
    uint64_t at = cursor->position;
    uint64_t length = 0;
    char what[32];
    snprintf(what, sizeof what, "a %s name", entry);
    enum uqff_code code = uqff_gguf_read_length(cursor, what, &length, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (length == 0 || length > limit) {
        return uqff_gguf_fail(cursor, err, UQFF_E_NAME, at,
                              "%s at offset %" PRIu64 " has %" PRIu64
                              " bytes, expected 1 to %" PRIu64,
                              what, at, length, limit);
    }
    const char *text = (const char *)cursor->file->bytes + cursor->position;
    char *copy = uqff_arena_copy(&cursor->file->arena, text, (size_t)length);
    if (copy == NULL) {
        return uqff_fail_memory(err);
    }
    cursor->entry = entry;
    cursor->name = copy;
    size_t bad;
    if (!uqff_utf8_valid(copy, (size_t)length, &bad)) {
        return uqff_gguf_fail(cursor, err, UQFF_E_ENCODING, cursor->position + bad,
                              "byte %zu of the name is not UTF-8", bad);
    }
    if (strlen(copy) != length) {
        return uqff_gguf_fail(cursor, err, UQFF_E_ENCODING, cursor->position + strlen(copy),
                              "the name of %" PRIu64 " bytes holds a NUL", length);
    }
    cursor->position += length;
    *out = copy;
    return UQFF_OK;
}
