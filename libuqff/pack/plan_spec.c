#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "pack/plan.h"

/* ---- modules and biases ---------------------------------------------------------------------- */

static bool is_plain_float(uint32_t type) {
    return type == UQFF_TYPE_F32 || type == UQFF_TYPE_F16 || type == UQFF_TYPE_BF16;
}

uint32_t uqff_pack_bias_form(uint32_t type) {
    return is_plain_float(type) ? type : UQFF_TYPE_F32;
}

uint32_t uqff_pack_bias_source(uint32_t type) {
    return is_plain_float(type) ? type : UQFF_TYPE_F32;
}

bool uqff_pack_bias_loses(uint32_t from, uint32_t to) {
    return to != from && to != UQFF_TYPE_F32;
}

static enum uqff_code check_bias(const struct uqff_model *model,
                                 const struct uqff_model_module *module, struct uqff_error *err) {
    const struct uqff_tensor *bias = uqff_model_tensor(model, module->bias);
    if (bias->elements != module->rows) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found %" PRIu64 " elements, expected %" PRIu64
                         ", one for every row of module '%s'",
                         uqff_model_path(model), bias->name, bias->elements, module->rows,
                         module->name);
    }
    return UQFF_OK;
}

static enum uqff_code spec_modules(struct uqff_pack_plan *plan, struct uqff_error *err) {
    plan->module_count = uqff_model_module_count(plan->model);
    if (plan->module_count == 0) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: holds no weight that could be quantized",
                         uqff_model_path(plan->model));
    }
    plan->modules = uqff_arena_array(&plan->arena, plan->module_count, sizeof *plan->modules);
    if (plan->modules == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < plan->module_count; i++) {
        const struct uqff_model_module *module = uqff_model_module(plan->model, i);
        struct uqff_spec_module *spec = &plan->modules[i];
        *spec = (struct uqff_spec_module){
            .name = module->name, .rank = module->rank, .shape = module->shape};
        if (module->bias == UQFF_NONE) {
            continue;
        }
        enum uqff_code code = check_bias(plan->model, module, err);
        if (code != UQFF_OK) {
            return code;
        }
        spec->has_bias = true;
        spec->bias_type = uqff_pack_bias_source(uqff_model_tensor(plan->model, module->bias)->type);
        spec->bias_kept_exactly =
            plan->options.format == UQFF_PACK_UQFF && plan->default_variant != UQFF_NONE &&
            uqff_pack_bias_loses(spec->bias_type,
                                 uqff_pack_bias_form(plan->types[plan->default_variant][i]));
    }
    return UQFF_OK;
}

/* ---- residual tensors ------------------------------------------------------------------------ */

static enum uqff_code spec_residual(struct uqff_pack_plan *plan, struct uqff_error *err) {
    plan->residual_count = uqff_model_residual_count(plan->model);
    plan->residual = uqff_arena_array(&plan->arena, plan->residual_count, sizeof *plan->residual);
    if (plan->residual == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < plan->residual_count; i++) {
        const struct uqff_tensor *tensor =
            uqff_model_tensor(plan->model, uqff_model_residual(plan->model, i));
        enum uqff_dtype dtype;
        if (!uqff_type_to_dtype(tensor->type, &dtype)) {
            return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                             "%s: tensor '%s': found %s, expected a type that safetensors has, as "
                             "it is no module",
                             uqff_model_path(plan->model), tensor->name,
                             uqff_type_name(tensor->type));
        }
        plan->residual[i] = (struct uqff_spec_tensor){
            .name = tensor->hf_name != NULL ? tensor->hf_name : tensor->name,
            .type = tensor->type,
            .rank = tensor->rank,
            .shape = tensor->shape,
        };
        plan->residual_bytes += tensor->bytes;
    }
    return UQFF_OK;
}

/* ---- side files ------------------------------------------------------------------------------ */

/* RFC 1950 at the highest level: the bytes depend on the zlib in use, hence not the default. */
/* A reader inflates an asset to at most this many times its stored size. */
enum { MOST_INFLATION = 200 };

static enum uqff_code compress_asset(struct uqff_pack_plan *plan, size_t i,
                                     struct uqff_error *err) {
    const struct pack_side *side = &plan->carried[i];
    const char *text = side->content;
    char *content = NULL;
    size_t size = (size_t)side->bytes;
    void *compressed = NULL;
    enum uqff_code code = UQFF_OK;
    if (text == NULL) {
        code = uqff_model_read_asset(plan->model, side->asset, &content, &size, err);
        text = content;
    }
    if (code != UQFF_OK) {
        return code;
    }
    uLongf length = compressBound((uLong)size);
    compressed = uqff_alloc(length);
    if (compressed == NULL || compress2(compressed, &length, (const Bytef *)text, (uLong)size,
                                        Z_BEST_COMPRESSION) != Z_OK) {
        code = uqff_fail_memory(err);
        goto out;
    }
    /* Stored raw where compression gains nothing, and where it gains so much that no reader would
     * inflate the result: the format's limit is MOST_INFLATION. */
    if (length >= size || size / length >= MOST_INFLATION) {
        goto out;
    }
    plan->asset_contents[i] = uqff_arena_copy(&plan->arena, compressed, length);
    if (plan->asset_contents[i] == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    plan->assets[i].size = length;
    plan->assets[i].compressed = true;
out:
    uqff_free(compressed);
    uqff_free(content);
    return code;
}

static enum uqff_code spec_assets(struct uqff_pack_plan *plan, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    plan->assets = uqff_arena_array(&plan->arena, plan->asset_count, sizeof *plan->assets);
    plan->asset_contents =
        uqff_arena_array(&plan->arena, plan->asset_count, sizeof *plan->asset_contents);
    if (plan->assets == NULL || plan->asset_contents == NULL) {
        return uqff_fail_memory(err);
    }
    bool compress = plan->options.compress_assets && plan->options.format == UQFF_PACK_UQFF;
    for (size_t i = 0; i < plan->asset_count && code == UQFF_OK; i++) {
        plan->assets[i] = (struct uqff_spec_asset){
            .path = plan->carried[i].name,
            .size = plan->carried[i].bytes,
        };
        plan->asset_contents[i] = plan->carried[i].content;
        if (compress) {
            code = compress_asset(plan, i, err);
        }
        plan->asset_bytes += plan->assets[i].size;
    }
    return code;
}

/* ---- containers ------------------------------------------------------------------------------ */

static void describe(const struct uqff_pack_plan *plan, size_t index,
                     struct uqff_spec_variant *out) {
    *out = (struct uqff_spec_variant){
        .name = plan->quants[index].name,
        .recipe = plan->quants[index].recipe,
        .type = plan->quants[index].type,
        .types = plan->types[index],
    };
}

/* The stem of a quant's own shards: its name, with a character that no file name should hold
 * replaced. */
static const char *quant_stem(struct uqff_pack_plan *plan, size_t index) {
    const char *name = plan->quants[index].name;
    char *stem = uqff_arena_copy(&plan->arena, name, strlen(name));
    for (char *c = stem; c != NULL && *c != '\0'; c++) {
        *c = *c == ':' ? '-' : *c;
    }
    return stem;
}

static enum uqff_code make_output(struct uqff_pack_plan *plan, struct pack_output *output,
                                  struct uqff_error *err) {
    struct uqff_container_spec *spec = &output->spec;
    spec->modules = plan->modules;
    spec->module_count = plan->module_count;
    spec->max_shard = plan->options.max_shard;
    enum uqff_code code =
        uqff_pack_plan_metadata(plan, &spec->metadata, &spec->metadata_count, err);
    if (code == UQFF_OK) {
        code = uqff_container_plan_new(spec, &output->plan, err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "%s", uqff_model_path(plan->model));
        }
    }
    return code;
}

static enum uqff_code make_multi(struct uqff_pack_plan *plan, struct uqff_spec_variant *variants,
                                 struct uqff_error *err) {
    struct uqff_container_spec *spec = &plan->outputs[0].spec;
    *spec = (struct uqff_container_spec){
        .multi = true,
        .stem = plan->stem,
        .variants = variants,
        .variant_count = plan->variant_count,
        .default_variant = plan->default_variant,
        .residual = plan->residual,
        .residual_count = plan->residual_count,
        .assets = plan->assets,
        .asset_count = plan->asset_count,
        .alignment = plan->options.alignment,
    };
    plan->output_count = 1;
    return make_output(plan, &plan->outputs[0], err);
}

static enum uqff_code make_plain(struct uqff_pack_plan *plan, struct uqff_spec_variant *variants,
                                 struct uqff_error *err) {
    for (size_t i = 0; i < plan->variant_count; i++) {
        struct uqff_container_spec *spec = &plan->outputs[i].spec;
        *spec = (struct uqff_container_spec){
            .stem = quant_stem(plan, i),
            .variants = &variants[i],
            .variant_count = 1,
        };
        if (spec->stem == NULL) {
            return uqff_fail_memory(err);
        }
        plan->output_count = i + 1;
        enum uqff_code code = make_output(plan, &plan->outputs[i], err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* Bytes of blobs that more than one variant uses, each counted once. */
static uint64_t shared_bytes(const struct uqff_pack_plan *plan) {
    uint64_t bytes = 0;
    for (size_t m = 0; m < plan->module_count; m++) {
        for (size_t v = 1; v < plan->variant_count; v++) {
            /* Counted at its second use. */
            unsigned before = 0;
            for (size_t k = 0; k < v; k++) {
                before += plan->types[k][m] == plan->types[v][m];
            }
            bytes += before == 1 ? uqff_pack_plan_bytes(plan, v, m) : 0;
        }
    }
    return bytes;
}

enum uqff_code uqff_pack_plan_spec(struct uqff_pack_plan *plan, struct uqff_error *err) {
    enum uqff_code code = spec_modules(plan, err);
    if (code == UQFF_OK) {
        code = spec_residual(plan, err);
    }
    if (code == UQFF_OK) {
        code = spec_assets(plan, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    plan->shared_bytes = shared_bytes(plan);
    struct uqff_spec_variant *variants =
        uqff_arena_array(&plan->arena, plan->variant_count, sizeof *variants);
    plan->outputs = uqff_arena_array(&plan->arena, plan->variant_count, sizeof *plan->outputs);
    if (variants == NULL || plan->outputs == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < plan->variant_count; i++) {
        describe(plan, i, &variants[i]);
    }
    return plan->options.format == UQFF_PACK_UQFF ? make_multi(plan, variants, err)
                                                  : make_plain(plan, variants, err);
}
