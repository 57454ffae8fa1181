/* validate: what was measured, as one page that needs nothing else: no scripts, no fonts, no images
 * from elsewhere. */
#include <math.h>
#include <string.h>

#include "markup.h"
#include "validate.h"

static const char style_sheet[] =
    ":root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--soft:#59636e;--line:#d8dee4;"
    "--card:#f6f8fa;--mark:#0b63c5;--good:#187a34;--bad:#c0262d}\n"
    "@media (prefers-color-scheme:dark){:root{--back:#0e1116;--text:#e4e8ed;--soft:#98a2ad;"
    "--line:#30363d;--card:#171b21;--mark:#6cb0ff;--good:#56c271;--bad:#ff7b76}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;padding:1.25rem;max-width:64rem;background:var(--back);color:var(--text);"
    "font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\n"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}\n"
    "h2{font-size:1.1rem;margin:2rem 0 .5rem}\n"
    "p{margin:.25rem 0;color:var(--soft);overflow-wrap:anywhere}\n"
    ".verdict{display:inline-block;margin:.75rem 0 0;padding:.2rem .8rem;border:2px solid;"
    "border-radius:2rem;font-weight:600}\n"
    ".good{color:var(--good)}.bad{color:var(--bad)}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr));"
    "gap:1rem;margin-top:1.5rem}\n"
    "svg{display:block;width:100%;height:auto;background:var(--card);border:1px solid var(--line);"
    "border-radius:.5rem;font-size:13px;fill:var(--soft)}\n"
    "svg .title{font-weight:600}svg .name{fill:var(--text);font-weight:600}\n"
    "svg .grid{stroke:var(--line)}svg .frame{fill:none;stroke:var(--line)}\n"
    "svg .base{stroke:var(--soft);stroke-dasharray:6 4}svg text.base{stroke:none}\n"
    "svg .front{fill:none;stroke:var(--mark);stroke-width:1.5;opacity:.45}\n"
    "svg .point{fill:var(--mark)}svg path.bad{fill:var(--bad)}\n"
    "svg .error{stroke:var(--mark);stroke-width:2;opacity:.6}\n"
    ".scroll{overflow-x:auto}\n"
    "table{border-collapse:separate;border-spacing:0;width:100%;font-variant-numeric:tabular-nums}"
    "\n"
    "th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:right;"
    "white-space:nowrap}\n"
    "th{color:var(--soft);font-weight:600;font-size:.875rem}\n"
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0;"
    "background:var(--back)}\n"
    "th.left,td.left{text-align:left}summary{cursor:pointer;margin-top:2rem;font-weight:600}tbody "
    "td:first-child{font-weight:600}\n"
    "td.bad{color:var(--bad);font-weight:600}\n"
    "tr.base td{color:var(--soft)}td small{color:var(--soft)}\n"
    "footer{margin-top:2.5rem;font-size:.875rem;color:var(--soft)}\n"
    "@media print{:root{--back:#fff;--text:#000;--soft:#444;--line:#bbb;--card:#fff;"
    "--mark:#0b63c5;--good:#187a34;--bad:#b00020}body{max-width:none;padding:0;font-size:10pt}"
    ".scroll{overflow:visible}th,td{padding:.2rem .35rem}svg,table,tr{break-inside:avoid}"
    ".charts{grid-template-columns:1fr 1fr}}\n";

/* ---- parts ----------------------------------------------------------------------------------- */

static bool has_failed(const struct validation *v, const char *variant, enum uqff_figure figure) {
    for (size_t i = 0; i < v->check_count; i++) {
        const struct uqff_gate_check *check = &v->checks[i];
        if (!check->passed && check->figure == figure && strcmp(check->variant, variant) == 0) {
            return true;
        }
    }
    return false;
}

static void put_head(const struct validation *v, struct uqff_buffer *out) {
    struct uqff_buffer line = {0};
    const char *name =
        v->count == 1 ? v->candidates[0].name : uqff_model_name(v->candidates[0].model);
    validation_describe(v, &line);
    uqff_buffer_printf(out,
                       "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width,"
                       "initial-scale=1\">\n<title>Validation of ");
    markup_xml(out, name);
    uqff_buffer_printf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<header>\n<h1>",
                       style_sheet);
    markup_xml(out, name);
    uqff_buffer_printf(out, "</h1>\n<p>");
    markup_xml(out, line.data == NULL ? "" : line.data);
    uqff_buffer_printf(out, "</p>\n");
    out->failed = out->failed || line.failed;
    uqff_buffer_free(&line);
    if (v->measured && validation_has_base(v)) {
        uqff_buffer_printf(out, "<p>compared with ");
        markup_xml(out, v->base_path != NULL ? v->base_path : v->logits_base_path);
        uqff_buffer_printf(out, "</p>\n");
    }
    if (v->gate_path != NULL) {
        const bool passed = v->failed_count == 0;
        uqff_buffer_printf(out, "<p class=\"verdict %s\">%s: ", passed ? "good" : "bad",
                           passed ? "passed" : "failed");
        if (passed) {
            uqff_buffer_printf(out, "%zu checks", v->check_count);
        } else {
            uqff_buffer_printf(out, "%zu of %zu checks", v->failed_count, v->check_count);
        }
        uqff_buffer_printf(out, "</p>\n");
    }
    uqff_buffer_printf(out, "</header>\n");
}

static void put_charts(const struct validation *v, struct uqff_buffer *out) {
    static const enum uqff_figure figures[] = {UQFF_FIGURE_PPL, UQFF_FIGURE_KLD_MEAN,
                                               UQFF_FIGURE_REL_RMSE};
    uqff_buffer_printf(out, "<div class=\"charts\">\n");
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        validation_chart(v, figures[i], out);
    }
    uqff_buffer_printf(out, "</div>\n");
}

static void begin_table(const char *title, const char *first, struct uqff_buffer *out) {
    uqff_buffer_printf(out, "<h2>%s</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>%s</th>",
                       title, first);
}

static void end_table(struct uqff_buffer *out) {
    uqff_buffer_printf(out, "</tbody>\n</table></div>\n");
}

static void put_row(const struct validation *v, const char *name, const char *class,
                    const struct uqff_figures *figures, const struct uqff_estimate *ppl,
                    struct uqff_buffer *out) {
    char text[40];
    uqff_buffer_printf(out, "<tr%s><td>", class);
    markup_xml(out, name);
    uqff_buffer_printf(out, "</td>");
    for (const enum uqff_figure *c = validation_columns(v); *c != UQFF_FIGURE_COUNT; c++) {
        uqff_buffer_printf(out, "<td%s>%s", has_failed(v, name, *c) ? " class=\"bad\"" : "",
                           validation_figure(text, *c, figures->value[*c]));
        if (*c == UQFF_FIGURE_PPL && !isnan(figures->value[*c])) {
            uqff_buffer_printf(out, " <small>± %.4f</small>", ppl->error);
        }
        uqff_buffer_printf(out, "</td>");
    }
    uqff_buffer_printf(out, "</tr>\n");
}

static void put_summary(const struct validation *v, struct uqff_buffer *out) {
    begin_table("Variants", "variant", out);
    for (const enum uqff_figure *c = validation_columns(v); *c != UQFF_FIGURE_COUNT; c++) {
        uqff_buffer_printf(out, "<th>%s</th>", validation_title(*c));
    }
    uqff_buffer_printf(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < v->count; i++) {
        const struct candidate *candidate = &v->candidates[i];
        put_row(v, candidate->name, "", &candidate->figures, &candidate->measure.perplexity, out);
    }
    if (validation_has_base(v)) {
        struct uqff_figures base;
        for (int i = 0; i < UQFF_FIGURE_COUNT; i++) {
            base.value[i] = validation_base_figure(v, (enum uqff_figure)i);
        }
        put_row(v, "base", " class=\"base\"", &base, &v->candidates[0].measure.base_perplexity,
                out);
    }
    end_table(out);
}

static void put_checks(const struct validation *v, bool failed_only, struct uqff_buffer *out) {
    char text[64];
    uqff_buffer_printf(out,
                       "<div class=\"scroll\"><table>\n<thead><tr><th>variant</th>"
                       "<th class=\"left\">check</th><th>found</th>"
                       "<th class=\"left\">expected</th>%s</tr></thead>\n<tbody>\n",
                       failed_only ? "" : "<th class=\"left\">result</th>");
    for (size_t i = 0; i < v->check_count; i++) {
        const struct uqff_gate_check *check = &v->checks[i];
        if (failed_only && check->passed) {
            continue;
        }
        uqff_buffer_printf(out, "<tr><td>");
        markup_xml(out, check->variant);
        uqff_buffer_printf(out, "</td><td class=\"left\">%s</td><td>", check->key);
        if (isnan(check->found)) {
            uqff_buffer_printf(out, "not measured");
        } else {
            uqff_buffer_printf(out, "%.7g", check->found);
        }
        uqff_buffer_printf(out, "</td><td class=\"left\">%s</td>", validation_limit(text, check));
        if (!failed_only) {
            uqff_buffer_printf(out, "<td class=\"left %s\">%s</td>", check->passed ? "good" : "bad",
                               check->passed ? "passed" : "failed");
        }
        uqff_buffer_printf(out, "</tr>\n");
    }
    end_table(out);
}

/* Percentiles of one kind: a row a variant. */
static void put_percentiles(const struct validation *v, const char *title, bool delta_p,
                            struct uqff_buffer *out) {
    begin_table(title, "variant", out);
    for (size_t i = 0; i < 13; i++) {
        uqff_buffer_printf(out, "<th>%s</th>", validation_percentiles[i].title);
    }
    uqff_buffer_printf(out, "</tr></thead>\n<tbody>\n");
    for (size_t c = 0; c < v->count; c++) {
        const struct uqff_measure *m = &v->candidates[c].measure;
        uqff_buffer_printf(out, "<tr><td>");
        markup_xml(out, v->candidates[c].name);
        uqff_buffer_printf(out, "</td>");
        for (size_t i = 0; i < 13; i++) {
            if (delta_p) {
                const double share = 100 * validation_percentile(&m->delta_p_percentiles, i);
                uqff_buffer_printf(out, "<td>%.2f</td>", validation_plain(share, 0.005));
            } else {
                const double kld = validation_percentile(&m->kld_percentiles, i);
                uqff_buffer_printf(out, "<td>%.5f</td>", validation_plain(kld, 0.000005));
            }
        }
        uqff_buffer_printf(out, "</tr>\n");
    }
    end_table(out);
}

static void put_weights(const struct candidate *candidate, struct uqff_buffer *out) {
    char text[40];
    struct uqff_buffer title = {0};
    uqff_buffer_printf(&title, "Weights of ");
    markup_xml(&title, candidate->name);
    begin_table(title.failed ? "" : title.data, "tensor", out);
    uqff_buffer_free(&title);
    uqff_buffer_printf(out, "<th>type</th><th>relative RMSE</th><th>signal to noise</th>"
                            "<th>cosine</th><th>largest error</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < uqff_weights_count(candidate->weight_errors); i++) {
        const struct uqff_weight_error *error = uqff_weights_at(candidate->weight_errors, i);
        uqff_buffer_printf(out, "<tr><td>");
        markup_xml(out, error->name);
        uqff_buffer_printf(out, "</td><td>%s</td>",
                           error->type == UINT32_MAX ? "" : uqff_type_name(error->type));
        uqff_buffer_printf(out, "<td>%s</td>",
                           validation_figure(text, UQFF_FIGURE_REL_RMSE, error->rel_rmse));
        uqff_buffer_printf(out, "<td>%s</td>",
                           validation_figure(text, UQFF_FIGURE_SNR, error->snr));
        uqff_buffer_printf(out, "<td>%s</td>",
                           validation_figure(text, UQFF_FIGURE_COSINE, error->cosine));
        uqff_buffer_printf(out, "<td>%.4g</td></tr>\n", error->max_abs);
    }
    end_table(out);
}

/* ---- the page -------------------------------------------------------------------------------- */

void validation_html(const struct validation *v, struct uqff_buffer *out) {
    put_head(v, out);
    uqff_buffer_printf(out, "<main>\n");
    if (v->failed_count > 0) {
        uqff_buffer_printf(out, "<h2>Failed checks</h2>\n");
        put_checks(v, true, out);
    }
    put_charts(v, out);
    put_summary(v, out);
    if (v->measured && validation_has_base(v)) {
        put_percentiles(v, "Divergence by percentile", false, out);
        put_percentiles(v, "Change of the right token's probability by percentile, %", true, out);
    }
    for (size_t i = 0; i < v->count; i++) {
        if (v->candidates[i].weight_errors != NULL) {
            put_weights(&v->candidates[i], out);
        }
    }
    if (v->check_count > 0) {
        uqff_buffer_printf(out, "<details>\n<summary>All %zu checks</summary>\n", v->check_count);
        put_checks(v, false, out);
        uqff_buffer_printf(out, "</details>\n");
    }
    uqff_buffer_printf(out, "</main>\n<footer>");
    if (v->text.path != NULL) {
        uqff_buffer_printf(out, "text: SHA-256 %.16s…, %zu tokens · ", v->text.sha256,
                           v->text.count);
    }
    uqff_buffer_printf(out, "uqff %s</footer>\n</body>\n</html>\n", uqff_version());
}
