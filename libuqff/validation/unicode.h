/* Characters by what split rules ask of them. */
#ifndef UQFF_VALIDATION_UNICODE_H
#define UQFF_VALIDATION_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General categories, some of them together; white space is the property White_Space. */
enum unicode_class {
    CLASS_LETTER = 1 << 0, /* L */
    CLASS_MARK = 1 << 1,   /* M */
    CLASS_NUMBER = 1 << 2, /* N */
    CLASS_SPACE = 1 << 3,
    CLASS_UPPER = 1 << 4,       /* Lu Lt Lm Lo M: what may stand in the upper part of a word */
    CLASS_LOWER = 1 << 5,       /* Ll Lm Lo M */
    CLASS_PUNCTUATION = 1 << 6, /* P */
    CLASS_SYMBOL = 1 << 7,      /* S */
};

extern const unsigned char uqff_unicode_ascii[128];
unsigned uqff_unicode_class(uint32_t character);

/* Decodes the character at `p`, of which n > 0 bytes follow; a byte that begins none is U+FFFD of
 * length 1. */
uint32_t uqff_unicode_decode_slow(const char *p, size_t n, size_t *length);

static inline uint32_t unicode_decode(const char *p, size_t n, size_t *length) {
    if ((unsigned char)*p < 0x80) {
        *length = 1;
        return (unsigned char)*p;
    }
    return uqff_unicode_decode_slow(p, n, length);
}

/* Class and length of the character at `p`. */
static inline unsigned unicode_class_at(const char *p, size_t n, size_t *length) {
    if ((unsigned char)*p < 0x80) {
        *length = 1;
        return uqff_unicode_ascii[(unsigned char)*p];
    }
    return uqff_unicode_class(uqff_unicode_decode_slow(p, n, length));
}

/* Where the character before `at` begins; at > 0. */
size_t uqff_unicode_before(const char *text, size_t at);

/* True when the text ends, or begins, with a character of a word (\w). */
bool uqff_unicode_ends_word(const char *text, size_t n);
bool uqff_unicode_begins_word(const char *text, size_t n);

#endif
