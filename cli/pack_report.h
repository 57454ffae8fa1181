/* What pack prints: the plan in full for --dry-run, or what was made. */
#ifndef UQFF_CLI_PACK_REPORT_H
#define UQFF_CLI_PACK_REPORT_H

#include "command.h"

#include "uqff/pack.h"

struct pack_report {
    struct cli *cli;
    const struct uqff_model *model;
    const struct uqff_pack_plan *plan;
    const struct uqff_pack_options *options;
    bool dry_run;
};

enum uqff_code pack_report_print(const struct pack_report *report,
                                 struct uqff_error *err) UQFF_MUST_CHECK;

#endif
