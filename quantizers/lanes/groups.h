/*
 * Between rows in memory and groups in lanes. Private to quantizers/.
 */
#ifndef UQFF_LANES_GROUPS_H
#define UQFF_LANES_GROUPS_H

#include "lanes/round.h"
#include "ref/number.h"

LANE void load_columns(vf *out, const float *x, size_t stride, int count) {
    const float *rows[VF_LANES];
    UNROLL(VF_LANES)
    for (int g = 0; g < VF_LANES; g++) {
        rows[g] = x + stride * (size_t)(g < count ? g : 0);
    }
    vf_load_columns(out, rows);
}

/* Element i of a group a lane, n of each, which begin `stride` floats apart; of fewer groups than
 * lanes, the first one again. n is rounded up to a multiple of the lanes: in memory that is there,
 * and in `out`. */
LANE void load_groups(vf *out, const float *x, size_t stride, int count, int n) {
    if (count >= VF_LANES) { /* addresses are one register and constants */
        for (int i = 0; i < n; i += VF_LANES) {
            load_columns(out + i, x + i, stride, VF_LANES);
        }
        return;
    }
    for (int i = 0; i < n; i += VF_LANES) {
        load_columns(out + i, x + i, stride, count);
    }
}

/* Brings the bytes from..from + size behind p into the second cache. They will be wanted after a
 * search, which takes so long that the processor has stopped fetching ahead. It has about twenty
 * lines under way at a time, and work waits behind more of them: they are better fetched in parts.
 * Beyond the end of a row it does nothing. */
LANE void fetch(const void *p, size_t from, size_t size) {
    for (size_t line = from; line < from + size; line += 64) {
        __builtin_prefetch((const void *)((uintptr_t)p + line), 0, 2);
    }
}

/* Bytes that will be wanted after a search: from..from + size behind p. */
struct ahead {
    const void *p;
    size_t from, size;
};

/* Fetches one of so many parts of them. */
LANE void fetch_part(struct ahead a, int part, int parts) {
    size_t lines = a.size / 64 + 1;
    size_t first = lines * (size_t)part / (size_t)parts;
    size_t end = lines * (size_t)(part + 1) / (size_t)parts;
    fetch(a.p, a.from + 64 * first, 64 * (end - first));
}

/* The `size` bytes that follow as many. */
LANE void fetch_after(const void *p, size_t size) {
    fetch(p, size, size);
}

/* The element of largest magnitude of each lane, the first one on ties; see signed_maximum(). */
LANE vf signed_maximum_lanes(int n, const vf *x) {
    vi magnitude = vi_set(0x7fffffff);
    vi most = vi_set(0);
    vf largest = vf_set(0.0f);
    for (int i = 0; i < n; i++) {
        vi bits = vi_and(vf_bits(x[i]), magnitude);
        vm more = vi_gt(bits, most);
        most = vi_max(bits, most);
        largest = vf_select(more, x[i], largest);
    }
    return largest;
}

struct extremes {
    vf low, high;
};

/* n is even. */
LANE struct extremes extremes_of(int n, const vf *x) {
    struct extremes e = {x[0], x[0]};
    struct extremes f = {x[1], x[1]};
    for (int i = 2; i < n; i += 2) {
        e.low = vf_min(x[i], e.low);
        e.high = vf_max(x[i], e.high);
        f.low = vf_min(x[i + 1], f.low);
        f.high = vf_max(x[i + 1], f.high);
    }
    return (struct extremes){vf_min(e.low, f.low), vf_max(e.high, f.high)};
}

/* The same of finite x whose extremes are known: one of them, but where both are equally far from
 * zero and the first one counts. */
LANE vf signed_maximum_finite(int n, const vf *x, struct extremes e) {
    vf below = vf_neg(e.low);
    if (vm_any(vf_eq(e.high, below))) {
        return signed_maximum_lanes(n, x);
    }
    return vf_select(vf_gt(e.high, below), e.high, e.low);
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

enum { SQUARES_RUN = 32 };

/* Adds the squares of a run to *total, which is `binade` or more but less than twice that, if it
 * stays so. Otherwise returns false. */
LANE bool add_squares(float *total, const float *x, float binade) {
    const vf least = vf_set(binade);
    const vf half = vf_set(binade * 0x1p-24f);
    vf sum = vf_set(0.0f);
    vm tie = vm_set(false);
    for (int k = 0; k < SQUARES_RUN; k += VF_LANES) {
        vf v = vf_load(x + k);
        vf square = vf_mul(v, v);
        vf rounded = vf_sub(vf_add(square, least), least);
        tie = vm_or(tie, vf_eq(vf_abs(vf_sub(square, rounded)), half));
        sum = vf_add(sum, rounded);
    }
    float next = *total + vf_sum(sum);
    if (vm_any(tie) || !(next < 2.0f * binade)) {
        return false;
    }
    *total = next;
    return true;
}

/* The sum of the squares of n values, n a multiple of SQUARES_RUN, as if they were added one after
 * the other.
 *
 * Between two powers of two, floats are multiples of one step. To add a small number then is to add
 * that number rounded to a multiple, whatever the sum is at the time; but for numbers in the middle
 * between two multiples, which are rounded to make the sum even. Sums of multiples are exact as
 * long as they stay below the next power of two, so that the order does not matter any more. Most
 * runs are like that, and do not wait for each other. */
LANE float serial_sum_of_squares(const float *x, size_t n) {
    float total = 0.0f;
    size_t i = 0;
    while (i < n) {
        for (size_t end = i + SQUARES_RUN; i < end; i++) {
            total += x[i] * x[i];
        }
        /* The power of two does not follow from the sum within the loop: it would make runs wait.
         */
        float binade = bits_float(float_bits(total) & 0x7f800000);
        while (total >= 0x1p-60f && i < n && add_squares(&total, x + i, binade)) {
            i += SQUARES_RUN;
        }
    }
    return total;
}

/* uqff_weigh(): importance times sqrt(sigma2 + x²). */
LANE vf weigh(vf x, vf importance, vf sigma2) {
    return vf_mul(importance, vf_sqrt(vf_add(sigma2, vf_mul(x, x))));
}

#endif
