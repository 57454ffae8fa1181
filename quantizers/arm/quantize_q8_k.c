/* lanes/quantize_q8_k.h for NEON. */
#if defined(__aarch64__)

#include "arm/vec.h"

#include "lanes/quantize_q8_k.h"

#endif
