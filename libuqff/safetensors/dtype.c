/* The table of element types. */
#include "uqff/safetensors.h"

#include <string.h>

static const struct {
    const char *name;
    unsigned bits;
} dtypes[UQFF_DTYPE_COUNT] = {
    [UQFF_DTYPE_BOOL] = {"BOOL", 8},
    [UQFF_DTYPE_F4] = {"F4", 4},
    [UQFF_DTYPE_F6_E2M3] = {"F6_E2M3", 6},
    [UQFF_DTYPE_F6_E3M2] = {"F6_E3M2", 6},
    [UQFF_DTYPE_U8] = {"U8", 8},
    [UQFF_DTYPE_I8] = {"I8", 8},
    [UQFF_DTYPE_F8_E5M2] = {"F8_E5M2", 8},
    [UQFF_DTYPE_F8_E4M3] = {"F8_E4M3", 8},
    [UQFF_DTYPE_F8_E8M0] = {"F8_E8M0", 8},
    [UQFF_DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [UQFF_DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [UQFF_DTYPE_I16] = {"I16", 16},
    [UQFF_DTYPE_U16] = {"U16", 16},
    [UQFF_DTYPE_F16] = {"F16", 16},
    [UQFF_DTYPE_BF16] = {"BF16", 16},
    [UQFF_DTYPE_I32] = {"I32", 32},
    [UQFF_DTYPE_U32] = {"U32", 32},
    [UQFF_DTYPE_F32] = {"F32", 32},
    [UQFF_DTYPE_C64] = {"C64", 64},
    [UQFF_DTYPE_F64] = {"F64", 64},
    [UQFF_DTYPE_I64] = {"I64", 64},
    [UQFF_DTYPE_U64] = {"U64", 64},
};

const char *uqff_dtype_name(enum uqff_dtype dtype) {
    return (unsigned)dtype < UQFF_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

unsigned uqff_dtype_bits(enum uqff_dtype dtype) {
    return (unsigned)dtype < UQFF_DTYPE_COUNT ? dtypes[dtype].bits : 0;
}

bool uqff_dtype_from_name(const char *name, size_t n, enum uqff_dtype *out) {
    for (unsigned i = 0; i < UQFF_DTYPE_COUNT; i++) {
        if (strlen(dtypes[i].name) == n && memcmp(dtypes[i].name, name, n) == 0) {
            *out = (enum uqff_dtype)i;
            return true;
        }
    }
    return false;
}

unsigned uqff_dtype_alignment(enum uqff_dtype dtype) {
    unsigned bytes = uqff_dtype_bits(dtype) / 8;
    return bytes > 1 ? bytes : 1; /* every width above 8 bits is a power of two */
}

enum uqff_code uqff_dtype_bytes(enum uqff_dtype dtype, const uint64_t *shape, unsigned rank,
                                uint64_t *bytes, struct uqff_error *err) {
    if ((unsigned)dtype >= UQFF_DTYPE_COUNT) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "there is no dtype %d", (int)dtype);
    }
    uint64_t elements = 1;
    for (unsigned i = 0; i < rank; i++) {
        if (!uqff_mul_u64(elements, shape[i], &elements)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "the product of the shape overflows at dimension %u of %u", i + 1,
                             rank);
        }
    }
    /* Bits rather than bytes, as the sub-byte types need them; the reference reader has the same
     * bound of 2^64 - 1 bits. */
    uint64_t bits;
    if (!uqff_mul_u64(elements, dtypes[dtype].bits, &bits)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "%llu times %s overflows the count of bits", (unsigned long long)elements,
                         dtypes[dtype].name);
    }
    if (bits % 8 != 0) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%llu times %s takes %llu bits, no whole number of bytes",
                         (unsigned long long)elements, dtypes[dtype].name,
                         (unsigned long long)bits);
    }
    *bytes = bits / 8;
    return UQFF_OK;
}
