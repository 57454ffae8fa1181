/* UQFF 0.x: what its reader and its view share. Nothing here is public. */
#ifndef UQFF_CONTAINER_LEGACY_H
#define UQFF_CONTAINER_LEGACY_H

#include "container/internal.h"

struct legacy_shard {
    struct uqff_source *source;
    struct uqff_safetensors *file;
};

struct uqff_legacy {
    struct uqff_arena arena;
    struct legacy_shard *shards;
    size_t shard_count;
    struct uqff_legacy_layer *layers; /* by ordinal */
    size_t layer_count;
};

/* legacy_blob.c: reads the blob of one layer. `where` names the file. */
enum uqff_code uqff_legacy_blob(struct uqff_source *source, const struct uqff_st_tensor *tensor,
                                struct uqff_arena *arena, struct uqff_legacy_layer *out,
                                struct uqff_error *err);

#endif
