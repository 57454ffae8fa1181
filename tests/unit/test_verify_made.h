/* A small Llama, packed, and what a verification says of it. */
#ifndef UQFF_TEST_VERIFY_MADE_H
#define UQFF_TEST_VERIFY_MADE_H

#include "unit/test_model_builder.h"
#include "uqff/pack.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char small_config[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"vocab_size\":32,"
    "\"hidden_size\":256,\"intermediate_size\":256,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":64,"
    "\"max_position_embeddings\":64,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
    "\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\"}";

#define LAYER(n)                                                                                   \
    {"model.layers." #n ".input_layernorm.weight", UQFF_DTYPE_BF16, 1, {256}},                     \
        {"model.layers." #n ".post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {256}},        \
        {"model.layers." #n ".self_attn.q_proj.weight", UQFF_DTYPE_BF16, 2, {256, 256}},           \
        {"model.layers." #n ".self_attn.k_proj.weight", UQFF_DTYPE_BF16, 2, {128, 256}},           \
        {"model.layers." #n ".self_attn.v_proj.weight", UQFF_DTYPE_BF16, 2, {128, 256}},           \
        {"model.layers." #n ".self_attn.v_proj.bias", UQFF_DTYPE_BF16, 1, {128}},                  \
        {"model.layers." #n ".self_attn.o_proj.weight", UQFF_DTYPE_BF16, 2, {256, 256}},           \
        {"model.layers." #n ".mlp.gate_proj.weight", UQFF_DTYPE_BF16, 2, {256, 256}},              \
        {"model.layers." #n ".mlp.up_proj.weight", UQFF_DTYPE_BF16, 2, {256, 256}}, {              \
        "model.layers." #n ".mlp.down_proj.weight", UQFF_DTYPE_BF16, 2, {                          \
            256, 256                                                                               \
        }                                                                                          \
    }

static const struct made small_model[] = {
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {32, 256}},
    {"lm_head.weight", UQFF_DTYPE_BF16, 2, {32, 256}},
    {"model.norm.weight", UQFF_DTYPE_BF16, 1, {256}},
    LAYER(0),
    LAYER(1),
};

/* Writes the model into the current folder. */
static inline void write_small(void) {
    write_tensors("model.safetensors", small_model, COUNT(small_model));
    write_text("config.json", small_config);
    write_text("tokenizer.json", "{\"version\":\"1.0\"}");
}

static inline struct uqff_pack_options pack_options(const char *const *quants, size_t count,
                                                    const char *output) {
    return (struct uqff_pack_options){
        .format = UQFF_PACK_UQFF,
        .output = output,
        .quants = quants,
        .quant_count = count,
        .memory = 8u << 20,
    };
}

static inline void pack(const struct uqff_model *model, const struct uqff_pack_options *wanted) {
    struct uqff_error err;
    struct uqff_pack_plan *plan = NULL;
    assert_ok(uqff_pack_plan_new(model, wanted, &plan, &err), &err);
    assert_ok(uqff_pack_run(plan, NULL, &err), &err);
    uqff_pack_plan_free(plan);
}

/* What was found, one line each: "failure digest: text". */
struct found {
    char text[16384];
    size_t notes, warnings, failures;
};

static inline void note_finding(void *context, enum uqff_severity severity, const char *code,
                                const char *text) {
    static const char *const names[] = {"note", "warning", "failure"};
    struct found *found = (struct found *)context;
    const size_t used = strlen(found->text);
    snprintf(found->text + used, sizeof found->text - used, "%s %s: %s\n", names[severity], code,
             text);
    found->notes += severity == UQFF_NOTE;
    found->warnings += severity == UQFF_WARNING;
    found->failures += severity == UQFF_FAILURE;
}

static struct found found;

static inline bool verify(const char *path, const struct uqff_verify_options *wanted) {
    struct uqff_error err;
    const struct uqff_findings sink = {note_finding, &found};
    bool passed = false;
    memset(&found, 0, sizeof found);
    assert_ok(uqff_verify(path, wanted, &sink, NULL, &passed, &err), &err);
    assert_int_equal(passed, found.failures == 0);
    return passed;
}

#define assert_passes(path, ...)                                                                   \
    do {                                                                                           \
        if (!verify((path), &(struct uqff_verify_options){__VA_ARGS__})) {                         \
            fail_msg("%s does not pass:\n%s", (path), found.text);                                 \
        }                                                                                          \
    } while (0)

/* A line that begins with `start` and holds `part`. */
static inline bool told(const char *start, const char *part) {
    for (const char *line = found.text; *line != '\0';) {
        const char *end = strchr(line, '\n');
        char copy[1024];
        const size_t n =
            (size_t)(end - line) < sizeof copy ? (size_t)(end - line) : sizeof copy - 1;
        memcpy(copy, line, n);
        copy[n] = '\0';
        if (strncmp(copy, start, strlen(start)) == 0 && strstr(copy, part) != NULL) {
            return true;
        }
        line = end + 1;
    }
    return false;
}

#define assert_told(start, part)                                                                   \
    do {                                                                                           \
        if (!told((start), (part))) {                                                              \
            fail_msg("no finding '%s … %s' among:\n%s", (start), (part), found.text);              \
        }                                                                                          \
    } while (0)

/* Where an entry's data lies in a safetensors file. */
static inline uint64_t entry_offset(const char *path, const char *name, uint64_t *bytes) {
    struct uqff_error err;
    struct uqff_source *source = NULL;
    struct uqff_safetensors *file = NULL;
    assert_ok(uqff_source_open(path, &source, &err), &err);
    assert_ok(uqff_safetensors_open(source, NULL, &file, &err), &err);
    const struct uqff_st_tensor *tensor = uqff_safetensors_find(file, name);
    if (tensor == NULL) {
        fail_msg("%s: no entry '%s'", path, name);
        abort();
    }
    const uint64_t offset = tensor->offset;
    if (bytes != NULL) {
        *bytes = tensor->bytes;
    }
    uqff_safetensors_close(file);
    uqff_source_close(source);
    return offset;
}

/* Writes `n` bytes into a file in place. */
static inline void patch(const char *path, uint64_t offset, const void *bytes, size_t n) {
    size_t size = 0;
    char *content = (char *)read_file(path, &size);
    assert_true(offset + n <= size);
    memcpy(content + offset, bytes, n);
    write_file(path, content, size);
    free(content);
}

#endif
