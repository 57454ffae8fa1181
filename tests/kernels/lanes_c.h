/*
 * The searches of lanes/ over plain C in place of an instruction set: where this level is right and
 * a faster one is wrong, the fault is in that one's vec.h.
 */
#ifndef UQFF_TEST_LANES_C_H
#define UQFF_TEST_LANES_C_H

#include "lanes/vec_c.h"

#include "lanes/search.h"

#include "ref/ref.h"

#include "lanes/quantize_iq4.h"
#include "lanes/quantize_minimum.h"
#include "lanes/quantize_q8_k.h"
#include "lanes/quantize_symmetric.h"
#include "lanes/quantize_weighted.h"

/* Of these the lanes encode rows with importance only. */
#define WITH_IMPORTANCE(name)                                                                      \
    static void name##_either(const float *x, unsigned char *y, size_t n, const float *w) {        \
        (w ? LEVEL(quantize_##name##_weighted) : uqff_ref_quantize_##name)(x, y, n, w);            \
    }

WITH_IMPORTANCE(q4_0)
WITH_IMPORTANCE(q4_1)
WITH_IMPORTANCE(q5_0)
WITH_IMPORTANCE(q5_1)

#define EITHER(TYPE, name) [UQFF_SLOT(UQFF_TYPE_##TYPE)] = {.quantize = name##_either}
#define ROW(TYPE, name) [UQFF_SLOT(UQFF_TYPE_##TYPE)] = {.quantize = LEVEL(quantize_##name)}

static const struct uqff_kernels lanes_c = {
    .type =
        {
            EITHER(Q4_0, q4_0),
            EITHER(Q4_1, q4_1),
            EITHER(Q5_0, q5_0),
            EITHER(Q5_1, q5_1),
            ROW(Q2_K, q2_k),
            ROW(Q3_K, q3_k),
            ROW(Q4_K, q4_k),
            ROW(Q5_K, q5_k),
            ROW(Q6_K, q6_k),
            ROW(Q8_K, q8_k),
            ROW(IQ4_NL, iq4_nl),
            ROW(IQ4_XS, iq4_xs),
        },
};

#undef ROW
#undef EITHER

#endif
