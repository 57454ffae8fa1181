/* verify_files: which bytes of a container are judged how. */
#include <stdlib.h>
#include <string.h>

#include "pack/verify.h"
#include "pack/verify_scan.h"

struct entry_list {
    struct scan_entry *entries;
    size_t count, capacity;
};

static enum uqff_code append(struct entry_list *list, const struct scan_entry *entry,
                             struct uqff_error *err) {
    if (entry->kind == SCAN_OPAQUE && !entry->has_digest) {
        return UQFF_OK; /* nothing could be said about it */
    }
    enum uqff_code code = uqff_grow((void **)&list->entries, &list->capacity, list->count + 1,
                                    sizeof *list->entries, err);
    if (code == UQFF_OK) {
        list->entries[list->count++] = *entry;
    }
    return code;
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static struct scan_entry tensor_entry(const struct uqff_safetensors *file,
                                      const struct uqff_st_tensor *tensor) {
    const uint32_t type = uqff_type_from_dtype(tensor->dtype);
    return (struct scan_entry){
        .name = tensor->name,
        .source = uqff_safetensors_source(file),
        .offset = tensor->offset,
        .bytes = tensor->bytes,
        .kind = uqff_verify_scan_kind(type),
        .type = type,
    };
}

enum uqff_code uqff_verify_safetensors(struct verify *verify,
                                       const struct uqff_safetensors_set *set,
                                       struct uqff_error *err) {
    struct entry_list list = {0};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_safetensors_set_count(set) && code == UQFF_OK; i++) {
        const struct uqff_st_set_tensor tensor = uqff_safetensors_set_tensor(set, i);
        struct scan_entry entry =
            tensor_entry(uqff_safetensors_set_file(set, tensor.file), tensor.tensor);
        entry.is_weight = tensor.tensor->rank >= 2;
        code = append(&list, &entry, err);
    }
    if (code == UQFF_OK) {
        code = uqff_verify_scan(verify, list.entries, list.count, err);
    }
    uqff_free(list.entries);
    return code;
}

/* ---- GGUF ------------------------------------------------------------------------------------ */

enum uqff_code uqff_verify_gguf(struct verify *verify, const struct uqff_gguf *gguf,
                                struct uqff_error *err) {
    struct entry_list list = {0};
    enum uqff_code code = UQFF_OK;
    if (uqff_gguf_is_big_endian(gguf)) {
        uqff_findings_add(verify, UQFF_NOTE, "big-endian",
                          "%s: a big-endian file: the values of its tensors are not looked at",
                          uqff_source_name(uqff_gguf_source(gguf, 0)));
        return UQFF_OK;
    }
    for (size_t i = 0; i < uqff_gguf_tensor_count(gguf) && code == UQFF_OK; i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(gguf, i);
        const struct scan_entry entry = {
            .name = tensor->name,
            .source = uqff_gguf_source(gguf, tensor->file),
            .offset = tensor->offset,
            .bytes = tensor->bytes,
            .kind = uqff_verify_scan_kind(tensor->type),
            .type = tensor->type,
            .is_weight = tensor->n_dims >= 2,
        };
        code = append(&list, &entry, err);
    }
    if (code == UQFF_OK) {
        code = uqff_verify_scan(verify, list.entries, list.count, err);
    }
    uqff_free(list.entries);
    return code;
}

/* ---- UQFF ------------------------------------------------------------------------------------ */

/* A blob, found by its entry. */
struct blob_place {
    const struct uqff_st_tensor *tensor;
    const struct uqff_blob *blob;
    bool wanted;
};

static int compare_places(const void *a, const void *b) {
    const uintptr_t x = (uintptr_t)((const struct blob_place *)a)->tensor;
    const uintptr_t y = (uintptr_t)((const struct blob_place *)b)->tensor;
    return (x > y) - (x < y);
}

static struct blob_place *place_blobs(const struct uqff_container *container, size_t variant) {
    const size_t count = uqff_container_blob_count(container);
    struct blob_place *places = uqff_alloc_array(count, sizeof *places);
    if (places == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const struct uqff_blob *blob = uqff_container_blob(container, i);
        places[i] = (struct blob_place){blob->entry.tensor, blob, variant == UQFF_NONE};
    }
    if (variant != UQFF_NONE) {
        const size_t *blobs = uqff_container_variant(container, variant)->blobs;
        for (size_t m = 0; m < uqff_container_module_count(container); m++) {
            places[blobs[m]].wanted = true;
        }
    }
    if (count > 1) {
        qsort(places, count, sizeof *places, compare_places);
    }
    return places;
}

/* How a blob's own bytes are judged; its scales, where they lie apart, are entries of their own. */
static void judge_blob(struct scan_entry *entry, const struct uqff_blob *blob) {
    entry->is_weight = true;
    switch (blob->format) {
    case UQFF_FORMAT_GGUF:
    case UQFF_FORMAT_UNQUANT:
        entry->type = blob->type;
        entry->kind = uqff_verify_scan_kind(blob->type);
        break;
    case UQFF_FORMAT_F8Q8:
        entry->kind = SCAN_F8Q8;
        break;
    case UQFF_FORMAT_FP8: /* E4M3 numbers, as their dtype says */
        break;
    case UQFF_FORMAT_HQQ:
    case UQFF_FORMAT_AFQ:
    case UQFF_FORMAT_MXFP4:
        entry->kind = SCAN_OPAQUE;
        break;
    }
}

/* Side entries that scale: all floats among them, and the exponents of MXFP4. */
static void judge_side(struct scan_entry *entry) {
    if (entry->kind == SCAN_VALUES) {
        entry->kind = SCAN_SCALES;
    } else if (entry->type == UQFF_TYPE_U8 && uqff_text_ends(entry->name, ".weight.scales")) {
        entry->kind = SCAN_E8M0;
    }
}

static enum uqff_code add_entry(struct entry_list *list, const struct uqff_container *container,
                                struct uqff_entry at, const struct blob_place *place,
                                struct uqff_error *err) {
    struct scan_entry entry = tensor_entry(uqff_container_shard(container, at.shard), at.tensor);
    if (place != NULL) {
        if (!place->wanted) {
            return UQFF_OK;
        }
        judge_blob(&entry, place->blob);
    } else if (uqff_text_ends(entry.name, "@uqff.pad")) {
        entry.kind = SCAN_ZEROS;
    } else if (strstr(entry.name, ".weight.") != NULL && strchr(entry.name, '@') == NULL) {
        judge_side(&entry);
    }
    entry.has_digest = uqff_container_entry_digest(container, at, &entry.digest);
    return append(list, &entry, err);
}

static void check_headers(struct verify *verify, const struct uqff_container *container) {
    for (size_t s = 0; s < uqff_container_shard_count(container); s++) {
        const struct uqff_safetensors *file = uqff_container_shard(container, s);
        const char *where = uqff_source_name(uqff_safetensors_source(file));
        struct uqff_digest stored;
        if (!uqff_container_header_digest(container, s, &stored)) {
            uqff_findings_add(verify, UQFF_FAILURE, "no-digests",
                              "%s: the table of digests is missing", where);
            continue;
        }
        const struct uqff_digest found = uqff_safetensors_header_digest(file);
        if (!uqff_digest_equal(&stored, &found)) {
            uqff_findings_add(verify, UQFF_FAILURE, "header-digest",
                              "%s: the header does not match its digest", where);
        }
    }
}

static enum uqff_code check_assets(struct verify *verify, const struct uqff_container *container,
                                   struct uqff_error *err) {
    for (size_t i = 0; i < uqff_container_asset_count(container); i++) {
        const struct uqff_asset *asset = uqff_container_asset(container, i);
        const bool is_config = strcmp(asset->path, "config.json") == 0;
        if (!asset->compressed && !is_config) {
            continue; /* its digest says all there is to say */
        }
        char *content = NULL;
        size_t size = 0;
        struct uqff_error found;
        enum uqff_code code = uqff_container_read_asset(container, i, &content, &size, &found);
        if (code == UQFF_OK && is_config) {
            struct uqff_arena arena = {0};
            struct uqff_config config;
            code = uqff_config_parse(content, size, asset->path, &arena, &config, &found);
            uqff_arena_free(&arena);
        }
        uqff_free(content);
        if (code != UQFF_OK && uqff_findings_is_fatal(code)) {
            if (err != NULL) {
                *err = found;
            }
            return code;
        }
        if (code != UQFF_OK) {
            uqff_findings_add_error(verify, "asset", &found);
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_verify_container(struct verify *verify, const struct uqff_container *container,
                                     size_t variant, struct uqff_error *err) {
    struct entry_list list = {0};
    enum uqff_code code = UQFF_OK;
    struct blob_place *places = place_blobs(container, variant);
    if (places == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t s = 0; s < uqff_container_shard_count(container); s++) {
        const struct uqff_safetensors *file = uqff_container_shard(container, s);
        for (size_t i = 0; i < uqff_safetensors_count(file) && code == UQFF_OK; i++) {
            const struct blob_place key = {.tensor = uqff_safetensors_tensor(file, i)};
            const struct blob_place *place = bsearch(
                &key, places, uqff_container_blob_count(container), sizeof key, compare_places);
            const struct uqff_entry entry = {s, key.tensor};
            code = add_entry(&list, container, entry, place, err);
        }
    }
    if (code != UQFF_OK) {
        goto out;
    }
    if (uqff_container_is_multi(container)) {
        check_headers(verify, container);
    }
    code = uqff_verify_scan(verify, list.entries, list.count, err);
    if (code == UQFF_OK) {
        code = check_assets(verify, container, err);
    }
out:
    uqff_free(list.entries);
    uqff_free(places);
    return code;
}
