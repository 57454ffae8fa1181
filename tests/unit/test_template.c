/* Chat templates: renderings that the reference implementation gave, what goes beyond it, errors
 * with their place, limits, mutations, and failing allocations. */
#include "tests/support/support.h"

#include <locale.h>
#include <stdio.h>

#include "uqff/validation.h"

static enum uqff_code render(const char *text, size_t size, const char *variables,
                             struct uqff_buffer *out, struct uqff_error *err) {
    /* A copy of just this size, so that AddressSanitizer sees any byte read beyond. */
    char *copy = malloc(size == 0 ? 1 : size);
    struct uqff_template *tmpl = NULL;
    assert_non_null(copy);
    memcpy(copy, text, size);
    enum uqff_code code = uqff_template_open(copy, size, "chat", &tmpl, err);
    free(copy);
    if (code == UQFF_OK) {
        code = uqff_template_render(tmpl, variables, strlen(variables), out, err);
    }
    uqff_template_close(tmpl);
    return code;
}

static void check_rendering(const char *text, size_t size, const char *variables,
                            const char *expected, size_t expected_size) {
    struct uqff_buffer out = {0};
    struct uqff_error err = {0};
    enum uqff_code code = render(text, size, variables, &out, &err);
    if (code != UQFF_OK) {
        fail_msg("%.*s: %s", (int)(size < 400 ? size : 400), text, err.text);
    }
    if (out.size != expected_size || (out.size > 0 && memcmp(out.data, expected, out.size) != 0)) {
        fail_msg("%.*s:\nfound    %.*s|\nexpected %.*s|", (int)(size < 400 ? size : 400), text,
                 (int)out.size, out.size > 0 ? out.data : "", (int)expected_size, expected);
    }
    uqff_buffer_free(&out);
}

static void renders(const char *text, const char *variables, const char *expected) {
    check_rendering(text, strlen(text), variables, expected, strlen(expected));
}

static void refuses(const char *text, const char *variables, enum uqff_code code,
                    const char *needle) {
    struct uqff_buffer out = {0};
    struct uqff_error err = {0};
    uqff_buffer_append(&out, "before", 6);
    assert_fails(render(text, strlen(text), variables, &out, &err), code, &err, needle);
    assert_int_equal(out.size, 6);
    uqff_buffer_free(&out);
}

/* ---- what the reference renders -------------------------------------------------------------- */

/* Called for each pair of strings of a list of lists; `b` is NULL where null stands. */
typedef void pair_function(void *context, const char *a, size_t a_size, const char *b,
                           size_t b_size);

static void for_pairs(struct uqff_json *json, pair_function *function, void *context) {
    struct uqff_json_event event;
    struct uqff_error err;
    for (;;) {
        assert_ok(uqff_json_next(json, &event, &err), &err);
        if (event.kind == UQFF_JSON_ARRAY_END) {
            return;
        }
        assert_int_equal(event.kind, UQFF_JSON_ARRAY);
        assert_ok(uqff_json_expect(json, UQFF_JSON_STRING, "a pair", &event, &err), &err);
        struct uqff_buffer first = {0};
        uqff_buffer_append(&first, event.text, event.length);
        uqff_buffer_append(&first, "", 1);
        assert_ok(uqff_json_next(json, &event, &err), &err);
        bool is_null = event.kind == UQFF_JSON_NULL;
        function(context, first.data, first.size - 1, is_null ? NULL : event.text,
                 is_null ? 0 : event.length);
        uqff_buffer_free(&first);
        assert_ok(uqff_json_expect(json, UQFF_JSON_ARRAY_END, "a pair", &event, &err), &err);
    }
}

struct sample {
    char *text;
    size_t size;
    const char *variables;
    size_t rendered, refused;
};

static const char *const names[] = {"blocks", "parts", "plain", "strict", "tools"};

static char *sample_file(const char *name, const char *ending, size_t *size) {
    char path[64];
    snprintf(path, sizeof path, "templates/%s.%s", name, ending);
    return read_file(test_data(path), size);
}

static void check_variables(void *context, const char *a, size_t a_size, const char *b,
                            size_t b_size) {
    struct sample *sample = context;
    (void)a_size;
    if (b != NULL) {
        check_rendering(sample->text, sample->size, a, b, b_size);
        sample->rendered++;
        return;
    }
    struct uqff_buffer out = {0};
    struct uqff_error err;
    assert_int_not_equal(render(sample->text, sample->size, a, &out, &err), UQFF_OK);
    uqff_buffer_free(&out);
    sample->refused++;
}

static void test_templates(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sample sample = {0};
        struct uqff_json *json;
        struct uqff_json_event event;
        struct uqff_error err;
        size_t size;
        sample.text = sample_file(names[i], "jinja", &sample.size);
        char *text = sample_file(names[i], "json", &size);
        assert_ok(uqff_json_open(text, size, names[i], 0, 0, &json, &err), &err);
        assert_ok(uqff_json_expect(json, UQFF_JSON_ARRAY, "cases", &event, &err), &err);
        for_pairs(json, check_variables, &sample);
        uqff_json_close(json);
        free(text);
        free(sample.text);
        assert_true(sample.rendered >= 5);
    }
}

static void check_snippet(void *context, const char *a, size_t a_size, const char *b,
                          size_t b_size) {
    struct sample *sample = context;
    if (b != NULL) {
        check_rendering(a, a_size, sample->variables, b, b_size);
        sample->rendered++;
        return;
    }
    struct uqff_buffer out = {0};
    struct uqff_error err;
    if (render(a, a_size, sample->variables, &out, &err) == UQFF_OK) {
        fail_msg("%s: rendered as %.*s", a, (int)out.size, out.data);
    }
    assert_non_null(strstr(err.text, "chat: line "));
    uqff_buffer_free(&out);
    sample->refused++;
}

static void test_snippets(void **state) {
    (void)state;
    struct sample sample = {0};
    struct uqff_json *json;
    struct uqff_json_event event;
    struct uqff_error err;
    struct uqff_buffer variables = {0};
    size_t size;
    char *text = sample_file("snippets", "json", &size);
    assert_ok(uqff_json_open(text, size, "snippets", 0, 0, &json, &err), &err);
    assert_ok(uqff_json_expect(json, UQFF_JSON_OBJECT, "snippets", &event, &err), &err);
    assert_ok(uqff_json_expect(json, UQFF_JSON_KEY, "variables", &event, &err), &err);
    assert_ok(uqff_json_expect(json, UQFF_JSON_STRING, "variables", &event, &err), &err);
    uqff_buffer_append(&variables, event.text, event.length);
    sample.variables = variables.data;
    assert_ok(uqff_json_expect(json, UQFF_JSON_KEY, "cases", &event, &err), &err);
    assert_ok(uqff_json_expect(json, UQFF_JSON_ARRAY, "cases", &event, &err), &err);
    for_pairs(json, check_snippet, &sample);
    assert_true(sample.rendered > 1000 && sample.refused > 300);
    uqff_json_close(json);
    uqff_buffer_free(&variables);
    free(text);
}

/* The next block of the page that is fenced as `kind`, without its last newline; NULL: no more. */
static char *fenced(const char **page, const char *kind) {
    char fence[16];
    snprintf(fence, sizeof fence, "\n```%s\n", kind);
    const char *start = strstr(*page, fence);
    if (start == NULL) {
        return NULL;
    }
    start += strlen(fence);
    const char *end = strstr(start, "\n```\n");
    assert_non_null(end);
    *page = end;
    return strndup(start, (size_t)(end - start));
}

static void test_spec(void **state) {
    (void)state;
    size_t size, vectors = 0;
    char *text = read_file(UQFF_TESTDATA "/../spec/templates.md", &size);
    char *copy = strndup(text, size);
    const char *page = copy;
    for (char *jinja; (jinja = fenced(&page, "jinja")) != NULL; vectors++) {
        char *variables = fenced(&page, "json"), *expected = fenced(&page, "text");
        assert_non_null(variables);
        assert_non_null(expected);
        renders(jinja, variables, expected);
        free(jinja);
        free(variables);
        free(expected);
    }
    assert_true(vectors >= 3);
    free(copy);
    free(text);
}

/* A decimal comma in the program's locale must not show. */
static void test_locale(void **state) {
    (void)state;
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "C.UTF-8"};
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++) {
        setlocale(LC_ALL, locales[i]);
        renders("{{ 1.5 + x }} {{ 0.1 + 0.2 }} {{ '2.5x'|float }}", "{\"x\": 2.25}",
                "3.75 0.30000000000000004 2.5");
    }
    setlocale(LC_ALL, "C");
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"5e-324", "5e-324"},
        {"2.2250738585072014e-308", "2.2250738585072014e-308"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"9007199254740991", "9007199254740991"},
        {"9007199254740993", "9007199254740992"},
        {"123456789012345680000", "123456789012345680000"},
        {"1e21", "1e+21"},
        {"-1.5e-7", "-1.5e-7"},
        {"0.000001", "0.000001"},
        {"-0.0", "0"},
        {"0.1", "0.1"},
        {"4.35", "4.35"},
        {"1e-5", "0.00001"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char variables[64];
        snprintf(variables, sizeof variables, "{\"x\": %s}", cases[i].json);
        renders("{{ x }}", variables, cases[i].text);
    }
}

/* ---- beyond the reference -------------------------------------------------------------------- */

static void test_extensions(void **state) {
    (void)state;
    static const char given[] = "{\"l\": [3, 1, 2], \"w\": [\"b\", \"A\"], \"o\": [{\"r\": \"u\"}, "
                                "{\"r\": \"a\"}], \"n\": 7}";
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{{ l|select('odd') }}{{ l|reject('odd') }}{{ [0, 1]|select }}", "[3, 1][2][1]"},
        {"{{ w|map('upper')|join(d='+') }} {{ o|join('-', attribute='r') }}", "B+A u-a"},
        {"{{ o|selectattr('r', 'in', ['u'])|length }} {{ o|rejectattr('r', 'ne', 'u')|length }}",
         "1 1"},
        {"{{ n is divisibleby 7 }} {{ n is in(l) }} {{ n is gt 3 and n is not eq(8) }}",
         "true false true"},
        {"{{ 1.5 is float }} {{ l is sameas l }} {{ n is lt 3 or n is ge 7 and n is le 7 }}",
         "true true true"},
        {"{{ 'a' < 'b' }}{{ 'ab' >= 'ab' }}{{ '-' * 3 }}", "truetrue---"},
        {"{{ ', '.join(w) }} {{ 'abc'.find('c') }} {{ 'abc'.removeprefix('a').removesuffix('c') }}",
         "b, A 2 b"},
        {"{{ 'a,b,c'.split(',', maxsplit=1)|length }}{{ 'aba'|replace(old='a', new='x', count=1) "
         "}}",
         "2xba"},
        {"{% set q = [] %}{% for x in l %}{{ q.append(x) }}{% endfor %}{{ q }}", "[3, 1, 2]"},
        {"{{ dict(a=1, **{'b': 2}) }}{{ dict([['k', 1]]).k }}", "{\"a\": 1, \"b\": 2}1"},
        {"{% set j = joiner('; ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}", "3; 1; 2"},
        {"{% set q | upper | trim %} a{{ n }} {% endset %}{{ q }}", "A7"},
        {"{% filter trim | upper %} b {% endfilter %}", "B"},
        {"a\n  {%+ if true %}\nb\n{% endif +%}\nc", "a\n  b\n\nc"},
        {"{{ (1,)|length }}{{ ()|length }}{{ l|count }}{{ nothing|d('x') }}{{ nothing|default }}",
         "103x"},
        {"{{ ([]|first) is defined }}{{ 'X'|lower() }}", "falsex"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        renders(cases[i].text, given, cases[i].expected);
    }
}

static void test_moment(void **state) {
    (void)state;
    static const char text[] = "{{ strftime_now('%d %b %B %Y-%m-%d %H:%M %A %% %') }}";
    renders(text, "{\"strftime_now\": \"2024-07-06T09:05:00\"}",
            "06 Jul July 2024-07-06 09:05 %A %% %");
    renders(text, "{\"strftime_now\": \"1999-12-31\"}", "31 Dec December 1999-12-31 00:00 %A %% %");
    renders("{{ strftime_now is defined }}", "{}", "true");
    refuses(text, "{}", UQFF_E_UNSUPPORTED, "line 1, column 16: strftime_now without");
    static const char *const wrong[] = {"5",
                                        "\"\"",
                                        "\"2024-13-01\"",
                                        "\"2024-07-06T25:00\"",
                                        "\"2024/07/06\"",
                                        "\"2024-07-06T09\"",
                                        "null"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char variables[64];
        snprintf(variables, sizeof variables, "{\"strftime_now\": %s}", wrong[i]);
        refuses(text, variables, UQFF_E_ARGUMENT, "is not a date");
    }
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void test_errors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {"a\n b {% include 'x' %}", UQFF_E_UNSUPPORTED,
         "chat: line 2, column 7: statement 'include'"},
        {"é{{ x|frobnicate }}", UQFF_E_UNSUPPORTED, "line 1, column 7: filter 'frobnicate'"},
        {"{{ x is odder }}", UQFF_E_UNSUPPORTED, "line 1, column 9: test 'odder'"},
        {"{{ lipsum(1) }}", UQFF_E_UNSUPPORTED, "line 1, column 4: function 'lipsum'"},
        {"{{ 'a'\n.swapcase() }}", UQFF_E_UNSUPPORTED,
         "line 2, column 1: method 'swapcase' of a string"},
        {"{{ 'a'|first }}", UQFF_E_UNSUPPORTED, "'first' of a string"},
        {"{{ 'xax'|trim('x') }}", UQFF_E_UNSUPPORTED, "filter 'trim' with arguments"},
        {"{% for x in y recursive %}{% endfor %}", UQFF_E_UNSUPPORTED, "recursive"},
        {"{{ range }}", UQFF_E_UNSUPPORTED, "a function has no printed form"},
        {"{{ (1, 2) }}", UQFF_E_UNSUPPORTED, "a tuple has no printed form"},
        {"{% if x %}\n{{ x }}", UQFF_E_SYNTAX, "line 2, column 8: found the end of the template"},
        {"{% endif %}", UQFF_E_SYNTAX, "found 'endif'"},
        {"{% break %}", UQFF_E_SYNTAX, "a loop around it"},
        {"{% for x in y %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", UQFF_E_SYNTAX,
         "a loop around it"},
        {"{{ 1 + }}", UQFF_E_SYNTAX, "column 8: found '}}', expected a value"},
        {"{{ \n\n  'abc }}", UQFF_E_SYNTAX, "line 3, column 3: a string that does not end"},
        {"x {# y", UQFF_E_SYNTAX, "column 3: a comment that does not end"},
        {"{{ a", UQFF_E_SYNTAX, "a tag that does not end"},
        {"{{ '\\q' }}", UQFF_E_SYNTAX, "an escape that is not known"},
        {"{{ '\\u12' }}", UQFF_E_SYNTAX, "hexadecimal"},
        {"{{ a ? b }}", UQFF_E_SYNTAX, "no meaning here"},
        {"{% macro m(a=1, b) %}{% endmacro %}", UQFF_E_SYNTAX, "expected a default"},
        {"{% set x, y %}{% endset %}", UQFF_E_SYNTAX, "a block has one value"},
        {"{{ f(a=1, 2) }}", UQFF_E_SYNTAX, "expected a named argument"},
        {"{{ none + 'a' }}", UQFF_E_ARGUMENT, "column 9: '+' between none and a string"},
        {"{{ 1 < 'a' }}", UQFF_E_ARGUMENT, "'<' between an integer and a string"},
        {"{% for x in 5 %}{% endfor %}", UQFF_E_ARGUMENT, "a loop over an integer"},
        {"{% for a, b in [[1]] %}{% endfor %}", UQFF_E_ARGUMENT,
         "1 items is to be shared out to 2"},
        {"{% set o = {} %}{% set o.a = 1 %}", UQFF_E_ARGUMENT, "expected a namespace"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", UQFF_E_ARGUMENT, "macro 'm' takes 1"},
        {"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", UQFF_E_ARGUMENT, "argument 'b'"},
        {"{{ [1, 'a']|sort }}", UQFF_E_ARGUMENT, "have no order"},
        {"{{ range(0, 3, 0) }}", UQFF_E_ARGUMENT, "a step of zero"},
        {"{{ 'a'.split('') }}", UQFF_E_ARGUMENT, "an empty separator"},
        {"{{ raise_exception('Not \"so\"\n') }}", UQFF_E_ARGUMENT,
         "the template refuses: Not \"so\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refuses(cases[i].text, "{}", cases[i].code, cases[i].needle);
    }
}

static void test_inputs(void **state) {
    (void)state;
    struct uqff_template *tmpl = NULL;
    struct uqff_error err;
    assert_fails(uqff_template_open("a\xFF", 2, "chat", &tmpl, &err), UQFF_E_ENCODING, &err,
                 "chat: byte 1");
    assert_int_equal(err.offset, 1);
    assert_null(tmpl);
    assert_ok(uqff_template_open("", 0, NULL, &tmpl, &err), &err);
    uqff_template_close(tmpl);
    assert_ok(uqff_template_open("{{ x }}", 7, NULL, &tmpl, &err), &err);
    static const struct {
        const char *json;
        enum uqff_code code;
    } wrong[] = {
        {"", UQFF_E_SYNTAX},
        {"[]", UQFF_E_FIELD},
        {"{\"a\": 01}", UQFF_E_SYNTAX},
        {"{\"a\": 1, \"a\": 2}", UQFF_E_DUPLICATE},
        {"{} {}", UQFF_E_SYNTAX},
        {"{\"a\": [}", UQFF_E_SYNTAX},
    };
    struct uqff_buffer out = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_fails(uqff_template_render(tmpl, wrong[i].json, strlen(wrong[i].json), &out, &err),
                     wrong[i].code, &err, "variables");
    }
    /* A template may be rendered again and again, and the text is appended. */
    for (int i = 0; i < 3; i++) {
        assert_ok(uqff_template_render(tmpl, "{\"x\": \"ab\"}", 11, &out, &err), &err);
    }
    assert_string_equal(out.data, "ababab");
    uqff_buffer_free(&out);
    uqff_template_close(tmpl);
    uqff_template_close(NULL);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static char *repeated(const char *before, const char *unit, const char *middle, const char *end,
                      const char *after, size_t n) {
    struct uqff_buffer text = {0};
    uqff_buffer_append(&text, before, strlen(before));
    for (size_t i = 0; i < n; i++) {
        uqff_buffer_append(&text, unit, strlen(unit));
    }
    uqff_buffer_append(&text, middle, strlen(middle));
    for (size_t i = 0; i < n; i++) {
        uqff_buffer_append(&text, end, strlen(end));
    }
    uqff_buffer_append(&text, after, strlen(after));
    return text.data;
}

static void test_depth(void **state) {
    (void)state;
    static const struct {
        const char *before, *unit, *middle, *end, *after, *needle;
    } cases[] = {
        {"{{ ", "(", "1", ")", " }}", "100 deep"},
        {"{{ ", "[", "", "]", " }}", "100 deep"},
        {"{{ ", "- ", "1", "", " }}", "100 deep"},
        {"{{ ", "1 if 0 else ", "1", "", " }}", "100 deep"},
        {"", "{% if 1 %}", "x", "{% endif %}", "", "100 deep"},
        {"{{ x", "[x", "", "]", " }}", "100 deep"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = repeated(cases[i].before, cases[i].unit, cases[i].middle, cases[i].end,
                              cases[i].after, 30000);
        refuses(text, "{}", UQFF_E_LIMIT, cases[i].needle);
        uqff_free(text);
    }
    /* What is not nested may be long. */
    char *text = repeated("{{ 0", " + 1", "", "", " }}", 50000);
    renders(text, "{}", "50000");
    uqff_free(text);
    text = repeated("{{ '", "ab", "'", "|trim", " and not not not 1 }}", 2000);
    renders(text, "{}", "false");
    uqff_free(text);
    text = repeated("{{ x", ".a", "", "", " }}", 50000);
    renders(text, "{}", "");
    uqff_free(text);

    refuses("{% macro m(x) %}{{ m(x + 1) }}{% endmacro %}{{ m(0) }}", "{}", UQFF_E_LIMIT,
            "1000 deep");
    refuses("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "{}", UQFF_E_LIMIT,
            "100 deep");
    refuses("{% set q = [] %}{{ q.append(q) }}{{ q ~ '' }}", "{}", UQFF_E_LIMIT, "100 deep");
    refuses("{% set ns = namespace(a=[]) %}{% for i in range(500) %}{% set ns.a = [ns.a] %}"
            "{% endfor %}{{ ns.a == 'x' }}",
            "{}", UQFF_E_LIMIT, "100 deep");
    text = repeated("{\"a\": ", "[", "", "]", "}", 50000);
    refuses("x", text, UQFF_E_LIMIT, "variables");
    uqff_free(text);
}

static void test_limits(void **state) {
    (void)state;
    struct uqff_template *tmpl = NULL;
    struct uqff_error err;
    char *large = calloc(UQFF_TEMPLATE_SIZE + 1, 1);
    assert_non_null(large);
    assert_fails(uqff_template_open(large, UQFF_TEMPLATE_SIZE + 1, "chat", &tmpl, &err),
                 UQFF_E_LIMIT, &err, "1048577 bytes");
    free(large);
    refuses("{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}", "{}",
            UQFF_E_LIMIT, "5000000 steps");
    refuses("{{ range(1000000000000) }}", "{}", UQFF_E_LIMIT, "limit");
    refuses("{{ range(0, 1, 0.0000000001) }}", "{}", UQFF_E_LIMIT, "limit");
    static const char doubling[] =
        "{% set ns = namespace(x='0123456789abcdef') %}"
        "{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    refuses(doubling, "{}", UQFF_E_LIMIT, "256 MiB of memory");
    refuses("{% set ns = namespace(x='0123456789abcdef') %}{% for i in range(17) %}"
            "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{% for i in range(9) %}{{ ns.x }}{% endfor %}",
            "{}", UQFF_E_LIMIT, "16 MiB");
    /* Text that is printed and thrown away costs as well. */
    refuses("{% set ns = namespace(x='0123456789abcdef') %}{% for i in range(19) %}"
            "{% set ns.x = ns.x ~ ns.x %}{% endfor %}{% for i in range(99999) %}{{ ns.x }}"
            "{% continue %}{% endfor %}",
            "{}", UQFF_E_LIMIT, "5000000 steps");
    refuses("{{ 'a' * 999999999999 }}", "{}", UQFF_E_LIMIT, "limit");
    refuses("{{ 'a'|indent(99999999) }}", "{}", UQFF_E_ARGUMENT, "0 to 1000");
}

/* ---- rough handling -------------------------------------------------------------------------- */

/* Damaged templates: whatever comes of them, it is a text or an error of one printable line. */
static void test_mutations(void **state) {
    (void)state;
    static const char *const pieces[] = {"{{", "}}",  "{%", "%}", "{#", "#}",  "-",
                                         "'",  "(",   ")",  "[",  "|",  ".",   ":",
                                         "if", "not", "\\", "\n", " ",  "for", "9"};
    struct test_random random = {4711};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size;
        char *text = sample_file(names[i], "jinja", &size);
        static const char variables[] =
            "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", "
            "\"content\": [{\"type\": \"text\", \"text\": \"b\"}]}], \"tools\": [{\"name\": "
            "\"f\"}], "
            "\"bos_token\": \"<s>\", \"strftime_now\": \"2024-01-01\"}";
        for (int round = 0; round < 400; round++) {
            struct uqff_buffer mutant = {0}, out = {0};
            struct uqff_error err = {0};
            size_t at = (size_t)(random_u64(&random) % size);
            size_t skip = (size_t)(random_u64(&random) % 6);
            const char *piece = pieces[random_u64(&random) % (sizeof pieces / sizeof *pieces)];
            skip = skip < size - at ? skip : size - at;
            uqff_buffer_append(&mutant, text, at);
            uqff_buffer_append(&mutant, piece, strlen(piece));
            uqff_buffer_append(&mutant, text + at + skip, size - at - skip);
            size_t cut = round % 4 == 0 ? (size_t)(random_u64(&random) % mutant.size) : mutant.size;
            enum uqff_code code = render(mutant.data, cut, variables, &out, &err);
            if (code != UQFF_OK) {
                assert_non_null(strstr(err.text, "chat: "));
                assert_null(strchr(err.text, '\n'));
                assert_int_not_equal(code, UQFF_E_INTERNAL);
            }
            uqff_buffer_free(&mutant);
            uqff_buffer_free(&out);
        }
        free(text);
    }
}

static void test_allocations(void **state) {
    (void)state;
    static const char variables[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"tool\", "
        "\"content\": "
        "{\"x\": [1, 2.5]}}], \"tools\": [{\"name\": \"f\", \"description\": \"d\", "
        "\"parameters\": "
        "{\"type\": \"object\", \"properties\": {\"b\": {\"type\": \"string\"}, \"a\": {}}}}], "
        "\"bos_token\": \"<s>\", \"strftime_now\": \"2024-01-01\", \"add_generation_prompt\": "
        "true}";
    size_t size;
    char *text = sample_file("tools", "jinja", &size);
    bool finished = false;
    for (size_t n = 1; !finished; n++) {
        struct uqff_buffer out = {0};
        struct uqff_error err = {0};
        fail_allocation(n);
        enum uqff_code code = render(text, size, variables, &out, &err);
        finished = fail_allocation(0) < n;
        if (finished) {
            assert_ok(code, &err);
        } else {
            assert_int_equal(code, UQFF_E_MEMORY);
        }
        uqff_buffer_free(&out);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates),   cmocka_unit_test(test_snippets),
        cmocka_unit_test(test_spec),        cmocka_unit_test(test_locale),
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_moment),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_inputs),      cmocka_unit_test(test_depth),
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
