/*
 * Q5_0: 32 values in 22 bytes, 5.5 bits a value.
 *
 *   byte   0     2           6                          22
 *          +-----+-----------+--------------------------+
 *          |  d  |    qh     |  qs[16]                  |
 *          +-----+-----------+--------------------------+
 *           f16   u32: bit j   byte j: low four bits of value j in the low nibble,
 *                 = fifth bit  of value j + 16 in the high one
 *                 of value j
 *
 *   value = (q - 16) * d
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 32, BYTES = 22 };

static void store(unsigned char *y, float d, const uint8_t *codes) {
    store_f16(y, d);
    uqff_store_le32(y + 2, pack_fifth_bits(codes));
    pack_nibbles(y + 6, codes, 16);
}

/* As in Q4_0, the value of largest magnitude gets code 0. */
static void encode(const float *x, unsigned char *y) {
    uint8_t codes[LENGTH];
    float d = signed_maximum(LENGTH, x) / -16.0f;
    float id = inverse(d);
    for (int i = 0; i < LENGTH; i++) {
        int q = (int)(x[i] * id + 16.5f);
        codes[i] = (uint8_t)(q < 31 ? q : 31);
    }
    store(y, d, codes);
}

static void encode_weighted(const float *x, const float *importance, float sigma2,
                            unsigned char *y) {
    float w[LENGTH];
    uint8_t codes[LENGTH];
    uqff_weigh(LENGTH, x, importance, sigma2, w);
    float d = uqff_search_qx(LENGTH, 16, x, w, codes);
    store(y, d, codes);
}

void uqff_ref_quantize_q5_0(const float *x, unsigned char *y, size_t n, const float *importance) {
    float sigma2 = importance ? sum_of_squares(n, x) / (float)n : 0.0f;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        if (importance) {
            encode_weighted(x + i, importance + i, sigma2, y);
        } else {
            encode(x + i, y);
        }
    }
}

void uqff_ref_dequantize_q5_0(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = load_f16(x);
        uint32_t qh = uqff_load_le32(x + 2);
        const unsigned char *qs = x + 6;
        for (int j = 0; j < 16; j++) {
            int low = (qs[j] & 0x0f) | (int)(qh >> j & 1) << 4;
            int high = qs[j] >> 4 | (int)(qh >> (j + 16) & 1) << 4;
            y[j] = (float)(low - 16) * d;
            y[j + 16] = (float)(high - 16) * d;
        }
    }
}
