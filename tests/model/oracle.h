/*
 * A second transformer, for comparison: the textbook's loops over doubles, with a reader of its own
 * for config.json and weights. It shares nothing with the library but the reader of safetensors,
 * and is as slow as it is plain.
 */
#ifndef UQFF_TEST_ORACLE_H
#define UQFF_TEST_ORACLE_H

#include <stddef.h>
#include <stdint.h>

struct oracle_result {
    size_t layers, hidden, tokens, vocabulary;
    double *states; /* [layers + 1][tokens][hidden]: behind the embedding, and behind each layer */
    double *logits; /* [tokens][vocabulary] */
};

/* Runs a Hugging Face directory on tokens. Fails the test on anything unexpected. */
struct oracle_result oracle_run(const char *directory, const uint32_t *tokens, size_t count);
void oracle_free(struct oracle_result *result);

#endif
