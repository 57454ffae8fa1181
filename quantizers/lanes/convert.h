/*
 * To plain floats, F32, F16 and BF16, and the search for a value that is no number. Over an
 * instruction set's unpack.h. Private to quantizers/.
 */
#ifndef UQFF_LANES_CONVERT_H
#define UQFF_LANES_CONVERT_H

#include "lanes/simple.h"
#include "ref/ref.h"

/* Memory holds a float in the order of the file on every machine that has these levels. */
void LEVEL(quantize_f32)(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    memcpy(y, x, n * sizeof *x);
}

void LEVEL(dequantize_f32)(const unsigned char *x, float *y, size_t n) {
    memcpy(y, x, n * sizeof *y);
}

/* What NaNs become the reference knows; they are too rare for a second definition. */

SIMD void LEVEL(quantize_f16)(const float *x, unsigned char *y, size_t n, const float *importance) {
    for (; n >= 32; n -= 32, x += 32, y += 64) {
        if (!group_to_f16(x, y)) {
            uqff_ref_quantize_f16(x, y, 32, importance);
        }
    }
    uqff_ref_quantize_f16(x, y, n, importance);
}

SIMD void LEVEL(quantize_bf16)(const float *x, unsigned char *y, size_t n,
                               const float *importance) {
    for (; n >= 32; n -= 32, x += 32, y += 64) {
        if (!group_to_bf16(x, y)) {
            uqff_ref_quantize_bf16(x, y, 32, importance);
        }
    }
    uqff_ref_quantize_bf16(x, y, n, importance);
}

SIMD size_t LEVEL(find_nonfinite)(const float *x, size_t n) {
    size_t i = 0;
    while (n - i >= 64 && all_finite_64(x + i)) {
        i += 64;
    }
    return i + uqff_ref_find_nonfinite(x + i, n - i < 64 ? n - i : 64);
}

#endif
