/*
 * Which instruction sets may be used.
 */
#include "kernels.h"

#if defined(__x86_64__)

#include <cpuid.h>

/* The registers that the operating system saves on a context switch. */
static unsigned saved_state(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

enum uqff_cpu_level uqff_cpu_detect(void) {
    const unsigned leaf_1 = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
    const unsigned leaf_7 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    const unsigned xmm_and_ymm = 0x06;
    const unsigned masks_and_zmm = 0xe0;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf_1) != leaf_1) {
        return UQFF_CPU_REF;
    }
    const unsigned saved = saved_state();
    if ((saved & xmm_and_ymm) != xmm_and_ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
        (b & bit_AVX2) == 0) {
        return UQFF_CPU_REF;
    }
    const bool all = (b & leaf_7) == leaf_7 && (c & bit_AVX512VNNI) != 0;
    return all && (saved & masks_and_zmm) == masks_and_zmm ? UQFF_CPU_AVX512 : UQFF_CPU_AVX2;
}

#elif defined(__aarch64__)

/* Part of every 64-bit ARM processor. */
enum uqff_cpu_level uqff_cpu_detect(void) {
    return UQFF_CPU_NEON;
}

#else

enum uqff_cpu_level uqff_cpu_detect(void) {
    return UQFF_CPU_REF;
}

#endif
