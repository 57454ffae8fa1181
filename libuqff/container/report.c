/* uqff_report.json, which lies beside the shard sets of a mistral.rs directory (schema 1). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "container/internal.h"

/* ---- writing --------------------------------------------------------------------------------- */

/* mistral.rs writes K types without the underscore, and floats by their format. */
static const char *stored_label(uint32_t type) {
    static _Thread_local char label[32];
    if (uqff_container_type_is_float(type)) {
        return "unquant";
    }
    snprintf(label, sizeof label, "%s", uqff_type_label(type));
    size_t n = strlen(label);
    if (n > 2 && strcmp(label + n - 2, "_k") == 0) {
        strcpy(label + n - 2, "k");
    }
    return label;
}

/* What was asked for: floats by name here. */
static const char *target_label(uint32_t type) {
    return uqff_container_type_is_float(type) ? uqff_type_label(type) : stored_label(type);
}

/* Stored as floats although blocks were asked for. */
static bool is_fallback(const struct uqff_report_output *output,
                        const struct uqff_report_module *module) {
    return uqff_container_type_is_float(module->type) &&
           !uqff_container_type_is_float(output->type);
}

static void render_string(struct uqff_buffer *out, const char *text) {
    uqff_buffer_json_string(out, text, strlen(text));
}

static void render_shape(struct uqff_buffer *out, const struct uqff_report_module *module) {
    uqff_buffer_printf(out, "[");
    for (unsigned i = 0; i < module->rank; i++) {
        uqff_buffer_printf(out, "%s%llu", i == 0 ? "" : ", ", (unsigned long long)module->shape[i]);
    }
    uqff_buffer_printf(out, "]");
}

struct label_count {
    char label[32];
    size_t count;
};

static int compare_counts(const void *a, const void *b) {
    return strcmp(((const struct label_count *)a)->label, ((const struct label_count *)b)->label);
}

static enum uqff_code render_counts(const struct uqff_report_output *output,
                                    struct uqff_buffer *out, struct uqff_error *err) {
    struct label_count *counts = NULL;
    size_t n = 0, capacity = 0;
    for (size_t m = 0; m < output->module_count; m++) {
        const char *label = stored_label(output->modules[m].type);
        size_t i = 0;
        while (i < n && strcmp(counts[i].label, label) != 0) {
            i++;
        }
        if (i == n) {
            enum uqff_code code =
                uqff_grow((void **)&counts, &capacity, n + 1, sizeof *counts, err);
            if (code != UQFF_OK) {
                uqff_free(counts);
                return code;
            }
            counts[n] = (struct label_count){.count = 0};
            snprintf(counts[n++].label, sizeof counts->label, "%s", label);
        }
        counts[i].count++;
    }
    if (n > 1) {
        qsort(counts, n, sizeof *counts, compare_counts);
    }
    for (size_t i = 0; i < n; i++) {
        uqff_buffer_printf(out, "%s\"%s\": %zu", i == 0 ? "" : ", ", counts[i].label,
                           counts[i].count);
    }
    uqff_free(counts);
    return UQFF_OK;
}

static void render_fallbacks(const struct uqff_report_output *output, size_t count,
                             struct uqff_buffer *out) {
    uqff_buffer_printf(out, "      \"fallback_count\": %zu,\n", count);
    if (count == 0) {
        return;
    }
    const char *separator = "\n";
    uqff_buffer_printf(out, "      \"fallbacks\": [");
    for (size_t m = 0; m < output->module_count; m++) {
        const struct uqff_report_module *module = &output->modules[m];
        if (!is_fallback(output, module)) {
            continue;
        }
        uqff_buffer_printf(out, "%s        {\"module\": ", separator);
        render_string(out, module->name);
        uqff_buffer_printf(out, ", \"from\": \"%s\"", target_label(output->type));
        uqff_buffer_printf(out, ", \"to\": \"%s\", \"shape\": ", stored_label(module->type));
        render_shape(out, module);
        uqff_buffer_printf(out, "}");
        separator = ",\n";
    }
    uqff_buffer_printf(out, "\n      ],\n");
}

static enum uqff_code render_output(const struct uqff_report_output *output,
                                    struct uqff_buffer *out, struct uqff_error *err) {
    size_t fallbacks = 0;
    for (size_t m = 0; m < output->module_count; m++) {
        fallbacks += is_fallback(output, &output->modules[m]);
    }
    uqff_buffer_printf(out, "    {\n      \"quant\": ");
    render_string(out, output->quant);
    uqff_buffer_printf(out, ",\n      \"shards\": [");
    for (size_t s = 0; s < output->shard_count; s++) {
        uqff_buffer_printf(out, "%s", s == 0 ? "" : ", ");
        render_string(out, output->shards[s]);
    }
    uqff_buffer_printf(out, "],\n      \"layers\": %zu,\n      \"actual_counts\": {",
                       output->module_count);
    enum uqff_code code = render_counts(output, out, err);
    if (code != UQFF_OK) {
        return code;
    }
    uqff_buffer_printf(out, "},\n");
    render_fallbacks(output, fallbacks, out);
    uqff_buffer_printf(out, "      \"layer_details\": [");
    for (size_t m = 0; m < output->module_count; m++) {
        const struct uqff_report_module *module = &output->modules[m];
        uqff_buffer_printf(out, "%s        {\"module\": ", m == 0 ? "\n" : ",\n");
        render_string(out, module->name);
        uqff_buffer_printf(out, ", \"default_target\": \"%s\"", target_label(output->type));
        uqff_buffer_printf(out, ", \"stored\": \"%s\", \"shape\": ", stored_label(module->type));
        render_shape(out, module);
        uqff_buffer_printf(out, "}");
    }
    uqff_buffer_printf(out, "\n      ]\n    }");
    return UQFF_OK;
}

enum uqff_code uqff_report_render(const struct uqff_report_output *outputs, size_t count,
                                  struct uqff_buffer *out, struct uqff_error *err) {
    uqff_buffer_printf(out,
                       "{\n  \"schema\": 1,\n  \"generated_by\": {\"tool\": \"uqff %s\"},\n"
                       "  \"uqff_version\": \"1.2.0\",\n  \"outputs\": [\n",
                       UQFF_VERSION);
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_append(out, ",\n", i == 0 ? 0 : 2);
        enum uqff_code code = render_output(&outputs[i], out, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    uqff_buffer_printf(out, "\n  ]\n}\n");
    return out->failed ? uqff_fail_memory(err) : UQFF_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct report_parser {
    struct uqff_json *json;
    const char *where;
    struct uqff_arena *arena;
    struct uqff_error *err;
    struct uqff_report_entry *entries;
    size_t count, capacity;
    const char **shards; /* of the output at hand */
    size_t shard_count, shard_capacity;
    struct uqff_map seen; /* shard names of all outputs */
};

static bool is_key(const struct uqff_json_event *event, const char *key) {
    return event->length == strlen(key) && memcmp(event->text, key, event->length) == 0;
}

static enum uqff_code read_shard(struct report_parser *p, const struct uqff_json_event *event) {
    int shown = (int)(event->length < 200 ? event->length : 200);
    if (event->length < 5 || memcmp(event->text + event->length - 5, ".uqff", 5) != 0 ||
        !uqff_name_is_safe_component(event->text, event->length)) {
        return uqff_fail(p->err, UQFF_E_NAME, event->offset,
                         "%s: '%.*s' is no safe file name that ends in .uqff", p->where, shown,
                         event->text);
    }
    char *name = uqff_arena_copy(p->arena, event->text, event->length);
    if (name == NULL) {
        return uqff_fail_memory(p->err);
    }
    size_t existing;
    enum uqff_code code =
        uqff_container_map_put(&p->seen, name, event->length, p->count, &existing, p->err);
    if (code == UQFF_OK && existing != UQFF_NONE) {
        code = uqff_fail(p->err, UQFF_E_DUPLICATE, event->offset,
                         "%s: the shard '%s' is listed twice; it can belong to one output only",
                         p->where, name);
    }
    if (code == UQFF_OK) {
        code = uqff_grow((void **)&p->shards, &p->shard_capacity, p->shard_count + 1,
                         sizeof *p->shards, p->err);
    }
    if (code == UQFF_OK) {
        p->shards[p->shard_count++] = name;
    }
    return code;
}

static enum uqff_code read_shards(struct report_parser *p, struct uqff_report_entry *entry) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_ARRAY, "shards", &event, p->err);
    p->shard_count = 0;
    while (code == UQFF_OK) {
        if ((code = uqff_json_next(p->json, &event, p->err)) != UQFF_OK) {
            return code;
        }
        if (event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        code = event.kind == UQFF_JSON_STRING
                   ? read_shard(p, &event)
                   : uqff_json_unexpected(p->json, &event, "shards", "a file name", p->err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    const char **copy = uqff_arena_array(p->arena, p->shard_count + 1, sizeof *copy);
    if (copy == NULL) {
        return uqff_fail_memory(p->err);
    }
    if (p->shard_count > 0) {
        memcpy(copy, p->shards, p->shard_count * sizeof *copy);
    }
    entry->shards = copy;
    entry->shard_count = p->shard_count;
    return UQFF_OK;
}

static enum uqff_code read_quant(struct report_parser *p, struct uqff_report_entry *entry) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_STRING, "quant", &event, p->err);
    if (code == UQFF_OK) {
        entry->quant = uqff_arena_copy(p->arena, event.text, event.length);
        code = entry->quant == NULL ? uqff_fail_memory(p->err) : UQFF_OK;
    }
    return code;
}

static enum uqff_code check_output(struct report_parser *p, const struct uqff_report_entry *entry) {
    if (entry->quant == NULL || entry->quant[0] == 0 || entry->shard_count == 0) {
        return uqff_fail(p->err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: output %zu has no quant or no shards", p->where, p->count);
    }
    for (size_t i = 0; i < p->count; i++) {
        if (strcasecmp(p->entries[i].quant, entry->quant) == 0) {
            return uqff_fail(p->err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                             "%s: two outputs are called '%s'", p->where, entry->quant);
        }
    }
    /* Bounds the comparison of all with all. */
    if (p->count == UQFF_CONTAINER_MAX_VARIANTS) {
        return uqff_fail(p->err, UQFF_E_LIMIT, UQFF_NO_OFFSET, "%s: more than %d outputs", p->where,
                         UQFF_CONTAINER_MAX_VARIANTS);
    }
    return UQFF_OK;
}

static enum uqff_code read_output(struct report_parser *p) {
    struct uqff_report_entry entry = {0};
    for (;;) {
        struct uqff_json_event key;
        bool done;
        enum uqff_code code = uqff_json_member(p->json, &key, &done, p->err);
        if (code != UQFF_OK) {
            return code;
        }
        if (done) {
            break;
        }
        code = is_key(&key, "quant")    ? read_quant(p, &entry)
               : is_key(&key, "shards") ? read_shards(p, &entry)
                                        : uqff_json_skip_next(p->json, p->err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    enum uqff_code code = check_output(p, &entry);
    if (code == UQFF_OK) {
        code =
            uqff_grow((void **)&p->entries, &p->capacity, p->count + 1, sizeof *p->entries, p->err);
    }
    if (code == UQFF_OK) {
        p->entries[p->count++] = entry;
    }
    return code;
}

static enum uqff_code read_outputs(struct report_parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_ARRAY, "outputs", &event, p->err);
    while (code == UQFF_OK) {
        if ((code = uqff_json_next(p->json, &event, p->err)) != UQFF_OK ||
            event.kind == UQFF_JSON_ARRAY_END) {
            return code;
        }
        code = event.kind == UQFF_JSON_OBJECT
                   ? read_output(p)
                   : uqff_json_unexpected(p->json, &event, "outputs", "an object", p->err);
    }
    return code;
}

static enum uqff_code read_schema(struct report_parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_NUMBER, "schema", &event, p->err);
    if (code == UQFF_OK && (!event.is_u64 || event.integer != 1)) {
        code = uqff_fail(p->err, UQFF_E_VERSION, event.offset, "%s: schema %.*s, expected 1",
                         p->where, (int)(event.length < 32 ? event.length : 32), event.text);
    }
    return code;
}

static enum uqff_code read_report(struct report_parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_OBJECT, "the report", &event, p->err);
    while (code == UQFF_OK) {
        bool done;
        if ((code = uqff_json_member(p->json, &event, &done, p->err)) != UQFF_OK) {
            return code;
        }
        if (done) {
            return uqff_json_expect(p->json, UQFF_JSON_END, "the report", &event, p->err);
        }
        code = is_key(&event, "schema")    ? read_schema(p)
               : is_key(&event, "outputs") ? read_outputs(p)
                                           : uqff_json_skip_next(p->json, p->err);
    }
    return code;
}

enum uqff_code uqff_report_parse(const char *json, size_t size, const char *where,
                                 struct uqff_arena *arena, struct uqff_report_entry **out,
                                 size_t *count, struct uqff_error *err) {
    struct report_parser p = {.where = where, .arena = arena, .err = err};
    enum uqff_code code = uqff_json_open(json, size, where, 0, 0, &p.json, err);
    if (code != UQFF_OK || (code = read_report(&p)) != UQFF_OK) {
        goto out;
    }
    if (p.count == 0) {
        code = uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET, "%s: no outputs, expected at least one",
                         where);
        goto out;
    }
    struct uqff_report_entry *copy = uqff_arena_array(arena, p.count, sizeof *copy);
    if (copy == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    memcpy(copy, p.entries, p.count * sizeof *copy);
    *out = copy;
    *count = p.count;
out:
    uqff_json_close(p.json);
    uqff_container_map_free(&p.seen);
    uqff_free(p.entries);
    uqff_free(p.shards);
    return code;
}
