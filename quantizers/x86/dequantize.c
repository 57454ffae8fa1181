/* lanes/dequantize.h for AVX2. */
#if defined(__x86_64__)

#include "x86/unpack.h"

#include "lanes/dequantize.h"

#endif
