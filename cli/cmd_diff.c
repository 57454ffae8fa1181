/* uqff diff: compares two models. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "output.h"
#include "progress.h"

#include "uqff/pack.h"

struct values {
    bool values;
    double tolerance;
};

static const struct option options[] = {
    {"values", 0, NULL, OPTION_FLAG, offsetof(struct values, values), COMPLETE_NONE, NULL,
     "where types or bytes differ, decode both and compare the numbers"},
    {"tolerance", 0, "X", OPTION_REAL, offsetof(struct values, tolerance), COMPLETE_NONE, "0",
     "values: a root mean square error up to X, relative to A's root mean square, counts as equal"},
    {0},
};

static const struct positional positionals[] = {
    {"A", false, false, COMPLETE_FILE, "a model, or MODEL#variant"},
    {"B", false, false, COMPLETE_FILE, "another"},
    {0},
};

static const char *const description[] = {
    "Compares two models tensor by tensor, whatever container each lies in: names are mapped to "
    "those "
    "of Hugging Face, and the row order of q and k in a GGUF is undone. Configuration and metadata "
    "that "
    "both have are compared as well.",
    "The exit code is 0 when nothing differs, and 1 when something does.",
    NULL,
};

static const char *const json[] = {
    "    schema        \"uqff.diff/1\"\n"
    "    a, b          the models\n"
    "    equal         true or false\n"
    "    differences   [{kind, name, a, b}], and for kind values also max_abs,\n"
    "                  rel_rmse, count\n"
    "    warnings      [text]",
    "kind is one of metadata, only-a, only-b, type, shape, values.",
    NULL,
};

static const struct example examples[] = {
    {"uqff diff testdata/storyteller storyteller.uqff#q8_0 --values --tolerance 0.01",
     "How much a quantization lost:"},
    {"uqff diff old.uqff new.uqff --json | jq '.differences | length'", "In how many places:"},
    {0},
};

struct report {
    struct cli *cli;
    cJSON *differences; /* under --json */
    uint64_t count;
};

static const char *kind_name(enum uqff_difference_kind kind) {
    static const char *const names[] = {"metadata", "only-a", "only-b", "type", "shape", "values"};
    return names[kind];
}

static void add_json(struct report *report, const struct uqff_difference *difference) {
    cJSON *object = json_object(report->differences, NULL);
    json_text(object, "kind", kind_name(difference->kind));
    json_text(object, "name", difference->name);
    json_text(object, "a", difference->a);
    json_text(object, "b", difference->b);
    if (difference->kind == UQFF_DIFF_VALUES) {
        json_double(object, "max_abs", difference->max_abs);
        json_double(object, "rel_rmse", difference->rel_rmse);
        json_u64(object, "count", difference->count);
    }
}

static void add_text(struct report *report, const struct uqff_difference *difference) {
    const unsigned columns = report->cli->verbose ? 0 : 80;
    char name[2000], a[2000], b[2000], count[32];
    output_cut(name, sizeof name, columns, difference->name, strlen(difference->name));
    output_shorten(a, sizeof a, columns, difference->a);
    output_shorten(b, sizeof b, columns, difference->b);
    printf("%s%-8s%s  %s", style(report->cli, STYLE_BOLD), kind_name(difference->kind),
           style_end(report->cli), name);
    if (difference->kind == UQFF_DIFF_VALUES) {
        printf(": %s differ", output_count(count, difference->count));
        if (difference->max_abs > 0) {
            printf(", largest difference %.4g, relative error %.4g", difference->max_abs,
                   difference->rel_rmse);
        }
    }
    if (a[0] != '\0' || b[0] != '\0') {
        printf(": %s | %s", a[0] == '\0' ? "-" : a, b[0] == '\0' ? "-" : b);
    }
    printf("\n");
}

static void on_difference(void *context, const struct uqff_difference *difference) {
    struct report *report = context;
    report->count++;
    if (report->differences != NULL) {
        add_json(report, difference);
    } else if (!report->cli->quiet) {
        add_text(report, difference);
    }
}

static enum uqff_code finish(struct report *report, cJSON *document, bool equal,
                             struct uqff_error *err) {
    report->cli->answer_no = !equal;
    if (document != NULL) {
        return json_print(report->cli, document, err);
    }
    if (!report->cli->quiet) {
        char count[32];
        if (equal) {
            printf("equal\n");
        } else {
            printf("%s difference%s\n", output_count(count, report->count),
                   report->count == 1 ? "" : "s");
        }
    }
    return UQFF_OK;
}

static enum uqff_code compare(struct cli *cli, const struct values *values,
                              struct uqff_model *const models[2], struct uqff_error *err) {
    struct report report = {.cli = cli};
    cJSON *document = NULL;
    if (cli->json) {
        document = json_document(cli);
        json_text(document, "a", cli->arguments.items[0]);
        json_text(document, "b", cli->arguments.items[1]);
        /* Its place among the keys is here, its value comes last. */
        json_null(document, "equal");
        report.differences = json_array(document, "differences");
    }
    const struct uqff_diff_options how = {
        .values = values->values,
        .tolerance = values->tolerance,
        .threads = (unsigned)cli->threads,
    };
    struct progress state;
    const struct uqff_progress progress = progress_begin(&state, cli);
    bool equal = false;
    enum uqff_code code =
        uqff_diff(models[0], models[1], &how, on_difference, &report, &progress, &equal, err);
    progress_end(&state);
    if (code != UQFF_OK) {
        cJSON_Delete(document);
        return code;
    }
    if (document != NULL) {
        cJSON_ReplaceItemInObject(document, "equal", cJSON_CreateBool(equal));
    }
    return finish(&report, document, equal, err);
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const struct uqff_warner warner = output_warner(cli);
    const struct uqff_model_options open = {.warner = &warner};
    struct uqff_model *models[2] = {NULL, NULL};
    enum uqff_code code = UQFF_OK;
    if (values->tolerance > 0 && !values->values) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--tolerance' goes with --values");
    }
    for (size_t i = 0; i < 2 && code == UQFF_OK; i++) {
        cli->file = cli->arguments.items[i];
        code = uqff_model_open(cli->file, &open, &models[i], err);
    }
    if (code == UQFF_OK) {
        code = compare(cli, values, models, err);
    }
    for (size_t i = 0; i < 2; i++) {
        if (models[i] != NULL) {
            uqff_model_close(models[i]);
        }
    }
    return code;
}

const struct command command_diff = {
    .name = "diff",
    .summary = "Compare two models",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
