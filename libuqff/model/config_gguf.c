/* The configuration as a GGUF's metadata tells it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/internal.h"

static const struct {
    const char *key; /* behind "<architecture>." */
    size_t offset;
    uint64_t min, max;
} counts[] = {
    {"block_count", offsetof(struct uqff_config, layers), 1, 1u << 20},
    {"embedding_length", offsetof(struct uqff_config, hidden), 1, 1u << 28},
    {"feed_forward_length", offsetof(struct uqff_config, feed_forward), 0, 1u << 28},
    {"attention.head_count", offsetof(struct uqff_config, heads), 1, 1u << 20},
    {"attention.head_count_kv", offsetof(struct uqff_config, kv_heads), 1, 1u << 20},
    {"attention.key_length", offsetof(struct uqff_config, head_dim), 1, 1u << 20},
    {"vocab_size", offsetof(struct uqff_config, vocabulary), 1, 1u << 31},
    {"expert_count", offsetof(struct uqff_config, experts), 0, 1u << 20},
    {"expert_used_count", offsetof(struct uqff_config, experts_used), 0, 1u << 20},
    {"context_length", offsetof(struct uqff_config, context), 0, UINT64_MAX},
    {"expert_feed_forward_length", offsetof(struct uqff_config, expert_feed_forward), 0, 1u << 28},
    {"attention.sliding_window", offsetof(struct uqff_config, sliding_window), 0, UINT64_MAX},
    {"rope.dimension_count", offsetof(struct uqff_config, rotary_dims), 0, 1u << 20},
    {"rope.scaling.original_context_length", offsetof(struct uqff_config, rope.original_context), 0,
     UINT64_MAX},
};

/* `positive`: 0 and less cannot be; elsewhere it is how some writers say nothing. */
static const struct {
    const char *key;
    size_t offset;
    bool positive;
} reals[] = {
    {"attention.layer_norm_rms_epsilon", offsetof(struct uqff_config, rms_epsilon), true},
    {"rope.freq_base", offsetof(struct uqff_config, rope_theta), true},
    {"attn_logit_softcapping", offsetof(struct uqff_config, attention_softcap), false},
    {"final_logit_softcapping", offsetof(struct uqff_config, output_softcap), false},
    {"rope.scale_linear", offsetof(struct uqff_config, rope.factor), false},
    {"rope.scaling.factor", offsetof(struct uqff_config, rope.factor), false},
    {"rope.scaling.yarn_ext_factor", offsetof(struct uqff_config, rope.extrapolation_factor),
     false},
    {"rope.scaling.yarn_attn_factor", offsetof(struct uqff_config, rope.attention_factor), false},
    {"rope.scaling.attn_factor", offsetof(struct uqff_config, rope.attention_factor), false},
    {"rope.scaling.yarn_beta_fast", offsetof(struct uqff_config, rope.beta_fast), false},
    {"rope.scaling.yarn_beta_slow", offsetof(struct uqff_config, rope.beta_slow), false},
};

static const char *where(const struct uqff_model *model) {
    return uqff_source_name(uqff_gguf_source(model->gguf, 0));
}

/* Copies a string value; text with a NUL is no name. */
static enum uqff_code copy_string(struct uqff_model *model, const char *key, const char **out,
                                  bool *found, struct uqff_error *err) {
    struct uqff_gguf_string string;
    enum uqff_code code = uqff_gguf_get_string(model->gguf, key, found, &string, err);
    if (code != UQFF_OK || !*found) {
        return code;
    }
    if (memchr(string.bytes, 0, string.length) != NULL ||
        !uqff_utf8_valid(string.bytes, string.length, NULL)) {
        return uqff_fail(
            err, UQFF_E_ENCODING, UQFF_NO_OFFSET,
            "%s: key '%s': found text that is not UTF-8 or holds a NUL, expected a name",
            where(model), key);
    }
    *out = uqff_arena_copy(&model->arena, string.bytes, string.length);
    return *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* Some architectures have an array, one number a layer, in place of a count: that says nothing
 * here. */
static bool is_array(const struct uqff_model *model, const char *key) {
    const struct uqff_gguf_value *value = uqff_gguf_find_value(model->gguf, key);
    return value != NULL && value->kind == UQFF_GGUF_ARRAY;
}

static enum uqff_code read_counts(struct uqff_model *model, const char *arch,
                                  struct uqff_error *err) {
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        char key[320];
        uint64_t value = 0;
        bool found;
        snprintf(key, sizeof key, "%s.%s", arch, counts[i].key);
        if (is_array(model, key)) {
            continue;
        }
        enum uqff_code code =
            uqff_gguf_get_u64(model->gguf, key, counts[i].max, &found, &value, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (found && value < counts[i].min) {
            return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: key '%s': found %llu, expected at least %llu", where(model), key,
                             (unsigned long long)value, (unsigned long long)counts[i].min);
        }
        if (found) {
            memcpy((char *)&model->config + counts[i].offset, &value, sizeof value);
        }
    }
    return UQFF_OK;
}

static enum uqff_code read_reals(struct uqff_model *model, const char *arch,
                                 struct uqff_error *err) {
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        char key[320];
        double value = 0;
        bool found;
        snprintf(key, sizeof key, "%s.%s", arch, reals[i].key);
        enum uqff_code code = uqff_gguf_get_double(model->gguf, key, &found, &value, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (found && (!isfinite(value) || (reals[i].positive && !(value > 0)))) {
            return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: key '%s': found %g, expected a %s", where(model), key, value,
                             reals[i].positive ? "number above 0" : "finite number");
        }
        if (found && value > 0) {
            memcpy((char *)&model->config + reals[i].offset, &value, sizeof value);
        }
    }
    return UQFF_OK;
}

/* A GGUF does not tell Mistral and Mixtral from Llama, nor DeepSeek V3 from V2, by name. */
static enum uqff_code refine(struct uqff_model *model, const char **name, struct uqff_error *err) {
    uint64_t gating = 0;
    bool found = false;
    if (strcmp(*name, "llama") == 0 && model->config.experts > 0) {
        *name = "mixtral";
    }
    if (strcmp(*name, "deepseek2") == 0) {
        enum uqff_code code = uqff_gguf_get_u64(model->gguf, "deepseek2.expert_gating_func", 255,
                                                &found, &gating, err);
        if (code != UQFF_OK) {
            return code;
        }
        /* 2: sigmoid, which V3 brought. */
        *name = found && gating == 2 ? "deepseek_v3" : "deepseek_v2";
    }
    return UQFF_OK;
}

static const struct uqff_arch *first_of_gguf_name(const char *name) {
    size_t count;
    const struct uqff_arch *table = uqff_arch_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].gguf_name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

enum uqff_code uqff_model_gguf_config(struct uqff_model *model, struct uqff_error *err) {
    struct uqff_config *config = &model->config;
    const char *arch = "", *refined;
    char key[320];
    bool found = false;
    enum uqff_code code = copy_string(model, "general.architecture", &arch, &found, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (strlen(arch) > 200) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: key 'general.architecture': found %zu bytes, expected a short name",
                         where(model), strlen(arch));
    }
    code = read_counts(model, arch, err);
    code = code != UQFF_OK ? code : read_reals(model, arch, err);
    refined = arch;
    code = code != UQFF_OK ? code : refine(model, &refined, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_gguf_value *tokens =
        uqff_gguf_find_value(model->gguf, "tokenizer.ggml.tokens");
    if (config->vocabulary == 0 && tokens != NULL && tokens->kind == UQFF_GGUF_ARRAY) {
        config->vocabulary = tokens->as.array.count;
    }
    /* "llama" is also a model_type, and "gemma3" one of a wrapper that no GGUF holds. */
    model->arch = first_of_gguf_name(refined);
    if (model->arch == NULL) {
        model->arch = uqff_arch_find(refined);
    }
    config->model_type = model->arch != NULL ? model->arch->name : arch;
    config->architecture = model->arch != NULL ? model->arch->classes[0] : "";
    config->torch_dtype = "";
    config->normalize_experts = true;
    snprintf(key, sizeof key, "%s.rope.scaling.type", arch);
    code = copy_string(model, key, &config->rope.type, &found, err);
    if (code != UQFF_OK) {
        return code;
    }
    /* A GGUF leaves a tied head out. */
    config->tied = uqff_gguf_find_tensor(model->gguf, "output.weight") == NULL;
    model->tied_given = true;
    return UQFF_OK;
}
