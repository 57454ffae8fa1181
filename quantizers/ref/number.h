/*
 * Numbers: the bits of a float, f16 and bf16, and the conversions from float to integer that the
 * quantizers use. Private to quantizers/.
 *
 * Nothing here depends on libm, and unless it says otherwise a function is defined for every input,
 * NaN and infinities included: finite weights can lead to both on the way (a sum of squares
 * overflows, an inverse overflows), and C leaves a conversion to int undefined there. Arithmetic is
 * that of IEEE 754, C's Annex F: dividing by zero gives infinity.
 */
#ifndef UQFF_REF_NUMBER_H
#define UQFF_REF_NUMBER_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "uqff/base.h"

/* Every operation rounds to binary32 at once. x87 registers would not. */
#if FLT_EVAL_METHOD != 0
#error "the bytes are defined by binary32 arithmetic without excess precision"
#endif

static inline uint32_t float_bits(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline float bits_float(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* ---- binary16 and bfloat16 ---------------------------------------------------------------------
 */

/*
 *            sign   exponent (bias)   fraction
 *   f32       31     30..23 (127)      22..0
 *   f16       15     14..10 (15)        9..0     13 fraction bits fewer, bias 112 less
 *   bf16      15     14..7  (127)       6..0     the upper half of f32
 */

/* Nearest f16, ties to even. What is too large becomes infinity, what is too small zero, both with
 * their sign. Any NaN becomes 7E00: the sign of a NaN that arithmetic made differs between x86 and
 * ARM, and must not reach a file. */
static inline uint16_t f16_from_float(float v) {
    uint32_t sign = float_bits(v) >> 16 & 0x8000;
    uint32_t magnitude = float_bits(v) & 0x7fffffff;

    /* 2^-14 and more: lower the bias and round at bit 13. A carry runs into the exponent, as it
     * should, and from the largest exponent into infinity. */
    uint32_t normal = magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23);
    uint32_t half = normal >> 13;

    /* Below 2^-14: the unit of a subnormal f16 is 2^-24, and so is the last bit of a float in
     * [0.5, 1). Adding 0.5 thus makes the hardware round where we need it. */
    uint32_t subnormal = float_bits(bits_float(magnitude) + 0.5f) - float_bits(0.5f);

    half = magnitude < 0x38800000 ? subnormal : half; /* 2^-14 */
    half = magnitude < 0x47800000 ? half : 0x7c00;    /* 2^16 */
    return (uint16_t)(magnitude > 0x7f800000 ? 0x7e00 : sign | half);
}

static inline float f16_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;

    uint32_t normal = magnitude + (112u << 23);
    uint32_t special = magnitude | 0x7f800000; /* infinity, or a NaN with its payload */
    /* A subnormal is fraction * 2^-24: put the fraction below a leading 2^-14 and take that away.
     */
    uint32_t subnormal = float_bits(bits_float(magnitude + (113u << 23)) - 0x1p-14f);

    uint32_t bits = magnitude < 0x00800000 ? subnormal : normal;
    bits = magnitude < 0x0f800000 ? bits : special;
    return bits_float(sign | bits);
}

/* Nearest bf16, ties to even; a NaN stays one (its quiet bit is set, so that cutting the payload
 * cannot turn it into infinity). */
static inline uint16_t bf16_from_float(float v) {
    uint32_t bits = float_bits(v);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    uint32_t quiet = bits >> 16 | 0x40;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

static inline float bf16_to_float(uint16_t half) {
    return bits_float((uint32_t)half << 16);
}

static inline float load_f16(const unsigned char *p) {
    return f16_to_float(uqff_load_le16(p));
}

static inline void store_f16(unsigned char *p, float v) {
    uqff_store_le16(p, f16_from_float(v));
}

static inline bool is_finite(float v) {
    return (float_bits(v) & 0x7f800000) != 0x7f800000;
}

/* ---- float to integer ---------------------------------------------------------------------------
 */

/* v within lo..hi; NaN gives lo. The comparisons are those of x86's max and min. */
static inline float limited(float v, float lo, float hi) {
    v = v > lo ? v : lo;
    return v < hi ? v : hi;
}

/* The integer nearest to v, ties to even, within lo..hi, as a float; NaN gives lo. lo and hi are
 * integers within ±2^22.
 *
 * In [2^23, 2^24) floats are the integers, so adding 1.5 * 2^23 rounds as the hardware does. That
 * holds for |v| <= 2^22 only, hence the limits come first; since rounding is monotone and leaves
 * integers alone, limiting before and after it are the same. */
static inline float nearest(float v, float lo, float hi) {
    return (limited(v, lo, hi) + 0x1.8p23f) - 0x1.8p23f;
}

static inline int nearest_int(float v, int lo, int hi) {
    float shifted = limited(v, (float)lo, (float)hi) + 0x1.8p23f;
    return (int)float_bits(shifted) - (int)0x4b400000; /* the bits of 1.5 * 2^23 */
}

/* v, |v| < 2^22, rounded half away from zero. The addend is the float below one half: with 0.5
 * itself, 0.49999997 + 0.5 would round up to 1. */
static inline int rounded_int(float v) {
    return (int)(v + copysignf(0x1.fffffep-2f, v));
}

/* v cut towards zero, within lo..hi; NaN gives lo. */
static inline int truncated_int(float v, int lo, int hi) {
    return (int)limited(v, (float)lo, (float)hi);
}

/* 1/v, or 0 where that has no finite value: v is 0, or so small that its inverse overflows. */
static inline float inverse(float v) {
    float r = 1.0f / v;
    return is_finite(r) ? r : 0.0f;
}

/* ---- extremes of a group --------------------------------------------------------------------- */

/* The largest magnitude, compared by its bits: without a sign these order like the numbers, and
 * unlike them without exceptions. NaN comes out above infinity, so that what became of a group
 * whose sums overflowed reaches the stored scale, where it is seen. */
static inline float magnitude_maximum(int n, const float *x) {
    int32_t largest = 0;
    for (int i = 0; i < n; i++) {
        int32_t bits = (int32_t)(float_bits(x[i]) & 0x7fffffff);
        largest = bits > largest ? bits : largest;
    }
    return bits_float((uint32_t)largest);
}

/* The element of largest magnitude with its sign, the first one on ties; +0 when all are zero. */
static inline float signed_maximum(int n, const float *x) {
    uint32_t largest = float_bits(magnitude_maximum(n, x));
    if (largest == 0) {
        return 0.0f;
    }
    int i = 0;
    while ((float_bits(x[i]) & 0x7fffffff) != largest) {
        i++;
    }
    return x[i];
}

/* The largest element, at least 0. */
static inline float positive_maximum(int n, const float *x) {
    float largest = 0.0f;
    for (int i = 0; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    return largest;
}

struct range {
    float min, max;
};

static inline struct range range_of(int n, const float *x) {
    struct range range = {x[0], x[0]};
    for (int i = 1; i < n; i++) {
        range.min = x[i] < range.min ? x[i] : range.min;
        range.max = x[i] > range.max ? x[i] : range.max;
    }
    return range;
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* All run in index order, each over its own loop: a compiler that runs two sums of one loop in the
 * lanes of a vector computes on garbage in the others, and is slow where that is subnormal. */

static inline float sum(int n, const float *x) {
    float total = 0.0f;
    for (int i = 0; i < n; i++) {
        total += x[i];
    }
    return total;
}

static inline float sum_of_squares(size_t n, const float *x) {
    float total = 0.0f;
    for (size_t i = 0; i < n; i++) {
        total += x[i] * x[i];
    }
    return total;
}

/* Σ w·a */
static inline float weighted_sum(int n, const float *w, const float *a) {
    float total = 0.0f;
    for (int i = 0; i < n; i++) {
        total += w[i] * a[i];
    }
    return total;
}

/* Σ (w·a)·b */
static inline float weighted_product(int n, const float *w, const float *a, const float *b) {
    float total = 0.0f;
    for (int i = 0; i < n; i++) {
        total += w[i] * a[i] * b[i];
    }
    return total;
}

#endif
