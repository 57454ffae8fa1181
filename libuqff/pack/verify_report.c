/* verify_report: how many layers each output of a report says it has. */
#include <string.h>

#include "pack/verify.h"

static bool is_key(const struct uqff_json_event *event, const char *key) {
    return event->length == strlen(key) && memcmp(event->text, key, event->length) == 0;
}

/* One member of `outputs`; its opening brace has been read. */
static enum uqff_code read_output(struct uqff_json *json, uint64_t *layers,
                                  struct uqff_error *err) {
    struct uqff_json_event event;
    for (;;) {
        bool done = false;
        enum uqff_code code = uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            return code;
        }
        const bool wanted = is_key(&event, "layers");
        code = uqff_json_next(json, &event, err);
        if (code == UQFF_OK && wanted && event.kind == UQFF_JSON_NUMBER && event.is_u64) {
            *layers = event.integer;
        }
        if (code == UQFF_OK) {
            code = uqff_json_skip(json, &event, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
}

static enum uqff_code read_outputs(struct uqff_json *json, uint64_t *layers, size_t count,
                                   struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(json, UQFF_JSON_ARRAY, "outputs", &event, err);
    for (size_t i = 0; code == UQFF_OK; i++) {
        code = uqff_json_next(json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        code = event.kind == UQFF_JSON_OBJECT && i < count ? read_output(json, &layers[i], err)
                                                           : uqff_json_skip(json, &event, err);
    }
    return code;
}

enum uqff_code uqff_verify_report_layers(const char *text, size_t size, uint64_t *layers,
                                         size_t count, struct uqff_error *err) {
    struct uqff_json *json = NULL;
    struct uqff_json_event event;
    for (size_t i = 0; i < count; i++) {
        layers[i] = UINT64_MAX;
    }
    enum uqff_code code = uqff_json_open(text, size, "uqff_report.json", 0, 0, &json, err);
    if (code == UQFF_OK) {
        code = uqff_json_expect(json, UQFF_JSON_OBJECT, "the report", &event, err);
    }
    while (code == UQFF_OK) {
        bool done = false;
        code = uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        code = is_key(&event, "outputs") ? read_outputs(json, layers, count, err)
                                         : uqff_json_skip_next(json, err);
    }
    uqff_json_close(json);
    return code;
}
