/* tokenizer.json made of a GGUF's vocabulary: it tokenizes as the GGUF does. */
#include <stdio.h>

#include "pack/rebuild.h"
#include "tests/support/support.h"
#include "uqff/validation.h"

struct opened {
    struct uqff_vocabulary *vocabulary;
    struct uqff_tokenizer *tokenizer;
};

static struct opened open_path(const char *path) {
    struct opened opened = {NULL, NULL};
    struct uqff_error err;
    assert_ok(uqff_vocabulary_open_path(path, NULL, &opened.vocabulary, &err), &err);
    assert_ok(uqff_tokenizer_new(opened.vocabulary, NULL, &opened.tokenizer, &err), &err);
    return opened;
}

static void close_opened(struct opened *opened) {
    uqff_tokenizer_free(opened->tokenizer);
    uqff_vocabulary_close(opened->vocabulary);
}

/* Writes tokenizer.json and opens it again; what settings would say stands in the file itself. */
static struct opened rebuilt(const struct uqff_vocabulary *vocabulary) {
    struct uqff_buffer json = {0};
    struct uqff_error err;
    const char *path = scratch_file("tokenizer.json");
    assert_ok(uqff_rebuild_tokenizer(vocabulary, &json, &err), &err);
    assert_false(json.failed);
    write_file(path, json.data, json.size);
    uqff_buffer_free(&json);
    return open_path(path);
}

static void compare_text(const struct opened *a, const struct opened *b, const char *text,
                         size_t n) {
    for (int way = 0; way < 4; way++) {
        const struct uqff_tokenize_options options = {.add_special = way & 1,
                                                      .parse_special = (way & 2) != 0};
        uint32_t *ids[2] = {NULL, NULL};
        size_t counts[2] = {0, 0}, capacities[2] = {0, 0};
        struct uqff_error err;
        const struct uqff_tokenizer *const both[2] = {a->tokenizer, b->tokenizer};
        for (int i = 0; i < 2; i++) {
            assert_ok(uqff_tokenize(both[i], text, n, &options, &ids[i], &counts[i], &capacities[i],
                                    &err),
                      &err);
        }
        size_t at = 0;
        while (at < counts[0] && at < counts[1] && ids[0][at] == ids[1][at]) {
            at++;
        }
        if (counts[0] != counts[1] || at != counts[0]) {
            fail_msg("'%.*s': token %zu: %zu and %zu tokens", (int)(n < 200 ? n : 200), text, at,
                     counts[0], counts[1]);
        }
        for (int i = 0; i < 2; i++) {
            uqff_free(ids[i]);
        }
    }
}

static void compare_info(const struct uqff_vocabulary *a, const struct uqff_vocabulary *b) {
    const struct uqff_vocabulary_info *x = uqff_vocabulary_info(a), *y = uqff_vocabulary_info(b);
    assert_int_equal(x->kind, y->kind);
    assert_int_equal(x->size, y->size);
    assert_int_equal(x->ignore_merges, y->ignore_merges);
    assert_int_equal(x->byte_fallback, y->byte_fallback);
    assert_int_equal(x->add_bos, y->add_bos);
    assert_int_equal(x->add_eos, y->add_eos);
    assert_null(y->unsupported);
    for (uint32_t id = 0; id < x->size; id++) {
        struct uqff_token p = uqff_vocabulary_token(a, id), q = uqff_vocabulary_token(b, id);
        if (p.type != UQFF_TOKEN_UNUSED) {
            assert_int_equal(p.length, q.length);
            assert_memory_equal(p.text, q.text, p.length);
            assert_int_equal(p.added, q.added);
        }
    }
}

static const char *const texts[] = {
    "",
    " ",
    "Once upon a time there was a  small dog.",
    "It's 12345 o'clock!\n\n\tWell\r\n  then…",
    "\xC3\xA9t\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xD0\x9F\xD1\x80\xD0\xB8",
    "<s>[INST] x </s><|endoftext|><|end|> y",
    "    return a[i] == 0 ? \"x\" : 'y'; // 3.14159",
};

static void compare_all(const char *path) {
    struct opened a = open_path(path), b = rebuilt(a.vocabulary);
    compare_info(a.vocabulary, b.vocabulary);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        compare_text(&a, &b, texts[i], strlen(texts[i]));
    }
    close_opened(&a);
    close_opened(&b);
}

/* The lines of a published test file, each text ending before a line of its own. */
static void compare_published(const char *path, const char *inputs) {
    static const char mark[] = "\n__ggml_vocab_test__\n";
    size_t size = 0;
    struct opened a = open_path(path), b = rebuilt(a.vocabulary);
    char *all = read_file(inputs, &size), *copy = calloc(1, size + 1);
    memcpy(copy, all, size);
    for (char *text = copy, *end; text != NULL; text = end != NULL ? end + sizeof mark - 1 : NULL) {
        end = strstr(text, mark);
        compare_text(&a, &b, text, end != NULL ? (size_t)(end - text) : strlen(text));
    }
    free(all);
    free(copy);
    close_opened(&a);
    close_opened(&b);
}

static void published_vocabularies(void **state) {
    static const char *const names[] = {"deepseek-llm", "gpt-2", "llama-spm", "phi-3", "starcoder"};
    (void)state;
    if (extra_data("tokenizers") == NULL) {
        skip();
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[2][256];
        snprintf(path[0], sizeof path[0], "tokenizers/ggml-vocab-%s.gguf", names[i]);
        snprintf(path[1], sizeof path[1], "tokenizers/ggml-vocab-%s.gguf.inp", names[i]);
        char *gguf = strdup(extra_data(path[0]));
        compare_all(gguf);
        compare_published(gguf, extra_data(path[1]));
        free(gguf);
    }
}

/* ---- small vocabularies ---------------------------------------------------------------------- */

static void set_strings(struct uqff_gguf_layout *layout, const char *key, const char *const *texts_,
                        size_t count) {
    struct uqff_gguf_string strings[64];
    struct uqff_error err;
    for (size_t i = 0; i < count; i++) {
        strings[i] = (struct uqff_gguf_string){texts_[i], strlen(texts_[i])};
    }
    assert_ok(uqff_gguf_set_strings(layout, key, strings, count, &err), &err);
}

static void set_text(struct uqff_gguf_layout *layout, const char *key, const char *text) {
    struct uqff_error err;
    assert_ok(uqff_gguf_set_string(layout, key, text, strlen(text), &err), &err);
}

static const char *write_layout(struct uqff_gguf_layout *layout, const char *name) {
    struct uqff_buffer header = {0};
    struct uqff_error err;
    const char *path = scratch_file(name);
    assert_ok(uqff_gguf_layout_finish(layout, 0, 0, &err), &err);
    assert_ok(uqff_gguf_layout_header(layout, 0, &header, &err), &err);
    write_file(path, header.data, header.size);
    uqff_buffer_free(&header);
    uqff_gguf_layout_free(layout);
    return path;
}

/* SentencePiece: scores decide, whatever the order of ids; ties go by id; bytes stand in. */
static void pieces_by_score(void **state) {
    static const char *const pieces[] = {"<unk>",
                                         "<s>",
                                         "</s>",
                                         "<0x0A>",
                                         "\xE2\x96\x81",
                                         "a",
                                         "b",
                                         "ab",
                                         "ba",
                                         "aba",
                                         "abab",
                                         ("\xE2\x96\x81"
                                          "a"),
                                         "[PAD12]",
                                         "<x y>"};
    static const int32_t types[] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1, 1, 5, 4};
    static const float scores[] = {0, 0, 0, 0, -9, -9, -9, -2, -1, -3, -4, -1, -100, 0};
    static const char *const words[] = {"abab", "aba ab", "bab", "baab a", "x\ny", "ab<x y>ba", ""};
    enum { N = sizeof pieces / sizeof pieces[0] };
    (void)state;
    for (int prefix = 0; prefix < 2; prefix++) {
        struct uqff_gguf_layout *layout = NULL;
        struct uqff_error err;
        unsigned char raw[2][4 * N];
        assert_ok(uqff_gguf_layout_new(32, &layout, &err), &err);
        set_text(layout, "general.architecture", "llama");
        set_text(layout, "tokenizer.ggml.model", "llama");
        set_strings(layout, "tokenizer.ggml.tokens", pieces, N);
        for (size_t i = 0; i < N; i++) {
            uint32_t bits;
            memcpy(&bits, &scores[i], sizeof bits);
            uqff_store_le32(raw[0] + 4 * i, bits);
            uqff_store_le32(raw[1] + 4 * i, (uint32_t)types[i]);
        }
        assert_ok(
            uqff_gguf_set_array(layout, "tokenizer.ggml.scores", UQFF_GGUF_F32, raw[0], N, &err),
            &err);
        assert_ok(uqff_gguf_set_array(layout, "tokenizer.ggml.token_type", UQFF_GGUF_I32, raw[1], N,
                                      &err),
                  &err);
        assert_ok(uqff_gguf_set_bool(layout, "tokenizer.ggml.add_space_prefix", prefix == 1, &err),
                  &err);
        struct opened a = open_path(write_layout(layout, "spm.gguf")), b = rebuilt(a.vocabulary);
        compare_info(a.vocabulary, b.vocabulary);
        assert_int_equal(uqff_vocabulary_info(b.vocabulary)->add_prefix_space, prefix == 1);
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            compare_text(&a, &b, words[i], strlen(words[i]));
        }
        close_opened(&a);
        close_opened(&b);
    }
}

/* Merges whose parts hold a space are written as pairs. */
static void merges_with_spaces(void **state) {
    static const char *const tokens[] = {"a", "b", "a b", "\xC4\xA0", "ab", "<|end|>", "[PAD6]"};
    static const char *const merges[] = {"a b"};
    static const int32_t types[] = {1, 1, 1, 1, 1, 3, 5};
    enum { N = sizeof tokens / sizeof tokens[0] };
    struct uqff_gguf_layout *layout = NULL;
    struct uqff_error err;
    unsigned char raw[4 * N];
    (void)state;
    assert_ok(uqff_gguf_layout_new(32, &layout, &err), &err);
    set_text(layout, "general.architecture", "llama");
    set_text(layout, "tokenizer.ggml.model", "gpt2");
    set_text(layout, "tokenizer.ggml.pre", "llama-bpe");
    set_strings(layout, "tokenizer.ggml.tokens", tokens, N);
    set_strings(layout, "tokenizer.ggml.merges", merges, 1);
    for (size_t i = 0; i < N; i++) {
        uqff_store_le32(raw + 4 * i, (uint32_t)types[i]);
    }
    assert_ok(uqff_gguf_set_array(layout, "tokenizer.ggml.token_type", UQFF_GGUF_I32, raw, N, &err),
              &err);
    assert_ok(uqff_gguf_set_u64(layout, "tokenizer.ggml.bos_token_id", UQFF_GGUF_U32, 5, &err),
              &err);
    assert_ok(uqff_gguf_set_u64(layout, "tokenizer.ggml.eos_token_id", UQFF_GGUF_U32, 5, &err),
              &err);
    struct opened a = open_path(write_layout(layout, "bpe.gguf")), b = rebuilt(a.vocabulary);
    const struct uqff_vocabulary_info *info = uqff_vocabulary_info(b.vocabulary);
    assert_string_equal(info->pre, "llama-bpe");
    assert_true(info->ignore_merges);
    /* A row of the embedding that is no token does not come back as one. */
    assert_int_equal(info->size, N - 1);
    compare_text(&a, &b, "ab a<|end|>b", 12);
    close_opened(&a);
    close_opened(&b);
}

static void survives_failing_allocations(void **state) {
    struct opened a = open_path(test_data("storyteller/tokenizer.json"));
    (void)state;
    for (size_t n = 1;; n++) {
        struct uqff_buffer json = {0};
        struct uqff_error err;
        fail_allocation(n);
        enum uqff_code code = uqff_rebuild_tokenizer(a.vocabulary, &json, &err);
        bool failed = json.failed;
        fail_allocation(0);
        uqff_buffer_free(&json);
        if (code == UQFF_OK && !failed) {
            break;
        }
        assert_true(code == UQFF_OK || code == UQFF_E_MEMORY);
    }
    close_opened(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vocabularies),
        cmocka_unit_test(pieces_by_score),
        cmocka_unit_test(merges_with_spaces),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
