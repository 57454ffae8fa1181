/*
 * How several types lay small codes out in bytes. Private to quantizers/.
 */
#ifndef UQFF_REF_PACK_H
#define UQFF_REF_PACK_H

#include <stdint.h>

/*
 * Nibbles: `half` bytes hold 2 * half codes of four bits.
 *
 *            bits 0-3        bits 4-7
 *   byte j   code j          code j + half
 *
 * Codes of five bits give their low four here.
 */
static inline void pack_nibbles(unsigned char *y, const uint8_t *codes, int half) {
    for (int j = 0; j < half; j++) {
        y[j] = (unsigned char)((codes[j] & 0x0f) | (codes[j + half] & 0x0f) << 4);
    }
}

/*
 * A 2-bit plane: 32 bytes hold 128 codes of two bits.
 *
 *            bits 0-1   bits 2-3    bits 4-5    bits 6-7
 *   byte l   code l     code l+32   code l+64   code l+96
 *
 * Wider codes give the two bits from `shift` on.
 */
static inline void pack_pairs(unsigned char *y, const uint8_t *codes, int shift) {
    for (int l = 0; l < 32; l++) {
        unsigned byte = 0;
        for (int k = 0; k < 4; k++) {
            byte |= (codes[l + 32 * k] >> shift & 3u) << 2 * k;
        }
        y[l] = (unsigned char)byte;
    }
}

/*
 * Fifth bits of 32 codes: bit j of a 32-bit word is bit 4 of code j.
 */
static inline uint32_t pack_fifth_bits(const uint8_t *codes) {
    uint32_t bits = 0;
    for (int j = 0; j < 32; j++) {
        bits |= (uint32_t)(codes[j] >> 4 & 1) << j;
    }
    return bits;
}

/*
 * The scales of Q4_K and Q5_K: twelve bytes hold eight scales S and eight minima M of six bits.
 *
 *                 bits 0-3          bits 4-5          bits 6-7
 *   byte 0..3     ---------- S[0..3] ----------       upper two bits of S[4..7]
 *   byte 4..7     ---------- M[0..3] ----------       upper two bits of M[4..7]
 *   byte 8..11    S[4..7], low      ----- M[4..7], low four -----
 */
static inline void pack_scales_6(unsigned char y[12], const uint8_t s[8], const uint8_t m[8]) {
    for (int j = 0; j < 4; j++) {
        y[j] = (unsigned char)(s[j] | (s[j + 4] >> 4) << 6);
        y[j + 4] = (unsigned char)(m[j] | (m[j + 4] >> 4) << 6);
        y[j + 8] = (unsigned char)((s[j + 4] & 0x0f) | (m[j + 4] & 0x0f) << 4);
    }
}

static inline void unpack_scales_6(const unsigned char y[12], uint8_t s[8], uint8_t m[8]) {
    for (int j = 0; j < 4; j++) {
        s[j] = y[j] & 0x3f;
        m[j] = y[j + 4] & 0x3f;
        s[j + 4] = (uint8_t)((y[j + 8] & 0x0f) | (y[j] >> 6) << 4);
        m[j + 4] = (uint8_t)(y[j + 8] >> 4 | (y[j + 4] >> 6) << 4);
    }
}

#endif
