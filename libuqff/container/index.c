/* uqff.multi.index: the JSON text that says which variants a multi-quant file has. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "container/internal.h"

/* ---- reading --------------------------------------------------------------------------------- */

struct index_parser {
    struct uqff_container *container;
    struct uqff_json *json;
    struct uqff_error *err;
    char *default_name; /* NULL: none */
    bool has_default;
    struct uqff_variant *variants;
    size_t variant_count, variant_capacity;
    uint32_t *types; /* of every module in the variant at hand; UINT32_MAX: not named */
    bool *used;      /* blobs that some variant has */
};

static enum uqff_code fail_index(const struct index_parser *p, enum uqff_code code,
                                 const char *format, ...) UQFF_PRINTF(3, 4);

static enum uqff_code fail_index(const struct index_parser *p, enum uqff_code code,
                                 const char *format, ...) {
    va_list args;
    va_start(args, format);
    uqff_vfail(p->err, code, UQFF_NO_OFFSET, format, args);
    va_end(args);
    uqff_error_prefix(p->err, "%s: " UQFF_KEY_MULTI_INDEX, uqff_container_where(p->container, 0));
    return code;
}

static bool is_key(const struct uqff_json_event *event, const char *key) {
    return event->length == strlen(key) && memcmp(event->text, key, event->length) == 0;
}

/* A string without control characters, which cJSON and a terminal would both trip over. */
static enum uqff_code read_text(struct index_parser *p, const char *what, size_t limit,
                                char **out) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_STRING, what, &event, p->err);
    if (code != UQFF_OK) {
        return code;
    }
    bool bad = event.length > limit;
    for (size_t i = 0; !bad && i < event.length; i++) {
        bad = (unsigned char)event.text[i] < 0x20 || event.text[i] == 0x7f;
    }
    if (bad) {
        return fail_index(p, UQFF_E_NAME,
                          "%s: found %zu bytes or control characters, expected at most %zu bytes",
                          what, event.length, limit);
    }
    *out = uqff_arena_copy(&p->container->arena, event.text, event.length);
    return *out == NULL ? uqff_fail_memory(p->err) : UQFF_OK;
}

static enum uqff_code read_type(struct index_parser *p, const char *text, size_t length,
                                uint32_t *out) {
    if (!uqff_container_type_from_label(text, length, out) ||
        !uqff_container_type_is_storable(*out)) {
        return fail_index(p, UQFF_E_TYPE, "'%.*s' is no type that a blob may have",
                          (int)(length < 64 ? length : 64), text);
    }
    return UQFF_OK;
}

static enum uqff_code read_number(struct index_parser *p, const char *what, uint64_t *out) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_NUMBER, what, &event, p->err);
    if (code == UQFF_OK && !event.is_u64) {
        code = uqff_json_unexpected(p->json, &event, what, "a whole number below 2^64", p->err);
    }
    *out = event.integer;
    return code;
}

/* ["module", …] for one type of "except" */
static enum uqff_code read_modules(struct index_parser *p, uint32_t type) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_ARRAY, "except", &event, p->err);
    while (code == UQFF_OK) {
        if ((code = uqff_json_next(p->json, &event, p->err)) != UQFF_OK ||
            event.kind == UQFF_JSON_ARRAY_END) {
            return code;
        }
        if (event.kind != UQFF_JSON_STRING) {
            return uqff_json_unexpected(p->json, &event, "except", "a module's name", p->err);
        }
        size_t m = uqff_container_map_get(&p->container->module_map, event.text, event.length);
        int shown = (int)(event.length < 200 ? event.length : 200);
        if (m == UQFF_NONE) {
            return fail_index(p, UQFF_E_FIELD, "except: '%.*s' is no module of this file", shown,
                              event.text);
        }
        if (p->types[m] != UINT32_MAX) {
            return fail_index(p, UQFF_E_DUPLICATE, "except: '%.*s' is named twice", shown,
                              event.text);
        }
        p->types[m] = type;
    }
    return code;
}

static enum uqff_code read_except(struct index_parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_OBJECT, "except", &event, p->err);
    while (code == UQFF_OK) {
        bool done;
        uint32_t type;
        if ((code = uqff_json_member(p->json, &event, &done, p->err)) != UQFF_OK || done) {
            return code;
        }
        if ((code = read_type(p, event.text, event.length, &type)) == UQFF_OK) {
            code = read_modules(p, type);
        }
    }
    return code;
}

/* Finds the blob of every module and adds up the sizes. */
static enum uqff_code resolve(struct index_parser *p, struct uqff_variant *variant) {
    struct uqff_container *container = p->container;
    size_t *blobs = uqff_arena_array(&container->arena, container->module_count, sizeof *blobs);
    if (blobs == NULL) {
        return uqff_fail_memory(p->err);
    }
    variant->weights = 0;
    variant->bytes = 0;
    for (size_t m = 0; m < container->module_count; m++) {
        const struct uqff_module *module = &container->modules[m];
        uint32_t type = p->types[m] == UINT32_MAX ? variant->type : p->types[m];
        size_t end = module->first_blob + module->blob_count, b = module->first_blob;
        while (b < end && container->blobs[b].type != type) {
            b++;
        }
        if (b == end) {
            return fail_index(p, UQFF_E_MISSING, "variant '%s': module '%s' has no blob of type %s",
                              variant->name, module->name, uqff_type_label(type));
        }
        blobs[m] = b;
        p->used[b] = true;
        /* Blobs lie in files; a variant's are distinct. */
        variant->bytes += container->blobs[b].bytes;
        if (!uqff_add_u64(variant->weights, module->weights, &variant->weights)) {
            return fail_index(p, UQFF_E_OVERFLOW, "the number of weights does not fit 64 bits");
        }
    }
    variant->blobs = blobs;
    return UQFF_OK;
}

struct variant_fields {
    bool type, weights, bytes;
    uint64_t weights_told, bytes_told;
    char *name, *recipe;
};

static enum uqff_code read_field(struct index_parser *p, const struct uqff_json_event *key,
                                 struct uqff_variant *variant, struct variant_fields *fields) {
    if (is_key(key, "name")) {
        return read_text(p, "name", 255, &fields->name);
    }
    if (is_key(key, "recipe")) {
        return read_text(p, "recipe", 65535, &fields->recipe);
    }
    if (is_key(key, "type")) {
        struct uqff_json_event event;
        enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_STRING, "type", &event, p->err);
        fields->type = true;
        return code != UQFF_OK ? code : read_type(p, event.text, event.length, &variant->type);
    }
    if (is_key(key, "except")) {
        return read_except(p);
    }
    if (is_key(key, "weights")) {
        fields->weights = true;
        return read_number(p, "weights", &fields->weights_told);
    }
    if (is_key(key, "bytes")) {
        fields->bytes = true;
        return read_number(p, "bytes", &fields->bytes_told);
    }
    /* Something that a newer minor version adds. */
    return uqff_json_skip_next(p->json, p->err);
}

static enum uqff_code check_variant(struct index_parser *p, struct uqff_variant *variant,
                                    const struct variant_fields *fields) {
    if (fields->name == NULL || fields->name[0] == 0 || !fields->type) {
        return fail_index(p, UQFF_E_FIELD, "variant %zu has no %s", p->variant_count,
                          fields->type ? "name" : "type");
    }
    variant->name = fields->name;
    variant->recipe = fields->recipe == NULL ? "" : fields->recipe;
    for (size_t i = 0; i < p->variant_count; i++) {
        if (strcasecmp(p->variants[i].name, variant->name) == 0) {
            return fail_index(p, UQFF_E_DUPLICATE, "two variants are called '%s'", variant->name);
        }
    }
    enum uqff_code code = resolve(p, variant);
    if (code != UQFF_OK) {
        return code;
    }
    if ((fields->weights && fields->weights_told != variant->weights) ||
        (fields->bytes && fields->bytes_told != variant->bytes)) {
        return fail_index(p, UQFF_E_FIELD,
                          "variant '%s': %llu weights in %llu bytes, but its blobs have %llu in "
                          "%llu",
                          variant->name, (unsigned long long)fields->weights_told,
                          (unsigned long long)fields->bytes_told,
                          (unsigned long long)variant->weights, (unsigned long long)variant->bytes);
    }
    return UQFF_OK;
}

static enum uqff_code read_variant(struct index_parser *p) {
    struct uqff_variant variant = {0};
    struct variant_fields fields = {0};
    enum uqff_code code;
    if (p->variant_count == UQFF_CONTAINER_MAX_VARIANTS) {
        return fail_index(p, UQFF_E_LIMIT, "more than %d variants", UQFF_CONTAINER_MAX_VARIANTS);
    }
    for (size_t m = 0; m < p->container->module_count; m++) {
        p->types[m] = UINT32_MAX;
    }
    for (;;) {
        struct uqff_json_event key;
        bool done;
        if ((code = uqff_json_member(p->json, &key, &done, p->err)) != UQFF_OK) {
            return code;
        }
        if (done) {
            break;
        }
        if ((code = read_field(p, &key, &variant, &fields)) != UQFF_OK) {
            return code;
        }
    }
    if ((code = check_variant(p, &variant, &fields)) != UQFF_OK ||
        (code = uqff_grow((void **)&p->variants, &p->variant_capacity, p->variant_count + 1,
                          sizeof *p->variants, p->err)) != UQFF_OK) {
        return code;
    }
    p->variants[p->variant_count++] = variant;
    return UQFF_OK;
}

static enum uqff_code read_variants(struct index_parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_ARRAY, "variants", &event, p->err);
    while (code == UQFF_OK) {
        if ((code = uqff_json_next(p->json, &event, p->err)) != UQFF_OK ||
            event.kind == UQFF_JSON_ARRAY_END) {
            return code;
        }
        if (event.kind != UQFF_JSON_OBJECT) {
            return uqff_json_unexpected(p->json, &event, "variants", "an object", p->err);
        }
        code = read_variant(p);
    }
    return code;
}

static enum uqff_code read_default(struct index_parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(p->json, &event, p->err);
    if (code != UQFF_OK) {
        return code;
    }
    p->has_default = true;
    if (event.kind == UQFF_JSON_NULL) {
        return UQFF_OK;
    }
    if (event.kind != UQFF_JSON_STRING) {
        return uqff_json_unexpected(p->json, &event, "default", "a variant's name or null", p->err);
    }
    p->default_name = uqff_arena_copy(&p->container->arena, event.text, event.length);
    return p->default_name == NULL ? uqff_fail_memory(p->err) : UQFF_OK;
}

static enum uqff_code read_index(struct index_parser *p) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_OBJECT, "the index", &event, p->err);
    while (code == UQFF_OK) {
        bool done;
        if ((code = uqff_json_member(p->json, &event, &done, p->err)) != UQFF_OK) {
            return code;
        }
        if (done) {
            return uqff_json_expect(p->json, UQFF_JSON_END, "the index", &event, p->err);
        }
        if (is_key(&event, "default")) {
            code = read_default(p);
        } else if (is_key(&event, "variants")) {
            code = read_variants(p);
        } else {
            code = uqff_json_skip_next(p->json, p->err);
        }
    }
    return code;
}

/* The canonical names hold the default variant, all of it and nothing else. */
static enum uqff_code check_default(struct index_parser *p) {
    struct uqff_container *container = p->container;
    if (!p->has_default) {
        return fail_index(p, UQFF_E_FIELD, "the member 'default' is missing");
    }
    if (p->default_name != NULL) {
        size_t i = 0;
        while (i < p->variant_count && strcmp(p->variants[i].name, p->default_name) != 0) {
            i++;
        }
        if (i == p->variant_count) {
            return fail_index(p, UQFF_E_FIELD, "the default '%s' is no variant of this file",
                              p->default_name);
        }
        container->default_variant = i;
    }
    for (size_t m = 0; m < container->module_count; m++) {
        const struct uqff_module *module = &container->modules[m];
        const struct uqff_blob *first = &container->blobs[module->first_blob];
        struct uqff_entry_name name;
        if (module->blob_count == 0) {
            return fail_index(p, UQFF_E_MISSING, "module '%s' has no blob", module->name);
        }
        uqff_container_name_parse(first->entry.tensor->name, first->entry.tensor->name_length,
                                  &name);
        bool canonical = name.kind == UQFF_NAME_WEIGHT;
        if (p->default_name == NULL && canonical) {
            return fail_index(p, UQFF_E_FIELD, "no default, but there is an entry '%s'",
                              first->entry.tensor->name);
        }
        if (p->default_name != NULL &&
            (!canonical ||
             p->variants[container->default_variant].blobs[m] != module->first_blob)) {
            return fail_index(p, UQFF_E_FIELD,
                              "'%s.weight' is not there or not as the default variant '%s' has it",
                              module->name, p->default_name);
        }
    }
    return UQFF_OK;
}

/* Without a default variant a bias lies among the residual tensors. */
static enum uqff_code find_biases(struct uqff_container *container, struct uqff_error *err) {
    struct uqff_buffer name = {0};
    struct uqff_map map = {0};
    enum uqff_code code = UQFF_OK;
    size_t existing;
    for (size_t i = 0; i < container->residual_count && code == UQFF_OK; i++) {
        const char *key = container->residual[i].name;
        code = uqff_container_map_put(&map, key, strlen(key), i, &existing, err);
    }
    for (size_t m = 0; m < container->module_count && code == UQFF_OK; m++) {
        struct uqff_module *module = &container->modules[m];
        name.size = 0;
        uqff_buffer_printf(&name, "%s.bias", module->name);
        if (name.failed) {
            code = uqff_fail_memory(err);
            break;
        }
        size_t i = uqff_container_map_get(&map, name.data, name.size);
        if (i == UQFF_NONE) {
            continue;
        }
        const struct uqff_st_tensor *tensor = container->residual[i].entry.tensor;
        bool fits = tensor->rank + 1 == module->rank;
        for (unsigned k = 0; fits && k < tensor->rank; k++) {
            fits = tensor->shape[k] == module->shape[k];
        }
        if (fits) {
            module->has_bias = true;
            module->bias = container->residual[i].entry;
        }
    }
    uqff_container_map_free(&map);
    uqff_buffer_free(&name);
    return code;
}

static void warn_unused(const struct index_parser *p, const struct uqff_warner *warner) {
    size_t count = 0, first = 0;
    for (size_t b = p->container->blob_count; b > 0; b--) {
        if (!p->used[b - 1]) {
            count++;
            first = b - 1;
        }
    }
    if (count > 0) {
        const struct uqff_entry *entry = &p->container->blobs[first].entry;
        uqff_warn(warner, "%s: no variant uses %zu of the blobs, first '%s'",
                  uqff_container_where(p->container, entry->shard), count, entry->tensor->name);
    }
}

enum uqff_code uqff_container_load_index(struct uqff_container *container,
                                         const struct uqff_warner *warner, struct uqff_error *err) {
    struct index_parser p = {.container = container, .err = err};
    const char *where = uqff_container_where(container, 0);
    size_t length;
    const char *text =
        uqff_safetensors_metadata_find(container->shards[0].file, UQFF_KEY_MULTI_INDEX, &length);
    if (text == NULL) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET, "%s: metadata '%s' is missing", where,
                         UQFF_KEY_MULTI_INDEX);
    }
    struct uqff_buffer name = {0};
    uqff_buffer_printf(&name, "%s: %s", where, UQFF_KEY_MULTI_INDEX);
    p.types = uqff_alloc_array(container->module_count + 1, sizeof *p.types);
    p.used = uqff_alloc_array(container->blob_count + 1, sizeof *p.used);
    enum uqff_code code;
    if (name.failed || p.types == NULL || p.used == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    if ((code = uqff_json_open(text, length, name.data, 0, 0, &p.json, err)) != UQFF_OK ||
        (code = read_index(&p)) != UQFF_OK) {
        goto out;
    }
    if (p.variant_count == 0) {
        code = fail_index(&p, UQFF_E_FIELD, "no variant, expected at least one");
        goto out;
    }
    if ((code = check_default(&p)) != UQFF_OK) {
        goto out;
    }
    container->variants =
        uqff_arena_array(&container->arena, p.variant_count, sizeof *container->variants);
    if (container->variants == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    memcpy(container->variants, p.variants, p.variant_count * sizeof *p.variants);
    container->variant_count = p.variant_count;
    if (container->default_variant == UQFF_NONE) {
        code = find_biases(container, err);
    }
    if (code == UQFF_OK) {
        warn_unused(&p, warner);
    }
out:
    uqff_json_close(p.json);
    uqff_buffer_free(&name);
    uqff_free(p.variants);
    uqff_free(p.types);
    uqff_free(p.used);
    return code;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Modules of one type, linked in model order. */
struct type_list {
    uint32_t type;
    size_t first, last;
};

static int compare_lists(const void *a, const void *b) {
    uint32_t x = ((const struct type_list *)a)->type, y = ((const struct type_list *)b)->type;
    return (x > y) - (x < y);
}

/* The types other than the variant's own, by id, each with its modules chained through next[]. */
static size_t list_types(const struct uqff_container_spec *spec,
                         const struct uqff_spec_variant *variant, struct type_list *lists,
                         size_t capacity, size_t *next) {
    size_t count = 0;
    for (size_t m = 0; m < spec->module_count; m++) {
        uint32_t type = variant->types[m];
        next[m] = UQFF_NONE;
        if (type == variant->type) {
            continue;
        }
        size_t i = 0;
        while (i < count && lists[i].type != type) {
            i++;
        }
        if (i < count) {
            next[lists[i].last] = m;
            lists[i].last = m;
        } else if (count < capacity) {
            lists[count++] = (struct type_list){.type = type, .first = m, .last = m};
        }
    }
    qsort(lists, count, sizeof *lists, compare_lists);
    return count;
}

static enum uqff_code render_variant(const struct uqff_container_spec *spec,
                                     const struct uqff_spec_variant *variant, size_t *next,
                                     struct uqff_buffer *out, struct uqff_error *err) {
    /* Types that a blob may have are far fewer than this. */
    struct type_list lists[128];
    size_t count = list_types(spec, variant, lists, sizeof lists / sizeof *lists, next);
    uqff_buffer_printf(out, "{\"name\":");
    uqff_buffer_json_string(out, variant->name, strlen(variant->name));
    uqff_buffer_printf(out, ",\"recipe\":");
    uqff_buffer_json_string(out, variant->recipe, strlen(variant->recipe));
    uqff_buffer_printf(out, ",\"type\":\"%s\",\"except\":{", uqff_type_label(variant->type));
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_printf(out, "%s\"%s\":[", i == 0 ? "" : ",", uqff_type_label(lists[i].type));
        for (size_t m = lists[i].first; m != UQFF_NONE; m = next[m]) {
            const char *name = spec->modules[m].name;
            uqff_buffer_append(out, ",", m == lists[i].first ? 0 : 1);
            uqff_buffer_json_string(out, name, strlen(name));
        }
        uqff_buffer_append(out, "]", 1);
    }
    uint64_t weights = 0, bytes = 0;
    for (size_t m = 0; m < spec->module_count; m++) {
        const struct uqff_spec_module *module = &spec->modules[m];
        uint64_t n, size;
        enum uqff_code code;
        if ((code = uqff_container_weights("the plan", module->name, module->shape, module->rank,
                                           &n, err)) != UQFF_OK ||
            (code = uqff_tensor_bytes(variant->types[m], module->shape, module->rank, &size,
                                      err)) != UQFF_OK) {
            return code;
        }
        if (!uqff_add_u64(weights, n, &weights) || !uqff_add_u64(bytes, size, &bytes)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "variant '%s': its size does not fit 64 bits", variant->name);
        }
    }
    uqff_buffer_printf(out, "},\"weights\":%llu,\"bytes\":%llu}", (unsigned long long)weights,
                       (unsigned long long)bytes);
    return UQFF_OK;
}

enum uqff_code uqff_container_index_render(const struct uqff_container_spec *spec,
                                           struct uqff_buffer *out, struct uqff_error *err) {
    size_t *next = uqff_alloc_array(spec->module_count + 1, sizeof *next);
    if (next == NULL) {
        return uqff_fail_memory(err);
    }
    uqff_buffer_printf(out, "{\"default\":");
    if (spec->default_variant == UQFF_NONE) {
        uqff_buffer_printf(out, "null");
    } else {
        const char *name = spec->variants[spec->default_variant].name;
        uqff_buffer_json_string(out, name, strlen(name));
    }
    uqff_buffer_printf(out, ",\"variants\":[");
    enum uqff_code code = UQFF_OK;
    for (size_t v = 0; v < spec->variant_count && code == UQFF_OK; v++) {
        uqff_buffer_append(out, ",", v == 0 ? 0 : 1);
        code = render_variant(spec, &spec->variants[v], next, out, err);
    }
    uqff_buffer_printf(out, "]}");
    if (code == UQFF_OK && out->failed) {
        code = uqff_fail_memory(err);
    }
    uqff_free(next);
    return code;
}
