/* Lists of tensors as the GGUF files of real models have them, for the tests of recipes. */
#ifndef UQFF_TEST_RECIPE_LISTS_H
#define UQFF_TEST_RECIPE_LISTS_H

#include <stdio.h>

#include "support/support.h"
#include "uqff/pack.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- tensor lists ---------------------------------------------------------------------------- */

/* A model's quantizable tensors, as its GGUF lists them. */
struct tensor_list {
    struct uqff_recipe_model model;
    struct uqff_recipe_tensor tensors[2048];
    size_t count;
    char names[2048][48];
};

static inline void add(struct tensor_list *list, int layer, const char *name, uint64_t columns,
                       uint64_t matrices) {
    assert_true(list->count < COUNT(list->tensors));
    char *text = list->names[list->count];
    if (layer < 0) {
        snprintf(text, sizeof list->names[0], "%s.weight", name);
    } else {
        snprintf(text, sizeof list->names[0], "blk.%d.%s.weight", layer, name);
    }
    list->tensors[list->count++] = (struct uqff_recipe_tensor){
        .name = text,
        .gguf_name = text,
        .role = uqff_role_from_gguf_name(text),
        .layer = layer,
        .columns = columns,
        .matrices = matrices,
    };
}

struct shape {
    const char *file, *arch;
    uint64_t embd, ff, heads, kv_heads, head_dim, experts;
    int layers;
    bool tied;
};

/* Attention and feed-forward part of the ordinary kind, the latter as a stack where there are
 * experts. */
static inline void add_ordinary_layer(struct tensor_list *list, const struct shape *shape,
                                      int layer) {
    const uint64_t attention = shape->heads * shape->head_dim;
    add(list, layer, "attn_q", shape->embd, 1);
    add(list, layer, "attn_k", shape->embd, 1);
    add(list, layer, "attn_v", shape->embd, 1);
    add(list, layer, "attn_output", attention, 1);
    if (shape->experts == 0) {
        add(list, layer, "ffn_gate", shape->embd, 1);
        add(list, layer, "ffn_up", shape->embd, 1);
        add(list, layer, "ffn_down", shape->ff, 1);
    } else {
        add(list, layer, "ffn_gate_exps", shape->embd, shape->experts);
        add(list, layer, "ffn_up_exps", shape->embd, shape->experts);
        add(list, layer, "ffn_down_exps", shape->ff, shape->experts);
    }
}

/* DeepSeek's latent attention, three dense layers, then routed and shared experts. */
static inline void add_deepseek_layer(struct tensor_list *list, const struct shape *shape,
                                      int layer) {
    add(list, layer, "attn_q_a", shape->embd, 1);
    add(list, layer, "attn_q_b", 1536, 1);
    add(list, layer, "attn_kv_a_mqa", shape->embd, 1);
    add(list, layer, "attn_k_b", 128, shape->heads);
    add(list, layer, "attn_v_b", 512, shape->heads);
    add(list, layer, "attn_output", 128 * shape->heads, 1);
    if (layer < 3) {
        add(list, layer, "ffn_gate", shape->embd, 1);
        add(list, layer, "ffn_up", shape->embd, 1);
        add(list, layer, "ffn_down", shape->ff, 1);
        return;
    }
    add(list, layer, "ffn_gate_exps", shape->embd, shape->experts);
    add(list, layer, "ffn_up_exps", shape->embd, shape->experts);
    add(list, layer, "ffn_down_exps", 2048, shape->experts);
    add(list, layer, "ffn_gate_shexp", shape->embd, 1);
    add(list, layer, "ffn_up_shexp", shape->embd, 1);
    add(list, layer, "ffn_down_shexp", 2048, 1);
}

static inline void build(struct tensor_list *list, const struct shape *shape) {
    memset(list, 0, sizeof *list);
    list->model = (struct uqff_recipe_model){
        .gguf_arch = shape->arch,
        .layers = (uint64_t)shape->layers,
        .heads = shape->heads,
        .kv_heads = shape->kv_heads,
        .experts = shape->experts,
    };
    /* Backwards: the order of the list must not matter. */
    for (int layer = shape->layers - 1; layer >= 0; layer--) {
        if (strcmp(shape->arch, "deepseek2") == 0) {
            add_deepseek_layer(list, shape, layer);
        } else {
            add_ordinary_layer(list, shape, layer);
        }
    }
    add(list, -1, "token_embd", shape->embd, 1);
    if (!shape->tied) {
        add(list, -1, "output", shape->embd, 1);
    }
}

static const struct uqff_recipe_options no_options;

static inline size_t find(const struct tensor_list *list, const char *name) {
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->tensors[i].name, name) == 0) {
            return i;
        }
    }
    fail_msg("no tensor %s", name);
    return 0;
}

#endif
