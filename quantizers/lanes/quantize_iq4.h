/*
 * IQ4_NL and IQ4_XS. The layouts are drawn in ref/. Private to quantizers/.
 */
#ifndef UQFF_LANES_QUANTIZE_IQ4_H
#define UQFF_LANES_QUANTIZE_IQ4_H

#include "lanes/search.h"
#include "lanes/search_iq4.h"
#include "ref/number.h"

enum { IQ4_CHUNK = 2 * VF_LANES * IQ4_GROUP, IQ4_SUPER = 256 };

/* uqff_iq4_weigh(): the weights of up to IQ4_CHUNK values, in runs with a sigma2 each. */
LANE void iq4_weigh(const float *x, const float *importance, const float *sigma2, int run, int n,
                    float *w) {
    for (int i = 0; i < n; i += VF_LANES) {
        vf v = vf_load(x + i);
        vf weight =
            importance ? weigh(v, vf_load(importance + i), vf_set(sigma2[i / run])) : vf_mul(v, v);
        vf_store(w + i, weight);
    }
}

LANE vf iq4_sigma2(const float *x, size_t stride, int count, int n) {
    return vf_mul(sums_of_squares(x, stride, count, n), vf_set(2.0f / (float)n));
}

/* inverse() */
LANE vf iq4_inverse(vf d) {
    vf r = vf_div(vf_set(1.0f), d);
    return vf_keep(vf_lt(vf_abs(r), vf_set(INFINITY)), r);
}

SIMD void LEVEL(quantize_iq4_nl)(const float *x, unsigned char *y, size_t n,
                                 const float *importance) {
    for (size_t i = 0; i < n; i += IQ4_CHUNK) {
        int here = n - i < IQ4_CHUNK ? (int)(n - i) : IQ4_CHUNK;
        int blocks = here / IQ4_GROUP;
        float w[IQ4_CHUNK], sigma2[2 * VF_LANES], d[2 * VF_LANES], id[2 * VF_LANES];
        if (importance) {
            for (int b = 0; b < blocks; b += VF_LANES) {
                vf_store(sigma2 + b,
                         iq4_sigma2(x + i + IQ4_GROUP * b, IQ4_GROUP, blocks - b, IQ4_GROUP));
            }
        }
        iq4_weigh(x + i, importance ? importance + i : NULL, sigma2, IQ4_GROUP, here, w);
        iq4_search(x + i, w, blocks, d);
        vf_store(id, iq4_inverse(vf_load(d)));
        vf_store(id + VF_LANES, iq4_inverse(vf_load(d + VF_LANES)));
        for (int b = 0; b < blocks; b++, y += 18) {
            store_f16(y, d[b]);
            vb_store_nibbles(y + 2, iq4_codes(x + i + IQ4_GROUP * b, id[b]));
        }
    }
}

/* One super-block whose group scales have been found; as encode() of ref/iq4_xs.c. */
LANE void iq4_xs_store(const float *x, const float scales[8], unsigned char *y) {
    float d = -signed_maximum(8, scales) / 32.0f;
    vf l = vf_nearest(vf_mul(vf_set(inverse(d)), vf_load_first(scales, 8)), -32.0f, 31.0f);
    float id[VF_LANES], s[VF_LANES];
    vf_store(id, iq4_inverse(vf_mul(vf_set(d), l)));
    vf_store(s, l);
    unsigned high = 0;
    for (int g = 0; g < 8; g++) {
        unsigned code = (unsigned)((int)s[g] + 32);
        high |= code >> 4 << 2 * g;
        y[4 + g / 2] = (unsigned char)(g % 2 ? y[4 + g / 2] | code << 4 : code & 0x0f);
        vb_store_nibbles(y + 8 + 16 * g, iq4_codes(x + IQ4_GROUP * g, id[g]));
    }
    store_f16(y, d);
    uqff_store_le16(y + 2, (uint16_t)high);
}

SIMD void LEVEL(quantize_iq4_xs)(const float *x, unsigned char *y, size_t n,
                                 const float *importance) {
    float sigma2[VF_LANES] = {0.0f};
    for (size_t i = 0; i < n; i += IQ4_CHUNK) {
        int here = n - i < IQ4_CHUNK ? (int)(n - i) : IQ4_CHUNK;
        size_t block = i / IQ4_SUPER % VF_LANES;
        if (importance && block == 0) {
            /* The serial sums of some super-blocks together. */
            size_t left = (n - i) / IQ4_SUPER;
            int count = left < VF_LANES ? (int)left : VF_LANES;
            vf_store(sigma2, iq4_sigma2(x + i, IQ4_SUPER, count, IQ4_SUPER));
        }
        float w[IQ4_CHUNK], d[2 * VF_LANES];
        iq4_weigh(x + i, importance ? importance + i : NULL, sigma2 + block, IQ4_SUPER, here, w);
        iq4_search(x + i, w, here / IQ4_GROUP, d);
        for (int k = 0; k < here; k += IQ4_SUPER, y += 136) {
            iq4_xs_store(x + i + k, d + k / IQ4_GROUP, y);
        }
    }
}

#endif
