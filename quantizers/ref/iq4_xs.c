/*
 * IQ4_XS: 256 values in 136 bytes, 4.25 bits a value, codes on an uneven grid. 8 groups of 32, each
 * with a signed scale of six bits.
 *
 *   byte   0     2           4             8                              136
 *          +-----+-----------+-------------+------------------------------+
 *          |  d  | scales_h  | scales_l[4] |  qs[128]                     |
 *          +-----+-----------+-------------+------------------------------+
 *           f16   u16: bits    byte g / 2:   16 bytes a group: byte j has value j in the low
 *                 2g, 2g+1 =   low four bits nibble, value j + 16 in the high one
 *                 upper two    of S[g], even
 *                 bits of S[g] g low nibble
 *
 *   value = (d * (S - 32)) * T[q], T the sixteen values in iq4.c
 */
#include "iq4.h"
#include "number.h"
#include "pack.h"
#include "ref.h"
#include "search.h"

enum { LENGTH = 256, BYTES = 136, GROUPS = 8, GROUP = 32, SCALES_H = 2, SCALES_L = 4, QS = 8 };

static void pack_scales(unsigned char *y, const uint8_t *s) {
    unsigned high = 0;
    for (int g = 0; g < GROUPS; g++) {
        high |= (unsigned)(s[g] >> 4) << 2 * g;
    }
    uqff_store_le16(y + SCALES_H, (uint16_t)high);
    for (int k = 0; k < GROUPS / 2; k++) {
        y[SCALES_L + k] = (unsigned char)((s[2 * k] & 0x0f) | (s[2 * k + 1] & 0x0f) << 4);
    }
}

static int unpack_scale(const unsigned char *x, int g) {
    int low = x[SCALES_L + g / 2] >> g % 2 * 4 & 0x0f;
    int high = uqff_load_le16(x + SCALES_H) >> 2 * g & 3;
    return low | high << 4;
}

static void encode(const float *x, const float *importance, unsigned char *y) {
    float w[LENGTH], scales[GROUPS];
    uint8_t codes[GROUP], s[GROUPS];
    uqff_iq4_weigh(LENGTH, x, importance, w);
    for (int g = 0; g < GROUPS; g++) {
        scales[g] = uqff_iq4_search(x + GROUP * g, w + GROUP * g);
    }
    float d = -signed_maximum(GROUPS, scales) / 32.0f;
    float id = inverse(d);
    for (int g = 0; g < GROUPS; g++) {
        int l = nearest_int(id * scales[g], -32, 31);
        s[g] = (uint8_t)(l + 32);
        uqff_iq4_codes(x + GROUP * g, d * (float)l, codes);
        pack_nibbles(y + QS + 16 * g, codes, 16);
    }
    store_f16(y, d);
    pack_scales(y, s);
}

void uqff_ref_quantize_iq4_xs(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, importance ? importance + i : NULL, y);
    }
}

void uqff_ref_dequantize_iq4_xs(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES) {
        float d = load_f16(x);
        for (int g = 0; g < GROUPS; g++, y += GROUP) {
            float dl = d * (float)(unpack_scale(x, g) - 32);
            const unsigned char *qs = x + QS + 16 * g;
            for (int j = 0; j < 16; j++) {
                y[j] = dl * (float)uqff_iq4_values[qs[j] & 0x0f];
                y[j + 16] = dl * (float)uqff_iq4_values[qs[j] >> 4];
            }
        }
    }
}

void uqff_ref_scales_iq4_xs(const unsigned char *block, struct uqff_block_scales *out) {
    float d = load_f16(block);
    out->count = GROUPS;
    out->finite = is_finite(d);
    for (int g = 0; g < GROUPS; g++) {
        out->scale[g] = d * (float)(unpack_scale(block, g) - 32);
    }
}
