/* Which file of a directory holds the model's weights. */
#include <string.h>

#include "model/internal.h"

struct directory {
    const char *path;
    const char **names;
    size_t count;
    struct uqff_arena *arena;
};

static bool has(const struct directory *d, const char *name) {
    for (size_t i = 0; i < d->count; i++) {
        if (strcmp(d->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *join(const struct directory *d, const char *name, struct uqff_error *err) {
    const char *path = uqff_arena_printf(d->arena, "%s/%s", d->path, name);
    if (path == NULL) {
        (void)uqff_fail_memory(err);
    }
    return path;
}

/* ---- UQFF ------------------------------------------------------------------------------------ */

static size_t stem_length(const char *name) {
    size_t stem;
    uint64_t number;
    return uqff_shard_name_parse(name, &stem, &number) ? stem : strlen(name) - strlen(".uqff");
}

static bool same_stem(const char *a, const char *b) {
    size_t n = stem_length(a);
    return n == stem_length(b) && memcmp(a, b, n) == 0;
}

/* True for the first file of each shard set: names are sorted, so that it comes before its fellows.
 */
static bool is_first(const struct directory *d, size_t i) {
    for (size_t j = 0; j < i; j++) {
        if (uqff_text_ends(d->names[j], ".uqff") && same_stem(d->names[j], d->names[i])) {
            return false;
        }
    }
    return true;
}

static bool equal_ignoring_case(const char *a, size_t n, const char *b) {
    if (strlen(b) != n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char x = a[i] >= 'A' && a[i] <= 'Z' ? (char)(a[i] + 32) : a[i];
        char y = b[i] >= 'A' && b[i] <= 'Z' ? (char)(b[i] + 32) : b[i];
        if (x != y) {
            return false;
        }
    }
    return true;
}

/* The shard that uqff_report.json gives for a quant; NULL in *out when it does not name it. */
static enum uqff_code look_in_report(const struct directory *d, const char *quant, const char **out,
                                     struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_report_entry *entries;
    char *json = NULL;
    size_t size, count = 0;
    *out = NULL;
    if (!has(d, "uqff_report.json")) {
        return UQFF_OK;
    }
    enum uqff_code code =
        uqff_source_open_in(d->path, "uqff_report.json", strlen("uqff_report.json"), &source, err);
    code =
        code != UQFF_OK ? code : uqff_source_read_all(source, UQFF_CONFIG_LIMIT, &json, &size, err);
    code = code != UQFF_OK ? code
                           : uqff_report_parse(json, size, uqff_source_name(source), d->arena,
                                               &entries, &count, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        if (equal_ignoring_case(entries[i].quant, strlen(entries[i].quant), quant) &&
            entries[i].shard_count > 0) {
            *out = entries[i].shards[0];
            if (!has(d, *out)) {
                code = uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                                 "%s: shard '%s' of quant '%s' is missing",
                                 uqff_source_name(source), *out, quant);
            }
        }
    }
    uqff_free(json);
    uqff_source_close(source);
    return code;
}

static enum uqff_code fail_choice(const struct directory *d, const char *quant,
                                  struct uqff_error *err) {
    struct uqff_buffer list = {0};
    const char *first = "";
    for (size_t i = 0; i < d->count; i++) {
        if (uqff_text_ends(d->names[i], ".uqff") && is_first(d, i)) {
            first = list.size == 0 ? d->names[i] : first;
            uqff_buffer_printf(&list, "%s%.*s", list.size > 0 ? ", " : "",
                               (int)stem_length(d->names[i]), d->names[i]);
        }
    }
    enum uqff_code code =
        list.failed     ? uqff_fail_memory(err)
        : quant == NULL ? uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                                    "%s: holds several quantizations; name one of them, as in "
                                    "%s#%.*s: %s",
                                    d->path, d->path, (int)stem_length(first), first, list.data)
                        : uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                                    "%s: has no quantization '%s', expected one of: %s", d->path,
                                    quant, list.data);
    uqff_buffer_free(&list);
    return code;
}

/* By the report, by the stem of a file, or the only set there is: `quant` then names a variant in
 * it. */
static enum uqff_code locate_uqff(const struct directory *d, const char *quant, struct located *out,
                                  struct uqff_error *err) {
    const char *chosen = NULL;
    size_t sets = 0;
    bool by_name = false;
    if (quant != NULL) {
        enum uqff_code code = look_in_report(d, quant, &chosen, err);
        if (code != UQFF_OK) {
            return code;
        }
        by_name = chosen != NULL;
    }
    for (size_t i = 0; i < d->count && !by_name; i++) {
        if (!uqff_text_ends(d->names[i], ".uqff") || !is_first(d, i)) {
            continue;
        }
        sets++;
        if (quant == NULL) {
            chosen = chosen == NULL ? d->names[i] : chosen;
        } else if (equal_ignoring_case(d->names[i], stem_length(d->names[i]), quant)) {
            chosen = d->names[i];
            by_name = true;
        } else if (sets == 1) {
            chosen = d->names[i];
        }
    }
    if (!by_name && sets != 1) {
        return fail_choice(d, quant, err);
    }
    out->kind = UQFF_MODEL_UQFF;
    out->variant = by_name ? NULL : quant;
    out->path = join(d, chosen, err);
    return out->path == NULL ? UQFF_E_MEMORY : UQFF_OK;
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static bool is_weights(const char *name) {
    return uqff_text_ends(name, ".safetensors") && strcmp(name, "residual.safetensors") != 0;
}

static enum uqff_code take_hf(const struct directory *d, const char *name, struct located *out,
                              struct uqff_error *err) {
    out->kind = UQFF_MODEL_HF;
    out->variant = NULL;
    out->path = join(d, name, err);
    return out->path == NULL ? UQFF_E_MEMORY : UQFF_OK;
}

static enum uqff_code fail_nothing(const struct directory *d, struct uqff_error *err) {
    for (size_t i = 0; i < d->count; i++) {
        if (uqff_text_ends(d->names[i], ".bin") || uqff_text_ends(d->names[i], ".bin.index.json") ||
            uqff_text_ends(d->names[i], ".pth") || uqff_text_ends(d->names[i], ".pt")) {
            return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                             "%s: found '%s' only; pickled weights are not read, expected "
                             "safetensors",
                             d->path, d->names[i]);
        }
    }
    return uqff_fail(err, UQFF_E_NOT_FOUND, UQFF_NO_OFFSET,
                     "%s: holds no model: looked for model.safetensors.index.json, "
                     "model.safetensors, consolidated.safetensors, another *.safetensors, *.uqff "
                     "and *.gguf",
                     d->path);
}

/* STEM-00002-of-00003.gguf and so on: the first file of the set stands for them. */
static bool is_later_split(const char *name) {
    size_t n = strlen(name);
    return n > 20 && memcmp(name + n - 14, "-of-", 4) == 0 &&
           memcmp(name + n - 20, "-00001", 6) != 0;
}

/* The only GGUF of a directory that holds no other weights. */
static enum uqff_code locate_gguf(const struct directory *d, struct located *out,
                                  struct uqff_error *err) {
    const char *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (uqff_text_ends(d->names[i], ".gguf") && !is_later_split(d->names[i])) {
            first = count++ == 0 ? d->names[i] : first;
        }
    }
    if (count == 0) {
        return fail_nothing(d, err);
    }
    if (count > 1) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "%s: holds %zu models as GGUF; name one of them, as in %s/%s", d->path,
                         count, d->path, first);
    }
    out->kind = UQFF_MODEL_GGUF;
    out->variant = NULL;
    out->path = join(d, first, err);
    return out->path == NULL ? UQFF_E_MEMORY : UQFF_OK;
}

static enum uqff_code locate_hf(const struct directory *d, struct located *out,
                                struct uqff_error *err) {
    static const char *const known[] = {"model.safetensors.index.json", "model.safetensors",
                                        "consolidated.safetensors"};
    const char *only = NULL;
    size_t count = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (has(d, known[i])) {
            return take_hf(d, known[i], out, err);
        }
    }
    for (size_t i = 0; i < d->count; i++) {
        if (uqff_text_ends(d->names[i], ".safetensors.index.json")) {
            return take_hf(d, d->names[i], out, err);
        }
        if (is_weights(d->names[i])) {
            only = d->names[i];
            count++;
        }
    }
    if (count == 0 && has(d, "residual.safetensors")) {
        only = "residual.safetensors";
        count = 1;
    }
    if (count > 1) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: holds %zu safetensors files ('%s' is the last), but no "
                         "model.safetensors.index.json that tells which belong together",
                         d->path, count, only);
    }
    return count == 1 ? take_hf(d, only, out, err) : locate_gguf(d, out, err);
}

/* ---- either ---------------------------------------------------------------------------------- */

enum uqff_code uqff_model_locate(const char *directory, const char *variant,
                                 const struct uqff_warner *warner, struct uqff_arena *arena,
                                 struct located *out, struct uqff_error *err) {
    struct directory d = {.path = directory, .arena = arena};
    bool weights = false, uqff = false;
    enum uqff_code code = uqff_list_directory(directory, arena, &d.names, &d.count, err);
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < d.count; i++) {
        uqff = uqff || uqff_text_ends(d.names[i], ".uqff");
        weights = weights || is_weights(d.names[i]) ||
                  uqff_text_ends(d.names[i], ".safetensors.index.json");
    }
    if (uqff && (!weights || variant != NULL)) {
        return locate_uqff(&d, variant, out, err);
    }
    if (variant != NULL) {
        return uqff_fail(err, UQFF_E_UNKNOWN, UQFF_NO_OFFSET,
                         "%s: holds no *.uqff, so that there is no variant '%s'", directory,
                         variant);
    }
    if (uqff) {
        uqff_warn(warner, "%s: holds source weights and *.uqff; the source weights are read",
                  directory);
    }
    return locate_hf(&d, out, err);
}
