/* --version. */
#ifndef UQFF_CLI_VERSION_H
#define UQFF_CLI_VERSION_H

#include "command.h"

/* The version; under --verbose also the libraries, and the instruction sets found and chosen. */
void version_print(const struct cli *cli);

#endif
