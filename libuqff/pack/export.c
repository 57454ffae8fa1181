#include "pack/export.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "pack/gguf.h"
#include "pack/recipe.h"

/* ---- what the model shows -------------------------------------------------------------------- */

/* The type of most weights, which names an export that has no variant to be called after. */
static uint32_t common_type(const struct uqff_model *model) {
    uint32_t best = UQFF_NO_TYPE;
    uint64_t most = 0;
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        uint32_t type = uqff_model_module(model, i)->type;
        uint64_t weights = 0;
        for (size_t k = i; k < uqff_model_module_count(model); k++) {
            const struct uqff_model_module *module = uqff_model_module(model, k);
            weights += module->type == type ? module->rows * module->columns : 0;
        }
        /* A type's first occurrence counts all of its weights. */
        if (weights > most) {
            most = weights;
            best = type;
        }
    }
    return best;
}

/* What llama.cpp calls the recipe that a GGUF says it was made by; NULL when it does not say. */
static const struct file_type *file_type_of(const struct uqff_gguf *gguf) {
    uint64_t id = 0;
    bool found = false;
    return gguf != NULL &&
                   uqff_gguf_get_u64(gguf, "general.file_type", INT_MAX, &found, &id, NULL) ==
                       UQFF_OK &&
                   found
               ? uqff_file_type_by_id((int)id)
               : NULL;
}

/* A GGUF tells what recipe it was made by; anything else is called after its type. */
static void describe_source(const struct uqff_model *model, uint32_t common, const char **name,
                            const char **recipe) {
    static _Thread_local char lower[32];
    const struct file_type *row = file_type_of(uqff_model_gguf(model));
    if (row == NULL || strlen(row->name) >= sizeof lower) {
        *recipe = "";
        *name = uqff_type_label(common);
        return;
    }
    for (size_t i = 0; i <= strlen(row->name); i++) {
        char c = row->name[i];
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    *recipe = row->name;
    *name = lower;
}

void uqff_export_describe(const struct uqff_model *model, const char **name, const char **recipe,
                          uint32_t *type) {
    const struct uqff_container *container = uqff_model_container(model);
    size_t index = uqff_model_variant(model);
    if (container != NULL && index != UQFF_NONE) {
        const struct uqff_variant *variant = uqff_container_variant(container, index);
        *name = variant->name;
        *recipe = variant->recipe;
        *type = variant->type;
        if (uqff_container_is_multi(container)) {
            return;
        }
    }
    uint32_t common = common_type(model);
    if (container == NULL || index == UQFF_NONE) {
        describe_source(model, common, name, recipe);
    }
    *type = common;
}

/* UQFF files of other programs name no recipe. One that was a GGUF before carries that file's keys:
 * they tell, unless the name shows that it was quantized since. */
static enum uqff_code find_carried_recipe(const struct uqff_model *model, struct pack_given *given,
                                          struct uqff_error *err) {
    struct uqff_gguf *carried = NULL;
    if (uqff_model_kind(model) != UQFF_MODEL_UQFF || given->recipe == NULL ||
        given->recipe[0] != '\0') {
        return UQFF_OK;
    }
    enum uqff_code code = uqff_gguf_open_carried(model, &carried, err);
    const struct file_type *row = code == UQFF_OK ? file_type_of(carried) : NULL;
    if (row != NULL && strcasecmp(row->name, given->name) == 0) {
        given->recipe = row->name;
    }
    uqff_gguf_close(carried);
    return code;
}

/* ---- mistral.rs ------------------------------------------------------------------------------ */

/* What the user had set when the file was packed goes along: everything that is not ours. */
static enum uqff_code take_metadata(const struct uqff_model *model, struct uqff_arena *arena,
                                    struct uqff_pack_options *pack, struct uqff_error *err) {
    const struct uqff_container *container = uqff_model_container(model);
    if (container == NULL) {
        return UQFF_OK;
    }
    const struct uqff_safetensors *shard = uqff_container_shard(container, 0);
    size_t count = uqff_safetensors_metadata_count(shard);
    struct uqff_metadata_pair *pairs = uqff_arena_array(arena, count, sizeof *pairs);
    if (pairs == NULL) {
        return uqff_fail_memory(err);
    }
    pack->metadata = pairs;
    for (size_t i = 0; i < count; i++) {
        struct uqff_metadata_pair *pair = &pairs[pack->metadata_count];
        size_t length = 0;
        uqff_safetensors_metadata(shard, i, &pair->key, &pair->value, &length);
        if (pair->key[0] != '\0' && strncmp(pair->key, "uqff.", 5) != 0) {
            pack->metadata_count++;
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_export_tell(const struct uqff_pack_plan *plan, char **written,
                                struct uqff_error *err) {
    const char *output = plan->options.output;
    if (written == NULL || plan->options.format == UQFF_PACK_MISTRALRS) {
        return UQFF_OK;
    }
    const bool named = output != NULL && !uqff_path_is_directory(output);
    const char *path = named && plan->file_count == 1 ? output : plan->files[0].path;
    const size_t size = strlen(path) + 1;
    *written = uqff_alloc(size);
    if (*written == NULL) {
        return uqff_fail_memory(err);
    }
    memcpy(*written, path, size);
    return UQFF_OK;
}

/* The blocks as they are, in the container of another program. */
static enum uqff_code export_plain(const struct uqff_model *model, const char *output,
                                   enum uqff_pack_format format,
                                   const struct uqff_export_options *options,
                                   struct uqff_arena *arena, const struct uqff_progress *progress,
                                   struct uqff_error *err) {
    struct uqff_pack_options pack = {
        .format = format,
        .output = output,
        .max_shard = options->max_shard,
        .memory = options->memory,
        .threads = options->threads,
        .overwrite = options->overwrite,
        .no_tokenizer = options->no_tokenizer,
        /* What lies in a container was accepted when it was made. */
        .allow_nonfinite = true,
        .warner = options->warner,
    };
    struct pack_given given = {0};
    size_t modules = uqff_model_module_count(model);
    uint32_t *types = uqff_arena_array(arena, modules, sizeof *types);
    if (types == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < modules; i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        types[i] = module->type;
        if (module->type == UQFF_NO_TYPE) {
            return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                             "%s: module '%s' has no single block or float type, so it cannot be "
                             "exported as it is; pack it instead",
                             uqff_model_path(model), module->name);
        }
    }
    uqff_export_describe(model, &given.name, &given.recipe, &given.type);
    /* The plan outlives what else may be described. */
    given.name = uqff_arena_copy(arena, given.name, strlen(given.name));
    if (given.name == NULL) {
        return uqff_fail_memory(err);
    }
    given.types = types;
    enum uqff_code code = find_carried_recipe(model, &given, err);
    if (format == UQFF_PACK_GGUF) {
        pack.metadata = options->metadata;
        pack.metadata_count = options->metadata_count;
    } else if (code == UQFF_OK) {
        code = take_metadata(model, arena, &pack, err);
    }
    struct uqff_pack_plan *plan = NULL;
    if (code == UQFF_OK) {
        code = uqff_pack_plan_make(model, &pack, &given, &plan, err);
    }
    if (code == UQFF_OK) {
        code = uqff_export_tell(plan, options->written, err);
    }
    if (code == UQFF_OK) {
        code = uqff_pack_run(plan, progress, err);
    }
    uqff_pack_plan_free(plan);
    return code;
}

enum uqff_code uqff_export_plain(const struct uqff_model *model, const char *output,
                                 enum uqff_pack_format format,
                                 const struct uqff_export_options *options,
                                 const struct uqff_progress *progress, struct uqff_error *err) {
    struct uqff_arena arena = {0};
    enum uqff_code code = export_plain(model, output, format, options, &arena, progress, err);
    uqff_arena_free(&arena);
    return code;
}

/* ---- either ---------------------------------------------------------------------------------- */

enum uqff_code uqff_export(const struct uqff_model *model,
                           const struct uqff_export_options *options,
                           const struct uqff_progress *progress, struct uqff_error *err) {
    struct uqff_arena arena = {0};
    enum uqff_code code = UQFF_OK;
    static const struct uqff_export_options defaults = {.format = UQFF_EXPORT_MISTRALRS};
    options = options != NULL ? options : &defaults;
    const char *directory = options->output, *name = NULL, *recipe = NULL;
    uint32_t type = 0;
    if (options->format == UQFF_EXPORT_GGUF) {
        return uqff_export_plain(model, directory, UQFF_PACK_GGUF, options, progress, err);
    }
    if (directory == NULL) {
        uqff_export_describe(model, &name, &recipe, &type);
        directory = uqff_arena_printf(&arena, "%s-%s", uqff_model_name(model), name);
    }
    if (directory == NULL) {
        code = uqff_fail_memory(err);
    } else if (options->format == UQFF_EXPORT_MISTRALRS) {
        code = uqff_export_plain(model, directory, UQFF_PACK_MISTRALRS, options, progress, err);
    } else {
        code = uqff_export_decoded(model, directory, false, options, progress, err);
    }
    uqff_arena_free(&arena);
    return code;
}
