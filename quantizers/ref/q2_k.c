/*
 * Q2_K: 256 values in 84 bytes, 2.625 bits a value. 16 groups of 16, each with a scale S and a
 * minimum M of four bits.
 *
 *   byte   0                16                              80    82    84
 *          +----------------+-------------------------------+-----+-----+
 *          |  scales[16]    |  qs[64]                       |  d  | dmin|
 *          +----------------+-------------------------------+-----+-----+
 *           byte g: S low     two 2-bit planes (pack.h),     f16   f16
 *           nibble, M high    one for each 128 values
 *
 *   value = (d * S) * q - (dmin * M)
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 256, BYTES = 84, GROUPS = 16, GROUP = 16, QS = 16, D = 80, DMIN = 82 };

static const struct uqff_qkx plain_search = {3, -0.5f, 0.1f, 15, true};
static const struct uqff_qkx weighted_search = {3, -0.9f, 0.05f, 36, false};

static void encode(const float *x, const float *importance, unsigned char *y) {
    uint8_t codes[LENGTH], s[GROUPS], m[GROUPS];
    float scales[GROUPS], minima[GROUPS], sum_w[GROUPS], w[GROUP];
    float d, dmin;

    float sigma2 = importance ? sum_of_squares(LENGTH, x) / (float)LENGTH : 0.0f;
    for (int g = 0; g < GROUPS; g++) {
        const float *xg = x + GROUP * g;
        if (importance) {
            uqff_weigh(GROUP, xg, importance + GROUP * g, sigma2, w);
        } else {
            for (int i = 0; i < GROUP; i++) {
                w[i] = fabsf(xg[i]);
            }
        }
        sum_w[g] = sum(GROUP, w);
        scales[g] = uqff_search_qkx(importance ? &weighted_search : &plain_search, GROUP, xg, w,
                                    codes + GROUP * g, &minima[g]);
    }
    if (importance) {
        d = uqff_search_qp(GROUPS, 15, scales, sum_w, s);
        dmin = uqff_search_qp(GROUPS, 15, minima, sum_w, m);
    } else {
        d = uqff_round_scales(GROUPS, 15, scales, s);
        dmin = uqff_round_scales(GROUPS, 15, minima, m);
    }
    store_f16(y + D, d);
    store_f16(y + DMIN, dmin);
    d = load_f16(y + D);
    dmin = load_f16(y + DMIN);
    for (int g = 0; g < GROUPS; g++) {
        y[g] = (unsigned char)(s[g] | m[g] << 4);
        uqff_requantize_minimum(GROUP, x + GROUP * g, d * (float)s[g], dmin * (float)m[g], 3,
                                codes + GROUP * g);
    }
    pack_pairs(y + QS, codes, 0);
    pack_pairs(y + QS + 32, codes + 128, 0);
}

void uqff_ref_quantize_q2_k(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, importance ? importance + i : NULL, y);
    }
}

void uqff_ref_dequantize_q2_k(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES) {
        float d = load_f16(x + D);
        float dmin = load_f16(x + DMIN);
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            float dl = d * (float)(x[g] & 0x0f);
            float ml = dmin * (float)(x[g] >> 4);
            /* Eight groups a plane, two groups a bit pair. */
            const unsigned char *qs = x + QS + 32 * (g / 8) + GROUP * (g % 2);
            int shift = g % 8 / 2 * 2;
            for (int l = 0; l < GROUP; l++) {
                y[l] = dl * (float)(qs[l] >> shift & 3) - ml;
            }
        }
    }
}

void uqff_ref_scales_q2_k(const unsigned char *block, struct uqff_block_scales *out) {
    float d = load_f16(block + D);
    out->count = GROUPS;
    out->finite = is_finite(d) && is_finite(load_f16(block + DMIN));
    for (int g = 0; g < GROUPS; g++) {
        out->scale[g] = d * (float)(block[g] & 0x0f);
    }
}
