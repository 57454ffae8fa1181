/* digest: XXH3 and the digests of manifests behind one face. */
#include "digest.h"

#include <string.h>

enum { CHUNK = 1 << 20 };

struct digest {
    struct uqff_sha *sha;       /* of the others */
    struct uqff_hasher *hasher; /* of XXH3 */
    bool uuid;                  /* the SHA-1 is made a UUID */
};

static const char *const names[] = {"xxh3", "sha256", "sha1", "xxh64", "uuid"};

/* ef001206-dadc-5f6d-a15f-3359e577d4e5, the namespace of llama-gguf-hash. */
static const unsigned char uuid_namespace[16] = {0xef, 0x00, 0x12, 0x06, 0xda, 0xdc, 0x5f, 0x6d,
                                                 0xa1, 0x5f, 0x33, 0x59, 0xe5, 0x77, 0xd4, 0xe5};

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
        digest->uuid = algorithm == DIGEST_UUID;
        code = uqff_sha_new(names[digest->uuid ? DIGEST_SHA1 : algorithm], &digest->sha, err);
    }
    if (code != UQFF_OK) {
        uqff_free(digest);
        return code;
    }
    if (digest->uuid) {
        uqff_sha_update(digest->sha, uuid_namespace, sizeof uuid_namespace);
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

/* RFC 9562, version 5: the first 16 bytes of the digest, in which the version takes the upper half
 * of byte 6 and the variant, binary 10, the upper two bits of byte 8.
 *
 *     xxxxxxxx-xxxx-5xxx-vxxx-xxxxxxxxxxxx    v: 8, 9, a or b
 */
static void put_uuid(char out[DIGEST_TEXT], unsigned char bytes[16]) {
    static const unsigned char lengths[] = {4, 2, 2, 2, 6};
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x50);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < sizeof lengths; i++) {
        uqff_hex(out, bytes, lengths[i]);
        bytes += lengths[i];
        out += 2 * lengths[i];
        *out++ = '-';
    }
    out[-1] = '\0';
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
    if (digest->uuid) {
        put_uuid(hex, bytes);
    } else {
        uqff_hex(hex, bytes, size);
    }
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
