/* config.json by the strict parser: what packing needs of it, kinds and ranges checked. Other keys
 * may hold whatever JSON allows. */
#include <math.h>
#include <string.h>

#include "model/internal.h"

enum field_kind { FIELD_COUNT, FIELD_REAL, FIELD_TEXT, FIELD_TRUTH };

/* Where a value stood: the outermost object wins over text_config, a key's first spelling over its
 * later ones. */
#define RANK_ABSENT 255u
#define RANK_NESTED 100u
#define RANK_ROPE 60u /* behind every field outside */
#define RANK_ROPE_NESTED 20u

struct field {
    const char *key;
    enum field_kind kind;
    size_t offset;     /* in struct uqff_config */
    uint64_t min, max; /* of a count; a real is finite and above 0 */
};

#define COUNT(key_, member_, min_, max_)                                                           \
    { key_, FIELD_COUNT, offsetof(struct uqff_config, member_), min_, max_ }
#define REAL(key_, member_)                                                                        \
    { key_, FIELD_REAL, offsetof(struct uqff_config, member_), 0, 0 }
#define TEXT(key_, member_)                                                                        \
    { key_, FIELD_TEXT, offsetof(struct uqff_config, member_), 0, 0 }
#define TRUTH(key_, member_)                                                                       \
    { key_, FIELD_TRUTH, offsetof(struct uqff_config, member_), 0, 0 }

/* Upper limits are far above any model, and low enough that a product of two fits 64 bits. A key's
 * other spellings follow it. */
static const struct field fields[] = {
    TEXT("model_type", model_type),
    TEXT("torch_dtype", torch_dtype),
    TEXT("dtype", torch_dtype),
    COUNT("num_hidden_layers", layers, 1, 1u << 20),
    COUNT("n_layer", layers, 1, 1u << 20),
    COUNT("num_layers", layers, 1, 1u << 20),
    COUNT("hidden_size", hidden, 1, 1u << 28),
    COUNT("n_embd", hidden, 1, 1u << 28),
    COUNT("d_model", hidden, 1, 1u << 28),
    COUNT("intermediate_size", feed_forward, 0, 1u << 28),
    COUNT("n_inner", feed_forward, 0, 1u << 28),
    COUNT("num_attention_heads", heads, 1, 1u << 20),
    COUNT("n_head", heads, 1, 1u << 20),
    COUNT("num_key_value_heads", kv_heads, 1, 1u << 20),
    COUNT("n_head_kv", kv_heads, 1, 1u << 20),
    COUNT("head_dim", head_dim, 1, 1u << 20),
    COUNT("vocab_size", vocabulary, 1, 1u << 31),
    COUNT("num_local_experts", experts, 0, 1u << 20),
    COUNT("num_experts", experts, 0, 1u << 20),
    COUNT("n_routed_experts", experts, 0, 1u << 20),
    COUNT("num_experts_per_tok", experts_used, 0, 1u << 20),
    COUNT("num_experts_per_token", experts_used, 0, 1u << 20),
    COUNT("experts_per_token", experts_used, 0, 1u << 20),
    COUNT("max_position_embeddings", context, 0, UINT64_MAX),
    COUNT("n_positions", context, 0, UINT64_MAX),
    COUNT("n_ctx", context, 0, UINT64_MAX),
    REAL("rms_norm_eps", rms_epsilon),
    REAL("layer_norm_epsilon", rms_epsilon),
    REAL("layer_norm_eps", rms_epsilon),
    REAL("rope_theta", rope_theta),
    COUNT("moe_intermediate_size", expert_feed_forward, 0, 1u << 28),
    COUNT("shared_expert_intermediate_size", shared_expert_feed_forward, 0, 1u << 28),
    COUNT("sliding_window", sliding_window, 0, UINT64_MAX),
    COUNT("sliding_window_pattern", sliding_window_pattern, 0, 1u << 20),
    REAL("attn_logit_softcapping", attention_softcap),
    REAL("final_logit_softcapping", output_softcap),
    REAL("partial_rotary_factor", rotary_share),
    REAL("query_pre_attn_scalar", query_scalar),
    REAL("rope_local_base_freq", rope_local_theta),
    COUNT("max_window_layers", window_from_layer, 0, UINT64_MAX),
    COUNT("no_rope_layer_interval", no_rope_interval, 0, 1u << 20),
    TEXT("hidden_activation", activation),
    TEXT("hidden_act", activation),
    COUNT("original_max_position_embeddings", rope.original_context, 0, 1u << 30),
    TRUTH("tie_word_embeddings", tied),
    TRUTH("use_sliding_window", use_sliding_window),
    TRUTH("norm_topk_prob", normalize_experts),
};
#define FIELDS (sizeof fields / sizeof *fields)

/* Within rope_scaling or rope_parameters. */
static const struct field rope_fields[] = {
    TEXT("rope_type", rope.type),
    TEXT("type", rope.type),
    REAL("rope_theta", rope_theta),
    REAL("factor", rope.factor),
    REAL("low_freq_factor", rope.low_freq_factor),
    REAL("high_freq_factor", rope.high_freq_factor),
    REAL("attention_factor", rope.attention_factor),
    REAL("extrapolation_factor", rope.extrapolation_factor),
    REAL("beta_fast", rope.beta_fast),
    REAL("beta_slow", rope.beta_slow),
    COUNT("original_max_position_embeddings", rope.original_context, 0, 1u << 30),
};
#define ROPE_FIELDS (sizeof rope_fields / sizeof *rope_fields)

struct reader {
    struct uqff_json *json;
    struct uqff_arena *arena;
    struct uqff_config *config;
    unsigned rank[sizeof(struct uqff_config)]; /* of the value in each member, by its offset */
    unsigned architectures_rank;
};

static void *member(struct reader *reader, const struct field *field) {
    return (char *)reader->config + field->offset;
}

static enum uqff_code take_text(struct reader *reader, const struct uqff_json_event *event,
                                const char **out, struct uqff_error *err) {
    if (memchr(event->text, 0, event->length) != NULL) {
        return uqff_json_unexpected(reader->json, event, "a name", "text without NUL", err);
    }
    *out = uqff_arena_copy(reader->arena, event->text, event->length);
    return *out == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

static enum uqff_code take_count(struct reader *reader, const struct field *field,
                                 const struct uqff_json_event *event, struct uqff_error *err) {
    if (event->kind != UQFF_JSON_NUMBER || !event->is_u64 || event->integer < field->min ||
        event->integer > field->max) {
        return uqff_json_unexpected(
            reader->json, event, field->key,
            field->min == 0 ? "an integer in its range" : "a positive integer in its range", err);
    }
    *(uint64_t *)member(reader, field) = event->integer;
    return UQFF_OK;
}

static enum uqff_code take_real(struct reader *reader, const struct field *field,
                                const struct uqff_json_event *event, struct uqff_error *err) {
    double value = 0;
    if (event->kind != UQFF_JSON_NUMBER) {
        return uqff_json_unexpected(reader->json, event, field->key, "a number", err);
    }
    enum uqff_code code = uqff_json_double(reader->json, event, &value, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (!isfinite(value) || !(value > 0)) {
        return uqff_json_unexpected(reader->json, event, field->key, "a number above 0", err);
    }
    *(double *)member(reader, field) = value;
    return UQFF_OK;
}

static enum uqff_code take_field(struct reader *reader, const struct field *field,
                                 const struct uqff_json_event *event, struct uqff_error *err) {
    switch (field->kind) {
    case FIELD_COUNT:
        return take_count(reader, field, event, err);
    case FIELD_REAL:
        return take_real(reader, field, event, err);
    case FIELD_TEXT:
        if (event->kind != UQFF_JSON_STRING) {
            return uqff_json_unexpected(reader->json, event, field->key, "a string", err);
        }
        return take_text(reader, event, (const char **)member(reader, field), err);
    case FIELD_TRUTH:
        break;
    }
    if (event->kind != UQFF_JSON_TRUE && event->kind != UQFF_JSON_FALSE) {
        return uqff_json_unexpected(reader->json, event, field->key, "true or false", err);
    }
    *(bool *)member(reader, field) = event->kind == UQFF_JSON_TRUE;
    return UQFF_OK;
}

/* A value behind a known key. null says nothing; neither does an array, which some architectures
 * have in place of a number that is the same in all layers. */
static enum uqff_code read_field(struct reader *reader, const struct field *field, unsigned rank,
                                 struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK || event.kind == UQFF_JSON_NULL) {
        return code;
    }
    if (event.kind == UQFF_JSON_ARRAY && field->kind == FIELD_COUNT) {
        return uqff_json_skip(reader->json, &event, err);
    }
    if (reader->rank[field->offset] <= rank) {
        /* A value of lower rank is checked like any other and then dropped. */
        struct uqff_config kept = *reader->config;
        code = take_field(reader, field, &event, err);
        *reader->config = kept;
        return code;
    }
    code = take_field(reader, field, &event, err);
    reader->rank[field->offset] = rank;
    return code;
}

static enum uqff_code read_architectures(struct reader *reader, unsigned rank,
                                         struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK || event.kind == UQFF_JSON_NULL) {
        return code;
    }
    if (event.kind != UQFF_JSON_ARRAY) {
        return uqff_json_unexpected(reader->json, &event, "architectures", "an array", err);
    }
    for (bool first = true;; first = false) {
        code = uqff_json_next(reader->json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            return code;
        }
        if (event.kind != UQFF_JSON_STRING) {
            return uqff_json_unexpected(reader->json, &event, "architectures", "a string", err);
        }
        if (first && rank < reader->architectures_rank) {
            reader->architectures_rank = rank;
            code = take_text(reader, &event, &reader->config->architecture, err);
            if (code != UQFF_OK) {
                return code;
            }
        }
    }
}

static bool is_key(const struct uqff_json_event *event, const char *key) {
    return strlen(key) == event->length && memcmp(event->text, key, event->length) == 0;
}

/* The factors of longrope: as many numbers as the text holds. */
static enum uqff_code read_factors(struct reader *reader, const char *key, size_t offset,
                                   const double **out, size_t *count, unsigned rank,
                                   struct uqff_error *err) {
    struct uqff_json_event event;
    double *values = NULL;
    size_t n = 0, capacity = 0;
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK || event.kind == UQFF_JSON_NULL) {
        return code;
    }
    if (event.kind != UQFF_JSON_ARRAY) {
        return uqff_json_unexpected(reader->json, &event, key, "an array of numbers", err);
    }
    for (;;) {
        code = uqff_json_next(reader->json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        if (event.kind != UQFF_JSON_NUMBER) {
            code = uqff_json_unexpected(reader->json, &event, key, "a number", err);
            break;
        }
        code = uqff_grow((void **)&values, &capacity, n + 1, sizeof *values, err);
        code = code != UQFF_OK ? code : uqff_json_double(reader->json, &event, &values[n], err);
        if (code != UQFF_OK) {
            break;
        }
        n++;
    }
    if (code == UQFF_OK && rank < reader->rank[offset]) {
        double *kept = uqff_arena_array(reader->arena, n, sizeof *kept);
        if (kept == NULL) {
            code = uqff_fail_memory(err);
        } else {
            memcpy(kept, values, n * sizeof *kept);
            *out = kept;
            *count = n;
            reader->rank[offset] = rank;
        }
    }
    uqff_free(values);
    return code;
}

/* One value a layer: layer_types, of strings, or no_rope_layers, of 0 and 1. Memory grows with the
 * text, whatever the number of layers. */
static enum uqff_code read_layers(struct reader *reader, const char *key, bool texts, size_t offset,
                                  const uint8_t **out, size_t *count, unsigned rank,
                                  struct uqff_error *err) {
    struct uqff_json_event event;
    struct uqff_buffer values = {0};
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK || event.kind == UQFF_JSON_NULL) {
        return code;
    }
    if (event.kind != UQFF_JSON_ARRAY) {
        return uqff_json_unexpected(reader->json, &event, key, "an array", err);
    }
    for (;;) {
        code = uqff_json_next(reader->json, &event, err);
        if (code != UQFF_OK || event.kind == UQFF_JSON_ARRAY_END) {
            break;
        }
        if (texts ? event.kind != UQFF_JSON_STRING
                  : event.kind != UQFF_JSON_NUMBER || !event.is_u64 || event.integer > 1) {
            code =
                uqff_json_unexpected(reader->json, &event, key, texts ? "a string" : "0 or 1", err);
            break;
        }
        char value = (char)(texts ? is_key(&event, "sliding_attention") : event.integer == 1);
        uqff_buffer_append(&values, &value, 1);
    }
    if (code == UQFF_OK && rank < reader->rank[offset]) {
        void *kept = uqff_arena_copy(reader->arena, values.data, values.size);
        if (kept == NULL || values.failed) {
            code = uqff_fail_memory(err);
        } else {
            *out = kept;
            *count = values.size;
            reader->rank[offset] = rank;
        }
    }
    uqff_buffer_free(&values);
    return code;
}

/* Reads the value of the member `key`, or passes over it. */
typedef enum uqff_code member_reader(struct reader *reader, const struct uqff_json_event *key,
                                     unsigned rank, struct uqff_error *err);

/* The members of an object whose '{' was read. */
static enum uqff_code read_object(struct reader *reader, member_reader *read, unsigned rank,
                                  struct uqff_error *err) {
    for (;;) {
        struct uqff_json_event key;
        bool done;
        enum uqff_code code = uqff_json_member(reader->json, &key, &done, err);
        if (code != UQFF_OK || done) {
            return code;
        }
        code = read(reader, &key, rank, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
}

/* The same for a value that may be something else, which is passed over. */
static enum uqff_code read_if_object(struct reader *reader, member_reader *read, unsigned rank,
                                     struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK) {
        return code;
    }
    return event.kind == UQFF_JSON_OBJECT ? read_object(reader, read, rank, err)
                                          : uqff_json_skip(reader->json, &event, err);
}

/* What rope_parameters has for layers of a sliding window: their base is all that differs. */
static enum uqff_code read_local_rope_member(struct reader *reader,
                                             const struct uqff_json_event *key, unsigned rank,
                                             struct uqff_error *err) {
    static const struct field theta = REAL("rope_theta", rope_local_theta);
    return is_key(key, theta.key) ? read_field(reader, &theta, rank, err)
                                  : uqff_json_skip_next(reader->json, err);
}

/* What rope_scaling says, or rope_parameters in newer files, or that once for each kind of layer.
 */
static enum uqff_code read_rope_member(struct reader *reader, const struct uqff_json_event *key,
                                       unsigned rank, struct uqff_error *err) {
    struct uqff_rope_scaling *rope = &reader->config->rope;
    if (is_key(key, "full_attention")) {
        return read_if_object(reader, read_rope_member, rank + RANK_ROPE_NESTED, err);
    }
    if (is_key(key, "sliding_attention")) {
        return read_if_object(reader, read_local_rope_member, rank + RANK_ROPE_NESTED, err);
    }
    if (is_key(key, "long_factor")) {
        return read_factors(reader, "long_factor", offsetof(struct uqff_config, rope.long_factors),
                            &rope->long_factors, &rope->long_count, rank, err);
    }
    if (is_key(key, "short_factor")) {
        return read_factors(reader, "short_factor",
                            offsetof(struct uqff_config, rope.short_factors), &rope->short_factors,
                            &rope->short_count, rank, err);
    }
    for (size_t i = 0; i < ROPE_FIELDS; i++) {
        if (is_key(key, rope_fields[i].key)) {
            return read_field(reader, &rope_fields[i], rank + (unsigned)i, err);
        }
    }
    return uqff_json_skip_next(reader->json, err);
}

static enum uqff_code read_layout(struct reader *reader, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK) {
        return code;
    }
    reader->config->rotary_adjacent = event.kind == UQFF_JSON_STRING && is_key(&event, "adjacent");
    return uqff_json_skip(reader->json, &event, err);
}

static member_reader read_member;

static enum uqff_code read_nested(struct reader *reader, struct uqff_error *err) {
    struct uqff_json_event event;
    enum uqff_code code = uqff_json_next(reader->json, &event, err);
    if (code != UQFF_OK || event.kind == UQFF_JSON_NULL) {
        return code;
    }
    if (event.kind != UQFF_JSON_OBJECT) {
        return uqff_json_unexpected(reader->json, &event, "text_config", "an object", err);
    }
    return read_object(reader, read_member, RANK_NESTED, err);
}

static enum uqff_code read_member(struct reader *reader, const struct uqff_json_event *key,
                                  unsigned rank, struct uqff_error *err) {
    if (is_key(key, "architectures")) {
        return read_architectures(reader, rank, err);
    }
    if (is_key(key, "rope_parameters") || is_key(key, "rope_scaling")) {
        return read_if_object(reader, read_rope_member, rank + RANK_ROPE, err);
    }
    if (is_key(key, "_mistralrs_qk_rope_layout")) {
        return read_layout(reader, err);
    }
    if (is_key(key, "layer_types")) {
        return read_layers(reader, "layer_types", true, offsetof(struct uqff_config, layer_slides),
                           &reader->config->layer_slides, &reader->config->layer_slides_count, rank,
                           err);
    }
    if (is_key(key, "no_rope_layers")) {
        return read_layers(
            reader, "no_rope_layers", false, offsetof(struct uqff_config, layer_rotates),
            &reader->config->layer_rotates, &reader->config->layer_rotates_count, rank, err);
    }
    if (rank < RANK_NESTED && is_key(key, "text_config")) {
        return read_nested(reader, err);
    }
    for (size_t i = 0; i < FIELDS; i++) {
        if (is_key(key, fields[i].key)) {
            return read_field(reader, &fields[i], rank + (unsigned)i, err);
        }
    }
    return uqff_json_skip_next(reader->json, err);
}

enum uqff_code uqff_model_parse_config(const char *json, size_t size, const char *where,
                                       struct uqff_arena *arena, struct uqff_config *out,
                                       bool *tied_given, struct uqff_error *err) {
    struct uqff_config config = {
        .architecture = "", .model_type = "", .torch_dtype = "", .activation = "", .rope.type = ""};
    struct reader reader = {.arena = arena, .config = &config};
    struct uqff_json_event event;
    memset(reader.rank, 0, sizeof reader.rank);
    for (size_t i = 0; i < sizeof reader.rank / sizeof *reader.rank; i++) {
        reader.rank[i] = RANK_ABSENT;
    }
    reader.architectures_rank = RANK_ABSENT;
    enum uqff_code code = uqff_json_open(json, size, where, 0, 0, &reader.json, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_json_expect(reader.json, UQFF_JSON_OBJECT, "the configuration", &event, err);
    if (code == UQFF_OK) {
        code = read_object(&reader, read_member, 0, err);
    }
    if (code == UQFF_OK) {
        code = uqff_json_expect(reader.json, UQFF_JSON_END, "the configuration", &event, err);
    }
    if (code == UQFF_OK) {
        *tied_given = reader.rank[offsetof(struct uqff_config, tied)] != RANK_ABSENT;
        *out = config;
    }
    uqff_json_close(reader.json);
    return code;
}

/* The class is the surer name: model_type is also a vision model's, or a fork's own. */
const struct uqff_arch *uqff_model_config_arch(const struct uqff_config *config) {
    const struct uqff_arch *arch = uqff_arch_find(config->architecture);
    return arch != NULL ? arch : uqff_arch_find(config->model_type);
}

enum uqff_code uqff_config_parse(const char *json, size_t size, const char *where,
                                 struct uqff_arena *arena, struct uqff_config *out,
                                 struct uqff_error *err) {
    struct uqff_config config;
    bool tied_given;
    enum uqff_code code =
        uqff_model_parse_config(json, size, where, arena, &config, &tied_given, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (!tied_given) {
        const struct uqff_arch *arch = uqff_model_config_arch(&config);
        config.tied = arch != NULL && arch->tied_by_default;
    }
    *out = config;
    return UQFF_OK;
}

enum uqff_code uqff_model_take_config(struct uqff_model *model, const char *json, size_t size,
                                      const char *where, struct uqff_error *err) {
    enum uqff_code code = uqff_model_parse_config(json, size, where, &model->arena, &model->config,
                                                  &model->tied_given, err);
    if (code != UQFF_OK) {
        return code;
    }
    model->arch = uqff_model_config_arch(&model->config);
    return UQFF_OK;
}

enum uqff_code uqff_model_load_config(struct uqff_model *model, bool *found,
                                      struct uqff_error *err) {
    struct uqff_source *source = NULL;
    char *json = NULL;
    size_t size;
    *found = false;
    enum uqff_code code = uqff_source_open_in(model->directory, "config.json", 11, &source, err);
    if (code == UQFF_E_NOT_FOUND) {
        return UQFF_OK;
    }
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_source_read_all(source, UQFF_CONFIG_LIMIT, &json, &size, err);
    if (code == UQFF_OK) {
        *found = true;
        code = uqff_model_take_config(model, json, size, uqff_source_name(source), err);
    }
    uqff_free(json);
    uqff_source_close(source);
    return code;
}
