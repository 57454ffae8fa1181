/* lanes/matmul_pack.h for AVX2. */
#if defined(__x86_64__)

#include "x86/sums.h"

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

/* 32 codes of each of eight rows, signed bytes, times the row's scale, as words. */
LANE void put_wide_columns(unsigned char *out, const __m256i row[8], const int8_t scale[8]) {
    __m256i half[8];
    for (int h = 0; h < 2; h++) {
        for (int r = 0; r < 8; r++) {
            half[r] = _mm256_cvtepi8_epi16(h ? _mm256_extracti128_si256(row[r], 1)
                                             : _mm256_castsi256_si128(row[r]));
            if (scale) {
                half[r] = _mm256_mullo_epi16(half[r], _mm256_set1_epi16(scale[r]));
            }
        }
        put_columns(out + 512 * h, 0, half);
    }
}

#include "lanes/matmul_pack.h"

#endif
