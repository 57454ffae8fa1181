/* progress: tells how far long work is, on standard error. */
#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BAR_INTERVAL_MS = 100,  /* between two drawings of the bar */
    LINE_INTERVAL_MS = 5000 /* between two lines of a log */
};

static volatile sig_atomic_t bar_on_screen;

static int64_t milliseconds(const struct timespec *from, const struct timespec *to) {
    return ((int64_t)to->tv_sec - (int64_t)from->tv_sec) * 1000 +
           ((int64_t)to->tv_nsec - (int64_t)from->tv_nsec) / 1000000;
}

/* "0:07", "12:30", "3:05:10" */
static void format_time(char out[24], double seconds) {
    unsigned long s = seconds < 3e6 ? (unsigned long)(seconds + 0.5) : 3000000;
    if (s < 3600) {
        snprintf(out, 24, "%lu:%02lu", s / 60, s % 60);
    } else {
        snprintf(out, 24, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    }
}

static void draw_bar(const struct progress *p, double part, const char *figures) {
    /* What the stage and the figures leave, within reason. */
    int width = (int)p->cli->columns - (int)strlen(p->stage) - (int)strlen(figures) - 6;
    width = width < 5 ? 5 : width > 40 ? 40 : width;
    int full = (int)(part * width);
    fprintf(stderr, "\r\x1b[K%s [%.*s%*s] %s", p->stage, full,
            "========================================", width - full, "", figures);
    fflush(stderr);
}

/* " 35%  1.20 GiB of 3.40 GiB  210 MiB/s   0:11 left", " 35%  7 of 20 chunks  PPL 5.1234  0:11
 * left" */
static void format_figures(const struct progress *p, uint64_t done, uint64_t total, double seconds,
                           char *out, size_t size) {
    const int percent = total == 0 ? 100 : (int)((double)done / (double)total * 100);
    const double rate = seconds > 0 ? (double)done / seconds : 0;
    char left[24] = "-";
    if (p->unit != NULL) {
        if (done > 0 && rate > 0) {
            format_time(left, (double)(total - done) / rate);
        }
        snprintf(out, size, "%3d%%  %llu of %llu %s  %s%s%5s left", percent,
                 (unsigned long long)done, (unsigned long long)total, p->unit, p->note,
                 p->note[0] == '\0' ? "" : "  ", left);
        return;
    }
    char part[16], whole[16], speed[16] = "-";
    uqff_format_bytes(part, done);
    uqff_format_bytes(whole, total);
    if (rate >= 1) {
        uqff_format_bytes(speed, (uint64_t)rate);
        format_time(left, (double)(total - done) / rate);
    }
    snprintf(out, size, "%3d%%  %8s of %s  %8s/s  %5s left", percent, part, whole, speed, left);
}

static bool update(void *context, const char *stage, uint64_t done, uint64_t total) {
    struct progress *p = context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!p->started || strcmp(p->stage, stage) != 0) {
        p->started = true;
        p->stage = stage;
        p->begun = p->shown = now;
        if (!p->cli->bar) {
            return true; /* short work leaves no line in a log */
        }
    } else if (milliseconds(&p->shown, &now) < (p->cli->bar ? BAR_INTERVAL_MS : LINE_INTERVAL_MS)) {
        return true;
    }
    p->shown = now;
    const double seconds = (double)milliseconds(&p->begun, &now) / 1000;
    const double part = total == 0 ? 1 : (double)done / (double)total;
    char figures[160];
    format_figures(p, done, total, seconds, figures, sizeof figures);
    if (p->cli->bar) {
        p->drawn = true;
        bar_on_screen = 1;
        draw_bar(p, part, figures);
    } else {
        fprintf(stderr, "%s: %s\n", stage, figures);
    }
    return true;
}

struct uqff_progress progress_begin(struct progress *progress, const struct cli *cli) {
    *progress = (struct progress){.cli = cli};
    if (cli->quiet || cli->no_progress) {
        return (struct uqff_progress){NULL, NULL};
    }
    return (struct uqff_progress){update, progress};
}

struct uqff_progress progress_begin_counted(struct progress *progress, const struct cli *cli,
                                            const char *unit) {
    const struct uqff_progress reporter = progress_begin(progress, cli);
    progress->unit = unit;
    return reporter;
}

void progress_end(struct progress *progress) {
    if (progress->drawn) {
        fprintf(stderr, "\r\x1b[K");
        fflush(stderr);
        progress->drawn = false;
        bar_on_screen = 0;
    }
}

void progress_interrupted(void) {
    if (bar_on_screen) {
        /* Nothing can be done about a failure here. */
        if (write(STDERR_FILENO, "\n", 1) != 1) {
            return;
        }
    }
}
