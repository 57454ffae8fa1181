/* uqff imatrix: importance matrices, collected, merged and shown. */
#include "cmd.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "corpus.h"
#include "json.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "table.h"

struct values {
    const char *text, *output, *tokenizer;
    unsigned format;
    struct list merge;
    bool show, process_output;
    uint64_t context, chunks;
};

enum { FORMAT_UNSET, FORMAT_GGUF, FORMAT_DAT };

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"text", 0, "FILE", OPTION_TEXT, AT(text), COMPLETE_FILE, NULL,
     "text to collect on; - for standard input"},
    {"output", 'o', "OUT", OPTION_TEXT, AT(output), COMPLETE_OUTPUT, NULL, "file to write"},
    {"format", 0, "gguf|dat", OPTION_CHOICE, AT(format), COMPLETE_NONE,
     ".dat by its name, else gguf", "llama.cpp's form of today, or its older one"},
    {"merge", 0, "FILE", OPTION_LIST, AT(merge), COMPLETE_FILE, NULL,
     "add the sums of a matrix that was collected before; repeatable"},
    {"show", 0, NULL, OPTION_FLAG, AT(show), COMPLETE_NONE, NULL,
     "print statistics of every entry"},
    {"ctx", 0, "N", OPTION_COUNT, AT(context), COMPLETE_NONE, "512", "tokens a chunk"},
    {"chunks", 0, "N", OPTION_COUNT, AT(chunks), COMPLETE_NONE, "all", "chunks to run, at most"},
    {"process-output", 0, NULL, OPTION_FLAG, AT(process_output), COMPLETE_NONE, NULL,
     "collect for the output head too"},
    TOKENIZER_OPTION(AT(tokenizer)),
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", true, false, COMPLETE_FILE, "what to run; may be left out with --merge"},
    {0},
};

static const char *const description[] = {
    "Runs a model on a text (--text) and sums up, for every matrix, the squares of what each of "
    "its "
    "columns is multiplied with, as llama-imatrix does; of experts each on its own. uqff pack "
    "--imatrix takes the file that is written (-o), and so does llama-quantize.",
    "With --merge and without --text no model is run: files are merged, converted or shown.",
    NULL,
};

static const char *const json[] = {
    "    schema    \"uqff.imatrix/1\"\n"
    "    path      the model, or null\n"
    "    text      null, or {path, bytes, sha256, tokens}\n"
    "    merged    [path]\n"
    "    output    the file that was written, or null\n"
    "    entries   [{name, columns, sum, min, max, mean, deviation, active,\n"
    "              entropy, normalized_entropy, z_density, cosine}]\n"
    "    warnings  [text]",
    "active is the share of columns above 1e-5, z_density the share more than a standard deviation "
    "above the mean, cosine the similarity with the same tensor one layer before, or null.",
    NULL,
};

static const struct example examples[] = {
    {"uqff imatrix testdata/storyteller --text testdata/storyteller/calibration.txt --chunks 8 -o "
     "storyteller.imatrix.gguf",
     "Collect, for pack --imatrix:"},
    {"uqff imatrix --merge storyteller.imatrix.gguf --merge testdata/storyteller/imatrix.gguf -o "
     "both.imatrix.gguf",
     "Two collections as one:"},
    {"uqff imatrix --merge testdata/storyteller/imatrix.gguf --show", "What is in a file:"},
    {0},
};

struct collection {
    struct cli *cli;
    const struct values *values;
    struct corpus text;
    struct uqff_importance *sums; /* NULL: nothing yet */
};

/* ---- options --------------------------------------------------------------------------------- */

static enum uqff_code check_values(const struct cli *cli, const struct values *values,
                                   struct uqff_error *err) {
    const bool model = cli->arguments.count > 0;
    const char *problem = NULL;
    if (model && values->text == NULL) {
        problem = values->show ? "imatrix: --text FILE is missing: what to run the model on; of a "
                                 "matrix that is there, --merge FILE --show prints statistics"
                               : "imatrix: --text FILE is missing: what to run the model on";
    } else if (!model && values->text != NULL) {
        problem = "imatrix: the model to run on the text is missing";
    } else if (!model && values->merge.count == 0) {
        problem = "imatrix: nothing to do: give a model and --text, or --merge";
    } else if (values->output == NULL && !values->show) {
        problem = "imatrix: -o OUT is missing; --show prints statistics without it";
    } else if (values->output == NULL && values->format != FORMAT_UNSET) {
        problem = "option '--format' needs -o";
    }
    return problem == NULL ? UQFF_OK
                           : uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "%s", problem);
}

/* The output is looked at before the long work. */
static enum uqff_code check_output(const struct cli *cli, const struct values *values,
                                   const struct uqff_model *model, struct uqff_error *err) {
    const char *path = values->output;
    if (path == NULL || !uqff_path_exists(path)) {
        return path == NULL ? UQFF_OK : output_check_directory(path, err);
    }
    const bool is_text = values->text != NULL && strcmp(values->text, path) == 0;
    if (is_text || (model != NULL && uqff_model_is_input(model, path))) {
        return uqff_fail(err, UQFF_E_IS_INPUT, UQFF_NO_OFFSET,
                         "%s: is also an input, expected another name for the output", path);
    }
    return cli->force ? UQFF_OK
                      : uqff_fail(err, UQFF_E_EXISTS, UQFF_NO_OFFSET, "%s: already exists", path);
}

static bool as_dat(const struct values *values) {
    const size_t n = values->output == NULL ? 0 : strlen(values->output);
    return values->format == FORMAT_DAT || (values->format == FORMAT_UNSET && n >= 4 &&
                                            strcmp(values->output + n - 4, ".dat") == 0);
}

/* ---- collecting ------------------------------------------------------------------------------ */

static enum uqff_code collect(struct collection *c, const struct uqff_model *model,
                              const struct uqff_warner *warner, struct uqff_error *err) {
    const struct values *values = c->values;
    const struct uqff_collect_options how = {
        .context = (size_t)values->context,
        .chunks = (size_t)values->chunks,
        .threads = (unsigned)c->cli->threads,
        .process_output = values->process_output,
    };
    struct uqff_vocabulary *vocabulary = NULL;
    enum uqff_code code = corpus_vocabulary(model, values->tokenizer, warner, &vocabulary, err);
    if (code == UQFF_OK) {
        code = corpus_read(values->text, vocabulary, warner, &c->text, err);
    }
    uqff_vocabulary_close(vocabulary);
    if (code == UQFF_OK) {
        struct progress state;
        const struct uqff_progress progress = progress_begin_counted(&state, c->cli, "chunks");
        /* Of the text's path only the name goes into the file: the same wherever it lay. */
        code = uqff_importance_collect(model, c->text.tokens, c->text.count, c->text.bos,
                                       c->text.add_bos, uqff_path_name(c->text.path), &how,
                                       &progress, &c->sums, err);
        progress_end(&state);
        if (code == UQFF_E_ARGUMENT) {
            uqff_error_prefix(err, "%s", c->text.path);
        }
    }
    return code;
}

/* What is to be merged is read behind the run; that it can be read is seen before. */
static enum uqff_code check_merged(struct cli *cli, const struct list *files,
                                   struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < files->count && code == UQFF_OK; i++) {
        struct uqff_importance *file = NULL;
        cli->file = files->items[i];
        code = uqff_importance_open(cli->file, &file, err);
        uqff_importance_free(file);
    }
    return code;
}

static enum uqff_code run_model(struct collection *c, const struct uqff_warner *warner,
                                struct uqff_error *err) {
    const struct uqff_model_options open = {.warner = warner};
    struct uqff_model *model = NULL;
    c->cli->file = c->cli->arguments.items[0];
    enum uqff_code code = uqff_model_open(c->cli->file, &open, &model, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = check_output(c->cli, c->values, model, err);
    if (code == UQFF_OK) {
        code = check_merged(c->cli, &c->values->merge, err);
    }
    if (code == UQFF_OK) {
        c->cli->file = c->cli->arguments.items[0];
        code = collect(c, model, warner, err);
    }
    uqff_model_close(model);
    return code;
}

static enum uqff_code merge(struct collection *c, const char *path, struct uqff_error *err) {
    struct uqff_importance *other = NULL;
    c->cli->file = path;
    enum uqff_code code = uqff_importance_open(path, &other, err);
    if (code != UQFF_OK || c->sums == NULL) {
        c->sums = code == UQFF_OK ? other : c->sums;
        return code;
    }
    code = uqff_importance_merge(c->sums, other, err);
    if (code == UQFF_E_SHAPE) {
        uqff_error_prefix(err, "%s", path);
    }
    uqff_importance_free(other);
    return code;
}

/* ---- results --------------------------------------------------------------------------------- */

static void table_number(struct table *table, const char *format, double value) {
    char text[40];
    if (isnan(value)) {
        table_text(table, "-");
        return;
    }
    if (strcmp(format, "share") == 0) {
        snprintf(text, sizeof text, "%.2f %%", 100 * value);
    } else {
        snprintf(text, sizeof text, "%.4g", value);
    }
    table_text(table, text);
}

static enum uqff_code print_statistics(const struct collection *c, struct uqff_error *err) {
    static const char *const titles[] = {"SUM",    "MIN",     "MAX",    "MEAN",  "σ",
                                         "ACTIVE", "ENTROPY", "OF MAX", "Z > 1", "COSINE"};
    struct table table = {0};
    table_column(&table, "TENSOR", ALIGN_LEFT);
    table_column(&table, "COLUMNS", ALIGN_RIGHT);
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        table_column(&table, titles[i], ALIGN_RIGHT);
    }
    for (size_t i = 0; i < uqff_importance_count(c->sums); i++) {
        struct uqff_importance_stats stats;
        char count[32];
        uqff_importance_stats(c->sums, i, &stats);
        table_bytes(&table, c->cli->verbose ? 0 : 40, stats.name, strlen(stats.name));
        table_text(&table, output_count(count, stats.columns));
        table_number(&table, "number", stats.sum);
        table_number(&table, "number", stats.min);
        table_number(&table, "number", stats.max);
        table_number(&table, "number", stats.mean);
        table_number(&table, "number", stats.deviation);
        table_number(&table, "share", stats.active);
        table_number(&table, "number", stats.entropy);
        table_number(&table, "share", stats.normalized_entropy);
        table_number(&table, "share", stats.z_density);
        table_number(&table, "number", stats.cosine);
    }
    return table_print(&table, c->cli, 0, err);
}

static void json_entry(cJSON *list, const struct uqff_importance_stats *stats) {
    cJSON *object = json_object(list, NULL);
    json_text(object, "name", stats->name);
    json_u64(object, "columns", stats->columns);
    json_double(object, "sum", stats->sum);
    json_double(object, "min", stats->min);
    json_double(object, "max", stats->max);
    json_double(object, "mean", stats->mean);
    json_double(object, "deviation", stats->deviation);
    json_double(object, "active", stats->active);
    json_double(object, "entropy", stats->entropy);
    json_double(object, "normalized_entropy", stats->normalized_entropy);
    json_double(object, "z_density", stats->z_density);
    json_double(object, "cosine", stats->cosine);
}

static enum uqff_code print_json(const struct collection *c, struct uqff_error *err) {
    cJSON *document = json_document(c->cli);
    json_text(document, "path", c->cli->arguments.count > 0 ? c->cli->arguments.items[0] : NULL);
    corpus_put_json(&c->text, document);
    cJSON *merged = json_array(document, "merged");
    for (size_t i = 0; i < c->values->merge.count; i++) {
        json_text(merged, NULL, c->values->merge.items[i]);
    }
    json_text(document, "output", c->values->output);
    cJSON *entries = json_array(document, "entries");
    for (size_t i = 0; i < uqff_importance_count(c->sums); i++) {
        struct uqff_importance_stats stats;
        uqff_importance_stats(c->sums, i, &stats);
        json_entry(entries, &stats);
    }
    return json_print(c->cli, document, err);
}

static enum uqff_code report(const struct collection *c, struct uqff_error *err) {
    if (c->cli->json) {
        return print_json(c, err);
    }
    enum uqff_code code = UQFF_OK;
    if (c->values->show) {
        code = print_statistics(c, err);
    }
    if (code == UQFF_OK && c->values->output != NULL && !c->cli->quiet) {
        char path[5000];
        const size_t count = uqff_importance_count(c->sums);
        printf("%s: %zu entr%s\n",
               output_cut(path, sizeof path, 0, c->values->output, strlen(c->values->output)),
               count, count == 1 ? "y" : "ies");
    }
    return code;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const struct uqff_warner warner = output_warner(cli);
    struct collection c = {.cli = cli, .values = values};
    enum uqff_code code = check_values(cli, values, err);
    if (code == UQFF_OK) {
        code = cli->arguments.count > 0 ? run_model(&c, &warner, err)
                                        : check_output(cli, values, NULL, err);
    }
    for (size_t i = 0; i < values->merge.count && code == UQFF_OK; i++) {
        code = merge(&c, values->merge.items[i], err);
    }
    if (code == UQFF_OK && values->output != NULL) {
        cli->file = values->output;
        code = uqff_importance_write(c.sums, values->output, as_dat(values), cli->force, err);
    }
    if (code == UQFF_OK) {
        code = report(&c, err);
    }
    uqff_importance_free(c.sums);
    corpus_free(&c.text);
    return code;
}

const struct command command_imatrix = {
    .name = "imatrix",
    .summary = "Collect, merge and show importance matrices",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
