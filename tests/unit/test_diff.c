/* Comparison of models, and statistics of tensors. */
#include <math.h>
#include <unistd.h>

#include "unit/test_verify_made.h"

/* ---- comparison ------------------------------------------------------------------------------ */

struct seen {
    char text[16384];
    size_t count;
};
static struct seen seen;

static void note_difference(void *context, const struct uqff_difference *difference) {
    static const char *const kinds[] = {"metadata", "only-a", "only-b", "type", "shape", "values"};
    struct seen *all = (struct seen *)context;
    const size_t used = strlen(all->text);
    snprintf(all->text + used, sizeof all->text - used, "%s %s [%s] [%s] %.3g %.3g %llu\n",
             kinds[difference->kind], difference->name, difference->a, difference->b,
             difference->max_abs, difference->rel_rmse, (unsigned long long)difference->count);
    all->count++;
}

static bool diff(const struct uqff_model *a, const struct uqff_model *b,
                 const struct uqff_diff_options *wanted) {
    struct uqff_error err;
    bool equal = false;
    memset(&seen, 0, sizeof seen);
    assert_ok(uqff_diff(a, b, wanted, note_difference, &seen, NULL, &equal, &err), &err);
    assert_int_equal(equal, seen.count == 0);
    return equal;
}

#define assert_equal_models(a, b, ...)                                                             \
    do {                                                                                           \
        if (!diff((a), (b), &(struct uqff_diff_options){__VA_ARGS__})) {                           \
            fail_msg("the models differ:\n%s", seen.text);                                         \
        }                                                                                          \
    } while (0)

#define assert_seen(part)                                                                          \
    do {                                                                                           \
        if (strstr(seen.text, (part)) == NULL) {                                                   \
            fail_msg("'%s' is not among:\n%s", (part), seen.text);                                 \
        }                                                                                          \
    } while (0)

static void test_same(void **state) {
    (void)state;
    write_small();
    struct uqff_model *a = must_open(folder), *b = must_open(folder);
    assert_equal_models(a, b, .threads = 2);
    assert_equal_models(a, b, .values = true);
    bool equal = false;
    assert_int_equal(uqff_diff(a, b, NULL, NULL, NULL, NULL, &equal, NULL), UQFF_OK);
    assert_true(equal);
    uqff_model_close(a);
    uqff_model_close(b);
}

static void test_values(void **state) {
    (void)state;
    write_small();
    struct uqff_model *a = must_open(folder);
    static char changed[600];
    snprintf(changed, sizeof changed, "%s", in_folder("changed"));
    assert_int_equal(mkdir(changed, 0777), 0);
    write_tensors("changed/model.safetensors", small_model, COUNT(small_model));
    write_text("changed/config.json", small_config);
    write_text("changed/tokenizer.json", "{\"version\":\"1.0\"}");
    const char *path = in_folder("changed/model.safetensors");
    const uint64_t up = entry_offset(path, "model.layers.0.mlp.up_proj.weight", NULL);
    patch(path, up + 2 * 300, "\x40\x41", 2); /* 12 */
    patch(path, up + 2 * 70000 % 131072, "\x80\x7f", 2);
    patch(path, entry_offset(path, "model.layers.1.self_attn.v_proj.bias", NULL), "\x00\xc1", 2);
    patch(path, entry_offset(path, "model.norm.weight", NULL), "\x00\x40\x00\x40", 4);
    struct uqff_model *b = must_open(changed);
    assert_false(diff(a, b, &(struct uqff_diff_options){.threads = 1}));
    assert_int_equal(seen.count, 3);
    assert_seen("values model.layers.0.mlp.up_proj.weight [BF16] [BF16] 0 0 2\n");
    assert_seen("values model.layers.1.self_attn.v_proj.bias [BF16] [BF16] 0 0 1\n");
    assert_seen("values model.norm.weight [BF16] [BF16] 0 0 2\n");
    assert_false(diff(a, b, &(struct uqff_diff_options){.values = true, .tolerance = 1.0}));
    assert_seen("values model.layers.0.mlp.up_proj.weight [BF16] [BF16] inf inf 2\n");
    uqff_model_close(a);
    uqff_model_close(b);
}

static void test_structure(void **state) {
    (void)state;
    static struct made other[COUNT(small_model)];
    write_small();
    struct uqff_model *a = must_open(folder);
    memcpy(other, small_model, sizeof other);
    other[0].shape[0] = 48;
    other[1].dtype = UQFF_DTYPE_F32;
    other[2].name = "model.layers.0.extra_layernorm.weight";
    static char changed[600];
    snprintf(changed, sizeof changed, "%s", in_folder("changed"));
    assert_int_equal(mkdir(changed, 0777), 0);
    write_tensors("changed/model.safetensors", other, COUNT(other));
    write_text("changed/config.json",
               "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
               "\"vocab_size\":48,\"hidden_size\":256,\"intermediate_size\":256,"
               "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
               "\"head_dim\":64,\"max_position_embeddings\":64,\"rms_norm_eps\":1e-06,"
               "\"rope_theta\":10000.0,\"tie_word_embeddings\":false}");
    struct uqff_model *b = must_open(changed);
    assert_false(diff(a, b, NULL));
    assert_seen("metadata config.vocabulary [32] [48]");
    assert_seen("metadata config.rms_epsilon [1e-05] [1e-06]");
    assert_seen("metadata config.torch_dtype [bfloat16] []");
    assert_seen("metadata config.json [");
    assert_seen("metadata tokenizer.json [17 bytes] []");
    assert_seen("shape model.embed_tokens.weight [[32, 256]] [[48, 256]]");
    assert_seen("type lm_head.weight [BF16] [F32]");
    assert_seen("only-a model.norm.weight [BF16] []");
    assert_seen("only-b model.layers.0.extra_layernorm.weight [] [BF16]");
    assert_int_equal(seen.count, 9);
    uqff_model_close(a);
    uqff_model_close(b);
}

/* A variant against its source, and against another variant. */
static void test_variants(void **state) {
    (void)state;
    static const char *const quants[] = {"q8_0", "q4_0", "f32"};
    char file[600], reference[640];
    write_small();
    struct uqff_model *source = must_open(folder);
    assert_int_equal(mkdir(in_folder("out"), 0777), 0);
    snprintf(file, sizeof file, "%s", in_folder("out/small.uqff"));
    const struct uqff_pack_options wanted = pack_options(quants, COUNT(quants), file);
    pack(source, &wanted);
    snprintf(reference, sizeof reference, "%s#f32", file);
    struct uqff_model *f32 = must_open(reference);
    struct uqff_model *q8 = must_open(file);
    /* All that differs from the source is the type, so the values are the same. */
    assert_false(diff(source, f32, NULL));
    assert_int_equal(seen.count, 18); /* 16 weights and two biases */
    assert_equal_models(source, f32, .values = true);

    assert_false(diff(source, q8, &(struct uqff_diff_options){.values = true}));
    assert_seen("values model.layers.0.mlp.up_proj.weight [BF16] [Q8_0]");
    assert_equal_models(source, q8, .values = true, .tolerance = 0.01);
    snprintf(reference, sizeof reference, "%s#q4_0", file);
    struct uqff_model *q4 = must_open(reference);
    assert_false(diff(source, q4, &(struct uqff_diff_options){.values = true, .tolerance = 0.01}));
    assert_equal_models(source, q4, .values = true, .tolerance = 0.2);
    assert_false(diff(q8, q4, NULL));
    assert_seen("type model.layers.0.mlp.up_proj.weight [Q8_0] [Q4_0]");
    uqff_model_close(source);
    uqff_model_close(f32);
    uqff_model_close(q8);
    uqff_model_close(q4);
}

/* A GGUF and the checkpoint that it was made from: names and the order of q and k rows are mapped.
 */
static void test_across_containers(void **state) {
    (void)state;
    if (extra_data("models") == NULL) {
        skip();
    }
    struct uqff_arena arena = {0};
    struct uqff_error err;
    const char **names = NULL;
    size_t count = 0;
    const char *directory = extra_data("models/stories260K/gguf");
    assert_ok(uqff_list_directory(directory, &arena, &names, &count, &err), &err);
    struct uqff_model *hf = must_open(extra_data("models/stories260K/hf"));
    bool compared = false;
    for (size_t i = 0; i < count; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", extra_data("models/stories260K/gguf"), names[i]);
        if (strstr(names[i], "f32") == NULL && strstr(names[i], "F32") == NULL) {
            continue;
        }
        struct uqff_model *gguf = must_open(path);
        (void)diff(hf, gguf, &(struct uqff_diff_options){.values = true});
        if (strstr(seen.text, "values ") != NULL || strstr(seen.text, "only-") != NULL ||
            strstr(seen.text, "shape ") != NULL) {
            fail_msg("%s:\n%s", path, seen.text);
        }
        compared = true;
        uqff_model_close(gguf);
    }
    assert_true(compared);
    uqff_model_close(hf);
    uqff_arena_free(&arena);
}

static void test_diff_out_of_memory(void **state) {
    (void)state;
    write_small();
    struct uqff_model *a = must_open(folder), *b = must_open(folder);
    const struct uqff_diff_options wanted = {.values = true, .threads = 1};
    struct uqff_error err;
    bool equal = false;
    (void)fail_allocation(0);
    assert_ok(uqff_diff(a, b, &wanted, NULL, NULL, NULL, &equal, &err), &err);
    const size_t allocations = fail_allocation(0);
    for (size_t n = 1; n <= allocations; n += n < 60 ? 1 : 23) {
        (void)fail_allocation(n);
        const enum uqff_code code = uqff_diff(a, b, &wanted, NULL, NULL, NULL, &equal, &err);
        (void)fail_allocation(0);
        assert_int_equal(code, UQFF_E_MEMORY);
    }
    uqff_model_close(a);
    uqff_model_close(b);
}

/* ---- statistics ------------------------------------------------------------------------------ */

static void assert_near(double found_value, double expected) {
    if (fabs(found_value - expected) > 1e-12 * (1 + fabs(expected))) {
        fail_msg("found %.17g, expected %.17g", found_value, expected);
    }
}

static struct uqff_tensor_stats stats_of(const struct uqff_model *model, const char *name,
                                         unsigned threads) {
    struct uqff_error err;
    struct uqff_tensor_stats stats;
    const size_t tensor = uqff_model_find_tensor(model, name);
    assert_int_not_equal(tensor, UQFF_NONE);
    assert_ok(uqff_model_stats(model, tensor, threads, &stats, &err), &err);
    return stats;
}

static void test_stats(void **state) {
    (void)state;
    static const struct made big = {
        "model.layers.0.mlp.up_proj.weight", UQFF_DTYPE_F32, 2, {2500, 256}};
    write_tensors("model.safetensors", &big, 1);
    const char *path = in_folder("model.safetensors");
    const uint64_t offset = entry_offset(path, big.name, NULL);
    patch(path, offset + 4 * 1000, "\0\0\xc0\x7f\0\0\x80\xff\0\0\0\0\0\0\0\x80\0\0\x80\x40", 20);
    struct uqff_model *model = must_open(path);
    float *x = tensor_values(model, 0);
    double sum = 0, squares = 0, min = INFINITY, max = -INFINITY;
    uint64_t zeros = 0, finite = 0;
    for (size_t i = 0; i < 640000; i++) {
        if (isfinite(x[i])) {
            sum += (double)x[i];
            min = fmin(min, (double)x[i]);
            max = fmax(max, (double)x[i]);
            zeros += x[i] == 0.0f;
            finite++;
        }
    }
    for (size_t i = 0; i < 640000; i++) {
        if (isfinite(x[i])) {
            squares +=
                ((double)x[i] - sum / (double)finite) * ((double)x[i] - sum / (double)finite);
        }
    }
    struct uqff_error err;
    struct uqff_tensor_stats none;
    assert_fails(uqff_model_stats(model, UQFF_NONE, 1, &none, &err), UQFF_E_ARGUMENT, &err,
                 "no such tensor");
    const struct uqff_tensor_stats one = stats_of(model, big.name, 1);
    const struct uqff_tensor_stats many = stats_of(model, big.name, 4);
    assert_memory_equal(&one.mean, &many.mean, sizeof one.mean);
    assert_memory_equal(&one.deviation, &many.deviation, sizeof one.deviation);
    assert_int_equal(one.elements, 640000);
    assert_int_equal(one.nonfinite, 2);
    assert_int_equal(one.zeros, zeros);
    assert_true(one.min == min && one.max == max && max == 4.0);
    assert_near(one.mean, sum / (double)finite);
    assert_near(one.deviation, sqrt(squares / (double)finite));
    assert_false(one.has_scales);
    free(x);
    uqff_model_close(model);
}

static void test_stats_of_blocks(void **state) {
    (void)state;
    static const char *const quants[] = {"q8_0"};
    char file[600];
    write_small();
    struct uqff_model *source = must_open(folder);
    snprintf(file, sizeof file, "%s", in_folder("small.uqff"));
    const struct uqff_pack_options wanted = pack_options(quants, 1, file);
    pack(source, &wanted);
    struct uqff_model *packed = must_open(file);
    const char *name = "model.layers.0.mlp.up_proj.weight";
    const struct uqff_tensor_stats a = stats_of(source, name, 0), b = stats_of(packed, name, 0);
    assert_true(b.has_scales);
    /* Values within (-1, 1): the largest of 32 is near 1, and a scale is a 127th of it. */
    assert_true(b.scale_min > 0.5f / 127 && b.scale_max <= 1.01f / 127);
    assert_true(fabs(a.mean - b.mean) < 1e-3 && fabs(a.deviation - b.deviation) < 1e-3);
    uqff_model_close(source);
    uqff_model_close(packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_same, enter_folder),
        cmocka_unit_test_setup(test_values, enter_folder),
        cmocka_unit_test_setup(test_structure, enter_folder),
        cmocka_unit_test_setup(test_variants, enter_folder),
        cmocka_unit_test_setup(test_across_containers, enter_folder),
        cmocka_unit_test_setup(test_diff_out_of_memory, enter_folder),
        cmocka_unit_test_setup(test_stats, enter_folder),
        cmocka_unit_test_setup(test_stats_of_blocks, enter_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
