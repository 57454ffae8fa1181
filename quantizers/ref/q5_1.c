/*
 * Q5_1: 32 values in 24 bytes, 6 bits a value.
 *
 *   byte   0     2     4           8                          24
 *          +-----+-----+-----------+--------------------------+
 *          |  d  |  m  |    qh     |  qs[16]                  |
 *          +-----+-----+-----------+--------------------------+
 *           f16   f16   u32: bit j   byte j: low four bits of value j in the low nibble,
 *                       = fifth bit  of value j + 16 in the high one
 *                       of value j
 *
 *   value = q * d + m
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 32, BYTES = 24 };

static const struct uqff_qkx search = {31, -0.9f, 0.05f, 36, false};

static void store(unsigned char *y, float d, float m, const uint8_t *codes) {
    store_f16(y, d);
    store_f16(y + 2, m);
    uqff_store_le32(y + 4, pack_fifth_bits(codes));
    pack_nibbles(y + 8, codes, 16);
}

static void encode(const float *x, unsigned char *y) {
    uint8_t codes[LENGTH];
    struct range range = range_of(LENGTH, x);
    float d = (range.max - range.min) / 31.0f;
    float id = inverse(d);
    for (int i = 0; i < LENGTH; i++) {
        codes[i] = (uint8_t)truncated_int((x[i] - range.min) * id + 0.5f, 0, 31);
    }
    store(y, d, range.min, codes);
}

static void encode_weighted(const float *x, const float *importance, float sigma2,
                            unsigned char *y) {
    float w[LENGTH], minimum;
    uint8_t codes[LENGTH];
    uqff_weigh(LENGTH, x, importance, sigma2, w);
    float d = uqff_search_qkx(&search, LENGTH, x, w, codes, &minimum);
    store(y, d, -minimum, codes);
}

void uqff_ref_quantize_q5_1(const float *x, unsigned char *y, size_t n, const float *importance) {
    float sigma2 = importance ? sum_of_squares(n, x) / (float)n : 0.0f;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        if (importance) {
            encode_weighted(x + i, importance + i, sigma2, y);
        } else {
            encode(x + i, y);
        }
    }
}

void uqff_ref_dequantize_q5_1(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = load_f16(x);
        float m = load_f16(x + 2);
        uint32_t qh = uqff_load_le32(x + 4);
        const unsigned char *qs = x + 8;
        for (int j = 0; j < 16; j++) {
            int low = (qs[j] & 0x0f) | (int)(qh >> j & 1) << 4;
            int high = qs[j] >> 4 | (int)(qh >> (j + 16) & 1) << 4;
            y[j] = (float)low * d + m;
            y[j + 16] = (float)high * d + m;
        }
    }
}
