#include "pack/findings.h"

#include <stdio.h>

static void send(struct verify *verify, enum uqff_severity severity, const char *code,
                 const char *text) {
    if (severity == UQFF_WARNING && verify->options->strict) {
        severity = UQFF_FAILURE;
    }
    verify->failed = verify->failed || severity == UQFF_FAILURE;
    if (verify->sink != NULL && verify->sink->add != NULL) {
        verify->sink->add(verify->sink->context, severity, code, text);
    }
}

/* A reader's warning is printable already. */
static void take_warning(void *context, const char *text) {
    send((struct verify *)context, UQFF_WARNING, "format", text);
}

void uqff_findings_begin(struct verify *verify, const struct uqff_verify_options *options,
                         const struct uqff_findings *sink, const struct uqff_progress *progress) {
    *verify = (struct verify){
        .options = options,
        .sink = sink,
        .progress = progress,
        .warner = {take_warning, verify},
    };
}

void uqff_findings_add(struct verify *verify, enum uqff_severity severity, const char *code,
                       const char *format, ...) {
    /* uqff_vfail formats, escapes and cuts without needing memory. */
    struct uqff_error text;
    va_list args;
    va_start(args, format);
    (void)uqff_vfail(&text, UQFF_E_INTERNAL, UQFF_NO_OFFSET, format, args);
    va_end(args);
    send(verify, severity, code, text.text);
}

void uqff_findings_add_error(struct verify *verify, const char *code,
                             const struct uqff_error *err) {
    send(verify, UQFF_FAILURE, code, err->text);
}

bool uqff_findings_is_fatal(enum uqff_code code) {
    const enum uqff_family family = uqff_code_family(code);
    return family == UQFF_FAMILY_RESOURCE || family == UQFF_FAMILY_IO ||
           family == UQFF_FAMILY_INTERNAL || family == UQFF_FAMILY_NETWORK;
}
