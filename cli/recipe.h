/* The options that choose types: pack has them, and what encodes like it. */
#ifndef UQFF_CLI_RECIPE_H
#define UQFF_CLI_RECIPE_H

#include "command.h"

#include "uqff/pack.h"

struct recipe_values {
    const char *imatrix;
    struct list tensor_types; /* REGEX=TYPE */
    const char *tensor_type_file;
    const char *output_type, *embedding_type;
    bool pure, no_fallback;
    struct list include_weights, exclude_weights;
};

/* Rows for a table of options, the values being `member` of the struct `type`. */
#define RECIPE_OPTIONS(type, member)                                                               \
    {"imatrix",                                                                                    \
     0,                                                                                            \
     "FILE",                                                                                       \
     OPTION_TEXT,                                                                                  \
     offsetof(type, member.imatrix),                                                               \
     COMPLETE_FILE,                                                                                \
     NULL,                                                                                         \
     "importance matrix: GGUF or .dat as llama.cpp writes it, .cimatrix of mistral.rs"},           \
        {"include-weights",                                                                        \
         0,                                                                                        \
         "TEXT",                                                                                   \
         OPTION_LIST,                                                                              \
         offsetof(type, member.include_weights),                                                   \
         COMPLETE_NONE,                                                                            \
         NULL,                                                                                     \
         "of the matrix, use only entries with TEXT in their name; repeatable"},                   \
        {"exclude-weights",                                                                        \
         0,                                                                                        \
         "TEXT",                                                                                   \
         OPTION_LIST,                                                                              \
         offsetof(type, member.exclude_weights),                                                   \
         COMPLETE_NONE,                                                                            \
         NULL,                                                                                     \
         "of the matrix, do not use entries with TEXT in their name; repeatable"},                 \
        {"tensor-type",                                                                            \
         0,                                                                                        \
         "REGEX=TYPE",                                                                             \
         OPTION_LIST,                                                                              \
         offsetof(type, member.tensor_types),                                                      \
         COMPLETE_NONE,                                                                            \
         NULL,                                                                                     \
         "encode tensors as TYPE that have the pattern (PCRE2, case as written) in their Hugging " \
         "Face or GGUF name; repeatable, the first that matches wins"},                            \
        {"tensor-type-file",                                                                       \
         0,                                                                                        \
         "FILE",                                                                                   \
         OPTION_TEXT,                                                                              \
         offsetof(type, member.tensor_type_file),                                                  \
         COMPLETE_FILE,                                                                            \
         NULL,                                                                                     \
         "such REGEX=TYPE rules from a file, separated by white space"},                           \
        {"output-type",                                                                            \
         0,                                                                                        \
         "TYPE",                                                                                   \
         OPTION_TEXT,                                                                              \
         offsetof(type, member.output_type),                                                       \
         COMPLETE_QUANT,                                                                           \
         NULL,                                                                                     \
         "type of the output head"},                                                               \
        {"embedding-type",                                                                         \
         0,                                                                                        \
         "TYPE",                                                                                   \
         OPTION_TEXT,                                                                              \
         offsetof(type, member.embedding_type),                                                    \
         COMPLETE_QUANT,                                                                           \
         NULL,                                                                                     \
         "type of the token embedding"},                                                           \
        {"pure",                                                                                   \
         0,                                                                                        \
         NULL,                                                                                     \
         OPTION_FLAG,                                                                              \
         offsetof(type, member.pure),                                                              \
         COMPLETE_NONE,                                                                            \
         NULL,                                                                                     \
         "one type for all: no mixture, no promotion"},                                            \
    {                                                                                              \
        "no-fallback", 0, NULL, OPTION_FLAG, offsetof(type, member.no_fallback), COMPLETE_NONE,    \
            NULL, "fail where a row does not fit the blocks of its type, rather than take another" \
    }

/* Fills the recipe part of `options`. Rules live in the program's arena. */
enum uqff_code recipe_apply(struct cli *cli, const struct recipe_values *values,
                            struct uqff_pack_options *options,
                            struct uqff_error *err) UQFF_MUST_CHECK;

/* Parses quants and reports any failure as one of usage: a quant that is known but cannot be
 * encoded is no better than one that is not known. */
enum uqff_code recipe_check_quants(const struct list *quants,
                                   struct uqff_error *err) UQFF_MUST_CHECK;

/* The entries of --set KEY=VALUE, in the arena of `cli`. */
enum uqff_code recipe_metadata(struct cli *cli, const struct list *texts,
                               const struct uqff_metadata_pair **out, size_t *count,
                               struct uqff_error *err) UQFF_MUST_CHECK;

#endif
