/* Tensors that a checkpoint does not have: llama.cpp reads the stretching of the rotation from
 * factors of its frequencies. Their bytes are part of a file, so logarithm and exponential are
 * taken by sums of our own, which give the same bits on every machine; they are right to far more
 * digits than a float32 keeps. */
#include "pack/gguf.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#define LN2 0.69314718055994530942
#define PI 3.14159265358979323846

/* x = m * 2^e with m in [0.5, 1): ln x = e ln 2 + 2 artanh((m - 1) / (m + 1)). */
static double natural_log(double x) {
    int exponent = 0;
    double m = frexp(x, &exponent), z = (m - 1) / (m + 1), sum = 0;
    /* |z| is at most 1/3, so the terms fall by a ninth each. */
    for (int k = 41; k >= 1; k -= 2) {
        sum = sum * (z * z) + 1.0 / k;
    }
    return exponent * LN2 + 2 * z * sum;
}

/* e^x = 2^k e^r with |r| at most ln 2 / 2. */
static double exponential(double x) {
    double k = floor(x / LN2 + 0.5), r = x - k * LN2, sum = 1;
    for (int n = 20; n >= 1; n--) {
        sum = 1 + sum * r / n;
    }
    return ldexp(sum, (int)k);
}

static enum uqff_code add_factors(struct uqff_pack_plan *plan, const char *name,
                                  const double *factors, size_t count, struct uqff_error *err) {
    if (uqff_gguf_has_entry(plan->gguf, name)) {
        return UQFF_OK; /* the model was a GGUF once, and brings them along */
    }
    unsigned char *bytes = uqff_arena_array(&plan->arena, count, sizeof(float));
    if (bytes == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        float value = (float)factors[i];
        uint32_t bits;
        if (!isfinite(value)) {
            return uqff_fail(
                err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                "%s: config.json: rope_scaling: factor %zu of '%s' is %g, expected one "
                "that is finite as float32",
                uqff_model_path(plan->model), i, name, factors[i]);
        }
        memcpy(&bits, &value, sizeof bits);
        uqff_store_le32(bytes + 4 * i, bits);
    }
    struct gguf_entry entry = {
        .name = name,
        .kind = GGUF_MADE,
        .layer = -1,
        .n_dims = 1,
        .ne = {count, 1, 1, 1},
        .type = UQFF_TYPE_F32,
        .content = bytes,
    };
    return uqff_gguf_add_entry(plan, &entry, err);
}

/* ---- Llama 3 --------------------------------------------------------------------------------- */

/* Short waves stay, long ones are slowed down by `factor`, and between them it goes over smoothly.
 */
static double factor_at(const struct uqff_rope_scaling *rope, double frequency) {
    double factor = rope->factor != 0 ? rope->factor : 8;
    double low = rope->low_freq_factor != 0 ? rope->low_freq_factor : 1;
    double high = rope->high_freq_factor != 0 ? rope->high_freq_factor : 4;
    double context = rope->original_context != 0 ? (double)rope->original_context : 8192;
    double wavelength = 2 * PI / frequency;
    if (wavelength < context / high) {
        return 1;
    }
    if (wavelength > context / low) {
        return factor;
    }
    double smooth = (context / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
}

double uqff_gguf_frequency(double theta, uint64_t dims, size_t i) {
    double base = theta != 0 ? theta : 1e4, power = 2 * (double)i / (double)dims;
    return exponential(-power * natural_log(base));
}

double uqff_gguf_llama3_factor(const struct uqff_rope_scaling *rope, double theta, uint64_t dims,
                               size_t i) {
    return factor_at(rope, uqff_gguf_frequency(theta, dims, i));
}

static enum uqff_code llama3(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct gguf_numbers *numbers = &plan->gguf->numbers;
    size_t count = (size_t)(numbers->rotary_dim / 2);
    double *factors = uqff_arena_array(&plan->arena, count, sizeof *factors);
    if (factors == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        factors[i] = uqff_gguf_llama3_factor(&numbers->config.rope, numbers->config.rope_theta,
                                             numbers->rotary_dim, i);
    }
    return add_factors(plan, "rope_freqs.weight", factors, count, err);
}

/* ---- longrope -------------------------------------------------------------------------------- */

static bool is_longrope(const struct uqff_rope_scaling *rope) {
    return strcasecmp(rope->type, "longrope") == 0 || strcasecmp(rope->type, "su") == 0;
}

double uqff_gguf_attention_factor(const struct uqff_config *config) {
    const struct uqff_rope_scaling *rope = &config->rope;
    if (rope->long_factors == NULL || rope->original_context < 2 || config->context == 0) {
        return 0;
    }
    double original = (double)rope->original_context, scale = (double)config->context / original;
    if (!is_longrope(rope)) {
        return scale > 1 ? 0.1 * natural_log(scale) + 1 : 1;
    }
    return scale > 1 ? sqrt(1 + natural_log(scale) / natural_log(original)) : 1;
}

static enum uqff_code check_factors(const struct uqff_pack_plan *plan, const char *key,
                                    const double *factors, size_t count, struct uqff_error *err) {
    uint64_t expected = plan->gguf->numbers.rotary_dim / 2;
    if (factors == NULL || count != expected) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: config.json: rope_scaling: found %zu numbers in %s, expected %llu",
                         uqff_model_path(plan->model), count, key, (unsigned long long)expected);
    }
    return UQFF_OK;
}

static enum uqff_code longrope(struct uqff_pack_plan *plan, struct uqff_error *err) {
    const struct uqff_rope_scaling *rope = &plan->gguf->numbers.config.rope;
    enum uqff_code code =
        check_factors(plan, "long_factor", rope->long_factors, rope->long_count, err);
    if (code == UQFF_OK) {
        code = check_factors(plan, "short_factor", rope->short_factors, rope->short_count, err);
    }
    if (code == UQFF_OK) {
        code = add_factors(plan, "rope_factors_long.weight", rope->long_factors, rope->long_count,
                           err);
    }
    if (code == UQFF_OK) {
        code = add_factors(plan, "rope_factors_short.weight", rope->short_factors,
                           rope->short_count, err);
    }
    return code;
}

/* ---- either ---------------------------------------------------------------------------------- */

enum uqff_code uqff_gguf_rope(struct uqff_pack_plan *plan, struct uqff_error *err) {
    static const char *const elsewhere[] = {"", "default", "linear", "yarn"};
    const struct uqff_rope_scaling *rope = &plan->gguf->numbers.config.rope;
    if (strcasecmp(rope->type, "llama3") == 0) {
        return llama3(plan, err);
    }
    if (is_longrope(rope) || rope->long_factors != NULL) {
        return longrope(plan, err);
    }
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        if (strcasecmp(rope->type, elsewhere[i]) == 0) {
            return UQFF_OK;
        }
    }
    uqff_warn(
        plan->options.warner,
        "%s: config.json: rope_scaling has type '%s', which llama.cpp does not know; it is left "
        "out, so long contexts will differ",
        uqff_model_path(plan->model), rope->type);
    return UQFF_OK;
}
