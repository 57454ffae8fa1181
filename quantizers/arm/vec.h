/*
 * Eight numbers in two NEON registers: what the searches in lanes/ are written over. x86/vec.h has
 * the same functions. Private to quantizers/.
 *
 *   vf   8 floats        vi   8 int32        vm   8 lanes, each all ones or all zeros
 *   vb   32 bytes, see unpack.h
 *
 * Every function does in each lane what the C expression in its comment does, so that a lane goes
 * through the same roundings as the reference. Comparisons with a NaN are false.
 */
#ifndef UQFF_ARM_VEC_H
#define UQFF_ARM_VEC_H

#include "arm/unpack.h"

#define VF_LANES 8

typedef float32x4x2_t vf;
typedef int32x4x2_t vi;
typedef uint32x4x2_t vm;

/* The same on both registers. */
#define BOTH_1(type, f, a)                                                                         \
    (type) {                                                                                       \
        { f((a).val[0]), f((a).val[1]) }                                                           \
    }
#define BOTH_2(type, f, a, b)                                                                      \
    (type) {                                                                                       \
        { f((a).val[0], (b).val[0]), f((a).val[1], (b).val[1]) }                                   \
    }
#define BOTH_3(type, f, a, b, c)                                                                   \
    (type) {                                                                                       \
        { f((a).val[0], (b).val[0], (c).val[0]), f((a).val[1], (b).val[1], (c).val[1]) }           \
    }

/* ---- floats ---------------------------------------------------------------------------------- */

LANE vf vf_load(const float *p) {
    return (vf){{vld1q_f32(p), vld1q_f32(p + 4)}};
}

/* The first n of them, n being 8 where there are eight lanes. */
LANE vf vf_load_first(const float *p, int n) {
    (void)n;
    return vf_load(p);
}

LANE void vf_store(float *p, vf v) {
    vst1q_f32(p, v.val[0]);
    vst1q_f32(p + 4, v.val[1]);
}

LANE vf vf_set(float v) {
    return (vf){{vdupq_n_f32(v), vdupq_n_f32(v)}};
}

LANE vf vf_add(vf a, vf b) {
    return BOTH_2(vf, vaddq_f32, a, b);
}

LANE vf vf_sub(vf a, vf b) {
    return BOTH_2(vf, vsubq_f32, a, b);
}

LANE vf vf_mul(vf a, vf b) {
    return BOTH_2(vf, vmulq_f32, a, b);
}

LANE vf vf_div(vf a, vf b) {
    return BOTH_2(vf, vdivq_f32, a, b);
}

/* a * b + c, for estimates: how often that is rounded depends on the instruction set. */
LANE vf vf_fma(vf a, vf b, vf c) {
    return BOTH_3(vf, vfmaq_f32, c, a, b);
}

LANE vf vf_sqrt(vf v) {
    return BOTH_1(vf, vsqrtq_f32, v);
}

/* NEON's own minimum and maximum treat NaN otherwise. */
LANE float32x4_t lesser(float32x4_t a, float32x4_t b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

LANE float32x4_t greater(float32x4_t a, float32x4_t b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

/* a < b ? a : b */
LANE vf vf_min(vf a, vf b) {
    return BOTH_2(vf, lesser, a, b);
}

/* a > b ? a : b */
LANE vf vf_max(vf a, vf b) {
    return BOTH_2(vf, greater, a, b);
}

LANE vf vf_abs(vf v) {
    return BOTH_1(vf, vabsq_f32, v);
}

LANE vf vf_neg(vf v) {
    return BOTH_1(vf, vnegq_f32, v);
}

/* ---- masks ----------------------------------------------------------------------------------- */

LANE vm vf_lt(vf a, vf b) {
    return BOTH_2(vm, vcltq_f32, a, b);
}

LANE vm vf_gt(vf a, vf b) {
    return BOTH_2(vm, vcgtq_f32, a, b);
}

LANE vm vf_ge(vf a, vf b) {
    return BOTH_2(vm, vcgeq_f32, a, b);
}

LANE vm vf_eq(vf a, vf b) {
    return BOTH_2(vm, vceqq_f32, a, b);
}

LANE uint32x4_t unequal(float32x4_t a, float32x4_t b) {
    return vmvnq_u32(vceqq_f32(a, b));
}

/* Beside a NaN true, as in C. */
LANE vm vf_ne(vf a, vf b) {
    return BOTH_2(vm, unequal, a, b);
}

LANE vm vm_and(vm a, vm b) {
    return BOTH_2(vm, vandq_u32, a, b);
}

LANE vm vm_or(vm a, vm b) {
    return BOTH_2(vm, vorrq_u32, a, b);
}

/* !a && b */
LANE vm vm_andnot(vm a, vm b) {
    return BOTH_2(vm, vbicq_u32, b, a);
}

/* Bit i is lane i. */
LANE unsigned vm_bits(vm m) {
    const uint32x4_t bit = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m.val[0], bit)) | vaddvq_u32(vandq_u32(m.val[1], bit)) << 4;
}

LANE vm vm_set(bool v) {
    uint32x4_t m = vdupq_n_u32(v ? 0xffffffff : 0);
    return (vm){{m, m}};
}

LANE bool vm_any(vm m) {
    return vmaxvq_u32(vorrq_u32(m.val[0], m.val[1])) != 0;
}

LANE bool vm_all(vm m) {
    return vminvq_u32(vandq_u32(m.val[0], m.val[1])) != 0;
}

/* m ? a : b */
LANE vf vf_select(vm m, vf a, vf b) {
    return BOTH_3(vf, vbslq_f32, m, a, b);
}

LANE float32x4_t kept(uint32x4_t m, float32x4_t v) {
    return vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(v)));
}

/* m ? v : 0 */
LANE vf vf_keep(vm m, vf v) {
    return BOTH_2(vf, kept, m, v);
}

/* ---- integers -------------------------------------------------------------------------------- */

LANE vi vi_set(int v) {
    return (vi){{vdupq_n_s32(v), vdupq_n_s32(v)}};
}

LANE vi vi_load(const int32_t *p) {
    return (vi){{vld1q_s32(p), vld1q_s32(p + 4)}};
}

LANE void vi_store(int32_t *p, vi v) {
    vst1q_s32(p, v.val[0]);
    vst1q_s32(p + 4, v.val[1]);
}

LANE vi vi_add(vi a, vi b) {
    return BOTH_2(vi, vaddq_s32, a, b);
}

LANE vi vi_sub(vi a, vi b) {
    return BOTH_2(vi, vsubq_s32, a, b);
}

LANE vi vi_and(vi a, vi b) {
    return BOTH_2(vi, vandq_s32, a, b);
}

/* v << n */
LANE vi vi_left(vi v, int n) {
    int32x4_t by = vdupq_n_s32(n);
    return (vi){{vshlq_s32(v.val[0], by), vshlq_s32(v.val[1], by)}};
}

/* v >> n, for v that is not negative */
LANE vi vi_right(vi v, int n) {
    return vi_left(v, -n);
}

LANE vi vi_max(vi a, vi b) {
    return BOTH_2(vi, vmaxq_s32, a, b);
}

LANE vm vi_gt(vi a, vi b) {
    return BOTH_2(vm, vcgtq_s32, a, b);
}

/* -1 where the mask is set, else 0. */
LANE vi vi_of_mask(vm m) {
    return BOTH_1(vi, vreinterpretq_s32_u32, m);
}

/* ---- between them ---------------------------------------------------------------------------- */

/* The bits of the floats, and back. */
LANE vi vf_bits(vf v) {
    return BOTH_1(vi, vreinterpretq_s32_f32, v);
}

LANE vf vi_floats(vi v) {
    return BOTH_1(vf, vreinterpretq_f32_s32, v);
}

/* (float)v */
LANE vf vi_to_float(vi v) {
    return BOTH_1(vf, vcvtq_f32_s32, v);
}

/* The nearest integer, ties to even; far from v if there is none. */
LANE vi vf_to_int(vf v) {
    return BOTH_1(vi, vcvtnq_s32_f32, v);
}

/* table[i & 7], the table being the lanes of a register: the four bytes of lane i are bytes 4i ..
 * 4i+3 of the two. */
LANE vf vf_lookup(vf table, vi i) {
    uint8x16x2_t bytes = {{vreinterpretq_u8_f32(table.val[0]), vreinterpretq_u8_f32(table.val[1])}};
    vf result;
    for (int k = 0; k < 2; k++) {
        uint32x4_t lane = vandq_u32(vreinterpretq_u32_s32(i.val[k]), vdupq_n_u32(7));
        uint32x4_t at = vmlaq_n_u32(vdupq_n_u32(0x03020100), lane, 0x04040404);
        result.val[k] = vreinterpretq_f32_u8(vqtbl2q_u8(bytes, vreinterpretq_u8_u32(at)));
    }
    return result;
}

/* Tables that cost as little as any other operation: table[i % VF_TABLE]. There are none. */
#define VF_TABLE 0

LANE vf vf_table(const float *table, vi i) {
    (void)table;
    return vi_to_float(i);
}

/* p[2i] = a[i], p[2i + 1] = b[i] */
LANE void vf_store_pairs(float *p, vf a, vf b) {
    vst2q_f32(p, ((float32x4x2_t){{a.val[0], b.val[0]}}));
    vst2q_f32(p + 8, ((float32x4x2_t){{a.val[1], b.val[1]}}));
}

/* m[i] ? pair[1] : pair[0], m[i] being -1 or 0 */
LANE vf vf_pick(const float pair[2], vi m) {
    return vf_select(BOTH_1(vm, vreinterpretq_u32_s32, m), vf_set(pair[1]), vf_set(pair[0]));
}

LANE float32x4_t exclusive(float32x4_t a, float32x4_t b) {
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
}

/* The bits in which two floats differ, as a float; and b again for vf_turned(a, vf_turn(a, b), -1).
 */
LANE vf vf_turn(vf a, vf b) {
    return BOTH_2(vf, exclusive, a, b);
}

/* m[i] ? b : a, with turn as above */
LANE vf vf_turned(float a, float turn, vi m) {
    return vf_turn(vf_set(a), vf_keep(BOTH_1(vm, vreinterpretq_u32_s32, m), vf_set(turn)));
}

LANE int16x8_t halves(vi v) {
    return vcombine_s16(vmovn_s32(v.val[0]), vmovn_s32(v.val[1]));
}

/* Codes 0..255 of 32 lanes as bytes in order. */
LANE vb vb_of_codes(const vi q[4]) {
    return (vb){{vcombine_u8(vqmovun_s16(halves(q[0])), vqmovun_s16(halves(q[1]))),
                 vcombine_u8(vqmovun_s16(halves(q[2])), vqmovun_s16(halves(q[3])))}};
}

/* The low bytes of 32 lanes in order. */
LANE vb vb_of_low_bytes(const vi q[4]) {
    vi byte = vi_set(0xff);
    vi codes[4] = {vi_and(q[0], byte), vi_and(q[1], byte), vi_and(q[2], byte), vi_and(q[3], byte)};
    return vb_of_codes(codes);
}

LANE uint8x16_t saturate_16(vi a, vi b) {
    int16x8_t low = vcombine_s16(vqmovn_s32(a.val[0]), vqmovn_s32(a.val[1]));
    int16x8_t high = vcombine_s16(vqmovn_s32(b.val[0]), vqmovn_s32(b.val[1]));
    return vcombine_u8(vqmovun_s16(low), vqmovun_s16(high));
}

/* 64 lanes as bytes in order; what is less than 0 or more than 255 becomes that. */
LANE void vb_saturate(const vi q[8], vb out[2]) {
    out[0] = (vb){{saturate_16(q[0], q[1]), saturate_16(q[2], q[3])}};
    out[1] = (vb){{saturate_16(q[4], q[5]), saturate_16(q[6], q[7])}};
}

/* The largest lane; no lane is NaN. */
LANE float vf_largest(vf v) {
    return vmaxvq_f32(vmaxq_f32(v.val[0], v.val[1]));
}

/* The sum of the lanes, in some order. */
LANE float vf_sum(vf v) {
    return vaddvq_f32(vaddq_f32(v.val[0], v.val[1]));
}

LANE int vi_largest(vi v) {
    return vmaxvq_s32(vmaxq_s32(v.val[0], v.val[1]));
}

LANE float32x4_t low_pairs(float32x4_t a, float32x4_t b) {
    return vreinterpretq_f32_f64(vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

LANE float32x4_t high_pairs(float32x4_t a, float32x4_t b) {
    return vreinterpretq_f32_f64(vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

/* out[i] has element i of each row, that of rows[g] in lane g. */
LANE void vf_load_columns(vf out[8], const float *const rows[8]) {
    for (int g = 0; g < 2; g++) {
        for (int h = 0; h < 2; h++) {
            float32x4_t r[4];
            for (int k = 0; k < 4; k++) {
                r[k] = vld1q_f32(rows[4 * g + k] + 4 * h);
            }
            float32x4x2_t even_odd_01 = vtrnq_f32(r[0], r[1]);
            float32x4x2_t even_odd_23 = vtrnq_f32(r[2], r[3]);
            out[4 * h].val[g] = low_pairs(even_odd_01.val[0], even_odd_23.val[0]);
            out[4 * h + 1].val[g] = low_pairs(even_odd_01.val[1], even_odd_23.val[1]);
            out[4 * h + 2].val[g] = high_pairs(even_odd_01.val[0], even_odd_23.val[0]);
            out[4 * h + 3].val[g] = high_pairs(even_odd_01.val[1], even_odd_23.val[1]);
        }
    }
}

#endif
