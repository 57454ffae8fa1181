/* Gates from inside: what a gate file and its baseline say. Private to validation/. */
#ifndef UQFF_VALIDATION_GATE_H
#define UQFF_VALIDATION_GATE_H

#include "uqff/validation.h"

/* What is known of a figure besides its name. */
struct figure_info {
    const char *name;
    const char *limit; /* "max_kld_mean": the key of a limit */
    const char *drift; /* "drift kld_mean": what a check against the baseline is called */
    bool more_is_better;
    bool needs_base;
    double lowest, highest; /* what a limit may be; both 0: anything */
};
const struct figure_info *uqff_figure_info(enum uqff_figure figure);

/* One entry of "limits" or of "drift". */
struct gate_rule {
    const char *variant; /* "*": every one without an entry of its own */
    enum uqff_figure figure;
    bool lifted;   /* null: no limit */
    bool relative; /* drift: a share of the baseline's value */
    double value;
};

struct gate_rules {
    struct gate_rule *items;
    size_t count, capacity;
};

struct gate_baseline {
    const char *path; /* NULL: there is none */
    struct gate_rules drift;
    struct uqff_gate_conditions conditions;
    struct uqff_gate_subject *variants;
    size_t count, capacity;
};

struct uqff_gate {
    struct uqff_arena arena;
    const char *path;
    struct gate_rules limits;
    struct gate_baseline baseline;
};

/* gate_parse.c: fills a gate from its file, and the baseline's measures from theirs. */
enum uqff_code uqff_gate_parse(struct uqff_gate *gate, const char *text, size_t size,
                               struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code uqff_gate_parse_baseline(struct uqff_gate *gate, const char *text, size_t size,
                                        struct uqff_error *err) UQFF_MUST_CHECK;

#endif
