#include "pack/run.h"

enum { BLOCK = 17, NIBBLES = 16, BLOCKS = 256 };

/* ggml keeps the exponent first and puts element j beside element j + 16; format 6 has neighbours
 * in one byte, and the exponents elsewhere: ggml     byte 0: exponent; byte 1 + j: element j low, j
 * + 16 high here     byte i: element 2i low, 2i + 1 high */
static void part_block(const unsigned char *block, unsigned char *nibbles,
                       unsigned char *exponent) {
    *exponent = block[0];
    for (unsigned i = 0; i < NIBBLES; i++) {
        unsigned element = 2 * i, shift = element < NIBBLES ? 0 : 4;
        const unsigned char *pair = block + 1 + element % NIBBLES;
        unsigned low = (unsigned)pair[0] >> shift & 15u, high = (unsigned)pair[1] >> shift & 15u;
        nibbles[i] = (unsigned char)(low | high << 4);
    }
}

enum uqff_code uqff_run_mxfp4_append(void *place, size_t entry, const void *bytes, size_t n,
                                     struct uqff_error *err) {
    unsigned char nibbles[BLOCKS * NIBBLES], exponents[BLOCKS];
    const struct run_mxfp4 *parts = place;
    const unsigned char *block = bytes;
    enum uqff_code code = UQFF_OK;
    (void)entry;
    for (size_t left = n / BLOCK; left > 0 && code == UQFF_OK;) {
        size_t count = left < BLOCKS ? left : BLOCKS;
        for (size_t i = 0; i < count; i++, block += BLOCK) {
            part_block(block, nibbles + i * NIBBLES, &exponents[i]);
        }
        code = uqff_container_writer_append(parts->writer, parts->weight, nibbles, count * NIBBLES,
                                            err);
        if (code == UQFF_OK) {
            code =
                uqff_container_writer_append(parts->writer, parts->scales, exponents, count, err);
        }
        left -= count;
    }
    return code;
}
