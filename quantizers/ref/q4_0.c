/*
 * Q4_0: 32 values in 18 bytes, 4.5 bits a value.
 *
 *   byte   0     2                          18
 *          +-----+--------------------------+
 *          |  d  |  qs[16]                  |
 *          +-----+--------------------------+
 *           f16    byte j: value j low nibble, value j + 16 high
 *
 *   value = (q - 8) * d
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 32, BYTES = 18 };

/* The value of largest magnitude gets code 0, the end that has one step more. With id finite, x *
 * id lies within ±8 but for a rounding error, so that q is at least 0. */
static void encode(const float *x, unsigned char *y) {
    uint8_t codes[LENGTH];
    float d = signed_maximum(LENGTH, x) / -8.0f;
    float id = inverse(d);
    for (int i = 0; i < LENGTH; i++) {
        int q = (int)(x[i] * id + 8.5f);
        codes[i] = (uint8_t)(q < 15 ? q : 15);
    }
    store_f16(y, d);
    pack_nibbles(y + 2, codes, 16);
}

static void encode_weighted(const float *x, const float *importance, float sigma2,
                            unsigned char *y) {
    float w[LENGTH];
    uint8_t codes[LENGTH];
    uqff_weigh(LENGTH, x, importance, sigma2, w);
    store_f16(y, uqff_search_qx(LENGTH, 8, x, w, codes));
    pack_nibbles(y + 2, codes, 16);
}

void uqff_ref_quantize_q4_0(const float *x, unsigned char *y, size_t n, const float *importance) {
    float sigma2 = importance ? sum_of_squares(n, x) / (float)n : 0.0f;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        if (importance) {
            encode_weighted(x + i, importance + i, sigma2, y);
        } else {
            encode(x + i, y);
        }
    }
}

void uqff_ref_dequantize_q4_0(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = load_f16(x);
        const unsigned char *qs = x + 2;
        for (int j = 0; j < 16; j++) {
            y[j] = (float)((qs[j] & 0x0f) - 8) * d;
            y[j + 16] = (float)((qs[j] >> 4) - 8) * d;
        }
    }
}
