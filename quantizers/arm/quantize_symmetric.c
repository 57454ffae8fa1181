/* lanes/quantize_symmetric.h for NEON. */
#if defined(__aarch64__)

#include "arm/vec.h"

#include "lanes/quantize_symmetric.h"

#endif
