/*
 * Exact products of panels with groups of tokens. The lanes of vectors are rows; the 32 lanes of
 * the contract are taken one after the other, each a sum in a register, and folded as they end.
 *
 *   lane l of a panel:   for k = l, l + 32, ...         16 rows x a float
 *   lane l of tokens:    for each group
 *                          for k = l, l + 32, ...       6 tokens x a float
 *
 * Lanes stand in the order in which folding adds them: 0, 16, 8, 24, 4, ..., that is with the bits
 * of their numbers reversed, so that the sums which wait for their partners are never more than
 * five.
 */
#if defined(__x86_64__)

#include "x86/matmul.h"

enum { TOKENS = 6, PIECE = 256, WAITING = 5, LINE = 16 };

/* Of the numbers 0..31 the one with reversed bits. */
static unsigned reversed(unsigned i) {
    return (i & 1) << 4 | (i & 2) << 2 | (i & 4) | (i & 8) >> 2 | (i & 16) >> 4;
}

/* Columns of a lane, at most. */
static size_t steps_of(const struct uqff_matmul *plan) {
    return (plan->columns + UQFF_FLOAT_LANES - 1) / UQFF_FLOAT_LANES;
}

static size_t groups_of(const struct uqff_matmul *plan) {
    return (plan->tokens + TOKENS - 1) / TOKENS;
}

/* Floats from one lane to the next, in panels and among activations. A line of the cache more than
 * what is there: lanes a power of two apart would all fall into one set of it. */
static size_t panel_stride(const struct uqff_matmul *plan) {
    return steps_of(plan) * UQFF_PANEL_ROWS + LINE;
}

static size_t token_stride(const struct uqff_matmul *plan) {
    return groups_of(plan) * steps_of(plan) * TOKENS + LINE;
}

/* ---- layout --------------------------------------------------------------------------------- */

static void place(const struct uqff_matmul *plan, const unsigned char *data, size_t first,
                  size_t count, size_t token, unsigned char *activations) {
    const float *x = (const float *)(const void *)data;
    const size_t steps = steps_of(plan);
    const size_t stride = token_stride(plan);
    float *out = (float *)(void *)activations;
    float *lane[UQFF_FLOAT_LANES];
    out += (token / TOKENS * steps + first / UQFF_FLOAT_LANES) * TOKENS + token % TOKENS;
    for (unsigned l = 0; l < UQFF_FLOAT_LANES; l++) {
        lane[l] = out + reversed(l) * stride;
    }
    size_t c = 0;
    for (size_t at = 0; c + UQFF_FLOAT_LANES <= count; at += TOKENS) {
        for (int l = 0; l < UQFF_FLOAT_LANES; l++) {
            lane[l][at] = x[c++];
        }
    }
    for (int l = 0; c < count; l++) {
        lane[l][c / UQFF_FLOAT_LANES * TOKENS] = x[c];
        c++;
    }
}

/* Columns c..c+7 of eight rows become eight vectors of rows. */
LANE void put_columns(const float *row[8], size_t c, float *out, size_t stride,
                      size_t lane_of_first) {
    __m256 v[8], two[8], four[8];
    for (int r = 0; r < 8; r++) {
        v[r] = _mm256_loadu_ps(row[r] + c);
    }
    for (int r = 0; r < 8; r += 2) {
        two[r] = _mm256_unpacklo_ps(v[r], v[r + 1]);
        two[r + 1] = _mm256_unpackhi_ps(v[r], v[r + 1]);
    }
    for (int r = 0; r < 8; r += 4) {
        four[r] = _mm256_shuffle_ps(two[r], two[r + 2], 0x44);
        four[r + 1] = _mm256_shuffle_ps(two[r], two[r + 2], 0xee);
        four[r + 2] = _mm256_shuffle_ps(two[r + 1], two[r + 3], 0x44);
        four[r + 3] = _mm256_shuffle_ps(two[r + 1], two[r + 3], 0xee);
    }
    for (unsigned k = 0; k < 4; k++) {
        unsigned lane = (unsigned)lane_of_first + k;
        _mm256_store_ps(out + reversed(lane) * stride,
                        _mm256_permute2f128_ps(four[k], four[k + 4], 0x20));
        _mm256_store_ps(out + reversed(lane + 4) * stride,
                        _mm256_permute2f128_ps(four[k], four[k + 4], 0x31));
    }
}

static SIMD void pack(const struct uqff_matmul *plan,
                      const unsigned char *const row[UQFF_PANEL_ROWS], unsigned char *panel) {
    const struct uqff_type_info *info = uqff_type_info(plan->weight_type);
    uqff_dequantize_fn *decode = uqff_dequantize_in_use(plan->weight_type);
    const size_t stride = panel_stride(plan);
    float piece[UQFF_PANEL_ROWS][PIECE];
    for (size_t first = 0; first < plan->columns; first += PIECE) {
        size_t count = plan->columns - first < PIECE ? plan->columns - first : PIECE;
        size_t at = first / info->block_length * info->block_bytes;
        const float *rows[UQFF_PANEL_ROWS];
        for (int r = 0; r < UQFF_PANEL_ROWS; r++) {
            /* What is beyond the row goes into the panel as well, though it is not read there. */
            memset(piece[r] + count, 0, (PIECE - count) * sizeof(float));
            decode(row[r] + at, piece[r], count);
            rows[r] = piece[r];
        }
        for (size_t c = 0; c < count; c += 8) {
            float *out = (float *)(void *)panel;
            out += (first + c) / UQFF_FLOAT_LANES * UQFF_PANEL_ROWS;
            put_columns(rows, c, out, stride, c % UQFF_FLOAT_LANES);
            put_columns(rows + 8, c, out + 8, stride, c % UQFF_FLOAT_LANES);
        }
    }
}

/* ---- sums ----------------------------------------------------------------------------------- */

/* Of tokens a..f with the lower and the upper eight rows. */
struct sums {
    __m256 a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1;
};

/* Compilers would begin with the next step early, and run out of registers. */
#define KEEP_SUMS(s)                                                                               \
    __asm__(""                                                                                     \
            : "+x"((s)->a0), "+x"((s)->a1), "+x"((s)->b0), "+x"((s)->b1), "+x"((s)->c0),           \
              "+x"((s)->c1), "+x"((s)->d0), "+x"((s)->d1), "+x"((s)->e0), "+x"((s)->e1),           \
              "+x"((s)->f0), "+x"((s)->f1))

LANE void step(struct sums *s, const float *w, const float *x) {
    __m256 w0 = _mm256_load_ps(w), w1 = _mm256_load_ps(w + 8);
    __m256 v = _mm256_broadcast_ss(x);
    s->a0 = _mm256_fmadd_ps(w0, v, s->a0);
    s->a1 = _mm256_fmadd_ps(w1, v, s->a1);
    v = _mm256_broadcast_ss(x + 1);
    s->b0 = _mm256_fmadd_ps(w0, v, s->b0);
    s->b1 = _mm256_fmadd_ps(w1, v, s->b1);
    v = _mm256_broadcast_ss(x + 2);
    s->c0 = _mm256_fmadd_ps(w0, v, s->c0);
    s->c1 = _mm256_fmadd_ps(w1, v, s->c1);
    v = _mm256_broadcast_ss(x + 3);
    s->d0 = _mm256_fmadd_ps(w0, v, s->d0);
    s->d1 = _mm256_fmadd_ps(w1, v, s->d1);
    v = _mm256_broadcast_ss(x + 4);
    s->e0 = _mm256_fmadd_ps(w0, v, s->e0);
    s->e1 = _mm256_fmadd_ps(w1, v, s->e1);
    v = _mm256_broadcast_ss(x + 5);
    s->f0 = _mm256_fmadd_ps(w0, v, s->f0);
    s->f1 = _mm256_fmadd_ps(w1, v, s->f1);
    KEEP_SUMS(s);
}

LANE struct sums lane_sums(const float *w, const float *x, size_t steps) {
    __m256 zero = _mm256_setzero_ps();
    struct sums s = {zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero};
    for (; steps >= 4; steps -= 4, w += 4 * UQFF_PANEL_ROWS, x += 4 * TOKENS) {
        step(&s, w, x);
        step(&s, w + UQFF_PANEL_ROWS, x + TOKENS);
        step(&s, w + 2 * UQFF_PANEL_ROWS, x + 2 * TOKENS);
        step(&s, w + 3 * UQFF_PANEL_ROWS, x + 3 * TOKENS);
    }
    for (; steps > 0; steps--, w += UQFF_PANEL_ROWS, x += TOKENS) {
        step(&s, w, x);
    }
    return s;
}

LANE void sums_store(float *p, const struct sums *s) {
    _mm256_store_ps(p, s->a0);
    _mm256_store_ps(p + 8, s->a1);
    _mm256_store_ps(p + 16, s->b0);
    _mm256_store_ps(p + 24, s->b1);
    _mm256_store_ps(p + 32, s->c0);
    _mm256_store_ps(p + 40, s->c1);
    _mm256_store_ps(p + 48, s->d0);
    _mm256_store_ps(p + 56, s->d1);
    _mm256_store_ps(p + 64, s->e0);
    _mm256_store_ps(p + 72, s->e1);
    _mm256_store_ps(p + 80, s->f0);
    _mm256_store_ps(p + 88, s->f1);
}

LANE void sums_add(struct sums *s, const float *p) {
    s->a0 = _mm256_add_ps(_mm256_load_ps(p), s->a0);
    s->a1 = _mm256_add_ps(_mm256_load_ps(p + 8), s->a1);
    s->b0 = _mm256_add_ps(_mm256_load_ps(p + 16), s->b0);
    s->b1 = _mm256_add_ps(_mm256_load_ps(p + 24), s->b1);
    s->c0 = _mm256_add_ps(_mm256_load_ps(p + 32), s->c0);
    s->c1 = _mm256_add_ps(_mm256_load_ps(p + 40), s->c1);
    s->d0 = _mm256_add_ps(_mm256_load_ps(p + 48), s->d0);
    s->d1 = _mm256_add_ps(_mm256_load_ps(p + 56), s->d1);
    s->e0 = _mm256_add_ps(_mm256_load_ps(p + 64), s->e0);
    s->e1 = _mm256_add_ps(_mm256_load_ps(p + 72), s->e1);
    s->f0 = _mm256_add_ps(_mm256_load_ps(p + 80), s->f0);
    s->f1 = _mm256_add_ps(_mm256_load_ps(p + 88), s->f1);
}

LANE void finish(float *results, size_t count) {
    for (size_t i = 0; i < count; i += 8) {
        _mm256_store_ps(results + i, one_nan(_mm256_load_ps(results + i)));
    }
}

/* Sum number i has as many partners that wait for it as i has ones at its end. */
static SIMD void multiply(const struct uqff_matmul *plan, const unsigned char *panel,
                          const unsigned char *activations, float *results) {
    const size_t steps = steps_of(plan);
    const size_t groups = groups_of(plan);
    const size_t tile = TOKENS * UQFF_PANEL_ROWS;
    const float *w = (const float *)(const void *)panel;
    const float *x = (const float *)(const void *)activations;
    float *waiting = results + groups * tile;
    for (unsigned i = 0; i < UQFF_FLOAT_LANES; i++) {
        size_t lane = reversed(i);
        size_t count = plan->columns / UQFF_FLOAT_LANES + (lane < plan->columns % UQFF_FLOAT_LANES);
        unsigned partners = (unsigned)__builtin_ctz(i + 1);
        float *out = partners == WAITING ? results : waiting + partners * groups * tile;
        for (size_t g = 0; g < groups; g++) {
            struct sums s = lane_sums(w, x + g * steps * TOKENS, count);
            for (unsigned k = 0; k < partners; k++) {
                sums_add(&s, waiting + (k * groups + g) * tile);
            }
            sums_store(out + g * tile, &s);
        }
        w += panel_stride(plan);
        x += token_stride(plan);
    }
    finish(results, groups * tile);
}

const struct uqff_matmul_kernel LEVEL(matmul_exact) = {
    .block = UQFF_FLOAT_LANES,
    .panel_bytes = UQFF_FLOAT_LANES * UQFF_PANEL_ROWS * sizeof(float),
    .slack = UQFF_FLOAT_LANES * LINE * sizeof(float),
    .group_bytes = UQFF_FLOAT_LANES * TOKENS * sizeof(float),
    .tokens = TOKENS,
    .results = 1 + WAITING,
    .place = place,
    .pack = pack,
    .multiply = multiply,
};

#endif
