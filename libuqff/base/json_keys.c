#include <string.h>

#include "base/json.h"
#include "base/text.h"

/* Up to this many keys a look at each is quicker than an index. */
enum { SMALL_OBJECT = 16, FIRST_BITS = 6 };

static bool same(const struct uqff_digest *a, const struct uqff_digest *b) {
    return uqff_load_native64(a->bytes) == uqff_load_native64(b->bytes) &&
           uqff_load_native64(a->bytes + 8) == uqff_load_native64(b->bytes + 8);
}

/* Multiplying by an odd number that the text's author cannot know takes the top bits from all bits
 * below them, so keys made to share some bits of their digests do not share a slot. */
static size_t home(const struct uqff_digest *digest, uint64_t secret, unsigned bits) {
    return (size_t)(uqff_load_native64(digest->bytes) * secret >> (64 - bits));
}

/* The slot where `digest` is, or the free one where it belongs. */
static uint32_t *find_slot(const struct uqff_json_index *index, const struct uqff_digest *own,
                           const struct uqff_digest *digest, uint64_t secret) {
    size_t mask = ((size_t)1 << index->bits) - 1;
    size_t i = home(digest, secret, index->bits);
    while (index->slots[i] != 0 && !same(&own[index->slots[i] - 1], digest)) {
        i = (i + 1) & mask;
    }
    return &index->slots[i];
}

/* Makes the index twice as large, or a first one, over the `count` digests at `own`. Only what is
 * used gets cleared: one wide object does not slow down all that follow in its place. */
static enum uqff_code rebuild(struct uqff_json_index *index, const struct uqff_digest *own,
                              size_t count, uint64_t secret, struct uqff_error *err) {
    unsigned bits = index->bits == 0 ? FIRST_BITS : index->bits + 1;
    void *slots = index->slots;
    enum uqff_code code =
        uqff_grow(&slots, &index->capacity, (size_t)1 << bits, sizeof(uint32_t), err);
    if (code != UQFF_OK) {
        return code;
    }
    index->slots = slots;
    index->bits = bits;
    memset(slots, 0, sizeof(uint32_t) << bits);
    for (size_t i = 0; i < count; i++) {
        *find_slot(index, own, &own[i], secret) = (uint32_t)(i + 1);
    }
    return UQFF_OK;
}

enum uqff_code uqff_json_keys_add(struct uqff_json_keys *keys, struct uqff_json_index *index,
                                  size_t first, uint64_t secret, const char *key, size_t n,
                                  bool *duplicate, struct uqff_error *err) {
    struct uqff_digest digest = uqff_hash(key, n);
    void *digests = keys->digests;
    enum uqff_code code = uqff_grow(&digests, &keys->capacity, keys->count + 1, sizeof digest, err);
    if (code != UQFF_OK) {
        return code;
    }
    keys->digests = digests;
    struct uqff_digest *own = keys->digests + first;
    size_t count = keys->count - first;

    *duplicate = false;
    if (count < SMALL_OBJECT) {
        for (size_t i = 0; i < count; i++) {
            *duplicate = *duplicate || same(&own[i], &digest);
        }
    } else {
        if (count > UINT32_MAX - 2) {
            return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET, "an object has over 2^32 keys");
        }
        /* At most half full. */
        if (index->bits == 0 || count >= (size_t)1 << (index->bits - 1)) {
            code = rebuild(index, own, count, secret, err);
            if (code != UQFF_OK) {
                return code;
            }
        }
        uint32_t *slot = find_slot(index, own, &digest, secret);
        *duplicate = *slot != 0;
        *slot = (uint32_t)(count + 1);
    }
    own[count] = digest;
    keys->count++;
    return UQFF_OK;
}
