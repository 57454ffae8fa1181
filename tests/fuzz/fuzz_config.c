/* config.json: counts and numbers out of any text. */
#include "fuzz/fuzz.h"
#include "uqff/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct uqff_arena arena = {0};
    struct uqff_config config;
    struct uqff_error err;
    if (uqff_config_parse((const char *)data, size, "config.json", &arena, &config, &err) !=
        UQFF_OK) {
        require_printable(&err);
    }
    uqff_arena_free(&arena);
    return 0;
}
