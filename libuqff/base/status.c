#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* One row a code. The names are stable: they appear in JSON output. */
static const struct {
    enum uqff_code code;
    enum uqff_family family;
    const char *name;
} codes[] = {
    {UQFF_OK, UQFF_FAMILY_OK, "ok"},
    {UQFF_E_ARGUMENT, UQFF_FAMILY_USAGE, "argument"},
    {UQFF_E_EXISTS, UQFF_FAMILY_USAGE, "exists"},
    {UQFF_E_IS_INPUT, UQFF_FAMILY_USAGE, "is-input"},
    {UQFF_E_UNKNOWN, UQFF_FAMILY_USAGE, "unknown"},
    {UQFF_E_MEMORY, UQFF_FAMILY_RESOURCE, "memory"},
    {UQFF_E_CANCELLED, UQFF_FAMILY_RESOURCE, "cancelled"},
    {UQFF_E_NOT_FOUND, UQFF_FAMILY_IO, "not-found"},
    {UQFF_E_PERMISSION, UQFF_FAMILY_IO, "permission"},
    {UQFF_E_NOT_REGULAR, UQFF_FAMILY_IO, "not-regular"},
    {UQFF_E_READ, UQFF_FAMILY_IO, "read"},
    {UQFF_E_WRITE, UQFF_FAMILY_IO, "write"},
    {UQFF_E_NO_SPACE, UQFF_FAMILY_IO, "no-space"},
    {UQFF_E_CHANGED, UQFF_FAMILY_IO, "changed"},
    {UQFF_E_TRUNCATED, UQFF_FAMILY_INPUT, "truncated"},
    {UQFF_E_MAGIC, UQFF_FAMILY_INPUT, "magic"},
    {UQFF_E_SYNTAX, UQFF_FAMILY_INPUT, "syntax"},
    {UQFF_E_ENCODING, UQFF_FAMILY_INPUT, "encoding"},
    {UQFF_E_DUPLICATE, UQFF_FAMILY_INPUT, "duplicate"},
    {UQFF_E_FIELD, UQFF_FAMILY_INPUT, "field"},
    {UQFF_E_OVERFLOW, UQFF_FAMILY_INPUT, "overflow"},
    {UQFF_E_SHAPE, UQFF_FAMILY_INPUT, "shape"},
    {UQFF_E_LAYOUT, UQFF_FAMILY_INPUT, "layout"},
    {UQFF_E_NAME, UQFF_FAMILY_INPUT, "name"},
    {UQFF_E_MISSING, UQFF_FAMILY_INPUT, "missing"},
    {UQFF_E_DIGEST, UQFF_FAMILY_INPUT, "digest"},
    {UQFF_E_NONFINITE, UQFF_FAMILY_INPUT, "nonfinite"},
    {UQFF_E_VERSION, UQFF_FAMILY_INPUT, "version"},
    {UQFF_E_TYPE, UQFF_FAMILY_INPUT, "type"},
    {UQFF_E_UNSUPPORTED, UQFF_FAMILY_INPUT, "unsupported"},
    {UQFF_E_LIMIT, UQFF_FAMILY_INPUT, "limit"},
    {UQFF_E_NETWORK, UQFF_FAMILY_NETWORK, "network"},
    {UQFF_E_INTERNAL, UQFF_FAMILY_INTERNAL, "internal"},
};

const char *uqff_code_name(enum uqff_code code) {
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i].code == code) {
            return codes[i].name;
        }
    }
    return "unnamed";
}

enum uqff_family uqff_code_family(enum uqff_code code) {
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i].code == code) {
            return codes[i].family;
        }
    }
    return UQFF_FAMILY_INTERNAL;
}

const char *uqff_version(void) {
    return UQFF_VERSION;
}

/* Formats and escapes into out[capacity]. An escape is never shorter than what it stands for, so
 * raw text beyond UQFF_ERROR_TEXT bytes cannot matter to a result of that size: it is not even
 * made. */
UQFF_PRINTF(3, 0)
static void format_printable(char *out, size_t capacity, const char *format, va_list args) {
    char raw[UQFF_ERROR_TEXT + 8];
    int length = vsnprintf(raw, sizeof raw, format, args);
    size_t n = length < 0 ? 0 : (size_t)length;
    if (n > sizeof raw - 1) {
        n = sizeof raw - 1;
    }
    uqff_printable_cut(out, capacity, raw, n);
}

enum uqff_code uqff_vfail(struct uqff_error *err, enum uqff_code code, uint64_t offset,
                          const char *format, va_list args) {
    if (err != NULL) {
        err->code = code;
        err->offset = offset;
        format_printable(err->text, sizeof err->text, format, args);
    }
    return code;
}

enum uqff_code uqff_fail(struct uqff_error *err, enum uqff_code code, uint64_t offset,
                         const char *format, ...) {
    va_list args;
    va_start(args, format);
    uqff_vfail(err, code, offset, format, args);
    va_end(args);
    return code;
}

enum uqff_code uqff_fail_memory(struct uqff_error *err) {
    if (err != NULL) {
        err->code = UQFF_E_MEMORY;
        err->offset = UQFF_NO_OFFSET;
        memcpy(err->text, "out of memory", sizeof "out of memory");
    }
    return UQFF_E_MEMORY;
}

/* Length of the escape or character at the front of printable text of n > 0 bytes. */
static size_t printable_unit(const char *text, size_t n) {
    size_t length = 1;
    if (text[0] == '\\' && n > 1) {
        length = 2;
        if (text[1] == 'x') {
            length = 4;
        } else if (text[1] == 'u') {
            while (length < n && text[length - 1] != '}') {
                length++;
            }
        }
    } else {
        while (length < n && ((unsigned char)text[length] & 0xC0) == 0x80) {
            length++;
        }
    }
    return length < n ? length : n;
}

void uqff_error_prefix(struct uqff_error *err, const char *format, ...) {
    if (err == NULL) {
        return;
    }
    char text[UQFF_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    format_printable(text, sizeof text, format, args);
    va_end(args);

    size_t used = strlen(text);
    size_t rest = strlen(err->text);
    size_t room = sizeof text - 1 - used;
    if (room < 2 + 3) {
        memcpy(err->text, text, used + 1);
        return;
    }
    memcpy(text + used, ": ", 2);
    used += 2;
    room -= 2;
    if (rest <= room) {
        memcpy(text + used, err->text, rest + 1);
    } else {
        size_t taken = 0;
        for (;;) {
            size_t unit = printable_unit(err->text + taken, rest - taken);
            if (taken + unit > room - 3) {
                break;
            }
            taken += unit;
        }
        memcpy(text + used, err->text, taken);
        memcpy(text + used + taken, "...", sizeof "...");
    }
    memcpy(err->text, text, sizeof text);
}

void uqff_warn(const struct uqff_warner *warner, const char *format, ...) {
    if (warner == NULL || warner->warn == NULL) {
        return;
    }
    char text[UQFF_ERROR_TEXT];
    va_list args;
    va_start(args, format);
    format_printable(text, sizeof text, format, args);
    va_end(args);
    warner->warn(warner->context, text);
}

enum uqff_code uqff_progress_update(const struct uqff_progress *progress, const char *stage,
                                    uint64_t done, uint64_t total, struct uqff_error *err) {
    if (progress == NULL || progress->update == NULL ||
        progress->update(progress->context, stage, done, total)) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_CANCELLED, UQFF_NO_OFFSET, "cancelled during: %s", stage);
}
