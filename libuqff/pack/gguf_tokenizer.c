/* tokenizer.*: the vocabulary as llama.cpp reads it. */
#include "pack/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct writer {
    struct uqff_pack_plan *plan;
    struct uqff_gguf_layout *layout;
    const struct uqff_vocabulary *vocabulary;
    const struct uqff_vocabulary_info *info;
    uint32_t count; /* of tokens: as many as the embedding has rows */
};

static enum uqff_code set_text(struct writer *writer, const char *key, const char *text,
                               struct uqff_error *err) {
    return uqff_gguf_set_string(writer->layout, key, text, strlen(text), err);
}

/* An id that nothing is spelled with: a hole, or a row of the embedding behind the last token. */
static bool is_hole(const struct writer *writer, uint32_t id) {
    if (id >= writer->info->size) {
        return true;
    }
    struct uqff_token token = uqff_vocabulary_token(writer->vocabulary, id);
    return token.length == 0 && token.type == UQFF_TOKEN_UNUSED;
}

static enum uqff_code set_texts(struct writer *writer, struct uqff_error *err) {
    struct uqff_arena arena = {0};
    struct uqff_gguf_string *strings = uqff_arena_array(&arena, writer->count, sizeof *strings);
    enum uqff_code code = strings == NULL ? uqff_fail_memory(err) : UQFF_OK;
    for (uint32_t id = 0; id < writer->count && code == UQFF_OK; id++) {
        if (is_hole(writer, id)) {
            const char *text = uqff_arena_printf(&arena, "[PAD%" PRIu32 "]", id);
            if (text == NULL) {
                code = uqff_fail_memory(err);
                break;
            }
            strings[id] = (struct uqff_gguf_string){text, strlen(text)};
        } else {
            struct uqff_token token = uqff_vocabulary_token(writer->vocabulary, id);
            strings[id] = (struct uqff_gguf_string){token.text, token.length};
        }
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_set_strings(writer->layout, "tokenizer.ggml.tokens", strings,
                                     writer->count, err);
    }
    uqff_arena_free(&arena);
    return code;
}

/* One number of four bytes a token. */
static enum uqff_code set_numbers(struct writer *writer, const char *key, enum uqff_gguf_kind kind,
                                  uint32_t (*number)(const struct writer *, uint32_t),
                                  struct uqff_error *err) {
    unsigned char *bytes = uqff_alloc_array(writer->count, 4);
    if (bytes == NULL) {
        return uqff_fail_memory(err);
    }
    for (uint32_t id = 0; id < writer->count; id++) {
        uqff_store_le32(bytes + 4 * (size_t)id, number(writer, id));
    }
    enum uqff_code code = uqff_gguf_set_array(writer->layout, key, kind, bytes, writer->count, err);
    uqff_free(bytes);
    return code;
}

static uint32_t score_bits(const struct writer *writer, uint32_t id) {
    /* What is never written must lose against everything else. */
    float score =
        is_hole(writer, id) ? -10000.0f : uqff_vocabulary_token(writer->vocabulary, id).score;
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits;
}

static uint32_t type_bits(const struct writer *writer, uint32_t id) {
    return is_hole(writer, id) ? UQFF_TOKEN_UNUSED
                               : (uint32_t)uqff_vocabulary_token(writer->vocabulary, id).type;
}

/* "left right" with one space between: a space within a part is written as in the alphabet of
 * bytes. */
static void append_part(struct uqff_buffer *buffer, struct uqff_token token) {
    for (size_t i = 0; i < token.length; i++) {
        if (token.text[i] == ' ') {
            uqff_buffer_append(buffer, "\xc4\xa0", 2);
        } else {
            uqff_buffer_append(buffer, &token.text[i], 1);
        }
    }
}

static enum uqff_code set_merges(struct writer *writer, struct uqff_error *err) {
    size_t count = writer->info->merges;
    struct uqff_buffer buffer = {0};
    struct uqff_gguf_string *strings = uqff_alloc_array(count, sizeof *strings);
    if (strings == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct uqff_merge merge = uqff_vocabulary_merge(writer->vocabulary, i);
        size_t begin = buffer.size;
        append_part(&buffer, uqff_vocabulary_token(writer->vocabulary, merge.left));
        uqff_buffer_append(&buffer, " ", 1);
        append_part(&buffer, uqff_vocabulary_token(writer->vocabulary, merge.right));
        strings[i].length = buffer.size - begin;
    }
    enum uqff_code code = buffer.failed ? uqff_fail_memory(err) : UQFF_OK;
    for (size_t i = 0, begin = 0; i < count && code == UQFF_OK; begin += strings[i++].length) {
        strings[i].bytes = buffer.data + begin;
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_set_strings(writer->layout, "tokenizer.ggml.merges", strings, count, err);
    }
    uqff_buffer_free(&buffer);
    uqff_free(strings);
    return code;
}

static enum uqff_code set_ids(struct writer *writer, struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = writer->info;
    const struct {
        const char *key;
        uint32_t id;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", info->bos},
        {"tokenizer.ggml.eos_token_id", info->eos},
        {"tokenizer.ggml.unknown_token_id", info->unknown},
        {"tokenizer.ggml.seperator_token_id", info->separator}, /* as llama.cpp spells it */
        {"tokenizer.ggml.padding_token_id", info->padding},
        {"tokenizer.ggml.cls_token_id", info->classifier},
        {"tokenizer.ggml.mask_token_id", info->mask},
    };
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0] && code == UQFF_OK; i++) {
        if (ids[i].id < writer->count) {
            code = uqff_gguf_set_u64(writer->layout, ids[i].key, UQFF_GGUF_U32, ids[i].id, err);
        }
    }
    if (code == UQFF_OK) {
        code =
            uqff_gguf_set_bool(writer->layout, "tokenizer.ggml.add_bos_token", info->add_bos, err);
    }
    if (code == UQFF_OK) {
        code =
            uqff_gguf_set_bool(writer->layout, "tokenizer.ggml.add_eos_token", info->add_eos, err);
    }
    return code;
}

/* ---- the two kinds --------------------------------------------------------------------------- */

static enum uqff_code set_spm(struct writer *writer, struct uqff_error *err) {
    enum uqff_code code = set_text(writer, "tokenizer.ggml.model", "llama", err);
    if (code == UQFF_OK) {
        code = set_text(writer, "tokenizer.ggml.pre", "default", err);
    }
    if (code == UQFF_OK) {
        code = set_texts(writer, err);
    }
    if (code == UQFF_OK) {
        code = set_numbers(writer, "tokenizer.ggml.scores", UQFF_GGUF_F32, score_bits, err);
    }
    if (code == UQFF_OK) {
        code = set_numbers(writer, "tokenizer.ggml.token_type", UQFF_GGUF_I32, type_bits, err);
    }
    if (code == UQFF_OK) {
        code = set_ids(writer, err);
    }
    if (code == UQFF_OK) {
        bool space = writer->info->add_prefix_space && !writer->plan->gguf->arch->no_space_prefix;
        code = uqff_gguf_set_bool(writer->layout, "tokenizer.ggml.add_space_prefix", space, err);
    }
    return code;
}

/* llama.cpp knows split rules by name only. */
static void warn_unknown_rule(const struct writer *writer) {
    const struct uqff_vocabulary_info *info = writer->info;
    if (info->pre_known || uqff_gguf_user_sets(writer->plan, "tokenizer.ggml.pre")) {
        return;
    }
    uqff_warn(
        writer->plan->options.warner,
        "%s: the tokenizer splits text by a rule that has no name in llama.cpp (%.200s); "
        "'tokenizer.ggml.pre' becomes '%s', and texts will be tokenized differently; the right "
        "name can be given with --set tokenizer.ggml.pre=NAME",
        uqff_model_path(writer->plan->model),
        info->pattern_count > 0 ? info->patterns[0] : "no pattern",
        info->pre[0] != '\0' ? info->pre : "default");
}

static enum uqff_code set_bpe(struct writer *writer, struct uqff_error *err) {
    const char *pre = writer->info->pre;
    enum uqff_code code = set_text(writer, "tokenizer.ggml.model", "gpt2", err);
    if (code == UQFF_OK) {
        warn_unknown_rule(writer);
        code = set_text(writer, "tokenizer.ggml.pre", pre[0] != '\0' ? pre : "default", err);
    }
    if (code == UQFF_OK) {
        code = set_texts(writer, err);
    }
    if (code == UQFF_OK) {
        code = set_numbers(writer, "tokenizer.ggml.token_type", UQFF_GGUF_I32, type_bits, err);
    }
    if (code == UQFF_OK) {
        code = set_merges(writer, err);
    }
    return code == UQFF_OK ? set_ids(writer, err) : code;
}

/* ---- all together ---------------------------------------------------------------------------- */

static void count_tokens(struct writer *writer) {
    uint64_t rows = writer->plan->gguf->vocabulary_rows;
    uint32_t size = writer->info->size;
    /* llama.cpp takes the number of tokens for that of the embedding's rows. */
    writer->count = rows != 0 && rows <= UINT32_MAX ? (uint32_t)rows : size;
    if (size > writer->count) {
        uqff_warn(writer->plan->options.warner,
                  "%s: the tokenizer has %" PRIu32 " tokens, the embedding only %" PRIu32
                  " rows; the tokens beyond are left out",
                  uqff_model_path(writer->plan->model), size, writer->count);
    }
}

/* Without tokens llama.cpp takes their number from a key. */
static enum uqff_code set_none(struct writer *writer, struct uqff_error *err) {
    const struct gguf_plan *gguf = writer->plan->gguf;
    char *key = uqff_arena_printf(&writer->plan->arena, "%s.vocab_size", gguf->architecture);
    if (key == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = set_text(writer, "tokenizer.ggml.model", "none", err);
    if (code == UQFF_OK && !uqff_gguf_is_set(writer->layout, key) &&
        gguf->vocabulary_rows <= UINT32_MAX) {
        code = uqff_gguf_set_u64(writer->layout, key, UQFF_GGUF_U32, gguf->vocabulary_rows, err);
    }
    return code;
}

enum uqff_code uqff_gguf_tokenizer(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                   struct uqff_error *err) {
    struct writer writer = {.plan = plan, .layout = layout, .vocabulary = plan->gguf->vocabulary};
    if (plan->options.no_tokenizer) {
        return set_none(&writer, err);
    }
    writer.info = uqff_vocabulary_info(writer.vocabulary);
    count_tokens(&writer);
    enum uqff_code code =
        writer.info->kind == UQFF_VOCABULARY_SPM ? set_spm(&writer, err) : set_bpe(&writer, err);
    if (code == UQFF_OK && writer.info->chat_template != NULL) {
        code = uqff_gguf_set_string(layout, "tokenizer.chat_template", writer.info->chat_template,
                                    writer.info->chat_template_length, err);
    }
    return code;
}
