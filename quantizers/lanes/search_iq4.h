/*
 * The search of IQ4 (ref/iq4.h) for the scale of a group of 32. Private to quantizers/.
 *
 * Here the lanes are not groups but trials: fifteen of them, in one or two vectors. They multiply x
 * by (s - 127) / smax, s = -7 .. 7; that is, by -134 to -120 over smax. Half-way points between the
 * sixteen values of a code are further apart than that, so that over all trials an element meets
 * one of them at most: it has one value in the first k trials and its neighbour in the rest. What
 * it adds to the sums is then known beforehand, two numbers for each sum, and a trial costs an
 * element two additions. They run in the order of the reference.
 *
 * k is a matter of rounding only where an element meets a half-way point in a trial, or nearly so.
 * Then the products themselves are compared.
 *
 * The very first trial, by 127 / smax, has the other sign and stands apart.
 */
#ifndef UQFF_LANES_SEARCH_IQ4_H
#define UQFF_LANES_SEARCH_IQ4_H

#include "lanes/groups.h"
#include "ref/iq4.h"
#include "ref/number.h"
#include "ref/search.h"

enum { IQ4_GROUP = 32, IQ4_LANES = 16 };

/* ---- trials ---------------------------------------------------------------------------------- */

/* Row k: the first k trials have 0, the others -1. There is no trial for lane 0. */
#define IQ4_LANE(k, t) -((t) > (k))
#define IQ4_ROW(k)                                                                                 \
    0, IQ4_LANE(k, 1), IQ4_LANE(k, 2), IQ4_LANE(k, 3), IQ4_LANE(k, 4), IQ4_LANE(k, 5),             \
        IQ4_LANE(k, 6), IQ4_LANE(k, 7), IQ4_LANE(k, 8), IQ4_LANE(k, 9), IQ4_LANE(k, 10),           \
        IQ4_LANE(k, 11), IQ4_LANE(k, 12), IQ4_LANE(k, 13), IQ4_LANE(k, 14), IQ4_LANE(k, 15)

static const _Alignas(64) int32_t iq4_rows[16 * IQ4_LANES] = {
    IQ4_ROW(0),  IQ4_ROW(1),  IQ4_ROW(2),  IQ4_ROW(3), IQ4_ROW(4),  IQ4_ROW(5),
    IQ4_ROW(6),  IQ4_ROW(7),  IQ4_ROW(8),  IQ4_ROW(9), IQ4_ROW(10), IQ4_ROW(11),
    IQ4_ROW(12), IQ4_ROW(13), IQ4_ROW(14), IQ4_ROW(15)};

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

/* ---- the elements of a group over the trials ------------------------------------------------- */

/* What trial t = 1 .. 15 multiplies by. */
static inline float iq4_scale(float smax, int t) {
    return ((float)(t - 8) + -127.0f) / smax;
}

/* The row of an element that comes close to a half-way point in some trial. */
static inline int32_t iq4_exact_row(float x, float smax, float middle) {
    bool below = iq4_scale(smax, 1) * x < middle;
    int k = 1;
    while (k < 15 && (iq4_scale(smax, k + 1) * x < middle) == below) {
        k++;
    }
    return k;
}

static const struct iq4_table iq4_values =
    IQ4_TABLE(-127.0f, -104.0f, -83.0f, -65.0f, -49.0f, -35.0f, -22.0f, -10.0f, 1.0f, 13.0f, 25.0f,
              38.0f, 53.0f, 69.0f, 89.0f, 113.0f);

/* A vector of elements from i on. */
LANE void iq4_prepare(struct iq4_elements *e, int i, const float *x, vf w, float smax) {
    /* As |v| shrinks from trial to trial, the next value is the one towards code 8, and the
     * half-way point the one in between. Code 8 stays: the middle 0 is never met. */
    static const struct iq4_table next =
        IQ4_TABLE(-104.0f, -83.0f, -65.0f, -49.0f, -35.0f, -22.0f, -10.0f, 1.0f, 1.0f, 1.0f, 13.0f,
                  25.0f, 38.0f, 53.0f, 69.0f, 89.0f);
    static const struct iq4_table between =
        IQ4_TABLE(-115.5f, -93.5f, -74.0f, -57.0f, -42.0f, -28.5f, -16.0f, -4.5f, 0.0f, 7.0f, 19.0f,
                  31.5f, 45.5f, 61.0f, 79.0f, 101.0f);
    vf v = vf_load(x + i);
    struct iq4_code c = iq4_code_of(vf_mul(vf_set(iq4_scale(smax, 1)), v));
    vf middle = iq4_lookup(&between, c);

    /* (s - 127) / smax * x is the half-way point for s = 127 + middle * smax / x, and k the number
     * of trials before, s + 7 rounded up: that is, s + 7.5 rounded but for whole s. It is 0 or
     * more, as the first trial comes before; the limit makes it 15 at most, also where NaN came of
     * x = 0. */
    vf s = vf_add(vf_div(vf_mul(middle, vf_set(smax)), v), vf_set(134.5f));
    s = vf_min(s, vf_set(15.0f));
    vf shifted = vf_add(s, vf_set(0x1.8p23f)); /* the low bits are k */
    vf off = vf_sub(s, vf_sub(shifted, vf_set(0x1.8p23f)));
    vi_store(e->row + i, vi_left(vi_and(vf_bits(shifted), vi_set(0x0f)), 4));

    vf from = iq4_lookup(&iq4_values, c);
    vf to = iq4_lookup(&next, c);
    vf w_from = vf_mul(w, from);
    vf w_to = vf_mul(w, to);
    iq4_store_terms(e, i, vf_mul(w_from, v), vf_mul(w_to, v), vf_mul(w_from, from),
                    vf_mul(w_to, to));

    /* s is off by less than 134 * 2^-23 for its own roundings, and trials by twice that for theirs.
     */
    unsigned close = vm_bits(vf_gt(vf_abs(off), vf_set(0.4999f)));
    if (close) {
        float m[VF_LANES];
        vf_store(m, middle);
        for (; close; close &= close - 1) {
            int lane = __builtin_ctz(close);
            e->row[i + lane] = IQ4_LANES * iq4_exact_row(x[i + lane], smax, m[lane]);
        }
    }
}

/* What a vector of elements adds to the sums of the first trial. */
LANE void iq4_first(const float *x, vf w, float smax, float *qx, float *q2) {
    vf v = vf_load(x);
    vf q = iq4_lookup(&iq4_values, iq4_code_of(vf_mul(vf_set(1.0f / (-smax / -127.0f)), v)));
    vf wq = vf_mul(w, q);
    vf_store(qx, vf_mul(wq, v));
    vf_store(q2, vf_mul(wq, q));
}

/* ---- a vector of groups ---------------------------------------------------------------------- */

/* signed_maximum() of up to a vector of groups. The extremes tell it, but where both are equally
 * far from zero and the first one counts. */
LANE void iq4_signed_maxima(const float *x, int groups, float smax[VF_LANES]) {
    float low[VF_LANES][VF_LANES] = {{0.0f}}, high[VF_LANES][VF_LANES] = {{0.0f}};
    for (int g = 0; g < groups; g++) {
        vf least = vf_load(x + IQ4_GROUP * g);
        vf most = least;
        for (int i = VF_LANES; i < IQ4_GROUP; i += VF_LANES) {
            vf v = vf_load(x + IQ4_GROUP * g + i);
            least = vf_min(v, least);
            most = vf_max(v, most);
        }
        vf_store(low[g], least);
        vf_store(high[g], most);
    }
    vf l[VF_LANES], h[VF_LANES];
    load_groups(l, low[0], VF_LANES, VF_LANES, VF_LANES);
    load_groups(h, high[0], VF_LANES, VF_LANES, VF_LANES);
    for (int i = 1; i < VF_LANES; i++) {
        l[0] = vf_min(l[i], l[0]);
        h[0] = vf_max(h[i], h[0]);
    }
    vf below = vf_neg(l[0]);
    vf_store(smax, vf_select(vf_gt(h[0], below), h[0], l[0]));
    for (unsigned tie = vm_bits(vf_eq(h[0], below)); tie; tie &= tie - 1) {
        int g = __builtin_ctz(tie);
        smax[g] = g < groups ? signed_maximum(IQ4_GROUP, x + IQ4_GROUP * g) : 0.0f;
    }
}

/* Of a vector of groups: the terms of the first trial, and the sums of the others. */
struct iq4_trials {
    float first_qx[VF_LANES][IQ4_GROUP], first_q2[VF_LANES][IQ4_GROUP];
    float qx[VF_LANES][IQ4_LANES], q2[VF_LANES][IQ4_LANES];
};

/* Groups as lanes: the sums of their trials. */
struct iq4_sums {
    vf qx[IQ4_LANES], q2[IQ4_LANES];
    vf d, best;
};

LANE void iq4_gather(struct iq4_sums *s, struct iq4_trials *r) {
    load_groups(s->qx, r->qx[0], IQ4_LANES, VF_LANES, IQ4_LANES);
    load_groups(s->q2, r->q2[0], IQ4_LANES, VF_LANES, IQ4_LANES);
    vf qx = vf_set(0.0f), q2 = qx;
    for (int i = 0; i < IQ4_GROUP; i += VF_LANES) {
        vf a[VF_LANES], b[VF_LANES];
        load_groups(a, r->first_qx[0] + i, IQ4_GROUP, VF_LANES, VF_LANES);
        load_groups(b, r->first_q2[0] + i, IQ4_GROUP, VF_LANES, VF_LANES);
        for (int k = 0; k < VF_LANES; k++) {
            qx = vf_add(qx, a[k]);
            q2 = vf_add(q2, b[k]);
        }
    }
    s->d = vf_select(vf_eq(q2, vf_set(0.0f)), vf_set(0.0f), vf_div(qx, q2));
    s->best = vf_mul(s->d, qx);
}

LANE void iq4_keep_better(struct iq4_sums *s, int t) {
    vf qx = s->qx[t];
    vf q2 = s->q2[t];
    vf scale = vf_div(qx, q2);
    /* Without a positive q2 it compares as 0, which is above nothing. */
    vf square = vf_keep(vf_gt(q2, vf_set(0.0f)), vf_mul(qx, qx));
    vm better = vf_gt(square, vf_mul(s->best, q2));
    s->d = vf_select(better, scale, s->d);
    s->best = vf_select(better, vf_mul(scale, qx), s->best);
}

/* All trials of up to a vector of groups with their weights. Groups of zeros, and those so large
 * that a product of smax overflows, are left out: they come back as bits. */
LANE unsigned iq4_try(const float *x, const float *w, int groups, struct iq4_trials *r) {
    struct iq4_elements e[VF_LANES];
    float zeros[IQ4_GROUP] = {0.0f}, smax[VF_LANES];
    unsigned apart = 0;
    iq4_signed_maxima(x, groups, smax);
    if (groups < VF_LANES) {
        memset(r, 0, sizeof *r);
    }
    for (int g = 0; g < groups; g++) {
        const float *xg = x + IQ4_GROUP * g;
        if (!(fabsf(smax[g]) >= UQFF_GROUP_EPSILON && fabsf(smax[g]) < 1e30f)) {
            apart |= 1u << g;
            xg = zeros;
            smax[g] = 1.0f;
        }
        for (int i = 0; i < IQ4_GROUP; i += VF_LANES) {
            vf wi = vf_load(w + IQ4_GROUP * g + i);
            iq4_prepare(&e[g], i, xg, wi, smax[g]);
            iq4_first(xg + i, wi, smax[g], r->first_qx[g] + i, r->first_q2[g] + i);
        }
    }
    /* Sums are taken by twos. */
    if (groups % 2 != 0) {
        e[groups] = e[groups - 1];
    }
    /* A loop of its own: it is no help to the processor to have work of two kinds in turns. */
    iq4_add_up(e, groups, r->qx, r->q2);
    return apart;
}

/* Scales of up to two vectors of groups with their weights. Choosing among trials is one long chain
 * of comparisons; two vectors of groups go through it side by side. */
LANE void iq4_search(const float *x, const float *w, int groups, float d[2 * VF_LANES]) {
    struct iq4_trials r;
    struct iq4_sums s[2];
    unsigned apart = iq4_try(x, w, groups < VF_LANES ? groups : VF_LANES, &r);
    iq4_gather(&s[0], &r);
    if (groups > VF_LANES) {
        const int at = VF_LANES * IQ4_GROUP;
        apart |= iq4_try(x + at, w + at, groups - VF_LANES, &r) << VF_LANES;
    }
    iq4_gather(&s[1], &r);
    for (int t = 1; t < IQ4_LANES; t++) {
        iq4_keep_better(&s[0], t);
        iq4_keep_better(&s[1], t);
    }
    vf_store(d, s[0].d);
    vf_store(d + VF_LANES, s[1].d);
    for (; apart; apart &= apart - 1) {
        int g = __builtin_ctz(apart);
        d[g] = uqff_iq4_search(x + IQ4_GROUP * g, w + IQ4_GROUP * g);
    }
}

#endif
