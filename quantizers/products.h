/*
 * The functions behind uqff_dot and the matrix kernels, one table for each instruction set. Private
 * to quantizers/. What they compute is defined by spec/kernels.md.
 */
#ifndef UQFF_QUANTIZERS_PRODUCTS_H
#define UQFF_QUANTIZERS_PRODUCTS_H

#include "kernels.h"
#include "ref/number.h"

/* Accumulators of a product of blocks: block b goes to lane b mod 8. */
#define UQFF_BLOCK_LANES 8
/* Accumulators of an exact product: element k goes to lane k mod 32. */
#define UQFF_FLOAT_LANES 32

/* The product of two rows of n elements, the activations of the type that goes with the function's
 * type of weights. */
typedef float uqff_dot_fn(const unsigned char *weights, const unsigned char *activations, size_t n);

/* lanes[k mod 32] = fmaf(w[k], x[k], lanes[k mod 32]) for k = 0 .. n - 1. */
typedef void uqff_lanes_fn(float lanes[UQFF_FLOAT_LANES], const float *w, const float *x, size_t n);

/* ---- matrices ---------------------------------------------------------------------------------
 *
 * A panel is 16 rows of weights, unpacked and interleaved so that the lanes of vectors are rows. A
 * group is a few tokens, interleaved. Panels are made one after the other in a thread's scratch
 * memory and multiplied with all groups, so that unpacking costs little for many tokens. Both are
 * divided into blocks of columns.
 */
#define UQFF_PANEL_ROWS 16

/* How codes of block types stand in groups; see matmul_place.c. */
struct uqff_tiling {
    uint16_t block;  /* columns with a scale of their own: 32 or 256 */
    uint16_t group;  /* columns that are summed before a scale */
    uint8_t offset;  /* what the codes of panels are too large by; made good by the activations */
    uint8_t minimum; /* columns with a minimum, which multiplies their sum; 0: there are none */
    uint8_t wide;    /* 1: codes have 16 bits */
    uint8_t sums_32; /* 1: sums start with one value of 32 bits, not with two words */
};

/* Where the products of a panel go. */
struct uqff_results {
    float *out; /* of the first token and row */
    size_t stride;
    size_t rows; /* UQFF_PANEL_ROWS, or fewer in the last panel */
};

struct uqff_matmul_kernel {
    struct uqff_tiling tiling; /* for uqff_place_codes */
    unsigned block;            /* columns that the sizes below are for */
    unsigned panel_bytes;      /* of a block of a panel */
    unsigned group_bytes;      /* of a block of a group */
    unsigned slack;            /* bytes that a panel, and all activations, have too many */
    unsigned tokens;           /* in a group */
    unsigned fewest;           /* tokens for which it pays to unpack panels */
    unsigned waiting;          /* arrays of floats for each token and row of a panel, as scratch */
    /* Puts `count` columns of one token, from a multiple of 256 on, where they belong among the
     * prepared activations. data: blocks of the activation type, or floats. */
    void (*place)(const struct uqff_matmul *plan, const unsigned char *data, size_t first,
                  size_t count, size_t token, unsigned char *activations);
    /* Unpacks rows of weights. */
    void (*pack)(const struct uqff_matmul *plan, const unsigned char *const row[UQFF_PANEL_ROWS],
                 unsigned char *panel);
    /* `waiting` is for sums that wait for others. */
    void (*multiply)(const struct uqff_matmul *plan, const unsigned char *panel,
                     const unsigned char *activations, float *waiting,
                     const struct uqff_results *results);
};

/* Every table but the reference's is sparse and rests on another, as in kernels.h. The reference
 * has no matrix kernels: a matrix product is defined by the products of its rows. */
struct uqff_products {
    const struct uqff_products *below;
    uqff_dot_fn *dot[UQFF_SLOTS];
    uqff_lanes_fn *lanes;
    const struct uqff_matmul_kernel *matmul[UQFF_SLOTS];
    const struct uqff_matmul_kernel *exact; /* any type, decoded to float32 */
};

extern const struct uqff_products uqff_products_ref;
extern const struct uqff_products uqff_products_avx2;   /* on x86-64 */
extern const struct uqff_products uqff_products_avx512; /* on x86-64 */
extern const struct uqff_products uqff_products_neon;   /* on aarch64 */

/* Whether rows of n elements of these types can be multiplied. */
enum uqff_code uqff_check_product(uint32_t weight_type, uint32_t activation_type, size_t n,
                                  struct uqff_error *err) UQFF_MUST_CHECK;

/* uqff_dot of what was checked. */
float uqff_dot_rows(const struct uqff_products *products, uint32_t weight_type,
                    uint32_t activation_type, const void *weights, const void *activations,
                    size_t n);

/* The kernel of a plan, NULL for the reference's way. */
const struct uqff_matmul_kernel *uqff_matmul_kernel_of(const struct uqff_matmul *plan);

/* The bytes of one token's codes, interleaved as panels of block types need them. */
void uqff_place_codes(const struct uqff_matmul *plan, const unsigned char *data, size_t first,
                      size_t count, size_t token, unsigned char *activations);

/* Minima of a block. */
#define UQFF_PER_MINIMUM(block, minimum) ((minimum) ? (block) / ((minimum) ? (minimum) : 1) : 0)

/* Hands out the products of a panel with some tokens from `first` on, those that only fill the last
 * group left out. Each token's are a line of the cache that is far from the next one's: so they are
 * written as soon as they are there, and memory takes them while others are multiplied. */
static inline void uqff_put_results(const struct uqff_matmul *plan,
                                    const struct uqff_results *results, const float *products,
                                    size_t first, size_t count) {
    for (size_t t = first; t < first + count && t < plan->tokens; t++) {
        float *out = results->out + t * results->stride;
        if (results->rows == UQFF_PANEL_ROWS) {
            memcpy(out, products, UQFF_PANEL_ROWS * sizeof *out);
        } else {
            memcpy(out, products, results->rows * sizeof *out);
        }
        products += UQFF_PANEL_ROWS;
    }
}

/* Bytes of a block of four tokens for uqff_place_codes. */
#define UQFF_PLACED_BYTES(block, group, offset, minimum, wide)                                     \
    ((block) * ((wide) ? 8 : 4) + ((offset) ? (block) / (group)*16 : 0) +                          \
     UQFF_PER_MINIMUM(block, minimum) * ((block) == 32 ? 16 : 8) + 16)

/* ---- the end of a product ----------------------------------------------------------------------
 */

/* A sum as it is handed out: every NaN is the same one. */
static inline float uqff_one_nan(float v) {
    return v == v ? v : bits_float(0x7fc00000);
}

/* The sum of 8 lanes: of halves, of their halves, and of the last two. */
static inline float uqff_fold_8(const float v[8]) {
    float a = v[0] + v[4];
    float b = v[1] + v[5];
    float c = v[2] + v[6];
    float d = v[3] + v[7];
    return uqff_one_nan((a + c) + (b + d));
}

/* The sum of 32 lanes, folded in the same way. */
static inline float uqff_fold_32(const float v[UQFF_FLOAT_LANES]) {
    float eight[8];
    for (int l = 0; l < 8; l++) {
        eight[l] = (v[l] + v[l + 16]) + (v[l + 8] + v[l + 24]);
    }
    return uqff_fold_8(eight);
}

#endif
