/* lanes/dequantize.h for NEON. */
#if defined(__aarch64__)

#include "arm/unpack.h"

#include "lanes/dequantize.h"

#endif
