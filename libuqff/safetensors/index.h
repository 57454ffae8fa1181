/* model.safetensors.index.json: which shard holds which tensor. */
#ifndef UQFF_SAFETENSORS_INDEX_H
#define UQFF_SAFETENSORS_INDEX_H

#include "safetensors/names.h"
#include "uqff/safetensors.h"

struct uqff_st_index {
    struct uqff_arena arena;
    struct uqff_st_names tensors; /* the keys of weight_map */
    struct uqff_st_names shards;  /* its values; each is a safe name that ends in .safetensors */
    size_t *shard_of;             /* of tensor i */
    size_t capacity;
    /* metadata.total_size; some exporters write it as a float. */
    bool has_total;
    double total;
};

/* Reads and checks the text of an index. `index` is zero-initialised, and freed by the caller also
 * after a failure. */
enum uqff_code uqff_st_index_read(struct uqff_source *source, const struct uqff_warner *warner,
                                  struct uqff_st_index *index,
                                  struct uqff_error *err) UQFF_MUST_CHECK;
void uqff_st_index_free(struct uqff_st_index *index);

#endif
