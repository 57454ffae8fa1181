/*
 * The functions behind uqff_quantize_row and its siblings, one table for each instruction set.
 * Private to quantizers/.
 *
 * Every table but the reference's is sparse and names the one below it: what it leaves NULL is
 * taken from there. The tables of an architecture are so a list that ends with the reference's. A
 * new instruction set is a table `const struct uqff_kernels uqff_kernels_NAME` in its own folder
 * and a row in dispatch.c.
 */
#ifndef UQFF_QUANTIZERS_KERNELS_H
#define UQFF_QUANTIZERS_KERNELS_H

#include "uqff/quant.h"

/* The decoded scales of one block, for uqff_scan_scales. */
struct uqff_block_scales {
    int count;
    bool finite; /* all floats that the block stores are */
    float scale[16];
};

/* Rows of n elements, n a multiple of the block; y and x need no alignment, importance may be NULL.
 * The caller has checked everything. */
typedef void uqff_quantize_fn(const float *x, unsigned char *y, size_t n, const float *importance);
typedef void uqff_dequantize_fn(const unsigned char *x, float *y, size_t n);
typedef void uqff_scales_fn(const unsigned char *block, struct uqff_block_scales *out);

struct uqff_kernel {
    uqff_quantize_fn *quantize;
    uqff_dequantize_fn *dequantize;
    uqff_scales_fn *scales;
};

/* Types are looked up by slot: ids below 1000 as they are, our own behind them. */
#define UQFF_SLOT(id) ((id) < 1000 ? (id) : (id)-1000 + 43)
#define UQFF_SLOTS 61

struct uqff_products;

struct uqff_kernels {
    const struct uqff_kernels *below; /* NULL in the reference's */
    struct uqff_kernel type[UQFF_SLOTS];
    size_t (*find_nonfinite)(const float *x, size_t n);
    const struct uqff_products *products; /* products.h */
};

extern const struct uqff_kernels uqff_kernels_ref;
extern const struct uqff_kernels uqff_kernels_avx2;   /* on x86-64 */
extern const struct uqff_kernels uqff_kernels_avx512; /* on x86-64 */
extern const struct uqff_kernels uqff_kernels_neon;   /* on aarch64 */

/* The functions of the level in use, for a type that has them. */
uqff_quantize_fn *uqff_quantize_in_use(uint32_t type);
uqff_dequantize_fn *uqff_dequantize_in_use(uint32_t type);
const struct uqff_products *uqff_products_in_use(void);

/* What the processor and its operating system support. */
enum uqff_cpu_level uqff_cpu_detect(void);

#endif
