/* Frequencies of the rotation, and the ways in which models are stretched to longer contexts. The
 * methods are those of Hugging Face's transformers, whose names they have. Numbers are rounded to
 * what a GGUF keeps of them, so that a model is the same one there to the last bit. */
#include <string.h>

#include "validation/arch.h"
#include "validation/math.h"

#define PI 3.14159265358979323846

static double as_float(double x) {
    return (double)(float)x;
}

static bool is_type(const struct arch_stretch *stretch, const char *type) {
    return strcmp(stretch->type, type) == 0;
}

/* ---- what the model says --------------------------------------------------------------------- */

/* "default" and "none" are nothing, "su" is the first name of longrope. */
static enum uqff_code take_type(const struct uqff_model *model, const char *found, const char **out,
                                struct uqff_error *err) {
    static const struct {
        const char *name, *type;
    } names[] = {
        {"", ""},
        {"default", ""},
        {"none", ""},
        {"linear", "linear"},
        {"llama3", "llama3"},
        {"yarn", "yarn"},
        {"longrope", "longrope"},
        {"su", "longrope"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, found) == 0) {
            *out = names[i].type;
            return UQFF_OK;
        }
    }
    return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                     "%s: configuration: rope scaling '%s' is not known", uqff_model_path(model),
                     found);
}

/* Factors that a GGUF has as a tensor; NULL in *out when it has none of that name. */
static enum uqff_code read_factors(const struct uqff_model *model, const char *name, size_t count,
                                   struct uqff_arena *arena, const double **out,
                                   struct uqff_error *err) {
    size_t tensor = uqff_model_find_tensor(model, name);
    *out = NULL;
    if (tensor == UQFF_NONE) {
        return UQFF_OK;
    }
    const struct uqff_tensor *info = uqff_model_tensor(model, tensor);
    if (info->rank != 1 || info->elements != count) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found %llu elements, expected %zu",
                         uqff_model_path(model), name, (unsigned long long)info->elements, count);
    }
    float *values = uqff_arena_array(arena, count, sizeof *values);
    double *factors = uqff_arena_array(arena, count, sizeof *factors);
    if (values == NULL || factors == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_model_read_rows(model, tensor, 0, 1, values, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        factors[i] = (double)values[i];
        if (!(factors[i] > 0)) {
            code = uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: tensor '%s': element %zu: found %g, expected a number above 0",
                             uqff_model_path(model), name, i, factors[i]);
        }
    }
    *out = factors;
    return code;
}

static enum uqff_code check_factors(const struct uqff_model *model, const char *key,
                                    const double *factors, size_t found, size_t count,
                                    struct uqff_error *err) {
    if (factors == NULL || found != count) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: configuration: rope scaling: %s: found %zu numbers, expected %zu",
                         uqff_model_path(model), key, factors == NULL ? 0 : found, count);
    }
    for (size_t i = 0; i < count; i++) {
        if (!(factors[i] > 0)) {
            return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                             "%s: configuration: rope scaling: %s: found %g, expected numbers "
                             "above 0",
                             uqff_model_path(model), key, factors[i]);
        }
    }
    return UQFF_OK;
}

static enum uqff_code take_longrope(const struct uqff_model *model, size_t count,
                                    struct uqff_arena *arena, struct arch_stretch *out,
                                    struct uqff_error *err) {
    const struct uqff_rope_scaling *rope = &out->numbers;
    enum uqff_code code = UQFF_OK;
    if (uqff_model_kind(model) == UQFF_MODEL_GGUF) {
        code =
            read_factors(model, "rope_factors_long.weight", count, arena, &out->long_factors, err);
        code = code != UQFF_OK ? code
                               : read_factors(model, "rope_factors_short.weight", count, arena,
                                              &out->short_factors, err);
        if (code == UQFF_OK && (out->long_factors == NULL) != (out->short_factors == NULL)) {
            code = uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET, "%s: tensor '%s' is missing",
                             uqff_model_path(model),
                             out->long_factors == NULL ? "rope_factors_long.weight"
                                                       : "rope_factors_short.weight");
        }
        out->type = out->long_factors != NULL ? "longrope" : out->type;
        return code;
    }
    if (!is_type(out, "longrope")) {
        return UQFF_OK;
    }
    out->long_factors = rope->long_factors;
    out->short_factors = rope->short_factors;
    code = check_factors(model, "long_factor", rope->long_factors, rope->long_count, count, err);
    return code != UQFF_OK ? code
                           : check_factors(model, "short_factor", rope->short_factors,
                                           rope->short_count, count, err);
}

enum uqff_code uqff_arch_stretch(const struct uqff_model *model, const struct arch_shape *shape,
                                 struct uqff_arena *arena, struct arch_stretch *out,
                                 struct uqff_error *err) {
    const struct uqff_config *config = uqff_model_config(model);
    const struct arch_traits *traits = shape->traits;
    *out = (struct arch_stretch){
        .theta = as_float(config->rope_theta != 0 ? config->rope_theta : traits->theta),
        .local_theta =
            config->rope_local_theta != 0 ? config->rope_local_theta : traits->local_theta,
        .type = "",
        .numbers = config->rope,
    };
    double *const reals[] = {
        &out->numbers.factor,    &out->numbers.attention_factor, &out->numbers.extrapolation_factor,
        &out->numbers.beta_fast, &out->numbers.beta_slow,
    };
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        *reals[i] = as_float(*reals[i]);
    }
    enum uqff_code code = take_type(model, config->rope.type, &out->type, err);
    code = code != UQFF_OK ? code : take_longrope(model, shape->rotary / 2, arena, out, err);
    if (code == UQFF_OK && uqff_model_kind(model) == UQFF_MODEL_GGUF) {
        code =
            read_factors(model, "rope_freqs.weight", shape->rotary / 2, arena, &out->factors, err);
        /* A factor without a type is how older files say "linear". */
        if (code == UQFF_OK && out->type[0] == '\0' && out->numbers.factor != 0 &&
            strcmp(config->rope.type, "none") != 0) {
            out->type = "linear";
        }
    }
    bool by_factor = is_type(out, "linear") || is_type(out, "yarn") || is_type(out, "llama3");
    if (code == UQFF_OK && by_factor && out->numbers.factor == 0) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: configuration: rope scaling '%s': the factor is missing",
                         uqff_model_path(model), out->type);
    }
    if (code == UQFF_OK && is_type(out, "yarn") && out->numbers.original_context == 0) {
        out->numbers.original_context = shape->context;
    }
    return code;
}

/* ---- frequencies ----------------------------------------------------------------------------- */

/* Short waves stay, long ones are slowed down by `factor`, and between them it goes over smoothly.
 */
static double llama3(const struct uqff_rope_scaling *rope, double frequency) {
    double low = rope->low_freq_factor != 0 ? rope->low_freq_factor : 1;
    double high = rope->high_freq_factor != 0 ? rope->high_freq_factor : 4;
    double context = rope->original_context != 0 ? (double)rope->original_context : 8192;
    double wavelength = 2 * PI / frequency;
    if (wavelength < context / high) {
        return 1;
    }
    if (wavelength > context / low) {
        return rope->factor;
    }
    double smooth = (context / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / rope->factor + smooth);
}

/* The pair that turns `rotations` times within the original context. */
static double yarn_pair(double rotations, double dims, double base, double context) {
    return dims * uqff_math_log(context / (rotations * 2 * PI)) / (2 * uqff_math_log(base));
}

static double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

/* Fast pairs are left alone, slow ones slowed down, and between them it goes over linearly. */
static void yarn(const struct arch_shape *shape, const struct arch_stretch *stretch,
                 struct arch_rope *out) {
    const struct uqff_rope_scaling *rope = &stretch->numbers;
    double dims = (double)shape->rotary, context = (double)rope->original_context;
    double fast = rope->beta_fast != 0 ? rope->beta_fast : 32;
    double slow = rope->beta_slow != 0 ? rope->beta_slow : 1;
    double share = rope->extrapolation_factor != 0 ? rope->extrapolation_factor : 1;
    double low = 0, high = dims - 1;
    if (context > 0) {
        low = clamp(uqff_math_floor(yarn_pair(fast, dims, stretch->theta, context)), 0, dims - 1);
        high =
            clamp(-uqff_math_floor(-yarn_pair(slow, dims, stretch->theta, context)), 0, dims - 1);
    }
    double width = high - low > 0.001 ? high - low : 0.001;
    for (size_t i = 0; i < shape->rotary / 2; i++) {
        double slowed = clamp(((double)i - low) / width, 0, 1);
        double kept = (1 - slowed) * share;
        out->frequency[i] =
            out->frequency[i] / rope->factor * (1 - kept) + out->frequency[i] * kept;
    }
    out->scale = rope->attention_factor != 0 ? rope->attention_factor
                 : rope->factor > 1          ? 0.1 * uqff_math_log(rope->factor) + 1
                                             : 1;
}

static void longrope(const struct arch_shape *shape, const struct arch_stretch *stretch,
                     uint64_t capacity, struct arch_rope *out) {
    const struct uqff_rope_scaling *rope = &stretch->numbers;
    uint64_t original = rope->original_context != 0 ? rope->original_context : shape->context;
    const double *factors = capacity > original ? stretch->long_factors : stretch->short_factors;
    for (size_t i = 0; i < shape->rotary / 2; i++) {
        out->frequency[i] /= as_float(factors[i]);
    }
    double factor = original != 0 ? (double)shape->context / (double)original : 1;
    if (rope->attention_factor != 0) {
        out->scale = rope->attention_factor;
    } else if (factor > 1 && original > 1) {
        out->scale =
            as_float(uqff_math_sqrt(1 + uqff_math_log(factor) / uqff_math_log((double)original)));
    }
}

void uqff_arch_frequencies(const struct arch_shape *shape, const struct arch_stretch *stretch,
                           uint64_t capacity, bool local, struct arch_rope *out) {
    double theta = local ? stretch->local_theta : stretch->theta;
    out->scale = 1;
    for (size_t i = 0; i < shape->rotary / 2; i++) {
        double power = -2 * (double)i / (double)shape->rotary;
        out->frequency[i] = uqff_math_pow(theta, power);
    }
    if (local) {
        return;
    }
    for (size_t i = 0; i < shape->rotary / 2; i++) {
        if (stretch->factors != NULL) {
            out->frequency[i] /= stretch->factors[i];
        }
        if (is_type(stretch, "linear")) {
            out->frequency[i] /= stretch->numbers.factor;
        } else if (is_type(stretch, "llama3")) {
            out->frequency[i] /= as_float(llama3(&stretch->numbers, out->frequency[i]));
        }
    }
    if (is_type(stretch, "yarn")) {
        yarn(shape, stretch, out);
    } else if (is_type(stretch, "longrope")) {
        longrope(shape, stretch, capacity, out);
    }
}
