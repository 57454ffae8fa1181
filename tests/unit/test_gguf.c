/* The GGUF reader on files built by hand: header, key-value section, typed look-ups, tensor infos.
 */
#include <math.h>

#include "test_gguf_builder.h"

static const struct {
    uint32_t version;
    bool big;
} layouts[] = {{1, false}, {2, false}, {3, false}, {3, true}};
#define LAYOUTS (sizeof layouts / sizeof layouts[0])

static struct builder begin_layout(size_t i, uint64_t tensors, uint64_t pairs) {
    return begin(layouts[i].version, layouts[i].big, tensors, pairs);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void put_scalars(struct builder *b) {
    put_key(b, "k.u8", UQFF_GGUF_U8), put_u8(b, 200);
    put_key(b, "k.i8", UQFF_GGUF_I8), put_u8(b, 0x80);
    put_key(b, "k.u16", UQFF_GGUF_U16), put_number(b, 0xfffe, 2);
    put_key(b, "k.i16", UQFF_GGUF_I16), put_number(b, 0xfffe, 2);
    put_key(b, "k.u32", UQFF_GGUF_U32), put_u32(b, 0xfffffffd);
    put_key(b, "k.i32", UQFF_GGUF_I32), put_u32(b, 0xfffffffd);
    put_key(b, "k.f32", UQFF_GGUF_F32), put_f32(b, -1.5f);
    put_key(b, "k.true", UQFF_GGUF_BOOL), put_u8(b, 1);
    put_key(b, "k.false", UQFF_GGUF_BOOL), put_u8(b, 0);
    put_key(b, "k.string", UQFF_GGUF_STRING), put_bytes(b, "a\0\xff", 3);
    put_key(b, "k.empty", UQFF_GGUF_STRING), put_string(b, "");
    put_key(b, "k.u64", UQFF_GGUF_U64), put_u64(b, UINT64_MAX - 1);
    put_key(b, "k.i64", UQFF_GGUF_I64), put_u64(b, (uint64_t)INT64_MIN);
    put_key(b, "k.f64", UQFF_GGUF_F64), put_f64(b, 1e300);
}

static void test_scalars(void **state) {
    (void)state;
    for (size_t l = 0; l < LAYOUTS; l++) {
        struct builder b = begin_layout(l, 0, 14);
        put_scalars(&b);
        struct opened o;
        must_open(&o, &b);
        assert_int_equal(o.warnings.count, 0);
        assert_int_equal(uqff_gguf_file_version(o.file), layouts[l].version);
        assert_int_equal(uqff_gguf_is_big_endian(o.file), layouts[l].big);
        assert_int_equal(uqff_gguf_kv_count(o.file), 14);
        assert_string_equal(uqff_gguf_key(o.file, 0), "k.u8");
        assert_ptr_equal(uqff_gguf_value(o.file, 13), uqff_gguf_find_value(o.file, "k.f64"));
        assert_int_equal(uqff_gguf_find_value(o.file, "k.u8")->as.u, 200);
        assert_int_equal(uqff_gguf_find_value(o.file, "k.i8")->as.i, -128);
        assert_int_equal(uqff_gguf_find_value(o.file, "k.u16")->as.u, 0xfffe);
        assert_int_equal(uqff_gguf_find_value(o.file, "k.i16")->as.i, -2);
        assert_int_equal(uqff_gguf_find_value(o.file, "k.u32")->as.u, 0xfffffffd);
        assert_int_equal(uqff_gguf_find_value(o.file, "k.i32")->as.i, -3);
        assert_true(uqff_gguf_find_value(o.file, "k.f32")->as.f == -1.5);
        assert_int_equal(uqff_gguf_find_value(o.file, "k.true")->as.u, 1);
        assert_int_equal(uqff_gguf_find_value(o.file, "k.false")->as.u, 0);
        const struct uqff_gguf_value *string = uqff_gguf_find_value(o.file, "k.string");
        assert_int_equal(string->kind, UQFF_GGUF_STRING);
        assert_int_equal(string->as.string.length, 3);
        assert_memory_equal(string->as.string.bytes, "a\0\xff", 3);
        assert_int_equal(uqff_gguf_find_value(o.file, "k.empty")->as.string.length, 0);
        assert_true(uqff_gguf_find_value(o.file, "k.u64")->as.u == UINT64_MAX - 1);
        assert_true(uqff_gguf_find_value(o.file, "k.i64")->as.i == INT64_MIN);
        assert_true(uqff_gguf_find_value(o.file, "k.f64")->as.f == 1e300);
        assert_null(uqff_gguf_find_value(o.file, "k.none"));
        uint64_t offset, bytes;
        uqff_gguf_kv_range(o.file, &offset, &bytes);
        assert_int_equal(offset, layouts[l].version == 1 ? 16 : 24);
        assert_int_equal(offset + bytes, b.size);
        done(&o, &b);
    }
}

static void test_kind_names(void **state) {
    (void)state;
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    for (int i = 0; i < UQFF_GGUF_KIND_COUNT; i++) {
        assert_string_equal(uqff_gguf_kind_name((enum uqff_gguf_kind)i), names[i]);
    }
    assert_string_equal(uqff_gguf_kind_name(UQFF_GGUF_KIND_COUNT), "unknown kind");
}

static void test_arrays(void **state) {
    (void)state;
    for (size_t l = 0; l < LAYOUTS; l++) {
        struct builder b = begin_layout(l, 0, 4);
        put_key(&b, "words", UQFF_GGUF_ARRAY);
        put_array(&b, UQFF_GGUF_STRING, 3);
        put_string(&b, "one"), put_string(&b, ""), put_string(&b, "three");
        put_key(&b, "numbers", UQFF_GGUF_ARRAY);
        put_array(&b, UQFF_GGUF_I16, 3);
        put_number(&b, 7, 2), put_number(&b, 0xffff, 2), put_number(&b, 0x8000, 2);
        put_key(&b, "none", UQFF_GGUF_ARRAY);
        put_array(&b, UQFF_GGUF_ARRAY, 0);
        put_key(&b, "flags", UQFF_GGUF_ARRAY);
        put_array(&b, UQFF_GGUF_BOOL, 2);
        put_u8(&b, 1), put_u8(&b, 0);
        struct opened o;
        must_open(&o, &b);
        assert_int_equal(o.warnings.count, 0);

        const struct uqff_gguf_value *words = uqff_gguf_find_value(o.file, "words");
        assert_int_equal(words->as.array.kind, UQFF_GGUF_STRING);
        assert_int_equal(words->as.array.count, 3);
        assert_int_equal(words->as.array.bytes, 8 + 3 * (layouts[l].version == 1 ? 4 : 8));
        struct uqff_gguf_iterator i = uqff_gguf_iterate(o.file, words);
        struct uqff_gguf_value v;
        assert_true(uqff_gguf_next(&i, &v));
        assert_memory_equal(v.as.string.bytes, "one", 3);
        assert_true(uqff_gguf_next(&i, &v));
        assert_int_equal(v.as.string.length, 0);
        assert_true(uqff_gguf_next(&i, &v));
        assert_int_equal(v.as.string.length, 5);
        assert_false(uqff_gguf_next(&i, &v));
        assert_false(uqff_gguf_next(&i, &v));

        i = uqff_gguf_iterate(o.file, uqff_gguf_find_value(o.file, "numbers"));
        assert_true(uqff_gguf_next(&i, &v) && v.kind == UQFF_GGUF_I16 && v.as.i == 7);
        assert_true(uqff_gguf_next(&i, &v) && v.as.i == -1);
        assert_true(uqff_gguf_next(&i, &v) && v.as.i == -32768);
        assert_false(uqff_gguf_next(&i, &v));
        i = uqff_gguf_iterate(o.file, uqff_gguf_find_value(o.file, "none"));
        assert_false(uqff_gguf_next(&i, &v));
        i = uqff_gguf_iterate(o.file, uqff_gguf_find_value(o.file, "flags"));
        assert_true(uqff_gguf_next(&i, &v) && v.as.u == 1);
        assert_true(uqff_gguf_next(&i, &v) && v.as.u == 0);
        done(&o, &b);
    }
}

/* [[["a"], ["b", "cc"]], []] and a number behind it, found although all sizes vary. */
static void test_nested_arrays(void **state) {
    (void)state;
    for (size_t l = 0; l < LAYOUTS; l++) {
        struct builder b = begin_layout(l, 0, 2);
        put_key(&b, "nest", UQFF_GGUF_ARRAY);
        put_array(&b, UQFF_GGUF_ARRAY, 2);
        put_array(&b, UQFF_GGUF_ARRAY, 2);
        put_array(&b, UQFF_GGUF_STRING, 1), put_string(&b, "a");
        put_array(&b, UQFF_GGUF_STRING, 2), put_string(&b, "b"), put_string(&b, "cc");
        put_array(&b, UQFF_GGUF_F32, 0);
        put_key_u32(&b, "after", 9);
        struct opened o;
        must_open(&o, &b);
        assert_int_equal(o.warnings.count, 1);
        assert_non_null(strstr(o.warnings.text, "key 'nest': an array of arrays"));
        assert_int_equal(uqff_gguf_find_value(o.file, "after")->as.u, 9);
        struct uqff_gguf_iterator outer =
            uqff_gguf_iterate(o.file, uqff_gguf_find_value(o.file, "nest"));
        struct uqff_gguf_value middle, inner, leaf;
        assert_true(uqff_gguf_next(&outer, &middle));
        assert_int_equal(middle.as.array.kind, UQFF_GGUF_ARRAY);
        struct uqff_gguf_iterator i = uqff_gguf_iterate(o.file, &middle);
        assert_true(uqff_gguf_next(&i, &inner));
        assert_true(uqff_gguf_next(&i, &inner));
        assert_int_equal(inner.as.array.count, 2);
        struct uqff_gguf_iterator j = uqff_gguf_iterate(o.file, &inner);
        assert_true(uqff_gguf_next(&j, &leaf));
        assert_true(uqff_gguf_next(&j, &leaf));
        assert_int_equal(leaf.as.string.length, 2);
        assert_memory_equal(leaf.as.string.bytes, "cc", 2);
        assert_false(uqff_gguf_next(&i, &inner));
        assert_true(uqff_gguf_next(&outer, &middle));
        assert_int_equal(middle.as.array.count, 0);
        assert_false(uqff_gguf_next(&outer, &middle));
        /* A scalar has no elements. */
        outer = uqff_gguf_iterate(o.file, uqff_gguf_find_value(o.file, "after"));
        assert_false(uqff_gguf_next(&outer, &middle));
        done(&o, &b);
    }
}

static struct builder nested(unsigned depth) {
    struct builder b = begin(3, false, 0, 1);
    put_key(&b, "nest", UQFF_GGUF_ARRAY);
    for (unsigned i = 1; i < depth; i++) {
        put_array(&b, UQFF_GGUF_ARRAY, 1);
    }
    put_array(&b, UQFF_GGUF_U8, 1);
    put_u8(&b, 5);
    return b;
}

static void test_nesting_limit(void **state) {
    (void)state;
    struct builder b = nested(UQFF_GGUF_MAX_ARRAY_DEPTH);
    struct opened o;
    must_open(&o, &b);
    done(&o, &b);
    b = nested(UQFF_GGUF_MAX_ARRAY_DEPTH + 1);
    must_fail(b, UQFF_E_LIMIT, "key 'nest': arrays are nested more than 8 deep");
    b = nested(100000);
    must_fail(b, UQFF_E_LIMIT, "nested more than 8 deep");
}

/* ---- typed look-ups -------------------------------------------------------------------------- */

static void test_get_u64(void **state) {
    (void)state;
    struct builder b = begin(3, false, 0, 15);
    put_scalars(&b);
    put_key(&b, "k.plus", UQFF_GGUF_I32), put_u32(&b, 77);
    struct opened o;
    must_open(&o, &b);
    uint64_t n = 5;
    bool found = true;
    assert_ok(uqff_gguf_get_u64(o.file, "none", 9, &found, &n, &o.err), &o.err);
    assert_false(found);
    assert_int_equal(n, 5);
    assert_ok(uqff_gguf_get_u64(o.file, "k.u8", 200, &found, &n, &o.err), &o.err);
    assert_true(found && n == 200);
    assert_ok(uqff_gguf_get_u64(o.file, "k.plus", 77, &found, &n, &o.err), &o.err);
    assert_true(found && n == 77);
    assert_ok(uqff_gguf_get_u64(o.file, "k.u64", UINT64_MAX, &found, &n, &o.err), &o.err);
    assert_true(n == UINT64_MAX - 1);
    assert_fails(uqff_gguf_get_u64(o.file, "k.u8", 199, &found, &n, &o.err), UQFF_E_FIELD, &o.err,
                 "m.gguf: key 'k.u8': found 200, expected 0 to 199");
    assert_true(found);
    assert_fails(uqff_gguf_get_u64(o.file, "k.plus", 76, &found, &n, &o.err), UQFF_E_FIELD, &o.err,
                 "found 77, expected 0 to 76");
    assert_fails(uqff_gguf_get_u64(o.file, "k.i32", 9, &found, &n, &o.err), UQFF_E_FIELD, &o.err,
                 "found -3, expected 0 to 9");
    static const char *const others[] = {"k.f32", "k.f64", "k.true", "k.string"};
    for (size_t i = 0; i < 4; i++) {
        assert_fails(uqff_gguf_get_u64(o.file, others[i], 9, &found, &n, &o.err), UQFF_E_FIELD,
                     &o.err, "expected an integer");
    }
    done(&o, &b);
}

static void test_get_double(void **state) {
    (void)state;
    struct builder b = begin(3, true, 0, 17);
    put_scalars(&b);
    put_key(&b, "k.even", UQFF_GGUF_U64), put_u64(&b, UINT64_C(1) << 63);
    put_key(&b, "k.odd", UQFF_GGUF_I64), put_u64(&b, 0 - ((UINT64_C(1) << 53) + 1));
    put_key(&b, "k.nan", UQFF_GGUF_F32), put_f32(&b, NAN);
    struct opened o;
    must_open(&o, &b);
    double x = 0;
    bool found;
    assert_ok(uqff_gguf_get_double(o.file, "k.f32", &found, &x, &o.err), &o.err);
    assert_true(found && x == -1.5);
    assert_ok(uqff_gguf_get_double(o.file, "k.f64", &found, &x, &o.err), &o.err);
    assert_true(x == 1e300);
    assert_ok(uqff_gguf_get_double(o.file, "k.nan", &found, &x, &o.err), &o.err);
    assert_true(isnan(x));
    assert_ok(uqff_gguf_get_double(o.file, "k.i16", &found, &x, &o.err), &o.err);
    assert_true(x == -2);
    assert_ok(uqff_gguf_get_double(o.file, "k.i64", &found, &x, &o.err), &o.err);
    assert_true(x == -0x1p63);
    assert_ok(uqff_gguf_get_double(o.file, "k.even", &found, &x, &o.err), &o.err);
    assert_true(x == 0x1p63);
    assert_ok(uqff_gguf_get_double(o.file, "none", &found, &x, &o.err), &o.err);
    assert_false(found);
    assert_fails(uqff_gguf_get_double(o.file, "k.u64", &found, &x, &o.err), UQFF_E_FIELD, &o.err,
                 "18446744073709551614, expected a number that a double holds exactly");
    assert_fails(uqff_gguf_get_double(o.file, "k.odd", &found, &x, &o.err), UQFF_E_FIELD, &o.err,
                 "found -9007199254740993, expected");
    assert_fails(uqff_gguf_get_double(o.file, "k.true", &found, &x, &o.err), UQFF_E_FIELD, &o.err,
                 "found kind bool, expected a number");
    done(&o, &b);
}

static void test_get_bool_and_string(void **state) {
    (void)state;
    struct builder b = begin(3, false, 0, 14);
    put_scalars(&b);
    struct opened o;
    must_open(&o, &b);
    bool found, yes = false;
    struct uqff_gguf_string s = {0};
    assert_ok(uqff_gguf_get_bool(o.file, "k.true", &found, &yes, &o.err), &o.err);
    assert_true(found && yes);
    assert_ok(uqff_gguf_get_bool(o.file, "k.false", &found, &yes, &o.err), &o.err);
    assert_true(found && !yes);
    assert_ok(uqff_gguf_get_bool(o.file, "none", &found, &yes, &o.err), &o.err);
    assert_false(found);
    assert_fails(uqff_gguf_get_bool(o.file, "k.u8", &found, &yes, &o.err), UQFF_E_FIELD, &o.err,
                 "found kind u8, expected a bool");
    assert_ok(uqff_gguf_get_string(o.file, "k.string", &found, &s, &o.err), &o.err);
    assert_true(found && s.length == 3);
    assert_ok(uqff_gguf_get_string(o.file, "none", &found, &s, &o.err), &o.err);
    assert_false(found);
    assert_fails(uqff_gguf_get_string(o.file, "k.u8", &found, &s, &o.err), UQFF_E_FIELD, &o.err,
                 "m.gguf: key 'k.u8': found kind u8, expected a string");
    done(&o, &b);
}

/* ---- header faults --------------------------------------------------------------------------- */

static void fails_on(const void *bytes, size_t n, enum uqff_code code, const char *needle) {
    struct opened o;
    assert_fails(open_bytes(&o, bytes, n), code, &o.err, needle);
    close_opened(&o);
}

static void test_foreign_magic(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *needle;
    } cases[] = {
        {"FUGGxxxx", 8, "reversed"},
        {"gguf\3\0\0\0", 8, "lower case"},
        {"lmgg\1\0\0\0", 8, "GGML"},
        {"tjgg\1\0\0\0", 8, "GGJT"},
        {"fmgg", 4, "GGMF"},
        {"algg", 4, "GGLA"},
        {"PK\3\4....", 8, "zip"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS pointer"},
        {"<!DOCTYPE html>", 15, "HTML"},
        {"<html>", 6, "HTML"},
        {"{\"error\":1}", 11, "JSON"},
        {"\x1f\x8b\x08\0", 4, "gzip"},
        {"\0\0\0\0\0\0\0\0", 8, "zeros"},
        {"\x10\0\0\0\0\0\0\0{\"a\":{}}", 16, "safetensors"},
        {"\x80\x02}q", 4, "pickle"},
        {"\x1b]8;", 4, "begins with the bytes 1b5d383b, expected 47475546"},
        {"AB", 2, "begins with the bytes 4142, expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fails_on(cases[i].bytes, cases[i].n, UQFF_E_MAGIC, cases[i].needle);
    }
}

static void test_cut_header(void **state) {
    (void)state;
    struct builder b = begin(3, false, 0, 0);
    for (size_t n = 0; n < b.size; n++) {
        fails_on(b.bytes, n, UQFF_E_TRUNCATED,
                 n < 4    ? "the magic"
                 : n < 8  ? "the version"
                 : n < 16 ? "the number of tensors"
                          : "the number of key-value pairs");
    }
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(uqff_gguf_tensor_count(o.file), 0);
    assert_int_equal(uqff_gguf_data_offset(o.file, 0), b.size);
    assert_int_equal(uqff_gguf_alignment(o.file), 32);
    assert_int_equal(uqff_gguf_file_count(o.file), 1);
    assert_ptr_equal(uqff_gguf_source(o.file, 0), o.source);
    assert_null(uqff_gguf_find_value(o.file, "x"));
    assert_null(uqff_gguf_find_tensor(o.file, "x"));
    done(&o, &b);
}

static void test_versions(void **state) {
    (void)state;
    struct builder b = begin(0, false, 0, 0);
    must_fail(b, UQFF_E_VERSION, "found GGUF version 0, expected 1 to 3");
    b = begin(4, false, 0, 0);
    must_fail(b, UQFF_E_VERSION, "version 4, expected 1 to 3: the file is newer than this tool");
    b = begin(4, true, 0, 0);
    must_fail(b, UQFF_E_VERSION, "version 4 (big-endian), expected 1 to 3");
    b = begin(2, true, 0, 0);
    must_fail(b, UQFF_E_VERSION, "version 2 in big-endian order, expected version 3");
    b = begin(UINT32_MAX, false, 0, 0);
    must_fail(b, UQFF_E_VERSION, "found GGUF version 4294967295, expected 1 to 3");
}

static void test_counts(void **state) {
    (void)state;
    static const uint64_t large[] = {2, UINT32_MAX, UINT64_C(1) << 56, UINT64_C(1) << 61,
                                     UINT64_MAX};
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
        struct builder b = begin(3, false, large[i], 0);
        put_zeros(&b, 49);
        must_fail(b, UQFF_E_TRUNCATED, "tensors, but the file has room for 1");
        b = begin(3, false, 0, large[i]);
        put_zeros(&b, 27);
        must_fail(b, UQFF_E_TRUNCATED, "key-value pairs, but the file has room for 1");
    }
    /* Room for either, but not for both. */
    struct builder b = begin(3, false, 1, 1);
    put_zeros(&b, 38);
    must_fail(b, UQFF_E_TRUNCATED, "declares 1 tensors, but the file has room for 0");
    b = begin(1, false, 3, 0);
    put_zeros(&b, 62);
    must_fail(b, UQFF_E_TRUNCATED, "declares 3 tensors, but the file has room for 2");
}

/* ---- faults of keys and values --------------------------------------------------------------- */

static void test_bad_keys(void **state) {
    (void)state;
    struct builder b = begin(3, false, 0, 1);
    put_key_u32(&b, "", 1);
    must_fail(b, UQFF_E_NAME, "a key name at offset 24 has 0 bytes, expected 1 to 65535");

    char *longest = (char *)calloc(1, 65537);
    memset(longest, 'k', 65535);
    b = begin(3, false, 0, 1);
    put_key_u32(&b, longest, 1);
    struct opened o;
    must_open(&o, &b);
    assert_string_equal(uqff_gguf_key(o.file, 0), longest);
    done(&o, &b);
    /* A message shows the beginning of such a key and still says what is wrong. */
    b = begin(3, false, 0, 1);
    put_key(&b, longest, 99);
    must_fail(b, UQFF_E_FIELD, "kkk...': the kind of the value is 99, expected 0 to 12");
    longest[65535] = 'k';
    b = begin(3, false, 0, 1);
    put_key_u32(&b, longest, 1);
    must_fail(b, UQFF_E_NAME, "has 65536 bytes, expected 1 to 65535");
    free(longest);

    b = begin(3, false, 0, 1);
    put_bytes(&b, "a\0b", 3), put_u32(&b, UQFF_GGUF_U8), put_u8(&b, 1);
    must_fail(b, UQFF_E_ENCODING, "key 'a': the name of 3 bytes holds a NUL");
    b = begin(3, false, 0, 1);
    put_key_u32(&b, "ab\xc3(", 1);
    must_fail(b, UQFF_E_ENCODING, "byte 2 of the name is not UTF-8");
    b = begin(3, false, 0, 3);
    put_key_u32(&b, "same", 1), put_key_u32(&b, "other", 1), put_key_u32(&b, "same", 1);
    must_fail(b, UQFF_E_DUPLICATE, "key 'same': found twice, at offsets 32 and 73");
    b = begin(3, false, 0, 1);
    put_u64(&b, UINT64_MAX), put_zeros(&b, 20);
    must_fail(b, UQFF_E_TRUNCATED, "a key name declares 18446744073709551615 bytes at offset 24");
    b = begin(3, false, 0, 1);
    put_key(&b, "\x1b[2J", 13), put_zeros(&b, 20);
    must_fail(b, UQFF_E_FIELD, "key '\\x1b[2J': the kind of the value is 13");
}

static void test_odd_keys(void **state) {
    (void)state;
    struct builder b = begin(3, false, 0, 3);
    put_key_u32(&b, "nomic-bert.context_length", 1);
    put_key_u32(&b, "General Name", 1);
    put_key_u32(&b, "\xc3\xa9", 1);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 1);
    assert_non_null(strstr(o.warnings.text, "m.gguf: key 'General Name' and 1 more"));
    done(&o, &b);
    b = begin(3, false, 0, 1);
    put_key_u32(&b, "General", 1);
    must_open(&o, &b);
    assert_non_null(strstr(o.warnings.text, "key 'General' is not of lower-case letters"));
    done(&o, &b);
}

static void test_bad_values(void **state) {
    (void)state;
    struct builder b = begin(3, false, 0, 1);
    put_key(&b, "b", UQFF_GGUF_BOOL), put_u8(&b, 2);
    must_fail(b, UQFF_E_FIELD, "key 'b': a bool is 2, expected 0 or 1");
    b = begin(3, false, 0, 1);
    put_key(&b, "b", UQFF_GGUF_ARRAY), put_array(&b, UQFF_GGUF_BOOL, 2), put_u8(&b, 1);
    put_u8(&b, 255);
    must_fail(b, UQFF_E_FIELD, "a bool is 255");
    b = begin(3, false, 0, 1);
    put_key(&b, "s", UQFF_GGUF_STRING), put_u64(&b, 6), put(&b, "hello", 5);
    must_fail(b, UQFF_E_TRUNCATED,
              "key 's': a string declares 6 bytes at offset 37, but the file "
              "has 5 more");
    b = begin(3, false, 0, 1);
    put_key(&b, "n", UQFF_GGUF_U64), put_zeros(&b, 7);
    must_fail(b, UQFF_E_TRUNCATED,
              "key 'n': the file ends within a value: found 7 bytes at offset "
              "37, expected 8");
}

static void test_bad_arrays(void **state) {
    (void)state;
    static const struct {
        uint32_t kind;
        uint64_t count;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {UQFF_GGUF_U8, 17, UQFF_E_TRUNCATED,
         "declares 17 elements of kind u8 at offset 41, but "
         "the file has room for 16"},
        {UQFF_GGUF_U32, UINT64_C(1) << 62, UQFF_E_TRUNCATED, "room for 4"},
        {UQFF_GGUF_F64, UINT64_MAX, UQFF_E_TRUNCATED, "room for 2"},
        {UQFF_GGUF_STRING, 3, UQFF_E_TRUNCATED, "room for 2"},
        {UQFF_GGUF_STRING, UINT64_C(1) << 61, UQFF_E_TRUNCATED, "room for 2"},
        {UQFF_GGUF_ARRAY, 2, UQFF_E_TRUNCATED, "room for 1"},
        {13, 0, UQFF_E_FIELD, "the kind of an array's elements is 13"},
        {13, UINT64_MAX, UQFF_E_FIELD, "expected 0 to 12"},
        {UINT32_MAX, 1, UQFF_E_FIELD, "is 4294967295"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct builder b = begin(3, false, 0, 1);
        put_key(&b, "a", UQFF_GGUF_ARRAY);
        put_array(&b, cases[i].kind, cases[i].count);
        put_zeros(&b, 16);
        must_fail(b, cases[i].code, cases[i].needle);
    }
    /* The second string's length is what lies. */
    struct builder b = begin(3, true, 0, 1);
    put_key(&b, "a", UQFF_GGUF_ARRAY), put_array(&b, UQFF_GGUF_STRING, 2);
    put_string(&b, "x"), put_u64(&b, UINT64_MAX);
    must_fail(b, UQFF_E_TRUNCATED, "a string declares 18446744073709551615 bytes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars),       cmocka_unit_test(test_kind_names),
        cmocka_unit_test(test_arrays),        cmocka_unit_test(test_nested_arrays),
        cmocka_unit_test(test_nesting_limit), cmocka_unit_test(test_get_u64),
        cmocka_unit_test(test_get_double),    cmocka_unit_test(test_get_bool_and_string),
        cmocka_unit_test(test_foreign_magic), cmocka_unit_test(test_cut_header),
        cmocka_unit_test(test_versions),      cmocka_unit_test(test_counts),
        cmocka_unit_test(test_bad_keys),      cmocka_unit_test(test_odd_keys),
        cmocka_unit_test(test_bad_values),    cmocka_unit_test(test_bad_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
