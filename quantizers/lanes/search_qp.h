/*
 * QP, the search for one step of positive values (ref/search.h), for the scales and the minima of
 * some super-blocks at a time: each is a lane. Private to quantizers/.
 */
#ifndef UQFF_LANES_SEARCH_QP_H
#define UQFF_LANES_SEARCH_QP_H

#include "lanes/round.h"
#include "ref/search.h"

enum { QP_MAX = 16 };

/* One value of each super-block a vector. The caller fills in x and w. */
struct qp_lanes {
    vf x[QP_MAX], w[QP_MAX];
    vf l[QP_MAX]; /* codes, as floats */
    vf wx[QP_MAX];
    vf sumlx, suml2;
    vf max;
    vf step; /* the result */
};

LANE vf qp_error(const struct qp_lanes *q, int n, float nmax, vf iscale) {
    vf scale = vf_div(vf_set(1.0f), iscale);
    vf sum = vf_set(0.0f);
    for (int i = 0; i < n; i++) {
        vf l = vf_nearest(vf_mul(iscale, q->x[i]), 0.0f, nmax);
        vf e = vf_sub(q->x[i], vf_mul(scale, l));
        sum = vf_add(sum, vf_mul(vf_mul(q->w[i], e), e));
    }
    return sum;
}

/* The codes of the best of nine steps. */
LANE void qp_start(struct qp_lanes *q, int n, float nmax) {
    vf zero = vf_set(0.0f);
    q->max = zero;
    for (int i = 0; i < n; i++) {
        q->max = vf_max(q->x[i], q->max);
    }
    vf iscale = vf_div(vf_set(nmax), q->max);
    vf best = qp_error(q, n, nmax, iscale);
    for (int s = -4; s <= 4; s++) {
        if (s == 0) {
            continue;
        }
        vf trial = vf_div(vf_set(0.1f * (float)s + nmax), q->max);
        vf error = qp_error(q, n, nmax, trial);
        vm better = vf_lt(error, best);
        best = vf_select(better, error, best);
        iscale = vf_select(better, trial, iscale);
    }
    q->sumlx = q->suml2 = zero;
    for (int i = 0; i < n; i++) {
        vf l = vf_nearest(vf_mul(iscale, q->x[i]), 0.0f, nmax);
        q->l[i] = l;
        q->wx[i] = vf_mul(q->w[i], q->x[i]);
        q->sumlx = vf_add(q->sumlx, vf_mul(q->wx[i], l));
        q->suml2 = vf_add(q->suml2, vf_mul(vf_mul(q->w[i], l), l));
    }
}

/* The sums without element i, and the code that suits them. */
struct qp_change {
    vf slx, sl2, next;
    vm wanted;
};

LANE struct qp_change qp_look(const struct qp_lanes *q, int i, float nmax) {
    struct qp_change c;
    vf l = q->l[i];
    vf zero = vf_set(0.0f);
    c.slx = vf_sub(q->sumlx, vf_mul(q->wx[i], l));
    c.sl2 = vf_sub(q->suml2, vf_mul(vf_mul(q->w[i], l), l));
    c.next = vf_nearest(vf_div(vf_mul(q->x[i], c.sl2), c.slx), 0.0f, nmax);
    vm counts = vm_and(vf_gt(c.slx, zero), vf_gt(c.sl2, zero));
    c.wanted = vm_andnot(vf_eq(c.next, l), counts);
    return c;
}

/* Makes the change in lanes whose fit it improves; returns which. */
LANE vm qp_make(struct qp_lanes *q, int i, struct qp_change c) {
    vf slx = vf_add(c.slx, vf_mul(q->wx[i], c.next));
    vf sl2 = vf_add(c.sl2, vf_mul(vf_mul(q->w[i], c.next), c.next));
    vf after = vf_mul(vf_mul(slx, slx), q->suml2);
    vf before = vf_mul(vf_mul(q->sumlx, q->sumlx), sl2);
    vm better = vm_and(c.wanted, vf_gt(after, before));
    q->l[i] = vf_select(better, c.next, q->l[i]);
    q->sumlx = vf_select(better, slx, q->sumlx);
    q->suml2 = vf_select(better, sl2, q->suml2);
    return better;
}

LANE void qp_finish(struct qp_lanes *q, int n) {
    vf zero = vf_set(0.0f);
    vm none = vf_lt(q->max, vf_set(UQFF_GROUP_EPSILON));
    vm some = vm_andnot(none, vf_eq(zero, zero));
    vf step = vf_select(vf_eq(q->suml2, zero), zero, vf_div(q->sumlx, q->suml2));
    q->step = vf_keep(some, step);
    for (int i = 0; i < n; i++) {
        q->l[i] = vf_keep(some, q->l[i]);
    }
}

/* Two independent searches side by side. A sweep over a lane that is through changes nothing, so
 * that lanes may be swept as often as the slowest needs. Later sweeps want few changes: the branch
 * lets the processor go on to the next element without waiting for the sums. */
LANE void qp_search(struct qp_lanes *a, struct qp_lanes *b, int n, float nmax) {
    qp_start(a, n, nmax);
    qp_start(b, n, nmax);
    for (int sweep = 0; sweep < 5; sweep++) {
        bool changed = false;
        for (int i = 0; i < n; i++) {
            struct qp_change ca = qp_look(a, i, nmax);
            struct qp_change cb = qp_look(b, i, nmax);
            if (vm_any(vm_or(ca.wanted, cb.wanted))) {
                vm made_a = qp_make(a, i, ca);
                vm made_b = qp_make(b, i, cb);
                changed = changed || vm_any(vm_or(made_a, made_b));
            }
        }
        if (!changed) {
            break;
        }
    }
    qp_finish(a, n);
    qp_finish(b, n);
}

#endif
