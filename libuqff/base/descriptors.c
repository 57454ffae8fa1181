#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "base/os.h"

static atomic_ullong taken;

bool uqff_descriptor_take(void) {
    struct rlimit limit;
    /* Asked each time, for a program may change it. POSIX promises 20. */
    unsigned long long most = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur / 2 : 10;
    if (atomic_fetch_add(&taken, 1) < most) {
        return true;
    }
    atomic_fetch_sub(&taken, 1);
    return false;
}

void uqff_descriptor_give(void) {
    atomic_fetch_sub(&taken, 1);
}

/* ---- directories ----------------------------------------------------------------------------- */

static struct held {
    struct held *next;
    int fd;
    size_t holders;
    struct stat status;
} * directories;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct held *find(const struct stat *status) {
    struct held *held = directories;
    while (held != NULL &&
           (held->status.st_dev != status->st_dev || held->status.st_ino != status->st_ino)) {
        held = held->next;
    }
    return held;
}

/* Adds one more holder of the directory that fd, still open, is; or -1, leaving it open. */
static int share(int fd) {
    struct stat status;
    if (uqff_os.stat(fd, &status) != 0) {
        return -1;
    }
    struct held *held = find(&status);
    if (held != NULL) {
        held->holders++;
        return held->fd;
    }
    held = uqff_alloc(sizeof *held);
    if (held == NULL) {
        errno = ENOMEM;
        return -1;
    }
    *held = (struct held){.next = directories, .fd = fd, .holders = 1, .status = status};
    directories = held;
    return fd;
}

int uqff_directory_hold(const char *path) {
    int fd;
    do {
        fd = uqff_os.open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return -1;
    }
    pthread_mutex_lock(&lock);
    int shared = share(fd);
    pthread_mutex_unlock(&lock);
    if (shared != fd) {
        int number = errno;
        uqff_os.close(fd);
        errno = number;
    }
    return shared;
}

void uqff_directory_drop(int fd) {
    struct held *last = NULL;
    if (fd < 0) {
        return;
    }
    pthread_mutex_lock(&lock);
    struct held **link = &directories;
    while ((*link)->fd != fd) {
        link = &(*link)->next; /* every descriptor that was given out is in the list */
    }
    if (--(*link)->holders == 0) {
        last = *link;
        *link = last->next;
        uqff_os.close(fd);
    }
    pthread_mutex_unlock(&lock);
    uqff_free(last);
}
