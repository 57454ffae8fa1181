/* lanes/quantize_iq4.h for AVX2. */
#if defined(__x86_64__)

#include "x86/vec.h"

#include "lanes/quantize_iq4.h"

#endif
