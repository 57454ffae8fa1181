/* diff: lines two models up by Hugging Face's names and compares what stands side by side. */
#include <stdlib.h>
#include <string.h>

#include "pack/diff.h"

struct item_list {
    struct uqff_arena arena;
    struct diff_item *items;
    size_t count;
};

void uqff_diff_report(struct diff *diff, const struct uqff_difference *difference) {
    struct uqff_difference shown = *difference;
    shown.a = shown.a != NULL ? shown.a : "";
    shown.b = shown.b != NULL ? shown.b : "";
    diff->different = true;
    if (diff->report != NULL) {
        diff->report(diff->context, &shown);
    }
}

/* ---- listing --------------------------------------------------------------------------------- */

static void set_row_bytes(struct diff_item *item) {
    uint64_t bytes = 0;
    if (item->type != UQFF_NO_TYPE &&
        uqff_row_bytes(item->type, item->columns, &bytes, NULL) == UQFF_OK) {
        item->row_bytes = bytes;
    }
}

static void set_tensor(const struct uqff_model *model, size_t index, struct diff_item *item) {
    const struct uqff_tensor *tensor = uqff_model_tensor(model, index);
    *item = (struct diff_item){
        .name = tensor->hf_name != NULL ? tensor->hf_name : tensor->name,
        .index = index,
        .type = tensor->type,
        .rank = tensor->rank,
        .shape = tensor->shape,
        .columns = tensor->rank == 0 ? 1 : tensor->shape[tensor->rank - 1],
    };
    item->rows = tensor->elements == 0 ? 0 : tensor->elements / item->columns;
    set_row_bytes(item);
}

static bool set_module(struct item_list *list, const struct uqff_model *model, size_t index,
                       struct diff_item *item) {
    const struct uqff_model_module *module = uqff_model_module(model, index);
    *item = (struct diff_item){
        .name = uqff_arena_printf(&list->arena, "%s.weight", module->name),
        .is_module = true,
        .index = index,
        .type = module->type,
        .rank = module->rank,
        .shape = module->shape,
        .rows = module->rows,
        .columns = module->columns,
    };
    set_row_bytes(item);
    return item->name != NULL;
}

static int compare_items(const void *a, const void *b) {
    return strcmp(((const struct diff_item *)a)->name, ((const struct diff_item *)b)->name);
}

static enum uqff_code list_items(const struct uqff_model *model, struct item_list *list,
                                 struct uqff_error *err) {
    const size_t modules = uqff_model_module_count(model);
    const size_t residual = uqff_model_residual_count(model);
    /* A module may bring a bias along. */
    list->items = uqff_arena_array(&list->arena, 2 * modules + residual, sizeof *list->items);
    if (list->items == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < modules; i++) {
        const size_t bias = uqff_model_module(model, i)->bias;
        if (!set_module(list, model, i, &list->items[list->count++])) {
            return uqff_fail_memory(err);
        }
        if (bias != UQFF_NONE) {
            set_tensor(model, bias, &list->items[list->count++]);
        }
    }
    for (size_t i = 0; i < residual; i++) {
        set_tensor(model, uqff_model_residual(model, i), &list->items[list->count++]);
    }
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof *list->items, compare_items);
    }
    return UQFF_OK;
}

/* ---- comparing ------------------------------------------------------------------------------- */

enum { SHAPE_TEXT = 24 * 8 };

/* "[4, 256]"; a shape too long to be shown is cut. */
static void shape_text(const struct diff_item *item, char out[SHAPE_TEXT]) {
    struct uqff_buffer text = {0};
    uqff_buffer_printf(&text, "[");
    for (unsigned i = 0; i < item->rank; i++) {
        uqff_buffer_printf(&text, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)item->shape[i]);
    }
    uqff_buffer_printf(&text, "]");
    out[0] = '\0';
    if (!text.failed) {
        (void)uqff_printable(out, SHAPE_TEXT, text.data, text.size);
    }
    uqff_buffer_free(&text);
}

static const char *type_text(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return info != NULL ? info->name : "mixed";
}

static bool can_decode(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return type == UQFF_NO_TYPE || (info != NULL && (info->flags & UQFF_TYPE_CAN_DECODE) != 0);
}

static bool same_shape(const struct diff_item *a, const struct diff_item *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

static enum uqff_code compare_pair(struct diff *diff, const struct diff_item *a,
                                   const struct diff_item *b, struct uqff_error *err) {
    if (!same_shape(a, b)) {
        char text[2][SHAPE_TEXT];
        shape_text(a, text[0]);
        shape_text(b, text[1]);
        uqff_diff_report(diff,
                         &(struct uqff_difference){
                             .kind = UQFF_DIFF_SHAPE, .name = a->name, .a = text[0], .b = text[1]});
        return UQFF_OK;
    }
    if (a->type != b->type &&
        (!diff->options->values || !can_decode(a->type) || !can_decode(b->type))) {
        uqff_diff_report(diff, &(struct uqff_difference){.kind = UQFF_DIFF_TYPE,
                                                         .name = a->name,
                                                         .a = type_text(a->type),
                                                         .b = type_text(b->type)});
        return UQFF_OK;
    }
    bool differs = false;
    struct uqff_difference found;
    enum uqff_code code = uqff_diff_values(diff, a, b, &differs, &found, err);
    if (code == UQFF_OK && differs) {
        found.a = type_text(a->type);
        found.b = type_text(b->type);
        uqff_diff_report(diff, &found);
    }
    return code;
}

static void report_only(struct diff *diff, enum uqff_difference_kind kind,
                        const struct diff_item *item) {
    struct uqff_difference only = {.kind = kind, .name = item->name};
    *(kind == UQFF_DIFF_ONLY_A ? &only.a : &only.b) = type_text(item->type);
    uqff_diff_report(diff, &only);
}

static enum uqff_code compare_lists(struct diff *diff, const struct item_list *a,
                                    const struct item_list *b, struct uqff_error *err) {
    size_t i = 0, k = 0;
    while (i < a->count || k < b->count) {
        const int order = i == a->count   ? 1
                          : k == b->count ? -1
                                          : strcmp(a->items[i].name, b->items[k].name);
        if (order < 0) {
            report_only(diff, UQFF_DIFF_ONLY_A, &a->items[i]);
        } else if (order > 0) {
            report_only(diff, UQFF_DIFF_ONLY_B, &b->items[k]);
        } else {
            enum uqff_code code = compare_pair(diff, &a->items[i], &b->items[k], err);
            if (code != UQFF_OK) {
                return code;
            }
        }
        if (order <= 0) {
            diff->done += a->items[i].rows * a->items[i].columns;
            i++;
        }
        k += order >= 0;
    }
    return uqff_progress_update(diff->progress, "diff", diff->total, diff->total, err);
}

enum uqff_code uqff_diff(const struct uqff_model *a, const struct uqff_model *b,
                         const struct uqff_diff_options *options,
                         void (*report)(void *context, const struct uqff_difference *),
                         void *context, const struct uqff_progress *progress, bool *equal,
                         struct uqff_error *err) {
    static const struct uqff_diff_options defaults = {.values = false};
    struct item_list lists[2] = {{.count = 0}};
    struct diff diff = {
        .a = a,
        .b = b,
        .options = options != NULL ? options : &defaults,
        .report = report,
        .context = context,
        .progress = progress,
    };
    enum uqff_code code = list_items(a, &lists[0], err);
    if (code == UQFF_OK) {
        code = list_items(b, &lists[1], err);
    }
    for (size_t i = 0; i < lists[0].count; i++) {
        diff.total += lists[0].items[i].rows * lists[0].items[i].columns;
    }
    if (code == UQFF_OK) {
        code = uqff_diff_metadata(&diff, err);
    }
    if (code == UQFF_OK) {
        code = compare_lists(&diff, &lists[0], &lists[1], err);
    }
    if (code == UQFF_OK) {
        *equal = !diff.different;
    }
    uqff_arena_free(&lists[0].arena);
    uqff_arena_free(&lists[1].arena);
    return code;
}
