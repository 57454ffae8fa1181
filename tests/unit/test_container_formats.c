/* The seven encodings of UQFF 1.x: listed, checked and decoded, from files made by hand. */
#include "unit/test_container_raw.h"

#include <math.h>

/* ---- one maker a format ---------------------------------------------------------------------- */

static void fill_bytes(unsigned char *out, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (unsigned char)(i * 37 + seed * 11 + (i >> 3));
    }
}

static void store_f32(unsigned char *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uqff_store_le32(out, bits);
}

static void store_bf16(unsigned char *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uqff_store_le16(out, (uint16_t)(bits >> 16));
}

static void make_gguf(struct raw *raw) {
    unsigned char blocks[3 * 34];
    fill_bytes(blocks, sizeof blocks, 1);
    for (size_t b = 0; b < 3; b++) {
        uqff_store_le16(blocks + 34 * b, 0x3c00); /* d = 1 */
    }
    raw_u8(raw, "a.b.weight.format", 0);
    raw_add(raw, "a.b.weight", "U8", "[102]", blocks, sizeof blocks);
    raw_u32(raw, "a.b.weight.dtype", UQFF_TYPE_Q8_0);
    raw_shape(raw, "a.b.weight.shape", 2, DIMS(3, 32));
    raw_zeros(raw, "a.b.bias", "F32", "[3]", 12);
}

static void make_unquant(struct raw *raw) {
    unsigned char values[2 * 3 * 2 * 2];
    for (size_t i = 0; i < 12; i++) {
        store_bf16(values + 2 * i, (float)i - 4);
    }
    raw_u8(raw, "a.b.weight.format", 1);
    raw_add(raw, "a.b.weight", "BF16", "[2,3,2]", values, sizeof values);
    raw_zeros(raw, "a.b.bias", "BF16", "[2,3]", 12);
}

/* 4 bits: 2 columns of 64 values, of a weight of [4, 32]. */
static void make_hqq(struct raw *raw) {
    unsigned char packed[64], scales[8], zeros[8];
    fill_bytes(packed, sizeof packed, 2);
    for (size_t c = 0; c < 2; c++) {
        store_f32(scales + 4 * c, c == 0 ? 0.5f : 2.0f);
        store_f32(zeros + 4 * c, c == 0 ? 7.0f : 1.0f);
    }
    raw_u8(raw, "a.b.weight.format", 2);
    raw_add(raw, "a.b.weight", "U8", "[32,2]", packed, sizeof packed);
    raw_add(raw, "a.b.weight.scales", "F32", "[1,2]", scales, sizeof scales);
    raw_add(raw, "a.b.weight.zeros", "F32", "[1,2]", zeros, sizeof zeros);
    raw_shape(raw, "a.b.weight.shape", 2, DIMS(4, 32));
    raw_u8(raw, "a.b.weight.bits", 4);
    raw_u32(raw, "a.b.weight.group_size", 64);
    raw_u8(raw, "a.b.weight.axis", 0);
    raw_u32(raw, "a.b.weight.optimization_steps", 10);
    raw_u8(raw, "a.b.weight.round_zeros", 0);
    raw_u8(raw, "a.b.weight.channel_wise", 1);
}

static void make_fp8(struct raw *raw) {
    /* 1, -1.5, 448, 2^-9, -0, NaN, 2^-6, 240 */
    static const unsigned char values[] = {0x38, 0xbc, 0x7e, 0x01, 0x80, 0x7f, 0x08, 0x77};
    unsigned char scale[4];
    store_f32(scale, 0.25f);
    raw_u8(raw, "a.b.weight.format", 3);
    raw_add(raw, "a.b.weight", "F8_E4M3", "[2,4]", values, sizeof values);
    raw_add(raw, "a.b.weight.dequant_w_scale", "F32", "[]", scale, 4);
    raw_add(raw, "a.b.weight.dequant_x_scale", "F32", "[]", scale, 4);
    raw_add(raw, "a.b.weight.quant_scale", "F32", "[]", scale, 4);
    raw_u32(raw, "a.b.weight.dtype", 9);
    raw_zeros(raw, "a.b.bias", "BF16", "[2]", 4);
}

/* 3 bits, groups of 32: a row of 64 values has 6 words. */
static void make_afq(struct raw *raw) {
    unsigned char packed[2 * 24], scales[8], biases[8];
    fill_bytes(packed, sizeof packed, 3);
    for (size_t g = 0; g < 4; g++) {
        store_bf16(scales + 2 * g, (float)(g + 1));
        store_bf16(biases + 2 * g, -3.0f);
    }
    raw_u8(raw, "a.b.weight.format", 4);
    raw_u8(raw, "a.b.weight.bits", 3);
    raw_u8(raw, "a.b.weight.group_size", 32);
    raw_add(raw, "a.b.weight", "U32", "[2,6]", packed, sizeof packed);
    raw_add(raw, "a.b.weight.scales", "BF16", "[2,2]", scales, sizeof scales);
    raw_add(raw, "a.b.weight.biases", "BF16", "[2,2]", biases, sizeof biases);
    raw_zeros(raw, "a.b.bias", "BF16", "[2]", 4);
}

/* 3 x 20 = 60 values in 2 blocks, so that rows begin inside blocks. */
static void make_f8q8(struct raw *raw) {
    unsigned char blocks[66];
    fill_bytes(blocks, sizeof blocks, 4);
    blocks[0] = 0x7e;  /* 448: a scale of 1 */
    blocks[33] = 0x76; /* 224: a half */
    raw_u8(raw, "a.b.weight.format", 5);
    raw_add(raw, "a.b.weight", "U8", "[66]", blocks, sizeof blocks);
    raw_u32(raw, "a.b.weight.num_blocks", 2);
    raw_shape(raw, "a.b.weight.shape", 2, DIMS(3, 20));
    raw_zeros(raw, "a.b.bias", "F32", "[3]", 12);
}

static void make_mxfp4(struct raw *raw) {
    unsigned char packed[2 * 2 * 16];
    static const unsigned char scales[] = {127, 128, 126, 0};
    fill_bytes(packed, sizeof packed, 5);
    raw_u8(raw, "a.b.weight.format", 6);
    raw_add(raw, "a.b.weight", "U8", "[2,2,16]", packed, sizeof packed);
    raw_add(raw, "a.b.weight.scales", "U8", "[2,2,1]", scales, sizeof scales);
    raw_zeros(raw, "a.b.bias", "BF16", "[2,2]", 8);
}

/* ---- what each must decode to ---------------------------------------------------------------- */

static float expect_gguf(size_t i) {
    unsigned char blocks[3 * 34];
    fill_bytes(blocks, sizeof blocks, 1);
    return (float)(int8_t)blocks[i / 32 * 34 + 2 + i % 32];
}

static float expect_unquant(size_t i) {
    return (float)i - 4;
}

static float expect_hqq(size_t i) {
    unsigned char packed[64];
    fill_bytes(packed, sizeof packed, 2);
    size_t r = i / 2, c = i % 2;
    unsigned q = r < 32 ? packed[r * 2 + c] >> 4 : packed[(r - 32) * 2 + c] & 15u;
    return c == 0 ? ((float)q - 7.0f) * 0.5f : ((float)q - 1.0f) * 2.0f;
}

static float expect_fp8(size_t i) {
    static const float values[] = {0.25f, -0.375f, 112.0f, 0x1p-11f, -0.0f, NAN, 0x1p-8f, 60.0f};
    return values[i];
}

static float expect_afq(size_t i) {
    unsigned char packed[2 * 24];
    fill_bytes(packed, sizeof packed, 3);
    size_t row = i / 64, c = i % 64;
    unsigned q = 0;
    for (size_t k = 0; k < 3; k++) {
        size_t bit = c * 3 + k;
        q |= (unsigned)(packed[row * 24 + bit / 8] >> (bit % 8) & 1) << k;
    }
    return (float)q * (float)(row * 2 + c / 32 + 1) - 3.0f;
}

static float expect_f8q8(size_t i) {
    unsigned char blocks[66];
    fill_bytes(blocks, sizeof blocks, 4);
    return (float)(int8_t)blocks[i / 32 * 33 + 1 + i % 32] * (i < 32 ? 1.0f : 0.5f);
}

static float expect_mxfp4(size_t i) {
    static const float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    static const float scales[] = {1.0f, 2.0f, 0.5f, 0x1p-127f};
    unsigned char packed[2 * 2 * 16];
    fill_bytes(packed, sizeof packed, 5);
    unsigned byte = packed[i / 2], nibble = byte >> (i % 2 * 4) & 15u;
    float value = values[nibble & 7] * scales[i / 32];
    return (nibble & 8) != 0 ? -value : value;
}

struct format_case {
    enum uqff_format format;
    const char *name, *label;
    void (*make)(struct raw *raw);
    float (*expect)(size_t i);
    unsigned rank;
    uint64_t shape[3];
    uint64_t bytes;
    uint32_t type;
};

static const struct format_case cases[] = {
    {UQFF_FORMAT_GGUF, "gguf", "q8_0", make_gguf, expect_gguf, 2, {3, 32}, 102, UQFF_TYPE_Q8_0},
    {UQFF_FORMAT_UNQUANT,
     "unquant",
     "bf16",
     make_unquant,
     expect_unquant,
     3,
     {2, 3, 2},
     24,
     UQFF_TYPE_BF16},
    {UQFF_FORMAT_HQQ, "hqq", "hqq4", make_hqq, expect_hqq, 2, {4, 32}, 80, UINT32_MAX},
    {UQFF_FORMAT_FP8, "fp8", "fp8", make_fp8, expect_fp8, 2, {2, 4}, 8, UINT32_MAX},
    {UQFF_FORMAT_AFQ, "afq", "afq3", make_afq, expect_afq, 2, {2, 64}, 64, UINT32_MAX},
    {UQFF_FORMAT_F8Q8, "f8q8", "f8q8", make_f8q8, expect_f8q8, 2, {3, 20}, 66, UINT32_MAX},
    {UQFF_FORMAT_MXFP4,
     "mxfp4",
     "mxfp4",
     make_mxfp4,
     expect_mxfp4,
     3,
     {2, 2, 32},
     68,
     UQFF_TYPE_MXFP4},
};

static void make_file(struct raw *raw, const struct format_case *c) {
    raw_versions(raw);
    c->make(raw);
}

static void assert_same(float found, float expected, const char *name, size_t i) {
    if (memcmp(&found, &expected, sizeof found) != 0 && !(isnan(found) && isnan(expected))) {
        fail_msg("%s: value %zu is %g, expected %g", name, i, (double)found, (double)expected);
    }
}

static void check_rows(const struct uqff_container *container, const struct format_case *c) {
    struct uqff_error err;
    size_t columns = (size_t)c->shape[c->rank - 1], rows = 1;
    for (unsigned i = 0; i + 1 < c->rank; i++) {
        rows *= (size_t)c->shape[i];
    }
    float *values = malloc(rows * columns * sizeof *values);
    assert_ok(uqff_container_read_rows(container, 0, 0, rows, values, &err), &err);
    for (size_t i = 0; i < rows * columns; i++) {
        assert_same(values[i], c->expect(i), c->name, i);
    }
    for (size_t r = 0; r < rows && c->format != UQFF_FORMAT_HQQ; r++) {
        assert_ok(uqff_container_read_rows(container, 0, r, 1, values, &err), &err);
        for (size_t i = 0; i < columns; i++) {
            assert_same(values[i], c->expect(r * columns + i), c->name, r * columns + i);
        }
    }
    if (c->format == UQFF_FORMAT_HQQ) {
        assert_fails(uqff_container_read_rows(container, 0, 1, 1, values, &err), UQFF_E_ARGUMENT,
                     &err, "as a whole");
    }
    assert_ok(uqff_container_read_rows(container, 0, rows, 0, values, &err), &err);
    assert_fails(uqff_container_read_rows(container, UQFF_NONE, 0, 1, values, &err),
                 UQFF_E_ARGUMENT, &err, "no such blob");
    assert_fails(uqff_container_read_rows(container, 0, 1, rows, values, &err), UQFF_E_ARGUMENT,
                 &err, "rows");
    assert_fails(uqff_container_read_rows(container, 0, UINT64_MAX, 2, values, &err),
                 UQFF_E_ARGUMENT, &err, "rows");
    free(values);
}

static void test_all_formats(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct format_case *c = &cases[i];
        struct uqff_error err;
        struct uqff_container *container;
        struct warnings warnings = {0};
        struct raw raw = {0};
        make_file(&raw, c);
        assert_ok(raw_open(&raw, &warnings, &container, &err), &err);
        assert_int_equal(warnings.count, 0);
        assert_int_equal(uqff_container_blob_count(container), 1);
        const struct uqff_blob *blob = uqff_container_blob(container, 0);
        const struct uqff_module *module = uqff_container_module(container, 0);
        assert_int_equal(blob->format, c->format);
        assert_string_equal(uqff_format_name(blob->format), c->name);
        assert_string_equal(blob->label, c->label);
        assert_int_equal(blob->type, c->type);
        assert_int_equal(blob->bytes, c->bytes);
        assert_int_equal(module->rank, c->rank);
        assert_memory_equal(module->shape, c->shape, c->rank * sizeof *c->shape);
        assert_int_equal(module->has_bias, c->format != UQFF_FORMAT_HQQ);
        const struct uqff_variant *variant = uqff_container_variant(container, 0);
        assert_string_equal(variant->name, "hand");
        assert_int_equal(variant->type, c->type);
        assert_int_equal(variant->bytes, c->bytes);
        check_rows(container, c);
        uqff_container_close(container);
        raw_free(&raw);
    }
}

/* ---- every entry left out, doubled or bent --------------------------------------------------- */

/* Places of "NAME": in the header; the n-th entry behind the three versions. */
static char *nth_entry(struct raw *raw, size_t n) {
    char *p = raw->header.data;
    for (size_t i = 0; i < n + 4; i++) {
        p = strstr(p + 1, ":{\"dtype\"");
        if (p == NULL) {
            return NULL;
        }
    }
    return p;
}

/* The header is text: renaming an entry leaves a hole in its format and a surplus beside it. */
static void test_missing_and_surplus_sides(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t n = 0;; n++) {
            struct uqff_error err;
            struct uqff_container *container;
            struct raw raw = {0};
            make_file(&raw, &cases[i]);
            char *p = nth_entry(&raw, n);
            if (p == NULL) {
                raw_free(&raw);
                break;
            }
            /* The last letter of the name: "weight.forma#". A bias is free to be missing. */
            bool bias = memcmp(p - 5, "bias\"", 5) == 0 && memcmp(p - 10, "a.b.bias\"", 9) != 0;
            bias = bias || memcmp(p - 6, ".bias\"", 6) == 0;
            p[-2] = '#';
            enum uqff_code code = raw_open(&raw, NULL, &container, &err);
            if (bias) {
                assert_ok(code, &err);
                assert_false(uqff_container_module(container, 0)->has_bias);
                uqff_container_close(container);
            } else {
                assert_true(code == UQFF_E_MISSING || code == UQFF_E_FIELD);
            }
            raw_free(&raw);
        }
    }
}

/* Every small value of every side entry replaced by every byte: accepted or refused, never worse.
 */
static void test_bent_values(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct raw raw = {0};
        make_file(&raw, &cases[i]);
        raw_finish(&raw);
        size_t start = raw.size - raw.data.size;
        for (size_t k = start; k < raw.size; k++) {
            char was = raw.file[k];
            static const unsigned char bytes[] = {0, 1, 2, 5, 16, 64, 127, 200, 255};
            for (size_t b = 0; b < sizeof bytes; b++) {
                struct uqff_error err;
                struct uqff_container *container;
                raw.file[k] = (char)bytes[b];
                if (raw_open(&raw, NULL, &container, &err) == UQFF_OK) {
                    uqff_container_close(container);
                }
            }
            raw.file[k] = was;
        }
        raw_free(&raw);
    }
}

struct bent {
    void (*make)(struct raw *raw);
    const char *from, *to; /* a piece of the header, of one length */
    enum uqff_code code;
    const char *needle;
};

static void test_bent_headers(void **state) {
    (void)state;
    static const struct bent bents[] = {
        {make_gguf, "\"U8\",\"shape\":[102]", "\"I8\",\"shape\":[102]", UQFF_E_TYPE, "I8"},
        {make_gguf, "[102]", "[51,2]", UQFF_E_SHAPE, "rank 2"},
        {make_gguf, "\"F32\",\"shape\":[3]", "\"I32\",\"shape\":[3]", UQFF_E_FIELD, "bias"},
        {make_gguf, "\"shape\":[3],", "\"shape\":[1,3],", UQFF_E_SHAPE, "bias"},
        {make_unquant, "[2,3,2]", "[12]", UQFF_E_SHAPE, "bias"},
        {make_unquant, "\"BF16\",\"shape\":[2,3,2]", "\"I16\",\"shape\":[2,3,2]", UQFF_E_TYPE,
         "I16"},
        {make_hqq, "[32,2]", "[16,4]", UQFF_E_SHAPE, "[32, 2]"},
        {make_hqq, "[1,2]", "[2,1]", UQFF_E_SHAPE, "[1, 2]"},
        {make_fp8, "[2,4]", "[8]", UQFF_E_SHAPE, "rank 1"},
        {make_fp8, "\"F32\",\"shape\":[]", "\"F32\",\"shape\":[1]", UQFF_E_FIELD, "scalar"},
        {make_afq, "[2,6]", "[3,4]", UQFF_E_SHAPE, "groups"},
        {make_afq, "[2,6]", "[12]", UQFF_E_SHAPE, "rank 1"},
        {make_afq, "\"BF16\",\"shape\":[2,2]", "\"F16\",\"shape\":[2,2]", UQFF_E_FIELD,
         "as the scales"},
        {make_f8q8, "[66]", "[2,33]", UQFF_E_SHAPE, "rank 2"},
        {make_mxfp4, "[2,2,16]", "[2,1,32]", UQFF_E_SHAPE, "scales"},
        {make_mxfp4, "[2,2,16]", "[4,2,8]", UQFF_E_SHAPE, "multiple of 16"},
        {make_mxfp4, "[2,2,16]", "[2,2,4,4]", UQFF_E_SHAPE, "rank 4"},
        {make_gguf, "a.b.bias", "a.b.weightbias", UQFF_E_FIELD, "surplus"},
        {make_gguf, "a.b.bias", "a.b.weight.bias", UQFF_E_FIELD, "surplus"},
        {make_gguf, "a.b.bias", "a.b.weight.zeros", UQFF_E_FIELD, "surplus"},
        {make_gguf, "a.b.bias", "x.weight.format", UQFF_E_MISSING, "weight"},
        {make_gguf, "a.b.bias", "12", UQFF_E_VERSION, "pre-1.0"},
        {make_gguf, "uqff.version.patch", "uqff.version.other", UQFF_E_VERSION, "patch"},
    };
    for (size_t i = 0; i < COUNT(bents); i++) {
        const struct bent *bent = &bents[i];
        struct uqff_error err;
        struct uqff_container *container;
        struct raw raw = {0};
        raw_versions(&raw);
        bent->make(&raw);
        char *at = strstr(raw.header.data, bent->from);
        assert_non_null(at);
        struct uqff_buffer header = {0};
        uqff_buffer_append(&header, raw.header.data, (size_t)(at - raw.header.data));
        uqff_buffer_append(&header, bent->to, strlen(bent->to));
        at += strlen(bent->from);
        uqff_buffer_append(&header, at, strlen(at));
        uqff_buffer_free(&raw.header);
        raw.header = header;
        assert_fails(raw_open(&raw, NULL, &container, &err), bent->code, &err, bent->needle);
        raw_free(&raw);
    }
}

static void test_mixed_formats_and_foreign_names(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container *container;
    struct warnings warnings = {0};
    struct raw raw = {0};
    make_file(&raw, &cases[0]);
    raw_u8(&raw, "c.weight.format", 5);
    raw_zeros(&raw, "c.weight", "U8", "[33]", 33);
    raw_u32(&raw, "c.weight.num_blocks", 1);
    raw_shape(&raw, "c.weight.shape", 2, DIMS(1, 32));
    raw_zeros(&raw, "model.norm.scale", "F32", "[2]", 8);
    raw_zeros(&raw, "a.b@uqff.q4_0", "U8", "[4]", 4);
    assert_ok(raw_open(&raw, &warnings, &container, &err), &err);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.text, "2 entries"));
    assert_int_equal(uqff_container_module_count(container), 2);
    assert_int_equal(uqff_container_variant(container, 0)->type, UINT32_MAX);
    uqff_container_close(container);
    raw_free(&raw);
}

/* Blocks may run over the ends of rows, as mistral.rs lets them. */
static void test_ragged_rows(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container *container;
    struct warnings warnings = {0};
    struct raw raw = {0};
    make_file(&raw, &cases[0]);
    raw_finish(&raw);
    /* [3, 32] becomes [12, 8]. */
    char *dims = raw.file + raw.size - 12 - 8;
    uqff_store_le32(dims, 12);
    uqff_store_le32(dims + 4, 8);
    char *bias = strstr(raw.header.data, "\"a.b.bias\"");
    assert_non_null(bias);
    raw.file[9 + (bias - raw.header.data) + 1] = 'z'; /* no longer this module's */
    assert_ok(raw_open(&raw, &warnings, &container, &err), &err);
    assert_true(warnings.count >= 1);
    float values[24];
    assert_ok(uqff_container_read_rows(container, 0, 3, 3, values, &err), &err);
    for (size_t i = 0; i < 24; i++) {
        assert_same(values[i], expect_gguf(24 + i), "ragged", i);
    }
    uqff_container_close(container);
    raw_free(&raw);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_formats),
        cmocka_unit_test(test_missing_and_surplus_sides),
        cmocka_unit_test(test_bent_values),
        cmocka_unit_test(test_bent_headers),
        cmocka_unit_test(test_mixed_formats_and_foreign_names),
        cmocka_unit_test(test_ragged_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
