/*
 * Eight numbers as plain C has them: what ops_body.h is written over where there is nothing better.
 * ops_lanes_avx2.h has the same functions. Private to validation/.
 *
 *   vf   8 floats        vi   8 integers of 32 bits        vd   8 doubles
 */
#ifndef UQFF_VALIDATION_OPS_LANES_C_H
#define UQFF_VALIDATION_OPS_LANES_C_H

#include <math.h>
#include <string.h>

#include "validation/ops.h"

#define SIMD
#define LANE static inline

typedef struct {
    float v[8];
} vf;

typedef struct {
    uint32_t v[8];
} vi;

typedef struct {
    double v[8];
} vd;

#define EACH(type, expression)                                                                     \
    type result;                                                                                   \
    for (int i = 0; i < 8; i++) {                                                                  \
        result.v[i] = (expression);                                                                \
    }                                                                                              \
    return result

LANE vf vf_load(const float *p) {
    EACH(vf, p[i]);
}

LANE void vf_store(float *p, vf a) {
    memcpy(p, a.v, sizeof a.v);
}

LANE vf vf_set(float a) {
    EACH(vf, a);
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

/* a * b + c in one rounding */
LANE vf vf_fma(vf a, vf b, vf c) {
    EACH(vf, fmaf(a.v[i], b.v[i], c.v[i]));
}

/* a < b ? a : b, so b where one is not a number */
LANE vf vf_min(vf a, vf b) {
    EACH(vf, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}

/* a > b ? a : b, so b where one is not a number */
LANE vf vf_max(vf a, vf b) {
    EACH(vf, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}

/* a > b ? c : d */
LANE vf vf_if_greater(vf a, vf b, vf c, vf d) {
    EACH(vf, a.v[i] > b.v[i] ? c.v[i] : d.v[i]);
}

LANE vi vf_bits(vf a) {
    vi result;
    memcpy(result.v, a.v, sizeof result.v);
    return result;
}

LANE vf vi_floats(vi a) {
    vf result;
    memcpy(result.v, a.v, sizeof result.v);
    return result;
}

LANE vi vi_set(uint32_t a) {
    EACH(vi, a);
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

LANE vi vi_or(vi a, vi b) {
    EACH(vi, a.v[i] | b.v[i]);
}

LANE vi vi_left(vi a, int bits) {
    EACH(vi, a.v[i] << bits);
}

/* Half of a signed number, rounded down. */
LANE vi vi_halve(vi a) {
    EACH(vi, a.v[i] >> 1 | (a.v[i] & 0x80000000u));
}

LANE vd vd_zero(void) {
    EACH(vd, 0);
}

/* a + b, b widened */
LANE vd vd_add(vd a, vf b) {
    EACH(vd, a.v[i] + (double)b.v[i]);
}

LANE void vd_store(double *p, vd a) {
    memcpy(p, a.v, sizeof a.v);
}

#undef EACH

#endif
