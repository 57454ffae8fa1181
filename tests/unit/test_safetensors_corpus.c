/* The malformed corpus, levels `st` and `shard`: every case gets its verdict, and so does every
 * shorter version of it. */
#include "support/support.h"

#include "uqff/safetensors.h"

enum { SMALL = 2048 }; /* files up to this size are tried cut at each byte */

static void ignore_warning(void *context, const char *text) {
    (void)context;
    assert_int_equal(strcspn(text, "\n\x1b"), strlen(text));
}

static const struct uqff_warner warner = {ignore_warning, NULL};

static enum uqff_code try_path(const char *path, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_safetensors *file = NULL;
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code == UQFF_OK) {
        code = uqff_safetensors_open(source, &warner, &file, err);
    }
    uqff_safetensors_close(file);
    uqff_source_close(source);
    return code;
}

static enum uqff_code try_memory(const void *bytes, size_t n, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_safetensors *file = NULL;
    assert_ok(uqff_source_memory(bytes, n, "cut", &source, err), err);
    enum uqff_code code = uqff_safetensors_open(source, NULL, &file, err);
    uqff_safetensors_close(file);
    uqff_source_close(source);
    return code;
}

static enum uqff_code try_set(const char *path, struct uqff_error *err) {
    struct uqff_safetensors_set *set = NULL;
    enum uqff_code code = uqff_safetensors_set_open(path, &warner, &set, err);
    uqff_safetensors_set_close(set);
    return code;
}

static void expect_verdict(const struct bad_case *row, enum uqff_code code,
                           const struct uqff_error *err) {
    bool accept = strcmp(row->verdict, "accept") == 0;
    if (accept != (code == UQFF_OK)) {
        fail_msg("%s: expected %s (%s), found %s%s", row->file, row->verdict, row->reason,
                 uqff_code_name(code), code == UQFF_OK ? "" : err->text);
    }
    if (code != UQFF_OK) {
        /* A refusal is about the input, is one printable line, and names the file. */
        assert_int_equal(uqff_code_family(code) == UQFF_FAMILY_INPUT ||
                             uqff_code_family(code) == UQFF_FAMILY_IO || code == UQFF_E_LIMIT,
                         true);
        assert_int_equal(strcspn(err->text, "\n\x1b"), strlen(err->text));
        assert_non_null(strstr(err->text, ".safetensors"));
    }
}

/* No prefix of a valid file is one: its length is part of the format. */
static void try_cuts(const struct bad_case *row, const char *path) {
    size_t size;
    unsigned char *bytes = read_file(path, &size);
    for (size_t n = 0; n < size && size <= SMALL; n++) {
        struct uqff_error err;
        /* In a block of just that size, so that the address sanitizer sees a read behind it. */
        unsigned char *cut = malloc(n == 0 ? 1 : n);
        assert_non_null(cut);
        memcpy(cut, bytes, n);
        enum uqff_code code = try_memory(cut, n, &err);
        free(cut);
        if (code == UQFF_OK && strcmp(row->verdict, "accept") == 0) {
            fail_msg("%s: accepted when cut to %zu bytes", row->file, n);
        }
    }
    free(bytes);
}

static void single_files(void **state) {
    (void)state;
    size_t count;
    const struct bad_case *rows = bad_cases("st", &count);
    assert_true(count > 50);
    for (size_t i = 0; i < count; i++) {
        struct uqff_error err = {0};
        const char *path = bad_file(rows[i].file);
        expect_verdict(&rows[i], try_path(path, &err), &err);
        try_cuts(&rows[i], path);
        /* A set of one file gives the same verdict. */
        expect_verdict(&rows[i], try_set(path, &err), &err);
    }
}

static void shard_sets(void **state) {
    (void)state;
    size_t count;
    const struct bad_case *rows = bad_cases("shard", &count);
    assert_true(count > 20);
    for (size_t i = 0; i < count; i++) {
        struct uqff_error err = {0};
        expect_verdict(&rows[i], try_set(bad_file(rows[i].file), &err), &err);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_files),
        cmocka_unit_test(shard_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
