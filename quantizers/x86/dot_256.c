/* dot_256.h for AVX2. */
#if defined(__x86_64__)

#include "x86/sums.h"

#include "lanes/codes.h"
#include "lanes/dot.h"

typedef __m256i block_sums;

/* For the 32 codes of q[g], the scales of both groups of 16, each in the eight words of a half.
 * `scales` has in its lower half those of the even groups and in its upper half those of the odd
 * ones, or, if groups are of 32, the same in both. */
LANE __m256i scales_for(__m256i scales, int g) {
    return _mm256_shuffle_epi8(scales, _mm256_set1_epi16((short)(0x0100 + 0x0202 * g)));
}

/* The words that scales_for takes. */
LANE __m256i arranged_scales(const uint64_t s[2], int group) {
    if (group == 32) {
        return words_of(s[0], s[0]);
    }
    const __m128i halves = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    __m128i bytes = _mm_set_epi64x((long long)s[1], (long long)s[0]);
    return _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, halves));
}

LANE block_sums no_sums(void) {
    return _mm256_setzero_si256();
}

LANE __m256i eight_block_totals(const block_sums sums[UQFF_BLOCK_LANES]) {
    return eight_totals(sums);
}

LANE block_sums scaled_sums(uint32_t type, const unsigned char *w, const unsigned char *x,
                            const struct group_scales *scales) {
    const int group = group_of(type);
    __m256i total = _mm256_setzero_si256();
    __m256i s = total;
    vb q[8];
    codes_256(type, w, q);
    if (group != 256) {
        s = arranged_scales(scales->s, group);
    }
    for (int g = 0; g < 8; g++) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(x + 32 * g));
        __m256i sums = has_signed_codes(type)
                           ? pair_sums(_mm256_abs_epi8(q[g]), _mm256_sign_epi8(v, q[g]))
                           : pair_sums(q[g], v);
        if (group == 256) {
            total = _mm256_add_epi16(total, sums); /* 16 products of at most 3 * 127 */
        } else {
            total = _mm256_add_epi32(total, _mm256_madd_epi16(sums, scales_for(s, g)));
        }
    }
    if (group == 256) {
        total = word_pairs(total);
    }
    if (offset_of(type)) {
        __m256i of_x = _mm256_loadu_si256((const __m256i *)(x + 256));
        __m256i sums = group == 256 ? word_pairs(of_x)
                                    : _mm256_madd_epi16(of_x, sixteen_words(scales->s, group));
        sums = _mm256_mullo_epi32(sums, _mm256_set1_epi32(offset_of(type)));
        total = _mm256_sub_epi32(total, sums);
    }
    return total;
}

#include "x86/dot_256.h"

#endif
