/*
 * Q2_K, Q4_K and Q5_K: groups with scale and minimum. The layouts are drawn in ref/. Private to
 * quantizers/.
 *
 * As many super-blocks as there are lanes go through together:
 *   search    groups as lanes: QKX gives each group a scale and a minimum
 *   steps     d and dmin of each super-block, and small codes for scales and minima;
 *             with importance, super-blocks are the lanes
 *   finish    the second rounding, values as lanes, and packing
 */
#ifndef UQFF_LANES_QUANTIZE_MINIMUM_H
#define UQFF_LANES_QUANTIZE_MINIMUM_H

#include "lanes/groups.h"
#include "lanes/search.h"
#include "lanes/search_qkx.h"
#include "lanes/search_qp.h"
#include "ref/pack.h"

enum { SUPER_BLOCK = 256, CHUNK = VF_LANES };

/* Vectors of groups that QKX works on at a time. Four keep the divisions of two hidden, and their
 * values in the first level cache. */
enum { QKX_VECTORS = 4 };

struct minimum_type {
    struct uqff_qkx plain, weighted;
    int groups, group; /* groups * group = 256 */
    float scale_max;   /* largest code of a scale */
    float sigma_factor;
    size_t bytes, d_at; /* of a super-block; where d is in it, with dmin behind */
};

/* What is known of some super-blocks and their groups; those of all stand one after the other. */
struct minimum_chunk {
    float scale[CHUNK * 16], minimum[CHUNK * 16]; /* as found */
    float iscale[CHUNK * 16], base[CHUNK * 16];   /* what the codes of the search are made from */
    float sum_w[CHUNK * 16];
    float s[CHUNK * 16], m[CHUNK * 16]; /* codes of scales and minima */
    float d[CHUNK], dmin[CHUNK];
    /* Scales, their inverses and minima as they will be read back. */
    float step[CHUNK * 16], inverse[CHUNK * 16], offset[CHUNK * 16];
};

/* One super-block on the way out: its part of the above. */
struct minimum_block {
    const float *x, *iscale, *base;
    const float *step, *inverse, *offset;
    uint8_t s[16], m[16];
};

/* ---- search ---------------------------------------------------------------------------------- */

/* Weights from importance. */
LANE void minimum_weigh(struct qkx_lanes *q, const float *importance, size_t stride, int count,
                        int n, vf sigma2) {
    load_groups(q->w, importance, stride, count, n);
    for (int i = 0; i < n; i++) {
        q->w[i] = weigh(q->x[i], q->w[i], sigma2);
    }
}

/* Weights without importance, for two vectors side by side: |x|, with groups of 32 above the root
 * of the mean square. */
LANE void minimum_weigh_plain(struct qkx_lanes *a, struct qkx_lanes *b, int n) {
    vf s = vf_set(0.0f);
    vf t = s;
    if (n == 32) {
        for (int i = 0; i < n; i++) {
            s = vf_add(s, vf_mul(a->x[i], a->x[i]));
            t = vf_add(t, vf_mul(b->x[i], b->x[i]));
        }
        s = vf_sqrt(vf_div(s, vf_set(32.0f)));
        t = vf_sqrt(vf_div(t, vf_set(32.0f)));
    }
    for (int i = 0; i < n; i++) {
        a->w[i] = vf_add(s, vf_abs(a->x[i]));
        b->w[i] = vf_add(t, vf_abs(b->x[i]));
    }
}

/* What there is one of in each super-block, for the groups from `first` on: those of one
 * super-block, or of two. */
LANE vf minimum_spread(const struct minimum_type *t, const float of_block[CHUNK], int first) {
    vf v = vf_set(of_block[first / t->groups]);
#if VF_LANES > 8
    if (t->groups < VF_LANES) {
        v = vf_select((vm)0xff00, vf_set(of_block[first / t->groups + 1]), v);
    }
#endif
    return v;
}

/* Of the next chunk, what stands where the given vectors of groups are in this one: `bytes` are
 * those of a super-block. */
LANE struct ahead minimum_ahead(const struct minimum_type *t, const void *p, size_t bytes,
                                int first, int count) {
    size_t at = bytes * (size_t)first / (size_t)t->groups;
    size_t size = bytes * (size_t)(count * VF_LANES) / (size_t)t->groups;
    return (struct ahead){p, CHUNK * bytes + at, size};
}

/* y is where the super-blocks will be stored. */
LANE void minimum_search(const struct minimum_type *t, const float *x, const float *importance,
                         int blocks, const unsigned char *y, struct minimum_chunk *out) {
    struct qkx_lanes q[QKX_VECTORS];
    float sigma2[CHUNK] = {0.0f};
    if (importance) {
        vf squares = sums_of_squares(x, SUPER_BLOCK, blocks, SUPER_BLOCK);
        squares = vf_mul(vf_set(t->sigma_factor), squares);
        vf_store(sigma2, vf_div(squares, vf_set((float)SUPER_BLOCK)));
    }
    int n = t->group;
    int groups = blocks * t->groups;
    for (int first = 0; first < groups; first += QKX_VECTORS * VF_LANES) {
        int count = 0;
        for (int g = first; count < QKX_VECTORS && g < groups; g += VF_LANES, count++) {
            int here = groups - g < VF_LANES ? groups - g : VF_LANES;
            load_groups(q[count].x, x + g * n, (size_t)n, here, n);
            if (importance) {
                minimum_weigh(&q[count], importance + g * n, (size_t)n, here, n,
                              minimum_spread(t, sigma2, g));
            }
        }
        for (int k = 0; !importance && k < count; k += 2) {
            minimum_weigh_plain(&q[k], &q[k + (k + 1 < count)], n);
        }
        struct ahead values = minimum_ahead(t, x, 256 * sizeof *x, first, count);
        struct ahead results = minimum_ahead(t, y, t->bytes, first, count);
        qkx_search(q, count, n, importance ? &t->weighted : &t->plain, values, results);
        for (int k = 0; k < count; k++) {
            int g = first + k * VF_LANES;
            vf_store(out->scale + g, q[k].scale);
            vf_store(out->minimum + g, vf_neg(q[k].min));
            vf_store(out->iscale + g, q[k].iscale);
            vf_store(out->base + g, q[k].base);
            vf_store(out->sum_w + g, q[k].sum_w);
        }
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* uqff_round_scales(). The codes of fewer groups than lanes have others behind, to be written over.
 */
LANE float round_scales(int groups, float nmax, const float *scales, float *codes) {
    const int step = groups < VF_LANES ? groups : VF_LANES;
    vf largest = vf_set(0.0f);
    for (int g = 0; g < groups; g += step) {
        largest = vf_max(vf_load_first(scales + g, step), largest);
    }
    float max = vf_largest(largest);
    float iscale = max > 0.0f ? nmax / max : 0.0f;
    for (int g = 0; g < groups; g += step) {
        vf v = vf_mul(vf_set(iscale), vf_load_first(scales + g, step));
        vf_store(codes + g, vf_nearest(v, 0.0f, nmax));
    }
    return max / nmax;
}

LANE void minimum_steps_plain(const struct minimum_type *t, int blocks, struct minimum_chunk *c) {
    for (int b = 0; b < blocks; b++) {
        int g = b * t->groups;
        c->d[b] = round_scales(t->groups, t->scale_max, c->scale + g, c->s + g);
        c->dmin[b] = round_scales(t->groups, t->scale_max, c->minimum + g, c->m + g);
    }
}

/* Codes with super-blocks as lanes, as they stand in a chunk. */
LANE void minimum_put_codes(const struct minimum_type *t, const vf *codes, float *to) {
    for (int g = 0; g < t->groups; g += VF_LANES) {
        float row[VF_LANES][VF_LANES];
        const float *rows[VF_LANES];
        vf out[VF_LANES];
        for (int k = 0; k < VF_LANES; k++) {
            rows[k] = row[k];
            vf_store(row[k], codes[g + k < t->groups ? g + k : g]);
        }
        vf_load_columns(out, rows);
        for (int b = 0; b < CHUNK; b++) {
            vf_store(to + b * t->groups + g, out[b]);
        }
    }
}

LANE void minimum_steps_weighted(const struct minimum_type *t, int blocks,
                                 struct minimum_chunk *c) {
    struct qp_lanes scales, minima;
    size_t groups = (size_t)t->groups;
    load_groups(scales.x, c->scale, groups, blocks, t->groups);
    load_groups(minima.x, c->minimum, groups, blocks, t->groups);
    load_groups(scales.w, c->sum_w, groups, blocks, t->groups);
    for (int g = 0; g < t->groups; g++) {
        minima.w[g] = scales.w[g];
    }
    qp_search(&scales, &minima, t->groups, t->scale_max);
    vf_store(c->d, scales.step);
    vf_store(c->dmin, minima.step);
    minimum_put_codes(t, scales.l, c->s);
    minimum_put_codes(t, minima.l, c->m);
}

/* Stores d and dmin of the super-blocks, and takes scales and minima as they come back. */
LANE void minimum_store_steps(const struct minimum_type *t, int blocks, struct minimum_chunk *c,
                              unsigned char *y) {
    y += t->d_at;
    for (int b = 0; b < blocks; b++, y += t->bytes) {
        store_f16(y, c->d[b]);
        store_f16(y + 2, c->dmin[b]);
        c->d[b] = load_f16(y);
        c->dmin[b] = load_f16(y + 2);
    }
    for (int g = 0; g < blocks * t->groups; g += VF_LANES) {
        vf step = vf_mul(minimum_spread(t, c->d, g), vf_load(c->s + g));
        vf_store(c->step + g, step);
        vf_store(c->inverse + g, vf_div(vf_set(1.0f), step));
        vf_store(c->offset + g, vf_mul(minimum_spread(t, c->dmin, g), vf_load(c->m + g)));
    }
}

/* ---- finish ---------------------------------------------------------------------------------- */

/* A vector of codes of group g, as uqff_requantize_minimum() rounds: with the stored step 0 they
 * are those of the search. */
LANE vi minimum_codes_of(const struct minimum_block *b, int g, const float *x, float nmax) {
    vf v = vf_load(x);
    if (b->step[g] == 0.0f) {
        v = vf_mul(vf_set(b->iscale[g]), vf_sub(v, vf_set(b->base[g])));
        return vf_nearest_int(v, 0.0f, nmax);
    }
    return vf_round_quotient(vf_add(v, vf_set(b->offset[g])), vf_set(b->step[g]),
                             vf_set(b->inverse[g]), 0.0f, nmax);
}

/* Codes of the 64 values from 64k on. */
LANE void minimum_codes(const struct minimum_type *t, const struct minimum_block *b, int k,
                        vb codes[2]) {
    vi q[64 / VF_LANES];
    UNROLL(64 / VF_LANES)
    for (int i = 0; i < 64 / VF_LANES; i++) {
        int at = 64 * k + VF_LANES * i;
        q[i] = minimum_codes_of(b, at / t->group, b->x + at, (float)t->plain.nmax);
    }
    vb_saturate(q, codes);
    codes[0] = vb_min(codes[0], vb_set(t->plain.nmax));
    codes[1] = vb_min(codes[1], vb_set(t->plain.nmax));
}

/* Super-block k of a chunk. */
LANE struct minimum_block minimum_block_of(const struct minimum_type *t,
                                           const struct minimum_chunk *c, int k, const float *x) {
    int first = k * t->groups;
    struct minimum_block b = {.x = x,
                              .iscale = c->iscale + first,
                              .base = c->base + first,
                              .step = c->step + first,
                              .inverse = c->inverse + first,
                              .offset = c->offset + first};
    for (int g = 0; g < t->groups; g++) {
        b.s[g] = (uint8_t)(int)c->s[first + g];
        b.m[g] = (uint8_t)(int)c->m[first + g];
    }
    return b;
}

typedef void minimum_finish_fn(const struct minimum_type *t, const struct minimum_block *b,
                               unsigned char *y);

/* t and finish are constants where this is called, and the loops become those of the type. */
LANE void minimum_quantize(const struct minimum_type *t, minimum_finish_fn *finish, const float *x,
                           unsigned char *y, size_t n, const float *importance) {
    struct minimum_chunk c = {0};
    for (size_t i = 0; i < n;) {
        size_t left = (n - i) / SUPER_BLOCK;
        int blocks = left < CHUNK ? (int)left : CHUNK;
        if (importance) {
            minimum_search(t, x + i, importance + i, blocks, y, &c);
            minimum_steps_weighted(t, blocks, &c);
        } else {
            minimum_search(t, x + i, NULL, blocks, y, &c);
            minimum_steps_plain(t, blocks, &c);
        }
        minimum_store_steps(t, blocks, &c, y);
        for (int k = 0; k < blocks; k++, i += SUPER_BLOCK, y += t->bytes) {
            struct minimum_block b = minimum_block_of(t, &c, k, x + i);
            finish(t, &b, y);
        }
    }
}

/* ---- Q2_K ------------------------------------------------------------------------------------ */

LANE void finish_q2_k(const struct minimum_type *t, const struct minimum_block *b,
                      unsigned char *y) {
    for (int g = 0; g < 16; g++) {
        y[g] = (unsigned char)(b->s[g] | b->m[g] << 4);
    }
    for (int h = 0; h < 2; h++) {
        vb low[2], high[2];
        minimum_codes(t, b, 2 * h, low);
        minimum_codes(t, b, 2 * h + 1, high);
        low[0] = vb_or(low[0], vb_left(low[1], 2));
        high[0] = vb_or(high[0], vb_left(high[1], 2));
        vb_store(y + 16 + 32 * h, vb_or(low[0], vb_left(high[0], 4)));
    }
}

SIMD void LEVEL(quantize_q2_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    static const struct minimum_type type = {
        {3, -0.5f, 0.1f, 15, true}, {3, -0.9f, 0.05f, 36, false}, .groups = 16, .group = 16,
        .scale_max = 15.0f,         .sigma_factor = 1.0f,         .bytes = 84,  .d_at = 80};
    minimum_quantize(&type, finish_q2_k, x, y, n, importance);
}

/* ---- Q4_K, Q5_K ------------------------------------------------------------------------------ */

LANE void finish_q4_k(const struct minimum_type *t, const struct minimum_block *b,
                      unsigned char *y) {
    pack_scales_6(y + 4, b->s, b->m);
    for (int k = 0; k < 4; k++) {
        vb q[2];
        minimum_codes(t, b, k, q);
        vb_store(y + 16 + 32 * k, vb_or(q[0], vb_left(q[1], 4)));
    }
}

SIMD void LEVEL(quantize_q4_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    static const struct minimum_type type = {
        {15, -1.0f, 0.1f, 20, false}, {15, -0.9f, 0.05f, 36, false}, .groups = 8,  .group = 32,
        .scale_max = 63.0f,           .sigma_factor = 2.0f,          .bytes = 144, .d_at = 0};
    minimum_quantize(&type, finish_q4_k, x, y, n, importance);
}

LANE void finish_q5_k(const struct minimum_type *t, const struct minimum_block *b,
                      unsigned char *y) {
    const vb nibble = vb_set(0x0f);
    const vb bit = vb_set(1);
    pack_scales_6(y + 4, b->s, b->m);
    vb fifth = vb_set(0);
    for (int k = 0; k < 4; k++) {
        vb q[2];
        minimum_codes(t, b, k, q);
        vb_store(y + 48 + 32 * k, vb_or(vb_and(q[0], nibble), vb_left(vb_and(q[1], nibble), 4)));
        fifth = vb_or(fifth, vb_left(vb_and(vb_right(q[0], 4), bit), 2 * k));
        fifth = vb_or(fifth, vb_left(vb_and(vb_right(q[1], 4), bit), 2 * k + 1));
    }
    vb_store(y + 16, fifth);
}

SIMD void LEVEL(quantize_q5_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    static const struct minimum_type type = {
        {31, -0.5f, 0.1f, 15, false}, {31, -0.9f, 0.05f, 36, false}, .groups = 8,  .group = 32,
        .scale_max = 63.0f,           .sigma_factor = 2.0f,          .bytes = 176, .d_at = 0};
    minimum_quantize(&type, finish_q5_k, x, y, n, importance);
}

#endif
