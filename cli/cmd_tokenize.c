/* uqff tokenize: text to ids and back. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "input.h"
#include "json.h"
#include "output.h"
#include "table.h"
#include "uqff/validation.h"

struct values {
    bool ids, decode, plain;
};

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"ids", 0, NULL, OPTION_FLAG, AT(ids), COMPLETE_NONE, NULL,
     "print the ids alone, on one line, with a space between them"},
    {"decode", 0, NULL, OPTION_FLAG, AT(decode), COMPLETE_NONE, NULL,
     "the text is ids, with spaces, commas or line ends between them: print what they stand for"},
    {"plain", 0, NULL, OPTION_FLAG, AT(plain), COMPLETE_NONE, NULL,
     "put no token first or last, and take the text of control tokens for text"},
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", false, false, COMPLETE_FILE,
     "a model, or a tokenizer.json, tokenizer.model or GGUF with a vocabulary alone"},
    {"TEXT", true, false, COMPLETE_NONE, "the text; without it, or with -, standard input"},
    {0},
};

static const char *const description[] = {
    "Prints the tokens that a text becomes, as the model's own vocabulary makes them: id, kind, "
    "and "
    "the text that each stands for. BOS and EOS are put first and last where the model wants them, "
    "and the text of a control token (<|eot_id|>) stands for the token.",
    "With --decode it goes the other way. What tokenizing puts first and last is left out again, "
    "so "
    "that a text comes back as it was: byte by byte to a file or pipe, on a terminal with controls "
    "escaped.",
    NULL,
};

static const char *const json[] = {
    "    schema        \"uqff.tokenize/1\"\n"
    "    path          MODEL\n"
    "    vocabulary    {kind, size, split, add_bos, add_eos}; kind is \"bpe\" or\n"
    "                  \"spm\", split llama.cpp's name of the split rule or \"\"\n"
    "    bytes         of the text\n"
    "    text          with --decode: the text\n"
    "    ids           [id]\n"
    "    tokens        [{id, type, text}], not with --ids\n"
    "    warnings      [text]",
    "Text that is not valid UTF-8, as the bytes of one token may be, is {\"hex\": \"…\"}.",
    NULL,
};

static const struct example examples[] = {
    {"uqff tokenize testdata/storyteller 'Once upon a time'", "The tokens of a text:"},
    {"uqff tokenize testdata/storyteller --ids <testdata/storyteller/valid.txt | wc -w",
     "How many tokens a file has:"},
    {"uqff tokenize testdata/storyteller --decode '301 302'", "And back:"},
    {0},
};

/* ---- opening --------------------------------------------------------------------------------- */

/* A file that is no container of weights other than GGUF may be a vocabulary alone. */
static bool is_vocabulary_file(const char *path) {
    return uqff_path_exists(path) && !uqff_path_is_directory(path) &&
           !uqff_text_ends(path, ".uqff") && !uqff_text_ends(path, ".safetensors") &&
           !uqff_text_ends(path, ".index.json");
}

static enum uqff_code open_vocabulary(struct cli *cli, struct uqff_model **model,
                                      struct uqff_vocabulary **vocabulary, struct uqff_error *err) {
    const struct uqff_warner warner = output_warner(cli);
    const struct uqff_model_options open = {.warner = &warner};
    cli->file = cli->arguments.items[0];
    if (is_vocabulary_file(cli->file)) {
        return uqff_vocabulary_open_path(cli->file, &warner, vocabulary, err);
    }
    enum uqff_code code = uqff_model_open(cli->file, &open, model, err);
    return code != UQFF_OK ? code : uqff_vocabulary_open(*model, &warner, vocabulary, err);
}

static enum uqff_code read_input(const struct cli *cli, struct uqff_buffer *text,
                                 struct uqff_error *err) {
    if (cli->arguments.count < 2 || input_is_stream(cli->arguments.items[1])) {
        return input_read(text, UINT64_MAX, err);
    }
    const char *given = cli->arguments.items[1];
    uqff_buffer_append(text, given, strlen(given));
    return text->failed ? uqff_fail_memory(err) : UQFF_OK;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

struct job {
    struct cli *cli;
    const struct values *values;
    const struct uqff_vocabulary *vocabulary;
    const struct uqff_tokenizer *tokenizer;
    uint32_t *ids;
    size_t count, capacity;
    struct uqff_buffer text;
};

static const char *type_name(enum uqff_token_type type) {
    static const char *const names[] = {"",     "normal", "unknown", "control",
                                        "user", "unused", "byte"};
    return names[type];
}

/* What one token stands for within a text. A space that goes at a text's beginning would be lost on
 * the token alone: of two in a row it is the second that shows it, and it is half of both, or one
 * more byte. */
static enum uqff_code token_text(const struct job *job, uint32_t id, struct uqff_buffer *out,
                                 size_t *begin, struct uqff_error *err) {
    const uint32_t twice[] = {id, id};
    out->size = 0;
    enum uqff_code code = uqff_detokenize(job->tokenizer, twice, 2, true, out, err);
    *begin = out->size / 2;
    return code;
}

static enum uqff_code print_tokens(const struct job *job, struct uqff_error *err) {
    struct table table = {0};
    struct uqff_buffer text = {0}, quoted = {0};
    enum uqff_code code = UQFF_OK;
    table_column(&table, "ID", ALIGN_RIGHT);
    table_column(&table, "TYPE", ALIGN_LEFT);
    table_column(&table, "TEXT", ALIGN_LEFT);
    for (size_t i = 0; i < job->count && code == UQFF_OK; i++) {
        size_t begin = 0;
        code = token_text(job, job->ids[i], &text, &begin, err);
        if (code == UQFF_OK) {
            quoted.size = 0;
            uqff_buffer_printf(&quoted, "\"");
            uqff_buffer_append(&quoted, text.data + begin, text.size - begin);
            uqff_buffer_printf(&quoted, "\"");
            table_cell(&table, "%u", job->ids[i]);
            table_text(&table, type_name(uqff_vocabulary_token(job->vocabulary, job->ids[i]).type));
            table_bytes(&table, 0, quoted.data, quoted.size);
        }
    }
    code = code == UQFF_OK && (text.failed || quoted.failed) ? uqff_fail_memory(err) : code;
    uqff_buffer_free(&text);
    uqff_buffer_free(&quoted);
    if (code != UQFF_OK) {
        table_free(&table);
        return code;
    }
    code = table_print(&table, job->cli, 0, err);
    if (code == UQFF_OK && !job->cli->quiet) {
        char count[32], bytes[32];
        printf("\n%s token%s, %s byte%s\n", output_count(count, job->count),
               job->count == 1 ? "" : "s", output_count(bytes, job->text.size),
               job->text.size == 1 ? "" : "s");
    }
    return code;
}

static void print_ids(const struct job *job) {
    for (size_t i = 0; i < job->count; i++) {
        printf("%s%u", i == 0 ? "" : " ", job->ids[i]);
    }
    printf("\n");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static enum uqff_code list_tokens(const struct job *job, cJSON *document, struct uqff_error *err) {
    struct uqff_buffer list = {0}, text = {0};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < job->count && code == UQFF_OK; i++) {
        size_t begin = 0;
        code = token_text(job, job->ids[i], &text, &begin, err);
        if (code == UQFF_OK) {
            uqff_buffer_printf(&list, "%s{\"id\":%u,\"type\":\"%s\",\"text\":", i == 0 ? "" : ",",
                               job->ids[i],
                               type_name(uqff_vocabulary_token(job->vocabulary, job->ids[i]).type));
            json_put_bytes(&list, text.data + begin, text.size - begin);
            uqff_buffer_printf(&list, "}");
        }
    }
    uqff_buffer_free(&text);
    if (code != UQFF_OK) {
        uqff_buffer_free(&list);
        return code;
    }
    json_list(document, "tokens", &list);
    return UQFF_OK;
}

static enum uqff_code print_json(const struct job *job, struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = uqff_vocabulary_info(job->vocabulary);
    struct uqff_buffer ids = {0};
    cJSON *document = json_document(job->cli);
    cJSON *vocabulary;
    enum uqff_code code = UQFF_OK;
    json_text(document, "path", job->cli->file);
    vocabulary = json_object(document, "vocabulary");
    json_text(vocabulary, "kind", info->kind == UQFF_VOCABULARY_BPE ? "bpe" : "spm");
    json_u64(vocabulary, "size", info->size);
    json_text(vocabulary, "split", info->pre);
    json_bool(vocabulary, "add_bos", info->add_bos);
    json_bool(vocabulary, "add_eos", info->add_eos);
    json_u64(document, "bytes", job->text.size);
    if (job->values->decode) {
        json_bytes(document, "text", job->text.data, job->text.size);
    }
    for (size_t i = 0; i < job->count; i++) {
        uqff_buffer_printf(&ids, "%s%u", i == 0 ? "" : ",", job->ids[i]);
    }
    json_list(document, "ids", &ids);
    if (!job->values->ids) {
        code = list_tokens(job, document, err);
    }
    if (code != UQFF_OK) {
        cJSON_Delete(document);
        return code;
    }
    return json_print(job->cli, document, err);
}

/* ---- both ways ------------------------------------------------------------------------------- */

static enum uqff_code encode(struct job *job, struct uqff_error *err) {
    const struct uqff_tokenize_options how = {!job->values->plain, !job->values->plain};
    enum uqff_code code =
        uqff_tokenize(job->tokenizer, job->text.size == 0 ? "" : job->text.data, job->text.size,
                      &how, &job->ids, &job->count, &job->capacity, err);
    if (code != UQFF_OK || job->cli->json) {
        return code != UQFF_OK ? code : print_json(job, err);
    }
    if (job->values->ids) {
        print_ids(job);
        return UQFF_OK;
    }
    return print_tokens(job, err);
}

static enum uqff_code parse_ids(struct job *job, struct uqff_error *err) {
    static const char between[] = " \t\r\n,[]";
    const char *text = job->text.size == 0 ? "" : job->text.data;
    const char *end = text + job->text.size;
    while (text < end) {
        size_t n = 0;
        uint64_t id = 0;
        if (*text != 0 && strchr(between, *text) != NULL) {
            text++;
            continue;
        }
        for (; text + n < end && text[n] >= '0' && text[n] <= '9' && n < 10; n++) {
            id = id * 10 + (uint64_t)(text[n] - '0');
        }
        bool ended = text + n == end || (text[n] != 0 && strchr(between, text[n]) != NULL);
        if (n == 0 || !ended || id > UINT32_MAX) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "id %zu: found '%.*s', expected a whole number", job->count,
                             (int)strcspn(text, between), text);
        }
        void *items = job->ids;
        enum uqff_code code =
            uqff_grow(&items, &job->capacity, job->count + 1, sizeof *job->ids, err);
        job->ids = items;
        if (code != UQFF_OK) {
            return code;
        }
        job->ids[job->count++] = (uint32_t)id;
        text += n;
    }
    return UQFF_OK;
}

static void print_text(const struct job *job) {
    if (!isatty(STDOUT_FILENO)) {
        fwrite(job->text.data, 1, job->text.size, stdout);
        return;
    }
    for (size_t at = 0; at < job->text.size;) {
        const char *line = job->text.data + at;
        const char *next = memchr(line, '\n', job->text.size - at);
        size_t n = next == NULL ? job->text.size - at : (size_t)(next - line);
        char part[4096];
        for (size_t i = 0; i < n; i += 512) { /* an escape is at most 8 times its bytes */
            uqff_printable(part, sizeof part, line + i, n - i < 512 ? n - i : 512);
            fputs(part, stdout);
        }
        putchar('\n');
        at += n + (next != NULL);
    }
}

static enum uqff_code decode(struct job *job, struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = uqff_vocabulary_info(job->vocabulary);
    enum uqff_code code = parse_ids(job, err);
    const uint32_t *ids = job->ids;
    size_t count = job->count;
    if (!job->values->plain && info->add_bos && count > 0 && ids[0] == info->bos) {
        ids++;
        count--;
    }
    if (!job->values->plain && info->add_eos && count > 0 && ids[count - 1] == info->eos) {
        count--;
    }
    job->text.size = 0;
    code =
        code != UQFF_OK ? code : uqff_detokenize(job->tokenizer, ids, count, true, &job->text, err);
    if (code != UQFF_OK || job->cli->json) {
        return code != UQFF_OK ? code : print_json(job, err);
    }
    print_text(job);
    return UQFF_OK;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    struct uqff_model *model = NULL;
    struct uqff_vocabulary *vocabulary = NULL;
    struct uqff_tokenizer *tokenizer = NULL;
    struct job job = {.cli = cli, .values = arguments};
    const struct uqff_warner warner = output_warner(cli);
    enum uqff_code code = open_vocabulary(cli, &model, &vocabulary, err);
    if (code == UQFF_OK) {
        code = uqff_tokenizer_new(vocabulary, &warner, &tokenizer, err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "%s", cli->file);
        }
    }
    code = code != UQFF_OK ? code : read_input(cli, &job.text, err);
    job.vocabulary = vocabulary;
    job.tokenizer = tokenizer;
    if (code == UQFF_OK) {
        code = job.values->decode ? decode(&job, err) : encode(&job, err);
    }
    uqff_free(job.ids);
    uqff_buffer_free(&job.text);
    uqff_tokenizer_free(tokenizer);
    uqff_vocabulary_close(vocabulary);
    uqff_model_close(model);
    return code;
}

const struct command command_tokenize = {
    .name = "tokenize",
    .summary = "Turn text into tokens, and tokens into text",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
