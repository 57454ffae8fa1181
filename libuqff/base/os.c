#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"

static int os_open_at(int directory, const char *name, int flags, mode_t mode) {
    return openat(directory, name, flags, mode);
}

static ssize_t os_copy(int from, off_t from_offset, int to, off_t to_offset, size_t n) {
#ifdef __linux__
    return copy_file_range(from, &from_offset, to, &to_offset, n, 0);
#else
    (void)from, (void)from_offset, (void)to, (void)to_offset, (void)n;
    errno = ENOSYS;
    return -1;
#endif
}

static int os_rename(int directory, const char *from, const char *to, bool replace) {
    if (replace) {
        return renameat(directory, from, directory, to);
    }
#ifdef RENAME_NOREPLACE
    return renameat2(directory, from, directory, to, RENAME_NOREPLACE);
#else
    errno = ENOSYS;
    return -1;
#endif
}

static int os_link(int directory, const char *from, const char *to) {
    return linkat(directory, from, directory, to, 0);
}

static int os_unlink(int directory, const char *name) {
    return unlinkat(directory, name, 0);
}

static void *os_map(int fd, size_t n) {
    void *map = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

#define DEFAULTS                                                                                   \
    {                                                                                              \
        .open_at = os_open_at, .close = close, .stat = fstat, .read = pread, .write = pwrite,      \
        .copy = os_copy, .sync = fsync, .chmod = fchmod, .rename = os_rename, .link = os_link,     \
        .unlink = os_unlink, .map = os_map,                                                        \
    }

struct uqff_os uqff_os = DEFAULTS;
const struct uqff_os uqff_os_default = DEFAULTS;

/* Error numbers that say more than "reading failed". */
static const struct {
    int number;
    enum uqff_code code;
    const char *text; /* NULL: the system's own words */
} reasons[] = {
    {ENOENT, UQFF_E_NOT_FOUND, NULL},
    {ENOTDIR, UQFF_E_NOT_FOUND, NULL},
    {ENAMETOOLONG, UQFF_E_NOT_FOUND, NULL},
    {ELOOP, UQFF_E_NOT_FOUND, "symbolic links form a loop"},
    {EACCES, UQFF_E_PERMISSION, NULL},
    {EPERM, UQFF_E_PERMISSION, NULL},
    {EROFS, UQFF_E_PERMISSION, NULL},
    {EISDIR, UQFF_E_NOT_REGULAR, "it is a directory, expected a regular file"},
    {ENXIO, UQFF_E_NOT_REGULAR, "it is a socket or device, expected a regular file"},
    {ENOSPC, UQFF_E_NO_SPACE, NULL},
    {EDQUOT, UQFF_E_NO_SPACE, NULL},
    {ENOMEM, UQFF_E_MEMORY, NULL},
    {EMFILE, UQFF_E_LIMIT, NULL},
    {ENFILE, UQFF_E_LIMIT, NULL},
    {EEXIST, UQFF_E_EXISTS, NULL},
};

enum uqff_code uqff_fail_system(struct uqff_error *err, enum uqff_code otherwise, uint64_t offset,
                                int number, const char *path, const char *what) {
    enum uqff_code code = otherwise;
    const char *text = NULL;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].number == number) {
            code = reasons[i].code;
            text = reasons[i].text;
        }
    }
    if (text == NULL) {
        /* strerror() is not thread-safe, and would follow the caller's language. */
        text = strerror_l(number, uqff_c_locale());
    }
    return uqff_fail(err, code, offset, "%s: %s: %s", path, what, text);
}
