/* Models on a text, side by side: each batch goes through all of them, and then slab by slab the
 * base's logits meet the candidates', so that no more than two slabs are ever held. */
#include <string.h>

#include "validation/measure.h"

/* ---- how a text is cut ----------------------------------------------------------------------- */

static enum uqff_code fail_short(size_t found, size_t needed, const char *why, size_t context,
                                 struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "the text is too short: found %zu token%s, expected at least %zu%s of %zu",
                     found, found == 1 ? "" : "s", needed, why, context);
}

/* Side by side, the second half of each chunk is scored. With a stride, windows overlap so that
 * each scored token but the first ones has the same long past, and windows are longer by half a
 * stride. */
enum uqff_code uqff_measure_plan(const struct uqff_measure_options *options, size_t token_count,
                                 size_t least_chunks, struct measure_plan *out,
                                 struct uqff_error *err) {
    size_t context = options->context != 0 ? options->context : 512, stride = options->stride;
    if (context < 4 || context > SIZE_MAX / 4) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "found a context of %zu tokens, expected at least 4", context);
    }
    if (stride >= context) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "found a stride of %zu tokens, expected less than the context, %zu",
                         stride, context);
    }
    if (stride != 0) {
        context += stride / 2;
        if (token_count <= context) {
            return fail_short(token_count, context + 1, ", one more than a window", context, err);
        }
        *out = (struct measure_plan){
            .chunks = (token_count - context + stride - 1) / stride,
            .step = stride,
            .length = context,
            .first = context - stride - 1,
            .end = context - 1,
        };
    } else {
        if (token_count / context < least_chunks) {
            return fail_short(token_count, least_chunks * context,
                              least_chunks == 1 ? ", a chunk" : ", two chunks", context, err);
        }
        *out = (struct measure_plan){
            .chunks = token_count / context,
            .step = context,
            .length = context,
            .first = context / 2,
            .end = context - 1,
        };
    }
    if (options->chunks != 0 && options->chunks < out->chunks) {
        out->chunks = options->chunks;
    }
    return UQFF_OK;
}

/* ---- the models ------------------------------------------------------------------------------ */

struct runner { /* one model */
    struct uqff_transformer *transformer;
    struct uqff_sequence *sequence;
    struct tally tally;
};

struct measuring {
    const struct measure_task *task;
    struct measure_plan plan;
    struct runner base, *candidates;
    const struct uqff_ops *ops;
    unsigned threads;
    size_t vocabulary, slab_rows;
    struct room base_slab, slab, shapes, scores, window;
    /* The rows that are being scored. */
    const float *rows, *base_rows;
    const uint32_t *following;
};

static bool has_base(const struct measuring *m) {
    return m->task->base != NULL || m->task->hook.read != NULL;
}

static enum uqff_code open_runner(const struct measuring *m, const struct uqff_model *model,
                                  struct runner *out, struct uqff_error *err) {
    const struct uqff_transformer_options options = {.exact = m->task->options.exact,
                                                     .threads = m->threads};
    enum uqff_code code = uqff_transformer_open(model, &options, &out->transformer, err);
    return code != UQFF_OK
               ? code
               : uqff_sequence_new(out->transformer, m->plan.length, &out->sequence, err);
}

static void close_runner(struct runner *runner) {
    uqff_sequence_free(runner->sequence);
    uqff_transformer_close(runner->transformer);
    uqff_tally_free(&runner->tally);
}

static enum uqff_code check_vocabulary(struct measuring *m, const struct runner *runner,
                                       struct uqff_error *err) {
    size_t found = runner->transformer->vocabulary;
    if (m->vocabulary == 0) {
        m->vocabulary = found;
    }
    return found == m->vocabulary
               ? UQFF_OK
               : uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                           "%s: found a vocabulary of %zu tokens, expected the %zu of what it is "
                           "compared with",
                           uqff_model_path(runner->transformer->model), found, m->vocabulary);
}

static enum uqff_code open_models(struct measuring *m, struct uqff_error *err) {
    const struct measure_task *task = m->task;
    enum uqff_code code = UQFF_OK;
    m->vocabulary = task->vocabulary;
    if (task->base != NULL) {
        code = open_runner(m, task->base, &m->base, err);
        code = code != UQFF_OK ? code : check_vocabulary(m, &m->base, err);
    }
    for (size_t i = 0; i < task->count && code == UQFF_OK; i++) {
        code = open_runner(m, task->candidates[i], &m->candidates[i], err);
        code = code != UQFF_OK ? code : check_vocabulary(m, &m->candidates[i], err);
    }
    return code;
}

static enum uqff_code check_tokens(const struct measuring *m, struct uqff_error *err) {
    const struct measure_task *task = m->task;
    if (task->add_bos && task->bos >= m->vocabulary) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "found %u as the token that begins a text, expected one below %zu",
                         task->bos, m->vocabulary);
    }
    for (size_t i = 0; i < task->token_count; i++) {
        if (task->tokens[i] >= m->vocabulary) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "token %zu of the text: found id %u, expected one below %zu, the rows "
                             "of the embedding",
                             i, task->tokens[i], m->vocabulary);
        }
    }
    return UQFF_OK;
}

static enum uqff_code make_room(struct measuring *m, struct uqff_error *err) {
    size_t scored = m->plan.end - m->plan.first;
    m->slab_rows = uqff_slab_rows(m->vocabulary);
    m->slab_rows = m->slab_rows < scored ? m->slab_rows : scored;
    enum uqff_code code = uqff_room(&m->slab, m->slab_rows, m->vocabulary * sizeof(float), err);
    if (code == UQFF_OK && has_base(m)) {
        code = uqff_room(&m->base_slab, m->slab_rows, m->vocabulary * sizeof(float), err);
    }
    code =
        code != UQFF_OK ? code : uqff_room(&m->shapes, m->slab_rows, sizeof(struct row_shape), err);
    code = code != UQFF_OK ? code : uqff_room(&m->scores, m->slab_rows, sizeof(struct score), err);
    return code != UQFF_OK ? code : uqff_room(&m->window, m->plan.length, sizeof(uint32_t), err);
}

/* ---- scoring --------------------------------------------------------------------------------- */

static enum uqff_code shape_row(void *context, size_t row, unsigned thread,
                                struct uqff_error *err) {
    struct measuring *m = context;
    struct row_shape *shape = (struct row_shape *)m->shapes.data + row;
    (void)thread, (void)err;
    *shape = uqff_row_shape(m->ops, m->base_rows + row * m->vocabulary, m->vocabulary);
    if (m->task->base == NULL) {
        shape->log_sum = 0; /* rows of a file are logarithms of probabilities */
    }
    return UQFF_OK;
}

static enum uqff_code score_row(void *context, size_t row, unsigned thread,
                                struct uqff_error *err) {
    struct measuring *m = context;
    const float *base = m->base_rows != NULL ? m->base_rows + row * m->vocabulary : NULL;
    (void)thread, (void)err;
    ((struct score *)m->scores.data)[row] = uqff_score_row(
        m->ops, m->rows + row * m->vocabulary, base, (const struct row_shape *)m->shapes.data + row,
        m->vocabulary, m->following[row]);
    return UQFF_OK;
}

/* Rows [first, first + count) of the batch, whose token 0 is token `batch` of the chunk. */
static enum uqff_code score_slab(struct measuring *m, size_t chunk, size_t batch, size_t first,
                                 size_t count, struct uqff_error *err) {
    const struct measure_task *task = m->task;
    size_t position = batch + first, scored = position - m->plan.first;
    enum uqff_code code = UQFF_OK;
    m->following = task->tokens + chunk * m->plan.step + position + 1;
    m->base_rows = NULL;
    if (has_base(m)) {
        m->base_rows = m->base_slab.data;
        code =
            task->base != NULL
                ? uqff_sequence_logits(m->base.sequence, first, count, m->base_slab.data, err)
                : task->hook.read(task->hook.context, chunk, scored, count, m->base_slab.data, err);
        code = code != UQFF_OK ? code : uqff_parallel_for(count, m->threads, shape_row, m, err);
    }
    for (size_t i = 0; i < task->count && code == UQFF_OK; i++) {
        struct runner *runner = &m->candidates[i];
        const struct score *scores = m->scores.data;
        m->rows = m->slab.data;
        code = uqff_sequence_logits(runner->sequence, first, count, m->slab.data, err);
        code = code != UQFF_OK ? code : uqff_parallel_for(count, m->threads, score_row, m, err);
        for (size_t r = 0; r < count && code == UQFF_OK; r++) {
            code = uqff_tally_add(&runner->tally, &scores[r], has_base(m), err);
        }
        if (code == UQFF_OK && i == 0 && task->hook.write != NULL) {
            code = task->hook.write(task->hook.context, chunk, scored, count, m->rows, err);
        }
    }
    return code;
}

/* Tokens [batch, batch + count) of a chunk through all models. */
static enum uqff_code run_batch(struct measuring *m, size_t chunk, size_t batch, size_t count,
                                struct uqff_error *err) {
    const uint32_t *tokens = (const uint32_t *)m->window.data + batch;
    enum uqff_code code = UQFF_OK;
    if (m->base.sequence != NULL) {
        code = uqff_sequence_forward(m->base.sequence, tokens, count, err);
    }
    for (size_t i = 0; i < m->task->count && code == UQFF_OK; i++) {
        code = uqff_sequence_forward(m->candidates[i].sequence, tokens, count, err);
    }
    size_t first = m->plan.first > batch ? m->plan.first - batch : 0;
    for (size_t i = first; i < count && code == UQFF_OK; i += m->slab_rows) {
        size_t left = count - i;
        code = score_slab(m, chunk, batch, i, left < m->slab_rows ? left : m->slab_rows, err);
    }
    return code;
}

static enum uqff_code run_chunk(struct measuring *m, size_t chunk, struct uqff_error *err) {
    const struct measure_task *task = m->task;
    uint32_t *window = m->window.data;
    enum uqff_code code = UQFF_OK;
    memcpy(window, task->tokens + chunk * m->plan.step, m->plan.length * sizeof *window);
    /* llama.cpp never comes to it where it strides. */
    if (task->add_bos && task->options.stride == 0) {
        window[0] = task->bos;
    }
    if (m->base.sequence != NULL) {
        uqff_sequence_reset(m->base.sequence);
    }
    for (size_t i = 0; i < task->count; i++) {
        uqff_sequence_reset(m->candidates[i].sequence);
    }
    for (size_t i = 0; i < m->plan.end && code == UQFF_OK; i += UQFF_BATCH) {
        size_t left = m->plan.end - i;
        code = run_batch(m, chunk, i, left < UQFF_BATCH ? left : UQFF_BATCH, err);
    }
    return code;
}

static void estimate(struct measuring *m, size_t chunks, struct uqff_measure *out) {
    for (size_t i = 0; i < m->task->count; i++) {
        out[i].chunks = chunks;
        uqff_tally_estimate(&m->candidates[i].tally, has_base(m), &out[i]);
    }
}

/* ---- all together ---------------------------------------------------------------------------- */

static enum uqff_code run_all(struct measuring *m, struct uqff_measure *out,
                              struct uqff_error *err) {
    const struct measure_task *task = m->task;
    enum uqff_code code = open_models(m, err);
    code = code != UQFF_OK ? code : check_tokens(m, err);
    code = code != UQFF_OK ? code : make_room(m, err);
    for (size_t chunk = 0; chunk < m->plan.chunks && code == UQFF_OK; chunk++) {
        code = run_chunk(m, chunk, err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "chunk %zu", chunk + 1);
            break;
        }
        estimate(m, chunk + 1, out);
        if (task->progress != NULL &&
            !task->progress(task->progress_context, chunk + 1, m->plan.chunks, out)) {
            code = uqff_fail(err, UQFF_E_CANCELLED, UQFF_NO_OFFSET,
                             "stopped after chunk %zu of %zu", chunk + 1, m->plan.chunks);
        }
    }
    for (size_t i = 0; i < task->count && code == UQFF_OK; i++) {
        uqff_tally_percentiles(&m->candidates[i].tally, &out[i]);
    }
    return code;
}

enum uqff_code uqff_measure_run(const struct measure_task *task, struct uqff_measure *out,
                                struct uqff_error *err) {
    struct measuring m = {.task = task, .ops = uqff_ops_in_use(), .threads = task->options.threads};
    enum uqff_code code =
        uqff_measure_plan(&task->options, task->token_count, task->least_chunks, &m.plan, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (m.threads == 0) {
        m.threads = uqff_available_threads();
    }
    m.candidates = uqff_alloc_array(task->count, sizeof *m.candidates);
    struct uqff_measure *measures = uqff_alloc_array(task->count, sizeof *measures);
    code = m.candidates == NULL || measures == NULL ? uqff_fail_memory(err)
                                                    : run_all(&m, measures, err);
    if (code == UQFF_OK) {
        memcpy(out, measures, task->count * sizeof *out);
    }
    close_runner(&m.base);
    for (size_t i = 0; m.candidates != NULL && i < task->count; i++) {
        close_runner(&m.candidates[i]);
    }
    uqff_free(m.candidates);
    uqff_free(measures);
    struct room *const rooms[] = {&m.base_slab, &m.slab, &m.shapes, &m.scores, &m.window};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        uqff_room_free(rooms[i]);
    }
    return code;
}

enum uqff_code uqff_measure(const struct uqff_model *base,
                            const struct uqff_model *const *candidates, size_t count,
                            const uint32_t *tokens, size_t token_count, uint32_t bos, bool add_bos,
                            const struct uqff_measure_options *options,
                            uqff_measure_progress *progress, void *context,
                            struct uqff_measure *out, struct uqff_error *err) {
    static const struct uqff_measure_options defaults = {0};
    const struct measure_task task = {
        .base = base,
        .candidates = candidates,
        .count = count,
        .tokens = tokens,
        .token_count = token_count,
        .bos = bos,
        .add_bos = add_bos,
        .least_chunks = 2,
        .options = options != NULL ? *options : defaults,
        .progress = progress,
        .progress_context = context,
    };
    return uqff_measure_run(&task, out, err);
}
