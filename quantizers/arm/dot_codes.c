/*
 * Products of rows of block types. NEON multiplies signed bytes, so codes lose their offset first.
 */
#if defined(__aarch64__)

#include "arm/unpack.h"

#include "lanes/codes.h"
#include "lanes/dot.h"

/* Four sums of four products each, of 16 signed codes. Two products of 128 * 127 fit into a word.
 */
LANE int32x4_t sixteen_products(uint8x16_t q, const unsigned char *x) {
    int8x16_t code = vreinterpretq_s8_u8(q);
    int8x16_t v = vreinterpretq_s8_u8(vld1q_u8(x));
    int16x8_t two = vmull_s8(vget_low_s8(code), vget_low_s8(v));
    return vpaddlq_s16(vmlal_high_s8(two, code, v));
}

LANE vb without_offset(uint32_t type, vb q) {
    return offset_of(type) ? vb_sub(q, vb_set(offset_of(type))) : q;
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

LANE float dot_32(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    const size_t w_bytes = block_bytes_of(type);
    const size_t x_bytes = has_minimum(type) ? 36 : 34;
    float lanes[UQFF_BLOCK_LANES] = {0};
    for (size_t b = 0; b < n / 32; b++, w += w_bytes, x += x_bytes) {
        float *lane = &lanes[b % UQFF_BLOCK_LANES];
        const unsigned char *codes = x + (has_minimum(type) ? 4 : 2);
        vb q = without_offset(type, codes_32(type, w));
        int32x4_t sums =
            vaddq_s32(sixteen_products(q.val[0], codes), sixteen_products(q.val[1], codes + 16));
        float d = type == UQFF_TYPE_MXFP4 ? mxfp4_half_scale(w[0]) : get_f16(w);
        *lane = fmaf(d * get_f16(x), (float)vaddvq_s32(sums), *lane);
        if (has_minimum(type)) {
            *lane = fmaf(get_f16(w + 2), get_f16(x + 2), *lane);
        }
    }
    return uqff_fold_8(lanes);
}

/* ---- blocks of 256 --------------------------------------------------------------------------- */

/* Σ minimum * sum of the activations, over 16 groups of 16 or 8 of 32. */
LANE int32_t minimum_sums(const uint64_t m[2], int group, const unsigned char *sums) {
    int8x16_t bytes = vreinterpretq_s8_u64(vcombine_u64(vcreate_u64(m[0]), vcreate_u64(m[1])));
    if (group == 32) {
        bytes = vzip1q_s8(bytes, bytes);
    }
    int16x8_t low = vmovl_s8(vget_low_s8(bytes));
    int16x8_t high = vmovl_high_s8(bytes);
    int16x8_t low_sums = vreinterpretq_s16_u8(vld1q_u8(sums));
    int16x8_t high_sums = vreinterpretq_s16_u8(vld1q_u8(sums + 16));
    int32x4_t total = vmull_s16(vget_low_s16(low), vget_low_s16(low_sums));
    total = vmlal_high_s16(total, low, low_sums);
    total = vmlal_s16(total, vget_low_s16(high), vget_low_s16(high_sums));
    return vaddvq_s32(vmlal_high_s16(total, high, high_sums));
}

LANE int32_t scaled_sums(uint32_t type, const unsigned char *w, const unsigned char *codes,
                         const struct group_scales *scales) {
    const int group = group_of(type);
    int32x4_t total = vdupq_n_s32(0);
    int8_t scale[16];
    vb q[8];
    memcpy(scale, scales->s, sizeof scale);
    codes_256(type, w, q);
    for (int g = 0; g < 8; g++, codes += 32) {
        vb code = without_offset(type, q[g]);
        int32x4_t first = sixteen_products(code.val[0], codes);
        int32x4_t second = sixteen_products(code.val[1], codes + 16);
        if (group == 16) {
            total = vmlaq_n_s32(total, first, scale[2 * g]);
            total = vmlaq_n_s32(total, second, scale[2 * g + 1]);
        } else if (group == 32) {
            total = vmlaq_n_s32(total, vaddq_s32(first, second), scale[g]);
        } else {
            total = vaddq_s32(total, vaddq_s32(first, second));
        }
    }
    return vaddvq_s32(total);
}

LANE float dot_256(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    const size_t bytes = block_bytes_of(type);
    float lanes[UQFF_BLOCK_LANES] = {0};
    for (size_t b = 0; b < n / 256; b++, w += bytes, x += 292) {
        float *lane = &lanes[b % UQFF_BLOCK_LANES];
        float dx = bits_float(uqff_load_le32(x));
        const unsigned char *d = w + d_place_of(type);
        struct group_scales scales = {{0}, {0}};
        if (group_of(type) != 256) {
            scales = scales_256(type, w);
        }
        *lane = fmaf(get_f16(d) * dx, (float)scaled_sums(type, w, x + 4, &scales), *lane);
        if (has_minimum(type)) {
            int32_t minima = minimum_sums(scales.m, group_of(type), x + 260);
            *lane = fmaf(-(get_f16(d + 2) * dx), (float)minima, *lane);
        }
    }
    return uqff_fold_8(lanes);
}

/* ---- one function a type --------------------------------------------------------------------- */

#define DOT(block, name, TYPE)                                                                     \
    float LEVEL(dot_##name)(const unsigned char *w, const unsigned char *x, size_t n) {            \
        return dot_##block(UQFF_TYPE_##TYPE, w, x, n);                                             \
    }

DOT(32, q4_0, Q4_0)
DOT(32, q4_1, Q4_1)
DOT(32, q5_0, Q5_0)
DOT(32, q5_1, Q5_1)
DOT(32, q8_0, Q8_0)
DOT(32, q8_1, Q8_1)
DOT(32, iq4_nl, IQ4_NL)
DOT(32, mxfp4, MXFP4)
DOT(256, q2_k, Q2_K)
DOT(256, q3_k, Q3_K)
DOT(256, q4_k, Q4_K)
DOT(256, q5_k, Q5_K)
DOT(256, q6_k, Q6_K)
DOT(256, iq4_xs, IQ4_XS)
DOT(256, tq1_0, TQ1_0)
DOT(256, tq2_0, TQ2_0)

#endif
