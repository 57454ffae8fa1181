/* Hugging Face checkpoints: safetensors with config.json beside them. Scales that only serve
 * another tensor are folded into it here. */
#include <string.h>

#include "model/internal.h"

static const char *file_name(const struct uqff_model *model, struct uqff_st_set_tensor entry) {
    return uqff_source_name(
        uqff_safetensors_source(uqff_safetensors_set_file(model->set, entry.file)));
}

static struct uqff_source *file_source(const struct uqff_model *model,
                                       struct uqff_st_set_tensor entry) {
    return uqff_safetensors_source(uqff_safetensors_set_file(model->set, entry.file));
}

static bool ends_with(const char *name, const char *ending, size_t *stem) {
    size_t n = strlen(name), m = strlen(ending);
    *stem = n >= m ? n - m : 0;
    return n >= m && memcmp(name + n - m, ending, m) == 0;
}

/* The tensor called by the first `stem` bytes of a name and another ending. */
static bool find_sibling(const struct uqff_model *model, const char *name, size_t stem,
                         const char *ending, struct uqff_st_set_tensor *out) {
    char sibling[1200];
    size_t n = strlen(ending);
    if (stem + n >= sizeof sibling) {
        return false;
    }
    memcpy(sibling, name, stem);
    memcpy(sibling + stem, ending, n + 1);
    return uqff_safetensors_set_find(model->set, sibling, out);
}

/* ---- MXFP4: X_blocks [.., rows, columns/32, 16] and X_scales [.., rows, columns/32] ---------- */

static bool is_mxfp4_pair(const struct uqff_st_tensor *blocks,
                          const struct uqff_st_tensor *scales) {
    return blocks->dtype == UQFF_DTYPE_U8 && blocks->rank >= 3 &&
           blocks->shape[blocks->rank - 1] == 16 &&
           (scales->dtype == UQFF_DTYPE_U8 || scales->dtype == UQFF_DTYPE_F8_E8M0);
}

static enum uqff_code fold_mxfp4(struct uqff_model *model, struct uqff_st_set_tensor blocks,
                                 struct uqff_st_set_tensor scales, size_t stem,
                                 struct uqff_error *err) {
    const struct uqff_st_tensor *b = blocks.tensor, *s = scales.tensor;
    if (s->rank != b->rank - 1 || memcmp(s->shape, b->shape, s->rank * sizeof *s->shape) != 0) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': its shape is not that of '%s' without the last "
                         "dimension",
                         file_name(model, scales), s->name, b->name);
    }
    struct tensor *t = uqff_model_add_tensor(model, err);
    if (t == NULL) {
        return UQFF_E_MEMORY;
    }
    uint64_t *shape = uqff_arena_array(&model->arena, s->rank, sizeof *shape);
    t->info.name = uqff_arena_copy(&model->arena, b->name, stem);
    if (shape == NULL || t->info.name == NULL) {
        return uqff_fail_memory(err);
    }
    memcpy(shape, s->shape, s->rank * sizeof *shape);
    /* 32 values a scale: 16 bytes are there for each, so that the product cannot overflow. */
    shape[s->rank - 1] *= 32;
    t->info.rank = s->rank;
    t->info.shape = shape;
    t->info.type = UQFF_TYPE_MXFP4;
    t->stored_type = UQFF_TYPE_U8;
    t->reading = READ_MXFP4;
    t->source = file_source(model, blocks);
    t->offset = b->offset;
    t->scales.source = file_source(model, scales);
    t->scales.offset = s->offset;
    return uqff_model_finish_tensor(t, err);
}

/* ---- FP8: X and X_scale_inv or X_scale ------------------------------------------------------- */

static bool is_fp8(enum uqff_dtype dtype) {
    return dtype == UQFF_DTYPE_F8_E4M3 || dtype == UQFF_DTYPE_F8_E5M2;
}

static bool find_fp8_scale(const struct uqff_model *model, const char *name,
                           struct uqff_st_set_tensor *out) {
    size_t n = strlen(name);
    return find_sibling(model, name, n, "_scale_inv", out) ||
           find_sibling(model, name, n, "_scale", out);
}

#define FP8_BLOCK 128u

static uint64_t blocks_of(uint64_t n) {
    return n / FP8_BLOCK + (n % FP8_BLOCK != 0);
}

static uint64_t product(const struct uqff_st_tensor *tensor) {
    uint64_t elements = 1;
    for (unsigned i = 0; i < tensor->rank; i++) {
        elements *= tensor->shape[i]; /* the reader has checked that it fits */
    }
    return elements;
}

/* Both names hold factors. Their number tells what they belong to: one for all, one a row, or one
 * for each block of 128 by 128, in every matrix of a stack. */
static bool place_scales(struct tensor *t, const struct uqff_st_tensor *scale) {
    uint64_t rows = t->info.rank < 2 ? 1 : t->info.shape[t->info.rank - 2];
    uint64_t columns = t->info.rank < 1 ? 1 : t->info.shape[t->info.rank - 1];
    uint64_t count = product(scale);
    uint64_t matrices = 1;
    for (unsigned i = 0; i + 2 < t->info.rank; i++) {
        matrices *= t->info.shape[i];
    }
    struct companion *s = &t->scales;
    if (rows == 0 || columns == 0 || matrices == 0) {
        return count == 0;
    }
    if (count == 1) {
        s->row_height = rows;
        s->column_width = columns;
        s->rows = 0; /* every matrix has the first scale */
        s->columns = 1;
        return true;
    }
    if (count % matrices != 0) {
        return false;
    }
    count /= matrices;
    unsigned rank = scale->rank;
    if (rank >= 2 && scale->shape[rank - 1] == blocks_of(columns) &&
        scale->shape[rank - 2] == blocks_of(rows) &&
        count == blocks_of(rows) * blocks_of(columns)) {
        s->row_height = s->column_width = FP8_BLOCK;
        s->rows = blocks_of(rows);
        s->columns = blocks_of(columns);
        return true;
    }
    if (count == 1 || count == rows) {
        s->row_height = count == 1 ? rows : 1;
        s->column_width = columns;
        s->rows = count;
        s->columns = 1;
        return true;
    }
    return false;
}

static enum uqff_code fold_fp8(struct uqff_model *model, struct uqff_st_set_tensor weight,
                               struct uqff_st_set_tensor scale, struct uqff_error *err) {
    const struct uqff_st_tensor *w = weight.tensor, *s = scale.tensor;
    struct tensor *t = uqff_model_add_tensor(model, err);
    if (t == NULL) {
        return UQFF_E_MEMORY;
    }
    t->info.name = w->name;
    t->info.rank = w->rank;
    t->info.shape = w->shape;
    t->info.type = UQFF_TYPE_F32;
    t->stored_type = uqff_type_from_dtype(w->dtype);
    t->reading = READ_FP8;
    t->source = file_source(model, weight);
    t->offset = w->offset;
    t->scales.source = file_source(model, scale);
    t->scales.offset = s->offset;
    t->scales.type = uqff_type_from_dtype(s->dtype);
    const struct uqff_type_info *info = uqff_type_info(t->scales.type);
    if ((info->flags & UQFF_TYPE_CAN_DECODE) == 0 || info->block_length != 1 ||
        info->block_bytes > 8) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found dtype %s, expected a float for scales",
                         file_name(model, scale), s->name, uqff_dtype_name(s->dtype));
    }
    if (!place_scales(t, s)) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found %llu scales, expected one, one a row or one a "
                         "block of 128 by 128 of '%s'",
                         file_name(model, scale), s->name, (unsigned long long)product(s), w->name);
    }
    return uqff_model_finish_tensor(t, err);
}

/* ---- one tensor ------------------------------------------------------------------------------ */

static enum uqff_code add_plain(struct uqff_model *model, struct uqff_st_set_tensor entry,
                                struct uqff_error *err) {
    const struct uqff_st_tensor *st = entry.tensor;
    struct tensor *t = uqff_model_add_tensor(model, err);
    if (t == NULL) {
        return UQFF_E_MEMORY;
    }
    t->info.name = st->name;
    t->info.rank = st->rank;
    t->info.shape = st->shape;
    t->info.type = t->stored_type = uqff_type_from_dtype(st->dtype);
    t->info.bytes = st->bytes;
    t->source = file_source(model, entry);
    t->offset = st->offset;
    return uqff_model_finish_tensor(t, err);
}

/* True when the tensor only serves another, which takes it along. */
static bool is_companion(const struct uqff_model *model, const struct uqff_st_tensor *st) {
    struct uqff_st_set_tensor other, scale;
    size_t stem;
    if (ends_with(st->name, "_scales", &stem)) {
        return find_sibling(model, st->name, stem, "_blocks", &other) &&
               is_mxfp4_pair(other.tensor, st);
    }
    if (!ends_with(st->name, "_scale_inv", &stem) && !ends_with(st->name, "_scale", &stem)) {
        return false;
    }
    return find_sibling(model, st->name, stem, "", &other) && is_fp8(other.tensor->dtype) &&
           find_fp8_scale(model, other.tensor->name, &scale) && scale.tensor == st;
}

static enum uqff_code add_entry(struct uqff_model *model, struct uqff_st_set_tensor entry,
                                struct uqff_error *err) {
    const struct uqff_st_tensor *st = entry.tensor;
    struct uqff_st_set_tensor other;
    size_t stem;
    /* In a UQFF directory the container's weights win over those of the residual file. */
    if (is_companion(model, st) ||
        (model->container != NULL && uqff_model_container_has(model, st->name))) {
        return UQFF_OK;
    }
    if (ends_with(st->name, "_blocks", &stem) &&
        find_sibling(model, st->name, stem, "_scales", &other) && is_mxfp4_pair(st, other.tensor)) {
        return fold_mxfp4(model, entry, other, stem, err);
    }
    if (is_fp8(st->dtype) && find_fp8_scale(model, st->name, &other)) {
        return fold_fp8(model, entry, other, err);
    }
    return add_plain(model, entry, err);
}

enum uqff_code uqff_model_add_set(struct uqff_model *model, struct uqff_error *err) {
    size_t files = uqff_safetensors_set_file_count(model->set);
    size_t count = uqff_safetensors_set_count(model->set);
    for (size_t i = 0; i < files; i++) {
        struct uqff_source *source =
            uqff_safetensors_source(uqff_safetensors_set_file(model->set, i));
        enum uqff_code code = uqff_model_add_source(model, source, false, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    for (size_t i = 0; i < count; i++) {
        enum uqff_code code = add_entry(model, uqff_safetensors_set_tensor(model->set, i), err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_model_open_hf(struct uqff_model *model, const char *weights,
                                  struct uqff_error *err) {
    struct uqff_source *index = NULL;
    size_t stem;
    bool found;
    enum uqff_code code = uqff_safetensors_set_open(weights, &model->warner, &model->set, err);
    if (code == UQFF_OK && ends_with(weights, ".json", &stem)) {
        /* The index is an input too: it must not be overwritten, nor change meanwhile. */
        code = uqff_source_open(weights, &index, err);
        code = code != UQFF_OK ? code : uqff_model_add_source(model, index, true, err);
    }
    code = code != UQFF_OK ? code : uqff_model_load_config(model, &found, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (!found) {
        uqff_warn(&model->warner, "%s: no config.json beside the weights", model->path);
    }
    code = uqff_model_add_set(model, err);
    return code != UQFF_OK ? code : uqff_model_find_assets(model, err);
}
