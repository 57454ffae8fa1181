/* Types of one plain element a block: floats, integers and booleans, little-endian. Integers go to
 * the nearest float. */
#include "number.h"
#include "ref.h"

void uqff_ref_quantize_f32(const float *x, unsigned char *y, size_t n, const float *importance) {
    (void)importance;
    for (size_t i = 0; i < n; i++) {
        uqff_store_le32(y + 4 * i, float_bits(x[i]));
    }
}

void uqff_ref_dequantize_f32(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = bits_float(uqff_load_le32(x + 4 * i));
    }
}

/* A double beyond the range of float becomes infinity. */
void uqff_ref_dequantize_f64(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = uqff_load_le64(x + 8 * i);
        double v;
        memcpy(&v, &bits, sizeof v);
        y[i] = (float)v;
    }
}

void uqff_ref_dequantize_bool(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] != 0 ? 1.0f : 0.0f;
    }
}

void uqff_ref_dequantize_i8(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)(int8_t)x[i];
    }
}

void uqff_ref_dequantize_i16(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)(int16_t)uqff_load_le16(x + 2 * i);
    }
}

void uqff_ref_dequantize_i32(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)(int32_t)uqff_load_le32(x + 4 * i);
    }
}

void uqff_ref_dequantize_i64(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)(int64_t)uqff_load_le64(x + 8 * i);
    }
}

void uqff_ref_dequantize_u8(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)x[i];
    }
}

void uqff_ref_dequantize_u16(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)uqff_load_le16(x + 2 * i);
    }
}

void uqff_ref_dequantize_u32(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)uqff_load_le32(x + 4 * i);
    }
}

void uqff_ref_dequantize_u64(const unsigned char *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)uqff_load_le64(x + 8 * i);
    }
}
