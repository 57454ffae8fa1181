/*
 * Exact products of panels with groups of tokens. The lanes of vectors are rows; the 32 lanes of
 * the contract are taken one after the other, each a sum in a register, and folded as they end.
 *
 *   lane l of a panel:   for k = l, l + 32, ...         16 rows x a float
 *   lane l of tokens:    for each group
 *                          for k = l, l + 32, ...       TOKENS x a float
 *
 * Lanes stand in the order in which folding adds them: 0, 16, 8, 24, 4, ..., that is with the bits
 * of their numbers reversed, so that the sums which wait for their partners are never more than
 * five.
 *
 * An instruction set brings
 *
 *   TOKENS, FEWEST                       tokens of a group, and those for which a panel pays
 *   struct sums                          16 rows x TOKENS; sums_zero, sums_store, sums_add
 *   step(s, w, x)                        one column of all of them
 *   put_float_columns(row, c, out, at)   columns c to c + 7 of eight rows, column k at out[k] + at
 *   one_nan_of(p, count)                 makes NaNs one
 *
 * Private to quantizers/.
 */
#ifndef UQFF_LANES_MATMUL_FLOAT_H
#define UQFF_LANES_MATMUL_FLOAT_H

#include "lanes/matmul.h"

enum { PIECE = 256, WAITING = 5, LINE = 16 };

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

/* ---- layout ---------------------------------------------------------------------------------- */

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
            float *column[8];
            out += (first + c) / UQFF_FLOAT_LANES * UQFF_PANEL_ROWS;
            for (unsigned k = 0; k < 8; k++) {
                column[k] = out + reversed((unsigned)(c % UQFF_FLOAT_LANES) + k) * stride;
            }
            put_float_columns(rows, c, column, 0);
            put_float_columns(rows + 8, c, column, 8);
        }
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */

LANE struct sums lane_sums(const float *w, const float *x, size_t steps) {
    struct sums s = sums_zero();
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

/* Sum number i has as many partners that wait for it as i has ones at its end. */
static SIMD void multiply(const struct uqff_matmul *plan, const unsigned char *panel,
                          const unsigned char *activations, float *waiting,
                          const struct uqff_results *results) {
    const size_t steps = steps_of(plan);
    const size_t groups = groups_of(plan);
    const size_t tile = TOKENS * UQFF_PANEL_ROWS;
    const float *w = (const float *)(const void *)panel;
    const float *x = (const float *)(const void *)activations;
    for (unsigned i = 0; i < UQFF_FLOAT_LANES; i++) {
        size_t lane = reversed(i);
        size_t count = plan->columns / UQFF_FLOAT_LANES + (lane < plan->columns % UQFF_FLOAT_LANES);
        unsigned partners = (unsigned)__builtin_ctz(i + 1);
        for (size_t g = 0; g < groups; g++) {
            struct sums s = lane_sums(w, x + g * steps * TOKENS, count);
            for (unsigned k = 0; k < partners; k++) {
                sums_add(&s, waiting + (k * groups + g) * tile);
            }
            if (partners < WAITING) {
                sums_store(waiting + (partners * groups + g) * tile, &s);
                continue;
            }
            _Alignas(64) float products[TOKENS * UQFF_PANEL_ROWS];
            sums_store(products, &s);
            one_nan_of(products, TOKENS * UQFF_PANEL_ROWS);
            uqff_put_results(plan, results, products, g * TOKENS, TOKENS);
        }
        w += panel_stride(plan);
        x += token_stride(plan);
    }
}

const struct uqff_matmul_kernel LEVEL(matmul_exact) = {
    .block = UQFF_FLOAT_LANES,
    .panel_bytes = UQFF_FLOAT_LANES * UQFF_PANEL_ROWS * sizeof(float),
    .slack = UQFF_FLOAT_LANES * LINE * sizeof(float),
    .group_bytes = UQFF_FLOAT_LANES * TOKENS * sizeof(float),
    .tokens = TOKENS,
    .fewest = FEWEST,
    .waiting = WAITING,
    .place = place,
    .pack = pack,
    .multiply = multiply,
};

#endif
