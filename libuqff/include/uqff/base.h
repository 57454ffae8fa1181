/*
 * base: what every other part of uqff stands on.
 *
 * Status codes and errors, checked arithmetic, allocation and arenas, printable text, a strict JSON
 * pull parser, XXH3 and SHA-256, byte sources and sinks, parallel loops and progress.
 *
 * Rules that hold for the whole interface:
 *  - A function that can fail returns `enum uqff_code`, UQFF_OK being 0, and describes the failure
 *    in the caller's `struct uqff_error`. `err` may be NULL where the text is of no interest.
 *  - Nothing here prints, exits, reads the environment, or aborts on any input.
 *  - `*out` is written only on success, unless a function says otherwise.
 *  - What an `open` or `new` made, the `close` or `free` beside it releases; those take NULL too.
 *    What a getter points to belongs to the object and stays as long as that. What a function hands
 *    over is freed with uqff_free.
 *  - A getter's index is below its count. Functions that can fail refuse another one, as that of a
 *    name that was not found, with UQFF_E_ARGUMENT.
 *  - Options whose members are all zero are the defaults; NULL is the same, where none is needed.
 *  - Objects are not locked. Different objects may be used from different threads; functions that
 *    take an object as const may be called for the same one from several threads at once, others
 *    only where they say so.
 *  - For C++: some functions have a struct's name (uqff_gguf_tensor), which then takes the word
 *    `struct` before it, as in C.
 */
#ifndef UQFF_BASE_H
#define UQFF_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "uqff/version.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define UQFF_API __attribute__((visibility("default")))
#define UQFF_MUST_CHECK __attribute__((warn_unused_result))
#define UQFF_PRINTF(string_index, first) __attribute__((format(printf, string_index, first)))
#else
#define UQFF_API
#define UQFF_MUST_CHECK
#define UQFF_PRINTF(string_index, first)
#endif

/* ---- status and errors ----------------------------------------------------------------------- */

/* Codes are stable numbers, grouped by family with gaps, so that a new one never moves another.
 * uqff_code_family() gives the family; the program maps families to its exit codes. */
enum uqff_code {
    UQFF_OK = 0,

    /* usage: the caller asked for something that makes no sense */
    UQFF_E_ARGUMENT = 10, /* an argument or option is invalid */
    UQFF_E_EXISTS = 11,   /* the output exists and overwriting was not asked for */
    UQFF_E_IS_INPUT = 12, /* the output is also an input */
    UQFF_E_UNKNOWN = 13,  /* a name that the caller gave is not known (type, recipe, variant) */

    /* resources */
    UQFF_E_MEMORY = 30,    /* an allocation failed */
    UQFF_E_CANCELLED = 31, /* the caller's progress callback asked to stop */

    /* input and output */
    UQFF_E_NOT_FOUND = 50,
    UQFF_E_PERMISSION = 51,
    UQFF_E_NOT_REGULAR = 52, /* a directory, FIFO, device or socket where a file is needed */
    UQFF_E_READ = 53,
    UQFF_E_WRITE = 54,
    UQFF_E_NO_SPACE = 55,
    UQFF_E_CHANGED = 56, /* the file changed while it was being read */

    /* malformed input */
    UQFF_E_TRUNCATED = 70, /* fewer bytes than something that was declared needs */
    UQFF_E_MAGIC = 71,     /* not a file of this kind */
    UQFF_E_SYNTAX = 72,    /* JSON or other text that does not parse */
    UQFF_E_ENCODING = 73,  /* invalid UTF-8, or NUL where text is needed */
    UQFF_E_DUPLICATE = 74, /* a name or key that must be unique occurs twice */
    UQFF_E_FIELD = 75,     /* a field is missing, of the wrong kind or out of its range */
    UQFF_E_OVERFLOW = 76,  /* a product or sum of declared sizes does not fit */
    UQFF_E_SHAPE = 77,     /* a shape does not fit its type, its bytes or its use */
    UQFF_E_LAYOUT = 78,    /* offsets overlap, leave holes or are misaligned */
    UQFF_E_NAME = 79,      /* a name that is not allowed (file name, tensor name) */
    UQFF_E_MISSING = 80,   /* a tensor, shard or side file that must be there is not */
    UQFF_E_DIGEST = 81,    /* content does not match its digest */
    UQFF_E_NONFINITE = 82, /* NaN or infinity where finite numbers are needed */

    /* well-formed, but beyond this version */
    UQFF_E_VERSION = 100,     /* a format version that this library does not read */
    UQFF_E_TYPE = 101,        /* a tensor type that is unknown, or cannot be used this way */
    UQFF_E_UNSUPPORTED = 102, /* anything else that is understood but not supported */
    UQFF_E_LIMIT = 103,       /* a documented limit of this library was exceeded */

    /* network (reserved for hub) */
    UQFF_E_NETWORK = 120,

    /* a bug in uqff */
    UQFF_E_INTERNAL = 140,
};

enum uqff_family {
    UQFF_FAMILY_OK,
    UQFF_FAMILY_USAGE,
    UQFF_FAMILY_RESOURCE,
    UQFF_FAMILY_IO,
    UQFF_FAMILY_INPUT, /* malformed or unsupported */
    UQFF_FAMILY_NETWORK,
    UQFF_FAMILY_INTERNAL,
};

#define UQFF_NO_OFFSET UINT64_MAX
#define UQFF_ERROR_TEXT 768

/* What went wrong. `text` is one line, valid UTF-8, safe to print on a terminal: it names the file,
 * the entry, what was found and what was expected. `offset` is a byte offset in the file named in
 * the text, or UQFF_NO_OFFSET. */
struct uqff_error {
    enum uqff_code code;
    uint64_t offset;
    char text[UQFF_ERROR_TEXT];
};

/* Fills *err (if not NULL) from a printf format and returns `code`, so that a failing function can
 * end in `return uqff_fail(err, UQFF_E_SHAPE, offset, "...", ...)`. Arguments are raw: the finished
 * text is escaped as uqff_printable() does, once, here. Text too long is cut at a character. */
UQFF_API enum uqff_code uqff_fail(struct uqff_error *err, enum uqff_code code, uint64_t offset,
                                  const char *format, ...) UQFF_PRINTF(4, 5);
UQFF_API enum uqff_code uqff_vfail(struct uqff_error *err, enum uqff_code code, uint64_t offset,
                                   const char *format, va_list args) UQFF_PRINTF(4, 0);

/* UQFF_E_MEMORY with a fixed text: needs no memory itself. */
UQFF_API enum uqff_code uqff_fail_memory(struct uqff_error *err);

/* Puts "prefix: " before the text of an error that a lower level reported; code and offset stay. */
UQFF_API void uqff_error_prefix(struct uqff_error *err, const char *format, ...) UQFF_PRINTF(2, 3);

/* Short stable name of a code, e.g. "truncated", for JSON output. Never NULL. */
UQFF_API const char *uqff_code_name(enum uqff_code code);
UQFF_API enum uqff_family uqff_code_family(enum uqff_code code);

/* Version of the library that is running, e.g. "0.1.0"; of these headers: uqff/version.h. */
UQFF_API const char *uqff_version(void);

/* ---- warnings -------------------------------------------------------------------------------- */

/* Receives what a reader tolerates but a person should know. `text` is one printable line, valid
 * during the call only. A NULL function in the struct, or a NULL struct, drops warnings. */
struct uqff_warner {
    void (*warn)(void *context, const char *text);
    void *context;
};

UQFF_API void uqff_warn(const struct uqff_warner *warner, const char *format, ...)
    UQFF_PRINTF(2, 3);

/* ---- checked arithmetic: true on success, *out unspecified on overflow ----------------------- */

static inline bool uqff_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
    *out = a + b;
    return *out >= a;
}

static inline bool uqff_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    *out = a * b;
    return a == 0 || *out / a == b;
}

/* Rounds `a` up to a multiple of `alignment`, a power of two. */
static inline bool uqff_align_u64(uint64_t a, uint64_t alignment, uint64_t *out) {
    if (!uqff_add_u64(a, alignment - 1, out)) {
        return false;
    }
    *out &= ~(alignment - 1);
    return true;
}

static inline bool uqff_to_size(uint64_t a, size_t *out) {
    *out = (size_t)a;
    return *out == a;
}

/* ---- little-endian and big-endian loads and stores: no casts of file bytes ------------------- */

static inline uint16_t uqff_load_le16(const void *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t uqff_load_le32(const void *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static inline uint64_t uqff_load_le64(const void *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint64_t)uqff_load_le32(b) | (uint64_t)uqff_load_le32(b + 4) << 32;
}
static inline uint16_t uqff_load_be16(const void *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint16_t)(b[0] << 8 | b[1]);
}
static inline uint32_t uqff_load_be32(const void *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
}
static inline uint64_t uqff_load_be64(const void *p) {
    const unsigned char *b = (const unsigned char *)p;
    return (uint64_t)uqff_load_be32(b) << 32 | (uint64_t)uqff_load_be32(b + 4);
}
static inline void uqff_store_le16(void *p, uint16_t v) {
    unsigned char *b = (unsigned char *)p;
    b[0] = (unsigned char)v;
    b[1] = (unsigned char)(v >> 8);
}
static inline void uqff_store_le32(void *p, uint32_t v) {
    unsigned char *b = (unsigned char *)p;
    uqff_store_le16(b, (uint16_t)v);
    uqff_store_le16(b + 2, (uint16_t)(v >> 16));
}
static inline void uqff_store_le64(void *p, uint64_t v) {
    unsigned char *b = (unsigned char *)p;
    uqff_store_le32(b, (uint32_t)v);
    uqff_store_le32(b + 4, (uint32_t)(v >> 32));
}
static inline float uqff_load_le_f32(const void *p) {
    uint32_t bits = uqff_load_le32(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline void uqff_store_le_f32(void *p, float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    uqff_store_le32(p, bits);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The allocator behind every allocation of the libraries. Set it before any other call, if at all;
 * tests use it to fail the n-th allocation. `reallocate(context, NULL, n)` allocates. NULL restores
 * the C library's. Not thread-safe by itself; the functions given must be. */
struct uqff_allocator {
    void *(*reallocate)(void *context, void *block, size_t size);
    void (*release)(void *context, void *block);
    void *context;
};
UQFF_API void uqff_set_allocator(const struct uqff_allocator *allocator);

/* As malloc, calloc, realloc and free, through the allocator. A size of 0 gives a valid block.
 * The array forms check the product. NULL when out of memory. */
UQFF_API void *uqff_alloc(size_t size);
UQFF_API void *uqff_alloc_array(size_t count, size_t size); /* zeroed */
UQFF_API void *uqff_realloc_array(void *block, size_t count, size_t size);
UQFF_API void uqff_free(void *block);
/* Blocks aligned to 64 bytes, for kernels; released by uqff_free_aligned. Not zeroed. */
UQFF_API void *uqff_alloc_aligned(size_t size);
UQFF_API void uqff_free_aligned(void *block);

/* Makes room for `needed` elements of `size` bytes in a growing array, doubling. *items and
 * *capacity are updated. Returns UQFF_E_MEMORY, leaving both as they were, when that fails. */
UQFF_API enum uqff_code uqff_grow(void **items, size_t *capacity, size_t needed, size_t size,
                                  struct uqff_error *err) UQFF_MUST_CHECK;

/* An arena: blocks that live and die together. Zero-initialise; memory is 16-byte aligned. */
struct uqff_arena {
    struct uqff_arena_chunk *chunks;
    size_t used, size; /* of the newest chunk */
};
UQFF_API void *uqff_arena_alloc(struct uqff_arena *arena,
                                size_t size); /* zeroed; NULL: no memory */
UQFF_API void *uqff_arena_array(struct uqff_arena *arena, size_t count, size_t size);
/* A copy of n bytes with a NUL behind them. */
UQFF_API char *uqff_arena_copy(struct uqff_arena *arena, const void *bytes, size_t n);
UQFF_API char *uqff_arena_printf(struct uqff_arena *arena, const char *format, ...)
    UQFF_PRINTF(2, 3);
UQFF_API void uqff_arena_free(struct uqff_arena *arena); /* leaves it empty and usable */

/* ---- searching ------------------------------------------------------------------------------- */

/* Where `key` lies from item i, as strcmp() tells it: before (< 0), there (0), behind (> 0). */
typedef int uqff_order(const void *key, const void *items, size_t i);
/* Looks for `key` among `count` items in ascending order; `items` is only handed on to `order`.
 * *place is the item's index, or without such an item the index at which it would have to be put
 * in. */
UQFF_API bool uqff_search(const void *key, const void *items, size_t count, uqff_order *order,
                          size_t *place);

/* ---- text ------------------------------------------------------------------------------------ */

/* Writes `n` bytes as one printable line of valid UTF-8 into out[capacity], always terminated.
 * C0, DEL, C1, bidirectional controls, zero-width characters and invalid bytes become \xHH or
 * \u{HHHH}, a backslash \\, so the form is reversible. Cut at a whole character or escape when
 * it does not fit. Returns the length that the whole text would have had. */
UQFF_API size_t uqff_printable(char *out, size_t capacity, const void *bytes, size_t n);

/* True when the bytes are well-formed UTF-8 (no surrogates, nothing overlong); else *bad is the
 * offset of the first byte that is not. `bad` may be NULL. */
UQFF_API bool uqff_utf8_valid(const void *bytes, size_t n, size_t *bad);

/* Columns that printable UTF-8 takes, counted in code points. */
UQFF_API size_t uqff_text_width(const char *text);

/* True when `text` ends with `ending`, or is nothing else. */
UQFF_API bool uqff_text_ends(const char *text, const char *ending);

/* The known name nearest to `word` (edit distance, case-insensitive), for "did you mean"; NULL when
 * none is near. `names` is an array of `count` strings. */
UQFF_API const char *uqff_nearest(const char *word, const char *const *names, size_t count);

/* "1.50 GiB", "812 B": binary units, three significant digits. Writes at most 16 bytes. */
UQFF_API void uqff_format_bytes(char out[16], uint64_t bytes);

/* Parses a size: decimal digits, an optional fraction, and an optional unit (B; K, M, G, T and KiB
 * … are powers of 1024; KB, MB, GB, TB powers of 1000). UQFF_E_ARGUMENT otherwise. */
UQFF_API enum uqff_code uqff_parse_bytes(const char *text, uint64_t *out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;

/* A growing byte string. Zero-initialise; `data` is NUL-terminated whenever size > 0. A failed
 * append sets `failed` and makes all further ones no-ops, so it is checked once at the end. */
struct uqff_buffer {
    char *data;
    size_t size, capacity;
    bool failed;
};
UQFF_API void uqff_buffer_append(struct uqff_buffer *buffer, const void *bytes, size_t n);
UQFF_API void uqff_buffer_printf(struct uqff_buffer *buffer, const char *format, ...)
    UQFF_PRINTF(2, 3);
/* Appends `n` bytes as a JSON string in quotes. Invalid UTF-8 bytes become U+DCxx in no case: each
 * is written as U+FFFD; use it for text. Control characters are escaped, all else goes as it is. */
UQFF_API void uqff_buffer_json_string(struct uqff_buffer *buffer, const void *bytes, size_t n);
UQFF_API void uqff_buffer_free(struct uqff_buffer *buffer);

/* ---- file names ------------------------------------------------------------------------------ */

/* True when `name` (n bytes, from a file) may be used as one component of a path: 1 to 255 bytes
 * of [^/\\:\0-\x1f\x7f], valid UTF-8, neither "." nor "..". */
UQFF_API bool uqff_name_is_safe_component(const char *name, size_t n);

/* Joins directory and name with one '/'; the directory may be "" or NULL. Caller frees with
 * uqff_free. NULL: no memory. */
UQFF_API char *uqff_path_join(const char *directory, const char *name);
/* Directory part of a path ("." if none) and the file name within it (points into path). */
UQFF_API char *uqff_path_directory(const char *path);
UQFF_API const char *uqff_path_name(const char *path);
UQFF_API bool uqff_path_is_directory(const char *path);
UQFF_API bool uqff_path_exists(const char *path); /* anything, dangling links too */
/* Creates one directory; one that is there already is fine. */
UQFF_API enum uqff_code uqff_make_directory(const char *path,
                                            struct uqff_error *err) UQFF_MUST_CHECK;
/* Makes one directory for files that come into it. Until it is closed it is removed, if it is
 * empty, by uqff_sink_remove_all_temporary(). *out is NULL where a directory is there already. */
struct uqff_folder;
UQFF_API enum uqff_code uqff_folder_make(const char *path, struct uqff_folder **out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
/* Frees; removes the directory, if it is empty, unless `keep`. */
UQFF_API void uqff_folder_close(struct uqff_folder *folder, bool keep);
/* The names in a directory, sorted bytewise, "." and ".." left out. *names lives in `arena`. */
UQFF_API enum uqff_code uqff_list_directory(const char *path, struct uqff_arena *arena,
                                            const char ***names, size_t *count,
                                            struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- strict JSON ----------------------------------------------------------------------------- */

/* A pull parser for untrusted JSON (RFC 8259, nothing more): UTF-8 checked, no byte order mark,
 * numbers exact, keys of an object unique after unescaping, depth limited without recursion, the
 * whole text consumed. Memory grows with the widest object and the longest string, never with
 * the number of values. */
enum uqff_json_kind {
    UQFF_JSON_END, /* the document is complete */
    UQFF_JSON_OBJECT,
    UQFF_JSON_OBJECT_END,
    UQFF_JSON_ARRAY,
    UQFF_JSON_ARRAY_END,
    UQFF_JSON_KEY,
    UQFF_JSON_STRING,
    UQFF_JSON_NUMBER,
    UQFF_JSON_TRUE,
    UQFF_JSON_FALSE,
    UQFF_JSON_NULL,
};

struct uqff_json_event {
    enum uqff_json_kind kind;
    uint64_t offset; /* of the token's first byte in the text */
    /* KEY and STRING: the unescaped text; NUMBER: the token as written. Not necessarily followed by
     * a NUL. Valid until the next call. */
    const char *text;
    size_t length;
    /* NUMBER: true when written as 0 or [1-9][0-9]* and not above 2^64-1; then `integer` holds it.
     */
    bool is_u64;
    uint64_t integer;
};

struct uqff_json; /* a parser */

/* Opens a parser over `n` bytes that must outlive it. `where` names the text in errors (copied).
 * `offset` is added to the positions that errors report. `max_depth` 0 means 64; raised only by
 * callers whose format allows more. */
UQFF_API enum uqff_code uqff_json_open(const char *text, size_t n, const char *where,
                                       uint64_t offset, unsigned max_depth, struct uqff_json **out,
                                       struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_json_close(struct uqff_json *json);

/* The next event. After UQFF_JSON_END or an error the same comes again. */
UQFF_API enum uqff_code uqff_json_next(struct uqff_json *json, struct uqff_json_event *event,
                                       struct uqff_error *err) UQFF_MUST_CHECK;
/* Consumes the rest of the value that `event` began (nothing for a scalar). */
UQFF_API enum uqff_code uqff_json_skip(struct uqff_json *json, const struct uqff_json_event *event,
                                       struct uqff_error *err) UQFF_MUST_CHECK;
/* Consumes the whole value that comes next, as after a key. */
UQFF_API enum uqff_code uqff_json_skip_next(struct uqff_json *json,
                                            struct uqff_error *err) UQFF_MUST_CHECK;
/* next(), and UQFF_E_FIELD naming `what` unless the event is of the wanted kind. */
UQFF_API enum uqff_code uqff_json_expect(struct uqff_json *json, enum uqff_json_kind kind,
                                         const char *what, struct uqff_json_event *event,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
/* next() for a member of an object: *done at its end; else `event` is the KEY. */
UQFF_API enum uqff_code uqff_json_member(struct uqff_json *json, struct uqff_json_event *event,
                                         bool *done, struct uqff_error *err) UQFF_MUST_CHECK;
/* The value of a NUMBER as a double (locale-independent); UQFF_E_FIELD when out of range. */
UQFF_API enum uqff_code uqff_json_double(const struct uqff_json *json,
                                         const struct uqff_json_event *event, double *out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
/* Fails with UQFF_E_FIELD at the event: "<where>: <what>: found <kind>, expected <expected>". */
UQFF_API enum uqff_code uqff_json_unexpected(const struct uqff_json *json,
                                             const struct uqff_json_event *event, const char *what,
                                             const char *expected, struct uqff_error *err);

/* ---- hashes ---------------------------------------------------------------------------------- */

/* XXH3 with 128 bits, seed 0, in canonical (big-endian) form. Finds damage, not tampering. */
struct uqff_digest {
    unsigned char bytes[16];
};
struct uqff_hasher; /* a running XXH3-128 */
UQFF_API struct uqff_digest uqff_hash(const void *bytes, size_t n);
UQFF_API struct uqff_hasher *uqff_hasher_new(void); /* NULL: no memory */
UQFF_API void uqff_hasher_reset(struct uqff_hasher *hasher);
UQFF_API void uqff_hasher_update(struct uqff_hasher *hasher, const void *bytes, size_t n);
UQFF_API struct uqff_digest uqff_hasher_digest(const struct uqff_hasher *hasher);
UQFF_API void uqff_hasher_free(struct uqff_hasher *hasher);
UQFF_API bool uqff_digest_equal(const struct uqff_digest *a, const struct uqff_digest *b);

/* Digests of the field's manifests, by name: "sha256", "sha1", and "xxh64", which tells damage
 * only. */
struct uqff_sha; /* a running digest */
UQFF_API enum uqff_code uqff_sha_new(const char *algorithm, struct uqff_sha **out,
                                     struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_sha_update(struct uqff_sha *sha, const void *bytes, size_t n);
/* Finishes; writes 8, 20 or 32 bytes and their number. */
UQFF_API void uqff_sha_final(struct uqff_sha *sha, unsigned char out[32], size_t *size);
UQFF_API void uqff_sha_free(struct uqff_sha *sha);
/* Lower-case hex with a NUL: out[2*n + 1]. */
UQFF_API void uqff_hex(char *out, const void *bytes, size_t n);
UQFF_API bool uqff_unhex(void *out, const char *hex, size_t n); /* reads 2*n digits */

/* ---- byte sources ---------------------------------------------------------------------------- */

/* Something with a size that bytes can be read from at any offset. Reading and mapping may be done
 * by several threads at once. */
struct uqff_source;

/* What an implementation provides; base has files and memory, hub has HTTP. */
struct uqff_source_ops {
    /* Reads exactly n bytes at offset, which lie inside the size; anything less is an error. Called
     * from several threads at once, as is map(). */
    enum uqff_code (*read)(void *self, uint64_t offset, void *out, size_t n,
                           struct uqff_error *err);
    /* The whole content in memory for as long as the source is open, or NULL. May be NULL. */
    const void *(*map)(void *self);
    void (*close)(void *self); /* may be NULL */
};

/* Wraps an implementation. `name` is copied; it stands in error messages. On success the source
 * owns `self`, and closes it. */
UQFF_API enum uqff_code uqff_source_new(const struct uqff_source_ops *ops, void *self,
                                        uint64_t size, const char *name, struct uqff_source **out,
                                        struct uqff_error *err) UQFF_MUST_CHECK;

/* Opens a regular file for reading, never blocking on a FIFO. Content is read by pread. When half
 * of the descriptors that the process may have are taken by sources and sinks, further ones open
 * their files anew for each use, which fails with UQFF_E_CHANGED when the name has gone to another
 * file; so a model may have more files than that. */
UQFF_API enum uqff_code uqff_source_open(const char *path, struct uqff_source **out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
/* The same, within a directory, for a name that came from a file: it must be a safe component, and
 * the directory must list it exactly so (a case-folding file system does not make up a match). */
UQFF_API enum uqff_code uqff_source_open_in(const char *directory, const char *name,
                                            size_t name_length, struct uqff_source **out,
                                            struct uqff_error *err) UQFF_MUST_CHECK;
/* For several of one directory, which is listed once, when it is opened. The sources do not need it
 * any more. "" or NULL is the current directory. Thread-safe once open. */
struct uqff_directory;
UQFF_API enum uqff_code uqff_directory_open(const char *path, struct uqff_directory **out,
                                            struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_directory_source(const struct uqff_directory *directory,
                                              const char *name, size_t name_length,
                                              struct uqff_source **out,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_directory_close(struct uqff_directory *directory);
/* Memory that outlives the source. */
UQFF_API enum uqff_code uqff_source_memory(const void *bytes, size_t n, const char *name,
                                           struct uqff_source **out,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_source_close(struct uqff_source *source);

UQFF_API uint64_t uqff_source_size(const struct uqff_source *source);
UQFF_API const char *uqff_source_name(const struct uqff_source *source);
/* UQFF_E_TRUNCATED when the range is not inside the size. Thread-safe. */
UQFF_API enum uqff_code uqff_source_read(struct uqff_source *source, uint64_t offset, void *out,
                                         size_t n, struct uqff_error *err) UQFF_MUST_CHECK;
/* Maps the whole file for reading on first use; NULL where that is impossible. A file that is cut
 * while mapped raises SIGBUS: readers of headers use uqff_source_read. Thread-safe. */
UQFF_API const void *uqff_source_map(struct uqff_source *source);
/* True when the source is a file and `path` names the same one (device and inode). */
UQFF_API bool uqff_source_is_file(const struct uqff_source *source, const char *path);
/* UQFF_E_CHANGED when the file's size or modification time is no longer what it was at open. */
UQFF_API enum uqff_code uqff_source_unchanged(const struct uqff_source *source,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
/* Reads a whole source of at most `limit` bytes; *out is NUL-terminated, freed with uqff_free. */
UQFF_API enum uqff_code uqff_source_read_all(struct uqff_source *source, uint64_t limit, char **out,
                                             size_t *size, struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- sinks ----------------------------------------------------------------------------------- */

/* A file being written: it has a temporary name beside its final one until it is published, so a
 * run that is cut off leaves nothing that looks finished. Distinct ranges may be written from
 * several threads at once. */
struct uqff_sink;

/* UQFF_E_EXISTS when `path` exists and `overwrite` is false. A file that is overwritten hands its
 * mode on, and its owner where the process may give files away; a symbolic link stays, and what it
 * leads to is overwritten. A new file's mode is what the umask leaves of 0666. */
UQFF_API enum uqff_code uqff_sink_create(const char *path, bool overwrite, struct uqff_sink **out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_sink_write(struct uqff_sink *sink, uint64_t offset, const void *bytes,
                                        size_t n, struct uqff_error *err) UQFF_MUST_CHECK;
/* Copies a range of a source; by reflink or copy_file_range between files, where possible. */
UQFF_API enum uqff_code uqff_sink_copy(struct uqff_sink *sink, uint64_t offset,
                                       struct uqff_source *source, uint64_t source_offset,
                                       uint64_t n, struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API const char *uqff_sink_path(const struct uqff_sink *sink);           /* final name */
UQFF_API const char *uqff_sink_temporary_path(const struct uqff_sink *sink); /* where it is now */
/* Flushes data to the device. After it the temporary file can be opened and checked. */
UQFF_API enum uqff_code uqff_sink_flush(struct uqff_sink *sink,
                                        struct uqff_error *err) UQFF_MUST_CHECK;
/* Flushes what is not flushed yet, renames to the final name and flushes the directory. The sink is
 * closed by uqff_sink_close. */
UQFF_API enum uqff_code uqff_sink_publish(struct uqff_sink *sink,
                                          struct uqff_error *err) UQFF_MUST_CHECK;
/* Closes; removes the temporary file unless it was published. */
UQFF_API void uqff_sink_close(struct uqff_sink *sink);
/* Writes a small file whole, through a sink. */
UQFF_API enum uqff_code uqff_write_file(const char *path, const void *bytes, size_t n,
                                        bool overwrite, struct uqff_error *err) UQFF_MUST_CHECK;
/* Removes the temporary files of all open sinks, and the folders made for them that are empty.
 * Async-signal-safe: for a handler of SIGINT and SIGTERM that ends the program. */
UQFF_API void uqff_sink_remove_all_temporary(void);

/* ---- changing a file in place ---------------------------------------------------------------- */

/* What a journal says of the file beside it. */
enum uqff_patch_state {
    UQFF_PATCH_NONE,    /* there is no journal: nothing was cut off */
    UQFF_PATCH_OLD,     /* the change had not begun */
    UQFF_PATCH_NEW,     /* the change was complete */
    UQFF_PATCH_TORN,    /* the file is neither the old nor the new one */
    UQFF_PATCH_FOREIGN, /* the file is another one */
};
#define UQFF_PATCH_LARGEST ((uint64_t)64 << 20)
/* Replaces n bytes (at most UQFF_PATCH_LARGEST) at `offset` of a file, which keeps its size, in
 * place. `before` is what the caller has read there: UQFF_E_CHANGED when it is not there any more,
 * or when another process is doing the same. A journal, ".NAME.uqff-undo" beside the file, holds
 * both until all is on the device. On failure the old bytes are put back; should that fail too, or
 * the machine stop, the journal stays for uqff_patch_recover. A symbolic link is
 * UQFF_E_NOT_REGULAR. */
UQFF_API enum uqff_code uqff_patch_file(const char *path, uint64_t offset, const void *before,
                                        const void *after, size_t n,
                                        struct uqff_error *err) UQFF_MUST_CHECK;
/* Looks whether a change of the file was cut off. Changes nothing. */
UQFF_API enum uqff_code uqff_patch_look(const char *path, enum uqff_patch_state *out,
                                        struct uqff_error *err) UQFF_MUST_CHECK;
/* Puts the file back to what it was before a change that was cut off (one that was complete stays)
 * and removes the journal. *found tells what was there. UQFF_E_CHANGED, leaving both, when the
 * journal is another file's. */
UQFF_API enum uqff_code uqff_patch_recover(const char *path, enum uqff_patch_state *found,
                                           struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- parallel loops and progress ------------------------------------------------------------- */

/* Cores that this process may use: affinity and cgroup quota included, at least 1. */
UQFF_API unsigned uqff_available_threads(void);

/* Runs body(context, i, thread) for every i below count on up to `threads` threads (0: all that are
 * available), dynamically scheduled. The first failure stops the handing out of work and is
 * returned; which one is first may differ between runs only if several fail. */
typedef enum uqff_code uqff_loop_body(void *context, size_t i, unsigned thread,
                                      struct uqff_error *err);
UQFF_API enum uqff_code uqff_parallel_for(size_t count, unsigned threads, uqff_loop_body *body,
                                          void *context, struct uqff_error *err) UQFF_MUST_CHECK;

/* Runs body(context) on this thread, with up to `threads` threads (0: all that are available) ready
 * for the loops in it: uqff_parallel_for then neither starts a team nor waits for threads that have
 * taken no part. For work of many short loops; what they compute is the same without. A team in a
 * team is that of the outer call. Returns what body returns. */
typedef enum uqff_code uqff_team_body(void *context, struct uqff_error *err);
UQFF_API enum uqff_code uqff_parallel_team(unsigned threads, uqff_team_body *body, void *context,
                                           struct uqff_error *err) UQFF_MUST_CHECK;

/* Long work reports here, from one thread. `update` returns false to stop the work, which then
 * fails with UQFF_E_CANCELLED. A NULL struct or function is silent. */
struct uqff_progress {
    bool (*update)(void *context, const char *stage, uint64_t done, uint64_t total);
    void *context;
};
UQFF_API enum uqff_code uqff_progress_update(const struct uqff_progress *progress,
                                             const char *stage, uint64_t done, uint64_t total,
                                             struct uqff_error *err) UQFF_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
