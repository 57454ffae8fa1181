/* view: opens files for inspection and lists what they hold. */
#include "view.h"

#include <stdio.h>
#include <string.h>

#include "options.h"
#include "output.h"

/* ---- warnings: held back until it is known which way of opening counts ----------------------- */

static void collect(void *context, const char *text) {
    struct view *view = context;
    const char *copy = uqff_arena_copy(&view->cli->arena, text, strlen(text));
    if (copy == NULL || list_append(&view->warnings, &view->cli->arena, copy, NULL) != UQFF_OK) {
        return; /* without memory the rest fails too, and says so */
    }
}

static void tell_warnings(struct view *view) {
    struct uqff_warner warner = output_warner(view->cli);
    for (size_t i = 0; i < view->warnings.count; i++) {
        warner.warn(warner.context, view->warnings.items[i]);
    }
    view->warnings.count = 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The files of a reference, without asking for a complete model. */
static enum uqff_code open_files(struct view *view, const char *path, struct uqff_error *err) {
    enum uqff_code code = uqff_model_sniff(path, &view->kind, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (view->kind == UQFF_MODEL_GGUF) {
        return uqff_gguf_open_path(path, &view->warner, &view->gguf, err);
    }
    if (view->kind == UQFF_MODEL_UQFF) {
        const struct uqff_container_options options = {
            .warner = &view->warner, .allow_newer_minor = view->allow_newer_minor};
        code = uqff_container_open(path, &options, &view->container, err);
        if (code == UQFF_OK && uqff_container_is_multi(view->container)) {
            view->kind = UQFF_MODEL_MULTI;
        }
        return code;
    }
    return uqff_safetensors_set_open(path, &view->warner, &view->set, err);
}

/* Splits "path#variant", unless a file has that very name. */
static const char *split_reference(struct view *view, const char **variant) {
    const char *reference = view->reference, *hash = strrchr(reference, '#');
    *variant = NULL;
    if (hash == NULL || uqff_path_exists(reference)) {
        return reference;
    }
    *variant = hash + 1;
    return uqff_arena_copy(&view->cli->arena, reference, (size_t)(hash - reference));
}

static enum uqff_code open_without_model(struct view *view, struct uqff_error *err) {
    const char *variant;
    const char *path = split_reference(view, &variant);
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    if (uqff_path_is_directory(path)) {
        *err = view->refusal;
        return view->refusal.code;
    }
    enum uqff_code code = open_files(view, path, err);
    if (code == UQFF_OK && variant != NULL) {
        view->variant = view->container == NULL
                            ? UQFF_NONE
                            : uqff_container_find_variant(view->container, variant);
        if (view->variant == UQFF_NONE) {
            *err = view->refusal;
            return view->refusal.code;
        }
    }
    return code;
}

/* A model warns of what a person should know who makes something of it: a missing config.json, an
 * unknown architecture. Here only what the files themselves are warned of matters. */
static void keep_warnings_of_files(struct view *view) {
    const char *variant;
    const char *path = split_reference(view, &variant);
    if (view->warnings.count == 0 || path == NULL || uqff_path_is_directory(path)) {
        return;
    }
    struct view probe = {.cli = view->cli,
                         .warner = {collect, &probe},
                         .allow_newer_minor = view->allow_newer_minor};
    struct uqff_error err;
    if (open_files(&probe, path, &err) == UQFF_OK) {
        view->warnings = probe.warnings;
    }
    view_close(&probe);
}

static enum uqff_code open_any(struct view *view, struct uqff_error *err) {
    const struct uqff_model_options options = {.warner = &view->warner,
                                               .allow_newer_minor = view->allow_newer_minor};
    if (uqff_model_open(view->reference, &options, &view->model, &view->refusal) != UQFF_OK) {
        view->model = NULL;
        view->warnings.count = 0; /* they come again */
        return open_without_model(view, err);
    }
    keep_warnings_of_files(view);
    view->kind = uqff_model_kind(view->model);
    view->set = uqff_model_safetensors(view->model);
    view->gguf = uqff_model_gguf(view->model);
    view->container = uqff_model_container(view->model);
    const char *variant;
    split_reference(view, &variant);
    view->variant = variant == NULL ? UQFF_NONE : uqff_model_variant(view->model);
    return UQFF_OK;
}

/* ---- listing --------------------------------------------------------------------------------- */

struct lister {
    struct view *view;
    size_t capacity;
    struct uqff_error *err;
};

static enum uqff_code add_file(struct lister *lister, const char *path, uint64_t bytes) {
    struct view *view = lister->view;
    struct view_file *files =
        uqff_arena_array(&view->cli->arena, view->file_count + 1, sizeof *files);
    if (files == NULL) {
        return uqff_fail_memory(lister->err);
    }
    if (view->file_count > 0) {
        memcpy(files, view->files, view->file_count * sizeof *files);
    }
    files[view->file_count++] = (struct view_file){path, bytes};
    view->files = files;
    return UQFF_OK;
}

static enum uqff_code add_item(struct lister *lister, const struct item *item) {
    struct view *view = lister->view;
    view->bytes += item->bytes;
    if (!filter_passes(view->filter, item->name, item->name_length)) {
        view->hidden++;
        return UQFF_OK;
    }
    void *items = view->items;
    enum uqff_code code =
        uqff_grow(&items, &lister->capacity, view->item_count + 1, sizeof *item, lister->err);
    if (code == UQFF_OK) {
        view->items = items;
        view->items[view->item_count++] = *item;
    }
    return code;
}

/* The product of a shape that a reader has checked. */
static uint64_t elements_of(const uint64_t *shape, unsigned rank) {
    uint64_t product = 1;
    for (unsigned i = 0; i < rank; i++) {
        product *= shape[i];
    }
    return product;
}

static struct item item_of_safetensors(const struct uqff_st_tensor *tensor, size_t file) {
    return (struct item){.name = tensor->name,
                         .name_length = tensor->name_length,
                         .type = uqff_dtype_name(tensor->dtype),
                         .shape = tensor->shape,
                         .rank = tensor->rank,
                         .elements = elements_of(tensor->shape, tensor->rank),
                         .bytes = tensor->bytes,
                         .offset = tensor->offset,
                         .file = file,
                         .blob = UQFF_NONE};
}

static enum uqff_code list_set(struct lister *lister) {
    struct view *view = lister->view;
    const size_t first_file = view->file_count;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_safetensors_set_file_count(view->set) && code == UQFF_OK; i++) {
        struct uqff_source *source =
            uqff_safetensors_source(uqff_safetensors_set_file(view->set, i));
        code = add_file(lister, uqff_source_name(source), uqff_source_size(source));
    }
    for (size_t i = 0; i < uqff_safetensors_set_count(view->set) && code == UQFF_OK; i++) {
        struct uqff_st_set_tensor entry = uqff_safetensors_set_tensor(view->set, i);
        struct item item = item_of_safetensors(entry.tensor, first_file + entry.file);
        view->weights += item.elements;
        code = add_item(lister, &item);
    }
    return code;
}

static enum uqff_code list_gguf(struct lister *lister) {
    struct view *view = lister->view;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_gguf_file_count(view->gguf) && code == UQFF_OK; i++) {
        struct uqff_source *source = uqff_gguf_source(view->gguf, i);
        code = add_file(lister, uqff_source_name(source), uqff_source_size(source));
    }
    const size_t count = uqff_gguf_tensor_count(view->gguf);
    uint64_t(*shapes)[UQFF_GGUF_MAX_DIMS] =
        uqff_arena_array(&view->cli->arena, count, sizeof *shapes);
    if (shapes == NULL) {
        return uqff_fail_memory(lister->err);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(view->gguf, i);
        for (unsigned d = 0; d < tensor->n_dims; d++) {
            shapes[i][d] = tensor->ne[tensor->n_dims - 1 - d];
        }
        const struct uqff_type_info *type = uqff_type_info(tensor->type);
        const struct item item = {.name = tensor->name,
                                  .name_length = strlen(tensor->name),
                                  .type = type == NULL ? "?" : type->name,
                                  .shape = shapes[i],
                                  .rank = tensor->n_dims,
                                  .elements = elements_of(shapes[i], tensor->n_dims),
                                  .bytes = tensor->bytes,
                                  .offset = tensor->offset,
                                  .file = tensor->file,
                                  .blob = UQFF_NONE};
        view->weights += item.elements;
        code = add_item(lister, &item);
    }
    return code;
}

/* A blob's label in the spelling of all listings, "Q4_K". */
static const char *upper_label(struct uqff_arena *arena, const char *label) {
    char *copy = uqff_arena_copy(arena, label, strlen(label));
    for (char *c = copy; c != NULL && *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z') {
            *c = (char)(*c - 'a' + 'A');
        }
    }
    return copy;
}

/* True when the blob belongs to what is shown: one variant, or all. */
static bool is_shown(const struct view *view, size_t module, size_t blob) {
    return view->variant == UQFF_NONE ||
           uqff_container_variant(view->container, view->variant)->blobs[module] == blob;
}

static enum uqff_code list_module(struct lister *lister, size_t index) {
    struct view *view = lister->view;
    const struct uqff_module *module = uqff_container_module(view->container, index);
    enum uqff_code code = UQFF_OK;
    view->weights += module->weights;
    for (size_t i = 0; i < module->blob_count && code == UQFF_OK; i++) {
        const size_t id = module->first_blob + i;
        const struct uqff_blob *blob = uqff_container_blob(view->container, id);
        if (!is_shown(view, index, id)) {
            continue;
        }
        const struct item item = {.name = module->name,
                                  .name_length = strlen(module->name),
                                  .type = upper_label(&view->cli->arena, blob->label),
                                  .shape = module->shape,
                                  .rank = module->rank,
                                  .elements = module->weights,
                                  .bytes = blob->bytes,
                                  .offset = blob->entry.tensor->offset,
                                  .file = blob->entry.shard,
                                  .what = "module",
                                  .blob = id};
        code = item.type == NULL ? uqff_fail_memory(lister->err) : add_item(lister, &item);
    }
    if (code == UQFF_OK && module->has_bias) {
        struct item item = item_of_safetensors(module->bias.tensor, module->bias.shard);
        item.what = "bias";
        view->weights += item.elements;
        code = add_item(lister, &item);
    }
    return code;
}

static enum uqff_code list_container(struct lister *lister) {
    struct view *view = lister->view;
    const struct uqff_container *container = view->container;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_container_shard_count(container) && code == UQFF_OK; i++) {
        code =
            add_file(lister, uqff_container_shard_path(container, i),
                     uqff_source_size(uqff_safetensors_source(uqff_container_shard(container, i))));
    }
    for (size_t i = 0; i < uqff_container_module_count(container) && code == UQFF_OK; i++) {
        code = list_module(lister, i);
    }
    for (size_t i = 0; i < uqff_container_residual_count(container) && code == UQFF_OK; i++) {
        const struct uqff_residual *residual = uqff_container_residual(container, i);
        struct item item = item_of_safetensors(residual->entry.tensor, residual->entry.shard);
        item.name = residual->name;
        item.name_length = strlen(residual->name);
        item.what = "residual";
        view->weights += item.elements;
        code = add_item(lister, &item);
    }
    return code;
}

/* The file that a source reads, added to the list when it is new. */
static enum uqff_code find_file(struct lister *lister, struct uqff_source *source, size_t *out) {
    const struct view *view = lister->view;
    const char *name = uqff_source_name(source);
    for (*out = 0; *out < view->file_count; ++*out) {
        if (strcmp(view->files[*out].path, name) == 0) {
            return UQFF_OK;
        }
    }
    return add_file(lister, name, uqff_source_size(source));
}

/* A tensor in the file beside a plain UQFF set. */
static enum uqff_code list_beside(struct lister *lister, size_t index) {
    struct view *view = lister->view;
    const struct uqff_tensor *tensor = uqff_model_tensor(view->model, index);
    struct uqff_source *source;
    uint64_t offset;
    if (!uqff_model_tensor_range(view->model, index, &source, &offset)) {
        return UQFF_OK;
    }
    struct item item = {.name = tensor->name,
                        .name_length = strlen(tensor->name),
                        .type = uqff_type_name(tensor->type),
                        .shape = tensor->shape,
                        .rank = tensor->rank,
                        .elements = tensor->elements,
                        .bytes = tensor->bytes,
                        .offset = offset,
                        .what = "residual",
                        .blob = UQFF_NONE};
    view->weights += item.elements;
    enum uqff_code code = find_file(lister, source, &item.file);
    return code == UQFF_OK ? add_item(lister, &item) : code;
}

/* A plain UQFF set has its residual tensors in a file beside it, which the model reads; until UQFF
 * 1.2 so has it the embedding, which is a module all the same. */
static enum uqff_code list_residual_beside(struct lister *lister) {
    struct view *view = lister->view;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_model_module_count(view->model) && code == UQFF_OK; i++) {
        const char *name = uqff_model_module(view->model, i)->name;
        if (uqff_container_find_module(view->container, name) != UQFF_NONE) {
            continue;
        }
        const char *weight = uqff_arena_printf(&view->cli->arena, "%s.weight", name);
        const size_t index =
            weight == NULL ? UQFF_NONE : uqff_model_find_tensor(view->model, weight);
        code = weight == NULL       ? uqff_fail_memory(lister->err)
               : index == UQFF_NONE ? UQFF_OK
                                    : list_beside(lister, index);
    }
    for (size_t i = 0; i < uqff_model_residual_count(view->model) && code == UQFF_OK; i++) {
        code = list_beside(lister, uqff_model_residual(view->model, i));
    }
    return code;
}

enum uqff_code view_open(struct cli *cli, const char *reference, const char *pattern,
                         bool allow_newer_minor, struct view *out, struct uqff_error *err) {
    *out = (struct view){.cli = cli,
                         .reference = reference,
                         .variant = UQFF_NONE,
                         .allow_newer_minor = allow_newer_minor};
    out->warner = (struct uqff_warner){collect, out};
    cli->file = reference;
    enum uqff_code code = filter_new(pattern, &out->filter, err);
    if (code == UQFF_OK) {
        code = open_any(out, err);
        tell_warnings(out);
    }
    struct lister lister = {out, 0, err};
    if (code == UQFF_OK && out->container != NULL) {
        code = list_container(&lister);
    }
    if (code == UQFF_OK && out->model != NULL && out->kind == UQFF_MODEL_UQFF) {
        code = list_residual_beside(&lister);
    }
    if (code == UQFF_OK && out->gguf != NULL) {
        code = list_gguf(&lister);
    }
    if (code == UQFF_OK && out->set != NULL) {
        code = list_set(&lister);
    }
    if (code != UQFF_OK) {
        view_close(out);
    }
    return code;
}

void view_close(struct view *view) {
    if (view->model != NULL) {
        uqff_model_close(view->model);
    } else if (view->set != NULL) {
        uqff_safetensors_set_close(view->set);
    } else if (view->gguf != NULL) {
        uqff_gguf_close(view->gguf);
    } else if (view->container != NULL) {
        uqff_container_close(view->container);
    }
    if (view->first != NULL) {
        uqff_model_close(view->first);
    }
    filter_free(view->filter);
    uqff_free(view->items);
    *view = (struct view){0};
}

const char *view_kind(const struct view *view, char out[64]) {
    uint32_t version[3];
    if (view->model != NULL && uqff_model_is_legacy(view->model)) {
        snprintf(out, 64, "uqff 0.x"); /* shown as the modules that it becomes */
    } else if (view->container != NULL) {
        uqff_container_version(view->container, version);
        snprintf(out, 64, "%s %u.%u.%u",
                 uqff_container_is_multi(view->container) ? "multi-quant uqff" : "uqff",
                 (unsigned)version[0], (unsigned)version[1], (unsigned)version[2]);
    } else if (view->gguf != NULL) {
        snprintf(out, 64, "gguf %u%s", (unsigned)uqff_gguf_file_version(view->gguf),
                 uqff_gguf_is_big_endian(view->gguf) ? ", big-endian" : "");
    } else {
        snprintf(out, 64, "safetensors");
    }
    return out;
}

void view_hidden(const struct view *view, size_t hidden) {
    char count[32];
    if (hidden > 0 && !view->cli->quiet) {
        printf("%s%s more %s not match --filter%s\n", style(view->cli, STYLE_DIM),
               output_count(count, hidden), hidden == 1 ? "does" : "do", style_end(view->cli));
    }
}
