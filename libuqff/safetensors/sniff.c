#include "safetensors/sniff.h"

#include <string.h>

static const struct {
    const char *bytes;
    size_t length;
    const char *what;
} patterns[] = {
#define PATTERN(text, what)                                                                        \
    { text, sizeof text - 1, what }
    PATTERN("version https://git-lfs.github.com/",
            "a Git LFS pointer: fetch the real file with git lfs pull"),
    PATTERN("<!DOCTYPE", "an HTML page, perhaps of an error or a log-in: download the file again"),
    PATTERN("<!doctype", "an HTML page, perhaps of an error or a log-in: download the file again"),
    PATTERN("<html", "an HTML page, perhaps of an error or a log-in: download the file again"),
    PATTERN("<HTML", "an HTML page, perhaps of an error or a log-in: download the file again"),
    PATTERN("<?xml", "an XML document, perhaps a server's error message: download the file again"),
    PATTERN("PK\3\4", "a ZIP archive, such as PyTorch writes: convert the checkpoint to "
                      "safetensors first"),
    PATTERN("GGUF", "a GGUF file"),
    PATTERN("FUGG", "a GGUF file with its bytes swapped"),
    PATTERN("tjgg", "an old GGML file (GGJT)"),
    PATTERN("lmgg", "an old GGML file"),
    PATTERN("_logits_", "logits as llama-perplexity writes them"),
    PATTERN("\x89HDF", "an HDF5 file"),
    PATTERN("\x93NUMPY", "a NumPy array"),
    PATTERN("\x1f\x8b", "a gzip-compressed file: decompress it first"),
    PATTERN("\x28\xb5\x2f\xfd", "a Zstandard-compressed file: decompress it first"),
    PATTERN("\xef\xbb\xbf", "text that begins with a byte order mark"),
    PATTERN("{\"", "JSON text"),
    PATTERN("{ ", "JSON text"),
    PATTERN("{\n", "JSON text"),
    PATTERN("{\r", "JSON text"),
#undef PATTERN
};

/* llama.cpp's older importance matrix: i32 number of entries, i32 length of a name, and the name of
 * a tensor, of which the first eight bytes are told by being printable. */
static bool begins_as_dat(const unsigned char *b, size_t n) {
    if (n < 16 || uqff_load_le32(b) == 0 || uqff_load_le32(b) >= 1 << 20 ||
        uqff_load_le32(b + 4) < 8 || uqff_load_le32(b + 4) > 256) {
        return false;
    }
    for (size_t i = 8; i < 16; i++) {
        if (b[i] <= ' ' || b[i] > '~') {
            return false;
        }
    }
    return true;
}

const char *uqff_st_looks_like(const void *bytes, size_t n) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        if (n >= patterns[i].length && memcmp(b, patterns[i].bytes, patterns[i].length) == 0) {
            return patterns[i].what;
        }
    }
    /* A pickle of protocol 2 to 5 is 80 0p and an opcode, which is never 0: a header of 128 + 256 p
     * bytes begins with 80 0p too, but then with zeros. */
    if (n >= 3 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5 && b[2] != 0) {
        return "a Python pickle: convert the checkpoint to safetensors first";
    }
    /* A list of pieces, of which the first is called <unk>: fields 1 of the list and of the piece.
     */
    if (n >= 9 && b[0] == 0x0a && b[2] == 0x0a && memcmp(b + 4, "<unk>", 5) == 0) {
        return "a SentencePiece vocabulary";
    }
    return begins_as_dat(b, n) ? "an importance matrix in llama.cpp's older form (.dat)" : NULL;
}
