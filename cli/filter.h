/* --filter: a regular expression over names. */
#ifndef UQFF_CLI_FILTER_H
#define UQFF_CLI_FILTER_H

#include "command.h"

struct filter;

/* Compiles a pattern (PCRE2, UTF-8); NULL gives *out = NULL, which lets everything pass. */
enum uqff_code filter_new(const char *pattern, struct filter **out,
                          struct uqff_error *err) UQFF_MUST_CHECK;
void filter_free(struct filter *filter);
/* True when the pattern is found in the name. */
bool filter_passes(const struct filter *filter, const void *name, size_t n);

#endif
