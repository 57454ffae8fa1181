/*
 * The split rules of common vocabularies, written out. Each function says where the match that
 * begins at a place ends, as its regular expression would; alternatives are tried in the order of
 * the expression. All are linear in the text: no step goes back further than the match that it
 * makes.
 */
#include <string.h>

#include "validation/tokenizer.h"
#include "validation/unicode.h"

/* ---- parts of rules -------------------------------------------------------------------------- */

/* End of the longest run of characters of `classes` from `at`; at most `most` of them. */
static size_t run_of(const char *s, size_t n, size_t at, unsigned classes, size_t most) {
    size_t length;
    for (; at < n && most > 0; most--) {
        if ((unicode_class_at(s + at, n - at, &length) & classes) == 0) {
            break;
        }
        at += length;
    }
    return at;
}

/* The same of characters that have none of `classes`. */
static size_t run_without(const char *s, size_t n, size_t at, unsigned classes) {
    size_t length;
    while (at < n && (unicode_class_at(s + at, n - at, &length) & classes) == 0) {
        at += length;
    }
    return at;
}

static size_t run_of_line_ends(const char *s, size_t n, size_t at, bool slash) {
    while (at < n && (s[at] == '\r' || s[at] == '\n' || (slash && s[at] == '/'))) {
        at++;
    }
    return at;
}

/* 's 't 're 've 'm 'll 'd, where an apostrophe stands at `at`. Without regard to case, U+017F is an
 * s too. */
static size_t contraction(const char *s, size_t n, size_t at, bool any_case) {
    static const char pairs[][2] = {{'r', 'e'}, {'v', 'e'}, {'l', 'l'}};
    if (at >= n || s[at] != '\'' || n - at < 2) {
        return 0;
    }
    const char fold = any_case ? 0x20 : 0;
    char first = (char)(s[at + 1] | fold), second = n - at < 3 ? 0 : (char)(s[at + 2] | fold);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') {
        return at + 2;
    }
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (first == pairs[i][0] && second == pairs[i][1]) {
            return at + 3;
        }
    }
    return any_case && n - at >= 3 && memcmp(s + at + 1, "\xC5\xBF", 2) == 0 ? at + 3 : 0;
}

/* \s+(?!\S)|\s+ : a run of white space without its last character, which goes with what follows;
 * all of it at the end of the text, or when it is one character. */
static size_t blank(const char *s, size_t n, size_t at) {
    size_t end = run_of(s, n, at, CLASS_SPACE, SIZE_MAX);
    if (end == at || end == n) {
        return end == at ? 0 : end;
    }
    size_t last = uqff_unicode_before(s, end);
    return last > at ? last : end;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ : as above, but a run with line ends goes to the last of them. */
static size_t blank_or_lines(const char *s, size_t n, size_t at) {
    size_t end = run_of(s, n, at, CLASS_SPACE, SIZE_MAX);
    for (size_t i = end; i > at; i--) {
        if (s[i - 1] == '\r' || s[i - 1] == '\n') {
            return i;
        }
    }
    return blank(s, n, at);
}

/* [^\r\n L N]? in front of a word. */
static bool is_word_prefix(unsigned classes, char c) {
    return (classes & (CLASS_LETTER | CLASS_NUMBER)) == 0 && c != '\r' && c != '\n';
}

/* ' ?[^\s others]+' : end of the run, 0 when there is none. */
static size_t marks(const char *s, size_t n, size_t at, unsigned others) {
    size_t from = at + (s[at] == ' ');
    size_t end = run_without(s, n, from, CLASS_SPACE | others);
    return end > from ? end : 0;
}

/* ---- gpt-2 ----------------------------------------------------------------------------------- */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t gpt2(const char *s, size_t n, size_t at) {
    size_t end = contraction(s, n, at, false);
    if (end != 0) {
        return end;
    }
    size_t from = at + (s[at] == ' ');
    if ((end = run_of(s, n, from, CLASS_LETTER, SIZE_MAX)) > from ||
        (end = run_of(s, n, from, CLASS_NUMBER, SIZE_MAX)) > from) {
        return end;
    }
    end = marks(s, n, at, CLASS_LETTER | CLASS_NUMBER);
    return end != 0 ? end : blank(s, n, at);
}

/* ---- llama 3, qwen 2, qwen 3.5 --------------------------------------------------------------- */

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?W+|\p{N}{1,digits}| ?[^\s W\p{N}]+[\r\n]*|…
 * with W letters, or letters and marks. */
static size_t words(const char *s, size_t n, size_t at, unsigned letters, size_t digits) {
    size_t length, end = contraction(s, n, at, true);
    if (end != 0) {
        return end;
    }
    unsigned classes = unicode_class_at(s + at, n - at, &length);
    if (is_word_prefix(classes, s[at])) {
        end = run_of(s, n, at + length, letters, SIZE_MAX);
        if (end > at + length) {
            return end;
        }
    }
    if ((end = run_of(s, n, at, letters, SIZE_MAX)) > at ||
        (end = run_of(s, n, at, CLASS_NUMBER, digits)) > at) {
        return end;
    }
    end = marks(s, n, at, letters | CLASS_NUMBER);
    return end != 0 ? run_of_line_ends(s, n, end, false) : blank_or_lines(s, n, at);
}

static size_t llama3(const char *s, size_t n, size_t at) {
    return words(s, n, at, CLASS_LETTER, 3);
}

static size_t qwen2(const char *s, size_t n, size_t at) {
    return words(s, n, at, CLASS_LETTER, 1);
}

static size_t qwen35(const char *s, size_t n, size_t at) {
    return words(s, n, at, CLASS_LETTER | CLASS_MARK, 1);
}

/* ---- tekken, gpt-4o -------------------------------------------------------------------------- */

/* U*L+ with U and L overlapping: the run of U gives back what L needs. When no L follows the run,
 * the last character of it that is an L ends the match. */
static size_t upper_then_lower(const char *s, size_t n, size_t at) {
    size_t length, end = run_of(s, n, at, CLASS_UPPER, SIZE_MAX);
    size_t lower = run_of(s, n, end, CLASS_LOWER, SIZE_MAX);
    if (lower > end) {
        return lower;
    }
    while (end > at) {
        size_t last = uqff_unicode_before(s, end);
        if ((unicode_class_at(s + last, end - last, &length) & CLASS_LOWER) != 0) {
            return end;
        }
        end = last;
    }
    return 0;
}

/* U+L* */
static size_t upper_or_more(const char *s, size_t n, size_t at) {
    size_t end = run_of(s, n, at, CLASS_UPPER, SIZE_MAX);
    return end == at ? 0 : run_of(s, n, end, CLASS_LOWER, SIZE_MAX);
}

/* [^\r\n\p{L}\p{N}]?U*L+C|[^\r\n\p{L}\p{N}]?U+L*C|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|…
 * with C a contraction or nothing. */
static size_t cased_words(const char *s, size_t n, size_t at, bool contracts, size_t digits) {
    size_t length, end = 0;
    bool prefix = is_word_prefix(unicode_class_at(s + at, n - at, &length), s[at]);
    end = prefix ? upper_then_lower(s, n, at + length) : 0;
    end = end != 0 ? end : upper_then_lower(s, n, at);
    end = end != 0 || !prefix ? end : upper_or_more(s, n, at + length);
    end = end != 0 ? end : upper_or_more(s, n, at);
    if (end != 0) {
        size_t more = contracts ? contraction(s, n, end, true) : 0;
        return more != 0 ? more : end;
    }
    if ((end = run_of(s, n, at, CLASS_NUMBER, digits)) > at) {
        return end;
    }
    end = marks(s, n, at, CLASS_LETTER | CLASS_NUMBER);
    return end != 0 ? run_of_line_ends(s, n, end, true) : blank_or_lines(s, n, at);
}

static size_t tekken(const char *s, size_t n, size_t at) {
    return cased_words(s, n, at, false, 1);
}

static size_t gpt4o(const char *s, size_t n, size_t at) {
    return cased_words(s, n, at, true, 3);
}

/* ---- deepseek-v3 ----------------------------------------------------------------------------- */

static size_t one_digit(const char *s, size_t n, size_t at) {
    size_t end = run_of(s, n, at, CLASS_NUMBER, 1);
    return end > at ? end : 0;
}

static size_t three_digits(const char *s, size_t n, size_t at) {
    size_t end = run_of(s, n, at, CLASS_NUMBER, 3);
    return end > at ? end : 0;
}

/* [一-龥぀-ゟ゠-ヿ]+ */
static size_t cjk(const char *s, size_t n, size_t at) {
    size_t end = at, length;
    while (end < n) {
        uint32_t c = unicode_decode(s + end, n - end, &length);
        if (!(c >= 0x4E00 && c <= 0x9FA5) && !(c >= 0x3040 && c <= 0x30FF)) {
            break;
        }
        end += length;
    }
    return end > at ? end : 0;
}

static bool is_ascii_letter(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* A letter word behind a mark of ASCII: .txt */
static size_t marked_word(const char *s, size_t n, size_t at) {
    if ((unsigned char)s[at] >= 0x80 ||
        (uqff_unicode_ascii[(unsigned char)s[at]] & (CLASS_PUNCTUATION | CLASS_SYMBOL)) == 0) {
        return 0;
    }
    size_t end = at + 1;
    while (end < n && is_ascii_letter(s[end])) {
        end++;
    }
    return end > at + 1 ? end : 0;
}

/* [ASCII mark][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|…
 * Controls and digits match nothing. */
static size_t deepseek3(const char *s, size_t n, size_t at) {
    const unsigned letters = CLASS_LETTER | CLASS_MARK, signs = CLASS_PUNCTUATION | CLASS_SYMBOL;
    size_t length, end = marked_word(s, n, at);
    if (end != 0) {
        return end;
    }
    unsigned classes = unicode_class_at(s + at, n - at, &length);
    if ((classes & (CLASS_LETTER | signs)) == 0 && s[at] != '\r' && s[at] != '\n') {
        end = run_of(s, n, at + length, letters, SIZE_MAX);
        if (end > at + length) {
            return end;
        }
    }
    if ((end = run_of(s, n, at, letters, SIZE_MAX)) > at) {
        return end;
    }
    size_t from = at + (s[at] == ' ');
    end = run_of(s, n, from, signs, SIZE_MAX);
    return end > from ? run_of_line_ends(s, n, end, false) : blank_or_lines(s, n, at);
}

/* ---- rules by name --------------------------------------------------------------------------- */

enum { MAX_RULE_STEPS = 3 };

static const struct {
    const char *name;
    match_rule *steps[MAX_RULE_STEPS];
} rules[] = {
    {"llama-bpe", {llama3}},
    {"llama3", {llama3}},
    {"llama-v3", {llama3}},
    {"smaug-bpe", {llama3}},
    {"dbrx", {llama3}},
    {"falcon3", {llama3}},
    {"falcon-h1", {llama3}},
    {"pixtral", {llama3}},
    {"lfm2", {llama3}},
    {"glm4", {llama3}},
    {"chatglm-bpe", {llama3}},
    {"qwen2", {qwen2}},
    {"deepseek-r1-qwen", {qwen2}},
    {"stablelm2", {qwen2}},
    {"megrez", {qwen2}},
    {"hunyuan", {qwen2}},
    {"bailingmoe", {qwen2}},
    {"qwen35", {qwen35}},
    {"gpt-2", {gpt2}},
    {"phi-2", {gpt2}},
    {"mpt", {gpt2}},
    {"olmo", {gpt2}},
    {"jais", {gpt2}},
    {"exaone4", {gpt2}},
    {"starcoder", {one_digit, gpt2}},
    {"smollm", {one_digit, gpt2}},
    {"refact", {one_digit, gpt2}},
    {"command-r", {one_digit, gpt2}},
    {"codeshell", {one_digit, gpt2}},
    {"exaone", {one_digit, gpt2}},
    {"tekken", {tekken}},
    {"gpt-4o", {gpt4o}},
    {"llama4", {gpt4o}},
    {"deepseek-v3", {three_digits, cjk, deepseek3}},
};

bool uqff_split_by_name(const char *name, struct split_step *steps, size_t *count) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(rules[i].name, name) != 0) {
            continue;
        }
        *count = 0;
        while (*count < MAX_RULE_STEPS && rules[i].steps[*count] != NULL) {
            steps[*count].match = rules[i].steps[*count];
            ++*count;
        }
        return true;
    }
    return false;
}
