/*
 * The searches of the K types and of importance-weighted encoding; see search.h.
 *
 * Codes are kept as floats while searching, because sums need them so and small integers are exact.
 * The codes of the best trial are not stored: remembering what they were computed from and rounding
 * once more at the end gives the same ones.
 */
#include "search.h"

#include "number.h"

/* The best scale for given codes l is sumlx / suml2; it leaves the error Σ w·x² − sumlx²/suml2. */
struct fit {
    float sumlx; /* Σ w·x·l */
    float suml2; /* Σ w·l·l */
};

static struct fit fit_of(int n, const float *x, const float *w, const float *l) {
    return (struct fit){weighted_product(n, w, x, l), weighted_product(n, w, l, l)};
}

/* suml2 is never negative: it is 0 when no weight counts, and NaN when weights overflowed, and then
 * the scale is NaN too. */
static float best_scale(struct fit fit) {
    return fit.suml2 != 0.0f ? fit.sumlx / fit.suml2 : 0.0f;
}

/* ---- QX -------------------------------------------------------------------------------------- */

static struct fit qx_fit(int n, int nmax, const float *x, const float *w, float iscale) {
    float lo = (float)-nmax;
    float hi = (float)(nmax - 1);
    float l[UQFF_GROUP_MAX];
    for (int i = 0; i < n; i++) {
        l[i] = nearest(iscale * x[i], lo, hi);
    }
    return fit_of(n, x, w, l);
}

float uqff_search_qx(int n, int nmax, const float *x, const float *w, uint8_t *codes) {
    float smax = signed_maximum(n, x);
    if (fabsf(smax) < UQFF_GROUP_EPSILON) {
        memset(codes, 0, (size_t)n);
        return 0.0f;
    }
    float best_iscale = (float)-nmax / smax;
    struct fit fit = qx_fit(n, nmax, x, w, best_iscale);
    float scale = best_scale(fit);
    float best = scale * fit.sumlx;

    for (int s = -9; s <= 9; s++) {
        if (s == 0) {
            continue;
        }
        float iscale = -((float)nmax + 0.1f * (float)s) / smax;
        fit = qx_fit(n, nmax, x, w, iscale);
        /* sumlx²/suml2 > best, without the division */
        if (fit.suml2 > 0.0f && fit.sumlx * fit.sumlx > best * fit.suml2) {
            best_iscale = iscale;
            scale = fit.sumlx / fit.suml2;
            best = scale * fit.sumlx;
        }
    }
    for (int i = 0; i < n; i++) {
        codes[i] = (uint8_t)(nearest_int(best_iscale * x[i], -nmax, nmax - 1) + nmax);
    }
    return scale;
}

/* ---- Q3 -------------------------------------------------------------------------------------- */

/* One sweep: for each element, takes it out of the sums, finds the code that suits the scale of the
 * others best, and keeps it if the fit improves. Returns whether any code changed. */
static bool q3_sweep(int n, int nmax, const float *x, const float *w, float *l, struct fit *fit) {
    float lo = (float)-nmax;
    float hi = (float)(nmax - 1);
    bool changed = false;
    for (int i = 0; i < n; i++) {
        float slx = fit->sumlx - w[i] * x[i] * l[i];
        if (!(slx > 0.0f)) {
            continue;
        }
        float sl2 = fit->suml2 - w[i] * l[i] * l[i];
        float next = nearest(x[i] * sl2 / slx, lo, hi);
        if (next == l[i]) {
            continue;
        }
        slx += w[i] * x[i] * next;
        sl2 += w[i] * next * next;
        if (sl2 > 0.0f && slx * slx * fit->suml2 > fit->sumlx * fit->sumlx * sl2) {
            l[i] = next;
            *fit = (struct fit){slx, sl2};
            changed = true;
        }
    }
    return changed;
}

float uqff_search_q3(int n, int nmax, const float *x, uint8_t *codes) {
    float smax = signed_maximum(n, x);
    if (fabsf(smax) < UQFF_GROUP_EPSILON) {
        memset(codes, 0, (size_t)n);
        return 0.0f;
    }
    float iscale = (float)-nmax / smax;
    float w[UQFF_GROUP_MAX], l[UQFF_GROUP_MAX];
    for (int i = 0; i < n; i++) {
        w[i] = x[i] * x[i];
        l[i] = nearest(iscale * x[i], (float)-nmax, (float)(nmax - 1));
    }
    struct fit fit = fit_of(n, x, w, l);
    for (int sweep = 0; sweep < 5 && q3_sweep(n, nmax, x, w, l, &fit); sweep++) {
    }
    for (int i = 0; i < n; i++) {
        codes[i] = (uint8_t)((int)l[i] + nmax);
    }
    return best_scale(fit);
}

/* ---- QKX ------------------------------------------------------------------------------------- */

/* x is near scale * l + min. */
struct line {
    float scale, min;
};

static void qkx_round(int n, const float *x, float iscale, float min, float nmax, float *l) {
    for (int i = 0; i < n; i++) {
        l[i] = nearest(iscale * (x[i] - min), 0.0f, nmax);
    }
}

/* Weighted linear regression of x on l, with min held at 0 or below. False when the l do not
 * determine a line. */
static bool qkx_solve(int n, const float *x, const float *w, const float *l, float sum_w,
                      float sum_x, struct line *line) {
    float sum_l = weighted_sum(n, w, l);
    float sum_l2 = weighted_product(n, w, l, l);
    float sum_xl = weighted_product(n, w, l, x);
    float determinant = sum_w * sum_l2 - sum_l * sum_l;
    if (!(determinant > 0.0f)) {
        return false;
    }
    line->scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    line->min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    if (line->min > 0.0f) {
        line->min = 0.0f;
        line->scale = sum_xl / sum_l2;
    }
    return true;
}

/* Σ w·e with e the error of the line, absolute or squared. */
static float qkx_error(int n, const float *x, const float *w, const float *l, struct line line,
                       bool absolute) {
    float total = 0.0f;
    for (int i = 0; i < n; i++) {
        float e = line.scale * l[i] + line.min - x[i];
        total += w[i] * (absolute ? fabsf(e) : e * e);
    }
    return total;
}

float uqff_search_qkx(const struct uqff_qkx *how, int n, const float *x, const float *w,
                      uint8_t *codes, float *minimum) {
    float nmax = (float)how->nmax;
    struct range range = range_of(n, x);
    float max = range.max;
    struct line line = {0.0f, range.min > 0.0f ? 0.0f : range.min};
    if (max == line.min) {
        memset(codes, 0, (size_t)n);
        *minimum = -line.min;
        return 0.0f;
    }
    float sum_w = sum(n, w);
    float sum_x = weighted_sum(n, w, x);

    float l[UQFF_GROUP_MAX];
    float best_iscale = nmax / (max - line.min);
    float best_base = line.min; /* what was taken from x before rounding */
    line.scale = 1.0f / best_iscale;
    qkx_round(n, x, best_iscale, best_base, nmax, l);
    float best = qkx_error(n, x, w, l, line, how->absolute);

    for (int s = 0; s <= how->nstep; s++) {
        float iscale = (how->rmin + how->rdelta * (float)s + nmax) / (max - line.min);
        struct line trial;
        qkx_round(n, x, iscale, line.min, nmax, l);
        if (!qkx_solve(n, x, w, l, sum_w, sum_x, &trial)) {
            continue;
        }
        float error = qkx_error(n, x, w, l, trial, how->absolute);
        if (error < best) {
            best = error;
            best_iscale = iscale;
            best_base = line.min;
            line = trial; /* the trials that follow start from its minimum */
        }
    }
    for (int i = 0; i < n; i++) {
        codes[i] = (uint8_t)nearest_int(best_iscale * (x[i] - best_base), 0, how->nmax);
    }
    *minimum = -line.min;
    return line.scale;
}

/* ---- QP -------------------------------------------------------------------------------------- */

static float qp_error(int n, int nmax, const float *x, const float *w, float iscale) {
    float scale = 1.0f / iscale;
    float total = 0.0f;
    for (int i = 0; i < n; i++) {
        float l = nearest(iscale * x[i], 0.0f, (float)nmax);
        float e = x[i] - scale * l;
        total += w[i] * e * e;
    }
    return total;
}

/* As q3_sweep, except for where it asks whether anything is left of suml2. */
static bool qp_sweep(int n, int nmax, const float *x, const float *w, float *l, struct fit *fit) {
    bool changed = false;
    for (int i = 0; i < n; i++) {
        float slx = fit->sumlx - w[i] * x[i] * l[i];
        float sl2 = fit->suml2 - w[i] * l[i] * l[i];
        if (!(slx > 0.0f && sl2 > 0.0f)) {
            continue;
        }
        float next = nearest(x[i] * sl2 / slx, 0.0f, (float)nmax);
        if (next == l[i]) {
            continue;
        }
        slx += w[i] * x[i] * next;
        sl2 += w[i] * next * next;
        if (slx * slx * fit->suml2 > fit->sumlx * fit->sumlx * sl2) {
            l[i] = next;
            *fit = (struct fit){slx, sl2};
            changed = true;
        }
    }
    return changed;
}

float uqff_search_qp(int n, int nmax, const float *x, const float *w, uint8_t *codes) {
    float max = positive_maximum(n, x);
    if (max < UQFF_GROUP_EPSILON) {
        memset(codes, 0, (size_t)n);
        return 0.0f;
    }
    float iscale = (float)nmax / max;
    float best = qp_error(n, nmax, x, w, iscale);
    for (int s = -4; s <= 4; s++) {
        float trial = (0.1f * (float)s + (float)nmax) / max;
        float error = s != 0 ? qp_error(n, nmax, x, w, trial) : best;
        if (error < best) {
            best = error;
            iscale = trial;
        }
    }

    float l[UQFF_GROUP_MAX];
    for (int i = 0; i < n; i++) {
        l[i] = nearest(iscale * x[i], 0.0f, (float)nmax);
    }
    struct fit fit = fit_of(n, x, w, l);
    for (int sweep = 0; sweep < 5 && qp_sweep(n, nmax, x, w, l, &fit); sweep++) {
    }
    for (int i = 0; i < n; i++) {
        codes[i] = (uint8_t)l[i];
    }
    return best_scale(fit);
}

/* ---- around the searches --------------------------------------------------------------------- */

float uqff_round_scales(int n, int nmax, const float *scales, uint8_t *codes) {
    float max = positive_maximum(n, scales);
    float iscale = max > 0.0f ? (float)nmax / max : 0.0f;
    for (int i = 0; i < n; i++) {
        codes[i] = (uint8_t)nearest_int(iscale * scales[i], 0, nmax);
    }
    return max / (float)nmax;
}

struct uqff_scale_pair uqff_search_scales_6(const struct uqff_qkx *how, const float *x,
                                            const float *importance, uint8_t codes[256],
                                            uint8_t s[8], uint8_t m[8]) {
    float scales[8], minima[8], sum_w[8], w[32];
    float sigma2 = importance ? 2.0f * sum_of_squares(256, x) / 256.0f : 0.0f;
    for (int g = 0; g < 8; g++) {
        const float *xg = x + 32 * g;
        if (importance) {
            uqff_weigh(32, xg, importance + 32 * g, sigma2, w);
        } else {
            float average = sqrtf(sum_of_squares(32, xg) / 32.0f);
            for (int i = 0; i < 32; i++) {
                w[i] = average + fabsf(xg[i]);
            }
        }
        sum_w[g] = sum(32, w);
        scales[g] = uqff_search_qkx(how, 32, xg, w, codes + 32 * g, &minima[g]);
    }
    if (importance) {
        return (struct uqff_scale_pair){uqff_search_qp(8, 63, scales, sum_w, s),
                                        uqff_search_qp(8, 63, minima, sum_w, m)};
    }
    return (struct uqff_scale_pair){uqff_round_scales(8, 63, scales, s),
                                    uqff_round_scales(8, 63, minima, m)};
}

void uqff_weigh(int n, const float *x, const float *importance, float sigma2, float *w) {
    for (int i = 0; i < n; i++) {
        w[i] = importance[i] * sqrtf(sigma2 + x[i] * x[i]);
    }
}

void uqff_requantize_minimum(int n, const float *x, float d, float minimum, int nmax,
                             uint8_t *codes) {
    if (d == 0.0f) {
        return;
    }
    for (int i = 0; i < n; i++) {
        codes[i] = (uint8_t)nearest_int((x[i] + minimum) / d, 0, nmax);
    }
}

void uqff_requantize_symmetric(int n, const float *x, float d, int nmax, uint8_t *codes) {
    if (d == 0.0f) {
        return;
    }
    for (int i = 0; i < n; i++) {
        codes[i] = (uint8_t)(nearest_int(x[i] / d, -nmax, nmax - 1) + nmax);
    }
}
