/* uqff diff: compares two models. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "output.h"
#include "progress.h"
#include "quantizations.h"

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
    "Of two files or directories that each hold several quantizations, those of one name are "
    "compared, and those that only one of the two has are told. A#NAME and B#NAME compare two of "
    "any name.",
    "The exit code is 0 when nothing differs, and 1 when something does.",
    NULL,
};

static const char *const json[] = {
    "    schema        \"uqff.diff/1\"\n"
    "    a, b          the models\n"
    "    equal         true or false\n"
    "    differences   [{kind, name, a, b}], and for kind values also max_abs,\n"
    "                  rel_rmse, count; of several quantizations also\n"
    "                  quantization\n"
    "    quantizations  of several: [{name, in, equal}]\n"
    "    warnings      [text]",
    "kind is one of metadata, only-a, only-b, type, shape, values; in is \"both\", \"a\" or \"b\".",
    NULL,
};

static const struct example examples[] = {
    {"uqff diff testdata/storyteller storyteller.uqff#q8_0 --values --tolerance 0.01",
     "How much a quantization lost:"},
    {"uqff diff old.uqff new.uqff --json | jq '.differences | length'", "In how many places:"},
    {0},
};

/* The key of a multi-quant file that lists its variants. */
#define INDEX_KEY "uqff.multi.index"

struct report {
    struct cli *cli;
    const struct values *values;
    cJSON *differences;       /* under --json */
    const char *quantization; /* of several, the one that is being compared; else NULL */
    uint64_t count;           /* differences of the two that are being compared */
    const char *index[2]; /* of several: what the two lists of variants are, where they differ */
};

static const char *kind_name(enum uqff_difference_kind kind) {
    static const char *const names[] = {"metadata", "only-a", "only-b", "type", "shape", "values"};
    return names[kind];
}

static void add_json(struct report *report, const struct uqff_difference *difference) {
    cJSON *object = json_object(report->differences, NULL);
    if (report->quantization != NULL) {
        json_text(object, "quantization", report->quantization);
    }
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

static void add(struct report *report, const struct uqff_difference *difference) {
    report->count++;
    if (report->differences != NULL) {
        add_json(report, difference);
    } else if (!report->cli->quiet) {
        add_text(report, difference);
    }
}

/* The index of a multi-quant file lists all of its variants: that others are there is no difference
 * of this one. It is kept for the end. */
static void on_difference(void *context, const struct uqff_difference *difference) {
    struct report *report = context;
    if (report->quantization == NULL || strcmp(difference->name, INDEX_KEY) != 0) {
        add(report, difference);
        return;
    }
    const char *const texts[2] = {difference->a, difference->b};
    for (size_t i = 0; i < 2 && report->index[i] == NULL; i++) {
        report->index[i] = uqff_arena_copy(&report->cli->arena, texts[i], strlen(texts[i]));
    }
}

static bool talks(const struct report *report) {
    return report->differences == NULL && !report->cli->quiet;
}

static void print_count(const struct report *report) {
    char count[32];
    if (report->count == 0) {
        printf("equal\n");
    } else {
        printf("%s difference%s\n", output_count(count, report->count),
               report->count == 1 ? "" : "s");
    }
}

static enum uqff_code compare(struct report *report, const struct uqff_model *a,
                              const struct uqff_model *b, struct uqff_error *err) {
    const struct uqff_diff_options how = {
        .values = report->values->values,
        .tolerance = report->values->tolerance,
        .threads = (unsigned)report->cli->threads,
    };
    struct progress state;
    const struct uqff_progress progress = progress_begin(&state, report->cli);
    bool equal = false;
    report->count = 0;
    enum uqff_code code = uqff_diff(a, b, &how, on_difference, report, &progress, &equal, err);
    progress_end(&state);
    if (code == UQFF_OK && talks(report)) {
        print_count(report);
    }
    return code;
}

/* ---- of two models --------------------------------------------------------------------------- */

/* A multi-quant file stands for its default variant beside a model of one quantization. */
static void warn_of_default(struct cli *cli, const struct quantizations *side) {
    if (side->names.count > 1) {
        const struct uqff_warner warner = output_warner(cli);
        const struct uqff_container *container = uqff_model_container(side->model);
        uqff_warn(&warner, "%s: holds %zu quantizations, of which '%s' is compared",
                  side->reference, side->names.count,
                  uqff_container_variant(container, uqff_model_variant(side->model))->name);
    }
}

static enum uqff_code compare_models(struct report *report, const struct quantizations sides[2],
                                     struct uqff_error *err) {
    for (size_t i = 0; i < 2; i++) {
        if (sides[i].model == NULL) {
            report->cli->file = sides[i].reference;
            *err = sides[i].refusal;
            return err->code;
        }
    }
    warn_of_default(report->cli, &sides[0]);
    warn_of_default(report->cli, &sides[1]);
    enum uqff_code code = compare(report, sides[0].model, sides[1].model, err);
    report->cli->answer_no = report->count > 0;
    return code;
}

/* ---- of several quantizations ---------------------------------------------------------------- */

static bool has_name(const struct quantizations *side, const char *name) {
    for (size_t i = 0; i < side->names.count; i++) {
        if (strcmp(side->names.items[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static enum uqff_code compare_named(struct report *report, const struct quantizations sides[2],
                                    const char *name, bool warn, struct uqff_error *err) {
    const struct uqff_warner warner = output_warner(report->cli);
    /* What there is to warn of is the same for all quantizations of a model. */
    const struct uqff_model_options open = {.warner = warn ? &warner : NULL};
    struct uqff_model *models[2] = {NULL, NULL};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < 2 && code == UQFF_OK; i++) {
        const char *full =
            uqff_arena_printf(&report->cli->arena, "%s#%s", sides[i].reference, name);
        if (full == NULL) {
            code = uqff_fail_memory(err);
            break;
        }
        report->cli->file = full;
        code = uqff_model_open(full, &open, &models[i], err);
        models[i] = code == UQFF_OK ? models[i] : NULL;
    }
    if (code == UQFF_OK) {
        code = compare(report, models[0], models[1], err);
    }
    for (size_t i = 0; i < 2; i++) {
        if (models[i] != NULL) {
            uqff_model_close(models[i]);
        }
    }
    return code;
}

/* The name of the variant that a multi-quant file stands for; NULL for anything else. */
static const char *default_name(const struct quantizations *side) {
    const struct uqff_container *container =
        side->model == NULL ? NULL : uqff_model_container(side->model);
    const size_t i = container == NULL ? UQFF_NONE : uqff_container_default(container);
    return i == UQFF_NONE ? NULL : uqff_container_variant(container, i)->name;
}

/* Compares the quantization of one name, or tells which side has it. */
static enum uqff_code compare_name(struct report *report, const struct quantizations sides[2],
                                   const char *name, cJSON *list, uint64_t *different, bool warn,
                                   struct uqff_error *err) {
    const bool in[2] = {has_name(&sides[0], name), has_name(&sides[1], name)};
    const bool both = in[0] && in[1];
    char text[512];
    enum uqff_code code = UQFF_OK;
    if (talks(report)) {
        printf("%s%s:%s\n", style(report->cli, STYLE_BOLD),
               output_cut(text, sizeof text, 0, name, strlen(name)), style_end(report->cli));
    }
    report->quantization = name;
    report->count = 1;
    if (both) {
        code = compare_named(report, sides, name, warn, err);
    } else if (talks(report)) {
        const char *where = sides[in[0] ? 0 : 1].reference;
        printf("only in %s\n", output_cut(text, sizeof text, 0, where, strlen(where)));
    }
    if (code == UQFF_OK && talks(report)) {
        printf("\n");
    }
    if (code == UQFF_OK && list != NULL) {
        cJSON *object = json_object(list, NULL);
        json_text(object, "name", name);
        json_text(object, "in", both ? "both" : in[0] ? "a" : "b");
        json_bool(object, "equal", report->count == 0);
    }
    report->quantization = NULL;
    *different += report->count > 0;
    return code;
}

/* What is said of the files as a whole: which variant is the default, and what else their indices
 * have that no variant shows, as the order. */
static void compare_indices(struct report *report, const struct quantizations sides[2],
                            bool others) {
    const char *const names[2] = {default_name(&sides[0]), default_name(&sides[1])};
    struct uqff_difference difference = {.kind = UQFF_DIFF_METADATA};
    report->count = 0;
    if (names[0] != NULL && names[1] != NULL && strcmp(names[0], names[1]) != 0) {
        difference.name = "default";
        difference.a = names[0];
        difference.b = names[1];
        add(report, &difference);
    } else if (!others && report->index[0] != NULL && report->index[1] != NULL) {
        difference.name = INDEX_KEY;
        difference.a = report->index[0];
        difference.b = report->index[1];
        add(report, &difference);
    }
}

static enum uqff_code compare_several(struct report *report, const struct quantizations sides[2],
                                      cJSON *list, struct uqff_error *err) {
    uint64_t all = 0, different = 0;
    enum uqff_code code = UQFF_OK;
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < sides[s].names.count && code == UQFF_OK; i++) {
            const char *name = sides[s].names.items[i];
            if (s == 0 || !has_name(&sides[0], name)) {
                code = compare_name(report, sides, name, list, &different, all == 0, err);
                all++;
            }
        }
    }
    if (code != UQFF_OK) {
        return code;
    }
    compare_indices(report, sides, different > 0);
    report->cli->answer_no = different > 0 || report->count > 0;
    if (talks(report)) {
        char counts[2][32];
        if (different > 0) {
            printf("%s of %s quantizations differ%s\n", output_count(counts[0], different),
                   output_count(counts[1], all), different == 1 ? "s" : "");
        } else {
            print_count(report);
        }
    }
    return UQFF_OK;
}

/* ---- the run --------------------------------------------------------------------------------- */

/* By name, where both sides have names and it is not one against one. */
static enum uqff_code compare_sides(struct report *report, const struct quantizations sides[2],
                                    struct uqff_error *err) {
    const size_t counts[2] = {sides[0].names.count, sides[1].names.count};
    const bool several = counts[0] > 0 && counts[1] > 0 && counts[0] + counts[1] > 2;
    cJSON *document = NULL, *list = NULL;
    if (report->cli->json) {
        document = json_document(report->cli);
        json_text(document, "a", sides[0].reference);
        json_text(document, "b", sides[1].reference);
        /* Its place among the keys is here, its value comes last. */
        json_null(document, "equal");
        report->differences = json_array(document, "differences");
        list = several ? json_array(document, "quantizations") : NULL;
    }
    enum uqff_code code =
        several ? compare_several(report, sides, list, err) : compare_models(report, sides, err);
    if (code != UQFF_OK || document == NULL) {
        cJSON_Delete(document);
        return code;
    }
    cJSON_ReplaceItemInObject(document, "equal", cJSON_CreateBool(!report->cli->answer_no));
    return json_print(report->cli, document, err);
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    const struct uqff_warner warner = output_warner(cli);
    struct quantizations sides[2] = {{.model = NULL}};
    struct report report = {.cli = cli, .values = values};
    enum uqff_code code = UQFF_OK;
    if (values->tolerance > 0 && !values->values) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--tolerance' goes with --values");
    }
    for (size_t i = 0; i < 2 && code == UQFF_OK; i++) {
        code = quantizations_open(cli, cli->arguments.items[i], &warner, &sides[i], err);
    }
    if (code == UQFF_OK) {
        code = compare_sides(&report, sides, err);
    }
    quantizations_close(&sides[0]);
    quantizations_close(&sides[1]);
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
