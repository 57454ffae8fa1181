/* UQFF files as models: one variant of a multi-quant container, or a plain shard set with its
 * residual and side files beside it. */
#include <string.h>

#include "model/internal.h"

/* ---- which variant --------------------------------------------------------------------------- */

static enum uqff_code fail_variant(const struct uqff_model *model, const char *variant,
                                   struct uqff_error *err) {
    struct uqff_buffer list = {0};
    size_t count = uqff_container_variant_count(model->container);
    for (size_t i = 0; i < count; i++) {
        uqff_buffer_printf(&list, "%s%s", i > 0 ? ", " : "",
                           uqff_container_variant(model->container, i)->name);
    }
    enum uqff_code code;
    if (list.failed) {
        code = uqff_fail_memory(err);
    } else if (variant == NULL) {
        code = uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "%s: has no default variant, expected '#' and one of: %s", model->path,
                         list.size > 0 ? list.data : "(none)");
    } else {
        code = uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "%s: has no variant '%s', expected one of: %s", model->path, variant,
                         list.size > 0 ? list.data : "(none)");
    }
    uqff_buffer_free(&list);
    return code;
}

static enum uqff_code choose_variant(struct uqff_model *model, const char *variant,
                                     struct uqff_error *err) {
    const struct uqff_container *container = model->container;
    if (variant != NULL) {
        model->variant = uqff_container_find_variant(container, variant);
    } else {
        model->variant = uqff_container_default(container);
        if (model->variant == UQFF_NONE && uqff_container_variant_count(container) == 1) {
            model->variant = 0;
        }
    }
    return model->variant == UQFF_NONE ? fail_variant(model, variant, err) : UQFF_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static struct uqff_source *entry_source(const struct uqff_model *model, struct uqff_entry entry) {
    return uqff_safetensors_source(uqff_container_shard(model->container, entry.shard));
}

static void place_entry(const struct uqff_model *model, struct tensor *t, struct uqff_entry entry) {
    t->source = entry_source(model, entry);
    t->offset = entry.tensor->offset;
    t->info.bytes = entry.tensor->bytes;
}

static enum uqff_code add_entry(struct uqff_model *model, const char *name, struct uqff_entry entry,
                                struct tensor **out, struct uqff_error *err) {
    struct tensor *t = uqff_model_add_tensor(model, err);
    if (t == NULL) {
        return UQFF_E_MEMORY;
    }
    t->info.name = name;
    t->info.rank = entry.tensor->rank;
    t->info.shape = entry.tensor->shape;
    t->info.type = t->stored_type = uqff_type_from_dtype(entry.tensor->dtype);
    place_entry(model, t, entry);
    *out = t;
    return uqff_model_finish_tensor(t, err);
}

/* Format 6 has nibbles and exponents in two entries, which may lie in two shards. */
static enum uqff_code place_mxfp4(struct uqff_model *model, struct tensor *t,
                                  const struct uqff_blob *blob, struct uqff_error *err) {
    const char *module = uqff_container_module(model->container, blob->module)->name;
    char *name = uqff_arena_printf(&model->arena, "%s.weight.scales", module);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < uqff_container_shard_count(model->container); i++) {
        struct uqff_safetensors *shard = uqff_container_shard(model->container, i);
        const struct uqff_st_tensor *scales = uqff_safetensors_find(shard, name);
        if (scales != NULL) {
            t->reading = READ_MXFP4;
            t->stored_type = UQFF_TYPE_U8;
            place_entry(model, t, blob->entry);
            t->scales.source = uqff_safetensors_source(shard);
            t->scales.offset = scales->offset;
            return UQFF_OK;
        }
    }
    return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET, "%s: entry '%s' is missing", model->path,
                     name);
}

static enum uqff_code add_weight(struct uqff_model *model, const struct uqff_module *module,
                                 size_t blob_index, struct uqff_error *err) {
    const struct uqff_blob *blob = uqff_container_blob(model->container, blob_index);
    enum uqff_code code = UQFF_OK;
    struct tensor *t = uqff_model_add_tensor(model, err);
    if (t == NULL) {
        return UQFF_E_MEMORY;
    }
    t->info.name = uqff_arena_printf(&model->arena, "%s.weight", module->name);
    if (t->info.name == NULL) {
        return uqff_fail_memory(err);
    }
    t->module = module->name;
    t->info.rank = module->rank;
    t->info.shape = module->shape;
    switch (blob->format) {
    case UQFF_FORMAT_GGUF:
    case UQFF_FORMAT_UNQUANT:
        t->info.type = t->stored_type = blob->type;
        place_entry(model, t, blob->entry);
        break;
    case UQFF_FORMAT_MXFP4:
        t->info.type = UQFF_TYPE_MXFP4;
        code = place_mxfp4(model, t, blob, err);
        break;
    default:
        t->info.type = UQFF_TYPE_F32;
        t->stored_type = UINT32_MAX;
        t->reading = READ_BLOB;
        t->blob = blob_index;
        break;
    }
    return code != UQFF_OK ? code : uqff_model_finish_tensor(t, err);
}

static int order_residual(const void *name, const void *container, size_t i) {
    return strcmp(name, uqff_container_residual(container, i)->name);
}

static bool has_residual(const struct uqff_container *container, const char *name) {
    size_t place;
    return uqff_search(name, container, uqff_container_residual_count(container), order_residual,
                       &place);
}

/* The bias as the source had it stands in the residual where the default variant's form of it lost
 * bits; it is the better one. */
static enum uqff_code add_bias(struct uqff_model *model, const struct uqff_module *module,
                               struct uqff_error *err) {
    struct tensor *t;
    char *name = uqff_arena_printf(&model->arena, "%s.bias", module->name);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    if (has_residual(model->container, name)) {
        return UQFF_OK;
    }
    return add_entry(model, name, module->bias, &t, err);
}

static enum uqff_code add_residual(struct uqff_model *model, struct uqff_error *err) {
    size_t count = uqff_container_residual_count(model->container);
    for (size_t i = 0; i < count; i++) {
        const struct uqff_residual *residual = uqff_container_residual(model->container, i);
        struct tensor *t;
        enum uqff_code code = add_entry(model, residual->name, residual->entry, &t, err);
        if (code != UQFF_OK) {
            return code;
        }
        t->keep_residual = !uqff_model_container_has(model, residual->name);
    }
    return UQFF_OK;
}

static enum uqff_code add_tensors(struct uqff_model *model, struct uqff_error *err) {
    const struct uqff_variant *variant = uqff_container_variant(model->container, model->variant);
    size_t count = uqff_container_module_count(model->container);
    for (size_t i = 0; i < count; i++) {
        const struct uqff_module *module = uqff_container_module(model->container, i);
        enum uqff_code code = add_weight(model, module, variant->blobs[i], err);
        if (code == UQFF_OK && module->has_bias) {
            code = add_bias(model, module, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
    return add_residual(model, err);
}

bool uqff_model_container_has(const struct uqff_model *model, const char *name) {
    static const struct {
        const char *text;
        bool bias;
    } endings[] = {{".weight", false}, {".bias", true}};
    char module[1200];
    size_t n = strlen(name);
    for (size_t i = 0; i < 2 && n < sizeof module; i++) {
        size_t m = strlen(endings[i].text);
        if (n <= m || strcmp(name + n - m, endings[i].text) != 0) {
            continue;
        }
        memcpy(module, name, n - m);
        module[n - m] = 0;
        size_t found = uqff_container_find_module(model->container, module);
        return found != UQFF_NONE &&
               (!endings[i].bias || uqff_container_module(model->container, found)->has_bias);
    }
    return false;
}

/* ---- rows that only the container can decode ------------------------------------------------- */

enum uqff_code uqff_model_blob_rows(const struct uqff_model *model, const struct tensor *tensor,
                                    uint64_t first, uint64_t rows, float *out,
                                    struct uqff_error *err) {
    const struct uqff_blob *blob = uqff_container_blob(model->container, tensor->blob);
    if (blob->format != UQFF_FORMAT_HQQ || (first == 0 && rows == tensor->rows)) {
        return uqff_container_read_rows(model->container, tensor->blob, first, rows, out, err);
    }
    /* A group of HQQ is a column of the whole tensor, so that no row stands for itself. */
    size_t elements;
    float *whole = uqff_to_size(tensor->info.elements, &elements)
                       ? uqff_alloc_array(elements, sizeof *whole)
                       : NULL;
    if (whole == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code =
        uqff_container_read_rows(model->container, tensor->blob, 0, tensor->rows, whole, err);
    if (code == UQFF_OK) {
        memcpy(out, whole + first * tensor->columns, rows * tensor->columns * sizeof *out);
    }
    uqff_free(whole);
    return code;
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum uqff_code container_config(struct uqff_model *model, bool *found,
                                       struct uqff_error *err) {
    size_t count = uqff_container_asset_count(model->container);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(uqff_container_asset(model->container, i)->path, "config.json") != 0) {
            continue;
        }
        char *json = NULL,
             *where = uqff_arena_printf(&model->arena, "%s: config.json", model->path);
        size_t size = 0;
        if (where == NULL) {
            return uqff_fail_memory(err);
        }
        enum uqff_code code = uqff_container_read_asset(model->container, i, &json, &size, err);
        if (code == UQFF_OK) {
            *found = true;
            code = uqff_model_take_config(model, json, size, where, err);
        }
        uqff_free(json);
        return code;
    }
    return UQFF_OK;
}

/* The residual of a plain set lies beside it, under its fixed name. */
static enum uqff_code open_residual(struct uqff_model *model, struct uqff_error *err) {
    char *path = uqff_path_join(model->directory, "residual.safetensors");
    enum uqff_code code = UQFF_OK;
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    if (uqff_path_exists(path)) {
        code = uqff_safetensors_set_open(path, &model->warner, &model->set, err);
        code = code != UQFF_OK ? code : uqff_model_add_set(model, err);
    } else {
        uqff_warn(&model->warner, "%s: no residual.safetensors beside it", model->path);
    }
    uqff_free(path);
    return code;
}

static enum uqff_code open_parts(struct uqff_model *model, bool *found, struct uqff_error *err) {
    enum uqff_code code;
    if (model->kind == UQFF_MODEL_MULTI) {
        code = container_config(model, found, err);
        code = code != UQFF_OK ? code : add_tensors(model, err);
        return code != UQFF_OK ? code : uqff_model_container_assets(model, err);
    }
    code = uqff_model_load_config(model, found, err);
    code = code != UQFF_OK ? code : add_tensors(model, err);
    code = code != UQFF_OK ? code : open_residual(model, err);
    return code != UQFF_OK ? code : uqff_model_find_assets(model, err);
}

enum uqff_code uqff_model_open_uqff(struct uqff_model *model, const char *path, const char *variant,
                                    struct uqff_error *err) {
    struct uqff_container_options options = {&model->warner, model->allow_newer_minor};
    bool found = false, legacy = false;
    enum uqff_code code = uqff_legacy_is(path, &legacy, err);
    if (code == UQFF_OK) {
        code = legacy ? uqff_model_open_legacy(model, path, err)
                      : uqff_container_open(path, &options, &model->container, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    model->kind = uqff_container_is_multi(model->container) ? UQFF_MODEL_MULTI : UQFF_MODEL_UQFF;
    for (size_t i = 0; i < uqff_container_shard_count(model->container); i++) {
        struct uqff_source *source =
            uqff_safetensors_source(uqff_container_shard(model->container, i));
        code = uqff_model_add_source(model, source, false, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    code = choose_variant(model, variant, err);
    code = code != UQFF_OK ? code : open_parts(model, &found, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (!found) {
        uqff_warn(&model->warner, "%s: no config.json comes with it", model->path);
    } else if (model->config.rotary_adjacent) {
        uqff_warn(&model->warner,
                  "%s: its config.json says that rows of q and k are kept as a GGUF has them",
                  model->path);
    }
    return UQFF_OK;
}
