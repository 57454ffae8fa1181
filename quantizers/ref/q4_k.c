/*
 * Q4_K: 256 values in 144 bytes, 4.5 bits a value. 8 groups of 32, each with a scale S and a
 * minimum M of six bits.
 *
 *   byte   0     2     4             16                              144
 *          +-----+-----+-------------+-------------------------------+
 *          |  d  | dmin|  scales[12] |  qs[128]                      |
 *          +-----+-----+-------------+-------------------------------+
 *           f16   f16    S and M       four times 32 bytes, one for each 64 values: byte l has
 *                        (pack.h)      value l in the low nibble, value l + 32 in the high one
 *
 *   value = (d * S) * q - (dmin * M)
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 256, BYTES = 144, GROUPS = 8, GROUP = 32, DMIN = 2, SCALES = 4, QS = 16 };

static const struct uqff_qkx plain_search = {15, -1.0f, 0.1f, 20, false};
static const struct uqff_qkx weighted_search = {15, -0.9f, 0.05f, 36, false};

static void encode(const float *x, const float *importance, unsigned char *y) {
    uint8_t codes[LENGTH], s[GROUPS], m[GROUPS];
    const struct uqff_qkx *how = importance ? &weighted_search : &plain_search;
    struct uqff_scale_pair pair = uqff_search_scales_6(how, x, importance, codes, s, m);

    store_f16(y, pair.d);
    store_f16(y + DMIN, pair.dmin);
    float d = load_f16(y);
    float dmin = load_f16(y + DMIN);
    for (int g = 0; g < GROUPS; g++) {
        uqff_requantize_minimum(GROUP, x + GROUP * g, d * (float)s[g], dmin * (float)m[g], 15,
                                codes + GROUP * g);
    }
    pack_scales_6(y + SCALES, s, m);
    for (int k = 0; k < 4; k++) {
        pack_nibbles(y + QS + 32 * k, codes + 64 * k, 32);
    }
}

void uqff_ref_quantize_q4_k(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, importance ? importance + i : NULL, y);
    }
}

void uqff_ref_dequantize_q4_k(const unsigned char *x, float *y, size_t n) {
    uint8_t s[GROUPS], m[GROUPS];
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES) {
        float d = load_f16(x);
        float dmin = load_f16(x + DMIN);
        unpack_scales_6(x + SCALES, s, m);
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            float dl = d * (float)s[g];
            float ml = dmin * (float)m[g];
            const unsigned char *qs = x + QS + 32 * (g / 2);
            int shift = g % 2 * 4;
            for (int l = 0; l < GROUP; l++) {
                y[l] = dl * (float)(qs[l] >> shift & 0x0f) - ml;
            }
        }
    }
}

/* Serves Q5_K as well: the fields that it reads stand at the same places. */
void uqff_ref_scales_q4_k(const unsigned char *block, struct uqff_block_scales *out) {
    uint8_t s[GROUPS], m[GROUPS];
    float d = load_f16(block);
    unpack_scales_6(block + SCALES, s, m);
    out->count = GROUPS;
    out->finite = is_finite(d) && is_finite(load_f16(block + DMIN));
    for (int g = 0; g < GROUPS; g++) {
        out->scale[g] = d * (float)s[g];
    }
}
