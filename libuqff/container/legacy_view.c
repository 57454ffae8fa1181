/* A UQFF 0.x file seen as UQFF 1.2: headers are made, payloads stay where they are. Each shard is a
 * source whose bytes are those of the header and of ranges of the old files, so that everything
 * which reads UQFF 1.x reads this, and checks it too. */
#include <stdlib.h>
#include <string.h>

#include "container/legacy.h"

/* ---- a source made of pieces ----------------------------------------------------------------- */

struct piece {
    const unsigned char *memory; /* NULL: a range of `source` */
    struct uqff_source *source;
    uint64_t offset, bytes;
    uint64_t start; /* in the shard */
};

struct view {
    struct uqff_arena arena; /* of all below */
    struct piece *pieces;
    size_t count;
    uint64_t size;
};

static size_t find_piece(const struct view *view, uint64_t offset) {
    size_t low = 0, high = view->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (view->pieces[middle].start <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum uqff_code view_read(void *self, uint64_t offset, void *out, size_t n,
                                struct uqff_error *err) {
    const struct view *view = self;
    unsigned char *bytes = out;
    enum uqff_code code = UQFF_OK;
    for (size_t i = find_piece(view, offset); n > 0 && code == UQFF_OK; i++) {
        const struct piece *piece = &view->pieces[i];
        uint64_t within = offset - piece->start, left = piece->bytes - within;
        size_t take = n < left ? n : (size_t)left;
        if (piece->memory != NULL) {
            memcpy(bytes, piece->memory + within, take);
        } else {
            code = uqff_source_read(piece->source, piece->offset + within, bytes, take, err);
        }
        bytes += take;
        offset += take;
        n -= take;
    }
    return code;
}

static void view_close(void *self) {
    struct view *view = self;
    uqff_arena_free(&view->arena);
    uqff_free(view);
}

/* ---- entries --------------------------------------------------------------------------------- */

struct view_entry {
    const char *name;
    enum uqff_dtype dtype;
    unsigned rank;
    const uint64_t *shape;
    const struct piece *pieces;
    size_t piece_count;
    uint64_t bytes;
};

struct builder {
    const struct uqff_legacy *legacy;
    struct uqff_arena arena;
    struct view_entry *entries; /* in the order of modules; those of a module side by side */
    size_t count, capacity;
    struct uqff_error *err;
};

static enum uqff_code add_entry(struct builder *b, const char *module, const char *suffix,
                                struct view_entry entry) {
    entry.name = uqff_arena_printf(&b->arena, "%s%s", module, suffix);
    if (entry.name == NULL) {
        return uqff_fail_memory(b->err);
    }
    enum uqff_code code =
        uqff_grow((void **)&b->entries, &b->capacity, b->count + 1, sizeof entry, b->err);
    if (code == UQFF_OK) {
        b->entries[b->count++] = entry;
    }
    return code;
}

static enum uqff_code add_fixed(struct builder *b, const char *module, const char *suffix,
                                enum uqff_dtype dtype, unsigned rank, const uint64_t *shape,
                                const void *bytes, size_t n) {
    struct piece *piece = uqff_arena_alloc(&b->arena, sizeof *piece);
    unsigned char *memory = uqff_arena_alloc(&b->arena, n);
    if (piece == NULL || memory == NULL) {
        return uqff_fail_memory(b->err);
    }
    memcpy(memory, bytes, n);
    piece->memory = memory;
    piece->bytes = n;
    return add_entry(b, module, suffix,
                     (struct view_entry){.dtype = dtype,
                                         .rank = rank,
                                         .shape = shape,
                                         .pieces = piece,
                                         .piece_count = 1,
                                         .bytes = n});
}

static enum uqff_code add_u8(struct builder *b, const char *module, const char *suffix,
                             unsigned value) {
    unsigned char byte = (unsigned char)value;
    return add_fixed(b, module, suffix, UQFF_DTYPE_U8, 0, NULL, &byte, 1);
}

static enum uqff_code add_u32(struct builder *b, const char *module, const char *suffix,
                              uint32_t value) {
    unsigned char bytes[4];
    uqff_store_le32(bytes, value);
    return add_fixed(b, module, suffix, UQFF_DTYPE_U32, 0, NULL, bytes, sizeof bytes);
}

/* ---- several layers as one module ------------------------------------------------------------ */

static const struct uqff_legacy_layer *part(const struct builder *b,
                                            const struct uqff_legacy_module *module, size_t i) {
    return &b->legacy->layers[module->layers[i]];
}

/* The shape that equal parts have together: one dimension more, or their first ones summed. */
static const uint64_t *join_shapes(struct builder *b, const struct uqff_legacy_module *module,
                                   const uint64_t *shape, unsigned rank, uint64_t first,
                                   unsigned *joined_rank) {
    uint64_t *joined = uqff_arena_array(&b->arena, rank + 1, sizeof *joined);
    unsigned n = 0;
    if (joined == NULL) {
        return NULL;
    }
    if (module->stacked) {
        joined[n++] = module->layer_count;
    }
    for (unsigned i = 0; i < rank; i++) {
        joined[n++] = i == 0 && !module->stacked ? first : shape[i];
    }
    *joined_rank = n;
    return joined;
}

static bool same_but_first(const uint64_t *a, const uint64_t *b, unsigned rank, bool first_too) {
    for (unsigned i = first_too ? 0 : 1; i < rank; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

static enum uqff_code check_parts(const struct builder *b,
                                  const struct uqff_legacy_module *module) {
    const struct uqff_legacy_layer *first = part(b, module, 0);
    bool joins = first->format == UQFF_FORMAT_GGUF || first->format == UQFF_FORMAT_UNQUANT ||
                 first->format == UQFF_FORMAT_AFQ || first->format == UQFF_FORMAT_MXFP4;
    if (!joins && (module->layer_count > 1 || module->stacked)) {
        return uqff_fail(
            b->err, UQFF_E_TYPE, UQFF_NO_OFFSET,
            "%s: layers %zu to %zu are to be module '%s', but UQFF 1.2 has no stack of "
            "the format %s",
            uqff_source_name(first->weight.source), module->layers[0],
            module->layers[module->layer_count - 1], module->name, uqff_format_name(first->format));
    }
    for (size_t i = 1; i < module->layer_count; i++) {
        const struct uqff_legacy_layer *other = part(b, module, i);
        if (other->format != first->format || other->type != first->type ||
            other->bits != first->bits || other->group != first->group ||
            other->has_bias != first->has_bias || other->rank != first->rank ||
            other->scales.dtype != first->scales.dtype || other->bias.dtype != first->bias.dtype ||
            !same_but_first(other->shape, first->shape, first->rank, module->stacked)) {
            return uqff_fail(b->err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                             "%s: layers %zu and %zu are to be one module '%s', but differ in type "
                             "or shape",
                             uqff_source_name(first->weight.source), module->layers[0],
                             module->layers[i], module->name);
        }
    }
    return UQFF_OK;
}

typedef const struct uqff_legacy_tensor *pick(const struct uqff_legacy_layer *layer);

static const struct uqff_legacy_tensor *pick_weight(const struct uqff_legacy_layer *layer) {
    return &layer->weight;
}
static const struct uqff_legacy_tensor *pick_scales(const struct uqff_legacy_layer *layer) {
    return &layer->scales;
}
static const struct uqff_legacy_tensor *pick_zeros(const struct uqff_legacy_layer *layer) {
    return &layer->zeros;
}
static const struct uqff_legacy_tensor *pick_bias(const struct uqff_legacy_layer *layer) {
    return &layer->bias;
}

/* A tensor of every part, one behind the other. What is but bytes stays of rank 1. */
static enum uqff_code add_tensor(struct builder *b, const struct uqff_legacy_module *module,
                                 const char *suffix, pick *which) {
    const struct uqff_legacy_tensor *first = which(part(b, module, 0));
    struct piece *pieces = uqff_arena_array(&b->arena, module->layer_count, sizeof *pieces);
    struct view_entry entry = {
        .dtype = first->dtype, .pieces = pieces, .piece_count = module->layer_count};
    uint64_t rows = 0;
    if (pieces == NULL) {
        return uqff_fail_memory(b->err);
    }
    for (size_t i = 0; i < module->layer_count; i++) {
        const struct uqff_legacy_tensor *tensor = which(part(b, module, i));
        pieces[i] = (struct piece){
            .source = tensor->source, .offset = tensor->offset, .bytes = tensor->bytes};
        /* All bytes are present, so their number fits; dimensions are 32-bit numbers. */
        entry.bytes += tensor->bytes;
        rows += tensor->rank > 0 ? tensor->shape[0] : 1;
        if (tensor->rank != first->rank ||
            !same_but_first(tensor->shape, first->shape, first->rank, false)) {
            return uqff_fail(b->err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                             "%s: layer %zu: the shape of '%s%s' is not that of its neighbours",
                             uqff_source_name(tensor->source), module->layers[i], module->name,
                             suffix);
        }
    }
    bool raw = which == pick_weight && part(b, module, 0)->format == UQFF_FORMAT_GGUF;
    if (raw) {
        uint64_t *length = uqff_arena_array(&b->arena, 1, sizeof *length);
        if (length == NULL) {
            return uqff_fail_memory(b->err);
        }
        *length = entry.bytes;
        entry.rank = 1;
        entry.shape = length;
    } else {
        entry.shape = join_shapes(b, module, first->shape, first->rank, rows, &entry.rank);
        if (entry.shape == NULL) {
            return uqff_fail_memory(b->err);
        }
    }
    return add_entry(b, module->name, suffix, entry);
}

static enum uqff_code add_shape(struct builder *b, const struct uqff_legacy_module *module) {
    unsigned char bytes[4 * (UQFF_CONTAINER_MAX_RANK + 1)];
    const struct uqff_legacy_layer *first = part(b, module, 0);
    uint64_t rows = 0, *length = uqff_arena_array(&b->arena, 1, sizeof *length);
    unsigned rank = 0;
    for (size_t i = 0; i < module->layer_count; i++) {
        rows += part(b, module, i)->rank > 0 ? part(b, module, i)->shape[0] : 1;
    }
    const uint64_t *shape = join_shapes(b, module, first->shape, first->rank, rows, &rank);
    if (shape == NULL || length == NULL) {
        return uqff_fail_memory(b->err);
    }
    for (unsigned i = 0; i < rank; i++) {
        if (shape[i] > UINT32_MAX) {
            return uqff_fail(b->err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                             "module '%s': dimension %u does not fit 32 bits", module->name, i);
        }
        uqff_store_le32(bytes + 4 * (size_t)i, (uint32_t)shape[i]);
    }
    *length = rank;
    return add_fixed(b, module->name, ".weight.shape", UQFF_DTYPE_U32, 1, length, bytes,
                     4 * (size_t)rank);
}

/* ---- what each format has -------------------------------------------------------------------- */

static enum uqff_code add_hqq(struct builder *b, const struct uqff_legacy_module *module,
                              const struct uqff_legacy_layer *layer) {
    const char *name = module->name;
    enum uqff_code code = add_tensor(b, module, ".weight.scales", pick_scales);
    code = code != UQFF_OK ? code : add_tensor(b, module, ".weight.zeros", pick_zeros);
    code = code != UQFF_OK ? code : add_shape(b, module);
    code = code != UQFF_OK ? code : add_u8(b, name, ".weight.bits", layer->bits);
    code = code != UQFF_OK ? code : add_u32(b, name, ".weight.group_size", layer->group);
    code = code != UQFF_OK ? code : add_u8(b, name, ".weight.axis", layer->axis);
    code = code != UQFF_OK
               ? code
               : add_u32(b, name, ".weight.optimization_steps", layer->optimization_steps);
    code = code != UQFF_OK ? code : add_u8(b, name, ".weight.round_zeros", layer->round_zeros);
    return code != UQFF_OK ? code : add_u8(b, name, ".weight.channel_wise", layer->channel_wise);
}

static enum uqff_code add_fp8(struct builder *b, const struct uqff_legacy_module *module,
                              const struct uqff_legacy_layer *layer) {
    static const char *const suffixes[] = {".weight.dequant_w_scale", ".weight.dequant_x_scale",
                                           ".weight.quant_scale"};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < 3 && code == UQFF_OK; i++) {
        code = add_fixed(b, module->name, suffixes[i], UQFF_DTYPE_F32, 0, NULL,
                         layer->factors + 4 * i, 4);
    }
    return code != UQFF_OK ? code : add_u32(b, module->name, ".weight.dtype", layer->dtype_code);
}

static enum uqff_code add_sides(struct builder *b, const struct uqff_legacy_module *module,
                                const struct uqff_legacy_layer *layer) {
    enum uqff_code code;
    switch (layer->format) {
    case UQFF_FORMAT_GGUF:
        code = add_u32(b, module->name, ".weight.dtype", layer->type);
        return code != UQFF_OK ? code : add_shape(b, module);
    case UQFF_FORMAT_UNQUANT:
        return UQFF_OK;
    case UQFF_FORMAT_HQQ:
        return add_hqq(b, module, layer);
    case UQFF_FORMAT_FP8:
        return add_fp8(b, module, layer);
    case UQFF_FORMAT_AFQ:
        code = add_tensor(b, module, ".weight.scales", pick_scales);
        code = code != UQFF_OK ? code : add_tensor(b, module, ".weight.biases", pick_zeros);
        code = code != UQFF_OK ? code : add_u8(b, module->name, ".weight.bits", layer->bits);
        return code != UQFF_OK ? code : add_u8(b, module->name, ".weight.group_size", layer->group);
    case UQFF_FORMAT_F8Q8:
        code = add_u32(b, module->name, ".weight.num_blocks", layer->blocks);
        return code != UQFF_OK ? code : add_shape(b, module);
    case UQFF_FORMAT_MXFP4:
        break;
    }
    return add_tensor(b, module, ".weight.scales", pick_scales);
}

static enum uqff_code add_module(struct builder *b, const struct uqff_legacy_module *module) {
    enum uqff_code code = check_parts(b, module);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_legacy_layer *layer = part(b, module, 0);
    code = add_u8(b, module->name, ".weight.format", layer->format);
    code = code != UQFF_OK ? code : add_tensor(b, module, ".weight", pick_weight);
    code = code != UQFF_OK ? code : add_sides(b, module, layer);
    return code == UQFF_OK && layer->has_bias ? add_tensor(b, module, ".bias", pick_bias) : code;
}

static enum uqff_code add_versions(struct builder *b) {
    static const struct {
        const char *name;
        uint32_t value;
    } scalars[] = {{"uqff.version.major", 1}, {"uqff.version.minor", 2}, {"uqff.version.patch", 0}};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars && code == UQFF_OK; i++) {
        code = add_u32(b, scalars[i].name, "", scalars[i].value);
    }
    return code;
}

/* ---- shards ---------------------------------------------------------------------------------- */

/* As mistral.rs orders them: wide dtypes first, then by name. */
static int by_dtype_and_name(const void *a, const void *b) {
    const struct view_entry *x = a, *y = b;
    if (x->dtype != y->dtype) {
        return x->dtype > y->dtype ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static enum uqff_code lay_out(const struct view_entry *entries, size_t count,
                              struct uqff_st_layout *layout, struct uqff_buffer *header,
                              struct uqff_error *err) {
    static const char *const pairs[][2] = {
        {UQFF_KEY_PRODUCER, "uqff"},
        {UQFF_KEY_PRODUCER_VERSION, UQFF_VERSION},
        {UQFF_KEY_VERSION, "1.2.0"},
    };
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && code == UQFF_OK; i++) {
        code = uqff_st_layout_metadata(layout, pairs[i][0], pairs[i][1], err);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = uqff_st_layout_add(layout, entries[i].name, entries[i].dtype, entries[i].shape,
                                  entries[i].rank, NULL, err);
    }
    code = code != UQFF_OK ? code : uqff_st_layout_header(layout, 8, header, err);
    return code == UQFF_OK && header->failed ? uqff_fail_memory(err) : code;
}

/* Copies all that the source needs into its own memory. */
static enum uqff_code fill_view(struct view *view, const struct view_entry *entries, size_t count,
                                const struct uqff_buffer *header, struct uqff_error *err) {
    size_t pieces = 1;
    for (size_t i = 0; i < count; i++) {
        pieces += entries[i].piece_count;
    }
    view->pieces = uqff_arena_array(&view->arena, pieces, sizeof *view->pieces);
    unsigned char *head =
        (unsigned char *)uqff_arena_copy(&view->arena, header->data, header->size);
    if (view->pieces == NULL || head == NULL) {
        return uqff_fail_memory(err);
    }
    view->pieces[view->count++] = (struct piece){.memory = head, .bytes = header->size};
    view->size = header->size;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < entries[i].piece_count; k++) {
            struct piece *piece = &view->pieces[view->count++];
            *piece = entries[i].pieces[k];
            piece->start = view->size;
            view->size += piece->bytes;
            if (piece->memory != NULL) {
                piece->memory = (unsigned char *)uqff_arena_copy(&view->arena, piece->memory,
                                                                 (size_t)piece->bytes);
                if (piece->memory == NULL) {
                    return uqff_fail_memory(err);
                }
            }
        }
    }
    return UQFF_OK;
}

static enum uqff_code make_shard(struct view_entry *entries, size_t count, const char *name,
                                 struct uqff_source **out, struct uqff_error *err) {
    static const struct uqff_source_ops ops = {view_read, NULL, view_close};
    struct uqff_st_layout *layout = NULL;
    struct uqff_buffer header = {0};
    qsort(entries, count, sizeof *entries, by_dtype_and_name);
    struct view *view = uqff_alloc_array(1, sizeof *view);
    if (view == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_st_layout_new(&layout, err);
    code = code != UQFF_OK ? code : lay_out(entries, count, layout, &header, err);
    code = code != UQFF_OK ? code : fill_view(view, entries, count, &header, err);
    code = code != UQFF_OK ? code : uqff_source_new(&ops, view, view->size, name, out, err);
    if (code != UQFF_OK) {
        view_close(view);
    }
    uqff_buffer_free(&header);
    uqff_st_layout_free(layout);
    return code;
}

/* Where the entries of a module begin, in the list of all. */
struct cut {
    size_t first;
    uint64_t bytes; /* of all entries before */
};

struct shards {
    const char **names;
    struct uqff_source **sources;
    size_t count;
};

/* Shards are cut between modules, before one that would push the payload over mistral.rs's limit.
 */
static enum uqff_code make_shards(struct builder *b, const struct cut *cuts, size_t count,
                                  const char *stem, struct shards *out) {
    out->names = uqff_arena_array(&b->arena, count + 1, sizeof *out->names);
    out->sources = uqff_arena_array(&b->arena, count + 1, sizeof(void *));
    if (out->names == NULL || out->sources == NULL) {
        return uqff_fail_memory(b->err);
    }
    for (size_t i = 0, end; i < count; i = end) {
        uint64_t begin = i == 0 ? 0 : cuts[i].bytes;
        for (end = i + 1; end < count && cuts[end + 1].bytes - begin <= UQFF_CONTAINER_PLAIN_SHARD;
             end++) {
        }
        /* The version scalars stand before the first module. */
        size_t first = i == 0 ? 0 : cuts[i].first;
        char *name = uqff_arena_printf(&b->arena, "%s-%zu.uqff", stem, out->count);
        if (name == NULL) {
            return uqff_fail_memory(b->err);
        }
        out->names[out->count] = name;
        enum uqff_code code = make_shard(b->entries + first, cuts[end].first - first, name,
                                         &out->sources[out->count], b->err);
        if (code != UQFF_OK) {
            return code;
        }
        out->count++;
    }
    return UQFF_OK;
}

static int by_name(const void *a, const void *b) {
    const struct uqff_legacy_module *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static enum uqff_code add_modules(struct builder *b, const struct uqff_legacy_module *modules,
                                  size_t count, struct cut *cuts) {
    const struct uqff_legacy_module **sorted = uqff_alloc_array(count, sizeof *sorted);
    enum uqff_code code = sorted == NULL ? uqff_fail_memory(b->err) : add_versions(b);
    uint64_t bytes = 0;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        sorted[i] = &modules[i];
    }
    if (code == UQFF_OK && count > 1) {
        qsort(sorted, count, sizeof *sorted, by_name);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        size_t first = b->count;
        cuts[i] = (struct cut){first, bytes};
        code = add_module(b, sorted[i]);
        for (size_t k = first; k < b->count; k++) {
            bytes += b->entries[k].bytes;
        }
    }
    cuts[count] = (struct cut){b->count, bytes};
    uqff_free(sorted);
    return code;
}

enum uqff_code uqff_legacy_container(const struct uqff_legacy *legacy,
                                     const struct uqff_legacy_module *modules, size_t count,
                                     const char *stem, const struct uqff_warner *warner,
                                     struct uqff_container **out, struct uqff_error *err) {
    struct builder b = {.legacy = legacy, .err = err};
    struct shards shards = {NULL, NULL, 0};
    const struct uqff_container_options options = {.warner = warner};
    if (count == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "no module, expected at least one for the layers of a UQFF 0.x file");
    }
    struct cut *cuts = uqff_alloc_array(count + 1, sizeof *cuts);
    enum uqff_code code = cuts == NULL ? uqff_fail_memory(err) : UQFF_OK;
    code = code != UQFF_OK ? code : add_modules(&b, modules, count, cuts);
    code = code != UQFF_OK ? code : make_shards(&b, cuts, count, stem, &shards);
    code = code != UQFF_OK
               ? code
               : uqff_container_open_sources((const char *const *)shards.names, shards.sources,
                                             shards.count, &options, out, err);
    for (size_t i = 0; code != UQFF_OK && i < shards.count; i++) {
        uqff_source_close(shards.sources[i]);
    }
    uqff_free(cuts);
    uqff_free(b.entries);
    uqff_arena_free(&b.arena);
    return code;
}
