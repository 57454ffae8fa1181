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
        const struct uqff_gguf_value *x = uqff_gguf_value(a, i), *y = uqff_gguf_find(b, key);
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
        if (uqff_gguf_find(a, key) == NULL) {
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

static void report_asset(struct diff *diff, const char *path, const uint64_t sizes[2]) {
    char text[2][SHOWN] = {"", ""};
    for (int side = 0; side < 2; side++) {
        if (sizes[side] != UINT64_MAX) {
            snprintf(text[side], SHOWN, "%llu bytes", (unsigned long long)sizes[side]);
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
        report_asset(diff, path, (uint64_t[]){uqff_model_asset_size(diff->a, index), UINT64_MAX});
        return UQFF_OK;
    }
    enum uqff_code code = uqff_model_read_asset(diff->a, index, &a, &a_size, err);
    if (code == UQFF_OK) {
        code = uqff_model_read_asset(diff->b, other, &b, &b_size, err);
    }
    if (code == UQFF_OK && (a_size != b_size || memcmp(a, b, a_size) != 0)) {
        report_asset(diff, path, (uint64_t[]){a_size, b_size});
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
            report_asset(diff, path, (uint64_t[]){UINT64_MAX, uqff_model_asset_size(diff->b, i)});
        }
    }
    return code;
}

enum uqff_code uqff_diff_metadata(struct diff *diff, struct uqff_error *err) {
    const struct uqff_gguf *ggufs[2] = {uqff_model_gguf(diff->a), uqff_model_gguf(diff->b)};
    compare_configs(diff);
    if (ggufs[0] != NULL && ggufs[1] != NULL) {
        compare_gguf_keys(diff, ggufs[0], ggufs[1]);
    } else if (uqff_model_kind(diff->a) == uqff_model_kind(diff->b)) {
        const struct uqff_safetensors *a = metadata_file(diff->a), *b = metadata_file(diff->b);
        if (a != NULL && b != NULL) {
            compare_pairs(diff, a, b, false);
            compare_pairs(diff, b, a, true);
        }
    }
    return compare_assets(diff, err);
}
