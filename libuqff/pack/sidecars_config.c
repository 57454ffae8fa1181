#include <string.h>

#include "pack/sidecars.h"

/* Levels of nesting that a configuration may have; the parser refuses deeper ones by itself. */
enum { MAX_DEPTH = 64 };

struct printer {
    struct uqff_json *json;
    struct uqff_buffer *out;
    const char *dtype;
    bool is_object[MAX_DEPTH];
    bool empty[MAX_DEPTH]; /* nothing was printed inside yet */
    unsigned depth;
    bool after_key; /* the value goes on the line of its key */
};

static void new_line(struct printer *printer) {
    uqff_buffer_append(printer->out, "\n", 1);
    for (unsigned i = 0; i < printer->depth; i++) {
        uqff_buffer_append(printer->out, "  ", 2);
    }
}

/* What stands before a key, or before a value that has none. */
static void begin_item(struct printer *printer) {
    if (printer->after_key) {
        printer->after_key = false;
    } else if (printer->depth > 0) {
        if (!printer->empty[printer->depth - 1]) {
            uqff_buffer_append(printer->out, ",", 1);
        }
        printer->empty[printer->depth - 1] = false;
        new_line(printer);
    }
}

static void open_level(struct printer *printer, bool is_object) {
    begin_item(printer);
    uqff_buffer_append(printer->out, is_object ? "{" : "[", 1);
    printer->is_object[printer->depth] = is_object;
    printer->empty[printer->depth] = true;
    printer->depth++;
}

static void close_level(struct printer *printer) {
    printer->depth--;
    if (!printer->empty[printer->depth]) {
        new_line(printer);
    }
    uqff_buffer_append(printer->out, printer->is_object[printer->depth] ? "}" : "]", 1);
}

static bool is_text(const struct uqff_json_event *event, const char *text) {
    return event->length == strlen(text) && memcmp(event->text, text, event->length) == 0;
}

/* A key; the value of one that is not wanted is passed over, one that is replaced is printed here.
 */
static enum uqff_code print_key(struct printer *printer, struct uqff_json_event *event,
                                struct uqff_error *err) {
    bool skip = is_text(event, "quantization_config");
    bool replace = printer->dtype != NULL && printer->depth == 1 &&
                   (is_text(event, "torch_dtype") || is_text(event, "dtype"));
    if (!skip) {
        begin_item(printer);
        uqff_buffer_json_string(printer->out, event->text, event->length);
        uqff_buffer_append(printer->out, ": ", 2);
        printer->after_key = true;
    }
    if (!skip && !replace) {
        return UQFF_OK;
    }
    enum uqff_code code = uqff_json_next(printer->json, event, err);
    if (code == UQFF_OK) {
        code = uqff_json_skip(printer->json, event, err);
    }
    if (code == UQFF_OK && replace) {
        uqff_buffer_json_string(printer->out, printer->dtype, strlen(printer->dtype));
        printer->after_key = false;
    }
    return code;
}

static enum uqff_code print_event(struct printer *printer, struct uqff_json_event *event,
                                  struct uqff_error *err) {
    switch (event->kind) {
    case UQFF_JSON_OBJECT:
    case UQFF_JSON_ARRAY:
        if (printer->depth == MAX_DEPTH) {
            return uqff_json_unexpected(printer->json, event, "the configuration",
                                        "at most 64 levels of nesting", err);
        }
        open_level(printer, event->kind == UQFF_JSON_OBJECT);
        return UQFF_OK;
    case UQFF_JSON_OBJECT_END:
    case UQFF_JSON_ARRAY_END:
        close_level(printer);
        return UQFF_OK;
    case UQFF_JSON_KEY:
        return print_key(printer, event, err);
    case UQFF_JSON_STRING:
        begin_item(printer);
        uqff_buffer_json_string(printer->out, event->text, event->length);
        return UQFF_OK;
    case UQFF_JSON_NUMBER:
        begin_item(printer);
        uqff_buffer_append(printer->out, event->text, event->length);
        return UQFF_OK;
    case UQFF_JSON_TRUE:
        begin_item(printer);
        uqff_buffer_append(printer->out, "true", 4);
        return UQFF_OK;
    case UQFF_JSON_FALSE:
        begin_item(printer);
        uqff_buffer_append(printer->out, "false", 5);
        return UQFF_OK;
    case UQFF_JSON_NULL:
        begin_item(printer);
        uqff_buffer_append(printer->out, "null", 4);
        return UQFF_OK;
    case UQFF_JSON_END:
        break;
    }
    uqff_buffer_append(printer->out, "\n", 1);
    return UQFF_OK;
}

enum uqff_code uqff_sidecars_config(const char *json, size_t size, const char *where,
                                    const char *dtype, struct uqff_buffer *out,
                                    struct uqff_error *err) {
    struct printer printer = {.out = out, .dtype = dtype};
    struct uqff_json_event event = {.kind = UQFF_JSON_NULL};
    enum uqff_code code = uqff_json_open(json, size, where, 0, MAX_DEPTH, &printer.json, err);
    while (code == UQFF_OK && event.kind != UQFF_JSON_END) {
        code = uqff_json_next(printer.json, &event, err);
        if (code == UQFF_OK) {
            enum uqff_json_kind kind = event.kind;
            code = print_event(&printer, &event, err);
            event.kind = kind;
        }
    }
    uqff_json_close(printer.json);
    if (code == UQFF_OK && out->failed) {
        code = uqff_fail_memory(err);
    }
    return code;
}
