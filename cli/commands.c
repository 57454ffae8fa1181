/* commands: the list of commands and the options that all of them take. */
#include "cmd.h"

#include <string.h>

const struct command *const commands[] = {
    &command_pack,
    &command_inspect,
    &command_verify,
    &command_export,
    &command_convert,
    &command_variants,
    &command_diff,
    &command_split,
    &command_merge,
    &command_edit,
    &command_hash,
    &command_tokenize,
    &command_validate,
    &command_imatrix,
    &command_run,
    &command_bench,
    &command_completion,
    &command_help,
    NULL,
};

#define AT(member) offsetof(struct cli, member)

const struct option common_options[] = {
    {"help", 'h', NULL, OPTION_FLAG, AT(help), COMPLETE_NONE, NULL, "print help and exit"},
    {"version", 'V', NULL, OPTION_FLAG, AT(version), COMPLETE_NONE, NULL,
     "print the version and exit; with -v also the libraries and the instruction sets found and "
     "chosen"},
    {"quiet", 'q', NULL, OPTION_FLAG, AT(quiet), COMPLETE_NONE, NULL,
     "no progress, no warnings, no summary"},
    {"verbose", 'v', NULL, OPTION_FLAG, AT(verbose), COMPLETE_NONE, NULL,
     "tell more; long values are not cut"},
    {"json", 0, NULL, OPTION_FLAG, AT(json), COMPLETE_NONE, NULL,
     "print one JSON document on standard output, and errors as JSON on standard error"},
    {"threads", 'j', "N", OPTION_COUNT, AT(threads), COMPLETE_NONE,
     "the cores that this process may use", "threads to work with"},
    {"no-progress", 0, NULL, OPTION_FLAG, AT(no_progress), COMPLETE_NONE, NULL,
     "do not tell how far the work is"},
    {"color", 0, "auto|always|never", OPTION_CHOICE, AT(color), COMPLETE_NONE, "auto",
     "colour the output"},
    {"force", 'f', NULL, OPTION_FLAG, AT(force), COMPLETE_NONE, NULL,
     "overwrite outputs that exist"},
    {0},
};

const struct command *command_find(const char *name) {
    for (const struct command *const *c = commands; *c != NULL; c++) {
        if (strcmp((*c)->name, name) == 0) {
            return *c;
        }
    }
    return NULL;
}

enum uqff_code command_unknown(const char *name, struct uqff_error *err) {
    const char *names[sizeof commands / sizeof commands[0]];
    size_t count = 0;
    for (const struct command *const *c = commands; *c != NULL; c++) {
        names[count++] = (*c)->name;
    }
    const char *nearest = uqff_nearest(name, names, count);
    if (nearest != NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "unknown command '%.64s'; did you mean '%s'?", name, nearest);
    }
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "unknown command '%.64s'; \"uqff help\" lists them", name);
}
