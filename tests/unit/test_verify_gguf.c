/* What llama.cpp demands of GGUF files. */
#include "unit/test_gguf_builder.h"
#include "uqff/pack.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char found[8192];

static void note_finding(void *context, enum uqff_severity severity, const char *code,
                         const char *text) {
    static const char *const names[] = {"note", "warning", "failure"};
    (void)context;
    const size_t used = strlen(found);
    snprintf(found + used, sizeof found - used, "%s %s: %s\n", names[severity], code, text);
}

static bool verify(const char *path, const struct uqff_verify_options *options) {
    struct uqff_error err;
    const struct uqff_findings sink = {note_finding, NULL};
    bool passed = false;
    found[0] = '\0';
    assert_ok(uqff_verify(path, options, &sink, NULL, &passed, &err), &err);
    return passed;
}

#define LLAMACPP                                                                                   \
    &(const struct uqff_verify_options) {                                                          \
        .target = UQFF_TARGET_LLAMACPP                                                             \
    }

#define assert_told(part)                                                                          \
    do {                                                                                           \
        if (strstr(found, (part)) == NULL) {                                                       \
            fail_msg("'%s' is not among:\n%s", (part), found);                                     \
        }                                                                                          \
    } while (0)

enum { KEYS = 5 };

/* The keys that a loader asks for. */
static void put_model_keys(struct builder *b, uint32_t blocks) {
    put_key(b, "general.architecture", UQFF_GGUF_STRING);
    put_string(b, "llama");
    put_key_u32(b, "llama.context_length", 64);
    put_key_u32(b, "llama.embedding_length", 32);
    put_key_u32(b, "llama.block_count", blocks);
    put_key(b, "tokenizer.ggml.model", UQFF_GGUF_STRING);
    put_string(b, "llama");
}

static const char *write_built(struct builder *b) {
    const char *path = scratch_file("built.gguf");
    write_file(path, b->bytes, b->size);
    free(b->bytes);
    *b = (struct builder){0};
    return path;
}

/* A Llama of one block, one byte of whose text is a token. What a test leaves out or changes. */
struct defects {
    const char *without_key, *without_tensor;
    const char *extra; /* one tensor more */
    const char *model; /* of the tokenizer; NULL: llama */
    uint64_t rows;     /* of the embedding; 0: as many as tokens */
    uint64_t width;    /* of the embedding; 0: as it should be */
    uint32_t scores;   /* 0: as many as tokens */
    uint32_t type;     /* of the embedding */
    uint32_t experts;
};

enum { TOKENS = 4, WIDTH = 32 };

struct made_tensor {
    const char *name;
    unsigned n_dims;
    uint64_t ne[2];
};

static bool keeps(const char *left_out, const char *name) {
    return left_out == NULL || strcmp(left_out, name) != 0;
}

static uint64_t put_made_keys(struct builder *b, const struct defects *defects, bool count_only) {
    static const char *const numbers[] = {"llama.context_length", "llama.embedding_length",
                                          "llama.block_count", "llama.attention.head_count"};
    static const uint32_t values[] = {64, WIDTH, 1, 4};
    const char *left_out = defects->without_key;
    uint64_t count = 0;
#define KEY(key_, kind_)                                                                           \
    if (keeps(left_out, (key_)) && ++count > 0 && !count_only &&                                   \
        (put_key(b, (key_), (kind_)), true))
    KEY("general.architecture", UQFF_GGUF_STRING) {
        put_string(b, "llama");
    }
    for (size_t i = 0; i < COUNT(numbers); i++) {
        KEY(numbers[i], UQFF_GGUF_U32) {
            put_u32(b, values[i]);
        }
    }
    KEY("llama.attention.layer_norm_rms_epsilon", UQFF_GGUF_F32) {
        put_u32(b, 0x3727c5ac);
    }
    if (defects->experts > 0) {
        KEY("llama.expert_count", UQFF_GGUF_U32) {
            put_u32(b, defects->experts);
        }
    }
    KEY("tokenizer.ggml.model", UQFF_GGUF_STRING) {
        put_string(b, defects->model != NULL ? defects->model : "llama");
    }
    KEY("tokenizer.ggml.tokens", UQFF_GGUF_ARRAY) {
        put_array(b, UQFF_GGUF_STRING, TOKENS);
        for (int i = 0; i < TOKENS; i++) {
            put_string(b, i == 0 ? "a" : i == 1 ? "b" : i == 2 ? "c" : "d");
        }
    }
    uint32_t scores = defects->scores != 0 ? defects->scores : TOKENS;
    KEY("tokenizer.ggml.scores", UQFF_GGUF_ARRAY) {
        put_array(b, UQFF_GGUF_F32, scores);
        for (uint32_t i = 0; i < scores; i++) {
            put_u32(b, 0);
        }
    }
#undef KEY
    return count;
}

static const char *made_file(const struct defects *defects) {
    const struct made_tensor tensors[] = {
        {"token_embd.weight",
         2,
         {defects->width != 0 ? defects->width : WIDTH,
          defects->rows != 0 ? defects->rows : TOKENS}},
        {"output_norm.weight", 1, {WIDTH}},
        {"blk.0.attn_norm.weight", 1, {WIDTH}},
        {"blk.0.attn_q.weight", 2, {WIDTH, WIDTH}},
        {"blk.0.attn_k.weight", 2, {WIDTH, WIDTH}},
        {"blk.0.attn_v.weight", 2, {WIDTH, WIDTH}},
        {"blk.0.attn_output.weight", 2, {WIDTH, WIDTH}},
        {"blk.0.ffn_norm.weight", 1, {WIDTH}},
        {"blk.0.ffn_gate.weight", 2, {WIDTH, WIDTH}},
        {"blk.0.ffn_up.weight", 2, {WIDTH, WIDTH}},
        {"blk.0.ffn_down.weight", 2, {WIDTH, WIDTH}},
        {defects->extra, 1, {WIDTH}},
    };
    uint64_t count = 0, offset = 0;
    for (size_t i = 0; i < COUNT(tensors); i++) {
        count += tensors[i].name != NULL && keeps(defects->without_tensor, tensors[i].name);
    }
    struct builder b = begin(3, false, count, put_made_keys(NULL, defects, true));
    put_made_keys(&b, defects, false);
    for (size_t i = 0; i < COUNT(tensors); i++) {
        if (tensors[i].name != NULL && keeps(defects->without_tensor, tensors[i].name)) {
            struct uqff_error err;
            uint32_t type = i == 0 ? defects->type : UQFF_TYPE_F32;
            uint64_t elements = tensors[i].ne[0] * (tensors[i].n_dims > 1 ? tensors[i].ne[1] : 1);
            uint64_t bytes = 0;
            assert_ok(uqff_row_bytes(type, elements, &bytes, &err), &err);
            put_info(&b, tensors[i].name, tensors[i].n_dims, tensors[i].ne, type, offset);
            offset += (bytes + 31) / 32 * 32;
        }
    }
    put_pad(&b, 32);
    const size_t start = b.size;
    put_zeros(&b, (size_t)offset);
    memset(b.bytes + start, 0x3f, (size_t)offset); /* a weight, whatever the type */
    return write_built(&b);
}

static const char *sound_file(void) {
    return made_file(&(struct defects){0});
}

/* What the loader asks for by name, and the vocabulary. */
static void test_loader(void **state) {
    (void)state;
    static const struct {
        struct defects defects;
        const char *told;
    } cases[] = {
        {{.without_key = "llama.attention.head_count"},
         "failure key: %s: 'llama.attention.head_count' is missing\n"},
        {{.without_key = "llama.attention.layer_norm_rms_epsilon"},
         "failure key: %s: 'llama.attention.layer_norm_rms_epsilon' is missing\n"},
        {{.without_tensor = "blk.0.ffn_up.weight"},
         "failure tensors: %s: there is no tensor 'blk.0.ffn_up.weight'\n"},
        {{.without_tensor = "output_norm.weight"},
         "failure tensors: %s: there is no tensor 'output_norm.weight'\n"},
        {{.without_tensor = "blk.0.attn_k.weight", .extra = "blk.0.attn_qkv.bias"},
         "failure tensors: %s: there is no tensor 'blk.0.attn_k.weight'\n"
         "warning tensors: %s: tensor 'blk.0.attn_qkv.bias' is none that the architecture 'llama' "
         "has; llama.cpp refuses a file with tensors that it does not ask for\n"},
        {{.extra = "blk.1.attn_norm.weight"},
         "failure tensors: %s: tensor 'blk.1.attn_norm.weight': found block 1, expected fewer than "
         "1\n"},
        {{.rows = 5},
         "failure vocabulary: %s: tensor 'token_embd.weight': found 5 rows, expected 4: one for "
         "each of tokenizer.ggml.tokens\n"},
        {{.width = 64},
         "failure shape: %s: tensor 'token_embd.weight': found rows of 64, expected 32\n"},
        {{.scores = 3},
         "failure vocabulary: %s: 'tokenizer.ggml.scores': found 3 elements, expected 4\n"},
        {{.without_key = "tokenizer.ggml.tokens"},
         "failure tokenizer: %s: 'tokenizer.ggml.tokens' is missing\n"},
        {{.without_key = "tokenizer.ggml.tokens", .model = "none"}, ""},
        {{.model = "gpt2"},
         "failure tokenizer: %s: 'tokenizer.ggml.merges' is missing\n"
         "warning tokenizer: %s: 'tokenizer.ggml.pre' is missing: llama.cpp splits text by a rule "
         "that may not be the model's\n"},
        {{.type = UQFF_TYPE_Q8_1},
         "failure type: %s: tensor 'token_embd.weight': Q8_1, which llama.cpp has for activations "
         "only and cannot compute with as a weight\n"},
        {{.experts = 2},
         "failure key: %s: 'llama.expert_used_count' is missing\n"
         "failure tensors: %s: there is no tensor 'blk.0.ffn_gate_inp.weight'\n"
         "failure tensors: %s: there is no tensor 'blk.0.ffn_gate_exps.weight'\n"
         "failure tensors: %s: there is no tensor 'blk.0.ffn_up_exps.weight'\n"
         "failure tensors: %s: there is no tensor 'blk.0.ffn_down_exps.weight'\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *path = made_file(&cases[i].defects);
        char told[4096];
        snprintf(told, sizeof told, cases[i].told, path, path, path, path, path);
        const bool fails = strstr(told, "failure") != NULL;
        assert_int_equal(verify(path, LLAMACPP), !fails);
        /* Without its experts a mixture has dense weights too many, three of them. */
        const size_t n = cases[i].defects.experts > 0 ? strlen(told) : sizeof found;
        if (strncmp(found, told, n) != 0) {
            fail_msg("found:\n%s\nexpected:\n%s", found, told);
        }
    }
}

static void test_sound(void **state) {
    (void)state;
    const char *path = sound_file();
    assert_true(verify(path, LLAMACPP));
    assert_string_equal(found, "");
    assert_true(verify(path, &(struct uqff_verify_options){.strict = true}));
    /* Its directory holds this file alone, and no UQFF. */
    assert_false(verify(path, &(struct uqff_verify_options){.target = UQFF_TARGET_MISTRALRS}));
    assert_told("failure target:");
}

static void test_real(void **state) {
    (void)state;
    if (extra_data("models") == NULL) {
        skip();
    }
    struct uqff_arena arena = {0};
    struct uqff_error err;
    const char **names = NULL;
    size_t count = 0, seen = 0;
    const char *directory = extra_data("models/stories260K/gguf");
    assert_ok(uqff_list_directory(directory, &arena, &names, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", extra_data("models/stories260K/gguf"), names[i]);
        const size_t n = strlen(names[i]);
        if (n < 5 || strcmp(names[i] + n - 5, ".gguf") != 0) {
            continue;
        }
        if (!verify(path, LLAMACPP)) {
            fail_msg("%s:\n%s", path, found);
        }
        seen++;
    }
    assert_true(seen > 0);
    uqff_arena_free(&arena);
}

static void test_layout(void **state) {
    (void)state;
    /* Infos against the order of their data. */
    struct builder b = begin(3, false, 2, KEYS);
    put_model_keys(&b, 1);
    put_row(&b, "blk.0.attn_norm.weight", 32, UQFF_TYPE_F32, 128);
    put_row(&b, "token_embd.weight", 32, UQFF_TYPE_F32, 0);
    put_pad(&b, 32);
    put_zeros(&b, 256);
    const char *path = write_built(&b);
    assert_true(verify(path, NULL));
    assert_told("warning format:");
    assert_false(verify(path, &(struct uqff_verify_options){.strict = true}));
    assert_false(verify(path, LLAMACPP));
    assert_told("failure layout: ");

    /* The last tensor without its padding. */
    b = begin(3, false, 1, KEYS);
    put_model_keys(&b, 0);
    put_row(&b, "token_embd.weight", 3, UQFF_TYPE_F32, 0);
    put_pad(&b, 32);
    put_zeros(&b, 12);
    assert_false(verify(write_built(&b), LLAMACPP));
    assert_told("expected padding up to byte");
}

static void test_names_and_types(void **state) {
    (void)state;
    static const char longest[] =
        "blk.0.abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz.weight";
    assert_int_equal(sizeof longest - 1, 66);
    struct builder b = begin(3, false, 2, KEYS + 1);
    put_model_keys(&b, 1);
    put_key(&b, "nested", UQFF_GGUF_ARRAY);
    put_array(&b, UQFF_GGUF_ARRAY, 1);
    put_array(&b, UQFF_GGUF_U8, 1);
    put_u8(&b, 7);
    put_row(&b, "token_embd.weight", 32, UQFF_TYPE_F32, 0);
    put_row(&b, longest + 2, 32, UQFF_TYPE_F32, 128);
    put_pad(&b, 32);
    put_zeros(&b, 256);
    assert_false(verify(write_built(&b), LLAMACPP));
    assert_told("failure nested-array: ");
    assert_told("a name of 64 bytes, expected at most 63");
    assert_told("block 0 of 1 has no tensor");
}

static void test_keys(void **state) {
    (void)state;
    struct builder b = begin(3, false, 0, 0);
    assert_false(verify(write_built(&b), LLAMACPP));
    assert_told("failure architecture: ");

    b = begin(3, false, 0, 3);
    put_key(&b, "general.architecture", UQFF_GGUF_STRING);
    put_string(&b, "quux");
    put_key_u32(&b, "quux.block_count", UINT32_MAX);
    put_key(&b, "quux.context_length", UQFF_GGUF_STRING);
    put_string(&b, "long");
    assert_false(verify(write_built(&b), LLAMACPP));
    assert_told("warning architecture: ");
    assert_told("failure key: ");
    assert_told("'quux.embedding_length' is missing");
    assert_told("4294967295 blocks, but only 0 tensors");
    assert_told("no tensor 'token_embd.weight'");
    assert_told("'tokenizer.ggml.model' is missing");

    b = begin(3, false, 0, 1);
    put_key(&b, "general.type", UQFF_GGUF_STRING);
    put_string(&b, "imatrix");
    assert_false(verify(write_built(&b), LLAMACPP));
    assert_told("failure not-a-model: ");
}

static void test_byte_order_and_version(void **state) {
    (void)state;
    struct builder b = begin(3, true, 0, KEYS);
    put_model_keys(&b, 0);
    const char *path = write_built(&b);
    assert_true(verify(path, NULL));
    assert_told("note big-endian: ");
    assert_false(verify(path, LLAMACPP));
    assert_told("failure big-endian: ");
    b = begin(1, false, 0, KEYS);
    put_model_keys(&b, 0);
    assert_false(verify(write_built(&b), LLAMACPP));
    assert_told("GGUF version 1, expected 2 or 3");
}

/* Scales and zeros of blocks. */
static void test_blocks(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        uint64_t bytes, scale; /* of a block, and where a stored float lies in it */
    } types[] = {{UQFF_TYPE_Q4_0, 18, 0},  {UQFF_TYPE_Q4_1, 20, 2},    {UQFF_TYPE_Q8_1, 36, 0},
                 {UQFF_TYPE_Q2_K, 84, 82}, {UQFF_TYPE_Q3_K, 110, 108}, {UQFF_TYPE_Q6_K, 210, 208},
                 {UQFF_TYPE_TQ1_0, 54, 52}};
    for (size_t i = 0; i < COUNT(types); i++) {
        const uint64_t length = uqff_type_info(types[i].type)->block_length;
        const uint64_t ne[2] = {2 * length, 1024};
        const uint64_t n = 2048 * types[i].bytes;
        struct builder b = begin(3, false, 1, 0);
        put_info(&b, "w", 2, ne, types[i].type, 0);
        put_pad(&b, 32);
        const size_t start = b.size;
        put_zeros(&b, (size_t)n);
        put_pad(&b, 32);
        const char *path = scratch_file("blocks.gguf");
        write_file(path, b.bytes, b.size);
        assert_true(verify(path, NULL));
        assert_told("note zero: ");
        /* Block 1500: infinity. */
        uqff_store_le16(b.bytes + start + 1500 * types[i].bytes + types[i].scale, 0x7c00);
        write_file(path, b.bytes, b.size);
        assert_false(verify(path, NULL));
        assert_told("failure nonfinite-scale: ");
        assert_told("tensor 'w': block 1500 ");
        free(b.bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_loader),
        cmocka_unit_test(test_real),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_names_and_types),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_byte_order_and_version),
        cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
