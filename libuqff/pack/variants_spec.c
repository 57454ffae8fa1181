#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "pack/variants.h"

/* ---- which variants -------------------------------------------------------------------------- */

static bool is_dropped(const struct variants *v, const char *name) {
    for (size_t i = 0; i < v->edit->drop_count; i++) {
        if (strcasecmp(v->edit->drop[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static enum uqff_code check_dropped(const struct variants *v, struct uqff_error *err) {
    for (size_t i = 0; i < v->edit->drop_count; i++) {
        if (uqff_container_find_variant(v->old, v->edit->drop[i]) == UQFF_NONE) {
            return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                             "%s: has no variant '%s' that could be dropped",
                             uqff_container_shard_path(v->old, 0), v->edit->drop[i]);
        }
    }
    return UQFF_OK;
}

/* A variant that stays, with the types of its blobs. */
static enum uqff_code keep_variant(struct variants *v, const struct uqff_variant *variant,
                                   struct uqff_error *err) {
    size_t modules = uqff_container_module_count(v->old);
    uint32_t *types = uqff_arena_array(&v->arena, modules, sizeof *types);
    if (types == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < modules; i++) {
        const struct uqff_blob *blob = uqff_container_blob(v->old, variant->blobs[i]);
        if (blob->format != UQFF_FORMAT_GGUF && blob->format != UQFF_FORMAT_UNQUANT) {
            return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                             "%s: module '%s' is stored as %s; such a file cannot be edited",
                             uqff_container_shard_path(v->old, 0),
                             uqff_container_module(v->old, i)->name, blob->label);
        }
        types[i] = blob->type;
    }
    v->list[v->spec.variant_count++] = (struct uqff_spec_variant){
        .name = variant->name,
        .recipe = variant->recipe,
        .type = variant->type,
        .types = types,
    };
    return UQFF_OK;
}

/* The model that blobs are added from must have the very modules of the file. */
static enum uqff_code check_model(const struct variants *v, struct uqff_error *err) {
    const struct uqff_model *from = v->edit->from;
    size_t count = uqff_container_module_count(v->old);
    if (from == NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "adding variants takes the model that '%s' was packed from",
                         uqff_container_shard_path(v->old, 0));
    }
    bool same = uqff_model_module_count(from) == count;
    for (size_t i = 0; i < count && same; i++) {
        const struct uqff_module *ours = uqff_container_module(v->old, i);
        const struct uqff_model_module *theirs = uqff_model_module(from, i);
        same = strcmp(ours->name, theirs->name) == 0 && ours->rank == theirs->rank &&
               memcmp(ours->shape, theirs->shape, ours->rank * sizeof *ours->shape) == 0;
    }
    if (!same) {
        return uqff_fail(err, UQFF_E_DIGEST, UQFF_NO_OFFSET,
                         "%s: is not the model that '%s' was packed from: its modules differ",
                         uqff_model_path(from), uqff_container_shard_path(v->old, 0));
    }
    return UQFF_OK;
}

/* One file has one importance matrix, or none. */
static enum uqff_code check_imatrix(struct variants *v, struct uqff_error *err) {
    const char *was = uqff_container_metadata(v->old, UQFF_KEY_IMATRIX), *is = NULL;
    if (v->added.imatrix != NULL) {
        enum uqff_code code = uqff_pack_imatrix_json(v->added.imatrix, &v->arena, &is, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    if ((was == NULL) != (is == NULL) || (was != NULL && strcmp(was, is) != 0)) {
        return uqff_fail(err, UQFF_E_DIGEST, UQFF_NO_OFFSET,
                         "%s: was packed with %s importance matrix, and only one may be used "
                         "throughout a file",
                         uqff_container_shard_path(v->old, 0),
                         was == NULL  ? "no"
                         : is == NULL ? "an"
                                      : "another");
    }
    return UQFF_OK;
}

static enum uqff_code add_variants(struct variants *v, struct uqff_error *err) {
    const struct uqff_variants_edit *edit = v->edit;
    if (edit->add_count == 0) {
        return UQFF_OK;
    }
    enum uqff_code code = check_model(v, err);
    if (code != UQFF_OK) {
        return code;
    }
    v->added.model = edit->from;
    v->added.options = (struct uqff_pack_options){.output = NULL};
    if (edit->pack != NULL) {
        v->added.options = *edit->pack;
    }
    v->added.options.format = UQFF_PACK_UQFF;
    v->added.options.quants = edit->add;
    v->added.options.quant_count = edit->add_count;
    v->added.options.default_quant = NULL;
    code = uqff_pack_plan_quants(&v->added, err);
    if (code == UQFF_OK) {
        code = uqff_pack_plan_importance(&v->added, err);
    }
    if (code == UQFF_OK) {
        code = check_imatrix(v, err);
    }
    if (code == UQFF_OK) {
        code = uqff_pack_plan_types(&v->added, NULL, err);
    }
    for (size_t i = 0; i < v->added.variant_count && code == UQFF_OK; i++) {
        const struct uqff_quant *quant = &v->added.quants[i];
        size_t old = uqff_container_find_variant(v->old, quant->name);
        if (old != UQFF_NONE && !is_dropped(v, quant->name)) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "%s: has a variant '%s' already",
                             uqff_container_shard_path(v->old, 0), quant->name);
        }
        v->list[v->spec.variant_count++] = (struct uqff_spec_variant){
            .name = quant->name,
            .recipe = quant->recipe,
            .type = quant->type,
            .types = v->added.types[i],
        };
    }
    return code;
}

static bool is_loadable(const struct variants *v, size_t variant) {
    for (size_t i = 0; i < v->spec.module_count; i++) {
        if (!uqff_type_is_mistralrs(v->list[variant].types[i])) {
            return false;
        }
    }
    return true;
}

static enum uqff_code choose_default(struct variants *v, struct uqff_error *err) {
    const char *wanted = v->edit->default_variant;
    size_t old = uqff_container_default(v->old);
    v->spec.default_variant = UQFF_NONE;
    if (wanted == NULL && old != UQFF_NONE &&
        !is_dropped(v, uqff_container_variant(v->old, old)->name)) {
        wanted = uqff_container_variant(v->old, old)->name;
    }
    for (size_t i = 0; i < v->spec.variant_count && v->spec.default_variant == UQFF_NONE; i++) {
        if (wanted == NULL ? is_loadable(v, i) : strcasecmp(wanted, v->list[i].name) == 0) {
            v->spec.default_variant = i;
        }
    }
    if (wanted != NULL && v->spec.default_variant == UQFF_NONE) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "%s: would have no variant '%s' that could be the default",
                         uqff_container_shard_path(v->old, 0), wanted);
    }
    return UQFF_OK;
}

static enum uqff_code list_variants(struct variants *v, struct uqff_error *err) {
    size_t count = uqff_container_variant_count(v->old);
    v->list = uqff_arena_array(&v->arena, count + v->edit->add_count, sizeof *v->list);
    enum uqff_code code = v->list == NULL ? uqff_fail_memory(err) : check_dropped(v, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        const struct uqff_variant *variant = uqff_container_variant(v->old, i);
        if (!is_dropped(v, variant->name)) {
            code = keep_variant(v, variant, err);
        }
    }
    if (code == UQFF_OK) {
        code = add_variants(v, err);
    }
    if (code == UQFF_OK && v->spec.variant_count == 0) {
        code = uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "%s: would have no variant left",
                         uqff_container_shard_path(v->old, 0));
    }
    v->spec.variants = v->list;
    return code == UQFF_OK ? choose_default(v, err) : code;
}

/* ---- biases ---------------------------------------------------------------------------------- */

static void set_bias_type(struct variants *v, const char *name, size_t n, uint32_t type) {
    for (size_t i = 0; i < v->spec.module_count; i++) {
        bool named = name == NULL ||
                     (strlen(v->modules[i].name) == n && memcmp(v->modules[i].name, name, n) == 0);
        if (named && v->modules[i].has_bias) {
            v->modules[i].bias_type = type;
        }
    }
}

/* A type's label, as text of the index. */
static enum uqff_code read_label(struct uqff_json *json, const struct uqff_json_event *event,
                                 uint32_t *type, struct uqff_error *err) {
    static const uint32_t types[] = {UQFF_TYPE_F32, UQFF_TYPE_F16, UQFF_TYPE_BF16};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const char *label = uqff_type_label(types[i]);
        if (event->length == strlen(label) && memcmp(event->text, label, event->length) == 0) {
            *type = types[i];
            return UQFF_OK;
        }
    }
    return uqff_json_unexpected(json, event, "type of a bias", "f32, f16 or bf16", err);
}

/* {"f32":["module",…],…} */
static enum uqff_code read_exceptions(struct variants *v, struct uqff_json *json,
                                      struct uqff_error *err) {
    struct uqff_json_event event;
    bool done = false;
    uint32_t type = UQFF_TYPE_F32;
    enum uqff_code code = uqff_json_expect(json, UQFF_JSON_OBJECT, "bias_except", &event, err);
    while (code == UQFF_OK) {
        code = uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        code = read_label(json, &event, &type, err);
        if (code == UQFF_OK) {
            code = uqff_json_expect(json, UQFF_JSON_ARRAY, "bias_except", &event, err);
        }
        while (code == UQFF_OK) {
            code = uqff_json_next(json, &event, err);
            if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
                break;
            }
            if (event.kind != UQFF_JSON_STRING) {
                return uqff_json_unexpected(json, &event, "bias_except", "names of modules", err);
            }
            set_bias_type(v, event.text, event.length, type);
        }
    }
    return code;
}

/* The source's types of biases, from uqff.multi.source; see uqff_pack_source_json. */
static enum uqff_code read_bias_types(struct variants *v, struct uqff_error *err) {
    struct uqff_json *json = NULL;
    struct uqff_json_event event;
    bool done = false;
    uint32_t type = UQFF_TYPE_F32;
    enum uqff_code code =
        uqff_json_open(v->source, strlen(v->source), UQFF_KEY_SOURCE, 0, 0, &json, err);
    if (code == UQFF_OK) {
        code = uqff_json_expect(json, UQFF_JSON_OBJECT, "the source", &event, err);
    }
    while (code == UQFF_OK) {
        code = uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (event.length == 4 && memcmp(event.text, "bias", 4) == 0) {
            code = uqff_json_expect(json, UQFF_JSON_STRING, "bias", &event, err);
            if (code == UQFF_OK) {
                code = read_label(json, &event, &type, err);
            }
            if (code == UQFF_OK) {
                set_bias_type(v, NULL, 0, type);
            }
        } else if (event.length == 11 && memcmp(event.text, "bias_except", 11) == 0) {
            code = read_exceptions(v, json, err);
        } else {
            code = uqff_json_skip_next(json, err);
        }
    }
    uqff_json_close(json);
    return code;
}

/* ---- modules, residual tensors, side files --------------------------------------------------- */

static enum uqff_code describe_modules(struct variants *v, struct uqff_error *err) {
    v->spec.module_count = uqff_container_module_count(v->old);
    v->modules = uqff_arena_array(&v->arena, v->spec.module_count, sizeof *v->modules);
    v->exact = uqff_arena_array(&v->arena, v->spec.module_count, sizeof *v->exact);
    if (v->modules == NULL || v->exact == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < v->spec.module_count; i++) {
        const struct uqff_module *module = uqff_container_module(v->old, i);
        v->modules[i] = (struct uqff_spec_module){
            .name = module->name,
            .rank = module->rank,
            .shape = module->shape,
            .has_bias = module->has_bias,
            .bias_type =
                module->has_bias ? uqff_type_from_dtype(module->bias.tensor->dtype) : UQFF_TYPE_F32,
        };
    }
    v->spec.modules = v->modules;
    return read_bias_types(v, err);
}

/* The module whose bias a residual tensor is, or UQFF_NONE. */
static size_t bias_owner(const struct variants *v, const char *name) {
    static const char ending[] = ".bias";
    size_t length = strlen(name), tail = sizeof ending - 1;
    for (size_t i = 0; i < v->spec.module_count && length > tail; i++) {
        const char *module = v->modules[i].name;
        if (v->modules[i].has_bias && strlen(module) == length - tail &&
            memcmp(module, name, length - tail) == 0 && strcmp(name + length - tail, ending) == 0) {
            return i;
        }
    }
    return UQFF_NONE;
}

static enum uqff_code describe_residual(struct variants *v, struct uqff_error *err) {
    size_t count = uqff_container_residual_count(v->old);
    struct uqff_spec_tensor *tensors = uqff_arena_array(&v->arena, count, sizeof *tensors);
    v->residual = uqff_arena_array(&v->arena, count, sizeof *v->residual);
    if (tensors == NULL || v->residual == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const struct uqff_residual *residual = uqff_container_residual(v->old, i);
        size_t owner = bias_owner(v, residual->name);
        if (owner != UQFF_NONE) {
            v->exact[owner] = residual;
            v->modules[owner].bias_type = uqff_type_from_dtype(residual->entry.tensor->dtype);
            continue;
        }
        tensors[v->spec.residual_count] = (struct uqff_spec_tensor){
            .name = residual->name,
            .type = uqff_type_from_dtype(residual->entry.tensor->dtype),
            .rank = residual->entry.tensor->rank,
            .shape = residual->entry.tensor->shape,
        };
        v->residual[v->spec.residual_count++] = residual;
    }
    v->spec.residual = tensors;
    return UQFF_OK;
}

static enum uqff_code describe_assets(struct variants *v, struct uqff_error *err) {
    size_t count = uqff_container_asset_count(v->old);
    struct uqff_spec_asset *assets = uqff_arena_array(&v->arena, count, sizeof *assets);
    if (assets == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const struct uqff_asset *asset = uqff_container_asset(v->old, i);
        assets[i] = (struct uqff_spec_asset){
            .path = asset->path,
            .size = asset->entry.tensor->bytes,
            .compressed = asset->compressed,
        };
    }
    v->spec.assets = assets;
    v->spec.asset_count = count;
    return UQFF_OK;
}

/* ---- metadata and layout --------------------------------------------------------------------- */

/* Everything but what a container's plan writes by itself. */
static enum uqff_code describe_metadata(struct variants *v, struct uqff_error *err) {
    static const char *const own[] = {"uqff.producer", "uqff.producer.version", "uqff.version",
                                      "uqff.multi.version", "uqff.multi.index"};
    const struct uqff_safetensors *shard = uqff_container_shard(v->old, 0);
    size_t count = uqff_safetensors_metadata_count(shard);
    struct uqff_spec_metadata *pairs = uqff_arena_array(&v->arena, count, sizeof *pairs);
    if (pairs == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct uqff_spec_metadata *pair = &pairs[v->spec.metadata_count];
        size_t length = 0, k = 0;
        uqff_safetensors_metadata(shard, i, &pair->key, &pair->value, &length);
        while (k < sizeof own / sizeof own[0] && strcmp(pair->key, own[k]) != 0) {
            k++;
        }
        v->spec.metadata_count += k == sizeof own / sizeof own[0];
    }
    v->spec.metadata = pairs;
    return UQFF_OK;
}

/* {"alignment":N,"max_shard":N}, where they are not the usual ones. */
static enum uqff_code read_layout(struct variants *v, struct uqff_error *err) {
    const char *text = uqff_container_metadata(v->old, UQFF_KEY_LAYOUT);
    struct uqff_json *json = NULL;
    struct uqff_json_event event;
    bool done = false;
    if (text == NULL) {
        return UQFF_OK;
    }
    enum uqff_code code = uqff_json_open(text, strlen(text), UQFF_KEY_LAYOUT, 0, 0, &json, err);
    if (code == UQFF_OK) {
        code = uqff_json_expect(json, UQFF_JSON_OBJECT, "the layout", &event, err);
    }
    while (code == UQFF_OK) {
        code = uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        bool alignment = event.length == 9 && memcmp(event.text, "alignment", 9) == 0;
        bool max_shard = event.length == 9 && memcmp(event.text, "max_shard", 9) == 0;
        code = uqff_json_next(json, &event, err);
        if (code == UQFF_OK && (alignment || max_shard) &&
            (event.kind != UQFF_JSON_NUMBER || !event.is_u64 ||
             (alignment && event.integer > 4096))) {
            code = uqff_json_unexpected(json, &event, "the layout", "whole numbers", err);
        } else if (code == UQFF_OK && alignment) {
            v->spec.alignment = (unsigned)event.integer;
        } else if (code == UQFF_OK && max_shard) {
            v->spec.max_shard = event.integer;
        } else if (code == UQFF_OK) {
            code = uqff_json_skip(json, &event, err);
        }
    }
    uqff_json_close(json);
    return code;
}

static enum uqff_code describe_place(struct variants *v, struct uqff_error *err) {
    const char *path = uqff_container_shard_path(v->old, 0);
    char *directory = uqff_path_directory(path);
    const char *name = uqff_path_name(path);
    size_t stem = 0;
    uint64_t number = 0;
    if (directory == NULL) {
        return uqff_fail_memory(err);
    }
    v->directory = uqff_arena_copy(&v->arena, directory, strlen(directory));
    uqff_free(directory);
    if (!uqff_shard_name_parse(name, &stem, &number)) {
        stem = strlen(name) - strlen(".uqff");
    }
    v->stem = uqff_arena_copy(&v->arena, name, stem);
    v->spec.stem = v->stem;
    return v->directory == NULL || v->stem == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

enum uqff_code uqff_variants_describe(struct variants *v, struct uqff_error *err) {
    const char *path = uqff_container_shard_path(v->old, 0);
    v->source = uqff_container_metadata(v->old, UQFF_KEY_SOURCE);
    if (!uqff_container_is_multi(v->old) || v->source == NULL) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: is no multi-quant file that tells its source, so its variants cannot "
                         "be edited",
                         path);
    }
    v->spec.multi = true;
    enum uqff_code code = describe_place(v, err);
    if (code == UQFF_OK) {
        code = describe_modules(v, err);
    }
    if (code == UQFF_OK) {
        code = describe_residual(v, err);
    }
    if (code == UQFF_OK) {
        code = describe_assets(v, err);
    }
    if (code == UQFF_OK) {
        code = describe_metadata(v, err);
    }
    if (code == UQFF_OK) {
        code = read_layout(v, err);
    }
    if (code == UQFF_OK) {
        code = list_variants(v, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < v->spec.module_count; i++) {
        struct uqff_spec_module *module = &v->modules[i];
        module->bias_kept_exactly =
            module->has_bias && v->spec.default_variant != UQFF_NONE &&
            uqff_pack_bias_loses(module->bias_type,
                                 uqff_pack_bias_form(v->list[v->spec.default_variant].types[i]));
    }
    return uqff_container_plan_new(&v->spec, &v->plan, err);
}
