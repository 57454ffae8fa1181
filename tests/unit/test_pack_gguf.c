/* GGUF files: types and bytes as llama-quantize's, tensors that come back, and what is refused. */
#include <math.h>
#include <unistd.h>

#include "test_pack_support.h"

static struct uqff_gguf *open_gguf(const char *path) {
    struct uqff_error err;
    struct uqff_gguf *gguf = NULL;
    assert_ok(uqff_gguf_open_path(path, NULL, &gguf, &err), &err);
    return gguf;
}

static struct uqff_pack_options gguf_options(const char *output, const char *const *quants,
                                             size_t count) {
    struct uqff_pack_options options = pack_options(output, quants, count);
    options.format = UQFF_PACK_GGUF;
    options.threads = 2;
    return options;
}

static const char *fresh_directory(const char *name) {
    const char *path = scratch_file(name);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

static void *tensor_bytes(const struct uqff_gguf *gguf, const struct uqff_gguf_tensor *tensor) {
    struct uqff_error err;
    void *bytes = malloc((size_t)tensor->bytes + 1);
    assert_ok(uqff_source_read(uqff_gguf_source(gguf, tensor->file), tensor->offset, bytes,
                               (size_t)tensor->bytes, &err),
              &err);
    return bytes;
}

static const struct uqff_gguf_tensor *must_find(const struct uqff_gguf *gguf, const char *name) {
    const struct uqff_gguf_tensor *tensor = uqff_gguf_find_tensor(gguf, name);
    if (tensor == NULL) {
        fail_msg("there is no tensor '%s'", name);
    }
    return tensor;
}

/* ---- llama-quantize -------------------------------------------------------------------------- */

struct expected {
    char recipe[16], imatrix[8], tensor[64], type[16], sha[20];
};

/* The lines of llama-quantize.tsv behind the first. */
static size_t read_expected(struct expected *out, size_t room) {
    size_t size = 0, count = 0;
    char *text = read_file(test_data("storyteller/llama-quantize.tsv"), &size);
    char *copy = calloc(1, size + 1);
    memcpy(copy, text, size);
    for (char *line = strchr(copy, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1) {
        assert_true(count < room);
        struct expected *row = &out[count++];
        assert_int_equal(sscanf(line, "%15s %7s %63s %15s %19s", row->recipe, row->imatrix,
                                row->tensor, row->type, row->sha),
                         5);
        assert_string_equal(row->imatrix, "no");
        assert_non_null(strchr(line, '\n'));
    }
    free(copy);
    free(text);
    return count;
}

static void sha_of(const struct uqff_gguf *gguf, const struct uqff_gguf_tensor *tensor,
                   char out[20]) {
    struct uqff_error err;
    struct uqff_sha *sha = NULL;
    unsigned char digest[32];
    char hex[65];
    size_t n = 0;
    void *bytes = tensor_bytes(gguf, tensor);
    assert_ok(uqff_sha_new("sha256", &sha, &err), &err);
    uqff_sha_update(sha, bytes, (size_t)tensor->bytes);
    uqff_sha_final(sha, digest, &n);
    uqff_sha_free(sha);
    free(bytes);
    uqff_hex(hex, digest, n);
    memcpy(out, hex, 16);
    out[16] = '\0';
}

/* Every file in the directory holds exactly the expected tensors, in their order. */
static void compare_files(const char *stem, const struct expected *rows, size_t count) {
    char path[1024], sha[20];
    for (size_t first = 0, end; first < count; first = end) {
        snprintf(path, sizeof path, "%s-%s.gguf", stem, rows[first].recipe);
        struct uqff_gguf *gguf = open_gguf(path);
        for (end = first; end < count && strcmp(rows[end].recipe, rows[first].recipe) == 0; end++) {
            const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(gguf, end - first);
            assert_string_equal(tensor->name, rows[end].tensor);
            sha_of(gguf, tensor, sha);
            if (strcmp(uqff_type_name(tensor->type), rows[end].type) != 0 ||
                strcmp(sha, rows[end].sha) != 0) {
                fail_msg("%s: %s: found %s %s, expected %s %s", rows[first].recipe, tensor->name,
                         uqff_type_name(tensor->type), sha, rows[end].type, rows[end].sha);
            }
        }
        assert_int_equal(uqff_gguf_tensor_count(gguf), end - first);
        uqff_gguf_close(gguf);
    }
}

static size_t list_recipes(const struct expected *rows, size_t count, const char **out) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(rows[i].recipe, rows[i - 1].recipe) != 0) {
            out[n++] = rows[i].recipe;
        }
    }
    return n;
}

/* 19 recipes, once from the checkpoint and once from a GGUF of it. */
static void gives_what_llama_quantize_gives(void **state) {
    (void)state;
    enum { ROOM = 2000 };
    static struct expected rows[ROOM];
    const char *recipes[64], *f32 = "f32";
    char path[1024];
    size_t count = read_expected(rows, ROOM), recipe_count = list_recipes(rows, count, recipes);
    assert_int_equal(recipe_count, 19);
    assert_int_equal(count, 19 * 39);

    const char *direct = fresh_directory("direct");
    struct uqff_pack_options options = gguf_options(direct, recipes, recipe_count);
    pack(test_data("storyteller"), &options);
    snprintf(path, sizeof path, "%s/storyteller", direct);
    compare_files(path, rows, count);

    const char *source = scratch_file("source.gguf");
    options = gguf_options(source, &f32, 1);
    pack(test_data("storyteller"), &options);
    const char *indirect = fresh_directory("indirect");
    options = gguf_options(indirect, recipes, recipe_count);
    pack(scratch_file("source.gguf"), &options);
    snprintf(path, sizeof path, "%s/source", indirect);
    compare_files(path, rows, count);
}

/* ---- other converters ------------------------------------------------------------------------ */

static bool same_value(const struct uqff_gguf *a, const struct uqff_gguf_value *x,
                       const struct uqff_gguf *b, const struct uqff_gguf_value *y) {
    if (x->kind != y->kind) {
        return false;
    }
    switch (x->kind) {
    case UQFF_GGUF_STRING:
        return x->as.string.length == y->as.string.length &&
               memcmp(x->as.string.bytes, y->as.string.bytes, x->as.string.length) == 0;
    case UQFF_GGUF_ARRAY: {
        struct uqff_gguf_iterator i = uqff_gguf_iterate(a, x), k = uqff_gguf_iterate(b, y);
        struct uqff_gguf_value v, w;
        while (uqff_gguf_next(&i, &v)) {
            if (!uqff_gguf_next(&k, &w) || !same_value(a, &v, b, &w)) {
                return false;
            }
        }
        return !uqff_gguf_next(&k, &w);
    }
    case UQFF_GGUF_F32:
    case UQFF_GGUF_F64:
        return x->as.f == y->as.f;
    default:
        return x->as.u == y->as.u;
    }
}

/* A GGUF that somebody else's converter made of the same checkpoint. It gives names and licences,
 * which are not in the checkpoint, and no scores to added tokens. */
static void compare_with(const char *model, const char *other) {
    static const char *const own[] = {"general.name", "general.license", "tokenizer.ggml.scores"};
    const char *f32 = "f32";
    const char *output = scratch_file("ours.gguf");
    struct uqff_pack_options options = gguf_options(output, &f32, 1);
    options.overwrite = true;
    pack(model, &options);
    struct uqff_gguf *ours = open_gguf(scratch_file("ours.gguf")), *theirs = open_gguf(other);
    assert_int_equal(uqff_gguf_tensor_count(ours), uqff_gguf_tensor_count(theirs));
    for (size_t i = 0; i < uqff_gguf_tensor_count(theirs); i++) {
        const struct uqff_gguf_tensor *b = uqff_gguf_tensor(theirs, i);
        const struct uqff_gguf_tensor *a = must_find(ours, b->name);
        void *x = tensor_bytes(ours, a), *y = tensor_bytes(theirs, b);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->n_dims, b->n_dims);
        assert_memory_equal(a->ne, b->ne, sizeof a->ne);
        assert_memory_equal(x, y, b->bytes);
        free(x);
        free(y);
    }
    for (size_t i = 0; i < uqff_gguf_kv_count(theirs); i++) {
        const char *key = uqff_gguf_key(theirs, i);
        bool skip = false;
        for (size_t k = 0; k < COUNT(own); k++) {
            skip = skip || strcmp(own[k], key) == 0;
        }
        const struct uqff_gguf_value *value = uqff_gguf_find_value(ours, key);
        if (!skip &&
            (value == NULL || !same_value(ours, value, theirs, uqff_gguf_value(theirs, i)))) {
            fail_msg("%s: key '%s' differs", model, key);
        }
    }
    uqff_gguf_close(ours);
    uqff_gguf_close(theirs);
}

static void agrees_with_other_converters(void **state) {
    (void)state;
    if (extra_data("models/stories260K/hf") == NULL) {
        skip();
    }
    compare_with(extra_data("models/stories260K/hf"),
                 extra_data("models/stories260K/gguf/stories260K-f32.gguf"));
    compare_with(extra_data("models/tinystories-656k-f32"),
                 extra_data("models/tinystories-656k-f32/gguf/tinystories-656k-f32.gguf"));
}

/* ---- and back -------------------------------------------------------------------------------- */

static void report_difference(void *context, const struct uqff_difference *difference) {
    (void)context;
    /* A buffer of frequencies is left out of a GGUF. */
    if (difference->kind != UQFF_DIFF_METADATA && strstr(difference->name, "inv_freq") == NULL) {
        fail_msg("'%s' differs: %s | %s", difference->name, difference->a, difference->b);
    }
}

/* The model layer undoes what the format changes: same names, shapes and values. */
static void compare_models(const char *a, const char *b, double tolerance) {
    struct uqff_error err;
    struct uqff_model *x = open_model(a), *y = open_model(b);
    const struct uqff_diff_options options = {.values = true, .tolerance = tolerance};
    bool equal = false;
    assert_int_equal(uqff_model_module_count(x), uqff_model_module_count(y));
    assert_ok(uqff_diff(x, y, &options, report_difference, NULL, NULL, &equal, &err), &err);
    uqff_model_close(x);
    uqff_model_close(y);
}

static void take_finding(void *context, enum uqff_severity severity, const char *code,
                         const char *text) {
    (void)context;
    if (severity == UQFF_FAILURE) {
        fail_msg("%s: %s", code, text);
    }
}

static void must_verify(const char *path) {
    struct uqff_error err;
    const struct uqff_verify_options options = {.target = UQFF_TARGET_LLAMACPP, .threads = 1};
    const struct uqff_findings findings = {take_finding, NULL};
    bool passed = false;
    assert_ok(uqff_verify(path, &options, &findings, NULL, &passed, &err), &err);
    assert_true(passed);
}

static void comes_back_as_it_was(void **state) {
    (void)state;
    const char *quants[] = {"bf16", "f32", "q8_0"};
    char path[1024];
    const char *directory = fresh_directory("back");
    struct uqff_pack_options options = gguf_options(directory, quants, 3);
    pack(test_data("storyteller"), &options);
    snprintf(path, sizeof path, "%s/storyteller-BF16.gguf", directory);
    compare_models(test_data("storyteller"), path, 0);
    must_verify(path);
    snprintf(path, sizeof path, "%s/storyteller-F32.gguf", directory);
    compare_models(test_data("storyteller"), path, 0);
    must_verify(path);
    snprintf(path, sizeof path, "%s/storyteller-Q8_0.gguf", directory);
    must_verify(path);
    assert_int_equal(count_files(directory), 3);
}

/* ---- what changes on the way ----------------------------------------------------------------- */

#define TINY(name, class, type, tensors)                                                           \
    tiny_model((name), (class), (type), (tensors), COUNT(tensors), NULL, 0)

static void write_config(const char *directory, const char *config) {
    char path[1024];
    snprintf(path, sizeof path, "%s/config.json", directory);
    write_file(path, config, strlen(config));
}

/* Packs as F32 without a tokenizer and opens the result. */
static struct uqff_gguf *tiny_gguf(const char *model) {
    const char *f32 = "f32";
    const char *output = scratch_file("tiny.gguf");
    struct uqff_pack_options options = gguf_options(output, &f32, 1);
    options.overwrite = options.no_tokenizer = true;
    pack(model, &options);
    must_verify(scratch_file("tiny.gguf"));
    return open_gguf(scratch_file("tiny.gguf"));
}

static float *source_floats(const struct uqff_model *model, const char *name) {
    struct uqff_error err;
    size_t index = uqff_model_find_tensor(model, name);
    assert_int_not_equal(index, UQFF_NONE);
    const struct uqff_tensor *tensor = uqff_model_tensor(model, index);
    float *x = malloc(tensor->elements * sizeof *x);
    uint64_t rows = tensor->elements / tensor->shape[tensor->rank - 1];
    assert_ok(uqff_model_read_rows(model, index, 0, rows, x, &err), &err);
    return x;
}

static const struct tiny_tensor tiny_llama[] = {
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
    {"model.norm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.input_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.self_attn.q_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.q_proj.bias", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.self_attn.k_proj.weight", UQFF_DTYPE_F32, 2, {32, 64}},
    {"model.layers.0.self_attn.k_proj.bias", UQFF_DTYPE_F32, 1, {32}},
    {"model.layers.0.self_attn.v_proj.weight", UQFF_DTYPE_F16, 2, {32, 64}},
    {"model.layers.0.self_attn.v_proj.bias", UQFF_DTYPE_F16, 1, {32}},
    {"model.layers.0.self_attn.o_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.rotary_emb.inv_freq", UQFF_DTYPE_F32, 1, {8}},
    {"model.layers.0.mlp.gate_proj.weight", UQFF_DTYPE_BF16, 2, {128, 64}},
    {"model.layers.0.mlp.up_proj.weight", UQFF_DTYPE_BF16, 2, {128, 64}},
    {"model.layers.0.mlp.down_proj.weight", UQFF_DTYPE_BF16, 2, {64, 128}},
    {"lm_head.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
};

/* Row 2i of each head of 16 is the checkpoint's row i, row 2i + 1 its row i + 8. */
static void compare_rows(const struct uqff_model *model, const struct uqff_gguf *gguf,
                         const char *from, const char *to, size_t rows, size_t columns,
                         bool rotated) {
    const struct uqff_gguf_tensor *tensor = must_find(gguf, to);
    float *x = source_floats(model, from);
    float *y = tensor_bytes(gguf, tensor);
    assert_int_equal(tensor->type, UQFF_TYPE_F32);
    assert_int_equal(tensor->bytes, rows * columns * sizeof *y);
    for (size_t row = 0; row < rows; row++) {
        size_t i = row % 16, source = row - i + i / 2 + i % 2 * 8;
        source = rotated ? source : row;
        assert_memory_equal(y + row * columns, x + source * columns, columns * sizeof *y);
    }
    free(x);
    free(y);
}

static void puts_rows_of_q_and_k_in_order(void **state) {
    (void)state;
    static const struct {
        const char *class, *type;
        bool rotated;
    } cases[] = {{"LlamaForCausalLM", "llama", true}, {"Qwen2ForCausalLM", "qwen2", false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *path = TINY(cases[i].type, cases[i].class, cases[i].type, tiny_llama);
        struct uqff_model *model = open_model(path);
        struct uqff_gguf *gguf = tiny_gguf(path);
        bool rotated = cases[i].rotated;
        compare_rows(model, gguf, "model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight",
                     64, 64, rotated);
        compare_rows(model, gguf, "model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias", 64,
                     1, rotated);
        compare_rows(model, gguf, "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight",
                     32, 64, rotated);
        compare_rows(model, gguf, "model.layers.0.self_attn.k_proj.bias", "blk.0.attn_k.bias", 32,
                     1, rotated);
        compare_rows(model, gguf, "model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight",
                     32, 64, false);
        compare_rows(model, gguf, "model.layers.0.self_attn.v_proj.bias", "blk.0.attn_v.bias", 32,
                     1, false);
        /* The buffer of frequencies is left out. */
        assert_int_equal(uqff_gguf_tensor_count(gguf), COUNT(tiny_llama) - 1);
        uqff_gguf_close(gguf);
        uqff_model_close(model);
    }
    compare_models(scratch_file("llama"), scratch_file("tiny.gguf"), 0);
}

static const struct tiny_tensor tiny_gemma2[] = {
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
    {"model.norm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.input_layernorm.weight", UQFF_DTYPE_F32, 1, {64}},
    {"model.layers.0.post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.pre_feedforward_layernorm.weight", UQFF_DTYPE_F16, 1, {64}},
    {"model.layers.0.post_feedforward_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.self_attn.q_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.k_proj.weight", UQFF_DTYPE_BF16, 2, {32, 64}},
    {"model.layers.0.self_attn.v_proj.weight", UQFF_DTYPE_BF16, 2, {32, 64}},
    {"model.layers.0.self_attn.o_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.mlp.gate_proj.weight", UQFF_DTYPE_BF16, 2, {128, 64}},
    {"model.layers.0.mlp.up_proj.weight", UQFF_DTYPE_BF16, 2, {128, 64}},
    {"model.layers.0.mlp.down_proj.weight", UQFF_DTYPE_BF16, 2, {64, 128}},
    {"lm_head.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
};

static const char gemma2_config[] =
    "{\"architectures\":[\"Gemma2ForCausalLM\"],\"model_type\":\"gemma2\",\"hidden_size\":64,"
    "\"intermediate_size\":128,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":24,\"rms_norm_eps\":1e-06,"
    "\"max_position_embeddings\":64,\"attn_logit_softcapping\":50.0,"
    "\"final_logit_softcapping\":30.0,\"sliding_window\":32,\"torch_dtype\":\"bfloat16\"}";

static void adds_one_to_the_norms_of_gemma(void **state) {
    (void)state;
    static const char *const norms[][2] = {
        {"model.norm.weight", "output_norm.weight"},
        {"model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight"},
        {"model.layers.0.post_attention_layernorm.weight", "blk.0.post_attention_norm.weight"},
        {"model.layers.0.pre_feedforward_layernorm.weight", "blk.0.ffn_norm.weight"},
        {"model.layers.0.post_feedforward_layernorm.weight", "blk.0.post_ffw_norm.weight"},
    };
    const char *path = TINY("gemma2", "Gemma2ForCausalLM", "gemma2", tiny_gemma2);
    write_config(path, gemma2_config);
    struct uqff_model *model = open_model(path);
    struct uqff_gguf *gguf = tiny_gguf(path);
    for (size_t i = 0; i < COUNT(norms); i++) {
        float *x = source_floats(model, norms[i][0]);
        float *y = tensor_bytes(gguf, must_find(gguf, norms[i][1]));
        for (size_t k = 0; k < 64; k++) {
            assert_true(y[k] == x[k] + 1.0f);
        }
        free(x);
        free(y);
    }
    /* Without a tokenizer the number of tokens is a key of its own. */
    assert_int_equal(uqff_gguf_find_value(gguf, "gemma2.vocab_size")->as.u, 24);
    /* The head is tied, whatever lies in the checkpoint. */
    assert_null(uqff_gguf_find_tensor(gguf, "output.weight"));
    assert_true(uqff_gguf_find_value(gguf, "gemma2.attn_logit_softcapping")->as.f == 50);
    assert_true(uqff_gguf_find_value(gguf, "gemma2.final_logit_softcapping")->as.f == 30);
    assert_int_equal(uqff_gguf_find_value(gguf, "gemma2.attention.sliding_window")->as.u, 32);
    uqff_gguf_close(gguf);
    uqff_model_close(model);
    compare_models(scratch_file("gemma2"), scratch_file("tiny.gguf"), 1e-6);
    /* From a GGUF the norms are copied, for taking 1 off and adding it again costs digits. */
    const char *q8 = "q8_0", *output = scratch_file("again.gguf");
    struct uqff_pack_options options = gguf_options(output, &q8, 1);
    pack(scratch_file("tiny.gguf"), &options);
    struct uqff_gguf *again = open_gguf(scratch_file("again.gguf"));
    gguf = open_gguf(scratch_file("tiny.gguf"));
    for (size_t i = 0; i < COUNT(norms); i++) {
        void *x = tensor_bytes(gguf, must_find(gguf, norms[i][1]));
        void *y = tensor_bytes(again, must_find(again, norms[i][1]));
        assert_memory_equal(x, y, 64 * sizeof(float));
        free(x);
        free(y);
    }
    uqff_gguf_close(gguf);
    uqff_gguf_close(again);
}

static void stacks_experts(void **state) {
    (void)state;
    const char *path = tiny_mixtral_model("mixtral");
    struct uqff_model *model = open_model(path);
    struct uqff_gguf *gguf = tiny_gguf(path);
    const struct uqff_gguf_tensor *up = must_find(gguf, "blk.0.ffn_up_exps.weight");
    const uint64_t ne[] = {64, 96, 3, 1};
    assert_int_equal(up->n_dims, 3);
    assert_memory_equal(up->ne, ne, sizeof ne);
    char *stack = tensor_bytes(gguf, up);
    for (size_t i = 0; i < 3; i++) {
        char name[100];
        snprintf(name, sizeof name, "model.layers.0.block_sparse_moe.experts.%zu.w3.weight", i);
        float *x = source_floats(model, name);
        size_t n = (size_t)64 * 96 * sizeof *x;
        assert_memory_equal(stack + i * n, x, n);
        free(x);
    }
    free(stack);
    assert_int_equal(must_find(gguf, "blk.0.ffn_gate_inp.weight")->type, UQFF_TYPE_F32);
    assert_int_equal(uqff_gguf_find_value(gguf, "llama.expert_count")->as.u, 3);
    assert_int_equal(uqff_gguf_find_value(gguf, "llama.expert_used_count")->as.u, 2);
    uqff_gguf_close(gguf);
    uqff_model_close(model);
    compare_models(path, scratch_file("tiny.gguf"), 0);
}

/* ---- the rotation ---------------------------------------------------------------------------- */

static const char llama3_config[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":64,"
    "\"intermediate_size\":128,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":24,\"rms_norm_eps\":1e-05,"
    "\"max_position_embeddings\":131072,\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":8.0,"
    "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
    "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}";

static void makes_the_frequencies_of_llama3(void **state) {
    (void)state;
    const char *path = TINY("llama3", "LlamaForCausalLM", "llama", tiny_llama);
    write_config(path, llama3_config);
    struct uqff_gguf *gguf = tiny_gguf(path);
    const struct uqff_gguf_tensor *tensor = must_find(gguf, "rope_freqs.weight");
    assert_int_equal(tensor->ne[0], 8);
    assert_int_equal(tensor->type, UQFF_TYPE_F32);
    float *found = tensor_bytes(gguf, tensor);
    for (int i = 0; i < 8; i++) {
        double length = 2 * M_PI * pow(500000, 2.0 * i / 16), expected = 8;
        if (length < 8192.0 / 4) {
            expected = 1;
        } else if (length <= 8192) {
            double smooth = (8192 / length - 1) / 3;
            expected = 1 / ((1 - smooth) / 8 + smooth);
        }
        assert_true(found[i] == (float)expected);
    }
    free(found);
    /* llama.cpp finds it in the factors; the type would make it scale twice. */
    assert_null(uqff_gguf_find_value(gguf, "llama.rope.scaling.type"));
    uqff_gguf_close(gguf);
}

static const struct tiny_tensor tiny_phi3[] = {
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
    {"model.norm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.input_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.self_attn.qkv_proj.weight", UQFF_DTYPE_BF16, 2, {192, 64}},
    {"model.layers.0.self_attn.o_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.mlp.gate_up_proj.weight", UQFF_DTYPE_BF16, 2, {256, 64}},
    {"model.layers.0.mlp.down_proj.weight", UQFF_DTYPE_BF16, 2, {64, 128}},
    {"lm_head.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
};

static const char phi3_config[] =
    "{\"architectures\":[\"Phi3ForCausalLM\"],\"model_type\":\"phi3\",\"hidden_size\":64,"
    "\"intermediate_size\":128,\"num_hidden_layers\":1,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":4,\"vocab_size\":24,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
    "\"max_position_embeddings\":131072,\"original_max_position_embeddings\":4096,"
    "\"sliding_window\":262144,\"rope_scaling\":{\"type\":\"longrope\","
    "\"long_factor\":[1,1.5,2,2.5,3,3.5,4,4.5],\"short_factor\":[1,1,1,1,1.25,1,1,1]}}";

static void keeps_the_factors_of_longrope(void **state) {
    (void)state;
    const char *path = TINY("phi3", "Phi3ForCausalLM", "phi3", tiny_phi3);
    write_config(path, phi3_config);
    struct uqff_gguf *gguf = tiny_gguf(path);
    float *factors = tensor_bytes(gguf, must_find(gguf, "rope_factors_long.weight"));
    assert_true(factors[7] == 4.5f);
    free(factors);
    factors = tensor_bytes(gguf, must_find(gguf, "rope_factors_short.weight"));
    assert_true(factors[4] == 1.25f);
    free(factors);
    double expected = sqrt(1 + log(131072.0 / 4096) / log(4096));
    assert_true((float)uqff_gguf_find_value(gguf, "phi3.rope.scaling.attn_factor")->as.f ==
                (float)expected);
    assert_int_equal(uqff_gguf_find_value(gguf, "phi3.rope.scaling.original_context_length")->as.u,
                     4096);
    assert_int_equal(uqff_gguf_find_value(gguf, "phi3.rope.dimension_count")->as.u, 16);
    assert_int_equal(uqff_gguf_find_value(gguf, "phi3.attention.sliding_window")->as.u, 262144);
    uqff_gguf_close(gguf);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void splits_and_reads_back(void **state) {
    (void)state;
    const char *q8 = "q8_0", *directory = fresh_directory("split"),
               *whole = scratch_file("whole.gguf");
    char first[1024];
    struct uqff_pack_options options = gguf_options(directory, &q8, 1);
    options.max_shard = 1 << 20;
    pack(test_data("storyteller"), &options);
    assert_int_equal(count_files(directory), 3);
    options = gguf_options(whole, &q8, 1);
    pack(test_data("storyteller"), &options);
    snprintf(first, sizeof first, "%s/storyteller-Q8_0-00001-of-00003.gguf", directory);
    must_verify(first);
    struct uqff_gguf *split = open_gguf(first), *single = open_gguf(scratch_file("whole.gguf"));
    assert_int_equal(uqff_gguf_tensor_count(split), uqff_gguf_tensor_count(single));
    for (size_t i = 0; i < uqff_gguf_tensor_count(split); i++) {
        const struct uqff_gguf_tensor *a = uqff_gguf_tensor(split, i);
        const struct uqff_gguf_tensor *b = must_find(single, a->name);
        void *x = tensor_bytes(split, a), *y = tensor_bytes(single, b);
        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(x, y, a->bytes);
        free(x);
        free(y);
    }
    uqff_gguf_close(split);
    uqff_gguf_close(single);
    /* A split set is a source like any other, and its keys about files do not go along. */
    const char *again = scratch_file("merged.gguf");
    options = gguf_options(again, &q8, 1);
    pack(first, &options);
    struct uqff_gguf *merged = open_gguf(scratch_file("merged.gguf"));
    assert_null(uqff_gguf_find_value(merged, "split.count"));
    uqff_gguf_close(merged);
}

/* Neither threads nor memory change a byte. */
static void gives_the_same_bytes_always(void **state) {
    (void)state;
    const char *q4 = "q4_k_m";
    char names[2][32] = {"one.gguf", "two.gguf"};
    for (unsigned i = 0; i < 2; i++) {
        const char *output = scratch_file(names[i]);
        struct uqff_pack_options options = gguf_options(output, &q4, 1);
        options.threads = 1 + 2 * i;
        options.memory = i == 0 ? 64 << 20 : 64 << 10;
        pack(test_data("storyteller"), &options);
    }
    struct uqff_gguf *a = open_gguf(scratch_file("one.gguf"));
    uqff_gguf_close(a);
    assert_same_file(scratch_file("one.gguf"), scratch_file("two.gguf"));
}

/* What lies in a multi-quant file becomes what packing gives. */
static void exports_what_packing_gives(void **state) {
    (void)state;
    struct uqff_error err;
    const char *quants[] = {"q4_k_m", "mxfp4"};
    char file[512], packed[512], exported[512], reference[1024];
    snprintf(file, sizeof file, "%s", scratch_file("storyteller.uqff"));
    snprintf(packed, sizeof packed, "%s", fresh_directory("packed"));
    snprintf(exported, sizeof exported, "%s", fresh_directory("exported"));
    struct uqff_pack_options options = pack_options(file, quants, 2);
    pack(test_data("storyteller"), &options);
    options = gguf_options(packed, quants, 2);
    pack(test_data("storyteller"), &options);
    for (size_t i = 0; i < 2; i++) {
        snprintf(reference, sizeof reference, "%s#%s", file, quants[i]);
        struct uqff_model *model = open_model(reference);
        const struct uqff_export_options export = {
            .format = UQFF_EXPORT_GGUF, .output = exported, .threads = 2};
        assert_ok(uqff_export(model, &export, NULL, &err), &err);
        uqff_model_close(model);
    }
    assert_same_directory(packed, exported);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void must_refuse(const char *model_path, const struct uqff_pack_options *options,
                        enum uqff_code code, const char *needle) {
    struct uqff_error err;
    struct uqff_model *model = open_model(model_path);
    assert_fails(try_pack(model, options, &err), code, &err, needle);
    uqff_model_close(model);
}

static void refuses_what_no_gguf_holds(void **state) {
    (void)state;
    const char *f32 = "f32", *output = scratch_file("refused.gguf");
    struct uqff_pack_options options = gguf_options(output, &f32, 1);
    /* No tokenizer. */
    const char *llama = TINY("plain", "LlamaForCausalLM", "llama", tiny_llama);
    must_refuse(llama, &options, UQFF_E_MISSING, "--no-tokenizer");
    options.no_tokenizer = true;
    /* Architectures. */
    const char *alien = TINY("alien", "AlienForCausalLM", "alien", tiny_llama);
    must_refuse(alien, &options, UQFF_E_UNSUPPORTED, "AlienForCausalLM");
    const char *deepseek = TINY("deepseek", "DeepseekV3ForCausalLM", "deepseek_v3", tiny_llama);
    must_refuse(deepseek, &options, UQFF_E_UNSUPPORTED, "DeepseekV3ForCausalLM");
    /* Tensors: one is missing, one is too many, a layer too many. */
    struct tiny_tensor tensors[COUNT(tiny_llama) + 1];
    memcpy(tensors, tiny_llama, sizeof tiny_llama);
    tensors[3] = tensors[COUNT(tiny_llama) - 1];
    const char *less =
        tiny_model("less", "LlamaForCausalLM", "llama", tensors, COUNT(tiny_llama) - 1, NULL, 0);
    must_refuse(less, &options, UQFF_E_MISSING, "'blk.0.ffn_norm.weight'");
    memcpy(tensors, tiny_llama, sizeof tiny_llama);
    tensors[COUNT(tiny_llama)] =
        (struct tiny_tensor){"model.layers.0.gizmo.weight", UQFF_DTYPE_F32, 1, {4}};
    const char *more =
        tiny_model("more", "LlamaForCausalLM", "llama", tensors, COUNT(tiny_llama) + 1, NULL, 0);
    must_refuse(more, &options, UQFF_E_UNSUPPORTED, "gizmo");
    tensors[COUNT(tiny_llama)] =
        (struct tiny_tensor){"model.layers.1.input_layernorm.weight", UQFF_DTYPE_F32, 1, {64}};
    const char *deep =
        tiny_model("deep", "LlamaForCausalLM", "llama", tensors, COUNT(tiny_llama) + 1, NULL, 0);
    must_refuse(deep, &options, UQFF_E_FIELD, "'blk.1.attn_norm.weight'");
    /* Norms of q and k are not Llama's. */
    tensors[COUNT(tiny_llama)] =
        (struct tiny_tensor){"model.layers.0.self_attn.q_norm.weight", UQFF_DTYPE_F32, 1, {16}};
    const char *norms =
        tiny_model("norms", "LlamaForCausalLM", "llama", tensors, COUNT(tiny_llama) + 1, NULL, 0);
    must_refuse(norms, &options, UQFF_E_UNSUPPORTED, "q_norm");
    /* Configurations. */
    const char *dumb = TINY("dumb", "LlamaForCausalLM", "llama", tiny_llama);
    write_config(dumb, "{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":1,"
                       "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"hidden_size\":64}");
    must_refuse(dumb, &options, UQFF_E_MISSING, "max_position_embeddings");
    const char *phi3 = TINY("short", "Phi3ForCausalLM", "phi3", tiny_phi3);
    write_config(phi3, "{\"architectures\":[\"Phi3ForCausalLM\"],\"num_hidden_layers\":1,"
                       "\"num_attention_heads\":4,\"hidden_size\":64,"
                       "\"rope_scaling\":{\"type\":\"su\",\"long_factor\":[1,2]}}");
    must_refuse(phi3, &options, UQFF_E_FIELD, "long_factor");
    assert_int_not_equal(access(scratch_file("refused.gguf"), F_OK), 0);
}

static void refuses_outputs_and_options(void **state) {
    (void)state;
    const char *two[] = {"q8_0", "q4_0"}, *output = scratch_file("many.gguf");
    const char *model = TINY("options", "LlamaForCausalLM", "llama", tiny_llama);
    struct uqff_pack_options options = gguf_options(output, two, 2);
    options.no_tokenizer = true;
    must_refuse(model, &options, UQFF_E_ARGUMENT, "directory");
    options.quant_count = 1;
    options.output = "many.bin";
    must_refuse(model, &options, UQFF_E_ARGUMENT, ".gguf");
    options.output = scratch_file("many.gguf");
    options.sidecars = true;
    must_refuse(model, &options, UQFF_E_ARGUMENT, "side files");
    options.sidecars = false;
    options.alignment = 4;
    must_refuse(model, &options, UQFF_E_ARGUMENT, "alignment");
    options.alignment = 64;
    pack(model, &options);
    struct uqff_gguf *gguf = open_gguf(scratch_file("many.gguf"));
    assert_int_equal(uqff_gguf_alignment(gguf), 64);
    uqff_gguf_close(gguf);
    must_refuse(model, &options, UQFF_E_EXISTS, "many.gguf");
    /* A GGUF as source: its own file is no output, and quantizing again must be allowed. */
    const char *source = scratch_file("many.gguf");
    options.overwrite = true;
    options.output = source;
    must_refuse(source, &options, UQFF_E_IS_INPUT, "many.gguf");
    options = gguf_options(scratch_file("again-q4.gguf"), two + 1, 1);
    must_refuse(source, &options, UQFF_E_ARGUMENT, "--allow-requantize");
    options.allow_requantize = true;
    pack(source, &options);
    options.format = UQFF_PACK_UQFF;
    options.no_tokenizer = true;
    must_refuse(source, &options, UQFF_E_ARGUMENT, "tokenizer");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_what_llama_quantize_gives),
        cmocka_unit_test(agrees_with_other_converters),
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(puts_rows_of_q_and_k_in_order),
        cmocka_unit_test(adds_one_to_the_norms_of_gemma),
        cmocka_unit_test(stacks_experts),
        cmocka_unit_test(makes_the_frequencies_of_llama3),
        cmocka_unit_test(keeps_the_factors_of_longrope),
        cmocka_unit_test(splits_and_reads_back),
        cmocka_unit_test(gives_the_same_bytes_always),
        cmocka_unit_test(exports_what_packing_gives),
        cmocka_unit_test(refuses_what_no_gguf_holds),
        cmocka_unit_test(refuses_outputs_and_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
