/*
 * recompute: encodes things again from the source and compares them with what a file holds.
 *
 * This is packing with the outputs turned round: the engine that fills slabs for a writer appends
 * to a comparison instead. Nothing is held in memory but slabs.
 */
#ifndef UQFF_PACK_RECOMPUTE_H
#define UQFF_PACK_RECOMPUTE_H

#include "pack/plan.h"
#include "pack/slab.h"
#include "pack/verify.h"

/* What the file holds for one thing that is computed again: a range of a source, or a module or
 * tensor of a model. */
struct expected {
    const char *name;
    const char *what; /* "Q4_K", "bias", "residual" */
    struct uqff_source *source;
    uint64_t offset;
    const struct uqff_model *model;
    size_t index; /* of the module or tensor, with `model` */
    bool is_module;
    uint64_t row_bytes; /* for telling the row */
    uint64_t cursor, first_difference;
    bool differs;
};

struct recompute {
    struct verify *verify;
    const struct uqff_model *source;
    struct slab_job *job;
    struct uqff_arena arena;
    struct expected *expected;
    size_t count, capacity;
    struct named_tensor *tensors; /* of the source, by Hugging Face name */
    size_t tensor_count;
    const char *where;       /* the file, for messages */
    bool without_importance; /* blobs that importance shaped cannot be made again */
};

#define RECOMPUTE_FAIL(recompute, ...)                                                             \
    uqff_findings_add((recompute)->verify, UQFF_FAILURE, "recompute", __VA_ARGS__)

/* Begins with options->recompute as the source. `digests`: hash its tensors on the way. End it in
 * any case. */
enum uqff_code uqff_recompute_begin(struct recompute *recompute, struct verify *verify,
                                    const char *where, bool digests, struct uqff_error *err);
void uqff_recompute_end(struct recompute *recompute);

/* Importance and types come from the functions of packing itself: `plan` is one that lacks all that
 * concerns outputs. End it in any case. */
enum uqff_code uqff_recompute_plan(const struct recompute *recompute, struct uqff_pack_plan *plan,
                                   struct uqff_error *err);
void uqff_recompute_plan_end(struct uqff_pack_plan *plan);

/* Index in the source, or UQFF_NONE. */
size_t uqff_recompute_find_tensor(const struct recompute *recompute, const char *name);
bool uqff_recompute_same_shape(const uint64_t *a, unsigned rank_a, const uint64_t *b,
                               unsigned rank_b);

/* Adds something to be compared; *target is to be handed to the slab job. */
enum uqff_code uqff_recompute_expect(struct recompute *recompute, const struct expected *expected,
                                     struct slab_target *target, struct uqff_error *err);
/* Computes and compares everything, and tells what differs. */
enum uqff_code uqff_recompute_run(struct recompute *recompute, const struct uqff_pack_plan *plan,
                                  struct uqff_error *err);

#endif
