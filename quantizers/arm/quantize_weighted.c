/* lanes/quantize_weighted.h for NEON. */
#if defined(__aarch64__)

#include "arm/vec.h"

#include "lanes/quantize_weighted.h"

#endif
