#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "pack/slab.h"

enum {
    ALIGNMENT = 64,        /* of a region in a slab */
    CHUNK_FLOATS = 65536,  /* rows that one task takes, unless a row is longer */
    CHUNK_BYTES = 1 << 20, /* the same, for rows that are only copied */
    DEFAULT_MEMORY = 256 << 20,
    USEFUL_SLAB = 32 << 20, /* more would only put off writing what is encoded */
};

/* ---- slabs ----------------------------------------------------------------------------------- */

/* Some rows of one item, and where they lie in the slab: the raw rows, then each encoded form,
 * every region aligned. */
struct segment {
    struct slab_item *item;
    uint64_t first, rows;
    size_t offset;
};

/* Rows that one task reads and encodes. */
struct chunk {
    size_t segment;
    uint64_t first, rows;                /* in the segment */
    uint64_t nonfinite, first_nonfinite; /* element of the item */
};

/* One thing to be done with a finished segment. */
struct delivery {
    size_t segment;
    const struct slab_form *form; /* NULL: hash */
    const struct slab_target *target;
};

struct slab {
    unsigned char *bytes;
    size_t used;
    struct segment *segments;
    size_t segment_count, segment_capacity;
    struct chunk *chunks;
    size_t chunk_count, chunk_capacity;
    struct delivery *deliveries;
    size_t delivery_count, delivery_capacity;
};

struct run {
    struct slab_job *job;
    const struct slab_options *options;
    const struct uqff_progress *progress;
    struct slab_sizes sizes;
    struct slab slabs[2];
    struct slab *filling, *emptying;
    float *scratch; /* chunk_floats a thread */
    size_t next_item;
    uint64_t total;
    atomic_uint_least64_t done; /* bytes of source read */
};

static uint64_t align(uint64_t n) {
    return (n + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

static size_t encoded_count(const struct slab_item *item) {
    size_t count = 0;
    for (size_t i = 0; i < item->form_count; i++) {
        count += !item->forms[i].raw;
    }
    return count;
}

/* Where the rows of a form begin in the slab; of the raw rows with NULL. The raw region is first.
 */
static unsigned char *region(const struct slab *slab, const struct segment *segment,
                             const struct slab_form *form) {
    const struct slab_item *item = segment->item;
    size_t offset = segment->offset;
    if (form == NULL || form->raw) {
        return slab->bytes + offset;
    }
    offset += (size_t)align(segment->rows * item->raw_bytes);
    for (const struct slab_form *other = item->forms; other != form; other++) {
        offset += other->raw ? 0 : (size_t)align(segment->rows * other->row_bytes);
    }
    return slab->bytes + offset;
}

static uint64_t segment_bytes(const struct slab_item *item, uint64_t rows) {
    uint64_t bytes = align(rows * item->raw_bytes);
    for (size_t i = 0; i < item->form_count; i++) {
        bytes += item->forms[i].raw ? 0 : align(rows * item->forms[i].row_bytes);
    }
    return bytes;
}

uint64_t uqff_slab_item_bytes(const struct slab_item *item) {
    return item->rows * (item->raw_bytes != 0 ? item->raw_bytes : item->columns * sizeof(float));
}

/* ---- sizes ----------------------------------------------------------------------------------- */

enum uqff_code uqff_slab_job_sizes(const struct slab_job *job, const struct slab_options *options,
                                   struct slab_sizes *out, struct uqff_error *err) {
    uint64_t memory = options->memory != 0 ? options->memory : DEFAULT_MEMORY;
    uint64_t columns = 1, cost = ALIGNMENT, all = ALIGNMENT;
    bool decode = false;
    for (size_t i = 0; i < job->count; i++) {
        const struct slab_item *item = &job->items[i];
        uint64_t padding = ALIGNMENT * (1 + encoded_count(item)), whole = 0;
        if (!uqff_add_u64(item->row_cost, padding, &padding) || padding > UINT64_MAX / 4 ||
            item->columns > UINT64_MAX / 16) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET, "%s: a row is too large",
                             item->name);
        }
        padding = align(padding);
        cost = padding > cost ? padding : cost;
        columns = item->decode && item->columns > columns ? item->columns : columns;
        decode = decode || item->decode;
        if (!uqff_mul_u64(item->row_cost, item->rows, &whole) ||
            !uqff_add_u64(whole, padding, &whole) || !uqff_add_u64(all, whole, &all)) {
            all = UINT64_MAX;
        }
    }
    uint64_t least = columns * sizeof(float);
    if (!uqff_mul_u64(cost, 2, &cost) || !uqff_add_u64(least, cost, &least)) {
        least = UINT64_MAX;
    }
    if (memory < least) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%" PRIu64 " bytes of memory (--memory) hold no two slabs of the longest "
                         "row, which take %" PRIu64,
                         memory, least);
    }
    /* The threads' scratch may take a quarter of what is there, as far as one thread's row allows.
     */
    uint64_t floats = memory / 4 / sizeof(float);
    out->threads = options->threads != 0 ? options->threads : uqff_available_threads();
    floats = floats / out->threads < CHUNK_FLOATS ? floats / out->threads : CHUNK_FLOATS;
    out->chunk_floats = floats > columns ? floats : columns;
    uint64_t scratch = out->chunk_floats * sizeof(float);
    uint64_t left = memory - cost;
    if (scratch > left) {
        out->chunk_floats = columns;
        scratch = columns * sizeof(float);
    }
    if (out->threads > left / scratch) {
        out->threads = left / scratch > 0 ? (unsigned)(left / scratch) : 1;
    }
    out->capacity = (memory - out->threads * scratch) / 2 & ~(uint64_t)(ALIGNMENT - 1);
    /* `cost` is that of two slabs of one row each. */
    uint64_t useful = cost / 2 > USEFUL_SLAB ? cost / 2 : USEFUL_SLAB;
    out->capacity = out->capacity < useful ? out->capacity : useful;
    out->capacity = out->capacity < all ? out->capacity : align(all);
    if (!decode) {
        out->chunk_floats = 0;
    }
    return UQFF_OK;
}

/* ---- filling --------------------------------------------------------------------------------- */

static enum uqff_code add_chunks(const struct run *run, struct slab *slab, size_t index,
                                 struct uqff_error *err) {
    const struct segment *segment = &slab->segments[index];
    const struct slab_item *item = segment->item;
    uint64_t step = item->decode
                        ? run->sizes.chunk_floats / item->columns
                        : (item->raw_bytes < CHUNK_BYTES ? CHUNK_BYTES / item->raw_bytes : 1);
    for (uint64_t first = 0; first < segment->rows; first += step) {
        enum uqff_code code = uqff_grow((void **)&slab->chunks, &slab->chunk_capacity,
                                        slab->chunk_count + 1, sizeof *slab->chunks, err);
        if (code != UQFF_OK) {
            return code;
        }
        uint64_t left = segment->rows - first;
        slab->chunks[slab->chunk_count++] = (struct chunk){
            .segment = index,
            .first = first,
            .rows = left < step ? left : step,
        };
    }
    return UQFF_OK;
}

static enum uqff_code add_delivery(struct slab *slab, struct delivery delivery,
                                   struct uqff_error *err) {
    enum uqff_code code = uqff_grow((void **)&slab->deliveries, &slab->delivery_capacity,
                                    slab->delivery_count + 1, sizeof delivery, err);
    if (code == UQFF_OK) {
        slab->deliveries[slab->delivery_count++] = delivery;
    }
    return code;
}

static enum uqff_code add_deliveries(struct slab *slab, size_t index, struct uqff_error *err) {
    const struct slab_item *item = slab->segments[index].item;
    enum uqff_code code = UQFF_OK;
    if (item->parts != NULL) {
        code = add_delivery(slab, (struct delivery){.segment = index}, err);
    }
    for (size_t i = 0; i < item->form_count && code == UQFF_OK; i++) {
        const struct slab_form *form = &item->forms[i];
        for (size_t k = 0; k < form->target_count && code == UQFF_OK; k++) {
            struct delivery delivery = {index, form, &form->targets[k]};
            code = add_delivery(slab, delivery, err);
        }
    }
    return code;
}

/* Takes as many of the rows that are left as the slab holds. */
static enum uqff_code fill(struct run *run, struct slab *slab, struct uqff_error *err) {
    slab->used = slab->segment_count = slab->chunk_count = slab->delivery_count = 0;
    while (run->next_item < run->job->count) {
        struct slab_item *item = &run->job->items[run->next_item];
        uint64_t left = item->rows - item->next_row;
        if (left == 0) {
            run->next_item++;
            continue;
        }
        uint64_t room = run->sizes.capacity - slab->used;
        uint64_t padding = ALIGNMENT * (1 + encoded_count(item));
        uint64_t rows = room <= padding       ? 0
                        : item->row_cost == 0 ? left
                                              : (room - padding) / item->row_cost;
        if (rows == 0) {
            break;
        }
        rows = rows < left ? rows : left;
        enum uqff_code code = uqff_grow((void **)&slab->segments, &slab->segment_capacity,
                                        slab->segment_count + 1, sizeof *slab->segments, err);
        if (code != UQFF_OK) {
            return code;
        }
        size_t index = slab->segment_count++;
        slab->segments[index] = (struct segment){item, item->next_row, rows, slab->used};
        slab->used += (size_t)segment_bytes(item, rows);
        item->next_row += rows;
        code = add_chunks(run, slab, index, err);
        if (code == UQFF_OK) {
            code = add_deliveries(slab, index, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

/* ---- reading and encoding a chunk ------------------------------------------------------------ */

static enum uqff_code read_raw_run(const struct run *run, const struct slab_item *item,
                                   uint64_t first, uint64_t rows, void *out,
                                   struct uqff_error *err) {
    if (item->kind == SLAB_MODULE) {
        return uqff_model_module_raw_rows(run->job->model, item->index, first, rows, out, err);
    }
    return uqff_model_read(run->job->model, item->index, first * item->raw_bytes, out,
                           (size_t)(rows * item->raw_bytes), err);
}

static enum uqff_code read_float_run(const struct run *run, const struct slab_item *item,
                                     uint64_t first, uint64_t rows, float *out,
                                     struct uqff_error *err) {
    if (item->kind == SLAB_MODULE) {
        return uqff_model_module_rows(run->job->model, item->index, first, rows, out, err);
    }
    return uqff_model_read_rows(run->job->model, item->index, first, rows, out, err);
}

/* Raw rows, or float32 where there are none; one by one where they come in another order. */
static enum uqff_code read_rows(const struct run *run, const struct slab_item *item, uint64_t first,
                                uint64_t rows, unsigned char *raw, float *x,
                                struct uqff_error *err) {
    uint64_t step = item->heads == 0 ? rows : 1;
    enum uqff_code code = UQFF_OK;
    for (uint64_t i = 0; i < rows && code == UQFF_OK; i += step) {
        uint64_t row = uqff_slab_item_row(item, first + i);
        if (item->raw_bytes != 0) {
            code = read_raw_run(run, item, row, step, raw + i * item->raw_bytes, err);
        } else {
            code = read_float_run(run, item, row, step, x + i * item->columns, err);
        }
    }
    return code;
}

/* Counts what is not finite, or will not be as a half, and notes the first, as an element of the
 * item. */
static void scan(const struct slab_item *item, const float *x, size_t n, uint64_t base,
                 struct chunk *chunk) {
    /* From here on binary16 rounds to infinity. */
    float limit = item->halves ? 65520.0f : INFINITY;
    for (size_t i = item->halves ? 0 : uqff_find_nonfinite(x, n); i < n; i++) {
        if (!(fabsf(x[i]) < limit)) {
            chunk->first_nonfinite = chunk->nonfinite == 0 ? base + i : chunk->first_nonfinite;
            chunk->nonfinite++;
        }
    }
}

static enum uqff_code encode_form(const struct slab_item *item, const struct slab_form *form,
                                  const float *x, uint64_t first, uint64_t rows, unsigned char *out,
                                  struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(form->type);
    if (info != NULL && (info->flags & UQFF_TYPE_IS_FLOAT) != 0) {
        return uqff_quantize_row(form->type, x, out, (size_t)(rows * item->columns), NULL, err);
    }
    for (uint64_t i = 0; i < rows; i++) {
        const float *importance = item->importance;
        if (importance != NULL) {
            importance += (first + i) / item->rows_per_matrix * item->columns;
        }
        enum uqff_code code =
            uqff_quantize_row(form->type, x + i * item->columns, out + i * form->row_bytes,
                              (size_t)item->columns, importance, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

static enum uqff_code encode_chunk(struct run *run, struct chunk *chunk, float *x,
                                   struct uqff_error *err) {
    const struct slab *slab = run->filling;
    const struct segment *segment = &slab->segments[chunk->segment];
    const struct slab_item *item = segment->item;
    uint64_t first = segment->first + chunk->first;
    size_t n = (size_t)(chunk->rows * item->columns);
    unsigned char *raw = NULL;
    enum uqff_code code = UQFF_OK;
    if (item->raw_bytes != 0) {
        raw = region(slab, segment, NULL) + chunk->first * item->raw_bytes;
    }
    code = read_rows(run, item, first, chunk->rows, raw, x, err);
    if (code == UQFF_OK && item->decode && raw != NULL) {
        code = uqff_dequantize_row(item->type, raw, x, n, err);
    }
    if (code != UQFF_OK || !item->decode) {
        return code;
    }
    for (size_t i = 0; i < n && item->shift != 0; i++) {
        x[i] += item->shift;
    }
    scan(item, x, n, first * item->columns, chunk);
    if (chunk->nonfinite > 0 && !run->options->allow_nonfinite) {
        /* Reported by the caller, for the lowest chunk of all. */
        return UQFF_OK;
    }
    for (size_t i = 0; i < item->form_count; i++) {
        const struct slab_form *form = &item->forms[i];
        if (form->raw) {
            continue;
        }
        unsigned char *out = region(slab, segment, form) + chunk->first * form->row_bytes;
        code = encode_form(item, form, x, first, chunk->rows, out, err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "%s", item->name);
            return code;
        }
    }
    return UQFF_OK;
}

/* ---- delivering a segment -------------------------------------------------------------------- */

static enum uqff_code hash_segment(struct run *run, const struct segment *segment,
                                   const unsigned char *raw, struct uqff_error *err) {
    struct slab_item *item = segment->item;
    if (item->hasher == NULL && (item->hasher = uqff_hasher_new()) == NULL) {
        return uqff_fail_memory(err);
    }
    uint64_t row = segment->first, end = segment->first + segment->rows;
    while (row < end) {
        uint64_t stop =
            item->part + 1 < item->part_count ? item->parts[item->part + 1].first_row : item->rows;
        uint64_t until = stop < end ? stop : end;
        size_t n = (size_t)((until - row) * item->raw_bytes);
        uqff_hasher_update(item->hasher, raw, n);
        raw += n;
        row = until;
        if (row == stop) {
            run->job->digests[item->parts[item->part].tensor] = uqff_hasher_digest(item->hasher);
            uqff_hasher_reset(item->hasher);
            item->part++;
        }
    }
    if (end == item->rows) {
        uqff_hasher_free(item->hasher);
        item->hasher = NULL;
    }
    return UQFF_OK;
}

static enum uqff_code deliver(struct run *run, const struct delivery *delivery,
                              struct uqff_error *err) {
    const struct slab *slab = run->emptying;
    const struct segment *segment = &slab->segments[delivery->segment];
    const unsigned char *bytes = region(slab, segment, delivery->form);
    if (delivery->form == NULL) {
        return hash_segment(run, segment, bytes, err);
    }
    return delivery->target->append(delivery->target->place, delivery->target->entry, bytes,
                                    (size_t)(segment->rows * delivery->form->row_bytes), err);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static enum uqff_code report_progress(struct run *run, struct uqff_error *err) {
    return uqff_progress_update(run->progress, run->options->stage, atomic_load(&run->done),
                                run->total, err);
}

static enum uqff_code work(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    struct run *run = context;
    if (i < run->emptying->delivery_count) {
        return deliver(run, &run->emptying->deliveries[i], err);
    }
    struct chunk *chunk = &run->filling->chunks[i - run->emptying->delivery_count];
    float *x = run->scratch == NULL ? NULL : run->scratch + thread * run->sizes.chunk_floats;
    enum uqff_code code = encode_chunk(run, chunk, x, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct slab_item *item = run->filling->segments[chunk->segment].item;
    atomic_fetch_add(&run->done, uqff_slab_item_bytes(item) / item->rows * chunk->rows);
    /* Thread 0 is the one that called: progress is promised to come from one thread. */
    return thread == 0 ? report_progress(run, err) : UQFF_OK;
}

/* Names the tensor of an item's element, and the element's place in it. */
static const char *locate(const struct run *run, const struct slab_item *item, uint64_t element,
                          uint64_t *place) {
    uint64_t row = uqff_slab_item_row(item, element / item->columns), inner = row;
    const char *name = item->name;
    if (item->kind == SLAB_MODULE) {
        const char *source =
            uqff_model_module_source_name(run->job->model, item->index, row, &inner);
        name = source != NULL ? source : name;
    }
    *place = inner * item->columns + element % item->columns;
    return name;
}

/* Chunks are looked at in order, so the element named is the first one whoever found it. */
static enum uqff_code check_finite(struct run *run, struct uqff_error *err) {
    for (size_t i = 0; i < run->filling->chunk_count; i++) {
        const struct chunk *chunk = &run->filling->chunks[i];
        if (chunk->nonfinite == 0) {
            continue;
        }
        struct slab_item *item = run->filling->segments[chunk->segment].item;
        if (!run->options->allow_nonfinite) {
            uint64_t place = 0;
            const char *name = locate(run, item, chunk->first_nonfinite, &place);
            return uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                             "%s: tensor '%s': element %" PRIu64
                             " is NaN or infinite%s, expected finite weights",
                             uqff_model_path(run->job->model), name, place,
                             item->halves ? " or too large for F16" : "");
        }
        if (item->nonfinite == 0) {
            item->first_nonfinite = chunk->first_nonfinite;
        }
        item->nonfinite += chunk->nonfinite;
    }
    return UQFF_OK;
}

static void warn_nonfinite(const struct run *run) {
    for (size_t i = 0; i < run->job->count; i++) {
        const struct slab_item *item = &run->job->items[i];
        if (item->nonfinite > 0) {
            uint64_t place = 0;
            const char *name = locate(run, item, item->first_nonfinite, &place);
            uqff_warn(run->options->warner,
                      "tensor '%s': %" PRIu64
                      " elements are NaN or infinite%s, the first of them element %" PRIu64,
                      name, item->nonfinite, item->halves ? " or too large for F16" : "", place);
        }
    }
}

static enum uqff_code loop(struct run *run, struct uqff_error *err) {
    run->filling = &run->slabs[0];
    run->emptying = &run->slabs[1];
    for (;;) {
        enum uqff_code code = fill(run, run->filling, err);
        if (code != UQFF_OK) {
            return code;
        }
        size_t tasks = run->emptying->delivery_count + run->filling->chunk_count;
        if (tasks == 0) {
            return UQFF_OK;
        }
        code = uqff_parallel_for(tasks, run->sizes.threads, work, run, err);
        if (code == UQFF_OK) {
            code = check_finite(run, err);
        }
        if (code == UQFF_OK) {
            code = report_progress(run, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
        struct slab *filled = run->filling;
        run->filling = run->emptying;
        run->emptying = filled;
    }
}

/* Tensors without a byte are never read; their digest is that of nothing. */
static void hash_empty(struct slab_job *job) {
    for (size_t i = 0; i < job->count; i++) {
        const struct slab_item *item = &job->items[i];
        for (size_t k = 0; item->rows == 0 && k < item->part_count; k++) {
            job->digests[item->parts[k].tensor] = uqff_hash("", 0);
        }
    }
}

enum uqff_code uqff_slab_job_run(struct slab_job *job, const struct slab_options *options,
                                 const struct uqff_progress *progress, struct uqff_error *err) {
    struct run run = {.job = job, .options = options, .progress = progress};
    enum uqff_code code = uqff_slab_job_complete(job, err);
    if (code == UQFF_OK) {
        code = uqff_slab_job_sizes(job, options, &run.sizes, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < job->count; i++) {
        run.total += uqff_slab_item_bytes(&job->items[i]);
    }
    atomic_init(&run.done, 0);
    size_t capacity = (size_t)run.sizes.capacity;
    if (run.sizes.chunk_floats > 0) {
        run.scratch = uqff_alloc_aligned(
            (size_t)(run.sizes.threads * run.sizes.chunk_floats * sizeof(float)));
    }
    run.slabs[0].bytes = uqff_alloc_aligned(capacity);
    run.slabs[1].bytes = uqff_alloc_aligned(capacity);
    if (run.slabs[0].bytes == NULL || run.slabs[1].bytes == NULL ||
        (run.scratch == NULL && run.sizes.chunk_floats > 0)) {
        code = uqff_fail_memory(err);
        goto out;
    }
    hash_empty(job);
    code = loop(&run, err);
    if (code == UQFF_OK) {
        warn_nonfinite(&run);
    }
out:
    for (size_t i = 0; i < 2; i++) {
        uqff_free_aligned(run.slabs[i].bytes);
        uqff_free(run.slabs[i].segments);
        uqff_free(run.slabs[i].chunks);
        uqff_free(run.slabs[i].deliveries);
    }
    uqff_free_aligned(run.scratch);
    return code;
}
