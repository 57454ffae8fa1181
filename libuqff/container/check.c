/* Whether a container can hold what a spec asks for. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "container/internal.h"

static bool holds_control(const char *text) {
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

static enum uqff_code check_stem(const char *stem, struct uqff_error *err) {
    /* The longest name that comes of it is "STEM-9999.uqff". */
    size_t n = strlen(stem);
    if (n > 240 || !uqff_name_is_safe_component(stem, n)) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "'%s': this is no file stem: expected 1 to 240 bytes without '/', '\\', "
                         "':' and control characters",
                         stem);
    }
    const char *dash = strrchr(stem, '-');
    if (dash != NULL && uqff_container_all_digits(dash + 1, strlen(dash + 1))) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "'%s.uqff': a stem that ends in '%s' reads as shard number %s; "
                         "'%.*s_%s.uqff' does not",
                         stem, dash, dash + 1, (int)(dash - stem), stem, dash + 1);
    }
    return UQFF_OK;
}

static enum uqff_code check_module(const struct uqff_spec_module *module, struct uqff_error *err) {
    const char *name = module->name;
    if (!uqff_container_module_name_ok(name, strlen(name))) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "module '%s': a name that a container cannot carry: '@', control "
                         "characters and '.weight' inside or at the end are not possible",
                         name);
    }
    if (module->rank < 1 || module->rank > 3) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET, "module '%s': rank %u, expected 1 to 3",
                         name, module->rank);
    }
    for (unsigned i = 0; i < module->rank; i++) {
        if (module->shape[i] == 0 || module->shape[i] > UINT32_MAX) {
            return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                             "module '%s': dimension %u is %llu, expected 1 to 2^32 - 1", name, i,
                             (unsigned long long)module->shape[i]);
        }
    }
    bool bias_fits = module->rank >= 2 && uqff_container_type_is_float(module->bias_type) &&
                     module->bias_type != UQFF_TYPE_F64;
    if (module->has_bias && !bias_fits) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "module '%s': a bias of type %s to a weight of rank %u, expected F32, F16 "
                         "or BF16 to one of rank 2 or 3",
                         name, uqff_type_name(module->bias_type), module->rank);
    }
    return UQFF_OK;
}

static enum uqff_code check_modules(const struct uqff_container_spec *spec,
                                    struct uqff_error *err) {
    if (spec->module_count == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "no module, expected at least one weight that can be quantized");
    }
    for (size_t m = 0; m < spec->module_count; m++) {
        enum uqff_code code = check_module(&spec->modules[m], err);
        if (code != UQFF_OK) {
            return code;
        }
        const char *name = spec->modules[m].name;
        int order = m == 0 ? -1 : uqff_module_order(spec->modules[m - 1].name, name);
        if (order >= 0) {
            return uqff_fail(err, order == 0 ? UQFF_E_DUPLICATE : UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "module '%s' is %s", name,
                             order == 0 ? "there twice" : "not in its place in the model order");
        }
    }
    return UQFF_OK;
}

static enum uqff_code check_type(const struct uqff_spec_variant *variant,
                                 const struct uqff_spec_module *module, uint32_t type, bool multi,
                                 bool is_default, struct uqff_error *err) {
    if (!uqff_container_type_is_storable(type)) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "variant '%s': module '%s': no container stores the type %s",
                         variant->name, module->name, uqff_type_name(type));
    }
    /* A multi-quant file has MXFP4 as blocks, which mistral.rs does not know; a plain one as format
     * 6. */
    if (is_default && !uqff_type_is_mistralrs(type) && (multi || type != UQFF_TYPE_MXFP4)) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "variant '%s': module '%s': mistral.rs cannot load the type %s, so this "
                         "cannot be the default variant",
                         variant->name, module->name, uqff_type_name(type));
    }
    if (!uqff_container_type_is_float(type) && module->rank < 2) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "variant '%s': module '%s': rank 1, expected 2 or 3 for the type %s",
                         variant->name, module->name, uqff_type_name(type));
    }
    uint64_t bytes;
    enum uqff_code code = uqff_tensor_bytes(type, module->shape, module->rank, &bytes, err);
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "variant '%s': module '%s'", variant->name, module->name);
    }
    return code;
}

static enum uqff_code check_variant_name(const struct uqff_spec_variant *variant,
                                         struct uqff_error *err) {
    size_t n = strlen(variant->name);
    /* '#' separates a file's name from a variant's where both are written together. */
    bool ok = n > 0 && n <= 255 && strpbrk(variant->name, "#@") == NULL &&
              !holds_control(variant->name) && uqff_utf8_valid(variant->name, n, NULL) &&
              !holds_control(variant->recipe) &&
              uqff_utf8_valid(variant->recipe, strlen(variant->recipe), NULL);
    if (!ok) {
        return uqff_fail(
            err, UQFF_E_NAME, UQFF_NO_OFFSET,
            "variant '%s' (%s): expected a name of 1 to 255 bytes without '#', '@' and "
            "control characters",
            variant->name, variant->recipe);
    }
    return UQFF_OK;
}

static enum uqff_code check_variants(const struct uqff_container_spec *spec,
                                     struct uqff_error *err) {
    size_t most = spec->multi ? UQFF_CONTAINER_MAX_VARIANTS : 1;
    if (spec->variant_count == 0 || spec->variant_count > most) {
        return uqff_fail(err, spec->variant_count == 0 ? UQFF_E_ARGUMENT : UQFF_E_LIMIT,
                         UQFF_NO_OFFSET, "%zu variants, expected 1%s", spec->variant_count,
                         spec->multi ? " to 256" : " in a plain UQFF file");
    }
    if (spec->multi && spec->default_variant != UQFF_NONE &&
        spec->default_variant >= spec->variant_count) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "the default is variant %zu of %zu",
                         spec->default_variant, spec->variant_count);
    }
    for (size_t v = 0; v < spec->variant_count; v++) {
        const struct uqff_spec_variant *variant = &spec->variants[v];
        bool is_default = !spec->multi || v == spec->default_variant;
        enum uqff_code code = check_variant_name(variant, err);
        for (size_t i = 0; i < v && code == UQFF_OK; i++) {
            if (strcasecmp(spec->variants[i].name, variant->name) == 0) {
                code = uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                                 "two variants are called '%s'", variant->name);
            }
        }
        if (code == UQFF_OK && !uqff_container_type_is_storable(variant->type)) {
            code = uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                             "variant '%s': no container stores the type %s", variant->name,
                             uqff_type_name(variant->type));
        }
        for (size_t m = 0; m < spec->module_count && code == UQFF_OK; m++) {
            code = check_type(variant, &spec->modules[m], variant->types[m], spec->multi,
                              is_default, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* mistral.rs counts each name that begins with "<module>.weight" as that module's. */
static enum uqff_code check_prefixes(const struct uqff_container_spec *spec,
                                     const struct uqff_map *modules, struct uqff_error *err) {
    for (size_t m = 0; m < spec->module_count; m++) {
        const char *name = spec->modules[m].name;
        for (const char *p = strstr(name, ".weight"); p != NULL; p = strstr(p + 1, ".weight")) {
            size_t other = uqff_container_map_get(modules, name, (size_t)(p - name));
            if (other != UQFF_NONE) {
                return uqff_fail(
                    err, UQFF_E_NAME, UQFF_NO_OFFSET,
                    "module '%s': mistral.rs would take it for a part of the weight of "
                    "module '%s'",
                    name, spec->modules[other].name);
            }
        }
    }
    return UQFF_OK;
}

/* A residual tensor must not be a module's weight or bias under another hat. */
static enum uqff_code check_residual(const struct uqff_container_spec *spec,
                                     const struct uqff_map *modules, struct uqff_error *err) {
    for (size_t i = 0; i < spec->residual_count; i++) {
        const struct uqff_spec_tensor *tensor = &spec->residual[i];
        size_t n = strlen(tensor->name);
        enum uqff_dtype dtype;
        if (!uqff_container_tensor_name_ok(tensor->name, n)) {
            return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                             "tensor '%s': a name that a container cannot carry: '@' and control "
                             "characters are not possible, nor more than %d bytes",
                             tensor->name, UQFF_CONTAINER_MAX_NAME);
        }
        if (!uqff_type_to_dtype(tensor->type, &dtype)) {
            return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                             "tensor '%s': safetensors has no dtype for %s", tensor->name,
                             uqff_type_name(tensor->type));
        }
        static const char *const tails[] = {".weight", ".bias"};
        for (size_t k = 0; k < 2; k++) {
            size_t tail = strlen(tails[k]);
            if (n <= tail || strcmp(tensor->name + n - tail, tails[k]) != 0) {
                continue;
            }
            size_t m = uqff_container_map_get(modules, tensor->name, n - tail);
            if (m != UQFF_NONE && (k == 0 || spec->modules[m].has_bias)) {
                return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                                 "tensor '%s' is both a part of a module and a residual tensor",
                                 tensor->name);
            }
        }
    }
    return UQFF_OK;
}

static enum uqff_code check_assets(const struct uqff_container_spec *spec, struct uqff_map *paths,
                                   struct uqff_error *err) {
    for (size_t i = 0; i < spec->asset_count; i++) {
        const struct uqff_spec_asset *asset = &spec->assets[i];
        size_t n = strlen(asset->path), existing;
        if (!uqff_container_asset_path_ok(asset->path, n)) {
            return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                             "side file '%s': expected at most two path components, each of them "
                             "safe and without '@'",
                             asset->path);
        }
        if (asset->size > UQFF_CONTAINER_MAX_ASSET) {
            return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                             "side file '%s': %llu bytes, above the limit of 256 MiB", asset->path,
                             (unsigned long long)asset->size);
        }
        enum uqff_code code = uqff_container_map_put(paths, asset->path, n, i, &existing, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (existing != UQFF_NONE) {
            return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET, "side file '%s' is there twice",
                             asset->path);
        }
    }
    return UQFF_OK;
}

static enum uqff_code check_metadata(const struct uqff_container_spec *spec,
                                     struct uqff_error *err) {
    static const char *const own[] = {UQFF_KEY_PRODUCER, UQFF_KEY_PRODUCER_VERSION,
                                      UQFF_KEY_VERSION, UQFF_KEY_MULTI_VERSION,
                                      UQFF_KEY_MULTI_INDEX};
    for (size_t i = 0; i < spec->metadata_count; i++) {
        const char *key = spec->metadata[i].key;
        bool taken = !spec->multi && strncmp(key, UQFF_KEY_MULTI, strlen(UQFF_KEY_MULTI)) == 0;
        for (size_t k = 0; k < sizeof own / sizeof *own && !taken; k++) {
            taken = strcmp(key, own[k]) == 0;
        }
        for (size_t k = 0; k < i && !taken; k++) {
            taken = strcmp(key, spec->metadata[k].key) == 0;
        }
        if (taken) {
            return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                             "metadata '%s' is written by the container itself or given twice",
                             key);
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_container_spec_check(const struct uqff_container_spec *spec,
                                         struct uqff_error *err) {
    struct uqff_map modules = {0}, paths = {0};
    unsigned alignment = spec->alignment;
    enum uqff_code code;
    if (spec->multi && alignment != 0 &&
        (alignment < 64 || alignment > 4096 || (alignment & (alignment - 1)) != 0)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "an alignment of %u, expected a power of two from 64 to 4096", alignment);
    }
    if (!spec->multi && (spec->residual_count > 0 || spec->asset_count > 0)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "a plain UQFF file holds neither residual tensors nor side files");
    }
    if ((code = check_stem(spec->stem, err)) != UQFF_OK ||
        (code = check_modules(spec, err)) != UQFF_OK ||
        (code = check_variants(spec, err)) != UQFF_OK ||
        (code = check_metadata(spec, err)) != UQFF_OK) {
        return code;
    }
    for (size_t m = 0; m < spec->module_count && code == UQFF_OK; m++) {
        size_t existing;
        code = uqff_container_map_put(&modules, spec->modules[m].name,
                                      strlen(spec->modules[m].name), m, &existing, err);
    }
    if (code == UQFF_OK && (code = check_prefixes(spec, &modules, err)) == UQFF_OK &&
        (code = check_residual(spec, &modules, err)) == UQFF_OK) {
        code = check_assets(spec, &paths, err);
    }
    uqff_container_map_free(&modules);
    uqff_container_map_free(&paths);
    return code;
}
