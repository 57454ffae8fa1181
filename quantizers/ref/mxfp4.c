/*
 * MXFP4: 32 values in 17 bytes, 4.25 bits a value: four-bit floats (E2M1) and a power of two.
 *
 *   byte   0    1                          17
 *          +----+--------------------------+
 *          | e  |  qs[16]                  |
 *          +----+--------------------------+
 *           u8    byte j: value j low nibble, value j + 16 high
 *
 *   value = doubled[q] * d, d = half of 2^(e - 127)
 *
 * The table holds twice the E2M1 values, to be integers, and d half of the scale in return.
 */
#include "number.h"
#include "pack.h"
#include "ref.h"

enum { LENGTH = 32, BYTES = 17 };

static const float doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* 2^(e - 128): below 2^-126 it is subnormal, so the bit stands in the fraction. */
static float half_scale(unsigned e) {
    return bits_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

/* The code of least error, the lowest on ties, hence never 8, the second zero. */
static uint8_t nearest_code(float x, float d) {
    int best = 0;
    float best_error = fabsf(doubled[0] * d - x);
    for (int q = 1; q < 16; q++) {
        float error = fabsf(doubled[q] * d - x);
        bool better = error < best_error;
        best = better ? q : best;
        best_error = better ? error : best_error;
    }
    return (uint8_t)best;
}

static void encode(const float *x, unsigned char *y) {
    /* The exponent field of the largest magnitude is floor(log2) + 127; E2M1 reaches up to 6, whose
     * exponent is 2. Magnitudes below 2^-124, zero among them, take the smallest scale. */
    unsigned exponent = float_bits(magnitude_maximum(LENGTH, x)) >> 23;
    unsigned e = exponent > 2 ? exponent - 2 : 0;
    float d = half_scale(e);
    uint8_t codes[LENGTH];
    for (int i = 0; i < LENGTH; i++) {
        codes[i] = nearest_code(x[i], d);
    }
    y[0] = (unsigned char)e;
    pack_nibbles(y + 1, codes, 16);
}

void uqff_ref_quantize_mxfp4(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, y);
    }
}

void uqff_ref_dequantize_mxfp4(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = half_scale(x[0]);
        const unsigned char *qs = x + 1;
        for (int j = 0; j < 16; j++) {
            y[j] = doubled[qs[j] & 0x0f] * d;
            y[j + 16] = doubled[qs[j] >> 4] * d;
        }
    }
}

/* The scale is 2^(e - 127). The OCP specification reserves e = 255 for NaN. */
void uqff_ref_scales_mxfp4(const unsigned char *block, struct uqff_block_scales *out) {
    out->count = 1;
    out->scale[0] = 2.0f * half_scale(block[0]);
    out->finite = block[0] != 255;
}
