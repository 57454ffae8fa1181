/* Conversion between all containers: what goes there and comes back is the same. */
#include <math.h>
#include <unistd.h>

#include "test_pack_support.h"

/* ---- models of one layer --------------------------------------------------------------------- */

#define L "model.layers.0."
#define BF16(name_, ...)                                                                           \
    {                                                                                              \
        name_ ".weight", UQFF_DTYPE_BF16, sizeof((uint64_t[]){__VA_ARGS__}) / 8, {                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define BIAS(name_, n_)                                                                            \
    {                                                                                              \
        name_ ".bias", UQFF_DTYPE_BF16, 1, {                                                       \
            n_                                                                                     \
        }                                                                                          \
    }
#define ENDS BF16("model.embed_tokens", 24, 64), BF16("model.norm", 64)
#define HEAD BF16("lm_head", 24, 64)
#define NORMS BF16(L "input_layernorm", 64), BF16(L "post_attention_layernorm", 64)
#define ATTENTION                                                                                  \
    BF16(L "self_attn.q_proj", 64, 64), BF16(L "self_attn.k_proj", 32, 64),                        \
        BF16(L "self_attn.v_proj", 32, 64), BF16(L "self_attn.o_proj", 64, 64)
#define MLP                                                                                        \
    BF16(L "mlp.gate_proj", 128, 64), BF16(L "mlp.up_proj", 128, 64),                              \
        BF16(L "mlp.down_proj", 64, 128)
#define QK_NORMS BF16(L "self_attn.q_norm", 16), BF16(L "self_attn.k_norm", 16)
#define FOUR_NORMS                                                                                 \
    NORMS, BF16(L "pre_feedforward_layernorm", 64), BF16(L "post_feedforward_layernorm", 64)
#define EXPERT(e_)                                                                                 \
    BF16(L "mlp.experts." e_ ".gate_proj", 96, 64), BF16(L "mlp.experts." e_ ".up_proj", 96, 64),  \
        BF16(L "mlp.experts." e_ ".down_proj", 64, 96)

static const struct tiny_tensor llama[] = {ENDS, HEAD, NORMS, ATTENTION, MLP};
static const struct tiny_tensor tied[] = {ENDS, NORMS, ATTENTION, MLP};
static const struct tiny_tensor qwen2[] = {ENDS,
                                           HEAD,
                                           NORMS,
                                           ATTENTION,
                                           MLP,
                                           BIAS(L "self_attn.q_proj", 64),
                                           BIAS(L "self_attn.k_proj", 32),
                                           BIAS(L "self_attn.v_proj", 32)};
static const struct tiny_tensor qwen3[] = {ENDS, HEAD, NORMS, ATTENTION, MLP, QK_NORMS};
static const struct tiny_tensor qwen3_moe[] = {ENDS,        HEAD,        NORMS,
                                               ATTENTION,   QK_NORMS,    BF16(L "mlp.gate", 3, 64),
                                               EXPERT("0"), EXPERT("1"), EXPERT("2")};
static const struct tiny_tensor gemma2[] = {ENDS, FOUR_NORMS, ATTENTION, MLP};
static const struct tiny_tensor gemma3[] = {ENDS, FOUR_NORMS, ATTENTION, MLP, QK_NORMS};
static const struct tiny_tensor phi3[] = {ENDS,
                                          HEAD,
                                          NORMS,
                                          BF16(L "self_attn.qkv_proj", 128, 64),
                                          BF16(L "self_attn.o_proj", 64, 64),
                                          BF16(L "mlp.gate_up_proj", 256, 64),
                                          BF16(L "mlp.down_proj", 64, 128)};

/* The configuration of every model, and what it has of its own. */
static const char common_config[] =
    "{\"hidden_size\":64,\"intermediate_size\":128,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":24,"
    "\"rms_norm_eps\":1e-05,\"max_position_embeddings\":131072,\"torch_dtype\":\"bfloat16\",%s}";
#define CLASS(class_, type_) "\"architectures\":[\"" class_ "\"],\"model_type\":\"" type_ "\","
#define UNTIED "\"tie_word_embeddings\":false,\"rope_theta\":500000.0"
#define TIED "\"tie_word_embeddings\":true,\"head_dim\":16"
#define LLAMA3                                                                                     \
    ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"          \
    "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}"
/* Other numbers than anybody's. */
#define LLAMA3_OWN                                                                                 \
    ",\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":20.0,\"low_freq_factor\":1.0,"         \
    "\"high_freq_factor\":40.0,\"original_max_position_embeddings\":10000},\"head_dim\":16"
#define LONGROPE                                                                                   \
    ",\"original_max_position_embeddings\":4096,\"sliding_window\":2048,\"rope_scaling\":{"        \
    "\"type\":\"longrope\",\"long_factor\":[1.5,2,3,4,5,6,7,8.25],\"short_factor\":"               \
    "[1,1.0625,1.5,1,1,1,1,1.75]}"

struct arch_case {
    const char *name, *config;
    const struct tiny_tensor *tensors;
    size_t count;
    const char *back; /* its class when it comes back from a GGUF; NULL: the same */
    bool shifted;     /* norms lose bits below 2^-24 */
};
#define CASE(name_, config_, tensors_, back_, shifted_)                                            \
    { name_, config_, tensors_, COUNT(tensors_), back_, shifted_ }

static const struct arch_case cases[] = {
    CASE("llama", CLASS("LlamaForCausalLM", "llama") UNTIED LLAMA3, llama, NULL, false),
    CASE("llama-own", CLASS("LlamaForCausalLM", "llama") UNTIED LLAMA3_OWN, llama, NULL, false),
    CASE("llama-tied", CLASS("LlamaForCausalLM", "llama") TIED, tied, NULL, false),
    CASE("mistral", CLASS("MistralForCausalLM", "mistral") UNTIED, llama, "LlamaForCausalLM",
         false),
    CASE("mixtral",
         CLASS("MixtralForCausalLM", "mixtral") UNTIED
         ",\"num_local_experts\":3,\"num_experts_per_tok\":2",
         tiny_mixtral, NULL, false),
    CASE("qwen2", CLASS("Qwen2ForCausalLM", "qwen2") UNTIED, qwen2, NULL, false),
    CASE("qwen2-yarn",
         CLASS("Qwen2ForCausalLM", "qwen2") UNTIED
         ",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0,"
         "\"original_max_position_embeddings\":32768}",
         qwen2, NULL, false),
    CASE("qwen3", CLASS("Qwen3ForCausalLM", "qwen3") UNTIED ",\"head_dim\":16", qwen3, NULL, false),
    CASE("qwen3_moe",
         CLASS("Qwen3MoeForCausalLM", "qwen3_moe") UNTIED
         ",\"head_dim\":16,\"num_experts\":3,\"num_experts_per_tok\":2,"
         "\"moe_intermediate_size\":96",
         qwen3_moe, NULL, false),
    CASE("gemma", CLASS("GemmaForCausalLM", "gemma") TIED, tied, NULL, true),
    CASE("gemma2",
         CLASS("Gemma2ForCausalLM", "gemma2") TIED
         ",\"attn_logit_softcapping\":50.0,\"final_logit_softcapping\":30.0,"
         "\"sliding_window\":4096,\"query_pre_attn_scalar\":16",
         gemma2, NULL, true),
    CASE("gemma3",
         CLASS("Gemma3ForCausalLM", "gemma3_text") TIED
         ",\"rope_theta\":1000000.0,\"sliding_window\":512,\"query_pre_attn_scalar\":16",
         gemma3, NULL, true),
    CASE("phi3", CLASS("Phi3ForCausalLM", "phi3") UNTIED LONGROPE, phi3, NULL, false),
    CASE("smollm3", CLASS("SmolLM3ForCausalLM", "smollm3") TIED, tied, NULL, false),
};

static const char *made_path(const char *folder, const char *name, const char *ending) {
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, 1024, "%s/%s/%s%s", scratch(), folder, name, ending);
    return path;
}

/* A model directory FOLDER/NAME with a tokenizer. */
static const char *make_model(const char *folder, const struct arch_case *arch) {
    char name[128], text[2048], path[1100];
    snprintf(name, sizeof name, "%s/%s", folder, arch->name);
    const char *directory = tiny_model(name, "X", "x", arch->tensors, arch->count, NULL, 0);
    snprintf(path, sizeof path, "%s/config.json", directory);
    snprintf(text, sizeof text, common_config, arch->config);
    write_file(path, text, strlen(text));
    add_tiny_tokenizer(directory, LLAMA3_RULE);
    return directory;
}

static void make_folder(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", scratch(), name);
    assert_int_equal(mkdir(path, 0777), 0);
}

static struct uqff_convert_options to(const char *output) {
    return (struct uqff_convert_options){.output = output, .threads = 2};
}

static enum uqff_code try_convert(const char *from, const struct uqff_convert_options *options,
                                  struct uqff_error *err) {
    struct uqff_model *model = open_model(from);
    enum uqff_code code = uqff_convert(model, options, NULL, err);
    uqff_model_close(model);
    return code;
}

static void convert(const char *from, const char *output, enum uqff_convert_target target) {
    struct uqff_error err;
    struct uqff_convert_options options = to(output);
    options.target = target;
    assert_ok(try_convert(from, &options, &err), &err);
}

/* ---- the same model -------------------------------------------------------------------------- */

/* Tensors of the same names, types and shapes, values apart by no more than `tolerance`. */
static void compare_tensors(const char *left, const char *right, double tolerance) {
    struct uqff_error err;
    struct uqff_model *a = open_model(left), *b = open_model(right);
    assert_int_equal(uqff_model_tensor_count(a), uqff_model_tensor_count(b));
    for (size_t i = 0; i < uqff_model_tensor_count(a); i++) {
        const struct uqff_tensor *x = uqff_model_tensor(a, i), *y = uqff_model_tensor(b, i);
        assert_string_equal(x->name, y->name);
        if (x->type != y->type) {
            fail_msg("%s: %s and %s", x->name, uqff_type_name(x->type), uqff_type_name(y->type));
        }
        assert_int_equal(x->rank, y->rank);
        assert_memory_equal(x->shape, y->shape, x->rank * sizeof *x->shape);
        uint64_t rows = x->elements / x->shape[x->rank - 1];
        float *p = malloc(x->elements * 4), *q = malloc(x->elements * 4);
        assert_ok(uqff_model_read_rows(a, i, 0, rows, p, &err), &err);
        assert_ok(uqff_model_read_rows(b, i, 0, rows, q, &err), &err);
        bool norm = strstr(x->name, "norm") != NULL;
        for (uint64_t k = 0; k < x->elements; k++) {
            if (!(fabs((double)p[k] - q[k]) <= (norm ? tolerance : 0))) {
                fail_msg("%s: element %llu: %.9g and %.9g", x->name, (unsigned long long)k, p[k],
                         q[k]);
            }
        }
        free(p);
        free(q);
    }
    uqff_model_close(a);
    uqff_model_close(b);
}

#define SAME(member) assert_int_equal(x->member, y->member)
#define NEAR(member) assert_true((float)x->member == (float)y->member)

static void compare_configs(const struct arch_case *arch, const char *left, const char *right) {
    struct uqff_model *a = open_model(left), *b = open_model(right);
    const struct uqff_config *x = uqff_model_config(a), *y = uqff_model_config(b);
    assert_string_equal(arch->back != NULL ? arch->back : x->architecture, y->architecture);
    assert_string_equal(x->torch_dtype, y->torch_dtype);
    SAME(layers);
    SAME(hidden);
    SAME(feed_forward);
    SAME(heads);
    SAME(kv_heads);
    SAME(head_dim);
    SAME(vocabulary);
    SAME(experts);
    SAME(experts_used);
    SAME(context);
    SAME(expert_feed_forward);
    SAME(sliding_window);
    SAME(tied);
    NEAR(rms_epsilon);
    NEAR(rope_theta);
    NEAR(attention_softcap);
    NEAR(output_softcap);
    NEAR(query_scalar);
    assert_string_equal(x->rope.type, y->rope.type);
    NEAR(rope.factor);
    NEAR(rope.low_freq_factor);
    NEAR(rope.high_freq_factor);
    SAME(rope.original_context);
    SAME(rope.long_count);
    SAME(rope.short_count);
    for (size_t i = 0; i < x->rope.long_count; i++) {
        NEAR(rope.long_factors[i]);
        NEAR(rope.short_factors[i]);
    }
    uqff_model_close(a);
    uqff_model_close(b);
}

/* A model's directory becomes a GGUF and a directory again, with the same tensors and numbers, and
 * the GGUF that is made of that is the first one to the last byte. */
static void through_gguf(void **state) {
    (void)state;
    make_folder("hf");
    make_folder("hf-back");
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct arch_case *arch = &cases[i];
        char *first = strdup(make_model("hf", arch));
        char *gguf = strdup(made_path("hf", arch->name, ".gguf"));
        char *back = strdup(made_path("hf-back", arch->name, ""));
        char *again = strdup(made_path("hf-back", arch->name, ".gguf"));
        convert(first, gguf, UQFF_CONVERT_AUTO);
        convert(gguf, back, UQFF_CONVERT_AUTO);
        compare_tensors(first, back, arch->shifted ? ldexp(1, -24) : 0);
        compare_configs(arch, first, back);
        convert(back, again, UQFF_CONVERT_AUTO);
        assert_same_file(gguf, again);
        free(first);
        free(gguf);
        free(back);
        free(again);
    }
}

static void assert_recipe(const char *multi, const char *recipe) {
    struct uqff_error err;
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(multi, NULL, &container, &err), &err);
    assert_string_equal(uqff_container_variant(container, 0)->recipe, recipe);
    uqff_container_close(container);
}

/* GGUF, to UQFF of both kinds, and back: the same file. */
static void through_uqff(void **state) {
    static const char *const quants[] = {NULL, "q8_0", "q4_k_m"};
    static const char *const recipes[] = {"BF16", "Q8_0", "Q4_K_M"};
    (void)state;
    make_folder("gguf");
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct arch_case *arch = &cases[i];
        char *model = strdup(make_model("gguf", arch));
        for (size_t q = 0; q < COUNT(quants); q++) {
            char name[96];
            /* Not "-0": that is the name of a shard. */
            snprintf(name, sizeof name, "%s_%zu", arch->name, q);
            char *gguf = strdup(made_path("gguf", name, ".gguf"));
            char *multi = strdup(made_path("gguf", name, ".uqff"));
            char *plain = strdup(made_path("gguf", name, "-plain"));
            char *back = strdup(made_path("gguf", name, "-back.gguf"));
            struct uqff_error err;
            struct uqff_convert_options options = to(gguf);
            options.quant = quants[q];
            assert_ok(try_convert(model, &options, &err), &err);
            convert(gguf, multi, UQFF_CONVERT_AUTO);
            assert_digests(multi);
            convert(gguf, plain, UQFF_CONVERT_MISTRALRS);
            convert(multi, back, UQFF_CONVERT_AUTO);
            assert_same_file(gguf, back);
            assert_int_equal(unlink(back), 0);
            convert(plain, back, UQFF_CONVERT_AUTO);
            assert_same_file(gguf, back);
            assert_recipe(multi, recipes[q]);
            assert_int_equal(unlink(multi), 0);
            convert(plain, multi, UQFF_CONVERT_AUTO);
            assert_recipe(multi, recipes[q]);
            free(gguf);
            free(multi);
            free(plain);
            free(back);
        }
        free(model);
    }
}

/* ---- files as others write them -------------------------------------------------------------- */

static struct uqff_gguf *open_gguf(const char *path) {
    struct uqff_error err;
    struct uqff_gguf *gguf = NULL;
    assert_ok(uqff_gguf_open_path(path, NULL, &gguf, &err), &err);
    return gguf;
}

static void *range_bytes(const struct uqff_gguf *gguf, uint64_t offset, uint64_t bytes) {
    struct uqff_error err;
    void *found = malloc((size_t)bytes + 1);
    assert_ok(uqff_source_read(uqff_gguf_source(gguf, 0), offset, found, (size_t)bytes, &err),
              &err);
    return found;
}

/* Another file of the same tensors, in the opposite order, aligned to 64, of another architecture
 * unless that is NULL, and with keys that mean nothing to us. */
static void write_odd(const char *from, const char *path, const char *architecture) {
    static const unsigned char numbers[6] = {1, 0, 2, 0, 3, 0};
    struct uqff_error err;
    struct uqff_gguf *gguf = open_gguf(from);
    struct uqff_gguf_layout *layout = NULL;
    struct uqff_buffer file = {0};
    size_t count = uqff_gguf_tensor_count(gguf);
    assert_ok(uqff_gguf_layout_new(64, &layout, &err), &err);
    for (size_t i = 0; i < uqff_gguf_kv_count(gguf); i++) {
        assert_ok(uqff_gguf_set_copy(layout, gguf, i, &err), &err);
    }
    assert_ok(uqff_gguf_set_array(layout, "odd.numbers", UQFF_GGUF_U16, numbers, 3, &err), &err);
    assert_ok(uqff_gguf_set_string(layout, "odd.text", "a\0b\xff", 4, &err), &err);
    uqff_gguf_unset(layout, "general.file_type");
    if (architecture != NULL) {
        assert_ok(uqff_gguf_set_string(layout, "general.architecture", architecture,
                                       strlen(architecture), &err),
                  &err);
    }
    for (size_t i = count; i-- > 0;) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(gguf, i);
        assert_ok(uqff_gguf_layout_add(layout, tensor->name, tensor->type, tensor->ne,
                                       tensor->n_dims, &err),
                  &err);
    }
    assert_ok(uqff_gguf_layout_finish(layout, 0, 0, &err), &err);
    assert_ok(uqff_gguf_layout_header(layout, 0, &file, &err), &err);
    for (size_t i = 0; i < count; i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(gguf, count - 1 - i);
        static const char zeros[64];
        size_t at = 0;
        uint64_t offset = 0, bytes = 0;
        uqff_gguf_layout_place(layout, i, &at, &offset, &bytes);
        uqff_buffer_append(&file, zeros, (size_t)offset - file.size);
        void *data = range_bytes(gguf, tensor->offset, bytes);
        uqff_buffer_append(&file, data, (size_t)bytes);
        free(data);
    }
    while (file.size % 64 != 0) {
        uqff_buffer_append(&file, "", 1);
    }
    write_file(path, file.data, file.size);
    uqff_buffer_free(&file);
    uqff_gguf_layout_free(layout);
    uqff_gguf_close(gguf);
}

/* The same keys, to the byte, and the same tensors, whatever their order. */
static void compare_ggufs(const char *left, const char *right) {
    struct uqff_gguf *a = open_gguf(left), *b = open_gguf(right);
    uint64_t offset[2], bytes[2];
    uqff_gguf_kv_range(a, &offset[0], &bytes[0]);
    uqff_gguf_kv_range(b, &offset[1], &bytes[1]);
    assert_int_equal(bytes[0], bytes[1]);
    void *x = range_bytes(a, offset[0], bytes[0]), *y = range_bytes(b, offset[1], bytes[1]);
    assert_memory_equal(x, y, (size_t)bytes[0]);
    free(x);
    free(y);
    assert_int_equal(uqff_gguf_alignment(a), uqff_gguf_alignment(b));
    assert_int_equal(uqff_gguf_tensor_count(a), uqff_gguf_tensor_count(b));
    for (size_t i = 0; i < uqff_gguf_tensor_count(a); i++) {
        const struct uqff_gguf_tensor *p = uqff_gguf_tensor(a, i);
        const struct uqff_gguf_tensor *q = uqff_gguf_find_tensor(b, p->name);
        assert_non_null(q);
        assert_int_equal(p->type, q->type);
        assert_int_equal(p->n_dims, q->n_dims);
        assert_memory_equal(p->ne, q->ne, sizeof p->ne);
        x = range_bytes(a, p->offset, p->bytes);
        y = range_bytes(b, q->offset, q->bytes);
        assert_memory_equal(x, y, (size_t)p->bytes);
        free(x);
        free(y);
    }
    uqff_gguf_close(a);
    uqff_gguf_close(b);
}

static const struct arch_case *case_named(const char *name) {
    size_t i = 0;
    while (strcmp(cases[i].name, name) != 0) {
        i++;
    }
    return &cases[i];
}

static void odd_files(void **state) {
    static const char *const architectures[] = {NULL, "falconx"};
    (void)state;
    make_folder("odd");
    char *model = strdup(make_model("odd", case_named("llama"))),
         *plain = strdup(made_path("odd", "plain", ""));
    char *gguf = strdup(made_path("odd", "usual", ".gguf")),
         *odd = strdup(made_path("odd", "odd", ".gguf"));
    char *multi = strdup(made_path("odd", "odd", ".uqff")),
         *back = strdup(made_path("odd", "back", ".gguf"));
    struct uqff_error err;
    struct uqff_convert_options options = to(gguf);
    options.quant = "q8_0";
    assert_ok(try_convert(model, &options, &err), &err);
    for (size_t i = 0; i < COUNT(architectures); i++) {
        write_odd(gguf, odd, architectures[i]);
        convert(odd, multi, UQFF_CONVERT_AUTO);
        convert(multi, back, UQFF_CONVERT_AUTO);
        compare_ggufs(odd, back);
        assert_int_equal(unlink(multi), 0);
        assert_int_equal(unlink(back), 0);
    }
    /* Other programs have no words for it. */
    options = to(plain);
    options.target = UQFF_CONVERT_MISTRALRS;
    assert_fails(try_convert(odd, &options, &err), UQFF_E_UNSUPPORTED, &err,
                 "the architecture 'falconx', and its config.json, are not known");
    options.target = UQFF_CONVERT_HF;
    options.quant = "bf16";
    assert_fails(try_convert(odd, &options, &err), UQFF_E_UNSUPPORTED, &err, "falconx");
    assert_false(uqff_path_exists(plain));
    free(model);
    free(plain);
    free(gguf);
    free(odd);
    free(multi);
    free(back);
}

/* A checkpoint of an architecture that no GGUF table has becomes anything but a GGUF. */
static void unknown_checkpoint(void **state) {
    static const struct arch_case strange =
        CASE("strange", CLASS("FalconForCausalLM", "falcon") UNTIED, llama, NULL, false);
    struct uqff_error err;
    (void)state;
    make_folder("strange");
    char *model = strdup(make_model("strange", &strange));
    struct uqff_convert_options options = to(made_path("strange", "x", ".gguf"));
    assert_fails(try_convert(model, &options, &err), UQFF_E_UNSUPPORTED, &err,
                 "how a GGUF keeps the architecture 'FalconForCausalLM' is not known: the names of "
                 "its tensors and metadata are missing");
    assert_false(uqff_path_exists(options.output));
    convert(model, made_path("strange", "x", ".uqff"), UQFF_CONVERT_AUTO);
    convert(model, made_path("strange", "x", "-plain"), UQFF_CONVERT_MISTRALRS);
    free(model);
}

/* ---- variants -------------------------------------------------------------------------------- */

static void assert_equal_models(const char *left, const char *right) {
    struct uqff_error err;
    struct uqff_model *a = open_model(left), *b = open_model(right);
    assert_int_equal(uqff_model_module_count(a), uqff_model_module_count(b));
    for (size_t i = 0; i < uqff_model_module_count(a); i++) {
        const struct uqff_model_module *x = uqff_model_module(a, i), *y = uqff_model_module(b, i);
        uint64_t row = 0;
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->rows, y->rows);
        assert_ok(uqff_row_bytes(x->type, x->columns, &row, &err), &err);
        unsigned char *p = malloc(x->rows * row), *q = malloc(x->rows * row);
        assert_ok(uqff_model_module_raw_rows(a, i, 0, x->rows, p, &err), &err);
        assert_ok(uqff_model_module_raw_rows(b, i, 0, x->rows, q, &err), &err);
        assert_memory_equal(p, q, x->rows * row);
        free(p);
        free(q);
    }
    uqff_model_close(a);
    uqff_model_close(b);
}

static void variants_through_gguf(void **state) {
    static const char *const quants[] = {"q4_0", "q8_0", "iq4_nl", "mxfp4"};
    (void)state;
    make_folder("variants");
    char *model = strdup(make_model("variants", case_named("mixtral")));
    char *multi = strdup(made_path("variants", "all", ".uqff"));
    struct uqff_pack_options options = pack_options(multi, quants, COUNT(quants));
    pack(model, &options);
    for (size_t i = 0; i < COUNT(quants); i++) {
        char reference[1200];
        snprintf(reference, sizeof reference, "%s#%s", multi, quants[i]);
        char *gguf = strdup(made_path("variants", quants[i], ".gguf"));
        char *again = strdup(made_path("variants", quants[i], ".uqff"));
        convert(reference, gguf, UQFF_CONVERT_AUTO);
        convert(gguf, again, UQFF_CONVERT_AUTO);
        assert_equal_models(reference, again);
        free(gguf);
        free(again);
    }
    free(model);
    free(multi);
}

/* MXFP4 has its own form in mistral.rs's files: taken apart, and put together again. */
static void mxfp4_through_mistralrs(void **state) {
    struct uqff_error err;
    (void)state;
    make_folder("mxfp4");
    char *model = strdup(make_model("mxfp4", case_named("qwen2")));
    char *gguf = strdup(made_path("mxfp4", "a", ".gguf")),
         *plain = strdup(made_path("mxfp4", "a", "-plain"));
    char *back = strdup(made_path("mxfp4", "b", ".gguf")), path[1200];
    struct uqff_convert_options options = to(gguf);
    struct uqff_container *container = NULL;
    options.quant = "mxfp4";
    assert_ok(try_convert(model, &options, &err), &err);
    convert(gguf, plain, UQFF_CONVERT_AUTO);
    snprintf(path, sizeof path, "%s/mxfp4_moe-0.uqff", plain);
    assert_ok(uqff_container_open(path, NULL, &container, &err), &err);
    size_t q = uqff_container_find_module(container, L "self_attn.q_proj");
    const struct uqff_module *module = uqff_container_module(container, q);
    assert_int_equal(uqff_container_blob(container, module->first_blob)->format, UQFF_FORMAT_MXFP4);
    assert_int_equal(module->bias.tensor->dtype, UQFF_DTYPE_BF16);
    uqff_container_close(container);
    assert_equal_models(gguf, plain);
    convert(plain, back, UQFF_CONVERT_AUTO);
    assert_same_file(gguf, back);
    free(model);
    free(gguf);
    free(plain);
    free(back);
}

/* ---- the target, and what is refused --------------------------------------------------------- */

static void chooses_the_target(void **state) {
    static const struct {
        const char *output, *quant;
        enum uqff_convert_target asked, floats, blocks;
    } wanted[] = {
        {"x.gguf", NULL, UQFF_CONVERT_AUTO, UQFF_CONVERT_GGUF, UQFF_CONVERT_GGUF},
        {"x.uqff", NULL, UQFF_CONVERT_AUTO, UQFF_CONVERT_UQFF, UQFF_CONVERT_UQFF},
        {"x", NULL, UQFF_CONVERT_AUTO, UQFF_CONVERT_HF, UQFF_CONVERT_MISTRALRS},
        {"x", "f16", UQFF_CONVERT_AUTO, UQFF_CONVERT_HF, UQFF_CONVERT_HF},
        {"x", "q8_0", UQFF_CONVERT_AUTO, UQFF_CONVERT_MISTRALRS, UQFF_CONVERT_MISTRALRS},
        {"x", NULL, UQFF_CONVERT_MISTRALRS, UQFF_CONVERT_MISTRALRS, UQFF_CONVERT_MISTRALRS},
    };
    struct uqff_error err;
    enum uqff_convert_target found;
    (void)state;
    make_folder("targets");
    char *model = strdup(make_model("targets", case_named("qwen2")));
    char *multi = strdup(made_path("targets", "a", ".uqff"));
    struct uqff_convert_options options = to(multi);
    options.quant = "q4_0";
    assert_ok(try_convert(model, &options, &err), &err);
    struct uqff_model *floats = open_model(model), *blocks = open_model(multi);
    for (size_t i = 0; i < COUNT(wanted); i++) {
        options = to(wanted[i].output);
        options.quant = wanted[i].quant;
        options.target = wanted[i].asked;
        assert_ok(uqff_convert_target(floats, &options, &found, &err), &err);
        assert_int_equal(found, wanted[i].floats);
        assert_ok(uqff_convert_target(blocks, &options, &found, &err), &err);
        assert_int_equal(found, wanted[i].blocks);
    }
    options = to("x.gguf");
    options.target = UQFF_CONVERT_HF;
    assert_fails(uqff_convert_target(floats, &options, &found, &err), UQFF_E_ARGUMENT, &err,
                 "x.gguf: a name that ends so is that of a file");
    options = to("x");
    options.target = UQFF_CONVERT_GGUF;
    assert_fails(uqff_convert_target(floats, &options, &found, &err), UQFF_E_ARGUMENT, &err,
                 "expected a name that ends in '.gguf' or '.uqff'");
    /* A directory that is there is one, whatever its name. */
    assert_int_equal(mkdir(made_path("targets", "d", ".gguf"), 0777), 0);
    options = to(made_path("targets", "d", ".gguf"));
    assert_ok(uqff_convert_target(floats, &options, &found, &err), &err);
    assert_int_equal(found, UQFF_CONVERT_HF);
    uqff_model_close(floats);
    uqff_model_close(blocks);
    free(model);
    free(multi);
}

static bool stop(void *context, const char *stage, uint64_t done, uint64_t total) {
    (void)context;
    (void)stage;
    return done < total / 2;
}

static void refuses_and_leaves_nothing(void **state) {
    static const struct {
        const char *output, *quant;
        bool allow;
        enum uqff_convert_target target;
        enum uqff_code code;
        const char *text;
    } wrong[] = {
        {"new", NULL, false, UQFF_CONVERT_HF, UQFF_E_TYPE,
         "is Q8_0, which a Hugging Face directory cannot hold; -q bf16 (or f16, f32) decodes it"},
        {"new", "q8_0", true, UQFF_CONVERT_HF, UQFF_E_ARGUMENT,
         "a Hugging Face directory holds floats, found the quant 'q8_0'"},
        {"new.gguf", "q8_0", false, UQFF_CONVERT_AUTO, UQFF_E_ARGUMENT,
         "is already quantized as Q4_0; quantizing it again as Q8_0 loses accuracy and must be "
         "allowed"},
        {"new", "iq4_nl", true, UQFF_CONVERT_AUTO, UQFF_E_ARGUMENT, "mistral.rs cannot load"},
        {"new.gguf", "q4_00", false, UQFF_CONVERT_AUTO, UQFF_E_UNKNOWN, "did you mean 'q4_0'"},
        {"made.uqff", NULL, false, UQFF_CONVERT_AUTO, UQFF_E_IS_INPUT, "made.uqff"},
    };
    struct uqff_error err;
    (void)state;
    make_folder("refused");
    char *model = strdup(make_model("refused", case_named("qwen2")));
    char *multi = strdup(made_path("refused", "made", ".uqff"));
    struct uqff_convert_options options = to(multi);
    options.quant = "q4_0";
    assert_ok(try_convert(model, &options, &err), &err);
    size_t before = count_files(made_path("refused", "", ""));
    for (size_t i = 0; i < COUNT(wrong); i++) {
        options = to(made_path("refused", wrong[i].output, ""));
        options.quant = wrong[i].quant;
        options.allow_requantize = wrong[i].allow;
        options.target = wrong[i].target;
        assert_fails(try_convert(multi, &options, &err), wrong[i].code, &err, wrong[i].text);
        assert_int_equal(count_files(made_path("refused", "", "")), before);
    }
    /* What is there already stays, unless it may be overwritten. */
    char *gguf = strdup(made_path("refused", "there", ".gguf"));
    write_file(gguf, "there", 5);
    options = to(gguf);
    assert_fails(try_convert(multi, &options, &err), UQFF_E_EXISTS, &err, "already exists");
    options.overwrite = true;
    assert_ok(try_convert(multi, &options, &err), &err);
    /* Stopped half-way. */
    static const char *const outputs[] = {"half.gguf", "half.uqff", "half-plain", "half-hf"};
    before = count_files(made_path("refused", "", ""));
    for (size_t i = 0; i < COUNT(outputs); i++) {
        const struct uqff_progress progress = {stop, NULL};
        struct uqff_model *opened = open_model(multi);
        options = to(made_path("refused", outputs[i], ""));
        options.quant = i == 3 ? "f32" : NULL;
        assert_int_equal(uqff_convert(opened, &options, &progress, &err), UQFF_E_CANCELLED);
        assert_int_equal(count_files(made_path("refused", "", "")), before);
        uqff_model_close(opened);
    }
    free(model);
    free(multi);
    free(gguf);
}

/* A GGUF without a tokenizer gives all but that, and says so. */
static void goes_without_a_tokenizer(void **state) {
    struct uqff_error err;
    struct warnings warnings = {0};
    const struct uqff_warner warner = {take_warning, &warnings};
    (void)state;
    make_folder("bare");
    char *model = strdup(make_model("bare", case_named("llama")));
    char *gguf = strdup(made_path("bare", "a", ".gguf")), path[1200];
    struct uqff_convert_options options = to(gguf);
    options.no_tokenizer = true;
    assert_ok(try_convert(model, &options, &err), &err);
    options = to(made_path("bare", "out", ""));
    options.warner = &warner;
    assert_ok(try_convert(gguf, &options, &err), &err);
    assert_non_null(
        strstr(warnings.text, "tokenizer.json and tokenizer_config.json cannot be made"));
    snprintf(path, sizeof path, "%s/tokenizer.json", options.output);
    assert_false(uqff_path_exists(path));
    snprintf(path, sizeof path, "%s/config.json", options.output);
    assert_true(uqff_path_exists(path));
    options = to(made_path("bare", "b", ".uqff"));
    options.no_tokenizer = true;
    assert_fails(try_convert(gguf, &options, &err), UQFF_E_ARGUMENT, &err,
                 "the tokenizer can be left out of a GGUF only");
    free(model);
    free(gguf);
}

/* One file of a split set is not enough of a model; the set is. */
static void takes_split_sets(void **state) {
    struct uqff_error err;
    (void)state;
    make_folder("split");
    char *model = strdup(make_model("split", case_named("llama")));
    char *gguf = strdup(made_path("split", "a", ".gguf")),
         *back = strdup(made_path("split", "b", ".gguf"));
    char *multi = strdup(made_path("split", "a", ".uqff"));
    struct uqff_gguf_layout *layout = NULL;
    const struct uqff_gguf_split_options options = {.max_tensors = 3};
    convert(model, gguf, UQFF_CONVERT_AUTO);
    struct uqff_gguf *file = open_gguf(gguf);
    assert_ok(uqff_gguf_split(file, made_path("split", "part", ""), &options, NULL, &layout, &err),
              &err);
    uqff_gguf_close(file);
    char *first = uqff_gguf_layout_file_name(layout, made_path("split", "part", ""), 0);
    convert(first, multi, UQFF_CONVERT_AUTO);
    convert(multi, back, UQFF_CONVERT_AUTO);
    compare_ggufs(gguf, back);
    uqff_free(first);
    uqff_gguf_layout_free(layout);
    free(model);
    free(gguf);
    free(back);
    free(multi);
}

static void survives_failing_allocations(void **state) {
    static const char *const outputs[] = {"out.uqff", "out-plain", "out-hf", "out.gguf"};
    (void)state;
    make_folder("faults");
    char *model = strdup(make_model("faults", case_named("llama")));
    char *gguf = strdup(made_path("faults", "a", ".gguf"));
    convert(model, gguf, UQFF_CONVERT_AUTO);
    size_t before = count_files(made_path("faults", "", ""));
    for (size_t i = 0; i < COUNT(outputs); i++) {
        for (size_t n = 1;; n += n < 300 ? 3 : 17) {
            struct uqff_error err;
            struct uqff_model *opened = open_model(gguf);
            struct uqff_convert_options options = to(made_path("faults", outputs[i], ""));
            options.threads = 1;
            options.target = i == 1   ? UQFF_CONVERT_MISTRALRS
                             : i == 2 ? UQFF_CONVERT_HF
                                      : UQFF_CONVERT_AUTO;
            fail_allocation(n);
            enum uqff_code code = uqff_convert(opened, &options, NULL, &err);
            fail_allocation(0);
            uqff_model_close(opened);
            if (code == UQFF_OK) {
                before++;
                break;
            }
            assert_int_equal(code, UQFF_E_MEMORY);
            assert_int_equal(count_files(made_path("faults", "", "")), before);
        }
    }
    free(model);
    free(gguf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_gguf),
        cmocka_unit_test(through_uqff),
        cmocka_unit_test(odd_files),
        cmocka_unit_test(unknown_checkpoint),
        cmocka_unit_test(variants_through_gguf),
        cmocka_unit_test(mxfp4_through_mistralrs),
        cmocka_unit_test(chooses_the_target),
        cmocka_unit_test(refuses_and_leaves_nothing),
        cmocka_unit_test(goes_without_a_tokenizer),
        cmocka_unit_test(takes_split_sets),
        cmocka_unit_test(survives_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
