/* lanes/matmul_float.h for NEON: four vectors of four rows. */
#if defined(__aarch64__)

#include "arm/unpack.h"

#include "products.h"

/* Four rows of four columns. */
LANE void put_four(const float *const row[4], size_t c, float *const out[4], size_t at) {
    float32x4_t a = vld1q_f32(row[0] + c), b = vld1q_f32(row[1] + c);
    float32x4_t e = vld1q_f32(row[2] + c), f = vld1q_f32(row[3] + c);
    float64x2_t ab_02 = vreinterpretq_f64_f32(vtrn1q_f32(a, b));
    float64x2_t ab_13 = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    float64x2_t ef_02 = vreinterpretq_f64_f32(vtrn1q_f32(e, f));
    float64x2_t ef_13 = vreinterpretq_f64_f32(vtrn2q_f32(e, f));
    vst1q_f32(out[0] + at, vreinterpretq_f32_f64(vtrn1q_f64(ab_02, ef_02)));
    vst1q_f32(out[1] + at, vreinterpretq_f32_f64(vtrn1q_f64(ab_13, ef_13)));
    vst1q_f32(out[2] + at, vreinterpretq_f32_f64(vtrn2q_f64(ab_02, ef_02)));
    vst1q_f32(out[3] + at, vreinterpretq_f32_f64(vtrn2q_f64(ab_13, ef_13)));
}

LANE void put_float_columns(const float *const row[8], size_t c, float *const out[8], size_t at) {
    put_four(row, c, out, at);
    put_four(row + 4, c, out, at + 4);
    put_four(row, c + 4, out + 4, at);
    put_four(row + 4, c + 4, out + 4, at + 4);
}

enum { TOKENS = 6, FEWEST = 6 };

/* Of six tokens with four times four rows. */
struct sums {
    float32x4_t v[6][4];
};

LANE struct sums sums_zero(void) {
    struct sums s;
    memset(&s, 0, sizeof s);
    return s;
}

LANE void step(struct sums *s, const float *w, const float *x) {
    float32x4_t rows[4] = {vld1q_f32(w), vld1q_f32(w + 4), vld1q_f32(w + 8), vld1q_f32(w + 12)};
    for (int t = 0; t < 6; t++) {
        for (int v = 0; v < 4; v++) {
            s->v[t][v] = vfmaq_n_f32(s->v[t][v], rows[v], x[t]);
        }
    }
}

LANE void sums_store(float *p, const struct sums *s) {
    for (int t = 0; t < 6; t++) {
        for (int v = 0; v < 4; v++) {
            vst1q_f32(p + 16 * t + 4 * v, s->v[t][v]);
        }
    }
}

LANE void sums_add(struct sums *s, const float *p) {
    for (int t = 0; t < 6; t++) {
        for (int v = 0; v < 4; v++) {
            s->v[t][v] = vaddq_f32(vld1q_f32(p + 16 * t + 4 * v), s->v[t][v]);
        }
    }
}

LANE void one_nan_of(float *p, size_t count) {
    float32x4_t quiet = vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000));
    for (size_t i = 0; i < count; i += 4) {
        float32x4_t v = vld1q_f32(p + i);
        vst1q_f32(p + i, vbslq_f32(vceqq_f32(v, v), v, quiet));
    }
}

#include "lanes/matmul_float.h"

#endif
