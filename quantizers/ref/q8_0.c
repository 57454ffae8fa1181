/*
 * Q8_0: 32 values in 34 bytes, 8.5 bits a value.
 *
 *   byte   0     2                          34
 *          +-----+--------------------------+
 *          |  d  |  qs[32]                  |
 *          +-----+--------------------------+
 *           f16    int8
 *
 *   value = q * d
 */
#include "number.h"
#include "ref.h"

enum { LENGTH = 32, BYTES = 34 };

/* With id finite, x * id lies within ±127 but for a rounding error, and rounds to within ±127. */
static void encode(const float *x, unsigned char *y) {
    float d = magnitude_maximum(LENGTH, x) / 127.0f;
    float id = inverse(d);
    store_f16(y, d);
    for (int i = 0; i < LENGTH; i++) {
        y[2 + i] = (unsigned char)rounded_int(x[i] * id);
    }
}

void uqff_ref_quantize_q8_0(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance; /* every value gets the same step, whatever it is worth */
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, y);
    }
}

void uqff_ref_dequantize_q8_0(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = load_f16(x);
        for (int j = 0; j < LENGTH; j++) {
            y[j] = (float)(int8_t)x[2 + j] * d;
        }
    }
}
