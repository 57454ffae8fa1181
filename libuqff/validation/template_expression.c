/* Chat templates: expressions, from tokens to a tree. Operators of one rank and everything behind a
 * value form lists, so that the tree is no deeper than the parentheses are. */
#include "validation/template.h"

/* ---- ranks of operators ---------------------------------------------------------------------- */

struct operator_row {
    unsigned sign; /* 0: a word */
    const char *word;
    char op;
};

static const struct operator_row comparisons[] = {
    {TMPL_OP2('=', '='), NULL, TMPL_EQUAL},
    {TMPL_OP2('!', '='), NULL, TMPL_UNEQUAL},
    {'<', NULL, TMPL_LESS},
    {'>', NULL, TMPL_MORE},
    {TMPL_OP2('<', '='), NULL, TMPL_AT_MOST},
    {TMPL_OP2('>', '='), NULL, TMPL_AT_LEAST},
    {0, "in", TMPL_IN},
    {0, "not", TMPL_NOT_IN},
    {0, NULL, 0},
};
static const struct operator_row sums[] = {
    {'+', NULL, TMPL_ADD}, {'-', NULL, TMPL_SUBTRACT}, {'~', NULL, TMPL_JOIN}, {0, NULL, 0}};
static const struct operator_row products[] = {{'*', NULL, TMPL_MULTIPLY},
                                               {'/', NULL, TMPL_DIVIDE},
                                               {TMPL_OP2('/', '/'), NULL, TMPL_FLOOR},
                                               {'%', NULL, TMPL_REMAINDER},
                                               {0, NULL, 0}};
static const struct operator_row powers[] = {{TMPL_OP2('*', '*'), NULL, TMPL_POWER}, {0, NULL, 0}};
static const struct operator_row *const ranks[] = {comparisons, sums, products, powers};
#define RANKS (sizeof ranks / sizeof *ranks)

/* Consumes an operator of the rank; false: there is none. */
static bool take_operator(struct tmpl_parser *parser, const struct operator_row *rank, char *op) {
    for (; rank->sign != 0 || rank->word != NULL; rank++) {
        if (rank->sign != 0 ? !tmpl_next_is(parser, rank->sign)
                            : !tmpl_next_is_word(parser, rank->word)) {
            continue;
        }
        if (rank->op == TMPL_NOT_IN) {
            parser->token++;
            if (!tmpl_next_is_word(parser, "in")) {
                parser->token--;
                return false;
            }
        }
        parser->token++;
        *op = rank->op;
        return true;
    }
    return false;
}

static struct tmpl_node *parse_tests(struct tmpl_parser *parser);

static struct tmpl_node *parse_rank(struct tmpl_parser *parser, size_t rank) {
    struct tmpl_node *first = rank == RANKS ? parse_tests(parser) : parse_rank(parser, rank + 1);
    struct tmpl_node *chain = NULL, **tail = NULL;
    char op;
    while (first != NULL && rank < RANKS) {
        uint32_t at = parser->token->at;
        if (!take_operator(parser, ranks[rank], &op)) {
            break;
        }
        struct tmpl_node *step = uqff_tmpl_node(parser, TMPL_STEP, at);
        if (chain == NULL) {
            chain = uqff_tmpl_node(parser, TMPL_CHAIN, first->at);
            tail = chain != NULL ? &chain->list : NULL;
        }
        if (step == NULL || chain == NULL || (step->a = parse_rank(parser, rank + 1)) == NULL) {
            return NULL;
        }
        step->op = op;
        *tail = step;
        tail = &step->next;
    }
    if (chain == NULL) {
        return first;
    }
    chain->a = first;
    return chain;
}

static struct tmpl_node *parse_not(struct tmpl_parser *parser) {
    uint32_t at = parser->token->at;
    bool any = false, odd = false;
    while (tmpl_next_is_word(parser, "not")) {
        parser->token++;
        any = true;
        odd = !odd;
    }
    struct tmpl_node *a = parse_rank(parser, 0);
    if (!any || a == NULL) {
        return a;
    }
    struct tmpl_node *node = uqff_tmpl_node(parser, TMPL_NOT, at);
    if (node != NULL) {
        node->a = a;
        node->op = odd ? 'n' : 't';
    }
    return node;
}

/* Operands with `and` (or `or`) between them, of which there may be just one. */
static struct tmpl_node *parse_logic(struct tmpl_parser *parser, bool is_or) {
    struct tmpl_node *first = is_or ? parse_logic(parser, false) : parse_not(parser);
    const char *word = is_or ? "or" : "and";
    if (first == NULL || !tmpl_next_is_word(parser, word)) {
        return first;
    }
    struct tmpl_node *node = uqff_tmpl_node(parser, is_or ? TMPL_OR : TMPL_AND, first->at);
    if (node == NULL) {
        return NULL;
    }
    node->list = first;
    for (struct tmpl_node **tail = &first->next; tmpl_next_is_word(parser, word);
         tail = &(*tail)->next) {
        parser->token++;
        *tail = is_or ? parse_logic(parser, false) : parse_not(parser);
        if (*tail == NULL) {
            return NULL;
        }
    }
    return node;
}

struct tmpl_node *uqff_tmpl_parse_expression(struct tmpl_parser *parser) {
    if (!uqff_tmpl_enter(parser)) {
        return NULL;
    }
    struct tmpl_node *node = parse_logic(parser, true);
    if (node != NULL && tmpl_next_is_word(parser, "if")) {
        struct tmpl_node *choice = uqff_tmpl_node(parser, TMPL_CHOICE, parser->token->at);
        parser->token++;
        if (choice == NULL || (choice->b = parse_logic(parser, true)) == NULL) {
            return NULL;
        }
        choice->a = node;
        if (tmpl_next_is_word(parser, "else")) {
            parser->token++;
            if ((choice->c = uqff_tmpl_parse_expression(parser)) == NULL) {
                return NULL;
            }
        }
        node = choice;
    }
    parser->depth--;
    return node;
}

/* ---- behind a value: tests, filters, members ------------------------------------------------- */

/* A test's one operand without parentheses: `is divisibleby 3`, `is in names`. */
static bool begins_operand(const struct tmpl_parser *parser) {
    static const char *const words[] = {"and", "or", "not", "is", "in", "if", "else"};
    if (parser->token->kind == TMPL_T_NAME) {
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            if (tmpl_next_is_word(parser, words[i])) {
                return false;
            }
        }
        return true;
    }
    return parser->token->kind == TMPL_T_STRING || parser->token->kind == TMPL_T_INT ||
           parser->token->kind == TMPL_T_FLOAT || tmpl_next_is(parser, '[') ||
           tmpl_next_is(parser, '{');
}

static bool parse_test(struct tmpl_parser *parser, struct tmpl_node *test) {
    parser->token++; /* is */
    if (tmpl_next_is_word(parser, "not")) {
        parser->token++;
        test->op = 'n';
    }
    test->at = parser->token->at;
    bool grouped = tmpl_next_is(parser, '(');
    parser->token += grouped;
    if (parser->token->kind != TMPL_T_NAME) {
        return uqff_tmpl_unexpected(parser, "the name of a test");
    }
    test->name = parser->token++->text;
    if (grouped) {
        return uqff_tmpl_expect(parser, ')', "')'");
    }
    const struct tmpl_test *known = uqff_tmpl_test(test->name);
    if (known == NULL || known->arguments == 0) {
        return true; /* not known: said when it is come to */
    }
    if (tmpl_next_is(parser, '(')) {
        return uqff_tmpl_parse_arguments(parser, &test->list);
    }
    if (!begins_operand(parser)) {
        return uqff_tmpl_unexpected(parser, "what to compare with");
    }
    if ((test->list = uqff_tmpl_node(parser, TMPL_ARGUMENT, parser->token->at)) == NULL) {
        return false;
    }
    test->list->op = 'p';
    return (test->list->a = uqff_tmpl_parse_reach(parser)) != NULL;
}

bool uqff_tmpl_parse_filters(struct tmpl_parser *parser, struct tmpl_node **list) {
    for (struct tmpl_node **tail = list;; tail = &(*tail)->next) {
        if (parser->token->kind != TMPL_T_NAME) {
            return uqff_tmpl_unexpected(parser, "the name of a filter");
        }
        struct tmpl_node *filter = uqff_tmpl_node(parser, TMPL_FILTER, parser->token->at);
        if (filter == NULL) {
            return false;
        }
        *tail = filter;
        filter->name = parser->token++->text;
        if (tmpl_next_is(parser, '(') && !uqff_tmpl_parse_arguments(parser, &filter->list)) {
            return false;
        }
        if (!tmpl_next_is(parser, '|')) {
            return true;
        }
        parser->token++;
    }
}

static struct tmpl_node *parse_signed(struct tmpl_parser *parser);

static struct tmpl_node *parse_filtered(struct tmpl_parser *parser) {
    struct tmpl_node *a = parse_signed(parser);
    if (a == NULL || !tmpl_next_is(parser, '|')) {
        return a;
    }
    struct tmpl_node *node = uqff_tmpl_node(parser, TMPL_FILTERS, a->at);
    if (node == NULL) {
        return NULL;
    }
    node->a = a;
    parser->token++;
    return uqff_tmpl_parse_filters(parser, &node->list) ? node : NULL;
}

static struct tmpl_node *parse_tests(struct tmpl_parser *parser) {
    struct tmpl_node *a = parse_filtered(parser);
    if (a == NULL || !tmpl_next_is_word(parser, "is")) {
        return a;
    }
    struct tmpl_node *node = uqff_tmpl_node(parser, TMPL_TESTS, a->at);
    if (node == NULL) {
        return NULL;
    }
    node->a = a;
    for (struct tmpl_node **tail = &node->list; tmpl_next_is_word(parser, "is");
         tail = &(*tail)->next) {
        struct tmpl_node *test = uqff_tmpl_node(parser, TMPL_TEST, parser->token->at);
        if (test == NULL || !parse_test(parser, test)) {
            return NULL;
        }
        *tail = test;
    }
    return node;
}

/* Signs bind tighter than filters: -1|abs is 1. */
static struct tmpl_node *parse_signed(struct tmpl_parser *parser) {
    if (!tmpl_next_is(parser, '-') && !tmpl_next_is(parser, '+')) {
        return uqff_tmpl_parse_reach(parser);
    }
    struct tmpl_node *node = uqff_tmpl_node(parser, TMPL_SIGN, parser->token->at);
    if (node == NULL || !uqff_tmpl_enter(parser)) {
        return NULL;
    }
    node->op = (char)parser->token->op;
    parser->token++;
    node->a = parse_signed(parser);
    parser->depth--;
    return node->a != NULL ? node : NULL;
}

bool uqff_tmpl_parse_arguments(struct tmpl_parser *parser, struct tmpl_node **list) {
    struct tmpl_node **tail = list;
    char before = 'p';
    parser->token++; /* ( */
    while (!tmpl_next_is(parser, ')')) {
        struct tmpl_node *argument = uqff_tmpl_node(parser, TMPL_ARGUMENT, parser->token->at);
        if (argument == NULL) {
            return false;
        }
        const struct tmpl_token *behind = parser->token + 1;
        argument->op = 'p';
        if (tmpl_next_is(parser, '*') || tmpl_next_is(parser, TMPL_OP2('*', '*'))) {
            argument->op = tmpl_next_is(parser, '*') ? '*' : 'm';
            parser->token++;
        } else if (parser->token->kind == TMPL_T_NAME && behind->kind == TMPL_T_SIGN &&
                   behind->op == '=') {
            argument->op = 'k';
            argument->name = parser->token->text;
            parser->token += 2;
        } else if (before != 'p') {
            return uqff_tmpl_unexpected(parser, "a named argument, as the one before");
        }
        if ((argument->a = uqff_tmpl_parse_expression(parser)) == NULL) {
            return false;
        }
        before = argument->op;
        *tail = argument;
        tail = &argument->next;
        if (!tmpl_next_is(parser, ',') || before == 'm') {
            break;
        }
        parser->token++;
    }
    return uqff_tmpl_expect(parser, ')', "',' or ')'");
}

static bool parse_member(struct tmpl_parser *parser, struct tmpl_node *step) {
    parser->token++;
    if (parser->token->kind == TMPL_T_NAME) {
        step->kind = TMPL_MEMBER;
        step->name = parser->token++->text;
        return true;
    }
    if (parser->token->kind != TMPL_T_INT) {
        return uqff_tmpl_unexpected(parser, "a name or a number");
    }
    step->kind = TMPL_INDEX;
    if ((step->a = uqff_tmpl_node(parser, TMPL_VALUE, parser->token->at)) == NULL) {
        return false;
    }
    step->a->value = tmpl_int(parser->token++->number);
    return true;
}

static bool parse_brackets(struct tmpl_parser *parser, struct tmpl_node *step) {
    struct tmpl_node **parts[3] = {&step->a, &step->b, &step->c};
    size_t i = 0;
    parser->token++;
    step->kind = TMPL_INDEX;
    if (tmpl_next_is(parser, ']')) {
        return uqff_tmpl_unexpected(parser, "an index");
    }
    while (i < 3 && !tmpl_next_is(parser, ']')) {
        if (!tmpl_next_is(parser, ':') &&
            (*parts[i] = uqff_tmpl_parse_expression(parser)) == NULL) {
            return false;
        }
        if (!tmpl_next_is(parser, ':')) {
            break;
        }
        if (i == 2) {
            return uqff_tmpl_unexpected(parser, "']'");
        }
        step->kind = TMPL_SLICE;
        parser->token++;
        i++;
    }
    return uqff_tmpl_expect(parser, ']', "']'");
}

static struct tmpl_node *parse_primary(struct tmpl_parser *parser);

struct tmpl_node *uqff_tmpl_parse_reach(struct tmpl_parser *parser) {
    struct tmpl_node *a = parse_primary(parser), *node = NULL, **tail = NULL;
    while (a != NULL &&
           (tmpl_next_is(parser, '.') || tmpl_next_is(parser, '[') || tmpl_next_is(parser, '('))) {
        struct tmpl_node *step = uqff_tmpl_node(parser, TMPL_CALL, parser->token->at);
        if (node == NULL) {
            node = uqff_tmpl_node(parser, TMPL_REACH, a->at);
            tail = node != NULL ? &node->list : NULL;
        }
        if (step == NULL || node == NULL) {
            return NULL;
        }
        bool fine = tmpl_next_is(parser, '.')   ? parse_member(parser, step)
                    : tmpl_next_is(parser, '[') ? parse_brackets(parser, step)
                                                : uqff_tmpl_parse_arguments(parser, &step->list);
        if (!fine) {
            return NULL;
        }
        *tail = step;
        tail = &step->next;
    }
    if (node == NULL) {
        return a;
    }
    node->a = a;
    return node;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* Strings side by side are one. */
static bool parse_strings(struct tmpl_parser *parser, struct tmpl_node *node) {
    size_t total = 0, n = 0;
    const struct tmpl_token *first = parser->token;
    for (; parser->token->kind == TMPL_T_STRING; parser->token++) {
        total += parser->token->text.size;
    }
    node->value = tmpl_string(first->text);
    if (parser->token - first == 1) {
        return true;
    }
    char *text = uqff_arena_alloc(&parser->tmpl->arena, total + 1);
    if (text == NULL) {
        parser->code = uqff_fail_memory(parser->err);
        return false;
    }
    for (; first < parser->token; first++) {
        memcpy(text + n, first->text.data, first->text.size);
        n += first->text.size;
    }
    node->value = tmpl_string(tmpl_text(text, total));
    return true;
}

/* Expressions up to `close`, which is consumed; a comma may stand behind the last. */
static bool parse_items(struct tmpl_parser *parser, unsigned close, const char *what,
                        struct tmpl_node *node) {
    struct tmpl_node **tail = &node->list;
    parser->token++;
    while (!tmpl_next_is(parser, close)) {
        struct tmpl_node *item = uqff_tmpl_parse_expression(parser);
        if (item == NULL) {
            return false;
        }
        if (close == '}') {
            struct tmpl_node *pair = uqff_tmpl_node(parser, TMPL_PAIR, item->at);
            if (pair == NULL ||
                !uqff_tmpl_expect(parser, ':', "':' between the key and the value") ||
                (pair->b = uqff_tmpl_parse_expression(parser)) == NULL) {
                return false;
            }
            pair->a = item;
            item = pair;
        }
        *tail = item;
        tail = &item->next;
        if (!tmpl_next_is(parser, ',')) {
            break;
        }
        node->op = ',';
        parser->token++;
    }
    return uqff_tmpl_expect(parser, close, what);
}

static struct tmpl_node *parse_primary(struct tmpl_parser *parser) {
    const struct tmpl_token *token = parser->token;
    struct tmpl_node *node = uqff_tmpl_node(parser, TMPL_VALUE, token->at);
    if (node == NULL) {
        return NULL;
    }
    switch (token->kind) {
    case TMPL_T_NAME:
        node->kind = TMPL_NAME;
        node->name = token->text;
        parser->uses |= tmpl_is(token->text, "varargs") ? TMPL_USES_VARARGS : 0;
        parser->uses |= tmpl_is(token->text, "kwargs") ? TMPL_USES_KWARGS : 0;
        parser->tmpl->mentions_loop |= tmpl_is(token->text, "loop");
        parser->token++;
        return node;
    case TMPL_T_STRING:
        return parse_strings(parser, node) ? node : NULL;
    case TMPL_T_INT:
    case TMPL_T_FLOAT:
        node->value =
            token->kind == TMPL_T_INT ? tmpl_int(token->number) : tmpl_float(token->number);
        parser->token++;
        return node;
    case TMPL_T_SIGN:
        break;
    default:
        uqff_tmpl_unexpected(parser, "a value");
        return NULL;
    }
    if (token->op == '[') {
        node->kind = TMPL_LIST_OF;
        return parse_items(parser, ']', "',' or ']'", node) ? node : NULL;
    }
    if (token->op == '{') {
        node->kind = TMPL_DICT_OF;
        return parse_items(parser, '}', "',' or '}'", node) ? node : NULL;
    }
    if (token->op == '(') {
        node->kind = TMPL_TUPLE_OF;
        if (!parse_items(parser, ')', "',' or ')'", node)) {
            return NULL;
        }
        /* Parentheses alone only group. */
        return node->op == ',' || node->list == NULL ? node : node->list;
    }
    uqff_tmpl_unexpected(parser, "a value");
    return NULL;
}
