/*
 * Between rows in memory and groups in lanes. Private to quantizers/.
 */
#ifndef UQFF_LANES_GROUPS_H
#define UQFF_LANES_GROUPS_H

#include "lanes/round.h"

/* Element i of a group a lane, n of each, which begin `stride` floats apart; of fewer groups than
 * lanes, the first one again. n is rounded up to a multiple of the lanes: in memory that is there,
 * and in `out`. */
LANE void load_groups(vf *out, const float *x, size_t stride, int count, int n) {
    for (int i = 0; i < n; i += VF_LANES) {
        const float *rows[VF_LANES];
        for (int g = 0; g < VF_LANES; g++) {
            rows[g] = x + stride * (size_t)(g < count ? g : 0) + i;
        }
        vf_load_columns(out + i, rows);
    }
}

/* The sums of squares of up to VF_LANES runs of n, n a multiple of that. Each is one serial sum: as
 * lanes, they wait together. */
LANE vf sums_of_squares(const float *x, size_t stride, int count, int n) {
    vf sum = vf_set(0.0f);
    for (int i = 0; i < n; i += VF_LANES) {
        vf v[VF_LANES];
        load_groups(v, x + i, stride, count, VF_LANES);
        for (int k = 0; k < VF_LANES; k++) {
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
