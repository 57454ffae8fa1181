#include "pack/rebuild.h"

#include <stdlib.h>
#include <string.h>

struct sides {
    const struct uqff_model *model;
    const struct uqff_warner *warner;
    struct uqff_arena *arena;
    struct pack_side *items;
    size_t count;
};

/* Keeps a file's content; an empty buffer is no file. */
static enum uqff_code add_made(struct sides *sides, const char *name, struct uqff_buffer *content,
                               struct uqff_error *err) {
    if (content->failed) {
        return uqff_fail_memory(err);
    }
    if (content->size == 0) {
        return UQFF_OK;
    }
    char *copy = uqff_arena_copy(sides->arena, content->data, content->size);
    if (copy == NULL) {
        return uqff_fail_memory(err);
    }
    sides->items[sides->count++] =
        (struct pack_side){.name = name, .bytes = content->size, .content = copy};
    return UQFF_OK;
}

/* What cannot be made is no reason to make nothing. */
static enum uqff_code pass_over(const struct sides *sides, enum uqff_code code, const char *names,
                                const struct uqff_error *why, struct uqff_error *err) {
    if (code == UQFF_E_MEMORY) {
        return uqff_fail_memory(err);
    }
    uqff_warn(sides->warner, "%s: %s cannot be made: %s", uqff_model_path(sides->model), names,
              why->text);
    return UQFF_OK;
}

static enum uqff_code make_tokenizer(struct sides *sides, const struct uqff_vocabulary *vocabulary,
                                     struct uqff_error *err) {
    const struct uqff_vocabulary_info *info = uqff_vocabulary_info(vocabulary);
    struct uqff_buffer buffer = {0};
    if (info->kind == UQFF_VOCABULARY_BPE && !info->pre_known) {
        uqff_warn(sides->warner,
                  "%s: how '%s' splits text is not known; the tokenizer.json made of it does not "
                  "split it at all",
                  uqff_model_path(sides->model), info->pre);
    }
    enum uqff_code code = uqff_rebuild_tokenizer(vocabulary, &buffer, err);
    if (code == UQFF_OK) {
        code = add_made(sides, "tokenizer.json", &buffer, err);
    }
    buffer.size = 0;
    if (code == UQFF_OK) {
        uqff_rebuild_tokenizer_config(sides->model, vocabulary, &buffer);
        code = add_made(sides, "tokenizer_config.json", &buffer, err);
    }
    uqff_buffer_free(&buffer);
    return code;
}

static enum uqff_code make_configs(struct sides *sides, const struct uqff_vocabulary *vocabulary,
                                   struct uqff_error *err) {
    struct uqff_buffer buffer = {0};
    struct uqff_error why;
    enum uqff_code code =
        uqff_rebuild_config(sides->model, vocabulary, sides->warner, &buffer, &why);
    if (code == UQFF_OK) {
        code = add_made(sides, "config.json", &buffer, err);
    } else {
        code = pass_over(sides, code, "config.json", &why, err);
    }
    buffer.size = 0;
    if (code == UQFF_OK) {
        code = uqff_rebuild_generation(sides->model, vocabulary, &buffer, err);
    }
    if (code == UQFF_OK) {
        code = add_made(sides, "generation_config.json", &buffer, err);
    }
    uqff_buffer_free(&buffer);
    return code;
}

static enum uqff_code make_all(struct sides *sides, struct uqff_error *err) {
    struct uqff_vocabulary *vocabulary = NULL;
    struct uqff_error why;
    enum uqff_code code = uqff_vocabulary_open(sides->model, sides->warner, &vocabulary, &why);
    if (code != UQFF_OK) {
        code = pass_over(sides, code, "tokenizer.json and tokenizer_config.json", &why, err);
    } else {
        code = make_tokenizer(sides, vocabulary, err);
    }
    if (code == UQFF_OK) {
        code = make_configs(sides, vocabulary, err);
    }
    uqff_vocabulary_close(vocabulary);
    return code;
}

/* The raw keys go along as version 3 has them; those of other files are written anew. */
static enum uqff_code renew_metadata(struct sides *sides, struct pack_side *side,
                                     struct uqff_error *err) {
    const struct uqff_gguf *gguf = uqff_model_gguf(sides->model);
    struct uqff_gguf_layout *layout = NULL;
    struct uqff_buffer header = {0};
    struct uqff_source *source = NULL;
    struct uqff_gguf *written = NULL;
    enum uqff_code code = uqff_gguf_layout_new(32, &layout, err);
    for (size_t i = 0; i < uqff_gguf_kv_count(gguf) && code == UQFF_OK; i++) {
        code = uqff_gguf_set_copy(layout, gguf, i, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_layout_finish(layout, 0, 0, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_layout_header(layout, 0, &header, err);
    }
    if (code == UQFF_OK) {
        code = header.failed
                   ? uqff_fail_memory(err)
                   : uqff_source_memory(header.data, header.size, side->name, &source, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_open(source, NULL, &written, err);
    }
    if (code == UQFF_OK) {
        uint64_t offset = 0;
        uqff_gguf_kv_range(written, &offset, &side->bytes);
        side->content = uqff_arena_copy(sides->arena, header.data + offset, (size_t)side->bytes);
        code = side->content == NULL ? uqff_fail_memory(err) : UQFF_OK;
    }
    uqff_gguf_close(written);
    uqff_source_close(source);
    uqff_buffer_free(&header);
    uqff_gguf_layout_free(layout);
    return code;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct pack_side *)a)->name, ((const struct pack_side *)b)->name);
}

enum uqff_code uqff_rebuild_sides(const struct uqff_model *model, const struct uqff_warner *warner,
                                  size_t extra, struct uqff_arena *arena, struct pack_side **out,
                                  size_t *count, struct uqff_error *err) {
    enum { MADE = 4 };
    const struct uqff_gguf *gguf = uqff_model_gguf(model);
    size_t own = uqff_model_asset_count(model);
    struct sides sides = {.model = model, .warner = warner, .arena = arena};
    enum uqff_code code = UQFF_OK;
    sides.items = uqff_arena_array(arena, own + MADE + extra, sizeof *sides.items);
    if (sides.items == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < own && code == UQFF_OK; i++) {
        struct pack_side *side = &sides.items[sides.count++];
        *side = (struct pack_side){
            .name = uqff_model_asset_path(model, i),
            .bytes = uqff_model_asset_size(model, i),
            .asset = i,
        };
        if (gguf != NULL && (uqff_gguf_file_version(gguf) == 1 || uqff_gguf_is_big_endian(gguf))) {
            code = renew_metadata(&sides, side, err);
        }
    }
    if (code == UQFF_OK && gguf != NULL) {
        code = make_all(&sides, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    if (sides.count > 1) {
        qsort(sides.items, sides.count, sizeof *sides.items, by_name);
    }
    *out = sides.items;
    *count = sides.count;
    return UQFF_OK;
}
