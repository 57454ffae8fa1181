/* view: the summary, and the list of tensors. */
#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "table.h"

/* ---- how many tensors of which type ---------------------------------------------------------- */

struct type_total {
    const char *type;
    uint64_t tensors, elements, bytes;
};

struct type_totals {
    struct type_total rows[64]; /* more types than there are */
    size_t count;
};

static int by_bytes(const void *a, const void *b) {
    const struct type_total *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes) - (x->bytes > y->bytes)
                                : strcmp(x->type, y->type);
}

static struct type_totals total_types(const struct view *view) {
    struct type_totals totals = {0};
    struct type_total *last = NULL;
    for (size_t i = 0; i < view->item_count; i++) {
        const struct item *item = &view->items[i];
        if (last == NULL || strcmp(last->type, item->type) != 0) {
            last = NULL;
            for (size_t t = 0; t < totals.count && last == NULL; t++) {
                last = strcmp(totals.rows[t].type, item->type) == 0 ? &totals.rows[t] : NULL;
            }
            if (last == NULL) {
                last = &totals.rows[totals.count++];
                last->type = item->type;
            }
        }
        last->tensors++;
        last->elements += item->elements;
        last->bytes += item->bytes;
    }
    qsort(totals.rows, totals.count, sizeof totals.rows[0], by_bytes);
    return totals;
}

static enum uqff_code print_types(const struct view *view, struct uqff_error *err) {
    const struct type_totals totals = total_types(view);
    struct table table = {0};
    uint64_t bytes = 0;
    char text[32];
    table_column(&table, "TYPE", ALIGN_LEFT);
    table_column(&table, "TENSORS", ALIGN_RIGHT);
    table_column(&table, "WEIGHTS", ALIGN_RIGHT);
    table_column(&table, "SIZE", ALIGN_RIGHT);
    table_column(&table, "BITS", ALIGN_RIGHT);
    for (size_t i = 0; i < totals.count; i++) {
        const struct type_total *row = &totals.rows[i];
        table_text(&table, row->type);
        table_text(&table, output_count(text, row->tensors));
        table_text(&table, output_count(text, row->elements));
        table_size(&table, row->bytes);
        table_text(&table, output_bits(text, row->bytes, row->elements));
        bytes += row->bytes;
    }
    table_total(&table);
    table_text(&table, "total");
    table_text(&table, output_count(text, view->item_count));
    /* A module that lies here in several encodings is one weight. */
    table_text(&table, output_count(text, view->weights));
    table_size(&table, bytes);
    /* Several encodings of one weight have no bits a weight in common. */
    const bool several = view->container != NULL && view->variant == UQFF_NONE &&
                         uqff_container_variant_count(view->container) > 1;
    table_text(&table, several ? "" : output_bits(text, bytes, view->weights));
    return table_print(&table, view->cli, 0, err);
}

/* ---- the model ------------------------------------------------------------------------------- */

static void print_line(const struct view *view, const char *name, const char *text) {
    printf("%s%-14s%s %s\n", style(view->cli, STYLE_BOLD), name, style_end(view->cli), text);
}

static void append_number(struct uqff_buffer *text, const char *name, uint64_t value) {
    char count[32];
    if (value != 0) {
        uqff_buffer_printf(text, "%s%s %s", text->size == 0 ? "" : ", ", name,
                           output_count(count, value));
    }
}

static void print_config(const struct view *view) {
    const struct uqff_config *config = uqff_model_config(view->model);
    struct uqff_buffer text = {0};
    char name[200];
    const char *class = config->architecture[0] != '\0' ? config->architecture : config->model_type;
    if (class[0] != '\0') {
        print_line(view, "architecture", output_cut(name, sizeof name, 80, class, strlen(class)));
    }
    append_number(&text, "layers", config->layers);
    append_number(&text, "width", config->hidden);
    append_number(&text, "feed-forward", config->feed_forward);
    append_number(&text, "heads", config->heads);
    append_number(&text, "key-value heads", config->kv_heads);
    append_number(&text, "experts", config->experts);
    append_number(&text, "of which used", config->experts_used);
    append_number(&text, "vocabulary", config->vocabulary);
    append_number(&text, "context", config->context);
    if (!text.failed && text.size > 0) {
        print_line(view, "dimensions", text.data);
    }
    uqff_buffer_free(&text);
}

static void json_config(const struct view *view, cJSON *document) {
    if (view->model == NULL) {
        json_null(document, "model");
        json_text(document, "refusal", view->refusal.text);
        return;
    }
    const struct uqff_config *config = uqff_model_config(view->model);
    const struct uqff_arch *arch = uqff_model_arch(view->model);
    cJSON *model = json_object(document, "model");
    json_text(model, "name", uqff_model_name(view->model));
    json_text(model, "architecture", config->architecture);
    json_text(model, "model_type", config->model_type);
    json_text(model, "gguf_architecture", arch == NULL ? NULL : arch->gguf_name);
    json_u64(model, "layers", config->layers);
    json_u64(model, "hidden", config->hidden);
    json_u64(model, "feed_forward", config->feed_forward);
    json_u64(model, "heads", config->heads);
    json_u64(model, "kv_heads", config->kv_heads);
    json_u64(model, "head_dim", config->head_dim);
    json_u64(model, "vocabulary", config->vocabulary);
    json_u64(model, "experts", config->experts);
    json_u64(model, "experts_used", config->experts_used);
    json_u64(model, "context", config->context);
    json_bool(model, "tied", config->tied);
    json_u64(model, "modules", uqff_model_module_count(view->model));
    json_null(document, "refusal");
}

/* ---- files and side files -------------------------------------------------------------------- */

static void print_files(const struct view *view) {
    uint64_t bytes = 0;
    char size[16], text[128], count[32];
    for (size_t i = 0; i < view->file_count; i++) {
        bytes += view->files[i].bytes;
    }
    uqff_format_bytes(size, bytes);
    snprintf(text, sizeof text, "%s file%s, %s", output_count(count, view->file_count),
             view->file_count == 1 ? "" : "s", size);
    print_line(view, "size", text);
}

/* A GGUF has none: what the library gives for it is its own metadata. */
static size_t side_file_count(const struct view *view) {
    return view->model == NULL || view->gguf != NULL ? 0 : uqff_model_asset_count(view->model);
}

static void print_side_files(const struct view *view) {
    const size_t count = side_file_count(view);
    uint64_t bytes = 0;
    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bytes += uqff_model_asset_size(view->model, i);
    }
    char size[16];
    struct uqff_buffer text = {0};
    uqff_format_bytes(size, bytes);
    uqff_buffer_printf(&text, "%zu, %s:", count, size);
    for (size_t i = 0; i < count && (i < 8 || view->cli->verbose); i++) {
        char name[300];
        const char *path = uqff_model_asset_path(view->model, i);
        uqff_buffer_printf(&text, " %s", output_cut(name, sizeof name, 60, path, strlen(path)));
    }
    uqff_buffer_printf(&text, "%s", count > 8 && !view->cli->verbose ? " …" : "");
    if (!text.failed) {
        print_line(view, "side files", text.data);
    }
    uqff_buffer_free(&text);
}

static void print_variant_names(const struct view *view) {
    if (view->container == NULL || !uqff_container_is_multi(view->container)) {
        return;
    }
    struct uqff_buffer text = {0};
    const size_t chosen = uqff_container_default(view->container);
    for (size_t i = 0; i < uqff_container_variant_count(view->container); i++) {
        char name[200];
        const char *raw = uqff_container_variant(view->container, i)->name;
        uqff_buffer_printf(&text, "%s%s%s", i == 0 ? "" : ", ",
                           output_cut(name, sizeof name, 40, raw, strlen(raw)),
                           i == chosen ? " (default)" : "");
    }
    if (!text.failed) {
        print_line(view, "variants", text.data);
    }
    uqff_buffer_free(&text);
}

/* ---- summary --------------------------------------------------------------------------------- */

static void json_summary(const struct view *view, cJSON *document) {
    const struct type_totals totals = total_types(view);
    char kind[64];
    json_text(document, "path", view->reference);
    json_text(document, "kind", view_kind(view, kind));
    json_config(view, document);
    cJSON *files = json_array(document, "files");
    for (size_t i = 0; i < view->file_count; i++) {
        cJSON *file = json_object(files, NULL);
        json_text(file, "path", view->files[i].path);
        json_u64(file, "bytes", view->files[i].bytes);
    }
    cJSON *sides = json_array(document, "side_files");
    for (size_t i = 0; i < side_file_count(view); i++) {
        cJSON *side = json_object(sides, NULL);
        json_text(side, "path", uqff_model_asset_path(view->model, i));
        json_u64(side, "bytes", uqff_model_asset_size(view->model, i));
    }
    json_u64(document, "tensor_count", view->item_count);
    json_u64(document, "weights", view->weights);
    json_u64(document, "tensor_bytes", view->bytes);
    cJSON *types = json_array(document, "types");
    for (size_t i = 0; i < totals.count; i++) {
        cJSON *type = json_object(types, NULL);
        json_text(type, "type", totals.rows[i].type);
        json_u64(type, "tensors", totals.rows[i].tensors);
        json_u64(type, "elements", totals.rows[i].elements);
        json_u64(type, "bytes", totals.rows[i].bytes);
    }
}

enum uqff_code view_summary(struct view *view, cJSON *document, struct uqff_error *err) {
    if (document != NULL) {
        json_summary(view, document);
        return UQFF_OK;
    }
    char kind[64], name[500];
    print_line(view, "model",
               output_cut(name, sizeof name, 0, view->reference, strlen(view->reference)));
    print_line(view, "format", view_kind(view, kind));
    if (view->model != NULL) {
        print_config(view);
    }
    print_files(view);
    print_variant_names(view);
    print_side_files(view);
    if (view->model == NULL) {
        print_line(view, "no model", view->refusal.text);
    }
    printf("\n");
    enum uqff_code code = print_types(view, err);
    if (code == UQFF_OK) {
        view_hidden(view, view->hidden);
    }
    return code;
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* The names of the variants that use a blob, separated by ", ". */
static void variants_of(const struct view *view, size_t blob, struct uqff_buffer *out) {
    const size_t module = uqff_container_blob(view->container, blob)->module;
    for (size_t i = 0; i < uqff_container_variant_count(view->container); i++) {
        const struct uqff_variant *variant = uqff_container_variant(view->container, i);
        if (variant->blobs[module] == blob) {
            uqff_buffer_printf(out, "%s%s", out->size == 0 ? "" : ", ", variant->name);
        }
    }
}

/* ,"variants":["q4_k_m","q8_0"] */
static void put_variants(const struct view *view, size_t blob, struct uqff_buffer *out) {
    const size_t module = uqff_container_blob(view->container, blob)->module;
    const char *separator = "";
    uqff_buffer_printf(out, ",\"variants\":[");
    for (size_t v = 0; v < uqff_container_variant_count(view->container); v++) {
        const struct uqff_variant *variant = uqff_container_variant(view->container, v);
        if (variant->blobs[module] == blob) {
            uqff_buffer_printf(out, "%s", separator);
            json_quote(out, variant->name, strlen(variant->name));
            separator = ",";
        }
    }
    uqff_buffer_append(out, "]", 1);
}

static void json_tensors(const struct view *view, cJSON *document) {
    struct uqff_buffer out = {0};
    for (size_t i = 0; i < view->item_count; i++) {
        const struct item *item = &view->items[i];
        uqff_buffer_printf(&out, "%s{\"name\":", i == 0 ? "" : ",");
        json_put_bytes(&out, item->name, item->name_length);
        uqff_buffer_printf(&out, ",\"type\":\"%s\",\"shape\":", item->type);
        json_put_shape(&out, item->shape, item->rank);
        uqff_buffer_printf(&out, ",\"elements\":%llu,\"bytes\":%llu,\"file\":%zu,\"offset\":%llu",
                           (unsigned long long)item->elements, (unsigned long long)item->bytes,
                           item->file, (unsigned long long)item->offset);
        if (item->what != NULL) {
            uqff_buffer_printf(&out, ",\"what\":\"%s\"", item->what);
        }
        if (item->blob != UQFF_NONE && uqff_container_is_multi(view->container)) {
            put_variants(view, item->blob, &out);
        }
        uqff_buffer_append(&out, "}", 1);
    }
    json_list(document, "tensors", &out);
}

static void add_variants_cell(const struct view *view, struct table *table,
                              const struct item *item) {
    if (item->blob == UQFF_NONE) {
        table_text(table, item->what == NULL ? "" : item->what);
        return;
    }
    struct uqff_buffer names = {0};
    variants_of(view, item->blob, &names);
    table_bytes(table, view->cli->verbose ? 0 : 60, names.data == NULL ? "" : names.data,
                names.size);
    uqff_buffer_free(&names);
}

enum uqff_code view_tensors(struct view *view, cJSON *document, struct uqff_error *err) {
    if (document != NULL) {
        json_tensors(view, document);
        return UQFF_OK;
    }
    const bool multi = view->container != NULL && uqff_container_is_multi(view->container);
    struct table table = {0};
    char shape[512], count[32];
    table_column(&table, "TENSOR", ALIGN_LEFT);
    table_column(&table, "TYPE", ALIGN_LEFT);
    table_column(&table, "SHAPE", ALIGN_RIGHT);
    table_column(&table, "SIZE", ALIGN_RIGHT);
    if (view->container != NULL) {
        table_column(&table, multi ? "VARIANTS" : "WHAT", ALIGN_LEFT);
    }
    uint64_t bytes = 0;
    for (size_t i = 0; i < view->item_count; i++) {
        const struct item *item = &view->items[i];
        table_bytes(&table, view->cli->verbose ? 0 : 72, item->name, item->name_length);
        table_text(&table, item->type);
        table_text(&table, output_shape(shape, sizeof shape, item->shape, item->rank));
        table_size(&table, item->bytes);
        bytes += item->bytes;
        if (multi) {
            add_variants_cell(view, &table, item);
        } else if (view->container != NULL) {
            table_text(&table, item->what);
        }
    }
    table_total(&table);
    table_cell(&table, "total: %s", output_count(count, view->item_count));
    table_text(&table, "");
    table_text(&table, "");
    table_size(&table, bytes);
    if (view->container != NULL) {
        table_text(&table, "");
    }
    enum uqff_code code = table_print(&table, view->cli, 0, err);
    if (code == UQFF_OK) {
        view_hidden(view, view->hidden);
    }
    return code;
}
