/* F16: IEEE binary16, two bytes a value; the conversion is in number.h. */
#include "number.h"
#include "ref.h"

void uqff_ref_quantize_f16(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i++) {
        uqff_store_le16(y + 2 * i, f16_from_float(x[i]));
    }
}

void uqff_ref_dequantize_f16(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = f16_to_float(uqff_load_le16(x + 2 * i));
    }
}

void uqff_ref_scales_d(const unsigned char *block, struct uqff_block_scales *out) {
    out->count = 1;
    out->scale[0] = load_f16(block);
    out->finite = is_finite(out->scale[0]);
}
