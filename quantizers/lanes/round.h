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

#endif
