/* Chat templates: filters of lists and mappings. */
#include <math.h>
#include <stdlib.h>

#include "validation/template.h"

/* ---- ends and order -------------------------------------------------------------------------- */

static bool filter_first(struct tmpl_call *call, struct tmpl_value *out) {
    if (!tmpl_is_list(&call->self)) {
        return uqff_tmpl_not_for(call);
    }
    const struct tmpl_list *list = call->self.as.list;
    *out = list->count > 0 ? list->items[0] : tmpl_undefined();
    return true;
}

static bool filter_last(struct tmpl_call *call, struct tmpl_value *out) {
    if (!tmpl_is_list(&call->self)) {
        return uqff_tmpl_not_for(call);
    }
    const struct tmpl_list *list = call->self.as.list;
    *out = list->count > 0 ? list->items[list->count - 1] : tmpl_undefined();
    return true;
}

static bool filter_list(struct tmpl_call *call, struct tmpl_value *out) {
    *out = call->self;
    return tmpl_is_list(&call->self) || uqff_tmpl_not_for(call);
}

static bool filter_reverse(struct tmpl_call *call, struct tmpl_value *out) {
    if (!tmpl_is_list(&call->self)) {
        return uqff_tmpl_not_for(call);
    }
    const struct tmpl_list *list = call->self.as.list;
    if (!uqff_tmpl_list_new(call->run, call->at, list->count, out)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        out->as.list->items[i] = list->items[list->count - 1 - i];
    }
    out->as.list->count = list->count;
    return true;
}

static bool filter_unique(struct tmpl_call *call, struct tmpl_value *out) {
    if (!tmpl_is_list(&call->self)) {
        return uqff_tmpl_not_for(call);
    }
    const struct tmpl_list *list = call->self.as.list;
    if (!uqff_tmpl_list_new(call->run, call->at, 0, out)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct tmpl_list *kept = out->as.list;
        bool seen = false;
        for (size_t k = 0; k < kept->count && !seen; k++) {
            seen = uqff_tmpl_identical(&kept->items[k], &list->items[i]);
            if (!uqff_tmpl_step(call->run, call->at,
                                tmpl_compare_weight(&kept->items[k], &list->items[i]))) {
                return false;
            }
        }
        if (!uqff_tmpl_step(call->run, call->at, 1 + kept->count / 8) ||
            (!seen && !uqff_tmpl_list_add(call->run, call->at, kept, list->items[i]))) {
            return false;
        }
    }
    return true;
}

/* ---- attributes ------------------------------------------------------------------------------ */

/* The member or item that a dotted path leads to; undefined where it leads nowhere. */
static bool follow(struct tmpl_call *call, struct tmpl_value value, struct tmpl_text path,
                   struct tmpl_value *out) {
    for (size_t i = 0; i <= path.size;) {
        size_t end = uqff_tmpl_find(path, TMPL_TEXT("."), i);
        end = end == SIZE_MAX ? path.size : end;
        struct tmpl_text part = tmpl_text(path.data + i, end - i);
        const struct tmpl_value *found = NULL;
        double index;
        if (value.kind == TMPL_DICT) {
            found = uqff_tmpl_dict_get(call->run, value.as.dict, part);
        } else if (tmpl_is_list(&value) && uqff_tmpl_read_number(part, &index) == part.size &&
                   part.size > 0 && index == floor(index) && index < (double)value.as.list->count) {
            found = &value.as.list->items[(size_t)index];
        }
        if (found == NULL) {
            *out = tmpl_undefined();
            return call->run->code == UQFF_OK;
        }
        value = *found;
        i = end + 1;
        if (!uqff_tmpl_step(call->run, call->at, 1)) {
            return false;
        }
    }
    *out = value;
    return true;
}

/* As follow(), for an attribute that may be a path, an index, or not given: then the value itself.
 */
static bool attribute_of(struct tmpl_call *call, const struct tmpl_value *attribute,
                         struct tmpl_value value, struct tmpl_value *out) {
    char number[TMPL_NUMBER_TEXT];
    if (attribute == NULL || attribute->kind == TMPL_NONE) {
        *out = value;
        return true;
    }
    if (attribute->kind == TMPL_STRING) {
        return follow(call, value, attribute->as.text, out);
    }
    if (attribute->kind != TMPL_INT) {
        return uqff_tmpl_bad_argument(call, "attribute: expected a string or an integer");
    }
    return follow(call, value, tmpl_text(number, uqff_tmpl_number(attribute->as.number, number)),
                  out);
}

/* map(attribute=…, default=…), or map(filter, arguments…). */
static bool filter_map(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *attribute = uqff_tmpl_arg(call, SIZE_MAX, "attribute");
    const struct tmpl_value *absent = uqff_tmpl_arg(call, SIZE_MAX, "default");
    const struct tmpl_value *filter = uqff_tmpl_arg(call, 0, NULL);
    const struct tmpl_value *named = attribute != NULL ? attribute : filter;
    if (!tmpl_is_list(&call->self)) {
        return uqff_tmpl_not_for(call);
    }
    if (named == NULL || named->kind != TMPL_STRING) {
        return uqff_tmpl_bad_argument(call, "expected the name of an attribute or a filter");
    }
    const struct tmpl_list *list = call->self.as.list;
    struct tmpl_args rest = call->args;
    if (!uqff_tmpl_list_new(call->run, call->at, 0, out)) {
        return false;
    }
    if (attribute == NULL) {
        rest.items++;
        rest.count--;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct tmpl_value item = list->items[i];
        if (attribute == NULL) {
            if (!uqff_tmpl_step(call->run, call->at, 1) ||
                !uqff_tmpl_apply_filter(call->run, call->at, filter->as.text, &rest, &item)) {
                return false;
            }
        } else if (item.kind != TMPL_DICT) {
            return uqff_tmpl_bad_argument(call, "an item that is not a mapping");
        } else if (!attribute_of(call, attribute, list->items[i], &item)) {
            return false;
        } else if (item.kind == TMPL_UNDEFINED && absent != NULL) {
            item = *absent;
        }
        if (!uqff_tmpl_list_add(call->run, call->at, out->as.list, item)) {
            return false;
        }
    }
    return true;
}

static bool filter_join(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_build build = {.run = call->run, .at = call->at};
    const struct tmpl_value *attribute = uqff_tmpl_arg(call, 1, "attribute");
    struct tmpl_text separator = TMPL_TEXT(""), text;
    const char *name = uqff_tmpl_arg(call, 0, "separator") != NULL ? "separator" : "d";
    if (!uqff_tmpl_text_arg(call, 0, name, &separator)) {
        return false;
    }
    if (call->self.kind == TMPL_STRING) {
        text = call->self.as.text;
        for (size_t i = 0; i < text.size;) {
            uint32_t c;
            size_t n = uqff_tmpl_character(text.data + i, &c);
            if ((i > 0 && !uqff_tmpl_put(&build, separator)) ||
                !uqff_tmpl_put(&build, tmpl_text(text.data + i, n))) {
                return false;
            }
            i += n;
        }
        *out = tmpl_string(tmpl_built(&build));
        return true;
    }
    if (!tmpl_is_list(&call->self)) {
        return uqff_tmpl_not_for(call);
    }
    for (size_t i = 0; i < call->self.as.list->count; i++) {
        struct tmpl_value item;
        if (!uqff_tmpl_step(call->run, call->at, 1) ||
            !attribute_of(call, attribute, call->self.as.list->items[i], &item)) {
            return false;
        }
        text = TMPL_TEXT("");
        bool absent = item.kind == TMPL_NONE || item.kind == TMPL_UNDEFINED;
        if ((!absent && !uqff_tmpl_as_text(call->run, call->at, &item, &text)) ||
            (i > 0 && !uqff_tmpl_put(&build, separator)) || !uqff_tmpl_put(&build, text)) {
            return false;
        }
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

/* ---- selection ------------------------------------------------------------------------------- */

/* Whether the test that the arguments from `place` on name (none: truth) holds. */
static bool holds(struct tmpl_call *call, size_t place, const struct tmpl_value *value, bool *out) {
    const struct tmpl_value *test = uqff_tmpl_arg(call, place, NULL);
    if (test == NULL) {
        *out = uqff_tmpl_truth(value);
        return true;
    }
    if (test->kind != TMPL_STRING) {
        return uqff_tmpl_bad_argument(call, "expected the name of a test");
    }
    struct tmpl_args rest = {.items = call->args.items + place + 1,
                             .count = call->args.count - place - 1};
    return uqff_tmpl_apply_test(call->run, call->at, test->as.text, &rest, value, out);
}

static bool choose(struct tmpl_call *call, bool wanted, bool by_attribute, struct tmpl_value *out) {
    const struct tmpl_value *attribute = uqff_tmpl_arg(call, 0, NULL);
    if (!tmpl_is_list(&call->self)) {
        return uqff_tmpl_not_for(call);
    }
    if (by_attribute && (attribute == NULL || attribute->kind != TMPL_STRING)) {
        return uqff_tmpl_bad_argument(call, "expected the name of an attribute");
    }
    if (!uqff_tmpl_list_new(call->run, call->at, 0, out)) {
        return false;
    }
    for (size_t i = 0; i < call->self.as.list->count; i++) {
        struct tmpl_value *item = &call->self.as.list->items[i], *value = item;
        bool holding = false;
        if (by_attribute) {
            if (item->kind != TMPL_DICT) {
                return uqff_tmpl_bad_argument(call, "an item that is not a mapping");
            }
            value = uqff_tmpl_dict_get(call->run, item->as.dict, attribute->as.text);
        }
        /* Where the attribute is not there, no test holds, `undefined` neither. */
        if (!uqff_tmpl_step(call->run, call->at, 1) || call->run->code != UQFF_OK ||
            (value != NULL && !holds(call, by_attribute ? 1 : 0, value, &holding)) ||
            (holding == wanted && !uqff_tmpl_list_add(call->run, call->at, out->as.list, *item))) {
            return false;
        }
    }
    return true;
}

static bool filter_select(struct tmpl_call *call, struct tmpl_value *out) {
    return choose(call, true, false, out);
}

static bool filter_reject(struct tmpl_call *call, struct tmpl_value *out) {
    return choose(call, false, false, out);
}

static bool filter_selectattr(struct tmpl_call *call, struct tmpl_value *out) {
    return choose(call, true, true, out);
}

static bool filter_rejectattr(struct tmpl_call *call, struct tmpl_value *out) {
    return choose(call, false, true, out);
}

/* ---- sorting --------------------------------------------------------------------------------- */

struct sorted {
    struct tmpl_value key, item;
};

static bool compare(struct tmpl_call *call, const struct tmpl_value *a, const struct tmpl_value *b,
                    int *out) {
    bool numbers =
        (tmpl_is_number(a) || a->kind == TMPL_BOOL) && (tmpl_is_number(b) || b->kind == TMPL_BOOL);
    if (!uqff_tmpl_step(call->run, call->at, 1 + tmpl_compare_weight(a, b))) {
        return false;
    }
    *out = 0;
    if (numbers) {
        double x = a->kind == TMPL_BOOL ? a->as.truth : a->as.number;
        double y = b->kind == TMPL_BOOL ? b->as.truth : b->as.number;
        *out = x < y ? -1 : x > y;
        return true;
    }
    if (a->kind == TMPL_STRING && b->kind == TMPL_STRING) {
        *out = uqff_tmpl_order(a->as.text, b->as.text);
        return true;
    }
    if (a->kind == b->kind && (a->kind == TMPL_NONE || a->kind == TMPL_UNDEFINED)) {
        return true;
    }
    return uqff_tmpl_fail(call->run, call->at, UQFF_E_ARGUMENT, "'%s': %s and %s have no order",
                          call->name, uqff_tmpl_kind_name(a->kind), uqff_tmpl_kind_name(b->kind));
}

/* Merges runs of growing length between two arrays: stable, and it can stop at a pair that has no
 * order. *items is where the result is. */
static bool sort(struct tmpl_call *call, struct sorted **items, size_t count, bool reverse) {
    struct sorted *from = *items;
    struct sorted *to = uqff_tmpl_take(call->run, call->at, count + 1, sizeof *to);
    if (to == NULL) {
        return false;
    }
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = count - start < width ? count : start + width;
            size_t end = count - middle < width ? count : middle + width;
            size_t a = start, b = middle;
            for (size_t k = start; k < end; k++) {
                int order = a == middle ? 1 : -1;
                if (a < middle && b < end && !compare(call, &from[a].key, &from[b].key, &order)) {
                    return false;
                }
                /* The left one goes first when the two are equal, also in reverse. */
                bool left = b == end || (a < middle && (reverse ? order >= 0 : order <= 0));
                to[k] = from[left ? a : b];
                a += left;
                b += !left;
            }
        }
        struct sorted *swap = from;
        from = to;
        to = swap;
    }
    *items = from;
    return true;
}

/* The key under which a value is sorted: strings without their case, unless it counts. */
static bool sort_key(struct tmpl_call *call, const struct tmpl_value *value, bool case_sensitive,
                     struct tmpl_value *out) {
    *out = *value;
    if (value->kind != TMPL_STRING || case_sensitive) {
        return true;
    }
    struct tmpl_text text;
    bool fine = uqff_tmpl_lower(call->run, call->at, value->as.text, &text);
    *out = tmpl_string(text);
    return fine;
}

static bool filter_sort(struct tmpl_call *call, struct tmpl_value *out) {
    const struct tmpl_value *attribute = uqff_tmpl_arg(call, 2, "attribute");
    bool reverse, case_sensitive;
    if (!tmpl_is_list(&call->self)) {
        return uqff_tmpl_not_for(call);
    }
    const struct tmpl_list *list = call->self.as.list;
    struct sorted *items = uqff_tmpl_take(call->run, call->at, list->count + 1, sizeof *items);
    if (items == NULL || !uqff_tmpl_flag(call, 0, "reverse", &reverse) ||
        !uqff_tmpl_flag(call, 1, "case_sensitive", &case_sensitive) ||
        !uqff_tmpl_list_new(call->run, call->at, list->count, out)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct tmpl_value key;
        items[i].item = list->items[i];
        if (!attribute_of(call, attribute, list->items[i], &key) ||
            !sort_key(call, &key, case_sensitive, &items[i].key)) {
            return false;
        }
    }
    if (!sort(call, &items, list->count, reverse)) {
        return false;
    }
    for (size_t i = 0; i < list->count; i++) {
        out->as.list->items[i] = items[i].item;
    }
    out->as.list->count = list->count;
    return true;
}

/* ---- mappings -------------------------------------------------------------------------------- */

/* [key, value] pairs. */
bool uqff_tmpl_items(struct tmpl_call *call, struct tmpl_value *out) {
    if (call->self.kind != TMPL_DICT) {
        return uqff_tmpl_not_for(call);
    }
    const struct tmpl_dict *dict = call->self.as.dict;
    if (!uqff_tmpl_list_new(call->run, call->at, dict->count, out)) {
        return false;
    }
    for (size_t i = 0; i < dict->count; i++) {
        struct tmpl_value pair;
        if (!uqff_tmpl_list_new(call->run, call->at, 2, &pair)) {
            return false;
        }
        pair.as.list->items[0] = tmpl_string(dict->entries[i].key);
        pair.as.list->items[1] = dict->entries[i].value;
        pair.as.list->count = 2;
        out->as.list->items[out->as.list->count++] = pair;
    }
    return true;
}

static bool list_dict(struct tmpl_call *call, bool keys, struct tmpl_value *out) {
    if (call->self.kind != TMPL_DICT) {
        return uqff_tmpl_not_for(call);
    }
    const struct tmpl_dict *dict = call->self.as.dict;
    if (!uqff_tmpl_list_new(call->run, call->at, dict->count, out)) {
        return false;
    }
    for (size_t i = 0; i < dict->count; i++) {
        out->as.list->items[i] = keys ? tmpl_string(dict->entries[i].key) : dict->entries[i].value;
    }
    out->as.list->count = dict->count;
    return true;
}

bool uqff_tmpl_keys(struct tmpl_call *call, struct tmpl_value *out) {
    return list_dict(call, true, out);
}

bool uqff_tmpl_values(struct tmpl_call *call, struct tmpl_value *out) {
    return list_dict(call, false, out);
}

static bool filter_dictsort(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_text by = TMPL_TEXT("key");
    bool case_sensitive, reverse;
    if (!uqff_tmpl_items(call, out) ||
        !uqff_tmpl_flag(call, 0, "case_sensitive", &case_sensitive) ||
        !uqff_tmpl_text_arg(call, 1, "by", &by) || !uqff_tmpl_flag(call, 2, "reverse", &reverse)) {
        return false;
    }
    if (!tmpl_is(by, "key") && !tmpl_is(by, "value")) {
        return uqff_tmpl_bad_argument(call, "by: expected 'key' or 'value'");
    }
    struct tmpl_list *pairs = out->as.list;
    struct sorted *items = uqff_tmpl_take(call->run, call->at, pairs->count + 1, sizeof *items);
    for (size_t i = 0; i < pairs->count; i++) {
        if (items == NULL || !sort_key(call, &pairs->items[i].as.list->items[tmpl_is(by, "value")],
                                       case_sensitive, &items[i].key)) {
            return false;
        }
        items[i].item = pairs->items[i];
    }
    if (items == NULL || !sort(call, &items, pairs->count, reverse)) {
        return false;
    }
    for (size_t i = 0; i < pairs->count; i++) {
        pairs->items[i] = items[i].item;
    }
    return true;
}

const struct tmpl_named uqff_tmpl_list_filters[] = {
    {"dictsort", filter_dictsort, false},
    {"first", filter_first, true},
    {"get", uqff_tmpl_get, false},
    {"items", uqff_tmpl_items, true},
    {"join", filter_join, false},
    {"keys", uqff_tmpl_keys, true},
    {"last", filter_last, true},
    {"list", filter_list, true},
    {"map", filter_map, false},
    {"reject", filter_reject, false},
    {"rejectattr", filter_rejectattr, false},
    {"reverse", filter_reverse, true},
    {"select", filter_select, false},
    {"selectattr", filter_selectattr, false},
    {"sort", filter_sort, false},
    {"unique", filter_unique, true},
    {"values", uqff_tmpl_values, true},
};
const size_t uqff_tmpl_list_filter_count =
    sizeof uqff_tmpl_list_filters / sizeof *uqff_tmpl_list_filters;
