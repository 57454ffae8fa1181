/* The GGUF reader on real files that cannot lie here: they are looked for under UQFF_EXTRA_DATA. */
#include "test_gguf_builder.h"

static struct uqff_gguf *open_real(const char *name, struct warnings *warnings) {
    const char *path = extra_data(name);
    if (path == NULL) {
        skip();
    }
    struct uqff_gguf *file = NULL;
    struct uqff_error err;
    struct uqff_warner warner = {collect, warnings};
    assert_ok(uqff_gguf_open_path(path, &warner, &file, &err), &err);
    return file;
}

static void test_vocabularies(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t version;
        uint64_t tokens;
        const char *first;
    } files[] = {
        {"zoo/v1-vocab-llama-a.gguf", 1, 32000, "<unk>"},
        {"zoo/v3-vocab-llama-2023.gguf", 3, 32000, "<unk>"},
        {"tokenizers/ggml-vocab-deepseek-llm.gguf", 3, 102400, "!"},
        {"tokenizers/ggml-vocab-gpt-2.gguf", 3, 50257, "!"},
        {"tokenizers/ggml-vocab-llama-spm.gguf", 3, 32000, "<unk>"},
        {"tokenizers/ggml-vocab-phi-3.gguf", 3, 32064, "<unk>"},
        {"tokenizers/ggml-vocab-starcoder.gguf", 3, 49152, "<|endoftext|>"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct warnings warnings = {0};
        struct uqff_gguf *file = open_real(files[i].name, &warnings);
        assert_string_equal(warnings.text, "");
        assert_int_equal(uqff_gguf_file_version(file), files[i].version);
        assert_int_equal(uqff_gguf_tensor_count(file), 0);
        const struct uqff_gguf_value *tokens = uqff_gguf_find_value(file, "tokenizer.ggml.tokens");
        assert_non_null(tokens);
        assert_int_equal(tokens->as.array.kind, UQFF_GGUF_STRING);
        assert_int_equal(tokens->as.array.count, files[i].tokens);
        struct uqff_gguf_iterator iterator = uqff_gguf_iterate(file, tokens);
        struct uqff_gguf_value v;
        uint64_t n = 0;
        while (uqff_gguf_next(&iterator, &v)) {
            if (n++ == 0) {
                assert_int_equal(v.as.string.length, strlen(files[i].first));
                assert_memory_equal(v.as.string.bytes, files[i].first, v.as.string.length);
            }
        }
        assert_int_equal(n, files[i].tokens);
        uqff_gguf_close(file);
    }
}

static void test_models(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t blocks;
    } files[] = {
        {"models/stories260K/gguf/stories260K-f32.gguf", 5},
        {"models/tinystories-656k-f32/gguf/tinystories-656k-f32.gguf", 2},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct warnings warnings = {0};
        struct uqff_gguf *file = open_real(files[i].name, &warnings);
        assert_string_equal(warnings.text, "");
        struct uqff_error err;
        struct uqff_gguf_string architecture = {0};
        uint64_t blocks = 0;
        bool found;
        assert_ok(uqff_gguf_get_string(file, "general.architecture", &found, &architecture, &err),
                  &err);
        assert_true(found && architecture.length == 5);
        assert_memory_equal(architecture.bytes, "llama", 5);
        assert_ok(uqff_gguf_get_u64(file, "llama.block_count", 1000, &found, &blocks, &err), &err);
        assert_true(found);
        assert_int_equal(blocks, files[i].blocks);
        const struct uqff_gguf_tensor *embedding = uqff_gguf_find_tensor(file, "token_embd.weight");
        assert_non_null(embedding);
        assert_int_equal(embedding->type, UQFF_TYPE_F32);
        assert_int_equal(embedding->bytes, embedding->ne[0] * embedding->ne[1] * 4);
        uqff_gguf_close(file);
    }
}

/* An early writer's experiment: kind 13 for objects. */
static void test_malformed(void **state) {
    (void)state;
    const char *path = extra_data("zoo/malformed-v3-test_writer.gguf");
    if (path == NULL) {
        skip();
    }
    struct uqff_gguf *file = NULL;
    struct uqff_error err;
    assert_fails(uqff_gguf_open_path(path, NULL, &file, &err), UQFF_E_FIELD, &err,
                 "key 'dict1': the kind of the value is 13, expected 0 to 12");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
