/* The GGUF reader on the corpus of malformed files and controls: every case gets its verdict, and
 * so does every beginning of every small file. */
#include "test_gguf_builder.h"

#define SMALL 4096 /* files up to this size are cut at each byte */

static void test_verdicts(void **state) {
    (void)state;
    size_t count;
    const struct bad_case *cases = bad_cases("gguf", &count);
    assert_true(count >= 100);
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n;
        void *bytes = read_file(bad_file(cases[i].file), &n);
        struct opened o;
        enum uqff_code code = open_bytes(&o, bytes, n);
        bool expected = strcmp(cases[i].verdict, "accept") == 0;
        if ((code == UQFF_OK) != expected) {
            print_error("%s: expected to %s it (%s), got: %s\n", cases[i].file, cases[i].verdict,
                        cases[i].reason, code == UQFF_OK ? "ok" : o.err.text);
            wrong++;
        }
        if (code != UQFF_OK) {
            /* A fault of the file, told in one printable line that begins with its name. */
            assert_true(uqff_code_family(code) == UQFF_FAMILY_INPUT || code == UQFF_E_LIMIT);
            assert_int_equal(code, o.err.code);
            assert_memory_equal(o.err.text, "m.gguf: ", 8);
            for (const char *p = o.err.text; *p != '\0'; p++) {
                assert_false((unsigned char)*p < 0x20 || *p == 0x7f);
            }
        }
        close_opened(&o);
        free(bytes);
    }
    assert_int_equal(wrong, 0);
}

static void test_set_verdicts(void **state) {
    (void)state;
    size_t count;
    const struct bad_case *cases = bad_cases("gguf-split", &count);
    assert_true(count >= 6);
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        struct uqff_gguf *file = NULL;
        struct uqff_error err;
        enum uqff_code code = uqff_gguf_open_path(bad_file(cases[i].file), NULL, &file, &err);
        if ((code == UQFF_OK) != (strcmp(cases[i].verdict, "accept") == 0)) {
            print_error("%s: expected to %s it (%s), got: %s\n", cases[i].file, cases[i].verdict,
                        cases[i].reason, code == UQFF_OK ? "ok" : err.text);
            wrong++;
        }
        uqff_gguf_close(file);
    }
    assert_int_equal(wrong, 0);
}

/* Where the last tensor's bytes end, or the header where there is none. */
static uint64_t needed_bytes(const struct uqff_gguf *file) {
    uint64_t offset, bytes;
    uqff_gguf_kv_range(file, &offset, &bytes);
    uint64_t end = offset + bytes;
    for (size_t i = 0; i < uqff_gguf_tensor_count(file); i++) {
        const struct uqff_gguf_tensor *t = uqff_gguf_tensor(file, i);
        end = t->offset + t->bytes > end ? t->offset + t->bytes : end;
    }
    return end;
}

/* Walks everything that an open file offers. */
static void visit(const struct uqff_gguf *file) {
    for (size_t i = 0; i < uqff_gguf_kv_count(file); i++) {
        const struct uqff_gguf_value *value = uqff_gguf_value(file, i);
        struct uqff_gguf_iterator iterator = uqff_gguf_iterate(file, value);
        struct uqff_gguf_value v;
        uint64_t elements = 0, texts = 0;
        while (uqff_gguf_next(&iterator, &v)) {
            elements++;
            if (v.kind == UQFF_GGUF_STRING) {
                texts += uqff_utf8_valid(v.as.string.bytes, v.as.string.length, NULL);
            }
        }
        assert_true(texts <= elements);
        if (value->kind == UQFF_GGUF_ARRAY) {
            assert_int_equal(elements, value->as.array.count);
            assert_int_equal(iterator.position, value->as.array.position + value->as.array.bytes);
        }
        assert_ptr_equal(uqff_gguf_find_value(file, uqff_gguf_key(file, i)), value);
    }
    for (size_t i = 0; i < uqff_gguf_tensor_count(file); i++) {
        const struct uqff_gguf_tensor *t = uqff_gguf_tensor(file, i);
        assert_ptr_equal(uqff_gguf_find_tensor(file, t->name), t);
        uint64_t size = uqff_source_size(uqff_gguf_source(file, t->file));
        assert_true(t->offset <= size && t->bytes <= size - t->offset);
    }
}

/* Each beginning is put into a block of exactly its size, so that a sanitizer sees a read beyond.
 */
static void cut_everywhere(const char *name, const unsigned char *bytes, size_t n,
                           uint64_t needed) {
    for (size_t k = 0; k < n; k++) {
        unsigned char *part = (unsigned char *)malloc(k + 1) + 1;
        if (k > 0) {
            memcpy(part, bytes, k);
        }
        struct opened o;
        enum uqff_code code = open_bytes(&o, part, k);
        if (code == UQFF_OK) {
            visit(o.file);
        }
        if (code == UQFF_OK && k < needed) {
            fail_msg("%s cut to %zu bytes of the %zu it needs was accepted", name, k,
                     (size_t)needed);
        }
        close_opened(&o);
        free(part - 1);
    }
}

static void test_cuts(void **state) {
    (void)state;
    size_t count;
    const struct bad_case *cases = bad_cases("gguf", &count);
    size_t cut = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n;
        unsigned char *bytes = (unsigned char *)read_file(bad_file(cases[i].file), &n);
        uint64_t needed = UINT64_MAX; /* the beginning of a faulty file is no better */
        struct opened o;
        if (open_bytes(&o, bytes, n) == UQFF_OK) {
            visit(o.file);
            needed = needed_bytes(o.file);
        }
        close_opened(&o);
        if (n <= SMALL && needed != UINT64_MAX) {
            cut_everywhere(cases[i].file, bytes, n, needed);
            cut++;
        } else if (n <= SMALL) {
            cut_everywhere(cases[i].file, bytes, n, 0);
        }
        free(bytes);
    }
    assert_true(cut >= 10);
}

/* Every byte of every small sound file is replaced by a few others: any verdict, no crash. */
static void test_changed_bytes(void **state) {
    (void)state;
    static const unsigned char changes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    size_t count;
    const struct bad_case *cases = bad_cases("gguf", &count);
    for (size_t i = 0; i < count; i++) {
        size_t n;
        unsigned char *bytes = (unsigned char *)read_file(bad_file(cases[i].file), &n);
        for (size_t k = 0; n <= 512 && k < n; k++) {
            unsigned char before = bytes[k];
            for (size_t c = 0; c < sizeof changes; c++) {
                bytes[k] = changes[c];
                struct opened o;
                if (open_bytes(&o, bytes, n) == UQFF_OK) {
                    visit(o.file);
                }
                close_opened(&o);
            }
            bytes[k] = before;
        }
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_set_verdicts),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
