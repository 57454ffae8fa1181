#include "base/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/os.h"
#include "base/path.h"

struct uqff_source {
    struct uqff_source_ops ops;
    void *self;
    uint64_t size;
    char *name;
};

/* ---- the interface --------------------------------------------------------------------------- */

enum uqff_code uqff_source_new(const struct uqff_source_ops *ops, void *self, uint64_t size,
                               const char *name, struct uqff_source **out, struct uqff_error *err) {
    struct uqff_source *source = uqff_alloc_array(1, sizeof *source);
    if (source == NULL) {
        return uqff_fail_memory(err);
    }
    source->name = uqff_path_join(NULL, name);
    if (source->name == NULL) {
        uqff_free(source);
        return uqff_fail_memory(err);
    }
    source->ops = *ops;
    source->self = self;
    source->size = size;
    *out = source;
    return UQFF_OK;
}

void uqff_source_close(struct uqff_source *source) {
    if (source == NULL) {
        return;
    }
    if (source->ops.close != NULL) {
        source->ops.close(source->self);
    }
    uqff_free(source->name);
    uqff_free(source);
}

uint64_t uqff_source_size(const struct uqff_source *source) {
    return source->size;
}

const char *uqff_source_name(const struct uqff_source *source) {
    return source->name;
}

enum uqff_code uqff_source_check_range(const struct uqff_source *source, uint64_t offset,
                                       uint64_t n, struct uqff_error *err) {
    if (offset <= source->size && n <= source->size - offset) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_TRUNCATED, offset,
                     "%s: %" PRIu64 " bytes are needed at byte %" PRIu64
                     ", but the size is %" PRIu64,
                     source->name, n, offset, source->size);
}

enum uqff_code uqff_source_read(struct uqff_source *source, uint64_t offset, void *out, size_t n,
                                struct uqff_error *err) {
    enum uqff_code code = uqff_source_check_range(source, offset, n, err);
    if (code != UQFF_OK || n == 0) {
        return code;
    }
    return source->ops.read(source->self, offset, out, n, err);
}

const void *uqff_source_map(struct uqff_source *source) {
    return source->ops.map == NULL ? NULL : source->ops.map(source->self);
}

enum uqff_code uqff_source_read_all(struct uqff_source *source, uint64_t limit, char **out,
                                    size_t *size, struct uqff_error *err) {
    size_t n;
    if (source->size > limit || !uqff_to_size(source->size, &n) || n > PTRDIFF_MAX - 1) {
        return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: the size is %" PRIu64 " bytes, at most %" PRIu64 " are read whole",
                         source->name, source->size, limit);
    }
    char *content = uqff_alloc(n + 1);
    if (content == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_source_read(source, 0, content, n, err);
    if (code != UQFF_OK) {
        uqff_free(content);
        return code;
    }
    content[n] = '\0';
    *out = content;
    *size = n;
    return UQFF_OK;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static enum uqff_code memory_read(void *self, uint64_t offset, void *out, size_t n,
                                  struct uqff_error *err) {
    (void)err;
    memcpy(out, (const unsigned char *)self + offset, n);
    return UQFF_OK;
}

static const void *memory_map(void *self) {
    return self;
}

enum uqff_code uqff_source_memory(const void *bytes, size_t n, const char *name,
                                  struct uqff_source **out, struct uqff_error *err) {
    static const struct uqff_source_ops ops = {memory_read, memory_map, NULL};
    /* The interface's `self` is not const; nothing here writes through it. */
    union {
        const void *given;
        void *self;
    } pointer = {.given = n == 0 ? "" : bytes};
    return uqff_source_new(&ops, pointer.self, n, name, out, err);
}

/* ---- files ----------------------------------------------------------------------------------- */

struct file {
    int fd;             /* -1 while the file is opened for each use */
    bool kept;          /* fd was taken from the process's share */
    struct stat opened; /* what fstat() said at open */
    char *name;
    _Atomic(void *) map; /* made on first use, by whichever thread comes first */
};

/* Opens `name` below `directory` to see what it is; `path` is what errors call it. */
static enum uqff_code open_descriptor(int directory, const char *name, const char *path, int *fd,
                                      struct stat *status, struct uqff_error *err) {
    do {
        /* O_NONBLOCK: a FIFO opens at once, to be refused later, instead of waiting for a writer.
         * O_NOCTTY: a terminal does not become ours. */
        *fd = uqff_os.open_at(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    } while (*fd < 0 && errno == EINTR);
    if (*fd < 0) {
        return uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, path, "cannot open");
    }
    if (uqff_os.stat(*fd, status) != 0) {
        enum uqff_code code =
            uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, path, "cannot inspect");
        uqff_os.close(*fd);
        *fd = -1;
        return code;
    }
    return UQFF_OK;
}

static void file_release(const struct file *file, int fd) {
    if (fd >= 0 && !file->kept) {
        /* Nothing was written, so there is nothing that a failing close could lose. */
        uqff_os.close(fd);
    }
}

/* A descriptor for one use: the file's own, or one of the same file opened anew. */
static enum uqff_code file_acquire(const struct file *file, int *fd, struct uqff_error *err) {
    struct stat now;
    *fd = file->fd;
    if (file->kept) {
        return UQFF_OK;
    }
    enum uqff_code code = open_descriptor(AT_FDCWD, file->name, file->name, fd, &now, err);
    if (code == UQFF_OK &&
        (now.st_dev != file->opened.st_dev || now.st_ino != file->opened.st_ino)) {
        code = uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET,
                         "%s: changed while being read: another file has its name now", file->name);
        file_release(file, *fd);
        *fd = -1;
    }
    return code;
}

static enum uqff_code read_from(const struct file *file, int fd, uint64_t offset, void *out,
                                size_t n, struct uqff_error *err) {
    size_t done = 0;
    while (done < n) {
        /* The range lies inside the size, an off_t at open, so the sum fits. */
        off_t at = (off_t)(offset + done);
        ssize_t got = uqff_os.read(fd, (char *)out + done, n - done, at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return uqff_fail_system(err, UQFF_E_READ, (uint64_t)at, errno, file->name,
                                    "cannot read");
        }
        if (got == 0) {
            return uqff_fail(err, UQFF_E_CHANGED, (uint64_t)at,
                             "%s: ends at byte %" PRIu64 ", but had %" PRIu64
                             " bytes when it was opened: cut while being read",
                             file->name, (uint64_t)at, (uint64_t)file->opened.st_size);
        }
        done += (size_t)got;
    }
    return UQFF_OK;
}

static enum uqff_code file_read(void *self, uint64_t offset, void *out, size_t n,
                                struct uqff_error *err) {
    const struct file *file = self;
    int fd = -1;
    enum uqff_code code = file_acquire(file, &fd, err);
    if (code == UQFF_OK) {
        code = read_from(file, fd, offset, out, n, err);
    }
    file_release(file, fd);
    return code;
}

static const void *file_map(void *self) {
    struct file *file = self;
    void *map = atomic_load(&file->map);
    size_t n;
    int fd = -1;
    if (map == NULL && file->opened.st_size > 0 &&
        uqff_to_size((uint64_t)file->opened.st_size, &n) &&
        file_acquire(file, &fd, NULL) == UQFF_OK) {
        void *made = uqff_os.map(fd, n); /* which outlives the descriptor */
        file_release(file, fd);
        if (made != NULL && !atomic_compare_exchange_strong(&file->map, &map, made)) {
            munmap(made, n); /* `map` is now the one that another thread has made meanwhile */
        } else {
            map = made;
        }
    }
    /* There is nothing to map in an empty file, and nothing to read either. */
    return file->opened.st_size == 0 ? "" : map;
}

static void file_close(void *self) {
    struct file *file = self;
    if (file->map != NULL) {
        munmap(file->map, (size_t)file->opened.st_size);
    }
    if (file->fd >= 0) {
        uqff_os.close(file->fd);
    }
    if (file->kept) {
        uqff_descriptor_give();
    }
    uqff_free(file->name);
    uqff_free(file);
}

static const struct uqff_source_ops file_ops = {file_read, file_map, file_close};

static const struct file *as_file(const struct uqff_source *source) {
    return source->ops.read == file_read ? source->self : NULL;
}

enum uqff_code uqff_source_acquire(const struct uqff_source *source, int *fd,
                                   struct uqff_error *err) {
    const struct file *file = as_file(source);
    *fd = -1;
    return file == NULL ? UQFF_OK : file_acquire(file, fd, err);
}

void uqff_source_release(const struct uqff_source *source, int fd) {
    const struct file *file = as_file(source);
    if (file != NULL) {
        file_release(file, fd);
    }
}

static const char *kind_of(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "directory";
    case S_IFIFO:
        return "FIFO";
    case S_IFCHR:
    case S_IFBLK:
        return "device";
    case S_IFSOCK:
        return "socket";
    default:
        return "special file";
    }
}

/* Opens `name` below `directory`; `path` is what errors call it. */
static enum uqff_code open_file(int directory, const char *name, const char *path,
                                struct uqff_source **out, struct uqff_error *err) {
    enum uqff_code code;
    struct file *file = uqff_alloc_array(1, sizeof *file);
    if (file == NULL) {
        return uqff_fail_memory(err);
    }
    file->fd = -1;
    file->name = uqff_path_join(NULL, path);
    if (file->name == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    code = open_descriptor(directory, name, path, &file->fd, &file->opened, err);
    if (code != UQFF_OK) {
        goto out;
    }
    if (!S_ISREG(file->opened.st_mode)) {
        code = uqff_fail(err, UQFF_E_NOT_REGULAR, UQFF_NO_OFFSET,
                         "%s: it is a %s, expected a regular file", path,
                         kind_of(file->opened.st_mode));
        goto out;
    }
    file->kept = uqff_descriptor_take();
    if (!file->kept) {
        uqff_os.close(file->fd);
        file->fd = -1;
    }
    code = uqff_source_new(&file_ops, file, (uint64_t)file->opened.st_size, path, out, err);
out:
    if (code != UQFF_OK) {
        file_close(file);
    }
    return code;
}

enum uqff_code uqff_source_open(const char *path, struct uqff_source **out,
                                struct uqff_error *err) {
    return open_file(AT_FDCWD, path, path, out, err);
}

/* ---- files of a directory -------------------------------------------------------------------- */

struct uqff_directory {
    struct uqff_arena arena;
    char *path;
    int fd;
    const char **names; /* sorted */
    size_t count;
};

enum uqff_code uqff_directory_open(const char *path, struct uqff_directory **out,
                                   struct uqff_error *err) {
    enum uqff_code code;
    struct uqff_directory *directory = uqff_alloc_array(1, sizeof *directory);
    if (directory == NULL) {
        return uqff_fail_memory(err);
    }
    directory->fd = -1;
    directory->path = uqff_path_join(NULL, path == NULL || path[0] == '\0' ? "." : path);
    if (directory->path == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    directory->fd =
        uqff_os.open_at(AT_FDCWD, directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (directory->fd < 0) {
        code = uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, directory->path,
                                "cannot open the directory");
        goto out;
    }
    code = uqff_list_descriptor(directory->fd, directory->path, &directory->arena,
                                &directory->names, &directory->count, err);
out:
    if (code != UQFF_OK) {
        uqff_directory_close(directory);
        return code;
    }
    *out = directory;
    return UQFF_OK;
}

void uqff_directory_close(struct uqff_directory *directory) {
    if (directory == NULL) {
        return;
    }
    if (directory->fd >= 0) {
        uqff_os.close(directory->fd);
    }
    uqff_arena_free(&directory->arena);
    uqff_free(directory->path);
    uqff_free(directory);
}

static int compare_name(const void *key, const void *element) {
    return strcmp(key, *(const char *const *)element);
}

/* Looks for `name` among the directory's entries, exactly as written. */
static enum uqff_code find_entry(const struct uqff_directory *directory, const char *name,
                                 const char *path, struct uqff_error *err) {
    if (directory->count > 0 && bsearch(name, directory->names, directory->count,
                                        sizeof *directory->names, compare_name) != NULL) {
        return UQFF_OK;
    }
    for (size_t i = 0; i < directory->count; i++) {
        if (strcasecmp(directory->names[i], name) == 0) {
            return uqff_fail(err, UQFF_E_NOT_FOUND, UQFF_NO_OFFSET,
                             "%s: not found; '%s' is there, whose name differs in case", path,
                             directory->names[i]);
        }
    }
    return uqff_fail_system(err, UQFF_E_NOT_FOUND, UQFF_NO_OFFSET, ENOENT, path, "cannot open");
}

static enum uqff_code check_component(const char *directory, const char *name, size_t length,
                                      struct uqff_error *err) {
    if (uqff_name_is_safe_component(name, length)) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                     "%s: '%.*s' is not allowed as a file name, expected 1 to 255 bytes of "
                     "UTF-8 without '/', '\\', ':' or control characters",
                     directory, (int)(length < 256 ? length : 256), name);
}

enum uqff_code uqff_directory_source(const struct uqff_directory *directory, const char *name,
                                     size_t name_length, struct uqff_source **out,
                                     struct uqff_error *err) {
    enum uqff_code code = check_component(directory->path, name, name_length, err);
    if (code != UQFF_OK) {
        return code;
    }
    char component[256]; /* a safe component has at most 255 bytes */
    memcpy(component, name, name_length);
    component[name_length] = '\0';
    char *path = uqff_path_join(directory->path, component);
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    code = find_entry(directory, component, path, err);
    if (code == UQFF_OK) {
        code = open_file(directory->fd, component, path, out, err);
    }
    uqff_free(path);
    return code;
}

enum uqff_code uqff_source_open_in(const char *directory, const char *name, size_t name_length,
                                   struct uqff_source **out, struct uqff_error *err) {
    struct uqff_directory *listed = NULL;
    /* First, for a name that is not allowed is so whatever the directory holds. */
    enum uqff_code code = check_component(
        directory == NULL || directory[0] == '\0' ? "." : directory, name, name_length, err);
    if (code == UQFF_OK) {
        code = uqff_directory_open(directory, &listed, err);
    }
    if (code == UQFF_OK) {
        code = uqff_directory_source(listed, name, name_length, out, err);
    }
    uqff_directory_close(listed);
    return code;
}

/* ---- what became of a file ------------------------------------------------------------------- */

bool uqff_source_is_file(const struct uqff_source *source, const char *path) {
    const struct file *file = as_file(source);
    struct stat other;
    return file != NULL && stat(path, &other) == 0 && other.st_dev == file->opened.st_dev &&
           other.st_ino == file->opened.st_ino;
}

enum uqff_code uqff_source_unchanged(const struct uqff_source *source, struct uqff_error *err) {
    const struct file *file = as_file(source);
    struct stat now;
    int fd = -1;
    if (file == NULL) {
        return UQFF_OK;
    }
    enum uqff_code code = file_acquire(file, &fd, err);
    if (code == UQFF_OK && uqff_os.stat(fd, &now) != 0) {
        code =
            uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, file->name, "cannot inspect");
    }
    file_release(file, fd);
    if (code != UQFF_OK) {
        return code;
    }
    if (now.st_size != file->opened.st_size) {
        return uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET,
                         "%s: changed while being read: %" PRIu64 " bytes now, %" PRIu64 " at open",
                         file->name, (uint64_t)now.st_size, (uint64_t)file->opened.st_size);
    }
    if (now.st_mtim.tv_sec != file->opened.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != file->opened.st_mtim.tv_nsec) {
        return uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET,
                         "%s: changed while being read: it was written to since it was opened",
                         file->name);
    }
    return UQFF_OK;
}
