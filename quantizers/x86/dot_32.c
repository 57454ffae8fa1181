/* dot_32.h for AVX2: what has nibbles is multiplied two blocks at a time. */
#if defined(__x86_64__)

#include "x86/sums.h"

#include "lanes/codes.h"
#include "lanes/dot.h"

/* ---- nibbles --------------------------------------------------------------------------------- */

/* Codes or activations of two blocks: values 0..15 of both, and values 16..31, each with those of
 * the first block in its lower half. */
struct two_blocks {
    __m256i first, second;
};

LANE __m256i both(const unsigned char *a, const unsigned char *b) {
    __m128i low = _mm_loadu_si128((const __m128i *)a);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_loadu_si128((const __m128i *)b),
                                   1);
}

/* 16 in each byte whose bit is set: of the bytes of two words, 0 and 1 or 2 and 3. */
LANE __m256i fifth_bits(__m256i words, bool second) {
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    const long long low = second ? 0x0202020202020202 : 0;
    const __m256i spread =
        _mm256_setr_epi64x(low, low + 0x0101010101010101, low, low + 0x0101010101010101);
    __m256i v = _mm256_and_si256(_mm256_shuffle_epi8(words, spread), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(v, bit), _mm256_set1_epi8(0x10));
}

LANE struct two_blocks codes_of(uint32_t type, const unsigned char *a, const unsigned char *b) {
    const __m256i low = _mm256_set1_epi8(0x0f);
    const size_t place = place_of_nibbles(type);
    __m256i v = both(a + place, b + place);
    struct two_blocks q = {_mm256_and_si256(v, low),
                           _mm256_and_si256(_mm256_srli_epi16(v, 4), low)};
    if (type == UQFF_TYPE_Q5_0 || type == UQFF_TYPE_Q5_1) {
        __m256i words =
            _mm256_blend_epi32(_mm256_set1_epi32((int)uqff_load_le32(a + place - 4)),
                               _mm256_set1_epi32((int)uqff_load_le32(b + place - 4)), 0xf0);
        q.first = _mm256_or_si256(q.first, fifth_bits(words, false));
        q.second = _mm256_or_si256(q.second, fifth_bits(words, true));
    } else if (type == UQFF_TYPE_MXFP4) {
        q.first = vb_lookup(uqff_mxfp4_plus_12, q.first);
        q.second = vb_lookup(uqff_mxfp4_plus_12, q.second);
    } else if (type == UQFF_TYPE_IQ4_NL) {
        q.first = vb_lookup(uqff_iq4_values, q.first);
        q.second = vb_lookup(uqff_iq4_values, q.second);
    }
    return q;
}

/* |q| times x with the sign of q. Two such products, of 128 and 127 at most, fit into a word. */
LANE __m256i signed_sums(__m256i q, __m256i x) {
    return word_pairs(pair_sums(_mm256_abs_epi8(q), _mm256_sign_epi8(x, q)));
}

/* In each half four sums of eight products of a block. */
LANE __m256i sums_of_two(uint32_t type, const unsigned char *a, const unsigned char *b,
                         const unsigned char *x_a, const unsigned char *x_b) {
    struct two_blocks q = codes_of(type, a, b);
    struct two_blocks x = {both(x_a, x_b), both(x_a + 16, x_b + 16)};
    if (has_signed_codes(type)) {
        return _mm256_add_epi32(signed_sums(q.first, x.first), signed_sums(q.second, x.second));
    }
    __m256i sums = _mm256_add_epi16(pair_sums(q.first, x.first), pair_sums(q.second, x.second));
    if (offset_of(type)) {
        __m256i o = _mm256_set1_epi8((char)offset_of(type));
        __m256i too_large = _mm256_add_epi16(pair_sums(o, x.first), pair_sums(o, x.second));
        sums = _mm256_sub_epi16(sums, too_large);
    }
    return word_pairs(sums);
}

/* The sums of neighbours in a and in b, in each half those of a first. Eight products of 31 * 127
 * fit into words, and then packing is faster than the instruction for this. */
LANE __m256i neighbours(uint32_t type, __m256i a, __m256i b) {
    return has_signed_codes(type) ? _mm256_hadd_epi32(a, b) : word_pairs(_mm256_packs_epi32(a, b));
}

/* ---- eight blocks ---------------------------------------------------------------------------- */

LANE __m256i eight_integers(uint32_t type, const unsigned char *w, const unsigned char *x,
                            size_t x_bytes) {
    const size_t w_bytes = block_bytes_of(type);
    if (type == UQFF_TYPE_Q8_0 || type == UQFF_TYPE_Q8_1) {
        __m256i sums[8];
        for (size_t b = 0; b < 8; b++) {
            __m256i v = _mm256_loadu_si256((const __m256i *)(x + b * x_bytes));
            sums[b] = signed_sums(codes_32(type, w + b * w_bytes), v);
        }
        return eight_totals(sums);
    }
    __m256i sums[4]; /* of blocks b and b + 4 */
    for (size_t b = 0; b < 4; b++) {
        sums[b] = sums_of_two(type, w + b * w_bytes, w + (b + 4) * w_bytes, x + b * x_bytes,
                              x + (b + 4) * x_bytes);
    }
    return _mm256_hadd_epi32(neighbours(type, sums[0], sums[1]),
                             neighbours(type, sums[2], sums[3]));
}

#include "x86/dot_32.h"

#endif
