/*
 * Blocks as integers: what products are taken of. Private to quantizers/.
 */
#ifndef UQFF_REF_CODES_H
#define UQFF_REF_CODES_H

#include "number.h"

/*
 * One block of weights. With g = i / group the value of element i is
 *
 *   d * scale[g] * code[i]                    in types without a minimum
 *   d * scale[g] * code[i] - m * minimum[g]   in K types with one
 *   d * code[i] + m                           in Q4_1 and Q5_1
 */
struct uqff_codes {
    float d, m;
    int16_t scale[16], minimum[16];
    int8_t code[256];
};

/* The sixteen values of MXFP4, doubled; and made positive, as some kernels need them. */
extern const int8_t uqff_mxfp4_values[16], uqff_mxfp4_plus_12[16];

/* What they are multiplied by in return, 2^(e - 128): below 2^-126 it is subnormal, so the bit
 * stands in the fraction. */
static inline float mxfp4_half_scale(unsigned e) {
    return bits_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

typedef void uqff_codes_fn(const unsigned char *block, struct uqff_codes *out);

uqff_codes_fn uqff_codes_q4_0, uqff_codes_q4_1, uqff_codes_q5_0, uqff_codes_q5_1, uqff_codes_q8_0,
    uqff_codes_q8_1, uqff_codes_iq4_nl, uqff_codes_mxfp4;
uqff_codes_fn uqff_codes_q2_k, uqff_codes_q3_k, uqff_codes_q4_k, uqff_codes_q5_k, uqff_codes_q6_k,
    uqff_codes_iq4_xs, uqff_codes_tq1_0, uqff_codes_tq2_0;

#endif
