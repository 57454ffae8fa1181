/* Chat templates: filters of strings, numbers and any value, and how filters are found. */
#include <math.h>

#include "validation/template.h"

/* ---- any value ------------------------------------------------------------------------------- */

static bool filter_safe(struct tmpl_call *call, struct tmpl_value *out) {
    *out = call->self;
    return true;
}

static bool filter_default(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *value = uqff_tmpl_arg(call, 0, NULL);
    bool any_false;
    if (!uqff_tmpl_flag(call, 1, "boolean", &any_false)) {
        return false;
    }
    bool replaced =
        call->self.kind == TMPL_UNDEFINED || (any_false && !uqff_tmpl_truth(&call->self));
    *out = !replaced ? call->self : value != NULL ? *value : tmpl_string(TMPL_TEXT(""));
    return true;
}

static bool filter_string(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_text text;
    bool known = call->self.kind == TMPL_BOOL || call->self.kind == TMPL_STRING ||
                 tmpl_is_number(&call->self) || tmpl_is_list(&call->self);
    if (!known) {
        return uqff_tmpl_not_for(call);
    }
    if (!uqff_tmpl_print(call->run, call->at, &call->self, &text)) {
        return false;
    }
    *out = tmpl_string(text);
    return true;
}

/* The two strings of separators=(item, key). */
static bool json_separators(struct tmpl_call *call, struct tmpl_json_style *style) {
    const struct tmpl_value *value = uqff_tmpl_arg(call, SIZE_MAX, "separators");
    if (value == NULL || value->kind == TMPL_NONE) {
        return true;
    }
    bool good = tmpl_is_list(value) && value->as.list->count == 2 &&
                value->as.list->items[0].kind == TMPL_STRING &&
                value->as.list->items[1].kind == TMPL_STRING;
    if (!good) {
        return uqff_tmpl_bad_argument(call, "separators: expected two strings");
    }
    style->item = value->as.list->items[0].as.text;
    style->key = value->as.list->items[1].as.text;
    return true;
}

static bool filter_tojson(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_json_style style = {.item = TMPL_TEXT(", "), .key = TMPL_TEXT(": ")};
    struct tmpl_build build = {.run = call->run, .at = call->at};
    double indent = 0;
    if (!uqff_tmpl_int_arg(call, SIZE_MAX, "indent", &indent) ||
        !uqff_tmpl_flag(call, SIZE_MAX, "ensure_ascii", &style.ascii) ||
        !uqff_tmpl_flag(call, SIZE_MAX, "sort_keys", &style.sorted)) {
        return false;
    }
    if (!(indent >= 0 && indent <= 1000)) {
        return uqff_tmpl_bad_argument(call, "indent: expected 0 to 1000");
    }
    style.indent = (unsigned)indent;
    style.item = style.indent > 0 ? TMPL_TEXT(",") : style.item;
    if (!json_separators(call, &style) || !uqff_tmpl_json(&build, &call->self, &style)) {
        return false;
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

static bool filter_length(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *self = &call->self;
    if (self->kind == TMPL_STRING) {
        *out = tmpl_int((double)uqff_tmpl_units(self->as.text));
        return uqff_tmpl_step(call->run, call->at, tmpl_weight(self->as.text));
    }
    if (self->kind != TMPL_DICT && !tmpl_is_list(self)) {
        return uqff_tmpl_not_for(call);
    }
    *out =
        tmpl_int((double)(self->kind == TMPL_DICT ? self->as.dict->count : self->as.list->count));
    return true;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static bool filter_abs(struct tmpl_call *call, struct tmpl_value *out) {
    *out = call->self;
    if (!tmpl_is_number(out)) {
        return uqff_tmpl_not_for(call);
    }
    out->as.number = fabs(out->as.number);
    return true;
}

/* The integer that a text begins with. */
static bool parse_int(struct tmpl_text text, double *out) {
    text = uqff_tmpl_trim(text, true, false);
    size_t sign = text.size > 0 && (text.data[0] == '-' || text.data[0] == '+');
    size_t end = sign;
    while (end < text.size && text.data[end] >= '0' && text.data[end] <= '9') {
        end++;
    }
    bool any = uqff_tmpl_read_number(tmpl_text(text.data + sign, end - sign), out) > 0;
    *out = any && text.data[0] == '-' ? -*out : *out;
    return any;
}

static bool parse_float(struct tmpl_text text, double *out) {
    text = uqff_tmpl_trim(text, true, false);
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t sign = text.size > 0 && (negative || text.data[0] == '+');
    text = tmpl_text(text.data + sign, text.size - sign);
    bool any = true;
    if (text.size >= 8 && memcmp(text.data, "Infinity", 8) == 0) {
        *out = INFINITY;
    } else {
        any = uqff_tmpl_read_number(text, out) > 0;
    }
    *out = any && negative ? -*out : *out;
    return any;
}

static bool number_filter(struct tmpl_call *call, bool is_float, struct tmpl_value *out) {
    const struct tmpl_value *absent = uqff_tmpl_arg(call, 0, "default");
    const struct tmpl_value *self = &call->self;
    double number = 0;
    if (self->kind == TMPL_STRING) {
        if (!uqff_tmpl_step(call->run, call->at, tmpl_weight(self->as.text))) {
            return false;
        }
        bool any =
            is_float ? parse_float(self->as.text, &number) : parse_int(self->as.text, &number);
        if (!any && absent != NULL) {
            *out = *absent;
            return true;
        }
        number = any ? number : 0;
    } else if (self->kind == TMPL_BOOL) {
        number = self->as.truth;
    } else if (!tmpl_is_number(self)) {
        return uqff_tmpl_not_for(call);
    } else if (absent != NULL) {
        *out = *self; /* with a default, numbers stay as they are */
        return true;
    } else {
        number = is_float ? self->as.number : floor(self->as.number);
    }
    *out = is_float ? tmpl_float(number) : tmpl_int(number);
    return true;
}

static bool filter_bool(struct tmpl_call *call, struct tmpl_value *out) {
    *out = call->self;
    return call->self.kind == TMPL_BOOL || uqff_tmpl_not_for(call);
}

static bool filter_int(struct tmpl_call *call, struct tmpl_value *out) {
    return number_filter(call, false, out);
}

static bool filter_float(struct tmpl_call *call, struct tmpl_value *out) {
    return number_filter(call, true, out);
}

/* ---- strings --------------------------------------------------------------------------------- */

static bool text_filter(struct tmpl_call *call,
                        bool (*change)(struct tmpl_run *run, const struct tmpl_node *at,
                                       struct tmpl_text text, struct tmpl_text *out),
                        struct tmpl_value *out) {
    struct tmpl_text text;
    if (call->self.kind != TMPL_STRING) {
        return uqff_tmpl_not_for(call);
    }
    if (!uqff_tmpl_step(call->run, call->at, tmpl_weight(call->self.as.text)) ||
        !change(call->run, call->at, call->self.as.text, &text)) {
        return false;
    }
    *out = tmpl_string(text);
    return true;
}

static bool filter_upper(struct tmpl_call *call, struct tmpl_value *out) {
    return text_filter(call, uqff_tmpl_upper, out);
}

static bool filter_lower(struct tmpl_call *call, struct tmpl_value *out) {
    return text_filter(call, uqff_tmpl_lower, out);
}

static bool filter_title(struct tmpl_call *call, struct tmpl_value *out) {
    return text_filter(call, uqff_tmpl_title, out);
}

static bool filter_capitalize(struct tmpl_call *call, struct tmpl_value *out) {
    return text_filter(call, uqff_tmpl_capitalize, out);
}

static bool filter_trim(struct tmpl_call *call, struct tmpl_value *out) {
    if (call->self.kind != TMPL_STRING) {
        return uqff_tmpl_not_for(call);
    }
    *out = tmpl_string(uqff_tmpl_trim(call->self.as.text, true, true));
    return uqff_tmpl_step(call->run, call->at, tmpl_weight(call->self.as.text));
}

bool uqff_tmpl_replace(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_text text = call->self.as.text, from = TMPL_TEXT(""), to = TMPL_TEXT("");
    struct tmpl_build build = {.run = call->run, .at = call->at};
    double left = -1;
    size_t i = 0;
    if (call->self.kind != TMPL_STRING) {
        return uqff_tmpl_not_for(call);
    }
    if (uqff_tmpl_arg(call, 0, "old") == NULL || uqff_tmpl_arg(call, 1, "new") == NULL) {
        return uqff_tmpl_bad_argument(call, "expected what to replace and with what");
    }
    if (!uqff_tmpl_text_arg(call, 0, "old", &from) || !uqff_tmpl_text_arg(call, 1, "new", &to) ||
        !uqff_tmpl_int_arg(call, 2, "count", &left) ||
        !uqff_tmpl_step(call->run, call->at, tmpl_weight(text))) {
        return false;
    }
    for (; left != 0; left--) {
        size_t found = uqff_tmpl_find(text, from, i);
        if (found == SIZE_MAX || found > text.size) {
            break;
        }
        if (!uqff_tmpl_step(call->run, call->at, 1) ||
            !uqff_tmpl_put(&build, tmpl_text(text.data + i, found - i)) ||
            !uqff_tmpl_put(&build, to)) {
            return false;
        }
        i = found + from.size;
        if (from.size == 0) { /* nothing is found between any two characters, and at both ends */
            uint32_t c;
            if (i == text.size) {
                break;
            }
            size_t n = uqff_tmpl_character(text.data + i, &c);
            if (!uqff_tmpl_put(&build, tmpl_text(text.data + i, n))) {
                return false;
            }
            i += n;
        }
    }
    if (!uqff_tmpl_put(&build, tmpl_text(text.data + i, text.size - i))) {
        return false;
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

static bool filter_indent(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_build build = {.run = call->run, .at = call->at};
    struct tmpl_text text = call->self.as.text;
    double width = 4;
    bool first, blank;
    if (call->self.kind != TMPL_STRING) {
        return uqff_tmpl_not_for(call);
    }
    if (!uqff_tmpl_int_arg(call, 0, "width", &width) || !uqff_tmpl_flag(call, 1, "first", &first) ||
        !uqff_tmpl_flag(call, 2, "blank", &blank)) {
        return false;
    }
    if (!(width >= 0 && width <= 1000)) {
        return uqff_tmpl_bad_argument(call, "width: expected 0 to 1000");
    }
    for (size_t i = 0; i <= text.size;) {
        size_t end = uqff_tmpl_find(text, TMPL_TEXT("\n"), i);
        end = end == SIZE_MAX ? text.size : end;
        bool indented = (i > 0 || first) && (end > i || blank);
        if (!uqff_tmpl_put_repeated(&build, ' ', indented ? (size_t)width : 0) ||
            !uqff_tmpl_put(&build, tmpl_text(text.data + i, end - i + (end < text.size ? 1 : 0)))) {
            return false;
        }
        i = end + 1;
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

/* ---- finding filters ------------------------------------------------------------------------- */

static const struct tmpl_named filters[] = {
    {"abs", filter_abs, true},
    {"bool", filter_bool, true},
    {"capitalize", filter_capitalize, true},
    {"count", filter_length, true},
    {"d", filter_default, false},
    {"default", filter_default, false},
    {"float", filter_float, false},
    {"indent", filter_indent, false},
    {"int", filter_int, false},
    {"length", filter_length, true},
    {"lower", filter_lower, true},
    {"replace", uqff_tmpl_replace, false},
    {"safe", filter_safe, true},
    {"string", filter_string, true},
    {"title", filter_title, true},
    {"tojson", filter_tojson, false},
    {"trim", filter_trim, true},
    {"upper", filter_upper, true},
};

const struct tmpl_named *uqff_tmpl_filter(struct tmpl_text name) {
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (tmpl_is(name, filters[i].name)) {
            return &filters[i];
        }
    }
    for (size_t i = 0; i < uqff_tmpl_list_filter_count; i++) {
        if (tmpl_is(name, uqff_tmpl_list_filters[i].name)) {
            return &uqff_tmpl_list_filters[i];
        }
    }
    return NULL;
}

bool uqff_tmpl_apply_filter(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text name,
                            const struct tmpl_args *args, struct tmpl_value *value) {
    const struct tmpl_named *filter = uqff_tmpl_filter(name);
    if (filter == NULL) {
        return uqff_tmpl_fail(run, at, UQFF_E_UNSUPPORTED, "filter '%.*s' is not known",
                              name.size < 60 ? (int)name.size : 60, name.data);
    }
    if (filter->plain && (args->count > 0 || args->named.count > 0)) {
        return uqff_tmpl_fail(run, at, UQFF_E_UNSUPPORTED, "filter '%s' with arguments",
                              filter->name);
    }
    struct tmpl_call call = {
        .run = run, .at = at, .name = filter->name, .self = *value, .args = *args};
    return filter->native(&call, value);
}
