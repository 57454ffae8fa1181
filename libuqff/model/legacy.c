/* UQFF 0.x files as models: their layers named, and then read as UQFF 1.2. */
#include "model/legacy.h"

#include <string.h>

/* "llama-q4k-0.uqff" and "llama-q4k.uqff" are called llama-q4k. */
static char *stem_of(struct uqff_arena *arena, const char *path) {
    const char *name = uqff_path_name(path);
    size_t stem = 0, n = strlen(name), ending = strlen(".uqff");
    uint64_t number;
    if (!uqff_shard_name_parse(name, &stem, &number)) {
        stem = n > ending && strcmp(name + n - ending, ".uqff") == 0 ? n - ending : n;
    }
    return uqff_arena_copy(arena, name, stem);
}

static enum uqff_code read_config(struct uqff_model *model, const char *path,
                                  struct legacy_config *out, struct uqff_error *err) {
    static const char name[] = "config.json";
    struct uqff_source *source = NULL;
    char *json = NULL;
    size_t size = 0;
    enum uqff_code code =
        uqff_source_open_in(model->directory, name, sizeof name - 1, &source, err);
    if (code == UQFF_E_NOT_FOUND) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: a UQFF 0.x file, whose layers have numbers only; config.json, which "
                         "tells what they are, is not beside it",
                         path);
    }
    code =
        code != UQFF_OK ? code : uqff_source_read_all(source, UQFF_CONFIG_LIMIT, &json, &size, err);
    code = code != UQFF_OK
               ? code
               : uqff_model_take_config(model, json, size, uqff_source_name(source), err);
    out->config = &model->config;
    code = code != UQFF_OK ? code
                           : uqff_legacy_config_read(json, size, uqff_source_name(source),
                                                     &model->arena, out, err);
    uqff_free(json);
    uqff_source_close(source);
    return code;
}

static enum uqff_code open_view(struct uqff_model *model, const char *path,
                                const struct legacy_config *config, struct uqff_error *err) {
    struct uqff_legacy_module *modules = NULL;
    size_t count = 0;
    char *stem = stem_of(&model->arena, path);
    if (stem == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code =
        uqff_legacy_order(model->legacy, path, config, &model->arena, &modules, &count, err);
    return code != UQFF_OK ? code
                           : uqff_legacy_container(model->legacy, modules, count, stem,
                                                   &model->warner, &model->container, err);
}

enum uqff_code uqff_model_open_legacy(struct uqff_model *model, const char *path,
                                      struct uqff_error *err) {
    struct legacy_config config = {0};
    enum uqff_code code = uqff_legacy_open(path, &model->warner, &model->legacy, err);
    code = code != UQFF_OK ? code : read_config(model, path, &config, err);
    code = code != UQFF_OK ? code : open_view(model, path, &config, err);
    for (size_t i = 0; code == UQFF_OK && i < uqff_legacy_shard_count(model->legacy); i++) {
        code = uqff_model_add_source(model, uqff_legacy_source(model->legacy, i), false, err);
    }
    return code;
}
