/* verify_llamacpp: what llama.cpp's reader refuses although the GGUF document allows it. */
#include <string.h>

#include "pack/verify.h"

enum {
    LONGEST_NAME = 63, /* of a tensor; the document says 64, the reader wants a NUL behind it */
    FIRST_FREE_TYPE = 43,
};
#define LONGEST_STRING ((uint64_t)1 << 30)
#define LONGEST_ARRAY ((uint64_t)1 << 30)

static const char *where(const struct uqff_gguf *gguf, size_t file) {
    return uqff_source_name(uqff_gguf_source(gguf, file));
}

#define FAIL(verify, code, ...) uqff_findings_add((verify), UQFF_FAILURE, (code), __VA_ARGS__)

/* ---- the reader's limits --------------------------------------------------------------------- */

static void check_head(struct verify *verify, const struct uqff_gguf *gguf) {
    const uint32_t version = uqff_gguf_file_version(gguf);
    if (version != 2 && version != 3) {
        FAIL(verify, "version", "%s: GGUF version %u, expected 2 or 3", where(gguf, 0), version);
    }
    if (uqff_gguf_is_big_endian(gguf)) {
        FAIL(verify, "big-endian", "%s: big-endian, which a little-endian machine refuses",
             where(gguf, 0));
    }
    const struct uqff_gguf_value *alignment = uqff_gguf_find_value(gguf, "general.alignment");
    if (alignment != NULL && alignment->kind != UQFF_GGUF_U32) {
        FAIL(verify, "alignment", "%s: 'general.alignment': found %s, expected u32", where(gguf, 0),
             uqff_gguf_kind_name(alignment->kind));
    }
}

static void check_values(struct verify *verify, const struct uqff_gguf *gguf) {
    for (size_t i = 0; i < uqff_gguf_kv_count(gguf); i++) {
        const char *key = uqff_gguf_key(gguf, i);
        const struct uqff_gguf_value *value = uqff_gguf_value(gguf, i);
        if (key[0] == '\0') {
            FAIL(verify, "key", "%s: an empty key", where(gguf, 0));
        }
        if (value->kind == UQFF_GGUF_STRING && value->as.string.length > LONGEST_STRING) {
            FAIL(verify, "limit", "%s: '%s': a string of %llu bytes, expected at most 2^30",
                 where(gguf, 0), key, (unsigned long long)value->as.string.length);
        }
        if (value->kind != UQFF_GGUF_ARRAY) {
            continue;
        }
        if (value->as.array.kind == UQFF_GGUF_ARRAY) {
            FAIL(verify, "nested-array", "%s: '%s': an array of arrays", where(gguf, 0), key);
        }
        if (value->as.array.count > LONGEST_ARRAY) {
            FAIL(verify, "limit", "%s: '%s': %llu elements, expected at most 2^30", where(gguf, 0),
                 key, (unsigned long long)value->as.array.count);
        }
    }
}

/* Infos must be in the order of their data, which must lie without holes: every offset is the sum
 * of the padded sizes before it. The last tensor's padding must be there too. */
static void check_layout(struct verify *verify, const struct uqff_gguf *gguf) {
    const uint64_t alignment = uqff_gguf_alignment(gguf);
    uint64_t expected = 0;
    size_t file = SIZE_MAX;
    for (size_t i = 0; i < uqff_gguf_tensor_count(gguf); i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(gguf, i);
        if (tensor->file != file) {
            file = tensor->file;
            expected = uqff_gguf_data_offset(gguf, file);
        }
        if (tensor->offset != expected) {
            FAIL(verify, "layout",
                 "%s: tensor '%s': its data begins at byte %llu, expected %llu: data must follow "
                 "the order of the infos without holes",
                 where(gguf, file), tensor->name, (unsigned long long)tensor->offset,
                 (unsigned long long)expected);
        }
        uint64_t end = 0;
        if (!uqff_add_u64(tensor->offset, tensor->bytes, &end) ||
            !uqff_align_u64(end - uqff_gguf_data_offset(gguf, file), alignment, &expected) ||
            !uqff_add_u64(expected, uqff_gguf_data_offset(gguf, file), &expected)) {
            return; /* the reader has checked that data ends inside the file */
        }
        const uint64_t size = uqff_source_size(uqff_gguf_source(gguf, file));
        const bool last =
            i + 1 == uqff_gguf_tensor_count(gguf) || uqff_gguf_tensor(gguf, i + 1)->file != file;
        if (last && expected > size) {
            FAIL(verify, "layout",
                 "%s: the file ends at byte %llu, expected padding up to byte %llu behind tensor "
                 "'%s'",
                 where(gguf, file), (unsigned long long)size, (unsigned long long)expected,
                 tensor->name);
        }
    }
}

static void check_tensors(struct verify *verify, const struct uqff_gguf *gguf) {
    for (size_t i = 0; i < uqff_gguf_tensor_count(gguf); i++) {
        const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(gguf, i);
        const size_t length = strlen(tensor->name);
        if (length > LONGEST_NAME) {
            FAIL(verify, "name", "%s: tensor '%s': a name of %zu bytes, expected at most %d",
                 where(gguf, tensor->file), tensor->name, length, LONGEST_NAME);
        }
        const struct uqff_type_info *info = uqff_type_info(tensor->type);
        if (uqff_type_is_retired(tensor->type) || tensor->type >= FIRST_FREE_TYPE) {
            FAIL(verify, "type", "%s: tensor '%s': %s, which llama.cpp does not read",
                 where(gguf, tensor->file), tensor->name, uqff_type_name(tensor->type));
        } else if (tensor->type == UQFF_TYPE_Q8_1 ||
                   (info != NULL && (info->flags & UQFF_TYPE_ACTIVATIONS_ONLY) != 0)) {
            FAIL(verify, "type",
                 "%s: tensor '%s': %s, which llama.cpp has for activations only and cannot "
                 "compute with as a weight",
                 where(gguf, tensor->file), tensor->name, uqff_type_name(tensor->type));
        }
    }
}

/* ---- both ------------------------------------------------------------------------------------ */

enum uqff_code uqff_verify_llamacpp(struct verify *verify, const struct uqff_gguf *gguf,
                                    struct uqff_error *err) {
    check_head(verify, gguf);
    check_values(verify, gguf);
    check_tensors(verify, gguf);
    check_layout(verify, gguf);
    const struct uqff_gguf_value *type = uqff_gguf_find_value(gguf, "general.type");
    if (type != NULL && type->kind == UQFF_GGUF_STRING &&
        !(type->as.string.length == 5 && memcmp(type->as.string.bytes, "model", 5) == 0)) {
        FAIL(verify, "not-a-model", "%s: 'general.type' is not 'model'", where(gguf, 0));
        return UQFF_OK;
    }
    return uqff_verify_llamacpp_model(verify, gguf, err);
}
