/* The reader's object, and the parsing of its header. */
#ifndef UQFF_SAFETENSORS_HEADER_H
#define UQFF_SAFETENSORS_HEADER_H

#include "safetensors/names.h"
#include "uqff/safetensors.h"

struct uqff_st_metadata {
    const char *key, *value;
    size_t value_length;
};

struct uqff_safetensors {
    struct uqff_source *source;
    struct uqff_arena arena; /* names, shapes, metadata */
    struct uqff_st_tensor *tensors;
    size_t count, capacity;
    struct uqff_st_metadata *metadata;
    size_t metadata_count, metadata_capacity;
    struct uqff_st_names names; /* of the tensors, numbered as they are */
    struct uqff_st_names keys;  /* of the metadata, likewise */
    uint64_t header_bytes;
    struct uqff_digest digest;
};

/* Parses the `n` bytes of a header, which begin at byte 8 of the file, into file->tensors, in the
 * order of the text, and file->metadata. Each entry is checked by itself: its fields, and that its
 * shape takes the bytes that its offsets span. tensor->offset is still relative to the data. */
enum uqff_code uqff_st_parse_header(struct uqff_safetensors *file, const char *text, size_t n,
                                    const struct uqff_warner *warner,
                                    struct uqff_error *err) UQFF_MUST_CHECK;

#endif
