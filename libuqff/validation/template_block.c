/* Chat templates: execution of statements. */
#include "validation/template.h"

static struct tmpl_scope *inner_scope(struct tmpl_run *run, const struct tmpl_node *at,
                                      struct tmpl_scope *parent) {
    struct tmpl_scope *scope = uqff_tmpl_take(run, at, 1, sizeof *scope);
    if (scope != NULL) {
        scope->parent = parent;
    }
    return scope;
}

static bool assign(struct tmpl_run *run, const struct tmpl_node *target, struct tmpl_scope *scope,
                   struct tmpl_value value) {
    return uqff_tmpl_dict_set(run, target, &scope->names, target->name, value);
}

/* One target takes the value; several share out a list. */
static bool unpack(struct tmpl_run *run, const struct tmpl_node *targets, struct tmpl_scope *scope,
                   struct tmpl_value value) {
    if (targets->next == NULL) {
        return assign(run, targets, scope, value);
    }
    size_t count = 0;
    for (const struct tmpl_node *target = targets; target != NULL; target = target->next) {
        count++;
    }
    if (!tmpl_is_list(&value)) {
        return uqff_tmpl_fail(run, targets, UQFF_E_ARGUMENT, "%s is to be shared out to %zu names",
                              uqff_tmpl_kind_name(value.kind), count);
    }
    if (value.as.list->count != count) {
        return uqff_tmpl_fail(run, targets, UQFF_E_ARGUMENT,
                              "a list of %zu items is to be shared out to %zu names",
                              value.as.list->count, count);
    }
    const struct tmpl_node *target = targets;
    for (size_t i = 0; i < count; i++, target = target->next) {
        if (!assign(run, target, scope, value.as.list->items[i])) {
            return false;
        }
    }
    return true;
}

bool uqff_tmpl_capture(struct tmpl_run *run, const struct tmpl_node *at,
                       const struct tmpl_node *body, struct tmpl_scope *scope,
                       struct tmpl_text *out, bool *captured) {
    size_t start = run->out.size;
    if (!uqff_tmpl_block(run, body, scope)) {
        return false;
    }
    size_t n = run->out.size - start;
    char *copy = uqff_tmpl_take(run, at, n + 1, 1);
    if (copy == NULL) {
        return false;
    }
    if (n > 0) {
        memcpy(copy, run->out.data + start, n);
    }
    run->out.size = start;
    *out = tmpl_text(copy, n);
    *captured = run->control == TMPL_GO_ON;
    return true;
}

/* ---- statements ------------------------------------------------------------------------------ */

static bool run_print(struct tmpl_run *run, const struct tmpl_node *node,
                      struct tmpl_scope *scope) {
    struct tmpl_value value;
    struct tmpl_text text;
    return uqff_tmpl_eval(run, node->a, scope, &value) &&
           uqff_tmpl_print(run, node, &value, &text) && uqff_tmpl_emit(run, node, text);
}

static bool run_if(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope) {
    struct tmpl_value value;
    for (const struct tmpl_node *branch = node->list; branch != NULL; branch = branch->next) {
        if (!uqff_tmpl_eval(run, branch->a, scope, &value)) {
            return false;
        }
        if (uqff_tmpl_truth(&value)) {
            return uqff_tmpl_block(run, branch->b, scope);
        }
    }
    return uqff_tmpl_block(run, node->b, scope);
}

/* What is looped over, as a list of items that stays as it is whatever the body does. */
static bool loop_items(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                       struct tmpl_list *items) {
    struct tmpl_value value;
    if (!uqff_tmpl_eval(run, node->a, scope, &value)) {
        return false;
    }
    if (value.kind == TMPL_DICT) {
        for (size_t i = 0; i < value.as.dict->count; i++) {
            if (!uqff_tmpl_list_add(run, node, items, tmpl_string(value.as.dict->entries[i].key))) {
                return false;
            }
        }
    } else if (tmpl_is_list(&value)) {
        *items = *value.as.list;
        items->capacity = items->count;
    } else {
        return uqff_tmpl_fail(run, node->a, UQFF_E_ARGUMENT,
                              "a loop over %s, expected a list or a mapping",
                              uqff_tmpl_kind_name(value.kind));
    }
    if (node->d == NULL) {
        return true;
    }
    struct tmpl_list all = *items;
    struct tmpl_scope *inner = inner_scope(run, node, scope);
    *items = (struct tmpl_list){0};
    for (size_t i = 0; i < all.count; i++) {
        if (inner == NULL || !unpack(run, node->list, inner, all.items[i]) ||
            !uqff_tmpl_eval(run, node->d, inner, &value) ||
            (uqff_tmpl_truth(&value) && !uqff_tmpl_list_add(run, node, items, all.items[i]))) {
            return false;
        }
    }
    return true;
}

/* The variable `loop` of one turn. */
static bool set_loop(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                     const struct tmpl_list *items, size_t i) {
    size_t n = items->count;
    const struct tmpl_entry members[] = {
        {TMPL_TEXT("index"), tmpl_int((double)(i + 1))},
        {TMPL_TEXT("index0"), tmpl_int((double)i)},
        {TMPL_TEXT("revindex"), tmpl_int((double)(n - i))},
        {TMPL_TEXT("revindex0"), tmpl_int((double)(n - i - 1))},
        {TMPL_TEXT("first"), tmpl_bool(i == 0)},
        {TMPL_TEXT("last"), tmpl_bool(i == n - 1)},
        {TMPL_TEXT("length"), tmpl_int((double)n)},
        {TMPL_TEXT("previtem"), i > 0 ? items->items[i - 1] : tmpl_undefined()},
        {TMPL_TEXT("nextitem"), i + 1 < n ? items->items[i + 1] : tmpl_undefined()},
    };
    struct tmpl_value loop;
    if (!uqff_tmpl_dict_new(run, node, &loop)) {
        return false;
    }
    size_t count = sizeof members / sizeof *members;
    struct tmpl_entry *entries = uqff_tmpl_take(run, node, count, sizeof *entries);
    if (entries == NULL) {
        return false;
    }
    for (size_t k = 0; k < count; k++) {
        entries[k] = members[k];
    }
    *loop.as.dict = (struct tmpl_dict){entries, count, count};
    return uqff_tmpl_dict_set(run, node, &scope->names, TMPL_TEXT("loop"), loop);
}

static bool run_for(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope) {
    struct tmpl_list items = {0};
    struct tmpl_scope *inner = inner_scope(run, node, scope);
    bool finished = false; /* one turn that was not cut short, which is what `else` goes by */
    if (inner == NULL || !loop_items(run, node, scope, &items)) {
        return false;
    }
    for (size_t i = 0; i < items.count; i++) {
        size_t start = run->out.size;
        if (!uqff_tmpl_step(run, node, 1) ||
            (run->tmpl->mentions_loop && !set_loop(run, node, inner, &items, i)) ||
            !unpack(run, node->list, inner, items.items[i]) ||
            !uqff_tmpl_block(run, node->b, inner)) {
            return false;
        }
        bool broken = run->control == TMPL_BROKEN;
        /* As the reference has it, a turn that is cut short leaves nothing of what it printed. */
        run->out.size = run->control == TMPL_GO_ON ? run->out.size : start;
        finished = finished || run->control == TMPL_GO_ON;
        run->control = TMPL_GO_ON;
        if (broken) {
            break;
        }
    }
    return finished || uqff_tmpl_block(run, node->c, inner);
}

/* The value of a set statement; *given is false when a block was left before its end. */
static bool set_value(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                      struct tmpl_value *out, bool *given) {
    struct tmpl_text text;
    *given = true;
    if (node->a != NULL) {
        return uqff_tmpl_eval(run, node->a, scope, out);
    }
    if (!uqff_tmpl_capture(run, node, node->b, scope, &text, given)) {
        return false;
    }
    *out = tmpl_string(text);
    return !*given || uqff_tmpl_apply_filters(run, node->d, scope, out);
}

static bool run_set(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope) {
    struct tmpl_value value, object;
    bool given;
    if (!set_value(run, node, scope, &value, &given) || !given) {
        return run->code == UQFF_OK;
    }
    if (node->kind == TMPL_SET) {
        return unpack(run, node->list, scope, value);
    }
    if (!uqff_tmpl_eval(run, node->c, scope, &object)) {
        return false;
    }
    if (object.kind != TMPL_NAMESPACE) {
        return uqff_tmpl_fail(run, node->c, UQFF_E_ARGUMENT,
                              "an attribute of %s is to be set, expected a namespace",
                              uqff_tmpl_kind_name(object.kind));
    }
    return uqff_tmpl_dict_set(run, node, object.as.dict, node->name, value);
}

static bool new_macro(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                      struct tmpl_value *out) {
    struct tmpl_function *function = uqff_tmpl_take(run, node, 1, sizeof *function);
    if (function == NULL) {
        return false;
    }
    function->name = "macro";
    function->macro = node;
    function->scope = scope;
    *out = (struct tmpl_value){.kind = TMPL_FUNCTION, .as.function = function};
    return true;
}

/* {% call f() %}: the body is what `caller` gives to whatever f calls, and sees the scope it stands
 * in. */
static bool run_call(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope) {
    struct tmpl_value caller, value;
    struct tmpl_text text;
    struct tmpl_scope *inner = inner_scope(run, node, scope);
    return inner != NULL && new_macro(run, node, scope, &caller) &&
           uqff_tmpl_dict_set(run, node, &inner->names, TMPL_TEXT("caller"), caller) &&
           uqff_tmpl_eval(run, node->a, inner, &value) &&
           uqff_tmpl_print(run, node, &value, &text) && uqff_tmpl_emit(run, node, text);
}

static bool run_filtered(struct tmpl_run *run, const struct tmpl_node *node,
                         struct tmpl_scope *scope) {
    struct tmpl_value value;
    struct tmpl_text text;
    bool captured;
    if (!uqff_tmpl_capture(run, node, node->b, scope, &text, &captured) || !captured) {
        return run->code == UQFF_OK;
    }
    value = tmpl_string(text);
    return uqff_tmpl_apply_filters(run, node->d, scope, &value) &&
           uqff_tmpl_print(run, node, &value, &text) && uqff_tmpl_emit(run, node, text);
}

static bool run_statement(struct tmpl_run *run, const struct tmpl_node *node,
                          struct tmpl_scope *scope) {
    struct tmpl_value macro;
    switch (node->kind) {
    case TMPL_DATA:
        return uqff_tmpl_emit(run, node, node->value.as.text);
    case TMPL_PRINT:
        return run_print(run, node, scope);
    case TMPL_IF:
        return run_if(run, node, scope);
    case TMPL_FOR:
        return run_for(run, node, scope);
    case TMPL_SET:
    case TMPL_SET_ATTR:
        return run_set(run, node, scope);
    case TMPL_MACRO:
        return new_macro(run, node, NULL, &macro) &&
               uqff_tmpl_dict_set(run, node, &scope->names, node->name, macro);
    case TMPL_CALLER:
        return run_call(run, node, scope);
    case TMPL_FILTERED:
        return run_filtered(run, node, scope);
    default:
        run->control = node->kind == TMPL_BREAK ? TMPL_BROKEN : TMPL_CONTINUED;
        return true;
    }
}

bool uqff_tmpl_block(struct tmpl_run *run, const struct tmpl_node *list, struct tmpl_scope *scope) {
    if (++run->depth > TMPL_NEST_LIMIT) {
        return uqff_tmpl_fail(run, list, UQFF_E_LIMIT,
                              "evaluations nested more than %d deep, which is the limit",
                              TMPL_NEST_LIMIT);
    }
    for (; list != NULL && run->control == TMPL_GO_ON; list = list->next) {
        if (!uqff_tmpl_step(run, list, 1) || !run_statement(run, list, scope)) {
            return false;
        }
    }
    run->depth--;
    return true;
}
