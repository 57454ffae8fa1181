/* view: statistics of the decoded values of each tensor. */
#include "view.h"

#include <stdio.h>
#include <string.h>

#include "output.h"
#include "progress.h"
#include "table.h"

static void json_stats(const struct uqff_tensor *tensor, const struct uqff_tensor_stats *stats,
                       cJSON *array) {
    cJSON *object = json_object(array, NULL);
    json_text(object, "name", tensor->name);
    json_text(object, "type", uqff_type_name(tensor->type));
    if (stats == NULL) {
        json_bool(object, "decoded", false);
        return;
    }
    json_bool(object, "decoded", true);
    json_u64(object, "elements", stats->elements);
    json_double(object, "min", stats->min);
    json_double(object, "max", stats->max);
    json_double(object, "mean", stats->mean);
    json_double(object, "deviation", stats->deviation);
    json_u64(object, "zeros", stats->zeros);
    json_u64(object, "nonfinite", stats->nonfinite);
    if (stats->has_scales) {
        json_double(object, "scale_min", (double)stats->scale_min);
        json_double(object, "scale_max", (double)stats->scale_max);
    }
}

static void add_row(const struct view *view, struct table *table, const struct uqff_tensor *tensor,
                    const struct uqff_tensor_stats *stats) {
    table_bytes(table, view->cli->verbose ? 0 : 72, tensor->name, strlen(tensor->name));
    table_text(table, uqff_type_name(tensor->type));
    if (stats == NULL) {
        for (int i = 0; i < 7; i++) {
            table_text(table, "-");
        }
        return;
    }
    char count[32];
    table_cell(table, "%.4g", stats->min);
    table_cell(table, "%.4g", stats->max);
    table_cell(table, "%.3g", stats->mean);
    table_cell(table, "%.3g", stats->deviation);
    table_text(table, output_count(count, stats->zeros));
    table_text(table, output_count(count, stats->nonfinite));
    if (stats->has_scales) {
        table_cell(table, "%.3g … %.3g", (double)stats->scale_min, (double)stats->scale_max);
    } else {
        table_text(table, "");
    }
}

static void declare_columns(struct table *table) {
    table_column(table, "TENSOR", ALIGN_LEFT);
    table_column(table, "TYPE", ALIGN_LEFT);
    table_column(table, "MIN", ALIGN_RIGHT);
    table_column(table, "MAX", ALIGN_RIGHT);
    table_column(table, "MEAN", ALIGN_RIGHT);
    table_column(table, "DEVIATION", ALIGN_RIGHT);
    table_column(table, "ZEROS", ALIGN_RIGHT);
    table_column(table, "NOT FINITE", ALIGN_RIGHT);
    table_column(table, "SCALES", ALIGN_LEFT);
}

/* Bytes of the tensors that pass the filter, for the progress. */
static uint64_t total_bytes(const struct view *view, const struct uqff_model *model) {
    uint64_t total = 0;
    for (size_t i = 0; i < uqff_model_tensor_count(model); i++) {
        const struct uqff_tensor *tensor = uqff_model_tensor(model, i);
        total +=
            filter_passes(view->filter, tensor->name, strlen(tensor->name)) ? tensor->bytes : 0;
    }
    return total;
}

static enum uqff_code collect(const struct view *view, const struct uqff_model *model,
                              struct table *table, cJSON *array, size_t *hidden,
                              const struct uqff_progress *progress, struct uqff_error *err) {
    const uint64_t total = total_bytes(view, model);
    uint64_t done = 0;
    for (size_t i = 0; i < uqff_model_tensor_count(model); i++) {
        const struct uqff_tensor *tensor = uqff_model_tensor(model, i);
        if (!filter_passes(view->filter, tensor->name, strlen(tensor->name))) {
            ++*hidden;
            continue;
        }
        struct uqff_tensor_stats stats;
        enum uqff_code code = uqff_model_stats(model, i, (unsigned)view->cli->threads, &stats, err);
        /* A type without a decoder has no statistics, and that is no failure. */
        const bool decoded = code == UQFF_OK;
        if (!decoded && code != UQFF_E_TYPE && code != UQFF_E_UNSUPPORTED) {
            return code;
        }
        if (array != NULL) {
            json_stats(tensor, decoded ? &stats : NULL, array);
        } else {
            add_row(view, table, tensor, decoded ? &stats : NULL);
        }
        done += tensor->bytes;
        code = uqff_progress_update(progress, "statistics", done, total, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* A file without a default variant is no model as it stands, but its first variant is one. */
static enum uqff_code open_first_variant(struct view *view, struct uqff_error *err) {
    const struct uqff_container *container = view->container;
    if (view->refusal.code != UQFF_E_UNKNOWN || view->variant != UQFF_NONE || container == NULL ||
        uqff_container_variant_count(container) == 0) {
        *err = view->refusal;
        return view->refusal.code;
    }
    const struct uqff_warner warner = output_warner(view->cli);
    const struct uqff_model_options options = {.warner = &warner,
                                               .allow_newer_minor = view->allow_newer_minor};
    const char *name = uqff_container_variant(container, 0)->name;
    const char *reference = uqff_arena_printf(&view->cli->arena, "%s#%s", view->reference, name);
    if (reference == NULL) {
        return uqff_fail_memory(err);
    }
    uqff_warn(&warner, "%s: there is no default variant: these are the values of '%s'",
              view->reference, name);
    return uqff_model_open(reference, &options, &view->first, err);
}

enum uqff_code view_stats(struct view *view, cJSON *document, struct uqff_error *err) {
    if (view->model == NULL) {
        enum uqff_code code = open_first_variant(view, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    const struct uqff_model *model = view->model != NULL ? view->model : view->first;
    struct table table = {0};
    struct progress state;
    size_t hidden = 0;
    const struct uqff_progress progress = progress_begin(&state, view->cli);
    declare_columns(&table);
    cJSON *array = document == NULL ? NULL : json_array(document, "stats");
    enum uqff_code code = collect(view, model, &table, array, &hidden, &progress, err);
    progress_end(&state);
    if (code != UQFF_OK || document != NULL) {
        table_free(&table);
        return code;
    }
    code = table_print(&table, view->cli, 0, err);
    if (code == UQFF_OK) {
        view_hidden(view, hidden);
    }
    return code;
}
