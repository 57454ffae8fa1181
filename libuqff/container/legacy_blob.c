/*
 * One blob of a UQFF 0.x file, numbers little-endian:
 *
 *     head    u32 version (major << 16 | minor << 8 | patch), u8 format
 *     TENSOR  u32 bytes, u32 dtype, u32 rank, u32 dim[rank], bytes
 *
 *     Gguf     head, u32 bytes, u8 has_bias, u32 type, u32 rank, u32 dim[], blocks, [TENSOR bias]
 *     Unquant  head, u8 has_bias, TENSOR weight, [TENSOR bias]
 *     Hqq      head, u8 has_bias, TENSOR weight, TENSOR scales, TENSOR zeros, u32 rank, u32 dim[],
 *              u8 bits, u32 group, u8 axis, u32 steps, u8 round_zeros, u8 channel_wise, [TENSOR
 * bias] Fp8      head, u8 has_bias, TENSOR weight, f32 dequantize_w, f32 dequantize_x, f32
 * quantize, u32 dtype, [TENSOR bias] Afq      head, u8 has_bias, TENSOR weight, TENSOR scales,
 * TENSOR biases, u8 bits, u8 group, [TENSOR bias] F8Q8     head, u8 has_bias, u32 blocks, u32 rank,
 * u32 dim[], 33 bytes a block, [TENSOR bias] Mxfp4    head, u8 has_bias, TENSOR weight, TENSOR
 * scales, [TENSOR bias]
 *
 * Every length is compared with what its dimensions say and with what is left of the blob. The
 * writer's 32 bits let lengths of 4 GiB and more wrap; the dimensions tell the real ones.
 */
#include <string.h>

#include "container/legacy.h"

struct blob {
    struct uqff_source *source;
    struct uqff_arena *arena;
    const char *name; /* the ordinal */
    uint64_t at, end;
    struct uqff_error *err;
};

static enum uqff_code fail(const struct blob *b, enum uqff_code code, const char *format, ...)
    UQFF_PRINTF(3, 4);

static enum uqff_code fail(const struct blob *b, enum uqff_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    uqff_vfail(b->err, code, b->at, format, args);
    va_end(args);
    uqff_error_prefix(b->err, "%s: layer %s", uqff_source_name(b->source), b->name);
    return code;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static enum uqff_code take(struct blob *b, void *out, size_t n, const char *what) {
    if (n > b->end - b->at) {
        return fail(b, UQFF_E_TRUNCATED, "%s: found %llu bytes, expected %zu", what,
                    (unsigned long long)(b->end - b->at), n);
    }
    enum uqff_code code = uqff_source_read(b->source, b->at, out, n, b->err);
    b->at += n;
    return code;
}

static enum uqff_code take_u8(struct blob *b, const char *what, unsigned *out) {
    unsigned char byte = 0;
    enum uqff_code code = take(b, &byte, 1, what);
    *out = byte;
    return code;
}

static enum uqff_code take_u32(struct blob *b, const char *what, uint32_t *out) {
    unsigned char bytes[4] = {0};
    enum uqff_code code = take(b, bytes, sizeof bytes, what);
    *out = uqff_load_le32(bytes);
    return code;
}

static enum uqff_code take_flag(struct blob *b, const char *what, bool *out) {
    unsigned byte = 0;
    enum uqff_code code = take_u8(b, what, &byte);
    if (code == UQFF_OK && byte > 1) {
        return fail(b, UQFF_E_FIELD, "%s: found %u, expected 0 or 1", what, byte);
    }
    *out = byte == 1;
    return code;
}

/* Dimensions, each at least 1, at most as many as a container's shape may have. */
static enum uqff_code take_shape(struct blob *b, const char *what, unsigned *rank,
                                 const uint64_t **shape) {
    uint32_t n = 0, dimension = 0;
    enum uqff_code code = take_u32(b, what, &n);
    if (code != UQFF_OK) {
        return code;
    }
    if (n > UQFF_CONTAINER_MAX_RANK) {
        return fail(b, UQFF_E_LIMIT, "%s: found %u dimensions, expected at most %d", what, n,
                    UQFF_CONTAINER_MAX_RANK);
    }
    uint64_t *dimensions = uqff_arena_array(b->arena, n, sizeof *dimensions);
    if (dimensions == NULL) {
        return uqff_fail_memory(b->err);
    }
    for (uint32_t i = 0; i < n; i++) {
        code = take_u32(b, what, &dimension);
        if (code != UQFF_OK) {
            return code;
        }
        if (dimension == 0) {
            return fail(b, UQFF_E_SHAPE, "%s: dimension %u is 0, expected at least 1", what, i);
        }
        dimensions[i] = dimension;
    }
    *rank = n;
    *shape = dimensions;
    return UQFF_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static const enum uqff_dtype dtypes[] = {
    UQFF_DTYPE_U8,      UQFF_DTYPE_U32,     UQFF_DTYPE_I32, UQFF_DTYPE_I64,     UQFF_DTYPE_F16,
    UQFF_DTYPE_BF16,    UQFF_DTYPE_F32,     UQFF_DTYPE_F64, UQFF_DTYPE_I16,     UQFF_DTYPE_F8_E4M3,
    UQFF_DTYPE_F6_E2M3, UQFF_DTYPE_F6_E3M2, UQFF_DTYPE_F4,  UQFF_DTYPE_F8_E8M0,
};

/* Bytes that follow: `expected` by their dimensions; `declared` is the same modulo 2^32. */
static enum uqff_code take_data(struct blob *b, const char *what, uint64_t expected,
                                uint32_t declared, struct uqff_legacy_tensor *out) {
    if ((uint32_t)expected != declared) {
        return fail(b, UQFF_E_SHAPE, "%s: found a length of %u, expected %llu by its shape", what,
                    declared, (unsigned long long)expected);
    }
    if (expected > b->end - b->at) {
        return fail(b, UQFF_E_TRUNCATED, "%s: found %llu bytes, expected %llu", what,
                    (unsigned long long)(b->end - b->at), (unsigned long long)expected);
    }
    out->source = b->source;
    out->offset = b->at;
    out->bytes = expected;
    b->at += expected;
    return UQFF_OK;
}

static enum uqff_code take_tensor(struct blob *b, const char *what,
                                  struct uqff_legacy_tensor *out) {
    uint32_t declared = 0, dtype = 0;
    uint64_t bytes = 0;
    enum uqff_code code = take_u32(b, what, &declared);
    code = code != UQFF_OK ? code : take_u32(b, what, &dtype);
    if (code == UQFF_OK && dtype >= sizeof dtypes / sizeof *dtypes) {
        return fail(b, UQFF_E_TYPE, "%s: found dtype %u, expected 0 to 13", what, dtype);
    }
    code = code != UQFF_OK ? code : take_shape(b, what, &out->rank, &out->shape);
    if (code != UQFF_OK) {
        return code;
    }
    out->dtype = dtypes[dtype];
    code = uqff_dtype_bytes(out->dtype, out->shape, out->rank, &bytes, b->err);
    if (code != UQFF_OK) {
        uqff_error_prefix(b->err, "%s: layer %s: %s", uqff_source_name(b->source), b->name, what);
        return code;
    }
    return take_data(b, what, bytes, declared, out);
}

static enum uqff_code expect_dtype(const struct blob *b, const char *what,
                                   const struct uqff_legacy_tensor *tensor, enum uqff_dtype dtype) {
    return tensor->dtype == dtype ? UQFF_OK
                                  : fail(b, UQFF_E_TYPE, "%s: found %s, expected %s", what,
                                         uqff_dtype_name(tensor->dtype), uqff_dtype_name(dtype));
}

/* The rest of the data is `bytes` of blocks, of which the blob says `declared`. */
static enum uqff_code take_blocks(struct blob *b, uint64_t bytes, uint32_t declared,
                                  struct uqff_legacy_layer *out) {
    uint64_t *length = uqff_arena_array(b->arena, 1, sizeof *length);
    if (length == NULL) {
        return uqff_fail_memory(b->err);
    }
    *length = bytes;
    out->weight.dtype = UQFF_DTYPE_U8;
    out->weight.rank = 1;
    out->weight.shape = length;
    return take_data(b, "blocks", bytes, declared, &out->weight);
}

/* ---- formats --------------------------------------------------------------------------------- */

typedef enum uqff_code read_format(struct blob *b, struct uqff_legacy_layer *out);

static enum uqff_code read_gguf(struct blob *b, struct uqff_legacy_layer *out) {
    uint32_t declared = 0;
    uint64_t bytes = 0;
    enum uqff_code code = take_u32(b, "blocks", &declared);
    code = code != UQFF_OK ? code : take_flag(b, "has_bias", &out->has_bias);
    code = code != UQFF_OK ? code : take_u32(b, "type", &out->type);
    code = code != UQFF_OK ? code : take_shape(b, "blocks", &out->rank, &out->shape);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_tensor_bytes(out->type, out->shape, out->rank, &bytes, b->err);
    if (code != UQFF_OK) {
        uqff_error_prefix(b->err, "%s: layer %s: blocks", uqff_source_name(b->source), b->name);
        return code;
    }
    return take_blocks(b, bytes, declared, out);
}

static enum uqff_code read_unquant(struct blob *b, struct uqff_legacy_layer *out) {
    enum uqff_code code = take_flag(b, "has_bias", &out->has_bias);
    code = code != UQFF_OK ? code : take_tensor(b, "weight", &out->weight);
    out->type = uqff_type_from_dtype(out->weight.dtype);
    out->rank = out->weight.rank;
    out->shape = out->weight.shape;
    return code;
}

static enum uqff_code read_hqq(struct blob *b, struct uqff_legacy_layer *out) {
    enum uqff_code code = take_flag(b, "has_bias", &out->has_bias);
    code = code != UQFF_OK ? code : take_tensor(b, "weight", &out->weight);
    code = code != UQFF_OK ? code : take_tensor(b, "scales", &out->scales);
    code = code != UQFF_OK ? code : take_tensor(b, "zeros", &out->zeros);
    code = code != UQFF_OK ? code : take_shape(b, "shape", &out->rank, &out->shape);
    code = code != UQFF_OK ? code : take_u8(b, "bits", &out->bits);
    code = code != UQFF_OK ? code : take_u32(b, "group", &out->group);
    code = code != UQFF_OK ? code : take_u8(b, "axis", &out->axis);
    code = code != UQFF_OK ? code : take_u32(b, "optimization steps", &out->optimization_steps);
    code = code != UQFF_OK ? code : take_flag(b, "round_zeros", &out->round_zeros);
    return code != UQFF_OK ? code : take_flag(b, "channel_wise", &out->channel_wise);
}

static enum uqff_code read_fp8(struct blob *b, struct uqff_legacy_layer *out) {
    enum uqff_code code = take_flag(b, "has_bias", &out->has_bias);
    code = code != UQFF_OK ? code : take_tensor(b, "weight", &out->weight);
    code = code != UQFF_OK ? code : take(b, out->factors, sizeof out->factors, "factors");
    code = code != UQFF_OK ? code : take_u32(b, "dtype", &out->dtype_code);
    out->rank = out->weight.rank;
    out->shape = out->weight.shape;
    return code != UQFF_OK ? code : expect_dtype(b, "weight", &out->weight, UQFF_DTYPE_F8_E4M3);
}

/* The weight's shape from that of its packed form: the last dimension holds so many to an element.
 */
static enum uqff_code unpack_shape(struct blob *b, struct uqff_legacy_layer *out, uint64_t times,
                                   uint64_t parts) {
    unsigned rank = out->weight.rank;
    uint64_t *shape = uqff_arena_array(b->arena, rank, sizeof *shape);
    if (shape == NULL) {
        return uqff_fail_memory(b->err);
    }
    if (rank == 0 || out->weight.shape[rank - 1] * times % parts != 0) {
        return fail(b, UQFF_E_SHAPE, "weight: its rows hold no whole number of weights");
    }
    memcpy(shape, out->weight.shape, rank * sizeof *shape);
    /* Each dimension is a 32-bit number, so the product fits. */
    shape[rank - 1] = shape[rank - 1] * times / parts;
    out->rank = rank;
    out->shape = shape;
    return UQFF_OK;
}

static enum uqff_code read_afq(struct blob *b, struct uqff_legacy_layer *out) {
    unsigned group = 0;
    enum uqff_code code = take_flag(b, "has_bias", &out->has_bias);
    code = code != UQFF_OK ? code : take_tensor(b, "weight", &out->weight);
    code = code != UQFF_OK ? code : take_tensor(b, "scales", &out->scales);
    code = code != UQFF_OK ? code : take_tensor(b, "biases", &out->zeros);
    code = code != UQFF_OK ? code : take_u8(b, "bits", &out->bits);
    code = code != UQFF_OK ? code : take_u8(b, "group", &group);
    out->group = group;
    code = code != UQFF_OK ? code : expect_dtype(b, "weight", &out->weight, UQFF_DTYPE_U32);
    if (code == UQFF_OK && (out->bits == 0 || out->bits > 8)) {
        return fail(b, UQFF_E_FIELD, "bits: found %u, expected 2, 3, 4, 6 or 8", out->bits);
    }
    return code != UQFF_OK ? code : unpack_shape(b, out, 32, out->bits);
}

static enum uqff_code read_f8q8(struct blob *b, struct uqff_legacy_layer *out) {
    enum { BLOCK = 33, WEIGHTS = 32 };
    uint64_t weights = 1;
    enum uqff_code code = take_flag(b, "has_bias", &out->has_bias);
    code = code != UQFF_OK ? code : take_u32(b, "blocks", &out->blocks);
    code = code != UQFF_OK ? code : take_shape(b, "shape", &out->rank, &out->shape);
    if (code != UQFF_OK) {
        return code;
    }
    for (unsigned i = 0; i < out->rank; i++) {
        if (!uqff_mul_u64(weights, out->shape[i], &weights)) {
            return fail(b, UQFF_E_OVERFLOW, "shape: its product does not fit 64 bits");
        }
    }
    if (weights / WEIGHTS + (weights % WEIGHTS != 0) != out->blocks) {
        return fail(b, UQFF_E_SHAPE, "blocks: found %u, expected one for %d of %llu weights",
                    out->blocks, WEIGHTS, (unsigned long long)weights);
    }
    const uint64_t bytes = (uint64_t)BLOCK * out->blocks;
    return take_blocks(b, bytes, (uint32_t)bytes, out);
}

static enum uqff_code read_mxfp4(struct blob *b, struct uqff_legacy_layer *out) {
    enum uqff_code code = take_flag(b, "has_bias", &out->has_bias);
    code = code != UQFF_OK ? code : take_tensor(b, "weight", &out->weight);
    code = code != UQFF_OK ? code : take_tensor(b, "scales", &out->scales);
    code = code != UQFF_OK ? code : expect_dtype(b, "weight", &out->weight, UQFF_DTYPE_U8);
    code = code != UQFF_OK ? code : expect_dtype(b, "scales", &out->scales, UQFF_DTYPE_U8);
    return code != UQFF_OK ? code : unpack_shape(b, out, 2, 1);
}

static read_format *const readers[] = {
    [UQFF_FORMAT_GGUF] = read_gguf,   [UQFF_FORMAT_UNQUANT] = read_unquant,
    [UQFF_FORMAT_HQQ] = read_hqq,     [UQFF_FORMAT_FP8] = read_fp8,
    [UQFF_FORMAT_AFQ] = read_afq,     [UQFF_FORMAT_F8Q8] = read_f8q8,
    [UQFF_FORMAT_MXFP4] = read_mxfp4,
};

static enum uqff_code read_head(struct blob *b, struct uqff_legacy_layer *out) {
    enum { NEWEST_MINOR = 2 };
    uint32_t version = 0;
    unsigned format = 0;
    enum uqff_code code = take_u32(b, "version", &version);
    if (code == UQFF_OK && (version >> 16 != 0 || (version >> 8 & 0xff) > NEWEST_MINOR)) {
        return fail(b, UQFF_E_VERSION, "found version %u.%u.%u, expected 0.1 or 0.2", version >> 16,
                    version >> 8 & 0xff, version & 0xff);
    }
    code = code != UQFF_OK ? code : take_u8(b, "format", &format);
    if (code == UQFF_OK && format >= sizeof readers / sizeof *readers) {
        return fail(b, UQFF_E_TYPE, "found format %u, expected 0 to 6", format);
    }
    out->version = version;
    out->format = (enum uqff_format)format;
    out->type = UINT32_MAX;
    return code;
}

enum uqff_code uqff_legacy_blob(struct uqff_source *source, const struct uqff_st_tensor *tensor,
                                struct uqff_arena *arena, struct uqff_legacy_layer *out,
                                struct uqff_error *err) {
    struct blob b = {
        .source = source,
        .arena = arena,
        .name = tensor->name,
        .at = tensor->offset,
        .end = tensor->offset + tensor->bytes,
        .err = err,
    };
    *out = (struct uqff_legacy_layer){0};
    enum uqff_code code = read_head(&b, out);
    code = code != UQFF_OK ? code : readers[out->format](&b, out);
    if (code == UQFF_OK && out->has_bias) {
        code = take_tensor(&b, "bias", &out->bias);
    }
    if (code == UQFF_OK && b.at != b.end) {
        code = fail(&b, UQFF_E_LAYOUT, "found %llu bytes behind its last field, expected none",
                    (unsigned long long)(b.end - b.at));
    }
    return code;
}
