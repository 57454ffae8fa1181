/* The entries that a spec leads to, and which shard each is in. Their order inside a shard is
 * layout.c's business. */
#include <stdlib.h>
#include <string.h>

#include "container/internal.h"

struct builder {
    struct uqff_container_plan *plan;
    const struct uqff_container_spec *spec;
    struct uqff_error *err;
    size_t shard;
    uint64_t limit; /* of a shard file, UINT64_MAX: none; plain: of its payload */
    /* What the shard at hand is reckoned to take so far. */
    uint64_t header, data;
    bool has_unit;
};

/* ---- single entries -------------------------------------------------------------------------- */

static enum uqff_code no_memory(const struct builder *b) {
    return uqff_fail_memory(b->err);
}

/* An item whose name is a text and a suffix; false: no memory. */
static bool make_item(const struct builder *b, struct uqff_plan_item *item,
                      enum uqff_plan_kind kind, enum uqff_plan_class class, const char *name,
                      const char *suffix, size_t index) {
    *item = (struct uqff_plan_item){.class = class, .dtype = UQFF_DTYPE_U8};
    item->entry.kind = kind;
    item->entry.index = index;
    item->entry.type = UQFF_TYPE_U8;
    bool marked = strchr(suffix, '@') != NULL;
    item->entry.name = marked ? uqff_container_name_encode(&b->plan->arena, name, suffix)
                              : uqff_arena_printf(&b->plan->arena, "%s%s", name, suffix);
    return item->entry.name != NULL;
}

static bool set_array(const struct builder *b, struct uqff_plan_item *item, uint64_t length) {
    uint64_t *shape = uqff_arena_array(&b->plan->arena, 1, sizeof *shape);
    if (shape == NULL) {
        return false;
    }
    shape[0] = length;
    item->rank = 1;
    item->shape = shape;
    return true;
}

static bool set_u32(const struct builder *b, struct uqff_plan_item *item, const uint64_t *values,
                    unsigned n) {
    unsigned char *bytes = uqff_arena_alloc(&b->plan->arena, 4 * (size_t)n);
    if (bytes == NULL) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        uqff_store_le32(bytes + 4 * (size_t)i, (uint32_t)values[i]);
    }
    item->dtype = UQFF_DTYPE_U32;
    item->entry.type = UQFF_TYPE_U32;
    item->fixed = bytes;
    return true;
}

/* A U32 scalar. */
static bool make_scalar(const struct builder *b, struct uqff_plan_item *item,
                        enum uqff_plan_class class, const char *name, const char *suffix,
                        size_t index, uint32_t value) {
    uint64_t wide = value;
    return make_item(b, item, UQFF_PLAN_FIXED, class, name, suffix, index) &&
           set_u32(b, item, &wide, 1);
}

static bool make_shape(const struct builder *b, struct uqff_plan_item *item, const char *suffix,
                       size_t m) {
    const struct uqff_spec_module *module = &b->spec->modules[m];
    return make_item(b, item, UQFF_PLAN_FIXED, UQFF_CLASS_SIDE_U32, module->name, suffix, m) &&
           set_u32(b, item, module->shape, module->rank) && set_array(b, item, module->rank);
}

static bool make_format(const struct builder *b, struct uqff_plan_item *item, size_t m,
                        enum uqff_format format) {
    static const unsigned char values[] = {
        [UQFF_FORMAT_GGUF] = UQFF_FORMAT_GGUF,
        [UQFF_FORMAT_UNQUANT] = UQFF_FORMAT_UNQUANT,
        [UQFF_FORMAT_MXFP4] = UQFF_FORMAT_MXFP4,
    };
    if (!make_item(b, item, UQFF_PLAN_FIXED, UQFF_CLASS_SIDE_U8, b->spec->modules[m].name,
                   ".weight.format", m)) {
        return false;
    }
    item->fixed = &values[format];
    return true;
}

/* A float tensor in its own dtype and shape. */
static void set_tensor(struct uqff_plan_item *item, uint32_t type, unsigned rank,
                       const uint64_t *shape) {
    item->entry.type = type;
    (void)uqff_type_to_dtype(type, &item->dtype);
    item->rank = rank;
    item->shape = shape;
}

static bool make_bias(const struct builder *b, struct uqff_plan_item *item, size_t m,
                      uint32_t weight_type) {
    const struct uqff_spec_module *module = &b->spec->modules[m];
    if (!make_item(b, item, UQFF_PLAN_BIAS, UQFF_CLASS_BIAS, module->name, ".bias", m)) {
        return false;
    }
    /* As mistral.rs has it: F32 beside blocks, the weight's type beside floats. */
    uint32_t type = uqff_container_type_is_float(weight_type) ? weight_type : UQFF_TYPE_F32;
    if (!b->plan->multi && weight_type == UQFF_TYPE_MXFP4) {
        type = UQFF_TYPE_BF16;
    }
    set_tensor(item, type, module->rank - 1, module->shape);
    return true;
}

static bool make_blob(const struct builder *b, struct uqff_plan_item *item, size_t m, uint32_t type,
                      bool canonical) {
    const struct uqff_spec_module *module = &b->spec->modules[m];
    const char *suffix = ".weight";
    char text[64] = "@uqff.";
    if (!canonical) {
        strncat(text, uqff_type_label(type), sizeof text - strlen(text) - 1);
        suffix = text;
    }
    if (!make_item(b, item, UQFF_PLAN_BLOB, UQFF_CLASS_BLOB, module->name, suffix, m)) {
        return false;
    }
    if (uqff_container_type_is_float(type)) {
        set_tensor(item, type, module->rank, module->shape);
        return true;
    }
    uint64_t bytes;
    item->entry.type = type;
    /* Cannot fail: the spec has been checked. */
    return uqff_tensor_bytes(type, module->shape, module->rank, &bytes, NULL) == UQFF_OK &&
           set_array(b, item, bytes);
}

static enum uqff_code set_bytes(const struct builder *b, struct uqff_plan_item *item) {
    enum uqff_code code =
        uqff_dtype_bytes(item->dtype, item->shape, item->rank, &item->entry.bytes, b->err);
    if (code != UQFF_OK) {
        uqff_error_prefix(b->err, "'%s'", item->entry.name);
    }
    return code;
}

/* ---- shards of a multi-quant file ------------------------------------------------------------ */

/*
 * What an entry is reckoned to take, never less than it does:
 *
 *   header   ,"NAME":{"dtype":"F8_E4M3FNUZ","shape":[…],"data_offsets":[20 digits,20 digits]}
 *            97 bytes without the name and the dimensions of at most 20 digits
 *   data     its bytes, and 16 in the table of digests
 *
 * An entry behind which padding may follow bears that, too: a blob or residual tensor that does not
 * end on the alignment, and a bias, whose dtype need not be the next one's.
 */
static void reckon(const struct builder *b, const struct uqff_plan_item *item, uint64_t *header,
                   uint64_t *data) {
    uint64_t alignment = b->plan->alignment, bytes = item->entry.bytes, more = 16;
    bool aligned = item->class == UQFF_CLASS_BLOB || item->class == UQFF_CLASS_RESIDUAL;
    *header += 100 + uqff_container_json_bytes(item->entry.name) + 21 * (uint64_t)item->rank;
    if (item->class == UQFF_CLASS_BIAS || (aligned && bytes % alignment != 0)) {
        *header += 150;
        more += 16 + alignment;
    }
    if (!uqff_add_u64(*data, more, data) || !uqff_add_u64(*data, bytes, data)) {
        *data = UINT64_MAX; /* the layout fails */
    }
}

/* The fixed parts of a shard: length, version scalars, digests, and three paddings. */
static void start_shard(struct builder *b) {
    size_t metadata = b->shard == 0 ? b->plan->metadata_count : 3;
    b->header = 4096;
    b->data = 4 * (uint64_t)b->plan->alignment;
    b->has_unit = false;
    for (size_t i = 0; i < metadata; i++) {
        b->header += uqff_container_json_bytes(b->plan->metadata[i].key) +
                     uqff_container_json_bytes(b->plan->metadata[i].value) + 2;
    }
}

/* Adds items that must lie in one shard, in a new one if they would make this one too large. */
static enum uqff_code place(struct builder *b, struct uqff_plan_item *items, size_t count) {
    uint64_t header = b->header, data = b->data, total;
    for (size_t i = 0; i < count; i++) {
        enum uqff_code code = set_bytes(b, &items[i]);
        if (code != UQFF_OK) {
            return code;
        }
        reckon(b, &items[i], &header, &data);
    }
    bool fits = header <= UQFF_CONTAINER_MAX_HEADER && uqff_add_u64(header, data, &total) &&
                total <= b->limit;
    if (!fits && b->has_unit) {
        b->shard++;
        start_shard(b);
        header = b->header;
        data = b->data;
        for (size_t i = 0; i < count; i++) {
            reckon(b, &items[i], &header, &data);
        }
    }
    b->header = header;
    b->data = data;
    b->has_unit = true;
    for (size_t i = 0; i < count; i++) {
        items[i].entry.shard = b->shard;
        enum uqff_code code = uqff_container_plan_add(b->plan, &items[i], b->err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

static enum uqff_code add_versions(struct builder *b) {
    static const struct {
        const char *name;
        uint32_t value;
    } scalars[] = {{"uqff.version.major", 1}, {"uqff.version.minor", 2}, {"uqff.version.patch", 0}};
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
        struct uqff_plan_item item;
        enum uqff_code code;
        if (!make_scalar(b, &item, UQFF_CLASS_VERSION, scalars[i].name, "", i, scalars[i].value)) {
            return no_memory(b);
        }
        if ((code = set_bytes(b, &item)) != UQFF_OK ||
            (code = uqff_container_plan_add(b->plan, &item, b->err)) != UQFF_OK) {
            return code;
        }
    }
    return UQFF_OK;
}

static int compare_residual(const void *left, const void *right) {
    const struct uqff_plan_item *a = left, *b = right;
    unsigned x = uqff_dtype_bits(a->dtype), y = uqff_dtype_bits(b->dtype);
    if (x != y) {
        return x > y ? -1 : 1;
    }
    return strcmp(a->entry.name, b->entry.name);
}

static bool keeps_bias(const struct uqff_container_spec *spec, size_t m) {
    const struct uqff_spec_module *module = &spec->modules[m];
    return module->has_bias && (module->bias_kept_exactly || spec->default_variant == UQFF_NONE);
}

static enum uqff_code add_residual(struct builder *b) {
    const struct uqff_container_spec *spec = b->spec;
    size_t count = spec->residual_count;
    for (size_t m = 0; m < spec->module_count; m++) {
        count += keeps_bias(spec, m);
    }
    struct uqff_plan_item *items = uqff_alloc_array(count + 1, sizeof *items);
    if (items == NULL) {
        return no_memory(b);
    }
    enum uqff_code code = UQFF_OK;
    size_t n = 0;
    for (; n < spec->residual_count; n++) {
        const struct uqff_spec_tensor *tensor = &spec->residual[n];
        if (!make_item(b, &items[n], UQFF_PLAN_RESIDUAL, UQFF_CLASS_RESIDUAL, tensor->name,
                       "@uqff.residual", n)) {
            code = no_memory(b);
            goto out;
        }
        set_tensor(&items[n], tensor->type, tensor->rank, tensor->shape);
    }
    for (size_t m = 0; m < spec->module_count; m++) {
        const struct uqff_spec_module *module = &spec->modules[m];
        if (!keeps_bias(spec, m)) {
            continue;
        }
        char *name = uqff_arena_printf(&b->plan->arena, "%s.bias", module->name);
        if (name == NULL || !make_item(b, &items[n], UQFF_PLAN_RESIDUAL_BIAS, UQFF_CLASS_RESIDUAL,
                                       name, "@uqff.residual", m)) {
            code = no_memory(b);
            goto out;
        }
        set_tensor(&items[n++], module->bias_type, module->rank - 1, module->shape);
    }
    if (count > 1) {
        qsort(items, count, sizeof *items, compare_residual);
    }
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        code = place(b, &items[i], 1);
    }
out:
    uqff_free(items);
    return code;
}

static int compare_assets(const void *left, const void *right) {
    const struct uqff_spec_asset *const *a = left, *const *b = right;
    return strcmp((*a)->path, (*b)->path);
}

static enum uqff_code add_assets(struct builder *b) {
    size_t count = b->spec->asset_count;
    const struct uqff_spec_asset **sorted = uqff_alloc_array(count + 1, sizeof *sorted);
    if (sorted == NULL) {
        return no_memory(b);
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &b->spec->assets[i];
    }
    if (count > 1) {
        qsort(sorted, count, sizeof *sorted, compare_assets);
    }
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        struct uqff_plan_item item;
        if (!make_item(b, &item, UQFF_PLAN_ASSET, UQFF_CLASS_ASSET, sorted[i]->path,
                       sorted[i]->compressed ? "@uqff.asset.zlib" : "@uqff.asset",
                       (size_t)(sorted[i] - b->spec->assets)) ||
            !set_array(b, &item, sorted[i]->size)) {
            code = no_memory(b);
        } else {
            code = place(b, &item, 1);
        }
    }
    uqff_free(sorted);
    return code;
}

static int compare_types(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* The types of a module over all variants: the default's first, the others by id. */
static size_t module_types(const struct uqff_container_spec *spec, size_t m,
                           uint32_t types[UQFF_CONTAINER_MAX_VARIANTS]) {
    size_t count = 0, first = 0;
    if (spec->default_variant != UQFF_NONE) {
        types[count++] = spec->variants[spec->default_variant].types[m];
        first = 1;
    }
    for (size_t v = 0; v < spec->variant_count; v++) {
        uint32_t type = spec->variants[v].types[m];
        size_t i = 0;
        while (i < count && types[i] != type) {
            i++;
        }
        if (i == count) {
            types[count++] = type;
        }
    }
    qsort(types + first, count - first, sizeof *types, compare_types);
    return count;
}

/* A module's first blob lies with all that describes it. */
static enum uqff_code add_module(struct builder *b, size_t m) {
    uint32_t types[UQFF_CONTAINER_MAX_VARIANTS];
    size_t count = module_types(b->spec, m, types);
    bool canonical = b->spec->default_variant != UQFF_NONE;
    struct uqff_plan_item items[5];
    size_t n = 0;
    bool ok = true;
    if (!canonical) {
        ok = make_shape(b, &items[n++], "@uqff.shape", m);
    } else if (uqff_container_type_is_float(types[0])) {
        ok = make_format(b, &items[n++], m, UQFF_FORMAT_UNQUANT);
    } else {
        ok = make_scalar(b, &items[n++], UQFF_CLASS_SIDE_U32, b->spec->modules[m].name,
                         ".weight.dtype", m, types[0]) &&
             make_shape(b, &items[n++], ".weight.shape", m) &&
             make_format(b, &items[n++], m, UQFF_FORMAT_GGUF);
    }
    if (ok && canonical && b->spec->modules[m].has_bias) {
        ok = make_bias(b, &items[n++], m, types[0]);
    }
    ok = ok && make_blob(b, &items[n++], m, types[0], canonical);
    if (!ok) {
        return no_memory(b);
    }
    enum uqff_code code = place(b, items, n);
    for (size_t i = 1; i < count && code == UQFF_OK; i++) {
        if (!make_blob(b, &items[0], m, types[i], false)) {
            return no_memory(b);
        }
        code = place(b, &items[0], 1);
    }
    return code;
}

enum uqff_code uqff_container_plan_multi(struct uqff_container_plan *plan,
                                         const struct uqff_container_spec *spec,
                                         struct uqff_error *err) {
    struct builder b = {.plan = plan,
                        .spec = spec,
                        .err = err,
                        .limit = spec->max_shard == 0 ? UINT64_MAX : spec->max_shard};
    enum uqff_code code;
    start_shard(&b);
    if ((code = add_versions(&b)) != UQFF_OK || (code = add_residual(&b)) != UQFF_OK ||
        (code = add_assets(&b)) != UQFF_OK) {
        return code;
    }
    for (size_t m = 0; m < spec->module_count && code == UQFF_OK; m++) {
        code = add_module(&b, m);
    }
    plan->shard_count = b.shard + 1;
    return code;
}

/* ---- shards of a plain file ------------------------------------------------------------------ */

/* As mistral.rs streams tensors: one that would push the payload over the cap begins a new shard.
 */
static enum uqff_code stream(struct builder *b, struct uqff_plan_item *item) {
    enum uqff_code code = set_bytes(b, item);
    uint64_t payload;
    if (code != UQFF_OK) {
        return code;
    }
    if (!uqff_add_u64(b->data, item->entry.bytes, &payload) ||
        (payload > b->limit && b->data > 0)) {
        b->shard++;
        payload = item->entry.bytes;
    }
    b->data = payload;
    item->entry.shard = b->shard;
    return uqff_container_plan_add(b->plan, item, b->err);
}

/* Format 6 has the two parts of a block apart, in the module's shape but for the last dimension:
 *     weight  [.., K/2]   nibbles        scales  [.., K/32]   exponents */
static bool make_mxfp4(const struct builder *b, struct uqff_plan_item *item, size_t m,
                       enum uqff_plan_kind kind, const char *suffix, unsigned weights_a_byte) {
    const struct uqff_spec_module *module = &b->spec->modules[m];
    uint64_t *shape = uqff_arena_array(&b->plan->arena, module->rank, sizeof *shape);
    if (shape == NULL || !make_item(b, item, kind, UQFF_CLASS_BLOB, module->name, suffix, m)) {
        return false;
    }
    memcpy(shape, module->shape, module->rank * sizeof *shape);
    shape[module->rank - 1] /= weights_a_byte;
    item->rank = module->rank;
    item->shape = shape;
    item->entry.type = UQFF_TYPE_MXFP4;
    return true;
}

static enum uqff_code stream_module(struct builder *b, size_t m) {
    const struct uqff_spec_module *module = &b->spec->modules[m];
    uint32_t type = b->spec->variants[0].types[m];
    bool is_float = uqff_container_type_is_float(type), is_mxfp4 = type == UQFF_TYPE_MXFP4;
    struct uqff_plan_item items[5];
    size_t n = 0;
    bool ok = make_format(b, &items[n++], m,
                          is_float   ? UQFF_FORMAT_UNQUANT
                          : is_mxfp4 ? UQFF_FORMAT_MXFP4
                                     : UQFF_FORMAT_GGUF);
    if (ok && is_mxfp4) {
        ok = make_mxfp4(b, &items[n++], m, UQFF_PLAN_BLOB, ".weight", 2) &&
             make_mxfp4(b, &items[n++], m, UQFF_PLAN_SCALES, ".weight.scales", 32);
    } else if (ok) {
        ok = make_blob(b, &items[n++], m, type, true);
    }
    if (ok && !is_float && !is_mxfp4) {
        ok = make_scalar(b, &items[n++], UQFF_CLASS_SIDE_U32, module->name, ".weight.dtype", m,
                         type) &&
             make_shape(b, &items[n++], ".weight.shape", m);
    }
    if (ok && module->has_bias) {
        ok = make_bias(b, &items[n++], m, type);
    }
    if (!ok) {
        return no_memory(b);
    }
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < n && code == UQFF_OK; i++) {
        code = stream(b, &items[i]);
    }
    return code;
}

struct named_module {
    const char *name;
    size_t index;
};

static int compare_names(const void *left, const void *right) {
    const struct named_module *a = left, *b = right;
    return strcmp(a->name, b->name);
}

enum uqff_code uqff_container_plan_plain(struct uqff_container_plan *plan,
                                         const struct uqff_container_spec *spec,
                                         struct uqff_error *err) {
    struct builder b = {.plan = plan,
                        .spec = spec,
                        .err = err,
                        .limit =
                            spec->max_shard == 0 ? UQFF_CONTAINER_PLAIN_SHARD : spec->max_shard};
    struct named_module *sorted = uqff_alloc_array(spec->module_count, sizeof *sorted);
    if (sorted == NULL) {
        return no_memory(&b);
    }
    for (size_t m = 0; m < spec->module_count; m++) {
        sorted[m] = (struct named_module){.name = spec->modules[m].name, .index = m};
    }
    qsort(sorted, spec->module_count, sizeof *sorted, compare_names);
    enum uqff_code code = add_versions(&b);
    b.data = 12; /* the version scalars */
    for (size_t i = 0; i < spec->module_count && code == UQFF_OK; i++) {
        code = stream_module(&b, sorted[i].index);
    }
    plan->shard_count = b.shard + 1;
    uqff_free(sorted);
    return code;
}
