/*
 * recipe: what the parts of the recipe code share: llama.cpp's file types, its mixture rules as a
 * table, the shape fallbacks and the user's patterns.
 */
#ifndef UQFF_PACK_RECIPE_H
#define UQFF_PACK_RECIPE_H

#include "uqff/pack.h"

/* llama.cpp's ids of file types. The gaps are types that it gave up. */
enum file_type_id {
    FT_F32 = 0,
    FT_F16 = 1,
    FT_Q4_0 = 2,
    FT_Q4_1 = 3,
    FT_Q8_0 = 7,
    FT_Q5_0 = 8,
    FT_Q5_1 = 9,
    FT_Q2_K = 10,
    FT_Q3_K_S = 11,
    FT_Q3_K_M = 12,
    FT_Q3_K_L = 13,
    FT_Q4_K_S = 14,
    FT_Q4_K_M = 15,
    FT_Q5_K_S = 16,
    FT_Q5_K_M = 17,
    FT_Q6_K = 18,
    FT_IQ2_XXS = 19,
    FT_IQ2_XS = 20,
    FT_Q2_K_S = 21,
    FT_IQ3_XS = 22,
    FT_IQ3_XXS = 23,
    FT_IQ1_S = 24,
    FT_IQ4_NL = 25,
    FT_IQ3_S = 26,
    FT_IQ3_M = 27,
    FT_IQ2_S = 28,
    FT_IQ2_M = 29,
    FT_IQ4_XS = 30,
    FT_IQ1_M = 31,
    FT_BF16 = 32,
    FT_TQ1_0 = 36,
    FT_TQ2_0 = 37,
    FT_MXFP4_MOE = 38,
    FT_Q1_0 = 40,
    FT_Q2_0 = 41,
};

struct file_type {
    const char *name;  /* "Q4_K_M" */
    const char *alias; /* "Q4_K", or NULL */
    int id;
    uint32_t type; /* base type */
};

/* NULL when there is none. The look-up by name ignores case and knows the aliases. */
const struct file_type *uqff_file_type_by_id(int id);
const struct file_type *uqff_file_type_by_name(const char *name);

/* Compares names of quants: ASCII, case ignored. */
bool uqff_quant_same_name(const char *a, const char *b);

/* True for a type that uqff_quantize_row encodes and that may stand in a file. */
bool uqff_type_is_packable(uint32_t type);

/* What the mixture rules look at for one tensor. Indexes are running counts over the tensors of a
 * category in processing order. */
struct mixture_facts {
    const struct uqff_recipe_model *model;
    enum uqff_role role; /* OUTPUT also for a tied embedding */
    uint64_t columns, matrices;
    uint64_t index;         /* of its category; with experts, the layer's number */
    uint64_t running_index; /* of its category, always the running count */
    uint64_t count;         /* what `index` counts up to: attention values, or layers */
};

/* The type that llama.cpp's recipe gives a tensor, before the shape fallback. */
uint32_t uqff_mixture_type(const struct file_type *file_type, const struct mixture_facts *facts);

/* True for a GGUF name (ending in ".weight") that llama.cpp never quantizes. */
bool uqff_mixture_never_quantizes(const char *gguf_weight_name);

/* mistral.rs's better type for embedding and head; `type` itself where it has none. */
uint32_t uqff_promotion_type(uint32_t type);

/* The type that stands in for `type` when rows have `columns` elements: `type` itself when it fits.
 */
uint32_t uqff_fallback_type(enum uqff_quant_family family, uint32_t type, uint64_t columns);

/* The user's patterns, compiled. */
struct recipe_patterns;

enum uqff_code uqff_recipe_patterns_new(const struct uqff_type_rule *rules, size_t count,
                                        struct recipe_patterns **out,
                                        struct uqff_error *err) UQFF_MUST_CHECK;
void uqff_recipe_patterns_free(struct recipe_patterns *patterns);
/* *rule is the index of the first rule whose pattern is found in one of the names (b may be NULL),
 * or UQFF_NONE. UQFF_E_LIMIT when a pattern needs too much work. */
enum uqff_code uqff_recipe_patterns_find(const struct recipe_patterns *patterns, const char *a,
                                         const char *b, size_t *rule,
                                         struct uqff_error *err) UQFF_MUST_CHECK;
/* The same for a module, whose names are searched with ".weight". */
enum uqff_code uqff_recipe_module_rule(const struct recipe_patterns *patterns, const char *name,
                                       const char *gguf_name, size_t *rule,
                                       struct uqff_error *err) UQFF_MUST_CHECK;

#endif
