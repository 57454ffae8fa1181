/* Chat templates: from source to tokens. */
#include <string.h>

#include "validation/template.h"

/* The source without what block trimming takes away, and where each byte of it was. */
struct trimmed {
    char *text;
    uint32_t *origin; /* size + 1 of them */
    size_t size;
};

static bool starts_line(const char *text, size_t i) {
    if (i == 0 || text[i - 1] == '\n' || text[i - 1] == '\r') {
        return true;
    }
    /* U+2028 and U+2029 end lines too. */
    return i >= 3 && memcmp(text + i - 3, "\xE2\x80", 2) == 0 &&
           ((unsigned char)text[i - 1] & 0xFE) == 0xA8;
}

/* True where blanks that begin a line lead to a tag other than {{ or {%+. */
static bool leads_to_block(const char *text, size_t size, size_t i, size_t *tag) {
    while (i < size && (text[i] == ' ' || text[i] == '\t')) {
        i++;
    }
    *tag = i;
    return i + 1 < size && text[i] == '{' && strchr("#%-", text[i + 1]) != NULL &&
           text[i + 1] != '\0' && !(text[i + 1] == '%' && i + 2 < size && text[i + 2] == '+');
}

static bool ends_block(const char *text, size_t size, size_t i) {
    return i + 2 < size && strchr("#%-", text[i]) != NULL && text[i] != '\0' &&
           text[i + 1] == '}' && text[i + 2] == '\n' &&
           !(text[i] == '%' && i > 0 && text[i - 1] == '+');
}

static void keep(struct trimmed *out, const char *text, size_t i) {
    out->text[out->size] = text[i];
    out->origin[out->size++] = (uint32_t)i;
}

/* One newline at the end, blanks before a block that begins its line, and the newline right behind
 * a block are no part of the template. This holds for the text as such: a string literal that
 * happens to hold "%}" and a newline is treated in the same way. */
static void trim_blocks(struct tmpl_text source, struct trimmed *out) {
    size_t size = source.size;
    if (size > 0 && source.data[size - 1] == '\n') {
        size--;
    }
    for (size_t i = 0; i < size;) {
        size_t tag;
        if (starts_line(source.data, i) && leads_to_block(source.data, size, i, &tag)) {
            i = tag;
        }
        keep(out, source.data, i);
        if (ends_block(source.data, size, i)) {
            keep(out, source.data, i + 1);
            i += 2;
        }
        i++;
    }
    out->origin[out->size] = (uint32_t)source.size;
}

/* Length of a {% generation %} or {% endgeneration %} tag, 0: none. */
static size_t generation_tag(struct tmpl_text text, bool *left, bool *right) {
    struct tmpl_text at = text;
#define SKIP(n) (at = tmpl_text(at.data + (n), at.size - (n)))
#define STARTS(literal)                                                                            \
    (at.size >= sizeof(literal) - 1 && memcmp(at.data, literal, sizeof(literal) - 1) == 0)
    if (!STARTS("{%")) {
        return 0;
    }
    SKIP(2);
    *left = STARTS("-");
    SKIP(*left ? 1u : 0u);
    at = uqff_tmpl_trim(at, true, false);
    SKIP(STARTS("end") ? 3u : 0u);
    if (!STARTS("generation")) {
        return 0;
    }
    SKIP(10);
    at = uqff_tmpl_trim(at, true, false);
    *right = STARTS("-");
    SKIP(*right ? 1u : 0u);
    return STARTS("%}") ? (size_t)(at.data + 2 - text.data) : 0;
#undef SKIP
#undef STARTS
}

/* The marks of what a model is trained to say mean nothing to rendering. */
static void drop_generation(struct trimmed *trimmed) {
    size_t size = trimmed->size, n = 0;
    for (size_t i = 0; i < size;) {
        bool left, right;
        struct tmpl_text rest = tmpl_text(trimmed->text + i, size - i);
        size_t tag = generation_tag(rest, &left, &right);
        if (tag == 0) {
            trimmed->text[n] = trimmed->text[i];
            trimmed->origin[n++] = trimmed->origin[i++];
            continue;
        }
        if (left) {
            n = uqff_tmpl_trim(tmpl_text(trimmed->text, n), false, true).size;
        }
        rest = tmpl_text(rest.data + tag, rest.size - tag);
        rest = right ? uqff_tmpl_trim(rest, true, false) : rest;
        i = (size_t)(rest.data - trimmed->text);
    }
    trimmed->size = n;
    trimmed->origin[n] = trimmed->origin[size];
}

/* ---- tokens ------------------------------------------------------------------------------------
 */

struct lexer {
    struct uqff_template *tmpl;
    struct tmpl_tokens *tokens;
    struct trimmed in;
    size_t i;
    bool trim_next; /* the tag before ended in '-' */
    struct uqff_error *err;
};

static bool peek(const struct lexer *lexer, const char *text) {
    size_t n = strlen(text);
    return lexer->in.size - lexer->i >= n && memcmp(lexer->in.text + lexer->i, text, n) == 0;
}

static struct tmpl_text rest_of(const struct lexer *lexer) {
    return tmpl_text(lexer->in.text + lexer->i, lexer->in.size - lexer->i);
}

static enum uqff_code add(struct lexer *lexer, enum tmpl_token_kind kind, unsigned op, size_t at,
                          struct tmpl_text text) {
    void *items = lexer->tokens->items;
    enum uqff_code code = uqff_grow(&items, &lexer->tokens->capacity, lexer->tokens->count + 1,
                                    sizeof *lexer->tokens->items, lexer->err);
    lexer->tokens->items = items;
    if (code == UQFF_OK) {
        lexer->tokens->items[lexer->tokens->count++] =
            (struct tmpl_token){.kind = kind, .op = op, .at = lexer->in.origin[at], .text = text};
    }
    return code;
}

static enum uqff_code wrong(struct lexer *lexer, size_t at, const char *what) {
    return uqff_tmpl_error(lexer->tmpl, lexer->in.origin[at], lexer->err, UQFF_E_SYNTAX, "%s",
                           what);
}

/* Text up to the next tag. */
static enum uqff_code lex_data(struct lexer *lexer) {
    size_t start = lexer->i;
    while (lexer->i < lexer->in.size && !peek(lexer, "{{") && !peek(lexer, "{%") &&
           !peek(lexer, "{#")) {
        lexer->i++;
    }
    bool trim_end = rest_of(lexer).size > 2 && lexer->in.text[lexer->i + 2] == '-';
    struct tmpl_text text = uqff_tmpl_trim(tmpl_text(lexer->in.text + start, lexer->i - start),
                                           lexer->trim_next, trim_end);
    lexer->trim_next = false;
    return text.size == 0 ? UQFF_OK : add(lexer, TMPL_T_DATA, 0, start, text);
}

static enum uqff_code lex_comment(struct lexer *lexer) {
    size_t start = lexer->i;
    lexer->i += 2;
    while (lexer->i < lexer->in.size && !peek(lexer, "#}")) {
        lexer->i++;
    }
    if (lexer->i == lexer->in.size) {
        return wrong(lexer, start, "a comment that does not end");
    }
    lexer->trim_next = lexer->i > start + 2 && lexer->in.text[lexer->i - 1] == '-';
    lexer->i += 2;
    return UQFF_OK;
}

static bool hex_digits(struct tmpl_text text, size_t n, uint32_t *out) {
    unsigned char bytes[2];
    if (text.size < n || !uqff_unhex(bytes, text.data, n / 2)) {
        return false;
    }
    *out = n == 2 ? bytes[0] : uqff_load_be16(bytes);
    return true;
}

/* Decodes the escape behind a backslash into out; *used is how many source bytes it took. */
static enum uqff_code lex_escape(struct lexer *lexer, char *out, size_t *written) {
    static const char letters[] = "ntrbfv'\"\\", meanings[] = "\n\t\r\b\f\v'\"\\";
    size_t at = lexer->i - 1;
    char c = lexer->in.text[lexer->i++];
    const char *found = c != '\0' ? strchr(letters, c) : NULL;
    if (found != NULL) {
        *out = meanings[found - letters];
        *written = 1;
        return UQFF_OK;
    }
    if (c != 'x' && c != 'u') {
        return wrong(lexer, at, "an escape that is not known");
    }
    size_t digits = c == 'x' ? 2 : 4;
    uint32_t value, low;
    if (!hex_digits(rest_of(lexer), digits, &value)) {
        return wrong(lexer, at, "an escape without its hexadecimal digits");
    }
    lexer->i += digits;
    if (value >= 0xD800 && value < 0xE000) {
        struct tmpl_text rest = rest_of(lexer);
        bool pair = value < 0xDC00 && peek(lexer, "\\u") &&
                    hex_digits(tmpl_text(rest.data + 2, rest.size - 2), 4, &low) && low >= 0xDC00 &&
                    low < 0xE000;
        value = pair ? 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
        lexer->i += pair ? 6 : 0;
    }
    *written = uqff_tmpl_encode(value, out);
    return UQFF_OK;
}

static enum uqff_code lex_string(struct lexer *lexer) {
    size_t start = lexer->i, end = start + 1, n = 0;
    char quote = lexer->in.text[start];
    while (end < lexer->in.size && lexer->in.text[end] != quote) {
        end += lexer->in.text[end] == '\\' ? 2 : 1;
    }
    if (end >= lexer->in.size) {
        return wrong(lexer, start, "a string that does not end");
    }
    /* No escape is longer than what it stands for needs. */
    char *text = uqff_arena_alloc(&lexer->tmpl->arena, end - start);
    if (text == NULL) {
        return uqff_fail_memory(lexer->err);
    }
    lexer->i++;
    while (lexer->i < end) {
        char c = lexer->in.text[lexer->i++];
        size_t written = 1;
        if (c != '\\') {
            text[n] = c;
        } else {
            enum uqff_code code = lex_escape(lexer, text + n, &written);
            if (code != UQFF_OK) {
                return code;
            }
        }
        n += written;
    }
    lexer->i++;
    return add(lexer, TMPL_T_STRING, 0, start, tmpl_text(text, n));
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

static enum uqff_code lex_number(struct lexer *lexer) {
    size_t start = lexer->i, size = lexer->in.size;
    const char *text = lexer->in.text;
    while (lexer->i < size && is_digit(text[lexer->i])) {
        lexer->i++;
    }
    bool fraction = lexer->i + 1 < size && text[lexer->i] == '.' && is_digit(text[lexer->i + 1]);
    if (fraction) {
        lexer->i++;
        while (lexer->i < size && is_digit(text[lexer->i])) {
            lexer->i++;
        }
    }
    struct tmpl_text number = tmpl_text(text + start, lexer->i - start);
    enum uqff_code code = add(lexer, fraction ? TMPL_T_FLOAT : TMPL_T_INT, 0, start, number);
    if (code == UQFF_OK) {
        uqff_tmpl_read_number(number, &lexer->tokens->items[lexer->tokens->count - 1].number);
    }
    return code;
}

static enum uqff_code lex_sign(struct lexer *lexer) {
    static const char pairs[][3] = {"**", "//", "==", "!=", "<=", ">="};
    size_t start = lexer->i;
    char c = lexer->in.text[start];
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        if (peek(lexer, pairs[k])) {
            lexer->i += 2;
            return add(lexer, TMPL_T_SIGN, TMPL_OP2(pairs[k][0], pairs[k][1]), start,
                       tmpl_text(lexer->in.text + start, 2));
        }
    }
    if (c == '\0' || strchr("()[]{}<>=,:.|+-*/%~", c) == NULL) {
        return wrong(lexer, start, "a character that has no meaning here");
    }
    lexer->i++;
    return add(lexer, TMPL_T_SIGN, (unsigned)c, start, tmpl_text(lexer->in.text + start, 1));
}

/* One of "%}", "-%}", "+%}", "}}", "-}}"; the braces of a mapping take precedence. */
static bool at_close(const struct lexer *lexer, size_t braces, size_t *length,
                     enum tmpl_token_kind *kind) {
    bool minus = peek(lexer, "-"), plus = peek(lexer, "+");
    if (peek(lexer, "%}") || peek(lexer, "-%}") || peek(lexer, "+%}")) {
        *kind = TMPL_T_CLOSE_STATEMENT;
        *length = minus || plus ? 3 : 2;
        return true;
    }
    *kind = TMPL_T_CLOSE_PRINT;
    *length = minus ? 3 : 2;
    return braces == 0 && (peek(lexer, "}}") || peek(lexer, "-}}"));
}

/* A tag from its opening to its closing braces. */
static enum uqff_code lex_tag(struct lexer *lexer) {
    bool print = peek(lexer, "{{");
    size_t start = lexer->i, braces = 0;
    enum uqff_code code = add(lexer, print ? TMPL_T_OPEN_PRINT : TMPL_T_OPEN_STATEMENT, 0, start,
                              tmpl_text(lexer->in.text + start, 2));
    lexer->i += 2;
    lexer->i += peek(lexer, "-") || (!print && peek(lexer, "+"));
    while (code == UQFF_OK) {
        lexer->i += rest_of(lexer).size - uqff_tmpl_trim(rest_of(lexer), true, false).size;
        if (lexer->i == lexer->in.size) {
            return wrong(lexer, start, "a tag that does not end");
        }
        char c = lexer->in.text[lexer->i];
        size_t length;
        enum tmpl_token_kind kind;
        if (at_close(lexer, braces, &length, &kind)) {
            lexer->trim_next = peek(lexer, "-");
            code = add(lexer, kind, 0, lexer->i, tmpl_text(lexer->in.text + lexer->i, length));
            lexer->i += length;
            return code;
        }
        if (c == '"' || c == '\'') {
            code = lex_string(lexer);
        } else if (is_digit(c)) {
            code = lex_number(lexer);
        } else if (is_name(c)) {
            size_t first = lexer->i;
            while (lexer->i < lexer->in.size && is_name(lexer->in.text[lexer->i])) {
                lexer->i++;
            }
            code = add(lexer, TMPL_T_NAME, 0, first,
                       tmpl_text(lexer->in.text + first, lexer->i - first));
        } else {
            braces += c == '{';
            braces -= c == '}' && braces > 0;
            code = lex_sign(lexer);
        }
    }
    return code;
}

enum uqff_code uqff_tmpl_lex(struct uqff_template *tmpl, struct tmpl_tokens *tokens,
                             struct uqff_error *err) {
    size_t size = tmpl->source.size;
    struct lexer lexer = {.tmpl = tmpl, .tokens = tokens, .err = err};
    enum uqff_code code = UQFF_OK;
    lexer.in.text = uqff_arena_alloc(&tmpl->arena, size + 1);
    lexer.in.origin = uqff_alloc_array(size + 1, sizeof *lexer.in.origin);
    if (lexer.in.text == NULL || lexer.in.origin == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    trim_blocks(tmpl->source, &lexer.in);
    drop_generation(&lexer.in);
    while (code == UQFF_OK && lexer.i < lexer.in.size) {
        if (peek(&lexer, "{#")) {
            code = lex_comment(&lexer);
        } else if (peek(&lexer, "{{") || peek(&lexer, "{%")) {
            code = lex_tag(&lexer);
        } else {
            code = lex_data(&lexer);
        }
    }
    if (code == UQFF_OK) {
        code = add(&lexer, TMPL_T_END, 0, lexer.in.size, TMPL_TEXT("the end of the template"));
    }
out:
    uqff_free(lexer.in.origin);
    return code;
}
