/* lanes/quantize_iq4.h for AVX-512. */
#if defined(__x86_64__)

#include "x86/vec512.h"

#include "lanes/quantize_iq4.h"

#endif
