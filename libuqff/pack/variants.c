#include "pack/variants.h"

static enum uqff_code rewrite(struct variants *v, const char *path,
                              const struct uqff_progress *progress, struct uqff_error *err) {
    struct uqff_container_options options = {
        .warner = v->edit->pack != NULL ? v->edit->pack->warner : NULL,
    };
    enum uqff_code code = uqff_container_open(path, &options, &v->old, err);
    if (code == UQFF_OK) {
        code = uqff_variants_describe(v, err);
    }
    return code == UQFF_OK ? uqff_variants_write(v, progress, err) : code;
}

enum uqff_code uqff_variants_rewrite(const char *path, const struct uqff_variants_edit *edit,
                                     const struct uqff_progress *progress, struct uqff_error *err) {
    struct variants v = {.edit = edit};
    enum uqff_code code = rewrite(&v, path, progress, err);
    uqff_container_plan_free(v.plan);
    uqff_imatrix_close(v.added.imatrix);
    uqff_arena_free(&v.added.arena);
    uqff_container_close(v.old);
    uqff_arena_free(&v.arena);
    return code;
}
