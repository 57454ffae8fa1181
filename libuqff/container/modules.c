/* From entries to modules and their blobs. */
#include <stdlib.h>
#include <string.h>

#include "container/internal.h"

/* An entry that belongs to a module. */
struct part {
    size_t module;
    enum uqff_name_kind kind; /* WEIGHT, SIDE, BIAS, BLOB or SHAPE */
    enum uqff_side side;
    uint32_t type;
    struct uqff_entry entry;
    unsigned char *value; /* contents of a small one */
};

struct assembly {
    struct uqff_container *container;
    struct uqff_error *err;
    struct uqff_arena arena; /* contents of small entries */
    const char **names;      /* of modules */
    size_t name_count, name_capacity;
    struct part *parts;
    size_t part_count, part_capacity;
    size_t *first; /* parts of module m: order[first[m]] to order[first[m + 1] - 1] */
    const struct part **order;
    size_t others;                  /* entries that are passed over */
    struct uqff_entry other;        /* the first of them */
    size_t ragged;                  /* blobs whose rows are no whole blocks */
    struct uqff_entry first_ragged; /* the first of them */
};

/* Calls `visit` for every entry of every shard. */
typedef enum uqff_code visit_entry(struct assembly *a, struct uqff_entry entry,
                                   const struct uqff_entry_name *name);

static enum uqff_code for_entries(struct assembly *a, visit_entry *visit) {
    for (size_t s = 0; s < a->container->shard_count; s++) {
        struct uqff_safetensors *file = a->container->shards[s].file;
        size_t count = uqff_safetensors_count(file);
        for (size_t i = 0; i < count; i++) {
            struct uqff_entry entry = {.shard = s, .tensor = uqff_safetensors_tensor(file, i)};
            struct uqff_entry_name name;
            uqff_container_name_parse(entry.tensor->name, entry.tensor->name_length, &name);
            enum uqff_code code = visit(a, entry, &name);
            if (code != UQFF_OK) {
                return code;
            }
        }
    }
    return UQFF_OK;
}

static enum uqff_code fail_entry(struct assembly *a, enum uqff_code code, struct uqff_entry entry,
                                 const char *what) {
    return uqff_fail(a->err, code, entry.tensor->offset, "%s: '%s': %s",
                     uqff_container_where(a->container, entry.shard), entry.tensor->name, what);
}

/* ---- finding the modules ------------------------------------------------------------------------
 */

static enum uqff_code visit_module(struct assembly *a, struct uqff_entry entry,
                                   const struct uqff_entry_name *name) {
    bool multi = a->container->multi;
    bool defines = name->kind == UQFF_NAME_WEIGHT ||
                   (multi && (name->kind == UQFF_NAME_BLOB || name->kind == UQFF_NAME_SHAPE));
    if (!defines || uqff_container_map_get(&a->container->module_map, name->base,
                                           name->base_length) != UQFF_NONE) {
        return UQFF_OK;
    }
    if (name->base_length == 0 ||
        (multi && !uqff_container_module_name_ok(name->base, name->base_length))) {
        return fail_entry(a, UQFF_E_NAME, entry, "this is no name that a module may have");
    }
    size_t existing;
    enum uqff_code code;
    if ((code = uqff_grow((void **)&a->names, &a->name_capacity, a->name_count + 1,
                          sizeof *a->names, a->err)) != UQFF_OK) {
        return code;
    }
    char *copy = uqff_arena_copy(&a->container->arena, name->base, name->base_length);
    if (copy == NULL) {
        return uqff_fail_memory(a->err);
    }
    if ((code = uqff_container_map_put(&a->container->module_map, copy, name->base_length,
                                       a->name_count, &existing, a->err)) != UQFF_OK) {
        return code;
    }
    a->names[a->name_count++] = copy;
    return UQFF_OK;
}

static int compare_names(const void *a, const void *b) {
    return uqff_module_order(*(const char *const *)a, *(const char *const *)b);
}

static enum uqff_code sort_modules(struct assembly *a) {
    struct uqff_container *container = a->container;
    if (a->name_count > 1) {
        qsort(a->names, a->name_count, sizeof *a->names, compare_names);
    }
    container->modules =
        uqff_arena_array(&container->arena, a->name_count + 1, sizeof *container->modules);
    if (container->modules == NULL) {
        return uqff_fail_memory(a->err);
    }
    container->module_count = a->name_count;
    uqff_container_map_free(&container->module_map);
    for (size_t m = 0; m < a->name_count; m++) {
        size_t existing;
        container->modules[m].name = a->names[m];
        enum uqff_code code = uqff_container_map_put(&container->module_map, a->names[m],
                                                     strlen(a->names[m]), m, &existing, a->err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* ---- handing out the entries ----------------------------------------------------------------- */

/* mistral.rs counts every name that begins with "<module>.weight" as the module's. */
static bool claims_module(const struct assembly *a, const char *name) {
    for (const char *p = strstr(name, ".weight"); p != NULL; p = strstr(p + 1, ".weight")) {
        if (uqff_container_map_get(&a->container->module_map, name, (size_t)(p - name)) !=
            UQFF_NONE) {
            return true;
        }
    }
    return false;
}

static enum uqff_code visit_other(struct assembly *a, struct uqff_entry entry) {
    if (!a->container->multi && claims_module(a, entry.tensor->name)) {
        return fail_entry(a, UQFF_E_FIELD, entry,
                          "surplus: no entry of a module's weight has such a name");
    }
    if (a->others++ == 0) {
        a->other = entry;
    }
    return UQFF_OK;
}

static enum uqff_code visit_part(struct assembly *a, struct uqff_entry entry,
                                 const struct uqff_entry_name *name) {
    bool multi = a->container->multi;
    struct part part = {.kind = name->kind, .entry = entry, .type = name->type};
    switch (name->kind) {
    case UQFF_NAME_VERSION:
        return UQFF_OK;
    case UQFF_NAME_RESIDUAL:
    case UQFF_NAME_ASSET:
    case UQFF_NAME_PAD:
    case UQFF_NAME_DIGESTS:
        return multi ? UQFF_OK : visit_other(a, entry);
    case UQFF_NAME_UNKNOWN:
        if (multi && !a->container->newer) {
            return fail_entry(a, UQFF_E_NAME, entry,
                              "version 1.0 of the multi-quant container has no such entry");
        }
        return visit_other(a, entry);
    case UQFF_NAME_OTHER:
        return visit_other(a, entry);
    case UQFF_NAME_BLOB:
    case UQFF_NAME_SHAPE:
        if (!multi) {
            return visit_other(a, entry);
        }
        break;
    case UQFF_NAME_SIDE:
        part.side = uqff_container_side(name->suffix);
        break;
    case UQFF_NAME_WEIGHT:
    case UQFF_NAME_BIAS:
        break;
    }
    part.module = uqff_container_map_get(&a->container->module_map, name->base, name->base_length);
    if (part.module == UQFF_NONE) {
        return name->kind == UQFF_NAME_SIDE ? fail_entry(a, UQFF_E_MISSING, entry,
                                                         "the weight that it belongs to is missing")
                                            : visit_other(a, entry);
    }
    if (name->kind == UQFF_NAME_SIDE && part.side == UQFF_SIDE_COUNT) {
        return fail_entry(a, UQFF_E_FIELD, entry, "surplus: no weight.format has such an entry");
    }
    enum uqff_code code = uqff_grow((void **)&a->parts, &a->part_capacity, a->part_count + 1,
                                    sizeof *a->parts, a->err);
    if (code == UQFF_OK) {
        a->parts[a->part_count++] = part;
    }
    return code;
}

/* Groups the parts by module, by counting. */
static enum uqff_code bucket_parts(struct assembly *a) {
    size_t modules = a->container->module_count;
    a->first = uqff_alloc_array(modules + 2, sizeof *a->first);
    a->order = uqff_alloc_array(a->part_count + 1, sizeof *a->order);
    if (a->first == NULL || a->order == NULL) {
        return uqff_fail_memory(a->err);
    }
    for (size_t i = 0; i < a->part_count; i++) {
        a->first[a->parts[i].module + 2]++;
    }
    for (size_t m = 2; m < modules + 2; m++) {
        a->first[m] += a->first[m - 1];
    }
    /* first[m + 1] is where the next part of m goes; in the end it is where m's parts end. */
    for (size_t i = 0; i < a->part_count; i++) {
        a->order[a->first[a->parts[i].module + 1]++] = &a->parts[i];
    }
    return UQFF_OK;
}

/* Reads all scalars and shapes. What is too large to be one is left unread and refused later. */
static enum uqff_code read_values(struct assembly *a) {
    struct uqff_container_want *wants = uqff_alloc_array(a->part_count + 1, sizeof *wants);
    if (wants == NULL) {
        return uqff_fail_memory(a->err);
    }
    enum uqff_code code = UQFF_OK;
    size_t count = 0;
    for (size_t i = 0; i < a->part_count; i++) {
        struct part *part = &a->parts[i];
        const struct uqff_st_tensor *tensor = part->entry.tensor;
        bool small = part->kind == UQFF_NAME_SHAPE ||
                     (part->kind == UQFF_NAME_SIDE && part->side < UQFF_SIDE_FIRST_ARRAY);
        if (!small || tensor->bytes == 0 || tensor->bytes > 4 * UQFF_CONTAINER_MAX_RANK) {
            continue;
        }
        part->value = uqff_arena_alloc(&a->arena, (size_t)tensor->bytes);
        if (part->value == NULL) {
            code = uqff_fail_memory(a->err);
            goto out;
        }
        wants[count++] = (struct uqff_container_want){
            .shard = part->entry.shard,
            .offset = tensor->offset,
            .bytes = (size_t)tensor->bytes,
            .out = part->value,
        };
    }
    code = uqff_container_read_small(a->container, wants, count, a->err);
out:
    uqff_free(wants);
    return code;
}

/* ---- putting a module together --------------------------------------------------------------- */

struct module_parts {
    const struct part *weight, *bias, *shape;
    struct uqff_canonical canonical;
};

static void sort_parts(const struct assembly *a, size_t m, struct module_parts *out) {
    *out = (struct module_parts){.canonical.module = a->container->modules[m].name};
    for (size_t i = a->first[m]; i < a->first[m + 1]; i++) {
        const struct part *part = a->order[i];
        switch (part->kind) {
        case UQFF_NAME_WEIGHT:
            out->weight = part;
            out->canonical.weight = part->entry;
            out->canonical.source = a->container->shards[part->entry.shard].source;
            break;
        case UQFF_NAME_SIDE:
            out->canonical.side[part->side] = part->entry;
            out->canonical.value[part->side] = part->value;
            break;
        case UQFF_NAME_BIAS:
            out->bias = part;
            break;
        case UQFF_NAME_SHAPE:
            out->shape = part;
            break;
        default:
            break;
        }
    }
}

/* Labels are few: one copy of each serves all blobs. */
static const char *intern_label(struct uqff_container *container, const char *label,
                                size_t blobs_done) {
    for (size_t i = blobs_done; i > 0 && blobs_done - i < 64; i--) {
        if (strcmp(container->blobs[i - 1].label, label) == 0) {
            return container->blobs[i - 1].label;
        }
    }
    return uqff_arena_copy(&container->arena, label, strlen(label));
}

static enum uqff_code add_canonical(struct assembly *a, const struct module_parts *parts,
                                    struct uqff_module *module) {
    struct uqff_container *container = a->container;
    struct uqff_blob *blob = &container->blobs[container->blob_count];
    const struct uqff_coding *coding;
    enum uqff_code code = uqff_container_format_check(
        &parts->canonical, &container->arena, blob, &module->rank, &module->shape, &coding, a->err);
    if (code != UQFF_OK) {
        return code;
    }
    bool storable = blob->format == UQFF_FORMAT_GGUF || blob->format == UQFF_FORMAT_UNQUANT;
    if (container->multi && (!storable || !uqff_container_type_is_storable(blob->type))) {
        return fail_entry(a, UQFF_E_TYPE, parts->weight->entry,
                          "no variant of a multi-quant file can have this encoding");
    }
    if (blob->format == UQFF_FORMAT_GGUF &&
        module->shape[module->rank - 1] % uqff_type_info(blob->type)->block_length != 0) {
        if (container->multi) {
            return fail_entry(a, UQFF_E_SHAPE, parts->weight->entry,
                              "its rows are no whole number of blocks");
        }
        if (a->ragged++ == 0) {
            a->first_ragged = parts->weight->entry;
        }
    }
    blob->module = (size_t)(module - container->modules);
    blob->label = intern_label(
        container,
        uqff_container_format_label(blob->format, blob->type, coding == NULL ? 0 : coding->bits),
        container->blob_count);
    if (blob->label == NULL) {
        return uqff_fail_memory(a->err);
    }
    container->codings[container->blob_count++] = coding;
    return UQFF_OK;
}

/* <module>@uqff.<type>: raw blocks, or floats in their own dtype and shape. */
static enum uqff_code check_blob(struct assembly *a, const struct part *part,
                                 const struct uqff_module *module) {
    const struct uqff_st_tensor *tensor = part->entry.tensor;
    const char *where = uqff_container_where(a->container, part->entry.shard);
    uint64_t bytes;
    enum uqff_code code =
        uqff_tensor_bytes(part->type, module->shape, module->rank, &bytes, a->err);
    if (code != UQFF_OK) {
        uqff_error_prefix(a->err, "%s: '%s'", where, tensor->name);
        return code;
    }
    enum uqff_dtype dtype = UQFF_DTYPE_U8;
    bool is_float = uqff_container_type_is_float(part->type);
    if (is_float) {
        (void)uqff_type_to_dtype(part->type, &dtype);
    }
    if (tensor->dtype != dtype || tensor->bytes != bytes ||
        tensor->rank != (is_float ? module->rank : 1)) {
        return uqff_fail(a->err, UQFF_E_SHAPE, tensor->offset,
                         "%s: '%s': found %s of rank %u and %llu bytes, expected %s of rank %u and "
                         "%llu bytes",
                         where, tensor->name, uqff_dtype_name(tensor->dtype), tensor->rank,
                         (unsigned long long)tensor->bytes, uqff_dtype_name(dtype),
                         is_float ? module->rank : 1, (unsigned long long)bytes);
    }
    for (unsigned i = 0; is_float && i < module->rank; i++) {
        if (tensor->shape[i] != module->shape[i]) {
            return fail_entry(a, UQFF_E_SHAPE, part->entry, "its shape is not the module's");
        }
    }
    return UQFF_OK;
}

static int compare_types(const void *a, const void *b) {
    const struct part *x = *(const struct part *const *)a, *y = *(const struct part *const *)b;
    return (x->type > y->type) - (x->type < y->type);
}

static enum uqff_code add_blobs(struct assembly *a, size_t m, struct uqff_module *module) {
    struct uqff_container *container = a->container;
    const struct part **parts = a->order + a->first[m];
    size_t count = 0;
    for (size_t i = a->first[m]; i < a->first[m + 1]; i++) {
        if (a->order[i]->kind == UQFF_NAME_BLOB) {
            const struct part *part = a->order[i];
            a->order[i] = parts[count];
            parts[count++] = part;
        }
    }
    if (count > 1) {
        qsort(parts, count, sizeof *parts, compare_types);
    }
    bool has_canonical = container->blob_count > module->first_blob;
    uint32_t canonical_type = has_canonical ? container->blobs[module->first_blob].type : 0;
    for (size_t i = 0; i < count; i++) {
        const struct part *part = parts[i];
        if (has_canonical && part->type == canonical_type) {
            return fail_entry(a, UQFF_E_DUPLICATE, part->entry,
                              "the module has a blob of this type already, as '.weight'");
        }
        enum uqff_code code = check_blob(a, part, module);
        if (code != UQFF_OK) {
            return code;
        }
        struct uqff_blob *blob = &container->blobs[container->blob_count];
        *blob = (struct uqff_blob){
            .module = m,
            .format =
                uqff_container_type_is_float(part->type) ? UQFF_FORMAT_UNQUANT : UQFF_FORMAT_GGUF,
            .type = part->type,
            .label = intern_label(container, uqff_type_label(part->type), container->blob_count),
            .entry = part->entry,
            .bytes = part->entry.tensor->bytes,
        };
        if (blob->label == NULL) {
            return uqff_fail_memory(a->err);
        }
        container->blob_count++;
    }
    return UQFF_OK;
}

static enum uqff_code check_bias(struct assembly *a, const struct part *part,
                                 struct uqff_module *module) {
    const struct uqff_st_tensor *tensor = part->entry.tensor;
    bool is_float = tensor->dtype == UQFF_DTYPE_F32 || tensor->dtype == UQFF_DTYPE_F16 ||
                    tensor->dtype == UQFF_DTYPE_BF16 || tensor->dtype == UQFF_DTYPE_F8_E4M3;
    if (!is_float) {
        return fail_entry(a, UQFF_E_FIELD, part->entry,
                          "a bias has the dtype F32, F16, BF16 or F8_E4M3");
    }
    bool same = tensor->rank + 1 == module->rank;
    for (unsigned i = 0; same && i < tensor->rank; i++) {
        same = tensor->shape[i] == module->shape[i];
    }
    if (!same) {
        return fail_entry(a, UQFF_E_SHAPE, part->entry,
                          "a bias has the shape of the module without the last dimension");
    }
    module->has_bias = true;
    module->bias = part->entry;
    return UQFF_OK;
}

static enum uqff_code build_module(struct assembly *a, size_t m) {
    struct uqff_container *container = a->container;
    struct uqff_module *module = &container->modules[m];
    struct module_parts parts;
    sort_parts(a, m, &parts);
    module->first_blob = container->blob_count;
    enum uqff_code code = UQFF_OK;
    if (parts.weight != NULL) {
        if (parts.shape != NULL) {
            return fail_entry(a, UQFF_E_FIELD, parts.shape->entry,
                              "surplus: the module's weight gives the shape");
        }
        code = add_canonical(a, &parts, module);
    } else {
        for (unsigned i = 0; i < UQFF_SIDE_COUNT; i++) {
            if (parts.canonical.side[i].tensor != NULL) {
                return fail_entry(a, UQFF_E_MISSING, parts.canonical.side[i],
                                  "the weight that it belongs to is missing");
            }
        }
        if (parts.shape == NULL) {
            return fail_entry(a, UQFF_E_MISSING, a->order[a->first[m]]->entry,
                              "neither a weight nor an '@uqff.shape' tells the module's shape");
        }
        code = uqff_container_shape(&parts.shape->entry, parts.shape->value,
                                    uqff_container_where(container, parts.shape->entry.shard),
                                    &container->arena, &module->rank, &module->shape, a->err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    const struct part *any = a->order[a->first[m]];
    if ((code = uqff_container_weights(uqff_container_where(container, any->entry.shard),
                                       module->name, module->shape, module->rank, &module->weights,
                                       a->err)) != UQFF_OK ||
        (code = add_blobs(a, m, module)) != UQFF_OK) {
        return code;
    }
    module->blob_count = container->blob_count - module->first_blob;
    if (parts.bias != NULL && parts.weight == NULL) {
        return fail_entry(a, UQFF_E_MISSING, parts.bias->entry,
                          "the weight that it belongs to is missing");
    }
    return parts.bias == NULL ? UQFF_OK : check_bias(a, parts.bias, module);
}

static enum uqff_code build_modules(struct assembly *a) {
    struct uqff_container *container = a->container;
    size_t blobs = 0;
    for (size_t i = 0; i < a->part_count; i++) {
        blobs += a->parts[i].kind == UQFF_NAME_WEIGHT || a->parts[i].kind == UQFF_NAME_BLOB;
    }
    container->blobs = uqff_arena_array(&container->arena, blobs + 1, sizeof *container->blobs);
    container->codings = uqff_arena_array(&container->arena, blobs + 1, sizeof *container->codings);
    if (container->blobs == NULL || container->codings == NULL) {
        return uqff_fail_memory(a->err);
    }
    for (size_t m = 0; m < container->module_count; m++) {
        enum uqff_code code = build_module(a, m);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_container_load_modules(struct uqff_container *container,
                                           const struct uqff_warner *warner,
                                           struct uqff_error *err) {
    struct assembly a = {.container = container, .err = err};
    enum uqff_code code;
    if ((code = for_entries(&a, visit_module)) != UQFF_OK || (code = sort_modules(&a)) != UQFF_OK ||
        (code = for_entries(&a, visit_part)) != UQFF_OK || (code = bucket_parts(&a)) != UQFF_OK ||
        (code = read_values(&a)) != UQFF_OK || (code = build_modules(&a)) != UQFF_OK) {
        goto out;
    }
    if (a.others > 0) {
        uqff_warn(warner, "%s: %zu entries are no part of a module and are passed over, first '%s'",
                  uqff_container_where(container, a.other.shard), a.others, a.other.tensor->name);
    }
    if (a.ragged > 0) {
        uqff_warn(warner,
                  "%s: the rows of %zu modules are no whole number of blocks, so that a block runs "
                  "over several rows, first '%s'",
                  uqff_container_where(container, a.first_ragged.shard), a.ragged,
                  a.first_ragged.tensor->name);
    }
out:
    uqff_free(a.names);
    uqff_free(a.parts);
    uqff_free(a.first);
    uqff_free(a.order);
    uqff_arena_free(&a.arena);
    return code;
}
