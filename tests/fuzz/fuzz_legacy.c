/* One blob of a UQFF 0.x file: what is taken from it lies within it, and reads as UQFF 1.2 or says
 * why not. */
#include "container/legacy.h"
#include "fuzz/fuzz.h"

static void require_inside(const struct uqff_legacy_tensor *tensor, size_t size) {
    REQUIRE(tensor->source == NULL ||
            (tensor->offset <= size && tensor->bytes <= size - tensor->offset));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t first = 0;
    const struct uqff_legacy_module module = {"m", &first, 1, false};
    const uint64_t length = size;
    const struct uqff_st_tensor tensor = {
        .name = "0", .dtype = UQFF_DTYPE_U8, .rank = 1, .shape = &length, .bytes = size};
    struct uqff_source *source = NULL;
    struct uqff_container *container = NULL;
    struct uqff_legacy_layer layer;
    struct uqff_arena arena = {0};
    struct uqff_error err;
    REQUIRE(uqff_source_memory(data, size, "input.uqff", &source, &err) == UQFF_OK);
    if (uqff_legacy_blob(source, &tensor, &arena, &layer, &err) != UQFF_OK) {
        require_printable(&err);
    } else {
        struct uqff_legacy legacy = {.layers = &layer, .layer_count = 1};
        require_inside(&layer.weight, size);
        require_inside(&layer.scales, size);
        require_inside(&layer.zeros, size);
        require_inside(&layer.bias, size);
        if (uqff_legacy_container(&legacy, &module, 1, "input", NULL, &container, &err) !=
            UQFF_OK) {
            require_printable(&err);
        }
        uqff_container_close(container);
    }
    uqff_arena_free(&arena);
    uqff_source_close(source);
    return 0;
}
