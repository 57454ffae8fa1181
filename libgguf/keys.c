/* A key-value section by itself: metadata that travel with a model which is no GGUF any more. */
#include <string.h>

#include "internal.h"

/* ---- counting the keys ----------------------------------------------------------------------- */

/* Bytes of the section from `at` on; `at` past the size means that an entry was cut. */
struct section {
    const unsigned char *bytes;
    uint64_t size, at;
};

static uint64_t take(struct section *s, unsigned n) {
    if (s->at > s->size || s->size - s->at < n) {
        s->at = UINT64_MAX;
        return 0;
    }
    const unsigned char *p = s->bytes + s->at;
    s->at += n;
    return n == 4 ? uqff_load_le32(p) : uqff_load_le64(p);
}

static void pass_bytes(struct section *s, uint64_t count, uint64_t size) {
    uint64_t total;
    if (s->at > s->size || !uqff_mul_u64(count, size, &total) || total > s->size - s->at) {
        s->at = UINT64_MAX;
    } else {
        s->at += total;
    }
}

/* Arrays nest as deep as the reader takes them; what else is wrong, it will say. */
static void pass_values(struct section *s, uint64_t kind, uint64_t count, unsigned depth) {
    if (kind >= UQFF_GGUF_KIND_COUNT || depth > UQFF_GGUF_MAX_ARRAY_DEPTH) {
        s->at = UINT64_MAX;
        return;
    }
    unsigned size = uqff_gguf_kind_bytes((enum uqff_gguf_kind)kind);
    if (size != 0) {
        pass_bytes(s, count, size);
        return;
    }
    /* Each turn takes at least eight bytes, so the size bounds the count. */
    for (uint64_t i = 0; i < count && s->at <= s->size; i++) {
        if (kind == UQFF_GGUF_STRING) {
            pass_bytes(s, take(s, 8), 1);
        } else {
            uint64_t inner = take(s, 4);
            pass_values(s, inner, take(s, 8), depth + 1);
        }
    }
}

static enum uqff_code count_keys(const void *bytes, size_t size, const char *where, uint64_t *out,
                                 struct uqff_error *err) {
    struct section s = {bytes, size, 0};
    for (*out = 0; s.at < s.size; ++*out) {
        pass_bytes(&s, take(&s, 8), 1);
        pass_values(&s, take(&s, 4), 1, 0);
    }
    if (s.at != s.size) {
        return uqff_fail(err, UQFF_E_TRUNCATED, UQFF_NO_OFFSET,
                         "%s: key-value section: entry %llu is cut, or of a kind that is not known",
                         where, (unsigned long long)*out);
    }
    return UQFF_OK;
}

/* ---- a file around them ---------------------------------------------------------------------- */

enum { PREAMBLE = 24 };

/* Memory that the source owns. */
struct held {
    size_t size;
    unsigned char bytes[];
};

static enum uqff_code held_read(void *self, uint64_t offset, void *out, size_t n,
                                struct uqff_error *err) {
    const struct held *held = self;
    (void)err;
    memcpy(out, held->bytes + offset, n);
    return UQFF_OK;
}

static void held_close(void *self) {
    uqff_free(self);
}

enum uqff_code uqff_gguf_open_keys(const void *bytes, size_t size, const char *where,
                                   struct uqff_gguf **out, struct uqff_error *err) {
    static const struct uqff_source_ops ops = {held_read, NULL, held_close};
    struct uqff_source *source = NULL;
    uint64_t keys = 0;
    enum uqff_code code = count_keys(bytes, size, where, &keys, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct held *held = uqff_alloc(sizeof *held + PREAMBLE + size);
    if (held == NULL) {
        return uqff_fail_memory(err);
    }
    /* Magic, version 3, no tensors, the number of keys: with them in front it is a file. */
    held->size = PREAMBLE + size;
    memcpy(held->bytes, "GGUF\3\0\0\0\0\0\0\0\0\0\0\0", 16);
    uqff_store_le64(held->bytes + 16, keys);
    memcpy(held->bytes + PREAMBLE, bytes, size);
    code = uqff_source_new(&ops, held, held->size, where, &source, err);
    if (code != UQFF_OK) {
        uqff_free(held);
        return code;
    }
    return uqff_gguf_open_one(source, true, NULL, out, err);
}
