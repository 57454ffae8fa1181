/*
 * What lanes/quantize_simple.h, lanes/dequantize.h and lanes/convert.h define for an instruction
 * set, whose unpack.h names them by LEVEL. Private to quantizers/.
 */
#ifndef UQFF_LANES_SIMPLE_H
#define UQFF_LANES_SIMPLE_H

#include "kernels.h"

/* Q4_0 to Q5_1 leave rows with importance to lanes/search.h. */
uqff_quantize_fn LEVEL(quantize_f32), LEVEL(quantize_f16), LEVEL(quantize_bf16);
uqff_quantize_fn LEVEL(quantize_q4_0), LEVEL(quantize_q4_1), LEVEL(quantize_q5_0),
    LEVEL(quantize_q5_1), LEVEL(quantize_q8_0), LEVEL(quantize_q8_1);
uqff_quantize_fn LEVEL(quantize_tq1_0), LEVEL(quantize_tq2_0), LEVEL(quantize_mxfp4);

uqff_dequantize_fn LEVEL(dequantize_f32), LEVEL(dequantize_f16), LEVEL(dequantize_bf16);
uqff_dequantize_fn LEVEL(dequantize_q4_0), LEVEL(dequantize_q4_1), LEVEL(dequantize_q5_0),
    LEVEL(dequantize_q5_1), LEVEL(dequantize_q8_0), LEVEL(dequantize_q8_1);
uqff_dequantize_fn LEVEL(dequantize_q2_k), LEVEL(dequantize_q3_k), LEVEL(dequantize_q4_k),
    LEVEL(dequantize_q5_k), LEVEL(dequantize_q6_k), LEVEL(dequantize_q8_k);
uqff_dequantize_fn LEVEL(dequantize_iq4_nl), LEVEL(dequantize_iq4_xs), LEVEL(dequantize_tq1_0),
    LEVEL(dequantize_tq2_0), LEVEL(dequantize_mxfp4);

size_t LEVEL(find_nonfinite)(const float *x, size_t n);

#endif
