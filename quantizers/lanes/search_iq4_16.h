/*
 * What the search of IQ4 does in sixteen lanes, as search_iq4_8.h in eight: a lane for each trial,
 * and tables that fit into one register. Private to quantizers/.
 */
#ifndef UQFF_LANES_SEARCH_IQ4_16_H
#define UQFF_LANES_SEARCH_IQ4_16_H

/* ---- codes ----------------------------------------------------------------------------------- */

struct iq4_code {
    vi index;
};

/*
 * Multiples of 8 lie closer together than half-way points: between v rounded to such a multiple and
 * the next ones there is one half-way point at most. Two tables tell which, and the code below it.
 * They are indexed by v / 8, -15 to 15, modulo 32.
 */
LANE struct iq4_code iq4_code_of(vf v) {
    static const float middle[32] = {
        INFINITY, 7.0f,     19.0f,    INFINITY, 31.5f,    INFINITY, 45.5f,    INFINITY,
        61.0f,    INFINITY, 79.0f,    INFINITY, INFINITY, 101.0f,   INFINITY, INFINITY,
        INFINITY, INFINITY, -115.5f,  INFINITY, -93.5f,   INFINITY, INFINITY, -74.0f,
        INFINITY, -57.0f,   INFINITY, -42.0f,   -28.5f,   INFINITY, -16.0f,   -4.5f};
    static const int32_t below[32] = {8, 8, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14, 15, 15,
                                      0, 0, 0, 1,  1,  2,  2,  2,  3,  3,  4,  4,  5,  6,  6,  7};
    v = vf_min(vf_max(v, vf_set(-120.0f)), vf_set(120.0f));
    vi eighth = vf_bits(vf_add(v, vf_set(0x1.8p26f)));
    vm above = vf_ge(v, vf_lookup_32(middle, eighth));
    return (struct iq4_code){vi_count(vi_lookup_32(below, eighth), above)};
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

/* ---- terms of sums --------------------------------------------------------------------------- */

/* Pairs are in the order of vf_store_pairs. */
struct iq4_elements {
    float qx[IQ4_GROUP][2]; /* w·q·x of the first k trials, and of the others */
    float q2[IQ4_GROUP][2]; /* w·q·q of them */
    int32_t row[IQ4_GROUP]; /* of iq4_rows: where it begins */
};

/* What sixteen elements from i on add to Σ w·q·x and to Σ w·q·q: in the first trials, and in
 * others. */
LANE void iq4_store_terms(struct iq4_elements *e, int i, vf qx, vf other_qx, vf q2, vf other_q2) {
    vf_store_pairs(e->qx[i], qx, other_qx);
    vf_store_pairs(e->q2[i], q2, other_q2);
}

/* Σ w·q·x and Σ w·q·q of all trials of two groups. The sums of one would wait for their additions.
 */
LANE void iq4_add_up_two(const struct iq4_elements e[2], float qx[2][IQ4_LANES],
                         float q2[2][IQ4_LANES]) {
    vf qx_a = vf_set(0.0f), qx_b = qx_a, q2_a = qx_a, q2_b = qx_a;
    for (int i = 0; i < IQ4_GROUP; i += 4) {
        UNROLL(4)
        for (int k = i; k < i + 4; k++) {
            int pair = vf_pair_of(i) + vf_pair_of(k - i);
            vi row_a = vi_load(iq4_rows + e[0].row[k]);
            vi row_b = vi_load(iq4_rows + e[1].row[k]);
            qx_a = vf_add(qx_a, vf_pick(e[0].qx[pair], row_a));
            q2_a = vf_add(q2_a, vf_pick(e[0].q2[pair], row_a));
            qx_b = vf_add(qx_b, vf_pick(e[1].qx[pair], row_b));
            q2_b = vf_add(q2_b, vf_pick(e[1].q2[pair], row_b));
        }
    }
    vf_store(qx[0], qx_a);
    vf_store(q2[0], q2_a);
    vf_store(qx[1], qx_b);
    vf_store(q2[1], q2_b);
}

/* The same of some groups, in memory for an even number. */
LANE void iq4_add_up(const struct iq4_elements *e, int groups, float (*qx)[IQ4_LANES],
                     float (*q2)[IQ4_LANES]) {
    for (int g = 0; g < groups; g += 2) {
        iq4_add_up_two(&e[g], &qx[g], &q2[g]);
    }
}

#endif
