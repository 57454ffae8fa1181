/* fallback: what stands in for a type whose block does not divide a row, and mistral.rs's promotion
 * of embedding and head. */
#include "pack/recipe.h"

struct type_pair {
    uint32_t from, to;
};

/* llama.cpp's stand-ins, used where 256 does not divide a row. What has no row here, and what does
 * not fit even so, becomes F16. */
static const struct type_pair llamacpp_fallbacks[] = {
    {UQFF_TYPE_IQ1_S, UQFF_TYPE_IQ4_NL},   {UQFF_TYPE_IQ1_M, UQFF_TYPE_IQ4_NL},
    {UQFF_TYPE_IQ2_XXS, UQFF_TYPE_IQ4_NL}, {UQFF_TYPE_IQ2_XS, UQFF_TYPE_IQ4_NL},
    {UQFF_TYPE_IQ2_S, UQFF_TYPE_IQ4_NL},   {UQFF_TYPE_IQ3_XXS, UQFF_TYPE_IQ4_NL},
    {UQFF_TYPE_IQ3_S, UQFF_TYPE_IQ4_NL},   {UQFF_TYPE_IQ4_XS, UQFF_TYPE_IQ4_NL},
    {UQFF_TYPE_Q2_K, UQFF_TYPE_Q4_0},      {UQFF_TYPE_Q3_K, UQFF_TYPE_Q4_0},
    {UQFF_TYPE_TQ1_0, UQFF_TYPE_Q4_0},     {UQFF_TYPE_TQ2_0, UQFF_TYPE_Q4_0},
    {UQFF_TYPE_Q2_0, UQFF_TYPE_Q4_0},      {UQFF_TYPE_Q4_K, UQFF_TYPE_Q5_0},
    {UQFF_TYPE_Q5_K, UQFF_TYPE_Q5_1},      {UQFF_TYPE_Q6_K, UQFF_TYPE_Q8_0},
};

/* mistral.rs's stand-ins. It stores F32 where nothing fits; BF16 here, which its loader does not
 * take for larger than the dense model. Types that it has no rule for follow llama.cpp. */
static const struct type_pair mistralrs_fallbacks[] = {
    {UQFF_TYPE_Q2_K, UQFF_TYPE_Q4_0},  {UQFF_TYPE_Q3_K, UQFF_TYPE_Q4_0},
    {UQFF_TYPE_Q4_K, UQFF_TYPE_Q4_1},  {UQFF_TYPE_Q5_K, UQFF_TYPE_Q5_0},
    {UQFF_TYPE_Q6_K, UQFF_TYPE_Q5_1},  {UQFF_TYPE_IQ4_XS, UQFF_TYPE_IQ4_NL},
    {UQFF_TYPE_TQ1_0, UQFF_TYPE_Q4_0}, {UQFF_TYPE_TQ2_0, UQFF_TYPE_Q4_0},
};

/* Up to 4 bits to Q6_K, above to Q8_0. */
static const struct type_pair mistralrs_promotions[] = {
    {UQFF_TYPE_Q2_K, UQFF_TYPE_Q6_K}, {UQFF_TYPE_Q3_K, UQFF_TYPE_Q6_K},
    {UQFF_TYPE_Q4_K, UQFF_TYPE_Q6_K}, {UQFF_TYPE_Q4_0, UQFF_TYPE_Q6_K},
    {UQFF_TYPE_Q4_1, UQFF_TYPE_Q6_K}, {UQFF_TYPE_Q5_K, UQFF_TYPE_Q8_0},
    {UQFF_TYPE_Q6_K, UQFF_TYPE_Q8_0}, {UQFF_TYPE_Q5_0, UQFF_TYPE_Q8_0},
    {UQFF_TYPE_Q5_1, UQFF_TYPE_Q8_0}, {UQFF_TYPE_Q8_1, UQFF_TYPE_Q8_0},
};

static uint32_t look_up(const struct type_pair *pairs, size_t count, uint32_t from,
                        uint32_t otherwise) {
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].from == from) {
            return pairs[i].to;
        }
    }
    return otherwise;
}

#define LOOK_UP(pairs, from, otherwise)                                                            \
    look_up((pairs), sizeof(pairs) / sizeof((pairs)[0]), (from), (otherwise))

static bool fits(uint32_t type, uint64_t columns) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return info != NULL && columns % info->block_length == 0;
}

uint32_t uqff_fallback_type(enum uqff_quant_family family, uint32_t type, uint64_t columns) {
    if (fits(type, columns)) {
        return type;
    }
    const bool mistralrs = family == UQFF_QUANT_MISTRALRS;
    const uint32_t last = mistralrs ? UQFF_TYPE_BF16 : UQFF_TYPE_F16;
    const uint32_t next = mistralrs ? LOOK_UP(mistralrs_fallbacks, type, last)
                                    : LOOK_UP(llamacpp_fallbacks, type, last);
    return fits(next, columns) ? next : last;
}

uint32_t uqff_promotion_type(uint32_t type) {
    return LOOK_UP(mistralrs_promotions, type, type);
}
