/*
 * Exact products of rows of floats: four vectors are the 32 lanes.
 */
#if defined(__x86_64__)

#include "x86/sums.h"

#include "lanes/dot.h"

struct lanes {
    __m256 v[4];
};

LANE struct lanes lanes_zero(void) {
    __m256 zero = _mm256_setzero_ps();
    return (struct lanes){{zero, zero, zero, zero}};
}

/* Eight weights as floats. */
LANE __m256 eight_weights(uint32_t type, const unsigned char *w, size_t k) {
    switch (type) {
    case UQFF_TYPE_F32:
        return _mm256_loadu_ps((const float *)(const void *)(w + 4 * k));
    case UQFF_TYPE_F16:
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(w + 2 * k)));
    default: { /* UQFF_TYPE_BF16 */
        __m128i half = _mm_loadu_si128((const __m128i *)(w + 2 * k));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    }
    }
}

LANE struct lanes lanes_add(uint32_t type, struct lanes sum, const unsigned char *w, const float *x,
                            size_t n) {
    size_t k = 0;
    const size_t bytes = type == UQFF_TYPE_F32 ? 4 : 2;
    for (; k + 32 <= n; k += 32) {
        fetch_ahead(w + bytes * k, bytes * 32);
        for (size_t v = 0; v < 4; v++) {
            sum.v[v] = _mm256_fmadd_ps(eight_weights(type, w, k + 8 * v),
                                       _mm256_loadu_ps(x + k + 8 * v), sum.v[v]);
        }
    }
    if (k < n) {
        float rest[32];
        for (int v = 0; v < 4; v++) {
            _mm256_storeu_ps(rest + 8 * v, sum.v[v]);
        }
        for (size_t l = 0; k < n; k++, l++) {
            float weight = type == UQFF_TYPE_F32   ? bits_float(uqff_load_le32(w + 4 * k))
                           : type == UQFF_TYPE_F16 ? get_f16(w + 2 * k)
                                                   : bf16_to_float(uqff_load_le16(w + 2 * k));
            rest[l] = fmaf(weight, x[k], rest[l]);
        }
        for (int v = 0; v < 4; v++) {
            sum.v[v] = _mm256_loadu_ps(rest + 8 * v);
        }
    }
    return sum;
}

/* uqff_fold_32 */
LANE float dot_floats(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    struct lanes sum = lanes_add(type, lanes_zero(), w, (const float *)(const void *)x, n);
    return fold_8(
        _mm256_add_ps(_mm256_add_ps(sum.v[0], sum.v[2]), _mm256_add_ps(sum.v[1], sum.v[3])));
}

SIMD float LEVEL(dot_f32)(const unsigned char *w, const unsigned char *x, size_t n) {
    return dot_floats(UQFF_TYPE_F32, w, x, n);
}

SIMD float LEVEL(dot_f16)(const unsigned char *w, const unsigned char *x, size_t n) {
    return dot_floats(UQFF_TYPE_F16, w, x, n);
}

SIMD float LEVEL(dot_bf16)(const unsigned char *w, const unsigned char *x, size_t n) {
    return dot_floats(UQFF_TYPE_BF16, w, x, n);
}

SIMD void LEVEL(lanes_f32)(float lanes[UQFF_FLOAT_LANES], const float *w, const float *x,
                           size_t n) {
    struct lanes sum;
    for (int v = 0; v < 4; v++) {
        sum.v[v] = _mm256_loadu_ps(lanes + 8 * v);
    }
    sum = lanes_add(UQFF_TYPE_F32, sum, (const unsigned char *)w, x, n);
    for (int v = 0; v < 4; v++) {
        _mm256_storeu_ps(lanes + 8 * v, sum.v[v]);
    }
}

#endif
