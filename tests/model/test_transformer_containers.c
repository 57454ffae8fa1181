/* A model is the same one in every container: the same logits, bit for bit, from UQFF and GGUF
 * files of the same types, whatever a GGUF does to rows, norms and metadata. */
#include <stdio.h>

#include "bench/synthetic.h"
#include "support/support.h"
#include "uqff/pack.h"
#include "uqff/validation.h"

enum { TOKENS = 40, VOCABULARY = 96 };

struct rows {
    float logits[TOKENS * VOCABULARY];
};

static enum uqff_code keep(void *context, size_t first, size_t count, const float *logits,
                           struct uqff_error *err) {
    struct rows *rows = context;
    (void)err;
    memcpy(rows->logits + first * VOCABULARY, logits, count * VOCABULARY * sizeof *logits);
    return UQFF_OK;
}

static void run(const char *path, bool exact, const uint32_t *tokens, struct rows *out) {
    struct uqff_error err;
    struct uqff_model *model;
    struct uqff_transformer *transformer;
    struct uqff_sequence *sequence;
    const struct uqff_transformer_options options = {.exact = exact, .threads = 2};
    const struct uqff_logits logits = {keep, out};
    assert_ok(uqff_model_open(path, NULL, &model, &err), &err);
    assert_ok(uqff_transformer_open(model, &options, &transformer, &err), &err);
    assert_int_equal(uqff_transformer_vocabulary(transformer), VOCABULARY);
    assert_ok(uqff_sequence_new(transformer, TOKENS, &sequence, &err), &err);
    assert_ok(uqff_sequence_eval(sequence, tokens, TOKENS, 0, &logits, NULL, &err), &err);
    uqff_sequence_free(sequence);
    uqff_transformer_close(transformer);
    uqff_model_close(model);
}

static void pack(const char *model_path, enum uqff_pack_format format, const char *quant,
                 const char *output) {
    struct uqff_error err;
    struct uqff_model *model;
    struct uqff_pack_plan *plan;
    const struct uqff_pack_options options = {
        .format = format,
        .output = output,
        .quants = &quant,
        .quant_count = 1,
        .no_tokenizer = format == UQFF_PACK_GGUF,
        .overwrite = true,
        .threads = 1,
    };
    assert_ok(uqff_model_open(model_path, NULL, &model, &err), &err);
    assert_ok(uqff_pack_plan_new(model, &options, &plan, &err), &err);
    assert_ok(uqff_pack_run(plan, NULL, &err), &err);
    uqff_pack_plan_free(plan);
    uqff_model_close(model);
}

static const struct {
    const char *name, *architecture;
    uint64_t layers, experts;
    const char *settings;
} cases[] = {
    {"llama", "llama", 2, 0, NULL},
    {"llama 3", "llama", 2, 0,
     "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
     "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64},\n"},
    {"llama, linear", "llama", 2, 0,
     "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4.0},\n"},
    {"llama, yarn", "llama", 2, 0,
     "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
     "\"original_max_position_embeddings\": 512},\n"},
    {"mixtral", "mixtral", 2, 4, NULL},
    {"qwen2", "qwen2", 2, 0, NULL},
    {"qwen3", "qwen3", 2, 0, NULL},
    {"qwen3_moe", "qwen3_moe", 2, 4, "\"norm_topk_prob\": true,\n"},
    {"smollm3", "smollm3", 4, 0, NULL},
    {"gemma", "gemma", 2, 0, NULL},
    {"gemma2", "gemma2", 2, 0,
     "\"sliding_window\": 8, \"query_pre_attn_scalar\": 32, \"attn_logit_softcapping\": 1.5, "
     "\"final_logit_softcapping\": 2.5,\n"},
    {"gemma3", "gemma3_text", 6, 0,
     "\"sliding_window\": 8, \"query_pre_attn_scalar\": 32, \"rope_scaling\": {\"rope_type\": "
     "\"linear\", \"factor\": 8.0},\n"},
    {"phi3", "phi3", 2, 0, "\"partial_rotary_factor\": 0.5, \"sliding_window\": 11,\n"},
    {"phi3, longrope", "phi3", 2, 0,
     "\"partial_rotary_factor\": 0.5, \"original_max_position_embeddings\": 32, "
     "\"rope_scaling\": {\"rope_type\": \"longrope\", "
     "\"short_factor\": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], "
     "\"long_factor\": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]},\n"},
};

static void containers(void **state) {
    struct test_random random = {21};
    uint32_t tokens[TOKENS];
    static struct rows uqff, gguf;
    (void)state;
    for (size_t t = 0; t < TOKENS; t++) {
        tokens[t] = (uint32_t)(random_u64(&random) % VOCABULARY);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uqff_error err;
        const struct synthetic model = {
            .architecture = cases[i].architecture,
            .hidden = 64,
            .feed_forward = 96,
            .layers = cases[i].layers,
            .heads = 2,
            .kv_heads = 1,
            .head_dim = 32,
            .vocabulary = VOCABULARY,
            .experts = cases[i].experts,
            .experts_used = cases[i].experts > 0 ? 2 : 0,
            .dtype = UQFF_DTYPE_F32,
            .seed = i + 1,
            .deviation = 0.15,
            .norms_around_one = true,
            .settings = cases[i].settings,
        };
        const char *quants[] = {"q8_0", "q5_1"};
        char folder[4096];
        snprintf(folder, sizeof folder, "%s", scratch_file("source"));
        print_message("  %s\n", cases[i].name);
        assert_ok(synthetic_write(&model, folder, &err), &err);
        for (size_t q = 0; q < 2; q++) {
            pack(folder, UQFF_PACK_UQFF, quants[q], scratch_file("packed.uqff"));
            pack(folder, UQFF_PACK_GGUF, quants[q], scratch_file("packed.gguf"));
            for (int exact = 0; exact < 2; exact++) {
                run(scratch_file("packed.uqff"), exact != 0, tokens, &uqff);
                run(scratch_file("packed.gguf"), exact != 0, tokens, &gguf);
                assert_memory_equal(&uqff, &gguf, sizeof uqff);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
