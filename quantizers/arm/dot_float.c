/*
 * Exact products of rows of floats: eight vectors are the 32 lanes.
 */
#if defined(__aarch64__)

#include "arm/unpack.h"

#include "lanes/dot.h"

struct lanes {
    float32x4_t v[8];
};

/* Eight weights as floats. */
LANE float32x4x2_t eight_weights(uint32_t type, const unsigned char *w) {
    switch (type) {
    case UQFF_TYPE_F32:
        return (float32x4x2_t){
            {vreinterpretq_f32_u8(vld1q_u8(w)), vreinterpretq_f32_u8(vld1q_u8(w + 16))}};
    case UQFF_TYPE_F16: {
        float16x8_t half = vreinterpretq_f16_u8(vld1q_u8(w));
        return (float32x4x2_t){{vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)}};
    }
    default: { /* UQFF_TYPE_BF16 */
        uint16x8_t half = vreinterpretq_u16_u8(vld1q_u8(w));
        return (float32x4x2_t){{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(half), 16)),
                                vreinterpretq_f32_u32(vshll_high_n_u16(half, 16))}};
    }
    }
}

LANE float one_weight(uint32_t type, const unsigned char *w) {
    return type == UQFF_TYPE_F32   ? bits_float(uqff_load_le32(w))
           : type == UQFF_TYPE_F16 ? get_f16(w)
                                   : bf16_to_float(uqff_load_le16(w));
}

LANE void lanes_add(uint32_t type, float lanes[UQFF_FLOAT_LANES], const unsigned char *w,
                    const float *x, size_t n) {
    const size_t bytes = type == UQFF_TYPE_F32 ? 4 : 2;
    struct lanes sum;
    size_t k = 0;
    for (int v = 0; v < 8; v++) {
        sum.v[v] = vld1q_f32(lanes + 4 * v);
    }
    for (; k + 32 <= n; k += 32, w += 32 * bytes) {
        for (size_t v = 0; v < 8; v += 2) {
            float32x4x2_t weights = eight_weights(type, w + 4 * v * bytes);
            sum.v[v] = vfmaq_f32(sum.v[v], weights.val[0], vld1q_f32(x + k + 4 * v));
            sum.v[v + 1] = vfmaq_f32(sum.v[v + 1], weights.val[1], vld1q_f32(x + k + 4 * v + 4));
        }
    }
    for (int v = 0; v < 8; v++) {
        vst1q_f32(lanes + 4 * v, sum.v[v]);
    }
    for (size_t l = 0; k < n; k++, l++, w += bytes) {
        lanes[l] = fmaf(one_weight(type, w), x[k], lanes[l]);
    }
}

LANE float dot_floats(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    float lanes[UQFF_FLOAT_LANES] = {0};
    lanes_add(type, lanes, w, (const float *)(const void *)x, n);
    return uqff_fold_32(lanes);
}

float LEVEL(dot_f32)(const unsigned char *w, const unsigned char *x, size_t n) {
    return dot_floats(UQFF_TYPE_F32, w, x, n);
}

float LEVEL(dot_f16)(const unsigned char *w, const unsigned char *x, size_t n) {
    return dot_floats(UQFF_TYPE_F16, w, x, n);
}

float LEVEL(dot_bf16)(const unsigned char *w, const unsigned char *x, size_t n) {
    return dot_floats(UQFF_TYPE_BF16, w, x, n);
}

void LEVEL(lanes_f32)(float lanes[UQFF_FLOAT_LANES], const float *w, const float *x, size_t n) {
    lanes_add(UQFF_TYPE_F32, lanes, (const unsigned char *)w, x, n);
}

#endif
