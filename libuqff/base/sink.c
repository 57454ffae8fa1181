#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/os.h"
#include "base/source.h"
#include "base/temporary.h"

/* ---- sinks ----------------------------------------------------------------------------------- */

struct uqff_sink {
    char *path;
    const char *name; /* the last component of path */
    char *directory;  /* the rest */
    char *temporary;  /* path while it is not published */
    int directory_fd; /* shared with other sinks there */
    int fd;           /* -1 while the file is opened for each use */
    int slot;
    bool created, overwrite, published, finished;
    bool kept;                    /* fd was taken from the process's share */
    bool replaces;                /* a file, of which `replaced` tells */
    struct stat replaced;         /* what it was when the sink was created */
    atomic_bool dirty;            /* written to since the last flush */
    atomic_uint_least64_t behind; /* bytes written since write-back was last begun */
};

static enum uqff_code fail_write(const struct uqff_sink *sink, uint64_t offset, const char *what,
                                 struct uqff_error *err) {
    return uqff_fail_system(err, UQFF_E_WRITE, offset, errno, sink->path, what);
}

/* Gives the sink its path and what is derived from it. */
static enum uqff_code set_path(struct uqff_sink *sink, char *path, struct uqff_error *err) {
    char *directory = path == NULL ? NULL : uqff_path_directory(path);
    if (directory == NULL) {
        uqff_free(path);
        return uqff_fail_memory(err);
    }
    uqff_free(sink->path);
    uqff_free(sink->directory);
    sink->path = path;
    sink->name = uqff_path_name(path);
    sink->directory = directory;
    return UQFF_OK;
}

/* Moves the path to where a chain of links ends, so that what they lead to is replaced, and not the
 * link. */
static enum uqff_code follow_links(struct uqff_sink *sink, struct uqff_error *err) {
    enum { LINKS = 40 }; /* as many as the kernel follows */
    for (int i = 0; i <= LINKS; i++) {
        char target[PATH_MAX];
        ssize_t n = readlink(sink->path, target, sizeof target);
        if (n < 0) {
            return UQFF_OK; /* no link; what else is wrong is found out by what comes next */
        }
        if ((size_t)n == sizeof target) {
            errno = ENAMETOOLONG;
            return fail_write(sink, UQFF_NO_OFFSET, "cannot be written", err);
        }
        target[n] = '\0';
        enum uqff_code code =
            set_path(sink, uqff_path_join(target[0] == '/' ? NULL : sink->directory, target), err);
        if (code != UQFF_OK) {
            return code;
        }
    }
    errno = ELOOP;
    return fail_write(sink, UQFF_NO_OFFSET, "cannot be written", err);
}

/* Whether the final name is free, or may be replaced. */
static enum uqff_code check_target(struct uqff_sink *sink, struct uqff_error *err) {
    if (sink->name[0] == '\0' || strcmp(sink->name, ".") == 0 || strcmp(sink->name, "..") == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: the name of a directory, expected that of a file", sink->path);
    }
    if (lstat(sink->path, &sink->replaced) != 0) {
        /* A name that is too long, say, is found out now and not when all is written. */
        return errno == ENOENT ? UQFF_OK
                               : fail_write(sink, UQFF_NO_OFFSET, "cannot be written", err);
    }
    struct stat status;
    /* Through a link, for it is the device or pipe behind it that must not be replaced. */
    bool special = stat(sink->path, &status) == 0 && !S_ISREG(status.st_mode);
    if (special) {
        return uqff_fail(err, UQFF_E_NOT_REGULAR, UQFF_NO_OFFSET,
                         "%s: exists and is not a regular file, so it cannot be written",
                         sink->path);
    }
    if (!sink->overwrite) {
        return uqff_fail(err, UQFF_E_EXISTS, UQFF_NO_OFFSET, "%s: already exists", sink->path);
    }
    sink->replaces = true;
    return UQFF_OK;
}

/* Six characters that no other process is using here. */
static void random_letters(char out[7]) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char bytes[6];
    if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != (ssize_t)sizeof bytes) {
        struct timespec now = {0};
        clock_gettime(CLOCK_MONOTONIC, &now);
        uint64_t seed = (uint64_t)now.tv_nsec * 0x9E3779B97F4A7C15u ^ (uint64_t)getpid() << 20;
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (unsigned char)(seed >> (8 * i + 8));
        }
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[i] = letters[bytes[i] % (sizeof letters - 1)];
    }
    out[6] = '\0';
}

/* A descriptor for one use of the temporary file: the sink's own, or one opened for it. */
static enum uqff_code acquire(const struct uqff_sink *sink, uint64_t offset, int *fd,
                              struct uqff_error *err) {
    *fd = sink->fd;
    if (sink->kept) {
        return UQFF_OK;
    }
    do {
        *fd = uqff_os.open_at(sink->directory_fd, uqff_path_name(sink->temporary),
                              O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    } while (*fd < 0 && errno == EINTR);
    return *fd >= 0 ? UQFF_OK : fail_write(sink, offset, "cannot open its temporary file", err);
}

/* Ends the use, which has come to `code` so far. On a network file system, closing may be where a
 * lost write shows. The descriptor is gone whatever close() says, so it is not tried again. */
static enum uqff_code release(const struct uqff_sink *sink, int fd, enum uqff_code code,
                              struct uqff_error *err) {
    if (sink->kept || fd < 0) {
        return code;
    }
    if (uqff_os.close(fd) != 0 && errno != EINTR && code == UQFF_OK) {
        return fail_write(sink, UQFF_NO_OFFSET, "cannot close", err);
    }
    return code;
}

/* Keeps the descriptor that the file was created with, if that is not one too many. */
static enum uqff_code settle(struct uqff_sink *sink, struct uqff_error *err) {
    sink->kept = uqff_descriptor_take();
    if (sink->kept) {
        return UQFF_OK;
    }
    int fd = sink->fd;
    sink->fd = -1;
    return release(sink, fd, UQFF_OK, err);
}

/* Creates ".NAME.XXXXXX.partial" beside the final name. */
static enum uqff_code create_temporary(struct uqff_sink *sink, struct uqff_error *err) {
    /* The decoration has 16 bytes; a name that leaves no room for it is cut, here only. */
    size_t length = strlen(sink->name);
    int kept = (int)(length < NAME_MAX - 16 ? length : NAME_MAX - 16);
    for (int attempt = 0; attempt < 100; attempt++) {
        char letters[7], name[NAME_MAX + 1];
        random_letters(letters);
        snprintf(name, sizeof name, ".%.*s.%s.partial", kept, sink->name, letters);
        /* Before the file exists, so that there is no moment at which a signal would miss it. */
        sink->slot = uqff_temporary_arm(sink->directory_fd, name);
        if (sink->slot == UQFF_TEMPORARY_NONE) {
            return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                             "%s: more than %d files are being written at once", sink->path,
                             UQFF_TEMPORARY_MOST);
        }
        /* 0666 less the process's umask. What replaces a file gets that one's mode when it gets its
         * name; until then nobody else may read what perhaps few may. */
        sink->fd = uqff_os.open_at(sink->directory_fd, name,
                                   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                                   sink->replaces ? 0600 : 0666);
        if (sink->fd >= 0) {
            sink->created = true;
            sink->temporary = uqff_path_join(sink->directory, name);
            if (sink->temporary == NULL) {
                uqff_os.unlink(sink->directory_fd, name);
                sink->created = false;
                return uqff_fail_memory(err);
            }
            return settle(sink, err);
        }
        uqff_temporary_disarm(sink->slot);
        sink->slot = UQFF_TEMPORARY_NONE;
        if (errno != EEXIST && errno != EINTR) {
            break;
        }
    }
    return fail_write(sink, UQFF_NO_OFFSET, "cannot create a temporary file beside it", err);
}

enum uqff_code uqff_sink_create(const char *path, bool overwrite, struct uqff_sink **out,
                                struct uqff_error *err) {
    enum uqff_code code;
    struct uqff_sink *sink = uqff_alloc_array(1, sizeof *sink);
    if (sink == NULL) {
        return uqff_fail_memory(err);
    }
    sink->fd = sink->directory_fd = -1;
    sink->slot = UQFF_TEMPORARY_NONE;
    sink->overwrite = overwrite;
    code = set_path(sink, uqff_path_join(NULL, path), err);
    if (code == UQFF_OK && overwrite) {
        code = follow_links(sink, err);
    }
    if (code == UQFF_OK) {
        code = check_target(sink, err);
    }
    if (code != UQFF_OK) {
        goto out;
    }
    /* Kept open: the rename and its flush mean this directory, whatever its path leads to by then.
     */
    sink->directory_fd = uqff_directory_hold(sink->directory);
    if (sink->directory_fd < 0) {
        code = fail_write(sink, UQFF_NO_OFFSET, "cannot open its directory", err);
        goto out;
    }
    code = create_temporary(sink, err);
out:
    if (code != UQFF_OK) {
        uqff_sink_close(sink);
        return code;
    }
    *out = sink;
    return UQFF_OK;
}

const char *uqff_sink_path(const struct uqff_sink *sink) {
    return sink->path;
}

const char *uqff_sink_temporary_path(const struct uqff_sink *sink) {
    return sink->published ? sink->path : sink->temporary;
}

/* Whether n bytes at offset can be written: the sink is open, and no file offset overflows. */
static enum uqff_code check_write(const struct uqff_sink *sink, uint64_t offset, uint64_t n,
                                  struct uqff_error *err) {
    if (sink->finished) {
        return uqff_fail(err, UQFF_E_INTERNAL, offset, "%s: written to after it was finished",
                         sink->path);
    }
    if (offset > INT64_MAX || n > INT64_MAX - offset) {
        return uqff_fail(err, UQFF_E_WRITE, offset,
                         "%s: %" PRIu64 " bytes at byte %" PRIu64
                         " are beyond what a file can hold",
                         sink->path, n, offset);
    }
    return UQFF_OK;
}

static enum uqff_code write_all(const struct uqff_sink *sink, int fd, uint64_t offset,
                                const void *bytes, size_t n, struct uqff_error *err) {
    size_t done = 0;
    while (done < n) {
        uint64_t at = offset + done;
        ssize_t written = uqff_os.write(fd, (const char *)bytes + done, n - done, (off_t)at);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return fail_write(sink, at, "cannot write", err);
        }
        if (written == 0) {
            return uqff_fail(err, UQFF_E_WRITE, at,
                             "%s: cannot write: nothing was taken of %zu bytes", sink->path,
                             n - done);
        }
        done += (size_t)written;
    }
    return UQFF_OK;
}

/* Lets the disk begin with what is written while more is being made: the flush at the end would
 * else wait for all of it. A hint, so a refusal does not matter. */
static void begin_write_back(struct uqff_sink *sink, int fd, uint64_t n) {
#ifdef SYNC_FILE_RANGE_WRITE
    enum { STEP = 16 << 20 };
    if (atomic_fetch_add(&sink->behind, n) + n >= STEP) {
        atomic_store(&sink->behind, 0);
        int number = errno;
        (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        errno = number;
    }
#else
    (void)sink, (void)fd, (void)n;
#endif
}

enum uqff_code uqff_sink_write(struct uqff_sink *sink, uint64_t offset, const void *bytes, size_t n,
                               struct uqff_error *err) {
    int fd = -1;
    enum uqff_code code = check_write(sink, offset, n, err);
    if (code != UQFF_OK) {
        return code;
    }
    atomic_store(&sink->dirty, true);
    code = acquire(sink, offset, &fd, err);
    if (code == UQFF_OK) {
        code = write_all(sink, fd, offset, bytes, n, err);
    }
    if (code == UQFF_OK) {
        begin_write_back(sink, fd, n);
    }
    return release(sink, fd, code, err);
}

/* Lets the kernel copy as much as it can, sharing the blocks where the file system does that.
 * *done is how much was copied; the rest is left to the caller, whose own calls find the reason. */
static enum uqff_code copy_in_kernel(const struct uqff_sink *sink, int fd, uint64_t offset,
                                     int from, uint64_t from_offset, uint64_t n, uint64_t *done,
                                     struct uqff_error *err) {
    while (*done < n) {
        uint64_t left = n - *done;
        size_t step = left < 1u << 30 ? (size_t)left : 1u << 30;
        ssize_t copied =
            uqff_os.copy(from, (off_t)(from_offset + *done), fd, (off_t)(offset + *done), step);
        if (copied < 0 && errno == EINTR) {
            continue;
        }
        if (copied < 0 && (errno == ENOSPC || errno == EDQUOT)) {
            return fail_write(sink, offset + *done, "cannot write", err);
        }
        if (copied <= 0) {
            return UQFF_OK;
        }
        *done += (uint64_t)copied;
    }
    return UQFF_OK;
}

/* The same, from a source, which may be no file. */
static enum uqff_code copy_between_files(struct uqff_sink *sink, uint64_t offset,
                                         const struct uqff_source *source, uint64_t source_offset,
                                         uint64_t n, uint64_t *done, struct uqff_error *err) {
    int from = -1, fd = -1;
    enum uqff_code code = uqff_source_acquire(source, &from, err);
    if (code != UQFF_OK || from < 0) {
        return code;
    }
    atomic_store(&sink->dirty, true);
    code = acquire(sink, offset, &fd, err);
    if (code == UQFF_OK) {
        code = copy_in_kernel(sink, fd, offset, from, source_offset, n, done, err);
    }
    if (code == UQFF_OK) {
        begin_write_back(sink, fd, *done);
    }
    code = release(sink, fd, code, err);
    uqff_source_release(source, from);
    return code;
}

enum uqff_code uqff_sink_copy(struct uqff_sink *sink, uint64_t offset, struct uqff_source *source,
                              uint64_t source_offset, uint64_t n, struct uqff_error *err) {
    enum { STEP = 1 << 20 };
    uint64_t done = 0;
    enum uqff_code code = check_write(sink, offset, n, err);
    if (code == UQFF_OK) {
        code = uqff_source_check_range(source, source_offset, n, err);
    }
    if (code != UQFF_OK || n == 0) {
        return code;
    }
    code = copy_between_files(sink, offset, source, source_offset, n, &done, err);
    if (code != UQFF_OK || done == n) {
        return code;
    }
    size_t size = n - done < STEP ? (size_t)(n - done) : STEP;
    unsigned char *block = uqff_alloc(size);
    if (block == NULL) {
        return uqff_fail_memory(err);
    }
    while (code == UQFF_OK && done < n) {
        size_t step = n - done < size ? (size_t)(n - done) : size;
        code = uqff_source_read(source, source_offset + done, block, step, err);
        if (code == UQFF_OK) {
            code = uqff_sink_write(sink, offset + done, block, step, err);
        }
        done += step;
    }
    uqff_free(block);
    return code;
}

static int sync_retrying(int fd) {
    int result;
    do {
        result = uqff_os.sync(fd);
    } while (result != 0 && errno == EINTR);
    return result;
}

enum uqff_code uqff_sink_flush(struct uqff_sink *sink, struct uqff_error *err) {
    int fd = -1;
    enum uqff_code code = check_write(sink, 0, 0, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = acquire(sink, UQFF_NO_OFFSET, &fd, err);
    if (code == UQFF_OK && sync_retrying(fd) != 0) {
        code = fail_write(sink, UQFF_NO_OFFSET, "cannot flush", err);
    }
    code = release(sink, fd, code, err);
    if (code == UQFF_OK) {
        atomic_store(&sink->dirty, false);
    }
    return code;
}

/* Whoever could read the file that is replaced, and no other, reads the new one. */
static enum uqff_code keep_access(struct uqff_sink *sink, struct uqff_error *err) {
    int fd = -1;
    enum uqff_code code = acquire(sink, UQFF_NO_OFFSET, &fd, err);
    if (code == UQFF_OK) {
        /* Only who may give files away keeps the owner, but a group of one's own is possible. The
         * owner goes first, for a change of it takes bits of the mode away. */
        bool given = fchown(fd, sink->replaced.st_uid, sink->replaced.st_gid) == 0 ||
                     fchown(fd, (uid_t)-1, sink->replaced.st_gid) == 0;
        (void)given;
        /* File systems without modes refuse. */
        if (uqff_os.chmod(fd, sink->replaced.st_mode & 0777) != 0 && errno != EPERM &&
            errno != ENOSYS && errno != EOPNOTSUPP) {
            code = fail_write(sink, UQFF_NO_OFFSET, "cannot be given the mode it had", err);
        }
        atomic_store(&sink->dirty, true);
    }
    return release(sink, fd, code, err);
}

/* Gives the file its final name without replacing one that has appeared since. */
static int rename_to_new(const struct uqff_sink *sink, const char *temporary) {
    int directory = sink->directory_fd;
    struct stat status;
    if (uqff_os.rename(directory, temporary, sink->name, false) == 0) {
        return 0;
    }
    if (errno != ENOSYS && errno != EINVAL && errno != EOPNOTSUPP) {
        return -1;
    }
    if (uqff_os.link(directory, temporary, sink->name) == 0) {
        return uqff_os.unlink(directory, temporary);
    }
    if (errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP && errno != EMLINK) {
        return -1;
    }
    /* A file system with neither (FAT, some in user space): looking first is the best there is. */
    if (fstatat(directory, sink->name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return uqff_os.rename(directory, temporary, sink->name, true);
}

/* Closes the sink's own descriptor, if it has one, for good. */
static enum uqff_code drop_descriptor(struct uqff_sink *sink, struct uqff_error *err) {
    int fd = sink->fd;
    sink->fd = -1;
    sink->finished = true;
    if (sink->kept) {
        sink->kept = false;
        uqff_descriptor_give();
    }
    return release(sink, fd, UQFF_OK, err);
}

enum uqff_code uqff_sink_publish(struct uqff_sink *sink, struct uqff_error *err) {
    if (sink->published) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET, "%s: published twice", sink->path);
    }
    enum uqff_code code = check_write(sink, 0, 0, err);
    if (code == UQFF_OK && sink->replaces) {
        code = keep_access(sink, err);
    }
    if (code == UQFF_OK && atomic_load(&sink->dirty)) {
        code = uqff_sink_flush(sink, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    /* Closing comes first: it is the last chance to learn of a lost write. */
    code = drop_descriptor(sink, err);
    if (code != UQFF_OK) {
        return code;
    }
    const char *temporary = uqff_path_name(sink->temporary);
    int renamed = sink->overwrite ? uqff_os.rename(sink->directory_fd, temporary, sink->name, true)
                                  : rename_to_new(sink, temporary);
    if (renamed != 0) {
        return fail_write(sink, UQFF_NO_OFFSET, "cannot give the finished file its name", err);
    }
    sink->published = true;
    uqff_temporary_disarm(sink->slot);
    sink->slot = UQFF_TEMPORARY_NONE;
    /* Some file systems have nothing to flush in a directory and say EINVAL. */
    if (sync_retrying(sink->directory_fd) != 0 && errno != EINVAL) {
        return fail_write(sink, UQFF_NO_OFFSET, "is in place, but its directory cannot be flushed",
                          err);
    }
    return UQFF_OK;
}

void uqff_sink_close(struct uqff_sink *sink) {
    if (sink == NULL) {
        return;
    }
    /* Unpublished: what a failing close might lose is removed next. */
    (void)drop_descriptor(sink, NULL);
    if (sink->created && !sink->published) {
        uqff_os.unlink(sink->directory_fd, uqff_path_name(sink->temporary));
    }
    uqff_temporary_disarm(sink->slot);
    uqff_directory_drop(sink->directory_fd);
    uqff_free(sink->temporary);
    uqff_free(sink->directory);
    uqff_free(sink->path);
    uqff_free(sink);
}

enum uqff_code uqff_write_file(const char *path, const void *bytes, size_t n, bool overwrite,
                               struct uqff_error *err) {
    struct uqff_sink *sink;
    enum uqff_code code = uqff_sink_create(path, overwrite, &sink, err);
    if (code != UQFF_OK) {
        return code;
    }
    code = uqff_sink_write(sink, 0, bytes, n, err);
    if (code == UQFF_OK) {
        code = uqff_sink_publish(sink, err);
    }
    uqff_sink_close(sink);
    return code;
}
