/*
 * IQ4_NL: 32 values in 18 bytes, 4.5 bits a value, codes on an uneven grid.
 *
 *   byte   0     2                          18
 *          +-----+--------------------------+
 *          |  d  |  qs[16]                  |
 *          +-----+--------------------------+
 *           f16    byte j: value j low nibble, value j + 16 high
 *
 *   value = d * T[q], T the sixteen values in iq4.c
 */
#include "iq4.h"
#include "number.h"
#include "pack.h"
#include "ref.h"

enum { LENGTH = 32, BYTES = 18 };

static void encode(const float *x, const float *importance, unsigned char *y) {
    float w[LENGTH];
    uint8_t codes[LENGTH];
    uqff_iq4_weigh(LENGTH, x, importance, w);
    float d = uqff_iq4_search(x, w);
    uqff_iq4_codes(x, d, codes);
    store_f16(y, d);
    pack_nibbles(y + 2, codes, 16);
}

void uqff_ref_quantize_iq4_nl(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, importance ? importance + i : NULL, y);
    }
}

void uqff_ref_dequantize_iq4_nl(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES, y += LENGTH) {
        float d = load_f16(x);
        const unsigned char *qs = x + 2;
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)uqff_iq4_values[qs[j] & 0x0f];
            y[j + 16] = d * (float)uqff_iq4_values[qs[j] >> 4];
        }
    }
}
