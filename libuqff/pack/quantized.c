#include "pack/quantized.h"

#include <string.h>

/* Of a container: the blob of the variant that is shown. */
static const char *blob_label(const struct uqff_model *model, const char *name) {
    const struct uqff_container *container = uqff_model_container(model);
    size_t module = uqff_container_find_module(container, name);
    if (module == UQFF_NONE || uqff_model_variant(model) == UQFF_NONE) {
        return NULL;
    }
    const struct uqff_variant *variant =
        uqff_container_variant(container, uqff_model_variant(model));
    const struct uqff_blob *blob = uqff_container_blob(container, variant->blobs[module]);
    bool of_ggml = blob->format == UQFF_FORMAT_GGUF || blob->format == UQFF_FORMAT_UNQUANT ||
                   blob->format == UQFF_FORMAT_MXFP4;
    return of_ggml ? NULL : blob->label;
}

const char *uqff_quantized_label(const struct uqff_model *model, size_t index) {
    const struct uqff_model_module *module = uqff_model_module(model, index);
    if (uqff_model_container(model) != NULL) {
        return blob_label(model, module->name);
    }
    if (uqff_model_kind(model) != UQFF_MODEL_HF || module->type != UQFF_TYPE_F32) {
        return NULL;
    }
    /* A checkpoint's float8 with scales is listed as F32, but no range of a file holds it so. */
    uint64_t row = 0, offset = 0;
    struct uqff_source *source = NULL;
    const char *name = uqff_model_module_source_name(model, index, 0, &row);
    size_t tensor = name != NULL ? uqff_model_find_tensor(model, name) : UQFF_NONE;
    return tensor != UQFF_NONE && !uqff_model_tensor_range(model, tensor, &source, &offset) ? "fp8"
                                                                                            : NULL;
}
