/* Opens vocabularies and tokenizers from files or from text, and compares ids. */
#ifndef UQFF_TEST_TOKENIZER_BUILDER_H
#define UQFF_TEST_TOKENIZER_BUILDER_H

#include <stdio.h>

#include "support/support.h"
#include "uqff/validation.h"

struct opened {
    struct uqff_vocabulary *vocabulary;
    struct uqff_tokenizer *tokenizer;
    const struct uqff_vocabulary_info *info;
    char warnings[4096];
    struct uqff_error err;
};

static inline void note_warning(void *context, const char *text) {
    char *warnings = (char *)context;
    size_t used = strlen(warnings);
    snprintf(warnings + used, 4096 - used, "%s\n", text);
}

static inline void close_opened(struct opened *o) {
    uqff_tokenizer_free(o->tokenizer);
    uqff_vocabulary_close(o->vocabulary);
}

static inline enum uqff_code open_vocabulary(struct opened *o, const char *path) {
    *o = (struct opened){0};
    struct uqff_warner warner = {note_warning, o->warnings};
    enum uqff_code code = uqff_vocabulary_open_path(path, &warner, &o->vocabulary, &o->err);
    if (code == UQFF_OK) {
        o->info = uqff_vocabulary_info(o->vocabulary);
    }
    return code;
}

/* Vocabulary and tokenizer; closes what is open when that fails. */
static inline enum uqff_code open_both(struct opened *o, const char *path) {
    enum uqff_code code = open_vocabulary(o, path);
    if (code == UQFF_OK) {
        struct uqff_warner warner = {note_warning, o->warnings};
        code = uqff_tokenizer_new(o->vocabulary, &warner, &o->tokenizer, &o->err);
    }
    if (code != UQFF_OK) {
        close_opened(o);
    }
    return code;
}

static inline void must_open(struct opened *o, const char *path) {
    assert_ok(open_both(o, path), &o->err);
}

/* The same from the text of a tokenizer.json; quotes are written as '. */
static inline const char *json_file(const char *text) {
    const char *path = scratch_file("tokenizer-of-test.json");
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *p = copy; *p != 0; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    write_file(path, copy, strlen(copy));
    free(copy);
    return path;
}

static inline void must_open_json(struct opened *o, const char *text) {
    must_open(o, json_file(text));
}

/* Ids as "1 2 3". */
static inline void ids_of(const struct opened *o, const char *text, size_t n,
                          struct uqff_tokenize_options options, struct uqff_buffer *out) {
    struct uqff_error err;
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    assert_ok(uqff_tokenize(o->tokenizer, text, n, &options, &ids, &count, &capacity, &err), &err);
    out->size = 0;
    uqff_buffer_append(out, "", 0);
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_printf(out, "%s%u", i == 0 ? "" : " ", ids[i]);
    }
    uqff_free(ids);
}

#define PLAIN ((struct uqff_tokenize_options){false, false})
#define SPECIAL ((struct uqff_tokenize_options){true, true})
#define PARSED ((struct uqff_tokenize_options){false, true})

static inline void assert_ids(const struct opened *o, const char *text,
                              struct uqff_tokenize_options options, const char *expected) {
    struct uqff_buffer found = {0};
    ids_of(o, text, strlen(text), options, &found);
    assert_string_equal(found.size == 0 ? "" : found.data, expected);
    uqff_buffer_free(&found);
}

/* Text to ids and back. */
static inline void assert_round_trip(const struct opened *o, const char *text, size_t n) {
    struct uqff_error err;
    struct uqff_buffer back = {0};
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    assert_ok(uqff_tokenize(o->tokenizer, text, n, NULL, &ids, &count, &capacity, &err), &err);
    assert_ok(uqff_detokenize(o->tokenizer, ids, count, false, &back, &err), &err);
    assert_int_equal(back.size, n);
    if (n != 0) {
        assert_memory_equal(back.data, text, n);
    }
    uqff_buffer_free(&back);
    uqff_free(ids);
}

#endif
