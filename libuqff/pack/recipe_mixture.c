/*
 * recipe_mixture: llama.cpp's file types and the rules by which each mixes types.
 *
 * A rule is a row: for these file types and these categories, when all of these conditions hold,
 * this type. The first row that matches decides; without one a tensor has the base type.
 * Alternatives
 * ("a or b") are two rows.
 */
#include "pack/recipe.h"

#include <string.h>

static const struct file_type file_types[] = {
    {"F32", NULL, FT_F32, UQFF_TYPE_F32},
    {"F16", NULL, FT_F16, UQFF_TYPE_F16},
    {"Q4_0", NULL, FT_Q4_0, UQFF_TYPE_Q4_0},
    {"Q4_1", NULL, FT_Q4_1, UQFF_TYPE_Q4_1},
    {"Q8_0", NULL, FT_Q8_0, UQFF_TYPE_Q8_0},
    {"Q5_0", NULL, FT_Q5_0, UQFF_TYPE_Q5_0},
    {"Q5_1", NULL, FT_Q5_1, UQFF_TYPE_Q5_1},
    {"Q2_K", NULL, FT_Q2_K, UQFF_TYPE_Q2_K},
    {"Q3_K_S", NULL, FT_Q3_K_S, UQFF_TYPE_Q3_K},
    {"Q3_K_M", "Q3_K", FT_Q3_K_M, UQFF_TYPE_Q3_K},
    {"Q3_K_L", NULL, FT_Q3_K_L, UQFF_TYPE_Q3_K},
    {"Q4_K_S", NULL, FT_Q4_K_S, UQFF_TYPE_Q4_K},
    {"Q4_K_M", "Q4_K", FT_Q4_K_M, UQFF_TYPE_Q4_K},
    {"Q5_K_S", NULL, FT_Q5_K_S, UQFF_TYPE_Q5_K},
    {"Q5_K_M", "Q5_K", FT_Q5_K_M, UQFF_TYPE_Q5_K},
    {"Q6_K", NULL, FT_Q6_K, UQFF_TYPE_Q6_K},
    {"IQ2_XXS", NULL, FT_IQ2_XXS, UQFF_TYPE_IQ2_XXS},
    {"IQ2_XS", NULL, FT_IQ2_XS, UQFF_TYPE_IQ2_XS},
    {"Q2_K_S", NULL, FT_Q2_K_S, UQFF_TYPE_Q2_K},
    {"IQ3_XS", NULL, FT_IQ3_XS, UQFF_TYPE_IQ3_S},
    {"IQ3_XXS", NULL, FT_IQ3_XXS, UQFF_TYPE_IQ3_XXS},
    {"IQ1_S", NULL, FT_IQ1_S, UQFF_TYPE_IQ1_S},
    {"IQ4_NL", NULL, FT_IQ4_NL, UQFF_TYPE_IQ4_NL},
    {"IQ3_S", NULL, FT_IQ3_S, UQFF_TYPE_IQ3_S},
    {"IQ3_M", NULL, FT_IQ3_M, UQFF_TYPE_IQ3_S},
    {"IQ2_S", NULL, FT_IQ2_S, UQFF_TYPE_IQ2_XS},
    {"IQ2_M", NULL, FT_IQ2_M, UQFF_TYPE_IQ2_S},
    {"IQ4_XS", NULL, FT_IQ4_XS, UQFF_TYPE_IQ4_XS},
    {"IQ1_M", NULL, FT_IQ1_M, UQFF_TYPE_IQ1_M},
    {"BF16", NULL, FT_BF16, UQFF_TYPE_BF16},
    {"TQ1_0", NULL, FT_TQ1_0, UQFF_TYPE_TQ1_0},
    {"TQ2_0", NULL, FT_TQ2_0, UQFF_TYPE_TQ2_0},
    {"MXFP4_MOE", NULL, FT_MXFP4_MOE, UQFF_TYPE_MXFP4},
    {"Q1_0", NULL, FT_Q1_0, UQFF_TYPE_Q1_0},
    {"Q2_0", NULL, FT_Q2_0, UQFF_TYPE_Q2_0},
};

const struct file_type *uqff_file_type_by_id(int id) {
    for (size_t i = 0; i < sizeof file_types / sizeof file_types[0]; i++) {
        if (file_types[i].id == id) {
            return &file_types[i];
        }
    }
    return NULL;
}

const struct file_type *uqff_file_type_by_name(const char *name) {
    for (size_t i = 0; i < sizeof file_types / sizeof file_types[0]; i++) {
        const struct file_type *row = &file_types[i];
        if (uqff_quant_same_name(row->name, name) ||
            (row->alias != NULL && uqff_quant_same_name(row->alias, name))) {
            return row;
        }
    }
    return NULL;
}

/* ---- what a row asks for --------------------------------------------------------------------- */

/* Sets of file types; ids stay below 64. */
#define FT(name) (UINT64_C(1) << FT_##name)
#define ANY UINT64_MAX
/* The file types around 2 bits have rules of their own and share none of the others. */
#define LOW (FT(IQ1_S) | FT(IQ1_M) | FT(IQ2_XXS) | FT(IQ2_XS) | FT(IQ2_S) | FT(IQ2_M))
#define HIGH (~(LOW | FT(MXFP4_MOE)))

/* Sets of categories. */
#define ROLE(name) (1u << UQFF_ROLE_##name)
#define VALUES (ROLE(ATTN_V) | ROLE(ATTN_QKV) | ROLE(ATTN_KV_B))
#define ALL_ROLES (~0u)

/* Conditions; all that a row names must hold. n is the number of layers, i the tensor's index. */
enum condition {
    GQA_4 = 1 << 0,     /* four or more query heads share a key-value head */
    EXPERTS_4 = 1 << 1, /* four experts or more */
    EXPERTS_8 = 1 << 2, /* exactly eight: Mixtral */
    EXPERTS_NOT_8 = 1 << 3,
    IMATRIX = 1 << 4,
    NO_IMATRIX = 1 << 5,
    FALCON = 1 << 6,
    NOT_FALCON = 1 << 7,
    FIRST_8TH = 1 << 8,      /* i < n/8 */
    FIRST_16TH = 1 << 9,     /* i < n/16 */
    MORE_BITS = 1 << 10,     /* the first and last eighth, and every third between */
    MIDDLE = 1 << 11,        /* neither the first nor the last eighth */
    FIRST_2 = 1 << 12,       /* i < 2 */
    FIRST_4 = 1 << 13,       /* i < 4 */
    RAGGED = 1 << 14,        /* the base type's block does not divide a row */
    STACKED = 1 << 15,       /* several matrices in one tensor */
    RUNNING_8TH = 1 << 16,   /* FIRST_8TH with the running count, experts or not */
    BAILING_EXPERT = 1 << 17 /* what the architecture bailingmoe3 takes for an expert */
};

struct mixture_row {
    uint64_t file_types;
    unsigned roles;
    unsigned conditions;
    uint32_t type;
};

static const struct mixture_row rows[] = {
    /* MXFP4_MOE: expert stacks alone have four bits. */
    {FT(MXFP4_MOE), ROLE(OUTPUT), 0, UQFF_TYPE_Q8_0},
    {FT(MXFP4_MOE), ALL_ROLES, STACKED | BAILING_EXPERT, UQFF_TYPE_MXFP4},
    {FT(MXFP4_MOE), ALL_ROLES, 0, UQFF_TYPE_Q8_0},

    /* The head, and the embedding that serves as one. */
    {ANY, ROLE(OUTPUT), FALCON, UQFF_TYPE_Q8_0},
    {ANY, ROLE(OUTPUT), RAGGED, UQFF_TYPE_Q8_0},
    {LOW | FT(IQ3_XXS), ROLE(OUTPUT), 0, UQFF_TYPE_Q5_K},
    {FT(Q8_0), ROLE(OUTPUT), 0, UQFF_TYPE_Q8_0},
    {ANY, ROLE(OUTPUT), 0, UQFF_TYPE_Q6_K},

    /* The embedding beside a head of its own. */
    {FT(IQ2_XXS) | FT(IQ2_XS) | FT(IQ1_S) | FT(IQ1_M), ROLE(EMBEDDING), 0, UQFF_TYPE_Q2_K},
    {FT(IQ2_S) | FT(IQ2_M) | FT(IQ3_XXS), ROLE(EMBEDDING), 0, UQFF_TYPE_IQ3_S},
    {FT(TQ1_0) | FT(TQ2_0) | FT(Q2_0), ROLE(EMBEDDING), 0, UQFF_TYPE_Q4_K},

    /* Around two bits. */
    {LOW, VALUES, GQA_4, UQFF_TYPE_Q4_K},
    {LOW, VALUES, EXPERTS_4, UQFF_TYPE_Q4_K},
    {FT(IQ2_S) | FT(IQ2_M), VALUES, 0, UQFF_TYPE_IQ3_S},
    {LOW, VALUES, 0, UQFF_TYPE_Q2_K},
    {LOW, ROLE(ATTN_K), EXPERTS_8, UQFF_TYPE_Q4_K},
    {FT(IQ2_S) | FT(IQ2_M), ROLE(FFN_DOWN), RUNNING_8TH, UQFF_TYPE_IQ3_S},
    {LOW, ROLE(FFN_DOWN), RUNNING_8TH, UQFF_TYPE_Q2_K},
    {LOW, ROLE(ATTN_OUTPUT), EXPERTS_8, UQFF_TYPE_Q5_K},
    {FT(IQ1_S) | FT(IQ1_M), ROLE(ATTN_OUTPUT), 0, UQFF_TYPE_IQ2_XXS},
    {FT(IQ2_S) | FT(IQ2_M), ROLE(ATTN_OUTPUT), 0, UQFF_TYPE_IQ3_S},

    /* Attention values. */
    {FT(Q2_K), VALUES, GQA_4, UQFF_TYPE_Q4_K},
    {FT(Q2_K), VALUES, 0, UQFF_TYPE_Q3_K},
    {FT(Q2_K_S), VALUES, GQA_4, UQFF_TYPE_Q4_K},
    {FT(IQ3_XXS), VALUES, GQA_4, UQFF_TYPE_Q4_K},
    {FT(IQ3_XXS), VALUES, NO_IMATRIX, UQFF_TYPE_IQ3_S},
    {FT(IQ3_XS) | FT(IQ3_S), VALUES, GQA_4, UQFF_TYPE_Q4_K},
    {FT(IQ3_M), VALUES, 0, UQFF_TYPE_Q4_K},
    {FT(Q3_K_M), VALUES, FIRST_2, UQFF_TYPE_Q5_K},
    {FT(Q3_K_M), VALUES, 0, UQFF_TYPE_Q4_K},
    {FT(Q3_K_L), VALUES, 0, UQFF_TYPE_Q5_K},
    {FT(IQ4_NL) | FT(IQ4_XS), VALUES, GQA_4, UQFF_TYPE_Q5_K},
    {FT(Q4_K_M) | FT(Q5_K_M), VALUES, MORE_BITS, UQFF_TYPE_Q6_K},
    {FT(Q4_K_S), VALUES, FIRST_4, UQFF_TYPE_Q5_K},

    /* Attention keys and queries. */
    {HIGH, ROLE(ATTN_K), EXPERTS_8, UQFF_TYPE_Q8_0},
    {FT(IQ3_XS), ROLE(ATTN_K) | ROLE(ATTN_Q), 0, UQFF_TYPE_IQ3_XXS},
    {FT(IQ3_XXS), ROLE(ATTN_K) | ROLE(ATTN_Q), 0, UQFF_TYPE_IQ2_S},

    /* The way down of the feed-forward part. */
    {FT(Q2_K), ROLE(FFN_DOWN), 0, UQFF_TYPE_Q3_K},
    {FT(Q2_K_S), ROLE(FFN_DOWN), FIRST_8TH, UQFF_TYPE_Q4_K},
    {FT(IQ3_XXS), ROLE(FFN_DOWN), NO_IMATRIX | FIRST_8TH, UQFF_TYPE_Q4_K},
    {FT(IQ3_XXS), ROLE(FFN_DOWN), NO_IMATRIX, UQFF_TYPE_Q3_K},
    {FT(Q3_K_M), ROLE(FFN_DOWN), FIRST_16TH, UQFF_TYPE_Q5_K},
    {FT(Q3_K_M), ROLE(FFN_DOWN), NOT_FALCON, UQFF_TYPE_Q4_K},
    {FT(Q3_K_M), ROLE(FFN_DOWN), MORE_BITS, UQFF_TYPE_Q4_K},
    {FT(IQ3_M), ROLE(FFN_DOWN), FIRST_8TH, UQFF_TYPE_Q4_K},
    {FT(IQ3_M), ROLE(FFN_DOWN), EXPERTS_8 | MORE_BITS, UQFF_TYPE_Q4_K},
    {FT(Q3_K_L), ROLE(FFN_DOWN), FALCON, UQFF_TYPE_Q4_K},
    {FT(Q3_K_L), ROLE(FFN_DOWN), 0, UQFF_TYPE_Q5_K},
    {FT(Q4_K_M), ROLE(FFN_DOWN), FALCON | FIRST_16TH, UQFF_TYPE_Q6_K},
    {FT(Q4_K_M), ROLE(FFN_DOWN), FALCON | MORE_BITS, UQFF_TYPE_Q5_K},
    {FT(Q4_K_M), ROLE(FFN_DOWN), NOT_FALCON | MORE_BITS, UQFF_TYPE_Q6_K},
    {FT(IQ4_NL) | FT(IQ4_XS), ROLE(FFN_DOWN), NO_IMATRIX | FIRST_8TH, UQFF_TYPE_Q5_K},
    {FT(Q5_K_M), ROLE(FFN_DOWN), MORE_BITS, UQFF_TYPE_Q6_K},
    {FT(Q4_K_S), ROLE(FFN_DOWN), NOT_FALCON | FIRST_8TH, UQFF_TYPE_Q5_K},
    {FT(Q4_0), ROLE(FFN_DOWN), IMATRIX | FIRST_8TH, UQFF_TYPE_Q4_1},
    {FT(Q5_0), ROLE(FFN_DOWN), IMATRIX | FIRST_8TH, UQFF_TYPE_Q5_1},

    /* Attention output. */
    {FT(Q2_K) | FT(IQ3_XS) | FT(IQ3_XXS) | FT(Q3_K_S) | FT(Q3_K_M) | FT(IQ4_NL) | FT(Q4_K_S) |
         FT(Q4_K_M) | FT(IQ3_S) | FT(IQ3_M) | FT(IQ4_XS),
     ROLE(ATTN_OUTPUT), NOT_FALCON | EXPERTS_8, UQFF_TYPE_Q5_K},
    {FT(Q2_K), ROLE(ATTN_OUTPUT), NOT_FALCON | EXPERTS_NOT_8, UQFF_TYPE_Q3_K},
    {FT(IQ3_XXS), ROLE(ATTN_OUTPUT), NOT_FALCON | EXPERTS_NOT_8, UQFF_TYPE_IQ3_S},
    {FT(Q3_K_M), ROLE(ATTN_OUTPUT), NOT_FALCON | EXPERTS_NOT_8, UQFF_TYPE_Q4_K},
    {FT(Q3_K_L), ROLE(ATTN_OUTPUT), NOT_FALCON | EXPERTS_NOT_8, UQFF_TYPE_Q5_K},
    {FT(IQ3_M), ROLE(ATTN_OUTPUT), NOT_FALCON | EXPERTS_NOT_8, UQFF_TYPE_Q4_K},
    {FT(Q3_K_L), ROLE(ATTN_OUTPUT), FALCON, UQFF_TYPE_Q4_K},

    /* Gate and way up. */
    {FT(IQ3_XS), ROLE(FFN_GATE) | ROLE(FFN_UP), MIDDLE, UQFF_TYPE_IQ3_XXS},
};

/* ---- conditions of a tensor ------------------------------------------------------------------ */

static bool is_arch(const struct uqff_recipe_model *model, const char *name) {
    return model->gguf_arch != NULL && strcmp(model->gguf_arch, name) == 0;
}

/* 7n/8 rounded down, without a product that might not fit. */
static uint64_t seven_eighths(uint64_t n) {
    return n - n / 8 - (n % 8 != 0);
}

/* Layers that are worth more bits: the first and last eighth, and every third between them. */
static bool wants_more_bits(uint64_t i, uint64_t n) {
    return i < n / 8 || i >= seven_eighths(n) || (i - n / 8) % 3 == 2;
}

static unsigned conditions_of(const struct file_type *file_type,
                              const struct mixture_facts *facts) {
    const struct uqff_recipe_model *model = facts->model;
    const uint64_t n = facts->count, i = facts->index;
    const struct uqff_type_info *base = uqff_type_info(file_type->type);
    const bool falcon = is_arch(model, "falcon");
    const bool feed_forward = facts->role == UQFF_ROLE_FFN_UP ||
                              facts->role == UQFF_ROLE_FFN_GATE ||
                              facts->role == UQFF_ROLE_FFN_DOWN;
    const struct {
        bool holds;
        unsigned condition;
    } table[] = {
        {model->kv_heads != 0 && model->heads / model->kv_heads >= 4, GQA_4},
        {model->experts >= 4, EXPERTS_4},
        {model->experts == 8, EXPERTS_8},
        {model->experts != 8, EXPERTS_NOT_8},
        {model->has_importance, IMATRIX},
        {!model->has_importance, NO_IMATRIX},
        {falcon, FALCON},
        {!falcon, NOT_FALCON},
        {i < n / 8, FIRST_8TH},
        {i < n / 16, FIRST_16TH},
        {wants_more_bits(i, n), MORE_BITS},
        {i >= n / 8 && i < seven_eighths(n), MIDDLE},
        {i < 2, FIRST_2},
        {i < 4, FIRST_4},
        {base == NULL || facts->columns % base->block_length != 0, RAGGED},
        {facts->matrices > 1, STACKED},
        {facts->running_index < n / 8, RUNNING_8TH},
        {feed_forward || !is_arch(model, "bailingmoe3"), BAILING_EXPERT},
    };
    unsigned held = 0;
    for (size_t c = 0; c < sizeof table / sizeof table[0]; c++) {
        held |= table[c].holds ? table[c].condition : 0;
    }
    return held;
}

/* Models that llama.cpp takes for a 70B. Their few key-value heads make attention values small, so
 * more bits for them cost next to nothing. */
static bool is_70b(const struct uqff_recipe_model *model) {
    static const char *const archs_of_80[] = {"qwen2", "olmo", "deci"};
    if (is_arch(model, "llama")) {
        return model->layers == 80 && model->heads != model->kv_heads;
    }
    if (is_arch(model, "jais2")) {
        return model->layers == 68;
    }
    for (size_t i = 0; i < sizeof archs_of_80 / sizeof archs_of_80[0]; i++) {
        if (is_arch(model, archs_of_80[i])) {
            return model->layers == 80;
        }
    }
    return false;
}

/* What follows the table for attention values outside the file types around two bits. */
static uint32_t finish_values(const struct mixture_facts *facts, uint32_t type) {
    if (facts->model->experts == 8) {
        return UQFF_TYPE_Q8_0;
    }
    if (is_70b(facts->model) && (type == UQFF_TYPE_Q3_K || type == UQFF_TYPE_Q4_K)) {
        return UQFF_TYPE_Q5_K;
    }
    return type;
}

uint32_t uqff_mixture_type(const struct file_type *file_type, const struct mixture_facts *facts) {
    const uint64_t file_type_bit = UINT64_C(1) << file_type->id;
    const unsigned role_bit = 1u << facts->role;
    const unsigned held = conditions_of(file_type, facts);
    uint32_t type = file_type->type;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        if ((rows[r].file_types & file_type_bit) != 0 && (rows[r].roles & role_bit) != 0 &&
            (rows[r].conditions & ~held) == 0) {
            type = rows[r].type;
            break;
        }
    }
    if ((role_bit & VALUES) != 0 && (file_type_bit & HIGH) != 0) {
        type = finish_values(facts, type);
    }
    return type;
}

/* ---- what is never quantized ----------------------------------------------------------------- */

bool uqff_mixture_never_quantizes(const char *gguf_weight_name) {
    static const char *const parts[] = {
        "_norm.weight",
        "ffn_gate_inp.weight",
        "ffn_gate_tid2eid.weight",
        "altup",
        "laurel",
        "per_layer_model_proj",
        "ssm_conv1d",
        "shortconv.conv.weight",
        "indexer.k_proj.weight",
        "indexer.q_proj.weight",
        "time_mix_first.weight",
        "time_mix_w0.weight",
        "time_mix_w1.weight",
        "time_mix_w2.weight",
        "time_mix_v0.weight",
        "time_mix_v1.weight",
        "time_mix_v2.weight",
        "time_mix_a0.weight",
        "time_mix_a1.weight",
        "time_mix_a2.weight",
        "time_mix_g1.weight",
        "time_mix_g2.weight",
        "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight",
        "time_mix_lerp_fused.weight",
        "attn_rel_b.weight",
        ".position_embd",
        "sam.pos_embd",
        "sam.neck.",
        "sam.net_",
        ".rel_pos",
        ".patch_embd",
        ".patch_merger",
        "a.rvq.codebook",
        "mm.a.code_embd",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strstr(gguf_weight_name, parts[i]) != NULL) {
            return true;
        }
    }
    /* BERT's position and token type embeddings are top-level tensors. */
    return strcmp(gguf_weight_name, "position_embd.weight") == 0 ||
           strcmp(gguf_weight_name, "token_types.weight") == 0;
}
