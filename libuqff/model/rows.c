/* Modules as rows: a module's rows are runs of rows of its tensors. */
#include "model/internal.h"

size_t uqff_model_module_count(const struct uqff_model *model) {
    return model->module_count;
}

const struct uqff_model_module *uqff_model_module(const struct uqff_model *model, size_t i) {
    return &model->modules[i].info;
}

size_t uqff_model_residual_count(const struct uqff_model *model) {
    return model->residual_count;
}

size_t uqff_model_residual(const struct uqff_model *model, size_t i) {
    return model->residual[i];
}

/* The tensor that holds row `row` of a module, and the row within it. */
static size_t locate(const struct module *module, uint64_t row, uint64_t *row_in_tensor,
                     uint64_t *left_in_part) {
    uint64_t part = row / module->part_rows, in_part = row % module->part_rows;
    *row_in_tensor = module->base + part * module->stride + in_part;
    *left_in_part = module->part_rows - in_part;
    return module->parts != NULL ? module->parts[part] : module->tensor;
}

const char *uqff_model_module_source_name(const struct uqff_model *model, size_t module,
                                          uint64_t row, uint64_t *row_in_tensor) {
    const struct module *m = &model->modules[module];
    uint64_t left;
    return model->tensors[locate(m, row, row_in_tensor, &left)].info.name;
}

static enum uqff_code check_range(const struct module *m, uint64_t first, uint64_t rows,
                                  struct uqff_error *err) {
    if (first > m->info.rows || rows > m->info.rows - first) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "module '%s': asked for rows %llu to %llu, found %llu", m->info.name,
                         (unsigned long long)first, (unsigned long long)(first + rows),
                         (unsigned long long)m->info.rows);
    }
    return UQFF_OK;
}

enum uqff_code uqff_model_read_module_rows(const struct uqff_model *model, size_t module,
                                           uint64_t first, uint64_t rows, float *out,
                                           struct uqff_error *err) {
    const struct module *m = &model->modules[module];
    enum uqff_code code = check_index(model, "module", module, model->module_count, err);
    code = code != UQFF_OK ? code : check_range(m, first, rows, err);
    while (rows > 0 && code == UQFF_OK) {
        uint64_t row, left;
        size_t tensor = locate(m, first, &row, &left);
        uint64_t n = rows < left ? rows : left;
        code = uqff_model_read_rows(model, tensor, row, n, out, err);
        out += n * m->info.columns;
        first += n;
        rows -= n;
    }
    return code;
}

enum uqff_code uqff_model_module_raw_rows(const struct uqff_model *model, size_t module,
                                          uint64_t first, uint64_t rows, void *out,
                                          struct uqff_error *err) {
    const struct module *m = &model->modules[module];
    unsigned char *bytes = out;
    uint64_t row_bytes = 0;
    enum uqff_code code = check_index(model, "module", module, model->module_count, err);
    code = code != UQFF_OK ? code : check_range(m, first, rows, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (m->info.type == UINT32_MAX) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "module '%s': its tensors have more than one type", m->info.name);
    }
    code = uqff_row_bytes(m->info.type, m->info.columns, &row_bytes, err);
    while (rows > 0 && code == UQFF_OK) {
        uint64_t row, left;
        size_t size;
        size_t tensor = locate(m, first, &row, &left);
        uint64_t n = rows < left ? rows : left;
        if (!uqff_to_size(n * row_bytes, &size)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "module '%s': %llu rows do not fit memory", m->info.name,
                             (unsigned long long)n);
        }
        code = uqff_model_read(model, tensor, row * row_bytes, bytes, size, err);
        bytes += size;
        first += n;
        rows -= n;
    }
    return code;
}
