/* Collecting: every matrix of a layer, and the experts of each for themselves, sees its inputs'
 * squares summed by column, over all positions of all chunks. */
#include <string.h>

#include "validation/importance.h"
#include "validation/measure.h"

struct collecting {
    struct uqff_importance *importance;
    struct uqff_transformer *transformer;
    const struct uqff_model *model;
    bool process_output;
    /* What went wrong in the observer, which cannot fail itself. */
    enum uqff_code code;
    struct uqff_error *err;
    /* The module that was seen last: experts come one after another. */
    const char *module;
    struct importance_entry *entry;
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

/* Finds the entry of a module, or leaves c->entry NULL when it is not collected. */
static enum uqff_code find_entry(struct collecting *c, const char *module, size_t columns) {
    uint64_t matrices = 1;
    bool with_ending = false;
    const char *name = find_gguf_name(c->model, module, &matrices, &with_ending);
    c->module = module;
    c->entry = NULL;
    if (name == NULL || !is_wanted(c, name)) {
        return UQFF_OK;
    }
    struct uqff_buffer full = {0};
    uqff_buffer_printf(&full, "%s%s", name, with_ending ? "" : ".weight");
    enum uqff_code code = full.failed
                              ? uqff_fail_memory(c->err)
                              : uqff_importance_entry(c->importance, full.data, (size_t)matrices,
                                                      columns, &c->entry, c->err);
    uqff_buffer_free(&full);
    return code;
}

/* ---- sums ------------------------------------------------------------------------------------ */

static void see_input(void *context, const char *module, int64_t expert, const float *rows,
                      size_t row_count, size_t columns) {
    struct collecting *c = context;
    if (c->code != UQFF_OK) {
        return;
    }
    if (c->module != module) {
        c->code = find_entry(c, module, columns);
    }
    if (c->code != UQFF_OK || c->entry == NULL) {
        return;
    }
    size_t matrix = expert < 0 ? 0 : (size_t)expert;
    double *sums = c->entry->sums + matrix * columns;
    for (size_t r = 0; r < row_count; r++, rows += columns) {
        for (size_t k = 0; k < columns; k++) {
            double value = (double)rows[k];
            sums[k] += value * value;
        }
    }
    c->entry->counts[matrix] += (double)row_count;
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
    struct collecting c = {.model = model, .process_output = asked->process_output, .err = err};
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
