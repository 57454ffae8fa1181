#include "pack/sidecars.h"

#include <stdlib.h>
#include <string.h>

/* ---- residual.safetensors -------------------------------------------------------------------- */

struct sorted {
    const char *name;
    enum uqff_dtype dtype;
    size_t tensor;
};

static int by_dtype_and_name(const void *a, const void *b) {
    const struct sorted *left = a, *right = b;
    if (left->dtype != right->dtype) {
        return left->dtype > right->dtype ? -1 : 1;
    }
    return strcmp(left->name, right->name);
}

static enum uqff_code add_metadata(struct uqff_st_layout *layout, struct uqff_error *err) {
    static const char *const pairs[][2] = {
        {"uqff.producer", "uqff"},
        {"uqff.producer.version", UQFF_VERSION},
        {"uqff.version", "1.2.0"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        enum uqff_code code = uqff_st_layout_metadata(layout, pairs[i][0], pairs[i][1], err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_sidecars_residual(const struct uqff_model *model, struct uqff_arena *arena,
                                      struct pack_residual *out, struct uqff_error *err) {
    size_t count = uqff_model_residual_count(model);
    struct sorted *sorted = uqff_arena_array(arena, count, sizeof *sorted);
    out->tensors = uqff_arena_array(arena, count, sizeof *out->tensors);
    if (sorted == NULL || out->tensors == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        size_t index = uqff_model_residual(model, i);
        const struct uqff_tensor *tensor = uqff_model_tensor(model, index);
        sorted[i].name = tensor->hf_name != NULL ? tensor->hf_name : tensor->name;
        sorted[i].tensor = index;
        if (!uqff_type_to_dtype(tensor->type, &sorted[i].dtype)) {
            return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                             "%s: tensor '%s': found %s, expected a type that safetensors has",
                             uqff_model_path(model), tensor->name, uqff_type_name(tensor->type));
        }
    }
    qsort(sorted, count, sizeof *sorted, by_dtype_and_name);
    enum uqff_code code = uqff_st_layout_new(&out->layout, err);
    if (code == UQFF_OK) {
        code = add_metadata(out->layout, err);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        const struct uqff_tensor *tensor = uqff_model_tensor(model, sorted[i].tensor);
        out->tensors[i] = sorted[i].tensor;
        code = uqff_st_layout_add(out->layout, sorted[i].name, sorted[i].dtype, tensor->shape,
                                  tensor->rank, NULL, err);
    }
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "residual.safetensors");
        return code;
    }
    out->count = count;
    out->bytes =
        uqff_st_layout_header_bytes(out->layout, 8) + uqff_st_layout_data_bytes(out->layout);
    return UQFF_OK;
}

/* ---- side files of the model ----------------------------------------------------------------- */

static enum uqff_code config_side(const struct uqff_model *model, const char *dtype,
                                  struct uqff_arena *arena, struct pack_side *side,
                                  struct uqff_error *err) {
    struct uqff_buffer buffer = {0};
    const char *json = side->content;
    char *text = NULL;
    size_t size = (size_t)side->bytes;
    enum uqff_code code = UQFF_OK;
    if (json == NULL) {
        code = uqff_model_read_asset(model, side->asset, &text, &size, err);
        json = text;
    }
    if (code == UQFF_OK) {
        code = uqff_sidecars_config(json, size, "config.json", dtype, &buffer, err);
    }
    if (code == UQFF_OK) {
        side->content = uqff_arena_copy(arena, buffer.data, buffer.size);
        side->bytes = buffer.size;
        code = side->content == NULL ? uqff_fail_memory(err) : UQFF_OK;
    }
    uqff_buffer_free(&buffer);
    uqff_free(text);
    return code;
}

enum uqff_code uqff_sidecars_render(const struct uqff_model *model, const char *dtype,
                                    struct uqff_arena *arena, struct pack_side *sides, size_t count,
                                    struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        if (strcmp(sides[i].name, "config.json") == 0) {
            code = config_side(model, dtype, arena, &sides[i], err);
        }
    }
    return code;
}

/* ---- uqff_report.json ------------------------------------------------------------------------ */

/* One entry of the report: a quant's own shards, or the file that holds the default variant. */
static enum uqff_code describe_output(struct uqff_pack_plan *plan, size_t variant,
                                      const struct uqff_container_plan *container,
                                      struct uqff_report_output *out, struct uqff_error *err) {
    size_t shards = uqff_container_plan_shard_count(container);
    const char **names = uqff_arena_array(&plan->arena, shards, sizeof *names);
    struct uqff_report_module *modules =
        uqff_arena_array(&plan->arena, plan->module_count, sizeof *modules);
    if (names == NULL || modules == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < shards; i++) {
        names[i] = uqff_container_plan_shard_name(container, i);
    }
    for (size_t i = 0; i < plan->module_count; i++) {
        modules[i] = (struct uqff_report_module){
            .name = plan->modules[i].name,
            .type = plan->types[variant][i],
            .rank = plan->modules[i].rank,
            .shape = plan->modules[i].shape,
        };
    }
    *out = (struct uqff_report_output){
        .quant = plan->quants[variant].name,
        .type = plan->quants[variant].type,
        .shards = names,
        .shard_count = shards,
        .modules = modules,
        .module_count = plan->module_count,
    };
    return UQFF_OK;
}

static enum uqff_code report_side(struct uqff_pack_plan *plan, struct uqff_error *err) {
    struct uqff_buffer buffer = {0};
    size_t count = plan->output_count;
    struct uqff_report_output *outputs = uqff_arena_array(&plan->arena, count, sizeof *outputs);
    enum uqff_code code = outputs == NULL ? uqff_fail_memory(err) : UQFF_OK;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        bool multi = plan->options.format == UQFF_PACK_UQFF;
        code = describe_output(plan, multi ? plan->default_variant : i, plan->outputs[i].plan,
                               &outputs[i], err);
    }
    if (code == UQFF_OK) {
        code = uqff_report_render(outputs, count, &buffer, err);
    }
    if (code == UQFF_OK) {
        struct pack_side *side = &plan->sides[plan->side_count++];
        *side = (struct pack_side){
            .name = "uqff_report.json",
            .bytes = buffer.size,
            .content = uqff_arena_copy(&plan->arena, buffer.data, buffer.size),
        };
        code = side->content == NULL ? uqff_fail_memory(err) : UQFF_OK;
    }
    uqff_buffer_free(&buffer);
    return code;
}

/* A GGUF of an architecture that is not known carries neither file. */
static void warn_missing(const struct uqff_pack_plan *plan) {
    static const char *const needed[] = {"config.json", "tokenizer.json"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        size_t k = 0;
        while (k < plan->side_count && strcmp(plan->sides[k].name, needed[i]) != 0) {
            k++;
        }
        if (k == plan->side_count) {
            uqff_warn(plan->options.warner,
                      "%s: has no %s, and without one beside its files mistral.rs cannot load them",
                      uqff_model_path(plan->model), needed[i]);
        }
    }
}

/* What travels with the model, and room for the report. */
static enum uqff_code list_sides(struct uqff_pack_plan *plan, struct uqff_error *err) {
    size_t count = plan->asset_count;
    plan->sides = uqff_arena_array(&plan->arena, count + 1, sizeof *plan->sides);
    if (plan->sides == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        plan->sides[i] = plan->carried[i];
    }
    plan->side_count = count;
    return uqff_sidecars_render(plan->model, NULL, &plan->arena, plan->sides, count, err);
}

enum uqff_code uqff_sidecars_plan(struct uqff_pack_plan *plan, struct uqff_error *err) {
    if (plan->default_variant == UQFF_NONE) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "none of the quantizations can be loaded by mistral.rs, so there is "
                         "nothing to write its side files for");
    }
    enum uqff_code code =
        uqff_sidecars_residual(plan->model, &plan->arena, &plan->residual_file, err);
    if (code == UQFF_OK) {
        code = list_sides(plan, err);
    }
    if (code == UQFF_OK) {
        warn_missing(plan);
        code = report_side(plan, err);
    }
    return code;
}
