/* Models and texts for tests that run one: what each of them begins with. */
#ifndef UQFF_TEST_TEXT_H
#define UQFF_TEST_TEXT_H

#include "tests/support/support.h"
#include "uqff/validation.h"

/* The tokens of a file, without its last line break; ids are freed with uqff_free. */
struct text {
    uint32_t *ids;
    size_t count, capacity;
    uint32_t bos;
    bool add_bos;
};

static inline struct text tokenize(const struct uqff_model *model, const char *path) {
    struct uqff_vocabulary *vocabulary;
    struct uqff_tokenizer *tokenizer;
    struct uqff_error err;
    struct text text = {0};
    const struct uqff_tokenize_options options = {.add_special = true};
    size_t size;
    char *bytes = read_file(path, &size);
    size -= bytes[size - 1] == '\n' ? 1 : 0;
    assert_ok(uqff_vocabulary_open(model, NULL, &vocabulary, &err), &err);
    assert_ok(uqff_tokenizer_new(vocabulary, NULL, &tokenizer, &err), &err);
    assert_ok(uqff_tokenize(tokenizer, bytes, size, &options, &text.ids, &text.count,
                            &text.capacity, &err),
              &err);
    text.bos = uqff_vocabulary_info(vocabulary)->bos;
    text.add_bos = uqff_vocabulary_info(vocabulary)->add_bos;
    uqff_tokenizer_free(tokenizer);
    uqff_vocabulary_close(vocabulary);
    free(bytes);
    return text;
}

static inline struct uqff_model *open_model(const char *path) {
    struct uqff_model *model;
    struct uqff_error err;
    assert_ok(uqff_model_open(path, NULL, &model, &err), &err);
    return model;
}

#endif
