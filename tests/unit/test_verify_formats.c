/* Scales that are no numbers, in each of the encodings that UQFF has. */
#include "unit/test_verify_made.h"

/* A hand-made file of one module: its side entries and what they hold. */
struct side {
    const char *name;
    enum uqff_dtype dtype;
    unsigned rank;
    uint64_t shape[3];
    const char *bytes; /* of scalars and shapes; NULL: zeros */
};

static const struct side versions[] = {
    {"uqff.version.major", UQFF_DTYPE_U32, 0, {0}, "\1\0\0"},
    {"uqff.version.minor", UQFF_DTYPE_U32, 0, {0}, "\2\0\0"},
    {"uqff.version.patch", UQFF_DTYPE_U32, 0, {0}, "\0\0\0"},
};

static void write_sides(const char *name, const struct side *sides, size_t count) {
    struct uqff_error err;
    struct uqff_st_layout *layout = NULL;
    struct uqff_buffer out = {0};
    assert_ok(uqff_st_layout_new(&layout, &err), &err);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < COUNT(versions) + count; i++) {
            const struct side *side =
                i < COUNT(versions) ? &versions[i] : &sides[i - COUNT(versions)];
            static const char zeros[4096];
            uint64_t n = 0;
            assert_ok(uqff_dtype_bytes(side->dtype, side->shape, side->rank, &n, &err), &err);
            assert_true(n <= sizeof zeros);
            if (pass == 1) {
                uqff_buffer_append(&out, side->bytes != NULL ? side->bytes : zeros, (size_t)n);
                continue;
            }
            assert_ok(uqff_st_layout_add(layout, side->name, side->dtype, side->shape, side->rank,
                                         NULL, &err),
                      &err);
        }
        if (pass == 0) {
            assert_ok(uqff_st_layout_header(layout, 8, &out, &err), &err);
        }
    }
    assert_false(out.failed);
    write_file(in_folder(name), out.data, out.size);
    uqff_buffer_free(&out);
    uqff_st_layout_free(layout);
}

/* Passes as it is, and fails with `bytes` at a place in an entry. */
static void check(const struct side *sides, size_t count, const char *entry, uint64_t at,
                  const char *bytes, size_t n, const char *told_of) {
    write_sides("m-0.uqff", sides, count);
    const char *path = in_folder("m-0.uqff");
    assert_passes(path, .strict = false);
    patch(path, entry_offset(path, entry, NULL) + at, bytes, n);
    assert_false(verify(path, NULL));
    assert_int_equal(found.failures, 1);
    assert_told("failure nonfinite-scale:", told_of);
}

static void test_afq(void **state) {
    (void)state;
    static const struct side sides[] = {
        {"a.b.weight", UQFF_DTYPE_U32, 2, {2, 8}, NULL},
        {"a.b.weight.scales", UQFF_DTYPE_BF16, 2, {2, 1}, NULL},
        {"a.b.weight.biases", UQFF_DTYPE_BF16, 2, {2, 1}, NULL},
        {"a.b.weight.format", UQFF_DTYPE_U8, 0, {0}, "\4"},
        {"a.b.weight.bits", UQFF_DTYPE_U8, 0, {0}, "\4"},
        {"a.b.weight.group_size", UQFF_DTYPE_U8, 0, {0}, "\100"},
    };
    check(sides, COUNT(sides), "a.b.weight.scales", 2, "\x80\x7f", 2, "scale 1 is NaN");
    check(sides, COUNT(sides), "a.b.weight.biases", 0, "\xc0\xff", 2, "'a.b.weight.biases'");
}

static void test_hqq(void **state) {
    (void)state;
    static const struct side sides[] = {
        {"a.b.weight.scales", UQFF_DTYPE_F32, 2, {1, 2}, NULL},
        {"a.b.weight.zeros", UQFF_DTYPE_F32, 2, {1, 2}, NULL},
        {"a.b.weight.shape", UQFF_DTYPE_U32, 1, {2}, "\2\0\0\0\100\0\0"},
        {"a.b.weight.group_size", UQFF_DTYPE_U32, 0, {0}, "\100\0\0"},
        {"a.b.weight.optimization_steps", UQFF_DTYPE_U32, 0, {0}, "\12\0\0"},
        {"a.b.weight", UQFF_DTYPE_U8, 2, {64, 2}, NULL},
        {"a.b.weight.format", UQFF_DTYPE_U8, 0, {0}, "\2"},
        {"a.b.weight.bits", UQFF_DTYPE_U8, 0, {0}, "\10"},
        {"a.b.weight.axis", UQFF_DTYPE_U8, 0, {0}, "\0"},
        {"a.b.weight.round_zeros", UQFF_DTYPE_U8, 0, {0}, "\0"},
        {"a.b.weight.channel_wise", UQFF_DTYPE_U8, 0, {0}, "\1"},
    };
    check(sides, COUNT(sides), "a.b.weight.zeros", 4, "\0\0\x80\x7f", 4, "'a.b.weight.zeros'");
}

static void test_fp8(void **state) {
    (void)state;
    static const struct side sides[] = {
        {"a.b.weight.dequant_w_scale", UQFF_DTYPE_F32, 0, {0}, "\0\0\x80\x3f"},
        {"a.b.weight.dequant_x_scale", UQFF_DTYPE_F32, 0, {0}, "\0\0\x80\x3f"},
        {"a.b.weight.quant_scale", UQFF_DTYPE_F32, 0, {0}, "\0\0\x80\x3f"},
        {"a.b.weight.dtype", UQFF_DTYPE_U32, 0, {0}, "\11\0\0"},
        {"a.b.weight", UQFF_DTYPE_F8_E4M3, 2, {2, 8}, NULL},
        {"a.b.weight.format", UQFF_DTYPE_U8, 0, {0}, "\3"},
    };
    check(sides, COUNT(sides), "a.b.weight.dequant_w_scale", 0, "\0\0\xc0\x7f", 4,
          "'a.b.weight.dequant_w_scale'");
    write_sides("m-0.uqff", sides, COUNT(sides));
    const char *path = in_folder("m-0.uqff");
    patch(path, entry_offset(path, "a.b.weight", NULL) + 5, "\xff", 1);
    assert_passes(path, .strict = false);
    assert_told("warning nonfinite:", "'a.b.weight': 1 of its elements");
}

static void test_f8q8(void **state) {
    (void)state;
    static const struct side sides[] = {
        {"a.b.weight.num_blocks", UQFF_DTYPE_U32, 0, {0}, "\4\0\0"},
        {"a.b.weight.shape", UQFF_DTYPE_U32, 1, {2}, "\2\0\0\0\100\0\0"},
        {"a.b.weight", UQFF_DTYPE_U8, 1, {132}, NULL},
        {"a.b.weight.format", UQFF_DTYPE_U8, 0, {0}, "\5"},
    };
    check(sides, COUNT(sides), "a.b.weight", 99, "\x7f", 1, "block 3 has a scale");
    /* The same byte among the quants is a number. */
    write_sides("m-0.uqff", sides, COUNT(sides));
    const char *path = in_folder("m-0.uqff");
    patch(path, entry_offset(path, "a.b.weight", NULL) + 100, "\x7f", 1);
    assert_passes(path, .strict = true);
}

static void test_mxfp4(void **state) {
    (void)state;
    static const struct side sides[] = {
        {"a.b.weight", UQFF_DTYPE_U8, 2, {2, 32}, NULL},
        {"a.b.weight.scales", UQFF_DTYPE_U8, 2, {2, 2}, NULL},
        {"a.b.weight.format", UQFF_DTYPE_U8, 0, {0}, "\6"},
    };
    check(sides, COUNT(sides), "a.b.weight.scales", 2, "\xff", 1, "block 2 has a scale");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_afq, enter_folder),
        cmocka_unit_test_setup(test_hqq, enter_folder),
        cmocka_unit_test_setup(test_fp8, enter_folder),
        cmocka_unit_test_setup(test_f8q8, enter_folder),
        cmocka_unit_test_setup(test_mxfp4, enter_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
