/*
 * What the search of IQ4 does in eight lanes: codes by comparing, and sums with trials as lanes,
 * two vectors of them, for which picking takes no comparison. search_iq4_16.h has the same for
 * sixteen. Private to quantizers/.
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

/* The same of a |v| below 155, for which sixteen lanes need no limits. */
LANE struct iq4_code iq4_code_within(vf v) {
    return iq4_code_of(v);
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

/* ---- sums ------------------------------------------------------------------------------------ */

/* Element i of each group. */
struct iq4_elements {
    float turn[IQ4_GROUP][VF_LANES];  /* 768 + k and a fraction */
    float qx[IQ4_GROUP][VF_LANES][2]; /* w·q·x of the first k trials, and of the others */
    float q2[IQ4_GROUP][VF_LANES];    /* w·q·q of the first k trials, */
    float bits[IQ4_GROUP][VF_LANES];  /* and the bits in which that of the others differs */
};

LANE void iq4_store_terms(struct iq4_elements *e, int i, vf qx, vf other_qx, vf q2, vf other_q2) {
    vf_store_pairs(e->qx[i][0], qx, other_qx);
    vf_store(e->q2[i], q2);
    vf_store(e->bits[i], vf_turn(q2, other_q2));
}

/* Row k: the first k trials have 0, the others -1. There is no trial for lane 0. */
#define IQ4_LANE(k, t) -((t) > (k))
#define IQ4_ROW(k)                                                                                 \
    0, IQ4_LANE(k, 1), IQ4_LANE(k, 2), IQ4_LANE(k, 3), IQ4_LANE(k, 4), IQ4_LANE(k, 5),             \
        IQ4_LANE(k, 6), IQ4_LANE(k, 7), IQ4_LANE(k, 8), IQ4_LANE(k, 9), IQ4_LANE(k, 10),           \
        IQ4_LANE(k, 11), IQ4_LANE(k, 12), IQ4_LANE(k, 13), IQ4_LANE(k, 14), IQ4_LANE(k, 15)

static const _Alignas(64) int32_t iq4_rows[16 * IQ4_TRIALS] = {
    IQ4_ROW(0),  IQ4_ROW(1),  IQ4_ROW(2),  IQ4_ROW(3), IQ4_ROW(4),  IQ4_ROW(5),
    IQ4_ROW(6),  IQ4_ROW(7),  IQ4_ROW(8),  IQ4_ROW(9), IQ4_ROW(10), IQ4_ROW(11),
    IQ4_ROW(12), IQ4_ROW(13), IQ4_ROW(14), IQ4_ROW(15)};

/* Where rows begin: 16 * k. The bits of turns have k above 14 of its fraction. */
LANE vi iq4_rows_of(vf turn) {
    return vi_and(vi_right(vf_bits(turn), 14 - 4), vi_set(0xf0));
}

/* Sums of a group with its trials in lanes: two vectors of them. */
LANE void iq4_add_up_one(const struct iq4_elements *e, int32_t (*row)[VF_LANES], int g, float *qx,
                         float *q2) {
    vf zero = vf_set(0.0f);
    vf qx_a = zero, qx_b = zero, q2_a = zero, q2_b = zero;
    UNROLL(4)
    for (int i = 0; i < IQ4_GROUP; i++) {
        vi a = vi_load(iq4_rows + row[i][g]);
        vi b = vi_load(iq4_rows + row[i][g] + 8);
        qx_a = vf_add(qx_a, vf_pick(e->qx[i][g], a));
        qx_b = vf_add(qx_b, vf_pick(e->qx[i][g], b));
        q2_a = vf_add(q2_a, vf_turned(e->q2[i][g], e->bits[i][g], a));
        q2_b = vf_add(q2_b, vf_turned(e->q2[i][g], e->bits[i][g], b));
    }
    vf_store(qx, qx_a);
    vf_store(qx + 8, qx_b);
    vf_store(q2, q2_a);
    vf_store(q2 + 8, q2_b);
}

LANE void iq4_add_up(const struct iq4_elements *e, struct iq4_sums *s) {
    int32_t row[IQ4_GROUP][VF_LANES];
    float qx[VF_LANES][IQ4_TRIALS], q2[VF_LANES][IQ4_TRIALS];
    for (int i = 0; i < IQ4_GROUP; i++) {
        vi_store(row[i], iq4_rows_of(vf_load(e->turn[i])));
    }
    for (int g = 0; g < VF_LANES; g++) {
        iq4_add_up_one(e, row, g, qx[g], q2[g]);
    }
    load_groups(s->qx, qx[0], IQ4_TRIALS, VF_LANES, IQ4_TRIALS);
    load_groups(s->q2, q2[0], IQ4_TRIALS, VF_LANES, IQ4_TRIALS);
    for (int t = 1; t < IQ4_TRIALS; t++) {
        s->scale[t] = vf_div(s->qx[t], s->q2[t]);
    }
}

#endif
