/*
 * Products of panels with groups of tokens, in integers. The lanes of a vector are the sixteen rows
 * of a panel; it meets the tokens of several groups at once.
 *
 * A step multiplies four columns: 16 rows x 4 codes of weights with the 4 codes of each token,
 * which are spread over a vector, and adds the products of each row to 32 bits. The offset of the
 * codes is in the value that a sum starts with, as is all that a group of columns needs.
 */
#if defined(__x86_64__)

#include "x86/sums_512.h"

#include "lanes/matmul.h"

enum {
    GROUP = 4,       /* tokens that stand together */
    MOST_GROUPS = 3, /* that are multiplied at once: more sums would not leave registers enough */
    MOST = GROUP * MOST_GROUPS,
};

/* Of up to so many tokens, with sixteen rows each. */
struct sums {
    __m512i v[MOST];
};

/* One lane of the contract. */
struct lane {
    __m512 v[MOST];
};

/* Where the codes of the first of some groups of tokens stand, and how far the next is. */
struct tokens {
    int count; /* a constant wherever this is used */
    const unsigned char *x;
    size_t stride;
};

LANE const unsigned char *cell(const struct tokens *tokens, int t) {
    return tokens->x + (size_t)(t / GROUP) * tokens->stride + 4 * (t % GROUP);
}

LANE struct tokens after(struct tokens tokens, size_t bytes) {
    tokens.x += bytes;
    return tokens;
}

LANE void start_zero(struct sums *s, const struct tokens *tokens) {
    for (int t = 0; t < tokens->count; t++) {
        s->v[t] = _mm512_setzero_si512();
    }
}

/* Columns of a group, from start values behind the codes where there is an offset. */
LANE void add_columns(uint32_t type, struct sums *s, const unsigned char *w, struct tokens tokens) {
    const int columns = tile_group_of(type);
    if (tile_offset_of(type)) {
        for (int t = 0; t < tokens.count; t++) {
            s->v[t] = spread_512(cell(&tokens, t) + 4 * columns);
        }
    } else {
        start_zero(s, &tokens);
    }
    for (int c = 0; c < columns; c += 4, w += 64, tokens.x += 4 * GROUP) {
        const __m512i codes = load_512(w);
        for (int t = 0; t < tokens.count; t++) {
            s->v[t] = _mm512_dpbusd_epi32(s->v[t], codes, spread_512(cell(&tokens, t)));
        }
    }
}

/* Bytes of a group of columns among the tokens. */
LANE size_t token_bytes_of(uint32_t type) {
    return (size_t)(4 * tile_group_of(type) + (tile_offset_of(type) ? 16 : 0));
}

/* ---- float sums ------------------------------------------------------------------------------ */

/* lane = fmaf(d * dx, sums, lane), or with the product's sign changed. d: 16 floats, dx: one a
 * token. */
LANE void scaled_add(struct lane *lane, const struct sums *s, const unsigned char *d,
                     struct tokens dx, bool subtract) {
    const __m512 rows = load_floats_512(d);
    for (int t = 0; t < dx.count; t++) {
        __m512 scale = _mm512_mul_ps(rows, spread_float_512(cell(&dx, t)));
        __m512 sum = _mm512_cvtepi32_ps(s->v[t]);
        lane->v[t] = subtract ? _mm512_fnmadd_ps(scale, sum, lane->v[t])
                              : _mm512_fmadd_ps(scale, sum, lane->v[t]);
    }
}

/* lane = fmaf(m, sx, lane) */
LANE void outer_add(struct lane *lane, const unsigned char *m, struct tokens sx) {
    const __m512 rows = load_floats_512(m);
    for (int t = 0; t < sx.count; t++) {
        lane->v[t] = _mm512_fmadd_ps(rows, spread_float_512(cell(&sx, t)), lane->v[t]);
    }
}

/* uqff_fold_8 of every sum: 16 floats a token. */
LANE void fold_lanes(const struct lane lane[UQFF_BLOCK_LANES], int tokens, float *products) {
    for (int t = 0; t < tokens; t++) {
        __m512 a = _mm512_add_ps(lane[0].v[t], lane[4].v[t]);
        __m512 b = _mm512_add_ps(lane[1].v[t], lane[5].v[t]);
        __m512 c = _mm512_add_ps(lane[2].v[t], lane[6].v[t]);
        __m512 d = _mm512_add_ps(lane[3].v[t], lane[7].v[t]);
        __m512 sum = _mm512_add_ps(_mm512_add_ps(a, c), _mm512_add_ps(b, d));
        _mm512_storeu_ps(products + UQFF_PANEL_ROWS * t, one_nan_512(sum));
    }
}

/* ---- one block ------------------------------------------------------------------------------- */

/* The layouts are those of lanes/matmul.h and matmul_place.c. */

LANE void block_32(uint32_t type, struct lane *lane, const unsigned char *w, struct tokens x) {
    struct sums s;
    add_columns(type, &s, w, x);
    x = after(x, token_bytes_of(type));
    if (has_minimum(type)) {
        scaled_add(lane, &s, w + 512, after(x, 16), false);
        outer_add(lane, w + 576, x);
    } else {
        scaled_add(lane, &s, w + 512, x, false);
    }
}

/* Sums of groups of columns, times the scales that follow the codes of each. */
LANE void add_groups(uint32_t type, struct sums *total, const unsigned char *w, struct tokens x) {
    const int columns = tile_group_of(type);
    start_zero(total, &x);
    for (int c = 0; c < 256; c += columns) {
        struct sums s;
        add_columns(type, &s, w, x);
        const __m512i scale = load_512(w + 16 * columns);
        for (int t = 0; t < x.count; t++) {
            __m512i scaled = _mm512_mullo_epi32(s.v[t], scale);
            total->v[t] = _mm512_add_epi32(total->v[t], scaled);
        }
        w += 16 * columns + 64;
        x = after(x, token_bytes_of(type));
    }
}

LANE void block_256(uint32_t type, struct lane *lane, const unsigned char *w, struct tokens x) {
    const int groups = 256 / tile_group_of(type);
    struct sums total;
    if (groups == 1) {
        add_columns(type, &total, w, x);
    } else {
        add_groups(type, &total, w, x);
    }
    w += 4096 + (groups == 1 ? 0 : 64 * groups);
    x = after(x, (size_t)groups * token_bytes_of(type));
    if (!has_minimum(type)) {
        scaled_add(lane, &total, w, x, false);
        return;
    }
    const int minima = 256 / tile_minimum_of(type);
    const unsigned char *d = w + 32 * minima;
    const struct tokens dx = after(x, (size_t)(8 * minima));
    scaled_add(lane, &total, d, dx, false);
    start_zero(&total, &x);
    for (int m = 0; m < minima; m += 2, w += 64, x.x += 16) {
        const __m512i pair = load_512(w);
        for (int t = 0; t < x.count; t++) {
            total.v[t] = _mm512_dpwssd_epi32(total.v[t], pair, spread_512(cell(&x, t)));
        }
    }
    scaled_add(lane, &total, d + 64, dx, true);
}

/* ---- a panel --------------------------------------------------------------------------------- */

/* The products of a panel with the tokens from `first` on. */
LANE void multiply_tokens(uint32_t type, const struct uqff_matmul *plan, const unsigned char *w,
                          struct tokens x, const struct uqff_results *results, size_t first) {
    const size_t blocks = plan->columns / (size_t)tile_block_of(type);
    struct lane lane[UQFF_BLOCK_LANES];
    float products[MOST * UQFF_PANEL_ROWS];
    memset(lane, 0, sizeof lane);
    for (size_t b = 0; b < blocks; b++) {
        if (tile_block_of(type) == 32) {
            block_32(type, &lane[b % UQFF_BLOCK_LANES], w, x);
        } else {
            block_256(type, &lane[b % UQFF_BLOCK_LANES], w, x);
        }
        w += panel_bytes_of(type);
        x = after(x, group_bytes_of(type));
    }
    fold_lanes(lane, x.count, products);
    uqff_put_results(plan, results, products, first, (size_t)x.count);
}

/* Some groups after the other: weights of a panel too long for the first-level cache stream from
 * the second fast enough. */
LANE void multiply(uint32_t type, const struct uqff_matmul *plan, const unsigned char *panel,
                   const unsigned char *x, const struct uqff_results *results) {
    const size_t stride = plan->columns / (size_t)tile_block_of(type) * group_bytes_of(type);
    size_t t = 0;
    for (; t + MOST - GROUP < plan->tokens; t += MOST, x += MOST_GROUPS * stride) {
        multiply_tokens(type, plan, panel, (struct tokens){MOST, x, stride}, results, t);
    }
    for (; t < plan->tokens; t += GROUP, x += stride) {
        multiply_tokens(type, plan, panel, (struct tokens){GROUP, x, stride}, results, t);
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
