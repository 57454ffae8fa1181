#include <stdlib.h>
#include <string.h>

#include "model/legacy.h"

struct reader {
    struct uqff_json *json;
    struct uqff_arena *arena;
    struct legacy_config *out;
};

static const struct {
    const char *key;
    size_t offset;
} counts[] = {
    {"q_lora_rank", offsetof(struct legacy_config, q_rank)},
    {"kv_lora_rank", offsetof(struct legacy_config, kv_rank)},
    {"qk_nope_head_dim", offsetof(struct legacy_config, nope_dim)},
    {"qk_rope_head_dim", offsetof(struct legacy_config, rope_dim)},
    {"v_head_dim", offsetof(struct legacy_config, value_dim)},
    {"first_k_dense_replace", offsetof(struct legacy_config, dense_layers)},
    {"moe_layer_freq", offsetof(struct legacy_config, expert_every)},
    {"decoder_sparse_step", offsetof(struct legacy_config, sparse_step)},
    {"n_shared_experts", offsetof(struct legacy_config, shared_experts)},
};
enum { COUNTS = sizeof counts / sizeof *counts, LARGEST = 1 << 20 };

static bool is_key(const struct uqff_json_event *event, const char *key) {
    return event->length == strlen(key) && memcmp(event->text, key, event->length) == 0;
}

static enum uqff_code read_count(struct reader *reader, size_t which, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK || event.kind != UQFF_JSON_NUMBER) {
        return code != UQFF_OK ? code : uqff_json_skip(reader->json, &event, err);
    }
    if (!event.is_u64 || event.integer > LARGEST) {
        return uqff_json_unexpected(reader->json, &event, counts[which].key,
                                    "a whole number in its range", err);
    }
    memcpy((char *)reader->out + counts[which].offset, &event.integer, sizeof event.integer);
    return UQFF_OK;
}

static int by_number(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static enum uqff_code read_list(struct reader *reader, struct uqff_error *err) {
    struct uqff_json_event event;
    uint64_t *list = NULL;
    size_t count = 0, capacity = 0;
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK || event.kind != UQFF_JSON_ARRAY) {
        return code != UQFF_OK ? code : uqff_json_skip(reader->json, &event, err);
    }
    for (;;) {
        code = uqff_json_next(reader->json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        if (event.kind != UQFF_JSON_NUMBER || !event.is_u64) {
            code = uqff_json_unexpected(reader->json, &event, "mlp_only_layers",
                                        "numbers of layers", err);
            break;
        }
        code = uqff_grow((void **)&list, &capacity, count + 1, sizeof *list, err);
        if (code != UQFF_OK) {
            break;
        }
        list[count++] = event.integer;
    }
    if (code == UQFF_OK) {
        uint64_t *kept = uqff_arena_array(reader->arena, count, sizeof *kept);
        if (kept == NULL) {
            code = uqff_fail_memory(err);
        } else {
            memcpy(kept, list, count * sizeof *kept);
            if (count > 1) {
                qsort(kept, count, sizeof *kept, by_number);
            }
            reader->out->dense_list = kept;
            reader->out->dense_count = count;
        }
    }
    uqff_free(list);
    return code;
}

static enum uqff_code read_object(struct reader *reader, bool nested, struct uqff_error *err) {
    for (;;) {
        struct uqff_json_event event;
        bool done;
        enum uqff_code code = uqff_json_member(reader->json, &event, &done, err);
        if (code != UQFF_OK || done) {
            return code;
        }
        size_t which = 0;
        while (which < COUNTS && !is_key(&event, counts[which].key)) {
            which++;
        }
        if (which < COUNTS) {
            code = read_count(reader, which, err);
        } else if (is_key(&event, "mlp_only_layers")) {
            code = read_list(reader, err);
        } else {
            bool text = !nested && is_key(&event, "text_config");
            code = uqff_json_next(reader->json, &event, err);
            if (code == UQFF_OK) {
                code = text && event.kind == UQFF_JSON_OBJECT
                           ? read_object(reader, true, err)
                           : uqff_json_skip(reader->json, &event, err);
            }
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
}

enum uqff_code uqff_legacy_config_read(const char *json, size_t size, const char *where,
                                       struct uqff_arena *arena, struct legacy_config *out,
                                       struct uqff_error *err) {
    struct reader reader = {.arena = arena, .out = out};
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_open(json, size, where, 0, 0, &reader.json, err);
    code = code != UQFF_OK
               ? code
               : uqff_json_expect(reader.json, UQFF_JSON_OBJECT, "the configuration", &event, err);
    code = code != UQFF_OK ? code : read_object(&reader, false, err);
    uqff_json_close(reader.json);
    return code;
}
