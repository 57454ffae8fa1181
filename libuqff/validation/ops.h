/*
 * The operators of the transformer, as functions over plain arrays. Private to validation/.
 *
 * Every sum has an order that is part of its definition: lanes and the way in which they are folded
 * are stated at each function. fmaf stands where it says "fused"; nothing else is fused. So the
 * bits of a result depend on its operands alone: not on the instruction set, the compiler, the
 * number of tokens in a batch, or who computes it.
 */
#ifndef UQFF_VALIDATION_OPS_H
#define UQFF_VALIDATION_OPS_H

#include "uqff/quant.h"

/* ---- operators with an implementation for each instruction set ---------------------------------
 */

/* Positions in a block of the key cache, and queries that are handled together. */
#define UQFF_KEY_BLOCK 16
#define UQFF_QUERIES 4

struct uqff_ops {
    /* scores[i][p] = sum over d of q[i][d] * keys[p / 16][d][p % 16] for the positions of
     * `blocks` blocks: fused, one accumulator, in the order of d.
     * q: [UQFF_QUERIES] rows of `dims` floats; scores: rows of `stride` floats. */
    void (*scores)(const float *const q[UQFF_QUERIES], const float *keys, size_t dims,
                   size_t blocks, float *scores, size_t stride);
    /* out[i][d] = sum over p of weights[i][p] * values[p][d]: fused, one accumulator, in the order
     * of p. weights: rows of `stride` floats; values: [positions][dims], dims a multiple of 16;
     * out: [UQFF_QUERIES] rows. */
    void (*mix)(const float *weights, size_t stride, const float *values, size_t positions,
                size_t dims, float *const out[UQFF_QUERIES]);
    /* x[k] = exp(x[k] - largest); returns their sum: element k goes to lane k % 8, lanes are folded
     * in halves. n is a multiple of 8. */
    float (*softmax)(float *x, size_t n);
    /* x[k] = cap * tanh(x[k] / cap); n is a multiple of 8. */
    void (*softcap)(float *x, size_t n, float cap);
    /* gate[k] = activation(gate[k]) * up[k]; any n. silu(g) = g / (1 + exp(-g)); gelu in the
     * approximation by tanh, g / (1 + exp(-2 u)) with u = sqrt(2/pi) (g + 0.044715 g^3). */
    void (*swiglu)(float *gate, const float *up, size_t n);
    void (*geglu)(float *gate, const float *up, size_t n);
    /* Sum of exp(x[k] - shift), each a float, in doubles: lane k % 8, folded in halves. Any n. */
    double (*sum_exp)(const float *x, size_t n, float shift);
    /* Over k with base[k] - base_shift > -16 and p = exp(base[k] - base_shift), each a float:
     * sums[0] of p, sums[1] of p * (base[k] - x[k]); lanes as above. Any n. */
    void (*divergence)(const float *base, const float *x, size_t n, float base_shift,
                       double sums[2]);
    /* out[k] = exp(x[k]). */
    void (*exp)(const float *x, float *out, size_t n);
};

/* The operators of the kernel level in use. */
const struct uqff_ops *uqff_ops_in_use(void);

extern const struct uqff_ops uqff_ops_c;
extern const struct uqff_ops uqff_ops_avx2; /* on x86-64 */

/* ---- operators that are plain C -------------------------------------------------------------- */

/* out[k] = x[k] / sqrt(mean of x^2 + epsilon) * (weight[k] + shift), k < n. The squares are summed
 * in doubles: lane k % 8, folded in halves. out may be x. */
void uqff_rms_norm(const float *x, const float *weight, float shift, double epsilon, float *out,
                   size_t n);

/* Rotates a head: pairs are (x[i], x[i + half]) for i < half, by angles whose cosines and sines are
 * given. Elements from 2 * half on stay. */
void uqff_rope(float *x, const float *cosines, const float *sines, size_t half);

/* Brings pairs that lie side by side into halves: x[2i] to x[i], x[2i + 1] to x[i + n/2].
 * scratch: n floats. */
void uqff_unpair(float *x, float *scratch, size_t n);

/* x[k] += y[k] */
void uqff_add(float *x, const float *y, size_t n);
/* x[k] *= factor */
void uqff_scale(float *x, float factor, size_t n);
/* gate[k] = g / 2 * (1 + erf(g / sqrt 2)) * up[k] */
void uqff_geglu_erf(float *gate, const float *up, size_t n);
/* gate[k] = max(gate[k], 0) * up[k] */
void uqff_reglu(float *gate, const float *up, size_t n);

/* The sum of 8 lanes: of halves, of their halves, and of the last two. */
static inline float uqff_fold_lanes(const float v[8]) {
    float a = v[0] + v[4], b = v[1] + v[5], c = v[2] + v[6], d = v[3] + v[7];
    return (a + c) + (b + d);
}

static inline double uqff_fold_doubles(const double v[8]) {
    double a = v[0] + v[4], b = v[1] + v[5], c = v[2] + v[6], d = v[3] + v[7];
    return (a + c) + (b + d);
}

#endif
