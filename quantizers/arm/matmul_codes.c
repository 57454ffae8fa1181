/*
 * Products of panels with groups of tokens, in integers. The lanes of vectors are rows: eight rows
 * meet four tokens at a time, so a panel is gone through twice.
 *
 * A step multiplies four columns, 8 rows x 4 codes with the 4 codes of each token. Small codes sum
 * one product a step in 16 bits over a group of columns; wide ones, those of Q8_0 and the IQ4
 * types, two products, which then go into sums of 32 bits.
 */
#if defined(__aarch64__)

#include "arm/unpack.h"

#include "lanes/matmul.h"

enum { TOKENS = 4 };

/* Of two rows each, four words a row: the products of four columns. */
struct word_sums {
    int16x8_t v[TOKENS][4];
};

/* Of eight rows. */
struct sums {
    int32x4_t v[TOKENS][2];
};

/* One lane of the contract for eight rows. */
struct lane {
    float32x4_t v[TOKENS][2];
};

LANE int8x16_t load(const unsigned char *p) {
    return vreinterpretq_s8_u8(vld1q_u8(p));
}

LANE int8x16_t spread(const unsigned char *p) {
    return vreinterpretq_s8_u32(vdupq_n_u32(uqff_load_le32(p)));
}

LANE float32x4_t load_floats(const unsigned char *p) {
    return vreinterpretq_f32_u8(vld1q_u8(p));
}

LANE float load_float(const unsigned char *p) {
    return bits_float(uqff_load_le32(p));
}

/* ---- integers -------------------------------------------------------------------------------- */

LANE void step(struct word_sums *s, const unsigned char *w, const unsigned char *x) {
    int8x16_t w0 = load(w), w1 = load(w + 16);
    for (int t = 0; t < TOKENS; t++) {
        int8x16_t v = spread(x + 4 * t);
        s->v[t][0] = vmlal_s8(s->v[t][0], vget_low_s8(w0), vget_low_s8(v));
        s->v[t][1] = vmlal_high_s8(s->v[t][1], w0, v);
        s->v[t][2] = vmlal_s8(s->v[t][2], vget_low_s8(w1), vget_low_s8(v));
        s->v[t][3] = vmlal_high_s8(s->v[t][3], w1, v);
    }
}

LANE struct sums narrow_sums(const unsigned char *w, const unsigned char *x, int columns) {
    struct word_sums words;
    struct sums s;
    memset(&words, 0, sizeof words);
    for (int c = 0; c < columns; c += 4) {
        step(&words, w + 16 * c, x + 4 * c);
    }
    for (int t = 0; t < TOKENS; t++) {
        for (int v = 0; v < 2; v++) {
            s.v[t][v] =
                vpaddq_s32(vpaddlq_s16(words.v[t][2 * v]), vpaddlq_s16(words.v[t][2 * v + 1]));
        }
    }
    return s;
}

/* Pairs of products of two times four columns, added to sums of 32 bits. */
LANE void wide_step(int32x4_t s[TOKENS][4], const unsigned char *w, const unsigned char *x) {
    int8x16_t w0 = load(w), w1 = load(w + 16);
    int8x16_t next_w0 = load(w + 64), next_w1 = load(w + 80);
    for (int t = 0; t < TOKENS; t++) {
        int8x16_t v = spread(x + 4 * t);
        int8x16_t next_v = spread(x + 16 + 4 * t);
        int16x8_t p = vmull_s8(vget_low_s8(w0), vget_low_s8(v));
        p = vmlal_s8(p, vget_low_s8(next_w0), vget_low_s8(next_v));
        s[t][0] = vpadalq_s16(s[t][0], p);
        p = vmlal_high_s8(vmull_high_s8(w0, v), next_w0, next_v);
        s[t][1] = vpadalq_s16(s[t][1], p);
        p = vmull_s8(vget_low_s8(w1), vget_low_s8(v));
        p = vmlal_s8(p, vget_low_s8(next_w1), vget_low_s8(next_v));
        s[t][2] = vpadalq_s16(s[t][2], p);
        p = vmlal_high_s8(vmull_high_s8(w1, v), next_w1, next_v);
        s[t][3] = vpadalq_s16(s[t][3], p);
    }
}

LANE struct sums wide_sums(const unsigned char *w, const unsigned char *x, int columns) {
    int32x4_t pairs[TOKENS][4];
    struct sums s;
    memset(pairs, 0, sizeof pairs);
    for (int c = 0; c < columns; c += 8) {
        wide_step(pairs, w + 16 * c, x + 4 * c);
    }
    for (int t = 0; t < TOKENS; t++) {
        for (int v = 0; v < 2; v++) {
            s.v[t][v] = vpaddq_s32(pairs[t][2 * v], pairs[t][2 * v + 1]);
        }
    }
    return s;
}

LANE struct sums group_sums(uint32_t type, const unsigned char *w, const unsigned char *x) {
    const int columns = tile_group_of(type);
    return has_signed_codes(type) ? wide_sums(w, x, columns) : narrow_sums(w, x, columns);
}

/* The two words of each row with those of each token. */
LANE void add_minima(struct sums *s, const unsigned char *w, const unsigned char *x) {
    for (int v = 0; v < 2; v++) {
        int16x8_t m = vreinterpretq_s16_u8(vld1q_u8(w + 16 * v));
        for (int t = 0; t < TOKENS; t++) {
            int16x8_t sums = vreinterpretq_s16_s8(spread(x + 4 * t));
            int32x4_t low = vmull_s16(vget_low_s16(m), vget_low_s16(sums));
            int32x4_t pairs = vpaddq_s32(low, vmull_high_s16(m, sums));
            s->v[t][v] = vaddq_s32(s->v[t][v], pairs);
        }
    }
}

/* ---- float sums ------------------------------------------------------------------------------ */

/* lane = fmaf(d * dx, sums, lane), or with -(d * dx). */
LANE void scaled_add(struct lane *lane, const struct sums *s, const unsigned char *d,
                     const unsigned char *dx, bool negative) {
    for (int v = 0; v < 2; v++) {
        float32x4_t scale = load_floats(d + 16 * v);
        for (int t = 0; t < TOKENS; t++) {
            float32x4_t product = vmulq_n_f32(scale, load_float(dx + 4 * t));
            float32x4_t sums = vcvtq_f32_s32(s->v[t][v]);
            lane->v[t][v] = negative ? vfmsq_f32(lane->v[t][v], product, sums)
                                     : vfmaq_f32(lane->v[t][v], product, sums);
        }
    }
}

/* lane = fmaf(m, sx, lane) */
LANE void outer_add(struct lane *lane, const unsigned char *m, const unsigned char *sx) {
    for (int v = 0; v < 2; v++) {
        float32x4_t minimum = load_floats(m + 16 * v);
        for (int t = 0; t < TOKENS; t++) {
            float32x4_t sum = vdupq_n_f32(load_float(sx + 4 * t));
            lane->v[t][v] = vfmaq_f32(lane->v[t][v], minimum, sum);
        }
    }
}

LANE void fold_lanes(const struct lane lane[UQFF_BLOCK_LANES], float *products) {
    for (int t = 0; t < TOKENS; t++) {
        for (int v = 0; v < 2; v++) {
            float32x4_t a = vaddq_f32(lane[0].v[t][v], lane[4].v[t][v]);
            float32x4_t b = vaddq_f32(lane[1].v[t][v], lane[5].v[t][v]);
            float32x4_t c = vaddq_f32(lane[2].v[t][v], lane[6].v[t][v]);
            float32x4_t d = vaddq_f32(lane[3].v[t][v], lane[7].v[t][v]);
            float32x4_t sum = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            float32x4_t quiet = vreinterpretq_f32_u32(vdupq_n_u32(0x7fc00000));
            sum = vbslq_f32(vceqq_f32(sum, sum), sum, quiet);
            vst1q_f32(products + UQFF_PANEL_ROWS * t + 4 * v, sum);
        }
    }
}

/* ---- one block ------------------------------------------------------------------------------- */

/* The layouts are those of lanes/matmul.h and matmul_place.c; w and the products are already at the
 * eight rows in question. */

LANE void block_32(uint32_t type, struct lane *lane, const unsigned char *w,
                   const unsigned char *x) {
    struct sums s = group_sums(type, w, x);
    if (has_minimum(type)) {
        scaled_add(lane, &s, w + 512, x + 144, false);
        outer_add(lane, w + 576, x + 128);
    } else {
        scaled_add(lane, &s, w + 512, x + 128, false);
    }
}

LANE void block_256(uint32_t type, struct lane *lane, const unsigned char *w,
                    const unsigned char *x) {
    const int columns = tile_group_of(type);
    const int groups = 256 / columns;
    struct sums total, minima;
    memset(&total, 0, sizeof total);
    memset(&minima, 0, sizeof minima);
    for (int g = 0; g < groups; g++) {
        struct sums s = group_sums(type, w, x);
        w += 16 * columns;
        for (int v = 0; v < 2; v++) {
            /* Both words of a row are its scale. */
            int32x4_t scale = vshrq_n_s32(vreinterpretq_s32_u8(vld1q_u8(w + 16 * v)), 16);
            for (int t = 0; t < TOKENS; t++) {
                total.v[t][v] = vmlaq_s32(total.v[t][v], s.v[t][v], scale);
            }
        }
        w += 64;
        x += 4 * columns;
    }
    if (!has_minimum(type)) {
        scaled_add(lane, &total, w, x, false);
        return;
    }
    for (int g = 0; g < groups; g += 2, w += 64, x += 16) {
        add_minima(&minima, w, x);
    }
    scaled_add(lane, &total, w, x, false);
    scaled_add(lane, &minima, w + 64, x, true);
}

/* ---- a panel --------------------------------------------------------------------------------- */

LANE void multiply(uint32_t type, const struct uqff_matmul *plan, const unsigned char *panel,
                   const unsigned char *activations, const struct uqff_results *results) {
    const size_t blocks = plan->columns / (size_t)tile_block_of(type);
    const size_t x_bytes = blocks * group_bytes_of(type);
    for (size_t t = 0; t < plan->tokens; t += TOKENS) {
        float products[TOKENS * UQFF_PANEL_ROWS];
        for (int half = 0; half < 2; half++) {
            struct lane lane[UQFF_BLOCK_LANES];
            const unsigned char *w = panel + 32 * half;
            const unsigned char *x = activations;
            memset(lane, 0, sizeof lane);
            for (size_t b = 0; b < blocks; b++) {
                if (tile_block_of(type) == 32) {
                    block_32(type, &lane[b % UQFF_BLOCK_LANES], w, x);
                } else {
                    block_256(type, &lane[b % UQFF_BLOCK_LANES], w, x);
                }
                w += panel_bytes_of(type);
                x += group_bytes_of(type);
            }
            fold_lanes(lane, products + 8 * half);
        }
        uqff_put_results(plan, results, products, t, TOKENS);
        activations += x_bytes;
    }
}

#define MULTIPLY(name, TYPE, ...)                                                                  \
    void LEVEL(multiply_##name)(const struct uqff_matmul *plan, const unsigned char *panel,        \
                                const unsigned char *activations, float *waiting,                  \
                                const struct uqff_results *results) {                              \
        (void)waiting;                                                                             \
        multiply(UQFF_TYPE_##TYPE, plan, panel, activations, results);                             \
    }
TILINGS(MULTIPLY)

#endif
