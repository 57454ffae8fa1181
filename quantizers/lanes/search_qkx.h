/*
 * QKX, the search for a scale and a minimum (ref/search.h), for as many groups at a time as there
 * are lanes. Private to quantizers/.
 *
 * Each lane goes through the additions of uqff_search_qkx in their order; nothing is summed across
 * lanes. Two vectors of groups run through each loop side by side, which hides the latency of their
 * serial sums, and while the last divisions of one pair are under way the next pair is at work.
 */
#ifndef UQFF_LANES_SEARCH_QKX_H
#define UQFF_LANES_SEARCH_QKX_H

#include "lanes/round.h"
#include "ref/search.h"

/* A vector of groups. The caller fills in x and w. */
struct qkx_lanes {
    vf x[UQFF_GROUP_MAX]; /* element i of each group */
    vf w[UQFF_GROUP_MAX]; /* its weight */
    vf l[UQFF_GROUP_MAX]; /* its code in the trial at hand, as a float */
    vf low, high;         /* least and largest x */

    vf sum_w, sum_x; /* Σ w, Σ w·x */
    vf min;          /* what trials take from x */
    vf trial_iscale; /* the trial at hand */
    vf trial_scale, trial_min;
    vm regular; /* its regression has a solution */
    vf best;    /* the least error so far, and how it came about */
    vf iscale, base, scale;
};

/* What a loop keeps in registers of one of the two vectors. */
struct qkx_sums {
    vf l, l2, xl;
};

/* The limits of codes that may bind in a trial. */
enum qkx_limits { QKX_NONE, QKX_LOW, QKX_BOTH };

LANE vf qkx_code(const struct qkx_lanes *q, int i, vf min, vf iscale, float nmax,
                 enum qkx_limits limits) {
    vf v = vf_mul(iscale, vf_sub(q->x[i], min));
    v = limits == QKX_NONE ? v : vf_max(v, vf_set(0.0f));
    return vf_round(limits == QKX_BOTH ? vf_min(v, vf_set(nmax)) : v);
}

LANE void qkx_gather(struct qkx_lanes *q, int i, vf min, vf iscale, float nmax,
                     enum qkx_limits limits, struct qkx_sums *s) {
    vf l = qkx_code(q, i, min, iscale, nmax, limits);
    vf wl = vf_mul(q->w[i], l);
    q->l[i] = l;
    s->l = vf_add(s->l, wl);
    s->l2 = vf_add(s->l2, vf_mul(wl, l));
    s->xl = vf_add(s->xl, vf_mul(wl, q->x[i]));
}

LANE void qkx_gather_all(struct qkx_lanes *a, struct qkx_lanes *b, int n, float nmax,
                         enum qkx_limits limits, struct qkx_sums *sa, struct qkx_sums *sb) {
    vf zero = vf_set(0.0f);
    vf min_a = a->min;
    vf min_b = b->min;
    vf iscale_a = a->trial_iscale;
    vf iscale_b = b->trial_iscale;
    struct qkx_sums s = {zero, zero, zero};
    struct qkx_sums t = s;
    UNROLL(4)
    for (int i = 0; i < n; i++) {
        qkx_gather(a, i, min_a, iscale_a, nmax, limits, &s);
        qkx_gather(b, i, min_b, iscale_b, nmax, limits, &t);
    }
    *sa = s;
    *sb = t;
}

/* Weighted linear regression of x on the codes of the trial. */
LANE void qkx_regress(struct qkx_lanes *q, const struct qkx_sums *s) {
    vf zero = vf_set(0.0f);
    vf determinant = vf_sub(vf_mul(q->sum_w, s->l2), vf_mul(s->l, s->l));
    vf scale = vf_sub(vf_mul(q->sum_w, s->xl), vf_mul(q->sum_x, s->l));
    vf min = vf_sub(vf_mul(s->l2, q->sum_x), vf_mul(s->l, s->xl));
    scale = vf_div(scale, determinant);
    min = vf_div(min, determinant);
    vm positive = vf_gt(min, zero);
    q->trial_min = vf_min(zero, min);
    if (vm_any(positive)) {
        scale = vf_select(positive, vf_div(s->xl, s->l2), scale);
    }
    q->trial_scale = scale;
    q->regular = vf_gt(determinant, zero);
}

LANE vf qkx_weigh_error(const struct qkx_lanes *q, int i, vf scale, vf min, bool absolute) {
    vf e = vf_sub(vf_add(vf_mul(scale, q->l[i]), min), q->x[i]);
    return vf_mul(q->w[i], absolute ? vf_abs(e) : vf_mul(e, e));
}

LANE void qkx_errors(const struct qkx_lanes *a, const struct qkx_lanes *b, int n, bool absolute,
                     vf *ea, vf *eb) {
    vf scale_a = a->trial_scale;
    vf scale_b = b->trial_scale;
    vf min_a = a->trial_min;
    vf min_b = b->trial_min;
    vf s = vf_set(0.0f);
    vf t = s;
    UNROLL(4)
    for (int i = 0; i < n; i++) {
        s = vf_add(s, qkx_weigh_error(a, i, scale_a, min_a, absolute));
        t = vf_add(t, qkx_weigh_error(b, i, scale_b, min_b, absolute));
    }
    *ea = s;
    *eb = t;
}

LANE void qkx_keep_better(struct qkx_lanes *q, vf error) {
    vm better = vm_and(q->regular, vf_lt(error, q->best));
    q->best = vf_select(better, error, q->best);
    q->iscale = vf_select(better, q->trial_iscale, q->iscale);
    q->base = vf_select(better, q->min, q->base);
    q->scale = vf_select(better, q->trial_scale, q->scale);
    q->min = vf_select(better, q->trial_min, q->min);
}

/* Scales above zero and below infinity. */
LANE bool qkx_is_plain(vf iscale) {
    return vm_all(vm_and(vf_gt(iscale, vf_set(0.0f)), vf_lt(iscale, vf_set(INFINITY))));
}

/* Whether no element is mapped to less than -1/2, which rounds to 0. */
LANE bool qkx_is_above_zero(const struct qkx_lanes *q) {
    vf least = vf_mul(q->trial_iscale, vf_sub(q->low, q->min));
    return vm_all(vf_ge(least, vf_set(-0.5f)));
}

/* Which limits a trial has use for.
 *
 * The group's maximum is mapped to `mapped` but for two roundings, and as subtraction,
 * multiplication and rounding are monotone, no element is mapped higher, and none lower than the
 * minimum. All this holds for scales above zero and below infinity. With few codes, the line often
 * passes the minimum by more than half a code: to ask costs more than to limit. */
LANE enum qkx_limits qkx_limits(const struct qkx_lanes *a, const struct qkx_lanes *b, float mapped,
                                float nmax) {
    if (!(mapped < nmax + 0.499f && qkx_is_plain(a->trial_iscale) &&
          qkx_is_plain(b->trial_iscale))) {
        return QKX_BOTH;
    }
    return nmax > 3.0f && qkx_is_above_zero(a) && qkx_is_above_zero(b) ? QKX_NONE : QKX_LOW;
}

/* One trial of two vectors of groups. */
LANE void qkx_try(struct qkx_lanes *a, struct qkx_lanes *b, int n, const struct uqff_qkx *how,
                  float mapped) {
    float nmax = (float)how->nmax;
    a->trial_iscale = vf_div(vf_set(mapped), vf_sub(a->high, a->min));
    b->trial_iscale = vf_div(vf_set(mapped), vf_sub(b->high, b->min));
    struct qkx_sums sa, sb;
    switch (qkx_limits(a, b, mapped, nmax)) {
    case QKX_NONE:
        qkx_gather_all(a, b, n, nmax, QKX_NONE, &sa, &sb);
        break;
    case QKX_LOW:
        qkx_gather_all(a, b, n, nmax, QKX_LOW, &sa, &sb);
        break;
    default:
        qkx_gather_all(a, b, n, nmax, QKX_BOTH, &sa, &sb);
        break;
    }
    qkx_regress(a, &sa);
    qkx_regress(b, &sb);
}

LANE void qkx_judge(struct qkx_lanes *a, struct qkx_lanes *b, int n, bool absolute) {
    vf error_a, error_b;
    qkx_errors(a, b, n, absolute, &error_a, &error_b);
    qkx_keep_better(a, error_a);
    qkx_keep_better(b, error_b);
}

/* The first trial, with plain scale and minimum. */
LANE void qkx_start(struct qkx_lanes *q, int n, const struct uqff_qkx *how) {
    vf zero = vf_set(0.0f);
    float nmax = (float)how->nmax;
    vf low = q->x[0], high = low, sum_w = zero, sum_x = zero;
    UNROLL(4)
    for (int i = 0; i < n; i++) {
        vf x = q->x[i];
        low = vf_min(x, low);
        high = vf_max(x, high);
        sum_w = vf_add(sum_w, q->w[i]);
        sum_x = vf_add(sum_x, vf_mul(q->w[i], x));
    }
    q->low = low;
    q->high = high;
    q->sum_w = sum_w;
    q->sum_x = sum_x;
    vf min = vf_min(zero, low);
    vf iscale = vf_div(vf_set(nmax), vf_sub(q->high, min));
    vf scale = vf_div(vf_set(1.0f), iscale);
    q->min = q->base = min;
    q->iscale = iscale;
    q->scale = scale;
    vf best = zero;
    UNROLL(4)
    for (int i = 0; i < n; i++) {
        q->l[i] = qkx_code(q, i, min, iscale, nmax, QKX_BOTH);
        best = vf_add(best, qkx_weigh_error(q, i, scale, min, how->absolute));
    }
    /* A flat group is done: nothing is below minus infinity. */
    q->best = vf_select(vf_eq(q->high, min), vf_set(-INFINITY), best);
}

/* Searches in `count` vectors. Leaves scale and min of each group, and in iscale and base what its
 * codes are made from: nearest(iscale * (x - base), 0, nmax). */
LANE void qkx_search(struct qkx_lanes *q, int count, int n, const struct uqff_qkx *how) {
    for (int k = 0; k < count; k++) {
        qkx_start(&q[k], n, how);
    }
    for (int s = 0; s <= how->nstep; s++) {
        float mapped = how->rmin + how->rdelta * (float)s + (float)how->nmax;
        for (int k = 0; k < count; k += 2) {
            qkx_try(&q[k], &q[k + (k + 1 < count)], n, how, mapped);
        }
        for (int k = 0; k < count; k += 2) {
            qkx_judge(&q[k], &q[k + (k + 1 < count)], n, how->absolute);
        }
    }
    for (int k = 0; k < count; k++) {
        vm flat = vf_eq(q[k].best, vf_set(-INFINITY));
        vf zero = vf_set(0.0f);
        q[k].scale = vf_select(flat, zero, q[k].scale);
        q[k].iscale = vf_select(flat, zero, q[k].iscale);
    }
}

#endif
