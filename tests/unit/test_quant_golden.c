/* Every golden file: encoding its input gives its bytes, decoding its bytes gives its floats. The
 * files and how they were made: testdata/golden/README.md. */
#include <stdio.h>

#include "support/support.h"
#include "uqff/quant.h"

enum { ROWS = 16, COLUMNS = 1024 };

struct golden {
    uint32_t type;
    const char *name; /* of the files */
    bool importance;  /* there is a file made with importance */
    bool decoded;     /* there is a file of decoded values */
};

static const struct golden goldens[] = {
    {UQFF_TYPE_F16, "f16", false, true},      {UQFF_TYPE_BF16, "bf16", false, true},
    {UQFF_TYPE_Q4_0, "q4_0", true, true},     {UQFF_TYPE_Q4_1, "q4_1", true, true},
    {UQFF_TYPE_Q5_0, "q5_0", true, true},     {UQFF_TYPE_Q5_1, "q5_1", true, true},
    {UQFF_TYPE_Q8_0, "q8_0", false, true},    {UQFF_TYPE_Q8_1, "q8_1", false, false},
    {UQFF_TYPE_Q2_K, "q2_k", true, true},     {UQFF_TYPE_Q3_K, "q3_k", true, true},
    {UQFF_TYPE_Q4_K, "q4_k", true, true},     {UQFF_TYPE_Q5_K, "q5_k", true, true},
    {UQFF_TYPE_Q6_K, "q6_k", true, true},     {UQFF_TYPE_Q8_K, "q8_k", false, false},
    {UQFF_TYPE_IQ4_NL, "iq4_nl", true, true}, {UQFF_TYPE_IQ4_XS, "iq4_xs", true, true},
    {UQFF_TYPE_TQ1_0, "tq1_0", false, true},  {UQFF_TYPE_TQ2_0, "tq2_0", false, true},
    {UQFF_TYPE_MXFP4, "mxfp4", false, true},
};

/* The files hold little-endian float32. */
static float *read_floats(const char *name, size_t count) {
    size_t size;
    unsigned char *bytes = read_file(test_data(name), &size);
    assert_int_equal(size, 4 * count);
    float *out = malloc(size);
    assert_non_null(out);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = uqff_load_le32(bytes + 4 * i);
        memcpy(&out[i], &bits, 4);
    }
    free(bytes);
    return out;
}

static void check_encode(const struct golden *golden, const float *input, const float *importance) {
    struct uqff_error err;
    char name[64];
    size_t size;
    snprintf(name, sizeof name, "golden/%s%s.bin", golden->name, importance ? ".imatrix" : "");
    unsigned char *expected = read_file(test_data(name), &size);
    uint64_t row_bytes;
    assert_ok(uqff_row_bytes(golden->type, COLUMNS, &row_bytes, &err), &err);
    assert_int_equal(size, ROWS * row_bytes);
    /* One byte off, so that an aligned store would show under the sanitizer. */
    unsigned char *buffer = malloc(row_bytes + 1);
    assert_non_null(buffer);
    for (size_t row = 0; row < ROWS; row++) {
        memset(buffer, 0xcc, row_bytes + 1);
        assert_ok(uqff_quantize_row(golden->type, input + row * COLUMNS, buffer + 1, COLUMNS,
                                    importance, &err),
                  &err);
        for (size_t i = 0; i < row_bytes; i++) {
            if (buffer[1 + i] != expected[row * row_bytes + i]) {
                fail_msg("%s: row %zu, byte %zu: found %02x, expected %02x", name, row, i,
                         buffer[1 + i], expected[row * row_bytes + i]);
            }
        }
    }
    free(buffer);
    free(expected);
}

static void check_decode(const struct golden *golden) {
    struct uqff_error err;
    char name[64];
    snprintf(name, sizeof name, "golden/%s.bin", golden->name);
    unsigned char *bytes = read_file(test_data(name), NULL);
    snprintf(name, sizeof name, "golden/%s.f32", golden->name);
    float *expected = read_floats(name, ROWS * COLUMNS);
    float *found = malloc(ROWS * COLUMNS * sizeof *found);
    assert_non_null(found);
    assert_ok(uqff_dequantize_row(golden->type, bytes, found, ROWS * COLUMNS, &err), &err);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        if (memcmp(&found[i], &expected[i], sizeof *found) != 0) {
            fail_msg("%s: value %zu: found %a, expected %a", name, i, (double)found[i],
                     (double)expected[i]);
        }
    }
    free(found);
    free(expected);
    free(bytes);
}

static void test_encode(void **state) {
    (void)state;
    float *input = read_floats("golden/input.f32", ROWS * COLUMNS);
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++) {
        check_encode(&goldens[i], input, NULL);
    }
    free(input);
}

static void test_encode_with_importance(void **state) {
    (void)state;
    float *input = read_floats("golden/input.f32", ROWS * COLUMNS);
    float *importance = read_floats("golden/importance.f32", COLUMNS);
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++) {
        if (goldens[i].importance) {
            check_encode(&goldens[i], input, importance);
        }
    }
    free(importance);
    free(input);
}

static void test_decode(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++) {
        if (goldens[i].decoded) {
            check_decode(&goldens[i]);
        }
    }
}

/* Q8_1 and Q8_K have no file of decoded values: they are q * d. */
static void test_decode_activations(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        const char *name;
        size_t length, bytes, codes;
    } row[] = {{UQFF_TYPE_Q8_1, "golden/q8_1.bin", 32, 36, 4},
               {UQFF_TYPE_Q8_K, "golden/q8_k.bin", 256, 292, 4}};
    struct uqff_error err;
    float *all = malloc(ROWS * COLUMNS * sizeof *all);
    assert_non_null(all);
    for (size_t t = 0; t < 2; t++) {
        unsigned char *bytes = read_file(test_data(row[t].name), NULL);
        assert_ok(uqff_dequantize_row(row[t].type, bytes, all, ROWS * COLUMNS, &err), &err);
        for (size_t i = 0; i < ROWS * COLUMNS; i++) {
            const unsigned char *block = bytes + i / row[t].length * row[t].bytes;
            float d;
            if (row[t].type == UQFF_TYPE_Q8_1) {
                assert_ok(uqff_dequantize_row(UQFF_TYPE_F16, block, &d, 1, &err), &err);
            } else {
                assert_ok(uqff_dequantize_row(UQFF_TYPE_F32, block, &d, 1, &err), &err);
            }
            float expected = (float)(int8_t)block[row[t].codes + i % row[t].length] * d;
            assert_memory_equal(&all[i], &expected, sizeof expected);
        }
        free(bytes);
    }
    free(all);
}

/* The vectors that spec/quantization.md works out by hand: x[k] = k - 16. */
static void test_spec_vectors(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        size_t size;
        unsigned char block[22];
    } known[] = {
        {UQFF_TYPE_Q4_0,
         18,
         {0x00, 0x40, 0x80, 0x91, 0x91, 0xa2, 0xa2, 0xb3, 0xb3, 0xc4, 0xc4, 0xd5, 0xd5, 0xe6, 0xe6,
          0xf7, 0xf7, 0xf8}},
        {UQFF_TYPE_Q5_0, 22, {0x00, 0x3c, 0x00, 0x00, 0xff, 0xff, 0x00, 0x11, 0x22, 0x33, 0x44,
                              0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}},
        {UQFF_TYPE_MXFP4,
         17,
         {0x81, 0x0e, 0x0e, 0x1d, 0x1d, 0x2d, 0x2d, 0x3c, 0x3c, 0x4c, 0x4b, 0x4b, 0x5a, 0x5a, 0x59,
          0x59, 0x60}},
    };
    struct uqff_error err;
    float x[32];
    unsigned char block[22];
    for (int k = 0; k < 32; k++) {
        x[k] = (float)(k - 16);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_ok(uqff_quantize_row(known[i].type, x, block, 32, NULL, &err), &err);
        assert_memory_equal(block, known[i].block, known[i].size);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),       cmocka_unit_test(test_encode_with_importance),
        cmocka_unit_test(test_decode),       cmocka_unit_test(test_decode_activations),
        cmocka_unit_test(test_spec_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
