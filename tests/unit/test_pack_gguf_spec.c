/* spec/gguf-models.md: its tables of names and keys are those of the code, and its numbers what is
 * written. */
#include "model/internal.h"
#include "pack/gguf.h"

#include "test_pack_support.h"

static const char *const architectures[] = {
    "llama",     "mistral", "mixtral", "smollm3",     "qwen2",  "qwen3",
    "qwen3_moe", "gemma",   "gemma2",  "gemma3_text", "gemma3", "phi3",
};

/* The page, with a NUL behind it. */
static char *read_page(void) {
    size_t size = 0;
    char *bytes = read_file(UQFF_TESTDATA "/../spec/gguf-models.md", &size);
    char *page = calloc(1, size + 1);
    memcpy(page, bytes, size);
    free(bytes);
    return page;
}

/* The `n`-th cell of a row of a table; false when it has fewer. */
static bool cell(const char *row, size_t n, char *out, size_t room) {
    const char *begin = row;
    for (size_t i = 0; i <= n; i++) {
        begin = strchr(begin, '|');
        if (begin == NULL || begin[1] == '\n' || begin[1] == '\0') {
            return false;
        }
        begin++;
    }
    size_t length = strcspn(begin, "|\n");
    assert_true(length < room);
    memcpy(out, begin, length);
    out[length] = '\0';
    return true;
}

/* The next `quoted` word of a cell. */
static bool word(const char **text, char *out, size_t room) {
    const char *begin = strchr(*text, '`');
    const char *end = begin == NULL ? NULL : strchr(begin + 1, '`');
    if (end == NULL) {
        return false;
    }
    assert_true((size_t)(end - begin) <= room);
    memcpy(out, begin + 1, (size_t)(end - begin - 1));
    out[end - begin - 1] = '\0';
    *text = end + 1;
    return true;
}

/* "all", "all but `a`, `b`", "`a`, `b`", perhaps with a condition behind. */
static bool concerns(const char *who, const char *architecture) {
    char name[64];
    bool named = false, all = strstr(who, "all") != NULL;
    for (const char *at = who; word(&at, name, sizeof name);) {
        named = named || strcmp(name, architecture) == 0;
    }
    return all ? !named : named;
}

static const char *table_behind(const char *page, const char *heading) {
    const char *at = strstr(page, heading);
    assert_non_null(at);
    at = strstr(at, "\n|---");
    assert_non_null(at);
    return strchr(at + 1, '\n') + 1;
}

/* "N" becomes 7. */
static void with_layer(const char *pattern, char *out, size_t room) {
    const char *hole = strstr(pattern, ".N.");
    if (hole == NULL) {
        snprintf(out, room, "%s", pattern);
    } else {
        snprintf(out, room, "%.*s.7.%s", (int)(hole - pattern), pattern, hole + 3);
    }
}

static bool requires(const struct gguf_arch *arch, const char *name) {
    for (const char *const *pattern = arch->required; *pattern != NULL; pattern++) {
        char expected[128];
        const char *hole = strstr(*pattern, "{}");
        if (hole == NULL) {
            snprintf(expected, sizeof expected, "%s", *pattern);
        } else {
            snprintf(expected, sizeof expected, "%.*s7%s", (int)(hole - *pattern), *pattern,
                     hole + 2);
        }
        if (strcmp(expected, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Each name of the table becomes the other, and is demanded; nothing else is demanded but what the
 * page says of experts and of Qwen 2's biases. */
static void names_are_those_of_the_page(void **state) {
    (void)state;
    struct uqff_arena arena = {0};
    char *page = read_page(), from[128], to[128], hf[128], gguf[128], who[256];
    for (size_t i = 0; i < COUNT(architectures); i++) {
        const struct uqff_arch *arch = uqff_arch_find(architectures[i]);
        const struct gguf_arch *row = uqff_gguf_arch(arch);
        size_t known = 0, required = 0;
        assert_non_null(row);
        for (const char *line = table_behind(page, "### 2.1"); *line == '|';
             line = strchr(line, '\n') + 1) {
            const char *at = from, *then = to;
            struct rule_match match;
            assert_true(cell(line, 0, from, sizeof from) && cell(line, 1, to, sizeof to) &&
                        cell(line, 2, who, sizeof who));
            assert_true(word(&at, hf, sizeof hf) && word(&then, gguf, sizeof gguf));
            with_layer(hf, from, sizeof from);
            with_layer(gguf, to, sizeof to);
            if (!concerns(who, architectures[i])) {
                continue;
            }
            if (!uqff_model_match_hf(arch, from, &match)) {
                fail_msg("%s: no rule for '%s'", architectures[i], from);
            }
            const char *ending = match.rule->kind == RULE_RESIDUAL ? "" : ".weight";
            assert_string_equal(uqff_model_expand(&arena, match.rule->gguf, &match, ending), to);
            known++;
            if (strcmp(to, "output.weight") != 0 && !requires(row, to)) {
                fail_msg("%s: '%s' is not demanded", architectures[i], to);
            }
        }
        while (row->required[required] != NULL) {
            required++;
        }
        bool experts = requires(row, "blk.7.ffn_up_exps.weight");
        bool biases = requires(row, "blk.7.attn_q.bias");
        assert_int_equal(required, known - 1 + (experts ? 3 : 0) + (biases ? 3 : 0));
    }
    uqff_arena_free(&arena);
    free(page);
}

/* Appends the keys of a list as the page writes them. */
static void render(const struct gguf_key *keys, char *out, size_t room) {
    for (; keys->kind != GGUF_KEY_END; keys++) {
        size_t used = strlen(out);
        if (keys->kind == GGUF_KEY_INCLUDE) {
            render(keys->list, out, room);
        } else {
            const char *space = used > 0 ? " " : "";
            snprintf(out + used, room - used,
                     keys->kind == GGUF_KEY_ROPE_SCALING ? "%s*scaling*"
                     : keys->kind == GGUF_KEY_FILE_TYPE  ? "%s*type*"
                                                         : "%s`%s`",
                     space, keys->name);
        }
    }
}

static void keys_are_those_of_the_page(void **state) {
    (void)state;
    char *page = read_page();
    char who[256], keys[2048], found[2048];
    for (size_t i = 0; i < COUNT(architectures); i++) {
        bool listed = false;
        found[0] = '\0';
        render(uqff_gguf_arch(uqff_arch_find(architectures[i]))->keys, found, sizeof found);
        for (const char *line = table_behind(page, "Keys of the hyper-parameters"); *line == '|';
             line = strchr(line, '\n') + 1) {
            assert_true(cell(line, 0, who, sizeof who) && cell(line, 1, keys, sizeof keys));
            if (concerns(who, architectures[i])) {
                listed = true;
                assert_int_equal(keys[strlen(keys) - 1], ' ');
                keys[strlen(keys) - 1] = '\0';
                assert_string_equal(keys + 1, found);
            }
        }
        assert_true(listed);
    }
    free(page);
}

static const struct tiny_tensor one_head[] = {
    {"model.embed_tokens.weight", UQFF_DTYPE_BF16, 2, {24, 64}},
    {"model.norm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.input_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.post_attention_layernorm.weight", UQFF_DTYPE_BF16, 1, {64}},
    {"model.layers.0.self_attn.q_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.k_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.v_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.self_attn.o_proj.weight", UQFF_DTYPE_BF16, 2, {64, 64}},
    {"model.layers.0.mlp.gate_proj.weight", UQFF_DTYPE_BF16, 2, {128, 64}},
    {"model.layers.0.mlp.up_proj.weight", UQFF_DTYPE_BF16, 2, {128, 64}},
    {"model.layers.0.mlp.down_proj.weight", UQFF_DTYPE_BF16, 2, {64, 128}},
};

static const char one_head_config[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":64,"
    "\"intermediate_size\":128,\"num_hidden_layers\":1,\"num_attention_heads\":1,"
    "\"num_key_value_heads\":1,\"head_dim\":64,\"vocab_size\":24,\"tie_word_embeddings\":true,"
    "\"max_position_embeddings\":131072,\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":32.0,"
    "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
    "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}}";

static void factors_are_those_of_the_page(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_gguf *gguf = NULL;
    char *page = read_page(), path[512];
    const char *f16 = "f16", *at = strstr(page, "the 32 values are");
    const char *model =
        tiny_model("one", "LlamaForCausalLM", "llama", one_head, COUNT(one_head), NULL, 0);
    snprintf(path, sizeof path, "%s/config.json", model);
    write_file(path, one_head_config, sizeof one_head_config - 1);
    snprintf(path, sizeof path, "%s", scratch_file("one.gguf"));
    struct uqff_pack_options options = pack_options(path, &f16, 1);
    options.format = UQFF_PACK_GGUF;
    options.no_tokenizer = true;
    pack(model, &options);
    assert_ok(uqff_gguf_open_path(path, NULL, &gguf, &err), &err);
    const struct uqff_gguf_tensor *tensor = uqff_gguf_find_tensor(gguf, "rope_freqs.weight");
    unsigned char bytes[128];
    assert_true(tensor != NULL && tensor->bytes == sizeof bytes);
    assert_ok(
        uqff_source_read(uqff_gguf_source(gguf, 0), tensor->offset, bytes, sizeof bytes, &err),
        &err);
    assert_non_null(at);
    at = strchr(strstr(at, "```"), '\n');
    for (size_t i = 0; i < 32; i++) {
        char *end = NULL;
        float expected = strtof(at, &end), found;
        uint32_t bits = uqff_load_le32(bytes + 4 * i);
        memcpy(&found, &bits, sizeof found);
        assert_true(end != at);
        assert_true(found == expected);
        at = end;
    }
    uqff_gguf_close(gguf);
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_the_page),
        cmocka_unit_test(keys_are_those_of_the_page),
        cmocka_unit_test(factors_are_those_of_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
