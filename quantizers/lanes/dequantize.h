/*
 * Decoders of the block types over an instruction set's unpack.h. The layouts are drawn in ref/,
 * one file a type. Private to quantizers/.
 *
 * All of them bring 32 codes into the bytes of a vector and hand them to put_scaled or
 * put_scaled_plus. A minimum is subtracted by adding its negative, which is the same.
 */
#ifndef UQFF_LANES_DEQUANTIZE_H
#define UQFF_LANES_DEQUANTIZE_H

#include "lanes/simple.h"
#include "ref/iq4.h"
#include "ref/ref.h"

/* ---- plain floats ---------------------------------------------------------------------------- */

/* What a number that is none becomes the reference knows; here it would be made quiet. */
SIMD static void decode_f16(const unsigned char *x, float *y, size_t n) {
    for (; n >= 32; n -= 32, x += 64, y += 32) {
        if (!group_from_f16(x, y)) {
            uqff_ref_dequantize_f16(x, y, 32);
        }
    }
    uqff_ref_dequantize_f16(x, y, n);
}

SIMD static void decode_bf16(const unsigned char *x, float *y, size_t n) {
    for (; n >= 32; n -= 32, x += 64, y += 32) {
        group_from_bf16(x, y);
    }
    uqff_ref_dequantize_bf16(x, y, n);
}

/* ---- 32 values ------------------------------------------------------------------------------- */

SIMD static void decode_q4_0(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 32, x += 18, y += 32) {
        float d = get_f16(x);
        put_scaled(y, vb_sub(vb_nibbles(x + 2), vb_set(8)), d, d);
    }
}

SIMD static void decode_q4_1(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 32, x += 20, y += 32) {
        float d = get_f16(x);
        float m = get_f16(x + 2);
        put_scaled_plus(y, vb_nibbles(x + 4), d, m, d, m);
    }
}

/* The low four bits of a code less 16 are those of the code; the upper four are all ones if the
 * fifth bit is clear, else zero. */
SIMD static void decode_q5_0(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 32, x += 22, y += 32) {
        float d = get_f16(x);
        vb clear = vb_from_bits(~uqff_load_le32(x + 2));
        put_scaled(y, vb_or(vb_nibbles(x + 6), vb_and(clear, vb_set(0xf0))), d, d);
    }
}

SIMD static void decode_q5_1(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 32, x += 24, y += 32) {
        float d = get_f16(x);
        float m = get_f16(x + 2);
        vb set = vb_from_bits(uqff_load_le32(x + 4));
        vb q = vb_or(vb_nibbles(x + 8), vb_and(set, vb_set(0x10)));
        put_scaled_plus(y, q, d, m, d, m);
    }
}

SIMD static void decode_q8_0(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 32, x += 34, y += 32) {
        float d = get_f16(x);
        put_scaled(y, vb_load(x + 2), d, d);
    }
}

SIMD static void decode_q8_1(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 32, x += 36, y += 32) {
        float d = get_f16(x);
        put_scaled(y, vb_load(x + 4), d, d);
    }
}

SIMD static void decode_iq4_nl(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 32, x += 18, y += 32) {
        float d = get_f16(x);
        put_scaled(y, vb_lookup(uqff_iq4_values, vb_nibbles(x + 2)), d, d);
    }
}

SIMD static void decode_mxfp4(const unsigned char *x, float *y, size_t n) {
    static const int8_t doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    for (; n > 0; n -= 32, x += 17, y += 32) {
        unsigned e = x[0];
        float d = bits_float(e < 2 ? 0x00200000u << e : (e - 1) << 23); /* 2^(e - 128) */
        put_scaled(y, vb_lookup(doubled, vb_nibbles(x + 1)), d, d);
    }
}

/* ---- 256 values in groups of 16 -------------------------------------------------------------- */

SIMD static void decode_q2_k(const unsigned char *x, float *y, size_t n) {
    const vb three = vb_set(3);
    for (; n > 0; n -= 256, x += 84) {
        /* Sixteen scales, then sixteen minima. */
        float s[32];
        put_scaled(s, vb_nibbles(x), get_f16(x + 80), -get_f16(x + 82));
        const float *m = s + 16;
        for (int h = 0; h < 2; h++) {
            vb plane = vb_load(x + 16 + 32 * h);
            for (int g = 8 * h; g < 8 * h + 8; g += 2, y += 32) {
                put_scaled_plus(y, vb_and(plane, three), s[g], m[g], s[g + 1], m[g + 1]);
                plane = vb_right(plane, 2);
            }
        }
    }
}

/* Four bytes of scale bits: the low nibbles of `low` below the bit pairs of `high`. */
static inline uint64_t join_scale_bits(uint32_t low, uint32_t high) {
    return (low & 0x0f0f0f0f) | (high & 0x03030303) << 4;
}

SIMD static void decode_q3_k(const unsigned char *x, float *y, size_t n) {
    const vb three = vb_set(3);
    const vb four = vb_set(4);
    for (; n > 0; n -= 256, x += 110) {
        uint32_t a = uqff_load_le32(x + 96);
        uint32_t b = uqff_load_le32(x + 100);
        uint32_t high = uqff_load_le32(x + 104);
        uint64_t s_0 = join_scale_bits(a, high) | join_scale_bits(b, high >> 2) << 32;
        uint64_t s_8 = join_scale_bits(a >> 4, high >> 4) | join_scale_bits(b >> 4, high >> 6)
                                                                << 32;
        float d = get_f16(x + 108);
        float s[32];
        put_scaled(s, vb_sub(vb_words(s_0, s_8, 0, 0), vb_set(32)), d, d);
        vb third = vb_load(x);
        for (int h = 0; h < 2; h++) {
            vb plane = vb_load(x + 32 + 32 * h);
            for (int g = 8 * h; g < 8 * h + 8; g += 2, y += 32) {
                vb bit = vb_and(vb_left(third, 2), four);
                vb q = vb_or(vb_and(plane, three), bit);
                put_scaled(y, vb_sub(q, four), s[g], s[g + 1]);
                plane = vb_right(plane, 2);
                third = vb_right(third, 1);
            }
        }
    }
}

/* 32 codes of Q6_K: low nibbles, and above them the lowest bit pair of `high`. */
LANE vb join_6(vb low, vb high) {
    vb q = vb_or(vb_and(low, vb_set(0x0f)), vb_and(vb_left(high, 4), vb_set(0x30)));
    return vb_sub(q, vb_set(32));
}

SIMD static void decode_q6_k(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 256, x += 210) {
        float d = get_f16(x + 208);
        float s[32];
        put_scaled(s, vb_load_twice(x + 192), d, d);
        for (int h = 0; h < 2; h++, y += 128) {
            const float *sh = s + 8 * h;
            vb low_a = vb_load(x + 64 * h);
            vb low_b = vb_load(x + 64 * h + 32);
            vb high = vb_load(x + 128 + 32 * h);
            put_scaled(y, join_6(low_a, high), sh[0], sh[1]);
            put_scaled(y + 32, join_6(low_b, vb_right(high, 2)), sh[2], sh[3]);
            put_scaled(y + 64, join_6(vb_right(low_a, 4), vb_right(high, 4)), sh[4], sh[5]);
            put_scaled(y + 96, join_6(vb_right(low_b, 4), vb_right(high, 6)), sh[6], sh[7]);
        }
    }
}

/* ---- 256 values in groups of 32 -------------------------------------------------------------- */

/* The scales of Q4_K and Q5_K (ref/pack.h): s[g] and m[g] of each group, with d and -dmin. */
LANE void scales_6(const unsigned char *x, float s[32]) {
    uint32_t a = uqff_load_le32(x + 4);
    uint32_t b = uqff_load_le32(x + 8);
    uint32_t c = uqff_load_le32(x + 12);
    uint64_t scales = (a & 0x3f3f3f3f) | join_scale_bits(c, a >> 6) << 32;
    uint64_t minima = (b & 0x3f3f3f3f) | join_scale_bits(c >> 4, b >> 6) << 32;
    put_scaled(s, vb_words(scales, 0, minima, 0), get_f16(x), -get_f16(x + 2));
}

SIMD static void decode_q4_k(const unsigned char *x, float *y, size_t n) {
    const vb low = vb_set(0x0f);
    for (; n > 0; n -= 256, x += 144) {
        float s[32];
        scales_6(x, s);
        const float *m = s + 16;
        for (int g = 0; g < 8; g += 2, y += 64) {
            vb q = vb_load(x + 16 + 16 * g);
            put_scaled_plus(y, vb_and(q, low), s[g], m[g], s[g], m[g]);
            q = vb_and(vb_right(q, 4), low);
            put_scaled_plus(y + 32, q, s[g + 1], m[g + 1], s[g + 1], m[g + 1]);
        }
    }
}

SIMD static void decode_q5_k(const unsigned char *x, float *y, size_t n) {
    const vb low = vb_set(0x0f);
    const vb fifth = vb_set(0x10);
    for (; n > 0; n -= 256, x += 176) {
        float s[32];
        scales_6(x, s);
        const float *m = s + 16;
        vb high = vb_load(x + 16);
        for (int g = 0; g < 8; g += 2, y += 64) {
            vb bytes = vb_load(x + 48 + 16 * g);
            vb q = vb_or(vb_and(bytes, low), vb_and(vb_left(high, 4), fifth));
            put_scaled_plus(y, q, s[g], m[g], s[g], m[g]);
            q = vb_or(vb_and(vb_right(bytes, 4), low), vb_and(vb_left(high, 3), fifth));
            put_scaled_plus(y + 32, q, s[g + 1], m[g + 1], s[g + 1], m[g + 1]);
            high = vb_right(high, 2);
        }
    }
}

/* Eight nibbles, and eight bit pairs, one to a byte. */
static inline uint64_t spread_nibbles(uint64_t v) {
    v = (v | v << 16) & 0x0000ffff0000ffff;
    v = (v | v << 8) & 0x00ff00ff00ff00ff;
    return (v | v << 4) & 0x0f0f0f0f0f0f0f0f;
}

static inline uint64_t spread_pairs(uint64_t v) {
    v = (v | v << 24) & 0x000000ff000000ff;
    v = (v | v << 12) & 0x000f000f000f000f;
    return (v | v << 6) & 0x0303030303030303;
}

SIMD static void decode_iq4_xs(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 256, x += 136) {
        float d = get_f16(x);
        uint64_t scales =
            spread_nibbles(uqff_load_le32(x + 4)) | spread_pairs(uqff_load_le16(x + 2)) << 4;
        float s[32];
        put_scaled(s, vb_sub(vb_words(scales, 0, 0, 0), vb_set(32)), d, d);
        for (int g = 0; g < 8; g++, y += 32) {
            put_scaled(y, vb_lookup(uqff_iq4_values, vb_nibbles(x + 8 + 16 * g)), s[g], s[g]);
        }
    }
}

/* ---- 256 values, one scale ------------------------------------------------------------------- */

SIMD static void decode_q8_k(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 256, x += 292) {
        float d = bits_float(uqff_load_le32(x));
        for (int g = 0; g < 8; g++, y += 32) {
            put_scaled(y, vb_load(x + 4 + 32 * g), d, d);
        }
    }
}

SIMD static void decode_tq2_0(const unsigned char *x, float *y, size_t n) {
    const vb one = vb_set(1);
    const vb three = vb_set(3);
    for (; n > 0; n -= 256, x += 66) {
        float d = get_f16(x + 64);
        for (int h = 0; h < 2; h++) {
            vb plane = vb_load(x + 32 * h);
            for (int k = 0; k < 4; k++, y += 32) {
                put_scaled(y, vb_sub(vb_and(plane, three), one), d, d);
                plane = vb_right(plane, 2);
            }
        }
    }
}

LANE vb three_times(vb v) {
    return vb_add(vb_add(v, v), v);
}

/* The same for the eight bytes of a word, every other one at a time. */
static inline uint64_t bytes_three_times(uint64_t v) {
    const uint64_t even = 0x00ff00ff00ff00ff;
    return ((v & even) * 3 & even) | ((v >> 8 & even) * 3 & even) << 8;
}

/* The first trits of 32 bytes less 1. A byte is a fraction of 256, and the trit how many thirds it
 * holds: one from 86 on, two from 171 on. */
LANE vb first_trits(vb v) {
    vb thirds = vb_add(vb_at_least(v, vb_set(86)), vb_at_least(v, vb_set(171))); /* FF is -1 */
    return vb_sub(vb_set(-1), thirds);
}

/* Multiplying a byte by 3 and dropping what leaves it brings the next trit to the front. The second
 * part is one vector a pair of trits, the last beside qh: see quantize_simple.h. */
SIMD static void decode_tq1_0(const unsigned char *x, float *y, size_t n) {
    for (; n > 0; n -= 256, x += 54, y += 96) {
        float d = get_f16(x + 52);
        vb v = vb_load(x);
        for (int k = 0; k < 5; k++, y += 32) {
            put_scaled(y, first_trits(v), d, d);
            v = three_times(v);
        }
        vb once = vb_load_twice(x + 32);
        v = vb_join(once, three_times(once));
        put_scaled(y, first_trits(v), d, d);
        v = three_times(three_times(v));
        put_scaled(y + 32, first_trits(v), d, d);
        v = three_times(three_times(v));
        uint64_t trits_01 = uqff_load_le32(x + 48);
        trits_01 |= bytes_three_times(trits_01) << 32;
        uint64_t trits_23 = bytes_three_times(bytes_three_times(trits_01));
        v = vb_join(v, vb_words(trits_01, trits_23, 0, 0));
        put_scaled(y + 64, first_trits(v), d, d);
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Rows so long that their beginning has left the caches of a core by the time that they end are
 * written past the caches. That spares reading what is overwritten, half of the traffic. The part
 * that is decoded at a time stays in the first-level cache. */
LANE void decode_row(uqff_dequantize_fn *decode, const unsigned char *x, float *y, size_t n,
                     size_t length, size_t bytes) {
    enum { PART = 1024 };
    if (n < PAST_CACHES_FROM) {
        decode(x, y, n);
        return;
    }
    float part[PART];
    while (n > 0) {
        size_t count = n < PART ? n : PART;
        decode(x, part, count);
        put_past_caches(y, part, count);
        x += count / length * bytes;
        y += count;
        n -= count;
    }
    end_past_caches();
}

#define DECODER(name, length, bytes)                                                               \
    SIMD void LEVEL(dequantize_##name)(const unsigned char *x, float *y, size_t n) {               \
        decode_row(decode_##name, x, y, n, length, bytes);                                         \
    }

DECODER(f16, 1, 2)
DECODER(bf16, 1, 2)
DECODER(q4_0, 32, 18)
DECODER(q4_1, 32, 20)
DECODER(q5_0, 32, 22)
DECODER(q5_1, 32, 24)
DECODER(q8_0, 32, 34)
DECODER(q8_1, 32, 36)
DECODER(q2_k, 256, 84)
DECODER(q3_k, 256, 110)
DECODER(q4_k, 256, 144)
DECODER(q5_k, 256, 176)
DECODER(q6_k, 256, 210)
DECODER(q8_k, 256, 292)
DECODER(iq4_nl, 32, 18)
DECODER(iq4_xs, 256, 136)
DECODER(tq1_0, 256, 54)
DECODER(tq2_0, 256, 66)
DECODER(mxfp4, 32, 17)

#undef DECODER

#endif
