/* json: a thin layer over cJSON. */
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* True after an allocation of the document failed: it is printed whole or not at all. */
static bool failed;

/* One character of UTF-8 at `s`: its length, and its code point in *out; 0 when it is not
 * well-formed. Looks at no more than n bytes. */
static size_t decode(const unsigned char *s, size_t n, uint32_t *out) {
    if (s[0] < 0x80) {
        *out = s[0];
        return 1;
    }
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (length > n || !uqff_utf8_valid(s, length, NULL)) {
        return 0;
    }
    uint32_t value = s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        value = value << 6 | (s[i] & 0x3Fu);
    }
    *out = value;
    return length;
}

/* The characters that uqff_printable() escapes. All are below U+10000. */
static bool is_hidden(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x2069) || c == 0xFEFF;
}

void json_quote(struct uqff_buffer *out, const void *bytes, size_t n) {
    const unsigned char *s = bytes;
    size_t plain = 0; /* where text that goes as it is begins */
    uqff_buffer_append(out, "\"", 1);
    for (size_t i = 0; i < n;) {
        if (s[i] >= 0x20 && s[i] < 0x7F && s[i] != '"' && s[i] != '\\') {
            i++;
            continue;
        }
        uint32_t c;
        size_t length = decode(s + i, n - i, &c);
        if (length > 1 && !is_hidden(c)) {
            i += length;
            continue;
        }
        uqff_buffer_append(out, s + plain, i - plain);
        if (length == 0) {
            uqff_buffer_append(out, "\xEF\xBF\xBD", 3);
            length = 1;
        } else if (c == '"' || c == '\\') {
            const char escape[2] = {'\\', (char)c};
            uqff_buffer_append(out, escape, 2);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            const char escape[2] = {'\\', c == '\n' ? 'n' : c == '\t' ? 't' : 'r'};
            uqff_buffer_append(out, escape, 2);
        } else {
            uqff_buffer_printf(out, "\\u%04x", (unsigned)c);
        }
        i += length;
        plain = i;
    }
    uqff_buffer_append(out, s + plain, n - plain);
    uqff_buffer_append(out, "\"", 1);
}

static cJSON *add(cJSON *parent, const char *key, cJSON *item) {
    if (parent == NULL || item == NULL) {
        failed = true;
        cJSON_Delete(item);
        return NULL;
    }
    if (key == NULL) {
        cJSON_AddItemToArray(parent, item);
    } else {
        cJSON_AddItemToObjectCS(parent, key, item);
    }
    return item;
}

cJSON *json_object(cJSON *parent, const char *key) {
    return add(parent, key, cJSON_CreateObject());
}

cJSON *json_array(cJSON *parent, const char *key) {
    return add(parent, key, cJSON_CreateArray());
}

void json_raw(cJSON *parent, const char *key, const char *json) {
    add(parent, key, cJSON_CreateRaw(json));
}

void json_u64(cJSON *parent, const char *key, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    json_raw(parent, key, text);
}

void json_i64(cJSON *parent, const char *key, int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    json_raw(parent, key, text);
}

void json_put_double(struct uqff_buffer *out, double value) {
    char text[40];
    if (!isfinite(value)) {
        uqff_buffer_append(out, "null", 4);
        return;
    }
    /* The shortest of the usual precisions that reads back as the same number. */
    static const int precisions[] = {6, 9, 15, 17};
    for (size_t i = 0; i < sizeof precisions / sizeof precisions[0]; i++) {
        snprintf(text, sizeof text, "%.*g", precisions[i], value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    uqff_buffer_append(out, text, strlen(text));
}

void json_raw_buffer(cJSON *parent, const char *key, struct uqff_buffer *json) {
    if (json->failed) {
        failed = true;
    } else {
        json_raw(parent, key, json->data);
    }
    uqff_buffer_free(json);
}

void json_double(cJSON *parent, const char *key, double value) {
    struct uqff_buffer text = {0};
    json_put_double(&text, value);
    json_raw_buffer(parent, key, &text);
}

void json_bool(cJSON *parent, const char *key, bool value) {
    add(parent, key, cJSON_CreateBool(value));
}

void json_null(cJSON *parent, const char *key) {
    add(parent, key, cJSON_CreateNull());
}

void json_text(cJSON *parent, const char *key, const char *text) {
    if (text == NULL) {
        json_null(parent, key);
        return;
    }
    struct uqff_buffer quoted = {0};
    json_quote(&quoted, text, strlen(text));
    json_raw_buffer(parent, key, &quoted);
}

void json_put_bytes(struct uqff_buffer *out, const void *bytes, size_t n) {
    if (uqff_utf8_valid(bytes, n, NULL)) {
        json_quote(out, bytes, n);
        return;
    }
    uqff_buffer_printf(out, "{\"hex\":\"");
    for (size_t i = 0; i < n; i++) {
        char hex[3];
        uqff_hex(hex, (const unsigned char *)bytes + i, 1);
        uqff_buffer_append(out, hex, 2);
    }
    uqff_buffer_append(out, "\"}", 2);
}

void json_bytes(cJSON *parent, const char *key, const void *bytes, size_t n) {
    struct uqff_buffer text = {0};
    json_put_bytes(&text, bytes, n);
    json_raw_buffer(parent, key, &text);
}

void json_put_shape(struct uqff_buffer *out, const uint64_t *shape, unsigned rank) {
    uqff_buffer_append(out, "[", 1);
    for (unsigned i = 0; i < rank; i++) {
        uqff_buffer_printf(out, "%s%llu", i == 0 ? "" : ",", (unsigned long long)shape[i]);
    }
    uqff_buffer_append(out, "]", 1);
}

void json_list(cJSON *parent, const char *key, struct uqff_buffer *items) {
    struct uqff_buffer text = {0};
    uqff_buffer_append(&text, "[", 1);
    uqff_buffer_append(&text, items->data == NULL ? "" : items->data, items->size);
    uqff_buffer_append(&text, "]", 1);
    text.failed = text.failed || items->failed;
    uqff_buffer_free(items);
    json_raw_buffer(parent, key, &text);
}

cJSON *json_document_of(const char *schema) {
    cJSON_Hooks hooks = {uqff_alloc, uqff_free};
    cJSON_InitHooks(&hooks);
    failed = false;
    cJSON *document = cJSON_CreateObject();
    json_text(document, "schema", schema);
    return document;
}

cJSON *json_document(const struct cli *cli) {
    char schema[64];
    snprintf(schema, sizeof schema, "uqff.%s/1", cli->command->name);
    return json_document_of(schema);
}

enum uqff_code json_render(cJSON *document, struct uqff_buffer *out, struct uqff_error *err) {
    char *text = failed ? NULL : cJSON_PrintUnformatted(document);
    cJSON_Delete(document);
    if (text == NULL) {
        return uqff_fail_memory(err);
    }
    uqff_buffer_append(out, text, strlen(text));
    uqff_buffer_append(out, "\n", 1);
    uqff_free(text);
    return out->failed ? uqff_fail_memory(err) : UQFF_OK;
}

enum uqff_code json_print(struct cli *cli, cJSON *document, struct uqff_error *err) {
    cJSON *warnings = json_array(document, "warnings");
    for (size_t i = 0; i < cli->warnings.count; i++) {
        json_text(warnings, NULL, cli->warnings.items[i]);
    }
    struct uqff_buffer text = {0};
    enum uqff_code code = json_render(document, &text, err);
    if (code == UQFF_OK) {
        fwrite(text.data, 1, text.size, stdout);
    }
    uqff_buffer_free(&text);
    return code;
}
