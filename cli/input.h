/* Standard input, read whole. */
#ifndef UQFF_CLI_INPUT_H
#define UQFF_CLI_INPUT_H

#include "uqff/base.h"

/* True for the name "-", which stands for standard input where a text is asked for. */
bool input_is_stream(const char *name);

/* Appends all of standard input, at most `limit` bytes. */
enum uqff_code input_read(struct uqff_buffer *text, uint64_t limit,
                          struct uqff_error *err) UQFF_MUST_CHECK;

#endif
