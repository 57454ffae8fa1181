/* Text made ready: invalid bytes replaced, normal forms, lower case, spaces marked. */
#include <string.h>

#include <utf8proc.h>

#include "validation/tokenizer.h"
#include "validation/unicode.h"

static enum uqff_code take(struct session *s, struct uqff_buffer *buffer, const char **text,
                           size_t *n) {
    if (buffer->failed) {
        return uqff_fail_memory(s->err);
    }
    *text = buffer->size == 0 ? "" : buffer->data;
    *n = buffer->size;
    return UQFF_OK;
}

enum uqff_code uqff_normal_clean(struct session *s, const char **text, size_t *n) {
    struct uqff_buffer *out = &s->cleaned;
    size_t bad, at = 0;
    if (uqff_utf8_valid(*text, *n, &bad)) {
        return UQFF_OK;
    }
    out->size = 0;
    for (;;) {
        bool valid = uqff_utf8_valid(*text + at, *n - at, &bad);
        uqff_buffer_append(out, *text + at, valid ? *n - at : bad);
        if (valid) {
            return take(s, out, text, n);
        }
        uqff_buffer_append(out, "\xEF\xBF\xBD", 3);
        at += bad + 1;
    }
}

/* ---- normal forms ---------------------------------------------------------------------------- */

static bool is_ascii(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static utf8proc_option_t form_options(const struct uqff_vocabulary_info *info) {
    int options = 0;
    if (info->normalize_nfc || info->normalize_nfkc) {
        options |= UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    } else if (info->normalize_nfd || info->normalize_nfkd) {
        options |= UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    }
    if (info->normalize_nfkc || info->normalize_nfkd) {
        options |= UTF8PROC_COMPAT;
    }
    return (utf8proc_option_t)options;
}

/* Decomposes into s->points, and composes again where the form asks for it. */
static enum uqff_code points_of(struct session *s, const char *text, size_t n, size_t *count) {
    utf8proc_option_t options = form_options(s->t->info);
    /* One code point a byte is the most without decomposition; utf8proc tells when it needs more.
     */
    size_t wanted = n + 1;
    for (;;) {
        void *items = s->points;
        enum uqff_code code =
            uqff_grow(&items, &s->point_capacity, wanted, sizeof *s->points, s->err);
        s->points = items;
        if (code != UQFF_OK) {
            return code;
        }
        utf8proc_ssize_t found =
            utf8proc_decompose((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, s->points,
                               (utf8proc_ssize_t)s->point_capacity, options);
        if (found >= 0 && (size_t)found > s->point_capacity) {
            wanted = (size_t)found;
            continue;
        }
        if (found >= 0 && options != 0) {
            found = utf8proc_normalize_utf32(s->points, found, options);
        }
        if (found < 0) {
            return uqff_fail(s->err, UQFF_E_LIMIT, UQFF_NO_OFFSET, "text: %s",
                             utf8proc_errmsg(found));
        }
        *count = (size_t)found;
        return UQFF_OK;
    }
}

/* Lower case character by character; U+0130 has two in its lower case. */
static void append_point(struct uqff_buffer *out, uint32_t point, bool lower) {
    char bytes[4];
    if (lower && point == 0x130) {
        uqff_buffer_append(out, "i\xCC\x87", 3);
        return;
    }
    if (lower) {
        point = (uint32_t)utf8proc_tolower((utf8proc_int32_t)point);
    }
    uqff_buffer_append(out, bytes, uqff_put_character(bytes, point));
}

enum uqff_code uqff_normal_form(struct session *s, const char **text, size_t *n) {
    const bool lower = s->t->info->lowercase;
    struct uqff_buffer *out = &s->normal;
    out->size = 0;
    if (is_ascii(*text, *n)) { /* in all normal forms already */
        for (size_t i = 0; lower && i < *n; i++) {
            char c = (*text)[i];
            c = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
            uqff_buffer_append(out, &c, 1);
        }
        return lower ? take(s, out, text, n) : UQFF_OK;
    }
    size_t count = 0;
    enum uqff_code code = points_of(s, *text, *n, &count);
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < count; i++) {
        append_point(out, (uint32_t)s->points[i], lower);
    }
    return take(s, out, text, n);
}

/* ---- spaces ---------------------------------------------------------------------------------- */

/* Spaces at both ends go, and of several in a row all but one. */
static void squeeze(struct uqff_buffer *out, const char *text, size_t n) {
    while (n > 0 && text[n - 1] == ' ') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] != ' ' || (out->size > 0 && text[i - 1] != ' ')) {
            uqff_buffer_append(out, &text[i], 1);
        }
    }
}

static bool begins_with_space(const char *text, size_t n, bool marks) {
    return n > 0 && (*text == ' ' || (marks && n >= SPACE_MARK_LENGTH &&
                                      memcmp(text, SPACE_MARK, SPACE_MARK_LENGTH) == 0));
}

enum uqff_code uqff_normal_mark(struct session *s, const char **text, size_t *n, bool first) {
    const struct uqff_vocabulary_info *info = s->t->info;
    struct uqff_buffer squeezed = {0}, *out = &s->marked;
    const char *from = *text;
    size_t length = *n;
    if (info->remove_extra_whitespace) {
        squeeze(&squeezed, from, length);
        from = squeezed.data;
        length = squeezed.size;
    }
    bool prefix =
        info->add_prefix_space && length > 0 && (first || !info->prefix_once) &&
        !(info->prefix_unless_space && begins_with_space(from, length, info->escape_whitespace));
    if (!prefix && !info->escape_whitespace && !info->remove_extra_whitespace) {
        return UQFF_OK;
    }
    const char *space = info->escape_whitespace ? SPACE_MARK : " ";
    size_t space_length = strlen(space);
    out->size = 0;
    if (prefix) {
        uqff_buffer_append(out, space, space_length);
    }
    for (size_t i = 0; i < length;) {
        const char *next = memchr(from + i, ' ', length - i);
        size_t run = next == NULL ? length - i : (size_t)(next - from) - i;
        uqff_buffer_append(out, from + i, run);
        i += run;
        if (next != NULL) {
            uqff_buffer_append(out, space, space_length);
            i++;
        }
    }
    out->failed = out->failed || squeezed.failed;
    uqff_buffer_free(&squeezed);
    return take(s, out, text, n);
}

/* ---- the printable alphabet ------------------------------------------------------------------ */

/* Bytes that are printable in Latin-1 stand for themselves; the others follow from U+0100 on. */
static bool is_printable(unsigned byte) {
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
           (byte >= 0xAE && byte <= 0xFF);
}

uint32_t uqff_byte_character(unsigned char byte) {
    if (is_printable(byte)) {
        return byte;
    }
    /* 0x00 … 0x20 are 33, 0x7F … 0xA0 are 34, and 0xAD is the last. */
    return byte <= 0x20 ? 0x100u + byte : byte <= 0xA0 ? 0x100u + 33 + byte - 0x7F : 0x143u;
}

int uqff_character_byte(uint32_t character) {
    if (character < 0x100) {
        return is_printable(character) ? (int)character : -1;
    }
    uint32_t place = character - 0x100;
    return place < 33    ? (int)place
           : place < 67  ? (int)(place - 33 + 0x7F)
           : place == 67 ? 0xAD
                         : -1;
}

size_t uqff_put_character(char out[4], uint32_t character) {
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)character, (utf8proc_uint8_t *)out);
}

size_t uqff_put_byte(char out[4], unsigned char byte) {
    return uqff_put_character(out, uqff_byte_character(byte));
}
