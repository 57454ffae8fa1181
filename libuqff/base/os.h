/* The system calls behind sources and sinks, in one table so that tests can fail any of them. */
#ifndef UQFF_BASE_OS_H
#define UQFF_BASE_OS_H

#include <sys/stat.h>
#include <sys/types.h>

#include "uqff/base.h"

struct uqff_os {
    int (*open_at)(int directory, const char *name, int flags, mode_t mode);
    int (*close)(int fd);
    int (*stat)(int fd, struct stat *status);
    ssize_t (*read)(int fd, void *out, size_t n, off_t offset);
    ssize_t (*write)(int fd, const void *bytes, size_t n, off_t offset);
    ssize_t (*copy)(int from, off_t from_offset, int to, off_t to_offset, size_t n);
    int (*sync)(int fd);
    int (*chmod)(int fd, mode_t mode);
    /* Within one directory. `replace` false: fails with EEXIST when `to` is there already, and with
     * ENOSYS or EINVAL where the kernel or file system cannot promise that. */
    int (*rename)(int directory, const char *from, const char *to, bool replace);
    int (*link)(int directory, const char *from, const char *to);
    int (*unlink)(int directory, const char *name);
    void *(*map)(int fd, size_t n); /* NULL on failure */
};

/* What is used. Tests replace members and put uqff_os_default back. */
extern struct uqff_os uqff_os;
extern const struct uqff_os uqff_os_default;

/* Fails with "<path>: <what>: <reason>", the code chosen by the error number where that says more
 * than `otherwise` does. */
enum uqff_code uqff_fail_system(struct uqff_error *err, enum uqff_code otherwise, uint64_t offset,
                                int number, const char *path, const char *what);

#endif
