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

/* The floats of up to eight blocks: of all at once, or one by one. */
LANE __m256 scales_at(const unsigned char *w, size_t bytes, size_t count) {
    if (count == UQFF_BLOCK_LANES) {
        return eight_f16(w, bytes);
    }
    float d[UQFF_BLOCK_LANES] = {0};
    for (size_t b = 0; b < count; b++) {
        d[b] = get_f16(w + b * bytes);
    }
    return _mm256_loadu_ps(d);
}

LANE __m256 activation_scales(const unsigned char *x, size_t count) {
    if (count == UQFF_BLOCK_LANES) {
        return eight_f32(x, 292);
    }
    float d[UQFF_BLOCK_LANES] = {0};
    for (size_t b = 0; b < count; b++) {
        d[b] = bits_float(uqff_load_le32(x + 292 * b));
    }
    return _mm256_loadu_ps(d);
}

/* Up to eight blocks, one for each lane. */
LANE __m256 eight_blocks(uint32_t type, const unsigned char *w, const unsigned char *x,
                         size_t count, __m256 sum) {
    const size_t bytes = block_bytes_of(type);
    __m256i total[UQFF_BLOCK_LANES], minima[UQFF_BLOCK_LANES];
    for (size_t b = count; b < UQFF_BLOCK_LANES; b++) {
        total[b] = minima[b] = _mm256_setzero_si256();
    }
    for (size_t b = 0; b < count; b++) {
        const unsigned char *codes = x + 292 * b + 4;
        struct group_scales scales = {{0}, {0}};
        fetch_ahead(w + b * bytes, bytes);
        if (group_of(type) != 256) {
            scales = scales_256(type, w + b * bytes);
        }
        total[b] = scaled_sums(type, w + b * bytes, codes, &scales);
        if (has_minimum(type)) {
            __m256i of_x = _mm256_loadu_si256((const __m256i *)(codes + 256));
            minima[b] = _mm256_madd_epi16(of_x, sixteen_words(scales.m, group_of(type)));
        }
    }
    const unsigned char *d = w + d_place_of(type);
    __m256 dx = activation_scales(x, count);
    __m256 scale = _mm256_mul_ps(scales_at(d, bytes, count), dx);
    __m256 new_sum = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(eight_totals(total)), sum);
    if (has_minimum(type)) {
        scale = _mm256_mul_ps(scales_at(d + 2, bytes, count), dx);
        new_sum = _mm256_fnmadd_ps(scale, _mm256_cvtepi32_ps(eight_totals(minima)), new_sum);
    }
    return count == UQFF_BLOCK_LANES ? new_sum : first_lanes(count, new_sum, sum);
}

LANE float dot_256(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    const size_t bytes = block_bytes_of(type);
    size_t blocks = n / 256;
    __m256 sum = _mm256_setzero_ps();
    while (blocks > 0) {
        size_t count = blocks < UQFF_BLOCK_LANES ? blocks : UQFF_BLOCK_LANES;
        sum = eight_blocks(type, w, x, count, sum);
        w += count * bytes;
        x += count * 292;
        blocks -= count;
    }
    return fold_8(sum);
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
