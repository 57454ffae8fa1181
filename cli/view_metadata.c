/* view: key-value metadata of GGUF, string metadata of safetensors and UQFF. */
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "table.h"

enum {
    VALUE_COLUMNS = 60, /* of a value in a table */
    SHOWN_ITEMS = 5,    /* of an array in a table, if they fit into */
    SHOWN_BYTES = 32    /* so that the count behind them is not cut off */
};

/* ---- GGUF values ----------------------------------------------------------------------------- */

/* Integers beyond 2^53 are not exact in most readers of JSON: they become strings. */
#define EXACT_LIMIT (UINT64_C(1) << 53)

static void put_integer(struct uqff_buffer *out, const struct uqff_gguf_value *value,
                        bool is_signed) {
    const bool negative = is_signed && value->as.i < 0;
    const uint64_t magnitude = negative ? 0 - (uint64_t)value->as.i : value->as.u;
    const char *quote = magnitude > EXACT_LIMIT ? "\"" : "";
    uqff_buffer_printf(out, "%s%s%" PRIu64 "%s", quote, negative ? "-" : "", magnitude, quote);
}

static void put_value(const struct uqff_gguf *gguf, struct uqff_buffer *out,
                      const struct uqff_gguf_value *value) {
    switch (value->kind) {
    case UQFF_GGUF_STRING:
        json_put_bytes(out, value->as.string.bytes, value->as.string.length);
        return;
    case UQFF_GGUF_BOOL:
        uqff_buffer_printf(out, "%s", value->as.u != 0 ? "true" : "false");
        return;
    case UQFF_GGUF_F32:
    case UQFF_GGUF_F64:
        json_put_double(out, value->as.f);
        return;
    case UQFF_GGUF_I8:
    case UQFF_GGUF_I16:
    case UQFF_GGUF_I32:
    case UQFF_GGUF_I64:
        put_integer(out, value, true);
        return;
    case UQFF_GGUF_ARRAY: {
        /* Nesting is bounded by the reader: UQFF_GGUF_MAX_ARRAY_DEPTH. */
        struct uqff_gguf_iterator iterator = uqff_gguf_iterate(gguf, value);
        struct uqff_gguf_value item;
        const char *separator = "";
        uqff_buffer_append(out, "[", 1);
        while (uqff_gguf_next(&iterator, &item)) {
            uqff_buffer_append(out, separator, strlen(separator));
            put_value(gguf, out, &item);
            separator = ",";
        }
        uqff_buffer_append(out, "]", 1);
        return;
    }
    default:
        put_integer(out, value, false);
        return;
    }
}

/* Appends a value as text, raw: the whole is made printable when it is shown. */
static void append_value(const struct uqff_gguf *gguf, struct uqff_buffer *out,
                         const struct uqff_gguf_value *value, bool whole) {
    switch (value->kind) {
    case UQFF_GGUF_STRING:
        uqff_buffer_append(out, value->as.string.bytes, value->as.string.length);
        return;
    case UQFF_GGUF_BOOL:
        uqff_buffer_printf(out, "%s", value->as.u != 0 ? "true" : "false");
        return;
    case UQFF_GGUF_F32:
    case UQFF_GGUF_F64:
        uqff_buffer_printf(out, "%.*g", value->kind == UQFF_GGUF_F32 ? 7 : 15, value->as.f);
        return;
    case UQFF_GGUF_I8:
    case UQFF_GGUF_I16:
    case UQFF_GGUF_I32:
    case UQFF_GGUF_I64:
        uqff_buffer_printf(out, "%" PRId64, value->as.i);
        return;
    case UQFF_GGUF_ARRAY: {
        struct uqff_gguf_iterator iterator = uqff_gguf_iterate(gguf, value);
        struct uqff_gguf_value item;
        const size_t begin = out->size;
        uint64_t shown = 0;
        uqff_buffer_append(out, "[", 1);
        while ((whole || (shown < SHOWN_ITEMS && out->size - begin < SHOWN_BYTES)) &&
               uqff_gguf_next(&iterator, &item)) {
            const char *quote = item.kind == UQFF_GGUF_STRING ? "\"" : "";
            uqff_buffer_printf(out, "%s%s", shown++ == 0 ? "" : ", ", quote);
            append_value(gguf, out, &item, whole);
            uqff_buffer_printf(out, "%s", quote);
        }
        if (iterator.left > 0) {
            char count[32];
            uqff_buffer_printf(out, ", … +%s", output_count(count, iterator.left));
        }
        uqff_buffer_append(out, "]", 1);
        return;
    }
    default:
        uqff_buffer_printf(out, "%" PRIu64, value->as.u);
        return;
    }
}

/* "u32", "string", "string[32000]" */
static void kind_text(char out[64], const struct uqff_gguf_value *value) {
    if (value->kind == UQFF_GGUF_ARRAY) {
        snprintf(out, 64, "%s[%" PRIu64 "]", uqff_gguf_kind_name(value->as.array.kind),
                 value->as.array.count);
    } else {
        snprintf(out, 64, "%s", uqff_gguf_kind_name(value->kind));
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void table_whole(struct table *table, const struct cli *cli, const void *bytes, size_t n) {
    if (!cli->verbose) {
        table_bytes(table, VALUE_COLUMNS, bytes, n);
        return;
    }
    size_t length = uqff_printable(NULL, 0, bytes, n);
    char *text = uqff_alloc(length + 1);
    if (text == NULL) {
        table->failed = true;
        return;
    }
    uqff_printable(text, length + 1, bytes, n);
    table_text(table, text);
    uqff_free(text);
}

static void add_gguf_row(const struct view *view, struct table *table, size_t i) {
    const struct uqff_gguf_value *value = uqff_gguf_value(view->gguf, i);
    const char *key = uqff_gguf_key(view->gguf, i);
    struct uqff_buffer text = {0};
    char kind[64];
    append_value(view->gguf, &text, value, view->cli->verbose);
    kind_text(kind, value);
    table_bytes(table, view->cli->verbose ? 0 : 50, key, strlen(key));
    table_text(table, kind);
    table_whole(table, view->cli, text.data == NULL ? "" : text.data, text.size);
    table->failed = table->failed || text.failed;
    uqff_buffer_free(&text);
}

/* Metadata of one safetensors file: a row, or a member of `array`, for each entry. */
static void list_strings(struct view *view, const struct uqff_safetensors *file,
                         struct table *table, cJSON *array, size_t *hidden) {
    for (size_t i = 0; i < uqff_safetensors_metadata_count(file); i++) {
        const char *key, *value;
        size_t length;
        uqff_safetensors_metadata(file, i, &key, &value, &length);
        if (!filter_passes(view->filter, key, strlen(key))) {
            ++*hidden;
        } else if (array != NULL) {
            cJSON *entry = json_object(array, NULL);
            json_text(entry, "key", key);
            json_text(entry, "type", "string");
            json_bytes(entry, "value", value, length);
        } else {
            table_bytes(table, view->cli->verbose ? 0 : 50, key, strlen(key));
            table_text(table, "string");
            table_whole(table, view->cli, value, length);
        }
    }
}

static void list_gguf(struct view *view, struct table *table, cJSON *array, size_t *hidden) {
    for (size_t i = 0; i < uqff_gguf_kv_count(view->gguf); i++) {
        const char *key = uqff_gguf_key(view->gguf, i);
        if (!filter_passes(view->filter, key, strlen(key))) {
            ++*hidden;
        } else if (array != NULL) {
            const struct uqff_gguf_value *value = uqff_gguf_value(view->gguf, i);
            char kind[64];
            cJSON *entry = json_object(array, NULL);
            kind_text(kind, value);
            json_text(entry, "key", key);
            json_text(entry, "type", kind);
            struct uqff_buffer text = {0};
            put_value(view->gguf, &text, value);
            json_raw_buffer(entry, "value", &text);
        } else {
            add_gguf_row(view, table, i);
        }
    }
}

enum uqff_code view_metadata(struct view *view, cJSON *document, struct uqff_error *err) {
    cJSON *array = document == NULL ? NULL : json_array(document, "metadata");
    struct table table = {0};
    size_t hidden = 0;
    table_column(&table, "KEY", ALIGN_LEFT);
    table_column(&table, "TYPE", ALIGN_LEFT);
    table_column(&table, "VALUE", ALIGN_LEFT);
    if (view->gguf != NULL) {
        list_gguf(view, &table, array, &hidden);
    } else if (view->container != NULL) {
        for (size_t i = 0; i < uqff_container_shard_count(view->container); i++) {
            list_strings(view, uqff_container_shard(view->container, i), &table, array, &hidden);
        }
    } else {
        for (size_t i = 0; i < uqff_safetensors_set_file_count(view->set); i++) {
            list_strings(view, uqff_safetensors_set_file(view->set, i), &table, array, &hidden);
        }
    }
    if (document != NULL) {
        table_free(&table);
        return UQFF_OK;
    }
    if (table.cell_count == 0 && hidden == 0) {
        table_free(&table);
        printf("no metadata\n");
        return UQFF_OK;
    }
    enum uqff_code code = table_print(&table, view->cli, 0, err);
    if (code == UQFF_OK) {
        view_hidden(view, hidden);
    }
    return code;
}
