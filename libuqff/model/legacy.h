/* Which module each numbered layer of a UQFF 0.x file is. Nothing here is public. */
#ifndef UQFF_MODEL_LEGACY_H
#define UQFF_MODEL_LEGACY_H

#include "model/internal.h"

/* What config.json says beyond struct uqff_config; 0 where it is silent. */
struct legacy_config {
    const struct uqff_config *config;
    uint64_t q_rank, kv_rank, nope_dim, rope_dim, value_dim; /* latent attention */
    uint64_t dense_layers;                                   /* first_k_dense_replace */
    uint64_t expert_every;                                   /* moe_layer_freq */
    uint64_t sparse_step;                                    /* decoder_sparse_step */
    uint64_t shared_experts;                                 /* n_shared_experts */
    uint64_t *dense_list;                                    /* mlp_only_layers, sorted */
    size_t dense_count;
};
/* legacy_config.c */
enum uqff_code uqff_legacy_config_read(const char *json, size_t size, const char *where,
                                       struct uqff_arena *arena, struct legacy_config *out,
                                       struct uqff_error *err);

/* legacy_order.c: names the modules of a file by the order of its architecture, every shape
 * compared with what the configuration leads to. `where` names the file, `arch` is what config.json
 * calls the architecture. */
enum uqff_code uqff_legacy_order(const struct uqff_legacy *legacy, const char *where,
                                 const struct legacy_config *config, struct uqff_arena *arena,
                                 struct uqff_legacy_module **out, size_t *count,
                                 struct uqff_error *err);

#endif
