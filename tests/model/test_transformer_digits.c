/* The same digits everywhere: hashes of logits, which every instruction set, compiler, machine and
 * number of threads must give. They are those of spec/transformer.md. */
#include <stdio.h>

#include "bench/synthetic.h"
#include "support/support.h"
#include "uqff/pack.h"
#include "uqff/validation.h"

enum { MOST = 40 };

static const struct digits {
    const char *name, *architecture; /* NULL: the bundled model */
    uint64_t layers, experts;
    const char *quant, *settings;
    const char *rounded, *exact; /* hashes of the logits of all tokens, without and with --exact */
} cases[] = {
    {"storyteller", NULL, 0, 0, "bf16", NULL, "4d139cd731a6279ea45b9d548bd79a39",
     "4d139cd731a6279ea45b9d548bd79a39"},
    {"storyteller", NULL, 0, 0, "q8_0", NULL, "b29b529bbc3592786313b02b1e77a674",
     "ccab5fe420617c34a7d39857c334d7d1"},
    {"storyteller", NULL, 0, 0, "q4_0", NULL, "f93d39d153b18b9c1b9db73d9d606022",
     "58ab25dce07608330bf3b50495a25752"},
    {"storyteller", NULL, 0, 0, "q4_1", NULL, "c5484187781d1bc7afba15f11fa69f53",
     "503522b7d116e92246145a8edfae8581"},
    {"storyteller", NULL, 0, 0, "q4_k_m", NULL, "bda9f0f84ed54497e99cdebf0505d76d",
     "5522b95c8d17f32cbd4eba357276eaf9"},
    {"storyteller", NULL, 0, 0, "iq4_xs", NULL, "56ccf23d23080233d38b6443f2549a46",
     "fe7f5084f54480f343df6b2dabbe341d"},
    {"llama", "llama", 2, 0, "q8_0", NULL, "c79fdade13d540a92d84ef97088e7b86",
     "91d7b48c33e6855b1e84fd13bcc2eb35"},
    {"llama 3", "llama", 2, 0, "q8_0",
     "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
     "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64},\n",
     "d3e54c8e6195f077fac42c764aca0ff7", "8b97ed38bfbbe8175060f8a9bfd9875f"},
    {"llama, yarn", "llama", 2, 0, "q8_0",
     "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
     "\"original_max_position_embeddings\": 512},\n",
     "8151681a65d72f82680f6aa9a4f34bb7", "8851b3b277c4cbf56212250bc2a92768"},
    {"mistral", "mistral", 2, 0, "q8_0", "\"sliding_window\": 7,\n",
     "fc0213ba69fc05edd15288fd0d402804", "6de1d9225d33c6b8755361845daca9d9"},
    {"mixtral", "mixtral", 2, 4, "q8_0", NULL, "0c50d7d061af874db13c6f85ada9ae42",
     "9cbd964916badda46629f72f9d644762"},
    {"qwen2", "qwen2", 2, 0, "q8_0", NULL, "d07b3105b8172c59a21440c36c4f440c",
     "fd787fadb063cfb60d8c50d47fd07cfa"},
    {"qwen3", "qwen3", 2, 0, "q8_0", NULL, "9f8dd6013e8dfff8a303525a97f7c229",
     "2e56d7405973cda45decf3f07a2ed703"},
    {"qwen3_moe", "qwen3_moe", 2, 6, "q8_0", NULL, "f576c0585662224d2e87cf3cff6011c0",
     "84f555849f7354a9aab3d4899f394550"},
    {"smollm3", "smollm3", 4, 0, "q8_0", NULL, "2ccfa43e418d5f2fe8b2bca5572917e3",
     "b87da13a38d434c19bab52ed8068fb17"},
    {"gemma", "gemma", 2, 0, "q8_0", NULL, "59c721a60906084d856089050730f716",
     "3334f9385338254c170577828e9a69d7"},
    {"gemma, erf", "gemma2", 2, 0, "q8_0", "\"hidden_activation\": \"gelu\",\n",
     "d3b054c92a2b1e90951de1d120a9df13", "12b3601c30029d5d4ed2b4b4ad3ed806"},
    {"gemma2", "gemma2", 2, 0, "q8_0",
     "\"sliding_window\": 8, \"query_pre_attn_scalar\": 24, \"attn_logit_softcapping\": 1.5, "
     "\"final_logit_softcapping\": 2.5,\n",
     "dbdd432b35aca9cf384eadd8f734b226", "11bf9155021d47496fd3313de5c26375"},
    {"gemma3", "gemma3_text", 7, 0, "q8_0",
     "\"sliding_window\": 8, \"query_pre_attn_scalar\": 24, \"rope_local_base_freq\": 100.0, "
     "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0},\n",
     "0b6e5a86ba44da8bd1ece8d9fc7a8f99", "a38dc62b5d36a7c546779c66716fbb3e"},
    {"phi3, longrope", "phi3", 2, 0, "q8_0",
     "\"sliding_window\": 11, \"original_max_position_embeddings\": 16, "
     "\"rope_scaling\": {\"rope_type\": \"longrope\", "
     "\"short_factor\": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7], "
     "\"long_factor\": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]},\n",
     "86da7049dc350f885854a423fed21c94", "fca14f99fb551e1800b02dffde8949a3"},
};

struct rows_hash {
    struct uqff_hasher *hasher;
    size_t vocabulary;
};

/* Little-endian, so that the hash is the same on every machine. */
static enum uqff_code hash_rows(void *context, size_t first, size_t count, const float *logits,
                                struct uqff_error *err) {
    const struct rows_hash *rows = context;
    (void)first, (void)err;
    for (size_t i = 0; i < count * rows->vocabulary; i++) {
        unsigned char bytes[4];
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        for (int b = 0; b < 4; b++) {
            bytes[b] = (unsigned char)(bits >> 8 * b);
        }
        uqff_hasher_update(rows->hasher, bytes, sizeof bytes);
    }
    return UQFF_OK;
}

/* The hash of a model's logits, as hexadecimal digits; static storage. */
static const char *digits_of(const struct uqff_model *model, bool exact, unsigned threads,
                             size_t tokens) {
    static char text[33];
    struct uqff_error err;
    struct uqff_transformer *transformer;
    struct uqff_sequence *sequence;
    struct test_random random = {5};
    uint32_t ids[MOST];
    const struct uqff_transformer_options options = {.exact = exact, .threads = threads};
    struct rows_hash rows = {.hasher = uqff_hasher_new()};
    const struct uqff_logits logits = {hash_rows, &rows};
    assert_non_null(rows.hasher);
    assert_ok(uqff_transformer_open(model, &options, &transformer, &err), &err);
    rows.vocabulary = uqff_transformer_vocabulary(transformer);
    for (size_t t = 0; t < tokens; t++) {
        ids[t] = (uint32_t)(random_u64(&random) % rows.vocabulary);
    }
    assert_ok(uqff_sequence_new(transformer, tokens, &sequence, &err), &err);
    assert_ok(uqff_sequence_eval(sequence, ids, tokens, 0, &logits, NULL, &err), &err);
    const struct uqff_digest digest = uqff_hasher_digest(rows.hasher);
    for (size_t i = 0; i < 16; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest.bytes[i]);
    }
    uqff_sequence_free(sequence);
    uqff_transformer_close(transformer);
    uqff_hasher_free(rows.hasher);
    return text;
}

static void pack(const char *source, const char *quant, const char *output) {
    struct uqff_error err;
    struct uqff_model *model;
    struct uqff_pack_plan *plan;
    const struct uqff_pack_options options = {
        .format = UQFF_PACK_UQFF,
        .output = output,
        .quants = &quant,
        .quant_count = 1,
        .overwrite = true,
        .threads = 1,
    };
    assert_ok(uqff_model_open(source, NULL, &model, &err), &err);
    assert_ok(uqff_pack_plan_new(model, &options, &plan, &err), &err);
    assert_ok(uqff_pack_run(plan, NULL, &err), &err);
    uqff_pack_plan_free(plan);
    uqff_model_close(model);
}

static bool check(const struct digits *c, const char *how, const char *expected,
                  const char *found) {
    if (strcmp(expected, found) == 0) {
        return true;
    }
    print_error("%s, %s, %s: found %s, expected %s\n", c->name, c->quant, how, found, expected);
    return false;
}

/* The best level with several numbers of threads, and every other level that the machine has; in a
 * slow build, whose digits are the same but whose memory is watched, the best level alone. */
static bool check_model(const struct digits *c, const struct uqff_model *model, size_t tokens) {
    static const enum uqff_cpu_level levels[] = {UQFF_CPU_REF, UQFF_CPU_AVX2, UQFF_CPU_NEON,
                                                 UQFF_CPU_AVX512};
    static const unsigned threads[] = {1, 2, 5};
    const enum uqff_cpu_level best = uqff_cpu_level();
    struct uqff_error err;
    bool same = true;
    char how[80];
    for (int exact = 0; exact < 2; exact++) {
        const char *expected = exact != 0 ? c->exact : c->rounded;
        for (size_t i = FAST_BUILD ? 0 : 2; i < 3; i++) {
            snprintf(how, sizeof how, "%s, %u threads", exact != 0 ? "exact" : "default",
                     threads[i]);
            same =
                check(c, how, expected, digits_of(model, exact != 0, threads[i], tokens)) && same;
        }
        for (size_t i = 0; FAST_BUILD && i < sizeof levels / sizeof *levels; i++) {
            if (levels[i] == best || uqff_cpu_set_level(levels[i], &err) != UQFF_OK) {
                continue;
            }
            snprintf(how, sizeof how, "%s, %s", exact != 0 ? "exact" : "default",
                     uqff_cpu_level_name(levels[i]));
            same = check(c, how, expected, digits_of(model, exact != 0, 1, tokens)) && same;
            assert_ok(uqff_cpu_set_level(best, &err), &err);
        }
    }
    return same;
}

static void same_digits(void **state) {
    bool same = true;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct digits *c = &cases[i];
        struct uqff_error err;
        struct uqff_model *model;
        const struct synthetic made = {
            .architecture = c->architecture,
            .hidden = 64,
            .feed_forward = 96,
            .layers = c->layers,
            .heads = 4,
            .kv_heads = 2,
            .head_dim = 16,
            .vocabulary = 83,
            .experts = c->experts,
            .experts_used = c->experts / 2,
            .dtype = UQFF_DTYPE_F32,
            .seed = 11,
            .deviation = 0.15,
            .norms_around_one = true,
            .settings = c->settings,
        };
        char source[4096], output[4096];
        snprintf(source, sizeof source, "%s",
                 c->architecture != NULL ? scratch_file("source") : test_data("storyteller"));
        snprintf(output, sizeof output, "%s", scratch_file("packed.uqff"));
        if (c->architecture != NULL) {
            assert_ok(synthetic_write(&made, source, &err), &err);
        }
        pack(source, c->quant, output);
        assert_ok(uqff_model_open(output, NULL, &model, &err), &err);
        same = check_model(c, model, c->architecture != NULL ? MOST : 16) && same;
        uqff_model_close(model);
    }
    assert_true(same);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
