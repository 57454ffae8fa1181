/*
 * Floats of eight bits and fewer, as other tools store them. From the highest bit down: a sign,
 * exponent bits, fraction bits.
 *
 *              sign  exponent (bias)  fraction   largest    no number
 *   F8_E5M2      1       5 (15)          2        57344     infinities and NaN, as in f16
 *   F8_E4M3      1       4 (7)           3        448       NaN: exponent and fraction all ones
 *   F8_E8M0      0       8 (127)         0        2^127     NaN: 255
 *   F6_E3M2      1       3 (3)           2        28        none
 *   F6_E2M3      1       2 (1)           3        7.5       none
 *   F4 (E2M1)    1       2 (1)           1        6         none
 */
#include "number.h"
#include "ref.h"

#define QUIET_NAN 0x7fc00000u

/* The value of a code of `bits` bits with `fraction` fraction bits that has no special cases. */
static inline float small_float(unsigned code, int bits, int fraction, int bias) {
    uint32_t sign = (uint32_t)(code >> (bits - 1)) << 31;
    uint32_t magnitude = (uint32_t)(code & ((1u << (bits - 1)) - 1)) << (23 - fraction);
    uint32_t normal = magnitude + ((uint32_t)(127 - bias) << 23);
    /* A subnormal: put the fraction below a leading 2^(1 - bias) and take that away. */
    uint32_t leading = (uint32_t)(128 - bias) << 23;
    uint32_t subnormal = float_bits(bits_float(magnitude + leading) - bits_float(leading));
    return bits_float(sign | (magnitude < 0x00800000 ? subnormal : normal));
}

void uqff_ref_dequantize_f8_e4m3(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float v = small_float(x[i], 8, 3, 7);
        y[i] = (x[i] & 0x7f) == 0x7f ? bits_float(QUIET_NAN) : v;
    }
}

/* The upper byte of an f16. */
void uqff_ref_dequantize_f8_e5m2(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = f16_to_float((uint16_t)(x[i] << 8));
    }
}

/* 2^(x - 127): an exponent alone; 2^-127 is subnormal in float. */
void uqff_ref_dequantize_f8_e8m0(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = x[i] == 0 ? 0x00400000u : (uint32_t)x[i] << 23;
        y[i] = bits_float(x[i] == 255 ? QUIET_NAN : bits);
    }
}

/* Two codes a byte, the first in the low nibble. */
void uqff_ref_dequantize_f4(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += 2, x++) {
        y[i] = small_float(*x & 0x0fu, 4, 1, 1);
        y[i + 1] = small_float(*x >> 4, 4, 1, 1);
    }
}

/* Four codes in three bytes: code k in bits 6k .. 6k+5 of the 24-bit little-endian number. */
static inline void dequantize_f6(const unsigned char *x, float *y, size_t n, int fraction,
                                 int bias) {
    for (size_t i = 0; i < n; i += 4, x += 3) {
        unsigned word = (unsigned)x[0] | (unsigned)x[1] << 8 | (unsigned)x[2] << 16;
        for (int k = 0; k < 4; k++) {
            y[i + (size_t)k] = small_float(word >> 6 * k & 0x3f, 6, fraction, bias);
        }
    }
}

void uqff_ref_dequantize_f6_e2m3(const unsigned char *x, float *y, size_t n) {
    dequantize_f6(x, y, n, 3, 1);
}

void uqff_ref_dequantize_f6_e3m2(const unsigned char *x, float *y, size_t n) {
    dequantize_f6(x, y, n, 2, 3);
}
