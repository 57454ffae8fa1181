/*
 * safetensors: reader, writer and shard sets.
 *
 * The reader accepts what the format's document allows and refuses the rest, duplicates included,
 * which the reference reader lets pass. It checks everything at open: after that a tensor's range
 * is known to lie inside the file, and views cannot fail. spec/safetensors.md has the profile.
 */
#ifndef UQFF_SAFETENSORS_H
#define UQFF_SAFETENSORS_H

#include "uqff/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- element types --------------------------------------------------------------------------- */

/* In the order in which the reference writer ranks them, lowest first. */
enum uqff_dtype {
    UQFF_DTYPE_BOOL,
    UQFF_DTYPE_F4,
    UQFF_DTYPE_F6_E2M3,
    UQFF_DTYPE_F6_E3M2,
    UQFF_DTYPE_U8,
    UQFF_DTYPE_I8,
    UQFF_DTYPE_F8_E5M2,
    UQFF_DTYPE_F8_E4M3,
    UQFF_DTYPE_F8_E8M0,
    UQFF_DTYPE_F8_E4M3FNUZ,
    UQFF_DTYPE_F8_E5M2FNUZ,
    UQFF_DTYPE_I16,
    UQFF_DTYPE_U16,
    UQFF_DTYPE_F16,
    UQFF_DTYPE_BF16,
    UQFF_DTYPE_I32,
    UQFF_DTYPE_U32,
    UQFF_DTYPE_F32,
    UQFF_DTYPE_C64,
    UQFF_DTYPE_F64,
    UQFF_DTYPE_I64,
    UQFF_DTYPE_U64,
    UQFF_DTYPE_COUNT
};

UQFF_API const char *uqff_dtype_name(enum uqff_dtype dtype);
UQFF_API unsigned uqff_dtype_bits(enum uqff_dtype dtype); /* 4, 6, 8, 16, 32 or 64 */
/* Exact, case-sensitive look-up of `n` bytes. */
UQFF_API bool uqff_dtype_from_name(const char *name, size_t n, enum uqff_dtype *out);
/* Natural alignment in bytes: a power of two, at least 1. */
UQFF_API unsigned uqff_dtype_alignment(enum uqff_dtype dtype);
/* Bytes of a tensor: UQFF_E_OVERFLOW, or UQFF_E_SHAPE when its bits do not fill whole bytes.
 * Dimensions are multiplied in order, so an overflow is refused even if a later one is 0. */
UQFF_API enum uqff_code uqff_dtype_bytes(enum uqff_dtype dtype, const uint64_t *shape,
                                         unsigned rank, uint64_t *bytes,
                                         struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- reader ---------------------------------------------------------------------------------- */

#define UQFF_SAFETENSORS_MAX_HEADER 100000000u /* bytes, as the reference reader's limit */
#define UQFF_SAFETENSORS_MAX_RANK 64u
#define UQFF_SAFETENSORS_MAX_NAME 1024u       /* bytes of a tensor's name; warned of above 255 */
#define UQFF_SAFETENSORS_MAX_INDEX 100000000u /* bytes of an index file */
#define UQFF_SAFETENSORS_MAX_SHARDS 10000u

struct uqff_st_tensor {
    const char *name; /* unescaped, NUL-terminated; holds no NUL itself */
    size_t name_length;
    enum uqff_dtype dtype;
    unsigned rank;
    const uint64_t *shape; /* outermost first */
    uint64_t offset;       /* of the first byte, in the file */
    uint64_t bytes;
};

/* An open reader. A tensor's bytes are had by uqff_source_read from uqff_safetensors_source(file)
 * at tensor->offset, numbers little-endian; uqff_type_from_dtype (uqff/container.h) and
 * uqff_dequantize_row (uqff/quant.h) make float32 of them. */
struct uqff_safetensors;

/* Parses and validates the header of `source`, which must outlive the reader and is not owned.
 * Warnings (unknown fields, an empty name, white space other than spaces) go to `warner`. */
UQFF_API enum uqff_code uqff_safetensors_open(struct uqff_source *source,
                                              const struct uqff_warner *warner,
                                              struct uqff_safetensors **out,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_safetensors_close(struct uqff_safetensors *file);

UQFF_API struct uqff_source *uqff_safetensors_source(const struct uqff_safetensors *file);
UQFF_API size_t uqff_safetensors_count(const struct uqff_safetensors *file);
/* Tensors in data order (empty ones by name where they share an offset). i < count. */
UQFF_API const struct uqff_st_tensor *uqff_safetensors_tensor(const struct uqff_safetensors *file,
                                                              size_t i);
/* NULL when there is no tensor of that name. */
UQFF_API const struct uqff_st_tensor *uqff_safetensors_find(const struct uqff_safetensors *file,
                                                            const char *name);
/* The string map under __metadata__, in file order; 0 entries when there is none. Keys hold no NUL;
 * values may, and have one behind them. i < count; value_length may be NULL. */
UQFF_API size_t uqff_safetensors_metadata_count(const struct uqff_safetensors *file);
UQFF_API void uqff_safetensors_metadata(const struct uqff_safetensors *file, size_t i,
                                        const char **key, const char **value, size_t *value_length);
/* NULL when the key is absent. */
UQFF_API const char *uqff_safetensors_metadata_find(const struct uqff_safetensors *file,
                                                    const char *key, size_t *value_length);
/* Bytes of the header's JSON including its padding: data begins at 8 + this. */
UQFF_API uint64_t uqff_safetensors_header_bytes(const struct uqff_safetensors *file);
/* XXH3-128 of the header's JSON without its trailing padding. */
UQFF_API struct uqff_digest uqff_safetensors_header_digest(const struct uqff_safetensors *file);

/* ---- writer: plan first, then bytes ---------------------------------------------------------- */

/* A file's layout: entries are added in data order, each is given its offset at once, and the
 * header is rendered when all are there. The same calls give the same bytes.
 *
 * The order of calls: set the metadata, add the tensors, render the header; then make a sink
 * (uqff_sink_create), write the header at 0 and each tensor's bytes at the header's size plus its
 * offset (uqff_sink_write), and publish. */
struct uqff_st_layout;

UQFF_API enum uqff_code uqff_st_layout_new(struct uqff_st_layout **out,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_st_layout_free(struct uqff_st_layout *layout);

/* A string for __metadata__, in the order of the calls; a key twice replaces the value. Values of
 * one length may be replaced after sizes were asked for: a digest can be filled in at the end. */
UQFF_API enum uqff_code uqff_st_layout_metadata(struct uqff_st_layout *layout, const char *key,
                                                const char *value,
                                                struct uqff_error *err) UQFF_MUST_CHECK;
/* Appends a tensor behind the last one. `shape` is outermost first. Its data offset (relative to
 * the data section) is returned in *offset, which may be NULL. UQFF_E_LAYOUT when that offset is
 * not on the dtype's natural alignment (the caller orders or pads), UQFF_E_DUPLICATE, UQFF_E_NAME
 * (empty, NUL, not UTF-8, "__metadata__", above 1024 bytes). */
UQFF_API enum uqff_code uqff_st_layout_add(struct uqff_st_layout *layout, const char *name,
                                           enum uqff_dtype dtype, const uint64_t *shape,
                                           unsigned rank, uint64_t *offset,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API uint64_t uqff_st_layout_data_bytes(const struct uqff_st_layout *layout);
UQFF_API size_t uqff_st_layout_count(const struct uqff_st_layout *layout);
/* Renders the 8 length bytes and the header: compact JSON, __metadata__ first (left out when
 * empty), tensors in the order added, padded with spaces so that data begins on a multiple of
 * `alignment` (a power of two, at least 8). Appends to `out`. UQFF_E_LIMIT above the format's
 * header limit. */
UQFF_API enum uqff_code uqff_st_layout_header(const struct uqff_st_layout *layout,
                                              unsigned alignment, struct uqff_buffer *out,
                                              struct uqff_error *err) UQFF_MUST_CHECK;
/* Bytes that the header would take (8 length bytes and padding included) at that alignment; 0 when
 * the alignment is invalid. */
UQFF_API uint64_t uqff_st_layout_header_bytes(const struct uqff_st_layout *layout,
                                              unsigned alignment);

/* ---- sets of files --------------------------------------------------------------------------- */

/* One safetensors file, or the shards that an index names: opened, validated, and seen as one list
 * of tensors in order of name. Refuses: unsafe shard names, a missing shard, a tensor that is not
 * where the index says, one that the index does not list, one in two shards. */
struct uqff_safetensors_set;

struct uqff_st_set_tensor {
    const struct uqff_st_tensor *tensor;
    size_t file; /* which file it lies in; shards are in order of name */
};

/* `path`: a .safetensors file, or an index such as model.safetensors.index.json: what ends in .json
 * is read as one. All files of a set stay open until it is closed. */
UQFF_API enum uqff_code uqff_safetensors_set_open(const char *path,
                                                  const struct uqff_warner *warner,
                                                  struct uqff_safetensors_set **out,
                                                  struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_safetensors_set_close(struct uqff_safetensors_set *set);
UQFF_API size_t uqff_safetensors_set_file_count(const struct uqff_safetensors_set *set);
UQFF_API struct uqff_safetensors *uqff_safetensors_set_file(const struct uqff_safetensors_set *set,
                                                            size_t i);
UQFF_API size_t uqff_safetensors_set_count(const struct uqff_safetensors_set *set);
UQFF_API struct uqff_st_set_tensor
uqff_safetensors_set_tensor(const struct uqff_safetensors_set *set, size_t i);
/* False when there is no tensor of that name. */
UQFF_API bool uqff_safetensors_set_find(const struct uqff_safetensors_set *set, const char *name,
                                        struct uqff_st_set_tensor *out);

#ifdef __cplusplus
}
#endif

#endif
