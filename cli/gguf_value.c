/* gguf_value: from KEY=TYPE:VALUE to a key of a layout. */
#include "gguf_value.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* A key that is being set, and what its value is to be. */
struct setting {
    struct cli *cli;
    struct uqff_gguf_layout *layout;
    const char *option, *key;
    enum uqff_gguf_kind kind; /* of the value, or of the elements of an array */
    const char *value;        /* behind the colon */
};

/* A number as written: integers are exact. */
struct number {
    bool is_integer, negative;
    uint64_t magnitude;
    double real;
};

static bool is_signed(enum uqff_gguf_kind kind) {
    return kind == UQFF_GGUF_I8 || kind == UQFF_GGUF_I16 || kind == UQFF_GGUF_I32 ||
           kind == UQFF_GGUF_I64;
}

static bool is_float(enum uqff_gguf_kind kind) {
    return kind == UQFF_GGUF_F32 || kind == UQFF_GGUF_F64;
}

static unsigned bits_of(enum uqff_gguf_kind kind) {
    static const unsigned bits[UQFF_GGUF_KIND_COUNT] = {
        [UQFF_GGUF_U8] = 8,   [UQFF_GGUF_I8] = 8,   [UQFF_GGUF_U16] = 16, [UQFF_GGUF_I16] = 16,
        [UQFF_GGUF_U32] = 32, [UQFF_GGUF_I32] = 32, [UQFF_GGUF_F32] = 32, [UQFF_GGUF_BOOL] = 8,
        [UQFF_GGUF_U64] = 64, [UQFF_GGUF_I64] = 64, [UQFF_GGUF_F64] = 64,
    };
    return bits[kind];
}

/* ---- numbers --------------------------------------------------------------------------------- */

static enum uqff_code unfit(const struct setting *setting, const char *text, size_t n,
                            struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "option '%s': key '%.96s': found '%.*s', expected a value of type %s",
                     setting->option, setting->key, (int)(n < 64 ? n : 64), text,
                     uqff_gguf_kind_name(setting->kind));
}

/* "-12" and "12", nothing else, below 2^64. */
static bool parse_integer(const char *text, size_t n, struct number *out) {
    size_t i = out->negative = n > 0 && text[0] == '-';
    if (i == n) {
        return false;
    }
    out->magnitude = 0;
    for (; i < n; i++) {
        const unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9 || !uqff_mul_u64(out->magnitude, 10, &out->magnitude) ||
            !uqff_add_u64(out->magnitude, digit, &out->magnitude)) {
            return false;
        }
    }
    return true;
}

/* Whether an integer, or a double that is to be rounded, lies in the range of the kind. */
static bool fits(const struct number *number, enum uqff_gguf_kind kind) {
    if (is_float(kind)) {
        return kind == UQFF_GGUF_F64 || !isfinite(number->real) || fabs(number->real) <= FLT_MAX;
    }
    if (!number->is_integer) {
        return false;
    }
    const uint64_t largest = UINT64_MAX >> (64 - bits_of(kind) + (is_signed(kind) ? 1 : 0));
    if (number->negative && number->magnitude > 0) {
        return is_signed(kind) && number->magnitude <= largest + 1;
    }
    return number->magnitude <= largest;
}

static enum uqff_code read_number(const struct setting *setting, const struct uqff_json *json,
                                  const struct uqff_json_event *event, struct number *out,
                                  struct uqff_error *err) {
    *out = (struct number){0};
    if (event->kind != UQFF_JSON_NUMBER) {
        return unfit(setting, event->text == NULL ? "" : event->text, event->length, err);
    }
    out->is_integer = parse_integer(event->text, event->length, out);
    if (is_float(setting->kind)) {
        enum uqff_code code = uqff_json_double(json, event, &out->real, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return fits(out, setting->kind) ? UQFF_OK : unfit(setting, event->text, event->length, err);
}

static int64_t signed_value(const struct number *number) {
    /* In the range, so that the two's complement of the magnitude is the number. */
    const uint64_t bits = number->negative ? 0 - number->magnitude : number->magnitude;
    int64_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static enum uqff_code set_number(const struct setting *setting, const struct number *number,
                                 struct uqff_error *err) {
    if (is_float(setting->kind)) {
        return uqff_gguf_set_double(setting->layout, setting->key, setting->kind, number->real,
                                    err);
    }
    if (is_signed(setting->kind)) {
        return uqff_gguf_set_i64(setting->layout, setting->key, setting->kind, signed_value(number),
                                 err);
    }
    return uqff_gguf_set_u64(setting->layout, setting->key, setting->kind, number->magnitude, err);
}

static void append_number(struct uqff_buffer *out, enum uqff_gguf_kind kind,
                          const struct number *number) {
    unsigned char bytes[8];
    uint64_t bits = (uint64_t)signed_value(number);
    if (kind == UQFF_GGUF_F64) {
        memcpy(&bits, &number->real, sizeof bits);
    } else if (kind == UQFF_GGUF_F32) {
        const float narrow = (float)number->real;
        uint32_t narrow_bits;
        memcpy(&narrow_bits, &narrow, sizeof narrow_bits);
        bits = narrow_bits;
    }
    uqff_store_le64(bytes, bits);
    uqff_buffer_append(out, bytes, bits_of(kind) / 8);
}

/* ---- scalars --------------------------------------------------------------------------------- */

/* JSON has no words for these. */
static bool special_float(const char *text, double *out) {
    static const struct {
        const char *text;
        double value;
    } specials[] = {{"nan", (double)NAN}, {"inf", (double)INFINITY}, {"-inf", -(double)INFINITY}};
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        if (strcmp(text, specials[i].text) == 0) {
            *out = specials[i].value;
            return true;
        }
    }
    return false;
}

static enum uqff_code set_scalar(const struct setting *setting, struct uqff_error *err) {
    const char *text = setting->value;
    struct number number = {0};
    struct uqff_json *json = NULL;
    struct uqff_json_event event;
    if (setting->kind == UQFF_GGUF_STRING) {
        return uqff_gguf_set_string(setting->layout, setting->key, text, strlen(text), err);
    }
    if (setting->kind == UQFF_GGUF_BOOL) {
        const bool yes = strcmp(text, "true") == 0;
        return yes || strcmp(text, "false") == 0
                   ? uqff_gguf_set_bool(setting->layout, setting->key, yes, err)
                   : unfit(setting, text, strlen(text), err);
    }
    if (is_float(setting->kind) && special_float(text, &number.real)) {
        return set_number(setting, &number, err);
    }
    enum uqff_code code = uqff_json_open(text, strlen(text), setting->key, 0, 0, &json, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_json_next(json, &event, err);
    if (code == UQFF_OK) {
        code = read_number(setting, json, &event, &number, err);
    }
    if (code == UQFF_OK) {
        code = uqff_json_expect(json, UQFF_JSON_END, "the value", &event, err);
    }
    uqff_json_close(json);
    if (code == UQFF_E_SYNTAX || code == UQFF_E_FIELD || code == UQFF_E_ENCODING) {
        return unfit(setting, text, strlen(text), err);
    }
    return code == UQFF_OK ? set_number(setting, &number, err) : code;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* Elements on the way: fixed-size ones as bytes, strings as such. */
struct elements {
    struct uqff_buffer bytes;
    struct uqff_gguf_string *strings;
    size_t count, capacity;
};

static enum uqff_code add_string(const struct setting *setting, struct elements *elements,
                                 const struct uqff_json_event *event, struct uqff_error *err) {
    if (event->kind != UQFF_JSON_STRING) {
        return unfit(setting, event->text == NULL ? "" : event->text, event->length, err);
    }
    void *strings = elements->strings;
    enum uqff_code code = uqff_grow(&strings, &elements->capacity, elements->count + 1,
                                    sizeof *elements->strings, err);
    elements->strings = strings;
    if (code != UQFF_OK) {
        return code;
    }
    const char *copy = uqff_arena_copy(&setting->cli->arena, event->text, event->length);
    if (copy == NULL) {
        return uqff_fail_memory(err);
    }
    elements->strings[elements->count] = (struct uqff_gguf_string){copy, event->length};
    return UQFF_OK;
}

static enum uqff_code add_element(const struct setting *setting, struct elements *elements,
                                  const struct uqff_json *json, const struct uqff_json_event *event,
                                  struct uqff_error *err) {
    struct number number;
    enum uqff_code code;
    switch (setting->kind) {
    case UQFF_GGUF_STRING:
        return add_string(setting, elements, event, err);
    case UQFF_GGUF_BOOL:
        if (event->kind != UQFF_JSON_TRUE && event->kind != UQFF_JSON_FALSE) {
            return unfit(setting, event->text == NULL ? "" : event->text, event->length, err);
        }
        uqff_buffer_append(&elements->bytes, event->kind == UQFF_JSON_TRUE ? "\1" : "", 1);
        return UQFF_OK;
    default:
        code = read_number(setting, json, event, &number, err);
        if (code == UQFF_OK) {
            append_number(&elements->bytes, setting->kind, &number);
        }
        return code;
    }
}

static enum uqff_code read_elements(const struct setting *setting, struct elements *elements,
                                    struct uqff_json *json, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(json, UQFF_JSON_ARRAY, "its beginning", &event, err);
    while (code == UQFF_OK) {
        code = uqff_json_next(json, &event, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (event.kind == UQFF_JSON_ARRAY_END) {
            return uqff_json_expect(json, UQFF_JSON_END, "the value", &event, err);
        }
        code = add_element(setting, elements, json, &event, err);
        elements->count += code == UQFF_OK;
    }
    return code;
}

static enum uqff_code set_array(const struct setting *setting, struct uqff_error *err) {
    struct elements elements = {0};
    struct uqff_json *json = NULL;
    enum uqff_code code =
        uqff_json_open(setting->value, strlen(setting->value), "the value", 0, 0, &json, err);
    if (code == UQFF_OK) {
        code = read_elements(setting, &elements, json, err);
    }
    if (code == UQFF_OK && elements.bytes.failed) {
        code = uqff_fail_memory(err);
    }
    if (code == UQFF_E_SYNTAX || code == UQFF_E_FIELD || code == UQFF_E_ENCODING ||
        code == UQFF_E_LIMIT) {
        /* It came from the command line, and is no fault in a file. */
        code = err->code = UQFF_E_ARGUMENT;
        uqff_error_prefix(err, "option '%s': key '%.96s'", setting->option, setting->key);
    }
    if (code == UQFF_OK && setting->kind == UQFF_GGUF_STRING) {
        code = uqff_gguf_set_strings(setting->layout, setting->key, elements.strings,
                                     elements.count, err);
    } else if (code == UQFF_OK) {
        code = uqff_gguf_set_array(setting->layout, setting->key, setting->kind,
                                   elements.bytes.data, elements.count, err);
    }
    uqff_json_close(json);
    uqff_buffer_free(&elements.bytes);
    uqff_free(elements.strings);
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

enum uqff_code gguf_value_split(struct cli *cli, const char *option, const char *text,
                                const char **left, const char **right, struct uqff_error *err) {
    const size_t n = strcspn(text, "=");
    if (n == 0 || text[n] == '\0') {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '%s': found '%.96s', expected a key, '=', and what is behind it",
                         option, text);
    }
    *left = uqff_arena_copy(&cli->arena, text, n);
    *right = text + n + 1;
    return *left == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* Reads "TYPE" or "TYPE[]" of n bytes. */
static bool parse_type(const char *text, size_t n, enum uqff_gguf_kind *kind, bool *array) {
    *array = n > 2 && memcmp(text + n - 2, "[]", 2) == 0;
    n -= *array ? 2 : 0;
    if (n == 3 && memcmp(text, "str", 3) == 0) {
        *kind = UQFF_GGUF_STRING;
        return true;
    }
    for (int i = 0; i < UQFF_GGUF_KIND_COUNT; i++) {
        const char *name = uqff_gguf_kind_name((enum uqff_gguf_kind)i);
        if (i != UQFF_GGUF_ARRAY && strlen(name) == n && memcmp(name, text, n) == 0) {
            *kind = (enum uqff_gguf_kind)i;
            return true;
        }
    }
    return false;
}

enum uqff_code gguf_value_set(struct cli *cli, struct uqff_gguf_layout *layout, const char *option,
                              const char *text, struct uqff_error *err) {
    struct setting setting = {.cli = cli, .layout = layout, .option = option};
    const char *typed = NULL;
    enum uqff_code code = gguf_value_split(cli, option, text, &setting.key, &typed, err);
    if (code != UQFF_OK) {
        return code;
    }
    const size_t n = strcspn(typed, ":");
    bool array = false;
    if (typed[n] == '\0' || !parse_type(typed, n, &setting.kind, &array)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "option '%s': key '%.96s': found '%.64s', expected TYPE:VALUE, as u32:7, "
                         "f32:0.5, bool:true, str:text or u32[]:[1, 2]",
                         option, setting.key, typed);
    }
    setting.value = typed + n + 1;
    return array ? set_array(&setting, err) : set_scalar(&setting, err);
}
