/* lanes/quantize_simple.h for NEON. */
#if defined(__aarch64__)

#include "arm/unpack.h"

#include "lanes/quantize_simple.h"

#endif
