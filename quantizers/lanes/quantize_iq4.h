/*
 * IQ4_NL and IQ4_XS. The layouts are drawn in ref/. Private to quantizers/.
 */
#ifndef UQFF_LANES_QUANTIZE_IQ4_H
#define UQFF_LANES_QUANTIZE_IQ4_H

#include "lanes/search.h"
#include "lanes/search_iq4.h"
#include "ref/number.h"

enum { IQ4_CHUNK = 2 * VF_LANES * IQ4_GROUP, IQ4_SUPER = 256 };

/* inverse() */
LANE vf iq4_inverse(vf d) {
    vf r = vf_div(vf_set(1.0f), d);
    return vf_keep(vf_lt(vf_abs(r), vf_set(INFINITY)), r);
}

LANE void iq4_nl_rows(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (size_t i = 0; i < n; i += IQ4_CHUNK) {
        int here = n - i < IQ4_CHUNK ? (int)(n - i) : IQ4_CHUNK;
        int blocks = here / IQ4_GROUP;
        float d[2 * VF_LANES], id[2 * VF_LANES];
        struct iq4_weights w = {importance ? importance + i : NULL, NULL, IQ4_CHUNK * sizeof *x};
        iq4_search(x + i, w, blocks, d);
        fetch_after(y, IQ4_CHUNK / IQ4_GROUP * 18); /* where results go: storing would wait */
        vf_store(id, iq4_inverse(vf_load(d)));
        vf_store(id + VF_LANES, iq4_inverse(vf_load(d + VF_LANES)));
        for (int b = 0; b < blocks; b++, y += 18) {
            store_f16(y, d[b]);
            vb_store_nibbles(y + 2, iq4_codes(x + i + IQ4_GROUP * b, id[b]));
        }
    }
}

/* Stores the scales of a super-block; id has inverses of those as they will be read back. As
 * encode() of ref/iq4_xs.c. */
LANE void iq4_xs_store_scales(const float scales[8], float id[VF_LANES], unsigned char *y) {
    float d = -signed_maximum(8, scales) / 32.0f;
    vf l = vf_nearest(vf_mul(vf_set(inverse(d)), vf_load_first(scales, 8)), -32.0f, 31.0f);
    float s[VF_LANES];
    vf_store(id, iq4_inverse(vf_mul(vf_set(d), l)));
    vf_store(s, l);
    unsigned high = 0;
    for (int g = 0; g < 8; g++) {
        unsigned code = (unsigned)((int)s[g] + 32);
        high |= code >> 4 << 2 * g;
        y[4 + g / 2] = (unsigned char)(g % 2 ? y[4 + g / 2] | code << 4 : code & 0x0f);
    }
    store_f16(y, d);
    uqff_store_le16(y + 2, (uint16_t)high);
}

enum { IQ4_SUPER_BLOCKS = IQ4_CHUNK / IQ4_SUPER };

LANE void iq4_xs_rows(const float *x, unsigned char *y, size_t n, const float *importance) {
    float sigma2[VF_LANES] = {0.0f};
    for (size_t i = 0; i < n; i += IQ4_CHUNK) {
        int here = n - i < IQ4_CHUNK ? (int)(n - i) : IQ4_CHUNK;
        size_t block = i / IQ4_SUPER % VF_LANES;
        if (importance && block == 0) {
            /* The serial sums of some super-blocks together. */
            size_t left = (n - i) / IQ4_SUPER;
            int count = left < VF_LANES ? (int)left : VF_LANES;
            vf sum = sums_of_squares(x + i, IQ4_SUPER, count, IQ4_SUPER);
            vf_store(sigma2, vf_mul(sum, vf_set(2.0f / (float)IQ4_SUPER)));
        }
        float of_group[2 * VF_LANES], d[2 * VF_LANES];
        for (int g = 0; g < 2 * VF_LANES; g++) {
            of_group[g] = sigma2[block + (size_t)g * IQ4_GROUP / IQ4_SUPER];
        }
        /* With importance, x is wanted for squares first. */
        size_t ahead = importance ? VF_LANES * IQ4_SUPER : IQ4_CHUNK;
        struct iq4_weights w = {importance ? importance + i : NULL, of_group, ahead * sizeof *x};
        iq4_search(x + i, w, here / IQ4_GROUP, d);
        fetch_after(y, IQ4_SUPER_BLOCKS * 136); /* where results go: storing would wait */
        /* Scales are long chains of operations: side by side they wait together. */
        float id[IQ4_SUPER_BLOCKS][VF_LANES];
        int blocks = here / IQ4_SUPER;
        for (int k = 0; k < blocks; k++) {
            iq4_xs_store_scales(d + 8 * k, id[k], y + 136 * k);
        }
        for (int k = 0; k < blocks; k++, y += 136) {
            for (int g = 0; g < 8; g++) {
                const float *group = x + i + IQ4_SUPER * k + IQ4_GROUP * g;
                vb_store_nibbles(y + 8 + 16 * g, iq4_codes(group, id[k][g]));
            }
        }
    }
}

/* Rows with importance and rows without are compiled apart. */
SIMD void LEVEL(quantize_iq4_nl)(const float *x, unsigned char *y, size_t n,
                                 const float *importance) {
    if (importance) {
        iq4_nl_rows(x, y, n, importance);
    } else {
        iq4_nl_rows(x, y, n, NULL);
    }
}

SIMD void LEVEL(quantize_iq4_xs)(const float *x, unsigned char *y, size_t n,
                                 const float *importance) {
    if (importance) {
        iq4_xs_rows(x, y, n, importance);
    } else {
        iq4_xs_rows(x, y, n, NULL);
    }
}

#endif
