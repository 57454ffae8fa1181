/* Text helpers that base's own files share. */
#ifndef UQFF_BASE_TEXT_H
#define UQFF_BASE_TEXT_H

#include <locale.h>
#include <string.h>

#include "uqff/base.h"

/* Decodes one well-formed UTF-8 sequence from p[n], n > 0. Returns its length, or 0 when the bytes
 * there are none. */
unsigned uqff_utf8_decode(const unsigned char *p, size_t n, uint32_t *code_point);

/* Encodes a scalar value; returns the length, 1 to 4. */
unsigned uqff_utf8_encode(uint32_t code_point, char out[4]);

/* As uqff_printable(), but text that does not fit ends in "...". */
void uqff_printable_cut(char *out, size_t capacity, const void *bytes, size_t n);

/* The "C" locale, for functions that would follow the program's otherwise. */
locale_t uqff_c_locale(void);

static inline uint64_t uqff_load_native64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#endif
