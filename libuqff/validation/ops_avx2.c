/* The operators with AVX2 and FMA. */
#if defined(__x86_64__)
#include <math.h>

#include "validation/ops_lanes_avx2.h"

#include "validation/ops_body.h"

const struct uqff_ops uqff_ops_avx2 = UQFF_OPS_TABLE;
#else
typedef int uqff_ops_avx2_is_for_x86;
#endif
