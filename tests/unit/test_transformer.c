/* The transformer's refusals, what it makes of odd weights, and that results do not depend on how
 * they were asked for. */
#include "test_pack_support.h"
#include "uqff/validation.h"
#include "validation/transformer.h"

enum { TOKENS = 21, VOCABULARY = 24 };

static const uint32_t tokens[TOKENS] = {1, 5,  9,  2, 23, 0, 7,  7, 12, 3, 4,
                                        8, 11, 20, 6, 2,  1, 19, 5, 13, 14};

struct rows {
    float logits[TOKENS * VOCABULARY];
    size_t at; /* tokens that came before this evaluation */
};

static enum uqff_code keep(void *context, size_t first, size_t count, const float *logits,
                           struct uqff_error *err) {
    struct rows *rows = context;
    (void)err;
    memcpy(rows->logits + (rows->at + first) * VOCABULARY, logits,
           count * VOCABULARY * sizeof *logits);
    return UQFF_OK;
}

/* The experts of the tiny Mixtral are narrower than its configuration says. */
static const char *experts_model(const char *name, const char *poison, size_t at) {
    const char *directory = tiny_model(name, "MixtralForCausalLM", "mixtral", tiny_mixtral,
                                       COUNT(tiny_mixtral), poison, at);
    char path[1024];
    size_t size;
    snprintf(path, sizeof path, "%s/config.json", directory);
    char *text = read_file(path, &size), *width = strstr(text, "\"intermediate_size\":128");
    assert_non_null(width);
    memcpy(width + strlen("\"intermediate_size\":"), " 96", 3);
    write_file(path, text, size);
    free(text);
    return directory;
}

struct opened {
    struct uqff_model *model;
    struct uqff_transformer *transformer;
    struct uqff_sequence *sequence;
};

static struct opened open_all(const char *path, bool exact) {
    struct opened o;
    struct uqff_error err;
    const struct uqff_transformer_options options = {.exact = exact, .threads = 2};
    assert_ok(uqff_model_open(path, NULL, &o.model, &err), &err);
    assert_ok(uqff_transformer_open(o.model, &options, &o.transformer, &err), &err);
    assert_ok(uqff_sequence_new(o.transformer, TOKENS, &o.sequence, &err), &err);
    return o;
}

static void close_all(struct opened *o) {
    uqff_sequence_free(o->sequence);
    uqff_transformer_close(o->transformer);
    uqff_model_close(o->model);
}

static void eval(struct opened *o, size_t batch, struct rows *out) {
    struct uqff_error err;
    const struct uqff_logits logits = {keep, out};
    memset(out, 0, sizeof *out);
    uqff_sequence_reset(o->sequence);
    for (size_t i = 0; i < TOKENS; i += batch) {
        size_t n = TOKENS - i < batch ? TOKENS - i : batch;
        out->at = i;
        assert_ok(uqff_sequence_eval(o->sequence, tokens + i, n, 0, &logits, NULL, &err), &err);
    }
    out->at = 0;
}

/* ---- the same, however it is asked for ------------------------------------------------------- */

static void batches(void **state) {
    static struct rows whole, parts;
    const char *const paths[] = {tiny_qwen2_model("dense"), experts_model("experts", NULL, 0)};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct opened o = open_all(paths[i / 2], i % 2 != 0);
        eval(&o, TOKENS, &whole);
        for (size_t batch = 1; batch <= TOKENS; batch += 1 + batch / 3) {
            eval(&o, batch, &parts);
            assert_memory_equal(&whole, &parts, sizeof whole);
        }
        close_all(&o);
    }
}

/* Only the last rows are asked for. */
static void some_logits(void **state) {
    static struct rows whole, some;
    struct opened o = open_all(tiny_qwen2_model("some"), false);
    struct uqff_error err;
    const struct uqff_logits logits = {keep, &some};
    (void)state;
    eval(&o, TOKENS, &whole);
    uqff_sequence_reset(o.sequence);
    assert_ok(uqff_sequence_eval(o.sequence, tokens, TOKENS, TOKENS - 2, &logits, NULL, &err),
              &err);
    size_t n = (TOKENS - 2) * VOCABULARY;
    assert_true(some.logits[0] == 0 && some.logits[n - 1] == 0);
    assert_memory_equal(whole.logits + n, some.logits + n, 2 * VOCABULARY * sizeof(float));
    assert_ok(uqff_sequence_eval(o.sequence, tokens, 0, 0, &logits, NULL, &err), &err);
    close_all(&o);
}

/* Weights that are read when they are needed, in place of those in memory. */
static void unmapped(void **state) {
    static struct rows mapped, read;
    const char *const paths[] = {tiny_qwen2_model("read-dense"),
                                 experts_model("read-experts", NULL, 0)};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct opened o = open_all(paths[i], false);
        struct layer *layer = o.transformer->layers;
        eval(&o, 4, &mapped);
        struct weight *const weights[] = {&layer->q,
                                          &layer->k,
                                          &layer->v,
                                          &layer->o,
                                          &o.transformer->embedding,
                                          &o.transformer->head,
                                          layer->expert_down != NULL ? &layer->expert_down[1]
                                                                     : &layer->gate};
        for (size_t w = 0; w < COUNT(weights); w++) {
            assert_non_null(weights[w]->data);
            weights[w]->data = NULL;
        }
        eval(&o, 4, &read);
        assert_memory_equal(&mapped, &read, sizeof mapped);
        close_all(&o);
    }
}

/* Interleaves the rows of a tensor within heads of 16, as a GGUF has them. */
static void pair_rows(const char *directory, const char *name, size_t row_bytes) {
    struct uqff_error err;
    struct uqff_source *source;
    struct uqff_safetensors *file;
    char path[1024];
    size_t size;
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    assert_ok(uqff_source_open(path, &source, &err), &err);
    assert_ok(uqff_safetensors_open(source, NULL, &file, &err), &err);
    struct uqff_st_tensor tensor = *uqff_safetensors_find(file, name);
    uqff_safetensors_close(file);
    uqff_source_close(source);
    char *bytes = read_file(path, &size), *copy = malloc(size);
    memcpy(copy, bytes, size);
    for (size_t row = 0; row < tensor.bytes / row_bytes; row++) {
        size_t pair = row % 16, to = row - pair + 2 * (pair % 8) + pair / 8;
        memcpy(copy + tensor.offset + to * row_bytes, bytes + tensor.offset + row * row_bytes,
               row_bytes);
    }
    write_file(path, copy, size);
    free(bytes);
    free(copy);
}

/* A folder whose configuration says that rows lie as a GGUF has them. */
static void adjacent(void **state) {
    static struct rows halves, pairs;
    const char *directory = tiny_qwen2_model("adjacent");
    struct opened o = open_all(directory, false);
    char path[1024], config[2048];
    size_t size;
    (void)state;
    eval(&o, 8, &halves);
    close_all(&o);
    snprintf(path, sizeof path, "%s/config.json", directory);
    char *text = read_file(path, &size);
    snprintf(config, sizeof config, "{\"_mistralrs_qk_rope_layout\":\"adjacent\",%.*s",
             (int)size - 1, text + 1);
    write_file(path, config, strlen(config));
    free(text);
    pair_rows(directory, "model.layers.0.self_attn.q_proj.weight", 128);
    pair_rows(directory, "model.layers.0.self_attn.k_proj.weight", 128);
    pair_rows(directory, "model.layers.0.self_attn.q_proj.bias", 2);
    pair_rows(directory, "model.layers.0.self_attn.k_proj.bias", 4);
    o = open_all(directory, false);
    eval(&o, 8, &pairs);
    assert_memory_equal(&halves, &pairs, sizeof halves);
    close_all(&o);
}

/* ---- what an observer sees ------------------------------------------------------------------- */

struct seen {
    size_t dense, experts, rows_of_experts, rows_of_down, layers;
};

static void see_input(void *context, const char *module, int64_t expert, const float *rows,
                      size_t row_count, size_t columns) {
    struct seen *seen = context;
    assert_true(columns == (strstr(module, "down_proj") != NULL ? 96 : 64));
    assert_true(rows[0] == rows[0]);
    if (expert < 0) {
        assert_true(row_count == TOKENS);
        seen->dense++;
    } else if (strstr(module, "down_proj") != NULL) {
        seen->rows_of_down += row_count;
    } else {
        assert_non_null(strstr(module, "model.layers.0.block_sparse_moe.experts."));
        seen->rows_of_experts += row_count;
        seen->experts++;
    }
}

static void see_layer(void *context, int64_t layer, const float *rows, size_t row_count,
                      size_t hidden) {
    struct seen *seen = context;
    assert_true(layer == (int64_t)seen->layers - 1 && row_count == TOKENS && hidden == 64);
    assert_true(rows[0] == rows[0]);
    seen->layers++;
}

static void observing(void **state) {
    struct opened o = open_all(experts_model("seen", NULL, 0), false);
    struct uqff_error err;
    struct seen seen = {0};
    const struct uqff_observer observer = {see_input, see_layer, &seen};
    (void)state;
    assert_ok(uqff_sequence_eval(o.sequence, tokens, TOKENS, 0, NULL, &observer, &err), &err);
    assert_int_equal(seen.layers, 2);
    assert_int_equal(seen.dense, 5); /* q, k, v, o and the router */
    assert_int_equal(seen.rows_of_down, 2 * TOKENS);
    assert_int_equal(seen.rows_of_experts, 4 * TOKENS);
    close_all(&o);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static enum uqff_code try_open(const char *path, struct uqff_error *err) {
    struct uqff_model *model = NULL;
    struct uqff_transformer *transformer = NULL;
    enum uqff_code code = uqff_model_open(path, NULL, &model, err);
    code = code != UQFF_OK ? code : uqff_transformer_open(model, NULL, &transformer, err);
    uqff_transformer_close(transformer);
    uqff_model_close(model);
    return code;
}

static void configurations(void **state) {
    static const struct {
        const char *from, *to;
        enum uqff_code code;
        const char *text;
    } changes[] = {
        {"Qwen2ForCausalLM\"],\"model_type\":\"qwen2", "Foo\"],\"model_type\":\"bar",
         UQFF_E_UNSUPPORTED, "architecture 'Foo' cannot be run"},
        {"\"num_hidden_layers\":1", "\"num_hidden_layers\":2", UQFF_E_MISSING,
         "'model.layers.1.input_layernorm.weight' is missing"},
        {"\"num_hidden_layers\":1", "\"num_hidden_layers\":1000000", UQFF_E_MISSING,
         "too few for the 1000000 layers"},
        {"\"hidden_size\":64", "\"hidden_size\":32", UQFF_E_SHAPE,
         "'model.embed_tokens.weight': found [24, 64], expected [24, 32]"},
        {"\"num_attention_heads\":4", "\"num_attention_heads\":8", UQFF_E_SHAPE,
         "'model.layers.0.self_attn.q_proj.weight': found [64, 64], expected [128, 64]"},
        {"\"num_key_value_heads\":2", "\"num_key_value_heads\":3", UQFF_E_FIELD,
         "heads of keys and values: found 3"},
        {"\"intermediate_size\":128", "\"intermediate_size\":64", UQFF_E_SHAPE,
         "gate_proj.weight': found [128, 64], expected [64, 64]"},
        {"\"intermediate_size\":128", "\"intermediate_size\":0", UQFF_E_FIELD,
         "the size of the feed forward is missing"},
        {"\"vocab_size\":24", "\"vocab_size\":25", UQFF_E_SHAPE,
         "found 24 rows, expected one for each of the 25 tokens"},
        {"\"head_dim\":16", "\"head_dim\":16,\"partial_rotary_factor\":0.2", UQFF_E_FIELD,
         "rotated dimensions of a head: found 3"},
        {"\"head_dim\":16", "\"head_dim\":16,\"hidden_act\":\"mish\"", UQFF_E_UNSUPPORTED,
         "activation 'mish'"},
        {"\"head_dim\":16", "\"head_dim\":16,\"layer_types\":[]", UQFF_E_FIELD,
         "layer_types: found 0 entries"},
        {"\"head_dim\":16", "\"head_dim\":16,\"rope_scaling\":{\"type\":\"dynamic\"}",
         UQFF_E_UNSUPPORTED, "rope scaling 'dynamic'"},
        {"\"head_dim\":16", "\"head_dim\":16,\"rope_scaling\":{\"type\":\"linear\"}", UQFF_E_FIELD,
         "the factor is missing"},
        {"\"head_dim\":16",
         "\"head_dim\":16,\"rope_scaling\":{\"type\":\"su\",\"long_factor\":[1],\"short_factor\":"
         "[1,1,1,1,1,1,1,1]}",
         UQFF_E_FIELD, "long_factor: found 1 numbers, expected 8"},
    };
    const char *directory = tiny_qwen2_model("changed");
    char path[1024], config[4096];
    size_t size;
    struct uqff_error err;
    (void)state;
    snprintf(path, sizeof path, "%s/config.json", directory);
    char *text = read_file(path, &size);
    for (size_t i = 0; i < COUNT(changes); i++) {
        char *at = strstr(text, changes[i].from);
        assert_non_null(at);
        snprintf(config, sizeof config, "%.*s%s%s", (int)(at - text), text, changes[i].to,
                 at + strlen(changes[i].from));
        write_file(path, config, strlen(config));
        assert_fails(try_open(directory, &err), changes[i].code, &err, changes[i].text);
    }
    write_file(path, text, size);
    assert_ok(try_open(directory, &err), &err);
    free(text);
}

static void experts_config(void **state) {
    const char *directory = experts_model("few-experts", NULL, 0);
    char path[1024];
    size_t size;
    struct uqff_error err;
    (void)state;
    snprintf(path, sizeof path, "%s/config.json", directory);
    char *text = read_file(path, &size), *at = strstr(text, "\"num_experts_per_tok\":2");
    assert_non_null(at);
    at[strlen("\"num_experts_per_tok\":")] = '4';
    write_file(path, text, size);
    assert_fails(try_open(directory, &err), UQFF_E_FIELD, &err,
                 "experts used for a token: found 4");
    free(text);
}

static void evaluations(void **state) {
    struct opened o = open_all(tiny_qwen2_model("evaluated"), false);
    struct uqff_sequence *none = NULL;
    struct uqff_error err;
    const uint32_t beyond[2] = {3, VOCABULARY};
    (void)state;
    assert_int_equal(uqff_transformer_vocabulary(o.transformer), VOCABULARY);
    assert_int_equal(uqff_transformer_context(o.transformer), 64);
    assert_fails(uqff_sequence_new(o.transformer, 0, &none, &err), UQFF_E_ARGUMENT, &err,
                 "at least 1");
    assert_fails(uqff_sequence_new(o.transformer, SIZE_MAX / 64, &none, &err), UQFF_E_OVERFLOW,
                 &err, "do not fit memory");
    assert_fails(uqff_sequence_new(o.transformer, SIZE_MAX, &none, &err), UQFF_E_OVERFLOW, &err,
                 "do not fit memory");
    assert_fails(uqff_sequence_eval(o.sequence, beyond, 2, 0, NULL, NULL, &err), UQFF_E_ARGUMENT,
                 &err, "found token 24, expected one below 24");
    assert_ok(uqff_sequence_eval(o.sequence, tokens, TOKENS, 0, NULL, NULL, &err), &err);
    assert_fails(uqff_sequence_eval(o.sequence, tokens, 1, 0, NULL, NULL, &err), UQFF_E_LIMIT, &err,
                 "found 22 tokens, expected at most 21");
    close_all(&o);
}

/* A NaN is named where it first shows: the weight that has it, or what comes right behind it. */
static void not_a_number(void **state) {
    static const struct {
        const char *tensor;
        size_t at;
        const char *text;
    } poisons[] = {
        {"model.embed_tokens.weight", 64 * 9 + 3, "the embedding of token 9 holds NaN"},
        {"model.layers.0.input_layernorm.weight", 7, "layers.0.self_attn.q_proj': its input"},
        {"model.layers.0.self_attn.q_proj.weight", 100, "layers.0.self_attn.o_proj': its input"},
        {"model.layers.0.self_attn.k_proj.bias", 3, "layers.0.self_attn.o_proj': its input"},
        {"model.layers.0.self_attn.o_proj.weight", 0, "layers.0.mlp.gate_proj': its input"},
        {"model.layers.0.mlp.up_proj.weight", 200, "layers.0.mlp.down_proj': its input"},
        {"model.layers.0.mlp.down_proj.weight", 200, "layer 0: what it makes of token 0"},
        {"model.norm.weight", 63, "module 'lm_head': its input"},
        {"lm_head.weight", 64, "module 'lm_head': the logits that it gives"},
    };
    struct uqff_error err;
    static struct rows rows;
    const struct uqff_logits logits = {keep, &rows};
    (void)state;
    for (size_t i = 0; i < COUNT(poisons); i++) {
        char name[32];
        snprintf(name, sizeof name, "poison-%zu", i);
        struct opened o = open_all(tiny_model(name, "Qwen2ForCausalLM", "qwen2", tiny_qwen2,
                                              COUNT(tiny_qwen2), poisons[i].tensor, poisons[i].at),
                                   false);
        assert_fails(uqff_sequence_eval(o.sequence, tokens, TOKENS, 0, &logits, NULL, &err),
                     UQFF_E_NONFINITE, &err, poisons[i].text);
        close_all(&o);
    }
    struct opened o = open_all(
        experts_model("poison-router", "model.layers.0.block_sparse_moe.gate.weight", 70), false);
    assert_fails(uqff_sequence_eval(o.sequence, tokens, TOKENS, 0, &logits, NULL, &err),
                 UQFF_E_NONFINITE, &err, "block_sparse_moe.gate': its result for token 0");
    close_all(&o);
}

/* ---- the corpus ------------------------------------------------------------------------------ */

/* A model is good when it can be run with its vocabulary. */
static enum uqff_code verdict(const char *path, struct uqff_error *err) {
    struct uqff_model *model = NULL;
    struct uqff_vocabulary *vocabulary = NULL;
    enum uqff_code code = try_open(path, err);
    code = code != UQFF_OK ? code : uqff_model_open(path, NULL, &model, err);
    code = code != UQFF_OK ? code : uqff_vocabulary_open(model, NULL, &vocabulary, err);
    uqff_vocabulary_close(vocabulary);
    uqff_model_close(model);
    return code;
}

static void corpus(void **state) {
    size_t count;
    const struct bad_case *cases = bad_cases("model", &count);
    (void)state;
    assert_true(count > 20);
    for (size_t i = 0; i < count; i++) {
        struct uqff_error err = {0};
        enum uqff_code code = verdict(bad_file(cases[i].file), &err);
        if ((code == UQFF_OK) != (strcmp(cases[i].verdict, "accept") == 0)) {
            fail_msg("%s: expected %s (%s), found: %s", cases[i].file, cases[i].verdict,
                     cases[i].reason, code == UQFF_OK ? "accepted" : err.text);
        }
        if (code != UQFF_OK) {
            assert_true(uqff_code_family(code) == UQFF_FAMILY_INPUT);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches),        cmocka_unit_test(some_logits),
        cmocka_unit_test(unmapped),       cmocka_unit_test(adjacent),
        cmocka_unit_test(observing),      cmocka_unit_test(configurations),
        cmocka_unit_test(experts_config), cmocka_unit_test(evaluations),
        cmocka_unit_test(not_a_number),   cmocka_unit_test(corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
