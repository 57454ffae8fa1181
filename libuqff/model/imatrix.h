/* An importance matrix being read. Private to the files imatrix*.c. */
#ifndef UQFF_MODEL_IMATRIX_H
#define UQFF_MODEL_IMATRIX_H

#include "uqff/model.h"

struct uqff_imatrix {
    struct uqff_arena arena;
    struct uqff_imatrix_entry *entries; /* by name, once all are read */
    size_t count, capacity;
    const char **datasets; /* in the arena */
    size_t dataset_count, dataset_capacity;
    uint64_t chunks, chunk_size;
    struct uqff_digest digest;
};

/* Appends an entry with room for its values, which are then filled through *values. */
enum uqff_code uqff_imatrix_add(struct uqff_imatrix *imatrix, const char *name, uint64_t matrices,
                                uint64_t columns, float **values, struct uqff_error *err);
/* Gives the entry added last room for its sums, a copy of its values, and for its counts. */
enum uqff_code uqff_imatrix_add_sums(struct uqff_imatrix *imatrix, float **counts,
                                     struct uqff_error *err);
/* Notes the name of a text, which is in the arena. */
enum uqff_code uqff_imatrix_add_dataset(struct uqff_imatrix *imatrix, const char *name,
                                        struct uqff_error *err);
/* Little-endian float32 from a source. */
enum uqff_code uqff_imatrix_floats(struct uqff_source *source, uint64_t offset, float *out,
                                   size_t n, struct uqff_error *err);

enum uqff_code uqff_imatrix_read_gguf(struct uqff_imatrix *imatrix, struct uqff_source *source,
                                      struct uqff_error *err);
enum uqff_code uqff_imatrix_read_dat(struct uqff_imatrix *imatrix, struct uqff_source *source,
                                     struct uqff_error *err);
enum uqff_code uqff_imatrix_read_cimatrix(struct uqff_imatrix *imatrix, struct uqff_source *source,
                                          struct uqff_error *err);

#endif
