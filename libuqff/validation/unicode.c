#include <utf8proc.h>

#include "validation/unicode.h"

/* One byte a character of ASCII: enum unicode_class. */
const unsigned char uqff_unicode_ascii[128] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x08, 0x08, 0x08, 0x08, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x08, 0x40, 0x40, 0x40, 0x80, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x80, 0x40, 0x40, 0x40, 0x40,
    0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04, 0x40, 0x40, 0x80, 0x80, 0x80, 0x40,
    0x40, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
    0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x40, 0x40, 0x40, 0x80, 0x40,
    0x80, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21,
    0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x40, 0x80, 0x40, 0x80, 0x00,
};

/* The same by general category. */
static const unsigned char by_category[] = {
    [UTF8PROC_CATEGORY_CN] = 0,
    [UTF8PROC_CATEGORY_LU] = CLASS_LETTER | CLASS_UPPER,
    [UTF8PROC_CATEGORY_LL] = CLASS_LETTER | CLASS_LOWER,
    [UTF8PROC_CATEGORY_LT] = CLASS_LETTER | CLASS_UPPER,
    [UTF8PROC_CATEGORY_LM] = CLASS_LETTER | CLASS_UPPER | CLASS_LOWER,
    [UTF8PROC_CATEGORY_LO] = CLASS_LETTER | CLASS_UPPER | CLASS_LOWER,
    [UTF8PROC_CATEGORY_MN] = CLASS_MARK | CLASS_UPPER | CLASS_LOWER,
    [UTF8PROC_CATEGORY_MC] = CLASS_MARK | CLASS_UPPER | CLASS_LOWER,
    [UTF8PROC_CATEGORY_ME] = CLASS_MARK | CLASS_UPPER | CLASS_LOWER,
    [UTF8PROC_CATEGORY_ND] = CLASS_NUMBER,
    [UTF8PROC_CATEGORY_NL] = CLASS_NUMBER,
    [UTF8PROC_CATEGORY_NO] = CLASS_NUMBER,
    [UTF8PROC_CATEGORY_PC] = CLASS_PUNCTUATION,
    [UTF8PROC_CATEGORY_PD] = CLASS_PUNCTUATION,
    [UTF8PROC_CATEGORY_PS] = CLASS_PUNCTUATION,
    [UTF8PROC_CATEGORY_PE] = CLASS_PUNCTUATION,
    [UTF8PROC_CATEGORY_PI] = CLASS_PUNCTUATION,
    [UTF8PROC_CATEGORY_PF] = CLASS_PUNCTUATION,
    [UTF8PROC_CATEGORY_PO] = CLASS_PUNCTUATION,
    [UTF8PROC_CATEGORY_SM] = CLASS_SYMBOL,
    [UTF8PROC_CATEGORY_SC] = CLASS_SYMBOL,
    [UTF8PROC_CATEGORY_SK] = CLASS_SYMBOL,
    [UTF8PROC_CATEGORY_SO] = CLASS_SYMBOL,
    [UTF8PROC_CATEGORY_ZS] = CLASS_SPACE,
    [UTF8PROC_CATEGORY_ZL] = CLASS_SPACE,
    [UTF8PROC_CATEGORY_ZP] = CLASS_SPACE,
    [UTF8PROC_CATEGORY_CC] = 0,
    [UTF8PROC_CATEGORY_CF] = 0,
    [UTF8PROC_CATEGORY_CS] = 0,
    [UTF8PROC_CATEGORY_CO] = 0,
};

unsigned uqff_unicode_class(uint32_t character) {
    if (character < 128) {
        return uqff_unicode_ascii[character];
    }
    if (character == 0x85) { /* NEXT LINE is a control, and white space */
        return CLASS_SPACE;
    }
    return by_category[utf8proc_category((utf8proc_int32_t)character)];
}

uint32_t uqff_unicode_decode_slow(const char *p, size_t n, size_t *length) {
    utf8proc_int32_t character;
    utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)p, n > 4 ? 4 : (utf8proc_ssize_t)n, &character);
    *length = used > 0 ? (size_t)used : 1;
    return used > 0 ? (uint32_t)character : 0xFFFD;
}

size_t uqff_unicode_before(const char *text, size_t at) {
    size_t start = at - 1;
    while (start > 0 && at - start < 4 && ((unsigned char)text[start] & 0xC0) == 0x80) {
        start--;
    }
    /* A continuation byte that no character owns stands alone. */
    size_t length;
    unicode_decode(text + start, at - start, &length);
    return start + length == at ? start : at - 1;
}

static bool is_word(uint32_t character) {
    return (uqff_unicode_class(character) & (CLASS_LETTER | CLASS_MARK | CLASS_NUMBER)) != 0 ||
           utf8proc_category((utf8proc_int32_t)character) == UTF8PROC_CATEGORY_PC;
}

bool uqff_unicode_ends_word(const char *text, size_t n) {
    size_t length;
    if (n == 0) {
        return false;
    }
    size_t start = uqff_unicode_before(text, n);
    return is_word(unicode_decode(text + start, n - start, &length));
}

bool uqff_unicode_begins_word(const char *text, size_t n) {
    size_t length;
    return n > 0 && is_word(unicode_decode(text, n, &length));
}
