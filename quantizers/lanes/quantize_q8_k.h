/*
 * Q8_K, which needs no search but the super-blocks of those that do. The layout is drawn in ref/.
 * Private to quantizers/.
 */
#ifndef UQFF_LANES_QUANTIZE_Q8_K_H
#define UQFF_LANES_QUANTIZE_Q8_K_H

#include "lanes/groups.h"
#include "lanes/search.h"
#include "ref/number.h"

enum { Q8_K_LENGTH = 256, Q8_K_BYTES = 292, Q8_K_AHEAD = 4 /* super-blocks */ };

/* signed_maximum() of 256 values. The extremes tell it, but where both are equally far from zero
 * and the first one counts. */
LANE float q8_k_signed_maximum(const float *x) {
    vf low = vf_load(x);
    vf high = low;
    for (int i = 8; i < Q8_K_LENGTH; i += 8) {
        vf v = vf_load(x + i);
        low = vf_min(v, low);
        high = vf_max(v, high);
    }
    float above = vf_largest(high);
    float below = vf_largest(vf_neg(low));
    if (above == below) {
        return signed_maximum(Q8_K_LENGTH, x);
    }
    return above > below ? above : -below;
}

/* Codes, and the sum of each 16 of them: first of lanes, then across. */
LANE void q8_k_store_codes(const float *x, float iscale, unsigned char *y) {
    float sums[16][8]; /* integers, kept as they are */
    for (int i = 0; i < Q8_K_LENGTH; i += 32) {
        vi q[4];
        for (int k = 0; k < 4; k++) {
            q[k] = vf_nearest_int(vf_mul(vf_set(iscale), vf_load(x + i + 8 * k)), -128.0f, 127.0f);
        }
        vf_store(sums[i / 16], vi_floats(vi_add(q[0], q[1])));
        vf_store(sums[i / 16 + 1], vi_floats(vi_add(q[2], q[3])));
        for (int k = 0; k < 4; k++) {
            q[k] = vi_add(q[k], vi_set(128));
        }
        vb biased = vb_of_codes(q);
        vb_store(y + 4 + i, vb_add(biased, vb_set(128)));
    }
    for (int h = 0; h < 16; h += 8) {
        vf columns[8];
        int32_t sum[8];
        load_groups(columns, sums[h], 8, 8, 8);
        vi total = vf_bits(columns[0]);
        for (int k = 1; k < 8; k++) {
            total = vi_add(total, vf_bits(columns[k]));
        }
        vi_store(sum, total);
        for (int k = 0; k < 8; k++) {
            uqff_store_le16(y + 260 + 2 * (h + k), (uint16_t)sum[k]);
        }
    }
}

SIMD void LEVEL(quantize_q8_k)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i += Q8_K_LENGTH, y += Q8_K_BYTES) {
        /* The processor fetches x by itself, but not where results go: storing them would wait. */
        fetch(y, Q8_K_AHEAD * Q8_K_BYTES, Q8_K_BYTES);
        float iscale = -127.0f / q8_k_signed_maximum(x + i);
        if (!is_finite(iscale)) {
            memset(y, 0, Q8_K_BYTES);
            continue;
        }
        uqff_store_le32(y, float_bits(1.0f / iscale));
        q8_k_store_codes(x + i, iscale, y);
    }
}

#endif
