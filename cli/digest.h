/* Digests of files and of parts of them. */
#ifndef UQFF_CLI_DIGEST_H
#define UQFF_CLI_DIGEST_H

#include "command.h"

enum algorithm {
    DIGEST_XXH3,
    DIGEST_SHA256,
    DIGEST_SHA1,
    DIGEST_XXH64,
    DIGEST_UUID, /* version 5: of SHA-1, in llama.cpp's namespace; of all tensors together only */
    DIGEST_COUNT
};

const char *digest_name(enum algorithm algorithm); /* "xxh3", "sha256", … */

#define DIGEST_TEXT 65 /* the longest, as text, with its NUL */

/* A running digest. */
struct digest;
enum uqff_code digest_new(enum algorithm algorithm, struct digest **out,
                          struct uqff_error *err) UQFF_MUST_CHECK;
void digest_update(struct digest *digest, const void *bytes, size_t n);
void digest_final(struct digest *digest, char hex[DIGEST_TEXT]);
void digest_free(struct digest *digest); /* NULL is fine */

/* Feeds a range of a source to `count` digests. *done grows by its bytes and is reported. */
enum uqff_code digest_range(struct uqff_source *source, uint64_t offset, uint64_t bytes,
                            struct digest *const *digests, size_t count,
                            const struct uqff_progress *progress, uint64_t *done, uint64_t total,
                            struct uqff_error *err) UQFF_MUST_CHECK;

#endif
