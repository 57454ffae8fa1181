/* What the files of libgguf share and nobody else sees. */
#ifndef UQFF_GGUF_INTERNAL_H
#define UQFF_GGUF_INTERNAL_H

#include "uqff/gguf.h"

/* Soft limits: far above every real file, and there so that a sparse file of many gigabytes, whose
 * bytes are "present", cannot make its header cost that much memory. */
#define GGUF_MAX_STRING ((uint64_t)256 << 20)
#define GGUF_MAX_HEADER ((uint64_t)1 << 30)
#define GGUF_MAX_KEY 65535u   /* bytes; the format's own limit */
#define GGUF_MAX_NAME 64u     /* bytes of a tensor name; the format's own limit */
#define GGUF_MAX_PARTS 10000u /* of a split set */

#define GGUF_ALIGNMENT_KEY "general.alignment"
#define GGUF_DEFAULT_ALIGNMENT 32u
#define GGUF_SMALLEST_ALIGNMENT 8u

/* ---- index.c: from a name to its number, duplicates found in linear time --------------------- */

struct gguf_slot {
    const char *name; /* NULL: free */
    uint64_t hash;
    size_t number;
};

struct gguf_index {
    struct gguf_slot *slots;
    size_t capacity; /* 0 or a power of two */
    size_t count;
};

/* Adds a name, which must stay where it is. When it is there already, *known is true and *first
 * is that of the first one; the index is then unchanged. */
enum uqff_code uqff_gguf_index_add(struct gguf_index *index, const char *name, size_t number,
                                   bool *known, size_t *first, struct uqff_error *err);
bool uqff_gguf_index_find(const struct gguf_index *index, const char *name, size_t *number);
/* Gives a name that is there another number. */
void uqff_gguf_index_renumber(struct gguf_index *index, const char *name, size_t number);
void uqff_gguf_index_free(struct gguf_index *index);

/* ---- the reader --------------------------------------------------------------------------------
 */

struct gguf_entry {
    const char *key;       /* in the arena */
    uint64_t key_position; /* of the key's text in the file */
    uint64_t position;     /* of the value's first byte, behind its kind */
    enum uqff_gguf_kind kind;
    struct uqff_gguf_value value; /* set once all is loaded */
};

struct uqff_gguf {
    struct uqff_source *source;
    bool owns_source;
    const struct uqff_warner *warner; /* during open only */
    uint64_t size;                    /* of the file */

    uint32_t version;
    bool big_endian;
    uint64_t entries_declared, tensors_declared;
    uint64_t kv_offset, kv_end;
    uint64_t infos_end;
    uint64_t alignment;
    uint64_t data_offset;

    /* The file's bytes from offset 0 on, as far as parsing has come; afterwards only up to kv_end.
     * A position in here is an offset in the file. */
    unsigned char *bytes;
    size_t loaded, capacity;

    struct gguf_entry *entries;
    size_t entry_count, entry_capacity;
    struct gguf_index keys;

    struct uqff_gguf_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    struct gguf_index names;

    struct uqff_gguf **others; /* the further files of a split set */
    size_t other_count;

    struct uqff_arena arena; /* keys and tensor names */
};

/* ---- cursor.c: bounded reading of the header ----------------------------------------------------
 */

struct gguf_cursor {
    struct uqff_gguf *file;
    uint64_t position;
    const char *entry; /* "key" or "tensor", and its name, for messages; NULL outside of one */
    const char *name;
};

/* Fails with "<source>: <entry> '<name>': <text>". */
enum uqff_code uqff_gguf_fail(const struct gguf_cursor *cursor, struct uqff_error *err,
                              enum uqff_code code, uint64_t offset, const char *format, ...)
    UQFF_PRINTF(5, 6);

/* The slow path of gguf_need. */
enum uqff_code uqff_gguf_load(struct gguf_cursor *cursor, uint64_t n, const char *what,
                              struct uqff_error *err);

/* Sees to it that the next n bytes are in memory, or says that the file ends within `what`. */
static inline enum uqff_code gguf_need(struct gguf_cursor *cursor, uint64_t n, const char *what,
                                       struct uqff_error *err) {
    if (cursor->position <= cursor->file->loaded && n <= cursor->file->loaded - cursor->position) {
        return UQFF_OK;
    }
    return uqff_gguf_load(cursor, n, what, err);
}

static inline uint64_t gguf_left(const struct gguf_cursor *cursor) {
    return cursor->file->size - cursor->position;
}

enum uqff_code uqff_gguf_read_u32(struct gguf_cursor *cursor, const char *what, uint32_t *out,
                                  struct uqff_error *err);
enum uqff_code uqff_gguf_read_u64(struct gguf_cursor *cursor, const char *what, uint64_t *out,
                                  struct uqff_error *err);
/* A count, length or dimension: 32 bits in version 1, 64 bits since. */
enum uqff_code uqff_gguf_read_count(struct gguf_cursor *cursor, const char *what, uint64_t *out,
                                    struct uqff_error *err);
/* A string's length; its bytes, which are loaded, begin at the cursor's position. */
enum uqff_code uqff_gguf_read_length(struct gguf_cursor *cursor, const char *what, uint64_t *out,
                                     struct uqff_error *err);
/* A key or tensor name of 1 to `limit` bytes, valid UTF-8 without NUL, copied into the arena. Sets
 * the cursor's entry and name. */
enum uqff_code uqff_gguf_read_name(struct gguf_cursor *cursor, const char *entry, uint64_t limit,
                                   const char **out, struct uqff_error *err);

/* Loads of header fields in the file's byte order. */
static inline uint16_t gguf_load16(const struct uqff_gguf *file, const unsigned char *p) {
    return file->big_endian ? uqff_load_be16(p) : uqff_load_le16(p);
}
static inline uint32_t gguf_load32(const struct uqff_gguf *file, const unsigned char *p) {
    return file->big_endian ? uqff_load_be32(p) : uqff_load_le32(p);
}
static inline uint64_t gguf_load64(const struct uqff_gguf *file, const unsigned char *p) {
    return file->big_endian ? uqff_load_be64(p) : uqff_load_le64(p);
}
/* Bytes of a count, length or dimension. */
static inline unsigned gguf_count_bytes(const struct uqff_gguf *file) {
    return file->version == 1 ? 4 : 8;
}
static inline uint64_t gguf_load_count(const struct uqff_gguf *file, const unsigned char *p) {
    return file->version == 1 ? gguf_load32(file, p) : gguf_load64(file, p);
}

/* ---- kv.c, values.c, infos.c, layout.c, reader.c --------------------------------------------- */

/* Bytes of one element of a fixed-size kind; 0 for strings and arrays. */
unsigned uqff_gguf_kind_bytes(enum uqff_gguf_kind kind);

/* Walks the key-value section, validating it; entries get keys and positions. */
enum uqff_code uqff_gguf_parse_entries(struct gguf_cursor *cursor, struct uqff_error *err);
/* Decodes the value of `kind` at `position`, all of which was validated and is loaded. Returns the
 * position behind it. */
uint64_t uqff_gguf_decode(const struct uqff_gguf *file, enum uqff_gguf_kind kind, uint64_t position,
                          struct uqff_gguf_value *out);
/* False when a shape has more elements than a signed 64-bit number counts. */
bool uqff_gguf_elements_fit(unsigned n_dims, const uint64_t *ne);
/* Parses the tensor infos; offsets stay relative to the data section. */
enum uqff_code uqff_gguf_parse_infos(struct gguf_cursor *cursor, struct uqff_error *err);
/* Checks alignment, order, overlap, holes and extents, and makes the offsets absolute. */
enum uqff_code uqff_gguf_check_layout(struct uqff_gguf *file, struct uqff_error *err);

/* Opens one file. The source becomes the reader's own, on failure too, if `owns_source`. */
enum uqff_code uqff_gguf_open_one(struct uqff_source *source, bool owns_source,
                                  const struct uqff_warner *warner, struct uqff_gguf **out,
                                  struct uqff_error *err);

/* split.c: true when a path has the form of one of several files. */
bool uqff_gguf_names_part(const char *path);

#endif
