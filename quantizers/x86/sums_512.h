/*
 * What the dot and matrix kernels of AVX-512 share. Included instead of sums.h, and before what is
 * written over it. Private to quantizers/.
 */
#ifndef UQFF_X86_SUMS_512_H
#define UQFF_X86_SUMS_512_H

#include "x86/sums.h"

/* From here on, functions are of the level `avx512`. */
#undef SIMD
#undef LEVEL
#define SIMD __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))
#define LEVEL(name) uqff_avx512_##name

/* See lanes/matmul.h. */
#define SUMS_32

LANE __m512i load_512(const unsigned char *p) {
    return _mm512_load_si512(p);
}

LANE __m512 load_floats_512(const unsigned char *p) {
    return _mm512_load_ps(p);
}

/* The same four bytes in all lanes. */
LANE __m512i spread_512(const unsigned char *p) {
    return _mm512_set1_epi32((int)uqff_load_le32(p));
}

LANE __m512 spread_float_512(const unsigned char *p) {
    return _mm512_castsi512_ps(spread_512(p));
}

/* In each 128 bits, the sums of those of four vectors. */
LANE __m512i four_totals(const __m512i v[4]) {
    __m512i a =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    __m512i b =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* See lanes/matmul_pack.h. The lower byte of a product of words is that of their lower bytes. */
LANE __m256i times(__m256i q, int a, int b) {
    const __m256i factor = _mm256_set_m128i(_mm_set1_epi16((short)b), _mm_set1_epi16((short)a));
    __m256i even = _mm256_mullo_epi16(q, factor);
    __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(q, 8), factor);
    return _mm256_mask_blend_epi8(0xaaaaaaaa, even, _mm256_slli_epi16(odd, 8));
}

/* NaNs made one, see uqff_one_nan. */
LANE __m512 one_nan_512(__m512 v) {
    const __m512 quiet = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));
    return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), quiet);
}

#endif
