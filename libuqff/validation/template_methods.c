/* Chat templates: methods of strings, lists and mappings. */
#include "validation/template.h"

/* ---- strings --------------------------------------------------------------------------------- */

/* The sides of a string without their white space. Arguments are not looked at: the reference
 * strips white space whatever characters it is told to strip. */
static bool strip(struct tmpl_call *call, bool left, bool right, struct tmpl_value *out) {
    *out = tmpl_string(uqff_tmpl_trim(call->self.as.text, left, right));
    return uqff_tmpl_step(call->run, call->at, tmpl_weight(call->self.as.text));
}

static bool method_strip(struct tmpl_call *call, struct tmpl_value *out) {
    return strip(call, true, true, out);
}

static bool method_lstrip(struct tmpl_call *call, struct tmpl_value *out) {
    return strip(call, true, false, out);
}

static bool method_rstrip(struct tmpl_call *call, struct tmpl_value *out) {
    return strip(call, false, true, out);
}

/* Methods that filters of the same name implement. */
static bool by_filter(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_args none = {0};
    *out = call->self;
    return uqff_tmpl_apply_filter(call->run, call->at, tmpl_text(call->name, strlen(call->name)),
                                  &none, out);
}

static bool add_part(struct tmpl_call *call, struct tmpl_value *list, struct tmpl_text part) {
    return uqff_tmpl_step(call->run, call->at, 1) &&
           uqff_tmpl_list_add(call->run, call->at, list->as.list, tmpl_string(part));
}

/* Words; behind `most` of them, the rest as it is. */
static bool split_words(struct tmpl_call *call, struct tmpl_text text, double most,
                        struct tmpl_value *out) {
    for (;;) {
        text = uqff_tmpl_trim(text, true, false);
        if (text.size == 0) {
            return true;
        }
        if (most-- == 0) {
            return add_part(call, out, text);
        }
        size_t end = 0;
        while (end < text.size &&
               uqff_tmpl_space(tmpl_text(text.data + end, text.size - end)) == 0) {
            uint32_t c;
            end += uqff_tmpl_character(text.data + end, &c);
        }
        if (!add_part(call, out, tmpl_text(text.data, end))) {
            return false;
        }
        text = tmpl_text(text.data + end, text.size - end);
    }
}

static bool method_split(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *by = uqff_tmpl_arg(call, 0, "sep");
    struct tmpl_text text = call->self.as.text, separator = TMPL_TEXT("");
    double most = -1;
    if (!uqff_tmpl_int_arg(call, 1, "maxsplit", &most) ||
        !uqff_tmpl_step(call->run, call->at, tmpl_weight(text)) ||
        !uqff_tmpl_list_new(call->run, call->at, 0, out)) {
        return false;
    }
    if (by == NULL || by->kind == TMPL_NONE) {
        return split_words(call, text, most, out);
    }
    if (!uqff_tmpl_text_arg(call, 0, "sep", &separator)) {
        return false;
    }
    if (separator.size == 0) {
        return uqff_tmpl_bad_argument(call, "an empty separator");
    }
    size_t from = 0;
    for (; most != 0; most--) {
        size_t found = uqff_tmpl_find(text, separator, from);
        if (found == SIZE_MAX) {
            break;
        }
        if (!add_part(call, out, tmpl_text(text.data + from, found - from))) {
            return false;
        }
        from = found + separator.size;
    }
    return add_part(call, out, tmpl_text(text.data + from, text.size - from));
}

static bool has_affix(struct tmpl_text text, struct tmpl_text affix, bool at_end) {
    return affix.size <= text.size &&
           uqff_tmpl_same_text(
               tmpl_text(text.data + (at_end ? text.size - affix.size : 0), affix.size), affix);
}

/* A string, or several of which one will do. */
static bool affixed(struct tmpl_call *call, bool at_end, struct tmpl_value *out) {
    const struct tmpl_value *affix = uqff_tmpl_arg(call, 0, NULL);
    if (affix == NULL || (affix->kind != TMPL_STRING && !tmpl_is_list(affix))) {
        return uqff_tmpl_bad_argument(call, "expected a string or several");
    }
    size_t count = tmpl_is_list(affix) ? affix->as.list->count : 1;
    *out = tmpl_bool(false);
    for (size_t i = 0; i < count && !out->as.truth; i++) {
        const struct tmpl_value *one = tmpl_is_list(affix) ? &affix->as.list->items[i] : affix;
        if (one->kind != TMPL_STRING) {
            return uqff_tmpl_bad_argument(call, "expected strings only");
        }
        out->as.truth = has_affix(call->self.as.text, one->as.text, at_end);
        if (!uqff_tmpl_step(call->run, call->at, 1 + tmpl_weight(one->as.text))) {
            return false;
        }
    }
    return true;
}

static bool method_startswith(struct tmpl_call *call, struct tmpl_value *out) {
    return affixed(call, false, out);
}

static bool method_endswith(struct tmpl_call *call, struct tmpl_value *out) {
    return affixed(call, true, out);
}

static bool remove_affix(struct tmpl_call *call, bool at_end, struct tmpl_value *out) {
    struct tmpl_text text = call->self.as.text, affix = TMPL_TEXT("");
    if (!uqff_tmpl_text_arg(call, 0, NULL, &affix)) {
        return false;
    }
    if (has_affix(text, affix, at_end)) {
        text = tmpl_text(text.data + (at_end ? 0 : affix.size), text.size - affix.size);
    }
    *out = tmpl_string(text);
    return true;
}

static bool method_removeprefix(struct tmpl_call *call, struct tmpl_value *out) {
    return remove_affix(call, false, out);
}

static bool method_removesuffix(struct tmpl_call *call, struct tmpl_value *out) {
    return remove_affix(call, true, out);
}

/* ", ".join(list): strings only. */
static bool method_join(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *list = uqff_tmpl_arg(call, 0, NULL);
    struct tmpl_build build = {.run = call->run, .at = call->at};
    if (list == NULL || !tmpl_is_list(list)) {
        return uqff_tmpl_bad_argument(call, "expected a list");
    }
    for (size_t i = 0; i < list->as.list->count; i++) {
        const struct tmpl_value *item = &list->as.list->items[i];
        if (item->kind != TMPL_STRING) {
            return uqff_tmpl_bad_argument(call, "expected strings only");
        }
        if (!uqff_tmpl_step(call->run, call->at, 1) ||
            (i > 0 && !uqff_tmpl_put(&build, call->self.as.text)) ||
            !uqff_tmpl_put(&build, item->as.text)) {
            return false;
        }
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

/* Where a string is in another, in characters; -1: nowhere. */
static bool method_find(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_text text = call->self.as.text, needle = TMPL_TEXT("");
    if (uqff_tmpl_arg(call, 0, NULL) == NULL) {
        return uqff_tmpl_bad_argument(call, "expected a string");
    }
    if (!uqff_tmpl_text_arg(call, 0, NULL, &needle) ||
        !uqff_tmpl_step(call->run, call->at, tmpl_weight(text))) {
        return false;
    }
    size_t found = uqff_tmpl_find(text, needle, 0);
    *out = tmpl_int(found == SIZE_MAX ? -1
                                      : (double)uqff_tmpl_characters(tmpl_text(text.data, found)));
    return true;
}

/* ---- lists and mappings ---------------------------------------------------------------------- */

static bool method_append(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *item = uqff_tmpl_arg(call, 0, NULL);
    if (item == NULL) {
        return uqff_tmpl_bad_argument(call, "expected a value");
    }
    *out = tmpl_none();
    return uqff_tmpl_list_add(call->run, call->at, call->self.as.list, *item);
}

bool uqff_tmpl_get(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *absent = uqff_tmpl_arg(call, 1, "default");
    struct tmpl_text key = TMPL_TEXT("");
    if (call->self.kind != TMPL_DICT) {
        return uqff_tmpl_not_for(call);
    }
    if (uqff_tmpl_arg(call, 0, "key") == NULL) {
        return uqff_tmpl_bad_argument(call, "expected a key");
    }
    if (!uqff_tmpl_text_arg(call, 0, "key", &key)) {
        return false;
    }
    const struct tmpl_value *found = uqff_tmpl_dict_get(call->run, call->self.as.dict, key);
    *out = found != NULL ? *found : absent != NULL ? *absent : tmpl_none();
    return call->run->code == UQFF_OK;
}

static const struct {
    enum tmpl_kind kind;
    struct tmpl_named named;
} methods[] = {
    {TMPL_STRING, {"capitalize", by_filter, false}},
    {TMPL_STRING, {"endswith", method_endswith, false}},
    {TMPL_STRING, {"find", method_find, false}},
    {TMPL_STRING, {"join", method_join, false}},
    {TMPL_STRING, {"lower", by_filter, false}},
    {TMPL_STRING, {"lstrip", method_lstrip, false}},
    {TMPL_STRING, {"removeprefix", method_removeprefix, false}},
    {TMPL_STRING, {"removesuffix", method_removesuffix, false}},
    {TMPL_STRING, {"replace", uqff_tmpl_replace, false}},
    {TMPL_STRING, {"rstrip", method_rstrip, false}},
    {TMPL_STRING, {"split", method_split, false}},
    {TMPL_STRING, {"startswith", method_startswith, false}},
    {TMPL_STRING, {"strip", method_strip, false}},
    {TMPL_STRING, {"title", by_filter, false}},
    {TMPL_STRING, {"upper", by_filter, false}},
    {TMPL_LIST, {"append", method_append, false}},
    {TMPL_DICT, {"get", uqff_tmpl_get, false}},
    {TMPL_DICT, {"items", uqff_tmpl_items, false}},
    {TMPL_DICT, {"keys", uqff_tmpl_keys, false}},
    {TMPL_DICT, {"values", uqff_tmpl_values, false}},
};

const struct tmpl_named *uqff_tmpl_method(enum tmpl_kind kind, struct tmpl_text name) {
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (methods[i].kind == kind && tmpl_is(name, methods[i].named.name)) {
            return &methods[i].named;
        }
    }
    return NULL;
}
