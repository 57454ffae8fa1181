/*
 * Q6_K: 256 values in 210 bytes, 6.5625 bits a value. 16 groups of 16, each with a signed scale of
 * eight bits.
 *
 *   byte   0                      128             192           208   210
 *          +----------------------+---------------+-------------+-----+
 *          |  ql[128]             |  qh[64]       |  scales[16] |  d  |
 *          +----------------------+---------------+-------------+-----+
 *           low four bits           upper two bits  int8 S        f16
 *
 *   value = (d * S) * (q - 32)
 *
 * Each 128 values take 64 bytes of ql and 32 of qh; l = 0 .. 31:
 *
 *                       bits 0-3     bits 4-7
 *   ql byte l           value l      value l+64
 *   ql byte l + 32      value l+32   value l+96
 *   qh byte l           a 2-bit plane (pack.h): values l, l+32, l+64, l+96
 *
 * So the 64 bytes of ql are pack_nibbles of 128 codes with half = 64.
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 256, BYTES = 210, GROUPS = 16, GROUP = 16, QH = 128, SCALES = 192, D = 208 };

static void encode(const float *x, const float *importance, unsigned char *y) {
    uint8_t codes[LENGTH];
    float scales[GROUPS], squares[GROUP];
    for (int g = 0; g < GROUPS; g++) {
        const float *xg = x + GROUP * g;
        const float *w = importance ? importance + GROUP * g : squares;
        for (int i = 0; i < GROUP; i++) {
            squares[i] = xg[i] * xg[i];
        }
        scales[g] = uqff_search_qx(GROUP, 32, xg, w, codes + GROUP * g);
    }
    float largest = signed_maximum(GROUPS, scales);
    if (fabsf(largest) < UQFF_GROUP_EPSILON) {
        memset(y, 0, BYTES);
        return;
    }
    float iscale = -128.0f / largest;
    store_f16(y + D, 1.0f / iscale);
    float d = load_f16(y + D);
    for (int g = 0; g < GROUPS; g++) {
        int s = nearest_int(iscale * scales[g], -128, 127);
        y[SCALES + g] = (unsigned char)s;
        uqff_requantize_symmetric(GROUP, x + GROUP * g, d * (float)s, 32, codes + GROUP * g);
    }
    for (int h = 0; h < 2; h++) {
        pack_nibbles(y + 64 * h, codes + 128 * h, 64);
        pack_pairs(y + QH + 32 * h, codes + 128 * h, 4);
    }
}

void uqff_ref_quantize_q6_k(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, importance ? importance + i : NULL, y);
    }
}

void uqff_ref_dequantize_q6_k(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES) {
        float d = load_f16(x + D);
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            float dl = d * (float)(int8_t)x[SCALES + g];
            /* Eight groups each half: four in the low nibbles of 64 bytes, four in the high. */
            const unsigned char *ql = x + 64 * (g / 8) + GROUP * (g % 4);
            const unsigned char *qh = x + QH + 32 * (g / 8) + GROUP * (g % 2);
            int low_shift = g % 8 / 4 * 4;
            int high_shift = g % 8 / 2 * 2;
            for (int l = 0; l < GROUP; l++) {
                int q = (ql[l] >> low_shift & 0x0f) | (qh[l] >> high_shift & 3) << 4;
                y[l] = dl * (float)(q - 32);
            }
        }
    }
}

void uqff_ref_scales_q6_k(const unsigned char *block, struct uqff_block_scales *out) {
    float d = load_f16(block + D);
    out->count = GROUPS;
    out->finite = is_finite(d);
    for (int g = 0; g < GROUPS; g++) {
        out->scale[g] = d * (float)(int8_t)block[SCALES + g];
    }
}
