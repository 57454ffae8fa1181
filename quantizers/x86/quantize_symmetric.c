/* lanes/quantize_symmetric.h for AVX2. */
#if defined(__x86_64__)

#include "x86/vec.h"

#include "lanes/quantize_symmetric.h"

#endif
