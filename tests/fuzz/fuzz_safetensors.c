/* A safetensors header: what is accepted tiles the file exactly. */
#include "fuzz/fuzz.h"
#include "uqff/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct uqff_source *source = NULL;
    struct uqff_safetensors *file = NULL;
    struct uqff_error err;
    REQUIRE(uqff_source_memory(data, size, "input", &source, &err) == UQFF_OK);
    if (uqff_safetensors_open(source, NULL, &file, &err) != UQFF_OK) {
        require_printable(&err);
        uqff_source_close(source);
        return 0;
    }
    uint64_t at = 8 + uqff_safetensors_header_bytes(file);
    for (size_t i = 0; i < uqff_safetensors_count(file); i++) {
        const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(file, i);
        REQUIRE(tensor->offset == at);
        at += tensor->bytes;
        REQUIRE(uqff_safetensors_find(file, tensor->name) == tensor);
    }
    REQUIRE(at == size);
    uqff_safetensors_close(file);
    uqff_source_close(source);
    return 0;
}
