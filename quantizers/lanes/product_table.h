/*
 * The table of an instruction set's dot and matrix kernels, under the name PRODUCTS, over the
 * table PRODUCTS_BELOW. Private to quantizers/.
 */
#ifndef UQFF_LANES_PRODUCT_TABLE_H
#define UQFF_LANES_PRODUCT_TABLE_H

#include "lanes/dot.h"
#include "lanes/matmul.h"

#define DOT(TYPE, name) [UQFF_SLOT(UQFF_TYPE_##TYPE)] = LEVEL(dot_##name)

#define KERNEL(name, TYPE, block_, group, offset, minimum, has_sign)                               \
    static const struct uqff_matmul_kernel matmul_##name = {                                       \
        .tiling = {block_, group, OFFSET(offset), minimum, WIDE(has_sign), IS_SUMS_32},            \
        .block = block_,                                                                           \
        .panel_bytes = PANEL_BYTES(block_, group, minimum, WIDE(has_sign)),                        \
        .group_bytes = UQFF_PLACED_BYTES(block_, group, OFFSET(offset), minimum, WIDE(has_sign)),  \
        .tokens = 4,                                                                               \
        .fewest = 3,                                                                               \
        .place = uqff_place_codes,                                                                 \
        .pack = LEVEL(pack_##name),                                                                \
        .multiply = LEVEL(multiply_##name),                                                        \
    };
TILINGS(KERNEL)

#define MATMUL(name, TYPE, ...) [UQFF_SLOT(UQFF_TYPE_##TYPE)] = &matmul_##name,

const struct uqff_products PRODUCTS = {
    .below = PRODUCTS_BELOW,
    .dot =
        {
            DOT(F32, f32),     DOT(F16, f16),     DOT(BF16, bf16),     DOT(Q4_0, q4_0),
            DOT(Q4_1, q4_1),   DOT(Q5_0, q5_0),   DOT(Q5_1, q5_1),     DOT(Q8_0, q8_0),
            DOT(Q8_1, q8_1),   DOT(Q2_K, q2_k),   DOT(Q3_K, q3_k),     DOT(Q4_K, q4_k),
            DOT(Q5_K, q5_k),   DOT(Q6_K, q6_k),   DOT(IQ4_NL, iq4_nl), DOT(IQ4_XS, iq4_xs),
            DOT(TQ1_0, tq1_0), DOT(TQ2_0, tq2_0), DOT(MXFP4, mxfp4),
        },
    .lanes = LEVEL(lanes_f32),
    .matmul = {TILINGS(MATMUL)},
    .exact = &LEVEL(matmul_exact),
};

#endif
