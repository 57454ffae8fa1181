/* make_gguf: writes a GGUF file with a vocabulary of any size, or with any number of small tensors,
 * to measure how fast such headers open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uqff/base.h"

static void put_u32(struct uqff_buffer *out, uint32_t value) {
    unsigned char bytes[4];
    uqff_store_le32(bytes, value);
    uqff_buffer_append(out, bytes, sizeof bytes);
}

static void put_u64(struct uqff_buffer *out, uint64_t value) {
    unsigned char bytes[8];
    uqff_store_le64(bytes, value);
    uqff_buffer_append(out, bytes, sizeof bytes);
}

static void put_string(struct uqff_buffer *out, const char *text) {
    put_u64(out, strlen(text));
    uqff_buffer_append(out, text, strlen(text));
}

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8, GGUF_ARRAY = 9 };

static void put_array(struct uqff_buffer *out, const char *key, uint32_t kind, uint64_t count) {
    put_string(out, key);
    put_u32(out, GGUF_ARRAY);
    put_u32(out, kind);
    put_u64(out, count);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: make_gguf FILE TOKENS TENSORS\n");
        return 2;
    }
    uint64_t tokens = strtoull(argv[2], NULL, 10), tensors = strtoull(argv[3], NULL, 10);
    struct uqff_buffer out = {0};
    char text[64];
    uqff_buffer_append(&out, "GGUF", 4);
    put_u32(&out, 3);
    put_u64(&out, tensors);
    put_u64(&out, 5);
    put_string(&out, "general.architecture");
    put_u32(&out, GGUF_STRING);
    put_string(&out, "llama");
    put_array(&out, "tokenizer.ggml.tokens", GGUF_STRING, tokens);
    for (uint64_t i = 0; i < tokens; i++) {
        snprintf(text, sizeof text, "token%llu", (unsigned long long)i);
        put_string(&out, text);
    }
    put_array(&out, "tokenizer.ggml.merges", GGUF_STRING, tokens);
    for (uint64_t i = 0; i < tokens; i++) {
        snprintf(text, sizeof text, "to ken%llu", (unsigned long long)i);
        put_string(&out, text);
    }
    put_array(&out, "tokenizer.ggml.scores", GGUF_F32, tokens);
    for (uint64_t i = 0; i < tokens; i++) {
        put_u32(&out, 0);
    }
    put_array(&out, "tokenizer.ggml.token_type", GGUF_I32, tokens);
    for (uint64_t i = 0; i < tokens; i++) {
        put_u32(&out, 1);
    }
    for (uint64_t i = 0; i < tensors; i++) {
        snprintf(text, sizeof text, "blk.%llu.weight", (unsigned long long)i);
        put_string(&out, text);
        put_u32(&out, 1);
        put_u64(&out, 8);
        put_u32(&out, 0);
        put_u64(&out, i * 32);
    }
    static const char zeros[32];
    while (out.size % 32 != 0) {
        uqff_buffer_append(&out, zeros, 1);
    }
    for (uint64_t i = 0; i < tensors; i++) {
        uqff_buffer_append(&out, zeros, sizeof zeros);
    }
    struct uqff_error err;
    if (out.failed || uqff_write_file(argv[1], out.data, out.size, true, &err) != UQFF_OK) {
        fprintf(stderr, "make_gguf: cannot write %s\n", argv[1]);
        return 1;
    }
    uqff_buffer_free(&out);
    return 0;
}
