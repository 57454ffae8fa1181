/* The user's values: KEY=TYPE:VALUE, or KEY=VALUE where the type is that which the key has. */
#include "pack/gguf.h"

#include <math.h>
#include <string.h>

bool uqff_gguf_user_sets(const struct uqff_pack_plan *plan, const char *key) {
    for (size_t i = 0; i < plan->options.metadata_count; i++) {
        if (strcmp(plan->options.metadata[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

static enum uqff_code fail_value(const struct uqff_metadata_pair *pair, const char *expected,
                                 struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "metadata '%.200s': found '%.200s', expected %s", pair->key, pair->value,
                     expected);
}

/* ---- what kind ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum uqff_gguf_kind kind;
} aliases[] = {
    {"str", UQFF_GGUF_STRING},
    {"int", UQFF_GGUF_I32}, /* u32 where the number is not negative */
    {"float", UQFF_GGUF_F32},
};
enum { ALIASES = sizeof aliases / sizeof aliases[0] };

static bool is_unsigned(enum uqff_gguf_kind kind) {
    return kind == UQFF_GGUF_U8 || kind == UQFF_GGUF_U16 || kind == UQFF_GGUF_U32 ||
           kind == UQFF_GGUF_U64;
}

static bool is_integer(enum uqff_gguf_kind kind) {
    return is_unsigned(kind) || kind == UQFF_GGUF_I8 || kind == UQFF_GGUF_I16 ||
           kind == UQFF_GGUF_I32 || kind == UQFF_GGUF_I64;
}

/* "TYPE:" before the value; *value then begins behind it. A colon behind anything else belongs to
 * the value. */
static bool typed(const char **value, enum uqff_gguf_kind *kind) {
    const char *colon = strchr(*value, ':'), *text = *value;
    if (colon == NULL) {
        return false;
    }
    size_t length = (size_t)(colon - text);
    for (int i = 0; i < UQFF_GGUF_KIND_COUNT; i++) {
        const char *name = uqff_gguf_kind_name((enum uqff_gguf_kind)i);
        if (i != UQFF_GGUF_ARRAY && strlen(name) == length && memcmp(name, text, length) == 0) {
            *kind = (enum uqff_gguf_kind)i;
            *value = colon + 1;
            return true;
        }
    }
    for (size_t i = 0; i < ALIASES; i++) {
        if (strlen(aliases[i].name) == length && memcmp(aliases[i].name, text, length) == 0) {
            *kind = aliases[i].kind;
            *value = colon + 1;
            bool is_int = strncmp(text, "int", 3) == 0;
            *kind = is_int && **value != '-' ? UQFF_GGUF_U32 : *kind;
            return true;
        }
    }
    return false;
}

/* ---- numbers --------------------------------------------------------------------------------- */

struct number {
    bool negative, whole;
    uint64_t magnitude; /* of a whole number */
    double value;
};

/* As JSON writes it, so the same in every locale. */
static bool parse_number(const char *text, struct number *out) {
    struct uqff_json *json = NULL;
    struct uqff_json_event event = {0};
    bool number = false, ok;
    *out = (struct number){.negative = *text == '-'};
    if (uqff_json_open(text, strlen(text), "value", 0, 0, &json, NULL) != UQFF_OK) {
        return false;
    }
    if (uqff_json_next(json, &event, NULL) == UQFF_OK && event.kind == UQFF_JSON_NUMBER) {
        number = uqff_json_double(json, &event, &out->value, NULL) == UQFF_OK &&
                 uqff_json_next(json, &event, NULL) == UQFF_OK && event.kind == UQFF_JSON_END;
    }
    uqff_json_close(json);
    ok = number;
    for (const char *digit = out->negative ? text + 1 : text; ok && *digit != '\0'; digit++) {
        uint64_t value = (uint64_t)(*digit - '0');
        ok = *digit >= '0' && *digit <= '9' && uqff_mul_u64(out->magnitude, 10, &out->magnitude) &&
             uqff_add_u64(out->magnitude, value, &out->magnitude);
        out->whole = ok;
    }
    return number;
}

/* Largest magnitude that an integer kind holds on a side of zero. */
static uint64_t limit(enum uqff_gguf_kind kind, bool negative) {
    unsigned bits = kind == UQFF_GGUF_U8 || kind == UQFF_GGUF_I8     ? 8
                    : kind == UQFF_GGUF_U16 || kind == UQFF_GGUF_I16 ? 16
                    : kind == UQFF_GGUF_U32 || kind == UQFF_GGUF_I32 ? 32
                                                                     : 64;
    if (is_unsigned(kind)) {
        return negative ? 0 : UINT64_MAX >> (64 - bits);
    }
    return ((uint64_t)1 << (bits - 1)) - (negative ? 0 : 1);
}

static enum uqff_code set_integer(struct uqff_gguf_layout *layout,
                                  const struct uqff_metadata_pair *pair, const char *value,
                                  enum uqff_gguf_kind kind, struct uqff_error *err) {
    struct number number;
    if (!parse_number(value, &number) || !number.whole ||
        number.magnitude > limit(kind, number.negative)) {
        return fail_value(pair, "an integer in the range of its type", err);
    }
    if (is_unsigned(kind)) {
        return uqff_gguf_set_u64(layout, pair->key, kind, number.magnitude, err);
    }
    /* -2^63 has no positive counterpart, hence the negation as unsigned. */
    uint64_t bits = number.negative ? 0 - number.magnitude : number.magnitude;
    int64_t integer;
    memcpy(&integer, &bits, sizeof integer);
    return uqff_gguf_set_i64(layout, pair->key, kind, integer, err);
}

static enum uqff_code set_real(struct uqff_gguf_layout *layout,
                               const struct uqff_metadata_pair *pair, const char *value,
                               enum uqff_gguf_kind kind, struct uqff_error *err) {
    struct number number;
    if (!parse_number(value, &number) ||
        (kind == UQFF_GGUF_F32 && !isfinite((float)number.value))) {
        return fail_value(pair, "a number in the range of its type", err);
    }
    return uqff_gguf_set_double(layout, pair->key, kind, number.value, err);
}

/* ---- one pair -------------------------------------------------------------------------------- */

static bool is_bool(const char *value) {
    return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
}

/* The kind of a value whose key is not there and that has no type: general.* are texts, others are
 * what they look like. */
static enum uqff_gguf_kind guess(const char *key, const char *value) {
    struct number number;
    if (strncmp(key, "general.", 8) == 0 || *value == '\0') {
        return UQFF_GGUF_STRING;
    }
    if (is_bool(value)) {
        return UQFF_GGUF_BOOL;
    }
    if (!parse_number(value, &number)) {
        return UQFF_GGUF_STRING;
    }
    if (!number.whole) {
        return UQFF_GGUF_F32;
    }
    if (number.negative) {
        return number.magnitude <= limit(UQFF_GGUF_I32, true) ? UQFF_GGUF_I32 : UQFF_GGUF_I64;
    }
    return number.magnitude <= UINT32_MAX ? UQFF_GGUF_U32 : UQFF_GGUF_U64;
}

static enum uqff_code check_key(const struct uqff_metadata_pair *pair, struct uqff_error *err) {
    static const struct {
        const char *key, *why;
    } refused[] = {
        {"general.alignment", "it follows from the layout (--align)"},
        {"general.architecture", "the names of tensors and keys follow from it"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (strcmp(pair->key, refused[i].key) == 0) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "metadata '%s' cannot be set: %s", pair->key, refused[i].why);
        }
    }
    if (pair->key[0] == '\0') {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET, "metadata: found a key of no bytes");
    }
    if (strncmp(pair->key, "split.", 6) == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "metadata '%s' cannot be set: it follows from the files (--max-shard)",
                         pair->key);
    }
    return UQFF_OK;
}

static enum uqff_code set_pair(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                               const struct uqff_metadata_pair *pair, struct uqff_error *err) {
    const char *value = pair->value;
    enum uqff_gguf_kind kind = UQFF_GGUF_STRING;
    enum uqff_code code = check_key(pair, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (!typed(&value, &kind) && !uqff_gguf_set_kind(layout, pair->key, &kind)) {
        kind = guess(pair->key, value);
    }
    if (kind == UQFF_GGUF_ARRAY) {
        return fail_value(pair, "another key: this one holds an array", err);
    }
    if (plan->gguf->source != NULL) {
        uqff_gguf_unset(layout, pair->key); /* llama-quantize puts what it sets last */
    }
    if (is_integer(kind)) {
        return set_integer(layout, pair, value, kind, err);
    }
    if (kind == UQFF_GGUF_F32 || kind == UQFF_GGUF_F64) {
        return set_real(layout, pair, value, kind, err);
    }
    if (kind != UQFF_GGUF_BOOL) {
        return uqff_gguf_set_string(layout, pair->key, value, strlen(value), err);
    }
    return is_bool(value) ? uqff_gguf_set_bool(layout, pair->key, *value == 't', err)
                          : fail_value(pair, "true or false", err);
}

enum uqff_code uqff_gguf_set_values(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                    struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < plan->options.metadata_count && code == UQFF_OK; i++) {
        code = set_pair(plan, layout, &plan->options.metadata[i], err);
    }
    return code;
}
