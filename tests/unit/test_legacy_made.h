/* Makes UQFF 0.x files, as the page on the format has them: no program writes them any more. */
#ifndef UQFF_TEST_LEGACY_MADE_H
#define UQFF_TEST_LEGACY_MADE_H

#include <stdio.h>

#include "tests/support/support.h"
#include "uqff/container.h"

#define LEGACY_VERSION 0x00000200u /* 0.2.0 */

/* Codes of dtypes in a blob. */
enum legacy_dtype { LEGACY_U8 = 0, LEGACY_U32 = 1, LEGACY_BF16 = 5, LEGACY_F32 = 6, LEGACY_F8 = 9 };

static inline void legacy_u8(struct uqff_buffer *blob, unsigned value) {
    unsigned char byte = (unsigned char)value;
    uqff_buffer_append(blob, &byte, 1);
}

static inline void legacy_u32(struct uqff_buffer *blob, uint32_t value) {
    unsigned char bytes[4];
    uqff_store_le32(bytes, value);
    uqff_buffer_append(blob, bytes, sizeof bytes);
}

/* Dimensions: the first `rank` of those given. */
static inline void legacy_shape(struct uqff_buffer *blob, unsigned rank, const uint32_t *shape) {
    legacy_u32(blob, rank);
    for (unsigned i = 0; i < rank; i++) {
        legacy_u32(blob, shape[i]);
    }
}

static inline void legacy_tensor(struct uqff_buffer *blob, enum legacy_dtype dtype, unsigned rank,
                                 const uint32_t *shape, const void *bytes, size_t n) {
    legacy_u32(blob, (uint32_t)n);
    legacy_u32(blob, dtype);
    legacy_shape(blob, rank, shape);
    uqff_buffer_append(blob, bytes, n);
}

static inline void legacy_head(struct uqff_buffer *blob, enum uqff_format format) {
    legacy_u32(blob, LEGACY_VERSION);
    legacy_u8(blob, format);
}

/* A weight of blocks, with a bias of F32 unless that is NULL. */
static inline void legacy_gguf(struct uqff_buffer *blob, uint32_t type, unsigned rank,
                               const uint32_t *shape, const void *bytes, size_t n,
                               const float *bias) {
    legacy_head(blob, UQFF_FORMAT_GGUF);
    legacy_u32(blob, (uint32_t)n);
    legacy_u8(blob, bias != NULL);
    legacy_u32(blob, type);
    legacy_shape(blob, rank, shape);
    uqff_buffer_append(blob, bytes, n);
    if (bias != NULL) {
        legacy_tensor(blob, LEGACY_F32, rank - 1, shape, bias, 4 * (size_t)shape[0]);
    }
}

static inline void legacy_unquant(struct uqff_buffer *blob, enum legacy_dtype dtype,
                                  const uint32_t shape[2], const void *bytes, size_t n) {
    legacy_head(blob, UQFF_FORMAT_UNQUANT);
    legacy_u8(blob, 0);
    legacy_tensor(blob, dtype, 2, shape, bytes, n);
}

/* The other formats, 64 rows of 64 weights, the content made of a number. */
enum { LEGACY_ROWS = 64, LEGACY_COLUMNS = 64 };

static inline unsigned char *legacy_content(size_t n, unsigned seed) {
    unsigned char *bytes = malloc(n);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)(seed + 31 * i + i / 7);
    }
    return bytes;
}

static inline void legacy_made_tensor(struct uqff_buffer *blob, enum legacy_dtype dtype,
                                      const uint32_t shape[2], size_t element, unsigned seed) {
    size_t n = (size_t)shape[0] * shape[1] * element;
    unsigned char *bytes = legacy_content(n, seed);
    if (dtype == LEGACY_F32 || dtype == LEGACY_BF16) {
        /* Exponents that are neither NaN nor huge. */
        for (size_t i = element - 1; i < n; i += element) {
            bytes[i] = 0x3d;
        }
    }
    if (dtype == LEGACY_F8) {
        for (size_t i = 0; i < n; i++) {
            bytes[i] &= 0x77;
        }
    }
    legacy_tensor(blob, dtype, 2, shape, bytes, n);
    free(bytes);
}

static inline void legacy_other(struct uqff_buffer *blob, enum uqff_format format) {
    static const uint32_t shape[2] = {LEGACY_ROWS, LEGACY_COLUMNS};
    static const float factors[3] = {0.5f, 0.5f, 2.0f};
    const uint32_t weights = LEGACY_ROWS * LEGACY_COLUMNS;
    unsigned char *bytes;
    legacy_head(blob, format);
    legacy_u8(blob, 0);
    switch (format) {
    case UQFF_FORMAT_HQQ:
        legacy_made_tensor(blob, LEGACY_U8, (const uint32_t[]){32, weights / 64}, 1, 1);
        legacy_made_tensor(blob, LEGACY_F32, (const uint32_t[]){1, weights / 64}, 4, 2);
        legacy_made_tensor(blob, LEGACY_F32, (const uint32_t[]){1, weights / 64}, 4, 3);
        legacy_shape(blob, 2, shape);
        legacy_u8(blob, 4);
        legacy_u32(blob, 64);
        legacy_u8(blob, 0);
        legacy_u32(blob, 10);
        legacy_u8(blob, 0);
        legacy_u8(blob, 1);
        break;
    case UQFF_FORMAT_FP8:
        legacy_made_tensor(blob, LEGACY_F8, shape, 1, 4);
        for (int i = 0; i < 3; i++) {
            uint32_t bits;
            memcpy(&bits, &factors[i], sizeof bits);
            legacy_u32(blob, bits);
        }
        legacy_u32(blob, 9);
        break;
    case UQFF_FORMAT_AFQ:
        legacy_made_tensor(blob, LEGACY_U32, (const uint32_t[]){64, 64 * 4 / 32}, 4, 5);
        legacy_made_tensor(blob, LEGACY_BF16, (const uint32_t[]){64, 1}, 2, 6);
        legacy_made_tensor(blob, LEGACY_BF16, (const uint32_t[]){64, 1}, 2, 7);
        legacy_u8(blob, 4);
        legacy_u8(blob, 64);
        break;
    case UQFF_FORMAT_F8Q8:
        legacy_u32(blob, weights / 32);
        legacy_shape(blob, 2, shape);
        bytes = legacy_content(33 * (size_t)weights / 32, 8);
        for (uint32_t i = 0; i < weights / 32; i++) {
            bytes[33 * (size_t)i] = 0x40;
        }
        uqff_buffer_append(blob, bytes, 33 * (size_t)weights / 32);
        free(bytes);
        break;
    case UQFF_FORMAT_MXFP4:
        legacy_made_tensor(blob, LEGACY_U8, (const uint32_t[]){64, 32}, 1, 9);
        legacy_made_tensor(blob, LEGACY_U8, (const uint32_t[]){64, 2}, 1, 10);
        break;
    default:
        fail_msg("no such format");
    }
}

/* Writes blobs as a file, called by numbers from `first` on. */
static inline void legacy_write(const char *path, const struct uqff_buffer *blobs, size_t count,
                                size_t first) {
    struct uqff_error err;
    struct uqff_st_layout *layout = NULL;
    struct uqff_buffer file = {0};
    assert_ok(uqff_st_layout_new(&layout, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char name[24];
        uint64_t size = blobs[i].size;
        snprintf(name, sizeof name, "%zu", first + i);
        assert_ok(uqff_st_layout_add(layout, name, UQFF_DTYPE_U8, &size, 1, NULL, &err), &err);
    }
    assert_ok(uqff_st_layout_header(layout, 8, &file, &err), &err);
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_append(&file, blobs[i].data, blobs[i].size);
    }
    assert_false(file.failed);
    write_file(path, file.data, file.size);
    uqff_buffer_free(&file);
    uqff_st_layout_free(layout);
}

#endif
