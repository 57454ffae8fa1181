/*
 * Products of rows in blocks of 32, eight blocks at a time: one for each lane.
 */
#if defined(__x86_64__)

#include "x86/sums.h"

#include "lanes/codes.h"
#include "lanes/dot.h"

/* ---- integers ------------------------------------------------------------------------------- */

/* Eight sums of four products each. */
LANE __m256i block_sums(uint32_t type, const unsigned char *w, const unsigned char *x) {
    __m256i q = codes_32(type, w);
    __m256i v = _mm256_loadu_si256((const __m256i *)x);
    if (has_signed_codes(type)) {
        /* |q| times x with the sign of q: two such products are below 2 * 128 * 127, a word. */
        return word_pairs(pair_sums(_mm256_abs_epi8(q), _mm256_sign_epi8(v, q)));
    }
    __m256i sums = pair_sums(q, v);
    if (offset_of(type)) {
        __m256i offset = _mm256_set1_epi8((char)offset_of(type));
        sums = _mm256_sub_epi16(sums, pair_sums(offset, v));
    }
    return word_pairs(sums);
}

/* The sums of neighbours in a and in b, in each half those of a first. Where they fit into words,
 * packing is faster than the instruction for this. */
LANE __m256i neighbours(__m256i a, __m256i b, bool words) {
    return words ? word_pairs(_mm256_packs_epi32(a, b)) : _mm256_hadd_epi32(a, b);
}

/* The integers of eight blocks in order. */
LANE __m256i eight_sums(uint32_t type, const unsigned char *w, const unsigned char *x,
                        size_t x_bytes, size_t x_codes) {
    const size_t w_bytes = block_bytes_of(type);
    __m256i four[2];
    for (int h = 0; h < 2; h++) {
        __m256i pair[2];
        for (int k = 0; k < 2; k++) {
            __m256i a = block_sums(type, w, x + x_codes);
            __m256i b = block_sums(type, w + w_bytes, x + x_bytes + x_codes);
            /* At most eight products of 31 * 127 meet before the last step. */
            pair[k] = neighbours(a, b, !has_signed_codes(type));
            w += 2 * w_bytes;
            x += 2 * x_bytes;
        }
        four[h] = neighbours(pair[0], pair[1], !has_signed_codes(type));
    }
    return _mm256_add_epi32(_mm256_permute2x128_si256(four[0], four[1], 0x20),
                            _mm256_permute2x128_si256(four[0], four[1], 0x31));
}

/* ---- scales --------------------------------------------------------------------------------- */

/* Four bytes at the start of each of eight blocks. */
LANE __m256i eight_words(const unsigned char *p, size_t stride) {
    __m128i v[8];
    for (size_t k = 0; k < 8; k++) {
        v[k] = four_bytes(p + k * stride);
    }
    __m128i low =
        _mm_unpacklo_epi64(_mm_unpacklo_epi32(v[0], v[1]), _mm_unpacklo_epi32(v[2], v[3]));
    __m128i high =
        _mm_unpacklo_epi64(_mm_unpacklo_epi32(v[4], v[5]), _mm_unpacklo_epi32(v[6], v[7]));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* Two bytes at the start of each, as f16. */
LANE __m256 eight_f16(const unsigned char *p, size_t stride) {
    __m128i v[8];
    for (size_t k = 0; k < 8; k++) {
        v[k] = four_bytes(p + k * stride);
    }
    for (int k = 0; k < 8; k += 2) {
        v[k] = _mm_unpacklo_epi16(v[k], v[k + 1]);
    }
    __m128i low = _mm_unpacklo_epi32(v[0], v[2]);
    __m128i high = _mm_unpacklo_epi32(v[4], v[6]);
    return _mm256_cvtph_ps(_mm_unpacklo_epi64(low, high));
}

struct two_floats {
    __m256 first, second;
};

/* Two f16 at the start of each. */
LANE struct two_floats eight_f16_twice(const unsigned char *p, size_t stride) {
    __m256i words = eight_words(p, stride);
    __m256i first = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
    __m256i second = _mm256_srli_epi32(words, 16);
    __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(first, second), 0xd8);
    return (struct two_floats){_mm256_cvtph_ps(_mm256_castsi256_si128(both)),
                               _mm256_cvtph_ps(_mm256_extracti128_si256(both, 1))};
}

/* mxfp4_half_scale of the first byte of each. */
LANE __m256 eight_half_scales(const unsigned char *p, size_t stride) {
    __m256i e = _mm256_and_si256(eight_words(p, stride), _mm256_set1_epi32(0xff));
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, small));
}

/* ---- rows ----------------------------------------------------------------------------------- */

LANE __m256 eight_blocks(uint32_t type, const unsigned char *w, const unsigned char *x,
                         __m256 sum) {
    const size_t w_bytes = block_bytes_of(type);
    if (has_minimum(type)) { /* against Q8_1 */
        __m256 sums = _mm256_cvtepi32_ps(eight_sums(type, w, x, 36, 4));
        struct two_floats of_w = eight_f16_twice(w, w_bytes);
        struct two_floats of_x = eight_f16_twice(x, 36);
        sum = _mm256_fmadd_ps(_mm256_mul_ps(of_w.first, of_x.first), sums, sum);
        return _mm256_fmadd_ps(of_w.second, of_x.second, sum);
    }
    __m256 sums = _mm256_cvtepi32_ps(eight_sums(type, w, x, 34, 2));
    __m256 dw = type == UQFF_TYPE_MXFP4 ? eight_half_scales(w, w_bytes) : eight_f16(w, w_bytes);
    return _mm256_fmadd_ps(_mm256_mul_ps(dw, eight_f16(x, 34)), sums, sum);
}

LANE float dot_32(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    const size_t w_bytes = block_bytes_of(type);
    const size_t x_bytes = has_minimum(type) ? 36 : 34;
    size_t blocks = n / 32;
    __m256 sum = _mm256_setzero_ps();
    for (; blocks >= 8; blocks -= 8, w += 8 * w_bytes, x += 8 * x_bytes) {
        sum = eight_blocks(type, w, x, sum);
    }
    if (blocks > 0) {
        /* The others work on zeros, and what they make of their lanes is not taken over. */
        unsigned char last_w[8 * 36] = {0}, last_x[8 * 36] = {0};
        memcpy(last_w, w, blocks * w_bytes);
        memcpy(last_x, x, blocks * x_bytes);
        __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        __m256i live = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)blocks), lane);
        sum = _mm256_blendv_ps(sum, eight_blocks(type, last_w, last_x, sum),
                               _mm256_castsi256_ps(live));
    }
    return fold_8(sum);
}

#define DOT(name, TYPE)                                                                            \
    SIMD float LEVEL(dot_##name)(const unsigned char *w, const unsigned char *x, size_t n) {       \
        return dot_32(UQFF_TYPE_##TYPE, w, x, n);                                                  \
    }

DOT(q4_0, Q4_0)
DOT(q4_1, Q4_1)
DOT(q5_0, Q5_0)
DOT(q5_1, Q5_1)
DOT(q8_0, Q8_0)
DOT(q8_1, Q8_1)
DOT(iq4_nl, IQ4_NL)
DOT(mxfp4, MXFP4)

#endif
