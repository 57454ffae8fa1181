/* What a model holds several of: quantizations, by name. */
#ifndef UQFF_CLI_QUANTIZATIONS_H
#define UQFF_CLI_QUANTIZATIONS_H

#include "command.h"

#include "uqff/model.h"

/* A set of .uqff files of one name in a directory. Names live in the program's arena. */
struct quantization {
    const char *name;
    uint64_t files, bytes;
};

/* Finds the sets of .uqff files in a directory, in order of name; the list lives in the program's
 * arena. */
enum uqff_code quantizations_find(struct cli *cli, const char *directory, struct quantization **out,
                                  size_t *count, struct uqff_error *err) UQFF_MUST_CHECK;

/* One side of a comparison. */
struct quantizations {
    const char *reference;
    struct uqff_model *model;  /* what the reference opens as; NULL where one must be named */
    struct uqff_error refusal; /* then: why */
    /* What can be named behind a '#': the variants of a multi-quant file, or the sets of a
     * directory of .uqff files. Empty for any other model, and where one is named already. */
    struct list names;
};

/* Opens a reference. That it holds several quantizations of which one must be named is no error
 * here: *out has their names then, and no model. */
enum uqff_code quantizations_open(struct cli *cli, const char *reference,
                                  const struct uqff_warner *warner, struct quantizations *out,
                                  struct uqff_error *err) UQFF_MUST_CHECK;
void quantizations_close(struct quantizations *quantizations);

#endif
