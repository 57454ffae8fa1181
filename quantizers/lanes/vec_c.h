/*
 * The functions of x86/vec.h in plain C. Tests build the searches over these, to tell a fault of an
 * algorithm from one of an instruction set, and to run them under sanitizers. Private to
 * quantizers/.
 */
#ifndef UQFF_LANES_VEC_C_H
#define UQFF_LANES_VEC_C_H

#include "kernels.h"
#include "ref/number.h"

#define SIMD
#define LANE static inline
#define LEVEL(name) uqff_lanes_c_##name

#define VF_LANES 8

typedef struct {
    float v[8];
} vf;

typedef struct {
    int32_t v[8];
} vi;

typedef vi vm;

typedef struct {
    unsigned char v[32];
} vb;

#define EACH(type, expression)                                                                     \
    type result;                                                                                   \
    for (int i = 0; i < 8; i++) {                                                                  \
        result.v[i] = (expression);                                                                \
    }                                                                                              \
    return result

/* ---- floats ---------------------------------------------------------------------------------- */

LANE vf vf_load(const float *p) {
    EACH(vf, p[i]);
}

/* The first n of them, n being 8 where there are eight lanes. */
LANE vf vf_load_first(const float *p, int n) {
    (void)n;
    return vf_load(p);
}

LANE void vf_store(float *p, vf v) {
    memcpy(p, v.v, sizeof v.v);
}

LANE vf vf_set(float v) {
    EACH(vf, v);
}

LANE vf vf_add(vf a, vf b) {
    EACH(vf, a.v[i] + b.v[i]);
}

LANE vf vf_sub(vf a, vf b) {
    EACH(vf, a.v[i] - b.v[i]);
}

LANE vf vf_mul(vf a, vf b) {
    EACH(vf, a.v[i] * b.v[i]);
}

LANE vf vf_div(vf a, vf b) {
    EACH(vf, a.v[i] / b.v[i]);
}

LANE vf vf_fma(vf a, vf b, vf c) {
    EACH(vf, a.v[i] * b.v[i] + c.v[i]);
}

LANE vf vf_sqrt(vf v) {
    EACH(vf, sqrtf(v.v[i]));
}

LANE vf vf_min(vf a, vf b) {
    EACH(vf, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}

LANE vf vf_max(vf a, vf b) {
    EACH(vf, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}

LANE vf vf_abs(vf v) {
    EACH(vf, bits_float(float_bits(v.v[i]) & 0x7fffffff));
}

LANE vf vf_neg(vf v) {
    EACH(vf, -v.v[i]);
}

/* ---- masks ----------------------------------------------------------------------------------- */

LANE vm vf_lt(vf a, vf b) {
    EACH(vm, -(a.v[i] < b.v[i]));
}

LANE vm vf_gt(vf a, vf b) {
    EACH(vm, -(a.v[i] > b.v[i]));
}

LANE vm vf_ge(vf a, vf b) {
    EACH(vm, -(a.v[i] >= b.v[i]));
}

LANE vm vf_eq(vf a, vf b) {
    EACH(vm, -(a.v[i] == b.v[i]));
}

LANE vm vf_ne(vf a, vf b) {
    EACH(vm, -(a.v[i] != b.v[i]));
}

LANE vm vm_and(vm a, vm b) {
    EACH(vm, a.v[i] & b.v[i]);
}

LANE vm vm_or(vm a, vm b) {
    EACH(vm, a.v[i] | b.v[i]);
}

LANE vm vm_andnot(vm a, vm b) {
    EACH(vm, ~a.v[i] & b.v[i]);
}

LANE unsigned vm_bits(vm m) {
    unsigned bits = 0;
    for (int i = 0; i < 8; i++) {
        bits |= (unsigned)(m.v[i] & 1) << i;
    }
    return bits;
}

LANE vm vm_set(bool v) {
    EACH(vm, -(int32_t)v);
}

LANE bool vm_any(vm m) {
    return vm_bits(m) != 0;
}

LANE bool vm_all(vm m) {
    return vm_bits(m) == 0xff;
}

LANE vf vf_select(vm m, vf a, vf b) {
    EACH(vf, m.v[i] ? a.v[i] : b.v[i]);
}

LANE vf vf_keep(vm m, vf v) {
    EACH(vf, m.v[i] ? v.v[i] : 0.0f);
}

/* ---- integers -------------------------------------------------------------------------------- */

LANE vi vi_set(int v) {
    EACH(vi, v);
}

LANE vi vi_load(const int32_t *p) {
    EACH(vi, p[i]);
}

LANE void vi_store(int32_t *p, vi v) {
    memcpy(p, v.v, sizeof v.v);
}

LANE vi vi_add(vi a, vi b) {
    EACH(vi, a.v[i] + b.v[i]);
}

LANE vi vi_sub(vi a, vi b) {
    EACH(vi, a.v[i] - b.v[i]);
}

LANE vi vi_and(vi a, vi b) {
    EACH(vi, a.v[i] & b.v[i]);
}

/* v << n */
LANE vi vi_left(vi v, int n) {
    EACH(vi, (int32_t)((uint32_t)v.v[i] << n));
}

/* v >> n, for v that is not negative */
LANE vi vi_right(vi v, int n) {
    EACH(vi, (int32_t)((uint32_t)v.v[i] >> n));
}

LANE vi vi_max(vi a, vi b) {
    EACH(vi, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}

LANE vm vi_gt(vi a, vi b) {
    EACH(vm, -(a.v[i] > b.v[i]));
}

LANE vi vi_of_mask(vm m) {
    return m;
}

/* ---- between them ---------------------------------------------------------------------------- */

LANE vi vf_bits(vf v) {
    EACH(vi, (int32_t)float_bits(v.v[i]));
}

LANE vf vi_floats(vi v) {
    EACH(vf, bits_float((uint32_t)v.v[i]));
}

LANE vf vi_to_float(vi v) {
    EACH(vf, (float)v.v[i]);
}

LANE vi vf_to_int(vf v) {
    EACH(vi, fabsf(v.v[i]) < 0x1p31f ? (int32_t)rintf(v.v[i]) : INT32_MIN);
}

LANE vf vf_lookup(vf table, vi index) {
    EACH(vf, table.v[index.v[i] & 7]);
}

#define VF_TABLE 8

LANE vf vf_table(const float table[VF_TABLE], vi i) {
    return vf_lookup(vf_load(table), i);
}

LANE void vf_store_pairs(float *p, vf a, vf b) {
    for (int i = 0; i < 8; i++) {
        p[2 * i] = a.v[i];
        p[2 * i + 1] = b.v[i];
    }
}

LANE vf vf_pick(const float pair[2], vi m) {
    EACH(vf, pair[m.v[i] & 1]);
}

LANE vf vf_turn(vf a, vf b) {
    EACH(vf, bits_float(float_bits(a.v[i]) ^ float_bits(b.v[i])));
}

LANE vf vf_turned(float a, float turn, vi m) {
    EACH(vf, bits_float(float_bits(a) ^ (float_bits(turn) & (uint32_t)m.v[i])));
}

LANE vb vb_of_codes(const vi q[4]) {
    vb result;
    for (int i = 0; i < 32; i++) {
        result.v[i] = (unsigned char)q[i / 8].v[i % 8];
    }
    return result;
}

LANE vb vb_of_low_bytes(const vi q[4]) {
    return vb_of_codes(q);
}

LANE void vb_saturate(const vi q[8], vb out[2]) {
    for (int i = 0; i < 64; i++) {
        int32_t code = q[i / 8].v[i % 8];
        out[i / 32].v[i % 32] = (unsigned char)(code < 0 ? 0 : code > 255 ? 255 : code);
    }
}

LANE float vf_largest(vf v) {
    float largest = v.v[0];
    for (int i = 1; i < 8; i++) {
        largest = v.v[i] > largest ? v.v[i] : largest;
    }
    return largest;
}

LANE float vf_sum(vf v) {
    float sum = v.v[0];
    for (int i = 1; i < 8; i++) {
        sum += v.v[i];
    }
    return sum;
}

LANE int vi_largest(vi v) {
    int largest = v.v[0];
    for (int i = 1; i < 8; i++) {
        largest = v.v[i] > largest ? v.v[i] : largest;
    }
    return largest;
}

LANE void vf_load_columns(vf out[8], const float *const rows[8]) {
    for (int i = 0; i < 8; i++) {
        for (int g = 0; g < 8; g++) {
            out[i].v[g] = rows[g][i];
        }
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

#define EACH_BYTE(expression)                                                                      \
    vb result;                                                                                     \
    for (int i = 0; i < 32; i++) {                                                                 \
        result.v[i] = (unsigned char)(expression);                                                 \
    }                                                                                              \
    return result

LANE vb vb_set(int byte) {
    EACH_BYTE(byte);
}

LANE vb vb_load(const unsigned char *p) {
    vb result;
    memcpy(result.v, p, sizeof result.v);
    return result;
}

LANE void vb_store(unsigned char *p, vb v) {
    memcpy(p, v.v, sizeof v.v);
}

LANE vb vb_and(vb a, vb b) {
    EACH_BYTE(a.v[i] & b.v[i]);
}

LANE vb vb_or(vb a, vb b) {
    EACH_BYTE(a.v[i] | b.v[i]);
}

LANE vb vb_add(vb a, vb b) {
    EACH_BYTE(a.v[i] + b.v[i]);
}

LANE vb vb_min(vb a, vb b) {
    EACH_BYTE(a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}

LANE vb vb_left(vb v, int bits) {
    EACH_BYTE(v.v[i] << bits);
}

LANE vb vb_right(vb v, int bits) {
    EACH_BYTE(v.v[i] >> bits);
}

LANE void vb_store_nibbles(unsigned char *p, vb codes) {
    for (int i = 0; i < 16; i++) {
        p[i] = (unsigned char)(codes.v[i] | codes.v[i + 16] << 4);
    }
}

LANE uint32_t vb_fifth_bits(vb codes) {
    uint32_t bits = 0;
    for (int i = 0; i < 32; i++) {
        bits |= (uint32_t)(codes.v[i] >> 4 & 1) << i;
    }
    return bits;
}

#endif
