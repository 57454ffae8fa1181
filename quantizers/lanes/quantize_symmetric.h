/*
 * Q3_K and Q6_K: groups of 16 with a signed scale. The layouts are drawn in ref/. Private to
 * quantizers/.
 *
 * The stages are those of quantize_minimum.h. Only Q3_K with importance has use for more than one
 * super-block at a time, for the search among its scales.
 */
#ifndef UQFF_LANES_QUANTIZE_SYMMETRIC_H
#define UQFF_LANES_QUANTIZE_SYMMETRIC_H

#include "lanes/groups.h"
#include "lanes/search.h"
#include "lanes/search_q3.h"
#include "lanes/search_qx.h"

enum {
    SYMMETRIC_LENGTH = 256,
    SYMMETRIC_GROUPS = 16,
    SYMMETRIC_GROUP = 16,
    SYMMETRIC_CHUNK = VF_LANES
};

/* Vectors that hold the groups of a super-block, and the super-blocks that QX takes at a time: two
 * vectors of them. */
enum { SYMMETRIC_VECTORS = SYMMETRIC_GROUPS / VF_LANES, QX_BLOCKS = 2 / SYMMETRIC_VECTORS };

/* What is known of a super-block. Where a group's stored scale is 0, its codes are those of the
 * search: nearest(iscale * x), but for Q3. */
struct symmetric_block {
    const float *x;
    float scale[SYMMETRIC_GROUPS], iscale[SYMMETRIC_GROUPS];
    float step[SYMMETRIC_GROUPS], inverse[SYMMETRIC_GROUPS]; /* of scales as stored */
};

static const struct qx_type qx_type_4 = QX_TYPE(4.0f);
static const struct qx_type qx_type_32 = QX_TYPE(32.0f);

/* Takes the groups of some super-blocks through QX, with given weights. */
LANE void symmetric_search(struct symmetric_block *b, int blocks, struct qx_lanes q[2],
                           const struct qx_type *t) {
    int vectors = blocks * SYMMETRIC_VECTORS;
    qx_search(q, vectors, SYMMETRIC_GROUP, t, true);
    for (int v = 0; v < vectors; v++) {
        int g = v % SYMMETRIC_VECTORS * VF_LANES;
        vf_store(b[v / SYMMETRIC_VECTORS].scale + g, q[v].scale);
        vf_store(b[v / SYMMETRIC_VECTORS].iscale + g, q[v].iscale);
    }
}

/* ---- second rounding ------------------------------------------------------------------------- */

/* A vector of codes of group g, as uqff_requantize_symmetric() rounds. */
LANE vi symmetric_codes_of(const struct symmetric_block *b, int g, int i, float nmax) {
    vf x = vf_load(b->x + i);
    vf v = b->step[g] == 0.0f ? vf_mul(vf_set(b->iscale[g]), x) : vf_div(x, vf_set(b->step[g]));
    return vi_add(vf_nearest_int(v, -nmax, nmax - 1.0f), vi_set((int)nmax));
}

/* Whether a float is 0 or -0, asked of units that are idle while lanes multiply. */
LANE bool is_zero(float v) {
    return float_bits(v) << 1 == 0;
}

/* Codes of the 32 values from 32k on: of two groups.
 *
 * Multiplying by the inverse is much faster than dividing, and differs by less than 2^-22 of the
 * quotient. That tells two codes apart only near the middle between them; if some value is there,
 * all are divided. Both overflow together, or to beyond the limits, and neither can underflow by as
 * much as 1/2. */
LANE vb symmetric_codes(const struct symmetric_block *b, int k, float nmax) {
    const vf magic = vf_set(0x1.8p23f + nmax); /* rounds, and leaves the code in the low bits */
    vi q[32 / VF_LANES];
    vf off = vf_set(0.0f);
    for (int i = 0; i < 32; i += VF_LANES) {
        int at = 32 * k + i;
        vf v = vf_mul(vf_load(b->x + at), vf_set(b->inverse[at / SYMMETRIC_GROUP]));
        v = vf_min(vf_max(v, vf_set(-nmax)), vf_set(nmax - 1.0f));
        vf shifted = vf_add(v, magic);
        off = vf_max(vf_abs(vf_sub(v, vf_sub(shifted, magic))), off);
        q[i / VF_LANES] = vf_bits(shifted);
    }
    const float *step = b->step + 2 * k;
    if (vm_any(vf_gt(off, vf_set(0.49998f))) || is_zero(step[0]) || is_zero(step[1])) {
        for (int i = 0; i < 32; i += VF_LANES) {
            int at = 32 * k + i;
            q[i / VF_LANES] = symmetric_codes_of(b, at / SYMMETRIC_GROUP, at, nmax);
        }
    }
    return vb_of_low_bytes(q);
}

/* signed_maximum() of sixteen scales. */
LANE float largest_scale(const float *scales) {
    vi magnitude = vi_set(0x7fffffff);
    vi m[SYMMETRIC_VECTORS], most = vi_set(0);
    for (int v = 0; v < SYMMETRIC_VECTORS; v++) {
        m[v] = vi_and(vf_bits(vf_load(scales + v * VF_LANES)), magnitude);
        most = vi_max(m[v], most);
    }
    int largest = vi_largest(most);
    if (largest == 0) {
        return 0.0f;
    }
    vi below = vi_set(largest - 1);
    unsigned equal = 0;
    for (int v = 0; v < SYMMETRIC_VECTORS; v++) {
        equal |= vm_bits(vi_gt(m[v], below)) << v * VF_LANES;
    }
    return scales[__builtin_ctz(equal)];
}

/* ---- Q6_K ------------------------------------------------------------------------------------ */

/* Stores scales. Returns false when the super-block counts as zero, and is stored. */
LANE bool q6_k_store_scales(struct symmetric_block *b, unsigned char *y) {
    float largest = largest_scale(b->scale);
    if (fabsf(largest) < UQFF_GROUP_EPSILON) {
        memset(y, 0, 210);
        return false;
    }
    float iscale = -128.0f / largest;
    store_f16(y + 208, 1.0f / iscale);
    vf d = vf_set(load_f16(y + 208));
    for (int g = 0; g < SYMMETRIC_GROUPS; g += VF_LANES) {
        int32_t s[VF_LANES];
        vi code = vf_nearest_int(vf_mul(vf_set(iscale), vf_load(b->scale + g)), -128.0f, 127.0f);
        vf step = vf_mul(d, vi_to_float(code));
        vf_store(b->step + g, step);
        vf_store(b->inverse + g, vf_div(vf_set(1.0f), step));
        vi_store(s, code);
        for (int k = 0; k < VF_LANES; k++) {
            y[192 + g + k] = (unsigned char)s[k];
        }
    }
    return true;
}

LANE void q6_k_store_codes(const struct symmetric_block *b, unsigned char *y) {
    const vb nibble = vb_set(0x0f);
    for (int h = 0; h < 2; h++) {
        vb q[4], high = vb_set(0);
        for (int k = 0; k < 4; k++) {
            q[k] = symmetric_codes(b, 4 * h + k, 32.0f);
            high = vb_or(high, vb_left(vb_and(vb_right(q[k], 4), vb_set(3)), 2 * k));
            q[k] = vb_and(q[k], nibble);
        }
        vb_store(y + 64 * h, vb_or(q[0], vb_left(q[2], 4)));
        vb_store(y + 64 * h + 32, vb_or(q[1], vb_left(q[3], 4)));
        vb_store(y + 128 + 32 * h, high);
    }
}

/* Half of the super-blocks that are searched next. */
LANE void q6_k_fetch(const float *x, const float *importance, size_t half) {
    const size_t size = QX_BLOCKS * SYMMETRIC_LENGTH * sizeof *x;
    fetch(x, size + half * size / 2, size / 2);
    if (importance) {
        fetch(importance, size + half * size / 2, size / 2);
    }
}

SIMD void LEVEL(quantize_q6_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    for (size_t i = 0; i < n;) {
        size_t left = (n - i) / SYMMETRIC_LENGTH;
        int blocks = left < QX_BLOCKS ? (int)left : QX_BLOCKS;
        struct symmetric_block b[QX_BLOCKS];
        struct qx_lanes q[2];
        for (int v = 0; v < blocks * SYMMETRIC_VECTORS; v++) {
            size_t at = i + VF_LANES * SYMMETRIC_GROUP * (size_t)v;
            load_groups(q[v].x, x + at, SYMMETRIC_GROUP, VF_LANES, SYMMETRIC_GROUP);
            if (importance) {
                load_groups(q[v].w, importance + at, SYMMETRIC_GROUP, VF_LANES, SYMMETRIC_GROUP);
                continue;
            }
            for (int k = 0; k < SYMMETRIC_GROUP; k++) {
                q[v].w[k] = vf_mul(q[v].x[k], q[v].x[k]);
            }
        }
        q6_k_fetch(x + i, importance ? importance + i : NULL, 0);
        symmetric_search(b, blocks, q, &qx_type_32);
        q6_k_fetch(x + i, importance ? importance + i : NULL, 1);
        fetch_after(y, 210 * QX_BLOCKS); /* where results go, too: storing them would wait */
        /* Scales are long chains of operations: side by side they wait together. */
        bool some[QX_BLOCKS];
        for (int k = 0; k < blocks; k++) {
            some[k] = q6_k_store_scales(&b[k], y + 210 * k);
        }
        for (int k = 0; k < blocks; k++, i += SYMMETRIC_LENGTH, y += 210) {
            b[k].x = x + i;
            if (some[k]) {
                q6_k_store_codes(&b[k], y);
            }
        }
    }
}

/* ---- Q3_K ------------------------------------------------------------------------------------ */

/* Super-blocks that are searched together without importance. */
enum { Q3_BLOCKS = Q3_GROUPS / SYMMETRIC_GROUPS };

/* Scales within -32..31; ref/q3_k.c draws where their bits go. */
LANE void q3_k_pack_scales(unsigned char *y, const vi s[SYMMETRIC_VECTORS]) {
    const uint64_t nibble = 0x0f0f0f0f0f0f0f0f;
    const uint64_t pair = 0x0303030303030303;
    unsigned char bytes[32]; /* the sixteen, twice */
    vi biased[32 / VF_LANES];
    for (int v = 0; v < 32 / VF_LANES; v++) {
        biased[v] = vi_add(s[v % SYMMETRIC_VECTORS], vi_set(32));
    }
    vb_store(bytes, vb_of_codes(biased));
    uint64_t a = uqff_load_le64(bytes);
    uint64_t b = uqff_load_le64(bytes + 8);
    uqff_store_le64(y, (a & nibble) | (b & nibble) << 4);
    /* Bits of S[0..3] and S[8..11] are in place in the lower half, others two to the right in the
     * upper half. */
    uint64_t high = (a >> 4 & pair) | (b >> 4 & pair) << 4;
    uqff_store_le32(y + 8, (uint32_t)(high | high >> 30));
}

/* Scales as small integers, and as they will be read back. */
LANE void q3_k_store_scales(struct symmetric_block *b, float d, const vi s[SYMMETRIC_VECTORS],
                            unsigned char *y) {
    store_f16(y + 108, d);
    d = load_f16(y + 108);
    for (int v = 0; v < SYMMETRIC_VECTORS; v++) {
        vf step = vf_mul(vf_set(d), vi_to_float(s[v]));
        vf_store(b->step + VF_LANES * v, step);
        vf_store(b->inverse + VF_LANES * v, vf_div(vf_set(1.0f), step));
    }
    q3_k_pack_scales(y + 96, s);
}

LANE void q3_k_store_codes(const vb q[8], unsigned char *y) {
    vb third = vb_set(0);
    vb low[2] = {third, third};
    for (int k = 0; k < 8; k++) {
        third = vb_or(third, vb_left(vb_and(vb_right(q[k], 2), vb_set(1)), k));
        low[k / 4] = vb_or(low[k / 4], vb_left(vb_and(q[k], vb_set(3)), k % 4 * 2));
    }
    vb_store(y, third);
    vb_store(y + 32, low[0]);
    vb_store(y + 64, low[1]);
}

/* What there is one of in each super-block. */
struct q3_k_heads {
    float iscale[Q3_BLOCKS]; /* of the scales */
    float d[Q3_BLOCKS];
};

/* Divisions wait long for each other. The loop over them is as long as the arrays, so that the
 * compiler makes it one of vectors. */
LANE void q3_k_find_heads(struct q3_k_heads *h, const float *scales, int blocks) {
    float largest[Q3_BLOCKS] = {0.0f};
    for (int k = 0; k < blocks; k++) {
        largest[k] = largest_scale(scales + SYMMETRIC_GROUPS * k);
    }
    for (int k = 0; k < Q3_BLOCKS; k++) {
        h->iscale[k] = -32.0f / largest[k];
        h->d[k] = largest[k] == 0.0f ? 0.0f : 1.0f / h->iscale[k];
    }
}

/* Groups that are stored with a scale of 0 get the codes of the search. */
LANE void q3_k_take_swept(const struct q3_search *q, int g, const float *step, vb codes[8]) {
    unsigned take = 0;
    for (int k = 0; k < SYMMETRIC_GROUPS; k += VF_LANES) {
        take |= vm_bits(vf_eq(vf_load(step + k), vf_set(0.0f))) << k;
    }
    take &= q3_swept(q, g);
    for (; take != 0; take &= take - 1) {
        int k = __builtin_ctz(take);
        unsigned char bytes[32];
        vb_store(bytes, codes[k / 2]);
        for (int i = 0; i < SYMMETRIC_GROUP; i++) {
            bytes[k % 2 * 16 + i] = (unsigned char)((int)q->codes[g + k][i] + 4);
        }
        codes[k / 2] = vb_load(bytes);
    }
}

/* Up to Q3_BLOCKS super-blocks. */
LANE void q3_k_encode(const float *x, int blocks, unsigned char *y) {
    struct q3_search q;
    struct q3_k_heads h;
    struct symmetric_block b[Q3_BLOCKS];
    fetch_after(y, 110 * Q3_BLOCKS);
    q3_search(&q, x, SYMMETRIC_GROUPS * blocks, 4.0f);
    q3_k_find_heads(&h, q.scale, blocks);
    for (int k = 0; k < blocks; k++) {
        vi s[SYMMETRIC_VECTORS];
        int g = SYMMETRIC_GROUPS * k;
        /* Without a largest scale these are infinity times 0, which rounds to -32. */
        for (int v = 0; v < SYMMETRIC_VECTORS; v++) {
            vf scale = vf_mul(vf_set(h.iscale[k]), vf_load(q.scale + g + VF_LANES * v));
            s[v] = vf_nearest_int(scale, -32.0f, 31.0f);
        }
        b[k].x = x + SYMMETRIC_LENGTH * k;
        memcpy(b[k].iscale, q.iscale + g, sizeof b[k].iscale);
        q3_k_store_scales(&b[k], h.d[k], s, y + 110 * k);
    }
    for (int k = 0; k < blocks; k++, y += 110) {
        vb codes[8];
        q3_fetch(x, (3 * Q3_BLOCKS + k) * SYMMETRIC_GROUPS / 4, SYMMETRIC_GROUPS / 4);
        for (int c = 0; c < 8; c++) {
            codes[c] = symmetric_codes(&b[k], c, 4.0f);
        }
        q3_k_take_swept(&q, SYMMETRIC_GROUPS * k, b[k].step, codes);
        q3_k_store_codes(codes, y);
    }
}

/* With importance, super-blocks are the lanes of the search among scales. */
LANE void q3_k_encode_weighted(const float *x, const float *importance, int blocks,
                               unsigned char *y) {
    struct symmetric_block b[SYMMETRIC_CHUNK];
    struct qx_lanes q[2];
    float sigma2[SYMMETRIC_CHUNK];
    float scales[SYMMETRIC_CHUNK][SYMMETRIC_GROUPS], sum_w[SYMMETRIC_CHUNK][SYMMETRIC_GROUPS];
    vf squares = sums_of_squares(x, SYMMETRIC_LENGTH, blocks, SYMMETRIC_LENGTH);
    squares = vf_mul(vf_set(2.0f), squares);
    vf_store(sigma2, vf_div(squares, vf_set((float)SYMMETRIC_LENGTH)));
    for (int k = 0; k < blocks; k += QX_BLOCKS) {
        int here = blocks - k < QX_BLOCKS ? blocks - k : QX_BLOCKS;
        for (int v = 0; v < here * SYMMETRIC_VECTORS; v++) {
            int block = k + v / SYMMETRIC_VECTORS;
            int at = SYMMETRIC_LENGTH * k + VF_LANES * SYMMETRIC_GROUP * v;
            load_groups(q[v].x, x + at, SYMMETRIC_GROUP, VF_LANES, SYMMETRIC_GROUP);
            load_groups(q[v].w, importance + at, SYMMETRIC_GROUP, VF_LANES, SYMMETRIC_GROUP);
            vf sum = vf_set(0.0f);
            for (int i = 0; i < SYMMETRIC_GROUP; i++) {
                q[v].w[i] = weigh(q[v].x[i], q[v].w[i], vf_set(sigma2[block]));
                sum = vf_add(sum, q[v].w[i]);
            }
            vf_store(sum_w[block] + v % SYMMETRIC_VECTORS * VF_LANES, sum);
        }
        symmetric_search(&b[k], here, q, &qx_type_4);
    }
    for (int k = 0; k < blocks; k++) {
        memcpy(scales[k], b[k].scale, sizeof scales[k]);
    }
    load_groups(q->x, scales[0], SYMMETRIC_GROUPS, blocks, SYMMETRIC_GROUPS);
    load_groups(q->w, sum_w[0], SYMMETRIC_GROUPS, blocks, SYMMETRIC_GROUPS);
    qx_search(q, 1, SYMMETRIC_GROUPS, &qx_type_32, false);
    float d[SYMMETRIC_CHUNK];
    int32_t code[SYMMETRIC_GROUPS][SYMMETRIC_CHUNK];
    vf_store(d, q->scale);
    for (int g = 0; g < SYMMETRIC_GROUPS; g++) {
        vi_store(code[g], vf_nearest_int(vf_mul(q->iscale, q->x[g]), -32.0f, 31.0f));
    }
    for (int k = 0; k < blocks; k++, y += 110) {
        int32_t column[SYMMETRIC_GROUPS];
        vi s[SYMMETRIC_VECTORS];
        vb codes[8];
        for (int g = 0; g < SYMMETRIC_GROUPS; g++) {
            column[g] = code[g][k];
        }
        for (int v = 0; v < SYMMETRIC_VECTORS; v++) {
            s[v] = vi_load(column + VF_LANES * v);
        }
        b[k].x = x + SYMMETRIC_LENGTH * k;
        q3_k_store_scales(&b[k], d[k], s, y);
        for (int c = 0; c < 8; c++) {
            codes[c] = symmetric_codes(&b[k], c, 4.0f);
        }
        q3_k_store_codes(codes, y);
    }
}

SIMD void LEVEL(quantize_q3_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    size_t most = importance ? SYMMETRIC_CHUNK : Q3_BLOCKS;
    for (size_t i = 0; i < n;) {
        size_t left = (n - i) / SYMMETRIC_LENGTH;
        int blocks = (int)(left < most ? left : most);
        if (importance) {
            q3_k_encode_weighted(x + i, importance + i, blocks, y);
        } else {
            q3_k_encode(x + i, blocks, y);
        }
        i += SYMMETRIC_LENGTH * (size_t)blocks;
        y += 110 * blocks;
    }
}

#endif
