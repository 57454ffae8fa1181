/* Errors, printable text, UTF-8, nearest names, sizes, buffers. */
#include "tests/support/support.h"

#include <stdio.h>

#include "base/text.h"

/* ---- printable text -------------------------------------------------------------------------- */

/* Undoes uqff_printable(); returns the length. */
static size_t unprint(unsigned char *out, const char *text) {
    size_t n = 0;
    for (const char *p = text; *p != '\0';) {
        unsigned value;
        int taken = 0;
        if (*p != '\\') {
            out[n++] = (unsigned char)*p++;
        } else if (p[1] == '\\') {
            out[n++] = '\\';
            p += 2;
        } else if (sscanf(p, "\\x%2x%n", &value, &taken) == 1 && taken == 4) {
            out[n++] = (unsigned char)value;
            p += 4;
        } else {
            assert_int_equal(sscanf(p, "\\u{%x}%n", &value, &taken), 1);
            assert_true(taken > 0);
            n += uqff_utf8_encode(value, (char *)out + n);
            p += taken;
        }
    }
    return n;
}

static void check_printable(const char *bytes, size_t n, const char *expected) {
    char out[256];
    assert_int_equal(uqff_printable(out, sizeof out, bytes, n), strlen(expected));
    assert_string_equal(out, expected);
    unsigned char back[256];
    assert_int_equal(unprint(back, out), n);
    assert_memory_equal(back, bytes, n);
}

static void test_printable_classes(void **state) {
    (void)state;
#define CHECK(bytes, expected) check_printable(bytes, sizeof(bytes) - 1, expected)
    CHECK("", "");
    CHECK("model.layers.0", "model.layers.0");
    CHECK("a\0b", "a\\x00b");
    CHECK("\x1b[31m", "\\x1b[31m");
    CHECK("a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f");
    CHECK("C:\\x41", "C:\\\\x41");
    CHECK("\xC2\x80\xC2\x9F\xC2\xA0", "\\u{0080}\\u{009f}\xC2\xA0");
    CHECK("\x80\xFF", "\\x80\\xff");
    CHECK("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    CHECK("\xE2\x80\x8B\xE2\x80\x8F\xE2\x80\x90", "\\u{200b}\\u{200f}\xE2\x80\x90");
    CHECK("\xE2\x80\xA9\xE2\x80\xAA\xE2\x80\xAE\xE2\x80\xAF",
          "\xE2\x80\xA9\\u{202a}\\u{202e}\xE2\x80\xAF");
    CHECK("\xE2\x81\xA5\xE2\x81\xA6\xE2\x81\xA9", "\xE2\x81\xA5\\u{2066}\\u{2069}");
    CHECK("\xD8\x9C", "\\u{061c}");
    CHECK("\xEF\xBB\xBF", "\\u{feff}");
    /* Overlong, surrogate, beyond U+10FFFF, cut short: byte by byte. */
    CHECK("\xC0\xAF", "\\xc0\\xaf");
    CHECK("\xED\xA0\x80", "\\xed\\xa0\\x80");
    CHECK("\xF4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
    CHECK("\xE2\x82", "\\xe2\\x82");
#undef CHECK
}

static void test_printable_round_trip(void **state) {
    (void)state;
    struct test_random random = {1};
    for (int round = 0; round < 20000; round++) {
        unsigned char bytes[24], back[24 * 10];
        char out[24 * 10 + 1];
        size_t n = random_u64(&random) % (sizeof bytes + 1);
        for (size_t i = 0; i < n; i++) {
            /* A small alphabet in which the escapes and UTF-8 sequences are frequent. */
            static const char alphabet[] = "\\xu{}0a\x1b\xE2\x80\x8B\xC2\x85\xF0\x9F\x98\x80\xFF";
            bytes[i] = (unsigned char)alphabet[random_u64(&random) % sizeof alphabet];
        }
        size_t length = uqff_printable(out, sizeof out, bytes, n);
        assert_int_equal(length, strlen(out));
        assert_true(uqff_utf8_valid(out, length, NULL));
        assert_int_equal(unprint(back, out), n);
        assert_memory_equal(back, bytes, n);
    }
}

static void test_printable_cut(void **state) {
    (void)state;
    char out[8] = "unset";
    assert_int_equal(uqff_printable(NULL, 0, "abc", 3), 3);
    assert_int_equal(uqff_printable(out, 1, "abc", 3), 3);
    assert_string_equal(out, "");
    assert_int_equal(uqff_printable(out, 4, "abc", 3), 3);
    assert_string_equal(out, "abc");
    /* An escape goes whole or not at all, and nothing behind it goes instead. */
    assert_int_equal(uqff_printable(out, 5, "a\x01z", 3), 6);
    assert_string_equal(out, "a");
    assert_int_equal(uqff_printable(out, 4, "ab\xE2\x82\xAC", 5), 5);
    assert_string_equal(out, "ab");
}

static void test_utf8(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t n, bad;
    } cases[] = {
        {"\xC2", 1, 0},
        {"a\x80", 2, 1},
        {"\xC0\x80", 2, 0},
        {"\xC1\xBF", 2, 0},
        {"\xE0\x9F\xBF", 3, 0},
        {"\xED\xA0\x80", 3, 0},
        {"\xED\xBF\xBF", 3, 0},
        {"\xF0\x8F\xBF\xBF", 4, 0},
        {"\xF4\x90\x80\x80", 4, 0},
        {"\xF5\x80\x80\x80", 4, 0},
        {"12345678\xE2\x82", 10, 8},
        {"\xE2\x82\xAC\xE2\x28\xAC", 6, 3},
        {"1234567\xFF", 8, 7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t bad = 99;
        assert_false(uqff_utf8_valid(cases[i].bytes, cases[i].n, &bad));
        assert_int_equal(bad, cases[i].bad);
        assert_false(uqff_utf8_valid(cases[i].bytes, cases[i].n, NULL));
    }
    assert_true(uqff_utf8_valid("", 0, NULL));
    for (uint32_t value = 0; value <= 0x10FFFF; value++) {
        char bytes[4];
        uint32_t back = 1;
        unsigned length = uqff_utf8_encode(value, bytes);
        bool surrogate = value >= 0xD800 && value <= 0xDFFF;
        unsigned decoded = uqff_utf8_decode((const unsigned char *)bytes, length, &back);
        if (decoded != (surrogate ? 0 : length) || (!surrogate && back != value)) {
            fail_msg("U+%04X", (unsigned)value);
        }
    }
    assert_int_equal(uqff_text_width("a\xC3\xA9\xF0\x9F\x98\x80z"), 4);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_fail(void **state) {
    (void)state;
    struct uqff_error err;
    assert_int_equal(uqff_fail(NULL, UQFF_E_SHAPE, 3, "%s", "x"), UQFF_E_SHAPE);
    assert_fails(uqff_fail(&err, UQFF_E_SHAPE, 3, "f: tensor '%s': %d", "a\x1b]0;\n\\", 7),
                 UQFF_E_SHAPE, &err, "f: tensor 'a\\x1b]0;\\x0a\\\\': 7");
    assert_int_equal(err.offset, 3);
    assert_fails(uqff_fail_memory(&err), UQFF_E_MEMORY, &err, "out of memory");
    assert_int_equal(uqff_fail_memory(NULL), UQFF_E_MEMORY);
}

static void test_fail_cuts(void **state) {
    (void)state;
    static char longs[5000];
    struct uqff_error err;
    for (size_t shift = 0; shift < 8; shift++) {
        /* Three-byte characters, then escapes, at every alignment to the end of the field. */
        for (int escapes = 0; escapes < 2; escapes++) {
            memset(longs, 'x', shift);
            for (size_t i = shift; i + 3 < sizeof longs; i += 3) {
                memcpy(longs + i, escapes ? "\xE2\x80\xAE" : "\xE2\x82\xAC", 3);
            }
            longs[sizeof longs - 2 - (sizeof longs - shift) % 3] = '\0';
            uqff_fail(&err, UQFF_E_NAME, 0, "%s", longs);
            size_t n = strlen(err.text);
            assert_in_range(n, UQFF_ERROR_TEXT - 1 - 8 - 3, UQFF_ERROR_TEXT - 1);
            assert_true(uqff_utf8_valid(err.text, n, NULL));
            assert_string_equal(err.text + n - 3, "...");
            assert_true(err.text[n - 4] == (escapes ? '}' : '\xAC'));

            uqff_error_prefix(&err, "%s", "prefix \x01");
            n = strlen(err.text);
            assert_memory_equal(err.text, "prefix \\x01: ", 13);
            assert_true(uqff_utf8_valid(err.text, n, NULL));
            assert_string_equal(err.text + n - 3, "...");
            assert_in_range(n, UQFF_ERROR_TEXT - 1 - 16, UQFF_ERROR_TEXT - 1);
        }
    }
    /* Just as long as the field: not cut. */
    memset(longs, 'y', UQFF_ERROR_TEXT - 1);
    longs[UQFF_ERROR_TEXT - 1] = '\0';
    uqff_fail(&err, UQFF_E_NAME, 0, "%s", longs);
    assert_string_equal(err.text, longs);
    /* A prefix that fills the field leaves nothing of the rest. */
    uqff_error_prefix(&err, "%s", longs);
    assert_string_equal(err.text, longs);
}

static void test_prefix(void **state) {
    (void)state;
    struct uqff_error err;
    uqff_fail(&err, UQFF_E_DIGEST, 5, "tensor 'a\\b'");
    uqff_error_prefix(&err, "file '%s'", "\xE2\x80\x8B");
    assert_string_equal(err.text, "file '\\u{200b}': tensor 'a\\\\b'");
    assert_int_equal(err.code, UQFF_E_DIGEST);
    assert_int_equal(err.offset, 5);
    uqff_error_prefix(NULL, "x");
    /* Where the rest has to be cut, its escapes stay whole. */
    char longs[UQFF_ERROR_TEXT];
    for (size_t length = 700; length < 760; length++) {
        uqff_fail(&err, UQFF_E_NAME, 0, "%s",
                  "\x01\\\x02\xE2\x80\x8B\x03\x04\x05\x06\\\\\x07\x08\x0b");
        memset(longs, 'p', length);
        longs[length] = '\0';
        uqff_error_prefix(&err, "%s", longs);
        unsigned char back[UQFF_ERROR_TEXT];
        assert_true(strlen(err.text) < UQFF_ERROR_TEXT);
        /* Undoing it meets no half of an escape. */
        assert_true(unprint(back, err.text) >= length);
    }
}

static void test_codes(void **state) {
    (void)state;
    assert_string_equal(uqff_code_name(UQFF_OK), "ok");
    assert_string_equal(uqff_code_name(UQFF_E_TRUNCATED), "truncated");
    assert_string_equal(uqff_code_name((enum uqff_code)9999), "unnamed");
    assert_int_equal(uqff_code_family(UQFF_OK), UQFF_FAMILY_OK);
    assert_int_equal(uqff_code_family(UQFF_E_EXISTS), UQFF_FAMILY_USAGE);
    assert_int_equal(uqff_code_family(UQFF_E_LIMIT), UQFF_FAMILY_INPUT);
    assert_int_equal(uqff_code_family(UQFF_E_NO_SPACE), UQFF_FAMILY_IO);
    assert_int_equal(uqff_code_family(UQFF_E_VERSION), UQFF_FAMILY_INPUT);
    assert_int_equal(uqff_code_family(UQFF_E_NETWORK), UQFF_FAMILY_NETWORK);
    assert_int_equal(uqff_code_family((enum uqff_code)9999), UQFF_FAMILY_INTERNAL);
    assert_string_equal(uqff_version(), UQFF_VERSION);
}

static void keep_warning(void *context, const char *text) {
    snprintf(context, 64, "%s", text);
}

static void test_warn(void **state) {
    (void)state;
    char kept[64] = "";
    struct uqff_warner warner = {keep_warning, kept};
    uqff_warn(&warner, "odd key '%s'", "\r");
    assert_string_equal(kept, "odd key '\\x0d'");
    warner.warn = NULL;
    uqff_warn(&warner, "dropped");
    uqff_warn(NULL, "dropped");
    assert_string_equal(kept, "odd key '\\x0d'");
}

/* ---- names and sizes ------------------------------------------------------------------------- */

static void test_nearest(void **state) {
    (void)state;
    static const char *const names[] = {"q4_0", "q4_k", "q4_k_m", "q8_0", "bf16", "inspect"};
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"q4k", "q4_k"},        {"Q4_K_M", "q4_k_m"}, {"q4km", "q4_k_m"}, {"bf61", "bf16"},
        {"insepct", "inspect"}, {"banana", NULL},     {"", NULL},         {"z", NULL},
        {"q8_1", "q8_0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *found = uqff_nearest(cases[i].word, names, 6);
        if (cases[i].nearest == NULL) {
            assert_null(found);
        } else {
            assert_non_null(found);
            assert_string_equal(found, cases[i].nearest);
        }
    }
    assert_null(uqff_nearest("q4_k", names, 0));
    char longs[200];
    memset(longs, 'a', sizeof longs);
    longs[199] = '\0';
    assert_null(uqff_nearest(longs, names, 6));
    const char *too_long[] = {longs};
    assert_null(uqff_nearest("aaaaaaaaa", too_long, 1));
}

static void test_format_bytes(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {812, "812 B"},
        {1023, "1023 B"},
        {1024, "1.00 KiB"},
        {1536, "1.50 KiB"},
        {10239, "10.0 KiB"},
        {102399, "100 KiB"},
        {1048575, "1.00 MiB"},
        {1047552, "1023 KiB"},
        {1610612736, "1.50 GiB"},
        {UINT64_C(1) << 40, "1.00 TiB"},
        {UINT64_C(1) << 50, "1.00 PiB"},
        {UINT64_C(1) << 60, "1.00 EiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[16];
        uqff_format_bytes(out, cases[i].bytes);
        assert_string_equal(out, cases[i].text);
    }
}

static void test_parse_bytes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"17", 17},
        {"17B", 17},
        {"1k", 1024},
        {"4KiB", 4096},
        {"4kb", 4000},
        {"1.5G", 1610612736},
        {"2.5 MB", 2500000},
        {"1.000B", 1},
        {"0.5TB", UINT64_C(500000000000)},
        {"18446744073709551615", UINT64_MAX},
        {"0.0000009M", 0},
    };
    static const char *const bad[] = {"",     "x",   "-1",    "+1",  " 1",   "1.",   ".5",  "1.5",
                                      "1.5B", "1 x", "1KiBs", "1KK", "1  K", "1e3k", "0x10"};
    uint64_t bytes;
    struct uqff_error err;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_ok(uqff_parse_bytes(good[i].text, &bytes, &err), &err);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(uqff_parse_bytes(bad[i], &bytes, &err), UQFF_E_ARGUMENT, &err,
                     "is not a size");
    }
    assert_fails(uqff_parse_bytes("18446744073709551616", &bytes, &err), UQFF_E_ARGUMENT, &err,
                 "too large");
    assert_fails(uqff_parse_bytes("16777216T", &bytes, &err), UQFF_E_ARGUMENT, &err, "too large");
}

/* ---- buffers --------------------------------------------------------------------------------- */

static void test_buffer(void **state) {
    (void)state;
    struct uqff_buffer buffer = {0};
    uqff_buffer_append(&buffer, NULL, 0);
    assert_int_equal(buffer.size, 0);
    uqff_buffer_append(&buffer, "ab", 2);
    uqff_buffer_printf(&buffer, "%d-%s", 7, "xyz");
    assert_string_equal(buffer.data, "ab7-xyz");
    assert_int_equal(buffer.size, 7);
    for (int i = 0; i < 1000; i++) {
        uqff_buffer_printf(&buffer, "%d,", i);
    }
    assert_false(buffer.failed);
    assert_int_equal(strlen(buffer.data), buffer.size);
    uqff_buffer_free(&buffer);
    assert_null(buffer.data);

    fail_allocation(1);
    uqff_buffer_append(&buffer, "ab", 2);
    assert_true(buffer.failed);
    fail_allocation(0);
    uqff_buffer_append(&buffer, "ab", 2);
    uqff_buffer_printf(&buffer, "x");
    uqff_buffer_json_string(&buffer, "x", 1);
    assert_true(buffer.failed);
    assert_int_equal(buffer.size, 0);
    uqff_buffer_free(&buffer);
}

static void test_json_string(void **state) {
    (void)state;
    static const char raw[] = "a\"b\\c/\n\t\x01\0\x7f\xC3\xA9\xFF\xED\xA0\x80z";
    struct uqff_buffer buffer = {0};
    uqff_buffer_json_string(&buffer, raw, sizeof raw - 1);
    assert_string_equal(buffer.data, "\"a\\\"b\\\\c/\\n\\t\\u0001\\u0000\x7f\xC3\xA9\xEF\xBF\xBD"
                                     "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"");
    uqff_buffer_free(&buffer);
    uqff_buffer_json_string(&buffer, NULL, 0);
    assert_string_equal(buffer.data, "\"\"");
    uqff_buffer_free(&buffer);
}

/* ---- endings, and searching by halving ------------------------------------------------------- */

static void test_ends(void **state) {
    (void)state;
    assert_true(uqff_text_ends("model.gguf", ".gguf"));
    assert_true(uqff_text_ends(".gguf", ".gguf"));
    assert_true(uqff_text_ends("model", ""));
    assert_false(uqff_text_ends("gguf", ".gguf"));
    assert_false(uqff_text_ends("model.gguf.part", ".gguf"));
}

static int order_numbers(const void *key, const void *items, size_t i) {
    const int *wanted = key, *numbers = items;
    return (*wanted > numbers[i]) - (*wanted < numbers[i]);
}

/* Every number that is there and every gap, in lists of all small lengths. */
static void test_search(void **state) {
    (void)state;
    int numbers[9];
    for (int i = 0; i < 9; i++) {
        numbers[i] = 2 * i + 1;
    }
    for (size_t count = 0; count <= 9; count++) {
        for (int key = 0; key <= 2 * (int)count; key++) {
            size_t place = SIZE_MAX;
            assert_int_equal(uqff_search(&key, numbers, count, order_numbers, &place), key % 2);
            assert_int_equal(place, key / 2);
        }
    }
}

static void test_floats_in_bytes(void **state) {
    (void)state;
    unsigned char bytes[5] = {0};
    uqff_store_le_f32(bytes + 1, -1.5f);
    assert_memory_equal(bytes, "\0\0\0\xC0\xBF", 5);
    assert_true(uqff_load_le_f32(bytes + 1) == -1.5f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_printable_classes),
        cmocka_unit_test(test_printable_round_trip),
        cmocka_unit_test(test_printable_cut),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_fail_cuts),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_warn),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_format_bytes),
        cmocka_unit_test(test_parse_bytes),
        cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_floats_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
