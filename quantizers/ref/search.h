/*
 * The searches for scales that the block types share. Private to quantizers/.
 *
 * A search looks at one group of n <= 32 values x and finds a scale (and for QKX a minimum) such
 * that rounding x to codes and decoding again has a small weighted error. The names QX, Q3, QKX and
 * QP are those of spec/quantization.md. Sums are binary32 and run in index order: their order is
 * part of the format.
 */
#ifndef UQFF_REF_SEARCH_H
#define UQFF_REF_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#define UQFF_GROUP_MAX 32

/* Groups whose largest magnitude lies below this are zero to QX, Q3, QP, Q6_K and IQ4. */
#define UQFF_GROUP_EPSILON 1e-15f

/* Symmetric: x[i] is near scale * (code[i] - nmax), codes 0 .. 2*nmax-1. Returns the scale, which
 * may be negative. A group that counts as zero has scale 0 and codes 0 (not nmax). */
float uqff_search_qx(int n, int nmax, const float *x, const float *w, uint8_t *codes);

/* The same kind of result with weights x², by coordinate descent instead of trying scales. */
float uqff_search_q3(int n, int nmax, const float *x, uint8_t *codes);

/* Asymmetric: x[i] is near scale * code[i] - minimum, codes 0 .. nmax, minimum >= 0. */
struct uqff_qkx {
    int nmax;
    float rmin, rdelta; /* trial s maps the group's span to nmax + rmin + rdelta * s codes */
    int nstep;          /* s = 0 .. nstep */
    bool absolute;      /* weigh |error|, else its square */
};
float uqff_search_qkx(const struct uqff_qkx *how, int n, const float *x, const float *w,
                      uint8_t *codes, float *minimum);

/* Positive: x[i] is near scale * code[i], codes 0 .. nmax. For scales and minima of groups. */
float uqff_search_qp(int n, int nmax, const float *x, const float *w, uint8_t *codes);

/* Rounds positive scales to codes 0 .. nmax, the largest scale getting nmax, without weights.
 * Returns the step. */
float uqff_round_scales(int n, int nmax, const float *scales, uint8_t *codes);

/* The scales and minima of a super-block of Q4_K or Q5_K: eight groups of 32, six bits each. The
 * codes of the values are those of the search, before the second rounding. */
struct uqff_scale_pair {
    float d, dmin;
};
struct uqff_scale_pair uqff_search_scales_6(const struct uqff_qkx *how, const float *x,
                                            const float *importance, uint8_t codes[256],
                                            uint8_t s[8], uint8_t m[8]);

/* w[i] = importance[i] * sqrt(sigma2 + x[i]²). */
void uqff_weigh(int n, const float *x, const float *importance, float sigma2, float *w);

/* The second rounding of a group, with scale and minimum as they were stored. With d = 0 nothing
 * can be divided by it, and the codes of the search stay. */
void uqff_requantize_minimum(int n, const float *x, float d, float minimum, int nmax,
                             uint8_t *codes);
void uqff_requantize_symmetric(int n, const float *x, float d, int nmax, uint8_t *codes);

#endif
