/* lanes/quantize_minimum.h for NEON. */
#if defined(__aarch64__)

#include "arm/vec.h"

#include "lanes/quantize_minimum.h"

#endif
