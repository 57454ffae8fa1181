/* lanes/quantize_symmetric.h for AVX-512. */
#if defined(__x86_64__)

#include "x86/vec512.h"

#include "lanes/quantize_symmetric.h"

#endif
