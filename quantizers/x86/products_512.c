/* The dot and matrix kernels of the level `avx512`; what is NULL is that of `avx2`. */
#if defined(__x86_64__)

#include "x86/sums_512.h"

#define PRODUCTS uqff_products_avx512
#define PRODUCTS_BELOW &uqff_products_avx2
#include "lanes/product_table.h"

#endif
