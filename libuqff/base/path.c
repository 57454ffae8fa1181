#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "base/path.h"

bool uqff_name_is_safe_component(const char *name, size_t n) {
    if (n == 0 || n > 255 || (n == 1 && name[0] == '.') ||
        (n == 2 && name[0] == '.' && name[1] == '.')) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7F || c == '/' || c == '\\' || c == ':') {
            return false;
        }
    }
    return uqff_utf8_valid(name, n, NULL);
}

static char *copy_text(const char *text, size_t n) {
    char *copy = uqff_alloc(n + 1);
    if (copy != NULL) {
        memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

char *uqff_path_join(const char *directory, const char *name) {
    size_t n = directory == NULL ? 0 : strlen(directory);
    size_t slash = n > 0 && directory[n - 1] != '/';
    size_t length = strlen(name);
    char *path = uqff_alloc(n + slash + length + 1);
    if (path == NULL) {
        return NULL;
    }
    if (n > 0) {
        memcpy(path, directory, n);
    }
    if (slash) {
        path[n] = '/';
    }
    memcpy(path + n + slash, name, length + 1);
    return path;
}

char *uqff_path_directory(const char *path) {
    const char *name = uqff_path_name(path);
    size_t n = (size_t)(name - path);
    if (n == 0) {
        return copy_text(".", 1);
    }
    /* Slashes at the end go, but one that stands alone is the root. */
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    return copy_text(path, n);
}

const char *uqff_path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool uqff_path_is_directory(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool uqff_path_exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

enum uqff_code uqff_make_directory(const char *path, struct uqff_error *err) {
    struct uqff_folder *folder = NULL;
    enum uqff_code code = uqff_folder_make(path, &folder, err);
    if (code == UQFF_OK) {
        uqff_folder_close(folder, true);
    }
    return code;
}

static int compare_names(const void *a, const void *b) {
    /* strcmp() compares as unsigned bytes. */
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Lists and closes the directory. */
static enum uqff_code list(DIR *directory, const char *path, struct uqff_arena *arena,
                           const char ***names, size_t *count, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    void *found = NULL; /* array of char * */
    size_t capacity = 0, n = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            if (errno != 0) {
                code = uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, path,
                                        "cannot read the directory");
                goto out;
            }
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        code = uqff_grow(&found, &capacity, n + 1, sizeof(char *), err);
        if (code != UQFF_OK) {
            goto out;
        }
        char *copy = uqff_arena_copy(arena, entry->d_name, strlen(entry->d_name));
        if (copy == NULL) {
            code = uqff_fail_memory(err);
            goto out;
        }
        ((char **)found)[n++] = copy;
    }
    const char **sorted = uqff_arena_array(arena, n, sizeof *sorted);
    if (sorted == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    if (n > 0) {
        memcpy(sorted, found, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, compare_names);
    }
    *names = sorted;
    *count = n;
out:
    closedir(directory);
    uqff_free(found);
    return code;
}

static enum uqff_code fail_open(const char *path, struct uqff_error *err) {
    return uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, path,
                            "cannot open the directory");
}

enum uqff_code uqff_list_directory(const char *path, struct uqff_arena *arena, const char ***names,
                                   size_t *count, struct uqff_error *err) {
    DIR *directory = opendir(path);
    return directory == NULL ? fail_open(path, err)
                             : list(directory, path, arena, names, count, err);
}

enum uqff_code uqff_list_descriptor(int fd, const char *path, struct uqff_arena *arena,
                                    const char ***names, size_t *count, struct uqff_error *err) {
    /* One of its own, for closedir() closes it; and not a copy, whose position would be shared. */
    int own = uqff_os.open_at(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *directory = own < 0 ? NULL : fdopendir(own);
    if (directory != NULL) {
        return list(directory, path, arena, names, count, err);
    }
    enum uqff_code code = fail_open(path, err);
    if (own >= 0) {
        uqff_os.close(own);
    }
    return code;
}
