#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack/export.h"
#include "pack/rebuild.h"
#include "pack/run.h"
#include "pack/sidecars.h"

/* What one item fills: a tensor, or the experts of a stacked module one behind the other. */
enum piece_kind { PIECE_MODULE, PIECE_BIAS, PIECE_RESIDUAL };

struct piece {
    enum piece_kind kind;
    size_t index; /* of the module, or of the residual tensor among the tensors */
    uint32_t type;
    enum uqff_dtype dtype;
    uint64_t bytes;
    size_t shard;
    size_t order; /* among all pieces: model order */
    bool experts; /* one tensor an expert */
};

struct shard {
    const char *name;
    struct uqff_st_layout *layout;
    struct run_range *ranges;
    size_t count, first; /* pieces */
    struct run_tensors *tensors;
};

struct decoded {
    struct uqff_arena arena;
    const struct uqff_model *model;
    const struct uqff_export_options *options;
    const char *directory;
    uint32_t type;  /* what modules become, or most of them are */
    bool keep;      /* modules have the types that they have */
    bool from_gguf; /* where all that is no matrix is F32, whatever the checkpoint had */
    struct piece *pieces;
    size_t piece_count;
    struct shard *shards;
    size_t shard_count;
    struct pack_side *sides;
    size_t side_count;
    struct run_folder folder;
    struct slab_job *job;
};

/* ---- the type that weights become ------------------------------------------------------------ */

static const struct {
    const char *torch; /* as config.json has it */
    uint32_t type;
} float_types[] = {
    {"bfloat16", UQFF_TYPE_BF16},
    {"float16", UQFF_TYPE_F16},
    {"float32", UQFF_TYPE_F32},
};
enum { FLOAT_TYPES = sizeof float_types / sizeof float_types[0] };

static const char *torch_name(uint32_t type) {
    for (size_t i = 0; i < FLOAT_TYPES; i++) {
        if (float_types[i].type == type) {
            return float_types[i].torch;
        }
    }
    return NULL;
}

static enum uqff_code choose_type(struct decoded *decoded, struct uqff_error *err) {
    const struct uqff_type_info *dtype = decoded->options->dtype;
    uint32_t wanted = dtype != NULL ? dtype->id : UQFF_NO_TYPE;
    if (decoded->keep) {
        const char *name = NULL, *recipe = NULL;
        uqff_export_describe(decoded->model, &name, &recipe, &wanted);
    }
    if (wanted == UQFF_NO_TYPE) {
        const char *torch = uqff_model_config(decoded->model)->torch_dtype;
        wanted = UQFF_TYPE_BF16;
        for (size_t i = 0; i < FLOAT_TYPES; i++) {
            if (torch != NULL && strcmp(float_types[i].torch, torch) == 0) {
                wanted = float_types[i].type;
            }
        }
    }
    if (torch_name(wanted) == NULL) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "found type %s for decoded weights, expected F32, F16 or BF16",
                         uqff_type_name(wanted));
    }
    decoded->type = wanted;
    return UQFF_OK;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static enum uqff_code add_piece(struct decoded *decoded, enum piece_kind kind, size_t index,
                                uint32_t type, const uint64_t *shape, unsigned rank,
                                struct uqff_error *err) {
    struct piece piece = {
        .kind = kind, .index = index, .type = type, .order = decoded->piece_count};
    if (!uqff_type_to_dtype(type, &piece.dtype)) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "%s: a tensor of type %s cannot stand in safetensors",
                         uqff_model_path(decoded->model), uqff_type_name(type));
    }
    enum uqff_code code = uqff_dtype_bytes(piece.dtype, shape, rank, &piece.bytes, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (kind != PIECE_RESIDUAL) {
        char name[8];
        const struct uqff_model_module *module = uqff_model_module(decoded->model, index);
        piece.experts =
            module->rank == 3 && uqff_arch_expert_name(uqff_model_arch(decoded->model),
                                                       module->name, 0, name, sizeof name) > 0;
    }
    decoded->pieces[decoded->piece_count++] = piece;
    return UQFF_OK;
}

/* Whether every value of a tensor of floats is one that `type` has. */
static enum uqff_code survives(const struct decoded *decoded, size_t index, uint32_t type,
                               bool *out, struct uqff_error *err) {
    enum { PIECE = 4096 };
    const struct uqff_tensor *tensor = uqff_model_tensor(decoded->model, index);
    unsigned char raw[PIECE * sizeof(float)], narrow[PIECE * sizeof(float)];
    float values[PIECE], again[PIECE];
    *out = true;
    for (uint64_t done = 0; done < tensor->elements && *out; done += PIECE) {
        size_t n = tensor->elements - done < PIECE ? (size_t)(tensor->elements - done) : PIECE;
        enum uqff_code code = uqff_model_read(decoded->model, index, done * sizeof(float), raw,
                                              n * sizeof(float), err);
        if (code == UQFF_OK) {
            code = uqff_dequantize_row(UQFF_TYPE_F32, raw, values, n, err);
        }
        if (code == UQFF_OK && uqff_find_nonfinite(values, n) < n) {
            *out = false;
            return UQFF_OK;
        }
        if (code == UQFF_OK) {
            code = uqff_quantize_row(type, values, narrow, n, NULL, err);
        }
        if (code == UQFF_OK) {
            code = uqff_dequantize_row(type, narrow, again, n, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
        *out = memcmp(values, again, n * sizeof *values) == 0;
    }
    return UQFF_OK;
}

/* A GGUF has norms, routers and biases as F32. They become what the weights are where that loses
 * nothing: so they come back as the checkpoint had them. */
static enum uqff_code choose_residual(const struct decoded *decoded, size_t index, uint32_t *type,
                                      struct uqff_error *err) {
    const struct uqff_tensor *tensor = uqff_model_tensor(decoded->model, index);
    bool fits = false;
    *type = tensor->type;
    if (!decoded->from_gguf || tensor->type != UQFF_TYPE_F32 || decoded->type == UQFF_TYPE_F32) {
        return UQFF_OK;
    }
    enum uqff_code code = survives(decoded, index, decoded->type, &fits, err);
    *type = fits ? decoded->type : tensor->type;
    return code;
}

static enum uqff_code choose_bias(const struct decoded *decoded, size_t index, uint32_t *type,
                                  struct uqff_error *err) {
    if (decoded->keep) {
        return choose_residual(decoded, index, type, err);
    }
    *type = decoded->type;
    return UQFF_OK;
}

/* Factors of the rotation: config.json has them. */
static bool is_made(const char *name) {
    static const char *const made[] = {"model.rope_freqs.weight", "model.rope_factors_long.weight",
                                       "model.rope_factors_short.weight"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        if (strcmp(name, made[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool was_gguf(const struct uqff_model *model) {
    for (size_t i = 0; i < uqff_model_asset_count(model); i++) {
        if (strcmp(uqff_model_asset_path(model, i), REBUILD_METADATA) == 0) {
            return true;
        }
    }
    return false;
}

/* Residual tensors first, then the modules, each with its bias. */
static enum uqff_code list_pieces(struct decoded *decoded, struct uqff_error *err) {
    const struct uqff_model *model = decoded->model;
    size_t modules = uqff_model_module_count(model), residual = uqff_model_residual_count(model);
    decoded->pieces =
        uqff_arena_array(&decoded->arena, 2 * modules + residual, sizeof *decoded->pieces);
    enum uqff_code code = decoded->pieces == NULL ? uqff_fail_memory(err) : UQFF_OK;
    for (size_t i = 0; i < residual && code == UQFF_OK; i++) {
        size_t index = uqff_model_residual(model, i);
        const struct uqff_tensor *tensor = uqff_model_tensor(model, index);
        uint32_t type = 0;
        if (decoded->from_gguf && is_made(tensor->hf_name)) {
            continue;
        }
        code = choose_residual(decoded, index, &type, err);
        if (code == UQFF_OK) {
            code =
                add_piece(decoded, PIECE_RESIDUAL, index, type, tensor->shape, tensor->rank, err);
        }
    }
    for (size_t i = 0; i < modules && code == UQFF_OK; i++) {
        const struct uqff_model_module *module = uqff_model_module(model, i);
        uint32_t type = decoded->keep ? module->type : decoded->type;
        code = add_piece(decoded, PIECE_MODULE, i, type, module->shape, module->rank, err);
        if (code == UQFF_OK && module->bias != UQFF_NONE) {
            code = choose_bias(decoded, module->bias, &type, err);
            if (code == UQFF_OK) {
                code =
                    add_piece(decoded, PIECE_BIAS, i, type, module->shape, module->rank - 1, err);
            }
        }
    }
    return code;
}

/* Within a shard wide types come first, which puts every tensor on its natural alignment. */
static int by_shard_and_dtype(const void *a, const void *b) {
    const struct piece *left = a, *right = b;
    if (left->shard != right->shard) {
        return left->shard < right->shard ? -1 : 1;
    }
    if (left->dtype != right->dtype) {
        return left->dtype > right->dtype ? -1 : 1;
    }
    return left->order < right->order ? -1 : 1;
}

static enum uqff_code cut_shards(struct decoded *decoded, struct uqff_error *err) {
    uint64_t limit = decoded->options->max_shard, used = 0;
    size_t shard = 0;
    for (size_t i = 0; i < decoded->piece_count; i++) {
        struct piece *piece = &decoded->pieces[i];
        if (limit > 0 && used > 0 && (piece->bytes > limit || used > limit - piece->bytes)) {
            shard++;
            used = 0;
        }
        piece->shard = shard;
        used += piece->bytes;
    }
    qsort(decoded->pieces, decoded->piece_count, sizeof *decoded->pieces, by_shard_and_dtype);
    decoded->shards = uqff_arena_array(&decoded->arena, shard + 1, sizeof *decoded->shards);
    if (decoded->shards == NULL) {
        return uqff_fail_memory(err);
    }
    decoded->shard_count = shard + 1;
    for (size_t i = 0; i < decoded->shard_count; i++) {
        decoded->shards[i].name =
            decoded->shard_count == 1
                ? "model.safetensors"
                : uqff_arena_printf(&decoded->arena, "model-%05zu-of-%05zu.safetensors", i + 1,
                                    decoded->shard_count);
        if (decoded->shards[i].name == NULL) {
            return uqff_fail_memory(err);
        }
    }
    for (size_t i = 0; i < decoded->piece_count; i++) {
        struct shard *owner = &decoded->shards[decoded->pieces[i].shard];
        owner->first = owner->count == 0 ? i : owner->first;
        owner->count++;
    }
    return UQFF_OK;
}

/* ---- side files ------------------------------------------------------------------------------ */

/* A checkpoint has none of a GGUF's keys; there is room for one more file, the index. */
static enum uqff_code list_sides(struct decoded *decoded, struct uqff_error *err) {
    size_t count = 0;
    enum uqff_code code =
        uqff_rebuild_sides(decoded->model, decoded->options->warner, 1, &decoded->arena,
                           &decoded->sides, &decoded->side_count, err);
    for (size_t i = 0; code == UQFF_OK && i < decoded->side_count; i++) {
        if (strcmp(decoded->sides[i].name, REBUILD_METADATA) != 0) {
            decoded->sides[count++] = decoded->sides[i];
        }
    }
    decoded->side_count = count;
    return code != UQFF_OK ? code
                           : uqff_sidecars_render(decoded->model, torch_name(decoded->type),
                                                  &decoded->arena, decoded->sides, count, err);
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* A name for weight_map. */
struct mapped {
    const char *name;
    const char *file;
};

struct names {
    struct mapped *items;
    size_t count, capacity;
    uint64_t bytes; /* of all tensors */
};

static enum uqff_code lay_tensor(struct shard *shard, const char *name, enum uqff_dtype dtype,
                                 const uint64_t *shape, unsigned rank, uint64_t *offset,
                                 struct names *names, struct uqff_error *err) {
    enum uqff_code code = name == NULL ? uqff_fail_memory(err) : UQFF_OK;
    if (code == UQFF_OK) {
        code = uqff_grow((void **)&names->items, &names->capacity, names->count + 1,
                         sizeof *names->items, err);
    }
    if (code == UQFF_OK) {
        names->items[names->count++] = (struct mapped){name, shard->name};
        code = uqff_st_layout_add(shard->layout, name, dtype, shape, rank, offset, err);
        if (code != UQFF_OK) {
            uqff_error_prefix(err, "%s", shard->name);
        }
    }
    return code;
}

/* One tensor an expert, under the names of the checkpoint; their bytes lie as the module's do. */
static enum uqff_code lay_experts(struct decoded *decoded, struct shard *shard,
                                  const struct piece *piece, uint64_t *offset, struct names *names,
                                  struct uqff_error *err) {
    const struct uqff_arch *arch = uqff_model_arch(decoded->model);
    const struct uqff_model_module *module = uqff_model_module(decoded->model, piece->index);
    unsigned rank = piece->kind == PIECE_BIAS ? 1 : 2;
    enum uqff_code code = UQFF_OK;
    for (uint64_t i = 0; i < module->shape[0] && code == UQFF_OK; i++) {
        size_t length = uqff_arch_expert_name(arch, module->name, i, NULL, 0);
        char *base = uqff_alloc(length + 1);
        if (base == NULL) {
            return uqff_fail_memory(err);
        }
        uqff_arch_expert_name(arch, module->name, i, base, length + 1);
        char *name = uqff_arena_printf(&decoded->arena, "%s.%s", base,
                                       piece->kind == PIECE_BIAS ? "bias" : "weight");
        uqff_free(base);
        code = lay_tensor(shard, name, piece->dtype, module->shape + 1, rank,
                          i == 0 ? offset : NULL, names, err);
    }
    return code;
}

static enum uqff_code lay_piece(struct decoded *decoded, struct shard *shard,
                                const struct piece *piece, struct run_range *range,
                                struct names *names, struct uqff_error *err) {
    range->bytes = piece->bytes;
    names->bytes += piece->bytes;
    if (piece->experts) {
        return lay_experts(decoded, shard, piece, &range->offset, names, err);
    }
    if (piece->kind == PIECE_RESIDUAL) {
        const struct uqff_tensor *tensor = uqff_model_tensor(decoded->model, piece->index);
        const char *name = tensor->hf_name != NULL ? tensor->hf_name : tensor->name;
        return lay_tensor(shard, name, piece->dtype, tensor->shape, tensor->rank, &range->offset,
                          names, err);
    }
    const struct uqff_model_module *module = uqff_model_module(decoded->model, piece->index);
    bool bias = piece->kind == PIECE_BIAS;
    char *name =
        uqff_arena_printf(&decoded->arena, "%s.%s", module->name, bias ? "bias" : "weight");
    return lay_tensor(shard, name, piece->dtype, module->shape,
                      bias ? module->rank - 1 : module->rank, &range->offset, names, err);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct mapped *)a)->name, ((const struct mapped *)b)->name);
}

static enum uqff_code render_index(struct decoded *decoded, struct names *names,
                                   struct uqff_error *err) {
    struct uqff_buffer buffer = {0};
    qsort(names->items, names->count, sizeof *names->items, by_name);
    uqff_buffer_printf(&buffer, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n",
                       names->bytes);
    uqff_buffer_printf(&buffer, "  \"weight_map\": {");
    for (size_t i = 0; i < names->count; i++) {
        uqff_buffer_printf(&buffer, "%s\n    ", i == 0 ? "" : ",");
        uqff_buffer_json_string(&buffer, names->items[i].name, strlen(names->items[i].name));
        uqff_buffer_printf(&buffer, ": \"%s\"", names->items[i].file);
    }
    uqff_buffer_printf(&buffer, "\n  }\n}\n");
    struct pack_side *side = &decoded->sides[decoded->side_count++];
    *side = (struct pack_side){
        .name = "model.safetensors.index.json",
        .bytes = buffer.size,
        .content =
            buffer.failed ? NULL : uqff_arena_copy(&decoded->arena, buffer.data, buffer.size),
    };
    uqff_buffer_free(&buffer);
    return side->content == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

static enum uqff_code lay_out(struct decoded *decoded, struct uqff_error *err) {
    struct names names = {0};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < decoded->shard_count && code == UQFF_OK; i++) {
        struct shard *shard = &decoded->shards[i];
        shard->ranges = uqff_arena_array(&decoded->arena, shard->count, sizeof *shard->ranges);
        if (shard->ranges == NULL) {
            code = uqff_fail_memory(err);
            break;
        }
        code = uqff_st_layout_new(&shard->layout, err);
        if (code == UQFF_OK) {
            /* Loaders of checkpoints look for it. */
            code = uqff_st_layout_metadata(shard->layout, "format", "pt", err);
        }
        for (size_t k = 0; k < shard->count && code == UQFF_OK; k++) {
            code = lay_piece(decoded, shard, &decoded->pieces[shard->first + k], &shard->ranges[k],
                             &names, err);
        }
    }
    if (code == UQFF_OK && decoded->shard_count > 1) {
        code = render_index(decoded, &names, err);
    }
    uqff_free(names.items);
    return code;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum uqff_code check_paths(const struct decoded *decoded, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    size_t count = decoded->shard_count + decoded->side_count;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        const char *name = i < decoded->shard_count ? decoded->shards[i].name
                                                    : decoded->sides[i - decoded->shard_count].name;
        char *path = uqff_path_join(decoded->directory, name);
        code = path == NULL
                   ? uqff_fail_memory(err)
                   : uqff_pack_check_path(decoded->model, path, decoded->options->overwrite, err);
        uqff_free(path);
    }
    return code;
}

static enum uqff_code open_shard(struct decoded *decoded, struct shard *shard,
                                 struct uqff_error *err) {
    char *path = uqff_path_join(decoded->directory, shard->name);
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_run_tensors_new(path, shard->layout, shard->ranges, shard->count, 8,
                                               decoded->options->overwrite, &shard->tensors, err);
    uqff_free(path);
    return code;
}

static enum uqff_code attach_piece(struct decoded *decoded, const struct shard *shard, size_t index,
                                   struct uqff_error *err) {
    const struct piece *piece = &decoded->pieces[shard->first + index];
    struct slab_target target = {uqff_run_tensors_append, shard->tensors, index};
    switch (piece->kind) {
    case PIECE_MODULE:
        return uqff_slab_job_module(decoded->job, piece->index, piece->type, &target, err);
    case PIECE_BIAS:
        return uqff_slab_job_bias(decoded->job, piece->index, piece->type, &target, err);
    case PIECE_RESIDUAL:
        break;
    }
    return piece->type == uqff_model_tensor(decoded->model, piece->index)->type
               ? uqff_slab_job_tensor(decoded->job, piece->index, &target, err)
               : uqff_slab_job_floats(decoded->job, piece->index, piece->type, &target, err);
}

static enum uqff_code fill(struct decoded *decoded, const struct uqff_progress *progress,
                           struct uqff_error *err) {
    struct slab_options options = {
        .memory = decoded->options->memory,
        .threads = decoded->options->threads,
        .stage = "export",
        .warner = decoded->options->warner,
    };
    enum uqff_code code = uqff_slab_job_new(decoded->model, false, &decoded->job, err);
    for (size_t i = 0; i < decoded->shard_count && code == UQFF_OK; i++) {
        code = open_shard(decoded, &decoded->shards[i], err);
        for (size_t k = 0; k < decoded->shards[i].count && code == UQFF_OK; k++) {
            code = attach_piece(decoded, &decoded->shards[i], k, err);
        }
    }
    for (size_t i = 0; i < decoded->side_count && code == UQFF_OK; i++) {
        code = uqff_run_folder_side(&decoded->folder, decoded->model, decoded->directory,
                                    &decoded->sides[i], decoded->options->overwrite, err);
    }
    if (code == UQFF_OK) {
        code = uqff_slab_job_run(decoded->job, &options, progress, err);
    }
    for (size_t i = 0; i < decoded->shard_count && code == UQFF_OK; i++) {
        code = uqff_run_tensors_finish(decoded->shards[i].tensors, err);
    }
    return code == UQFF_OK ? uqff_model_unchanged(decoded->model, err) : code;
}

/* Side files first: a folder without its shards does not look finished. */
static enum uqff_code publish(struct decoded *decoded, struct uqff_error *err) {
    enum uqff_code code = uqff_run_folder_publish(&decoded->folder, err);
    for (size_t i = 0; i < decoded->shard_count && code == UQFF_OK; i++) {
        struct shard *shard = &decoded->shards[i];
        code = uqff_run_folder_expect(&decoded->folder, uqff_run_tensors_path(shard->tensors), err);
        if (code == UQFF_OK) {
            code = uqff_run_tensors_publish(shard->tensors, err);
        }
    }
    return code;
}

enum uqff_code uqff_export_decoded(const struct uqff_model *model, const char *directory, bool keep,
                                   const struct uqff_export_options *options,
                                   const struct uqff_progress *progress, struct uqff_error *err) {
    struct decoded decoded = {
        .model = model,
        .options = options,
        .directory = directory,
        .keep = keep,
        .from_gguf = was_gguf(model),
    };
    enum uqff_code code = choose_type(&decoded, err);
    if (code == UQFF_OK) {
        code = list_pieces(&decoded, err);
    }
    if (code == UQFF_OK) {
        code = cut_shards(&decoded, err);
    }
    if (code == UQFF_OK) {
        code = list_sides(&decoded, err);
    }
    if (code == UQFF_OK) {
        code = lay_out(&decoded, err);
    }
    if (code == UQFF_OK) {
        code = check_paths(&decoded, err);
    }
    if (code == UQFF_OK) {
        code = uqff_run_folder_make(&decoded.folder, directory, err);
    }
    if (code == UQFF_OK) {
        code = fill(&decoded, progress, err);
    }
    if (code == UQFF_OK) {
        code = publish(&decoded, err);
    }
    uqff_slab_job_free(decoded.job);
    for (size_t i = 0; i < decoded.shard_count; i++) {
        uqff_run_tensors_free(decoded.shards[i].tensors);
        uqff_st_layout_free(decoded.shards[i].layout);
    }
    uqff_run_folder_close(&decoded.folder, code == UQFF_OK);
    uqff_arena_free(&decoded.arena);
    return code;
}
