/* What the files of container/ share with each other and with their tests. */
#ifndef UQFF_CONTAINER_INTERNAL_H
#define UQFF_CONTAINER_INTERNAL_H

#include "uqff/container.h"

/* Documented limits (spec/multi-quant.md, spec/uqff.md). */
#define UQFF_CONTAINER_MAX_RANK 8
#define UQFF_CONTAINER_MAX_VARIANTS 256
#define UQFF_CONTAINER_MAX_SHARDS 10000
#define UQFF_CONTAINER_MAX_NAME 1024
#define UQFF_CONTAINER_MAX_ASSET ((uint64_t)256 << 20)
#define UQFF_CONTAINER_MAX_RATIO 200
#define UQFF_CONTAINER_MAX_HEADER 64000000
#define UQFF_CONTAINER_PLAIN_SHARD ((uint64_t)10 << 30)

/* Names of metadata keys. */
#define UQFF_KEY_PRODUCER "uqff.producer"
#define UQFF_KEY_PRODUCER_VERSION "uqff.producer.version"
#define UQFF_KEY_VERSION "uqff.version"
#define UQFF_KEY_MULTI "uqff.multi."
#define UQFF_KEY_MULTI_VERSION "uqff.multi.version"
#define UQFF_KEY_MULTI_INDEX "uqff.multi.index"

/* ---- names.c: the grammar of entry names --------------------------------------------------------
 */

enum uqff_name_kind {
    UQFF_NAME_VERSION,  /* uqff.version.{major,minor,patch}; number: 0, 1, 2 */
    UQFF_NAME_WEIGHT,   /* <base>.weight */
    UQFF_NAME_SIDE,     /* <base>.weight.<suffix> */
    UQFF_NAME_BIAS,     /* <base>.bias */
    UQFF_NAME_BLOB,     /* <base>@uqff.<type> */
    UQFF_NAME_SHAPE,    /* <base>@uqff.shape */
    UQFF_NAME_RESIDUAL, /* <base>@uqff.residual */
    UQFF_NAME_ASSET,    /* <base>@uqff.asset, <base>@uqff.asset.zlib */
    UQFF_NAME_PAD,      /* <number>@uqff.pad */
    UQFF_NAME_DIGESTS,  /* <number>@uqff.digests */
    UQFF_NAME_UNKNOWN,  /* holds "@uqff." but is none of the above */
    UQFF_NAME_OTHER,
};

struct uqff_entry_name {
    enum uqff_name_kind kind;
    const char *base; /* module, residual or asset name, as it lies in the entry's name */
    size_t base_length;
    const char *suffix; /* of SIDE */
    uint32_t type;      /* of BLOB */
    uint64_t number;    /* of VERSION, PAD and DIGESTS */
    bool compressed;    /* of ASSET */
};

/* Never fails: what fits no rule is OTHER or UNKNOWN. Points into `name`. */
void uqff_container_name_parse(const char *name, size_t n, struct uqff_entry_name *out);

/* A residual or asset name <-> its form inside an entry's name: ".weight" followed by anything is
 * written ".@weight", so that mistral.rs never takes the entry for a part of a module. */
enum uqff_code uqff_container_name_decode(struct uqff_arena *arena, const char *base, size_t n,
                                          const char **out);
char *uqff_container_name_encode(struct uqff_arena *arena, const char *name, const char *suffix);

/* True when a module, a residual tensor or an asset may have that name. */
bool uqff_container_module_name_ok(const char *name, size_t n);
bool uqff_container_tensor_name_ok(const char *name, size_t n);
bool uqff_container_asset_path_ok(const char *path, size_t n);
/* The four conditions under which mistral.rs passes over an entry. */
bool uqff_container_name_is_ignored(const char *name, size_t n);
/* True for one or more decimal digits. */
bool uqff_container_all_digits(const char *text, size_t n);

/* ---- types.c ------------------------------------------------------------------------------------
 */

/* A type that a blob may have in a multi-quant file: a block type that files carry, or a float. */
bool uqff_container_type_is_storable(uint32_t type);
bool uqff_container_type_is_float(uint32_t type);
/* The type of exactly that lower-case label; false when there is none. */
bool uqff_container_type_from_label(const char *label, size_t n, uint32_t *out);

/* ---- map.c: names to indices --------------------------------------------------------------------
 */

struct uqff_map_slot {
    const char *key; /* NULL: free */
    size_t length;
    size_t value;
};
/* Zero-initialise. Keys are borrowed. */
struct uqff_map {
    struct uqff_map_slot *slots;
    size_t capacity, count;
};
/* Adds a key; when it is there already, *existing is its value and nothing changes, else UQFF_NONE.
 */
enum uqff_code uqff_container_map_put(struct uqff_map *map, const char *key, size_t length,
                                      size_t value, size_t *existing, struct uqff_error *err);
size_t uqff_container_map_get(const struct uqff_map *map, const char *key, size_t length);
void uqff_container_map_free(struct uqff_map *map);

/* ---- shards.c -----------------------------------------------------------------------------------
 */

/* The paths of the set that `path` belongs to, in order; they live in `arena`. */
enum uqff_code uqff_container_shard_paths(const char *path, struct uqff_arena *arena,
                                          const char ***paths, size_t *count,
                                          struct uqff_error *err);
/* Length of the stem of a file name: without ".uqff" and without a shard number. */
size_t uqff_container_stem_length(const char *name);

/* ---- formats.c ----------------------------------------------------------------------------------
 */

enum uqff_side {
    UQFF_SIDE_FORMAT,
    UQFF_SIDE_DTYPE,
    UQFF_SIDE_SHAPE,
    UQFF_SIDE_BITS,
    UQFF_SIDE_GROUP_SIZE,
    UQFF_SIDE_AXIS,
    UQFF_SIDE_OPTIMIZATION_STEPS,
    UQFF_SIDE_ROUND_ZEROS,
    UQFF_SIDE_CHANNEL_WISE,
    UQFF_SIDE_DEQUANT_W_SCALE,
    UQFF_SIDE_DEQUANT_X_SCALE,
    UQFF_SIDE_QUANT_SCALE,
    UQFF_SIDE_NUM_BLOCKS,
    UQFF_SIDE_FIRST_ARRAY, /* from here on tensors, which opening does not read */
    UQFF_SIDE_SCALES = UQFF_SIDE_FIRST_ARRAY,
    UQFF_SIDE_ZEROS,
    UQFF_SIDE_BIASES,
    UQFF_SIDE_COUNT
};

/* The side that a suffix names, or UQFF_SIDE_COUNT. */
enum uqff_side uqff_container_side(const char *suffix);

/* All entries of one module's canonical encoding. */
struct uqff_canonical {
    const char *module;
    struct uqff_source *source; /* of the weight, for messages */
    struct uqff_entry weight;
    struct uqff_entry side[UQFF_SIDE_COUNT];     /* tensor NULL: absent */
    const unsigned char *value[UQFF_SIDE_COUNT]; /* contents of the small ones; NULL: not read */
};

/* What decoding needs beside the blob itself; formats 2 to 6 have one. */
struct uqff_coding {
    struct uqff_entry scales, zeros; /* or biases */
    unsigned bits, group;
    float scale;
};

/* Checks a canonical encoding and fills `blob` (without module and label), the module's shape and,
 * for formats 2 to 6, the coding. Shape and coding live in `arena`. */
enum uqff_code uqff_container_format_check(const struct uqff_canonical *canonical,
                                           struct uqff_arena *arena, struct uqff_blob *blob,
                                           unsigned *rank, const uint64_t **shape,
                                           const struct uqff_coding **coding,
                                           struct uqff_error *err);
/* Label of an encoding, "q4_k", "afq4"; static thread-local text. */
const char *uqff_container_format_label(enum uqff_format format, uint32_t type, unsigned bits);

/* Reads a shape from U32s: ranks 1 to 8, no zero, the product in *weights. */
enum uqff_code uqff_container_shape(const struct uqff_entry *entry, const unsigned char *value,
                                    const char *where, struct uqff_arena *arena, unsigned *rank,
                                    const uint64_t **shape, struct uqff_error *err);
enum uqff_code uqff_container_weights(const char *where, const char *entry, const uint64_t *shape,
                                      unsigned rank, uint64_t *weights, struct uqff_error *err);

/* ---- reader.c, modules.c, index.c, digests.c ------------------------------------------------- */

struct uqff_container_shard {
    const char *path;
    struct uqff_source *source;
    struct uqff_safetensors *file;
    const unsigned char *digests; /* 16 bytes a row, or NULL */
};

struct uqff_container {
    struct uqff_arena arena;
    struct uqff_container_shard *shards;
    size_t shard_count;
    bool multi;
    bool newer; /* a minor version of the multi-quant container above ours */
    uint32_t version[3];
    struct uqff_module *modules;
    size_t module_count;
    struct uqff_map module_map;
    struct uqff_blob *blobs;
    const struct uqff_coding **codings; /* one a blob, NULL for formats 0 and 1 */
    size_t blob_count;
    struct uqff_variant *variants;
    size_t variant_count;
    size_t default_variant;
    struct uqff_residual *residual;
    size_t residual_count;
    struct uqff_asset *assets;
    size_t asset_count;
};

/* Steps of opening, in this order. */
enum uqff_code uqff_container_load_modules(struct uqff_container *container,
                                           const struct uqff_warner *warner,
                                           struct uqff_error *err);
enum uqff_code uqff_container_load_extras(struct uqff_container *container, struct uqff_error *err);
enum uqff_code uqff_container_load_index(struct uqff_container *container,
                                         const struct uqff_warner *warner, struct uqff_error *err);
enum uqff_code uqff_container_load_digests(struct uqff_container *container,
                                           struct uqff_error *err);

/* Reads many small ranges of the shards, neighbours in one go. Sorts `wants`. */
struct uqff_container_want {
    size_t shard;
    uint64_t offset;
    size_t bytes;
    unsigned char *out;
};
enum uqff_code uqff_container_read_small(const struct uqff_container *container,
                                         struct uqff_container_want *wants, size_t count,
                                         struct uqff_error *err);

static inline const char *uqff_container_where(const struct uqff_container *container,
                                               size_t shard) {
    return uqff_source_name(container->shards[shard].source);
}

/* What a caller's search did not find, UQFF_NONE, is refused before anything is looked up by it. */
static inline enum uqff_code check_index(const struct uqff_container *container, const char *what,
                                         size_t i, size_t count, struct uqff_error *err) {
    return i < count ? UQFF_OK
                     : uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                                 "%s: no such %s: found index %zu, expected one below %zu",
                                 uqff_container_where(container, 0), what, i, count);
}

/* ---- plan.c, layout.c ------------------------------------------------------------------------ */

/* Order of classes inside a shard of a multi-quant file. */
enum uqff_plan_class {
    UQFF_CLASS_VERSION,
    UQFF_CLASS_SIDE_U32,
    UQFF_CLASS_SIDE_U8,
    UQFF_CLASS_BIAS,
    UQFF_CLASS_RESIDUAL,
    UQFF_CLASS_ASSET,
    UQFF_CLASS_BLOB,
    UQFF_CLASS_DIGESTS,
};

struct uqff_plan_item {
    struct uqff_plan_entry entry;
    enum uqff_plan_class class;
    enum uqff_dtype dtype;
    unsigned rank;
    const uint64_t *shape;
    const unsigned char *fixed; /* content of FIXED entries; NULL: zeros */
    size_t sequence;            /* in which they were made: the order inside a class */
};

struct uqff_plan_shard {
    const char *name;
    size_t first, count; /* items */
    uint64_t header_bytes, bytes;
};

struct uqff_container_plan {
    struct uqff_arena arena;
    bool multi;
    const char *stem;
    unsigned alignment;
    struct uqff_plan_item *items;
    size_t count, capacity;
    struct uqff_plan_shard *shards;
    size_t shard_count;
    struct uqff_spec_metadata *metadata; /* all of shard 0; the first three are on every shard */
    size_t metadata_count;
    size_t *lookup; /* items by kind, index and type */
};

/* plan.c */
enum uqff_code uqff_container_plan_add(struct uqff_container_plan *plan,
                                       const struct uqff_plan_item *item, struct uqff_error *err);
/* check.c */
enum uqff_code uqff_container_spec_check(const struct uqff_container_spec *spec,
                                         struct uqff_error *err);
/* items.c: the entries of a spec, with their shards, before they are put in order. */
enum uqff_code uqff_container_plan_multi(struct uqff_container_plan *plan,
                                         const struct uqff_container_spec *spec,
                                         struct uqff_error *err);
enum uqff_code uqff_container_plan_plain(struct uqff_container_plan *plan,
                                         const struct uqff_container_spec *spec,
                                         struct uqff_error *err);
/* layout.c: sorts items, pads, sets offsets. */
enum uqff_code uqff_container_plan_layout(struct uqff_container_plan *plan, struct uqff_error *err);
/* The header of a shard, with other values for some metadata keys (all of one length). */
enum uqff_code uqff_container_plan_header(const struct uqff_container_plan *plan, size_t shard,
                                          const struct uqff_spec_metadata *metadata,
                                          struct uqff_buffer *out, struct uqff_error *err);
/* index.c: renders uqff.multi.index. */
enum uqff_code uqff_container_index_render(const struct uqff_container_spec *spec,
                                           struct uqff_buffer *out, struct uqff_error *err);
/* Bytes that a text takes as a JSON string, quotes included. */
uint64_t uqff_container_json_bytes(const char *text);

#endif
