/* Chat templates: tests, the names behind `is`. */
#include <math.h>

#include "validation/template.h"

static bool yes(struct tmpl_value *out, bool truth) {
    *out = tmpl_bool(truth);
    return true;
}

static bool test_boolean(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_BOOL);
}

static bool test_callable(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_FUNCTION);
}

static bool test_defined(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind != TMPL_UNDEFINED);
}

static bool test_undefined(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_UNDEFINED);
}

static bool test_none(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_NONE);
}

static bool test_true(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_BOOL && call->self.as.truth);
}

static bool test_false(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_BOOL && !call->self.as.truth);
}

static bool test_string(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_STRING);
}

static bool test_number(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, tmpl_is_number(&call->self));
}

static bool test_integer(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_INT);
}

static bool test_float(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_FLOAT);
}

/* Mappings and tuples are not, to the reference. */
static bool test_iterable(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_LIST || call->self.kind == TMPL_STRING);
}

static bool test_mapping(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, call->self.kind == TMPL_DICT);
}

static bool test_sequence(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, tmpl_is_list(&call->self) || call->self.kind == TMPL_STRING ||
                        call->self.kind == TMPL_DICT);
}

static bool parity(struct tmpl_call *call, bool odd, struct tmpl_value *out) {
    if (call->self.kind != TMPL_INT) {
        return uqff_tmpl_not_for(call);
    }
    return yes(out, (fmod(call->self.as.number, 2) != 0) == odd);
}

static bool test_odd(struct tmpl_call *call, struct tmpl_value *out) {
    return parity(call, true, out);
}

static bool test_even(struct tmpl_call *call, struct tmpl_value *out) {
    return parity(call, false, out);
}

static bool in_case(struct tmpl_call *call, bool upper, struct tmpl_value *out) {
    struct tmpl_text text;
    if (call->self.kind != TMPL_STRING) {
        return yes(out, false);
    }
    if (!(upper ? uqff_tmpl_upper : uqff_tmpl_lower)(call->run, call->at, call->self.as.text,
                                                     &text)) {
        return false;
    }
    return yes(out, uqff_tmpl_same_text(text, call->self.as.text));
}

static bool test_lower(struct tmpl_call *call, struct tmpl_value *out) {
    return in_case(call, false, out);
}

static bool test_upper(struct tmpl_call *call, struct tmpl_value *out) {
    return in_case(call, true, out);
}

static bool test_equal(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, uqff_tmpl_identical(&call->self, &call->args.items[0]));
}

static bool test_unequal(struct tmpl_call *call, struct tmpl_value *out) {
    return yes(out, !uqff_tmpl_identical(&call->self, &call->args.items[0]));
}

static bool operate(struct tmpl_call *call, enum tmpl_operator op, struct tmpl_value *out) {
    return uqff_tmpl_operate(call->run, call->at, op, &call->self, &call->args.items[0], out);
}

static bool test_in(struct tmpl_call *call, struct tmpl_value *out) {
    return operate(call, TMPL_IN, out);
}

static bool test_less(struct tmpl_call *call, struct tmpl_value *out) {
    return operate(call, TMPL_LESS, out);
}

static bool test_more(struct tmpl_call *call, struct tmpl_value *out) {
    return operate(call, TMPL_MORE, out);
}

static bool test_at_most(struct tmpl_call *call, struct tmpl_value *out) {
    return operate(call, TMPL_AT_MOST, out);
}

static bool test_at_least(struct tmpl_call *call, struct tmpl_value *out) {
    return operate(call, TMPL_AT_LEAST, out);
}

static bool test_divisible(struct tmpl_call *call, struct tmpl_value *out) {
    struct tmpl_value rest;
    if (!operate(call, TMPL_REMAINDER, &rest)) {
        return false;
    }
    return yes(out, rest.as.number == 0);
}

static const struct tmpl_test tests[] = {
    {"boolean", 0, test_boolean},
    {"callable", 0, test_callable},
    {"defined", 0, test_defined},
    {"divisibleby", 1, test_divisible},
    {"eq", 1, test_equal},
    {"equalto", 1, test_equal},
    {"even", 0, test_even},
    {"false", 0, test_false},
    {"float", 0, test_float},
    {"ge", 1, test_at_least},
    {"gt", 1, test_more},
    {"in", 1, test_in},
    {"integer", 0, test_integer},
    {"iterable", 0, test_iterable},
    {"le", 1, test_at_most},
    {"lower", 0, test_lower},
    {"lt", 1, test_less},
    {"mapping", 0, test_mapping},
    {"ne", 1, test_unequal},
    {"none", 0, test_none},
    {"number", 0, test_number},
    {"odd", 0, test_odd},
    {"sameas", 1, test_equal},
    {"sequence", 0, test_sequence},
    {"string", 0, test_string},
    {"true", 0, test_true},
    {"undefined", 0, test_undefined},
    {"upper", 0, test_upper},
};

const struct tmpl_test *uqff_tmpl_test(struct tmpl_text name) {
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (tmpl_is(name, tests[i].name)) {
            return &tests[i];
        }
    }
    return NULL;
}

bool uqff_tmpl_apply_test(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text name,
                          const struct tmpl_args *args, const struct tmpl_value *value, bool *out) {
    const struct tmpl_test *test = uqff_tmpl_test(name);
    struct tmpl_value truth;
    if (test == NULL) {
        return uqff_tmpl_fail(run, at, UQFF_E_UNSUPPORTED, "test '%.*s' is not known",
                              name.size < 60 ? (int)name.size : 60, name.data);
    }
    struct tmpl_call call = {
        .run = run, .at = at, .name = test->name, .self = *value, .args = *args};
    if (args->count < test->arguments) {
        return uqff_tmpl_bad_argument(&call, "expected something to compare with");
    }
    if (!uqff_tmpl_step(run, at, 1) || !test->native(&call, &truth)) {
        return false;
    }
    *out = truth.as.truth;
    return true;
}
