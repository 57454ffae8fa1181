/* The table of architectures: every rule of each on a small checkpoint, and how names match. */
#include "libuqff/model/internal.h"
#include "test_model_builder.h"

/* What a tensor of a checkpoint must become. */
enum fate { IS_MODULE, IS_RESIDUAL, IS_BIAS, IS_EXPERT };

struct row {
    const char *name; /* of the tensor; modules without ".weight" */
    enum fate fate;
    unsigned rank;
    const char *gguf; /* what a GGUF calls it, without ".weight" for modules */
    enum uqff_role role;
    uint64_t heads; /* gguf_heads of the module */
};

/* Checkpoints have width 32, 4 heads (2 for keys and values), 2 experts, layers 0 and 11. */
#define CONFIG                                                                                     \
    "\"hidden_size\":32,\"num_attention_heads\":4,\"num_key_value_heads\":2,"                      \
    "\"num_hidden_layers\":12,\"num_local_experts\":2}"

#define M(name, gguf, role)                                                                        \
    { name, IS_MODULE, 2, gguf, UQFF_ROLE_##role, 0 }
#define ROTATED(name, gguf, role, heads)                                                           \
    { name, IS_MODULE, 2, gguf, UQFF_ROLE_##role, heads }
#define E(name)                                                                                    \
    { name, IS_EXPERT, 2, NULL, UQFF_ROLE_OTHER, 0 }
#define R(name, gguf)                                                                              \
    { name, IS_RESIDUAL, 1, gguf, UQFF_ROLE_OTHER, 0 }
#define ROUTER(name, gguf)                                                                         \
    { name, IS_RESIDUAL, 2, gguf, UQFF_ROLE_OTHER, 0 }
#define BIAS(name, gguf)                                                                           \
    { name, IS_BIAS, 1, gguf, UQFF_ROLE_OTHER, 0 }
#define L0 "model.layers.0."
#define L11 "model.layers.11."

#define ENDS                                                                                       \
    M("lm_head", "output", OUTPUT), M("model.embed_tokens", "token_embd", EMBEDDING),              \
        R("model.norm.weight", "output_norm.weight"),                                              \
        R(L11 "input_layernorm.weight", "blk.11.attn_norm.weight")
#define V_O                                                                                        \
    M(L11 "self_attn.v_proj", "blk.11.attn_v", ATTN_V),                                            \
        M(L11 "self_attn.o_proj", "blk.11.attn_output", ATTN_OUTPUT)
#define ATTENTION                                                                                  \
    M(L11 "self_attn.q_proj", "blk.11.attn_q", ATTN_Q),                                            \
        M(L11 "self_attn.k_proj", "blk.11.attn_k", ATTN_K), V_O
#define ROTATED_ATTENTION                                                                          \
    ROTATED(L11 "self_attn.q_proj", "blk.11.attn_q", ATTN_Q, 4),                                   \
        ROTATED(L11 "self_attn.k_proj", "blk.11.attn_k", ATTN_K, 2), V_O
#define MLP                                                                                        \
    M(L0 "mlp.gate_proj", "blk.0.ffn_gate", FFN_GATE),                                             \
        M(L0 "mlp.up_proj", "blk.0.ffn_up", FFN_UP),                                               \
        M(L0 "mlp.down_proj", "blk.0.ffn_down", FFN_DOWN)
#define FFN_NORM R(L0 "post_attention_layernorm.weight", "blk.0.ffn_norm.weight")
#define EXPERTS                                                                                    \
    E(L11 "mlp.experts.0.gate_proj.weight"), E(L11 "mlp.experts.1.gate_proj.weight"),              \
        E(L11 "mlp.experts.0.up_proj.weight"), E(L11 "mlp.experts.1.up_proj.weight"),              \
        E(L11 "mlp.experts.0.down_proj.weight"), E(L11 "mlp.experts.1.down_proj.weight"),          \
        ROUTER(L11 "mlp.gate.weight", "blk.11.ffn_gate_inp.weight")

static const struct row llama[] = {
    ENDS,
    ROTATED_ATTENTION,
    MLP,
    FFN_NORM,
    R(L0 "self_attn.rotary_emb.inv_freq", NULL),
    BIAS(L11 "self_attn.q_proj.bias", "blk.11.attn_q.bias"),
};
static const struct row qwen2[] = {
    ENDS,
    ATTENTION,
    MLP,
    FFN_NORM,
    BIAS(L11 "self_attn.q_proj.bias", "blk.11.attn_q.bias"),
    BIAS(L11 "self_attn.v_proj.bias", "blk.11.attn_v.bias"),
};
static const struct row qwen3[] = {
    ENDS,
    ATTENTION,
    MLP,
    FFN_NORM,
    R(L11 "self_attn.q_norm.weight", "blk.11.attn_q_norm.weight"),
    R(L11 "self_attn.k_norm.weight", "blk.11.attn_k_norm.weight"),
};
static const struct row qwen3_moe[] = {ENDS, ATTENTION, MLP, FFN_NORM, EXPERTS};
static const struct row mixtral[] = {
    ENDS,
    ROTATED_ATTENTION,
    FFN_NORM,
    E(L11 "block_sparse_moe.experts.0.w1.weight"),
    E(L11 "block_sparse_moe.experts.1.w1.weight"),
    E(L11 "block_sparse_moe.experts.0.w2.weight"),
    E(L11 "block_sparse_moe.experts.1.w2.weight"),
    E(L11 "block_sparse_moe.experts.0.w3.weight"),
    E(L11 "block_sparse_moe.experts.1.w3.weight"),
    ROUTER(L11 "block_sparse_moe.gate.weight", "blk.11.ffn_gate_inp.weight"),
};
static const struct row gemma[] = {
    M("model.embed_tokens", "token_embd", EMBEDDING),
    R("model.norm.weight", "output_norm.weight"),
    ATTENTION,
    MLP,
    FFN_NORM,
};
static const struct row gemma2[] = {
    M("model.embed_tokens", "token_embd", EMBEDDING),
    ATTENTION,
    MLP,
    R(L0 "post_attention_layernorm.weight", "blk.0.post_attention_norm.weight"),
    R(L0 "pre_feedforward_layernorm.weight", "blk.0.ffn_norm.weight"),
    R(L0 "post_feedforward_layernorm.weight", "blk.0.post_ffw_norm.weight"),
    R(L0 "self_attn.q_norm.weight", "blk.0.attn_q_norm.weight"),
};
#define TEXT "language_model.model.layers.3."
static const struct row gemma3[] = {
    M("language_model.model.embed_tokens", "token_embd", EMBEDDING),
    M(TEXT "self_attn.q_proj", "blk.3.attn_q", ATTN_Q),
    M(TEXT "mlp.down_proj", "blk.3.ffn_down", FFN_DOWN),
    R(TEXT "self_attn.k_norm.weight", "blk.3.attn_k_norm.weight"),
    M("model.language_model.layers.4.mlp.up_proj", "blk.4.ffn_up", FFN_UP),
    ROUTER("vision_tower.encoder.layers.0.mlp.fc1.weight", NULL),
    ROUTER("multi_modal_projector.mm_input_projection_weight", NULL),
};
static const struct row phi3[] = {
    ENDS,
    M(L0 "self_attn.qkv_proj", "blk.0.attn_qkv", ATTN_QKV),
    M(L0 "self_attn.o_proj", "blk.0.attn_output", ATTN_OUTPUT),
    M(L0 "mlp.gate_up_proj", "blk.0.ffn_up", FFN_UP),
    M(L0 "mlp.down_proj", "blk.0.ffn_down", FFN_DOWN),
    FFN_NORM,
};
static const struct row deepseek[] = {
    ENDS,
    M(L0 "self_attn.q_a_proj", "blk.0.attn_q_a", OTHER),
    M(L0 "self_attn.q_b_proj", "blk.0.attn_q_b", OTHER),
    M(L0 "self_attn.kv_a_proj_with_mqa", "blk.0.attn_kv_a_mqa", OTHER),
    M(L0 "self_attn.kv_b_proj", "blk.0.attn_kv_b", ATTN_KV_B),
    M(L11 "self_attn.q_proj", "blk.11.attn_q", ATTN_Q),
    M(L0 "self_attn.o_proj", "blk.0.attn_output", ATTN_OUTPUT),
    R(L0 "self_attn.q_a_layernorm.weight", "blk.0.attn_q_a_norm.weight"),
    R(L0 "self_attn.kv_a_layernorm.weight", "blk.0.attn_kv_a_norm.weight"),
    MLP,
    FFN_NORM,
    EXPERTS,
    M(L11 "mlp.shared_experts.gate_proj", "blk.11.ffn_gate_shexp", FFN_GATE),
    M(L11 "mlp.shared_experts.up_proj", "blk.11.ffn_up_shexp", FFN_UP),
    M(L11 "mlp.shared_experts.down_proj", "blk.11.ffn_down_shexp", FFN_DOWN),
    R(L11 "mlp.gate.e_score_correction_bias", "blk.11.exp_probs_b.bias"),
};
static const struct row gpt_oss[] = {
    ENDS,
    ATTENTION,
    BIAS(L11 "self_attn.o_proj.bias", "blk.11.attn_output.bias"),
    R(L0 "post_attention_layernorm.weight", "blk.0.post_attention_norm.weight"),
    R(L11 "self_attn.sinks", "blk.11.attn_sinks.weight"),
    ROUTER(L11 "mlp.router.weight", "blk.11.ffn_gate_inp.weight"),
    R(L11 "mlp.router.bias", "blk.11.ffn_gate_inp.bias"),
};

#define ROWS(rows) rows, sizeof rows / sizeof *rows
static const struct {
    const char *class, *type, *arch;
    const struct row *rows;
    size_t count;
    const char *moe; /* where stacked experts go, with the GGUF's names */
    float shift;
} cases[] = {
    {"LlamaForCausalLM", "llama", "llama", ROWS(llama), NULL, 0},
    {"MistralForCausalLM", "mistral", "mistral", ROWS(llama), NULL, 0},
    {"MixtralForCausalLM", "mixtral", "mixtral", ROWS(mixtral), "block_sparse_moe", 0},
    {"Qwen2ForCausalLM", "qwen2", "qwen2", ROWS(qwen2), NULL, 0},
    {"Qwen3ForCausalLM", "qwen3", "qwen3", ROWS(qwen3), NULL, 0},
    {"Qwen3MoeForCausalLM", "qwen3_moe", "qwen3_moe", ROWS(qwen3_moe), "mlp", 0},
    {"GemmaForCausalLM", "gemma", "gemma", ROWS(gemma), NULL, 1},
    {"Gemma2ForCausalLM", "gemma2", "gemma2", ROWS(gemma2), NULL, 1},
    {"Gemma3ForCausalLM", "gemma3_text", "gemma3_text", ROWS(gemma2), NULL, 1},
    {"Gemma3ForConditionalGeneration", "gemma3", "gemma3", ROWS(gemma3), NULL, 1},
    {"Phi3ForCausalLM", "phi3", "phi3", ROWS(phi3), NULL, 0},
    {"SmolLM3ForCausalLM", "smollm3", "smollm3", ROWS(llama), NULL, 0},
    {"DeepseekV2ForCausalLM", "deepseek_v2", "deepseek_v2", ROWS(deepseek), "mlp", 0},
    {"DeepseekV3ForCausalLM", "deepseek_v3", "deepseek_v3", ROWS(deepseek), "mlp", 0},
    {"GptOssForCausalLM", "gpt_oss", "gpt_oss", ROWS(gpt_oss), NULL, 0},
    {"SomethingElse", "qwen3", "qwen3", ROWS(qwen3), NULL, 0},
};

static void check_module(const struct uqff_model *model, const struct row *row) {
    const struct uqff_model_module *module = module_named(model, row->name);
    assert_string_equal(module->gguf_name, row->gguf);
    assert_int_equal(module->role, row->role);
    assert_int_equal(module->gguf_heads, row->heads);
    assert_int_equal(module->layer, uqff_model_guess_layer(row->name));
    char name[128];
    snprintf(name, sizeof name, "%s.weight", module->gguf_name);
    assert_int_equal(uqff_role_from_gguf_name(name), row->role);
}

static void check_other(const struct uqff_model *model, const struct row *row, float shift) {
    size_t i = uqff_model_find_tensor(model, row->name);
    assert_int_not_equal(i, UQFF_NONE);
    const struct uqff_tensor *tensor = uqff_model_tensor(model, i);
    assert_int_equal(is_residual(model, row->name), row->fate == IS_RESIDUAL);
    if (row->fate == IS_EXPERT) {
        return;
    }
    if (row->gguf == NULL) {
        assert_null(tensor->gguf_name);
        return;
    }
    assert_string_equal(tensor->gguf_name, row->gguf);
    bool norm = strstr(row->name, "norm.weight") != NULL;
    assert_true(tensor->gguf_shift == (norm ? shift : 0));
    if (row->fate == IS_BIAS) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)(strlen(row->name) - 5), row->name);
        assert_int_equal(module_named(model, name)->bias, i);
    }
}

static void check_stack(const struct uqff_model *model, const char *moe) {
    static const char *const leaves[] = {"gate", "up", "down"};
    for (size_t i = 0; i < 3; i++) {
        char name[128], gguf[64];
        snprintf(name, sizeof name, "model.layers.11.%s.experts.%s_proj", moe, leaves[i]);
        snprintf(gguf, sizeof gguf, "blk.11.ffn_%s_exps", leaves[i]);
        const struct uqff_model_module *module = module_named(model, name);
        assert_string_equal(module->gguf_name, gguf);
        assert_int_equal(module->rank, 3);
        assert_int_equal(module->shape[0], 2);
        assert_int_equal(module->rows, 64);
        assert_int_equal(module->layer, 11);
    }
}

static void sorts_every_architecture(void **state) {
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct made made[64];
        char names[64][128], config[512];
        size_t modules = 0, residual = 0;
        for (size_t i = 0; i < cases[c].count; i++) {
            const struct row *row = &cases[c].rows[i];
            snprintf(names[i], sizeof names[i], "%s%s", row->name,
                     row->fate == IS_MODULE ? ".weight" : "");
            made[i] = (struct made){names[i], UQFF_DTYPE_BF16, row->rank, {32, 32}};
            modules += row->fate == IS_MODULE;
            residual += row->fate == IS_RESIDUAL;
        }
        snprintf(config, sizeof config,
                 "{\"architectures\":[\"%s\"],\"model_type\":\"%s\","
                 "\"tie_word_embeddings\":false," CONFIG,
                 cases[c].class, cases[c].type);
        warnings[0] = 0;
        struct uqff_model *model = open_made(config, made, cases[c].count);
        assert_string_equal(warnings, "");
        assert_string_equal(uqff_model_arch(model)->name, cases[c].arch);
        for (size_t i = 0; i < cases[c].count; i++) {
            const struct row *row = &cases[c].rows[i];
            if (row->fate == IS_MODULE) {
                check_module(model, row);
            } else {
                check_other(model, row, cases[c].shift);
            }
        }
        if (cases[c].moe != NULL) {
            check_stack(model, cases[c].moe);
            modules += 3;
        }
        assert_int_equal(uqff_model_module_count(model), modules);
        assert_int_equal(uqff_model_residual_count(model), residual);
        for (size_t i = 1; i < modules; i++) {
            assert_true(uqff_module_order(uqff_model_module(model, i - 1)->name,
                                          uqff_model_module(model, i)->name) < 0);
        }
        uqff_model_close(model);
    }
}

/* ---- the table itself ------------------------------------------------------------------------ */

static void check_rules(const struct uqff_arch_rule *rules) {
    for (const struct uqff_arch_rule *rule = rules; rule->kind != RULE_END; rule++) {
        if (rule->kind == RULE_INCLUDE) {
            check_rules(rule->list);
            continue;
        }
        assert_non_null(rule->hf);
        assert_true(rule->kind != RULE_EXPERT || rule->leaf != NULL);
        if (rule->kind == RULE_MODULE && rule->gguf != NULL) {
            struct rule_match match = {.rule = rule, .layer = 7};
            struct uqff_arena arena = {0};
            char *name = uqff_model_expand(&arena, rule->gguf, &match, ".weight");
            assert_int_equal(uqff_role_from_gguf_name(name), rule->role);
            uqff_arena_free(&arena);
        }
    }
}

static void keeps_its_table_consistent(void **state) {
    (void)state;
    size_t count;
    const struct uqff_arch *table = uqff_arch_table(&count);
    assert_int_equal(count, 15);
    for (size_t i = 0; i < count; i++) {
        check_rules(table[i].rules);
        assert_ptr_equal(uqff_arch_find(table[i].name), &table[i]);
        assert_ptr_equal(uqff_arch_find(table[i].classes[0]), &table[i]);
        assert_non_null(uqff_arch_find(table[i].gguf_name));
    }
    assert_string_equal(uqff_arch_find("gpt-oss")->name, "gpt_oss");
    assert_string_equal(uqff_arch_find("qwen3moe")->name, "qwen3_moe");
    assert_string_equal(uqff_arch_find("deepseek2")->name, "deepseek_v2");
    assert_null(uqff_arch_find("GPT2LMHeadModel"));
    assert_null(uqff_arch_find(""));
    assert_null(uqff_arch_find(NULL));
}

static void takes_roles_from_gguf_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum uqff_role role;
    } names[] = {
        {"output.weight", UQFF_ROLE_OUTPUT},
        {"blk.0.output.weight", UQFF_ROLE_OTHER},
        {"token_embd.weight", UQFF_ROLE_EMBEDDING},
        {"per_layer_token_embd.weight", UQFF_ROLE_EMBEDDING},
        {"token_embd_norm.weight", UQFF_ROLE_OTHER},
        {"blk.1.attn_qkv.weight", UQFF_ROLE_ATTN_QKV},
        {"blk.1.attn_kv_b.weight", UQFF_ROLE_ATTN_KV_B},
        {"blk.1.attn_kv_a_mqa.weight", UQFF_ROLE_OTHER},
        {"blk.1.attn_v.weight", UQFF_ROLE_ATTN_V},
        {"blk.1.attn_v.bias", UQFF_ROLE_OTHER},
        {"blk.1.attn_k.weight", UQFF_ROLE_ATTN_K},
        {"blk.1.attn_k_b.weight", UQFF_ROLE_OTHER},
        {"blk.1.attn_q.weight", UQFF_ROLE_ATTN_Q},
        {"blk.1.attn_output.weight", UQFF_ROLE_ATTN_OUTPUT},
        {"blk.1.ffn_up.weight", UQFF_ROLE_FFN_UP},
        {"blk.1.ffn_up_exps.weight", UQFF_ROLE_FFN_UP},
        {"blk.1.ffn_gate_up_exps.weight", UQFF_ROLE_FFN_GATE},
        {"blk.1.ffn_gate_shexp.weight", UQFF_ROLE_FFN_GATE},
        {"blk.1.ffn_down_exps.weight", UQFF_ROLE_FFN_DOWN},
        {"blk.1.ffn_norm.weight", UQFF_ROLE_OTHER},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(uqff_role_from_gguf_name(names[i].name), names[i].role);
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

static void reads_numbers_exactly(void **state) {
    (void)state;
    static const char *const no_numbers[] = {
        "", "00", "01", "-1", "+1", " 1", "x", ".0", "4294967296", "18446744073709551616"};
    uint64_t number;
    for (size_t i = 0; i < sizeof no_numbers / sizeof *no_numbers; i++) {
        assert_int_equal(uqff_model_parse_number(no_numbers[i], &number), 0);
    }
    assert_int_equal(uqff_model_parse_number("0.x", &number), 1);
    assert_int_equal(number, 0);
    assert_int_equal(uqff_model_parse_number("999999999", &number), 9);
    assert_int_equal(number, 999999999);
}

static void matches_whole_names_only(void **state) {
    (void)state;
    const struct uqff_arch *arch = uqff_arch_find("mixtral");
    struct rule_match match;
    static const char *const strangers[] = {
        "model.layers.00.self_attn.q_proj.weight",
        "model.layers.-1.self_attn.q_proj.weight",
        "model.layers.4294967296.self_attn.q_proj.weight",
        "model.layers..self_attn.q_proj.weight",
        "model.layers.0.self_attn.q_proj.weight.x",
        "xmodel.layers.0.self_attn.q_proj.weight",
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.block_sparse_moe.experts.01.w1.weight",
        "",
        ".weight",
    };
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        assert_false(uqff_model_match_hf(arch, strangers[i], &match));
    }
    static const char expert[] = "model.layers.12.block_sparse_moe.experts.345.w2.weight";
    assert_true(uqff_model_match_hf(arch, expert, &match));
    assert_int_equal(match.layer, 12);
    assert_int_equal(match.expert, 345);
    assert_memory_equal(expert + match.expert_begin, "345.w2", 6);
    assert_memory_equal(expert + match.expert_end, ".w2", 3);
    static const char wrapped[] =
        "language_model.model.layers.1.block_sparse_moe.experts.7.w2.weight";
    assert_true(uqff_model_match_hf(arch, wrapped, &match));
    assert_memory_equal(wrapped + match.expert_begin, "7.w2", 4);
    static const char bare[] = "layers.1.block_sparse_moe.experts.7.w2.weight";
    assert_true(uqff_model_match_hf(arch, bare, &match));
    assert_memory_equal(bare + match.expert_begin, "7.w2", 4);
    assert_true(uqff_model_match_gguf(arch, "blk.3.ffn_down.5.weight", &match));
    struct uqff_arena arena = {0};
    assert_string_equal(uqff_model_expand(&arena, match.rule->hf, &match, ".weight"),
                        "model.layers.3.block_sparse_moe.experts.5.w2.weight");
    uqff_arena_free(&arena);
    char longest[4000];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_false(uqff_model_match_hf(arch, longest, &match));
}

static void names_single_experts(void **state) {
    (void)state;
    static const struct {
        const char *arch, *module, *expected;
    } names[] = {
        {"mixtral", "model.layers.3.block_sparse_moe.experts.up_proj",
         "model.layers.3.block_sparse_moe.experts.7.w3"},
        {"qwen3_moe", "model.layers.0.mlp.experts.down_proj",
         "model.layers.0.mlp.experts.7.down_proj"},
        {"gpt_oss", "model.layers.0.mlp.experts.down_proj", ""},
        {"llama", "model.layers.0.mlp.down_proj", ""},
        {"mixtral", "lm_head", ""},
        {NULL, "model.layers.0.mlp.experts.down_proj", ""},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[128] = "";
        const struct uqff_arch *arch = uqff_arch_find(names[i].arch);
        size_t n = uqff_arch_expert_name(arch, names[i].module, 7, name, sizeof name);
        assert_int_equal(n, strlen(names[i].expected));
        assert_string_equal(name, names[i].expected);
    }
}

static void guesses_layers(void **state) {
    (void)state;
    assert_int_equal(uqff_model_guess_layer("model.layers.5.mlp.up_proj"), 5);
    assert_int_equal(uqff_model_guess_layer("blk.17.attn_q.weight"), 17);
    assert_int_equal(uqff_model_guess_layer("transformer.h.3.mlp"), 3);
    assert_int_equal(uqff_model_guess_layer("encoder.layer.9"), 9);
    assert_int_equal(uqff_model_guess_layer("layers.00.x"), -1);
    assert_int_equal(uqff_model_guess_layer("xlayers.1.x"), -1);
    assert_int_equal(uqff_model_guess_layer("lm_head"), -1);
    assert_int_equal(uqff_model_guess_layer(""), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sorts_every_architecture, enter_folder),
        cmocka_unit_test(keeps_its_table_consistent),
        cmocka_unit_test(takes_roles_from_gguf_names),
        cmocka_unit_test(reads_numbers_exactly),
        cmocka_unit_test(matches_whole_names_only),
        cmocka_unit_test(names_single_experts),
        cmocka_unit_test(guesses_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
