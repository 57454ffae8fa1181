#include <inttypes.h>

#include "pack/slab.h"

enum {
    ALIGNMENT = 64,         /* of a region in a slab */
    FULL_SLAB = 512 << 10,  /* unless a row takes more */
    SCRATCH_FLOATS = 65536, /* unless a row has more */
    SLABS_PER_THREAD = 4,   /* so many that nobody waits for a place of another speed */
    DEFAULT_MEMORY = 256 << 20,
};

/* ---- one slab -------------------------------------------------------------------------------- */

static uint64_t align(uint64_t n) {
    return (n + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

/* The raw region is first, then each encoded form has one, every region aligned. */
size_t uqff_slab_region(const struct slab_item *item, uint64_t rows, const struct slab_form *form) {
    if (form == NULL || form->raw) {
        return 0;
    }
    uint64_t offset = align(rows * item->raw_bytes);
    for (const struct slab_form *other = item->forms; other != form; other++) {
        offset += other->raw ? 0 : align(rows * other->row_bytes);
    }
    return (size_t)offset;
}

/* What the alignment of its regions takes of a slab at most. */
static uint64_t padding(const struct slab_item *item) {
    uint64_t regions = 1;
    for (size_t i = 0; i < item->form_count; i++) {
        regions += !item->forms[i].raw;
    }
    return ALIGNMENT * regions;
}

uint64_t uqff_slab_item_step(const struct slab_item *item, const struct slab_sizes *sizes) {
    uint64_t rows = item->rows;
    if (item->row_cost > 0) {
        uint64_t most = (sizes->capacity - padding(item)) / item->row_cost;
        rows = rows < most ? rows : most;
    }
    return rows;
}

uint64_t uqff_slab_item_bytes(const struct slab_item *item) {
    return item->rows * (item->raw_bytes != 0 ? item->raw_bytes : item->columns * sizeof(float));
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* What the items of a job ask for. */
struct needs {
    bool decode;
    uint64_t columns; /* of the longest row that is decoded */
    uint64_t row;     /* bytes of a slab with one row of any item */
};

static enum uqff_code add_needs(const struct slab_item *item, struct needs *needs,
                                struct uqff_error *err) {
    uint64_t row = 0;
    if (!uqff_add_u64(item->row_cost, padding(item), &row) || row > UINT64_MAX / 4 ||
        item->columns > UINT64_MAX / 16) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET, "%s: a row is too large",
                         item->name);
    }
    row = align(row);
    needs->row = row > needs->row ? row : needs->row;
    if (item->decode) {
        needs->columns = item->columns > needs->columns ? item->columns : needs->columns;
        needs->decode = true;
    }
    return UQFF_OK;
}

/* The threads' scratch may take a quarter of what is there, as far as one thread's row allows. */
static void share_scratch(const struct needs *needs, uint64_t memory, struct slab_sizes *out) {
    uint64_t floats = memory / 4 / sizeof(float) / out->threads;
    uint64_t left = memory - 2 * needs->row;
    floats = floats < SCRATCH_FLOATS ? floats : SCRATCH_FLOATS;
    out->scratch_floats = floats > needs->columns ? floats : needs->columns;
    if (out->scratch_floats * sizeof(float) > left) {
        out->scratch_floats = needs->columns;
    }
    uint64_t threads = left / (out->scratch_floats * sizeof(float));
    if (out->threads > threads) {
        out->threads = threads > 0 ? (unsigned)threads : 1;
    }
}

/* The slabs may take the rest. Little memory makes them smaller, down to two of one row. */
static void share_slabs(const struct needs *needs, uint64_t memory, struct slab_sizes *out) {
    uint64_t left = memory - out->threads * out->scratch_floats * sizeof(float);
    uint64_t each = left / out->threads / 2;
    out->capacity = each < FULL_SLAB ? each / ALIGNMENT * ALIGNMENT : FULL_SLAB;
    out->capacity = out->capacity > needs->row ? out->capacity : needs->row;
    uint64_t most = (uint64_t)out->threads * SLABS_PER_THREAD;
    out->slabs = (size_t)(left / out->capacity < most ? left / out->capacity : most);
}

/* Not more threads than there are slabs to be filled. */
static void limit_threads(const struct slab_job *job, struct slab_sizes *out) {
    uint64_t slabs = 0;
    for (size_t i = 0; i < job->count && slabs < out->threads; i++) {
        if (job->items[i].rows > 0) {
            slabs += (job->items[i].rows - 1) / uqff_slab_item_step(&job->items[i], out) + 1;
        }
    }
    if (slabs < out->threads) {
        out->threads = slabs > 0 ? (unsigned)slabs : 1;
    }
}

enum uqff_code uqff_slab_job_sizes(const struct slab_job *job, const struct slab_options *options,
                                   struct slab_sizes *out, struct uqff_error *err) {
    uint64_t memory = options->memory != 0 ? options->memory : DEFAULT_MEMORY;
    struct needs needs = {.columns = 1, .row = ALIGNMENT};
    for (size_t i = 0; i < job->count; i++) {
        enum uqff_code code = add_needs(&job->items[i], &needs, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    uint64_t least = needs.columns * sizeof(float);
    if (!uqff_add_u64(least, 2 * needs.row, &least)) {
        least = UINT64_MAX;
    }
    if (memory < least) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%" PRIu64 " bytes of memory (--memory) hold no two slabs of the longest "
                         "row, which take %" PRIu64,
                         memory, least);
    }
    out->threads = options->threads != 0 ? options->threads : uqff_available_threads();
    share_scratch(&needs, memory, out);
    share_slabs(&needs, memory, out);
    limit_threads(job, out);
    if (!needs.decode) {
        out->scratch_floats = 0;
    }
    return UQFF_OK;
}
