/* general.*: what the generation settings, the model card and the directory's name tell. */
#include "pack/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static enum uqff_code set_text(struct uqff_gguf_layout *layout, const char *key, const char *text,
                               struct uqff_error *err) {
    return text == NULL ? UQFF_OK : uqff_gguf_set_string(layout, key, text, strlen(text), err);
}

/* *text stays NULL when the model has no such side file. */
static enum uqff_code read_side(const struct uqff_model *model, const char *name, char **text,
                                size_t *size, struct uqff_error *err) {
    for (size_t i = 0; i < uqff_model_asset_count(model); i++) {
        if (strcmp(uqff_model_asset_path(model, i), name) == 0) {
            return uqff_model_read_asset(model, i, text, size, err);
        }
    }
    return UQFF_OK;
}

/* ---- sampling -------------------------------------------------------------------------------- */

const struct gguf_sampling uqff_gguf_samplings[GGUF_SAMPLINGS] = {
    {"top_k", "general.sampling.top_k", true},
    {"top_p", "general.sampling.top_p", false},
    {"min_p", "general.sampling.min_p", false},
    {"xtc_probability", "general.sampling.xtc_probability", false},
    {"xtc_threshold", "general.sampling.xtc_threshold", false},
    {"temperature", "general.sampling.temp", false},
    {"penalty_last_n", "general.sampling.penalty_last_n", true},
    {"penalty_repeat", "general.sampling.penalty_repeat", false},
    {"mirostat", "general.sampling.mirostat", true},
    {"mirostat_tau", "general.sampling.mirostat_tau", false},
    {"mirostat_eta", "general.sampling.mirostat_eta", false},
};

struct sampling {
    bool given[GGUF_SAMPLINGS];
    double values[GGUF_SAMPLINGS];
};

static enum uqff_code read_settings(struct uqff_json *json, struct sampling *out,
                                    struct uqff_error *err) {
    struct uqff_json_event event;
    bool done = false;
    enum uqff_code code = uqff_json_expect(json, UQFF_JSON_OBJECT, "the settings", &event, err);
    for (;;) {
        code = code != UQFF_OK ? code : uqff_json_member(json, &event, &done, err);
        if (code != UQFF_OK || done) {
            return code;
        }
        size_t i = 0;
        while (i < GGUF_SAMPLINGS &&
               (strlen(uqff_gguf_samplings[i].json) != event.length ||
                memcmp(uqff_gguf_samplings[i].json, event.text, event.length) != 0)) {
            i++;
        }
        code = uqff_json_next(json, &event, err);
        if (code == UQFF_OK && i < GGUF_SAMPLINGS && event.kind == UQFF_JSON_NUMBER) {
            out->given[i] = true;
            code = uqff_json_double(json, &event, &out->values[i], err);
        } else if (code == UQFF_OK) {
            code = uqff_json_skip(json, &event, err);
        }
    }
}

static enum uqff_code set_sampling(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                   struct uqff_error *err) {
    static const char name[] = "generation_config.json";
    struct sampling sampling = {0};
    struct uqff_json *json = NULL;
    char *text = NULL;
    size_t size = 0;
    enum uqff_code code = read_side(plan->model, name, &text, &size, err);
    if (code != UQFF_OK || text == NULL) {
        return code;
    }
    code = uqff_json_open(text, size, name, 0, 0, &json, err);
    if (code == UQFF_OK) {
        code = read_settings(json, &sampling, err);
    }
    for (size_t i = 0; i < GGUF_SAMPLINGS && code == UQFF_OK; i++) {
        double value = sampling.values[i];
        if (!sampling.given[i] || !isfinite((float)value)) {
            continue;
        }
        if (!uqff_gguf_samplings[i].integer) {
            code =
                uqff_gguf_set_double(layout, uqff_gguf_samplings[i].key, UQFF_GGUF_F32, value, err);
        } else if (fabs(value) < INT32_MAX) {
            code = uqff_gguf_set_i64(layout, uqff_gguf_samplings[i].key, UQFF_GGUF_I32,
                                     (int64_t)value, err);
        }
    }
    uqff_json_close(json);
    uqff_free(text);
    return code;
}

/* ---- the model card -------------------------------------------------------------------------- */

static enum uqff_code set_texts(struct uqff_gguf_layout *layout, struct uqff_arena *arena,
                                const char *key, const struct gguf_texts *texts,
                                struct uqff_error *err) {
    if (texts->count == 0) {
        return UQFF_OK;
    }
    struct uqff_gguf_string *strings = uqff_arena_array(arena, texts->count, sizeof *strings);
    if (strings == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < texts->count; i++) {
        strings[i] = (struct uqff_gguf_string){texts->items[i], strlen(texts->items[i])};
    }
    return uqff_gguf_set_strings(layout, key, strings, texts->count, err);
}

/* "org/Name" of the models or data sets that this model was made from: base_model.0.name and so on.
 */
static enum uqff_code set_origins(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                  const char *kind, const struct gguf_texts *origins,
                                  struct uqff_error *err) {
    if (origins->count == 0) {
        return UQFF_OK;
    }
    char *count = uqff_arena_printf(&plan->arena, "general.%s.count", kind);
    enum uqff_code code =
        count == NULL ? uqff_fail_memory(err)
                      : uqff_gguf_set_u64(layout, count, UQFF_GGUF_U32, origins->count, err);
    for (size_t i = 0; i < origins->count && code == UQFF_OK; i++) {
        const char *reference = origins->items[i], *slash = strchr(reference, '/');
        const char *name = slash != NULL && slash[1] != '\0' ? slash + 1 : reference;
        struct gguf_name parts = {0};
        char *title = uqff_arena_printf(&plan->arena, "general.%s.%zu.name", kind, i);
        char *version = uqff_arena_printf(&plan->arena, "general.%s.%zu.version", kind, i);
        char *owner = uqff_arena_printf(&plan->arena, "general.%s.%zu.organization", kind, i);
        if (title == NULL || version == NULL || owner == NULL) {
            return uqff_fail_memory(err);
        }
        code = uqff_gguf_name_parse(name, &plan->arena, &parts, err);
        if (code == UQFF_OK) {
            code = set_text(layout, title, parts.title, err);
        }
        if (code == UQFF_OK) {
            code = set_text(layout, version, parts.version, err);
        }
        if (code == UQFF_OK && slash != NULL && slash > reference) {
            struct gguf_name organization = {0};
            char *text = uqff_arena_copy(&plan->arena, reference, (size_t)(slash - reference));
            code = text == NULL ? uqff_fail_memory(err)
                                : uqff_gguf_name_parse(text, &plan->arena, &organization, err);
            code = code == UQFF_OK ? set_text(layout, owner, organization.title, err) : code;
        }
    }
    return code;
}

static enum uqff_code read_card(struct uqff_pack_plan *plan, struct gguf_card *card,
                                struct uqff_error *err) {
    char *text = NULL;
    size_t size = 0;
    enum uqff_code code = read_side(plan->model, "README.md", &text, &size, err);
    if (code == UQFF_OK && text != NULL) {
        code = uqff_gguf_card_parse(text, size, &plan->arena, card, err);
    }
    uqff_free(text);
    return code;
}

/* ---- all together ---------------------------------------------------------------------------- */

static enum uqff_code set_names(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                const struct gguf_card *card, struct uqff_error *err) {
    const struct gguf_plan *gguf = plan->gguf;
    struct gguf_name name = {0};
    enum uqff_code code =
        uqff_gguf_name_parse(uqff_model_name(plan->model), &plan->arena, &name, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (name.size_label == NULL) {
        name.size_label = uqff_gguf_size_label(gguf->weights, gguf->expert_weights,
                                               gguf->numbers.config.experts, &plan->arena);
        if (name.size_label == NULL) {
            return uqff_fail_memory(err);
        }
    }
    const struct {
        const char *key, *text;
    } texts[] = {
        {"general.name", card->name != NULL ? card->name : name.title},
        {"general.author", card->author},
        {"general.version", name.version},
        {"general.organization", card->organization},
        {"general.finetune", name.finetune},
        {"general.basename", name.basename},
        {"general.description", card->description},
        {"general.quantized_by", card->quantized_by},
        {"general.size_label", name.size_label},
        {"general.license", card->license},
        {"general.license.name", card->license_name},
        {"general.license.link", card->license_link},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && code == UQFF_OK; i++) {
        code = set_text(layout, texts[i].key, texts[i].text, err);
    }
    return code;
}

enum uqff_code uqff_gguf_general(struct uqff_pack_plan *plan, struct uqff_gguf_layout *layout,
                                 struct uqff_error *err) {
    struct gguf_card card = {0};
    enum uqff_code code = set_text(layout, "general.type", "model", err);
    if (code == UQFF_OK) {
        code = set_sampling(plan, layout, err);
    }
    if (code == UQFF_OK) {
        code = read_card(plan, &card, err);
    }
    if (code == UQFF_OK) {
        code = set_names(plan, layout, &card, err);
    }
    if (code == UQFF_OK) {
        code = set_origins(plan, layout, "base_model", &card.base_models, err);
    }
    if (code == UQFF_OK) {
        code = set_origins(plan, layout, "dataset", &card.datasets, err);
    }
    if (code == UQFF_OK) {
        code = set_texts(layout, &plan->arena, "general.tags", &card.tags, err);
    }
    if (code == UQFF_OK) {
        code = set_texts(layout, &plan->arena, "general.languages", &card.languages, err);
    }
    uqff_gguf_card_free(&card);
    return code;
}
