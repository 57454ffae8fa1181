/* Split sets of GGUF files, written into the scratch directory. */
#include <inttypes.h>
#include <sys/stat.h>

#include "test_gguf_builder.h"

/* What one part says of itself; INT64_MIN leaves a key out. */
struct part {
    int64_t no, count, tensors;
    uint32_t kind; /* of the integers */
    const char *names[3];
    bool big;
};
#define ABSENT INT64_MIN

static void put_integer(struct builder *b, const char *key, uint32_t kind, int64_t value) {
    static const unsigned bytes[UQFF_GGUF_KIND_COUNT] = {
        [UQFF_GGUF_U8] = 1,  [UQFF_GGUF_I8] = 1,  [UQFF_GGUF_U16] = 2, [UQFF_GGUF_I16] = 2,
        [UQFF_GGUF_U32] = 4, [UQFF_GGUF_I32] = 4, [UQFF_GGUF_U64] = 8, [UQFF_GGUF_I64] = 8,
    };
    if (value != ABSENT) {
        put_key(b, key, kind);
        put_number(b, (uint64_t)value, bytes[kind]);
    }
}

static const char *write_part(const char *name, const struct part *part) {
    uint64_t tensors = 0;
    while (tensors < 3 && part->names[tensors] != NULL) {
        tensors++;
    }
    uint64_t pairs = (uint64_t)(part->no != ABSENT) + (uint64_t)(part->count != ABSENT) +
                     (uint64_t)(part->tensors != ABSENT);
    struct builder b = begin(3, part->big, tensors, pairs);
    put_integer(&b, "split.no", part->kind, part->no);
    put_integer(&b, "split.count", part->kind, part->count);
    put_integer(&b, "split.tensors.count", part->kind, part->tensors);
    for (uint64_t i = 0; i < tensors; i++) {
        put_row(&b, part->names[i], 8, UQFF_TYPE_F32, 32 * i);
    }
    put_pad(&b, 32);
    put_zeros(&b, (size_t)tensors * 32);
    const char *path = scratch_file(name);
    write_file(path, b.bytes, b.size);
    free(b.bytes);
    return path;
}

/* Files of a set of its own directory, so that no test sees those of another. */
static const char *directory(const char *name) {
    static char path[64];
    snprintf(path, sizeof path, "%s", name);
    assert_int_equal(mkdir(scratch_file(path), 0777), 0);
    return path;
}
static const char *in(const char *dir, const char *name) {
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static void fails(const char *path, enum uqff_code code, const char *needle) {
    struct uqff_gguf *file = NULL;
    struct uqff_error err;
    assert_fails(uqff_gguf_open_path(path, NULL, &file, &err), code, &err, needle);
    assert_null(file);
}

static void test_three_parts(void **state) {
    (void)state;
    static const uint32_t kinds[] = {UQFF_GGUF_U8,  UQFF_GGUF_I8,  UQFF_GGUF_U16, UQFF_GGUF_I16,
                                     UQFF_GGUF_U32, UQFF_GGUF_I32, UQFF_GGUF_U64, UQFF_GGUF_I64};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        bool big = i % 2 == 1;
        char dir[8];
        snprintf(dir, sizeof dir, "k%zu", i);
        directory(dir);
        write_part(in(dir, "m-00003-of-00003.gguf"), &(struct part){2, 3, 3, kinds[i], {"c"}, big});
        write_part(in(dir, "m-00002-of-00003.gguf"),
                   &(struct part){1, 3, ABSENT, kinds[i], {"a", "b"}, big});
        const char *path = write_part(in(dir, "m-00001-of-00003.gguf"),
                                      &(struct part){0, 3, 3, kinds[i], {NULL}, big});
        struct uqff_gguf *file = NULL;
        struct uqff_error err;
        struct warnings warnings = {0};
        struct uqff_warner warner = {collect, &warnings};
        assert_ok(uqff_gguf_open_path(path, &warner, &file, &err), &err);
        assert_int_equal(warnings.count, 0);
        assert_int_equal(uqff_gguf_file_count(file), 3);
        assert_int_equal(uqff_gguf_is_big_endian(file), big);
        assert_int_equal(uqff_gguf_tensor_count(file), 3);
        assert_string_equal(uqff_gguf_tensor(file, 0)->name, "a");
        assert_int_equal(uqff_gguf_tensor(file, 0)->file, 1);
        assert_int_equal(uqff_gguf_tensor(file, 1)->file, 1);
        assert_int_equal(uqff_gguf_tensor(file, 2)->file, 2);
        assert_ptr_equal(uqff_gguf_find_tensor(file, "c"), uqff_gguf_tensor(file, 2));
        assert_int_equal(uqff_gguf_tensor(file, 2)->offset, uqff_gguf_data_offset(file, 2));
        assert_int_equal(uqff_gguf_tensor(file, 1)->offset, uqff_gguf_data_offset(file, 1) + 32);
        assert_non_null(strstr(uqff_source_name(uqff_gguf_source(file, 2)), "m-00003-of-00003"));
        assert_int_equal(uqff_gguf_find_value(file, "split.no")->as.u, 0);
        uqff_gguf_close(file);
    }
}

static void test_missing_parts(void **state) {
    (void)state;
    const char *dir = directory("missing");
    const char *path = write_part(in(dir, "m-00001-of-00004.gguf"),
                                  &(struct part){0, 4, 4, UQFF_GGUF_U16, {"a"}, false});
    write_part(in(dir, "m-00003-of-00004.gguf"),
               &(struct part){2, 4, 4, UQFF_GGUF_U16, {"b"}, false});
    fails(path, UQFF_E_MISSING,
          "2 of 4 files of the set are missing: m-00002-of-00004.gguf, m-00004-of-00004.gguf");
    path = write_part(in(dir, "m-00001-of-10000.gguf"),
                      &(struct part){0, 10000, 4, UQFF_GGUF_U16, {"a"}, false});
    fails(path, UQFF_E_MISSING, "m-00009-of-10000.gguf and 9991 more");
    path = write_part(in(dir, "m-00001-of-10001.gguf"),
                      &(struct part){0, 10001, 4, UQFF_GGUF_U16, {"a"}, false});
    fails(path, UQFF_E_LIMIT, "the name says 10001 files, expected at most 10000");
    /* A part that is there but no regular file. */
    assert_int_equal(mkdir(scratch_file(in(dir, "m-00002-of-00004.gguf")), 0777), 0);
    assert_int_equal(mkdir(scratch_file(in(dir, "m-00004-of-00004.gguf")), 0777), 0);
    fails(scratch_file(in(dir, "m-00001-of-00004.gguf")), UQFF_E_NOT_REGULAR,
          "m-00002-of-00004.gguf");
}

static void test_first_disagrees(void **state) {
    (void)state;
    directory("first");
    static const struct {
        const char *name;
        struct part part;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {"a-00002-of-00003.gguf",
         {1, 3, 3, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_ARGUMENT,
         "this is part 2 of 3: open the first, '"},
        {"b-00001-of-00002.gguf",
         {0, 3, 3, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.count': found 3, expected 2 by the file's name"},
        {"c-00001-of-00002.gguf",
         {1, 2, 3, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.no': found 1, expected 0 by the file's name"},
        {"d-00001-of-00002.gguf",
         {0, ABSENT, 3, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.count' is missing"},
        {"e-00001-of-00002.gguf",
         {ABSENT, 2, 3, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.no' is missing"},
        {"f-00001-of-00002.gguf",
         {0, 2, ABSENT, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.tensors.count' is missing"},
        {"g-00001-of-00002.gguf",
         {0, -2, 3, UQFF_GGUF_I32, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.count': found -2"},
        {"h-00001-of-00001.gguf",
         {0, 0, 1, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.count': found 0, expected 1"},
        {"i-00001-of-00001.gguf",
         {0, 1, 2, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.tensors.count': found 2, expected 1"},
        {"j-00001-of-00001.gguf",
         {1, 1, 1, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_FIELD,
         "key 'split.no': found 1, expected 0"},
        {"k.gguf",
         {0, 2, 2, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_NAME,
         "the file is one of 2, expected a name like NAME-00001-of-00002.gguf"},
        {"l-00000-of-00002.gguf",
         {0, 2, 2, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_NAME,
         "the name says part 0 of 2, expected"},
        {"m-00003-of-00002.gguf",
         {2, 2, 2, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_NAME,
         "the name says part 3 of 2, expected"},
        {"n-00001-of-00000.gguf",
         {0, 0, 2, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_NAME,
         "the name says part 1 of 0, expected"},
        {"o-00002-of-00001.gguf",
         {0, 1, 1, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_NAME,
         "the name says part 2 of 1, expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_part(in("first", cases[i].name), &cases[i].part);
        fails(path, cases[i].code, cases[i].needle);
    }
    fails(scratch_file("first/a-00002-of-00003.gguf"), UQFF_E_ARGUMENT,
          "first/a-00001-of-00003.gguf'");
}

static void test_other_disagrees(void **state) {
    (void)state;
    const char *dir = directory("other");
    static const struct {
        struct part part;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {{1, 3, 2, UQFF_GGUF_U16, {"b"}, false},
         UQFF_E_FIELD,
         "m-00002-of-00002.gguf: key 'split.count': found 3, expected 2"},
        {{0, 2, 2, UQFF_GGUF_U16, {"b"}, false},
         UQFF_E_FIELD,
         "key 'split.no': found 0, expected 1"},
        {{1, ABSENT, 2, UQFF_GGUF_U16, {"b"}, false}, UQFF_E_FIELD, "'split.count' is missing"},
        {{ABSENT, 2, 2, UQFF_GGUF_U16, {"b"}, false}, UQFF_E_FIELD, "'split.no' is missing"},
        {{1, 2, 3, UQFF_GGUF_U16, {"b"}, false},
         UQFF_E_FIELD,
         "key 'split.tensors.count': found 3, expected 2 as in the first file"},
        {{1, 2, 2, UQFF_GGUF_U16, {NULL}, false},
         UQFF_E_FIELD,
         "'split.tensors.count' is 2, but the 2 files of the set have 1 tensors"},
        {{1, 2, 2, UQFF_GGUF_U16, {"a"}, false},
         UQFF_E_DUPLICATE,
         "tensor 'a': found here and in "},
        {{1, 2, 2, UQFF_GGUF_U16, {"b"}, true},
         UQFF_E_FIELD,
         "the file is big-endian, expected the byte order of the first file"},
    };
    const char *first = write_part(in(dir, "m-00001-of-00002.gguf"),
                                   &(struct part){0, 2, 2, UQFF_GGUF_U16, {"a"}, false});
    char path[512];
    snprintf(path, sizeof path, "%s", first);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_part(in(dir, "m-00002-of-00002.gguf"), &cases[i].part);
        fails(path, cases[i].code, cases[i].needle);
    }
    write_file(scratch_file(in(dir, "m-00002-of-00002.gguf")), "<!DOCTYPE html>", 15);
    fails(path, UQFF_E_MAGIC, "m-00002-of-00002.gguf: not a GGUF file: found an HTML page");
}

static void test_single_files(void **state) {
    (void)state;
    directory("single");
    static const struct {
        const char *name;
        struct part part;
    } cases[] = {
        {"plain.gguf", {ABSENT, ABSENT, ABSENT, UQFF_GGUF_U16, {"a"}, false}},
        {"merged.gguf", {0, 0, 7, UQFF_GGUF_U16, {"a"}, false}},
        {"renamed.gguf", {0, 1, 1, UQFF_GGUF_U16, {"a"}, false}},
        {"m-00001-of-00001.gguf", {0, 1, 1, UQFF_GGUF_U16, {"a"}, false}},
        {"n-00001-of-00001.gguf", {ABSENT, ABSENT, ABSENT, UQFF_GGUF_U16, {"a"}, false}},
        {"m-0001-of-0002.gguf", {ABSENT, ABSENT, ABSENT, UQFF_GGUF_U16, {"a"}, false}},
        {"m-00001-of-0000x.gguf", {ABSENT, ABSENT, ABSENT, UQFF_GGUF_U16, {"a"}, false}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_part(in("single", cases[i].name), &cases[i].part);
        struct uqff_gguf *file = NULL;
        struct uqff_error err;
        assert_ok(uqff_gguf_open_path(path, NULL, &file, &err), &err);
        assert_int_equal(uqff_gguf_file_count(file), 1);
        assert_int_equal(uqff_gguf_tensor_count(file), 1);
        uqff_gguf_close(file);
    }
    fails(scratch_file("single/none.gguf"), UQFF_E_NOT_FOUND, "none.gguf");
    fails(scratch_file("single"), UQFF_E_NOT_REGULAR, "single");
}

static void test_unused_keys(void **state) {
    (void)state;
    const char *dir = directory("unused");
    struct builder b = begin(3, false, 1, 5);
    put_integer(&b, "split.no", UQFF_GGUF_U16, 1);
    put_integer(&b, "split.count", UQFF_GGUF_U16, 2);
    put_key_u32(&b, "general.alignment", 64);
    put_key_u32(&b, "llama.block_count", 1), put_key_u32(&b, "x", 1);
    put_row(&b, "b", 8, UQFF_TYPE_F32, 0);
    put_pad(&b, 64), put_zeros(&b, 64);
    write_file(scratch_file(in(dir, "m-00002-of-00002.gguf")), b.bytes, b.size);
    free(b.bytes);
    const char *path = write_part(in(dir, "m-00001-of-00002.gguf"),
                                  &(struct part){0, 2, 2, UQFF_GGUF_U16, {"a"}, false});
    struct uqff_gguf *file = NULL;
    struct uqff_error err;
    struct warnings warnings = {0};
    struct uqff_warner warner = {collect, &warnings};
    assert_ok(uqff_gguf_open_path(path, &warner, &file, &err), &err);
    assert_int_equal(warnings.count, 1);
    assert_non_null(strstr(warnings.text, "m-00002-of-00002.gguf: 2 keys are not used"));
    assert_int_equal(uqff_gguf_alignment(file), 32);
    assert_int_equal(uqff_gguf_data_offset(file, 1) % 64, 0);
    uqff_gguf_close(file);
}

static void test_no_memory(void **state) {
    (void)state;
    const char *dir = directory("memory");
    write_part(in(dir, "m-00002-of-00002.gguf"),
               &(struct part){1, 2, 2, UQFF_GGUF_U16, {"b"}, false});
    const char *path = write_part(in(dir, "m-00001-of-00002.gguf"),
                                  &(struct part){0, 2, 2, UQFF_GGUF_U16, {"a"}, false});
    for (size_t n = 1;; n++) {
        struct uqff_gguf *file = NULL;
        struct uqff_error err;
        fail_allocation(n);
        enum uqff_code code = uqff_gguf_open_path(path, NULL, &file, &err);
        size_t asked = fail_allocation(0);
        if (code == UQFF_OK) {
            assert_int_equal(uqff_gguf_tensor_count(file), 2);
            uqff_gguf_close(file);
        } else {
            assert_int_equal(code, UQFF_E_MEMORY);
        }
        if (asked < n) {
            assert_int_equal(code, UQFF_OK);
            break;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_parts),     cmocka_unit_test(test_missing_parts),
        cmocka_unit_test(test_first_disagrees), cmocka_unit_test(test_other_disagrees),
        cmocka_unit_test(test_single_files),    cmocka_unit_test(test_unused_keys),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
