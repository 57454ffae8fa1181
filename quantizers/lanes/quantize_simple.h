/*
 * Encoders of the types that need no search, over an instruction set's unpack.h. The layouts are
 * drawn in ref/, one file a type; so are the reasons why codes stay in their ranges. Private to
 * quantizers/.
 */
#ifndef UQFF_LANES_QUANTIZE_SIMPLE_H
#define UQFF_LANES_QUANTIZE_SIMPLE_H

#include "lanes/simple.h"
#include "ref/ref.h"

/* ---- 32 values: Q4_0, Q5_0 ------------------------------------------------------------------ */

/* As signed_maximum in ref/number.h. The ends of the range tell it, but where both are equally far
 * from zero: then the first of the two counts, or +0. Which end is farther is as good as random, so
 * that must not be a branch; what is compared is the bits, and one end is positive at least. */
LANE float signed_maximum_of(struct group g, const float *x) {
    struct range range = group_range(g);
    if (range.max == -range.min) {
        if (range.max == 0.0f) {
            return 0.0f;
        }
        return x[__builtin_ctz(group_equal(g, range.max) | group_equal(g, range.min))];
    }
    int32_t above = (int32_t)float_bits(range.max);
    int32_t below = (int32_t)float_bits(-range.min);
    uint32_t sign = (uint32_t)(above < below) << 31;
    return bits_float((uint32_t)(above < below ? below : above) | sign);
}

LANE vb encode_symmetric(const float *x, float nmax, float *d) {
    struct group g = group_load(x);
    *d = signed_maximum_of(g, x) / -nmax;
    vb codes = group_truncated(g, inverse(*d), nmax + 0.5f);
    return vb_min(codes, vb_set(2 * (int)nmax - 1));
}

SIMD void LEVEL(quantize_q4_0)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    if (importance) {
        uqff_ref_quantize_q4_0(x, y, n, importance);
        return;
    }
    for (; n > 0; n -= 32, x += 32, y += 18) {
        float d;
        vb codes = encode_symmetric(x, 8.0f, &d);
        put_f16(y, d);
        vb_store_nibbles(y + 2, codes);
    }
}

SIMD void LEVEL(quantize_q5_0)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    if (importance) {
        uqff_ref_quantize_q5_0(x, y, n, importance);
        return;
    }
    for (; n > 0; n -= 32, x += 32, y += 22) {
        float d;
        vb codes = encode_symmetric(x, 16.0f, &d);
        put_f16(y, d);
        uqff_store_le32(y + 2, vb_fifth_bits(codes));
        vb_store_nibbles(y + 6, vb_and(codes, vb_set(0x0f)));
    }
}

/* ---- 32 values: Q4_1, Q5_1 ------------------------------------------------------------------ */

/* As range_of in ref/number.h. Of zeros the first one counts. That is seen in the bits of a
 * smallest element only; where the largest is zero as well, all are, and the two are the same
 * element. */
LANE struct range range_in_order(struct group g, const float *x) {
    struct range range = group_range(g);
    if (range.min == 0.0f) {
        range.min = x[__builtin_ctz(group_equal(g, 0.0f))];
        range.max = range.max == 0.0f ? range.min : range.max;
    }
    return range;
}

/* Where the span overflows, d is infinite and its inverse 0; products are then 0 or NaN, and all
 * codes 0. Elsewhere the codes lie within 0..nmax: (max - min) * id exceeds nmax by rounding errors
 * only, which do not reach nmax + 0.5. */
LANE vb encode_asymmetric(const float *x, float nmax, unsigned char *y) {
    struct group g = group_load(x);
    struct range range = range_in_order(g, x);
    float d = (range.max - range.min) / nmax;
    put_f16(y, d);
    put_f16(y + 2, range.min);
    return group_truncated(group_minus(g, range.min), inverse(d), 0.5f);
}

SIMD void LEVEL(quantize_q4_1)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    if (importance) {
        uqff_ref_quantize_q4_1(x, y, n, importance);
        return;
    }
    for (; n > 0; n -= 32, x += 32, y += 20) {
        vb_store_nibbles(y + 4, encode_asymmetric(x, 15.0f, y));
    }
}

SIMD void LEVEL(quantize_q5_1)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    if (importance) {
        uqff_ref_quantize_q5_1(x, y, n, importance);
        return;
    }
    for (; n > 0; n -= 32, x += 32, y += 24) {
        vb codes = encode_asymmetric(x, 31.0f, y);
        uqff_store_le32(y + 4, vb_fifth_bits(codes));
        vb_store_nibbles(y + 8, vb_and(codes, vb_set(0x0f)));
    }
}

/* ---- 32 values: Q8_0, Q8_1, MXFP4 ----------------------------------------------------------- */

SIMD void LEVEL(quantize_q8_0)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    (void)importance;
    for (; n > 0; n -= 32, x += 32, y += 34) {
        float d = magnitude_of(x, 1) / 127.0f;
        put_f16(y, d);
        vb_store(y + 2, group_rounded(group_load(x), inverse(d)));
    }
}

SIMD void LEVEL(quantize_q8_1)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    (void)importance;
    for (; n > 0; n -= 32, x += 32, y += 36) {
        float d = magnitude_of(x, 1) / 127.0f;
        vb codes = group_rounded(group_load(x), inverse(d));
        put_f16(y, d);
        put_f16(y + 2, (float)vb_sum(codes) * d);
        vb_store(y + 4, codes);
    }
}

/*
 * The codes of E2M1 stand for 0, 1, 2, 3, 4, 6, 8 and 12 halves of the scale, with a sign, and the
 * nearest one is wanted, the lower one half-way between two. So a code is the number of half-way
 * points that the magnitude exceeds. That is what comparing errors in binary32 gives: multiples of
 * d by small integers are exact, near a half-way point so are the differences, and elsewhere
 * rounding does not swap them. A value of the other sign is never nearer than zero.
 */
SIMD void LEVEL(quantize_mxfp4)(const float *x, unsigned char *y, size_t n,
                                const float *importance) {
    static const float middle[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5.0f, 7.0f, 10.0f};
    (void)importance;
    for (; n > 0; n -= 32, x += 32, y += 17) {
        unsigned exponent = float_bits(magnitude_of(x, 1)) >> 23;
        unsigned e = exponent > 2 ? exponent - 2 : 0;
        float d = bits_float(e < 2 ? 0x00200000u << e : (e - 1) << 23); /* 2^(e - 128) */
        float threshold[7];
        for (int t = 0; t < 7; t++) {
            threshold[t] = middle[t] * d;
        }
        y[0] = (unsigned char)e;
        vb_store_nibbles(y + 1, group_count_above(group_load(x), threshold));
    }
}

/* ---- 256 values: TQ1_0, TQ2_0 --------------------------------------------------------------- */

/* Codes -1..1 of 32 values, as 0..2. */
LANE vb encode_trits(const float *x, float id) {
    return vb_add(group_rounded(group_load(x), id), vb_set(1));
}

/* 3 * q + t */
LANE vb append_trit(vb q, vb t) {
    return vb_add(vb_add(q, q), vb_add(q, t));
}

/*
 * Values 0..159 are five vectors of 32, one trit of each byte qs[0..31] apiece. Values 160..239 are
 * five halves of vectors for qs[32..47], and 240..255 are four trits of qh[0..3], four values
 * apart:
 *
 *            bytes 0..15            bytes 16..31
 *   v[5]     160..175, trit 0       176..191, trit 1
 *   v[6]     192..207, trit 2       208..223, trit 3
 *   v[7]     224..239, trit 4       240..243, 244..247, 248..251, 252..255: trits 0 to 3 of qh
 */
SIMD void LEVEL(quantize_tq1_0)(const float *x, unsigned char *y, size_t n,
                                const float *importance) {
    (void)importance;
    for (; n > 0; n -= 256, x += 256, y += 54) {
        float d = magnitude_of(x, 8);
        float id = inverse(d);
        vb q = encode_trits(x, id);
        for (int k = 1; k < 5; k++) {
            q = append_trit(q, encode_trits(x + 32 * k, id));
        }
        vb_store(y, vb_trits_to_fraction(q));

        unsigned char t[96];
        for (int k = 0; k < 3; k++) {
            vb_store(t + 32 * k, encode_trits(x + 160 + 32 * k, id));
        }
        q = vb_load_twice(t);
        for (int k = 1; k < 5; k++) {
            q = append_trit(q, vb_load_twice(t + 16 * k));
        }
        unsigned char last[32];
        vb_store(last, vb_trits_to_fraction(q));
        memcpy(y + 32, last, 16);

        /* Bytes stay below 3^5, so all four are computed in one word. */
        uint32_t qh = uqff_load_le32(t + 80);
        for (int k = 1; k < 4; k++) {
            qh = 3 * qh + uqff_load_le32(t + 80 + 4 * k);
        }
        vb_store(last, vb_trits_to_fraction(vb_words(3 * qh, 0, 0, 0)));
        memcpy(y + 48, last, 4);
        put_f16(y + 52, d);
    }
}

SIMD void LEVEL(quantize_tq2_0)(const float *x, unsigned char *y, size_t n,
                                const float *importance) {
    (void)importance;
    for (; n > 0; n -= 256, y += 66) {
        float d = magnitude_of(x, 8);
        float id = inverse(d);
        for (int h = 0; h < 2; h++, x += 128) {
            /* A 2-bit plane: codes below 4 do not leave their bytes when they are shifted. */
            vb q = encode_trits(x, id);
            q = vb_or(q, vb_left(encode_trits(x + 32, id), 2));
            q = vb_or(q, vb_left(encode_trits(x + 64, id), 4));
            q = vb_or(q, vb_left(encode_trits(x + 96, id), 6));
            vb_store(y + 32 * h, q);
        }
        put_f16(y + 64, d);
    }
}

#endif
