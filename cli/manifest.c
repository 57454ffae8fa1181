/* manifest: reads and writes lists of digests. */
#include "manifest.h"

#include <string.h>

enum { MANIFEST_LIMIT = 256 << 20, SHA256_HEX = 64 };

/* A growing manifest that is being read. */
struct reading {
    struct cli *cli;
    const char *path;
    struct manifest *manifest;
    size_t capacity;
    struct uqff_error *err;
};

/* The name must lead to a file below the manifest, by plain components. */
static bool is_below(const char *name) {
    while (true) {
        const size_t length = strcspn(name, "/");
        if (!uqff_name_is_safe_component(name, length)) {
            return false;
        }
        if (name[length] == '\0') {
            return true;
        }
        name += length + 1;
    }
}

static enum uqff_code add_entry(struct reading *reading, const char *name, size_t name_length,
                                const char *hex, size_t hex_length, uint64_t bytes) {
    struct manifest *manifest = reading->manifest;
    unsigned char raw[SHA256_HEX / 2];
    const char *copy = uqff_arena_copy(&reading->cli->arena, name, name_length);
    if (copy == NULL) {
        return uqff_fail_memory(reading->err);
    }
    if (strlen(copy) != name_length || !is_below(copy)) {
        return uqff_fail(reading->err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "%s: '%.200s': expected the name of a file below the manifest's directory",
                         reading->path, copy);
    }
    if (hex_length != SHA256_HEX || !uqff_unhex(raw, hex, sizeof raw)) {
        return uqff_fail(reading->err, UQFF_E_SYNTAX, UQFF_NO_OFFSET,
                         "%s: '%.200s': expected a SHA-256 of 64 hexadecimal digits", reading->path,
                         copy);
    }
    if (manifest->count == reading->capacity) {
        const size_t capacity = reading->capacity == 0 ? 16 : reading->capacity * 2;
        struct manifest_entry *entries =
            uqff_arena_array(&reading->cli->arena, capacity, sizeof *entries);
        if (entries == NULL) {
            return uqff_fail_memory(reading->err);
        }
        if (manifest->count > 0) {
            memcpy(entries, manifest->entries, manifest->count * sizeof *entries);
        }
        manifest->entries = entries;
        reading->capacity = capacity;
    }
    struct manifest_entry *entry = &manifest->entries[manifest->count++];
    entry->name = copy;
    entry->bytes = bytes;
    uqff_hex(entry->sha256, raw, sizeof raw);
    return UQFF_OK;
}

/* ---- SHA256SUMS ------------------------------------------------------------------------------ */

/* Undoes coreutils' escapes (\\ and \n, \r) in place; false when one is unknown. */
static bool unescape(char *text, size_t *length) {
    size_t to = 0;
    for (size_t i = 0; i < *length; i++) {
        if (text[i] == '\\') {
            const char c = ++i < *length ? text[i] : '\0';
            if (c != '\\' && c != 'n' && c != 'r') {
                return false;
            }
            text[to++] = c == 'n' ? '\n' : c == 'r' ? '\r' : '\\';
        } else {
            text[to++] = text[i];
        }
    }
    *length = to;
    return true;
}

/* "hex  name", "hex *name", or with a backslash before the digits a name with escapes. */
static enum uqff_code read_line(struct reading *reading, char *line, size_t length, size_t number) {
    const size_t escaped = length > 0 && line[0] == '\\';
    char *hex = line + escaped, *name = hex + SHA256_HEX + 2;
    if (length < escaped + SHA256_HEX + 3 || hex[SHA256_HEX] != ' ' ||
        (hex[SHA256_HEX + 1] != ' ' && hex[SHA256_HEX + 1] != '*')) {
        return uqff_fail(reading->err, UQFF_E_SYNTAX, UQFF_NO_OFFSET,
                         "%s: line %zu: expected 64 hexadecimal digits, two spaces and a name",
                         reading->path, number);
    }
    size_t name_length = length - escaped - SHA256_HEX - 2;
    if (escaped && !unescape(name, &name_length)) {
        return uqff_fail(reading->err, UQFF_E_SYNTAX, UQFF_NO_OFFSET,
                         "%s: line %zu: unknown escape in the name", reading->path, number);
    }
    return add_entry(reading, name, name_length, hex, SHA256_HEX, UINT64_MAX);
}

static enum uqff_code read_sums(struct reading *reading, char *text, size_t size) {
    size_t number = 1;
    for (size_t i = 0; i < size; number++) {
        const char *end = memchr(text + i, '\n', size - i);
        const size_t length = end == NULL ? size - i : (size_t)(end - (text + i));
        if (length > 0) {
            enum uqff_code code = read_line(reading, text + i, length, number);
            if (code != UQFF_OK) {
                return code;
            }
        }
        i += length + 1;
    }
    return UQFF_OK;
}

/* ---- uqff.manifest/1 ------------------------------------------------------------------------- */

static bool key_is(const struct uqff_json_event *event, const char *key) {
    return event->length == strlen(key) && memcmp(event->text, key, event->length) == 0;
}

/* One object of "files"; unknown members are passed over. */
static enum uqff_code read_file(struct reading *reading, struct uqff_json *json) {
    struct uqff_json_event event;
    struct uqff_buffer name = {0}, hex = {0};
    uint64_t bytes = UINT64_MAX;
    bool done = false;
    enum uqff_code code = UQFF_OK;
    while (code == UQFF_OK) {
        code = uqff_json_member(json, &event, &done, reading->err);
        if (code != UQFF_OK || done) {
            break;
        }
        const bool is_path = key_is(&event, "path"), is_hex = key_is(&event, "sha256");
        const bool is_bytes = key_is(&event, "bytes");
        if (is_path || is_hex) {
            code = uqff_json_expect(json, UQFF_JSON_STRING, is_path ? "path" : "sha256", &event,
                                    reading->err);
            if (code == UQFF_OK) {
                uqff_buffer_append(is_path ? &name : &hex, event.text, event.length);
            }
            continue;
        }
        code = is_bytes ? uqff_json_expect(json, UQFF_JSON_NUMBER, "bytes", &event, reading->err)
                        : uqff_json_next(json, &event, reading->err);
        if (code == UQFF_OK && is_bytes && !event.is_u64) {
            code = uqff_json_unexpected(json, &event, "bytes", "a number of bytes", reading->err);
        } else if (code == UQFF_OK && is_bytes) {
            bytes = event.integer;
        } else if (code == UQFF_OK) {
            code = uqff_json_skip(json, &event, reading->err);
        }
    }
    if (code == UQFF_OK && (name.failed || hex.failed)) {
        code = uqff_fail_memory(reading->err);
    }
    if (code == UQFF_OK) {
        code = add_entry(reading, name.data == NULL ? "" : name.data, name.size,
                         hex.data == NULL ? "" : hex.data, hex.size, bytes);
    }
    uqff_buffer_free(&name);
    uqff_buffer_free(&hex);
    return code;
}

static enum uqff_code read_files(struct reading *reading, struct uqff_json *json) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(json, UQFF_JSON_ARRAY, "files", &event, reading->err);
    while (code == UQFF_OK) {
        code = uqff_json_next(json, &event, reading->err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        code = event.kind == UQFF_JSON_OBJECT
                   ? read_file(reading, json)
                   : uqff_json_unexpected(json, &event, "files", "an object", reading->err);
    }
    return code;
}

static enum uqff_code read_document(struct reading *reading, struct uqff_json *json) {
    struct uqff_json_event event;
    bool done = false, known = false;
    enum uqff_code code =
        uqff_json_expect(json, UQFF_JSON_OBJECT, "manifest", &event, reading->err);
    while (code == UQFF_OK) {
        code = uqff_json_member(json, &event, &done, reading->err);
        if (code != UQFF_OK || done) {
            break;
        }
        if (key_is(&event, "schema")) {
            code = uqff_json_expect(json, UQFF_JSON_STRING, "schema", &event, reading->err);
            known = code == UQFF_OK && key_is(&event, "uqff.manifest/1");
        } else if (key_is(&event, "files")) {
            code = read_files(reading, json);
        } else {
            code = uqff_json_next(json, &event, reading->err);
            code = code == UQFF_OK ? uqff_json_skip(json, &event, reading->err) : code;
        }
    }
    if (code == UQFF_OK && !known) {
        code = uqff_fail(reading->err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: 'schema': expected 'uqff.manifest/1'", reading->path);
    }
    return code == UQFF_OK ? uqff_json_expect(json, UQFF_JSON_END, "manifest", &event, reading->err)
                           : code;
}

static enum uqff_code read_json(struct reading *reading, const char *text, size_t size) {
    struct uqff_json *json = NULL;
    enum uqff_code code = uqff_json_open(text, size, reading->path, 0, 0, &json, reading->err);
    if (code == UQFF_OK) {
        code = read_document(reading, json);
        uqff_json_close(json);
    }
    return code;
}

enum uqff_code manifest_read(struct cli *cli, const char *path, struct manifest *out,
                             struct uqff_error *err) {
    struct uqff_source *source = NULL;
    char *text = NULL, *directory = uqff_path_directory(path);
    size_t size = 0;
    *out = (struct manifest){0};
    struct reading reading = {cli, path, out, 0, err};
    if (directory != NULL) {
        out->directory = uqff_arena_copy(&cli->arena, directory, strlen(directory));
    }
    enum uqff_code code = out->directory == NULL ? uqff_fail_memory(err) : UQFF_OK;
    if (code == UQFF_OK) {
        code = uqff_source_open(path, &source, err);
    }
    if (code == UQFF_OK) {
        code = uqff_source_read_all(source, MANIFEST_LIMIT, &text, &size, err);
    }
    if (code == UQFF_OK) {
        code = size > 0 && text[0] == '{' ? read_json(&reading, text, size)
                                          : read_sums(&reading, text, size);
    }
    if (code == UQFF_OK && out->count == 0) {
        code = uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET, "%s: lists no file", path);
    }
    uqff_free(text);
    uqff_free(directory);
    uqff_source_close(source);
    return code;
}

enum uqff_code manifest_put_line(struct uqff_buffer *out, const char *hex, const char *name,
                                 struct uqff_error *err) {
    /* sha256sum would write other control characters as they are: to a terminal, too. */
    char printable[8];
    const size_t n = strlen(name);
    size_t backslashes = 0;
    for (size_t i = 0; i < n; i++) {
        backslashes += name[i] == '\\';
    }
    if (uqff_printable(printable, sizeof printable, name, n) != n + backslashes) {
        return uqff_fail(
            err, UQFF_E_NAME, UQFF_NO_OFFSET,
            "'%.300s': a name with control characters cannot stand in a list of digests", name);
    }
    uqff_buffer_printf(out, "%s%s  ", backslashes > 0 ? "\\" : "", hex);
    for (size_t i = 0; i < n; i++) {
        uqff_buffer_append(out, name[i] == '\\' ? "\\\\" : name + i, name[i] == '\\' ? 2 : 1);
    }
    uqff_buffer_append(out, "\n", 1);
    return UQFF_OK;
}
