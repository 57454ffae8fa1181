/*
 * How panels of block types stand in memory. Private to quantizers/.
 *
 *   a block of a panel; 16 rows of 4 bytes stand side by side:
 *
 *   blocks of 32      for each four columns       16 rows x 4 codes
 *                     d                           16 rows x a float
 *                     if there is a minimum: m    16 rows x a float
 *
 *   blocks of 256     for each group of columns
 *                       for each four columns     16 rows x 4 codes
 *                       the scale                 16 rows x 2 equal words
 *                     if there are minima:
 *                       for each two of them      16 rows x 2 words
 *                     d                           16 rows x a float
 *                     if there is a minimum: dmin 16 rows x a float
 *
 *   wide              for each two columns        16 rows x 2 words, code * scale
 *                     d                           16 rows x a float
 *
 * An instruction set that multiplies unsigned with signed bytes, like AVX2, defines CODES_UNSIGNED:
 * its codes are too large by an offset, and signed ones, which it cannot multiply, are wide. If it
 * also adds four such products to 32 bits, as AVX-512 does, it defines SUMS_32, and nothing is
 * wide:
 *
 *   - signed codes have an offset of 128;
 *   - scales have 32 bits;
 *   - codes of Q2_K and Q3_K are multiplied with their scales before, and blocks of them and of the
 *     ternary types are one group without scale. Of Q3_K it is code * -scale + 128, since -32 * -4
 *     is too large for a signed byte and its negative is not; d is negative in turn.
 */
#ifndef UQFF_LANES_MATMUL_H
#define UQFF_LANES_MATMUL_H

#include "lanes/codes.h"
#include "products.h"

#ifdef CODES_UNSIGNED
#define OFFSET(offset) (offset)
#else
#define OFFSET(offset) 0
#endif

#if defined(CODES_UNSIGNED) && !defined(SUMS_32)
#define WIDE(has_sign) (has_sign)
#define HAS_WIDE_CODES
#else
#define WIDE(has_sign) ((has_sign) && 0)
#endif

#ifdef SUMS_32
#define IS_SUMS_32 1
#define OR_32(usual, with_sums_32) with_sums_32
#else
#define IS_SUMS_32 0
#define OR_32(usual, with_sums_32) usual
#endif

/* X(name, type, block, group, offset, minimum, has_sign); see struct uqff_tiling. */
#define TILINGS(X)                                                                                 \
    X(q4_0, Q4_0, 32, 32, 8, 0, 0)                                                                 \
    X(q4_1, Q4_1, 32, 32, 0, 32, 0)                                                                \
    X(q5_0, Q5_0, 32, 32, 16, 0, 0)                                                                \
    X(q5_1, Q5_1, 32, 32, 0, 32, 0)                                                                \
    X(q8_0, Q8_0, 32, 32, OR_32(0, 128), 0, 1)                                                     \
    X(q8_1, Q8_1, 32, 32, OR_32(0, 128), 0, 1)                                                     \
    X(iq4_nl, IQ4_NL, 32, 32, OR_32(0, 128), 0, 1)                                                 \
    X(mxfp4, MXFP4, 32, 32, 12, 0, 0)                                                              \
    X(q2_k, Q2_K, 256, OR_32(16, 256), 0, 16, 0)                                                   \
    X(q3_k, Q3_K, 256, OR_32(16, 256), OR_32(4, 128), 0, 0)                                        \
    X(q4_k, Q4_K, 256, 32, 0, 32, 0)                                                               \
    X(q5_k, Q5_K, 256, 32, 0, 32, 0)                                                               \
    X(q6_k, Q6_K, 256, 16, 32, 0, 0)                                                               \
    X(iq4_xs, IQ4_XS, 256, 32, OR_32(0, 128), 0, 1)                                                \
    X(tq1_0, TQ1_0, 256, OR_32(128, 256), 1, 0, 0)                                                 \
    X(tq2_0, TQ2_0, 256, OR_32(128, 256), 1, 0, 0)

#define PANEL_BYTES(block, group, minimum, wide)                                                   \
    ((block)*UQFF_PANEL_ROWS * ((wide) ? 2 : 1) + ((minimum) ? 128 : 64) +                         \
     ((block) == 256 && (group) < 256 && !(wide) ? 256 / (group)*64 : 0) +                         \
     ((block) == 256 ? UQFF_PER_MINIMUM(block, minimum) * 32 : 0))

#define CASE_BLOCK(name, TYPE, block, group, offset, minimum, has_sign)                            \
    case UQFF_TYPE_##TYPE:                                                                         \
        return block;
#define CASE_GROUP(name, TYPE, block, group, offset, minimum, has_sign)                            \
    case UQFF_TYPE_##TYPE:                                                                         \
        return group;
#define CASE_OFFSET(name, TYPE, block, group, offset, minimum, has_sign)                           \
    case UQFF_TYPE_##TYPE:                                                                         \
        return OFFSET(offset);
#define CASE_MINIMUM(name, TYPE, block, group, offset, minimum, has_sign)                          \
    case UQFF_TYPE_##TYPE:                                                                         \
        return minimum;
#define CASE_PANEL_BYTES(name, TYPE, block, group, offset, minimum, has_sign)                      \
    case UQFF_TYPE_##TYPE:                                                                         \
        return PANEL_BYTES(block, group, minimum, WIDE(has_sign));
#define CASE_GROUP_BYTES(name, TYPE, block, group, offset, minimum, has_sign)                      \
    case UQFF_TYPE_##TYPE:                                                                         \
        return UQFF_PLACED_BYTES(block, group, OFFSET(offset), minimum, WIDE(has_sign));

/* Columns of a block, and of a group of columns. */
LANE int tile_block_of(uint32_t type) {
    switch (type) {
        TILINGS(CASE_BLOCK)
    default:
        return 0;
    }
}

LANE int tile_group_of(uint32_t type) {
    switch (type) {
        TILINGS(CASE_GROUP)
    default:
        return 0;
    }
}

/* What a code of a panel is too large by. */
LANE int tile_offset_of(uint32_t type) {
    switch (type) {
        TILINGS(CASE_OFFSET)
    default:
        return 0;
    }
}

/* Columns with a minimum of their own, or 0. */
LANE int tile_minimum_of(uint32_t type) {
    switch (type) {
        TILINGS(CASE_MINIMUM)
    default:
        return 0;
    }
}

/* Bytes of a block of a panel, and of a group of tokens. */
LANE size_t panel_bytes_of(uint32_t type) {
    switch (type) {
        TILINGS(CASE_PANEL_BYTES)
    default:
        return 0;
    }
}

LANE size_t group_bytes_of(uint32_t type) {
    switch (type) {
        TILINGS(CASE_GROUP_BYTES)
    default:
        return 0;
    }
}

LANE bool is_wide(uint32_t type) {
    return WIDE(has_signed_codes(type));
}

#define DECLARE(name, ...)                                                                         \
    void LEVEL(pack_##name)(const struct uqff_matmul *plan,                                        \
                            const unsigned char *const row[UQFF_PANEL_ROWS],                       \
                            unsigned char *panel);                                                 \
    void LEVEL(multiply_##name)(const struct uqff_matmul *plan, const unsigned char *panel,        \
                                const unsigned char *activations, float *waiting,                  \
                                const struct uqff_results *results);
TILINGS(DECLARE)

extern const struct uqff_matmul_kernel LEVEL(matmul_exact);

#endif
