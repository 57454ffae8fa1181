/* UQFF 0.x files: every format, and what is refused. */
#include "test_legacy_made.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const uint32_t small[2] = {2, 32};

/* One layer of each format; those of other formats than Gguf and Unquant are 64 by 64. */
static void make_all(struct uqff_buffer blobs[7]) {
    static const float bias[2] = {1.5f, -2.0f};
    unsigned char *bytes = legacy_content(2 * 34, 0);
    memset(blobs, 0, 7 * sizeof *blobs);
    legacy_gguf(&blobs[0], UQFF_TYPE_Q8_0, 2, small, bytes, 2 * 34, bias);
    legacy_unquant(&blobs[1], LEGACY_BF16, (const uint32_t[]){2, 3}, bytes, 12);
    for (int format = UQFF_FORMAT_HQQ; format <= UQFF_FORMAT_MXFP4; format++) {
        legacy_other(&blobs[format], (enum uqff_format)format);
    }
    free(bytes);
}

static void free_all(struct uqff_buffer *blobs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_free(&blobs[i]);
    }
}

static enum uqff_code open_one(const struct uqff_buffer *blob, struct uqff_error *err) {
    struct uqff_legacy *legacy = NULL;
    const char *path = scratch_file("one.uqff");
    legacy_write(path, blob, 1, 0);
    enum uqff_code code = uqff_legacy_open(path, NULL, &legacy, err);
    uqff_legacy_close(legacy);
    return code;
}

static void assert_bytes(const struct uqff_legacy_tensor *tensor, const void *expected, size_t n) {
    struct uqff_error err;
    unsigned char found[256];
    assert_int_equal(tensor->bytes, n);
    assert_ok(uqff_source_read(tensor->source, tensor->offset, found, n, &err), &err);
    assert_memory_equal(found, expected, n);
}

static void reads_every_format(void **state) {
    struct uqff_buffer blobs[7];
    struct uqff_legacy *legacy = NULL;
    struct uqff_error err;
    const char *path = scratch_file("all.uqff");
    bool is = false;
    (void)state;
    make_all(blobs);
    legacy_write(path, blobs, 7, 0);
    assert_ok(uqff_legacy_is(path, &is, &err), &err);
    assert_true(is);
    assert_ok(uqff_legacy_is(test_data("container/tiny.uqff"), &is, &err), &err);
    assert_false(is);
    assert_ok(uqff_legacy_is("no such file", &is, &err), &err);
    assert_false(is);
    assert_ok(uqff_legacy_open(path, NULL, &legacy, &err), &err);
    assert_int_equal(uqff_legacy_count(legacy), 7);
    for (size_t i = 0; i < 7; i++) {
        const struct uqff_legacy_layer *layer = uqff_legacy_layer(legacy, i);
        assert_int_equal(layer->format, i);
        assert_int_equal(layer->version, LEGACY_VERSION);
        assert_int_equal(layer->rank, 2);
        assert_int_equal(layer->shape[0], i < 2 ? 2 : LEGACY_ROWS);
        assert_int_equal(layer->shape[1], i == 0 ? 32 : i == 1 ? 3 : LEGACY_COLUMNS);
        assert_int_equal(layer->has_bias, i == 0);
    }
    const struct uqff_legacy_layer *layer = uqff_legacy_layer(legacy, 0);
    unsigned char *bytes = legacy_content(68, 0);
    assert_int_equal(layer->type, UQFF_TYPE_Q8_0);
    assert_bytes(&layer->weight, bytes, 68);
    free(bytes);
    assert_int_equal(layer->bias.dtype, UQFF_DTYPE_F32);
    assert_int_equal(layer->bias.rank, 1);
    layer = uqff_legacy_layer(legacy, 2);
    assert_int_equal(layer->bits, 4);
    assert_int_equal(layer->group, 64);
    assert_int_equal(layer->optimization_steps, 10);
    assert_true(layer->channel_wise);
    assert_false(layer->round_zeros);
    uqff_legacy_close(legacy);
    free_all(blobs, 7);
}

/* A cut at every byte of every format is told, and so is a byte too many. */
static void refuses_cut_blobs(void **state) {
    struct uqff_buffer blobs[7];
    struct uqff_error err;
    (void)state;
    make_all(blobs);
    for (size_t i = 0; i < 7; i++) {
        struct uqff_buffer cut = blobs[i];
        size_t step = cut.size > 400 ? cut.size / 97 : 1;
        for (size_t n = 0; n < blobs[i].size; n += n < 80 ? 1 : step) {
            cut.size = n;
            enum uqff_code code = open_one(&cut, &err);
            assert_true(code == UQFF_E_TRUNCATED);
        }
        uqff_buffer_append(&blobs[i], "", 1);
        assert_fails(open_one(&blobs[i], &err), UQFF_E_LAYOUT, &err, "behind its last field");
    }
    free_all(blobs, 7);
}

/* Every u32 of the small formats' heads, set to the largest, is told. */
static void refuses_huge_numbers(void **state) {
    struct uqff_buffer blobs[7];
    struct uqff_error err;
    (void)state;
    make_all(blobs);
    for (size_t i = 0; i < 7; i++) {
        for (size_t at = 0; at + 4 <= 34; at++) {
            unsigned char kept[4];
            memcpy(kept, blobs[i].data + at, 4);
            memset(blobs[i].data + at, 0xff, 4);
            /* Where it is only content, nothing is wrong with it. */
            enum uqff_code code = open_one(&blobs[i], &err);
            assert_true(code != UQFF_E_INTERNAL && code != UQFF_E_MEMORY);
            assert_true(at > 12 || code != UQFF_OK);
            memcpy(blobs[i].data + at, kept, 4);
        }
    }
    free_all(blobs, 7);
}

static void refuses_what_is_no_0_x(void **state) {
    static const struct {
        size_t at;
        uint32_t value; /* of four bytes, or of one when small */
        bool byte;
        enum uqff_code code;
        const char *text;
    } cases[] = {
        {0, 0x00000300, false, UQFF_E_VERSION, "found version 0.3.0, expected 0.1 or 0.2"},
        {0, 0x00010000, false, UQFF_E_VERSION, "found version 1.0.0"},
        {4, 7, true, UQFF_E_TYPE, "found format 7, expected 0 to 6"},
        {5, 67, false, UQFF_E_SHAPE, "blocks: found a length of 67, expected 68 by its shape"},
        {9, 2, true, UQFF_E_FIELD, "has_bias: found 2, expected 0 or 1"},
        {10, 43, false, UQFF_E_TYPE, "blocks"},
        {14, 9, false, UQFF_E_LIMIT, "blocks: found 9 dimensions, expected at most 8"},
        {18, 0, false, UQFF_E_SHAPE, "dimension 0 is 0, expected at least 1"},
        {22, 31, false, UQFF_E_SHAPE, "blocks"},
        {94, 3, false, UQFF_E_SHAPE, "bias: found a length of 3, expected 8 by its shape"},
        {98, 14, false, UQFF_E_TYPE, "bias: found dtype 14, expected 0 to 13"},
    };
    struct uqff_buffer blobs[7];
    struct uqff_error err;
    (void)state;
    make_all(blobs);
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned char kept[4];
        unsigned char *at = (unsigned char *)blobs[0].data + cases[i].at;
        memcpy(kept, at, 4);
        if (cases[i].byte) {
            *at = (unsigned char)cases[i].value;
        } else {
            uqff_store_le32(at, cases[i].value);
        }
        assert_fails(open_one(&blobs[0], &err), cases[i].code, &err, cases[i].text);
        assert_non_null(strstr(err.text, "one.uqff: layer 0"));
        memcpy(at, kept, 4);
    }
    free_all(blobs, 7);
}

static void refuses_other_entries(void **state) {
    struct uqff_buffer blobs[7];
    struct uqff_legacy *legacy = NULL;
    struct uqff_error err;
    const char *path = scratch_file("set-0.uqff"), *second = scratch_file("set-1.uqff");
    bool is = true;
    (void)state;
    make_all(blobs);
    legacy_write(path, blobs, 3, 0);
    legacy_write(second, blobs + 3, 4, 3);
    assert_ok(uqff_legacy_open(second, NULL, &legacy, &err), &err);
    assert_int_equal(uqff_legacy_count(legacy), 7);
    assert_int_equal(uqff_legacy_shard_count(legacy), 2);
    assert_int_equal(uqff_legacy_layer(legacy, 5)->format, UQFF_FORMAT_F8Q8);
    uqff_legacy_close(legacy);
    legacy_write(second, blobs + 3, 4, 2);
    assert_fails(uqff_legacy_open(path, NULL, &legacy, &err), UQFF_E_DUPLICATE, &err,
                 "found entry 2 twice, expected 3");
    legacy_write(second, blobs + 3, 4, 4);
    assert_fails(uqff_legacy_open(path, NULL, &legacy, &err), UQFF_E_MISSING, &err,
                 "found entry 4 next, expected 3");
    static const char named[] =
        "\x48\0\0\0\0\0\0\0{\"0\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"x.y\":"
        "{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]}}      !";
    char header[256];
    memcpy(header, named, sizeof named - 1);
    header[0] = (char)(sizeof named - 1 - 8 - 1);
    path = scratch_file("named.uqff");
    write_file(path, header, sizeof named - 1);
    assert_ok(uqff_legacy_is(path, &is, &err), &err);
    assert_false(is);
    assert_fails(uqff_legacy_open(path, NULL, &legacy, &err), UQFF_E_NAME, &err,
                 "entry 'x.y': expected a number");
    free_all(blobs, 7);
}

/* ---- as UQFF 1.2 ----------------------------------------------------------------------------- */

static const char *const names[7] = {"a.gguf", "b.unquant", "c.hqq",  "d.fp8",
                                     "e.afq",  "f.f8q8",    "g.mxfp4"};

static struct uqff_container *view_all(const struct uqff_legacy *legacy) {
    static const size_t numbers[7] = {0, 1, 2, 3, 4, 5, 6};
    struct uqff_legacy_module modules[7];
    struct uqff_container *container = NULL;
    struct uqff_error err;
    for (size_t i = 0; i < 7; i++) {
        modules[i] = (struct uqff_legacy_module){names[i], &numbers[i], 1, false};
    }
    assert_ok(uqff_legacy_container(legacy, modules, 7, "all", NULL, &container, &err), &err);
    return container;
}

static void shows_them_as_1_2(void **state) {
    struct uqff_buffer blobs[7];
    struct uqff_legacy *legacy = NULL;
    struct uqff_error err;
    const char *path = scratch_file("view.uqff");
    uint32_t version[3];
    (void)state;
    make_all(blobs);
    legacy_write(path, blobs, 7, 0);
    assert_ok(uqff_legacy_open(path, NULL, &legacy, &err), &err);
    struct uqff_container *container = view_all(legacy);
    uqff_container_version(container, version);
    assert_int_equal(version[0], 1);
    assert_int_equal(version[1], 2);
    assert_int_equal(uqff_container_module_count(container), 7);
    assert_string_equal(uqff_container_shard_path(container, 0), "all-0.uqff");
    float *rows = malloc(sizeof *rows * LEGACY_ROWS * LEGACY_COLUMNS);
    for (size_t i = 0; i < 7; i++) {
        size_t m = uqff_container_find_module(container, names[i]);
        assert_int_not_equal(m, UQFF_NONE);
        const struct uqff_module *module = uqff_container_module(container, m);
        const struct uqff_blob *blob = uqff_container_blob(container, module->first_blob);
        assert_int_equal(blob->format, i);
        assert_int_equal(module->has_bias, i == 0);
        /* Whatever the format, it can be decoded, and to finite numbers. */
        size_t n = (size_t)module->weights;
        uint64_t count = module->shape[0];
        assert_ok(uqff_container_read_rows(container, module->first_blob, 0, count, rows, &err),
                  &err);
        assert_true(i == 1 || uqff_find_nonfinite(rows, n) == n);
    }
    free(rows);
    uqff_container_close(container);
    uqff_legacy_close(legacy);
    free_all(blobs, 7);
}

/* The vector of spec/uqff-0.md, read from the page itself. */
static void has_the_specified_vector(void **state) {
    static const size_t first = 0;
    static const unsigned char block[18] = {0x00, 0x34, 0x80, 0x91, 0x91, 0xa2, 0xa2, 0xb3, 0xb3,
                                            0xc4, 0xc4, 0xd5, 0xd5, 0xe6, 0xe6, 0xf7, 0xf7, 0xf8};
    const struct uqff_legacy_module module = {"m", &first, 1, false};
    const char *path = scratch_file("vector.uqff");
    struct uqff_legacy *legacy = NULL;
    struct uqff_container *container = NULL;
    struct uqff_buffer blob = {0};
    struct uqff_error err;
    size_t size = 0;
    float row[32];
    (void)state;
    char *page = read_file(UQFF_TESTDATA "/../spec/uqff-0.md", &size), *copy = calloc(1, size + 1);
    memcpy(copy, page, size);
    char *at = strstr(strstr(copy, "## 6."), "\n    ");
    for (; at != NULL && strncmp(at, "\n    ", 5) == 0; at = strchr(at + 1, '\n')) {
        for (const char *digit = at + 5; *digit != '\n'; digit += digit[2] == ' ' ? 3 : 2) {
            unsigned char byte;
            assert_true(uqff_unhex(&byte, digit, 1));
            uqff_buffer_append(&blob, &byte, 1);
        }
    }
    assert_int_equal(blob.size, 64);
    legacy_write(path, &blob, 1, 0);
    assert_ok(uqff_legacy_open(path, NULL, &legacy, &err), &err);
    const struct uqff_legacy_layer *layer = uqff_legacy_layer(legacy, 0);
    assert_int_equal(layer->type, UQFF_TYPE_Q4_0);
    assert_bytes(&layer->weight, block, sizeof block);
    assert_bytes(&layer->bias, "\0\0\xc0\x3f", 4);
    assert_ok(uqff_legacy_container(legacy, &module, 1, "v", NULL, &container, &err), &err);
    assert_ok(uqff_container_read_rows(container, 0, 0, 1, row, &err), &err);
    for (size_t i = 0; i < 16; i++) {
        assert_true(row[i] == 0.25f * (float)((block[2 + i] & 15) - 8));
        assert_true(row[16 + i] == 0.25f * (float)((block[2 + i] >> 4) - 8));
    }
    uqff_container_close(container);
    uqff_legacy_close(legacy);
    uqff_buffer_free(&blob);
    free(page);
    free(copy);
}

static void puts_layers_together(void **state) {
    struct uqff_buffer blobs[4];
    struct uqff_legacy *legacy = NULL;
    struct uqff_container *container = NULL;
    struct uqff_error err;
    const char *path = scratch_file("parts.uqff");
    const size_t stack[2] = {0, 2}, halves[2] = {1, 3}, mixed[2] = {0, 3};
    unsigned char *bytes = legacy_content(4 * 68, 3), found[136];
    (void)state;
    memset(blobs, 0, sizeof blobs);
    for (size_t i = 0; i < 4; i++) {
        const uint32_t shape[2] = {i == 3 ? 1 : 2, 32};
        legacy_gguf(&blobs[i], UQFF_TYPE_Q8_0, 2, shape, bytes + 68 * i, i == 3 ? 34 : 68, NULL);
    }
    legacy_write(path, blobs, 4, 0);
    assert_ok(uqff_legacy_open(path, NULL, &legacy, &err), &err);
    const struct uqff_legacy_module modules[] = {{"m.stack", stack, 2, true},
                                                 {"m.halves", halves, 2, false}};
    assert_ok(uqff_legacy_container(legacy, modules, 2, "parts", NULL, &container, &err), &err);
    const struct uqff_module *module =
        uqff_container_module(container, uqff_container_find_module(container, "m.stack"));
    assert_int_equal(module->rank, 3);
    assert_int_equal(module->shape[0], 2);
    assert_int_equal(module->shape[1], 2);
    struct uqff_entry entry = uqff_container_blob(container, module->first_blob)->entry;
    assert_int_equal(entry.tensor->bytes, 136);
    struct uqff_source *source = uqff_safetensors_source(uqff_container_shard(container, 0));
    assert_ok(uqff_source_read(source, entry.tensor->offset, found, 136, &err), &err);
    assert_memory_equal(found, bytes, 68);
    assert_memory_equal(found + 68, bytes + 2 * 68, 68);
    /* From the middle of one part to the middle of the next. */
    assert_ok(uqff_source_read(source, entry.tensor->offset + 60, found, 16, &err), &err);
    assert_memory_equal(found, bytes + 60, 8);
    assert_memory_equal(found + 8, bytes + 2 * 68, 8);
    module = uqff_container_module(container, uqff_container_find_module(container, "m.halves"));
    assert_int_equal(module->rank, 2);
    assert_int_equal(module->shape[0], 3);
    uqff_container_close(container);
    const struct uqff_legacy_module wrong[] = {{"m.mixed", mixed, 2, true}};
    assert_fails(uqff_legacy_container(legacy, wrong, 1, "parts", NULL, &container, &err),
                 UQFF_E_TYPE, &err, "differ in type or shape");
    uqff_legacy_close(legacy);
    free(bytes);
    free_all(blobs, 4);
}

static void survives_failing_allocations(void **state) {
    struct uqff_buffer blobs[7];
    const char *path = scratch_file("faults.uqff");
    (void)state;
    make_all(blobs);
    legacy_write(path, blobs, 7, 0);
    for (size_t n = 1;; n++) {
        static const size_t numbers[7] = {0, 1, 2, 3, 4, 5, 6};
        struct uqff_legacy_module modules[7];
        struct uqff_legacy *legacy = NULL;
        struct uqff_container *container = NULL;
        struct uqff_error err;
        for (size_t i = 0; i < 7; i++) {
            modules[i] = (struct uqff_legacy_module){names[i], &numbers[i], 1, false};
        }
        fail_allocation(n);
        enum uqff_code code = uqff_legacy_open(path, NULL, &legacy, &err);
        if (code == UQFF_OK) {
            code = uqff_legacy_container(legacy, modules, 7, "all", NULL, &container, &err);
        }
        fail_allocation(0);
        uqff_container_close(container);
        uqff_legacy_close(legacy);
        if (code == UQFF_OK) {
            break;
        }
        assert_int_equal(code, UQFF_E_MEMORY);
    }
    free_all(blobs, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_format),           cmocka_unit_test(refuses_cut_blobs),
        cmocka_unit_test(refuses_huge_numbers),         cmocka_unit_test(refuses_what_is_no_0_x),
        cmocka_unit_test(refuses_other_entries),        cmocka_unit_test(shows_them_as_1_2),
        cmocka_unit_test(has_the_specified_vector),     cmocka_unit_test(puts_layers_together),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
