/* A UQFF file, plain or multi-quant: every variant resolves, every blob decodes or says why not. */
#include "fuzz/fuzz.h"
#include "uqff/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct uqff_source *source = NULL;
    struct uqff_container *container = NULL;
    struct uqff_error err;
    REQUIRE(uqff_source_memory(data, size, "input.uqff", &source, &err) == UQFF_OK);
    const char *path = "input.uqff";
    if (uqff_container_open_sources(&path, &source, 1, NULL, &container, &err) != UQFF_OK) {
        require_printable(&err);
        uqff_source_close(source);
        return 0;
    }
    size_t blobs = uqff_container_blob_count(container);
    for (size_t i = 0; i < uqff_container_variant_count(container); i++) {
        const struct uqff_variant *variant = uqff_container_variant(container, i);
        for (size_t m = 0; m < uqff_container_module_count(container); m++) {
            REQUIRE(variant->blobs[m] < blobs &&
                    uqff_container_blob(container, variant->blobs[m])->module == m);
        }
    }
    for (size_t i = 0; i < blobs && i < 8; i++) {
        const struct uqff_module *module =
            uqff_container_module(container, uqff_container_blob(container, i)->module);
        uint64_t columns = module->shape[module->rank - 1];
        if (module->weights > 0 && module->weights <= 1u << 16) {
            float *out = calloc((size_t)module->weights, sizeof *out);
            REQUIRE(out != NULL);
            if (uqff_container_read_rows(container, i, 0, module->weights / columns, out, &err) !=
                UQFF_OK) {
                require_printable(&err);
            }
            free(out);
        }
    }
    for (size_t i = 0; i < uqff_container_asset_count(container); i++) {
        char *content = NULL;
        size_t length = 0;
        if (uqff_container_read_asset(container, i, &content, &length, &err) == UQFF_OK) {
            uqff_free(content);
        } else {
            require_printable(&err);
        }
    }
    uqff_container_close(container);
    return 0;
}
