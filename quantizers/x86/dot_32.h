/*
 * Products of rows in blocks of 32, eight blocks at a time: one for each lane. Written over
 *
 *   eight_integers(type, w, x, x_bytes)   the integers of eight blocks; x: the codes of the first
 *                                         block of activations
 *
 * Private to quantizers/.
 */
#ifndef UQFF_X86_DOT_32_H
#define UQFF_X86_DOT_32_H

/* ---- eight blocks ---------------------------------------------------------------------------- */

/* mxfp4_half_scale of the first byte of each of eight blocks. */
LANE __m256 eight_half_scales(const unsigned char *p, size_t stride) {
    __m256i e = _mm256_cvtepu16_epi32(eight_words(p, stride));
    e = _mm256_and_si256(e, _mm256_set1_epi32(0xff));
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, small));
}

LANE __m256 eight_blocks(uint32_t type, const unsigned char *w, const unsigned char *x,
                         __m256 sum) {
    const size_t w_bytes = block_bytes_of(type);
    if (has_minimum(type)) { /* against Q8_1 */
        __m256 sums = _mm256_cvtepi32_ps(eight_integers(type, w, x + 4, 36));
        struct two_floats of_w = eight_f16_pairs(w, w_bytes);
        struct two_floats of_x = eight_f16_pairs(x, 36);
        sum = _mm256_fmadd_ps(_mm256_mul_ps(of_w.first, of_x.first), sums, sum);
        return _mm256_fmadd_ps(of_w.second, of_x.second, sum);
    }
    __m256 sums = _mm256_cvtepi32_ps(eight_integers(type, w, x + 2, 34));
    __m256 dw = type == UQFF_TYPE_MXFP4 ? eight_half_scales(w, w_bytes) : eight_f16(w, w_bytes);
    return _mm256_fmadd_ps(_mm256_mul_ps(dw, eight_f16(x, 34)), sums, sum);
}

/* ---- rows ------------------------------------------------------------------------------------ */

LANE float dot_32(uint32_t type, const unsigned char *w, const unsigned char *x, size_t n) {
    const size_t w_bytes = block_bytes_of(type);
    const size_t x_bytes = has_minimum(type) ? 36 : 34;
    size_t blocks = n / 32;
    __m256 sum = _mm256_setzero_ps();
    for (; blocks >= 8; blocks -= 8, w += 8 * w_bytes, x += 8 * x_bytes) {
        fetch_ahead(w, 8 * w_bytes);
        sum = eight_blocks(type, w, x, sum);
    }
    if (blocks > 0) {
        /* The others work on zeros, and what they make of their lanes is not taken over. */
        unsigned char last_w[8 * 36] = {0}, last_x[8 * 36] = {0};
        memcpy(last_w, w, blocks * w_bytes);
        memcpy(last_x, x, blocks * x_bytes);
        sum = first_lanes(blocks, eight_blocks(type, last_w, last_x, sum), sum);
    }
    return fold_8(sum);
}

#define DOT(name, TYPE)                                                                            \
    SIMD float LEVEL(dot_##name)(const unsigned char *w, const unsigned char *x, size_t n) {       \
        return dot_32(UQFF_TYPE_##TYPE, w, x, n);                                                  \
    }

DOT(q4_0, Q4_0)
DOT(q4_1, Q4_1)
DOT(q5_0, Q5_0)
DOT(q5_1, Q5_1)
DOT(q8_0, Q8_0)
DOT(q8_1, Q8_1)
DOT(iq4_nl, IQ4_NL)
DOT(mxfp4, MXFP4)

#endif
