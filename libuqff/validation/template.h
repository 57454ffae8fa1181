/* Chat templates: what the files of the interpreter share. Nothing here is public. */
#ifndef UQFF_VALIDATION_TEMPLATE_H
#define UQFF_VALIDATION_TEMPLATE_H

#include <string.h>

#include "uqff/validation.h"

/* Evaluations within evaluations (a macro that calls itself costs several). Each is a handful of C
 * frames, so that the deepest permitted nest stays below two megabytes of stack. */
#define TMPL_NEST_LIMIT 1000

/* ---- text ------------------------------------------------------------------------------------ */

/* Bytes of valid UTF-8, not terminated. */
struct tmpl_text {
    const char *data;
    size_t size;
};

static inline struct tmpl_text tmpl_text(const char *data, size_t size) {
    return (struct tmpl_text){data, size};
}
/* The text of a literal. */
#define TMPL_TEXT(literal) ((struct tmpl_text){"" literal, sizeof(literal) - 1})

bool uqff_tmpl_same_text(struct tmpl_text a, struct tmpl_text b);
static inline bool tmpl_is(struct tmpl_text text, const char *literal) {
    return uqff_tmpl_same_text(text, tmpl_text(literal, strlen(literal)));
}

/* JavaScript counts strings in UTF-16 units, of which a character beyond the Basic Multilingual
 * Plane takes two. */
size_t uqff_tmpl_units(struct tmpl_text text);
size_t uqff_tmpl_characters(struct tmpl_text text);
/* The next character of a text that has one. */
size_t uqff_tmpl_character(const char *text, uint32_t *code_point);
size_t uqff_tmpl_encode(uint32_t code_point, char out[4]);
/* Length of the white space character that `text` begins, or ends, with; 0: none. */
size_t uqff_tmpl_space(struct tmpl_text text);
size_t uqff_tmpl_space_before(struct tmpl_text text);
struct tmpl_text uqff_tmpl_trim(struct tmpl_text text, bool left, bool right);
/* Order by UTF-16 units. */
int uqff_tmpl_order(struct tmpl_text a, struct tmpl_text b);
/* Order as a dictionary has it: letters before case, punctuation and digits before letters. */
int uqff_tmpl_collate(struct tmpl_text a, struct tmpl_text b);
/* Offset of `needle` at or behind `from`; SIZE_MAX: none. */
size_t uqff_tmpl_find(struct tmpl_text text, struct tmpl_text needle, size_t from);

/* ---- numbers --------------------------------------------------------------------------------- */

#define TMPL_NUMBER_TEXT 48
/* The shortest decimal that reads back as the same double, written as JavaScript writes it. */
size_t uqff_tmpl_number(double value, char out[TMPL_NUMBER_TEXT]);
/* The same for a number that is a float in the language: 2.0 keeps its ".0". */
size_t uqff_tmpl_float(double value, char out[TMPL_NUMBER_TEXT]);
/* Reads digits, an optional fraction and an optional exponent from the front of the text. Returns
 * how many bytes belong to the number, 0: none. */
size_t uqff_tmpl_read_number(struct tmpl_text text, double *out);
/* JavaScript's Number(text). */
double uqff_tmpl_to_number(struct tmpl_text text);

/* ---- the parsed template -----------------------------------------------------------------------
 */

enum tmpl_node_kind {
    /* statements */
    TMPL_DATA,     /* value: text that goes out as it is */
    TMPL_PRINT,    /* a */
    TMPL_IF,       /* list of BRANCH; b: else */
    TMPL_BRANCH,   /* a: condition, b: body */
    TMPL_FOR,      /* list of NAME: targets, a: what, b: body, c: else, d: filter or NULL */
    TMPL_SET,      /* list of NAME: targets, a: value; or b: body with filters d */
    TMPL_SET_ATTR, /* c: object, name: attribute, a or b, d as above */
    TMPL_MACRO,    /* name, list of PARAM, b: body, uses */
    TMPL_CALLER,   /* `call`: list of PARAM, a: call, b: body, uses */
    TMPL_FILTERED, /* `filter`: d: filters, b: body */
    TMPL_BREAK,
    TMPL_CONTINUE,
    TMPL_PARAM, /* name, a: default or NULL */

    /* expressions */
    TMPL_VALUE,    /* value */
    TMPL_NAME,     /* name */
    TMPL_LIST_OF,  /* list */
    TMPL_TUPLE_OF, /* list */
    TMPL_DICT_OF,  /* list of PAIR */
    TMPL_PAIR,     /* a: key, b: value */
    TMPL_AND,      /* list of operands */
    TMPL_OR,       /* list of operands */
    TMPL_NOT,      /* a, op: 'n' once, 't' an even number of times */
    TMPL_SIGN,     /* a, op: '-' or '+' */
    TMPL_CHOICE,   /* a if b else c; c may be NULL */
    TMPL_CHAIN,    /* a, list of STEP: operators of one rank, from the left */
    TMPL_STEP,     /* op (enum tmpl_operator), a: right operand */
    TMPL_REACH,    /* a, list of MEMBER, INDEX, SLICE, CALL */
    TMPL_MEMBER,   /* .name */
    TMPL_INDEX,    /* [a] */
    TMPL_SLICE,    /* [a:b:c], each may be NULL */
    TMPL_CALL,     /* (list of ARGUMENT) */
    TMPL_ARGUMENT, /* a, op: 'p', 'k' with name, '*', 'm' for ** */
    TMPL_FILTERS,  /* a, list of FILTER */
    TMPL_FILTER,   /* name, list of ARGUMENT */
    TMPL_TESTS,    /* a, list of TEST */
    TMPL_TEST,     /* name, op: 'n' for "is not", list of ARGUMENT */
};

enum tmpl_operator {
    TMPL_ADD,
    TMPL_SUBTRACT,
    TMPL_JOIN,
    TMPL_MULTIPLY,
    TMPL_DIVIDE,
    TMPL_FLOOR,
    TMPL_REMAINDER,
    TMPL_POWER,
    TMPL_EQUAL,
    TMPL_UNEQUAL,
    TMPL_LESS,
    TMPL_MORE,
    TMPL_AT_MOST,
    TMPL_AT_LEAST,
    TMPL_IN,
    TMPL_NOT_IN,
};

/* What the body of a macro mentions, which decides what it accepts. */
enum { TMPL_USES_VARARGS = 1, TMPL_USES_KWARGS = 2 };

enum tmpl_kind {
    TMPL_UNDEFINED,
    TMPL_NONE,
    TMPL_BOOL,
    TMPL_INT, /* a double as well: the language's integers are JavaScript's */
    TMPL_FLOAT,
    TMPL_STRING,
    TMPL_LIST,
    TMPL_TUPLE,
    TMPL_DICT,
    TMPL_NAMESPACE,
    TMPL_FUNCTION,
};

struct tmpl_value {
    enum tmpl_kind kind;
    union {
        bool truth;
        double number;
        struct tmpl_text text;
        struct tmpl_list *list; /* LIST, TUPLE */
        struct tmpl_dict *dict; /* DICT, NAMESPACE */
        struct tmpl_function *function;
    } as;
};

struct tmpl_node {
    enum tmpl_node_kind kind;
    uint32_t at; /* byte offset in the template */
    char op;
    unsigned char uses;
    struct tmpl_text name;
    struct tmpl_value value;
    struct tmpl_node *a, *b, *c, *d;
    struct tmpl_node *list; /* first child of a list */
    struct tmpl_node *next; /* sibling in the list that this node is in */
};

struct uqff_template {
    struct uqff_arena arena;
    const char *where;
    struct tmpl_text source;
    struct tmpl_node *body;
    bool mentions_loop; /* somewhere; if not, no turn needs the variable */
};

/* Line and column (both from 1, columns in characters) of an offset. */
void uqff_tmpl_position(struct tmpl_text source, size_t offset, size_t *line, size_t *column);

enum tmpl_token_kind {
    TMPL_T_END,
    TMPL_T_DATA,
    TMPL_T_OPEN_PRINT,
    TMPL_T_CLOSE_PRINT,
    TMPL_T_OPEN_STATEMENT,
    TMPL_T_CLOSE_STATEMENT,
    TMPL_T_NAME,
    TMPL_T_STRING,
    TMPL_T_INT,
    TMPL_T_FLOAT,
    TMPL_T_SIGN, /* op: one character, or two as TMPL_OP2 */
};
#define TMPL_OP2(first, second) ((unsigned)(first) << 8 | (unsigned)(second))

struct tmpl_token {
    enum tmpl_token_kind kind;
    unsigned op;
    uint32_t at;
    struct tmpl_text text; /* what it says; of a STRING, unescaped */
    double number;
};

struct tmpl_tokens {
    struct tmpl_token *items;
    size_t count, capacity;
};

/* Cuts the source into tokens, the last of which is END. Text lives in the template's arena, the
 * array is the caller's to free (on failure too). */
enum uqff_code uqff_tmpl_lex(struct uqff_template *tmpl, struct tmpl_tokens *tokens,
                             struct uqff_error *err);
/* Fails at an offset: "<where>: line 1, column 2: ...". */
enum uqff_code uqff_tmpl_error(const struct uqff_template *tmpl, size_t at, struct uqff_error *err,
                               enum uqff_code code, const char *format, ...) UQFF_PRINTF(5, 6);
enum uqff_code uqff_tmpl_verror(const struct uqff_template *tmpl, size_t at, struct uqff_error *err,
                                enum uqff_code code, const char *format, va_list args)
    UQFF_PRINTF(5, 0);

struct tmpl_parser {
    struct uqff_template *tmpl;
    struct tmpl_token *token; /* the next one */
    unsigned depth, loops;    /* loops around this place, within the same macro */
    unsigned char uses;
    enum uqff_code code;
    struct uqff_error *err;
};

/* All parse functions give NULL (false) after having failed. */
struct tmpl_node *uqff_tmpl_parse(struct tmpl_parser *parser);
struct tmpl_node *uqff_tmpl_parse_expression(struct tmpl_parser *parser);
struct tmpl_node *uqff_tmpl_parse_reach(struct tmpl_parser *parser);
bool uqff_tmpl_parse_arguments(struct tmpl_parser *parser, struct tmpl_node **list);
/* The filters of "name(args) | name…", from the first name on. */
bool uqff_tmpl_parse_filters(struct tmpl_parser *parser, struct tmpl_node **list);
struct tmpl_node *uqff_tmpl_node(struct tmpl_parser *parser, enum tmpl_node_kind kind, uint32_t at);
bool uqff_tmpl_parse_fail(struct tmpl_parser *parser, enum uqff_code code, const char *format, ...)
    UQFF_PRINTF(3, 4);
/* "found X, expected Y", at the next token. */
bool uqff_tmpl_unexpected(struct tmpl_parser *parser, const char *expected);
bool uqff_tmpl_enter(struct tmpl_parser *parser);
static inline bool tmpl_next_is(const struct tmpl_parser *parser, unsigned op) {
    return parser->token->kind == TMPL_T_SIGN && parser->token->op == op;
}
static inline bool tmpl_next_is_word(const struct tmpl_parser *parser, const char *word) {
    return parser->token->kind == TMPL_T_NAME && tmpl_is(parser->token->text, word);
}
bool uqff_tmpl_expect(struct tmpl_parser *parser, unsigned op, const char *what);

/* ---- values at work -------------------------------------------------------------------------- */

struct tmpl_list {
    struct tmpl_value *items;
    size_t count, capacity;
};

struct tmpl_entry {
    struct tmpl_text key;
    struct tmpl_value value;
};

/* In order of insertion. */
struct tmpl_dict {
    struct tmpl_entry *entries;
    size_t count, capacity;
};

struct tmpl_scope {
    struct tmpl_scope *parent;
    struct tmpl_dict names;
};

enum tmpl_control { TMPL_GO_ON, TMPL_BROKEN, TMPL_CONTINUED };

/* One rendering. */
struct tmpl_run {
    const struct uqff_template *tmpl;
    struct uqff_arena arena;
    struct uqff_buffer out; /* finished text, and behind it what is being captured */
    size_t memory, steps;
    unsigned depth;
    enum tmpl_control control;
    struct tmpl_value now; /* the variable strftime_now */
    enum uqff_code code;
    struct uqff_error *err;
};

struct tmpl_args {
    const struct tmpl_value *items;
    size_t count;
    struct tmpl_dict named;
};

/* Functions, methods, filters and tests see where they are called, what they belong to, and their
 * arguments. All functions below that give bool have failed when they give false. */
struct tmpl_call {
    struct tmpl_run *run;
    const struct tmpl_node *at;
    const char *name;
    struct tmpl_value self;
    struct tmpl_args args;
};
typedef bool tmpl_native(struct tmpl_call *call, struct tmpl_value *out);

struct tmpl_function {
    const char *name;
    tmpl_native *native;           /* NULL: a macro or a caller */
    struct tmpl_value self;        /* of a bound method */
    const struct tmpl_node *macro; /* MACRO or CALLER */
    struct tmpl_scope *scope;      /* where a caller was written; NULL: a macro sees its call */
};

bool uqff_tmpl_fail(struct tmpl_run *run, const struct tmpl_node *at, enum uqff_code code,
                    const char *format, ...) UQFF_PRINTF(4, 5);
bool uqff_tmpl_step(struct tmpl_run *run, const struct tmpl_node *at, size_t n);
/* Steps for reading through a text: nothing for short ones, so that a loop over long ones ends. */
static inline size_t tmpl_weight(struct tmpl_text text) {
    return text.size / 64;
}
/* The same for comparing two values. */
static inline size_t tmpl_compare_weight(const struct tmpl_value *a, const struct tmpl_value *b) {
    size_t n = a->kind == TMPL_STRING ? tmpl_weight(a->as.text) : 0;
    return n + (b->kind == TMPL_STRING ? tmpl_weight(b->as.text) : 0);
}
/* Zeroed memory until the end of the rendering. */
void *uqff_tmpl_take(struct tmpl_run *run, const struct tmpl_node *at, size_t count, size_t size);
bool uqff_tmpl_emit(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text);

static inline struct tmpl_value tmpl_undefined(void) {
    return (struct tmpl_value){.kind = TMPL_UNDEFINED};
}
static inline struct tmpl_value tmpl_none(void) {
    return (struct tmpl_value){.kind = TMPL_NONE};
}
static inline struct tmpl_value tmpl_bool(bool truth) {
    return (struct tmpl_value){.kind = TMPL_BOOL, .as.truth = truth};
}
static inline struct tmpl_value tmpl_int(double number) {
    return (struct tmpl_value){.kind = TMPL_INT, .as.number = number};
}
static inline struct tmpl_value tmpl_float(double number) {
    return (struct tmpl_value){.kind = TMPL_FLOAT, .as.number = number};
}
static inline struct tmpl_value tmpl_string(struct tmpl_text text) {
    return (struct tmpl_value){.kind = TMPL_STRING, .as.text = text};
}
static inline bool tmpl_is_number(const struct tmpl_value *value) {
    return value->kind == TMPL_INT || value->kind == TMPL_FLOAT;
}
static inline bool tmpl_is_list(const struct tmpl_value *value) {
    return value->kind == TMPL_LIST || value->kind == TMPL_TUPLE;
}

bool uqff_tmpl_list_new(struct tmpl_run *run, const struct tmpl_node *at, size_t capacity,
                        struct tmpl_value *out);
bool uqff_tmpl_list_add(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_list *list,
                        struct tmpl_value value);
bool uqff_tmpl_dict_new(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_value *out);
/* The value under a key, or NULL. Looking is paid for in steps; a failure shows in run->code. */
struct tmpl_value *uqff_tmpl_dict_get(struct tmpl_run *run, const struct tmpl_dict *dict,
                                      struct tmpl_text key);
bool uqff_tmpl_dict_set(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_dict *dict,
                        struct tmpl_text key, struct tmpl_value value);
/* Adds a key that is known not to be there. */
bool uqff_tmpl_dict_add(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_dict *dict,
                        struct tmpl_text key, struct tmpl_value value);

bool uqff_tmpl_truth(const struct tmpl_value *value);
const char *uqff_tmpl_kind_name(enum tmpl_kind kind); /* "a string" */

/* Text that grows in the rendering's memory. */
struct tmpl_build {
    struct tmpl_run *run;
    const struct tmpl_node *at;
    char *data;
    size_t size, capacity;
};
bool uqff_tmpl_put(struct tmpl_build *build, struct tmpl_text text);
bool uqff_tmpl_put_repeated(struct tmpl_build *build, char byte, size_t n);
static inline struct tmpl_text tmpl_built(const struct tmpl_build *build) {
    return tmpl_text(build->size > 0 ? build->data : "", build->size);
}

struct tmpl_json_style {
    unsigned indent; /* 0: one line */
    bool ascii, sorted;
    bool undefined; /* written as "undefined", not as null: the printed form of a list */
    struct tmpl_text item, key; /* separators */
};
bool uqff_tmpl_json(struct tmpl_build *build, const struct tmpl_value *value,
                    const struct tmpl_json_style *style);
/* What {{ value }} prints. */
bool uqff_tmpl_print(struct tmpl_run *run, const struct tmpl_node *at,
                     const struct tmpl_value *value, struct tmpl_text *out);
/* The text that a value has in a concatenation, which is JavaScript's String(). */
bool uqff_tmpl_as_text(struct tmpl_run *run, const struct tmpl_node *at,
                       const struct tmpl_value *value, struct tmpl_text *out);

bool uqff_tmpl_identical(const struct tmpl_value *a, const struct tmpl_value *b); /* === */
bool uqff_tmpl_equal(struct tmpl_run *run, const struct tmpl_node *at, const struct tmpl_value *a,
                     const struct tmpl_value *b, bool *out); /* == */
bool uqff_tmpl_contains(struct tmpl_run *run, const struct tmpl_node *at,
                        const struct tmpl_value *item, const struct tmpl_value *in, bool *out);
bool uqff_tmpl_operate(struct tmpl_run *run, const struct tmpl_node *at, enum tmpl_operator op,
                       const struct tmpl_value *a, const struct tmpl_value *b,
                       struct tmpl_value *out);

/* ---- evaluation ------------------------------------------------------------------------------ */

/* The variables of a JSON object; strftime_now goes into run->now. */
bool uqff_tmpl_variables(struct tmpl_run *run, const char *json, size_t size,
                         struct tmpl_dict *out);
bool uqff_tmpl_globals(struct tmpl_run *run, struct tmpl_dict *names);

bool uqff_tmpl_block(struct tmpl_run *run, const struct tmpl_node *list, struct tmpl_scope *scope);
bool uqff_tmpl_eval(struct tmpl_run *run, const struct tmpl_node *node, struct tmpl_scope *scope,
                    struct tmpl_value *out);
bool uqff_tmpl_evaluate_args(struct tmpl_run *run, const struct tmpl_node *list,
                             struct tmpl_scope *scope, struct tmpl_args *out);
bool uqff_tmpl_call(struct tmpl_run *run, const struct tmpl_node *at,
                    const struct tmpl_value *callee, const struct tmpl_args *args,
                    struct tmpl_scope *scope, struct tmpl_value *out);
bool uqff_tmpl_apply_filters(struct tmpl_run *run, const struct tmpl_node *list,
                             struct tmpl_scope *scope, struct tmpl_value *value);
/* The text that a body prints. *captured is false when a loop was left in its midst. */
bool uqff_tmpl_capture(struct tmpl_run *run, const struct tmpl_node *at,
                       const struct tmpl_node *body, struct tmpl_scope *scope,
                       struct tmpl_text *out, bool *captured);

/* What [start:stop:step] selects: `count` items from `first`, `step` apart. */
struct tmpl_range {
    int64_t first, step;
    size_t count;
};

/* What value.name is: a member of a mapping, a bound method, a length; undefined otherwise. */
bool uqff_tmpl_member(struct tmpl_run *run, const struct tmpl_node *at,
                      const struct tmpl_value *value, struct tmpl_text name,
                      struct tmpl_value *out);
bool uqff_tmpl_index(struct tmpl_run *run, const struct tmpl_node *at,
                     const struct tmpl_value *value, const struct tmpl_value *index,
                     struct tmpl_value *out);
bool uqff_tmpl_slice(struct tmpl_run *run, const struct tmpl_node *at,
                     const struct tmpl_value *value, const struct tmpl_value bounds[3],
                     struct tmpl_value *out);

/* ---- what templates can call ----------------------------------------------------------------- */

struct tmpl_named {
    const char *name;
    tmpl_native *native;
    bool plain; /* a filter that takes no arguments */
};
/* A filter or test by name; NULL: there is none. */
const struct tmpl_named *uqff_tmpl_filter(struct tmpl_text name);
struct tmpl_test {
    const char *name;
    unsigned arguments;
    tmpl_native *native;
};
const struct tmpl_test *uqff_tmpl_test(struct tmpl_text name);
bool uqff_tmpl_apply_filter(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text name,
                            const struct tmpl_args *args, struct tmpl_value *value);
bool uqff_tmpl_apply_test(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text name,
                          const struct tmpl_args *args, const struct tmpl_value *value, bool *out);
/* The filters of lists and mappings, and the methods. */
extern const struct tmpl_named uqff_tmpl_list_filters[];
extern const size_t uqff_tmpl_list_filter_count;
const struct tmpl_named *uqff_tmpl_method(enum tmpl_kind kind, struct tmpl_text name);

/* An argument by place or name: NULL when it was not given. */
const struct tmpl_value *uqff_tmpl_arg(const struct tmpl_call *call, size_t place,
                                       const char *name);
bool uqff_tmpl_flag(struct tmpl_call *call, size_t place, const char *name, bool *out);
/* An integer, or `absent` when not given or none. */
bool uqff_tmpl_int_arg(struct tmpl_call *call, size_t place, const char *name, double *out);
bool uqff_tmpl_text_arg(struct tmpl_call *call, size_t place, const char *name,
                        struct tmpl_text *out);
/* UQFF_E_ARGUMENT: "'name' of a list: <complaint>". */
bool uqff_tmpl_bad_argument(struct tmpl_call *call, const char *complaint);
/* UQFF_E_UNSUPPORTED: the thing does not apply to this kind of value. */
bool uqff_tmpl_not_for(struct tmpl_call *call);

/* Functions that filters and methods share. */
bool uqff_tmpl_upper(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                     struct tmpl_text *out);
bool uqff_tmpl_lower(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                     struct tmpl_text *out);
bool uqff_tmpl_title(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                     struct tmpl_text *out);
bool uqff_tmpl_capitalize(struct tmpl_run *run, const struct tmpl_node *at, struct tmpl_text text,
                          struct tmpl_text *out);
tmpl_native uqff_tmpl_replace, uqff_tmpl_items, uqff_tmpl_keys, uqff_tmpl_values, uqff_tmpl_get;

#endif
