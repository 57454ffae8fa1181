/* validate: what was measured, for machines that run releases: JUnit XML, and Markdown for the
 * summary of a job. */
#include <math.h>
#include <stdio.h>

#include "markup.h"
#include "validate.h"

static const char *found_text(char out[64], const struct uqff_gate_check *check) {
    if (isnan(check->found)) {
        snprintf(out, 64, "not measured");
    } else {
        snprintf(out, 64, "%.7g", check->found);
    }
    return out;
}

/* ---- JUnit ----------------------------------------------------------------------------------- */

static void junit_check(const struct uqff_gate_check *check, struct uqff_buffer *out) {
    char found[64], limit[64];
    uqff_buffer_printf(out, "    <testcase classname=\"");
    markup_xml(out, check->variant);
    uqff_buffer_printf(out, "\" name=\"%s\"", check->key);
    if (check->passed) {
        uqff_buffer_printf(out, "/>\n");
        return;
    }
    uqff_buffer_printf(out,
                       ">\n      <failure message=\"%s: found %s, expected %s\"/>\n"
                       "    </testcase>\n",
                       uqff_figure_name(check->figure), found_text(found, check),
                       validation_limit(limit, check));
}

/* A test case a check; without a gate, one a variant that says that it was measured. */
void validation_junit(const struct validation *v, struct uqff_buffer *out) {
    const size_t tests = v->count + v->check_count;
    uqff_buffer_printf(out,
                       "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                       "<testsuites tests=\"%zu\" failures=\"%zu\" errors=\"0\">\n"
                       "  <testsuite name=\"uqff validate\" tests=\"%zu\" failures=\"%zu\" "
                       "errors=\"0\" skipped=\"0\">\n",
                       tests, v->failed_count, tests, v->failed_count);
    for (size_t i = 0; i < v->count; i++) {
        uqff_buffer_printf(out, "    <testcase classname=\"");
        markup_xml(out, v->candidates[i].name);
        uqff_buffer_printf(out, "\" name=\"%s\"/>\n", v->measured ? "measured" : "compared");
    }
    for (size_t i = 0; i < v->check_count; i++) {
        junit_check(&v->checks[i], out);
    }
    uqff_buffer_printf(out, "  </testsuite>\n</testsuites>\n");
}

/* ---- Markdown -------------------------------------------------------------------------------- */

static void markdown_row(const struct validation *v, const char *name,
                         const struct uqff_figures *figures, struct uqff_buffer *out) {
    char text[40];
    uqff_buffer_printf(out, "| ");
    markup_markdown(out, name);
    for (const enum uqff_figure *c = validation_columns(v); *c != UQFF_FIGURE_COUNT; c++) {
        uqff_buffer_printf(out, " | %s", validation_figure(text, *c, figures->value[*c]));
    }
    uqff_buffer_printf(out, " |\n");
}

static void markdown_gate(const struct validation *v, struct uqff_buffer *out) {
    char found[64], limit[64];
    uqff_buffer_printf(out, "\n**Gate %s**: ", v->failed_count == 0 ? "passed" : "failed");
    if (v->failed_count == 0) {
        uqff_buffer_printf(out, "%zu checks.\n", v->check_count);
        return;
    }
    uqff_buffer_printf(out, "%zu of %zu checks.\n\n", v->failed_count, v->check_count);
    uqff_buffer_printf(out, "| failed | check | found | expected |\n|---|---|--:|---|\n");
    for (size_t i = 0; i < v->check_count; i++) {
        const struct uqff_gate_check *check = &v->checks[i];
        if (!check->passed) {
            uqff_buffer_printf(out, "| ");
            markup_markdown(out, check->variant);
            uqff_buffer_printf(out, " | %s | %s | %s |\n", check->key, found_text(found, check),
                               validation_limit(limit, check));
        }
    }
}

void validation_markdown(const struct validation *v, struct uqff_buffer *out) {
    struct uqff_buffer line = {0};
    uqff_buffer_printf(out, "### Validation\n\n");
    validation_describe(v, &line);
    markup_markdown(out, line.data == NULL ? "" : line.data);
    out->failed = out->failed || line.failed;
    uqff_buffer_free(&line);
    uqff_buffer_printf(out, "\n\n| variant");
    for (const enum uqff_figure *c = validation_columns(v); *c != UQFF_FIGURE_COUNT; c++) {
        uqff_buffer_printf(out, " | %s", validation_title(*c));
    }
    uqff_buffer_printf(out, " |\n|---");
    for (const enum uqff_figure *c = validation_columns(v); *c != UQFF_FIGURE_COUNT; c++) {
        uqff_buffer_printf(out, "|--:");
    }
    uqff_buffer_printf(out, "|\n");
    for (size_t i = 0; i < v->count; i++) {
        markdown_row(v, v->candidates[i].name, &v->candidates[i].figures, out);
    }
    if (validation_has_base(v)) {
        struct uqff_figures base;
        for (int i = 0; i < UQFF_FIGURE_COUNT; i++) {
            base.value[i] = validation_base_figure(v, (enum uqff_figure)i);
        }
        markdown_row(v, "base", &base, out);
    }
    if (v->gate_path != NULL) {
        markdown_gate(v, out);
    }
}
