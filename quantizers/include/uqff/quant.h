/*
 * quantizers: the block types of the field, their sizes, and the functions that encode and decode
 * them.
 *
 * The C code in quantizers/ref/ is normative: it defines the bytes of every type, and they are the
 * bytes of ggml's reference encoder. Faster implementations are bit-identical to it for every
 * finite input. All functions here are pure: no allocation, no global state but the kernel level,
 * safe to call from any number of threads.
 */
#ifndef UQFF_QUANT_H
#define UQFF_QUANT_H

#include "uqff/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- types ----------------------------------------------------------------------------------- */

/* Ids below 1000 are ggml's, as GGUF files carry them. Ids from 1000 are ours, for element types
 * that safetensors has and ggml has not; they never stand in a file. */
enum uqff_type {
    UQFF_TYPE_F32 = 0,
    UQFF_TYPE_F16 = 1,
    UQFF_TYPE_Q4_0 = 2,
    UQFF_TYPE_Q4_1 = 3,
    UQFF_TYPE_Q5_0 = 6,
    UQFF_TYPE_Q5_1 = 7,
    UQFF_TYPE_Q8_0 = 8,
    UQFF_TYPE_Q8_1 = 9,
    UQFF_TYPE_Q2_K = 10,
    UQFF_TYPE_Q3_K = 11,
    UQFF_TYPE_Q4_K = 12,
    UQFF_TYPE_Q5_K = 13,
    UQFF_TYPE_Q6_K = 14,
    UQFF_TYPE_Q8_K = 15,
    UQFF_TYPE_IQ2_XXS = 16,
    UQFF_TYPE_IQ2_XS = 17,
    UQFF_TYPE_IQ3_XXS = 18,
    UQFF_TYPE_IQ1_S = 19,
    UQFF_TYPE_IQ4_NL = 20,
    UQFF_TYPE_IQ3_S = 21,
    UQFF_TYPE_IQ2_S = 22,
    UQFF_TYPE_IQ4_XS = 23,
    UQFF_TYPE_I8 = 24,
    UQFF_TYPE_I16 = 25,
    UQFF_TYPE_I32 = 26,
    UQFF_TYPE_I64 = 27,
    UQFF_TYPE_F64 = 28,
    UQFF_TYPE_IQ1_M = 29,
    UQFF_TYPE_BF16 = 30,
    UQFF_TYPE_TQ1_0 = 34,
    UQFF_TYPE_TQ2_0 = 35,
    UQFF_TYPE_MXFP4 = 39,
    UQFF_TYPE_NVFP4 = 40,
    UQFF_TYPE_Q1_0 = 41,
    UQFF_TYPE_Q2_0 = 42,

    UQFF_TYPE_BOOL = 1000,
    UQFF_TYPE_U8 = 1001,
    UQFF_TYPE_U16 = 1002,
    UQFF_TYPE_U32 = 1003,
    UQFF_TYPE_U64 = 1004,
    UQFF_TYPE_C64 = 1005,
    UQFF_TYPE_F4 = 1010,      /* two elements a byte */
    UQFF_TYPE_F6_E2M3 = 1011, /* four elements in three bytes */
    UQFF_TYPE_F6_E3M2 = 1012,
    UQFF_TYPE_F8_E5M2 = 1013,
    UQFF_TYPE_F8_E4M3 = 1014,
    UQFF_TYPE_F8_E8M0 = 1015,
    UQFF_TYPE_F8_E4M3FNUZ = 1016,
    UQFF_TYPE_F8_E5M2FNUZ = 1017,
};

enum uqff_type_flags {
    UQFF_TYPE_IS_FLOAT = 1 << 0,         /* one float a block: F32, F16, BF16, F64 */
    UQFF_TYPE_IS_QUANTIZED = 1 << 1,     /* a block type */
    UQFF_TYPE_CAN_DECODE = 1 << 2,       /* uqff_dequantize_row works */
    UQFF_TYPE_CAN_ENCODE = 1 << 3,       /* uqff_quantize_row works */
    UQFF_TYPE_USES_IMPORTANCE = 1 << 4,  /* an importance vector changes the bytes */
    UQFF_TYPE_ACTIVATIONS_ONLY = 1 << 5, /* Q8_K: never stored in a file */
};

struct uqff_type_info {
    const char *name;      /* "Q4_K": upper case, as the field writes it */
    uint32_t id;           /* enum uqff_type */
    uint32_t block_length; /* elements a block */
    uint32_t block_bytes;  /* bytes a block */
    unsigned flags;        /* enum uqff_type_flags */
};

/* NULL for an id that is retired or unknown. */
UQFF_API const struct uqff_type_info *uqff_type_info(uint32_t id);
/* "Q4_K" or, for an unknown id, "type 43" / "retired type 4" (static thread-local text). */
UQFF_API const char *uqff_type_name(uint32_t id);
/* True for an id that ggml once used and gave up (4, 5, 31-33, 36-38). */
UQFF_API bool uqff_type_is_retired(uint32_t id);
/* Case-insensitive look-up by name; NULL when there is none. */
UQFF_API const struct uqff_type_info *uqff_type_by_name(const char *name);
/* All types in order of id, for listings. */
UQFF_API const struct uqff_type_info *uqff_type_table(size_t *count);

/* Bytes of a row of n elements. UQFF_E_TYPE for an unknown type, UQFF_E_SHAPE when n is not a
 * multiple of the block, UQFF_E_OVERFLOW. */
UQFF_API enum uqff_code uqff_row_bytes(uint32_t type, uint64_t n, uint64_t *bytes,
                                       struct uqff_error *err) UQFF_MUST_CHECK;
/* Bytes of a tensor: rows of shape[rank-1] elements, shape[0..rank-2] of them (rank 0: one
 * element). Checked in whole blocks, then bytes. */
UQFF_API enum uqff_code uqff_tensor_bytes(uint32_t type, const uint64_t *shape, unsigned rank,
                                          uint64_t *bytes, struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- encode and decode ----------------------------------------------------------------------- */

/* Encodes one row. x: n float32, all finite: who cannot know asks uqff_find_nonfinite first, for
 * any other gives a row that means nothing. y: uqff_row_bytes(type, n) bytes, no alignment needed.
 * importance: n non-negative finite weights, one a column, or NULL; ignored by types that do not
 * use it. n is a multiple of the block length. The row matters: some types take a sum over it.
 * UQFF_E_TYPE when the type cannot be encoded, UQFF_E_SHAPE when n does not fit.
 * Source of the methods: ggml's reference quantizers; spec/quantization.md. */
UQFF_API enum uqff_code uqff_quantize_row(uint32_t type, const float *x, void *y, size_t n,
                                          const float *importance,
                                          struct uqff_error *err) UQFF_MUST_CHECK;

/* Decodes n elements (a multiple of the block length) of a row to float32. x: uqff_row_bytes(type,
 * n) bytes, any bytes, no alignment needed; y: n float32. UQFF_E_TYPE when the type cannot be
 * decoded, UQFF_E_SHAPE when n does not fit. */
UQFF_API enum uqff_code uqff_dequantize_row(uint32_t type, const void *x, float *y, size_t n,
                                            struct uqff_error *err) UQFF_MUST_CHECK;

/* Index of the first element that is NaN or infinite, or n. */
UQFF_API size_t uqff_find_nonfinite(const float *x, size_t n);

/* Range of the scales that `n` elements of a quantized type carry: the smallest and largest block
 * scale as decoded (d, and for K types d times the sub-scale), and whether any stored float
 * (d, dmin, m, e) is NaN or infinite, with the first such block. UQFF_E_TYPE for other types. */
struct uqff_scale_range {
    float min, max;
    bool nonfinite;
    uint64_t first_bad_block;
};
UQFF_API enum uqff_code uqff_scan_scales(uint32_t type, const void *x, size_t n,
                                         struct uqff_scale_range *out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- dot and matrix kernels ------------------------------------------------------------------ */

/* Products of rows of weights, as they stand in a file, with rows of activations. Every result is
 * defined to the last bit by spec/kernels.md: it does not depend on the level, the compiler, the
 * number of tokens in a batch, or how rows are divided among threads, and uqff_dot and a matrix
 * product give the same bits for the same two rows. A result that is not a number is the quiet NaN
 * 7fc00000.
 *
 * A product is taken in one of two ways:
 *  - of blocks: activations are encoded as the type that uqff_activation_type names, and codes are
 *    multiplied as integers;
 *  - exactly: activations stay float32, and weights are decoded to float32. This is the only way
 *    for F32, F16, BF16 and other plain types, and possible for every type that can be decoded. */

#define UQFF_NO_TYPE UINT32_MAX

/* The type of activations that meet weights of a type: Q8_0, Q8_1 or Q8_K for block types,
 * paired as in ggml; F32 for types that are only multiplied exactly; UQFF_NO_TYPE for a type
 * that cannot stand for weights. */
UQFF_API uint32_t uqff_activation_type(uint32_t weight_type);

/* *out = sum of weights[k] * activations[k] over n elements, a multiple of the block lengths.
 * weights: uqff_row_bytes(weight_type, n) bytes. activations: n floats if activation_type is
 * F32, else a row of uqff_activation_type(weight_type) that uqff_quantize_row wrote. Only floats
 * need alignment. UQFF_E_TYPE when the types do not meet, UQFF_E_SHAPE when n does not fit. Any
 * thread. */
UQFF_API enum uqff_code uqff_dot(uint32_t weight_type, const void *weights,
                                 uint32_t activation_type, const void *activations, size_t n,
                                 float *out, struct uqff_error *err) UQFF_MUST_CHECK;

struct uqff_products;

/* How matrices of one shape are multiplied: out[t][r] = sum over c of weights[r][c] *
 * activations[t][c]. A plain value: it owns nothing, may be copied, and serves any number of
 * threads. It keeps the kernel level that was in use when it was made. */
struct uqff_matmul {
    uint32_t weight_type;
    uint32_t activation_type; /* F32: exactly */
    size_t columns;           /* elements of a row of weights and of activations */
    size_t tokens;            /* rows of activations */
    size_t row_bytes;         /* of a row of weights */
    size_t activation_bytes;  /* what uqff_matmul_prepare fills; never less for more tokens */
    size_t scratch_bytes;     /* what each thread in uqff_matmul_run works in; neither */
    const struct uqff_products *products; /* private */
};

/* Plans the product of `tokens` activations with weights of any number of rows. Cheap, and the one
 * function here that can fail: UQFF_E_TYPE when the types do not meet, UQFF_E_SHAPE when `columns`
 * does not fit, UQFF_E_OVERFLOW. */
UQFF_API enum uqff_code uqff_matmul_plan(uint32_t weight_type, uint32_t activation_type,
                                         size_t columns, size_t tokens, struct uqff_matmul *plan,
                                         struct uqff_error *err) UQFF_MUST_CHECK;

/* Brings tokens first .. first + count - 1 into the form that the kernels read. x[t * x_stride + c]
 * holds all plan->tokens rows, finite; `activations` is plan->activation_bytes bytes, without
 * alignment, which must stay where they are. Threads may prepare different tokens of the same
 * activations at once. What is prepared serves every plan of the same types, columns, tokens and
 * level, so once for several matrices; float32 activations serve weights of every type. */
UQFF_API void uqff_matmul_prepare(const struct uqff_matmul *plan, const float *x, size_t x_stride,
                                  size_t first, size_t count, void *activations);

/* out[t * out_stride + r] for all tokens and `rows` rows of weights, which follow each other
 * without gaps. scratch: plan->scratch_bytes bytes, without alignment, for this call alone. To
 * divide the work, give each thread some of the rows, weights + r * plan->row_bytes and out + r;
 * 16 rows or a multiple of that at a time are fastest. */
UQFF_API void uqff_matmul_run(const struct uqff_matmul *plan, const void *weights, size_t rows,
                              const void *activations, float *out, size_t out_stride,
                              void *scratch);

/* ---- kernel level ---------------------------------------------------------------------------- */

/* Instruction sets that a kernel may use. The best one found is used unless a cap is set. */
enum uqff_cpu_level {
    UQFF_CPU_REF = 0,    /* plain C */
    UQFF_CPU_AVX2 = 1,   /* AVX2, FMA and F16C */
    UQFF_CPU_NEON = 2,   /* aarch64 baseline */
    UQFF_CPU_AVX512 = 3, /* those of AVX2, and AVX512F, BW, DQ, VL and VNNI */
};
/* Best level of this machine, by cpuid and xgetbv; level in use; its name ("ref", "avx2", "neon",
 * "avx512"). A machine also has the levels that its best one rests on: AVX512 on AVX2, all on REF.
 */
UQFF_API enum uqff_cpu_level uqff_cpu_found(void);
UQFF_API enum uqff_cpu_level uqff_cpu_level(void);
UQFF_API const char *uqff_cpu_level_name(enum uqff_cpu_level level);
/* Uses `level` from now on, for the whole process: call it before other threads quantize.
 * UQFF_E_ARGUMENT when this machine does not have it. */
UQFF_API enum uqff_code uqff_cpu_set_level(enum uqff_cpu_level level,
                                           struct uqff_error *err) UQFF_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
