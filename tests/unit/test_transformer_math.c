/* Functions and operators of the transformer: how near they come to the truth, and that every
 * instruction set gives the same bits. */
#include <math.h>
#include <stdio.h>

#include "support/support.h"
#include "validation/math.h"
#include "validation/ops.h"

/* ---- functions of doubles -------------------------------------------------------------------- */

static void near(double found, double expected, double relative, const char *what, double x) {
    if (!(fabs(found - expected) <= relative * fabs(expected))) {
        fail_msg("%s(%a): found %a, expected %a", what, x, found, expected);
    }
}

static void doubles(void **state) {
    struct test_random random = {11};
    (void)state;
    for (int i = 0; i < 20000; i++) {
        double u = (double)random_float(&random), sine, cosine;
        near(uqff_math_exp(700 * u), exp(700 * u), 2e-15, "exp", 700 * u);
        near(uqff_math_exp(u), exp(u), 1e-15, "exp", u);
        double x = exp(700 * u);
        near(uqff_math_log(x), log(x), 1e-15, "log", x);
        near(uqff_math_log(1 + u / 64), log(1 + u / 64), 4e-16, "log", 1 + u / 64);
        near(uqff_math_pow(1e4, u), pow(1e4, u), 1e-14, "pow", u);
        near(uqff_math_erf(4 * u), erf(4 * u), 2e-15, "erf", 4 * u);
        x = 1e5 * u;
        uqff_math_sincos(x, &sine, &cosine);
        assert_true(fabs(sine - sin(x)) < 3e-16 && fabs(cosine - cos(x)) < 3e-16);
        x = 1e7 * u;
        uqff_math_sincos(x, &sine, &cosine);
        assert_true(fabs(sine - sin(x)) < 3e-16 && fabs(cosine - cos(x)) < 3e-16);
        near(uqff_math_floor(x), floor(x), 0, "floor", x);
    }
    assert_true(uqff_math_exp(0) == 1 && uqff_math_log(1) == 0);
    assert_true(uqff_math_exp(800) == (double)INFINITY && uqff_math_exp(-800) == 0);
    near(uqff_math_exp(-740), exp(-740), 1e-1, "exp", -740);
    near(uqff_math_log(0x1p-1060), log(0x1p-1060), 1e-15, "log", 0x1p-1060);
    assert_true(isnan(uqff_math_exp(NAN)) && isnan(uqff_math_erf(NAN)));
    assert_true(uqff_math_erf(7) == 1 && uqff_math_erf(-7) == -1 && uqff_math_erf(0) == 0);
}

/* ---- functions of floats --------------------------------------------------------------------- */

/* Units in the last place between a float and the true value. */
static double units(float found, double expected) {
    double unit = ldexp(1, ilogb(fmax(fabs(expected), (double)0x1p-126f)) - 23);
    return fabs((double)found - expected) / unit;
}

static void floats(void **state) {
    const struct uqff_ops *ops = uqff_ops_in_use();
    enum { N = 4096 };
    static float x[N], y[N], up[N];
    double worst_exp = 0, worst_tanh = 0;
    (void)state;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < N; i++) {
            x[i] = -103.0f + (float)(round * N + i) * (191.0f / (40 * N));
        }
        ops->exp(x, y, N);
        for (int i = 0; i < N; i++) {
            worst_exp = fmax(worst_exp, units(y[i], exp((double)x[i])));
        }
        for (int i = 0; i < N; i++) {
            x[i] = y[i] = -10.0f + (float)(round * N + i) * (20.0f / (40 * N));
            up[i] = 1;
        }
        ops->softcap(y, N, 1);
        for (int i = 0; i < N; i++) {
            worst_tanh = fmax(worst_tanh, units(y[i], tanh((double)x[i])));
        }
        memcpy(y, x, sizeof y);
        ops->swiglu(y, up, N);
        for (int i = 0; i < N; i++) {
            double g = (double)x[i];
            assert_true(units(y[i], g / (1 + exp(-g))) < 4);
        }
        memcpy(y, x, sizeof y);
        ops->geglu(y, up, N);
        for (int i = 0; i < N; i++) {
            double g = (double)x[i], u = sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
            assert_true(fabs((double)y[i] - 0.5 * g * (1 + tanh(u))) < 2e-6 * fmax(1e-3, fabs(g)));
        }
    }
    print_message("    exp within %.2f units, tanh within %.2f\n", worst_exp, worst_tanh);
    assert_true(worst_exp < 1.1 && worst_tanh < 2);
    const float edges[8] = {0, -INFINITY, INFINITY, NAN, 88.9f, -104.5f, -0.0f, 1e30f};
    ops->exp(edges, y, 8);
    assert_true(y[0] == 1 && y[1] == 0 && y[2] == INFINITY && isnan(y[3]) && y[4] == INFINITY);
    assert_true(y[5] == 0 && y[6] == 1 && y[7] == INFINITY);
}

/* ---- the same bits --------------------------------------------------------------------------- */

#if defined(__x86_64__)
static void fill(struct test_random *random, float *x, size_t n, float scale) {
    for (size_t i = 0; i < n; i++) {
        x[i] = scale * random_gauss(random);
    }
}

static void same_bits(void **state) {
    enum { DIMS = 48, BLOCKS = 5, POSITIONS = BLOCKS * UQFF_KEY_BLOCK, N = 1003 };
    static float q[UQFF_QUERIES][DIMS], keys[POSITIONS * DIMS], values[POSITIONS * DIMS];
    static float scores[2][UQFF_QUERIES * POSITIONS], out[2][UQFF_QUERIES][DIMS];
    static float x[2][N], y[N];
    const struct uqff_ops *const ops[2] = {&uqff_ops_c, &uqff_ops_avx2};
    struct test_random random = {13};
    float sums[2];
    double exps[2], pairs[2][2];
    (void)state;
    if (uqff_cpu_found() == UQFF_CPU_REF) {
        skip();
    }
    for (int round = 0; round < 50; round++) {
        size_t dims = (size_t)(1 + round % 3) * 16, n = 8 + (size_t)round * 20;
        fill(&random, q[0], UQFF_QUERIES * DIMS, 1);
        fill(&random, keys, POSITIONS * DIMS, 1);
        fill(&random, values, POSITIONS * DIMS, 1);
        fill(&random, x[0], N, 5);
        memcpy(x[1], x[0], sizeof x[0]);
        fill(&random, y, N, 5);
        const float *const queries[UQFF_QUERIES] = {q[0], q[1], q[2], q[3]};
        for (int i = 0; i < 2; i++) {
            float *const rows[UQFF_QUERIES] = {out[i][0], out[i][1], out[i][2], out[i][3]};
            ops[i]->scores(queries, keys, dims, BLOCKS, scores[i], POSITIONS);
            ops[i]->softcap(scores[i], POSITIONS, 3);
            sums[i] = ops[i]->softmax(scores[i], POSITIONS);
            ops[i]->mix(scores[i], POSITIONS, values, POSITIONS - 7, dims, rows);
            exps[i] = ops[i]->sum_exp(x[i], n, 3);
            ops[i]->divergence(x[i], y, n, 8, pairs[i]);
            ops[i]->swiglu(x[i], y, n);
            ops[i]->geglu(x[i], y, n);
            ops[i]->exp(x[i], x[i], n);
        }
        assert_memory_equal(scores[0], scores[1], sizeof scores[0]);
        assert_memory_equal(out[0], out[1], sizeof out[0]);
        assert_memory_equal(x[0], x[1], sizeof x[0]);
        assert_true(sums[0] == sums[1] && exps[0] == exps[1]);
        assert_true(pairs[0][0] == pairs[1][0] && pairs[0][1] == pairs[1][1]);
    }
}
#endif

/* What the operators compute, by plain loops. */
static void operators(void **state) {
    enum { DIMS = 16 };
    float x[10] = {3, -4, 0, 1, 2, 5, -1, 2, 4, 1}, w[10] = {0}, y[10], scratch[10];
    const float cosines[2] = {0.5f, 1}, sines[2] = {2, 0.25f};
    float heads[6] = {1, 2, 3, 4, 5, 6};
    (void)state;
    uqff_rms_norm(x, w, 2, 0.3, y, 10);
    for (int i = 0; i < 10; i++) {
        near((double)y[i], 2 * (double)x[i] / sqrt(7.7 + 0.3), 2e-7, "norm", (double)x[i]);
    }
    uqff_rope(heads, cosines, sines, 2);
    const float turned[6] = {0.5f - 6, 2 - 1, 1.5f + 2, 4 + 0.5f, 5, 6};
    assert_memory_equal(heads, turned, sizeof heads);
    for (int i = 0; i < 6; i++) {
        heads[i] = (float)i;
    }
    uqff_unpair(heads, scratch, 6);
    const float halves[6] = {0, 2, 4, 1, 3, 5};
    assert_memory_equal(heads, halves, sizeof heads);
    y[0] = -3;
    y[1] = 3;
    y[2] = NAN;
    uqff_reglu(y, x + 7, 3);
    assert_true(y[0] == 0 && y[1] == 12 && isnan(y[2]));
    y[0] = 1.5f;
    uqff_geglu_erf(y, x + 4, 1);
    near((double)y[0], 1.5 * (1 + erf(1.5 / sqrt(2))), 2e-7, "gelu", 1.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles),
        cmocka_unit_test(floats),
        cmocka_unit_test(operators),
#if defined(__x86_64__)
        cmocka_unit_test(same_bits),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
