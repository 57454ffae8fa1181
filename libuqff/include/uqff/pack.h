/*
 * pack: from a model to quantized outputs. Recipes choose a type for every module, a plan lays
 * every output out, a run reads the source once and writes all of them. Export, editing of
 * variants, verification, comparison and statistics stand on the same pieces.
 */
#ifndef UQFF_PACK_H
#define UQFF_PACK_H

#include "uqff/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- quants: what a user may ask for --------------------------------------------------------- */

enum uqff_quant_family {
    UQFF_QUANT_LLAMACPP,  /* a llama.cpp file type: its recipe decides per tensor */
    UQFF_QUANT_UNIFORM,   /* one type, with llama.cpp's list of what is never quantized */
    UQFF_QUANT_MISTRALRS, /* one type, with mistral.rs's promotion and fallbacks */
};

struct uqff_quant {
    char name[48];      /* as written, lower case: the variant's name */
    const char *recipe; /* "Q4_K_M", "Q8_1", "mistralrs:Q4K"; static */
    enum uqff_quant_family family;
    uint32_t type; /* base type */
    int file_type; /* llama.cpp's ftype id; -1 otherwise */
};

/* Case-insensitive. UQFF_E_UNKNOWN with "did you mean" for names that nobody knows, UQFF_E_TYPE for
 * types that are known but cannot be encoded or stored (Q8_K, IQ2_XS, …). */
UQFF_API enum uqff_code uqff_quant_parse(const char *text, struct uqff_quant *out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
/* Every name that uqff_quant_parse takes in its usual spelling, for help and completions. */
UQFF_API const char *const *uqff_quant_names(size_t *count);

/* ---- recipes: pure functions ----------------------------------------------------------------- */

struct uqff_recipe_tensor {
    const char *name;      /* module name, without ".weight" */
    const char *gguf_name; /* with or without ".weight"; NULL when unknown */
    enum uqff_role role;
    int64_t layer; /* -1 outside */
    uint64_t columns;
    uint64_t matrices; /* experts of a stack, else 1 */
    /* Of the source: what a tensor that llama.cpp never quantizes keeps when it is F16 or BF16; it
     * becomes F32 otherwise, so 0 (F32) is a safe default. */
    uint32_t source_type;
};

struct uqff_recipe_model {
    const char *gguf_arch; /* "llama"; "" when unknown */
    uint64_t layers, heads, kv_heads, experts;
    bool has_importance;
};

/* One `--tensor-type REGEX=TYPE`; the first that matches wins. */
struct uqff_type_rule {
    const char *pattern; /* PCRE2, searched in both names (with ".weight"), case as written */
    uint32_t type;
};

struct uqff_recipe_options {
    const struct uqff_type_rule *rules;
    size_t rule_count;
    /* As uqff_type_info or uqff_type_by_name gives them; NULL: by the recipe. */
    const struct uqff_type_info *output_type, *embedding_type;
    bool pure;        /* no mixture, no promotion */
    bool no_fallback; /* a shape that does not fit is an error */
};

enum uqff_why {
    UQFF_WHY_BASE,      /* the recipe's base type */
    UQFF_WHY_MIXTURE,   /* a rule of the recipe */
    UQFF_WHY_PROMOTION, /* embedding or head */
    UQFF_WHY_RULE,      /* the user's pattern, --output-type or --embedding-type */
    UQFF_WHY_FALLBACK,  /* the row length is no multiple of the wanted type's block */
};
UQFF_API const char *uqff_why_name(enum uqff_why why);

struct uqff_choice {
    uint32_t type;
    uint32_t wanted; /* before the fallback; equal to `type` without one */
    enum uqff_why why;
};

/* Chooses a type for every tensor. The order of the list does not matter: llama.cpp's processing
 * order (layer, then GGUF name) is established inside. UQFF_E_SHAPE under no_fallback,
 * UQFF_E_ARGUMENT for a pattern that does not compile (named, with the position). */
UQFF_API enum uqff_code uqff_recipe_choose(const struct uqff_quant *quant,
                                           const struct uqff_recipe_model *model,
                                           const struct uqff_recipe_tensor *tensors, size_t count,
                                           const struct uqff_recipe_options *options,
                                           struct uqff_choice *out,
                                           struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- packing --------------------------------------------------------------------------------- */

enum uqff_pack_format {
    UQFF_PACK_UQFF,      /* one multi-quant file (or shard set) */
    UQFF_PACK_MISTRALRS, /* a directory as mistral.rs wants it */
    UQFF_PACK_GGUF,      /* a GGUF file (or split set) a quant, as llama.cpp wants it */
};

struct uqff_metadata_pair {
    const char *key, *value;
};

struct uqff_pack_options {
    enum uqff_pack_format format;
    /* UQFF: a file that ends in .uqff, or a directory, for <model name>.uqff in it. MISTRALRS: a
     * directory, made if need be. GGUF: a file that ends in .gguf, for one quant, or a directory,
     * for <model name>-<QUANT>.gguf in it. Where a file could be meant, a directory is one that is
     * there, or a name that ends in '/', which is made if need be. NULL: <model name>.uqff,
     * <model name>-UQFF or <model name>-<QUANT>.gguf here. */
    const char *output;
    const char *const *quants;
    size_t quant_count;
    const char *default_quant; /* one of the quants; NULL: the first that mistral.rs can load */
    bool sidecars; /* also write what mistral.rs wants beside the file; takes a default variant */
    bool compress_assets;
    const char
        *imatrix; /* path, or NULL; what it lacks, or has as zeros, weighs 1, with a warning */
    const char *const *include_weights, *const *exclude_weights; /* filters of its entries */
    size_t include_count, exclude_count;
    struct uqff_recipe_options recipe;
    unsigned alignment; /* 0: 64; of a GGUF 32, or the source's */
    uint64_t max_shard; /* 0: no limit */
    uint64_t memory;    /* bytes that slabs and conversions take at most; 0: 256 MiB */
    unsigned threads;   /* 0: all available */
    bool allow_requantize, allow_nonfinite, overwrite;
    const struct uqff_metadata_pair *metadata; /* --set; keys of "uqff." are refused */
    size_t metadata_count; /* of a GGUF: values may be TYPE:VALUE (u32:7, f32:1e-5, str:text) */
    bool no_tokenizer;     /* GGUF: leave the tokenizer out; without it a missing one is an error */
    const struct uqff_warner *warner;
};

struct uqff_pack_plan;

/* Decides everything: types, sizes, offsets, file names. No weight is read, nothing is written. The
 * model and all that the options point to must outlive the plan. Refuses an output that is an input
 * (UQFF_E_IS_INPUT) or exists (UQFF_E_EXISTS) unless `overwrite`; a quantized source that would
 * become another type unless `allow_requantize` (UQFF_E_ARGUMENT; the same type is copied); an
 * importance vector of another length (UQFF_E_SHAPE); a default that mistral.rs cannot load
 * (UQFF_E_ARGUMENT). */
UQFF_API enum uqff_code uqff_pack_plan_new(const struct uqff_model *model,
                                           const struct uqff_pack_options *options,
                                           struct uqff_pack_plan **out,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_pack_plan_free(struct uqff_pack_plan *plan);

struct uqff_pack_file {
    const char *path;
    uint64_t bytes;
};
struct uqff_pack_variant {
    const struct uqff_quant *quant;
    uint64_t weights, bytes; /* of its modules' blobs alone */
    size_t fallbacks;
    bool is_default;
};
UQFF_API size_t uqff_pack_plan_file_count(const struct uqff_pack_plan *plan);
UQFF_API struct uqff_pack_file uqff_pack_plan_file(const struct uqff_pack_plan *plan, size_t i);
UQFF_API size_t uqff_pack_plan_variant_count(const struct uqff_pack_plan *plan);
UQFF_API const struct uqff_pack_variant *uqff_pack_plan_variant(const struct uqff_pack_plan *plan,
                                                                size_t i);
/* The choice for a module (index of uqff_model_module) in a variant, and its bytes. */
UQFF_API struct uqff_choice uqff_pack_plan_choice(const struct uqff_pack_plan *plan, size_t variant,
                                                  size_t module);
UQFF_API uint64_t uqff_pack_plan_bytes(const struct uqff_pack_plan *plan, size_t variant,
                                       size_t module);
/* Bytes of blobs that several variants share, counted once; of residual tensors; of side files. */
UQFF_API uint64_t uqff_pack_plan_shared_bytes(const struct uqff_pack_plan *plan);
UQFF_API uint64_t uqff_pack_plan_residual_bytes(const struct uqff_pack_plan *plan);
UQFF_API uint64_t uqff_pack_plan_asset_bytes(const struct uqff_pack_plan *plan);

/* Reads every source row once, encodes it as every type that an output needs, and publishes all
 * outputs when they are complete. On failure nothing is left behind. UQFF_E_NONFINITE names the
 * tensor and the first element, unless `allow_nonfinite`, which makes it a warning; so does a value
 * that becomes infinite as F16. UQFF_E_CHANGED when the source was modified meanwhile. A plan runs
 * once. */
UQFF_API enum uqff_code uqff_pack_run(struct uqff_pack_plan *plan,
                                      const struct uqff_progress *progress,
                                      struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- export and editing ---------------------------------------------------------------------- */

enum uqff_export_format {
    UQFF_EXPORT_MISTRALRS,   /* a directory; byte for byte what packing that quant alone gives */
    UQFF_EXPORT_SAFETENSORS, /* decoded, Hugging Face names, a directory with the side files */
    UQFF_EXPORT_GGUF,        /* what packing that quant alone as GGUF gives, blocks as they are */
};

struct uqff_export_options {
    enum uqff_export_format format;
    /* Directory; NULL: <name>-<variant> here. GGUF: as for packing. */
    const char *output;
    /* Safetensors: F32, F16 or BF16, as uqff_type_info gives it; NULL: the type that the config
     * names, else BF16. */
    const struct uqff_type_info *dtype;
    uint64_t max_shard, memory;
    unsigned threads;
    bool overwrite;
    bool no_tokenizer; /* GGUF, as for packing */
    const struct uqff_warner *warner;
    const struct uqff_metadata_pair *metadata; /* GGUF, as for packing */
    size_t metadata_count;
    /* NULL, or a pointer that is NULL and becomes, for uqff_free, the path of the file that is
     * written, of the first when there are several; with a directory it stays NULL. */
    char **written;
};
/* Exports the variant that `model` shows. Decoded: modules and biases become `dtype`, residual
 * tensors stay as they are, and config.json tells the type. Experts that the architecture's
 * checkpoints keep apart get their own tensors again ("….experts.3.w1.weight"), which the module's
 * type in a stack had put together; where the architecture table knows none, or is not known, the
 * stack stays one tensor
 * "<module>.weight". `max_shard` cuts model-0000N-of-0000M.safetensors, with their index. */
UQFF_API enum uqff_code uqff_export(const struct uqff_model *model,
                                    const struct uqff_export_options *options,
                                    const struct uqff_progress *progress,
                                    struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- conversion ------------------------------------------------------------------------------ */

enum uqff_convert_target {
    UQFF_CONVERT_AUTO,      /* by the output's name; see below */
    UQFF_CONVERT_HF,        /* a directory: safetensors and side files, as Hugging Face has them */
    UQFF_CONVERT_MISTRALRS, /* a directory: UQFF 1.2, as mistral.rs has it */
    UQFF_CONVERT_UQFF,      /* a multi-quant file of one variant */
    UQFF_CONVERT_GGUF,
};

struct uqff_convert_options {
    /* A name that ends in .gguf or .uqff is such a file; any other, or a directory that is there,
     * is a directory: Hugging Face's when all weights will be floats, else mistral.rs's, as always
     * from UQFF 0.x, unless `target` says which. Must be given. */
    const char *output;
    enum uqff_convert_target target;
    const char *quant; /* what weights become; NULL: they keep their types */
    bool allow_requantize, overwrite;
    bool no_tokenizer; /* GGUF, as for packing */
    uint64_t max_shard, memory;
    unsigned threads;
    const struct uqff_warner *warner;
    const struct uqff_metadata_pair *metadata; /* GGUF, as for packing */
    size_t metadata_count;
    char **written; /* as for exporting */
};
/* The target that the options mean for this model. */
UQFF_API enum uqff_code uqff_convert_target(const struct uqff_model *model,
                                            const struct uqff_convert_options *options,
                                            enum uqff_convert_target *out,
                                            struct uqff_error *err) UQFF_MUST_CHECK;
/* Writes a model in another container. Without a quant all weights keep their types: blocks move
 * without being encoded again, rows of q and k and the Gemmas' norms take the form that the target
 * has, names are mapped. UQFF_E_TYPE, with a suggestion, for a type that the target lacks. A model
 * that was a GGUF carries its metadata (gguf-metadata.bin) and gets them back when it becomes one
 * again; config.json, generation_config.json, tokenizer.json and tokenizer_config.json are made of
 * them where they are wanted. UQFF_E_UNSUPPORTED when nothing is known of the architecture in the
 * target's terms. Other refusals are those of packing. On failure nothing is left behind.
 *
 * UQFF 0.x becomes a directory of UQFF 1.2 with every payload as it is, and residual.safetensors,
 * which must be there, copied. */
UQFF_API enum uqff_code uqff_convert(const struct uqff_model *model,
                                     const struct uqff_convert_options *options,
                                     const struct uqff_progress *progress,
                                     struct uqff_error *err) UQFF_MUST_CHECK;

struct uqff_variants_edit {
    const char *const *add; /* quants to add, encoded from `from` */
    size_t add_count;
    const struct uqff_model *from;
    const char *const *drop; /* variants to drop */
    size_t drop_count;
    const char *default_variant; /* NULL: keep, or as a fresh pack would choose */
    /* Recipe options, imatrix, memory and threads for `add`; may be NULL. The imatrix must be the
     * one that the file was packed with. */
    const struct uqff_pack_options *pack;
};
/* Rewrites a multi-quant file with other variants: the bytes that a fresh pack with these variants
 * would give. The old file is replaced only when the new one is complete. `from` must be the model
 * that the file was packed from: its digest is compared (UQFF_E_DIGEST). */
UQFF_API enum uqff_code uqff_variants_rewrite(const char *path,
                                              const struct uqff_variants_edit *edit,
                                              const struct uqff_progress *progress,
                                              struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- verification ---------------------------------------------------------------------------- */

enum uqff_severity { UQFF_NOTE, UQFF_WARNING, UQFF_FAILURE };

/* Receives findings, one printable line each. `code` is a stable word:
 *  - any file: format, digest, header-digest, no-digests, nonfinite, nonfinite-scale, padding,
 *    zero, asset, big-endian, target;
 *  - recomputing: recompute, recipe;
 *  - for mistral.rs: no-default, unloadable-type, float-blocks, block, version, dtype, experts,
 *    tied, name, bias, residual-incomplete, residual-moved, sidecar, checkpoint, config, report;
 *  - for llama.cpp: version, big-endian, alignment, key, limit, nested-array, layout, name, type,
 *    tensors, architecture, tokenizer, not-a-model. */
struct uqff_findings {
    void (*add)(void *context, enum uqff_severity severity, const char *code, const char *text);
    void *context;
};

enum uqff_target { UQFF_TARGET_NONE, UQFF_TARGET_MISTRALRS, UQFF_TARGET_LLAMACPP };

struct uqff_verify_options {
    bool strict; /* warnings about what a format does not forbid become failures */
    enum uqff_target target;
    const struct uqff_model *recompute;   /* encode again from this source and compare; or NULL */
    const struct uqff_pack_options *pack; /* recipe options of the recomputation; may be NULL */
    bool allow_newer_minor;
    unsigned threads;
};
/* Verifies a file or directory (all model files in it): structure, digests, non-finite and
 * impossible scales, and what a target program demands. FILE#variant looks at that variant's blobs
 * alone. Failing checks are findings, in an order that does not depend on the threads; *passed
 * tells whether any was a failure. An error is returned only when the file cannot be read or
 * parsed, or under UQFF_E_CANCELLED and the like. `options` may be NULL. */
UQFF_API enum uqff_code uqff_verify(const char *path, const struct uqff_verify_options *options,
                                    const struct uqff_findings *findings,
                                    const struct uqff_progress *progress, bool *passed,
                                    struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- statistics and comparison --------------------------------------------------------------- */

/* Of one tensor, over all its elements. */
struct uqff_tensor_stats {
    double min, max, mean, deviation; /* of the decoded finite values */
    uint64_t zeros, nonfinite, elements;
    bool has_scales; /* a block type: then the range of its scales, as uqff_scan_scales gives it */
    float scale_min, scale_max;
};
/* `tensor` as of uqff_model_tensor; `threads` 0: all available. UQFF_E_TYPE for a type that cannot
 * be decoded. */
UQFF_API enum uqff_code uqff_model_stats(const struct uqff_model *model, size_t tensor,
                                         unsigned threads, struct uqff_tensor_stats *out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;

enum uqff_difference_kind {
    UQFF_DIFF_METADATA, /* a metadata key, configuration value or side file */
    UQFF_DIFF_ONLY_A,   /* a tensor in A alone */
    UQFF_DIFF_ONLY_B,
    UQFF_DIFF_TYPE,
    UQFF_DIFF_SHAPE,
    UQFF_DIFF_VALUES, /* bytes or values differ */
};
struct uqff_difference {
    enum uqff_difference_kind kind;
    const char *name;
    const char *a, *b;        /* what each has, printable; "" when absent */
    double max_abs, rel_rmse; /* VALUES: largest difference, RMS error relative to A's RMS; 0 when
                                 only bytes were compared, infinite where one side is not finite */
    uint64_t count; /* VALUES: differing elements; of bytes: elements in differing blocks */
};
struct uqff_diff_options {
    bool values;      /* compare decoded values where bytes or types differ: another type is then
                         no difference by itself */
    double tolerance; /* values: largest relative RMS error that counts as equal */
    unsigned threads;
};
/* Compares two models tensor by tensor, across containers (names are mapped to Hugging Face's), and
 * calls `report` for each difference. *equal tells whether there was none. */
UQFF_API enum uqff_code uqff_diff(const struct uqff_model *a, const struct uqff_model *b,
                                  const struct uqff_diff_options *options,
                                  void (*report)(void *context, const struct uqff_difference *),
                                  void *context, const struct uqff_progress *progress, bool *equal,
                                  struct uqff_error *err) UQFF_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
