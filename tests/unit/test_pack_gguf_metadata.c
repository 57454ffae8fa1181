/* Keys and values of GGUF files: from side files and names, from a GGUF, from the user. */
#include "pack/gguf.h"

#include "test_pack_support.h"

static void put(const char *directory, const char *name, const char *text) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    write_file(path, text, strlen(text));
}

/* Packs as Q8_0 and opens the result. */
static struct uqff_gguf *packed(const char *model, const struct uqff_metadata_pair *pairs,
                                size_t count, struct warnings *warnings) {
    struct uqff_error err;
    struct uqff_gguf *gguf = NULL;
    const char *q8 = "q8_0";
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_file("metadata.gguf"));
    const struct uqff_warner warner = {take_warning, warnings};
    struct uqff_pack_options options = pack_options(path, &q8, 1);
    options.format = UQFF_PACK_GGUF;
    options.overwrite = true;
    options.metadata = pairs;
    options.metadata_count = count;
    options.warner = warnings != NULL ? &warner : NULL;
    pack(model, &options);
    assert_ok(uqff_gguf_open_path(path, NULL, &gguf, &err), &err);
    return gguf;
}

static const struct uqff_gguf_value *value_of(const struct uqff_gguf *gguf, const char *key,
                                              enum uqff_gguf_kind kind) {
    const struct uqff_gguf_value *value = uqff_gguf_find_value(gguf, key);
    if (value == NULL || value->kind != kind) {
        fail_msg("'%s': found %s, expected %s", key,
                 value == NULL ? "nothing" : uqff_gguf_kind_name(value->kind),
                 uqff_gguf_kind_name(kind));
    }
    return value;
}

static void is_text(const struct uqff_gguf *gguf, const char *key, const char *text) {
    const struct uqff_gguf_value *value = value_of(gguf, key, UQFF_GGUF_STRING);
    if (value->as.string.length != strlen(text) ||
        memcmp(value->as.string.bytes, text, strlen(text)) != 0) {
        fail_msg("'%s': found '%.*s', expected '%s'", key, (int)value->as.string.length,
                 value->as.string.bytes, text);
    }
}

static void is_count(const struct uqff_gguf *gguf, const char *key, uint64_t count) {
    assert_int_equal(value_of(gguf, key, UQFF_GGUF_U32)->as.u, count);
}

static void are_texts(const struct uqff_gguf *gguf, const char *key, const char *const *texts,
                      size_t count) {
    const struct uqff_gguf_value *value = value_of(gguf, key, UQFF_GGUF_ARRAY);
    struct uqff_gguf_iterator iterator = uqff_gguf_iterate(gguf, value);
    struct uqff_gguf_value item;
    assert_int_equal(value->as.array.count, count);
    for (size_t i = 0; uqff_gguf_next(&iterator, &item); i++) {
        assert_int_equal(item.as.string.length, strlen(texts[i]));
        assert_memory_equal(item.as.string.bytes, texts[i], strlen(texts[i]));
    }
}

static size_t place_of(const struct uqff_gguf *gguf, const char *key) {
    for (size_t i = 0; i < uqff_gguf_kv_count(gguf); i++) {
        if (strcmp(uqff_gguf_key(gguf, i), key) == 0) {
            return i;
        }
    }
    fail_msg("there is no '%s'", key);
    return 0;
}

/* ---- names and cards ------------------------------------------------------------------------- */

static void same(const char *found, const char *expected) {
    if (expected == NULL) {
        assert_null(found);
    } else {
        assert_non_null(found);
        assert_string_equal(found, expected);
    }
}

static void takes_names_apart(void **state) {
    (void)state;
    static const struct {
        const char *name, *title, *basename, *size, *finetune, *version;
    } cases[] = {
        {"Meta-Llama-3.1-8B-Instruct", "Meta Llama 3.1 8B Instruct", "Meta-Llama-3.1", "8B",
         "Instruct", NULL},
        {"Mixtral-8x7B-Instruct-v0.1", "Mixtral 8x7B Instruct v0.1", "Mixtral", "8x7B", "Instruct",
         "v0.1"},
        {"Qwen2.5-0.5b-instruct", "Qwen2.5 0.5b Instruct", "Qwen2.5", "0.5B", "instruct", NULL},
        {"gemma-2-2b-it", "Gemma 2 2b It", "gemma-2", "2B", "it", NULL},
        {"tinystories-656k-f32", "Tinystories 656k F32", "tinystories", "656K", NULL, NULL},
        {"storyteller", "Storyteller", NULL, NULL, NULL, NULL},
        {"7B", "7B", NULL, NULL, NULL, NULL},
        {"--", NULL, NULL, NULL, NULL, NULL},
        {"", NULL, NULL, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_arena arena = {0};
        struct uqff_error err;
        struct gguf_name name = {0};
        assert_ok(uqff_gguf_name_parse(cases[i].name, &arena, &name, &err), &err);
        same(name.title, cases[i].title);
        same(name.basename, cases[i].basename);
        same(name.size_label, cases[i].size);
        same(name.finetune, cases[i].finetune);
        same(name.version, cases[i].version);
        uqff_arena_free(&arena);
    }
}

static void rounds_sizes_as_converters_do(void **state) {
    (void)state;
    static const struct {
        uint64_t weights, expert_weights, experts;
        const char *label;
    } cases[] = {
        {8030261248u, 0, 0, "8.0B"},   {70553706496u, 0, 0, "71B"},
        {494032768u, 0, 0, "494M"},    {2885888u, 0, 0, "2.9M"},
        {260032u, 0, 0, "260K"},       {46702792704u, 45097156608u, 8, "8x7.2B"},
        {671026419200u, 0, 0, "671B"}, {1026408232448u, 0, 0, "1.0T"},
        {9500000u, 0, 0, "10M"},       {400u, 0, 0, "0.40K"},
    };
    struct uqff_arena arena = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(uqff_gguf_size_label(cases[i].weights, cases[i].expert_weights,
                                                 cases[i].experts, &arena),
                            cases[i].label);
    }
    uqff_arena_free(&arena);
}

static void reads_what_is_simple_in_a_card(void **state) {
    (void)state;
    static const char *const junk[] = {
        "",
        "# Title\nlicense: mit\n",
        "---\nlicense: mit\n",
        "---\n---\n",
        "--- \nlicense: [\n---",
        "---\nlicense: |\n  long\ntags: {a: b}\nlanguage: &x\n---\n",
        "---\n:\n- \n- a\n---\n",
        "---\nlicense: \"a\\\"b\"\nbase_model: \xff\xfe\n---\n",
    };
    static const char text[] = "---\r\n"
                               "license: other  # see below\r\n"
                               "license_name: 'my license'\n"
                               "tags:\n"
                               "- one\n"
                               "  - \"two\"\n"
                               "extra:\n"
                               "  - not this\n"
                               "language: [en, 'de', \"fr\"]\n"
                               "pipeline_tag: text-generation\n"
                               "base_model: org/Model-7B\n"
                               "model_name: ~\n"
                               "---\n"
                               "license: not this\n";
    struct uqff_error err;
    for (size_t i = 0; i < COUNT(junk); i++) {
        struct uqff_arena arena = {0};
        struct gguf_card card = {0};
        assert_ok(uqff_gguf_card_parse(junk[i], strlen(junk[i]), &arena, &card, &err), &err);
        assert_null(card.license);
        assert_int_equal(card.base_models.count + card.languages.count + card.tags.count, 0);
        uqff_gguf_card_free(&card);
        uqff_arena_free(&arena);
    }
    struct uqff_arena arena = {0};
    struct gguf_card card = {0};
    assert_ok(uqff_gguf_card_parse(text, sizeof text - 1, &arena, &card, &err), &err);
    assert_string_equal(card.license, "other");
    assert_string_equal(card.license_name, "my license");
    assert_null(card.name);
    assert_int_equal(card.tags.count, 3);
    assert_string_equal(card.tags.items[0], "one");
    assert_string_equal(card.tags.items[1], "two");
    assert_string_equal(card.tags.items[2], "text-generation");
    assert_int_equal(card.languages.count, 3);
    assert_string_equal(card.languages.items[1], "de");
    assert_string_equal(card.base_models.items[0], "org/Model-7B");
    uqff_gguf_card_free(&card);
    uqff_arena_free(&arena);
}

/* ---- from a checkpoint ----------------------------------------------------------------------- */

static const char *told_model(const char *name, const char *rule) {
    const char *directory = tiny_qwen2_model(name);
    add_tiny_tokenizer(directory, rule);
    return directory;
}

static void tells_what_side_files_tell(void **state) {
    (void)state;
    static const char *const tags[] = {"tiny", "text-generation"}, *const languages[] = {"en"};
    const char *model = told_model("Tiny-0.1M-Chat", LLAMA3_RULE);
    put(model, "README.md",
        "---\nlicense: apache-2.0\ntags: [tiny]\nlanguage: en\npipeline_tag: text-generation\n"
        "base_model:\n- some-org/Base-1M-v2\ndatasets:\n- some-org/stories\n- tales\n"
        "model_creator: Somebody\ndescription: 'Tells: stories'\n---\n# Tiny\n");
    put(model, "generation_config.json",
        "{\"temperature\":0.6,\"top_k\":20,\"top_p\":0.95,\"do_sample\":true,\"eos_token_id\":[1,2]"
        "}");
    struct uqff_gguf *gguf = packed(model, NULL, 0, NULL);
    static const char *const order[] = {
        "general.architecture",
        "general.type",
        "general.sampling.top_k",
        "general.sampling.top_p",
        "general.sampling.temp",
        "general.name",
        "general.author",
        "general.finetune",
        "general.basename",
        "general.description",
        "general.size_label",
        "general.license",
        "general.base_model.count",
        "general.base_model.0.name",
        "general.base_model.0.version",
        "general.base_model.0.organization",
        "general.dataset.count",
        "general.dataset.0.name",
        "general.dataset.0.organization",
        "general.dataset.1.name",
        "general.tags",
        "general.languages",
        "qwen2.block_count",
        "qwen2.context_length",
        "qwen2.embedding_length",
        "qwen2.feed_forward_length",
        "qwen2.attention.head_count",
        "qwen2.attention.head_count_kv",
        "qwen2.rope.freq_base",
        "qwen2.attention.layer_norm_rms_epsilon",
        "qwen2.attention.key_length",
        "qwen2.attention.value_length",
        "general.file_type",
        "general.quantization_version",
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.add_eos_token",
        "tokenizer.chat_template",
    };
    assert_int_equal(uqff_gguf_kv_count(gguf), COUNT(order));
    for (size_t i = 0; i < COUNT(order); i++) {
        assert_string_equal(uqff_gguf_key(gguf, i), order[i]);
    }
    is_text(gguf, "general.name", "Tiny 0.1M Chat");
    is_text(gguf, "general.basename", "Tiny");
    is_text(gguf, "general.finetune", "Chat");
    is_text(gguf, "general.size_label", "0.1M");
    is_text(gguf, "general.license", "apache-2.0");
    is_text(gguf, "general.author", "Somebody");
    is_text(gguf, "general.description", "Tells: stories");
    is_count(gguf, "general.dataset.count", 2);
    is_text(gguf, "general.dataset.0.name", "Stories");
    is_text(gguf, "general.dataset.0.organization", "Some Org");
    is_text(gguf, "general.dataset.1.name", "Tales");
    is_count(gguf, "general.base_model.count", 1);
    is_text(gguf, "general.base_model.0.name", "Base 1M v2");
    is_text(gguf, "general.base_model.0.version", "v2");
    is_text(gguf, "general.base_model.0.organization", "Some Org");
    are_texts(gguf, "general.tags", tags, 2);
    are_texts(gguf, "general.languages", languages, 1);
    assert_int_equal(value_of(gguf, "general.sampling.top_k", UQFF_GGUF_I32)->as.i, 20);
    assert_true(value_of(gguf, "general.sampling.temp", UQFF_GGUF_F32)->as.f == 0.6f);
    is_count(gguf, "general.file_type", 7);
    is_count(gguf, "general.quantization_version", 2);
    uqff_gguf_close(gguf);
}

static void tells_the_tokenizer(void **state) {
    (void)state;
    static const char *const merges[] = {"a b", "\xc4\xa0 a", "ab c", "d e"};
    const char *model = told_model("tokens", LLAMA3_RULE);
    struct uqff_gguf *gguf = packed(model, NULL, 0, NULL);
    is_text(gguf, "tokenizer.ggml.model", "gpt2");
    is_text(gguf, "tokenizer.ggml.pre", "llama-bpe");
    is_text(gguf, "tokenizer.chat_template", "{{ bos_token }}");
    are_texts(gguf, "tokenizer.ggml.merges", merges, 4);
    is_count(gguf, "tokenizer.ggml.bos_token_id", 19);
    is_count(gguf, "tokenizer.ggml.eos_token_id", 21);
    assert_int_equal(value_of(gguf, "tokenizer.ggml.add_bos_token", UQFF_GGUF_BOOL)->as.u, 1);
    /* As many tokens as the embedding has rows: a hole and two behind the last are unused. */
    const struct uqff_gguf_value *tokens = value_of(gguf, "tokenizer.ggml.tokens", UQFF_GGUF_ARRAY);
    const struct uqff_gguf_value *types =
        value_of(gguf, "tokenizer.ggml.token_type", UQFF_GGUF_ARRAY);
    assert_int_equal(tokens->as.array.count, 24);
    assert_int_equal(types->as.array.count, 24);
    struct uqff_gguf_iterator token = uqff_gguf_iterate(gguf, tokens);
    struct uqff_gguf_iterator type = uqff_gguf_iterate(gguf, types);
    struct uqff_gguf_value text, number;
    for (int i = 0; uqff_gguf_next(&token, &text) && uqff_gguf_next(&type, &number); i++) {
        int expected = i < 19               ? UQFF_TOKEN_NORMAL
                       : i == 19 || i == 21 ? UQFF_TOKEN_CONTROL
                                            : UQFF_TOKEN_UNUSED;
        assert_int_equal(number.as.i, expected);
        if (i == 20 || i > 21) {
            char pad[16];
            snprintf(pad, sizeof pad, "[PAD%d]", i);
            assert_int_equal(text.as.string.length, strlen(pad));
            assert_memory_equal(text.as.string.bytes, pad, strlen(pad));
        }
    }
    uqff_gguf_close(gguf);
}

/* What a GGUF has no key for is warned of where llama.cpp's constant is another value. */
static void warns_of_what_a_gguf_cannot_tell(void **state) {
    (void)state;
    static const uint8_t second[] = {1, 0, 1, 0, 1, 0}, sixth[] = {1, 1, 1, 1, 1, 0};
    static const uint8_t fourth[] = {1, 1, 1, 0, 1, 1};
#define HEADS .layers = 6, .hidden = 64, .heads = 4, .head_dim = 16, .context = 64
#define SLIDES(marks) .layer_slides = (marks), .layer_slides_count = 6
    static const struct {
        const char *arch, *told; /* NULL: nothing */
        struct uqff_config config;
    } cases[] = {
        {"llama", NULL, {HEADS, .sliding_window = 32}},
        {"gemma2", "query_pre_attn_scalar is 256, ", {HEADS}},
        {"gemma2", "query_pre_attn_scalar is 144, ", {HEADS, .query_scalar = 144}},
        {"gemma2", NULL, {HEADS, .query_scalar = 16, .sliding_window = 32}},
        {"gemma2", "which layers slide ", {HEADS, .query_scalar = 16, SLIDES(sixth)}},
        {"gemma2", NULL, {HEADS, .query_scalar = 16, SLIDES(second)}},
        /* The large ones: hidden by heads. */
        {"gemma2",
         NULL,
         {.layers = 46, .hidden = 4608, .heads = 32, .head_dim = 128, .query_scalar = 144}},
        {"gemma3_text",
         NULL,
         {.layers = 62, .hidden = 5376, .heads = 32, .head_dim = 128, .query_scalar = 168}},
        {"gemma3", NULL, {HEADS, .query_scalar = 16, SLIDES(sixth), .rope_local_theta = 10000}},
        {"gemma3", "which layers slide ", {HEADS, .query_scalar = 16, SLIDES(second)}},
        {"gemma3", "which layers slide ", {HEADS, .query_scalar = 16, .sliding_window_pattern = 5}},
        {"gemma3",
         "rope_local_base_freq is 20000, ",
         {HEADS, .query_scalar = 16, .rope_local_theta = 20000}},
        {"mistral", "the sliding window of 32 ", {HEADS, .sliding_window = 32}},
        {"mistral", NULL, {HEADS, .sliding_window = 64}},
        {"qwen2", NULL, {HEADS, .sliding_window = 32}},
        {"qwen2", "the sliding window ", {HEADS, .sliding_window = 32, .use_sliding_window = true}},
        {"qwen3_moe", "norm_topk_prob is false", {HEADS}},
        {"qwen3_moe", NULL, {HEADS, .normalize_experts = true}},
        {"smollm3", "which layers do without rope ", {HEADS, .no_rope_interval = 3}},
        {"smollm3", NULL, {HEADS, .layer_rotates = fourth, .layer_rotates_count = 6}},
    };
#undef SLIDES
#undef HEADS
    struct uqff_model *model = open_model(test_data("storyteller"));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct warnings warnings = {0};
        const struct uqff_warner warner = {take_warning, &warnings};
        struct gguf_plan gguf = {
            .arch = uqff_gguf_arch(uqff_arch_find(cases[i].arch)),
            .numbers = {.config = cases[i].config},
        };
        const struct uqff_pack_plan plan = {
            .model = model, .gguf = &gguf, .options = {.warner = &warner}};
        uqff_gguf_untold(&plan);
        const bool as_expected = cases[i].told == NULL
                                     ? warnings.count == 0
                                     : warnings.count == 1 && strstr(warnings.text, cases[i].told);
        if (!as_expected) {
            fail_msg("case %zu: found '%s', expected '%s'", i, warnings.text,
                     cases[i].told == NULL ? "" : cases[i].told);
        }
    }
    uqff_model_close(model);
}

static void warns_of_a_rule_without_a_name(void **state) {
    (void)state;
    struct warnings warnings = {0};
    const char *model = told_model("rule", "[abc]+|\\\\\\\\d");
    struct uqff_gguf *gguf = packed(model, NULL, 0, &warnings);
    is_text(gguf, "tokenizer.ggml.pre", "default");
    assert_non_null(strstr(warnings.text, "--set tokenizer.ggml.pre=NAME"));
    uqff_gguf_close(gguf);
    /* Who names it is not warned. */
    const struct uqff_metadata_pair pair = {"tokenizer.ggml.pre", "qwen2"};
    warnings = (struct warnings){0};
    gguf = packed(model, &pair, 1, &warnings);
    is_text(gguf, "tokenizer.ggml.pre", "qwen2");
    assert_null(strstr(warnings.text, "tokenizer.ggml.pre"));
    uqff_gguf_close(gguf);
}

/* ---- from a GGUF ----------------------------------------------------------------------------- */

static void keeps_the_metadata_of_a_gguf(void **state) {
    (void)state;
    char source[512], output[512];
    struct uqff_error err;
    const char *q4 = "q4_0";
    const char *model = told_model("origin", LLAMA3_RULE);
    const struct uqff_metadata_pair own = {"custom.key", "u64:18446744073709551615"};
    struct uqff_gguf *first = packed(model, &own, 1, NULL), *second = NULL;
    snprintf(source, sizeof source, "%s", scratch_file("metadata.gguf"));
    snprintf(output, sizeof output, "%s", scratch_file("kept.gguf"));
    struct uqff_pack_options options = pack_options(output, &q4, 1);
    const struct uqff_metadata_pair pair = {"general.name", "Other"};
    options.format = UQFF_PACK_GGUF;
    options.allow_requantize = true;
    options.metadata = &pair;
    options.metadata_count = 1;
    pack(source, &options);
    assert_ok(uqff_gguf_open_path(output, NULL, &second, &err), &err);
    /* The same keys in their order, and behind them what was set. */
    size_t count = uqff_gguf_kv_count(first);
    assert_int_equal(uqff_gguf_kv_count(second), count);
    assert_int_equal(place_of(second, "general.quantization_version"), count - 3);
    assert_int_equal(place_of(second, "general.file_type"), count - 2);
    assert_int_equal(place_of(second, "general.name"), count - 1);
    is_count(second, "general.file_type", 2);
    is_text(second, "general.name", "Other");
    assert_true(value_of(second, "custom.key", UQFF_GGUF_U64)->as.u == UINT64_MAX);
    for (size_t i = 0, k = 0; i < count; i++) {
        const char *key = uqff_gguf_key(first, i);
        if (strcmp(key, "general.quantization_version") != 0 &&
            strcmp(key, "general.file_type") != 0 && strcmp(key, "general.name") != 0) {
            assert_string_equal(uqff_gguf_key(second, k++), key);
        }
    }
    uqff_gguf_close(first);
    uqff_gguf_close(second);
}

static void names_the_importance_matrix(void **state) {
    (void)state;
    char output[512];
    struct uqff_error err;
    struct uqff_gguf *gguf = NULL;
    const char *q4 = "q4_k_m";
    snprintf(output, sizeof output, "%s", scratch_file("important.gguf"));
    struct uqff_pack_options options = pack_options(output, &q4, 1);
    options.format = UQFF_PACK_GGUF;
    options.imatrix = test_data("storyteller/imatrix.gguf");
    pack(test_data("storyteller"), &options);
    assert_ok(uqff_gguf_open_path(output, NULL, &gguf, &err), &err);
    is_text(gguf, "quantize.imatrix.file", "imatrix.gguf");
    is_text(gguf, "quantize.imatrix.dataset", "calibration.txt");
    is_count(gguf, "quantize.imatrix.entries_count", 28);
    is_count(gguf, "quantize.imatrix.chunks_count", 102);
    uqff_gguf_close(gguf);
}

/* ---- from the user --------------------------------------------------------------------------- */

static void sets_values_of_every_type(void **state) {
    (void)state;
    static const struct uqff_metadata_pair pairs[] = {
        {"a.u8", "u8:255"},
        {"a.i8", "i8:-128"},
        {"a.u64", "u64:18446744073709551615"},
        {"a.i64", "i64:-9223372036854775808"},
        {"a.f32", "f32:1e-5"},
        {"a.f64", "f64:0.1"},
        {"a.bool", "bool:true"},
        {"a.text", "str:7"},
        {"a.url", "ipfs://x:1"},
        {"a.guess", "7"},
        {"a.negative", "-7"},
        {"a.real", "0.5"},
        {"a.truth", "false"},
        {"a.int", "int:8"},
        {"a.empty", ""},
        {"general.version", "2"},
        {"qwen2.context_length", "4096"},
        {"qwen2.rope.freq_base", "5000"},
        {"tokenizer.ggml.add_bos_token", "false"},
    };
    const char *model = told_model("values", LLAMA3_RULE);
    struct uqff_gguf *gguf = packed(model, pairs, COUNT(pairs), NULL);
    assert_int_equal(value_of(gguf, "a.u8", UQFF_GGUF_U8)->as.u, 255);
    assert_int_equal(value_of(gguf, "a.i8", UQFF_GGUF_I8)->as.i, -128);
    assert_true(value_of(gguf, "a.u64", UQFF_GGUF_U64)->as.u == UINT64_MAX);
    assert_true(value_of(gguf, "a.i64", UQFF_GGUF_I64)->as.i == INT64_MIN);
    assert_true(value_of(gguf, "a.f32", UQFF_GGUF_F32)->as.f == 1e-5f);
    assert_true(value_of(gguf, "a.f64", UQFF_GGUF_F64)->as.f == 0.1);
    assert_int_equal(value_of(gguf, "a.bool", UQFF_GGUF_BOOL)->as.u, 1);
    is_text(gguf, "a.text", "7");
    is_text(gguf, "a.url", "ipfs://x:1");
    is_count(gguf, "a.guess", 7);
    assert_int_equal(value_of(gguf, "a.negative", UQFF_GGUF_I32)->as.i, -7);
    assert_true(value_of(gguf, "a.real", UQFF_GGUF_F32)->as.f == 0.5);
    assert_int_equal(value_of(gguf, "a.truth", UQFF_GGUF_BOOL)->as.u, 0);
    is_count(gguf, "a.int", 8);
    is_text(gguf, "a.empty", "");
    is_text(gguf, "general.version", "2");
    is_count(gguf, "qwen2.context_length", 4096);
    assert_true(value_of(gguf, "qwen2.rope.freq_base", UQFF_GGUF_F32)->as.f == 5000);
    assert_int_equal(value_of(gguf, "tokenizer.ggml.add_bos_token", UQFF_GGUF_BOOL)->as.u, 0);
    uqff_gguf_close(gguf);
}

static void refuses_values_that_do_not_fit(void **state) {
    (void)state;
    static const struct uqff_metadata_pair cases[] = {
        {"a", "u8:256"},
        {"a", "u8:-1"},
        {"a", "i8:128"},
        {"a", "u64:18446744073709551616"},
        {"a", "i64:-9223372036854775809"},
        {"a", "u32:1.5"},
        {"a", "u32:"},
        {"a", "u32:0x10"},
        {"a", "f32:1e39"},
        {"a", "f32:nan"},
        {"a", "bool:1"},
        {"tokenizer.ggml.tokens", "x"},
        {"qwen2.block_count", "many"},
        {"general.architecture", "llama"},
        {"general.alignment", "64"},
        {"split.count", "2"},
        {"", "x"},
    };
    struct uqff_error err;
    const char *q8 = "q8_0";
    char output[512];
    snprintf(output, sizeof output, "%s", scratch_file("unset.gguf"));
    struct uqff_model *model = open_model(told_model("misfits", LLAMA3_RULE));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct uqff_pack_options options = pack_options(output, &q8, 1);
        options.format = UQFF_PACK_GGUF;
        options.metadata = &cases[i];
        options.metadata_count = 1;
        enum uqff_code code = try_pack(model, &options, &err);
        if (uqff_code_family(code) != UQFF_FAMILY_USAGE) {
            fail_msg("%s=%s: %s", cases[i].key, cases[i].value, uqff_code_name(code));
        }
        assert_non_null(strstr(err.text, cases[i].key));
    }
    uqff_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_names_apart),
        cmocka_unit_test(rounds_sizes_as_converters_do),
        cmocka_unit_test(reads_what_is_simple_in_a_card),
        cmocka_unit_test(tells_what_side_files_tell),
        cmocka_unit_test(tells_the_tokenizer),
        cmocka_unit_test(warns_of_what_a_gguf_cannot_tell),
        cmocka_unit_test(warns_of_a_rule_without_a_name),
        cmocka_unit_test(keeps_the_metadata_of_a_gguf),
        cmocka_unit_test(names_the_importance_matrix),
        cmocka_unit_test(sets_values_of_every_type),
        cmocka_unit_test(refuses_values_that_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
