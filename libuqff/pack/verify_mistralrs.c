/* verify_mistralrs: the directory around UQFF files, as mistral.rs looks at it. */
#include <string.h>

#include "pack/sidecars.h"
#include "pack/verify.h"
#include "pack/verify_scan.h"

#define SIDE_FILE_LIMIT ((uint64_t)256 << 20)
#define CONFIG_LIMIT ((uint64_t)16 << 20)

struct directory {
    struct verify *verify;
    struct uqff_arena arena;
    const char *path;
    const char **names; /* what lies in it, sorted */
    size_t count;
    struct uqff_config config;
    bool has_config;
    struct uqff_safetensors_set *residual; /* residual.safetensors, or NULL */
    const char **residual_names;
    size_t residual_count;
};

#define FAIL(directory, code, ...)                                                                 \
    uqff_findings_add((directory)->verify, UQFF_FAILURE, (code), __VA_ARGS__)

static bool holds(const struct directory *directory, const char *name) {
    for (size_t i = 0; i < directory->count; i++) {
        if (strcmp(directory->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Reads a file of the directory. What is wrong with it is told as a finding, *text being NULL; only
 * the machine's own failures are errors. */
static enum uqff_code read_side(struct directory *directory, const char *name, uint64_t limit,
                                char **text, size_t *size, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_error problem;
    *text = NULL;
    enum uqff_code code =
        uqff_source_open_in(directory->path, name, strlen(name), &source, &problem);
    if (code == UQFF_OK) {
        code = uqff_source_read_all(source, limit, text, size, &problem);
    }
    uqff_source_close(source);
    if (code == UQFF_E_MEMORY) {
        return uqff_fail_memory(err);
    }
    if (code != UQFF_OK) {
        uqff_findings_add_error(directory->verify, "sidecar", &problem);
    }
    return UQFF_OK;
}

/* ---- config.json ----------------------------------------------------------------------------- */

/* True when a key of that name stands anywhere in the text. */
static bool has_key(const char *text, size_t size, const char *key) {
    struct uqff_json *json = NULL;
    struct uqff_json_event event = {.kind = UQFF_JSON_NULL};
    bool found = false;
    if (uqff_json_open(text, size, "config.json", 0, 0, &json, NULL) != UQFF_OK) {
        return false;
    }
    while (!found && uqff_json_next(json, &event, NULL) == UQFF_OK && event.kind != UQFF_JSON_END) {
        found = event.kind == UQFF_JSON_KEY && event.length == strlen(key) &&
                memcmp(event.text, key, event.length) == 0;
    }
    uqff_json_close(json);
    return found;
}

static enum uqff_code load_config(struct directory *directory, struct uqff_error *err) {
    char *text = NULL;
    size_t size = 0;
    struct uqff_error problem;
    if (!holds(directory, "config.json")) {
        return UQFF_OK;
    }
    enum uqff_code code = read_side(directory, "config.json", CONFIG_LIMIT, &text, &size, err);
    if (code != UQFF_OK || text == NULL) {
        return code;
    }
    code = uqff_config_parse(text, size, "config.json", &directory->arena, &directory->config,
                             &problem);
    if (code == UQFF_E_MEMORY) {
        code = uqff_fail_memory(err);
    } else if (code != UQFF_OK) {
        uqff_findings_add_error(directory->verify, "config", &problem);
        code = UQFF_OK;
    } else {
        directory->has_config = true;
        if (has_key(text, size, "quantization_config")) {
            uqff_findings_add(directory->verify, UQFF_WARNING, "config",
                              "%s/config.json: has a 'quantization_config', which speaks of other "
                              "weights than these",
                              directory->path);
        }
    }
    uqff_free(text);
    return code;
}

/* The configuration that a multi-quant file carries, where the directory has none. */
static enum uqff_code config_of(const struct directory *directory,
                                const struct uqff_container *container, struct uqff_arena *arena,
                                struct uqff_config *config, const struct uqff_config **out,
                                struct uqff_error *err) {
    *out = directory->has_config ? &directory->config : NULL;
    for (size_t i = 0; *out == NULL && i < uqff_container_asset_count(container); i++) {
        if (strcmp(uqff_container_asset(container, i)->path, "config.json") != 0) {
            continue;
        }
        char *text = NULL;
        size_t size = 0;
        enum uqff_code code = uqff_container_read_asset(container, i, &text, &size, err);
        if (code == UQFF_OK) {
            code = uqff_config_parse(text, size, "config.json", arena, config, err);
        }
        uqff_free(text);
        if (code == UQFF_E_MEMORY || uqff_findings_is_fatal(code)) {
            return code;
        }
        if (code != UQFF_OK) {
            break; /* the scan of the container has told of it */
        }
        *out = config;
    }
    return UQFF_OK;
}

/* ---- residual.safetensors -------------------------------------------------------------------- */

static enum uqff_code load_residual(struct directory *directory, struct uqff_error *err) {
    static const char name[] = "residual.safetensors";
    struct uqff_error problem;
    if (!holds(directory, name)) {
        return UQFF_OK;
    }
    char *path = uqff_path_join(directory->path, name);
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code =
        uqff_safetensors_set_open(path, &directory->verify->warner, &directory->residual, &problem);
    uqff_free(path);
    if (code == UQFF_E_MEMORY) {
        return uqff_fail_memory(err);
    }
    if (code != UQFF_OK) {
        uqff_findings_add_error(directory->verify, "sidecar", &problem);
        return UQFF_OK;
    }
    directory->residual_count = uqff_safetensors_set_count(directory->residual);
    directory->residual_names = uqff_arena_array(&directory->arena, directory->residual_count,
                                                 sizeof *directory->residual_names);
    if (directory->residual_names == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < directory->residual_count; i++) {
        directory->residual_names[i] =
            uqff_safetensors_set_tensor(directory->residual, i).tensor->name;
    }
    return UQFF_OK;
}

/* A multi-quant file knows what residual.safetensors must hold, digests included. */
static enum uqff_code compare_residual(struct directory *directory,
                                       const struct uqff_container *container,
                                       struct uqff_error *err) {
    const size_t count = uqff_container_residual_count(container);
    struct scan_entry *entries = uqff_alloc_array(count, sizeof *entries);
    size_t n = 0;
    if (entries == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        const struct uqff_residual *expected = uqff_container_residual(container, i);
        const struct uqff_st_tensor *tensor = expected->entry.tensor;
        struct uqff_st_set_tensor found;
        if (!uqff_safetensors_set_find(directory->residual, expected->name, &found)) {
            FAIL(directory, "sidecar", "%s/residual.safetensors: lacks the tensor '%s'",
                 directory->path, expected->name);
        } else if (found.tensor->dtype != tensor->dtype || found.tensor->rank != tensor->rank ||
                   memcmp(found.tensor->shape, tensor->shape,
                          tensor->rank * sizeof *tensor->shape) != 0) {
            FAIL(directory, "sidecar",
                 "%s/residual.safetensors: tensor '%s' has another dtype or shape than in the "
                 "UQFF file",
                 directory->path, expected->name);
        } else {
            entries[n] = (struct scan_entry){
                .name = expected->name,
                .source = uqff_safetensors_source(
                    uqff_safetensors_set_file(directory->residual, found.file)),
                .offset = found.tensor->offset,
                .bytes = found.tensor->bytes,
                .kind = SCAN_OPAQUE,
            };
            entries[n].has_digest =
                uqff_container_entry_digest(container, expected->entry, &entries[n].digest);
            n += entries[n].has_digest;
        }
    }
    enum uqff_code code = uqff_verify_scan(directory->verify, entries, n, err);
    uqff_free(entries);
    return code;
}

/* ---- side files ------------------------------------------------------------------------------ */

static enum uqff_code compare_asset(struct directory *directory,
                                    const struct uqff_container *container, size_t index,
                                    struct uqff_error *err) {
    const char *name = uqff_container_asset(container, index)->path;
    char *own = NULL, *beside = NULL;
    size_t own_size = 0, beside_size = 0;
    struct uqff_buffer rendered = {0};
    struct uqff_error problem;
    /* Side files in folders are those of embedding models; the ones that matter lie at the top. */
    if (strchr(name, '/') != NULL || !holds(directory, name)) {
        return UQFF_OK;
    }
    enum uqff_code code = read_side(directory, name, SIDE_FILE_LIMIT, &beside, &beside_size, err);
    if (code == UQFF_OK && beside != NULL) {
        code = uqff_container_read_asset(container, index, &own, &own_size, err);
    }
    if (code != UQFF_OK || beside == NULL) {
        goto out;
    }
    bool same = own_size == beside_size && memcmp(own, beside, own_size) == 0;
    if (!same && strcmp(name, "config.json") == 0 &&
        uqff_sidecars_config(own, own_size, name, NULL, &rendered, &problem) == UQFF_OK) {
        same = rendered.size == beside_size && memcmp(rendered.data, beside, beside_size) == 0;
    }
    if (!same) {
        uqff_findings_add(directory->verify, UQFF_WARNING, "sidecar",
                          "%s/%s: is not the '%s' that the UQFF file carries", directory->path,
                          name, name);
    }
out:
    uqff_buffer_free(&rendered);
    uqff_free(own);
    uqff_free(beside);
    return code;
}

/* What mistral.rs needs beside the shards. A multi-quant file that lies alone can be exported. */
static void check_present(const struct directory *directory, bool multi) {
    static const char *const needed[] = {"config.json", "residual.safetensors", "tokenizer.json"};
    bool any = false;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        any = any || holds(directory, needed[i]);
    }
    if (multi && !any) {
        uqff_findings_add(directory->verify, UQFF_NOTE, "sidecar",
                          "%s: no side files, which mistral.rs wants beside the UQFF file: "
                          "config.json, residual.safetensors and tokenizer.json",
                          directory->path);
        return;
    }
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (!holds(directory, needed[i])) {
            FAIL(directory, "sidecar", "%s: '%s' is missing", directory->path, needed[i]);
        }
    }
}

/* mistral.rs prefers these to residual.safetensors, and would load the dense weights. */
static void check_leftovers(const struct directory *directory) {
    static const char *const whole[] = {"model.safetensors", "consolidated.safetensors",
                                        "pytorch_model.bin"};
    for (size_t i = 0; i < directory->count; i++) {
        const char *name = directory->names[i];
        bool left = uqff_text_ends(name, ".safetensors.index.json") ||
                    (strncmp(name, "model-", 6) == 0 && uqff_text_ends(name, ".safetensors")) ||
                    (strncmp(name, "pytorch_model-", 14) == 0 && uqff_text_ends(name, ".bin"));
        for (size_t k = 0; k < sizeof whole / sizeof whole[0]; k++) {
            left = left || strcmp(name, whole[k]) == 0;
        }
        if (left) {
            FAIL(directory, "checkpoint",
                 "%s/%s: mistral.rs would take the dense weights instead of "
                 "residual.safetensors",
                 directory->path, name);
        }
    }
}

/* ---- uqff_report.json and names -------------------------------------------------------------- */

/* The output that lists a shard, or UQFF_NONE. */
static size_t find_output(const struct uqff_report_entry *entries, size_t count,
                          const char *shard) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < entries[i].shard_count; k++) {
            if (strcmp(entries[i].shards[k], shard) == 0) {
                return i;
            }
        }
    }
    return UQFF_NONE;
}

static void compare_report(const struct directory *directory,
                           const struct uqff_report_entry *entries, const uint64_t *layers,
                           size_t count, struct uqff_container *const *containers,
                           size_t container_count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < entries[i].shard_count; k++) {
            if (!holds(directory, entries[i].shards[k])) {
                FAIL(directory, "report", "%s/uqff_report.json: the shard '%s' of '%s' is missing",
                     directory->path, entries[i].shards[k], entries[i].quant);
            }
        }
    }
    for (size_t i = 0; i < container_count; i++) {
        const size_t modules = uqff_container_module_count(containers[i]);
        for (size_t s = 0; s < uqff_container_shard_count(containers[i]); s++) {
            const char *shard = uqff_path_name(uqff_container_shard_path(containers[i], s));
            const size_t output = find_output(entries, count, shard);
            if (output == UQFF_NONE) {
                FAIL(directory, "report", "%s/uqff_report.json: does not list the shard '%s'",
                     directory->path, shard);
            } else if (s == 0 && layers[output] != UINT64_MAX && layers[output] != modules) {
                FAIL(directory, "report",
                     "%s/uqff_report.json: '%s' has %llu layers, but '%s' holds %zu",
                     directory->path, entries[output].quant, (unsigned long long)layers[output],
                     shard, modules);
            }
        }
    }
}

static enum uqff_code check_report(struct directory *directory,
                                   struct uqff_container *const *containers, size_t count,
                                   struct uqff_error *err) {
    static const char name[] = "uqff_report.json";
    char *text = NULL;
    size_t size = 0, entry_count = 0;
    struct uqff_report_entry *entries = NULL;
    uint64_t *layers = NULL;
    struct uqff_error problem;
    if (!holds(directory, name)) {
        return UQFF_OK;
    }
    enum uqff_code code = read_side(directory, name, SIDE_FILE_LIMIT, &text, &size, err);
    if (code != UQFF_OK || text == NULL) {
        return code;
    }
    code = uqff_report_parse(text, size, name, &directory->arena, &entries, &entry_count, &problem);
    if (code == UQFF_OK) {
        layers = uqff_arena_array(&directory->arena, entry_count, sizeof *layers);
        code = layers == NULL
                   ? UQFF_E_MEMORY
                   : uqff_verify_report_layers(text, size, layers, entry_count, &problem);
    }
    uqff_free(text);
    if (code == UQFF_E_MEMORY) {
        return uqff_fail_memory(err);
    }
    if (code != UQFF_OK) {
        uqff_findings_add_error(directory->verify, "report", &problem);
        return UQFF_OK;
    }
    compare_report(directory, entries, layers, entry_count, containers, count);
    return UQFF_OK;
}

/* Without a report, `--from-uqff q4k` looks for q4k-0.uqff. */
static void check_name(const struct directory *directory, const struct uqff_container *container) {
    static const char *const types[] = {
        "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q8_1",  "q2k",  "q3k",  "q4k",  "q5k",  "q6k",
        "q8k",  "hqq4", "hqq8", "fp8",  "f8q8", "mxfp4", "afq2", "afq3", "afq4", "afq6", "afq8"};
    const char *name = uqff_path_name(uqff_container_shard_path(container, 0));
    size_t stem = 0;
    uint64_t number = 0;
    if (uqff_shard_name_parse(name, &stem, &number)) {
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
            if (strlen(types[i]) == stem && memcmp(types[i], name, stem) == 0) {
                return;
            }
        }
    }
    if (!holds(directory, "uqff_report.json")) {
        uqff_findings_add(directory->verify, UQFF_NOTE, "name",
                          "%s/%s: mistral.rs finds it by its whole name only: it is not called "
                          "TYPE-0.uqff and there is no report",
                          directory->path, name);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum uqff_code check_container(struct directory *directory,
                                      const struct uqff_container *container,
                                      struct uqff_error *err) {
    struct uqff_arena arena = {0};
    struct uqff_config parsed;
    const struct uqff_config *config = NULL;
    const char **names = NULL;
    const bool multi = uqff_container_is_multi(container);
    enum uqff_code code = config_of(directory, container, &arena, &parsed, &config, err);
    if (code != UQFF_OK) {
        goto out;
    }
    uqff_verify_modules(directory->verify, container, config);
    check_name(directory, container);
    if (!multi) {
        if (directory->residual != NULL) {
            code = uqff_verify_residual(directory->verify, container, config,
                                        directory->residual_names, directory->residual_count,
                                        directory->path, err);
        }
        goto out;
    }
    const size_t count = uqff_container_residual_count(container);
    names = uqff_arena_array(&arena, count, sizeof *names);
    if (names == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = uqff_container_residual(container, i)->name;
    }
    code = uqff_verify_residual(directory->verify, container, config, names, count,
                                uqff_container_shard_path(container, 0), err);
    if (code == UQFF_OK && directory->residual != NULL) {
        code = compare_residual(directory, container, err);
    }
    for (size_t i = 0; code == UQFF_OK && i < uqff_container_asset_count(container); i++) {
        code = compare_asset(directory, container, i, err);
    }
out:
    uqff_arena_free(&arena);
    return code;
}

enum uqff_code uqff_verify_mistralrs(struct verify *verify, const char *path,
                                     struct uqff_container *const *containers, size_t count,
                                     struct uqff_error *err) {
    struct directory directory = {.verify = verify, .path = path};
    bool multi = true;
    enum uqff_code code =
        uqff_list_directory(path, &directory.arena, &directory.names, &directory.count, err);
    if (code == UQFF_OK) {
        code = load_config(&directory, err);
    }
    if (code == UQFF_OK) {
        code = load_residual(&directory, err);
    }
    if (code != UQFF_OK) {
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        multi = multi && uqff_container_is_multi(containers[i]);
    }
    check_present(&directory, multi);
    check_leftovers(&directory);
    code = check_report(&directory, containers, count, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = check_container(&directory, containers[i], err);
    }
out:
    uqff_safetensors_set_close(directory.residual);
    uqff_arena_free(&directory.arena);
    return code;
}
