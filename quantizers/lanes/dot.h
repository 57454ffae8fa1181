/*
 * What the dot kernels of an instruction set define, whose unpack.h names them by LEVEL. Private to
 * quantizers/.
 */
#ifndef UQFF_LANES_DOT_H
#define UQFF_LANES_DOT_H

#include "products.h"

uqff_dot_fn LEVEL(dot_f32), LEVEL(dot_f16), LEVEL(dot_bf16);
uqff_dot_fn LEVEL(dot_q4_0), LEVEL(dot_q4_1), LEVEL(dot_q5_0), LEVEL(dot_q5_1), LEVEL(dot_q8_0),
    LEVEL(dot_q8_1), LEVEL(dot_iq4_nl), LEVEL(dot_mxfp4);
uqff_dot_fn LEVEL(dot_q2_k), LEVEL(dot_q3_k), LEVEL(dot_q4_k), LEVEL(dot_q5_k), LEVEL(dot_q6_k),
    LEVEL(dot_iq4_xs), LEVEL(dot_tq1_0), LEVEL(dot_tq2_0);
uqff_lanes_fn LEVEL(lanes_f32);

#endif
