/*
 * Products of panels with groups of tokens, in integers. The lanes of vectors are rows: two vectors
 * of eight rows meet four tokens, eight sums at a time.
 *
 * A step multiplies four columns: 16 rows x 4 codes of weights with the 4 codes of each token,
 * which are spread over a vector. Sums of a group of columns fit into 16 bits: codes without signs
 * of 4 bits do by themselves over 32 columns, wider ones over fewer, and with the weights' offset
 * taken off by the start value, (code - offset) * x does where it would be too large on the way,
 * since words wrap around.
 */
#if defined(__x86_64__)

#include "x86/sums.h"

#include "lanes/matmul.h"

/* Of tokens a..d with the lower and the upper eight rows. */
struct sums {
    __m256i a0, a1, b0, b1, c0, c1, d0, d1;
};

LANE __m256i load(const unsigned char *p) {
    return _mm256_load_si256((const __m256i *)p);
}

/* The same four bytes in all lanes. */
LANE __m256i spread(const unsigned char *p) {
    return _mm256_set1_epi32((int)uqff_load_le32(p));
}

LANE __m256 spread_float(const unsigned char *p) {
    return _mm256_castsi256_ps(spread(p));
}

LANE struct sums sums_zero(void) {
    __m256i zero = _mm256_setzero_si256();
    return (struct sums){zero, zero, zero, zero, zero, zero, zero, zero};
}

/* The start values of the four tokens. */
LANE struct sums sums_from(const unsigned char *x) {
    __m256i a = spread(x), b = spread(x + 4), c = spread(x + 8), d = spread(x + 12);
    return (struct sums){a, a, b, b, c, c, d, d};
}

#define KEEP_SUMS(s)                                                                               \
    __asm__(""                                                                                     \
            : "+x"((s)->a0), "+x"((s)->a1), "+x"((s)->b0), "+x"((s)->b1), "+x"((s)->c0),           \
              "+x"((s)->c1), "+x"((s)->d0), "+x"((s)->d1))

/* Four columns of 16 rows and four tokens. */
LANE void step(struct sums *s, const unsigned char *w, const unsigned char *x) {
    __m256i w0 = load(w), w1 = load(w + 32);
    __m256i v = spread(x);
    s->a0 = _mm256_add_epi16(s->a0, _mm256_maddubs_epi16(w0, v));
    s->a1 = _mm256_add_epi16(s->a1, _mm256_maddubs_epi16(w1, v));
    v = spread(x + 4);
    s->b0 = _mm256_add_epi16(s->b0, _mm256_maddubs_epi16(w0, v));
    s->b1 = _mm256_add_epi16(s->b1, _mm256_maddubs_epi16(w1, v));
    v = spread(x + 8);
    s->c0 = _mm256_add_epi16(s->c0, _mm256_maddubs_epi16(w0, v));
    s->c1 = _mm256_add_epi16(s->c1, _mm256_maddubs_epi16(w1, v));
    v = spread(x + 12);
    s->d0 = _mm256_add_epi16(s->d0, _mm256_maddubs_epi16(w0, v));
    s->d1 = _mm256_add_epi16(s->d1, _mm256_maddubs_epi16(w1, v));
    KEEP_SUMS(s);
}

/* Two columns of 16 bits. */
LANE void wide_step(struct sums *s, const unsigned char *w, const unsigned char *x) {
    __m256i w0 = load(w), w1 = load(w + 32);
    __m256i v = spread(x);
    s->a0 = _mm256_add_epi32(s->a0, _mm256_madd_epi16(w0, v));
    s->a1 = _mm256_add_epi32(s->a1, _mm256_madd_epi16(w1, v));
    v = spread(x + 4);
    s->b0 = _mm256_add_epi32(s->b0, _mm256_madd_epi16(w0, v));
    s->b1 = _mm256_add_epi32(s->b1, _mm256_madd_epi16(w1, v));
    v = spread(x + 8);
    s->c0 = _mm256_add_epi32(s->c0, _mm256_madd_epi16(w0, v));
    s->c1 = _mm256_add_epi32(s->c1, _mm256_madd_epi16(w1, v));
    v = spread(x + 12);
    s->d0 = _mm256_add_epi32(s->d0, _mm256_madd_epi16(w0, v));
    s->d1 = _mm256_add_epi32(s->d1, _mm256_madd_epi16(w1, v));
    KEEP_SUMS(s);
}

/* Spelled out: a loop of so few turns costs a fourth of the speed. */
LANE void steps_16(struct sums *s, const unsigned char *w, const unsigned char *x) {
    step(s, w, x);
    step(s, w + 64, x + 16);
    step(s, w + 128, x + 32);
    step(s, w + 192, x + 48);
}

LANE void steps_32(struct sums *s, const unsigned char *w, const unsigned char *x) {
    steps_16(s, w, x);
    steps_16(s, w + 256, x + 64);
}

LANE void wide_steps_8(struct sums *s, const unsigned char *w, const unsigned char *x) {
    wide_step(s, w, x);
    wide_step(s, w + 64, x + 16);
    wide_step(s, w + 128, x + 32);
    wide_step(s, w + 192, x + 48);
}

LANE void wide_steps_32(struct sums *s, const unsigned char *w, const unsigned char *x) {
    wide_steps_8(s, w, x);
    wide_steps_8(s, w + 256, x + 64);
    wide_steps_8(s, w + 512, x + 128);
    wide_steps_8(s, w + 768, x + 192);
}

/* Each word pair multiplied with that of `scales`, which has 16 rows, and summed. */
LANE void multiplied(struct sums *s, const __m256i scales[2]) {
    s->a0 = _mm256_madd_epi16(s->a0, scales[0]);
    s->a1 = _mm256_madd_epi16(s->a1, scales[1]);
    s->b0 = _mm256_madd_epi16(s->b0, scales[0]);
    s->b1 = _mm256_madd_epi16(s->b1, scales[1]);
    s->c0 = _mm256_madd_epi16(s->c0, scales[0]);
    s->c1 = _mm256_madd_epi16(s->c1, scales[1]);
    s->d0 = _mm256_madd_epi16(s->d0, scales[0]);
    s->d1 = _mm256_madd_epi16(s->d1, scales[1]);
}

LANE void multiplied_by_one(struct sums *s) {
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i ones[2] = {one, one};
    multiplied(s, ones);
}

LANE void sums_add(struct sums *s, const struct sums *t) {
    s->a0 = _mm256_add_epi32(s->a0, t->a0);
    s->a1 = _mm256_add_epi32(s->a1, t->a1);
    s->b0 = _mm256_add_epi32(s->b0, t->b0);
    s->b1 = _mm256_add_epi32(s->b1, t->b1);
    s->c0 = _mm256_add_epi32(s->c0, t->c0);
    s->c1 = _mm256_add_epi32(s->c1, t->c1);
    s->d0 = _mm256_add_epi32(s->d0, t->d0);
    s->d1 = _mm256_add_epi32(s->d1, t->d1);
    KEEP_SUMS(s);
}

/* ---- float sums ------------------------------------------------------------------------------ */

/* One lane of the contract for 16 rows and four tokens, in the order of struct sums. */
struct lane {
    __m256 v[8];
};

/* lane = fmaf(d * dx, sums, lane). d: 16 floats, dx: 4 floats. */
LANE void scaled_add(struct lane *lane, const struct sums *s, const unsigned char *d,
                     const unsigned char *dx) {
    __m256 d0 = _mm256_castsi256_ps(load(d));
    __m256 d1 = _mm256_castsi256_ps(load(d + 32));
    __m256 t = spread_float(dx);
    lane->v[0] = _mm256_fmadd_ps(_mm256_mul_ps(d0, t), _mm256_cvtepi32_ps(s->a0), lane->v[0]);
    lane->v[1] = _mm256_fmadd_ps(_mm256_mul_ps(d1, t), _mm256_cvtepi32_ps(s->a1), lane->v[1]);
    t = spread_float(dx + 4);
    lane->v[2] = _mm256_fmadd_ps(_mm256_mul_ps(d0, t), _mm256_cvtepi32_ps(s->b0), lane->v[2]);
    lane->v[3] = _mm256_fmadd_ps(_mm256_mul_ps(d1, t), _mm256_cvtepi32_ps(s->b1), lane->v[3]);
    t = spread_float(dx + 8);
    lane->v[4] = _mm256_fmadd_ps(_mm256_mul_ps(d0, t), _mm256_cvtepi32_ps(s->c0), lane->v[4]);
    lane->v[5] = _mm256_fmadd_ps(_mm256_mul_ps(d1, t), _mm256_cvtepi32_ps(s->c1), lane->v[5]);
    t = spread_float(dx + 12);
    lane->v[6] = _mm256_fmadd_ps(_mm256_mul_ps(d0, t), _mm256_cvtepi32_ps(s->d0), lane->v[6]);
    lane->v[7] = _mm256_fmadd_ps(_mm256_mul_ps(d1, t), _mm256_cvtepi32_ps(s->d1), lane->v[7]);
}

/* lane = fmaf(-(d * dx), sums, lane) */
LANE void scaled_subtract(struct lane *lane, const struct sums *s, const unsigned char *d,
                          const unsigned char *dx) {
    __m256 d0 = _mm256_castsi256_ps(load(d));
    __m256 d1 = _mm256_castsi256_ps(load(d + 32));
    __m256 t = spread_float(dx);
    lane->v[0] = _mm256_fnmadd_ps(_mm256_mul_ps(d0, t), _mm256_cvtepi32_ps(s->a0), lane->v[0]);
    lane->v[1] = _mm256_fnmadd_ps(_mm256_mul_ps(d1, t), _mm256_cvtepi32_ps(s->a1), lane->v[1]);
    t = spread_float(dx + 4);
    lane->v[2] = _mm256_fnmadd_ps(_mm256_mul_ps(d0, t), _mm256_cvtepi32_ps(s->b0), lane->v[2]);
    lane->v[3] = _mm256_fnmadd_ps(_mm256_mul_ps(d1, t), _mm256_cvtepi32_ps(s->b1), lane->v[3]);
    t = spread_float(dx + 8);
    lane->v[4] = _mm256_fnmadd_ps(_mm256_mul_ps(d0, t), _mm256_cvtepi32_ps(s->c0), lane->v[4]);
    lane->v[5] = _mm256_fnmadd_ps(_mm256_mul_ps(d1, t), _mm256_cvtepi32_ps(s->c1), lane->v[5]);
    t = spread_float(dx + 12);
    lane->v[6] = _mm256_fnmadd_ps(_mm256_mul_ps(d0, t), _mm256_cvtepi32_ps(s->d0), lane->v[6]);
    lane->v[7] = _mm256_fnmadd_ps(_mm256_mul_ps(d1, t), _mm256_cvtepi32_ps(s->d1), lane->v[7]);
}

/* lane = fmaf(m, sx, lane). m: 16 floats, sx: 4 floats. */
LANE void outer_add(struct lane *lane, const unsigned char *m, const unsigned char *sx) {
    __m256 m0 = _mm256_castsi256_ps(load(m));
    __m256 m1 = _mm256_castsi256_ps(load(m + 32));
    for (int t = 0; t < 4; t++) {
        __m256 s = spread_float(sx + 4 * t);
        lane->v[2 * t] = _mm256_fmadd_ps(m0, s, lane->v[2 * t]);
        lane->v[2 * t + 1] = _mm256_fmadd_ps(m1, s, lane->v[2 * t + 1]);
    }
}

/* uqff_fold_8 of every sum: 16 floats a token. */
LANE void fold_lanes(const struct lane lane[UQFF_BLOCK_LANES], float *products) {
    for (int i = 0; i < 8; i++) {
        __m256 a = _mm256_add_ps(lane[0].v[i], lane[4].v[i]);
        __m256 b = _mm256_add_ps(lane[1].v[i], lane[5].v[i]);
        __m256 c = _mm256_add_ps(lane[2].v[i], lane[6].v[i]);
        __m256 d = _mm256_add_ps(lane[3].v[i], lane[7].v[i]);
        __m256 sum = _mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d));
        _mm256_storeu_ps(products + 8 * i, one_nan(sum));
    }
}

/* ---- one block ------------------------------------------------------------------------------- */

/* The layouts are those of lanes/matmul.h and matmul_place.c. */

LANE void block_32(uint32_t type, struct lane *lane, const unsigned char *w,
                   const unsigned char *x) {
    struct sums s = offset_of(type) ? sums_from(x + 128) : sums_zero();
    if (type == UQFF_TYPE_Q5_1) { /* sums of 16 products of 31 * 127 do not fit */
        struct sums other = sums_zero();
        steps_16(&s, w, x);
        multiplied_by_one(&s);
        steps_16(&other, w + 256, x + 64);
        multiplied_by_one(&other);
        sums_add(&s, &other);
    } else {
        steps_32(&s, w, x);
        multiplied_by_one(&s);
    }
    if (has_minimum(type)) {
        scaled_add(lane, &s, w + 512, x + 144);
        outer_add(lane, w + 576, x + 128);
    } else {
        scaled_add(lane, &s, w + 512, x + 128 + (offset_of(type) ? 16 : 0));
    }
}

LANE void block_32_wide(struct lane *lane, const unsigned char *w, const unsigned char *x) {
    struct sums s = sums_zero();
    wide_steps_32(&s, w, x);
    scaled_add(lane, &s, w + 1024, x + 256);
}

/* Sums of one group of columns, times the scales that follow its codes. */
LANE void add_group(struct sums *total, uint32_t type, const unsigned char *w,
                    const unsigned char *x) {
    const int columns = tile_group_of(type);
    const __m256i scales[2] = {load(w + 16 * columns), load(w + 16 * columns + 32)};
    struct sums s = offset_of(type) ? sums_from(x + 4 * columns) : sums_zero();
    if (type == UQFF_TYPE_Q5_K) { /* as Q5_1 */
        steps_16(&s, w, x);
        multiplied(&s, scales);
        sums_add(total, &s);
        s = sums_zero();
        steps_16(&s, w + 256, x + 64);
    } else if (columns == 16) {
        steps_16(&s, w, x);
    } else {
        for (int c = 0; c < columns; c += 32) {
            steps_32(&s, w + 16 * c, x + 4 * c);
        }
    }
    multiplied(&s, scales);
    sums_add(total, &s);
}

LANE void block_256(uint32_t type, struct lane *lane, const unsigned char *w,
                    const unsigned char *x) {
    const int columns = tile_group_of(type);
    const int groups = 256 / columns;
    struct sums total = sums_zero();
    for (int g = 0; g < groups; g++) {
        add_group(&total, type, w, x);
        w += 16 * columns + 64;
        x += 4 * columns + (offset_of(type) ? 16 : 0);
    }
    if (!has_minimum(type)) {
        scaled_add(lane, &total, w, x);
        return;
    }
    const unsigned char *dx = x + 8 * groups;
    const unsigned char *d = w + 32 * groups;
    scaled_add(lane, &total, d, dx);
    struct sums minima = sums_zero();
    for (int g = 0; g < groups; g += 2, w += 64, x += 16) {
        wide_step(&minima, w, x);
    }
    scaled_subtract(lane, &minima, d + 64, dx);
}

LANE void block_256_wide(struct lane *lane, const unsigned char *w, const unsigned char *x) {
    struct sums s = sums_zero();
    for (int c = 0; c < 256; c += 32) {
        wide_steps_32(&s, w + 32 * c, x + 8 * c);
    }
    scaled_add(lane, &s, w + 8192, x + 2048);
}

/* ---- a panel --------------------------------------------------------------------------------- */

LANE void block(uint32_t type, struct lane *lane, const unsigned char *w, const unsigned char *x) {
    const bool small = tile_block_of(type) == 32;
    if (small && is_wide(type)) {
        block_32_wide(lane, w, x);
    } else if (small) {
        block_32(type, lane, w, x);
    } else if (is_wide(type)) {
        block_256_wide(lane, w, x);
    } else {
        block_256(type, lane, w, x);
    }
}

/* Group after group: weights of a panel too long for the first-level cache stream from the second
 * fast enough. */
LANE void multiply(uint32_t type, const struct uqff_matmul *plan, const unsigned char *panel,
                   const unsigned char *x, const struct uqff_results *results) {
    const size_t blocks = plan->columns / (size_t)tile_block_of(type);
    for (size_t t = 0; t < plan->tokens; t += 4) {
        float products[4 * UQFF_PANEL_ROWS];
        struct lane lane[UQFF_BLOCK_LANES];
        const unsigned char *w = panel;
        memset(lane, 0, sizeof lane);
        for (size_t b = 0; b < blocks; b++) {
            block(type, &lane[b % UQFF_BLOCK_LANES], w, x);
            w += panel_bytes_of(type);
            x += group_bytes_of(type);
        }
        fold_lanes(lane, products);
        uqff_put_results(plan, results, products, t, 4);
    }
}

#define MULTIPLY(name, TYPE, ...)                                                                  \
    SIMD void LEVEL(multiply_##name)(const struct uqff_matmul *plan, const unsigned char *panel,   \
                                     const unsigned char *activations, float *waiting,             \
                                     const struct uqff_results *results) {                         \
        (void)waiting;                                                                             \
        multiply(UQFF_TYPE_##TYPE, plan, panel, activations, results);                             \
    }
TILINGS(MULTIPLY)

#endif
