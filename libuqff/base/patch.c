/* Changing a part of a file in place, with a way back: a journal beside it holds what was there.
 *
 * The order is what makes it safe. The journal is complete and on the device before the first byte
 * of the file changes; it goes when the change is on the device. Whatever cuts the work off in
 * between leaves a journal that tells every byte of the range before and after.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/os.h"

/*
 *  0  magic "UQFFUNDO"
 *  8  version u32: 1
 * 12  zero u32
 * 16  size of the file u64
 * 24  offset of the range u64
 * 32  its length n u64
 * 40  n bytes as they were, n bytes as they are to be
 *     XXH3-128 of all before it
 */
static const char magic[8] = "UQFFUNDO";
enum { VERSION = 1, HEADER = 40, DIGEST = 16 };
struct journal {
    char *path;
    char *bytes; /* the whole content */
    uint64_t size, offset;
    size_t n;
    const char *before, *after; /* in bytes */
};

static void journal_free(struct journal *journal) {
    uqff_free(journal->path);
    uqff_free(journal->bytes);
}

/* ".NAME.uqff-undo" beside the file. */
static char *journal_path(const char *path) {
    struct uqff_buffer name = {0};
    char *joined = NULL;
    char *directory = uqff_path_directory(path);
    uqff_buffer_printf(&name, ".%s.uqff-undo", uqff_path_name(path));
    if (directory != NULL && !name.failed) {
        joined = uqff_path_join(directory, name.data);
    }
    uqff_free(directory);
    uqff_buffer_free(&name);
    return joined;
}

/* ---- the file -------------------------------------------------------------------------------- */

struct target {
    const char *path;
    int fd;
    uint64_t size;
};

static enum uqff_code fail(const struct target *target, enum uqff_code otherwise, const char *what,
                           struct uqff_error *err) {
    return uqff_fail_system(err, otherwise, UQFF_NO_OFFSET, errno, target->path, what);
}

static void target_close(struct target *target) {
    if (target->fd >= 0) {
        /* What was written was flushed, so there is nothing that a failing close could lose. */
        uqff_os.close(target->fd);
    }
    target->fd = -1;
}

/* Two at once would take each other's journal for their own. Where there are no locks, as on some
 * network file systems, it goes without. */
static enum uqff_code lock(const struct target *target, struct uqff_error *err) {
    struct stat ours, theirs;
    if (flock(target->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET,
                         "%s: is being edited by another process", target->path);
    }
    if (uqff_os.stat(target->fd, &ours) != 0) {
        return fail(target, UQFF_E_READ, "cannot inspect", err);
    }
    /* Its name may have gone to another file before the lock was ours. */
    if (lstat(target->path, &theirs) != 0 || ours.st_dev != theirs.st_dev ||
        ours.st_ino != theirs.st_ino) {
        return uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET, "%s: was replaced meanwhile",
                         target->path);
    }
    return UQFF_OK;
}

/* Not through a link, as a sink would: what it leads to may be shared, and known by its digest. The
 * journal, too, stands beside the name that was given, and another name of the file would not find
 * it. */
static enum uqff_code target_open(const char *path, struct target *target, struct uqff_error *err) {
    struct stat status;
    *target = (struct target){.path = path, .fd = -1};
    if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode)) {
        return uqff_fail(err, UQFF_E_NOT_REGULAR, UQFF_NO_OFFSET,
                         "%s: is a symbolic link, expected the file itself: what it leads to may "
                         "belong to others",
                         path);
    }
    do {
        target->fd =
            uqff_os.open_at(AT_FDCWD, path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, 0);
    } while (target->fd < 0 && errno == EINTR);
    if (target->fd < 0) {
        return fail(target, UQFF_E_WRITE, "cannot open for writing", err);
    }
    if (uqff_os.stat(target->fd, &status) != 0) {
        return fail(target, UQFF_E_READ, "cannot inspect", err);
    }
    if (!S_ISREG(status.st_mode)) {
        return uqff_fail(err, UQFF_E_NOT_REGULAR, UQFF_NO_OFFSET, "%s: expected a regular file",
                         path);
    }
    target->size = (uint64_t)status.st_size;
    return lock(target, err);
}

static enum uqff_code write_range(const struct target *target, uint64_t offset, const char *bytes,
                                  size_t n, struct uqff_error *err) {
    size_t done = 0;
    while (done < n) {
        ssize_t written = uqff_os.write(target->fd, bytes + done, n - done, (off_t)(offset + done));
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            errno = written == 0 ? EIO : errno;
            return fail(target, UQFF_E_WRITE, "cannot write", err);
        }
        done += (size_t)written;
    }
    return UQFF_OK;
}

static enum uqff_code sync_file(const struct target *target, struct uqff_error *err) {
    int result;
    do {
        result = uqff_os.sync(target->fd);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? UQFF_OK : fail(target, UQFF_E_WRITE, "cannot flush", err);
}

static enum uqff_code read_range(const char *path, uint64_t offset, size_t n, char **out,
                                 struct uqff_error *err) {
    struct uqff_source *source = NULL;
    enum uqff_code code = uqff_source_open(path, &source, err);
    if (code != UQFF_OK) {
        return code;
    }
    char *bytes = (char *)uqff_alloc(n);
    code = bytes == NULL ? uqff_fail_memory(err) : uqff_source_read(source, offset, bytes, n, err);
    uqff_source_close(source);
    if (code != UQFF_OK) {
        uqff_free(bytes);
        return code;
    }
    *out = bytes;
    return UQFF_OK;
}

/* ---- the journal ----------------------------------------------------------------------------- */

static enum uqff_code journal_write(const struct journal *journal, const void *before,
                                    const void *after, struct uqff_error *err) {
    struct uqff_buffer content = {0};
    unsigned char header[HEADER] = {0};
    memcpy(header, magic, sizeof magic);
    uqff_store_le32(header + 8, VERSION);
    uqff_store_le64(header + 16, journal->size);
    uqff_store_le64(header + 24, journal->offset);
    uqff_store_le64(header + 32, journal->n);
    uqff_buffer_append(&content, header, sizeof header);
    uqff_buffer_append(&content, before, journal->n);
    uqff_buffer_append(&content, after, journal->n);
    if (!content.failed) {
        struct uqff_digest digest = uqff_hash(content.data, content.size);
        uqff_buffer_append(&content, digest.bytes, sizeof digest.bytes);
    }
    enum uqff_code code =
        content.failed ? uqff_fail_memory(err)
                       : uqff_write_file(journal->path, content.data, content.size, false, err);
    uqff_buffer_free(&content);
    return code;
}

/* Checks and takes apart the content. It came under its name complete, so one that is not sound is
 * not from here. */
static enum uqff_code journal_parse(struct journal *journal, size_t size, struct uqff_error *err) {
    const char *bytes = journal->bytes;
    uint64_t n = 0;
    bool sound = size >= HEADER + DIGEST && memcmp(bytes, magic, sizeof magic) == 0 &&
                 uqff_load_le32(bytes + 8) == VERSION;
    if (sound) {
        n = uqff_load_le64(bytes + 32);
        sound = n <= UQFF_PATCH_LARGEST && 2 * n == size - HEADER - DIGEST;
    }
    if (sound) {
        struct uqff_digest digest = uqff_hash(bytes, size - DIGEST);
        sound = memcmp(digest.bytes, bytes + size - DIGEST, DIGEST) == 0;
    }
    if (!sound) {
        return uqff_fail(err, UQFF_E_DIGEST, UQFF_NO_OFFSET,
                         "%s: is not the journal of an edit, but stands in its place",
                         journal->path);
    }
    journal->size = uqff_load_le64(bytes + 16);
    journal->offset = uqff_load_le64(bytes + 24);
    journal->n = (size_t)n;
    journal->before = bytes + HEADER;
    journal->after = journal->before + n;
    return UQFF_OK;
}

static enum uqff_code journal_read(struct journal *journal, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    size_t size = 0;
    enum uqff_code code = uqff_source_open(journal->path, &source, err);
    if (code == UQFF_OK) {
        code = uqff_source_read_all(source, 2 * UQFF_PATCH_LARGEST + HEADER + DIGEST,
                                    &journal->bytes, &size, err);
    }
    uqff_source_close(source);
    return code == UQFF_OK ? journal_parse(journal, size, err) : code;
}

/* Each byte of the range is as it was or as it was to be, unless the file is another one by now. */
static enum uqff_patch_state compare(const struct journal *journal, uint64_t size,
                                     const char *found) {
    bool before = memcmp(found, journal->before, journal->n) == 0;
    bool after = memcmp(found, journal->after, journal->n) == 0;
    if (size != journal->size) {
        return UQFF_PATCH_FOREIGN;
    }
    for (size_t i = 0; !before && !after && i < journal->n; i++) {
        if (found[i] != journal->before[i] && found[i] != journal->after[i]) {
            return UQFF_PATCH_FOREIGN;
        }
    }
    return after ? UQFF_PATCH_NEW : before ? UQFF_PATCH_OLD : UQFF_PATCH_TORN;
}

static enum uqff_code find_state(const char *path, struct journal *journal,
                                 enum uqff_patch_state *out, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    char *found = NULL;
    enum uqff_code code = journal_read(journal, err);
    if (code == UQFF_OK) {
        code = uqff_source_open(path, &source, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    uint64_t size = uqff_source_size(source), end;
    uqff_source_close(source);
    if (!uqff_add_u64(journal->offset, journal->n, &end) || end > size) {
        *out = UQFF_PATCH_FOREIGN;
        return UQFF_OK;
    }
    code = read_range(path, journal->offset, journal->n, &found, err);
    if (code == UQFF_OK) {
        *out = compare(journal, size, found);
    }
    uqff_free(found);
    return code;
}

enum uqff_code uqff_patch_look(const char *path, enum uqff_patch_state *out,
                               struct uqff_error *err) {
    struct journal journal = {.path = journal_path(path)};
    enum uqff_code code = UQFF_OK;
    if (journal.path == NULL) {
        return uqff_fail_memory(err);
    }
    if (uqff_path_exists(journal.path)) {
        code = find_state(path, &journal, out, err);
        if (code == UQFF_E_DIGEST || code == UQFF_E_LIMIT) {
            *out = UQFF_PATCH_FOREIGN; /* whatever it is, it says nothing about the file */
            code = UQFF_OK;
        }
    } else {
        *out = UQFF_PATCH_NONE;
    }
    journal_free(&journal);
    return code;
}

/* Takes the journal away. That its directory may not be flushed does no harm: a journal that comes
 * back tells what is there. */
static enum uqff_code journal_remove(const struct journal *journal, struct uqff_error *err) {
    char *directory = uqff_path_directory(journal->path);
    if (directory == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = UQFF_OK;
    int fd = uqff_os.open_at(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 || uqff_os.unlink(fd, uqff_path_name(journal->path)) != 0) {
        code = uqff_fail_system(err, UQFF_E_WRITE, UQFF_NO_OFFSET, errno, journal->path,
                                "cannot be removed");
    }
    if (fd >= 0) {
        (void)uqff_os.sync(fd);
        uqff_os.close(fd);
    }
    uqff_free(directory);
    return code;
}

/* ---- changing, and changing back ------------------------------------------------------------- */

static enum uqff_code recover(struct journal *journal, const char *path,
                              enum uqff_patch_state *found, struct uqff_error *err) {
    struct target target;
    enum uqff_code code = target_open(path, &target, err);
    if (code == UQFF_OK) {
        code = find_state(path, journal, found, err);
    }
    if (code == UQFF_OK && *found == UQFF_PATCH_FOREIGN) {
        code = uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET,
                         "%s: is not the file that '%s' was made for: remove that if the file is "
                         "what it should be",
                         path, uqff_path_name(journal->path));
    }
    if (code == UQFF_OK && *found == UQFF_PATCH_TORN) {
        code = write_range(&target, journal->offset, journal->before, journal->n, err);
    }
    /* What reads as whole may be so in memory only. */
    if (code == UQFF_OK) {
        code = sync_file(&target, err);
    }
    if (code == UQFF_OK) {
        code = journal_remove(journal, err);
    }
    target_close(&target);
    return code;
}

enum uqff_code uqff_patch_recover(const char *path, enum uqff_patch_state *found,
                                  struct uqff_error *err) {
    struct journal journal = {.path = journal_path(path)};
    enum uqff_code code = UQFF_OK;
    if (journal.path == NULL) {
        return uqff_fail_memory(err);
    }
    *found = UQFF_PATCH_NONE;
    if (uqff_path_exists(journal.path)) {
        code = recover(&journal, path, found, err);
    }
    journal_free(&journal);
    return code;
}

/* The change has failed: puts back what was there. The error stays that of the change. */
static void undo(const struct target *target, const struct journal *journal, const char *before,
                 struct uqff_error *err) {
    struct uqff_error second;
    enum uqff_code code = write_range(target, journal->offset, before, journal->n, &second);
    if (code == UQFF_OK) {
        code = sync_file(target, &second);
    }
    if (code == UQFF_OK) {
        /* If it stays it tells that the file is as it was. */
        (void)journal_remove(journal, &second);
    } else if (err != NULL) {
        uqff_error_prefix(err, "%s: is damaged, and '%s' knows how to mend it: edit it again",
                          target->path, uqff_path_name(journal->path));
    }
}

static enum uqff_code check_before(const struct target *target, uint64_t offset, const void *before,
                                   size_t n, struct uqff_error *err) {
    char *found = NULL;
    uint64_t end;
    enum uqff_code code = UQFF_OK;
    if (n > UQFF_PATCH_LARGEST || !uqff_add_u64(offset, n, &end) || end > target->size) {
        return uqff_fail(err, UQFF_E_CHANGED, offset,
                         "%s: has %" PRIu64 " bytes, which is not what the edit was made for",
                         target->path, target->size);
    }
    code = read_range(target->path, offset, n, &found, err);
    if (code == UQFF_OK && memcmp(found, before, n) != 0) {
        code =
            uqff_fail(err, UQFF_E_CHANGED, offset, "%s: changed since it was read", target->path);
    }
    uqff_free(found);
    return code;
}

enum uqff_code uqff_patch_file(const char *path, uint64_t offset, const void *before,
                               const void *after, size_t n, struct uqff_error *err) {
    struct target target;
    struct journal journal = {.path = journal_path(path), .offset = offset, .n = n};
    if (journal.path == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = target_open(path, &target, err);
    if (code == UQFF_OK) {
        code = check_before(&target, offset, before, n, err);
    }
    if (code != UQFF_OK) {
        goto out;
    }
    journal.size = target.size;
    if (uqff_path_exists(journal.path)) {
        code = uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET,
                         "%s: an earlier edit was cut off, as '%s' tells", path,
                         uqff_path_name(journal.path));
        goto out;
    }
    code = journal_write(&journal, before, after, err);
    if (code != UQFF_OK) {
        /* It may have got its name, only not for certain. The file is as it was. */
        if (uqff_path_exists(journal.path)) {
            (void)journal_remove(&journal, NULL);
        }
        goto out;
    }
    code = write_range(&target, offset, (const char *)after, n, err);
    if (code == UQFF_OK) {
        code = sync_file(&target, err);
    }
    if (code != UQFF_OK) {
        undo(&target, &journal, (const char *)before, err);
        goto out;
    }
    code = journal_remove(&journal, err);
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "%s: is changed, but the journal stays", path);
    }
out:
    target_close(&target);
    journal_free(&journal);
    return code;
}
