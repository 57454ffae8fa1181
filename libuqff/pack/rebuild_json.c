#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack/rebuild.h"

void uqff_rebuild_key(struct rebuild_json *json, const char *key) {
    uqff_buffer_printf(json->out, "%s\n%s", json->any ? "," : "", json->indent);
    uqff_buffer_json_string(json->out, key, strlen(key));
    uqff_buffer_append(json->out, ": ", 2);
    json->any = true;
}

void uqff_rebuild_text(struct rebuild_json *json, const char *key, const char *text,
                       size_t length) {
    uqff_rebuild_key(json, key);
    uqff_buffer_json_string(json->out, text, length);
}

void uqff_rebuild_count(struct rebuild_json *json, const char *key, uint64_t value) {
    uqff_rebuild_key(json, key);
    uqff_buffer_printf(json->out, "%" PRIu64, value);
}

void uqff_rebuild_flag(struct rebuild_json *json, const char *key, bool value) {
    uqff_rebuild_key(json, key);
    uqff_buffer_printf(json->out, "%s", value ? "true" : "false");
}

void uqff_rebuild_real(struct rebuild_json *json, const char *key, double value) {
    uqff_rebuild_key(json, key);
    uqff_rebuild_number(json->out, value);
}

void uqff_rebuild_number(struct uqff_buffer *out, double value) {
    enum { MOST_DIGITS = 17 };
    if (fabs(value) < 1e15 && value == floor(value)) {
        uqff_buffer_printf(out, "%" PRId64 ".0", (int64_t)value);
        return;
    }
    bool narrow = (double)(float)value == value;
    char text[40];
    for (int digits = 1; digits <= MOST_DIGITS; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        /* Written and read in the same locale, whatever that is. */
        double back = strtod(text, NULL);
        if (narrow ? (float)back == (float)value : back == value) {
            break;
        }
    }
    for (char *c = text; *c != '\0'; c++) {
        /* A locale may have another point. */
        bool ordinary = (*c >= '0' && *c <= '9') || *c == '-' || *c == '+' || *c == 'e';
        *c = (char)(ordinary ? *c : '.');
    }
    uqff_buffer_printf(out, "%s", text);
}
