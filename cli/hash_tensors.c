/* hash_tensors: walks the tensors of one file in the order in which the file lists them. */
#include "hash_tensors.h"

#include <string.h>

#include "json.h"

#include "uqff/gguf.h"
#include "uqff/quant.h"
#include "uqff/safetensors.h"

bool hash_has_tensors(const char *path) {
    return uqff_text_ends(path, ".safetensors") || uqff_text_ends(path, ".uqff") ||
           uqff_text_ends(path, ".gguf");
}

/* A walk over one file. `all` takes the data of all tensors, one after the other. */
struct walk {
    const struct hash_tensors *request;
    cJSON *tensors;
    struct digest *all[DIGEST_COUNT];
    uint64_t done, total;
    struct uqff_error *err;
};

static void put_line(const struct walk *walk, enum algorithm algorithm, const char *hex,
                     const char *tensor) {
    /* A tensor's name comes from the file, and the file's may come from a folder. */
    char name[5000];
    uqff_buffer_printf(walk->request->text, "%-8s  %s  ", digest_name(algorithm), hex);
    uqff_printable(name, sizeof name, walk->request->name, strlen(walk->request->name));
    uqff_buffer_append(walk->request->text, name, strlen(name));
    if (tensor != NULL) {
        uqff_printable(name, sizeof name, tensor, strlen(tensor));
        uqff_buffer_append(walk->request->text, ":", 1);
        uqff_buffer_append(walk->request->text, name, strlen(name));
    }
    uqff_buffer_append(walk->request->text, "\n", 1);
}

static enum uqff_code hash_one(struct walk *walk, const char *name, const char *type,
                               uint64_t offset, uint64_t bytes) {
    const struct hash_tensors *request = walk->request;
    struct digest *digests[2 * DIGEST_COUNT] = {NULL};
    size_t single = 0, count = 0;
    enum uqff_code code = UQFF_OK;
    /* First those of this tensor alone, then those of all. A UUID comes last of the algorithms. */
    for (; single < request->count && request->algorithms[single] != DIGEST_UUID; single++) {
        code = code == UQFF_OK
                   ? digest_new(request->algorithms[single], &digests[single], walk->err)
                   : code;
    }
    for (count = single; count < single + request->count; count++) {
        digests[count] = walk->all[count - single];
    }
    if (code == UQFF_OK) {
        code = digest_range(request->source, offset, bytes, digests, count, request->progress,
                            &walk->done, walk->total, walk->err);
    }
    cJSON *object = NULL;
    if (code == UQFF_OK && walk->tensors != NULL) {
        object = json_object(walk->tensors, NULL);
        json_text(object, "name", name);
        json_text(object, "type", type);
        json_u64(object, "bytes", bytes);
    }
    for (size_t i = 0; i < single; i++) {
        char hex[DIGEST_TEXT];
        if (code == UQFF_OK) {
            digest_final(digests[i], hex);
            if (object != NULL) {
                json_text(object, digest_name(request->algorithms[i]), hex);
            } else {
                put_line(walk, request->algorithms[i], hex, name);
            }
        }
        digest_free(digests[i]);
    }
    return code;
}

static enum uqff_code walk_gguf(struct walk *walk) {
    struct uqff_gguf *gguf = NULL;
    enum uqff_code code = uqff_gguf_open(walk->request->source, NULL, &gguf, walk->err);
    if (code != UQFF_OK) {
        return code;
    }
    const size_t count = uqff_gguf_tensor_count(gguf);
    for (size_t i = 0; i < count; i++) {
        walk->total += uqff_gguf_tensor(gguf, i)->bytes;
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(gguf, i);
        code = hash_one(walk, tensor->name, uqff_type_name(tensor->type), tensor->offset,
                        tensor->bytes);
    }
    uqff_gguf_close(gguf);
    return code;
}

static enum uqff_code walk_safetensors(struct walk *walk) {
    struct uqff_safetensors *file = NULL;
    enum uqff_code code = uqff_safetensors_open(walk->request->source, NULL, &file, walk->err);
    if (code != UQFF_OK) {
        return code;
    }
    const size_t count = uqff_safetensors_count(file);
    for (size_t i = 0; i < count; i++) {
        walk->total += uqff_safetensors_tensor(file, i)->bytes;
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(file, i);
        code = hash_one(walk, tensor->name, uqff_dtype_name(tensor->dtype), tensor->offset,
                        tensor->bytes);
    }
    uqff_safetensors_close(file);
    return code;
}

/* The digests of all data together: lines without a tensor, or members beside the list. */
static void finish_all(const struct walk *walk) {
    const struct hash_tensors *request = walk->request;
    static const char *const keys[] = {"data_xxh3", "data_sha256", "data_sha1", "data_xxh64",
                                       "uuid"};
    for (size_t i = 0; i < request->count; i++) {
        char hex[DIGEST_TEXT];
        digest_final(walk->all[i], hex);
        if (request->object != NULL) {
            json_text(request->object, keys[request->algorithms[i]], hex);
        } else {
            put_line(walk, request->algorithms[i], hex, NULL);
        }
    }
}

enum uqff_code hash_tensors(const struct hash_tensors *request, struct uqff_error *err) {
    struct walk walk = {.request = request, .err = err};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < request->count && code == UQFF_OK; i++) {
        code = digest_new(request->algorithms[i], &walk.all[i], err);
    }
    if (code == UQFF_OK) {
        walk.tensors = request->object == NULL || request->all_only
                           ? NULL
                           : json_array(request->object, "tensors");
        code = uqff_text_ends(request->path, ".gguf") ? walk_gguf(&walk) : walk_safetensors(&walk);
    }
    if (code == UQFF_OK) {
        finish_all(&walk);
    }
    for (size_t i = 0; i < request->count; i++) {
        digest_free(walk.all[i]);
    }
    return code;
}
