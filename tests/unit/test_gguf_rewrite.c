/* Split and merge of GGUF files. */
#include "test_gguf_made.h"

static enum uqff_code split(const char *from, const char *stem,
                            const struct uqff_gguf_split_options *options) {
    struct uqff_gguf *file = NULL;
    enum uqff_code code = uqff_gguf_open_path(from, NULL, &file, &err);
    if (code == UQFF_OK) {
        code = uqff_gguf_split(file, stem, options, NULL, NULL, &err);
    }
    uqff_gguf_close(file);
    return code;
}

static enum uqff_code merge(const char *first, const char *output, bool overwrite) {
    struct uqff_gguf *file = NULL;
    enum uqff_code code = uqff_gguf_open_path(first, NULL, &file, &err);
    if (code == UQFF_OK) {
        code = uqff_gguf_merge(file, output, overwrite, NULL, &err);
    }
    uqff_gguf_close(file);
    return code;
}

/* Split and merged again a file is what it was, byte for byte. */
static void round_trip(const struct uqff_gguf_split_options *options, size_t files) {
    char *path = path_of("m.gguf");
    char *stem = path_of("part");
    char *output = path_of("merged.gguf");
    char name[64];
    make_model(path, options->max_tensors == 1 ? 8 : 64);
    struct content before = content_of(path);
    assert_ok(split(path, stem, options), &err);
    assert_int_equal(count_entries(), 1 + files);
    snprintf(name, sizeof name, "part-00001-of-%05zu.gguf", files);
    char *first = path_of(name);
    assert_same_tensors(path, first);
    struct uqff_gguf *file = open_model(first);
    assert_int_equal(uqff_gguf_file_count(file), files);
    assert_true(!options->empty_first || uqff_gguf_tensor(file, 0)->file == 1);
    uqff_gguf_close(file);
    assert_ok(merge(first, output, false), &err);
    assert_true(content_is(output, &before));
    free(before.bytes);
    remove_all();
    free(path);
    free(stem);
    free(output);
    free(first);
}

static void test_round_trips(void **state) {
    (void)state;
    static const struct {
        struct uqff_gguf_split_options options;
        size_t files;
    } cases[] = {
        {{.max_tensors = 1}, 5},
        {{.max_tensors = 2}, 3},
        {{.max_bytes = 128}, 3},
        {{.max_bytes = 1}, 5},
        {{.max_bytes = 192, .max_tensors = 2}, 3},
        {{.empty_first = true}, 2},
        {{.max_tensors = 1, .empty_first = true}, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        round_trip(&cases[i].options, cases[i].files);
    }
}

/* A set may be split anew, but not onto itself. */
static void test_again(void **state) {
    (void)state;
    static const struct uqff_gguf_split_options one = {.max_tensors = 1};
    static const struct uqff_gguf_split_options two = {.max_tensors = 2};
    char *path = path_of("m.gguf");
    char *a = path_of("a");
    char *b = path_of("b");
    char *first = path_of("a-00001-of-00005.gguf");
    make_model(path, 32);
    assert_ok(split(path, a, &one), &err);
    assert_ok(split(first, b, &two), &err);
    assert_same_tensors(path, scratch_file("b-00001-of-00003.gguf"));
    const struct uqff_gguf_split_options same = {.max_tensors = 1, .overwrite = true};
    assert_fails(split(first, a, &same), UQFF_E_IS_INPUT, &err, "a-00001-of-00005.gguf");
    assert_fails(merge(first, scratch_file("a-00003-of-00005.gguf"), true), UQFF_E_ARGUMENT, &err,
                 "one of several");
    assert_int_equal(link(scratch_file("a-00003-of-00005.gguf"), scratch_file("other.gguf")), 0);
    assert_fails(merge(first, scratch_file("other.gguf"), true), UQFF_E_IS_INPUT, &err, "input");
    assert_same_tensors(path, first);
    remove_all();
    free(path);
    free(a);
    free(b);
    free(first);
}

static void test_refused(void **state) {
    (void)state;
    char *path = path_of("m.gguf");
    char *stem = path_of("part");
    char *third = path_of("part-00003-of-00005.gguf");
    char *first = path_of("part-00001-of-00005.gguf");
    make_model(path, 32);
    static const struct uqff_gguf_split_options large = {.max_bytes = 1000};
    assert_fails(split(path, stem, &large), UQFF_E_ARGUMENT, &err, "nothing to split");
    assert_int_equal(count_entries(), 1);
    /* One of the outputs is there: nothing is written, unless it may be replaced. */
    struct uqff_gguf_split_options one = {.max_tensors = 1};
    write_file(third, "x", 1);
    assert_fails(split(path, stem, &one), UQFF_E_EXISTS, &err, "00003-of-00005");
    assert_int_equal(count_entries(), 2);
    one.overwrite = true;
    assert_ok(split(path, stem, &one), &err);
    assert_same_tensors(path, first);
    /* A set of which something is missing, or not the first file. */
    assert_fails(merge(third, scratch_file("o.gguf"), false), UQFF_E_ARGUMENT, &err, "part 3 of 5");
    unlink(third);
    assert_fails(merge(first, scratch_file("o.gguf"), false), UQFF_E_MISSING, &err,
                 "part-00003-of-00005.gguf");
    assert_fails(merge(path, scratch_file("part-00002-of-00005.gguf"), true), UQFF_E_ARGUMENT, &err,
                 "one of several");
    assert_fails(merge(path, path, true), UQFF_E_IS_INPUT, &err, "m.gguf");
    remove_all();
    free(path);
    free(stem);
    free(third);
    free(first);
}

static void test_refused_files(void **state) {
    (void)state;
    static const char name64[] = "0123456789012345678901234567890123456789012345678901234567890123";
    static const struct uqff_gguf_split_options one = {.max_tensors = 1};
    char *path = path_of("m.gguf");
    for (int big = 0; big < 2; big++) {
        struct builder b = begin(3, big != 0, 2, 0);
        put_row(&b, "a", 4, UQFF_TYPE_F32, 0);
        put_row(&b, name64, 4, UQFF_TYPE_F32, 32);
        put_pad(&b, 32);
        put_zeros(&b, 64);
        write_file(path, b.bytes, b.size);
        free(b.bytes);
        assert_fails(split(path, scratch_file("s"), &one),
                     big != 0 ? UQFF_E_UNSUPPORTED : UQFF_E_NAME, &err,
                     big != 0 ? "big-endian" : "64 bytes");
        assert_fails(merge(path, scratch_file("o.gguf"), false),
                     big != 0 ? UQFF_E_UNSUPPORTED : UQFF_E_NAME, &err, "m.gguf");
    }
    assert_int_equal(count_entries(), 1);
    /* More files than may be written at once. */
    enum { MANY = 257 };
    struct builder b = begin(3, false, MANY, 0);
    for (unsigned i = 0; i < MANY; i++) {
        char name[8];
        snprintf(name, sizeof name, "t%u", i);
        put_row(&b, name, 1, UQFF_TYPE_F32, 32 * i);
    }
    put_pad(&b, 32);
    put_zeros(&b, (size_t)32 * MANY);
    write_file(path, b.bytes, b.size);
    free(b.bytes);
    assert_fails(split(path, scratch_file("s"), &one), UQFF_E_LIMIT, &err, "257 files");
    assert_int_equal(count_entries(), 1);
    remove_all();
    free(path);
}

/* A plan without files. */
static void test_dry_run(void **state) {
    (void)state;
    static const struct uqff_gguf_split_options options = {.max_tensors = 2, .dry_run = true};
    char *path = path_of("m.gguf");
    make_model(path, 32);
    struct uqff_gguf *file = open_model(path);
    struct uqff_gguf_layout *layout = NULL;
    assert_ok(uqff_gguf_split(file, "s", &options, NULL, &layout, &err), &err);
    assert_int_equal(uqff_gguf_layout_file_count(layout), 3);
    char *name = uqff_gguf_layout_file_name(layout, "s", 2);
    assert_string_equal(name, "s-00003-of-00003.gguf");
    assert_int_equal(count_entries(), 1);
    uqff_free(name);
    uqff_gguf_layout_free(layout);
    uqff_gguf_close(file);
    remove_all();
    free(path);
}

/* ---- progress and faults --------------------------------------------------------------------- */

static bool stop_at_half(void *context, const char *stage, uint64_t done, uint64_t total) {
    (void)context;
    assert_string_equal(stage, "split");
    assert_int_equal(total, 32 + 4 + 160 + 28);
    return done < total / 2;
}

static void test_cancelled(void **state) {
    (void)state;
    static const struct uqff_gguf_split_options one = {.max_tensors = 1};
    static const struct uqff_progress progress = {stop_at_half, NULL};
    char *path = path_of("m.gguf");
    make_model(path, 32);
    struct uqff_gguf *file = open_model(path);
    assert_int_equal(uqff_gguf_split(file, scratch_file("s"), &one, &progress, NULL, &err),
                     UQFF_E_CANCELLED);
    uqff_gguf_close(file);
    assert_int_equal(count_entries(), 1);
    remove_all();
    free(path);
}

/* Whatever fails: all of the set is there, complete, or nothing of it. */
static void fault_split(enum fault kind) {
    static const struct uqff_gguf_split_options two = {.max_tensors = 2};
    char *path = path_of("m.gguf");
    char *stem = path_of("s");
    char *first = path_of("s-00001-of-00003.gguf");
    make_model(path, 32);
    for (size_t n = 1;; n++) {
        inject(kind, n, false);
        enum uqff_code code = split(path, stem, &two);
        size_t calls = heal();
        if (uqff_path_exists(first)) {
            assert_same_tensors(path, first);
            assert_int_equal(count_entries(), 4);
        } else {
            assert_int_not_equal(code, UQFF_OK);
            assert_int_equal(count_entries(), 1);
        }
        remove_all();
        make_model(path, 32);
        if (calls < n) {
            assert_int_equal(code, UQFF_OK);
            break;
        }
    }
    remove_all();
    free(path);
    free(stem);
    free(first);
}

static void test_faults(void **state) {
    (void)state;
    for (int kind = 0; kind < FAULTS; kind++) {
        fault_split((enum fault)kind);
    }
}

/* ---- a set as others may make it ------------------------------------------------------------- */

/* Other kinds of keys, each file with its own alignment, infos out of order. */
static void test_foreign_set(void **state) {
    (void)state;
    char *first = path_of("s-00001-of-00002.gguf");
    char *second = path_of("s-00002-of-00002.gguf");
    char *output = path_of("merged.gguf");
    for (uint32_t part = 0; part < 2; part++) {
        const uint32_t alignment = part == 0 ? 16 : 128;
        struct builder b = begin(2 + part, false, 2, 5);
        put_key_u32(&b, "general.alignment", alignment);
        put_key_u32(&b, "split.no", part);
        put_key_u32(&b, "split.count", 2);
        put_key_u32(&b, "split.tensors.count", 4);
        put_key_u32(&b, "x", 7 + part);
        put_row(&b, part == 0 ? "b" : "d", 20, UQFF_TYPE_I8, alignment);
        put_row(&b, part == 0 ? "a" : "c", 10, UQFF_TYPE_I8, 0);
        put_pad(&b, alignment);
        put(&b, part == 0 ? "aaaaaaaaaa" : "cccccccccc", 10);
        put_pad(&b, alignment);
        put(&b, part == 0 ? "bbbbbbbbbbbbbbbbbbbb" : "dddddddddddddddddddd", 20);
        put_pad(&b, alignment);
        write_file(part == 0 ? first : second, b.bytes, b.size);
        free(b.bytes);
    }
    assert_ok(merge(first, output, false), &err);
    assert_same_tensors(first, output);
    struct uqff_gguf *file = open_model(output);
    assert_int_equal(uqff_gguf_kv_count(file), 2);
    assert_int_equal(uqff_gguf_alignment(file), 16);
    assert_int_equal(uqff_gguf_find_value(file, "x")->as.u, 7);
    assert_int_equal(uqff_gguf_file_version(file), 3);
    uqff_gguf_close(file);
    remove_all();
    free(first);
    free(second);
    free(output);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_again),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_dry_run),     cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_faults),      cmocka_unit_test(test_foreign_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
