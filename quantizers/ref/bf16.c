/* BF16: the upper half of a binary32, two bytes a value; the conversion is in number.h. */
#include "number.h"
#include "ref.h"

void uqff_ref_quantize_bf16(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i++) {
        uqff_store_le16(y + 2 * i, bf16_from_float(x[i]));
    }
}

void uqff_ref_dequantize_bf16(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = bf16_to_float(uqff_load_le16(x + 2 * i));
    }
}
