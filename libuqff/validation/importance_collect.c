/* Collecting: every matrix of a layer, and the experts of each for themselves, sees its inputs'
 * squares summed by column, over all positions of all chunks. */
#include <string.h>

#include "validation/importance.h"
#include "validation/measure.h"

/* Where a module's sums are; NULL: it is not collected. They stay where they are when entries are
 * added, the entries themselves do not. */
struct place {
    const char *module;
    double *sums, *counts;
};

/* The modules seen last: an expert's three matrices come by in turn, expert after expert. */
enum { PLACES = 4 };

struct collecting {
    struct uqff_importance *importance;
    struct uqff_transformer *transformer;
    const struct uqff_model *model;
    bool process_output;
    unsigned threads;
    /* What went wrong in the observer, which cannot fail itself. */
    enum uqff_code code;
    struct uqff_error *err;
    struct place places[PLACES];
    size_t next_place;
};

/* ---- names ----------------------------------------------------------------------------------- */

static const char *find_gguf_name(const struct uqff_model *model, const char *module,
                                  uint64_t *matrices, bool *with_ending) {
    size_t n = strlen(module);
    for (size_t i = 0; i < uqff_model_module_count(model); i++) {
        const struct uqff_model_module *found = uqff_model_module(model, i);
        if (strcmp(found->name, module) == 0) {
            *matrices = found->rank == 3 ? found->shape[0] : 1;
            *with_ending = false;
            return found->gguf_name;
        }
    }
    /* Routers are no modules. */
    for (size_t i = 0; i < uqff_model_tensor_count(model); i++) {
        const struct uqff_tensor *tensor = uqff_model_tensor(model, i);
        if (strncmp(tensor->hf_name, module, n) == 0 &&
            strcmp(tensor->hf_name + n, ".weight") == 0) {
            *matrices = 1;
            *with_ending = true;
            return tensor->gguf_name;
        }
    }
    return NULL;
}

static bool is_wanted(const struct collecting *c, const char *name) {
    return strncmp(name, "blk.", 4) == 0 || c->process_output;
}

/* Finds where a module's inputs are summed, or makes that place. */
static const struct place *find_place(struct collecting *c, const char *module, size_t columns) {
    for (size_t i = 0; i < PLACES; i++) {
        if (c->places[i].module == module) {
            return &c->places[i];
        }
    }
    uint64_t matrices = 1;
    bool with_ending = false;
    const char *name = find_gguf_name(c->model, module, &matrices, &with_ending);
    struct place *place = &c->places[c->next_place];
    *place = (struct place){NULL, NULL, NULL};
    if (name != NULL && is_wanted(c, name)) {
        struct importance_entry *entry = NULL;
        struct uqff_buffer full = {0};
        uqff_buffer_printf(&full, "%s%s", name, with_ending ? "" : ".weight");
        c->code = full.failed ? uqff_fail_memory(c->err)
                              : uqff_importance_entry(c->importance, full.data, (size_t)matrices,
                                                      columns, &entry, c->err);
        uqff_buffer_free(&full);
        if (c->code != UQFF_OK) {
            return NULL;
        }
        place->sums = entry->sums;
        place->counts = entry->counts;
    }
    place->module = module;
    c->next_place = (c->next_place + 1) % PLACES;
    return place;
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* Columns that are summed together: few enough for their sums to stay in the nearest cache. */
enum { STRIPE = 64 };

struct stripes {
    const float *rows;
    size_t row_count, columns;
    double *sums;
};

/* Every column is summed by one thread, from the first row to the last: how many threads there are
 * changes no sum. A square of a float32 is exact in a double. */
static enum uqff_code sum_stripe(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    const struct stripes *s = context;
    const size_t first = i * STRIPE;
    const size_t count = s->columns - first < STRIPE ? s->columns - first : STRIPE;
    const float *row = s->rows + first;
    double sums[STRIPE] = {0};
    (void)thread, (void)err;
    memcpy(sums, s->sums + first, count * sizeof *sums);
    if (count == STRIPE) {
        for (size_t r = 0; r < s->row_count; r++, row += s->columns) {
            /* A number of rounds that the compiler knows, for it to use vectors. */
            for (size_t k = 0; k < STRIPE; k++) {
                sums[k] += (double)row[k] * (double)row[k];
            }
        }
    } else {
        for (size_t r = 0; r < s->row_count; r++, row += s->columns) {
            for (size_t k = 0; k < count; k++) {
                sums[k] += (double)row[k] * (double)row[k];
            }
        }
    }
    memcpy(s->sums + first, sums, count * sizeof *sums);
    return UQFF_OK;
}

/* Fewer values than these are summed before a second thread has begun. */
enum { VALUES_WORTH_THREADS = 65536 };

/* NaN and infinity are not looked for: the product that this is the input of refuses them, and
 * names the module and the token. */
static void see_input(void *context, const char *module, int64_t expert, const float *rows,
                      size_t row_count, size_t columns) {
    struct collecting *c = context;
    const struct place *place = c->code == UQFF_OK ? find_place(c, module, columns) : NULL;
    if (place == NULL || place->sums == NULL) {
        return;
    }
    const size_t matrix = expert < 0 ? 0 : (size_t)expert;
    struct stripes stripes = {rows, row_count, columns, place->sums + matrix * columns};
    const unsigned threads = row_count * columns < VALUES_WORTH_THREADS ? 1 : c->threads;
    c->code =
        uqff_parallel_for((columns + STRIPE - 1) / STRIPE, threads, sum_stripe, &stripes, c->err);
    place->counts[matrix] += (double)row_count;
}

/* Logits are not looked at; asking for them brings the head's input by. */
static enum uqff_code ignore(void *context, size_t first, size_t count, const float *logits,
                             struct uqff_error *err) {
    (void)context, (void)first, (void)count, (void)logits, (void)err;
    return UQFF_OK;
}

static enum uqff_code run_chunks(struct collecting *c, const struct measure_plan *plan,
                                 const uint32_t *tokens, uint32_t bos, bool add_bos,
                                 const struct uqff_progress *progress, struct uqff_error *err) {
    struct uqff_sequence *sequence = NULL;
    const struct uqff_observer observer = {.input = see_input, .context = c};
    const struct uqff_logits logits = {ignore, NULL};
    uint32_t *window = uqff_alloc_array(plan->length, sizeof *window);
    enum uqff_code code = window == NULL ? uqff_fail_memory(err) : UQFF_OK;
    if (code == UQFF_OK) {
        code = uqff_sequence_new(c->transformer, plan->length, &sequence, err);
    }
    for (size_t chunk = 0; chunk < plan->chunks && code == UQFF_OK; chunk++) {
        memcpy(window, tokens + chunk * plan->length, plan->length * sizeof *window);
        if (add_bos) {
            window[0] = bos;
        }
        uqff_sequence_reset(sequence);
        code = uqff_sequence_eval(sequence, window, plan->length,
                                  c->process_output ? 0 : plan->length, &logits, &observer, err);
        code = code != UQFF_OK ? code : c->code;
        code = code != UQFF_OK
                   ? code
                   : uqff_progress_update(progress, "collecting", chunk + 1, plan->chunks, err);
    }
    uqff_sequence_free(sequence);
    uqff_free(window);
    return code;
}

enum uqff_code uqff_importance_collect(const struct uqff_model *model, const uint32_t *tokens,
                                       size_t token_count, uint32_t bos, bool add_bos,
                                       const char *dataset,
                                       const struct uqff_collect_options *options,
                                       const struct uqff_progress *progress,
                                       struct uqff_importance **out, struct uqff_error *err) {
    static const struct uqff_collect_options defaults = {0};
    const struct uqff_collect_options *asked = options != NULL ? options : &defaults;
    const struct uqff_measure_options cut = {.context = asked->context, .chunks = asked->chunks};
    const struct uqff_transformer_options how = {.threads = asked->threads};
    struct collecting c = {.model = model,
                           .process_output = asked->process_output,
                           .threads = asked->threads,
                           .err = err};
    struct measure_plan plan;
    enum uqff_code code = uqff_measure_plan(&cut, token_count, 1, &plan, err);
    code = code != UQFF_OK ? code : uqff_transformer_open(model, &how, &c.transformer, err);
    if (code != UQFF_OK) {
        return code;
    }
    c.importance = uqff_importance_new();
    code = c.importance == NULL ? uqff_fail_memory(err)
                                : uqff_importance_dataset(c.importance, dataset, err);
    code = code != UQFF_OK ? code : run_chunks(&c, &plan, tokens, bos, add_bos, progress, err);
    uqff_transformer_close(c.transformer);
    if (code != UQFF_OK) {
        uqff_importance_free(c.importance);
        return code;
    }
    c.importance->chunks = plan.chunks;
    c.importance->chunk_size = plan.length;
    *out = c.importance;
    return UQFF_OK;
}
