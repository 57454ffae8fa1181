/* The test vector of spec/gguf.md, read from the page itself, and the variants that it names. */
#include "test_gguf_vector.h"

static void test_vector(void **state) {
    (void)state;
    struct builder b = read_vector();
    assert_int_equal(b.size, 200);
    struct opened o;
    must_open(&o, &b);
    assert_int_equal(o.warnings.count, 0);
    assert_int_equal(uqff_gguf_alignment(o.file), 8);
    assert_int_equal(uqff_gguf_data_offset(o.file, 0), 0xa8);
    struct uqff_gguf_iterator i = uqff_gguf_iterate(o.file, uqff_gguf_find_value(o.file, "a"));
    struct uqff_gguf_value v;
    assert_true(uqff_gguf_next(&i, &v) && v.as.string.length == 1 && v.as.string.bytes[0] == 'x');
    assert_true(uqff_gguf_next(&i, &v) && v.as.string.length == 0);
    assert_false(uqff_gguf_next(&i, &v));
    const struct uqff_gguf_tensor *w = uqff_gguf_find_tensor(o.file, "w");
    const struct uqff_gguf_tensor *s = uqff_gguf_find_tensor(o.file, "s");
    assert_true(w->type == UQFF_TYPE_Q4_0 && w->offset == 0xa8 && w->bytes == 18);
    assert_true(w->n_dims == 2 && w->ne[0] == 32 && w->ne[1] == 1);
    assert_true(s->type == UQFF_TYPE_F32 && s->offset == 0xc0 && s->bytes == 4 && s->n_dims == 0);
    done(&o, &b);
}

static void test_variants(void **state) {
    (void)state;
    static const struct {
        size_t cut, position;
        unsigned char byte;
        const char *verdict; /* name of the code; "" for one that is warned of */
    } cases[] = {
        {4, 0, 'G', ""},           {5, 0, 'G', "truncated"},     {0, 0x04, 0x02, "ok"},
        {0, 0x35, 0x04, "field"},  {0, 0x6b, 0x73, "duplicate"}, {0, 0x80, 0x04, "type"},
        {0, 0x9d, 0x20, "layout"}, {0, 0xa5, 0x01, ""},          {0, 0x46, 0x00, "truncated"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct builder b = read_vector();
        b.size -= cases[i].cut;
        b.bytes[cases[i].position] = cases[i].byte;
        struct opened o;
        enum uqff_code code = open_built(&o, &b);
        if (cases[i].verdict[0] == '\0') {
            assert_int_equal(code, UQFF_OK);
            assert_int_equal(o.warnings.count, 1);
        } else {
            assert_string_equal(uqff_code_name(code), cases[i].verdict);
            assert_int_equal(o.warnings.count, 0);
        }
        done(&o, &b);
    }
}

/* The table of types says what the library does. */
static void test_type_table(void **state) {
    (void)state;
    size_t n;
    char *page = (char *)read_file(UQFF_TESTDATA "/../spec/gguf.md", &n);
    page = (char *)realloc(page, n + 1);
    assert_non_null(page);
    page[n] = '\0';
    size_t count;
    const struct uqff_type_info *types = uqff_type_table(&count);
    for (size_t i = 0; i < count && types[i].id < 1000; i++) {
        char row[64];
        snprintf(row, sizeof row, "| %u | %s | %u | %u |", types[i].id, types[i].name,
                 types[i].block_length, types[i].block_bytes);
        if (strstr(page, row) == NULL) {
            fail_msg("spec/gguf.md lacks %s", row);
        }
    }
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_type_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
