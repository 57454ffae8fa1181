/*
 * What the search of IQ4 does in eight lanes: codes by comparing, and the terms of sums for two
 * vectors of trials. search_iq4_16.h has the same for sixteen. Private to quantizers/.
 */
#ifndef UQFF_LANES_SEARCH_IQ4_8_H
#define UQFF_LANES_SEARCH_IQ4_8_H

/* ---- codes ----------------------------------------------------------------------------------- */

/*
 * Codes by binary search, four comparisons with half-way points. What is known of the code so far
 * is kept as 0, -1, -2, ...: masks of comparisons add up to that, and its low three bits pick from
 * a table of eight. Hence the order of tables: entry 0, then from the last one down.
 */
#define IQ4_ORDER(a, b, c, d, e, f, g, h) a, h, g, f, e, d, c, b

struct iq4_code {
    vi pair; /* minus the code / 2 */
    vm odd;
};

LANE struct iq4_code iq4_code_of(vf v) {
    static const float middle_2[8] = {IQ4_ORDER(-57.0f, 45.5f, 0, 0, 0, 0, -57.0f, 45.5f)};
    static const float middle_3[8] = {
        IQ4_ORDER(-93.5f, -28.5f, 19.0f, 79.0f, -93.5f, -28.5f, 19.0f, 79.0f)};
    static const float middle_4[8] = {
        IQ4_ORDER(-115.5f, -74.0f, -42.0f, -16.0f, 7.0f, 31.5f, 61.0f, 101.0f)};
    vi n = vi_of_mask(vf_ge(v, vf_set(-4.5f)));
    n = vi_add(vi_add(n, n), vi_of_mask(vf_ge(v, vf_lookup(vf_load(middle_2), n))));
    n = vi_add(vi_add(n, n), vi_of_mask(vf_ge(v, vf_lookup(vf_load(middle_3), n))));
    return (struct iq4_code){n, vf_ge(v, vf_lookup(vf_load(middle_4), n))};
}

LANE vi iq4_index(struct iq4_code c) {
    return vi_sub(vi_set(0), vi_add(vi_add(c.pair, c.pair), vi_of_mask(c.odd)));
}

/* A table of sixteen: entries of even codes, and of odd ones. Their differences are exact. */
struct iq4_table {
    float even[8], odd[8];
};

#define IQ4_TABLE(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                  \
    {                                                                                              \
        {IQ4_ORDER(a, c, e, g, i, k, m, o)}, {                                                     \
            IQ4_ORDER(b, d, f, h, j, l, n, p)                                                      \
        }                                                                                          \
    }

LANE vf iq4_lookup(const struct iq4_table *t, struct iq4_code c) {
    vf even = vf_load(t->even);
    vf step = vf_sub(vf_load(t->odd), even);
    return vf_add(vf_lookup(even, c.pair), vf_keep(c.odd, vf_lookup(step, c.pair)));
}

/* ---- terms of sums --------------------------------------------------------------------------- */

struct iq4_elements {
    float qx[IQ4_GROUP][2]; /* w·q·x of the first k trials, and of the others */
    float q2[IQ4_GROUP];    /* w·q·q of the first k trials */
    float turn[IQ4_GROUP];  /* the bits in which that of the others differs */
    int32_t row[IQ4_GROUP]; /* of iq4_rows: where it begins */
};

/* What eight elements from i on add to Σ w·q·x and to Σ w·q·q: in the first trials, and in others.
 */
LANE void iq4_store_terms(struct iq4_elements *e, int i, vf qx, vf other_qx, vf q2, vf other_q2) {
    vf_store_pairs(e->qx[i], qx, other_qx);
    vf_store(e->q2 + i, q2);
    vf_store(e->turn + i, vf_turn(q2, other_q2));
}

/* Σ w·q·x and Σ w·q·q of all trials of a group. */
LANE void iq4_add_up_one(const struct iq4_elements *e, float *qx, float *q2) {
    vf zero = vf_set(0.0f);
    vf qx_a = zero, qx_b = zero, q2_a = zero, q2_b = zero;
    UNROLL(4)
    for (int i = 0; i < IQ4_GROUP; i++) {
        const int32_t *row = iq4_rows + e->row[i];
        vi a = vi_load(row);
        vi b = vi_load(row + 8);
        qx_a = vf_add(qx_a, vf_pick(e->qx[i], a));
        qx_b = vf_add(qx_b, vf_pick(e->qx[i], b));
        q2_a = vf_add(q2_a, vf_turned(e->q2[i], e->turn[i], a));
        q2_b = vf_add(q2_b, vf_turned(e->q2[i], e->turn[i], b));
    }
    vf_store(qx, qx_a);
    vf_store(qx + 8, qx_b);
    vf_store(q2, q2_a);
    vf_store(q2 + 8, q2_b);
}

/* The same of some groups. */
LANE void iq4_add_up(const struct iq4_elements *e, int groups, float (*qx)[IQ4_LANES],
                     float (*q2)[IQ4_LANES]) {
    for (int g = 0; g < groups; g++) {
        iq4_add_up_one(&e[g], qx[g], q2[g]);
    }
}

#endif
