/* Progress of long work: a bar with rate and time left on a terminal, lines in a log. */
#ifndef UQFF_CLI_PROGRESS_H
#define UQFF_CLI_PROGRESS_H

#include <time.h>

#include "command.h"

struct progress {
    const struct cli *cli;
    const char *stage;
    const char *unit; /* what is counted: "chunks"; NULL for bytes */
    char note[40];    /* a figure of the work so far, or "" */
    struct timespec begun, shown;
    bool started, drawn;
};

/* A reporter whose totals are bytes. `progress` must outlive it. Silent under --quiet,
 * --no-progress. */
struct uqff_progress progress_begin(struct progress *progress, const struct cli *cli);
/* The same for work that is counted; what stands in progress->note is shown along. */
struct uqff_progress progress_begin_counted(struct progress *progress, const struct cli *cli,
                                            const char *unit);
/* Takes the bar off the screen. */
void progress_end(struct progress *progress);

/* For a signal handler: writes a newline where a bar was being drawn. Async-signal-safe. */
void progress_interrupted(void);

#endif
