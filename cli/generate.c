/* generate: evaluates a prompt, then one token after the other. */
#include "generate.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "output.h"

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- tokens that end a text ------------------------------------------------------------------ */

static void add_end(struct generator *g, uint64_t token) {
    if (token < UQFF_NO_TOKEN && g->end_count < MOST_ENDS) {
        g->ends[g->end_count++] = (uint32_t)token;
    }
}

static bool is_end(const struct generator *g, uint32_t token) {
    for (size_t i = 0; i < g->end_count; i++) {
        if (g->ends[i] == token) {
            return true;
        }
    }
    return false;
}

/* The value of "eos_token_id": a number, or a list of them. Anything else says nothing. */
static enum uqff_code read_ends(struct generator *g, struct uqff_json *json,
                                struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(json, &event, err);
    if (code != UQFF_OK || event.kind != UQFF_JSON_ARRAY) {
        if (code == UQFF_OK && event.kind == UQFF_JSON_NUMBER && event.is_u64) {
            add_end(g, event.integer);
        }
        return code == UQFF_OK ? uqff_json_skip(json, &event, err) : code;
    }
    while (code == UQFF_OK) {
        code = uqff_json_next(json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        if (event.kind == UQFF_JSON_NUMBER && event.is_u64) {
            add_end(g, event.integer);
        }
        code = uqff_json_skip(json, &event, err);
    }
    return code;
}

static enum uqff_code parse_config(struct generator *g, const char *text, size_t size,
                                   struct uqff_error *err) {
    struct uqff_json *json = NULL;
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = uqff_json_open(text, size, "generation_config.json", 0, 0, &json, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_json_expect(json, UQFF_JSON_OBJECT, "the file", &event, err);
    while (code == UQFF_OK) {
        code = uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (event.length == 12 && memcmp(event.text, "eos_token_id", 12) == 0) {
            code = read_ends(g, json, err);
            continue;
        }
        code = uqff_json_next(json, &event, err);
        code = code == UQFF_OK ? uqff_json_skip(json, &event, err) : code;
    }
    uqff_json_close(json);
    return code;
}

/* Those that the vocabulary names, and those of generation_config.json, which chat models have more
 * of. */
static enum uqff_code find_ends(struct generator *g, const struct uqff_model *model,
                                struct uqff_error *err) {
    const uint32_t known[] = {g->info->eos, g->info->eot, g->info->eom};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        add_end(g, known[i]);
    }
    for (size_t i = 0; i < uqff_model_asset_count(model); i++) {
        if (strcmp(uqff_model_asset_path(model, i), "generation_config.json") == 0) {
            char *text = NULL;
            size_t size = 0;
            enum uqff_code code = uqff_model_read_asset(model, i, &text, &size, err);
            code = code == UQFF_OK ? parse_config(g, text, size, err) : code;
            uqff_free(text);
            return code;
        }
    }
    return UQFF_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

enum uqff_code generator_open(struct generator *g, struct cli *cli, const struct uqff_model *model,
                              const struct uqff_vocabulary *vocabulary, bool exact,
                              const struct uqff_sampler_options *sampling,
                              const struct uqff_warner *warner, struct uqff_error *err) {
    const struct uqff_transformer_options options = {
        .exact = exact, .threads = (unsigned)cli->threads, .warner = warner};
    *g = (struct generator){
        .cli = cli,
        .vocabulary = vocabulary,
        .info = uqff_vocabulary_info(vocabulary),
        .terminal = isatty(STDOUT_FILENO) == 1,
    };
    enum uqff_code code = find_ends(g, model, err);
    if (code == UQFF_OK) {
        code = uqff_tokenizer_new(vocabulary, warner, &g->tokenizer, err);
    }
    if (code == UQFF_OK) {
        code = uqff_sampler_new(sampling, &g->sampler, err);
    }
    if (code == UQFF_OK) {
        code = uqff_transformer_open(model, &options, &g->transformer, err);
    }
    if (code == UQFF_OK) {
        g->vocabulary_size = uqff_transformer_vocabulary(g->transformer);
        g->logits = uqff_alloc_array(g->vocabulary_size, sizeof *g->logits);
        code = g->logits == NULL ? uqff_fail_memory(err) : UQFF_OK;
    }
    return code;
}

enum uqff_code generator_make_room(struct generator *g, size_t capacity, struct uqff_error *err) {
    g->capacity = capacity;
    g->tokens = uqff_alloc_array(capacity, sizeof *g->tokens);
    return g->tokens == NULL ? uqff_fail_memory(err)
                             : uqff_sequence_new(g->transformer, capacity, &g->sequence, err);
}

void generator_close(struct generator *g) {
    uqff_sequence_free(g->sequence);
    uqff_transformer_close(g->transformer);
    uqff_sampler_free(g->sampler);
    uqff_tokenizer_free(g->tokenizer);
    uqff_free(g->tokens);
    uqff_free(g->logits);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Writes a character to standard output. On a terminal, what would control it is escaped. */
static void put_character(const struct generator *g, const char *character, size_t n) {
    char printable[32];
    const bool plain = *character == '\n' || *character == '\t' || *character == '\\';
    if (g->terminal && !plain) {
        uqff_printable(printable, sizeof printable, character, n);
        fputs(printable, stdout);
    } else {
        fwrite(character, 1, n, stdout);
    }
}

/* How many bytes a character of UTF-8 has by its first byte; 0 for none. */
static size_t character_length(unsigned char first) {
    return first < 0x80   ? 1
           : first < 0xC2 ? 0
           : first < 0xE0 ? 2
           : first < 0xF0 ? 3
           : first < 0xF5 ? 4
                          : 0;
}

/* Moves complete characters from `pending` to the text and the stream. A character that has only
 * begun stays, unless this is the end; bytes that cannot be one become U+FFFD. Fails when nobody
 * can read the stream: what would follow is not worth computing. */
static enum uqff_code put_pending(const struct generator *g, struct uqff_buffer *pending, bool end,
                                  bool stream, struct uqff_buffer *text, struct uqff_error *err) {
    size_t i = 0;
    while (i < pending->size) {
        const char *at = pending->data + i;
        const size_t left = pending->size - i, length = character_length((unsigned char)*at);
        size_t taken = 1;
        const char *character = "\xEF\xBF\xBD";
        size_t n = 3;
        if (length != 0 && length <= left && uqff_utf8_valid(at, length, NULL)) {
            character = at;
            taken = n = length;
        } else if (length > left && !end) {
            bool begun = true;
            for (size_t k = 1; k < left; k++) {
                begun = begun && ((unsigned char)at[k] & 0xC0) == 0x80;
            }
            if (begun) {
                break;
            }
        }
        uqff_buffer_append(text, character, n);
        if (stream) {
            put_character(g, character, n);
        }
        i += taken;
    }
    if (i > 0) {
        memmove(pending->data, pending->data + i, pending->size - i);
        pending->size -= i;
    }
    return stream ? output_finish(err) : UQFF_OK;
}

/* Appends the text of one token in the middle of others. Of the first token a text loses the space
 * that tokenizing put there: so the token is written twice, and the second half taken. */
static enum uqff_code append_token(const struct generator *g, uint32_t token,
                                   struct uqff_buffer *out, struct uqff_error *err) {
    const uint32_t twice[2] = {token, token};
    struct uqff_buffer text = {0};
    if (token >= g->info->size || uqff_vocabulary_token(g->vocabulary, token).length == 0) {
        return UQFF_OK; /* rows of the embedding beyond the vocabulary have no text */
    }
    enum uqff_code code = uqff_detokenize(g->tokenizer, twice, 2, false, &text, err);
    if (code == UQFF_OK) {
        const size_t length = (text.size + 1) / 2;
        if (length > 0) {
            uqff_buffer_append(out, text.data + text.size - length, length);
        }
        code = out->failed ? uqff_fail_memory(err) : UQFF_OK;
    }
    uqff_buffer_free(&text);
    return code;
}

/* ---- evaluating ------------------------------------------------------------------------------ */

static enum uqff_code take_logits(void *context, size_t first, size_t count, const float *logits,
                                  struct uqff_error *err) {
    struct generator *g = context;
    (void)first;
    (void)err;
    memcpy(g->logits, logits + (count - 1) * g->vocabulary_size,
           g->vocabulary_size * sizeof *g->logits);
    return UQFF_OK;
}

static enum uqff_code evaluate(struct generator *g, const uint32_t *tokens, size_t count,
                               struct uqff_error *err) {
    const struct uqff_logits logits = {take_logits, g};
    enum uqff_code code =
        uqff_sequence_eval(g->sequence, tokens, count, count - 1, &logits, NULL, err);
    if (code == UQFF_OK) {
        memcpy(g->tokens + g->token_count, tokens, count * sizeof *tokens);
        g->token_count += count;
    }
    return code;
}

/* Evaluates what the sequence does not hold yet of the prompt; all of it when the prompt goes
 * another way. */
static enum uqff_code evaluate_prompt(struct generator *g, const uint32_t *prompt, size_t count,
                                      struct generated *out, struct uqff_error *err) {
    if (g->token_count >= count ||
        memcmp(g->tokens, prompt, g->token_count * sizeof *prompt) != 0) {
        uqff_sequence_reset(g->sequence);
        g->token_count = 0;
    }
    out->prompt_tokens = count;
    out->evaluated = count - g->token_count;
    for (size_t i = g->token_count; i < count; i++) {
        uqff_sampler_accept(g->sampler, prompt[i]);
    }
    const double begun = seconds_now();
    enum uqff_code code = evaluate(g, prompt + g->token_count, out->evaluated, err);
    out->prompt_seconds = seconds_now() - begun;
    return code;
}

enum uqff_code generator_run(struct generator *g, const uint32_t *prompt, size_t count, size_t most,
                             bool stream, struct generated *out, struct uqff_error *err) {
    *out = (struct generated){.stop = "length"};
    struct uqff_buffer pending = {0};
    if (count == 0 || count > g->capacity) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "the prompt has %zu tokens, expected from 1 to %zu, the context", count,
                         g->capacity);
    }
    out->ids = uqff_alloc_array(most < g->capacity ? most : g->capacity, sizeof *out->ids);
    enum uqff_code code =
        out->ids == NULL ? uqff_fail_memory(err) : evaluate_prompt(g, prompt, count, out, err);
    const double begun = seconds_now();
    while (code == UQFF_OK && out->count < most) {
        uint32_t token = 0;
        if (out->count == g->capacity - count) {
            out->stop = "context";
            break;
        }
        code = uqff_sampler_choose(g->sampler, g->logits, g->vocabulary_size, &token, err);
        if (code == UQFF_OK && is_end(g, token)) {
            out->stop = "end";
            break;
        }
        if (code == UQFF_OK) {
            out->ids[out->count++] = token;
            code = append_token(g, token, &pending, err);
        }
        if (code == UQFF_OK) {
            code = put_pending(g, &pending, false, stream, &out->text, err);
        }
        /* The logits behind the last token are of no use. */
        if (code == UQFF_OK && out->count < most && out->count < g->capacity - count) {
            code = evaluate(g, &token, 1, err);
        }
    }
    out->text_seconds = seconds_now() - begun;
    if (code == UQFF_OK) {
        code = put_pending(g, &pending, true, stream, &out->text, err);
    }
    uqff_buffer_free(&pending);
    return code == UQFF_OK && out->text.failed ? uqff_fail_memory(err) : code;
}

void generated_free(struct generated *generated) {
    uqff_buffer_free(&generated->text);
    uqff_free(generated->ids);
}
