/*
 * What the dot and matrix kernels of AVX2 share. Private to quantizers/.
 */
#ifndef UQFF_X86_SUMS_H
#define UQFF_X86_SUMS_H

#include "products.h"
#include "x86/unpack.h"

/* See lanes/matmul.h. */
#define CODES_UNSIGNED

/* Sums of pairs: 16 words from 32 unsigned and 32 signed bytes. */
LANE __m256i pair_sums(__m256i q, __m256i x) {
    return _mm256_maddubs_epi16(q, x);
}

/* Sums of pairs of 16 words. */
LANE __m256i word_pairs(__m256i v) {
    return _mm256_madd_epi16(v, _mm256_set1_epi16(1));
}

/* The sums of eight vectors each. */
LANE __m256i eight_totals(const __m256i v[8]) {
    /* In both halves: 0, 0, 1, 1, and so on, then 0, 1, 2, 3. */
    __m256i low = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    __m256i high = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
                            _mm256_permute2x128_si256(low, high, 0x31));
}

/* Asks for the weights that are so far ahead of p: what the processor fetches by itself comes too
 * late where rows are multiplied as fast as memory gives them. Behind the last row this asks in
 * vain, which is no fault. */
LANE void fetch_ahead(const unsigned char *p, size_t bytes) {
    const uintptr_t ahead = (uintptr_t)p + 2048;
    for (size_t k = 0; k < bytes; k += 64) {
        _mm_prefetch((const char *)(ahead + k), _MM_HINT_T0);
    }
}

/* ---- fields of eight blocks ------------------------------------------------------------------ */

/* Two bytes from each of eight places, `stride` apart, which is at least 16. Each is loaded so that
 * it comes to its place in the vector; that reaches to 2 bytes behind the last, and not before the
 * first. */
LANE __m128i eight_words(const unsigned char *p, size_t stride) {
    __m128i v = _mm_insert_epi16(_mm_setzero_si128(), (short)uqff_load_le16(p), 0);
#define PUT(k)                                                                                     \
    v = _mm_blend_epi16(v, _mm_loadu_si128((const __m128i *)(p + k * stride - 2 * k)), 1 << k)
    PUT(1);
    PUT(2);
    PUT(3);
    PUT(4);
    PUT(5);
    PUT(6);
    PUT(7);
#undef PUT
    return v;
}

LANE __m256 eight_f16(const unsigned char *p, size_t stride) {
    return _mm256_cvtph_ps(eight_words(p, stride));
}

/* Four bytes from each, as floats. */
LANE __m256 eight_f32(const unsigned char *p, size_t stride) {
    __m256 v = _mm256_castsi256_ps(_mm256_set1_epi32((int)uqff_load_le32(p)));
#define PUT(k)                                                                                     \
    v = _mm256_blend_ps(v, _mm256_loadu_ps((const float *)(const void *)(p + k * stride - 4 * k)), \
                        1 << k)
    PUT(1);
    PUT(2);
    PUT(3);
    PUT(4);
    PUT(5);
    PUT(6);
    PUT(7);
#undef PUT
    return v;
}

struct two_floats {
    __m256 first, second;
};

/* Two f16 from each. */
LANE struct two_floats eight_f16_pairs(const unsigned char *p, size_t stride) {
    __m256i pairs = _mm256_castps_si256(eight_f32(p, stride));
    __m256i first = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff));
    __m256i words = _mm256_packus_epi32(first, _mm256_srli_epi32(pairs, 16));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    return (struct two_floats){_mm256_cvtph_ps(_mm256_castsi256_si128(words)),
                               _mm256_cvtph_ps(_mm256_extracti128_si256(words, 1))};
}

/* ---- scales of groups ----------------------------------------------------------------------- */

/* Sixteen words from sixteen signed bytes. */
LANE __m256i words_of(uint64_t low, uint64_t high) {
    return _mm256_cvtepi8_epi16(_mm_set_epi64x((long long)high, (long long)low));
}

/* One for each 16 values, as the sums in Q8_K are. */
LANE __m256i sixteen_words(const uint64_t s[2], int group) {
    if (group == 16) {
        return words_of(s[0], s[1]);
    }
    __m128i bytes = _mm_cvtsi64_si128((long long)s[0]);
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes));
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The first `count` lanes of a, the others of b. */
LANE __m256 first_lanes(size_t count, __m256 a, __m256 b) {
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i live = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(live));
}

/* NaNs made one, see uqff_one_nan. */
LANE __m256 one_nan(__m256 v) {
    __m256 quiet = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
    return _mm256_blendv_ps(v, quiet, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
}

/* uqff_fold_8 */
LANE float fold_8(__m256 v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return uqff_one_nan(_mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two))));
}

#endif
