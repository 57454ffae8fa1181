/* lanes/convert.h for NEON. */
#if defined(__aarch64__)

#include "arm/unpack.h"

#include "lanes/convert.h"

#endif
