/*
 * TQ1_0: 256 values of -1, 0 or 1 times a scale in 54 bytes, 1.6875 bits a value.
 *
 *   byte   0                               48      52    54
 *          +-------------------------------+-------+-----+
 *          |  qs[48]                       | qh[4] |  d  |
 *          +-------------------------------+-------+-----+
 *           five trits a byte                       f16
 *
 *   value = (t - 1) * d
 *
 *   bytes          trit n = 0 .. 4 of byte k is that of value
 *   qs[0..31]      k + 32n
 *   qs[32..47]     160 + (k - 32) + 16n
 *   qh[0..3]       240 + k + 4n for n < 4, and 0 for n = 4
 *
 * Five trits make a number q below 243 = 3^5, the first one most significant. The byte is q * 256 /
 * 243, rounded up: a fraction of 256, so that multiplying by 3 moves the first trit above the byte.
 */
#include "number.h"
#include "ref.h"

enum { LENGTH = 256, BYTES = 54, D = 52 };

/* Byte ranges of the table above: `bytes` bytes, whose trits stand that many values apart. */
static const struct {
    int first_byte, bytes, first_value, trits;
} part[3] = {{0, 32, 0, 5}, {32, 16, 160, 5}, {48, 4, 240, 4}};

static void encode(const float *x, unsigned char *y) {
    float d = magnitude_maximum(LENGTH, x);
    float id = inverse(d);
    for (int p = 0; p < 3; p++) {
        for (int k = 0; k < part[p].bytes; k++) {
            int q = 0;
            for (int n = 0; n < 5; n++) {
                int value = part[p].first_value + k + part[p].bytes * n;
                int trit = n < part[p].trits ? rounded_int(x[value] * id) + 1 : 0;
                q = 3 * q + trit;
            }
            y[part[p].first_byte + k] = (unsigned char)((q * 256 + 242) / 243);
        }
    }
    store_f16(y + D, d);
}

void uqff_ref_quantize_tq1_0(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i += LENGTH, y += BYTES) {
        encode(x + i, y);
    }
}

void uqff_ref_dequantize_tq1_0(const unsigned char *x, float *y, size_t n) {
    static const unsigned power[5] = {1, 3, 9, 27, 81};
    for (size_t i = 0; i < n; i += LENGTH, x += BYTES) {
        float d = load_f16(x + D);
        for (int p = 0; p < 3; p++) {
            const unsigned char *bytes = x + part[p].first_byte;
            for (int k = 0; k < part[p].trits; k++) {
                for (int m = 0; m < part[p].bytes; m++) {
                    unsigned rest = bytes[m] * power[k] & 0xff; /* earlier trits cut off above */
                    int trit = (int)(rest * 3 >> 8);
                    *y++ = (float)(trit - 1) * d;
                }
            }
        }
    }
}

void uqff_ref_scales_tq1_0(const unsigned char *block, struct uqff_block_scales *out) {
    uqff_ref_scales_d(block + D, out);
}
