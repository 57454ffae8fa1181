/*
 * Groups of 32 values and of 32 codes in NEON registers: what lanes/quantize_simple.h,
 * lanes/dequantize.h and lanes/convert.h are written over. x86/unpack.h has the same functions.
 * Private to quantizers/.
 *
 *   group    32 floats, eight registers
 *   vb       32 bytes, code i in byte i; unsigned or two's complement
 */
#ifndef UQFF_ARM_UNPACK_H
#define UQFF_ARM_UNPACK_H

#include <arm_neon.h>

#include "kernels.h"
#include "ref/number.h"

#define SIMD
#define LANE static inline __attribute__((always_inline))
#define LEVEL(name) uqff_neon_##name

typedef uint8x16x2_t vb;

struct group {
    float32x4_t v[8];
};

/* ---- bytes ----------------------------------------------------------------------------------- */

LANE vb vb_load(const unsigned char *p) {
    return (vb){{vld1q_u8(p), vld1q_u8(p + 16)}};
}

LANE void vb_store(unsigned char *p, vb v) {
    vst1q_u8(p, v.val[0]);
    vst1q_u8(p + 16, v.val[1]);
}

/* The same 16 bytes in both halves. */
LANE vb vb_load_twice(const unsigned char *p) {
    uint8x16_t v = vld1q_u8(p);
    return (vb){{v, v}};
}

LANE vb vb_set(int byte) {
    uint8x16_t v = vdupq_n_u8((uint8_t)byte);
    return (vb){{v, v}};
}

LANE uint8x16_t two_words(uint64_t low, uint64_t high) {
    return vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)));
}

/* Bytes 0..7, 8..15, 16..23 and 24..31, the first one lowest. */
LANE vb vb_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    return (vb){{two_words(a, b), two_words(c, d)}};
}

/* The lower halves of both. */
LANE vb vb_join(vb a, vb b) {
    return (vb){{a.val[0], b.val[0]}};
}

LANE vb vb_and(vb a, vb b) {
    return (vb){{vandq_u8(a.val[0], b.val[0]), vandq_u8(a.val[1], b.val[1])}};
}

LANE vb vb_or(vb a, vb b) {
    return (vb){{vorrq_u8(a.val[0], b.val[0]), vorrq_u8(a.val[1], b.val[1])}};
}

LANE vb vb_add(vb a, vb b) {
    return (vb){{vaddq_u8(a.val[0], b.val[0]), vaddq_u8(a.val[1], b.val[1])}};
}

LANE vb vb_sub(vb a, vb b) {
    return (vb){{vsubq_u8(a.val[0], b.val[0]), vsubq_u8(a.val[1], b.val[1])}};
}

LANE vb vb_min(vb a, vb b) {
    return (vb){{vminq_u8(a.val[0], b.val[0]), vminq_u8(a.val[1], b.val[1])}};
}

/* Shifts within each byte; as on x86, what is shifted in is not to be relied on. */
LANE vb vb_left(vb v, int bits) {
    int8x16_t by = vdupq_n_s8((int8_t)bits);
    return (vb){{vshlq_u8(v.val[0], by), vshlq_u8(v.val[1], by)}};
}

LANE vb vb_right(vb v, int bits) {
    return vb_left(v, -bits);
}

/* FF where a >= b, unsigned. */
LANE vb vb_at_least(vb a, vb b) {
    return (vb){{vcgeq_u8(a.val[0], b.val[0]), vcgeq_u8(a.val[1], b.val[1])}};
}

/* table[v], v = 0..15. */
LANE vb vb_lookup(const int8_t table[16], vb v) {
    uint8x16_t t = vreinterpretq_u8_s8(vld1q_s8(table));
    return (vb){{vqtbl1q_u8(t, v.val[0]), vqtbl1q_u8(t, v.val[1])}};
}

/* 16 bytes of nibbles as 32 codes: the low nibbles first, then the high ones. */
LANE vb vb_nibbles(const unsigned char *p) {
    uint8x16_t bytes = vld1q_u8(p);
    return (vb){{vandq_u8(bytes, vdupq_n_u8(0x0f)), vshrq_n_u8(bytes, 4)}};
}

/* And back; codes below 16. */
LANE void vb_store_nibbles(unsigned char *p, vb codes) {
    vst1q_u8(p, vsliq_n_u8(codes.val[0], codes.val[1], 4));
}

/* FF in byte i where bit i is set. */
LANE vb vb_from_bits(uint32_t bits) {
    const uint8x16_t bit = two_words(0x8040201008040201, 0x8040201008040201);
    uint8x16_t v = vreinterpretq_u8_u32(vdupq_n_u32(bits));
    uint8x16_t low = vqtbl1q_u8(v, two_words(0, 0x0101010101010101));
    uint8x16_t high = vqtbl1q_u8(v, two_words(0x0202020202020202, 0x0303030303030303));
    return (vb){{vtstq_u8(low, bit), vtstq_u8(high, bit)}};
}

/* Bit i is bit 4 of byte i: each byte keeps the bit of its place, and eight are added. */
LANE uint32_t vb_fifth_bits(vb codes) {
    const uint8x16_t bit = two_words(0x8040201008040201, 0x8040201008040201);
    const uint8x16_t fifth = vdupq_n_u8(0x10);
    uint8x16_t low = vandq_u8(vtstq_u8(codes.val[0], fifth), bit);
    uint8x16_t high = vandq_u8(vtstq_u8(codes.val[1], fifth), bit);
    uint8x16_t sums = vpaddq_u8(low, high);
    sums = vpaddq_u8(sums, sums);
    sums = vpaddq_u8(sums, sums);
    return vgetq_lane_u32(vreinterpretq_u32_u8(sums), 0);
}

/* The sum of 32 signed codes. */
LANE int vb_sum(vb codes) {
    return vaddlvq_s8(vreinterpretq_s8_u8(codes.val[0])) +
           vaddlvq_s8(vreinterpretq_s8_u8(codes.val[1]));
}

LANE uint8x16_t trits_to_fraction(uint8x16_t v) {
    /* b * 256 + 242 divided by 243 and rounded down. Of the product with floor(2^23 / 243) and one
     * addend more, the bits from 23 on are the quotient, exactly for all sixteen-bit numbers less
     * one. */
    const uint8x16_t low = vdupq_n_u8(243);
    const uint16x4_t factor = vdup_n_u16(34521);
    uint16x8_t word[2] = {vreinterpretq_u16_u8(vzip1q_u8(low, v)),
                          vreinterpretq_u16_u8(vzip2q_u8(low, v))};
    uint8x8_t half[2];
    for (int k = 0; k < 2; k++) {
        uint16x4_t a = vshrn_n_u32(vmull_u16(vget_low_u16(word[k]), factor), 16);
        uint16x4_t b = vshrn_n_u32(vmull_u16(vget_high_u16(word[k]), factor), 16);
        half[k] = vshrn_n_u16(vcombine_u16(a, b), 7);
    }
    return vcombine_u8(half[0], half[1]);
}

/* For each byte b = 0..242: b * 256 / 243, rounded up. */
LANE vb vb_trits_to_fraction(vb v) {
    return (vb){{trits_to_fraction(v.val[0]), trits_to_fraction(v.val[1])}};
}

/* ---- codes to floats ------------------------------------------------------------------------- */

struct sixteen {
    float32x4_t v[4];
};

LANE struct sixteen sixteen_floats(uint8x16_t codes) {
    int8x16_t q = vreinterpretq_s8_u8(codes);
    int16x8_t low = vmovl_s8(vget_low_s8(q));
    int16x8_t high = vmovl_high_s8(q);
    return (struct sixteen){
        {vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
         vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
}

/* y[i] = q[i] * d, signed codes; d0 for the first 16, d1 for the others. */
LANE void put_scaled(float *y, vb q, float d0, float d1) {
    for (int h = 0; h < 2; h++) {
        struct sixteen f = sixteen_floats(q.val[h]);
        float32x4_t d = vdupq_n_f32(h ? d1 : d0);
        for (int k = 0; k < 4; k++) {
            vst1q_f32(y + 16 * h + 4 * k, vmulq_f32(f.v[k], d));
        }
    }
}

/* y[i] = q[i] * d + m, each product rounded before the sum. */
LANE void put_scaled_plus(float *y, vb q, float d0, float m0, float d1, float m1) {
    for (int h = 0; h < 2; h++) {
        struct sixteen f = sixteen_floats(q.val[h]);
        float32x4_t d = vdupq_n_f32(h ? d1 : d0);
        float32x4_t m = vdupq_n_f32(h ? m1 : m0);
        for (int k = 0; k < 4; k++) {
            vst1q_f32(y + 16 * h + 4 * k, vaddq_f32(vmulq_f32(f.v[k], d), m));
        }
    }
}

LANE float get_f16(const unsigned char *p) {
    float16x4_t v = vreinterpret_f16_u16(vdup_n_u16(uqff_load_le16(p)));
    return vgetq_lane_f32(vcvt_f32_f16(v), 0);
}

/* None is NaN. */
LANE void eight_halves(const float v[8], uint16_t half[8]) {
    vst1_u16(half, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(v))));
    vst1_u16(half + 4, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(v + 4))));
}

/* A 16-bit number of this machine's order, which is that of the file. */
LANE void put_half(unsigned char *p, uint16_t half) {
    memcpy(p, &half, sizeof half);
}

/* ---- groups of floats ------------------------------------------------------------------------ */

LANE struct group group_load(const float *x) {
    struct group g;
    for (int k = 0; k < 8; k++) {
        g.v[k] = vld1q_f32(x + 4 * k);
    }
    return g;
}

/* 32-bit masks, or numbers that fit, to bytes. */
LANE vb narrowed(const int32x4_t q[8]) {
    int8x8_t eight[4];
    for (int k = 0; k < 4; k++) {
        eight[k] = vqmovn_s16(vcombine_s16(vqmovn_s32(q[2 * k]), vqmovn_s32(q[2 * k + 1])));
    }
    return (vb){{vreinterpretq_u8_s8(vcombine_s8(eight[0], eight[1])),
                 vreinterpretq_u8_s8(vcombine_s8(eight[2], eight[3]))}};
}

/* Bit i: element i equals v, as numbers do. */
LANE uint32_t group_equal(struct group g, float v) {
    int32x4_t equal[8];
    for (int k = 0; k < 8; k++) {
        equal[k] = vreinterpretq_s32_u32(vceqq_f32(g.v[k], vdupq_n_f32(v)));
    }
    return vb_fifth_bits(narrowed(equal));
}

/* Smallest and largest elements of eight groups; which zero, if it is one, is not told. */
LANE void eight_ranges(const float *x, float min[8], float max[8]) {
    for (int i = 0; i < 8; i++, x += 32) {
        struct group g = group_load(x);
        float32x4_t low = g.v[0];
        float32x4_t high = g.v[0];
        for (int k = 1; k < 8; k++) {
            low = vminq_f32(low, g.v[k]);
            high = vmaxq_f32(high, g.v[k]);
        }
        min[i] = vminvq_f32(low);
        max[i] = vmaxvq_f32(high);
    }
}

/* The largest magnitude of n elements, a multiple of 8. */
LANE float magnitude_of(const float *x, int n) {
    float32x4_t a = vdupq_n_f32(0.0f);
    float32x4_t b = a;
    for (int i = 0; i < n; i += 8) {
        a = vmaxq_f32(a, vabsq_f32(vld1q_f32(x + i)));
        b = vmaxq_f32(b, vabsq_f32(vld1q_f32(x + i + 4)));
    }
    return vmaxvq_f32(vmaxq_f32(a, b));
}

/* The largest magnitudes of eight groups. */
LANE void eight_magnitudes(const float *x, float magnitude[8]) {
    for (int i = 0; i < 8; i++) {
        magnitude[i] = magnitude_of(x + 32 * i, 32);
    }
}

/* The largest magnitude of 256 elements. */
LANE float magnitude_of_256(const float *x) {
    return magnitude_of(x, 256);
}

LANE struct group group_minus(struct group g, float v) {
    for (int k = 0; k < 8; k++) {
        g.v[k] = vsubq_f32(g.v[k], vdupq_n_f32(v));
    }
    return g;
}

/* (int)(x * scale + addend), within 0..255; NaN gives 0, as the instruction converts it. */
LANE vb group_truncated(struct group g, float scale, float addend) {
    uint8x8_t eight[4];
    for (int k = 0; k < 4; k++) {
        float32x4_t a = vmulq_f32(g.v[2 * k], vdupq_n_f32(scale));
        float32x4_t b = vmulq_f32(g.v[2 * k + 1], vdupq_n_f32(scale));
        int16x4_t low = vqmovn_s32(vcvtq_s32_f32(vaddq_f32(a, vdupq_n_f32(addend))));
        int16x4_t high = vqmovn_s32(vcvtq_s32_f32(vaddq_f32(b, vdupq_n_f32(addend))));
        eight[k] = vqmovun_s16(vcombine_s16(low, high));
    }
    return (vb){{vcombine_u8(eight[0], eight[1]), vcombine_u8(eight[2], eight[3])}};
}

/* rounded_int(x * scale), for products within ±127.5. */
LANE vb group_rounded(struct group g, float scale) {
    const uint32x4_t sign = vdupq_n_u32(0x80000000);
    const float32x4_t half = vdupq_n_f32(0x1.fffffep-2f);
    int32x4_t q[8];
    for (int k = 0; k < 8; k++) {
        float32x4_t v = vmulq_f32(g.v[k], vdupq_n_f32(scale));
        q[k] = vcvtq_s32_f32(vaddq_f32(v, vbslq_f32(sign, v, half)));
    }
    return narrowed(q);
}

/* How many of the ascending thresholds the magnitude exceeds, and 8 more if the element is negative
 * and this is not 0. The thresholds are the upper halves of seven positive floats whose lower
 * halves are 0: so comparing upper halves does, once the least bit is taken from what exceeds. They
 * are those of values whose upper halves are `offset` less. */
LANE vb group_count_above(struct group g, const int16_t threshold[7], int offset) {
    int8x8_t eight[4];
    for (int k = 0; k < 4; k++) {
        int16x4_t half[2];
        for (int h = 0; h < 2; h++) {
            int32x4_t m = vreinterpretq_s32_f32(vabsq_f32(g.v[2 * k + h]));
            half[h] = vshrn_n_s32(vsubq_s32(m, vdupq_n_s32(1)), 16);
        }
        int16x8_t upper = vcombine_s16(half[0], half[1]);
        upper = vqsubq_s16(upper, vdupq_n_s16((int16_t)offset));
        int16x8_t count = vdupq_n_s16(0);
        for (int t = 0; t < 7; t++) {
            uint16x8_t exceeds = vcgeq_s16(upper, vdupq_n_s16(threshold[t]));
            count = vsubq_s16(count, vreinterpretq_s16_u16(exceeds));
        }
        uint16x8_t negative = vcombine_u16(vmovn_u32(vcltq_f32(g.v[2 * k], vdupq_n_f32(0.0f))),
                                           vmovn_u32(vcltq_f32(g.v[2 * k + 1], vdupq_n_f32(0.0f))));
        uint16x8_t some = vcgtq_s16(count, vdupq_n_s16(0));
        uint16x8_t sign = vandq_u16(vandq_u16(negative, some), vdupq_n_u16(8));
        eight[k] = vmovn_s16(vorrq_s16(count, vreinterpretq_s16_u16(sign)));
    }
    return (vb){{vreinterpretq_u8_s8(vcombine_s8(eight[0], eight[1])),
                 vreinterpretq_u8_s8(vcombine_s8(eight[2], eight[3]))}};
}

/* ---- 32 plain floats ------------------------------------------------------------------------- */

LANE bool group_has_nan(struct group g) {
    uint32x4_t number = vdupq_n_u32(0xffffffff);
    for (int k = 0; k < 8; k++) {
        number = vandq_u32(number, vceqq_f32(g.v[k], g.v[k]));
    }
    return vminvq_u32(number) == 0;
}

/* Each of these returns whether it did its work: it did not if there is a NaN. */

LANE bool group_to_f16(const float *x, unsigned char *y) {
    struct group g = group_load(x);
    if (group_has_nan(g)) {
        return false;
    }
    for (int k = 0; k < 4; k++) {
        float16x8_t half = vcombine_f16(vcvt_f16_f32(g.v[2 * k]), vcvt_f16_f32(g.v[2 * k + 1]));
        vst1q_u8(y + 16 * k, vreinterpretq_u8_f16(half));
    }
    return true;
}

/* The upper halves of four floats: nearest, ties to even. */
LANE uint16x4_t upper_halves(float32x4_t v) {
    uint32x4_t bits = vreinterpretq_u32_f32(v);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    return vaddhn_u32(vaddq_u32(bits, odd), vdupq_n_u32(0x7fff));
}

LANE bool group_to_bf16(const float *x, unsigned char *y) {
    struct group g = group_load(x);
    if (group_has_nan(g)) {
        return false;
    }
    for (int k = 0; k < 4; k++) {
        uint16x8_t half = vcombine_u16(upper_halves(g.v[2 * k]), upper_halves(g.v[2 * k + 1]));
        vst1q_u8(y + 16 * k, vreinterpretq_u8_u16(half));
    }
    return true;
}

LANE bool group_from_f16(const unsigned char *x, float *y) {
    struct group g;
    for (int k = 0; k < 4; k++) {
        float16x8_t half = vreinterpretq_f16_u8(vld1q_u8(x + 16 * k));
        g.v[2 * k] = vcvt_f32_f16(vget_low_f16(half));
        g.v[2 * k + 1] = vcvt_high_f32_f16(half);
    }
    if (group_has_nan(g)) {
        return false;
    }
    for (int k = 0; k < 8; k++) {
        vst1q_f32(y + 4 * k, g.v[k]);
    }
    return true;
}

LANE void group_from_bf16(const unsigned char *x, float *y) {
    for (int k = 0; k < 4; k++) {
        uint16x8_t half = vreinterpretq_u16_u8(vld1q_u8(x + 16 * k));
        uint32x4_t low = vshll_n_u16(vget_low_u16(half), 16);
        vst1q_f32(y + 8 * k, vreinterpretq_f32_u32(low));
        vst1q_f32(y + 8 * k + 4, vreinterpretq_f32_u32(vshll_high_n_u16(half, 16)));
    }
}

/* Whole lines that are written one after another these processors do not read first. */
#define PAST_CACHES_FROM SIZE_MAX

LANE void put_past_caches(float *y, const float *x, size_t n) {
    memcpy(y, x, n * sizeof *y);
}

LANE void end_past_caches(void) {
}

/* Whether 64 floats are all finite: v - v is +0 then, and NaN otherwise. */
LANE bool all_finite_64(const float *x) {
    uint32x4_t seen = vdupq_n_u32(0);
    for (int k = 0; k < 16; k++) {
        float32x4_t v = vld1q_f32(x + 4 * k);
        seen = vorrq_u32(seen, vreinterpretq_u32_f32(vsubq_f32(v, v)));
    }
    return vmaxvq_u32(seen) == 0;
}

#endif
