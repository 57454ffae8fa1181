/*
 * Unpacks rows of block types into panels, whose layout is that of lanes/matmul.h, over an
 * instruction set's unpack.h and
 *
 *   put_columns(out, gap, row)         32 codes of each of eight rows: the four codes of columns 4k
 *                                      to 4k + 3 of all rows at out + 64 * k, for k > 3 by `gap`
 *                                      later
 *   put_wide_columns(out, row, scale)  the same as words, times the scale of the row unless that is
 *                                      NULL: columns 2k and 2k + 1 at out + 64 * k
 *   times(q, a, b)                     the lowest 8 bits of codes 0..15 times a, 16..31 times b
 *
 * the second where codes may be wide, the third with SUMS_32. Private to quantizers/.
 */
#ifndef UQFF_LANES_MATMUL_PACK_H
#define UQFF_LANES_MATMUL_PACK_H

#include "lanes/matmul.h"

/* Codes as they stand in panels. */
LANE vb tile_code(uint32_t type, vb q) {
    if (IS_SUMS_32 && has_signed_codes(type)) {
        return vb_add(q, vb_set(tile_offset_of(type)));
    }
    return OFFSET(1) || offset_of(type) == 0 ? q : vb_sub(q, vb_set(offset_of(type)));
}

LANE bool has_scaled_codes(uint32_t type) {
    return IS_SUMS_32 && (type == UQFF_TYPE_Q2_K || type == UQFF_TYPE_Q3_K);
}

LANE void scale_codes(uint32_t type, const unsigned char *block, vb q[8]) {
#ifdef SUMS_32
    const bool negative = type == UQFF_TYPE_Q3_K;
    struct group_scales scales = scales_256(type, block);
    int8_t s[16];
    memcpy(s, scales.s, sizeof s);
    for (int g = 0; g < 8; g++) {
        const int a = negative ? -s[2 * g] : s[2 * g];
        const int b = negative ? -s[2 * g + 1] : s[2 * g + 1];
        q[g] = times(negative ? vb_sub(q[g], vb_set(offset_of(type))) : q[g], a, b);
        q[g] = vb_add(q[g], vb_set(tile_offset_of(type)));
    }
#else
    (void)type, (void)block, (void)q;
#endif
}

LANE vb tile_codes_32(uint32_t type, const unsigned char *block) {
    return tile_code(type, codes_32(type, block));
}

LANE void tile_codes_256(uint32_t type, const unsigned char *block, vb q[8]) {
    codes_256(type, block, q);
    for (int g = 0; g < 8; g++) {
        q[g] = tile_code(type, q[g]);
    }
    if (has_scaled_codes(type)) {
        scale_codes(type, block, q);
    }
}

LANE float scale_of(uint32_t type, const unsigned char *block) {
    if (has_scaled_codes(type) && type == UQFF_TYPE_Q3_K) {
        return -get_f16(block + d_place_of(type));
    }
    return type == UQFF_TYPE_MXFP4 ? mxfp4_half_scale(block[0]) : get_f16(block + d_place_of(type));
}

/* A whole block of 32 columns. */
LANE void put_block(uint32_t type, unsigned char *out, const vb row[8]) {
#ifdef HAS_WIDE_CODES
    if (is_wide(type)) {
        put_wide_columns(out, row, NULL);
        return;
    }
#endif
    (void)type;
    put_columns(out, 0, row);
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

LANE void pack_32(uint32_t type, const struct uqff_matmul *plan,
                  const unsigned char *const row[UQFF_PANEL_ROWS], unsigned char *panel) {
    const size_t d_place = is_wide(type) ? 1024 : 512;
    for (size_t b = 0; b < plan->columns / 32; b++, panel += panel_bytes_of(type)) {
        const size_t at = b * block_bytes_of(type);
        float d[UQFF_PANEL_ROWS], m[UQFF_PANEL_ROWS];
        for (int half = 0; half < 2; half++) {
            vb codes[8];
            for (int r = 0; r < 8; r++) {
                const unsigned char *block = row[8 * half + r] + at;
                codes[r] = tile_codes_32(type, block);
                d[8 * half + r] = scale_of(type, block);
                m[8 * half + r] = has_minimum(type) ? get_f16(block + 2) : 0.0f;
            }
            put_block(type, panel + 32 * half, codes);
        }
        memcpy(panel + d_place, d, sizeof d);
        if (has_minimum(type)) {
            memcpy(panel + d_place + sizeof d, m, sizeof m);
        }
    }
}

/* ---- blocks of 256 --------------------------------------------------------------------------- */

/* Groups with a scale in a block. */
LANE int tile_scales_of(uint32_t type) {
    return tile_group_of(type) == 256 ? 0 : 256 / tile_group_of(type);
}

/* What precedes the codes of the 32 columns from 32g on: those before, and scales of whole groups.
 */
LANE size_t place_of_columns(uint32_t type, int g) {
    return (size_t)(512 * g + 64 * (g * tile_scales_of(type) / 8));
}

/* The same of the scales of group g. */
LANE size_t place_of_scales(uint32_t type, int g) {
    return (size_t)(16 * tile_group_of(type) * (g + 1) + 64 * g);
}

/* Eight rows from `first` on. */
LANE void put_codes_256(uint32_t type, unsigned char *panel, int first,
                        const unsigned char *const row[UQFF_PANEL_ROWS], size_t at) {
    vb codes[8][8];
    for (int r = 0; r < 8; r++) {
        tile_codes_256(type, row[first + r] + at, codes[r]);
    }
    for (int g = 0; g < 8; g++) {
        vb of_group[8];
        for (int r = 0; r < 8; r++) {
            of_group[r] = codes[r][g];
        }
        put_columns(panel + place_of_columns(type, g) + 4 * first,
                    tile_group_of(type) == 16 ? 64 : 0, of_group);
    }
}

/* Scales of the groups of one row, twice each as words, and minima, two together. */
LANE void put_scales_256(uint32_t type, unsigned char *panel, const unsigned char *block) {
    const int groups = tile_scales_of(type);
    const int minima = UQFF_PER_MINIMUM(256, tile_minimum_of(type));
    int8_t scale[16], minimum[16];
    struct group_scales scales = {{0x0101, 0}, {0, 0}}; /* types with one scale */
    if (group_of(type) != 256) {
        scales = scales_256(type, block);
    }
    memcpy(scale, scales.s, sizeof scale);
    memcpy(minimum, scales.m, sizeof minimum);
    for (int g = 0; g < groups; g++) {
        uint32_t cell = IS_SUMS_32 ? (uint32_t)scale[g] : (uint16_t)scale[g] * 0x10001u;
        memcpy(panel + place_of_scales(type, g), &cell, sizeof cell);
    }
    panel += place_of_columns(type, 8);
    for (int g = 0; g < minima; g += 2, panel += 64) {
        int16_t words[2] = {minimum[g], minimum[g + 1]};
        memcpy(panel, words, sizeof words);
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

#ifdef HAS_WIDE_CODES
LANE void pack_256_wide(uint32_t type, const struct uqff_matmul *plan,
                        const unsigned char *const row[UQFF_PANEL_ROWS], unsigned char *panel) {
    for (size_t b = 0; b < plan->columns / 256; b++, panel += panel_bytes_of(type)) {
        const size_t at = b * block_bytes_of(type);
        float d[UQFF_PANEL_ROWS];
        for (int half = 0; half < 2; half++) {
            vb codes[8][8];
            int8_t scale[8][8];
            for (int r = 0; r < 8; r++) {
                const unsigned char *block = row[8 * half + r] + at;
                struct group_scales scales = scales_256(type, block);
                tile_codes_256(type, block, codes[r]);
                memcpy(scale[r], scales.s, 8);
                d[8 * half + r] = scale_of(type, block);
            }
            for (int g = 0; g < 8; g++) {
                vb of_group[8];
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
#endif

LANE void pack(uint32_t type, const struct uqff_matmul *plan,
               const unsigned char *const row[UQFF_PANEL_ROWS], unsigned char *panel) {
    if (tile_block_of(type) == 32) {
        pack_32(type, plan, row, panel);
        return;
    }
#ifdef HAS_WIDE_CODES
    if (is_wide(type)) {
        pack_256_wide(type, plan, row, panel);
        return;
    }
#endif
    pack_256(type, plan, row, panel);
}

#define PACK(name, TYPE, ...)                                                                      \
    SIMD void LEVEL(pack_##name)(const struct uqff_matmul *plan,                                   \
                                 const unsigned char *const row[UQFF_PANEL_ROWS],                  \
                                 unsigned char *panel) {                                           \
        pack(UQFF_TYPE_##TYPE, plan, row, panel);                                                  \
    }
TILINGS(PACK)

#endif
