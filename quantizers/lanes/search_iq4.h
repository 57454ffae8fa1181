/*
 * The search of IQ4 (ref/iq4.h) for the scale of a group of 32. Private to quantizers/.
 *
 * Lanes are groups. After a first trial, by 127 / smax, fifteen more multiply x by (s - 127) /
 * smax, s = -7 .. 7; that is, by -134 to -120 over smax. Half-way points between the sixteen values
 * of a code are further apart than that, so that over all of these an element meets one of them at
 * most: it has one value in the first k trials and its neighbour in the rest. What it adds to the
 * sums is then known beforehand, two numbers for each sum, of which a trial picks one. They are
 * added in the order of the reference.
 *
 * k is a matter of rounding only where an element meets a half-way point in a trial, or nearly so.
 * Then the products themselves are compared.
 */
#ifndef UQFF_LANES_SEARCH_IQ4_H
#define UQFF_LANES_SEARCH_IQ4_H

#include "lanes/groups.h"
#include "ref/iq4.h"
#include "ref/number.h"
#include "ref/search.h"

enum { IQ4_GROUP = 32, IQ4_TRIALS = 16 };

/* Of each trial but number 0, the first one: Σ w·q·x and Σ w·q·q and their quotient, divided early.
 */
struct iq4_sums {
    vf qx[IQ4_TRIALS], q2[IQ4_TRIALS], scale[IQ4_TRIALS];
};

#if VF_LANES == 16
#include "lanes/search_iq4_16.h"
#else
#include "lanes/search_iq4_8.h"
#endif

/* Codes of a group for the scale whose inverse is id. */
LANE vb iq4_codes(const float *x, float id) {
    vi q[IQ4_GROUP / VF_LANES];
    for (int k = 0; k < IQ4_GROUP / VF_LANES; k++) {
        q[k] = iq4_index(iq4_code_of(vf_mul(vf_set(id), vf_load(x + VF_LANES * k))));
    }
    return vb_of_codes(q);
}

/* ---- the elements of groups over the trials -------------------------------------------------- */

/* A vector of groups. */
struct iq4_lanes {
    vf x[IQ4_GROUP];
    vf importance[IQ4_GROUP]; /* if there is any */
    vf smax;                  /* by magnitude, with its sign */
    vf d;                     /* the scale so far, */
    vf best;                  /* and its score */
};

/* What trial t = 1 .. 15 multiplies by. */
static inline float iq4_scale(float smax, int t) {
    return ((float)(t - 8) + -127.0f) / smax;
}

/* k of an element that comes close to a half-way point in trial t: that one decides. Trials before
 * are on the side of the first. */
static inline int iq4_exact_turn(float x, float smax, float middle, int t) {
    bool below = iq4_scale(smax, 1) * x < middle;
    return (iq4_scale(smax, t) * x < middle) == below ? t : t - 1;
}

static const struct iq4_table iq4_values =
    IQ4_TABLE(-127.0f, -104.0f, -83.0f, -65.0f, -49.0f, -35.0f, -22.0f, -10.0f, 1.0f, 13.0f, 25.0f,
              38.0f, 53.0f, 69.0f, 89.0f, 113.0f);

/* Element i of each group with its weights; scale is that of the first of the fifteen trials. */
LANE void iq4_prepare(struct iq4_elements *e, const struct iq4_lanes *q, int i, vf w, vf scale) {
    /* As |v| shrinks from trial to trial, the next value is the one towards code 8, and the
     * half-way point the one in between: here it is multiplied by -134. Code 8 stays: the middle 0
     * is never met. */
    static const struct iq4_table next =
        IQ4_TABLE(-104.0f, -83.0f, -65.0f, -49.0f, -35.0f, -22.0f, -10.0f, 1.0f, 1.0f, 1.0f, 13.0f,
                  25.0f, 38.0f, 53.0f, 69.0f, 89.0f);
    static const struct iq4_table between =
        IQ4_TABLE(-134 * -115.5f, -134 * -93.5f, -134 * -74.0f, -134 * -57.0f, -134 * -42.0f,
                  -134 * -28.5f, -134 * -16.0f, -134 * -4.5f, 0.0f, -134 * 7.0f, -134 * 19.0f,
                  -134 * 31.5f, -134 * 45.5f, -134 * 61.0f, -134 * 79.0f, -134 * 101.0f);
    vf x = q->x[i];
    vf v = vf_mul(scale, x);
    struct iq4_code c = iq4_code_within(v);
    vf middle = iq4_lookup(&between, c);

    /* Trial s - 127 in place of -134 makes v the half-way point for s - 127 = -134 * middle / v,
     * and k, the number of trials before, is s + 7 rounded up: that is s + 8 rounded down, but for
     * whole s. It is not negative, as the first trial comes before; the limit makes it 15 at most,
     * also where NaN came of x = 0. */
    vf s = vf_min(vf_div(middle, v), vf_set(-119.5f));
    vf turn = vf_add(s, vf_set(768.0f + 135.0f + 0x2p-14f));
    vf_store(e->turn[i], turn);

    vf from = iq4_lookup(&iq4_values, c);
    vf to = iq4_lookup(&next, c);
    vf w_from = vf_mul(w, from);
    vf w_to = vf_mul(w, to);
    iq4_store_terms(e, i, vf_mul(w_from, x), vf_mul(w_to, x), vf_mul(w_from, from),
                    vf_mul(w_to, to));

    /* The roundings of s take 134 * 3 * 2^-24 at most, those of a trial 134 * 2 * 2^-24; that of
     * the turn, 2^-15. They are less than 2^-13 together: twice the last bit, which was added
     * above. */
    vm close = vi_gt(vi_set(4), vi_and(vf_bits(turn), vi_set((1 << 14) - 1)));
    if (vm_any(close)) {
        float xs[VF_LANES], middles[VF_LANES], smax[VF_LANES];
        vf_store(xs, x);
        vf_store(middles, middle);
        vf_store(smax, q->smax);
        for (unsigned left = vm_bits(close); left; left &= left - 1) {
            int lane = __builtin_ctz(left);
            int t = (int)e->turn[i][lane] - 768;
            t = iq4_exact_turn(xs[lane], smax[lane], middles[lane] / -134.0f, t);
            e->turn[i][lane] = 768.5f + (float)t;
        }
    }
}

/* ---- the search ------------------------------------------------------------------------------ */

/* Where weights come from. */
struct iq4_weights {
    const float *importance; /* or NULL: squares of x */
    const float *sigma2;     /* of each group, or NULL: of the group itself */
    size_t ahead;            /* the distance in bytes of those x that are fetched for later */
};

/* Groups of zeros, and those so large that a product of smax overflows, are searched apart. Makes
 * them harmless here, and returns them as bits. */
LANE unsigned iq4_set_apart(struct iq4_lanes *q) {
    q->smax = signed_maximum_finite(IQ4_GROUP, q->x, extremes_of(IQ4_GROUP, q->x));
    vf size = vf_abs(q->smax);
    vm fit = vm_and(vf_ge(size, vf_set(UQFF_GROUP_EPSILON)), vf_lt(size, vf_set(1e30f)));
    if (!vm_all(fit)) {
        q->smax = vf_select(fit, q->smax, vf_set(1.0f));
        for (int i = 0; i < IQ4_GROUP; i++) {
            q->x[i] = vf_keep(fit, q->x[i]);
        }
    }
    return ~vm_bits(fit) & ((1u << VF_LANES) - 1);
}

LANE vf iq4_sigma2(const struct iq4_lanes *q) {
    vf sum = vf_set(0.0f);
    for (int i = 0; i < IQ4_GROUP; i++) {
        sum = vf_add(sum, vf_mul(q->x[i], q->x[i]));
    }
    return vf_mul(sum, vf_set(2.0f / (float)IQ4_GROUP));
}

/* Elements over the trials; and the very first trial. */
LANE void iq4_begin(struct iq4_lanes *q, struct iq4_elements *e, struct iq4_weights how) {
    vf first = vf_div(vf_set(1.0f), vf_div(vf_neg(q->smax), vf_set(-127.0f)));
    vf scale = vf_div(vf_set(-134.0f), q->smax);
    vf sigma2 = how.sigma2 ? vf_load(how.sigma2) : iq4_sigma2(q);
    vf qx = vf_set(0.0f), q2 = qx;
    for (int i = 0; i < IQ4_GROUP; i++) {
        vf x = q->x[i];
        vf w = how.importance ? weigh(x, q->importance[i], sigma2) : vf_mul(x, x);
        vf value = iq4_lookup(&iq4_values, iq4_code_within(vf_mul(first, x)));
        vf weighted = vf_mul(w, value);
        qx = vf_add(qx, vf_mul(weighted, x));
        q2 = vf_add(q2, vf_mul(weighted, value));
        iq4_prepare(e, q, i, w, scale);
    }
    q->d = vf_select(vf_eq(q2, vf_set(0.0f)), vf_set(0.0f), vf_div(qx, q2));
    q->best = vf_mul(q->d, qx);
}

LANE void iq4_keep_better(struct iq4_lanes *q, const struct iq4_sums *s, int t) {
    vf qx = s->qx[t];
    vf q2 = s->q2[t];
    vm better = vm_and(vf_gt(q2, vf_set(0.0f)), vf_gt(vf_mul(qx, qx), vf_mul(q->best, q2)));
    q->d = vf_select(better, s->scale[t], q->d);
    q->best = vf_select(better, vf_mul(s->scale[t], qx), q->best);
}

/* The scale of group g by itself. */
static inline float iq4_search_apart(const float *x, struct iq4_weights w, int g) {
    float own[IQ4_GROUP];
    x += IQ4_GROUP * g;
    const float *importance = w.importance ? w.importance + IQ4_GROUP * g : NULL;
    if (importance && w.sigma2) {
        uqff_weigh(IQ4_GROUP, x, importance, w.sigma2[g], own);
    } else {
        uqff_iq4_weigh(IQ4_GROUP, x, importance, own);
    }
    return uqff_iq4_search(x, own);
}

/* Fetches half of what takes the place of a vector of groups in the next search. */
LANE void iq4_fetch(const float *x, struct iq4_weights w, size_t half) {
    const size_t size = VF_LANES * IQ4_GROUP / 2 * sizeof *x;
    fetch(x, w.ahead + half * size, size);
    if (w.importance) {
        fetch(w.importance, (4 + half) * size, size);
    }
}

/* Begins with up to a vector of groups. Returns those that are searched apart. */
LANE unsigned iq4_try(struct iq4_lanes *q, struct iq4_sums *s, const float *x, struct iq4_weights w,
                      int groups) {
    struct iq4_elements e;
    load_groups(q->x, x, IQ4_GROUP, groups, IQ4_GROUP);
    if (w.importance) {
        load_groups(q->importance, w.importance, IQ4_GROUP, groups, IQ4_GROUP);
    }
    iq4_fetch(x, w, 0);
    unsigned apart = iq4_set_apart(q);
    iq4_begin(q, &e, w);
    iq4_fetch(x, w, 1);
    iq4_add_up(&e, s);
    return apart;
}

/* Scales of up to two vectors of groups. Choosing among trials is one long chain of comparisons;
 * two vectors go through it side by side. */
LANE void iq4_search(const float *x, struct iq4_weights w, int groups, float d[2 * VF_LANES]) {
    struct iq4_lanes q[2];
    struct iq4_sums s[2];
    unsigned apart = iq4_try(&q[0], &s[0], x, w, groups);
    int last = groups > VF_LANES;
    if (last) {
        const int at = VF_LANES * IQ4_GROUP;
        struct iq4_weights more = {w.importance ? w.importance + at : NULL,
                                   w.sigma2 ? w.sigma2 + VF_LANES : NULL, w.ahead};
        apart |= iq4_try(&q[1], &s[1], x + at, more, groups - VF_LANES) << VF_LANES;
    }
    for (int t = 1; t < IQ4_TRIALS; t++) {
        iq4_keep_better(&q[0], &s[0], t);
        iq4_keep_better(&q[last], &s[last], t); /* or the same once more, which changes nothing */
    }
    vf_store(d, q[0].d);
    vf_store(d + VF_LANES, q[last].d);
    for (; apart; apart &= apart - 1) {
        int g = __builtin_ctz(apart);
        if (g < groups) {
            d[g] = iq4_search_apart(x, w, g);
        }
    }
}

#endif
