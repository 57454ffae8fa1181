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

#include "lanes/groups.h"
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

/* How a trial limits codes: those that no element passes are left out. Instead of limiting before
 * rounding, a table may do both at a time, where codes are few and elements not far beyond. */
enum qkx_limits { QKX_NONE = 0, QKX_LOW = 1, QKX_HIGH = 2, QKX_BOTH = 3, QKX_TABLE };

/* The table is read at what an element is mapped to, rounded, modulo VF_TABLE: its last QKX_BELOW
 * entries stand for numbers below 0. */
enum { QKX_BELOW = VF_TABLE / 4, QKX_ABOVE = VF_TABLE - QKX_BELOW };

/* What does not change in a search. */
struct qkx_how {
    float nmax;
    bool absolute, has_table;
    float table[VF_TABLE > 0 ? VF_TABLE : 1];
};

LANE struct qkx_how qkx_how(const struct uqff_qkx *how) {
    struct qkx_how h = {.nmax = (float)how->nmax, .absolute = how->absolute};
    /* Trials map to no more than nmax + 1. */
    h.has_table = how->nmax + 1 < QKX_ABOVE;
    for (int i = 0; i < VF_TABLE; i++) {
        int code = i < QKX_ABOVE ? i : 0;
        h.table[i] = (float)(code < how->nmax ? code : how->nmax);
    }
    return h;
}

LANE vf qkx_code(const struct qkx_lanes *q, int i, vf min, vf iscale, const struct qkx_how *h,
                 enum qkx_limits limits) {
    vf v = vf_mul(iscale, vf_sub(q->x[i], min));
    if (limits == QKX_TABLE) {
        return vf_table(h->table, vf_bits(vf_add(v, vf_set(0x1.8p23f))));
    }
    v = limits & QKX_LOW ? vf_max(v, vf_set(0.0f)) : v;
    v = limits & QKX_HIGH ? vf_min(v, vf_set(h->nmax)) : v;
    return vf_round(v);
}

LANE void qkx_gather(struct qkx_lanes *q, int i, vf min, vf iscale, const struct qkx_how *h,
                     enum qkx_limits limits, struct qkx_sums *s) {
    vf l = qkx_code(q, i, min, iscale, h, limits);
    vf wl = vf_mul(q->w[i], l);
    q->l[i] = l;
    s->l = vf_add(s->l, wl);
    s->l2 = vf_add(s->l2, vf_mul(wl, l));
    s->xl = vf_add(s->xl, vf_mul(wl, q->x[i]));
}

LANE void qkx_gather_all(struct qkx_lanes *a, struct qkx_lanes *b, int n, const struct qkx_how *h,
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
        qkx_gather(a, i, min_a, iscale_a, h, limits, &s);
        qkx_gather(b, i, min_b, iscale_b, h, limits, &t);
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

LANE vf qkx_weigh_error(const struct qkx_lanes *q, int i, vf l, vf scale, vf min, bool absolute) {
    vf e = vf_sub(vf_add(vf_mul(scale, l), min), q->x[i]);
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
        s = vf_add(s, qkx_weigh_error(a, i, a->l[i], scale_a, min_a, absolute));
        t = vf_add(t, qkx_weigh_error(b, i, b->l[i], scale_b, min_b, absolute));
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

/* Whether no element of either is mapped to less. */
LANE bool qkx_all_above(const struct qkx_lanes *a, const struct qkx_lanes *b, float least) {
    vf of_a = vf_mul(a->trial_iscale, vf_sub(a->low, a->min));
    vf of_b = vf_mul(b->trial_iscale, vf_sub(b->low, b->min));
    return vm_all(vm_and(vf_ge(of_a, vf_set(least)), vf_ge(of_b, vf_set(least))));
}

/* Which limits a trial has use for.
 *
 * The group's maximum is mapped to `mapped` but for two roundings, and as subtraction,
 * multiplication and rounding are monotone, no element is mapped higher, and none lower than the
 * minimum. All this holds for scales above zero and below infinity. With few codes, the line often
 * passes the minimum by more than half a code: to ask costs more than to limit. */
LANE enum qkx_limits qkx_limits(const struct qkx_lanes *a, const struct qkx_lanes *b, float mapped,
                                const struct qkx_how *h) {
    if (!qkx_is_plain(a->trial_iscale) || !qkx_is_plain(b->trial_iscale)) {
        return QKX_BOTH;
    }
    if (h->has_table) {
        return qkx_all_above(a, b, (float)-QKX_BELOW) ? QKX_TABLE : QKX_BOTH;
    }
    /* Just below -1/2 and nmax + 1/2, an element is still rounded to 0 or nmax. */
    bool low = h->nmax <= 3.0f || !qkx_all_above(a, b, -0.5f);
    bool high = mapped > h->nmax + 0.499f;
    return (enum qkx_limits)((low ? QKX_LOW : 0) | (high ? QKX_HIGH : 0));
}

/* One trial of two vectors of groups. */
LANE void qkx_try(struct qkx_lanes *a, struct qkx_lanes *b, int n, const struct qkx_how *h,
                  float mapped) {
    a->trial_iscale = vf_div(vf_set(mapped), vf_sub(a->high, a->min));
    b->trial_iscale = vf_div(vf_set(mapped), vf_sub(b->high, b->min));
    struct qkx_sums sa, sb;
    switch (qkx_limits(a, b, mapped, h)) {
    case QKX_TABLE:
        qkx_gather_all(a, b, n, h, QKX_TABLE, &sa, &sb);
        break;
    case QKX_NONE:
        qkx_gather_all(a, b, n, h, QKX_NONE, &sa, &sb);
        break;
    case QKX_LOW:
        qkx_gather_all(a, b, n, h, QKX_LOW, &sa, &sb);
        break;
    case QKX_HIGH:
        qkx_gather_all(a, b, n, h, QKX_HIGH, &sa, &sb);
        break;
    default:
        qkx_gather_all(a, b, n, h, QKX_BOTH, &sa, &sb);
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

/* What a loop over all elements tells of a vector of groups. */
struct qkx_totals {
    vf low, high, w, x;
};

LANE void qkx_add_up(const struct qkx_lanes *q, int i, struct qkx_totals *t) {
    vf x = q->x[i];
    vf w = q->w[i];
    t->low = vf_min(x, t->low);
    t->high = vf_max(x, t->high);
    t->w = vf_add(t->w, w);
    t->x = vf_add(t->x, vf_mul(w, x));
}

/* Plain scale and minimum. */
LANE void qkx_begin(struct qkx_lanes *q, const struct qkx_totals *t, float nmax) {
    vf min = vf_min(vf_set(0.0f), t->low);
    vf iscale = vf_div(vf_set(nmax), vf_sub(t->high, min));
    q->low = t->low;
    q->high = t->high;
    q->sum_w = t->w;
    q->sum_x = t->x;
    q->min = q->base = min;
    q->iscale = q->trial_iscale = iscale;
    q->scale = vf_div(vf_set(1.0f), iscale);
}

LANE vf qkx_first_error(const struct qkx_lanes *q, int i, const struct qkx_how *h,
                        enum qkx_limits limits) {
    vf l = qkx_code(q, i, q->min, q->iscale, h, limits);
    return qkx_weigh_error(q, i, l, q->scale, q->min, h->absolute);
}

LANE void qkx_first_errors(struct qkx_lanes *a, struct qkx_lanes *b, int n, const struct qkx_how *h,
                           enum qkx_limits limits) {
    vf s = vf_set(0.0f);
    vf t = s;
    UNROLL(4)
    for (int i = 0; i < n; i++) {
        s = vf_add(s, qkx_first_error(a, i, h, limits));
        t = vf_add(t, qkx_first_error(b, i, h, limits));
    }
    /* A flat group is done: nothing is below minus infinity. */
    a->best = vf_select(vf_eq(a->high, a->min), vf_set(-INFINITY), s);
    b->best = vf_select(vf_eq(b->high, b->min), vf_set(-INFINITY), t);
}

/* The first trial, with plain scale and minimum: it maps all elements to 0 .. nmax but for what is
 * lost by rounding, so that limits bind only where a scale is infinite or no number. */
LANE void qkx_start(struct qkx_lanes *a, struct qkx_lanes *b, int n, const struct qkx_how *h) {
    vf zero = vf_set(0.0f);
    struct qkx_totals s = {a->x[0], a->x[0], zero, zero};
    struct qkx_totals t = {b->x[0], b->x[0], zero, zero};
    UNROLL(4)
    for (int i = 0; i < n; i++) {
        qkx_add_up(a, i, &s);
        qkx_add_up(b, i, &t);
    }
    qkx_begin(a, &s, h->nmax);
    qkx_begin(b, &t, h->nmax);
    if (qkx_is_plain(a->iscale) && qkx_is_plain(b->iscale)) {
        qkx_first_errors(a, b, n, h, QKX_NONE);
    } else {
        qkx_first_errors(a, b, n, h, QKX_BOTH);
    }
}

/* Searches in `count` vectors. Leaves scale and min of each group, and in iscale and base what its
 * codes are made from: nearest(iscale * (x - base), 0, nmax). Meanwhile it fetches what will be
 * read and written after it. */
LANE void qkx_search(struct qkx_lanes *q, int count, int n, const struct uqff_qkx *how,
                     struct ahead values, struct ahead results) {
    struct qkx_how h = qkx_how(how);
    for (int k = 0; k < count; k += 2) {
        qkx_start(&q[k], &q[k + (k + 1 < count)], n, &h);
    }
    for (int s = 0; s <= how->nstep; s++) {
        float mapped = how->rmin + how->rdelta * (float)s + (float)how->nmax;
        fetch_part(values, s, how->nstep + 1);
        fetch_part(results, s, how->nstep + 1);
        for (int k = 0; k < count; k += 2) {
            qkx_try(&q[k], &q[k + (k + 1 < count)], n, &h, mapped);
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
