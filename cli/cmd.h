/* The commands: one file each. */
#ifndef UQFF_CLI_CMD_H
#define UQFF_CLI_CMD_H

#include "command.h"

extern const struct command command_bench;
extern const struct command command_completion;
extern const struct command command_convert;
extern const struct command command_diff;
extern const struct command command_edit;
extern const struct command command_export;
extern const struct command command_hash;
extern const struct command command_help;
extern const struct command command_imatrix;
extern const struct command command_inspect;
extern const struct command command_merge;
extern const struct command command_pack;
extern const struct command command_run;
extern const struct command command_split;
extern const struct command command_tokenize;
extern const struct command command_validate;
extern const struct command command_variants;
extern const struct command command_verify;

/* UQFF_E_ARGUMENT for a command that does not exist, with "did you mean". */
enum uqff_code command_unknown(const char *name, struct uqff_error *err);

#endif
