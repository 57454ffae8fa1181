/* The strict JSON parser: events nest, numbers convert, the end comes. */
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct uqff_json *json = NULL;
    struct uqff_error err;
    if (uqff_json_open((const char *)data, size, "input", 0, 0, &json, &err) != UQFF_OK) {
        require_printable(&err);
        return 0;
    }
    int depth = 0;
    struct uqff_json_event event;
    for (;;) {
        if (uqff_json_next(json, &event, &err) != UQFF_OK) {
            require_printable(&err);
            break;
        }
        if (event.kind == UQFF_JSON_END) {
            REQUIRE(depth == 0);
            break;
        }
        depth += event.kind == UQFF_JSON_OBJECT || event.kind == UQFF_JSON_ARRAY;
        depth -= event.kind == UQFF_JSON_OBJECT_END || event.kind == UQFF_JSON_ARRAY_END;
        REQUIRE(depth >= 0 && depth <= 64);
        if (event.kind == UQFF_JSON_STRING || event.kind == UQFF_JSON_KEY) {
            REQUIRE(uqff_utf8_valid(event.text, event.length, NULL));
        }
        double value;
        if (event.kind == UQFF_JSON_NUMBER &&
            uqff_json_double(json, &event, &value, &err) != UQFF_OK) {
            require_printable(&err);
        }
    }
    uqff_json_close(json);
    return 0;
}
