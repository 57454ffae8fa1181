/*
 * Eight numbers in an AVX2 register: what the searches in lanes/ are written over. arm/vec.h and
 * lanes/vec_c.h have the same functions, and vec512.h has them for VF_LANES = 16. Private to
 * quantizers/.
 *
 *   vf   8 floats        vi   8 int32        vm   8 lanes, each all ones or all zeros
 *   vb   32 bytes, see unpack.h
 *
 * Every function does in each lane what the C expression in its comment does, so that a lane goes
 * through the same roundings as the reference. Comparisons with a NaN are false.
 */
#ifndef UQFF_X86_VEC_H
#define UQFF_X86_VEC_H

#include "x86/unpack.h"

#define VF_LANES 8

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

/* ---- floats ---------------------------------------------------------------------------------- */

LANE vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}

/* The first n of them, n being 8 where there are eight lanes. */
LANE vf vf_load_first(const float *p, int n) {
    (void)n;
    return vf_load(p);
}

LANE void vf_store(float *p, vf v) {
    _mm256_storeu_ps(p, v);
}

LANE vf vf_set(float v) {
    return _mm256_set1_ps(v);
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

/* a * b + c, for estimates: how often that is rounded depends on the instruction set. */
LANE vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}

LANE vf vf_sqrt(vf v) {
    return _mm256_sqrt_ps(v);
}

/* a < b ? a : b */
LANE vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}

/* a > b ? a : b */
LANE vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}

LANE vf vf_abs(vf v) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

LANE vf vf_neg(vf v) {
    return _mm256_xor_ps(_mm256_set1_ps(-0.0f), v);
}

/* ---- masks ----------------------------------------------------------------------------------- */

LANE vm vf_lt(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}

LANE vm vf_gt(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_GT_OQ);
}

LANE vm vf_ge(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_GE_OQ);
}

LANE vm vf_eq(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}

/* Beside a NaN true, as in C. */
LANE vm vf_ne(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ);
}

LANE vm vm_and(vm a, vm b) {
    return _mm256_and_ps(a, b);
}

LANE vm vm_or(vm a, vm b) {
    return _mm256_or_ps(a, b);
}

/* !a && b */
LANE vm vm_andnot(vm a, vm b) {
    return _mm256_andnot_ps(a, b);
}

/* Bit i is lane i. */
LANE unsigned vm_bits(vm m) {
    return (unsigned)_mm256_movemask_ps(m);
}

LANE vm vm_set(bool v) {
    return _mm256_castsi256_ps(_mm256_set1_epi32(-(int)v));
}

LANE bool vm_any(vm m) {
    return _mm256_movemask_ps(m) != 0;
}

LANE bool vm_all(vm m) {
    return _mm256_movemask_ps(m) == 0xff;
}

/* m ? a : b */
LANE vf vf_select(vm m, vf a, vf b) {
    return _mm256_blendv_ps(b, a, m);
}

/* m ? v : 0 */
LANE vf vf_keep(vm m, vf v) {
    return _mm256_and_ps(m, v);
}

/* ---- integers -------------------------------------------------------------------------------- */

LANE vi vi_set(int v) {
    return _mm256_set1_epi32(v);
}

LANE vi vi_load(const int32_t *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

LANE void vi_store(int32_t *p, vi v) {
    _mm256_storeu_si256((__m256i *)p, v);
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

/* v << n */
LANE vi vi_left(vi v, int n) {
    return _mm256_slli_epi32(v, n);
}

/* v >> n, for v that is not negative */
LANE vi vi_right(vi v, int n) {
    return _mm256_srli_epi32(v, n);
}

LANE vi vi_max(vi a, vi b) {
    return _mm256_max_epi32(a, b);
}

LANE vm vi_gt(vi a, vi b) {
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b));
}

/* -1 where the mask is set, else 0. */
LANE vi vi_of_mask(vm m) {
    return _mm256_castps_si256(m);
}

/* ---- between them ---------------------------------------------------------------------------- */

/* The bits of the floats, and back. */
LANE vi vf_bits(vf v) {
    return _mm256_castps_si256(v);
}

LANE vf vi_floats(vi v) {
    return _mm256_castsi256_ps(v);
}

/* (float)v */
LANE vf vi_to_float(vi v) {
    return _mm256_cvtepi32_ps(v);
}

/* The nearest integer, ties to even; far from v if there is none. */
LANE vi vf_to_int(vf v) {
    return _mm256_cvtps_epi32(v);
}

/* table[i & 7], the table being the lanes of a register */
LANE vf vf_lookup(vf table, vi i) {
    return _mm256_permutevar8x32_ps(table, i);
}

/* Tables that cost as little as any other operation: table[i % VF_TABLE]. */
#define VF_TABLE 8

LANE vf vf_table(const float table[VF_TABLE], vi i) {
    return vf_lookup(vf_load(table), i);
}

/* p[2i] = a[i], p[2i + 1] = b[i] */
LANE void vf_store_pairs(float *p, vf a, vf b) {
    vf low = _mm256_unpacklo_ps(a, b);
    vf high = _mm256_unpackhi_ps(a, b);
    _mm_storeu_ps(p, _mm256_castps256_ps128(low));
    _mm_storeu_ps(p + 4, _mm256_castps256_ps128(high));
    _mm_storeu_ps(p + 8, _mm256_extractf128_ps(low, 1));
    _mm_storeu_ps(p + 12, _mm256_extractf128_ps(high, 1));
}

/* m[i] ? pair[1] : pair[0], m[i] being -1 or 0 */
LANE vf vf_pick(const float pair[2], vi m) {
    double both;
    memcpy(&both, pair, sizeof both);
    return _mm256_permutevar_ps(_mm256_castpd_ps(_mm256_set1_pd(both)), m);
}

/* The bits in which two floats differ, as a float; and b again for vf_turned(a, vf_turn(a, b), -1).
 */
LANE vf vf_turn(vf a, vf b) {
    return _mm256_xor_ps(a, b);
}

/* m[i] ? b : a, with turn as above; beside vf_pick this one uses other units of the processor. */
LANE vf vf_turned(float a, float turn, vi m) {
    return _mm256_xor_ps(_mm256_set1_ps(a),
                         _mm256_and_ps(_mm256_set1_ps(turn), _mm256_castsi256_ps(m)));
}

/* Codes 0..255 of 32 lanes as bytes in order. */
LANE vb vb_of_codes(const vi q[4]) {
    return in_order(
        _mm256_packus_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3])));
}

/* The low bytes of 32 lanes in order. */
LANE vb vb_of_low_bytes(const vi q[4]) {
    vi byte = vi_set(0xff);
    vi codes[4] = {vi_and(q[0], byte), vi_and(q[1], byte), vi_and(q[2], byte), vi_and(q[3], byte)};
    return vb_of_codes(codes);
}

/* 64 lanes as bytes in order; what is less than 0 or more than 255 becomes that. */
LANE void vb_saturate(const vi q[8], vb out[2]) {
    out[0] = vb_of_codes(q);
    out[1] = vb_of_codes(q + 4);
}

/* The largest lane; no lane is NaN. */
LANE float vf_largest(vf v) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_max_ps(half, _mm_permute_ps(half, 0x4e));
    half = _mm_max_ps(half, _mm_permute_ps(half, 0xb1));
    return _mm_cvtss_f32(half);
}

/* The sum of the lanes, in some order. */
LANE float vf_sum(vf v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_permute_ps(half, 0x4e));
    half = _mm_add_ps(half, _mm_permute_ps(half, 0xb1));
    return _mm_cvtss_f32(half);
}

LANE int vi_largest(vi v) {
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    return _mm_cvtsi128_si32(half);
}

/* out[i] has element i of each row, that of rows[g] in lane g. Halves of rows are put together on
 * loading, which leaves transposing 4 x 4 in each half. */
LANE void vf_load_columns(vf out[8], const float *const rows[8]) {
    for (int h = 0; h < 2; h++) {
        vf r[4];
        for (int k = 0; k < 4; k++) {
            r[k] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[k] + 4 * h)),
                                        _mm_loadu_ps(rows[k + 4] + 4 * h), 1);
        }
        vf low_01 = _mm256_unpacklo_ps(r[0], r[1]);
        vf high_01 = _mm256_unpackhi_ps(r[0], r[1]);
        vf low_23 = _mm256_unpacklo_ps(r[2], r[3]);
        vf high_23 = _mm256_unpackhi_ps(r[2], r[3]);
        out[4 * h] = _mm256_shuffle_ps(low_01, low_23, 0x44);
        out[4 * h + 1] = _mm256_shuffle_ps(low_01, low_23, 0xee);
        out[4 * h + 2] = _mm256_shuffle_ps(high_01, high_23, 0x44);
        out[4 * h + 3] = _mm256_shuffle_ps(high_01, high_23, 0xee);
    }
}

#endif
