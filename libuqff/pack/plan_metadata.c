#include <inttypes.h>
#include <string.h>

#include "pack/plan.h"

/* ---- the source ------------------------------------------------------------------------------ */

static const char *const container_names[] = {
    [UQFF_MODEL_HF] = "safetensors",
    [UQFF_MODEL_GGUF] = "gguf",
    [UQFF_MODEL_UQFF] = "uqff",
    [UQFF_MODEL_MULTI] = "uqff",
};

/* A name that the model itself carries. The name of its folder or file does not count: it is no
 * part of the source, and the same source must give the same bytes wherever it lies. */
static enum uqff_code name_from_config(const struct uqff_model *model, struct uqff_arena *arena,
                                       const char **out, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    char *text = NULL;
    size_t size = 0, i = 0, count = uqff_model_asset_count(model);
    struct uqff_json *json = NULL;
    struct uqff_json_event event;
    bool done = false;
    while (i < count && strcmp(uqff_model_asset_path(model, i), "config.json") != 0) {
        i++;
    }
    if (i == count) {
        return UQFF_OK;
    }
    code = uqff_model_read_asset(model, i, &text, &size, err);
    if (code == UQFF_OK) {
        code = uqff_json_open(text, size, "config.json", 0, 0, &json, err);
    }
    if (code == UQFF_OK) {
        code = uqff_json_expect(json, UQFF_JSON_OBJECT, "the configuration", &event, err);
    }
    while (code == UQFF_OK) {
        code = uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            break;
        }
        static const char key[] = "_name_or_path";
        bool wanted = event.length == sizeof key - 1 && memcmp(event.text, key, event.length) == 0;
        code = uqff_json_next(json, &event, err);
        if (code != UQFF_OK) {
            break;
        }
        /* A path on somebody's disk names nothing. */
        if (wanted && event.kind == UQFF_JSON_STRING && event.length > 0 && event.text[0] != '/' &&
            event.text[0] != '.' && memchr(event.text, '\\', event.length) == NULL) {
            *out = uqff_arena_copy(arena, event.text, event.length);
            code = *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
        } else {
            code = uqff_json_skip(json, &event, err);
        }
    }
    uqff_json_close(json);
    uqff_free(text);
    return code;
}

static enum uqff_code model_name(const struct uqff_model *model, struct uqff_arena *arena,
                                 const char **out, struct uqff_error *err) {
    const struct uqff_gguf *gguf = uqff_model_gguf(model);
    const struct uqff_gguf_value *value =
        gguf != NULL ? uqff_gguf_find_value(gguf, "general.name") : NULL;
    if (value != NULL && value->kind == UQFF_GGUF_STRING) {
        *out = uqff_arena_copy(arena, value->as.string.bytes, value->as.string.length);
        return *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
    }
    return name_from_config(model, arena, out, err);
}

/* The source types of biases, which a file with another form of them does not tell: the commonest
 * first in order of id, and who differs from it, as in the index of variants. */
static void append_biases(const struct uqff_pack_plan *plan, struct uqff_buffer *out) {
    static const uint32_t types[] = {UQFF_TYPE_F32, UQFF_TYPE_F16, UQFF_TYPE_BF16};
    enum { TYPES = sizeof types / sizeof types[0] };
    size_t counts[TYPES] = {0}, total = 0, common = 0;
    for (size_t i = 0; i < plan->module_count; i++) {
        for (size_t k = 0; k < TYPES; k++) {
            counts[k] += plan->modules[i].has_bias && plan->modules[i].bias_type == types[k];
        }
    }
    for (size_t k = 0; k < TYPES; k++) {
        common = counts[k] > counts[common] ? k : common;
        total += counts[k];
    }
    if (total == 0) {
        return;
    }
    uqff_buffer_printf(out, ",\"bias\":\"%s\"", uqff_type_label(types[common]));
    if (counts[common] == total) {
        return;
    }
    const char *comma = "";
    uqff_buffer_printf(out, ",\"bias_except\":{");
    for (size_t k = 0; k < TYPES; k++) {
        if (k == common || counts[k] == 0) {
            continue;
        }
        uqff_buffer_printf(out, "%s\"%s\":[", comma, uqff_type_label(types[k]));
        comma = "";
        for (size_t i = 0; i < plan->module_count; i++) {
            if (plan->modules[i].has_bias && plan->modules[i].bias_type == types[k]) {
                uqff_buffer_printf(out, "%s", comma);
                uqff_buffer_json_string(out, plan->modules[i].name, strlen(plan->modules[i].name));
                comma = ",";
            }
        }
        uqff_buffer_printf(out, "]");
        comma = ",";
    }
    uqff_buffer_printf(out, "}");
}

enum uqff_code uqff_pack_source_json(struct uqff_pack_plan *plan, struct uqff_error *err) {
    struct uqff_buffer buffer = {0};
    const char *name = NULL;
    enum uqff_code code = model_name(plan->model, &plan->arena, &name, err);
    if (code != UQFF_OK) {
        return code;
    }
    uqff_buffer_printf(&buffer, "{\"container\":\"%s\",\"tensors\":%zu",
                       container_names[uqff_model_kind(plan->model)],
                       uqff_model_tensor_count(plan->model));
    if (name != NULL) {
        uqff_buffer_printf(&buffer, ",\"name\":");
        uqff_buffer_json_string(&buffer, name, strlen(name));
    }
    append_biases(plan, &buffer);
    /* Last, so that it can be found from the end. */
    uqff_buffer_printf(&buffer, ",\"digest\":\"%s\"}", PACK_DIGEST_ZEROS);
    plan->source = buffer.failed ? NULL : uqff_arena_copy(&plan->arena, buffer.data, buffer.size);
    uqff_buffer_free(&buffer);
    return plan->source == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* Where the digest's 32 digits begin; NULL when the text has none. */
static const char *find_digest(const char *json) {
    static const char before[] = "\"digest\":\"", after[] = "\"}";
    size_t length = strlen(json), digits = sizeof PACK_DIGEST_ZEROS - 1;
    size_t tail = sizeof before - 1 + digits + sizeof after - 1;
    if (length < tail) {
        return NULL;
    }
    const char *start = json + length - tail;
    if (memcmp(start, before, sizeof before - 1) != 0 ||
        memcmp(json + length - (sizeof after - 1), after, sizeof after - 1) != 0) {
        return NULL;
    }
    return start + sizeof before - 1;
}

char *uqff_pack_source_with_digest(const char *json, const struct uqff_digest *digest) {
    size_t length = strlen(json);
    const char *place = find_digest(json);
    char *copy = uqff_alloc(length + 1), hex[2 * sizeof digest->bytes + 1];
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, json, length + 1);
    if (place != NULL) {
        uqff_hex(hex, digest->bytes, sizeof digest->bytes);
        memcpy(copy + (place - json), hex, sizeof hex - 1);
    }
    return copy;
}

bool uqff_pack_source_digest_of(const char *json, struct uqff_digest *out) {
    const char *place = find_digest(json);
    return place != NULL && uqff_unhex(out->bytes, place, sizeof out->bytes);
}

/* What is hashed, for each tensor in bytewise order of its name:
 *
 *     name, 00 | type's label, 00 | rank u32 | dimensions u64, outermost first | 16 bytes of digest
 *
 * numbers little-endian. Neither names nor labels hold a NUL, so no two lists give the same bytes.
 */
enum uqff_code uqff_pack_source_digest(const struct uqff_model *model,
                                       const struct uqff_digest *digests, struct uqff_digest *out,
                                       struct uqff_error *err) {
    struct uqff_hasher *hasher = uqff_hasher_new();
    if (hasher == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < uqff_model_tensor_count(model); i++) {
        const struct uqff_tensor *tensor = uqff_model_tensor(model, i);
        const char *label = uqff_type_label(tensor->type);
        unsigned char number[8];
        uqff_hasher_update(hasher, tensor->name, strlen(tensor->name) + 1);
        uqff_hasher_update(hasher, label, strlen(label) + 1);
        uqff_store_le32(number, tensor->rank);
        uqff_hasher_update(hasher, number, 4);
        for (unsigned k = 0; k < tensor->rank; k++) {
            uqff_store_le64(number, tensor->shape[k]);
            uqff_hasher_update(hasher, number, 8);
        }
        uqff_hasher_update(hasher, digests[i].bytes, sizeof digests[i].bytes);
    }
    *out = uqff_hasher_digest(hasher);
    uqff_hasher_free(hasher);
    return UQFF_OK;
}

/* ---- the importance matrix ------------------------------------------------------------------- */

enum uqff_code uqff_pack_imatrix_json(const struct uqff_imatrix *imatrix, struct uqff_arena *arena,
                                      const char **out, struct uqff_error *err) {
    struct uqff_buffer buffer = {0};
    struct uqff_digest digest = uqff_imatrix_digest(imatrix);
    const char *dataset = uqff_imatrix_dataset(imatrix);
    uint64_t chunks = uqff_imatrix_chunks(imatrix);
    char hex[2 * sizeof digest.bytes + 1];
    uqff_hex(hex, digest.bytes, sizeof digest.bytes);
    uqff_buffer_printf(&buffer, "{\"digest\":\"%s\"", hex);
    if (chunks > 0) {
        uqff_buffer_printf(&buffer, ",\"chunks\":%" PRIu64, chunks);
    }
    if (dataset[0] != '\0') {
        /* The name alone: where the text lay on somebody's disk is nobody's business. */
        const char *name = uqff_path_name(dataset);
        uqff_buffer_printf(&buffer, ",\"dataset\":");
        uqff_buffer_json_string(&buffer, name, strlen(name));
    }
    uqff_buffer_printf(&buffer, "}");
    *out = buffer.failed ? NULL : uqff_arena_copy(arena, buffer.data, buffer.size);
    uqff_buffer_free(&buffer);
    return *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* ---- all pairs ------------------------------------------------------------------------------- */

/* Options that the layout cannot be told from, kept so that editing variants gives what packing
 * gives. */
static const char *layout_json(struct uqff_pack_plan *plan) {
    unsigned alignment = plan->options.alignment != 0 ? plan->options.alignment : 64;
    return uqff_arena_printf(&plan->arena, "{\"alignment\":%u,\"max_shard\":%" PRIu64 "}",
                             alignment, plan->options.max_shard);
}

static enum uqff_code check_key(const struct uqff_metadata_pair *pair, struct uqff_error *err) {
    if (pair->key[0] == '\0' || strncmp(pair->key, "uqff.", 5) == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "metadata key '%s': expected a name that does not begin with 'uqff.'",
                         pair->key);
    }
    return UQFF_OK;
}

enum uqff_code uqff_pack_plan_metadata(struct uqff_pack_plan *plan,
                                       const struct uqff_spec_metadata **out, size_t *count,
                                       struct uqff_error *err) {
    enum { OWN = 3 };
    const struct uqff_pack_options *options = &plan->options;
    bool multi = options->format == UQFF_PACK_UQFF;
    size_t n = 0;
    struct uqff_spec_metadata *pairs =
        uqff_arena_array(&plan->arena, OWN + options->metadata_count, sizeof *pairs);
    if (pairs == NULL) {
        return uqff_fail_memory(err);
    }
    if (multi) {
        enum uqff_code code = uqff_pack_source_json(plan, err);
        if (code != UQFF_OK) {
            return code;
        }
        pairs[n++] = (struct uqff_spec_metadata){UQFF_KEY_SOURCE, plan->source};
    }
    if (multi && plan->imatrix != NULL) {
        const char *json = NULL;
        enum uqff_code code = uqff_pack_imatrix_json(plan->imatrix, &plan->arena, &json, err);
        if (code != UQFF_OK) {
            return code;
        }
        pairs[n++] = (struct uqff_spec_metadata){UQFF_KEY_IMATRIX, json};
    }
    if (multi &&
        ((options->alignment != 0 && options->alignment != 64) || options->max_shard != 0)) {
        const char *json = layout_json(plan);
        if (json == NULL) {
            return uqff_fail_memory(err);
        }
        pairs[n++] = (struct uqff_spec_metadata){UQFF_KEY_LAYOUT, json};
    }
    for (size_t i = 0; i < options->metadata_count; i++) {
        const struct uqff_metadata_pair *pair = &options->metadata[i];
        enum uqff_code code = check_key(pair, err);
        if (code != UQFF_OK) {
            return code;
        }
        /* A key given again has its last value, in its first place. */
        size_t k = 0;
        while (k < n && strcmp(pairs[k].key, pair->key) != 0) {
            k++;
        }
        pairs[k] = (struct uqff_spec_metadata){pair->key, pair->value};
        n = k == n ? n + 1 : n;
    }
    *out = pairs;
    *count = n;
    return UQFF_OK;
}
