/* Multi-quant files that are not quite right: indexes, names, digests. */
#include "unit/test_container_raw.h"

/* Two modules of [1, 32] in q8_0 and q4_0; the default is q8_0. */
struct parts {
    const char *version, *index; /* NULL: left out */
    bool bare;                   /* no default variant */
    void (*more)(struct raw *raw);
};

#define INDEX                                                                                      \
    "{\"default\":\"q8\",\"variants\":[{\"name\":\"q8\",\"recipe\":\"Q8_0\",\"type\":\"q8_0\","    \
    "\"except\":{},\"weights\":64,\"bytes\":68},{\"name\":\"q4\",\"recipe\":\"\",\"type\":\"q4_"   \
    "0\","                                                                                         \
    "\"except\":{\"q8_0\":[\"b\"]},\"weights\":64,\"bytes\":52}]}"
#define BARE_INDEX "{\"default\":null,\"variants\":[{\"name\":\"q8\",\"type\":\"q8_0\"}]}"

static void make_parts(struct raw *raw, const struct parts *parts) {
    if (parts->version != NULL) {
        raw_metadata(raw, "uqff.multi.version", parts->version);
    }
    if (parts->index != NULL) {
        raw_metadata(raw, "uqff.multi.index", parts->index);
    }
    raw_versions(raw);
    for (unsigned m = 0; m < 2; m++) {
        char name[64];
        const char *module = m == 0 ? "a" : "b";
        if (parts->bare) {
            snprintf(name, sizeof name, "%s@uqff.shape", module);
            raw_shape(raw, name, 2, DIMS(1, 32));
            snprintf(name, sizeof name, "%s@uqff.q8_0", module);
            raw_zeros(raw, name, "U8", "[34]", 34);
            continue;
        }
        snprintf(name, sizeof name, "%s.weight.dtype", module);
        raw_u32(raw, name, UQFF_TYPE_Q8_0);
        snprintf(name, sizeof name, "%s.weight.shape", module);
        raw_shape(raw, name, 2, DIMS(1, 32));
        snprintf(name, sizeof name, "%s.weight.format", module);
        raw_u8(raw, name, 0);
        snprintf(name, sizeof name, "%s.weight", module);
        raw_zeros(raw, name, "U8", "[34]", 34);
    }
    if (!parts->bare) {
        raw_zeros(raw, "a@uqff.q4_0", "U8", "[18]", 18);
    }
    if (parts->more != NULL) {
        parts->more(raw);
    }
}

static enum uqff_code open_parts(const struct parts *parts, struct warnings *warnings,
                                 struct uqff_container **out, struct uqff_error *err) {
    struct raw raw = {0};
    make_parts(&raw, parts);
    enum uqff_code code = raw_open(&raw, warnings, out, err);
    if (code == UQFF_OK) {
        /* The container reads from the raw bytes. */
        uqff_container_close(*out);
        *out = NULL;
    }
    raw_free(&raw);
    return code;
}

static void test_sound(void **state) {
    (void)state;
    struct uqff_error err;
    struct warnings warnings = {0};
    struct uqff_container *container;
    struct raw raw = {0};
    struct parts parts = {.version = "1.0", .index = INDEX};
    make_parts(&raw, &parts);
    assert_ok(raw_open(&raw, &warnings, &container, &err), &err);
    assert_int_equal(warnings.count, 0);
    assert_true(uqff_container_is_multi(container));
    assert_int_equal(uqff_container_default(container), 0);
    assert_int_equal(uqff_container_find_variant(container, "Q4"), 1);
    assert_true(uqff_container_find_variant(container, "q5") == UQFF_NONE);
    assert_int_equal(uqff_container_variant(container, 1)->bytes, 52);
    struct uqff_digest digest;
    struct uqff_entry entry = uqff_container_blob(container, 0)->entry;
    assert_false(uqff_container_entry_digest(container, entry, &digest));
    assert_false(uqff_container_header_digest(container, 0, &digest));
    uqff_container_close(container);
    raw_free(&raw);
    parts = (struct parts){.version = "1.0", .index = BARE_INDEX, .bare = true};
    assert_ok(open_parts(&parts, &warnings, &container, &err), &err);
    assert_int_equal(warnings.count, 0);
}

static void test_versions(void **state) {
    (void)state;
    struct uqff_error err;
    struct warnings warnings = {0};
    struct uqff_container *container;
    struct parts parts = {.version = "1.7", .index = INDEX};
    assert_ok(open_parts(&parts, &warnings, &container, &err), &err);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.text, "1.7"));
    static const struct {
        const char *version;
        enum uqff_code code;
    } cases[] = {{"2.0", UQFF_E_VERSION}, {"0.9", UQFF_E_VERSION}, {"1", UQFF_E_FIELD},
                 {"1.0.0", UQFF_E_FIELD}, {"", UQFF_E_FIELD},      {"01.0", UQFF_E_FIELD},
                 {"1.x", UQFF_E_FIELD},   {NULL, UQFF_E_FIELD},    {"-1.0", UQFF_E_FIELD}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        parts.version = cases[i].version;
        assert_fails(open_parts(&parts, NULL, &container, &err), cases[i].code, &err, "hand.uqff");
    }
}

#define ONE(fields)                                                                                \
    "{\"default\":\"q8\",\"variants\":[{\"name\":\"q8\",\"type\":\"q8_0\"" fields "}]}"

static void test_indexes(void **state) {
    (void)state;
    static const struct {
        const char *index;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {NULL, UQFF_E_MISSING, "uqff.multi.index"},
        {"", UQFF_E_SYNTAX, "uqff.multi.index"},
        {"[]", UQFF_E_FIELD, "index"},
        {"{}", UQFF_E_FIELD, "no variant"},
        {"{\"default\":null,\"variants\":[]}", UQFF_E_FIELD, "no variant"},
        {"{\"variants\":[{\"name\":\"q8\",\"type\":\"q8_0\"}]}", UQFF_E_FIELD, "default"},
        {"{\"default\":1,\"variants\":[]}", UQFF_E_FIELD, "default"},
        {"{\"default\":null,\"variants\":[{\"name\":\"q8\",\"type\":\"q8_0\"}]}", UQFF_E_FIELD,
         "no default"},
        {"{\"default\":\"x\",\"variants\":[{\"name\":\"q8\",\"type\":\"q8_0\"}]}", UQFF_E_FIELD,
         "'x'"},
        {"{\"default\":\"q4\",\"variants\":[{\"name\":\"q4\",\"type\":\"q4_0\",\"except\":{\"q8_"
         "0\":"
         "[\"b\"]}}]}",
         UQFF_E_FIELD, "a.weight"},
        {"{\"default\":\"q8\",\"variants\":[{\"type\":\"q8_0\"}]}", UQFF_E_FIELD, "name"},
        {"{\"default\":\"q8\",\"variants\":[{\"name\":\"q8\"}]}", UQFF_E_FIELD, "type"},
        {"{\"default\":\"q8\",\"variants\":[{\"name\":\"\",\"type\":\"q8_0\"}]}", UQFF_E_FIELD,
         "name"},
        {"{\"default\":\"q8\",\"variants\":[{\"name\":\"q\\n\",\"type\":\"q8_0\"}]}", UQFF_E_NAME,
         "control"},
        {"{\"default\":\"q8\",\"variants\":[{\"name\":\"q8\",\"type\":\"q8_0\"},{\"name\":\"Q8\","
         "\"type\":\"q8_0\"}]}",
         UQFF_E_DUPLICATE, "Q8"},
        {"{\"default\":\"q8\",\"default\":\"q8\",\"variants\":[]}", UQFF_E_DUPLICATE, "default"},
        {ONE(",\"except\":{\"q5_0\":[\"a\"]}"), UQFF_E_MISSING, "q5_0"},
        {ONE(",\"except\":{\"q9_9\":[\"a\"]}"), UQFF_E_TYPE, "q9_9"},
        {ONE(",\"except\":{\"Q4_0\":[\"a\"]}"), UQFF_E_TYPE, "Q4_0"},
        {ONE(",\"except\":{\"q4_0\":[\"c\"]}"), UQFF_E_FIELD, "'c'"},
        {ONE(",\"except\":{\"q4_0\":[\"a\",\"a\"]}"), UQFF_E_DUPLICATE, "'a'"},
        {ONE(",\"except\":{\"q4_0\":[\"a\"],\"q8_0\":[\"a\"]}"), UQFF_E_DUPLICATE, "'a'"},
        {ONE(",\"except\":{\"q4_0\":[1]}"), UQFF_E_FIELD, "except"},
        {ONE(",\"except\":[]"), UQFF_E_FIELD, "except"},
        {ONE(",\"weights\":63"), UQFF_E_FIELD, "64"},
        {ONE(",\"bytes\":67"), UQFF_E_FIELD, "68"},
        {ONE(",\"bytes\":-1"), UQFF_E_FIELD, "bytes"},
        {ONE(",\"bytes\":18446744073709551616"), UQFF_E_FIELD, "bytes"},
        {"{\"default\":\"q8\",\"variants\":[\"q8\"]}", UQFF_E_FIELD, "variants"},
        {INDEX "x", UQFF_E_SYNTAX, "uqff.multi.index"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_error err;
        struct uqff_container *container;
        struct parts parts = {.version = "1.0", .index = cases[i].index};
        assert_fails(open_parts(&parts, NULL, &container, &err), cases[i].code, &err,
                     cases[i].needle);
        assert_true(strncmp(err.text, "hand.uqff: ", 11) == 0);
    }
}

static void test_too_many_variants(void **state) {
    (void)state;
    struct uqff_buffer index = {0};
    struct uqff_error err;
    struct uqff_container *container;
    uqff_buffer_printf(&index, "{\"default\":\"v0\",\"variants\":[");
    for (int i = 0; i < 257; i++) {
        uqff_buffer_printf(&index, "%s{\"name\":\"v%d\",\"type\":\"q8_0\"}", i == 0 ? "" : ",", i);
    }
    uqff_buffer_printf(&index, "]}");
    struct parts parts = {.version = "1.0", .index = index.data};
    assert_fails(open_parts(&parts, NULL, &container, &err), UQFF_E_LIMIT, &err, "256");
    uqff_buffer_free(&index);
}

/* What a newer minor version adds to the index is passed over. */
static void test_unknown_members(void **state) {
    (void)state;
    struct uqff_error err;
    struct warnings warnings = {0};
    struct uqff_container *container;
    struct parts parts = {.version = "1.1",
                          .index =
                              "{\"new\":{\"a\":[1,{}]},\"default\":\"q8\",\"variants\":[{\"type\":"
                              "\"q8_0\",\"new\":[[]],\"name\":\"q8\"}]}"};
    assert_ok(open_parts(&parts, &warnings, &container, &err), &err);
    assert_int_equal(warnings.count, 2); /* the version, and a@uqff.q4_0 */
    assert_non_null(strstr(warnings.text, "a@uqff.q4_0"));
}

/* ---- entries --------------------------------------------------------------------------------- */

static void more_unused(struct raw *raw) {
    raw_zeros(raw, "b@uqff.q5_0", "U8", "[22]", 22);
}
static void more_same(struct raw *raw) {
    raw_zeros(raw, "b@uqff.q8_0", "U8", "[34]", 34);
}
static void more_short(struct raw *raw) {
    raw_zeros(raw, "b@uqff.q4_0", "U8", "[17]", 17);
}
static void more_block_row(struct raw *raw) {
    raw_zeros(raw, "b@uqff.q4_k", "U8", "[144]", 144);
}
static void more_float_shape(struct raw *raw) {
    raw_zeros(raw, "b@uqff.f16", "F16", "[32,1]", 64);
}
static void more_float_dtype(struct raw *raw) {
    raw_zeros(raw, "b@uqff.f16", "BF16", "[1,32]", 64);
}
static void more_unknown(struct raw *raw) {
    raw_zeros(raw, "b@uqff.something", "U8", "[1]", 1);
}
static void more_shapeless(struct raw *raw) {
    raw_zeros(raw, "c@uqff.q4_0", "U8", "[18]", 18);
}
static void more_shape(struct raw *raw) {
    raw_shape(raw, "b@uqff.shape", 2, DIMS(1, 32));
}
static void more_shape_alone(struct raw *raw) {
    raw_shape(raw, "c@uqff.shape", 2, DIMS(1, 32));
}
static void more_module_name(struct raw *raw) {
    raw_shape(raw, "c.weight.d@uqff.shape", 2, DIMS(1, 32));
}
static void more_residual_module(struct raw *raw) {
    raw_zeros(raw, "a.weight@uqff.residual", "F32", "[1]", 4);
}
static void more_residual_twice(struct raw *raw) {
    raw_zeros(raw, "x.weight.y@uqff.residual", "F32", "[1]", 4);
    raw_zeros(raw, "x.@weight.y@uqff.residual", "F32", "[1]", 4);
}
static void more_residual_at(struct raw *raw) {
    raw_zeros(raw, "x@y@uqff.residual", "F32", "[1]", 4);
}
static void more_asset_path(struct raw *raw) {
    raw_zeros(raw, "../x@uqff.asset", "U8", "[1]", 1);
}
static void more_asset_deep(struct raw *raw) {
    raw_zeros(raw, "a/b/c@uqff.asset", "U8", "[1]", 1);
}
static void more_asset_twice(struct raw *raw) {
    raw_zeros(raw, "a@uqff.asset", "U8", "[1]", 1);
    raw_zeros(raw, "a@uqff.asset.zlib", "U8", "[1]", 1);
}
static void more_asset_dtype(struct raw *raw) {
    raw_zeros(raw, "a@uqff.asset", "I8", "[1]", 1);
}
static void more_pad_dtype(struct raw *raw) {
    raw_zeros(raw, "0@uqff.pad", "F32", "[1]", 4);
}
static void more_digests_few(struct raw *raw) {
    raw_zeros(raw, "0@uqff.digests", "U8", "[2,16]", 32);
}
static void more_digests_width(struct raw *raw) {
    raw_zeros(raw, "0@uqff.digests", "U8", "[13,15]", 195);
}
static void more_digests_number(struct raw *raw) {
    raw_zeros(raw, "1@uqff.digests", "U8", "[13,16]", 208);
}
static void more_digests_early(struct raw *raw) {
    raw_zeros(raw, "0@uqff.digests", "U8", "[14,16]", 224);
    raw_zeros(raw, "x@uqff.residual", "F32", "[1]", 4);
}
static void more_bias(struct raw *raw) {
    raw_zeros(raw, "a.bias", "F32", "[2]", 8);
}

static void test_entries(void **state) {
    (void)state;
    static const struct {
        void (*more)(struct raw *raw);
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {more_same, UQFF_E_DUPLICATE, "b@uqff.q8_0"},
        {more_short, UQFF_E_SHAPE, "17 bytes"},
        {more_block_row, UQFF_E_SHAPE, "b@uqff.q4_k"},
        {more_float_shape, UQFF_E_SHAPE, "b@uqff.f16"},
        {more_float_dtype, UQFF_E_SHAPE, "BF16"},
        {more_unknown, UQFF_E_NAME, "b@uqff.something"},
        {more_shapeless, UQFF_E_MISSING, "shape"},
        {more_shape, UQFF_E_FIELD, "surplus"},
        {more_shape_alone, UQFF_E_MISSING, "'c'"},
        {more_module_name, UQFF_E_NAME, "name"},
        {more_residual_module, UQFF_E_DUPLICATE, "module too"},
        {more_residual_twice, UQFF_E_DUPLICATE, "twice"},
        {more_residual_at, UQFF_E_NAME, "@"},
        {more_asset_path, UQFF_E_NAME, "../x"},
        {more_asset_deep, UQFF_E_NAME, "a/b/c"},
        {more_asset_twice, UQFF_E_DUPLICATE, "twice"},
        {more_asset_dtype, UQFF_E_FIELD, "I8"},
        {more_pad_dtype, UQFF_E_FIELD, "F32"},
        {more_digests_few, UQFF_E_SHAPE, "[13, 16]"},
        {more_digests_width, UQFF_E_SHAPE, "[13, 16]"},
        {more_digests_number, UQFF_E_LAYOUT, "shard 0"},
        {more_digests_early, UQFF_E_LAYOUT, "last"},
        {more_bias, UQFF_E_SHAPE, "bias"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_error err;
        struct uqff_container *container;
        struct parts parts = {.version = "1.0", .index = INDEX, .more = cases[i].more};
        assert_fails(open_parts(&parts, NULL, &container, &err), cases[i].code, &err,
                     cases[i].needle);
    }
    struct uqff_error err;
    struct warnings warnings = {0};
    struct uqff_container *container;
    struct parts parts = {.version = "1.0", .index = INDEX, .more = more_unused};
    assert_ok(open_parts(&parts, &warnings, &container, &err), &err);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.text, "b@uqff.q5_0"));
    parts = (struct parts){.version = "1.1", .index = INDEX, .more = more_unknown};
    assert_ok(open_parts(&parts, &warnings, &container, &err), &err);
    assert_non_null(strstr(warnings.text, "b@uqff.something"));
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Every byte of the data belongs to an entry whose digest tells when it changes; a changed header
 * is refused or differs from its own digest. */
static void test_damage_is_found(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container_spec spec = tiny_spec();
    const char *directory = fresh_directory("damage");
    size_t n;
    assert_ok(write_spec(&spec, directory, false, &err), &err);
    char *bytes = read_file(in_directory(directory, "tiny.uqff"), &n);
    size_t data = 8 + (size_t)uqff_load_le64(bytes), table = n;
    for (size_t k = 8; k < n; k += 97) {
        struct uqff_container *container;
        struct raw raw = {.file = bytes, .size = n};
        bytes[k] ^= 1;
        enum uqff_code code = raw_open(&raw, NULL, &container, &err);
        if (code == UQFF_OK) {
            struct uqff_safetensors *file = uqff_container_shard(container, 0);
            struct uqff_digest stored, found = uqff_safetensors_header_digest(file);
            size_t wrong = 0;
            assert_true(uqff_container_header_digest(container, 0, &stored));
            wrong += !uqff_digest_equal(&stored, &found);
            for (size_t i = 0; i < uqff_safetensors_count(file); i++) {
                struct uqff_entry entry = {.tensor = uqff_safetensors_tensor(file, i)};
                found = uqff_hash(bytes + entry.tensor->offset, (size_t)entry.tensor->bytes);
                if (uqff_container_entry_digest(container, entry, &stored)) {
                    wrong += !uqff_digest_equal(&stored, &found);
                } else {
                    table = (size_t)entry.tensor->offset;
                    assert_int_equal(i, uqff_safetensors_count(file) - 1);
                }
            }
            bool padding = k < data && bytes[k] != ' ' && (bytes[k] ^ 1) == ' ';
            if (wrong != 1 && !padding) {
                fail_msg("byte %zu of %zu: %zu digests differ (data from %zu, table from %zu)", k,
                         n, wrong, data, table);
            }
            uqff_container_close(container);
        }
        bytes[k] ^= 1;
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),           cmocka_unit_test(test_versions),
        cmocka_unit_test(test_indexes),         cmocka_unit_test(test_too_many_variants),
        cmocka_unit_test(test_unknown_members), cmocka_unit_test(test_entries),
        cmocka_unit_test(test_damage_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
