/* The safetensors writer: exact bytes, round trips, and what it refuses to write. */
#include "support/support.h"

#include <stdio.h>

#include "uqff/safetensors.h"

static struct uqff_st_layout *new_layout(void) {
    struct uqff_error err;
    struct uqff_st_layout *layout = NULL;
    assert_ok(uqff_st_layout_new(&layout, &err), &err);
    return layout;
}

/* Renders and compares with the `n` bytes of a literal. */
static void expect_header(const struct uqff_st_layout *layout, unsigned alignment,
                          const char *expected, size_t n) {
    struct uqff_error err;
    struct uqff_buffer out = {0};
    assert_int_equal(uqff_st_layout_header_bytes(layout, alignment), n);
    assert_ok(uqff_st_layout_header(layout, alignment, &out, &err), &err);
    assert_int_equal(out.size, n);
    assert_memory_equal(out.data, expected, n);
    uqff_buffer_free(&out);
}
#define expect_header_text(layout, alignment, text)                                                \
    expect_header(layout, alignment, text, sizeof text - 1)

static void empty_layouts(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_st_layout *layout = new_layout();
    expect_header_text(layout, 8, "\x08\0\0\0\0\0\0\0{}      ");
    assert_ok(uqff_st_layout_metadata(layout, "k", "v", &err), &err);
    expect_header_text(layout, 8, "\x20\0\0\0\0\0\0\0{\"__metadata__\":{\"k\":\"v\"}}      ");
    assert_int_equal(uqff_st_layout_count(layout), 0);
    assert_int_equal(uqff_st_layout_data_bytes(layout), 0);
    uqff_st_layout_free(layout);
    uqff_st_layout_free(NULL);
}

static void exact_bytes(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_st_layout *layout = new_layout();
    uint64_t offset = 99;
    assert_ok(uqff_st_layout_add(layout, "w", UQFF_DTYPE_F32, (uint64_t[]){2, 3}, 2, &offset, &err),
              &err);
    assert_int_equal(offset, 0);
    /* Every escape that JSON demands, and text that goes as it is. */
    assert_ok(uqff_st_layout_add(layout, "\"\\/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9", UQFF_DTYPE_U8, NULL,
                                 0, &offset, &err),
              &err);
    assert_int_equal(offset, 24);
    assert_ok(uqff_st_layout_add(layout, "z", UQFF_DTYPE_BOOL, (uint64_t[]){0, UINT64_MAX}, 2, NULL,
                                 &err),
              &err);
    assert_int_equal(uqff_st_layout_count(layout), 3);
    assert_int_equal(uqff_st_layout_data_bytes(layout), 25);
    expect_header_text(
        layout, 8,
        "\xd8\0\0\0\0\0\0\0"
        "{\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\":"
        "{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[24,25]},"
        "\"z\":{\"dtype\":\"BOOL\",\"shape\":[0,18446744073709551615],\"data_offsets\":[25,25]}}");
    uqff_st_layout_free(layout);
}

static void metadata_is_replaced(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_st_layout *layout = new_layout();
    assert_ok(uqff_st_layout_metadata(layout, "digest", "0000", &err), &err);
    assert_ok(uqff_st_layout_metadata(layout, "a", "\n", &err), &err);
    assert_ok(uqff_st_layout_add(layout, "t", UQFF_DTYPE_U8, NULL, 0, NULL, &err), &err);
    uint64_t before = uqff_st_layout_header_bytes(layout, 64);
    assert_ok(uqff_st_layout_metadata(layout, "digest", "f00d", &err), &err);
    assert_int_equal(uqff_st_layout_header_bytes(layout, 64), before);
    expect_header_text(layout, 64,
                       "\x78\0\0\0\0\0\0\0"
                       "{\"__metadata__\":{\"digest\":\"f00d\",\"a\":\"\\n\"},"
                       "\"t\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}"
                       "                          ");
    uqff_st_layout_free(layout);
}

static void aligns_the_data(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_st_layout *layout = new_layout();
    char name[64] = "";
    for (size_t n = 1; n < 40; n++) {
        name[n - 1] = 'n';
        assert_ok(uqff_st_layout_add(layout, name, UQFF_DTYPE_U8, NULL, 0, NULL, &err), &err);
        for (unsigned alignment = 8; alignment <= 65536; alignment *= 2) {
            struct uqff_buffer out = {0};
            /* Appended behind what is there. */
            uqff_buffer_append(&out, "x", 1);
            assert_ok(uqff_st_layout_header(layout, alignment, &out, &err), &err);
            uint64_t bytes = uqff_st_layout_header_bytes(layout, alignment);
            assert_int_equal(bytes % alignment, 0);
            assert_int_equal(out.size, 1 + bytes);
            assert_int_equal(uqff_load_le64(out.data + 1), bytes - 8);
            uqff_buffer_free(&out);
        }
    }
    static const unsigned invalid[] = {0, 1, 4, 12, 24};
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        struct uqff_buffer out = {0};
        assert_fails(uqff_st_layout_header(layout, invalid[i], &out, &err), UQFF_E_ARGUMENT, &err,
                     "power of two");
        assert_int_equal(out.size, 0);
        assert_int_equal(uqff_st_layout_header_bytes(layout, invalid[i]), 0);
    }
    uqff_st_layout_free(layout);
}

static void natural_alignment(void **state) {
    (void)state;
    for (int i = 0; i < UQFF_DTYPE_COUNT; i++) {
        enum uqff_dtype dtype = (enum uqff_dtype)i;
        const unsigned alignment = uqff_dtype_alignment(dtype);
        for (uint64_t before = 0; before <= 16; before++) {
            struct uqff_error err;
            struct uqff_st_layout *layout = new_layout();
            uint64_t offset = 99;
            assert_ok(uqff_st_layout_add(layout, "a", UQFF_DTYPE_U8, &before, 1, NULL, &err), &err);
            enum uqff_code code =
                uqff_st_layout_add(layout, "b", dtype, (uint64_t[]){0}, 1, &offset, &err);
            if (before % alignment == 0) {
                assert_ok(code, &err);
                assert_int_equal(offset, before);
            } else {
                assert_fails(code, UQFF_E_LAYOUT, &err, "tensor 'b'");
                assert_int_equal(offset, 99);
                assert_int_equal(uqff_st_layout_count(layout), 1);
            }
            uqff_st_layout_free(layout);
        }
    }
}

static void refuses(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_st_layout *layout = new_layout();
    static const uint64_t half = UINT64_MAX / 2 / 8 + 1; /* of all bits */
    char name[1026];
    memset(name, 'n', 1025);
    name[1025] = '\0';
    uint64_t shape[65];
    for (size_t i = 0; i < 65; i++) {
        shape[i] = 1;
    }
#define add(name, dtype, shape, rank)                                                              \
    uqff_st_layout_add(layout, name, dtype, shape, rank, NULL, &err)
    assert_fails(add("", UQFF_DTYPE_U8, NULL, 0), UQFF_E_NAME, &err, "empty");
    assert_fails(add("a\xff", UQFF_DTYPE_U8, NULL, 0), UQFF_E_NAME, &err, "a\\xff");
    assert_fails(add("__metadata__", UQFF_DTYPE_U8, NULL, 0), UQFF_E_NAME, &err, "__metadata__");
    assert_fails(add(name, UQFF_DTYPE_U8, NULL, 0), UQFF_E_NAME, &err, "1024");
    assert_fails(add("t", UQFF_DTYPE_COUNT, NULL, 0), UQFF_E_ARGUMENT, &err, "dtype");
    assert_fails(add("t", UQFF_DTYPE_U8, shape, 65), UQFF_E_LIMIT, &err, "65 dimensions");
    assert_fails(add("t", UQFF_DTYPE_F4, shape, 1), UQFF_E_SHAPE, &err, "tensor 't'");
    assert_fails(add("t", UQFF_DTYPE_F64, &half, 1), UQFF_E_OVERFLOW, &err, "tensor 't'");
    assert_int_equal(uqff_st_layout_count(layout), 0);
    assert_ok(add(name + 1, UQFF_DTYPE_U8, shape, 64), &err);
    assert_ok(add("t", UQFF_DTYPE_U8, NULL, 0), &err);
    assert_fails(add("t", UQFF_DTYPE_U8, NULL, 0), UQFF_E_DUPLICATE, &err, "tensor 't'");
#undef add
    assert_fails(uqff_st_layout_metadata(layout, "k\xff", "v", &err), UQFF_E_ENCODING, &err, "key");
    assert_fails(uqff_st_layout_metadata(layout, "k", "v\xc0", &err), UQFF_E_ENCODING, &err,
                 "the value is not UTF-8 from its byte 1");
    assert_int_equal(uqff_st_layout_count(layout), 2);
    assert_int_equal(uqff_st_layout_data_bytes(layout), 2);
    uqff_st_layout_free(layout);

    /* The sum of sizes overflows where no size does. */
    layout = new_layout();
    enum uqff_code code = UQFF_OK;
    for (int i = 0; i < 9 && code == UQFF_OK; i++) {
        snprintf(name, sizeof name, "t%d", i);
        uint64_t most = UINT64_MAX / 8;
        code = uqff_st_layout_add(layout, name, UQFF_DTYPE_U8, &most, 1, NULL, &err);
        assert_true(i == 8 || code == UQFF_OK);
    }
    assert_fails(code, UQFF_E_OVERFLOW, &err, "tensor 't8'");
    uqff_st_layout_free(layout);
}

/* A value that alone exceeds what a header may have. */
static void refuses_a_header_too_long(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_buffer out = {0};
    struct uqff_st_layout *layout = new_layout();
    static const size_t most =
        UQFF_SAFETENSORS_MAX_HEADER - sizeof "{\"__metadata__\":{\"k\":\"\"}}" + 1;
    char *value = malloc(most + 2);
    assert_non_null(value);
    memset(value, 'v', most + 1);
    value[most] = '\0';
    assert_ok(uqff_st_layout_metadata(layout, "k", value, &err), &err);
    assert_int_equal(uqff_st_layout_header_bytes(layout, 8), 8 + UQFF_SAFETENSORS_MAX_HEADER);
    value[most] = 'v';
    value[most + 1] = '\0';
    assert_ok(uqff_st_layout_metadata(layout, "k", value, &err), &err);
    assert_fails(uqff_st_layout_header(layout, 8, &out, &err), UQFF_E_LIMIT, &err, "100000008");
    assert_int_equal(out.size, 0);
    free(value);
    uqff_st_layout_free(layout);
}

/* Every dtype, largest alignment first, written and read. */
static void round_trip(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_st_layout *layout = new_layout();
    uint64_t offsets[UQFF_DTYPE_COUNT];
    assert_ok(uqff_st_layout_metadata(layout, "format", "\xf0\x9f\x98\x80 \"x\"\n", &err), &err);
    for (int i = UQFF_DTYPE_COUNT - 1; i >= 0; i--) {
        enum uqff_dtype dtype = (enum uqff_dtype)i;
        assert_ok(uqff_st_layout_add(layout, uqff_dtype_name(dtype), dtype, (uint64_t[]){2, 4}, 2,
                                     &offsets[i], &err),
                  &err);
    }
    struct uqff_buffer image = {0};
    assert_ok(uqff_st_layout_header(layout, 4096, &image, &err), &err);
    size_t start = image.size;
    for (uint64_t i = 0; i < uqff_st_layout_data_bytes(layout); i++) {
        uqff_buffer_append(&image, "\xa5", 1);
    }
    assert_false(image.failed);

    struct uqff_source *source;
    struct uqff_safetensors *file = NULL;
    assert_ok(uqff_source_memory(image.data, image.size, "t.safetensors", &source, &err), &err);
    assert_ok(uqff_safetensors_open(source, NULL, &file, &err), &err);
    assert_int_equal(uqff_safetensors_count(file), UQFF_DTYPE_COUNT);
    for (int i = 0; i < UQFF_DTYPE_COUNT; i++) {
        enum uqff_dtype dtype = (enum uqff_dtype)i;
        const struct uqff_st_tensor *t = uqff_safetensors_find(file, uqff_dtype_name(dtype));
        assert_non_null(t);
        assert_int_equal(t->dtype, dtype);
        assert_int_equal(t->rank, 2);
        assert_int_equal(t->shape[0], 2);
        assert_int_equal(t->shape[1], 4);
        assert_int_equal(t->offset, start + offsets[i]);
        assert_int_equal(t->bytes, uqff_dtype_bits(dtype));
        assert_ptr_equal(uqff_safetensors_tensor(file, (size_t)(UQFF_DTYPE_COUNT - 1 - i)), t);
    }
    assert_string_equal(uqff_safetensors_metadata_find(file, "format", NULL),
                        "\xf0\x9f\x98\x80 \"x\"\n");
    uqff_safetensors_close(file);
    uqff_source_close(source);
    uqff_buffer_free(&image);
    uqff_st_layout_free(layout);
}

static enum uqff_code plan(struct uqff_buffer *out, struct uqff_error *err) {
    struct uqff_st_layout *layout = NULL;
    enum uqff_code code = uqff_st_layout_new(&layout, err);
    for (int i = 0; i < 20 && code == UQFF_OK; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        if ((code = uqff_st_layout_add(layout, name, UQFF_DTYPE_U8, NULL, 0, NULL, err)) ==
            UQFF_OK) {
            code = uqff_st_layout_metadata(layout, name, "value", err);
        }
    }
    if (code == UQFF_OK) {
        code = uqff_st_layout_header(layout, 8, out, err);
    }
    uqff_st_layout_free(layout);
    return code;
}

static void survives_failed_allocations(void **state) {
    (void)state;
    enum uqff_code code = UQFF_E_MEMORY;
    size_t n = 0;
    while (code != UQFF_OK) {
        struct uqff_error err;
        struct uqff_buffer out = {0};
        fail_allocation(++n);
        code = plan(&out, &err);
        fail_allocation(0);
        uqff_buffer_free(&out);
        assert_true(code == UQFF_OK || code == UQFF_E_MEMORY);
        assert_true(n < 1000);
    }
    assert_true(n > 10);
}

/* A layout that ran out of memory while a tensor was added cannot be rendered without it. */
static void a_failed_layout_stays_failed(void **state) {
    (void)state;
    size_t failures = 0;
    for (size_t n = 1; n < 50; n++) {
        struct uqff_error err;
        struct uqff_buffer out = {0};
        struct uqff_st_layout *layout = new_layout();
        assert_ok(uqff_st_layout_add(layout, "a", UQFF_DTYPE_U8, NULL, 0, NULL, &err), &err);
        fail_allocation(n);
        enum uqff_code code = uqff_st_layout_add(layout, "b", UQFF_DTYPE_U8, NULL, 0, NULL, &err);
        fail_allocation(0);
        failures += code != UQFF_OK;
        if (uqff_st_layout_header(layout, 8, &out, &err) == UQFF_OK) {
            assert_int_equal(strstr(out.data + 8, "\"b\"") != NULL,
                             uqff_st_layout_count(layout) == 2);
        }
        uqff_buffer_free(&out);
        uqff_st_layout_free(layout);
    }
    assert_true(failures > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_layouts),
        cmocka_unit_test(exact_bytes),
        cmocka_unit_test(metadata_is_replaced),
        cmocka_unit_test(aligns_the_data),
        cmocka_unit_test(natural_alignment),
        cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_a_header_too_long),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(a_failed_layout_stays_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
