/* Chat templates: evaluation of expressions. */
#include "validation/template.h"

static bool lookup(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                   struct tmpl_value *out) {
    for (; scope != NULL; scope = scope->parent) {
        const struct tmpl_value *found = uqff_tmpl_dict_get(run, &scope->names, node->name);
        if (found != NULL) {
            *out = *found;
            return true;
        }
        if (run->code != UQFF_OK || !uqff_tmpl_step(run, node, 1)) {
            return false;
        }
    }
    *out = tmpl_undefined();
    return true;
}

static bool eval_items(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                       struct tmpl_value *out) {
    struct tmpl_value item;
    if (!uqff_tmpl_list_new(run, node, 0, out)) {
        return false;
    }
    for (const struct tmpl_node *child = node->list; child != NULL; child = child->next) {
        if (!uqff_tmpl_eval(run, child, scope, &item) ||
            !uqff_tmpl_list_add(run, child, out->as.list, item)) {
            return false;
        }
    }
    out->kind = node->kind == TMPL_LIST_OF ? TMPL_LIST : TMPL_TUPLE;
    return true;
}

static bool eval_dict(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                      struct tmpl_value *out) {
    struct tmpl_value key, value;
    if (!uqff_tmpl_dict_new(run, node, out)) {
        return false;
    }
    for (const struct tmpl_node *pair = node->list; pair != NULL; pair = pair->next) {
        if (!uqff_tmpl_eval(run, pair->a, scope, &key)) {
            return false;
        }
        if (key.kind != TMPL_STRING) {
            return uqff_tmpl_fail(run, pair, UQFF_E_ARGUMENT, "a key that is %s, not a string",
                                  uqff_tmpl_kind_name(key.kind));
        }
        if (!uqff_tmpl_eval(run, pair->b, scope, &value) ||
            !uqff_tmpl_dict_set(run, pair, out->as.dict, key.as.text, value)) {
            return false;
        }
    }
    return true;
}

/* The value of `and` and `or` is the operand that decides. */
static bool eval_logic(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                       struct tmpl_value *out) {
    for (const struct tmpl_node *child = node->list; child != NULL; child = child->next) {
        if (!uqff_tmpl_eval(run, child, scope, out)) {
            return false;
        }
        if (uqff_tmpl_truth(out) == (node->kind == TMPL_OR)) {
            break;
        }
    }
    return true;
}

static bool eval_sign(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                      struct tmpl_value *out) {
    if (!uqff_tmpl_eval(run, node->a, scope, out)) {
        return false;
    }
    if (out->kind == TMPL_BOOL) {
        *out = tmpl_int(out->as.truth);
    }
    if (!tmpl_is_number(out)) {
        return uqff_tmpl_fail(run, node, UQFF_E_ARGUMENT, "'%c' before %s", node->op,
                              uqff_tmpl_kind_name(out->kind));
    }
    out->as.number = node->op == '-' ? -out->as.number : out->as.number;
    return true;
}

static bool eval_choice(struct tmpl_run *run, const struct tmpl_node *node,
                        struct tmpl_scope *scope, struct tmpl_value *out) {
    if (!uqff_tmpl_eval(run, node->b, scope, out)) {
        return false;
    }
    const struct tmpl_node *chosen = uqff_tmpl_truth(out) ? node->a : node->c;
    *out = tmpl_undefined();
    return chosen == NULL || uqff_tmpl_eval(run, chosen, scope, out);
}

static bool eval_chain(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                       struct tmpl_value *out) {
    struct tmpl_value left, right;
    if (!uqff_tmpl_eval(run, node->a, scope, out)) {
        return false;
    }
    for (const struct tmpl_node *step = node->list; step != NULL; step = step->next) {
        left = *out;
        if (!uqff_tmpl_eval(run, step->a, scope, &right) || !uqff_tmpl_step(run, step, 1) ||
            !uqff_tmpl_operate(run, step, (enum tmpl_operator)step->op, &left, &right, out)) {
            return false;
        }
    }
    return true;
}

/* ---- behind a value -------------------------------------------------------------------------- */

static bool eval_slice(struct tmpl_run *run, const struct tmpl_node *step, struct tmpl_scope *scope,
                       const struct tmpl_value *value, struct tmpl_value *out) {
    const struct tmpl_node *parts[3] = {step->a, step->b, step->c};
    struct tmpl_value bounds[3];
    for (size_t i = 0; i < 3; i++) {
        bounds[i] = tmpl_undefined();
        if (parts[i] != NULL && !uqff_tmpl_eval(run, parts[i], scope, &bounds[i])) {
            return false;
        }
    }
    return uqff_tmpl_slice(run, step, value, bounds, out);
}

/* Names what was called although it is no function, as far as the tree knows. */
static bool not_callable(struct tmpl_run *run, const struct tmpl_node *node,
                         const struct tmpl_node *before, const struct tmpl_node *step,
                         const struct tmpl_value *callee, const struct tmpl_value *owner) {
    const struct tmpl_node *named = before != NULL ? before : node->a;
    int length = named->name.size < 60 ? (int)named->name.size : 60;
    if (callee->kind != TMPL_UNDEFINED || named->name.size == 0) {
        return uqff_tmpl_fail(run, step, UQFF_E_ARGUMENT, "%s is called, which is no function",
                              uqff_tmpl_kind_name(callee->kind));
    }
    if (before == NULL) {
        return uqff_tmpl_fail(run, named, UQFF_E_UNSUPPORTED, "function '%.*s' is not known",
                              length, named->name.data);
    }
    return uqff_tmpl_fail(run, named, UQFF_E_UNSUPPORTED, "method '%.*s' of %s is not known",
                          length, named->name.data, uqff_tmpl_kind_name(owner->kind));
}

static bool eval_reach(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                       struct tmpl_value *out) {
    const struct tmpl_node *before = NULL;
    struct tmpl_value value, owner = tmpl_undefined(), index;
    struct tmpl_args args;
    if (!uqff_tmpl_eval(run, node->a, scope, out)) {
        return false;
    }
    for (const struct tmpl_node *step = node->list; step != NULL; step = step->next) {
        bool fine = uqff_tmpl_step(run, step, 1);
        value = *out;
        if (!fine) {
            return false;
        }
        switch (step->kind) {
        case TMPL_MEMBER:
            fine = uqff_tmpl_member(run, step, &value, step->name, out);
            break;
        case TMPL_INDEX:
            fine = uqff_tmpl_eval(run, step->a, scope, &index) &&
                   uqff_tmpl_index(run, step, &value, &index, out);
            break;
        case TMPL_SLICE:
            fine = eval_slice(run, step, scope, &value, out);
            break;
        default:
            if (value.kind != TMPL_FUNCTION) {
                return not_callable(run, node, before, step, &value, &owner);
            }
            fine = uqff_tmpl_evaluate_args(run, step->list, scope, &args) &&
                   uqff_tmpl_call(run, step, &value, &args, scope, out);
        }
        if (!fine) {
            return false;
        }
        owner = value;
        before = step;
    }
    return true;
}

bool uqff_tmpl_apply_filters(struct tmpl_run *run, const struct tmpl_node *list,
                             struct tmpl_scope *scope, struct tmpl_value *value) {
    struct tmpl_args args;
    for (; list != NULL; list = list->next) {
        if (!uqff_tmpl_step(run, list, 1) ||
            !uqff_tmpl_evaluate_args(run, list->list, scope, &args) ||
            !uqff_tmpl_apply_filter(run, list, list->name, &args, value)) {
            return false;
        }
    }
    return true;
}

static bool eval_tests(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                       struct tmpl_value *out) {
    struct tmpl_args args;
    bool truth;
    if (!uqff_tmpl_eval(run, node->a, scope, out)) {
        return false;
    }
    for (const struct tmpl_node *test = node->list; test != NULL; test = test->next) {
        if (!uqff_tmpl_evaluate_args(run, test->list, scope, &args) ||
            !uqff_tmpl_apply_test(run, test, test->name, &args, out, &truth)) {
            return false;
        }
        *out = tmpl_bool(truth == (test->op != 'n'));
    }
    return true;
}

static bool eval_kind(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                      struct tmpl_value *out) {
    switch (node->kind) {
    case TMPL_LIST_OF:
    case TMPL_TUPLE_OF:
        return eval_items(run, node, scope, out);
    case TMPL_DICT_OF:
        return eval_dict(run, node, scope, out);
    case TMPL_AND:
    case TMPL_OR:
        return eval_logic(run, node, scope, out);
    case TMPL_NOT:
        if (!uqff_tmpl_eval(run, node->a, scope, out)) {
            return false;
        }
        *out = tmpl_bool(uqff_tmpl_truth(out) == (node->op == 't'));
        return true;
    case TMPL_SIGN:
        return eval_sign(run, node, scope, out);
    case TMPL_CHOICE:
        return eval_choice(run, node, scope, out);
    case TMPL_CHAIN:
        return eval_chain(run, node, scope, out);
    case TMPL_REACH:
        return eval_reach(run, node, scope, out);
    case TMPL_FILTERS:
        return uqff_tmpl_eval(run, node->a, scope, out) &&
               uqff_tmpl_apply_filters(run, node->list, scope, out);
    default: /* TMPL_TESTS: the parser makes no other */
        return eval_tests(run, node, scope, out);
    }
}

bool uqff_tmpl_eval(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                    struct tmpl_value *out) {
    if (!uqff_tmpl_step(run, node, 1)) {
        return false;
    }
    if (node->kind == TMPL_VALUE) {
        *out = node->value;
        return true;
    }
    if (node->kind == TMPL_NAME) {
        return lookup(run, node, scope, out);
    }
    if (++run->depth > TMPL_NEST_LIMIT) {
        return uqff_tmpl_fail(run, node, UQFF_E_LIMIT,
                              "evaluations nested more than %d deep, which is the limit",
                              TMPL_NEST_LIMIT);
    }
    bool fine = eval_kind(run, node, scope, out);
    run->depth--;
    return fine;
}
