/* Chat templates: operators. Equality is JavaScript's loose one, which converts. */
#include <math.h>

#include "validation/template.h"

/* ---- equality -------------------------------------------------------------------------------- */

static bool is_absent(const struct tmpl_value *value) {
    return value->kind == TMPL_UNDEFINED || value->kind == TMPL_NONE;
}

/* The same thing, without conversion: lists and mappings are equal only to themselves. */
bool uqff_tmpl_identical(const struct tmpl_value *a, const struct tmpl_value *b) {
    if (is_absent(a) || is_absent(b)) {
        return is_absent(a) && is_absent(b);
    }
    if (tmpl_is_number(a) && tmpl_is_number(b)) {
        return a->as.number == b->as.number;
    }
    if (tmpl_is_list(a) && tmpl_is_list(b)) {
        return a->as.list == b->as.list;
    }
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case TMPL_BOOL:
        return a->as.truth == b->as.truth;
    case TMPL_STRING:
        return uqff_tmpl_same_text(a->as.text, b->as.text);
    case TMPL_FUNCTION:
        return a->as.function == b->as.function;
    default:
        return a->as.dict == b->as.dict;
    }
}

static bool is_object(const struct tmpl_value *value) {
    return tmpl_is_list(value) || value->kind == TMPL_DICT || value->kind == TMPL_NAMESPACE;
}

/* What a value is when it is compared with something of another kind. */
static bool primitive(struct tmpl_run *run, const struct tmpl_node *at,
                      const struct tmpl_value *value, struct tmpl_value *out) {
    *out = *value;
    if (value->kind == TMPL_BOOL) {
        *out = tmpl_int(value->as.truth);
    } else if (is_object(value)) {
        struct tmpl_text text;
        if (!uqff_tmpl_as_text(run, at, value, &text)) {
            return false;
        }
        *out = tmpl_string(text);
    }
    return true;
}

bool uqff_tmpl_equal(struct tmpl_run *run, const struct tmpl_node *at, const struct tmpl_value *a,
                     const struct tmpl_value *b, bool *out) {
    struct tmpl_value x, y;
    if (!uqff_tmpl_step(run, at, tmpl_compare_weight(a, b))) {
        return false;
    }
    bool same_kind = a->kind == b->kind || (tmpl_is_number(a) && tmpl_is_number(b)) ||
                     (is_object(a) && is_object(b));
    if (same_kind || is_absent(a) || is_absent(b) || a->kind == TMPL_FUNCTION ||
        b->kind == TMPL_FUNCTION) {
        *out = uqff_tmpl_identical(a, b);
        return true;
    }
    if (!primitive(run, at, a, &x) || !primitive(run, at, b, &y)) {
        return false;
    }
    if (x.kind == TMPL_STRING && y.kind == TMPL_STRING) {
        *out = uqff_tmpl_same_text(x.as.text, y.as.text);
        return true;
    }
    if (!uqff_tmpl_step(run, at, tmpl_compare_weight(&x, &y))) {
        return false;
    }
    double p = x.kind == TMPL_STRING ? uqff_tmpl_to_number(x.as.text) : x.as.number;
    double q = y.kind == TMPL_STRING ? uqff_tmpl_to_number(y.as.text) : y.as.number;
    *out = p == q;
    return true;
}

/* ---- membership ------------------------------------------------------------------------------ */

static bool refuse(struct tmpl_run *run, const struct tmpl_node *at, enum tmpl_operator op,
                   const struct tmpl_value *a, const struct tmpl_value *b) {
    static const char *const names[] = {
        [TMPL_ADD] = "+",         [TMPL_SUBTRACT] = "-",  [TMPL_JOIN] = "~",
        [TMPL_MULTIPLY] = "*",    [TMPL_DIVIDE] = "/",    [TMPL_FLOOR] = "//",
        [TMPL_REMAINDER] = "%",   [TMPL_POWER] = "**",    [TMPL_EQUAL] = "==",
        [TMPL_UNEQUAL] = "!=",    [TMPL_LESS] = "<",      [TMPL_MORE] = ">",
        [TMPL_AT_MOST] = "<=",    [TMPL_AT_LEAST] = ">=", [TMPL_IN] = "in",
        [TMPL_NOT_IN] = "not in",
    };
    return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT, "'%s' between %s and %s", names[op],
                          uqff_tmpl_kind_name(a->kind), uqff_tmpl_kind_name(b->kind));
}

bool uqff_tmpl_contains(struct tmpl_run *run, const struct tmpl_node *at,
                        const struct tmpl_value *item, const struct tmpl_value *in, bool *out) {
    *out = false;
    if (in->kind == TMPL_UNDEFINED) { /* nothing is in what is not there */
        return true;
    }
    if (is_absent(item) || in->kind == TMPL_NONE) {
        return refuse(run, at, TMPL_IN, item, in);
    }
    if (tmpl_is_list(in) && !tmpl_is_list(item)) {
        if (!uqff_tmpl_step(run, at, in->as.list->count / 8)) {
            return false;
        }
        for (size_t i = 0; i < in->as.list->count && !*out; i++) {
            const struct tmpl_value *other = &in->as.list->items[i];
            *out = uqff_tmpl_identical(other, item);
            if (!uqff_tmpl_step(run, at, tmpl_compare_weight(other, item))) {
                return false;
            }
        }
        return true;
    }
    if (item->kind == TMPL_STRING && in->kind == TMPL_STRING) {
        *out = uqff_tmpl_find(in->as.text, item->as.text, 0) != SIZE_MAX;
        return uqff_tmpl_step(run, at, tmpl_weight(in->as.text));
    }
    if (item->kind == TMPL_STRING && in->kind == TMPL_DICT) {
        *out = uqff_tmpl_dict_get(run, in->as.dict, item->as.text) != NULL;
        return run->code == UQFF_OK;
    }
    return refuse(run, at, TMPL_IN, item, in);
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

static bool compare(enum tmpl_operator op, double a, double b) {
    switch (op) {
    case TMPL_LESS:
        return a < b;
    case TMPL_MORE:
        return a > b;
    case TMPL_AT_MOST:
        return a <= b;
    default:
        return a >= b;
    }
}

/* a^n by squaring is exact as long as the result is; pow() does the rest. */
static double power(double a, double b) {
    if (b == floor(b) && fabs(b) <= 64) {
        double result = 1, square = a;
        for (unsigned n = (unsigned)fabs(b); n > 0; n >>= 1) {
            result = n & 1 ? result * square : result;
            square *= square;
        }
        if (b >= 0 && fabs(result) < 0x1p53 && result == floor(result)) {
            return result;
        }
    }
    return pow(a, b);
}

static bool numbers(struct tmpl_run *run, const struct tmpl_node *at, enum tmpl_operator op,
                    const struct tmpl_value *left, const struct tmpl_value *right,
                    struct tmpl_value *out) {
    double a = left->as.number, b = right->as.number, result;
    bool is_int = left->kind == TMPL_INT && right->kind == TMPL_INT;
    switch (op) {
    case TMPL_ADD:
        result = a + b;
        break;
    case TMPL_SUBTRACT:
        result = a - b;
        break;
    case TMPL_MULTIPLY:
        result = a * b;
        break;
    case TMPL_DIVIDE:
        result = a / b;
        is_int = false;
        break;
    case TMPL_FLOOR:
        result = floor(a / b);
        break;
    case TMPL_REMAINDER: /* takes the sign of the dividend */
        result = fmod(a, b);
        break;
    case TMPL_POWER:
        if (a == 0 && b < 0) {
            return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT, "zero to a negative power");
        }
        result = power(a, b);
        is_int = is_int && b >= 0;
        if (!isfinite(result)) {
            return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT,
                                  "a power that is not a finite real number");
        }
        break;
    default:
        *out = tmpl_bool(compare(op, a, b));
        return true;
    }
    *out = is_int ? tmpl_int(result) : tmpl_float(result);
    return true;
}

static bool join(struct tmpl_run *run, const struct tmpl_node *at, const struct tmpl_value *a,
                 const struct tmpl_value *b, struct tmpl_value *out) {
    struct tmpl_text left, right;
    struct tmpl_build build = {.run = run, .at = at};
    if (!uqff_tmpl_as_text(run, at, a, &left) || !uqff_tmpl_as_text(run, at, b, &right) ||
        !uqff_tmpl_put(&build, left) || !uqff_tmpl_put(&build, right)) {
        return false;
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

static bool lists(struct tmpl_run *run, const struct tmpl_node *at, const struct tmpl_list *a,
                  const struct tmpl_list *b, struct tmpl_value *out) {
    if (!uqff_tmpl_list_new(run, at, a->count + b->count, out)) {
        return false;
    }
    for (size_t i = 0; i < a->count + b->count; i++) {
        out->as.list->items[i] = i < a->count ? a->items[i] : b->items[i - a->count];
    }
    out->as.list->count = a->count + b->count;
    return true;
}

/* "-" * 20 */
static bool repeat(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                   double times, struct tmpl_value *out) {
    struct tmpl_build build = {.run = run, .at = at};
    for (double i = 0; i < times && text.size > 0; i++) {
        if (!uqff_tmpl_step(run, at, 1) || !uqff_tmpl_put(&build, text)) {
            return false;
        }
    }
    *out = tmpl_string(tmpl_built(&build));
    return true;
}

static bool strings(struct tmpl_run *run, const struct tmpl_node *at, enum tmpl_operator op,
                    const struct tmpl_value *a, const struct tmpl_value *b,
                    struct tmpl_value *out) {
    if (op == TMPL_MULTIPLY && b->kind == TMPL_INT) {
        return repeat(run, at, a->as.text, b->as.number, out);
    }
    if (b->kind == TMPL_STRING && op >= TMPL_LESS && op <= TMPL_AT_LEAST) {
        *out = tmpl_bool(compare(op, uqff_tmpl_order(a->as.text, b->as.text), 0));
        return uqff_tmpl_step(run, at, tmpl_compare_weight(a, b));
    }
    return refuse(run, at, op, a, b);
}

static bool is_numeric(const struct tmpl_value *value) {
    return tmpl_is_number(value) || value->kind == TMPL_BOOL;
}

bool uqff_tmpl_operate(struct tmpl_run *run, const struct tmpl_node *at, enum tmpl_operator op,
                       const struct tmpl_value *a, const struct tmpl_value *b,
                       struct tmpl_value *out) {
    bool truth;
    if (op == TMPL_EQUAL || op == TMPL_UNEQUAL) {
        if (!uqff_tmpl_equal(run, at, a, b, &truth)) {
            return false;
        }
        *out = tmpl_bool(truth == (op == TMPL_EQUAL));
        return true;
    }
    if (op == TMPL_IN || op == TMPL_NOT_IN) {
        if (!uqff_tmpl_contains(run, at, a, b, &truth)) {
            return false;
        }
        *out = tmpl_bool(truth == (op == TMPL_IN));
        return true;
    }
    if (is_absent(a) || is_absent(b)) {
        return refuse(run, at, op, a, b);
    }
    if (op == TMPL_JOIN) {
        return join(run, at, a, b, out);
    }
    if (tmpl_is_number(a) && tmpl_is_number(b)) {
        return numbers(run, at, op, a, b, out);
    }
    if (op == TMPL_POWER && is_numeric(a) && is_numeric(b)) { /* the one that takes booleans */
        struct tmpl_value x, y;
        return primitive(run, at, a, &x) && primitive(run, at, b, &y) &&
               numbers(run, at, op, &x, &y, out);
    }
    if (op == TMPL_ADD) {
        if (tmpl_is_list(a) && tmpl_is_list(b)) {
            return lists(run, at, a->as.list, b->as.list, out);
        }
        if (a->kind == TMPL_STRING || b->kind == TMPL_STRING) {
            return join(run, at, a, b, out);
        }
    }
    return a->kind == TMPL_STRING ? strings(run, at, op, a, b, out) : refuse(run, at, op, a, b);
}
