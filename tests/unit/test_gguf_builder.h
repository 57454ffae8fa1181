/* Builds GGUF files field by field, sound ones and broken ones, for the tests of the reader. */
#ifndef UQFF_TEST_GGUF_BUILDER_H
#define UQFF_TEST_GGUF_BUILDER_H

#include <stdio.h>

#include "support/support.h"
#include "uqff/gguf.h"
#include "uqff/quant.h"

struct builder {
    unsigned char *bytes;
    size_t size, capacity;
    uint32_t version;
    bool big;
};

/* Not inlined: gcc 12 follows constant sizes through realloc, wrongly, and warns. */
__attribute__((noinline)) static void put(struct builder *b, const void *bytes, size_t n) {
    if (n > b->capacity - b->size) {
        b->capacity = (b->capacity + n) * 2;
        b->bytes = (unsigned char *)realloc(b->bytes, b->capacity);
        assert_non_null(b->bytes);
    }
    if (n > 0) {
        memcpy(b->bytes + b->size, bytes, n);
    }
    b->size += n;
}

/* The low `bytes` bytes of a number, in the file's byte order. */
static inline void put_number(struct builder *b, uint64_t number, unsigned bytes) {
    unsigned char out[8];
    for (unsigned i = 0; i < bytes; i++) {
        out[b->big ? bytes - 1 - i : i] = (unsigned char)(number >> 8 * i);
    }
    put(b, out, bytes);
}
static inline void put_u8(struct builder *b, unsigned v) {
    put_number(b, v, 1);
}
static inline void put_u32(struct builder *b, uint32_t v) {
    put_number(b, v, 4);
}
static inline void put_u64(struct builder *b, uint64_t v) {
    put_number(b, v, 8);
}
static inline void put_count(struct builder *b, uint64_t v) {
    put_number(b, v, b->version == 1 ? 4 : 8);
}
static inline void put_bytes(struct builder *b, const void *bytes, size_t n) {
    put_count(b, n);
    put(b, bytes, n);
}
static inline void put_string(struct builder *b, const char *text) {
    put_bytes(b, text, strlen(text));
}
static inline void put_f32(struct builder *b, float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    put_u32(b, bits);
}
static inline void put_f64(struct builder *b, double v) {
    uint64_t bits;
    memcpy(&bits, &v, 8);
    put_u64(b, bits);
}
static inline void put_pad(struct builder *b, size_t alignment) {
    while (b->size % alignment != 0) {
        put_u8(b, 0);
    }
}

/* An empty file of a version and byte order with its header. */
static inline struct builder begin(uint32_t version, bool big, uint64_t tensors, uint64_t pairs) {
    struct builder b = {.version = version, .big = big};
    put(&b, "GGUF", 4);
    put_u32(&b, version);
    put_count(&b, tensors);
    put_count(&b, pairs);
    return b;
}
static inline void put_key(struct builder *b, const char *key, uint32_t kind) {
    put_string(b, key);
    put_u32(b, kind);
}
static inline void put_key_u32(struct builder *b, const char *key, uint32_t value) {
    put_key(b, key, UQFF_GGUF_U32);
    put_u32(b, value);
}
static inline void put_array(struct builder *b, uint32_t kind, uint64_t count) {
    put_u32(b, kind);
    put_count(b, count);
}
static inline void put_info(struct builder *b, const char *name, uint32_t n_dims,
                            const uint64_t *ne, uint32_t type, uint64_t offset) {
    put_string(b, name);
    put_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        put_count(b, ne[i]);
    }
    put_u32(b, type);
    put_u64(b, offset);
}
/* An info of one dimension. */
static inline void put_row(struct builder *b, const char *name, uint64_t n, uint32_t type,
                           uint64_t offset) {
    put_info(b, name, 1, &n, type, offset);
}
static inline void put_zeros(struct builder *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        put_u8(b, 0);
    }
}

/* ---- opening what was built ------------------------------------------------------------------ */

/* Collects warnings, one a line. */
struct warnings {
    char text[4096];
    size_t count;
};
static inline void collect(void *context, const char *text) {
    struct warnings *warnings = (struct warnings *)context;
    size_t n = strlen(warnings->text);
    snprintf(warnings->text + n, sizeof warnings->text - n, "%s\n", text);
    warnings->count++;
}

struct opened {
    struct uqff_source *source;
    struct uqff_gguf *file;
    struct warnings warnings;
    struct uqff_error err;
};
static inline enum uqff_code open_bytes(struct opened *o, const void *bytes, size_t n) {
    *o = (struct opened){0};
    struct uqff_warner warner = {collect, &o->warnings};
    assert_ok(uqff_source_memory(bytes, n, "m.gguf", &o->source, &o->err), &o->err);
    return uqff_gguf_open(o->source, &warner, &o->file, &o->err);
}
static inline enum uqff_code open_built(struct opened *o, const struct builder *b) {
    return open_bytes(o, b->bytes, b->size);
}
static inline void close_opened(struct opened *o) {
    uqff_gguf_close(o->file);
    uqff_source_close(o->source);
}

/* Opens, wants success, frees the builder's bytes only in done(). */
static inline void must_open(struct opened *o, const struct builder *b) {
    assert_ok(open_built(o, b), &o->err);
    assert_non_null(o->file);
}
static inline void done(struct opened *o, struct builder *b) {
    close_opened(o);
    free(b->bytes);
}
/* Opens, wants a failure whose text names the file and holds `needle`; frees all. */
#define must_fail(b, expected, needle)                                                             \
    do {                                                                                           \
        struct opened o_;                                                                          \
        assert_fails(open_built(&o_, &(b)), (expected), &o_.err, (needle));                        \
        assert_memory_equal(o_.err.text, "m.gguf: ", 8);                                           \
        assert_null(o_.file);                                                                      \
        done(&o_, &(b));                                                                           \
    } while (0)

#endif
