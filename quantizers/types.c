/*
 * The table of element types: names, sizes, and what this library can do with each.
 */
#include <stdio.h>

#include "uqff/quant.h"

#define FLOAT (UQFF_TYPE_IS_FLOAT | CODEC)
#define CODEC (UQFF_TYPE_CAN_DECODE | UQFF_TYPE_CAN_ENCODE)
#define DECODE UQFF_TYPE_CAN_DECODE
#define QUANT UQFF_TYPE_IS_QUANTIZED
#define IMPORTANCE UQFF_TYPE_USES_IMPORTANCE

static const struct uqff_type_info table[] = {
    /* name, id, elements a block, bytes a block, flags; in order of id */
    {"F32", UQFF_TYPE_F32, 1, 4, FLOAT},
    {"F16", UQFF_TYPE_F16, 1, 2, FLOAT},
    {"Q4_0", UQFF_TYPE_Q4_0, 32, 18, QUANT | CODEC | IMPORTANCE},
    {"Q4_1", UQFF_TYPE_Q4_1, 32, 20, QUANT | CODEC | IMPORTANCE},
    {"Q5_0", UQFF_TYPE_Q5_0, 32, 22, QUANT | CODEC | IMPORTANCE},
    {"Q5_1", UQFF_TYPE_Q5_1, 32, 24, QUANT | CODEC | IMPORTANCE},
    {"Q8_0", UQFF_TYPE_Q8_0, 32, 34, QUANT | CODEC},
    {"Q8_1", UQFF_TYPE_Q8_1, 32, 36, QUANT | CODEC},
    {"Q2_K", UQFF_TYPE_Q2_K, 256, 84, QUANT | CODEC | IMPORTANCE},
    {"Q3_K", UQFF_TYPE_Q3_K, 256, 110, QUANT | CODEC | IMPORTANCE},
    {"Q4_K", UQFF_TYPE_Q4_K, 256, 144, QUANT | CODEC | IMPORTANCE},
    {"Q5_K", UQFF_TYPE_Q5_K, 256, 176, QUANT | CODEC | IMPORTANCE},
    {"Q6_K", UQFF_TYPE_Q6_K, 256, 210, QUANT | CODEC | IMPORTANCE},
    {"Q8_K", UQFF_TYPE_Q8_K, 256, 292, QUANT | CODEC | UQFF_TYPE_ACTIVATIONS_ONLY},
    {"IQ2_XXS", UQFF_TYPE_IQ2_XXS, 256, 66, QUANT},
    {"IQ2_XS", UQFF_TYPE_IQ2_XS, 256, 74, QUANT},
    {"IQ3_XXS", UQFF_TYPE_IQ3_XXS, 256, 98, QUANT},
    {"IQ1_S", UQFF_TYPE_IQ1_S, 256, 50, QUANT},
    {"IQ4_NL", UQFF_TYPE_IQ4_NL, 32, 18, QUANT | CODEC | IMPORTANCE},
    {"IQ3_S", UQFF_TYPE_IQ3_S, 256, 110, QUANT},
    {"IQ2_S", UQFF_TYPE_IQ2_S, 256, 82, QUANT},
    {"IQ4_XS", UQFF_TYPE_IQ4_XS, 256, 136, QUANT | CODEC | IMPORTANCE},
    {"I8", UQFF_TYPE_I8, 1, 1, DECODE},
    {"I16", UQFF_TYPE_I16, 1, 2, DECODE},
    {"I32", UQFF_TYPE_I32, 1, 4, DECODE},
    {"I64", UQFF_TYPE_I64, 1, 8, DECODE},
    {"F64", UQFF_TYPE_F64, 1, 8, UQFF_TYPE_IS_FLOAT | DECODE},
    {"IQ1_M", UQFF_TYPE_IQ1_M, 256, 56, QUANT},
    {"BF16", UQFF_TYPE_BF16, 1, 2, FLOAT},
    {"TQ1_0", UQFF_TYPE_TQ1_0, 256, 54, QUANT | CODEC},
    {"TQ2_0", UQFF_TYPE_TQ2_0, 256, 66, QUANT | CODEC},
    {"MXFP4", UQFF_TYPE_MXFP4, 32, 17, QUANT | CODEC},
    {"NVFP4", UQFF_TYPE_NVFP4, 64, 36, QUANT},
    {"Q1_0", UQFF_TYPE_Q1_0, 128, 18, QUANT},
    {"Q2_0", UQFF_TYPE_Q2_0, 64, 18, QUANT},

    {"BOOL", UQFF_TYPE_BOOL, 1, 1, DECODE},
    {"U8", UQFF_TYPE_U8, 1, 1, DECODE},
    {"U16", UQFF_TYPE_U16, 1, 2, DECODE},
    {"U32", UQFF_TYPE_U32, 1, 4, DECODE},
    {"U64", UQFF_TYPE_U64, 1, 8, DECODE},
    {"C64", UQFF_TYPE_C64, 1, 8, 0},
    {"F4", UQFF_TYPE_F4, 2, 1, DECODE},
    {"F6_E2M3", UQFF_TYPE_F6_E2M3, 4, 3, DECODE},
    {"F6_E3M2", UQFF_TYPE_F6_E3M2, 4, 3, DECODE},
    {"F8_E5M2", UQFF_TYPE_F8_E5M2, 1, 1, DECODE},
    {"F8_E4M3", UQFF_TYPE_F8_E4M3, 1, 1, DECODE},
    {"F8_E8M0", UQFF_TYPE_F8_E8M0, 1, 1, DECODE},
    {"F8_E4M3FNUZ", UQFF_TYPE_F8_E4M3FNUZ, 1, 1, 0},
    {"F8_E5M2FNUZ", UQFF_TYPE_F8_E5M2FNUZ, 1, 1, 0},
};

enum { TYPES = sizeof table / sizeof table[0] };

const struct uqff_type_info *uqff_type_table(size_t *count) {
    *count = TYPES;
    return table;
}

const struct uqff_type_info *uqff_type_info(uint32_t id) {
    size_t low = 0;
    size_t high = TYPES;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (table[middle].id == id) {
            return &table[middle];
        }
        if (table[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

bool uqff_type_is_retired(uint32_t id) {
    return id == 4 || id == 5 || (id >= 31 && id <= 33) || (id >= 36 && id <= 38);
}

const char *uqff_type_name(uint32_t id) {
    static _Thread_local char text[32];
    const struct uqff_type_info *info = uqff_type_info(id);
    if (info) {
        return info->name;
    }
    snprintf(text, sizeof text, "%stype %u", uqff_type_is_retired(id) ? "retired " : "", id);
    return text;
}

/* Names are ASCII; the C library's comparison would ask the locale. */
static bool same_name(const char *a, const char *upper) {
    for (; *a && *upper; a++, upper++) {
        char c = *a >= 'a' && *a <= 'z' ? (char)(*a - 'a' + 'A') : *a;
        if (c != *upper) {
            return false;
        }
    }
    return *a == *upper;
}

const struct uqff_type_info *uqff_type_by_name(const char *name) {
    for (size_t i = 0; i < TYPES; i++) {
        if (same_name(name, table[i].name)) {
            return &table[i];
        }
    }
    return NULL;
}

static enum uqff_code fail_too_large(const struct uqff_type_info *info, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET, "%s: size does not fit 64 bits",
                     info->name);
}

enum uqff_code uqff_row_bytes(uint32_t type, uint64_t n, uint64_t *bytes, struct uqff_error *err) {
    return uqff_tensor_bytes(type, &n, 1, bytes, err);
}

enum uqff_code uqff_tensor_bytes(uint32_t type, const uint64_t *shape, unsigned rank,
                                 uint64_t *bytes, struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(type);
    if (!info) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET, "%s: size is not known",
                         uqff_type_name(type));
    }
    uint64_t columns = rank > 0 ? shape[rank - 1] : 1;
    if (columns % info->block_length != 0) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: row of %llu elements, expected a multiple of %u", info->name,
                         (unsigned long long)columns, info->block_length);
    }

    /* An axis of length 0 empties the tensor, whatever the other lengths multiply to. */
    for (unsigned i = 0; i < rank; i++) {
        if (shape[i] == 0) {
            *bytes = 0;
            return UQFF_OK;
        }
    }
    uint64_t blocks = columns / info->block_length;
    for (unsigned i = 0; i + 1 < rank; i++) {
        if (!uqff_mul_u64(blocks, shape[i], &blocks)) {
            return fail_too_large(info, err);
        }
    }
    uint64_t total;
    if (!uqff_mul_u64(blocks, info->block_bytes, &total)) {
        return fail_too_large(info, err);
    }
    *bytes = total;
    return UQFF_OK;
}
