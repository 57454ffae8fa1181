/*
 * Rounding in lanes, as ref/number.h does it. Private to quantizers/.
 */
#ifndef UQFF_LANES_ROUND_H
#define UQFF_LANES_ROUND_H

/* The vector interface is included before. */

/* Before a loop: unroll it n times. The loops of the searches are short and run often; unrolled,
 * they end where branch prediction expects it. */
#define UNROLL_TEXT(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) UNROLL_TEXT(unroll n)
#else
#define UNROLL(n) UNROLL_TEXT(GCC unroll n)
#endif

/* Nearest integer, ties to even, of |v| <= 2^22; zero comes out as +0. */
LANE vf vf_round(vf v) {
    return vf_sub(vf_add(v, vf_set(0x1.8p23f)), vf_set(0x1.8p23f));
}

/* nearest() */
LANE vf vf_nearest(vf v, float lo, float hi) {
    return vf_round(vf_min(vf_max(v, vf_set(lo)), vf_set(hi)));
}

/* nearest_int() */
LANE vi vf_nearest_int(vf v, float lo, float hi) {
    v = vf_min(vf_max(v, vf_set(lo)), vf_set(hi));
    return vi_sub(vf_bits(vf_add(v, vf_set(0x1.8p23f))), vi_set(0x4b400000));
}

/* nearest_int(x / step, lo, hi), but that codes beyond a limit need not come out as the limit:
 * packing limits them. |lo| and |hi| are below 100, and inverse is 1 / step.
 *
 * Multiplying is much faster than dividing, and differs by less than 2^-22 of the quotient. That
 * tells two codes apart only near the middle between them, and then the quotient decides; so it
 * does where there is no integer for the product. Neither can underflow by as much as 1/2. */
LANE vi vf_round_quotient(vf x, vf step, vf inverse, float lo, float hi) {
    vf v = vf_mul(x, inverse);
    vi code = vf_to_int(v);
    vf off = vf_abs(vf_sub(v, vi_to_float(code)));
    if (!vm_all(vf_lt(off, vf_set(0.4999f)))) {
        return vf_nearest_int(vf_div(x, step), lo, hi);
    }
    return code;
}

#endif
