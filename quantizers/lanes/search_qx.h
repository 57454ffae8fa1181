/*
 * QX, the search for the scale of a symmetric group (ref/search.h), for eight groups at a time, one
 * a lane. Private to quantizers/.
 *
 * Trials do not depend on each other's outcome, so two of them share each load, and the processor
 * begins the next two while the last divisions are under way.
 */
#ifndef UQFF_LANES_SEARCH_QX_H
#define UQFF_LANES_SEARCH_QX_H

#include "lanes/groups.h"
#include "ref/search.h"

/* Eight groups. The caller fills in x and w. */
struct qx_lanes {
    vf x[UQFF_GROUP_MAX];  /* element i of each group */
    vf w[UQFF_GROUP_MAX];  /* its weight */
    vf wx[UQFF_GROUP_MAX]; /* their product */
    vf largest;            /* by magnitude, with its sign */
    vf scale, iscale;      /* the result: code = nearest(iscale * x, -nmax, nmax - 1) + nmax */
    vf best;
};

/* The limits that may bind in a trial. */
enum qx_limits { QX_NONE, QX_LOW, QX_BOTH };

struct qx_fit {
    vf sumlx, suml2;
};

LANE void qx_gather(struct qx_fit *f, vf x, vf w, vf wx, vf iscale, float nmax,
                    enum qx_limits limits) {
    vf v = vf_mul(iscale, x);
    v = limits >= QX_LOW ? vf_max(v, vf_set(-nmax)) : v;
    v = limits >= QX_BOTH ? vf_min(v, vf_set(nmax - 1.0f)) : v;
    vf l = vf_round(v);
    f->sumlx = vf_add(f->sumlx, vf_mul(wx, l));
    f->suml2 = vf_add(f->suml2, vf_mul(vf_mul(w, l), l));
}

LANE struct qx_fit qx_fit_one(const struct qx_lanes *q, int n, float nmax, vf iscale) {
    struct qx_fit f = {vf_set(0.0f), vf_set(0.0f)};
    for (int i = 0; i < n; i++) {
        qx_gather(&f, q->x[i], q->w[i], q->wx[i], iscale, nmax, QX_BOTH);
    }
    return f;
}

LANE void qx_fit_pair(const struct qx_lanes *q, int n, float nmax, enum qx_limits limits,
                      vf iscale_a, vf iscale_b, struct qx_fit *a, struct qx_fit *b) {
    vf zero = vf_set(0.0f);
    struct qx_fit s = {zero, zero};
    struct qx_fit t = s;
    UNROLL(8)
    for (int i = 0; i < n; i++) {
        vf x = q->x[i];
        vf w = q->w[i];
        vf wx = q->wx[i];
        qx_gather(&s, x, w, wx, iscale_a, nmax, limits);
        qx_gather(&t, x, w, wx, iscale_b, nmax, limits);
    }
    *a = s;
    *b = t;
}

LANE void qx_keep_better(struct qx_lanes *q, struct qx_fit f, vf iscale) {
    vm better = vm_and(vf_gt(f.suml2, vf_set(0.0f)),
                       vf_gt(vf_mul(f.sumlx, f.sumlx), vf_mul(q->best, f.suml2)));
    vf scale = vf_div(f.sumlx, f.suml2);
    q->scale = vf_select(better, scale, q->scale);
    q->best = vf_select(better, vf_mul(scale, f.sumlx), q->best);
    q->iscale = vf_select(better, iscale, q->iscale);
}

/* The element of largest magnitude of each lane, the first one on ties; see signed_maximum(). */
LANE vf signed_maximum_lanes(int n, const vf *x) {
    vi magnitude = vi_set(0x7fffffff);
    vi most = vi_set(0);
    vf largest = vf_set(0.0f);
    for (int i = 0; i < n; i++) {
        vi bits = vi_and(vf_bits(x[i]), magnitude);
        vm more = vi_gt(bits, most);
        most = vi_max(bits, most);
        largest = vf_select(more, x[i], largest);
    }
    return largest;
}

struct extremes {
    vf low, high;
};

LANE struct extremes extremes_of(int n, const vf *x) {
    struct extremes e = {x[0], x[0]};
    for (int i = 1; i < n; i++) {
        e.low = vf_min(x[i], e.low);
        e.high = vf_max(x[i], e.high);
    }
    return e;
}

/* The same of finite x whose extremes are known: one of them, but where both are equally far from
 * zero and the first one counts. */
LANE vf signed_maximum_finite(int n, const vf *x, struct extremes e) {
    vf below = vf_neg(e.low);
    if (vm_any(vf_eq(e.high, below))) {
        return signed_maximum_lanes(n, x);
    }
    return vf_select(vf_gt(e.high, below), e.high, e.low);
}

/* -(nmax + s / 10) for the trials s = -9 .. 9 but 0, in order. */
enum { QX_TRIALS = 18 };

struct qx_type {
    float nmax;
    float trial[QX_TRIALS];
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

/* From the fourteenth trial on (s = 5), the largest magnitude itself needs the lower limit. */
enum { QX_INNER_TRIALS = 12 };

LANE void qx_try(struct qx_lanes *q, int count, int n, const struct qx_type *t, int from, int to,
                 enum qx_limits limits) {
    for (int k = from; k < to; k += 2) {
        for (int v = 0; v < count; v++) {
            vf trial_a = vf_div(vf_set(t->trial[k]), q[v].largest);
            vf trial_b = vf_div(vf_set(t->trial[k + 1]), q[v].largest);
            struct qx_fit a, b;
            qx_fit_pair(&q[v], n, t->nmax, limits, trial_a, trial_b, &a, &b);
            qx_keep_better(&q[v], a, trial_a);
            qx_keep_better(&q[v], b, trial_b);
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
    while (k < QX_TRIALS && -t->trial[k + 1] * share < limit) {
        k += 2;
    }
    return k;
}

LANE float qx_start(struct qx_lanes *q, int n, const struct qx_type *t, bool finite) {
    vf zero = vf_set(0.0f);
    for (int i = 0; i < n; i++) {
        q->wx[i] = vf_mul(q->w[i], q->x[i]);
    }
    struct extremes e = extremes_of(n, q->x);
    q->largest = finite ? signed_maximum_finite(n, q->x, e) : signed_maximum_lanes(n, q->x);
    q->iscale = vf_div(vf_set(-t->nmax), q->largest);
    struct qx_fit first = qx_fit_one(q, n, t->nmax, q->iscale);
    q->scale = vf_select(vf_eq(first.suml2, zero), zero, vf_div(first.sumlx, first.suml2));
    q->best = vf_mul(q->scale, first.sumlx);
    return qx_far_end(e);
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
    int unlimited = finite ? qx_unlimited_trials(t, share) : 0;
    int inner = unlimited < QX_INNER_TRIALS ? unlimited : QX_INNER_TRIALS;
    qx_try(q, count, n, t, 0, inner, QX_NONE);
    if (unlimited == QX_TRIALS) {
        qx_try(q, count, n, t, inner, QX_TRIALS, QX_LOW);
    } else {
        qx_try(q, count, n, t, inner, QX_TRIALS, QX_BOTH);
    }

    /* A group that counts as zero: NaN times anything rounds to code 0. */
    for (int v = 0; v < count; v++) {
        vm none = vf_lt(vf_abs(q[v].largest), vf_set(UQFF_GROUP_EPSILON));
        q[v].scale = vf_select(none, vf_set(0.0f), q[v].scale);
        q[v].iscale = vf_select(none, vf_set(NAN), q[v].iscale);
    }
}

#endif
