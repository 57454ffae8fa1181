/* rope_scaling. A GGUF has the factors of Llama 3 and of longrope as tensors, and other kinds as
 * keys. */
#include "pack/rebuild.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "pack/gguf.h"

/* Values of a vector of the model; *out stays NULL when there is no such tensor. */
static enum uqff_code read_vector(const struct uqff_model *model, const char *name,
                                  struct uqff_arena *arena, const float **out, size_t *count,
                                  struct uqff_error *err) {
    enum { MOST = 1 << 20 };
    size_t index = uqff_model_find_tensor(model, name);
    if (index == UQFF_NONE) {
        return UQFF_OK;
    }
    const struct uqff_tensor *tensor = uqff_model_tensor(model, index);
    if (tensor->elements == 0 || tensor->elements > MOST || tensor->rank != 1) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found %llu elements, expected one for each frequency of "
                         "a head",
                         uqff_model_path(model), name, (unsigned long long)tensor->elements);
    }
    float *values = uqff_arena_array(arena, (size_t)tensor->elements, sizeof *values);
    if (values == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_model_read_rows(model, index, 0, 1, values, err);
    if (code == UQFF_OK &&
        uqff_find_nonfinite(values, (size_t)tensor->elements) < (size_t)tensor->elements) {
        return uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found a factor that is not finite",
                         uqff_model_path(model), name);
    }
    *out = values;
    *count = (size_t)tensor->elements;
    return code;
}

/* ---- Llama 3 --------------------------------------------------------------------------------- */

/* Whether the factors are those that a scaling leads to, as far as float32 powers tell. */
static bool explains(const struct uqff_rope_scaling *rope, double theta, const float *values,
                     size_t count) {
    for (size_t i = 0; i < count; i++) {
        double expected = uqff_gguf_llama3_factor(rope, theta, 2 * (uint64_t)count, i);
        if (!(fabs(values[i] - expected) <= 1e-4 * expected)) {
            return false;
        }
    }
    return true;
}

/* Between the two ends 1 and F, a factor v belongs to the share s = (1/v - 1/F) / (1 - 1/F), which
 * is linear in the frequency: s = (C f / 2 pi - L) / (H - L). Its slope and intercept give context
 * C and upper factor H for the lower factor L = 1; other L would mean the same. */
static bool fit(double theta, const float *values, size_t count, double factor,
                struct uqff_rope_scaling *out) {
    double x[2] = {0}, s[2] = {0};
    size_t points = 0;
    for (size_t i = 0; i < count; i++) {
        double v = values[i];
        if (v <= 1 + 1e-3 || v >= factor * (1 - 1e-3)) {
            continue;
        }
        size_t at = points == 0 ? 0 : 1;
        x[at] = uqff_gguf_frequency(theta, 2 * (uint64_t)count, i) / (2 * 3.14159265358979323846);
        s[at] = (1 / v - 1 / factor) / (1 - 1 / factor);
        points++;
    }
    if (points < 2) {
        return false;
    }
    double slope = (s[1] - s[0]) / (x[1] - x[0]), intercept = s[0] - slope * x[0];
    if (!(intercept < 0)) {
        return false;
    }
    double high = 1 - 1 / intercept, context = slope * (high - 1);
    if (!(high > 1) || !(high < 1e6) || !(context >= 1) || !(context < 1e9)) {
        return false;
    }
    out->high_freq_factor = floor(high * 1000 + 0.5) / 1000;
    out->original_context = (uint64_t)(context + 0.5);
    return true;
}

static bool find_llama3(double theta, const float *values, size_t count,
                        struct uqff_rope_scaling *out) {
    static const uint64_t contexts[] = {8192, 2048, 4096, 16384, 32768, 65536, 131072};
    double factor = 1;
    for (size_t i = 0; i < count; i++) {
        factor = values[i] > factor ? values[i] : factor;
    }
    *out = (struct uqff_rope_scaling){
        .type = "llama3", .factor = factor, .low_freq_factor = 1, .high_freq_factor = 4};
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++) {
        out->original_context = contexts[i];
        if (explains(out, theta, values, count)) {
            return true;
        }
    }
    return fit(theta, values, count, factor, out) && explains(out, theta, values, count);
}

static void put_llama3(struct rebuild_json *json, const struct uqff_rope_scaling *rope) {
    struct rebuild_json inner = {.out = json->out, .indent = "    "};
    uqff_rebuild_key(json, "rope_scaling");
    uqff_buffer_printf(json->out, "{");
    uqff_rebuild_real(&inner, "factor", rope->factor);
    uqff_rebuild_real(&inner, "high_freq_factor", rope->high_freq_factor);
    uqff_rebuild_real(&inner, "low_freq_factor", rope->low_freq_factor);
    uqff_rebuild_count(&inner, "original_max_position_embeddings", rope->original_context);
    uqff_rebuild_text(&inner, "rope_type", "llama3", 6);
    uqff_buffer_printf(json->out, "\n  }");
}

/* ---- longrope -------------------------------------------------------------------------------- */

static void put_factors(struct rebuild_json *json, const char *key, const float *values,
                        size_t count) {
    uqff_rebuild_key(json, key);
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_printf(json->out, "%s\n      ", i == 0 ? "[" : ",");
        uqff_rebuild_number(json->out, values[i]);
    }
    uqff_buffer_printf(json->out, "\n    ]");
}

/* The loader of Phi-3 takes exactly these three members. */
static void put_longrope(struct rebuild_json *json, const float *const factors[2],
                         const size_t counts[2]) {
    struct rebuild_json inner = {.out = json->out, .indent = "    "};
    uqff_rebuild_key(json, "rope_scaling");
    uqff_buffer_printf(json->out, "{");
    put_factors(&inner, "long_factor", factors[0], counts[0]);
    put_factors(&inner, "short_factor", factors[1], counts[1]);
    uqff_rebuild_text(&inner, "type", "longrope", 8);
    uqff_buffer_printf(json->out, "\n  }");
}

/* ---- other kinds ----------------------------------------------------------------------------- */

static void put_keys(struct rebuild_json *json, const struct uqff_rope_scaling *rope) {
    struct rebuild_json inner = {.out = json->out, .indent = "    "};
    const struct {
        const char *key;
        double value;
    } reals[] = {
        {"factor", rope->factor},
        {"attention_factor", rope->attention_factor},
        {"extrapolation_factor", rope->extrapolation_factor},
        {"beta_fast", rope->beta_fast},
        {"beta_slow", rope->beta_slow},
    };
    bool yarn = strcmp(rope->type, "yarn") == 0;
    uqff_rebuild_key(json, "rope_scaling");
    uqff_buffer_printf(json->out, "{");
    for (size_t i = 0; i < (yarn ? sizeof reals / sizeof reals[0] : 1); i++) {
        if (reals[i].value != 0) {
            uqff_rebuild_real(&inner, reals[i].key, reals[i].value);
        }
    }
    if (yarn && rope->original_context != 0) {
        uqff_rebuild_count(&inner, "original_max_position_embeddings", rope->original_context);
    }
    uqff_rebuild_text(&inner, "rope_type", rope->type, strlen(rope->type));
    uqff_buffer_printf(json->out, "\n  }");
}

/* ---- either ---------------------------------------------------------------------------------- */

static enum uqff_code put_rope(const struct uqff_model *model, const struct uqff_warner *warner,
                               struct uqff_arena *arena, struct rebuild_json *json,
                               struct uqff_error *err) {
    static const char *const names[] = {"rope_factors_long.weight", "rope_factors_short.weight",
                                        "rope_freqs.weight"};
    const struct uqff_config *config = uqff_model_config(model);
    const float *values[3] = {NULL};
    size_t counts[3] = {0};
    struct uqff_rope_scaling rope;
    for (size_t i = 0; i < 3; i++) {
        enum uqff_code code = read_vector(model, names[i], arena, &values[i], &counts[i], err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    if (values[0] != NULL && values[1] != NULL) {
        put_longrope(json, values, counts);
        return UQFF_OK;
    }
    if (values[2] != NULL) {
        if (find_llama3(config->rope_theta, values[2], counts[2], &rope)) {
            put_llama3(json, &rope);
            return UQFF_OK;
        }
        uqff_warn(warner,
                  "%s: the factors of '%s' are those of no scaling that config.json could name; it "
                  "is left out, so long contexts will differ",
                  uqff_model_path(model), names[2]);
    }
    if (config->rope.factor != 0 &&
        (strcmp(config->rope.type, "linear") == 0 || strcmp(config->rope.type, "yarn") == 0)) {
        put_keys(json, &config->rope);
        return UQFF_OK;
    }
    uqff_rebuild_key(json, "rope_scaling");
    uqff_buffer_append(json->out, "null", 4);
    return UQFF_OK;
}

enum uqff_code uqff_rebuild_rope(const struct uqff_model *model, const struct uqff_warner *warner,
                                 struct rebuild_json *json, struct uqff_error *err) {
    struct uqff_arena arena = {0};
    enum uqff_code code = put_rope(model, warner, &arena, json, err);
    uqff_arena_free(&arena);
    return code;
}
