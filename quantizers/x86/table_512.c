/*
 * The functions of the level `avx512`; what is NULL is that of `avx2`.
 */
#if defined(__x86_64__)

#include "x86/vec512.h"

#include "lanes/search.h"
#include "lanes/simple.h"
#include "products.h"

#define ROW(TYPE, name) [UQFF_SLOT(UQFF_TYPE_##TYPE)] = {.quantize = LEVEL(quantize_##name)}

const struct uqff_kernels uqff_kernels_avx512 = {
    .below = &uqff_kernels_avx2,
    .type =
        {
            ROW(Q4_0, q4_0),
            ROW(Q4_1, q4_1),
            ROW(Q5_0, q5_0),
            ROW(Q5_1, q5_1),
            ROW(Q2_K, q2_k),
            ROW(Q3_K, q3_k),
            ROW(Q4_K, q4_k),
            ROW(Q5_K, q5_k),
            ROW(Q6_K, q6_k),
            ROW(IQ4_NL, iq4_nl),
            ROW(IQ4_XS, iq4_xs),
        },
    .products = &uqff_products_avx512,
};

#endif
