#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { DEFAULT_DEPTH = 64 };

/* What may come next. */
enum state {
    WANT_VALUE,        /* the document, or behind a comma of an array */
    WANT_FIRST_VALUE,  /* behind [ */
    WANT_FIRST_KEY,    /* behind { */
    WANT_MEMBER_VALUE, /* behind a key: the colon, then a value */
    WANT_COMMA_OR_END, /* behind a value in an array or object */
    WANT_NOTHING,      /* behind the document */
    DONE,
    FAILED,
};

/* An array or object that is open. */
struct frame {
    bool is_object;
    size_t first_key; /* where its keys begin on the stack */
    struct uqff_json_index index;
};

struct uqff_json {
    const char *text;
    size_t n, at;
    char *where;
    uint64_t base;
    unsigned max_depth, depth;
    enum state state;
    struct frame *frames; /* those at and beyond `depth` keep the memory of their index */
    size_t frames_made, frames_capacity;
    struct uqff_json_keys keys;
    uint64_t secret;
    char *unescaped;
    size_t unescaped_capacity;
    struct uqff_error failure;
};

enum uqff_code uqff_json_open(const char *text, size_t n, const char *where, uint64_t offset,
                              unsigned max_depth, struct uqff_json **out, struct uqff_error *err) {
    struct uqff_json *json = uqff_alloc_array(1, sizeof *json);
    if (json == NULL) {
        return uqff_fail_memory(err);
    }
    json->where = uqff_path_join(NULL, where);
    if (json->where == NULL) {
        uqff_free(json);
        return uqff_fail_memory(err);
    }
    json->text = n == 0 ? "" : text;
    json->n = n;
    json->base = offset;
    json->max_depth = max_depth == 0 ? DEFAULT_DEPTH : max_depth;
    json->state = WANT_VALUE;
    /* Where the heap lies differs from run to run. It changes how long a look-up takes, nothing
     * else. */
    json->secret = (uint64_t)(uintptr_t)json * UINT64_C(0x9E3779B97F4A7C15) | 1;
    *out = json;
    return UQFF_OK;
}

void uqff_json_close(struct uqff_json *json) {
    if (json == NULL) {
        return;
    }
    for (size_t i = 0; i < json->frames_made; i++) {
        uqff_free(json->frames[i].index.slots);
    }
    uqff_free(json->frames);
    uqff_free(json->keys.digests);
    uqff_free(json->unescaped);
    uqff_free(json->where);
    uqff_free(json);
}

/* ---- failing --------------------------------------------------------------------------------- */

/* Keeps the failure, for it is given again to every later call. */
static enum uqff_code keep(struct uqff_json *json, struct uqff_error *err) {
    json->state = FAILED;
    if (err != NULL) {
        *err = json->failure;
    }
    return json->failure.code;
}

/* "<where>: <what> at byte N: found X, expected Y". */
static enum uqff_code fail_found(struct uqff_json *json, size_t at, const char *what,
                                 const char *expected, struct uqff_error *err) {
    uint64_t offset = json->base + at;
    if (at >= json->n) {
        uqff_fail(&json->failure, UQFF_E_SYNTAX, offset,
                  "%s: %s at byte %" PRIu64 ": found the end of the text, expected %s", json->where,
                  what, offset, expected);
        return keep(json, err);
    }
    unsigned char c = (unsigned char)json->text[at];
    if (c > 0x20 && c < 0x7F) {
        uqff_fail(&json->failure, UQFF_E_SYNTAX, offset,
                  "%s: %s at byte %" PRIu64 ": found '%c', expected %s", json->where, what, offset,
                  c, expected);
    } else {
        uqff_fail(&json->failure, UQFF_E_SYNTAX, offset,
                  "%s: %s at byte %" PRIu64 ": found byte 0x%02x, expected %s", json->where, what,
                  offset, (unsigned)c, expected);
    }
    return keep(json, err);
}

static enum uqff_code fail_at(struct uqff_json *json, enum uqff_code code, size_t at,
                              const char *what, const char *more, struct uqff_error *err) {
    uint64_t offset = json->base + at;
    uqff_fail(&json->failure, code, offset, "%s: %s at byte %" PRIu64 "%s", json->where, what,
              offset, more);
    return keep(json, err);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static void skip_white(struct uqff_json *json) {
    while (json->at < json->n) {
        char c = json->text[json->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            break;
        }
        json->at++;
    }
}

/* The character at the front, or 0 at the end; a NUL in the text is nothing that anyone wants. */
static char front(const struct uqff_json *json) {
    return json->at < json->n ? json->text[json->at] : '\0';
}

static const struct {
    enum uqff_code code;
    const char *what, *more;
} string_faults[] = {
    [UQFF_JSON_UNENDED] = {UQFF_E_SYNTAX, "string that does not end", ", where the text ends"},
    [UQFF_JSON_CONTROL] = {UQFF_E_SYNTAX, "control character in a string",
                           ", which must be escaped"},
    [UQFF_JSON_BAD_UTF8] = {UQFF_E_ENCODING, "invalid UTF-8 in a string", ""},
    [UQFF_JSON_BAD_ESCAPE] = {UQFF_E_SYNTAX, "unknown escape in a string", ""},
    [UQFF_JSON_SURROGATE] = {UQFF_E_ENCODING, "half of a surrogate pair in a string", ""},
};

/* Reads the string at the front, a quote, into the event. */
static enum uqff_code read_string(struct uqff_json *json, struct uqff_json_event *event,
                                  struct uqff_error *err) {
    size_t start = json->at + 1, end;
    bool escaped;
    enum uqff_json_fault fault = uqff_json_scan_string(json->text, json->n, start, &end, &escaped);
    if (fault != UQFF_JSON_FINE) {
        return fail_at(json, string_faults[fault].code, end, string_faults[fault].what,
                       string_faults[fault].more, err);
    }
    json->at = end + 1;
    event->text = json->text + start;
    event->length = end - start;
    if (!escaped) {
        return UQFF_OK;
    }
    void *room = json->unescaped;
    if (uqff_grow(&room, &json->unescaped_capacity, end - start, 1, &json->failure) != UQFF_OK) {
        return keep(json, err);
    }
    json->unescaped = room;
    event->text = json->unescaped;
    event->length = uqff_json_unescape(json->unescaped, json->text + start, end - start);
    return UQFF_OK;
}

/* Moves over decimal digits and returns how many there were. */
static size_t skip_digits(struct uqff_json *json) {
    size_t start = json->at;
    while (json->at < json->n && json->text[json->at] >= '0' && json->text[json->at] <= '9') {
        json->at++;
    }
    return json->at - start;
}

/* number = [ "-" ] ( "0" / digit1-9 *digit ) [ "." 1*digit ] [ ("e" / "E") ["+" / "-"] 1*digit ] */
static enum uqff_code read_number(struct uqff_json *json, struct uqff_json_event *event,
                                  struct uqff_error *err) {
    size_t start = json->at;
    bool plain = true;
    if (front(json) == '-') {
        json->at++;
        plain = false;
    }
    bool zero = front(json) == '0';
    size_t digits = skip_digits(json);
    if (digits == 0) {
        return fail_found(json, json->at, "bad number", "a digit", err);
    }
    if (zero && digits > 1) {
        return fail_at(json, UQFF_E_SYNTAX, start, "number with a leading zero", "", err);
    }
    if (front(json) == '.') {
        json->at++;
        plain = false;
        if (skip_digits(json) == 0) {
            return fail_found(json, json->at, "bad number", "a digit", err);
        }
    }
    if (front(json) == 'e' || front(json) == 'E') {
        json->at++;
        plain = false;
        if (front(json) == '+' || front(json) == '-') {
            json->at++;
        }
        if (skip_digits(json) == 0) {
            return fail_found(json, json->at, "bad number", "a digit", err);
        }
    }
    event->kind = UQFF_JSON_NUMBER;
    event->text = json->text + start;
    event->length = json->at - start;
    event->is_u64 = plain && digits <= 20;
    for (size_t i = 0; event->is_u64 && i < digits; i++) {
        event->is_u64 =
            uqff_mul_u64(event->integer, 10, &event->integer) &&
            uqff_add_u64(event->integer, (uint64_t)(event->text[i] - '0'), &event->integer);
    }
    if (!event->is_u64) {
        event->integer = 0;
    }
    return UQFF_OK;
}

static const struct {
    const char *word;
    enum uqff_json_kind kind;
} literals[] = {
    {"true", UQFF_JSON_TRUE},
    {"false", UQFF_JSON_FALSE},
    {"null", UQFF_JSON_NULL},
};

/* Reads true, false or null; false when none of them is there. */
static bool read_literal(struct uqff_json *json, struct uqff_json_event *event) {
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++) {
        size_t length = strlen(literals[i].word);
        if (json->n - json->at >= length &&
            memcmp(json->text + json->at, literals[i].word, length) == 0) {
            json->at += length;
            event->kind = literals[i].kind;
            return true;
        }
    }
    return false;
}

/* ---- structure ------------------------------------------------------------------------------- */

static enum state after_value(const struct uqff_json *json) {
    return json->depth == 0 ? WANT_NOTHING : WANT_COMMA_OR_END;
}

static enum uqff_code open_container(struct uqff_json *json, bool is_object,
                                     struct uqff_json_event *event, struct uqff_error *err) {
    if (json->depth >= json->max_depth) {
        uint64_t offset = json->base + json->at;
        uqff_fail(&json->failure, UQFF_E_LIMIT, offset,
                  "%s: nested too deep at byte %" PRIu64 ", expected at most %u levels",
                  json->where, offset, json->max_depth);
        return keep(json, err);
    }
    if (json->depth == json->frames_made) {
        void *frames = json->frames;
        if (uqff_grow(&frames, &json->frames_capacity, json->frames_made + 1, sizeof *json->frames,
                      &json->failure) != UQFF_OK) {
            return keep(json, err);
        }
        json->frames = frames;
        json->frames[json->frames_made++] = (struct frame){0};
    }
    struct frame *frame = &json->frames[json->depth++];
    frame->is_object = is_object;
    frame->first_key = json->keys.count;
    frame->index.bits = 0;
    json->at++;
    json->state = is_object ? WANT_FIRST_KEY : WANT_FIRST_VALUE;
    event->kind = is_object ? UQFF_JSON_OBJECT : UQFF_JSON_ARRAY;
    return UQFF_OK;
}

static enum uqff_code close_container(struct uqff_json *json, struct uqff_json_event *event) {
    struct frame *frame = &json->frames[--json->depth];
    json->keys.count = frame->first_key;
    json->at++;
    json->state = after_value(json);
    event->kind = frame->is_object ? UQFF_JSON_OBJECT_END : UQFF_JSON_ARRAY_END;
    return UQFF_OK;
}

static enum uqff_code read_value(struct uqff_json *json, struct uqff_json_event *event,
                                 struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    char c = front(json);
    if (c == '{' || c == '[') {
        return open_container(json, c == '{', event, err);
    }
    if (c == '"') {
        event->kind = UQFF_JSON_STRING;
        code = read_string(json, event, err);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        code = read_number(json, event, err);
    } else if (!read_literal(json, event)) {
        if (json->at == 0 && json->n >= 3 && memcmp(json->text, "\xEF\xBB\xBF", 3) == 0) {
            return fail_at(json, UQFF_E_SYNTAX, 0, "byte order mark", ", expected JSON in UTF-8",
                           err);
        }
        return fail_found(json, json->at, "no value", "a JSON value", err);
    }
    if (code == UQFF_OK) {
        json->state = after_value(json);
    }
    return code;
}

static enum uqff_code read_key(struct uqff_json *json, struct uqff_json_event *event,
                               struct uqff_error *err) {
    if (front(json) != '"') {
        return fail_found(json, json->at, "no key", "a key in quotes", err);
    }
    enum uqff_code code = read_string(json, event, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct frame *frame = &json->frames[json->depth - 1];
    bool duplicate;
    if (uqff_json_keys_add(&json->keys, &frame->index, frame->first_key, json->secret, event->text,
                           event->length, &duplicate, &json->failure) != UQFF_OK) {
        return keep(json, err);
    }
    if (duplicate) {
        uqff_fail(&json->failure, UQFF_E_DUPLICATE, event->offset,
                  "%s: key '%.*s' at byte %" PRIu64 ": found twice in one object, expected once",
                  json->where, event->length < 256 ? (int)event->length : 256, event->text,
                  event->offset);
        return keep(json, err);
    }
    event->kind = UQFF_JSON_KEY;
    json->state = WANT_MEMBER_VALUE;
    return UQFF_OK;
}

/* The next token, at the front behind white space. */
static enum uqff_code read_token(struct uqff_json *json, struct uqff_json_event *event,
                                 struct uqff_error *err) {
    char c = front(json);
    bool in_object = json->depth > 0 && json->frames[json->depth - 1].is_object;
    char closing = in_object ? '}' : ']';
    switch (json->state) {
    case WANT_FIRST_VALUE:
        if (c == ']') {
            return close_container(json, event);
        }
        return read_value(json, event, err);
    case WANT_FIRST_KEY:
        if (c == '}') {
            return close_container(json, event);
        }
        return read_key(json, event, err);
    case WANT_MEMBER_VALUE:
        if (c != ':') {
            return fail_found(json, json->at, "no colon", "':' behind a key", err);
        }
        json->at++;
        skip_white(json);
        event->offset = json->base + json->at;
        return read_value(json, event, err);
    case WANT_COMMA_OR_END:
        if (c == closing) {
            return close_container(json, event);
        }
        if (c != ',') {
            return fail_found(json, json->at, "no comma", in_object ? "',' or '}'" : "',' or ']'",
                              err);
        }
        json->at++;
        skip_white(json);
        event->offset = json->base + json->at;
        return in_object ? read_key(json, event, err) : read_value(json, event, err);
    case WANT_NOTHING:
        if (json->at < json->n) {
            return fail_found(json, json->at, "text behind the document", "the end", err);
        }
        json->state = DONE;
        return UQFF_OK;
    default:
        return read_value(json, event, err);
    }
}

enum uqff_code uqff_json_next(struct uqff_json *json, struct uqff_json_event *event,
                              struct uqff_error *err) {
    if (json->state == FAILED) {
        return keep(json, err);
    }
    struct uqff_json_event next = {.kind = UQFF_JSON_END};
    enum uqff_code code = UQFF_OK;
    skip_white(json);
    next.offset = json->base + json->at;
    if (json->state != DONE) {
        code = read_token(json, &next, err);
    }
    if (code == UQFF_OK) {
        *event = next;
    }
    return code;
}

/* ---- conveniences ---------------------------------------------------------------------------- */

enum uqff_code uqff_json_skip(struct uqff_json *json, const struct uqff_json_event *event,
                              struct uqff_error *err) {
    struct uqff_json_event next = *event;
    if (next.kind == UQFF_JSON_KEY) {
        enum uqff_code code = uqff_json_next(json, &next, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    if (next.kind != UQFF_JSON_OBJECT && next.kind != UQFF_JSON_ARRAY) {
        return UQFF_OK;
    }
    unsigned outside = json->depth - 1;
    while (json->depth > outside) {
        enum uqff_code code = uqff_json_next(json, &next, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_json_skip_next(struct uqff_json *json, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(json, &event, err);
    return code != UQFF_OK ? code : uqff_json_skip(json, &event, err);
}

static const char *const kind_names[] = {
    [UQFF_JSON_END] = "the end of the text",
    [UQFF_JSON_OBJECT] = "an object",
    [UQFF_JSON_OBJECT_END] = "the end of the object",
    [UQFF_JSON_ARRAY] = "an array",
    [UQFF_JSON_ARRAY_END] = "the end of the array",
    [UQFF_JSON_KEY] = "a key",
    [UQFF_JSON_STRING] = "a string",
    [UQFF_JSON_NUMBER] = "a number",
    [UQFF_JSON_TRUE] = "true",
    [UQFF_JSON_FALSE] = "false",
    [UQFF_JSON_NULL] = "null",
};

enum uqff_code uqff_json_unexpected(const struct uqff_json *json,
                                    const struct uqff_json_event *event, const char *what,
                                    const char *expected, struct uqff_error *err) {
    const char *kind = kind_names[event->kind];
    int shown = event->length < 64 ? (int)event->length : 64;
    switch (event->kind) {
    case UQFF_JSON_KEY:
    case UQFF_JSON_STRING:
        return uqff_fail(err, UQFF_E_FIELD, event->offset, "%s: %s: found %s '%.*s', expected %s",
                         json->where, what, kind + 2, shown, event->text, expected);
    case UQFF_JSON_NUMBER:
        return uqff_fail(err, UQFF_E_FIELD, event->offset, "%s: %s: found %s %.*s, expected %s",
                         json->where, what, kind + 2, shown, event->text, expected);
    default:
        return uqff_fail(err, UQFF_E_FIELD, event->offset, "%s: %s: found %s, expected %s",
                         json->where, what, kind, expected);
    }
}

enum uqff_code uqff_json_expect(struct uqff_json *json, enum uqff_json_kind kind, const char *what,
                                struct uqff_json_event *event, struct uqff_error *err) {
    enum uqff_code code = uqff_json_next(json, event, err);
    if (code != UQFF_OK || event->kind == kind) {
        return code;
    }
    return uqff_json_unexpected(json, event, what, kind_names[kind], err);
}

enum uqff_code uqff_json_member(struct uqff_json *json, struct uqff_json_event *event, bool *done,
                                struct uqff_error *err) {
    enum uqff_code code = uqff_json_next(json, event, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (event->kind != UQFF_JSON_KEY && event->kind != UQFF_JSON_OBJECT_END) {
        return uqff_json_unexpected(json, event, "object", "a key or the end of the object", err);
    }
    *done = event->kind == UQFF_JSON_OBJECT_END;
    return UQFF_OK;
}

enum uqff_code uqff_json_double(const struct uqff_json *json, const struct uqff_json_event *event,
                                double *out, struct uqff_error *err) {
    char fixed[128];
    char *token = fixed;
    if (event->kind != UQFF_JSON_NUMBER) {
        return uqff_json_unexpected(json, event, "number", "a number", err);
    }
    if (event->length >= sizeof fixed) {
        token = uqff_alloc(event->length + 1);
        if (token == NULL) {
            return uqff_fail_memory(err);
        }
    }
    memcpy(token, event->text, event->length);
    token[event->length] = '\0';
    double value = strtod_l(token, NULL, uqff_c_locale());
    if (token != fixed) {
        uqff_free(token);
    }
    if (!isfinite(value)) {
        return uqff_json_unexpected(json, event, "number", "one within the range of a double", err);
    }
    *out = value;
    return UQFF_OK;
}
