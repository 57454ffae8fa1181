#include "pack/recompute.h"

#include <stdlib.h>
#include <string.h>

enum {
    PIECE = 256 << 10, /* bytes compared at a time */
    MEMORY = 64 << 20, /* of slabs */
};

struct named_tensor {
    const char *name;
    size_t index;
};

/* ---- comparing ------------------------------------------------------------------------------- */

static enum uqff_code read_expected(const struct expected *expected, uint64_t offset, void *out,
                                    size_t n, struct uqff_error *err) {
    if (expected->source != NULL) {
        return uqff_source_read(expected->source, expected->offset + offset, out, n, err);
    }
    if (!expected->is_module) {
        return uqff_model_read(expected->model, expected->index, offset, out, n, err);
    }
    return uqff_model_module_raw_rows(expected->model, expected->index,
                                      offset / expected->row_bytes, n / expected->row_bytes, out,
                                      err);
}

/* A slab_append. Bytes of an entry come in order and in whole rows. */
static enum uqff_code compare(void *place, size_t entry, const void *bytes, size_t n,
                              struct uqff_error *err) {
    struct expected *expected = &((struct recompute *)place)->expected[entry];
    const unsigned char *made = (const unsigned char *)bytes;
    size_t step = PIECE;
    if (expected->is_module) {
        const uint64_t rows = PIECE / expected->row_bytes;
        step = (size_t)((rows > 0 ? rows : 1) * expected->row_bytes);
    }
    step = step < n ? step : n;
    if (expected->differs || n == 0) {
        return UQFF_OK;
    }
    unsigned char *found = uqff_alloc(step);
    if (found == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    for (size_t at = 0; at < n && code == UQFF_OK && !expected->differs; at += step) {
        const size_t piece = n - at < step ? n - at : step;
        code = read_expected(expected, expected->cursor + at, found, piece, err);
        if (code == UQFF_OK && memcmp(found, made + at, piece) != 0) {
            size_t first = 0;
            while (found[first] == made[at + first]) {
                first++;
            }
            expected->differs = true;
            expected->first_difference = expected->cursor + at + first;
        }
    }
    expected->cursor += n;
    uqff_free(found);
    return code;
}

enum uqff_code uqff_recompute_expect(struct recompute *recompute, const struct expected *expected,
                                     struct slab_target *target, struct uqff_error *err) {
    enum uqff_code code = uqff_grow((void **)&recompute->expected, &recompute->capacity,
                                    recompute->count + 1, sizeof *recompute->expected, err);
    if (code == UQFF_OK) {
        *target = (struct slab_target){compare, recompute, recompute->count};
        recompute->expected[recompute->count++] = *expected;
    }
    return code;
}

static void report(struct recompute *recompute) {
    for (size_t i = 0; i < recompute->count; i++) {
        const struct expected *expected = &recompute->expected[i];
        if (expected->differs) {
            RECOMPUTE_FAIL(recompute, "%s: '%s' as %s: row %llu differs from what the source gives",
                           recompute->where, expected->name, expected->what,
                           (unsigned long long)(expected->first_difference / expected->row_bytes));
        }
    }
}

/* ---- the source's names ---------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct named_tensor *)a)->name, ((const struct named_tensor *)b)->name);
}

static enum uqff_code list_tensors(struct recompute *recompute, struct uqff_error *err) {
    const size_t count = uqff_model_tensor_count(recompute->source);
    recompute->tensors = uqff_arena_array(&recompute->arena, count, sizeof *recompute->tensors);
    if (recompute->tensors == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const struct uqff_tensor *tensor = uqff_model_tensor(recompute->source, i);
        recompute->tensors[i].name = tensor->hf_name != NULL ? tensor->hf_name : tensor->name;
        recompute->tensors[i].index = i;
    }
    recompute->tensor_count = count;
    if (count > 1) {
        qsort(recompute->tensors, count, sizeof *recompute->tensors, compare_names);
    }
    return UQFF_OK;
}

size_t uqff_recompute_find_tensor(const struct recompute *recompute, const char *name) {
    const struct named_tensor key = {name, 0};
    const struct named_tensor *found =
        bsearch(&key, recompute->tensors, recompute->tensor_count, sizeof key, compare_names);
    return found != NULL ? found->index : UQFF_NONE;
}

/* ---- setting up and running ------------------------------------------------------------------ */

enum uqff_code uqff_recompute_begin(struct recompute *recompute, struct verify *verify,
                                    const char *where, bool digests, struct uqff_error *err) {
    *recompute = (struct recompute){
        .verify = verify,
        .source = verify->options->recompute,
        .where = where,
    };
    enum uqff_code code = uqff_slab_job_new(recompute->source, digests, &recompute->job, err);
    return code == UQFF_OK ? list_tensors(recompute, err) : code;
}

enum uqff_code uqff_recompute_plan(const struct recompute *recompute, struct uqff_pack_plan *plan,
                                   struct uqff_error *err) {
    static const struct uqff_pack_options defaults = {.output = NULL};
    const struct uqff_pack_options *given = recompute->verify->options->pack;
    *plan = (struct uqff_pack_plan){
        .model = recompute->source,
        .options = given != NULL ? *given : defaults,
        .default_variant = UQFF_NONE,
    };
    plan->options.format = UQFF_PACK_UQFF;
    plan->options.default_quant = NULL;
    plan->options.allow_requantize = true;
    return uqff_pack_plan_importance(plan, err);
}

void uqff_recompute_plan_end(struct uqff_pack_plan *plan) {
    uqff_imatrix_close(plan->imatrix);
    uqff_arena_free(&plan->arena);
}

enum uqff_code uqff_recompute_run(struct recompute *recompute, const struct uqff_pack_plan *plan,
                                  struct uqff_error *err) {
    struct slab_options options = {
        .memory = plan->options.memory != 0 ? plan->options.memory : MEMORY,
        .threads = recompute->verify->options->threads,
        .allow_nonfinite = true, /* the comparison tells; the scan has warned */
        .stage = "recompute",
    };
    for (size_t i = 0; plan->importance != NULL && i < uqff_model_module_count(plan->model); i++) {
        const struct uqff_model_module *module = uqff_model_module(plan->model, i);
        if (plan->importance[i] != NULL) {
            uqff_slab_job_importance(recompute->job, i, plan->importance[i],
                                     module->rank == 3 ? module->shape[0] : 1);
        }
    }
    enum uqff_code code =
        uqff_slab_job_run(recompute->job, &options, recompute->verify->progress, err);
    if (code == UQFF_OK) {
        report(recompute);
    }
    return code;
}

void uqff_recompute_end(struct recompute *recompute) {
    uqff_slab_job_free(recompute->job);
    uqff_free(recompute->expected);
    uqff_arena_free(&recompute->arena);
}

bool uqff_recompute_same_shape(const uint64_t *a, unsigned rank_a, const uint64_t *b,
                               unsigned rank_b) {
    return rank_a == rank_b && memcmp(a, b, rank_a * sizeof *a) == 0;
}
