#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "pack/slab.h"

/* Some rows of one item, raw and in each of its forms. */
struct slab {
    unsigned char *bytes;
    struct slab_item *item;
    uint64_t first, rows;
    bool encoded;
    uint64_t nonfinite, first_nonfinite; /* element of the item */
};

/* Takes the slabs in the order of their numbers, one at a time. */
struct stream {
    uint64_t next;
    bool busy; /* some thread is at it */
};

struct run {
    struct slab_job *job;
    const struct slab_options *options;
    const struct uqff_progress *progress;
    struct slab_sizes sizes;
    unsigned char *bytes; /* of all slabs */
    float *scratch;       /* scratch_floats a thread */
    uint64_t total;
    atomic_uint_least64_t done; /* bytes of source read */

    /* What follows, items while they run and what slabs hold besides bytes is guarded by the lock.
     * A slab's bytes belong to the thread that encodes it, then to all that its streams are in. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting;
    struct slab *slabs; /* number n is at n modulo their count */
    struct stream *streams;
    size_t stream_count;
    uint64_t oldest, newest; /* numbers in work: from `oldest` to before `newest` */
    size_t next_item;
    /* The failure with the smallest number. Numbers are handed out in order and what has begun
     * ends, so it is the same whatever the number of threads. */
    enum uqff_code code;
    uint64_t failed_at;
    struct uqff_error error;
};

static struct slab *slab_of(const struct run *run, uint64_t number) {
    return &run->slabs[number % run->sizes.slabs];
}

/* ---- reading and encoding a slab ------------------------------------------------------------- */

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
        return uqff_model_read_module_rows(run->job->model, item->index, first, rows, out, err);
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
static void scan(struct slab *slab, const float *x, size_t n, uint64_t base) {
    const struct slab_item *item = slab->item;
    /* From here on binary16 rounds to infinity. */
    float limit = item->halves ? 65520.0f : INFINITY;
    for (size_t i = item->halves ? 0 : uqff_find_nonfinite(x, n); i < n; i++) {
        if (!(fabsf(x[i]) < limit)) {
            slab->first_nonfinite = slab->nonfinite == 0 ? base + i : slab->first_nonfinite;
            slab->nonfinite++;
        }
    }
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

/* Unless it may be: the slab of the smallest number fails, so the element named is the first one
 * whoever found it. */
static enum uqff_code check_finite(const struct run *run, const struct slab *slab,
                                   struct uqff_error *err) {
    if (slab->nonfinite == 0 || run->options->allow_nonfinite) {
        return UQFF_OK;
    }
    uint64_t place = 0;
    const char *name = locate(run, slab->item, slab->first_nonfinite, &place);
    return uqff_fail(err, UQFF_E_NONFINITE, UQFF_NO_OFFSET,
                     "%s: tensor '%s': element %" PRIu64
                     " is NaN or infinite%s, expected finite weights",
                     uqff_model_path(run->job->model), name, place,
                     slab->item->halves ? " or too large for F16" : "");
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

/* Rows of the slab that the scratch holds. */
static enum uqff_code encode_rows(const struct run *run, struct slab *slab, uint64_t first,
                                  uint64_t rows, float *x, struct uqff_error *err) {
    const struct slab_item *item = slab->item;
    size_t n = (size_t)(rows * item->columns);
    unsigned char *raw = item->raw_bytes != 0 ? slab->bytes + first * item->raw_bytes : NULL;
    enum uqff_code code = read_rows(run, item, slab->first + first, rows, raw, x, err);
    if (code == UQFF_OK && item->decode && raw != NULL) {
        code = uqff_dequantize_row(item->type, raw, x, n, err);
    }
    if (code != UQFF_OK || !item->decode) {
        return code;
    }
    for (size_t i = 0; i < n && item->shift != 0; i++) {
        x[i] += item->shift;
    }
    scan(slab, x, n, (slab->first + first) * item->columns);
    code = check_finite(run, slab, err);
    for (size_t i = 0; i < item->form_count && code == UQFF_OK; i++) {
        const struct slab_form *form = &item->forms[i];
        if (!form->raw) {
            unsigned char *out =
                slab->bytes + uqff_slab_region(item, slab->rows, form) + first * form->row_bytes;
            code = encode_form(item, form, x, slab->first + first, rows, out, err);
            if (code != UQFF_OK) {
                uqff_error_prefix(err, "%s", item->name);
            }
        }
    }
    return code;
}

static enum uqff_code encode(const struct run *run, struct slab *slab, float *x,
                             struct uqff_error *err) {
    const struct slab_item *item = slab->item;
    uint64_t step = slab->rows;
    if (item->decode && item->columns > 0) {
        step = run->sizes.scratch_floats / item->columns;
    }
    enum uqff_code code = UQFF_OK;
    for (uint64_t first = 0; first < slab->rows && code == UQFF_OK; first += step) {
        uint64_t left = slab->rows - first;
        code = encode_rows(run, slab, first, step < left ? step : left, x, err);
    }
    return code;
}

/* ---- delivering a slab ----------------------------------------------------------------------- */

static enum uqff_code hash_rows(struct run *run, const struct slab *slab, struct uqff_error *err) {
    struct slab_item *item = slab->item;
    const unsigned char *raw = slab->bytes;
    if (item->hasher == NULL && (item->hasher = uqff_hasher_new()) == NULL) {
        return uqff_fail_memory(err);
    }
    uint64_t row = slab->first, end = slab->first + slab->rows;
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

static enum uqff_code append(const struct slab *slab, size_t stream, struct uqff_error *err) {
    const struct slab_item *item = slab->item;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < item->form_count; i++) {
        const struct slab_form *form = &item->forms[i];
        const unsigned char *bytes = slab->bytes + uqff_slab_region(item, slab->rows, form);
        for (size_t k = 0; k < form->delivery_count && code == UQFF_OK; k++) {
            const struct slab_target *target = &form->deliveries[k].target;
            if (form->deliveries[k].stream == stream) {
                code = target->append(target->place, target->entry, bytes,
                                      (size_t)(slab->rows * form->row_bytes), err);
            }
        }
    }
    return code;
}

static enum uqff_code deliver(struct run *run, const struct slab *slab, size_t stream,
                              struct uqff_error *err) {
    if (stream > 0) {
        return append(slab, stream, err);
    }
    return slab->item->parts == NULL ? UQFF_OK : hash_rows(run, slab, err);
}

/* ---- what is to be done next ----------------------------------------------------------------- */

static void fail(struct run *run, uint64_t number, enum uqff_code code,
                 const struct uqff_error *err) {
    if (run->code == UQFF_OK || number < run->failed_at) {
        run->code = code;
        run->failed_at = number;
        run->error = *err;
    }
}

/* A stream that nobody is in, that is so many slabs behind, at least one, and whose next slab is
 * ready; or NULL. */
static struct stream *ready_stream(const struct run *run, uint64_t behind) {
    for (size_t i = 0; i < run->stream_count && run->code == UQFF_OK; i++) {
        struct stream *stream = &run->streams[i];
        if (!stream->busy && run->newest - stream->next >= behind &&
            slab_of(run, stream->next)->encoded) {
            return stream;
        }
    }
    return NULL;
}

static bool rows_are_left(const struct run *run) {
    return run->next_item < run->job->count;
}

static bool may_begin(const struct run *run) {
    return run->code == UQFF_OK && rows_are_left(run) &&
           run->newest - run->oldest < run->sizes.slabs;
}

static bool is_finished(const struct run *run) {
    return run->code != UQFF_OK || (!rows_are_left(run) && run->oldest == run->newest);
}

/* Whether half of the slabs can be filled, or wait for a stream. Less this thread does by itself in
 * the time that another takes to wake. */
static bool wants_help(const struct run *run) {
    uint64_t half = run->sizes.slabs / 2;
    return (may_begin(run) && run->newest - run->oldest <= half) || ready_stream(run, half) != NULL;
}

/* Lets others go on while this thread is at something. One of those who wait is woken if there is
 * enough to do besides, and looks in turn whether there is more. */
static void leave(struct run *run) {
    if (run->waiting > 0 && wants_help(run)) {
        pthread_cond_signal(&run->changed);
    }
    pthread_mutex_unlock(&run->lock);
}

static void skip_complete_items(struct run *run) {
    while (rows_are_left(run) &&
           run->job->items[run->next_item].next_row == run->job->items[run->next_item].rows) {
        run->next_item++;
    }
}

/* The next rows, in a slab of the next number. */
static struct slab *begin(struct run *run) {
    struct slab_item *item = &run->job->items[run->next_item];
    struct slab *slab = slab_of(run, run->newest++);
    uint64_t step = uqff_slab_item_step(item, &run->sizes), left = item->rows - item->next_row;
    *slab = (struct slab){
        .bytes = slab->bytes,
        .item = item,
        .first = item->next_row,
        .rows = step < left ? step : left,
    };
    item->next_row += slab->rows;
    skip_complete_items(run);
    return slab;
}

static void note_nonfinite(const struct slab *slab) {
    struct slab_item *item = slab->item;
    if (slab->nonfinite > 0) {
        if (item->nonfinite == 0 || slab->first_nonfinite < item->first_nonfinite) {
            item->first_nonfinite = slab->first_nonfinite;
        }
        item->nonfinite += slab->nonfinite;
    }
}

/* ---- the threads ----------------------------------------------------------------------------- */

static enum uqff_code report_progress(struct run *run, struct uqff_error *err) {
    return uqff_progress_update(run->progress, run->options->stage, atomic_load(&run->done),
                                run->total, err);
}

static void encode_next(struct run *run, unsigned thread) {
    struct uqff_error err;
    uint64_t number = run->newest;
    struct slab *slab = begin(run);
    leave(run);
    float *x = run->scratch == NULL ? NULL : run->scratch + thread * run->sizes.scratch_floats;
    enum uqff_code code = encode(run, slab, x, &err);
    atomic_fetch_add(&run->done, uqff_slab_item_bytes(slab->item) / slab->item->rows * slab->rows);
    /* Progress is promised to come from one thread. */
    if (code == UQFF_OK && thread == 0) {
        code = report_progress(run, &err);
    }
    pthread_mutex_lock(&run->lock);
    if (code != UQFF_OK) {
        fail(run, number, code, &err);
        return;
    }
    note_nonfinite(slab);
    slab->encoded = true;
}

static void deliver_next(struct run *run, struct stream *stream) {
    struct uqff_error err;
    const struct slab *slab = slab_of(run, stream->next);
    stream->busy = true;
    leave(run);
    enum uqff_code code = deliver(run, slab, (size_t)(stream - run->streams), &err);
    pthread_mutex_lock(&run->lock);
    stream->busy = false;
    if (code != UQFF_OK) {
        fail(run, stream->next, code, &err);
        return;
    }
    stream->next++;
    run->oldest = run->newest;
    for (size_t i = 0; i < run->stream_count; i++) {
        run->oldest = run->streams[i].next < run->oldest ? run->streams[i].next : run->oldest;
    }
}

/* What one thread does from beginning to end; one alone would do it all. Delivering comes first,
 * while what was encoded is at hand. */
static enum uqff_code work(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    struct run *run = context;
    (void)i, (void)err;
    pthread_mutex_lock(&run->lock);
    while (!is_finished(run)) {
        struct stream *stream = ready_stream(run, 1);
        if (stream != NULL) {
            deliver_next(run, stream);
        } else if (may_begin(run)) {
            encode_next(run, thread);
        } else {
            run->waiting++;
            pthread_cond_wait(&run->changed, &run->lock);
            run->waiting--;
        }
    }
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->lock);
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

/* Tensors without a byte are never read; their digest is that of nothing. */
static void hash_empty(struct slab_job *job) {
    for (size_t i = 0; i < job->count; i++) {
        const struct slab_item *item = &job->items[i];
        for (size_t k = 0; item->rows == 0 && k < item->part_count; k++) {
            job->digests[item->parts[k].tensor] = uqff_hash("", 0);
        }
    }
}

static enum uqff_code allocate(struct run *run, struct uqff_error *err) {
    const struct slab_sizes *sizes = &run->sizes;
    size_t capacity = (size_t)sizes->capacity;
    run->stream_count = 1;
    for (size_t i = 0; i < run->job->count; i++) {
        size_t places = run->job->items[i].place_count;
        run->stream_count = places + 1 > run->stream_count ? places + 1 : run->stream_count;
    }
    run->streams = uqff_alloc_array(run->stream_count, sizeof *run->streams);
    run->slabs = uqff_alloc_array(sizes->slabs, sizeof *run->slabs);
    run->bytes = uqff_alloc_aligned(sizes->slabs * capacity);
    if (sizes->scratch_floats > 0) {
        run->scratch =
            uqff_alloc_aligned((size_t)(sizes->threads * sizes->scratch_floats * sizeof(float)));
    }
    if (run->streams == NULL || run->slabs == NULL || run->bytes == NULL ||
        (run->scratch == NULL && sizes->scratch_floats > 0)) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < sizes->slabs; i++) {
        run->slabs[i].bytes = run->bytes + i * capacity;
    }
    return UQFF_OK;
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
    pthread_mutex_init(&run.lock, NULL);
    pthread_cond_init(&run.changed, NULL);
    code = allocate(&run, err);
    if (code != UQFF_OK) {
        goto out;
    }
    hash_empty(job);
    skip_complete_items(&run);
    code = uqff_parallel_for(run.sizes.threads, run.sizes.threads, work, &run, err);
    if (code == UQFF_OK && run.code != UQFF_OK) {
        code = run.code;
        if (err != NULL) {
            *err = run.error;
        }
    }
    if (code == UQFF_OK) {
        code = report_progress(&run, err);
    }
    if (code == UQFF_OK) {
        warn_nonfinite(&run);
    }
out:
    pthread_cond_destroy(&run.changed);
    pthread_mutex_destroy(&run.lock);
    uqff_free_aligned(run.bytes);
    uqff_free_aligned(run.scratch);
    uqff_free(run.slabs);
    uqff_free(run.streams);
    return code;
}
