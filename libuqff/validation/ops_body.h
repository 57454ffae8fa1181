/*
 * The operators of struct uqff_ops, written over eight lanes. Included once by each file that gives
 * the lanes (ops_lanes_*.h). Lanes never depend on each other but in the folds at the end, so every
 * instruction set does the same operations in the same order. Private to validation/.
 */
#ifndef UQFF_VALIDATION_OPS_BODY_H
#define UQFF_VALIDATION_OPS_BODY_H

/* ---- functions of eight floats --------------------------------------------------------------- */

/* e^x = 2^n e^r with |r| <= ln 2 / 2, e^r by its series to r^7 (what is left out is below 2^-27).
 * The clamps are where results overflow and vanish; their order lets a NaN pass. 2^n is applied
 * in two steps, for results that have no exponent of their own. */
LANE vf vf_exp(vf x) {
    const vf rounder = vf_set(0x1.8p23f); /* adding it leaves the integer nearest, ties to even */
    x = vf_min(vf_set(89.0f), x);
    x = vf_max(vf_set(-104.0f), x);
    vf shifted = vf_fma(x, vf_set(0x1.715476p+0f), rounder);
    vf n = vf_sub(shifted, rounder);
    vf r = vf_fma(n, vf_set(-0x1.62e4p-1f), x);
    r = vf_fma(n, vf_set(-0x1.7f7d1cp-20f), r);
    vf p = vf_set(1 / 5040.0f);
    p = vf_fma(p, r, vf_set(1 / 720.0f));
    p = vf_fma(p, r, vf_set(1 / 120.0f));
    p = vf_fma(p, r, vf_set(1 / 24.0f));
    p = vf_fma(p, r, vf_set(1 / 6.0f));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, vf_mul(r, r), r);
    p = vf_add(p, vf_set(1));
    vi whole = vi_sub(vf_bits(shifted), vf_bits(rounder));
    vi half = vi_halve(whole);
    vf first = vi_floats(vi_left(vi_add(half, vi_set(127)), 23));
    vf second = vi_floats(vi_left(vi_add(vi_sub(whole, half), vi_set(127)), 23));
    return vf_mul(vf_mul(p, first), second);
}

/* Below 0.625 an odd polynomial (relative error 2^-30), above it 1 - 2 / (e^2|x| + 1). */
LANE vf vf_tanh(vf x) {
    vi sign = vi_and(vf_bits(x), vi_set(0x80000000u));
    vf a = vi_floats(vi_and(vf_bits(x), vi_set(0x7fffffffu)));
    vf square = vf_mul(a, a);
    vf p = vf_set(0x1.2c83c0p-9f);
    p = vf_fma(p, square, vf_set(-0x1.116a16p-7f));
    p = vf_fma(p, square, vf_set(0x1.64a976p-6f));
    p = vf_fma(p, square, vf_set(-0x1.ba08c4p-5f));
    p = vf_fma(p, square, vf_set(0x1.1110eap-3f));
    p = vf_fma(p, square, vf_set(-0x1.555556p-2f));
    vf near = vf_fma(p, vf_mul(square, a), a);
    vf e = vf_exp(vf_add(a, a));
    vf far = vf_sub(vf_set(1), vf_div(vf_set(2), vf_add(e, vf_set(1))));
    vf value = vf_if_greater(a, vf_set(0.625f), far, near);
    return vi_floats(vi_or(vf_bits(value), sign));
}

LANE vf vf_silu(vf g) {
    vf e = vf_exp(vf_sub(vf_set(0), g));
    return vf_div(g, vf_add(vf_set(1), e));
}

LANE vf vf_gelu(vf g) {
    /* -2 sqrt(2 / pi) (g + 0.044715 g^3) */
    vf cube = vf_mul(vf_mul(g, g), g);
    vf u = vf_fma(vf_set(0.044715f), cube, g);
    vf e = vf_exp(vf_mul(vf_set(-1.5957691216f), u));
    return vf_div(g, vf_add(vf_set(1), e));
}

/* The last n % 8 elements in a register, and `fill` in its other lanes. */
LANE vf vf_load_tail(const float *x, size_t n, float fill) {
    float padded[8];
    for (size_t k = 0; k < 8; k++) {
        padded[k] = k < n ? x[k] : fill;
    }
    return vf_load(padded);
}

LANE void vf_store_tail(float *out, vf value, size_t n) {
    float padded[8];
    vf_store(padded, value);
    for (size_t k = 0; k < n; k++) {
        out[k] = padded[k];
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Eight accumulators, two for each query: as many as hide the latency of fused operations.
 *     keys of a block:   d 0: p0 p1 … p15 | d 1: p0 p1 … p15 | … */
static SIMD void scores(const float *const q[UQFF_QUERIES], const float *keys, size_t dims,
                        size_t blocks, float *out, size_t stride) {
    const float *q0 = q[0], *q1 = q[1], *q2 = q[2], *q3 = q[3];
    for (size_t b = 0; b < blocks; b++, keys += UQFF_KEY_BLOCK * dims, out += UQFF_KEY_BLOCK) {
        vf a0 = vf_set(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
        for (size_t d = 0; d < dims; d++) {
            vf low = vf_load(keys + UQFF_KEY_BLOCK * d);
            vf high = vf_load(keys + UQFF_KEY_BLOCK * d + 8);
            vf query = vf_set(q0[d]);
            a0 = vf_fma(query, low, a0);
            a1 = vf_fma(query, high, a1);
            query = vf_set(q1[d]);
            b0 = vf_fma(query, low, b0);
            b1 = vf_fma(query, high, b1);
            query = vf_set(q2[d]);
            c0 = vf_fma(query, low, c0);
            c1 = vf_fma(query, high, c1);
            query = vf_set(q3[d]);
            d0 = vf_fma(query, low, d0);
            d1 = vf_fma(query, high, d1);
        }
        vf_store(out, a0);
        vf_store(out + 8, a1);
        vf_store(out + stride, b0);
        vf_store(out + stride + 8, b1);
        vf_store(out + 2 * stride, c0);
        vf_store(out + 2 * stride + 8, c1);
        vf_store(out + 3 * stride, d0);
        vf_store(out + 3 * stride + 8, d1);
    }
}

static SIMD void mix(const float *weights, size_t stride, const float *values, size_t positions,
                     size_t dims, float *const out[UQFF_QUERIES]) {
    for (size_t d = 0; d < dims; d += 16) {
        const float *w = weights, *v = values + d;
        vf a0 = vf_set(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
        for (size_t p = 0; p < positions; p++, w++, v += dims) {
            vf low = vf_load(v), high = vf_load(v + 8);
            vf weight = vf_set(w[0]);
            a0 = vf_fma(weight, low, a0);
            a1 = vf_fma(weight, high, a1);
            weight = vf_set(w[stride]);
            b0 = vf_fma(weight, low, b0);
            b1 = vf_fma(weight, high, b1);
            weight = vf_set(w[2 * stride]);
            c0 = vf_fma(weight, low, c0);
            c1 = vf_fma(weight, high, c1);
            weight = vf_set(w[3 * stride]);
            d0 = vf_fma(weight, low, d0);
            d1 = vf_fma(weight, high, d1);
        }
        vf_store(out[0] + d, a0);
        vf_store(out[0] + d + 8, a1);
        vf_store(out[1] + d, b0);
        vf_store(out[1] + d + 8, b1);
        vf_store(out[2] + d, c0);
        vf_store(out[2] + d + 8, c1);
        vf_store(out[3] + d, d0);
        vf_store(out[3] + d + 8, d1);
    }
}

static SIMD float softmax(float *x, size_t n) {
    float lanes[8], largest;
    vf top = vf_load(x), sum = vf_set(0);
    for (size_t k = 8; k < n; k += 8) {
        top = vf_max(top, vf_load(x + k));
    }
    vf_store(lanes, top);
    largest = lanes[0];
    for (int l = 1; l < 8; l++) {
        largest = lanes[l] > largest ? lanes[l] : largest;
    }
    for (size_t k = 0; k < n; k += 8) {
        vf e = vf_exp(vf_sub(vf_load(x + k), vf_set(largest)));
        sum = vf_add(sum, e);
        vf_store(x + k, e);
    }
    vf_store(lanes, sum);
    return uqff_fold_lanes(lanes);
}

static SIMD void softcap(float *x, size_t n, float cap) {
    for (size_t k = 0; k < n; k += 8) {
        vf value = vf_tanh(vf_div(vf_load(x + k), vf_set(cap)));
        vf_store(x + k, vf_mul(value, vf_set(cap)));
    }
}

/* ---- feed forward ---------------------------------------------------------------------------- */

static SIMD void swiglu(float *gate, const float *up, size_t n) {
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        vf_store(gate + k, vf_mul(vf_silu(vf_load(gate + k)), vf_load(up + k)));
    }
    if (k < n) {
        vf value = vf_silu(vf_load_tail(gate + k, n - k, 0));
        vf_store_tail(gate + k, vf_mul(value, vf_load_tail(up + k, n - k, 0)), n - k);
    }
}

static SIMD void geglu(float *gate, const float *up, size_t n) {
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        vf_store(gate + k, vf_mul(vf_gelu(vf_load(gate + k)), vf_load(up + k)));
    }
    if (k < n) {
        vf value = vf_gelu(vf_load_tail(gate + k, n - k, 0));
        vf_store_tail(gate + k, vf_mul(value, vf_load_tail(up + k, n - k, 0)), n - k);
    }
}

/* ---- probabilities --------------------------------------------------------------------------- */

static SIMD double sum_exp(const float *x, size_t n, float shift) {
    double lanes[8];
    vd sum = vd_zero();
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        sum = vd_add(sum, vf_exp(vf_sub(vf_load(x + k), vf_set(shift))));
    }
    if (k < n) {
        sum = vd_add(sum, vf_exp(vf_sub(vf_load_tail(x + k, n - k, -INFINITY), vf_set(shift))));
    }
    vd_store(lanes, sum);
    return uqff_fold_doubles(lanes);
}

static SIMD void divergence(const float *base, const float *x, size_t n, float base_shift,
                            double sums[2]) {
    const vf floor = vf_set(-16), zero = vf_set(0), shift = vf_set(base_shift);
    double lanes[8];
    vd mass = vd_zero(), cross = mass;
    for (size_t k = 0; k < n; k += 8) {
        size_t left = n - k;
        vf b = left >= 8 ? vf_load(base + k) : vf_load_tail(base + k, left, -INFINITY);
        vf y = left >= 8 ? vf_load(x + k) : vf_load_tail(x + k, left, 0);
        vf log_p = vf_sub(b, shift);
        vf p = vf_exp(log_p);
        mass = vd_add(mass, vf_if_greater(log_p, floor, p, zero));
        cross = vd_add(cross, vf_if_greater(log_p, floor, vf_mul(p, vf_sub(b, y)), zero));
    }
    vd_store(lanes, mass);
    sums[0] = uqff_fold_doubles(lanes);
    vd_store(lanes, cross);
    sums[1] = uqff_fold_doubles(lanes);
}

static SIMD void exponentials(const float *x, float *out, size_t n) {
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        vf_store(out + k, vf_exp(vf_load(x + k)));
    }
    if (k < n) {
        vf_store_tail(out + k, vf_exp(vf_load_tail(x + k, n - k, 0)), n - k);
    }
}

#define UQFF_OPS_TABLE                                                                             \
    {                                                                                              \
        .scores = scores, .mix = mix, .softmax = softmax, .softcap = softcap, .swiglu = swiglu,    \
        .geglu = geglu, .sum_exp = sum_exp, .divergence = divergence, .exp = exponentials,         \
    }

#endif
