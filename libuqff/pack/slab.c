#include "pack/slab.h"

#include <string.h>

/* ---- source parts ---------------------------------------------------------------------------- */

/* Whether rows [row, row + tensor's rows) of the module are exactly the tensor that holds the first
 * of them, in its own order. Then its bytes can be hashed while they pass by. */
static bool is_whole_tensor(const struct slab_job *job, const struct slab_item *item, uint64_t row,
                            size_t *tensor, uint64_t *rows) {
    uint64_t inner = 0;
    const char *name = uqff_model_module_source_name(job->model, item->index, row, &inner);
    if (name == NULL || inner != 0) {
        return false;
    }
    *tensor = uqff_model_find_tensor(job->model, name);
    if (*tensor == UQFF_NONE || job->streamed[*tensor]) {
        return false;
    }
    const struct uqff_tensor *info = uqff_model_tensor(job->model, *tensor);
    if (info->type != item->type || info->elements == 0 || info->elements % item->columns != 0) {
        return false;
    }
    *rows = info->elements / item->columns;
    if (*rows > item->rows - row) {
        return false;
    }
    for (uint64_t i = 1; i < *rows; i++) {
        const char *other = uqff_model_module_source_name(job->model, item->index, row + i, &inner);
        if (other == NULL || inner != i || (other != name && strcmp(other, name) != 0)) {
            return false;
        }
    }
    return true;
}

/* Sets item->parts when the module consists of whole tensors. */
static enum uqff_code find_parts(struct slab_job *job, struct slab_item *item,
                                 struct uqff_error *err) {
    struct slab_part *parts = NULL;
    size_t count = 0, capacity = 0, tensor = 0;
    uint64_t rows = 0;
    enum uqff_code code = UQFF_OK;
    for (uint64_t row = 0; row < item->rows; row += rows) {
        if (!is_whole_tensor(job, item, row, &tensor, &rows)) {
            goto out;
        }
        code = uqff_grow((void **)&parts, &capacity, count + 1, sizeof *parts, err);
        if (code != UQFF_OK) {
            goto out;
        }
        parts[count++] = (struct slab_part){.first_row = row, .tensor = tensor};
    }
    if (count > 0) {
        struct slab_part *kept = uqff_arena_array(&job->arena, count, sizeof *parts);
        if (kept == NULL) {
            code = uqff_fail_memory(err);
            goto out;
        }
        memcpy(kept, parts, count * sizeof *parts);
        for (size_t i = 0; i < count; i++) {
            job->streamed[kept[i].tensor] = true;
        }
        item->parts = kept;
        item->part_count = count;
    }
out:
    uqff_free(parts);
    return code;
}

/* The item's one part is the whole tensor that it reads. */
static enum uqff_code hash_tensor(struct slab_job *job, struct slab_item *item,
                                  struct uqff_error *err) {
    struct slab_part *part = uqff_arena_alloc(&job->arena, sizeof *part);
    if (part == NULL) {
        return uqff_fail_memory(err);
    }
    part->tensor = item->index;
    item->parts = part;
    item->part_count = 1;
    job->streamed[item->index] = true;
    return UQFF_OK;
}

/* ---- items ----------------------------------------------------------------------------------- */

static void set_type(struct slab_item *item, uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    uint64_t bytes = 0;
    item->type = UQFF_NO_TYPE;
    if (info != NULL && (info->flags & UQFF_TYPE_CAN_DECODE) != 0 &&
        uqff_row_bytes(type, item->columns, &bytes, NULL) == UQFF_OK) {
        item->type = type;
        item->raw_bytes = bytes;
    }
}

static void make_module_item(const struct slab_job *job, size_t module, struct slab_item *item) {
    const struct uqff_model_module *info = uqff_model_module(job->model, module);
    *item = (struct slab_item){
        .kind = SLAB_MODULE,
        .index = module,
        .name = info->name,
        .rows = info->rows,
        .columns = info->columns,
        .heads = job->for_gguf ? info->gguf_heads : 0,
    };
    set_type(item, info->type);
}

static void make_floats_item(const struct slab_job *job, size_t tensor, struct slab_item *item) {
    const struct uqff_tensor *info = uqff_model_tensor(job->model, tensor);
    uint64_t columns = info->rank == 0 ? 1 : info->shape[info->rank - 1];
    *item = (struct slab_item){
        .kind = SLAB_FLOATS,
        .index = tensor,
        .name = info->name,
        .rows = columns == 0 ? 0 : info->elements / columns,
        .columns = columns,
    };
    set_type(item, info->type);
}

static void make_bytes_item(const struct slab_job *job, size_t tensor, struct slab_item *item) {
    const struct uqff_tensor *info = uqff_model_tensor(job->model, tensor);
    *item = (struct slab_item){
        .kind = SLAB_BYTES,
        .index = tensor,
        .name = info->name,
        .rows = info->bytes,
        .columns = 1,
        .type = UQFF_NO_TYPE,
        .raw_bytes = 1,
    };
}

/* A tensor that is copied: floats element by element, for those are scanned, else bytes. */
static void make_copied_item(const struct slab_job *job, size_t tensor, struct slab_item *item) {
    const struct uqff_tensor *info = uqff_model_tensor(job->model, tensor);
    const struct uqff_type_info *type = uqff_type_info(info->type);
    make_bytes_item(job, tensor, item);
    if (type != NULL && (type->flags & UQFF_TYPE_IS_FLOAT) != 0 && type->block_length == 1 &&
        info->elements > 0 && info->bytes / type->block_bytes == info->elements) {
        item->kind = SLAB_FLOATS;
        item->rows = info->elements;
        item->type = info->type;
        item->raw_bytes = type->block_bytes;
    }
}

/* A bias whose elements change places: each is a row of its own. */
static enum uqff_code order_bias(const struct slab_job *job, struct slab_item *item, uint64_t heads,
                                 struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(item->type);
    if (info == NULL || info->block_length != 1) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found type %s, whose elements cannot be put in order",
                         uqff_model_path(job->model), item->name,
                         uqff_type_name(uqff_model_tensor(job->model, item->index)->type));
    }
    item->rows *= item->columns;
    item->columns = 1;
    item->raw_bytes = info->block_bytes;
    item->heads = heads;
    return UQFF_OK;
}

enum uqff_code uqff_slab_job_new(const struct uqff_model *model, bool digests,
                                 struct slab_job **out, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    size_t modules = uqff_model_module_count(model), tensors = uqff_model_tensor_count(model);
    struct slab_job *job = uqff_alloc_array(1, sizeof *job);
    if (job == NULL) {
        return uqff_fail_memory(err);
    }
    job->model = model;
    job->want_digests = digests;
    job->module_count = modules;
    /* A module, its bias, and every tensor can be an item once each. */
    job->items = uqff_arena_array(&job->arena, 2 * modules + tensors, sizeof *job->items);
    job->modules = uqff_arena_array(&job->arena, modules, sizeof *job->modules);
    job->biases = uqff_arena_array(&job->arena, modules, sizeof *job->biases);
    job->tensors = uqff_arena_array(&job->arena, tensors, sizeof *job->tensors);
    job->streamed = uqff_arena_array(&job->arena, tensors, sizeof *job->streamed);
    job->digests = uqff_arena_array(&job->arena, tensors, sizeof *job->digests);
    if (job->items == NULL || job->modules == NULL || job->biases == NULL || job->tensors == NULL ||
        job->streamed == NULL || job->digests == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    for (size_t i = 0; i < modules; i++) {
        job->modules[i] = job->biases[i] = UQFF_NONE;
    }
    for (size_t i = 0; i < tensors; i++) {
        job->tensors[i] = UQFF_NONE;
    }
out:
    if (code != UQFF_OK) {
        uqff_slab_job_free(job);
        return code;
    }
    *out = job;
    return UQFF_OK;
}

void uqff_slab_job_free(struct slab_job *job) {
    if (job == NULL) {
        return;
    }
    for (size_t i = 0; i < job->count; i++) {
        struct slab_item *item = &job->items[i];
        for (size_t k = 0; k < item->form_count; k++) {
            uqff_free(item->forms[k].deliveries);
        }
        uqff_free(item->forms);
        uqff_hasher_free(item->hasher);
    }
    uqff_arena_free(&job->arena);
    uqff_free(job);
}

/* ---- forms ----------------------------------------------------------------------------------- */

/* A quantized source whose own type is wanted is copied: decoding and encoding again would cost
 * accuracy. Floats of the same type are the same bytes either way. */
static enum uqff_code add_form(struct slab_item *item, uint32_t type, struct slab_form **out,
                               struct uqff_error *err) {
    struct slab_form form = {.type = type};
    if (item->kind == SLAB_BYTES || (item->type == type && item->shift == 0)) {
        form.raw = true;
        form.row_bytes = item->raw_bytes;
    } else {
        enum uqff_code code = uqff_row_bytes(type, item->columns, &form.row_bytes, err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "%s", item->name);
            return code;
        }
    }
    enum uqff_code code = uqff_grow((void **)&item->forms, &item->form_capacity,
                                    item->form_count + 1, sizeof form, err);
    if (code == UQFF_OK) {
        *out = &item->forms[item->form_count++];
        **out = form;
    }
    return code;
}

/* The stream of a place, or the next one if the item has nothing there yet. */
static size_t find_stream(const struct slab_item *item, const void *place) {
    for (size_t i = 0; i < item->form_count; i++) {
        const struct slab_form *form = &item->forms[i];
        for (size_t k = 0; k < form->delivery_count; k++) {
            if (form->deliveries[k].target.place == place) {
                return form->deliveries[k].stream;
            }
        }
    }
    return item->place_count + 1;
}

static enum uqff_code add_target(struct slab_item *item, uint32_t type,
                                 const struct slab_target *target, struct uqff_error *err) {
    struct slab_form *form = NULL;
    for (size_t i = 0; i < item->form_count && form == NULL; i++) {
        form = item->forms[i].type == type ? &item->forms[i] : NULL;
    }
    if (form == NULL) {
        enum uqff_code code = add_form(item, type, &form, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    enum uqff_code code = uqff_grow((void **)&form->deliveries, &form->delivery_capacity,
                                    form->delivery_count + 1, sizeof *form->deliveries, err);
    if (code == UQFF_OK) {
        size_t stream = find_stream(item, target->place);
        item->place_count += stream > item->place_count;
        form->deliveries[form->delivery_count++] = (struct slab_delivery){*target, stream};
    }
    return code;
}

enum uqff_code uqff_slab_job_module(struct slab_job *job, size_t module, uint32_t type,
                                    const struct slab_target *target, struct uqff_error *err) {
    if (job->modules[module] == UQFF_NONE) {
        job->modules[module] = job->count;
        make_module_item(job, module, &job->items[job->count++]);
    }
    return add_target(&job->items[job->modules[module]], type, target, err);
}

enum uqff_code uqff_slab_job_bias(struct slab_job *job, size_t module, uint32_t type,
                                  const struct slab_target *target, struct uqff_error *err) {
    if (job->biases[module] == UQFF_NONE) {
        job->biases[module] = job->count;
        const struct uqff_model_module *info = uqff_model_module(job->model, module);
        struct slab_item *item = &job->items[job->count++];
        make_floats_item(job, info->bias, item);
        if (job->for_gguf && info->gguf_heads != 0) {
            enum uqff_code code = order_bias(job, item, info->gguf_heads, err);
            if (code != UQFF_OK) {
                return code;
            }
        }
    }
    return add_target(&job->items[job->biases[module]], type, target, err);
}

enum uqff_code uqff_slab_job_tensor(struct slab_job *job, size_t tensor,
                                    const struct slab_target *target, struct uqff_error *err) {
    if (job->tensors[tensor] == UQFF_NONE) {
        job->tensors[tensor] = job->count;
        make_copied_item(job, tensor, &job->items[job->count++]);
    }
    const struct slab_item *item = &job->items[job->tensors[tensor]];
    return add_target(&job->items[job->tensors[tensor]], item->type, target, err);
}

enum uqff_code uqff_slab_job_floats(struct slab_job *job, size_t tensor, uint32_t type,
                                    const struct slab_target *target, struct uqff_error *err) {
    if (job->tensors[tensor] == UQFF_NONE) {
        job->tensors[tensor] = job->count;
        struct slab_item *item = &job->items[job->count++];
        make_floats_item(job, tensor, item);
        item->shift = job->for_gguf ? uqff_model_tensor(job->model, tensor)->gguf_shift : 0;
    }
    return add_target(&job->items[job->tensors[tensor]], type, target, err);
}

void uqff_slab_job_for_gguf(struct slab_job *job) {
    job->for_gguf = true;
}

/* Within a head of D rows, GGUF rows 2i and 2i + 1 are the source's i and i + D/2. */
uint64_t uqff_slab_item_row(const struct slab_item *item, uint64_t row) {
    if (item->heads == 0) {
        return row;
    }
    uint64_t per_head = item->rows / item->heads, in_head = row % per_head;
    return row - in_head + in_head / 2 + in_head % 2 * (per_head / 2);
}

void uqff_slab_job_importance(struct slab_job *job, size_t module, const float *values,
                              uint64_t matrices) {
    if (job->modules[module] != UQFF_NONE && matrices > 0) {
        struct slab_item *item = &job->items[job->modules[module]];
        item->importance = values;
        item->rows_per_matrix = item->rows / matrices;
    }
}

/* ---- what the run needs ---------------------------------------------------------------------- */

/* Decides which items decode, and who takes the digest of which tensor; tensors that nobody reads
 * in order become items of their own. Part of running, so that the forms are known. */
static enum uqff_code complete_item(struct slab_job *job, struct slab_item *item,
                                    struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(item->type);
    bool blocks = info != NULL && (info->flags & UQFF_TYPE_IS_QUANTIZED) != 0;
    item->row_cost = item->raw_bytes;
    /* Blocks that are copied are not scanned: their scales are the business of verification. */
    item->decode = item->kind != SLAB_BYTES && !blocks;
    for (size_t i = 0; i < item->form_count; i++) {
        if (!item->forms[i].raw) {
            item->decode = true;
            item->halves = item->halves || item->forms[i].type == UQFF_TYPE_F16;
            if (!uqff_add_u64(item->row_cost, item->forms[i].row_bytes, &item->row_cost)) {
                return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                                 "%s: a row in all its types is too large", item->name);
            }
        }
    }
    if (!job->want_digests || item->type == UQFF_NO_TYPE) {
        return item->kind == SLAB_BYTES && job->want_digests && !job->streamed[item->index]
                   ? hash_tensor(job, item, err)
                   : UQFF_OK;
    }
    if (item->kind == SLAB_MODULE) {
        return find_parts(job, item, err);
    }
    return job->streamed[item->index] ? UQFF_OK : hash_tensor(job, item, err);
}

enum uqff_code uqff_slab_job_complete(struct slab_job *job, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < job->count && code == UQFF_OK; i++) {
        code = complete_item(job, &job->items[i], err);
    }
    size_t tensors = uqff_model_tensor_count(job->model);
    for (size_t i = 0; job->want_digests && i < tensors && code == UQFF_OK; i++) {
        if (!job->streamed[i]) {
            struct slab_item *item = &job->items[job->count++];
            make_bytes_item(job, i, item);
            code = complete_item(job, item, err);
        }
    }
    return code;
}
