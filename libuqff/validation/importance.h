/*
 * Importance matrices from inside: sums of squared activations, entry by entry. Private to
 * validation/.
 */
#ifndef UQFF_VALIDATION_IMPORTANCE_H
#define UQFF_VALIDATION_IMPORTANCE_H

#include "uqff/validation.h"

/* Tokens a chunk that llama.cpp assumes where a file does not say. */
#define UQFF_USUAL_CHUNK 512u

struct importance_entry {
    char *name;               /* "blk.0.attn_q.weight" */
    size_t matrices, columns; /* matrices: experts, or 1 */
    double *sums;             /* [matrices][columns] */
    double *counts;           /* [matrices]: rows of activations that were seen */
};

struct uqff_importance {
    struct importance_entry *entries; /* by name */
    size_t count, capacity;
    char **datasets;
    size_t dataset_count, dataset_capacity;
    uint64_t chunks, chunk_size;
};

struct uqff_importance *uqff_importance_new(void); /* NULL: no memory */
/* The entry of a name; one that is new has zeros. UQFF_E_SHAPE when it is there in another shape.
 */
enum uqff_code uqff_importance_entry(struct uqff_importance *importance, const char *name,
                                     size_t matrices, size_t columns, struct importance_entry **out,
                                     struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code uqff_importance_dataset(struct uqff_importance *importance, const char *name,
                                       struct uqff_error *err) UQFF_MUST_CHECK;

#endif
