#include <string.h>

#include "base/json.h"
#include "base/text.h"

/* Eight bytes at once: true when one of them ends the run of plain ASCII text, that is when it is
 * below 0x20, above 0x7F, a quote or a backslash. Borrows between bytes can only add a false alarm
 * behind a true one. */
static bool has_special(uint64_t v) {
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = v ^ ones * '"';
    uint64_t backslash = v ^ ones * '\\';
    return ((v | ((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) |
             ((backslash - ones) & ~backslash)) &
            highs) != 0;
}

/* Four hex digits at p[n], or -1. */
static int32_t hex4(const char *p, size_t n) {
    unsigned char bytes[2];
    return n >= 4 && uqff_unhex(bytes, p, 2) ? bytes[0] << 8 | bytes[1] : -1;
}

static bool is_high_surrogate(int32_t value) {
    return value >= 0xD800 && value <= 0xDBFF;
}

static bool is_low_surrogate(int32_t value) {
    return value >= 0xDC00 && value <= 0xDFFF;
}

static const char escape_letters[] = "\"\\/bfnrt";
static const char escape_values[] = "\"\\/\b\f\n\r\t";

/* Checks the escape at text[at], a backslash. *length is how many bytes it takes. */
static enum uqff_json_fault scan_escape(const char *text, size_t n, size_t at, size_t *length) {
    const char *p = text + at;
    size_t left = n - at;
    if (left < 2) {
        return UQFF_JSON_UNENDED;
    }
    *length = 2;
    if (p[1] != '\0' && strchr(escape_letters, p[1]) != NULL) {
        return UQFF_JSON_FINE;
    }
    int32_t value = p[1] == 'u' ? hex4(p + 2, left - 2) : -1;
    if (value < 0) {
        return UQFF_JSON_BAD_ESCAPE;
    }
    *length = 6;
    if (is_low_surrogate(value)) {
        return UQFF_JSON_SURROGATE;
    }
    if (is_high_surrogate(value)) {
        *length = 12;
        if (left < 12 || p[6] != '\\' || p[7] != 'u' || !is_low_surrogate(hex4(p + 8, left - 8))) {
            return UQFF_JSON_SURROGATE;
        }
    }
    return UQFF_JSON_FINE;
}

enum uqff_json_fault uqff_json_scan_string(const char *text, size_t n, size_t at, size_t *end,
                                           bool *escaped) {
    const unsigned char *p = (const unsigned char *)text;
    enum uqff_json_fault fault = UQFF_JSON_UNENDED;
    *escaped = false;
    while (at < n) {
        if (n - at >= 8 && !has_special(uqff_load_native64(p + at))) {
            at += 8;
            continue;
        }
        unsigned char c = p[at];
        size_t length = 1;
        if (c == '"') {
            fault = UQFF_JSON_FINE;
            break;
        }
        if (c < 0x20) {
            fault = UQFF_JSON_CONTROL;
            break;
        }
        if (c == '\\') {
            *escaped = true;
            enum uqff_json_fault found = scan_escape(text, n, at, &length);
            if (found != UQFF_JSON_FINE) {
                fault = found;
                break;
            }
        } else if (c >= 0x80) {
            uint32_t ignored;
            length = uqff_utf8_decode(p + at, n - at, &ignored);
            if (length == 0) {
                fault = UQFF_JSON_BAD_UTF8;
                break;
            }
        }
        at += length;
    }
    *end = at;
    return fault;
}

size_t uqff_json_unescape(char *out, const char *text, size_t n) {
    size_t written = 0;
    for (size_t i = 0; i < n;) {
        const char *backslash = memchr(text + i, '\\', n - i);
        size_t plain = backslash == NULL ? n - i : (size_t)(backslash - (text + i));
        memcpy(out + written, text + i, plain);
        written += plain;
        i += plain;
        if (backslash == NULL) {
            break;
        }
        if (text[i + 1] != 'u') {
            out[written++] = escape_values[strchr(escape_letters, text[i + 1]) - escape_letters];
            i += 2;
            continue;
        }
        uint32_t value = (uint32_t)hex4(text + i + 2, n - i - 2);
        i += 6;
        if (is_high_surrogate((int32_t)value)) {
            uint32_t low = (uint32_t)hex4(text + i + 2, n - i - 2);
            value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
            i += 6;
        }
        /* Six bytes gave at most three, twelve gave four. */
        written += uqff_utf8_encode(value, out + written);
    }
    return written;
}
