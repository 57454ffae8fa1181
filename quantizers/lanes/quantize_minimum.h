/*
 * Q2_K, Q4_K and Q5_K: groups with scale and minimum. The layouts are drawn in ref/. Private to
 * quantizers/.
 *
 * Up to eight super-blocks go through together:
 *   search    groups as lanes: QKX gives each group a scale and a minimum
 *   steps     d and dmin of each super-block, and small codes for scales and minima; with
 * importance super-blocks are lanes here finish    the second rounding, values as lanes, and
 * packing
 */
#ifndef UQFF_LANES_QUANTIZE_MINIMUM_H
#define UQFF_LANES_QUANTIZE_MINIMUM_H

#include "lanes/groups.h"
#include "lanes/search.h"
#include "lanes/search_qkx.h"
#include "lanes/search_qp.h"
#include "ref/pack.h"

enum { SUPER_BLOCK = 256, CHUNK = 8 };

/* Vectors of groups that QKX works on at a time. Four keep the divisions of two hidden, and their
 * values in the first level cache. */
enum { QKX_VECTORS = 4 };

struct minimum_type {
    struct uqff_qkx plain, weighted;
    int groups, group; /* groups * group = 256 */
    float scale_max;   /* largest code of a scale */
    float sigma_factor;
};

/* What is known of up to eight super-blocks and their groups. */
struct minimum_chunk {
    float scale[CHUNK][16], minimum[CHUNK][16]; /* as found */
    float iscale[CHUNK][16], base[CHUNK][16];   /* what the codes of the search are made from */
    float sum_w[CHUNK][16];
    uint8_t s[CHUNK][16], m[CHUNK][16]; /* codes of scales and minima */
    float d[CHUNK], dmin[CHUNK];
};

/* One super-block on the way out: scales and minima as they will be read back. */
struct minimum_block {
    const float *x, *iscale, *base;
    const uint8_t *s, *m;
    float d, dmin;
    float step[16], offset[16];
};

/* ---- search ---------------------------------------------------------------------------------- */

/* Groups 8v .. 8v+7 of a super-block. sigma2 counts with importance only. */
LANE void minimum_load(struct qkx_lanes *q, const struct minimum_type *t, const float *x,
                       const float *importance, float sigma2) {
    int n = t->group;
    load_groups(q->x, x, (size_t)n, 8, n);
    if (importance) {
        load_groups(q->w, importance, (size_t)n, 8, n);
        for (int i = 0; i < n; i++) {
            q->w[i] = weigh(q->x[i], q->w[i], vf_set(sigma2));
        }
        return;
    }
    vf average = vf_set(0.0f);
    if (n == 32) {
        for (int i = 0; i < n; i++) {
            average = vf_add(average, vf_mul(q->x[i], q->x[i]));
        }
        average = vf_sqrt(vf_div(average, vf_set(32.0f)));
    }
    for (int i = 0; i < n; i++) {
        q->w[i] = vf_add(average, vf_abs(q->x[i]));
    }
}

LANE void minimum_search(const struct minimum_type *t, const float *x, const float *importance,
                         int blocks, struct minimum_chunk *out) {
    struct qkx_lanes q[QKX_VECTORS];
    float sigma2[8] = {0.0f};
    if (importance) {
        vf squares = sums_of_squares(x, SUPER_BLOCK, blocks, SUPER_BLOCK);
        squares = vf_mul(vf_set(t->sigma_factor), squares);
        vf_store(sigma2, vf_div(squares, vf_set((float)SUPER_BLOCK)));
    }
    int a_block = t->groups / 8; /* vectors */
    int vectors = blocks * a_block;
    for (int first = 0; first < vectors; first += QKX_VECTORS) {
        int count = vectors - first < QKX_VECTORS ? vectors - first : QKX_VECTORS;
        for (int k = 0; k < count; k++) {
            int at = (first + k) * 8 * t->group;
            minimum_load(&q[k], t, x + at, importance ? importance + at : NULL,
                         sigma2[(first + k) / a_block]);
        }
        qkx_search(q, count, t->group, importance ? &t->weighted : &t->plain);
        for (int k = 0; k < count; k++) {
            int b = (first + k) / a_block;
            int g = (first + k) % a_block * 8;
            vf_store(out->scale[b] + g, q[k].scale);
            vf_store(out->minimum[b] + g, vf_neg(q[k].min));
            vf_store(out->iscale[b] + g, q[k].iscale);
            vf_store(out->base[b] + g, q[k].base);
            vf_store(out->sum_w[b] + g, q[k].sum_w);
        }
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* uqff_round_scales() */
LANE float round_scales(int groups, float nmax, const float *scales, uint8_t *codes) {
    vf largest = vf_set(0.0f);
    for (int g = 0; g < groups; g += 8) {
        largest = vf_max(vf_load(scales + g), largest);
    }
    float max = vf_largest(largest);
    float iscale = max > 0.0f ? nmax / max : 0.0f;
    for (int g = 0; g < groups; g += 8) {
        int32_t code[8];
        vi_store(code, vf_nearest_int(vf_mul(vf_set(iscale), vf_load(scales + g)), 0.0f, nmax));
        for (int i = 0; i < 8; i++) {
            codes[g + i] = (uint8_t)code[i];
        }
    }
    return max / nmax;
}

LANE void minimum_steps_plain(const struct minimum_type *t, int blocks, struct minimum_chunk *c) {
    for (int b = 0; b < blocks; b++) {
        c->d[b] = round_scales(t->groups, t->scale_max, c->scale[b], c->s[b]);
        c->dmin[b] = round_scales(t->groups, t->scale_max, c->minimum[b], c->m[b]);
    }
}

LANE void minimum_steps_weighted(const struct minimum_type *t, int blocks,
                                 struct minimum_chunk *c) {
    struct qp_lanes scales, minima;
    load_groups(scales.x, c->scale[0], 16, blocks, t->groups);
    load_groups(minima.x, c->minimum[0], 16, blocks, t->groups);
    load_groups(scales.w, c->sum_w[0], 16, blocks, t->groups);
    for (int g = 0; g < t->groups; g++) {
        minima.w[g] = scales.w[g];
    }
    qp_search(&scales, &minima, t->groups, t->scale_max);
    vf_store(c->d, scales.step);
    vf_store(c->dmin, minima.step);
    for (int g = 0; g < t->groups; g++) {
        float s[8], m[8];
        vf_store(s, scales.l[g]);
        vf_store(m, minima.l[g]);
        for (int b = 0; b < blocks; b++) {
            c->s[b][g] = (uint8_t)s[b];
            c->m[b][g] = (uint8_t)m[b];
        }
    }
}

/* ---- finish ---------------------------------------------------------------------------------- */

/* Eight codes of group g, as uqff_requantize_minimum() rounds: with the stored step 0 they are
 * those of the search. */
LANE vi minimum_codes_8(const struct minimum_block *b, int g, const float *x, float nmax) {
    vf v = vf_load(x);
    if (b->step[g] == 0.0f) {
        v = vf_mul(vf_set(b->iscale[g]), vf_sub(v, vf_set(b->base[g])));
    } else {
        v = vf_div(vf_add(v, vf_set(b->offset[g])), vf_set(b->step[g]));
    }
    return vf_nearest_int(v, 0.0f, nmax);
}

/* Codes of the 32 values from 32k on. */
LANE vb minimum_codes(const struct minimum_type *t, const struct minimum_block *b, int k) {
    float nmax = (float)t->plain.nmax;
    const float *x = b->x + 32 * k;
    int first = 32 * k / t->group;
    int second = (32 * k + 16) / t->group;
    return vb_of_codes(minimum_codes_8(b, first, x, nmax), minimum_codes_8(b, first, x + 8, nmax),
                       minimum_codes_8(b, second, x + 16, nmax),
                       minimum_codes_8(b, second, x + 24, nmax));
}

/* Stores d and dmin, and takes scales and minima as they come back. */
LANE void minimum_store_steps(const struct minimum_type *t, struct minimum_block *b,
                              unsigned char *d, unsigned char *dmin) {
    store_f16(d, b->d);
    store_f16(dmin, b->dmin);
    float step = load_f16(d);
    float offset = load_f16(dmin);
    for (int g = 0; g < t->groups; g++) {
        b->step[g] = step * (float)b->s[g];
        b->offset[g] = offset * (float)b->m[g];
    }
}

typedef void minimum_finish_fn(const struct minimum_type *t, struct minimum_block *b,
                               unsigned char *y);

/* t and finish are constants where this is called, and the loops become those of the type. */
LANE void minimum_quantize(const struct minimum_type *t, minimum_finish_fn *finish, size_t bytes,
                           const float *x, unsigned char *y, size_t n, const float *importance) {
    struct minimum_chunk c;
    for (size_t i = 0; i < n;) {
        size_t left = (n - i) / SUPER_BLOCK;
        int blocks = left < CHUNK ? (int)left : CHUNK;
        if (importance) {
            minimum_search(t, x + i, importance + i, blocks, &c);
            minimum_steps_weighted(t, blocks, &c);
        } else {
            minimum_search(t, x + i, NULL, blocks, &c);
            minimum_steps_plain(t, blocks, &c);
        }
        for (int k = 0; k < blocks; k++, i += SUPER_BLOCK, y += bytes) {
            struct minimum_block b = {.x = x + i,
                                      .iscale = c.iscale[k],
                                      .base = c.base[k],
                                      .s = c.s[k],
                                      .m = c.m[k],
                                      .d = c.d[k],
                                      .dmin = c.dmin[k]};
            finish(t, &b, y);
        }
    }
}

/* ---- Q2_K ------------------------------------------------------------------------------------ */

LANE void finish_q2_k(const struct minimum_type *t, struct minimum_block *b, unsigned char *y) {
    minimum_store_steps(t, b, y + 80, y + 82);
    for (int g = 0; g < 16; g++) {
        y[g] = (unsigned char)(b->s[g] | b->m[g] << 4);
    }
    for (int h = 0; h < 2; h++) {
        vb q0 = minimum_codes(t, b, 4 * h);
        vb q1 = minimum_codes(t, b, 4 * h + 1);
        vb q2 = minimum_codes(t, b, 4 * h + 2);
        vb q3 = minimum_codes(t, b, 4 * h + 3);
        vb_store(y + 16 + 32 * h,
                 vb_or(vb_or(q0, vb_left(q1, 2)), vb_or(vb_left(q2, 4), vb_left(q3, 6))));
    }
}

SIMD void LEVEL(quantize_q2_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    static const struct minimum_type type = {
        {3, -0.5f, 0.1f, 15, true}, {3, -0.9f, 0.05f, 36, false}, .groups = 16, .group = 16,
        .scale_max = 15.0f,         .sigma_factor = 1.0f};
    minimum_quantize(&type, finish_q2_k, 84, x, y, n, importance);
}

/* ---- Q4_K, Q5_K ------------------------------------------------------------------------------ */

LANE void finish_q4_k(const struct minimum_type *t, struct minimum_block *b, unsigned char *y) {
    minimum_store_steps(t, b, y, y + 2);
    pack_scales_6(y + 4, b->s, b->m);
    for (int k = 0; k < 4; k++) {
        vb low = minimum_codes(t, b, 2 * k);
        vb high = minimum_codes(t, b, 2 * k + 1);
        vb_store(y + 16 + 32 * k, vb_or(low, vb_left(high, 4)));
    }
}

SIMD void LEVEL(quantize_q4_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    static const struct minimum_type type = {
        {15, -1.0f, 0.1f, 20, false}, {15, -0.9f, 0.05f, 36, false}, .groups = 8, .group = 32,
        .scale_max = 63.0f,           .sigma_factor = 2.0f};
    minimum_quantize(&type, finish_q4_k, 144, x, y, n, importance);
}

LANE void finish_q5_k(const struct minimum_type *t, struct minimum_block *b, unsigned char *y) {
    const vb nibble = vb_set(0x0f);
    const vb bit = vb_set(1);
    minimum_store_steps(t, b, y, y + 2);
    pack_scales_6(y + 4, b->s, b->m);
    vb fifth = vb_set(0);
    for (int k = 0; k < 4; k++) {
        vb low = minimum_codes(t, b, 2 * k);
        vb high = minimum_codes(t, b, 2 * k + 1);
        vb_store(y + 48 + 32 * k, vb_or(vb_and(low, nibble), vb_left(vb_and(high, nibble), 4)));
        fifth = vb_or(fifth, vb_left(vb_and(vb_right(low, 4), bit), 2 * k));
        fifth = vb_or(fifth, vb_left(vb_and(vb_right(high, 4), bit), 2 * k + 1));
    }
    vb_store(y + 16, fifth);
}

SIMD void LEVEL(quantize_q5_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    static const struct minimum_type type = {
        {31, -0.5f, 0.1f, 15, false}, {31, -0.9f, 0.05f, 36, false}, .groups = 8, .group = 32,
        .scale_max = 63.0f,           .sigma_factor = 2.0f};
    minimum_quantize(&type, finish_q5_k, 176, x, y, n, importance);
}

#endif
