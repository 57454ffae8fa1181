/* Chat templates: what values are worth, how they are printed, and as JSON. */
#include <math.h>
#include <stdio.h>

#include "validation/template.h"

const char *uqff_tmpl_kind_name(enum tmpl_kind kind) {
    static const char *const names[] = {
        [TMPL_UNDEFINED] = "an undefined value",
        [TMPL_NONE] = "none",
        [TMPL_BOOL] = "a boolean",
        [TMPL_INT] = "an integer",
        [TMPL_FLOAT] = "a float",
        [TMPL_STRING] = "a string",
        [TMPL_LIST] = "a list",
        [TMPL_TUPLE] = "a tuple",
        [TMPL_DICT] = "a mapping",
        [TMPL_NAMESPACE] = "a namespace",
        [TMPL_FUNCTION] = "a function",
    };
    return names[kind];
}

bool uqff_tmpl_truth(const struct tmpl_value *value) {
    switch (value->kind) {
    case TMPL_UNDEFINED:
    case TMPL_NONE:
        return false;
    case TMPL_BOOL:
        return value->as.truth;
    case TMPL_INT:
    case TMPL_FLOAT:
        return value->as.number != 0 && !isnan(value->as.number);
    case TMPL_STRING:
        return value->as.text.size > 0;
    case TMPL_LIST:
    case TMPL_TUPLE:
        return value->as.list->count > 0;
    case TMPL_DICT:
        return value->as.dict->count > 0;
    default:
        return true;
    }
}

/* ---- growing text ---------------------------------------------------------------------------- */

static char *room(struct tmpl_build *build, size_t n) {
    if (n > build->capacity - build->size) {
        size_t needed = build->size + n;
        size_t capacity = build->capacity * 2 > needed ? build->capacity * 2 : needed;
        capacity = capacity < 64 ? 64 : capacity;
        char *data = uqff_tmpl_take(build->run, build->at, capacity, 1);
        if (data == NULL) {
            return NULL;
        }
        if (build->size > 0) {
            memcpy(data, build->data, build->size);
        }
        build->data = data;
        build->capacity = capacity;
    }
    build->size += n;
    return build->data + build->size - n;
}

bool uqff_tmpl_put(struct tmpl_build *build, struct tmpl_text text) {
    if (text.size == 0) {
        return true;
    }
    char *at = room(build, text.size);
    if (at != NULL) {
        memcpy(at, text.data, text.size);
    }
    return at != NULL;
}

bool uqff_tmpl_put_repeated(struct tmpl_build *build, char byte, size_t n) {
    if (n == 0) {
        return true;
    }
    /* Said before any sum is made of it: n may be anything. */
    if (n > UQFF_TEMPLATE_MEMORY) {
        return uqff_tmpl_take(build->run, build->at, n, 1) != NULL;
    }
    char *at = room(build, n);
    if (at != NULL) {
        memset(at, byte, n);
    }
    return at != NULL;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static bool put_escape(struct tmpl_build *build, uint32_t unit) {
    char text[8];
    int n = snprintf(text, sizeof text, "\\u%04x", (unsigned)unit & 0xFFFF);
    return uqff_tmpl_put(build, tmpl_text(text, (size_t)n));
}

static bool put_json_character(struct tmpl_build *build, struct tmpl_text bytes, uint32_t c,
                               bool ascii) {
    static const char letters[] = "\b\f\n\r\t\"\\", escapes[] = "bfnrt\"\\";
    const char *found = c != 0 && c < 0x80 ? strchr(letters, (int)c) : NULL;
    if (found != NULL) {
        char pair[2] = {'\\', escapes[found - letters]};
        return uqff_tmpl_put(build, tmpl_text(pair, 2));
    }
    if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000)) {
        return put_escape(build, c);
    }
    if (ascii && c >= 0x10000) {
        return put_escape(build, 0xD800 + ((c - 0x10000) >> 10)) &&
               put_escape(build, 0xDC00 + ((c - 0x10000) & 0x3FF));
    }
    return uqff_tmpl_put(build, bytes);
}

static bool put_json_string(struct tmpl_build *build, struct tmpl_text text, bool ascii) {
    if (!uqff_tmpl_put(build, TMPL_TEXT("\""))) {
        return false;
    }
    for (size_t i = 0; i < text.size;) {
        uint32_t c;
        size_t n = uqff_tmpl_character(text.data + i, &c);
        if (!put_json_character(build, tmpl_text(text.data + i, n), c, ascii)) {
            return false;
        }
        i += n;
    }
    return uqff_tmpl_put(build, TMPL_TEXT("\""));
}

/* The separator before an item (or, with `closing`, the break before the closing bracket). */
static bool put_break(struct tmpl_build *build, const struct tmpl_json_style *style, unsigned depth,
                      bool first, bool closing) {
    if (!first && !closing && !uqff_tmpl_put(build, style->item)) {
        return false;
    }
    return style->indent == 0 ||
           (uqff_tmpl_put(build, TMPL_TEXT("\n")) &&
            uqff_tmpl_put_repeated(build, ' ',
                                   (size_t)style->indent * (closing ? depth : depth + 1)));
}

static bool put_json(struct tmpl_build *build, const struct tmpl_value *value,
                     const struct tmpl_json_style *style, unsigned depth);

static bool put_json_list(struct tmpl_build *build, const struct tmpl_list *list,
                          const struct tmpl_json_style *style, unsigned depth) {
    bool fine = uqff_tmpl_put(build, TMPL_TEXT("["));
    for (size_t i = 0; fine && i < list->count; i++) {
        fine = put_break(build, style, depth, i == 0, false) &&
               put_json(build, &list->items[i], style, depth + 1);
    }
    return fine && (list->count == 0 || put_break(build, style, depth, false, true)) &&
           uqff_tmpl_put(build, TMPL_TEXT("]"));
}

/* An index of the entries in the order in which they are written. Sorted by insertion, for the keys
 * of one mapping are few; what is moved is paid for in steps. */
static const size_t *sorted_keys(struct tmpl_build *build, const struct tmpl_dict *dict) {
    size_t *order = uqff_tmpl_take(build->run, build->at, dict->count + 1, sizeof *order);
    for (size_t i = 0; order != NULL && i < dict->count; i++) {
        size_t k = i;
        while (k > 0 &&
               uqff_tmpl_collate(dict->entries[order[k - 1]].key, dict->entries[i].key) > 0) {
            order[k] = order[k - 1];
            k--;
        }
        order[k] = i;
        if (!uqff_tmpl_step(build->run, build->at,
                            1 + (i - k + 1) * (8 + tmpl_weight(dict->entries[i].key)) / 64)) {
            return NULL;
        }
    }
    return order;
}

static bool put_json_dict(struct tmpl_build *build, const struct tmpl_dict *dict,
                          const struct tmpl_json_style *style, unsigned depth) {
    const size_t *order = NULL;
    if (style->sorted && (order = sorted_keys(build, dict)) == NULL) {
        return false;
    }
    bool fine = uqff_tmpl_put(build, TMPL_TEXT("{"));
    for (size_t i = 0; fine && i < dict->count; i++) {
        const struct tmpl_entry *entry = &dict->entries[order != NULL ? order[i] : i];
        fine = put_break(build, style, depth, i == 0, false) &&
               put_json_string(build, entry->key, style->ascii) &&
               uqff_tmpl_put(build, style->key) && put_json(build, &entry->value, style, depth + 1);
    }
    return fine && (dict->count == 0 || put_break(build, style, depth, false, true)) &&
           uqff_tmpl_put(build, TMPL_TEXT("}"));
}

static bool put_json(struct tmpl_build *build, const struct tmpl_value *value,
                     const struct tmpl_json_style *style, unsigned depth) {
    char number[TMPL_NUMBER_TEXT];
    if (!uqff_tmpl_step(build->run, build->at, 1)) {
        return false;
    }
    if (depth > UQFF_TEMPLATE_DEPTH) {
        return uqff_tmpl_fail(build->run, build->at, UQFF_E_LIMIT,
                              "a value nested more than %d deep, which is the limit",
                              UQFF_TEMPLATE_DEPTH);
    }
    switch (value->kind) {
    case TMPL_UNDEFINED:
        return uqff_tmpl_put(build, style->undefined ? TMPL_TEXT("undefined") : TMPL_TEXT("null"));
    case TMPL_NONE:
        return uqff_tmpl_put(build, TMPL_TEXT("null"));
    case TMPL_BOOL:
        return uqff_tmpl_put(build, value->as.truth ? TMPL_TEXT("true") : TMPL_TEXT("false"));
    case TMPL_INT:
    case TMPL_FLOAT:
        if (!isfinite(value->as.number)) {
            return uqff_tmpl_put(build, TMPL_TEXT("null"));
        }
        return uqff_tmpl_put(build, tmpl_text(number, uqff_tmpl_number(value->as.number, number)));
    case TMPL_STRING:
        return put_json_string(build, value->as.text, style->ascii);
    case TMPL_LIST:
        return put_json_list(build, value->as.list, style, depth);
    case TMPL_DICT:
    case TMPL_NAMESPACE:
        return put_json_dict(build, value->as.dict, style, depth);
    default:
        return uqff_tmpl_fail(build->run, build->at, UQFF_E_UNSUPPORTED, "%s has no printed form",
                              uqff_tmpl_kind_name(value->kind));
    }
}

bool uqff_tmpl_json(struct tmpl_build *build, const struct tmpl_value *value,
                    const struct tmpl_json_style *style) {
    return put_json(build, value, style, 0);
}

/* ---- printing -------------------------------------------------------------------------------- */

bool uqff_tmpl_print(struct tmpl_run *run, const struct tmpl_node *at,
                     const struct tmpl_value *value, struct tmpl_text *out) {
    static const struct tmpl_json_style style = {
        .undefined = true, .item = {", ", 2}, .key = {": ", 2}};
    struct tmpl_build build = {.run = run, .at = at};
    char number[TMPL_NUMBER_TEXT];
    switch (value->kind) {
    case TMPL_UNDEFINED:
    case TMPL_NONE:
        *out = TMPL_TEXT("");
        return true;
    case TMPL_STRING:
        *out = value->as.text;
        return true;
    case TMPL_INT:
    case TMPL_FLOAT: {
        size_t n = value->kind == TMPL_INT ? uqff_tmpl_number(value->as.number, number)
                                           : uqff_tmpl_float(value->as.number, number);
        if (!uqff_tmpl_put(&build, tmpl_text(number, n))) {
            return false;
        }
        break;
    }
    default:
        if (!uqff_tmpl_json(&build, value, &style)) {
            return false;
        }
    }
    *out = tmpl_built(&build);
    return true;
}

bool uqff_tmpl_as_text(struct tmpl_run *run, const struct tmpl_node *at,
                       const struct tmpl_value *value, struct tmpl_text *out) {
    struct tmpl_build build = {.run = run, .at = at};
    char number[TMPL_NUMBER_TEXT];
    switch (value->kind) {
    case TMPL_UNDEFINED:
    case TMPL_NONE:
        *out = TMPL_TEXT("undefined");
        return true;
    case TMPL_INT:
    case TMPL_FLOAT: /* 2.0 is "2" here: it is JavaScript's number that is written */
        if (!uqff_tmpl_put(&build, tmpl_text(number, uqff_tmpl_number(value->as.number, number)))) {
            return false;
        }
        break;
    case TMPL_LIST:
    case TMPL_TUPLE:
        for (size_t i = 0; i < value->as.list->count; i++) {
            const struct tmpl_value *item = &value->as.list->items[i];
            struct tmpl_text text = TMPL_TEXT("undefined");
            bool absent = item->kind == TMPL_UNDEFINED || item->kind == TMPL_NONE;
            if (!uqff_tmpl_step(run, at, 1) ||
                (!absent && !uqff_tmpl_print(run, at, item, &text)) ||
                (i > 0 && !uqff_tmpl_put(&build, TMPL_TEXT(","))) || !uqff_tmpl_put(&build, text)) {
                return false;
            }
        }
        break;
    case TMPL_DICT:
    case TMPL_NAMESPACE:
        *out = TMPL_TEXT("[object Map]");
        return true;
    default:
        return uqff_tmpl_print(run, at, value, out);
    }
    *out = tmpl_built(&build);
    return true;
}
