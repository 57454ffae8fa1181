/* UQFF 0.x to 1.2: the payloads as they are, under the names of the modules; the residual and the
 * side files as they lie beside them. */
#include <string.h>

#include "pack/export.h"
#include "pack/rebuild.h"
#include "pack/run.h"
#include "pack/sidecars.h"

static const char residual_name[] = "residual.safetensors";

struct migration {
    struct uqff_arena arena;
    const struct uqff_model *model;
    const struct uqff_container *container;
    const struct uqff_convert_options *options;
    const struct uqff_progress *progress;
    struct run_folder folder;
    struct pack_side *sides;
    size_t side_count;
    struct uqff_source *residual;
    struct uqff_sink **sinks; /* the residual, then the shards */
    const char **names;       /* of their files */
    size_t count;
    uint64_t done, total;
};

/* ---- what is to be written ------------------------------------------------------------------- */

static struct uqff_source *source_of(const struct migration *m, size_t i) {
    return i == 0 ? m->residual
                  : uqff_safetensors_source(uqff_container_shard(m->container, i - 1));
}

static enum uqff_code open_residual(struct migration *m, struct uqff_error *err) {
    const char *path = uqff_model_path(m->model);
    char *directory =
        uqff_path_is_directory(path) ? uqff_path_join(NULL, path) : uqff_path_directory(path);
    enum uqff_code code = directory == NULL
                              ? uqff_fail_memory(err)
                              : uqff_source_open_in(directory, residual_name,
                                                    sizeof residual_name - 1, &m->residual, err);
    if (code == UQFF_E_NOT_FOUND) {
        code = uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: no %s beside it: norms and embedding are missing, and without them a "
                         "UQFF 1.2 directory cannot be loaded",
                         path, residual_name);
    }
    uqff_free(directory);
    return code;
}

static enum uqff_code list_files(struct migration *m, struct uqff_error *err) {
    size_t shards = uqff_container_shard_count(m->container);
    m->names = uqff_arena_array(&m->arena, shards + 1, sizeof *m->names);
    m->sinks = uqff_arena_array(&m->arena, shards + 1, sizeof(void *));
    if (m->names == NULL || m->sinks == NULL) {
        return uqff_fail_memory(err);
    }
    m->count = shards + 1;
    m->names[0] = residual_name;
    for (size_t i = 1; i < m->count; i++) {
        m->names[i] = uqff_path_name(uqff_container_shard_path(m->container, i - 1));
    }
    enum uqff_code code = uqff_rebuild_sides(m->model, m->options->warner, 0, &m->arena, &m->sides,
                                             &m->side_count, err);
    return code != UQFF_OK
               ? code
               : uqff_sidecars_render(m->model, NULL, &m->arena, m->sides, m->side_count, err);
}

static enum uqff_code check_path(const struct migration *m, const char *name,
                                 struct uqff_error *err) {
    char *path = uqff_path_join(m->options->output, name);
    enum uqff_code code = path == NULL
                              ? uqff_fail_memory(err)
                              : uqff_pack_check_path(m->model, path, m->options->overwrite, err);
    if (code == UQFF_OK && uqff_source_is_file(m->residual, path)) {
        code =
            uqff_fail(err, UQFF_E_IS_INPUT, UQFF_NO_OFFSET,
                      "%s: is a file that the model is read from, so it cannot be written", path);
    }
    uqff_free(path);
    return code;
}

static enum uqff_code check_paths(const struct migration *m, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < m->count && code == UQFF_OK; i++) {
        code = check_path(m, m->names[i], err);
    }
    for (size_t i = 0; i < m->side_count && code == UQFF_OK; i++) {
        code = check_path(m, m->sides[i].name, err);
    }
    return code;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum uqff_code write_file(struct migration *m, size_t i, struct uqff_error *err) {
    enum { PIECE = 16 << 20 };
    struct uqff_source *source = source_of(m, i);
    uint64_t size = uqff_source_size(source);
    char *path = uqff_path_join(m->options->output, m->names[i]);
    enum uqff_code code = path == NULL
                              ? uqff_fail_memory(err)
                              : uqff_sink_create(path, m->options->overwrite, &m->sinks[i], err);
    uqff_free(path);
    for (uint64_t at = 0; at < size && code == UQFF_OK;) {
        uint64_t n = size - at < PIECE ? size - at : PIECE;
        code = uqff_sink_copy(m->sinks[i], at, source, at, n, err);
        at += n;
        m->done += n;
        if (code == UQFF_OK) {
            code = uqff_progress_update(m->progress, "copy", m->done, m->total, err);
        }
    }
    return code == UQFF_OK ? uqff_sink_flush(m->sinks[i], err) : code;
}

static enum uqff_code write_files(struct migration *m, struct uqff_error *err) {
    enum uqff_code code = uqff_run_folder_make(&m->folder, m->options->output, err);
    for (size_t i = 0; i < m->count; i++) {
        m->total += uqff_source_size(source_of(m, i));
    }
    for (size_t i = 0; i < m->count && code == UQFF_OK; i++) {
        code = write_file(m, i, err);
    }
    for (size_t i = 0; i < m->side_count && code == UQFF_OK; i++) {
        code = uqff_run_folder_side(&m->folder, m->model, m->options->output, &m->sides[i],
                                    m->options->overwrite, err);
    }
    return code;
}

/* Opens what was written as any reader of UQFF 1.x would. */
static enum uqff_code reopen(const struct migration *m, struct uqff_error *err) {
    size_t shards = m->count - 1, opened = 0;
    struct uqff_source **sources = uqff_alloc_array(shards, sizeof(void *));
    struct uqff_container *container = NULL;
    enum uqff_code code = sources == NULL ? uqff_fail_memory(err) : UQFF_OK;
    for (; code == UQFF_OK && opened < shards; opened += code == UQFF_OK) {
        code =
            uqff_source_open(uqff_sink_temporary_path(m->sinks[opened + 1]), &sources[opened], err);
    }
    if (code == UQFF_OK) {
        code = uqff_container_open_sources(m->names + 1, sources, shards, NULL, &container, err);
        opened = code == UQFF_OK ? 0 : opened;
    }
    uqff_container_close(container);
    for (size_t i = 0; i < opened; i++) {
        uqff_source_close(sources[i]);
    }
    uqff_free(sources);
    return code;
}

/* The shards come last, from the last to the first: until then nothing looks finished. */
static enum uqff_code publish(struct migration *m, struct uqff_error *err) {
    enum uqff_code code = uqff_run_folder_publish(&m->folder, err);
    for (size_t i = 0; i < m->count && code == UQFF_OK; i++) {
        struct uqff_sink *sink = m->sinks[i == 0 ? 0 : m->count - i];
        code = uqff_run_folder_expect(&m->folder, uqff_sink_path(sink), err);
        code = code != UQFF_OK ? code : uqff_sink_publish(sink, err);
    }
    return code;
}

enum uqff_code uqff_convert_legacy(const struct uqff_model *model,
                                   const struct uqff_convert_options *options,
                                   const struct uqff_progress *progress, struct uqff_error *err) {
    struct migration m = {
        .model = model,
        .container = uqff_model_container(model),
        .options = options,
        .progress = progress,
    };
    enum uqff_code code = open_residual(&m, err);
    code = code != UQFF_OK ? code : list_files(&m, err);
    code = code != UQFF_OK ? code : check_paths(&m, err);
    code = code != UQFF_OK ? code : write_files(&m, err);
    code = code != UQFF_OK ? code : reopen(&m, err);
    code = code != UQFF_OK ? code : uqff_model_unchanged(model, err);
    code = code != UQFF_OK ? code : publish(&m, err);
    for (size_t i = 0; m.sinks != NULL && i < m.count; i++) {
        uqff_sink_close(m.sinks[i]);
    }
    uqff_run_folder_close(&m.folder, code == UQFF_OK);
    uqff_source_close(m.residual);
    uqff_arena_free(&m.arena);
    return code;
}
