#include "bench/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the tensors of an architecture -------------------------------------------------------------
 */

/* A dimension of a tensor, by what it is called in config.json. */
enum dimension { NO_DIM, HIDDEN, FF, Q_ROWS, KV_ROWS, QKV_ROWS, FF2, VOCAB, EXPERTS, HEAD };

enum place { OUTSIDE, LAYER, EXPERT }; /* once, in every layer, for every expert of every layer */

struct template {
    enum place place;
    const char *name; /* %llu is the layer, a second one the expert */
    enum dimension rows, columns;
};

#define ATTENTION                                                                                  \
    {LAYER, "model.layers.%llu.self_attn.q_proj.weight", Q_ROWS, HIDDEN},                          \
        {LAYER, "model.layers.%llu.self_attn.k_proj.weight", KV_ROWS, HIDDEN},                     \
        {LAYER, "model.layers.%llu.self_attn.v_proj.weight", KV_ROWS, HIDDEN}, {                   \
        LAYER, "model.layers.%llu.self_attn.o_proj.weight", HIDDEN, Q_ROWS                         \
    }
#define NORMS                                                                                      \
    {LAYER, "model.layers.%llu.input_layernorm.weight", HIDDEN, NO_DIM}, {                         \
        LAYER, "model.layers.%llu.post_attention_layernorm.weight", HIDDEN, NO_DIM                 \
    }
#define QK_NORMS                                                                                   \
    {LAYER, "model.layers.%llu.self_attn.q_norm.weight", HEAD, NO_DIM}, {                          \
        LAYER, "model.layers.%llu.self_attn.k_norm.weight", HEAD, NO_DIM                           \
    }
#define FF_NORMS                                                                                   \
    {LAYER, "model.layers.%llu.pre_feedforward_layernorm.weight", HIDDEN, NO_DIM}, {               \
        LAYER, "model.layers.%llu.post_feedforward_layernorm.weight", HIDDEN, NO_DIM               \
    }
#define DENSE                                                                                      \
    {LAYER, "model.layers.%llu.mlp.gate_proj.weight", FF, HIDDEN},                                 \
        {LAYER, "model.layers.%llu.mlp.up_proj.weight", FF, HIDDEN}, {                             \
        LAYER, "model.layers.%llu.mlp.down_proj.weight", HIDDEN, FF                                \
    }
#define EMBEDDING                                                                                  \
    {OUTSIDE, "model.embed_tokens.weight", VOCAB, HIDDEN}, {                                       \
        OUTSIDE, "model.norm.weight", HIDDEN, NO_DIM                                               \
    }
#define HEAD_MATRIX                                                                                \
    { OUTSIDE, "lm_head.weight", VOCAB, HIDDEN }

static const struct template llama[] = {EMBEDDING, HEAD_MATRIX, ATTENTION, NORMS, DENSE, {0}};
static const struct template qwen2[] = {
    EMBEDDING,
    HEAD_MATRIX,
    ATTENTION,
    {LAYER, "model.layers.%llu.self_attn.q_proj.bias", Q_ROWS, 0},
    {LAYER, "model.layers.%llu.self_attn.k_proj.bias", KV_ROWS, 0},
    {LAYER, "model.layers.%llu.self_attn.v_proj.bias", KV_ROWS, 0},
    NORMS,
    DENSE,
    {0}};
static const struct template qwen3[] = {EMBEDDING, HEAD_MATRIX, ATTENTION, QK_NORMS,
                                        NORMS,     DENSE,       {0}};
static const struct template gemma[] = {EMBEDDING, ATTENTION, NORMS, DENSE, {0}};
static const struct template gemma2[] = {EMBEDDING, ATTENTION, NORMS, FF_NORMS, DENSE, {0}};
static const struct template gemma3[] = {EMBEDDING, ATTENTION, QK_NORMS, NORMS,
                                         FF_NORMS,  DENSE,     {0}};
static const struct template phi3[] = {
    EMBEDDING,
    HEAD_MATRIX,
    {LAYER, "model.layers.%llu.self_attn.qkv_proj.weight", QKV_ROWS, HIDDEN},
    {LAYER, "model.layers.%llu.self_attn.o_proj.weight", HIDDEN, Q_ROWS},
    NORMS,
    {LAYER, "model.layers.%llu.mlp.gate_up_proj.weight", FF2, HIDDEN},
    {LAYER, "model.layers.%llu.mlp.down_proj.weight", HIDDEN, FF},
    {0}};
static const struct template mixtral[] = {
    EMBEDDING,
    HEAD_MATRIX,
    ATTENTION,
    NORMS,
    {LAYER, "model.layers.%llu.block_sparse_moe.gate.weight", EXPERTS, HIDDEN},
    {EXPERT, "model.layers.%llu.block_sparse_moe.experts.%llu.w1.weight", FF, HIDDEN},
    {EXPERT, "model.layers.%llu.block_sparse_moe.experts.%llu.w2.weight", HIDDEN, FF},
    {EXPERT, "model.layers.%llu.block_sparse_moe.experts.%llu.w3.weight", FF, HIDDEN},
    {0}};
static const struct template qwen3_moe[] = {
    EMBEDDING,
    HEAD_MATRIX,
    ATTENTION,
    QK_NORMS,
    NORMS,
    {LAYER, "model.layers.%llu.mlp.gate.weight", EXPERTS, HIDDEN},
    {EXPERT, "model.layers.%llu.mlp.experts.%llu.gate_proj.weight", FF, HIDDEN},
    {EXPERT, "model.layers.%llu.mlp.experts.%llu.up_proj.weight", FF, HIDDEN},
    {EXPERT, "model.layers.%llu.mlp.experts.%llu.down_proj.weight", HIDDEN, FF},
    {0}};

static const struct {
    const char *model_type, *class;
    const struct template *templates;
    bool tied;
} table[] = {
    {"llama", "LlamaForCausalLM", llama, false},
    {"mistral", "MistralForCausalLM", llama, false},
    {"smollm3", "SmolLM3ForCausalLM", gemma, true},
    {"qwen2", "Qwen2ForCausalLM", qwen2, false},
    {"qwen3", "Qwen3ForCausalLM", qwen3, false},
    {"gemma", "GemmaForCausalLM", gemma, true},
    {"gemma2", "Gemma2ForCausalLM", gemma2, true},
    {"gemma3_text", "Gemma3ForCausalLM", gemma3, true},
    {"phi3", "Phi3ForCausalLM", phi3, false},
    {"mixtral", "MixtralForCausalLM", mixtral, false},
    {"qwen3_moe", "Qwen3MoeForCausalLM", qwen3_moe, false},
};
#define TABLE_COUNT (sizeof table / sizeof table[0])

const char *const *synthetic_architectures(void) {
    static const char *names[TABLE_COUNT + 1];
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        names[i] = table[i].model_type;
    }
    return names;
}

void synthetic_for_bytes(struct synthetic *model, uint64_t bytes) {
    /* TinyLlama's proportions, 2.2 GB as BF16, scaled in width and depth by the cube root. */
    double scale = cbrt((double)bytes / 2.2e9);
    uint64_t heads = (uint64_t)fmax(1.0, round(32.0 * scale));
    model->architecture = "llama";
    model->head_dim = 64;
    model->heads = (heads + 3) / 4 * 4;
    model->kv_heads = model->heads / 4;
    model->hidden = model->heads * model->head_dim;
    model->feed_forward = (model->hidden * 11 / 4 + 255) / 256 * 256;
    model->vocabulary = 32000;
    model->dtype = UQFF_DTYPE_BF16;
    uint64_t layer =
        2 * (model->hidden * model->hidden * 5 / 2 + 3 * model->hidden * model->feed_forward);
    uint64_t outside = 4 * model->vocabulary * model->hidden;
    model->layers = bytes > outside + layer ? (bytes - outside + layer / 2) / layer : 1;
}

static uint64_t dimension_of(const struct synthetic *m, enum dimension dimension) {
    switch (dimension) {
    case NO_DIM:
        return 0;
    case HIDDEN:
        return m->hidden;
    case FF:
        return m->feed_forward;
    case FF2:
        return 2 * m->feed_forward;
    case Q_ROWS:
        return m->heads * m->head_dim;
    case KV_ROWS:
        return m->kv_heads * m->head_dim;
    case QKV_ROWS:
        return (m->heads + 2 * m->kv_heads) * m->head_dim;
    case VOCAB:
        return m->vocabulary;
    case EXPERTS:
        return m->experts;
    case HEAD:
        return m->head_dim;
    }
    return 0;
}

/* ---- weights --------------------------------------------------------------------------------- */

#define POOL 65536u

/* Weights are drawn from a pool of normal values by a generator that runs at memory speed. */
struct weights {
    uint64_t state;
    enum uqff_dtype dtype;
    unsigned char pool[POOL * 4];
};

static uint64_t draw(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static uint16_t half_bits(float value) {
    /* The pool's values are normal halfs or round to 0, so this needs no subnormals. */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    int exponent = (int)(bits >> 23 & 0xFF) - 127 + 15;
    if (exponent <= 0) {
        return 0;
    }
    return (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)exponent << 10 | (bits >> 13 & 0x3FF));
}

static void weights_init(struct weights *weights, enum uqff_dtype dtype, double deviation,
                         uint64_t seed) {
    weights->state = seed * 2 + 1;
    weights->dtype = dtype;
    for (size_t i = 0; i < POOL; i++) {
        double sum = 0.0;
        for (int k = 0; k < 12; k++) {
            sum += (double)(draw(&weights->state) >> 11) * 0x1p-53;
        }
        float value = (float)((sum - 6.0) * deviation);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        if (dtype == UQFF_DTYPE_F32) {
            uqff_store_le32(weights->pool + 4 * i, bits);
        } else {
            uqff_store_le16(weights->pool + 2 * i,
                            dtype == UQFF_DTYPE_F16 ? half_bits(value) : (uint16_t)(bits >> 16));
        }
    }
}

static void weights_fill(struct weights *weights, unsigned char *out, size_t bytes) {
    size_t width = uqff_dtype_bits(weights->dtype) / 8;
    for (size_t i = 0; i + width <= bytes;) {
        uint64_t random = draw(&weights->state);
        for (int k = 0; k < 4 && i + width <= bytes; k++, i += width, random >>= 16) {
            memcpy(out + i, weights->pool + (size_t)(random & 0xFFFF) * width, width);
        }
    }
}

/* Adds 1 to each value. */
static void raise_by_one(enum uqff_dtype dtype, unsigned char *bytes, size_t n) {
    for (size_t i = 0; i < n; i += dtype == UQFF_DTYPE_F32 ? 4 : 2) {
        uint32_t bits = dtype == UQFF_DTYPE_F32 ? uqff_load_le32(bytes + i)
                                                : (uint32_t)uqff_load_le16(bytes + i) << 16;
        float value;
        memcpy(&value, &bits, 4);
        value += 1;
        memcpy(&bits, &value, 4);
        if (dtype == UQFF_DTYPE_F32) {
            uqff_store_le32(bytes + i, bits);
        } else {
            uqff_store_le16(bytes + i, (uint16_t)(bits >> 16));
        }
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

struct planned {
    char *name;
    unsigned rank;
    uint64_t shape[2];
    uint64_t bytes, offset;
    size_t shard;
};

struct plan {
    struct uqff_arena arena;
    struct planned *tensors;
    size_t count, capacity, shards;
};

static enum uqff_code plan_add(struct plan *plan, const struct synthetic *model, const char *name,
                               const struct template *row, struct uqff_error *err) {
    enum uqff_code code = uqff_grow((void **)&plan->tensors, &plan->capacity, plan->count + 1,
                                    sizeof *plan->tensors, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct planned *tensor = &plan->tensors[plan->count++];
    memset(tensor, 0, sizeof *tensor);
    tensor->name = uqff_arena_copy(&plan->arena, name, strlen(name));
    if (tensor->name == NULL) {
        return uqff_fail_memory(err);
    }
    tensor->shape[0] = dimension_of(model, row->rows);
    tensor->shape[1] = dimension_of(model, row->columns);
    tensor->rank = row->columns == NO_DIM ? 1 : 2;
    return uqff_dtype_bytes(model->dtype, tensor->shape, tensor->rank, &tensor->bytes, err);
}

static enum uqff_code plan_tensors(struct plan *plan, const struct synthetic *model,
                                   const struct template *templates, struct uqff_error *err) {
    char name[256];
    for (const struct template *row = templates; row->name != NULL; row++) {
        uint64_t layers = row->place == OUTSIDE ? 1 : model->layers;
        uint64_t experts = row->place == EXPERT ? model->experts : 1;
        for (uint64_t layer = 0; layer < layers; layer++) {
            for (uint64_t expert = 0; expert < experts; expert++) {
                /* The format comes from the tables above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                snprintf(name, sizeof name, row->name, (unsigned long long)layer,
                         (unsigned long long)expert);
#pragma GCC diagnostic pop
                enum uqff_code code = plan_add(plan, model, name, row, err);
                if (code != UQFF_OK) {
                    return code;
                }
            }
        }
    }
    uint64_t filled = 0;
    plan->shards = 1;
    for (size_t i = 0; i < plan->count; i++) {
        if (model->max_shard > 0 && filled > 0 &&
            filled + plan->tensors[i].bytes > model->max_shard) {
            plan->shards++;
            filled = 0;
        }
        plan->tensors[i].shard = plan->shards - 1;
        filled += plan->tensors[i].bytes;
    }
    return UQFF_OK;
}

static void shard_name(char out[64], size_t shard, size_t shards) {
    if (shards == 1) {
        snprintf(out, 64, "model.safetensors");
    } else {
        snprintf(out, 64, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
    }
}

static bool is_norm(const struct synthetic *model, const struct planned *tensor) {
    return model->norms_around_one && strncmp(model->architecture, "gemma", 5) != 0 &&
           strstr(tensor->name, "norm.weight") != NULL;
}

static enum uqff_code write_shard(struct plan *plan, size_t shard, const char *directory,
                                  struct weights *weights, const struct synthetic *model,
                                  struct uqff_error *err) {
    struct uqff_st_layout *layout = NULL;
    struct uqff_buffer header = {0};
    struct uqff_sink *sink = NULL;
    unsigned char *slab = NULL;
    char name[64];
    shard_name(name, shard, plan->shards);
    char *path = uqff_path_join(directory, name);
    enum uqff_code code = uqff_st_layout_new(&layout, err);
    for (size_t i = 0; code == UQFF_OK && i < plan->count; i++) {
        struct planned *tensor = &plan->tensors[i];
        if (tensor->shard == shard) {
            code = uqff_st_layout_add(layout, tensor->name, weights->dtype, tensor->shape,
                                      tensor->rank, &tensor->offset, err);
        }
    }
    if (code == UQFF_OK) {
        code = uqff_st_layout_metadata(layout, "format", "pt", err);
    }
    if (code == UQFF_OK) {
        code = uqff_st_layout_header(layout, 8, &header, err);
    }
    size_t slab_bytes = (size_t)4 << 20;
    slab = uqff_alloc(slab_bytes);
    if (code == UQFF_OK && (slab == NULL || path == NULL)) {
        code = uqff_fail_memory(err);
    }
    if (code == UQFF_OK) {
        code = uqff_sink_create(path, true, &sink, err);
    }
    if (code == UQFF_OK) {
        code = uqff_sink_write(sink, 0, header.data, header.size, err);
    }
    for (size_t i = 0; code == UQFF_OK && i < plan->count; i++) {
        const struct planned *tensor = &plan->tensors[i];
        if (model->sparse && tensor->shard == shard && tensor->bytes > 0) {
            /* Its last byte alone gives the file its size. */
            code =
                uqff_sink_write(sink, header.size + tensor->offset + tensor->bytes - 1, "", 1, err);
            continue;
        }
        for (uint64_t done = 0; code == UQFF_OK && tensor->shard == shard && done < tensor->bytes;
             done += slab_bytes) {
            uint64_t left = tensor->bytes - done;
            size_t n = left < slab_bytes ? (size_t)left : slab_bytes;
            weights_fill(weights, slab, n);
            if (is_norm(model, tensor)) {
                raise_by_one(weights->dtype, slab, n);
            }
            code = uqff_sink_write(sink, header.size + tensor->offset + done, slab, n, err);
        }
    }
    if (code == UQFF_OK) {
        code = uqff_sink_publish(sink, err);
    }
    uqff_sink_close(sink);
    uqff_free(slab);
    uqff_free(path);
    uqff_buffer_free(&header);
    uqff_st_layout_free(layout);
    return code;
}

static enum uqff_code write_text(const char *directory, const char *name, struct uqff_buffer *text,
                                 struct uqff_error *err) {
    char *path = uqff_path_join(directory, name);
    enum uqff_code code = path == NULL || text->failed
                              ? uqff_fail_memory(err)
                              : uqff_write_file(path, text->data, text->size, true, err);
    uqff_free(path);
    return code;
}

static enum uqff_code write_index(const struct plan *plan, const char *directory,
                                  struct uqff_error *err) {
    struct uqff_buffer text = {0};
    uint64_t total = 0;
    for (size_t i = 0; i < plan->count; i++) {
        total += plan->tensors[i].bytes;
    }
    uqff_buffer_printf(&text, "{\n  \"metadata\": {\"total_size\": %llu},\n  \"weight_map\": {",
                       (unsigned long long)total);
    for (size_t i = 0; i < plan->count; i++) {
        char name[64];
        shard_name(name, plan->tensors[i].shard, plan->shards);
        uqff_buffer_printf(&text, "%s\n    \"%s\": \"%s\"", i == 0 ? "" : ",",
                           plan->tensors[i].name, name);
    }
    uqff_buffer_printf(&text, "\n  }\n}\n");
    enum uqff_code code = write_text(directory, "model.safetensors.index.json", &text, err);
    uqff_buffer_free(&text);
    return code;
}

static enum uqff_code write_config(const struct synthetic *m, size_t row, const char *directory,
                                   struct uqff_error *err) {
    struct uqff_buffer text = {0};
    const char *dtype = m->dtype == UQFF_DTYPE_F32   ? "float32"
                        : m->dtype == UQFF_DTYPE_F16 ? "float16"
                                                     : "bfloat16";
    uqff_buffer_printf(&text,
                       "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n"
                       "  \"hidden_size\": %llu,\n  \"intermediate_size\": %llu,\n"
                       "  \"num_hidden_layers\": %llu,\n  \"num_attention_heads\": %llu,\n"
                       "  \"num_key_value_heads\": %llu,\n  \"head_dim\": %llu,\n",
                       table[row].class, m->architecture, (unsigned long long)m->hidden,
                       (unsigned long long)m->feed_forward, (unsigned long long)m->layers,
                       (unsigned long long)m->heads, (unsigned long long)m->kv_heads,
                       (unsigned long long)m->head_dim);
    if (m->experts > 0) {
        /* Mixtral says num_local_experts, Qwen num_experts with a width of its own. */
        uqff_buffer_printf(&text,
                           "  \"num_local_experts\": %llu,\n  \"num_experts\": %llu,\n"
                           "  \"num_experts_per_tok\": %llu,\n  \"moe_intermediate_size\": %llu,\n",
                           (unsigned long long)m->experts, (unsigned long long)m->experts,
                           (unsigned long long)m->experts_used,
                           (unsigned long long)m->feed_forward);
    }
    if (m->settings != NULL) {
        uqff_buffer_printf(&text, "%s", m->settings);
    }
    uqff_buffer_printf(&text,
                       "  \"vocab_size\": %llu,\n  \"max_position_embeddings\": 2048,\n"
                       "  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 10000.0,\n"
                       "  \"tie_word_embeddings\": %s,\n  \"torch_dtype\": \"%s\"\n}\n",
                       (unsigned long long)m->vocabulary, table[row].tied ? "true" : "false",
                       dtype);
    enum uqff_code code = write_text(directory, "config.json", &text, err);
    uqff_buffer_free(&text);
    return code;
}

enum uqff_code synthetic_write(const struct synthetic *model, const char *directory,
                               struct uqff_error *err) {
    size_t row = 0;
    while (row < TABLE_COUNT && strcmp(table[row].model_type, model->architecture) != 0) {
        row++;
    }
    if (row == TABLE_COUNT) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET, "unknown architecture '%s'",
                         model->architecture);
    }
    struct plan plan = {0};
    struct weights *weights = uqff_alloc(sizeof *weights);
    enum uqff_code code = weights == NULL ? uqff_fail_memory(err) : UQFF_OK;
    if (code == UQFF_OK) {
        code = uqff_make_directory(directory, err);
    }
    if (code == UQFF_OK) {
        code = plan_tensors(&plan, model, table[row].templates, err);
    }
    if (code == UQFF_OK) {
        weights_init(weights, model->dtype, model->deviation > 0 ? model->deviation : 0.02,
                     model->seed);
    }
    for (size_t shard = 0; code == UQFF_OK && shard < plan.shards; shard++) {
        code = write_shard(&plan, shard, directory, weights, model, err);
    }
    if (code == UQFF_OK && plan.shards > 1) {
        code = write_index(&plan, directory, err);
    }
    if (code == UQFF_OK) {
        code = write_config(model, row, directory, err);
    }
    uqff_free(weights);
    uqff_free(plan.tensors);
    uqff_arena_free(&plan.arena);
    return code;
}
