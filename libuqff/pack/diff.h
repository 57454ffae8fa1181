/* diff: what the parts of a comparison share. */
#ifndef UQFF_PACK_DIFF_H
#define UQFF_PACK_DIFF_H

#include "uqff/pack.h"

struct diff {
    const struct uqff_model *a, *b;
    const struct uqff_diff_options *options;
    void (*report)(void *context, const struct uqff_difference *);
    void *context;
    const struct uqff_progress *progress;
    uint64_t done, total; /* elements of A, for progress */
    bool different;
};

void uqff_diff_report(struct diff *diff, const struct uqff_difference *difference);

/* A weight or tensor of one side: a module, or a tensor by itself. */
struct diff_item {
    const char *name; /* Hugging Face's, with ".weight" for a module */
    bool is_module;
    size_t index;
    uint32_t type; /* UQFF_NO_TYPE: parts of a module differ */
    unsigned rank;
    const uint64_t *shape;
    uint64_t rows, columns;
    uint64_t row_bytes; /* 0: raw rows are not to be had */
};

/* diff_values.c: compares two items of one shape. *found is a difference of kind VALUES when there
 * is one beyond the tolerance. */
enum uqff_code uqff_diff_values(struct diff *diff, const struct diff_item *a,
                                const struct diff_item *b, bool *differs,
                                struct uqff_difference *found, struct uqff_error *err);

/* diff_metadata.c: configuration, metadata and side files. */
enum uqff_code uqff_diff_metadata(struct diff *diff, struct uqff_error *err);

#endif
