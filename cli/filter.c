/* filter: PCRE2 over names. */
#include "filter.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* A pattern that backtracks without end gives up, and the name does not pass. */
enum { MATCH_LIMIT = 1000000 };

struct filter {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

enum uqff_code filter_new(const char *pattern, struct filter **out, struct uqff_error *err) {
    *out = NULL;
    if (pattern == NULL) {
        return UQFF_OK;
    }
    int number;
    size_t position;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, strlen(pattern), PCRE2_UTF | PCRE2_MATCH_INVALID_UTF,
                      &number, &position, NULL);
    if (compiled == NULL) {
        char text[128] = "";
        pcre2_get_error_message(number, (PCRE2_UCHAR *)text, sizeof text);
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '--filter': '%.200s': %s at character %zu", pattern, text,
                         position + 1);
    }
    struct filter *filter = uqff_alloc(sizeof *filter);
    if (filter == NULL) {
        pcre2_code_free(compiled);
        return uqff_fail_memory(err);
    }
    filter->code = compiled;
    filter->data = pcre2_match_data_create(1, NULL);
    filter->context = pcre2_match_context_create(NULL);
    if (filter->data == NULL || filter->context == NULL) {
        filter_free(filter);
        return uqff_fail_memory(err);
    }
    pcre2_set_match_limit(filter->context, MATCH_LIMIT);
    /* Where there is no compiler for this machine, the interpreter does the same. */
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    *out = filter;
    return UQFF_OK;
}

void filter_free(struct filter *filter) {
    if (filter != NULL) {
        pcre2_match_context_free(filter->context);
        pcre2_match_data_free(filter->data);
        pcre2_code_free(filter->code);
        uqff_free(filter);
    }
}

bool filter_passes(const struct filter *filter, const void *name, size_t n) {
    return filter == NULL ||
           pcre2_match(filter->code, (PCRE2_SPTR)name, n, 0, 0, filter->data, filter->context) >= 0;
}
