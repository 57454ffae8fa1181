/* The test vectors of spec/safetensors.md, taken from the page itself. */
#include "support/support.h"

#include <stdio.h>

#include "uqff/safetensors.h"

/* The page's lines "    0010  64 61 ..." between "### Vector <number>" and the next heading. */
static size_t read_vector(int number, unsigned char *out, size_t capacity) {
    char heading[32];
    size_t size, n = 0;
    char *page = read_file(test_data("../spec/safetensors.md"), &size);
    char *text = malloc(size + 1);
    assert_non_null(text);
    memcpy(text, page, size);
    text[size] = '\0';
    free(page);

    snprintf(heading, sizeof heading, "\n### Vector %d\n", number);
    char *line = strstr(text, heading);
    assert_non_null(line);
    line += strlen(heading);
    while (line != NULL && *line != '#') {
        unsigned offset, byte;
        int used;
        if (sscanf(line, "    %4x  %n%2x", &offset, &used, &byte) == 2 && line[0] == ' ') {
            assert_int_equal(offset, n);
            for (char *p = line + used; sscanf(p, "%2x", &byte) == 1; p += 3) {
                assert_true(n < capacity);
                out[n++] = (unsigned char)byte;
                if (p[2] == '\n') {
                    break;
                }
            }
        }
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    free(text);
    return n;
}

static size_t warnings;

static void count_warning(void *context, const char *text) {
    (void)context;
    (void)text;
    warnings++;
}

static struct uqff_safetensors *open_vector(const unsigned char *bytes, size_t n,
                                            struct uqff_source **source) {
    struct uqff_error err;
    struct uqff_safetensors *file = NULL;
    const struct uqff_warner warner = {count_warning, NULL};
    warnings = 0;
    assert_ok(uqff_source_memory(bytes, n, "vector", source, &err), &err);
    assert_ok(uqff_safetensors_open(*source, &warner, &file, &err), &err);
    assert_int_equal(warnings, 0);
    return file;
}

static void refuse_other_sizes(const unsigned char *bytes, size_t n) {
    for (size_t i = 0; i <= n + 1; i++) {
        struct uqff_error err;
        struct uqff_source *source;
        struct uqff_safetensors *file;
        if (i != n) {
            assert_ok(uqff_source_memory(bytes, i, "vector", &source, &err), &err);
            assert_int_not_equal(uqff_safetensors_open(source, NULL, &file, &err), UQFF_OK);
            uqff_source_close(source);
        }
    }
}

static void vector_1(void **state) {
    (void)state;
    unsigned char bytes[1024] = {0};
    size_t n = read_vector(1, bytes, sizeof bytes - 1);

    struct uqff_error err;
    struct uqff_st_layout *layout;
    struct uqff_buffer out = {0};
    assert_ok(uqff_st_layout_new(&layout, &err), &err);
    assert_ok(uqff_st_layout_metadata(layout, "format", "pt", &err), &err);
    assert_ok(uqff_st_layout_add(layout, "w", UQFF_DTYPE_F32, (uint64_t[]){1, 2}, 2, NULL, &err),
              &err);
    assert_ok(uqff_st_layout_add(layout, "b", UQFF_DTYPE_U8, (uint64_t[]){3}, 1, NULL, &err), &err);
    assert_ok(uqff_st_layout_header(layout, 8, &out, &err), &err);
    uqff_buffer_append(&out, "\0\0\x80\x3f\0\0\0\xc0\1\2\3", 11);
    assert_int_equal(out.size, n);
    assert_memory_equal(out.data, bytes, n);
    uqff_buffer_free(&out);
    uqff_st_layout_free(layout);

    struct uqff_source *source;
    struct uqff_safetensors *file = open_vector(bytes, n, &source);
    struct uqff_digest digest = uqff_safetensors_header_digest(file);
    char hex[33];
    uqff_hex(hex, digest.bytes, 16);
    size_t size;
    char *page = read_file(test_data("../spec/safetensors.md"), &size);
    assert_non_null(memmem(page, size, hex, 32));
    free(page);
    uqff_safetensors_close(file);
    uqff_source_close(source);
    refuse_other_sizes(bytes, n);
}

static void vector_2(void **state) {
    (void)state;
    unsigned char bytes[1024] = {0};
    size_t n = read_vector(2, bytes, sizeof bytes - 1);
    struct uqff_source *source;
    struct uqff_safetensors *file = open_vector(bytes, n, &source);
    assert_int_equal(uqff_safetensors_count(file), 3);
    const struct uqff_st_tensor *a = uqff_safetensors_tensor(file, 0);
    const struct uqff_st_tensor *e = uqff_safetensors_tensor(file, 1);
    const struct uqff_st_tensor *b = uqff_safetensors_tensor(file, 2);
    assert_string_equal(a->name, "a");
    assert_string_equal(e->name, "e");
    assert_string_equal(b->name, "b");
    assert_int_equal(a->dtype, UQFF_DTYPE_F4);
    assert_int_equal(a->bytes, 1);
    assert_int_equal(bytes[a->offset], 0x21);
    assert_int_equal(e->bytes, 0);
    assert_int_equal(e->offset, 0xb2);
    assert_int_equal(b->rank, 0);
    assert_int_equal(b->offset, 0xb2);
    assert_int_equal(uqff_load_le32(bytes + b->offset), 0x3f000000);
    uqff_safetensors_close(file);
    uqff_source_close(source);
    refuse_other_sizes(bytes, n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_1),
        cmocka_unit_test(vector_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
