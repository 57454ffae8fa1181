/* Vocabularies from tokenizer.json and the files beside it. */
#include "test_tokenizer_builder.h"

#include <sys/stat.h>

#define BYTE_LEVEL "'pre_tokenizer': {'type': 'ByteLevel', 'add_prefix_space': false}, "
#define MODEL(vocab, merges)                                                                       \
    "'model': {'type': 'BPE', 'vocab': {" vocab "}, 'merges': [" merges "]}}"

static void open_json(struct opened *o, const char *text) {
    assert_ok(open_vocabulary(o, json_file(text)), &o->err);
}

static void refuse_json(const char *text, enum uqff_code code, const char *needle) {
    struct opened o;
    assert_fails(open_vocabulary(&o, json_file(text)), code, &o.err, needle);
    assert_null(o.vocabulary);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static void test_tokens(void **state) {
    struct opened o;
    (void)state;
    open_json(&o,
              "{'added_tokens': [{'id': 4, 'content': '<|e|>', 'special': true, 'lstrip': true, "
              "'rstrip': false, 'normalized': true, 'single_word': true}, {'id': 1, 'content': "
              "'b'}], " BYTE_LEVEL MODEL("'b': 1, 'a': 0, 'ab': 2", "'a b'"));
    const struct uqff_vocabulary_info *info = o.info;
    assert_int_equal(info->kind, UQFF_VOCABULARY_BPE);
    assert_int_equal(info->size, 5);
    assert_int_equal(info->merges, 1);
    assert_string_equal(info->pre, "gpt-2");
    assert_true(info->pre_known);
    assert_int_equal(info->bos, UQFF_NO_TOKEN);
    assert_null(info->chat_template);
    struct uqff_token token = uqff_vocabulary_token(o.vocabulary, 4);
    assert_string_equal(token.text, "<|e|>");
    assert_int_equal(token.type, UQFF_TOKEN_CONTROL);
    assert_true(token.added && token.lstrip && token.normalized && token.single_word);
    assert_false(token.rstrip);
    assert_int_equal(uqff_vocabulary_token(o.vocabulary, 1).type, UQFF_TOKEN_USER_DEFINED);
    token = uqff_vocabulary_token(o.vocabulary, 3); /* a hole */
    assert_int_equal(token.length, 0);
    assert_int_equal(token.type, UQFF_TOKEN_UNUSED);
    struct uqff_merge merge = uqff_vocabulary_merge(o.vocabulary, 0);
    assert_int_equal(merge.left, 0);
    assert_int_equal(merge.right, 1);
    assert_int_equal(merge.result, 2);
    assert_int_equal(uqff_vocabulary_find(o.vocabulary, "ab", 2), 2);
    assert_int_equal(uqff_vocabulary_find(o.vocabulary, "abc", 3), UQFF_NO_TOKEN);
    assert_int_equal(uqff_vocabulary_find(o.vocabulary, "", 0), UQFF_NO_TOKEN);
    close_opened(&o);
}

/* Few tokens with large ids take no table of that size, and are found all the same. */
static void test_sparse_ids(void **state) {
    struct opened o;
    (void)state;
    open_json(&o, "{" BYTE_LEVEL MODEL("'b': 4194303, 'a': 7, 'c': 1000", ""));
    assert_int_equal(o.info->size, 4194304);
    assert_string_equal(uqff_vocabulary_token(o.vocabulary, 4194303).text, "b");
    assert_string_equal(uqff_vocabulary_token(o.vocabulary, 1000).text, "c");
    assert_int_equal(uqff_vocabulary_token(o.vocabulary, 8).type, UQFF_TOKEN_UNUSED);
    assert_int_equal(uqff_vocabulary_find(o.vocabulary, "a", 1), 7);
    close_opened(&o);
    open_json(&o, "{" BYTE_LEVEL MODEL("'a': 0, 'b': 5, 'c': 3", "")); /* these do */
    assert_string_equal(uqff_vocabulary_token(o.vocabulary, 3).text, "c");
    assert_int_equal(uqff_vocabulary_token(o.vocabulary, 4).length, 0);
    close_opened(&o);
}

static void test_merges_in_any_form_and_place(void **state) {
    static const char *const cases[] = {
        "{" BYTE_LEVEL MODEL("'a': 0, 'b': 1, 'ab': 2", "'a b'"),
        "{" BYTE_LEVEL MODEL("'a': 0, 'b': 1, 'ab': 2", "['a', 'b']"),
        "{'model': {'merges': ['a b'], 'vocab': {'a': 0, 'b': 1, 'ab': 2}}, " BYTE_LEVEL
        "'version': '1.0'}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct opened o;
        open_json(&o, cases[i]);
        assert_int_equal(o.info->merges, 1);
        assert_int_equal(uqff_vocabulary_merge(o.vocabulary, 0).result, 2);
        close_opened(&o);
    }
}

static void test_refused(void **state) {
    (void)state;
    refuse_json("{}", UQFF_E_FIELD, "found no model");
    refuse_json("{'model': {}}", UQFF_E_FIELD, "found no model.vocab");
    refuse_json("{'model': {'vocab': []}}", UQFF_E_FIELD, "model.vocab");
    refuse_json("{'model': {'vocab': {}}}", UQFF_E_FIELD, "without tokens");
    refuse_json("{'model': {'type': 'Unigram', 'vocab': []}}", UQFF_E_UNSUPPORTED, "'Unigram'");
    refuse_json("{'model': {'end_of_word_suffix': '</w>', 'vocab': {}}}", UQFF_E_UNSUPPORTED,
                "end_of_word_suffix '</w>'");
    refuse_json("{" MODEL("'a': -1", ""), UQFF_E_FIELD, "an id of model.vocab");
    refuse_json("{" MODEL("'a': 1.5", ""), UQFF_E_FIELD, "an id of model.vocab");
    refuse_json("{" MODEL("'a': 4194304", ""), UQFF_E_FIELD, "4194304");
    refuse_json("{" MODEL("'a': 1, 'b': 1", ""), UQFF_E_DUPLICATE, "found id 1 twice");
    refuse_json("{" MODEL("'a': 1, 'a': 2", ""), UQFF_E_DUPLICATE, "'a'");
    refuse_json("{" MODEL("'a': 0, 'b': 1", "'a b'"), UQFF_E_FIELD,
                "merge 1: found the result "
                "'ab'");
    refuse_json("{" MODEL("'a': 0, 'aa': 1", "'a a', 'a x'"), UQFF_E_FIELD,
                "merge 2: found the "
                "token 'x'");
    refuse_json("{" MODEL("'a': 0", "'aa'"), UQFF_E_FIELD, "a space between");
    refuse_json("{" MODEL("'a': 0", "['a']"), UQFF_E_FIELD, "a merge");
    refuse_json("{" MODEL("'a': 0, 'aa': 1", "['a', 'a', 'a']"), UQFF_E_FIELD, "a merge");
    refuse_json("{" MODEL("'a': 0", "7"), UQFF_E_FIELD, "a string or a pair");
    refuse_json("{'added_tokens': [{'id': 0}], " MODEL("'a': 0", ""), UQFF_E_FIELD,
                "added token 1: found no content");
    refuse_json("{'added_tokens': [{'content': 'a'}], " MODEL("'a': 0", ""), UQFF_E_FIELD,
                "found no id");
    refuse_json("{'added_tokens': [{'id': 0, 'content': ''}], " MODEL("'a': 0", ""), UQFF_E_FIELD,
                "expected 1 to 4096");
    refuse_json("{'added_tokens': [{'id': 1, 'content': 'x'}, {'id': 1, 'content': 'y'}], " MODEL(
                    "'a': 0", ""),
                UQFF_E_DUPLICATE, "found id 1 twice");
    refuse_json("{'normalizer': 7, " MODEL("'a': 0", ""), UQFF_E_FIELD, "an object or null");
    refuse_json("{'normalizer': {'kind': 'NFC'}, " MODEL("'a': 0", ""), UQFF_E_FIELD,
                "found no type");
    refuse_json("{'pre_tokenizer': {'type': 'Sequence'}, " MODEL("'a': 0", ""), UQFF_E_FIELD,
                "found no list 'pretokenizers'");
    refuse_json("{'pre_tokenizer': {'type': 'Split', 'pattern': {'Regex': 'a\\u0000b'}, "
                "'behavior': 'Isolated'}, " MODEL("'a': 0", ""),
                UQFF_E_FIELD, "a NUL");
    refuse_json("{'post_processor': {'type': 'TemplateProcessing', 'single': [{'SpecialToken': "
                "{'id': 'x'}}]}, " MODEL("'a': 0", ""),
                UQFF_E_FIELD, "post-processor: found the token 'x'");
    refuse_json("nonsense", UQFF_E_MAGIC, "expected tokenizer.json");
    refuse_json("version https://git-lfs.github.com/spec/v1", UQFF_E_MAGIC, "Git LFS");
    refuse_json("", UQFF_E_MAGIC, "expected tokenizer.json");
}

static void test_a_rule_without_end(void **state) {
    struct uqff_buffer json = {0};
    struct opened o;
    (void)state;
    uqff_buffer_printf(&json, "{\"pre_tokenizer\": [0");
    for (int i = 0; i < 70000; i++) {
        uqff_buffer_printf(&json, ",0");
    }
    uqff_buffer_printf(&json, "], \"model\": {\"vocab\": {\"a\": 0}}}");
    const char *path = scratch_file("rule.json");
    write_file(path, json.data, json.size);
    assert_fails(open_vocabulary(&o, path), UQFF_E_LIMIT, &o.err, "more than 65536 values");
    uqff_buffer_free(&json);
}

static void test_added_tokens_that_disagree(void **state) {
    struct opened o;
    (void)state;
    open_json(&o, "{'added_tokens': [{'id': 0, 'content': '<x>'}, {'id': 9, 'content': 'b', "
                  "'special': true}], " BYTE_LEVEL MODEL("'a': 0, 'b': 1", ""));
    assert_string_equal(uqff_vocabulary_token(o.vocabulary, 0).text, "a");
    assert_int_equal(uqff_vocabulary_token(o.vocabulary, 1).type, UQFF_TOKEN_CONTROL);
    assert_non_null(strstr(o.warnings, "'<x>': its id 0 is that of 'a'"));
    assert_non_null(strstr(o.warnings, "'b': its id is 1 in the vocabulary, not 9"));
    close_opened(&o);
}

/* Scores follow the order of merges; added tokens are spelled with spaces, as a GGUF has them. */
static void test_scores_and_spelling(void **state) {
    struct opened o;
    (void)state;
    open_json(&o, "{'added_tokens': [{'id': 4, 'content': '▁▁'}, {'id': 5, 'content': '<s>', "
                  "'special': true}], 'normalizer': {'type': 'Replace', 'pattern': {'String': ' "
                  "'}, 'content': '▁'}, 'pre_tokenizer': {'type': 'Split', 'pattern': {'String': ' "
                  "'}, 'behavior': 'MergedWithPrevious'}, 'model': {'unk_token': '?', "
                  "'byte_fallback': true, 'vocab': {'a': 0, 'ab': 1, 'b': 2, 'bb': 3, '▁▁': 4, "
                  "'▁': 6, '<0x41>': 7, '?': 8}, 'merges': ['b b', 'a b', '▁ ▁']}}");
    assert_int_equal(o.info->kind, UQFF_VOCABULARY_SPM);
    assert_string_equal(o.info->pre, "");
    assert_true(o.info->pre_known && o.info->byte_fallback && o.info->escape_whitespace);
    assert_false(o.info->add_prefix_space);
    assert_int_equal(o.info->unknown, 8);
    assert_int_equal(uqff_vocabulary_token(o.vocabulary, 8).type, UQFF_TOKEN_UNKNOWN);
    assert_int_equal(uqff_vocabulary_token(o.vocabulary, 7).type, UQFF_TOKEN_BYTE);
    assert_true(uqff_vocabulary_token(o.vocabulary, 3).score >
                uqff_vocabulary_token(o.vocabulary, 1).score);
    assert_true(uqff_vocabulary_token(o.vocabulary, 1).score >
                uqff_vocabulary_token(o.vocabulary, 0).score);
    assert_string_equal(uqff_vocabulary_token(o.vocabulary, 4).text, "  ");
    assert_int_equal(uqff_vocabulary_token(o.vocabulary, 4).type, UQFF_TOKEN_USER_DEFINED);
    assert_int_equal((int)uqff_vocabulary_token(o.vocabulary, 5).score, -1000);
    close_opened(&o);
}

/* ---- names of split rules -------------------------------------------------------------------- */

#define LLAMA3                                                                                     \
    "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"               \
    "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "                                      \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|"                                                     \
    "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, \"behavior\": \"Isolated\"}"
#define WITH_BOS                                                                                   \
    "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "      \
    "{\"id\": \"a\"}}, {\"Sequence\": {\"id\": \"A\"}}]}, "
#define DIGITS(one) "{\"type\": \"Digits\", \"individual_digits\": " one "}"
#define GPT2 ", {\"type\": \"ByteLevel\", \"add_prefix_space\": false}"

/* Names that share a rule are told apart by BOS, or by a token. */
static void test_names_of_split_rules(void **state) {
    static const struct {
        const char *post, *rule, *tokens, *name;
    } cases[] = {
        {WITH_BOS, LLAMA3, "", "llama-bpe"},
        {"", LLAMA3, "", "smaug-bpe"},
        {"", DIGITS("true") GPT2, ", \"<fim_prefix>\": 1", "starcoder"},
        {"", DIGITS("true") GPT2, "", "smollm"},
        {"", DIGITS("false") GPT2, "", "default"}, /* none that has a name */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqff_buffer json = {0};
        struct opened o;
        const char *path = scratch_file("named.json");
        uqff_buffer_printf(&json,
                           "{%s\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [%s, "
                           "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": "
                           "false}]}, \"model\": {\"vocab\": {\"a\": 0%s}}}",
                           cases[i].post, cases[i].rule, cases[i].tokens);
        write_file(path, json.data, json.size);
        uqff_buffer_free(&json);
        assert_ok(open_vocabulary(&o, path), &o.err);
        assert_string_equal(o.info->pre, cases[i].name);
        assert_int_equal(o.info->pre_known, strcmp(cases[i].name, "default") != 0);
        close_opened(&o);
    }
}

/* ---- the files beside it --------------------------------------------------------------------- */

static char folder[512];

static void put_file(const char *name, const char *text) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_file(path, text, strlen(text));
}

static void enter_folder(void) {
    static int number;
    char name[32];
    snprintf(name, sizeof name, "beside%d", number++);
    snprintf(folder, sizeof folder, "%s", scratch_file(name));
    assert_int_equal(mkdir(folder, 0777), 0);
}

static enum uqff_code open_in_folder(struct opened *o) {
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    return open_vocabulary(o, path);
}

#define BESIDE                                                                                     \
    "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true}, {\"id\": 2, "       \
    "\"content\": \"</s>\", \"special\": true}, {\"id\": 3, \"content\": \"<|im_end|>\", "         \
    "\"special\": true}], \"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"post_processor\": "      \
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, "      \
    "{\"Sequence\": {\"id\": \"A\"}}]}, \"model\": {\"vocab\": {\"a\": 0}}}"

static void test_settings(void **state) {
    struct opened o;
    (void)state;
    enter_folder();
    put_file("tokenizer.json", BESIDE);
    put_file("tokenizer_config.json",
             "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"</s>\", \"lstrip\": false}, "
             "\"pad_token\": null, \"unk_token\": \"<none>\", \"add_eos_token\": true, "
             "\"chat_template\": [{\"name\": \"tool\", \"template\": \"T\"}, {\"name\": "
             "\"default\", \"template\": \"D\"}], \"model_max_length\": 1e30}");
    assert_ok(open_in_folder(&o), &o.err);
    assert_int_equal(o.info->bos, 1);
    assert_int_equal(o.info->eos, 2);
    assert_int_equal(o.info->padding, UQFF_NO_TOKEN);
    assert_int_equal(o.info->eot, 3); /* by its text */
    assert_true(o.info->add_bos && o.info->add_eos);
    assert_string_equal(o.info->chat_template, "D");
    assert_int_equal(o.info->chat_template_length, 1);
    assert_non_null(strstr(o.warnings, "'<none>': the vocabulary has no such token"));
    close_opened(&o);
    /* Settings go before the post-processor; a template of its own file before that of settings. */
    put_file("tokenizer_config.json", "{\"add_bos_token\": false, \"chat_template\": \"x\"}");
    put_file("chat_template.jinja", "{{ messages }}\n");
    assert_ok(open_in_folder(&o), &o.err);
    assert_false(o.info->add_bos);
    assert_string_equal(o.info->chat_template, "{{ messages }}\n");
    close_opened(&o);
    /* A first token that is not the one that the settings name. */
    put_file("tokenizer_config.json", "{\"bos_token\": \"</s>\"}");
    assert_ok(open_in_folder(&o), &o.err);
    assert_int_equal(o.info->bos, 2);
    assert_false(o.info->add_bos);
    assert_non_null(strstr(o.warnings, "puts '<s>' first"));
    close_opened(&o);
}

static void test_refused_settings(void **state) {
    struct opened o;
    (void)state;
    enter_folder();
    put_file("tokenizer.json", BESIDE);
    put_file("tokenizer_config.json", "[]");
    assert_fails(open_in_folder(&o), UQFF_E_FIELD, &o.err, "tokenizer_config.json");
    put_file("tokenizer_config.json", "{\"a\": 1, \"a\": 2}");
    assert_fails(open_in_folder(&o), UQFF_E_DUPLICATE, &o.err, "tokenizer_config.json");
    put_file("tokenizer_config.json", "{}");
    put_file("chat_template.jinja", "\xFF");
    assert_fails(open_in_folder(&o), UQFF_E_ENCODING, &o.err, "chat_template.jinja");
}

/* ---- from models ----------------------------------------------------------------------------- */

static void open_model(struct opened *o, struct uqff_model **model, const char *path) {
    *o = (struct opened){0};
    struct uqff_warner warner = {note_warning, o->warnings};
    assert_ok(uqff_model_open(path, NULL, model, &o->err), &o->err);
    assert_ok(uqff_vocabulary_open(*model, &warner, &o->vocabulary, &o->err), &o->err);
    o->info = uqff_vocabulary_info(o->vocabulary);
}

static void test_storyteller(void **state) {
    struct uqff_model *model = NULL;
    struct opened o;
    (void)state;
    open_model(&o, &model, test_data("storyteller"));
    assert_string_equal(o.info->pre, "llama-bpe");
    assert_int_equal(o.info->size, 1024);
    assert_int_equal(o.info->bos, 1021);
    assert_int_equal(o.info->eos, 1022);
    assert_int_equal(o.info->padding, 1023);
    assert_true(o.info->add_bos && o.info->ignore_merges);
    assert_false(o.info->add_eos);
    assert_non_null(o.info->chat_template);
    assert_string_equal(o.warnings, "");
    close_opened(&o);
    uqff_model_close(model);
}

static void test_gguf_model(void **state) {
    struct uqff_model *model = NULL;
    struct opened o;
    (void)state;
    open_model(&o, &model, bad_file("m_ok_tiny_llama.gguf"));
    assert_int_equal(o.info->kind, UQFF_VOCABULARY_SPM);
    assert_int_equal(o.info->size, 261);
    assert_int_equal(o.info->bos, 1);
    close_opened(&o);
    uqff_model_close(model);
}

/* config.json tells ids that the settings do not. */
static void test_ids_of_config(void **state) {
    static const char *const files[] = {"model.safetensors", "config.json", "tokenizer.json"};
    struct uqff_model *model = NULL;
    struct opened o;
    (void)state;
    enter_folder();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        char name[64], path[1024];
        snprintf(name, sizeof name, "storyteller/%s", files[i]);
        char *bytes = (char *)read_file(test_data(name), &size);
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        write_file(path, bytes, size);
        free(bytes);
    }
    open_model(&o, &model, folder);
    assert_int_equal(o.info->bos, 1021);
    assert_int_equal(o.info->eos, 1022);
    assert_true(o.info->add_bos); /* as the post-processor says */
    close_opened(&o);
    uqff_model_close(model);
}

static void test_model_without(void **state) {
    struct uqff_model *model = NULL;
    struct uqff_vocabulary *v = NULL;
    struct uqff_error err;
    size_t size;
    char path[1024];
    (void)state;
    enter_folder();
    char *bytes = (char *)read_file(test_data("storyteller/model.safetensors"), &size);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    write_file(path, bytes, size);
    free(bytes);
    bytes = (char *)read_file(test_data("storyteller/config.json"), NULL);
    put_file("config.json", bytes);
    free(bytes);
    assert_ok(uqff_model_open(folder, NULL, &model, &err), &err);
    assert_fails(uqff_vocabulary_open(model, NULL, &v, &err), UQFF_E_MISSING, &err,
                 "found no tokenizer.json, tokenizer.model or GGUF metadata");
    uqff_model_close(model);
}

static void test_failing_allocations(void **state) {
    struct uqff_model *model = NULL;
    struct uqff_error err;
    (void)state;
    assert_ok(uqff_model_open(test_data("storyteller"), NULL, &model, &err), &err);
    for (size_t n = 1;; n++) {
        struct uqff_vocabulary *v = NULL;
        fail_allocation(n);
        enum uqff_code code = uqff_vocabulary_open(model, NULL, &v, &err);
        fail_allocation(0);
        if (code == UQFF_OK) {
            uqff_vocabulary_close(v);
            break;
        }
        assert_int_equal(code, UQFF_E_MEMORY);
        assert_null(v);
    }
    uqff_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_sparse_ids),
        cmocka_unit_test(test_merges_in_any_form_and_place),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_a_rule_without_end),
        cmocka_unit_test(test_added_tokens_that_disagree),
        cmocka_unit_test(test_scores_and_spelling),
        cmocka_unit_test(test_names_of_split_rules),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_refused_settings),
        cmocka_unit_test(test_storyteller),
        cmocka_unit_test(test_gguf_model),
        cmocka_unit_test(test_ids_of_config),
        cmocka_unit_test(test_model_without),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
