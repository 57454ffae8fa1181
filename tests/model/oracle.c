#include "model/oracle.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

#include "support/support.h"
#include "uqff/safetensors.h"

/* ---- reading --------------------------------------------------------------------------------- */

struct oracle {
    struct uqff_safetensors_set *set;
    cJSON *config;
    char family[32]; /* model_type */
    size_t layers, hidden, heads, kv_heads, head_dim, rotary, experts, used, tokens;
};

static double number(const struct oracle *o, const char *key, double otherwise) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o->config, key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static bool truth(const struct oracle *o, const char *key, bool otherwise) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o->config, key);
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

static bool is(const struct oracle *o, const char *family) {
    return strcmp(o->family, family) == 0;
}

static bool is_gemma(const struct oracle *o) {
    return strncmp(o->family, "gemma", 5) == 0;
}

static void *need(size_t count, size_t size) {
    void *block = calloc(count, size);
    assert_non_null(block);
    return block;
}

static double decode(enum uqff_dtype dtype, const unsigned char *bytes, size_t i) {
    if (dtype == UQFF_DTYPE_F32) {
        float value;
        memcpy(&value, bytes + 4 * i, 4);
        return (double)value;
    }
    assert_int_equal(dtype, UQFF_DTYPE_BF16);
    uint32_t bits = (uint32_t)(bytes[2 * i] | bytes[2 * i + 1] << 8) << 16;
    float value;
    memcpy(&value, &bits, 4);
    return (double)value;
}

/* A tensor of `count` elements; NULL when there is none of that name and it may be missing. */
static double *tensor(const struct oracle *o, const char *name, size_t count, bool optional) {
    struct uqff_st_set_tensor found;
    struct uqff_error err;
    if (!uqff_safetensors_set_find(o->set, name, &found)) {
        if (!optional) {
            fail_msg("the oracle misses %s", name);
        }
        return NULL;
    }
    struct uqff_safetensors *file = uqff_safetensors_set_file(o->set, found.file);
    size_t width = found.tensor->dtype == UQFF_DTYPE_F32 ? 4 : 2;
    assert_int_equal(found.tensor->bytes, count * width);
    unsigned char *bytes = need(count, width);
    double *values = need(count, sizeof *values);
    assert_ok(uqff_source_read(uqff_safetensors_source(file), found.tensor->offset, bytes,
                               count * width, &err),
              &err);
    for (size_t i = 0; i < count; i++) {
        values[i] = decode(found.tensor->dtype, bytes, i);
    }
    free(bytes);
    return values;
}

static double *layer_tensor(const struct oracle *o, size_t layer, const char *rest, size_t count,
                            bool optional) {
    char name[300];
    snprintf(name, sizeof name, "model.layers.%zu.%s", layer, rest);
    return tensor(o, name, count, optional);
}

static void open_model(struct oracle *o, const char *directory) {
    struct uqff_error err;
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", directory);
    char *text = read_file(path, NULL);
    o->config = cJSON_Parse(text);
    free(text);
    assert_non_null(o->config);
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    assert_ok(uqff_safetensors_set_open(path, NULL, &o->set, &err), &err);
    snprintf(o->family, sizeof o->family, "%s",
             cJSON_GetObjectItem(o->config, "model_type")->valuestring);
    o->layers = (size_t)number(o, "num_hidden_layers", 0);
    o->hidden = (size_t)number(o, "hidden_size", 0);
    o->heads = (size_t)number(o, "num_attention_heads", 0);
    o->kv_heads = (size_t)number(o, "num_key_value_heads", (double)o->heads);
    o->head_dim = (size_t)number(o, "head_dim", (double)o->hidden / (double)o->heads);
    o->rotary = (size_t)((double)o->head_dim * number(o, "partial_rotary_factor", 1));
    o->experts = (size_t)number(o, "num_experts", 0);
    o->used = (size_t)number(o, "num_experts_per_tok", 0);
}

/* ---- operators ------------------------------------------------------------------------------- */

/* out[t][r] = sum of weight[r][c] x[t][c] */
static double *linear(const double *weight, const double *bias, const double *x, size_t tokens,
                      size_t rows, size_t columns) {
    double *out = need(tokens * rows, sizeof *out);
    for (size_t t = 0; t < tokens; t++) {
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t c = 0; c < columns; c++) {
                sum += weight[r * columns + c] * x[t * columns + c];
            }
            out[t * rows + r] = sum + (bias != NULL ? bias[r] : 0);
        }
    }
    return out;
}

/* "<rest>.weight" and perhaps "<rest>.bias" of a layer. */
static double *project(const struct oracle *o, size_t layer, const char *rest, const double *x,
                       size_t rows, size_t columns) {
    char name[200];
    snprintf(name, sizeof name, "%s.weight", rest);
    double *weight = layer_tensor(o, layer, name, rows * columns, false);
    snprintf(name, sizeof name, "%s.bias", rest);
    double *bias = layer_tensor(o, layer, name, rows, true);
    double *out = linear(weight, bias, x, o->tokens, rows, columns);
    free(weight);
    free(bias);
    return out;
}

static void norm_rows(const struct oracle *o, double *x, const double *weight, size_t rows,
                      size_t n) {
    double epsilon = number(o, "rms_norm_eps", 1e-6), shift = is_gemma(o) ? 1 : 0;
    for (size_t r = 0; r < rows; r++, x += n) {
        double sum = 0;
        for (size_t k = 0; k < n; k++) {
            sum += x[k] * x[k];
        }
        for (size_t k = 0; k < n; k++) {
            x[k] = x[k] / sqrt(sum / (double)n + epsilon) * (weight[k] + shift);
        }
    }
}

static double *normed(const struct oracle *o, size_t layer, const char *name, const double *x) {
    double *weight = layer_tensor(o, layer, name, o->hidden, false);
    double *out = need(o->tokens * o->hidden, sizeof *out);
    memcpy(out, x, o->tokens * o->hidden * sizeof *out);
    norm_rows(o, out, weight, o->tokens, o->hidden);
    free(weight);
    return out;
}

static double activation(const struct oracle *o, double g) {
    return is_gemma(o) ? 0.5 * g * (1 + tanh(sqrt(2 / M_PI) * (g + 0.044715 * g * g * g)))
                       : g / (1 + exp(-g));
}

/* ---- rotation -------------------------------------------------------------------------------- */

static const cJSON *scaling(const struct oracle *o) {
    return cJSON_GetObjectItemCaseSensitive(o->config, "rope_scaling");
}

static double scaling_number(const struct oracle *o, const char *key, double otherwise) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(scaling(o), key);
    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

static double theta_of(const struct oracle *o, bool local) {
    return local ? number(o, "rope_local_base_freq", 1e4) : number(o, "rope_theta", 1e4);
}

static double yarn_at(const struct oracle *o, double rotations) {
    double context = scaling_number(o, "original_max_position_embeddings",
                                    number(o, "max_position_embeddings", 0));
    return (double)o->rotary * log(context / (rotations * 2 * M_PI)) /
           (2 * log(theta_of(o, false)));
}

static double original_context(const struct oracle *o) {
    return number(o, "original_max_position_embeddings", number(o, "max_position_embeddings", 0));
}

static double frequency(const struct oracle *o, size_t i, bool local) {
    const cJSON *type = cJSON_GetObjectItem(scaling(o), "rope_type");
    const char *name = cJSON_IsString(type) && !local ? type->valuestring : "default";
    double f = 1 / pow(theta_of(o, local), 2 * (double)i / (double)o->rotary);
    double factor = scaling_number(o, "factor", 1);
    if (strcmp(name, "linear") == 0) {
        return f / factor;
    }
    if (strcmp(name, "llama3") == 0) {
        double low = scaling_number(o, "low_freq_factor", 1);
        double high = scaling_number(o, "high_freq_factor", 4);
        double context = scaling_number(o, "original_max_position_embeddings", 8192);
        double wave = 2 * M_PI / f, smooth = (context / wave - low) / (high - low);
        return wave < context / high  ? f
               : wave > context / low ? f / factor
                                      : (1 - smooth) * f / factor + smooth * f;
    }
    if (strcmp(name, "yarn") == 0) {
        double low = fmax(floor(yarn_at(o, 32)), 0);
        double high = fmin(ceil(yarn_at(o, 1)), (double)o->rotary - 1);
        double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
        return f / factor * ramp + f * (1 - ramp);
    }
    if (strcmp(name, "longrope") == 0) {
        const cJSON *list = cJSON_GetObjectItem(
            scaling(o), (double)o->tokens > original_context(o) ? "long_factor" : "short_factor");
        return f / cJSON_GetArrayItem(list, (int)i)->valuedouble;
    }
    return f;
}

static double magnitude(const struct oracle *o, bool local) {
    const cJSON *type = cJSON_GetObjectItem(scaling(o), "rope_type");
    const char *name = cJSON_IsString(type) && !local ? type->valuestring : "default";
    if (strcmp(name, "yarn") == 0) {
        return 0.1 * log(scaling_number(o, "factor", 1)) + 1;
    }
    if (strcmp(name, "longrope") == 0) {
        double original = original_context(o);
        double ratio = number(o, "max_position_embeddings", 0) / original;
        return ratio > 1 ? sqrt(1 + log(ratio) / log(original)) : 1;
    }
    return 1;
}

static void rotate(const struct oracle *o, double *x, size_t heads, bool local) {
    size_t half = o->rotary / 2;
    double scale = magnitude(o, local);
    for (size_t t = 0; t < o->tokens; t++) {
        for (size_t h = 0; h < heads; h++, x += o->head_dim) {
            for (size_t i = 0; i < half; i++) {
                double angle = (double)t * frequency(o, i, local), a = x[i], b = x[i + half];
                x[i] = scale * (a * cos(angle) - b * sin(angle));
                x[i + half] = scale * (b * cos(angle) + a * sin(angle));
            }
        }
    }
}

/* ---- a layer --------------------------------------------------------------------------------- */

static bool slides(const struct oracle *o, size_t layer) {
    const cJSON *types = cJSON_GetObjectItemCaseSensitive(o->config, "layer_types");
    if (cJSON_IsArray(types)) {
        return strcmp(cJSON_GetArrayItem(types, (int)layer)->valuestring, "sliding_attention") == 0;
    }
    if (is(o, "gemma2")) {
        return layer % 2 == 0;
    }
    if (is(o, "gemma3_text")) {
        return (layer + 1) % (size_t)number(o, "sliding_window_pattern", 6) != 0;
    }
    if (is(o, "mistral") || is(o, "mixtral") || is(o, "phi3")) {
        return true;
    }
    return truth(o, "use_sliding_window", false) &&
           (double)layer >= number(o, "max_window_layers", 0);
}

static bool turns(const struct oracle *o, size_t layer) {
    const cJSON *list = cJSON_GetObjectItem(o->config, "no_rope_layers");
    if (!is(o, "smollm3")) {
        return true;
    }
    return cJSON_IsArray(list) ? cJSON_GetArrayItem(list, (int)layer)->valuedouble != 0
                               : (layer + 1) % 4 != 0;
}

static void attend(const struct oracle *o, size_t layer, const double *q, const double *k,
                   const double *v, double *out) {
    size_t D = o->head_dim, group = o->heads / o->kv_heads;
    double window = slides(o, layer) ? number(o, "sliding_window", 4096) : INFINITY;
    double cap = is(o, "gemma2") ? number(o, "attn_logit_softcapping", 50) : 0;
    double scale =
        1 / sqrt(is(o, "gemma2") || is(o, "gemma3_text") ? number(o, "query_pre_attn_scalar", 256)
                                                         : (double)D);
    double *score = need(o->tokens, sizeof *score);
    for (size_t t = 0; t < o->tokens; t++) {
        for (size_t h = 0; h < o->heads; h++) {
            const double *query = q + (t * o->heads + h) * D;
            double total = 0;
            for (size_t p = 0; p <= t; p++) {
                const double *key = k + (p * o->kv_heads + h / group) * D;
                double sum = 0;
                for (size_t d = 0; d < D; d++) {
                    sum += query[d] * key[d];
                }
                sum *= scale;
                sum = cap > 0 ? cap * tanh(sum / cap) : sum;
                score[p] = (double)(t - p) < window ? exp(sum) : 0;
                total += score[p];
            }
            for (size_t p = 0; p <= t; p++) {
                const double *value = v + (p * o->kv_heads + h / group) * D;
                for (size_t d = 0; d < D; d++) {
                    out[(t * o->heads + h) * D + d] += score[p] / total * value[d];
                }
            }
        }
    }
    free(score);
}

/* Columns first … first + n - 1 of every row. */
static double *cut(const double *x, size_t rows, size_t columns, size_t first, size_t n) {
    double *out = need(rows * n, sizeof *out);
    for (size_t r = 0; r < rows; r++) {
        memcpy(out + r * n, x + r * columns + first, n * sizeof *out);
    }
    return out;
}

static double *attention(const struct oracle *o, size_t layer, const double *x) {
    size_t q_rows = o->heads * o->head_dim, kv_rows = o->kv_heads * o->head_dim;
    double *q, *k, *v;
    if (is(o, "phi3")) {
        size_t all = q_rows + 2 * kv_rows;
        double *fused = project(o, layer, "self_attn.qkv_proj", x, all, o->hidden);
        q = cut(fused, o->tokens, all, 0, q_rows);
        k = cut(fused, o->tokens, all, q_rows, kv_rows);
        v = cut(fused, o->tokens, all, q_rows + kv_rows, kv_rows);
        free(fused);
    } else {
        q = project(o, layer, "self_attn.q_proj", x, q_rows, o->hidden);
        k = project(o, layer, "self_attn.k_proj", x, kv_rows, o->hidden);
        v = project(o, layer, "self_attn.v_proj", x, kv_rows, o->hidden);
    }
    double *q_norm = layer_tensor(o, layer, "self_attn.q_norm.weight", o->head_dim, true);
    double *k_norm = layer_tensor(o, layer, "self_attn.k_norm.weight", o->head_dim, true);
    if (q_norm != NULL) {
        norm_rows(o, q, q_norm, o->tokens * o->heads, o->head_dim);
        norm_rows(o, k, k_norm, o->tokens * o->kv_heads, o->head_dim);
    }
    if (turns(o, layer)) {
        bool local = is(o, "gemma3_text") && slides(o, layer);
        rotate(o, q, o->heads, local);
        rotate(o, k, o->kv_heads, local);
    }
    double *mixed = need(o->tokens * q_rows, sizeof *mixed);
    attend(o, layer, q, k, v, mixed);
    double *out = project(o, layer, "self_attn.o_proj", mixed, o->hidden, q_rows);
    free(q), free(k), free(v), free(q_norm), free(k_norm), free(mixed);
    return out;
}

/* down(activation(gate x) * up x) with the three names given. */
static double *gated(const struct oracle *o, size_t layer, const char *gate_name,
                     const char *up_name, const char *down_name, const double *x, size_t width) {
    double *gate, *up;
    if (up_name == NULL) {
        double *fused = project(o, layer, gate_name, x, 2 * width, o->hidden);
        gate = cut(fused, o->tokens, 2 * width, 0, width);
        up = cut(fused, o->tokens, 2 * width, width, width);
        free(fused);
    } else {
        gate = project(o, layer, gate_name, x, width, o->hidden);
        up = project(o, layer, up_name, x, width, o->hidden);
    }
    for (size_t i = 0; i < o->tokens * width; i++) {
        gate[i] = activation(o, gate[i]) * up[i];
    }
    double *out = project(o, layer, down_name, gate, o->hidden, width);
    free(gate), free(up);
    return out;
}

/* Every expert runs on every token: the weights of those that are not chosen are 0. */
static double *mixture(const struct oracle *o, size_t layer, const double *x) {
    bool mixtral = is(o, "mixtral");
    const char *folder = mixtral ? "block_sparse_moe" : "mlp";
    const char *leaves[3] = {mixtral ? "w1" : "gate_proj", mixtral ? "w3" : "up_proj",
                             mixtral ? "w2" : "down_proj"};
    size_t width = (size_t)number(o, "moe_intermediate_size", 0);
    char name[3][200];
    snprintf(name[0], sizeof name[0], "%s.gate", folder);
    double *weights = project(o, layer, name[0], x, o->experts, o->hidden);
    double *out = need(o->tokens * o->hidden, sizeof *out);
    for (size_t t = 0; t < o->tokens; t++) {
        double *w = weights + t * o->experts, total = 0, kept = 0;
        for (size_t e = 0; e < o->experts; e++) {
            total += w[e] = exp(w[e]);
        }
        bool *chosen = need(o->experts, sizeof *chosen);
        for (size_t n = 0; n < o->used; n++) {
            size_t best = o->experts;
            for (size_t e = 0; e < o->experts; e++) {
                if (!chosen[e] && (best == o->experts || w[e] > w[best])) {
                    best = e;
                }
            }
            chosen[best] = true;
            kept += w[best];
        }
        bool renormal = mixtral || truth(o, "norm_topk_prob", false);
        for (size_t e = 0; e < o->experts; e++) {
            w[e] = chosen[e] ? w[e] / (renormal ? kept : total) : 0;
        }
        free(chosen);
    }
    for (size_t e = 0; e < o->experts; e++) {
        for (size_t i = 0; i < 3; i++) {
            snprintf(name[i], sizeof name[i], "%s.experts.%zu.%s", folder, e, leaves[i]);
        }
        double *one = gated(o, layer, name[0], name[1], name[2], x, width);
        for (size_t i = 0; i < o->tokens * o->hidden; i++) {
            out[i] += weights[i / o->hidden * o->experts + e] * one[i];
        }
        free(one);
    }
    free(weights);
    return out;
}

static void add(const struct oracle *o, double *x, double *y) {
    for (size_t i = 0; i < o->tokens * o->hidden; i++) {
        x[i] += y[i];
    }
    free(y);
}

static void run_layer(const struct oracle *o, size_t layer, double *x) {
    bool post = is(o, "gemma2") || is(o, "gemma3_text");
    size_t width = (size_t)number(o, "intermediate_size", 0);
    double *in = normed(o, layer, "input_layernorm.weight", x), *out = attention(o, layer, in);
    free(in);
    if (post) {
        in = normed(o, layer, "post_attention_layernorm.weight", out);
        free(out);
        out = in;
    }
    add(o, x, out);
    in = normed(o, layer,
                post ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight", x);
    if (o->experts > 0) {
        out = mixture(o, layer, in);
    } else if (is(o, "phi3")) {
        out = gated(o, layer, "mlp.gate_up_proj", NULL, "mlp.down_proj", in, width);
    } else {
        out = gated(o, layer, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", in, width);
    }
    free(in);
    if (post) {
        in = normed(o, layer, "post_feedforward_layernorm.weight", out);
        free(out);
        out = in;
    }
    add(o, x, out);
}

/* ---- a model --------------------------------------------------------------------------------- */

struct oracle_result oracle_run(const char *directory, const uint32_t *tokens, size_t count) {
    struct oracle o = {.tokens = count};
    open_model(&o, directory);
    struct oracle_result r = {.layers = o.layers,
                              .hidden = o.hidden,
                              .tokens = count,
                              .vocabulary = (size_t)number(&o, "vocab_size", 0)};
    size_t n = count * o.hidden;
    const char *head_name = "lm_head.weight", *first_name = "model.embed_tokens.weight";
    double *embedding = tensor(&o, first_name, r.vocabulary * o.hidden, true);
    double *head = tensor(&o, head_name, r.vocabulary * o.hidden, true);
    const double *first = embedding != NULL ? embedding : head;
    const double *last = head != NULL ? head : embedding;
    double *x = need(n, sizeof *x);
    r.states = need((o.layers + 1) * n, sizeof *r.states);
    for (size_t i = 0; i < n; i++) {
        x[i] = first[tokens[i / o.hidden] * o.hidden + i % o.hidden] *
               (is_gemma(&o) ? sqrt((double)o.hidden) : 1);
    }
    memcpy(r.states, x, n * sizeof *x);
    for (size_t layer = 0; layer < o.layers; layer++) {
        run_layer(&o, layer, x);
        memcpy(r.states + (layer + 1) * n, x, n * sizeof *x);
    }
    double *norm = tensor(&o, "model.norm.weight", o.hidden, false);
    norm_rows(&o, x, norm, count, o.hidden);
    r.logits = linear(last, NULL, x, count, r.vocabulary, o.hidden);
    double cap = is(&o, "gemma2") ? number(&o, "final_logit_softcapping", 30) : 0;
    for (size_t i = 0; cap > 0 && i < count * r.vocabulary; i++) {
        r.logits[i] = cap * tanh(r.logits[i] / cap);
    }
    free(x), free(norm), free(embedding), free(head);
    uqff_safetensors_set_close(o.set);
    cJSON_Delete(o.config);
    return r;
}

void oracle_free(struct oracle_result *result) {
    free(result->states);
    free(result->logits);
}
