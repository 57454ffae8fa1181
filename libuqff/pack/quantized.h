/* Whether weights are quantized already, in forms that are no block types of ggml. */
#ifndef UQFF_PACK_QUANTIZED_H
#define UQFF_PACK_QUANTIZED_H

#include "uqff/pack.h"

/* "afq4", "hqq8", "fp8": how a module's weights lie that is listed as F32 because its form is none
 * of ggml's; NULL for all others. Lives as long as the model. */
const char *uqff_quantized_label(const struct uqff_model *model, size_t module);

#endif
