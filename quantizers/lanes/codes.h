/*
 * The integers of a block of weights in vectors of bytes, over an instruction set's unpack.h: what
 * products are taken of. ref/codes.c is the same in C; the layouts are drawn in ref/, one file a
 * type. Private to quantizers/.
 *
 * Codes come as they stand in the block, too large by an offset, because bytes without a sign are
 * what AVX2 multiplies with signed ones; those of Q8_0, Q8_1 and the IQ4 types are signed. The type
 * is a constant wherever these are called, so that nothing of the switches remains.
 */
#ifndef UQFF_LANES_CODES_H
#define UQFF_LANES_CODES_H

#include "ref/codes.h"
#include "ref/iq4.h"

/* ---- a type's constants ---------------------------------------------------------------------- */

/* What unsigned codes are too large by. */
LANE int offset_of(uint32_t type) {
    switch (type) {
    case UQFF_TYPE_Q4_0:
        return 8;
    case UQFF_TYPE_Q5_0:
        return 16;
    case UQFF_TYPE_MXFP4:
        return 12;
    case UQFF_TYPE_Q3_K:
        return 4;
    case UQFF_TYPE_Q6_K:
        return 32;
    case UQFF_TYPE_TQ1_0:
    case UQFF_TYPE_TQ2_0:
        return 1;
    default:
        return 0;
    }
}

LANE bool has_signed_codes(uint32_t type) {
    return type == UQFF_TYPE_Q8_0 || type == UQFF_TYPE_Q8_1 || type == UQFF_TYPE_IQ4_NL ||
           type == UQFF_TYPE_IQ4_XS;
}

LANE bool has_minimum(uint32_t type) {
    return type == UQFF_TYPE_Q4_1 || type == UQFF_TYPE_Q5_1 || type == UQFF_TYPE_Q2_K ||
           type == UQFF_TYPE_Q4_K || type == UQFF_TYPE_Q5_K;
}

/* Values with a scale of their own in blocks of 256. */
LANE int group_of(uint32_t type) {
    switch (type) {
    case UQFF_TYPE_TQ1_0:
    case UQFF_TYPE_TQ2_0:
        return 256;
    case UQFF_TYPE_Q4_K:
    case UQFF_TYPE_Q5_K:
    case UQFF_TYPE_IQ4_XS:
        return 32;
    default:
        return 16;
    }
}

LANE size_t block_bytes_of(uint32_t type) {
    switch (type) {
    case UQFF_TYPE_Q4_0:
    case UQFF_TYPE_IQ4_NL:
        return 18;
    case UQFF_TYPE_Q4_1:
        return 20;
    case UQFF_TYPE_Q5_0:
        return 22;
    case UQFF_TYPE_Q5_1:
        return 24;
    case UQFF_TYPE_Q8_0:
        return 34;
    case UQFF_TYPE_Q8_1:
        return 36;
    case UQFF_TYPE_MXFP4:
        return 17;
    case UQFF_TYPE_Q2_K:
        return 84;
    case UQFF_TYPE_Q3_K:
        return 110;
    case UQFF_TYPE_Q4_K:
        return 144;
    case UQFF_TYPE_Q5_K:
        return 176;
    case UQFF_TYPE_Q6_K:
        return 210;
    case UQFF_TYPE_IQ4_XS:
        return 136;
    case UQFF_TYPE_TQ1_0:
        return 54;
    default: /* UQFF_TYPE_TQ2_0 */
        return 66;
    }
}

/* Where the nibbles of blocks of 32 begin. */
LANE size_t place_of_nibbles(uint32_t type) {
    switch (type) {
    case UQFF_TYPE_MXFP4:
        return 1;
    case UQFF_TYPE_Q4_1:
        return 4;
    case UQFF_TYPE_Q5_0:
        return 6;
    case UQFF_TYPE_Q5_1:
        return 8;
    default:
        return 2;
    }
}

/* Where d stands, as f16; MXFP4 has an exponent there. */
LANE size_t d_place_of(uint32_t type) {
    switch (type) {
    case UQFF_TYPE_Q2_K:
        return 80;
    case UQFF_TYPE_Q3_K:
        return 108;
    case UQFF_TYPE_Q6_K:
        return 208;
    case UQFF_TYPE_TQ1_0:
        return 52;
    case UQFF_TYPE_TQ2_0:
        return 64;
    default:
        return 0;
    }
}

/* ---- blocks of 32 ---------------------------------------------------------------------------- */

LANE vb codes_32(uint32_t type, const unsigned char *block) {
    switch (type) {
    case UQFF_TYPE_Q4_0:
        return vb_nibbles(block + 2);
    case UQFF_TYPE_Q4_1:
        return vb_nibbles(block + 4);
    case UQFF_TYPE_Q5_0:
        return vb_or(vb_nibbles(block + 6),
                     vb_and(vb_from_bits(uqff_load_le32(block + 2)), vb_set(0x10)));
    case UQFF_TYPE_Q5_1:
        return vb_or(vb_nibbles(block + 8),
                     vb_and(vb_from_bits(uqff_load_le32(block + 4)), vb_set(0x10)));
    case UQFF_TYPE_Q8_0:
        return vb_load(block + 2);
    case UQFF_TYPE_Q8_1:
        return vb_load(block + 4);
    case UQFF_TYPE_IQ4_NL:
        return vb_lookup(uqff_iq4_values, vb_nibbles(block + 2));
    default: /* UQFF_TYPE_MXFP4 */
        return vb_lookup(uqff_mxfp4_plus_12, vb_nibbles(block + 1));
    }
}

/* ---- blocks of 256 --------------------------------------------------------------------------- */

/* Codes 0..127 of planes of bit pairs, in the lowest two bits; above them is the rest. */
LANE void pairs_128(const unsigned char *plane, vb q[4]) {
    q[0] = vb_load(plane);
    q[1] = vb_right(q[0], 2);
    q[2] = vb_right(q[0], 4);
    q[3] = vb_right(q[0], 6);
}

LANE void pairs_256(const unsigned char *planes, vb q[8]) {
    const vb three = vb_set(3);
    pairs_128(planes, q);
    pairs_128(planes + 32, q + 4);
    for (int g = 0; g < 8; g++) {
        q[g] = vb_and(q[g], three);
    }
}

LANE void codes_q3_k(const unsigned char *block, vb q[8]) {
    const vb four = vb_set(4);
    vb third = vb_load(block); /* bit g is that of q[g] */
    pairs_256(block + 32, q);
    for (int g = 0; g < 8; g++) {
        q[g] = vb_or(q[g], vb_and(g < 2 ? vb_left(third, 2 - g) : vb_right(third, g - 2), four));
    }
}

/* Nibbles of 64 values in 32 bytes each. */
LANE void nibbles_256(const unsigned char *qs, vb q[8]) {
    const vb low = vb_set(0x0f);
    for (int g = 0; g < 8; g += 2) {
        vb bytes = vb_load(qs + 16 * g);
        q[g] = vb_and(bytes, low);
        q[g + 1] = vb_and(vb_right(bytes, 4), low);
    }
}

LANE void codes_q5_k(const unsigned char *block, vb q[8]) {
    const vb sixteen = vb_set(0x10);
    vb fifth = vb_load(block + 16); /* bit g is that of q[g] */
    nibbles_256(block + 48, q);
    for (int g = 0; g < 8; g++) {
        q[g] = vb_or(q[g], vb_and(g < 4 ? vb_left(fifth, 4 - g) : vb_right(fifth, g - 4), sixteen));
    }
}

LANE void codes_q6_k(const unsigned char *block, vb q[8]) {
    const vb low = vb_set(0x0f);
    const vb upper = vb_set(0x30);
    for (int h = 0; h < 2; h++, q += 4) {
        vb a = vb_load(block + 64 * h);
        vb b = vb_load(block + 64 * h + 32);
        vb high = vb_load(block + 128 + 32 * h);
        q[0] = vb_or(vb_and(a, low), vb_and(vb_left(high, 4), upper));
        q[1] = vb_or(vb_and(b, low), vb_and(vb_left(high, 2), upper));
        q[2] = vb_or(vb_and(vb_right(a, 4), low), vb_and(high, upper));
        q[3] = vb_or(vb_and(vb_right(b, 4), low), vb_and(vb_right(high, 2), upper));
    }
}

LANE vb tripled(vb v) {
    return vb_add(vb_add(v, v), v);
}

/* The same for the eight bytes of a word, every other one at a time. */
static inline uint64_t bytes_tripled(uint64_t v) {
    const uint64_t even = 0x00ff00ff00ff00ff;
    return ((v & even) * 3 & even) | ((v >> 8 & even) * 3 & even) << 8;
}

/* The first trits of 32 bytes. A byte is a fraction of 256, and the trit how many thirds it holds:
 * one from 86 on, two from 171 on. */
LANE vb leading_trits(vb v) {
    vb thirds = vb_add(vb_at_least(v, vb_set(86)), vb_at_least(v, vb_set(171))); /* FF is -1 */
    return vb_sub(vb_set(0), thirds);
}

/* Multiplying a byte by 3 and dropping what leaves it brings the next trit to the front. The second
 * part is one vector a pair of trits, the last beside the four bytes of qh. */
LANE void codes_tq1_0(const unsigned char *block, vb q[8]) {
    vb v = vb_load(block);
    for (int k = 0; k < 5; k++) {
        q[k] = leading_trits(v);
        v = tripled(v);
    }
    vb once = vb_load_twice(block + 32);
    v = vb_join(once, tripled(once));
    q[5] = leading_trits(v);
    v = tripled(tripled(v));
    q[6] = leading_trits(v);
    v = tripled(tripled(v));
    uint64_t trits_01 = uqff_load_le32(block + 48);
    trits_01 |= bytes_tripled(trits_01) << 32;
    uint64_t trits_23 = bytes_tripled(bytes_tripled(trits_01));
    q[7] = leading_trits(vb_join(v, vb_words(trits_01, trits_23, 0, 0)));
}

/* Codes 32g to 32g + 31 in q[g]. */
LANE void codes_256(uint32_t type, const unsigned char *block, vb q[8]) {
    switch (type) {
    case UQFF_TYPE_Q2_K:
        pairs_256(block + 16, q);
        break;
    case UQFF_TYPE_Q3_K:
        codes_q3_k(block, q);
        break;
    case UQFF_TYPE_Q4_K:
        nibbles_256(block + 16, q);
        break;
    case UQFF_TYPE_Q5_K:
        codes_q5_k(block, q);
        break;
    case UQFF_TYPE_Q6_K:
        codes_q6_k(block, q);
        break;
    case UQFF_TYPE_IQ4_XS:
        for (int g = 0; g < 8; g++) {
            q[g] = vb_lookup(uqff_iq4_values, vb_nibbles(block + 8 + 16 * g));
        }
        break;
    case UQFF_TYPE_TQ1_0:
        codes_tq1_0(block, q);
        break;
    default: /* UQFF_TYPE_TQ2_0 */
        pairs_256(block, q);
        break;
    }
}

/* ---- scales ---------------------------------------------------------------------------------- */

/* Scales and minima of the groups of a block of 256, one to a byte, those of group 0 lowest. Scales
 * have signs. Types with 8 groups use the first words. */
struct group_scales {
    uint64_t s[2], m[2];
};

/* Eight bytes: the low nibbles of `low`, and above them the lowest two bits of `high`'s bytes. */
static inline uint64_t joined_scales(uint64_t low, uint64_t high) {
    return (low & 0x0f0f0f0f0f0f0f0f) | (high & 0x0303030303030303) << 4;
}

/* Less 32, in each of eight bytes that are below 64: no borrow leaves a byte whose highest bit is
 * set first, and that bit is wrong afterwards in all of them. */
static inline uint64_t less_32(uint64_t bytes) {
    const uint64_t top = 0x8080808080808080;
    return ((bytes | top) - 0x2020202020202020) ^ top;
}

static inline struct group_scales scales_q2_k(const unsigned char *block) {
    const uint64_t nibble = 0x0f0f0f0f0f0f0f0f;
    uint64_t a = uqff_load_le64(block);
    uint64_t b = uqff_load_le64(block + 8);
    return (struct group_scales){{a & nibble, b & nibble}, {a >> 4 & nibble, b >> 4 & nibble}};
}

static inline struct group_scales scales_q3_k(const unsigned char *block) {
    uint64_t low = uqff_load_le64(block + 96);
    uint64_t high = uqff_load_le32(block + 104); /* of groups 0..3; above them 4..7, and so on */
    uint64_t s_0 = joined_scales(low, high | high >> 2 << 32);
    uint64_t s_8 = joined_scales(low >> 4, high >> 4 | high >> 6 << 32);
    return (struct group_scales){{less_32(s_0), less_32(s_8)}, {0, 0}};
}

/* Q4_K and Q5_K; see ref/pack.h. */
static inline struct group_scales scales_6(const unsigned char *block) {
    uint64_t a = uqff_load_le32(block + 4);
    uint64_t b = uqff_load_le32(block + 8);
    uint64_t c = uqff_load_le32(block + 12);
    uint64_t s = (a & 0x3f3f3f3f) | joined_scales(c, a >> 6) << 32;
    uint64_t m = (b & 0x3f3f3f3f) | joined_scales(c >> 4, b >> 6) << 32;
    return (struct group_scales){{s, 0}, {m, 0}};
}

/* Eight nibbles, and eight bit pairs, one to a byte. */
static inline uint64_t nibbles_spread(uint64_t v) {
    v = (v | v << 16) & 0x0000ffff0000ffff;
    v = (v | v << 8) & 0x00ff00ff00ff00ff;
    return (v | v << 4) & 0x0f0f0f0f0f0f0f0f;
}

static inline uint64_t pairs_spread(uint64_t v) {
    v = (v | v << 24) & 0x000000ff000000ff;
    v = (v | v << 12) & 0x000f000f000f000f;
    return (v | v << 6) & 0x0303030303030303;
}

static inline struct group_scales scales_iq4_xs(const unsigned char *block) {
    uint64_t s = nibbles_spread(uqff_load_le32(block + 4)) | pairs_spread(uqff_load_le16(block + 2))
                                                                 << 4;
    return (struct group_scales){{less_32(s), 0}, {0, 0}};
}

LANE struct group_scales scales_256(uint32_t type, const unsigned char *block) {
    switch (type) {
    case UQFF_TYPE_Q2_K:
        return scales_q2_k(block);
    case UQFF_TYPE_Q3_K:
        return scales_q3_k(block);
    case UQFF_TYPE_Q4_K:
    case UQFF_TYPE_Q5_K:
        return scales_6(block);
    case UQFF_TYPE_Q6_K:
        return (struct group_scales){{uqff_load_le64(block + 192), uqff_load_le64(block + 200)},
                                     {0, 0}};
    default: /* UQFF_TYPE_IQ4_XS */
        return scales_iq4_xs(block);
    }
}

#endif
