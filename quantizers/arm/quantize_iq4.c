/* lanes/quantize_iq4.h for NEON. */
#if defined(__aarch64__)

#include "arm/vec.h"

#include "lanes/quantize_iq4.h"

#endif
