/* Chat templates: arguments and macros. */
#include "validation/template.h"

/* ---- arguments ------------------------------------------------------------------------------- */

static bool add_named(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_dict *named,
                      struct tmpl_text name, struct tmpl_value value) {
    if (uqff_tmpl_dict_get(run, named, name) != NULL) {
        return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT, "argument '%.*s' is given twice",
                              name.size < 60 ? (int)name.size : 60, name.data);
    }
    return run->code == UQFF_OK && uqff_tmpl_dict_add(run, at, named, name, value);
}

static bool add_argument(struct tmpl_run *run, const struct tmpl_node *node,
                         struct tmpl_value value, struct tmpl_list *items,
                         struct tmpl_dict *named) {
    switch (node->op) {
    case 'p':
        return uqff_tmpl_list_add(run, node, items, value);
    case 'k':
        return add_named(run, node, named, node->name, value);
    case '*':
        if (!tmpl_is_list(&value)) {
            return uqff_tmpl_fail(run, node, UQFF_E_ARGUMENT, "'*' before %s, expected a list",
                                  uqff_tmpl_kind_name(value.kind));
        }
        for (size_t i = 0; i < value.as.list->count; i++) {
            if (!uqff_tmpl_list_add(run, node, items, value.as.list->items[i])) {
                return false;
            }
        }
        return true;
    default:
        if (value.kind != TMPL_DICT) {
            return uqff_tmpl_fail(run, node, UQFF_E_ARGUMENT, "'**' before %s, expected a mapping",
                                  uqff_tmpl_kind_name(value.kind));
        }
        for (size_t i = 0; i < value.as.dict->count; i++) {
            const struct tmpl_entry *entry = &value.as.dict->entries[i];
            if (!add_named(run, node, named, entry->key, entry->value)) {
                return false;
            }
        }
        return true;
    }
}

bool uqff_tmpl_evaluate_args(struct tmpl_run *run, const struct tmpl_node *list,
                             struct tmpl_scope *scope, struct tmpl_args *out) {
    struct tmpl_list items = {0};
    *out = (struct tmpl_args){0};
    for (; list != NULL; list = list->next) {
        struct tmpl_value value;
        if (!uqff_tmpl_eval(run, list->a, scope, &value) ||
            !add_argument(run, list, value, &items, &out->named)) {
            return false;
        }
    }
    out->items = items.items;
    out->count = items.count;
    return true;
}

/* ---- macros ---------------------------------------------------------------------------------- */

static bool bind_rest(struct tmpl_run *run, const struct tmpl_node *at,
                      const struct tmpl_node *macro, const struct tmpl_args *args, size_t place,
                      struct tmpl_dict *unused, struct tmpl_scope *scope) {
    struct tmpl_value rest;
    int length = macro->name.size < 60 ? (int)macro->name.size : 60;
    if (macro->uses & TMPL_USES_VARARGS) {
        if (!uqff_tmpl_list_new(run, at, 0, &rest)) {
            return false;
        }
        for (; place < args->count; place++) {
            if (!uqff_tmpl_list_add(run, at, rest.as.list, args->items[place])) {
                return false;
            }
        }
        if (!uqff_tmpl_dict_set(run, at, &scope->names, TMPL_TEXT("varargs"), rest)) {
            return false;
        }
    } else if (place < args->count) {
        return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT,
                              "macro '%.*s' takes %zu arguments, found %zu", length,
                              macro->name.data, place, args->count);
    }
    if (macro->uses & TMPL_USES_KWARGS) {
        if (!uqff_tmpl_dict_new(run, at, &rest)) {
            return false;
        }
        *rest.as.dict = *unused;
        return uqff_tmpl_dict_set(run, at, &scope->names, TMPL_TEXT("kwargs"), rest);
    }
    if (unused->count > 0) {
        struct tmpl_text name = unused->entries[0].key;
        return uqff_tmpl_fail(run, at, UQFF_E_ARGUMENT,
                              "macro '%.*s' takes no argument '%.*s', or has it already", length,
                              macro->name.data, name.size < 60 ? (int)name.size : 60, name.data);
    }
    return true;
}

/* Gives each parameter its argument by place, by name, or its default, in this order. */
static bool bind(struct tmpl_run *run, const struct tmpl_node *at, const struct tmpl_node *macro,
                 const struct tmpl_args *args, struct tmpl_scope *scope) {
    struct tmpl_dict unused = {0};
    size_t place = 0;
    for (size_t i = 0; i < args->named.count; i++) {
        const struct tmpl_entry *entry = &args->named.entries[i];
        bool used = false;
        size_t k = 0;
        for (const struct tmpl_node *p = macro->list; p != NULL && !used; p = p->next, k++) {
            used = k >= args->count && uqff_tmpl_same_text(p->name, entry->key);
        }
        if (!uqff_tmpl_step(run, at, k) ||
            (!used && !uqff_tmpl_dict_add(run, at, &unused, entry->key, entry->value))) {
            return false;
        }
    }
    for (const struct tmpl_node *param = macro->list; param != NULL; param = param->next) {
        struct tmpl_value value = tmpl_undefined();
        const struct tmpl_value *named = NULL;
        if (place < args->count) {
            value = args->items[place++];
        } else if ((named = uqff_tmpl_dict_get(run, &args->named, param->name)) != NULL) {
            value = *named;
        } else if (run->code != UQFF_OK ||
                   (param->a != NULL && !uqff_tmpl_eval(run, param->a, scope, &value))) {
            return false;
        }
        if (!uqff_tmpl_dict_set(run, at, &scope->names, param->name, value)) {
            return false;
        }
    }
    return bind_rest(run, at, macro, args, place, &unused, scope);
}

bool uqff_tmpl_call(struct tmpl_run *run, const struct tmpl_node *at,
                    const struct tmpl_value *callee, const struct tmpl_args *args,
                    struct tmpl_scope *scope, struct tmpl_value *out) {
    const struct tmpl_function *function = callee->as.function;
    if (function->native != NULL) {
        struct tmpl_call call = {
            .run = run, .at = at, .name = function->name, .self = function->self, .args = *args};
        return function->native(&call, out);
    }
    struct tmpl_scope *inner = uqff_tmpl_take(run, at, 1, sizeof *inner);
    struct tmpl_text text;
    bool captured;
    if (inner == NULL) {
        return false;
    }
    inner->parent = function->scope != NULL ? function->scope : scope;
    if (!bind(run, at, function->macro, args, inner) ||
        !uqff_tmpl_capture(run, at, function->macro->b, inner, &text, &captured)) {
        return false;
    }
    *out = tmpl_string(text);
    return true;
}

/* ---- arguments of functions in C ------------------------------------------------------------- */

const struct tmpl_value *uqff_tmpl_arg(const struct tmpl_call *call, size_t place,
                                       const char *name) {
    if (place < call->args.count) {
        return &call->args.items[place];
    }
    for (size_t i = 0; name != NULL && i < call->args.named.count; i++) {
        if (tmpl_is(call->args.named.entries[i].key, name)) {
            return &call->args.named.entries[i].value;
        }
    }
    return NULL;
}

bool uqff_tmpl_bad_argument(struct tmpl_call *call, const char *complaint) {
    return uqff_tmpl_fail(call->run, call->at, UQFF_E_ARGUMENT, "'%s': %s", call->name, complaint);
}

bool uqff_tmpl_not_for(struct tmpl_call *call) {
    return uqff_tmpl_fail(call->run, call->at, UQFF_E_UNSUPPORTED, "'%s' of %s is not known",
                          call->name, uqff_tmpl_kind_name(call->self.kind));
}

bool uqff_tmpl_flag(struct tmpl_call *call, size_t place, const char *name, bool *out) {
    const struct tmpl_value *value = uqff_tmpl_arg(call, place, name);
    *out = value != NULL && value->kind == TMPL_BOOL && value->as.truth;
    return value == NULL || value->kind == TMPL_BOOL ||
           uqff_tmpl_bad_argument(call, "expected true or false");
}

bool uqff_tmpl_int_arg(struct tmpl_call *call, size_t place, const char *name, double *out) {
    const struct tmpl_value *value = uqff_tmpl_arg(call, place, name);
    if (value == NULL || value->kind == TMPL_NONE) {
        return true;
    }
    *out = value->kind == TMPL_INT ? value->as.number : 0;
    return value->kind == TMPL_INT || uqff_tmpl_bad_argument(call, "expected an integer");
}

bool uqff_tmpl_text_arg(struct tmpl_call *call, size_t place, const char *name,
                        struct tmpl_text *out) {
    const struct tmpl_value *value = uqff_tmpl_arg(call, place, name);
    if (value == NULL) {
        return true;
    }
    *out = value->kind == TMPL_STRING ? value->as.text : TMPL_TEXT("");
    return value->kind == TMPL_STRING || uqff_tmpl_bad_argument(call, "expected a string");
}
