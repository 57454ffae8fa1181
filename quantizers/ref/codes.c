/*
 * The integers of each block type, for products. The layouts are drawn in the files of the types.
 */
#include "codes.h"

#include "iq4.h"
#include "pack.h"

const int8_t uqff_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
const int8_t uqff_mxfp4_plus_12[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

/* ---- 32 values ------------------------------------------------------------------------------- */

/* 16 bytes of nibbles, with the fifth bits above them, less `offset`. */
static void nibbles(const unsigned char *qs, uint32_t fifth, int offset, int8_t *code) {
    for (int j = 0; j < 16; j++) {
        int low = (qs[j] & 0x0f) | (int)(fifth >> j & 1) << 4;
        int high = qs[j] >> 4 | (int)(fifth >> (j + 16) & 1) << 4;
        code[j] = (int8_t)(low - offset);
        code[j + 16] = (int8_t)(high - offset);
    }
}

static void looked_up(const unsigned char *qs, const int8_t table[16], int8_t *code) {
    for (int j = 0; j < 16; j++) {
        code[j] = table[qs[j] & 0x0f];
        code[j + 16] = table[qs[j] >> 4];
    }
}

void uqff_codes_q4_0(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block);
    nibbles(block + 2, 0, 8, out->code);
}

void uqff_codes_q4_1(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block);
    out->m = load_f16(block + 2);
    nibbles(block + 4, 0, 0, out->code);
}

void uqff_codes_q5_0(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block);
    nibbles(block + 6, uqff_load_le32(block + 2), 16, out->code);
}

void uqff_codes_q5_1(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block);
    out->m = load_f16(block + 2);
    nibbles(block + 8, uqff_load_le32(block + 4), 0, out->code);
}

void uqff_codes_q8_0(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block);
    memcpy(out->code, block + 2, 32);
}

void uqff_codes_q8_1(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block);
    memcpy(out->code, block + 4, 32);
}

void uqff_codes_iq4_nl(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block);
    looked_up(block + 2, uqff_iq4_values, out->code);
}

void uqff_codes_mxfp4(const unsigned char *block, struct uqff_codes *out) {
    out->d = mxfp4_half_scale(block[0]);
    looked_up(block + 1, uqff_mxfp4_values, out->code);
}

/* ---- 256 values in groups of 16 -------------------------------------------------------------- */

/* The two bits of code i in planes of 128 codes each. */
static int pair(const unsigned char *planes, int i) {
    return planes[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

void uqff_codes_q2_k(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block + 80);
    out->m = load_f16(block + 82);
    for (int g = 0; g < 16; g++) {
        out->scale[g] = block[g] & 0x0f;
        out->minimum[g] = block[g] >> 4;
    }
    for (int i = 0; i < 256; i++) {
        out->code[i] = (int8_t)pair(block + 16, i);
    }
}

void uqff_codes_q3_k(const unsigned char *block, struct uqff_codes *out) {
    const unsigned char *scales = block + 96;
    out->d = load_f16(block + 108);
    for (int g = 0; g < 16; g++) {
        int low = scales[g % 8] >> g / 8 * 4 & 0x0f;
        int high = scales[8 + g % 4] >> g / 4 * 2 & 3;
        out->scale[g] = (int16_t)((low | high << 4) - 32);
    }
    for (int i = 0; i < 256; i++) {
        int third = block[i % 32] >> i / 32 & 1;
        out->code[i] = (int8_t)((pair(block + 32, i) | third << 2) - 4);
    }
}

void uqff_codes_q6_k(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block + 208);
    for (int g = 0; g < 16; g++) {
        out->scale[g] = (int8_t)block[192 + g];
    }
    for (int i = 0; i < 256; i++) {
        int low = block[i / 128 * 64 + i % 64] >> i % 128 / 64 * 4 & 0x0f;
        out->code[i] = (int8_t)((low | pair(block + 128, i) << 4) - 32);
    }
}

/* ---- 256 values in groups of 32 -------------------------------------------------------------- */

/* What Q4_K and Q5_K share: d, dmin, scales and minima, and the lower four bits of codes. */
static void codes_with_scales_6(const unsigned char *block, const unsigned char *qs,
                                struct uqff_codes *out) {
    uint8_t s[8], m[8];
    unpack_scales_6(block + 4, s, m);
    out->d = load_f16(block);
    out->m = load_f16(block + 2);
    for (int g = 0; g < 8; g++) {
        out->scale[g] = s[g];
        out->minimum[g] = m[g];
    }
    for (int i = 0; i < 256; i++) {
        out->code[i] = (int8_t)(qs[i / 64 * 32 + i % 32] >> i % 64 / 32 * 4 & 0x0f);
    }
}

void uqff_codes_q4_k(const unsigned char *block, struct uqff_codes *out) {
    codes_with_scales_6(block, block + 16, out);
}

void uqff_codes_q5_k(const unsigned char *block, struct uqff_codes *out) {
    codes_with_scales_6(block, block + 48, out);
    for (int i = 0; i < 256; i++) {
        int fifth = block[16 + i % 32] >> i / 32 & 1;
        out->code[i] = (int8_t)(out->code[i] | fifth << 4);
    }
}

void uqff_codes_iq4_xs(const unsigned char *block, struct uqff_codes *out) {
    unsigned high = uqff_load_le16(block + 2);
    out->d = load_f16(block);
    for (int g = 0; g < 8; g++) {
        unsigned low = block[4 + g / 2] >> g % 2 * 4 & 0x0f;
        out->scale[g] = (int16_t)((int)(low | (high >> 2 * g & 3) << 4) - 32);
        looked_up(block + 8 + 16 * g, uqff_iq4_values, out->code + 32 * g);
    }
}

/* ---- 256 values, one scale ------------------------------------------------------------------- */

/* Trit n of a byte: a fraction of 256 whose earlier trits are cut off above. */
static int8_t trit(unsigned byte, unsigned power) {
    return (int8_t)((int)((byte * power & 0xff) * 3 >> 8) - 1);
}

void uqff_codes_tq1_0(const unsigned char *block, struct uqff_codes *out) {
    static const unsigned power[5] = {1, 3, 9, 27, 81};
    int8_t *code = out->code;
    out->d = load_f16(block + 52);
    out->scale[0] = 1;
    for (int i = 0; i < 160; i++) {
        code[i] = trit(block[i % 32], power[i / 32]);
    }
    for (int i = 0; i < 80; i++) {
        code[160 + i] = trit(block[32 + i % 16], power[i / 16]);
    }
    for (int i = 0; i < 16; i++) {
        code[240 + i] = trit(block[48 + i % 4], power[i / 4]);
    }
}

void uqff_codes_tq2_0(const unsigned char *block, struct uqff_codes *out) {
    out->d = load_f16(block + 64);
    out->scale[0] = 1;
    for (int i = 0; i < 256; i++) {
        out->code[i] = (int8_t)(pair(block, i) - 1);
    }
}
