/* GGUF files as models: names mapped to Hugging Face's, the converter's changes of values undone.
 */
#include <string.h>

#include "model/internal.h"

static struct uqff_source *source_of(const struct uqff_model *model,
                                     const struct uqff_gguf_tensor *g) {
    return uqff_gguf_source(model->gguf, g->file);
}

/* ne[] is innermost first. */
static enum uqff_code reverse_shape(struct uqff_model *model, const struct uqff_gguf_tensor *g,
                                    struct tensor *t, struct uqff_error *err) {
    uint64_t *shape = uqff_arena_array(&model->arena, g->n_dims + 1, sizeof *shape);
    if (shape == NULL) {
        return uqff_fail_memory(err);
    }
    for (unsigned i = 0; i < g->n_dims; i++) {
        shape[i] = g->ne[g->n_dims - 1 - i];
    }
    t->info.rank = g->n_dims;
    t->info.shape = shape;
    return UQFF_OK;
}

/* q and k of some architectures: rows of each head interleaved. */
static enum uqff_code set_rotation(struct uqff_model *model, const struct rule_match *match,
                                   struct tensor *t, struct uqff_error *err) {
    const struct uqff_config *config = &model->config;
    uint64_t heads = config->heads;
    if (match->rule->role == UQFF_ROLE_ATTN_K && config->kv_heads != 0) {
        heads = config->kv_heads;
    }
    uint64_t rows = t->info.rank < 2 ? t->columns : t->rows;
    if (heads == 0) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: tensor '%s': the metadata has no head count, which its row order "
                         "needs",
                         model->path, t->info.name);
    }
    if (rows == 0 || rows % heads != 0 || rows / heads % 2 != 0) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found %llu rows, expected an even number for each of "
                         "%llu heads",
                         model->path, t->info.name, (unsigned long long)rows,
                         (unsigned long long)heads);
    }
    const struct uqff_type_info *info = uqff_type_info(t->info.type);
    if (info == NULL || (t->info.rank < 2 && info->block_length != 1)) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found type %s, whose rows cannot be put in order",
                         model->path, t->info.name, uqff_type_name(t->info.type));
    }
    t->heads = heads;
    t->reading = READ_ROTATED;
    return UQFF_OK;
}

/* Gemma's norms are listed as float32, the added 1 taken off again. */
static enum uqff_code set_shift(struct tensor *t, struct uqff_error *err) {
    t->reading = READ_SHIFTED;
    t->shift = -1.0f;
    t->info.type = UQFF_TYPE_F32;
    return uqff_model_finish_tensor(t, err);
}

static enum uqff_code apply_rule(struct uqff_model *model, struct tensor *t,
                                 struct uqff_error *err) {
    struct rule_match match;
    if (model->arch == NULL || !uqff_model_match_gguf(model->arch, t->info.name, &match)) {
        return UQFF_OK;
    }
    const char *ending = match.rule->kind == RULE_RESIDUAL ? ""
                         : match.is_bias                   ? ".bias"
                                                           : ".weight";
    t->info.hf_name = uqff_model_expand(&model->arena, match.rule->hf, &match, ending);
    if (t->info.hf_name == NULL) {
        return uqff_fail_memory(err);
    }
    if ((match.rule->flags & RULE_ROTATED) != 0) {
        return set_rotation(model, &match, t, err);
    }
    if ((match.rule->flags & RULE_SHIFTED) != 0 && uqff_model_is_weight_type(t->info.type)) {
        return set_shift(t, err);
    }
    return UQFF_OK;
}

static enum uqff_code add_tensor(struct uqff_model *model, const struct uqff_gguf_tensor *g,
                                 struct uqff_error *err) {
    struct tensor *t = uqff_model_add_tensor(model, err);
    if (t == NULL) {
        return UQFF_E_MEMORY;
    }
    t->info.name = g->name;
    t->info.type = t->stored_type = g->type;
    t->info.bytes = g->bytes;
    t->source = source_of(model, g);
    t->offset = g->offset;
    if (uqff_gguf_is_big_endian(model->gguf)) {
        t->refusal = uqff_arena_printf(&model->arena,
                                       "%s: tensor '%s': data of big-endian files is not read",
                                       uqff_source_name(t->source), g->name);
        if (t->refusal == NULL) {
            return uqff_fail_memory(err);
        }
    }
    enum uqff_code code = reverse_shape(model, g, t, err);
    code = code != UQFF_OK ? code : uqff_model_finish_tensor(t, err);
    return code != UQFF_OK ? code : apply_rule(model, t, err);
}

enum uqff_code uqff_model_open_gguf(struct uqff_model *model, const char *path,
                                    struct uqff_error *err) {
    uint64_t offset, bytes;
    enum uqff_code code = uqff_gguf_open_path(path, &model->warner, &model->gguf, err);
    code = code != UQFF_OK ? code : uqff_model_gguf_config(model, err);
    if (code != UQFF_OK) {
        return code;
    }
    for (size_t i = 0; i < uqff_gguf_file_count(model->gguf); i++) {
        code = uqff_model_add_source(model, uqff_gguf_source(model->gguf, i), false, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    for (size_t i = 0; i < uqff_gguf_tensor_count(model->gguf); i++) {
        code = add_tensor(model, uqff_gguf_tensor(model->gguf, i), err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    uqff_gguf_kv_range(model->gguf, &offset, &bytes);
    return uqff_model_add_asset(model, "gguf-metadata.bin", uqff_gguf_source(model->gguf, 0),
                                offset, bytes, err);
}
