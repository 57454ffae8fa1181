/* Vocabularies from GGUF metadata and tokenizer.model: sound ones, broken ones, the malformed
 * corpus. */
#include "model/vocabulary.h"
#include "test_gguf_builder.h"
#include "uqff/validation.h"

#include <math.h>

/* ---- GGUF ------------------------------------------------------------------------------------ */

/* What a file of the tests has; a NULL or 0 is left out. */
struct file {
    const char *model, *pre;
    const char *const *tokens;
    uint64_t token_count;
    const float *scores;
    uint64_t score_count;
    const int32_t *types;
    uint64_t type_count;
    const char *const *merges;
    uint64_t merge_count;
    const char *id_key;
    uint32_t id;
    const char *flag_key;
    bool flag;
    const char *template;
    uint64_t rows; /* of token_embd.weight */
};

static void put_strings(struct builder *b, const char *key, const char *const *strings,
                        uint64_t count) {
    put_key(b, key, UQFF_GGUF_ARRAY);
    put_array(b, UQFF_GGUF_STRING, count);
    for (uint64_t i = 0; i < count; i++) {
        put_string(b, strings[i]);
    }
}

static void put_text(struct builder *b, const char *key, const char *text) {
    put_key(b, key, UQFF_GGUF_STRING);
    put_string(b, text);
}

static void put_keys(struct builder *b, const struct file *f) {
    if (f->model != NULL) {
        put_text(b, "tokenizer.ggml.model", f->model);
    }
    if (f->pre != NULL) {
        put_text(b, "tokenizer.ggml.pre", f->pre);
    }
    if (f->tokens != NULL) {
        put_strings(b, "tokenizer.ggml.tokens", f->tokens, f->token_count);
    }
    if (f->scores != NULL) {
        put_key(b, "tokenizer.ggml.scores", UQFF_GGUF_ARRAY);
        put_array(b, UQFF_GGUF_F32, f->score_count);
        for (uint64_t i = 0; i < f->score_count; i++) {
            put_f32(b, f->scores[i]);
        }
    }
    if (f->types != NULL) {
        put_key(b, "tokenizer.ggml.token_type", UQFF_GGUF_ARRAY);
        put_array(b, UQFF_GGUF_I32, f->type_count);
        for (uint64_t i = 0; i < f->type_count; i++) {
            put_u32(b, (uint32_t)f->types[i]);
        }
    }
    if (f->merges != NULL) {
        put_strings(b, "tokenizer.ggml.merges", f->merges, f->merge_count);
    }
    if (f->id_key != NULL) {
        put_key_u32(b, f->id_key, f->id);
    }
    if (f->flag_key != NULL) {
        put_key(b, f->flag_key, UQFF_GGUF_BOOL);
        put_u8(b, f->flag);
    }
    if (f->template != NULL) {
        put_text(b, "tokenizer.chat_template", f->template);
    }
}

static uint64_t count_keys(const struct file *f) {
    return (uint64_t)(f->model != NULL) + (f->pre != NULL) + (f->tokens != NULL) +
           (f->scores != NULL) + (f->types != NULL) + (f->merges != NULL) + (f->id_key != NULL) +
           (f->flag_key != NULL) + (f->template != NULL);
}

struct result {
    struct uqff_vocabulary *v;
    const struct uqff_vocabulary_info *info;
    struct warnings warnings;
    struct uqff_error err;
};

static enum uqff_code open_path(struct result *r, const char *path) {
    *r = (struct result){0};
    struct uqff_warner warner = {collect, &r->warnings};
    enum uqff_code code = uqff_vocabulary_open_path(path, &warner, &r->v, &r->err);
    r->info = code == UQFF_OK ? uqff_vocabulary_info(r->v) : NULL;
    return code;
}

static enum uqff_code open_file(struct result *r, const struct file *f) {
    struct builder b = begin(3, false, f->rows != 0, count_keys(f));
    const char *path = scratch_file("vocabulary.gguf");
    put_keys(&b, f);
    if (f->rows != 0) {
        uint64_t ne[] = {1, f->rows};
        put_info(&b, "token_embd.weight", 2, ne, UQFF_TYPE_F32, 0);
    }
    put_pad(&b, 32);
    put_zeros(&b, (size_t)(f->rows * 4));
    put_pad(&b, 32);
    write_file(path, b.bytes, b.size);
    free(b.bytes);
    return open_path(r, path);
}

static const char *const pieces[] = {"<unk>", "<s>", "</s>", "<0x41>", "a", "b", "ab", "<t>"};
static const float scores[] = {0, 0, 0, 0, -2, -3, -1, 0};
static const int32_t types[] = {2, 3, 3, 6, 1, 1, 1, 4};
static const struct file spm = {.model = "llama",
                                .tokens = pieces,
                                .token_count = 8,
                                .scores = scores,
                                .score_count = 8,
                                .types = types,
                                .type_count = 8};
static const char *const words[] = {"a", "b", "ab", "<|eot_id|>"};
static const char *const merges[] = {"a b"};
static const int32_t word_types[] = {1, 1, 1, 3};
static const struct file bpe = {.model = "gpt2",
                                .pre = "llama-bpe",
                                .tokens = words,
                                .token_count = 4,
                                .types = word_types,
                                .type_count = 4,
                                .merges = merges,
                                .merge_count = 1,
                                .id_key = "tokenizer.ggml.bos_token_id",
                                .id = 3};

static void test_sentencepiece_in_gguf(void **state) {
    struct result r;
    struct file f = spm;
    (void)state;
    assert_ok(open_file(&r, &f), &r.err);
    assert_int_equal(r.info->kind, UQFF_VOCABULARY_SPM);
    assert_string_equal(r.info->pre, "");
    assert_int_equal(r.info->bos, 1);
    assert_int_equal(r.info->eos, 2);
    assert_int_equal(r.info->unknown, 0);
    assert_true(r.info->add_bos && r.info->add_prefix_space && r.info->byte_fallback);
    assert_false(r.info->add_eos);
    assert_int_equal(uqff_vocabulary_token(r.v, 6).type, UQFF_TOKEN_NORMAL);
    assert_true(uqff_vocabulary_token(r.v, 6).score == -1.0f);
    assert_true(uqff_vocabulary_token(r.v, 7).added);
    assert_false(uqff_vocabulary_token(r.v, 3).added);
    uqff_vocabulary_close(r.v);
    f.id_key = "tokenizer.ggml.padding_token_id";
    f.id = 7;
    f.flag_key = "tokenizer.ggml.add_space_prefix";
    f.flag = false;
    f.template = "{{ x }}";
    f.rows = 8;
    assert_ok(open_file(&r, &f), &r.err);
    assert_int_equal(r.info->padding, 7);
    assert_false(r.info->add_prefix_space);
    assert_string_equal(r.info->chat_template, "{{ x }}");
    uqff_vocabulary_close(r.v);
    /* Without scores and types: what tokens look like. */
    f = spm;
    f.scores = NULL;
    f.types = NULL;
    assert_ok(open_file(&r, &f), &r.err);
    assert_int_equal(uqff_vocabulary_token(r.v, 3).type, UQFF_TOKEN_BYTE);
    assert_int_equal(uqff_vocabulary_token(r.v, 1).type, UQFF_TOKEN_CONTROL);
    assert_int_equal(r.warnings.count, 1);
    uqff_vocabulary_close(r.v);
}

static void test_byte_level_in_gguf(void **state) {
    static const struct {
        const char *pre;
        bool ignore_merges, add_bos;
        size_t patterns;
    } names[] = {
        {"llama-bpe", true, true, 1},   {"pixtral", true, true, 1},
        {"smaug-bpe", false, false, 1}, {"tekken", true, true, 1},
        {"qwen2", false, false, 1},     {"starcoder", false, false, 2},
        {"refact", false, false, 2},    {"deepseek-llm", false, false, 6},
        {"default", false, false, 4},   {"chameleon", false, true, 6},
    };
    struct result r;
    struct file f = bpe;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        f.pre = names[i].pre;
        assert_ok(open_file(&r, &f), &r.err);
        assert_int_equal(r.info->kind, UQFF_VOCABULARY_BPE);
        assert_string_equal(r.info->pre, names[i].pre);
        assert_true(r.info->pre_known);
        assert_int_equal(r.info->ignore_merges, names[i].ignore_merges);
        assert_int_equal(r.info->add_bos, names[i].add_bos);
        assert_int_equal(r.info->pattern_count, names[i].patterns);
        assert_int_equal(r.info->eot, 3);
        struct uqff_tokenizer *t = NULL;
        assert_ok(uqff_tokenizer_new(r.v, NULL, &t, &r.err), &r.err);
        uqff_tokenizer_free(t);
        uqff_vocabulary_close(r.v);
    }
    f.pre = NULL;
    assert_ok(open_file(&r, &f), &r.err);
    assert_string_equal(r.info->pre, "default");
    assert_int_equal(r.warnings.count, 1);
    uqff_vocabulary_close(r.v);
    /* One that is not known is a vocabulary, but no tokenizer. */
    f.pre = "tomorrow";
    f.flag_key = "tokenizer.ggml.add_bos_token";
    f.flag = true;
    assert_ok(open_file(&r, &f), &r.err);
    assert_false(r.info->pre_known);
    assert_true(r.info->add_bos);
    struct uqff_tokenizer *t = NULL;
    assert_fails(uqff_tokenizer_new(r.v, NULL, &t, &r.err), UQFF_E_UNSUPPORTED, &r.err,
                 "the split rule 'tomorrow'");
    uqff_vocabulary_close(r.v);
}

static void refuse(const struct file *f, enum uqff_code code, const char *needle) {
    struct result r;
    assert_fails(open_file(&r, f), code, &r.err, needle);
    assert_null(r.v);
}

static void test_broken_gguf(void **state) {
    static const char *const bad_merges[] = {"a b", "a x"};
    static const char *const no_space[] = {"ab"};
    static const char *const twice[] = {"a", "a", "ab", "b"};
    static const float infinite[] = {0, 0, 0, 0, -2, INFINITY, -1, 0};
    struct file f = spm;
    (void)state;
    f.model = NULL;
    refuse(&f, UQFF_E_MISSING, "tokenizer.ggml.model");
    f.model = "bert";
    refuse(&f, UQFF_E_UNSUPPORTED, "found 'bert', expected llama or gpt2");
    f = spm;
    f.tokens = NULL;
    refuse(&f, UQFF_E_MISSING, "tokenizer.ggml.tokens");
    f = spm;
    f.score_count = 7;
    refuse(&f, UQFF_E_FIELD, "found 7 elements, expected 8");
    f = spm;
    f.type_count = 7;
    refuse(&f, UQFF_E_FIELD, "found 7 elements, expected 8");
    f = spm;
    f.scores = infinite;
    refuse(&f, UQFF_E_NONFINITE, "token 5");
    f = spm;
    f.rows = 7;
    refuse(&f, UQFF_E_SHAPE, "found 7 rows");
    f = spm;
    f.id_key = "tokenizer.ggml.eot_token_id";
    f.id = 8;
    refuse(&f, UQFF_E_FIELD, "eot_token_id");
    f = spm;
    f.template = "\xFF";
    refuse(&f, UQFF_E_ENCODING, "chat template");
    f = bpe;
    f.merges = NULL;
    refuse(&f, UQFF_E_FIELD, "tokenizer.ggml.merges");
    f = bpe;
    f.merges = bad_merges;
    f.merge_count = 2;
    refuse(&f, UQFF_E_FIELD, "merge 2: found the token 'x'");
    f = bpe;
    f.merges = no_space;
    refuse(&f, UQFF_E_FIELD, "a space between");
    f = bpe;
    f.tokens = twice;
    refuse(&f, UQFF_E_DUPLICATE, "tokens 0 and 1: found the text 'a' twice");
}

/* The key-value section by itself, as it travels with a model that came from a GGUF. */
static void test_key_value_section(void **state) {
    struct result r;
    struct uqff_error err;
    struct uqff_gguf *gguf = NULL;
    struct uqff_vocabulary *v = NULL;
    uint64_t offset, bytes;
    (void)state;
    assert_ok(open_file(&r, &spm), &r.err);
    uqff_vocabulary_close(r.v);
    assert_ok(uqff_gguf_open_path(scratch_file("vocabulary.gguf"), NULL, &gguf, &err), &err);
    uqff_gguf_kv_range(gguf, &offset, &bytes);
    uqff_gguf_close(gguf);
    unsigned char *file = (unsigned char *)read_file(scratch_file("vocabulary.gguf"), NULL);
    assert_ok(uqff_vocab_new("section", NULL, &v, &err), &err);
    assert_ok(uqff_vocab_read_kv(v, (char *)file + offset, (size_t)bytes, &err), &err);
    assert_int_equal(uqff_vocabulary_info(v)->size, 8);
    assert_int_equal(uqff_vocabulary_find(v, "ab", 2), 6);
    uqff_vocabulary_close(v);
    size_t opened = 0;
    for (uint64_t n = 0; n < bytes; n++) { /* cut between two keys it is one with fewer keys */
        assert_ok(uqff_vocab_new("section", NULL, &v, &err), &err);
        opened += uqff_vocab_read_kv(v, (char *)file + offset, (size_t)n, &err) == UQFF_OK;
        uqff_vocabulary_close(v);
    }
    assert_int_equal(opened, 2); /* scores and types may be missing */
    free(file);
}

/* ---- tokenizer.model ------------------------------------------------------------------------- */

static void put_varint(struct builder *b, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        put_u8(b, (unsigned)(value & 0x7F) | 0x80);
    }
    put_u8(b, (unsigned)value);
}

static void put_message(struct builder *b, unsigned field, struct builder *inner) {
    put_varint(b, field << 3 | 2);
    put_varint(b, inner->size);
    put(b, inner->bytes, inner->size);
    free(inner->bytes);
}

static void put_flag(struct builder *b, unsigned field, uint64_t value) {
    put_varint(b, (uint64_t)field << 3);
    put_varint(b, value);
}

static void put_piece(struct builder *b, const char *text, float score, unsigned type) {
    struct builder piece = {.version = 3};
    put_varint(&piece, 1 << 3 | 2);
    put_varint(&piece, strlen(text));
    put(&piece, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    put_f32(&piece, score);
    if (type != 1) {
        put_flag(&piece, 3, type);
    }
    put_message(b, 1, &piece);
}

/* Pieces as above, BPE, and a field that nobody knows. */
static struct builder build_model(uint64_t model_type, uint64_t unknown, const char *charsmap) {
    struct builder b = {.version = 3}, trainer = {.version = 3}, normalizer = {.version = 3},
                   other = {.version = 3};
    for (size_t i = 0; i < 8; i++) {
        put_piece(&b, pieces[i], scores[i], (unsigned)types[i]);
    }
    put_flag(&trainer, 3, model_type);
    put_flag(&trainer, 35, 1);
    put_flag(&trainer, 40, unknown);
    put_flag(&trainer, 43, UINT64_MAX);
    put_message(&b, 2, &trainer);
    if (charsmap != NULL) {
        put_varint(&normalizer, 1 << 3 | 2);
        put_varint(&normalizer, 4);
        put(&normalizer, "nmt_", 4);
        put_varint(&normalizer, 2 << 3 | 2);
        put_varint(&normalizer, strlen(charsmap));
        put(&normalizer, charsmap, strlen(charsmap));
    }
    put_flag(&normalizer, 3, 1);
    put_flag(&normalizer, 4, 0);
    put_message(&b, 3, &normalizer);
    put_u64(&other, 7);
    put_message(&b, 77, &other);
    return b;
}

static enum uqff_code open_model(struct result *r, const void *bytes, size_t n) {
    const char *path = scratch_file("tokenizer.model");
    write_file(path, bytes, n);
    return open_path(r, path);
}

static void test_sentencepiece_model(void **state) {
    struct result r;
    struct builder b = build_model(2, 0, NULL);
    (void)state;
    assert_ok(open_model(&r, b.bytes, b.size), &r.err);
    assert_int_equal(r.info->kind, UQFF_VOCABULARY_SPM);
    assert_int_equal(r.info->size, 8);
    assert_int_equal(r.info->bos, 1);
    assert_int_equal(r.info->eos, 2);
    assert_int_equal(r.info->unknown, 0);
    assert_int_equal(r.info->padding, UQFF_NO_TOKEN);
    assert_true(r.info->add_bos && r.info->add_prefix_space && r.info->byte_fallback &&
                r.info->escape_whitespace);
    assert_false(r.info->remove_extra_whitespace);
    for (uint32_t i = 0; i < 8; i++) {
        struct uqff_token token = uqff_vocabulary_token(r.v, i);
        assert_string_equal(token.text, pieces[i]);
        assert_int_equal(token.type, types[i]);
        assert_true(token.score == scores[i]);
    }
    uqff_vocabulary_close(r.v);
    free(b.bytes);
}

/* The files beside a tokenizer.model bring further tokens. */
static void test_files_beside_a_model(void **state) {
    struct result r;
    struct builder b = build_model(2, 0, NULL);
    static const char settings[] =
        "{\"added_tokens_decoder\": {\"7\": {\"content\": \"<t>\", \"special\": true, \"rstrip\": "
        "true}, \"9\": {\"content\": \"▁▁x\"}}, \"add_bos_token\": false, \"add_prefix_space\": "
        "false, \"eos_token\": \"<|im_end|>\"}";
    static const char added[] = "{\"<|im_end|>\": 10}";
    (void)state;
    write_file(scratch_file("tokenizer_config.json"), settings, strlen(settings));
    write_file(scratch_file("added_tokens.json"), added, strlen(added));
    assert_ok(open_model(&r, b.bytes, b.size), &r.err);
    assert_int_equal(r.info->size, 11);
    assert_int_equal(r.info->eos, 10);
    assert_int_equal(r.info->eot, 10);
    assert_false(r.info->add_bos || r.info->add_prefix_space);
    assert_int_equal(uqff_vocabulary_token(r.v, 7).type, UQFF_TOKEN_CONTROL);
    assert_true(uqff_vocabulary_token(r.v, 7).rstrip);
    assert_int_equal(uqff_vocabulary_token(r.v, 8).length, 0);
    assert_string_equal(uqff_vocabulary_token(r.v, 9).text, "  x");
    assert_int_equal(uqff_vocabulary_token(r.v, 10).type, UQFF_TOKEN_CONTROL);
    uqff_vocabulary_close(r.v);
    static const char broken[] = "{\"added_tokens_decoder\": {\"x\": {\"content\": \"y\"}}}";
    write_file(scratch_file("tokenizer_config.json"), broken, strlen(broken));
    assert_fails(open_model(&r, b.bytes, b.size), UQFF_E_FIELD, &r.err, "entry 'x'");
    assert_int_equal(remove(scratch_file("tokenizer_config.json")), 0);
    assert_int_equal(remove(scratch_file("added_tokens.json")), 0);
    free(b.bytes);
}

static void test_broken_model(void **state) {
    struct result r;
    (void)state;
    struct builder b = build_model(1, 0, NULL);
    assert_fails(open_model(&r, b.bytes, b.size), UQFF_E_UNSUPPORTED, &r.err, "UNIGRAM");
    free(b.bytes);
    b = build_model(2, 8, NULL);
    assert_fails(open_model(&r, b.bytes, b.size), UQFF_E_FIELD, &r.err, "unk_id 8");
    free(b.bytes);
    b = build_model(2, 0, "map");
    assert_ok(open_model(&r, b.bytes, b.size), &r.err);
    struct uqff_tokenizer *t = NULL;
    assert_fails(uqff_tokenizer_new(r.v, NULL, &t, &r.err), UQFF_E_UNSUPPORTED, &r.err, "'nmt_'");
    uqff_vocabulary_close(r.v);
    free(b.bytes);
    b = (struct builder){.version = 3};
    put_piece(&b, "a", 0, 9);
    assert_fails(open_model(&r, b.bytes, b.size), UQFF_E_FIELD, &r.err, "piece 0: found type 9");
    free(b.bytes);
    b = (struct builder){.version = 3};
    put_piece(&b, "\xFF", 0, 1);
    assert_fails(open_model(&r, b.bytes, b.size), UQFF_E_ENCODING, &r.err, "piece 0");
    free(b.bytes);
    assert_fails(open_model(&r, "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 12),
                 UQFF_E_SYNTAX, &r.err, "more than 64 bits");
    assert_fails(open_model(&r, "\x0A\x05xx", 4), UQFF_E_SYNTAX, &r.err, "beyond the end");
    assert_fails(open_model(&r, "\x0A\x02\x0F\x00", 4), UQFF_E_SYNTAX, &r.err, "unknown kind");
    assert_fails(open_model(&r, "\x0A", 1), UQFF_E_SYNTAX, &r.err, "the end");
}

/* Cut anywhere, or with any byte changed, a file is opened or refused; nothing worse. */
static void test_damaged_model(void **state) {
    struct result r;
    struct builder b = build_model(2, 0, NULL);
    struct test_random random = {9};
    (void)state;
    for (size_t n = 0; n < b.size; n++) {
        if (open_model(&r, b.bytes, n) == UQFF_OK) {
            uqff_vocabulary_close(r.v);
        }
    }
    for (int round = 0; round < 2000; round++) {
        size_t at = random_u64(&random) % b.size;
        unsigned char before = b.bytes[at];
        b.bytes[at] = (unsigned char)random_u64(&random);
        if (open_model(&r, b.bytes, b.size) == UQFF_OK) {
            struct uqff_tokenizer *t = NULL;
            if (uqff_tokenizer_new(r.v, NULL, &t, &r.err) == UQFF_OK) {
                uqff_tokenizer_free(t);
            }
            uqff_vocabulary_close(r.v);
        }
        b.bytes[at] = before;
    }
    free(b.bytes);
}

/* Where white space is squeezed, it goes at both ends, and of several spaces all but one. */
static void test_extra_white_space(void **state) {
    static const struct {
        const char *text;
        size_t count;
    } cases[] = {{"", 0}, {"  ", 0}, {"a", 2}, {"  a  ", 2}, {"a   a", 4}, {" a a ", 4}};
    static const char *const marked[] = {"<unk>", "<s>", "</s>", "a", "\xE2\x96\x81"};
    struct result r;
    struct uqff_tokenizer *t = NULL;
    struct file f = {.model = "llama",
                     .tokens = marked,
                     .token_count = 5,
                     .flag_key = "tokenizer.ggml.remove_extra_whitespaces",
                     .flag = true};
    (void)state;
    assert_ok(open_file(&r, &f), &r.err);
    assert_true(r.info->remove_extra_whitespace);
    assert_ok(uqff_tokenizer_new(r.v, NULL, &t, &r.err), &r.err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t *ids = NULL;
        size_t count = 0, capacity = 0;
        assert_ok(uqff_tokenize(t, cases[i].text, strlen(cases[i].text), NULL, &ids, &count,
                                &capacity, &r.err),
                  &r.err);
        assert_int_equal(count, cases[i].count);
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(ids[k], k % 2 == 0 ? 4 : 3);
        }
        uqff_free(ids);
    }
    uqff_tokenizer_free(t);
    uqff_vocabulary_close(r.v);
}

/* ---- the malformed corpus -------------------------------------------------------------------- */

/* Verdict of opening, and of making a tokenizer, which reads the split rules through. */
static bool accepts(const char *path) {
    struct uqff_vocabulary *v = NULL;
    struct uqff_tokenizer *t = NULL;
    struct uqff_error err;
    enum uqff_code code = uqff_vocabulary_open_path(path, NULL, &v, &err);
    code = code != UQFF_OK ? code : uqff_tokenizer_new(v, NULL, &t, &err);
    uqff_tokenizer_free(t);
    uqff_vocabulary_close(v);
    return code == UQFF_OK;
}

static void check_corpus(const char *level, const char *const *prefixes, size_t count,
                         size_t least) {
    size_t cases, checked = 0;
    const struct bad_case *all = bad_cases(level, &cases);
    for (size_t i = 0; i < cases; i++) {
        for (size_t k = 0; k < count; k++) {
            if (strncmp(all[i].file, prefixes[k], strlen(prefixes[k])) == 0) {
                if (accepts(bad_file(all[i].file)) != (strcmp(all[i].verdict, "accept") == 0)) {
                    fail_msg("%s: expected %s: %s", all[i].file, all[i].verdict, all[i].reason);
                }
                checked++;
            }
        }
    }
    assert_true(checked >= least);
}

static void test_corpus(void **state) {
    static const char *const json[] = {"j_tokenizer_"};
    static const char *const gguf[] = {"m_vocab_",      "m_scores_", "m_types_",       "m_tokens_",
                                       "m_byte_token_", "m_bos_",    "m_ok_tiny_llama"};
    (void)state;
    check_corpus("json", json, 1, 11);
    check_corpus("model", gguf, sizeof gguf / sizeof *gguf, 10);
}

static void test_failing_allocations(void **state) {
    struct builder b = build_model(2, 0, NULL);
    const char *path = scratch_file("tokenizer.model");
    struct result r;
    (void)state;
    assert_ok(open_file(&r, &bpe), &r.err);
    uqff_vocabulary_close(r.v);
    write_file(path, b.bytes, b.size);
    const char *const paths[] = {path, scratch_file("vocabulary.gguf")};
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 1;; n++) {
            struct uqff_vocabulary *v = NULL;
            fail_allocation(n);
            enum uqff_code code = uqff_vocabulary_open_path(paths[i], NULL, &v, NULL);
            fail_allocation(0);
            if (code == UQFF_OK) {
                uqff_vocabulary_close(v);
                break;
            }
            assert_int_equal(code, UQFF_E_MEMORY);
        }
    }
    free(b.bytes);
}

/* ---- published files ------------------------------------------------------------------------- */

/* What both containers of one vocabulary say of each token. Scores have the same order. */
static void test_the_same_from_json_and_gguf(void **state) {
    struct result json, gguf;
    (void)state;
    if (extra_data("tokenizers") == NULL) {
        skip();
    }
    assert_ok(open_path(&json, extra_data("tokenizers/phi-3-mini/tokenizer.json")), &json.err);
    assert_ok(open_path(&gguf, extra_data("tokenizers/ggml-vocab-phi-3.gguf")), &gguf.err);
    assert_int_equal(json.info->kind, gguf.info->kind);
    assert_int_equal(json.info->bos, gguf.info->bos);
    assert_int_equal(json.info->eos, gguf.info->eos);
    assert_int_equal(json.info->unknown, gguf.info->unknown);
    assert_int_equal(json.info->padding, gguf.info->padding);
    assert_int_equal(json.info->eot, gguf.info->eot);
    for (uint32_t i = 0; i < json.info->size; i++) {
        struct uqff_token a = uqff_vocabulary_token(json.v, i);
        struct uqff_token b = uqff_vocabulary_token(gguf.v, i);
        assert_string_equal(a.text, b.text);
        assert_int_equal(a.added, b.added);
        if (i > 259 && i < 29000) {
            struct uqff_token c = uqff_vocabulary_token(json.v, i - 1);
            struct uqff_token d = uqff_vocabulary_token(gguf.v, i - 1);
            assert_true((a.score < c.score) == (b.score < d.score));
        }
        if (i > 0) { /* the unknown token is a control token in this GGUF */
            assert_int_equal(a.type, b.type);
        }
    }
    uqff_vocabulary_close(json.v);
    uqff_vocabulary_close(gguf.v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentencepiece_in_gguf),
        cmocka_unit_test(test_byte_level_in_gguf),
        cmocka_unit_test(test_broken_gguf),
        cmocka_unit_test(test_key_value_section),
        cmocka_unit_test(test_sentencepiece_model),
        cmocka_unit_test(test_files_beside_a_model),
        cmocka_unit_test(test_broken_model),
        cmocka_unit_test(test_damaged_model),
        cmocka_unit_test(test_extra_white_space),
        cmocka_unit_test(test_corpus),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_the_same_from_json_and_gguf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
