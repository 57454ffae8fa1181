/* The dot and matrix kernels of the level `neon`. */
#if defined(__aarch64__)

#include "arm/unpack.h"

#define PRODUCTS uqff_products_neon
#define PRODUCTS_BELOW &uqff_products_ref
#include "lanes/product_table.h"

#endif
