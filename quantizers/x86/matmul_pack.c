/*
 * Unpacks rows of block types into panels. The layout is that of matmul.h.
 */
#if defined(__x86_64__)

#include "x86/matmul.h"

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

LANE float scale_of(uint32_t type, const unsigned char *block) {
    return type == UQFF_TYPE_MXFP4 ? mxfp4_half_scale(block[0]) : get_f16(block + d_place_of(type));
}

/* ---- blocks of 32 --------------------------------------------------------------------------- */

LANE void pack_32(uint32_t type, const struct uqff_matmul *plan,
                  const unsigned char *const row[UQFF_PANEL_ROWS], unsigned char *panel) {
    const size_t d_place = has_signed_codes(type) ? 1024 : 512;
    for (size_t b = 0; b < plan->columns / 32; b++, panel += panel_bytes_of(type)) {
        const size_t at = b * block_bytes_of(type);
        float d[UQFF_PANEL_ROWS], m[UQFF_PANEL_ROWS];
        for (int half = 0; half < 2; half++) {
            __m256i codes[8];
            for (int r = 0; r < 8; r++) {
                const unsigned char *block = row[8 * half + r] + at;
                codes[r] = codes_32(type, block);
                d[8 * half + r] = scale_of(type, block);
                m[8 * half + r] = has_minimum(type) ? get_f16(block + 2) : 0.0f;
            }
            if (has_signed_codes(type)) {
                put_wide_columns(panel + 32 * half, codes, NULL);
            } else {
                put_columns(panel + 32 * half, 0, codes);
            }
        }
        memcpy(panel + d_place, d, sizeof d);
        if (has_minimum(type)) {
            memcpy(panel + d_place + sizeof d, m, sizeof m);
        }
    }
}

/* ---- blocks of 256 -------------------------------------------------------------------------- */

/* What precedes the codes of the 32 columns from 32g on: those before, and scales of whole groups.
 */
LANE size_t place_of_columns(uint32_t type, int g) {
    return (size_t)(512 * g + 64 * (32 * g / tile_group_of(type)));
}

/* The same of the scales of group g. */
LANE size_t place_of_scales(uint32_t type, int g) {
    return (size_t)(16 * tile_group_of(type) * (g + 1) + 64 * g);
}

/* Eight rows from `first` on. */
LANE void put_codes_256(uint32_t type, unsigned char *panel, int first,
                        const unsigned char *const row[UQFF_PANEL_ROWS], size_t at) {
    __m256i codes[8][8];
    for (int r = 0; r < 8; r++) {
        codes_256(type, row[first + r] + at, codes[r]);
    }
    for (int g = 0; g < 8; g++) {
        __m256i of_group[8];
        for (int r = 0; r < 8; r++) {
            of_group[r] = codes[r][g];
        }
        put_columns(panel + place_of_columns(type, g) + 4 * first,
                    tile_group_of(type) == 16 ? 64 : 0, of_group);
    }
}

/* Scales of the groups of one row, twice each, and minima, those of two groups together. */
LANE void put_scales_256(uint32_t type, unsigned char *panel, const unsigned char *block) {
    const int groups = 256 / tile_group_of(type);
    int8_t scale[16], minimum[16];
    struct group_scales scales = {{0x0101, 0}, {0, 0}}; /* types with one scale */
    if (group_of(type) != 256) {
        scales = scales_256(type, block);
    }
    memcpy(scale, scales.s, sizeof scale);
    memcpy(minimum, scales.m, sizeof minimum);
    for (int g = 0; g < groups; g++) {
        int16_t words[2] = {scale[g], scale[g]};
        memcpy(panel + place_of_scales(type, g), words, sizeof words);
    }
    if (has_minimum(type)) {
        panel += place_of_columns(type, 8);
        for (int g = 0; g < groups; g += 2, panel += 64) {
            int16_t words[2] = {minimum[g], minimum[g + 1]};
            memcpy(panel, words, sizeof words);
        }
    }
}

LANE void pack_256(uint32_t type, const struct uqff_matmul *plan,
                   const unsigned char *const row[UQFF_PANEL_ROWS], unsigned char *panel) {
    const size_t d_place = panel_bytes_of(type) - (has_minimum(type) ? 128 : 64);
    for (size_t b = 0; b < plan->columns / 256; b++, panel += panel_bytes_of(type)) {
        const size_t at = b * block_bytes_of(type);
        float d[UQFF_PANEL_ROWS], dmin[UQFF_PANEL_ROWS];
        put_codes_256(type, panel, 0, row, at);
        put_codes_256(type, panel, 8, row, at);
        for (int r = 0; r < UQFF_PANEL_ROWS; r++) {
            const unsigned char *block = row[r] + at;
            put_scales_256(type, panel + 4 * r, block);
            d[r] = scale_of(type, block);
            dmin[r] = has_minimum(type) ? get_f16(block + d_place_of(type) + 2) : 0.0f;
        }
        memcpy(panel + d_place, d, sizeof d);
        if (has_minimum(type)) {
            memcpy(panel + d_place + sizeof d, dmin, sizeof dmin);
        }
    }
}

LANE void pack_256_wide(uint32_t type, const struct uqff_matmul *plan,
                        const unsigned char *const row[UQFF_PANEL_ROWS], unsigned char *panel) {
    for (size_t b = 0; b < plan->columns / 256; b++, panel += panel_bytes_of(type)) {
        const size_t at = b * block_bytes_of(type);
        float d[UQFF_PANEL_ROWS];
        for (int half = 0; half < 2; half++) {
            __m256i codes[8][8];
            int8_t scale[8][8];
            for (int r = 0; r < 8; r++) {
                const unsigned char *block = row[8 * half + r] + at;
                struct group_scales scales = scales_256(type, block);
                codes_256(type, block, codes[r]);
                memcpy(scale[r], scales.s, 8);
                d[8 * half + r] = scale_of(type, block);
            }
            for (int g = 0; g < 8; g++) {
                __m256i of_group[8];
                int8_t scale_of_group[8];
                for (int r = 0; r < 8; r++) {
                    of_group[r] = codes[r][g];
                    scale_of_group[r] = scale[r][g];
                }
                put_wide_columns(panel + 1024 * g + 32 * half, of_group, scale_of_group);
            }
        }
        memcpy(panel + 8192, d, sizeof d);
    }
}

LANE void pack(uint32_t type, const struct uqff_matmul *plan,
               const unsigned char *const row[UQFF_PANEL_ROWS], unsigned char *panel) {
    if (tile_block_of(type) == 32) {
        pack_32(type, plan, row, panel);
    } else if (has_signed_codes(type)) {
        pack_256_wide(type, plan, row, panel);
    } else {
        pack_256(type, plan, row, panel);
    }
}

#define PACK(name, TYPE, ...)                                                                      \
    SIMD void LEVEL(pack_##name)(const struct uqff_matmul *plan,                                   \
                                 const unsigned char *const row[UQFF_PANEL_ROWS],                  \
                                 unsigned char *panel) {                                           \
        pack(UQFF_TYPE_##TYPE, plan, row, panel);                                                  \
    }
TILINGS(PACK)

#endif
