/* digest: XXH3 and the digests of manifests behind one face. */
#include "digest.h"

#include <string.h>

enum { CHUNK = 1 << 20 };

struct digest {
    struct uqff_sha *sha;       /* of the others */
    struct uqff_hasher *hasher; /* of XXH3 */
};

static const char *const names[] = {"xxh3", "sha256", "sha1", "xxh64"};

const char *digest_name(enum algorithm algorithm) {
    return names[algorithm];
}

enum uqff_code digest_new(enum algorithm algorithm, struct digest **out, struct uqff_error *err) {
    struct digest *digest = uqff_alloc_array(1, sizeof *digest);
    if (digest == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    if (algorithm == DIGEST_XXH3) {
        digest->hasher = uqff_hasher_new();
        code = digest->hasher == NULL ? uqff_fail_memory(err) : UQFF_OK;
    } else {
        code = uqff_sha_new(names[algorithm], &digest->sha, err);
    }
    if (code != UQFF_OK) {
        uqff_free(digest);
        return code;
    }
    *out = digest;
    return UQFF_OK;
}

void digest_update(struct digest *digest, const void *bytes, size_t n) {
    if (digest->hasher != NULL) {
        uqff_hasher_update(digest->hasher, bytes, n);
    } else {
        uqff_sha_update(digest->sha, bytes, n);
    }
}

void digest_final(struct digest *digest, char hex[DIGEST_TEXT]) {
    if (digest->hasher != NULL) {
        const struct uqff_digest result = uqff_hasher_digest(digest->hasher);
        uqff_hex(hex, result.bytes, sizeof result.bytes);
        return;
    }
    unsigned char bytes[32];
    size_t size;
    uqff_sha_final(digest->sha, bytes, &size);
    uqff_hex(hex, bytes, size);
}

void digest_free(struct digest *digest) {
    if (digest == NULL) {
        return;
    }
    if (digest->hasher != NULL) {
        uqff_hasher_free(digest->hasher);
    } else {
        uqff_sha_free(digest->sha);
    }
    uqff_free(digest);
}

enum uqff_code digest_range(struct uqff_source *source, uint64_t offset, uint64_t bytes,
                            struct digest *const *digests, size_t count,
                            const struct uqff_progress *progress, uint64_t *done, uint64_t total,
                            struct uqff_error *err) {
    void *chunk = uqff_alloc(CHUNK);
    enum uqff_code code = chunk == NULL ? uqff_fail_memory(err) : UQFF_OK;
    while (bytes > 0 && code == UQFF_OK) {
        const size_t n = bytes < CHUNK ? (size_t)bytes : CHUNK;
        code = uqff_source_read(source, offset, chunk, n, err);
        for (size_t i = 0; i < count && code == UQFF_OK; i++) {
            digest_update(digests[i], chunk, n);
        }
        offset += n;
        bytes -= n;
        *done += n;
        if (code == UQFF_OK) {
            code = uqff_progress_update(progress, "hash", *done, total, err);
        }
    }
    uqff_free(chunk);
    return code;
}
