/* lanes/quantize_minimum.h for AVX-512. */
#if defined(__x86_64__)

#include "x86/vec512.h"

#include "lanes/quantize_minimum.h"

#endif
