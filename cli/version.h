/* --version. */
#ifndef UQFF_CLI_VERSION_H
#define UQFF_CLI_VERSION_H

#include "command.h"

/* The version; under --verbose also the libraries, and the instruction sets found and chosen. With
 * --json a document of all that: {schema "uqff.version/1", version, libraries, found, chosen,
 * threads}. */
enum uqff_code version_print(struct cli *cli, struct uqff_error *err) UQFF_MUST_CHECK;

#endif
