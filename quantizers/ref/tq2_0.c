/*
 * TQ2_0: 256 values of -1, 0 or 1 times a scale in 66 bytes, 2.0625 bits a value.
 *
 *   byte   0                               64    66
 *          +-------------------------------+-----+
 *          |  qs[64]                       |  d  |
 *          +-------------------------------+-----+
 *           two 2-bit planes (pack.h),      f16
 *           one for each 128 values
 *
 *   value = (q - 1) * d
 */
#include "number.h"
#include "pack.h"
#include "ref.h"

enum { LENGTH = 256, BYTES = 66, D = 64 };

static void encode(const float *x, unsigned char *y) {
    uint8_t codes[LENGTH];
    float d = magnitude_maximum(LENGTH, x);
    float id = inverse(d);
    for (int i = 0; i < LENGTH; i++) {
        codes[i] = (uint8_t)(rounded_int(x[i] * id) + 1);
    }
    pack_pairs(y, codes, 0);
    pack_pairs(y + 32, codes + 128, 0);
    store_f16(y + D, d);
}

void uqff_ref_quantize_tq2_0(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, y);
    }
}

/* The code 3 is never written; it decodes to 2d, as the formula says. */
void uqff_ref_dequantize_tq2_0(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES) {
        float d = load_f16(x + D);
        for (int g = 0; g < 8; g++, y += 32) {
            const unsigned char *qs = x + 32 * (g / 4);
            int shift = g % 4 * 2;
            for (int l = 0; l < 32; l++) {
                y[l] = (float)((qs[l] >> shift & 3) - 1) * d;
            }
        }
    }
}

void uqff_ref_scales_tq2_0(const unsigned char *block, struct uqff_block_scales *out) {
    uqff_ref_scales_d(block + D, out);
}
