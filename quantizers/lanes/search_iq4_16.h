/*
 * What the search of IQ4 does in sixteen lanes, as search_iq4_8.h in eight: codes from tables,
 * which fit into registers, and sums of many trials side by side. Private to quantizers/.
 */
#ifndef UQFF_LANES_SEARCH_IQ4_16_H
#define UQFF_LANES_SEARCH_IQ4_16_H

/* ---- codes ----------------------------------------------------------------------------------- */

struct iq4_code {
    vi index;
};

/*
 * Multiples of 10 lie closer together than half-way points: between v rounded to such a multiple
 * and the next ones there is one half-way point at most. Two tables tell which, and the code below
 * it. They are indexed by v / 10, -15 to 15, modulo 32. No half-way point is near an odd multiple
 * of 5, so that it does not matter how those are rounded. |v| is below 155.
 */
LANE struct iq4_code iq4_code_within(vf v) {
    static const float middle[32] = {
        -4.5f,    7.0f,     19.0f,    31.5f,    INFINITY, 45.5f,    61.0f,    INFINITY,
        79.0f,    INFINITY, 101.0f,   INFINITY, INFINITY, INFINITY, INFINITY, INFINITY,
        INFINITY, INFINITY, INFINITY, INFINITY, -115.5f,  INFINITY, INFINITY, -93.5f,
        INFINITY, -74.0f,   -57.0f,   INFINITY, -42.0f,   -28.5f,   -16.0f,   INFINITY};
    static const int32_t below[32] = {7, 8, 9, 10, 11, 11, 12, 13, 13, 14, 14, 15, 15, 15, 15, 15,
                                      0, 0, 0, 0,  0,  1,  1,  1,  2,  2,  3,  4,  4,  5,  6,  7};
    vi tenth = vf_bits(vf_fma(v, vf_set(0.1f), vf_set(0x1.8p23f)));
    vm above = vf_ge(v, vf_lookup_32(middle, tenth));
    return (struct iq4_code){vi_count(vi_lookup_32(below, tenth), above)};
}

/* The code of any v. */
LANE struct iq4_code iq4_code_of(vf v) {
    return iq4_code_within(vf_min(vf_max(v, vf_set(-150.0f)), vf_set(150.0f)));
}

LANE vi iq4_index(struct iq4_code c) {
    return c.index;
}

struct iq4_table {
    float entry[16];
};

#define IQ4_TABLE(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                  \
    {                                                                                              \
        { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p }                                         \
    }

LANE vf iq4_lookup(const struct iq4_table *t, struct iq4_code c) {
    return vf_lookup(vf_load(t->entry), c.index);
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* Element i of each group. */
struct iq4_elements {
    float turn[IQ4_GROUP][VF_LANES];             /* 768 + k and a fraction */
    vf qx[IQ4_GROUP], q2[IQ4_GROUP];             /* w·q·x and w·q·q in the first k trials, */
    vf other_qx[IQ4_GROUP], other_q2[IQ4_GROUP]; /* and in the others */
};

LANE void iq4_store_terms(struct iq4_elements *e, int i, vf qx, vf other_qx, vf q2, vf other_q2) {
    e->qx[i] = qx;
    e->q2[i] = q2;
    e->other_qx[i] = other_qx;
    e->other_q2[i] = other_q2;
}

/* Trials whose sums are taken side by side: as many as there are registers for. */
enum { IQ4_TOGETHER = 5 };

/* A trial compares its number with the turns, and picks. In trial 1 nothing has turned. */
LANE void iq4_add_up(const struct iq4_elements *e, struct iq4_sums *s) {
    UNROLL(3)
    for (int t = 1; t < IQ4_TRIALS; t += IQ4_TOGETHER) {
        vf qx[IQ4_TOGETHER], q2[IQ4_TOGETHER], number[IQ4_TOGETHER];
        UNROLL(5)
        for (int k = 0; k < IQ4_TOGETHER; k++) {
            qx[k] = q2[k] = vf_set(0.0f);
            number[k] = vf_set(768.0f + (float)(t + k));
        }
        UNROLL(2)
        for (int i = 0; i < IQ4_GROUP; i++) {
            vf turn = vf_load(e->turn[i]);
            UNROLL(5)
            for (int k = 0; k < IQ4_TOGETHER; k++) {
                vm turned = t + k > 1 ? vf_lt(turn, number[k]) : vm_set(false);
                qx[k] = vf_add(qx[k], vf_select(turned, e->other_qx[i], e->qx[i]));
                q2[k] = vf_add(q2[k], vf_select(turned, e->other_q2[i], e->q2[i]));
            }
        }
        UNROLL(5)
        for (int k = 0; k < IQ4_TOGETHER; k++) {
            s->qx[t + k] = qx[k];
            s->q2[t + k] = q2[k];
            s->scale[t + k] = vf_div(qx[k], q2[k]);
        }
    }
}

#endif
