#include "validation/ops.h"

#include "validation/math.h"

const struct uqff_ops *uqff_ops_in_use(void) {
#if defined(__x86_64__)
    if (uqff_cpu_level() != UQFF_CPU_REF) {
        return &uqff_ops_avx2;
    }
#endif
    return &uqff_ops_c;
}

void uqff_rms_norm(const float *x, const float *weight, float shift, double epsilon, float *out,
                   size_t n) {
    double lanes[8] = {0};
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        for (size_t l = 0; l < 8; l++) {
            double value = (double)x[k + l];
            lanes[l] += value * value;
        }
    }
    for (size_t l = 0; k < n; k++, l++) {
        double value = (double)x[k];
        lanes[l] += value * value;
    }
    double mean = uqff_fold_doubles(lanes) / (double)n;
    float factor = (float)(1 / uqff_math_sqrt(mean + epsilon));
    for (k = 0; k < n; k++) {
        out[k] = x[k] * factor * (weight[k] + shift);
    }
}

void uqff_rope(float *x, const float *cosines, const float *sines, size_t half) {
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosines[i] - b * sines[i];
        x[i + half] = b * cosines[i] + a * sines[i];
    }
}

void uqff_unpair(float *x, float *scratch, size_t n) {
    for (size_t i = 0; i < n / 2; i++) {
        scratch[i] = x[2 * i];
        scratch[i + n / 2] = x[2 * i + 1];
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = scratch[i];
    }
}

void uqff_add(float *x, const float *y, size_t n) {
    for (size_t k = 0; k < n; k++) {
        x[k] += y[k];
    }
}

void uqff_scale(float *x, float factor, size_t n) {
    for (size_t k = 0; k < n; k++) {
        x[k] *= factor;
    }
}

void uqff_geglu_erf(float *gate, const float *up, size_t n) {
    for (size_t k = 0; k < n; k++) {
        double g = (double)gate[k];
        float value = (float)(g / 2 * (1 + uqff_math_erf(g * 0.70710678118654752440)));
        gate[k] = value * up[k];
    }
}

void uqff_reglu(float *gate, const float *up, size_t n) {
    for (size_t k = 0; k < n; k++) {
        /* Not a comparison with 0 alone: a NaN must come through. */
        gate[k] = (gate[k] < 0 ? 0 : gate[k]) * up[k];
    }
}
