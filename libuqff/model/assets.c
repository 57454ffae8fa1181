/* Side files that travel with a model. */
#include <stdlib.h>
#include <string.h>

#include "model/internal.h"

#define ASSET_LIMIT (256u << 20)

static const char *const names[] = {
    "README.md",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "gguf-metadata.bin",
    "merges.txt",
    "modules.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
};
static const char *const beginnings[] = {"LICENSE", "NOTICE"};

/* What a folder that modules.json names may hold for us. */
static const char *const module_files[] = {"config.json", "model.safetensors"};

enum uqff_code uqff_model_add_asset(struct uqff_model *model, const char *path,
                                    struct uqff_source *source, uint64_t offset, uint64_t size,
                                    struct uqff_error *err) {
    if (size > ASSET_LIMIT) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: side file '%s': found %llu bytes, expected at most %u",
                         model->directory, path, (unsigned long long)size, ASSET_LIMIT);
    }
    void *items = model->assets;
    enum uqff_code code = uqff_grow(&items, &model->asset_capacity, model->asset_count + 1,
                                    sizeof *model->assets, err);
    model->assets = items;
    if (code != UQFF_OK) {
        return code;
    }
    model->assets[model->asset_count++] = (struct asset){path, source, offset, size, UQFF_NONE};
    return UQFF_OK;
}

static bool is_asset(const char *name) {
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Adds DIRECTORY/NAME as `path` if it is a regular file; what is not is passed over. */
static enum uqff_code add_file(struct uqff_model *model, const char *directory, const char *name,
                               const char *path, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    enum uqff_code code = uqff_source_open_in(directory, name, strlen(name), &source, err);
    if (code == UQFF_E_NOT_FOUND || code == UQFF_E_NOT_REGULAR) {
        return UQFF_OK;
    }
    code = code != UQFF_OK ? code : uqff_model_add_source(model, source, true, err);
    return code != UQFF_OK
               ? code
               : uqff_model_add_asset(model, path, source, 0, uqff_source_size(source), err);
}

/* ---- modules.json ---------------------------------------------------------------------------- */

static enum uqff_code add_module_folder(struct uqff_model *model, const char *where,
                                        const struct uqff_json_event *event,
                                        struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    if (event->length == 0) {
        return UQFF_OK; /* the model's own directory */
    }
    if (!uqff_name_is_safe_component(event->text, event->length)) {
        return uqff_fail(err, UQFF_E_NAME, event->offset,
                         "%s: path '%.*s': expected the name of a folder beside it", where,
                         (int)(event->length < 300 ? event->length : 300), event->text);
    }
    char *folder = uqff_arena_copy(&model->arena, event->text, event->length);
    char *directory = folder == NULL ? NULL : uqff_path_join(model->directory, folder);
    if (directory == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < sizeof module_files / sizeof *module_files && code == UQFF_OK; i++) {
        char *path = uqff_arena_printf(&model->arena, "%s/%s", folder, module_files[i]);
        code = path == NULL ? uqff_fail_memory(err)
                            : add_file(model, directory, module_files[i], path, err);
    }
    uqff_free(directory);
    return code;
}

/* One {"idx":1, "path":"1_Pooling", …} of the list. */
static enum uqff_code read_module(struct uqff_model *model, struct uqff_json *json,
                                  const char *where, struct uqff_error *err) {
    for (;;) {
        struct uqff_json_event event;
        bool done;
        enum uqff_code code = uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            return code;
        }
        bool is_path = event.length == 4 && memcmp(event.text, "path", 4) == 0;
        code = uqff_json_next(json, &event, err);
        if (code == UQFF_OK && is_path && event.kind == UQFF_JSON_STRING) {
            code = add_module_folder(model, where, &event, err);
        } else if (code == UQFF_OK && is_path) {
            code = uqff_json_unexpected(json, &event, "path", "a string", err);
        } else if (code == UQFF_OK) {
            code = uqff_json_skip(json, &event, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
}

static enum uqff_code walk_modules(struct uqff_model *model, struct uqff_json *json,
                                   const char *where, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(json, UQFF_JSON_ARRAY, "modules.json", &event, err);
    while (code == UQFF_OK) {
        code = uqff_json_next(json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        code = event.kind == UQFF_JSON_OBJECT
                   ? read_module(model, json, where, err)
                   : uqff_json_unexpected(json, &event, "a module", "an object", err);
    }
    return code != UQFF_OK ? code
                           : uqff_json_expect(json, UQFF_JSON_END, "modules.json", &event, err);
}

static enum uqff_code follow_modules(struct uqff_model *model, struct uqff_source *source,
                                     struct uqff_error *err) {
    struct uqff_json *json = NULL;
    char *text = NULL;
    size_t size;
    enum uqff_code code = uqff_source_read_all(source, UQFF_CONFIG_LIMIT, &text, &size, err);
    code = code != UQFF_OK ? code
                           : uqff_json_open(text, size, uqff_source_name(source), 0, 0, &json, err);
    code = code != UQFF_OK ? code : walk_modules(model, json, uqff_source_name(source), err);
    uqff_json_close(json);
    uqff_free(text);
    return code;
}

/* ---- collecting ------------------------------------------------------------------------------ */

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct asset *)a)->path, ((const struct asset *)b)->path);
}

/* modules.json may name a folder twice; its files are there once. */
static void sort_assets(struct uqff_model *model) {
    size_t kept = 0;
    if (model->asset_count > 1) {
        qsort(model->assets, model->asset_count, sizeof *model->assets, by_path);
    }
    for (size_t i = 0; i < model->asset_count; i++) {
        if (kept == 0 || by_path(&model->assets[kept - 1], &model->assets[i]) != 0) {
            model->assets[kept++] = model->assets[i];
        }
    }
    model->asset_count = kept;
}

enum uqff_code uqff_model_find_assets(struct uqff_model *model, struct uqff_error *err) {
    const char **files;
    size_t count;
    enum uqff_code code = uqff_list_directory(model->directory, &model->arena, &files, &count, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        if (!is_asset(files[i])) {
            continue;
        }
        if (!uqff_name_is_safe_component(files[i], strlen(files[i]))) {
            uqff_warn(&model->warner, "%s: side file '%s' is passed over for its name",
                      model->directory, files[i]);
            continue;
        }
        size_t before = model->asset_count;
        code = add_file(model, model->directory, files[i], files[i], err);
        if (code == UQFF_OK && strcmp(files[i], "modules.json") == 0 &&
            model->asset_count > before) {
            code = follow_modules(model, model->assets[before].source, err);
        }
    }
    sort_assets(model);
    return code;
}

/* The size of what it inflates to is only known by inflating. */
static enum uqff_code inflated_size(const struct uqff_model *model, size_t i, uint64_t *out,
                                    struct uqff_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    enum uqff_code code = uqff_container_read_asset(model->container, i, &bytes, &size, err);
    uqff_free(bytes);
    *out = size;
    return code;
}

enum uqff_code uqff_model_container_assets(struct uqff_model *model, struct uqff_error *err) {
    size_t count = uqff_container_asset_count(model->container);
    for (size_t i = 0; i < count; i++) {
        const struct uqff_asset *asset = uqff_container_asset(model->container, i);
        uint64_t size = asset->entry.tensor->bytes;
        enum uqff_code code = asset->compressed ? inflated_size(model, i, &size, err) : UQFF_OK;
        code =
            code != UQFF_OK ? code : uqff_model_add_asset(model, asset->path, NULL, 0, size, err);
        if (code != UQFF_OK) {
            return code;
        }
        struct asset *added = &model->assets[model->asset_count - 1];
        added->index = i;
    }
    return UQFF_OK;
}

/* ---- the public functions -------------------------------------------------------------------- */

size_t uqff_model_asset_count(const struct uqff_model *model) {
    return model->asset_count;
}

const char *uqff_model_asset_path(const struct uqff_model *model, size_t i) {
    return model->assets[i].path;
}

uint64_t uqff_model_asset_size(const struct uqff_model *model, size_t i) {
    return model->assets[i].size;
}

enum uqff_code uqff_model_read_asset(const struct uqff_model *model, size_t i, char **out,
                                     size_t *size, struct uqff_error *err) {
    enum uqff_code code = check_index(model, "side file", i, model->asset_count, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct asset *asset = &model->assets[i];
    if (asset->source == NULL) {
        return uqff_container_read_asset(model->container, asset->index, out, size, err);
    }
    /* The limit on its size makes the conversion exact. */
    char *bytes = uqff_alloc((size_t)asset->size + 1);
    if (bytes == NULL) {
        return uqff_fail_memory(err);
    }
    code = uqff_source_read(asset->source, asset->offset, bytes, (size_t)asset->size, err);
    if (code != UQFF_OK) {
        uqff_free(bytes);
        return code;
    }
    bytes[asset->size] = 0;
    *out = bytes;
    *size = (size_t)asset->size;
    return UQFF_OK;
}
