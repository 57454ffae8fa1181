/* The table of architectures: which tensors of each are quantizable modules, what they are called
 * elsewhere and what llama.cpp's recipes take them for. A new architecture is a row of the table at
 * the end, and a list of what is not shared. */
#include <stddef.h>
#include <string.h>

#include "model/internal.h"

/* Rows as they read best: Hugging Face name, GGUF name, role, flags. */
#define MODULE(hf_, gguf_, role_, flags_)                                                          \
    { .kind = RULE_MODULE, .hf = (hf_), .gguf = (gguf_), .role = (role_), .flags = (flags_) }
#define EXPERT(hf_, gguf_, leaf_)                                                                  \
    { .kind = RULE_EXPERT, .hf = (hf_), .gguf = (gguf_), .leaf = (leaf_) }
#define FUSED(hf_)                                                                                 \
    { .kind = RULE_FUSED, .hf = (hf_), .flags = RULE_BARE }
#define RESIDUAL(hf_, gguf_, flags_)                                                               \
    { .kind = RULE_RESIDUAL, .hf = (hf_), .gguf = (gguf_), .flags = (flags_) }
#define INCLUDE(list_)                                                                             \
    { .kind = RULE_INCLUDE, .list = (list_) }
#define END                                                                                        \
    { .kind = RULE_END }

#define LAYER "model.layers.{}."

/* ---- shared lists ---------------------------------------------------------------------------- */

static const struct uqff_arch_rule ends[] = {
    MODULE("model.embed_tokens", "token_embd", UQFF_ROLE_EMBEDDING, 0),
    MODULE("lm_head", "output", UQFF_ROLE_OUTPUT, 0),
    RESIDUAL("model.rope_freqs.weight", "rope_freqs.weight", 0),
    END,
};

static const struct uqff_arch_rule norms[] = {
    RESIDUAL("model.norm.weight", "output_norm.weight", 0),
    RESIDUAL(LAYER "input_layernorm.weight", "blk.{}.attn_norm.weight", 0),
    END,
};

/* The second norm of a layer stands before the feed-forward part in most architectures … */
static const struct uqff_arch_rule ffn_norm[] = {
    RESIDUAL(LAYER "post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", 0),
    END,
};

/* … and its GGUF name differs where llama.cpp's graph applies it to the attention's output. */
static const struct uqff_arch_rule post_attention_norm[] = {
    RESIDUAL(LAYER "post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight", 0),
    END,
};

static const struct uqff_arch_rule v_and_o[] = {
    MODULE(LAYER "self_attn.v_proj", "blk.{}.attn_v", UQFF_ROLE_ATTN_V, 0),
    MODULE(LAYER "self_attn.o_proj", "blk.{}.attn_output", UQFF_ROLE_ATTN_OUTPUT, 0),
    END,
};

static const struct uqff_arch_rule attention[] = {
    MODULE(LAYER "self_attn.q_proj", "blk.{}.attn_q", UQFF_ROLE_ATTN_Q, 0),
    MODULE(LAYER "self_attn.k_proj", "blk.{}.attn_k", UQFF_ROLE_ATTN_K, 0),
    INCLUDE(v_and_o),
    END,
};

/* llama.cpp rotates neighbouring pairs for these architectures, Hugging Face rotates halves. */
static const struct uqff_arch_rule rotated_attention[] = {
    MODULE(LAYER "self_attn.q_proj", "blk.{}.attn_q", UQFF_ROLE_ATTN_Q, RULE_ROTATED),
    MODULE(LAYER "self_attn.k_proj", "blk.{}.attn_k", UQFF_ROLE_ATTN_K, RULE_ROTATED),
    INCLUDE(v_and_o),
    END,
};

static const struct uqff_arch_rule qk_norms[] = {
    RESIDUAL(LAYER "self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight", 0),
    RESIDUAL(LAYER "self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight", 0),
    END,
};

static const struct uqff_arch_rule mlp[] = {
    MODULE(LAYER "mlp.gate_proj", "blk.{}.ffn_gate", UQFF_ROLE_FFN_GATE, 0),
    MODULE(LAYER "mlp.up_proj", "blk.{}.ffn_up", UQFF_ROLE_FFN_UP, 0),
    MODULE(LAYER "mlp.down_proj", "blk.{}.ffn_down", UQFF_ROLE_FFN_DOWN, 0),
    END,
};

static const struct uqff_arch_rule experts[] = {
    EXPERT(LAYER "mlp.experts.{e}.gate_proj", "blk.{}.ffn_gate.{e}", "gate_proj"),
    EXPERT(LAYER "mlp.experts.{e}.up_proj", "blk.{}.ffn_up.{e}", "up_proj"),
    EXPERT(LAYER "mlp.experts.{e}.down_proj", "blk.{}.ffn_down.{e}", "down_proj"),
    FUSED(LAYER "mlp.experts.gate_up_proj"),
    MODULE(LAYER "mlp.experts.gate_proj", "blk.{}.ffn_gate_exps", UQFF_ROLE_FFN_GATE, RULE_BARE),
    MODULE(LAYER "mlp.experts.up_proj", "blk.{}.ffn_up_exps", UQFF_ROLE_FFN_UP, RULE_BARE),
    MODULE(LAYER "mlp.experts.down_proj", "blk.{}.ffn_down_exps", UQFF_ROLE_FFN_DOWN, RULE_BARE),
    RESIDUAL(LAYER "mlp.gate.weight", "blk.{}.ffn_gate_inp.weight", 0),
    END,
};

/* ---- one list an architecture, or family ----------------------------------------------------- */

static const struct uqff_arch_rule llama[] = {
    INCLUDE(ends), INCLUDE(norms), INCLUDE(ffn_norm), INCLUDE(rotated_attention), INCLUDE(mlp), END,
};

static const struct uqff_arch_rule mixtral[] = {
    INCLUDE(ends),
    INCLUDE(norms),
    INCLUDE(ffn_norm),
    INCLUDE(rotated_attention),
    EXPERT(LAYER "block_sparse_moe.experts.{e}.w1", "blk.{}.ffn_gate.{e}", "gate_proj"),
    EXPERT(LAYER "block_sparse_moe.experts.{e}.w3", "blk.{}.ffn_up.{e}", "up_proj"),
    EXPERT(LAYER "block_sparse_moe.experts.{e}.w2", "blk.{}.ffn_down.{e}", "down_proj"),
    MODULE(LAYER "block_sparse_moe.experts.gate_proj", "blk.{}.ffn_gate_exps", UQFF_ROLE_FFN_GATE,
           RULE_BARE),
    MODULE(LAYER "block_sparse_moe.experts.up_proj", "blk.{}.ffn_up_exps", UQFF_ROLE_FFN_UP,
           RULE_BARE),
    MODULE(LAYER "block_sparse_moe.experts.down_proj", "blk.{}.ffn_down_exps", UQFF_ROLE_FFN_DOWN,
           RULE_BARE),
    FUSED(LAYER "block_sparse_moe.experts.gate_up_proj"),
    RESIDUAL(LAYER "block_sparse_moe.gate.weight", "blk.{}.ffn_gate_inp.weight", 0),
    INCLUDE(experts),
    END,
};

static const struct uqff_arch_rule qwen[] = {
    INCLUDE(ends),
    INCLUDE(norms),
    INCLUDE(ffn_norm),
    INCLUDE(attention),
    INCLUDE(mlp),
    INCLUDE(qk_norms),
    END,
};

static const struct uqff_arch_rule qwen_moe[] = {
    INCLUDE(qwen),
    INCLUDE(experts),
    END,
};

/* What all of Gemma have. */
static const struct uqff_arch_rule gemmas[] = {
    INCLUDE(ends),
    INCLUDE(attention),
    INCLUDE(mlp),
    RESIDUAL("model.norm.weight", "output_norm.weight", RULE_SHIFTED),
    RESIDUAL(LAYER "input_layernorm.weight", "blk.{}.attn_norm.weight", RULE_SHIFTED),
    END,
};

static const struct uqff_arch_rule gemma[] = {
    INCLUDE(gemmas),
    RESIDUAL(LAYER "post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", RULE_SHIFTED),
    END,
};

static const struct uqff_arch_rule gemma2[] = {
    INCLUDE(gemmas),
    RESIDUAL(LAYER "post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight",
             RULE_SHIFTED),
    RESIDUAL(LAYER "pre_feedforward_layernorm.weight", "blk.{}.ffn_norm.weight", RULE_SHIFTED),
    RESIDUAL(LAYER "post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight",
             RULE_SHIFTED),
    RESIDUAL(LAYER "self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight", RULE_SHIFTED),
    RESIDUAL(LAYER "self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight", RULE_SHIFTED),
    END,
};

/* Fused projections: q, k and v rows in one tensor, gate and up rows in another. */
static const struct uqff_arch_rule phi3[] = {
    INCLUDE(ends),
    INCLUDE(norms),
    INCLUDE(ffn_norm),
    MODULE(LAYER "self_attn.qkv_proj", "blk.{}.attn_qkv", UQFF_ROLE_ATTN_QKV, 0),
    MODULE(LAYER "self_attn.o_proj", "blk.{}.attn_output", UQFF_ROLE_ATTN_OUTPUT, 0),
    MODULE(LAYER "mlp.gate_up_proj", "blk.{}.ffn_up", UQFF_ROLE_FFN_UP, 0),
    MODULE(LAYER "mlp.down_proj", "blk.{}.ffn_down", UQFF_ROLE_FFN_DOWN, 0),
    RESIDUAL("model.rope_factors_long.weight", "rope_factors_long.weight", 0),
    RESIDUAL("model.rope_factors_short.weight", "rope_factors_short.weight", 0),
    END,
};

/* Latent attention; the first layers are dense, the others have routed and shared experts. A GGUF
 * has kv_b in one piece or, newer, as k_b and v_b. */
static const struct uqff_arch_rule deepseek[] = {
    INCLUDE(ends),
    INCLUDE(norms),
    INCLUDE(ffn_norm),
    MODULE(LAYER "self_attn.q_proj", "blk.{}.attn_q", UQFF_ROLE_ATTN_Q, 0),
    MODULE(LAYER "self_attn.q_a_proj", "blk.{}.attn_q_a", UQFF_ROLE_OTHER, 0),
    MODULE(LAYER "self_attn.q_b_proj", "blk.{}.attn_q_b", UQFF_ROLE_OTHER, 0),
    MODULE(LAYER "self_attn.kv_a_proj_with_mqa", "blk.{}.attn_kv_a_mqa", UQFF_ROLE_OTHER, 0),
    MODULE(LAYER "self_attn.kv_b_proj", "blk.{}.attn_kv_b", UQFF_ROLE_ATTN_KV_B, 0),
    MODULE(LAYER "self_attn.k_b_proj", "blk.{}.attn_k_b", UQFF_ROLE_OTHER, RULE_BARE),
    MODULE(LAYER "self_attn.v_b_proj", "blk.{}.attn_v_b", UQFF_ROLE_OTHER, RULE_BARE),
    MODULE(LAYER "self_attn.o_proj", "blk.{}.attn_output", UQFF_ROLE_ATTN_OUTPUT, 0),
    RESIDUAL(LAYER "self_attn.q_a_layernorm.weight", "blk.{}.attn_q_a_norm.weight", 0),
    RESIDUAL(LAYER "self_attn.kv_a_layernorm.weight", "blk.{}.attn_kv_a_norm.weight", 0),
    INCLUDE(mlp),
    INCLUDE(experts),
    MODULE(LAYER "mlp.shared_experts.gate_proj", "blk.{}.ffn_gate_shexp", UQFF_ROLE_FFN_GATE, 0),
    MODULE(LAYER "mlp.shared_experts.up_proj", "blk.{}.ffn_up_shexp", UQFF_ROLE_FFN_UP, 0),
    MODULE(LAYER "mlp.shared_experts.down_proj", "blk.{}.ffn_down_shexp", UQFF_ROLE_FFN_DOWN, 0),
    RESIDUAL(LAYER "mlp.gate.e_score_correction_bias", "blk.{}.exp_probs_b.bias", 0),
    END,
};

/* The rows of gate and up alternate in gate_up_proj, which therefore stays one module; a GGUF has
 * them apart. */
static const struct uqff_arch_rule gpt_oss[] = {
    INCLUDE(ends),
    INCLUDE(norms),
    INCLUDE(post_attention_norm),
    INCLUDE(attention),
    MODULE(LAYER "mlp.experts.gate_up_proj", NULL, UQFF_ROLE_FFN_GATE, RULE_BARE | RULE_TRANSPOSED),
    MODULE(LAYER "mlp.experts.gate_proj", "blk.{}.ffn_gate_exps", UQFF_ROLE_FFN_GATE, RULE_BARE),
    MODULE(LAYER "mlp.experts.up_proj", "blk.{}.ffn_up_exps", UQFF_ROLE_FFN_UP, RULE_BARE),
    MODULE(LAYER "mlp.experts.down_proj", "blk.{}.ffn_down_exps", UQFF_ROLE_FFN_DOWN,
           RULE_BARE | RULE_TRANSPOSED),
    RESIDUAL(LAYER "mlp.router.weight", "blk.{}.ffn_gate_inp.weight", 0),
    RESIDUAL(LAYER "mlp.router.bias", "blk.{}.ffn_gate_inp.bias", 0),
    RESIDUAL(LAYER "self_attn.sinks", "blk.{}.attn_sinks.weight", 0),
    END,
};

/* ---- the table ------------------------------------------------------------------------------- */

#define CLASSES(...)                                                                               \
    (const char *const[]) {                                                                        \
        __VA_ARGS__, NULL                                                                          \
    }

/* Where several rows have one GGUF name, the first is what a GGUF is taken for; gguf.c tells the
 * others apart by their metadata. */
static const struct uqff_arch table[] = {
    {"llama", "llama", CLASSES("LlamaForCausalLM", "LLaMAForCausalLM"), llama, false},
    {"mistral", "llama", CLASSES("MistralForCausalLM"), llama, false},
    {"mixtral", "llama", CLASSES("MixtralForCausalLM"), mixtral, false},
    {"qwen2", "qwen2", CLASSES("Qwen2ForCausalLM"), qwen, false},
    {"qwen3", "qwen3", CLASSES("Qwen3ForCausalLM"), qwen, false},
    {"qwen3_moe", "qwen3moe", CLASSES("Qwen3MoeForCausalLM"), qwen_moe, false},
    {"gemma", "gemma", CLASSES("GemmaForCausalLM"), gemma, true},
    {"gemma2", "gemma2", CLASSES("Gemma2ForCausalLM"), gemma2, true},
    {"gemma3_text", "gemma3", CLASSES("Gemma3ForCausalLM"), gemma2, true},
    {"gemma3", "gemma3", CLASSES("Gemma3ForConditionalGeneration"), gemma2, true},
    {"phi3", "phi3", CLASSES("Phi3ForCausalLM"), phi3, false},
    {"smollm3", "smollm3", CLASSES("SmolLM3ForCausalLM"), llama, true},
    {"deepseek_v2", "deepseek2", CLASSES("DeepseekV2ForCausalLM"), deepseek, false},
    {"deepseek_v3", "deepseek2", CLASSES("DeepseekV3ForCausalLM"), deepseek, false},
    {"gpt_oss", "gpt-oss", CLASSES("GptOssForCausalLM"), gpt_oss, false},
};

const struct uqff_arch *uqff_arch_table(size_t *count) {
    *count = sizeof table / sizeof *table;
    return table;
}

static bool has_class(const struct uqff_arch *arch, const char *name) {
    for (const char *const *class = arch->classes; *class != NULL; class ++) {
        if (strcmp(*class, name) == 0) {
            return true;
        }
    }
    return false;
}

const struct uqff_arch *uqff_arch_find(const char *name) {
    const struct uqff_arch *by_gguf_name = NULL;
    if (name == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) == 0 || has_class(&table[i], name)) {
            return &table[i];
        }
        if (by_gguf_name == NULL && strcmp(table[i].gguf_name, name) == 0) {
            by_gguf_name = &table[i];
        }
    }
    return by_gguf_name;
}

/* ---- roles ----------------------------------------------------------------------------------- */

/* Substrings in the order in which llama.cpp tests them: the order decides, since an expert's name
 * holds the dense one's. */
static const struct {
    const char *text;
    bool whole;
    enum uqff_role role;
} role_table[] = {
    {"output.weight", true, UQFF_ROLE_OUTPUT},
    {"token_embd.weight", true, UQFF_ROLE_EMBEDDING},
    {"per_layer_token_embd.weight", true, UQFF_ROLE_EMBEDDING},
    {"attn_qkv.weight", false, UQFF_ROLE_ATTN_QKV},
    {"attn_kv_b.weight", false, UQFF_ROLE_ATTN_KV_B},
    {"attn_v.weight", false, UQFF_ROLE_ATTN_V},
    {"attn_k.weight", false, UQFF_ROLE_ATTN_K},
    {"attn_q.weight", false, UQFF_ROLE_ATTN_Q},
    {"attn_output.weight", false, UQFF_ROLE_ATTN_OUTPUT},
    {"ffn_up", false, UQFF_ROLE_FFN_UP},
    {"ffn_gate", false, UQFF_ROLE_FFN_GATE},
    {"ffn_down", false, UQFF_ROLE_FFN_DOWN},
};

enum uqff_role uqff_role_from_gguf_name(const char *name) {
    for (size_t i = 0; i < sizeof role_table / sizeof *role_table; i++) {
        if (role_table[i].whole ? strcmp(name, role_table[i].text) == 0
                                : strstr(name, role_table[i].text) != NULL) {
            return role_table[i].role;
        }
    }
    return UQFF_ROLE_OTHER;
}
