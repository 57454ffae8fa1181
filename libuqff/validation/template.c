/* Chat templates: opening, rendering, and what bounds a rendering. */
#include "validation/template.h"

enum uqff_code uqff_tmpl_verror(const struct uqff_template *tmpl, size_t at, struct uqff_error *err,
                                enum uqff_code code, const char *format, va_list args) {
    size_t line, column;
    code = uqff_vfail(err, code, at, format, args);
    uqff_tmpl_position(tmpl->source, at, &line, &column);
    uqff_error_prefix(err, "%s: line %zu, column %zu", tmpl->where, line, column);
    return code;
}

enum uqff_code uqff_tmpl_error(const struct uqff_template *tmpl, size_t at, struct uqff_error *err,
                               enum uqff_code code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    code = uqff_tmpl_verror(tmpl, at, err, code, format, args);
    va_end(args);
    return code;
}

enum uqff_code uqff_template_open(const char *text, size_t size, const char *where,
                                  struct uqff_template **out, struct uqff_error *err) {
    struct uqff_arena arena = {0};
    struct tmpl_tokens tokens = {0};
    enum uqff_code code = UQFF_OK;
    size_t bad;
    where = where != NULL ? where : "chat template";
    if (size > UQFF_TEMPLATE_SIZE) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: the template has %zu bytes, which is above the limit of %d", where,
                         size, UQFF_TEMPLATE_SIZE);
    }
    if (!uqff_utf8_valid(text, size, &bad)) {
        return uqff_fail(err, UQFF_E_ENCODING, bad, "%s: byte %zu is not UTF-8", where, bad);
    }
    struct uqff_template *tmpl = uqff_arena_alloc(&arena, sizeof *tmpl);
    if (tmpl == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    tmpl->where = uqff_arena_printf(&arena, "%s", where);
    tmpl->source = tmpl_text(uqff_arena_copy(&arena, text, size), size);
    if (tmpl->where == NULL || tmpl->source.data == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    /* The template lies in its own arena, so the arena moves in once nothing else will move. */
    tmpl->arena = arena;
    code = uqff_tmpl_lex(tmpl, &tokens, err);
    if (code == UQFF_OK) {
        struct tmpl_parser parser = {.tmpl = tmpl, .token = tokens.items, .err = err};
        tmpl->body = uqff_tmpl_parse(&parser);
        code = parser.code;
    }
    arena = tmpl->arena;
    if (code == UQFF_OK) {
        *out = tmpl;
        arena = (struct uqff_arena){0};
    }
out:
    uqff_free(tokens.items);
    uqff_arena_free(&arena);
    return code;
}

void uqff_template_close(struct uqff_template *tmpl) {
    if (tmpl != NULL) {
        struct uqff_arena arena = tmpl->arena;
        uqff_arena_free(&arena);
    }
}

enum uqff_code uqff_template_render(const struct uqff_template *tmpl, const char *variables,
                                    size_t size, struct uqff_buffer *out, struct uqff_error *err) {
    struct tmpl_run run = {.tmpl = tmpl, .err = err};
    struct tmpl_scope scope = {0};
    if (uqff_tmpl_globals(&run, &scope.names) &&
        uqff_tmpl_variables(&run, variables, size, &scope.names) &&
        uqff_tmpl_block(&run, tmpl->body, &scope)) {
        uqff_buffer_append(out, run.out.data != NULL ? run.out.data : "", run.out.size);
        run.code = out->failed ? uqff_fail_memory(err) : UQFF_OK;
    }
    uqff_buffer_free(&run.out);
    uqff_arena_free(&run.arena);
    return run.code;
}

/* ---- bounds ---------------------------------------------------------------------------------- */

bool uqff_tmpl_fail(struct tmpl_run *run, const struct tmpl_node *at, enum uqff_code code,
                    const char *format, ...) {
    va_list args;
    va_start(args, format);
    run->code = uqff_tmpl_verror(run->tmpl, at != NULL ? at->at : 0, run->err, code, format, args);
    va_end(args);
    return false;
}

bool uqff_tmpl_step(struct tmpl_run *run, const struct tmpl_node *at, size_t n) {
    if (n > UQFF_TEMPLATE_STEPS - run->steps) {
        run->steps = UQFF_TEMPLATE_STEPS;
        return uqff_tmpl_fail(run, at, UQFF_E_LIMIT,
                              "the rendering takes more than %d steps, which is the limit",
                              UQFF_TEMPLATE_STEPS);
    }
    run->steps += n;
    return true;
}

void *uqff_tmpl_take(struct tmpl_run *run, const struct tmpl_node *at, size_t count, size_t size) {
    uint64_t bytes;
    if (!uqff_mul_u64(count, size, &bytes) || bytes > UQFF_TEMPLATE_MEMORY - run->memory) {
        uqff_tmpl_fail(run, at, UQFF_E_LIMIT,
                       "the rendering needs more than %d MiB of memory, which is the limit",
                       UQFF_TEMPLATE_MEMORY / (1024 * 1024));
        return NULL;
    }
    run->memory += (size_t)bytes;
    void *block = uqff_arena_alloc(&run->arena, (size_t)bytes);
    if (block == NULL) {
        run->code = uqff_fail_memory(run->err);
    }
    return block;
}

bool uqff_tmpl_emit(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text) {
    if (!uqff_tmpl_step(run, at, text.size / 256)) {
        return false;
    }
    if (text.size > UQFF_TEMPLATE_OUTPUT - run->out.size) {
        return uqff_tmpl_fail(run, at, UQFF_E_LIMIT,
                              "the rendered text is longer than %d MiB, which is the limit",
                              UQFF_TEMPLATE_OUTPUT / (1024 * 1024));
    }
    uqff_buffer_append(&run->out, text.data, text.size);
    if (run->out.failed) {
        run->code = uqff_fail_memory(run->err);
        return false;
    }
    return true;
}

/* ---- containers ------------------------------------------------------------------------------ */

/* Room for one element more; the old place stays behind in the arena. */
static void *grown(struct tmpl_run *run, const struct tmpl_node *at, void *items, size_t count,
                   size_t *capacity, size_t size) {
    if (count < *capacity) {
        return items;
    }
    size_t next = *capacity < 4 ? 4 : *capacity * 2;
    void *block = uqff_tmpl_take(run, at, next, size);
    if (block != NULL) {
        if (count > 0) {
            memcpy(block, items, count * size);
        }
        *capacity = next;
    }
    return block;
}

bool uqff_tmpl_list_new(struct tmpl_run *run, const struct tmpl_node *at, size_t capacity,
                        struct tmpl_value *out) {
    struct tmpl_list *list = uqff_tmpl_take(run, at, 1, sizeof *list);
    if (list == NULL) {
        return false;
    }
    if (capacity > 0) {
        list->items = uqff_tmpl_take(run, at, capacity, sizeof *list->items);
        list->capacity = capacity;
    }
    *out = (struct tmpl_value){.kind = TMPL_LIST, .as.list = list};
    return capacity == 0 || list->items != NULL;
}

bool uqff_tmpl_list_add(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_list *list,
                        struct tmpl_value value) {
    void *items = grown(run, at, list->items, list->count, &list->capacity, sizeof *list->items);
    if (items == NULL) {
        return false;
    }
    list->items = items;
    list->items[list->count++] = value;
    return true;
}

bool uqff_tmpl_dict_new(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_value *out) {
    struct tmpl_dict *dict = uqff_tmpl_take(run, at, 1, sizeof *dict);
    *out = (struct tmpl_value){.kind = TMPL_DICT, .as.dict = dict};
    return dict != NULL;
}

struct tmpl_value *uqff_tmpl_dict_get(struct tmpl_run *run, const struct tmpl_dict *dict,
                                      struct tmpl_text key) {
    if (!uqff_tmpl_step(run, NULL, dict->count / 32 + dict->count * (key.size / 256))) {
        return NULL;
    }
    for (size_t i = 0; i < dict->count; i++) {
        if (uqff_tmpl_same_text(dict->entries[i].key, key)) {
            return &dict->entries[i].value;
        }
    }
    return NULL;
}

bool uqff_tmpl_dict_add(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_dict *dict,
                        struct tmpl_text key, struct tmpl_value value) {
    void *entries =
        grown(run, at, dict->entries, dict->count, &dict->capacity, sizeof *dict->entries);
    if (entries == NULL) {
        return false;
    }
    dict->entries = entries;
    dict->entries[dict->count++] = (struct tmpl_entry){key, value};
    return true;
}

bool uqff_tmpl_dict_set(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_dict *dict,
                        struct tmpl_text key, struct tmpl_value value) {
    struct tmpl_value *old = uqff_tmpl_dict_get(run, dict, key);
    if (old != NULL) {
        *old = value;
        return true;
    }
    return run->code == UQFF_OK && uqff_tmpl_dict_add(run, at, dict, key, value);
}
