/*
 * recipe: chooses a type for every tensor.
 *
 * In this order: what the user asked for (output type, embedding type, patterns), else the family's
 * own choice (llama.cpp's mixture, one type, mistral.rs's promotion), and at last the shape
 * fallback.
 */
#include "pack/recipe.h"

#include <stdlib.h>
#include <string.h>

static const char WEIGHT[] = ".weight";

/* A tensor with both of its names ending in ".weight". */
struct candidate {
    const struct uqff_recipe_tensor *tensor;
    const char *name;
    const char *gguf_name; /* NULL when unknown */
    size_t position;       /* in the caller's list */
};

struct chooser {
    const struct uqff_quant *quant;
    const struct uqff_recipe_model *model;
    const struct uqff_recipe_options *options;
    const struct file_type *file_type; /* of the family LLAMACPP */
    struct recipe_patterns *patterns;
    bool tied;                                /* no head of its own */
    uint64_t values;                          /* attention value tensors */
    uint64_t running[UQFF_ROLE_FFN_DOWN + 1]; /* tensors of each role met so far */
    uint64_t running_values;
};

const char *uqff_why_name(enum uqff_why why) {
    static const char *const names[] = {
        [UQFF_WHY_BASE] = "base",           [UQFF_WHY_MIXTURE] = "mixture",
        [UQFF_WHY_PROMOTION] = "promotion", [UQFF_WHY_RULE] = "rule",
        [UQFF_WHY_FALLBACK] = "fallback",
    };
    const size_t i = (size_t)why;
    return i < sizeof names / sizeof names[0] ? names[i] : "unknown";
}

static bool is_value(enum uqff_role role) {
    return role == UQFF_ROLE_ATTN_V || role == UQFF_ROLE_ATTN_QKV || role == UQFF_ROLE_ATTN_KV_B;
}

/* ---- processing order ------------------------------------------------------------------------ */

static const char *weight_name(struct uqff_arena *arena, const char *name) {
    const size_t n = strlen(name), suffix = sizeof WEIGHT - 1;
    if (n >= suffix && memcmp(name + n - suffix, WEIGHT, suffix) == 0) {
        return name;
    }
    return uqff_arena_printf(arena, "%s%s", name, WEIGHT);
}

static int compare_candidates(const void *left, const void *right) {
    const struct candidate *a = (const struct candidate *)left;
    const struct candidate *b = (const struct candidate *)right;
    if (a->tensor->layer != b->tensor->layer) {
        return a->tensor->layer < b->tensor->layer ? -1 : 1;
    }
    const int order = strcmp(a->gguf_name != NULL ? a->gguf_name : a->name,
                             b->gguf_name != NULL ? b->gguf_name : b->name);
    if (order != 0) {
        return order;
    }
    return (a->position > b->position) - (a->position < b->position);
}

/* The tensors in llama.cpp's processing order: layer, then GGUF name bytewise. */
static struct candidate *order_tensors(struct uqff_arena *arena,
                                       const struct uqff_recipe_tensor *tensors, size_t count) {
    struct candidate *candidates = uqff_arena_array(arena, count, sizeof *candidates);
    if (candidates == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        struct candidate *candidate = &candidates[i];
        candidate->tensor = &tensors[i];
        candidate->position = i;
        candidate->name = weight_name(arena, tensors[i].name);
        if (tensors[i].gguf_name != NULL) {
            candidate->gguf_name = weight_name(arena, tensors[i].gguf_name);
        }
        if (candidate->name == NULL ||
            (tensors[i].gguf_name != NULL && candidate->gguf_name == NULL)) {
            return NULL;
        }
    }
    if (count > 1) {
        qsort(candidates, count, sizeof *candidates, compare_candidates);
    }
    return candidates;
}

enum uqff_code uqff_recipe_module_rule(const struct recipe_patterns *patterns, const char *name,
                                       const char *gguf_name, size_t *rule,
                                       struct uqff_error *err) {
    struct uqff_arena arena = {0};
    const char *first = weight_name(&arena, name);
    const char *second = gguf_name == NULL ? NULL : weight_name(&arena, gguf_name);
    enum uqff_code code = first == NULL || (gguf_name != NULL && second == NULL)
                              ? uqff_fail_memory(err)
                              : uqff_recipe_patterns_find(patterns, first, second, rule, err);
    uqff_arena_free(&arena);
    return code;
}

/* ---- one tensor ------------------------------------------------------------------------------ */

/* The recipe's own choice by llama.cpp's mixture. The running counts advance for every tensor, also
 * for one that the user decides: a rule for one tensor never changes the type of another. */
static uint32_t mixture_choice(const struct chooser *chooser, const struct candidate *candidate,
                               uint64_t running) {
    const struct uqff_recipe_tensor *tensor = candidate->tensor;
    const struct uqff_recipe_model *model = chooser->model;
    struct mixture_facts facts = {
        .model = model,
        .role = tensor->role,
        .columns = tensor->columns,
        .matrices = tensor->matrices,
        .index = running,
        .running_index = running,
        .count = model->layers,
    };
    if (tensor->role == UQFF_ROLE_EMBEDDING && chooser->tied) {
        facts.role = UQFF_ROLE_OUTPUT;
    }
    if (is_value(tensor->role)) {
        facts.count = chooser->values;
    } else if (model->experts > 1) {
        facts.index = tensor->layer < 0 ? 0 : (uint64_t)tensor->layer;
    }
    return uqff_mixture_type(chooser->file_type, &facts);
}

/* What a tensor that is never quantized keeps: its own float type, else F32. */
static uint32_t unquantized_type(const struct uqff_recipe_tensor *tensor) {
    switch (tensor->source_type) {
    case UQFF_TYPE_F16:
    case UQFF_TYPE_BF16:
        return tensor->source_type;
    default:
        return UQFF_TYPE_F32;
    }
}

static struct uqff_choice recipe_choice(const struct chooser *chooser,
                                        const struct candidate *candidate, uint64_t running) {
    const struct uqff_recipe_tensor *tensor = candidate->tensor;
    const uint32_t base = chooser->quant->type;
    const bool edge = tensor->role == UQFF_ROLE_EMBEDDING || tensor->role == UQFF_ROLE_OUTPUT;
    uint32_t type = base;
    if (chooser->quant->family != UQFF_QUANT_MISTRALRS && candidate->gguf_name != NULL &&
        uqff_mixture_never_quantizes(candidate->gguf_name)) {
        type = unquantized_type(tensor);
    } else if (chooser->options->pure) {
        type = base;
    } else if (chooser->quant->family == UQFF_QUANT_MISTRALRS) {
        type = edge ? uqff_promotion_type(base) : base;
    } else if (chooser->file_type != NULL) {
        type = mixture_choice(chooser, candidate, running);
    }
    enum uqff_why why = edge ? UQFF_WHY_PROMOTION : UQFF_WHY_MIXTURE;
    return (struct uqff_choice){type, type, type == base ? UQFF_WHY_BASE : why};
}

static uint32_t type_id(const struct uqff_type_info *type) {
    return type != NULL ? type->id : UQFF_NO_TYPE;
}

/* The user's choice, or UQFF_NO_TYPE. As in llama.cpp the types for head and embedding come before
 * the patterns, but patterns before the type for the embedding where per-layer embeddings are
 * meant, and before the head's type where it only spreads to a tied embedding. */
static enum uqff_code user_choice(const struct chooser *chooser, const struct candidate *candidate,
                                  uint32_t *type, struct uqff_error *err) {
    const struct uqff_recipe_options *options = chooser->options;
    const bool embedding = candidate->tensor->role == UQFF_ROLE_EMBEDDING;
    const bool per_layer = candidate->gguf_name != NULL &&
                           strcmp(candidate->gguf_name, "per_layer_token_embd.weight") == 0;
    uint32_t first = UQFF_NO_TYPE, last = UQFF_NO_TYPE;
    if (candidate->tensor->role == UQFF_ROLE_OUTPUT) {
        first = type_id(options->output_type);
    } else if (embedding) {
        first = per_layer ? UQFF_NO_TYPE : type_id(options->embedding_type);
        last = options->embedding_type != NULL ? options->embedding_type->id
               : chooser->tied                 ? type_id(options->output_type)
                                               : UQFF_NO_TYPE;
    }
    *type = first;
    if (first != UQFF_NO_TYPE) {
        return UQFF_OK;
    }
    size_t rule = UQFF_NONE;
    enum uqff_code code = uqff_recipe_patterns_find(chooser->patterns, candidate->name,
                                                    candidate->gguf_name, &rule, err);
    if (code == UQFF_OK) {
        *type = rule != UQFF_NONE ? options->rules[rule].type : last;
    }
    return code;
}

static enum uqff_code choose_one(struct chooser *chooser, const struct candidate *candidate,
                                 struct uqff_choice *out, struct uqff_error *err) {
    const struct uqff_recipe_tensor *tensor = candidate->tensor;
    const uint64_t running =
        is_value(tensor->role) ? chooser->running_values++ : chooser->running[tensor->role]++;
    uint32_t type = UQFF_NO_TYPE;
    const enum uqff_code code = user_choice(chooser, candidate, &type, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_choice choice = {type, type, UQFF_WHY_RULE};
    if (type == UQFF_NO_TYPE) {
        choice = recipe_choice(chooser, candidate, running);
    }
    choice.type = uqff_fallback_type(chooser->quant->family, choice.wanted, tensor->columns);
    if (choice.type != choice.wanted) {
        choice.why = UQFF_WHY_FALLBACK;
        if (chooser->options->no_fallback) {
            return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                             "tensor '%s': rows of %llu elements, expected a multiple of %u for %s "
                             "(the fallback would be %s)",
                             candidate->name, (unsigned long long)tensor->columns,
                             (unsigned)uqff_type_info(choice.wanted)->block_length,
                             uqff_type_name(choice.wanted), uqff_type_info(choice.type)->name);
        }
    }
    *out = choice;
    return UQFF_OK;
}

/* ---- all tensors ----------------------------------------------------------------------------- */

static enum uqff_code check_user_type(uint32_t type, const char *what, struct uqff_error *err) {
    if (type == UQFF_NO_TYPE || uqff_type_is_packable(type)) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "%s: type %s cannot be encoded or stored", what, uqff_type_name(type));
}

static enum uqff_code check_options(const struct uqff_recipe_options *options,
                                    struct uqff_error *err) {
    enum uqff_code code = check_user_type(type_id(options->output_type), "output type", err);
    if (code == UQFF_OK) {
        code = check_user_type(type_id(options->embedding_type), "embedding type", err);
    }
    for (size_t i = 0; code == UQFF_OK && i < options->rule_count; i++) {
        if (options->rules[i].type == UQFF_NO_TYPE) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "pattern '%.200s': has no type",
                             options->rules[i].pattern);
        }
        code = check_user_type(options->rules[i].type, options->rules[i].pattern, err);
    }
    return code;
}

enum uqff_code uqff_recipe_choose(const struct uqff_quant *quant,
                                  const struct uqff_recipe_model *model,
                                  const struct uqff_recipe_tensor *tensors, size_t count,
                                  const struct uqff_recipe_options *options,
                                  struct uqff_choice *out, struct uqff_error *err) {
    static const struct uqff_recipe_options none = {.rules = NULL};
    struct uqff_arena arena = {0};
    struct chooser chooser = {
        .quant = quant,
        .model = model,
        .options = options != NULL ? options : &none,
        .tied = true,
    };
    enum uqff_code code = check_options(chooser.options, err);
    if (code != UQFF_OK) {
        return code;
    }
    const bool known = model->gguf_arch != NULL && model->gguf_arch[0] != '\0';
    if (quant->family == UQFF_QUANT_LLAMACPP) {
        const struct file_type *file_type = uqff_file_type_by_id(quant->file_type);
        if (file_type == NULL) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "quant '%s': llama.cpp has no file type %d", quant->name,
                             quant->file_type);
        }
        /* Float file types mix nothing, and mixtures are meant for architectures that llama.cpp
         * knows. */
        if (known && (uqff_type_info(quant->type)->flags & UQFF_TYPE_IS_QUANTIZED) != 0) {
            chooser.file_type = file_type;
        }
    }
    code = uqff_recipe_patterns_new(chooser.options->rules, chooser.options->rule_count,
                                    &chooser.patterns, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct candidate *candidates = order_tensors(&arena, tensors, count);
    if (candidates == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        chooser.values += is_value(tensors[i].role);
        chooser.tied = chooser.tied && tensors[i].role != UQFF_ROLE_OUTPUT;
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = choose_one(&chooser, &candidates[i], &out[candidates[i].position], err);
    }
out:
    uqff_recipe_patterns_free(chooser.patterns);
    uqff_arena_free(&arena);
    return code;
}
