/* The architectures that can be run: a row each. What is not in a row is the same for all. */
#include <string.h>

#include "validation/arch.h"

/* Llama's own defaults, which most configurations repeat. */
#define USUAL .epsilon = 1e-6, .theta = 1e4

static const struct arch_traits table[] = {
    {.name = "llama", USUAL},
    {.name = "mistral", .window = ARCH_EVERY_LAYER, USUAL},
    {
        .name = "mixtral",
        .flags = ARCH_EXPERTS | ARCH_ALWAYS_NORMALIZE,
        .window = ARCH_EVERY_LAYER,
        .experts = "block_sparse_moe",
        .epsilon = 1e-5,
        .theta = 1e6,
    },
    {.name = "qwen2", .window = ARCH_ON_REQUEST, USUAL},
    {
        .name = "qwen3",
        .flags = ARCH_QK_NORMS,
        .window = ARCH_ON_REQUEST,
        .head_dim = 128,
        USUAL,
    },
    {
        .name = "qwen3_moe",
        .flags = ARCH_QK_NORMS | ARCH_EXPERTS,
        .window = ARCH_ON_REQUEST,
        .experts = "mlp",
        USUAL,
    },
    {
        .name = "smollm3",
        .flags = ARCH_NO_ROPE_LAYERS,
        .window = ARCH_ON_REQUEST,
        .epsilon = 1e-6,
        .theta = 2e6,
        .no_rope_interval = 4,
    },
    {
        .name = "phi3",
        .flags = ARCH_FUSED,
        .window = ARCH_EVERY_LAYER,
        .epsilon = 1e-5,
        .theta = 1e4,
    },
    {
        .name = "gemma",
        .flags = ARCH_NORM_SHIFT | ARCH_SCALED_INPUT | ARCH_LEGACY_GELU,
        .activation = ARCH_GELU_TANH,
        .head_dim = 256,
        USUAL,
    },
    {
        .name = "gemma2",
        .flags = ARCH_NORM_SHIFT | ARCH_SCALED_INPUT | ARCH_POST_NORMS | ARCH_QUERY_SCALAR,
        .window = ARCH_ALTERNATING,
        .activation = ARCH_GELU_TANH,
        .head_dim = 256,
        .pattern = 2,
        .sliding_window = 4096,
        .attention_softcap = 50,
        .output_softcap = 30,
        .query_scalar = 256,
        .large_layers = 46,
        USUAL,
    },
#define GEMMA3                                                                                     \
    .flags = ARCH_NORM_SHIFT | ARCH_SCALED_INPUT | ARCH_POST_NORMS | ARCH_QUERY_SCALAR |           \
             ARCH_QK_NORMS | ARCH_LOCAL_THETA,                                                     \
    .window = ARCH_ALTERNATING, .activation = ARCH_GELU_TANH, .head_dim = 256, .pattern = 6,       \
    .sliding_window = 4096, .query_scalar = 256, .large_layers = 62, .epsilon = 1e-6,              \
    .theta = 1e6, .local_theta = 1e4
    {.name = "gemma3_text", GEMMA3},
    {.name = "gemma3", GEMMA3},
};

const struct arch_traits *uqff_arch_traits(const struct uqff_arch *arch) {
    for (size_t i = 0; arch != NULL && i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, arch->name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}
