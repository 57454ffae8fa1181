/* uqff validate: what quantization cost, measured on a text, as a gate for releases. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>

#include "options.h"
#include "output.h"
#include "progress.h"
#include "validate.h"

struct values {
    const char *text, *base, *tokenizer, *logits_out, *logits_base;
    const char *gate, *junit, *markdown, *html;
    struct list variants;
    uint64_t context, chunks, stride;
    bool exact, weights;
};

#define AT(member) offsetof(struct values, member)

static const struct option options[] = {
    {"text", 0, "FILE", OPTION_TEXT, AT(text), COMPLETE_FILE, NULL,
     "text to measure on; - for standard input"},
    {"variants", 0, "all|A,B", OPTION_COMMAS, AT(variants), COMPLETE_NONE, "all",
     "which of several quantizations to measure"},
    {"base", 0, "MODEL", OPTION_TEXT, AT(base), COMPLETE_FILE, NULL,
     "model to compare with: the source of the quantization"},
    {"ctx", 0, "N", OPTION_COUNT, AT(context), COMPLETE_NONE, "512", "tokens a chunk"},
    {"chunks", 0, "N", OPTION_COUNT, AT(chunks), COMPLETE_NONE, "all",
     "chunks to measure, at most"},
    {"stride", 0, "N", OPTION_COUNT, AT(stride), COMPLETE_NONE, "none",
     "let chunks overlap: each begins N tokens behind the one before"},
    {"exact", 0, NULL, OPTION_FLAG, AT(exact), COMPLETE_NONE, NULL,
     "expand weights to float32 and round no activations; slower"},
    {"weights", 0, NULL, OPTION_FLAG, AT(weights), COMPLETE_NONE, NULL,
     "also compare the weights with the base's, tensor by tensor; without --text only them"},
    TOKENIZER_OPTION(AT(tokenizer)),
    {"logits-out", 0, "FILE", OPTION_TEXT, AT(logits_out), COMPLETE_OUTPUT, NULL,
     "write the model's logits, as llama-perplexity --kl-divergence-base does"},
    {"logits-base", 0, "FILE", OPTION_TEXT, AT(logits_base), COMPLETE_FILE, NULL,
     "compare with such a file, from which the tokens come as well"},
    {"gate", 0, "FILE", OPTION_TEXT, AT(gate), COMPLETE_FILE, NULL,
     "limits, in JSON: the exit code is 1 when a variant does not keep one"},
    {"junit", 0, "FILE", OPTION_TEXT, AT(junit), COMPLETE_FILE, NULL,
     "write the checks as JUnit XML; - prints it in place of the table"},
    {"markdown", 0, "FILE", OPTION_TEXT, AT(markdown), COMPLETE_FILE, NULL,
     "write the table as Markdown, for the summary of a job; - prints it"},
    {"html", 0, "FILE", OPTION_TEXT, AT(html), COMPLETE_FILE, NULL,
     "write a page with charts of size against quality; - prints it"},
    {0},
};

static const struct positional positionals[] = {
    {"MODEL", false, true, COMPLETE_FILE, "what to measure; of several quantizations every one"},
    {0},
};

static const char *const description[] = {
    "Runs models on a text (--text) and tells their perplexity and, with --base, how far their "
    "predictions "
    "are from the base's: the ratio of perplexities, the Kullback-Leibler divergence with its "
    "percentiles, the change of the probability of the right token, and how often the most likely "
    "token is the same. All definitions are llama-perplexity's. All variants are measured in one "
    "run over the text. The digits do not depend on the machine or the number of threads.",
    "Sizes are those of the tensors that can be quantized. With -v every percentile is printed.",
    "A gate file holds limits for variants by name, or for all as \"*\":",
    "  {\n"
    "    \"limits\": {\n"
    "      \"*\":      {\"max_ppl_ratio\": 1.05, \"min_same_top\": 90},\n"
    "      \"q4_k_m\": {\"max_kld_mean\": 0.02, \"max_kld_p999\": 1.5}\n"
    "    },\n"
    "    \"baseline\": {\n"
    "      \"file\": \"release-1.json\",\n"
    "      \"drift\": {\"*\": {\"ppl\": \"0.5%\", \"same_top\": 0.2}}\n"
    "    }\n"
    "  }",
    "Figures are limited as max_NAME: ppl, ppl_ratio, ln_ppl_ratio, ppl_difference, kld_mean, "
    "kld_median, kld_p90, kld_p95, kld_p99, kld_p999, kld_max, rms_delta_p, bytes, bits, rel_rmse; "
    "and as min_NAME: same_top, delta_p_mean (percentages), correlation, snr, cosine. A baseline "
    "is "
    "what --json printed for an earlier release, drift how much worse a figure may be than there: "
    "a "
    "number, or a share of the baseline's value. A variant's own limit goes before that of \"*\"; "
    "null lifts it.",
    "A model whose architecture cannot be run is compared with the base by its weights: relative "
    "root mean square error, signal to noise, cosine and largest error of each tensor.",
    NULL,
};

static const char *const json[] = {
    "    schema     \"uqff.validate/1\"\n"
    "    base       null, or {path, logits, ppl, ppl_error}\n"
    "    text       null, or {path, bytes, sha256, tokens}\n"
    "    context, chunks, stride, exact, scored\n"
    "    variants   [{name, model, recipe, weights, figures, errors,\n"
    "               kld_percentiles, delta_p_percentiles, tensors}]\n"
    "    gate       null, or {path, passed,\n"
    "               checks: [{variant, check, limit, found, passed}]}\n"
    "    written    [path]\n"
    "    warnings   [text]",
    "figures has a value, or null, by each name that a gate file can limit; percentiles are called "
    "max, p999 … p01, min; tensors, with --weights, is [{name, source_type, type, elements, "
    "rel_rmse, snr, cosine, max_abs, max_at}].",
    NULL,
};

static const struct example examples[] = {
    {"uqff validate storyteller.uqff --base testdata/storyteller --text "
     "testdata/storyteller/valid.txt --chunks 4",
     "What each variant cost:"},
    {"uqff validate storyteller.uqff --base testdata/storyteller --text "
     "testdata/storyteller/valid.txt --chunks 4 --gate testdata/storyteller-gate.json --html "
     "report.html",
     "As a gate, with a page to look at:"},
    {"uqff validate storyteller.uqff#q4_k_m --base testdata/storyteller --weights",
     "Which tensors lost most:"},
    {0},
};

/* ---- options --------------------------------------------------------------------------------- */

static enum uqff_code needs(const char *option, const char *other, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "option '--%s' needs --%s", option,
                     other);
}

static enum uqff_code excludes(const char *option, const char *other, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "option '--%s' does not go with --%s",
                     option, other);
}

static enum uqff_code check_logits(const struct values *values, struct uqff_error *err) {
    if (values->logits_base != NULL) {
        return values->base != NULL         ? excludes("logits-base", "base", err)
               : values->text != NULL       ? excludes("logits-base", "text", err)
               : values->stride != 0        ? excludes("logits-base", "stride", err)
               : values->logits_out != NULL ? excludes("logits-base", "logits-out", err)
                                            : UQFF_OK;
    }
    if (values->logits_out != NULL) {
        return values->base != NULL   ? excludes("logits-out", "base", err)
               : values->stride != 0  ? excludes("logits-out", "stride", err)
               : values->text == NULL ? needs("logits-out", "text", err)
                                      : UQFF_OK;
    }
    return UQFF_OK;
}

static bool is_stream(const char *path) {
    return path != NULL && strcmp(path, "-") == 0;
}

/* One thing has standard output: the table, the JSON document, or a report called "-". */
static enum uqff_code check_reports(const struct cli *cli, const struct values *values,
                                    struct uqff_error *err) {
    const struct {
        const char *name, *path;
    } reports[] = {
        {"junit", values->junit}, {"markdown", values->markdown}, {"html", values->html}};
    const char *printed = cli->json ? "json" : NULL;
    for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++) {
        if (!is_stream(reports[i].path)) {
            continue;
        }
        if (printed != NULL) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "option '--%s': standard output is taken by --%s; name a file",
                             reports[i].name, printed);
        }
        printed = reports[i].name;
    }
    return UQFF_OK;
}

static enum uqff_code check_values(const struct cli *cli, const struct values *values,
                                   struct uqff_error *err) {
    if (values->weights && values->base == NULL) {
        return uqff_fail(
            err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
            "option '--weights' needs --base MODEL: the source, whose weights they are "
            "compared with");
    }
    if (values->text == NULL && values->logits_base == NULL && !values->weights) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "validate: --text FILE is missing: what to measure on; without one, "
                         "%s--weights compares the weights alone",
                         values->base == NULL ? "--base MODEL " : "");
    }
    enum uqff_code code = check_logits(values, err);
    return code == UQFF_OK ? check_reports(cli, values, err) : code;
}

/* Outputs are looked at before the long work, not behind it. */
static enum uqff_code check_output(const struct validation *v, const struct values *values,
                                   const char *path, struct uqff_error *err) {
    const char *const inputs[] = {values->text, values->gate, values->logits_base,
                                  values->tokenizer};
    if (path == NULL || is_stream(path)) {
        return UQFF_OK;
    }
    if (!uqff_path_exists(path)) {
        return output_check_directory(path, err);
    }
    bool is_input = validation_is_input(v, path);
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        struct uqff_source *source = NULL;
        if (inputs[i] != NULL && !is_input &&
            uqff_source_open(inputs[i], &source, NULL) == UQFF_OK) {
            is_input = uqff_source_is_file(source, path);
            uqff_source_close(source);
        }
    }
    if (is_input) {
        return uqff_fail(err, UQFF_E_IS_INPUT, UQFF_NO_OFFSET,
                         "%s: is also an input, expected another name for the output", path);
    }
    return v->cli->force
               ? UQFF_OK
               : uqff_fail(err, UQFF_E_EXISTS, UQFF_NO_OFFSET, "%s: already exists", path);
}

static enum uqff_code check_outputs(const struct validation *v, const struct values *values,
                                    struct uqff_error *err) {
    const char *const outputs[] = {values->logits_out, values->junit, values->markdown,
                                   values->html};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < 4 && code == UQFF_OK; i++) {
        code = check_output(v, values, outputs[i], err);
        for (size_t k = 0; k < i && code == UQFF_OK; k++) {
            if (outputs[i] != NULL && outputs[k] != NULL && strcmp(outputs[i], outputs[k]) == 0) {
                code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                                 "%s: is named as an output twice", outputs[i]);
            }
        }
    }
    return code;
}

/* ---- measuring ------------------------------------------------------------------------------- */

struct watch {
    struct progress state;
    struct uqff_progress report;
    size_t run, runs; /* of models that are measured one after the other */
};

static bool on_chunk(void *context, size_t chunk, size_t chunks,
                     const struct uqff_measure *so_far) {
    struct watch *watch = context;
    if (so_far != NULL) {
        snprintf(watch->state.note, sizeof watch->state.note, "PPL %.4f", so_far->perplexity.value);
    }
    return watch->report.update == NULL ||
           watch->report.update(watch->report.context, "validate", watch->run * chunks + chunk,
                                watch->runs * chunks);
}

static struct uqff_measure_options measure_options(const struct validation *v,
                                                   const struct values *values) {
    return (struct uqff_measure_options){
        .context = (size_t)values->context,
        .chunks = (size_t)values->chunks,
        .stride = (size_t)values->stride,
        .threads = (unsigned)v->cli->threads,
        .exact = values->exact,
    };
}

static enum uqff_code run_models(struct validation *v, const struct values *values,
                                 struct uqff_measure *measures, struct uqff_error *err) {
    const struct uqff_measure_options how = measure_options(v, values);
    const struct corpus *text = &v->text;
    struct watch watch;
    enum uqff_code code = UQFF_OK;
    const struct uqff_model **models =
        uqff_arena_array(&v->cli->arena, v->count, sizeof(struct uqff_model *));
    if (models == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < v->count; i++) {
        models[i] = v->candidates[i].model;
    }
    watch.run = 0;
    watch.runs = values->logits_base != NULL ? v->count : 1;
    watch.report = progress_begin_counted(&watch.state, v->cli, "chunks");
    on_chunk(&watch, 0, 1, NULL); /* the clock runs from here */
    if (values->logits_base != NULL) {
        for (size_t i = 0; i < v->count && code == UQFF_OK; i++) {
            watch.run = i;
            code = uqff_measure_against_file(values->logits_base, models[i], &how, on_chunk, &watch,
                                             &measures[i], err);
        }
    } else if (values->logits_out != NULL) {
        code = uqff_logits_write(models[0], text->tokens, text->count, text->bos, text->add_bos,
                                 &how, values->logits_out, v->cli->force, on_chunk, &watch,
                                 &measures[0], err);
        code = code == UQFF_OK ? list_append(&v->written, &v->cli->arena, values->logits_out, err)
                               : code;
    } else {
        code = uqff_measure(v->base, models, v->count, text->tokens, text->count, text->bos,
                            text->add_bos, &how, on_chunk, &watch, measures, err);
    }
    progress_end(&watch.state);
    return code;
}

static enum uqff_code read_text(struct validation *v, const struct values *values,
                                const struct uqff_warner *warner, struct uqff_error *err) {
    struct uqff_vocabulary *vocabulary = NULL;
    v->cli->file = v->candidates[0].reference;
    enum uqff_code code =
        corpus_vocabulary(v->candidates[0].model, values->tokenizer, warner, &vocabulary, err);
    if (code == UQFF_E_MISSING && v->base != NULL) {
        code = uqff_vocabulary_open(v->base, warner, &vocabulary, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    code = validation_check_vocabularies(v, vocabulary, err);
    if (code == UQFF_OK) {
        v->cli->file = values->text;
        code = corpus_read(values->text, vocabulary, warner, &v->text, err);
        v->cli->file = v->candidates[0].reference;
    }
    uqff_vocabulary_close(vocabulary);
    return code;
}

/* The context of a logits file: the number behind its magic. */
static enum uqff_code read_context(const char *path, uint64_t *out, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    unsigned char header[12];
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code == UQFF_OK) {
        code = uqff_source_read(source, 0, header, sizeof header, err);
        *out = code == UQFF_OK ? uqff_load_le32(header + 8) : 0;
    }
    uqff_source_close(source);
    return code;
}

static enum uqff_code measure(struct validation *v, const struct values *values,
                              const struct uqff_warner *warner, struct uqff_error *err) {
    v->context = values->context != 0 ? values->context : 512;
    enum uqff_code code = values->text != NULL
                              ? read_text(v, values, warner, err)
                              : read_context(values->logits_base, &v->context, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_measure *measures = uqff_arena_array(&v->cli->arena, v->count, sizeof *measures);
    code = measures == NULL ? uqff_fail_memory(err) : run_models(v, values, measures, err);
    if (code == UQFF_E_ARGUMENT && values->text != NULL) {
        uqff_error_prefix(err, "%s", v->text.path);
    }
    if (code != UQFF_OK) {
        return code;
    }
    v->measured = true;
    v->chunks = measures[0].chunks;
    v->stride = values->stride;
    v->exact = values->exact;
    for (size_t i = 0; i < v->count; i++) {
        v->candidates[i].measure = measures[i];
        uqff_figures_of_measure(&measures[i], &v->candidates[i].figures);
    }
    return UQFF_OK;
}

static enum uqff_code compare_weights(struct validation *v, const struct uqff_warner *warner,
                                      struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < v->count && code == UQFF_OK; i++) {
        struct candidate *candidate = &v->candidates[i];
        /* What has no counterpart is the same for all variants of a file. */
        const struct uqff_weights_options how = {.threads = (unsigned)v->cli->threads,
                                                 .warner = i == 0 ? warner : NULL};
        struct progress state;
        const struct uqff_progress progress = progress_begin(&state, v->cli);
        v->cli->file = candidate->reference;
        code = uqff_weights_compare(v->base, candidate->model, &how, &progress,
                                    &candidate->weight_errors, err);
        progress_end(&state);
        if (code == UQFF_OK) {
            uqff_figures_of_weights(candidate->weight_errors, &candidate->figures);
        }
    }
    return code;
}

/* Runs the models; where that is not possible, their weights are compared instead. */
static enum uqff_code measure_or_compare(struct validation *v, const struct values *values,
                                         const struct uqff_warner *warner, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    bool weights = values->weights;
    if (values->text != NULL || values->logits_base != NULL) {
        code = measure(v, values, warner, err);
        if (code == UQFF_E_UNSUPPORTED && v->base != NULL) {
            uqff_warn(warner, "%s; only its weights are compared", err->text);
            v->context = 0;
            weights = true;
            code = UQFF_OK;
        } else if (code == UQFF_E_UNSUPPORTED && v->base == NULL) {
            static const char hint[] = "; with --base MODEL its weights are compared";
            strncat(err->text, hint, sizeof err->text - strlen(err->text) - 1);
        }
    }
    return code == UQFF_OK && weights ? compare_weights(v, warner, err) : code;
}

/* ---- the gate -------------------------------------------------------------------------------- */

static enum uqff_code check_gate(const struct validation *v, const struct values *values,
                                 const struct uqff_gate *gate, struct uqff_error *err) {
    struct list names = {0};
    const char *wants = uqff_gate_wants_base(gate);
    if (wants != NULL && !validation_has_base(v)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: '%s' needs something to compare with: --base MODEL or --logits-base "
                         "FILE",
                         values->gate, wants);
    }
    enum uqff_code code = UQFF_OK;
    /* A variant that was not chosen this time is no slip in the gate file. */
    for (size_t i = 0; i < v->left_out.count && code == UQFF_OK; i++) {
        code = list_append(&names, &v->cli->arena, v->left_out.items[i], err);
    }
    for (size_t i = 0; i < v->count && code == UQFF_OK; i++) {
        code = list_append(&names, &v->cli->arena, v->candidates[i].name, err);
        const struct uqff_container *container = uqff_model_container(v->candidates[i].model);
        const size_t count = container == NULL ? 0 : uqff_container_variant_count(container);
        for (size_t k = 0; k < count && code == UQFF_OK; k++) {
            code = list_append(&names, &v->cli->arena, uqff_container_variant(container, k)->name,
                               err);
        }
    }
    return code == UQFF_OK ? uqff_gate_check_names(gate, names.items, names.count, err) : code;
}

static enum uqff_code evaluate_gate(struct validation *v, const struct uqff_gate *gate,
                                    struct uqff_error *err) {
    struct uqff_gate_subject *subjects =
        uqff_arena_array(&v->cli->arena, v->count, sizeof *subjects);
    if (subjects == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < v->count; i++) {
        subjects[i] = (struct uqff_gate_subject){v->candidates[i].name, v->candidates[i].figures};
    }
    const struct uqff_gate_conditions conditions = {
        .text_sha256 = v->text.path != NULL ? v->text.sha256 : NULL,
        .context = v->context,
        .chunks = v->chunks,
        .stride = v->stride,
        .exact = v->exact,
    };
    enum uqff_code code =
        uqff_gate_evaluate(gate, &conditions, subjects, v->count, &v->checks, &v->check_count, err);
    for (size_t i = 0; code == UQFF_OK && i < v->check_count; i++) {
        v->failed_count += !v->checks[i].passed;
    }
    v->cli->answer_no = v->failed_count > 0;
    return code;
}

/* ---- all together ---------------------------------------------------------------------------- */

static void set_sizes(struct validation *v) {
    for (size_t i = 0; i < v->count; i++) {
        struct candidate *candidate = &v->candidates[i];
        candidate->figures.value[UQFF_FIGURE_BYTES] = (double)candidate->bytes;
        if (candidate->weights > 0) {
            candidate->figures.value[UQFF_FIGURE_BITS] =
                (double)candidate->bytes * 8 / (double)candidate->weights;
        }
    }
}

static enum uqff_code write_reports(struct validation *v, const struct values *values,
                                    struct uqff_error *err) {
    const struct {
        const char *path;
        void (*put)(const struct validation *v, struct uqff_buffer *out);
    } reports[] = {{values->junit, validation_junit},
                   {values->markdown, validation_markdown},
                   {values->html, validation_html}};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < sizeof reports / sizeof reports[0] && code == UQFF_OK; i++) {
        if (reports[i].path == NULL) {
            continue;
        }
        struct uqff_buffer text = {0};
        const bool stream = is_stream(reports[i].path);
        reports[i].put(v, &text);
        if (text.failed) {
            code = uqff_fail_memory(err);
        } else if (stream) {
            fwrite(text.data, 1, text.size, stdout);
            v->printed = true;
        } else {
            code = uqff_write_file(reports[i].path, text.data, text.size, v->cli->force, err);
        }
        uqff_buffer_free(&text);
        if (code == UQFF_OK && !stream) {
            code = list_append(&v->written, &v->cli->arena, reports[i].path, err);
        }
    }
    return code;
}

static enum uqff_code validate(struct validation *v, const struct values *values,
                               const struct uqff_gate *gate, struct uqff_error *err) {
    const struct uqff_warner warner = output_warner(v->cli);
    enum uqff_code code = validation_open(v, &v->cli->arguments, &values->variants, &warner, err);
    if (code == UQFF_OK && v->base_path != NULL) {
        code = validation_open_base(v, &warner, err);
    }
    if (code == UQFF_OK && values->logits_out != NULL && v->count != 1) {
        code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--logits-out': found %zu variants, expected one", v->count);
    }
    if (code == UQFF_OK) {
        code = check_outputs(v, values, err);
    }
    if (code == UQFF_OK && gate != NULL) {
        code = check_gate(v, values, gate, err);
    }
    if (code == UQFF_OK) {
        set_sizes(v);
        code = measure_or_compare(v, values, &warner, err);
    }
    if (code == UQFF_OK && gate != NULL) {
        code = evaluate_gate(v, gate, err);
    }
    if (code == UQFF_OK) {
        code = write_reports(v, values, err);
    }
    if (code == UQFF_OK && !v->printed) {
        code = v->cli->json ? validation_print_json(v, err) : validation_print(v, err);
    }
    return code;
}

static enum uqff_code run(struct cli *cli, const void *arguments, struct uqff_error *err) {
    const struct values *values = arguments;
    struct validation v = {
        .cli = cli,
        .base_path = values->base,
        .logits_base_path = values->logits_base,
        .gate_path = values->gate,
    };
    struct uqff_gate *gate = NULL;
    enum uqff_code code = check_values(cli, values, err);
    if (code == UQFF_OK && values->gate != NULL) {
        cli->file = values->gate;
        code = uqff_gate_open(values->gate, &gate, err);
    }
    if (code == UQFF_OK) {
        code = validate(&v, values, gate, err);
    }
    /* Checks point to names of the models and of the gate. */
    validation_close(&v);
    uqff_gate_close(gate);
    return code;
}

const struct command command_validate = {
    .name = "validate",
    .summary = "Measure what quantization cost",
    .positionals = positionals,
    .options = options,
    .values_size = sizeof(struct values),
    .description = description,
    .json = json,
    .examples = examples,
    .run = run,
};
