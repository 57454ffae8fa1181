/*
 * Products of rows, defined: spec/kernels.md in C.
 *
 * Each block of weights gives an integer, exactly, which enters one of eight sums by a fused
 * multiply-add. Which sum and in which order depends on the number of the block alone, so that
 * eight blocks of a row can be handled side by side, or one block of eight rows.
 */
#include "codes.h"
#include "products.h"

/* Σ code * x over one group. */
static int32_t group_sum(const int8_t *code, const unsigned char *x, int n) {
    int32_t sum = 0;
    for (int i = 0; i < n; i++) {
        sum += code[i] * (int8_t)x[i];
    }
    return sum;
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

/* Activations in Q8_0: d f16, 32 codes. */
static float dot_q8_0(uqff_codes_fn *decode, size_t bytes, const unsigned char *w,
                      const unsigned char *x, size_t n) {
    float lanes[UQFF_BLOCK_LANES] = {0};
    struct uqff_codes c;
    for (size_t b = 0; b < n / 32; b++, w += bytes, x += 34) {
        float *lane = &lanes[b % UQFF_BLOCK_LANES];
        decode(w, &c);
        float scale = c.d * load_f16(x);
        *lane = fmaf(scale, (float)group_sum(c.code, x + 2, 32), *lane);
    }
    return uqff_fold_8(lanes);
}

/* Activations in Q8_1: d f16, s f16 the sum of the values, 32 codes. */
static float dot_q8_1(uqff_codes_fn *decode, size_t bytes, const unsigned char *w,
                      const unsigned char *x, size_t n) {
    float lanes[UQFF_BLOCK_LANES] = {0};
    struct uqff_codes c;
    for (size_t b = 0; b < n / 32; b++, w += bytes, x += 36) {
        float *lane = &lanes[b % UQFF_BLOCK_LANES];
        decode(w, &c);
        float scale = c.d * load_f16(x);
        *lane = fmaf(scale, (float)group_sum(c.code, x + 4, 32), *lane);
        *lane = fmaf(c.m, load_f16(x + 2), *lane);
    }
    return uqff_fold_8(lanes);
}

/* ---- blocks of 256 --------------------------------------------------------------------------- */

/* Activations in Q8_K: d f32, 256 codes, the sums of each 16 codes in 16 bits. `minimum`: the type
 * has minima. */
static float dot_q8_k(uqff_codes_fn *decode, size_t bytes, int group, bool minimum,
                      const unsigned char *w, const unsigned char *x, size_t n) {
    float lanes[UQFF_BLOCK_LANES] = {0};
    struct uqff_codes c;
    for (size_t b = 0; b < n / 256; b++, w += bytes, x += 292) {
        float *lane = &lanes[b % UQFF_BLOCK_LANES];
        float dx = bits_float(uqff_load_le32(x));
        decode(w, &c);
        int32_t sum = 0;
        for (int g = 0; g < 256 / group; g++) {
            sum += c.scale[g] * group_sum(c.code + group * g, x + 4 + group * g, group);
        }
        *lane = fmaf(c.d * dx, (float)sum, *lane);
        if (minimum) {
            int32_t minima = 0;
            for (int k = 0; k < 16; k++) {
                minima += c.minimum[16 * k / group] * (int16_t)uqff_load_le16(x + 260 + 2 * k);
            }
            *lane = fmaf(-(c.m * dx), (float)minima, *lane);
        }
    }
    return uqff_fold_8(lanes);
}

/* ---- one function a type --------------------------------------------------------------------- */

#define SIMPLE(name, activations, bytes)                                                           \
    static float dot_##name(const unsigned char *w, const unsigned char *x, size_t n) {            \
        return dot_##activations(uqff_codes_##name, bytes, w, x, n);                               \
    }
#define SUPER(name, bytes, group, minimum)                                                         \
    static float dot_##name(const unsigned char *w, const unsigned char *x, size_t n) {            \
        return dot_q8_k(uqff_codes_##name, bytes, group, minimum, w, x, n);                        \
    }

SIMPLE(q4_0, q8_0, 18)
SIMPLE(q4_1, q8_1, 20)
SIMPLE(q5_0, q8_0, 22)
SIMPLE(q5_1, q8_1, 24)
SIMPLE(iq4_nl, q8_0, 18)
SIMPLE(mxfp4, q8_0, 17)
SUPER(q2_k, 84, 16, true)
SUPER(q3_k, 110, 16, false)
SUPER(q4_k, 144, 32, true)
SUPER(q5_k, 176, 32, true)
SUPER(q6_k, 210, 16, false)
SUPER(iq4_xs, 136, 32, false)
SUPER(tq1_0, 54, 256, false)
SUPER(tq2_0, 66, 256, false)

static float dot_weights_q8_0(const unsigned char *w, const unsigned char *x, size_t n) {
    return dot_q8_0(uqff_codes_q8_0, 34, w, x, n);
}

/* As weights, Q8_1 is Q8_0 with a sum that is not needed. */
static float dot_weights_q8_1(const unsigned char *w, const unsigned char *x, size_t n) {
    return dot_q8_0(uqff_codes_q8_1, 36, w, x, n);
}

/* ---- exact ----------------------------------------------------------------------------------- */

static void lanes_f32(float lanes[UQFF_FLOAT_LANES], const float *w, const float *x, size_t n) {
    for (size_t k = 0; k < n; k++) {
        float *lane = &lanes[k % UQFF_FLOAT_LANES];
        *lane = fmaf(w[k], x[k], *lane);
    }
}

#define ROW(TYPE, function) [UQFF_SLOT(UQFF_TYPE_##TYPE)] = function

const struct uqff_products uqff_products_ref = {
    .dot =
        {
            ROW(Q4_0, dot_q4_0),
            ROW(Q4_1, dot_q4_1),
            ROW(Q5_0, dot_q5_0),
            ROW(Q5_1, dot_q5_1),
            ROW(Q8_0, dot_weights_q8_0),
            ROW(Q8_1, dot_weights_q8_1),
            ROW(Q2_K, dot_q2_k),
            ROW(Q3_K, dot_q3_k),
            ROW(Q4_K, dot_q4_k),
            ROW(Q5_K, dot_q5_k),
            ROW(Q6_K, dot_q6_k),
            ROW(IQ4_NL, dot_iq4_nl),
            ROW(IQ4_XS, dot_iq4_xs),
            ROW(TQ1_0, dot_tq1_0),
            ROW(TQ2_0, dot_tq2_0),
            ROW(MXFP4, dot_mxfp4),
        },
    .lanes = lanes_f32,
};
