/*
 * QX, the search for the scale of a symmetric group (ref/search.h), for as many groups at a
 * time as there are lanes. Private to quantizers/.
 *
 * Trials do not depend on each other's outcome, so two of them share each load, and the processor
 * begins the next two while the last divisions are under way. It has two vectors in turns: what a
 * vector waits for, the other one's sums fill.
 */
#ifndef UQFF_LANES_SEARCH_QX_H
#define UQFF_LANES_SEARCH_QX_H

#include "lanes/groups.h"
#include "ref/search.h"

enum { QX_TRIALS = 18 };

/* A vector of groups. The caller fills in x and w. */
struct qx_lanes {
    vf x[UQFF_GROUP_MAX];       /* element i of each group */
    vf w[UQFF_GROUP_MAX];       /* its weight */
    vf wx[UQFF_GROUP_MAX];      /* their product */
    vf limited[UQFF_GROUP_MAX]; /* x as qx_limit() leaves it */
    vf largest;                 /* by magnitude, with its sign */
    vf scale, iscale;           /* the result: code = nearest(iscale * x, -nmax, nmax - 1) + nmax */
    vf best;                    /* its score */
    vf next[2]; /* iscale of the next two trials: divided while those before are summed up */
};

struct qx_fit {
    vf sumlx, suml2;
};

/* The limits that may bind in a trial. */
enum qx_limits { QX_NONE, QX_HIGH, QX_BOTH };

LANE void qx_gather(struct qx_fit *f, vf x, vf w, vf wx, vf iscale, float nmax,
                    enum qx_limits limits) {
    vf v = vf_mul(iscale, x);
    v = limits == QX_BOTH ? vf_max(v, vf_set(-nmax)) : v;
    v = limits != QX_NONE ? vf_min(v, vf_set(nmax - 1.0f)) : v;
    vf l = vf_round(v);
    f->sumlx = vf_add(f->sumlx, vf_mul(wx, l));
    f->suml2 = vf_add(f->suml2, vf_mul(vf_mul(w, l), l));
}

LANE struct qx_fit qx_fit_one(const struct qx_lanes *q, const vf *x, int n, float nmax,
                              enum qx_limits limits, vf iscale) {
    struct qx_fit f = {vf_set(0.0f), vf_set(0.0f)};
    UNROLL(4)
    for (int i = 0; i < n; i++) {
        qx_gather(&f, x[i], q->w[i], q->wx[i], iscale, nmax, limits);
    }
    return f;
}

LANE void qx_fit_pair(const struct qx_lanes *q, const vf *x, int n, float nmax,
                      enum qx_limits limits, vf iscale_a, vf iscale_b, struct qx_fit *a,
                      struct qx_fit *b) {
    vf zero = vf_set(0.0f);
    struct qx_fit s = {zero, zero};
    struct qx_fit t = s;
    UNROLL(4)
    for (int i = 0; i < n; i++) {
        vf v = x[i];
        vf w = q->w[i];
        vf wx = q->wx[i];
        qx_gather(&s, v, w, wx, iscale_a, nmax, limits);
        qx_gather(&t, v, w, wx, iscale_b, nmax, limits);
    }
    *a = s;
    *b = t;
}

struct qx_type {
    float nmax;
    /* -(nmax + s / 10) for s = -9 .. 9 but 0, in order, and two that are prepared but not tried. */
    float trial[QX_TRIALS + 2];
};

#define QX_TRIAL(nmax, s) -((nmax) + 0.1f * (s))
#define QX_TYPE(nmax)                                                                              \
    {                                                                                              \
        nmax, {                                                                                    \
            QX_TRIAL(nmax, -9.0f), QX_TRIAL(nmax, -8.0f), QX_TRIAL(nmax, -7.0f),                   \
                QX_TRIAL(nmax, -6.0f), QX_TRIAL(nmax, -5.0f), QX_TRIAL(nmax, -4.0f),               \
                QX_TRIAL(nmax, -3.0f), QX_TRIAL(nmax, -2.0f), QX_TRIAL(nmax, -1.0f),               \
                QX_TRIAL(nmax, 1.0f), QX_TRIAL(nmax, 2.0f), QX_TRIAL(nmax, 3.0f),                  \
                QX_TRIAL(nmax, 4.0f), QX_TRIAL(nmax, 5.0f), QX_TRIAL(nmax, 6.0f),                  \
                QX_TRIAL(nmax, 7.0f), QX_TRIAL(nmax, 8.0f), QX_TRIAL(nmax, 9.0f)                   \
        }                                                                                          \
    }

/* From this trial on, s = -1, elements are limited before; see qx_limit(). */
enum { QX_OUTER_TRIALS = 8 };

LANE void qx_keep_better(struct qx_lanes *q, vf iscale, const struct qx_fit *f) {
    vf square = vf_mul(f->sumlx, f->sumlx);
    vm better = vm_and(vf_gt(f->suml2, vf_set(0.0f)), vf_gt(square, vf_mul(q->best, f->suml2)));
    vf scale = vf_div(f->sumlx, f->suml2);
    q->scale = vf_select(better, scale, q->scale);
    q->iscale = vf_select(better, iscale, q->iscale);
    q->best = vf_select(better, vf_mul(scale, f->sumlx), q->best);
}

/* Takes `count` vectors through some trials, with x itself or with what is limited. */
LANE void qx_try(struct qx_lanes *q, int count, int n, const struct qx_type *t, int from, int to,
                 enum qx_limits limits, bool limited) {
    for (int k = from; k < to; k += 2) {
        for (int v = 0; v < count; v++) {
            vf trial_a = q[v].next[0];
            vf trial_b = q[v].next[1];
            q[v].next[0] = vf_div(vf_set(t->trial[k + 2]), q[v].largest);
            q[v].next[1] = vf_div(vf_set(t->trial[k + 3]), q[v].largest);
            struct qx_fit a, b;
            qx_fit_pair(&q[v], limited ? q[v].limited : q[v].x, n, t->nmax, limits, trial_a,
                        trial_b, &a, &b);
            qx_keep_better(&q[v], trial_a, &a);
            qx_keep_better(&q[v], trial_b, &b);
        }
    }
}

/* How far beyond or short of the extreme of code -nmax that of the other sign reaches, at most: its
 * share of the largest magnitude, over the lanes. Groups of zeros have none. */
LANE float qx_far_end(struct extremes e) {
    vf zero = vf_set(0.0f);
    vf above = vf_max(e.high, zero);
    vf below = vf_max(vf_neg(e.low), zero);
    vf share = vf_div(vf_min(above, below), vf_max(above, below));
    return vf_largest(vf_max(share, zero)); /* 0 for 0/0 */
}

/* The number of trials, an even one, that need no upper limit. A trial maps the far end to its
 * share of nmax + s / 10. Below nmax - 1/2 no code rounds up to nmax, rounding being monotone; what
 * was lost by rounding on the way is much less than the margin. */
LANE int qx_unlimited_trials(const struct qx_type *t, float share) {
    float limit = (t->nmax - 0.5f) * (1.0f - 1e-5f);
    int k = 0;
    while (k < QX_OUTER_TRIALS && -t->trial[k + 1] * share < limit) {
        k += 2;
    }
    return k;
}

/* Limits elements so that no code needs limits in the trials s = -1 .. 9, nor in s = 0. What of the
 * largest magnitude becomes the limit of the far end lies between
 *
 *     (nmax - 3/2) / (nmax - 0.1)   and   (nmax - 1/2) / (nmax + 0.9):
 *
 * all these trials map it to between nmax - 3/2 and nmax - 1/2, that is, to code nmax - 1, which is
 * that of all elements beyond. Likewise code -nmax at the near end. In the middle between, both are
 * farther away than 2^-13 of it for nmax up to 32, which is much more than rounding loses. */
LANE void qx_limit(struct qx_lanes *q, int n, float nmax) {
    float near = ((nmax - 0.5f) / (nmax - 0.1f) + (nmax + 0.5f) / (nmax + 0.9f)) / 2.0f;
    float far = ((nmax - 1.5f) / (nmax - 0.1f) + (nmax - 0.5f) / (nmax + 0.9f)) / 2.0f;
    vf a = vf_mul(vf_set(near), q->largest);
    vf b = vf_mul(vf_set(-far), q->largest);
    vf low = vf_min(a, b);
    vf high = vf_max(a, b);
    for (int i = 0; i < n; i++) {
        q->limited[i] = vf_min(vf_max(q->x[i], low), high);
    }
}

/* Products, limits and the first iscales of a vector. Returns its qx_far_end(). */
LANE float qx_start(struct qx_lanes *q, int n, const struct qx_type *t, bool finite) {
    struct extremes e = extremes_of(n, q->x);
    q->largest = finite ? signed_maximum_finite(n, q->x, e) : signed_maximum_lanes(n, q->x);
    q->iscale = vf_div(vf_set(-t->nmax), q->largest);
    q->next[0] = vf_div(vf_set(t->trial[0]), q->largest);
    q->next[1] = vf_div(vf_set(t->trial[1]), q->largest);
    qx_limit(q, n, t->nmax);
    for (int i = 0; i < n; i++) {
        q->wx[i] = vf_mul(q->w[i], q->x[i]);
    }
    return qx_far_end(e);
}

/* The scale to begin with, for s = 0. */
LANE void qx_first(struct qx_lanes *q, int n, const struct qx_type *t, bool finite) {
    vf zero = vf_set(0.0f);
    struct qx_fit f = finite ? qx_fit_one(q, q->limited, n, t->nmax, QX_NONE, q->iscale)
                             : qx_fit_one(q, q->x, n, t->nmax, QX_BOTH, q->iscale);
    q->scale = vf_select(vf_eq(f.suml2, zero), zero, vf_div(f.sumlx, f.suml2));
    q->best = vf_mul(q->scale, f.sumlx);
}

LANE void qx_finish(struct qx_lanes *q) {
    /* A group that counts as zero: NaN times anything rounds to code 0. */
    vm none = vf_lt(vf_abs(q->largest), vf_set(UQFF_GROUP_EPSILON));
    q->scale = vf_select(none, vf_set(0.0f), q->scale);
    q->iscale = vf_select(none, vf_set(NAN), q->iscale);
}

/* Searches in `count` vectors. finite: no x is an infinity or NaN, so that extremes tell where
 * limits bind. (They do not in a group that counts as zero, but what is found there is not used.)
 */
LANE void qx_search(struct qx_lanes *q, int count, int n, const struct qx_type *t, bool finite) {
    float share = 0.0f;
    for (int v = 0; v < count; v++) {
        float s = qx_start(&q[v], n, t, finite);
        share = s > share ? s : share;
    }
    for (int v = 0; v < count; v++) {
        qx_first(&q[v], n, t, finite);
    }
    if (!finite) {
        qx_try(q, count, n, t, 0, QX_TRIALS, QX_BOTH, false);
    } else {
        int unlimited = qx_unlimited_trials(t, share);
        qx_try(q, count, n, t, 0, unlimited, QX_NONE, false);
        qx_try(q, count, n, t, unlimited, QX_OUTER_TRIALS, QX_HIGH, false);
        qx_try(q, count, n, t, QX_OUTER_TRIALS, QX_TRIALS, QX_NONE, true);
    }
    for (int v = 0; v < count; v++) {
        qx_finish(&q[v]);
    }
}

#endif
