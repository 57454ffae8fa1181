/* lanes/quantize_q8_k.h for AVX2. */
#if defined(__x86_64__)

#include "x86/vec.h"

#include "lanes/quantize_q8_k.h"

#endif
