/*
 * Eight rows become columns: what panels are made with. Private to quantizers/.
 */
#ifndef UQFF_X86_COLUMNS_H
#define UQFF_X86_COLUMNS_H

#include "x86/unpack.h"

LANE void store(unsigned char *p, __m256i v) {
    _mm256_store_si256((__m256i *)(void *)p, v);
}

/* Eight rows of eight 32-bit cells become columns: cell k of all rows at out + 64 * k, the last
 * four by `gap` later. */
LANE void put_columns(unsigned char *out, size_t gap, const __m256i row[8]) {
    __m256i two[8], four[8];
    for (int k = 0; k < 8; k += 2) {
        two[k] = _mm256_unpacklo_epi32(row[k], row[k + 1]);
        two[k + 1] = _mm256_unpackhi_epi32(row[k], row[k + 1]);
    }
    for (int k = 0; k < 8; k += 4) {
        four[k] = _mm256_unpacklo_epi64(two[k], two[k + 2]);
        four[k + 1] = _mm256_unpackhi_epi64(two[k], two[k + 2]);
        four[k + 2] = _mm256_unpacklo_epi64(two[k + 1], two[k + 3]);
        four[k + 3] = _mm256_unpackhi_epi64(two[k + 1], two[k + 3]);
    }
    for (int k = 0; k < 4; k++) {
        store(out + 64 * k, _mm256_permute2x128_si256(four[k], four[k + 4], 0x20));
        store(out + gap + 64 * (k + 4), _mm256_permute2x128_si256(four[k], four[k + 4], 0x31));
    }
}

/* Columns c..c+7 of eight rows become eight vectors of rows. */
LANE void put_float_columns(const float *const row[8], size_t c, float *const out[8], size_t at) {
    __m256 v[8], two[8], four[8];
    for (int r = 0; r < 8; r++) {
        v[r] = _mm256_loadu_ps(row[r] + c);
    }
    for (int r = 0; r < 8; r += 2) {
        two[r] = _mm256_unpacklo_ps(v[r], v[r + 1]);
        two[r + 1] = _mm256_unpackhi_ps(v[r], v[r + 1]);
    }
    for (int r = 0; r < 8; r += 4) {
        four[r] = _mm256_shuffle_ps(two[r], two[r + 2], 0x44);
        four[r + 1] = _mm256_shuffle_ps(two[r], two[r + 2], 0xee);
        four[r + 2] = _mm256_shuffle_ps(two[r + 1], two[r + 3], 0x44);
        four[r + 3] = _mm256_shuffle_ps(two[r + 1], two[r + 3], 0xee);
    }
    for (int k = 0; k < 4; k++) {
        _mm256_store_ps(out[k] + at, _mm256_permute2f128_ps(four[k], four[k + 4], 0x20));
        _mm256_store_ps(out[k + 4] + at, _mm256_permute2f128_ps(four[k], four[k + 4], 0x31));
    }
}

#endif
