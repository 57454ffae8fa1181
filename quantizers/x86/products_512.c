/* The dot and matrix kernels of the level `avx512`; what is NULL is that of `avx2`. */
#if defined(__x86_64__)

#include "products.h"

const struct uqff_products uqff_products_avx512 = {
    .below = &uqff_products_avx2,
};

#endif
