/* One file, or the shards of an index, as one list of tensors. */
#include "safetensors/index.h"

#include <stdlib.h>
#include <string.h>

struct member {
    struct uqff_source *source;
    struct uqff_safetensors *file;
};

struct uqff_safetensors_set {
    struct member *members; /* shards in order of their names */
    size_t member_count;
    struct uqff_st_set_tensor *tensors; /* in order of name */
    size_t count;
};

static bool ends_in(const char *text, const char *suffix) {
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

static const char *member_name(const struct uqff_safetensors_set *set, size_t i) {
    return uqff_path_name(uqff_source_name(set->members[i].source));
}

/* ---- opening the files ----------------------------------------------------------------------- */

static enum uqff_code reserve(struct uqff_safetensors_set *set, size_t count,
                              struct uqff_error *err) {
    set->members = uqff_alloc_array(count, sizeof *set->members);
    return set->members == NULL ? uqff_fail_memory(err) : UQFF_OK;
}

/* Opens the reader of the last member, whose source has just been opened. */
static enum uqff_code open_reader(struct uqff_safetensors_set *set,
                                  const struct uqff_warner *warner, struct uqff_error *err) {
    struct member *member = &set->members[set->member_count++];
    return uqff_safetensors_open(member->source, warner, &member->file, err);
}

static enum uqff_code open_single(struct uqff_safetensors_set *set, const char *path,
                                  const struct uqff_warner *warner, struct uqff_error *err) {
    enum uqff_code code = reserve(set, 1, err);
    if (code != UQFF_OK ||
        (code = uqff_source_open(path, &set->members[0].source, err)) != UQFF_OK) {
        return code;
    }
    return open_reader(set, warner, err);
}

/* A tensor that the index places in that shard, for messages. */
static const char *tensor_in(const struct uqff_st_index *index, size_t shard) {
    size_t i = 0;
    while (index->shard_of[i] != shard) {
        i++; /* every shard was named by a tensor */
    }
    return index->tensors.items[i].text;
}

/* Adds to the error of a shard that cannot be opened who asks for it. One that is not there is no
 * longer just a file that was not found, but a part of a set that is missing. */
static enum uqff_code shard_failed(const char *path, const struct uqff_st_index *index,
                                   size_t shard, enum uqff_code code, struct uqff_error *err) {
    code = code == UQFF_E_NOT_FOUND ? UQFF_E_MISSING : code;
    uqff_error_prefix(err, "%s: shard '%s', which should hold tensor '%.200s'", path,
                      index->shards.items[shard].text, tensor_in(index, shard));
    if (err != NULL) {
        err->code = code;
    }
    return code;
}

static enum uqff_code open_shards(struct uqff_safetensors_set *set, const char *path,
                                  const struct uqff_st_index *index, const size_t *order,
                                  const struct uqff_warner *warner, struct uqff_error *err) {
    enum uqff_code code = reserve(set, index->shards.count, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_directory *directory = NULL;
    char *directory_path = uqff_path_directory(path);
    code = directory_path == NULL ? uqff_fail_memory(err)
                                  : uqff_directory_open(directory_path, &directory, err);
    uqff_free(directory_path);
    for (size_t i = 0; i < index->shards.count && code == UQFF_OK; i++) {
        const struct uqff_st_name *name = &index->shards.items[order[i]];
        code = uqff_directory_source(directory, name->text, name->length, &set->members[i].source,
                                     err);
        if (code == UQFF_OK) {
            code = open_reader(set, warner, err);
        } else {
            code = shard_failed(path, index, order[i], code, err);
        }
    }
    uqff_directory_close(directory);
    return code;
}

/* ---- index against shards -------------------------------------------------------------------- */

struct shard_order {
    const struct uqff_st_name *name;
    size_t number;
};

static int compare_shards(const void *left, const void *right) {
    const struct uqff_st_name *a = ((const struct shard_order *)left)->name;
    const struct uqff_st_name *b = ((const struct shard_order *)right)->name;
    return uqff_st_name_compare(a->text, a->length, b->text, b->length);
}

/* order[i] is the number, in the index, of the shard that becomes member i; member_of is its
 * inverse. */
static enum uqff_code order_shards(const struct uqff_st_index *index, size_t *order,
                                   size_t *member_of, struct uqff_error *err) {
    struct shard_order *sorted = uqff_alloc_array(index->shards.count, sizeof *sorted);
    if (sorted == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < index->shards.count; i++) {
        sorted[i] = (struct shard_order){&index->shards.items[i], i};
    }
    qsort(sorted, index->shards.count, sizeof *sorted, compare_shards);
    for (size_t i = 0; i < index->shards.count; i++) {
        order[i] = sorted[i].number;
        member_of[sorted[i].number] = i;
    }
    uqff_free(sorted);
    return UQFF_OK;
}

/* A tensor was found in member `here`, though the index says `there`. */
static enum uqff_code misplaced(const struct uqff_safetensors_set *set, const char *path,
                                const struct uqff_st_tensor *tensor, size_t here, size_t there,
                                struct uqff_error *err) {
    bool in_both = uqff_safetensors_find(set->members[there].file, tensor->name) != NULL;
    if (in_both) {
        return uqff_fail(err, UQFF_E_DUPLICATE, UQFF_NO_OFFSET,
                         "%s: tensor '%.200s' is in two shards, '%s' and '%s'", path, tensor->name,
                         member_name(set, there), member_name(set, here));
    }
    return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                     "%s: tensor '%.200s' is not in shard '%s', where the index places it, but in "
                     "'%s'",
                     path, tensor->name, member_name(set, there), member_name(set, here));
}

/* Every tensor of every shard is in the index, with that shard. */
static enum uqff_code check_shards(const struct uqff_safetensors_set *set, const char *path,
                                   const struct uqff_st_index *index, const size_t *member_of,
                                   struct uqff_error *err) {
    for (size_t m = 0; m < set->member_count; m++) {
        const struct uqff_safetensors *file = set->members[m].file;
        for (size_t i = 0; i < uqff_safetensors_count(file); i++) {
            const struct uqff_st_tensor *tensor = uqff_safetensors_tensor(file, i);
            size_t number;
            if (!uqff_st_names_find(&index->tensors, tensor->name, tensor->name_length, &number)) {
                return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                                 "%s: tensor '%.200s' of shard '%s' is not in the index", path,
                                 tensor->name, member_name(set, m));
            }
            if (member_of[index->shard_of[number]] != m) {
                return misplaced(set, path, tensor, m, member_of[index->shard_of[number]], err);
            }
        }
    }
    return UQFF_OK;
}

/* Every tensor of the index is in its shard. */
static enum uqff_code check_index(const struct uqff_safetensors_set *set, const char *path,
                                  const struct uqff_st_index *index, const size_t *member_of,
                                  struct uqff_error *err) {
    for (size_t i = 0; i < index->tensors.count; i++) {
        size_t m = member_of[index->shard_of[i]];
        if (uqff_safetensors_find(set->members[m].file, index->tensors.items[i].text) == NULL) {
            return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                             "%s: tensor '%.200s' is not in shard '%s', where the index places it",
                             path, index->tensors.items[i].text, member_name(set, m));
        }
    }
    return UQFF_OK;
}

static void check_total(const struct uqff_safetensors_set *set, const char *path,
                        const struct uqff_st_index *index, const struct uqff_warner *warner) {
    uint64_t total = 0; /* below the sum of the sizes of files that are there */
    for (size_t i = 0; i < set->count; i++) {
        total += set->tensors[i].tensor->bytes;
    }
    if (index->has_total && index->total != (double)total) {
        uqff_warn(warner, "%s: metadata: total_size is %.0f, the tensors have %llu bytes", path,
                  index->total, (unsigned long long)total);
    }
}

/* ---- the list of tensors --------------------------------------------------------------------- */

static int compare_by_name(const void *left, const void *right) {
    const struct uqff_st_tensor *a = ((const struct uqff_st_set_tensor *)left)->tensor;
    const struct uqff_st_tensor *b = ((const struct uqff_st_set_tensor *)right)->tensor;
    return uqff_st_name_compare(a->name, a->name_length, b->name, b->name_length);
}

static enum uqff_code list_tensors(struct uqff_safetensors_set *set, struct uqff_error *err) {
    size_t count = 0;
    for (size_t m = 0; m < set->member_count; m++) {
        count += uqff_safetensors_count(set->members[m].file);
    }
    set->tensors = uqff_alloc_array(count, sizeof *set->tensors);
    if (set->tensors == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t m = 0; m < set->member_count; m++) {
        const struct uqff_safetensors *file = set->members[m].file;
        for (size_t i = 0; i < uqff_safetensors_count(file); i++) {
            set->tensors[set->count++] =
                (struct uqff_st_set_tensor){uqff_safetensors_tensor(file, i), m};
        }
    }
    qsort(set->tensors, set->count, sizeof *set->tensors, compare_by_name);
    return UQFF_OK;
}

/* ---- open and close -------------------------------------------------------------------------- */

static enum uqff_code open_index(struct uqff_safetensors_set *set, const char *path,
                                 const struct uqff_warner *warner, struct uqff_error *err) {
    struct uqff_st_index index = {0};
    struct uqff_source *source = NULL;
    size_t *order = NULL, *member_of = NULL;
    enum uqff_code code;
    if ((code = uqff_source_open(path, &source, err)) != UQFF_OK ||
        (code = uqff_st_index_read(source, warner, &index, err)) != UQFF_OK) {
        goto out;
    }
    order = uqff_alloc_array(index.shards.count, sizeof *order);
    member_of = uqff_alloc_array(index.shards.count, sizeof *member_of);
    if (order == NULL || member_of == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    if ((code = order_shards(&index, order, member_of, err)) != UQFF_OK ||
        (code = open_shards(set, path, &index, order, warner, err)) != UQFF_OK ||
        (code = check_shards(set, path, &index, member_of, err)) != UQFF_OK ||
        (code = check_index(set, path, &index, member_of, err)) != UQFF_OK ||
        (code = list_tensors(set, err)) != UQFF_OK) {
        goto out;
    }
    check_total(set, path, &index, warner);
out:
    uqff_free(order);
    uqff_free(member_of);
    uqff_st_index_free(&index);
    uqff_source_close(source);
    return code;
}

enum uqff_code uqff_safetensors_set_open(const char *path, const struct uqff_warner *warner,
                                         struct uqff_safetensors_set **out,
                                         struct uqff_error *err) {
    struct uqff_safetensors_set *set = uqff_alloc_array(1, sizeof *set);
    if (set == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code;
    if (ends_in(path, ".json")) {
        code = open_index(set, path, warner, err);
    } else if ((code = open_single(set, path, warner, err)) == UQFF_OK) {
        code = list_tensors(set, err);
    }
    if (code != UQFF_OK) {
        uqff_safetensors_set_close(set);
        return code;
    }
    *out = set;
    return UQFF_OK;
}

void uqff_safetensors_set_close(struct uqff_safetensors_set *set) {
    if (set == NULL) {
        return;
    }
    for (size_t i = 0; i < set->member_count; i++) {
        uqff_safetensors_close(set->members[i].file);
        uqff_source_close(set->members[i].source);
    }
    uqff_free(set->members);
    uqff_free(set->tensors);
    uqff_free(set);
}

/* ---- views ----------------------------------------------------------------------------------- */

size_t uqff_safetensors_set_file_count(const struct uqff_safetensors_set *set) {
    return set->member_count;
}

struct uqff_safetensors *uqff_safetensors_set_file(const struct uqff_safetensors_set *set,
                                                   size_t i) {
    return set->members[i].file;
}

size_t uqff_safetensors_set_count(const struct uqff_safetensors_set *set) {
    return set->count;
}

struct uqff_st_set_tensor uqff_safetensors_set_tensor(const struct uqff_safetensors_set *set,
                                                      size_t i) {
    return set->tensors[i];
}

bool uqff_safetensors_set_find(const struct uqff_safetensors_set *set, const char *name,
                               struct uqff_st_set_tensor *out) {
    const struct uqff_st_tensor wanted = {.name = name, .name_length = strlen(name)};
    const struct uqff_st_set_tensor key = {.tensor = &wanted};
    if (set->count == 0) {
        return false;
    }
    const struct uqff_st_set_tensor *found =
        bsearch(&key, set->tensors, set->count, sizeof key, compare_by_name);
    if (found != NULL) {
        *out = *found;
    }
    return found != NULL;
}
