/* Opening a container, and the views of it. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "container/internal.h"

/* ---- small ranges -------------------------------------------------------------------------------
 */

/* Ranges nearer than this are read in one go, as long as that stays below the window. */
#define MAX_GAP 4096u
#define WINDOW ((size_t)1 << 20)

static int compare_wants(const void *a, const void *b) {
    const struct uqff_container_want *x = a, *y = b;
    if (x->shard != y->shard) {
        return x->shard < y->shard ? -1 : 1;
    }
    return (x->offset > y->offset) - (x->offset < y->offset);
}

enum uqff_code uqff_container_read_small(const struct uqff_container *container,
                                         struct uqff_container_want *wants, size_t count,
                                         struct uqff_error *err) {
    if (count == 0) {
        return UQFF_OK;
    }
    qsort(wants, count, sizeof *wants, compare_wants);
    unsigned char *window = uqff_alloc(WINDOW);
    if (window == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0, next; i < count && code == UQFF_OK; i = next) {
        /* All ranges lie inside their files, so no sum overflows; none is larger than the window.
         */
        uint64_t start = wants[i].offset, end = start + wants[i].bytes;
        for (next = i + 1; next < count && wants[next].shard == wants[i].shard; next++) {
            uint64_t next_end = wants[next].offset + wants[next].bytes;
            bool near = wants[next].offset <= end + MAX_GAP && next_end - start <= WINDOW;
            if (!near) {
                break;
            }
            end = next_end > end ? next_end : end;
        }
        code = uqff_source_read(container->shards[wants[i].shard].source, start, window,
                                (size_t)(end - start), err);
        for (size_t k = i; code == UQFF_OK && k < next; k++) {
            memcpy(wants[k].out, window + (wants[k].offset - start), wants[k].bytes);
        }
    }
    uqff_free(window);
    return code;
}

/* ---- steps of opening ------------------------------------------------------------------------ */

static enum uqff_code open_shards(struct uqff_container *container, const char *const *paths,
                                  struct uqff_source **sources, size_t count,
                                  const struct uqff_warner *warner, struct uqff_error *err) {
    container->shards = uqff_arena_array(&container->arena, count, sizeof *container->shards);
    if (container->shards == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct uqff_container_shard *shard = &container->shards[i];
        shard->path = uqff_arena_copy(&container->arena, paths[i], strlen(paths[i]));
        if (shard->path == NULL) {
            return uqff_fail_memory(err);
        }
        container->shard_count = i + 1;
        enum uqff_code code = uqff_safetensors_open(sources[i], warner, &shard->file, err);
        if (code != UQFF_OK) {
            return code;
        }
        shard->source = sources[i];
    }
    return UQFF_OK;
}

/* No name in two shards; the version scalars may be repeated. */
static enum uqff_code check_names(const struct uqff_container *container, struct uqff_error *err) {
    struct uqff_map map = {0};
    enum uqff_code code = UQFF_OK;
    for (size_t s = 0; s < container->shard_count; s++) {
        struct uqff_safetensors *file = container->shards[s].file;
        for (size_t i = 0; i < uqff_safetensors_count(file); i++) {
            const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(file, i);
            struct uqff_entry_name name;
            uqff_container_name_parse(tensor->name, tensor->name_length, &name);
            if (uqff_container_all_digits(tensor->name, tensor->name_length)) {
                code = uqff_fail(err, UQFF_E_VERSION, tensor->offset,
                                 "%s: '%s': a pre-1.0 UQFF file, whose entries are numbered; "
                                 "expected UQFF 1.x",
                                 uqff_container_where(container, s), tensor->name);
                goto out;
            }
            if (name.kind == UQFF_NAME_VERSION || container->shard_count == 1) {
                continue;
            }
            size_t other;
            if ((code = uqff_container_map_put(&map, tensor->name, tensor->name_length, s, &other,
                                               err)) != UQFF_OK) {
                goto out;
            }
            if (other != UQFF_NONE) {
                code = uqff_fail(err, UQFF_E_DUPLICATE, tensor->offset,
                                 "%s: '%s': the shard '%s' has an entry of this name too",
                                 uqff_container_where(container, s), tensor->name,
                                 uqff_path_name(container->shards[other].path));
                goto out;
            }
        }
    }
out:
    uqff_container_map_free(&map);
    return code;
}

static enum uqff_code read_version(struct uqff_container *container, size_t shard, const char *name,
                                   uint32_t *out, bool *present, struct uqff_error *err) {
    struct uqff_container_shard *s = &container->shards[shard];
    const struct uqff_st_tensor *tensor = uqff_safetensors_find(s->file, name);
    *present = tensor != NULL;
    if (tensor == NULL) {
        return UQFF_OK;
    }
    if (tensor->dtype != UQFF_DTYPE_U32 || tensor->rank != 0) {
        return uqff_fail(err, UQFF_E_FIELD, tensor->offset,
                         "%s: '%s': found %s of rank %u, expected a U32 scalar",
                         uqff_source_name(s->source), name, uqff_dtype_name(tensor->dtype),
                         tensor->rank);
    }
    unsigned char bytes[4];
    enum uqff_code code = uqff_source_read(s->source, tensor->offset, bytes, sizeof bytes, err);
    *out = uqff_load_le32(bytes);
    return code;
}

static enum uqff_code load_version(struct uqff_container *container,
                                   const struct uqff_container_options *options,
                                   struct uqff_error *err) {
    static const char *const names[] = {"uqff.version.major", "uqff.version.minor",
                                        "uqff.version.patch"};
    for (unsigned k = 0; k < 3; k++) {
        bool found = false;
        for (size_t s = 0; s < container->shard_count; s++) {
            uint32_t value = 0;
            bool present;
            enum uqff_code code = read_version(container, s, names[k], &value, &present, err);
            if (code != UQFF_OK) {
                return code;
            }
            if (present && found && value != container->version[k]) {
                return uqff_fail(err, UQFF_E_VERSION, UQFF_NO_OFFSET,
                                 "%s: '%s': found %u, another shard of the set has %u",
                                 uqff_container_where(container, s), names[k], value,
                                 container->version[k]);
            }
            if (present && !found) {
                container->version[k] = value;
                found = true;
            }
        }
        if (!found) {
            return uqff_fail(err, UQFF_E_VERSION, UQFF_NO_OFFSET,
                             "%s: the entry '%s' is missing, so this is no UQFF 1.x file",
                             uqff_container_where(container, 0), names[k]);
        }
    }
    const uint32_t *v = container->version;
    bool allow_newer = options != NULL && options->allow_newer_minor;
    if (v[0] != 1 || (v[1] > 2 && !allow_newer)) {
        return uqff_fail(err, UQFF_E_VERSION, UQFF_NO_OFFSET,
                         "%s: UQFF version %u.%u.%u, expected 1.0 to 1.2",
                         uqff_container_where(container, 0), v[0], v[1], v[2]);
    }
    return UQFF_OK;
}

/* "1.0": two numbers below 1000 without leading zeros. */
static bool parse_multi_version(const char *text, unsigned *major, unsigned *minor) {
    unsigned *parts[2] = {major, minor};
    for (unsigned k = 0; k < 2; k++) {
        size_t n = strspn(text, "0123456789");
        if (n == 0 || n > 3 || (n > 1 && text[0] == '0')) {
            return false;
        }
        *parts[k] = (unsigned)strtoul(text, NULL, 10);
        text += n;
        if (*text != (k == 0 ? '.' : '\0')) {
            return false;
        }
        text++;
    }
    return true;
}

static enum uqff_code load_kind(struct uqff_container *container, const struct uqff_warner *warner,
                                struct uqff_error *err) {
    struct uqff_safetensors *file = container->shards[0].file;
    const char *where = uqff_container_where(container, 0);
    for (size_t i = 0; i < uqff_safetensors_metadata_count(file); i++) {
        const char *key, *value;
        size_t length;
        uqff_safetensors_metadata(file, i, &key, &value, &length);
        container->multi |= strncmp(key, UQFF_KEY_MULTI, strlen(UQFF_KEY_MULTI)) == 0;
    }
    if (!container->multi) {
        return UQFF_OK;
    }
    const char *text = uqff_container_metadata(container, UQFF_KEY_MULTI_VERSION);
    unsigned major, minor;
    if (text == NULL || !parse_multi_version(text, &major, &minor)) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: metadata '%s' is %s%s%s, expected \"MAJOR.MINOR\"", where,
                         UQFF_KEY_MULTI_VERSION, text == NULL ? "missing" : "\"",
                         text == NULL ? "" : text, text == NULL ? "" : "\"");
    }
    if (major != 1) {
        return uqff_fail(err, UQFF_E_VERSION, UQFF_NO_OFFSET,
                         "%s: version %u.%u of the multi-quant container, expected 1.x", where,
                         major, minor);
    }
    container->newer = minor > 0;
    if (container->newer) {
        uqff_warn(warner,
                  "%s: version %u.%u of the multi-quant container is newer than 1.0: what it adds "
                  "is passed over",
                  where, major, minor);
    }
    return UQFF_OK;
}

/* ---- the one variant of a plain file --------------------------------------------------------- */

/* The type that most blobs of the variant have: ties go to the lower id. */
static uint32_t most_frequent_type(const struct uqff_container *container) {
    size_t counts[64] = {0}; /* block types and floats have ids below 64 */
    for (size_t i = 0; i < container->blob_count; i++) {
        uint32_t type = container->blobs[i].type;
        if (type >= sizeof counts / sizeof *counts) {
            return UINT32_MAX;
        }
        counts[type]++;
    }
    uint32_t best = 0;
    for (uint32_t type = 1; type < sizeof counts / sizeof *counts; type++) {
        best = counts[type] > counts[best] ? type : best;
    }
    return container->blob_count == 0 ? UINT32_MAX : best;
}

static enum uqff_code make_plain_variant(struct uqff_container *container, struct uqff_error *err) {
    const char *where = uqff_container_where(container, 0);
    if (container->module_count == 0) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: no module, expected at least one", where);
    }
    const char *name = uqff_path_name(container->shards[0].path);
    struct uqff_variant *variant = uqff_arena_alloc(&container->arena, sizeof *variant);
    size_t *blobs = uqff_arena_array(&container->arena, container->module_count, sizeof *blobs);
    char *stem = uqff_arena_copy(&container->arena, name, uqff_container_stem_length(name));
    if (variant == NULL || blobs == NULL || stem == NULL) {
        return uqff_fail_memory(err);
    }
    *variant = (struct uqff_variant){
        .name = stem, .recipe = "", .type = most_frequent_type(container), .blobs = blobs};
    for (size_t m = 0; m < container->module_count; m++) {
        const struct uqff_module *module = &container->modules[m];
        blobs[m] = module->first_blob;
        variant->bytes += container->blobs[module->first_blob].bytes;
        if (!uqff_add_u64(variant->weights, module->weights, &variant->weights)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "%s: the number of weights does not fit 64 bits", where);
        }
    }
    container->variants = variant;
    container->variant_count = 1;
    container->default_variant = 0;
    return UQFF_OK;
}

/* ---- open and close -------------------------------------------------------------------------- */

enum uqff_code uqff_container_open_sources(const char *const *paths, struct uqff_source **sources,
                                           size_t count,
                                           const struct uqff_container_options *options,
                                           struct uqff_container **out, struct uqff_error *err) {
    const struct uqff_warner *warner = options == NULL ? NULL : options->warner;
    struct uqff_container *container = uqff_alloc_array(1, sizeof *container);
    if (container == NULL) {
        return uqff_fail_memory(err);
    }
    container->default_variant = UQFF_NONE;
    enum uqff_code code;
    if ((code = open_shards(container, paths, sources, count, warner, err)) != UQFF_OK ||
        (code = check_names(container, err)) != UQFF_OK ||
        (code = load_version(container, options, err)) != UQFF_OK ||
        (code = load_kind(container, warner, err)) != UQFF_OK ||
        (code = uqff_container_load_modules(container, warner, err)) != UQFF_OK) {
        goto out;
    }
    if (!container->multi) {
        code = make_plain_variant(container, err);
    } else if ((code = uqff_container_load_extras(container, err)) == UQFF_OK &&
               (code = uqff_container_load_index(container, warner, err)) == UQFF_OK) {
        code = uqff_container_load_digests(container, err);
    }
out:
    if (code != UQFF_OK) {
        /* The caller keeps the sources of a container that did not open. */
        for (size_t i = 0; i < container->shard_count; i++) {
            container->shards[i].source = NULL;
        }
        uqff_container_close(container);
        return code;
    }
    *out = container;
    return UQFF_OK;
}

enum uqff_code uqff_container_open(const char *path, const struct uqff_container_options *options,
                                   struct uqff_container **out, struct uqff_error *err) {
    struct uqff_arena arena = {0};
    const char **paths;
    size_t count = 0, opened = 0;
    struct uqff_source **sources = NULL;
    enum uqff_code code = uqff_container_shard_paths(path, &arena, &paths, &count, err);
    if (code != UQFF_OK) {
        goto out;
    }
    sources = uqff_arena_array(&arena, count, sizeof *sources);
    if (sources == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    for (; opened < count; opened++) {
        if ((code = uqff_source_open(paths[opened], &sources[opened], err)) != UQFF_OK) {
            goto out;
        }
    }
    code = uqff_container_open_sources(paths, sources, count, options, out, err);
out:
    if (code != UQFF_OK) {
        for (size_t i = 0; i < opened; i++) {
            uqff_source_close(sources[i]);
        }
    }
    uqff_arena_free(&arena);
    return code;
}

void uqff_container_close(struct uqff_container *container) {
    if (container == NULL) {
        return;
    }
    for (size_t i = 0; i < container->shard_count; i++) {
        uqff_safetensors_close(container->shards[i].file);
        uqff_source_close(container->shards[i].source);
    }
    uqff_container_map_free(&container->module_map);
    uqff_arena_free(&container->arena);
    uqff_free(container);
}

/* ---- views ----------------------------------------------------------------------------------- */

bool uqff_container_is_multi(const struct uqff_container *container) {
    return container->multi;
}

void uqff_container_version(const struct uqff_container *container, uint32_t out[3]) {
    memcpy(out, container->version, sizeof container->version);
}

size_t uqff_container_shard_count(const struct uqff_container *container) {
    return container->shard_count;
}

struct uqff_safetensors *uqff_container_shard(const struct uqff_container *container, size_t i) {
    return container->shards[i].file;
}

const char *uqff_container_shard_path(const struct uqff_container *container, size_t i) {
    return container->shards[i].path;
}

const char *uqff_container_metadata(const struct uqff_container *container, const char *key) {
    return uqff_safetensors_metadata_find(container->shards[0].file, key, NULL);
}

size_t uqff_container_module_count(const struct uqff_container *container) {
    return container->module_count;
}

const struct uqff_module *uqff_container_module(const struct uqff_container *container, size_t i) {
    return &container->modules[i];
}

size_t uqff_container_find_module(const struct uqff_container *container, const char *name) {
    return uqff_container_map_get(&container->module_map, name, strlen(name));
}

size_t uqff_container_blob_count(const struct uqff_container *container) {
    return container->blob_count;
}

const struct uqff_blob *uqff_container_blob(const struct uqff_container *container, size_t i) {
    return &container->blobs[i];
}

size_t uqff_container_variant_count(const struct uqff_container *container) {
    return container->variant_count;
}

const struct uqff_variant *uqff_container_variant(const struct uqff_container *container,
                                                  size_t i) {
    return &container->variants[i];
}

size_t uqff_container_default(const struct uqff_container *container) {
    return container->default_variant;
}

size_t uqff_container_find_variant(const struct uqff_container *container, const char *name) {
    for (size_t i = 0; i < container->variant_count; i++) {
        if (strcasecmp(container->variants[i].name, name) == 0) {
            return i;
        }
    }
    return UQFF_NONE;
}

size_t uqff_container_residual_count(const struct uqff_container *container) {
    return container->residual_count;
}

const struct uqff_residual *uqff_container_residual(const struct uqff_container *container,
                                                    size_t i) {
    return &container->residual[i];
}

size_t uqff_container_asset_count(const struct uqff_container *container) {
    return container->asset_count;
}

const struct uqff_asset *uqff_container_asset(const struct uqff_container *container, size_t i) {
    return &container->assets[i];
}
