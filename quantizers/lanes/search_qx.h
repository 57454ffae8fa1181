/*
 * QX, the search for the scale of a symmetric group (ref/search.h), for as many groups at a
 * time as there are lanes. Private to quantizers/.
 *
 * Trials do not depend on each other's outcome, so two of them share each load, and the processor
 * begins the next two while the last divisions are under way.
 */
#ifndef UQFF_LANES_SEARCH_QX_H
#define UQFF_LANES_SEARCH_QX_H

#include "lanes/groups.h"
#include "ref/search.h"

enum { QX_TRIALS = 18 };

/* A vector of groups. The caller fills in x and w. */
struct qx_lanes {
    vf x[UQFF_GROUP_MAX];  /* element i of each group */
    vf w[UQFF_GROUP_MAX];  /* its weight */
    vf wx[UQFF_GROUP_MAX]; /* their product */
    vf largest;            /* by magnitude, with its sign */
    vf scale, iscale;      /* the result: code = nearest(iscale * x, -nmax, nmax - 1) + nmax */
    vf best;
    /* Of all trials but the first. */
    vf trial[QX_TRIALS], sumlx[QX_TRIALS], suml2[QX_TRIALS];
};

/* The limits that may bind in a trial. */
enum qx_limits { QX_NONE = 0, QX_LOW = 1, QX_HIGH = 2, QX_BOTH = 3 };

struct qx_fit {
    vf sumlx, suml2;
};

LANE void qx_gather(struct qx_fit *f, vf x, vf w, vf wx, vf iscale, float nmax,
                    enum qx_limits limits) {
    vf v = vf_mul(iscale, x);
    v = limits & QX_LOW ? vf_max(v, vf_set(-nmax)) : v;
    v = limits & QX_HIGH ? vf_min(v, vf_set(nmax - 1.0f)) : v;
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

struct qx_type {
    float nmax;
    float trial[QX_TRIALS]; /* -(nmax + s / 10) for s = -9 .. 9 but 0, in order */
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
            q[v].trial[k] = trial_a;
            q[v].trial[k + 1] = trial_b;
            q[v].sumlx[k] = a.sumlx;
            q[v].suml2[k] = a.suml2;
            q[v].sumlx[k + 1] = b.sumlx;
            q[v].suml2[k + 1] = b.suml2;
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

/* What a lane's best trial so far came to. */
struct qx_best {
    vf scale, iscale, score;
};

LANE void qx_keep_better(struct qx_best *b, const struct qx_lanes *q, int k) {
    vf sumlx = q->sumlx[k];
    vf suml2 = q->suml2[k];
    vf scale = vf_div(sumlx, suml2);
    /* Without a positive suml2 it compares as 0, which is above nothing. */
    vf square = vf_keep(vf_gt(suml2, vf_set(0.0f)), vf_mul(sumlx, sumlx));
    vm better = vf_gt(square, vf_mul(b->score, suml2));
    b->scale = vf_select(better, scale, b->scale);
    b->iscale = vf_select(better, q->trial[k], b->iscale);
    b->score = vf_select(better, vf_mul(scale, sumlx), b->score);
}

LANE void qx_finish(struct qx_lanes *q, const struct qx_best *b) {
    /* A group that counts as zero: NaN times anything rounds to code 0. */
    vm none = vf_lt(vf_abs(q->largest), vf_set(UQFF_GROUP_EPSILON));
    q->scale = vf_select(none, vf_set(0.0f), b->scale);
    q->iscale = vf_select(none, vf_set(NAN), b->iscale);
}

/* Choosing among trials is one long chain of comparisons; two vectors go through it side by side.
 */
LANE void qx_choose(struct qx_lanes *q, struct qx_lanes *r) {
    struct qx_best a = {q->scale, q->iscale, q->best};
    struct qx_best b = {r->scale, r->iscale, r->best};
    for (int k = 0; k < QX_TRIALS; k++) {
        qx_keep_better(&a, q, k);
        qx_keep_better(&b, r, k);
    }
    qx_finish(q, &a);
    qx_finish(r, &b);
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
    if (!finite) {
        qx_try(q, count, n, t, 0, QX_TRIALS, QX_BOTH);
    } else {
        int unlimited = qx_unlimited_trials(t, share);
        int inner = unlimited < QX_INNER_TRIALS ? unlimited : QX_INNER_TRIALS;
        qx_try(q, count, n, t, 0, inner, QX_NONE);
        qx_try(q, count, n, t, inner, QX_INNER_TRIALS, QX_HIGH);
        if (unlimited == QX_TRIALS) {
            qx_try(q, count, n, t, QX_INNER_TRIALS, QX_TRIALS, QX_LOW);
        } else {
            qx_try(q, count, n, t, QX_INNER_TRIALS, QX_TRIALS, QX_BOTH);
        }
    }
    for (int v = 0; v < count; v += 2) {
        qx_choose(&q[v], &q[v + (v + 1 < count)]);
    }
}

#endif
