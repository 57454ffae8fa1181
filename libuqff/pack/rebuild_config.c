/* config.json and generation_config.json. A row of the table at the end is an architecture, as the
 * field's loaders want it; what a GGUF does not say is what llama.cpp takes for granted. */
#include "pack/rebuild.h"

#include <inttypes.h>
#include <string.h>

#include "pack/gguf.h"

struct maker {
    const struct uqff_model *model;
    const struct uqff_gguf *gguf;
    const struct uqff_config *config;
    const struct uqff_vocabulary_info *vocabulary; /* NULL: none */
    const struct uqff_warner *warner;
    struct rebuild_json json;
};

typedef enum uqff_code make_member(struct maker *maker, const char *key, struct uqff_error *err);

enum field_kind {
    FIELD_END,
    FIELD_COUNT,
    FIELD_REAL,
    FIELD_TEXT,
    FIELD_RAW,
    FIELD_MADE,
    FIELD_LIST
};

/* A member: a count or real of the configuration, left out when it is 0; a text or any JSON that is
 * always the same; one that a function makes; or another list. */
struct field {
    enum field_kind kind;
    const char *key;
    size_t offset;
    const char *text;
    make_member *make;
    const struct field *list;
};

/* ---- members that are made ------------------------------------------------------------------- */

static bool has_tensor(const struct maker *maker, const char *name) {
    return uqff_gguf_find_tensor(maker->gguf, name) != NULL;
}

static enum uqff_code make_kv_heads(struct maker *maker, const char *key, struct uqff_error *err) {
    const struct uqff_config *config = maker->config;
    (void)err;
    uqff_rebuild_count(&maker->json, key, config->kv_heads != 0 ? config->kv_heads : config->heads);
    return UQFF_OK;
}

/* Loaders compare it with the embedding. */
static enum uqff_code make_vocabulary(struct maker *maker, const char *key,
                                      struct uqff_error *err) {
    const struct uqff_gguf_tensor *embedding =
        uqff_gguf_find_tensor(maker->gguf, "token_embd.weight");
    (void)err;
    uqff_rebuild_count(&maker->json, key,
                       embedding != NULL ? embedding->ne[1] : maker->config->vocabulary);
    return UQFF_OK;
}

static enum uqff_code make_ids(struct maker *maker, const char *key, struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = maker->vocabulary;
    (void)key;
    (void)err;
    if (info == NULL) {
        return UQFF_OK;
    }
    const struct {
        const char *key;
        uint32_t id;
    } ids[] = {
        {"bos_token_id", info->bos}, {"eos_token_id", info->eos}, {"pad_token_id", info->padding}};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (ids[i].id != UQFF_NO_TOKEN) {
            uqff_rebuild_count(&maker->json, ids[i].key, ids[i].id);
        } else {
            /* Left out, it would be an id that the loader has as a default. */
            uqff_rebuild_key(&maker->json, ids[i].key);
            uqff_buffer_append(maker->json.out, "null", 4);
        }
    }
    return UQFF_OK;
}

static enum uqff_code make_tied(struct maker *maker, const char *key, struct uqff_error *err) {
    (void)err;
    uqff_rebuild_flag(&maker->json, key, maker->config->tied);
    return UQFF_OK;
}

/* What most weights are, when they are floats; blocks are decoded to bfloat16 as a rule. */
static enum uqff_code make_dtype(struct maker *maker, const char *key, struct uqff_error *err) {
    static const struct {
        uint32_t type;
        const char *name;
    } names[] = {
        {UQFF_TYPE_BF16, "bfloat16"}, {UQFF_TYPE_F16, "float16"}, {UQFF_TYPE_F32, "float32"}};
    enum { NAMES = sizeof names / sizeof names[0] };
    uint64_t weights[NAMES] = {0}, blocks = 0;
    size_t best = 0;
    (void)err;
    for (size_t i = 0; i < uqff_model_module_count(maker->model); i++) {
        const struct uqff_model_module *module = uqff_model_module(maker->model, i);
        uint64_t n = module->rows * module->columns;
        size_t k = 0;
        while (k < NAMES && names[k].type != module->type) {
            k++;
        }
        if (k < NAMES) {
            weights[k] += n;
            best = weights[k] > weights[best] ? k : best;
        } else {
            blocks += n;
        }
    }
    const char *name = weights[best] > blocks ? names[best].name : "bfloat16";
    uqff_rebuild_text(&maker->json, key, name, strlen(name));
    return UQFF_OK;
}

static enum uqff_code make_attention_bias(struct maker *maker, const char *key,
                                          struct uqff_error *err) {
    (void)err;
    uqff_rebuild_flag(&maker->json, key, has_tensor(maker, "blk.0.attn_q.bias"));
    return UQFF_OK;
}

static enum uqff_code make_mlp_bias(struct maker *maker, const char *key, struct uqff_error *err) {
    (void)err;
    uqff_rebuild_flag(&maker->json, key, has_tensor(maker, "blk.0.ffn_gate.bias"));
    return UQFF_OK;
}

static enum uqff_code make_rope(struct maker *maker, const char *key, struct uqff_error *err) {
    (void)key;
    return uqff_rebuild_rope(maker->model, maker->warner, &maker->json, err);
}

/* A window of 0 is none. */
static enum uqff_code make_window(struct maker *maker, const char *key, struct uqff_error *err) {
    (void)err;
    if (maker->config->sliding_window != 0) {
        uqff_rebuild_count(&maker->json, key, maker->config->sliding_window);
    } else {
        uqff_rebuild_key(&maker->json, key);
        uqff_buffer_append(maker->json.out, "null", 4);
    }
    return UQFF_OK;
}

static enum uqff_code make_rotary_share(struct maker *maker, const char *key,
                                        struct uqff_error *err) {
    const struct uqff_config *config = maker->config;
    uint64_t dim = config->head_dim != 0 ? config->head_dim
                   : config->heads != 0  ? config->hidden / config->heads
                                         : 0;
    (void)err;
    if (config->rotary_dims != 0 && config->rotary_dims < dim) {
        uqff_rebuild_real(&maker->json, key, (double)config->rotary_dims / (double)dim);
    }
    return UQFF_OK;
}

/* Gemma's largest models scale queries by another number than the size of a head; llama.cpp knows
 * them by their number of layers. */
static enum uqff_code make_query_scalar(struct maker *maker, const char *key,
                                        struct uqff_error *err) {
    enum { GEMMA2_27B = 46, GEMMA3_27B = 62 };
    const struct uqff_config *config = maker->config;
    uint64_t large = strcmp(config->model_type, "gemma2") == 0 ? GEMMA2_27B : GEMMA3_27B;
    uint64_t scalar = config->head_dim;
    (void)err;
    if ((config->layers == large || scalar == 0) && config->heads != 0) {
        scalar = config->hidden / config->heads;
    }
    uqff_rebuild_count(&maker->json, key, scalar);
    return UQFF_OK;
}

/* Which layers slide: all but each sixth of Gemma 3, each second of GPT-OSS. */
static void put_layer_types(struct maker *maker, const char *key, uint64_t every) {
    struct uqff_buffer *out = maker->json.out;
    uqff_rebuild_key(&maker->json, key);
    uqff_buffer_printf(out, "[");
    for (uint64_t i = 0; i < maker->config->layers; i++) {
        uqff_buffer_printf(out, "%s\n    \"%s\"", i == 0 ? "" : ",",
                           (i + 1) % every != 0 ? "sliding_attention" : "full_attention");
    }
    uqff_buffer_printf(out, "\n  ]");
}

static enum uqff_code make_gemma3_layers(struct maker *maker, const char *key,
                                         struct uqff_error *err) {
    uint64_t every = maker->config->sliding_window_pattern;
    (void)err;
    every = every != 0 ? every : 6;
    if (maker->config->sliding_window == 0) {
        return UQFF_OK;
    }
    uqff_rebuild_count(&maker->json, "sliding_window_pattern", every);
    put_layer_types(maker, key, every);
    return UQFF_OK;
}

static enum uqff_code make_gpt_oss_layers(struct maker *maker, const char *key,
                                          struct uqff_error *err) {
    (void)err;
    put_layer_types(maker, key, 2);
    return UQFF_OK;
}

static enum uqff_code make_expert_size(struct maker *maker, const char *key,
                                       struct uqff_error *err) {
    const struct uqff_config *config = maker->config;
    (void)err;
    uqff_rebuild_count(&maker->json, key,
                       config->expert_feed_forward != 0 ? config->expert_feed_forward
                                                        : config->feed_forward);
    return UQFF_OK;
}

/* ---- lists ----------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct uqff_config, member)
#define COUNT(key_, member_)                                                                       \
    { .kind = FIELD_COUNT, .key = (key_), .offset = AT(member_) }
#define REAL(key_, member_)                                                                        \
    { .kind = FIELD_REAL, .key = (key_), .offset = AT(member_) }
#define TEXT(key_, text_)                                                                          \
    { .kind = FIELD_TEXT, .key = (key_), .text = (text_) }
#define RAW(key_, text_)                                                                           \
    { .kind = FIELD_RAW, .key = (key_), .text = (text_) }
#define MADE(key_, make_)                                                                          \
    { .kind = FIELD_MADE, .key = (key_), .make = (make_) }
#define LIST(list_)                                                                                \
    { .kind = FIELD_LIST, .list = (list_) }
#define END                                                                                        \
    { .kind = FIELD_END }

static const struct field common[] = {
    COUNT("hidden_size", hidden),
    COUNT("num_hidden_layers", layers),
    COUNT("num_attention_heads", heads),
    MADE("num_key_value_heads", make_kv_heads),
    COUNT("head_dim", head_dim),
    COUNT("max_position_embeddings", context),
    REAL("rms_norm_eps", rms_epsilon),
    REAL("rope_theta", rope_theta),
    MADE("rope_scaling", make_rope),
    MADE("vocab_size", make_vocabulary),
    MADE(NULL, make_ids),
    MADE("tie_word_embeddings", make_tied),
    MADE("torch_dtype", make_dtype),
    RAW("attention_dropout", "0.0"),
    RAW("initializer_range", "0.02"),
    RAW("use_cache", "true"),
    END,
};

static const struct field dense[] = {COUNT("intermediate_size", feed_forward), LIST(common), END};

static const struct field silu[] = {TEXT("hidden_act", "silu"), LIST(dense), END};

static const struct field llama[] = {
    LIST(silu),
    MADE("attention_bias", make_attention_bias),
    MADE("mlp_bias", make_mlp_bias),
    END,
};

static const struct field mixtral[] = {
    LIST(silu),
    COUNT("num_local_experts", experts),
    COUNT("num_experts_per_tok", experts_used),
    MADE("sliding_window", make_window),
    END,
};

static const struct field qwen2[] = {LIST(silu), RAW("use_sliding_window", "false"), END};

static const struct field qwen3[] = {
    LIST(qwen2),
    MADE("attention_bias", make_attention_bias),
    END,
};

static const struct field qwen3_moe[] = {
    LIST(qwen3),
    COUNT("num_experts", experts),
    COUNT("num_experts_per_tok", experts_used),
    MADE("moe_intermediate_size", make_expert_size),
    RAW("decoder_sparse_step", "1"),
    RAW("mlp_only_layers", "[]"),
    RAW("norm_topk_prob", "true"),
    END,
};

static const struct field gelu[] = {
    TEXT("hidden_act", "gelu_pytorch_tanh"),
    TEXT("hidden_activation", "gelu_pytorch_tanh"),
    LIST(dense),
    RAW("attention_bias", "false"),
    END,
};

static const struct field gemma2[] = {
    LIST(gelu),
    REAL("attn_logit_softcapping", attention_softcap),
    REAL("final_logit_softcapping", output_softcap),
    MADE("query_pre_attn_scalar", make_query_scalar),
    MADE("sliding_window", make_window),
    TEXT("cache_implementation", "hybrid"),
    END,
};

static const struct field gemma3[] = {
    LIST(gelu),
    REAL("final_logit_softcapping", output_softcap),
    MADE("query_pre_attn_scalar", make_query_scalar),
    MADE("sliding_window", make_window),
    MADE("layer_types", make_gemma3_layers),
    RAW("rope_local_base_freq", "10000.0"),
    END,
};

static const struct field phi3[] = {
    LIST(silu),
    COUNT("original_max_position_embeddings", rope.original_context),
    MADE("sliding_window", make_window),
    MADE("partial_rotary_factor", make_rotary_share),
    RAW("embd_pdrop", "0.0"),
    RAW("resid_pdrop", "0.0"),
    END,
};

static const struct field smollm3[] = {
    LIST(llama),
    RAW("no_rope_layer_interval", "4"),
    RAW("use_sliding_window", "false"),
    END,
};

static const struct field gpt_oss[] = {
    TEXT("hidden_act", "silu"),
    MADE("intermediate_size", make_expert_size),
    LIST(common),
    MADE("attention_bias", make_attention_bias),
    COUNT("num_local_experts", experts),
    COUNT("num_experts_per_tok", experts_used),
    MADE("sliding_window", make_window),
    MADE("layer_types", make_gpt_oss_layers),
    RAW("swiglu_limit", "7.0"),
    END,
};

static const struct {
    const char *name; /* of struct uqff_arch */
    const struct field *fields;
} table[] = {
    {"llama", llama},         {"mistral", llama}, {"mixtral", mixtral}, {"qwen2", qwen2},
    {"qwen3", qwen3},         {"gemma", gelu},    {"gemma2", gemma2},   {"gemma3_text", gemma3},
    {"qwen3_moe", qwen3_moe}, {"phi3", phi3},     {"smollm3", smollm3}, {"gpt_oss", gpt_oss},
};

/* ---- writing --------------------------------------------------------------------------------- */

static enum uqff_code put_fields(struct maker *maker, const struct field *field,
                                 struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (; field->kind != FIELD_END && code == UQFF_OK; field++) {
        const char *value = (const char *)maker->config + field->offset;
        uint64_t count = 0;
        double real = 0;
        switch (field->kind) {
        case FIELD_COUNT:
            memcpy(&count, value, sizeof count);
            if (count != 0) {
                uqff_rebuild_count(&maker->json, field->key, count);
            }
            break;
        case FIELD_REAL:
            memcpy(&real, value, sizeof real);
            if (real != 0) {
                uqff_rebuild_real(&maker->json, field->key, real);
            }
            break;
        case FIELD_TEXT:
            uqff_rebuild_text(&maker->json, field->key, field->text, strlen(field->text));
            break;
        case FIELD_RAW:
            uqff_rebuild_key(&maker->json, field->key);
            uqff_buffer_printf(maker->json.out, "%s", field->text);
            break;
        case FIELD_MADE:
            code = field->make(maker, field->key, err);
            break;
        case FIELD_LIST:
            code = put_fields(maker, field->list, err);
            break;
        case FIELD_END:
            break;
        }
    }
    return code;
}

enum uqff_code uqff_rebuild_config(const struct uqff_model *model,
                                   const struct uqff_vocabulary *vocabulary,
                                   const struct uqff_warner *warner, struct uqff_buffer *out,
                                   struct uqff_error *err) {
    const struct uqff_arch *arch = uqff_model_arch(model);
    const struct uqff_config *config = uqff_model_config(model);
    const struct field *fields = NULL;
    for (size_t i = 0; arch != NULL && i < sizeof table / sizeof table[0]; i++) {
        fields = strcmp(table[i].name, arch->name) == 0 ? table[i].fields : fields;
    }
    if (fields == NULL) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: how Hugging Face keeps the architecture '%s' is not known",
                         uqff_model_path(model), config->model_type);
    }
    struct maker maker = {
        .model = model,
        .gguf = uqff_model_gguf(model),
        .config = config,
        .vocabulary = vocabulary != NULL ? uqff_vocabulary_info(vocabulary) : NULL,
        .warner = warner,
        .json = {.out = out, .indent = "  "},
    };
    uqff_buffer_printf(out, "{");
    uqff_rebuild_key(&maker.json, "architectures");
    uqff_buffer_printf(out, "[\n    \"%s\"\n  ]", arch->classes[0]);
    uqff_rebuild_text(&maker.json, "model_type", arch->name, strlen(arch->name));
    enum uqff_code code = put_fields(&maker, fields, err);
    uqff_buffer_printf(out, "\n}\n");
    return code;
}

/* ---- generation_config.json ------------------------------------------------------------------ */

/* One id, or the list of all that end a text. */
static void put_ends(struct rebuild_json *json, const struct uqff_vocabulary_info *info) {
    const uint32_t ends[] = {info->eos, info->eot, info->eom};
    uint32_t kept[3];
    size_t count = 0;
    for (size_t i = 0; i < 3; i++) {
        bool known = ends[i] == UQFF_NO_TOKEN;
        for (size_t k = 0; k < count; k++) {
            known = known || kept[k] == ends[i];
        }
        if (!known) {
            kept[count++] = ends[i];
        }
    }
    if (count == 0) {
        return;
    }
    uqff_rebuild_key(json, "eos_token_id");
    if (count == 1) {
        uqff_buffer_printf(json->out, "%" PRIu32, kept[0]);
        return;
    }
    for (size_t k = 0; k < count; k++) {
        uqff_buffer_printf(json->out, "%s\n    %" PRIu32, k == 0 ? "[" : ",", kept[k]);
    }
    uqff_buffer_printf(json->out, "\n  ]");
}

static enum uqff_code put_sampling(const struct uqff_gguf *gguf, struct rebuild_json *json,
                                   struct uqff_error *err) {
    bool any = false;
    for (size_t i = 0; i < GGUF_SAMPLINGS; i++) {
        const struct gguf_sampling *sampling = &uqff_gguf_samplings[i];
        const struct uqff_gguf_value *value = uqff_gguf_find_value(gguf, sampling->key);
        bool real = value != NULL && (value->kind == UQFF_GGUF_F32 || value->kind == UQFF_GGUF_F64);
        bool whole = value != NULL && value->kind == UQFF_GGUF_I32;
        if (!(sampling->integer ? whole : real)) {
            continue;
        }
        if (!any) {
            uqff_rebuild_flag(json, "do_sample", true);
        }
        any = true;
        if (whole) {
            uqff_rebuild_key(json, sampling->json);
            uqff_buffer_printf(json->out, "%" PRId64, value->as.i);
        } else if (!(value->as.f - value->as.f == 0)) {
            return uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                             "%s: key '%s': found a number that is not finite",
                             uqff_source_name(uqff_gguf_source(gguf, 0)), sampling->key);
        } else {
            uqff_rebuild_real(json, sampling->json, value->as.f);
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_rebuild_generation(const struct uqff_model *model,
                                       const struct uqff_vocabulary *vocabulary,
                                       struct uqff_buffer *out, struct uqff_error *err) {
    struct rebuild_json json = {.out = out, .indent = "  "};
    uqff_buffer_printf(out, "{");
    if (vocabulary != NULL) {
        const struct uqff_vocabulary_info *info = uqff_vocabulary_info(vocabulary);
        if (info->bos != UQFF_NO_TOKEN) {
            uqff_rebuild_count(&json, "bos_token_id", info->bos);
        }
        put_ends(&json, info);
        if (info->padding != UQFF_NO_TOKEN) {
            uqff_rebuild_count(&json, "pad_token_id", info->padding);
        }
    }
    enum uqff_code code = put_sampling(uqff_model_gguf(model), &json, err);
    uqff_buffer_printf(out, "\n}\n");
    out->size = json.any ? out->size : 0;
    return code;
}
