/* The transformer against the plain one of oracle.c: behind every layer of small models of every
 * architecture, and of the bundled one. */
#include <math.h>
#include <stdio.h>

#include "bench/synthetic.h"
#include "model/oracle.h"
#include "support/support.h"
#include "uqff/validation.h"

/* What the transformer computed, next to what it should have. */
struct comparison {
    const struct oracle_result *expected;
    size_t position; /* of the batch that is being evaluated */
    double worst;    /* largest difference, relative to the root of the mean square of the rows */
    char where[64];
    size_t layers_seen;
};

static void compare(struct comparison *c, const char *what, int64_t layer, const float *found,
                    const double *expected, size_t rows, size_t n) {
    for (size_t r = 0; r < rows; r++, found += n, expected += n) {
        double square = 0, difference = 0;
        for (size_t k = 0; k < n; k++) {
            square += expected[k] * expected[k];
            difference = fmax(difference, fabs((double)found[k] - expected[k]));
        }
        double error = difference / sqrt(square / (double)n);
        if (!(error <= c->worst)) {
            c->worst = error;
            snprintf(c->where, sizeof c->where, "%s %lld, token %zu", what, (long long)layer,
                     c->position + r);
        }
    }
}

static void see_layer(void *context, int64_t layer, const float *rows, size_t count,
                      size_t hidden) {
    struct comparison *c = context;
    size_t n = c->expected->tokens * hidden;
    assert_int_equal(hidden, c->expected->hidden);
    compare(c, "layer", layer, rows,
            c->expected->states + (size_t)(layer + 1) * n + c->position * hidden, count, hidden);
    c->layers_seen++;
}

static enum uqff_code see_logits(void *context, size_t first, size_t count, const float *logits,
                                 struct uqff_error *err) {
    struct comparison *c = context;
    size_t n = c->expected->vocabulary;
    (void)err;
    compare(c, "logits", 0, logits, c->expected->logits + (c->position + first) * n, count, n);
    return UQFF_OK;
}

/* Evaluates `count` tokens, `batch` at a time. Returns the worst relative error. */
static double run(const char *path, bool exact, const uint32_t *tokens, size_t count, size_t batch,
                  const struct oracle_result *expected) {
    struct uqff_error err;
    struct uqff_model *model;
    struct uqff_transformer *transformer;
    struct uqff_sequence *sequence;
    struct comparison c = {.expected = expected};
    const struct uqff_transformer_options options = {.exact = exact, .threads = 2};
    const struct uqff_observer observer = {.layer = see_layer, .context = &c};
    const struct uqff_logits logits = {see_logits, &c};
    assert_ok(uqff_model_open(path, NULL, &model, &err), &err);
    assert_ok(uqff_transformer_open(model, &options, &transformer, &err), &err);
    assert_int_equal(uqff_transformer_vocabulary(transformer), expected->vocabulary);
    assert_ok(uqff_sequence_new(transformer, count, &sequence, &err), &err);
    for (size_t i = 0; i < count; i += batch) {
        size_t n = count - i < batch ? count - i : batch;
        c.position = i;
        assert_ok(uqff_sequence_eval(sequence, tokens + i, n, 0, &logits, &observer, &err), &err);
    }
    assert_int_equal(c.layers_seen, (count + batch - 1) / batch * (expected->layers + 1));
    uqff_sequence_free(sequence);
    uqff_transformer_close(transformer);
    uqff_model_close(model);
    print_message("    %s, %zu at a time: %.2g at %s\n", exact ? "exact" : "default", batch,
                  c.worst, c.where);
    return c.worst;
}

static const struct {
    const char *name, *architecture;
    uint64_t layers, experts, used, tokens, head_dim;
    const char *settings;
} cases[] = {
    {"llama", "llama", 2, 0, 0, 40, 16, NULL},
    {"llama 3", "llama", 2, 0, 0, 40, 16,
     "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
     "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64},\n"},
    {"llama, linear", "llama", 2, 0, 0, 40, 16,
     "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4.0},\n"},
    {"llama, yarn", "llama", 2, 0, 0, 40, 16,
     "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
     "\"original_max_position_embeddings\": 512},\n"},
    {"odd heads", "llama", 2, 0, 0, 40, 12, NULL},
    {"mistral", "mistral", 2, 0, 0, 40, 16, "\"sliding_window\": 7,\n"},
    {"mixtral", "mixtral", 2, 4, 2, 40, 16, NULL},
    {"mixtral, window", "mixtral", 2, 4, 2, 40, 16, "\"sliding_window\": 10,\n"},
    {"qwen2", "qwen2", 2, 0, 0, 40, 16,
     "\"sliding_window\": 9, \"use_sliding_window\": true, \"max_window_layers\": 1,\n"},
    {"qwen2, no window", "qwen2", 2, 0, 0, 40, 16,
     "\"sliding_window\": 9, \"use_sliding_window\": false,\n"},
    {"qwen3", "qwen3", 2, 0, 0, 40, 16, NULL},
    {"qwen3_moe", "qwen3_moe", 2, 6, 3, 40, 16, "\"norm_topk_prob\": true,\n"},
    {"qwen3_moe, weights as they are", "qwen3_moe", 2, 6, 3, 40, 16, NULL},
    {"smollm3", "smollm3", 4, 0, 0, 40, 16, NULL},
    {"smollm3, a list", "smollm3", 2, 0, 0, 40, 16, "\"no_rope_layers\": [0, 1],\n"},
    {"gemma", "gemma", 2, 0, 0, 40, 16, "\"hidden_act\": \"gelu\",\n"},
    {"gemma2", "gemma2", 2, 0, 0, 40, 16,
     "\"sliding_window\": 8, \"query_pre_attn_scalar\": 24, \"attn_logit_softcapping\": 1.5, "
     "\"final_logit_softcapping\": 2.5,\n"},
    {"gemma2, a list", "gemma2", 2, 0, 0, 40, 16,
     "\"sliding_window\": 8, \"layer_types\": [\"full_attention\", \"sliding_attention\"],\n"},
    {"gemma3, a list", "gemma3_text", 2, 0, 0, 40, 16,
     "\"sliding_window\": 8, \"rope_local_base_freq\": 100.0, "
     "\"layer_types\": [\"full_attention\", \"sliding_attention\"],\n"},
    {"gemma3", "gemma3_text", 7, 0, 0, 40, 16,
     "\"sliding_window\": 8, \"query_pre_attn_scalar\": 24, \"rope_local_base_freq\": 100.0, "
     "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0},\n"},
    {"phi3", "phi3", 2, 0, 0, 40, 16, "\"partial_rotary_factor\": 0.5,\n"},
    {"phi3, window", "phi3", 2, 0, 0, 40, 16, "\"sliding_window\": 11,\n"},
    {"phi3, longrope, short", "phi3", 2, 0, 0, 40, 16,
     "\"original_max_position_embeddings\": 512, \"rope_scaling\": {\"rope_type\": \"longrope\", "
     "\"short_factor\": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], "
     "\"long_factor\": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]},\n"},
    {"phi3, longrope, long", "phi3", 2, 0, 0, 40, 16,
     "\"original_max_position_embeddings\": 32, \"rope_scaling\": {\"rope_type\": \"longrope\", "
     "\"short_factor\": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], "
     "\"long_factor\": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]},\n"},
};

static void architectures(void **state) {
    struct test_random random = {7};
    uint32_t tokens[64];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[64];
        struct uqff_error err;
        const struct synthetic model = {
            .architecture = cases[i].architecture,
            .hidden = 64,
            .feed_forward = 96,
            .layers = cases[i].layers,
            .heads = 4,
            .kv_heads = i % 2 == 0 ? 2 : 1,
            .head_dim = cases[i].head_dim,
            .vocabulary = 83,
            .experts = cases[i].experts,
            .experts_used = cases[i].used,
            .dtype = UQFF_DTYPE_F32,
            .seed = i + 1,
            .deviation = 0.15,
            .norms_around_one = true,
            .settings = cases[i].settings,
        };
        print_message("  %s\n", cases[i].name);
        snprintf(folder, sizeof folder, "model-%zu", i);
        const char *path = scratch_file(folder);
        assert_ok(synthetic_write(&model, path, &err), &err);
        for (size_t t = 0; t < cases[i].tokens; t++) {
            tokens[t] = (uint32_t)(random_u64(&random) % model.vocabulary);
        }
        struct oracle_result expected = oracle_run(path, tokens, cases[i].tokens);
        assert_true(run(path, true, tokens, cases[i].tokens, 64, &expected) < 2e-5);
        assert_true(run(path, true, tokens, cases[i].tokens, 5, &expected) < 2e-5);
        assert_true(run(path, false, tokens, cases[i].tokens, 1, &expected) < 2e-5);
        oracle_free(&expected);
    }
}

/* The bundled model: real weights, BF16. */
static void storyteller(void **state) {
    enum { TOKENS = 48 };
    struct test_random random = {3};
    uint32_t tokens[TOKENS];
    const char *path = test_data("storyteller");
    (void)state;
    for (size_t t = 0; t < TOKENS; t++) {
        tokens[t] = (uint32_t)(random_u64(&random) % 1000);
    }
    struct oracle_result expected = oracle_run(path, tokens, TOKENS);
    assert_true(run(path, true, tokens, TOKENS, 64, &expected) < 2e-5);
    assert_true(run(path, false, tokens, TOKENS, 16, &expected) < 2e-5);
    oracle_free(&expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(architectures),
        cmocka_unit_test(storyteller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
