/*
 * The index of a shard set:
 *
 *   {"metadata":{"total_size":24},
 *    "weight_map":{"a":"model-00001-of-00002.safetensors",...}}
 */
#include "safetensors/index.h"
#include "safetensors/sniff.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SHOWN = 200 };

struct parse {
    struct uqff_st_index *index;
    struct uqff_json *json;
    const char *where;
    const struct uqff_warner *warner;
};

static bool text_is(const struct uqff_json_event *event, const char *text) {
    return event->length == strlen(text) && memcmp(event->text, text, event->length) == 0;
}

/* As much of a text as a message shows; its precision for printf, which also stops at a NUL. */
static int shown_bytes(const struct uqff_json_event *event) {
    return event->length < NAME_SHOWN ? (int)event->length : NAME_SHOWN;
}

/* A shard is a plain file in the index's own directory: its name comes from whoever made the
 * index, and must not reach anything else. */
static bool shard_name_is_allowed(const char *name, size_t n) {
    static const char suffix[] = ".safetensors";
    const size_t m = sizeof suffix - 1;
    return uqff_name_is_safe_component(name, n) && n > m && memcmp(name + n - m, suffix, m) == 0;
}

static enum uqff_code shard_number(struct parse *p, const char *tensor,
                                   const struct uqff_json_event *value, size_t *number,
                                   struct uqff_error *err) {
    struct uqff_st_index *index = p->index;
    if (uqff_st_names_find(&index->shards, value->text, value->length, number)) {
        return UQFF_OK;
    }
    if (!shard_name_is_allowed(value->text, value->length)) {
        bool nul = memchr(value->text, '\0', value->length) != NULL;
        return uqff_fail(
            err, UQFF_E_NAME, value->offset,
            "%s: tensor '%.*s': shard '%.*s'%s is not allowed, expected the plain name "
            "of a file that ends in .safetensors",
            p->where, NAME_SHOWN, tensor, shown_bytes(value), value->text,
            nul ? ", a NUL behind it," : "");
    }
    if (index->shards.count == UQFF_SAFETENSORS_MAX_SHARDS) {
        return uqff_fail(err, UQFF_E_LIMIT, value->offset,
                         "%s: tensor '%.*s': it names one shard more than the limit of %u",
                         p->where, NAME_SHOWN, tensor, UQFF_SAFETENSORS_MAX_SHARDS);
    }
    char *name = uqff_arena_copy(&index->arena, value->text, value->length);
    bool added;
    return name == NULL
               ? uqff_fail_memory(err)
               : uqff_st_names_add(&index->shards, name, value->length, number, &added, err);
}

static enum uqff_code read_mapping(struct parse *p, const struct uqff_json_event *key,
                                   struct uqff_error *err) {
    struct uqff_st_index *index = p->index;
    if (memchr(key->text, '\0', key->length) != NULL) {
        return uqff_fail(err, UQFF_E_NAME, key->offset,
                         "%s: tensor name '%.*s' goes on behind a NUL", p->where, shown_bytes(key),
                         key->text);
    }
    size_t length = key->length;
    char *tensor = uqff_arena_copy(&index->arena, key->text, length);
    if (tensor == NULL) {
        return uqff_fail_memory(err);
    }

    struct uqff_json_event value;
    enum uqff_code code = uqff_json_next(p->json, &value, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (value.kind != UQFF_JSON_STRING) {
        char what[NAME_SHOWN + 32];
        snprintf(what, sizeof what, "weight_map: '%.*s'", NAME_SHOWN, tensor);
        return uqff_json_unexpected(p->json, &value, what, "the name of a shard", err);
    }
    size_t shard;
    if ((code = shard_number(p, tensor, &value, &shard, err)) != UQFF_OK) {
        return code;
    }

    void *items = index->shard_of;
    code =
        uqff_grow(&items, &index->capacity, index->tensors.count + 1, sizeof *index->shard_of, err);
    index->shard_of = items;
    if (code != UQFF_OK) {
        return code;
    }
    index->shard_of[index->tensors.count] = shard;
    size_t number;
    bool added;
    return uqff_st_names_add(&index->tensors, tensor, length, &number, &added, err);
}

static enum uqff_code read_weight_map(struct parse *p, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_OBJECT, "weight_map", &event, err);
    uint64_t position = code == UQFF_OK ? event.offset : 0;
    bool done = false;
    while (code == UQFF_OK && (code = uqff_json_member(p->json, &event, &done, err)) == UQFF_OK &&
           !done) {
        code = read_mapping(p, &event, err);
    }
    if (code == UQFF_OK && p->index->tensors.count == 0) {
        return uqff_fail(err, UQFF_E_FIELD, position, "%s: weight_map is empty", p->where);
    }
    return code;
}

static enum uqff_code read_total(struct parse *p, struct uqff_error *err) {
    struct uqff_json_event value;
    enum uqff_code code = uqff_json_next(p->json, &value, err);
    if (code != UQFF_OK) {
        return code;
    }
    p->index->has_total = value.kind == UQFF_JSON_NUMBER &&
                          uqff_json_double(p->json, &value, &p->index->total, NULL) == UQFF_OK;
    if (!p->index->has_total) {
        uqff_warn(p->warner, "%s: metadata: total_size is no number", p->where);
    }
    return uqff_json_skip(p->json, &value, err);
}

/* Free-form but for total_size. */
static enum uqff_code read_metadata(struct parse *p, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(p->json, &event, err);
    if (code != UQFF_OK || event.kind != UQFF_JSON_OBJECT) {
        return code != UQFF_OK ? code : uqff_json_skip(p->json, &event, err);
    }
    bool done = false;
    while ((code = uqff_json_member(p->json, &event, &done, err)) == UQFF_OK && !done) {
        if (text_is(&event, "total_size")) {
            code = read_total(p, err);
        } else {
            code = uqff_json_skip_next(p->json, err);
        }
        if (code != UQFF_OK) {
            break;
        }
    }
    return code;
}

static enum uqff_code read_members(struct parse *p, struct uqff_error *err) {
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = uqff_json_expect(p->json, UQFF_JSON_OBJECT, "index", &event, err);
    while (code == UQFF_OK && (code = uqff_json_member(p->json, &event, &done, err)) == UQFF_OK &&
           !done) {
        if (text_is(&event, "weight_map")) {
            code = read_weight_map(p, err);
        } else if (text_is(&event, "metadata")) {
            code = read_metadata(p, err);
        } else {
            code = uqff_json_skip_next(p->json, err);
        }
    }
    if (code == UQFF_OK && p->index->tensors.count == 0) {
        return uqff_fail(err, UQFF_E_FIELD, 0,
                         "%s: no index of safetensors files: weight_map is missing", p->where);
    }
    return code != UQFF_OK ? code : uqff_json_expect(p->json, UQFF_JSON_END, "index", &event, err);
}

enum uqff_code uqff_st_index_read(struct uqff_source *source, const struct uqff_warner *warner,
                                  struct uqff_st_index *index, struct uqff_error *err) {
    struct parse p = {.index = index, .where = uqff_source_name(source), .warner = warner};
    char *text = NULL;
    size_t size;
    enum uqff_code code =
        uqff_source_read_all(source, UQFF_SAFETENSORS_MAX_INDEX, &text, &size, err);
    if (code != UQFF_OK) {
        return code;
    }
    const char *kind = size > 0 && text[0] != '{' ? uqff_st_looks_like(text, size) : NULL;
    if (size == 0) {
        code = uqff_fail(err, UQFF_E_TRUNCATED, 0, "%s: the index is empty", p.where);
    } else if (kind != NULL) {
        code = uqff_fail(err, UQFF_E_MAGIC, 0, "%s: no index: it looks like %s", p.where, kind);
    } else if ((code = uqff_json_open(text, size, p.where, 0, 0, &p.json, err)) == UQFF_OK) {
        code = read_members(&p, err);
    }
    uqff_json_close(p.json);
    uqff_free(text);
    return code;
}

void uqff_st_index_free(struct uqff_st_index *index) {
    uqff_st_names_free(&index->tensors);
    uqff_st_names_free(&index->shards);
    uqff_free(index->shard_of);
    uqff_arena_free(&index->arena);
}
