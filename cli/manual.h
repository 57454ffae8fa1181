/* The program's help: one traversal of the tables, rendered as text or as a man page. */
#ifndef UQFF_CLI_MANUAL_H
#define UQFF_CLI_MANUAL_H

#include "command.h"

/* How the parts of a page look. */
struct renderer {
    struct uqff_buffer *out;
    unsigned columns;
    void (*begin)(struct renderer *r, const char *page, const char *summary);
    void (*section)(struct renderer *r, const char *title);
    void (*paragraph)(struct renderer *r, const char *text);
    void (*verbatim)(struct renderer *r, const char *text); /* lines, each with its own indent */
    void (*item)(struct renderer *r, const char *head, const char *text);
    /* Text only: */
    size_t indent;     /* of paragraphs */
    size_t item_width; /* the column where the text of items begins */
    bool fresh;        /* right behind a heading: no blank line is wanted */
};

struct renderer renderer_text(struct uqff_buffer *out, unsigned columns);
struct renderer renderer_roff(struct uqff_buffer *out);

/* The short help of a command, as --help prints it; NULL: of the program. */
void manual_short(struct renderer *r, const struct command *command);
/* The whole page. */
void manual_full(struct renderer *r, const struct command *command);

/* "uqff pack -q QUANT [OPTION…] MODEL"; of the program for NULL. */
const char *manual_usage(char *out, size_t capacity, const struct command *command);

/* "-o, --output FILE" (a letter that the command uses otherwise is left out). */
const char *manual_option_head(char *out, size_t capacity, const struct command *command,
                               const struct option *option);

/* The letter under which a common option is reached in a command: 0 when the command takes it. */
char common_letter(const struct command *command, const struct option *option);

#endif
