/* Chat templates: the functions and constants that are there from the start. */
#include <math.h>
#include <stdio.h>

#include "validation/template.h"

/* A bound of range(): numbers, texts of numbers, booleans. */
static bool range_bound(struct tmpl_call *call, size_t place, double absent, double *out) {
    const struct tmpl_value *value = uqff_tmpl_arg(call, place, NULL);
    *out = absent;
    if (value == NULL || value->kind == TMPL_NONE || value->kind == TMPL_UNDEFINED) {
        return true;
    }
    if (tmpl_is_number(value)) {
        *out = value->as.number;
        return true;
    }
    *out = value->kind == TMPL_BOOL     ? (double)value->as.truth
           : value->kind == TMPL_STRING ? uqff_tmpl_to_number(value->as.text)
                                        : NAN;
    return value->kind == TMPL_BOOL || value->kind == TMPL_STRING ||
           uqff_tmpl_bad_argument(call, "expected a number");
}

static bool call_range(struct tmpl_call *call, struct tmpl_value *out) {
    double start, stop, step;
    if (!range_bound(call, 0, NAN, &start) || !range_bound(call, 1, NAN, &stop) ||
        !range_bound(call, 2, 1, &step)) {
        return false;
    }
    if (isnan(stop)) {
        stop = start;
        start = 0;
    }
    if (step == 0) {
        return uqff_tmpl_bad_argument(call, "a step of zero");
    }
    if (!uqff_tmpl_list_new(call->run, call->at, 0, out)) {
        return false;
    }
    for (double i = start; step > 0 ? i < stop : i > stop; i += step) {
        if (!uqff_tmpl_step(call->run, call->at, 1) ||
            !uqff_tmpl_list_add(call->run, call->at, out->as.list,
                                i == floor(i) ? tmpl_int(i) : tmpl_float(i))) {
            return false;
        }
    }
    return true;
}

/* Adds [key, value] pairs. */
static bool add_pairs(struct tmpl_call *call, const struct tmpl_list *pairs,
                      struct tmpl_dict *dict) {
    for (size_t i = 0; i < pairs->count; i++) {
        const struct tmpl_value *pair = &pairs->items[i];
        bool good = tmpl_is_list(pair) && pair->as.list->count == 2 &&
                    pair->as.list->items[0].kind == TMPL_STRING;
        if (!good) {
            return uqff_tmpl_bad_argument(call, "expected pairs of a string and a value");
        }
        if (!uqff_tmpl_dict_set(call->run, call->at, dict, pair->as.list->items[0].as.text,
                                pair->as.list->items[1])) {
            return false;
        }
    }
    return true;
}

static bool call_dict(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *source = uqff_tmpl_arg(call, 0, NULL);
    const struct tmpl_dict *named = &call->args.named;
    if (call->args.count > 1) {
        return uqff_tmpl_bad_argument(call, "expected one argument at most besides named ones");
    }
    if (!uqff_tmpl_dict_new(call->run, call->at, out)) {
        return false;
    }
    if (source != NULL && tmpl_is_list(source)) {
        if (!add_pairs(call, source->as.list, out->as.dict)) {
            return false;
        }
    } else if (source != NULL && source->kind != TMPL_DICT) {
        return uqff_tmpl_bad_argument(call, "expected a mapping or a list of pairs");
    }
    for (size_t i = 0; i < 2; i++) {
        const struct tmpl_dict *from = i == 1 ? named
                                       : source != NULL && source->kind == TMPL_DICT
                                           ? source->as.dict
                                           : NULL;
        for (size_t k = 0; from != NULL && k < from->count; k++) {
            if (!uqff_tmpl_dict_set(call->run, call->at, out->as.dict, from->entries[k].key,
                                    from->entries[k].value)) {
                return false;
            }
        }
    }
    return true;
}

static bool call_namespace(struct tmpl_call *call, struct tmpl_value *out) {
    bool fine = call_dict(call, out);
    out->kind = TMPL_NAMESPACE;
    return fine;
}

static bool call_raise(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *value = uqff_tmpl_arg(call, 0, NULL);
    struct tmpl_text text = TMPL_TEXT("");
    (void)out;
    if (value != NULL && value->kind != TMPL_NONE && value->kind != TMPL_UNDEFINED &&
        !uqff_tmpl_as_text(call->run, call->at, value, &text)) {
        return false;
    }
    int length = text.size < 400 ? (int)text.size : 400;
    return uqff_tmpl_fail(call->run, call->at, UQFF_E_ARGUMENT, "the template refuses: %.*s",
                          length, text.data);
}

/* A moment: "2024-07-26" or "2024-07-26T12:30:00". */
struct moment {
    unsigned year, month, day, hour, minute;
};

/* Two digits, or four. */
static bool read_digits(struct tmpl_text text, size_t at, size_t n, unsigned most, unsigned *out) {
    *out = 0;
    for (size_t i = at; i < at + n; i++) {
        if (i >= text.size || text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        *out = *out * 10 + (unsigned)(text.data[i] - '0');
    }
    return *out <= most;
}

static bool read_moment(struct tmpl_text text, struct moment *out) {
    *out = (struct moment){0};
    if (!read_digits(text, 0, 4, 9999, &out->year) || !read_digits(text, 5, 2, 12, &out->month) ||
        !read_digits(text, 8, 2, 31, &out->day) || text.data[4] != '-' || text.data[7] != '-' ||
        out->month == 0 || out->day == 0) {
        return false;
    }
    if (text.size == 10) {
        return true;
    }
    return (text.data[10] == 'T' || text.data[10] == ' ') &&
           read_digits(text, 11, 2, 23, &out->hour) && read_digits(text, 14, 2, 59, &out->minute) &&
           text.data[13] == ':';
}

/* The seven conversions that templates use; false: not one of them. */
static bool convert(const struct moment *moment, char conversion, char out[16]) {
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    const char *month = months[moment->month - 1];
    switch (conversion) {
    case 'Y':
        return snprintf(out, 16, "%u", moment->year) > 0;
    case 'm':
        return snprintf(out, 16, "%02u", moment->month) > 0;
    case 'd':
        return snprintf(out, 16, "%02u", moment->day) > 0;
    case 'b':
        return snprintf(out, 16, "%.3s", month) > 0;
    case 'B':
        return snprintf(out, 16, "%s", month) > 0;
    case 'H':
        return snprintf(out, 16, "%02u", moment->hour) > 0;
    case 'M':
        return snprintf(out, 16, "%02u", moment->minute) > 0;
    default:
        return false;
    }
}

/* The library does not read the clock: the caller says when, in a variable of this name. */
static bool call_strftime(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_build build = {.run = call->run, .at = call->at};
    struct tmpl_text format = TMPL_TEXT("");
    const struct tmpl_value *now = &call->run->now;
    struct moment moment;
    if (now->kind == TMPL_UNDEFINED) {
        return uqff_tmpl_fail(call->run, call->at, UQFF_E_UNSUPPORTED,
                              "strftime_now without a variable 'strftime_now' that says when");
    }
    if (now->kind != TMPL_STRING || !read_moment(now->as.text, &moment)) {
        return uqff_tmpl_bad_argument(call, "the variable of this name is not a date such as "
                                            "2024-07-26 or 2024-07-26T12:30:00");
    }
    if (uqff_tmpl_arg(call, 0, NULL) == NULL) {
        return uqff_tmpl_bad_argument(call, "expected a format");
    }
    if (!uqff_tmpl_text_arg(call, 0, NULL, &format)) {
        return false;
    }
    for (size_t i = 0; i < format.size; i++) {
        char text[16];
        struct tmpl_text piece = tmpl_text(format.data + i, 1);
        if (format.data[i] == '%' && i + 1 < format.size &&
            convert(&moment, format.data[i + 1], text)) {
            piece = tmpl_text(text, strlen(text));
            i++;
        }
        if (!uqff_tmpl_put(&build, piece)) {
            return false;
        }
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

/* What joiner() gives: a function that is silent once. Its list holds what it will say, and
 * a second item once it has been called. */
static bool call_joined(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_list *state = call->self.as.list;
    *out = state->count > 1 ? state->items[0] : tmpl_string(TMPL_TEXT(""));
    return state->count > 1 || uqff_tmpl_list_add(call->run, call->at, state, tmpl_none());
}

static bool call_joiner(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_text separator = TMPL_TEXT(", ");
    struct tmpl_value state;
    struct tmpl_function *function = uqff_tmpl_take(call->run, call->at, 1, sizeof *function);
    if (function == NULL || !uqff_tmpl_text_arg(call, 0, "sep", &separator) ||
        !uqff_tmpl_list_new(call->run, call->at, 2, &state) ||
        !uqff_tmpl_list_add(call->run, call->at, state.as.list, tmpl_string(separator))) {
        return false;
    }
    *function = (struct tmpl_function){.name = "joiner", .native = call_joined, .self = state};
    *out = (struct tmpl_value){.kind = TMPL_FUNCTION, .as.function = function};
    return true;
}

bool uqff_tmpl_globals(struct tmpl_run *run, struct tmpl_dict *names) {
    static const struct tmpl_named functions[] = {
        {"range", call_range, false},
        {"namespace", call_namespace, false},
        {"dict", call_dict, false},
        {"raise_exception", call_raise, false},
        {"strftime_now", call_strftime, false},
        {"joiner", call_joiner, false},
    };
    static const char *const constants[] = {"false", "False", "true", "True", "none", "None"};
    size_t n = sizeof functions / sizeof *functions;
    for (size_t i = 0; i < n; i++) {
        struct tmpl_function *function = uqff_tmpl_take(run, NULL, 1, sizeof *function);
        if (function == NULL) {
            return false;
        }
        function->name = functions[i].name;
        function->native = functions[i].native;
        if (!uqff_tmpl_dict_add(
                run, NULL, names, tmpl_text(function->name, strlen(function->name)),
                (struct tmpl_value){.kind = TMPL_FUNCTION, .as.function = function})) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        struct tmpl_value value = i < 4 ? tmpl_bool(i >= 2) : tmpl_none();
        if (!uqff_tmpl_dict_add(run, NULL, names, tmpl_text(constants[i], strlen(constants[i])),
                                value)) {
            return false;
        }
    }
    return true;
}
