/*
 * Encoders of the types that need no search, over an instruction set's unpack.h. The layouts are
 * drawn in ref/, one file a type; so are the reasons why codes stay in their ranges. Private to
 * quantizers/.
 */
#ifndef UQFF_LANES_QUANTIZE_SIMPLE_H
#define UQFF_LANES_QUANTIZE_SIMPLE_H

#include "lanes/search.h"
#include "lanes/simple.h"

/*
 * Blocks of 32 values are encoded by eights: what there is once a block (its scale, the scale's
 * inverse and its f16) then is a loop over eight floats, which the compiler makes one vector of.
 */
enum { BATCH = 8, GROUP = 32, BATCH_VALUES = BATCH * GROUP };

/* Brings 256 values into the cache that will be wanted two turns later: the passes over what is at
 * hand are long enough for the processor to stop fetching ahead. Beyond the row it does nothing. */
LANE void fetch_ahead(const float *x) {
    uintptr_t ahead = (uintptr_t)x + 2 * BATCH_VALUES * sizeof *x;
    for (uintptr_t line = 0; line < BATCH_VALUES * sizeof *x; line += 64) {
        __builtin_prefetch((const void *)(ahead + line));
    }
}

/* Encodes BATCH blocks. */
typedef void encode_batch_fn(const float *x, unsigned char *y);

/* A row of n values in blocks of `bytes` bytes, at most 36. What is left over after the last batch
 * is filled up with zeros, and the blocks of these are dropped. */
LANE void encode_row(encode_batch_fn *encode, const float *x, unsigned char *y, size_t n,
                     size_t bytes) {
    for (; n >= BATCH_VALUES; n -= BATCH_VALUES, x += BATCH_VALUES, y += BATCH * bytes) {
        fetch_ahead(x);
        encode(x, y);
    }
    if (n > 0) {
        float padded[BATCH_VALUES] = {0};
        unsigned char blocks[BATCH * 36];
        memcpy(padded, x, n * sizeof *x);
        encode(padded, blocks);
        memcpy(y, blocks, n / GROUP * bytes);
    }
}

/* What there is once a block. */
struct batch {
    float d[BATCH], id[BATCH], min[BATCH];
    uint16_t d_half[BATCH], other_half[BATCH];
};

/* id from d, as inverse() does, and the f16 of d. */
LANE void finish_scales(struct batch *b) {
    for (int i = 0; i < BATCH; i++) {
        b->id[i] = inverse(b->d[i]);
    }
    eight_halves(b->d, b->d_half);
}

/* ---- Q4_0, Q5_0 ------------------------------------------------------------------------------ */

/* As signed_maximum in ref/number.h. The ends of the range tell it, but where both are equally far
 * from zero: then the first of the two counts, or +0. */
LANE void signed_maxima(const float *x, float *maximum) {
    float min[BATCH], max[BATCH];
    uint32_t ties = 0;
    eight_ranges(x, min, max);
    for (int i = 0; i < BATCH; i++) {
        maximum[i] = max[i] > -min[i] ? max[i] : min[i];
        ties |= (uint32_t)(max[i] == -min[i]);
    }
    for (int i = 0; ties && i < BATCH; i++) {
        if (max[i] == -min[i]) {
            struct group g = group_load(x + GROUP * i);
            uint32_t which = group_equal(g, max[i]) | group_equal(g, min[i]);
            maximum[i] = max[i] == 0.0f ? 0.0f : x[GROUP * i + __builtin_ctz(which)];
        }
    }
}

LANE void symmetric_scales(const float *x, float nmax, struct batch *b) {
    signed_maxima(x, b->d);
    for (int i = 0; i < BATCH; i++) {
        b->d[i] /= -nmax;
    }
    finish_scales(b);
}

LANE vb symmetric_codes(const struct batch *b, int i, const float *x, float nmax) {
    vb codes = group_truncated(group_load(x + GROUP * i), b->id[i], nmax + 0.5f);
    return vb_min(codes, vb_set(2 * (int)nmax - 1));
}

SIMD static void encode_q4_0(const float *x, unsigned char *y) {
    struct batch b;
    symmetric_scales(x, 8.0f, &b);
    for (int i = 0; i < BATCH; i++, y += 18) {
        put_half(y, b.d_half[i]);
        vb_store_nibbles(y + 2, symmetric_codes(&b, i, x, 8.0f));
    }
}

SIMD static void encode_q5_0(const float *x, unsigned char *y) {
    struct batch b;
    symmetric_scales(x, 16.0f, &b);
    for (int i = 0; i < BATCH; i++, y += 22) {
        vb codes = symmetric_codes(&b, i, x, 16.0f);
        put_half(y, b.d_half[i]);
        uqff_store_le32(y + 2, vb_fifth_bits(codes));
        vb_store_nibbles(y + 6, vb_and(codes, vb_set(0x0f)));
    }
}

/* ---- Q4_1, Q5_1 ------------------------------------------------------------------------------ */

/* As range_of in ref/number.h. Of zeros the first one counts. That is seen in the bits of a
 * smallest element only; where the largest is zero as well, all are, and the two are the same
 * element. */
LANE void ranges_in_order(const float *x, float *min, float *max) {
    uint32_t zeros = 0;
    eight_ranges(x, min, max);
    for (int i = 0; i < BATCH; i++) {
        zeros |= (uint32_t)(min[i] == 0.0f);
    }
    for (int i = 0; zeros && i < BATCH; i++) {
        if (min[i] == 0.0f) {
            min[i] = x[GROUP * i + __builtin_ctz(group_equal(group_load(x + GROUP * i), 0.0f))];
            max[i] = max[i] == 0.0f ? min[i] : max[i];
        }
    }
}

LANE void asymmetric_scales(const float *x, float nmax, struct batch *b) {
    float max[BATCH];
    ranges_in_order(x, b->min, max);
    for (int i = 0; i < BATCH; i++) {
        b->d[i] = (max[i] - b->min[i]) / nmax;
    }
    finish_scales(b);
    eight_halves(b->min, b->other_half);
}

/* Where the span overflows, d is infinite and its inverse 0; products are then 0 or NaN, and all
 * codes 0. Elsewhere the codes lie within 0..nmax: (max - min) * id exceeds nmax by rounding errors
 * only, which do not reach nmax + 0.5. */
LANE vb asymmetric_codes(const struct batch *b, int i, const float *x, unsigned char *y) {
    struct group g = group_minus(group_load(x + GROUP * i), b->min[i]);
    put_half(y, b->d_half[i]);
    put_half(y + 2, b->other_half[i]);
    return group_truncated(g, b->id[i], 0.5f);
}

SIMD static void encode_q4_1(const float *x, unsigned char *y) {
    struct batch b;
    asymmetric_scales(x, 15.0f, &b);
    for (int i = 0; i < BATCH; i++, y += 20) {
        vb_store_nibbles(y + 4, asymmetric_codes(&b, i, x, y));
    }
}

SIMD static void encode_q5_1(const float *x, unsigned char *y) {
    struct batch b;
    asymmetric_scales(x, 31.0f, &b);
    for (int i = 0; i < BATCH; i++, y += 24) {
        vb codes = asymmetric_codes(&b, i, x, y);
        uqff_store_le32(y + 4, vb_fifth_bits(codes));
        vb_store_nibbles(y + 8, vb_and(codes, vb_set(0x0f)));
    }
}

/* ---- Q8_0, Q8_1 ------------------------------------------------------------------------------ */

LANE void byte_scales(const float *x, struct batch *b) {
    eight_magnitudes(x, b->d);
    for (int i = 0; i < BATCH; i++) {
        b->d[i] /= 127.0f;
    }
    finish_scales(b);
}

SIMD static void encode_q8_0(const float *x, unsigned char *y) {
    struct batch b;
    byte_scales(x, &b);
    for (int i = 0; i < BATCH; i++, y += 34) {
        put_half(y, b.d_half[i]);
        vb_store(y + 2, group_rounded(group_load(x + GROUP * i), b.id[i]));
    }
}

SIMD static void encode_q8_1(const float *x, unsigned char *y) {
    struct batch b;
    float sums[BATCH];
    byte_scales(x, &b);
    for (int i = 0; i < BATCH; i++) {
        vb codes = group_rounded(group_load(x + GROUP * i), b.id[i]);
        sums[i] = (float)vb_sum(codes) * b.d[i];
        put_half(y + 36 * i, b.d_half[i]);
        vb_store(y + 36 * i + 4, codes);
    }
    eight_halves(sums, b.other_half);
    for (int i = 0; i < BATCH; i++) {
        put_half(y + 36 * i + 2, b.other_half[i]);
    }
}

/* ---- MXFP4 ----------------------------------------------------------------------------------- */

/*
 * The codes of E2M1 stand for 0, 1, 2, 3, 4, 6, 8 and 12 halves of the scale, with a sign, and the
 * nearest one is wanted, the lower one half-way between two. So a code is the number of half-way
 * points that the magnitude exceeds. That is what comparing errors in binary32 gives: multiples of
 * half a scale by small integers are exact, near a half-way point so are the differences, and
 * elsewhere rounding does not swap them. A value of the other sign is never nearer than zero.
 *
 * The half-way points, 1/2, 3/2, 5/2, 7/2, 5, 7 and 10 halves of the scale, have three bits that
 * count at most, so the upper 16 bits of the float have them all. From e = 3 on all are normal:
 * then another scale is another exponent, which is taken off the values instead.
 */
LANE vb e2m1_codes(const float *x, unsigned e) {
    static const int16_t subnormal[3][7] = {
        {0x0010, 0x0030, 0x0050, 0x0070, 0x00a0, 0x00e0, 0x0120},
        {0x0020, 0x0060, 0x00a0, 0x00e0, 0x0120, 0x0160, 0x01a0},
        {0x0040, 0x00c0, 0x0120, 0x0160, 0x01a0, 0x01e0, 0x0220},
    };
    static const int16_t of_one[7] = {0x3f00, 0x3fc0, 0x4020, 0x4060, 0x40a0, 0x40e0, 0x4120};
    struct group g = group_load(x);
    if (e < 3) {
        return group_count_above(g, subnormal[e], 0);
    }
    return group_count_above(g, of_one, ((int)e - 128) * 0x80);
}

SIMD static void encode_mxfp4(const float *x, unsigned char *y) {
    float magnitude[BATCH];
    eight_magnitudes(x, magnitude);
    for (int i = 0; i < BATCH; i++, y += 17) {
        unsigned exponent = float_bits(magnitude[i]) >> 23;
        unsigned e = exponent > 2 ? exponent - 2 : 0;
        y[0] = (unsigned char)e;
        vb_store_nibbles(y + 1, e2m1_codes(x + GROUP * i, e));
    }
}

/* ---- rows of blocks of 32 -------------------------------------------------------------------- */

SIMD void LEVEL(quantize_q4_0)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    if (importance) {
        LEVEL(quantize_q4_0_weighted)(x, y, n, importance);
        return;
    }
    encode_row(encode_q4_0, x, y, n, 18);
}

SIMD void LEVEL(quantize_q4_1)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    if (importance) {
        LEVEL(quantize_q4_1_weighted)(x, y, n, importance);
        return;
    }
    encode_row(encode_q4_1, x, y, n, 20);
}

SIMD void LEVEL(quantize_q5_0)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    if (importance) {
        LEVEL(quantize_q5_0_weighted)(x, y, n, importance);
        return;
    }
    encode_row(encode_q5_0, x, y, n, 22);
}

SIMD void LEVEL(quantize_q5_1)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    if (importance) {
        LEVEL(quantize_q5_1_weighted)(x, y, n, importance);
        return;
    }
    encode_row(encode_q5_1, x, y, n, 24);
}

SIMD void LEVEL(quantize_q8_0)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    (void)importance;
    encode_row(encode_q8_0, x, y, n, 34);
}

SIMD void LEVEL(quantize_q8_1)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    (void)importance;
    encode_row(encode_q8_1, x, y, n, 36);
}

SIMD void LEVEL(quantize_mxfp4)(const float *x, unsigned char *y, size_t n,
                                const float *importance) {
    (void)importance;
    encode_row(encode_mxfp4, x, y, n, 17);
}

/* ---- 256 values: TQ1_0, TQ2_0 ---------------------------------------------------------------- */

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
        fetch_ahead(x);
        float d = magnitude_of_256(x);
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
        store_f16(y + 52, d);
    }
}

SIMD void LEVEL(quantize_tq2_0)(const float *x, unsigned char *y, size_t n,
                                const float *importance) {
    (void)importance;
    for (; n > 0; n -= 256, y += 66) {
        fetch_ahead(x);
        float d = magnitude_of_256(x);
        float id = inverse(d);
        for (int h = 0; h < 2; h++, x += 128) {
            /* A 2-bit plane: codes below 4 do not leave their bytes when they are shifted. */
            vb q = encode_trits(x, id);
            q = vb_or(q, vb_left(encode_trits(x + 32, id), 2));
            q = vb_or(q, vb_left(encode_trits(x + 64, id), 4));
            q = vb_or(q, vb_left(encode_trits(x + 96, id), 6));
            vb_store(y + 32 * h, q);
        }
        store_f16(y + 64, d);
    }
}

#endif
