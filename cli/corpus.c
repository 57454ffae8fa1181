/* corpus: reads a text and makes tokens of it. */
#include "corpus.h"

#include <string.h>

#include "input.h"

/* A text is held whole, and its tokens take about as much again. */
#define LARGEST_TEXT ((uint64_t)4 << 30)

enum uqff_code corpus_vocabulary(const struct uqff_model *model, const char *path,
                                 const struct uqff_warner *warner, struct uqff_vocabulary **out,
                                 struct uqff_error *err) {
    if (path != NULL) {
        return uqff_vocabulary_open_path(path, warner, out, err);
    }
    enum uqff_code code = uqff_vocabulary_open(model, warner, out, err);
    if (code == UQFF_E_MISSING) {
        const size_t used = strlen(err->text);
        static const char hint[] = "; --tokenizer FILE names one";
        if (used + sizeof hint <= sizeof err->text) {
            memcpy(err->text + used, hint, sizeof hint);
        }
    }
    return code;
}

static enum uqff_code take_digest(const char *text, size_t size, char hex[65],
                                  struct uqff_error *err) {
    struct uqff_sha *sha = NULL;
    unsigned char digest[32];
    size_t n;
    enum uqff_code code = uqff_sha_new("sha256", &sha, err);
    if (code == UQFF_OK) {
        uqff_sha_update(sha, text, size);
        uqff_sha_final(sha, digest, &n);
        uqff_hex(hex, digest, n);
    }
    uqff_sha_free(sha);
    return code;
}

static enum uqff_code tokenize(const char *text, size_t size,
                               const struct uqff_vocabulary *vocabulary,
                               const struct uqff_warner *warner, struct corpus *out,
                               struct uqff_error *err) {
    const struct uqff_tokenize_options options = {.add_special = true};
    struct uqff_tokenizer *tokenizer = NULL;
    size_t capacity = 0;
    enum uqff_code code = uqff_tokenizer_new(vocabulary, warner, &tokenizer, err);
    if (code == UQFF_OK) {
        code = uqff_tokenize(tokenizer, text, size, &options, &out->tokens, &out->count, &capacity,
                             err);
        uqff_tokenizer_free(tokenizer);
    }
    return code;
}

static enum uqff_code read_file(const char *path, char **text, size_t *size,
                                struct uqff_error *err) {
    struct uqff_source *source = NULL;
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code == UQFF_OK) {
        code = uqff_source_read_all(source, LARGEST_TEXT, text, size, err);
    }
    uqff_source_close(source);
    return code;
}

static enum uqff_code read_stream(char **text, size_t *size, struct uqff_error *err) {
    struct uqff_buffer buffer = {0};
    enum uqff_code code = input_read(&buffer, LARGEST_TEXT, err);
    uqff_buffer_append(&buffer, "", 1); /* an address for a text without bytes, too */
    if (code == UQFF_OK && buffer.failed) {
        code = uqff_fail_memory(err);
    }
    if (code != UQFF_OK) {
        uqff_buffer_free(&buffer);
        return code;
    }
    *text = buffer.data;
    *size = buffer.size - 1;
    return UQFF_OK;
}

enum uqff_code corpus_read(const char *path, const struct uqff_vocabulary *vocabulary,
                           const struct uqff_warner *warner, struct corpus *out,
                           struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = uqff_vocabulary_info(vocabulary);
    *out = (struct corpus){
        .path = input_is_stream(path) ? "standard input" : path,
        .bos = info->bos,
        .add_bos = info->add_bos && info->bos != UQFF_NO_TOKEN,
    };
    char *text = NULL;
    size_t size = 0;
    enum uqff_code code =
        input_is_stream(path) ? read_stream(&text, &size, err) : read_file(path, &text, &size, err);
    if (code == UQFF_OK) {
        out->bytes = size;
        code = take_digest(text, size, out->sha256, err);
    }
    if (code == UQFF_OK) {
        size -= size > 0 && text[size - 1] == '\n';
        code = tokenize(text, size, vocabulary, warner, out, err);
    }
    uqff_free(text);
    return code;
}

void corpus_free(struct corpus *corpus) {
    uqff_free(corpus->tokens);
    corpus->tokens = NULL;
}

void corpus_put_json(const struct corpus *corpus, cJSON *document) {
    if (corpus->path == NULL) {
        json_null(document, "text");
        return;
    }
    cJSON *text = json_object(document, "text");
    json_text(text, "path", corpus->path);
    json_u64(text, "bytes", corpus->bytes);
    json_text(text, "sha256", corpus->sha256);
    json_u64(text, "tokens", corpus->count);
}
