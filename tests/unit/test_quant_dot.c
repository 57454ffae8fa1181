/* The test vectors of spec/kernels.md, at every level of this machine. That levels agree with each
 * other is the business of tests/kernels/test_dot.c; here they agree with the page. */
#include "support/support.h"
#include "uqff/quant.h"

enum { COLUMNS = 1024 };

/* Bits of the product in blocks and of the exact one, for two pairs of rows. Plain types have no
 * first one. */
static const struct vector {
    uint32_t type;
    uint32_t bits[2][2];
} vectors[] = {
    {UQFF_TYPE_F32, {{0x00000000, 0x3ce0b88a}, {0x00000000, 0xbc8d6c71}}},
    {UQFF_TYPE_F16, {{0x00000000, 0x3ce0b88a}, {0x00000000, 0xbc8d3cdf}}},
    {UQFF_TYPE_Q4_0, {{0x3cece181, 0x3cea5d58}, {0xbc3e0942, 0xbc3ead70}}},
    {UQFF_TYPE_Q4_1, {{0x3ce74320, 0x3ce4481a}, {0xbd218d0f, 0xbd21d860}}},
    {UQFF_TYPE_Q5_0, {{0x3cc7fe30, 0x3cc5a3fd}, {0xbca5da24, 0xbca68194}}},
    {UQFF_TYPE_Q5_1, {{0x3ce53e38, 0x3ce23f52}, {0xbc614266, 0xbc624fb4}}},
    {UQFF_TYPE_Q8_0, {{0x3ce4f66c, 0x3ce27bec}, {0xbc878be8, 0xbc881cbf}}},
    {UQFF_TYPE_Q8_1, {{0x3ce4f66c, 0x3ce27bec}, {0xbc878be8, 0xbc881cbf}}},
    {UQFF_TYPE_Q2_K, {{0x3ce67db5, 0x3ce18ce3}, {0x3cd6c458, 0x3cddafc0}}},
    {UQFF_TYPE_Q3_K, {{0x3cdbd135, 0x3cd8838a}, {0xbc72801a, 0xbc64c676}}},
    {UQFF_TYPE_Q4_K, {{0x3d05b4b0, 0x3d03b55b}, {0xbc91d66d, 0xbc897fca}}},
    {UQFF_TYPE_Q5_K, {{0x3cf158ff, 0x3ced79ea}, {0xbc42401e, 0xbc339c1c}}},
    {UQFF_TYPE_Q6_K, {{0x3cee4705, 0x3cea696c}, {0xbc8f7d5a, 0xbc885873}}},
    {UQFF_TYPE_IQ4_NL, {{0x3cea9114, 0x3ce81914}, {0xbd0c62ca, 0xbd0c6372}}},
    {UQFF_TYPE_IQ4_XS, {{0x3cfae2ea, 0x3cf6a72e}, {0xbd0cca22, 0xbd0933ec}}},
    {UQFF_TYPE_BF16, {{0x00000000, 0x3ce0b88a}, {0x00000000, 0xbc8c78ec}}},
    {UQFF_TYPE_TQ1_0, {{0x3d7093f1, 0x3d6fa7f0}, {0x3cacc547, 0x3cb2915d}}},
    {UQFF_TYPE_TQ2_0, {{0x3d7093f1, 0x3d6fa7f0}, {0x3cacc547, 0x3cb2915d}}},
    {UQFF_TYPE_MXFP4, {{0x3cf5f4cf, 0x3cf36a41}, {0xbc1d0bf3, 0xbc1cf79c}}},
};

static const struct { size_t weights, activations; } pairs[2] = {{1, 5}, {4, 6}};

static void read_row(const unsigned char *file, size_t row, float *out) {
    for (size_t i = 0; i < COLUMNS; i++) {
        uint32_t bits = uqff_load_le32(file + 4 * (row * COLUMNS + i));
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static void check_product(uint32_t type, uint32_t activations, const float *w, const float *x,
                          uint32_t expected) {
    static unsigned char encoded_w[4 * COLUMNS], encoded_x[4 * COLUMNS];
    struct uqff_error err;
    float out;
    uint32_t bits;
    const void *row_of_x = activations == UQFF_TYPE_F32 ? (const void *)x : encoded_x;
    assert_ok(uqff_quantize_row(type, w, encoded_w, COLUMNS, NULL, &err), &err);
    assert_ok(uqff_quantize_row(activations, x, encoded_x, COLUMNS, NULL, &err), &err);
    assert_ok(uqff_dot(type, encoded_w, activations, row_of_x, COLUMNS, &out, &err), &err);
    memcpy(&bits, &out, sizeof bits);
    if (bits != expected) {
        fail_msg("%s x %s at level %s: %08x, expected %08x", uqff_type_name(type),
                 uqff_type_name(activations), uqff_cpu_level_name(uqff_cpu_level()), bits,
                 expected);
    }
}

static void check_level(enum uqff_cpu_level level) {
    struct uqff_error err;
    static float w[COLUMNS], x[COLUMNS];
    unsigned char *input = read_file(test_data("golden/input.f32"), NULL);
    assert_ok(uqff_cpu_set_level(level, &err), &err);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *v = &vectors[i];
        uint32_t pair = uqff_activation_type(v->type);
        for (int p = 0; p < 2; p++) {
            read_row(input, pairs[p].weights, w);
            read_row(input, pairs[p].activations, x);
            if (pair != UQFF_TYPE_F32) {
                check_product(v->type, pair, w, x, v->bits[p][0]);
            }
            check_product(v->type, UQFF_TYPE_F32, w, x, v->bits[p][1]);
        }
    }
    free(input);
}

static void golden_rows_at_the_reference_level(void **state) {
    (void)state;
    check_level(UQFF_CPU_REF);
}

static void golden_rows_at_the_best_level(void **state) {
    (void)state;
    check_level(uqff_cpu_found());
}

/* Every type that can be encoded and stored stands in the table. */
static void no_type_is_forgotten(void **state) {
    (void)state;
    size_t count, expected = 0;
    const struct uqff_type_info *types = uqff_type_table(&count);
    for (size_t i = 0; i < count; i++) {
        expected += (types[i].flags & UQFF_TYPE_CAN_ENCODE) != 0 &&
                    uqff_activation_type(types[i].id) != UQFF_NO_TYPE;
    }
    assert_int_equal(sizeof vectors / sizeof vectors[0], expected);
}

static void by_hand(void **state) {
    (void)state;
    unsigned char w[18], x[34];
    float v[32], out;
    struct uqff_error err;
    for (int k = 0; k < 32; k++) {
        v[k] = (float)(k - 16);
    }
    assert_ok(uqff_quantize_row(UQFF_TYPE_Q4_0, v, w, 32, NULL, &err), &err);
    assert_ok(uqff_quantize_row(UQFF_TYPE_Q8_0, v, x, 32, NULL, &err), &err);
    assert_ok(uqff_dot(UQFF_TYPE_Q4_0, w, UQFF_TYPE_Q8_0, x, 32, &out, &err), &err);
    assert_true(out == 10733.0f * 0.251953125f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_rows_at_the_reference_level),
        cmocka_unit_test(golden_rows_at_the_best_level),
        cmocka_unit_test(no_type_is_forgotten),
        cmocka_unit_test(by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
