/* The GGUF reader on files built by hand: tensor infos, where their data lies, scale, and faults of
 * memory and reading. */
#include <inttypes.h>
#include <time.h>

#include "test_gguf_builder.h"

/* One F32 row of n elements and `present` bytes of data behind the header. */
static struct builder one_row(uint32_t type, uint64_t n, uint64_t offset, size_t present) {
    struct builder b = begin(3, false, 1, 0);
    put_row(&b, "t", n, type, offset);
    put_pad(&b, 32);
    put_zeros(&b, present);
    return b;
}

static void test_tensors(void **state) {
    (void)state;
    static const struct {
        uint32_t version;
        bool big;
    } layouts[] = {{1, false}, {2, false}, {3, false}, {3, true}};
    for (size_t l = 0; l < 4; l++) {
        struct builder b = begin(layouts[l].version, layouts[l].big, 3, 1);
        put_key_u32(&b, "general.alignment", 64);
        put_info(&b, "matrix", 2, (const uint64_t[]){64, 3}, UQFF_TYPE_Q4_0, 0);
        put_info(&b, "scalar", 0, NULL, UQFF_TYPE_F32, 128);
        put_info(&b, "cube", 4, (const uint64_t[]){2, 3, 4, 5}, UQFF_TYPE_F16, 192);
        put_pad(&b, 64);
        uint64_t data = b.size;
        put_zeros(&b, 192 + 240 + 16);
        struct opened o;
        must_open(&o, &b);
        assert_int_equal(o.warnings.count, 0);
        assert_int_equal(uqff_gguf_alignment(o.file), 64);
        assert_int_equal(uqff_gguf_data_offset(o.file, 0), data);
        assert_int_equal(uqff_gguf_tensor_count(o.file), 3);
        const struct uqff_gguf_tensor *t = uqff_gguf_tensor(o.file, 0);
        assert_string_equal(t->name, "matrix");
        assert_int_equal(t->type, UQFF_TYPE_Q4_0);
        assert_int_equal(t->n_dims, 2);
        assert_true(t->ne[0] == 64 && t->ne[1] == 3 && t->ne[2] == 1 && t->ne[3] == 1);
        assert_int_equal(t->file, 0);
        assert_int_equal(t->offset, data);
        assert_int_equal(t->bytes, 108);
        t = uqff_gguf_find_tensor(o.file, "scalar");
        assert_ptr_equal(t, uqff_gguf_tensor(o.file, 1));
        assert_true(t->n_dims == 0 && t->ne[0] == 1 && t->bytes == 4 && t->offset == data + 128);
        t = uqff_gguf_find_tensor(o.file, "cube");
        assert_true(t->n_dims == 4 && t->ne[3] == 5 && t->bytes == 240 && t->offset == data + 192);
        assert_null(uqff_gguf_find_tensor(o.file, "cub"));
        done(&o, &b);
    }
}

static void test_names(void **state) {
    (void)state;
    char name[66] = {0};
    memset(name, 'n', 64);
    struct builder b = begin(3, false, 1, 0);
    put_row(&b, name, 0, UQFF_TYPE_F32, 0), put_pad(&b, 32);
    struct opened o;
    must_open(&o, &b);
    assert_non_null(strstr(o.warnings.text, "llama.cpp takes names of at most 63 bytes, found 64"));
    done(&o, &b);
    name[63] = '\0';
    b = begin(3, false, 1, 0);
    put_row(&b, name, 0, UQFF_TYPE_F32, 0), put_pad(&b, 32);
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 0);
    done(&o, &b);

    name[63] = name[64] = 'n';
    b = begin(3, false, 1, 0);
    put_row(&b, name, 1, UQFF_TYPE_F32, 0), put_zeros(&b, 64);
    must_fail(b, UQFF_E_NAME, "a tensor name at offset 24 has 65 bytes, expected 1 to 64");
    b = begin(3, false, 1, 0);
    put_row(&b, "", 1, UQFF_TYPE_F32, 0), put_zeros(&b, 64);
    must_fail(b, UQFF_E_NAME, "a tensor name at offset 24 has 0 bytes");
    b = begin(3, false, 1, 0);
    put_row(&b, "\xed\xa0\x80", 1, UQFF_TYPE_F32, 0), put_zeros(&b, 64);
    must_fail(b, UQFF_E_ENCODING, "byte 0 of the name is not UTF-8");
    b = begin(3, false, 1, 0);
    put_bytes(&b, "t\0", 2), put_zeros(&b, 64);
    must_fail(b, UQFF_E_ENCODING, "tensor 't': the name of 2 bytes holds a NUL");
    b = begin(3, false, 2, 0);
    put_row(&b, "t", 8, UQFF_TYPE_F32, 0), put_row(&b, "t", 8, UQFF_TYPE_F32, 32);
    put_pad(&b, 32), put_zeros(&b, 64);
    must_fail(b, UQFF_E_DUPLICATE, "tensor 't': found twice, as tensors 0 and 1, expected once");
}

static void test_types(void **state) {
    (void)state;
    static const uint32_t retired[] = {4, 5, 31, 32, 33, 36, 37, 38};
    for (size_t i = 0; i < sizeof retired / sizeof retired[0]; i++) {
        char needle[64];
        snprintf(needle, sizeof needle, "tensor 't': retired tensor type %" PRIu32 ":", retired[i]);
        struct builder b = one_row(retired[i], 256, 0, 1024);
        must_fail(b, UQFF_E_TYPE, needle);
    }
    struct builder b = one_row(43, 256, 0, 1024);
    must_fail(b, UQFF_E_TYPE, "unknown tensor type 43: the file is newer than this tool");
    static const uint32_t absurd[] = {UQFF_TYPE_BOOL, UQFF_TYPE_U8, UINT32_C(1) << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        b = one_row(absurd[i], 256, 0, 1024);
        must_fail(b, UQFF_E_TYPE, "does not exist: the file is damaged");
    }
    size_t count;
    const struct uqff_type_info *types = uqff_type_table(&count);
    for (size_t i = 0; i < count && types[i].id < 1000; i++) {
        b = one_row(types[i].id, types[i].block_length, 0, types[i].block_bytes);
        struct opened o;
        must_open(&o, &b);
        assert_int_equal(uqff_gguf_tensor(o.file, 0)->bytes, types[i].block_bytes);
        done(&o, &b);
        if (types[i].block_length > 1) {
            b = one_row(types[i].id, types[i].block_length - 1, 0, 1024);
            must_fail(b, UQFF_E_SHAPE, types[i].name);
        }
    }
}

static void fails_for_shape(uint32_t type, unsigned n_dims, const uint64_t *ne, enum uqff_code code,
                            const char *needle) {
    struct builder b = begin(3, false, 1, 0);
    put_info(&b, "t", n_dims, ne, type, 0);
    put_pad(&b, 32);
    put_zeros(&b, 256);
    must_fail(b, code, needle);
}

static void test_shapes(void **state) {
    (void)state;
    const uint64_t ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint64_t p31 = UINT64_C(1) << 31, p32 = UINT64_C(1) << 32, p62 = UINT64_C(1) << 62;
    fails_for_shape(UQFF_TYPE_F32, 5, ones, UQFF_E_SHAPE, "found 5 dimensions, expected 0 to 4");
    fails_for_shape(UQFF_TYPE_F32, 9, ones, UQFF_E_SHAPE, "found 9 dimensions, expected 0 to 4");
    fails_for_shape(UQFF_TYPE_F32, 1, (const uint64_t[]){UINT64_MAX}, UQFF_E_SHAPE,
                    "tensor 't': dimension 0 is 18446744073709551615, expected at most 2^63-1");
    fails_for_shape(UQFF_TYPE_F32, 2, (const uint64_t[]){0, UINT64_C(1) << 63}, UQFF_E_SHAPE,
                    "dimension 1 is 9223372036854775808");
    fails_for_shape(UQFF_TYPE_I8, 2, (const uint64_t[]){p32, p32}, UQFF_E_OVERFLOW,
                    "shape [4294967296, 4294967296, 1, 1] has more elements than 2^63-1");
    fails_for_shape(UQFF_TYPE_I8, 2, (const uint64_t[]){p32, p31}, UQFF_E_OVERFLOW, "than 2^63-1");
    fails_for_shape(UQFF_TYPE_Q1_0, 2, (const uint64_t[]){p62, 2}, UQFF_E_OVERFLOW, "than 2^63-1");
    fails_for_shape(UQFF_TYPE_F32, 4, (const uint64_t[]){1 << 16, 1 << 16, 1 << 16, 1 << 16},
                    UQFF_E_OVERFLOW, "than 2^63-1");
    fails_for_shape(UQFF_TYPE_F32, 1, (const uint64_t[]){p62}, UQFF_E_OVERFLOW,
                    "shape [4611686018427387904, 1, 1, 1] of type F32: ");
    fails_for_shape(UQFF_TYPE_I8, 2, (const uint64_t[]){p32 - 1, p31}, UQFF_E_TRUNCATED,
                    "the file is cut off in tensor 't': found 352 bytes, expected at least "
                    "9223372034707292256");
    fails_for_shape(UQFF_TYPE_Q4_0, 2, (const uint64_t[]){16, 64}, UQFF_E_SHAPE, "Q4_0");
    fails_for_shape(UQFF_TYPE_Q4_0, 0, NULL, UQFF_E_SHAPE, "Q4_0");
}

static void test_alignment(void **state) {
    (void)state;
    static const uint32_t bad[] = {0, 1, 2, 3, 4, 24, 33, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct builder b = begin(3, false, 0, 1);
        put_key_u32(&b, "general.alignment", bad[i]);
        put_zeros(&b, 64);
        must_fail(b, UQFF_E_FIELD, "expected a power of two that is at least 8");
    }
    struct builder b = begin(3, false, 0, 1);
    put_key(&b, "general.alignment", UQFF_GGUF_U64), put_u64(&b, 32);
    must_fail(b, UQFF_E_FIELD, "key 'general.alignment': found kind u64, expected u32");
    b = begin(3, false, 1, 1);
    put_key_u32(&b, "general.alignment", UINT32_C(1) << 31);
    put_row(&b, "t", 8, UQFF_TYPE_F32, 0), put_zeros(&b, 128);
    must_fail(b, UQFF_E_TRUNCATED, "expected at least 2147483680");
}

/* Two F32 rows, of 8 and 24 elements: 32 and 96 bytes. */
static struct builder two_rows(uint64_t first, uint64_t second, size_t present) {
    struct builder b = begin(3, false, 2, 0);
    put_row(&b, "a", 8, UQFF_TYPE_F32, first);
    put_row(&b, "b", 24, UQFF_TYPE_F32, second);
    put_pad(&b, 32);
    put_zeros(&b, present);
    return b;
}

static void test_offsets(void **state) {
    (void)state;
    struct builder b = two_rows(0, 32, 128);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 0);
    done(&o, &b);
    b = two_rows(96, 0, 128);
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 1);
    assert_non_null(strstr(o.warnings.text, "m.gguf: tensor 'b': infos are not in order of their "
                                            "offsets; llama.cpp does not load such a file"));
    assert_string_equal(uqff_gguf_tensor(o.file, 0)->name, "a");
    assert_int_equal(uqff_gguf_tensor(o.file, 0)->offset, uqff_gguf_data_offset(o.file, 0) + 96);
    done(&o, &b);
    b = two_rows(0, 48, 160);
    must_fail(b, UQFF_E_LAYOUT,
              "tensor 'b': found offset 48, expected a multiple of the alignment "
              "32");
    b = two_rows(0, 0, 160);
    must_fail(b, UQFF_E_LAYOUT, "tensor 'b' at offset 0 overlaps tensor 'a', which ends at 32");
    b = two_rows(32, 0, 160);
    must_fail(b, UQFF_E_LAYOUT, "tensor 'a' at offset 32 overlaps tensor 'b', which ends at 96");
    b = two_rows(0, 64, 160);
    must_fail(b, UQFF_E_LAYOUT, "tensor 'b': a hole lies before it: found offset 64, expected 32");
    b = two_rows(32, 64, 160);
    must_fail(b, UQFF_E_LAYOUT, "tensor 'a': a hole lies before it: found offset 32, expected 0");
    b = two_rows(0, UINT64_C(1) << 63, 160);
    must_fail(b, UQFF_E_LAYOUT, "tensor 'b': a hole");
    b = two_rows(0, UINT64_MAX - 31, 160);
    must_fail(b, UQFF_E_LAYOUT, "tensor 'b': a hole");

    const uint64_t huge = (UINT64_C(1) << 63) - 32;
    b = begin(3, false, 3, 0);
    put_row(&b, "a", huge, UQFF_TYPE_I8, 0), put_row(&b, "b", huge, UQFF_TYPE_I8, huge);
    put_row(&b, "c", huge, UQFF_TYPE_I8, 0 - UINT64_C(64)), put_pad(&b, 32);
    must_fail(
        b, UQFF_E_OVERFLOW,
        "tensor 'c': the end of 9223372036854775776 bytes at offset 18446744073709551552 does");
    b = begin(3, false, 2, 0);
    put_row(&b, "a", huge, UQFF_TYPE_I8, 0), put_row(&b, "b", huge, UQFF_TYPE_I8, huge);
    put_pad(&b, 32);
    must_fail(b, UQFF_E_OVERFLOW, "the end of the data does not fit into 64 bits");
}

static void test_empty_tensors(void **state) {
    (void)state;
    struct builder b = begin(3, false, 4, 0);
    put_row(&b, "z", 0, UQFF_TYPE_F32, 0);
    put_info(&b, "y", 2, (const uint64_t[]){4, 0}, UQFF_TYPE_F32, 0);
    put_row(&b, "a", 8, UQFF_TYPE_F32, 0);
    put_row(&b, "x", 0, UQFF_TYPE_F32, 32);
    put_pad(&b, 32), put_zeros(&b, 32);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 0);
    assert_int_equal(uqff_gguf_tensor(o.file, 1)->bytes, 0);
    done(&o, &b);
    /* Behind the one that begins where it lies: the layout is sound, the order is not. */
    b = begin(3, false, 2, 0);
    put_row(&b, "a", 8, UQFF_TYPE_F32, 0), put_row(&b, "z", 0, UQFF_TYPE_F32, 0);
    put_pad(&b, 32), put_zeros(&b, 32);
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 1);
    done(&o, &b);
    /* Inside another one, or beyond the file's end. */
    b = begin(3, false, 2, 0);
    put_row(&b, "a", 16, UQFF_TYPE_F32, 0), put_row(&b, "z", 0, UQFF_TYPE_F32, 32);
    put_pad(&b, 32), put_zeros(&b, 64);
    must_fail(b, UQFF_E_LAYOUT, "tensor 'z' at offset 32 overlaps tensor 'a'");
    b = begin(3, false, 1, 0);
    put_row(&b, "z", 0, UQFF_TYPE_F32, 0);
    must_fail(b, UQFF_E_TRUNCATED, "cut off in tensor 'z': found 57 bytes, expected at least 64");
}

static void test_ends(void **state) {
    (void)state;
    struct builder b = one_row(UQFF_TYPE_F32, 9, 0, 36);
    struct opened o;
    must_open(&o, &b);
    assert_string_equal(o.warnings.text, "m.gguf: the padding after the last tensor is missing: "
                                         "found 100 bytes, expected 128\n");
    done(&o, &b);
    b = one_row(UQFF_TYPE_F32, 9, 0, 35);
    must_fail(b, UQFF_E_TRUNCATED, "cut off in tensor 't': found 99 bytes, expected at least 100");
    b = one_row(UQFF_TYPE_F32, 9, 0, 64);
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 0);
    done(&o, &b);
    b = one_row(UQFF_TYPE_F32, 9, 0, 70);
    must_open(&o, &b);
    assert_string_equal(o.warnings.text, "m.gguf: 6 bytes follow the last tensor at offset 128\n");
    done(&o, &b);
    b = one_row(UQFF_TYPE_F32, 8, 0, 32);
    b.bytes[60] = 7;
    must_open(&o, &b);
    assert_string_equal(o.warnings.text,
                        "m.gguf: the padding before the data is not zero at offset 60\n");
    done(&o, &b);
    /* Without tensors there is no data, and what follows is still told. */
    b = begin(3, false, 0, 0);
    put_zeros(&b, 8 + 3);
    must_open(&o, &b);
    assert_string_equal(o.warnings.text, "m.gguf: 3 bytes follow the last tensor at offset 32\n");
    done(&o, &b);
}

/* ---- a source that counts and fails ---------------------------------------------------------- */

struct watched {
    const unsigned char *bytes;
    size_t present;     /* zeros lie beyond */
    uint64_t read;      /* bytes asked for so far */
    unsigned fail_read; /* the n-th read fails; 0: none does */
    unsigned reads;
};

static enum uqff_code watched_read(void *self, uint64_t offset, void *out, size_t n,
                                   struct uqff_error *err) {
    struct watched *w = (struct watched *)self;
    w->read += n;
    if (++w->reads == w->fail_read) {
        return uqff_fail(err, UQFF_E_READ, offset, "m.gguf: the device is gone");
    }
    memset(out, 0, n);
    if (offset < w->present) {
        size_t have = w->present - (size_t)offset;
        memcpy(out, w->bytes + offset, have < n ? have : n);
    }
    return UQFF_OK;
}

static enum uqff_code open_watched(struct opened *o, struct watched *w, uint64_t size) {
    static const struct uqff_source_ops ops = {.read = watched_read};
    *o = (struct opened){0};
    assert_ok(uqff_source_new(&ops, w, size, "m.gguf", &o->source, &o->err), &o->err);
    return uqff_gguf_open(o->source, NULL, &o->file, &o->err);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void test_huge_file(void **state) {
    (void)state;
    /* 70 GB of data behind a header of a hundred bytes: only the header is read. */
    const uint64_t bytes = UINT64_C(70) << 30;
    struct builder b = one_row(UQFF_TYPE_I8, bytes, 0, 0);
    struct watched w = {.bytes = b.bytes, .present = b.size};
    struct opened o;
    assert_ok(open_watched(&o, &w, b.size + bytes), &o.err);
    assert_true(w.read <= 128 << 10);
    assert_int_equal(uqff_gguf_tensor(o.file, 0)->bytes, bytes);
    done(&o, &b);

    /* The bytes of these are "present" too, as zeros; they cost at most the limits. */
    b = begin(3, false, 0, 1);
    put_key(&b, "s", UQFF_GGUF_STRING), put_u64(&b, UINT64_C(60) << 30);
    w = (struct watched){.bytes = b.bytes, .present = b.size};
    assert_fails(open_watched(&o, &w, bytes), UQFF_E_LIMIT, &o.err, "expected at most 268435456");
    assert_true(w.read <= 128 << 10);
    done(&o, &b);
    b = begin(3, false, 0, 1);
    put_key(&b, "a", UQFF_GGUF_ARRAY), put_array(&b, UQFF_GGUF_U64, UINT64_C(1) << 32);
    w = (struct watched){.bytes = b.bytes, .present = b.size};
    assert_fails(open_watched(&o, &w, bytes), UQFF_E_LIMIT, &o.err, "expected a header of at most");
    assert_true(w.read <= 128 << 10);
    done(&o, &b);
}

static void put_vocabulary(struct builder *b, uint32_t tokens) {
    char text[32];
    put_key(b, "tokenizer.ggml.tokens", UQFF_GGUF_ARRAY);
    put_array(b, UQFF_GGUF_STRING, tokens);
    for (uint32_t i = 0; i < tokens; i++) {
        snprintf(text, sizeof text, "token %" PRIu32, i);
        put_string(b, text);
    }
    put_key(b, "tokenizer.ggml.scores", UQFF_GGUF_ARRAY);
    put_array(b, UQFF_GGUF_F32, tokens);
    put_zeros(b, (size_t)tokens * 4);
    put_key(b, "tokenizer.ggml.token_type", UQFF_GGUF_ARRAY);
    put_array(b, UQFF_GGUF_I32, tokens);
    put_zeros(b, (size_t)tokens * 4);
    put_key(b, "tokenizer.ggml.merges", UQFF_GGUF_ARRAY);
    put_array(b, UQFF_GGUF_STRING, tokens);
    for (uint32_t i = 0; i < tokens; i++) {
        snprintf(text, sizeof text, "left%" PRIu32 " right", i);
        put_string(b, text);
    }
}

static void test_large_vocabulary(void **state) {
    (void)state;
    struct builder b = begin(3, false, 0, 4);
    put_vocabulary(&b, 250000);
    struct opened o;
    double start = seconds();
    must_open(&o, &b);
    print_message("250 000 tokens, %zu bytes: %.4f s\n", b.size, seconds() - start);
    uint64_t n = 0;
    struct uqff_gguf_value v;
    start = seconds();
    struct uqff_gguf_iterator i =
        uqff_gguf_iterate(o.file, uqff_gguf_find_value(o.file, "tokenizer.ggml.tokens"));
    while (uqff_gguf_next(&i, &v)) {
        n += v.as.string.length;
    }
    print_message("walking the tokens: %.4f s\n", seconds() - start);
    assert_int_equal(n, 250000 * 6 + 10 + 90 * 2 + 900 * 3 + 9000 * 4 + 90000 * 5 + 150000 * 6);
    done(&o, &b);
}

static void test_many_entries(void **state) {
    (void)state;
    enum { TENSORS = 100000 };
    struct builder b = begin(3, false, TENSORS, TENSORS);
    char name[64];
    for (uint32_t i = 0; i < TENSORS; i++) {
        snprintf(name, sizeof name, "key.number_%" PRIu32, i);
        put_key_u32(&b, name, i);
    }
    for (uint32_t i = 0; i < TENSORS; i++) {
        snprintf(name, sizeof name, "blk.%" PRIu32 ".ffn_gate_exps.weight", i);
        put_row(&b, name, 8, UQFF_TYPE_F32, (uint64_t)i * 32);
    }
    put_pad(&b, 32);
    put_zeros(&b, (size_t)TENSORS * 32);
    struct opened o;
    double start = seconds();
    must_open(&o, &b);
    print_message("100 000 keys and 100 000 tensors: %.4f s\n", seconds() - start);
    assert_int_equal(o.warnings.count, 0);
    assert_int_equal(uqff_gguf_find_value(o.file, "key.number_77777")->as.u, 77777);
    const struct uqff_gguf_tensor *t =
        uqff_gguf_find_tensor(o.file, "blk.99999.ffn_gate_exps.weight");
    assert_ptr_equal(t, uqff_gguf_tensor(o.file, 99999));
    done(&o, &b);
}

/* ---- faults of memory and reading ------------------------------------------------------------ */

static struct builder rich_file(void) {
    struct builder b = begin(3, false, 2, 5);
    put_key(&b, "odd KEY", UQFF_GGUF_STRING), put_string(&b, "value");
    put_vocabulary(&b, 20000);
    put_row(&b, "b", 24, UQFF_TYPE_F32, 32), put_row(&b, "a", 8, UQFF_TYPE_F32, 0);
    put_pad(&b, 32), put_zeros(&b, 128);
    return b;
}

static void test_no_memory(void **state) {
    (void)state;
    struct builder b = rich_file();
    struct uqff_source *source = NULL;
    struct uqff_error err;
    assert_ok(uqff_source_memory(b.bytes, b.size, "m.gguf", &source, &err), &err);
    size_t failures = 0;
    for (size_t n = 1;; n++) {
        struct uqff_gguf *file = NULL;
        fail_allocation(n);
        enum uqff_code code = uqff_gguf_open(source, NULL, &file, &err);
        size_t asked = fail_allocation(0);
        if (code == UQFF_OK) {
            assert_int_equal(uqff_gguf_kv_count(file), 5);
            assert_string_equal(uqff_gguf_key(file, 0), "odd KEY");
            uqff_gguf_close(file);
        } else {
            assert_int_equal(code, UQFF_E_MEMORY);
            assert_null(file);
            failures++;
        }
        if (asked < n) {
            assert_int_equal(code, UQFF_OK);
            break;
        }
    }
    assert_true(failures >= 8);
    uqff_source_close(source);
    free(b.bytes);
}

static void test_failing_reads(void **state) {
    (void)state;
    struct builder b = rich_file();
    struct watched w = {.bytes = b.bytes, .present = b.size};
    struct opened o;
    assert_ok(open_watched(&o, &w, b.size), &o.err);
    close_opened(&o);
    unsigned reads = w.reads;
    assert_true(reads >= 3);
    for (unsigned n = 1; n <= reads; n++) {
        w.reads = 0;
        w.fail_read = n;
        assert_fails(open_watched(&o, &w, b.size), UQFF_E_READ, &o.err, "the device is gone");
        close_opened(&o);
    }
    free(b.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_types),         cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_alignment),     cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_empty_tensors), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_huge_file),     cmocka_unit_test(test_large_vocabulary),
        cmocka_unit_test(test_many_entries),  cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_failing_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
