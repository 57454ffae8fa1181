/*
 * Products of two rows: which types meet, and the functions of the level in use.
 */
#include "products.h"

/* Types of weights that meet encoded activations, by slot; 0, which is F32, for all others. */
static const uint8_t activation_types[UQFF_SLOTS] = {
    [UQFF_SLOT(UQFF_TYPE_Q4_0)] = UQFF_TYPE_Q8_0,   [UQFF_SLOT(UQFF_TYPE_Q4_1)] = UQFF_TYPE_Q8_1,
    [UQFF_SLOT(UQFF_TYPE_Q5_0)] = UQFF_TYPE_Q8_0,   [UQFF_SLOT(UQFF_TYPE_Q5_1)] = UQFF_TYPE_Q8_1,
    [UQFF_SLOT(UQFF_TYPE_Q8_0)] = UQFF_TYPE_Q8_0,   [UQFF_SLOT(UQFF_TYPE_Q8_1)] = UQFF_TYPE_Q8_0,
    [UQFF_SLOT(UQFF_TYPE_Q2_K)] = UQFF_TYPE_Q8_K,   [UQFF_SLOT(UQFF_TYPE_Q3_K)] = UQFF_TYPE_Q8_K,
    [UQFF_SLOT(UQFF_TYPE_Q4_K)] = UQFF_TYPE_Q8_K,   [UQFF_SLOT(UQFF_TYPE_Q5_K)] = UQFF_TYPE_Q8_K,
    [UQFF_SLOT(UQFF_TYPE_Q6_K)] = UQFF_TYPE_Q8_K,   [UQFF_SLOT(UQFF_TYPE_IQ4_NL)] = UQFF_TYPE_Q8_0,
    [UQFF_SLOT(UQFF_TYPE_IQ4_XS)] = UQFF_TYPE_Q8_K, [UQFF_SLOT(UQFF_TYPE_TQ1_0)] = UQFF_TYPE_Q8_K,
    [UQFF_SLOT(UQFF_TYPE_TQ2_0)] = UQFF_TYPE_Q8_K,  [UQFF_SLOT(UQFF_TYPE_MXFP4)] = UQFF_TYPE_Q8_0,
};

uint32_t uqff_activation_type(uint32_t weight_type) {
    const struct uqff_type_info *info = uqff_type_info(weight_type);
    if (!info || !(info->flags & UQFF_TYPE_CAN_DECODE) ||
        (info->flags & UQFF_TYPE_ACTIVATIONS_ONLY)) {
        return UQFF_NO_TYPE;
    }
    return activation_types[UQFF_SLOT(weight_type)];
}

enum uqff_code uqff_check_product(uint32_t weight_type, uint32_t activation_type, size_t n,
                                  struct uqff_error *err) {
    uint32_t pair = uqff_activation_type(weight_type);
    if (pair == UQFF_NO_TYPE || (activation_type != UQFF_TYPE_F32 && activation_type != pair)) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "weights in %s: activations in %s, "
                         "expected %s",
                         uqff_type_name(weight_type), uqff_type_name(activation_type),
                         pair == UQFF_NO_TYPE ? "none" : uqff_type_name(pair));
    }
    uint32_t block = uqff_type_info(weight_type)->block_length;
    if (n % block != 0) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: product of %zu elements, expected a multiple of %u",
                         uqff_type_name(weight_type), n, block);
    }
    return UQFF_OK;
}

/* Any type against float32: pieces of the row are decoded and go on with the same lanes. Pieces are
 * of whole blocks and a multiple of the lanes. */
static float dot_decoded(const struct uqff_products *products, uint32_t type,
                         const unsigned char *w, const float *x, size_t n) {
    enum { PIECE = 1024 };
    const struct uqff_type_info *info = uqff_type_info(type);
    uqff_dequantize_fn *decode = uqff_dequantize_in_use(type);
    uqff_lanes_fn *add = products->lanes ? products->lanes : uqff_products_ref.lanes;
    float lanes[UQFF_FLOAT_LANES] = {0};
    float piece[PIECE];
    for (size_t k = 0; k < n; k += PIECE) {
        size_t count = n - k < PIECE ? n - k : PIECE;
        decode(w + k / info->block_length * info->block_bytes, piece, count);
        add(lanes, piece, x + k, count);
    }
    return uqff_fold_32(lanes);
}

float uqff_dot_rows(const struct uqff_products *products, uint32_t weight_type,
                    uint32_t activation_type, const void *weights, const void *activations,
                    size_t n) {
    /* F32 is both what exact products take and the activation type of plain types. */
    if (activation_type == uqff_activation_type(weight_type)) {
        uqff_dot_fn *dot = products->dot[UQFF_SLOT(weight_type)];
        dot = dot ? dot : uqff_products_ref.dot[UQFF_SLOT(weight_type)];
        if (dot) {
            return dot((const unsigned char *)weights, (const unsigned char *)activations, n);
        }
    }
    return dot_decoded(products, weight_type, (const unsigned char *)weights,
                       (const float *)activations, n);
}

enum uqff_code uqff_dot(uint32_t weight_type, const void *weights, uint32_t activation_type,
                        const void *activations, size_t n, float *out, struct uqff_error *err) {
    enum uqff_code code = uqff_check_product(weight_type, activation_type, n, err);
    if (code != UQFF_OK) {
        return code;
    }
    *out = uqff_dot_rows(uqff_products_in_use(), weight_type, activation_type, weights, activations,
                         n);
    return UQFF_OK;
}
