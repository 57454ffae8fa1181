/*
 * Products of two rows: which types meet, and the functions of the level in use.
 */
#include "products.h"

/* Types of weights that have products of their own, by id: the type of activations, and the
 * elements that rows are a multiple of. All others are multiplied exactly, where they can be
 * decoded. */
static const struct pair {
    uint16_t activations;
    uint16_t block; /* a power of two; 0: no such type */
} pairs[] = {
    [UQFF_TYPE_F32] = {UQFF_TYPE_F32, 1},      [UQFF_TYPE_F16] = {UQFF_TYPE_F32, 1},
    [UQFF_TYPE_BF16] = {UQFF_TYPE_F32, 1},     [UQFF_TYPE_Q4_0] = {UQFF_TYPE_Q8_0, 32},
    [UQFF_TYPE_Q4_1] = {UQFF_TYPE_Q8_1, 32},   [UQFF_TYPE_Q5_0] = {UQFF_TYPE_Q8_0, 32},
    [UQFF_TYPE_Q5_1] = {UQFF_TYPE_Q8_1, 32},   [UQFF_TYPE_Q8_0] = {UQFF_TYPE_Q8_0, 32},
    [UQFF_TYPE_Q8_1] = {UQFF_TYPE_Q8_0, 32},   [UQFF_TYPE_Q2_K] = {UQFF_TYPE_Q8_K, 256},
    [UQFF_TYPE_Q3_K] = {UQFF_TYPE_Q8_K, 256},  [UQFF_TYPE_Q4_K] = {UQFF_TYPE_Q8_K, 256},
    [UQFF_TYPE_Q5_K] = {UQFF_TYPE_Q8_K, 256},  [UQFF_TYPE_Q6_K] = {UQFF_TYPE_Q8_K, 256},
    [UQFF_TYPE_IQ4_NL] = {UQFF_TYPE_Q8_0, 32}, [UQFF_TYPE_IQ4_XS] = {UQFF_TYPE_Q8_K, 256},
    [UQFF_TYPE_TQ1_0] = {UQFF_TYPE_Q8_K, 256}, [UQFF_TYPE_TQ2_0] = {UQFF_TYPE_Q8_K, 256},
    [UQFF_TYPE_MXFP4] = {UQFF_TYPE_Q8_0, 32},
};

/* The row of the table, or one that says there is none. */
static struct pair pair_of(uint32_t weight_type) {
    return weight_type < sizeof pairs / sizeof pairs[0] ? pairs[weight_type] : (struct pair){0, 0};
}

uint32_t uqff_activation_type(uint32_t weight_type) {
    struct pair pair = pair_of(weight_type);
    if (pair.block != 0) {
        return pair.activations;
    }
    const struct uqff_type_info *info = uqff_type_info(weight_type);
    return info && (info->flags & UQFF_TYPE_CAN_DECODE) &&
                   !(info->flags & UQFF_TYPE_ACTIVATIONS_ONLY)
               ? UQFF_TYPE_F32
               : UQFF_NO_TYPE;
}

enum uqff_code uqff_check_product(uint32_t weight_type, uint32_t activation_type, size_t n,
                                  struct uqff_error *err) {
    uint32_t expected = uqff_activation_type(weight_type);
    if (expected == UQFF_NO_TYPE ||
        (activation_type != UQFF_TYPE_F32 && activation_type != expected)) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "weights in %s: activations in %s, expected %s",
                         uqff_type_name(weight_type), uqff_type_name(activation_type),
                         expected == UQFF_NO_TYPE ? "none" : uqff_type_name(expected));
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
    const struct uqff_products *adding = products;
    while (!adding->lanes) {
        adding = adding->below;
    }
    uqff_lanes_fn *add = adding->lanes;
    float lanes[UQFF_FLOAT_LANES] = {0};
    float piece[PIECE];
    for (size_t k = 0; k < n; k += PIECE) {
        size_t count = n - k < PIECE ? n - k : PIECE;
        decode(w + k / info->block_length * info->block_bytes, piece, count);
        add(lanes, piece, x + k, count);
    }
    return uqff_fold_32(lanes);
}

/* The function for a pair of types, NULL where weights are decoded. */
static uqff_dot_fn *dot_of(const struct uqff_products *products, uint32_t weight_type,
                           uint32_t activation_type) {
    struct pair pair = pair_of(weight_type);
    if (pair.block == 0 || pair.activations != activation_type) {
        return NULL;
    }
    while (!products->dot[UQFF_SLOT(weight_type)] && products->below) {
        products = products->below;
    }
    return products->dot[UQFF_SLOT(weight_type)];
}

float uqff_dot_rows(const struct uqff_products *products, uint32_t weight_type,
                    uint32_t activation_type, const void *weights, const void *activations,
                    size_t n) {
    uqff_dot_fn *dot = dot_of(products, weight_type, activation_type);
    return dot ? dot((const unsigned char *)weights, (const unsigned char *)activations, n)
               : dot_decoded(products, weight_type, (const unsigned char *)weights,
                             (const float *)activations, n);
}

enum uqff_code uqff_dot(uint32_t weight_type, const void *weights, uint32_t activation_type,
                        const void *activations, size_t n, float *out, struct uqff_error *err) {
    /* Looking into the table of types takes as long as a product of a few hundred elements. */
    struct pair pair = pair_of(weight_type);
    if (pair.block == 0 || pair.activations != activation_type || (n & (pair.block - 1u)) != 0) {
        enum uqff_code code = uqff_check_product(weight_type, activation_type, n, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    *out = uqff_dot_rows(uqff_products_in_use(), weight_type, activation_type, weights, activations,
                         n);
    return UQFF_OK;
}
