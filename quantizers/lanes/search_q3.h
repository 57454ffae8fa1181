/*
 * Q3, the search by coordinate descent (ref/search.h), for groups of 16, one a lane. Private to
 * quantizers/.
 *
 * A change is a long chain of operations, and the next element has to wait for it; so several
 * vectors are swept in turns. Half of all groups are never swept at all, and kept apart.
 */
#ifndef UQFF_LANES_SEARCH_Q3_H
#define UQFF_LANES_SEARCH_Q3_H

#include "lanes/groups.h"
#include "lanes/search_qx.h"

enum { Q3_GROUP = 16 };

enum { Q3_BATCH = 8 }; /* vectors of groups that are swept in turns */

/* A vector of groups. The caller fills in x. */
struct q3_lanes {
    vf x[Q3_GROUP], w[Q3_GROUP], wx[Q3_GROUP];
    vf l[Q3_GROUP];                  /* codes, signed */
    vf wxl[Q3_GROUP], wll[Q3_GROUP]; /* what an element adds to the sums */
    vf sumlx, suml2;
    vm changed; /* in this sweep */
};

/* The first codes of a vector of groups, and the scale that suits them. */
struct q3_first {
    vf largest, iscale, scale;
    vm none;    /* groups that count as zero */
    vm settled; /* groups that no sweep changes */
};

LANE vf q3_scale(vf sumlx, vf suml2) {
    vf zero = vf_set(0.0f);
    return vf_select(vf_eq(suml2, zero), zero, vf_div(sumlx, suml2));
}

LANE struct q3_first q3_start(const vf *x, float nmax) {
    vf zero = vf_set(0.0f);
    vf sumlx = zero, suml2 = zero;
    vf largest = signed_maximum_finite(Q3_GROUP, x, extremes_of(Q3_GROUP, x));
    vf iscale = vf_div(vf_set(-nmax), largest);
    for (int i = 0; i < Q3_GROUP; i++) {
        vf w = vf_mul(x[i], x[i]);
        vf l = vf_nearest(vf_mul(iscale, x[i]), -nmax, nmax - 1.0f);
        sumlx = vf_add(sumlx, vf_mul(vf_mul(w, x[i]), l));
        suml2 = vf_add(suml2, vf_mul(vf_mul(w, l), l));
    }
    struct q3_first f = {.largest = largest};
    f.none = vf_lt(vf_abs(largest), vf_set(UQFF_GROUP_EPSILON));
    f.scale = vf_select(f.none, zero, q3_scale(sumlx, suml2));
    f.iscale = vf_select(f.none, vf_set(NAN), iscale); /* NaN rounds to code 0 */
    /* With a positive maximum the codes have the sign that x has not. Then all w·x·l are negative
     * or 0, and the sum is less than each: no sweep finds one without which it is positive. */
    f.settled = vm_or(f.none, vf_gt(largest, zero));
    return f;
}

LANE void q3_prepare(struct q3_lanes *q, float nmax) {
    vf largest = signed_maximum_finite(Q3_GROUP, q->x, extremes_of(Q3_GROUP, q->x));
    vf iscale = vf_div(vf_set(-nmax), largest);
    q->sumlx = q->suml2 = vf_set(0.0f);
    for (int i = 0; i < Q3_GROUP; i++) {
        vf x = q->x[i];
        vf w = vf_mul(x, x);
        vf wx = vf_mul(w, x);
        vf l = vf_nearest(vf_mul(iscale, x), -nmax, nmax - 1.0f);
        q->w[i] = w;
        q->wx[i] = wx;
        q->l[i] = l;
        q->wxl[i] = vf_mul(wx, l);
        q->wll[i] = vf_mul(vf_mul(w, l), l);
        q->sumlx = vf_add(q->sumlx, q->wxl[i]);
        q->suml2 = vf_add(q->suml2, q->wll[i]);
    }
}

/* The sums without element i, and the code that suits them. */
struct q3_change {
    vf slx, sl2, next;
    vm wanted;
};

LANE struct q3_change q3_look(const struct q3_lanes *q, int i, float nmax) {
    struct q3_change c;
    c.slx = vf_sub(q->sumlx, q->wxl[i]);
    c.sl2 = vf_sub(q->suml2, q->wll[i]);
    c.next = vf_nearest(vf_div(vf_mul(q->x[i], c.sl2), c.slx), -nmax, nmax - 1.0f);
    c.wanted = vm_andnot(vf_eq(c.next, q->l[i]), vf_gt(c.slx, vf_set(0.0f)));
    return c;
}

/* Makes the change in lanes whose fit it improves. */
LANE void q3_make(struct q3_lanes *q, int i, struct q3_change c) {
    vf wxl = vf_mul(q->wx[i], c.next);
    vf wll = vf_mul(vf_mul(q->w[i], c.next), c.next);
    vf slx = vf_add(c.slx, wxl);
    vf sl2 = vf_add(c.sl2, wll);
    vf after = vf_mul(vf_mul(slx, slx), q->suml2);
    vf before = vf_mul(vf_mul(q->sumlx, q->sumlx), sl2);
    vm better = vm_and(vm_and(c.wanted, vf_gt(sl2, vf_set(0.0f))), vf_gt(after, before));
    q->l[i] = vf_select(better, c.next, q->l[i]);
    q->wxl[i] = vf_select(better, wxl, q->wxl[i]);
    q->wll[i] = vf_select(better, wll, q->wll[i]);
    q->sumlx = vf_select(better, slx, q->sumlx);
    q->suml2 = vf_select(better, sl2, q->suml2);
    q->changed = vm_or(q->changed, better);
}

/* A sweep over a lane that is through changes nothing, so that lanes may be swept as often as the
 * slowest needs. Most elements of a vector want no change: the branch lets the processor go on
 * without waiting for the sums. */
LANE void q3_sweeps(struct q3_lanes *q, int count, float nmax) {
    for (int v = 0; v < count; v++) {
        q3_prepare(&q[v], nmax);
        q[v].changed = vm_set(true);
    }
    for (int sweep = 0; sweep < 5; sweep++) {
        struct q3_lanes *active[Q3_BATCH + 1];
        int n = 0;
        for (int v = 0; v < count; v++) {
            active[n] = &q[v];
            n += vm_any(q[v].changed);
            q[v].changed = vm_set(false);
        }
        for (int i = 0; i < Q3_GROUP; i++) {
            for (int v = 0; v < n; v++) {
                struct q3_change c = q3_look(active[v], i, nmax);
                if (vm_any(c.wanted)) {
                    q3_make(active[v], i, c);
                }
            }
        }
    }
}

/* ---- many groups ----------------------------------------------------------------------------- */

enum { Q3_GROUPS = 16 * VF_LANES };

/* What Q3 finds in up to Q3_GROUPS groups of 16, one after the other. */
struct q3_result {
    float scale[Q3_GROUPS];
    float iscale[Q3_GROUPS]; /* of the first codes, nearest(iscale * x, -nmax, nmax - 1) */
    int slot[Q3_GROUPS];     /* where the codes after sweeps are, -1: not swept */
    float codes[Q3_GROUPS / VF_LANES][16]
               [VF_LANES]; /* of slot v * VF_LANES + lane: codes[v][i][lane] */
};

/* Sweeps the groups whose numbers are given, up to Q3_BATCH vectors of them. */
LANE void q3_sweep_groups(struct q3_result *r, const float *x, const int *group, int count,
                          int first_slot, float nmax) {
    struct q3_lanes q[Q3_BATCH];
    int vectors = (count + VF_LANES - 1) / VF_LANES;
    for (int v = 0; v < vectors; v++) {
        const float *rows[VF_LANES];
        for (int lane = 0; lane < VF_LANES; lane++) {
            int k = VF_LANES * v + lane;
            rows[lane] = x + Q3_GROUP * group[k < count ? k : 0];
        }
        for (int i = 0; i < Q3_GROUP; i += VF_LANES) {
            vf_load_columns(q[v].x + i, rows);
            for (int lane = 0; lane < VF_LANES; lane++) {
                rows[lane] += VF_LANES;
            }
        }
    }
    q3_sweeps(q, vectors, nmax);
    for (int v = 0; v < vectors; v++) {
        float scale[VF_LANES];
        vf_store(scale, q3_scale(q[v].sumlx, q[v].suml2));
        for (int i = 0; i < Q3_GROUP; i++) {
            vf_store(r->codes[first_slot / VF_LANES + v][i], q[v].l[i]);
        }
        for (int lane = 0; lane < VF_LANES && VF_LANES * v + lane < count; lane++) {
            int g = group[VF_LANES * v + lane];
            r->scale[g] = scale[lane];
            r->slot[g] = first_slot + VF_LANES * v + lane;
        }
    }
}

/* groups: a multiple of 16. */
LANE void q3_search(struct q3_result *r, const float *x, int groups, float nmax) {
    int group[Q3_GROUPS];
    int count = 0;
    for (int g = 0; g < groups; g += VF_LANES) {
        vf v[Q3_GROUP];
        load_groups(v, x + Q3_GROUP * g, Q3_GROUP, VF_LANES, Q3_GROUP);
        struct q3_first f = q3_start(v, nmax);
        vf_store(r->scale + g, f.scale);
        vf_store(r->iscale + g, f.iscale);
        unsigned settled = vm_bits(f.settled);
        for (int lane = 0; lane < VF_LANES; lane++) {
            r->slot[g + lane] = -1;
            group[count] = g + lane;
            count += !(settled >> lane & 1);
        }
    }
    for (int first = 0; first < count; first += VF_LANES * Q3_BATCH) {
        int here = count - first < VF_LANES * Q3_BATCH ? count - first : VF_LANES * Q3_BATCH;
        q3_sweep_groups(r, x, group + first, here, first, nmax);
    }
}

#endif
