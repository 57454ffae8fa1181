/*
 * Q8_K: 256 values in 292 bytes: activations that are multiplied with K types, never in a file.
 *
 *   byte   0          4                                  260               292
 *          +----------+----------------------------------+-----------------+
 *          |    d     |  qs[256]                         |  bsums[16]      |
 *          +----------+----------------------------------+-----------------+
 *           f32         int8                               int16: sum of each 16 codes
 *
 *   value = q * d;   d is negative when the value of largest magnitude is positive
 */
#include "number.h"
#include "ref.h"

enum { LENGTH = 256, BYTES = 292, QS = 4, BSUMS = 260 };

static void encode(const float *x, unsigned char *y) {
    float iscale = -127.0f / signed_maximum(LENGTH, x);
    if (!is_finite(iscale)) { /* zeros, or so small that no scale can be inverted */
        memset(y, 0, BYTES);
        return;
    }
    uqff_store_le32(y, float_bits(1.0f / iscale));
    for (int g = 0; g < 16; g++) {
        int sum = 0;
        for (int i = 16 * g; i < 16 * g + 16; i++) {
            int q = nearest_int(iscale * x[i], -128, 127);
            y[QS + i] = (unsigned char)q;
            sum += q;
        }
        uqff_store_le16(y + BSUMS + 2 * g, (uint16_t)sum);
    }
}

void uqff_ref_quantize_q8_k(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, y);
    }
}

void uqff_ref_dequantize_q8_k(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = bits_float(uqff_load_le32(x));
        for (int j = 0; j < LENGTH; j++) {
            y[j] = (float)(int8_t)x[QS + j] * d;
        }
    }
}

void uqff_ref_scales_q8_k(const unsigned char *block, struct uqff_block_scales *out) {
    out->count = 1;
    out->scale[0] = bits_float(uqff_load_le32(block));
    out->finite = is_finite(out->scale[0]);
}
