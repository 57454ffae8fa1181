/* The safetensors reader: dtypes, headers, layouts, look-up, and every error. */
#include "support/support.h"

#include <stdio.h>

#include "uqff/safetensors.h"

/* A file in memory, opened: 8 bytes of length, `header`, and `data` bytes of anything. */
struct opened {
    unsigned char *bytes;
    size_t size;
    struct uqff_source *source;
    struct uqff_safetensors *file;
    char warnings[1024];
};

static void note_warning(void *context, const char *text) {
    struct opened *o = context;
    size_t used = strlen(o->warnings);
    snprintf(o->warnings + used, sizeof o->warnings - used, "%s\n", text);
}

static enum uqff_code open_bytes(struct opened *o, const void *bytes, size_t n,
                                 struct uqff_error *err) {
    *o = (struct opened){.bytes = malloc(n + 1), .size = n};
    assert_non_null(o->bytes);
    memcpy(o->bytes, bytes, n);
    assert_ok(uqff_source_memory(o->bytes, n, "t.safetensors", &o->source, err), err);
    const struct uqff_warner warner = {note_warning, o};
    return uqff_safetensors_open(o->source, &warner, &o->file, err);
}

static enum uqff_code open_header_n(struct opened *o, const char *header, size_t n, size_t data,
                                    struct uqff_error *err) {
    unsigned char *bytes = calloc(1, 8 + n + data);
    assert_non_null(bytes);
    uqff_store_le64(bytes, n);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < data; i++) {
        bytes[8 + n + i] = (unsigned char)i;
    }
    enum uqff_code code = open_bytes(o, bytes, 8 + n + data, err);
    free(bytes);
    return code;
}

static enum uqff_code open_header(struct opened *o, const char *header, size_t data,
                                  struct uqff_error *err) {
    return open_header_n(o, header, strlen(header), data, err);
}

static void close_all(struct opened *o) {
    uqff_safetensors_close(o->file);
    uqff_source_close(o->source);
    free(o->bytes);
}

/* ---- dtypes ---------------------------------------------------------------------------------- */

static void dtype_table(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unsigned bits, alignment;
    } expected[] = {
        {"BOOL", 8, 1},    {"F4", 4, 1},          {"F6_E2M3", 6, 1},     {"F6_E3M2", 6, 1},
        {"U8", 8, 1},      {"I8", 8, 1},          {"F8_E5M2", 8, 1},     {"F8_E4M3", 8, 1},
        {"F8_E8M0", 8, 1}, {"F8_E4M3FNUZ", 8, 1}, {"F8_E5M2FNUZ", 8, 1}, {"I16", 16, 2},
        {"U16", 16, 2},    {"F16", 16, 2},        {"BF16", 16, 2},       {"I32", 32, 4},
        {"U32", 32, 4},    {"F32", 32, 4},        {"C64", 64, 8},        {"F64", 64, 8},
        {"I64", 64, 8},    {"U64", 64, 8},
    };
    assert_int_equal(sizeof expected / sizeof *expected, UQFF_DTYPE_COUNT);
    for (int i = 0; i < UQFF_DTYPE_COUNT; i++) {
        enum uqff_dtype dtype = (enum uqff_dtype)i, found;
        assert_string_equal(uqff_dtype_name(dtype), expected[i].name);
        assert_int_equal(uqff_dtype_bits(dtype), expected[i].bits);
        assert_int_equal(uqff_dtype_alignment(dtype), expected[i].alignment);
        assert_true(uqff_dtype_from_name(expected[i].name, strlen(expected[i].name), &found));
        assert_int_equal(found, i);
    }
    enum uqff_dtype dtype;
    assert_false(uqff_dtype_from_name("f32", 3, &dtype));
    assert_false(uqff_dtype_from_name("F32\0", 4, &dtype));
    assert_false(uqff_dtype_from_name("F3", 2, &dtype));
    assert_false(uqff_dtype_from_name("", 0, &dtype));
    assert_string_equal(uqff_dtype_name(UQFF_DTYPE_COUNT), "?");
    assert_int_equal(uqff_dtype_bits(UQFF_DTYPE_COUNT), 0);
}

static void dtype_bytes(void **state) {
    (void)state;
    static const uint64_t max = UINT64_MAX;
    struct uqff_error err;
    uint64_t bytes = 1;
    assert_ok(uqff_dtype_bytes(UQFF_DTYPE_F32, NULL, 0, &bytes, &err), &err);
    assert_int_equal(bytes, 4);
    assert_ok(uqff_dtype_bytes(UQFF_DTYPE_F6_E2M3, (uint64_t[]){2, 6}, 2, &bytes, &err), &err);
    assert_int_equal(bytes, 9);
    assert_ok(uqff_dtype_bytes(UQFF_DTYPE_U8, (uint64_t[]){0, max}, 2, &bytes, &err), &err);
    assert_int_equal(bytes, 0);
    assert_ok(uqff_dtype_bytes(UQFF_DTYPE_U8, (uint64_t[]){max / 8}, 1, &bytes, &err), &err);
    assert_int_equal(bytes, max / 8);

    assert_fails(uqff_dtype_bytes(UQFF_DTYPE_F4, (uint64_t[]){3}, 1, &bytes, &err), UQFF_E_SHAPE,
                 &err, "12 bits");
    assert_fails(uqff_dtype_bytes(UQFF_DTYPE_U8, (uint64_t[]){2, max, 0}, 3, &bytes, &err),
                 UQFF_E_OVERFLOW, &err, "dimension 2 of 3");
    assert_fails(uqff_dtype_bytes(UQFF_DTYPE_U8, (uint64_t[]){max / 8 + 1}, 1, &bytes, &err),
                 UQFF_E_OVERFLOW, &err, "bits");
    assert_fails(uqff_dtype_bytes(UQFF_DTYPE_COUNT, NULL, 0, &bytes, &err), UQFF_E_ARGUMENT, &err,
                 "dtype");
    assert_int_equal(uqff_dtype_bytes(UQFF_DTYPE_F4, (uint64_t[]){1}, 1, &bytes, NULL),
                     UQFF_E_SHAPE);
}

/* ---- good files ------------------------------------------------------------------------------ */

static const char plain[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"n\":\"a\\u0000b\"},"
    "\"w\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[2,10]},"
    "\"b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]},"
    "\"z\":{\"dtype\":\"I64\",\"shape\":[3,0],\"data_offsets\":[2,2]},"
    "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},"
    "\"s\\n\\ud83d\\ude00\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[10,11]}}   ";

static void reads_a_file(void **state) {
    (void)state;
    struct uqff_error err;
    struct opened o;
    assert_ok(open_header(&o, plain, 11, &err), &err);
    assert_string_equal(o.warnings, "");
    const uint64_t start = 8 + strlen(plain);
    assert_int_equal(uqff_safetensors_header_bytes(o.file), strlen(plain));
    assert_ptr_equal(uqff_safetensors_source(o.file), o.source);

    /* Data order; the empty ones, at 2, by name and before the one that has bytes there. */
    static const struct {
        const char *name;
        enum uqff_dtype dtype;
        unsigned rank;
        uint64_t shape[2], offset, bytes;
    } expected[] = {
        {"b", UQFF_DTYPE_F16, 1, {1}, 0, 2},
        {"a", UQFF_DTYPE_U8, 1, {0}, 2, 0},
        {"z", UQFF_DTYPE_I64, 2, {3, 0}, 2, 0},
        {"w", UQFF_DTYPE_F32, 2, {2, 1}, 2, 8},
        {"s\n\xf0\x9f\x98\x80", UQFF_DTYPE_BOOL, 0, {0}, 10, 1},
    };
    const size_t count = sizeof expected / sizeof *expected;
    assert_int_equal(uqff_safetensors_count(o.file), count);
    for (size_t i = 0; i < count; i++) {
        const struct uqff_st_tensor *t = uqff_safetensors_tensor(o.file, i);
        assert_string_equal(t->name, expected[i].name);
        assert_int_equal(t->name_length, strlen(expected[i].name));
        assert_int_equal(t->dtype, expected[i].dtype);
        assert_int_equal(t->rank, expected[i].rank);
        assert_non_null(t->shape);
        assert_memory_equal(t->shape, expected[i].shape, t->rank * sizeof *t->shape);
        assert_int_equal(t->offset, start + expected[i].offset);
        assert_int_equal(t->bytes, expected[i].bytes);
        assert_ptr_equal(uqff_safetensors_find(o.file, expected[i].name), t);
    }
    assert_null(uqff_safetensors_find(o.file, "c"));
    assert_null(uqff_safetensors_find(o.file, ""));
    close_all(&o);
}

static void reads_metadata(void **state) {
    (void)state;
    struct uqff_error err;
    struct opened o;
    assert_ok(open_header(&o, plain, 11, &err), &err);
    const char *key, *value;
    size_t length;
    assert_int_equal(uqff_safetensors_metadata_count(o.file), 2);
    uqff_safetensors_metadata(o.file, 0, &key, &value, &length);
    assert_string_equal(key, "format");
    assert_string_equal(value, "pt");
    assert_int_equal(length, 2);
    uqff_safetensors_metadata(o.file, 1, &key, &value, NULL);
    assert_string_equal(key, "n");
    assert_memory_equal(value, "a\0b", 4);
    assert_string_equal(uqff_safetensors_metadata_find(o.file, "format", NULL), "pt");
    assert_memory_equal(uqff_safetensors_metadata_find(o.file, "n", &length), "a\0b", 4);
    assert_int_equal(length, 3);
    assert_null(uqff_safetensors_metadata_find(o.file, "w", NULL));
    close_all(&o);

    assert_ok(open_header(&o, "{\"__metadata__\":{}}", 0, &err), &err);
    assert_int_equal(uqff_safetensors_metadata_count(o.file), 0);
    assert_int_equal(uqff_safetensors_count(o.file), 0);
    assert_null(uqff_safetensors_metadata_find(o.file, "format", NULL));
    close_all(&o);
}

static void digest_leaves_padding_out(void **state) {
    (void)state;
    struct uqff_error err;
    struct opened o;
    struct uqff_digest expected = uqff_hash("{ }", 3);
    static const char *const spellings[] = {"{ }", "{ }     ", "{ }\t \r\n"};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(open_header(&o, spellings[i], 0, &err), &err);
        struct uqff_digest found = uqff_safetensors_header_digest(o.file);
        assert_true(uqff_digest_equal(&expected, &found));
        if (i < 2) {
            assert_string_equal(o.warnings, "");
        } else {
            assert_non_null(strstr(o.warnings, "other than spaces"));
        }
        close_all(&o);
    }
}

static void warns(void **state) {
    (void)state;
    struct uqff_error err;
    struct opened o;
    assert_ok(open_header(&o,
                          "{\"\":{\"x\":[{}],\"dtype\":\"U8\",\"shape\":[1],\"y\":{\"z\":1},"
                          "\"data_offsets\":[0,1]}}",
                          1, &err),
              &err);
    assert_non_null(strstr(o.warnings, "not known are ignored: 2, the first is 'x' of ''"));
    assert_non_null(strstr(o.warnings, "name is empty"));
    assert_non_null(uqff_safetensors_find(o.file, ""));
    close_all(&o);

    for (size_t n = 255; n <= 1025; n += n == 255 ? 1 : n == 256 ? 768 : 1) {
        char name[1100], header[1200];
        memset(name, 'n', n);
        name[n] = '\0';
        snprintf(header, sizeof header,
                 "{\"%s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", name);
        if (n == 1025) {
            assert_fails(open_header(&o, header, 1, &err), UQFF_E_LIMIT, &err, "1025");
        } else {
            assert_ok(open_header(&o, header, 1, &err), &err);
            assert_int_equal(strstr(o.warnings, "more than 255 bytes: 1,") != NULL, n > 255);
            assert_non_null(uqff_safetensors_find(o.file, name));
        }
        close_all(&o);
    }
}

/* ---- faults ---------------------------------------------------------------------------------- */

#define ONE(fields) "{\"t\":{" fields "}}"
#define F32 "\"dtype\":\"F32\","
#define AT04 "\"data_offsets\":[0,4]"

static const struct {
    const char *header;
    size_t data;
    enum uqff_code code;
    const char *needle;
} faults[] = {
    /* the text */
    {"{", 0, UQFF_E_SYNTAX, "shortest header"},
    {" {}", 0, UQFF_E_SYNTAX, "byte 0x20"},
    {"[]", 0, UQFF_E_SYNTAX, "byte 0x5b"},
    {"\xef\xbb\xbf{}", 0, UQFF_E_SYNTAX, "byte 0xef"},
    {"{}{}", 0, UQFF_E_SYNTAX, "t.safetensors"},
    {"{}x", 0, UQFF_E_SYNTAX, "t.safetensors"},
    {"{\"a\xff\":1}", 0, UQFF_E_ENCODING, "t.safetensors"},
    {"{\"a\":1,\"\\u0061\":2}", 0, UQFF_E_FIELD, "tensor 'a': entry"},
    {ONE(F32 "\"shape\":[1]," AT04) "   x", 4, UQFF_E_SYNTAX, "t.safetensors"},
    /* duplicates at each level */
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, UQFF_E_DUPLICATE, "__metadata__"},
    {"{\"__metadata__\":{\"k\":\"1\",\"\\u006b\":\"1\"}}", 0, UQFF_E_DUPLICATE, "k"},
    {ONE(F32 F32 "\"shape\":[1]," AT04), 4, UQFF_E_DUPLICATE, "dtype"},
    {ONE(F32 "\"shape\":[1],\"shape\":[1]," AT04), 4, UQFF_E_DUPLICATE, "shape"},
    {ONE(F32 "\"shape\":[1]," AT04 "," AT04), 4, UQFF_E_DUPLICATE, "data_offsets"},
    {"{\"t\":{" F32 "\"shape\":[1]," AT04 "},\"t\":{" F32 "\"shape\":[1]," AT04 "}}", 4,
     UQFF_E_DUPLICATE, "t"},
    /* names */
    {"{\"a\\u0000b\":{}}", 0, UQFF_E_NAME, "'a' goes on behind a NUL"},
    {"{\"__metadata__\":{\"a\\u0000\":\"\"}}", 0, UQFF_E_NAME, "'a' goes on behind a NUL"},
    /* entries */
    {"{\"t\":[]}", 0, UQFF_E_FIELD, "tensor 't': entry"},
    {ONE(""), 0, UQFF_E_FIELD, "tensor 't': dtype is missing"},
    {ONE(F32 AT04), 4, UQFF_E_FIELD, "tensor 't': shape is missing"},
    {ONE(F32 "\"shape\":[1]"), 4, UQFF_E_FIELD, "tensor 't': data_offsets is missing"},
    {ONE("\"dtype\":{\"F32\":null},\"shape\":[1]," AT04), 4, UQFF_E_FIELD, "tensor 't': dtype"},
    {ONE("\"dtype\":\"f32\",\"shape\":[1]," AT04), 4, UQFF_E_TYPE, "found 'f32'"},
    {ONE("\"dtype\":\"F32\\u0000\",\"shape\":[1]," AT04), 4, UQFF_E_TYPE, "'F32' before a NUL"},
    {ONE(F32 "\"shape\":1," AT04), 4, UQFF_E_FIELD, "tensor 't': shape"},
    {ONE(F32 "\"shape\":[[1]]," AT04), 4, UQFF_E_FIELD, "tensor 't': shape"},
    {ONE(F32 "\"shape\":[1.0]," AT04), 4, UQFF_E_FIELD, "shape: found 1.0"},
    {ONE(F32 "\"shape\":[-1]," AT04), 4, UQFF_E_FIELD, "shape: found -1"},
    {ONE(F32 "\"shape\":[18446744073709551616]," AT04), 4, UQFF_E_FIELD, "184467440737095516"},
    {ONE(F32 "\"shape\":[1],\"data_offsets\":[0]"), 4, UQFF_E_FIELD, "data_offsets"},
    {ONE(F32 "\"shape\":[1],\"data_offsets\":[0,4,4]"), 4, UQFF_E_FIELD, "data_offsets"},
    {ONE(F32 "\"shape\":[1],\"data_offsets\":[0,4e0]"), 4, UQFF_E_FIELD, "found 4e0"},
    {ONE(F32 "\"shape\":[1],\"data_offsets\":{}"), 4, UQFF_E_FIELD, "data_offsets"},
    /* sizes */
    {ONE(F32 "\"shape\":[2]," AT04), 4, UQFF_E_SHAPE, "span 4 bytes, the shape needs 8 as F32"},
    {ONE(F32 "\"shape\":[0]," AT04), 4, UQFF_E_SHAPE, "needs 0"},
    {ONE(F32 "\"shape\":[1],\"data_offsets\":[4,0]"), 4, UQFF_E_LAYOUT, "end before"},
    {ONE(F32 "\"shape\":[4294967296,4294967296,0]," AT04), 4, UQFF_E_OVERFLOW, "tensor 't'"},
    {ONE("\"dtype\":\"F4\",\"shape\":[7]," AT04), 4, UQFF_E_SHAPE, "28 bits"},
    /* layout */
    {ONE(F32 "\"shape\":[1],\"data_offsets\":[1,5]"), 5, UQFF_E_LAYOUT, "hole"},
    {ONE(F32 "\"shape\":[1]," AT04), 5, UQFF_E_LAYOUT, "behind the last tensor: found 1,"},
    {ONE(F32 "\"shape\":[1]," AT04), 3, UQFF_E_TRUNCATED, "3 bytes of tensor data, expected 4"},
    {"{}", 1, UQFF_E_LAYOUT, "behind the last"},
    {ONE("\"dtype\":\"U8\",\"shape\":[0],"
         "\"data_offsets\":[18446744073709551615,18446744073709551615]"),
     0, UQFF_E_LAYOUT, "hole"},
    {"{\"a\":{" F32 "\"shape\":[1]," AT04 "},\"b\":{" F32 "\"shape\":[1]," AT04 "}}", 4,
     UQFF_E_LAYOUT, "tensor 'b': data begins at 0, expected 4, where 'a' ends (they overlap)"},
    /* metadata */
    {"{\"__metadata__\":null}", 0, UQFF_E_FIELD, "__metadata__"},
    {"{\"__metadata__\":{\"k\":1}}", 0, UQFF_E_FIELD, "'k'"},
};

static void refuses(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct uqff_error err = {0};
        struct opened o;
        enum uqff_code code = open_header(&o, faults[i].header, faults[i].data, &err);
        assert_fails(code, faults[i].code, &err, faults[i].needle);
        assert_int_equal(strncmp(err.text, "t.safetensors: ", 15), 0);
        assert_null(o.file);
        close_all(&o);
        assert_int_equal(open_header(&o, faults[i].header, faults[i].data, NULL), code);
        close_all(&o);
    }
}

static void refuses_too_many_dimensions(void **state) {
    (void)state;
    for (unsigned rank = 64; rank <= 65; rank++) {
        char header[512] = ONE("\"dtype\":\"U8\",\"data_offsets\":[0,1],\"shape\":[1");
        header[strlen(header) - 2] = '\0';
        for (unsigned i = 1; i < rank; i++) {
            strcat(header, ",1");
        }
        strcat(header, "]}}");
        struct uqff_error err;
        struct opened o;
        if (rank == 64) {
            assert_ok(open_header(&o, header, 1, &err), &err);
            assert_int_equal(uqff_safetensors_tensor(o.file, 0)->rank, 64);
        } else {
            assert_fails(open_header(&o, header, 1, &err), UQFF_E_LIMIT, &err, "64 dimensions");
        }
        close_all(&o);
    }
}

static void names_what_it_looks_like(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *needle;
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", 67,
         "git lfs pull"},
        {"<!DOCTYPE html>\n<html>", 22, "HTML"},
        {"PK\3\4\x14\0\0\0\0\0\0\0", 12, "ZIP"},
        {"\x80\2}q\0(X\1\0\0\0a", 12, "pickle"},
        {"\x80\4\x95\x10\0\0\0\0\0\0\0}", 12, "pickle"},
        {"GGUF\3\0\0\0\0\0\0\0\0\0\0\0", 16, "GGUF"},
        {"{\"metadata\":{}}", 15, "JSON"},
        {"GGUF", 4, "GGUF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqff_error err;
        struct opened o;
        assert_fails(open_bytes(&o, cases[i].bytes, cases[i].n, &err), UQFF_E_MAGIC, &err,
                     cases[i].needle);
        close_all(&o);
    }
    /* A length that happens to spell the start of a pickle is a length. */
    struct uqff_error err;
    struct opened o;
    assert_fails(open_bytes(&o, "\x80\2\0\0\0\0\0\0{}", 10, &err), UQFF_E_TRUNCATED, &err, "640");
    close_all(&o);
}

static void refuses_lengths(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        size_t size;
        enum uqff_code code;
    } cases[] = {
        {0, 0, UQFF_E_TRUNCATED},
        {0, 7, UQFF_E_TRUNCATED},
        {0, 8, UQFF_E_SYNTAX},
        {1, 9, UQFF_E_SYNTAX},
        {3, 10, UQFF_E_TRUNCATED},
        {100000000, 10, UQFF_E_TRUNCATED},
        {100000001, 10, UQFF_E_LIMIT},
        {UINT64_C(1) << 32 | 2, 10, UQFF_E_LIMIT},
        {UINT64_C(1) << 63, 10, UQFF_E_LIMIT},
        {UINT64_MAX - 7, 10, UQFF_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char bytes[16] = "12345678{}";
        uqff_store_le64(bytes, cases[i].length);
        struct uqff_error err;
        struct opened o;
        assert_fails(open_bytes(&o, bytes, cases[i].size, &err), cases[i].code, &err,
                     "t.safetensors: ");
        close_all(&o);
    }
}

/* Every cut of a file is an error, and each message is one printable line. */
static void refuses_every_cut(void **state) {
    (void)state;
    struct uqff_error err;
    struct opened whole;
    assert_ok(open_header(&whole, plain, 11, &err), &err);
    for (size_t n = 0; n < whole.size; n++) {
        struct opened o;
        enum uqff_code code = open_bytes(&o, whole.bytes, n, &err);
        assert_fails(code, UQFF_E_TRUNCATED, &err, "t.safetensors: ");
        close_all(&o);
    }
    close_all(&whole);
}

/* Each byte of the header replaced by others: an error or a file, never a crash. */
static void survives_changed_bytes(void **state) {
    (void)state;
    static const unsigned char other[] = {0, '"', '{', '}', '[', ',', '0', '9', '\\', 0xff};
    struct uqff_error err;
    struct opened whole;
    assert_ok(open_header(&whole, plain, 11, &err), &err);
    for (size_t i = 0; i < whole.size; i++) {
        for (size_t j = 0; j < sizeof other; j++) {
            unsigned char kept = whole.bytes[i];
            struct opened o;
            whole.bytes[i] = other[j];
            enum uqff_code code = open_bytes(&o, whole.bytes, whole.size, &err);
            whole.bytes[i] = kept;
            assert_true((code == UQFF_OK) == (o.file != NULL));
            close_all(&o);
        }
    }
    close_all(&whole);
}

static void survives_failed_allocations(void **state) {
    (void)state;
    struct uqff_error err;
    struct opened o;
    const struct uqff_warner silent = {NULL, NULL};
    assert_ok(open_header(&o, plain, 11, &err), &err);
    struct uqff_safetensors *file = NULL;
    enum uqff_code code = UQFF_E_MEMORY;
    size_t n = 0;
    while (code != UQFF_OK) {
        fail_allocation(++n);
        code = uqff_safetensors_open(o.source, &silent, &file, &err);
        fail_allocation(0);
        assert_true(code == UQFF_OK || code == UQFF_E_MEMORY);
        assert_true(n < 1000);
    }
    assert_true(n > 5);
    uqff_safetensors_close(file);
    uqff_safetensors_close(NULL);
    close_all(&o);
}

static void many_tensors(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    struct uqff_buffer text = {0};
    for (int i = 0; i < COUNT; i++) {
        /* Against data order, so that the sort is used. */
        uqff_buffer_printf(&text,
                           "%c\"t.%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                           i == 0 ? '{' : ',', i, COUNT - 1 - i, COUNT - i);
    }
    uqff_buffer_append(&text, "}", 1);
    assert_false(text.failed);
    struct uqff_error err;
    struct opened o;
    assert_ok(open_header_n(&o, text.data, text.size, COUNT, &err), &err);
    assert_int_equal(uqff_safetensors_count(o.file), COUNT);
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "t.%d", i);
        assert_ptr_equal(uqff_safetensors_find(o.file, name),
                         uqff_safetensors_tensor(o.file, (size_t)(COUNT - 1 - i)));
    }
    close_all(&o);
    uqff_buffer_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtype_table),
        cmocka_unit_test(dtype_bytes),
        cmocka_unit_test(reads_a_file),
        cmocka_unit_test(reads_metadata),
        cmocka_unit_test(digest_leaves_padding_out),
        cmocka_unit_test(warns),
        cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_too_many_dimensions),
        cmocka_unit_test(names_what_it_looks_like),
        cmocka_unit_test(refuses_lengths),
        cmocka_unit_test(refuses_every_cut),
        cmocka_unit_test(survives_changed_bytes),
        cmocka_unit_test(survives_failed_allocations),
        cmocka_unit_test(many_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
