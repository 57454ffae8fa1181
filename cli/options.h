/* The parser of command lines, GNU style: --name value, --name=value, grouped letters, "--". */
#ifndef UQFF_CLI_OPTIONS_H
#define UQFF_CLI_OPTIONS_H

#include "command.h"

/* A table of options and the struct that their offsets point into. */
struct option_set {
    const struct option *options;
    void *values;
};

/* Parses argv[0 .. argc-1]. Looks options up in set after set: the first that knows a name or a
 * letter has it. Positional arguments are appended to *positionals; with `stop` not NULL, the first
 * one ends the parsing and *stop is its index (argc when there was none). Messages point to
 * `command`'s help. */
enum uqff_code options_parse(const struct option_set *sets, size_t set_count, int argc, char **argv,
                             struct uqff_arena *arena, struct list *positionals, int *stop,
                             struct uqff_error *err) UQFF_MUST_CHECK;

/* Checks the number of positional arguments against the command's table. */
enum uqff_code options_check_positionals(const struct command *command, size_t count,
                                         const struct list *arguments,
                                         struct uqff_error *err) UQFF_MUST_CHECK;

/* Refuses references to models in the network (UQFF_E_NETWORK) among the arguments and values that
 * are files, and "-" (UQFF_E_ARGUMENT) among those that are written. `values` is the command's. */
enum uqff_code options_check_references(struct cli *cli, const void *values,
                                        struct uqff_error *err) UQFF_MUST_CHECK;

enum uqff_code list_append(struct list *list, struct uqff_arena *arena, const char *item,
                           struct uqff_error *err) UQFF_MUST_CHECK;

/* Walks the choices of "a|b|c": false at the end. Set *position to the text before the first call.
 */
bool option_next_choice(const char **position, const char **choice, size_t *length);

#endif
