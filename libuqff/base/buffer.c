#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Room for n more bytes and the NUL; false, with `failed` set, when there is none. */
static bool reserve(struct uqff_buffer *buffer, size_t n) {
    if (buffer->failed) {
        return false;
    }
    void *data = buffer->data;
    if (n > PTRDIFF_MAX - 1 - buffer->size ||
        uqff_grow(&data, &buffer->capacity, buffer->size + n + 1, 1, NULL) != UQFF_OK) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    return true;
}

void uqff_buffer_append(struct uqff_buffer *buffer, const void *bytes, size_t n) {
    if (!reserve(buffer, n)) {
        return;
    }
    if (n > 0) {
        memcpy(buffer->data + buffer->size, bytes, n);
    }
    buffer->size += n;
    buffer->data[buffer->size] = '\0';
}

void uqff_buffer_printf(struct uqff_buffer *buffer, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) {
        buffer->failed = true;
    } else if (reserve(buffer, (size_t)length)) {
        vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

/* The escape of a byte that may not stand in a JSON string as it is; returns its length. */
static size_t json_escape(unsigned char c, char out[8]) {
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs of character and letter */
    for (size_t i = 0; i + 1 < sizeof letters; i += 2) {
        if ((unsigned char)letters[i] == c) {
            out[0] = '\\';
            out[1] = letters[i + 1];
            return 2;
        }
    }
    return (size_t)snprintf(out, 8, "\\u%04x", (unsigned)c);
}

void uqff_buffer_json_string(struct uqff_buffer *buffer, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    size_t start = 0, i = 0;
    uqff_buffer_append(buffer, "\"", 1);
    while (i < n) {
        uint32_t value = 0;
        unsigned length = uqff_utf8_decode(p + i, n - i, &value);
        if (length > 0 && value >= 0x20 && value != '"' && value != '\\') {
            i += length;
            continue;
        }
        uqff_buffer_append(buffer, p + start, i - start);
        if (length == 0) {
            uqff_buffer_append(buffer, "\xEF\xBF\xBD", 3);
        } else {
            char escape[8];
            uqff_buffer_append(buffer, escape, json_escape(p[i], escape));
        }
        i++;
        start = i;
    }
    if (i > start) {
        uqff_buffer_append(buffer, p + start, i - start);
    }
    uqff_buffer_append(buffer, "\"", 1);
}

void uqff_buffer_free(struct uqff_buffer *buffer) {
    uqff_free(buffer->data);
    *buffer = (struct uqff_buffer){0};
}
