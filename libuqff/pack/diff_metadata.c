/* diff_metadata: configuration, metadata of the containers, and side files. */
#include <stdio.h>
#include <string.h>

#include "pack/diff.h"

enum { SHOWN = 160 }; /* bytes of a value that a difference shows */

static void report(struct diff *diff, const char *name, const char *a, const char *b) {
    uqff_diff_report(
        diff, &(struct uqff_difference){.kind = UQFF_DIFF_METADATA, .name = name, .a = a, .b = b});
}

/* ---- configuration --------------------------------------------------------------------------- */

/* A field's value as text, "" where the source does not say. */
static void config_text(const struct uqff_config *config, size_t field, char out[SHOWN]) {
    const char *const texts[] = {config->architecture, config->model_type, config->torch_dtype};
    const uint64_t numbers[] = {config->layers,     config->hidden,   config->feed_forward,
                                config->heads,      config->kv_heads, config->head_dim,
                                config->vocabulary, config->experts,  config->experts_used,
                                config->context};
    const double reals[] = {config->rms_epsilon, config->rope_theta};
    const size_t text_count = sizeof texts / sizeof texts[0];
    const size_t number_count = sizeof numbers / sizeof numbers[0];
    out[0] = '\0';
    if (field < text_count) {
        const char *text = texts[field] != NULL ? texts[field] : "";
        (void)uqff_printable(out, SHOWN, text, strlen(text));
    } else if (field < text_count + number_count) {
        const uint64_t number = numbers[field - text_count];
        if (number != 0) {
            snprintf(out, SHOWN, "%llu", (unsigned long long)number);
        }
    } else if (field < text_count + number_count + 2) {
        /* GGUF keeps these numbers as floats, of which seven digits come back as they were written.
         */
        const double real = reals[field - text_count - number_count];
        if (real != 0.0) {
            snprintf(out, SHOWN, "%.7g", real);
        }
    } else {
        snprintf(out, SHOWN, "%s", config->tied ? "true" : "false");
    }
}

/* A value that one side does not give is no difference between containers of two kinds: a GGUF
 * never says what dtype the model was trained in. */
static void compare_configs(struct diff *diff) {
    static const char *const names[] = {
        "architecture", "model_type",  "torch_dtype", "layers",     "hidden",  "feed_forward",
        "heads",        "kv_heads",    "head_dim",    "vocabulary", "experts", "experts_used",
        "context",      "rms_epsilon", "rope_theta",  "tied"};
    const bool alike = uqff_model_kind(diff->a) == uqff_model_kind(diff->b);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char a[SHOWN], b[SHOWN], name[48];
        config_text(uqff_model_config(diff->a), i, a);
        config_text(uqff_model_config(diff->b), i, b);
        if (strcmp(a, b) != 0 && (alike || (a[0] != '\0' && b[0] != '\0'))) {
            snprintf(name, sizeof name, "config.%s", names[i]);
            report(diff, name, a, b);
        }
    }
}

/* ---- GGUF ------------------------------------------------------------------------------------ */

static bool same_value(const struct uqff_gguf *a, const struct uqff_gguf_value *x,
                       const struct uqff_gguf *b, const struct uqff_gguf_value *y);

/* Arrays nest no deeper than UQFF_GGUF_MAX_ARRAY_DEPTH, which the reader has checked. */
static bool same_array(const struct uqff_gguf *a, const struct uqff_gguf_value *x,
                       const struct uqff_gguf *b, const struct uqff_gguf_value *y) {
    if (x->as.array.kind != y->as.array.kind || x->as.array.count != y->as.array.count) {
        return false;
    }
    struct uqff_gguf_iterator left = uqff_gguf_iterate(a, x), right = uqff_gguf_iterate(b, y);
    struct uqff_gguf_value p, q;
    while (uqff_gguf_next(&left, &p)) {
        if (!uqff_gguf_next(&right, &q) || !same_value(a, &p, b, &q)) {
            return false;
        }
    }
    return true;
}

static bool same_value(const struct uqff_gguf *a, const struct uqff_gguf_value *x,
                       const struct uqff_gguf *b, const struct uqff_gguf_value *y) {
    if (x->kind != y->kind) {
        return false;
    }
    switch (x->kind) {
    case UQFF_GGUF_STRING:
        return x->as.string.length == y->as.string.length &&
               memcmp(x->as.string.bytes, y->as.string.bytes, x->as.string.length) == 0;
    case UQFF_GGUF_ARRAY:
        return same_array(a, x, b, y);
    case UQFF_GGUF_F32:
    case UQFF_GGUF_F64:
        return memcmp(&x->as.f, &y->as.f, sizeof x->as.f) == 0;
    default:
        return x->as.u == y->as.u;
    }
}

static void value_text(const struct uqff_gguf_value *value, char out[SHOWN]) {
    switch (value->kind) {
    case UQFF_GGUF_STRING:
        (void)uqff_printable(out, SHOWN, value->as.string.bytes, value->as.string.length);
        break;
    case UQFF_GGUF_ARRAY:
        snprintf(out, SHOWN, "%llu x %s", (unsigned long long)value->as.array.count,
                 uqff_gguf_kind_name(value->as.array.kind));
        break;
    case UQFF_GGUF_F32:
    case UQFF_GGUF_F64:
        snprintf(out, SHOWN, "%.9g", value->as.f);
        break;
    case UQFF_GGUF_BOOL:
        snprintf(out, SHOWN, "%s", value->as.u != 0 ? "true" : "false");
        break;
    case UQFF_GGUF_I8:
    case UQFF_GGUF_I16:
    case UQFF_GGUF_I32:
    case UQFF_GGUF_I64:
        snprintf(out, SHOWN, "%lld", (long long)value->as.i);
        break;
    default:
        snprintf(out, SHOWN, "%llu", (unsigned long long)value->as.u);
        break;
    }
}

static void compare_gguf_keys(struct diff *diff, const struct uqff_gguf *a,
                              const struct uqff_gguf *b) {
    for (size_t i = 0; i < uqff_gguf_kv_count(a); i++) {
        const char *key = uqff_gguf_key(a, i);
        const struct uqff_gguf_value *x = uqff_gguf_value(a, i), *y = uqff_gguf_find_value(b, key);
        char text[2][SHOWN] = {"", ""};
        if (y != NULL && same_value(a, x, b, y)) {
            continue;
        }
        value_text(x, text[0]);
        if (y != NULL) {
            value_text(y, text[1]);
        }
        report(diff, key, text[0], text[1]);
    }
    for (size_t i = 0; i < uqff_gguf_kv_count(b); i++) {
        const char *key = uqff_gguf_key(b, i);
        if (uqff_gguf_find_value(a, key) == NULL) {
            char text[SHOWN];
            value_text(uqff_gguf_value(b, i), text);
            report(diff, key, "", text);
        }
    }
}

/* ---- safetensors ----------------------------------------------------------------------------- */

/* The file that carries a model's metadata: the first of a set or of a shard set; NULL for GGUF. */
static const struct uqff_safetensors *metadata_file(const struct uqff_model *model) {
    if (uqff_model_container(model) != NULL) {
        return uqff_container_shard(uqff_model_container(model), 0);
    }
    const struct uqff_safetensors_set *set = uqff_model_safetensors(model);
    return set != NULL ? uqff_safetensors_set_file(set, 0) : NULL;
}

/* Reports what `a` has and `b` lacks or has otherwise; `swapped`, A and B having changed places,
 * only what it lacks. */
static void compare_pairs(struct diff *diff, const struct uqff_safetensors *a,
                          const struct uqff_safetensors *b, bool swapped) {
    for (size_t i = 0; i < uqff_safetensors_metadata_count(a); i++) {
        const char *key = NULL, *value = NULL;
        size_t length = 0, other_length = 0;
        char text[2][SHOWN] = {"", ""};
        uqff_safetensors_metadata(a, i, &key, &value, &length);
        const char *other = uqff_safetensors_metadata_find(b, key, &other_length);
        if (other != NULL &&
            (swapped || (length == other_length && memcmp(value, other, length) == 0))) {
            continue;
        }
        (void)uqff_printable(text[0], SHOWN, value, length);
        if (other != NULL) {
            (void)uqff_printable(text[1], SHOWN, other, other_length);
        }
        report(diff, key, text[swapped ? 1 : 0], text[swapped ? 0 : 1]);
    }
}

/* ---- side files ------------------------------------------------------------------------------ */

static size_t find_asset(const struct uqff_model *model, const char *path) {
    for (size_t i = 0; i < uqff_model_asset_count(model); i++) {
        if (strcmp(uqff_model_asset_path(model, i), path) == 0) {
            return i;
        }
    }
    return UQFF_NONE;
}

/* A side file that only one model has. */
static void report_only(struct diff *diff, const char *path, uint64_t size, bool in_a) {
    char text[SHOWN];
    snprintf(text, sizeof text, "%llu bytes", (unsigned long long)size);
    report(diff, path, in_a ? text : "", in_a ? "" : text);
}

struct content {
    const char *bytes;
    size_t size;
};

static bool is_text(const struct content *content) {
    return uqff_utf8_valid(content->bytes, content->size, NULL) &&
           memchr(content->bytes, 0, content->size) == NULL;
}

/* Writes the line in which the byte at `at` lies, without the blanks that indent it; of a long one
 * what is around that byte. Of JSON as it is usually written this is the key and its value. */
static void line_text(const struct content *content, size_t at, char *out, size_t capacity) {
    enum { BEFORE = 24, MOST = 48 };
    const char *bytes = content->bytes;
    size_t first = at, end = at;
    while (first > 0 && bytes[first - 1] != '\n') {
        first--;
    }
    while (first < at && (bytes[first] == ' ' || bytes[first] == '\t')) {
        first++;
    }
    if (at - first > BEFORE) {
        first = at - BEFORE;
    }
    while (end < content->size && end - first < MOST && bytes[end] != '\n') {
        end++;
    }
    /* Whole characters: the text is valid, so that none has more than three bytes to skip. */
    while (first < end && ((unsigned char)bytes[first] & 0xC0) == 0x80) {
        first++;
    }
    while (end > first && end < content->size && ((unsigned char)bytes[end] & 0xC0) == 0x80) {
        end--;
    }
    (void)uqff_printable(out, capacity, bytes + first, end - first);
}

static bool is_blank(const struct content *content, size_t at) {
    return at < content->size && memchr(" \t\r\n", content->bytes[at], 4) != NULL;
}

/* Moves both places to where the contents part, with `texts` by more than blanks: JSON is written
 * with one indentation by one program and with another by the next. */
static void find_parting(const struct content sides[2], bool texts, size_t at[2]) {
    at[0] = at[1] = 0;
    for (;;) {
        for (int i = 0; i < 2; i++) {
            while (texts && is_blank(&sides[i], at[i])) {
                at[i]++;
            }
        }
        if (at[0] == sides[0].size || at[1] == sides[1].size ||
            sides[0].bytes[at[0]] != sides[1].bytes[at[1]]) {
            return;
        }
        at[0]++;
        at[1]++;
    }
}

static size_t line_of(const struct content *content, size_t at) {
    size_t line = 1;
    for (size_t i = 0; i < at; i++) {
        line += content->bytes[i] == '\n';
    }
    return line;
}

/* Where two contents part, and what each has there: by the line, or by the byte where one of them
 * is no text. */
static void report_contents(struct diff *diff, const char *path, const struct content sides[2]) {
    char text[2][SHOWN], found[SHOWN - 64];
    size_t at[2];
    const bool texts = is_text(&sides[0]) && is_text(&sides[1]);
    find_parting(sides, texts, at);
    const bool blanks = at[0] == sides[0].size && at[1] == sides[1].size;
    for (int i = 0; i < 2; i++) {
        const struct content *side = &sides[i];
        const unsigned long long size = side->size;
        if (blanks) {
            snprintf(text[i], SHOWN, "%llu bytes, blanks differ", size);
        } else if (at[i] == side->size) {
            snprintf(text[i], SHOWN, "%llu bytes, ends there", size);
        } else if (texts) {
            line_text(side, at[i], found, sizeof found);
            snprintf(text[i], SHOWN, "%llu bytes, line %zu: %s", size, line_of(side, at[i]), found);
        } else {
            snprintf(text[i], SHOWN, "%llu bytes, byte %zu: 0x%02x", size, at[i],
                     (unsigned)(unsigned char)side->bytes[at[i]]);
        }
    }
    report(diff, path, text[0], text[1]);
}

static enum uqff_code compare_asset(struct diff *diff, size_t index, struct uqff_error *err) {
    const char *path = uqff_model_asset_path(diff->a, index);
    const size_t other = find_asset(diff->b, path);
    char *a = NULL, *b = NULL;
    size_t a_size = 0, b_size = 0;
    if (other == UQFF_NONE) {
        report_only(diff, path, uqff_model_asset_size(diff->a, index), true);
        return UQFF_OK;
    }
    enum uqff_code code = uqff_model_read_asset(diff->a, index, &a, &a_size, err);
    if (code == UQFF_OK) {
        code = uqff_model_read_asset(diff->b, other, &b, &b_size, err);
    }
    if (code == UQFF_OK && (a_size != b_size || memcmp(a, b, a_size) != 0)) {
        report_contents(diff, path, (const struct content[]){{a, a_size}, {b, b_size}});
    }
    uqff_free(a);
    uqff_free(b);
    return code;
}

/* Side files are compared where both models have any: a GGUF has none by nature. */
static enum uqff_code compare_assets(struct diff *diff, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    const size_t a = uqff_model_asset_count(diff->a), b = uqff_model_asset_count(diff->b);
    if (a == 0 || b == 0 ||
        (uqff_model_gguf(diff->a) != NULL) != (uqff_model_gguf(diff->b) != NULL)) {
        return UQFF_OK;
    }
    for (size_t i = 0; i < a && code == UQFF_OK; i++) {
        code = compare_asset(diff, i, err);
    }
    for (size_t i = 0; i < b && code == UQFF_OK; i++) {
        const char *path = uqff_model_asset_path(diff->b, i);
        if (find_asset(diff->a, path) == UQFF_NONE) {
            report_only(diff, path, uqff_model_asset_size(diff->b, i), false);
        }
    }
    return code;
}

enum uqff_code uqff_diff_metadata(struct diff *diff, struct uqff_error *err) {
    const struct uqff_gguf *ggufs[2] = {uqff_model_gguf(diff->a), uqff_model_gguf(diff->b)};
    compare_configs(diff);
    if (ggufs[0] != NULL && ggufs[1] != NULL) {
        /* All that would be side files is made of the keys. */
        compare_gguf_keys(diff, ggufs[0], ggufs[1]);
        return UQFF_OK;
    }
    if (uqff_model_kind(diff->a) == uqff_model_kind(diff->b)) {
        const struct uqff_safetensors *a = metadata_file(diff->a), *b = metadata_file(diff->b);
        if (a != NULL && b != NULL) {
            compare_pairs(diff, a, b, false);
            compare_pairs(diff, b, a, true);
        }
    }
    return compare_assets(diff, err);
}
