#include "base/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/os.h"

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
    int fd;
    struct stat opened; /* what fstat() said at open */
    char *name;
    void *map;
};

static enum uqff_code file_read(void *self, uint64_t offset, void *out, size_t n,
                                struct uqff_error *err) {
    const struct file *file = self;
    size_t done = 0;
    while (done < n) {
        /* The range lies inside the size, an off_t at open, so the sum fits. */
        off_t at = (off_t)(offset + done);
        ssize_t got = uqff_os.read(file->fd, (char *)out + done, n - done, at);
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

static const void *file_map(void *self) {
    struct file *file = self;
    size_t n;
    if (file->map == NULL && file->opened.st_size > 0 &&
        uqff_to_size((uint64_t)file->opened.st_size, &n)) {
        file->map = uqff_os.map(file->fd, n);
    }
    /* There is nothing to map in an empty file, and nothing to read either. */
    return file->opened.st_size == 0 ? "" : file->map;
}

static void file_close(void *self) {
    struct file *file = self;
    if (file->map != NULL) {
        munmap(file->map, (size_t)file->opened.st_size);
    }
    if (file->fd >= 0) {
        /* Nothing was written, so there is nothing that a failing close could lose. */
        uqff_os.close(file->fd);
    }
    uqff_free(file->name);
    uqff_free(file);
}

static const struct uqff_source_ops file_ops = {file_read, file_map, file_close};

static const struct file *as_file(const struct uqff_source *source) {
    return source->ops.read == file_read ? source->self : NULL;
}

int uqff_source_descriptor(const struct uqff_source *source) {
    const struct file *file = as_file(source);
    return file == NULL ? -1 : file->fd;
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
    do {
        /* O_NONBLOCK: a FIFO opens at once, to be refused below, instead of waiting for a writer.
         * O_NOCTTY: a terminal does not become ours. */
        file->fd =
            uqff_os.open_at(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    } while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) {
        code = uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, path, "cannot open");
        goto out;
    }
    if (uqff_os.stat(file->fd, &file->opened) != 0) {
        code = uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, path, "cannot inspect");
        goto out;
    }
    if (!S_ISREG(file->opened.st_mode)) {
        code = uqff_fail(err, UQFF_E_NOT_REGULAR, UQFF_NO_OFFSET,
                         "%s: it is a %s, expected a regular file", path,
                         kind_of(file->opened.st_mode));
        goto out;
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

/* Looks for `name` among the directory's entries, exactly as written. */
static enum uqff_code find_entry(DIR *listing, const char *name, const char *path,
                                 struct uqff_error *err) {
    char other[256] = "";
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(listing);
        if (entry == NULL) {
            break;
        }
        if (strcmp(entry->d_name, name) == 0) {
            return UQFF_OK;
        }
        if (strcasecmp(entry->d_name, name) == 0 && strlen(entry->d_name) < sizeof other) {
            memcpy(other, entry->d_name, strlen(entry->d_name) + 1);
        }
    }
    if (errno != 0) {
        return uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, path,
                                "cannot list its directory");
    }
    if (other[0] != '\0') {
        return uqff_fail(err, UQFF_E_NOT_FOUND, UQFF_NO_OFFSET,
                         "%s: not found; '%s' is there, whose name differs in case", path, other);
    }
    return uqff_fail_system(err, UQFF_E_NOT_FOUND, UQFF_NO_OFFSET, ENOENT, path, "cannot open");
}

enum uqff_code uqff_source_open_in(const char *directory, const char *name, size_t name_length,
                                   struct uqff_source **out, struct uqff_error *err) {
    if (directory == NULL || directory[0] == '\0') {
        directory = ".";
    }
    if (!uqff_name_is_safe_component(name, name_length)) {
        return uqff_fail(err, UQFF_E_NAME, UQFF_NO_OFFSET,
                         "%s: '%.*s' is not allowed as a file name, expected 1 to 255 bytes of "
                         "UTF-8 without '/', '\\', ':' or control characters",
                         directory, (int)(name_length < 256 ? name_length : 256), name);
    }
    char component[256]; /* a safe component has at most 255 bytes */
    memcpy(component, name, name_length);
    component[name_length] = '\0';

    enum uqff_code code = UQFF_OK;
    DIR *listing = NULL;
    int fd = -1;
    char *path = uqff_path_join(directory, component);
    if (path == NULL) {
        return uqff_fail_memory(err);
    }
    fd = uqff_os.open_at(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        code = uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, directory,
                                "cannot open the directory");
        goto out;
    }
    listing = fdopendir(fd);
    if (listing == NULL) {
        code = uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, directory,
                                "cannot list the directory");
        goto out;
    }
    code = find_entry(listing, component, path, err);
    if (code == UQFF_OK) {
        code = open_file(fd, component, path, out, err);
    }
out:
    if (listing != NULL) {
        closedir(listing); /* closes fd too */
    } else if (fd >= 0) {
        uqff_os.close(fd);
    }
    uqff_free(path);
    return code;
}

bool uqff_source_is_file(const struct uqff_source *source, const char *path) {
    const struct file *file = as_file(source);
    struct stat other;
    return file != NULL && stat(path, &other) == 0 && other.st_dev == file->opened.st_dev &&
           other.st_ino == file->opened.st_ino;
}

enum uqff_code uqff_source_unchanged(const struct uqff_source *source, struct uqff_error *err) {
    const struct file *file = as_file(source);
    struct stat now;
    if (file == NULL) {
        return UQFF_OK;
    }
    if (uqff_os.stat(file->fd, &now) != 0) {
        return uqff_fail_system(err, UQFF_E_READ, UQFF_NO_OFFSET, errno, file->name,
                                "cannot inspect");
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
