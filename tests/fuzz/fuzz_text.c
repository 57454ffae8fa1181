/* Printable text is valid, and never holds what could steer a terminal. */
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t needed = uqff_printable(NULL, 0, data, size);
    char *text = malloc(needed + 1);
    REQUIRE(text != NULL && uqff_printable(text, needed + 1, data, size) == needed);
    REQUIRE(uqff_utf8_valid(text, needed, NULL));
    for (size_t i = 0; i < needed; i++) {
        REQUIRE((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
    }
    /* Cut anywhere, it stays valid. */
    if (size > 0) {
        size_t cut = data[0] % (needed + 1);
        char *part = malloc(cut + 1);
        REQUIRE(part != NULL);
        uqff_printable(part, cut + 1, data, size);
        size_t length = 0;
        while (part[length] != '\0') {
            length++;
        }
        REQUIRE(length <= cut && uqff_utf8_valid(part, length, NULL));
        free(part);
    }
    free(text);
    struct uqff_buffer buffer = {0};
    uqff_buffer_json_string(&buffer, data, size);
    struct uqff_json *json = NULL;
    struct uqff_json_event event;
    struct uqff_error err;
    REQUIRE(!buffer.failed);
    REQUIRE(uqff_json_open(buffer.data, buffer.size, "made", 0, 0, &json, &err) == UQFF_OK);
    REQUIRE(uqff_json_next(json, &event, &err) == UQFF_OK && event.kind == UQFF_JSON_STRING);
    REQUIRE(uqff_json_next(json, &event, &err) == UQFF_OK && event.kind == UQFF_JSON_END);
    uqff_json_close(json);
    uqff_buffer_free(&buffer);
    return 0;
}
