/* recipe_patterns: the user's `REGEX=TYPE` rules, by PCRE2 with bounds on the work of a match. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pack/recipe.h"

#include <pcre2.h>
#include <string.h>

/* A pattern that backtracks without end fails instead of running for hours. Names are short, so
 * honest patterns stay far below these. */
#define MATCH_LIMIT 1000000u
#define DEPTH_LIMIT 10000u
#define HEAP_LIMIT_KIB 16384u

struct recipe_patterns {
    pcre2_general_context *general;
    pcre2_match_context *limits;
    pcre2_match_data *match;
    const struct uqff_type_rule *rules;
    pcre2_code **codes;
    size_t count;
};

static void *pcre2_allocate(size_t size, void *context) {
    (void)context;
    return uqff_alloc(size);
}

static void pcre2_release(void *block, void *context) {
    (void)context;
    uqff_free(block);
}

void uqff_recipe_patterns_free(struct recipe_patterns *patterns) {
    if (patterns == NULL) {
        return;
    }
    for (size_t i = 0; patterns->codes != NULL && i < patterns->count; i++) {
        pcre2_code_free(patterns->codes[i]);
    }
    uqff_free(patterns->codes);
    pcre2_match_data_free(patterns->match);
    pcre2_match_context_free(patterns->limits);
    pcre2_general_context_free(patterns->general);
    uqff_free(patterns);
}

static enum uqff_code compile(struct recipe_patterns *patterns, size_t i, struct uqff_error *err) {
    const char *pattern = patterns->rules[i].pattern;
    int number = 0;
    PCRE2_SIZE position = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(patterns->general);
    if (context == NULL) {
        return uqff_fail_memory(err);
    }
    patterns->codes[i] =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &number, &position, context);
    pcre2_compile_context_free(context);
    if (patterns->codes[i] != NULL) {
        return UQFF_OK;
    }
    if (number == PCRE2_ERROR_NOMEMORY || number == 121) {
        return uqff_fail_memory(err); /* 121: failed to allocate heap memory */
    }
    PCRE2_UCHAR text[120];
    if (pcre2_get_error_message(number, text, sizeof text) < 0) {
        text[0] = '\0';
    }
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "pattern '%.200s': at position %zu: %s",
                     pattern, (size_t)position, (const char *)text);
}

enum uqff_code uqff_recipe_patterns_new(const struct uqff_type_rule *rules, size_t count,
                                        struct recipe_patterns **out, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    struct recipe_patterns *patterns = uqff_alloc_array(1, sizeof *patterns);
    if (patterns == NULL) {
        return uqff_fail_memory(err);
    }
    patterns->rules = rules;
    patterns->count = count;
    patterns->codes = uqff_alloc_array(count, sizeof *patterns->codes);
    patterns->general = pcre2_general_context_create(pcre2_allocate, pcre2_release, NULL);
    patterns->limits = pcre2_match_context_create(patterns->general);
    patterns->match = pcre2_match_data_create(1, patterns->general);
    if (patterns->codes == NULL || patterns->general == NULL || patterns->limits == NULL ||
        patterns->match == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    pcre2_set_match_limit(patterns->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(patterns->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(patterns->limits, HEAP_LIMIT_KIB);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = compile(patterns, i, err);
    }
out:
    if (code != UQFF_OK) {
        uqff_recipe_patterns_free(patterns);
        return code;
    }
    *out = patterns;
    return UQFF_OK;
}

static enum uqff_code search(const struct recipe_patterns *patterns, size_t rule, const char *name,
                             bool *found, struct uqff_error *err) {
    *found = false;
    if (name == NULL) {
        return UQFF_OK;
    }
    const int result = pcre2_match(patterns->codes[rule], (PCRE2_SPTR)name, strlen(name), 0, 0,
                                   patterns->match, patterns->limits);
    if (result >= 0) { /* 0: found, with more groups than the match data holds */
        *found = true;
        return UQFF_OK;
    }
    switch (result) {
    case PCRE2_ERROR_NOMATCH:
        return UQFF_OK;
    case PCRE2_ERROR_NOMEMORY:
        return uqff_fail_memory(err);
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "pattern '%.200s': takes too much work on tensor '%.200s'",
                         patterns->rules[rule].pattern, name);
    default: {
        PCRE2_UCHAR text[120];
        if (pcre2_get_error_message(result, text, sizeof text) < 0) {
            text[0] = '\0';
        }
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "pattern '%.200s' on tensor '%.200s': %s", patterns->rules[rule].pattern,
                         name, (const char *)text);
    }
    }
}

enum uqff_code uqff_recipe_patterns_find(const struct recipe_patterns *patterns, const char *a,
                                         const char *b, size_t *rule, struct uqff_error *err) {
    for (size_t i = 0; i < patterns->count; i++) {
        bool found = false;
        enum uqff_code code = search(patterns, i, a, &found, err);
        if (code == UQFF_OK && !found) {
            code = search(patterns, i, b, &found, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
        if (found) {
            *rule = i;
            return UQFF_OK;
        }
    }
    *rule = UQFF_NONE;
    return UQFF_OK;
}
