/*
 * Groups of 32 values and of 32 codes in AVX2 registers: what lanes/quantize_simple.h and
 * lanes/dequantize.h are written over. arm/unpack.h has the same functions. Private to quantizers/.
 *
 *   group    32 floats, four registers
 *   vb       32 bytes, code i in byte i; unsigned or two's complement
 */
#ifndef UQFF_X86_UNPACK_H
#define UQFF_X86_UNPACK_H

#include <immintrin.h>

#include "kernels.h"
#include "ref/number.h"

/* The instructions that the level `avx2` stands for. Products and sums stay apart all the same:
 * the library is compiled without contraction. */
#define SIMD __attribute__((target("avx2,fma,f16c")))
#define LANE static inline SIMD __attribute__((always_inline))
#define LEVEL(name) uqff_avx2_##name

typedef __m256i vb;

struct group {
    __m256 v[4];
};

/* ---- bytes ----------------------------------------------------------------------------------- */

LANE vb vb_load(const unsigned char *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

LANE void vb_store(unsigned char *p, vb v) {
    _mm256_storeu_si256((__m256i *)p, v);
}

/* The same 16 bytes in both halves. */
LANE vb vb_load_twice(const unsigned char *p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)p));
}

LANE vb vb_set(int byte) {
    return _mm256_set1_epi8((char)byte);
}

/* Bytes 0..7, 8..15, 16..23 and 24..31, the first one lowest. */
LANE vb vb_words(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    return _mm256_setr_epi64x((long long)a, (long long)b, (long long)c, (long long)d);
}

/* The lower halves of both. */
LANE vb vb_join(vb a, vb b) {
    return _mm256_inserti128_si256(a, _mm256_castsi256_si128(b), 1);
}

LANE vb vb_and(vb a, vb b) {
    return _mm256_and_si256(a, b);
}

LANE vb vb_or(vb a, vb b) {
    return _mm256_or_si256(a, b);
}

LANE vb vb_add(vb a, vb b) {
    return _mm256_add_epi8(a, b);
}

LANE vb vb_sub(vb a, vb b) {
    return _mm256_sub_epi8(a, b);
}

LANE vb vb_min(vb a, vb b) {
    return _mm256_min_epu8(a, b);
}

/* Shifts within each byte; the bits that are shifted in are undefined (they are the neighbour's),
 * so mask what follows. */
LANE vb vb_right(vb v, int bits) {
    return _mm256_srli_epi16(v, bits);
}

LANE vb vb_left(vb v, int bits) {
    return _mm256_slli_epi16(v, bits);
}

/* FF where a >= b, unsigned. */
LANE vb vb_at_least(vb a, vb b) {
    return _mm256_cmpeq_epi8(_mm256_max_epu8(a, b), a);
}

/* table[v], v = 0..15. */
LANE vb vb_lookup(const int8_t table[16], vb v) {
    return _mm256_shuffle_epi8(vb_load_twice((const unsigned char *)table), v);
}

/* 16 bytes of nibbles as 32 codes: the low nibbles first, then the high ones. */
LANE vb vb_nibbles(const unsigned char *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m128i high = _mm_srli_epi16(bytes, 4);
    vb both = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes), high, 1);
    return _mm256_and_si256(both, _mm256_set1_epi8(0x0f));
}

/* And back; codes below 16. */
LANE void vb_store_nibbles(unsigned char *p, vb codes) {
    __m128i low = _mm256_castsi256_si128(codes);
    __m128i high = _mm256_extracti128_si256(codes, 1);
    _mm_storeu_si128((__m128i *)p, _mm_or_si128(low, _mm_slli_epi16(high, 4)));
}

/* FF in byte i where bit i is set: each byte gets the byte of the word that has its bit. */
LANE vb vb_from_bits(uint32_t bits) {
    const vb spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2,
                                       2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const vb bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    vb v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), spread);
    return _mm256_cmpeq_epi8(_mm256_and_si256(v, bit), bit);
}

/* Bit i is bit 4 of byte i. */
LANE uint32_t vb_fifth_bits(vb codes) {
    return (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(codes, 3));
}

/* The sum of 32 signed codes. */
LANE int vb_sum(vb codes) {
    /* Sums of absolute differences are of unsigned bytes: flip the sign bit, which adds 128. */
    vb biased = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    vb sums = _mm256_sad_epu8(biased, _mm256_setzero_si256());
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    half = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
    return _mm_cvtsi128_si32(half) - 32 * 128;
}

/* For each byte b = 0..242: b * 256 / 243, rounded up. */
LANE vb vb_trits_to_fraction(vb v) {
    /* b * 256 + 243 is b above the constant byte 243. Multiplying by floor(2^23 / 243) and cutting
     * 23 bits divides by 243 and rounds down, exactly for all sixteen-bit numbers less one. */
    const __m256i low = _mm256_set1_epi8((char)243);
    const __m256i factor = _mm256_set1_epi16((short)34521);
    __m256i a = _mm256_mulhi_epu16(_mm256_unpacklo_epi8(low, v), factor);
    __m256i b = _mm256_mulhi_epu16(_mm256_unpackhi_epi8(low, v), factor);
    return _mm256_packus_epi16(_mm256_srli_epi16(a, 7), _mm256_srli_epi16(b, 7));
}

/* ---- codes to floats ------------------------------------------------------------------------- */

/* The four groups of eight bytes, each as the lower half of a register. */
struct eights {
    __m128i v[4];
};

LANE struct eights eights_of(vb v) {
    __m128i low = _mm256_castsi256_si128(v);
    __m128i high = _mm256_extracti128_si256(v, 1);
    return (struct eights){
        {low, _mm_unpackhi_epi64(low, low), high, _mm_unpackhi_epi64(high, high)}};
}

/* y[i] = q[i] * d, signed codes; d0 for the first 16, d1 for the others. */
LANE void put_scaled(float *y, vb q, float d0, float d1) {
    struct eights e = eights_of(q);
    for (int k = 0; k < 4; k++) {
        __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(e.v[k]));
        _mm256_storeu_ps(y + 8 * k, _mm256_mul_ps(v, _mm256_set1_ps(k < 2 ? d0 : d1)));
    }
}

/* y[i] = q[i] * d + m, each product rounded before the sum. */
LANE void put_scaled_plus(float *y, vb q, float d0, float m0, float d1, float m1) {
    struct eights e = eights_of(q);
    for (int k = 0; k < 4; k++) {
        __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(e.v[k]));
        v = _mm256_mul_ps(v, _mm256_set1_ps(k < 2 ? d0 : d1));
        _mm256_storeu_ps(y + 8 * k, _mm256_add_ps(v, _mm256_set1_ps(k < 2 ? m0 : m1)));
    }
}

LANE float get_f16(const unsigned char *p) {
    return _cvtsh_ss(uqff_load_le16(p));
}

/* None is NaN. */
LANE void eight_halves(const float v[8], uint16_t half[8]) {
    _mm_storeu_si128((__m128i *)half,
                     _mm256_cvtps_ph(_mm256_loadu_ps(v), _MM_FROUND_TO_NEAREST_INT));
}

/* A 16-bit number of this machine's order, which is that of the file. */
LANE void put_half(unsigned char *p, uint16_t half) {
    memcpy(p, &half, sizeof half);
}

/* ---- groups of floats ------------------------------------------------------------------------ */

LANE struct group group_load(const float *x) {
    return (struct group){{_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8), _mm256_loadu_ps(x + 16),
                           _mm256_loadu_ps(x + 24)}};
}

/* Bit i: element i equals v, as numbers do. */
LANE uint32_t group_equal(struct group g, float v) {
    uint32_t mask = 0;
    for (int k = 0; k < 4; k++) {
        __m256 equal = _mm256_cmp_ps(g.v[k], _mm256_set1_ps(v), _CMP_EQ_OQ);
        mask |= (uint32_t)_mm256_movemask_ps(equal) << 8 * k;
    }
    return mask;
}

/* Lane g: the largest lane of v[g]. Each step compares halves of lanes and puts two vectors into
 * one. */
LANE __m256 largest_of_eight(const __m256 v[8]) {
    __m256 pair[4], four[2];
    for (int k = 0; k < 4; k++) {
        __m256 a = v[2 * k], b = v[2 * k + 1];
        pair[k] = _mm256_max_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    }
    for (int k = 0; k < 2; k++) {
        __m256 a = pair[2 * k], b = pair[2 * k + 1];
        four[k] = _mm256_max_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
    }
    return _mm256_max_ps(_mm256_permute2f128_ps(four[0], four[1], 0x20),
                         _mm256_permute2f128_ps(four[0], four[1], 0x31));
}

/* Smallest and largest elements of eight groups; which zero, if it is one, is not told. */
LANE void eight_ranges(const float *x, float min[8], float max[8]) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 high[8], low[8];
    for (int g = 0; g < 8; g++, x += 32) {
        struct group v = group_load(x);
        high[g] = _mm256_max_ps(_mm256_max_ps(v.v[0], v.v[1]), _mm256_max_ps(v.v[2], v.v[3]));
        low[g] = _mm256_min_ps(_mm256_min_ps(v.v[0], v.v[1]), _mm256_min_ps(v.v[2], v.v[3]));
        low[g] = _mm256_xor_ps(low[g], sign);
    }
    _mm256_storeu_ps(max, largest_of_eight(high));
    _mm256_storeu_ps(min, _mm256_xor_ps(largest_of_eight(low), sign));
}

/* The largest magnitudes of four vectors' lanes. */
LANE __m256 group_magnitude(struct group g) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    for (int k = 0; k < 4; k++) {
        g.v[k] = _mm256_andnot_ps(sign, g.v[k]);
    }
    return _mm256_max_ps(_mm256_max_ps(g.v[0], g.v[1]), _mm256_max_ps(g.v[2], g.v[3]));
}

/* The largest magnitudes of eight groups. */
LANE void eight_magnitudes(const float *x, float magnitude[8]) {
    __m256 v[8];
    for (int g = 0; g < 8; g++) {
        v[g] = group_magnitude(group_load(x + 32 * g));
    }
    _mm256_storeu_ps(magnitude, largest_of_eight(v));
}

/* The largest magnitude of 256 elements. */
LANE float magnitude_of_256(const float *x) {
    __m256 a = group_magnitude(group_load(x));
    for (int g = 1; g < 8; g++) {
        a = _mm256_max_ps(a, group_magnitude(group_load(x + 32 * g)));
    }
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_max_ps(half, _mm_permute_ps(half, 0x4e));
    half = _mm_max_ps(half, _mm_permute_ps(half, 0xb1));
    return _mm_cvtss_f32(half);
}

LANE struct group group_minus(struct group g, float v) {
    for (int k = 0; k < 4; k++) {
        g.v[k] = _mm256_sub_ps(g.v[k], _mm256_set1_ps(v));
    }
    return g;
}

/* 32-bit codes to bytes. The instructions work in halves of 128 bits, so the words come out as 0 4
 * 1 5 2 6 3 7. */
LANE vb in_order(vb v) {
    return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* (int)(x * scale + addend), within 0..255; NaN gives 0, for it converts to the smallest int. */
LANE vb group_truncated(struct group g, float scale, float addend) {
    __m256i q[4];
    for (int k = 0; k < 4; k++) {
        __m256 v = _mm256_mul_ps(g.v[k], _mm256_set1_ps(scale));
        q[k] = _mm256_cvttps_epi32(_mm256_add_ps(v, _mm256_set1_ps(addend)));
    }
    return in_order(
        _mm256_packus_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3])));
}

/* rounded_int(x * scale), for products within ±127.5. */
LANE vb group_rounded(struct group g, float scale) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    const __m256 half = _mm256_set1_ps(0x1.fffffep-2f);
    __m256i q[4];
    for (int k = 0; k < 4; k++) {
        __m256 v = _mm256_mul_ps(g.v[k], _mm256_set1_ps(scale));
        __m256 signed_half = _mm256_or_ps(_mm256_and_ps(v, sign), half);
        q[k] = _mm256_cvttps_epi32(_mm256_add_ps(v, signed_half));
    }
    return in_order(
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3])));
}

/* How many of the ascending thresholds the magnitude exceeds, and 8 more if the element is negative
 * and this is not 0. The thresholds are the upper halves of seven positive floats whose lower
 * halves are 0: so comparing upper halves does, once the least bit is taken from what exceeds. They
 * are those of values whose upper halves are `offset` less. */
LANE vb group_count_above(struct group g, const int16_t threshold[7], int offset) {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    const __m256i less_one = _mm256_set1_epi32(-1);
    __m256i m[4], s[4];
    for (int k = 0; k < 4; k++) {
        s[k] = _mm256_castps_si256(g.v[k]);
        m[k] = _mm256_add_epi32(_mm256_and_si256(s[k], magnitude), less_one);
        m[k] = _mm256_srai_epi32(m[k], 16);
    }
    __m256i less = _mm256_set1_epi16((short)offset);
    __m256i upper[2] = {_mm256_subs_epi16(_mm256_packs_epi32(m[0], m[1]), less),
                        _mm256_subs_epi16(_mm256_packs_epi32(m[2], m[3]), less)};
    __m256i below[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int t = 0; t < 7; t++) {
        __m256i limit = _mm256_set1_epi16(threshold[t]);
        for (int k = 0; k < 2; k++) {
            below[k] = _mm256_add_epi16(below[k], _mm256_cmpgt_epi16(limit, upper[k]));
        }
    }
    vb count = _mm256_add_epi8(_mm256_packs_epi16(below[0], below[1]), _mm256_set1_epi8(7));
    /* Saturation keeps signs, not values, but no negative number becomes 0. */
    vb signs = _mm256_packs_epi16(_mm256_packs_epi32(s[0], s[1]), _mm256_packs_epi32(s[2], s[3]));
    vb some = _mm256_cmpgt_epi8(count, _mm256_setzero_si256());
    vb eight = _mm256_and_si256(_mm256_and_si256(signs, some), _mm256_set1_epi8((char)0x80));
    return in_order(_mm256_or_si256(count, _mm256_srli_epi16(eight, 4)));
}

/* ---- 32 plain floats ------------------------------------------------------------------------- */

/* Each of these returns whether it did its work: it did not if there is a NaN. */

LANE bool group_to_f16(const float *x, unsigned char *y) {
    struct group g = group_load(x);
    __m256 unordered = _mm256_or_ps(_mm256_cmp_ps(g.v[0], g.v[1], _CMP_UNORD_Q),
                                    _mm256_cmp_ps(g.v[2], g.v[3], _CMP_UNORD_Q));
    if (_mm256_movemask_ps(unordered)) {
        return false;
    }
    for (int k = 0; k < 4; k++) {
        _mm_storeu_si128((__m128i *)(y + 16 * k),
                         _mm256_cvtps_ph(g.v[k], _MM_FROUND_TO_NEAREST_INT));
    }
    return true;
}

/* Half of the bytes of 16 floats: the upper ones, nearest, ties to even. */
LANE __m256i upper_halves(__m256 a, __m256 b) {
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i bias = _mm256_set1_epi32(0x7fff);
    __m256i u = _mm256_castps_si256(a);
    __m256i v = _mm256_castps_si256(b);
    u = _mm256_add_epi32(u, _mm256_and_si256(_mm256_srli_epi32(u, 16), one));
    v = _mm256_add_epi32(v, _mm256_and_si256(_mm256_srli_epi32(v, 16), one));
    u = _mm256_srli_epi32(_mm256_add_epi32(u, bias), 16);
    v = _mm256_srli_epi32(_mm256_add_epi32(v, bias), 16);
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(u, v), 0xd8);
}

LANE bool group_to_bf16(const float *x, unsigned char *y) {
    struct group g = group_load(x);
    __m256 unordered = _mm256_or_ps(_mm256_cmp_ps(g.v[0], g.v[1], _CMP_UNORD_Q),
                                    _mm256_cmp_ps(g.v[2], g.v[3], _CMP_UNORD_Q));
    if (_mm256_movemask_ps(unordered)) {
        return false;
    }
    vb_store(y, upper_halves(g.v[0], g.v[1]));
    vb_store(y + 32, upper_halves(g.v[2], g.v[3]));
    return true;
}

LANE bool group_from_f16(const unsigned char *x, float *y) {
    /* The test is one of integers: clang 14 takes comparisons of what was converted apart. */
    const __m256i infinity = _mm256_set1_epi16(0x7c00);
    const __m256i magnitude = _mm256_set1_epi16(0x7fff);
    __m256i a = _mm256_cmpgt_epi16(_mm256_and_si256(vb_load(x), magnitude), infinity);
    __m256i b = _mm256_cmpgt_epi16(_mm256_and_si256(vb_load(x + 32), magnitude), infinity);
    __m256i nan = _mm256_or_si256(a, b);
    if (!_mm256_testz_si256(nan, nan)) {
        return false;
    }
    for (int k = 0; k < 4; k++) {
        __m128i half = _mm_loadu_si128((const __m128i *)(x + 16 * k));
        _mm256_storeu_ps(y + 8 * k, _mm256_cvtph_ps(half));
    }
    return true;
}

LANE void group_from_bf16(const unsigned char *x, float *y) {
    for (int k = 0; k < 4; k++) {
        __m128i half = _mm_loadu_si128((const __m128i *)(x + 16 * k));
        __m256i bits = _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
        _mm256_storeu_si256((__m256i *)(y + 8 * k), bits);
    }
}

/* Rows of at least so many floats are written past the caches: 32 MiB, more than most have. */
#define PAST_CACHES_FROM ((size_t)8 << 20)

/* Writes n floats to memory without bringing it into the caches. */
LANE void put_past_caches(float *y, const float *x, size_t n) {
    while (n > 0 && (uintptr_t)y % 32 != 0) {
        *y++ = *x++;
        n--;
    }
    for (; n >= 8; n -= 8, x += 8, y += 8) {
        _mm256_stream_ps(y, _mm256_loadu_ps(x));
    }
    while (n > 0) {
        *y++ = *x++;
        n--;
    }
}

/* Orders such writes before all that follow. */
LANE void end_past_caches(void) {
    _mm_sfence();
}

/* Whether 64 floats are all finite: v - v is +0 then, and NaN otherwise. */
LANE bool all_finite_64(const float *x) {
    __m256 a = _mm256_setzero_ps();
    __m256 b = a;
    for (int k = 0; k < 8; k += 2) {
        __m256 u = _mm256_loadu_ps(x + 8 * k);
        __m256 v = _mm256_loadu_ps(x + 8 * k + 8);
        a = _mm256_or_ps(a, _mm256_sub_ps(u, u));
        b = _mm256_or_ps(b, _mm256_sub_ps(v, v));
    }
    __m256i seen = _mm256_castps_si256(_mm256_or_ps(a, b));
    return _mm256_testz_si256(seen, seen);
}

#endif
