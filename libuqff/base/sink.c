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

#include "base/os.h"
#include "base/source.h"

/* ---- temporary files that a signal handler may have to remove -------------------------------- */

/* A slot goes FREE -> BUSY -> ARMED -> BUSY -> FREE. Only who moved it to BUSY touches the rest of
 * it, so a handler that claims an armed slot can use the name without a lock. */
enum { SLOT_FREE, SLOT_BUSY, SLOT_ARMED };
enum { SLOTS = 1024, NO_SLOT = -1 };

static struct slot {
    atomic_int state;
    int directory;
    char name[NAME_MAX + 1];
} slots[SLOTS];

static bool claim(struct slot *slot, int from) {
    return atomic_compare_exchange_strong(&slot->state, &from, SLOT_BUSY);
}

static int arm_slot(int directory, const char *name) {
    for (int i = 0; i < SLOTS; i++) {
        if (claim(&slots[i], SLOT_FREE)) {
            slots[i].directory = directory;
            memcpy(slots[i].name, name, strlen(name) + 1);
            atomic_store(&slots[i].state, SLOT_ARMED);
            return i;
        }
    }
    return NO_SLOT;
}

static void free_slot(int index) {
    /* A slot that cannot be claimed belongs to the handler, which ends the program. */
    if (index != NO_SLOT && claim(&slots[index], SLOT_ARMED)) {
        atomic_store(&slots[index].state, SLOT_FREE);
    }
}

void uqff_sink_remove_all_temporary(void) {
    int number = errno; /* the interrupted code's */
    for (int i = 0; i < SLOTS; i++) {
        if (claim(&slots[i], SLOT_ARMED)) {
            uqff_os.unlink(slots[i].directory, slots[i].name);
        }
    }
    errno = number;
}

/* ---- sinks ----------------------------------------------------------------------------------- */

struct uqff_sink {
    char *path;
    const char *name; /* the last component of path */
    char *directory;  /* the rest */
    char *temporary;  /* path while it is not published */
    int directory_fd, fd;
    int slot;
    bool created, overwrite, published;
    atomic_bool dirty; /* written to since the last flush */
};

static enum uqff_code fail_write(const struct uqff_sink *sink, uint64_t offset, const char *what,
                                 struct uqff_error *err) {
    return uqff_fail_system(err, UQFF_E_WRITE, offset, errno, sink->path, what);
}

/* Whether the final name is free, or may be replaced. */
static enum uqff_code check_target(const struct uqff_sink *sink, struct uqff_error *err) {
    struct stat status;
    if (sink->name[0] == '\0' || strcmp(sink->name, ".") == 0 || strcmp(sink->name, "..") == 0) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: the name of a directory, expected that of a file", sink->path);
    }
    if (lstat(sink->path, &status) != 0) {
        /* A name that is too long, say, is found out now and not when all is written. */
        return errno == ENOENT ? UQFF_OK
                               : fail_write(sink, UQFF_NO_OFFSET, "cannot be written", err);
    }
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
        sink->slot = arm_slot(sink->directory_fd, name);
        if (sink->slot == NO_SLOT) {
            return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                             "%s: more than %d files are being written at once", sink->path, SLOTS);
        }
        /* 0666 less the process's umask. */
        sink->fd = uqff_os.open_at(sink->directory_fd, name,
                                   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (sink->fd >= 0) {
            sink->created = true;
            sink->temporary = uqff_path_join(sink->directory, name);
            if (sink->temporary == NULL) {
                uqff_os.unlink(sink->directory_fd, name);
                sink->created = false;
                return uqff_fail_memory(err);
            }
            return UQFF_OK;
        }
        free_slot(sink->slot);
        sink->slot = NO_SLOT;
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
    sink->slot = NO_SLOT;
    sink->overwrite = overwrite;
    sink->path = uqff_path_join(NULL, path);
    sink->directory = uqff_path_directory(path);
    if (sink->path == NULL || sink->directory == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    sink->name = uqff_path_name(sink->path);
    code = check_target(sink, err);
    if (code != UQFF_OK) {
        goto out;
    }
    /* Kept open: the rename and its flush mean this directory, whatever its path leads to by then.
     */
    sink->directory_fd =
        uqff_os.open_at(AT_FDCWD, sink->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
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
    if (sink->fd < 0) {
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

enum uqff_code uqff_sink_write(struct uqff_sink *sink, uint64_t offset, const void *bytes, size_t n,
                               struct uqff_error *err) {
    enum uqff_code code = check_write(sink, offset, n, err);
    if (code != UQFF_OK) {
        return code;
    }
    atomic_store(&sink->dirty, true);
    size_t done = 0;
    while (done < n) {
        uint64_t at = offset + done;
        ssize_t written = uqff_os.write(sink->fd, (const char *)bytes + done, n - done, (off_t)at);
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

/* Lets the kernel copy as much as it can, sharing the blocks where the file system does that.
 * *done is how much was copied; the rest is left to the caller, whose own calls find the reason. */
static enum uqff_code copy_in_kernel(struct uqff_sink *sink, uint64_t offset, int from,
                                     uint64_t from_offset, uint64_t n, uint64_t *done,
                                     struct uqff_error *err) {
    while (*done < n) {
        uint64_t left = n - *done;
        size_t step = left < 1u << 30 ? (size_t)left : 1u << 30;
        ssize_t copied = uqff_os.copy(from, (off_t)(from_offset + *done), sink->fd,
                                      (off_t)(offset + *done), step);
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
    int from = uqff_source_descriptor(source);
    if (from >= 0) {
        atomic_store(&sink->dirty, true);
        code = copy_in_kernel(sink, offset, from, source_offset, n, &done, err);
        if (code != UQFF_OK || done == n) {
            return code;
        }
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
    enum uqff_code code = check_write(sink, 0, 0, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (sync_retrying(sink->fd) != 0) {
        return fail_write(sink, UQFF_NO_OFFSET, "cannot flush", err);
    }
    atomic_store(&sink->dirty, false);
    return UQFF_OK;
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

enum uqff_code uqff_sink_publish(struct uqff_sink *sink, struct uqff_error *err) {
    if (sink->published) {
        return uqff_fail(err, UQFF_E_INTERNAL, UQFF_NO_OFFSET, "%s: published twice", sink->path);
    }
    enum uqff_code code = check_write(sink, 0, 0, err);
    if (code == UQFF_OK && atomic_load(&sink->dirty)) {
        code = uqff_sink_flush(sink, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    /* Closing comes first: on a network file system it is the last chance to learn of a lost write.
     * The descriptor is gone whatever close() says, so it is not tried again. */
    int fd = sink->fd;
    sink->fd = -1;
    if (uqff_os.close(fd) != 0 && errno != EINTR) {
        return fail_write(sink, UQFF_NO_OFFSET, "cannot close", err);
    }
    const char *temporary = uqff_path_name(sink->temporary);
    int renamed = sink->overwrite ? uqff_os.rename(sink->directory_fd, temporary, sink->name, true)
                                  : rename_to_new(sink, temporary);
    if (renamed != 0) {
        return fail_write(sink, UQFF_NO_OFFSET, "cannot give the finished file its name", err);
    }
    sink->published = true;
    free_slot(sink->slot);
    sink->slot = NO_SLOT;
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
    if (sink->fd >= 0) {
        /* Unpublished: what a failing close might lose is removed next. */
        uqff_os.close(sink->fd);
    }
    if (sink->created && !sink->published) {
        uqff_os.unlink(sink->directory_fd, uqff_path_name(sink->temporary));
    }
    free_slot(sink->slot);
    if (sink->directory_fd >= 0) {
        uqff_os.close(sink->directory_fd);
    }
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
