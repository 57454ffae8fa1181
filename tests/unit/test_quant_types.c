/* The table of types, sizes of rows and tensors, kernel levels, and the types that are plain
 * numbers or small floats. */
#include <math.h>

#include "support/support.h"
#include "uqff/quant.h"

static float float_of(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint32_t bits_of(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void test_table_is_sound(void **state) {
    (void)state;
    size_t count;
    const struct uqff_type_info *table = uqff_type_table(&count);
    assert_true(count > 40);
    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || table[i - 1].id < table[i].id);
        assert_ptr_equal(uqff_type_info(table[i].id), &table[i]);
        assert_ptr_equal(uqff_type_by_name(table[i].name), &table[i]);
        assert_string_equal(uqff_type_name(table[i].id), table[i].name);
        assert_false(uqff_type_is_retired(table[i].id));
        assert_true(table[i].block_length > 0 && table[i].block_bytes > 0);
    }
}

static void test_sizes(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t id, length, bytes;
    } known[] = {
        {"F32", 0, 1, 4},         {"F16", 1, 1, 2},         {"Q4_0", 2, 32, 18},
        {"Q4_1", 3, 32, 20},      {"Q5_0", 6, 32, 22},      {"Q5_1", 7, 32, 24},
        {"Q8_0", 8, 32, 34},      {"Q8_1", 9, 32, 36},      {"Q2_K", 10, 256, 84},
        {"Q3_K", 11, 256, 110},   {"Q4_K", 12, 256, 144},   {"Q5_K", 13, 256, 176},
        {"Q6_K", 14, 256, 210},   {"Q8_K", 15, 256, 292},   {"IQ2_XXS", 16, 256, 66},
        {"IQ2_XS", 17, 256, 74},  {"IQ3_XXS", 18, 256, 98}, {"IQ1_S", 19, 256, 50},
        {"IQ4_NL", 20, 32, 18},   {"IQ3_S", 21, 256, 110},  {"IQ2_S", 22, 256, 82},
        {"IQ4_XS", 23, 256, 136}, {"I8", 24, 1, 1},         {"I16", 25, 1, 2},
        {"I32", 26, 1, 4},        {"I64", 27, 1, 8},        {"F64", 28, 1, 8},
        {"IQ1_M", 29, 256, 56},   {"BF16", 30, 1, 2},       {"TQ1_0", 34, 256, 54},
        {"TQ2_0", 35, 256, 66},   {"MXFP4", 39, 32, 17},    {"NVFP4", 40, 64, 36},
        {"Q1_0", 41, 128, 18},    {"Q2_0", 42, 64, 18},     {"F4", 1010, 2, 1},
        {"F6_E2M3", 1011, 4, 3},  {"C64", 1005, 1, 8},      {"BOOL", 1000, 1, 1},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const struct uqff_type_info *info = uqff_type_by_name(known[i].name);
        assert_non_null(info);
        assert_int_equal(info->id, known[i].id);
        assert_int_equal(info->block_length, known[i].length);
        assert_int_equal(info->block_bytes, known[i].bytes);
    }
}

static void test_names(void **state) {
    (void)state;
    assert_int_equal(uqff_type_by_name("q4_k")->id, UQFF_TYPE_Q4_K);
    assert_int_equal(uqff_type_by_name("Bf16")->id, UQFF_TYPE_BF16);
    assert_null(uqff_type_by_name(""));
    assert_null(uqff_type_by_name("Q4"));
    assert_null(uqff_type_by_name("Q4_K_M"));
    assert_string_equal(uqff_type_name(43), "type 43");
    assert_string_equal(uqff_type_name(UINT32_MAX), "type 4294967295");
    assert_string_equal(uqff_type_name(4), "retired type 4");
}

static void test_retired(void **state) {
    (void)state;
    static const uint32_t retired[] = {4, 5, 31, 32, 33, 36, 37, 38};
    size_t found = 0;
    for (uint32_t id = 0; id < 2000; id++) {
        if (uqff_type_is_retired(id)) {
            assert_int_equal(id, retired[found]);
            assert_null(uqff_type_info(id));
            found++;
        }
    }
    assert_int_equal(found, sizeof retired / sizeof retired[0]);
}

/* What the flags promise is what the functions do, for every type. */
static void test_flags(void **state) {
    (void)state;
    size_t count;
    const struct uqff_type_info *table = uqff_type_table(&count);
    float x[256] = {0};
    unsigned char bytes[2048] = {0};
    struct uqff_scale_range range;
    struct uqff_error err;
    for (size_t i = 0; i < count; i++) {
        const struct uqff_type_info *t = &table[i];
        size_t n = t->block_length;
        enum uqff_code encoded = uqff_quantize_row(t->id, x, bytes, n, NULL, &err);
        assert_int_equal(encoded, t->flags & UQFF_TYPE_CAN_ENCODE ? UQFF_OK : UQFF_E_TYPE);
        enum uqff_code decoded = uqff_dequantize_row(t->id, bytes, x, n, &err);
        assert_int_equal(decoded, t->flags & UQFF_TYPE_CAN_DECODE ? UQFF_OK : UQFF_E_TYPE);
        bool scales = (t->flags & UQFF_TYPE_IS_QUANTIZED) && (t->flags & UQFF_TYPE_CAN_DECODE);
        enum uqff_code scanned = uqff_scan_scales(t->id, bytes, n, &range, &err);
        assert_int_equal(scanned, scales ? UQFF_OK : UQFF_E_TYPE);
        if (n > 1 && decoded == UQFF_OK) {
            assert_fails(uqff_dequantize_row(t->id, bytes, x, n - 1, &err), UQFF_E_SHAPE, &err,
                         t->name);
        }
        if (n > 1 && encoded == UQFF_OK) {
            assert_fails(uqff_quantize_row(t->id, x, bytes, n + 1, NULL, &err), UQFF_E_SHAPE, &err,
                         t->name);
        }
    }
    assert_fails(uqff_quantize_row(31, x, bytes, 32, NULL, &err), UQFF_E_TYPE, &err,
                 "retired type 31");
    assert_fails(uqff_dequantize_row(999, bytes, x, 32, &err), UQFF_E_TYPE, &err, "type 999");
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void test_row_bytes(void **state) {
    (void)state;
    struct uqff_error err;
    uint64_t bytes = 77;
    assert_ok(uqff_row_bytes(UQFF_TYPE_Q4_K, 4096, &bytes, &err), &err);
    assert_int_equal(bytes, 16 * 144);
    assert_ok(uqff_row_bytes(UQFF_TYPE_F16, 0, &bytes, &err), &err);
    assert_int_equal(bytes, 0);
    assert_ok(uqff_row_bytes(UQFF_TYPE_F6_E2M3, 8, &bytes, &err), &err);
    assert_int_equal(bytes, 6);
    bytes = 77;
    assert_fails(uqff_row_bytes(UQFF_TYPE_Q4_K, 4097, &bytes, &err), UQFF_E_SHAPE, &err,
                 "row of 4097 elements, expected a multiple of 256");
    assert_fails(uqff_row_bytes(5, 32, &bytes, &err), UQFF_E_TYPE, &err, "retired type 5");
    assert_fails(uqff_row_bytes(UQFF_TYPE_F32, UINT64_MAX, &bytes, &err), UQFF_E_OVERFLOW, &err,
                 "F32");
    assert_fails(uqff_row_bytes(UQFF_TYPE_F32, 1ull << 62, &bytes, &err), UQFF_E_OVERFLOW, &err,
                 "F32");
    assert_int_equal(bytes, 77);
    assert_ok(uqff_row_bytes(UQFF_TYPE_F32, (1ull << 62) - 1, &bytes, &err), &err);
    assert_true(bytes == UINT64_MAX - 3);
    assert_int_equal(uqff_row_bytes(UQFF_TYPE_Q8_0, 1, &bytes, NULL), UQFF_E_SHAPE);
}

static void test_tensor_bytes(void **state) {
    (void)state;
    struct uqff_error err;
    uint64_t bytes = 77;
    const uint64_t plain[] = {3, 5, 512};
    assert_ok(uqff_tensor_bytes(UQFF_TYPE_Q6_K, plain, 3, &bytes, &err), &err);
    assert_int_equal(bytes, 3 * 5 * 2 * 210);
    assert_ok(uqff_tensor_bytes(UQFF_TYPE_F64, NULL, 0, &bytes, &err), &err);
    assert_int_equal(bytes, 8);
    assert_fails(uqff_tensor_bytes(UQFF_TYPE_Q8_0, NULL, 0, &bytes, &err), UQFF_E_SHAPE, &err,
                 "Q8_0");

    /* The last axis counts, not the number of elements. */
    const uint64_t narrow[] = {256, 128};
    assert_fails(uqff_tensor_bytes(UQFF_TYPE_Q6_K, narrow, 2, &bytes, &err), UQFF_E_SHAPE, &err,
                 "row of 128");
    const uint64_t too_many[] = {1ull << 33, 1ull << 33, 256};
    assert_fails(uqff_tensor_bytes(UQFF_TYPE_Q6_K, too_many, 3, &bytes, &err), UQFF_E_OVERFLOW,
                 &err, "Q6_K");
    const uint64_t too_wide[] = {1ull << 60, 256};
    assert_fails(uqff_tensor_bytes(UQFF_TYPE_Q6_K, too_wide, 2, &bytes, &err), UQFF_E_OVERFLOW,
                 &err, "Q6_K");
    /* 2^62 elements whose product overflows no earlier than it must: 2^57 blocks of 18 bytes. */
    const uint64_t fits[] = {1ull << 31, 1ull << 31};
    assert_ok(uqff_tensor_bytes(UQFF_TYPE_Q4_0, fits, 2, &bytes, &err), &err);
    assert_true(bytes == (1ull << 57) * 18);
    const uint64_t empty[] = {0, 1ull << 63, 1ull << 63};
    assert_ok(uqff_tensor_bytes(UQFF_TYPE_F32, empty, 3, &bytes, &err), &err);
    assert_int_equal(bytes, 0);
    const uint64_t no_columns[] = {1ull << 63, 1ull << 63, 0};
    assert_ok(uqff_tensor_bytes(UQFF_TYPE_Q4_K, no_columns, 3, &bytes, &err), &err);
    assert_int_equal(bytes, 0);
}

/* ---- kernel level ---------------------------------------------------------------------------- */

static void test_cpu_level(void **state) {
    (void)state;
    struct uqff_error err;
    enum uqff_cpu_level found = uqff_cpu_found();
    assert_int_equal(uqff_cpu_level(), found);
    assert_ok(uqff_cpu_set_level(UQFF_CPU_REF, &err), &err);
    assert_int_equal(uqff_cpu_level(), UQFF_CPU_REF);
    assert_ok(uqff_cpu_set_level(found, &err), &err);
    assert_int_equal(uqff_cpu_level(), found);
    enum uqff_cpu_level other = found == UQFF_CPU_NEON ? UQFF_CPU_AVX2 : UQFF_CPU_NEON;
    assert_fails(uqff_cpu_set_level(other, &err), UQFF_E_ARGUMENT, &err,
                 uqff_cpu_level_name(other));
    assert_int_equal(uqff_cpu_level(), found);
    assert_string_equal(uqff_cpu_level_name(UQFF_CPU_REF), "ref");
    assert_string_equal(uqff_cpu_level_name(UQFF_CPU_AVX2), "avx2");
    assert_string_equal(uqff_cpu_level_name(UQFF_CPU_NEON), "neon");
    assert_string_equal(uqff_cpu_level_name(UQFF_CPU_AVX512), "avx512");
    assert_ok(uqff_cpu_set_level(UQFF_CPU_REF, &err), &err);
    if (found == UQFF_CPU_AVX512) {
        assert_ok(uqff_cpu_set_level(UQFF_CPU_AVX2, &err), &err);
        assert_int_equal(uqff_cpu_level(), UQFF_CPU_AVX2);
    }
    assert_ok(uqff_cpu_set_level(found, &err), &err);
}

/* ---- floats ---------------------------------------------------------------------------------- */

static uint16_t encode_16(uint32_t type, float v) {
    unsigned char bytes[2];
    struct uqff_error err;
    assert_ok(uqff_quantize_row(type, &v, bytes, 1, NULL, &err), &err);
    return uqff_load_le16(bytes);
}

static float decode_16(uint32_t type, uint16_t half) {
    unsigned char bytes[2];
    float v;
    struct uqff_error err;
    uqff_store_le16(bytes, half);
    assert_ok(uqff_dequantize_row(type, bytes, &v, 1, &err), &err);
    return v;
}

/* The value of an f16 by its definition, in double. */
static double f16_value(unsigned half) {
    unsigned exponent = half >> 10 & 0x1f;
    double fraction = half & 0x3ff;
    double v = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, (int)exponent - 25);
    return half & 0x8000 ? -v : v;
}

/* Every finite f16 decodes to its value and back; numbers half-way between two go to the even one,
 * their neighbours to the nearer one. */
static void test_f16(void **state) {
    (void)state;
    for (unsigned half = 0; half < 0x10000; half++) {
        float v = decode_16(UQFF_TYPE_F16, (uint16_t)half);
        if ((half & 0x7c00) == 0x7c00) {
            assert_true((half & 0x3ff) != 0 ? v != v : isinf(v));
            continue;
        }
        assert_true((double)v == f16_value(half));
        assert_int_equal(bits_of(v) >> 31, half >> 15);
        assert_int_equal(encode_16(UQFF_TYPE_F16, v), half);
    }
    for (unsigned half = 0; half < 0x7c00; half++) {
        /* The step above 65504 would end at 65536. */
        double above = half == 0x7bff ? 65536.0 : f16_value(half + 1);
        float middle = (float)((f16_value(half) + above) / 2); /* exact */
        float below_middle = float_of(bits_of(middle) - 1);
        float above_middle = float_of(bits_of(middle) + 1);
        assert_int_equal(encode_16(UQFF_TYPE_F16, middle), half + (half & 1));
        assert_int_equal(encode_16(UQFF_TYPE_F16, below_middle), half);
        assert_int_equal(encode_16(UQFF_TYPE_F16, above_middle), half + 1);
        assert_int_equal(encode_16(UQFF_TYPE_F16, -middle), 0x8000 | (half + (half & 1)));
    }
    assert_int_equal(encode_16(UQFF_TYPE_F16, 0x1.fffffep127f), 0x7c00);
    assert_int_equal(encode_16(UQFF_TYPE_F16, float_of(1)), 0);
    assert_int_equal(encode_16(UQFF_TYPE_F16, float_of(0x80000001)), 0x8000);
    assert_int_equal(encode_16(UQFF_TYPE_F16, float_of(0xffc00000)), 0x7e00);
}

static void test_bf16(void **state) {
    (void)state;
    for (uint32_t half = 0; half < 0x7f80; half++) {
        assert_int_equal(bits_of(decode_16(UQFF_TYPE_BF16, (uint16_t)half)), half << 16);
        uint32_t middle = half << 16 | 0x8000;
        assert_int_equal(encode_16(UQFF_TYPE_BF16, float_of(half << 16)), half);
        assert_int_equal(encode_16(UQFF_TYPE_BF16, float_of(middle - 1)), half);
        assert_int_equal(encode_16(UQFF_TYPE_BF16, float_of(middle)), half + (half & 1));
        assert_int_equal(encode_16(UQFF_TYPE_BF16, float_of(middle + 1)), half + 1);
        assert_int_equal(encode_16(UQFF_TYPE_BF16, float_of(middle | 0x80000000)),
                         0x8000 | (half + (half & 1)));
    }
    assert_int_equal(encode_16(UQFF_TYPE_BF16, float_of(0x7f800001)), 0x7fc0);
}

/* The value of a small float by its definition; no special codes. */
static double small_value(unsigned code, int exponent_bits, int fraction_bits, int bias) {
    int exponent = (int)(code >> fraction_bits) & ((1 << exponent_bits) - 1);
    double fraction = code & ((1u << fraction_bits) - 1);
    double one = 1 << fraction_bits;
    double v = exponent == 0 ? ldexp(fraction / one, 1 - bias)
                             : ldexp(1 + fraction / one, exponent - bias);
    return code >> (exponent_bits + fraction_bits) & 1 ? -v : v;
}

static void test_f8(void **state) {
    (void)state;
    struct uqff_error err;
    unsigned char all[256];
    float y[256];
    for (unsigned i = 0; i < 256; i++) {
        all[i] = (unsigned char)i;
    }
    assert_ok(uqff_dequantize_row(UQFF_TYPE_F8_E4M3, all, y, 256, &err), &err);
    for (unsigned i = 0; i < 256; i++) {
        assert_true((i & 0x7f) == 0x7f ? y[i] != y[i] : (double)y[i] == small_value(i, 4, 3, 7));
    }
    assert_true(y[0x7e] == 448.0f && y[0x81] == -0x1p-9f && bits_of(y[0x80]) == 0x80000000);
    assert_ok(uqff_dequantize_row(UQFF_TYPE_F8_E5M2, all, y, 256, &err), &err);
    for (unsigned i = 0; i < 256; i++) {
        if ((i & 0x7c) == 0x7c) {
            assert_true(i & 3 ? y[i] != y[i] : isinf(y[i]));
        } else {
            assert_true((double)y[i] == small_value(i, 5, 2, 15));
        }
    }
    assert_ok(uqff_dequantize_row(UQFF_TYPE_F8_E8M0, all, y, 256, &err), &err);
    for (int i = 0; i < 255; i++) {
        assert_true((double)y[i] == ldexp(1, i - 127));
    }
    assert_true(y[255] != y[255]);
}

static void test_f4_and_f6(void **state) {
    (void)state;
    struct uqff_error err;
    float y[256];
    unsigned char bytes[48];
    for (unsigned i = 0; i < 16; i++) {
        bytes[i] = (unsigned char)(i | (15 - i) << 4);
    }
    assert_ok(uqff_dequantize_row(UQFF_TYPE_F4, bytes, y, 32, &err), &err);
    for (unsigned i = 0; i < 16; i++) {
        assert_true((double)y[2 * i] == small_value(i, 2, 1, 1));
        assert_true((double)y[2 * i + 1] == small_value(15 - i, 2, 1, 1));
    }
    assert_true(y[2] == 0.5f && y[14] == 6.0f);

    /* Codes 0 .. 63 one after the other, six bits each. */
    memset(bytes, 0, sizeof bytes);
    for (unsigned bit = 0; bit < 64 * 6; bit++) {
        bytes[bit / 8] |= (unsigned char)((bit / 6 >> bit % 6 & 1) << bit % 8);
    }
    assert_ok(uqff_dequantize_row(UQFF_TYPE_F6_E2M3, bytes, y, 64, &err), &err);
    for (unsigned i = 0; i < 64; i++) {
        assert_true((double)y[i] == small_value(i, 2, 3, 1));
    }
    assert_true(y[31] == 7.5f);
    assert_ok(uqff_dequantize_row(UQFF_TYPE_F6_E3M2, bytes, y, 64, &err), &err);
    for (unsigned i = 0; i < 64; i++) {
        assert_true((double)y[i] == small_value(i, 3, 2, 3));
    }
    assert_true(y[31] == 28.0f);
}

/* ---- plain numbers --------------------------------------------------------------------------- */

static void test_plain(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        uint64_t bits; /* as little-endian bytes */
        float value;
    } known[] = {
        {UQFF_TYPE_BOOL, 0, 0.0f},
        {UQFF_TYPE_BOOL, 1, 1.0f},
        {UQFF_TYPE_BOOL, 200, 1.0f},
        {UQFF_TYPE_I8, 0x80, -128.0f},
        {UQFF_TYPE_U8, 0x80, 128.0f},
        {UQFF_TYPE_I16, 0x8000, -32768.0f},
        {UQFF_TYPE_U16, 0xff01, 65281.0f},
        {UQFF_TYPE_I32, 0xfffffffe, -2.0f},
        {UQFF_TYPE_U32, 0xffffffff, 0x1p32f},
        {UQFF_TYPE_I32, 16777217, 16777216.0f}, /* a tie, to even */
        {UQFF_TYPE_I32, 16777219, 16777220.0f},
        {UQFF_TYPE_I64, 0x8000000000000000, -0x1p63f},
        {UQFF_TYPE_U64, 0xffffffffffffffff, 0x1p64f},
        {UQFF_TYPE_U64, 0x8000008000000001, 0x1.000002p63f}, /* a double would make it a tie */
        {UQFF_TYPE_F64, 0x3ff8000000000000, 1.5f},
        {UQFF_TYPE_F64, 0x3ff0000010000000, 1.0f}, /* a tie, to even */
        {UQFF_TYPE_F64, 0x3ff0000010000001, 0x1.000002p0f},
        {UQFF_TYPE_F64, 0x7fefffffffffffff, INFINITY},
        {UQFF_TYPE_F32, 0x80000001, -0x1p-149f},
    };
    struct uqff_error err;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        unsigned char bytes[9] = {0};
        float v = 77.0f;
        uqff_store_le64(bytes + 1, known[i].bits); /* at an odd address */
        assert_ok(uqff_dequantize_row(known[i].type, bytes + 1, &v, 1, &err), &err);
        assert_int_equal(bits_of(v), bits_of(known[i].value));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_retired),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_row_bytes),
        cmocka_unit_test(test_tensor_bytes),
        cmocka_unit_test(test_cpu_level),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_f8),
        cmocka_unit_test(test_f4_and_f6),
        cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
