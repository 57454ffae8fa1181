/* What the files of model/ share. Nothing here is public. */
#ifndef UQFF_MODEL_INTERNAL_H
#define UQFF_MODEL_INTERNAL_H

#include "uqff/model.h"

/* ---- rules of an architecture (arch.c, match.c) ---------------------------------------------- */

enum rule_kind {
    RULE_END,      /* the last row of a list */
    RULE_INCLUDE,  /* another list stands here */
    RULE_MODULE,   /* <hf>.weight is a module, <hf>.bias goes with it */
    RULE_EXPERT,   /* <hf>.weight, with {e} in it, is one expert of the module named `leaf` */
    RULE_FUSED,    /* <hf>[.weight] is [experts, 2*rows, columns]: gate rows, then up rows */
    RULE_RESIDUAL, /* the tensor <hf>, by its full name, stays as it is */
};

enum rule_flags {
    RULE_BARE = 1 << 0,       /* the weight may also be called <hf>, and the bias <hf>_bias */
    RULE_ROTATED = 1 << 1,    /* a GGUF keeps the rows interleaved, within each of its heads */
    RULE_SHIFTED = 1 << 2,    /* a GGUF adds 1 to every value */
    RULE_TRANSPOSED = 1 << 3, /* under its bare name, floats have inputs before outputs */
};

/* One row: `{}` stands for the layer's number, `{e}` for the expert's. `gguf` has the same ending
 * as `hf` (none for modules, a full name for residual tensors) and is NULL where a GGUF has no such
 * tensor. */
struct uqff_arch_rule {
    enum rule_kind kind;
    enum uqff_role role;
    const char *hf;
    const char *gguf;
    const char *leaf; /* EXPERT: last component of the module's name */
    unsigned flags;
    const struct uqff_arch_rule *list; /* INCLUDE */
};

/* A rule that a name satisfies. */
struct rule_match {
    const struct uqff_arch_rule *rule;
    uint64_t layer;  /* UINT64_MAX outside the layers */
    uint64_t expert; /* UINT64_MAX when the pattern has none */
    /* EXPERT: the name's bytes before the expert's number, and from the byte behind it. */
    size_t expert_begin, expert_end;
    bool is_bias;
};

/* A decimal number as names hold it: no sign, no leading zero, at most nine digits. Returns the
 * number of bytes it takes, 0 when there is none. */
size_t uqff_model_parse_number(const char *text, uint64_t *out);

/* Matches the `n` bytes of a name against a pattern that must cover all of them. */
bool uqff_model_match_pattern(const char *pattern, const char *name, size_t n,
                              struct rule_match *out);

/* The rule for a Hugging Face tensor name, weight or bias; false when the architecture has none. */
bool uqff_model_match_hf(const struct uqff_arch *arch, const char *name, struct rule_match *out);
/* The rule (MODULE only) for a module's name. */
bool uqff_model_match_module(const struct uqff_arch *arch, const char *name,
                             struct rule_match *out);
/* The rule for a GGUF tensor name, weight or bias. */
bool uqff_model_match_gguf(const struct uqff_arch *arch, const char *name, struct rule_match *out);
/* Writes a pattern with the match's numbers in place, and `ending` behind it. NULL: no memory. */
char *uqff_model_expand(struct uqff_arena *arena, const char *pattern,
                        const struct rule_match *match, const char *ending);
/* Layer of a name of an unknown architecture: the number behind "layers.", "blk.", "h." …; -1. */
int64_t uqff_model_guess_layer(const char *name);

/* ---- the model ------------------------------------------------------------------------------- */

/* How a tensor's bytes become what it is listed as. */
enum reading {
    READ_PLAIN,   /* as they lie */
    READ_ROTATED, /* GGUF rows of q or k, given in Hugging Face's order */
    READ_MXFP4,   /* blocks and scales apart, given as ggml blocks */
    READ_FP8,     /* float8 times scales, given as float32 */
    READ_SHIFTED, /* any decodable type, decoded and `shift` added, given as float32 */
    READ_BLOB,    /* a container's blob that only the container can decode, given as float32 */
};

enum tensor_use {
    USE_RESIDUAL,
    USE_MODULE,
    USE_BIAS,
    USE_NONE, /* a tied output head */
};

/* A companion's place: scales of FP8 and MXFP4. */
struct companion {
    struct uqff_source *source;
    uint64_t offset;
    uint32_t type;
    uint64_t row_height, column_width; /* FP8: elements of the weight that share a scale */
    uint64_t rows, columns;            /* FP8: scales of one matrix */
};

struct tensor {
    struct uqff_tensor info;
    enum reading reading;
    enum tensor_use use;
    struct uqff_source *source; /* of the first stored byte; NULL for READ_BLOB */
    uint64_t offset;
    uint32_t stored_type;
    uint64_t columns, rows; /* info.shape, seen as rows of the last dimension */
    uint64_t heads;         /* READ_ROTATED */
    float shift;            /* READ_SHIFTED */
    bool keep_residual;     /* of a multi-quant file: it is no module, whatever its name */
    const char *module;     /* the module that it is known to be; NULL: rules decide */
    size_t blob;            /* READ_BLOB */
    struct companion scales;
    char *refusal; /* why its bytes cannot be read; NULL when they can */
};

/* A module's rows come from `part_rows` rows of each part in turn: of the tensors in `parts`, or,
 * when that is NULL, of one tensor, each part `stride` rows behind the last. */
struct module {
    struct uqff_model_module info;
    size_t tensor;
    const size_t *parts;
    uint64_t base, stride, part_rows;
};

struct asset {
    const char *path;
    struct uqff_source *source; /* NULL: an asset of the container */
    uint64_t offset, size;
    size_t index; /* in the container */
};

struct owned_source {
    struct uqff_source *source;
    bool owned; /* closed with the model; else the reader below closes it */
};

struct uqff_model {
    struct uqff_arena arena;
    struct uqff_warner warner;
    bool allow_newer_minor;
    enum uqff_model_kind kind;
    char *path;      /* as it was opened, without #variant */
    char *directory; /* where side files lie */
    char *name;
    struct uqff_config config;
    bool tied_given; /* the source says whether the head is tied */
    const struct uqff_arch *arch;

    struct uqff_safetensors_set *set; /* HF: the weights; plain UQFF: the residual */
    struct uqff_gguf *gguf;
    struct uqff_container *container;
    struct uqff_legacy *legacy; /* of a UQFF 0.x file, which the container is a view of */
    size_t variant;

    struct tensor *tensors; /* by name */
    size_t tensor_count, tensor_capacity;
    struct module *modules; /* in container order */
    size_t module_count;
    size_t *residual;
    size_t residual_count;
    struct asset *assets; /* by path */
    size_t asset_count, asset_capacity;
    struct owned_source *sources;
    size_t source_count, source_capacity;
};

/* ---- backends: each fills config, arch, tensors and assets from one kind of source ----------- */

enum uqff_code uqff_model_open_hf(struct uqff_model *model, const char *weights,
                                  struct uqff_error *err);
enum uqff_code uqff_model_open_gguf(struct uqff_model *model, const char *path,
                                    struct uqff_error *err);
enum uqff_code uqff_model_open_uqff(struct uqff_model *model, const char *path, const char *variant,
                                    struct uqff_error *err);
/* A UQFF 0.x file as model->container. */
enum uqff_code uqff_model_open_legacy(struct uqff_model *model, const char *path,
                                      struct uqff_error *err);
/* Gives the tensors of model->set, companions folded. */
enum uqff_code uqff_model_add_set(struct uqff_model *model, struct uqff_error *err);
/* True when the container holds the weight or bias of that name. */
bool uqff_model_container_has(const struct uqff_model *model, const char *name);

/* Which file of a directory to open, as which kind, and which variant within it (NULL: none asked
 * for). All live in `arena`; `path` of HF is an index or a safetensors file. */
struct located {
    enum uqff_model_kind kind;
    const char *path, *variant;
};
enum uqff_code uqff_model_locate(const char *directory, const char *variant,
                                 const struct uqff_warner *warner, struct uqff_arena *arena,
                                 struct located *out, struct uqff_error *err);

/* ---- reading (read.c, rows.c, assets.c) ------------------------------------------------------ */

/* What a caller's search did not find, UQFF_NONE, is refused before anything is looked up by it. */
static inline enum uqff_code check_index(const struct uqff_model *model, const char *what, size_t i,
                                         size_t count, struct uqff_error *err) {
    return i < count ? UQFF_OK
                     : uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                                 "%s: no such %s: found index %zu, expected one below %zu",
                                 uqff_model_path(model), what, i, count);
}

/* ---- building (tensors.c, claims.c, modules.c) ----------------------------------------------- */

/* Room for one more tensor, zeroed, with `stored_type` etc. to be filled. NULL: no memory, err set.
 */
struct tensor *uqff_model_add_tensor(struct uqff_model *model, struct uqff_error *err);
/* Fills elements, rows and columns from the shape; bytes too, where what is listed is not what is
 * stored. */
enum uqff_code uqff_model_finish_tensor(struct tensor *tensor, struct uqff_error *err);
enum uqff_code uqff_model_sort_tensors(struct uqff_model *model, struct uqff_error *err);
enum uqff_code uqff_model_add_source(struct uqff_model *model, struct uqff_source *source,
                                     bool owned, struct uqff_error *err);
/* Sorts the tensors into modules, biases and residual. */
enum uqff_code uqff_model_group(struct uqff_model *model, struct uqff_error *err);
/* True for types that weights come in: floats of any width and block types. */
bool uqff_model_is_weight_type(uint32_t type);
/* A container's blob as rows: HQQ is decoded whole and cut (uqff.c). */
enum uqff_code uqff_model_blob_rows(const struct uqff_model *model, const struct tensor *tensor,
                                    uint64_t first, uint64_t rows, float *out,
                                    struct uqff_error *err);

/* ---- configuration --------------------------------------------------------------------------- */

enum uqff_code uqff_model_parse_config(const char *json, size_t size, const char *where,
                                       struct uqff_arena *arena, struct uqff_config *out,
                                       bool *tied_given, struct uqff_error *err);
const struct uqff_arch *uqff_model_config_arch(const struct uqff_config *config);
/* Reads config.json of the model's directory when it is there (*found), and sets the architecture.
 */
enum uqff_code uqff_model_load_config(struct uqff_model *model, bool *found,
                                      struct uqff_error *err);
enum uqff_code uqff_model_take_config(struct uqff_model *model, const char *json, size_t size,
                                      const char *where, struct uqff_error *err);
enum uqff_code uqff_model_gguf_config(struct uqff_model *model, struct uqff_error *err);

#define UQFF_CONFIG_LIMIT (16u << 20)

/* ---- side files ------------------------------------------------------------------------------ */

enum uqff_code uqff_model_add_asset(struct uqff_model *model, const char *path,
                                    struct uqff_source *source, uint64_t offset, uint64_t size,
                                    struct uqff_error *err);
/* The side files of the model's directory. */
enum uqff_code uqff_model_find_assets(struct uqff_model *model, struct uqff_error *err);
/* The assets of a multi-quant file. */
enum uqff_code uqff_model_container_assets(struct uqff_model *model, struct uqff_error *err);

#endif
