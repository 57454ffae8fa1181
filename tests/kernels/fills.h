/*
 * The kinds of rows that the kernel checker encodes. A kernel that passes on random weights still
 * fails where something ties, cancels, underflows or dominates, so each kind aims at one of these.
 */
#ifndef UQFF_TEST_FILLS_H
#define UQFF_TEST_FILLS_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* xorshift64*: the same numbers on every machine. */
struct random {
    uint64_t state;
};

static inline uint64_t random_bits(struct random *r) {
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1d;
}

static inline struct random random_from(uint64_t seed) {
    return (struct random){seed * 0x9e3779b97f4a7c15 + 0x1234567};
}

static inline uint32_t random_below(struct random *r, uint32_t n) {
    return (uint32_t)((random_bits(r) >> 32) * n >> 32);
}

/* Within 0..1. */
static inline float random_unit(struct random *r) {
    return (float)(random_bits(r) >> 40) * 0x1p-24f;
}

/* Within ±1. */
static inline float random_signed(struct random *r) {
    return 2.0f * random_unit(r) - 1.0f;
}

/* Near enough to normal. */
static inline float random_normal(struct random *r) {
    float sum = 0.0f;
    for (int i = 0; i < 12; i++) {
        sum += random_unit(r);
    }
    return sum - 6.0f;
}

static inline float power_of_two(int e) {
    return ldexpf(1.0f, e);
}

/* Any finite float. */
static inline float random_float(struct random *r) {
    float v;
    do {
        uint32_t bits = (uint32_t)(random_bits(r) >> 32);
        memcpy(&v, &bits, sizeof v);
    } while (!(fabsf(v) <= FLT_MAX));
    return v;
}

/* ---- values ---------------------------------------------------------------------------------- */

typedef void fill_fn(struct random *r, float *x, size_t n);

static void fill_zero(struct random *r, float *x, size_t n) {
    (void)r;
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.0f;
    }
}

static void fill_negative_zero(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = random_below(r, 4) ? -0.0f : 0.0f;
    }
}

static void fill_constant(struct random *r, float *x, size_t n) {
    float v = random_signed(r);
    for (size_t i = 0; i < n; i++) {
        v = i % 16 == 0 && random_below(r, 3) == 0 ? random_signed(r) : v;
        x[i] = v;
    }
}

static void fill_uniform(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = random_signed(r);
    }
}

static void fill_normal(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.02f * random_normal(r);
    }
}

static void fill_heavy_tail(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float v = random_normal(r);
        x[i] = 0.01f * v * v * v * v * v;
    }
}

/* Every so often an element a thousand to 2^30 times the others. */
static void fill_outliers(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = 0.01f * random_signed(r);
        if (random_below(r, 64) == 0) {
            x[i] *= power_of_two(10 + (int)random_below(r, 21));
        }
    }
}

static void fill_one_outlier(struct random *r, float *x, size_t n) {
    fill_zero(r, x, n);
    for (size_t i = 0; i < n; i += 16) {
        x[i + random_below(r, 16)] = random_signed(r);
    }
}

/* Multiples of a half: codes tie, and so do extremes. */
static void fill_ties(struct random *r, float *x, size_t n) {
    float unit = 0.5f;
    int range = 31;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            unit = power_of_two((int)random_below(r, 24) - 16);
            range = 1 + (int)random_below(r, 64);
        }
        x[i] = unit * (float)((int)random_below(r, 2 * (uint32_t)range + 1) - range);
    }
}

static void fill_two_values(struct random *r, float *x, size_t n) {
    float v = random_signed(r);
    for (size_t i = 0; i < n; i++) {
        x[i] = random_below(r, 2) ? v : -v;
    }
}

static void fill_sparse(struct random *r, float *x, size_t n) {
    uint32_t one_in = 1;
    for (size_t i = 0; i < n; i++) {
        if (i % 64 == 0) {
            one_in = 1 + random_below(r, 40);
        }
        x[i] = random_below(r, one_in) == 0 ? random_normal(r) : 0.0f;
    }
}

/* Groups of very different size in one super-block: scales round to 0. */
static void fill_uneven_groups(struct random *r, float *x, size_t n) {
    float size = 1.0f;
    for (size_t i = 0; i < n; i++) {
        if (i % 16 == 0) {
            size = power_of_two(-(int)random_below(r, 30));
        }
        x[i] = size * random_normal(r);
    }
}

/* All of one sign, small span on a large offset. */
static void fill_offset(struct random *r, float *x, size_t n) {
    float offset = 0.0f, span = 1.0f;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            offset = random_signed(r) * power_of_two((int)random_below(r, 8));
            span = power_of_two(-(int)random_below(r, 26));
        }
        x[i] = offset + span * random_signed(r);
    }
}

static void fill_near_epsilon(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = 1e-15f * 2.0f * random_signed(r);
        if (i % 16 == 0 && random_below(r, 3) == 0) {
            x[i] = random_below(r, 2) ? 1e-15f : -1e-15f;
        }
    }
}

static void fill_tiny(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = 1e-30f * random_normal(r);
    }
}

static void fill_denormal(struct random *r, float *x, size_t n) {
    float size = 0x1p-126f;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            size = power_of_two(-126 - (int)random_below(r, 23));
        }
        x[i] = size * random_signed(r);
    }
}

/* Squares underflow in some groups. */
static void fill_small(struct random *r, float *x, size_t n) {
    float size = 1.0f;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            size = power_of_two(-20 - (int)random_below(r, 110));
        }
        x[i] = size * random_normal(r);
    }
}

/* Squares and sums overflow. */
static void fill_largest(struct random *r, float *x, size_t n) {
    float size = FLT_MAX;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            size = ldexpf(FLT_MAX, -(int)random_below(r, 80));
        }
        x[i] = random_below(r, 8) ? size * random_signed(r) : random_below(r, 2) ? size : -size;
    }
}

/* Beyond what an f16 scale holds. */
static void fill_large(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = 1e6f * random_normal(r);
    }
}

static void fill_any(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] = random_float(r);
    }
}

/* Exponents from a narrow band, random bits below. */
static void fill_band(struct random *r, float *x, size_t n) {
    int low = 0;
    uint32_t width = 1;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            low = (int)random_below(r, 200) - 120;
            width = 1 + random_below(r, 24);
        }
        float v = 1.0f + random_unit(r);
        v *= power_of_two(low + (int)random_below(r, width));
        x[i] = random_below(r, 2) ? v : -v;
    }
}

/* A scale times small integers, a little off: what has been quantized before. */
static void fill_requantized(struct random *r, float *x, size_t n) {
    float scale = 1.0f, min = 0.0f;
    uint32_t codes = 16;
    for (size_t i = 0; i < n; i++) {
        if (i % 32 == 0) {
            scale = random_signed(r);
            codes = 1u << (1 + random_below(r, 6));
            min = random_below(r, 2) ? 0.0f : scale * (float)random_below(r, codes);
        }
        x[i] = scale * (float)random_below(r, codes) - min;
    }
}

/* Nothing below zero, and zeros of both signs: which of them is the smallest shows in the bytes. */
static void fill_rectified(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float v = random_below(r, 2) ? random_unit(r) : 0.0f;
        x[i] = v == 0.0f && random_below(r, 2) ? -0.0f : v;
    }
}

/* Half-way between integers, or one float from there, up to a largest element that makes the scale
 * of a byte exactly a power of two. */
static void fill_half_steps(struct random *r, float *x, size_t n) {
    float unit = 1.0f;
    for (size_t i = 0; i < n; i++) {
        float v = (float)random_below(r, 127) + 0.5f;
        v = random_below(r, 3) ? v : nextafterf(v, random_below(r, 2) ? 0.0f : 127.0f);
        if (i % 32 == 0) {
            unit = power_of_two((int)random_below(r, 40) - 20);
            v = 127.0f;
        }
        x[i] = random_below(r, 2) ? v * unit : -v * unit;
    }
}

/* Groups in which Q3 still finds codes to change when it has swept five times. In some, the cubes
 * of which its sums are made leave the range of normal numbers; and scales round to 0. */
static void fill_restless(struct random *r, float *x, size_t n) {
    static const int8_t groups[4][16] = {
        {30, -22, -23, -25, -26, -24, -32, -31, 32, 24, -32, -30, 31, 31, -24, -28},
        {29, 20, -26, 22, -23, -25, -32, -28, -22, -30, -24, -24, 21, 32, -28, -27},
        {-64, -46, -63, -52, 64, 64, -60, -64, -51, -48, 60, 59, -57, 59, -61, -49},
        {-99, 115, -111, -92, 96, 92, -123, 92, -107, 119, -83, 119, -119, 86, -89, -111},
    };
    int spread = 1 + (int)random_below(r, 60);
    for (size_t i = 0; i < n; i += 16) {
        const int8_t *group = groups[random_below(r, 4)];
        float unit = power_of_two((int)random_below(r, (uint32_t)spread) - 54);
        bool exact = random_below(r, 2);
        for (size_t k = 0; k < 16; k++) {
            x[i + k] = unit * ((float)group[k] + (exact ? 0.0f : 0.25f * random_signed(r)));
        }
    }
}

/* All that the kinds above make, a group each. */
static void fill_mixed(struct random *r, float *x, size_t n);

static const struct fill {
    const char *name;
    fill_fn *fill;
} fills[] = {
    {"zero", fill_zero},           {"negative zero", fill_negative_zero},
    {"constant", fill_constant},   {"uniform", fill_uniform},
    {"normal", fill_normal},       {"heavy tail", fill_heavy_tail},
    {"outliers", fill_outliers},   {"one outlier", fill_one_outlier},
    {"ties", fill_ties},           {"two values", fill_two_values},
    {"sparse", fill_sparse},       {"uneven groups", fill_uneven_groups},
    {"offset", fill_offset},       {"near epsilon", fill_near_epsilon},
    {"tiny", fill_tiny},           {"denormal", fill_denormal},
    {"small", fill_small},         {"largest", fill_largest},
    {"large", fill_large},         {"any", fill_any},
    {"band", fill_band},           {"requantized", fill_requantized},
    {"rectified", fill_rectified}, {"half steps", fill_half_steps},
    {"restless", fill_restless},   {"mixed", fill_mixed},
};

enum { FILLS = sizeof fills / sizeof fills[0] };

static void fill_mixed(struct random *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i += 32) {
        fills[random_below(r, FILLS - 1)].fill(r, x + i, 32);
    }
}

/* ---- importance ------------------------------------------------------------------------------ */

static void weights_uniform(struct random *r, float *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        w[i] = random_unit(r) + 0.01f;
    }
}

static void weights_heavy(struct random *r, float *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        w[i] = expf(2.0f * random_normal(r));
    }
}

static void weights_one(struct random *r, float *w, size_t n) {
    (void)r;
    for (size_t i = 0; i < n; i++) {
        w[i] = 1.0f;
    }
}

/* Mostly zero: sums vanish and regressions have no solution. */
static void weights_sparse(struct random *r, float *w, size_t n) {
    uint32_t one_in = 1;
    for (size_t i = 0; i < n; i++) {
        if (i % 16 == 0) {
            one_in = 1 + random_below(r, 30);
        }
        w[i] = random_below(r, one_in) == 0 ? random_unit(r) : 0.0f;
    }
}

static void weights_tiny(struct random *r, float *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        w[i] = random_unit(r) * 0x1p-120f;
    }
}

static void weights_huge(struct random *r, float *w, size_t n) {
    for (size_t i = 0; i < n; i++) {
        w[i] = random_unit(r) * (random_below(r, 16) ? 1e30f : FLT_MAX);
    }
}

static const struct fill weights[] = {
    {"uniform", weights_uniform}, {"heavy tail", weights_heavy}, {"one", weights_one},
    {"sparse", weights_sparse},   {"tiny", weights_tiny},        {"huge", weights_huge},
};

enum { WEIGHTS = sizeof weights / sizeof weights[0] };

#endif
