/* The operators in plain C. */
#include "validation/ops_lanes_c.h"

#include "validation/ops_body.h"

const struct uqff_ops uqff_ops_c = UQFF_OPS_TABLE;
