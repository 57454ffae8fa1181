/* Split rules: those that are written out against their own expressions in PCRE2, and what is
 * refused of an expression. */
#include "support/support.h"
#include "uqff/validation.h"
#include "validation/tokenizer.h"
#include "validation/unicode.h"

#include <stdio.h>

/* ---- rules against their expressions --------------------------------------------------------- */

/* A vocabulary that has nothing but a pre-tokenizer, to get at the patterns of a name. */
static struct uqff_vocabulary *vocabulary_of(const char *rules) {
    struct uqff_buffer json = {0};
    struct uqff_vocabulary *v = NULL;
    struct uqff_error err;
    uqff_buffer_printf(&json,
                       "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [%s, "
                       "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": "
                       "false}]}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, "
                       "\"merges\": []}}",
                       rules);
    const char *path = scratch_file("rule.json");
    write_file(path, json.data, json.size);
    uqff_buffer_free(&json);
    assert_ok(uqff_vocabulary_open_path(path, NULL, &v, &err), &err);
    return v;
}

#define SPLIT(pattern)                                                                             \
    "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" pattern                                    \
    "\"}, \"behavior\": \"Isolated\", \"invert\": false}"
#define UPPER "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define LOWER "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define CI "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BLANK "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const struct {
    const char *name, *rules;
} known[] = {
    {"smaug-bpe", SPLIT(CI "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
                           "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|" BLANK)},
    {"dbrx", SPLIT("'(?i:[sdmt]|ll|ve|re)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?+\\\\p{L}+|\\\\p{N}{1,3}| "
                   "?[^\\\\s\\\\p{L}\\\\p{N}]++[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]|\\\\s+(?!\\\\S)|"
                   "\\\\s+")},
    {"qwen2", SPLIT(CI "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
                       "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|" BLANK)},
    {"qwen35", SPLIT(CI "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{L}\\\\p{M}]+|\\\\p{N}| "
                        "?[^\\\\s\\\\p{L}\\\\p{M}\\\\p{N}]+[\\\\r\\\\n]*|" BLANK)},
    {"gpt-2", SPLIT("'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| "
                    "?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+")},
    {"smollm", "{\"type\": \"Digits\", \"individual_digits\": true}, "
               "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"},
    {"tekken",
     SPLIT("[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER "*" LOWER "+|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER
           "+" LOWER "*|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|" BLANK)},
    {"gpt-4o", SPLIT("[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER "*" LOWER "+" CI
                     "?|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?" UPPER "+" LOWER "*" CI
                     "?|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|" BLANK)},
    /* Line ends in the expression as they are. */
    {"deepseek-v3",
     SPLIT("\\\\p{N}{1,3}") ", " SPLIT("[一-龥぀-ゟ゠-ヿ]+") ", " SPLIT(
         "[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+|"
         "[^\\r\\n\\\\p{L}\\\\p{P}\\\\p{S}]?[\\\\p{L}\\\\p{M}]+| ?[\\\\p{P}\\\\p{S}]+[\\r\\n]*|"
         "\\\\s*[\\r\\n]+|\\\\s+(?!\\\\S)|\\\\s+")},
};

/* Pieces as marks at their ends. */
static void cut(const struct split_step *steps, size_t count, const char *text, size_t n,
                size_t from, unsigned char *ends) {
    struct uqff_error err;
    if (n == 0) {
        return;
    }
    if (count == 0) {
        ends[from + n] = 1;
        return;
    }
    struct regex_scratch scratch = {0};
    size_t at = 0;
    while (at < n) {
        size_t begin = at, end = 0, length;
        if (steps->match != NULL) {
            while (begin < n && (end = steps->match(text, n, begin)) == 0) {
                unicode_decode(text + begin, n - begin, &length);
                begin += length;
            }
        } else {
            bool found;
            assert_ok(
                uqff_regex_search(steps->regex, &scratch, text, n, at, &found, &begin, &end, &err),
                &err);
            begin = found ? begin : n;
        }
        end = begin == n ? n : end;
        assert_true(end > at && end <= n);
        cut(steps + 1, count - 1, text + at, begin - at, from + at, ends);
        cut(steps + 1, count - 1, text + begin, end - begin, from + begin, ends);
        at = end;
    }
    uqff_regex_scratch_free(&scratch);
}

static const char *const alphabet[] = {
    "a",  "b",    "s",      "t",      "re",     "ll",     "Z",        "D",      "S",      "LL",
    "'",  "'",    "'s",     "'LL",    "1",      "2",      "345",      " ",      " ",      "  ",
    "\n", "\r\n", "\t",     "\n\n",   ".",      ",",      "/",        "(",      "-",      "\"",
    "é",  "É",    "ß",      "ǅ",      "ʰ",      "中",     "の",       "ア",     "\u0301", "\u0945",
    "½",  "٣",    "Ⅷ",      "\u00A0", "\u3000", "\u2028", "\xC2\x85", "\u200D", "😁",      "€",
    "«",  "\x01", "\u017F", "कि",     "ﬁ",      "_",      "$",        "＋",
};

static size_t random_text(struct test_random *random, char *text, size_t capacity) {
    size_t n = 0, wanted = random_u64(random) % 60 + 1;
    for (size_t i = 0; i < wanted; i++) {
        const char *part = alphabet[random_u64(random) % (sizeof alphabet / sizeof *alphabet)];
        if (n + strlen(part) < capacity) {
            memcpy(text + n, part, strlen(part));
            n += strlen(part);
        }
    }
    text[n] = 0;
    return n;
}

static void test_rules_equal_their_expressions(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct uqff_vocabulary *v = vocabulary_of(known[i].rules);
        const struct uqff_vocabulary_info *info = uqff_vocabulary_info(v);
        struct split_step by_hand[MAX_STEPS] = {{0}}, by_regex[MAX_STEPS] = {{0}};
        struct test_random random = {i + 1};
        struct uqff_error err;
        size_t count = 0;
        assert_string_equal(info->pre, known[i].name);
        assert_true(info->pre_known);
        assert_true(uqff_split_by_name(info->pre, by_hand, &count));
        assert_int_equal(count, info->pattern_count);
        for (size_t k = 0; k < count; k++) {
            assert_ok(uqff_regex_new(info->patterns[k], &by_regex[k].regex, &err), &err);
        }
        for (int round = 0; round < 4000; round++) {
            char text[512];
            unsigned char found[513] = {0}, expected[513] = {0};
            size_t n = random_text(&random, text, sizeof text);
            cut(by_hand, count, text, n, 0, found);
            cut(by_regex, count, text, n, 0, expected);
            if (memcmp(found, expected, n + 1) != 0) {
                for (size_t k = 0; k <= n; k++) {
                    fprintf(stderr, "%s%c", found[k] ? "|" : "", text[k]);
                }
                fprintf(stderr, "\n");
                for (size_t k = 0; k <= n; k++) {
                    fprintf(stderr, "%s%c", expected[k] ? "|" : "", text[k]);
                }
                fprintf(stderr, "\n");
                fail_msg("%s: the pieces differ", known[i].name);
            }
        }
        for (size_t k = 0; k < count; k++) {
            uqff_regex_free(by_regex[k].regex);
        }
        uqff_vocabulary_close(v);
    }
}

/* ---- characters ------------------------------------------------------------------------------ */

static void test_classes(void **state) {
    static const struct {
        uint32_t character;
        unsigned classes;
    } cases[] = {
        {'a', CLASS_LETTER | CLASS_LOWER},
        {'A', CLASS_LETTER | CLASS_UPPER},
        {'7', CLASS_NUMBER},
        {' ', CLASS_SPACE},
        {'\v', CLASS_SPACE},
        {0x1C, 0},
        {0x85, CLASS_SPACE},
        {0xA0, CLASS_SPACE},
        {0x200B, 0}, /* ZERO WIDTH SPACE is none */
        {'_', CLASS_PUNCTUATION},
        {'$', CLASS_SYMBOL},
        {0x4E2D, CLASS_LETTER | CLASS_UPPER | CLASS_LOWER},
        {0x301, CLASS_MARK | CLASS_UPPER | CLASS_LOWER},
        {0x1C5, CLASS_LETTER | CLASS_UPPER},
        {0xBD, CLASS_NUMBER},
        {0x10FFFF, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(uqff_unicode_class(cases[i].character), cases[i].classes);
    }
}

static void test_going_back(void **state) {
    const char *text = "a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x81\x80\x80z";
    static const size_t starts[] = {0, 1, 3, 6, 10, 11, 12, 13};
    (void)state;
    for (size_t i = 1; i < sizeof starts / sizeof *starts; i++) {
        assert_int_equal(uqff_unicode_before(text, starts[i]), starts[i - 1]);
    }
}

/* ---- expressions that are refused ------------------------------------------------------------ */

static void test_refused_expressions(void **state) {
    static const struct {
        const char *pattern;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {"(a+)+$", UQFF_E_LIMIT, "could run away"},
        {"(?:a*b?)*", UQFF_E_LIMIT, "could run away"},
        {"((a{2,}))*", UQFF_E_LIMIT, "could run away"},
        {"(?:x(?:y|[^z]+)q){3,}", UQFF_E_LIMIT, "could run away"},
        {"(a{1,65535})+", UQFF_E_LIMIT, "could run away"},
        {"((?>a+))+", UQFF_E_LIMIT, "could run away"},
        {"(a", UQFF_E_SYNTAX, "split rule '(a'"},
        {"a)", UQFF_E_SYNTAX, "closes nothing"},
        {"[a", UQFF_E_SYNTAX, "expected ']'"},
        {"[\\p{L}&&[^a]]", UQFF_E_UNSUPPORTED, "intersection"},
        {"[a[b]]", UQFF_E_UNSUPPORTED, "a set within a set"},
        {"(?R)", UQFF_E_UNSUPPORTED, "group"},
        {"(a)(?1)", UQFF_E_UNSUPPORTED, "group"},
        {"(?x: a )", UQFF_E_UNSUPPORTED, "group"},
        {"(?C1)a", UQFF_E_UNSUPPORTED, "group"},
        {"(*ANYCRLF)a", UQFF_E_UNSUPPORTED, "a verb"},
        {"\\h+", UQFF_E_UNSUPPORTED, "escape"},
        {"\\C", UQFF_E_UNSUPPORTED, "escape"},
        {"a\\", UQFF_E_UNSUPPORTED, "escape"},
        {"\\Qa+\\E", UQFF_E_UNSUPPORTED, "quoted"},
        {"\\p{Nonsense}", UQFF_E_SYNTAX, "unknown property"},
        {"a{,3}", UQFF_E_UNSUPPORTED, "repeat"},
        {"a{1,3}+", UQFF_E_UNSUPPORTED, "repeat"},
        {"a{3}?", UQFF_E_UNSUPPORTED, "repeat"},
        {"a\xFF", UQFF_E_ENCODING, "UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct split_regex *regex = NULL;
        struct uqff_error err;
        assert_fails(uqff_regex_new(cases[i].pattern, &regex, &err), cases[i].code, &err,
                     cases[i].needle);
        assert_null(regex);
    }
}

static void test_accepted_expressions(void **state) {
    static const char *const cases[] = {
        "(?:ab)+",          "(a+)?b*",    "[^\\]+]+x*",   "[[:alpha:]]+",
        "(?<=a)b+|(?<n>c)", "a{2}{",      "(?i)x+",       "(?=(\\d{3})+(?!\\d))",
        "\\p{L}+\\x{e9}*",  "a{3}b{2,}?", "(?i:'s|'t)?+", "[]a]+",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct split_regex *regex = NULL;
        struct uqff_error err;
        assert_ok(uqff_regex_new(cases[i], &regex, &err), &err);
        uqff_regex_free(regex);
    }
}

/* Nothing is nested here, and still it takes the fourth power of the text's length. */
static void test_search_has_a_limit(void **state) {
    struct split_regex *regex = NULL;
    struct regex_scratch scratch = {0};
    struct uqff_error err;
    char text[4000];
    bool found;
    size_t begin, end;
    (void)state;
    memset(text, 'a', sizeof text);
    assert_ok(uqff_regex_new("a*a*a*a*[bc]", &regex, &err), &err);
    assert_fails(
        uqff_regex_search(regex, &scratch, text, sizeof text, 0, &found, &begin, &end, &err),
        UQFF_E_LIMIT, &err, "more steps");
    uqff_regex_scratch_free(&scratch);
    uqff_regex_free(regex);
}

/* $ stands for every line's end, \s for white space of all scripts. */
static void test_meaning_is_onigurumas(void **state) {
    static const struct {
        const char *pattern, *text;
        size_t begin, end;
    } cases[] = {
        {"\\s+$", "a  \nb", 1, 3},     {"\\s+", "a\u3000b", 1, 4}, {"\\w+", "-\u00e9t\u00e9", 1, 6},
        {"(?i:'s)", "x'\u017F", 1, 4}, {".+", "\na", 1, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct split_regex *regex = NULL;
        struct regex_scratch scratch = {0};
        struct uqff_error err;
        bool found = false;
        size_t begin = 0, end = 0;
        assert_ok(uqff_regex_new(cases[i].pattern, &regex, &err), &err);
        assert_ok(uqff_regex_search(regex, &scratch, cases[i].text, strlen(cases[i].text), 0,
                                    &found, &begin, &end, &err),
                  &err);
        assert_true(found);
        assert_int_equal(begin, cases[i].begin);
        assert_int_equal(end, cases[i].end);
        uqff_regex_scratch_free(&scratch);
        uqff_regex_free(regex);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules_equal_their_expressions),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_going_back),
        cmocka_unit_test(test_refused_expressions),
        cmocka_unit_test(test_accepted_expressions),
        cmocka_unit_test(test_search_has_a_limit),
        cmocka_unit_test(test_meaning_is_onigurumas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
