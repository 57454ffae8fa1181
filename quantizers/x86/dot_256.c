/*
 * Products of rows in blocks of 256, against Q8_K.
 */
#if defined(__x86_64__)

#include "x86/sums.h"

#include "lanes/codes.h"
#include "lanes/dot.h"

/* For the 32 codes of q[g], the scales of both groups of 16, each in the eight words of a half.
 * `scales` has in its lower half those of the even groups and in its upper half those of the odd
 * ones, or, if groups are of 32, the same in both. */
LANE __m256i scales_for(__m256i scales, int g) {
    return _mm256_shuffle_epi8(scales, _mm256_set1_epi16((short)(0x0100 + 0x0202 * g)));
}

/* Sixteen words from sixteen signed bytes. */
LANE __m256i words_of(uint64_t low, uint64_t high) {
    return _mm256_cvtepi8_epi16(_mm_set_epi64x((long long)high, (long long)low));
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

/* One for each 16 values, as the sums in Q8_K are. */
LANE __m256i sixteen_words(const uint64_t s[2], int group) {
    if (group == 16) {
        return words_of(s[0], s[1]);
    }
    __m128i bytes = _mm_cvtsi64_si128((long long)s[0]);
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes));
}

/* Four sums of v in order 0, 0, 1, 1 become one: the pairs of a are lane 0, those of b lane 1. */
LANE __m128i two_totals(__m256i a, __m256i b) {
    __m256i pairs = _mm256_hadd_epi32(a, b);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    return _mm_hadd_epi32(four, four);
}

/* Σ scale * Σ code * x, in eight parts. x: the codes of a block of Q8_K, then its sums. */
LANE __m256i scaled_sums(uint32_t type, const unsigned char *w, const unsigned char *x,
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

LANE float dot_256(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    const size_t bytes = block_bytes_of(type);
    float lanes[UQFF_BLOCK_LANES] = {0};
    for (size_t b = 0; b < n / 256; b++, w += bytes, x += 292) {
        struct group_scales scales = {{0}, {0}};
        if (group_of(type) != 256) {
            scales = scales_256(type, w);
        }
        __m128 dx = _mm_set_ss(bits_float(uqff_load_le32(x)));
        __m256i total = scaled_sums(type, w, x + 4, &scales);
        __m128 lane = _mm_load_ss(&lanes[b % UQFF_BLOCK_LANES]);
        if (has_minimum(type)) {
            /* d and dmin stand side by side in all these types. */
            __m128 d = _mm_cvtph_ps(four_bytes(w + d_place_of(type)));
            __m256i of_x = _mm256_loadu_si256((const __m256i *)(x + 260));
            __m256i minima = _mm256_madd_epi16(of_x, sixteen_words(scales.m, group_of(type)));
            __m128 sums = _mm_cvtepi32_ps(two_totals(total, minima));
            __m128 scale = _mm_mul_ps(d, _mm_moveldup_ps(dx));
            lane = _mm_fmadd_ss(scale, sums, lane);
            lane = _mm_fnmadd_ss(_mm_movehdup_ps(scale), _mm_movehdup_ps(sums), lane);
        } else {
            __m128 sums = _mm_cvtepi32_ps(two_totals(total, total));
            __m128 d = _mm_set_ss(get_f16(w + d_place_of(type)));
            lane = _mm_fmadd_ss(_mm_mul_ss(d, dx), sums, lane);
        }
        _mm_store_ss(&lanes[b % UQFF_BLOCK_LANES], lane);
    }
    return fold_8(_mm256_loadu_ps(lanes));
}

#define DOT(name, TYPE)                                                                            \
    SIMD float LEVEL(dot_##name)(const unsigned char *w, const unsigned char *x, size_t n) {       \
        return dot_256(UQFF_TYPE_##TYPE, w, x, n);                                                 \
    }

DOT(q2_k, Q2_K)
DOT(q3_k, Q3_K)
DOT(q4_k, Q4_K)
DOT(q5_k, Q5_K)
DOT(q6_k, Q6_K)
DOT(iq4_xs, IQ4_XS)
DOT(tq1_0, TQ1_0)
DOT(tq2_0, TQ2_0)

#endif
