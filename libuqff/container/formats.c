/* The seven encodings that `weight.format` names: which side entries each must have, and whether
 * dtypes, shapes and sizes fit together. spec/uqff.md has the layouts. */
#include <stdio.h>
#include <string.h>

#include "container/internal.h"

enum form {
    SCALAR, /* shape [] */
    VECTOR, /* shape [n], the dimensions of the weight */
    ARRAY,  /* checked by the format itself */
};

#define DTYPE(name) (1u << UQFF_DTYPE_##name)
#define FLOATS (DTYPE(F32) | DTYPE(F16) | DTYPE(BF16))

struct side_rule {
    enum uqff_side side;
    enum form form;
    unsigned dtypes; /* a set */
};

#define MAX_SIDES 10

struct check {
    const struct uqff_canonical *canonical;
    struct uqff_arena *arena;
    struct uqff_error *err;
    struct uqff_blob *blob;
    unsigned rank;
    const uint64_t *shape;
    uint64_t weights;
    struct uqff_coding coding;
};

struct format_row {
    const char *name;
    unsigned dtypes; /* of the weight */
    unsigned min_rank, max_rank;
    bool has_coding;
    enum uqff_code (*check)(struct check *check);
    struct side_rule sides[MAX_SIDES];
    size_t side_count;
};

static const char *const suffixes[UQFF_SIDE_COUNT] = {
    [UQFF_SIDE_FORMAT] = "format",
    [UQFF_SIDE_DTYPE] = "dtype",
    [UQFF_SIDE_SHAPE] = "shape",
    [UQFF_SIDE_BITS] = "bits",
    [UQFF_SIDE_GROUP_SIZE] = "group_size",
    [UQFF_SIDE_AXIS] = "axis",
    [UQFF_SIDE_OPTIMIZATION_STEPS] = "optimization_steps",
    [UQFF_SIDE_ROUND_ZEROS] = "round_zeros",
    [UQFF_SIDE_CHANNEL_WISE] = "channel_wise",
    [UQFF_SIDE_DEQUANT_W_SCALE] = "dequant_w_scale",
    [UQFF_SIDE_DEQUANT_X_SCALE] = "dequant_x_scale",
    [UQFF_SIDE_QUANT_SCALE] = "quant_scale",
    [UQFF_SIDE_NUM_BLOCKS] = "num_blocks",
    [UQFF_SIDE_SCALES] = "scales",
    [UQFF_SIDE_ZEROS] = "zeros",
    [UQFF_SIDE_BIASES] = "biases",
};

enum uqff_side uqff_container_side(const char *suffix) {
    unsigned i = 0;
    while (i < UQFF_SIDE_COUNT && strcmp(suffixes[i], suffix) != 0) {
        i++;
    }
    return (enum uqff_side)i;
}

/* ---- helpers ------------------------------------------------------------------------------------
 */

static const char *where(const struct check *check) {
    return uqff_source_name(check->canonical->source);
}

/* Fails at the weight or one of its sides. */
static enum uqff_code fail_at(const struct check *check, enum uqff_code code,
                              const struct uqff_entry *entry, const char *format, ...)
    UQFF_PRINTF(4, 5);

static enum uqff_code fail_at(const struct check *check, enum uqff_code code,
                              const struct uqff_entry *entry, const char *format, ...) {
    va_list args;
    va_start(args, format);
    uqff_vfail(check->err, code, entry->tensor->offset, format, args);
    va_end(args);
    uqff_error_prefix(check->err, "%s: '%s'", where(check), entry->tensor->name);
    return code;
}

static const struct uqff_entry *side_entry(const struct check *check, enum uqff_side side) {
    return &check->canonical->side[side];
}

/* Scalars of which the rules have checked that they are there. */
static uint32_t side_u8(const struct check *check, enum uqff_side side) {
    return check->canonical->value[side][0];
}
static uint32_t side_u32(const struct check *check, enum uqff_side side) {
    return uqff_load_le32(check->canonical->value[side]);
}

enum uqff_code uqff_container_weights(const char *where_text, const char *entry,
                                      const uint64_t *shape, unsigned rank, uint64_t *weights,
                                      struct uqff_error *err) {
    *weights = 1;
    for (unsigned i = 0; i < rank; i++) {
        if (shape[i] == 0) {
            return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                             "%s: '%s': dimension %u is 0, expected at least 1", where_text, entry,
                             i);
        }
        if (!uqff_mul_u64(*weights, shape[i], weights)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "%s: '%s': the product of the dimensions does not fit 64 bits",
                             where_text, entry);
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_container_shape(const struct uqff_entry *entry, const unsigned char *value,
                                    const char *where_text, struct uqff_arena *arena,
                                    unsigned *rank, const uint64_t **shape,
                                    struct uqff_error *err) {
    const struct uqff_st_tensor *tensor = entry->tensor;
    if (tensor->dtype != UQFF_DTYPE_U32 || tensor->rank != 1 || tensor->shape[0] == 0 ||
        tensor->shape[0] > UQFF_CONTAINER_MAX_RANK || value == NULL) {
        return uqff_fail(err, UQFF_E_FIELD, tensor->offset,
                         "%s: '%s': found %s of rank %u and %llu bytes, expected U32 [1 to %d]",
                         where_text, tensor->name, uqff_dtype_name(tensor->dtype), tensor->rank,
                         (unsigned long long)tensor->bytes, UQFF_CONTAINER_MAX_RANK);
    }
    unsigned n = (unsigned)tensor->shape[0];
    uint64_t *dims = uqff_arena_array(arena, n, sizeof *dims);
    if (dims == NULL) {
        return uqff_fail_memory(err);
    }
    for (unsigned i = 0; i < n; i++) {
        dims[i] = uqff_load_le32(value + 4 * (size_t)i);
    }
    *rank = n;
    *shape = dims;
    return UQFF_OK;
}

/* The logical shape is the weight's own. */
static enum uqff_code shape_of_weight(struct check *check) {
    const struct uqff_st_tensor *tensor = check->canonical->weight.tensor;
    if (tensor->rank > UQFF_CONTAINER_MAX_RANK) {
        return fail_at(check, UQFF_E_SHAPE, &check->canonical->weight,
                       "rank %u is above the limit of %d", tensor->rank, UQFF_CONTAINER_MAX_RANK);
    }
    check->rank = tensor->rank;
    check->shape = tensor->shape; /* lives as long as the shard */
    return UQFF_OK;
}

/* The logical shape is the weight's own but for the last dimension. */
static enum uqff_code shape_of_packed(struct check *check, uint64_t columns) {
    enum uqff_code code = shape_of_weight(check);
    if (code != UQFF_OK) {
        return code;
    }
    uint64_t *dims = uqff_arena_array(check->arena, check->rank, sizeof *dims);
    if (dims == NULL) {
        return uqff_fail_memory(check->err);
    }
    memcpy(dims, check->shape, check->rank * sizeof *dims);
    dims[check->rank - 1] = columns;
    check->shape = dims;
    return UQFF_OK;
}

static enum uqff_code shape_of_side(struct check *check) {
    return uqff_container_shape(side_entry(check, UQFF_SIDE_SHAPE),
                                check->canonical->value[UQFF_SIDE_SHAPE], where(check),
                                check->arena, &check->rank, &check->shape, check->err);
}

/* The weight as one dimension of `bytes` bytes. */
static enum uqff_code expect_bytes(struct check *check, uint64_t bytes) {
    const struct uqff_st_tensor *tensor = check->canonical->weight.tensor;
    if (tensor->rank != 1 || tensor->bytes != bytes) {
        return fail_at(check, UQFF_E_SHAPE, &check->canonical->weight,
                       "found rank %u and %llu bytes, expected rank 1 and %llu bytes", tensor->rank,
                       (unsigned long long)tensor->bytes, (unsigned long long)bytes);
    }
    return UQFF_OK;
}

/* An array beside the weight: its leading dimensions are the weight's, its last is `last`. */
static enum uqff_code expect_grouped(struct check *check, enum uqff_side side, uint64_t last) {
    const struct uqff_st_tensor *array = side_entry(check, side)->tensor;
    const struct uqff_st_tensor *weight = check->canonical->weight.tensor;
    bool same = array->rank == weight->rank && array->shape[array->rank - 1] == last;
    for (unsigned i = 0; same && i + 1 < array->rank; i++) {
        same = array->shape[i] == weight->shape[i];
    }
    if (!same) {
        return fail_at(check, UQFF_E_SHAPE, side_entry(check, side),
                       "its shape does not fit the weight's, expected the same but for a last "
                       "dimension of %llu",
                       (unsigned long long)last);
    }
    return UQFF_OK;
}

static enum uqff_code expect_matrix(struct check *check, const struct uqff_entry *entry,
                                    uint64_t rows, uint64_t columns) {
    const struct uqff_st_tensor *tensor = entry->tensor;
    if (tensor->rank != 2 || tensor->shape[0] != rows || tensor->shape[1] != columns) {
        return fail_at(check, UQFF_E_SHAPE, entry,
                       "found rank %u and %llu bytes, expected the shape [%llu, %llu]",
                       tensor->rank, (unsigned long long)tensor->bytes, (unsigned long long)rows,
                       (unsigned long long)columns);
    }
    return UQFF_OK;
}

static enum uqff_code count_weights(struct check *check) {
    return uqff_container_weights(where(check), check->canonical->weight.tensor->name, check->shape,
                                  check->rank, &check->weights, check->err);
}

/* ---- the formats --------------------------------------------------------------------------------
 */

static enum uqff_code check_gguf(struct check *check) {
    /* The codes of UQFF are ggml's ids, but not all ids are codes. */
    static const uint32_t codes[] = {
        UQFF_TYPE_F32,  UQFF_TYPE_F16,  UQFF_TYPE_Q4_0, UQFF_TYPE_Q4_1, UQFF_TYPE_Q5_0,
        UQFF_TYPE_Q5_1, UQFF_TYPE_Q8_0, UQFF_TYPE_Q8_1, UQFF_TYPE_Q2_K, UQFF_TYPE_Q3_K,
        UQFF_TYPE_Q4_K, UQFF_TYPE_Q5_K, UQFF_TYPE_Q6_K, UQFF_TYPE_Q8_K, UQFF_TYPE_BF16,
    };
    uint32_t type = side_u32(check, UQFF_SIDE_DTYPE);
    size_t i = 0;
    while (i < sizeof codes / sizeof *codes && codes[i] != type) {
        i++;
    }
    if (i == sizeof codes / sizeof *codes) {
        return fail_at(check, UQFF_E_TYPE, side_entry(check, UQFF_SIDE_DTYPE),
                       "block type code %u (%s), expected one that UQFF has: 0 to 3, 6 to 15, 30",
                       type, uqff_type_name(type));
    }
    uint64_t bytes;
    enum uqff_code code;
    if ((code = shape_of_side(check)) != UQFF_OK || (code = count_weights(check)) != UQFF_OK) {
        return code;
    }
    /* mistral.rs lets blocks run over the ends of rows, so only their sum is counted here. */
    if ((code = uqff_tensor_bytes(type, &check->weights, 1, &bytes, check->err)) != UQFF_OK) {
        uqff_error_prefix(check->err, "%s: '%s'", where(check),
                          check->canonical->weight.tensor->name);
        return code;
    }
    check->blob->type = type;
    return expect_bytes(check, bytes);
}

static enum uqff_code check_unquant(struct check *check) {
    check->blob->type = uqff_type_from_dtype(check->canonical->weight.tensor->dtype);
    enum uqff_code code = shape_of_weight(check);
    return code != UQFF_OK ? code : count_weights(check);
}

/*
 * The weights, in their order, are a matrix of 64 rows and n/64 columns; a group is a column.
 *
 *   8 bits: byte (r, c)        = q[r][c]                             64 x n/64 bytes
 *   4 bits: byte (r, c), r<32  = q[r][c] << 4 | q[r + 32][c]         32 x n/64 bytes
 */
static enum uqff_code check_hqq(struct check *check) {
    uint32_t bits = side_u8(check, UQFF_SIDE_BITS);
    uint32_t group = side_u32(check, UQFF_SIDE_GROUP_SIZE);
    uint32_t axis = side_u8(check, UQFF_SIDE_AXIS);
    if (bits != 4 && bits != 8) {
        return fail_at(check, UQFF_E_FIELD, side_entry(check, UQFF_SIDE_BITS),
                       "found %u, expected 4 or 8", bits);
    }
    if (group != 64) {
        return fail_at(check, UQFF_E_FIELD, side_entry(check, UQFF_SIDE_GROUP_SIZE),
                       "found %u, expected 64", group);
    }
    if (axis != 0) {
        return fail_at(check, UQFF_E_FIELD, side_entry(check, UQFF_SIDE_AXIS),
                       "found %u, expected 0", axis);
    }
    enum uqff_code code;
    if ((code = shape_of_side(check)) != UQFF_OK || (code = count_weights(check)) != UQFF_OK) {
        return code;
    }
    if (check->weights % group != 0) {
        return fail_at(check, UQFF_E_SHAPE, side_entry(check, UQFF_SIDE_SHAPE),
                       "%llu weights, expected a multiple of the group size of 64",
                       (unsigned long long)check->weights);
    }
    uint64_t columns = check->weights / group;
    check->coding.bits = bits;
    check->coding.group = group;
    check->coding.scales = *side_entry(check, UQFF_SIDE_SCALES);
    check->coding.zeros = *side_entry(check, UQFF_SIDE_ZEROS);
    if ((code = expect_matrix(check, &check->canonical->weight, 8 * (uint64_t)bits, columns)) !=
            UQFF_OK ||
        (code = expect_matrix(check, &check->coding.scales, 1, columns)) != UQFF_OK) {
        return code;
    }
    return expect_matrix(check, &check->coding.zeros, 1, columns);
}

static enum uqff_code check_fp8(struct check *check) {
    enum { F8E4M3 = 9 }; /* in the codes that UQFF has for tensors */
    uint32_t dtype = side_u32(check, UQFF_SIDE_DTYPE);
    if (dtype != F8E4M3) {
        return fail_at(check, UQFF_E_TYPE, side_entry(check, UQFF_SIDE_DTYPE),
                       "element type code %u, expected %d (F8E4M3)", dtype, F8E4M3);
    }
    uint32_t bits = side_u32(check, UQFF_SIDE_DEQUANT_W_SCALE);
    memcpy(&check->coding.scale, &bits, sizeof bits);
    enum uqff_code code = shape_of_weight(check);
    return code != UQFF_OK ? code : count_weights(check);
}

/* Value i of a row has the bits [i * bits, (i + 1) * bits) of the row's bytes, little-endian. */
static enum uqff_code check_afq(struct check *check) {
    uint32_t bits = side_u8(check, UQFF_SIDE_BITS);
    uint32_t group = side_u8(check, UQFF_SIDE_GROUP_SIZE);
    if (bits != 2 && bits != 3 && bits != 4 && bits != 6 && bits != 8) {
        return fail_at(check, UQFF_E_FIELD, side_entry(check, UQFF_SIDE_BITS),
                       "found %u, expected 2, 3, 4, 6 or 8", bits);
    }
    if (group != 32 && group != 64 && group != 128) {
        return fail_at(check, UQFF_E_FIELD, side_entry(check, UQFF_SIDE_GROUP_SIZE),
                       "found %u, expected 32, 64 or 128", group);
    }
    const struct uqff_entry *weight = &check->canonical->weight;
    uint64_t words = weight->tensor->shape[weight->tensor->rank - 1], row_bits;
    if (!uqff_mul_u64(words, 32, &row_bits) || row_bits % bits != 0 ||
        row_bits / bits % group != 0) {
        return fail_at(check, UQFF_E_SHAPE, weight,
                       "%llu words a row are no whole groups of %u values of %u bits",
                       (unsigned long long)words, group, bits);
    }
    check->coding.bits = bits;
    check->coding.group = group;
    check->coding.scales = *side_entry(check, UQFF_SIDE_SCALES);
    check->coding.zeros = *side_entry(check, UQFF_SIDE_BIASES);
    if (check->coding.scales.tensor->dtype != check->coding.zeros.tensor->dtype) {
        return fail_at(check, UQFF_E_FIELD, &check->coding.zeros,
                       "found %s, expected %s as the scales",
                       uqff_dtype_name(check->coding.zeros.tensor->dtype),
                       uqff_dtype_name(check->coding.scales.tensor->dtype));
    }
    uint64_t columns = row_bits / bits;
    enum uqff_code code;
    if ((code = shape_of_packed(check, columns)) != UQFF_OK ||
        (code = count_weights(check)) != UQFF_OK ||
        (code = expect_grouped(check, UQFF_SIDE_SCALES, columns / group)) != UQFF_OK) {
        return code;
    }
    return expect_grouped(check, UQFF_SIDE_BIASES, columns / group);
}

/* Blocks of 32 over the whole tensor, the last one filled with zeros: 1 byte scale, 32 int8. */
static enum uqff_code check_f8q8(struct check *check) {
    enum uqff_code code;
    if ((code = shape_of_side(check)) != UQFF_OK || (code = count_weights(check)) != UQFF_OK) {
        return code;
    }
    uint64_t blocks = check->weights / 32 + (check->weights % 32 != 0), bytes;
    if (blocks != side_u32(check, UQFF_SIDE_NUM_BLOCKS)) {
        return fail_at(check, UQFF_E_SHAPE, side_entry(check, UQFF_SIDE_NUM_BLOCKS),
                       "found %u, expected %llu for %llu weights",
                       side_u32(check, UQFF_SIDE_NUM_BLOCKS), (unsigned long long)blocks,
                       (unsigned long long)check->weights);
    }
    /* Cannot overflow: the number of blocks equals a 32-bit number. */
    bytes = blocks * 33;
    return expect_bytes(check, bytes);
}

/* Two values a byte, the even one in the low nibble; a scale byte for 32 values. */
static enum uqff_code check_mxfp4(struct check *check) {
    const struct uqff_entry *weight = &check->canonical->weight;
    uint64_t bytes = weight->tensor->shape[weight->tensor->rank - 1];
    if (bytes % 16 != 0 || bytes > UINT64_MAX / 2) {
        return fail_at(check, UQFF_E_SHAPE, weight,
                       "%llu bytes a row, expected a multiple of 16 for whole groups of 32 values",
                       (unsigned long long)bytes);
    }
    check->blob->type = UQFF_TYPE_MXFP4;
    check->coding.bits = 4;
    check->coding.group = 32;
    check->coding.scales = *side_entry(check, UQFF_SIDE_SCALES);
    enum uqff_code code;
    if ((code = shape_of_packed(check, bytes * 2)) != UQFF_OK ||
        (code = count_weights(check)) != UQFF_OK) {
        return code;
    }
    return expect_grouped(check, UQFF_SIDE_SCALES, bytes / 16);
}

/* ---- the table ----------------------------------------------------------------------------------
 */

#define U8_SCALAR(side)                                                                            \
    { UQFF_SIDE_##side, SCALAR, DTYPE(U8) }
#define U32_SCALAR(side)                                                                           \
    { UQFF_SIDE_##side, SCALAR, DTYPE(U32) }
#define F32_SCALAR(side)                                                                           \
    { UQFF_SIDE_##side, SCALAR, DTYPE(F32) }
#define F32_ARRAY(side)                                                                            \
    { UQFF_SIDE_##side, ARRAY, DTYPE(F32) }
#define FLOAT_ARRAY(side)                                                                          \
    { UQFF_SIDE_##side, ARRAY, FLOATS }
#define U8_ARRAY(side)                                                                             \
    { UQFF_SIDE_##side, ARRAY, DTYPE(U8) }
#define SHAPE_VECTOR                                                                               \
    { UQFF_SIDE_SHAPE, VECTOR, DTYPE(U32) }

static const struct format_row formats[] = {
    [UQFF_FORMAT_GGUF] = {.name = "gguf",
                          .dtypes = DTYPE(U8),
                          .min_rank = 1,
                          .max_rank = UQFF_CONTAINER_MAX_RANK,
                          .has_coding = false,
                          .check = check_gguf,
                          .side_count = 3,
                          .sides = {U8_SCALAR(FORMAT), U32_SCALAR(DTYPE), SHAPE_VECTOR}},
    [UQFF_FORMAT_UNQUANT] = {.name = "unquant",
                             .dtypes = FLOATS | DTYPE(F64) | DTYPE(F8_E4M3),
                             .min_rank = 1,
                             .max_rank = UQFF_CONTAINER_MAX_RANK,
                             .has_coding = false,
                             .check = check_unquant,
                             .side_count = 1,
                             .sides = {U8_SCALAR(FORMAT)}},
    [UQFF_FORMAT_HQQ] = {.name = "hqq",
                         .dtypes = DTYPE(U8),
                         .min_rank = 2,
                         .max_rank = 2,
                         .has_coding = true,
                         .check = check_hqq,
                         .side_count = 10,
                         .sides = {U8_SCALAR(FORMAT), F32_ARRAY(SCALES), F32_ARRAY(ZEROS),
                                   SHAPE_VECTOR, U8_SCALAR(BITS), U32_SCALAR(GROUP_SIZE),
                                   U8_SCALAR(AXIS), U32_SCALAR(OPTIMIZATION_STEPS),
                                   U8_SCALAR(ROUND_ZEROS), U8_SCALAR(CHANNEL_WISE)}},
    [UQFF_FORMAT_FP8] = {.name = "fp8",
                         .dtypes = DTYPE(F8_E4M3),
                         .min_rank = 2,
                         .max_rank = 2,
                         .has_coding = true,
                         .check = check_fp8,
                         .side_count = 5,
                         .sides = {U8_SCALAR(FORMAT), F32_SCALAR(DEQUANT_W_SCALE),
                                   F32_SCALAR(DEQUANT_X_SCALE), F32_SCALAR(QUANT_SCALE),
                                   U32_SCALAR(DTYPE)}},
    [UQFF_FORMAT_AFQ] = {.name = "afq",
                         .dtypes = DTYPE(U32),
                         .min_rank = 2,
                         .max_rank = 3,
                         .has_coding = true,
                         .check = check_afq,
                         .side_count = 5,
                         .sides = {U8_SCALAR(FORMAT), U8_SCALAR(BITS), U8_SCALAR(GROUP_SIZE),
                                   FLOAT_ARRAY(SCALES), FLOAT_ARRAY(BIASES)}},
    [UQFF_FORMAT_F8Q8] = {.name = "f8q8",
                          .dtypes = DTYPE(U8),
                          .min_rank = 2,
                          .max_rank = 2,
                          .has_coding = true,
                          .check = check_f8q8,
                          .side_count = 3,
                          .sides = {U8_SCALAR(FORMAT), U32_SCALAR(NUM_BLOCKS), SHAPE_VECTOR}},
    [UQFF_FORMAT_MXFP4] = {.name = "mxfp4",
                           .dtypes = DTYPE(U8),
                           .min_rank = 2,
                           .max_rank = 3,
                           .has_coding = true,
                           .check = check_mxfp4,
                           .side_count = 2,
                           .sides = {U8_SCALAR(FORMAT), U8_ARRAY(SCALES)}},
};
#define FORMAT_COUNT (sizeof formats / sizeof *formats)

const char *uqff_format_name(enum uqff_format format) {
    return (size_t)format < FORMAT_COUNT ? formats[format].name : "unknown";
}

const char *uqff_container_format_label(enum uqff_format format, uint32_t type, unsigned bits) {
    static _Thread_local char label[16];
    switch (format) {
    case UQFF_FORMAT_GGUF:
    case UQFF_FORMAT_UNQUANT:
        return uqff_type_label(type);
    case UQFF_FORMAT_HQQ:
    case UQFF_FORMAT_AFQ:
        snprintf(label, sizeof label, "%s%u", formats[format].name, bits);
        return label;
    default:
        return formats[format].name;
    }
}

static enum uqff_code check_side(const struct check *check, const struct side_rule *rule) {
    const struct uqff_canonical *canonical = check->canonical;
    const struct uqff_entry *entry = &canonical->side[rule->side];
    const struct uqff_st_tensor *tensor = entry->tensor;
    if (tensor == NULL) {
        return fail_at(check, UQFF_E_MISSING, &canonical->weight,
                       "the side entry '%s.weight.%s' is missing", canonical->module,
                       suffixes[rule->side]);
    }
    if ((1u << tensor->dtype & rule->dtypes) == 0) {
        return fail_at(check, UQFF_E_FIELD, entry, "a dtype of %s does not fit this entry",
                       uqff_dtype_name(tensor->dtype));
    }
    if (rule->form == SCALAR && tensor->rank != 0) {
        return fail_at(check, UQFF_E_FIELD, entry, "found rank %u, expected a scalar, shape []",
                       tensor->rank);
    }
    /* Scalars and vectors of a sane size have been read; arrays are not. */
    if (rule->form != ARRAY && canonical->value[rule->side] == NULL) {
        return fail_at(check, UQFF_E_FIELD, entry, "found %llu bytes, expected 1 to %d dimensions",
                       (unsigned long long)tensor->bytes, UQFF_CONTAINER_MAX_RANK);
    }
    return UQFF_OK;
}

/* Every side that the format has, and no other. */
static enum uqff_code check_sides(const struct check *check, const struct format_row *row) {
    unsigned wanted = 0;
    for (size_t i = 0; i < row->side_count; i++) {
        enum uqff_code code = check_side(check, &row->sides[i]);
        if (code != UQFF_OK) {
            return code;
        }
        wanted |= 1u << row->sides[i].side;
    }
    for (unsigned i = 0; i < UQFF_SIDE_COUNT; i++) {
        const struct uqff_entry *entry = &check->canonical->side[i];
        if (entry->tensor != NULL && (wanted >> i & 1) == 0) {
            return fail_at(check, UQFF_E_FIELD, entry,
                           "surplus: weight.format %s has no such entry", row->name);
        }
    }
    return UQFF_OK;
}

static enum uqff_code check_format(struct check *check, const struct format_row **row) {
    const struct uqff_canonical *canonical = check->canonical;
    struct side_rule rule = U8_SCALAR(FORMAT);
    enum uqff_code code = check_side(check, &rule);
    if (code != UQFF_OK) {
        return code;
    }
    uint32_t format = side_u8(check, UQFF_SIDE_FORMAT);
    if (format >= FORMAT_COUNT) {
        return fail_at(check, UQFF_E_TYPE, side_entry(check, UQFF_SIDE_FORMAT),
                       "weight.format %u, expected 0 to %zu", format, FORMAT_COUNT - 1);
    }
    *row = &formats[format];
    check->blob->format = (enum uqff_format)format;
    const struct uqff_st_tensor *weight = canonical->weight.tensor;
    if ((1u << weight->dtype & (*row)->dtypes) == 0) {
        return fail_at(check, UQFF_E_TYPE, &canonical->weight,
                       "a dtype of %s does not fit weight.format %s",
                       uqff_dtype_name(weight->dtype), (*row)->name);
    }
    return UQFF_OK;
}

enum uqff_code uqff_container_format_check(const struct uqff_canonical *canonical,
                                           struct uqff_arena *arena, struct uqff_blob *blob,
                                           unsigned *rank, const uint64_t **shape,
                                           const struct uqff_coding **coding,
                                           struct uqff_error *err) {
    struct check check = {.canonical = canonical, .arena = arena, .err = err, .blob = blob};
    const struct format_row *row = NULL;
    blob->type = UINT32_MAX;
    blob->entry = canonical->weight;
    enum uqff_code code = check_format(&check, &row);
    if (code != UQFF_OK || (code = check_sides(&check, row)) != UQFF_OK) {
        return code;
    }
    /* A packed weight has the rank of what it packs: shapes are indexed from their end below. */
    unsigned weight_rank = canonical->weight.tensor->rank;
    bool packed = blob->format == UQFF_FORMAT_AFQ || blob->format == UQFF_FORMAT_MXFP4;
    if (packed && (weight_rank < row->min_rank || weight_rank > row->max_rank)) {
        return fail_at(&check, UQFF_E_SHAPE, &canonical->weight, "rank %u, expected %u to %u",
                       weight_rank, row->min_rank, row->max_rank);
    }
    if ((code = row->check(&check)) != UQFF_OK) {
        return code;
    }
    if (check.rank < row->min_rank || check.rank > row->max_rank) {
        return fail_at(&check, UQFF_E_SHAPE, &canonical->weight,
                       "rank %u, expected %u to %u for weight.format %s", check.rank, row->min_rank,
                       row->max_rank, row->name);
    }
    blob->bytes = canonical->weight.tensor->bytes;
    for (unsigned i = UQFF_SIDE_FIRST_ARRAY; i < UQFF_SIDE_COUNT; i++) {
        if (canonical->side[i].tensor != NULL) {
            /* Cannot overflow: all these lie in files, and their sizes were added up there. */
            blob->bytes += canonical->side[i].tensor->bytes;
        }
    }
    *coding = NULL;
    if (row->has_coding) {
        struct uqff_coding *copy = uqff_arena_alloc(arena, sizeof *copy);
        if (copy == NULL) {
            return uqff_fail_memory(err);
        }
        *copy = check.coding;
        *coding = copy;
    }
    *rank = check.rank;
    *shape = check.shape;
    return UQFF_OK;
}
