/* The reference functions, one file a type: what they compute is the definition. Private to
 * quantizers/. */
#ifndef UQFF_REF_REF_H
#define UQFF_REF_REF_H

#include "kernels.h"

uqff_quantize_fn uqff_ref_quantize_f32, uqff_ref_quantize_f16, uqff_ref_quantize_bf16;
uqff_quantize_fn uqff_ref_quantize_q4_0, uqff_ref_quantize_q4_1, uqff_ref_quantize_q5_0,
    uqff_ref_quantize_q5_1, uqff_ref_quantize_q8_0, uqff_ref_quantize_q8_1;
uqff_quantize_fn uqff_ref_quantize_q2_k, uqff_ref_quantize_q3_k, uqff_ref_quantize_q4_k,
    uqff_ref_quantize_q5_k, uqff_ref_quantize_q6_k, uqff_ref_quantize_q8_k;
uqff_quantize_fn uqff_ref_quantize_iq4_nl, uqff_ref_quantize_iq4_xs, uqff_ref_quantize_tq1_0,
    uqff_ref_quantize_tq2_0, uqff_ref_quantize_mxfp4;

uqff_dequantize_fn uqff_ref_dequantize_f32, uqff_ref_dequantize_f16, uqff_ref_dequantize_bf16,
    uqff_ref_dequantize_f64;
uqff_dequantize_fn uqff_ref_dequantize_q4_0, uqff_ref_dequantize_q4_1, uqff_ref_dequantize_q5_0,
    uqff_ref_dequantize_q5_1, uqff_ref_dequantize_q8_0, uqff_ref_dequantize_q8_1;
uqff_dequantize_fn uqff_ref_dequantize_q2_k, uqff_ref_dequantize_q3_k, uqff_ref_dequantize_q4_k,
    uqff_ref_dequantize_q5_k, uqff_ref_dequantize_q6_k, uqff_ref_dequantize_q8_k;
uqff_dequantize_fn uqff_ref_dequantize_iq4_nl, uqff_ref_dequantize_iq4_xs,
    uqff_ref_dequantize_tq1_0, uqff_ref_dequantize_tq2_0, uqff_ref_dequantize_mxfp4;
uqff_dequantize_fn uqff_ref_dequantize_i8, uqff_ref_dequantize_i16, uqff_ref_dequantize_i32,
    uqff_ref_dequantize_i64, uqff_ref_dequantize_bool, uqff_ref_dequantize_u8,
    uqff_ref_dequantize_u16, uqff_ref_dequantize_u32, uqff_ref_dequantize_u64;
uqff_dequantize_fn uqff_ref_dequantize_f4, uqff_ref_dequantize_f6_e2m3, uqff_ref_dequantize_f6_e3m2,
    uqff_ref_dequantize_f8_e5m2, uqff_ref_dequantize_f8_e4m3, uqff_ref_dequantize_f8_e8m0;

uqff_scales_fn uqff_ref_scales_d; /* types whose only stored float is an f16 at the start */
uqff_scales_fn uqff_ref_scales_q4_1, uqff_ref_scales_q2_k, uqff_ref_scales_q3_k,
    uqff_ref_scales_q4_k, uqff_ref_scales_q6_k, uqff_ref_scales_q8_k, uqff_ref_scales_iq4_xs,
    uqff_ref_scales_tq1_0, uqff_ref_scales_tq2_0, uqff_ref_scales_mxfp4;

size_t uqff_ref_find_nonfinite(const float *x, size_t n);

#endif
