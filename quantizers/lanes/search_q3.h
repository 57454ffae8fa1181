/*
 * Q3, the search by coordinate descent (ref/search.h), for groups of 16. Private to quantizers/.
 *
 * First codes and their sums have groups as lanes, as in the other searches. Half of the groups
 * keep these codes for their signs alone, and an estimate tells most others that do.
 *
 * In the rest, the reference goes from element to element, and each change is of consequence for
 * all that follow. But between two changes every element is compared with the same sums. So a look
 * at a group has elements as lanes: it finds all whose change would improve the fit as it stands,
 * and of these the next one in order is the one that the reference changes. How many looks a group
 * needs is not to be foretold, and each is a long chain of operations; so groups stand in a queue,
 * several are looked at before the first of them is changed, and nothing in a look or change
 * branches.
 */
#ifndef UQFF_LANES_SEARCH_Q3_H
#define UQFF_LANES_SEARCH_Q3_H

#include "lanes/groups.h"
#include "lanes/search_qx.h"

enum {
    Q3_GROUP = 16,
    Q3_GROUPS = 256, /* that are searched together, a power of two */
    Q3_SWEEPS = 5,
    Q3_LOOKS = 4 /* under way at a time, a power of two */
};

/* What Q3 finds in up to Q3_GROUPS groups, one after the other. */
struct q3_search {
    _Alignas(64) float codes[Q3_GROUPS][Q3_GROUP]; /* signed, of groups that were swept */
    float scale[Q3_GROUPS];
    float iscale[Q3_GROUPS]; /* of the first codes, nearest(iscale * x, -nmax, nmax - 1) */
    float sumlx[Q3_GROUPS], suml2[Q3_GROUPS];
    unsigned at[Q3_GROUPS];         /* elements passed, in all sweeps */
    uint64_t swept[Q3_GROUPS / 64]; /* a bit each */
};

/* Those of sixteen groups that were swept, g being a multiple of 16. */
LANE unsigned q3_swept(const struct q3_search *q, int g) {
    return q->swept[g / 64] >> g % 64 & 0xffff;
}

LANE vf q3_scale(vf sumlx, vf suml2) {
    vf zero = vf_set(0.0f);
    return vf_select(vf_eq(suml2, zero), zero, vf_div(sumlx, suml2));
}

/* ---- first codes ----------------------------------------------------------------------------- */

/* A vector of groups, their first codes l, and the sums. */
struct q3_first {
    vf x[Q3_GROUP], l[Q3_GROUP], wxl[Q3_GROUP];
    vf largest, iscale, sumlx, suml2;
};

/* The product is nmax in magnitude at most, but for rounding, so that no lower limit binds. */
LANE vf q3_first_code(vf x, vf iscale, float nmax) {
    return vf_round(vf_min(vf_mul(iscale, x), vf_set(nmax - 1.0f)));
}

LANE void q3_begin(struct q3_first *f, const float *x, float nmax) {
    load_groups(f->x, x, Q3_GROUP, VF_LANES, Q3_GROUP);
    f->largest = signed_maximum_finite(Q3_GROUP, f->x, extremes_of(Q3_GROUP, f->x));
    f->iscale = vf_div(vf_set(-nmax), f->largest);
    f->sumlx = f->suml2 = vf_set(0.0f);
    for (int i = 0; i < Q3_GROUP; i++) {
        vf w = vf_mul(f->x[i], f->x[i]);
        f->l[i] = q3_first_code(f->x[i], f->iscale, nmax);
        f->wxl[i] = vf_mul(vf_mul(w, f->x[i]), f->l[i]);
        f->sumlx = vf_add(f->sumlx, f->wxl[i]);
        f->suml2 = vf_add(f->suml2, vf_mul(vf_mul(w, f->l[i]), f->l[i]));
    }
}

/* Groups with a negative maximum in which a sweep finds nothing to change; not all of them.
 *
 * Without an element, the sums are slx = sumlx - wxl and sl2 = suml2 - wll, and a change of its
 * code is wanted if |x sl2 / slx - l| is above 1/2. Times slx / sumlx, which is positive, that is
 *
 *     |x suml2 / sumlx - l| > 1/2 (1 - wxl / sumlx)
 *
 * as both products of w, x, l and l cancel. Rounding, here and there, moves either side by a few
 * parts in 2^20, or in 2^15 where cubes of x are so small that they lose digits. Before they lose
 * more, the inverse is infinite, and where they overflow it is 0; no comparison holds with that. */
LANE vm q3_keeps(const struct q3_first *f) {
    vf inverse = vf_div(vf_set(1.0f), f->sumlx);
    vf factor = vf_neg(vf_mul(f->suml2, inverse));
    vf half = vf_mul(vf_set(0.5f), inverse);
    vm keeps = vm_set(true);
    for (int i = 0; i < Q3_GROUP; i++) {
        vf off = vf_abs(vf_fma(f->x[i], factor, f->l[i]));
        keeps = vm_and(keeps, vf_lt(vf_fma(f->wxl[i], half, off), vf_set(0.499f)));
    }
    return keeps;
}

/* Enters a vector of groups from the g-th on. */
LANE void q3_enter(struct q3_search *q, const struct q3_first *f, int g) {
    vf zero = vf_set(0.0f);
    /* Groups that count as zero: sums of 0 make a scale of 0, and NaN rounds to code 0. */
    vm none = vf_lt(vf_abs(f->largest), vf_set(UQFF_GROUP_EPSILON));
    vf_store(q->sumlx + g, vf_select(none, zero, f->sumlx));
    vf_store(q->suml2 + g, vf_select(none, zero, f->suml2));
    vf_store(q->iscale + g, vf_select(none, vf_set(NAN), f->iscale));
    /* With a positive maximum the codes have the sign that x has not. Then all w·x·l are negative
     * or 0, and the sum is less than each: no sweep finds one without which it is positive. */
    vm settled = vm_or(none, vf_gt(f->largest, zero));
    unsigned swept = ~vm_bits(vm_or(settled, q3_keeps(f))) & ((1u << VF_LANES) - 1);
    q->swept[g / 64] |= (uint64_t)swept << g % 64;
}

/* ---- sweeps ---------------------------------------------------------------------------------- */

/* What a group would be with each of its elements changed; behind them, as it is. A whole number of
 * lines, so that looks do not share one. */
struct q3_look {
    _Alignas(128) float sumlx[Q3_GROUP + 16], suml2[Q3_GROUP + 16];
    float code[Q3_GROUP + 16]; /* of the element; behind them, of the first one */
    uint64_t improving;        /* elements whose change improves the fit, a bit each */
};

LANE void q3_look(struct q3_look *look, const float *x, const float *codes, float sumlx,
                  float suml2, float nmax) {
    const vf zero = vf_set(0.0f);
    const vf square = vf_set(sumlx * sumlx);
    uint64_t improving = 0;
    for (int i = 0; i < Q3_GROUP; i += VF_LANES) {
        vf v = vf_load(x + i);
        vf l = vf_load(codes + i);
        vf w = vf_mul(v, v);
        vf wx = vf_mul(w, v);
        vf slx = vf_sub(vf_set(sumlx), vf_mul(wx, l));
        vf sl2 = vf_sub(vf_set(suml2), vf_mul(vf_mul(w, l), l));
        vf next = vf_nearest(vf_div(vf_mul(v, sl2), slx), -nmax, nmax - 1.0f);
        vm wanted = vm_and(vf_ne(next, l), vf_gt(slx, zero));
        slx = vf_add(slx, vf_mul(wx, next));
        sl2 = vf_add(sl2, vf_mul(vf_mul(w, next), next));
        vm better = vf_gt(vf_mul(vf_mul(slx, slx), vf_set(suml2)), vf_mul(square, sl2));
        better = vm_and(vm_and(wanted, vf_gt(sl2, zero)), better);
        improving |= (uint64_t)vm_bits(better) << i;
        vf_store(look->sumlx + i, slx);
        vf_store(look->suml2 + i, sl2);
        vf_store(look->code + i, next);
    }
    look->improving = improving;
    look->sumlx[Q3_GROUP] = sumlx;
    look->suml2[Q3_GROUP] = suml2;
    look->code[Q3_GROUP] = codes[0];
}

/* Makes the next change in group g: of the first element in turn, from `at` on, that improves the
 * fit. Returns 1, or 0 if there is none, so that the reference's next sweep is its last, or if it
 * is beyond the last sweep. */
LANE int q3_change(struct q3_search *q, int g, const struct q3_look *look) {
    unsigned at = q->at[g];
    uint64_t turn = (look->improving << Q3_GROUP | look->improving) >> at % Q3_GROUP;
    at += (unsigned)__builtin_ctzll(turn | 1ull << 63);
    unsigned some = (look->improving != 0) & (at < Q3_SWEEPS * Q3_GROUP);
    unsigned i = (at % Q3_GROUP & (0 - some)) | Q3_GROUP * (1 - some);
    q->at[g] = at + 1;
    q->sumlx[g] = look->sumlx[i];
    q->suml2[g] = look->suml2[i];
    q->codes[g][i % Q3_GROUP] = look->code[i];
    return (int)some;
}

/* Fetches some of the next Q3_GROUPS groups, from the g-th of them on. Memory gives them much
 * faster than they are encoded, but not all at once, and so they are asked for all along. Beyond
 * the end of a row it does nothing. */
LANE void q3_fetch(const float *x, int g, int count) {
    const int size = Q3_GROUP * (int)sizeof *x;
    uintptr_t ahead = (uintptr_t)x + (uintptr_t)(size * (Q3_GROUPS + g));
    for (int k = 0; k < count; k++) {
        __builtin_prefetch((const void *)(ahead + (uintptr_t)(size * k)), 0, 2);
    }
}

/* Sweeps the groups whose numbers are in a queue, `count` of them so far. Groups that were changed
 * are appended again; the queue is a ring. Not inline: within a larger function, compilers keep
 * what looks need in memory. */
static SIMD __attribute__((noinline)) void
q3_sweep(struct q3_search *q, const float *x, int queue[Q3_GROUPS], unsigned count, float nmax) {
    struct q3_look look[Q3_LOOKS];
    unsigned looked = 0, changed = 0;
    while (changed < count) {
        if (looked < count) {
            int g = queue[looked % Q3_GROUPS];
            if (looked < Q3_GROUPS / 2) {
                q3_fetch(x, Q3_GROUPS / 4 + (int)looked, 1);
            }
            q3_look(&look[looked % Q3_LOOKS], x + Q3_GROUP * g, q->codes[g], q->sumlx[g],
                    q->suml2[g], nmax);
            looked++;
        }
        if (looked - changed == Q3_LOOKS || looked == count) {
            int g = queue[changed % Q3_GROUPS];
            queue[count % Q3_GROUPS] = g;
            count += (unsigned)q3_change(q, g, &look[changed % Q3_LOOKS]);
            changed++;
        }
    }
}

/* Queues the groups that are to be swept, with their first codes. Returns how many they are. */
LANE unsigned q3_queue(struct q3_search *q, const float *x, int queue[Q3_GROUPS], float nmax) {
    unsigned count = 0;
    for (int first = 0; first < Q3_GROUPS; first += 64) {
        for (uint64_t left = q->swept[first / 64]; left != 0; left &= left - 1) {
            int g = first + __builtin_ctzll(left);
            vf iscale = vf_set(q->iscale[g]);
            for (int i = 0; i < Q3_GROUP; i += VF_LANES) {
                vf v = vf_load(x + Q3_GROUP * g + i);
                vf_store(q->codes[g] + i, q3_first_code(v, iscale, nmax));
            }
            q->at[g] = 0;
            queue[count++] = g;
        }
    }
    return count;
}

/* groups: a multiple of 16. Fetches three quarters of the groups that follow; see q3_fetch(). */
LANE void q3_search(struct q3_search *q, const float *x, int groups, float nmax) {
    int queue[Q3_GROUPS];
    struct q3_first f[2];
    memset(q->swept, 0, sizeof q->swept);
    /* Each step waits for the one before, and so a vector begins before the last one is entered. */
    q3_begin(&f[0], x, nmax);
    for (int g = 0; g < groups; g += VF_LANES) {
        int next = g + VF_LANES;
        q3_fetch(x, g / 4, VF_LANES / 4);
        if (next < groups) {
            q3_begin(&f[next / VF_LANES % 2], x + Q3_GROUP * next, nmax);
        }
        q3_enter(q, &f[g / VF_LANES % 2], g);
    }
    q3_sweep(q, x, queue, q3_queue(q, x, queue, nmax), nmax);
    for (int g = 0; g < groups; g += VF_LANES) {
        vf_store(q->scale + g, q3_scale(vf_load(q->sumlx + g), vf_load(q->suml2 + g)));
    }
}

#endif
