/*
 * Synthetic models: a Hugging Face directory with the tensors, names and config.json of a real
 * architecture, of any size, with made-up weights. For benchmarks and for tests that need shapes
 * no small model has.
 */
#ifndef UQFF_BENCH_SYNTHETIC_H
#define UQFF_BENCH_SYNTHETIC_H

#include "uqff/safetensors.h"

struct synthetic {
    const char *architecture; /* a model_type that synthetic_architectures() lists */
    uint64_t hidden, feed_forward, layers, heads, kv_heads, head_dim, vocabulary;
    uint64_t experts, experts_used; /* architectures with experts only */
    enum uqff_dtype dtype;          /* F32, F16 or BF16 */
    uint64_t max_shard;             /* bytes of a shard; 0: one file */
    uint64_t seed;
    bool sparse; /* leave the weights as holes: a file of any size in no space */
    /* For models that are run: weights of that deviation in place of 0.02, and norms around 1 (F32
     * and BF16, where the architecture does not add it). */
    double deviation;
    bool norms_around_one;
    const char *settings; /* more members of config.json, each with a comma behind it; or NULL */
};

/* Names of the architectures that can be made, NULL-terminated. */
const char *const *synthetic_architectures(void);

/* A model of about `bytes` bytes: a Llama-like shape whose width and depth grow together, with the
 * vocabulary of a Llama. */
void synthetic_for_bytes(struct synthetic *model, uint64_t bytes);

/* Writes the directory (created). The same description gives the same bytes. */
enum uqff_code synthetic_write(const struct synthetic *model, const char *directory,
                               struct uqff_error *err) UQFF_MUST_CHECK;

#endif
