/*
 * The functions of the level `avx512`; what is NULL is that of `avx2`.
 */
#if defined(__x86_64__)

#include "kernels.h"
#include "products.h"

const struct uqff_kernels uqff_kernels_avx512 = {
    .below = &uqff_kernels_avx2,
    .products = &uqff_products_avx512,
};

#endif
