/* findings: what a verification finds, and how it is told. */
#ifndef UQFF_PACK_FINDINGS_H
#define UQFF_PACK_FINDINGS_H

#include "uqff/pack.h"

/* A verification on its way. Findings are added from one thread. */
struct verify {
    const struct uqff_verify_options *options;
    const struct uqff_findings *sink; /* may be NULL */
    const struct uqff_progress *progress;
    struct uqff_warner warner; /* turns what readers tolerate into warnings */
    bool failed;
};

void uqff_findings_begin(struct verify *verify, const struct uqff_verify_options *options,
                         const struct uqff_findings *sink, const struct uqff_progress *progress);

/* Adds a finding. Arguments are raw: the text is escaped here. Strictness makes a failure of a
 * warning. */
void uqff_findings_add(struct verify *verify, enum uqff_severity severity, const char *code,
                       const char *format, ...) UQFF_PRINTF(4, 5);

/* Adds an error that a part of the verification met as a failure, text and all. */
void uqff_findings_add_error(struct verify *verify, const char *code, const struct uqff_error *err);

/* True for an error that says that the machine, not the file, failed: it ends the verification. */
bool uqff_findings_is_fatal(enum uqff_code code);

#endif
