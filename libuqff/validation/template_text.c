/* Chat templates: strings, which are UTF-8 here and UTF-16 to the language. */
#include <string.h>
#include <utf8proc.h>

#include "validation/template.h"

bool uqff_tmpl_same_text(struct tmpl_text a, struct tmpl_text b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

size_t uqff_tmpl_character(const char *text, uint32_t *code_point) {
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) {
        *code_point = p[0];
        return 1;
    }
    if (p[0] < 0xE0) {
        *code_point = (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu);
        return 2;
    }
    if (p[0] < 0xF0) {
        *code_point = (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        return 3;
    }
    *code_point =
        (p[0] & 0x07u) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
    return 4;
}

size_t uqff_tmpl_encode(uint32_t code_point, char out[4]) {
    if (code_point < 0x80) {
        out[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        out[0] = (char)(0xC0 | code_point >> 6);
        out[1] = (char)(0x80 | (code_point & 0x3F));
        return 2;
    }
    if (code_point < 0x10000) {
        out[0] = (char)(0xE0 | code_point >> 12);
        out[1] = (char)(0x80 | (code_point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code_point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code_point >> 18);
    out[1] = (char)(0x80 | (code_point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code_point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code_point & 0x3F));
    return 4;
}

size_t uqff_tmpl_characters(struct tmpl_text text) {
    size_t n = 0;
    for (size_t i = 0; i < text.size; i++) {
        n += ((unsigned char)text.data[i] & 0xC0) != 0x80;
    }
    return n;
}

size_t uqff_tmpl_units(struct tmpl_text text) {
    size_t n = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        n += (byte & 0xC0) != 0x80;
        n += byte >= 0xF0;
    }
    return n;
}

/* White space as JavaScript's \s and trim() have it. */
static bool is_space(uint32_t c) {
    if (c < 0x80) {
        return c == ' ' || (c >= '\t' && c <= '\r');
    }
    return c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

size_t uqff_tmpl_space(struct tmpl_text text) {
    if (text.size == 0) {
        return 0;
    }
    uint32_t c;
    size_t n = uqff_tmpl_character(text.data, &c);
    return is_space(c) ? n : 0;
}

size_t uqff_tmpl_space_before(struct tmpl_text text) {
    if (text.size == 0) {
        return 0;
    }
    size_t start = text.size - 1;
    while (start > 0 && ((unsigned char)text.data[start] & 0xC0) == 0x80) {
        start--;
    }
    return uqff_tmpl_space(tmpl_text(text.data + start, text.size - start));
}

struct tmpl_text uqff_tmpl_trim(struct tmpl_text text, bool left, bool right) {
    for (size_t n; left && (n = uqff_tmpl_space(text)) > 0;) {
        text.data += n;
        text.size -= n;
    }
    for (size_t n; right && (n = uqff_tmpl_space_before(text)) > 0;) {
        text.size -= n;
    }
    return text;
}

int uqff_tmpl_order(struct tmpl_text a, struct tmpl_text b) {
    size_t n = a.size < b.size ? a.size : b.size;
    for (size_t i = 0; i < n; i++) {
        unsigned x = (unsigned char)a.data[i], y = (unsigned char)b.data[i];
        if (x == y) {
            continue;
        }
        /* Surrogates, which stand for what begins with F0 and above, sort below U+E000, whose first
         * byte is EE. Byte order and UTF-16 order agree everywhere else. */
        if (x >= 0xEE && y >= 0xEE && (x >= 0xF0) != (y >= 0xF0)) {
            return x >= 0xF0 ? -1 : 1;
        }
        return x < y ? -1 : 1;
    }
    return a.size < b.size ? -1 : a.size > b.size;
}

/* Rank of a character in a dictionary: punctuation, symbols, digits, letters, all else. */
static unsigned rank(uint32_t c) {
    static const char order[] = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789";
    if (c >= 'A' && c <= 'Z') {
        return 200 + 2 * (c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return 200 + 2 * (c - 'a');
    }
    if (c < 0x80) {
        const char *found = c > ' ' ? strchr(order, (int)c) : NULL;
        return found != NULL ? 100 + (unsigned)(found - order) : c;
    }
    return 1000 + c;
}

/* The letter under an accent, or the character itself. */
static uint32_t base_letter(uint32_t c) {
    utf8proc_int32_t parts[8];
    int bound = 0;
    if (c < 0x80) {
        return c;
    }
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8,
                                                 UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &bound);
    return n > 0 ? (uint32_t)parts[0] : c;
}

int uqff_tmpl_collate(struct tmpl_text a, struct tmpl_text b) {
    int by_accent = 0, by_case = 0;
    size_t i = 0, j = 0;
    while (i < a.size && j < b.size) {
        uint32_t x, y;
        i += uqff_tmpl_character(a.data + i, &x);
        j += uqff_tmpl_character(b.data + j, &y);
        uint32_t p = base_letter(x), q = base_letter(y);
        if (rank(p) != rank(q)) {
            return rank(p) < rank(q) ? -1 : 1;
        }
        /* The first difference in accents, else in case, decides when nothing else does; lower case
         * goes first. */
        if (by_accent == 0 && (x != p || y != q)) {
            by_accent = x == p ? -1 : y == q ? 1 : 0;
        }
        if (by_case == 0 && p != q) {
            by_case = p > q ? -1 : 1;
        }
    }
    if (i < a.size || j < b.size) {
        return i < a.size ? 1 : -1;
    }
    return by_accent != 0 ? by_accent : by_case;
}

size_t uqff_tmpl_find(struct tmpl_text text, struct tmpl_text needle, size_t from) {
    if (needle.size == 0) {
        return from;
    }
    if (from > text.size || text.size - from < needle.size) {
        return SIZE_MAX;
    }
    const char *found = memmem(text.data + from, text.size - from, needle.data, needle.size);
    return found != NULL ? (size_t)(found - text.data) : SIZE_MAX;
}

void uqff_tmpl_position(struct tmpl_text source, size_t offset, size_t *line, size_t *column) {
    size_t start = 0;
    *line = 1;
    offset = offset < source.size ? offset : source.size;
    for (size_t i = 0; i < offset; i++) {
        if (source.data[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    }
    *column = 1 + uqff_tmpl_characters(tmpl_text(source.data + start, offset - start));
}
