/* Recipes: what each quant name means, and what options and shapes make of a recipe. */
#include "unit/test_recipe_lists.h"

/* ---- names ----------------------------------------------------------------------------------- */

static void test_quant_names(void **state) {
    (void)state;
    static const struct {
        const char *text, *name, *recipe;
        enum uqff_quant_family family;
        uint32_t type;
        int file_type;
    } cases[] = {
        {"Q4_K_M", "q4_k_m", "Q4_K_M", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q4_K, 15},
        {"q4_k", "q4_k", "Q4_K_M", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q4_K, 15},
        {"Q3_K", "q3_k", "Q3_K_M", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q3_K, 12},
        {"q5_k", "q5_k", "Q5_K_M", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q5_K, 17},
        {"q2_k", "q2_k", "Q2_K", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q2_K, 10},
        {"q2_k_s", "q2_k_s", "Q2_K_S", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q2_K, 21},
        {"q6_k", "q6_k", "Q6_K", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q6_K, 18},
        {"q4_0", "q4_0", "Q4_0", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q4_0, 2},
        {"q8_0", "q8_0", "Q8_0", UQFF_QUANT_LLAMACPP, UQFF_TYPE_Q8_0, 7},
        {"bf16", "bf16", "BF16", UQFF_QUANT_LLAMACPP, UQFF_TYPE_BF16, 32},
        {"F32", "f32", "F32", UQFF_QUANT_LLAMACPP, UQFF_TYPE_F32, 0},
        {"iq4_xs", "iq4_xs", "IQ4_XS", UQFF_QUANT_LLAMACPP, UQFF_TYPE_IQ4_XS, 30},
        {"tq1_0", "tq1_0", "TQ1_0", UQFF_QUANT_LLAMACPP, UQFF_TYPE_TQ1_0, 36},
        {"mxfp4_moe", "mxfp4_moe", "MXFP4_MOE", UQFF_QUANT_LLAMACPP, UQFF_TYPE_MXFP4, 38},
        {"Q8_1", "q8_1", "Q8_1", UQFF_QUANT_UNIFORM, UQFF_TYPE_Q8_1, -1},
        {"mxfp4", "mxfp4", "MXFP4", UQFF_QUANT_UNIFORM, UQFF_TYPE_MXFP4, -1},
        {"Q4K", "q4k", "mistralrs:Q4K", UQFF_QUANT_MISTRALRS, UQFF_TYPE_Q4_K, -1},
        {"q6k", "q6k", "mistralrs:Q6K", UQFF_QUANT_MISTRALRS, UQFF_TYPE_Q6_K, -1},
        {"mistralrs:q4_k", "mistralrs:q4_k", "mistralrs:Q4K", UQFF_QUANT_MISTRALRS, UQFF_TYPE_Q4_K,
         -1},
        {"MistralRS:Q40", "mistralrs:q40", "mistralrs:Q4_0", UQFF_QUANT_MISTRALRS, UQFF_TYPE_Q4_0,
         -1},
        {"mistralrs:Q8_1", "mistralrs:q8_1", "mistralrs:Q8_1", UQFF_QUANT_MISTRALRS, UQFF_TYPE_Q8_1,
         -1},
    };
    struct uqff_error err;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_quant quant;
        assert_ok(uqff_quant_parse(cases[i].text, &quant, &err), &err);
        assert_string_equal(quant.name, cases[i].name);
        assert_string_equal(quant.recipe, cases[i].recipe);
        assert_int_equal(quant.family, cases[i].family);
        assert_int_equal(quant.type, cases[i].type);
        assert_int_equal(quant.file_type, cases[i].file_type);
    }
}

static void test_refused_names(void **state) {
    (void)state;
    static const struct {
        const char *text, *needle;
        enum uqff_code code;
    } cases[] = {
        {"q4_k_n", "did you mean 'q4_k", UQFF_E_UNKNOWN},
        {"Q8_2", "did you mean 'q8_", UQFF_E_UNKNOWN},
        {"a name that nobody would ever give to anything", "unknown quant", UQFF_E_UNKNOWN},
        {"", "unknown quant", UQFF_E_UNKNOWN},
        {"mistralrs:", "unknown quant", UQFF_E_UNKNOWN},
        {"q4k_", "unknown quant", UQFF_E_UNKNOWN},
        {"q4_k_m\n", "unknown quant", UQFF_E_UNKNOWN},
        {"q8_k", "Q8_K", UQFF_E_TYPE},
        {"q8k", "Q8_K", UQFF_E_TYPE},
        {"mistralrs:q8k", "Q8_K", UQFF_E_TYPE},
        {"IQ2_XS", "IQ2_XS", UQFF_E_TYPE},
        {"iq2_s", "IQ2_XS", UQFF_E_TYPE},
        {"iq3_m", "IQ3_S", UQFF_E_TYPE},
        {"i32", "I32", UQFF_E_TYPE},
        {"nvfp4", "NVFP4", UQFF_E_TYPE},
        {"q1_0", "Q1_0", UQFF_E_TYPE},
        {"afq4", "afq4", UQFF_E_TYPE},
        {"mistralrs:hqq8", "hqq8", UQFF_E_TYPE},
        {"fp8", "fp8", UQFF_E_TYPE},
    };
    struct uqff_error err;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_quant quant;
        assert_fails(uqff_quant_parse(cases[i].text, &quant, &err), cases[i].code, &err,
                     cases[i].needle);
    }
    char longest[300];
    memset(longest, 'q', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    struct uqff_quant quant;
    assert_fails(uqff_quant_parse(longest, &quant, &err), UQFF_E_UNKNOWN, &err, "unknown quant");
}

/* Every name that is listed can be parsed, and every type that can be encoded is listed. */
static void test_listed_names(void **state) {
    (void)state;
    size_t count = 0, types = 0;
    struct uqff_error err;
    struct uqff_quant quant;
    bool seen[64] = {false};
    const char *const *names = uqff_quant_names(&count);
    for (size_t i = 0; i < count; i++) {
        assert_ok(uqff_quant_parse(names[i], &quant, &err), &err);
        assert_string_equal(quant.name, names[i]);
        seen[quant.type] = true;
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(names[i], names[j]);
        }
    }
    const struct uqff_type_info *table = uqff_type_table(&types);
    for (size_t i = 0; i < types; i++) {
        if ((table[i].flags & UQFF_TYPE_CAN_ENCODE) != 0 &&
            (table[i].flags & UQFF_TYPE_ACTIVATIONS_ONLY) == 0) {
            assert_true(table[i].id < COUNT(seen) && seen[table[i].id]);
        }
    }
}

/* ---- options --------------------------------------------------------------------------------- */

static struct uqff_quant quant_of(const char *name) {
    struct uqff_quant quant;
    struct uqff_error err;
    assert_ok(uqff_quant_parse(name, &quant, &err), &err);
    return quant;
}

static struct uqff_choice choice_of(const struct tensor_list *list, const char *quant_name,
                                    const struct uqff_recipe_options *options, const char *name) {
    static struct uqff_choice choices[2048];
    struct uqff_error err;
    const struct uqff_quant quant = quant_of(quant_name);
    assert_ok(uqff_recipe_choose(&quant, &list->model, list->tensors, list->count, options, choices,
                                 &err),
              &err);
    return choices[find(list, name)];
}

#define assert_choice(choice, wanted_type, given_type, reason)                                     \
    do {                                                                                           \
        const struct uqff_choice c_ = (choice);                                                    \
        assert_int_equal(c_.wanted, (wanted_type));                                                \
        assert_int_equal(c_.type, (given_type));                                                   \
        assert_string_equal(uqff_why_name(c_.why), uqff_why_name(reason));                         \
    } while (0)

static struct tensor_list small;

static int make_small(void **state) {
    (void)state;
    build(&small, &(struct shape){"", "llama", 256, 512, 4, 2, 64, 0, 4, false});
    return 0;
}

static void test_reasons(void **state) {
    (void)state;
    assert_choice(choice_of(&small, "q4_k_m", &no_options, "output.weight"), UQFF_TYPE_Q6_K,
                  UQFF_TYPE_Q6_K, UQFF_WHY_PROMOTION);
    assert_choice(choice_of(&small, "q4_k_m", &no_options, "blk.3.attn_v.weight"), UQFF_TYPE_Q6_K,
                  UQFF_TYPE_Q6_K, UQFF_WHY_MIXTURE);
    assert_choice(choice_of(&small, "q4_k_m", &no_options, "blk.0.attn_q.weight"), UQFF_TYPE_Q4_K,
                  UQFF_TYPE_Q4_K, UQFF_WHY_BASE);
    assert_choice(choice_of(&small, "q8_0", &no_options, "output.weight"), UQFF_TYPE_Q8_0,
                  UQFF_TYPE_Q8_0, UQFF_WHY_BASE);
    assert_choice(choice_of(&small, "q8_1", &no_options, "output.weight"), UQFF_TYPE_Q8_1,
                  UQFF_TYPE_Q8_1, UQFF_WHY_BASE);
}

static void test_pure(void **state) {
    (void)state;
    struct uqff_recipe_options options = no_options;
    options.pure = true;
    static const char *const quants[] = {"q4_k_m", "q4k", "mistralrs:q4_k"};
    for (size_t q = 0; q < COUNT(quants); q++) {
        for (size_t i = 0; i < small.count; i++) {
            assert_choice(choice_of(&small, quants[q], &options, small.tensors[i].name),
                          UQFF_TYPE_Q4_K, UQFF_TYPE_Q4_K, UQFF_WHY_BASE);
        }
    }
    static struct tensor_list ragged;
    build(&ragged, &(struct shape){"", "llama", 288, 768, 6, 6, 48, 0, 6, true});
    assert_choice(choice_of(&ragged, "q4_k_m", &options, "blk.1.attn_q.weight"), UQFF_TYPE_Q4_K,
                  UQFF_TYPE_Q5_0, UQFF_WHY_FALLBACK);
}

static void test_promotion(void **state) {
    (void)state;
    static const struct {
        const char *quant;
        uint32_t promoted;
    } cases[] = {
        {"q2k", UQFF_TYPE_Q6_K},
        {"q3k", UQFF_TYPE_Q6_K},
        {"q4k", UQFF_TYPE_Q6_K},
        {"mistralrs:q4_0", UQFF_TYPE_Q6_K},
        {"mistralrs:q4_1", UQFF_TYPE_Q6_K},
        {"q5k", UQFF_TYPE_Q8_0},
        {"q6k", UQFF_TYPE_Q8_0},
        {"mistralrs:q5_0", UQFF_TYPE_Q8_0},
        {"mistralrs:q5_1", UQFF_TYPE_Q8_0},
        {"mistralrs:q8_0", UQFF_TYPE_Q8_0},
        {"mistralrs:q8_1", UQFF_TYPE_Q8_0},
        {"mistralrs:mxfp4", UQFF_TYPE_MXFP4},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct uqff_quant quant = quant_of(cases[i].quant);
        const enum uqff_why why =
            cases[i].promoted == quant.type ? UQFF_WHY_BASE : UQFF_WHY_PROMOTION;
        assert_choice(choice_of(&small, cases[i].quant, &no_options, "token_embd.weight"),
                      cases[i].promoted, cases[i].promoted, why);
        assert_choice(choice_of(&small, cases[i].quant, &no_options, "output.weight"),
                      cases[i].promoted, cases[i].promoted, why);
        assert_choice(choice_of(&small, cases[i].quant, &no_options, "blk.0.attn_v.weight"),
                      quant.type, quant.type, UQFF_WHY_BASE);
    }
}

/* Rows of 288 elements are no multiple of 256, rows of 100 none of 32 either. */
static void test_fallbacks(void **state) {
    (void)state;
    static const struct {
        const char *quant;
        uint32_t for_288, for_100;
    } cases[] = {
        {"q2_k", UQFF_TYPE_Q4_0, UQFF_TYPE_F16},
        {"q3_k_s", UQFF_TYPE_Q4_0, UQFF_TYPE_F16},
        {"q4_k_s", UQFF_TYPE_Q5_0, UQFF_TYPE_F16},
        {"q5_k_s", UQFF_TYPE_Q5_1, UQFF_TYPE_F16},
        {"q6_k", UQFF_TYPE_Q8_0, UQFF_TYPE_F16},
        {"iq4_xs", UQFF_TYPE_IQ4_NL, UQFF_TYPE_F16},
        {"tq1_0", UQFF_TYPE_Q4_0, UQFF_TYPE_F16},
        {"tq2_0", UQFF_TYPE_Q4_0, UQFF_TYPE_F16},
        {"q8_0", UQFF_TYPE_Q8_0, UQFF_TYPE_F16},
        {"iq4_nl", UQFF_TYPE_IQ4_NL, UQFF_TYPE_F16},
        {"q8_1", UQFF_TYPE_Q8_1, UQFF_TYPE_F16},
        {"mxfp4", UQFF_TYPE_MXFP4, UQFF_TYPE_F16},
        {"bf16", UQFF_TYPE_BF16, UQFF_TYPE_BF16},
        {"q2k", UQFF_TYPE_Q4_0, UQFF_TYPE_BF16},
        {"q3k", UQFF_TYPE_Q4_0, UQFF_TYPE_BF16},
        {"q4k", UQFF_TYPE_Q4_1, UQFF_TYPE_BF16},
        {"q5k", UQFF_TYPE_Q5_0, UQFF_TYPE_BF16},
        {"q6k", UQFF_TYPE_Q5_1, UQFF_TYPE_BF16},
        {"mistralrs:q8_0", UQFF_TYPE_Q8_0, UQFF_TYPE_BF16},
    };
    struct uqff_recipe_tensor tensors[2] = {
        {.name = "a",
         .gguf_name = "blk.0.attn_q",
         .role = UQFF_ROLE_ATTN_Q,
         .columns = 288,
         .matrices = 1},
        {.name = "b",
         .gguf_name = "blk.1.attn_q",
         .role = UQFF_ROLE_ATTN_Q,
         .layer = 1,
         .columns = 100,
         .matrices = 1},
    };
    struct uqff_recipe_options strict = no_options;
    strict.no_fallback = true;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_choice choices[2];
        struct uqff_error err;
        const struct uqff_quant quant = quant_of(cases[i].quant);
        assert_ok(uqff_recipe_choose(&quant, &small.model, tensors, 2, &no_options, choices, &err),
                  &err);
        assert_int_equal(choices[0].type, cases[i].for_288);
        assert_int_equal(choices[1].type, cases[i].for_100);
        for (size_t t = 0; t < 2; t++) {
            assert_int_equal(choices[t].wanted, quant.type);
            assert_int_equal(choices[t].why,
                             choices[t].type == quant.type ? UQFF_WHY_BASE : UQFF_WHY_FALLBACK);
        }
        if (cases[i].for_100 != quant.type) {
            assert_fails(
                uqff_recipe_choose(&quant, &small.model, tensors, 2, &strict, choices, &err),
                UQFF_E_SHAPE, &err, cases[i].for_288 != quant.type ? "'a.weight'" : "'b.weight'");
        }
    }
}

/* Patterns are searched in both names, the first that matches wins, and a rule for one tensor
 * leaves the choice for the others alone. */
static void test_rules(void **state) {
    (void)state;
    struct tensor_list list = small;
    for (size_t i = 0; i < list.count; i++) {
        list.tensors[i].gguf_name = list.names[i];
    }
    list.tensors[find(&list, "blk.2.ffn_up.weight")].name = "model.layers.2.mlp.up_proj";
    const struct uqff_type_rule rules[] = {
        {"layers\\.\\d+\\.mlp\\.up_proj\\.weight$", UQFF_TYPE_Q8_0},
        {"^blk\\.0\\.attn_v", UQFF_TYPE_Q3_K},
        {"blk\\.[01]\\.attn_v", UQFF_TYPE_F16},
        {"ATTN_K", UQFF_TYPE_Q2_K},
    };
    struct uqff_recipe_options options = no_options;
    options.rules = rules;
    options.rule_count = COUNT(rules);
    struct uqff_choice plain[64], ruled[64];
    struct uqff_error err;
    const struct uqff_quant quant = quant_of("q3_k_m");
    assert_ok(
        uqff_recipe_choose(&quant, &list.model, list.tensors, list.count, &no_options, plain, &err),
        &err);
    assert_ok(
        uqff_recipe_choose(&quant, &list.model, list.tensors, list.count, &options, ruled, &err),
        &err);
    for (size_t i = 0; i < list.count; i++) {
        const char *name = list.tensors[i].gguf_name;
        if (strcmp(name, "blk.2.ffn_up.weight") == 0) {
            assert_choice(ruled[i], UQFF_TYPE_Q8_0, UQFF_TYPE_Q8_0, UQFF_WHY_RULE);
        } else if (strcmp(name, "blk.0.attn_v.weight") == 0) {
            assert_choice(ruled[i], UQFF_TYPE_Q3_K, UQFF_TYPE_Q3_K, UQFF_WHY_RULE);
        } else if (strcmp(name, "blk.1.attn_v.weight") == 0) {
            assert_choice(ruled[i], UQFF_TYPE_F16, UQFF_TYPE_F16, UQFF_WHY_RULE);
        } else {
            assert_int_equal(ruled[i].type, plain[i].type);
            assert_int_equal(ruled[i].why, plain[i].why);
        }
    }
    /* A user's rule wins where llama.cpp would ignore it: in a float file type, and under --pure.
     */
    options.pure = true;
    assert_choice(choice_of(&small, "f16", &options, "blk.0.attn_v.weight"), UQFF_TYPE_Q3_K,
                  UQFF_TYPE_Q3_K, UQFF_WHY_RULE);
}

static void test_output_and_embedding_types(void **state) {
    (void)state;
    const struct uqff_type_rule rules[] = {{"token_embd|output", UQFF_TYPE_Q3_K}};
    struct uqff_recipe_options options = no_options;
    options.output_type = uqff_type_info(UQFF_TYPE_Q8_0);
    options.rules = rules;
    options.rule_count = 1;
    assert_choice(choice_of(&small, "q4_0", &options, "output.weight"), UQFF_TYPE_Q8_0,
                  UQFF_TYPE_Q8_0, UQFF_WHY_RULE);
    assert_choice(choice_of(&small, "q4_0", &options, "token_embd.weight"), UQFF_TYPE_Q3_K,
                  UQFF_TYPE_Q3_K, UQFF_WHY_RULE);
    options.embedding_type = uqff_type_info(UQFF_TYPE_Q5_0);
    assert_choice(choice_of(&small, "q4_0", &options, "token_embd.weight"), UQFF_TYPE_Q5_0,
                  UQFF_TYPE_Q5_0, UQFF_WHY_RULE);

    static struct tensor_list tied;
    build(&tied, &(struct shape){"", "llama", 256, 512, 4, 2, 64, 0, 4, true});
    options = no_options;
    assert_choice(choice_of(&tied, "q4_0", &options, "token_embd.weight"), UQFF_TYPE_Q6_K,
                  UQFF_TYPE_Q6_K, UQFF_WHY_PROMOTION);
    options.output_type = uqff_type_info(UQFF_TYPE_Q8_0);
    assert_choice(choice_of(&tied, "q4_0", &options, "token_embd.weight"), UQFF_TYPE_Q8_0,
                  UQFF_TYPE_Q8_0, UQFF_WHY_RULE);
    options.embedding_type = uqff_type_info(UQFF_TYPE_Q5_0);
    assert_choice(choice_of(&tied, "q4_0", &options, "token_embd.weight"), UQFF_TYPE_Q5_0,
                  UQFF_TYPE_Q5_0, UQFF_WHY_RULE);
}

static void test_bad_options(void **state) {
    (void)state;
    static struct uqff_choice choices[2048];
    struct uqff_error err;
    const struct uqff_quant quant = quant_of("q4_0");
    struct uqff_type_rule rule = {"blk\\.(0", UQFF_TYPE_Q8_0};
    struct uqff_recipe_options options = no_options;
    options.rules = &rule;
    options.rule_count = 1;
#define CHOOSE()                                                                                   \
    uqff_recipe_choose(&quant, &small.model, small.tensors, small.count, &options, choices, &err)
    assert_fails(CHOOSE(), UQFF_E_ARGUMENT, &err, "blk");
    assert_non_null(strstr(err.text, "position 7"));
    rule.pattern = "\xff";
    assert_fails(CHOOSE(), UQFF_E_ARGUMENT, &err, "pattern");
    rule.pattern = "^((\\w|_)*(\\w|_)*\\.?)+[!?]";
    assert_fails(CHOOSE(), UQFF_E_LIMIT, &err, "too much work");
    rule = (struct uqff_type_rule){"attn", UQFF_TYPE_IQ2_XS};
    assert_fails(CHOOSE(), UQFF_E_ARGUMENT, &err, "IQ2_XS");
    rule.type = 4;
    assert_fails(CHOOSE(), UQFF_E_ARGUMENT, &err, "4");
    rule.type = UQFF_TYPE_Q8_0;
    options.output_type = uqff_type_info(UQFF_TYPE_Q8_K);
    assert_fails(CHOOSE(), UQFF_E_ARGUMENT, &err, "Q8_K");
#undef CHOOSE
}

/* ---- the odd ones ---------------------------------------------------------------------------- */

static void test_importance(void **state) {
    (void)state;
    static struct tensor_list list;
    build(&list, &(struct shape){"", "llama", 512, 1024, 8, 8, 64, 0, 16, false});
    static const struct {
        const char *quant;
        uint32_t without, with;
    } cases[] = {
        {"q4_0", UQFF_TYPE_Q4_0, UQFF_TYPE_Q4_1},     {"q5_0", UQFF_TYPE_Q5_0, UQFF_TYPE_Q5_1},
        {"iq4_nl", UQFF_TYPE_Q5_K, UQFF_TYPE_IQ4_NL}, {"iq4_xs", UQFF_TYPE_Q5_K, UQFF_TYPE_IQ4_XS},
        {"q2_k_s", UQFF_TYPE_Q4_K, UQFF_TYPE_Q4_K},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        list.model.has_importance = false;
        assert_int_equal(
            choice_of(&list, cases[i].quant, &no_options, "blk.1.ffn_down.weight").type,
            cases[i].without);
        list.model.has_importance = true;
        assert_int_equal(
            choice_of(&list, cases[i].quant, &no_options, "blk.1.ffn_down.weight").type,
            cases[i].with);
    }
}

/* Mixtral: eight experts make attention cheap beside the rest. */
static void test_eight_experts(void **state) {
    (void)state;
    static struct tensor_list list;
    build(&list, &(struct shape){"", "llama", 512, 1024, 8, 2, 64, 8, 32, false});
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "blk.9.attn_v.weight").type,
                     UQFF_TYPE_Q8_0);
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "blk.9.attn_k.weight").type,
                     UQFF_TYPE_Q8_0);
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "blk.9.attn_output.weight").type,
                     UQFF_TYPE_Q5_K);
    assert_int_equal(choice_of(&list, "q2_k", &no_options, "blk.9.attn_output.weight").type,
                     UQFF_TYPE_Q5_K);
    assert_int_equal(choice_of(&list, "q3_k_l", &no_options, "blk.9.attn_output.weight").type,
                     UQFF_TYPE_Q3_K);
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "blk.3.ffn_down_exps.weight").type,
                     UQFF_TYPE_Q6_K);
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "blk.5.ffn_down_exps.weight").type,
                     UQFF_TYPE_Q4_K);
}

static void test_falcon(void **state) {
    (void)state;
    static struct tensor_list list;
    build(&list, &(struct shape){"", "falcon", 512, 1024, 8, 1, 64, 0, 32, false});
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "output.weight").type, UQFF_TYPE_Q8_0);
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "blk.1.ffn_down.weight").type,
                     UQFF_TYPE_Q6_K);
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "blk.2.ffn_down.weight").type,
                     UQFF_TYPE_Q5_K);
    assert_int_equal(choice_of(&list, "q4_k_m", &no_options, "blk.5.ffn_down.weight").type,
                     UQFF_TYPE_Q4_K);
    assert_int_equal(choice_of(&list, "q3_k_m", &no_options, "blk.5.ffn_down.weight").type,
                     UQFF_TYPE_Q3_K);
    assert_int_equal(choice_of(&list, "q3_k_l", &no_options, "blk.5.attn_output.weight").type,
                     UQFF_TYPE_Q4_K);
    assert_int_equal(choice_of(&list, "q4_k_s", &no_options, "blk.0.ffn_down.weight").type,
                     UQFF_TYPE_Q4_K);
}

static void test_unknown_architecture(void **state) {
    (void)state;
    struct tensor_list list = small;
    list.model.gguf_arch = "";
    for (size_t i = 0; i < list.count; i++) {
        assert_choice(choice_of(&list, "q4_k_m", &no_options, list.tensors[i].name), UQFF_TYPE_Q4_K,
                      UQFF_TYPE_Q4_K, UQFF_WHY_BASE);
    }
}

static void test_never_quantized(void **state) {
    (void)state;
    static const uint32_t sources[][2] = {{UQFF_TYPE_F32, UQFF_TYPE_F32},
                                          {UQFF_TYPE_BF16, UQFF_TYPE_BF16},
                                          {UQFF_TYPE_F16, UQFF_TYPE_F16},
                                          {UQFF_TYPE_Q8_0, UQFF_TYPE_F32},
                                          {UINT32_MAX, UQFF_TYPE_F32}};
    struct uqff_recipe_tensor router = {.name = "model.layers.0.block_sparse_moe.gate",
                                        .gguf_name = "blk.0.ffn_gate_inp",
                                        .role = UQFF_ROLE_OTHER,
                                        .columns = 512,
                                        .matrices = 1};
    static const char *const quants[] = {"q4_k_m", "q8_1"};
    for (size_t i = 0; i < COUNT(sources); i++) {
        router.source_type = sources[i][0];
        for (size_t q = 0; q < COUNT(quants); q++) {
            const struct uqff_quant quant = quant_of(quants[q]);
            struct uqff_choice choice;
            struct uqff_error err;
            assert_ok(uqff_recipe_choose(&quant, &small.model, &router, 1, NULL, &choice, &err),
                      &err);
            assert_choice(choice, sources[i][1], sources[i][1], UQFF_WHY_MIXTURE);
        }
    }
}

static void test_out_of_memory(void **state) {
    (void)state;
    const struct uqff_type_rule rules[] = {{"attn_v", UQFF_TYPE_Q8_0}, {"(a|b)+", UQFF_TYPE_Q8_0}};
    struct uqff_recipe_options options = no_options;
    options.rules = rules;
    options.rule_count = COUNT(rules);
    const struct uqff_quant quant = quant_of("q4_k_m");
    static struct uqff_choice choices[2048];
    struct uqff_error err;
    (void)fail_allocation(0);
    assert_ok(uqff_recipe_choose(&quant, &small.model, small.tensors, small.count, &options,
                                 choices, &err),
              &err);
    const size_t allocations = fail_allocation(0);
    assert_true(allocations > 4);
    for (size_t n = 1; n <= allocations; n++) {
        (void)fail_allocation(n);
        const enum uqff_code code = uqff_recipe_choose(&quant, &small.model, small.tensors,
                                                       small.count, &options, choices, &err);
        (void)fail_allocation(0);
        assert_int_equal(code, UQFF_E_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quant_names),
        cmocka_unit_test(test_refused_names),
        cmocka_unit_test(test_listed_names),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_pure),
        cmocka_unit_test(test_promotion),
        cmocka_unit_test(test_fallbacks),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_output_and_embedding_types),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_importance),
        cmocka_unit_test(test_eight_experts),
        cmocka_unit_test(test_falcon),
        cmocka_unit_test(test_unknown_architecture),
        cmocka_unit_test(test_never_quantized),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_small, NULL);
}
