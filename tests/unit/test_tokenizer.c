/* Tokenizers: what each rule of a vocabulary does to small texts. */
#include "test_tokenizer_builder.h"

/* ---- byte-level BPE -------------------------------------------------------------------------- */

/* U+0120 is the space, U+010A the line end. */
#define SMALL(more)                                                                                     \
    "{'added_tokens': [{'id': 20, 'content': '<|end|>', 'special': true}, {'id': 21, 'content': "       \
    "'<tool>', 'special': false}], 'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': "         \
    "false}, 'decoder': {'type': 'ByteLevel'}, " more "'model': {'type': 'BPE', 'vocab': {'a': "        \
    "0, 'b': 1, 'ab': 2, 'Ġ': 3, 'Ġa': 4, 'abab': 5, 'Ċ': 6, 'Ã': 7, '©': 8, 'Ã©': 9, '1': 10, " \
    "'aa': 11, '<': 12, '|': 13, 'e': 14, 'n': 15, 'd': 16, '>': 17, 'ï': 18, '¿': 19, '½': 22, "    \
    "'B': 23}, 'merges': ['a b', 'Ġ a', 'ab ab', 'Ã ©', 'a a']}}"

static void test_merging(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, SMALL(""));
    assert_int_equal(o.info->kind, UQFF_VOCABULARY_BPE);
    assert_ids(&o, "", PLAIN, "");
    assert_ids(&o, "ab", PLAIN, "2");
    assert_ids(&o, "abab", PLAIN, "5");
    assert_ids(&o, "ababab", PLAIN, "5 2"); /* the leftmost of equals */
    assert_ids(&o, "aaa", PLAIN, "11 0");
    assert_ids(&o, "aab", PLAIN, "0 2"); /* a b comes before a a */
    assert_ids(&o, "b ab", PLAIN, "1 3 2");
    assert_ids(&o, "b  a", PLAIN, "1 3 4");
    assert_ids(&o, "\xC3\xA9", PLAIN, "9");
    assert_ids(&o, "\n\n", PLAIN, "6 6");
    assert_ids(&o, "axb", PLAIN, "0 1"); /* no token, and none that stands for it */
    close_opened(&o);
}

/* Over forty symbols a heap does it; the result is the same. */
static void test_long_words(void **state) {
    struct opened o;
    char text[400];
    struct uqff_buffer found = {0};
    struct test_random random = {3};
    (void)state;
    must_open_json(&o, SMALL(""));
    for (int round = 0; round < 200; round++) {
        /* No merge reaches over a B, so that short parts, merged alone, show what the whole is. */
        size_t n = 0;
        struct uqff_buffer parts = {0};
        while (n < 300) {
            char part[40];
            size_t m = 0, wanted = random_u64(&random) % 30 + 4;
            while (m < wanted) {
                part[m++] = random_u64(&random) % 2 == 0 ? 'a' : 'b';
            }
            part[m - 1] = 'B';
            memcpy(text + n, part, m);
            ids_of(&o, part, m, PLAIN, &found);
            uqff_buffer_printf(&parts, "%s%s", parts.size == 0 ? "" : " ", found.data);
            n += m;
        }
        ids_of(&o, text, n, PLAIN, &found);
        assert_string_equal(found.data, parts.data);
        uqff_buffer_free(&parts);
    }
    uqff_buffer_free(&found);
    close_opened(&o);
}

static void test_invalid_bytes_become_replacement_characters(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, SMALL(""));
    assert_ids(&o, "a\xFF", PLAIN, "0 18 19 22");
    assert_ids(&o, "\xC3", PLAIN, "18 19 22");
    assert_ids(&o, "\xED\xA0\x80", PLAIN, "18 19 22 18 19 22 18 19 22");
    close_opened(&o);
}

static void test_added_tokens(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, SMALL(""));
    assert_ids(&o, "a<|end|>b", PLAIN, "0 12 13 14 15 16 13 17 1");
    assert_ids(&o, "a<|end|>b", PARSED, "0 20 1");
    assert_ids(&o, "a<tool>b", PLAIN, "0 21 1"); /* no control token */
    assert_ids(&o, "<|end|><|end|>", PARSED, "20 20");
    assert_ids(&o, "<|end|", PARSED, "12 13 14 15 16 13");
    close_opened(&o);
}

static void test_longest_added_token_wins(void **state) {
    struct opened o;
    (void)state;
    must_open_json(
        &o, "{'added_tokens': [{'id': 5, 'content': '<a'}, {'id': 6, 'content': '<ab>'}, {'id': 7, "
            "'content': '<abc', 'special': true}, {'id': 8, 'content': 'b>'}], 'pre_tokenizer': "
            "{'type': 'ByteLevel', 'add_prefix_space': false}, 'model': {'vocab': {'a': 0, 'b': 1, "
            "'c': 2, '<': 3, '>': 4}, 'merges': []}}");
    assert_ids(&o, "<ab>", PLAIN, "6");
    assert_ids(&o, "<abc", PLAIN, "5 1 2"); /* the longer one is not asked for */
    assert_ids(&o, "<abc", PARSED, "7");
    assert_ids(&o, "<a<ab>b>", PLAIN, "5 6 8");
    close_opened(&o);
}

static void test_white_space_around_added_tokens(void **state) {
    struct opened o;
    (void)state;
    must_open_json(
        &o, "{'added_tokens': [{'id': 5, 'content': 'L', 'lstrip': true}, {'id': 6, 'content': "
            "'R', 'rstrip': true}, {'id': 7, 'content': 'W', 'single_word': true}], "
            "'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': false}, 'model': {'vocab': "
            "{'a': 0, 'Ġ': 1, 'Ċ': 2, 'W': 7, '_': 8, '-': 9}, 'merges': []}}");
    assert_ids(&o, "a \n La", PLAIN, "0 5 0");
    assert_ids(&o, "R \n a", PLAIN, "6 0");
    assert_ids(&o, "R  L", PLAIN, "6 5"); /* the space is taken once */
    assert_ids(&o, "a W a", PLAIN, "0 1 7 1 0");
    assert_ids(&o, "W-W", PLAIN, "7 9 7");
    close_opened(&o);
}

static void test_prefix_space_of_byte_level(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, "{'added_tokens': [{'id': 3, 'content': '<t>'}], 'pre_tokenizer': {'type': "
                       "'ByteLevel'}, 'model': {'vocab': {'a': 0, 'Ġ': 1, 'Ġa': 2}, 'merges': "
                       "['Ġ a']}}");
    assert_ids(&o, "a", PLAIN, "2");
    assert_ids(&o, " a", PLAIN, "2"); /* only where there is none */
    assert_ids(&o, "a<t>a", PLAIN, "2 3 2");
    close_opened(&o);
}

static void test_normal_forms(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, SMALL("'normalizer': {'type': 'NFC'}, "));
    assert_ids(&o, "e\xCC\x81", PLAIN, "9");
    close_opened(&o);
    must_open_json(&o, SMALL("'normalizer': {'type': 'Sequence', 'normalizers': [{'type': 'NFKC'}, "
                             "{'type': 'Lowercase'}]}, "));
    assert_ids(&o, "\xEF\xBC\xA1\xEF\xBC\xA2", PLAIN, "2"); /* full-width AB */
    assert_ids(&o, "AB\xC3\x89", PLAIN, "2 9");
    close_opened(&o);
    must_open_json(&o, SMALL("'normalizer': {'type': 'NFD'}, "));
    assert_ids(&o, "\xC3\xA9", PLAIN, "14"); /* the mark has no token */
    close_opened(&o);
}

static void test_ignore_merges(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, "{'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': false}, "
                       "'model': {'ignore_merges': true, 'vocab': {'a': 0, 'b': 1, 'Ġab': 2, 'Ġ': "
                       "3}, 'merges': []}}");
    assert_ids(&o, "ab ab", PLAIN, "0 1 2");
    close_opened(&o);
}

/* ---- SentencePiece --------------------------------------------------------------------------- */

#define MARKED                                                                                     \
    "'normalizer': {'type': 'Sequence', 'normalizers': [{'type': 'Prepend', 'prepend': '▁'}, "   \
    "{'type': 'Replace', 'pattern': {'String': ' '}, 'content': '▁'}]}, "
#define METASPACE(scheme)                                                                          \
    "'pre_tokenizer': {'type': 'Metaspace', 'replacement': '▁', 'prepend_scheme': '" scheme        \
    "', 'split': false}, "
#define PIECES(rules)                                                                                      \
    "{'added_tokens': [{'id': 0, 'content': '<unk>', 'special': true}, {'id': 1, 'content': "              \
    "'<s>', 'special': true}], " rules "'model': {'type': 'BPE', 'unk_token': '<unk>', "                   \
    "'fuse_unk': true, 'byte_fallback': true, 'vocab': {'<unk>': 0, '<s>': 1, '▁': 2, 'a': 3, "          \
    "'b': 4, '▁a': 5, 'ab': 6, '▁▁': 7, '<0x0A>': 8, '<0xFF>': 9, 'a▁': 10}, 'merges': ['▁ a', " \
    "'a b', '▁ ▁']}}"

static void test_marks(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, PIECES(MARKED));
    assert_int_equal(o.info->kind, UQFF_VOCABULARY_SPM);
    assert_ids(&o, "", PLAIN, "");
    assert_ids(&o, "ab", PLAIN, "5 4");
    assert_ids(&o, " ab", PLAIN, "2 5 4");
    assert_ids(&o, "  ", PLAIN, "7 2");
    assert_ids(&o, "b ab", PLAIN, "2 4 5 4");
    assert_ids(&o, "b\n", PLAIN, "2 4 8");
    assert_ids(&o, "b\xFF", PLAIN, "2 4 9");   /* a byte that is no text */
    assert_ids(&o, "bxyzb", PLAIN, "2 4 0 4"); /* no bytes for these: one unknown token for all */
    assert_ids(&o, "a<s>a", PARSED, "5 1 5");
    assert_ids(&o, "a<unk>a", PARSED, "5 0 5");
    close_opened(&o);
}

static void test_metaspace(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, PIECES(METASPACE("first")));
    assert_ids(&o, "ab", PLAIN, "5 4");
    assert_ids(&o, " ab", PLAIN, "5 4"); /* not where there is one */
    assert_ids(&o, "a<s>a", PARSED, "5 1 3");
    close_opened(&o);
    must_open_json(&o, PIECES(METASPACE("always")));
    assert_ids(&o, "a<s>a", PARSED, "5 1 5");
    close_opened(&o);
    must_open_json(&o, PIECES(METASPACE("never")));
    assert_ids(&o, "a a", PLAIN, "3 5");
    close_opened(&o);
}

static void test_metaspace_that_splits(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, "{'pre_tokenizer': {'type': 'Metaspace', 'replacement': '▁', "
                       "'prepend_scheme': 'never'}, 'model': {'vocab': {'a': 0, '▁': 1, 'a▁': 2, "
                       "'▁a': 3}, 'merges': ['a ▁', '▁ a']}}");
    assert_ids(&o, "a a", PLAIN, "0 3");
    close_opened(&o);
}

/* HF normalizes the text of such a token like the text itself: it is met with the space in front.
 */
static void test_added_tokens_in_normalized_text(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, "{'added_tokens': [{'id': 3, 'content': '<n>', 'normalized': true}], " MARKED
                       "'model': {'unk_token': '?', 'byte_fallback': true, 'vocab': {'a': 0, '▁': "
                       "1, '?': 2}, 'merges': []}}");
    assert_ids(&o, "<n>a", PLAIN, "3 0");
    assert_ids(&o, "a <n>a", PLAIN, "1 0 3 0");
    assert_ids(&o, "a<n>a", PLAIN, "1 0 2 0");
    close_opened(&o);
}

/* ---- ids to text ----------------------------------------------------------------------------- */

static void check_text(const struct opened *o, const uint32_t *ids, size_t count, bool special,
                       const char *expected, size_t n) {
    struct uqff_buffer out = {0};
    struct uqff_error err;
    assert_ok(uqff_detokenize(o->tokenizer, ids, count, special, &out, &err), &err);
    assert_int_equal(out.size, n);
    assert_memory_equal(out.size == 0 ? "" : out.data, expected, n);
    uqff_buffer_free(&out);
}

static void test_text_of_ids(void **state) {
    struct opened o;
    struct uqff_error err;
    struct uqff_buffer out = {0};
    (void)state;
    must_open_json(&o, PIECES(MARKED));
    const uint32_t ids[] = {1, 5, 4, 8, 9, 5, 0};
    check_text(&o, ids, 7, false, "ab\n\xFF a", 6);
    check_text(&o, ids, 7, true, "<s> ab\n\xFF a<unk>", 15);
    const uint32_t hole[] = {5, 99};
    assert_fails(uqff_detokenize(o.tokenizer, hole, 2, false, &out, &err), UQFF_E_ARGUMENT, &err,
                 "token 1: found id 99");
    uqff_buffer_free(&out);
    close_opened(&o);
    must_open_json(&o, SMALL(""));
    const uint32_t bytes[] = {7, 8, 3, 21, 20, 6};
    check_text(&o, bytes, 6, false, "\xC3\xA9 <tool>\n", 10);
    check_text(&o, bytes, 6, true, "\xC3\xA9 <tool><|end|>\n", 17);
    close_opened(&o);
}

/* Every byte has a character of its own, and comes back. */
static void test_all_bytes(void **state) {
    struct opened o;
    struct uqff_buffer json = {0};
    unsigned char taken[0x200] = {0};
    (void)state;
    uqff_buffer_printf(&json, "{'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': false, "
                              "'use_regex': false}, 'model': {'vocab': {");
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        bool plain = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
        unsigned c = plain ? byte : next++;
        assert_false(taken[c]);
        taken[c] = 1;
        uqff_buffer_printf(&json, "%s'\\u%04x': %u", byte == 0 ? "" : ", ", c, byte);
    }
    uqff_buffer_printf(&json, "}, 'merges': []}}");
    must_open_json(&o, json.data);
    uqff_buffer_free(&json);
    for (uint32_t byte = 0; byte < 256; byte++) {
        char raw = (char)byte;
        check_text(&o, &byte, 1, false, &raw, 1);
        if (byte > 0 && byte < 0x80) {
            char expected[8];
            snprintf(expected, sizeof expected, "%u", byte);
            assert_ids(&o, (char[]){raw, 0}, PLAIN, expected);
        }
    }
    assert_ids(&o, "\xC3\xA9\xF0\x9F\x98\x81", PLAIN, "195 169 240 159 152 129");
    close_opened(&o);
}

/* ---- BOS, EOS and the caller's array --------------------------------------------------------- */

static void test_special_tokens_are_put_at_the_ends(void **state) {
    struct opened o;
    (void)state;
    must_open_json(
        &o, SMALL("'post_processor': {'type': 'Sequence', 'processors': [{'type': 'ByteLevel'}, "
                  "{'type': 'TemplateProcessing', 'single': [{'SpecialToken': {'id': '<|end|>'}}, "
                  "{'Sequence': {'id': 'A'}}, {'SpecialToken': {'id': '<tool>'}}]}]}, "));
    assert_ids(&o, "a", SPECIAL, "20 0 21");
    assert_ids(&o, "", SPECIAL, "20 21");
    assert_ids(&o, "a", PLAIN, "0");
    close_opened(&o);
}

static void test_ids_are_appended(void **state) {
    struct opened o;
    struct uqff_error err;
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    (void)state;
    must_open_json(&o, SMALL(""));
    assert_ok(uqff_tokenize(o.tokenizer, "ab", 2, NULL, &ids, &count, &capacity, &err), &err);
    assert_ok(uqff_tokenize(o.tokenizer, "aa", 2, NULL, &ids, &count, &capacity, &err), &err);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 11);
    uqff_free(ids);
    close_opened(&o);
}

/* ---- split rules that run in PCRE2 ----------------------------------------------------------- */

static void test_unknown_split_rules(void **state) {
    struct opened o;
    (void)state;
    must_open_json(&o, "{'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [{'type': 'Split', "
                       "'pattern': {'Regex': '(?=b)'}, 'behavior': 'Isolated'}, {'type': 'Split', "
                       "'pattern': {'String': '.'}, 'behavior': 'Isolated'}, {'type': 'ByteLevel', "
                       "'add_prefix_space': false, 'use_regex': false}]}, 'model': {'vocab': {'a': "
                       "0, 'b': 1, 'ab': 2, '.': 3, 'a.': 4, 'ba': 5}, 'merges': ['a b', 'a .', "
                       "'b a']}}");
    assert_false(o.info->pre_known);
    assert_int_equal(o.info->pattern_count, 2);
    assert_ids(&o, "ab", PLAIN, "0 1"); /* cut by an empty match */
    assert_ids(&o, "a.ba", PLAIN, "0 3 5");
    assert_ids(&o, "bab", PLAIN, "5 1");
    close_opened(&o);
}

static void test_refused_tokenizers(void **state) {
    static const struct {
        const char *rules;
        enum uqff_code code;
        const char *needle;
    } cases[] = {
        {"'pre_tokenizer': {'type': 'Split', 'pattern': {'Regex': '(a+)+$'}, 'behavior': "
         "'Isolated'}, ",
         UQFF_E_LIMIT, "could run away"},
        {"'pre_tokenizer': {'type': 'WhitespaceSplit'}, ", UQFF_E_UNSUPPORTED,
         "the pre-tokenizer 'WhitespaceSplit'"},
        {"'pre_tokenizer': {'type': 'Split', 'pattern': {'String': 'x'}, 'behavior': 'Removed'}, ",
         UQFF_E_UNSUPPORTED, "behavior 'Removed'"},
        {"'normalizer': {'type': 'StripAccents'}, ", UQFF_E_UNSUPPORTED,
         "the normalizer 'StripAccents'"},
        {"'normalizer': {'type': 'Replace', 'pattern': {'String': '``'}, 'content': 'x'}, ",
         UQFF_E_UNSUPPORTED, "'Replace' of '``'"},
        {"'normalizer': {'type': 'Sequence', 'normalizers': [{'type': 'Lowercase'}, {'type': "
         "'NFC'}]}, ",
         UQFF_E_UNSUPPORTED, "'NFC' behind others"},
        {"'decoder': {'type': 'WordPiece'}, ", UQFF_E_UNSUPPORTED, "the decoder 'WordPiece'"},
        {"'post_processor': {'type': 'BertProcessing'}, ", UQFF_E_UNSUPPORTED,
         "the post-processor 'BertProcessing'"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct opened o;
        char text[600];
        snprintf(text, sizeof text, "{%s'model': {'vocab': {'a': 0}, 'merges': []}}",
                 cases[i].rules);
        assert_ok(open_vocabulary(&o, json_file(text)), &o.err);
        assert_fails(uqff_tokenizer_new(o.vocabulary, NULL, &o.tokenizer, &o.err), cases[i].code,
                     &o.err, cases[i].needle);
        uqff_vocabulary_close(o.vocabulary);
    }
}

/* ---- several threads ------------------------------------------------------------------------- */

/* A split rule that PCRE2 runs, and merges. */
#define BY_EXPRESSION                                                                              \
    "{'pre_tokenizer': {'type': 'Split', 'pattern': {'Regex': 'a+'}, 'behavior': 'Isolated'}, "    \
    "'model': {'vocab': {'a': 0, 'b': 1, 'ab': 2, 'bb': 3}, 'merges': ['a b', 'b b']}}"

struct shared {
    const struct opened *o;
    char text[6000];
    uint32_t *expected;
    size_t count;
};

static enum uqff_code tokenize_again(void *context, size_t i, unsigned thread,
                                     struct uqff_error *err) {
    const struct shared *shared = (const struct shared *)context;
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    (void)i;
    (void)thread;
    enum uqff_code code = uqff_tokenize(shared->o->tokenizer, shared->text, sizeof shared->text,
                                        NULL, &ids, &count, &capacity, err);
    if (code == UQFF_OK &&
        (count != shared->count || memcmp(ids, shared->expected, count * sizeof *ids) != 0)) {
        code = uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET, "the ids differ");
    }
    uqff_free(ids);
    return code;
}

static void test_several_threads(void **state) {
    static const char *const vocabularies[] = {SMALL(""), PIECES(MARKED), BY_EXPRESSION};
    static struct shared shared;
    (void)state;
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        struct opened o;
        size_t capacity = 0;
        must_open_json(&o, vocabularies[i]);
        shared.o = &o;
        shared.expected = NULL;
        shared.count = 0;
        for (size_t k = 0; k < sizeof shared.text; k++) {
            shared.text[k] = "ab bb aab"[k * k % 9];
        }
        assert_ok(uqff_tokenize(o.tokenizer, shared.text, sizeof shared.text, NULL,
                                &shared.expected, &shared.count, &capacity, &o.err),
                  &o.err);
        assert_ok(uqff_parallel_for(64, 4, tokenize_again, &shared, &o.err), &o.err);
        uqff_free(shared.expected);
        close_opened(&o);
    }
}

/* ---- failing allocations --------------------------------------------------------------------- */

static enum uqff_code work(const struct opened *o, const char *text, size_t n,
                           struct uqff_error *err) {
    struct uqff_tokenizer *t = NULL;
    struct uqff_buffer out = {0};
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    enum uqff_code code = uqff_tokenizer_new(o->vocabulary, NULL, &t, err);
    code =
        code != UQFF_OK ? code : uqff_tokenize(t, text, n, &SPECIAL, &ids, &count, &capacity, err);
    if (code != UQFF_OK) {
        assert_int_equal(count, 0);
    }
    code = code != UQFF_OK ? code : uqff_detokenize(t, ids, count, true, &out, err);
    uqff_free(ids);
    uqff_buffer_free(&out);
    uqff_tokenizer_free(t);
    return code;
}

static void test_failing_allocations(void **state) {
    static const char *const vocabularies[] = {SMALL("'normalizer': {'type': 'NFC'}, "),
                                               PIECES(MARKED), BY_EXPRESSION};
    char text[5000];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = "ab \xC3\xA9<\nab"[i % 9];
    }
    memset(text + 4000, 'a', 100);
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        struct opened o;
        struct uqff_error err;
        assert_ok(open_vocabulary(&o, json_file(vocabularies[i])), &o.err);
        for (size_t n = 1;; n++) {
            fail_allocation(n);
            enum uqff_code code = work(&o, text, sizeof text, &err);
            size_t asked = fail_allocation(0);
            if (code == UQFF_OK) {
                /* Where PCRE2's code generator got none, the interpreter did the work. */
                if (asked < n) {
                    break;
                }
                continue;
            }
            assert_int_equal(code, UQFF_E_MEMORY);
        }
        uqff_vocabulary_close(o.vocabulary);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_invalid_bytes_become_replacement_characters),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_longest_added_token_wins),
        cmocka_unit_test(test_white_space_around_added_tokens),
        cmocka_unit_test(test_prefix_space_of_byte_level),
        cmocka_unit_test(test_normal_forms),
        cmocka_unit_test(test_ignore_merges),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_metaspace),
        cmocka_unit_test(test_metaspace_that_splits),
        cmocka_unit_test(test_added_tokens_in_normalized_text),
        cmocka_unit_test(test_text_of_ids),
        cmocka_unit_test(test_all_bytes),
        cmocka_unit_test(test_special_tokens_are_put_at_the_ends),
        cmocka_unit_test(test_ids_are_appended),
        cmocka_unit_test(test_unknown_split_rules),
        cmocka_unit_test(test_refused_tokenizers),
        cmocka_unit_test(test_several_threads),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
