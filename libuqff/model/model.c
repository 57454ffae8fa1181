/* Opening a model, whatever holds it, and what it says of itself. */
#include <stdlib.h>
#include <string.h>

#include "model/internal.h"

static const char *const kind_names[] = {
    [UQFF_MODEL_HF] = "safetensors",
    [UQFF_MODEL_GGUF] = "gguf",
    [UQFF_MODEL_UQFF] = "uqff",
    [UQFF_MODEL_MULTI] = "multi-quant uqff",
};

const char *uqff_model_kind_name(enum uqff_model_kind kind) {
    return (size_t)kind < sizeof kind_names / sizeof *kind_names ? kind_names[kind] : "unknown";
}

/* ---- references ------------------------------------------------------------------------------ */

/* Splits MODEL#variant at its last '#', unless the whole is the name of something that is there. */
static enum uqff_code split_reference(struct uqff_model *model, const char *reference,
                                      const char **variant, struct uqff_error *err) {
    const char *mark = strrchr(reference, '#');
    size_t n = strlen(reference);
    *variant = NULL;
    if (n == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "the model's name is empty");
    }
    if (mark != NULL && mark != reference && !uqff_path_exists(reference)) {
        if (mark[1] == 0) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "%s: expected a variant's name behind '#'", reference);
        }
        *variant = uqff_arena_copy(&model->arena, mark + 1, strlen(mark + 1));
        if (*variant == NULL) {
            return uqff_fail_memory(err);
        }
        n = (size_t)(mark - reference);
    }
    while (n > 1 && reference[n - 1] == '/') {
        n--;
    }
    model->path = uqff_arena_copy(&model->arena, reference, n);
    return model->path == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

enum uqff_code uqff_model_sniff(const char *path, enum uqff_model_kind *out,
                                struct uqff_error *err) {
    struct uqff_source *source = NULL;
    char magic[4];
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code != UQFF_OK) {
        return code;
    }
    bool gguf = uqff_text_ends(path, ".gguf");
    if (uqff_source_size(source) >= sizeof magic) {
        code = uqff_source_read(source, 0, magic, sizeof magic, err);
        gguf = gguf || (code == UQFF_OK && memcmp(magic, "GGUF", sizeof magic) == 0);
    }
    uqff_source_close(source);
    if (code != UQFF_OK) {
        return code;
    }
    *out = gguf ? UQFF_MODEL_GGUF : uqff_text_ends(path, ".uqff") ? UQFF_MODEL_UQFF : UQFF_MODEL_HF;
    return UQFF_OK;
}

static enum uqff_code resolve(struct uqff_model *model, const char *variant, struct located *out,
                              struct uqff_error *err) {
    if (uqff_path_is_directory(model->path)) {
        return uqff_model_locate(model->path, variant, &model->warner, &model->arena, out, err);
    }
    out->path = model->path;
    out->variant = variant;
    enum uqff_code code = uqff_model_sniff(model->path, &out->kind, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (variant != NULL && out->kind != UQFF_MODEL_UQFF) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "%s: a %s model has no variants, found '#%s'", model->path,
                         kind_names[out->kind], variant);
    }
    return UQFF_OK;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_digits(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return n > 0;
}

/* Length of a GGUF's name without "-00001-of-00003". */
static size_t cut_split(const char *name, size_t n) {
    if (n > 15 && name[n - 15] == '-' && is_digits(name + n - 14, 5) &&
        memcmp(name + n - 9, "-of-", 4) == 0 && is_digits(name + n - 5, 5)) {
        return n - 15;
    }
    return n;
}

/* Length of a file's name without its ending, and without the number of a shard. */
static size_t name_stem(const char *name, enum uqff_model_kind kind) {
    static const char *const endings[] = {".safetensors", ".gguf", ".uqff"};
    size_t n = strlen(name), stem;
    uint64_t number;
    if (kind == UQFF_MODEL_UQFF && uqff_shard_name_parse(name, &stem, &number)) {
        return stem;
    }
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (uqff_text_ends(name, endings[i]) && n > strlen(endings[i])) {
            n -= strlen(endings[i]);
            break;
        }
    }
    return kind == UQFF_MODEL_GGUF ? cut_split(name, n) : n;
}

/* A directory's own name, also for "." and "..". */
static enum uqff_code name_directory(struct uqff_model *model, const char *directory,
                                     struct uqff_error *err) {
    const char *name = uqff_path_name(directory);
    char *real = NULL;
    if (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        real = realpath(directory, NULL);
        name = real != NULL ? uqff_path_name(real) : "model";
    }
    model->name = uqff_arena_copy(&model->arena, *name != 0 ? name : "model",
                                  strlen(*name != 0 ? name : "model"));
    free(real);
    return model->name == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

static enum uqff_code set_names(struct uqff_model *model, const struct located *located,
                                struct uqff_error *err) {
    char *directory = uqff_path_directory(located->path);
    if (directory == NULL) {
        return uqff_fail_memory(err);
    }
    model->directory = uqff_arena_copy(&model->arena, directory, strlen(directory));
    uqff_free(directory);
    if (model->directory == NULL) {
        return uqff_fail_memory(err);
    }
    if (uqff_path_is_directory(model->path)) {
        return name_directory(model, model->path, err);
    }
    if (uqff_text_ends(located->path, ".json")) {
        return name_directory(model, model->directory, err);
    }
    const char *name = uqff_path_name(located->path);
    model->name = uqff_arena_copy(&model->arena, name, name_stem(name, located->kind));
    return model->name == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* ---- open and close -------------------------------------------------------------------------- */

static enum uqff_code open_located(struct uqff_model *model, const struct located *located,
                                   struct uqff_error *err) {
    enum uqff_code code;
    model->kind = located->kind;
    switch (located->kind) {
    case UQFF_MODEL_HF:
        code = uqff_model_open_hf(model, located->path, err);
        break;
    case UQFF_MODEL_GGUF:
        code = uqff_model_open_gguf(model, located->path, err);
        break;
    default:
        code = uqff_model_open_uqff(model, located->path, located->variant, err);
        break;
    }
    return code != UQFF_OK ? code : uqff_model_group(model, err);
}

enum uqff_code uqff_model_open(const char *reference, const struct uqff_model_options *options,
                               struct uqff_model **out, struct uqff_error *err) {
    struct uqff_model *model = uqff_alloc_array(1, sizeof *model);
    struct located located;
    const char *variant;
    if (model == NULL) {
        return uqff_fail_memory(err);
    }
    model->variant = UQFF_NONE;
    model->config = (struct uqff_config){
        .architecture = "", .model_type = "", .torch_dtype = "", .activation = "", .rope.type = ""};
    if (options != NULL) {
        model->allow_newer_minor = options->allow_newer_minor;
        if (options->warner != NULL) {
            model->warner = *options->warner;
        }
    }
    enum uqff_code code = split_reference(model, reference, &variant, err);
    code = code != UQFF_OK ? code : resolve(model, variant, &located, err);
    code = code != UQFF_OK ? code : set_names(model, &located, err);
    code = code != UQFF_OK ? code : open_located(model, &located, err);
    if (code != UQFF_OK) {
        uqff_model_close(model);
        return code;
    }
    *out = model;
    return UQFF_OK;
}

void uqff_model_close(struct uqff_model *model) {
    if (model == NULL) {
        return;
    }
    for (size_t i = 0; i < model->source_count; i++) {
        if (model->sources[i].owned) {
            uqff_source_close(model->sources[i].source);
        }
    }
    uqff_safetensors_set_close(model->set);
    uqff_gguf_close(model->gguf);
    uqff_container_close(model->container);
    uqff_legacy_close(model->legacy);
    uqff_free(model->tensors);
    uqff_free(model->modules);
    uqff_free(model->residual);
    uqff_free(model->assets);
    uqff_free(model->sources);
    uqff_arena_free(&model->arena);
    uqff_free(model);
}

/* ---- what it is ------------------------------------------------------------------------------ */

enum uqff_model_kind uqff_model_kind(const struct uqff_model *model) {
    return model->kind;
}

const char *uqff_model_path(const struct uqff_model *model) {
    return model->path;
}

const char *uqff_model_name(const struct uqff_model *model) {
    return model->name;
}

const struct uqff_config *uqff_model_config(const struct uqff_model *model) {
    return &model->config;
}

const struct uqff_arch *uqff_model_arch(const struct uqff_model *model) {
    return model->arch;
}

struct uqff_safetensors_set *uqff_model_safetensors(const struct uqff_model *model) {
    return model->kind == UQFF_MODEL_HF ? model->set : NULL;
}

struct uqff_gguf *uqff_model_gguf(const struct uqff_model *model) {
    return model->gguf;
}

struct uqff_container *uqff_model_container(const struct uqff_model *model) {
    return model->container;
}

bool uqff_model_is_legacy(const struct uqff_model *model) {
    return model->legacy != NULL;
}

size_t uqff_model_variant(const struct uqff_model *model) {
    return model->variant;
}

bool uqff_model_is_input(const struct uqff_model *model, const char *path) {
    for (size_t i = 0; i < model->source_count; i++) {
        if (uqff_source_is_file(model->sources[i].source, path)) {
            return true;
        }
    }
    return false;
}

enum uqff_code uqff_model_unchanged(const struct uqff_model *model, struct uqff_error *err) {
    for (size_t i = 0; i < model->source_count; i++) {
        enum uqff_code code = uqff_source_unchanged(model->sources[i].source, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}
