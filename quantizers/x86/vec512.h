/*
 * Sixteen numbers in an AVX-512 register: what the searches in lanes/ are written over, as vec.h is
 * with eight. Masks are in registers of their own. Private to quantizers/.
 *
 *   vf   16 floats       vi   16 int32       vm   16 bits, lane i in bit i
 *   vb   32 bytes, see unpack.h
 */
#ifndef UQFF_X86_VEC512_H
#define UQFF_X86_VEC512_H

#include "x86/unpack.h"

/* From here on, functions are of the level `avx512`. */
#undef SIMD
#undef LEVEL
#define SIMD __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#define LEVEL(name) uqff_avx512_##name

#define VF_LANES 16

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

/* ---- floats ---------------------------------------------------------------------------------- */

LANE vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}

/* The first n of them; 0 in the other lanes. */
LANE vf vf_load_first(const float *p, int n) {
    return _mm512_maskz_loadu_ps((vm)((1u << n) - 1), p);
}

LANE void vf_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}

LANE vf vf_set(float v) {
    return _mm512_set1_ps(v);
}

LANE vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}

LANE vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}

LANE vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}

LANE vf vf_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}

/* a * b + c, for estimates */
LANE vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}

LANE vf vf_sqrt(vf v) {
    return _mm512_sqrt_ps(v);
}

LANE vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}

LANE vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}

LANE vf vf_abs(vf v) {
    return _mm512_abs_ps(v);
}

LANE vf vf_neg(vf v) {
    return _mm512_xor_ps(_mm512_set1_ps(-0.0f), v);
}

/* ---- masks ----------------------------------------------------------------------------------- */

LANE vm vf_lt(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

LANE vm vf_gt(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}

LANE vm vf_ge(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ);
}

LANE vm vf_eq(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

LANE vm vf_ne(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}

LANE vm vm_and(vm a, vm b) {
    return (vm)(a & b);
}

LANE vm vm_or(vm a, vm b) {
    return (vm)(a | b);
}

LANE vm vm_andnot(vm a, vm b) {
    return (vm)(~a & b);
}

LANE unsigned vm_bits(vm m) {
    return m;
}

LANE vm vm_set(bool v) {
    return (vm) - (int)v;
}

LANE bool vm_any(vm m) {
    return m != 0;
}

LANE bool vm_all(vm m) {
    return m == 0xffff;
}

LANE vf vf_select(vm m, vf a, vf b) {
    return _mm512_mask_blend_ps(m, b, a);
}

LANE vf vf_keep(vm m, vf v) {
    return _mm512_maskz_mov_ps(m, v);
}

/* ---- integers -------------------------------------------------------------------------------- */

LANE vi vi_set(int v) {
    return _mm512_set1_epi32(v);
}

LANE vi vi_load(const int32_t *p) {
    return _mm512_loadu_si512(p);
}

LANE void vi_store(int32_t *p, vi v) {
    _mm512_storeu_si512(p, v);
}

LANE vi vi_add(vi a, vi b) {
    return _mm512_add_epi32(a, b);
}

LANE vi vi_sub(vi a, vi b) {
    return _mm512_sub_epi32(a, b);
}

LANE vi vi_and(vi a, vi b) {
    return _mm512_and_si512(a, b);
}

/* v << n */
LANE vi vi_left(vi v, int n) {
    return _mm512_slli_epi32(v, (unsigned)n);
}

/* v >> n, for v that is not negative */
LANE vi vi_right(vi v, int n) {
    return _mm512_srli_epi32(v, (unsigned)n);
}

LANE vi vi_max(vi a, vi b) {
    return _mm512_max_epi32(a, b);
}

LANE vm vi_gt(vi a, vi b) {
    return _mm512_cmpgt_epi32_mask(a, b);
}

/* ---- between them ---------------------------------------------------------------------------- */

LANE vi vf_bits(vf v) {
    return _mm512_castps_si512(v);
}

LANE vf vi_floats(vi v) {
    return _mm512_castsi512_ps(v);
}

LANE vf vi_to_float(vi v) {
    return _mm512_cvtepi32_ps(v);
}

LANE vi vf_to_int(vf v) {
    return _mm512_cvtps_epi32(v);
}

/* table[i & 15], the table being the lanes of a register */
LANE vf vf_lookup(vf table, vi i) {
    return _mm512_permutexvar_ps(i, table);
}

/* table[i & 31] */
LANE vf vf_lookup_32(const float table[32], vi i) {
    return _mm512_permutex2var_ps(vf_load(table), i, vf_load(table + 16));
}

LANE vi vi_lookup_32(const int32_t table[32], vi i) {
    return _mm512_permutex2var_epi32(vi_load(table), i, vi_load(table + 16));
}

/* m ? v + 1 : v */
LANE vi vi_count(vi v, vm m) {
    return _mm512_mask_add_epi32(v, m, v, vi_set(1));
}

/* Tables that cost as little as any other operation: table[i % VF_TABLE]. */
#define VF_TABLE 32

LANE vf vf_table(const float table[VF_TABLE], vi i) {
    return vf_lookup_32(table, i);
}

/* Codes 0..255 of 32 lanes as bytes in order. */
LANE vb vb_of_codes(const vi q[2]) {
    return vb_join(_mm256_castsi128_si256(_mm512_cvtepi32_epi8(q[0])),
                   _mm256_castsi128_si256(_mm512_cvtepi32_epi8(q[1])));
}

/* The low bytes of 32 lanes in order. */
LANE vb vb_of_low_bytes(const vi q[2]) {
    return vb_of_codes(q);
}

LANE void vb_saturate(const vi q[4], vb out[2]) {
    /* Packing goes by quarters of registers: the result has the first four bytes of each q, then
     * the second ones, and so on. */
    const vi order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    vi words[2] = {_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3])};
    vi bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(words[0], words[1]));
    out[0] = _mm512_castsi512_si256(bytes);
    out[1] = _mm512_extracti64x4_epi64(bytes, 1);
}

LANE float vf_largest(vf v) {
    return _mm512_reduce_max_ps(v);
}

/* The sum of the lanes, in some order. */
LANE float vf_sum(vf v) {
    return _mm512_reduce_add_ps(v);
}

LANE int vi_largest(vi v) {
    return _mm512_reduce_max_epi32(v);
}

/* out[i] has element i of each row, that of rows[g] in lane g. Quarters of rows are put together on
 * loading, which leaves transposing 4 x 4 in each quarter. To load a quarter everywhere and keep it
 * where it belongs leaves the port that permutes to the transposing. */
LANE void vf_load_columns(vf out[16], const float *const rows[16]) {
    for (int h = 0; h < 4; h++) {
        vf r[4];
        for (int k = 0; k < 4; k++) {
            vf v = _mm512_castps128_ps512(_mm_loadu_ps(rows[k] + 4 * h));
            v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(rows[k + 4] + 4 * h));
            v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(rows[k + 8] + 4 * h));
            r[k] = _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(rows[k + 12] + 4 * h));
        }
        vf low_01 = _mm512_unpacklo_ps(r[0], r[1]);
        vf high_01 = _mm512_unpackhi_ps(r[0], r[1]);
        vf low_23 = _mm512_unpacklo_ps(r[2], r[3]);
        vf high_23 = _mm512_unpackhi_ps(r[2], r[3]);
        out[4 * h] = _mm512_shuffle_ps(low_01, low_23, 0x44);
        out[4 * h + 1] = _mm512_shuffle_ps(low_01, low_23, 0xee);
        out[4 * h + 2] = _mm512_shuffle_ps(high_01, high_23, 0x44);
        out[4 * h + 3] = _mm512_shuffle_ps(high_01, high_23, 0xee);
    }
}

#endif
