/*
 * model: what a checkpoint means. Opens a model in any container behind one interface, knows the
 * architectures (which tensors are quantizable modules, what they are called elsewhere), reads
 * weights as rows of float32, and reads importance matrices.
 */
#ifndef UQFF_MODEL_H
#define UQFF_MODEL_H

#include "uqff/container.h"
#include "uqff/gguf.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- architectures --------------------------------------------------------------------------- */

/* What a module does; the categories that llama.cpp's recipes are written in. */
enum uqff_role {
    UQFF_ROLE_OTHER,
    UQFF_ROLE_EMBEDDING,
    UQFF_ROLE_OUTPUT,
    UQFF_ROLE_ATTN_Q,
    UQFF_ROLE_ATTN_K,
    UQFF_ROLE_ATTN_V,
    UQFF_ROLE_ATTN_QKV,
    UQFF_ROLE_ATTN_KV_B,
    UQFF_ROLE_ATTN_OUTPUT,
    UQFF_ROLE_FFN_UP,
    UQFF_ROLE_FFN_GATE,
    UQFF_ROLE_FFN_DOWN,
};

struct uqff_arch {
    const char *name;                   /* Hugging Face model_type: "llama", "qwen3_moe" */
    const char *gguf_name;              /* general.architecture: "llama", "qwen3moe" */
    const char *const *classes;         /* "LlamaForCausalLM", …, NULL-terminated */
    const struct uqff_arch_rule *rules; /* private to model/ */
    bool tied_by_default;               /* tie_word_embeddings when config.json does not say */
};

/* By class ("LlamaForCausalLM"), model_type or general.architecture; NULL when unknown. */
UQFF_API const struct uqff_arch *uqff_arch_find(const char *name);
UQFF_API const struct uqff_arch *uqff_arch_table(size_t *count);
/* The Hugging Face name, without ".weight", of one expert of a stacked module: for
 * "model.layers.0.block_sparse_moe.experts.gate_proj" and expert 3 of Mixtral
 * "model.layers.0.block_sparse_moe.experts.3.w1". Written as snprintf does; returns its length, or
 * 0 where the architecture (which may be NULL) keeps no experts apart. */
UQFF_API size_t uqff_arch_expert_name(const struct uqff_arch *arch, const char *module,
                                      uint64_t expert, char *out, size_t size);

/* The role that llama.cpp sees in a GGUF tensor name ("blk.0.attn_v.weight" → ATTN_V). */
UQFF_API enum uqff_role uqff_role_from_gguf_name(const char *name);

/* ---- configuration --------------------------------------------------------------------------- */

/* How the rotation is stretched to longer contexts (rope_scaling, or rope_parameters). Numbers are
 * 0 and the type is "" where config.json or GGUF metadata do not say; a GGUF has the factors of
 * "longrope" and "llama3" as tensors. */
struct uqff_rope_scaling {
    const char *type; /* "llama3", "yarn", "linear", "longrope", "su", … */
    double factor, low_freq_factor, high_freq_factor;
    double attention_factor, extrapolation_factor, beta_fast, beta_slow;
    uint64_t original_context;                  /* also where it stands outside */
    const double *long_factors, *short_factors; /* of longrope; NULL without */
    size_t long_count, short_count;
};

/* What packing and validation need of config.json (or of GGUF metadata). Where the source does not
 * say, a count is 0 and a string ""; every value present was checked for kind and range. */
struct uqff_config {
    const char *architecture; /* first of "architectures" */
    const char *model_type;
    const char *torch_dtype;
    uint64_t layers, hidden, feed_forward, heads, kv_heads, head_dim, vocabulary;
    uint64_t experts, experts_used;
    uint64_t context; /* max_position_embeddings */
    double rms_epsilon, rope_theta;
    uint64_t expert_feed_forward, shared_expert_feed_forward;
    uint64_t sliding_window, sliding_window_pattern;
    double attention_softcap, output_softcap; /* attn_logit_, final_logit_softcapping */
    uint64_t rotary_dims;                     /* of a head; only from GGUF metadata */
    struct uqff_rope_scaling rope;
    /* Only from config.json. */
    double rotary_share;          /* partial_rotary_factor */
    double query_scalar;          /* query_pre_attn_scalar */
    double rope_local_theta;      /* of sliding layers */
    uint64_t window_from_layer;   /* max_window_layers */
    uint64_t no_rope_interval;    /* every n-th layer does not rotate */
    const char *activation;       /* hidden_activation, hidden_act */
    bool use_sliding_window;      /* asked for by architectures that do not slide by default */
    bool normalize_experts;       /* norm_topk_prob; true from GGUF metadata, which means it */
    const uint8_t *layer_slides;  /* layer_types: 1 for "sliding_attention"; NULL without */
    const uint8_t *layer_rotates; /* no_rope_layers, where 1 means rotation; NULL without */
    size_t layer_slides_count, layer_rotates_count;
    bool tied; /* output head shares the token embedding */
    /* A UQFF whose rows of q and k lie as a GGUF has them (its config.json says so): pairs of the
     * rotation side by side. Such modules are given as they lie, and config.json goes with them. */
    bool rotary_adjacent;
};

/* Reads config.json by itself, as uqff_model_open does: strict JSON, kinds and ranges checked. The
 * strings live in `arena`; `where` names the text in errors. */
UQFF_API enum uqff_code uqff_config_parse(const char *json, size_t size, const char *where,
                                          struct uqff_arena *arena, struct uqff_config *out,
                                          struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- models ---------------------------------------------------------------------------------- */

enum uqff_model_kind {
    UQFF_MODEL_HF, /* a directory or index or file of safetensors */
    UQFF_MODEL_GGUF,
    UQFF_MODEL_UQFF,  /* plain UQFF 1.x, or 0.x, with its residual beside it */
    UQFF_MODEL_MULTI, /* a multi-quant container */
};
UQFF_API const char *uqff_model_kind_name(enum uqff_model_kind kind);
/* What one file is taken for: by its magic, then by its name's ending. Never UQFF_MODEL_MULTI: that
 * a UQFF file holds several quants is found out by opening it. */
UQFF_API enum uqff_code uqff_model_sniff(const char *path, enum uqff_model_kind *out,
                                         struct uqff_error *err) UQFF_MUST_CHECK;

struct uqff_model_options {
    const struct uqff_warner *warner;
    bool allow_newer_minor;
};

struct uqff_model;

/* Opens MODEL or MODEL#variant: a Hugging Face directory, a .safetensors file or index, a .gguf
 * (first of a split set), a .uqff (multi-quant, a shard of a plain set, or UQFF 0.x with
 * config.json beside it), or a directory with UQFF files or with one GGUF. A '#' that is part of an
 * existing file name is taken as such. Without a variant, a multi-quant file gives its default (or
 * only) variant. All containers are validated. UQFF_E_NOT_FOUND when nothing is there, or no model
 * in a directory; UQFF_E_UNKNOWN for a variant that is not there, or with several of which none is
 * the default; else the errors of the container. */
UQFF_API enum uqff_code uqff_model_open(const char *reference,
                                        const struct uqff_model_options *options,
                                        struct uqff_model **out,
                                        struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_model_close(struct uqff_model *model);

UQFF_API enum uqff_model_kind uqff_model_kind(const struct uqff_model *model);
UQFF_API const char *uqff_model_path(const struct uqff_model *model); /* without "#variant" */
/* A name for outputs: the directory's, or the file's without its ending. */
UQFF_API const char *uqff_model_name(const struct uqff_model *model);
UQFF_API const struct uqff_config *uqff_model_config(const struct uqff_model *model);
/* NULL when the architecture is not known. */
UQFF_API const struct uqff_arch *uqff_model_arch(const struct uqff_model *model);
/* The container below, or NULL when the model is of another kind. */
UQFF_API struct uqff_safetensors_set *uqff_model_safetensors(const struct uqff_model *model);
UQFF_API struct uqff_gguf *uqff_model_gguf(const struct uqff_model *model);
UQFF_API struct uqff_container *uqff_model_container(const struct uqff_model *model);
/* True when that container is a view of a UQFF 0.x file: which module each of its numbered layers
 * is follows from the architecture in config.json, and each shape was compared with what that says.
 */
UQFF_API bool uqff_model_is_legacy(const struct uqff_model *model);
/* Index of the variant that this model shows, in its container; UQFF_NONE for other kinds. */
UQFF_API size_t uqff_model_variant(const struct uqff_model *model);

/* True when `path` names one of the files that the model is read from. */
UQFF_API bool uqff_model_is_input(const struct uqff_model *model, const char *path);
/* UQFF_E_CHANGED when one of its files changed since it was opened. */
UQFF_API enum uqff_code uqff_model_unchanged(const struct uqff_model *model,
                                             struct uqff_error *err) UQFF_MUST_CHECK;

/* Tensors as the source lists them, in order of name: safetensors names, GGUF names, or for UQFF
 * `<module>.weight`, `<module>.bias` and residual names.
 *
 * Every tensor reads as what it means, raw bytes and rows alike, in Hugging Face's terms:
 *  - companions that only serve another tensor are folded into it: FP8 with scales is listed as
 * F32, MXFP4 blocks with scales as MXFP4 in ggml's layout;
 *  - from a GGUF of a known architecture, the permutation of q and k rows is undone and the shift
 * of Gemma's norms taken off (listed as F32); a quantized tensor that is no module is listed as
 * F32. Where the bytes are those of the file, uqff_model_tensor_range gives the range. */
struct uqff_tensor {
    const char *name;
    const char *hf_name; /* the same, or from a GGUF of a known architecture its mapped name */
    const char
        *gguf_name;   /* of a residual tensor or bias: its name in a GGUF; NULL if none is known */
    float gguf_shift; /* what a GGUF adds to every value (Gemma's norms: 1), else 0 */
    uint32_t type;    /* enum uqff_type */
    unsigned rank;
    const uint64_t *shape; /* outermost first */
    uint64_t elements, bytes;
};
UQFF_API size_t uqff_model_tensor_count(const struct uqff_model *model);
UQFF_API const struct uqff_tensor *uqff_model_tensor(const struct uqff_model *model, size_t i);
UQFF_API size_t uqff_model_find_tensor(const struct uqff_model *model,
                                       const char *name); /* UQFF_NONE */
/* `n` bytes of a tensor from `offset` on, as its type has them; numbers are little-endian.
 * UQFF_E_ARGUMENT for a range beyond its bytes. */
UQFF_API enum uqff_code uqff_model_read(const struct uqff_model *model, size_t tensor,
                                        uint64_t offset, void *out, size_t n,
                                        struct uqff_error *err) UQFF_MUST_CHECK;
/* Rows of shape[rank-1] elements, counted over all outer dimensions, as float32: rows *
 * shape[rank-1] values (a scalar is a row of one). UQFF_E_ARGUMENT for rows beyond the shape,
 * UQFF_E_TYPE for a type that cannot be decoded. */
UQFF_API enum uqff_code uqff_model_read_rows(const struct uqff_model *model, size_t tensor,
                                             uint64_t first, uint64_t rows, float *out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
/* Where a tensor's bytes lie when they are one range of one file; false otherwise. */
UQFF_API bool uqff_model_tensor_range(const struct uqff_model *model, size_t tensor,
                                      struct uqff_source **source, uint64_t *offset);

/* ---- modules and residual -------------------------------------------------------------------- */

/* A quantizable weight: one tensor, or experts stacked, or rows of a fused tensor. Names are
 * Hugging Face paths without ".weight"; from a GGUF source they are mapped and its row permutation
 * undone. */
struct uqff_model_module {
    const char *name;
    const char *gguf_name; /* "blk.0.attn_q", without ".weight"; NULL when there is none */
    enum uqff_role role;
    int64_t layer; /* -1 outside the layers */
    unsigned rank; /* 2, or 3 for stacked experts [experts, out, in] */
    const uint64_t *shape;
    uint64_t rows;    /* product of all dimensions but the last */
    uint64_t columns; /* the last dimension */
    uint32_t type;    /* of the source's tensors: UINT32_MAX when they differ */
    size_t bias;      /* index of the bias tensor, or UQFF_NONE */
    /* Not 0: a GGUF keeps the rows of the weight and of the bias interleaved within each of that
     * many heads: with D rows a head, its row 2i is row i here and its row 2i+1 is row i + D/2. 0
     * where the rows lie that way already (rotary_adjacent). */
    uint64_t gguf_heads;
};
/* In container order (uqff_module_order). */
UQFF_API size_t uqff_model_module_count(const struct uqff_model *model);
UQFF_API const struct uqff_model_module *uqff_model_module(const struct uqff_model *model,
                                                           size_t i);
UQFF_API size_t uqff_model_find_module(const struct uqff_model *model,
                                       const char *name); /* UQFF_NONE */
/* Rows of `columns` elements as float32: rows * columns values, with the errors of
 * uqff_model_read_rows. */
UQFF_API enum uqff_code uqff_model_read_module_rows(const struct uqff_model *model, size_t module,
                                                    uint64_t first, uint64_t rows, float *out,
                                                    struct uqff_error *err) UQFF_MUST_CHECK;
/* Raw rows, in the module's own order: rows * uqff_row_bytes(type, columns) bytes. UQFF_E_TYPE when
 * its tensors differ in type. */
UQFF_API enum uqff_code uqff_model_module_raw_rows(const struct uqff_model *model, size_t module,
                                                   uint64_t first, uint64_t rows, void *out,
                                                   struct uqff_error *err) UQFF_MUST_CHECK;
/* The source tensors that hold rows [first, first+rows), for messages: name of the first, and the
 * row within it. */
UQFF_API const char *uqff_model_module_source_name(const struct uqff_model *model, size_t module,
                                                   uint64_t row, uint64_t *row_in_tensor);
/* Tensors that belong to no module, by name: they go along unchanged. Indexes into the tensors. An
 * output head that config.json ties to a stored embedding is left out: nothing reads it. */
UQFF_API size_t uqff_model_residual_count(const struct uqff_model *model);
UQFF_API size_t uqff_model_residual(const struct uqff_model *model, size_t i);

/* ---- side files ------------------------------------------------------------------------------ */

/* Side files that travel with a model (config.json, tokenizer.json, …), sorted by path. */
UQFF_API size_t uqff_model_asset_count(const struct uqff_model *model);
UQFF_API const char *uqff_model_asset_path(const struct uqff_model *model, size_t i);
UQFF_API uint64_t uqff_model_asset_size(const struct uqff_model *model, size_t i);
/* The whole content, freed with uqff_free. */
UQFF_API enum uqff_code uqff_model_read_asset(const struct uqff_model *model, size_t i, char **out,
                                              size_t *size, struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- importance matrices --------------------------------------------------------------------- */

struct uqff_imatrix_entry {
    const char *name;    /* as the file has it: "blk.0.attn_q.weight", or a module path */
    uint64_t matrices;   /* 1, or the number of experts; the older forms do not tell and give 1 */
    uint64_t columns;    /* values a matrix: with matrices 1, those of all experts one by one */
    const float *values; /* matrices * columns mean squared activations, finite, not negative */
    /* What they were made of, as the file has it: values are sums / counts. NULL for .cimatrix. */
    const float *sums;   /* matrices * columns */
    const float *counts; /* one a matrix: rows of activations, or in a .dat calls */
};

struct uqff_imatrix;

/* Reads llama.cpp's GGUF form and legacy .dat, and mistral.rs's .cimatrix, told apart by content
 * (GGUF magic), then by structure: .dat begins with a 32-bit, .cimatrix with a 64-bit count. */
UQFF_API enum uqff_code uqff_imatrix_open(const char *path, struct uqff_imatrix **out,
                                          struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_imatrix_close(struct uqff_imatrix *imatrix);
/* Keeps the entries whose name holds (include) or does not hold (exclude) one of the strings. */
UQFF_API void uqff_imatrix_filter(struct uqff_imatrix *imatrix, const char *const *substrings,
                                  size_t count, bool include);
UQFF_API size_t uqff_imatrix_count(const struct uqff_imatrix *imatrix);
UQFF_API const struct uqff_imatrix_entry *uqff_imatrix_entry(const struct uqff_imatrix *imatrix,
                                                             size_t i);
/* The entry of a module, by its GGUF or its own name; NULL when there is none. */
UQFF_API const struct uqff_imatrix_entry *uqff_imatrix_find(const struct uqff_imatrix *imatrix,
                                                            const struct uqff_model_module *module);
UQFF_API const char *uqff_imatrix_dataset(const struct uqff_imatrix *imatrix); /* "" if unknown */
/* Of a merged file, the names of all its texts; uqff_imatrix_dataset is the first of them. */
UQFF_API size_t uqff_imatrix_dataset_count(const struct uqff_imatrix *imatrix);
UQFF_API const char *uqff_imatrix_dataset_at(const struct uqff_imatrix *imatrix, size_t i);
UQFF_API uint64_t uqff_imatrix_chunks(const struct uqff_imatrix *imatrix);     /* 0 if unknown */
UQFF_API uint64_t uqff_imatrix_chunk_size(const struct uqff_imatrix *imatrix); /* 0: not a GGUF */
UQFF_API struct uqff_digest
uqff_imatrix_digest(const struct uqff_imatrix *imatrix); /* of the file */

/* ---- vocabularies ---------------------------------------------------------------------------- */

/* What a tokenizer is made of, and what a GGUF says of it: tokens with scores and types, merges,
 * special ids, split rule. Read from tokenizer.json, tokenizer.model (SentencePiece) or GGUF
 * metadata, and checked: everything that such a file can get wrong is refused here. Immutable. */
struct uqff_vocabulary;

enum uqff_vocabulary_kind {
    UQFF_VOCABULARY_SPM, /* SentencePiece BPE: scores, byte fallback, U+2581 for space */
    UQFF_VOCABULARY_BPE, /* byte-level BPE: merges, a split rule */
};

#define UQFF_NO_TOKEN UINT32_MAX

/* Types as tokenizer.ggml.token_type has them. */
enum uqff_token_type {
    UQFF_TOKEN_NORMAL = 1,
    UQFF_TOKEN_UNKNOWN = 2,
    UQFF_TOKEN_CONTROL = 3,
    UQFF_TOKEN_USER_DEFINED = 4,
    UQFF_TOKEN_UNUSED = 5, /* also a hole in the list of ids */
    UQFF_TOKEN_BYTE = 6,
};

struct uqff_token {
    const char *text; /* as a GGUF spells it: byte-level BPE in its printable alphabet */
    size_t length;
    float score; /* 0 for BPE */
    enum uqff_token_type type;
    bool added; /* stands in added_tokens: matched before splitting */
    bool lstrip, rstrip, normalized, single_word; /* of an added token */
};

struct uqff_merge {
    uint32_t left, right, result; /* ids */
};

struct uqff_vocabulary_info {
    enum uqff_vocabulary_kind kind;
    uint32_t size; /* one more than the largest id */
    size_t merges;
    const char
        *pre; /* llama.cpp's name of the split rule ("llama-bpe"), "default" when it has none;
                 "" for SPM */
    bool pre_known;
    const char *const *patterns; /* split rules in order, as regular expressions; the file's own */
    size_t pattern_count;
    bool ignore_merges; /* a whole piece in the vocabulary is taken as it is */
    bool byte_fallback;
    bool add_prefix_space, remove_extra_whitespace, escape_whitespace;
    bool normalize_nfc, normalize_nfkc, normalize_nfd, normalize_nfkd, lowercase;
    /* UQFF_NO_TOKEN when there is none. eot and eom are also found by their usual texts. */
    uint32_t bos, eos, unknown, padding, eot, eom, mask, separator, classifier;
    bool add_bos, add_eos;
    const char *chat_template; /* NULL when there is none; also from chat_template.jinja */
    size_t chat_template_length;
    /* The space put first (add_prefix_space) only where the text does not begin with one, and only
     * at the beginning of the whole text, not behind every added token. */
    bool prefix_unless_space, prefix_once;
    const char *unsupported; /* what no tokenizer of this version can honour; NULL: nothing */
};

/* From a model: its tokenizer.json, else tokenizer.model, else GGUF metadata; tokenizer_config.json
 * and config.json complete it. UQFF_E_MISSING when it has none. */
UQFF_API enum uqff_code uqff_vocabulary_open(const struct uqff_model *model,
                                             const struct uqff_warner *warner,
                                             struct uqff_vocabulary **out,
                                             struct uqff_error *err) UQFF_MUST_CHECK;
/* From a file: tokenizer.json, tokenizer.model or .gguf, told apart by content; a
 * tokenizer_config.json beside it is read too. */
UQFF_API enum uqff_code uqff_vocabulary_open_path(const char *path,
                                                  const struct uqff_warner *warner,
                                                  struct uqff_vocabulary **out,
                                                  struct uqff_error *err) UQFF_MUST_CHECK;
UQFF_API void uqff_vocabulary_close(struct uqff_vocabulary *vocabulary);
UQFF_API const struct uqff_vocabulary_info *
uqff_vocabulary_info(const struct uqff_vocabulary *vocabulary);
/* id < size; a hole has type UNUSED and length 0. */
UQFF_API struct uqff_token uqff_vocabulary_token(const struct uqff_vocabulary *vocabulary,
                                                 uint32_t id);
/* i < merges; in order of rank, the first before all others. */
UQFF_API struct uqff_merge uqff_vocabulary_merge(const struct uqff_vocabulary *vocabulary,
                                                 size_t i);
/* Id of an exact text, or UQFF_NO_TOKEN. */
UQFF_API uint32_t uqff_vocabulary_find(const struct uqff_vocabulary *vocabulary, const char *text,
                                       size_t length);

#ifdef __cplusplus
}
#endif

#endif
