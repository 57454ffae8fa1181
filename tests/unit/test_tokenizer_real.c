/* Tokenizers of published models: every text has the ids that the models' own programs give it. */
#include "test_tokenizer_builder.h"

#define SEPARATOR "\n__ggml_vocab_test__\n"

/* Texts of NAME.inp, ids of NAME.out, a line each. */
static size_t check_lines(const struct opened *o, const char *name, bool round_trips) {
    size_t size, cases = 0;
    char path[256];
    snprintf(path, sizeof path, "tokenizers/%s.inp", name);
    char *texts = (char *)read_file(extra_data(path), &size);
    snprintf(path, sizeof path, "tokenizers/%s.out", name);
    char *lines = (char *)read_file(extra_data(path), NULL);
    const char *text = texts, *end = texts + size;
    for (char *line = strtok(lines, "\n"); text < end; cases++) {
        const char *next = strstr(text, SEPARATOR);
        size_t n = (size_t)((next == NULL ? end : next) - text);
        struct uqff_buffer found = {0};
        ids_of(o, text, n, PLAIN, &found);
        if (n == 0) { /* strtok passes over the empty line that it has */
            assert_int_equal(found.size, 0);
        } else {
            assert_non_null(line);
            size_t length = strlen(line);
            while (length > 0 && line[length - 1] == ' ') {
                line[--length] = 0;
            }
            assert_string_equal(found.data, line + strspn(line, " "));
            line = strtok(NULL, "\n");
        }
        if (round_trips) {
            assert_round_trip(o, text, n);
        }
        uqff_buffer_free(&found);
        text = next == NULL ? end : next + strlen(SEPARATOR);
    }
    free(texts);
    free(lines);
    return cases;
}

static void test_every_line_is_equal(void **state) {
    static const struct {
        const char *file, *lines;
    } cases[] = {
        {"tokenizers/ggml-vocab-gpt-2.gguf", "ggml-vocab-gpt-2.gguf"},
        {"tokenizers/ggml-vocab-starcoder.gguf", "ggml-vocab-starcoder.gguf"},
        {"tokenizers/ggml-vocab-deepseek-llm.gguf", "ggml-vocab-deepseek-llm.gguf"},
        {"tokenizers/ggml-vocab-llama-spm.gguf", "ggml-vocab-llama-spm.gguf"},
        {"tokenizers/ggml-vocab-phi-3.gguf", "ggml-vocab-phi-3.gguf"},
        {"tokenizers/phi-3-mini/tokenizer.json", "ggml-vocab-phi-3.gguf"},
        {"tokenizers/llama2-spm/tokenizer.model", "ggml-vocab-llama-spm.gguf"},
        {"zoo/v1-vocab-llama-a.gguf", "ggml-vocab-llama-spm.gguf"},
        {"zoo/v3-vocab-llama-2023.gguf", "ggml-vocab-llama-spm.gguf"},
    };
    (void)state;
    if (extra_data("tokenizers") == NULL) {
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct opened o;
        must_open(&o, extra_data(cases[i].file));
        assert_int_equal(check_lines(&o, cases[i].lines, true), 46);
        close_opened(&o);
    }
}

/* tokenizer.json made of GPT-2's vocab.json and merges.txt. */
static const char *gpt2_json(void) {
    const char *path = scratch_file("gpt2.json");
    struct uqff_buffer json = {0};
    char *vocab = (char *)read_file(extra_data("tokenizers/gpt2/vocab.json"), NULL);
    char *merges = (char *)read_file(extra_data("tokenizers/gpt2/merges.txt"), NULL);
    bool first = true;
    uqff_buffer_printf(&json,
                       "{\"added_tokens\": [{\"id\": 50256, \"content\": \"<|endoftext|>\", "
                       "\"special\": true, \"normalized\": true}], \"pre_tokenizer\": {\"type\": "
                       "\"ByteLevel\", \"add_prefix_space\": false}, \"decoder\": {\"type\": "
                       "\"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [");
    for (char *line = strtok(merges, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
        if (strncmp(line, "#version", 8) != 0) { /* merges come before the vocabulary here */
            uqff_buffer_printf(&json, first ? "" : ", ");
            uqff_buffer_json_string(&json, line, strlen(line));
            first = false;
        }
    }
    uqff_buffer_printf(&json, "], \"vocab\": ");
    uqff_buffer_append(&json, vocab, strlen(vocab));
    uqff_buffer_printf(&json, "}}");
    assert_false(json.failed);
    write_file(path, json.data, json.size);
    uqff_buffer_free(&json);
    free(vocab);
    free(merges);
    return path;
}

static void expect(struct uqff_json *json, enum uqff_json_kind kind,
                   struct uqff_json_event *event) {
    struct uqff_error err;
    assert_ok(uqff_json_expect(json, kind, "case", event, &err), &err);
}

/* {"text": …, "ids": […]} */
static void check_case(const struct opened *o, struct uqff_json *json) {
    struct uqff_error err;
    struct uqff_json_event event;
    struct uqff_buffer expected = {0}, found = {0};
    expect(json, UQFF_JSON_KEY, &event);
    expect(json, UQFF_JSON_STRING, &event);
    ids_of(o, event.text, event.length, PARSED, &found);
    assert_round_trip(o, event.text, event.length);
    expect(json, UQFF_JSON_KEY, &event);
    expect(json, UQFF_JSON_ARRAY, &event);
    for (;;) {
        assert_ok(uqff_json_next(json, &event, &err), &err);
        if (event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        uqff_buffer_printf(&expected, "%s%.*s", expected.size == 0 ? "" : " ", (int)event.length,
                           event.text);
    }
    assert_int_equal(found.size, expected.size);
    if (found.size != 0) {
        assert_string_equal(found.data, expected.data);
    }
    expect(json, UQFF_JSON_OBJECT_END, &event);
    uqff_buffer_free(&expected);
    uqff_buffer_free(&found);
}

static void test_gpt2_equals_hugging_faces(void **state) {
    (void)state;
    if (extra_data("tokenizers") == NULL) {
        skip();
    }
    struct opened o;
    struct uqff_error err;
    struct uqff_json *json = NULL;
    struct uqff_json_event event;
    size_t size, cases = 0;
    char *text = (char *)read_file(extra_data("tokenizers/gpt2/hf_cases_ember.json"), &size);
    must_open(&o, gpt2_json());
    assert_string_equal(o.info->pre, "gpt-2");
    assert_int_equal(check_lines(&o, "ggml-vocab-gpt-2.gguf", true), 46);
    assert_ok(uqff_json_open(text, size, "cases", 0, 0, &json, &err), &err);
    do {
        assert_ok(uqff_json_next(json, &event, &err), &err);
    } while (event.kind != UQFF_JSON_ARRAY);
    for (;; cases++) {
        assert_ok(uqff_json_next(json, &event, &err), &err);
        if (event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        check_case(&o, json);
    }
    assert_true(cases > 15);
    uqff_json_close(json);
    close_opened(&o);
    free(text);
}

/* The same vocabulary in several containers gives the same ids, also for a long text, whose words
 * are kept, and for texts of special tokens. */
static void test_containers_agree(void **state) {
    static const struct {
        const char *a, *b;
    } cases[] = {
        {"tokenizers/phi-3-mini/tokenizer.json", "tokenizers/ggml-vocab-phi-3.gguf"},
        {"tokenizers/llama2-spm/tokenizer.model", "tokenizers/ggml-vocab-llama-spm.gguf"},
        {"models/stories260K/hf/tokenizer.json", "models/stories260K/gguf/stories260K-f32.gguf"},
        {"models/stories260K/hf/tokenizer.model", "models/stories260K/hf/tokenizer.json"},
    };
    static const char special[] = "<|user|>\n Hi <|end|>  \n<|assistant|>x</s> <s> y<unk><|end|>";
    (void)state;
    if (extra_data("tokenizers") == NULL) {
        skip();
    }
    size_t size;
    char *text = (char *)read_file(extra_data("text/slice64k_clean.txt"), &size);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct opened a, b;
        struct uqff_buffer x = {0}, y = {0};
        must_open(&a, extra_data(cases[i].a));
        must_open(&b, extra_data(cases[i].b));
        ids_of(&a, text, size, PLAIN, &x);
        ids_of(&b, text, size, PLAIN, &y);
        assert_string_equal(x.data, y.data);
        assert_round_trip(&a, text, size);
        if (i < 2) { /* the others' vocabularies lack these tokens in one container */
            ids_of(&a, special, strlen(special), PARSED, &x);
            ids_of(&b, special, strlen(special), PARSED, &y);
            assert_string_equal(x.data, y.data);
        }
        uqff_buffer_free(&x);
        uqff_buffer_free(&y);
        close_opened(&a);
        close_opened(&b);
    }
    free(text);
}

/* Words that are kept, cuts between words and the heap change nothing: a text as a whole equals the
 * same text line by line where lines are pieces of their own. */
static void test_long_texts_equal_their_lines(void **state) {
    (void)state;
    if (extra_data("tokenizers") == NULL) {
        skip();
    }
    size_t size;
    struct opened o;
    struct uqff_error err;
    uint32_t *ids = NULL, *all = NULL;
    size_t count = 0, capacity = 0, all_count = 0, all_capacity = 0;
    char *text = (char *)read_file(extra_data("text/slice64k_clean.txt"), &size);
    must_open(&o, extra_data("tokenizers/ggml-vocab-gpt-2.gguf"));
    assert_ok(uqff_tokenize(o.tokenizer, text, size, NULL, &all, &all_count, &all_capacity, &err),
              &err);
    for (size_t at = 0, n; at < size; at += n) {
        /* Cut in front of a letter behind a line end: a piece begins there. */
        for (n = 1; at + n < size; n++) {
            if (text[at + n - 1] == '\n' && text[at + n] >= 'A' && text[at + n] <= 'z' &&
                (at + n < 2 || text[at + n - 2] != '\n')) {
                break;
            }
        }
        assert_ok(uqff_tokenize(o.tokenizer, text + at, n, NULL, &ids, &count, &capacity, &err),
                  &err);
    }
    assert_int_equal(count, all_count);
    assert_memory_equal(ids, all, count * sizeof *ids);
    uqff_free(ids);
    uqff_free(all);
    close_opened(&o);
    free(text);
}

static void test_storyteller(void **state) {
    struct opened o;
    size_t size;
    char *text = (char *)read_file(test_data("storyteller/valid.txt"), &size);
    (void)state;
    must_open(&o, test_data("storyteller/tokenizer.json"));
    assert_string_equal(o.warnings, "");
    assert_round_trip(&o, text, size);
    assert_ids(&o, "", SPECIAL, "1021");
    assert_ids(&o, "<|end_of_text|>", PARSED, "1022");
    close_opened(&o);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_line_is_equal),
        cmocka_unit_test(test_gpt2_equals_hugging_faces),
        cmocka_unit_test(test_containers_agree),
        cmocka_unit_test(test_long_texts_equal_their_lines),
        cmocka_unit_test(test_storyteller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
