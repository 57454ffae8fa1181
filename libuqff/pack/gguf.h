/*
 * gguf: a plan for GGUF files.
 *
 * The tensors of a model are listed once, as a GGUF names and shapes them, in the order in which
 * llama-quantize writes them; each quant then has a layout of its own over that list. Weights are
 * encoded by the same slabs as for any other format. Nothing here is public.
 *
 *     gguf_arch.c       what each architecture must have, and how its metadata are called
 *     gguf_tensors.c    the list of tensors
 *     gguf_rope.c       tensors that no checkpoint has
 *     gguf_metadata.c   keys and values
 *     gguf_general.c    general.*
 *     gguf_card.c       what README.md and the directory's name tell
 *     gguf_tokenizer.c  tokenizer.*
 *     gguf_set.c        the user's values
 *     gguf_untold.c     what there is no key for
 *     gguf_plan.c       layouts and files
 *     gguf_run.c        writing
 */
#ifndef UQFF_PACK_GGUF_H
#define UQFF_PACK_GGUF_H

#include "pack/plan.h"

/* ---- architectures (gguf_arch.c) ------------------------------------------------------------- */

/* Numbers that metadata are written from: the configuration with the architecture's own defaults in
 * place of what it does not say, and what follows from it. */
struct gguf_numbers {
    struct uqff_config config;
    uint64_t rotary_dim;     /* elements of a head that are rotated */
    double attention_factor; /* of longrope; 0 without */
};

enum gguf_key_kind {
    GGUF_KEY_COUNT,        /* a u32 from a uint64_t; left out when it is 0 */
    GGUF_KEY_FIXED,        /* the same, written when it is 0 as well */
    GGUF_KEY_REAL,         /* an f32 from a double; left out when it is 0 */
    GGUF_KEY_ROPE_SCALING, /* the keys of linear and YaRN scaling */
    GGUF_KEY_FILE_TYPE,
    GGUF_KEY_INCLUDE, /* another list stands here */
    GGUF_KEY_END,
};

struct gguf_key {
    enum gguf_key_kind kind;
    const char *name;   /* behind "<architecture>." */
    size_t offset;      /* in struct gguf_numbers */
    const char *needed; /* what config.json calls it, when llama.cpp cannot do without */
    const struct gguf_key *list;
};

struct gguf_arch {
    const char *name; /* of struct uqff_arch */
    const struct gguf_key *keys;
    const char *const *required; /* tensors; "{}" stands for each layer's number */
    const char *const *optional;
    const struct uqff_config *defaults; /* NULL: none */
    bool no_space_prefix;               /* whatever the tokenizer says */
};

/* NULL when nothing is known of how a GGUF keeps the architecture. */
const struct gguf_arch *uqff_gguf_arch(const struct uqff_arch *arch);
/* A pattern of such a list with a layer's number in place. */
enum { UQFF_GGUF_PATTERN_MAX = 128 };
void uqff_gguf_expand(char *out, size_t size, const char *pattern, uint64_t layer);
bool uqff_gguf_is_listed(const char *const *patterns, const char *name, int64_t layer);
/* The names of all that are known, with commas, for messages. */
const char *uqff_gguf_arch_names(struct uqff_arena *arena);
void uqff_gguf_numbers(const struct gguf_arch *arch, const struct uqff_config *config,
                       struct gguf_numbers *out);

/* ---- the plan -------------------------------------------------------------------------------- */

enum gguf_entry_kind {
    GGUF_MODULE, /* a module's weight, in each variant's type */
    GGUF_BIAS,   /* a module's bias */
    GGUF_FLOATS, /* a residual tensor */
    GGUF_COPY,   /* a tensor of the source GGUF, byte for byte */
    GGUF_MADE,   /* content that is computed here */
};

struct gguf_entry {
    const char *name;
    enum gguf_entry_kind kind;
    size_t index;  /* of the module; of the tensor (FLOATS) */
    int64_t layer; /* -1 outside */
    unsigned n_dims;
    uint64_t ne[4];                        /* innermost first */
    uint32_t type;                         /* but for MODULE */
    const unsigned char *content;          /* MADE */
    const struct uqff_gguf_tensor *copied; /* COPY */
};

struct gguf_output {
    const char *stem;
    struct uqff_gguf_layout *layout;
};

struct gguf_plan {
    const char *architecture;     /* general.architecture */
    const struct gguf_arch *arch; /* NULL: from a GGUF whose architecture is not known here */
    struct gguf_numbers numbers;
    struct uqff_gguf *source;           /* whose metadata are taken over; NULL: they are made */
    struct uqff_gguf *carried;          /* the same, of a model that was a GGUF before; to close */
    struct uqff_vocabulary *vocabulary; /* while planning */
    uint64_t vocabulary_rows;           /* of the embedding */
    uint64_t weights, expert_weights;   /* elements of all tensors; of stacked experts */
    struct gguf_entry *entries;
    size_t count, capacity;
    struct gguf_output *outputs; /* one a variant */
    size_t output_count;         /* of those begun */
};

/* The keys that a model which was a GGUF before carries along; NULL when it has none. */
enum uqff_code uqff_gguf_open_carried(const struct uqff_model *model, struct uqff_gguf **out,
                                      struct uqff_error *err);

/* plan->gguf, from quants and types: entries, layouts, files. */
enum uqff_code uqff_gguf_plan(struct uqff_pack_plan *plan, struct uqff_error *err);
void uqff_gguf_plan_free(struct gguf_plan *gguf);
/* Splits options.output into directory and stem; the stem is NULL where each quant has its own. */
enum uqff_code uqff_gguf_place(struct uqff_pack_plan *plan, struct uqff_error *err);
/* uqff_pack_run for such a plan. */
enum uqff_code uqff_gguf_run(struct uqff_pack_plan *plan, const struct uqff_progress *progress,
                             struct uqff_error *err);

/* Fills gguf->entries. */
enum uqff_code uqff_gguf_tensors(struct uqff_pack_plan *plan, struct uqff_error *err);
enum uqff_code uqff_gguf_add_entry(struct uqff_pack_plan *plan, const struct gguf_entry *entry,
                                   struct uqff_error *err);
/* The number in "blk.N.", or -1. */
int64_t uqff_gguf_layer(const char *name);
/* The tensor of a source GGUF that is a module's weight, whole; NULL without. */
const struct uqff_gguf_tensor *uqff_gguf_module_tensor(const struct uqff_model *model,
                                                       size_t module);
bool uqff_gguf_has_entry(const struct gguf_plan *gguf, const char *name);

/* Warns of what the configuration says and a GGUF cannot. */
void uqff_gguf_untold(const struct uqff_pack_plan *plan);

/* Adds rope_freqs.weight, or rope_factors_long.weight and rope_factors_short.weight. */
enum uqff_code uqff_gguf_rope(struct uqff_pack_plan *plan, struct uqff_error *err);
/* Frequency `i` of a head with `dims` rotated elements, the same on every machine, and what Llama
 * 3's scaling divides it by. */
double uqff_gguf_frequency(double theta, uint64_t dims, size_t i);
double uqff_gguf_llama3_factor(const struct uqff_rope_scaling *rope, double theta, uint64_t dims,
                               size_t i);
/* What attention is scaled by under longrope, 0 for other rotations. */
double uqff_gguf_attention_factor(const struct uqff_config *config);

/* ---- metadata -------------------------------------------------------------------------------- */

/* Sets all keys of one variant's layout. */
enum uqff_code uqff_gguf_metadata(struct uqff_pack_plan *plan, size_t variant,
                                  struct uqff_error *err);
/* Names of sampling settings in generation_config.json and in a GGUF. */
struct gguf_sampling {
    const char *json, *key;
    bool integer;
};
enum { GGUF_SAMPLINGS = 11 };
extern const struct gguf_sampling uqff_gguf_samplings[GGUF_SAMPLINGS];
/* general.* from side files and the directory's name, but for the architecture. */
enum uqff_code uqff_gguf_general(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                 struct uqff_error *err);
enum uqff_code uqff_gguf_tokenizer(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                   struct uqff_error *err);
/* The user's values. */
enum uqff_code uqff_gguf_set_values(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                    struct uqff_error *err);
/* Whether the user sets a key. */
bool uqff_gguf_user_sets(const struct uqff_pack_plan *plan, const char *key);

/* ---- README.md and names (gguf_card.c) ------------------------------------------------------- */

struct gguf_texts {
    const char **items;
    size_t count, capacity;
};

/* Strings live in the arena; NULL where there is nothing. */
struct gguf_card {
    const char *name, *author, *organization, *description, *quantized_by;
    const char *license, *license_name, *license_link;
    struct gguf_texts tags, languages, base_models, datasets;
};
/* The front matter of a README.md, as far as it is simple YAML. */
enum uqff_code uqff_gguf_card_parse(const char *text, size_t size, struct uqff_arena *arena,
                                    struct gguf_card *out, struct uqff_error *err);
void uqff_gguf_card_free(struct gguf_card *card);

/* What the parts of a name like "Meta-Llama-3.1-8B-Instruct" are. NULL where there is no such. */
struct gguf_name {
    const char *title, *basename, *size_label, *finetune, *version;
};
enum uqff_code uqff_gguf_name_parse(const char *name, struct uqff_arena *arena,
                                    struct gguf_name *out, struct uqff_error *err);
/* "8.0B", "8x7B": as llama.cpp's converter rounds. */
const char *uqff_gguf_size_label(uint64_t weights, uint64_t expert_weights, uint64_t experts,
                                 struct uqff_arena *arena);

#endif
