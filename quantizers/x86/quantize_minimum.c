/* lanes/quantize_minimum.h for AVX2. */
#if defined(__x86_64__)

#include "x86/vec.h"

#include "lanes/quantize_minimum.h"

#endif
