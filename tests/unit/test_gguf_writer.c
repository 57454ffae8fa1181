/* The writer of GGUF files: exact bytes, round trips through the reader, splits, refusals. */
#include <float.h>
#include <math.h>

#include "test_gguf_builder.h"
#include "test_gguf_vector.h"

static struct uqff_error err;

static struct uqff_gguf_layout *new_layout(uint64_t alignment) {
    struct uqff_gguf_layout *layout = NULL;
    assert_ok(uqff_gguf_layout_new(alignment, &layout, &err), &err);
    return layout;
}

static void refuse_warning(void *context, const char *text) {
    (void)context;
    fail_msg("%s", text);
}

static void add_row(struct uqff_gguf_layout *layout, const char *name, uint64_t n) {
    assert_ok(uqff_gguf_layout_add(layout, name, UQFF_TYPE_F32, &n, 1, &err), &err);
}

static void finish(struct uqff_gguf_layout *layout) {
    assert_ok(uqff_gguf_layout_finish(layout, 0, 0, &err), &err);
}

/* A file of a finished layout, its data filled with zeros. */
static struct builder render(const struct uqff_gguf_layout *layout, size_t file) {
    struct uqff_buffer header = {0};
    struct builder b = {.version = 3};
    assert_ok(uqff_gguf_layout_header(layout, file, &header, &err), &err);
    put(&b, header.data, header.size);
    uint64_t bytes = uqff_gguf_layout_file_bytes(layout, file);
    assert_true(bytes >= header.size);
    put_zeros(&b, (size_t)(bytes - header.size));
    uqff_buffer_free(&header);
    return b;
}

/* ---- exact bytes ----------------------------------------------------------------------------- */

static void test_vector(void **state) {
    (void)state;
    static const uint64_t ne[2] = {32, 1};
    static const struct uqff_gguf_string strings[] = {{"x", 1}, {"", 0}};
    struct builder vector = read_vector();
    struct uqff_gguf_layout *layout = new_layout(8);
    assert_ok(uqff_gguf_set_u64(layout, "general.alignment", UQFF_GGUF_U32, 8, &err), &err);
    assert_ok(uqff_gguf_set_strings(layout, "a", strings, 2, &err), &err);
    assert_ok(uqff_gguf_layout_add(layout, "w", UQFF_TYPE_Q4_0, ne, 2, &err), &err);
    assert_ok(uqff_gguf_layout_add(layout, "s", UQFF_TYPE_F32, NULL, 0, &err), &err);
    finish(layout);
    size_t file;
    uint64_t offset, bytes;
    uqff_gguf_layout_place(layout, 0, &file, &offset, &bytes);
    assert_true(file == 0 && offset == 0xa8 && bytes == 18);
    uqff_gguf_layout_place(layout, 1, &file, &offset, &bytes);
    assert_true(file == 0 && offset == 0xc0 && bytes == 4);
    assert_int_equal(uqff_gguf_layout_file_bytes(layout, 0), vector.size);
    struct uqff_buffer header = {0};
    assert_ok(uqff_gguf_layout_header(layout, 0, &header, &err), &err);
    assert_int_equal(header.size, 0xa8);
    assert_memory_equal(header.data, vector.bytes, header.size);
    uqff_buffer_free(&header);
    uqff_gguf_layout_free(layout);
    free(vector.bytes);
}

/* A file made by the calls that the header names: nobody has to think of padding. */
static void test_written_file(void **state) {
    (void)state;
    static const float row[3] = {1, 2, 3};
    const char *path = scratch_file("written.gguf");
    struct uqff_gguf_layout *layout = new_layout(32);
    struct uqff_buffer header = {0};
    assert_fails(uqff_gguf_layout_header(layout, 0, &header, &err), UQFF_E_ARGUMENT, &err,
                 "before it was finished");
    add_row(layout, "t", 3);
    add_row(layout, "u", 3);
    finish(layout);
    assert_fails(uqff_gguf_layout_header(layout, 1, &header, &err), UQFF_E_ARGUMENT, &err,
                 "file 1 of a layout of 1");
    struct uqff_sink *sink = NULL;
    assert_ok(uqff_sink_create(path, false, &sink, &err), &err);
    assert_ok(uqff_gguf_layout_write_header(layout, 0, sink, &err), &err);
    for (size_t i = 0; i < 2; i++) {
        size_t file;
        uint64_t offset, bytes;
        uqff_gguf_layout_place(layout, i, &file, &offset, &bytes);
        assert_ok(uqff_sink_write(sink, offset, row, (size_t)bytes, &err), &err);
    }
    assert_ok(uqff_sink_flush(sink, &err), &err);
    assert_ok(uqff_gguf_read_back(sink, &err), &err);
    assert_ok(uqff_sink_publish(sink, &err), &err);
    uqff_sink_close(sink);

    struct uqff_gguf *gguf = NULL;
    const struct uqff_warner warner = {refuse_warning, NULL};
    assert_ok(uqff_gguf_open_path(path, &warner, &gguf, &err), &err);
    const struct uqff_source *source = uqff_gguf_source(gguf, 0);
    assert_int_equal(uqff_source_size(source), uqff_gguf_layout_file_bytes(layout, 0));
    uqff_gguf_close(gguf);
    uqff_gguf_layout_free(layout);
}

/* The alignment that was asked for is declared last, unless the caller chose its place. */
static void test_alignment_key(void **state) {
    (void)state;
    struct uqff_gguf_layout *layout = new_layout(64);
    assert_ok(uqff_gguf_set_bool(layout, "b", true, &err), &err);
    add_row(layout, "t", 3);
    add_row(layout, "u", 3);
    finish(layout);
    struct builder b = render(layout, 0);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 0);
    assert_string_equal(uqff_gguf_key(o.file, 1), "general.alignment");
    assert_int_equal(uqff_gguf_alignment(o.file), 64);
    assert_int_equal(uqff_gguf_tensor(o.file, 1)->offset - uqff_gguf_tensor(o.file, 0)->offset, 64);
    done(&o, &b);
    uqff_gguf_layout_free(layout);

    layout = new_layout(32);
    assert_ok(uqff_gguf_set_u64(layout, "general.alignment", UQFF_GGUF_U32, 16, &err), &err);
    add_row(layout, "t", 3);
    add_row(layout, "u", 3);
    finish(layout);
    b = render(layout, 0);
    must_open(&o, &b);
    assert_int_equal(uqff_gguf_alignment(o.file), 16);
    assert_int_equal(uqff_gguf_tensor(o.file, 1)->offset - uqff_gguf_tensor(o.file, 0)->offset, 16);
    done(&o, &b);
    uqff_gguf_layout_free(layout);

    layout = new_layout(64);
    assert_ok(uqff_gguf_set_u64(layout, "general.alignment", UQFF_GGUF_U32, 16, &err), &err);
    uqff_gguf_unset(layout, "general.alignment");
    finish(layout);
    b = render(layout, 0);
    must_open(&o, &b);
    assert_int_equal(uqff_gguf_kv_count(o.file), 0);
    done(&o, &b);
    uqff_gguf_layout_free(layout);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void set_every_kind(struct uqff_gguf_layout *layout) {
    static const unsigned char halves[] = {1, 2, 3, 4};
    static const struct uqff_gguf_string strings[] = {{"a\0b", 3}, {"\xff", 1}, {"", 0}};
    assert_ok(uqff_gguf_set_u64(layout, "u8", UQFF_GGUF_U8, UINT8_MAX, &err), &err);
    assert_ok(uqff_gguf_set_u64(layout, "u16", UQFF_GGUF_U16, UINT16_MAX, &err), &err);
    assert_ok(uqff_gguf_set_u64(layout, "u32", UQFF_GGUF_U32, UINT32_MAX, &err), &err);
    assert_ok(uqff_gguf_set_u64(layout, "u64", UQFF_GGUF_U64, UINT64_MAX, &err), &err);
    assert_ok(uqff_gguf_set_i64(layout, "i8", UQFF_GGUF_I8, INT8_MIN, &err), &err);
    assert_ok(uqff_gguf_set_i64(layout, "i16", UQFF_GGUF_I16, INT16_MIN, &err), &err);
    assert_ok(uqff_gguf_set_i64(layout, "i32", UQFF_GGUF_I32, INT32_MAX, &err), &err);
    assert_ok(uqff_gguf_set_i64(layout, "i64", UQFF_GGUF_I64, INT64_MIN, &err), &err);
    assert_ok(uqff_gguf_set_double(layout, "f32", UQFF_GGUF_F32, 0.1, &err), &err);
    assert_ok(uqff_gguf_set_double(layout, "f64", UQFF_GGUF_F64, 0.1, &err), &err);
    assert_ok(uqff_gguf_set_double(layout, "inf", UQFF_GGUF_F32, -INFINITY, &err), &err);
    assert_ok(uqff_gguf_set_bool(layout, "bool", true, &err), &err);
    assert_ok(uqff_gguf_set_string(layout, "string", "a\0\xff", 3, &err), &err);
    assert_ok(uqff_gguf_set_array(layout, "array", UQFF_GGUF_U16, halves, 2, &err), &err);
    assert_ok(uqff_gguf_set_array(layout, "empty", UQFF_GGUF_F64, NULL, 0, &err), &err);
    assert_ok(uqff_gguf_set_strings(layout, "strings", strings, 3, &err), &err);
}

static uint64_t unsigned_of(const struct uqff_gguf *file, const char *key) {
    const struct uqff_gguf_value *value = uqff_gguf_find_value(file, key);
    assert_non_null(value);
    return value->as.u;
}

static int64_t signed_of(const struct uqff_gguf *file, const char *key) {
    const struct uqff_gguf_value *value = uqff_gguf_find_value(file, key);
    assert_non_null(value);
    return value->as.i;
}

static void test_every_kind(void **state) {
    (void)state;
    struct uqff_gguf_layout *layout = new_layout(32);
    set_every_kind(layout);
    finish(layout);
    struct builder b = render(layout, 0);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 0);
    assert_int_equal(uqff_gguf_kv_count(o.file), 16);
    assert_int_equal(unsigned_of(o.file, "u8"), UINT8_MAX);
    assert_int_equal(unsigned_of(o.file, "u16"), UINT16_MAX);
    assert_int_equal(unsigned_of(o.file, "u32"), UINT32_MAX);
    assert_true(unsigned_of(o.file, "u64") == UINT64_MAX);
    assert_int_equal(signed_of(o.file, "i8"), INT8_MIN);
    assert_int_equal(signed_of(o.file, "i16"), INT16_MIN);
    assert_int_equal(signed_of(o.file, "i32"), INT32_MAX);
    assert_true(signed_of(o.file, "i64") == INT64_MIN);
    assert_true(uqff_gguf_find_value(o.file, "f32")->as.f == (double)0.1f);
    assert_true(uqff_gguf_find_value(o.file, "f64")->as.f == 0.1);
    assert_true(uqff_gguf_find_value(o.file, "inf")->as.f == -INFINITY);
    assert_int_equal(unsigned_of(o.file, "bool"), 1);
    const struct uqff_gguf_value *v = uqff_gguf_find_value(o.file, "string");
    assert_true(v->as.string.length == 3 && memcmp(v->as.string.bytes, "a\0\xff", 3) == 0);
    v = uqff_gguf_find_value(o.file, "array");
    assert_true(v->as.array.kind == UQFF_GGUF_U16 && v->as.array.count == 2);
    struct uqff_gguf_iterator i = uqff_gguf_iterate(o.file, v);
    struct uqff_gguf_value element;
    assert_true(uqff_gguf_next(&i, &element) && element.as.u == 0x0201);
    v = uqff_gguf_find_value(o.file, "empty");
    assert_true(v->as.array.kind == UQFF_GGUF_F64 && v->as.array.count == 0);
    i = uqff_gguf_iterate(o.file, uqff_gguf_find_value(o.file, "strings"));
    assert_true(uqff_gguf_next(&i, &element) && element.as.string.length == 3);
    assert_true(uqff_gguf_next(&i, &element) && element.as.string.bytes[0] == '\xff');
    assert_true(uqff_gguf_next(&i, &element) && element.as.string.length == 0);
    assert_false(uqff_gguf_next(&i, &element));
    done(&o, &b);
    uqff_gguf_layout_free(layout);
}

static void test_order_of_keys(void **state) {
    (void)state;
    struct uqff_gguf_layout *layout = new_layout(32);
    assert_ok(uqff_gguf_set_u64(layout, "a", UQFF_GGUF_U8, 1, &err), &err);
    assert_ok(uqff_gguf_set_u64(layout, "b", UQFF_GGUF_U8, 2, &err), &err);
    assert_ok(uqff_gguf_set_u64(layout, "c", UQFF_GGUF_U8, 3, &err), &err);
    assert_ok(uqff_gguf_set_string(layout, "a", "replaced", 8, &err), &err);
    uqff_gguf_unset(layout, "b");
    uqff_gguf_unset(layout, "absent");
    assert_false(uqff_gguf_is_set(layout, "b"));
    assert_ok(uqff_gguf_set_u64(layout, "b", UQFF_GGUF_U8, 4, &err), &err);
    assert_true(uqff_gguf_is_set(layout, "b"));
    assert_ok(uqff_gguf_set_u64(layout, "split.count", UQFF_GGUF_U16, 7, &err), &err);
    finish(layout);
    struct builder b = render(layout, 0);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(uqff_gguf_kv_count(o.file), 3);
    assert_string_equal(uqff_gguf_key(o.file, 0), "a");
    assert_string_equal(uqff_gguf_key(o.file, 1), "c");
    assert_string_equal(uqff_gguf_key(o.file, 2), "b");
    assert_int_equal(unsigned_of(o.file, "b"), 4);
    done(&o, &b);
    /* The layout is finished: lengths stay. */
    assert_ok(uqff_gguf_set_u64(layout, "b", UQFF_GGUF_U8, 5, &err), &err);
    assert_fails(uqff_gguf_set_u64(layout, "b", UQFF_GGUF_U16, 5, &err), UQFF_E_INTERNAL, &err,
                 "'b'");
    assert_fails(uqff_gguf_set_bool(layout, "new", true, &err), UQFF_E_INTERNAL, &err, "'new'");
    uqff_gguf_unset(layout, "b");
    assert_true(uqff_gguf_is_set(layout, "b"));
    assert_fails(uqff_gguf_layout_finish(layout, 0, 0, &err), UQFF_E_INTERNAL, &err, "twice");
    assert_fails(uqff_gguf_layout_add(layout, "late", UQFF_TYPE_F32, NULL, 0, &err),
                 UQFF_E_INTERNAL, &err, "'late'");
    b = render(layout, 0);
    must_open(&o, &b);
    assert_int_equal(unsigned_of(o.file, "b"), 5);
    done(&o, &b);
    uqff_gguf_layout_free(layout);
}

/* Two values of two files, or two of their elements, are the same. */
static void assert_same_value(const struct uqff_gguf *x, const struct uqff_gguf_value *a,
                              const struct uqff_gguf *y, const struct uqff_gguf_value *b) {
    assert_int_equal(a->kind, b->kind);
    if (a->kind == UQFF_GGUF_STRING) {
        assert_int_equal(a->as.string.length, b->as.string.length);
        assert_memory_equal(a->as.string.bytes, b->as.string.bytes, a->as.string.length);
    } else if (a->kind == UQFF_GGUF_ARRAY) {
        assert_int_equal(a->as.array.kind, b->as.array.kind);
        assert_int_equal(a->as.array.count, b->as.array.count);
        struct uqff_gguf_iterator i = uqff_gguf_iterate(x, a);
        struct uqff_gguf_iterator k = uqff_gguf_iterate(y, b);
        struct uqff_gguf_value p, q;
        while (uqff_gguf_next(&i, &p)) {
            assert_true(uqff_gguf_next(&k, &q));
            assert_same_value(x, &p, y, &q);
        }
    } else {
        assert_memory_equal(&a->as, &b->as, 8);
    }
}

/* Every sound file of the corpus, written anew: the same keys and tensors, and a second writing
 * gives the first one's bytes. */
static void rewrite(const char *name) {
    struct opened in, out;
    size_t n;
    void *bytes = read_file(bad_file(name), &n);
    assert_ok(open_bytes(&in, bytes, n), &in.err);
    struct uqff_gguf_layout *layout = new_layout(uqff_gguf_alignment(in.file));
    for (size_t i = 0; i < uqff_gguf_kv_count(in.file); i++) {
        assert_ok(uqff_gguf_set_copy(layout, in.file, i, &err), &err);
    }
    bool long_name = false;
    for (size_t i = 0; i < uqff_gguf_tensor_count(in.file); i++) {
        const struct uqff_gguf_tensor *t = uqff_gguf_tensor(in.file, i);
        enum uqff_code code =
            uqff_gguf_layout_add(layout, t->name, t->type, t->ne, t->n_dims, &err);
        if (strlen(t->name) == 64) {
            assert_int_equal(code, UQFF_E_NAME);
            long_name = true;
        } else {
            assert_ok(code, &err);
        }
    }
    finish(layout);
    struct builder b = render(layout, 0);
    must_open(&out, &b);
    assert_int_equal(uqff_gguf_kv_count(in.file), uqff_gguf_kv_count(out.file));
    for (size_t i = 0; i < uqff_gguf_kv_count(in.file); i++) {
        assert_string_equal(uqff_gguf_key(in.file, i), uqff_gguf_key(out.file, i));
        assert_same_value(in.file, uqff_gguf_value(in.file, i), out.file,
                          uqff_gguf_value(out.file, i));
    }
    for (size_t i = 0; !long_name && i < uqff_gguf_tensor_count(in.file); i++) {
        const struct uqff_gguf_tensor *a = uqff_gguf_tensor(in.file, i);
        const struct uqff_gguf_tensor *c = uqff_gguf_tensor(out.file, i);
        size_t file;
        uint64_t offset, size;
        uqff_gguf_layout_place(layout, i, &file, &offset, &size);
        assert_string_equal(a->name, c->name);
        assert_int_equal(a->type, c->type);
        assert_int_equal(a->n_dims, c->n_dims);
        assert_memory_equal(a->ne, c->ne, sizeof a->ne);
        assert_int_equal(a->bytes, c->bytes);
        assert_int_equal(offset, c->offset);
        assert_int_equal(size, c->bytes);
    }
    done(&out, &b);
    uqff_gguf_layout_free(layout);
    close_opened(&in);
    free(bytes);
}

static void test_corpus(void **state) {
    (void)state;
    size_t count, written = 0;
    const struct bad_case *cases = bad_cases("gguf", &count);
    for (size_t i = 0; i < count; i++) {
        const char *name = cases[i].file;
        size_t n = strlen(name);
        /* Split sets have folders of their own, and tests of theirs. */
        if (strncmp(cases[i].verdict, "accept", 6) == 0 && n > 5 &&
            strcmp(name + n - 5, ".gguf") == 0) {
            rewrite(name);
            written++;
        }
    }
    assert_true(written > 20);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void test_refused_keys(void **state) {
    (void)state;
    struct uqff_gguf_layout *layout = new_layout(32);
    static const unsigned char two = 2;
    char *longest = (char *)malloc(65537);
    assert_non_null(longest);
    memset(longest, 'k', 65536);
    longest[65536] = '\0';
    assert_fails(uqff_gguf_set_bool(layout, "", true, &err), UQFF_E_NAME, &err, "0 bytes");
    assert_fails(uqff_gguf_set_bool(layout, longest, true, &err), UQFF_E_NAME, &err, "65536 bytes");
    assert_ok(uqff_gguf_set_bool(layout, longest + 1, true, &err), &err);
    free(longest);
    assert_fails(uqff_gguf_set_bool(layout, "a\xff", true, &err), UQFF_E_ENCODING, &err, "byte 1");
    assert_fails(uqff_gguf_set_u64(layout, "k", UQFF_GGUF_U8, 256, &err), UQFF_E_ARGUMENT, &err,
                 "256 does not fit into kind u8");
    assert_fails(uqff_gguf_set_u64(layout, "k", UQFF_GGUF_I8, 1, &err), UQFF_E_ARGUMENT, &err,
                 "kind i8");
    assert_fails(uqff_gguf_set_i64(layout, "k", UQFF_GGUF_I8, 128, &err), UQFF_E_ARGUMENT, &err,
                 "128");
    assert_fails(uqff_gguf_set_i64(layout, "k", UQFF_GGUF_I8, -129, &err), UQFF_E_ARGUMENT, &err,
                 "-129");
    assert_fails(uqff_gguf_set_i64(layout, "k", UQFF_GGUF_U8, 1, &err), UQFF_E_ARGUMENT, &err,
                 "kind u8");
    assert_fails(uqff_gguf_set_double(layout, "k", UQFF_GGUF_F32, 1e39, &err), UQFF_E_ARGUMENT,
                 &err, "1e+39");
    assert_fails(uqff_gguf_set_double(layout, "k", UQFF_GGUF_U8, 1, &err), UQFF_E_ARGUMENT, &err,
                 "kind u8");
    assert_fails(uqff_gguf_set_array(layout, "k", UQFF_GGUF_BOOL, &two, 1, &err), UQFF_E_ARGUMENT,
                 &err, "bool 0 is 2");
    assert_fails(uqff_gguf_set_array(layout, "k", UQFF_GGUF_STRING, NULL, 0, &err), UQFF_E_ARGUMENT,
                 &err, "kind string");
    assert_fails(uqff_gguf_set_array(layout, "k", UQFF_GGUF_U64, NULL, UINT64_MAX, &err),
                 UQFF_E_LIMIT, &err, "too many");
    assert_fails(uqff_gguf_set_string(layout, "k", "", ((size_t)256 << 20) + 1, &err), UQFF_E_LIMIT,
                 &err, "a string has");
    assert_false(uqff_gguf_is_set(layout, "k"));
    assert_fails(uqff_gguf_set_u64(layout, "general.alignment", UQFF_GGUF_U64, 32, &err),
                 UQFF_E_FIELD, &err, "kind u64");
    assert_fails(uqff_gguf_set_u64(layout, "general.alignment", UQFF_GGUF_U32, 24, &err),
                 UQFF_E_FIELD, &err, "24");
    assert_false(uqff_gguf_is_set(layout, "general.alignment"));
    finish(layout);
    struct builder b = render(layout, 0);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(uqff_gguf_kv_count(o.file), 1);
    done(&o, &b);
    uqff_gguf_layout_free(layout);
    assert_fails(uqff_gguf_layout_new(4, &layout, &err), UQFF_E_ARGUMENT, &err, "alignment 4");
    assert_fails(uqff_gguf_layout_new(48, &layout, &err), UQFF_E_ARGUMENT, &err, "alignment 48");
    assert_fails(uqff_gguf_layout_new((uint64_t)1 << 32, &layout, &err), UQFF_E_ARGUMENT, &err,
                 "4294967296");
}

static void test_refused_tensors(void **state) {
    (void)state;
    static const char name64[] = "0123456789012345678901234567890123456789012345678901234567890123";
    static const uint64_t ne[5] = {32, 1, 1, 1, 1};
    static const uint64_t odd = 33, huge = UINT64_MAX;
    static const uint64_t many[3] = {(uint64_t)1 << 40, (uint64_t)1 << 23, 1};
    struct uqff_gguf_layout *layout = new_layout(32);
    assert_ok(uqff_gguf_layout_add(layout, name64 + 1, UQFF_TYPE_F32, ne, 4, &err), &err);
    assert_fails(uqff_gguf_layout_add(layout, name64, UQFF_TYPE_F32, ne, 1, &err), UQFF_E_NAME,
                 &err, "64 bytes");
    assert_fails(uqff_gguf_layout_add(layout, "", UQFF_TYPE_F32, ne, 1, &err), UQFF_E_NAME, &err,
                 "0 bytes");
    assert_fails(uqff_gguf_layout_add(layout, "\xc3", UQFF_TYPE_F32, ne, 1, &err), UQFF_E_ENCODING,
                 &err, "byte 0");
    assert_fails(uqff_gguf_layout_add(layout, name64 + 1, UQFF_TYPE_F32, ne, 1, &err),
                 UQFF_E_DUPLICATE, &err, "found twice");
    assert_fails(uqff_gguf_layout_add(layout, "t", UQFF_TYPE_F32, ne, 5, &err), UQFF_E_SHAPE, &err,
                 "5 dimensions");
    assert_fails(uqff_gguf_layout_add(layout, "t", UQFF_TYPE_Q4_0, &odd, 1, &err), UQFF_E_SHAPE,
                 &err, "tensor 't'");
    assert_fails(uqff_gguf_layout_add(layout, "t", UQFF_TYPE_I8, &huge, 1, &err), UQFF_E_SHAPE,
                 &err, "2^63-1");
    assert_fails(uqff_gguf_layout_add(layout, "t", UQFF_TYPE_I8, many, 3, &err), UQFF_E_OVERFLOW,
                 &err, "2^63-1");
    assert_fails(uqff_gguf_layout_add(layout, "t", UQFF_TYPE_U8, ne, 1, &err), UQFF_E_TYPE, &err,
                 "no type for");
    assert_fails(uqff_gguf_layout_add(layout, "t", 4, ne, 1, &err), UQFF_E_TYPE, &err,
                 "tensor 't'");
    /* Each fits, both together do not. */
    static const uint64_t half = (uint64_t)1 << 62;
    assert_ok(uqff_gguf_layout_add(layout, "h0", UQFF_TYPE_I8, &half, 1, &err), &err);
    assert_ok(uqff_gguf_layout_add(layout, "h1", UQFF_TYPE_I8, &half, 1, &err), &err);
    assert_fails(uqff_gguf_layout_finish(layout, 0, 0, &err), UQFF_E_OVERFLOW, &err,
                 "more than a file");
    uqff_gguf_layout_free(layout);
}

/* ---- splits ---------------------------------------------------------------------------------- */

struct split_case {
    uint64_t max_bytes, max_tensors;
    bool empty_first;
    size_t files;
    size_t of[4]; /* the file of each tensor */
};

static void check_split(const struct split_case *want) {
    /* Rows of 32, 32, 96 and 0 bytes with their padding. */
    static const uint64_t lengths[4] = {8, 1, 17, 0};
    struct uqff_gguf_layout *layout = new_layout(32);
    assert_ok(uqff_gguf_set_string(layout, "general.name", "n", 1, &err), &err);
    char name[] = "t0";
    for (size_t i = 0; i < 4; i++, name[1]++) {
        add_row(layout, name, lengths[i]);
    }
    if (want->empty_first) {
        uqff_gguf_layout_empty_first(layout);
    }
    assert_ok(uqff_gguf_layout_finish(layout, want->max_bytes, want->max_tensors, &err), &err);
    assert_int_equal(uqff_gguf_layout_file_count(layout), want->files);
    char *first = NULL;
    for (size_t i = 0; i < want->files; i++) {
        char *file_name = uqff_gguf_layout_file_name(layout, "m", i);
        const char *path = scratch_file(file_name);
        struct builder b = render(layout, i);
        assert_non_null(file_name);
        write_file(path, b.bytes, b.size);
        first = i == 0 ? strdup(path) : first;
        uqff_free(file_name);
        free(b.bytes);
    }
    struct uqff_gguf *file = NULL;
    assert_ok(uqff_gguf_open_path(first, NULL, &file, &err), &err);
    free(first);
    assert_int_equal(uqff_gguf_file_count(file), want->files);
    assert_int_equal(uqff_gguf_tensor_count(file), 4);
    for (size_t i = 0; i < 4; i++) {
        size_t part;
        uint64_t offset, bytes;
        uqff_gguf_layout_place(layout, i, &part, &offset, &bytes);
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(file, i);
        assert_int_equal(tensor->file, want->of[i]);
        assert_int_equal(part, want->of[i]);
        assert_int_equal(tensor->offset, offset);
        assert_int_equal(tensor->bytes, bytes);
    }
    if (want->files > 1) {
        assert_int_equal(uqff_gguf_find_value(file, "split.no")->kind, UQFF_GGUF_U16);
        assert_int_equal(uqff_gguf_find_value(file, "split.count")->kind, UQFF_GGUF_U16);
        assert_int_equal(uqff_gguf_find_value(file, "split.tensors.count")->kind, UQFF_GGUF_I32);
    } else {
        assert_null(uqff_gguf_find_value(file, "split.count"));
    }
    uqff_gguf_close(file);
    uqff_gguf_layout_free(layout);
}

static void test_splits(void **state) {
    (void)state;
    static const struct split_case cases[] = {
        {0, 0, false, 1, {0, 0, 0, 0}},   {160, 0, false, 1, {0, 0, 0, 0}},
        {159, 0, false, 2, {0, 0, 1, 1}}, {64, 0, false, 3, {0, 0, 1, 2}},
        {1, 0, false, 4, {0, 1, 2, 3}},   {0, 3, false, 2, {0, 0, 0, 1}},
        {64, 1, false, 4, {0, 1, 2, 3}},  {0, 0, true, 2, {1, 1, 1, 1}},
        {64, 2, true, 4, {1, 1, 2, 3}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_split(&cases[i]);
    }
}

/* Each file of a set is laid out, and says so, for the alignment of all. */
static void test_split_alignment(void **state) {
    (void)state;
    struct uqff_gguf_layout *layout = new_layout(64);
    add_row(layout, "a", 1);
    add_row(layout, "b", 1);
    assert_ok(uqff_gguf_layout_finish(layout, 0, 1, &err), &err);
    assert_int_equal(uqff_gguf_layout_file_count(layout), 2);
    for (size_t i = 0; i < 2; i++) {
        struct builder b = render(layout, i);
        struct opened o;
        must_open(&o, &b);
        assert_int_equal(o.warnings.count, 0);
        assert_int_equal(uqff_gguf_alignment(o.file), 64);
        assert_int_equal(uqff_gguf_kv_count(o.file), 4);
        assert_int_equal(unsigned_of(o.file, "split.no"), i);
        assert_int_equal(signed_of(o.file, "split.tensors.count"), 2);
        done(&o, &b);
    }
    uqff_gguf_layout_free(layout);
}

static void test_too_many_files(void **state) {
    (void)state;
    struct uqff_gguf_layout *layout = new_layout(32);
    for (unsigned i = 0; i < 10001; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%u", i);
        add_row(layout, name, 1);
    }
    assert_fails(uqff_gguf_layout_finish(layout, 0, 1, &err), UQFF_E_LIMIT, &err, "10000");
    assert_ok(uqff_gguf_layout_finish(layout, 0, 2, &err), &err);
    assert_int_equal(uqff_gguf_layout_file_count(layout), 5001);
    uqff_gguf_layout_free(layout);
}

/* ---- scale and faults ------------------------------------------------------------------------ */

static void test_many_tensors(void **state) {
    (void)state;
    enum { TENSORS = 100000 };
    struct uqff_gguf_layout *layout = new_layout(32);
    for (unsigned i = 0; i < TENSORS; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%u.weight", i);
        add_row(layout, name, 0);
    }
    finish(layout);
    struct builder b = render(layout, 0);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(uqff_gguf_tensor_count(o.file), TENSORS);
    done(&o, &b);
    uqff_gguf_layout_free(layout);
}

/* One layout from beginning to end; the first failure is handed back. */
static enum uqff_code write_something(const struct uqff_gguf *from) {
    static const uint64_t ne = 32;
    struct uqff_gguf_layout *layout = NULL;
    struct uqff_buffer header = {0};
    char *name = NULL;
    enum uqff_code code = uqff_gguf_layout_new(64, &layout, &err);
    for (size_t i = 0; code == UQFF_OK && i < uqff_gguf_kv_count(from); i++) {
        code = uqff_gguf_set_copy(layout, from, i, &err);
    }
    for (unsigned i = 0; code == UQFF_OK && i < 80; i++) {
        char tensor[8];
        snprintf(tensor, sizeof tensor, "t%u", i);
        code = uqff_gguf_layout_add(layout, tensor, UQFF_TYPE_Q4_0, &ne, 1, &err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_layout_finish(layout, 0, 20, &err);
    }
    if (code == UQFF_OK) {
        name = uqff_gguf_layout_file_name(layout, "stem", 1);
        code = name == NULL ? uqff_fail_memory(&err) : UQFF_OK;
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_layout_header(layout, 0, &header, &err);
    }
    uqff_free(name);
    uqff_buffer_free(&header);
    uqff_gguf_layout_free(layout);
    return code;
}

static void test_faults(void **state) {
    (void)state;
    struct uqff_gguf_layout *layout = new_layout(32);
    set_every_kind(layout);
    finish(layout);
    struct builder b = render(layout, 0);
    struct opened o;
    must_open(&o, &b);
    fail_allocation(0);
    assert_ok(write_something(o.file), &err);
    size_t count = fail_allocation(0);
    assert_true(count > 30);
    for (size_t n = 1; n <= count; n++) {
        fail_allocation(n);
        assert_int_equal(write_something(o.file), UQFF_E_MEMORY);
    }
    fail_allocation(0);
    done(&o, &b);
    uqff_gguf_layout_free(layout);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),         cmocka_unit_test(test_alignment_key),
        cmocka_unit_test(test_written_file),   cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_order_of_keys),  cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_refused_keys),   cmocka_unit_test(test_refused_tensors),
        cmocka_unit_test(test_splits),         cmocka_unit_test(test_split_alignment),
        cmocka_unit_test(test_too_many_files), cmocka_unit_test(test_many_tensors),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
