/* UQFF 0.x files as models: layers named by architecture, what does not fit refused, and the way to
 * UQFF 1.2 and the other containers. */
#include "test_legacy_made.h"
#include "test_pack_support.h"

/* A layer of a file: rows of columns, stacked if `experts` is not 0. Several layers of one module
 * are its parts, in this order. */
struct made {
    const char *module;
    uint32_t rows, columns, experts;
};

struct order_case {
    const char *name;
    const char *config; /* beside what all have */
    const struct made *layers;
    size_t count;
};

#define L0 "model.layers.0."
#define L1 "model.layers.1."
#define HEAD                                                                                       \
    { "lm_head", 96, 64, 0 }
/* Four heads of 16, two of keys and values. */
#define ATTENTION(layer_)                                                                          \
    {layer_ "self_attn.q_proj", 64, 64, 0}, {layer_ "self_attn.k_proj", 32, 64, 0},                \
        {layer_ "self_attn.v_proj", 32, 64, 0}, {                                                  \
        layer_ "self_attn.o_proj", 64, 64, 0                                                       \
    }
#define MLP(layer_)                                                                                \
    {layer_ "mlp.gate_proj", 128, 64, 0}, {layer_ "mlp.up_proj", 128, 64, 0}, {                    \
        layer_ "mlp.down_proj", 64, 128, 0                                                         \
    }
/* One expert after the other, of 32 wide. */
#define EACH(prefix_, first_, second_, rows_, columns_, third_, third_rows_, third_columns_)       \
    {prefix_ first_, 32, 64, 0}, {prefix_ second_, rows_, columns_, 0}, {                          \
        prefix_ third_, third_rows_, third_columns_, 0                                             \
    }
#define EXPERT(layer_)                                                                             \
    EACH(layer_ "mlp.experts.", "gate_proj", "up_proj", 32, 64, "down_proj", 64, 32)
#define W123(layer_)                                                                               \
    EACH(layer_ "block_sparse_moe.experts.", "gate_proj", "down_proj", 64, 32, "up_proj", 32, 64)
#define STACKED(layer_)                                                                            \
    {layer_ "mlp.experts.gate_proj", 32, 64, 3}, {layer_ "mlp.experts.up_proj", 32, 64, 3}, {      \
        layer_ "mlp.experts.down_proj", 64, 32, 3                                                  \
    }
#define SHARED(layer_)                                                                             \
    {layer_ "mlp.shared_experts.gate_proj", 64, 64, 0},                                            \
        {layer_ "mlp.shared_experts.up_proj", 64, 64, 0}, {                                        \
        layer_ "mlp.shared_experts.down_proj", 64, 64, 0                                           \
    }

static const struct made llama[] = {HEAD, ATTENTION(L0), MLP(L0), ATTENTION(L1), MLP(L1)};
static const struct made mixtral[] = {
    HEAD,     ATTENTION(L0), {L0 "block_sparse_moe.gate", 3, 64, 0}, W123(L0), W123(L0),
    W123(L0), ATTENTION(L1), {L1 "block_sparse_moe.gate", 3, 64, 0}, W123(L1), W123(L1),
    W123(L1)};
static const struct made phimoe[] = {HEAD,          ATTENTION(L0), W123(L0), W123(L0), W123(L0),
                                     ATTENTION(L1), W123(L1),      W123(L1), W123(L1)};
static const struct made qwen_each[] = {HEAD,       ATTENTION(L0), MLP(L0),   ATTENTION(L1),
                                        EXPERT(L1), EXPERT(L1),    EXPERT(L1)};
static const struct made qwen_stacked[] = {HEAD, ATTENTION(L0), MLP(L0), ATTENTION(L1),
                                           STACKED(L1)};
static const struct made qwen_none[] = {HEAD, ATTENTION(L0), MLP(L0), ATTENTION(L1)};
static const struct made qwen_only[] = {HEAD, STACKED(L1)};
static const struct made glm4[] = {
    HEAD,
    ATTENTION(L0),
    {L0 "mlp.gate_up_proj", 128, 64, 0},
    {L0 "mlp.gate_up_proj", 128, 64, 0},
    {L0 "mlp.down_proj", 64, 128, 0},
    ATTENTION(L1),
    {L1 "mlp.gate_up_proj", 128, 64, 0},
    {L1 "mlp.gate_up_proj", 128, 64, 0},
    {L1 "mlp.down_proj", 64, 128, 0},
};
static const struct made phi3[] = {
    HEAD,
    {L0 "self_attn.qkv_proj", 128, 64, 0},
    {L0 "self_attn.o_proj", 64, 64, 0},
    {L0 "mlp.gate_up_proj", 256, 64, 0},
    {L0 "mlp.down_proj", 64, 128, 0},
    {L1 "self_attn.qkv_proj", 128, 64, 0},
    {L1 "self_attn.o_proj", 64, 64, 0},
    {L1 "mlp.gate_up_proj", 256, 64, 0},
    {L1 "mlp.down_proj", 64, 128, 0},
};
static const struct made starcoder2[] = {HEAD,
                                         ATTENTION(L0),
                                         {L0 "mlp.c_fc", 128, 64, 0},
                                         {L0 "mlp.c_proj", 64, 128, 0},
                                         ATTENTION(L1),
                                         {L1 "mlp.c_fc", 128, 64, 0},
                                         {L1 "mlp.c_proj", 64, 128, 0}};
static const struct made gpt_oss[] = {ATTENTION(L0), ATTENTION(L1), HEAD};
static const struct made deepseek[] = {
    HEAD,
    {L0 "self_attn.q_a_proj", 96, 64, 0},
    {L0 "self_attn.q_b_proj", 96, 96, 0},
    {L0 "self_attn.kv_a_proj_with_mqa", 40, 64, 0},
    {L0 "self_attn.kv_b_proj", 128, 32, 0},
    {L0 "self_attn.o_proj", 64, 64, 0},
    MLP(L0),
    {L1 "self_attn.q_a_proj", 96, 64, 0},
    {L1 "self_attn.q_b_proj", 96, 96, 0},
    {L1 "self_attn.kv_a_proj_with_mqa", 40, 64, 0},
    {L1 "self_attn.kv_b_proj", 128, 32, 0},
    {L1 "self_attn.o_proj", 64, 64, 0},
    EXPERT(L1),
    EXPERT(L1),
    EXPERT(L1),
    SHARED(L1),
};

#define CLASS(class_, type_) "\"architectures\":[\"" class_ "\"],\"model_type\":\"" type_ "\","
#define MOE "\"num_experts\":3,\"moe_intermediate_size\":32,"
#define CASE(name_, config_, layers_)                                                              \
    { name_, config_, layers_, COUNT(layers_) }

static const struct order_case cases[] = {
    CASE("llama", CLASS("LlamaForCausalLM", "llama"), llama),
    CASE("gemma2", CLASS("Gemma2ForCausalLM", "gemma2"), llama),
    CASE("glm4", CLASS("Glm4ForCausalLM", "glm4"), glm4),
    CASE("phi3", CLASS("Phi3ForCausalLM", "phi3"), phi3),
    CASE("starcoder2", CLASS("Starcoder2ForCausalLM", "starcoder2"), starcoder2),
    CASE("gpt_oss", CLASS("GptOssForCausalLM", "gpt_oss"), gpt_oss),
    CASE("mixtral",
         CLASS("MixtralForCausalLM", "mixtral") "\"num_local_experts\":3,"
                                                "\"moe_intermediate_size\":32,",
         mixtral),
    CASE("phimoe", CLASS("PhiMoEForCausalLM", "phimoe") MOE, phimoe),
    CASE("qwen_each", CLASS("Qwen3MoeForCausalLM", "qwen3_moe") MOE "\"mlp_only_layers\":[0],",
         qwen_each),
    CASE("qwen_stacked", CLASS("Qwen3MoeForCausalLM", "qwen3_moe") MOE "\"decoder_sparse_step\":2,",
         qwen_stacked),
    CASE("qwen_none", CLASS("Qwen3MoeForCausalLM", "qwen3_moe") MOE "\"mlp_only_layers\":[0],",
         qwen_none),
    CASE("qwen_only", CLASS("Qwen3MoeForCausalLM", "qwen3_moe") MOE "\"mlp_only_layers\":[0],",
         qwen_only),
    CASE("deepseek",
         CLASS("DeepseekV3ForCausalLM",
               "deepseek_v3") "\"n_routed_experts\":3,"
                              "\"moe_intermediate_size\":32,\"q_lora_rank\":96,\"kv_lora_rank\":32,"
                              "\"qk_nope_head_dim\":16,\"qk_rope_head_dim\":8,\"v_head_dim\":16,"
                              "\"first_k_dense_replace\":1,\"n_shared_experts\":2,\"moe_layer_"
                              "freq\":1,",
         deepseek),
};

static const char config_text[] =
    "{%s\"hidden_size\":%u,\"intermediate_size\":128,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":16,\"vocab_size\":96,"
    "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"max_position_embeddings\":64,"
    "\"tie_word_embeddings\":false,\"quantization_config\":{}}";

static void write_config(const char *directory, const char *own, unsigned hidden) {
    char path[1024], text[2048];
    snprintf(path, sizeof path, "%s/config.json", directory);
    snprintf(text, sizeof text, config_text, own, hidden);
    write_file(path, text, strlen(text));
}

static const char *fresh_directory(const char *name) {
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, 512, "%s/%s", scratch(), name);
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

static size_t layer_bytes(const struct made *layer) {
    uint64_t n = 0;
    const uint64_t shape[2] = {layer->rows * (uint64_t)(layer->experts ? layer->experts : 1),
                               layer->columns};
    assert_int_equal(uqff_tensor_bytes(UQFF_TYPE_Q4_0, shape, 2, &n, NULL), UQFF_OK);
    return (size_t)n;
}

/* Blocks whose scales are small halves; each layer has its own. */
static unsigned char *layer_content(const struct made *layer, size_t number) {
    size_t n = layer_bytes(layer);
    unsigned char *bytes = legacy_content(n, (unsigned)(17 * number));
    for (size_t i = 0; i < n; i += 18) {
        bytes[i + 1] = 0x20;
    }
    return bytes;
}

static void write_layers(const char *directory, const char *file, const struct made *layers,
                         size_t count) {
    struct uqff_buffer *blobs = calloc(count, sizeof *blobs);
    char path[1024];
    for (size_t i = 0; i < count; i++) {
        const struct made *layer = &layers[i];
        unsigned char *bytes = layer_content(layer, i);
        const uint32_t shape[3] = {layer->experts, layer->rows, layer->columns};
        legacy_gguf(&blobs[i], UQFF_TYPE_Q4_0, layer->experts ? 3 : 2,
                    layer->experts ? shape : shape + 1, bytes, layer_bytes(layer), NULL);
        free(bytes);
    }
    snprintf(path, sizeof path, "%s/%s", directory, file);
    legacy_write(path, blobs, count, 0);
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_free(&blobs[i]);
    }
    free(blobs);
}

static const char *case_directory(const struct order_case *order) {
    const char *directory = fresh_directory(order->name);
    write_config(directory, order->config, 64);
    write_layers(directory, "old-q4_0-0.uqff", order->layers, order->count);
    return directory;
}

/* The module has the bytes of its layers, one behind the other. */
static void check_module(const struct uqff_container *container, const struct order_case *order,
                         size_t first) {
    struct uqff_error err;
    const char *name = order->layers[first].module;
    size_t m = uqff_container_find_module(container, name);
    if (m == UQFF_NONE) {
        fail_msg("%s: there is no module '%s'", order->name, name);
    }
    const struct uqff_module *module = uqff_container_module(container, m);
    const struct uqff_blob *blob = uqff_container_blob(container, module->first_blob);
    struct uqff_source *source =
        uqff_safetensors_source(uqff_container_shard(container, blob->entry.shard));
    uint64_t at = blob->entry.tensor->offset, end = at + blob->entry.tensor->bytes;
    for (size_t i = first; i < order->count; i++) {
        if (strcmp(order->layers[i].module, name) != 0) {
            continue;
        }
        size_t n = layer_bytes(&order->layers[i]);
        unsigned char *expected = layer_content(&order->layers[i], i), *found = malloc(n);
        assert_ok(uqff_source_read(source, at, found, n, &err), &err);
        if (memcmp(found, expected, n) != 0) {
            fail_msg("%s: layer %zu is not in module '%s'", order->name, i, name);
        }
        at += n;
        free(found);
        free(expected);
    }
    assert_int_equal(at, end);
}

static void names_layers_by_architecture(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_model *model = open_model(case_directory(&cases[i]));
        assert_true(uqff_model_is_legacy(model));
        assert_int_equal(uqff_model_kind(model), UQFF_MODEL_UQFF);
        const struct uqff_container *container = uqff_model_container(model);
        size_t modules = 0;
        for (size_t k = 0; k < cases[i].count; k++) {
            bool again = false;
            for (size_t p = 0; p < k; p++) {
                again = again || strcmp(cases[i].layers[p].module, cases[i].layers[k].module) == 0;
            }
            if (!again) {
                modules++;
                check_module(container, &cases[i], k);
            }
        }
        assert_int_equal(uqff_container_module_count(container), modules);
        uqff_model_close(model);
    }
}

/* ---- what does not fit ----------------------------------------------------------------------- */

static void refuses_what_does_not_fit(void **state) {
    static const struct {
        const char *own;
        unsigned hidden;
        size_t layers;
        enum uqff_code code;
        const char *text;
    } wrong[] = {
        {CLASS("LlamaForCausalLM", "llama"), 32, COUNT(llama), UQFF_E_SHAPE,
         "layer 0: found shape [96, 64], expected [96, 32] for module 'lm_head' of the "
         "architecture 'llama', as config.json says"},
        {CLASS("LlamaForCausalLM", "llama"), 64, COUNT(llama) - 1, UQFF_E_SHAPE,
         "found 14 layers, expected 15 for the architecture 'llama' with 2 layers"},
        {CLASS("Qwen3MoeForCausalLM", "qwen3_moe") MOE, 64, 5, UQFF_E_SHAPE,
         "found 5 layers, expected one of 27, 15, 9, 19, 7 for"},
        {CLASS("FalconForCausalLM", "falcon"), 64, COUNT(llama), UQFF_E_UNSUPPORTED,
         "has the layers of the architecture 'FalconForCausalLM' is not known; known are llama"},
        {CLASS("DeepseekV3ForCausalLM", "deepseek_v3"), 64, COUNT(llama), UQFF_E_FIELD,
         "config.json has no usable 'qk_nope_head_dim'"},
    };
    const char *directory = fresh_directory("wrong");
    struct uqff_model *model = NULL;
    struct uqff_error err;
    char path[1024];
    (void)state;
    snprintf(path, sizeof path, "%s/x.uqff", directory);
    write_layers(directory, "x.uqff", llama, COUNT(llama));
    assert_fails(uqff_model_open(path, NULL, &model, &err), UQFF_E_MISSING, &err,
                 "config.json, which tells what they are, is not beside it");
    for (size_t i = 0; i < COUNT(wrong); i++) {
        write_config(directory, wrong[i].own, wrong[i].hidden);
        write_layers(directory, "x.uqff", llama, wrong[i].layers);
        assert_fails(uqff_model_open(path, NULL, &model, &err), wrong[i].code, &err, wrong[i].text);
    }
    /* A container is opened as what it is, without a configuration. */
    struct uqff_container *container = NULL;
    assert_fails(uqff_container_open(path, NULL, &container, &err), UQFF_E_VERSION, &err,
                 "a pre-1.0 UQFF file");
}

/* ---- conversion ------------------------------------------------------------------------------ */

/* What a 0.x directory has beside its file: dense embedding and norms. */
static void write_residual(const char *directory) {
    static const struct tiny_tensor tensors[] = {
        {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {96, 64}},
        {"model.norm.weight", UQFF_DTYPE_BF16, 1, {64}},
        {L0 "input_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
        {L0 "post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
        {L1 "input_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
        {L1 "post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    };
    static unsigned number;
    char name[32], path[1024], target[1024];
    snprintf(name, sizeof name, "residual-%u", number++);
    const char *made =
        tiny_model(name, "LlamaForCausalLM", "llama", tensors, COUNT(tensors), NULL, 0);
    size_t size = 0;
    snprintf(path, sizeof path, "%s/model.safetensors", made);
    snprintf(target, sizeof target, "%s/residual.safetensors", directory);
    void *bytes = read_file(path, &size);
    write_file(target, bytes, size);
    free(bytes);
}

static struct uqff_convert_options convert_options(const char *output) {
    return (struct uqff_convert_options){.output = output, .threads = 2};
}

static enum uqff_code convert(const char *from, const struct uqff_convert_options *options,
                              struct uqff_error *err) {
    struct uqff_model *model = open_model(from);
    enum uqff_code code = uqff_convert(model, options, NULL, err);
    uqff_model_close(model);
    return code;
}

static void becomes_1_2(void **state) {
    const struct order_case *order = &cases[0];
    const char *old = fresh_directory("migrate");
    char output[512], path[1024], before[1024];
    struct uqff_error err;
    struct uqff_container *container = NULL;
    (void)state;
    write_config(old, order->config, 64);
    write_layers(old, "old-0.uqff", order->layers, order->count);
    snprintf(output, sizeof output, "%s/migrated", scratch());
    struct uqff_convert_options options = convert_options(output);
    assert_fails(convert(old, &options, &err), UQFF_E_MISSING, &err, "no residual.safetensors");
    assert_false(uqff_path_exists(output));
    write_residual(old);
    /* Onto itself it cannot go. */
    options.output = old;
    options.overwrite = true;
    assert_fails(convert(old, &options, &err), UQFF_E_IS_INPUT, &err, "residual.safetensors");
    options.output = output;
    options.overwrite = false;
    assert_ok(convert(old, &options, &err), &err);
    assert_int_equal(count_files(output), 3);
    snprintf(path, sizeof path, "%s/residual.safetensors", output);
    snprintf(before, sizeof before, "%s/residual.safetensors", old);
    assert_same_file(path, before);
    snprintf(path, sizeof path, "%s/config.json", output);
    char *config = read_file(path, NULL);
    assert_null(strstr(config, "quantization_config"));
    free(config);
    snprintf(path, sizeof path, "%s/old-0.uqff", output);
    assert_ok(uqff_container_open(path, NULL, &container, &err), &err);
    for (size_t i = 0; i < order->count; i++) {
        check_module(container, order, i);
    }
    uqff_container_close(container);
    assert_fails(convert(old, &options, &err), UQFF_E_EXISTS, &err, "already exists");
    options.overwrite = true;
    assert_ok(convert(old, &options, &err), &err);
    /* The same model, whichever generation of the format holds it. */
    struct uqff_model *a = open_model(old), *b = open_model(output);
    const struct uqff_diff_options diff = {.threads = 1};
    bool equal = false;
    assert_false(uqff_model_is_legacy(b));
    assert_int_equal(uqff_model_module_count(a), uqff_model_module_count(b));
    assert_ok(uqff_diff(a, b, &diff, NULL, NULL, NULL, &equal, &err), &err);
    uqff_model_close(a);
    uqff_model_close(b);
}

static void becomes_anything_else(void **state) {
    static const char *const outputs[] = {"legacy.uqff", "legacy.gguf"};
    const char *old = fresh_directory("onward");
    struct uqff_error err;
    (void)state;
    write_config(old, cases[0].config, 64);
    write_layers(old, "old-0.uqff", cases[0].layers, cases[0].count);
    write_residual(old);
    for (size_t i = 0; i < COUNT(outputs); i++) {
        const char *output = scratch_file(outputs[i]);
        struct uqff_convert_options options = convert_options(output);
        options.no_tokenizer = i == 1;
        assert_ok(convert(old, &options, &err), &err);
        struct uqff_model *a = open_model(old), *b = open_model(output);
        const struct uqff_diff_options diff = {.threads = 1, .values = true};
        bool equal = false;
        assert_ok(uqff_diff(a, b, &diff, NULL, NULL, NULL, &equal, &err), &err);
        assert_true(equal);
        uqff_model_close(a);
        uqff_model_close(b);
    }
}

/* Formats that only mistral.rs has go to mistral.rs only. */
static void keeps_other_formats_for_mistralrs(void **state) {
    const char *old = fresh_directory("afq"), *output = scratch_file("afq-new");
    struct uqff_buffer blobs[5];
    struct uqff_error err;
    char path[1024];
    (void)state;
    memset(blobs, 0, sizeof blobs);
    /* One layer of Phi-3 whose matrices are all 64 by 64. */
    for (size_t i = 0; i < 5; i++) {
        legacy_other(&blobs[i], UQFF_FORMAT_AFQ);
    }
    snprintf(path, sizeof path, "%s/config.json", old);
    static const char config[] =
        "{\"architectures\":[\"PhiForCausalLM\"],\"hidden_size\":64,\"intermediate_size\":64,"
        "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"vocab_size\":64}";
    write_file(path, config, sizeof config - 1);
    snprintf(path, sizeof path, "%s/old.uqff", old);
    struct uqff_buffer seven[7];
    for (size_t i = 0; i < 7; i++) {
        seven[i] = blobs[i % 5];
    }
    legacy_write(path, seven, 7, 0);
    write_residual(old);
    struct uqff_convert_options options = convert_options(scratch_file("afq.uqff"));
    assert_fails(convert(old, &options, &err), UQFF_E_TYPE, &err,
                 "is afq4, which a multi-quant file cannot hold; -q QUANT");
    options.quant = "q8_0";
    assert_fails(convert(old, &options, &err), UQFF_E_ARGUMENT, &err,
                 "is already quantized as afq4");
    assert_false(uqff_path_exists(options.output));
    options.allow_requantize = true;
    assert_ok(convert(old, &options, &err), &err);
    options = convert_options(output);
    assert_ok(convert(old, &options, &err), &err);
    snprintf(path, sizeof path, "%s/old-0.uqff", output);
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(path, NULL, &container, &err), &err);
    assert_int_equal(uqff_container_module_count(container), 7);
    assert_int_equal(uqff_container_blob(container, 0)->format, UQFF_FORMAT_AFQ);
    uqff_container_close(container);
    for (size_t i = 0; i < 5; i++) {
        uqff_buffer_free(&blobs[i]);
    }
}

static void survives_failing_allocations(void **state) {
    const char *old = fresh_directory("faulty"), *output = scratch_file("faulty-new");
    (void)state;
    write_config(old, cases[0].config, 64);
    write_layers(old, "old-0.uqff", cases[0].layers, cases[0].count);
    write_residual(old);
    for (size_t n = 1;; n += n < 200 ? 1 : 7) {
        struct uqff_convert_options options = convert_options(output);
        struct uqff_model *model = NULL;
        struct uqff_error err;
        fail_allocation(n);
        enum uqff_code code = uqff_model_open(old, NULL, &model, &err);
        if (code == UQFF_OK) {
            code = uqff_convert(model, &options, NULL, &err);
        }
        fail_allocation(0);
        uqff_model_close(model);
        if (code == UQFF_OK) {
            break;
        }
        assert_int_equal(code, UQFF_E_MEMORY);
        assert_false(uqff_path_exists(output));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_layers_by_architecture),
        cmocka_unit_test(refuses_what_does_not_fit),
        cmocka_unit_test(becomes_1_2),
        cmocka_unit_test(becomes_anything_else),
        cmocka_unit_test(keeps_other_formats_for_mistralrs),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
