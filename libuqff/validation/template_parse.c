/* Chat templates: from tokens to a tree. Statements are here, expressions in
 * template_expression.c. */
#include <stdio.h>

#include "validation/template.h"

struct tmpl_node *uqff_tmpl_node(struct tmpl_parser *parser, enum tmpl_node_kind kind,
                                 uint32_t at) {
    struct tmpl_node *node = uqff_arena_alloc(&parser->tmpl->arena, sizeof *node);
    if (node == NULL) {
        parser->code = uqff_fail_memory(parser->err);
        return NULL;
    }
    node->kind = kind;
    node->at = at;
    return node;
}

bool uqff_tmpl_parse_fail(struct tmpl_parser *parser, enum uqff_code code, const char *format,
                          ...) {
    va_list args;
    va_start(args, format);
    parser->code =
        uqff_tmpl_verror(parser->tmpl, parser->token->at, parser->err, code, format, args);
    va_end(args);
    return false;
}

bool uqff_tmpl_unexpected(struct tmpl_parser *parser, const char *expected) {
    const struct tmpl_token *token = parser->token;
    if (token->kind == TMPL_T_DATA) {
        return uqff_tmpl_parse_fail(parser, UQFF_E_SYNTAX, "found text, expected %s", expected);
    }
    if (token->kind == TMPL_T_STRING) {
        return uqff_tmpl_parse_fail(parser, UQFF_E_SYNTAX, "found a string, expected %s", expected);
    }
    const char *quote = token->kind == TMPL_T_END ? "" : "'";
    int length = token->text.size < 60 ? (int)token->text.size : 60;
    return uqff_tmpl_parse_fail(parser, UQFF_E_SYNTAX, "found %s%.*s%s, expected %s", quote, length,
                                token->text.data, quote, expected);
}

bool uqff_tmpl_expect(struct tmpl_parser *parser, unsigned op, const char *what) {
    if (!tmpl_next_is(parser, op)) {
        return uqff_tmpl_unexpected(parser, what);
    }
    parser->token++;
    return true;
}

bool uqff_tmpl_enter(struct tmpl_parser *parser) {
    if (++parser->depth > UQFF_TEMPLATE_DEPTH) {
        return uqff_tmpl_parse_fail(parser, UQFF_E_LIMIT,
                                    "nested more than %d deep, which is the limit",
                                    UQFF_TEMPLATE_DEPTH);
    }
    return true;
}

static bool expect_close(struct tmpl_parser *parser) {
    if (parser->token->kind != TMPL_T_CLOSE_STATEMENT) {
        return uqff_tmpl_unexpected(parser, "'%}'");
    }
    parser->token++;
    return true;
}

static bool expect_word(struct tmpl_parser *parser, const char *word) {
    if (!tmpl_next_is_word(parser, word)) {
        char what[32];
        snprintf(what, sizeof what, "'%s'", word);
        return uqff_tmpl_unexpected(parser, what);
    }
    parser->token++;
    return true;
}

static bool expect_name(struct tmpl_parser *parser, const char *what, struct tmpl_text *out) {
    if (parser->token->kind != TMPL_T_NAME) {
        return uqff_tmpl_unexpected(parser, what);
    }
    *out = parser->token++->text;
    return true;
}

/* ---- bodies -------------------------------------------------------------------------------------
 */

static bool parse_statement(struct tmpl_parser *parser, struct tmpl_node **out);

/* True at {% followed by one of the words (at most three, NULL ends them). */
static bool at_end(const struct tmpl_parser *parser, const char *const ends[3]) {
    struct tmpl_parser behind = *parser;
    behind.token++;
    for (size_t i = 0; ends != NULL && i < 3 && ends[i] != NULL; i++) {
        if (tmpl_next_is_word(&behind, ends[i])) {
            return true;
        }
    }
    return false;
}

/* Statements up to {% and one of `ends`, where the parser is left at the word; with `ends` NULL, up
 * to the end of the template. */
static bool parse_body(struct tmpl_parser *parser, const char *const ends[3],
                       struct tmpl_node **out) {
    struct tmpl_node **tail = out;
    if (!uqff_tmpl_enter(parser)) {
        return false;
    }
    for (*out = NULL;;) {
        const struct tmpl_token *token = parser->token;
        struct tmpl_node *node = NULL;
        switch (token->kind) {
        case TMPL_T_END:
            parser->depth--;
            return ends == NULL || uqff_tmpl_unexpected(parser, ends[0]);
        case TMPL_T_DATA:
            node = uqff_tmpl_node(parser, TMPL_DATA, token->at);
            if (node == NULL) {
                return false;
            }
            node->value = tmpl_string(token->text);
            parser->token++;
            break;
        case TMPL_T_OPEN_PRINT:
            node = uqff_tmpl_node(parser, TMPL_PRINT, token->at);
            parser->token++;
            if (node == NULL || (node->a = uqff_tmpl_parse_expression(parser)) == NULL) {
                return false;
            }
            if (parser->token->kind != TMPL_T_CLOSE_PRINT) {
                return uqff_tmpl_unexpected(parser, "'}}'");
            }
            parser->token++;
            break;
        default: /* {%: nothing else can follow a closed tag or text */
            if (at_end(parser, ends)) {
                parser->token++;
                parser->depth--;
                return true;
            }
            parser->token++;
            if (!parse_statement(parser, &node)) {
                return false;
            }
        }
        *tail = node;
        tail = &node->next;
    }
}

/* The body of a statement that ends with `end`, which is consumed with its tag. */
static bool parse_body_to(struct tmpl_parser *parser, const char *end, struct tmpl_node **out) {
    const char *const ends[3] = {end};
    return parse_body(parser, ends, out) && expect_word(parser, end) && expect_close(parser);
}

/* ---- statements ------------------------------------------------------------------------------ */

static bool parse_if(struct tmpl_parser *parser, struct tmpl_node *node) {
    static const char *const ends[3] = {"endif", "else", "elif"};
    struct tmpl_node **tail = &node->list;
    do {
        struct tmpl_node *branch = uqff_tmpl_node(parser, TMPL_BRANCH, parser->token->at);
        if (branch == NULL) {
            return false;
        }
        *tail = branch;
        tail = &branch->next;
        parser->token++; /* if, elif */
        if ((branch->a = uqff_tmpl_parse_expression(parser)) == NULL || !expect_close(parser) ||
            !parse_body(parser, ends, &branch->b)) {
            return false;
        }
    } while (tmpl_next_is_word(parser, "elif"));
    if (tmpl_next_is_word(parser, "else")) {
        parser->token++;
        return expect_close(parser) && parse_body_to(parser, "endif", &node->b);
    }
    return expect_word(parser, "endif") && expect_close(parser);
}

static bool add_name(struct tmpl_parser *parser, struct tmpl_node ***tail) {
    struct tmpl_node *name = uqff_tmpl_node(parser, TMPL_NAME, parser->token->at);
    if (name == NULL || !expect_name(parser, "a variable", &name->name)) {
        return false;
    }
    **tail = name;
    *tail = &name->next;
    return true;
}

/* a | a, b | (a, b) */
static bool parse_targets(struct tmpl_parser *parser, struct tmpl_node **list) {
    struct tmpl_node **tail = list;
    bool grouped = tmpl_next_is(parser, '(');
    parser->token += grouped;
    for (;;) {
        if (!add_name(parser, &tail)) {
            return false;
        }
        if (!tmpl_next_is(parser, ',')) {
            break;
        }
        parser->token++;
    }
    return !grouped || uqff_tmpl_expect(parser, ')', "')'");
}

static bool parse_for(struct tmpl_parser *parser, struct tmpl_node *node) {
    static const char *const ends[3] = {"endfor", "else"};
    parser->token++;
    if (!parse_targets(parser, &node->list) || !expect_word(parser, "in") ||
        (node->a = uqff_tmpl_parse_expression(parser)) == NULL) {
        return false;
    }
    /* "items if test" without an else filters the items. */
    if (node->a->kind == TMPL_CHOICE && node->a->c == NULL) {
        node->d = node->a->b;
        node->a = node->a->a;
    }
    if (tmpl_next_is_word(parser, "recursive")) {
        return uqff_tmpl_parse_fail(parser, UQFF_E_UNSUPPORTED, "a recursive loop");
    }
    parser->loops++;
    if (!expect_close(parser) || !parse_body(parser, ends, &node->b)) {
        return false;
    }
    parser->loops--;
    if (tmpl_next_is_word(parser, "else")) {
        parser->token++;
        return expect_close(parser) && parse_body_to(parser, "endfor", &node->c);
    }
    return expect_word(parser, "endfor") && expect_close(parser);
}

/* What stands left of "=": names, or an attribute of something. */
static bool parse_set_target(struct tmpl_parser *parser, struct tmpl_node *node) {
    const struct tmpl_token *behind = parser->token + 1;
    bool plain = parser->token->kind == TMPL_T_SIGN ||
                 (parser->token->kind == TMPL_T_NAME &&
                  !(behind->kind == TMPL_T_SIGN && (behind->op == '.' || behind->op == '[')));
    if (plain) {
        return parse_targets(parser, &node->list);
    }
    struct tmpl_node *reach = uqff_tmpl_parse_reach(parser);
    if (reach == NULL) {
        return false;
    }
    struct tmpl_node **last = reach->kind == TMPL_REACH ? &reach->list : NULL;
    while (last != NULL && (*last)->next != NULL) {
        last = &(*last)->next;
    }
    if (last == NULL || (*last)->kind != TMPL_MEMBER) {
        return uqff_tmpl_unexpected(parser, "a variable or an attribute to set");
    }
    node->kind = TMPL_SET_ATTR;
    node->name = (*last)->name;
    *last = NULL;
    node->c = reach->list != NULL ? reach : reach->a;
    return true;
}

/* One value, or several with commas between, which are a tuple. */
static struct tmpl_node *parse_sequence(struct tmpl_parser *parser) {
    struct tmpl_node *first = uqff_tmpl_parse_expression(parser);
    if (first == NULL || !tmpl_next_is(parser, ',')) {
        return first;
    }
    struct tmpl_node *tuple = uqff_tmpl_node(parser, TMPL_TUPLE_OF, first->at);
    if (tuple == NULL) {
        return NULL;
    }
    tuple->list = first;
    for (struct tmpl_node **tail = &first->next; tmpl_next_is(parser, ','); tail = &(*tail)->next) {
        parser->token++;
        if ((*tail = uqff_tmpl_parse_expression(parser)) == NULL) {
            return NULL;
        }
    }
    return tuple;
}

static bool parse_set(struct tmpl_parser *parser, struct tmpl_node *node) {
    parser->token++;
    if (!parse_set_target(parser, node)) {
        return false;
    }
    if (tmpl_next_is(parser, '=')) {
        parser->token++;
        return (node->a = parse_sequence(parser)) != NULL && expect_close(parser);
    }
    if (tmpl_next_is(parser, '|')) {
        parser->token++;
        if (!uqff_tmpl_parse_filters(parser, &node->d)) {
            return false;
        }
    }
    if (parser->token->kind != TMPL_T_CLOSE_STATEMENT) {
        return uqff_tmpl_unexpected(parser, "'=' or '%}'");
    }
    if (node->list != NULL && node->list->next != NULL) {
        return uqff_tmpl_unexpected(parser, "'=', for a block has one value");
    }
    parser->token++;
    return parse_body_to(parser, "endset", &node->b);
}

static bool parse_parameters(struct tmpl_parser *parser, struct tmpl_node **list) {
    struct tmpl_node **tail = list;
    bool defaults = false;
    if (!uqff_tmpl_expect(parser, '(', "'('")) {
        return false;
    }
    while (!tmpl_next_is(parser, ')')) {
        struct tmpl_node *param = uqff_tmpl_node(parser, TMPL_PARAM, parser->token->at);
        if (param == NULL || !expect_name(parser, "a parameter or ')'", &param->name)) {
            return false;
        }
        if (tmpl_next_is(parser, '=')) {
            parser->token++;
            defaults = true;
            if ((param->a = uqff_tmpl_parse_expression(parser)) == NULL) {
                return false;
            }
        } else if (defaults) {
            return uqff_tmpl_unexpected(parser, "a default, for the parameter before has one");
        }
        *tail = param;
        tail = &param->next;
        if (!tmpl_next_is(parser, ',')) {
            break;
        }
        parser->token++;
    }
    return uqff_tmpl_expect(parser, ')', "',' or ')'");
}

/* A body of its own: loops around it are out of its reach, and what it mentions is its own matter.
 */
static bool parse_macro_body(struct tmpl_parser *parser, const char *end, struct tmpl_node *node) {
    unsigned loops = parser->loops;
    unsigned char uses = parser->uses;
    parser->loops = 0;
    parser->uses = 0;
    if (!expect_close(parser) || !parse_body_to(parser, end, &node->b)) {
        return false;
    }
    node->uses = parser->uses;
    parser->loops = loops;
    parser->uses = uses;
    return true;
}

static bool parse_macro(struct tmpl_parser *parser, struct tmpl_node *node) {
    parser->token++;
    return expect_name(parser, "the macro's name", &node->name) &&
           parse_parameters(parser, &node->list) && parse_macro_body(parser, "endmacro", node);
}

static bool parse_call(struct tmpl_parser *parser, struct tmpl_node *node) {
    parser->token++;
    node->name = TMPL_TEXT("caller");
    if (tmpl_next_is(parser, '(') && !parse_parameters(parser, &node->list)) {
        return false;
    }
    if ((node->a = uqff_tmpl_parse_reach(parser)) == NULL) {
        return false;
    }
    const struct tmpl_node *last = node->a->kind == TMPL_REACH ? node->a->list : NULL;
    while (last != NULL && last->next != NULL) {
        last = last->next;
    }
    if (last == NULL || last->kind != TMPL_CALL) {
        return uqff_tmpl_unexpected(parser, "'(', for what is called has arguments");
    }
    return parse_macro_body(parser, "endcall", node);
}

static bool parse_filter_block(struct tmpl_parser *parser, struct tmpl_node *node) {
    parser->token++;
    return uqff_tmpl_parse_filters(parser, &node->d) && expect_close(parser) &&
           parse_body_to(parser, "endfilter", &node->b);
}

static bool parse_leave(struct tmpl_parser *parser, struct tmpl_node *node) {
    (void)node;
    if (parser->loops == 0) {
        return uqff_tmpl_unexpected(parser, "a loop around it");
    }
    parser->token++;
    return expect_close(parser);
}

static bool parse_statement(struct tmpl_parser *parser, struct tmpl_node **out) {
    static const struct {
        const char *word;
        enum tmpl_node_kind kind;
        bool (*parse)(struct tmpl_parser *parser, struct tmpl_node *node);
    } statements[] = {
        {"if", TMPL_IF, parse_if},          {"for", TMPL_FOR, parse_for},
        {"set", TMPL_SET, parse_set},       {"macro", TMPL_MACRO, parse_macro},
        {"call", TMPL_CALLER, parse_call},  {"filter", TMPL_FILTERED, parse_filter_block},
        {"break", TMPL_BREAK, parse_leave}, {"continue", TMPL_CONTINUE, parse_leave},
    };
    static const char *const closing[] = {"elif",   "else",     "endif",   "endfor",
                                          "endset", "endmacro", "endcall", "endfilter"};
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (tmpl_next_is_word(parser, statements[i].word)) {
            *out = uqff_tmpl_node(parser, statements[i].kind, parser->token->at);
            return *out != NULL && statements[i].parse(parser, *out);
        }
    }
    for (size_t i = 0; i < sizeof closing / sizeof *closing; i++) {
        if (tmpl_next_is_word(parser, closing[i])) {
            return uqff_tmpl_unexpected(parser, "a statement: nothing is open that it would close");
        }
    }
    if (parser->token->kind != TMPL_T_NAME) {
        return uqff_tmpl_unexpected(parser, "a statement");
    }
    return uqff_tmpl_parse_fail(parser, UQFF_E_UNSUPPORTED, "statement '%.*s' is not supported",
                                parser->token->text.size < 60 ? (int)parser->token->text.size : 60,
                                parser->token->text.data);
}

struct tmpl_node *uqff_tmpl_parse(struct tmpl_parser *parser) {
    struct tmpl_node *body, *empty;
    if (!parse_body(parser, NULL, &body)) {
        return NULL;
    }
    if (body != NULL || (empty = uqff_tmpl_node(parser, TMPL_DATA, 0)) == NULL) {
        return body;
    }
    empty->value = tmpl_string(TMPL_TEXT(""));
    return empty;
}
