/* The layout of a file to be written, shared by the files that fill, place and render it. */
#ifndef UQFF_GGUF_WRITER_H
#define UQFF_GGUF_WRITER_H

#include "internal.h"

#define GGUF_MAX_WRITTEN_NAME 63u /* bytes; llama.cpp takes no more */
#define GGUF_FIXED_HEADER 24u     /* magic, version, two counts */

struct layout_key {
    const char *name; /* in the arena */
    /* Kind and value as they stand in the file. */
    struct uqff_buffer value;
    bool unset; /* keeps its place in the table, so that removing is no search */
};

struct layout_tensor {
    const char *name; /* in the arena */
    uint32_t type;
    unsigned n_dims;
    uint64_t ne[UQFF_GGUF_MAX_DIMS];
    uint64_t bytes;
    uint64_t offset; /* from the beginning of the data of its file */
    size_t file;
};

struct layout_file {
    size_t first, count; /* tensors */
    uint64_t data_offset;
    uint64_t data_bytes; /* padding included */
};

struct uqff_gguf_layout {
    struct uqff_arena arena;
    uint64_t alignment;
    bool empty_first;
    bool keep_split; /* the split keys are those of a file that is edited, and stay */
    bool finished;

    struct layout_key *keys;
    size_t key_count, key_capacity;
    struct gguf_index key_index;

    struct layout_tensor *tensors;
    size_t tensor_count, tensor_capacity;
    struct gguf_index tensor_index;

    struct layout_file *files;
    size_t file_count, file_capacity;
};

/* ---- writer_header.c: the pairs and infos of a file, measured and rendered ------------------- */

/* True for the keys that say what a file is in its set: a layout writes its own. */
bool uqff_gguf_is_split_key(const char *key);
/* Bytes of everything before the data of a file, without padding. False when there are too many
 * to count. */
bool uqff_gguf_measure_header(const struct uqff_gguf_layout *layout, size_t file, uint64_t *bytes);

/* ---- writer.c -------------------------------------------------------------------------------- */

/* Room in the header for later edits: an array of u8 that nobody reads. */
#define GGUF_PADDING_KEY "uqff.padding"
/* Gives the padding key of a finished layout of one file the length with which the data begins at
 * `data_offset`, a multiple of the alignment; *fits is false when the other keys and the infos go
 * beyond. */
enum uqff_code uqff_gguf_layout_fit(struct uqff_gguf_layout *layout, uint64_t data_offset,
                                    bool *fits, struct uqff_error *err);
/* The length of the padding key, and what the header takes without it. */
uint64_t uqff_gguf_layout_padding(const struct uqff_gguf_layout *layout);
uint64_t uqff_gguf_layout_least(const struct uqff_gguf_layout *layout);

/* ---- writer_values.c ------------------------------------------------------------------------- */

/* Whether the key is set, to an array of u8. */
bool uqff_gguf_has_padding(const struct uqff_gguf_layout *layout);
/* Makes that n zeros. Unlike the setters it may change the length in a finished layout. */
enum uqff_code uqff_gguf_set_padding(struct uqff_gguf_layout *layout, size_t n,
                                     struct uqff_error *err);
/* NULL when the key is not set. */
const struct layout_key *uqff_gguf_layout_find(const struct uqff_gguf_layout *layout,
                                               const char *key);
/* Appends kind and value of a file's key as a layout keeps them. */
void uqff_gguf_encode_value(struct uqff_buffer *out, const struct uqff_gguf *file, size_t key);

/* ---- rewrite.c: files made from those of a reader -------------------------------------------- */

struct gguf_rewrite {
    const struct uqff_gguf *file;          /* whose first tensors are those of the layout */
    const struct uqff_gguf_layout *layout; /* finished */
    const char *const *paths;              /* one for each file of the layout */
    bool overwrite;
    bool replaces_source; /* the one path is the reader's first file */
    const char *stage;    /* for progress */
    const struct uqff_progress *progress;
};
/* Refuses big-endian files: the numbers in their data would have to be turned as well. */
enum uqff_code uqff_gguf_rewrite_check(const struct uqff_gguf *file, struct uqff_error *err);
/* Sets the keys of `file`, and the tensors of all its files or of the first, in a new layout. */
enum uqff_code uqff_gguf_rewrite_layout(const struct uqff_gguf *file, bool first_only,
                                        struct uqff_gguf_layout **out, struct uqff_error *err);
/* UQFF_E_ARGUMENT when a single file would be named as one of several. */
enum uqff_code uqff_gguf_check_single_name(const char *path, struct uqff_error *err);
/* Writes all files under temporary names, reads them back, and publishes them, the first one last:
 * a set is known by its first file. */
enum uqff_code uqff_gguf_rewrite_run(const struct gguf_rewrite *rewrite, struct uqff_error *err);

#endif
