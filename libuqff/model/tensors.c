/* The list of tensors that a backend fills. */
#include <stdlib.h>
#include <string.h>

#include "model/internal.h"

struct tensor *uqff_model_add_tensor(struct uqff_model *model, struct uqff_error *err) {
    void *items = model->tensors;
    if (uqff_grow(&items, &model->tensor_capacity, model->tensor_count + 1, sizeof(struct tensor),
                  err) != UQFF_OK) {
        return NULL;
    }
    model->tensors = items;
    struct tensor *tensor = &model->tensors[model->tensor_count++];
    *tensor = (struct tensor){.use = USE_RESIDUAL, .blob = UQFF_NONE};
    return tensor;
}

enum uqff_code uqff_model_finish_tensor(struct tensor *tensor, struct uqff_error *err) {
    struct uqff_tensor *info = &tensor->info;
    uint64_t elements = 1;
    bool empty = false;
    for (unsigned i = 0; i < info->rank; i++) {
        empty = empty || info->shape[i] == 0;
    }
    for (unsigned i = 0; i < info->rank && !empty; i++) {
        if (!uqff_mul_u64(elements, info->shape[i], &elements)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "tensor '%s': its dimensions' product does not fit 64 bits",
                             info->name);
        }
    }
    info->elements = empty ? 0 : elements;
    tensor->columns = info->rank == 0 ? 1 : info->shape[info->rank - 1];
    tensor->rows = empty ? 0 : elements / tensor->columns;
    if (info->hf_name == NULL) {
        info->hf_name = info->name;
    }
    if (info->type == tensor->stored_type) {
        return UQFF_OK;
    }
    return uqff_tensor_bytes(info->type, info->shape, info->rank, &info->bytes, err);
}

bool uqff_model_is_weight_type(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    return info != NULL && ((info->flags & (UQFF_TYPE_IS_FLOAT | UQFF_TYPE_IS_QUANTIZED)) != 0 ||
                            (type >= UQFF_TYPE_F4 && type <= UQFF_TYPE_F8_E4M3));
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct tensor *)a)->info.name, ((const struct tensor *)b)->info.name);
}

enum uqff_code uqff_model_sort_tensors(struct uqff_model *model, struct uqff_error *err) {
    if (model->tensor_count > 1) {
        qsort(model->tensors, model->tensor_count, sizeof *model->tensors, by_name);
    }
    for (size_t i = 1; i < model->tensor_count; i++) {
        if (by_name(&model->tensors[i - 1], &model->tensors[i]) == 0) {
            return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET, "%s: tensor '%s' occurs twice",
                             model->path, model->tensors[i].info.name);
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_model_add_source(struct uqff_model *model, struct uqff_source *source,
                                     bool owned, struct uqff_error *err) {
    void *items = model->sources;
    enum uqff_code code = uqff_grow(&items, &model->source_capacity, model->source_count + 1,
                                    sizeof *model->sources, err);
    model->sources = items;
    if (code != UQFF_OK) {
        if (owned) {
            uqff_source_close(source);
        }
        return code;
    }
    model->sources[model->source_count++] = (struct owned_source){source, owned};
    return UQFF_OK;
}

size_t uqff_model_tensor_count(const struct uqff_model *model) {
    return model->tensor_count;
}

const struct uqff_tensor *uqff_model_tensor(const struct uqff_model *model, size_t i) {
    return &model->tensors[i].info;
}

static int order_by_name(const void *name, const void *tensors, size_t i) {
    return strcmp(name, ((const struct tensor *)tensors)[i].info.name);
}

size_t uqff_model_find_tensor(const struct uqff_model *model, const char *name) {
    size_t place;
    return uqff_search(name, model->tensors, model->tensor_count, order_by_name, &place)
               ? place
               : UQFF_NONE;
}

bool uqff_model_tensor_range(const struct uqff_model *model, size_t tensor,
                             struct uqff_source **source, uint64_t *offset) {
    const struct tensor *t = &model->tensors[tensor];
    if (t->reading != READ_PLAIN || t->refusal != NULL) {
        return false;
    }
    *source = t->source;
    *offset = t->offset;
    return true;
}
