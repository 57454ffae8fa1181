/*
 * Between rows in memory and groups in lanes. Private to quantizers/.
 */
#ifndef UQFF_LANES_GROUPS_H
#define UQFF_LANES_GROUPS_H

#include "lanes/round.h"

/* Element i of eight groups of n, n a multiple of 8, which begin `stride` floats apart; of fewer
 * than eight groups, the first one again. */
LANE void load_groups(vf *out, const float *x, size_t stride, int count, int n) {
    for (int i = 0; i < n; i += 8) {
        const float *rows[8];
        for (int g = 0; g < 8; g++) {
            rows[g] = x + stride * (size_t)(g < count ? g : 0) + i;
        }
        vf_load_columns(out + i, rows);
    }
}

/* The sums of squares of up to eight runs of n, n a multiple of 8. Each is one serial sum: as
 * lanes, they wait together. */
LANE vf sums_of_squares(const float *x, size_t stride, int count, int n) {
    vf sum = vf_set(0.0f);
    for (int i = 0; i < n; i += 8) {
        vf v[8];
        load_groups(v, x + i, stride, count, 8);
        for (int k = 0; k < 8; k++) {
            sum = vf_add(sum, vf_mul(v[k], v[k]));
        }
    }
    return sum;
}

/* uqff_weigh(): importance times sqrt(sigma2 + x²). */
LANE vf weigh(vf x, vf importance, vf sigma2) {
    return vf_mul(importance, vf_sqrt(vf_add(sigma2, vf_mul(x, x))));
}

#endif
