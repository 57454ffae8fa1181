/*
 * From a type to its functions: the reference table, and the tables of instruction sets over it.
 */
#include <stdatomic.h>

#include "kernels.h"
#include "products.h"
#include "ref/ref.h"

#define ENTRY(TYPE, quantize, dequantize, scales)                                                  \
    [UQFF_SLOT(UQFF_TYPE_##TYPE)] = {quantize, dequantize, scales}
#define CODEC(TYPE, name, scales)                                                                  \
    ENTRY(TYPE, uqff_ref_quantize_##name, uqff_ref_dequantize_##name, scales)
#define DECODE(TYPE, name) ENTRY(TYPE, NULL, uqff_ref_dequantize_##name, NULL)

const struct uqff_kernels uqff_kernels_ref = {
    .type =
        {
            CODEC(F32, f32, NULL),
            CODEC(F16, f16, NULL),
            CODEC(BF16, bf16, NULL),
            CODEC(Q4_0, q4_0, uqff_ref_scales_d),
            CODEC(Q4_1, q4_1, uqff_ref_scales_q4_1),
            CODEC(Q5_0, q5_0, uqff_ref_scales_d),
            CODEC(Q5_1, q5_1, uqff_ref_scales_q4_1),
            CODEC(Q8_0, q8_0, uqff_ref_scales_d),
            CODEC(Q8_1, q8_1, uqff_ref_scales_q4_1),
            CODEC(Q2_K, q2_k, uqff_ref_scales_q2_k),
            CODEC(Q3_K, q3_k, uqff_ref_scales_q3_k),
            CODEC(Q4_K, q4_k, uqff_ref_scales_q4_k),
            CODEC(Q5_K, q5_k, uqff_ref_scales_q4_k),
            CODEC(Q6_K, q6_k, uqff_ref_scales_q6_k),
            CODEC(Q8_K, q8_k, uqff_ref_scales_q8_k),
            CODEC(IQ4_NL, iq4_nl, uqff_ref_scales_d),
            CODEC(IQ4_XS, iq4_xs, uqff_ref_scales_iq4_xs),
            CODEC(TQ1_0, tq1_0, uqff_ref_scales_tq1_0),
            CODEC(TQ2_0, tq2_0, uqff_ref_scales_tq2_0),
            CODEC(MXFP4, mxfp4, uqff_ref_scales_mxfp4),
            DECODE(F64, f64),
            DECODE(I8, i8),
            DECODE(I16, i16),
            DECODE(I32, i32),
            DECODE(I64, i64),
            DECODE(BOOL, bool),
            DECODE(U8, u8),
            DECODE(U16, u16),
            DECODE(U32, u32),
            DECODE(U64, u64),
            DECODE(F4, f4),
            DECODE(F6_E2M3, f6_e2m3),
            DECODE(F6_E3M2, f6_e3m2),
            DECODE(F8_E5M2, f8_e5m2),
            DECODE(F8_E4M3, f8_e4m3),
            DECODE(F8_E8M0, f8_e8m0),
        },
    .find_nonfinite = uqff_ref_find_nonfinite,
    .products = &uqff_products_ref,
};

/* ---- level in use ---------------------------------------------------------------------------- */

/* The table of each level; NULL where this build has none. */
static const struct uqff_kernels *const tables[] = {
    [UQFF_CPU_REF] = &uqff_kernels_ref,
#if defined(__x86_64__)
    [UQFF_CPU_AVX2] = &uqff_kernels_avx2,
    [UQFF_CPU_AVX512] = &uqff_kernels_avx512,
#elif defined(__aarch64__)
    [UQFF_CPU_NEON] = &uqff_kernels_neon,
#endif
};

static const char *const level_names[] = {
    [UQFF_CPU_REF] = "ref",
    [UQFF_CPU_AVX2] = "avx2",
    [UQFF_CPU_NEON] = "neon",
    [UQFF_CPU_AVX512] = "avx512",
};

/* One more than the level that was set; 0 as long as none was. */
static atomic_int chosen;

enum uqff_cpu_level uqff_cpu_found(void) {
    return uqff_cpu_detect();
}

enum uqff_cpu_level uqff_cpu_level(void) {
    int level = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (level == 0) {
        /* Threads that come here at once all find the same. */
        level = (int)uqff_cpu_detect() + 1;
        atomic_store_explicit(&chosen, level, memory_order_relaxed);
    }
    return (enum uqff_cpu_level)(level - 1);
}

const char *uqff_cpu_level_name(enum uqff_cpu_level level) {
    return (unsigned)level < sizeof level_names / sizeof level_names[0] ? level_names[level]
                                                                        : "unknown";
}

/* Whether `level` is one that the machine's best rests on, or that one. */
static bool is_available(enum uqff_cpu_level level, enum uqff_cpu_level best) {
    if ((unsigned)level >= sizeof tables / sizeof tables[0] || !tables[level]) {
        return false;
    }
    const struct uqff_kernels *table = tables[best];
    while (table && table != tables[level]) {
        table = table->below;
    }
    return table != NULL;
}

enum uqff_code uqff_cpu_set_level(enum uqff_cpu_level level, struct uqff_error *err) {
    enum uqff_cpu_level found = uqff_cpu_detect();
    if (!is_available(level, found)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "instruction set %s: this machine has %s", uqff_cpu_level_name(level),
                         uqff_cpu_level_name(found));
    }
    atomic_store_explicit(&chosen, (int)level + 1, memory_order_relaxed);
    return UQFF_OK;
}

uqff_quantize_fn *uqff_quantize_in_use(uint32_t type) {
    const struct uqff_kernels *table = tables[uqff_cpu_level()];
    while (table->below && !table->type[UQFF_SLOT(type)].quantize) {
        table = table->below;
    }
    return table->type[UQFF_SLOT(type)].quantize;
}

uqff_dequantize_fn *uqff_dequantize_in_use(uint32_t type) {
    const struct uqff_kernels *table = tables[uqff_cpu_level()];
    while (table->below && !table->type[UQFF_SLOT(type)].dequantize) {
        table = table->below;
    }
    return table->type[UQFF_SLOT(type)].dequantize;
}

const struct uqff_products *uqff_products_in_use(void) {
    return tables[uqff_cpu_level()]->products;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Checks that n elements of the type are whole blocks and that it has what `flag` says. */
static enum uqff_code check(uint32_t type, size_t n, unsigned flag, const char *what,
                            struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(type);
    if (!info || (info->flags & flag) != flag) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET, "%s: cannot be %s", uqff_type_name(type),
                         what);
    }
    if (n % info->block_length != 0) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: row of %zu elements, expected a multiple of %u", info->name, n,
                         info->block_length);
    }
    return UQFF_OK;
}

enum uqff_code uqff_quantize_row(uint32_t type, const float *x, void *y, size_t n,
                                 const float *importance, struct uqff_error *err) {
    enum uqff_code code = check(type, n, UQFF_TYPE_CAN_ENCODE, "encoded", err);
    if (code != UQFF_OK) {
        return code;
    }
    uqff_quantize_in_use(type)(x, (unsigned char *)y, n, importance);
    return UQFF_OK;
}

enum uqff_code uqff_dequantize_row(uint32_t type, const void *x, float *y, size_t n,
                                   struct uqff_error *err) {
    enum uqff_code code = check(type, n, UQFF_TYPE_CAN_DECODE, "decoded", err);
    if (code != UQFF_OK) {
        return code;
    }
    uqff_dequantize_in_use(type)((const unsigned char *)x, y, n);
    return UQFF_OK;
}

size_t uqff_find_nonfinite(const float *x, size_t n) {
    const struct uqff_kernels *table = tables[uqff_cpu_level()];
    while (!table->find_nonfinite) {
        table = table->below;
    }
    return table->find_nonfinite(x, n);
}

enum uqff_code uqff_scan_scales(uint32_t type, const void *x, size_t n,
                                struct uqff_scale_range *out, struct uqff_error *err) {
    const unsigned flags = UQFF_TYPE_IS_QUANTIZED | UQFF_TYPE_CAN_DECODE;
    enum uqff_code code = check(type, n, flags, "scanned for scales", err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_type_info *info = uqff_type_info(type);
    uqff_scales_fn *scales = uqff_kernels_ref.type[UQFF_SLOT(type)].scales;
    const unsigned char *block = (const unsigned char *)x;
    struct uqff_scale_range range = {0};
    struct uqff_block_scales found;
    bool any = false;
    for (size_t b = 0; b < n / info->block_length; b++, block += info->block_bytes) {
        scales(block, &found);
        if (!found.finite) {
            /* What such a block decodes to is no range; only the place counts. */
            if (!range.nonfinite) {
                range.nonfinite = true;
                range.first_bad_block = b;
            }
            continue;
        }
        for (int i = 0; i < found.count; i++) {
            float scale = found.scale[i];
            range.min = any && range.min <= scale ? range.min : scale;
            range.max = any && range.max >= scale ? range.max : scale;
            any = true;
        }
    }
    *out = range;
    return UQFF_OK;
}
