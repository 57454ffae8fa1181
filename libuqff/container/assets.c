/* What a multi-quant file carries beside modules: residual tensors and side files. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "container/internal.h"

/* ---- listing ------------------------------------------------------------------------------------
 */

struct extras {
    struct uqff_container *container;
    struct uqff_error *err;
    struct uqff_residual *residual;
    size_t residual_count, residual_capacity;
    struct uqff_asset *assets;
    size_t asset_count, asset_capacity;
};

static enum uqff_code fail_entry(const struct extras *x, enum uqff_code code,
                                 struct uqff_entry entry, const char *what) {
    return uqff_fail(x->err, code, entry.tensor->offset, "%s: '%s': %s",
                     uqff_container_where(x->container, entry.shard), entry.tensor->name, what);
}

static enum uqff_code add_residual(struct extras *x, struct uqff_entry entry, const char *name) {
    if (!uqff_container_tensor_name_ok(name, strlen(name))) {
        return fail_entry(x, UQFF_E_NAME, entry, "this is no name that a tensor may have");
    }
    size_t n = strlen(name), weight = strlen(".weight");
    if (n > weight && strcmp(name + n - weight, ".weight") == 0 &&
        uqff_container_map_get(&x->container->module_map, name, n - weight) != UQFF_NONE) {
        return fail_entry(x, UQFF_E_DUPLICATE, entry, "the tensor is a module too");
    }
    enum uqff_code code = uqff_grow((void **)&x->residual, &x->residual_capacity,
                                    x->residual_count + 1, sizeof *x->residual, x->err);
    if (code == UQFF_OK) {
        x->residual[x->residual_count++] = (struct uqff_residual){.name = name, .entry = entry};
    }
    return code;
}

static enum uqff_code add_asset(struct extras *x, struct uqff_entry entry, const char *path,
                                bool compressed) {
    if (!uqff_container_asset_path_ok(path, strlen(path))) {
        return fail_entry(x, UQFF_E_NAME, entry,
                          "this is no path that a side file may have: at most two components, "
                          "each of them safe");
    }
    enum uqff_code code = uqff_grow((void **)&x->assets, &x->asset_capacity, x->asset_count + 1,
                                    sizeof *x->assets, x->err);
    if (code == UQFF_OK) {
        x->assets[x->asset_count++] =
            (struct uqff_asset){.path = path, .compressed = compressed, .entry = entry};
    }
    return code;
}

static enum uqff_code visit(struct extras *x, struct uqff_entry entry,
                            const struct uqff_entry_name *name) {
    const struct uqff_st_tensor *tensor = entry.tensor;
    bool residual = name->kind == UQFF_NAME_RESIDUAL, asset = name->kind == UQFF_NAME_ASSET;
    if ((asset || name->kind == UQFF_NAME_PAD) &&
        (tensor->dtype != UQFF_DTYPE_U8 || tensor->rank != 1)) {
        return uqff_fail(x->err, UQFF_E_FIELD, tensor->offset,
                         "%s: '%s': found %s of rank %u, expected U8 of rank 1",
                         uqff_container_where(x->container, entry.shard), tensor->name,
                         uqff_dtype_name(tensor->dtype), tensor->rank);
    }
    if (!residual && !asset) {
        return UQFF_OK;
    }
    const char *decoded;
    enum uqff_code code =
        uqff_container_name_decode(&x->container->arena, name->base, name->base_length, &decoded);
    if (code == UQFF_E_MEMORY) {
        return uqff_fail_memory(x->err);
    }
    if (code != UQFF_OK) {
        return fail_entry(x, code, entry, "a '@' stands where none may");
    }
    return residual ? add_residual(x, entry, decoded)
                    : add_asset(x, entry, decoded, name->compressed);
}

static int compare_residual(const void *a, const void *b) {
    return strcmp(((const struct uqff_residual *)a)->name, ((const struct uqff_residual *)b)->name);
}

static int compare_assets(const void *a, const void *b) {
    return strcmp(((const struct uqff_asset *)a)->path, ((const struct uqff_asset *)b)->path);
}

static enum uqff_code sort_extras(struct extras *x) {
    if (x->residual_count > 1) {
        qsort(x->residual, x->residual_count, sizeof *x->residual, compare_residual);
    }
    if (x->asset_count > 1) {
        qsort(x->assets, x->asset_count, sizeof *x->assets, compare_assets);
    }
    for (size_t i = 1; i < x->residual_count; i++) {
        if (compare_residual(&x->residual[i - 1], &x->residual[i]) == 0) {
            return fail_entry(x, UQFF_E_DUPLICATE, x->residual[i].entry,
                              "the tensor is there twice");
        }
    }
    for (size_t i = 1; i < x->asset_count; i++) {
        if (compare_assets(&x->assets[i - 1], &x->assets[i]) == 0) {
            return fail_entry(x, UQFF_E_DUPLICATE, x->assets[i].entry,
                              "the side file is there twice");
        }
    }
    return UQFF_OK;
}

static enum uqff_code keep_extras(struct extras *x) {
    struct uqff_container *container = x->container;
    container->residual =
        uqff_arena_array(&container->arena, x->residual_count + 1, sizeof *container->residual);
    container->assets =
        uqff_arena_array(&container->arena, x->asset_count + 1, sizeof *container->assets);
    if (container->residual == NULL || container->assets == NULL) {
        return uqff_fail_memory(x->err);
    }
    if (x->residual_count > 0) {
        memcpy(container->residual, x->residual, x->residual_count * sizeof *x->residual);
    }
    if (x->asset_count > 0) {
        memcpy(container->assets, x->assets, x->asset_count * sizeof *x->assets);
    }
    container->residual_count = x->residual_count;
    container->asset_count = x->asset_count;
    return UQFF_OK;
}

enum uqff_code uqff_container_load_extras(struct uqff_container *container,
                                          struct uqff_error *err) {
    struct extras x = {.container = container, .err = err};
    enum uqff_code code = UQFF_OK;
    for (size_t s = 0; s < container->shard_count; s++) {
        struct uqff_safetensors *file = container->shards[s].file;
        size_t count = uqff_safetensors_count(file);
        for (size_t i = 0; i < count; i++) {
            struct uqff_entry entry = {.shard = s, .tensor = uqff_safetensors_tensor(file, i)};
            struct uqff_entry_name name;
            uqff_container_name_parse(entry.tensor->name, entry.tensor->name_length, &name);
            if ((code = visit(&x, entry, &name)) != UQFF_OK) {
                goto out;
            }
        }
    }
    code = sort_extras(&x);
    if (code == UQFF_OK) {
        code = keep_extras(&x);
    }
out:
    uqff_free(x.residual);
    uqff_free(x.assets);
    return code;
}

/* ---- reading a side file --------------------------------------------------------------------- */

static void *zlib_alloc(void *context, unsigned count, unsigned size) {
    (void)context;
    return uqff_alloc_array(count, size);
}

static void zlib_free(void *context, void *block) {
    (void)context;
    uqff_free(block);
}

/* The limit of an inflated size: what is present bounds what is declared, and zlib declares none.
 */
static uint64_t inflated_limit(uint64_t compressed) {
    uint64_t limit;
    if (!uqff_mul_u64(compressed, UQFF_CONTAINER_MAX_RATIO, &limit) ||
        limit > UQFF_CONTAINER_MAX_ASSET) {
        limit = UQFF_CONTAINER_MAX_ASSET;
    }
    return limit;
}

/* Inflates one RFC 1950 stream that fills in[0..n) exactly. Room grows by doubling up to one byte
 * above the limit, so the first byte too much is seen and no more than it is made. */
static enum uqff_code inflate_all(const char *where, const char *entry, unsigned char *in, size_t n,
                                  char **out, size_t *size, struct uqff_error *err) {
    z_stream stream = {.zalloc = zlib_alloc, .zfree = zlib_free};
    uint64_t limit = inflated_limit(n);
    char *text = NULL;
    size_t capacity = 0, used = 0;
    if (inflateInit(&stream) != Z_OK) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    int status = Z_OK;
    stream.next_in = in;
    stream.avail_in = (uInt)n; /* at most UQFF_CONTAINER_MAX_ASSET */
    while (status == Z_OK) {
        if (used == capacity) {
            size_t larger = capacity == 0 ? 65536 : capacity * 2;
            larger = larger > limit + 1 ? (size_t)(limit + 1) : larger;
            /* One byte more than asked for: the text ends in a NUL. */
            char *grown = used > limit ? NULL : uqff_realloc_array(text, larger + 1, 1);
            if (grown == NULL) {
                code = used > limit
                           ? uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                                       "%s: '%s': %zu bytes inflate to more than %llu, the limit",
                                       where, entry, n, (unsigned long long)limit)
                           : uqff_fail_memory(err);
                goto out;
            }
            text = grown;
            capacity = larger;
        }
        stream.next_out = (unsigned char *)text + used;
        stream.avail_out = (uInt)(capacity - used);
        status = inflate(&stream, Z_NO_FLUSH);
        used = capacity - stream.avail_out;
    }
    if (status == Z_MEM_ERROR) {
        code = uqff_fail_memory(err);
    } else if (status != Z_STREAM_END) {
        code = uqff_fail(err, UQFF_E_SYNTAX, UQFF_NO_OFFSET, "%s: '%s': no valid zlib stream: %s",
                         where, entry,
                         status == Z_NEED_DICT   ? "it wants a dictionary"
                         : status == Z_BUF_ERROR ? "it is cut"
                         : stream.msg != NULL    ? stream.msg
                                                 : "damaged");
    } else if (used > limit) {
        code = uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: '%s': %zu bytes inflate to more than %llu, the limit", where, entry,
                         n, (unsigned long long)limit);
    } else if (stream.avail_in != 0) {
        code = uqff_fail(err, UQFF_E_SYNTAX, UQFF_NO_OFFSET,
                         "%s: '%s': %u bytes behind the zlib stream, expected none", where, entry,
                         stream.avail_in);
    } else {
        text[used] = 0;
        *out = text;
        *size = used;
        text = NULL;
    }
out:
    inflateEnd(&stream);
    uqff_free(text);
    return code;
}

enum uqff_code uqff_container_read_asset(const struct uqff_container *container, size_t i,
                                         char **out, size_t *size, struct uqff_error *err) {
    enum uqff_code code = check_index(container, "asset", i, container->asset_count, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_asset *asset = &container->assets[i];
    const struct uqff_st_tensor *tensor = asset->entry.tensor;
    struct uqff_source *source = container->shards[asset->entry.shard].source;
    if (tensor->bytes > UQFF_CONTAINER_MAX_ASSET) {
        return uqff_fail(err, UQFF_E_LIMIT, tensor->offset,
                         "%s: '%s': %llu bytes, above the limit of %llu", uqff_source_name(source),
                         tensor->name, (unsigned long long)tensor->bytes,
                         (unsigned long long)UQFF_CONTAINER_MAX_ASSET);
    }
    size_t n = (size_t)tensor->bytes;
    char *raw = uqff_alloc(n + 1);
    if (raw == NULL) {
        return uqff_fail_memory(err);
    }
    raw[n] = 0;
    code = uqff_source_read(source, tensor->offset, raw, n, err);
    if (code == UQFF_OK && asset->compressed) {
        code = inflate_all(uqff_source_name(source), tensor->name, (unsigned char *)raw, n, out,
                           size, err);
    } else if (code == UQFF_OK) {
        *out = raw;
        *size = n;
        raw = NULL;
    }
    uqff_free(raw);
    return code;
}
