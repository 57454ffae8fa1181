/*
 * container: UQFF files. Reads UQFF 1.0 to 1.2 (plain shard sets, as mistral.rs writes them) and
 * the multi-quant container, and writes both. UQFF 0.x is read by an interface of its own, at the
 * end.
 *
 * spec/multi-quant.md and spec/uqff.md are the normative texts. This part knows entries, blobs and
 * variants; what a module means to a model is the business of uqff/model.h.
 */
#ifndef UQFF_CONTAINER_H
#define UQFF_CONTAINER_H

#include "uqff/quant.h"
#include "uqff/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- element types --------------------------------------------------------------------------- */

/* The one mapping between safetensors' dtypes and the ids of uqff/quant.h. */
UQFF_API uint32_t uqff_type_from_dtype(enum uqff_dtype dtype);
UQFF_API bool uqff_type_to_dtype(uint32_t type, enum uqff_dtype *out); /* false for block types */

/* A type's spelling inside a container: lower case, "q4_k", "bf16". Static thread-local text. */
UQFF_API const char *uqff_type_label(uint32_t type);

/* ---- reader ---------------------------------------------------------------------------------- */

/* Values of `weight.format`. */
enum uqff_format {
    UQFF_FORMAT_GGUF = 0,    /* ggml blocks */
    UQFF_FORMAT_UNQUANT = 1, /* plain floats */
    UQFF_FORMAT_HQQ = 2,
    UQFF_FORMAT_FP8 = 3,
    UQFF_FORMAT_AFQ = 4,
    UQFF_FORMAT_F8Q8 = 5,
    UQFF_FORMAT_MXFP4 = 6,
};
UQFF_API const char *uqff_format_name(enum uqff_format format); /* "gguf", "unquant", "hqq" … */

#define UQFF_NONE SIZE_MAX /* "no such index" wherever one may be absent */

/* An entry of a shard. */
struct uqff_entry {
    size_t shard;
    const struct uqff_st_tensor *tensor; /* as it lies there */
};

/* One module encoded one way. */
struct uqff_blob {
    size_t module;
    enum uqff_format format;
    uint32_t type;     /* enum uqff_type for the formats GGUF, UNQUANT and MXFP4 */
    const char *label; /* "q4_k", "bf16", "afq4", "hqq8", "fp8", "f8q8", "mxfp4" */
    struct uqff_entry entry;
    uint64_t bytes; /* of the weight and, for formats 2 to 6, of its scales and zeros */
};

struct uqff_module {
    const char *name; /* Hugging Face path without ".weight" */
    unsigned rank;
    const uint64_t *shape; /* logical dimensions, outermost first */
    uint64_t weights;      /* product of the shape */
    bool has_bias;
    struct uqff_entry bias; /* as the default variant has it; without one, the source's, which is
                               also the residual tensor "<name>.bias" */
    size_t first_blob, blob_count; /* its blobs are consecutive in the list of blobs */
};

/* A named choice of one blob for every module. A plain UQFF file has one, called by its file stem.
 */
struct uqff_variant {
    const char *name;
    const char *recipe;  /* "Q4_K_M"; "" when the file does not tell */
    uint32_t type;       /* what most modules have; UINT32_MAX when mixed formats make that moot */
    const size_t *blobs; /* index of a blob, for every module */
    uint64_t weights;    /* of all modules */
    uint64_t bytes;      /* of its blobs alone */
};

struct uqff_residual {
    const char *name; /* the source tensor's name */
    struct uqff_entry entry;
};

struct uqff_asset {
    const char *path; /* "config.json", "1_Pooling/config.json" */
    bool compressed;
    struct uqff_entry entry;
};

struct uqff_container;

struct uqff_container_options {
    const struct uqff_warner *warner;
    bool allow_newer_minor; /* read a UQFF minor version above 2 */
};

/* True when a file name has the form STEM-DIGITS.uqff (no leading zeros); then *stem_length and
 * *number are set. */
UQFF_API bool uqff_shard_name_parse(const char *name, size_t *stem_length, uint64_t *number);

/* Opens a .uqff file, or the whole set STEM-0.uqff, STEM-1.uqff, … when `path` is one of its shards
 * (contiguous from 0; a gap is named). Validates everything but the data behind it: every variant
 * resolves, every blob has the size that its shape and type need, side entries are complete and
 * consistent. UQFF_E_VERSION for 0.x files ("a pre-1.0 file"), other majors, newer minors. */
UQFF_API enum uqff_code uqff_container_open(const char *path,
                                            const struct uqff_container_options *options,
                                            struct uqff_container **out,
                                            struct uqff_error *err) UQFF_MUST_CHECK;
/* The same for shards that the caller has opened, shard 0 first: over HTTP, in memory, under other
 * names. `paths` are the shards' names (copied); on success the container owns the sources and
 * closes them, on failure the caller keeps them. */
UQFF_API enum uqff_code uqff_container_open_sources(const char *const *paths,
                                                    struct uqff_source **sources, size_t count,
                                                    const struct uqff_container_options *options,
                                                    struct uqff_container **out,
                                                    struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_container_close(struct uqff_container *container);

UQFF_API bool uqff_container_is_multi(const struct uqff_container *container);
/* UQFF version, e.g. {1, 2, 0}. */
UQFF_API void uqff_container_version(const struct uqff_container *container, uint32_t out[3]);
UQFF_API size_t uqff_container_shard_count(const struct uqff_container *container);
UQFF_API struct uqff_safetensors *uqff_container_shard(const struct uqff_container *container,
                                                       size_t i);
UQFF_API const char *uqff_container_shard_path(const struct uqff_container *container, size_t i);
/* A value of shard 0's __metadata__, or NULL. */
UQFF_API const char *uqff_container_metadata(const struct uqff_container *container,
                                             const char *key);

UQFF_API size_t uqff_container_module_count(const struct uqff_container *container);
UQFF_API const struct uqff_module *uqff_container_module(const struct uqff_container *container,
                                                         size_t i); /* in model order */
UQFF_API size_t uqff_container_find_module(const struct uqff_container *container,
                                           const char *name); /* or UQFF_NONE */
UQFF_API size_t uqff_container_blob_count(const struct uqff_container *container);
UQFF_API const struct uqff_blob *uqff_container_blob(const struct uqff_container *container,
                                                     size_t i);
UQFF_API size_t uqff_container_variant_count(const struct uqff_container *container);
UQFF_API const struct uqff_variant *uqff_container_variant(const struct uqff_container *container,
                                                           size_t i);
UQFF_API size_t uqff_container_default(const struct uqff_container *container); /* or UQFF_NONE */
UQFF_API size_t uqff_container_find_variant(const struct uqff_container *container,
                                            const char *name); /* case-insensitive; UQFF_NONE */
UQFF_API size_t uqff_container_residual_count(const struct uqff_container *container);
UQFF_API const struct uqff_residual *uqff_container_residual(const struct uqff_container *container,
                                                             size_t i); /* by name */
UQFF_API size_t uqff_container_asset_count(const struct uqff_container *container);
UQFF_API const struct uqff_asset *uqff_container_asset(const struct uqff_container *container,
                                                       size_t i); /* by path */
/* The content of an asset, inflated if need be (at most 256 MiB and 200:1), freed by uqff_free. */
UQFF_API enum uqff_code uqff_container_read_asset(const struct uqff_container *container, size_t i,
                                                  char **out, size_t *size,
                                                  struct uqff_error *err) UQFF_MUST_CHECK;
/* Decodes `rows` rows (of shape[rank-1] weights, counted over all outer dimensions) of a blob to
 * float32: rows * shape[rank-1] values. Of a blob in the format HQQ all rows at once. */
UQFF_API enum uqff_code uqff_container_read_rows(const struct uqff_container *container,
                                                 size_t blob, uint64_t first_row, uint64_t rows,
                                                 float *out,
                                                 struct uqff_error *err) UQFF_MUST_CHECK;

/* The stored digest of an entry of a multi-quant file; false in a file without digests. */
UQFF_API bool uqff_container_entry_digest(const struct uqff_container *container,
                                          struct uqff_entry entry, struct uqff_digest *out);
/* The stored digest of a shard's header JSON; compare with uqff_safetensors_header_digest(). */
UQFF_API bool uqff_container_header_digest(const struct uqff_container *container, size_t shard,
                                           struct uqff_digest *out);

/* ---- planning a container -------------------------------------------------------------------- */

/* What a container shall hold. All names and arrays are borrowed until the plan is freed.
 *
 * The order of calls: describe it in a uqff_container_spec and plan; make a writer; append the
 * bytes of every entry of the plan whose kind is BIAS, RESIDUAL, RESIDUAL_BIAS, ASSET, BLOB or
 * SCALES; and publish.
 *
 * A side file that compresses better than 200:1 is planned raw: no reader would inflate it. */
struct uqff_spec_module {
    const char *name;
    unsigned rank; /* 1 to 3; 2 or 3 for block types */
    const uint64_t *shape;
    bool has_bias;          /* a bias of shape[0 .. rank-2] travels with the module */
    uint32_t bias_type;     /* of the source's bias: F32, F16 or BF16 */
    bool bias_kept_exactly; /* multi only: the source's bias also becomes a residual entry, as the
                               form that the default variant wants would lose bits */
};

struct uqff_spec_variant {
    const char *name;
    const char *recipe;
    uint32_t type;         /* named as `type` in the index */
    const uint32_t *types; /* of every module */
};

struct uqff_spec_tensor {
    const char *name;
    uint32_t type; /* one that has a safetensors dtype */
    unsigned rank;
    const uint64_t *shape;
};

struct uqff_spec_asset {
    const char *path;
    uint64_t size; /* bytes stored: compressed if `compressed` */
    bool compressed;
};

struct uqff_spec_metadata {
    const char *key, *value;
};

struct uqff_container_spec {
    bool multi; /* false: a plain UQFF 1.2 shard set of exactly one variant, without residual or
                   assets */
    const char *stem; /* file stem: "llama-q4" gives llama-q4.uqff, or -0.uqff, -1.uqff … */
    const struct uqff_spec_module *modules; /* in model order: uqff_module_order() */
    size_t module_count;
    const struct uqff_spec_variant *variants;
    size_t variant_count;
    size_t default_variant; /* or UQFF_NONE */
    const struct uqff_spec_tensor *residual;
    size_t residual_count;
    const struct uqff_spec_asset *assets;
    size_t asset_count;
    const struct uqff_spec_metadata *metadata; /* beside what the plan itself writes */
    size_t metadata_count;
    unsigned alignment; /* of blobs and residual tensors and of the data section; multi only: 64 */
    uint64_t max_shard; /* bytes of a shard file; 0: one file (plain: 10 GiB of payload) */
};

/* Order of modules in a container: layer number (outside layers first), then name. Compares as
 * strcmp does. */
UQFF_API int uqff_module_order(const char *a, const char *b);

/* True when mistral.rs can load a module of that type, so that it may stand in a default variant. A
 * plain file may have MXFP4 too. */
UQFF_API bool uqff_type_is_mistralrs(uint32_t type);

enum uqff_plan_kind {
    UQFF_PLAN_FIXED,    /* version scalars, side entries, padding: content known from the plan */
    UQFF_PLAN_BIAS,     /* `index`: module; to be written in `type` */
    UQFF_PLAN_RESIDUAL, /* `index`: residual tensor */
    UQFF_PLAN_RESIDUAL_BIAS, /* `index`: module; the source's bias as it is, in `type`: of those
                                with bias_kept_exactly, and of all in a file without a default */
    UQFF_PLAN_ASSET,         /* `index`: asset */
    UQFF_PLAN_BLOB,          /* `index`: module; `type` says how encoded */
    UQFF_PLAN_SCALES,  /* `index`: module of type MXFP4 in a plain file, whose `weight` then has the
                          nibbles alone, neighbours in a byte, and this the exponents */
    UQFF_PLAN_DIGESTS, /* written by the writer itself */
};

struct uqff_plan_entry {
    enum uqff_plan_kind kind;
    const char *name;
    size_t index;
    uint32_t type;
    size_t shard;
    uint64_t offset; /* in the file */
    uint64_t bytes;
};

struct uqff_container_plan;

/* Lays out every shard: all sizes and offsets are known from here on. Pure: no file is touched.
 * UQFF_E_NAME for names that the container cannot carry ('@', control characters, a stem that ends
 * in -DIGITS), UQFF_E_TYPE for a default variant that mistral.rs could not load. */
UQFF_API enum uqff_code uqff_container_plan_new(const struct uqff_container_spec *spec,
                                                struct uqff_container_plan **out,
                                                struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_container_plan_free(struct uqff_container_plan *plan);
UQFF_API size_t uqff_container_plan_shard_count(const struct uqff_container_plan *plan);
UQFF_API const char *uqff_container_plan_shard_name(const struct uqff_container_plan *plan,
                                                    size_t i);
UQFF_API uint64_t uqff_container_plan_shard_bytes(const struct uqff_container_plan *plan, size_t i);
UQFF_API size_t uqff_container_plan_count(const struct uqff_container_plan *plan);
UQFF_API const struct uqff_plan_entry *
uqff_container_plan_entry(const struct uqff_container_plan *plan,
                          size_t i); /* shard, then data order */
/* The blob of a module in a type, or of a bias/residual/asset by kind and index; UQFF_NONE. */
UQFF_API size_t uqff_container_plan_find(const struct uqff_container_plan *plan,
                                         enum uqff_plan_kind kind, size_t index, uint32_t type);

/* ---- writing a planned container ------------------------------------------------------------- */

struct uqff_container_writer;

/* Creates the temporary files of all shards in `directory`. The plan must outlive the writer. */
UQFF_API enum uqff_code uqff_container_writer_new(const struct uqff_container_plan *plan,
                                                  const char *directory, bool overwrite,
                                                  struct uqff_container_writer **out,
                                                  struct uqff_error *err) UQFF_MUST_CHECK;
/* Appends bytes to an entry: each entry's bytes come in order, its digest is taken on the way.
 * Calls for different entries may run on different threads. */
UQFF_API enum uqff_code uqff_container_writer_append(struct uqff_container_writer *writer,
                                                     size_t entry, const void *bytes, size_t n,
                                                     struct uqff_error *err) UQFF_MUST_CHECK;
/* Fills a whole entry from a range of a source, without reading it into memory where possible. A
 * digest already known saves the reading altogether; NULL has it computed. */
UQFF_API enum uqff_code uqff_container_writer_copy(struct uqff_container_writer *writer,
                                                   size_t entry, struct uqff_source *source,
                                                   uint64_t offset,
                                                   const struct uqff_digest *digest,
                                                   struct uqff_error *err) UQFF_MUST_CHECK;
/* The digest of an entry of a multi-quant file that is complete; UQFF_E_INTERNAL of any other. */
UQFF_API enum uqff_code uqff_container_writer_digest(const struct uqff_container_writer *writer,
                                                     size_t entry, struct uqff_digest *out,
                                                     struct uqff_error *err) UQFF_MUST_CHECK;
/* Replaces a metadata value by one of the same length: digests that are known only at the end. */
UQFF_API enum uqff_code uqff_container_writer_metadata(struct uqff_container_writer *writer,
                                                       const char *key, const char *value,
                                                       struct uqff_error *err) UQFF_MUST_CHECK;
/* Writes what is fixed, digests and headers, flushes, reopens every shard with the strict reader
 * and gives the files their names. UQFF_E_INTERNAL when an entry is not complete. */
UQFF_API enum uqff_code uqff_container_writer_publish(struct uqff_container_writer *writer,
                                                      struct uqff_error *err) UQFF_MUST_CHECK;
/* Closes; what was not published is removed. */
UQFF_API void uqff_container_writer_free(struct uqff_container_writer *writer);

/* ---- the report beside a plain directory ----------------------------------------------------- */

/* One output of uqff_report.json. */
struct uqff_report_module {
    const char *name;
    uint32_t type;
    unsigned rank;
    const uint64_t *shape;
};
struct uqff_report_output {
    const char *quant;
    uint32_t type; /* what was asked for */
    const char *const *shards;
    size_t shard_count;
    const struct uqff_report_module *modules;
    size_t module_count;
};
/* Renders uqff_report.json (schema 1), byte-reproducible, into `out`. */
UQFF_API enum uqff_code uqff_report_render(const struct uqff_report_output *outputs, size_t count,
                                           struct uqff_buffer *out,
                                           struct uqff_error *err) UQFF_MUST_CHECK;
/* The quants and shard names of a report, checked as mistral.rs does: outputs not empty, names
 * unique, no shard in two outputs, shard names safe. Lives in `arena`. */
struct uqff_report_entry {
    const char *quant;
    const char *const *shards;
    size_t shard_count;
};
UQFF_API enum uqff_code uqff_report_parse(const char *json, size_t size, const char *where,
                                          struct uqff_arena *arena, struct uqff_report_entry **out,
                                          size_t *count, struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- UQFF 0.x -------------------------------------------------------------------------------- */

/* The generation before 1.0, read only: numbered blobs, without a word about which module each is.
 */

struct uqff_legacy_tensor {
    struct uqff_source *source; /* NULL: there is none */
    uint64_t offset, bytes;
    enum uqff_dtype dtype;
    unsigned rank;
    const uint64_t *shape;
};

struct uqff_legacy_layer {
    uint32_t version; /* major << 16 | minor << 8 | patch */
    enum uqff_format format;
    uint32_t type; /* of the formats GGUF and UNQUANT; else UINT32_MAX */
    unsigned rank; /* of the weight as it is meant, packed or not */
    const uint64_t *shape;
    bool has_bias;
    struct uqff_legacy_tensor weight, scales, zeros, bias; /* AFQ: its biases are the zeros */
    unsigned bits, axis;
    uint32_t group, optimization_steps;
    bool round_zeros, channel_wise;
    unsigned char factors[12]; /* FP8: three f32, as they lie */
    uint32_t dtype_code;       /* FP8 */
    uint32_t blocks;           /* F8Q8 */
};

struct uqff_legacy;

/* *out tells whether every entry of a file is called by a number; what cannot be read is no such
 * file. Fails for want of memory only. */
UQFF_API enum uqff_code uqff_legacy_is(const char *path, bool *out,
                                       struct uqff_error *err) UQFF_MUST_CHECK;
/* Opens a file or, by one of its shards, a whole set. Every length and shape in it is checked
 * against what is there. UQFF_E_VERSION above 0.2. */
UQFF_API enum uqff_code uqff_legacy_open(const char *path, const struct uqff_warner *warner,
                                         struct uqff_legacy **out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_legacy_close(struct uqff_legacy *legacy);
UQFF_API size_t uqff_legacy_count(const struct uqff_legacy *legacy);
UQFF_API const struct uqff_legacy_layer *uqff_legacy_layer(const struct uqff_legacy *legacy,
                                                           size_t i); /* by number */
UQFF_API size_t uqff_legacy_shard_count(const struct uqff_legacy *legacy);
UQFF_API struct uqff_source *uqff_legacy_source(const struct uqff_legacy *legacy, size_t i);

/* What a module is made of: one layer; or several, their rows one behind the other, as the experts
 * of a stack, which has one dimension more, or as parts of a fused weight. */
struct uqff_legacy_module {
    const char *name; /* Hugging Face path without ".weight" */
    const size_t *layers;
    size_t layer_count;
    bool stacked;
};
/* The same weights as UQFF 1.2: a container over the bytes of the old files, which are not copied.
 * Modules are named by the caller; each layer belongs to one of them. `legacy` must outlive the
 * container. Shards are called STEM-0.uqff and so on. UQFF_E_TYPE when layers that are to be one
 * module have forms that cannot be put together. */
UQFF_API enum uqff_code
uqff_legacy_container(const struct uqff_legacy *legacy, const struct uqff_legacy_module *modules,
                      size_t count, const char *stem, const struct uqff_warner *warner,
                      struct uqff_container **out, struct uqff_error *err) UQFF_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
