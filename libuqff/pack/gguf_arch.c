/* The architectures that can become GGUF files: a row each, with the tensors that llama.cpp's
 * loader demands and the metadata that it reads, in the order in which its converter writes them.
 */
#include "pack/gguf.h"

#include <string.h>

/* ---- keys ------------------------------------------------------------------------------------ */

#define AT(member) offsetof(struct gguf_numbers, member)
#define COUNT(name_, member_)                                                                      \
    { .kind = GGUF_KEY_COUNT, .name = (name_), .offset = AT(member_) }
#define NEEDED(name_, member_, json_)                                                              \
    { .kind = GGUF_KEY_COUNT, .name = (name_), .offset = AT(member_), .needed = (json_) }
#define FIXED(name_, member_)                                                                      \
    { .kind = GGUF_KEY_FIXED, .name = (name_), .offset = AT(member_) }
#define REAL(name_, member_)                                                                       \
    { .kind = GGUF_KEY_REAL, .name = (name_), .offset = AT(member_) }
#define ROPE_SCALING                                                                               \
    { .kind = GGUF_KEY_ROPE_SCALING }
#define FILE_TYPE                                                                                  \
    { .kind = GGUF_KEY_FILE_TYPE }
#define INCLUDE(list_)                                                                             \
    { .kind = GGUF_KEY_INCLUDE, .list = (list_) }
#define END                                                                                        \
    { .kind = GGUF_KEY_END }

#define LAYERS NEEDED("block_count", config.layers, "num_hidden_layers")
#define CONTEXT NEEDED("context_length", config.context, "max_position_embeddings")
#define HIDDEN NEEDED("embedding_length", config.hidden, "hidden_size")
#define FEED_FORWARD COUNT("feed_forward_length", config.feed_forward)
#define HEADS NEEDED("attention.head_count", config.heads, "num_attention_heads")
#define KV_HEADS COUNT("attention.head_count_kv", config.kv_heads)
#define EPSILON REAL("attention.layer_norm_rms_epsilon", config.rms_epsilon)
#define THETA REAL("rope.freq_base", config.rope_theta)
#define HEAD_DIMS                                                                                  \
    COUNT("attention.key_length", config.head_dim), COUNT("attention.value_length", config.head_dim)
#define ROTARY COUNT("rope.dimension_count", rotary_dim)

static const struct gguf_key common_keys[] = {
    LAYERS,
    CONTEXT,
    HIDDEN,
    FEED_FORWARD,
    HEADS,
    KV_HEADS,
    ROPE_SCALING,
    THETA,
    EPSILON,
    COUNT("expert_count", config.experts),
    COUNT("expert_used_count", config.experts_used),
    HEAD_DIMS,
    FILE_TYPE,
    END,
};

static const struct gguf_key llama_keys[] = {
    INCLUDE(common_keys),
    FIXED("vocab_size", config.vocabulary),
    ROTARY,
    END,
};

static const struct gguf_key qwen_moe_keys[] = {
    INCLUDE(common_keys),
    COUNT("expert_feed_forward_length", config.expert_feed_forward),
    COUNT("expert_shared_feed_forward_length", config.shared_expert_feed_forward),
    END,
};

static const struct gguf_key gemma_keys[] = {
    CONTEXT, HIDDEN, LAYERS, FEED_FORWARD, HEADS, KV_HEADS, EPSILON, HEAD_DIMS, FILE_TYPE, END,
};

static const struct gguf_key gemma2_keys[] = {
    INCLUDE(gemma_keys),
    REAL("attn_logit_softcapping", config.attention_softcap),
    REAL("final_logit_softcapping", config.output_softcap),
    COUNT("attention.sliding_window", config.sliding_window),
    END,
};

static const struct gguf_key gemma3_keys[] = {
    INCLUDE(common_keys),
    REAL("final_logit_softcapping", config.output_softcap),
    COUNT("attention.sliding_window", config.sliding_window),
    END,
};

/* A window of 0 is how llama.cpp tells Phi-4 from Phi-3. */
static const struct gguf_key phi3_keys[] = {
    CONTEXT,
    COUNT("rope.scaling.original_context_length", config.rope.original_context),
    HIDDEN,
    FEED_FORWARD,
    LAYERS,
    HEADS,
    KV_HEADS,
    EPSILON,
    ROTARY,
    THETA,
    FILE_TYPE,
    FIXED("attention.sliding_window", config.sliding_window),
    REAL("rope.scaling.attn_factor", attention_factor),
    END,
};

/* ---- tensors --------------------------------------------------------------------------------- */

#define ENDS "token_embd.weight", "output_norm.weight", "blk.{}.attn_norm.weight"
#define QKV "blk.{}.attn_q.weight", "blk.{}.attn_k.weight", "blk.{}.attn_v.weight"
#define ATTENTION QKV, "blk.{}.attn_output.weight"
#define FFN                                                                                        \
    "blk.{}.ffn_norm.weight", "blk.{}.ffn_gate.weight", "blk.{}.ffn_up.weight",                    \
        "blk.{}.ffn_down.weight"
#define EXPERTS                                                                                    \
    "blk.{}.ffn_norm.weight", "blk.{}.ffn_gate_inp.weight", "blk.{}.ffn_gate_exps.weight",         \
        "blk.{}.ffn_up_exps.weight", "blk.{}.ffn_down_exps.weight"
#define QKV_BIAS "blk.{}.attn_q.bias", "blk.{}.attn_k.bias", "blk.{}.attn_v.bias"
#define QK_NORMS "blk.{}.attn_q_norm.weight", "blk.{}.attn_k_norm.weight"
#define POST_NORMS "blk.{}.post_attention_norm.weight", "blk.{}.post_ffw_norm.weight"
#define LIST(...)                                                                                  \
    (const char *const[]) {                                                                        \
        __VA_ARGS__, NULL                                                                          \
    }

#define OUTPUT_BIAS "blk.{}.attn_output.bias"
#define FFN_BIAS "blk.{}.ffn_gate.bias", "blk.{}.ffn_up.bias", "blk.{}.ffn_down.bias"
#define ROPE_FREQS "rope_freqs.weight"
#define ROPE_FACTORS "rope_factors_long.weight", "rope_factors_short.weight"

/* ---- the table ------------------------------------------------------------------------------- */

static const struct uqff_config llama_defaults = {.rms_epsilon = 1e-6};
static const struct uqff_config gemma_defaults = {.rms_epsilon = 1e-6, .head_dim = 256};
static const struct uqff_config gemma3_defaults = {
    .rms_epsilon = 1e-6,
    .rope_theta = 1e6,
    .head_dim = 256,
    .heads = 8,
    .kv_heads = 4,
    .context = 131072,
};
static const struct uqff_config phi3_defaults = {.rms_epsilon = 1e-5, .rope_theta = 1e4};

static const struct gguf_arch table[] = {
    {"llama", llama_keys, LIST(ENDS, ATTENTION, FFN),
     LIST(QKV_BIAS, OUTPUT_BIAS, FFN_BIAS, ROPE_FREQS), &llama_defaults, false},
    {"mistral", llama_keys, LIST(ENDS, ATTENTION, FFN),
     LIST(QKV_BIAS, OUTPUT_BIAS, FFN_BIAS, ROPE_FREQS), &llama_defaults, false},
    {"mixtral", llama_keys, LIST(ENDS, ATTENTION, EXPERTS), LIST(QKV_BIAS, OUTPUT_BIAS, ROPE_FREQS),
     &llama_defaults, false},
    {"smollm3", llama_keys, LIST(ENDS, ATTENTION, FFN), LIST(ROPE_FREQS), &llama_defaults, false},
    {"qwen2", common_keys, LIST(ENDS, ATTENTION, QKV_BIAS, FFN), LIST(ROPE_FREQS), &llama_defaults,
     false},
    {"qwen3", common_keys, LIST(ENDS, ATTENTION, QK_NORMS, FFN), LIST(ROPE_FREQS), &llama_defaults,
     false},
    {"qwen3_moe", qwen_moe_keys, LIST(ENDS, ATTENTION, QK_NORMS, EXPERTS), LIST(ROPE_FREQS),
     &llama_defaults, false},
    {"gemma", gemma_keys, LIST(ENDS, ATTENTION, FFN), LIST(ROPE_FREQS), &gemma_defaults, true},
    {"gemma2", gemma2_keys, LIST(ENDS, ATTENTION, POST_NORMS, FFN), LIST(ROPE_FREQS),
     &gemma_defaults, true},
    {"gemma3_text", gemma3_keys, LIST(ENDS, ATTENTION, QK_NORMS, POST_NORMS, FFN), LIST(ROPE_FREQS),
     &gemma3_defaults, true},
    {"gemma3", gemma3_keys, LIST(ENDS, ATTENTION, QK_NORMS, POST_NORMS, FFN), LIST(ROPE_FREQS),
     &gemma3_defaults, true},
    {"phi3", phi3_keys,
     LIST(ENDS, "blk.{}.attn_qkv.weight", "blk.{}.attn_output.weight", "blk.{}.ffn_norm.weight",
          "blk.{}.ffn_up.weight", "blk.{}.ffn_down.weight"),
     LIST(ROPE_FACTORS), &phi3_defaults, false},
};
enum { ROWS = sizeof table / sizeof table[0] };

const struct gguf_arch *uqff_gguf_arch(const struct uqff_arch *arch) {
    for (size_t i = 0; arch != NULL && i < ROWS; i++) {
        if (strcmp(table[i].name, arch->name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const char *uqff_gguf_arch_names(struct uqff_arena *arena) {
    struct uqff_buffer buffer = {0};
    for (size_t i = 0; i < ROWS; i++) {
        uqff_buffer_printf(&buffer, "%s%s", i == 0 ? "" : ", ", table[i].name);
    }
    const char *names = buffer.failed ? NULL : uqff_arena_copy(arena, buffer.data, buffer.size);
    uqff_buffer_free(&buffer);
    return names;
}

static void fill_count(uint64_t *value, uint64_t otherwise) {
    *value = *value != 0 ? *value : otherwise;
}

static void fill_real(double *value, double otherwise) {
    *value = *value != 0 ? *value : otherwise;
}

void uqff_gguf_numbers(const struct gguf_arch *arch, const struct uqff_config *config,
                       struct gguf_numbers *out) {
    static const struct uqff_config none = {0};
    const struct uqff_config *defaults = arch->defaults != NULL ? arch->defaults : &none;
    struct uqff_config *own = &out->config;
    *own = *config;
    fill_count(&own->heads, defaults->heads);
    fill_count(&own->kv_heads, defaults->kv_heads);
    fill_count(&own->head_dim, defaults->head_dim);
    fill_count(&own->context, defaults->context);
    fill_real(&own->rms_epsilon, defaults->rms_epsilon);
    fill_real(&own->rope_theta, defaults->rope_theta);
    out->rotary_dim = own->head_dim;
    if (out->rotary_dim == 0 && own->heads != 0) {
        out->rotary_dim = own->hidden / own->heads;
    }
    if (own->rotary_share > 0 && own->rotary_share < 1) {
        out->rotary_dim = (uint64_t)(own->rotary_share * (double)out->rotary_dim);
    }
    out->attention_factor = uqff_gguf_attention_factor(own);
}
