#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pack/run.h"

enum uqff_code uqff_run_folder_make(struct run_folder *folder, const char *path,
                                    struct uqff_error *err) {
    struct uqff_folder *made = NULL;
    enum uqff_code code = uqff_grow((void **)&folder->made, &folder->made_capacity,
                                    folder->made_count + 1, sizeof(struct uqff_folder *), err);
    if (code == UQFF_OK) {
        code = uqff_folder_make(path, &made, err);
    }
    if (code == UQFF_OK && made != NULL) {
        folder->made[folder->made_count++] = made;
    }
    return code;
}

enum uqff_code uqff_run_folder_expect(struct run_folder *folder, const char *path,
                                      struct uqff_error *err) {
    struct run_path expected = {.path = uqff_arena_copy(&folder->arena, path, strlen(path))};
    struct stat status;
    if (expected.path == NULL) {
        return uqff_fail_memory(err);
    }
    if (lstat(path, &status) == 0) {
        expected.existed = true;
        expected.device = status.st_dev;
        expected.inode = status.st_ino;
    }
    enum uqff_code code = uqff_grow((void **)&folder->paths, &folder->path_capacity,
                                    folder->path_count + 1, sizeof expected, err);
    if (code == UQFF_OK) {
        folder->paths[folder->path_count++] = expected;
    }
    return code;
}

/* Makes the folder that a side file lies in, when it lies in one. */
static enum uqff_code make_parent(struct run_folder *folder, const char *path,
                                  struct uqff_error *err) {
    char *parent = uqff_path_directory(path);
    if (parent == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_run_folder_make(folder, parent, err);
    uqff_free(parent);
    return code;
}

enum uqff_code uqff_run_folder_side(struct run_folder *folder, const struct uqff_model *model,
                                    const char *directory, const struct pack_side *side,
                                    bool overwrite, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    char *path = uqff_path_join(directory, side->name), *content = NULL;
    const char *bytes = side->content;
    size_t size = (size_t)side->bytes;
    struct uqff_sink *sink = NULL;
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    code = uqff_grow((void **)&folder->sinks, &folder->sink_capacity, folder->sink_count + 1,
                     sizeof(struct uqff_sink *), err);
    if (code == UQFF_OK && bytes == NULL) {
        code = uqff_model_read_asset(model, side->asset, &content, &size, err);
        bytes = content;
    }
    if (code == UQFF_OK) {
        code = make_parent(folder, path, err);
    }
    if (code == UQFF_OK) {
        code = uqff_sink_create(path, overwrite, &sink, err);
    }
    if (code == UQFF_OK) {
        folder->sinks[folder->sink_count++] = sink;
        code = uqff_sink_write(sink, 0, bytes, size, err);
    }
    if (code == UQFF_OK) {
        code = uqff_sink_flush(sink, err);
    }
    uqff_free(content);
    uqff_free(path);
    return code;
}

enum uqff_code uqff_run_folder_publish(struct run_folder *folder, struct uqff_error *err) {
    for (size_t i = 0; i < folder->sink_count; i++) {
        enum uqff_code code = uqff_run_folder_expect(folder, uqff_sink_path(folder->sinks[i]), err);
        if (code == UQFF_OK) {
            code = uqff_sink_publish(folder->sinks[i], err);
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* A path that is not what it was before has been published by us. */
static void take_back(const struct run_path *path) {
    struct stat status;
    if (lstat(path->path, &status) == 0 &&
        (!path->existed || status.st_dev != path->device || status.st_ino != path->inode)) {
        unlink(path->path);
    }
}

void uqff_run_folder_close(struct run_folder *folder, bool keep) {
    for (size_t i = 0; i < folder->sink_count; i++) {
        uqff_sink_close(folder->sinks[i]);
    }
    for (size_t i = 0; !keep && i < folder->path_count; i++) {
        take_back(&folder->paths[i]);
    }
    /* Innermost first; a directory that somebody else has put a file in stays. */
    for (size_t i = folder->made_count; i > 0; i--) {
        uqff_folder_close(folder->made[i - 1], keep);
    }
    uqff_free(folder->sinks);
    uqff_free(folder->paths);
    uqff_free(folder->made);
    uqff_arena_free(&folder->arena);
}
