/*
 * A UQFF 0.x file does not tell which module each of its numbered layers is: it was written and
 * read in the order in which the program of its day walked the model. That order, by architecture,
 * is in the table below. Whether a file has it is seen by its number of layers and by every shape.
 *
 * Some orders were not the same for all files of an architecture: experts one by one, or stacked,
 * or not at all, and files with the experts alone. Each is a way; the number of layers tells which.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/legacy.h"

/* ---- dimensions ------------------------------------------------------------------------------ */

enum dimension {
    HIDDEN,
    VOCABULARY,
    QUERIES, /* heads, each of head_dim */
    KEYS,    /* the same of keys and values */
    QUERIES_KEYS_VALUES,
    FORWARD,     /* intermediate_size */
    TWO_FORWARD, /* gate and up together */
    EXPERTS,
    EXPERT_FORWARD,
    SHARED_FORWARD,
    LATENT_QUERIES,  /* q_lora_rank */
    LATENT_HEADS,    /* heads, rotated part and the other */
    LATENT_KEYS,     /* kv_lora_rank and the rotated part */
    LATENT_RANK,     /* kv_lora_rank */
    LATENT_EXPANDED, /* heads, each with the other part of the key and the value */
    LATENT_VALUES,   /* heads, each with the value */
};

/* A dimension, or 0 with the name of what config.json lacks for it. Every factor is at most 2^28,
 * so that no product of two overflows. */
static uint64_t measure(const struct legacy_config *legacy, enum dimension dimension,
                        const char **lacks) {
    const struct uqff_config *c = legacy->config;
    uint64_t head = c->head_dim != 0 ? c->head_dim : c->heads != 0 ? c->hidden / c->heads : 0;
    uint64_t kv = c->kv_heads != 0 ? c->kv_heads : c->heads;
    uint64_t expert = c->expert_feed_forward != 0 ? c->expert_feed_forward : c->feed_forward;
    const struct {
        uint64_t value;
        const char *key;
    } values[] = {
        [HIDDEN] = {c->hidden, "hidden_size"},
        [VOCABULARY] = {c->vocabulary, "vocab_size"},
        [QUERIES] = {c->heads * head, "num_attention_heads"},
        [KEYS] = {kv * head, "num_key_value_heads"},
        [QUERIES_KEYS_VALUES] = {(c->heads + 2 * kv) * head, "num_attention_heads"},
        [FORWARD] = {c->feed_forward, "intermediate_size"},
        [TWO_FORWARD] = {2 * c->feed_forward, "intermediate_size"},
        [EXPERTS] = {c->experts, "num_experts"},
        [EXPERT_FORWARD] = {expert, "moe_intermediate_size"},
        [SHARED_FORWARD] = {legacy->shared_experts * expert, "n_shared_experts"},
        [LATENT_QUERIES] = {legacy->q_rank, "q_lora_rank"},
        [LATENT_HEADS] = {c->heads * (legacy->nope_dim + legacy->rope_dim), "qk_nope_head_dim"},
        [LATENT_KEYS] = {legacy->kv_rank + legacy->rope_dim, "kv_lora_rank"},
        [LATENT_RANK] = {legacy->kv_rank, "kv_lora_rank"},
        [LATENT_EXPANDED] = {c->heads * (legacy->nope_dim + legacy->value_dim), "qk_nope_head_dim"},
        [LATENT_VALUES] = {c->heads * legacy->value_dim, "v_head_dim"},
    };
    *lacks = values[dimension].key;
    return values[dimension].value;
}

/* ---- the table ------------------------------------------------------------------------------- */

enum when {
    ALWAYS = 0,
    DENSE = 1 << 0,  /* in layers without experts */
    SPARSE = 1 << 1, /* in layers with experts */
    LATENT = 1 << 2, /* when queries come of a latent */
    DIRECT = 1 << 3, /* when they do not */
    SHARED = 1 << 4, /* when there are shared experts */
};

enum item_kind {
    WEIGHT,
    HALVES, /* two layers, each with half of the rows */
    STACK,  /* one weight of all experts; what is behind it, up to a row that is none, is its group:
               one by one, experts have all of the group before the next expert comes */
    ITEM_END,
};

struct item {
    enum item_kind kind;
    const char *name; /* behind the layer's prefix */
    enum dimension rows, columns;
    unsigned when;
};

#define END                                                                                        \
    { .kind = ITEM_END }
#define ATTENTION                                                                                  \
    {WEIGHT, "self_attn.q_proj", QUERIES, HIDDEN, ALWAYS},                                         \
        {WEIGHT, "self_attn.k_proj", KEYS, HIDDEN, ALWAYS},                                        \
        {WEIGHT, "self_attn.v_proj", KEYS, HIDDEN, ALWAYS}, {                                      \
        WEIGHT, "self_attn.o_proj", HIDDEN, QUERIES, ALWAYS                                        \
    }
#define MLP(when_)                                                                                 \
    {WEIGHT, "mlp.gate_proj", FORWARD, HIDDEN, (when_)},                                           \
        {WEIGHT, "mlp.up_proj", FORWARD, HIDDEN, (when_)}, {                                       \
        WEIGHT, "mlp.down_proj", HIDDEN, FORWARD, (when_)                                          \
    }
#define EXPERT_STACKS                                                                              \
    {STACK, "mlp.experts.gate_proj", EXPERT_FORWARD, HIDDEN, SPARSE},                              \
        {STACK, "mlp.experts.up_proj", EXPERT_FORWARD, HIDDEN, SPARSE}, {                          \
        STACK, "mlp.experts.down_proj", HIDDEN, EXPERT_FORWARD, SPARSE                             \
    }
#define SHARED_EXPERTS                                                                             \
    {WEIGHT, "mlp.shared_experts.gate_proj", SHARED_FORWARD, HIDDEN, SPARSE | SHARED},             \
        {WEIGHT, "mlp.shared_experts.up_proj", SHARED_FORWARD, HIDDEN, SPARSE | SHARED}, {         \
        WEIGHT, "mlp.shared_experts.down_proj", HIDDEN, SHARED_FORWARD, SPARSE | SHARED            \
    }
/* w1, w2, w3 */
#define BLOCK_SPARSE_STACKS                                                                        \
    {STACK, "block_sparse_moe.experts.gate_proj", EXPERT_FORWARD, HIDDEN, SPARSE},                 \
        {STACK, "block_sparse_moe.experts.down_proj", HIDDEN, EXPERT_FORWARD, SPARSE}, {           \
        STACK, "block_sparse_moe.experts.up_proj", EXPERT_FORWARD, HIDDEN, SPARSE                  \
    }

static const struct item dense[] = {ATTENTION, MLP(ALWAYS), END};
static const struct item glm4[] = {
    ATTENTION,
    {HALVES, "mlp.gate_up_proj", TWO_FORWARD, HIDDEN, ALWAYS},
    {WEIGHT, "mlp.down_proj", HIDDEN, FORWARD, ALWAYS},
    END,
};
static const struct item starcoder2[] = {
    ATTENTION,
    {WEIGHT, "mlp.c_fc", FORWARD, HIDDEN, ALWAYS},
    {WEIGHT, "mlp.c_proj", HIDDEN, FORWARD, ALWAYS},
    END,
};
static const struct item phi2[] = {
    {WEIGHT, "self_attn.q_proj", QUERIES, HIDDEN, ALWAYS},
    {WEIGHT, "self_attn.k_proj", KEYS, HIDDEN, ALWAYS},
    {WEIGHT, "self_attn.v_proj", KEYS, HIDDEN, ALWAYS},
    {WEIGHT, "self_attn.dense", HIDDEN, QUERIES, ALWAYS},
    {WEIGHT, "mlp.fc1", FORWARD, HIDDEN, ALWAYS},
    {WEIGHT, "mlp.fc2", HIDDEN, FORWARD, ALWAYS},
    END,
};
static const struct item phi3[] = {
    {WEIGHT, "self_attn.qkv_proj", QUERIES_KEYS_VALUES, HIDDEN, ALWAYS},
    {WEIGHT, "self_attn.o_proj", HIDDEN, QUERIES, ALWAYS},
    {WEIGHT, "mlp.gate_up_proj", TWO_FORWARD, HIDDEN, ALWAYS},
    {WEIGHT, "mlp.down_proj", HIDDEN, FORWARD, ALWAYS},
    END,
};
static const struct item mixtral[] = {
    ATTENTION,
    {WEIGHT, "block_sparse_moe.gate", EXPERTS, HIDDEN, ALWAYS},
    BLOCK_SPARSE_STACKS,
    END,
};
static const struct item phimoe[] = {ATTENTION, BLOCK_SPARSE_STACKS, END};
static const struct item qwen3_moe[] = {ATTENTION, MLP(DENSE), EXPERT_STACKS, END};
static const struct item glm4_moe[] = {ATTENTION, MLP(DENSE), EXPERT_STACKS, SHARED_EXPERTS, END};
static const struct item deepseek[] = {
    {WEIGHT, "self_attn.q_proj", LATENT_HEADS, HIDDEN, DIRECT},
    {WEIGHT, "self_attn.q_a_proj", LATENT_QUERIES, HIDDEN, LATENT},
    {WEIGHT, "self_attn.q_b_proj", LATENT_HEADS, LATENT_QUERIES, LATENT},
    {WEIGHT, "self_attn.kv_a_proj_with_mqa", LATENT_KEYS, HIDDEN, ALWAYS},
    {WEIGHT, "self_attn.kv_b_proj", LATENT_EXPANDED, LATENT_RANK, ALWAYS},
    {WEIGHT, "self_attn.o_proj", HIDDEN, LATENT_VALUES, ALWAYS},
    MLP(DENSE),
    EXPERT_STACKS,
    SHARED_EXPERTS,
    END,
};
static const struct item gpt_oss[] = {ATTENTION, END};

enum head { HEAD_FIRST, HEAD_LAST, HEAD_NONE };

static const struct order {
    const char *class, *type; /* of config.json */
    const char *prefix;       /* of "model." and "lm_head" */
    enum head head;
    const struct item *items;
} orders[] = {
    {"LlamaForCausalLM", "llama", "", HEAD_FIRST, dense},
    {"MistralForCausalLM", "mistral", "", HEAD_FIRST, dense},
    {"GemmaForCausalLM", "gemma", "", HEAD_FIRST, dense},
    {"Gemma2ForCausalLM", "gemma2", "", HEAD_FIRST, dense},
    {"Gemma3ForCausalLM", "gemma3_text", "", HEAD_FIRST, dense},
    {"Gemma3ForConditionalGeneration", "gemma3", "language_model.", HEAD_FIRST, dense},
    {"Qwen2ForCausalLM", "qwen2", "", HEAD_FIRST, dense},
    {"Qwen3ForCausalLM", "qwen3", "", HEAD_FIRST, dense},
    {"SmolLM3ForCausalLM", "smollm3", "", HEAD_FIRST, dense},
    {"Glm4ForCausalLM", "glm4", "", HEAD_FIRST, glm4},
    {"Starcoder2ForCausalLM", "starcoder2", "", HEAD_FIRST, starcoder2},
    {"PhiForCausalLM", "phi", "", HEAD_FIRST, phi2},
    {"Phi3ForCausalLM", "phi3", "", HEAD_FIRST, phi3},
    {"Phi3VForCausalLM", "phi3_v", "", HEAD_FIRST, phi3},
    {"MixtralForCausalLM", "mixtral", "", HEAD_FIRST, mixtral},
    {"PhiMoEForCausalLM", "phimoe", "", HEAD_FIRST, phimoe},
    {"Qwen3MoeForCausalLM", "qwen3_moe", "", HEAD_FIRST, qwen3_moe},
    {"Glm4MoeForCausalLM", "glm4_moe", "", HEAD_FIRST, glm4_moe},
    {"DeepseekV2ForCausalLM", "deepseek_v2", "", HEAD_FIRST, deepseek},
    {"DeepseekV3ForCausalLM", "deepseek_v3", "", HEAD_FIRST, deepseek},
    {"GptOssForCausalLM", "gpt_oss", "", HEAD_LAST, gpt_oss},
};
enum { ORDERS = sizeof orders / sizeof *orders };

/* ---- ways ------------------------------------------------------------------------------------ */

enum expert_way { EXPERTS_EACH, EXPERTS_STACKED, EXPERTS_NONE };

struct way {
    enum expert_way experts;
    bool experts_only; /* and the head */
};

struct walk {
    const struct uqff_legacy *legacy;
    const char *where;
    const struct legacy_config *config;
    const struct order *order;
    struct way way;
    struct uqff_arena *arena;
    struct uqff_legacy_module *modules; /* NULL: only count */
    size_t module_count, module_capacity;
    size_t next; /* layer of the file */
    struct uqff_error *err;
};

static int by_number(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static bool is_sparse(const struct legacy_config *config, uint64_t layer) {
    uint64_t step = config->sparse_step, every = config->expert_every;
    if (config->config->experts == 0 || layer < config->dense_layers) {
        return false;
    }
    if (config->dense_count > 0 &&
        bsearch(&layer, config->dense_list, config->dense_count, sizeof layer, by_number) != NULL) {
        return false;
    }
    return (step == 0 || (layer + 1) % step == 0) && (every == 0 || layer % every == 0);
}

static bool applies(const struct walk *walk, const struct item *item, uint64_t layer) {
    bool sparse = is_sparse(walk->config, layer), latent = walk->config->q_rank != 0;
    if (walk->way.experts_only && item->kind != STACK) {
        return false;
    }
    return ((item->when & DENSE) == 0 || !sparse) && ((item->when & SPARSE) == 0 || sparse) &&
           ((item->when & LATENT) == 0 || latent) && ((item->when & DIRECT) == 0 || !latent) &&
           ((item->when & SHARED) == 0 || walk->config->shared_experts != 0) &&
           (item->kind != STACK || walk->way.experts != EXPERTS_NONE);
}

/* ---- one module ------------------------------------------------------------------------------ */

static void shape_text(const uint64_t *shape, unsigned rank, char *out, size_t size) {
    size_t n = 0;
    out[0] = 0;
    for (unsigned i = 0; i < rank && n < size; i++) {
        n += (size_t)snprintf(out + n, size - n, "%s%" PRIu64, i == 0 ? "" : ", ", shape[i]);
    }
}

static enum uqff_code check_shape(const struct walk *walk, size_t layer, const char *name,
                                  const uint64_t *expected, unsigned rank) {
    char found[200], wanted[200];
    const struct uqff_legacy_layer *blob = uqff_legacy_layer(walk->legacy, layer);
    bool same = blob->rank == rank;
    for (unsigned i = 0; same && i < rank; i++) {
        same = blob->shape[i] == expected[i];
    }
    if (same) {
        return UQFF_OK;
    }
    shape_text(blob->shape, blob->rank, found, sizeof found);
    shape_text(expected, rank, wanted, sizeof wanted);
    return uqff_fail(walk->err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                     "%s: layer %zu: found shape [%s], expected [%s] for module '%s' of the "
                     "architecture '%s', as config.json says",
                     walk->where, layer, found, wanted, name, walk->order->type);
}

/* Takes a module that consists of `count` layers, `apart` from each other, the first being `first`.
 */
static enum uqff_code take_module(struct walk *walk, const char *name, size_t first, size_t apart,
                                  size_t count, bool stacked, const uint64_t *shape,
                                  unsigned rank) {
    enum uqff_code code = UQFF_OK;
    size_t *layers = uqff_arena_array(walk->arena, count, sizeof *layers);
    if (layers == NULL) {
        return uqff_fail_memory(walk->err);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        layers[i] = first + i * apart;
        code = check_shape(walk, layers[i], name, shape, rank);
    }
    if (code == UQFF_OK) {
        code = uqff_grow((void **)&walk->modules, &walk->module_capacity, walk->module_count + 1,
                         sizeof *walk->modules, walk->err);
    }
    if (code == UQFF_OK) {
        walk->modules[walk->module_count++] = (struct uqff_legacy_module){
            .name = name, .layers = layers, .layer_count = count, .stacked = stacked};
    }
    return code;
}

static enum uqff_code item_shape(const struct walk *walk, const struct item *item,
                                 uint64_t shape[2]) {
    const enum dimension dimensions[2] = {item->rows, item->columns};
    for (int i = 0; i < 2; i++) {
        const char *lacks = NULL;
        shape[i] = measure(walk->config, dimensions[i], &lacks);
        if (shape[i] == 0) {
            return uqff_fail(walk->err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: config.json has no usable '%s', which the shape of '%s' follows "
                             "from",
                             walk->where, lacks, item->name);
        }
    }
    return UQFF_OK;
}

static const char *layer_name(const struct walk *walk, uint64_t layer, const char *name) {
    return uqff_arena_printf(walk->arena, "%smodel.layers.%" PRIu64 ".%s", walk->order->prefix,
                             layer, name);
}

/* ---- a layer of the model -------------------------------------------------------------------- */

static size_t group_size(const struct item *item) {
    size_t n = 0;
    while (item[n].kind == STACK) {
        n++;
    }
    return n;
}

/* All stacks of a layer: one by one they take turns, expert by expert. */
static enum uqff_code walk_experts(struct walk *walk, const struct item *item, uint64_t layer) {
    size_t group = group_size(item), experts = (size_t)walk->config->config->experts;
    bool each = walk->way.experts == EXPERTS_EACH;
    size_t first = walk->next;
    enum uqff_code code = UQFF_OK;
    walk->next += each ? group * experts : group;
    for (size_t i = 0; walk->arena != NULL && i < group && code == UQFF_OK; i++) {
        uint64_t shape[3] = {experts, 0, 0};
        const char *name = layer_name(walk, layer, item[i].name);
        code = name == NULL ? uqff_fail_memory(walk->err) : item_shape(walk, &item[i], shape + 1);
        if (code == UQFF_OK) {
            code = each ? take_module(walk, name, first + i, group, experts, true, shape + 1, 2)
                        : take_module(walk, name, first + i, 1, 1, false, shape, 3);
        }
    }
    return code;
}

static enum uqff_code walk_item(struct walk *walk, const struct item *item, uint64_t layer) {
    size_t parts = item->kind == HALVES ? 2 : 1, first = walk->next;
    uint64_t shape[2] = {0, 0};
    walk->next += parts;
    if (walk->arena == NULL) {
        return UQFF_OK;
    }
    const char *name = layer_name(walk, layer, item->name);
    enum uqff_code code =
        name == NULL ? uqff_fail_memory(walk->err) : item_shape(walk, item, shape);
    shape[0] /= parts;
    return code == UQFF_OK ? take_module(walk, name, first, 1, parts, false, shape, 2) : code;
}

static enum uqff_code walk_head(struct walk *walk, enum head place) {
    static const struct item head = {WEIGHT, "lm_head", VOCABULARY, HIDDEN, ALWAYS};
    uint64_t shape[2] = {0, 0};
    if (walk->order->head != place) {
        return UQFF_OK;
    }
    size_t first = walk->next++;
    if (walk->arena == NULL) {
        return UQFF_OK;
    }
    const char *name = uqff_arena_printf(walk->arena, "%s%s", walk->order->prefix, head.name);
    enum uqff_code code =
        name == NULL ? uqff_fail_memory(walk->err) : item_shape(walk, &head, shape);
    return code == UQFF_OK ? take_module(walk, name, first, 1, 1, false, shape, 2) : code;
}

/* Without an arena only walk->next counts. */
static enum uqff_code walk_all(struct walk *walk) {
    enum uqff_code code = walk_head(walk, HEAD_FIRST);
    /* There are at most 2^20 layers, whatever config.json says, and when modules are taken as many
     * as the file has. */
    for (uint64_t layer = 0; layer < walk->config->config->layers && code == UQFF_OK; layer++) {
        for (const struct item *item = walk->order->items;
             item->kind != ITEM_END && code == UQFF_OK; item++) {
            if (item->kind == STACK) {
                size_t group = group_size(item);
                code = applies(walk, item, layer) ? walk_experts(walk, item, layer) : code;
                item += group - 1;
            } else if (applies(walk, item, layer)) {
                code = walk_item(walk, item, layer);
            }
        }
    }
    return code == UQFF_OK ? walk_head(walk, HEAD_LAST) : code;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static const struct order *find_order(const struct uqff_config *config) {
    for (size_t i = 0; i < ORDERS; i++) {
        if (strcmp(orders[i].class, config->architecture) == 0) {
            return &orders[i];
        }
    }
    for (size_t i = 0; i < ORDERS; i++) {
        if (*config->architecture == 0 && strcmp(orders[i].type, config->model_type) == 0) {
            return &orders[i];
        }
    }
    return NULL;
}

static bool has_stacks(const struct order *order) {
    for (const struct item *item = order->items; item->kind != ITEM_END; item++) {
        if (item->kind == STACK) {
            return true;
        }
    }
    return false;
}

static enum uqff_code fail_unknown(const char *where, const struct uqff_config *config,
                                   struct uqff_error *err) {
    struct uqff_buffer names = {0};
    for (size_t i = 0; i < ORDERS; i++) {
        uqff_buffer_printf(&names, "%s%s", i == 0 ? "" : ", ", orders[i].type);
    }
    enum uqff_code code =
        names.failed
            ? uqff_fail_memory(err)
            : uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                        "%s: a UQFF 0.x file; in what order such a file has the layers of "
                        "the architecture '%s' is not known; known are %s",
                        where,
                        *config->architecture != 0 ? config->architecture : config->model_type,
                        names.data);
    uqff_buffer_free(&names);
    return code;
}

enum uqff_code uqff_legacy_order(const struct uqff_legacy *legacy, const char *where,
                                 const struct legacy_config *config, struct uqff_arena *arena,
                                 struct uqff_legacy_module **out, size_t *count,
                                 struct uqff_error *err) {
    static const struct way ways[] = {
        {EXPERTS_EACH, false}, {EXPERTS_STACKED, false}, {EXPERTS_NONE, false},
        {EXPERTS_EACH, true},  {EXPERTS_STACKED, true},
    };
    const struct order *order = find_order(config->config);
    struct uqff_buffer counts = {0};
    enum uqff_code code = UQFF_OK;
    if (order == NULL) {
        return fail_unknown(where, config->config, err);
    }
    size_t tried = has_stacks(order) ? sizeof ways / sizeof *ways : 1, fitting = 0;
    for (size_t i = 0; i < tried; i++) {
        struct walk walk = {legacy, where, config, order, ways[i], NULL, NULL, 0, 0, 0, err};
        (void)walk_all(&walk); /* counting cannot fail */
        uqff_buffer_printf(&counts, "%s%zu", i == 0 ? "" : ", ", walk.next);
        if (walk.next != uqff_legacy_count(legacy)) {
            continue;
        }
        fitting++;
        walk.next = 0;
        walk.arena = arena;
        code = walk_all(&walk);
        if (code == UQFF_OK) {
            *out = uqff_arena_array(arena, walk.module_count, sizeof **out);
            if (*out == NULL) {
                code = uqff_fail_memory(err);
            } else {
                memcpy(*out, walk.modules, walk.module_count * sizeof **out);
                *count = walk.module_count;
            }
        }
        uqff_free(walk.modules);
        if (code == UQFF_OK || code == UQFF_E_MEMORY) {
            break;
        }
    }
    if (fitting == 0) {
        code = counts.failed
                   ? uqff_fail_memory(err)
                   : uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                               "%s: found %zu layers, expected %s%s for the architecture '%s' with "
                               "%" PRIu64 " layers, as config.json says",
                               where, uqff_legacy_count(legacy), tried > 1 ? "one of " : "",
                               counts.data, order->type, config->config->layers);
    }
    uqff_buffer_free(&counts);
    return code;
}
