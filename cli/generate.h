/* Text from a model, token by token. */
#ifndef UQFF_CLI_GENERATE_H
#define UQFF_CLI_GENERATE_H

#include "command.h"

#include "uqff/validation.h"

enum { MOST_ENDS = 32 };

struct generator {
    struct cli *cli;
    const struct uqff_vocabulary *vocabulary;
    const struct uqff_vocabulary_info *info;
    struct uqff_tokenizer *tokenizer;
    struct uqff_transformer *transformer;
    struct uqff_sequence *sequence;
    struct uqff_sampler *sampler;
    size_t capacity;  /* tokens that the sequence has room for */
    uint32_t *tokens; /* [token_count]: those that it holds */
    size_t token_count;
    float *logits; /* of the last of them */
    size_t vocabulary_size;
    uint32_t ends[MOST_ENDS]; /* tokens that end a text */
    size_t end_count;
    bool terminal; /* standard output is one: control characters are escaped */
};

/* The vocabulary and the model must outlive the generator. `capacity` is that of the sequence. */
enum uqff_code generator_open(struct generator *g, struct cli *cli, const struct uqff_model *model,
                              const struct uqff_vocabulary *vocabulary, bool exact,
                              const struct uqff_sampler_options *sampling,
                              const struct uqff_warner *warner,
                              struct uqff_error *err) UQFF_MUST_CHECK;
/* Makes the memory for up to `capacity` tokens. */
enum uqff_code generator_make_room(struct generator *g, size_t capacity,
                                   struct uqff_error *err) UQFF_MUST_CHECK;
void generator_close(struct generator *g);

struct generated {
    struct uqff_buffer text; /* valid UTF-8 */
    uint32_t *ids;           /* the end token is not among them */
    size_t count;
    const char *stop;                /* "end", "length" or "context" */
    size_t prompt_tokens, evaluated; /* of the prompt; less where the memory held some */
    double prompt_seconds, text_seconds;
};

/* Continues a prompt by up to `most` tokens. With `stream`, text goes to standard output as it
 * comes; a sequence of bytes that is not complete yet waits for the next token. */
enum uqff_code generator_run(struct generator *g, const uint32_t *prompt, size_t count, size_t most,
                             bool stream, struct generated *out,
                             struct uqff_error *err) UQFF_MUST_CHECK;
void generated_free(struct generated *generated);

#endif
