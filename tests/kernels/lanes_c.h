/*
 * The searches of lanes/ over plain C in place of an instruction set: where this level is right and
 * a faster one is wrong, the fault is in that one's vec.h.
 */
#ifndef UQFF_TEST_LANES_C_H
#define UQFF_TEST_LANES_C_H

#include "lanes/vec_c.h"

#include "lanes/search.h"

#include "lanes/quantize_iq4.h"
#include "lanes/quantize_minimum.h"
#include "lanes/quantize_q8_k.h"
#include "lanes/quantize_symmetric.h"
#include "lanes/quantize_weighted.h"

#define ROW(TYPE, name) [UQFF_SLOT(UQFF_TYPE_##TYPE)] = {.quantize = LEVEL(quantize_##name)}

static const struct uqff_kernels lanes_c = {
    .type =
        {
            ROW(Q2_K, q2_k),
            ROW(Q3_K, q3_k),
            ROW(Q6_K, q6_k),
            ROW(Q8_K, q8_k),
            ROW(IQ4_NL, iq4_nl),
            ROW(IQ4_XS, iq4_xs),
            ROW(Q4_K, q4_k),
            ROW(Q5_K, q5_k),
        },
};

#undef ROW

#endif
