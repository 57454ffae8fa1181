/* gate: holds what was measured against what a gate file allows. */
#include "validation/gate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Gate files are written by hand, baselines hold some kilobytes a variant. */
#define LARGEST_GATE ((uint64_t)1 << 20)
#define LARGEST_BASELINE ((uint64_t)64 << 20)

/* ---- opening --------------------------------------------------------------------------------- */

typedef enum uqff_code parse_function(struct uqff_gate *gate, const char *text, size_t size,
                                      struct uqff_error *err);

/* Gate files are written by hand: of one with several lines, an error tells the line. */
static void add_line(const char *text, size_t size, struct uqff_error *err) {
    const size_t used = strlen(err->text);
    size_t line = 1;
    if (err->offset == UQFF_NO_OFFSET || err->offset > size ||
        memchr(text, '\n', size == 0 ? 0 : size - 1) == NULL) {
        return;
    }
    for (size_t i = 0; i < (size_t)err->offset; i++) {
        line += text[i] == '\n' ? 1 : 0;
    }
    snprintf(err->text + used, sizeof err->text - used, " (line %zu)", line);
}

static enum uqff_code parse_file(struct uqff_gate *gate, const char *path, uint64_t limit,
                                 parse_function *parse, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    char *text = NULL;
    size_t size = 0;
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code == UQFF_OK) {
        code = uqff_source_read_all(source, limit, &text, &size, err);
    }
    if (code == UQFF_OK) {
        code = parse(gate, text, size, err);
        if (code != UQFF_OK && err != NULL) {
            add_line(text, size, err);
        }
    }
    uqff_free(text);
    uqff_source_close(source);
    return code;
}

enum uqff_code uqff_gate_open(const char *path, struct uqff_gate **out, struct uqff_error *err) {
    struct uqff_gate *gate = uqff_alloc_array(1, sizeof *gate);
    if (gate == NULL) {
        return uqff_fail_memory(err);
    }
    gate->path = uqff_arena_copy(&gate->arena, path, strlen(path));
    enum uqff_code code = gate->path == NULL
                              ? uqff_fail_memory(err)
                              : parse_file(gate, path, LARGEST_GATE, uqff_gate_parse, err);
    if (code == UQFF_OK && gate->baseline.path != NULL) {
        code =
            parse_file(gate, gate->baseline.path, LARGEST_BASELINE, uqff_gate_parse_baseline, err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "%s: baseline", path);
        }
    }
    if (code != UQFF_OK) {
        uqff_gate_close(gate);
        return code;
    }
    *out = gate;
    return UQFF_OK;
}

void uqff_gate_close(struct uqff_gate *gate) {
    if (gate != NULL) {
        uqff_free(gate->limits.items);
        uqff_free(gate->baseline.drift.items);
        uqff_free(gate->baseline.variants);
        uqff_arena_free(&gate->arena);
        uqff_free(gate);
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

static const char *first_with_base(const struct gate_rules *rules, bool drift) {
    for (size_t i = 0; i < rules->count; i++) {
        const struct figure_info *info = uqff_figure_info(rules->items[i].figure);
        if (!rules->items[i].lifted && info->needs_base) {
            return drift ? info->drift : info->limit;
        }
    }
    return NULL;
}

const char *uqff_gate_wants_base(const struct uqff_gate *gate) {
    const char *key = first_with_base(&gate->limits, false);
    return key != NULL ? key : first_with_base(&gate->baseline.drift, true);
}

static enum uqff_code check_names(const struct uqff_gate *gate, const struct gate_rules *rules,
                                  const char *const *names, size_t count, struct uqff_error *err) {
    for (size_t i = 0; i < rules->count; i++) {
        const char *variant = rules->items[i].variant;
        bool found = strcmp(variant, "*") == 0;
        for (size_t n = 0; n < count && !found; n++) {
            found = strcmp(variant, names[n]) == 0;
        }
        if (!found) {
            const char *nearest = uqff_nearest(variant, names, count);
            return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                             "%s: there is no variant '%.64s' here%s%.64s%s", gate->path, variant,
                             nearest == NULL ? "" : "; did you mean '",
                             nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_gate_check_names(const struct uqff_gate *gate, const char *const *names,
                                     size_t count, struct uqff_error *err) {
    enum uqff_code code = check_names(gate, &gate->limits, names, count, err);
    return code == UQFF_OK ? check_names(gate, &gate->baseline.drift, names, count, err) : code;
}

/* ---- evaluating ------------------------------------------------------------------------------ */

static const struct gate_rule *find_exactly(const struct gate_rules *rules, const char *variant,
                                            enum uqff_figure figure) {
    for (size_t i = 0; i < rules->count; i++) {
        if (rules->items[i].figure == figure && strcmp(rules->items[i].variant, variant) == 0) {
            return &rules->items[i];
        }
    }
    return NULL;
}

/* The rule for a figure of a variant, or NULL: its own entry goes before that of all. */
static const struct gate_rule *find_rule(const struct gate_rules *rules, const char *variant,
                                         enum uqff_figure figure) {
    const struct gate_rule *rule = find_exactly(rules, variant, figure);
    rule = rule != NULL ? rule : find_exactly(rules, "*", figure);
    return rule == NULL || rule->lifted ? NULL : rule;
}

static const struct uqff_figures *find_baseline(const struct gate_baseline *baseline,
                                                const char *variant) {
    for (size_t i = 0; i < baseline->count; i++) {
        if (strcmp(baseline->variants[i].variant, variant) == 0) {
            return &baseline->variants[i].figures;
        }
    }
    return NULL;
}

static struct uqff_gate_check make_check(const struct uqff_gate_subject *subject,
                                         enum uqff_figure figure, const char *key, double limit) {
    const double found = subject->figures.value[figure];
    /* A comparison with NaN is false: what was not measured has not passed. */
    return (struct uqff_gate_check){
        .variant = subject->variant,
        .figure = figure,
        .key = key,
        .limit = limit,
        .found = found,
        .passed = uqff_figure_more_is_better(figure) ? found >= limit : found <= limit,
    };
}

/* Writes the checks of one subject, at most two a figure; returns their number. */
static size_t check_subject(const struct uqff_gate *gate, const struct uqff_gate_subject *subject,
                            struct uqff_gate_check *out) {
    const struct uqff_figures *before = find_baseline(&gate->baseline, subject->variant);
    size_t count = 0;
    for (int i = 0; i < UQFF_FIGURE_COUNT; i++) {
        const enum uqff_figure figure = (enum uqff_figure)i;
        const struct figure_info *info = uqff_figure_info(figure);
        const struct gate_rule *rule = find_rule(&gate->limits, subject->variant, figure);
        if (rule != NULL) {
            out[count++] = make_check(subject, figure, info->limit, rule->value);
        }
        rule = find_rule(&gate->baseline.drift, subject->variant, figure);
        if (rule != NULL && before != NULL && !isnan(before->value[figure])) {
            const double value = before->value[figure];
            const double allowed = rule->relative ? fabs(value) * rule->value : rule->value;
            out[count++] = make_check(subject, figure, info->drift,
                                      info->more_is_better ? value - allowed : value + allowed);
        }
    }
    return count;
}

static enum uqff_code other_conditions(const struct uqff_gate *gate, const char *what,
                                       const char *before, const char *now,
                                       struct uqff_error *err) {
    return uqff_fail(
        err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
        "%s: baseline %s: %s was %.70s, now it is %.70s: the figures cannot be compared",
        gate->path, gate->baseline.path, what, before, now);
}

static enum uqff_code check_conditions(const struct uqff_gate *gate,
                                       const struct uqff_gate_conditions *now,
                                       struct uqff_error *err) {
    const struct uqff_gate_conditions *before = &gate->baseline.conditions;
    const struct {
        const char *what;
        uint64_t before, now;
    } counts[] = {
        {"the context", before->context, now->context},
        {"the number of chunks", before->chunks, now->chunks},
        {"the stride", before->stride, now->stride},
    };
    const char *texts[2] = {before->text_sha256, now->text_sha256};
    if (texts[0] != NULL && texts[1] != NULL && strcmp(texts[0], texts[1]) != 0) {
        return other_conditions(gate, "the text's SHA-256", texts[0], texts[1], err);
    }
    if ((texts[0] == NULL) != (texts[1] == NULL)) {
        return other_conditions(gate, "the text", texts[0] == NULL ? "none" : "given",
                                texts[1] == NULL ? "none" : "given", err);
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i].before != counts[i].now) {
            char numbers[2][24];
            snprintf(numbers[0], sizeof numbers[0], "%llu", (unsigned long long)counts[i].before);
            snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)counts[i].now);
            return other_conditions(gate, counts[i].what, numbers[0], numbers[1], err);
        }
    }
    return before->exact == now->exact
               ? UQFF_OK
               : other_conditions(gate, "--exact", before->exact ? "given" : "not given",
                                  now->exact ? "given" : "not given", err);
}

enum uqff_code uqff_gate_evaluate(const struct uqff_gate *gate,
                                  const struct uqff_gate_conditions *conditions,
                                  const struct uqff_gate_subject *subjects, size_t count,
                                  struct uqff_gate_check **out, size_t *check_count,
                                  struct uqff_error *err) {
    if (gate->baseline.path != NULL) {
        enum uqff_code code = check_conditions(gate, conditions, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    const size_t most =
        count <= SIZE_MAX / (2 * UQFF_FIGURE_COUNT) ? count * 2 * UQFF_FIGURE_COUNT : SIZE_MAX;
    struct uqff_gate_check *checks = uqff_alloc_array(most, sizeof *checks);
    if (checks == NULL) {
        return uqff_fail_memory(err);
    }
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        used += check_subject(gate, &subjects[i], checks + used);
    }
    *out = checks;
    *check_count = used;
    return UQFF_OK;
}
