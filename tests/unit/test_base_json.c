/* The strict JSON parser. */
#include "tests/support/support.h"

#include <locale.h>
#include <stdio.h>

/* Runs the parser to the end; *events counts what came. */
static enum uqff_code run(const char *text, size_t n, unsigned depth, size_t *events,
                          struct uqff_error *err) {
    /* A copy of just this size, so that AddressSanitizer sees any byte read beyond. */
    char *copy = malloc(n == 0 ? 1 : n);
    assert_non_null(copy);
    if (n > 0) {
        memcpy(copy, text, n);
    }
    struct uqff_json *json = NULL;
    struct uqff_json_event event = {.kind = UQFF_JSON_NULL};
    size_t count = 0;
    enum uqff_code code = uqff_json_open(copy, n, "text", 0, depth, &json, err);
    while (code == UQFF_OK && event.kind != UQFF_JSON_END) {
        code = uqff_json_next(json, &event, err);
        count++;
    }
    if (code == UQFF_OK) {
        assert_int_equal(uqff_json_next(json, &event, err), UQFF_OK);
        assert_int_equal(event.kind, UQFF_JSON_END);
    } else if (json != NULL) {
        struct uqff_error again;
        assert_int_equal(uqff_json_next(json, &event, &again), code);
        assert_string_equal(again.text, err->text);
    }
    uqff_json_close(json);
    free(copy);
    if (events != NULL) {
        *events = count;
    }
    return code;
}

struct text_case {
    const char *text;
    size_t n;
    enum uqff_code code;
    const char *needle;
};
#define TEXT(literal) (literal), sizeof(literal) - 1

static const struct text_case refused[] = {
    {TEXT(""), UQFF_E_SYNTAX, "no value at byte 0: found the end of the text"},
    {TEXT("  \n"), UQFF_E_SYNTAX, "at byte 3"},
    {TEXT("\xEF\xBB\xBF{}"), UQFF_E_SYNTAX, "byte order mark at byte 0"},
    {TEXT("\xFF\xFE{\0}\0"), UQFF_E_SYNTAX, "found byte 0xff"},
    {TEXT("{}{}"), UQFF_E_SYNTAX, "text behind the document at byte 2: found '{'"},
    {TEXT("{}\0"), UQFF_E_SYNTAX, "at byte 2: found byte 0x00"},
    {TEXT("{} // x"), UQFF_E_SYNTAX, "found '/'"},
    {TEXT("{}\f"), UQFF_E_SYNTAX, "found byte 0x0c"},
    {TEXT("\v{}"), UQFF_E_SYNTAX, "found byte 0x0b"},
    {TEXT("\xC2\xA0{}"), UQFF_E_SYNTAX, "found byte 0xc2"},
    {TEXT("{"), UQFF_E_SYNTAX, "no key at byte 1"},
    {TEXT("["), UQFF_E_SYNTAX, "no value at byte 1"},
    {TEXT("]"), UQFF_E_SYNTAX, "found ']'"},
    {TEXT("{]"), UQFF_E_SYNTAX, "no key at byte 1: found ']'"},
    {TEXT("[}"), UQFF_E_SYNTAX, "no value at byte 1: found '}'"},
    {TEXT("[1,]"), UQFF_E_SYNTAX, "no value at byte 3"},
    {TEXT("[,1]"), UQFF_E_SYNTAX, "no value at byte 1"},
    {TEXT("[1 2]"), UQFF_E_SYNTAX, "no comma at byte 3: found '2', expected ',' or ']'"},
    {TEXT("[1}"), UQFF_E_SYNTAX, "expected ',' or ']'"},
    {TEXT("[1"), UQFF_E_SYNTAX, "no comma at byte 2: found the end"},
    {TEXT("{\"a\":1,}"), UQFF_E_SYNTAX, "no key at byte 7: found '}'"},
    {TEXT("{,\"a\":1}"), UQFF_E_SYNTAX, "no key at byte 1"},
    {TEXT("{\"a\" 1}"), UQFF_E_SYNTAX, "no colon at byte 5"},
    {TEXT("{\"a\":}"), UQFF_E_SYNTAX, "no value at byte 5"},
    {TEXT("{\"a\"}"), UQFF_E_SYNTAX, "no colon at byte 4"},
    {TEXT("{\"a\":1 \"b\":2}"), UQFF_E_SYNTAX, "expected ',' or '}'"},
    {TEXT("{\"a\":1]"), UQFF_E_SYNTAX, "expected ',' or '}'"},
    {TEXT("{a:1}"), UQFF_E_SYNTAX, "no key at byte 1: found 'a'"},
    {TEXT("{'a':1}"), UQFF_E_SYNTAX, "no key at byte 1"},
    {TEXT("{1:1}"), UQFF_E_SYNTAX, "no key at byte 1"},
    /* numbers */
    {TEXT("01"), UQFF_E_SYNTAX, "leading zero at byte 0"},
    {TEXT("-01"), UQFF_E_SYNTAX, "leading zero at byte 0"},
    {TEXT("00"), UQFF_E_SYNTAX, "leading zero"},
    {TEXT("+1"), UQFF_E_SYNTAX, "found '+'"},
    {TEXT("-"), UQFF_E_SYNTAX, "bad number at byte 1"},
    {TEXT("--1"), UQFF_E_SYNTAX, "bad number at byte 1"},
    {TEXT(".5"), UQFF_E_SYNTAX, "found '.'"},
    {TEXT("1."), UQFF_E_SYNTAX, "bad number at byte 2"},
    {TEXT("[1.]"), UQFF_E_SYNTAX, "found ']', expected a digit"},
    {TEXT("1e"), UQFF_E_SYNTAX, "bad number at byte 2"},
    {TEXT("1e+"), UQFF_E_SYNTAX, "bad number at byte 3"},
    {TEXT("1.e5"), UQFF_E_SYNTAX, "bad number at byte 2"},
    {TEXT("0x1"), UQFF_E_SYNTAX, "behind the document at byte 1: found 'x'"},
    {TEXT("1_000"), UQFF_E_SYNTAX, "found '_'"},
    {TEXT("NaN"), UQFF_E_SYNTAX, "found 'N'"},
    {TEXT("[nan]"), UQFF_E_SYNTAX, "found 'n'"},
    {TEXT("Infinity"), UQFF_E_SYNTAX, "found 'I'"},
    {TEXT("-Infinity"), UQFF_E_SYNTAX, "bad number"},
    {TEXT("1,5"), UQFF_E_SYNTAX, "behind the document"},
    /* literals */
    {TEXT("True"), UQFF_E_SYNTAX, "found 'T'"},
    {TEXT("tru"), UQFF_E_SYNTAX, "found 't'"},
    {TEXT("nulll"), UQFF_E_SYNTAX, "behind the document at byte 4"},
    /* strings */
    {TEXT("\""), UQFF_E_SYNTAX, "string that does not end at byte 1"},
    {TEXT("\"abc"), UQFF_E_SYNTAX, "does not end at byte 4"},
    {TEXT("\"abc\\"), UQFF_E_SYNTAX, "does not end"},
    {TEXT("\"abc\\\""), UQFF_E_SYNTAX, "does not end"},
    {TEXT("\"a\nb\""), UQFF_E_SYNTAX, "control character in a string at byte 2"},
    {TEXT("\"0123456789\tb\""), UQFF_E_SYNTAX, "control character in a string at byte 11"},
    {TEXT("\"a\0b\""), UQFF_E_SYNTAX, "control character in a string at byte 2"},
    {TEXT("\"\\x41\""), UQFF_E_SYNTAX, "unknown escape in a string at byte 1"},
    {TEXT("\"\\'\""), UQFF_E_SYNTAX, "unknown escape"},
    {TEXT("\"\\\0\""), UQFF_E_SYNTAX, "unknown escape"},
    {TEXT("\"\\u12\""), UQFF_E_SYNTAX, "unknown escape"},
    {TEXT("\"\\u12G4\""), UQFF_E_SYNTAX, "unknown escape"},
    {TEXT("\"\\u+123\""), UQFF_E_SYNTAX, "unknown escape"},
    {TEXT("\"\\u 123\""), UQFF_E_SYNTAX, "unknown escape"},
    {TEXT("\"\\U0041\""), UQFF_E_SYNTAX, "unknown escape"},
    {TEXT("\"\\u004"), UQFF_E_SYNTAX, "unknown escape"},
    {TEXT("\"\xFF\""), UQFF_E_ENCODING, "invalid UTF-8 in a string at byte 1"},
    {TEXT("\"abcdefgh\xC0\x80\""), UQFF_E_ENCODING, "invalid UTF-8 in a string at byte 9"},
    {TEXT("\"\xED\xA0\x80\""), UQFF_E_ENCODING, "invalid UTF-8"},
    {TEXT("\"\xF4\x90\x80\x80\""), UQFF_E_ENCODING, "invalid UTF-8"},
    {TEXT("\"\xE2\x82\""), UQFF_E_ENCODING, "invalid UTF-8"},
    {TEXT("\"\xE2\x82"), UQFF_E_ENCODING, "invalid UTF-8"},
    {TEXT("{\"\x80\":1}"), UQFF_E_ENCODING, "invalid UTF-8"},
    {TEXT("\"\\ud800\""), UQFF_E_ENCODING, "surrogate"},
    {TEXT("\"\\udc00\""), UQFF_E_ENCODING, "surrogate"},
    {TEXT("\"\\udc00\\ud800\""), UQFF_E_ENCODING, "surrogate"},
    {TEXT("\"\\ud800\\ud800\""), UQFF_E_ENCODING, "surrogate"},
    {TEXT("\"\\ud800x\""), UQFF_E_ENCODING, "surrogate"},
    {TEXT("\"\\ud800\\n12345678\""), UQFF_E_ENCODING, "surrogate"},
    {TEXT("\"\\ud800\\u0041\""), UQFF_E_ENCODING, "surrogate"},
    {TEXT("\"\\ud800\\udc"), UQFF_E_ENCODING, "surrogate"},
    /* keys */
    {TEXT("{\"a\":1,\"a\":1}"), UQFF_E_DUPLICATE, "key 'a' at byte 7: found twice"},
    {TEXT("{\"a\":1,\"\\u0061\":1}"), UQFF_E_DUPLICATE, "key 'a'"},
    {TEXT("{\"/\":1,\"\\/\":1}"), UQFF_E_DUPLICATE, "key '/'"},
    {TEXT("{\"\xF0\x9F\x98\x80\":1,\"\\ud83d\\uDE00\":1}"), UQFF_E_DUPLICATE, "found twice"},
    {TEXT("{\"\":1,\"\":1}"), UQFF_E_DUPLICATE, "key ''"},
    {TEXT("{\"a\\u0000\":1,\"a\\u0000\":1}"), UQFF_E_DUPLICATE, "key 'a'"},
    {TEXT("[{\"x\":{\"a\":1},\"y\":{\"b\":1,\"b\":2}}]"), UQFF_E_DUPLICATE, "key 'b'"},
    {TEXT("{\"a\":{\"a\":1},\"a\":1}"), UQFF_E_DUPLICATE, "key 'a' at byte 13"},
};

static const struct text_case accepted[] = {
    {TEXT("{}"), UQFF_OK, ""},
    {TEXT(" \t\r\n[ ] \t\r\n"), UQFF_OK, ""},
    {TEXT("null"), UQFF_OK, ""},
    {TEXT("0"), UQFF_OK, ""},
    {TEXT("-0"), UQFF_OK, ""},
    {TEXT("-0.0e-0"), UQFF_OK, ""},
    {TEXT("1E+400"), UQFF_OK, ""},
    {TEXT("\"\""), UQFF_OK, ""},
    {TEXT("\"\x7F\""), UQFF_OK, ""},
    {TEXT("\"\\u0000\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\""), UQFF_OK, ""},
    {TEXT("\"\xEF\xBB\xBF\xE2\x80\xA8\""), UQFF_OK, ""},
    {TEXT("{\"a\":1,\"a\\u0000\":1,\"A\":{\"a\":[]},\"\":null}"), UQFF_OK, ""},
    {TEXT("[{\"a\":1},{\"a\":1}]"), UQFF_OK, ""},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct uqff_error err;
        assert_fails(run(refused[i].text, refused[i].n, 0, NULL, &err), refused[i].code, &err,
                     refused[i].needle);
        assert_int_equal(strncmp(err.text, "text: ", 6), 0);
        assert_true(err.offset <= refused[i].n);
    }
}

static void test_accepted(void **state) {
    (void)state;
    struct uqff_error err;
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        assert_ok(run(accepted[i].text, accepted[i].n, 0, NULL, &err), &err);
    }
    /* No cut of an accepted object or array is accepted, and none reads beyond its end. */
    static const char text[] = "{\"a\":[1.5e-3,true,false,null,\"\xE2\x82\xAC\\ud83d\\ude00\"],"
                               "\"bcdefghijklmnop\":{\"c\":-12}}";
    assert_ok(run(TEXT(text), 0, NULL, &err), &err);
    for (size_t n = 0; n < sizeof text - 1; n++) {
        assert_int_not_equal(run(text, n, 0, NULL, &err), UQFF_OK);
    }
    /* One bit changed anywhere: some verdict, and no stray read. */
    char changed[sizeof text];
    for (size_t i = 0; i < 8 * (sizeof text - 1); i++) {
        memcpy(changed, text, sizeof text);
        changed[i / 8] = (char)(changed[i / 8] ^ 1 << i % 8);
        (void)!run(changed, sizeof text - 1, 0, NULL, &err);
    }
}

static void test_events(void **state) {
    (void)state;
    static const char text[] = " {\"k\\n\": [12, -3, 18446744073709551615, 18446744073709551616,"
                               " 1.0, 1e2, \"s\\u0000t\", \"plain\"], \"o\": {}, \"z\": null }";
    static const struct {
        enum uqff_json_kind kind;
        const char *text;
        size_t length;
        bool is_u64;
        uint64_t integer;
    } expected[] = {
        {UQFF_JSON_OBJECT, TEXT(""), false, 0},
        {UQFF_JSON_KEY, TEXT("k\n"), false, 0},
        {UQFF_JSON_ARRAY, TEXT(""), false, 0},
        {UQFF_JSON_NUMBER, TEXT("12"), true, 12},
        {UQFF_JSON_NUMBER, TEXT("-3"), false, 0},
        {UQFF_JSON_NUMBER, TEXT("18446744073709551615"), true, UINT64_MAX},
        {UQFF_JSON_NUMBER, TEXT("18446744073709551616"), false, 0},
        {UQFF_JSON_NUMBER, TEXT("1.0"), false, 0},
        {UQFF_JSON_NUMBER, TEXT("1e2"), false, 0},
        {UQFF_JSON_STRING, TEXT("s\0t"), false, 0},
        {UQFF_JSON_STRING, TEXT("plain"), false, 0},
        {UQFF_JSON_ARRAY_END, TEXT(""), false, 0},
        {UQFF_JSON_KEY, TEXT("o"), false, 0},
        {UQFF_JSON_OBJECT, TEXT(""), false, 0},
        {UQFF_JSON_OBJECT_END, TEXT(""), false, 0},
        {UQFF_JSON_KEY, TEXT("z"), false, 0},
        {UQFF_JSON_NULL, TEXT(""), false, 0},
        {UQFF_JSON_OBJECT_END, TEXT(""), false, 0},
        {UQFF_JSON_END, TEXT(""), false, 0},
    };
    struct uqff_json *json;
    struct uqff_json_event event;
    struct uqff_error err;
    assert_ok(uqff_json_open(text, sizeof text - 1, "t", 1000, 0, &json, &err), &err);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_ok(uqff_json_next(json, &event, &err), &err);
        assert_int_equal(event.kind, expected[i].kind);
        assert_int_equal(event.length, expected[i].length);
        if (event.length > 0) {
            assert_memory_equal(event.text, expected[i].text, event.length);
        }
        assert_int_equal(event.is_u64, expected[i].is_u64);
        assert_true(event.integer == expected[i].integer);
        assert_true(event.offset >= 1000);
        if (event.kind == UQFF_JSON_STRING || event.kind == UQFF_JSON_KEY) {
            assert_int_equal(text[event.offset - 1000], '"');
        }
        if (event.kind == UQFF_JSON_STRING && event.length == 5) {
            /* No copy where there is no escape. */
            assert_ptr_equal(event.text, text + (event.offset - 1000) + 1);
        }
    }
    uqff_json_close(json);
    uqff_json_close(NULL);
}

/* Numbers of each length around 2^64 and in between. */
static void test_integers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_u64;
    } cases[] = {
        {"9999999999999999999", true},
        {"10000000000000000000", true},
        {"18446744073709551614", true},
        {"18446744073709551620", false},
        {"99999999999999999999", false},
        {"100000000000000000000", false},
        {"0", true},
        {"-0", false},
        {"0.0", false},
        {"1E1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqff_json *json;
        struct uqff_json_event event;
        struct uqff_error err;
        assert_ok(uqff_json_open(cases[i].text, strlen(cases[i].text), "t", 0, 0, &json, &err),
                  &err);
        assert_ok(uqff_json_next(json, &event, &err), &err);
        assert_int_equal(event.is_u64, cases[i].is_u64);
        if (event.is_u64) {
            assert_true(event.integer == strtoull(cases[i].text, NULL, 10));
        }
        uqff_json_close(json);
    }
}

static enum uqff_code as_double(const char *text, double *out, struct uqff_error *err) {
    struct uqff_json *json;
    struct uqff_json_event event;
    assert_ok(uqff_json_open(text, strlen(text), "t", 0, 0, &json, err), err);
    assert_ok(uqff_json_next(json, &event, err), err);
    enum uqff_code code = uqff_json_double(json, &event, out, err);
    uqff_json_close(json);
    return code;
}

static void test_doubles(void **state) {
    (void)state;
    struct uqff_error err;
    double value;
    /* A locale with a decimal comma must not matter; where none is installed this tests less. */
    (void)(setlocale(LC_ALL, "de_DE.UTF-8") || setlocale(LC_ALL, "de_DE"));
    assert_ok(as_double("1.5", &value, &err), &err);
    assert_true(value == 1.5);
    assert_ok(as_double("1e-5", &value, &err), &err);
    assert_true(value == 1e-5);
    assert_ok(as_double("-123456789012345678", &value, &err), &err);
    assert_true(value == -123456789012345678.0);
    assert_ok(as_double("1e-999", &value, &err), &err);
    assert_true(value == 0);
    assert_ok(as_double("1.7976931348623157e308", &value, &err), &err);
    assert_true(value == 1.7976931348623157e308);
    assert_fails(as_double("1e309", &value, &err), UQFF_E_FIELD, &err, "number 1e309");
    assert_fails(as_double("\"x\"", &value, &err), UQFF_E_FIELD, &err,
                 "found string 'x', expected a number");
    char longs[400];
    memset(longs, '3', sizeof longs);
    longs[1] = '.';
    longs[sizeof longs - 1] = '\0';
    assert_ok(as_double(longs, &value, &err), &err);
    assert_true(value == 3.3333333333333333333333);
    setlocale(LC_ALL, "C");
}

static void test_depth(void **state) {
    (void)state;
    struct uqff_error err;
    enum { DEEP = 200000 };
    char *text = malloc(2 * DEEP);
    assert_non_null(text);
    for (unsigned limit = 0; limit < 3; limit++) {
        static const unsigned depths[] = {0, 1, 1000};
        size_t allowed = depths[limit] == 0 ? 64 : depths[limit];
        memset(text, '[', allowed + 1);
        memset(text + allowed, ']', allowed);
        assert_ok(run(text, 2 * allowed, depths[limit], NULL, &err), &err);
        memset(text, '[', allowed + 1);
        memset(text + allowed + 1, ']', allowed + 1);
        assert_fails(run(text, 2 * allowed + 2, depths[limit], NULL, &err), UQFF_E_LIMIT, &err,
                     "nested too deep");
        assert_int_equal(err.offset, allowed);
    }
    memset(text, '[', DEEP);
    assert_fails(run(text, DEEP, 0, NULL, &err), UQFF_E_LIMIT, &err, "at most 64 levels");
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    assert_ok(run(text, 2 * DEEP, DEEP, NULL, &err), &err);
    free(text);
}

/* An object of `count` keys, each a small object; the last key repeats number `repeated`. */
static char *wide_object(size_t count, size_t repeated, size_t *n) {
    char *text = malloc(count * 64 + 64), *p = text;
    assert_non_null(text);
    *p++ = '{';
    for (size_t i = 0; i < count; i++) {
        size_t name = i == count - 1 ? repeated : i;
        p += sprintf(p, "%s\"layer.%zu\":{\"a\":1,\"b\":[%zu]}", i == 0 ? "" : ",", name, i);
    }
    *p++ = '}';
    *n = (size_t)(p - text);
    return text;
}

static void test_wide(void **state) {
    (void)state;
    struct uqff_error err;
    static const size_t counts[] = {1, 2, 15, 16, 17, 18, 31, 32, 33, 34, 63, 64, 65, 1000, 100000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        size_t n, count = counts[c], events;
        char *text = wide_object(count, count - 1, &n);
        assert_ok(run(text, n, 0, &events, &err), &err);
        assert_int_equal(events, 3 + 10 * count - count);
        free(text);
        for (size_t repeated = 0; repeated + 1 < count; repeated = repeated * 2 + 1) {
            text = wide_object(count, repeated, &n);
            assert_fails(run(text, n, 0, NULL, &err), UQFF_E_DUPLICATE, &err, "found twice");
            free(text);
        }
    }
}

/* Two wide objects in turn at one depth, with narrow ones between: what the first one's index
 * held must not be seen by those that follow. */
static void test_wide_in_turn(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_buffer buffer = {0};
    static const unsigned widths[] = {300, 3, 20, 17, 1000, 16, 40};
    uqff_buffer_append(&buffer, "[", 1);
    for (int round = 0; round < 3; round++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            uqff_buffer_printf(&buffer, "%s{", buffer.size == 1 ? "" : ",");
            for (unsigned i = 0; i < widths[w]; i++) {
                uqff_buffer_printf(&buffer, "%s\"%u\":0", i == 0 ? "" : ",", i);
            }
            uqff_buffer_append(&buffer, "}", 1);
        }
    }
    uqff_buffer_append(&buffer, "]", 1);
    assert_false(buffer.failed);
    assert_ok(run(buffer.data, buffer.size, 0, NULL, &err), &err);
    uqff_buffer_free(&buffer);
}

/* Memory follows the widest object, not the number of values. */
static void test_many_small(void **state) {
    (void)state;
    enum { COUNT = 300000 };
    static const char one[] = "{\"a\":{},\"b\\n\":[\"x\\t\"]},";
    struct uqff_error err;
    char *text = malloc(COUNT * (sizeof one - 1) + 2);
    assert_non_null(text);
    text[0] = '[';
    for (size_t i = 0; i < COUNT; i++) {
        memcpy(text + 1 + i * (sizeof one - 1), one, sizeof one - 1);
    }
    size_t n = COUNT * (sizeof one - 1) + 1;
    text[n - 1] = ']';
    fail_allocation(0);
    size_t events;
    assert_ok(run(text, n, 0, &events, &err), &err);
    assert_int_equal(events, 3 + COUNT * 9);
    assert_in_range(fail_allocation(0), 1, 20);
    uqff_set_allocator(NULL);
    free(text);
}

static void test_skip(void **state) {
    (void)state;
    static const char text[] = "{\"a\":{\"x\":[1,{\"y\":2}]},\"b\":[[],[{}]],\"c\":5,\"d\":\"s\"}";
    struct uqff_json *json;
    struct uqff_json_event event;
    struct uqff_error err;
    bool done;
    size_t members = 0;
    assert_ok(uqff_json_open(text, sizeof text - 1, "t", 0, 0, &json, &err), &err);
    assert_ok(uqff_json_expect(json, UQFF_JSON_OBJECT, "root", &event, &err), &err);
    for (;;) {
        assert_ok(uqff_json_member(json, &event, &done, &err), &err);
        if (done) {
            break;
        }
        assert_int_equal(event.length, 1);
        assert_int_equal(event.text[0], 'a' + (char)members);
        if (members++ % 2 == 0) {
            /* From the value's first event ... */
            assert_ok(uqff_json_next(json, &event, &err), &err);
        }
        /* ... or from the key. */
        assert_ok(uqff_json_skip(json, &event, &err), &err);
    }
    assert_int_equal(members, 4);
    assert_ok(uqff_json_expect(json, UQFF_JSON_END, "end", &event, &err), &err);
    uqff_json_close(json);

    assert_ok(uqff_json_open("[[1,2,", 6, "t", 0, 0, &json, &err), &err);
    assert_ok(uqff_json_next(json, &event, &err), &err);
    assert_fails(uqff_json_skip(json, &event, &err), UQFF_E_SYNTAX, &err, "at byte 6");
    assert_fails(uqff_json_skip(json, &event, &err), UQFF_E_SYNTAX, &err, "at byte 6");
    assert_fails(uqff_json_expect(json, UQFF_JSON_END, "end", &event, &err), UQFF_E_SYNTAX, &err,
                 "at byte 6");
    assert_fails(uqff_json_member(json, &event, &done, &err), UQFF_E_SYNTAX, &err, "at byte 6");
    uqff_json_close(json);
}

static void test_unexpected(void **state) {
    (void)state;
    struct uqff_json *json;
    struct uqff_json_event event;
    struct uqff_error err;
    bool done;
    assert_ok(uqff_json_open("[[], 12, \"a\x7f\"]", 14, "f", 100, 0, &json, &err), &err);
    assert_ok(uqff_json_next(json, &event, &err), &err);
    assert_fails(uqff_json_expect(json, UQFF_JSON_OBJECT, "tensor 'x'", &event, &err), UQFF_E_FIELD,
                 &err, "f: tensor 'x': found an array, expected an object");
    assert_int_equal(err.offset, 101);
    assert_fails(uqff_json_member(json, &event, &done, &err), UQFF_E_FIELD, &err,
                 "found the end of the array, expected a key");
    assert_fails(uqff_json_expect(json, UQFF_JSON_STRING, "name", &event, &err), UQFF_E_FIELD, &err,
                 "f: name: found number 12, expected a string");
    assert_fails(uqff_json_expect(json, UQFF_JSON_NUMBER, "count", &event, &err), UQFF_E_FIELD,
                 &err, "f: count: found string 'a\\x7f', expected a number");
    uqff_json_close(json);
}

static void test_no_memory(void **state) {
    (void)state;
    size_t n;
    struct uqff_error err;
    char *text = wide_object(200, 199, &n);
    fail_allocation(0);
    assert_ok(run(text, n, 0, NULL, &err), &err);
    size_t allocations = fail_allocation(0);
    assert_true(allocations > 8);
    for (size_t i = 1; i <= allocations; i++) {
        fail_allocation(i);
        assert_fails(run(text, n, 0, NULL, &err), UQFF_E_MEMORY, &err, "memory");
    }
    fail_allocation(1);
    static const char escaped[] = "\"\\n\"";
    assert_int_equal(run(TEXT(escaped), 0, NULL, &err), UQFF_E_MEMORY);
    fail_allocation(3);
    assert_int_equal(run(TEXT(escaped), 0, NULL, &err), UQFF_E_MEMORY);
    uqff_set_allocator(NULL);
    free(text);
}

/* The corpus: what is refused as JSON must be; what is refused for its meaning may parse. */
static void test_corpus(void **state) {
    (void)state;
    static const char *const malformed[] = {
        "j_config_eps_nan.json",
        "j_config_nested_100000.json",
        "j_config_empty.json",
        "j_config_utf16.json",
        "j_tokenizer_truncated.json",
        "x_not_json/model.safetensors.index.json",
        "x_empty_file/model.safetensors.index.json",
        "x_not_utf8/model.safetensors.index.json",
        "x_bom/model.safetensors.index.json",
        "x_nested_100000/model.safetensors.index.json",
    };
    struct uqff_error err;
    size_t n;
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        char *text = read_file(bad_file(malformed[i]), &n);
        if (run(text, n, 0, NULL, &err) == UQFF_OK) {
            fail_msg("%s is accepted", malformed[i]);
        }
        free(text);
    }
    size_t count, seen = 0;
    const struct bad_case *cases = bad_cases("json", &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(cases[i].verdict, "accept") == 0) {
            char *text = read_file(bad_file(cases[i].file), &n);
            assert_ok(run(text, n, 0, NULL, &err), &err);
            free(text);
            seen++;
        }
    }
    assert_true(seen > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_events),     cmocka_unit_test(test_integers),
        cmocka_unit_test(test_doubles),    cmocka_unit_test(test_depth),
        cmocka_unit_test(test_wide),       cmocka_unit_test(test_wide_in_turn),
        cmocka_unit_test(test_many_small), cmocka_unit_test(test_skip),
        cmocka_unit_test(test_unexpected), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
