/* Tensors and modules by name, checked against the configuration, and used where they lie. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "validation/transformer.h"

/* What cannot be used in place is copied up to this size, and above it read again whenever it is
 * needed. */
#define LARGEST_COPY ((uint64_t)16 << 20)

static const char *path(const struct binder *binder) {
    return uqff_model_path(binder->transformer->model);
}

/* ---- by name --------------------------------------------------------------------------------- */

struct named {
    const char *name;
    size_t index;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static struct named *find(struct named *list, size_t count, const char *name) {
    struct named key = {.name = name};
    return count == 0 ? NULL : bsearch(&key, list, count, sizeof *list, by_name);
}

enum uqff_code uqff_binder_open(struct uqff_transformer *transformer, struct binder *out,
                                struct uqff_error *err) {
    const struct uqff_model *model = transformer->model;
    out->transformer = transformer;
    out->module_count = uqff_model_module_count(model);
    out->tensor_count = uqff_model_tensor_count(model);
    out->modules = uqff_alloc_array(out->module_count, sizeof *out->modules);
    out->tensors = uqff_alloc_array(out->tensor_count, sizeof *out->tensors);
    if (out->modules == NULL || out->tensors == NULL) {
        uqff_binder_close(out);
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < out->module_count; i++) {
        out->modules[i] = (struct named){uqff_model_module(model, i)->name, i};
    }
    for (size_t i = 0; i < out->tensor_count; i++) {
        out->tensors[i] = (struct named){uqff_model_tensor(model, i)->hf_name, i};
    }
    qsort(out->modules, out->module_count, sizeof *out->modules, by_name);
    qsort(out->tensors, out->tensor_count, sizeof *out->tensors, by_name);
    return UQFF_OK;
}

void uqff_binder_close(struct binder *binder) {
    uqff_free(binder->modules);
    uqff_free(binder->tensors);
    binder->modules = binder->tensors = NULL;
}

bool uqff_binder_has(const struct binder *binder, const char *module) {
    return find(binder->modules, binder->module_count, module) != NULL;
}

static enum uqff_code fail_missing(const struct binder *binder, const char *name,
                                   const char *ending, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET, "%s: tensor '%s%s' is missing",
                     path(binder), name, ending);
}

/* ---- where rows lie -------------------------------------------------------------------------- */

/* Bytes of a tensor in memory, when they are one run of a file that can be mapped. The rows of q
 * and k of some GGUF files lie in pairs: they are used as they lie, and *paired set. */
static const unsigned char *locate(const struct binder *binder, size_t tensor, bool rotated,
                                   bool *paired) {
    const struct uqff_model *model = binder->transformer->model;
    const struct uqff_tensor *info = uqff_model_tensor(model, tensor);
    struct uqff_source *source = NULL;
    uint64_t offset = 0;
    *paired = false;
    if (!uqff_model_tensor_range(model, tensor, &source, &offset)) {
        struct uqff_gguf *gguf = uqff_model_gguf(model);
        const struct uqff_gguf_tensor *stored =
            rotated && gguf != NULL ? uqff_gguf_find_tensor(gguf, info->name) : NULL;
        if (stored == NULL || stored->type != info->type || uqff_gguf_is_big_endian(gguf)) {
            return NULL;
        }
        source = uqff_gguf_source(gguf, stored->file);
        offset = stored->offset;
        *paired = true;
    }
    const unsigned char *bytes = uqff_source_map(source);
    return bytes != NULL ? bytes + offset : NULL;
}

static enum uqff_code keep_copy(struct binder *binder, unsigned char *copy,
                                struct uqff_error *err) {
    struct uqff_transformer *transformer = binder->transformer;
    void *items = transformer->copies;
    enum uqff_code code = uqff_grow(&items, &transformer->copy_capacity,
                                    transformer->copy_count + 1, sizeof copy, err);
    transformer->copies = items;
    if (code != UQFF_OK) {
        uqff_free_aligned(copy);
        return code;
    }
    transformer->copies[transformer->copy_count++] = copy;
    return UQFF_OK;
}

static enum uqff_code read_rows(const struct uqff_model *model, const struct weight *weight,
                                size_t first, size_t rows, void *out, struct uqff_error *err) {
    uint64_t row = weight->first_row + first;
    return weight->type == UQFF_TYPE_F32
               ? uqff_model_read_rows(model, weight->tensor, row, rows, out, err)
               : uqff_model_read(model, weight->tensor, row * weight->row_bytes, out,
                                 rows * weight->row_bytes, err);
}

/* A container's own forms are decoded whole, so reading a few rows at a time would never end. */
static enum uqff_code copy_rows(struct binder *binder, struct weight *weight,
                                struct uqff_error *err) {
    const struct uqff_model *model = binder->transformer->model;
    uint64_t bytes;
    size_t size;
    if (!uqff_mul_u64(weight->rows, weight->row_bytes, &bytes) || !uqff_to_size(bytes, &size)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET, "%s: module '%s' is too large",
                         path(binder), weight->module);
    }
    if (bytes > LARGEST_COPY && uqff_model_container(model) == NULL) {
        return UQFF_OK;
    }
    unsigned char *copy = uqff_alloc_aligned(size);
    if (copy == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = keep_copy(binder, copy, err);
    code = code != UQFF_OK ? code : read_rows(model, weight, 0, weight->rows, copy, err);
    weight->data = copy;
    return code;
}

static enum uqff_code check_type(const struct binder *binder, const struct weight *weight,
                                 struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(weight->type);
    uint32_t activations = uqff_activation_type(weight->type);
    if (info == NULL || (info->flags & UQFF_TYPE_CAN_DECODE) == 0 || activations == UQFF_NO_TYPE) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found type %s, which cannot be run", path(binder),
                         uqff_model_tensor(binder->transformer->model, weight->tensor)->name,
                         uqff_type_name(weight->type));
    }
    if (weight->columns % info->block_length != 0 ||
        weight->columns % uqff_type_info(activations)->block_length != 0) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found rows of %zu, which are no whole blocks of %s",
                         path(binder),
                         uqff_model_tensor(binder->transformer->model, weight->tensor)->name,
                         weight->columns, info->name);
    }
    return UQFF_OK;
}

/* Fills in what depends on the tensor and on the row in it where the matrix begins. */
static enum uqff_code place(struct binder *binder, size_t tensor, uint64_t first_row, bool rotated,
                            struct weight *weight, bool *paired, struct uqff_error *err) {
    uint64_t row_bytes;
    weight->tensor = tensor;
    weight->first_row = first_row;
    weight->type = uqff_model_tensor(binder->transformer->model, tensor)->type;
    enum uqff_code code = check_type(binder, weight, err);
    code = code != UQFF_OK ? code : uqff_row_bytes(weight->type, weight->columns, &row_bytes, err);
    if (code != UQFF_OK) {
        return code;
    }
    weight->row_bytes = (size_t)row_bytes;
    const unsigned char *data = locate(binder, tensor, rotated, paired);
    if (data != NULL) {
        /* The reader checked that the tensor lies in its file, and shapes are checked before. */
        weight->data = data + first_row * row_bytes;
        return UQFF_OK;
    }
    return copy_rows(binder, weight, err);
}

/* ---- modules --------------------------------------------------------------------------------- */

static enum uqff_code fail_shape(const struct binder *binder, const char *module,
                                 const uint64_t *shape, unsigned rank, const char *expected,
                                 struct uqff_error *err) {
    struct uqff_buffer text = {0};
    for (unsigned i = 0; i < rank; i++) {
        uqff_buffer_printf(&text, "%s%llu", i > 0 ? ", " : "", (unsigned long long)shape[i]);
    }
    enum uqff_code code =
        text.failed ? uqff_fail_memory(err)
                    : uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                                "%s: tensor '%s.weight': found [%s], expected [%s] by the "
                                "configuration",
                                path(binder), module, text.size > 0 ? text.data : "", expected);
    uqff_buffer_free(&text);
    return code;
}

static enum uqff_code find_module(const struct binder *binder, const char *name, uint64_t experts,
                                  uint64_t rows, uint64_t columns, size_t *out,
                                  struct uqff_error *err) {
    const struct named *found = find(binder->modules, binder->module_count, name);
    char expected[80];
    if (found == NULL) {
        return fail_missing(binder, name, ".weight", err);
    }
    const struct uqff_model_module *module =
        uqff_model_module(binder->transformer->model, found->index);
    unsigned rank = experts > 0 ? 3 : 2;
    const uint64_t wanted[3] = {experts > 0 ? experts : rows, experts > 0 ? rows : columns,
                                columns};
    for (unsigned i = 0; module->rank == rank && i < rank; i++) {
        if (module->shape[i] != wanted[i]) {
            rank = 0;
        }
    }
    if (module->rank != rank) {
        if (experts > 0) {
            snprintf(expected, sizeof expected, "%llu, %llu, %llu", (unsigned long long)experts,
                     (unsigned long long)rows, (unsigned long long)columns);
        } else {
            snprintf(expected, sizeof expected, "%llu, %llu", (unsigned long long)rows,
                     (unsigned long long)columns);
        }
        return fail_shape(binder, name, module->shape, module->rank, expected, err);
    }
    *out = found->index;
    return UQFF_OK;
}

/* The matrix that begins with a row of a module. */
static enum uqff_code bind_rows(struct binder *binder, size_t index, uint64_t row,
                                struct weight *weight, struct uqff_error *err) {
    const struct uqff_model *model = binder->transformer->model;
    const struct uqff_config *config = uqff_model_config(model);
    const struct uqff_model_module *module = uqff_model_module(model, index);
    const struct arch_shape *shape = &binder->transformer->shape;
    uint64_t row_in_tensor;
    bool paired;
    const char *name = uqff_model_module_source_name(model, index, row, &row_in_tensor);
    weight->module = module->name;
    enum uqff_code code = place(binder, uqff_model_find_tensor(model, name), row_in_tensor,
                                module->gguf_heads != 0, weight, &paired, err);
    /* A UQFF may have the rows of a GGUF as they were: its q and k are in pairs too. */
    bool rotated = module->role == UQFF_ROLE_ATTN_Q || module->role == UQFF_ROLE_ATTN_K;
    if (paired || (config->rotary_adjacent && rotated)) {
        weight->head_rows = shape->head_dim;
    }
    return code;
}

static enum uqff_code bind_bias(struct binder *binder, size_t index, struct weight *weight,
                                struct uqff_error *err) {
    struct uqff_transformer *transformer = binder->transformer;
    const struct uqff_model *model = transformer->model;
    const struct uqff_model_module *module = uqff_model_module(model, index);
    if (module->bias == UQFF_NONE) {
        return UQFF_OK;
    }
    /* It has as many elements as the module has rows: the model saw to that. */
    float *bias = uqff_arena_array(&transformer->arena, weight->rows, 2 * sizeof *bias);
    if (bias == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_model_read_rows(model, module->bias, 0, 1, bias, err);
    if (code == UQFF_OK && uqff_model_config(model)->rotary_adjacent && weight->head_rows > 0) {
        for (size_t r = 0; r < weight->rows; r += weight->head_rows) {
            uqff_unpair(bias + r, bias + weight->rows, weight->head_rows);
        }
    }
    weight->bias = bias;
    return code;
}

enum uqff_code uqff_bind_weight(struct binder *binder, const char *module, uint64_t rows,
                                uint64_t columns, struct weight *out, struct uqff_error *err) {
    size_t index;
    enum uqff_code code = find_module(binder, module, 0, rows, columns, &index, err);
    *out = (struct weight){.expert = -1, .rows = (size_t)rows, .columns = (size_t)columns};
    code = code != UQFF_OK ? code : bind_rows(binder, index, 0, out, err);
    return code != UQFF_OK ? code : bind_bias(binder, index, out, err);
}

enum uqff_code uqff_bind_experts(struct binder *binder, const char *module, uint64_t experts,
                                 uint64_t rows, uint64_t columns, struct weight **out,
                                 struct uqff_error *err) {
    size_t index;
    enum uqff_code code = find_module(binder, module, experts, rows, columns, &index, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct weight *list =
        uqff_arena_array(&binder->transformer->arena, (size_t)experts, sizeof *list);
    if (list == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t e = 0; e < experts && code == UQFF_OK; e++) {
        list[e] =
            (struct weight){.expert = (int64_t)e, .rows = (size_t)rows, .columns = (size_t)columns};
        code = bind_rows(binder, index, e * rows, &list[e], err);
    }
    *out = list;
    return code;
}

/* ---- other tensors --------------------------------------------------------------------------- */

enum uqff_code uqff_bind_residual(struct binder *binder, const char *module, uint64_t rows,
                                  uint64_t columns, struct weight *out, struct uqff_error *err) {
    struct uqff_transformer *transformer = binder->transformer;
    char expected[64];
    bool paired;
    char *name = uqff_arena_printf(&transformer->arena, "%s.weight", module);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    const struct named *found = find(binder->tensors, binder->tensor_count, name);
    if (found == NULL) {
        return fail_missing(binder, name, "", err);
    }
    const struct uqff_tensor *info = uqff_model_tensor(transformer->model, found->index);
    if (info->rank != 2 || info->shape[0] != rows || info->shape[1] != columns) {
        snprintf(expected, sizeof expected, "%llu, %llu", (unsigned long long)rows,
                 (unsigned long long)columns);
        return fail_shape(binder, module, info->shape, info->rank, expected, err);
    }
    name[strlen(module)] = '\0';
    *out = (struct weight){
        .module = name, .expert = -1, .rows = (size_t)rows, .columns = (size_t)columns};
    return place(binder, found->index, 0, false, out, &paired, err);
}

enum uqff_code uqff_bind_vector(struct binder *binder, const char *name, uint64_t elements,
                                const float **out, struct uqff_error *err) {
    struct uqff_transformer *transformer = binder->transformer;
    const struct named *found = find(binder->tensors, binder->tensor_count, name);
    if (found == NULL) {
        return fail_missing(binder, name, "", err);
    }
    const struct uqff_tensor *info = uqff_model_tensor(transformer->model, found->index);
    if (info->rank != 1 || info->elements != elements) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found rank %u and %llu elements, expected %llu by the "
                         "configuration",
                         path(binder), name, info->rank, (unsigned long long)info->elements,
                         (unsigned long long)elements);
    }
    float *values = uqff_arena_array(&transformer->arena, (size_t)elements, sizeof *values);
    if (values == NULL) {
        return uqff_fail_memory(err);
    }
    *out = values;
    return uqff_model_read_rows(transformer->model, found->index, 0, 1, values, err);
}

/* ---- using them ------------------------------------------------------------------------------ */

struct weight uqff_weight_rows(const struct weight *weight, size_t first, size_t rows) {
    struct weight part = *weight;
    part.rows = rows;
    part.first_row += first;
    part.data = part.data != NULL ? part.data + first * part.row_bytes : NULL;
    part.bias = part.bias != NULL ? part.bias + first : NULL;
    return part;
}

enum uqff_code uqff_weight_read(const struct uqff_transformer *transformer,
                                const struct weight *weight, size_t first, size_t rows, void *out,
                                struct uqff_error *err) {
    return read_rows(transformer->model, weight, first, rows, out, err);
}

enum uqff_code uqff_weight_decode(const struct uqff_transformer *transformer,
                                  const struct weight *weight, size_t row, float *out,
                                  struct uqff_error *err) {
    if (weight->data == NULL) {
        return uqff_model_read_rows(transformer->model, weight->tensor, weight->first_row + row, 1,
                                    out, err);
    }
    return uqff_dequantize_row(weight->type, weight->data + row * weight->row_bytes, out,
                               weight->columns, err);
}
