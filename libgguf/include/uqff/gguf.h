/*
 * gguf: reader of GGUF files (versions 1, 2 and 3, the last in both byte orders) and split sets,
 * and writer of version 3, little-endian.
 *
 * Everything is parsed and validated at open: key-value section, tensor infos, and the extent of
 * every tensor against the real file size. Bytes present bound everything declared, so a hostile
 * header costs no memory. Tensor data is never read here. An open reader does not change, so it may
 * be used from several threads at once. spec/gguf.md has the profile that is read and written.
 */
#ifndef UQFF_GGUF_H
#define UQFF_GGUF_H

#include "uqff/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum uqff_gguf_kind {
    UQFF_GGUF_U8 = 0,
    UQFF_GGUF_I8 = 1,
    UQFF_GGUF_U16 = 2,
    UQFF_GGUF_I16 = 3,
    UQFF_GGUF_U32 = 4,
    UQFF_GGUF_I32 = 5,
    UQFF_GGUF_F32 = 6,
    UQFF_GGUF_BOOL = 7,
    UQFF_GGUF_STRING = 8,
    UQFF_GGUF_ARRAY = 9,
    UQFF_GGUF_U64 = 10,
    UQFF_GGUF_I64 = 11,
    UQFF_GGUF_F64 = 12,
    UQFF_GGUF_KIND_COUNT
};
/* "u8" … "f64", "bool", "string", "array". */
UQFF_API const char *uqff_gguf_kind_name(enum uqff_gguf_kind kind);

#define UQFF_GGUF_MAX_DIMS 4u
#define UQFF_GGUF_MAX_ARRAY_DEPTH 8u

struct uqff_gguf_string {
    const char *bytes; /* any bytes, NUL and invalid UTF-8 included; not terminated */
    size_t length;
};

/* A value as it lies in the key-value section. Views stay valid until the reader is closed. */
struct uqff_gguf_value {
    enum uqff_gguf_kind kind;
    union {
        uint64_t u; /* unsigned kinds and bool */
        int64_t i;  /* signed kinds */
        double f;   /* f32 (exact) and f64 */
        struct uqff_gguf_string string;
        struct {
            enum uqff_gguf_kind kind; /* of the elements */
            uint64_t count;
            uint64_t position; /* of the first element; for the iterator below */
            uint64_t bytes;    /* that all elements take */
        } array;
    } as;
};

struct uqff_gguf_tensor {
    const char *name; /* NUL-terminated, valid UTF-8, 1 to 64 bytes */
    uint32_t type;    /* enum uqff_type of uqff/quant.h, as the file has it */
    unsigned n_dims;  /* 0 (one element) to 4 */
    uint64_t ne[4];   /* innermost first, as the file has it; 1 beyond n_dims */
    size_t file;      /* which file of a split set; 0 for a single file */
    uint64_t offset;  /* of the first byte, in its file */
    uint64_t bytes;
};

/* An open reader. A tensor's bytes are had by uqff_source_read from uqff_gguf_source(file,
 * tensor->file) at tensor->offset, and rows of them as float32 by uqff_dequantize_row. */
struct uqff_gguf;

/* Opens one file. `source` is not owned and must outlive the reader. Findings that another reader
 * would refuse, but the document allows, go to `warner`: infos out of offset order, trailing bytes,
 * padding that is missing, padding before the data that is not zero, odd key names, arrays of
 * arrays, tensor names of 64 bytes. Whatever else is wrong is an error: nothing is published
 * before all has been checked. */
UQFF_API enum uqff_code uqff_gguf_open(struct uqff_source *source, const struct uqff_warner *warner,
                                       struct uqff_gguf **out,
                                       struct uqff_error *err) UQFF_MUST_CHECK;
/* Opens the file at `path`, or the whole split set when it is the first file of one
 * (NAME-00001-of-000NN.gguf with matching split.* keys); all sources are owned by the reader.
 * UQFF_E_ARGUMENT, naming the first file, when `path` is another one of a set; UQFF_E_MISSING,
 * naming them, when files of it are absent; UQFF_E_FIELD or UQFF_E_NAME when names and keys
 * disagree. */
UQFF_API enum uqff_code uqff_gguf_open_path(const char *path, const struct uqff_warner *warner,
                                            struct uqff_gguf **out,
                                            struct uqff_error *err) UQFF_MUST_CHECK;
/* Opens a key-value section by itself, little-endian as version 2 or 3 has it: a model without
 * tensors. The bytes are copied; `where` names them in errors. */
UQFF_API enum uqff_code uqff_gguf_open_keys(const void *bytes, size_t size, const char *where,
                                            struct uqff_gguf **out,
                                            struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_gguf_close(struct uqff_gguf *file);

/* 1, 2 or 3. */
UQFF_API uint32_t uqff_gguf_file_version(const struct uqff_gguf *file);
/* Keys, counts and values come decoded whatever the byte order; tensor data stays as it lies in the
 * file, so numbers in it are big-endian when this is true. All files of a set have one order. */
UQFF_API bool uqff_gguf_is_big_endian(const struct uqff_gguf *file);
UQFF_API uint64_t uqff_gguf_alignment(const struct uqff_gguf *file); /* bytes */
UQFF_API size_t uqff_gguf_file_count(const struct uqff_gguf *file);  /* of a split set; else 1 */
UQFF_API struct uqff_source *uqff_gguf_source(const struct uqff_gguf *file, size_t i);
/* Where the key-value section of file 0 lies, for tools that carry it on unchanged. */
UQFF_API void uqff_gguf_kv_range(const struct uqff_gguf *file, uint64_t *offset, uint64_t *bytes);
/* Where the data of file i begins. */
UQFF_API uint64_t uqff_gguf_data_offset(const struct uqff_gguf *file, size_t i);

/* ---- metadata (of the first file) ------------------------------------------------------------ */

UQFF_API size_t uqff_gguf_kv_count(const struct uqff_gguf *file);
/* Keys are valid UTF-8 without NUL, in file order. */
UQFF_API const char *uqff_gguf_key(const struct uqff_gguf *file, size_t i);
UQFF_API const struct uqff_gguf_value *uqff_gguf_value(const struct uqff_gguf *file, size_t i);
/* NULL when the key is absent. */
UQFF_API const struct uqff_gguf_value *uqff_gguf_find_value(const struct uqff_gguf *file,
                                                            const char *key);

/* Typed look-ups. *found tells whether the key is there; a value of the wrong kind, or out of the
 * range asked for, is UQFF_E_FIELD. Integers of any integer kind are taken if they fit. */
UQFF_API enum uqff_code uqff_gguf_get_u64(const struct uqff_gguf *file, const char *key,
                                          uint64_t max, bool *found, uint64_t *out,
                                          struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_gguf_get_double(const struct uqff_gguf *file, const char *key,
                                             bool *found, double *out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_gguf_get_bool(const struct uqff_gguf *file, const char *key,
                                           bool *found, bool *out,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_gguf_get_string(const struct uqff_gguf *file, const char *key,
                                             bool *found, struct uqff_gguf_string *out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;

/* Walks an array of the file's metadata. Zero-allocation; elements that are arrays themselves come
 * as values that can be walked in turn. */
struct uqff_gguf_iterator {
    const struct uqff_gguf *file;
    enum uqff_gguf_kind kind;
    uint64_t position, left;
};
/* Of another value than an array there are no elements. */
UQFF_API struct uqff_gguf_iterator uqff_gguf_iterate(const struct uqff_gguf *file,
                                                     const struct uqff_gguf_value *array);
/* True and the next element, or false at the end. Cannot fail: all was validated at open. */
UQFF_API bool uqff_gguf_next(struct uqff_gguf_iterator *iterator, struct uqff_gguf_value *out);

/* ---- tensors (of all files of the set, in file order, then in the order of the infos) ---------
 */

UQFF_API size_t uqff_gguf_tensor_count(const struct uqff_gguf *file);
UQFF_API const struct uqff_gguf_tensor *uqff_gguf_tensor(const struct uqff_gguf *file, size_t i);
/* NULL when there is no tensor of that name. */
UQFF_API const struct uqff_gguf_tensor *uqff_gguf_find_tensor(const struct uqff_gguf *file,
                                                              const char *name);

/* ---- writer: plan first, then bytes ---------------------------------------------------------- */

/* A GGUF file (version 3, little-endian), or split set, being laid out: keys in order, tensors in
 * order, every offset known before the first byte of data. The same calls give the same bytes.
 *
 * The order of calls: set the keys, add the tensors, finish. Then for each file make a sink
 * (uqff_sink_create), write its header, write each of its tensors at its place (uqff_sink_write),
 * flush, read back, and publish. */
struct uqff_gguf_layout;

/* `alignment`: power of two, at least 8; other than 32 it is also written as general.alignment,
 * behind the other keys unless that key was set. UQFF_E_ARGUMENT for another number. */
UQFF_API enum uqff_code uqff_gguf_layout_new(uint64_t alignment, struct uqff_gguf_layout **out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_gguf_layout_free(struct uqff_gguf_layout *layout);

/* Sets a key (1 to 65535 bytes of UTF-8): one that is there already is replaced where it stands.
 * Strings may hold any bytes. UQFF_E_ARGUMENT for a kind that does not hold the value; on failure
 * nothing has changed.
 *
 * Setting general.alignment, which must be a u32 of the values above (UQFF_E_FIELD), sets the
 * layout's alignment; unsetting it makes that 32. So keys copied from a file lay the data out as
 * they say. The keys split.no, split.count and split.tensors.count are the layout's own: what is
 * set for them is dropped by uqff_gguf_layout_finish. */
UQFF_API enum uqff_code uqff_gguf_set_u64(struct uqff_gguf_layout *layout, const char *key,
                                          enum uqff_gguf_kind kind, uint64_t value,
                                          struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_gguf_set_i64(struct uqff_gguf_layout *layout, const char *key,
                                          enum uqff_gguf_kind kind, int64_t value,
                                          struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_gguf_set_double(struct uqff_gguf_layout *layout, const char *key,
                                             enum uqff_gguf_kind kind, double value,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_gguf_set_bool(struct uqff_gguf_layout *layout, const char *key,
                                           bool value, struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_gguf_set_string(struct uqff_gguf_layout *layout, const char *key,
                                             const char *bytes, size_t length,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
/* An array of `count` elements of a fixed size, given little-endian without gaps, or of strings. */
UQFF_API enum uqff_code uqff_gguf_set_array(struct uqff_gguf_layout *layout, const char *key,
                                            enum uqff_gguf_kind kind, const void *elements,
                                            uint64_t count, struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API enum uqff_code uqff_gguf_set_strings(struct uqff_gguf_layout *layout, const char *key,
                                              const struct uqff_gguf_string *strings,
                                              uint64_t count,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
/* Copies a key's value from a reader, nested arrays included. */
UQFF_API enum uqff_code uqff_gguf_set_copy(struct uqff_gguf_layout *layout,
                                           const struct uqff_gguf *file, size_t key,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
/* The same under another name. */
UQFF_API enum uqff_code uqff_gguf_set_copy_as(struct uqff_gguf_layout *layout,
                                              const struct uqff_gguf *file, size_t key,
                                              const char *name,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
/* Removes a key; one that is not there is fine. Set again it comes last. Nothing is removed from a
 * finished layout. */
UQFF_API void uqff_gguf_unset(struct uqff_gguf_layout *layout, const char *key);
UQFF_API bool uqff_gguf_is_set(const struct uqff_gguf_layout *layout, const char *key);
/* Gives a key another name; it stays where it stands. UQFF_E_UNKNOWN when it is not set,
 * UQFF_E_DUPLICATE when the new name is taken, UQFF_E_ARGUMENT for general.alignment. */
UQFF_API enum uqff_code uqff_gguf_rename_key(struct uqff_gguf_layout *layout, const char *key,
                                             const char *name,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
/* False when the key is not set. */
UQFF_API bool uqff_gguf_set_kind(const struct uqff_gguf_layout *layout, const char *key,
                                 enum uqff_gguf_kind *kind);

/* Appends a tensor; its index is the number of earlier ones. `ne` is innermost first. UQFF_E_NAME
 * above 63 bytes, UQFF_E_DUPLICATE, UQFF_E_TYPE for a type that no GGUF file has, UQFF_E_SHAPE and
 * UQFF_E_OVERFLOW for a shape that the type does not allow. */
UQFF_API enum uqff_code uqff_gguf_layout_add(struct uqff_gguf_layout *layout, const char *name,
                                             uint32_t type, const uint64_t *ne, unsigned n_dims,
                                             struct uqff_error *err) UQFF_MUST_CHECK;

/* Keeps tensors out of the first file of the split, which then has the metadata alone. */
UQFF_API void uqff_gguf_layout_empty_first(struct uqff_gguf_layout *layout);

/* Decides the split: files are cut before a tensor that would exceed max_bytes of padded tensor
 * data, or max_tensors; 0 is no limit. A tensor above max_bytes has a file for itself. All keys go
 * into the first file, split.* keys into each when there is more than one. After it only values of
 * the same length may be replaced. UQFF_E_LIMIT above 10000 files or 1 GiB of keys and infos. */
UQFF_API enum uqff_code uqff_gguf_layout_finish(struct uqff_gguf_layout *layout, uint64_t max_bytes,
                                                uint64_t max_tensors,
                                                struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API size_t uqff_gguf_layout_file_count(const struct uqff_gguf_layout *layout);
/* "STEM.gguf", or "STEM-00001-of-00003.gguf"; freed with uqff_free; NULL: no memory. */
UQFF_API char *uqff_gguf_layout_file_name(const struct uqff_gguf_layout *layout, const char *stem,
                                          size_t file);
/* Of the whole file: header, tensors and padding. */
UQFF_API uint64_t uqff_gguf_layout_file_bytes(const struct uqff_gguf_layout *layout, size_t file);
/* Where a tensor's bytes go: which file, and the offset in it. Padding behind it is zero bytes,
 * which are there once uqff_gguf_layout_write_header has been called. Of a finished layout. */
UQFF_API void uqff_gguf_layout_place(const struct uqff_gguf_layout *layout, size_t tensor,
                                     size_t *file, uint64_t *offset, uint64_t *bytes);
/* Renders everything before the data, padding included. Appends to `out`. UQFF_E_ARGUMENT before
 * the layout is finished, or for a file that it does not have. */
UQFF_API enum uqff_code uqff_gguf_layout_header(const struct uqff_gguf_layout *layout, size_t file,
                                                struct uqff_buffer *out,
                                                struct uqff_error *err) UQFF_MUST_CHECK;
/* Writes the same into a sink, and gives the file its whole size: all padding is there then, as
 * zeros. Before the tensors' bytes, for it writes the last byte of the file. */
UQFF_API enum uqff_code uqff_gguf_layout_write_header(const struct uqff_gguf_layout *layout,
                                                      size_t file, struct uqff_sink *sink,
                                                      struct uqff_error *err) UQFF_MUST_CHECK;

/* Opens with the strict reader what a sink holds, which must be complete and flushed. */
UQFF_API enum uqff_code uqff_gguf_read_back(const struct uqff_sink *sink,
                                            struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- split, merge, edit -------------------------------------------------------------------------
 *
 * These make files from those of an open reader. Tensor data is moved by uqff_sink_copy, never
 * held. Outputs have temporary names until all are complete, flushed and read back; those of a set
 * are then named from the last to the first, by which it is known. On failure nothing new is left.
 * UQFF_E_UNSUPPORTED for big-endian files, whose tensors would have to be turned; UQFF_E_NAME for
 * tensor names of 64 bytes; UQFF_E_IS_INPUT, UQFF_E_EXISTS for outputs, UQFF_E_ARGUMENT for one
 * file that would be named as one of several. Versions 1 and 2 become 3. */

struct uqff_gguf_split_options {
    uint64_t max_bytes;   /* of padded tensor data in a file; 0: no limit */
    uint64_t max_tensors; /* 0: no limit */
    bool empty_first;     /* the first file has the metadata alone */
    bool overwrite;
    bool dry_run; /* lay out, write nothing */
};
/* Splits a file, or splits a set anew, into STEM-00001-of-000NN.gguf and its fellows, at most 256.
 * UQFF_E_ARGUMENT when all fits into one file. `out`, if not NULL, receives the layout of what was
 * written, for its names and sizes; the caller frees it. */
UQFF_API enum uqff_code uqff_gguf_split(const struct uqff_gguf *file, const char *stem,
                                        const struct uqff_gguf_split_options *options,
                                        const struct uqff_progress *progress,
                                        struct uqff_gguf_layout **out,
                                        struct uqff_error *err) UQFF_MUST_CHECK;

/* Makes one file of a set. The keys split.no, split.count and split.tensors.count go. */
UQFF_API enum uqff_code uqff_gguf_merge(const struct uqff_gguf *file, const char *output,
                                        bool overwrite, const struct uqff_progress *progress,
                                        struct uqff_error *err) UQFF_MUST_CHECK;

/* Begins an edit: a layout with the keys and tensors of the file, of the first one of a set. Its
 * keys may then be set, unset and renamed; tensors may not be added. */
UQFF_API enum uqff_code uqff_gguf_edit_begin(const struct uqff_gguf *file,
                                             struct uqff_gguf_layout **out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;

struct uqff_gguf_edit_options {
    const char *output; /* another file; NULL: the file itself */
    bool overwrite;     /* of `output` */
    bool copy;          /* never change the file in place */
    /* Least room for later edits that the header is to have behind this one, held by a key
     * uqff.padding, an array of u8. A file that has the key keeps its room when this is 0. Edits in
     * place take from it and give back to it. */
    uint64_t reserve;
};
enum uqff_gguf_edit_way {
    UQFF_GGUF_EDIT_NOTHING,  /* the file has these keys already */
    UQFF_GGUF_EDIT_IN_PLACE, /* the new header fits before the data, which stays where it is */
    UQFF_GGUF_EDIT_COPIED,   /* a new file was written */
};
/* Ends an edit of a file that was opened by its path, and has not changed since. In place, the way
 * back is uqff_patch_file's; before the next edit, call uqff_patch_recover. UQFF_E_ARGUMENT when
 * split.no, split.count or split.tensors.count differ from the file's (in a file that is not of a
 * set they may be unset), and for an `output` where the file is one of a set. `layout` is finished
 * by this call, whether it succeeds or not, and the reader must not be used after it has succeeded
 * without an output. */
UQFF_API enum uqff_code
uqff_gguf_edit(const struct uqff_gguf *file, struct uqff_gguf_layout *layout,
               const struct uqff_gguf_edit_options *options, const struct uqff_progress *progress,
               enum uqff_gguf_edit_way *way, struct uqff_error *err) UQFF_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
