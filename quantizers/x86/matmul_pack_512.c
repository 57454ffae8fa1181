/* lanes/matmul_pack.h for AVX-512. */
#if defined(__x86_64__)

#include "x86/columns.h"
#include "x86/sums_512.h"

#include "lanes/matmul_pack.h"

#endif
