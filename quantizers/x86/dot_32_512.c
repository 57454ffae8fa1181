/* dot_32.h for AVX-512: two blocks of 32 codes fill a register. */
#if defined(__x86_64__)

#include "x86/sums_512.h"

#include "lanes/codes.h"
#include "lanes/dot.h"

/* What the codes are too large by. */
LANE int added_to(uint32_t type) {
    return has_signed_codes(type) ? 128 : offset_of(type);
}

LANE __m512i both(const unsigned char *a, const unsigned char *b) {
    __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)a));
    return _mm512_inserti64x4(low, _mm256_loadu_si256((const __m256i *)b), 1);
}

/* Nibbles of two blocks, those of the first in the lower half. */
LANE __m512i nibbles_of(const unsigned char *a, const unsigned char *b) {
    const __m512i shift = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0,
                                           0x0004000400040004, 0x0004000400040004, 0, 0);
    __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)a));
    v = _mm512_mask_broadcast_i32x4(v, 0xff00, _mm_loadu_si128((const __m128i *)b));
    return _mm512_and_si512(_mm512_srlv_epi16(v, shift), _mm512_set1_epi8(0x0f));
}

/* table[v] + added, v = 0..15. */
LANE __m512i looked_up(const int8_t table[16], int added, __m512i v) {
    __m128i values = _mm_loadu_si128((const __m128i *)(const void *)table);
    values = _mm_add_epi8(values, _mm_set1_epi8((char)added));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(values), v);
}

LANE __m512i codes_of(uint32_t type, const unsigned char *a, const unsigned char *b) {
    const size_t place = place_of_nibbles(type);
    switch (type) {
    case UQFF_TYPE_Q8_0:
        return _mm512_xor_si512(both(a + 2, b + 2), _mm512_set1_epi8((char)0x80));
    case UQFF_TYPE_Q8_1:
        return _mm512_xor_si512(both(a + 4, b + 4), _mm512_set1_epi8((char)0x80));
    case UQFF_TYPE_Q5_0:
    case UQFF_TYPE_Q5_1: {
        uint64_t fifth = (uint64_t)uqff_load_le32(b + place - 4) << 32;
        fifth |= uqff_load_le32(a + place - 4);
        __m512i q = nibbles_of(a + place, b + place);
        return _mm512_mask_add_epi8(q, fifth, q, _mm512_set1_epi8(0x10));
    }
    case UQFF_TYPE_MXFP4:
        return looked_up(uqff_mxfp4_plus_12, 0, nibbles_of(a + place, b + place));
    case UQFF_TYPE_IQ4_NL:
        return looked_up(uqff_iq4_values, added_to(type), nibbles_of(a + place, b + place));
    default:
        return nibbles_of(a + place, b + place);
    }
}

/* In each half eight sums of four products of a block. */
LANE __m512i sums_of_two(uint32_t type, const unsigned char *a, const unsigned char *b,
                         const unsigned char *x_a, const unsigned char *x_b) {
    const __m512i zero = _mm512_setzero_si512();
    __m512i x = both(x_a, x_b);
    __m512i sums = _mm512_dpbusd_epi32(zero, codes_of(type, a, b), x);
    if (added_to(type)) {
        __m512i added = _mm512_set1_epi8((char)added_to(type));
        sums = _mm512_sub_epi32(sums, _mm512_dpbusd_epi32(zero, added, x));
    }
    return sums;
}

LANE __m256i eight_integers(uint32_t type, const unsigned char *w, const unsigned char *x,
                            size_t x_bytes) {
    const size_t w_bytes = block_bytes_of(type);
    __m512i sums[4]; /* of blocks b and b + 4 */
    for (size_t b = 0; b < 4; b++) {
        sums[b] = sums_of_two(type, w + b * w_bytes, w + (b + 4) * w_bytes, x + b * x_bytes,
                              x + (b + 4) * x_bytes);
    }
    __m512i v = four_totals(sums);
    return _mm256_add_epi32(_mm512_castsi512_si256(_mm512_shuffle_i32x4(v, v, 0x08)),
                            _mm512_castsi512_si256(_mm512_shuffle_i32x4(v, v, 0x0d)));
}

#include "x86/dot_32.h"

#endif
