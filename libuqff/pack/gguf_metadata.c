/* Keys and values. From a Hugging Face source they are made, in the order in which llama.cpp's
 * converter writes them; from a GGUF they are taken over, with what llama-quantize changes. */
#include "pack/gguf.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "pack/recipe.h"

#define QUANTIZATION_VERSION 2u

struct writer {
    struct uqff_pack_plan *plan;
    struct uqff_gguf_layout *layout;
    const struct gguf_numbers *numbers;
    size_t variant;
};

static enum uqff_code set_text(struct uqff_gguf_layout *layout, const char *key, const char *text,
                               struct uqff_error *err) {
    return uqff_gguf_set_string(layout, key, text, strlen(text), err);
}

static const char *key_name(struct writer *writer, const char *name) {
    return uqff_arena_printf(&writer->plan->arena, "%s.%s", writer->plan->gguf->architecture, name);
}

/* ---- hyper-parameters ------------------------------------------------------------------------ */

static enum uqff_code set_count(struct writer *writer, const struct gguf_key *key, uint64_t value,
                                struct uqff_error *err) {
    const char *name = key_name(writer, key->name);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    if (value == 0 && key->needed != NULL && !uqff_gguf_user_sets(writer->plan, name)) {
        return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: config.json has no '%s', which '%s' is made from",
                         uqff_model_path(writer->plan->model), key->needed, name);
    }
    if (value > UINT32_MAX) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: config.json: found %" PRIu64 " for '%s', expected at most %u",
                         uqff_model_path(writer->plan->model), value, name, UINT32_MAX);
    }
    return value == 0 && key->kind != GGUF_KEY_FIXED
               ? UQFF_OK
               : uqff_gguf_set_u64(writer->layout, name, UQFF_GGUF_U32, value, err);
}

static enum uqff_code set_real(struct writer *writer, const char *key, double value,
                               struct uqff_error *err) {
    const char *name = key_name(writer, key);
    if (name == NULL) {
        return uqff_fail_memory(err);
    }
    return value == 0 ? UQFF_OK
                      : uqff_gguf_set_double(writer->layout, name, UQFF_GGUF_F32, value, err);
}

static enum uqff_code set_rope_scaling(struct writer *writer, struct uqff_error *err) {
    const struct uqff_rope_scaling *rope = &writer->numbers->config.rope;
    bool yarn = strcmp(rope->type, "yarn") == 0;
    if ((!yarn && strcmp(rope->type, "linear") != 0) || rope->factor == 0) {
        return UQFF_OK;
    }
    const struct gguf_key context = {.kind = GGUF_KEY_COUNT,
                                     .name = "rope.scaling.original_context_length"};
    const struct {
        const char *key;
        double value;
    } reals[] = {
        {"rope.scaling.yarn_ext_factor", rope->extrapolation_factor},
        {"rope.scaling.yarn_attn_factor", rope->attention_factor},
        {"rope.scaling.yarn_beta_fast", rope->beta_fast},
        {"rope.scaling.yarn_beta_slow", rope->beta_slow},
    };
    const char *type = key_name(writer, "rope.scaling.type");
    enum uqff_code code =
        type == NULL ? uqff_fail_memory(err) : set_text(writer->layout, type, rope->type, err);
    if (code == UQFF_OK) {
        code = set_real(writer, "rope.scaling.factor", rope->factor, err);
    }
    if (code == UQFF_OK && yarn) {
        code = set_count(writer, &context, rope->original_context, err);
    }
    for (size_t i = 0; yarn && i < sizeof reals / sizeof reals[0] && code == UQFF_OK; i++) {
        code = set_real(writer, reals[i].key, reals[i].value, err);
    }
    return code;
}

/* llama.cpp's file type of a quant that is none of its own: that of the same base type. -1: none.
 */
static int file_type_of(const struct uqff_quant *quant) {
    const struct file_type *row = quant->file_type >= 0   ? uqff_file_type_by_id(quant->file_type)
                                  : quant->recipe != NULL ? uqff_file_type_by_name(quant->recipe)
                                                          : NULL;
    for (int id = 0; row == NULL && id <= FT_Q2_0; id++) {
        const struct file_type *other = uqff_file_type_by_id(id);
        row = other != NULL && other->type == quant->type ? other : NULL;
    }
    return row != NULL ? row->id : -1;
}

static enum uqff_code set_file_type(struct writer *writer, struct uqff_error *err) {
    int id = file_type_of(&writer->plan->quants[writer->variant]);
    return id < 0 ? UQFF_OK
                  : uqff_gguf_set_u64(writer->layout, "general.file_type", UQFF_GGUF_U32,
                                      (uint64_t)id, err);
}

static enum uqff_code set_keys(struct writer *writer, const struct gguf_key *keys,
                               struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (; keys->kind != GGUF_KEY_END && code == UQFF_OK; keys++) {
        const char *value = (const char *)writer->numbers + keys->offset;
        uint64_t count = 0;
        double real = 0;
        switch (keys->kind) {
        case GGUF_KEY_COUNT:
        case GGUF_KEY_FIXED:
            memcpy(&count, value, sizeof count);
            code = set_count(writer, keys, count, err);
            break;
        case GGUF_KEY_REAL:
            memcpy(&real, value, sizeof real);
            code = set_real(writer, keys->name, real, err);
            break;
        case GGUF_KEY_ROPE_SCALING:
            code = set_rope_scaling(writer, err);
            break;
        case GGUF_KEY_FILE_TYPE:
            code = set_file_type(writer, err);
            break;
        case GGUF_KEY_INCLUDE:
            code = set_keys(writer, keys->list, err);
            break;
        case GGUF_KEY_END:
            break;
        }
    }
    return code;
}

static enum uqff_code set_quantization_version(struct writer *writer, struct uqff_error *err) {
    return uqff_gguf_set_u64(writer->layout, "general.quantization_version", UQFF_GGUF_U32,
                             QUANTIZATION_VERSION, err);
}

static enum uqff_code make_all(struct writer *writer, struct uqff_error *err) {
    struct gguf_plan *gguf = writer->plan->gguf;
    enum uqff_code code = set_text(writer->layout, "general.architecture", gguf->architecture, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_general(writer->plan, writer->layout, err);
    }
    if (code == UQFF_OK) {
        code = set_keys(writer, gguf->arch->keys, err);
    }
    if (code == UQFF_OK) {
        code = set_quantization_version(writer, err);
    }
    return code == UQFF_OK ? uqff_gguf_tokenizer(writer->plan, writer->layout, err) : code;
}

/* ---- from a GGUF ----------------------------------------------------------------------------- */

/* Whether the keys of the source say already what types this variant has. A model that was a GGUF
 * before may have been quantized since, which the names of its variants tell. */
static bool tells_types(const struct writer *writer) {
    const struct uqff_pack_plan *plan = writer->plan;
    const struct uqff_quant *quant = &plan->quants[writer->variant];
    uint64_t id = 0;
    bool found = false;
    if (!plan->given || uqff_model_kind(plan->model) == UQFF_MODEL_GGUF) {
        return plan->given;
    }
    if (uqff_gguf_get_u64(plan->gguf->source, "general.file_type", INT_MAX, &found, &id, NULL) !=
            UQFF_OK ||
        !found || uqff_file_type_by_id((int)id) == NULL) {
        return true;
    }
    const char *recipe = quant->recipe != NULL ? quant->recipe : "";
    const struct file_type *row = uqff_file_type_by_name(*recipe != '\0' ? recipe : quant->name);
    return row == NULL || row->id == (int)id;
}

/* Everything as it is and where it is; what is set goes to the end, as llama-quantize has it. */
static enum uqff_code take_over(struct writer *writer, struct uqff_error *err) {
    const struct uqff_gguf *source = writer->plan->gguf->source;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < uqff_gguf_kv_count(source) && code == UQFF_OK; i++) {
        code = uqff_gguf_set_copy(writer->layout, source, i, err);
    }
    if (code != UQFF_OK || tells_types(writer)) {
        return code;
    }
    uqff_gguf_unset(writer->layout, "general.quantization_version");
    uqff_gguf_unset(writer->layout, "general.file_type");
    code = set_quantization_version(writer, err);
    return code == UQFF_OK ? set_file_type(writer, err) : code;
}

/* ---- the importance matrix ------------------------------------------------------------------- */

/* llama-quantize keeps values to 127 bytes; the names alone, for where the files lay is nobody's
 * business. */
static enum uqff_code set_short(struct writer *writer, const char *key, const char *path,
                                struct uqff_error *err) {
    const char *name = uqff_path_name(path);
    size_t length = strlen(name);
    length = length < 127 ? length : 127;
    /* Not in the middle of a character. */
    while (length > 0 && !uqff_utf8_valid(name, length, NULL) && length > 123) {
        length--;
    }
    return uqff_gguf_set_string(writer->layout, key, name, length, err);
}

static enum uqff_code set_imatrix(struct writer *writer, struct uqff_error *err) {
    const struct uqff_imatrix *imatrix = writer->plan->imatrix;
    if (imatrix == NULL) {
        return UQFF_OK;
    }
    uint64_t chunks = uqff_imatrix_chunks(imatrix);
    const char *dataset = uqff_imatrix_dataset(imatrix);
    enum uqff_code code =
        set_short(writer, "quantize.imatrix.file", writer->plan->options.imatrix, err);
    if (code == UQFF_OK && *dataset != '\0') {
        code = set_short(writer, "quantize.imatrix.dataset", dataset, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_set_u64(writer->layout, "quantize.imatrix.entries_count", UQFF_GGUF_U32,
                                 uqff_imatrix_count(imatrix), err);
    }
    if (code == UQFF_OK && chunks > 0 && chunks <= UINT32_MAX) {
        code = uqff_gguf_set_u64(writer->layout, "quantize.imatrix.chunks_count", UQFF_GGUF_U32,
                                 chunks, err);
    }
    return code;
}

/* ---- all together ---------------------------------------------------------------------------- */

enum uqff_code uqff_gguf_metadata(struct uqff_pack_plan *plan, size_t variant,
                                  struct uqff_error *err) {
    struct writer writer = {
        .plan = plan,
        .layout = plan->gguf->outputs[variant].layout,
        .numbers = &plan->gguf->numbers,
        .variant = variant,
    };
    enum uqff_code code =
        plan->gguf->source != NULL ? take_over(&writer, err) : make_all(&writer, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_set_values(plan, writer.layout, err);
    }
    return code == UQFF_OK ? set_imatrix(&writer, err) : code;
}
