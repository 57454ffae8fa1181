/* validate: opens what is to be measured. */
#include <string.h>

#include "options.h"
#include "quantizations.h"
#include "validate.h"

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Bytes and weights of the modules, or where these are not known of all tensors. */
static void measure_size(const struct uqff_model *model, uint64_t *bytes, uint64_t *weights) {
    bool known = uqff_model_module_count(model) > 0;
    *bytes = *weights = 0;
    for (size_t i = 0; known && i < uqff_model_module_count(model); i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        uint64_t row = 0;
        known = module->type != UINT32_MAX &&
                uqff_row_bytes(module->type, module->columns, &row, NULL) == UQFF_OK;
        /* No overflow: the bytes are there, as opening has checked. */
        *bytes += row * module->rows;
        *weights += module->rows * module->columns;
    }
    if (known) {
        return;
    }
    *bytes = *weights = 0;
    for (size_t i = 0; i < uqff_model_tensor_count(model); i++) {
        *bytes += uqff_model_tensor(model, i)->bytes;
        *weights += uqff_model_tensor(model, i)->elements;
    }
}

/* ---- candidates ------------------------------------------------------------------------------ */

static bool has_variant_mark(const char *reference) {
    return strrchr(reference, '#') != NULL && !uqff_path_exists(reference);
}

/* Room is made whenever the count reaches a power of two. */
static struct candidate *add_candidate(struct validation *v) {
    if ((v->count & (v->count - 1)) == 0) {
        const size_t capacity = v->count == 0 ? 1 : 2 * v->count;
        struct candidate *grown = uqff_arena_array(&v->cli->arena, capacity, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        if (v->count > 0) {
            memcpy(grown, v->candidates, v->count * sizeof *grown);
        }
        v->candidates = grown;
    }
    return &v->candidates[v->count++];
}

static enum uqff_code open_one(struct validation *v, const char *reference,
                               const struct uqff_warner *warner, struct uqff_error *err) {
    const struct uqff_model_options options = {.warner = warner};
    struct candidate *candidate = add_candidate(v);
    if (candidate == NULL) {
        return uqff_fail_memory(err);
    }
    v->cli->file = reference;
    enum uqff_code code = uqff_model_open(reference, &options, &candidate->model, err);
    if (code != UQFF_OK) {
        candidate->model = NULL;
        return code;
    }
    const struct uqff_container *container = uqff_model_container(candidate->model);
    const size_t variant = uqff_model_variant(candidate->model);
    candidate->name = uqff_model_name(candidate->model);
    candidate->recipe = "";
    candidate->reference = reference;
    uqff_figures_clear(&candidate->figures);
    if (container != NULL && variant != UQFF_NONE) {
        const struct uqff_variant *chosen = uqff_container_variant(container, variant);
        candidate->recipe = chosen->recipe;
        candidate->bytes = chosen->bytes;
        candidate->weights = chosen->weights;
        candidate->name = uqff_container_is_multi(container) ? chosen->name
                          : has_variant_mark(reference)      ? strrchr(reference, '#') + 1
                                                             : candidate->name;
    } else {
        measure_size(candidate->model, &candidate->bytes, &candidate->weights);
    }
    return UQFF_OK;
}

/* ---- variants -------------------------------------------------------------------------------- */

static bool is_chosen(const struct list *variants, const char *name) {
    bool chosen = variants->count == 0;
    for (size_t i = 0; i < variants->count && !chosen; i++) {
        chosen = strcmp(variants->items[i], "all") == 0 || strcmp(variants->items[i], name) == 0;
    }
    return chosen;
}

/* The names of the quantizations in a directory that holds several; none of any other. */
static enum uqff_code list_sets(struct validation *v, const char *directory, struct list *out,
                                struct uqff_error *err) {
    struct quantizations found = {0};
    struct quantization *sets;
    size_t count;
    enum uqff_code code = quantizations_find(v->cli, directory, &sets, &count, err);
    if (code == UQFF_OK && count > 1) {
        /* Source weights may lie beside them, and go before. */
        code = quantizations_open(v->cli, directory, NULL, &found, err);
        *out = code == UQFF_OK && found.model == NULL ? found.names : *out;
        quantizations_close(&found);
    }
    return code;
}

/* The names of the variants of a multi-quant file, or of the quantizations in a directory; none for
 * anything else. */
static enum uqff_code list_variants(struct validation *v, const char *reference, struct list *out,
                                    struct uqff_error *err) {
    struct uqff_container *container = NULL;
    struct uqff_error ignored;
    enum uqff_code code = UQFF_OK;
    if (uqff_path_is_directory(reference)) {
        return list_sets(v, reference, out, err);
    }
    /* What cannot be opened so is opened as a model, which says why. */
    if (has_variant_mark(reference) ||
        uqff_container_open(reference, NULL, &container, &ignored) != UQFF_OK) {
        return UQFF_OK;
    }
    if (uqff_container_is_multi(container)) {
        for (size_t i = 0; i < uqff_container_variant_count(container) && code == UQFF_OK; i++) {
            const char *name = uqff_container_variant(container, i)->name;
            char *copy = uqff_arena_copy(&v->cli->arena, name, strlen(name));
            code =
                copy == NULL ? uqff_fail_memory(err) : list_append(out, &v->cli->arena, copy, err);
        }
    }
    uqff_container_close(container);
    return code;
}

static enum uqff_code check_variants(const char *reference, const struct list *wanted,
                                     const struct list *names, struct uqff_error *err) {
    for (size_t i = 0; i < wanted->count; i++) {
        bool found = strcmp(wanted->items[i], "all") == 0;
        for (size_t n = 0; n < names->count && !found; n++) {
            found = strcmp(wanted->items[i], names->items[n]) == 0;
        }
        if (!found) {
            const char *nearest = uqff_nearest(wanted->items[i], names->items, names->count);
            return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                             "%s: there is no variant '%.64s'%s%s%s", reference, wanted->items[i],
                             nearest == NULL ? "" : "; did you mean '",
                             nearest == NULL ? "" : nearest, nearest == NULL ? "" : "'?");
        }
    }
    return UQFF_OK;
}

static enum uqff_code open_reference(struct validation *v, const char *reference,
                                     const struct list *variants, const struct uqff_warner *warner,
                                     struct uqff_error *err) {
    struct list names = {0};
    enum uqff_code code = list_variants(v, reference, &names, err);
    if (code == UQFF_OK) {
        code = check_variants(reference, variants, &names, err);
    }
    if (code != UQFF_OK || names.count == 0) {
        return code != UQFF_OK ? code : open_one(v, reference, warner, err);
    }
    bool first = true;
    for (size_t i = 0; i < names.count && code == UQFF_OK; i++) {
        if (!is_chosen(variants, names.items[i])) {
            code = list_append(&v->left_out, &v->cli->arena, names.items[i], err);
            continue;
        }
        const char *full = uqff_arena_printf(&v->cli->arena, "%s#%s", reference, names.items[i]);
        /* What there is to warn of is the same for all variants of a file. */
        code = full == NULL ? uqff_fail_memory(err) : open_one(v, full, first ? warner : NULL, err);
        first = false;
    }
    v->cli->file = reference;
    return code;
}

static bool has_namesake(const struct validation *v, size_t i) {
    for (size_t k = 0; k < v->count; k++) {
        if (k != i && strcmp(v->candidates[i].name, v->candidates[k].name) == 0) {
            return true;
        }
    }
    return false;
}

/* Models of one name are called by their whole references. */
static enum uqff_code tell_apart(struct validation *v, struct uqff_error *err) {
    bool *unclear = uqff_arena_array(&v->cli->arena, v->count, sizeof *unclear);
    if (unclear == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < v->count; i++) {
        unclear[i] = has_namesake(v, i);
    }
    for (size_t i = 0; i < v->count; i++) {
        v->candidates[i].name = unclear[i] ? v->candidates[i].reference : v->candidates[i].name;
    }
    for (size_t i = 0; i < v->count; i++) {
        if (has_namesake(v, i)) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "validate: '%.500s' is given twice", v->candidates[i].name);
        }
    }
    return UQFF_OK;
}

enum uqff_code validation_open(struct validation *v, const struct list *references,
                               const struct list *variants, const struct uqff_warner *warner,
                               struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < references->count && code == UQFF_OK; i++) {
        code = open_reference(v, references->items[i], variants, warner, err);
    }
    return code == UQFF_OK ? tell_apart(v, err) : code;
}

enum uqff_code validation_open_base(struct validation *v, const struct uqff_warner *warner,
                                    struct uqff_error *err) {
    const struct uqff_model_options options = {.warner = warner};
    const char *file = v->cli->file;
    v->cli->file = v->base_path;
    enum uqff_code code = uqff_model_open(v->base_path, &options, &v->base, err);
    if (code != UQFF_OK) {
        v->base = NULL;
        return code;
    }
    v->cli->file = file;
    const struct uqff_container *container = uqff_model_container(v->base);
    if (container != NULL && uqff_container_is_multi(container) &&
        !has_variant_mark(v->base_path)) {
        uqff_warn(warner, "%s: holds quantizations, of which '%s' is taken as the base",
                  v->base_path,
                  uqff_container_variant(container, uqff_model_variant(v->base))->name);
    }
    measure_size(v->base, &v->base_bytes, &v->base_weights);
    return UQFF_OK;
}

bool validation_is_input(const struct validation *v, const char *path) {
    bool found = v->base != NULL && uqff_model_is_input(v->base, path);
    for (size_t i = 0; i < v->count && !found; i++) {
        found = uqff_model_is_input(v->candidates[i].model, path);
    }
    return found;
}

void validation_close(struct validation *v) {
    for (size_t i = 0; i < v->count; i++) {
        uqff_weights_free(v->candidates[i].weight_errors);
        if (v->candidates[i].model != NULL) {
            uqff_model_close(v->candidates[i].model);
        }
    }
    if (v->base != NULL) {
        uqff_model_close(v->base);
    }
    corpus_free(&v->text);
    uqff_free(v->checks);
}

/* ---- vocabularies ---------------------------------------------------------------------------- */

/* A converter fills holes in the list of ids with names of its own. */
static bool same_token(const struct uqff_token *a, const struct uqff_token *b) {
    return a->type == UQFF_TOKEN_UNUSED || b->type == UQFF_TOKEN_UNUSED ||
           (a->length == b->length && memcmp(a->text, b->text, a->length) == 0);
}

static enum uqff_code compare_vocabularies(const struct uqff_model *base,
                                           const struct uqff_vocabulary *a,
                                           const struct uqff_vocabulary *b,
                                           struct uqff_error *err) {
    const uint32_t sizes[2] = {uqff_vocabulary_info(a)->size, uqff_vocabulary_info(b)->size};
    const uint32_t common = sizes[0] < sizes[1] ? sizes[0] : sizes[1];
    for (uint32_t id = 0; id < common; id++) {
        const struct uqff_token mine = uqff_vocabulary_token(a, id);
        const struct uqff_token theirs = uqff_vocabulary_token(b, id);
        if (!same_token(&mine, &theirs)) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "%s: another vocabulary: found token %u '%.*s', expected '%.*s'",
                             uqff_model_path(base), id,
                             (int)(theirs.length < 40 ? theirs.length : 40), theirs.text,
                             (int)(mine.length < 40 ? mine.length : 40), mine.text);
        }
    }
    return UQFF_OK;
}

enum uqff_code validation_check_vocabularies(const struct validation *v,
                                             const struct uqff_vocabulary *vocabulary,
                                             struct uqff_error *err) {
    struct uqff_vocabulary *other = NULL;
    struct uqff_error ignored;
    /* Of a base without a tokenizer, only the number of ids is known, which measuring compares. */
    if (v->base == NULL || uqff_vocabulary_open(v->base, NULL, &other, &ignored) != UQFF_OK) {
        return UQFF_OK;
    }
    enum uqff_code code = compare_vocabularies(v->base, vocabulary, other, err);
    uqff_vocabulary_close(other);
    return code;
}
