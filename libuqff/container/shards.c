/* Shard sets: STEM-0.uqff, STEM-1.uqff, … */
#include <string.h>

#include "container/internal.h"

static const char extension[] = ".uqff";
#define EXTENSION_LENGTH (sizeof extension - 1)

bool uqff_shard_name_parse(const char *name, size_t *stem_length, uint64_t *number) {
    size_t n = strlen(name);
    if (n < EXTENSION_LENGTH || strcmp(name + n - EXTENSION_LENGTH, extension) != 0) {
        return false;
    }
    n -= EXTENSION_LENGTH;
    size_t digits = 0;
    while (digits < n && name[n - digits - 1] >= '0' && name[n - digits - 1] <= '9') {
        digits++;
    }
    /* Eighteen digits fit a uint64_t; a leading zero is no spelling of a shard's number. */
    if (digits == 0 || digits > 18 || n < digits + 2 || name[n - digits - 1] != '-' ||
        (digits > 1 && name[n - digits] == '0')) {
        return false;
    }
    *number = 0;
    for (size_t i = n - digits; i < n; i++) {
        *number = *number * 10 + (uint64_t)(name[i] - '0');
    }
    *stem_length = n - digits - 1;
    return true;
}

size_t uqff_container_stem_length(const char *name) {
    size_t stem;
    uint64_t number;
    if (uqff_shard_name_parse(name, &stem, &number)) {
        return stem;
    }
    size_t n = strlen(name);
    bool has_extension =
        n > EXTENSION_LENGTH && strcmp(name + n - EXTENSION_LENGTH, extension) == 0;
    return has_extension ? n - EXTENSION_LENGTH : n;
}

/* Marks in seen[] which numbers below `limit` the directory has; *highest is one above the largest
 * number of the set at all. */
static void scan_names(const char *const *names, size_t count, const char *name, size_t stem,
                       bool *seen, uint64_t limit, uint64_t *end) {
    *end = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length;
        uint64_t number;
        if (!uqff_shard_name_parse(names[i], &length, &number) || length != stem ||
            memcmp(names[i], name, stem) != 0) {
            continue;
        }
        if (number < limit) {
            seen[number] = true;
        }
        if (number >= *end) {
            *end = number + 1;
        }
    }
}

static enum uqff_code expand(const char *directory, const char *path, const char *name, size_t stem,
                             uint64_t number, struct uqff_arena *arena, const char ***paths,
                             size_t *count, struct uqff_error *err) {
    const char **names;
    size_t name_count;
    enum uqff_code code = uqff_list_directory(directory, arena, &names, &name_count, err);
    if (code != UQFF_OK) {
        return code;
    }
    bool *seen = uqff_arena_array(arena, UQFF_CONTAINER_MAX_SHARDS, sizeof *seen);
    if (seen == NULL) {
        return uqff_fail_memory(err);
    }
    uint64_t end;
    scan_names(names, name_count, name, stem, seen, UQFF_CONTAINER_MAX_SHARDS, &end);
    if (end > UQFF_CONTAINER_MAX_SHARDS) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: the set has a shard number %llu, above the limit of %d", path,
                         (unsigned long long)(end - 1), UQFF_CONTAINER_MAX_SHARDS - 1);
    }
    if (number >= end) {
        return uqff_fail(err, UQFF_E_NOT_FOUND, UQFF_NO_OFFSET, "%s: no such file", path);
    }
    *count = (size_t)end;
    *paths = uqff_arena_array(arena, *count, sizeof **paths);
    if (*paths == NULL) {
        return uqff_fail_memory(err);
    }
    /* What the caller wrote before the name is kept, so that messages show the paths they know. */
    int prefix = (int)(name - path);
    for (size_t i = 0; i < *count; i++) {
        if (!seen[i]) {
            return uqff_fail(err, UQFF_E_MISSING, UQFF_NO_OFFSET,
                             "%s: shard '%.*s-%zu.uqff' is missing, found shards up to number %llu",
                             path, (int)stem, name, i, (unsigned long long)(end - 1));
        }
        (*paths)[i] =
            uqff_arena_printf(arena, "%.*s%.*s-%zu.uqff", prefix, path, (int)stem, name, i);
        if ((*paths)[i] == NULL) {
            return uqff_fail_memory(err);
        }
    }
    return UQFF_OK;
}

enum uqff_code uqff_container_shard_paths(const char *path, struct uqff_arena *arena,
                                          const char ***paths, size_t *count,
                                          struct uqff_error *err) {
    const char *name = uqff_path_name(path);
    size_t stem;
    uint64_t number;
    if (!uqff_shard_name_parse(name, &stem, &number)) {
        *count = 1;
        *paths = uqff_arena_array(arena, 1, sizeof **paths);
        if (*paths == NULL || ((*paths)[0] = uqff_arena_copy(arena, path, strlen(path))) == NULL) {
            return uqff_fail_memory(err);
        }
        return UQFF_OK;
    }
    char *directory = uqff_path_directory(path);
    if (directory == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = expand(directory, path, name, stem, number, arena, paths, count, err);
    uqff_free(directory);
    return code;
}
