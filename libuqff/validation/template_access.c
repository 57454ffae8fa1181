/* Chat templates: members, indices and slices. */
#include <math.h>

#include "validation/template.h"

bool uqff_tmpl_member(struct tmpl_run *run, const struct tmpl_node *at,
                      const struct tmpl_value *value, struct tmpl_text name,
                      struct tmpl_value *out) {
    *out = tmpl_undefined();
    if (value->kind == TMPL_DICT || value->kind == TMPL_NAMESPACE) {
        const struct tmpl_value *found = uqff_tmpl_dict_get(run, value->as.dict, name);
        if (found != NULL || run->code != UQFF_OK) {
            *out = found != NULL ? *found : *out;
            return run->code == UQFF_OK;
        }
    }
    if (value->kind == TMPL_STRING && !uqff_tmpl_step(run, at, tmpl_weight(value->as.text))) {
        return false;
    }
    if (tmpl_is(name, "length") && (value->kind == TMPL_STRING || tmpl_is_list(value))) {
        *out = tmpl_int((double)(value->kind == TMPL_STRING ? uqff_tmpl_units(value->as.text)
                                                            : value->as.list->count));
        return true;
    }
    const struct tmpl_named *method = uqff_tmpl_method(value->kind, name);
    if (method == NULL) {
        return true;
    }
    struct tmpl_function *function = uqff_tmpl_take(run, at, 1, sizeof *function);
    if (function == NULL) {
        return false;
    }
    *function =
        (struct tmpl_function){.name = method->name, .native = method->native, .self = *value};
    *out = (struct tmpl_value){.kind = TMPL_FUNCTION, .as.function = function};
    return true;
}

/* One UTF-16 unit of a string. Half of a character has no UTF-8 and comes out as U+FFFD. */
static struct tmpl_value unit_at(struct tmpl_text text, double index) {
    double units = (double)uqff_tmpl_units(text);
    index = index < 0 ? index + units : index;
    if (!(index >= 0 && index < units)) {
        return tmpl_undefined();
    }
    size_t left = (size_t)index;
    for (size_t i = 0; i < text.size;) {
        uint32_t c;
        size_t n = uqff_tmpl_character(text.data + i, &c);
        if (c > 0xFFFF && left < 2) {
            return tmpl_string(TMPL_TEXT("\xEF\xBF\xBD"));
        }
        if (left == 0) {
            return tmpl_string(tmpl_text(text.data + i, n));
        }
        left -= c > 0xFFFF ? 2 : 1;
        i += n;
    }
    return tmpl_undefined();
}

bool uqff_tmpl_index(struct tmpl_run *run, const struct tmpl_node *at,
                     const struct tmpl_value *value, const struct tmpl_value *index,
                     struct tmpl_value *out) {
    bool ordered = value->kind == TMPL_STRING || tmpl_is_list(value);
    if (index->kind == TMPL_STRING) {
        return uqff_tmpl_member(run, at, value, index->as.text, out);
    }
    if (!ordered || index->kind != TMPL_INT) {
        return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT, "an index that is %s, into %s",
                              uqff_tmpl_kind_name(index->kind), uqff_tmpl_kind_name(value->kind));
    }
    if (value->kind == TMPL_STRING) {
        *out = unit_at(value->as.text, index->as.number);
        return uqff_tmpl_step(run, at, tmpl_weight(value->as.text));
    }
    double count = (double)value->as.list->count, i = index->as.number;
    i = i < 0 ? i + count : i;
    *out = i >= 0 && i < count ? value->as.list->items[(size_t)i] : tmpl_undefined();
    return true;
}

/* ---- slices ---------------------------------------------------------------------------------- */

/* A bound counted from the front, kept in [low, high]; undefined stands for `absent`. */
static bool bound(struct tmpl_run *run, const struct tmpl_node *at, const struct tmpl_value *value,
                  double count, double low, double high, double absent, double *out) {
    if (value->kind == TMPL_UNDEFINED) {
        *out = absent;
        return true;
    }
    if (value->kind != TMPL_INT) {
        return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT, "a slice bound that is %s",
                              uqff_tmpl_kind_name(value->kind));
    }
    double i = value->as.number < 0 ? value->as.number + count : value->as.number;
    *out = !(i >= low) ? low : i > high ? high : i;
    return true;
}

static bool resolve(struct tmpl_run *run, const struct tmpl_node *at,
                    const struct tmpl_value bounds[3], size_t count, struct tmpl_range *out) {
    double step = 1, start = 0, stop = 0, n = (double)count;
    *out = (struct tmpl_range){0};
    if (bounds[2].kind != TMPL_UNDEFINED) {
        if (bounds[2].kind != TMPL_INT) {
            return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT, "a slice step that is %s",
                                  uqff_tmpl_kind_name(bounds[2].kind));
        }
        step = bounds[2].as.number;
    }
    bool back = step < 0;
    if (!bound(run, at, &bounds[0], n, back ? -1 : 0, back ? n - 1 : n, back ? n - 1 : 0, &start) ||
        !bound(run, at, &bounds[1], n, back ? -1 : 0, back ? n - 1 : n, back ? -1 : n, &stop)) {
        return false;
    }
    double span = back ? start - stop : stop - start;
    if (!(span > 0) || step == 0 || isnan(step)) {
        return true; /* a step of zero selects nothing */
    }
    /* A step beyond the span leaves the first item only; clamped, it fits any integer. */
    double stride = fabs(step) > n ? n : fabs(step);
    out->first = (int64_t)start;
    out->step = (int64_t)(back ? -stride : stride);
    out->count = (size_t)ceil(span / stride);
    return true;
}

/* Strings are cut between characters, not between UTF-16 units. */
static bool slice_text(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                       const struct tmpl_value bounds[3], struct tmpl_value *out) {
    struct tmpl_range range;
    size_t count = uqff_tmpl_characters(text), k = 0;
    if (!resolve(run, at, bounds, count, &range)) {
        return false;
    }
    size_t *starts = uqff_tmpl_take(run, at, count + 1, sizeof *starts);
    if (starts == NULL) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (((unsigned char)text.data[i] & 0xC0) != 0x80) {
            starts[k++] = i;
        }
    }
    starts[k] = text.size;
    if (range.step == 1 || range.count == 0) {
        size_t from = range.count > 0 ? starts[range.first] : 0;
        size_t to = range.count > 0 ? starts[(size_t)range.first + range.count] : 0;
        *out = tmpl_string(tmpl_text(text.data + from, to - from));
        return true;
    }
    struct tmpl_build build = {.run = run, .at = at};
    for (size_t i = 0; i < range.count; i++) {
        size_t c = (size_t)(range.first + (int64_t)i * range.step);
        if (!uqff_tmpl_put(&build, tmpl_text(text.data + starts[c], starts[c + 1] - starts[c]))) {
            return false;
        }
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

bool uqff_tmpl_slice(struct tmpl_run *run, const struct tmpl_node *at,
                     const struct tmpl_value *value, const struct tmpl_value bounds[3],
                     struct tmpl_value *out) {
    struct tmpl_range range;
    if (value->kind == TMPL_STRING) {
        return slice_text(run, at, value->as.text, bounds, out);
    }
    if (!tmpl_is_list(value)) {
        return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT, "a slice of %s",
                              uqff_tmpl_kind_name(value->kind));
    }
    const struct tmpl_list *list = value->as.list;
    if (!resolve(run, at, bounds, list->count, &range) ||
        !uqff_tmpl_list_new(run, at, range.count, out)) {
        return false;
    }
    for (size_t i = 0; i < range.count; i++) {
        out->as.list->items[i] = list->items[range.first + (int64_t)i * range.step];
    }
    out->as.list->count = range.count;
    return true;
}
