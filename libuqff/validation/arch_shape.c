/* A configuration made complete: defaults of the architecture filled in, everything checked that a
 * division or an allocation depends on. */
#include <string.h>

#include "validation/arch.h"
#include "validation/math.h"

static uint64_t or_else(uint64_t value, uint64_t otherwise) {
    return value != 0 ? value : otherwise;
}

static double or_else_real(double value, double otherwise) {
    return value != 0 ? value : otherwise;
}

static enum uqff_code fail_field(const struct uqff_model *model, const char *what, uint64_t found,
                                 const char *expected, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                     "%s: configuration: %s: found %llu, expected %s", uqff_model_path(model), what,
                     (unsigned long long)found, expected);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static enum uqff_code take_sizes(const struct uqff_model *model, struct arch_shape *out,
                                 struct uqff_error *err) {
    const struct uqff_config *config = uqff_model_config(model);
    const struct {
        const char *what;
        uint64_t value;
    } needed[] = {
        {"number of layers", config->layers},
        {"hidden size", config->hidden},
        {"number of attention heads", config->heads},
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (needed[i].value == 0) {
            return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: configuration: the %s is missing", uqff_model_path(model),
                             needed[i].what);
        }
    }
    /* Every layer has several modules: this bounds what a number alone could ask for. */
    if (config->layers > uqff_model_module_count(model)) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: found %zu weight matrices, too few for the %llu layers of its "
                         "configuration",
                         uqff_model_path(model), uqff_model_module_count(model),
                         (unsigned long long)config->layers);
    }
    out->layers = (size_t)config->layers;
    out->hidden = (size_t)config->hidden;
    out->heads = (size_t)config->heads;
    out->kv_heads = (size_t)or_else(config->kv_heads, config->heads);
    out->feed_forward = (size_t)config->feed_forward;
    out->context = config->context;
    if (out->heads % out->kv_heads != 0) {
        return fail_field(model, "number of heads of keys and values", out->kv_heads,
                          "a divisor of the number of heads", err);
    }
    return UQFF_OK;
}

static enum uqff_code take_head(const struct uqff_model *model, struct arch_shape *out,
                                struct uqff_error *err) {
    const struct uqff_config *config = uqff_model_config(model);
    uint64_t dim = config->head_dim;
    /* A GGUF that does not tell has no other head than this one. */
    if (dim == 0 && uqff_model_kind(model) != UQFF_MODEL_GGUF) {
        dim = out->traits->head_dim;
    }
    if (dim == 0) {
        if (out->hidden % out->heads != 0) {
            return fail_field(model, "hidden size", out->hidden, "a multiple of the heads", err);
        }
        dim = out->hidden / out->heads;
    }
    uint64_t rotary = config->rotary_dims;
    if (rotary == 0) {
        rotary = config->rotary_share > 0 && config->rotary_share < 1
                     ? (uint64_t)(config->rotary_share * (double)dim)
                     : dim;
    }
    if (rotary > dim || rotary % 2 != 0) {
        return fail_field(model, "rotated dimensions of a head", rotary,
                          "an even number, at most the head's size", err);
    }
    out->head_dim = (size_t)dim;
    out->rotary = (size_t)rotary;
    return UQFF_OK;
}

static enum uqff_code take_experts(const struct uqff_model *model, struct arch_shape *out,
                                   struct uqff_error *err) {
    const struct uqff_config *config = uqff_model_config(model);
    const struct arch_traits *traits = out->traits;
    if ((traits->flags & ARCH_EXPERTS) == 0 || config->experts == 0) {
        return UQFF_OK;
    }
    out->experts = (size_t)config->experts;
    out->experts_used = (size_t)config->experts_used;
    /* Mixtral has one width for both. */
    out->expert_feed_forward =
        strcmp(traits->experts, "mlp") == 0
            ? (size_t)or_else(config->expert_feed_forward, config->feed_forward)
            : (size_t)config->feed_forward;
    out->normalize_experts =
        (traits->flags & ARCH_ALWAYS_NORMALIZE) != 0 || config->normalize_experts;
    if (out->experts_used == 0 || out->experts_used > out->experts) {
        return fail_field(model, "experts used for a token", config->experts_used,
                          "1 to the number of experts", err);
    }
    return UQFF_OK;
}

/* ---- settings -------------------------------------------------------------------------------- */

static enum uqff_code take_activation(const struct uqff_model *model, struct arch_shape *out,
                                      struct uqff_error *err) {
    static const struct {
        const char *name;
        enum arch_activation activation;
    } names[] = {
        {"silu", ARCH_SILU},          {"swish", ARCH_SILU},
        {"gelu", ARCH_GELU_ERF},      {"gelu_pytorch_tanh", ARCH_GELU_TANH},
        {"gelu_new", ARCH_GELU_TANH}, {"gelu_fast", ARCH_GELU_TANH},
        {"relu", ARCH_RELU},
    };
    const char *name = uqff_model_config(model)->activation;
    out->activation = out->traits->activation;
    if (name == NULL || name[0] == '\0') {
        return UQFF_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, name) == 0) {
            bool legacy = (out->traits->flags & ARCH_LEGACY_GELU) != 0 &&
                          names[i].activation == ARCH_GELU_ERF;
            out->activation = legacy ? ARCH_GELU_TANH : names[i].activation;
            return UQFF_OK;
        }
    }
    return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                     "%s: configuration: activation '%s' is not known", uqff_model_path(model),
                     name);
}

static void take_scales(const struct uqff_model *model, struct arch_shape *out) {
    const struct uqff_config *config = uqff_model_config(model);
    const struct arch_traits *traits = out->traits;
    double query = (double)out->head_dim;
    if ((traits->flags & ARCH_QUERY_SCALAR) != 0) {
        if (config->query_scalar != 0) {
            query = config->query_scalar;
        } else if (uqff_model_kind(model) != UQFF_MODEL_GGUF) {
            query = traits->query_scalar;
        } else if (out->layers == traits->large_layers) {
            query = (double)out->hidden / (double)out->heads;
        }
    }
    out->query_scale = (float)(1 / uqff_math_sqrt(query));
    out->attention_softcap =
        (float)or_else_real(config->attention_softcap, traits->attention_softcap);
    out->output_softcap = (float)or_else_real(config->output_softcap, traits->output_softcap);
    /* As a GGUF keeps it, so that a model is the same one there. */
    out->epsilon = (double)(float)or_else_real(config->rms_epsilon, traits->epsilon);
    out->norm_shift = (traits->flags & ARCH_NORM_SHIFT) != 0 ? 1.0f : 0.0f;
    out->input_scale = (traits->flags & ARCH_SCALED_INPUT) != 0
                           ? (float)uqff_math_sqrt((double)out->hidden)
                           : 1.0f;
}

/* ---- layers ---------------------------------------------------------------------------------- */

static enum uqff_code check_list(const struct uqff_model *model, const char *key, size_t found,
                                 size_t layers, struct uqff_error *err) {
    return found == layers
               ? UQFF_OK
               : uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                           "%s: configuration: %s: found %zu entries, expected one for each of "
                           "the %zu layers",
                           uqff_model_path(model), key, found, layers);
}

static bool slides(const struct uqff_config *config, const struct arch_traits *traits,
                   uint64_t layer) {
    uint64_t pattern = or_else(config->sliding_window_pattern, traits->pattern);
    switch (traits->window) {
    case ARCH_EVERY_LAYER:
        return true;
    case ARCH_ON_REQUEST:
        return config->use_sliding_window &&
               (config->layer_slides != NULL ? config->layer_slides[layer] != 0
                                             : layer >= config->window_from_layer);
    case ARCH_ALTERNATING:
        return config->layer_slides != NULL ? config->layer_slides[layer] != 0
                                            : (layer + 1) % pattern != 0;
    default:
        return false;
    }
}

static bool rotates(const struct uqff_config *config, const struct arch_traits *traits,
                    uint64_t layer) {
    if ((traits->flags & ARCH_NO_ROPE_LAYERS) == 0) {
        return true;
    }
    if (config->layer_rotates != NULL) {
        return config->layer_rotates[layer] != 0;
    }
    return (layer + 1) % or_else(config->no_rope_interval, traits->no_rope_interval) != 0;
}

static enum uqff_code take_layers(const struct uqff_model *model, struct uqff_arena *arena,
                                  struct arch_shape *out, struct uqff_error *err) {
    const struct uqff_config *config = uqff_model_config(model);
    const struct arch_traits *traits = out->traits;
    enum uqff_code code = UQFF_OK;
    if (config->layer_slides != NULL) {
        code = check_list(model, "layer_types", config->layer_slides_count, out->layers, err);
    }
    if (code == UQFF_OK && config->layer_rotates != NULL) {
        code = check_list(model, "no_rope_layers", config->layer_rotates_count, out->layers, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    out->layer = uqff_arena_array(arena, out->layers, sizeof *out->layer);
    if (out->layer == NULL) {
        return uqff_fail_memory(err);
    }
    uint64_t window = or_else(config->sliding_window, traits->sliding_window);
    for (size_t i = 0; i < out->layers; i++) {
        bool sliding = slides(config, traits, i);
        out->layer[i].window = sliding && window != 0 ? window : UINT64_MAX;
        out->layer[i].rotates = rotates(config, traits, i);
        out->layer[i].local = sliding && (traits->flags & ARCH_LOCAL_THETA) != 0;
    }
    return UQFF_OK;
}

/* ---- all together ---------------------------------------------------------------------------- */

static enum uqff_code find_traits(const struct uqff_model *model, struct arch_shape *out,
                                  struct uqff_error *err) {
    const struct uqff_config *config = uqff_model_config(model);
    const struct uqff_arch *arch = uqff_model_arch(model);
    out->traits = uqff_arch_traits(arch);
    if (out->traits != NULL) {
        return UQFF_OK;
    }
    const char *name = config->architecture[0] != '\0' ? config->architecture
                       : config->model_type[0] != '\0' ? config->model_type
                                                       : NULL;
    return name == NULL
               ? uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                           "%s: cannot be run: nothing tells its architecture (no config.json, or "
                           "no general.architecture)",
                           uqff_model_path(model))
               : uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                           "%s: architecture '%s' cannot be run by this version",
                           uqff_model_path(model), name);
}

enum uqff_code uqff_arch_shape(const struct uqff_model *model, struct uqff_arena *arena,
                               struct arch_shape *out, struct uqff_error *err) {
    memset(out, 0, sizeof *out);
    enum uqff_code code = find_traits(model, out, err);
    code = code != UQFF_OK ? code : take_sizes(model, out, err);
    code = code != UQFF_OK ? code : take_head(model, out, err);
    code = code != UQFF_OK ? code : take_experts(model, out, err);
    code = code != UQFF_OK ? code : take_activation(model, out, err);
    if (code != UQFF_OK) {
        return code;
    }
    take_scales(model, out);
    return take_layers(model, arena, out, err);
}
