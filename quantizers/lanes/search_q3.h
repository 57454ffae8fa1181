/*
 * Q3, the search by coordinate descent (ref/search.h), for the sixteen groups of a super-block, one
 * a lane of two vectors. Private to quantizers/.
 */
#ifndef UQFF_LANES_SEARCH_Q3_H
#define UQFF_LANES_SEARCH_Q3_H

#include "lanes/groups.h"
#include "lanes/search_qx.h"

enum { Q3_GROUP = 16 };

/* Eight groups. The caller fills in x. */
struct q3_lanes {
    vf x[Q3_GROUP], w[Q3_GROUP], wx[Q3_GROUP];
    vf l[Q3_GROUP];                  /* codes, signed */
    vf wxl[Q3_GROUP], wll[Q3_GROUP]; /* what an element adds to the sums */
    vf sumlx, suml2, scale;
    vm none; /* groups that count as zero */
};

LANE void q3_start(struct q3_lanes *q, float nmax) {
    vf largest = signed_maximum_lanes(Q3_GROUP, q->x);
    vf iscale = vf_div(vf_set(-nmax), largest);
    q->none = vf_lt(vf_abs(largest), vf_set(UQFF_GROUP_EPSILON));
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

/* Makes the change in lanes whose fit it improves; returns which. */
LANE vm q3_make(struct q3_lanes *q, int i, struct q3_change c) {
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
    return better;
}

LANE void q3_finish(struct q3_lanes *q, float nmax) {
    vf zero = vf_set(0.0f);
    q->scale = vf_select(vf_eq(q->suml2, zero), zero, vf_div(q->sumlx, q->suml2));
    q->scale = vf_select(q->none, zero, q->scale);
    if (vm_any(q->none)) {
        for (int i = 0; i < Q3_GROUP; i++) {
            q->l[i] = vf_select(q->none, vf_set(-nmax), q->l[i]);
        }
    }
}

/* A sweep over a lane that is through changes nothing, so that lanes may be swept as often as the
 * slowest needs. Few elements of a vector want a change after the first sweep: then the branch lets
 * the processor go on to the next one without waiting for the sums. */
LANE void q3_search(struct q3_lanes *a, struct q3_lanes *b, float nmax) {
    q3_start(a, nmax);
    q3_start(b, nmax);
    for (int sweep = 0; sweep < 5; sweep++) {
        bool changed = false;
        for (int i = 0; i < Q3_GROUP; i++) {
            struct q3_change ca = q3_look(a, i, nmax);
            struct q3_change cb = q3_look(b, i, nmax);
            if (vm_any(vm_or(ca.wanted, cb.wanted))) {
                vm made_a = q3_make(a, i, ca);
                vm made_b = q3_make(b, i, cb);
                changed = changed || vm_any(vm_or(made_a, made_b));
            }
        }
        if (!changed) {
            break;
        }
    }
    q3_finish(a, nmax);
    q3_finish(b, nmax);
}

#endif
