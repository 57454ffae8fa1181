/* Writing what a plan or an export laid out. Nothing here is public. */
#ifndef UQFF_PACK_RUN_H
#define UQFF_PACK_RUN_H

#include <sys/types.h>

#include "pack/plan.h"
#include "pack/slab.h"

/* ---- run_tensors.c: a safetensors file that is filled entry by entry ------------------------- */

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

/* ---- run_direct.c: whole tensors of the source that become entries as they are --------------- */

struct run_whole {
    size_t tensor;
    struct uqff_source *source; /* NULL: its bytes are put together while they are read */
    uint64_t offset, bytes;
};
/* Whether a module is one tensor of the source, in its own order and of that type, and may be moved
 * unseen. */
bool uqff_run_whole_tensor(const struct uqff_model *model, size_t module, uint32_t type,
                           struct run_whole *out);

struct run_direct_item {
    size_t entry;
    struct run_whole whole;
};
/* Zero-initialise; `items` is freed by the owner. */
struct run_direct {
    struct run_direct_item *items;
    size_t count, capacity;
};
enum uqff_code uqff_run_direct_add(struct run_direct *direct, size_t entry,
                                   const struct run_whole *whole, struct uqff_error *err);
/* Moves all of them. Their digests go to the job, where it wants any. */
enum uqff_code uqff_run_direct_move(const struct run_direct *direct,
                                    struct uqff_container_writer *writer, struct slab_job *job,
                                    unsigned threads, const struct uqff_progress *progress,
                                    struct uqff_error *err);

/* ---- run_mxfp4.c: MXFP4 in a plain container, nibbles and exponents apart -------------------- */

struct run_mxfp4 {
    struct uqff_container_writer *writer;
    size_t weight, scales; /* entries */
};
/* A slab_append: whole blocks of ggml, 17 bytes each; the entry does not matter. */
enum uqff_code uqff_run_mxfp4_append(void *place, size_t entry, const void *bytes, size_t n,
                                     struct uqff_error *err);

/* ---- run_folder.c: a folder that gets files, or is left as it was ---------------------------- */

/* A final name, and what it stood for before. */
struct run_path {
    const char *path;
    bool existed;
    dev_t device;
    ino_t inode;
};

struct run_folder {
    struct uqff_arena arena;
    struct uqff_folder **made; /* in order */
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
