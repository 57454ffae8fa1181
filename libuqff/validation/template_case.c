/* Chat templates: upper and lower case. Simple mappings are utf8proc's; the characters that become
 * several (Unicode's SpecialCasing, its unconditional part) are listed here. */
#include <string.h>
#include <utf8proc.h>

#include "validation/template.h"

static const struct {
    uint16_t from, to[3];
} special_upper[] = {
    {0x00DF, {0x53, 0x53}},          {0x0149, {0x2BC, 0x4E}},
    {0x01F0, {0x4A, 0x30C}},         {0x0390, {0x399, 0x308, 0x301}},
    {0x03B0, {0x3A5, 0x308, 0x301}}, {0x0587, {0x535, 0x552}},
    {0x1E96, {0x48, 0x331}},         {0x1E97, {0x54, 0x308}},
    {0x1E98, {0x57, 0x30A}},         {0x1E99, {0x59, 0x30A}},
    {0x1E9A, {0x41, 0x2BE}},         {0x1F50, {0x3A5, 0x313}},
    {0x1F52, {0x3A5, 0x313, 0x300}}, {0x1F54, {0x3A5, 0x313, 0x301}},
    {0x1F56, {0x3A5, 0x313, 0x342}}, {0x1FB2, {0x1FBA, 0x399}},
    {0x1FB3, {0x391, 0x399}},        {0x1FB4, {0x386, 0x399}},
    {0x1FB6, {0x391, 0x342}},        {0x1FB7, {0x391, 0x342, 0x399}},
    {0x1FBC, {0x391, 0x399}},        {0x1FC2, {0x1FCA, 0x399}},
    {0x1FC3, {0x397, 0x399}},        {0x1FC4, {0x389, 0x399}},
    {0x1FC6, {0x397, 0x342}},        {0x1FC7, {0x397, 0x342, 0x399}},
    {0x1FCC, {0x397, 0x399}},        {0x1FD2, {0x399, 0x308, 0x300}},
    {0x1FD3, {0x399, 0x308, 0x301}}, {0x1FD6, {0x399, 0x342}},
    {0x1FD7, {0x399, 0x308, 0x342}}, {0x1FE2, {0x3A5, 0x308, 0x300}},
    {0x1FE3, {0x3A5, 0x308, 0x301}}, {0x1FE4, {0x3A1, 0x313}},
    {0x1FE6, {0x3A5, 0x342}},        {0x1FE7, {0x3A5, 0x308, 0x342}},
    {0x1FF2, {0x1FFA, 0x399}},       {0x1FF3, {0x3A9, 0x399}},
    {0x1FF4, {0x38F, 0x399}},        {0x1FF6, {0x3A9, 0x342}},
    {0x1FF7, {0x3A9, 0x342, 0x399}}, {0x1FFC, {0x3A9, 0x399}},
    {0xFB00, {0x46, 0x46}},          {0xFB01, {0x46, 0x49}},
    {0xFB02, {0x46, 0x4C}},          {0xFB03, {0x46, 0x46, 0x49}},
    {0xFB04, {0x46, 0x46, 0x4C}},    {0xFB05, {0x53, 0x54}},
    {0xFB06, {0x53, 0x54}},          {0xFB13, {0x544, 0x546}},
    {0xFB14, {0x544, 0x535}},        {0xFB15, {0x544, 0x53B}},
    {0xFB16, {0x54E, 0x546}},        {0xFB17, {0x544, 0x53D}},
};

static bool put_character(struct tmpl_build *build, uint32_t c) {
    char bytes[4];
    return uqff_tmpl_put(build, tmpl_text(bytes, uqff_tmpl_encode(c, bytes)));
}

static bool put_upper(struct tmpl_build *build, uint32_t c) {
    if (c < 0x80) {
        return put_character(build, c >= 'a' && c <= 'z' ? c - 32 : c);
    }
    /* Greek with iota subscript: eight letters in three rows, each row twice. */
    if (c >= 0x1F80 && c <= 0x1FAF) {
        static const uint16_t rows[3] = {0x1F08, 0x1F28, 0x1F68};
        return put_character(build, rows[(c - 0x1F80) / 16] + (c & 7)) &&
               put_character(build, 0x399);
    }
    /* The list is sorted. */
    size_t low = 0, high = sizeof special_upper / sizeof *special_upper;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (special_upper[middle].from < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < sizeof special_upper / sizeof *special_upper && special_upper[low].from == c) {
        for (size_t k = 0; k < 3 && special_upper[low].to[k] != 0; k++) {
            if (!put_character(build, special_upper[low].to[k])) {
                return false;
            }
        }
        return true;
    }
    return put_character(build, (uint32_t)utf8proc_toupper((utf8proc_int32_t)c));
}

bool uqff_tmpl_upper(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                     struct tmpl_text *out) {
    struct tmpl_build build = {.run = run, .at = at};
    for (size_t i = 0; i < text.size;) {
        uint32_t c;
        i += uqff_tmpl_character(text.data + i, &c);
        if (!put_upper(&build, c)) {
            return false;
        }
    }
    *out = tmpl_built(&build);
    return true;
}

/* Whether the nearest letter before (or behind) is there: marks, modifiers and apostrophes between
 * are passed over. Decides the form of a sigma. */
static bool beside_letter(struct tmpl_text text, size_t i, bool before) {
    while (before ? i > 0 : i < text.size) {
        uint32_t c;
        if (before) {
            do {
                i--;
            } while (((unsigned char)text.data[i] & 0xC0) == 0x80);
            uqff_tmpl_character(text.data + i, &c);
        } else {
            i += uqff_tmpl_character(text.data + i, &c);
        }
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
        switch (category) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
            return true;
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_CF:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_SK:
            continue;
        default:
            if (c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019) {
                continue;
            }
            return false;
        }
    }
    return false;
}

bool uqff_tmpl_lower(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                     struct tmpl_text *out) {
    struct tmpl_build build = {.run = run, .at = at};
    for (size_t i = 0; i < text.size;) {
        uint32_t c;
        size_t n = uqff_tmpl_character(text.data + i, &c);
        bool fine;
        if (c < 0x80) {
            fine = put_character(&build, c >= 'A' && c <= 'Z' ? c + 32 : c);
        } else if (c == 0x130) { /* I with a dot keeps its dot */
            fine = put_character(&build, 'i') && put_character(&build, 0x307);
        } else if (c == 0x3A3) { /* sigma ends a word in its final form */
            bool final = beside_letter(text, i, true) && !beside_letter(text, i + n, false);
            fine = uqff_tmpl_step(run, at, 1) && put_character(&build, final ? 0x3C2 : 0x3C3);
        } else {
            fine = put_character(&build, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
        }
        if (!fine) {
            return false;
        }
        i += n;
    }
    *out = tmpl_built(&build);
    return true;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Words are runs of ASCII letters, digits and underscores; what is behind the first letter stays.
 */
bool uqff_tmpl_title(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                     struct tmpl_text *out) {
    char *copy = uqff_tmpl_take(run, at, text.size + 1, 1);
    if (copy == NULL) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool first = is_word(c) && (i == 0 || !is_word(text.data[i - 1]));
        copy[i] = first && c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    *out = tmpl_text(copy, text.size);
    return true;
}

/* The first UTF-16 unit in upper case: half of a character beyond the first plane has none. */
bool uqff_tmpl_capitalize(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                          struct tmpl_text *out) {
    *out = text;
    if (text.size == 0) {
        return true;
    }
    uint32_t c;
    size_t n = uqff_tmpl_character(text.data, &c);
    if (c > 0xFFFF) {
        return true;
    }
    struct tmpl_build build = {.run = run, .at = at};
    if (!put_upper(&build, c) || !uqff_tmpl_put(&build, tmpl_text(text.data + n, text.size - n))) {
        return false;
    }
    *out = tmpl_built(&build);
    return true;
}
