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
    vf low, high;          /* extremes of x */
    vf largest;            /* by magnitude, with its sign */
    vf scale, iscale;      /* the result: code = nearest(iscale * x, -nmax, nmax - 1) + nmax */
    vf best;
};

struct qx_fit {
    vf sumlx, suml2;
};

LANE void qx_gather(struct qx_fit *f, vf x, vf w, vf wx, vf iscale, float nmax, bool clamp) {
    vf v = vf_mul(iscale, x);
    vf l = clamp ? vf_nearest(v, -nmax, nmax - 1.0f) : vf_round(v);
    f->sumlx = vf_add(f->sumlx, vf_mul(wx, l));
    f->suml2 = vf_add(f->suml2, vf_mul(vf_mul(w, l), l));
}

LANE struct qx_fit qx_fit_one(const struct qx_lanes *q, int n, float nmax, vf iscale) {
    struct qx_fit f = {vf_set(0.0f), vf_set(0.0f)};
    for (int i = 0; i < n; i++) {
        qx_gather(&f, q->x[i], q->w[i], q->wx[i], iscale, nmax, true);
    }
    return f;
}

LANE void qx_fit_pair(const struct qx_lanes *q, int n, float nmax, bool clamp, vf iscale_a,
                      vf iscale_b, struct qx_fit *a, struct qx_fit *b) {
    vf zero = vf_set(0.0f);
    struct qx_fit s = {zero, zero};
    struct qx_fit t = s;
    for (int i = 0; i < n; i++) {
        vf x = q->x[i];
        vf w = q->w[i];
        vf wx = q->wx[i];
        qx_gather(&s, x, w, wx, iscale_a, nmax, clamp);
        qx_gather(&t, x, w, wx, iscale_b, nmax, clamp);
    }
    *a = s;
    *b = t;
}

/* Multiplying is monotone: when neither extreme needs a limit, no element does. (nmax is even: half
 * above nmax - 1 rounds up to nmax, half below -nmax rounds back to it.) Infinite scales fail the
 * test. */
LANE vm qx_fits(const struct qx_lanes *q, vf iscale, float nmax) {
    vf lo = vf_set(-nmax - 0.5f);
    vf hi = vf_set(nmax - 0.5f);
    vf a = vf_mul(iscale, q->low);
    vf b = vf_mul(iscale, q->high);
    return vm_and(vm_and(vf_ge(a, lo), vf_lt(a, hi)), vm_and(vf_ge(b, lo), vf_lt(b, hi)));
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

/* always_clamp: x may hold infinities and NaN, which the extremes would not tell. */
LANE void qx_search(struct qx_lanes *q, int n, float nmax, bool always_clamp) {
    vf zero = vf_set(0.0f);
    q->low = q->high = q->x[0];
    for (int i = 0; i < n; i++) {
        q->wx[i] = vf_mul(q->w[i], q->x[i]);
        q->low = vf_min(q->x[i], q->low);
        q->high = vf_max(q->x[i], q->high);
    }
    q->largest = signed_maximum_lanes(n, q->x);
    q->iscale = vf_div(vf_set(-nmax), q->largest);

    struct qx_fit a = qx_fit_one(q, n, nmax, q->iscale);
    q->scale = vf_select(vf_eq(a.suml2, zero), zero, vf_div(a.sumlx, a.suml2));
    q->best = vf_mul(q->scale, a.sumlx);
    for (int k = 0; k < 9; k++) {
        float s = (float)(2 * k - 9); /* -9 -8, -7 -6, ... -1 1, 2 3, ... 8 9 */
        float first = k < 5 ? s : s + 1.0f;
        float second = k < 4 ? s + 1.0f : s + 2.0f;
        vf trial_a = vf_div(vf_set(-(nmax + 0.1f * first)), q->largest);
        vf trial_b = vf_div(vf_set(-(nmax + 0.1f * second)), q->largest);
        vm fits = vm_and(qx_fits(q, trial_a, nmax), qx_fits(q, trial_b, nmax));
        struct qx_fit b;
        if (!always_clamp && vm_all(fits)) {
            qx_fit_pair(q, n, nmax, false, trial_a, trial_b, &a, &b);
        } else {
            qx_fit_pair(q, n, nmax, true, trial_a, trial_b, &a, &b);
        }
        qx_keep_better(q, a, trial_a);
        qx_keep_better(q, b, trial_b);
    }

    /* A group that counts as zero: NaN times anything rounds to code 0. */
    vm none = vf_lt(vf_abs(q->largest), vf_set(UQFF_GROUP_EPSILON));
    q->scale = vf_select(none, zero, q->scale);
    q->iscale = vf_select(none, vf_set(NAN), q->iscale);
}

#endif
