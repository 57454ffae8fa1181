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

LANE __m128i four_bytes(const unsigned char *p) {
    return _mm_cvtsi32_si128((int)uqff_load_le32(p));
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
