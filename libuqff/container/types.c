/* Element types as safetensors, ggml and the container call them. */
#include <stdio.h>
#include <string.h>

#include "container/internal.h"

static const uint32_t type_of_dtype[UQFF_DTYPE_COUNT] = {
    [UQFF_DTYPE_BOOL] = UQFF_TYPE_BOOL,
    [UQFF_DTYPE_F4] = UQFF_TYPE_F4,
    [UQFF_DTYPE_F6_E2M3] = UQFF_TYPE_F6_E2M3,
    [UQFF_DTYPE_F6_E3M2] = UQFF_TYPE_F6_E3M2,
    [UQFF_DTYPE_U8] = UQFF_TYPE_U8,
    [UQFF_DTYPE_I8] = UQFF_TYPE_I8,
    [UQFF_DTYPE_F8_E5M2] = UQFF_TYPE_F8_E5M2,
    [UQFF_DTYPE_F8_E4M3] = UQFF_TYPE_F8_E4M3,
    [UQFF_DTYPE_F8_E8M0] = UQFF_TYPE_F8_E8M0,
    [UQFF_DTYPE_F8_E4M3FNUZ] = UQFF_TYPE_F8_E4M3FNUZ,
    [UQFF_DTYPE_F8_E5M2FNUZ] = UQFF_TYPE_F8_E5M2FNUZ,
    [UQFF_DTYPE_I16] = UQFF_TYPE_I16,
    [UQFF_DTYPE_U16] = UQFF_TYPE_U16,
    [UQFF_DTYPE_F16] = UQFF_TYPE_F16,
    [UQFF_DTYPE_BF16] = UQFF_TYPE_BF16,
    [UQFF_DTYPE_I32] = UQFF_TYPE_I32,
    [UQFF_DTYPE_U32] = UQFF_TYPE_U32,
    [UQFF_DTYPE_F32] = UQFF_TYPE_F32,
    [UQFF_DTYPE_C64] = UQFF_TYPE_C64,
    [UQFF_DTYPE_F64] = UQFF_TYPE_F64,
    [UQFF_DTYPE_I64] = UQFF_TYPE_I64,
    [UQFF_DTYPE_U64] = UQFF_TYPE_U64,
};

/* What mistral.rs loads as a module: format 0, but for Q8_1 and Q8_K whose blocks it cannot take
 * back, and plain floats as format 1. */
static const uint32_t mistralrs_types[] = {
    UQFF_TYPE_F32,  UQFF_TYPE_F16,  UQFF_TYPE_BF16, UQFF_TYPE_Q4_0, UQFF_TYPE_Q4_1,
    UQFF_TYPE_Q5_0, UQFF_TYPE_Q5_1, UQFF_TYPE_Q8_0, UQFF_TYPE_Q2_K, UQFF_TYPE_Q3_K,
    UQFF_TYPE_Q4_K, UQFF_TYPE_Q5_K, UQFF_TYPE_Q6_K,
};

uint32_t uqff_type_from_dtype(enum uqff_dtype dtype) {
    return type_of_dtype[dtype];
}

bool uqff_type_to_dtype(uint32_t type, enum uqff_dtype *out) {
    for (unsigned i = 0; i < UQFF_DTYPE_COUNT; i++) {
        if (type_of_dtype[i] == type) {
            *out = (enum uqff_dtype)i;
            return true;
        }
    }
    return false;
}

const char *uqff_type_label(uint32_t type) {
    static _Thread_local char label[32];
    snprintf(label, sizeof label, "%s", uqff_type_name(type));
    for (char *p = label; *p != 0; p++) {
        if (*p >= 'A' && *p <= 'Z') {
            *p = (char)(*p - 'A' + 'a');
        }
    }
    return label;
}

bool uqff_type_is_mistralrs(uint32_t type) {
    for (size_t i = 0; i < sizeof mistralrs_types / sizeof *mistralrs_types; i++) {
        if (mistralrs_types[i] == type) {
            return true;
        }
    }
    return false;
}

bool uqff_container_type_is_float(uint32_t type) {
    return type == UQFF_TYPE_F32 || type == UQFF_TYPE_F16 || type == UQFF_TYPE_BF16 ||
           type == UQFF_TYPE_F64;
}

bool uqff_container_type_is_storable(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    if (info == NULL) {
        return false;
    }
    return uqff_container_type_is_float(type) || ((info->flags & UQFF_TYPE_IS_QUANTIZED) != 0 &&
                                                  (info->flags & UQFF_TYPE_ACTIVATIONS_ONLY) == 0);
}

bool uqff_container_type_from_label(const char *label, size_t n, uint32_t *out) {
    char text[32];
    if (n == 0 || n >= sizeof text) {
        return false;
    }
    memcpy(text, label, n);
    text[n] = 0;
    const struct uqff_type_info *info = uqff_type_by_name(text);
    /* One spelling: the look-up takes any case, an entry's name must not. */
    if (info == NULL || strcmp(uqff_type_label(info->id), text) != 0) {
        return false;
    }
    *out = info->id;
    return true;
}
