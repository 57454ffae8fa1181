/* Split rules that have no code of their own run in PCRE2. The expressions come from a file and
 * were written for Oniguruma, so each is read through first: what could run away, and what the two
 * read differently, is refused. */
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "validation/tokenizer.h"

enum {
    MAX_GROUPS = 200,
    LARGE_REPEAT = 256,     /* {n,256} is as good as without bound */
    MATCH_LIMIT = 2000000,  /* steps of one search */
    DEPTH_LIMIT = 100000,   /* of backtracking */
    HEAP_LIMIT = 64 * 1024, /* KiB */
};

struct split_regex {
    pcre2_code *code;
    pcre2_match_context *context;
    pcre2_general_context *general;
    char pattern[80]; /* its beginning, for messages */
};

/* ---- reading an expression through ----------------------------------------------------------- */

struct scan {
    const char *pattern;
    size_t at;
    bool unbounded[MAX_GROUPS]; /* by depth: the group holds a repeat without bound */
    size_t depth;
    struct uqff_error *err;
};

static enum uqff_code refuse(const struct scan *s, enum uqff_code code, const char *what) {
    return uqff_fail(s->err, code, UQFF_NO_OFFSET, "split rule '%.200s': byte %zu: found %s",
                     s->pattern, s->at, what);
}

/* Behind the '{' of an escape: \p{…}, \x{…}. */
static void pass_braces(struct scan *s) {
    if (s->pattern[s->at] == '{') {
        size_t n = strcspn(s->pattern + s->at, "}");
        s->at += n + (s->pattern[s->at + n] == '}');
    }
}

static enum uqff_code pass_escape(struct scan *s) {
    char c = s->pattern[s->at + 1];
    if (c == 0 || strchr("CGHKRXghk", c) != NULL) {
        return refuse(s, UQFF_E_UNSUPPORTED, "an escape that is not supported");
    }
    if (c == 'Q' || c == 'E') {
        return refuse(s, UQFF_E_UNSUPPORTED, "a quoted stretch");
    }
    s->at += 2;
    if (strchr("pPxuoN", c) != NULL) {
        pass_braces(s);
    }
    return UQFF_OK;
}

/* [...]: sets within sets and intersections are Oniguruma's own. */
static enum uqff_code pass_class(struct scan *s) {
    s->at++;
    s->at += s->pattern[s->at] == '^';
    s->at += s->pattern[s->at] == ']';
    for (;;) {
        const char *p = s->pattern + s->at;
        enum uqff_code code = UQFF_OK;
        if (*p == 0) {
            return refuse(s, UQFF_E_SYNTAX, "the end, expected ']'");
        }
        if (*p == ']') {
            s->at++;
            return UQFF_OK;
        }
        if (*p == '\\') {
            code = pass_escape(s);
        } else if (p[0] == '[' && p[1] == ':' && strstr(p, ":]") != NULL) {
            s->at += (size_t)(strstr(p, ":]") - p) + 2;
        } else if (*p == '[' || (p[0] == '&' && p[1] == '&')) {
            code = refuse(s, UQFF_E_UNSUPPORTED, "a set within a set, or an intersection");
        } else {
            s->at++;
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
}

static enum uqff_code open_group(struct scan *s) {
    const char *p = s->pattern + s->at;
    if (p[1] == '*') {
        return refuse(s, UQFF_E_UNSUPPORTED, "a verb");
    }
    s->at++;
    if (p[1] == '?') {
        /* Look-around, atomic and named groups, and the options i, m, s. */
        const char *options = p + 2;
        size_t n = strspn(options, "ims-");
        bool fine = strchr("=!>:", *options) != NULL && *options != 0;
        fine = fine || (*options == '<' && options[1] != 0);
        fine = fine || (n > 0 && (options[n] == ':' || options[n] == ')'));
        if (!fine) {
            return refuse(s, UQFF_E_UNSUPPORTED, "a group that is not supported");
        }
        s->at += 1 + n;
        if (n > 0 && options[n] == ')') {
            s->at++;
            return UQFF_OK;
        }
        s->at++;
    }
    if (++s->depth == MAX_GROUPS) {
        return refuse(s, UQFF_E_LIMIT, "groups nested too deep");
    }
    s->unbounded[s->depth] = false;
    return UQFF_OK;
}

/* {n}, {n,} or {n,m}: its length, 0 when the brace is a character like others. */
static size_t braced_repeat(const char *p, bool *unbounded, bool *exact) {
    size_t digits = strspn(p + 1, "0123456789"), second = 0;
    const char *bound = p + 1, *q = p + 1 + digits;
    uint64_t most = 0;
    if (*q == ',') {
        bound = q + 1;
        second = strspn(bound, "0123456789");
        q = bound + second;
    }
    if (digits == 0 || *q != '}') {
        return 0;
    }
    for (; *bound >= '0' && *bound <= '9' && most < LARGE_REPEAT; bound++) {
        most = most * 10 + (uint64_t)(*bound - '0');
    }
    *exact = p[1 + digits] == '}';
    *unbounded = most >= LARGE_REPEAT || (!*exact && second == 0);
    return (size_t)(q - p) + 1;
}

/* A repeat behind an atom, if there is one. */
static enum uqff_code pass_repeat(struct scan *s, bool *unbounded) {
    const char *p = s->pattern + s->at;
    bool exact = false;
    *unbounded = *p == '*' || *p == '+';
    size_t n = *unbounded || *p == '?';
    if (*p == '{') {
        n = braced_repeat(p, unbounded, &exact);
        /* {,m} counts for Oniguruma; and behind braces + repeats, as ? does behind {n}. */
        if ((n == 0 && p[1] == ',') || (n != 0 && (p[n] == '+' || (exact && p[n] == '?')))) {
            return refuse(s, UQFF_E_UNSUPPORTED, "a repeat of a form that is not supported");
        }
    }
    s->at += n;
    /* Lazy or possessive. */
    s->at += n != 0 && (s->pattern[s->at] == '?' || s->pattern[s->at] == '+');
    return UQFF_OK;
}

/* One atom with its repeat. A group that holds an unbounded repeat must not be repeated without
 * bound itself: (a+)+ tries every way to cut a run into runs. */
static enum uqff_code pass_atom(struct scan *s) {
    enum uqff_code code = UQFF_OK;
    char c = s->pattern[s->at];
    bool inner = false;
    if (c == '(') {
        return open_group(s);
    }
    if (c == ')') {
        if (s->depth == 0) {
            return refuse(s, UQFF_E_SYNTAX, "a ')' that closes nothing");
        }
        inner = s->unbounded[s->depth--];
        s->at++;
    } else if (c == '[') {
        code = pass_class(s);
    } else if (c == '\\') {
        code = pass_escape(s);
    } else {
        s->at++;
    }
    if (code != UQFF_OK) {
        return code;
    }
    bool unbounded;
    code = pass_repeat(s, &unbounded);
    if (code == UQFF_OK && unbounded && inner) {
        return refuse(s, UQFF_E_LIMIT,
                      "a repeat without bound of one without bound, which could run away");
    }
    s->unbounded[s->depth] = s->unbounded[s->depth] || unbounded || inner;
    return code;
}

static enum uqff_code check_pattern(const char *pattern, struct uqff_error *err) {
    struct scan s = {.pattern = pattern, .err = err};
    enum uqff_code code = UQFF_OK;
    while (code == UQFF_OK && pattern[s.at] != 0) {
        code = pass_atom(&s);
    }
    return code;
}

/* ---- compiling ------------------------------------------------------------------------------- */

static void *allocate(size_t size, void *context) {
    (void)context;
    return uqff_alloc(size);
}

static void release(void *block, void *context) {
    (void)context;
    uqff_free(block);
}

static enum uqff_code fail_pattern(const char *pattern, int number, size_t at,
                                   struct uqff_error *err) {
    PCRE2_UCHAR text[160] = "";
    if (number == PCRE2_ERROR_HEAP_FAILED) {
        return uqff_fail_memory(err);
    }
    pcre2_get_error_message(number, text, sizeof text);
    return uqff_fail(err, UQFF_E_SYNTAX, UQFF_NO_OFFSET, "split rule '%.200s': byte %zu: %s",
                     pattern, at, (const char *)text);
}

/* Properties by Unicode, and $ at every line end, as Oniguruma has them. */
static enum uqff_code compile(struct split_regex *regex, const char *pattern,
                              struct uqff_error *err) {
    int number;
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(regex->general);
    if (context == NULL) {
        return uqff_fail_memory(err);
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                &number, &at, context);
    pcre2_compile_context_free(context);
    if (regex->code == NULL) {
        return fail_pattern(pattern, number, at, err);
    }
    /* Where no code can be generated, the interpreter does. */
    (void)pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE);
    return UQFF_OK;
}

enum uqff_code uqff_regex_new(const char *pattern, struct split_regex **out,
                              struct uqff_error *err) {
    if (!uqff_utf8_valid(pattern, strlen(pattern), NULL)) {
        return uqff_fail(err, UQFF_E_ENCODING, UQFF_NO_OFFSET,
                         "split rule '%.200s': found invalid UTF-8", pattern);
    }
    enum uqff_code code = check_pattern(pattern, err);
    struct split_regex *regex = code != UQFF_OK ? NULL : uqff_alloc_array(1, sizeof *regex);
    if (regex == NULL) {
        return code != UQFF_OK ? code : uqff_fail_memory(err);
    }
    size_t shown =
        strlen(pattern) < sizeof regex->pattern ? strlen(pattern) : sizeof regex->pattern - 1;
    memcpy(regex->pattern, pattern, shown);
    regex->general = pcre2_general_context_create(allocate, release, NULL);
    regex->context = regex->general == NULL ? NULL : pcre2_match_context_create(regex->general);
    code = regex->context == NULL ? uqff_fail_memory(err) : compile(regex, pattern, err);
    if (code != UQFF_OK) {
        uqff_regex_free(regex);
        return code;
    }
    pcre2_set_match_limit(regex->context, MATCH_LIMIT);
    pcre2_set_depth_limit(regex->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(regex->context, HEAP_LIMIT);
    *out = regex;
    return UQFF_OK;
}

void uqff_regex_free(struct split_regex *regex) {
    if (regex != NULL) {
        pcre2_code_free(regex->code);
        pcre2_match_context_free(regex->context);
        pcre2_general_context_free(regex->general);
        uqff_free(regex);
    }
}

/* ---- searching ------------------------------------------------------------------------------- */

void uqff_regex_scratch_free(struct regex_scratch *scratch) {
    pcre2_match_data_free(scratch->data);
    scratch->data = NULL;
}

enum uqff_code uqff_regex_search(const struct split_regex *regex, struct regex_scratch *scratch,
                                 const char *text, size_t n, size_t at, bool *found, size_t *begin,
                                 size_t *end, struct uqff_error *err) {
    if (scratch->data == NULL) {
        scratch->data = pcre2_match_data_create_from_pattern(regex->code, regex->general);
        if (scratch->data == NULL) {
            return uqff_fail_memory(err);
        }
    }
    uint32_t options = PCRE2_NO_UTF_CHECK;
    int result =
        pcre2_match(regex->code, (PCRE2_SPTR)text, n, at, options, scratch->data, regex->context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
        result = pcre2_match(regex->code, (PCRE2_SPTR)text, n, at, options | PCRE2_NO_JIT,
                             scratch->data, regex->context);
    }
    *found = result >= 0;
    if (result == PCRE2_ERROR_NOMATCH) {
        return UQFF_OK;
    }
    if (result == PCRE2_ERROR_NOMEMORY) {
        return uqff_fail_memory(err);
    }
    if (result < 0) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "split rule '%s': a search took more steps or memory than it may",
                         regex->pattern);
    }
    const PCRE2_SIZE *where = pcre2_get_ovector_pointer(scratch->data);
    *begin = where[0];
    *end = where[1];
    return UQFF_OK;
}
