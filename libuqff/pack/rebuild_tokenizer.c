/* tokenizer.json of the two kinds that a GGUF has, as the field's fast tokenizers read it. */
#include "pack/rebuild.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SPACE_MARK "\xE2\x96\x81"

struct writer {
    const struct uqff_vocabulary *vocabulary;
    const struct uqff_vocabulary_info *info;
    struct uqff_buffer *out;
};

static void put(const struct writer *w, const char *text) {
    uqff_buffer_append(w->out, text, strlen(text));
}

static void put_string(const struct writer *w, const char *text) {
    uqff_buffer_json_string(w->out, text, strlen(text));
}

static void put_token(const struct writer *w, uint32_t id) {
    struct uqff_token token = uqff_vocabulary_token(w->vocabulary, id);
    uqff_buffer_json_string(w->out, token.text, token.length);
}

/* A row of the embedding that nothing is spelled with: llama.cpp's converter calls it [PAD7]. */
static bool is_filler(struct uqff_token token, uint32_t id) {
    char name[24];
    int length = snprintf(name, sizeof name, "[PAD%" PRIu32 "]", id);
    return token.length == 0 ||
           (token.type == UQFF_TOKEN_UNUSED && token.length == (size_t)length &&
            memcmp(token.text, name, token.length) == 0);
}

/* ---- added tokens ---------------------------------------------------------------------------- */

static void put_added(const struct writer *w) {
    const char *comma = "";
    put(w, "  \"added_tokens\": [");
    for (uint32_t id = 0; id < w->info->size; id++) {
        struct uqff_token token = uqff_vocabulary_token(w->vocabulary, id);
        if (!token.added || token.length == 0) {
            continue;
        }
        const struct {
            const char *key;
            bool value;
        } flags[] = {
            {"single_word", token.single_word},
            {"lstrip", token.lstrip},
            {"rstrip", token.rstrip},
            {"normalized", token.normalized},
            {"special", token.type == UQFF_TOKEN_CONTROL || token.type == UQFF_TOKEN_UNKNOWN},
        };
        uqff_buffer_printf(w->out, "%s\n    {\"id\": %" PRIu32 ", \"content\": ", comma, id);
        put_token(w, id);
        for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
            uqff_buffer_printf(w->out, ", \"%s\": %s", flags[i].key,
                               flags[i].value ? "true" : "false");
        }
        put(w, "}");
        comma = ",";
    }
    put(w, *comma != '\0' ? "\n  ],\n" : "],\n");
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void put_normalizer(const struct writer *w) {
    put(w, "  \"normalizer\": ");
    if (w->info->kind == UQFF_VOCABULARY_BPE) {
        put(w, "null,\n");
        return;
    }
    put(w, "{\"type\": \"Sequence\", \"normalizers\": [");
    if (w->info->add_prefix_space) {
        put(w, "{\"type\": \"Prepend\", \"prepend\": \"" SPACE_MARK "\"}, ");
    }
    put(w, "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"" SPACE_MARK
           "\"}]},\n");
}

static void put_pre_tokenizer(const struct writer *w) {
    put(w, "  \"pre_tokenizer\": ");
    if (w->info->kind == UQFF_VOCABULARY_SPM) {
        put(w, "null,\n");
        return;
    }
    put(w, "{\"type\": \"Sequence\", \"pretokenizers\": [");
    for (size_t i = 0; i < w->info->pattern_count; i++) {
        put(w, "\n    {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        put_string(w, w->info->patterns[i]);
        put(w, "}, \"behavior\": \"Isolated\", \"invert\": false},");
    }
    put(w, "\n    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
           "\"use_regex\": false}]},\n");
}

static void put_special(const struct writer *w, uint32_t id) {
    put(w, "{\"SpecialToken\": {\"id\": ");
    put_token(w, id);
    put(w, ", \"type_id\": 0}}");
}

/* One text, or a pair: each with the tokens that stand at its ends. */
static void put_template(const struct writer *w, const char *key, bool pair) {
    uqff_buffer_printf(w->out, "\"%s\": [", key);
    for (int part = 0; part < (pair ? 2 : 1); part++) {
        put(w, part > 0 ? ", " : "");
        if (w->info->add_bos) {
            put_special(w, w->info->bos);
            put(w, ", ");
        }
        uqff_buffer_printf(w->out, "{\"Sequence\": {\"id\": \"%c\", \"type_id\": %d}}", 'A' + part,
                           part);
        if (w->info->add_eos) {
            put(w, ", ");
            put_special(w, w->info->eos);
        }
    }
    put(w, "], ");
}

static void put_post_processor(const struct writer *w) {
    static const char byte_level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                                     "\"trim_offsets\": false, \"use_regex\": true}";
    const uint32_t ids[] = {w->info->add_bos ? w->info->bos : UQFF_NO_TOKEN,
                            w->info->add_eos && (!w->info->add_bos || w->info->eos != w->info->bos)
                                ? w->info->eos
                                : UQFF_NO_TOKEN};
    bool bpe = w->info->kind == UQFF_VOCABULARY_BPE;
    const char *comma = "";
    put(w, "  \"post_processor\": ");
    if (!w->info->add_bos && !w->info->add_eos) {
        uqff_buffer_printf(w->out, "%s,\n", bpe ? byte_level : "null");
        return;
    }
    if (bpe) {
        uqff_buffer_printf(w->out, "{\"type\": \"Sequence\", \"processors\": [%s, ", byte_level);
    }
    put(w, "{\"type\": \"TemplateProcessing\", ");
    put_template(w, "single", false);
    put_template(w, "pair", true);
    put(w, "\"special_tokens\": {");
    for (size_t i = 0; i < 2; i++) {
        if (ids[i] == UQFF_NO_TOKEN) {
            continue;
        }
        put(w, comma);
        put_token(w, ids[i]);
        put(w, ": {\"id\": ");
        put_token(w, ids[i]);
        uqff_buffer_printf(w->out, ", \"ids\": [%" PRIu32 "], \"tokens\": [", ids[i]);
        put_token(w, ids[i]);
        put(w, "]}");
        comma = ", ";
    }
    put(w, bpe ? "}}]},\n" : "}},\n");
}

static void put_decoder(const struct writer *w) {
    if (w->info->kind == UQFF_VOCABULARY_BPE) {
        put(w, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
               "\"trim_offsets\": true, \"use_regex\": true},\n");
        return;
    }
    put(w, "  \"decoder\": {\"type\": \"Sequence\", \"decoders\": [\n"
           "    {\"type\": \"Replace\", \"pattern\": {\"String\": \"" SPACE_MARK
           "\"}, \"content\": \" \"},\n"
           "    {\"type\": \"ByteFallback\"},\n"
           "    {\"type\": \"Fuse\"}");
    if (w->info->add_prefix_space) {
        put(w, ",\n    {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}");
    }
    put(w, "]},\n");
}

/* ---- the model ------------------------------------------------------------------------------- */

static void put_vocabulary(const struct writer *w) {
    const char *comma = "";
    put(w, "    \"vocab\": {");
    for (uint32_t id = 0; id < w->info->size; id++) {
        if (is_filler(uqff_vocabulary_token(w->vocabulary, id), id)) {
            continue;
        }
        uqff_buffer_printf(w->out, "%s\n      ", comma);
        put_token(w, id);
        uqff_buffer_printf(w->out, ": %" PRIu32, id);
        comma = ",";
    }
    put(w, "\n    },\n");
}

static bool holds_space(const struct writer *w, uint32_t id) {
    struct uqff_token token = uqff_vocabulary_token(w->vocabulary, id);
    return memchr(token.text, ' ', token.length) != NULL;
}

/* "left right" is what every reader takes; only parts that hold a space need the newer form. */
static void put_merges(const struct writer *w, const struct rebuild_merge *merges, size_t count) {
    bool lists = false;
    for (size_t i = 0; i < count && !lists; i++) {
        lists = holds_space(w, merges[i].left) || holds_space(w, merges[i].right);
    }
    put(w, "    \"merges\": [");
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_printf(w->out, "%s\n      ", i == 0 ? "" : ",");
        if (lists) {
            put(w, "[");
            put_token(w, merges[i].left);
            put(w, ", ");
            put_token(w, merges[i].right);
            put(w, "]");
        } else {
            put_token(w, merges[i].left);
            w->out->size -= w->out->failed ? 0 : 1; /* the closing quote */
            size_t at = w->out->size;
            put_token(w, merges[i].right);
            if (!w->out->failed) {
                w->out->data[at] = ' '; /* in place of the opening one */
            }
        }
    }
    put(w, count > 0 ? "\n    ]\n" : "]\n");
}

static enum uqff_code put_spm_merges(const struct writer *w, struct uqff_error *err) {
    struct rebuild_merge *merges = NULL;
    size_t count = 0;
    enum uqff_code code = uqff_rebuild_merges(w->vocabulary, &merges, &count, err);
    if (code == UQFF_OK) {
        put_merges(w, merges, count);
    }
    uqff_free(merges);
    return code;
}

static enum uqff_code put_bpe_merges(const struct writer *w, struct uqff_error *err) {
    size_t count = w->info->merges;
    struct rebuild_merge *merges = uqff_alloc_array(count, sizeof *merges);
    if (merges == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct uqff_merge merge = uqff_vocabulary_merge(w->vocabulary, i);
        merges[i] = (struct rebuild_merge){merge.left, merge.right, merge.result};
    }
    put_merges(w, merges, count);
    uqff_free(merges);
    return UQFF_OK;
}

static enum uqff_code put_model(const struct writer *w, struct uqff_error *err) {
    bool spm = w->info->kind == UQFF_VOCABULARY_SPM;
    put(w, "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ");
    if (spm && w->info->unknown != UQFF_NO_TOKEN) {
        put_token(w, w->info->unknown);
    } else {
        put(w, "null");
    }
    uqff_buffer_printf(w->out,
                       ",\n    \"continuing_subword_prefix\": null,\n"
                       "    \"end_of_word_suffix\": null,\n    \"fuse_unk\": %s,\n"
                       "    \"byte_fallback\": %s,\n    \"ignore_merges\": %s,\n",
                       spm ? "true" : "false", w->info->byte_fallback ? "true" : "false",
                       w->info->ignore_merges ? "true" : "false");
    put_vocabulary(w);
    enum uqff_code code = spm ? put_spm_merges(w, err) : put_bpe_merges(w, err);
    put(w, "  }\n}\n");
    return code;
}

enum uqff_code uqff_rebuild_tokenizer(const struct uqff_vocabulary *vocabulary,
                                      struct uqff_buffer *out, struct uqff_error *err) {
    const struct writer w = {vocabulary, uqff_vocabulary_info(vocabulary), out};
    put(&w, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n");
    put_added(&w);
    put_normalizer(&w);
    put_pre_tokenizer(&w);
    put_post_processor(&w);
    put_decoder(&w);
    return put_model(&w, err);
}

/* ---- tokenizer_config.json ------------------------------------------------------------------- */

void uqff_rebuild_tokenizer_config(const struct uqff_model *model,
                                   const struct uqff_vocabulary *vocabulary,
                                   struct uqff_buffer *out) {
    const struct uqff_vocabulary_info *info = uqff_vocabulary_info(vocabulary);
    const struct {
        const char *key;
        uint32_t id;
    } ids[] = {
        {"bos_token", info->bos},       {"eos_token", info->eos},
        {"unk_token", info->unknown},   {"pad_token", info->padding},
        {"sep_token", info->separator}, {"cls_token", info->classifier},
        {"mask_token", info->mask},
    };
    struct rebuild_json json = {.out = out, .indent = "  "};
    uint64_t context = uqff_model_config(model)->context;
    uqff_buffer_printf(out, "{");
    uqff_rebuild_flag(&json, "add_bos_token", info->add_bos);
    uqff_rebuild_flag(&json, "add_eos_token", info->add_eos);
    uqff_rebuild_flag(&json, "clean_up_tokenization_spaces", false);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (ids[i].id != UQFF_NO_TOKEN) {
            struct uqff_token token = uqff_vocabulary_token(vocabulary, ids[i].id);
            uqff_rebuild_text(&json, ids[i].key, token.text, token.length);
        }
    }
    if (info->chat_template != NULL) {
        uqff_rebuild_text(&json, "chat_template", info->chat_template, info->chat_template_length);
    }
    if (context != 0) {
        uqff_rebuild_count(&json, "model_max_length", context);
    }
    uqff_rebuild_text(&json, "tokenizer_class", "PreTrainedTokenizerFast", 23);
    uqff_buffer_printf(out, "\n}\n");
}
