/* A text as tokens: what validate and imatrix measure on. */
#ifndef UQFF_CLI_CORPUS_H
#define UQFF_CLI_CORPUS_H

#include "json.h"

#include "uqff/validation.h"

/* A row for a table of options. */
#define TOKENIZER_OPTION(offset)                                                                   \
    {                                                                                              \
        "tokenizer", 0, "FILE", OPTION_TEXT, offset, COMPLETE_FILE, "the model's own",             \
            "tokenizer.json, tokenizer.model or a GGUF file to take the tokenizer from"            \
    }

struct corpus {
    const char *path; /* or "standard input" */
    uint64_t bytes;   /* of the file */
    char sha256[65];
    uint32_t *tokens;
    size_t count;
    uint32_t bos;
    bool add_bos; /* chunks begin with it */
};

/* The vocabulary of `path` (--tokenizer) when it is not NULL, else of `model`. */
enum uqff_code corpus_vocabulary(const struct uqff_model *model, const char *path,
                                 const struct uqff_warner *warner, struct uqff_vocabulary **out,
                                 struct uqff_error *err) UQFF_MUST_CHECK;

/* Reads and tokenizes a text as llama-perplexity does: one newline at its end is left away, control
 * tokens in it are plain text. "-" is standard input. Freed by corpus_free, on failure too. */
enum uqff_code corpus_read(const char *path, const struct uqff_vocabulary *vocabulary,
                           const struct uqff_warner *warner, struct corpus *out,
                           struct uqff_error *err) UQFF_MUST_CHECK;
void corpus_free(struct corpus *corpus);

/* Adds the member "text": what was read, or null where path is NULL. */
void corpus_put_json(const struct corpus *corpus, cJSON *document);

#endif
