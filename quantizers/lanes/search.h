/*
 * The encoders that search, as an instruction set's vec.h names them by LEVEL. Private to
 * quantizers/.
 */
#ifndef UQFF_LANES_SEARCH_H
#define UQFF_LANES_SEARCH_H

#include "kernels.h"

uqff_quantize_fn LEVEL(quantize_q2_k), LEVEL(quantize_q3_k), LEVEL(quantize_q4_k),
    LEVEL(quantize_q5_k), LEVEL(quantize_q6_k), LEVEL(quantize_q8_k);
uqff_quantize_fn LEVEL(quantize_iq4_nl), LEVEL(quantize_iq4_xs);
/* Rows with importance; those without need no search. */
uqff_quantize_fn LEVEL(quantize_q4_0_weighted), LEVEL(quantize_q4_1_weighted),
    LEVEL(quantize_q5_0_weighted), LEVEL(quantize_q5_1_weighted);

#endif
