/*
 * Q5_K: 256 values in 176 bytes, 5.5 bits a value. 8 groups of 32, each with a scale S and a
 * minimum M of six bits.
 *
 *   byte   0     2     4             16              48                          176
 *          +-----+-----+-------------+---------------+---------------------------+
 *          |  d  | dmin|  scales[12] |  qh[32]       |  qs[128]                  |
 *          +-----+-----+-------------+---------------+---------------------------+
 *           f16   f16    S and M       bit g of byte   low four bits, as in Q4_K
 *                        (pack.h)      l: fifth bit of
 *                                      value 32g + l
 *
 *   value = (d * S) * q - (dmin * M)
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 256, BYTES = 176, GROUPS = 8, GROUP = 32, DMIN = 2, SCALES = 4, QH = 16, QS = 48 };

static const struct uqff_qkx plain_search = {31, -0.5f, 0.1f, 15, false};
static const struct uqff_qkx weighted_search = {31, -0.9f, 0.05f, 36, false};

static void pack_high_bits(unsigned char *y, const uint8_t *codes) {
    for (int l = 0; l < GROUP; l++) {
        unsigned byte = 0;
        for (int g = 0; g < GROUPS; g++) {
            byte |= (codes[GROUP * g + l] >> 4 & 1u) << g;
        }
        y[l] = (unsigned char)byte;
    }
}

static void encode(const float *x, const float *importance, unsigned char *y) {
    uint8_t codes[LENGTH], s[GROUPS], m[GROUPS];
    const struct uqff_qkx *how = importance ? &weighted_search : &plain_search;
    struct uqff_scale_pair pair = uqff_search_scales_6(how, x, importance, codes, s, m);

    store_f16(y, pair.d);
    store_f16(y + DMIN, pair.dmin);
    float d = load_f16(y);
    float dmin = load_f16(y + DMIN);
    for (int g = 0; g < GROUPS; g++) {
        uqff_requantize_minimum(GROUP, x + GROUP * g, d * (float)s[g], dmin * (float)m[g], 31,
                                codes + GROUP * g);
    }
    pack_scales_6(y + SCALES, s, m);
    pack_high_bits(y + QH, codes);
    for (int k = 0; k < 4; k++) {
        pack_nibbles(y + QS + 32 * k, codes + 64 * k, 32);
    }
}

void uqff_ref_quantize_q5_k(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, importance ? importance + i : NULL, y);
    }
}

void uqff_ref_dequantize_q5_k(const unsigned char *x, float *y, size_t n) {
    uint8_t s[GROUPS], m[GROUPS];
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES) {
        float d = load_f16(x);
        float dmin = load_f16(x + DMIN);
        unpack_scales_6(x + SCALES, s, m);
        const unsigned char *qh = x + QH;
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            float dl = d * (float)s[g];
            float ml = dmin * (float)m[g];
            const unsigned char *qs = x + QS + 32 * (g / 2);
            int shift = g % 2 * 4;
            for (int l = 0; l < GROUP; l++) {
                int q = (qs[l] >> shift & 0x0f) | (qh[l] >> g & 1) << 4;
                y[l] = dl * (float)q - ml;
            }
        }
    }
}
