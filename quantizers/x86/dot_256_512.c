/* dot_256.h for AVX-512: four registers of 64 codes are a block. */
#if defined(__x86_64__)

#include "x86/sums_512.h"

#include "lanes/codes.h"
#include "lanes/dot.h"

typedef __m512i block_sums;

LANE block_sums no_sums(void) {
    return _mm512_setzero_si512();
}

LANE __m256i eight_block_totals(const block_sums sums[UQFF_BLOCK_LANES]) {
    __m512i a = four_totals(sums);
    __m512i b = four_totals(sums + 4);
    /* Halves of 0..3, then of 4..7. */
    __m512i v =
        _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
    return _mm256_add_epi32(_mm512_castsi512_si256(_mm512_shuffle_i32x4(v, v, 0x08)),
                            _mm512_castsi512_si256(_mm512_shuffle_i32x4(v, v, 0x0d)));
}

/* ---- codes ----------------------------------------------------------------------------------- */

/* Words for the lower and the upper half. */
LANE __m512i halves(int low, int high) {
    return _mm512_inserti64x4(_mm512_set1_epi16((short)low), _mm256_set1_epi16((short)high), 1);
}

/* The same 32 bytes in both halves. */
LANE __m512i load_twice(const unsigned char *p) {
    return _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)p));
}

LANE __m512i low_bits(__m512i v, int mask) {
    return _mm512_and_si512(v, _mm512_set1_epi8((char)mask));
}

/* Pairs of bits of 128 values in 32 bytes. */
LANE void pairs_of(const unsigned char *plane, __m512i q[2]) {
    __m512i v = load_twice(plane);
    q[0] = low_bits(_mm512_srlv_epi16(v, halves(0, 2)), 3);
    q[1] = low_bits(_mm512_srlv_epi16(v, halves(4, 6)), 3);
}

LANE void nibbles_of(const unsigned char *qs, __m512i q[4]) {
    for (int j = 0; j < 4; j++) {
        q[j] = low_bits(_mm512_srlv_epi16(load_twice(qs + 32 * j), halves(0, 4)), 0x0f);
    }
}

/* Adds `value` where the bits of `plane` are set: bit 2j for the 32 first codes of q[j], the next
 * for the others. */
LANE void add_bits(const unsigned char *plane, int value, __m512i q[4]) {
    __m512i v = load_twice(plane);
    for (int j = 0; j < 4; j++) {
        const __m512i bits = halves(0x0101 << 2 * j, 0x0202 << 2 * j);
        __mmask64 set = _mm512_test_epi8_mask(v, bits);
        q[j] = _mm512_mask_add_epi8(q[j], set, q[j], _mm512_set1_epi8((char)value));
    }
}

/* (v & 0x30) | q */
LANE __m512i with_upper_bits(__m512i q, __m512i v) {
    return _mm512_ternarylogic_epi64(q, v, _mm512_set1_epi8(0x30), 0xf8);
}

LANE void q6_k_codes(const unsigned char *block, __m512i q[4]) {
    for (int h = 0; h < 2; h++, q += 2) {
        __m512i low = _mm512_loadu_si512(block + 64 * h);
        __m512i high = load_twice(block + 128 + 32 * h);
        q[0] = with_upper_bits(low_bits(low, 0x0f), _mm512_sllv_epi16(high, halves(4, 2)));
        q[1] = with_upper_bits(low_bits(_mm512_srli_epi16(low, 4), 0x0f),
                               _mm512_srlv_epi16(high, halves(0, 2)));
    }
}

/* Nibbles of 32 values in 16 bytes each, before they are looked up. */
LANE void iq4_xs_codes(const unsigned char *block, __m512i q[4]) {
    const __m512i order = _mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3);
    const __m512i shift = _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0,
                                           0x0004000400040004, 0x0004000400040004, 0, 0);
    for (int j = 0; j < 4; j++) {
        __m512i v = load_twice(block + 8 + 32 * j);
        v = _mm512_permutexvar_epi64(order, v);
        q[j] = low_bits(_mm512_srlv_epi16(v, shift), 0x0f);
    }
}

/* See leading_trits. */
LANE __m512i first_trits(__m512i v) {
    const __m512i one = _mm512_set1_epi8(1);
    __mmask64 some = _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8(86));
    __mmask64 two = _mm512_cmpge_epu8_mask(v, _mm512_set1_epi8((char)171));
    __m512i trits = _mm512_maskz_mov_epi8(some, one);
    return _mm512_mask_add_epi8(trits, two, trits, one);
}

LANE __m512i joined(__m256i low, __m256i high) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

LANE __m512i times_nine(__m512i v) {
    __m512i three = _mm512_add_epi8(_mm512_add_epi8(v, v), v);
    return _mm512_add_epi8(_mm512_add_epi8(three, three), three);
}

/* See codes_tq1_0, whose vectors stand here in pairs. */
LANE void tq1_0_codes(const unsigned char *block, __m512i q[4]) {
    vb first = vb_load(block);
    vb once = vb_load_twice(block + 32);
    uint64_t trits_01 = uqff_load_le32(block + 48);
    trits_01 |= bytes_tripled(trits_01) << 32;
    uint64_t trits_23 = bytes_tripled(bytes_tripled(trits_01));
    __m512i v = joined(first, tripled(first));
    q[0] = first_trits(v);
    v = times_nine(v);
    q[1] = first_trits(v);
    vb fifth = tripled(_mm512_extracti64x4_epi64(v, 1));
    v = joined(fifth, vb_join(once, tripled(once)));
    q[2] = first_trits(v);
    v = times_nine(v);
    vb upper = _mm512_extracti64x4_epi64(v, 1);
    vb last = tripled(tripled(upper));
    q[3] = first_trits(joined(upper, vb_join(last, vb_words(trits_01, trits_23, 0, 0))));
}

LANE void codes_512(uint32_t type, const unsigned char *block, __m512i q[4]) {
    switch (type) {
    case UQFF_TYPE_Q2_K:
        pairs_of(block + 16, q);
        pairs_of(block + 48, q + 2);
        break;
    case UQFF_TYPE_Q3_K:
        pairs_of(block + 32, q);
        pairs_of(block + 64, q + 2);
        add_bits(block, 4, q);
        break;
    case UQFF_TYPE_Q4_K:
        nibbles_of(block + 16, q);
        break;
    case UQFF_TYPE_Q5_K:
        nibbles_of(block + 48, q);
        add_bits(block + 16, 16, q);
        break;
    case UQFF_TYPE_Q6_K:
        q6_k_codes(block, q);
        break;
    case UQFF_TYPE_IQ4_XS:
        iq4_xs_codes(block, q);
        break;
    case UQFF_TYPE_TQ1_0:
        tq1_0_codes(block, q);
        break;
    default: /* UQFF_TYPE_TQ2_0 */
        pairs_of(block, q);
        pairs_of(block + 32, q + 2);
        break;
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* Sixteen scales, or eight, one to 32 bits: as a word below a zero, or, of the IQ4 types, twice. */
LANE __m512i spread_scales(uint32_t type, const uint64_t s[2]) {
    __m128i bytes = _mm_set_epi64x((long long)s[1], (long long)s[0]);
    if (has_signed_codes(type)) {
        return _mm512_zextsi256_si512(_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes)));
    }
    return _mm512_and_si512(_mm512_cvtepi8_epi32(bytes), _mm512_set1_epi32(0xffff));
}

/* Those of the 64 codes of q[j]. */
LANE __m512i scales_for(__m512i scales, int group, int j) {
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i first = _mm512_set1_epi32(group == 16 ? 4 * j : 2 * j);
    const __m512i order = group == 16 ? lanes : _mm512_srli_epi32(lanes, 1);
    return _mm512_permutexvar_epi32(_mm512_add_epi32(order, first), scales);
}

/* The products of a table's values with x, in pairs: magnitudes times what has the sign of both.
 * The lower eight values of the table are its negative ones. */
LANE __m512i table_pairs(__m512i q, __m512i x) {
    __m128i table = _mm_loadu_si128((const __m128i *)(const void *)uqff_iq4_values);
    __m512i magnitudes = _mm512_broadcast_i32x4(_mm_abs_epi8(table));
    __mmask64 negative = _mm512_testn_epi8_mask(q, _mm512_set1_epi8(8));
    x = _mm512_mask_sub_epi8(x, negative, _mm512_setzero_si512(), x);
    return _mm512_maddubs_epi16(_mm512_shuffle_epi8(magnitudes, q), x);
}

/* What the offset of the codes adds, negative: the sums of activations are words. */
LANE __m512i less_offset(uint32_t type, __m512i total, const unsigned char *x,
                         const struct group_scales *scales) {
    const short offset = (short)-offset_of(type);
    __m256i factor = _mm256_set1_epi16(offset);
    if (group_of(type) != 256) {
        factor = _mm256_mullo_epi16(factor, sixteen_words(scales->s, group_of(type)));
    }
    __m256i of_x = _mm256_loadu_si256((const __m256i *)(x + 256));
    return _mm512_dpwssd_epi32(total, _mm512_zextsi256_si512(of_x), _mm512_zextsi256_si512(factor));
}

/* Sums of four products without a sign fit into 16 bits, also 63 * 127 of Q6_K: so they are words
 * that can be multiplied with scales, and the words above them, their signs, with zeros. */
LANE block_sums scaled_sums(uint32_t type, const unsigned char *w, const unsigned char *x,
                            const struct group_scales *scales) {
    const int group = group_of(type);
    const __m512i zero = _mm512_setzero_si512();
    __m512i total = zero, s = zero;
    __m512i q[4];
    codes_512(type, w, q);
    if (group != 256) {
        s = spread_scales(type, scales->s);
    }
    for (int j = 0; j < 4; j++) {
        __m512i v = _mm512_loadu_si512(x + 64 * j);
        if (group == 256) {
            total = _mm512_dpbusd_epi32(total, q[j], v);
        } else {
            __m512i sums =
                has_signed_codes(type) ? table_pairs(q[j], v) : _mm512_dpbusd_epi32(zero, q[j], v);
            total = _mm512_dpwssd_epi32(total, sums, scales_for(s, group, j));
        }
    }
    return offset_of(type) ? less_offset(type, total, x, scales) : total;
}

#include "x86/dot_256.h"

#endif
