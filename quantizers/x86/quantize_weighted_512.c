/* lanes/quantize_weighted.h for AVX-512. Without importance these types wait for memory, and the
 * functions of AVX2 will do. */
#if defined(__x86_64__)

#include "x86/vec512.h"

#include "lanes/quantize_weighted.h"

#include "lanes/simple.h"

#define EITHER(name)                                                                               \
    void uqff_avx512_quantize_##name(const float *x, unsigned char *y, size_t n,                   \
                                     const float *importance) {                                    \
        if (importance) {                                                                          \
            uqff_avx512_quantize_##name##_weighted(x, y, n, importance);                           \
        } else {                                                                                   \
            uqff_avx2_quantize_##name(x, y, n, NULL);                                              \
        }                                                                                          \
    }

uqff_quantize_fn uqff_avx2_quantize_q4_0, uqff_avx2_quantize_q4_1, uqff_avx2_quantize_q5_0,
    uqff_avx2_quantize_q5_1;

EITHER(q4_0)
EITHER(q4_1)
EITHER(q5_0)
EITHER(q5_1)

#endif
