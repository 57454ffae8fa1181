/* Packing: the bytes of every module, the same whatever the threads and the memory, side files. */
#include <unistd.h>

#include "test_pack_support.h"

static const char *const four[] = {"q4_k_m", "q5_k_m", "q6_k", "q8_0"};

/* ---- the whole chain against llama-quantize -------------------------------------------------- */

static void lower_case(char *out, const char *text) {
    for (; *text != '\0'; text++, out++) {
        *out = *text >= 'A' && *text <= 'Z' ? (char)(*text + 32) : *text;
    }
    *out = '\0';
}

/* First 16 digits of the SHA-256 of a blob, its rows in the order of a GGUF. */
static void blob_digest(const struct uqff_container *container, const struct uqff_blob *blob,
                        const struct uqff_module *module, uint64_t heads, char out[17]) {
    struct uqff_error err;
    struct uqff_sha *sha = NULL;
    unsigned char digest[32];
    size_t n = 0;
    uint64_t rows = module->weights / module->shape[module->rank - 1];
    size_t row = (size_t)(blob->bytes / rows);
    unsigned char *bytes = malloc(blob->bytes);
    assert_ok(uqff_source_read(
                  uqff_safetensors_source(uqff_container_shard(container, blob->entry.shard)),
                  blob->entry.tensor->offset, bytes, blob->bytes, &err),
              &err);
    assert_ok(uqff_sha_new("sha256", &sha, &err), &err);
    uint64_t height = heads > 0 ? rows / heads : 0;
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t from = i;
        if (heads > 0) {
            uint64_t inner = i % height;
            from = i - inner + inner / 2 + (inner % 2) * (height / 2);
        }
        uqff_sha_update(sha, bytes + from * row, row);
    }
    uqff_sha_final(sha, digest, &n);
    uqff_sha_free(sha);
    uqff_hex(out, digest, 8);
    free(bytes);
}

static void test_llama_quantize(void **state) {
    (void)state;
    struct uqff_error err;
    size_t size = 0, rows = 0;
    char *table = read_file(test_data("storyteller/llama-quantize.tsv"), &size);
    table = realloc(table, size + 1);
    table[size] = '\0';

    /* One file of all recipes. */
    const char *quants[32];
    static char names[32][32];
    size_t count = 0;
    char *copy = strdup(table), *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char recipe[32], name[32];
        assert_int_equal(sscanf(line, "%31s", recipe), 1);
        lower_case(name, recipe);
        if (strcmp(name, "recipe") != 0 && (count == 0 || strcmp(names[count - 1], name) != 0)) {
            snprintf(names[count], sizeof names[count], "%s", name);
            quants[count] = names[count];
            count++;
        }
    }
    free(copy);
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_file("all.uqff"));
    struct uqff_pack_options options = pack_options(path, quants, count);
    struct uqff_model *model = open_model(test_data("storyteller"));
    assert_ok(try_pack(model, &options, &err), &err);
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(path, NULL, &container, &err), &err);
    assert_int_equal(uqff_container_variant_count(container), count);

    for (char *line = strtok_r(table, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        char recipe[32], imatrix[8], tensor[64], type[32], digest[32], found[17];
        assert_int_equal(
            sscanf(line, "%31s %7s %63s %31s %31s", recipe, imatrix, tensor, type, digest), 5);
        size_t variant = uqff_container_find_variant(container, recipe);
        char *ending = strstr(tensor, ".weight");
        if (variant == UQFF_NONE || strstr(tensor, "norm") != NULL) {
            continue;
        }
        *ending = '\0';
        size_t m = 0;
        while (m < uqff_model_module_count(model) &&
               strcmp(uqff_model_module(model, m)->gguf_name, tensor) != 0) {
            m++;
        }
        assert_true(m < uqff_model_module_count(model));
        const struct uqff_model_module *module = uqff_model_module(model, m);
        size_t index = uqff_container_find_module(container, module->name);
        const struct uqff_blob *blob = uqff_container_blob(
            container, uqff_container_variant(container, variant)->blobs[index]);
        assert_string_equal(uqff_type_name(blob->type), type);
        blob_digest(container, blob, uqff_container_module(container, index), module->gguf_heads,
                    found);
        if (strcmp(found, digest) != 0) {
            fail_msg("%s %s: %s, llama-quantize has %s", recipe, tensor, found, digest);
        }
        rows++;
    }
    assert_int_equal(rows, count * 30);
    uqff_container_close(container);
    uqff_model_close(model);
    free(table);
    assert_digests(path);
}

/* ---- the same bytes -------------------------------------------------------------------------- */

static void test_threads_and_memory(void **state) {
    (void)state;
    static const struct {
        unsigned threads;
        uint64_t memory;
    } cases[] = {{1, 0}, {2, 24 << 10}, {7, 1 << 20}, {3, 8 << 10}, {16, 0}};
    char first[512];
    snprintf(first, sizeof first, "%s", scratch_file("same.uqff"));
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[512], name[32];
        snprintf(name, sizeof name, "same%zu", i);
        struct uqff_error err;
        assert_ok(uqff_make_directory(scratch_file(name), &err), &err);
        snprintf(path, sizeof path, "%s/same.uqff", scratch_file(name));
        struct uqff_pack_options options = pack_options(i == 0 ? first : path, four, COUNT(four));
        options.threads = cases[i].threads;
        options.memory = cases[i].memory;
        pack(test_data("storyteller"), &options);
        if (i > 0) {
            assert_same_file(first, path);
        }
    }
}

static void test_too_little_memory(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_model *model = open_model(test_data("storyteller"));
    struct uqff_pack_options options = pack_options(scratch_file("little.uqff"), four, COUNT(four));
    options.memory = 4096;
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "4096 bytes of memory");
    assert_false(uqff_path_exists(scratch_file("little.uqff")));
    uqff_model_close(model);
}

/* The plan tells the files and sizes that the run then makes. */
static void test_plan(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_model *model = open_model(test_data("storyteller"));
    struct uqff_pack_options options = pack_options(scratch_file("plan.uqff"), four, COUNT(four));
    struct uqff_pack_plan *plan = NULL;
    assert_ok(uqff_pack_plan_new(model, &options, &plan, &err), &err);
    assert_int_equal(uqff_pack_plan_file_count(plan), 1);
    assert_int_equal(uqff_pack_plan_variant_count(plan), 4);
    assert_true(uqff_pack_plan_variant(plan, 0)->is_default);
    assert_false(uqff_pack_plan_variant(plan, 1)->is_default);
    uint64_t sum = 0, shared = 0;
    for (size_t m = 0; m < uqff_model_module_count(model); m++) {
        sum += uqff_pack_plan_bytes(plan, 0, m);
        uint32_t types[3];
        for (size_t v = 0; v < 3; v++) {
            types[v] = uqff_pack_plan_choice(plan, v, m).type;
        }
        if (types[0] == types[1] || types[1] == types[2] || types[0] == types[2]) {
            shared += uqff_pack_plan_bytes(plan, 1, m);
        }
    }
    assert_int_equal(sum, uqff_pack_plan_variant(plan, 0)->bytes);
    assert_int_equal(shared, uqff_pack_plan_shared_bytes(plan));
    assert_true(shared > 0);
    assert_false(uqff_path_exists(scratch_file("plan.uqff")));
    uint64_t bytes = uqff_pack_plan_file(plan, 0).bytes;
    assert_ok(uqff_pack_run(plan, NULL, &err), &err);
    struct stat status;
    assert_int_equal(stat(scratch_file("plan.uqff"), &status), 0);
    assert_int_equal(bytes, status.st_size);
    uqff_pack_plan_free(plan);
    uqff_model_close(model);
}

/* ---- what a file holds ----------------------------------------------------------------------- */

static void test_contents(void **state) {
    (void)state;
    struct uqff_error err;
    const char *directory = tiny_qwen2_model("contents");
    struct uqff_metadata_pair pairs[] = {
        {"author", "nobody"}, {"note", "first"}, {"note", "second \"one\""}};
    static const char *const quants[] = {"bf16", "q8_0", "q4_k"};
    struct uqff_pack_options options =
        pack_options(scratch_file("contents.uqff"), quants, COUNT(quants));
    options.metadata = pairs;
    options.metadata_count = COUNT(pairs);
    options.compress_assets = true;
    pack(directory, &options);
    assert_digests(scratch_file("contents.uqff"));

    struct uqff_model *model = open_model(directory);
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(scratch_file("contents.uqff"), NULL, &container, &err), &err);
    assert_string_equal(uqff_container_metadata(container, "author"), "nobody");
    assert_string_equal(uqff_container_metadata(container, "note"), "second \"one\"");
    assert_int_equal(uqff_container_default(container), 0);

    /* Residual tensors are the source's bytes; so are biases that bfloat16 would not hold. */
    size_t kept = 0;
    for (size_t i = 0; i < uqff_container_residual_count(container); i++) {
        const struct uqff_residual *residual = uqff_container_residual(container, i);
        const struct uqff_st_tensor *tensor = residual->entry.tensor;
        size_t source = uqff_model_find_tensor(model, residual->name);
        assert_true(source != UQFF_NONE);
        assert_int_equal(uqff_model_tensor(model, source)->bytes, tensor->bytes);
        char *ours = malloc(tensor->bytes), *theirs = malloc(tensor->bytes);
        assert_ok(uqff_source_read(uqff_safetensors_source(uqff_container_shard(container, 0)),
                                   tensor->offset, ours, tensor->bytes, &err),
                  &err);
        assert_ok(uqff_model_read(model, source, 0, theirs, tensor->bytes, &err), &err);
        assert_memory_equal(ours, theirs, tensor->bytes);
        free(ours);
        free(theirs);
        kept += strstr(residual->name, ".bias") != NULL;
    }
    /* k in F32 and v in F16; q is BF16 as it was. But v's weight is BF16 in the default too. */
    assert_int_equal(kept, 2);
    assert_int_equal(uqff_container_asset_count(container), 1);
    assert_true(uqff_container_asset(container, 0)->compressed);
    char *text = NULL;
    size_t size = 0, expected_size = 0;
    assert_ok(uqff_container_read_asset(container, 0, &text, &size, &err), &err);
    char path[1024];
    snprintf(path, sizeof path, "%s/config.json", directory);
    char *expected = read_file(path, &expected_size);
    assert_int_equal(size, expected_size);
    assert_memory_equal(text, expected, size);
    free(expected);
    uqff_free(text);

    /* The digest of the source, computed another way. */
    struct uqff_buffer list = {0};
    for (size_t i = 0; i < uqff_model_tensor_count(model); i++) {
        const struct uqff_tensor *tensor = uqff_model_tensor(model, i);
        unsigned char number[8];
        void *bytes = malloc(tensor->bytes);
        assert_ok(uqff_model_read(model, i, 0, bytes, tensor->bytes, &err), &err);
        struct uqff_digest digest = uqff_hash(bytes, tensor->bytes);
        free(bytes);
        uqff_buffer_append(&list, tensor->name, strlen(tensor->name) + 1);
        const char *label = uqff_type_label(tensor->type);
        uqff_buffer_append(&list, label, strlen(label) + 1);
        uqff_store_le32(number, tensor->rank);
        uqff_buffer_append(&list, number, 4);
        for (unsigned k = 0; k < tensor->rank; k++) {
            uqff_store_le64(number, tensor->shape[k]);
            uqff_buffer_append(&list, number, 8);
        }
        uqff_buffer_append(&list, digest.bytes, 16);
    }
    struct uqff_digest digest = uqff_hash(list.data, list.size);
    char hex[33], source[512];
    uqff_hex(hex, digest.bytes, 16);
    snprintf(source, sizeof source,
             "{\"container\":\"safetensors\",\"tensors\":15,\"name\":\"tiny/model\","
             "\"bias\":\"f32\",\"bias_except\":{\"f16\":[\"model.layers.0.self_attn.v_proj\"],"
             "\"bf16\":[\"model.layers.0.self_attn.q_proj\"]},\"digest\":\"%s\"}",
             hex);
    assert_string_equal(uqff_container_metadata(container, "uqff.multi.source"), source);
    uqff_buffer_free(&list);
    uqff_container_close(container);
    uqff_model_close(model);
}

/* Experts are stacked, and each tensor of the source is hashed though it is a part of a stack. */
static void test_experts(void **state) {
    (void)state;
    struct uqff_error err;
    static const char *const quants[] = {"q8_0", "bf16"};
    const char *directory = tiny_mixtral_model("experts");
    struct uqff_pack_options options =
        pack_options(scratch_file("experts.uqff"), quants, COUNT(quants));
    pack(directory, &options);
    assert_digests(scratch_file("experts.uqff"));
    char small[512];
    snprintf(small, sizeof small, "%s", scratch_file("small"));
    assert_ok(uqff_make_directory(small, &err), &err);
    strcat(small, "/experts.uqff");
    options.output = small;
    options.memory = 2048;
    options.threads = 2;
    pack(directory, &options);
    assert_same_file(scratch_file("experts.uqff"), small);

    struct uqff_model *model = open_model(directory);
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(small, NULL, &container, &err), &err);
    size_t m =
        uqff_container_find_module(container, "model.layers.0.block_sparse_moe.experts.down_proj");
    assert_true(m != UQFF_NONE);
    const struct uqff_module *module = uqff_container_module(container, m);
    assert_int_equal(module->rank, 3);
    assert_int_equal(module->shape[0], 3);
    const struct uqff_blob *blob = uqff_container_blob(
        container, uqff_container_variant(container, uqff_container_find_variant(container, "bf16"))
                       ->blobs[m]);
    size_t source =
        uqff_model_find_tensor(model, "model.layers.0.block_sparse_moe.experts.2.w2.weight");
    float ours[96], theirs[96];
    assert_ok(uqff_container_read_rows(container,
                                       (size_t)(blob - uqff_container_blob(container, 0)),
                                       2 * 64 + 5, 1, ours, &err),
              &err);
    assert_ok(uqff_model_read_rows(model, source, 5, 1, theirs, &err), &err);
    assert_memory_equal(ours, theirs, sizeof ours);
    uqff_container_close(container);
    uqff_model_close(model);
}

static void test_shards(void **state) {
    (void)state;
    struct uqff_error err;
    char directory[512], path[600];
    snprintf(directory, sizeof directory, "%s", scratch_file("shards"));
    assert_ok(uqff_make_directory(directory, &err), &err);
    snprintf(path, sizeof path, "%s/s.uqff", directory);
    struct uqff_pack_options options = pack_options(path, four, COUNT(four));
    options.max_shard = 1 << 20;
    options.alignment = 4096;
    pack(test_data("storyteller"), &options);
    assert_true(count_files(directory) > 5);
    snprintf(path, sizeof path, "%s/s-0.uqff", directory);
    assert_digests(path);
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(path, NULL, &container, &err), &err);
    assert_int_equal(uqff_container_variant_count(container), 4);
    assert_string_equal(uqff_container_metadata(container, "uqff.multi.layout"),
                        "{\"alignment\":4096,\"max_shard\":1048576}");
    uqff_container_close(container);

    /* A set is not mixed with another one; overwriting takes the whole place. */
    struct uqff_model *model = open_model(test_data("storyteller"));
    char output[600];
    snprintf(output, sizeof output, "%s/s.uqff", directory);
    options.output = output;
    options.max_shard = 2 << 20;
    assert_fails(try_pack(model, &options, &err), UQFF_E_EXISTS, &err, "already exists");
    options.overwrite = true;
    assert_ok(try_pack(model, &options, &err), &err);
    assert_digests(path);
    uqff_model_close(model);

    /* A shard that has gone is missed. */
    snprintf(path, sizeof path, "%s/s-1.uqff", directory);
    assert_int_equal(remove(path), 0);
    snprintf(path, sizeof path, "%s/s-0.uqff", directory);
    assert_int_not_equal(uqff_container_open(path, NULL, &container, &err), UQFF_OK);
}

/* ---- side files ------------------------------------------------------------------------------ */

static void check_residual(const char *path, const struct uqff_model *model) {
    struct uqff_error err;
    struct uqff_safetensors_set *set = NULL;
    assert_ok(uqff_safetensors_set_open(path, NULL, &set, &err), &err);
    assert_int_equal(uqff_safetensors_set_count(set), uqff_model_residual_count(model));
    struct uqff_safetensors *file = uqff_safetensors_set_file(set, 0);
    size_t length = 0;
    assert_string_equal(uqff_safetensors_metadata_find(file, "uqff.producer", &length), "uqff");
    for (size_t i = 0; i < uqff_safetensors_count(file); i++) {
        const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(file, i);
        if (i > 0) {
            const struct uqff_st_tensor *before = uqff_safetensors_tensor(file, i - 1);
            assert_true(before->dtype > tensor->dtype ||
                        (before->dtype == tensor->dtype && strcmp(before->name, tensor->name) < 0));
        }
        char *ours = malloc(tensor->bytes), *theirs = malloc(tensor->bytes);
        assert_ok(uqff_source_read(uqff_safetensors_source(file), tensor->offset, ours,
                                   tensor->bytes, &err),
                  &err);
        assert_ok(uqff_model_read(model, uqff_model_find_tensor(model, tensor->name), 0, theirs,
                                  tensor->bytes, &err),
                  &err);
        assert_memory_equal(ours, theirs, tensor->bytes);
        free(ours);
        free(theirs);
    }
    uqff_safetensors_set_close(set);
}

static void check_report(const char *path, const char *const *quants, size_t count,
                         const char *first_shard) {
    struct uqff_error err;
    struct uqff_arena arena = {0};
    struct uqff_report_entry *entries = NULL;
    size_t found = 0, size = 0;
    char *text = read_file(path, &size);
    assert_ok(uqff_report_parse(text, size, "report", &arena, &entries, &found, &err), &err);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(entries[i].quant, quants[i]);
    }
    assert_string_equal(entries[0].shards[0], first_shard);
    uqff_arena_free(&arena);
    free(text);
}

static const char pretty_config[] = "{\n"
                                    "  \"architectures\": [\n"
                                    "    \"Qwen2ForCausalLM\"\n"
                                    "  ],\n"
                                    "  \"model_type\": \"qwen2\",\n"
                                    "  \"hidden_size\": 64,\n"
                                    "  \"intermediate_size\": 128,\n"
                                    "  \"num_hidden_layers\": 1,\n"
                                    "  \"num_attention_heads\": 4,\n"
                                    "  \"num_key_value_heads\": 2,\n"
                                    "  \"head_dim\": 16,\n"
                                    "  \"vocab_size\": 24,\n"
                                    "  \"num_local_experts\": 0,\n"
                                    "  \"num_experts_per_tok\": 0,\n"
                                    "  \"rms_norm_eps\": 1e-05,\n"
                                    "  \"rope_theta\": 10000.0,\n"
                                    "  \"max_position_embeddings\": 64,\n"
                                    "  \"tie_word_embeddings\": false,\n"
                                    "  \"torch_dtype\": \"bfloat16\",\n"
                                    "  \"_name_or_path\": \"tiny/model\",\n"
                                    "  \"big\": 12345678901234567890,\n"
                                    "  \"text_config\": {\n"
                                    "    \"list\": [\n"
                                    "      1,\n"
                                    "      [],\n"
                                    "      {}\n"
                                    "    ],\n"
                                    "    \"last\": null\n"
                                    "  }\n"
                                    "}\n";

static void test_mistralrs_directory(void **state) {
    (void)state;
    struct uqff_error err;
    const char *source = tiny_qwen2_model("plain");
    static const char *const quants[] = {"q8_0", "q4_0", "bf16"};
    struct uqff_pack_options options = pack_options(scratch_file("plain-out"), quants, 3);
    options.format = UQFF_PACK_MISTRALRS;
    char directory[512], path[600];
    snprintf(directory, sizeof directory, "%s", options.output);
    options.output = directory;
    pack(source, &options);
    assert_int_equal(count_files(directory), 6);
    struct uqff_model *model = open_model(source);
    snprintf(path, sizeof path, "%s/residual.safetensors", directory);
    check_residual(path, model);
    snprintf(path, sizeof path, "%s/uqff_report.json", directory);
    check_report(path, quants, 3, "q8_0-0.uqff");
    snprintf(path, sizeof path, "%s/config.json", directory);
    size_t size = 0;
    char *config = read_file(path, &size);
    assert_int_equal(size, strlen(pretty_config));
    assert_memory_equal(config, pretty_config, size);
    free(config);
    /* Each set opens by itself and has its biases in the form that goes with its weights. */
    for (size_t i = 0; i < 3; i++) {
        struct uqff_container *container = NULL;
        snprintf(path, sizeof path, "%s/%s-0.uqff", directory, quants[i]);
        assert_ok(uqff_container_open(path, NULL, &container, &err), &err);
        assert_false(uqff_container_is_multi(container));
        size_t m = uqff_container_find_module(container, "model.layers.0.self_attn.k_proj");
        const struct uqff_module *module = uqff_container_module(container, m);
        assert_true(module->has_bias);
        assert_int_equal(module->bias.tensor->dtype, i == 2 ? UQFF_DTYPE_BF16 : UQFF_DTYPE_F32);
        uqff_container_close(container);
    }
    uqff_model_close(model);
}

static void test_sidecars(void **state) {
    (void)state;
    struct uqff_error err;
    char directory[512], path[600];
    snprintf(directory, sizeof directory, "%s", scratch_file("beside"));
    assert_ok(uqff_make_directory(directory, &err), &err);
    snprintf(path, sizeof path, "%s/m.uqff", directory);
    static const char *const quants[] = {"iq4_xs", "q8_0", "q6_k"};
    struct uqff_pack_options options = pack_options(path, quants, 3);
    options.sidecars = true;
    pack(test_data("storyteller"), &options);
    assert_int_equal(count_files(directory), 7);
    struct uqff_model *model = open_model(test_data("storyteller"));
    snprintf(path, sizeof path, "%s/residual.safetensors", directory);
    check_residual(path, model);
    snprintf(path, sizeof path, "%s/uqff_report.json", directory);
    /* mistral.rs cannot load the first, so the second is the default, and all that the report
     * tells. */
    check_report(path, &quants[1], 1, "m.uqff");
    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
    assert_same_file(path, test_data("storyteller/tokenizer.json"));
    uqff_model_close(model);
}

/* Beside a file without a default there is nothing that could be loaded. */
static void test_no_default(void **state) {
    (void)state;
    struct uqff_error err;
    static const char *const quants[] = {"iq4_xs"};
    struct uqff_model *model = open_model(test_data("storyteller"));
    struct uqff_pack_options options = pack_options(scratch_file("none.uqff"), quants, 1);
    assert_ok(try_pack(model, &options, &err), &err);
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(scratch_file("none.uqff"), NULL, &container, &err), &err);
    assert_true(uqff_container_default(container) == UQFF_NONE);
    uqff_container_close(container);
    options.output = scratch_file("none2.uqff");
    options.sidecars = true;
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "mistral.rs");
    options.sidecars = false;
    options.default_quant = "IQ4_XS";
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "mistral.rs cannot load");
    options.default_quant = "q8_0";
    assert_fails(try_pack(model, &options, &err), UQFF_E_UNKNOWN, &err, "'q8_0'");
    options.default_quant = NULL;
    options.format = UQFF_PACK_MISTRALRS;
    options.output = scratch_file("none-dir");
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "mistral.rs cannot load");
    assert_false(uqff_path_exists(scratch_file("none-dir")));
    uqff_model_close(model);
}

/* ---- importance ------------------------------------------------------------------------------ */

static void test_importance(void **state) {
    (void)state;
    struct uqff_error err;
    struct warnings warnings = {0};
    struct uqff_warner warner = {take_warning, &warnings};
    struct uqff_model *model = open_model(test_data("storyteller"));
    static const char *const quants[] = {"q4_k_m"};
    char imatrix[512];
    snprintf(imatrix, sizeof imatrix, "%s", test_data("storyteller/imatrix.gguf"));
    char plain[512], weighted[512], other[512];
    snprintf(plain, sizeof plain, "%s", scratch_file("plain.uqff"));
    snprintf(weighted, sizeof weighted, "%s", scratch_file("weighted.uqff"));
    snprintf(other, sizeof other, "%s", scratch_file("other.uqff"));
    struct uqff_pack_options options = pack_options(plain, quants, 1);
    options.warner = &warner;
    assert_ok(try_pack(model, &options, &err), &err);
    assert_int_equal(warnings.count, 0);
    options.output = weighted;
    options.imatrix = imatrix;
    assert_ok(try_pack(model, &options, &err), &err);
    /* An imatrix of llama.cpp has no entry for the embedding, nor, usually, for the head. */
    assert_non_null(strstr(warnings.text, "model.embed_tokens"));
    struct uqff_container *container = NULL;
    assert_ok(uqff_container_open(weighted, NULL, &container, &err), &err);
    assert_non_null(uqff_container_metadata(container, "uqff.multi.imatrix"));
    assert_non_null(strstr(uqff_container_metadata(container, "uqff.multi.imatrix"), "digest"));
    size_t m = uqff_container_find_module(container, "model.layers.1.mlp.gate_proj");
    const struct uqff_blob *blob =
        uqff_container_blob(container, uqff_container_variant(container, 0)->blobs[m]);

    /* A row encoded by hand, under its importance. */
    const struct uqff_model_module *module = uqff_model_module(model, m);
    struct uqff_imatrix *file = NULL;
    assert_ok(uqff_imatrix_open(imatrix, &file, &err), &err);
    float row[512];
    unsigned char expected[1024], found[1024];
    uint64_t bytes = 0;
    assert_ok(uqff_model_read_module_rows(model, m, 3, 1, row, &err), &err);
    assert_ok(uqff_row_bytes(blob->type, module->columns, &bytes, &err), &err);
    assert_ok(uqff_quantize_row(blob->type, row, expected, module->columns,
                                uqff_imatrix_find(file, module)->values, &err),
              &err);
    assert_ok(uqff_source_read(uqff_safetensors_source(uqff_container_shard(container, 0)),
                               blob->entry.tensor->offset + 3 * bytes, found, bytes, &err),
              &err);
    assert_memory_equal(found, expected, bytes);
    uqff_imatrix_close(file);
    uqff_container_close(container);

    /* With every entry filtered away all modules are missed. */
    static const char *const nothing[] = {"no such entry"};
    warnings = (struct warnings){0};
    options.output = other;
    options.include_weights = nothing;
    options.include_count = 1;
    assert_ok(try_pack(model, &options, &err), &err);
    assert_int_equal(warnings.count, 1);
    char all[64];
    snprintf(all, sizeof all, "%zu of %zu modules", uqff_model_module_count(model),
             uqff_model_module_count(model));
    assert_non_null(strstr(warnings.text, all));
    options.exclude_weights = nothing;
    options.exclude_count = 1;
    options.overwrite = true;
    assert_fails(try_pack(model, &options, &err), UQFF_E_ARGUMENT, &err, "not both");
    uqff_model_close(model);
}

/* An imatrix of another model, and one of zeros, in the older form. */
static void test_wrong_importance(void **state) {
    (void)state;
    struct uqff_error err;
    struct warnings warnings = {0};
    struct uqff_warner warner = {take_warning, &warnings};
    unsigned char dat[1024] = {0};
    static const char name[] = "blk.0.ffn_up.weight";
    size_t at = 0, n = strlen(name), values = 64;
    uqff_store_le32(dat + at, 1);
    uqff_store_le32(dat + at + 4, (uint32_t)n);
    memcpy(dat + at + 8, name, n);
    uqff_store_le32(dat + at + 8 + n, 1);
    uqff_store_le32(dat + at + 12 + n, (uint32_t)values);
    size_t size = 16 + n + 4 * values;
    char path[512], shorter[512], out[512];
    snprintf(path, sizeof path, "%s", scratch_file("zeros.dat"));
    snprintf(shorter, sizeof shorter, "%s", scratch_file("shorter.dat"));
    snprintf(out, sizeof out, "%s", scratch_file("zeros.uqff"));
    write_file(path, dat, size);
    uqff_store_le32(dat + at + 12 + n, (uint32_t)(values - 32));
    write_file(shorter, dat, size - 4 * 32);

    struct uqff_model *model = open_model(tiny_qwen2_model("zeros"));
    static const char *const quants[] = {"q4_0"};
    struct uqff_pack_options options = pack_options(out, quants, 1);
    options.warner = &warner;
    options.imatrix = path;
    assert_ok(try_pack(model, &options, &err), &err);
    assert_non_null(strstr(warnings.text, "1 of 1 vectors are all zero"));
    options.imatrix = shorter;
    options.overwrite = true;
    assert_fails(try_pack(model, &options, &err), UQFF_E_SHAPE, &err, "blk.0.ffn_up.weight");
    assert_non_null(strstr(err.text, "model.layers.0.mlp.up_proj"));
    uqff_model_close(model);
}

/* ---- progress -------------------------------------------------------------------------------- */

struct progress {
    uint64_t last, total, calls, stop_at;
};

static bool count_progress(void *context, const char *stage, uint64_t done, uint64_t total) {
    struct progress *progress = context;
    (void)stage;
    assert_true(done >= progress->last && done <= total);
    progress->last = done;
    progress->total = total;
    progress->calls++;
    return progress->calls != progress->stop_at;
}

static void test_progress_and_cancel(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_model *model = open_model(test_data("storyteller"));
    struct uqff_pack_options options = pack_options(scratch_file("cancel-dir"), four, COUNT(four));
    char out[512];
    snprintf(out, sizeof out, "%s", options.output);
    options.output = out;
    options.format = UQFF_PACK_MISTRALRS;
    for (uint64_t stop = 1; stop < 6; stop++) {
        struct progress seen = {.stop_at = stop};
        struct uqff_progress progress = {count_progress, &seen};
        struct uqff_pack_plan *plan = NULL;
        assert_ok(uqff_pack_plan_new(model, &options, &plan, &err), &err);
        assert_fails(uqff_pack_run(plan, &progress, &err), UQFF_E_CANCELLED, &err, NULL);
        uqff_pack_plan_free(plan);
        assert_false(uqff_path_exists(out));
    }
    struct progress seen = {0};
    struct uqff_progress progress = {count_progress, &seen};
    struct uqff_pack_plan *plan = NULL;
    assert_ok(uqff_pack_plan_new(model, &options, &plan, &err), &err);
    assert_ok(uqff_pack_run(plan, &progress, &err), &err);
    assert_int_equal(seen.last, seen.total);
    assert_true(seen.total > 5 << 20);
    uqff_pack_plan_free(plan);
    uqff_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_quantize),
        cmocka_unit_test(test_threads_and_memory),
        cmocka_unit_test(test_too_little_memory),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_mistralrs_directory),
        cmocka_unit_test(test_sidecars),
        cmocka_unit_test(test_no_default),
        cmocka_unit_test(test_importance),
        cmocka_unit_test(test_wrong_importance),
        cmocka_unit_test(test_progress_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
