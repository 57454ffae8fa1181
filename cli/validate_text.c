/* validate: what was measured, as tables for people. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "table.h"
#include "validate.h"

/* ---- figures --------------------------------------------------------------------------------- */

static const struct {
    const char *title;  /* of a report */
    const char *column; /* of a table */
    const char *format; /* of a value; NULL: a size */
    double scale;
} forms[UQFF_FIGURE_COUNT] = {
    [UQFF_FIGURE_PPL] = {"perplexity", "PPL", "%.4f", 1},
    [UQFF_FIGURE_PPL_RATIO] = {"ratio", "RATIO", "%.5f", 1},
    [UQFF_FIGURE_LN_PPL_RATIO] = {"ln perplexity ratio", "LN RATIO", "%.6f", 1},
    [UQFF_FIGURE_PPL_DIFFERENCE] = {"perplexity difference", "DIFFERENCE", "%.6f", 1},
    [UQFF_FIGURE_CORRELATION] = {"correlation", "CORRELATION", "%.2f %%", 100},
    [UQFF_FIGURE_KLD_MEAN] = {"KLD mean", "KLD MEAN", "%.6f", 1},
    [UQFF_FIGURE_KLD_MEDIAN] = {"KLD median", "KLD MEDIAN", "%.6f", 1},
    [UQFF_FIGURE_KLD_P90] = {"KLD 90 %", "KLD 90 %", "%.6f", 1},
    [UQFF_FIGURE_KLD_P95] = {"KLD 95 %", "KLD 95 %", "%.6f", 1},
    [UQFF_FIGURE_KLD_P99] = {"KLD 99 %", "KLD 99 %", "%.6f", 1},
    [UQFF_FIGURE_KLD_P999] = {"KLD 99.9 %", "KLD 99.9 %", "%.6f", 1},
    [UQFF_FIGURE_KLD_MAX] = {"KLD maximum", "KLD MAX", "%.6f", 1},
    [UQFF_FIGURE_DELTA_P_MEAN] = {"Δp mean", "Δp MEAN", "%.3f %%", 1},
    [UQFF_FIGURE_RMS_DELTA_P] = {"Δp RMS", "Δp RMS", "%.3f %%", 1},
    [UQFF_FIGURE_SAME_TOP] = {"same top", "SAME TOP", "%.3f %%", 1},
    [UQFF_FIGURE_BYTES] = {"size", "SIZE", NULL, 1},
    [UQFF_FIGURE_BITS] = {"bits", "BITS", "%.2f", 1},
    [UQFF_FIGURE_REL_RMSE] = {"relative RMSE", "REL RMSE", "%.6f", 1},
    [UQFF_FIGURE_SNR] = {"signal to noise", "SNR", "%.2f dB", 1},
    [UQFF_FIGURE_COSINE] = {"cosine", "COSINE", "%.6f", 1},
};

/* A value within the room that callers have; the formats are those of the table above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void put_value(char out[40], enum uqff_figure figure, double value) {
    snprintf(out, 40, forms[figure].format, value * forms[figure].scale);
}
#pragma GCC diagnostic pop

const char *validation_figure(char out[40], enum uqff_figure figure, double value) {
    if (isnan(value)) {
        return strcpy(out, "-");
    }
    if (isinf(value)) {
        return strcpy(out, value > 0 ? "∞" : "-∞");
    }
    if (forms[figure].format == NULL) {
        uqff_format_bytes(out, value >= 0 && value < 0x1p63 ? (uint64_t)value : 0);
    } else {
        put_value(out, figure, value);
    }
    return out;
}

const char *validation_title(enum uqff_figure figure) {
    return forms[figure].title;
}

const char *validation_limit(char out[64], const struct uqff_gate_check *check) {
    snprintf(out, 64, "%s %.7g", uqff_figure_more_is_better(check->figure) ? "at least" : "at most",
             check->limit);
    return out;
}

const enum uqff_figure *validation_columns(const struct validation *v) {
    static const enum uqff_figure alone[] = {UQFF_FIGURE_BYTES, UQFF_FIGURE_BITS, UQFF_FIGURE_PPL,
                                             UQFF_FIGURE_COUNT};
    static const enum uqff_figure beside[] = {
        UQFF_FIGURE_BYTES,       UQFF_FIGURE_BITS,     UQFF_FIGURE_PPL,
        UQFF_FIGURE_PPL_RATIO,   UQFF_FIGURE_KLD_MEAN, UQFF_FIGURE_KLD_P999,
        UQFF_FIGURE_RMS_DELTA_P, UQFF_FIGURE_SAME_TOP, UQFF_FIGURE_COUNT};
    static const enum uqff_figure weights[] = {UQFF_FIGURE_BYTES,    UQFF_FIGURE_BITS,
                                               UQFF_FIGURE_REL_RMSE, UQFF_FIGURE_SNR,
                                               UQFF_FIGURE_COSINE,   UQFF_FIGURE_COUNT};
    return !v->measured ? weights : validation_has_base(v) ? beside : alone;
}

double validation_base_figure(const struct validation *v, enum uqff_figure figure) {
    switch (figure) {
    case UQFF_FIGURE_BYTES:
        return v->base == NULL ? (double)NAN : (double)v->base_bytes;
    case UQFF_FIGURE_BITS:
        return v->base == NULL || v->base_weights == 0
                   ? (double)NAN
                   : (double)v->base_bytes * 8 / (double)v->base_weights;
    case UQFF_FIGURE_PPL:
        return v->measured && v->count > 0 && v->candidates[0].measure.has_base
                   ? v->candidates[0].measure.base_perplexity.value
                   : (double)NAN;
    default:
        return (double)NAN;
    }
}

void validation_describe(const struct validation *v, struct uqff_buffer *out) {
    if (!v->measured) {
        uqff_buffer_printf(out, "weights compared with those of %s", v->base_path);
        return;
    }
    const struct uqff_measure *measure = &v->candidates[0].measure;
    uqff_buffer_printf(out, "%llu chunk%s of %llu tokens", (unsigned long long)v->chunks,
                       v->chunks == 1 ? "" : "s", (unsigned long long)v->context);
    if (v->stride != 0) {
        uqff_buffer_printf(out, " at a stride of %llu", (unsigned long long)v->stride);
    }
    uqff_buffer_printf(out, " of %s, %zu scored%s",
                       v->text.path != NULL ? v->text.path : v->logits_base_path, measure->tokens,
                       v->exact ? ", exact" : "");
}

/* ---- percentiles ----------------------------------------------------------------------------- */

#define AT(member) offsetof(struct uqff_percentiles, member)

const struct percentile_row validation_percentiles[13] = {
    {"maximum", "max", AT(max)},      {"99.9 %", "p999", AT(p999)}, {"99.0 %", "p99", AT(p99)},
    {"95.0 %", "p95", AT(p95)},       {"90.0 %", "p90", AT(p90)},   {"75.0 %", "p75", AT(p75)},
    {"median", "median", AT(median)}, {"25.0 %", "p25", AT(p25)},   {"10.0 %", "p10", AT(p10)},
    {"5.0 %", "p5", AT(p5)},          {"1.0 %", "p1", AT(p1)},      {"0.1 %", "p01", AT(p01)},
    {"minimum", "min", AT(min)},
};

double validation_percentile(const struct uqff_percentiles *all, size_t row) {
    double value;
    memcpy(&value, (const char *)all + validation_percentiles[row].offset, sizeof value);
    return value;
}

double validation_plain(double value, double half_digit) {
    return fabs(value) < half_digit ? 0 : value;
}

static void percentile_cell(struct table *table, double value) {
    table_cell(table, "%.6f", validation_plain(value, 0.0000005));
}

static void estimate_row(struct table *table, const char *title, const struct uqff_estimate *value,
                         double scale, const char *unit) {
    table_text(table, title);
    table_cell(table, "%.6f", value->value * scale);
    table_cell(table, "± %.6f%s", value->error * scale, unit);
}

/* All that llama-perplexity prints of a pair of models, in its order. */
static enum uqff_code print_details(const struct validation *v, const struct candidate *candidate,
                                    struct uqff_error *err) {
    const struct uqff_measure *m = &candidate->measure;
    struct table table = {0};
    char title[512];
    printf("\n");
    table_column(&table,
                 output_cut(title, sizeof title, 40, candidate->name, strlen(candidate->name)),
                 ALIGN_LEFT);
    table_column(&table, "", ALIGN_RIGHT);
    table_column(&table, "", ALIGN_LEFT);
    estimate_row(&table, "mean PPL(Q)", &m->perplexity, 1, "");
    if (m->has_base) {
        estimate_row(&table, "mean PPL(base)", &m->base_perplexity, 1, "");
        table_text(&table, "cor(ln PPL(Q), ln PPL(base))");
        table_cell(&table, "%.6f", m->correlation * 100);
        table_text(&table, "%");
        estimate_row(&table, "mean ln(PPL(Q) / PPL(base))", &m->ln_ratio, 1, "");
        estimate_row(&table, "mean PPL(Q) / PPL(base)", &m->ratio, 1, "");
        estimate_row(&table, "mean PPL(Q) - PPL(base)", &m->difference, 1, "");
        estimate_row(&table, "KLD mean", &m->kld, 1, "");
        for (size_t i = 0; i < 13; i++) {
            table_cell(&table, "KLD %s", validation_percentiles[i].title);
            percentile_cell(&table, validation_percentile(&m->kld_percentiles, i));
            table_text(&table, "");
        }
        estimate_row(&table, "Δp mean", &m->delta_p, 100, " %");
        for (size_t i = 0; i < 13; i++) {
            table_cell(&table, "Δp %s", validation_percentiles[i].title);
            percentile_cell(&table, 100 * validation_percentile(&m->delta_p_percentiles, i));
            table_text(&table, "%");
        }
        estimate_row(&table, "Δp RMS", &m->rms_delta_p, 100, " %");
        estimate_row(&table, "same top", &m->same_top, 100, " %");
    }
    return table_print(&table, v->cli, 0, err);
}

/* ---- weights --------------------------------------------------------------------------------- */

static void weight_row(struct table *table, unsigned columns, const char *name,
                       const struct uqff_weight_error *error) {
    char text[40];
    table_bytes(table, columns, name, strlen(name));
    table_text(table, error->type == UINT32_MAX ? "" : uqff_type_name(error->type));
    table_text(table, validation_figure(text, UQFF_FIGURE_REL_RMSE, error->rel_rmse));
    table_text(table, validation_figure(text, UQFF_FIGURE_SNR, error->snr));
    table_text(table, validation_figure(text, UQFF_FIGURE_COSINE, error->cosine));
    table_cell(table, "%.4g", error->max_abs);
}

/* Without --verbose: the tensors that are farthest off. */
enum { WORST_SHOWN = 10 };

static int by_error(const void *a, const void *b) {
    const struct uqff_weight_error *const *x = a, *const *y = b;
    const double difference = (*y)->rel_rmse - (*x)->rel_rmse;
    return difference > 0 ? 1 : difference < 0 ? -1 : strcmp((*x)->name, (*y)->name);
}

static enum uqff_code print_weights(const struct validation *v, const struct candidate *candidate,
                                    struct uqff_error *err) {
    const unsigned columns = v->cli->verbose ? 0 : 48;
    const struct uqff_weights *weights = candidate->weight_errors;
    const size_t count = uqff_weights_count(weights);
    const size_t shown = v->cli->verbose || count < WORST_SHOWN ? count : WORST_SHOWN;
    const struct uqff_weight_error **errors =
        uqff_arena_array(&v->cli->arena, count, sizeof *errors);
    if (errors == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        errors[i] = uqff_weights_at(weights, i);
    }
    if (!v->cli->verbose) {
        qsort(errors, count, sizeof *errors, by_error);
    }
    struct table table = {0};
    char title[512];
    printf("\n");
    table_column(&table,
                 output_cut(title, sizeof title, columns, candidate->name, strlen(candidate->name)),
                 ALIGN_LEFT);
    table_column(&table, "TYPE", ALIGN_LEFT);
    table_column(&table, "REL RMSE", ALIGN_RIGHT);
    table_column(&table, "SNR", ALIGN_RIGHT);
    table_column(&table, "COSINE", ALIGN_RIGHT);
    table_column(&table, "LARGEST", ALIGN_RIGHT);
    for (size_t i = 0; i < shown; i++) {
        weight_row(&table, columns, errors[i]->name, errors[i]);
    }
    table_total(&table);
    char all[40];
    snprintf(all, sizeof all, "all %zu", count);
    weight_row(&table, columns, all, uqff_weights_total(weights));
    enum uqff_code code = table_print(&table, v->cli, 0, err);
    if (code == UQFF_OK && shown < count) {
        printf("… %zu more; -v lists all\n", count - shown);
    }
    return code;
}

/* ---- the summary ----------------------------------------------------------------------------- */

static void figure_cells(struct table *table, const enum uqff_figure *columns,
                         const struct uqff_figures *figures, const struct uqff_estimate *ppl) {
    char text[40];
    for (; *columns != UQFF_FIGURE_COUNT; columns++) {
        validation_figure(text, *columns, figures->value[*columns]);
        if (*columns == UQFF_FIGURE_PPL && !isnan(figures->value[*columns])) {
            table_cell(table, "%s ± %.4f", text, ppl->error);
        } else {
            table_text(table, text);
        }
    }
}

static enum uqff_code print_summary(const struct validation *v, struct uqff_error *err) {
    const enum uqff_figure *columns = validation_columns(v);
    struct table table = {0};
    table_column(&table, "VARIANT", ALIGN_LEFT);
    for (const enum uqff_figure *c = columns; *c != UQFF_FIGURE_COUNT; c++) {
        table_column(&table, forms[*c].column, ALIGN_RIGHT);
    }
    for (size_t i = 0; i < v->count; i++) {
        const struct candidate *candidate = &v->candidates[i];
        table_bytes(&table, v->cli->verbose ? 0 : 40, candidate->name, strlen(candidate->name));
        figure_cells(&table, columns, &candidate->figures, &candidate->measure.perplexity);
    }
    if (validation_has_base(v)) {
        struct uqff_figures base;
        for (int i = 0; i < UQFF_FIGURE_COUNT; i++) {
            base.value[i] = validation_base_figure(v, (enum uqff_figure)i);
        }
        table_total(&table);
        table_text(&table, "base");
        figure_cells(&table, columns, &base, &v->candidates[0].measure.base_perplexity);
    }
    return table_print(&table, v->cli, 0, err);
}

/* Without a base there is perplexity alone, of which most is the text's. */
static void print_missing_base(const struct validation *v) {
    bool quantized = false;
    for (size_t i = 0; i < v->count; i++) {
        quantized = quantized || v->candidates[i].figures.value[UQFF_FIGURE_BITS] < 16;
    }
    if (quantized && v->measured && !validation_has_base(v)) {
        printf("%sperplexity alone; --base MODEL, the source, tells what quantization cost%s\n",
               style(v->cli, STYLE_DIM), style_end(v->cli));
    }
}

/* ---- the gate -------------------------------------------------------------------------------- */

static enum uqff_code print_checks(const struct validation *v, struct uqff_error *err) {
    struct table table = {0};
    char text[64];
    const bool all = v->cli->verbose && !v->cli->quiet;
    if (!all && v->failed_count == 0) {
        return UQFF_OK;
    }
    if (!v->cli->quiet) {
        printf("\n");
    }
    table_column(&table, all ? "CHECKED" : "FAILED", ALIGN_LEFT);
    table_column(&table, "CHECK", ALIGN_LEFT);
    table_column(&table, "FOUND", ALIGN_RIGHT);
    table_column(&table, "EXPECTED", ALIGN_LEFT);
    if (all) {
        table_column(&table, "", ALIGN_LEFT);
    }
    for (size_t i = 0; i < v->check_count; i++) {
        const struct uqff_gate_check *check = &v->checks[i];
        if (check->passed && !all) {
            continue;
        }
        table_bytes(&table, v->cli->verbose ? 0 : 40, check->variant, strlen(check->variant));
        table_text(&table, check->key);
        if (isnan(check->found)) {
            table_text(&table, "not measured");
        } else {
            table_cell(&table, "%.7g", check->found);
        }
        table_text(&table, validation_limit(text, check));
        if (all) {
            table_text(&table, check->passed ? "passed" : "failed");
        }
    }
    return table_print(&table, v->cli, 0, err);
}

static void print_verdict(const struct validation *v) {
    char path[5000];
    const bool passed = v->failed_count == 0;
    printf("\n%s: %s%s%s: ", output_cut(path, sizeof path, 0, v->gate_path, strlen(v->gate_path)),
           style(v->cli, passed ? STYLE_GREEN : STYLE_RED), passed ? "passed" : "failed",
           style_end(v->cli));
    if (passed) {
        printf("%zu check%s\n", v->check_count, v->check_count == 1 ? "" : "s");
    } else {
        printf("%zu of %zu checks\n", v->failed_count, v->check_count);
    }
}

static void print_written(const struct validation *v) {
    char path[5000];
    for (size_t i = 0; i < v->written.count; i++) {
        const char *file = v->written.items[i];
        printf("%swritten: %s\n", i == 0 ? "\n" : "",
               output_cut(path, sizeof path, 0, file, strlen(file)));
    }
}

enum uqff_code validation_print(const struct validation *v, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    if (v->cli->quiet) {
        return v->gate_path == NULL ? UQFF_OK : print_checks(v, err);
    }
    struct uqff_buffer line = {0};
    char shown[5000];
    validation_describe(v, &line);
    printf("%s\n",
           output_cut(shown, sizeof shown, 0, line.data == NULL ? "" : line.data, line.size));
    uqff_buffer_free(&line);
    code = print_summary(v, err);
    if (code == UQFF_OK) {
        print_missing_base(v);
    }
    for (size_t i = 0; i < v->count && code == UQFF_OK; i++) {
        const struct candidate *candidate = &v->candidates[i];
        if (v->cli->verbose && v->measured) {
            code = print_details(v, candidate, err);
        }
        if (candidate->weight_errors != NULL && code == UQFF_OK) {
            code = print_weights(v, candidate, err);
        }
    }
    if (v->gate_path != NULL && code == UQFF_OK) {
        code = print_checks(v, err);
        print_verdict(v);
    }
    print_written(v);
    return code;
}
