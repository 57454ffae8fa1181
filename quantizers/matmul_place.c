/*
 * How encoded activations stand in groups of four tokens, for kernels whose lanes are rows of
 * weights: what one such kernel reads next to each other for four tokens stands side by side.
 *
 *   a block of a group:
 *
 *     for each group of columns
 *       for each four columns       4 tokens x 4 codes
 *       if the tiling has an offset 4 tokens x 2 words, or x 32 bits: what the offset of the
 *                                   weights' codes adds to the sums, negative. The first word is of
 *                                   columns 0, 1, 4, 5, ..., the other of 2, 3, 6, 7, ...
 *     if the tiling has minima
 *       blocks of 32                4 tokens x the sum of the block, a float
 *       blocks of 256               for each two minima: 4 tokens x 2 words, their columns' sums
 *     the scales                    4 tokens x a float
 *
 * In a wide tiling codes have 16 bits: for each two columns, 4 tokens x 2 words, then the scales.
 */
#include "products.h"

enum { TOKENS = 4, CELL = 4 * TOKENS };

/* One block of a row of activations. */
struct block {
    const int8_t *code;
    float scale;
    float sum;                 /* Q8_1 */
    const unsigned char *sums; /* Q8_K: of each 16 codes, 16 bits each */
};

static struct block block_at(uint32_t type, const unsigned char *p) {
    switch (type) {
    case UQFF_TYPE_Q8_0:
        return (struct block){(const int8_t *)p + 2, load_f16(p), 0.0f, NULL};
    case UQFF_TYPE_Q8_1:
        return (struct block){(const int8_t *)p + 4, load_f16(p), load_f16(p + 2), NULL};
    default: /* UQFF_TYPE_Q8_K */
        return (struct block){(const int8_t *)p + 4, bits_float(uqff_load_le32(p)), 0.0f, p + 260};
    }
}

static void put_words(unsigned char *out, int first, int second) {
    int16_t words[2] = {(int16_t)first, (int16_t)second};
    memcpy(out, words, sizeof words);
}

static unsigned char *place_group(const struct uqff_tiling *tiling, const int8_t *code,
                                  unsigned char *out) {
    const int offset = tiling->offset;
    int first = 0, second = 0;
    for (int c = 0; c < tiling->group; c += 4, out += CELL) {
        memcpy(out, code + c, 4);
        first += code[c] + code[c + 1];
        second += code[c + 2] + code[c + 3];
    }
    if (offset && tiling->sums_32) {
        int32_t start = -offset * (first + second);
        memcpy(out, &start, sizeof start);
    } else if (offset) {
        put_words(out, -offset * first, -offset * second);
    }
    return offset ? out + CELL : out;
}

/* Sums of two minima's columns after the other, each of so many values. */
static unsigned char *place_sums(const unsigned char *sums, int group, unsigned char *out) {
    for (int k = 0; k < 16; k += 2 * group / 16, out += CELL) {
        int sum[4] = {0};
        for (int i = 0; i < 2 * group / 16; i++) {
            sum[i] = (int16_t)uqff_load_le16(sums + 2 * (k + i));
        }
        if (group == 16) {
            put_words(out, sum[0], sum[1]);
        } else {
            put_words(out, sum[0] + sum[1], sum[2] + sum[3]);
        }
    }
    return out;
}

static void place_block(const struct uqff_tiling *tiling, const struct block *block,
                        unsigned char *out) {
    if (tiling->wide) {
        for (int c = 0; c < tiling->block; c += 2, out += CELL) {
            put_words(out, block->code[c], block->code[c + 1]);
        }
    } else {
        for (int c = 0; c < tiling->block; c += tiling->group) {
            out = place_group(tiling, block->code + c, out);
        }
    }
    if (tiling->minimum && tiling->block == 32) {
        memcpy(out, &block->sum, sizeof block->sum);
        out += CELL;
    } else if (tiling->minimum) {
        out = place_sums(block->sums, tiling->minimum, out);
    }
    memcpy(out, &block->scale, sizeof block->scale);
}

void uqff_place_codes(const struct uqff_matmul *plan, const unsigned char *data, size_t first,
                      size_t count, size_t token, unsigned char *activations) {
    const struct uqff_matmul_kernel *kernel = uqff_matmul_kernel_of(plan);
    const struct uqff_tiling *tiling = &kernel->tiling;
    const struct uqff_type_info *info = uqff_type_info(plan->activation_type);
    size_t blocks = plan->columns / tiling->block;
    size_t place = token / TOKENS * blocks + first / tiling->block;
    unsigned char *out = activations + place * kernel->group_bytes + 4 * (token % TOKENS);
    for (size_t c = 0; c < count; c += tiling->block) {
        struct block block = block_at(plan->activation_type, data);
        place_block(tiling, &block, out);
        data += info->block_bytes;
        out += kernel->group_bytes;
    }
}
