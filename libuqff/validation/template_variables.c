/* Chat templates: from the caller's JSON to values. */
#include <math.h>

#include "validation/template.h"

static bool read_value(struct tmpl_run *run, struct uqff_json *json,
                       const struct uqff_json_event *event, struct tmpl_value *out);

static bool copy_text(struct tmpl_run *run, const struct uqff_json_event *event,
                      struct tmpl_text *out) {
    char *copy = uqff_tmpl_take(run, NULL, event->length + 1, 1);
    if (copy == NULL) {
        return false;
    }
    if (event->length > 0) {
        memcpy(copy, event->text, event->length);
    }
    *out = tmpl_text(copy, event->length);
    return true;
}

static bool next(struct tmpl_run *run, struct uqff_json *json, struct uqff_json_event *event) {
    run->code = uqff_json_next(json, event, run->err);
    return run->code == UQFF_OK;
}

static bool read_list(struct tmpl_run *run, struct uqff_json *json, struct tmpl_value *out) {
    struct uqff_json_event event;
    struct tmpl_value item;
    if (!uqff_tmpl_list_new(run, NULL, 0, out)) {
        return false;
    }
    for (;;) {
        if (!next(run, json, &event)) {
            return false;
        }
        if (event.kind == UQFF_JSON_ARRAY_END) {
            return true;
        }
        if (!read_value(run, json, &event, &item) ||
            !uqff_tmpl_list_add(run, NULL, out->as.list, item)) {
            return false;
        }
    }
}

/* Members in the order in which they stand; the parser has seen to it that no key comes twice. */
static bool read_members(struct tmpl_run *run, struct uqff_json *json, struct tmpl_dict *dict) {
    for (;;) {
        struct uqff_json_event event;
        struct tmpl_text key;
        struct tmpl_value value;
        bool done;
        run->code = uqff_json_member(json, &event, &done, run->err);
        if (run->code != UQFF_OK || done) {
            return run->code == UQFF_OK;
        }
        if (!copy_text(run, &event, &key) || !next(run, json, &event) ||
            !read_value(run, json, &event, &value) ||
            !uqff_tmpl_dict_add(run, NULL, dict, key, value)) {
            return false;
        }
    }
}

static bool read_number(struct tmpl_run *run, struct uqff_json *json,
                        const struct uqff_json_event *event, struct tmpl_value *out) {
    double number;
    run->code = uqff_json_double(json, event, &number, run->err);
    if (run->code != UQFF_OK) {
        return false;
    }
    /* JSON knows numbers only: what has no fraction is an integer, 2.0 too. */
    *out = number == floor(number) ? tmpl_int(number) : tmpl_float(number);
    return true;
}

/* Recursion is bounded by the parser's depth. */
static bool read_value(struct tmpl_run *run, struct uqff_json *json,
                       const struct uqff_json_event *event, struct tmpl_value *out) {
    struct tmpl_text text;
    switch (event->kind) {
    case UQFF_JSON_OBJECT:
        return uqff_tmpl_dict_new(run, NULL, out) && read_members(run, json, out->as.dict);
    case UQFF_JSON_ARRAY:
        return read_list(run, json, out);
    case UQFF_JSON_STRING:
        if (!copy_text(run, event, &text)) {
            return false;
        }
        *out = tmpl_string(text);
        return true;
    case UQFF_JSON_NUMBER:
        return read_number(run, json, event, out);
    case UQFF_JSON_TRUE:
    case UQFF_JSON_FALSE:
        *out = tmpl_bool(event->kind == UQFF_JSON_TRUE);
        return true;
    default:
        *out = tmpl_none();
        return true;
    }
}

bool uqff_tmpl_variables(struct tmpl_run *run, const char *text, size_t size,
                         struct tmpl_dict *out) {
    struct uqff_json *json;
    struct uqff_json_event event;
    struct tmpl_dict read = {0};
    run->code = uqff_json_open(text, size, "variables", 0, UQFF_TEMPLATE_DEPTH, &json, run->err);
    if (run->code != UQFF_OK) {
        return false;
    }
    run->code = uqff_json_expect(json, UQFF_JSON_OBJECT, "the variables", &event, run->err);
    bool fine = run->code == UQFF_OK && read_members(run, json, &read);
    if (fine) {
        run->code = uqff_json_expect(json, UQFF_JSON_END, "the variables", &event, run->err);
        fine = run->code == UQFF_OK;
    }
    for (size_t i = 0; fine && i < read.count; i++) {
        if (tmpl_is(read.entries[i].key, "strftime_now")) {
            run->now = read.entries[i].value;
        } else {
            fine = uqff_tmpl_dict_set(run, NULL, out, read.entries[i].key, read.entries[i].value);
        }
    }
    uqff_json_close(json);
    return fine;
}
