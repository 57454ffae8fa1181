/*
 * The functions of the level `avx2`; what is NULL is the reference's.
 */
#if defined(__x86_64__)

#include "x86/unpack.h"

#include "lanes/search.h"
#include "lanes/simple.h"
#include "products.h"

#define BOTH(name) .quantize = LEVEL(quantize_##name), .dequantize = LEVEL(dequantize_##name)
#define DECODE(name) .dequantize = LEVEL(dequantize_##name)
#define ROW(TYPE, ...) [UQFF_SLOT(UQFF_TYPE_##TYPE)] = {__VA_ARGS__}

const struct uqff_kernels uqff_kernels_avx2 = {
    .below = &uqff_kernels_ref,
    .type =
        {
            ROW(F32, BOTH(f32)),       ROW(F16, BOTH(f16)),       ROW(BF16, BOTH(bf16)),
            ROW(Q4_0, BOTH(q4_0)),     ROW(Q4_1, BOTH(q4_1)),     ROW(Q5_0, BOTH(q5_0)),
            ROW(Q5_1, BOTH(q5_1)),     ROW(Q8_0, BOTH(q8_0)),     ROW(Q8_1, BOTH(q8_1)),
            ROW(Q2_K, BOTH(q2_k)),     ROW(Q3_K, BOTH(q3_k)),     ROW(Q4_K, BOTH(q4_k)),
            ROW(Q5_K, BOTH(q5_k)),     ROW(Q6_K, BOTH(q6_k)),     ROW(Q8_K, BOTH(q8_k)),
            ROW(IQ4_NL, BOTH(iq4_nl)), ROW(IQ4_XS, BOTH(iq4_xs)), ROW(TQ1_0, BOTH(tq1_0)),
            ROW(TQ2_0, BOTH(tq2_0)),   ROW(MXFP4, BOTH(mxfp4)),
        },
    .find_nonfinite = LEVEL(find_nonfinite),
    .products = &uqff_products_avx2,
};

#endif
