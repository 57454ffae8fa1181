#include "number.h"
#include "ref.h"

/* A float whose exponent bits are all ones is no number. Adding one to the exponent field carries
 * into the sign bit exactly then, so a whole chunk is tested by additions and one OR; the position
 * is looked for only in a chunk that has one. */
enum { CHUNK = 256 };

static inline uint32_t carry(float v) {
    return (float_bits(v) & 0x7fffffff) + 0x00800000;
}

size_t uqff_ref_find_nonfinite(const float *x, size_t n) {
    size_t i = 0;
    for (; n - i >= CHUNK; i += CHUNK) {
        uint32_t seen = 0;
        for (size_t j = 0; j < CHUNK; j++) {
            seen |= carry(x[i + j]);
        }
        if (seen >> 31) {
            break;
        }
    }
    while (i < n && carry(x[i]) >> 31 == 0) {
        i++;
    }
    return i;
}
