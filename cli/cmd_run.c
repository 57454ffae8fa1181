/* uqff run: text from a model, the proof that it works. */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "corpus.h"
#include "generate.h"
#include "input.h"
#include "json.h"
#include "output.h"

struct values {
    const char *prompt, *system, *tokenizer;
    double temperature, top_p, min_p, repeat_penalty;
    uint64_t most, top_k, seed, context;
    bool chat, exact;
};

enum { DEFAULT_LENGTH = 256, DEFAULT_TOP_K = 40, DEFAULT_CONTEXT = 4096 };
static const double default_top_p = 0.95;
/* No context holds as much. */
#define LARGEST_PROMPT ((uint64_t)1 << 30)

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"prompt", 'p', "PROMPT", OPTION_TEXT, AT(prompt), COMPLETE_NONE, NULL,
     "text to continue, or with --chat what the user says; - reads it from standard input, without "
     "the line end that comes last"},
    {"chat", 0, NULL, OPTION_FLAG, AT(chat), COMPLETE_NONE, NULL,
     "put the prompt into the model's chat template; without -p, each line of standard input is "
     "a turn"},
    {"system", 0, "TEXT", OPTION_TEXT, AT(system), COMPLETE_NONE, NULL,
     "with --chat: what the model is told first"},
    {"predict", 'n', "N", OPTION_COUNT, AT(most), COMPLETE_NONE, "256", "tokens to make, at most"},
    {"temp", 0, "T", OPTION_REAL, AT(temperature), COMPLETE_NONE, "0",
     "draw tokens at this temperature; 0 takes the most likely one each time"},
    {"top-k", 0, "K", OPTION_COUNT, AT(top_k), COMPLETE_NONE, "40",
     "draw among the K most likely tokens"},
    {"top-p", 0, "P", OPTION_REAL, AT(top_p), COMPLETE_NONE, "0.95",
     "draw among the most likely tokens that hold the share P together; 1 for all"},
    {"min-p", 0, "P", OPTION_REAL, AT(min_p), COMPLETE_NONE, "0",
     "do not draw what is less likely than the share P of the most likely token"},
    {"repeat-penalty", 0, "X", OPTION_REAL, AT(repeat_penalty), COMPLETE_NONE, "1",
     "make the last 64 tokens less likely"},
    {"seed", 0, "N", OPTION_COUNT, AT(seed), COMPLETE_NONE, "1",
     "what the draws begin with: the same seed draws the same text"},
    {"ctx", 0, "N", OPTION_COUNT, AT(context), COMPLETE_NONE, "the model's, up to 4096",
     "tokens that prompt and text have room for together"},
    {"exact", 0, NULL, OPTION_FLAG, AT(exact), COMPLETE_NONE, NULL,
     "expand weights to float32 and round no activations; slower"},
    TOKENIZER_OPTION(AT(tokenizer)),
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", false, false, COMPLETE_FILE, "what to run; MODEL#variant names a variant"},
    {0},
};

static const char *const description[] = {
    "Continues a prompt. Text goes to standard output as it comes; the speed is told on standard "
    "error. It ends with a token that ends texts, with -n, or with the context.",
    "The same model, prompt and options give the same text on every machine and with any number of "
    "threads, drawn texts included: the generator is xoshiro256**, seeded by splitmix64 with "
    "--seed, and ties go to the smaller id. Steps and their order are llama.cpp's: penalty, top-k, "
    "top-p, min-p, temperature.",
    "With --chat the template's clock is that of the machine, or SOURCE_DATE_EPOCH.",
    NULL,
};

static const char *const json[] = {
    "    schema    \"uqff.run/1\"\n"
    "    path      the model\n"
    "    prompt    the text that was continued, template included\n"
    "    prompt_ids, ids\n"
    "    text      what the model wrote\n"
    "    stop      \"end\", \"length\" or \"context\"\n"
    "    sampling  {temperature, top_k, top_p, min_p, repeat_penalty, seed}\n"
    "    timings   {prompt_seconds, prompt_per_second, text_seconds, text_per_second}\n"
    "    warnings  [text]",
    NULL,
};

static const struct example examples[] = {
    {"uqff run testdata/storyteller -p 'In a small village' -n 60", "Does the source work?"},
    {"uqff run storyteller.uqff#q4_k_m -p 'In a small village' -n 60", "And the quantization?"},
    {"uqff run testdata/storyteller -p - <prompt.txt", "A prompt from a file:"},
    {"uqff run testdata/storyteller -p 'In a small village' --temp 0.8 --seed 7",
     "Something else:"},
    {0},
};

/* ---- options --------------------------------------------------------------------------------- */

static enum uqff_code check_values(const struct cli *cli, const struct values *values,
                                   struct uqff_error *err) {
    const struct {
        const char *name;
        bool given;
    } draws[] = {{"top-k", values->top_k != 0},
                 {"top-p", values->top_p != 0},
                 {"min-p", values->min_p != 0},
                 {"seed", values->seed != 0}};
    for (size_t i = 0; i < sizeof draws / sizeof draws[0]; i++) {
        if (draws[i].given && values->temperature == 0) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "option '--%s' needs --temp: without it nothing is drawn, the most "
                             "likely token is taken",
                             draws[i].name);
        }
    }
    if (values->system != NULL && !values->chat) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "option '--system' needs --chat");
    }
    if (values->prompt == NULL && (!values->chat || cli->json)) {
        return uqff_fail(
            err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
            "run: -p PROMPT is missing, for instance -p 'Once upon a time'; -p - reads "
            "it from standard input");
    }
    return UQFF_OK;
}

static struct uqff_sampler_options sampling(const struct values *values) {
    const bool draws = values->temperature > 0;
    return (struct uqff_sampler_options){
        .temperature = values->temperature,
        .top_k = values->top_k != 0 ? (size_t)values->top_k
                 : draws            ? DEFAULT_TOP_K
                                    : 0,
        .top_p = values->top_p != 0 ? values->top_p
                 : draws            ? default_top_p
                                    : 0,
        .min_p = values->min_p,
        .repeat_penalty = values->repeat_penalty,
        .seed = values->seed != 0 ? values->seed : 1,
    };
}

/* ---- prompts --------------------------------------------------------------------------------- */

struct session {
    struct cli *cli;
    const struct values *values;
    struct generator *generator;
    struct uqff_template *template; /* NULL without --chat */
    struct uqff_buffer messages;    /* {"role":…,"content":…},… */
    struct uqff_buffer prompt;      /* text of this turn's */
    uint32_t *ids;
    size_t count, capacity;
};

static void add_message(struct session *s, const char *role, const char *text, size_t n) {
    uqff_buffer_printf(&s->messages,
                       "%s{\"role\":\"%s\",\"content\":", s->messages.size == 0 ? "" : ",", role);
    uqff_buffer_json_string(&s->messages, text, n);
    uqff_buffer_printf(&s->messages, "}");
}

static void put_special(struct session *s, const char *name, uint32_t id, struct uqff_buffer *out) {
    if (id != UQFF_NO_TOKEN) {
        const struct uqff_token token = uqff_vocabulary_token(s->generator->vocabulary, id);
        uqff_buffer_printf(out, "\"%s\":", name);
        uqff_buffer_json_string(out, token.text, token.length);
        uqff_buffer_printf(out, ",");
    }
}

/* The day and time for templates that tell the model what day it is. */
static void put_clock(struct uqff_buffer *out) {
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    time_t now = epoch != NULL && epoch[0] != '\0' ? (time_t)strtoll(epoch, NULL, 10) : time(NULL);
    struct tm parts;
    char text[40] = "";
    if (gmtime_r(&now, &parts) != NULL &&
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) != 0) {
        uqff_buffer_printf(out, "\"strftime_now\":\"%s\",", text);
    }
}

/* The conversation so far, as the template writes it. */
static enum uqff_code render(struct session *s, struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = s->generator->info;
    struct uqff_buffer variables = {0};
    uqff_buffer_printf(&variables, "{");
    put_special(s, "bos_token", info->bos, &variables);
    put_special(s, "eos_token", info->eos, &variables);
    put_clock(&variables);
    uqff_buffer_printf(&variables, "\"add_generation_prompt\":true,\"messages\":[%s]}",
                       s->messages.data);
    enum uqff_code code = UQFF_OK;
    s->prompt.size = 0;
    if (variables.failed || s->messages.failed) {
        code = uqff_fail_memory(err);
    } else {
        code = uqff_template_render(s->template, variables.data, variables.size, &s->prompt, err);
    }
    uqff_buffer_free(&variables);
    return code;
}

static bool begins_with_bos(const struct session *s) {
    const struct uqff_vocabulary_info *info = s->generator->info;
    if (info->bos == UQFF_NO_TOKEN) {
        return false;
    }
    const struct uqff_token bos = uqff_vocabulary_token(s->generator->vocabulary, info->bos);
    return bos.length > 0 && s->prompt.size >= bos.length &&
           memcmp(s->prompt.data, bos.text, bos.length) == 0;
}

/* Ids of s->prompt. What a template writes as the text of a control token means it; what a user
 * writes does not. */
static enum uqff_code tokenize(struct session *s, struct uqff_error *err) {
    const bool chat = s->template != NULL;
    const struct uqff_tokenize_options how = {
        .add_special = !chat || !begins_with_bos(s),
        .parse_special = chat,
    };
    s->count = 0;
    enum uqff_code code =
        uqff_tokenize(s->generator->tokenizer, s->prompt.data == NULL ? "" : s->prompt.data,
                      s->prompt.size, &how, &s->ids, &s->count, &s->capacity, err);
    const struct uqff_vocabulary_info *info = s->generator->info;
    /* A text that is to be continued has not ended. */
    if (code == UQFF_OK && !chat && info->add_eos && s->count > 1 &&
        s->ids[s->count - 1] == info->eos) {
        s->count--;
    }
    if (code == UQFF_OK && s->count == 0) {
        code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "the prompt is empty, and the vocabulary has no token to begin with");
    }
    return code;
}

/* ---- results --------------------------------------------------------------------------------- */

static double rate(size_t count, double seconds) {
    return seconds > 0 ? (double)count / seconds : 0;
}

static void print_speed(const struct session *s, const struct generated *made) {
    if (s->cli->quiet) {
        return;
    }
    fflush(stdout);
    fprintf(stderr, "%sprompt: %zu token%s, %.1f a second; text: %zu token%s, %.1f a second%s\n",
            s->cli->color_err ? "\x1b[2m" : "", made->evaluated, made->evaluated == 1 ? "" : "s",
            rate(made->evaluated, made->prompt_seconds), made->count, made->count == 1 ? "" : "s",
            rate(made->count, made->text_seconds), s->cli->color_err ? "\x1b[0m" : "");
}

static void json_ids(cJSON *document, const char *key, const uint32_t *ids, size_t count) {
    struct uqff_buffer list = {0};
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_printf(&list, "%s%u", i == 0 ? "" : ",", ids[i]);
    }
    json_list(document, key, &list);
}

static enum uqff_code print_json(const struct session *s, const struct generated *made,
                                 struct uqff_error *err) {
    const struct uqff_sampler_options how = sampling(s->values);
    cJSON *document = json_document(s->cli);
    json_text(document, "path", s->cli->file);
    json_bytes(document, "prompt", s->prompt.data == NULL ? "" : s->prompt.data, s->prompt.size);
    json_ids(document, "prompt_ids", s->ids, s->count);
    json_bytes(document, "text", made->text.data == NULL ? "" : made->text.data, made->text.size);
    json_ids(document, "ids", made->ids, made->count);
    json_text(document, "stop", made->stop);
    cJSON *object = json_object(document, "sampling");
    json_double(object, "temperature", how.temperature);
    json_u64(object, "top_k", how.top_k);
    json_double(object, "top_p", how.top_p);
    json_double(object, "min_p", how.min_p);
    json_double(object, "repeat_penalty", how.repeat_penalty == 0 ? 1 : how.repeat_penalty);
    json_u64(object, "seed", how.seed);
    object = json_object(document, "timings");
    json_double(object, "prompt_seconds", made->prompt_seconds);
    json_double(object, "prompt_per_second", rate(made->evaluated, made->prompt_seconds));
    json_double(object, "text_seconds", made->text_seconds);
    json_double(object, "text_per_second", rate(made->count, made->text_seconds));
    return json_print(s->cli, document, err);
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* Tokenizes the prompt, continues it, and tells. The text is kept as the next message. */
static enum uqff_code continue_prompt(struct session *s, struct uqff_error *err) {
    const size_t most = s->values->most != 0 ? (size_t)s->values->most : DEFAULT_LENGTH;
    struct generated made = {0};
    enum uqff_code code = tokenize(s, err);
    if (code == UQFF_OK && s->generator->sequence == NULL) {
        const uint64_t known = uqff_transformer_context(s->generator->transformer);
        size_t capacity = s->values->context != 0                 ? (size_t)s->values->context
                          : known != 0 && known < DEFAULT_CONTEXT ? (size_t)known
                                                                  : DEFAULT_CONTEXT;
        /* Of a single prompt it is known how much it can need. */
        if (s->values->prompt != NULL && s->count < capacity && most < capacity - s->count) {
            capacity = s->count + most;
        }
        code = generator_make_room(s->generator, capacity, err);
    }
    if (code == UQFF_OK) {
        code = generator_run(s->generator, s->ids, s->count, most, !s->cli->json, &made, err);
    }
    if (code == UQFF_OK && s->cli->json) {
        code = print_json(s, &made, err);
    } else if (!s->cli->json && ferror(stdout) == 0 && (made.text.size > 0 || code == UQFF_OK)) {
        printf("\n");
        print_speed(s, &made);
    }
    if (code == UQFF_OK && s->template != NULL) {
        add_message(s, "assistant", made.text.data == NULL ? "" : made.text.data, made.text.size);
    }
    generated_free(&made);
    return code;
}

static enum uqff_code turn(struct session *s, const char *text, size_t n, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    if (s->template == NULL) {
        uqff_buffer_append(&s->prompt, text, n);
        code = s->prompt.failed ? uqff_fail_memory(err) : UQFF_OK;
    } else {
        add_message(s, "user", text, n);
        code = render(s, err);
    }
    return code == UQFF_OK ? continue_prompt(s, err) : code;
}

/* All of standard input is one prompt. */
static enum uqff_code turn_of_input(struct session *s, struct uqff_error *err) {
    struct uqff_buffer text = {0};
    enum uqff_code code = input_read(&text, LARGEST_PROMPT, err);
    if (code == UQFF_OK) {
        const size_t n = text.size - (text.size > 0 && text.data[text.size - 1] == '\n');
        code = turn(s, text.data == NULL ? "" : text.data, n, err);
    }
    uqff_buffer_free(&text);
    return code;
}

/* A turn for each line of standard input. */
static enum uqff_code converse(struct session *s, struct uqff_error *err) {
    const bool person = isatty(STDIN_FILENO) == 1 && !s->cli->quiet;
    char *line = NULL;
    size_t size = 0;
    enum uqff_code code = UQFF_OK;
    while (code == UQFF_OK) {
        if (person) {
            fprintf(stderr, "> ");
        }
        errno = 0;
        ssize_t length = getline(&line, &size, stdin);
        if (length < 0) {
            code = ferror(stdin) != 0 ? uqff_fail(err, UQFF_E_READ, UQFF_NO_OFFSET,
                                                  "standard input: %s", strerror(errno))
                                      : UQFF_OK;
            break;
        }
        length -= length > 0 && line[length - 1] == '\n';
        if (length > 0) {
            code = turn(s, line, (size_t)length, err);
        }
    }
    if (person) {
        fprintf(stderr, "\n");
    }
    free(line);
    return code;
}

static enum uqff_code open_template(struct session *s, struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = s->generator->info;
    if (info->chat_template == NULL) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: has no chat template; without --chat the prompt is continued as it "
                         "stands",
                         s->cli->file);
    }
    return uqff_template_open(info->chat_template, info->chat_template_length, NULL, &s->template,
                              err);
}

static enum uqff_code talk(struct session *s, struct uqff_error *err) {
    enum uqff_code code = s->values->chat ? open_template(s, err) : UQFF_OK;
    if (code == UQFF_OK && s->values->system != NULL) {
        add_message(s, "system", s->values->system, strlen(s->values->system));
    }
    if (code == UQFF_OK) {
        code = s->values->prompt == NULL ? converse(s, err)
               : input_is_stream(s->values->prompt)
                   ? turn_of_input(s, err)
                   : turn(s, s->values->prompt, strlen(s->values->prompt), err);
    }
    uqff_template_close(s->template);
    uqff_buffer_free(&s->messages);
    uqff_buffer_free(&s->prompt);
    uqff_free(s->ids);
    return code;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const struct uqff_warner warner = output_warner(cli);
    const struct uqff_model_options open = {.warner = &warner};
    const struct uqff_sampler_options how = sampling(values);
    struct uqff_model *model = NULL;
    struct uqff_vocabulary *vocabulary = NULL;
    struct generator generator = {0};
    enum uqff_code code = check_values(cli, values, err);
    if (code != UQFF_OK) {
        return code;
    }
    cli->file = cli->arguments.items[0];
    code = uqff_model_open(cli->file, &open, &model, err);
    if (code == UQFF_OK) {
        code = corpus_vocabulary(model, values->tokenizer, &warner, &vocabulary, err);
    }
    if (code == UQFF_OK) {
        code =
            generator_open(&generator, cli, model, vocabulary, values->exact, &how, &warner, err);
    }
    if (code == UQFF_OK) {
        struct session session = {.cli = cli, .values = values, .generator = &generator};
        code = talk(&session, err);
    }
    generator_close(&generator);
    uqff_vocabulary_close(vocabulary);
    if (model != NULL) {
        uqff_model_close(model);
    }
    return code;
}

const struct command command_run = {
    .name = "run",
    .summary = "Continue a text, or chat",
    .needs = "-p PROMPT|--chat",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
