/* lanes/matmul_pack.h for NEON. */
#if defined(__aarch64__)

#include "arm/unpack.h"

/* Four rows of four 32-bit cells become columns: cell k at out + 64 * k. */
LANE void put_four(unsigned char *out, uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
    uint32x4_t ab_02 = vtrn1q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b));
    uint32x4_t ab_13 = vtrn2q_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b));
    uint32x4_t cd_02 = vtrn1q_u32(vreinterpretq_u32_u8(c), vreinterpretq_u32_u8(d));
    uint32x4_t cd_13 = vtrn2q_u32(vreinterpretq_u32_u8(c), vreinterpretq_u32_u8(d));
    uint64x2_t column[4] = {
        vtrn1q_u64(vreinterpretq_u64_u32(ab_02), vreinterpretq_u64_u32(cd_02)),
        vtrn1q_u64(vreinterpretq_u64_u32(ab_13), vreinterpretq_u64_u32(cd_13)),
        vtrn2q_u64(vreinterpretq_u64_u32(ab_02), vreinterpretq_u64_u32(cd_02)),
        vtrn2q_u64(vreinterpretq_u64_u32(ab_13), vreinterpretq_u64_u32(cd_13)),
    };
    for (int k = 0; k < 4; k++) {
        vst1q_u8(out + 64 * k, vreinterpretq_u8_u64(column[k]));
    }
}

LANE void put_columns(unsigned char *out, size_t gap, const vb row[8]) {
    for (int half = 0; half < 2; half++, out += 256 + gap) {
        put_four(out, row[0].val[half], row[1].val[half], row[2].val[half], row[3].val[half]);
        put_four(out + 16, row[4].val[half], row[5].val[half], row[6].val[half], row[7].val[half]);
    }
}

#include "lanes/matmul_pack.h"

#endif
