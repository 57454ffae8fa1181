/*
 * Q8_1: Q8_0 with the sum of the block, for products with types that have a minimum.
 * 32 values in 36 bytes, 9 bits a value.
 *
 *   byte   0     2     4                          36
 *          +-----+-----+--------------------------+
 *          |  d  |  s  |  qs[32]                  |
 *          +-----+-----+--------------------------+
 *           f16   f16    int8
 *
 *   value = q * d;   s = d * (sum of all q), from the d that is not yet rounded to f16
 */
#include "number.h"
#include "ref.h"

enum { LENGTH = 32, BYTES = 36 };

static void encode(const float *x, unsigned char *y) {
    float d = magnitude_maximum(LENGTH, x) / 127.0f;
    float id = inverse(d);
    int sum = 0;
    for (int i = 0; i < LENGTH; i++) {
        int q = rounded_int(x[i] * id);
        y[4 + i] = (unsigned char)q;
        sum += q;
    }
    store_f16(y, d);
    store_f16(y + 2, (float)sum * d);
}

void uqff_ref_quantize_q8_1(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, y);
    }
}

void uqff_ref_dequantize_q8_1(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = load_f16(x);
        for (int j = 0; j < LENGTH; j++) {
            y[j] = (float)(int8_t)x[4 + j] * d;
        }
    }
}
