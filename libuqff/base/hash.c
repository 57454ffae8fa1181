#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

/* The state's layout is stable since 0.8.0; knowing it lets uqff's allocator hold it. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>
#ifdef UQFF_XXHASH_DISPATCH
#include <xxh_x86dispatch.h> /* the same names, for what suits the processor */
#endif

#include "uqff/base.h"

static struct uqff_digest to_digest(XXH128_hash_t hash) {
    struct uqff_digest digest;
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, hash);
    memcpy(digest.bytes, canonical.digest, sizeof digest.bytes);
    return digest;
}

/* xxHash looks at the processor when it is first given bytes, and knows nothing of threads. */
static void settle_dispatch(void) {
#ifdef UQFF_XXHASH_DISPATCH
    XXH3_state_t state = {0};
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, "", 0);
#endif
}

static void prepare(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, settle_dispatch);
}

struct uqff_digest uqff_hash(const void *bytes, size_t n) {
    prepare();
    return to_digest(XXH3_128bits(n == 0 ? "" : bytes, n));
}

/* Allocated aligned: the state holds vectors. */
struct uqff_hasher {
    XXH3_state_t state;
};

struct uqff_hasher *uqff_hasher_new(void) {
    prepare();
    struct uqff_hasher *hasher = uqff_alloc_aligned(sizeof *hasher);
    if (hasher != NULL) {
        memset(hasher, 0, sizeof *hasher);
        uqff_hasher_reset(hasher);
    }
    return hasher;
}

void uqff_hasher_reset(struct uqff_hasher *hasher) {
    XXH3_128bits_reset(&hasher->state);
}

void uqff_hasher_update(struct uqff_hasher *hasher, const void *bytes, size_t n) {
    if (n > 0) {
        XXH3_128bits_update(&hasher->state, bytes, n);
    }
}

struct uqff_digest uqff_hasher_digest(const struct uqff_hasher *hasher) {
    return to_digest(XXH3_128bits_digest(&hasher->state));
}

void uqff_hasher_free(struct uqff_hasher *hasher) {
    uqff_free_aligned(hasher);
}

bool uqff_digest_equal(const struct uqff_digest *a, const struct uqff_digest *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* ---- message digests ------------------------------------------------------------------------- */

struct uqff_sha {
    EVP_MD_CTX *context; /* NULL: XXH64 */
    XXH64_state_t xxh64;
};

static const struct {
    const char *name;
    const EVP_MD *(*make)(void);
} algorithms[] = {
    {"sha1", EVP_sha1},
    {"sha256", EVP_sha256},
};

enum uqff_code uqff_sha_new(const char *algorithm, struct uqff_sha **out, struct uqff_error *err) {
    const EVP_MD *method = NULL;
    const bool xxh64 = strcmp(algorithm, "xxh64") == 0;
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        if (strcmp(algorithms[i].name, algorithm) == 0) {
            method = algorithms[i].make();
        }
    }
    if (method == NULL && !xxh64) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "unknown digest '%s', expected sha1, sha256 or xxh64", algorithm);
    }
    struct uqff_sha *sha = uqff_alloc_array(1, sizeof *sha);
    if (sha == NULL) {
        return uqff_fail_memory(err);
    }
    if (xxh64) {
        XXH64_reset(&sha->xxh64, 0);
        *out = sha;
        return UQFF_OK;
    }
    sha->context = EVP_MD_CTX_new();
    if (sha->context == NULL) {
        uqff_sha_free(sha);
        return uqff_fail_memory(err);
    }
    if (EVP_DigestInit_ex(sha->context, method, NULL) != 1) {
        uqff_sha_free(sha);
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "digest '%s' is switched off in this system's OpenSSL", algorithm);
    }
    *out = sha;
    return UQFF_OK;
}

void uqff_sha_update(struct uqff_sha *sha, const void *bytes, size_t n) {
    /* Cannot fail between a good init and the final: no provider checks anything here. */
    if (n > 0 && sha->context == NULL) {
        XXH64_update(&sha->xxh64, bytes, n);
    } else if (n > 0) {
        EVP_DigestUpdate(sha->context, bytes, n);
    }
}

void uqff_sha_final(struct uqff_sha *sha, unsigned char out[32], size_t *size) {
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    unsigned length = 0;
    if (sha->context == NULL) {
        XXH64_canonical_t canonical;
        XXH64_canonicalFromHash(&canonical, XXH64_digest(&sha->xxh64));
        memcpy(out, canonical.digest, sizeof canonical.digest);
        *size = sizeof canonical.digest;
        return;
    }
    EVP_DigestFinal_ex(sha->context, digest, &length);
    *size = length < 32 ? length : 32;
    memcpy(out, digest, *size);
}

void uqff_sha_free(struct uqff_sha *sha) {
    if (sha != NULL) {
        EVP_MD_CTX_free(sha->context);
        uqff_free(sha);
    }
}

void uqff_hex(char *out, const void *bytes, size_t n) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

bool uqff_unhex(void *out, const char *hex, size_t n) {
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(hex[2 * i]);
        /* The second digit is not looked at behind a NUL. */
        int low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        p[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}
