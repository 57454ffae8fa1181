/* The files that mistral.rs wants beside its shards: residual.safetensors, config.json and the
 * other side files, uqff_report.json. */
#ifndef UQFF_PACK_SIDECARS_H
#define UQFF_PACK_SIDECARS_H

#include "pack/plan.h"

/* Plans all of them: plan->residual_file and plan->sides. */
enum uqff_code uqff_sidecars_plan(struct uqff_pack_plan *plan, struct uqff_error *err);

/* Lays out a safetensors file of the model's residual tensors: by dtype rank, highest first, then
 * by name, as the reference writer orders them. */
enum uqff_code uqff_sidecars_residual(const struct uqff_model *model, struct uqff_arena *arena,
                                      struct pack_residual *out, struct uqff_error *err);

/* Renders config.json again: pretty, in its own order, numbers as written, every
 * "quantization_config" left out. `dtype`, unless NULL, replaces the values of the outermost
 * "torch_dtype" and "dtype". */
enum uqff_code uqff_sidecars_config(const char *json, size_t size, const char *where,
                                    const char *dtype, struct uqff_buffer *out,
                                    struct uqff_error *err);

/* Side files as they are to be written: config.json rendered as above. They live in `arena`. */
enum uqff_code uqff_sidecars_render(const struct uqff_model *model, const char *dtype,
                                    struct uqff_arena *arena, struct pack_side *sides, size_t count,
                                    struct uqff_error *err);

#endif
