/* Editing the variants of a multi-quant file. Nothing here is public. */
#ifndef UQFF_PACK_VARIANTS_H
#define UQFF_PACK_VARIANTS_H

#include "pack/plan.h"

/* The old file, what it shall become, and the model that new blobs come from. */
struct variants {
    struct uqff_arena arena;
    const struct uqff_variants_edit *edit;
    struct uqff_container *old;
    struct uqff_pack_plan added; /* quants, importance and types of what is added; no outputs */
    const char *directory, *stem;
    struct uqff_container_spec spec;
    struct uqff_spec_module *modules;
    struct uqff_spec_variant *list;
    const struct uqff_residual **residual; /* the entry of every residual tensor of the spec */
    const struct uqff_residual **exact;    /* of every module's bias as the source had it; NULL */
    const char *source;                    /* uqff.multi.source */
    struct uqff_container_plan *plan;
};

/* ---- variants_spec.c ------------------------------------------------------------------------- */

/* Fills everything above from `old` and `edit`. */
enum uqff_code uqff_variants_describe(struct variants *v, struct uqff_error *err);

/* ---- variants_write.c ------------------------------------------------------------------------ */

/* Writes the planned file over the old one. */
enum uqff_code uqff_variants_write(struct variants *v, const struct uqff_progress *progress,
                                   struct uqff_error *err);

#endif
