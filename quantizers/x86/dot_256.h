/*
 * Products of rows in blocks of 256, against Q8_K, eight blocks at a time: one for each lane.
 * Written over sums.h and
 *
 *   block_sums, no_sums()              parts of the integer of a block
 *   scaled_sums(type, w, x, scales)    Σ scale * Σ code * x; x: the codes of a block of Q8_K, then
 *                                      its sums
 *   eight_block_totals(sums)           the integers of eight blocks
 *
 * Private to quantizers/.
 */
#ifndef UQFF_X86_DOT_256_H
#define UQFF_X86_DOT_256_H

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
    block_sums total[UQFF_BLOCK_LANES];
    __m256i minima[UQFF_BLOCK_LANES];
    for (size_t b = count; b < UQFF_BLOCK_LANES; b++) {
        total[b] = no_sums();
        minima[b] = _mm256_setzero_si256();
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
    __m256 new_sum = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(eight_block_totals(total)), sum);
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
