/* lanes/matmul_pack.h for AVX2. */
#if defined(__x86_64__)

#include "x86/columns.h"
#include "x86/sums.h"

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
