/* view: the byte map of each file. */
#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "table.h"

/* A stretch of a file. */
struct stretch {
    uint64_t offset, bytes;
    const char *what;
    const char *name; /* "" for what has none */
};

struct map {
    struct stretch *items;
    size_t count, capacity;
    bool failed;
    /* A file that the view does not hold open: residual.safetensors beside a plain set. */
    struct uqff_source *source;
    struct uqff_safetensors *file;
};

static void add(struct map *map, uint64_t offset, uint64_t bytes, const char *what,
                const char *name) {
    void *items = map->items;
    if (uqff_grow(&items, &map->capacity, map->count + 1, sizeof *map->items, NULL) != UQFF_OK) {
        map->failed = true;
        return;
    }
    map->items = items;
    map->items[map->count++] = (struct stretch){offset, bytes, what, name};
}

/* What an entry of a UQFF file is, by its name. */
static const char *what_of(const char *name) {
    static const struct {
        const char *end, *what;
    } ends[] = {
        {"@uqff.asset", "asset"},       {"@uqff.asset.zlib", "asset"},
        {"@uqff.residual", "residual"}, {"@uqff.pad", "padding"},
        {"@uqff.digests", "digests"},   {"@uqff.shape", "shape"},
        {".weight.format", "format"},   {".weight.dtype", "type"},
        {".weight.shape", "shape"},     {".bias", "bias"},
    };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (uqff_text_ends(name, ends[i].end)) {
            return ends[i].what;
        }
    }
    return strncmp(name, "uqff.version.", 13) == 0 ? "version" : "blob";
}

static void map_safetensors(struct map *map, const struct uqff_safetensors *file, bool uqff) {
    add(map, 0, 8, "length", "");
    add(map, 8, uqff_safetensors_header_bytes(file), "header", "");
    for (size_t i = 0; i < uqff_safetensors_count(file); i++) {
        const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(file, i);
        add(map, tensor->offset, tensor->bytes, uqff ? what_of(tensor->name) : "tensor",
            tensor->name);
    }
}

static int by_offset(const void *a, const void *b) {
    const struct stretch *x = a, *y = b;
    if (x->offset != y->offset) {
        return (x->offset > y->offset) - (x->offset < y->offset);
    }
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Tensors lie in any order, with padding between them. */
static void map_gguf(struct map *map, const struct uqff_gguf *gguf, size_t file) {
    const uint64_t data = uqff_gguf_data_offset(gguf, file);
    const uint64_t size = uqff_source_size(uqff_gguf_source(gguf, file));
    if (file == 0) {
        uint64_t offset, bytes;
        uqff_gguf_kv_range(gguf, &offset, &bytes);
        add(map, 0, offset, "header", "");
        add(map, offset, bytes, "metadata", "");
        add(map, offset + bytes, data - offset - bytes, "tensor infos", "");
    } else {
        add(map, 0, data, "header", "");
    }
    const size_t first = map->count;
    for (size_t i = 0; i < uqff_gguf_tensor_count(gguf); i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(gguf, i);
        if (tensor->file == file) {
            add(map, tensor->offset, tensor->bytes, "tensor", tensor->name);
        }
    }
    if (map->failed) {
        return;
    }
    qsort(map->items + first, map->count - first, sizeof *map->items, by_offset);
    uint64_t end = data;
    const size_t last = map->count;
    for (size_t i = first; i < last && !map->failed; i++) {
        if (map->items[i].offset > end) {
            add(map, end, map->items[i].offset - end, "padding", "");
        }
        end = map->items[i].offset + map->items[i].bytes;
    }
    if (end < size) {
        add(map, end, size - end, "padding", "");
    }
    if (!map->failed) {
        qsort(map->items + first, map->count - first, sizeof *map->items, by_offset);
    }
}

static enum uqff_code map_file(struct map *map, const struct view *view, size_t file,
                               struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    if (view->gguf != NULL) {
        map_gguf(map, view->gguf, file);
    } else if (view->set != NULL) {
        map_safetensors(map, uqff_safetensors_set_file(view->set, file), false);
    } else if (file < uqff_container_shard_count(view->container)) {
        map_safetensors(map, uqff_container_shard(view->container, file), true);
    } else {
        code = uqff_source_open(view->files[file].path, &map->source, err);
        code = code == UQFF_OK ? uqff_safetensors_open(map->source, NULL, &map->file, err) : code;
        if (code == UQFF_OK) {
            map_safetensors(map, map->file, false);
        }
    }
    return code == UQFF_OK && map->failed ? uqff_fail_memory(err) : code;
}

static void free_map(struct map *map) {
    if (map->file != NULL) {
        uqff_safetensors_close(map->file);
    }
    uqff_source_close(map->source);
    uqff_free(map->items);
}

static bool passes(const struct view *view, const struct stretch *stretch) {
    return view->filter == NULL ||
           (stretch->name[0] != '\0' &&
            filter_passes(view->filter, stretch->name, strlen(stretch->name)));
}

static void json_map(const struct view *view, const struct map *map, size_t file, cJSON *files) {
    cJSON *object = json_object(files, NULL);
    json_u64(object, "file", file);
    struct uqff_buffer out = {0};
    for (size_t i = 0; i < map->count; i++) {
        const struct stretch *stretch = &map->items[i];
        if (!passes(view, stretch)) {
            continue;
        }
        uqff_buffer_printf(&out, "%s{\"offset\":%llu,\"bytes\":%llu,\"what\":\"%s\",\"name\":",
                           out.size == 0 ? "" : ",", (unsigned long long)stretch->offset,
                           (unsigned long long)stretch->bytes, stretch->what);
        if (stretch->name[0] == '\0') {
            uqff_buffer_append(&out, "null", 4);
        } else {
            json_quote(&out, stretch->name, strlen(stretch->name));
        }
        uqff_buffer_append(&out, "}", 1);
    }
    json_list(object, "entries", &out);
}

static enum uqff_code print_map(const struct view *view, const struct map *map, size_t file,
                                struct uqff_error *err) {
    struct table table = {0};
    char text[5000], count[32];
    size_t hidden = 0;
    printf("%s%s%s%s\n", file == 0 ? "" : "\n", style(view->cli, STYLE_BOLD),
           output_cut(text, sizeof text, 0, view->files[file].path, strlen(view->files[file].path)),
           style_end(view->cli));
    table_column(&table, "OFFSET", ALIGN_RIGHT);
    table_column(&table, "BYTES", ALIGN_RIGHT);
    table_column(&table, "WHAT", ALIGN_LEFT);
    table_column(&table, "NAME", ALIGN_LEFT);
    for (size_t i = 0; i < map->count; i++) {
        const struct stretch *stretch = &map->items[i];
        if (!passes(view, stretch)) {
            hidden += stretch->name[0] != '\0';
            continue;
        }
        table_text(&table, output_count(count, stretch->offset));
        table_text(&table, output_count(count, stretch->bytes));
        table_text(&table, stretch->what);
        table_bytes(&table, view->cli->verbose ? 0 : 80, stretch->name, strlen(stretch->name));
    }
    table_total(&table);
    table_text(&table, "");
    table_text(&table, output_count(count, view->files[file].bytes));
    table_text(&table, "in all");
    table_text(&table, "");
    enum uqff_code code = table_print(&table, view->cli, 0, err);
    if (code == UQFF_OK) {
        view_hidden(view, hidden);
    }
    return code;
}

enum uqff_code view_layout(struct view *view, cJSON *document, struct uqff_error *err) {
    cJSON *layouts = document == NULL ? NULL : json_array(document, "layout");
    enum uqff_code code = UQFF_OK;
    for (size_t file = 0; file < view->file_count && code == UQFF_OK; file++) {
        struct map map = {0};
        code = map_file(&map, view, file, err);
        if (code != UQFF_OK) {
            free_map(&map);
            return code;
        }
        if (document != NULL) {
            json_map(view, &map, file, layouts);
        } else {
            code = print_map(view, &map, file, err);
        }
        free_map(&map);
    }
    return code;
}
