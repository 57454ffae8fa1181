/* A GGUF header: what is accepted lies inside the file, and every value can be walked. */
#include "fuzz/fuzz.h"
#include "uqff/gguf.h"

static void walk(const struct uqff_gguf *file, const struct uqff_gguf_value *value,
                 unsigned depth) {
    REQUIRE(depth <= UQFF_GGUF_MAX_ARRAY_DEPTH);
    if (value->kind != UQFF_GGUF_ARRAY) {
        return;
    }
    struct uqff_gguf_iterator iterator = uqff_gguf_iterate(file, value);
    struct uqff_gguf_value element;
    while (uqff_gguf_next(&iterator, &element)) {
        walk(file, &element, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct uqff_source *source = NULL;
    struct uqff_gguf *file = NULL;
    struct uqff_error err;
    REQUIRE(uqff_source_memory(data, size, "input", &source, &err) == UQFF_OK);
    if (uqff_gguf_open(source, NULL, &file, &err) != UQFF_OK) {
        require_printable(&err);
        uqff_source_close(source);
        return 0;
    }
    for (size_t i = 0; i < uqff_gguf_kv_count(file); i++) {
        walk(file, uqff_gguf_value(file, i), 0);
        REQUIRE(uqff_gguf_find_value(file, uqff_gguf_key(file, i)) == uqff_gguf_value(file, i));
    }
    for (size_t i = 0; i < uqff_gguf_tensor_count(file); i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(file, i);
        REQUIRE(tensor->offset <= size && tensor->bytes <= size - tensor->offset);
    }
    uqff_gguf_close(file);
    uqff_source_close(source);
    return 0;
}
