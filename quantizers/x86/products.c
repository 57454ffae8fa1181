/* The dot and matrix kernels of the level `avx2`. */
#if defined(__x86_64__)

#include "x86/sums.h"

#define PRODUCTS uqff_products_avx2
#define PRODUCTS_BELOW &uqff_products_ref
#include "lanes/product_table.h"

#endif
