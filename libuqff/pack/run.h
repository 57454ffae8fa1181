/* Writing what a plan or an export laid out. Nothing here is public. */
#ifndef UQFF_PACK_RUN_H
#define UQFF_PACK_RUN_H

#include <sys/types.h>

#include "pack/plan.h"
#include "pack/slab.h"

/* ---- run_tensors.c: a safetensors file that is filled entry by entry ---- */

struct run_tensors;

/* Bytes that are appended as one entry: a tensor, or neighbours that one module fills. */
struct run_range {
    uint64_t offset; /* in the data section */
    uint64_t bytes;
};

/* Creates the temporary file. Layout and ranges must outlive the writer; data begins on a
 * multiple of `alignment`. */
enum uqff_code uqff_run_tensors_new(const char *path, const struct uqff_st_layout *layout,
                                    const struct run_range *ranges, size_t count,
                                    unsigned alignment, bool overwrite, struct run_tensors **out,
                                    struct uqff_error *err);
/* A slab_append: entries are the ranges; different ones may be filled from different threads. */
enum uqff_code uqff_run_tensors_append(void *tensors, size_t entry, const void *bytes, size_t n,
                                       struct uqff_error *err);
/* Writes the header, flushes and reopens with the strict reader. UQFF_E_INTERNAL when a range is
 * not complete. */
enum uqff_code uqff_run_tensors_finish(struct run_tensors *tensors, struct uqff_error *err);
enum uqff_code uqff_run_tensors_publish(struct run_tensors *tensors, struct uqff_error *err);
const char *uqff_run_tensors_path(const struct run_tensors *tensors); /* the final name */
void uqff_run_tensors_free(struct run_tensors *tensors);

/* ---- run_folder.c: a folder that gets files, or is left as it was ---- */

/* A final name, and what it stood for before. */
struct run_path {
    const char *path;
    bool existed;
    dev_t device;
    ino_t inode;
};

struct run_folder {
    struct uqff_arena arena;
    const char **made; /* directories made, in order */
    size_t made_count, made_capacity;
    struct run_path *paths;
    size_t path_count, path_capacity;
    struct uqff_sink **sinks; /* side files */
    size_t sink_count, sink_capacity;
};

/* Makes a directory and remembers it, unless it is there. */
enum uqff_code uqff_run_folder_make(struct run_folder *folder, const char *path,
                                    struct uqff_error *err);
/* Notes a path that is about to be published, so that it can be taken back. Copied. */
enum uqff_code uqff_run_folder_expect(struct run_folder *folder, const char *path,
                                      struct uqff_error *err);
/* Writes a side file under a temporary name, in a folder of the directory where it has one. */
enum uqff_code uqff_run_folder_side(struct run_folder *folder, const struct uqff_model *model,
                                    const char *directory, const struct pack_side *side,
                                    bool overwrite, struct uqff_error *err);
/* Gives the side files their names. */
enum uqff_code uqff_run_folder_publish(struct run_folder *folder, struct uqff_error *err);
/* Closes. Unless `keep`, removes what was published and the directories that were made. */
void uqff_run_folder_close(struct run_folder *folder, bool keep);

#endif
