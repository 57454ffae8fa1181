/*
 * Q4_0, Q4_1, Q5_0 and Q5_1 with importance: every block is a group of 32, and a lane of a vector.
 * The layouts are drawn in ref/. Private to quantizers/.
 */
#ifndef UQFF_LANES_QUANTIZE_WEIGHTED_H
#define UQFF_LANES_QUANTIZE_WEIGHTED_H

#include "lanes/groups.h"
#include "lanes/search.h"
#include "lanes/search_qkx.h"
#include "lanes/search_qx.h"

enum { WEIGHTED_LENGTH = 32, WEIGHTED_VECTORS = 4, WEIGHTED_CHUNK = VF_LANES * WEIGHTED_VECTORS };

/* The mean square of the row. */
LANE float row_sigma2(const float *x, size_t n) {
    return serial_sum_of_squares(x, n) / (float)n;
}

/* Values and weights of up to a vector of blocks. */
LANE void weighted_load(vf *x, vf *w, const float *from, const float *importance, int blocks,
                        float sigma2) {
    load_groups(x, from, WEIGHTED_LENGTH, blocks, WEIGHTED_LENGTH);
    load_groups(w, importance, WEIGHTED_LENGTH, blocks, WEIGHTED_LENGTH);
    for (int i = 0; i < WEIGHTED_LENGTH; i++) {
        w[i] = weigh(x[i], w[i], vf_set(sigma2));
    }
}

/* nearest_int(iscale * (x - base), lo, hi) + bias of a block. */
LANE vb weighted_codes(const float *x, float iscale, float base, float lo, float hi, int bias) {
    vi q[32 / VF_LANES];
    for (int i = 0; i < 32; i += VF_LANES) {
        vf v = vf_mul(vf_set(iscale), vf_sub(vf_load(x + i), vf_set(base)));
        q[i / VF_LANES] = vi_add(vf_nearest_int(v, lo, hi), vi_set(bias));
    }
    return vb_of_codes(q);
}

/* Stores codes of four bits, or of five with the fifth ones before. */
LANE void weighted_store_codes(unsigned char *y, vb codes, bool five_bits) {
    if (five_bits) {
        uqff_store_le32(y, vb_fifth_bits(codes));
        y += 4;
    }
    vb_store_nibbles(y, vb_and(codes, vb_set(0x0f)));
}

/* ---- Q4_0, Q5_0 ------------------------------------------------------------------------------ */

LANE void weighted_symmetric(const struct qx_type *t, bool five_bits, const float *x,
                             unsigned char *y, size_t n, const float *importance) {
    const size_t bytes = five_bits ? 22 : 18;
    const size_t ahead = 2 * VF_LANES * WEIGHTED_LENGTH * sizeof *x; /* of what is searched next */
    float sigma2 = row_sigma2(x, n);
    for (size_t i = 0; i < n;) {
        size_t left = (n - i) / WEIGHTED_LENGTH;
        int blocks = left < 2 * VF_LANES ? (int)left : 2 * VF_LANES;
        int vectors = (blocks + VF_LANES - 1) / VF_LANES;
        struct qx_lanes q[2];
        float scale[2 * VF_LANES], iscale[2 * VF_LANES];
        for (int v = 0; v < vectors; v++) {
            size_t at = i + VF_LANES * WEIGHTED_LENGTH * (size_t)v;
            weighted_load(q[v].x, q[v].w, x + at, importance + at, blocks - VF_LANES * v, sigma2);
            fetch(x + at, ahead, ahead / 2);
        }
        qx_search(q, vectors, WEIGHTED_LENGTH, t, true);
        fetch_after(y, 2 * VF_LANES * bytes); /* where results go, too: storing them would wait */
        for (int v = 0; v < vectors; v++) {
            vf_store(scale + VF_LANES * v, q[v].scale);
            vf_store(iscale + VF_LANES * v, q[v].iscale);
        }
        for (int k = 0; k < blocks; k++, i += WEIGHTED_LENGTH, y += bytes) {
            store_f16(y, scale[k]);
            /* Subtracting 0 changes nothing. */
            vb codes =
                weighted_codes(x + i, iscale[k], 0.0f, -t->nmax, t->nmax - 1.0f, (int)t->nmax);
            weighted_store_codes(y + 2, codes, five_bits);
            fetch(importance + i, ahead, WEIGHTED_LENGTH * sizeof *x);
        }
    }
}

SIMD void LEVEL(quantize_q4_0_weighted)(const float *x, unsigned char *y, size_t n,
                                        const float *importance) {
    static const struct qx_type type = QX_TYPE(8.0f);
    weighted_symmetric(&type, false, x, y, n, importance);
}

SIMD void LEVEL(quantize_q5_0_weighted)(const float *x, unsigned char *y, size_t n,
                                        const float *importance) {
    static const struct qx_type type = QX_TYPE(16.0f);
    weighted_symmetric(&type, true, x, y, n, importance);
}

/* ---- Q4_1, Q5_1 ------------------------------------------------------------------------------ */

LANE void weighted_minimum(const struct uqff_qkx *how, bool five_bits, const float *x,
                           unsigned char *y, size_t n, const float *importance) {
    const size_t bytes = five_bits ? 24 : 20;
    float sigma2 = row_sigma2(x, n);
    for (size_t i = 0; i < n;) {
        size_t left = (n - i) / WEIGHTED_LENGTH;
        int blocks = left < WEIGHTED_CHUNK ? (int)left : WEIGHTED_CHUNK;
        int vectors = (blocks + VF_LANES - 1) / VF_LANES;
        struct qkx_lanes q[WEIGHTED_VECTORS];
        float scale[WEIGHTED_CHUNK], min[WEIGHTED_CHUNK], iscale[WEIGHTED_CHUNK],
            base[WEIGHTED_CHUNK];
        for (int v = 0; v < vectors; v++) {
            size_t at = i + VF_LANES * WEIGHTED_LENGTH * (size_t)v;
            weighted_load(q[v].x, q[v].w, x + at, importance + at, blocks - VF_LANES * v, sigma2);
        }
        size_t ahead = VF_LANES * (size_t)vectors;
        struct ahead values = {x + i, ahead * WEIGHTED_LENGTH * sizeof *x,
                               ahead * WEIGHTED_LENGTH * sizeof *x};
        struct ahead results = {y, ahead * bytes, ahead * bytes};
        qkx_search(q, vectors, WEIGHTED_LENGTH, how, values, results);
        for (int v = 0; v < vectors; v++) {
            vf_store(scale + VF_LANES * v, q[v].scale);
            vf_store(min + VF_LANES * v, q[v].min);
            vf_store(iscale + VF_LANES * v, q[v].iscale);
            vf_store(base + VF_LANES * v, q[v].base);
        }
        for (int k = 0; k < blocks; k++, i += WEIGHTED_LENGTH, y += bytes) {
            store_f16(y, scale[k]);
            store_f16(y + 2, min[k]);
            vb codes = weighted_codes(x + i, iscale[k], base[k], 0.0f, (float)how->nmax, 0);
            weighted_store_codes(y + 4, codes, five_bits);
        }
    }
}

SIMD void LEVEL(quantize_q4_1_weighted)(const float *x, unsigned char *y, size_t n,
                                        const float *importance) {
    static const struct uqff_qkx how = {15, -0.9f, 0.05f, 36, false};
    weighted_minimum(&how, false, x, y, n, importance);
}

SIMD void LEVEL(quantize_q5_1_weighted)(const float *x, unsigned char *y, size_t n,
                                        const float *importance) {
    static const struct uqff_qkx how = {31, -0.9f, 0.05f, 36, false};
    weighted_minimum(&how, true, x, y, n, importance);
}

#endif
