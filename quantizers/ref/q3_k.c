/*
 * Q3_K: 256 values in 110 bytes, 3.4375 bits a value. 16 groups of 16, each with a signed scale of
 * six bits.
 *
 *   byte   0                32                       96            108   110
 *          +----------------+------------------------+-------------+-----+
 *          |  hmask[32]     |  qs[64]                |  scales[12] |  d  |
 *          +----------------+------------------------+-------------+-----+
 *           bit b of byte m:  low two bits: two 2-bit  see below     f16
 *           third bit of      planes (pack.h), one
 *           value 32b + m     for each 128 values
 *
 *   value = (d * (S - 32)) * (q - 4)
 *
 * The scales S, 0 .. 63:
 *                 bits 0-3       bits 4-7
 *   byte 0..7     S[0..7] low    S[8..15] low
 *                 bits 0-1       bits 2-3       bits 4-5       bits 6-7
 *   byte 8..11    S[0..3] high   S[4..7] high   S[8..11] high  S[12..15] high
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 256, BYTES = 110, GROUPS = 16, GROUP = 16, QS = 32, SCALES = 96, D = 108 };

static void pack_scales(unsigned char *y, const uint8_t *s) {
    memset(y, 0, 12);
    for (int g = 0; g < GROUPS; g++) {
        y[g % 8] |= (unsigned char)((s[g] & 0x0f) << 4 * (g / 8));
        y[8 + g % 4] |= (unsigned char)((s[g] >> 4) << 2 * (g / 4));
    }
}

static void unpack_scales(const unsigned char *y, uint8_t *s) {
    for (int g = 0; g < GROUPS; g++) {
        int low = y[g % 8] >> 4 * (g / 8) & 0x0f;
        int high = y[8 + g % 4] >> 2 * (g / 4) & 3;
        s[g] = (uint8_t)(low | high << 4);
    }
}

static void pack_third_bits(unsigned char *y, const uint8_t *codes) {
    memset(y, 0, 32);
    for (int i = 0; i < LENGTH; i++) {
        y[i % 32] |= (unsigned char)((codes[i] >> 2) << i / 32);
    }
}

/* Finds the scales of the groups, their biased codes and d, with the codes of the values. */
static float search_plain(const float *x, uint8_t *codes, uint8_t *s) {
    float scales[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
        scales[g] = uqff_search_q3(GROUP, 4, x + GROUP * g, codes + GROUP * g);
    }
    float largest = signed_maximum(GROUPS, scales);
    if (largest == 0.0f) {
        memset(s, 0, GROUPS);
        return 0.0f;
    }
    float iscale = -32.0f / largest;
    for (int g = 0; g < GROUPS; g++) {
        s[g] = (uint8_t)(nearest_int(iscale * scales[g], -32, 31) + 32);
    }
    return 1.0f / iscale;
}

static float search_weighted(const float *x, const float *importance, uint8_t *codes, uint8_t *s) {
    float scales[GROUPS], sum_w[GROUPS], w[GROUP];
    float sigma2 = 2.0f * sum_of_squares(LENGTH, x) / (float)LENGTH;
    for (int g = 0; g < GROUPS; g++) {
        uqff_weigh(GROUP, x + GROUP * g, importance + GROUP * g, sigma2, w);
        sum_w[g] = sum(GROUP, w);
        scales[g] = uqff_search_qx(GROUP, 4, x + GROUP * g, w, codes + GROUP * g);
    }
    return uqff_search_qx(GROUPS, 32, scales, sum_w, s);
}

static void encode(const float *x, const float *importance, unsigned char *y) {
    uint8_t codes[LENGTH], s[GROUPS];
    float d = importance ? search_weighted(x, importance, codes, s) : search_plain(x, codes, s);
    store_f16(y + D, d);
    d = load_f16(y + D);
    for (int g = 0; g < GROUPS; g++) {
        float dl = d * (float)(s[g] - 32);
        uqff_requantize_symmetric(GROUP, x + GROUP * g, dl, 4, codes + GROUP * g);
    }
    pack_third_bits(y, codes);
    pack_pairs(y + QS, codes, 0);
    pack_pairs(y + QS + 32, codes + 128, 0);
    pack_scales(y + SCALES, s);
}

void uqff_ref_quantize_q3_k(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, importance ? importance + i : NULL, y);
    }
}

void uqff_ref_dequantize_q3_k(const unsigned char *x, float *y, size_t n) {
    uint8_t s[GROUPS];
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES) {
        float d = load_f16(x + D);
        unpack_scales(x + SCALES, s);
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            float dl = d * (float)(s[g] - 32);
            const unsigned char *hmask = x + GROUP * (g % 2);
            const unsigned char *qs = x + QS + 32 * (g / 8) + GROUP * (g % 2);
            int bit = g / 2;
            int shift = g % 8 / 2 * 2;
            for (int l = 0; l < GROUP; l++) {
                int q = (qs[l] >> shift & 3) | (hmask[l] >> bit & 1) << 2;
                y[l] = dl * (float)(q - 4);
            }
        }
    }
}

void uqff_ref_scales_q3_k(const unsigned char *block, struct uqff_block_scales *out) {
    uint8_t s[GROUPS];
    float d = load_f16(block + D);
    unpack_scales(block + SCALES, s);
    out->count = GROUPS;
    out->finite = is_finite(d);
    for (int g = 0; g < GROUPS; g++) {
        out->scale[g] = d * (float)(s[g] - 32);
    }
}
