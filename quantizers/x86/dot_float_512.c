/*
 * Exact products of rows of floats: two vectors are the 32 lanes.
 */
#if defined(__x86_64__)

#include "x86/sums_512.h"

#include "lanes/dot.h"

struct lanes {
    __m512 v[2];
};

LANE size_t weight_bytes(uint32_t type) {
    return type == UQFF_TYPE_F32 ? 4 : 2;
}

/* Sixteen weights as floats, those that `live` has. */
LANE __m512 sixteen_weights(uint32_t type, const unsigned char *w, __mmask16 live) {
    switch (type) {
    case UQFF_TYPE_F32:
        return _mm512_maskz_loadu_ps(live, w);
    case UQFF_TYPE_F16:
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(live, w));
    default: { /* UQFF_TYPE_BF16 */
        __m256i half = _mm256_maskz_loadu_epi16(live, w);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    }
    }
}

LANE struct lanes lanes_add(uint32_t type, struct lanes sum, const unsigned char *w, const float *x,
                            size_t n) {
    const size_t bytes = weight_bytes(type);
    size_t k = 0;
    for (; k + 32 <= n; k += 32, w += 32 * bytes) {
        fetch_ahead(w, 32 * bytes);
        for (int v = 0; v < 2; v++) {
            sum.v[v] = _mm512_fmadd_ps(sixteen_weights(type, w + (size_t)v * 16 * bytes, 0xffff),
                                       _mm512_loadu_ps(x + k + 16 * v), sum.v[v]);
        }
    }
    /* A lane without an element keeps its sum. */
    for (int v = 0; k < n; v++, k += 16, w += 16 * bytes) {
        __mmask16 live = (__mmask16)(n - k < 16 ? (1u << (n - k)) - 1 : 0xffffu);
        sum.v[v] = _mm512_mask3_fmadd_ps(sixteen_weights(type, w, live),
                                         _mm512_maskz_loadu_ps(live, x + k), sum.v[v], live);
    }
    return sum;
}

/* uqff_fold_32: 0..7 and 16..23 with 8..15 and 24..31. */
LANE float dot_floats(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    struct lanes sum = {{_mm512_setzero_ps(), _mm512_setzero_ps()}};
    sum = lanes_add(type, sum, w, (const float *)(const void *)x, n);
    __m512 v = _mm512_add_ps(sum.v[0], sum.v[1]);
    return fold_8(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
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
    struct lanes sum = {{_mm512_loadu_ps(lanes), _mm512_loadu_ps(lanes + 16)}};
    sum = lanes_add(UQFF_TYPE_F32, sum, (const unsigned char *)w, x, n);
    _mm512_storeu_ps(lanes, sum.v[0]);
    _mm512_storeu_ps(lanes + 16, sum.v[1]);
}

#endif
