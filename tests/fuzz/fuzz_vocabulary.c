/* A tokenizer file of any kind: what opens makes a tokenizer or says why not, and text that is
 * encoded and decoded keeps to the vocabulary. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "uqff/validation.h"

static void tokenize(const struct uqff_vocabulary *vocabulary) {
    static const char text[] = " Hello, world! 123 don't \xe2\x96\x81 \xf0\x9f\x98\x80\n\n<s>";
    struct uqff_tokenizer *tokenizer = NULL;
    struct uqff_error err;
    if (uqff_tokenizer_new(vocabulary, NULL, &tokenizer, &err) != UQFF_OK) {
        require_printable(&err);
        return;
    }
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    struct uqff_tokenize_options options = {.add_special = true, .parse_special = true};
    if (uqff_tokenize(tokenizer, text, sizeof text - 1, &options, &ids, &count, &capacity, &err) ==
        UQFF_OK) {
        for (size_t i = 0; i < count; i++) {
            REQUIRE(ids[i] < uqff_vocabulary_info(vocabulary)->size);
        }
        struct uqff_buffer out = {0};
        if (uqff_detokenize(tokenizer, ids, count, true, &out, &err) != UQFF_OK) {
            require_printable(&err);
        }
        uqff_buffer_free(&out);
    } else {
        require_printable(&err);
    }
    uqff_free(ids);
    uqff_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = memfd_create("fuzz", 0);
    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct uqff_vocabulary *vocabulary = NULL;
    struct uqff_error err;
    if (uqff_vocabulary_open_path(path, NULL, &vocabulary, &err) == UQFF_OK) {
        const struct uqff_vocabulary_info *info = uqff_vocabulary_info(vocabulary);
        for (uint32_t id = 0; id < info->size && id < 1000; id++) {
            struct uqff_token token = uqff_vocabulary_token(vocabulary, id);
            REQUIRE(token.length == 0 || token.text != NULL);
        }
        tokenize(vocabulary);
        uqff_vocabulary_close(vocabulary);
    } else {
        require_printable(&err);
    }
    close(fd);
    return 0;
}
