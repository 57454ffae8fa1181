/* verify: what lies at a path, and which checks it goes through. */
#include "pack/verify.h"

#include <string.h>

/* What was found at the path. */
struct finds {
    struct uqff_arena arena;
    struct uqff_container **containers;
    size_t container_count, container_capacity;
    struct uqff_safetensors_set **sets;
    size_t set_count, set_capacity;
    struct uqff_gguf **ggufs;
    size_t gguf_count, gguf_capacity;
    const char *directory;
    const char *variant; /* named behind '#', or NULL */
};

/* ---- finding --------------------------------------------------------------------------------- */

static enum uqff_code open_container(struct verify *verify, struct finds *finds, const char *path,
                                     struct uqff_error *err) {
    const struct uqff_container_options options = {
        .warner = &verify->warner,
        .allow_newer_minor = verify->options->allow_newer_minor,
    };
    enum uqff_code code = uqff_grow((void **)&finds->containers, &finds->container_capacity,
                                    finds->container_count + 1, sizeof *finds->containers, err);
    if (code == UQFF_OK) {
        code = uqff_container_open(path, &options, &finds->containers[finds->container_count], err);
    }
    finds->container_count += code == UQFF_OK;
    return code;
}

static enum uqff_code open_set(struct verify *verify, struct finds *finds, const char *path,
                               struct uqff_error *err) {
    enum uqff_code code = uqff_grow((void **)&finds->sets, &finds->set_capacity,
                                    finds->set_count + 1, sizeof *finds->sets, err);
    if (code == UQFF_OK) {
        code =
            uqff_safetensors_set_open(path, &verify->warner, &finds->sets[finds->set_count], err);
    }
    finds->set_count += code == UQFF_OK;
    return code;
}

static enum uqff_code open_gguf(struct verify *verify, struct finds *finds, const char *path,
                                struct uqff_error *err) {
    enum uqff_code code = uqff_grow((void **)&finds->ggufs, &finds->gguf_capacity,
                                    finds->gguf_count + 1, sizeof *finds->ggufs, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_open_path(path, &verify->warner, &finds->ggufs[finds->gguf_count], err);
    }
    finds->gguf_count += code == UQFF_OK;
    return code;
}

static enum uqff_code open_file(struct verify *verify, struct finds *finds, const char *path,
                                struct uqff_error *err) {
    enum uqff_model_kind kind;
    enum uqff_code code = uqff_model_sniff(path, &kind, err);
    if (code != UQFF_OK) {
        return code;
    }
    switch (kind) {
    case UQFF_MODEL_GGUF:
        return open_gguf(verify, finds, path, err);
    case UQFF_MODEL_UQFF:
    case UQFF_MODEL_MULTI:
        return open_container(verify, finds, path, err);
    case UQFF_MODEL_HF:
        break;
    }
    return open_set(verify, finds, path, err);
}

/* True for a safetensors file that a set opened before has as a shard. */
static bool is_in_a_set(const struct finds *finds, const char *path) {
    for (size_t i = 0; i < finds->set_count; i++) {
        for (size_t k = 0; k < uqff_safetensors_set_file_count(finds->sets[i]); k++) {
            const struct uqff_safetensors *file = uqff_safetensors_set_file(finds->sets[i], k);
            if (uqff_source_is_file(uqff_safetensors_source(file), path)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_in_a_container(const struct finds *finds, const char *path) {
    for (size_t i = 0; i < finds->container_count; i++) {
        for (size_t s = 0; s < uqff_container_shard_count(finds->containers[i]); s++) {
            const struct uqff_safetensors *file = uqff_container_shard(finds->containers[i], s);
            if (uqff_source_is_file(uqff_safetensors_source(file), path)) {
                return true;
            }
        }
    }
    return false;
}

static bool is_in_a_gguf(const struct finds *finds, const char *path) {
    for (size_t i = 0; i < finds->gguf_count; i++) {
        for (size_t k = 0; k < uqff_gguf_file_count(finds->ggufs[i]); k++) {
            if (uqff_source_is_file(uqff_gguf_source(finds->ggufs[i], k), path)) {
                return true;
            }
        }
    }
    return false;
}

/* Opens every model file of a directory; sets before single files, so that each file is seen once.
 */
static enum uqff_code open_directory(struct verify *verify, struct finds *finds,
                                     const char *directory, struct uqff_error *err) {
    static const char *const endings[] = {".safetensors.index.json", ".uqff", ".safetensors",
                                          ".gguf"};
    const char **names = NULL;
    size_t count = 0;
    enum uqff_code code = uqff_list_directory(directory, &finds->arena, &names, &count, err);
    for (size_t e = 0; e < sizeof endings / sizeof endings[0]; e++) {
        for (size_t i = 0; i < count && code == UQFF_OK; i++) {
            if (!uqff_text_ends(names[i], endings[e])) {
                continue;
            }
            char *path = uqff_path_join(directory, names[i]);
            if (path == NULL) {
                code = uqff_fail_memory(err);
            } else if (!uqff_path_is_directory(path) && !is_in_a_set(finds, path) &&
                       !is_in_a_container(finds, path) && !is_in_a_gguf(finds, path)) {
                code = open_file(verify, finds, path, err);
            }
            uqff_free(path);
        }
    }
    if (code == UQFF_OK && finds->container_count + finds->set_count + finds->gguf_count == 0) {
        code = uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: no model file, expected .uqff, .safetensors or .gguf", directory);
    }
    return code;
}

/* Opens FILE, FILE#variant or a directory. A '#' that is part of an existing name is taken as such.
 */
static enum uqff_code open_path(struct verify *verify, struct finds *finds, const char *path,
                                struct uqff_error *err) {
    const char *mark = strrchr(path, '#');
    if (mark != NULL && mark != path && !uqff_path_exists(path)) {
        finds->variant = mark + 1;
        path = uqff_arena_copy(&finds->arena, path, (size_t)(mark - path));
        if (path == NULL) {
            return uqff_fail_memory(err);
        }
    }
    if (uqff_path_is_directory(path)) {
        finds->directory = path;
        return open_directory(verify, finds, path, err);
    }
    char *directory = uqff_path_directory(path);
    if (directory == NULL) {
        return uqff_fail_memory(err);
    }
    finds->directory = uqff_arena_copy(&finds->arena, directory, strlen(directory));
    uqff_free(directory);
    if (finds->directory == NULL) {
        return uqff_fail_memory(err);
    }
    return open_file(verify, finds, path, err);
}

static void close_finds(struct finds *finds) {
    for (size_t i = 0; i < finds->container_count; i++) {
        uqff_container_close(finds->containers[i]);
    }
    for (size_t i = 0; i < finds->set_count; i++) {
        uqff_safetensors_set_close(finds->sets[i]);
    }
    for (size_t i = 0; i < finds->gguf_count; i++) {
        uqff_gguf_close(finds->ggufs[i]);
    }
    uqff_free(finds->containers);
    uqff_free(finds->sets);
    uqff_free(finds->ggufs);
    uqff_arena_free(&finds->arena);
}

/* ---- checking -------------------------------------------------------------------------------- */

/* Whether a container is meant: without a name all of them are, and of a directory with a set for
 * each quantization those that have the one that was named. */
static bool is_meant(const struct finds *finds, const struct uqff_container *container,
                     size_t *variant) {
    *variant =
        finds->variant == NULL ? UQFF_NONE : uqff_container_find_variant(container, finds->variant);
    return finds->variant == NULL || *variant != UQFF_NONE;
}

static enum uqff_code check_variant(const struct finds *finds, struct uqff_error *err) {
    size_t variant;
    if (finds->variant == NULL) {
        return UQFF_OK;
    }
    if (finds->container_count == 0) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET, "'%s': only a UQFF file has variants",
                         finds->variant);
    }
    for (size_t i = 0; i < finds->container_count; i++) {
        if (is_meant(finds, finds->containers[i], &variant)) {
            return UQFF_OK;
        }
    }
    return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET, "%s: no variant '%s'",
                     finds->container_count == 1
                         ? uqff_container_shard_path(finds->containers[0], 0)
                         : finds->directory,
                     finds->variant);
}

static enum uqff_code check_values(struct verify *verify, const struct finds *finds,
                                   struct uqff_error *err) {
    enum uqff_code code = check_variant(finds, err);
    for (size_t i = 0; i < finds->container_count && code == UQFF_OK; i++) {
        size_t variant = UQFF_NONE;
        if (is_meant(finds, finds->containers[i], &variant)) {
            code = uqff_verify_container(verify, finds->containers[i], variant, err);
        }
    }
    for (size_t i = 0; i < finds->set_count && code == UQFF_OK; i++) {
        code = uqff_verify_safetensors(verify, finds->sets[i], err);
    }
    for (size_t i = 0; i < finds->gguf_count && code == UQFF_OK; i++) {
        code = uqff_verify_gguf(verify, finds->ggufs[i], err);
    }
    return code;
}

static enum uqff_code check_target(struct verify *verify, const struct finds *finds,
                                   struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    switch (verify->options->target) {
    case UQFF_TARGET_NONE:
        break;
    case UQFF_TARGET_MISTRALRS:
        if (finds->container_count == 0) {
            uqff_findings_add(verify, UQFF_FAILURE, "target", "%s: no UQFF file for mistral.rs",
                              finds->directory);
            break;
        }
        code = uqff_verify_mistralrs(verify, finds->directory, finds->containers,
                                     finds->container_count, err);
        break;
    case UQFF_TARGET_LLAMACPP:
        if (finds->gguf_count == 0) {
            uqff_findings_add(verify, UQFF_FAILURE, "target", "%s: no GGUF for llama.cpp",
                              finds->directory);
        }
        for (size_t i = 0; i < finds->gguf_count && code == UQFF_OK; i++) {
            code = uqff_verify_llamacpp(verify, finds->ggufs[i], err);
        }
        break;
    }
    return code;
}

/* Plain UQFF sets have their residual tensors in residual.safetensors beside them. */
static const struct uqff_safetensors_set *find_residual(const struct finds *finds) {
    for (size_t i = 0; i < finds->set_count; i++) {
        const struct uqff_safetensors *file = uqff_safetensors_set_file(finds->sets[i], 0);
        const char *name = uqff_source_name(uqff_safetensors_source(file));
        if (strcmp(uqff_path_name(name), "residual.safetensors") == 0) {
            return finds->sets[i];
        }
    }
    return NULL;
}

static enum uqff_code recompute(struct verify *verify, const struct finds *finds, const char *path,
                                struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < finds->container_count && code == UQFF_OK; i++) {
        size_t variant = UQFF_NONE;
        if (is_meant(finds, finds->containers[i], &variant)) {
            code = uqff_verify_recompute(verify, finds->containers[i], find_residual(finds),
                                         variant, err);
        }
    }
    if (finds->container_count > 0 || code != UQFF_OK) {
        return code;
    }
    const struct uqff_model_options options = {.warner = &verify->warner};
    struct uqff_model *model = NULL;
    code = uqff_model_open(path, &options, &model, err);
    if (code == UQFF_OK) {
        code = uqff_verify_recompute_model(verify, model, err);
    }
    uqff_model_close(model);
    return code;
}

enum uqff_code uqff_verify(const char *path, const struct uqff_verify_options *options,
                           const struct uqff_findings *findings,
                           const struct uqff_progress *progress, bool *passed,
                           struct uqff_error *err) {
    static const struct uqff_verify_options defaults = {.target = UQFF_TARGET_NONE};
    struct verify verify;
    struct finds finds = {0};
    uqff_findings_begin(&verify, options != NULL ? options : &defaults, findings, progress);
    enum uqff_code code = open_path(&verify, &finds, path, err);
    if (code == UQFF_OK) {
        code = check_values(&verify, &finds, err);
    }
    if (code == UQFF_OK) {
        code = check_target(&verify, &finds, err);
    }
    if (code == UQFF_OK && verify.options->recompute != NULL) {
        code = recompute(&verify, &finds, path, err);
    }
    close_finds(&finds);
    if (code == UQFF_OK) {
        *passed = !verify.failed;
    }
    return code;
}
