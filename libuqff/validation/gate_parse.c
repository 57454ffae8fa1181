/* gate_parse: reads gate files and baselines. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "validation/gate.h"

struct parser {
    struct uqff_gate *gate;
    const char *path;
    struct uqff_json *json;
    struct uqff_error *err;
};

static char *copy_text(const struct parser *p, const struct uqff_json_event *event) {
    return uqff_arena_copy(&p->gate->arena, event->text, event->length);
}

static bool is_key(const struct uqff_json_event *event, const char *key) {
    return strlen(key) == event->length && memcmp(key, event->text, event->length) == 0;
}

static enum uqff_code unknown_key(const struct parser *p, const struct uqff_json_event *event,
                                  const char *where, const char *const *known, size_t count) {
    const char *key = copy_text(p, event);
    const char *nearest = key == NULL ? NULL : uqff_nearest(key, known, count);
    return uqff_fail(p->err, UQFF_E_FIELD, event->offset, "%s: %s: unknown key '%.64s'%s%s%s",
                     p->path, where, key == NULL ? "" : key,
                     nearest == NULL ? "" : "; did you mean '", nearest == NULL ? "" : nearest,
                     nearest == NULL ? "" : "'?");
}

/* ---- rules ----------------------------------------------------------------------------------- */

static enum uqff_code unknown_figure(const struct parser *p, const struct uqff_json_event *event,
                                     bool drift, const char *where) {
    const char *known[UQFF_FIGURE_COUNT];
    for (int i = 0; i < UQFF_FIGURE_COUNT; i++) {
        const struct figure_info *info = uqff_figure_info((enum uqff_figure)i);
        known[i] = drift ? info->name : info->limit;
    }
    return unknown_key(p, event, where, known, UQFF_FIGURE_COUNT);
}

static bool find_figure(const struct uqff_json_event *event, bool drift, enum uqff_figure *out) {
    for (int i = 0; i < UQFF_FIGURE_COUNT; i++) {
        const struct figure_info *info = uqff_figure_info((enum uqff_figure)i);
        if (is_key(event, drift ? info->name : info->limit)) {
            *out = (enum uqff_figure)i;
            return true;
        }
    }
    return false;
}

static enum uqff_code check_limit(const struct parser *p, const struct uqff_json_event *event,
                                  const struct gate_rule *rule) {
    const struct figure_info *info = uqff_figure_info(rule->figure);
    if ((info->lowest == 0 && info->highest == 0) ||
        (rule->value >= info->lowest && rule->value <= info->highest)) {
        return UQFF_OK;
    }
    return uqff_fail(p->err, UQFF_E_FIELD, event->offset, "%s: '%s': %s: found %g, expected %s",
                     p->path, rule->variant, info->limit, rule->value,
                     info->highest == 100 ? "a percentage, as in 95 for 95 %"
                                          : "a number from -1 to 1");
}

/* "0.5%" of the baseline's value. */
static bool parse_share(const struct uqff_json_event *event, double *out) {
    char text[40], *end;
    if (event->length < 2 || event->length >= sizeof text ||
        event->text[event->length - 1] != '%') {
        return false;
    }
    memcpy(text, event->text, event->length - 1);
    text[event->length - 1] = '\0';
    *out = strtod(text, &end) / 100;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && isfinite(*out);
}

static enum uqff_code parse_value(const struct parser *p, bool drift, struct gate_rule *rule) {
    const char *what =
        drift ? uqff_figure_name(rule->figure) : uqff_figure_info(rule->figure)->limit;
    const char *expected =
        drift ? "a number, not negative, or a share as in \"0.5%\", or null" : "a number or null";
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(p->json, &event, p->err);
    if (code != UQFF_OK) {
        return code;
    }
    if (event.kind == UQFF_JSON_NULL) {
        rule->lifted = true;
        return UQFF_OK;
    }
    if (drift && event.kind == UQFF_JSON_STRING && parse_share(&event, &rule->value)) {
        rule->relative = true;
        return UQFF_OK;
    }
    if (event.kind != UQFF_JSON_NUMBER) {
        return uqff_json_unexpected(p->json, &event, what, expected, p->err);
    }
    code = uqff_json_double(p->json, &event, &rule->value, p->err);
    if (code != UQFF_OK || !drift) {
        return code != UQFF_OK ? code : check_limit(p, &event, rule);
    }
    return rule->value >= 0 ? UQFF_OK
                            : uqff_json_unexpected(p->json, &event, what, expected, p->err);
}

static enum uqff_code add_rule(const struct parser *p, struct gate_rules *rules,
                               const struct gate_rule *rule) {
    void *items = rules->items;
    enum uqff_code code =
        uqff_grow(&items, &rules->capacity, rules->count + 1, sizeof *rules->items, p->err);
    rules->items = items;
    if (code == UQFF_OK) {
        rules->items[rules->count++] = *rule;
    }
    return code;
}

/* {"max_ppl_ratio": 1.05, ...} of one variant */
static enum uqff_code parse_variant(const struct parser *p, const char *variant, bool drift,
                                    struct gate_rules *rules) {
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code =
        uqff_json_expect(p->json, UQFF_JSON_OBJECT, "the limits of a variant", &event, p->err);
    while (code == UQFF_OK) {
        code = uqff_json_member(p->json, &event, &done, p->err);
        if (code != UQFF_OK || done) {
            break;
        }
        struct gate_rule rule = {.variant = variant};
        if (!find_figure(&event, drift, &rule.figure)) {
            char where[120];
            snprintf(where, sizeof where, "%s of '%.64s'", drift ? "drift" : "limits", variant);
            return unknown_figure(p, &event, drift, where);
        }
        code = parse_value(p, drift, &rule);
        if (code == UQFF_OK) {
            code = add_rule(p, rules, &rule);
        }
    }
    return code;
}

/* {"*": {...}, "q4_k_m": {...}} */
static enum uqff_code parse_variants(const struct parser *p, bool drift, struct gate_rules *rules) {
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code =
        uqff_json_expect(p->json, UQFF_JSON_OBJECT, drift ? "drift" : "limits", &event, p->err);
    while (code == UQFF_OK) {
        code = uqff_json_member(p->json, &event, &done, p->err);
        if (code != UQFF_OK || done) {
            break;
        }
        const char *variant = copy_text(p, &event);
        code = variant == NULL ? uqff_fail_memory(p->err) : parse_variant(p, variant, drift, rules);
    }
    return code;
}

/* ---- the gate file --------------------------------------------------------------------------- */

static enum uqff_code set_baseline_path(const struct parser *p,
                                        const struct uqff_json_event *event) {
    char *relative = copy_text(p, event);
    char *directory = uqff_path_directory(p->path);
    char *joined =
        relative == NULL || directory == NULL ? NULL : uqff_path_join(directory, relative);
    const char *path = joined == NULL || relative[0] == '/'
                           ? relative
                           : uqff_arena_copy(&p->gate->arena, joined, strlen(joined));
    enum uqff_code code = UQFF_OK;
    if (joined == NULL || path == NULL) {
        code = uqff_fail_memory(p->err);
    } else if (strlen(relative) != event->length || relative[0] == '\0') {
        code = uqff_fail(p->err, UQFF_E_FIELD, event->offset,
                         "%s: baseline: file: found '%s', expected the path of a file", p->path,
                         relative);
    } else {
        /* Beside the gate file, the path is shown as it would be typed. */
        p->gate->baseline.path = strcmp(directory, ".") == 0 ? relative : path;
    }
    uqff_free(joined);
    uqff_free(directory);
    return code;
}

static enum uqff_code parse_baseline(const struct parser *p) {
    static const char *const known[] = {"file", "drift"};
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_OBJECT, "baseline", &event, p->err);
    const uint64_t offset = code == UQFF_OK ? event.offset : 0;
    while (code == UQFF_OK) {
        code = uqff_json_member(p->json, &event, &done, p->err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (is_key(&event, "file")) {
            code = uqff_json_expect(p->json, UQFF_JSON_STRING, "file", &event, p->err);
            code = code == UQFF_OK ? set_baseline_path(p, &event) : code;
        } else if (is_key(&event, "drift")) {
            code = parse_variants(p, true, &p->gate->baseline.drift);
        } else {
            code = unknown_key(p, &event, "baseline", known, 2);
        }
    }
    if (code == UQFF_OK && p->gate->baseline.path == NULL) {
        code = uqff_fail(p->err, UQFF_E_FIELD, offset, "%s: baseline: the key 'file' is missing",
                         p->path);
    }
    return code;
}

enum uqff_code uqff_gate_parse(struct uqff_gate *gate, const char *text, size_t size,
                               struct uqff_error *err) {
    static const char *const known[] = {"limits", "baseline"};
    struct parser p = {gate, gate->path, NULL, err};
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = uqff_json_open(text, size, gate->path, 0, 0, &p.json, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_json_expect(p.json, UQFF_JSON_OBJECT, "the gate", &event, err);
    while (code == UQFF_OK) {
        code = uqff_json_member(p.json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (is_key(&event, "limits")) {
            code = parse_variants(&p, false, &gate->limits);
        } else if (is_key(&event, "baseline")) {
            code = parse_baseline(&p);
        } else {
            code = unknown_key(&p, &event, "the gate", known, 2);
        }
    }
    if (code == UQFF_OK) {
        code = uqff_json_expect(p.json, UQFF_JSON_END, "the end", &event, err);
    }
    uqff_json_close(p.json);
    if (code == UQFF_OK && gate->limits.count + gate->baseline.drift.count == 0) {
        code = uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: holds no limit: everything would pass", gate->path);
    }
    return code;
}

/* ---- baselines ------------------------------------------------------------------------------- */

/* A baseline is a document of our own, to which keys may have been added since: what is not known
 * is passed over. */

static enum uqff_code parse_figures(const struct parser *p, struct uqff_figures *out) {
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_OBJECT, "figures", &event, p->err);
    while (code == UQFF_OK) {
        enum uqff_figure figure = UQFF_FIGURE_COUNT;
        code = uqff_json_member(p->json, &event, &done, p->err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (!find_figure(&event, true, &figure)) {
            code = uqff_json_skip_next(p->json, p->err);
            continue;
        }
        code = uqff_json_next(p->json, &event, p->err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_NULL) {
            continue;
        }
        code = event.kind == UQFF_JSON_NUMBER
                   ? uqff_json_double(p->json, &event, &out->value[figure], p->err)
                   : uqff_json_unexpected(p->json, &event, uqff_figure_name(figure),
                                          "a number or null", p->err);
    }
    return code;
}

static enum uqff_code add_variant(const struct parser *p, const struct uqff_gate_subject *variant) {
    struct gate_baseline *baseline = &p->gate->baseline;
    void *items = baseline->variants;
    enum uqff_code code = uqff_grow(&items, &baseline->capacity, baseline->count + 1,
                                    sizeof *baseline->variants, p->err);
    baseline->variants = items;
    if (code == UQFF_OK) {
        baseline->variants[baseline->count++] = *variant;
    }
    return code;
}

/* The rest of {"name": ..., "figures": {...}, ...} */
static enum uqff_code parse_measured(const struct parser *p) {
    struct uqff_gate_subject variant = {.variant = NULL};
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = UQFF_OK;
    uqff_figures_clear(&variant.figures);
    while (code == UQFF_OK) {
        code = uqff_json_member(p->json, &event, &done, p->err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (is_key(&event, "name")) {
            code = uqff_json_expect(p->json, UQFF_JSON_STRING, "name", &event, p->err);
            if (code == UQFF_OK) {
                variant.variant = copy_text(p, &event);
                code = variant.variant == NULL ? uqff_fail_memory(p->err) : UQFF_OK;
            }
        } else if (is_key(&event, "figures")) {
            code = parse_figures(p, &variant.figures);
        } else {
            code = uqff_json_skip_next(p->json, p->err);
        }
    }
    if (code == UQFF_OK && variant.variant == NULL) {
        code = uqff_fail(p->err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: a variant without the key 'name'", p->path);
    }
    return code == UQFF_OK ? add_variant(p, &variant) : code;
}

static enum uqff_code parse_measures(const struct parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_ARRAY, "variants", &event, p->err);
    while (code == UQFF_OK) {
        code = uqff_json_next(p->json, &event, p->err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        code = event.kind == UQFF_JSON_OBJECT
                   ? parse_measured(p)
                   : uqff_json_unexpected(p->json, &event, "variants", "an object", p->err);
    }
    return code;
}

/* {"path": ..., "sha256": ..., ...}, or null */
static enum uqff_code parse_text(const struct parser *p) {
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = uqff_json_next(p->json, &event, p->err);
    if (code != UQFF_OK || event.kind == UQFF_JSON_NULL) {
        return code;
    }
    if (event.kind != UQFF_JSON_OBJECT) {
        return uqff_json_unexpected(p->json, &event, "text", "an object or null", p->err);
    }
    while (code == UQFF_OK) {
        code = uqff_json_member(p->json, &event, &done, p->err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (!is_key(&event, "sha256")) {
            code = uqff_json_skip_next(p->json, p->err);
            continue;
        }
        code = uqff_json_expect(p->json, UQFF_JSON_STRING, "sha256", &event, p->err);
        if (code == UQFF_OK) {
            p->gate->baseline.conditions.text_sha256 = copy_text(p, &event);
            code = p->gate->baseline.conditions.text_sha256 == NULL ? uqff_fail_memory(p->err)
                                                                    : UQFF_OK;
        }
    }
    return code;
}

static enum uqff_code parse_count(const struct parser *p, const char *what, uint64_t *out) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_NUMBER, what, &event, p->err);
    if (code == UQFF_OK && !event.is_u64) {
        code = uqff_json_unexpected(p->json, &event, what, "a whole number", p->err);
    }
    *out = code == UQFF_OK ? event.integer : 0;
    return code;
}

static enum uqff_code parse_schema(const struct parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_STRING, "schema", &event, p->err);
    if (code == UQFF_OK && !is_key(&event, "uqff.validate/1")) {
        code = uqff_json_unexpected(p->json, &event, "schema", "\"uqff.validate/1\"", p->err);
    }
    return code;
}

static enum uqff_code parse_exact(const struct parser *p, bool *out) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(p->json, &event, p->err);
    *out = code == UQFF_OK && event.kind == UQFF_JSON_TRUE;
    if (code == UQFF_OK && !*out && event.kind != UQFF_JSON_FALSE) {
        code = uqff_json_unexpected(p->json, &event, "exact", "true or false", p->err);
    }
    return code;
}

enum uqff_code uqff_gate_parse_baseline(struct uqff_gate *gate, const char *text, size_t size,
                                        struct uqff_error *err) {
    struct gate_baseline *baseline = &gate->baseline;
    struct parser p = {gate, baseline->path, NULL, err};
    struct uqff_json_event event;
    bool done = false, schema = false;
    enum uqff_code code = uqff_json_open(text, size, p.path, 0, 0, &p.json, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_json_expect(p.json, UQFF_JSON_OBJECT, "the baseline", &event, err);
    while (code == UQFF_OK) {
        code = uqff_json_member(p.json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (is_key(&event, "schema")) {
            code = parse_schema(&p);
            schema = true;
        } else if (is_key(&event, "text")) {
            code = parse_text(&p);
        } else if (is_key(&event, "context")) {
            code = parse_count(&p, "context", &baseline->conditions.context);
        } else if (is_key(&event, "chunks")) {
            code = parse_count(&p, "chunks", &baseline->conditions.chunks);
        } else if (is_key(&event, "stride")) {
            code = parse_count(&p, "stride", &baseline->conditions.stride);
        } else if (is_key(&event, "exact")) {
            code = parse_exact(&p, &baseline->conditions.exact);
        } else if (is_key(&event, "variants")) {
            code = parse_measures(&p);
        } else {
            code = uqff_json_skip_next(p.json, p.err);
        }
    }
    if (code == UQFF_OK) {
        code = uqff_json_expect(p.json, UQFF_JSON_END, "the end", &event, err);
    }
    uqff_json_close(p.json);
    if (code == UQFF_OK && !schema) {
        code = uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: the key 'schema' is missing: not what uqff validate --json prints",
                         p.path);
    }
    return code;
}
