/*
 * Eight numbers in AVX2 registers; see ops_lanes_c.h. Private to validation/.
 */
#ifndef UQFF_VALIDATION_OPS_LANES_AVX2_H
#define UQFF_VALIDATION_OPS_LANES_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "validation/ops.h"

#define SIMD __attribute__((target("avx2,fma")))
#define LANE static inline SIMD __attribute__((always_inline))

typedef __m256 vf;
typedef __m256i vi;
typedef struct {
    __m256d low, high;
} vd;

LANE vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}

LANE void vf_store(float *p, vf a) {
    _mm256_storeu_ps(p, a);
}

LANE vf vf_set(float a) {
    return _mm256_set1_ps(a);
}

LANE vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}

LANE vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}

LANE vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}

LANE vf vf_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}

LANE vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}

LANE vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}

LANE vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}

LANE vf vf_if_greater(vf a, vf b, vf c, vf d) {
    return _mm256_blendv_ps(d, c, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

LANE vi vf_bits(vf a) {
    return _mm256_castps_si256(a);
}

LANE vf vi_floats(vi a) {
    return _mm256_castsi256_ps(a);
}

LANE vi vi_set(uint32_t a) {
    return _mm256_set1_epi32((int)a);
}

LANE vi vi_add(vi a, vi b) {
    return _mm256_add_epi32(a, b);
}

LANE vi vi_sub(vi a, vi b) {
    return _mm256_sub_epi32(a, b);
}

LANE vi vi_and(vi a, vi b) {
    return _mm256_and_si256(a, b);
}

LANE vi vi_or(vi a, vi b) {
    return _mm256_or_si256(a, b);
}

LANE vi vi_left(vi a, int bits) {
    return _mm256_slli_epi32(a, bits);
}

LANE vi vi_halve(vi a) {
    return _mm256_srai_epi32(a, 1);
}

LANE vd vd_zero(void) {
    return (vd){_mm256_setzero_pd(), _mm256_setzero_pd()};
}

LANE vd vd_add(vd a, vf b) {
    a.low = _mm256_add_pd(a.low, _mm256_cvtps_pd(_mm256_castps256_ps128(b)));
    a.high = _mm256_add_pd(a.high, _mm256_cvtps_pd(_mm256_extractf128_ps(b, 1)));
    return a;
}

LANE void vd_store(double *p, vd a) {
    _mm256_storeu_pd(p, a.low);
    _mm256_storeu_pd(p + 4, a.high);
}

#endif
