/* What the files that make, run and reuse plans share. Nothing here is public. */
#ifndef UQFF_PACK_PLAN_H
#define UQFF_PACK_PLAN_H

#include "uqff/pack.h"

/* Metadata keys that a plan writes beside those of the container itself. */
#define UQFF_KEY_SOURCE "uqff.multi.source"
#define UQFF_KEY_IMATRIX "uqff.multi.imatrix"
#define UQFF_KEY_LAYOUT "uqff.multi.layout"

/* One container: the multi-quant file, or the shard set of one quant. */
struct pack_output {
    struct uqff_container_spec spec;
    struct uqff_container_plan *plan;
};

/* A file beside the containers: given content, or a side file of the model as it is. */
struct pack_side {
    const char *name; /* within the directory; at most one folder deep */
    uint64_t bytes;
    const char *content; /* NULL: asset `asset` of the model */
    size_t asset;
};

/* residual.safetensors: its layout, and which residual tensor each entry is. */
struct pack_residual {
    struct uqff_st_layout *layout;
    size_t *tensors; /* indexes into the model's tensors, in data order */
    size_t count;
    uint64_t bytes; /* of the whole file */
};

/* A variant whose types are not chosen by a recipe but given: what export writes. */
struct pack_given {
    const char *name, *recipe;
    uint32_t type;         /* named as its own */
    const uint32_t *types; /* of every module */
};

struct gguf_plan;

struct uqff_pack_plan {
    struct uqff_arena arena;
    const struct uqff_model *model;
    struct uqff_pack_options options;
    struct uqff_imatrix *imatrix;
    const float **importance; /* of every module, or NULL without an imatrix */

    struct uqff_quant *quants;
    struct uqff_pack_variant *variants;
    struct uqff_choice **choices; /* of every variant, for every module */
    uint32_t **types;
    size_t variant_count;
    size_t default_variant; /* or UQFF_NONE */
    bool given;             /* the one variant has the types that the model has */

    const char *directory; /* where everything is written */
    const char *stem;      /* multi-quant only */
    struct uqff_spec_module *modules;
    size_t module_count;
    struct uqff_spec_tensor *residual;
    size_t residual_count;
    struct pack_side *carried; /* side files of the model, and those made for it */
    struct uqff_spec_asset *assets;
    const char **asset_contents; /* compressed or made; NULL: as the model has it */
    size_t asset_count;
    const char *source; /* uqff.multi.source, its digest still zeros */

    struct pack_output *outputs;
    size_t output_count;
    struct gguf_plan *gguf; /* of the format GGUF; there are no containers then */
    bool beside;            /* what mistral.rs wants beside the containers is written too */
    struct pack_residual residual_file;
    struct pack_side *sides;
    size_t side_count;
    struct uqff_pack_file *files;
    size_t file_count;
    uint64_t shared_bytes, residual_bytes, asset_bytes;
};

/* uqff_pack_plan_new, with one variant given instead of quants when `given` is not NULL. */
enum uqff_code uqff_pack_plan_make(const struct uqff_model *model,
                                   const struct uqff_pack_options *options,
                                   const struct pack_given *given, struct uqff_pack_plan **out,
                                   struct uqff_error *err);

/* ---- plan_types.c: quants, importance, types ------------------------------------------------- */

enum uqff_code uqff_pack_plan_quants(struct uqff_pack_plan *plan, struct uqff_error *err);
enum uqff_code uqff_pack_plan_importance(struct uqff_pack_plan *plan, struct uqff_error *err);
enum uqff_code uqff_pack_plan_types(struct uqff_pack_plan *plan, const struct pack_given *given,
                                    struct uqff_error *err);
/* The first module of a variant that mistral.rs could not load, or UQFF_NONE. */
size_t uqff_pack_plan_unloadable(const struct uqff_pack_plan *plan, size_t variant);

/* ---- plan_spec.c: what the containers hold --------------------------------------------------- */

enum uqff_code uqff_pack_plan_spec(struct uqff_pack_plan *plan, struct uqff_error *err);
/* Types of a module's bias: in a file where the module's weight has `type`; of the source. */
uint32_t uqff_pack_bias_form(uint32_t type);
uint32_t uqff_pack_bias_source(uint32_t type);
/* True when a bias of type `from` cannot be told from its form `to` any more. */
bool uqff_pack_bias_loses(uint32_t from, uint32_t to);

/* ---- plan_metadata.c ------------------------------------------------------------------------- */

#define PACK_DIGEST_ZEROS "00000000000000000000000000000000"

/* uqff.multi.source with the digest as zeros, in the plan's arena. */
enum uqff_code uqff_pack_source_json(struct uqff_pack_plan *plan, struct uqff_error *err);
/* The same text with a digest in the place of the one it has; freed with uqff_free. NULL: no
 * memory. */
char *uqff_pack_source_with_digest(const char *json, const struct uqff_digest *digest);
/* The digest that a uqff.multi.source holds; false when it holds none. */
bool uqff_pack_source_digest_of(const char *json, struct uqff_digest *out);
enum uqff_code uqff_pack_imatrix_json(const struct uqff_imatrix *imatrix, struct uqff_arena *arena,
                                      const char **out, struct uqff_error *err);
/* XXH3-128 over a model's tensors: see spec/multi-quant.md. `digests` has one for every tensor. */
enum uqff_code uqff_pack_source_digest(const struct uqff_model *model,
                                       const struct uqff_digest *digests, struct uqff_digest *out,
                                       struct uqff_error *err);
/* The pairs of all metadata: source, imatrix, layout where it is not the usual one, then the
 * user's. */
enum uqff_code uqff_pack_plan_metadata(struct uqff_pack_plan *plan,
                                       const struct uqff_spec_metadata **out, size_t *count,
                                       struct uqff_error *err);

/* ---- plan_output.c: paths -------------------------------------------------------------------- */

/* True for a directory that is there, and for a name that ends in '/': it is made if need be. */
bool uqff_pack_means_directory(const char *output);

/* The directory part of a path becomes plan->directory. */
enum uqff_code uqff_pack_keep_directory(struct uqff_pack_plan *plan, const char *path,
                                        struct uqff_error *err);
/* Adds to the list of files, which has room, and checks the path as uqff_pack_check_path does. */
enum uqff_code uqff_pack_add_file(struct uqff_pack_plan *plan, const char *name, uint64_t bytes,
                                  struct uqff_error *err);
/* Splits options.output into directory and stem. */
enum uqff_code uqff_pack_plan_place(struct uqff_pack_plan *plan, struct uqff_error *err);
/* Lists all files and refuses those that exist or are inputs. */
enum uqff_code uqff_pack_plan_files(struct uqff_pack_plan *plan, struct uqff_error *err);
/* Refuses a path that is an input of the model, or exists while `overwrite` is false. */
enum uqff_code uqff_pack_check_path(const struct uqff_model *model, const char *path,
                                    bool overwrite, struct uqff_error *err);

#endif
