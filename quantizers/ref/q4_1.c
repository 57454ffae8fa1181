/*
 * Q4_1: 32 values in 20 bytes, 5 bits a value.
 *
 *   byte   0     2     4                          20
 *          +-----+-----+--------------------------+
 *          |  d  |  m  |  qs[16]                  |
 *          +-----+-----+--------------------------+
 *           f16   f16    byte j: value j low nibble, value j + 16 high
 *
 *   value = q * d + m
 */
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 32, BYTES = 20 };

static const struct uqff_qkx search = {15, -0.9f, 0.05f, 36, false};

static void encode(const float *x, unsigned char *y) {
    uint8_t codes[LENGTH];
    struct range range = range_of(LENGTH, x);
    float d = (range.max - range.min) / 15.0f;
    float id = inverse(d);
    for (int i = 0; i < LENGTH; i++) {
        codes[i] = (uint8_t)truncated_int((x[i] - range.min) * id + 0.5f, 0, 15);
    }
    store_f16(y, d);
    store_f16(y + 2, range.min);
    pack_nibbles(y + 4, codes, 16);
}

static void encode_weighted(const float *x, const float *importance, float sigma2,
                            unsigned char *y) {
    float w[LENGTH], minimum;
    uint8_t codes[LENGTH];
    uqff_weigh(LENGTH, x, importance, sigma2, w);
    store_f16(y, uqff_search_qkx(&search, LENGTH, x, w, codes, &minimum));
    store_f16(y + 2, -minimum);
    pack_nibbles(y + 4, codes, 16);
}

void uqff_ref_quantize_q4_1(const float *x, unsigned char *y, size_t n, const float *importance) {
    float sigma2 = importance ? sum_of_squares(n, x) / (float)n : 0.0f;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        if (importance) {
            encode_weighted(x + i, importance + i, sigma2, y);
        } else {
            encode(x + i, y);
        }
    }
}

void uqff_ref_dequantize_q4_1(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = load_f16(x);
        float m = load_f16(x + 2);
        const unsigned char *qs = x + 4;
        for (int j = 0; j < 16; j++) {
            y[j] = (float)(qs[j] & 0x0f) * d + m;
            y[j + 16] = (float)(qs[j] >> 4) * d + m;
        }
    }
}

/* Serves Q5_1 as well: d and m stand at the same places. */
void uqff_ref_scales_q4_1(const unsigned char *block, struct uqff_block_scales *out) {
    out->count = 1;
    out->scale[0] = load_f16(block);
    out->finite = is_finite(out->scale[0]) && is_finite(load_f16(block + 2));
}
