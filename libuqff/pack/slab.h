/*
 * The engine of packing. A job is a list of what shall be read from a model; each item is read
 * once, turned into float32 once, encoded in every form that somebody asked for, and appended
 * wherever that form is wanted. Memory is bounded by a few slabs, whatever the size of the model:
 *
 *     model --read, decode, scan, encode--> slab --hash--> digest of the source
 *                                                --append--> each place where it is wanted
 *
 * A slab holds as many rows of one item as fit a processor's cache with all that is made of them,
 * so that what is hashed and written has not left it yet. Slabs are numbered as they are begun and
 * come to every place in that order; which thread encodes, hashes or appends one, and how many are
 * on their way, is left to chance. Each row is encoded by itself, so neither the number of threads
 * nor the size of a slab can change a byte.
 */
#ifndef UQFF_PACK_SLAB_H
#define UQFF_PACK_SLAB_H

#include "uqff/pack.h"

/* Takes the next n bytes of an entry. Called for different entries from different threads. */
typedef enum uqff_code slab_append(void *place, size_t entry, const void *bytes, size_t n,
                                   struct uqff_error *err);

struct slab_target {
    slab_append *append;
    void *place;
    size_t entry;
};

/* A target's stream appends one slab at a time: targets of one item have the same if they are at
 * one place, where they would but wait for each other. 0 is the stream that hashes the source. */
struct slab_delivery {
    struct slab_target target;
    size_t stream;
};

/* One encoding of an item. */
struct slab_form {
    uint32_t type;
    bool raw;           /* the source's own bytes */
    uint64_t row_bytes; /* of one row so encoded */
    struct slab_delivery *deliveries;
    size_t delivery_count, delivery_capacity;
};

/* Rows from `first_row` on are the whole of a source tensor, in its own order. */
struct slab_part {
    uint64_t first_row;
    size_t tensor;
};

enum slab_kind {
    SLAB_MODULE, /* rows of a module */
    SLAB_FLOATS, /* rows of a tensor, as float32 */
    SLAB_BYTES,  /* bytes of a tensor: a row is one byte */
};

struct slab_item {
    enum slab_kind kind;
    size_t index;     /* of the module, or of the tensor */
    const char *name; /* for messages */
    uint64_t rows, columns;
    uint32_t type;      /* of raw rows; UQFF_NO_TYPE when rows are to be had as float32 only */
    uint64_t raw_bytes; /* of a raw row; 0 with UQFF_NO_TYPE */
    bool decode;        /* rows become float32, to be scanned and perhaps encoded */
    bool halves;        /* some of them become F16, which has a smaller range */
    struct slab_form *forms;
    size_t form_count, form_capacity;
    size_t place_count;            /* of distinct places where forms are wanted */
    uint64_t row_cost;             /* bytes that a row takes in a slab */
    uint64_t heads;                /* not 0: rows come in the order that a GGUF keeps them in */
    float shift;                   /* added to every value */
    const float *importance;       /* one vector a matrix, or NULL */
    uint64_t rows_per_matrix;      /* with importance */
    const struct slab_part *parts; /* what to hash as it passes by; NULL: nothing */
    size_t part_count;

    /* While running. */
    uint64_t next_row;
    struct uqff_hasher *hasher;
    size_t part; /* that is being hashed */
    uint64_t nonfinite, first_nonfinite;
};

struct slab_job {
    const struct uqff_model *model;
    struct uqff_arena arena;
    struct slab_item *items; /* residual tensors, biases, modules, then what is only hashed */
    size_t count;
    size_t module_count;
    size_t *modules, *biases, *tensors; /* item of a module, a module's bias, a tensor; UQFF_NONE */
    bool for_gguf;
    bool want_digests;
    struct uqff_digest *digests; /* of every tensor, complete after the run */
    bool *streamed;              /* the tensor's digest is taken while its rows pass by */
};

struct slab_options {
    uint64_t memory;  /* bytes for everything that grows with rows; 0: 256 MiB */
    unsigned threads; /* 0: all available */
    bool allow_nonfinite;
    const char *stage; /* for progress */
    const struct uqff_warner *warner;
};

/* An empty job. With `digests` every tensor of the model is hashed as well, in passing where its
 * bytes are read in order anyway. The model must outlive the job. */
enum uqff_code uqff_slab_job_new(const struct uqff_model *model, bool digests,
                                 struct slab_job **out, struct uqff_error *err);
void uqff_slab_job_free(struct slab_job *job);

/* Ask for a module, its bias, or the bytes of a tensor in some form at some place. */
enum uqff_code uqff_slab_job_module(struct slab_job *job, size_t module, uint32_t type,
                                    const struct slab_target *target, struct uqff_error *err);
enum uqff_code uqff_slab_job_bias(struct slab_job *job, size_t module, uint32_t type,
                                  const struct slab_target *target, struct uqff_error *err);
enum uqff_code uqff_slab_job_tensor(struct slab_job *job, size_t tensor,
                                    const struct slab_target *target, struct uqff_error *err);
/* The same for a tensor whose values are wanted as `type`, not its bytes; not both for one tensor.
 */
enum uqff_code uqff_slab_job_floats(struct slab_job *job, size_t tensor, uint32_t type,
                                    const struct slab_target *target, struct uqff_error *err);
/* From here on rows of modules and biases are asked for in the order that a GGUF keeps them in, and
 * floats with what a GGUF adds to them. For jobs without digests. */
void uqff_slab_job_for_gguf(struct slab_job *job);
/* Importance of a module's columns: one vector of `columns` a matrix, `matrices` of them. Borrowed.
 */
void uqff_slab_job_importance(struct slab_job *job, size_t module, const float *values,
                              uint64_t matrices);

/* Reads, encodes, appends and hashes everything. Called once. */
enum uqff_code uqff_slab_job_run(struct slab_job *job, const struct slab_options *options,
                                 const struct uqff_progress *progress, struct uqff_error *err);

/* Completes the list of items: what is decoded, what is hashed. The first step of the run. */
enum uqff_code uqff_slab_job_complete(struct slab_job *job, struct uqff_error *err);

/* ---- slab_layout.c: how the memory is shared out, and what lies where in a slab -------------- */

struct slab_sizes {
    unsigned threads;
    uint64_t scratch_floats; /* of a thread, for the rows that it has as float32 */
    uint64_t capacity;       /* bytes of a slab, a multiple of the alignment of its regions */
    size_t slabs;            /* at least 2 */
};
/* Fails unless the memory holds two slabs of the longest row. */
enum uqff_code uqff_slab_job_sizes(const struct slab_job *job, const struct slab_options *options,
                                   struct slab_sizes *out, struct uqff_error *err);
/* Rows of an item that go into one slab: at least one, at most all. */
uint64_t uqff_slab_item_step(const struct slab_item *item, const struct slab_sizes *sizes);
/* Where the rows of a form begin in a slab of so many rows; of the raw rows with NULL. */
size_t uqff_slab_region(const struct slab_item *item, uint64_t rows, const struct slab_form *form);

/* The row of the source that comes as `row`. */
uint64_t uqff_slab_item_row(const struct slab_item *item, uint64_t row);

/* Bytes of source that an item reads. */
uint64_t uqff_slab_item_bytes(const struct slab_item *item);

#endif
