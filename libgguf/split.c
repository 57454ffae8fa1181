/* Split sets: NAME-00001-of-000NN.gguf and its fellows, opened as one. */
#include <inttypes.h>
#include <string.h>

#include "internal.h"

#define SUFFIX_LENGTH 20 /* of "-00001-of-00002.gguf" */

/* What the name of a file says about the set it belongs to. */
struct split_name {
    bool matches;
    int prefix_length; /* of the path before "-00001-of-…" */
    uint64_t part;     /* from 1 */
    uint64_t count;
};

/* What the keys of a file say about it. */
struct split_keys {
    bool has_part, has_count, has_tensors;
    uint64_t part; /* from 0 */
    uint64_t count;
    uint64_t tensors; /* of the whole set */
};

/* Five digits at `text`, or false. */
static bool five_digits(const char *text, uint64_t *out) {
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static struct split_name parse_name(const char *path) {
    struct split_name name = {0};
    size_t n = strlen(uqff_path_name(path));
    if (n < SUFFIX_LENGTH) {
        return name;
    }
    size_t prefix = strlen(path) - SUFFIX_LENGTH;
    const char *suffix = path + prefix;
    name.matches = prefix <= INT32_MAX && suffix[0] == '-' && five_digits(suffix + 1, &name.part) &&
                   memcmp(suffix + 6, "-of-", 4) == 0 && five_digits(suffix + 10, &name.count) &&
                   strcmp(suffix + 15, ".gguf") == 0;
    name.prefix_length = name.matches ? (int)prefix : 0;
    return name;
}

bool uqff_gguf_names_part(const char *path) {
    struct split_name name = parse_name(path);
    return name.matches && name.count != 1;
}

static char *part_path(struct uqff_arena *arena, const char *path, const struct split_name *name,
                       uint64_t part) {
    return uqff_arena_printf(arena, "%.*s-%05" PRIu64 "-of-%05" PRIu64 ".gguf", name->prefix_length,
                             path, part, name->count);
}

static enum uqff_code read_keys(const struct uqff_gguf *file, struct split_keys *keys,
                                struct uqff_error *err) {
    *keys = (struct split_keys){0};
    enum uqff_code code =
        uqff_gguf_get_u64(file, "split.count", UINT32_MAX, &keys->has_count, &keys->count, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_get_u64(file, "split.no", UINT32_MAX, &keys->has_part, &keys->part, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_get_u64(file, "split.tensors.count", INT64_MAX, &keys->has_tensors,
                                 &keys->tensors, err);
    }
    return code;
}

static enum uqff_code fail_key(const struct uqff_gguf *file, const char *key, uint64_t found,
                               uint64_t expected, const char *why, struct uqff_error *err) {
    size_t i;
    bool known = uqff_gguf_index_find(&file->keys, key, &i);
    return uqff_fail(err, UQFF_E_FIELD, known ? file->entries[i].position : UQFF_NO_OFFSET,
                     "%s: key '%s': found %" PRIu64 ", expected %" PRIu64 " %s",
                     uqff_source_name(file->source), key, found, expected, why);
}

static enum uqff_code fail_absent(const struct uqff_gguf *file, const char *key,
                                  struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                     "%s: key '%s' is missing: the name says that the file is one of a set",
                     uqff_source_name(file->source), key);
}

/* A file that neither its keys nor its name make one of several: whatever it says must fit that.
 * A merged file keeps split.count, as 0. */
static enum uqff_code check_single(const struct uqff_gguf *file, const struct split_name *name,
                                   const struct split_keys *keys, struct uqff_error *err) {
    if (name->matches && keys->has_count && keys->count != 1) {
        return fail_key(file, "split.count", keys->count, 1, "by the file's name", err);
    }
    if (keys->has_count && keys->count == 1 && keys->has_part && keys->part != 0) {
        return fail_key(file, "split.no", keys->part, 0, "in a set of one file", err);
    }
    if (keys->has_count && keys->count == 1 && keys->has_tensors &&
        keys->tensors != file->tensor_count) {
        return fail_key(file, "split.tensors.count", keys->tensors, file->tensor_count,
                        "as in the file", err);
    }
    return UQFF_OK;
}

/* A file whose name makes it part `part` (from 1) of several: its keys must say the same. */
static enum uqff_code check_part(const struct uqff_gguf *file, const struct split_name *name,
                                 uint64_t part, const struct split_keys *keys,
                                 struct uqff_error *err) {
    if (!keys->has_count) {
        return fail_absent(file, "split.count", err);
    }
    if (keys->count != name->count) {
        return fail_key(file, "split.count", keys->count, name->count, "by the file's name", err);
    }
    if (!keys->has_part) {
        return fail_absent(file, "split.no", err);
    }
    if (keys->part != part - 1) {
        return fail_key(file, "split.no", keys->part, part - 1, "by the file's name", err);
    }
    return UQFF_OK;
}

/* Decides whether the file is the first of several, and that its name and keys agree. */
static enum uqff_code check_first(const struct uqff_gguf *file, const char *path,
                                  const struct split_name *name, const struct split_keys *keys,
                                  bool *several, struct uqff_error *err) {
    *several = false;
    if (name->matches && (name->part < 1 || name->part > name->count)) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "%s: the name says part %" PRIu64 " of %" PRIu64
                         ", expected at least 1 and no more than there are",
                         uqff_source_name(file->source), name->part, name->count);
    }
    bool name_several = name->matches && name->count != 1;
    bool keys_several = keys->has_count && keys->count > 1;
    if (!name_several && !keys_several) {
        return check_single(file, name, keys, err);
    }
    if (!name->matches) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "%s: key 'split.count': the file is one of %" PRIu64
                         ", expected a name like NAME-00001-of-%05" PRIu64 ".gguf",
                         uqff_source_name(file->source), keys->count, keys->count);
    }
    if (name->count > GGUF_MAX_PARTS) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: the name says %" PRIu64 " files, expected at most %u",
                         uqff_source_name(file->source), name->count, GGUF_MAX_PARTS);
    }
    enum uqff_code code = check_part(file, name, name->part, keys, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (name->part != 1) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: this is part %" PRIu64 " of %" PRIu64
                         ": open the first, '%.*s-00001-of-%05" PRIu64 ".gguf'",
                         uqff_source_name(file->source), name->part, name->count,
                         name->prefix_length, path, name->count);
    }
    if (!keys->has_tensors) {
        return fail_absent(file, "split.tensors.count", err);
    }
    *several = true;
    return UQFF_OK;
}

/* All that are missing are named, as far as an error has room, so that one look tells what to
 * fetch. */
static enum uqff_code check_present(const char *path, const struct split_name *name,
                                    struct uqff_error *err) {
    enum { NAMED = 8 };
    struct uqff_buffer list = {0};
    struct uqff_arena arena = {0};
    enum uqff_code code = UQFF_OK;
    uint64_t missing = 0;
    for (uint64_t part = 2; part <= name->count; part++) {
        const char *other = part_path(&arena, path, name, part);
        if (other == NULL) {
            code = uqff_fail_memory(err);
            goto out;
        }
        if (!uqff_path_exists(other)) {
            missing++;
            if (missing <= NAMED) {
                uqff_buffer_printf(&list, "%s%s", missing == 1 ? "" : ", ", uqff_path_name(other));
            }
        }
    }
    if (missing > NAMED) {
        uqff_buffer_printf(&list, " and %" PRIu64 " more", missing - NAMED);
    }
    if (list.failed) {
        code = uqff_fail_memory(err);
    } else if (missing > 0) {
        code = uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                         "%s: %" PRIu64 " of %" PRIu64 " files of the set are missing: %s", path,
                         missing, name->count, list.data);
    }
out:
    uqff_arena_free(&arena);
    uqff_buffer_free(&list);
    return code;
}

static bool begins_with(const char *text, const char *beginning) {
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* Metadata is the first file's; what another one has beyond its place in the set is not used. */
static void warn_about_keys(const struct uqff_gguf *other, const struct uqff_warner *warner) {
    size_t unused = 0;
    for (size_t i = 0; i < other->entry_count; i++) {
        const char *key = other->entries[i].key;
        unused += !begins_with(key, "split.") && strcmp(key, "general.alignment") != 0 &&
                  strcmp(key, "general.architecture") != 0;
    }
    if (unused > 0) {
        uqff_warn(warner, "%s: %zu keys are not used: only those of the first file are",
                  uqff_source_name(other->source), unused);
    }
}

static enum uqff_code check_other(const struct uqff_gguf *first, const struct uqff_gguf *other,
                                  const struct split_name *name, uint64_t part,
                                  const struct split_keys *first_keys, struct uqff_error *err) {
    struct split_keys keys;
    enum uqff_code code = read_keys(other, &keys, err);
    if (code == UQFF_OK) {
        code = check_part(other, name, part, &keys, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    if (keys.has_tensors && keys.tensors != first_keys->tensors) {
        return fail_key(other, "split.tensors.count", keys.tensors, first_keys->tensors,
                        "as in the first file", err);
    }
    if (other->big_endian != first->big_endian) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: the file is %s-endian, expected the byte order of the first file",
                         uqff_source_name(other->source), other->big_endian ? "big" : "little");
    }
    return UQFF_OK;
}

/* Adds the tensors of others[number - 1] to those of the set. Names stay where they are. */
static enum uqff_code add_tensors(struct uqff_gguf *set, struct uqff_gguf *other, size_t number,
                                  struct uqff_error *err) {
    void *tensors = set->tensors;
    enum uqff_code code =
        uqff_grow(&tensors, &set->tensor_capacity, set->tensor_count + other->tensor_count,
                  sizeof(struct uqff_gguf_tensor), err);
    set->tensors = (struct uqff_gguf_tensor *)tensors;
    for (size_t i = 0; code == UQFF_OK && i < other->tensor_count; i++) {
        struct uqff_gguf_tensor tensor = other->tensors[i];
        tensor.file = number;
        bool known = false;
        size_t earlier = 0;
        code =
            uqff_gguf_index_add(&set->names, tensor.name, set->tensor_count, &known, &earlier, err);
        if (code == UQFF_OK && known) {
            code = uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                             "%s: tensor '%s': found here and in %s, expected once in the set",
                             uqff_source_name(other->source), tensor.name,
                             uqff_source_name(uqff_gguf_source(set, set->tensors[earlier].file)));
        }
        if (code == UQFF_OK) {
            set->tensors[set->tensor_count++] = tensor;
        }
    }
    return code;
}

static enum uqff_code add_part(struct uqff_gguf *set, const char *path,
                               const struct split_name *name, uint64_t part,
                               const struct split_keys *keys, const struct uqff_warner *warner,
                               struct uqff_error *err) {
    char *other_path = part_path(&set->arena, path, name, part);
    if (other_path == NULL) {
        return uqff_fail_memory(err);
    }
    struct uqff_source *source = NULL;
    enum uqff_code code = uqff_source_open(other_path, &source, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_gguf *other = NULL;
    code = uqff_gguf_open_one(source, true, warner, &other, err);
    if (code != UQFF_OK) {
        return code;
    }
    set->others[set->other_count++] = other; /* from here on the set closes it */
    code = check_other(set, other, name, part, keys, err);
    if (code == UQFF_OK) {
        code = add_tensors(set, other, set->other_count, err);
    }
    if (code == UQFF_OK) {
        warn_about_keys(other, warner);
        uqff_free(other->tensors);
        other->tensors = NULL;
        other->tensor_count = 0;
        uqff_gguf_index_free(&other->names);
    }
    return code;
}

static enum uqff_code add_parts(struct uqff_gguf *set, const char *path,
                                const struct split_name *name, const struct split_keys *keys,
                                const struct uqff_warner *warner, struct uqff_error *err) {
    enum uqff_code code = check_present(path, name, err);
    if (code != UQFF_OK) {
        return code;
    }
    /* The files are there, so their number is no mere claim. */
    set->others =
        (struct uqff_gguf **)uqff_alloc_array((size_t)name->count - 1, sizeof(struct uqff_gguf *));
    if (set->others == NULL) {
        return uqff_fail_memory(err);
    }
    for (uint64_t part = 2; part <= name->count; part++) {
        code = add_part(set, path, name, part, keys, warner, err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    if (keys->tensors != set->tensor_count) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: key 'split.tensors.count' is %" PRIu64 ", but the %" PRIu64
                         " files of the set have %zu tensors",
                         uqff_source_name(set->source), keys->tensors, name->count,
                         set->tensor_count);
    }
    return UQFF_OK;
}

/* A file whose header was cut off while it was changed may well parse. */
static enum uqff_code check_journal(const char *path, const struct uqff_warner *warner,
                                    struct uqff_error *err) {
    enum uqff_patch_state state = UQFF_PATCH_NONE;
    enum uqff_code code = uqff_patch_look(path, &state, err);
    if (code == UQFF_OK && state == UQFF_PATCH_TORN) {
        code = uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET,
                         "%s: an edit of the file was cut off, or is going on: editing it again "
                         "puts back what was there",
                         path);
    }
    if (code == UQFF_OK && state == UQFF_PATCH_FOREIGN) {
        uqff_warn(warner, "%s: the journal of an edit lies beside it that is not its own", path);
    }
    return code;
}

enum uqff_code uqff_gguf_open_path(const char *path, const struct uqff_warner *warner,
                                   struct uqff_gguf **out, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = check_journal(path, warner, err);
    if (code != UQFF_OK) {
        uqff_source_close(source);
        return code;
    }
    struct uqff_gguf *file = NULL;
    code = uqff_gguf_open_one(source, true, warner, &file, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct split_name name = parse_name(path);
    struct split_keys keys;
    bool several = false;
    code = read_keys(file, &keys, err);
    if (code == UQFF_OK) {
        code = check_first(file, path, &name, &keys, &several, err);
    }
    if (code == UQFF_OK && several) {
        code = add_parts(file, path, &name, &keys, warner, err);
    }
    if (code != UQFF_OK) {
        uqff_gguf_close(file);
        return code;
    }
    *out = file;
    return UQFF_OK;
}
