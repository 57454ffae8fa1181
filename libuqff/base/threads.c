#include "base/threads.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "uqff/base.h"

/* The start of a small file of the kernel's, NUL-terminated; false when there is none. */
static bool read_small(const char *path, char *out, size_t capacity) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t size = 0;
    while (size < capacity - 1) {
        ssize_t got = read(fd, out + size, capacity - 1 - size);
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
    }
    close(fd);
    out[size] = '\0';
    return size > 0;
}

/* Reads decimal digits at *text and moves it behind them; false if there are none. */
static bool read_number(const char **text, uint64_t *out) {
    const char *p = *text;
    uint64_t value = 0;
    while (*p >= '0' && *p <= '9') {
        if (!uqff_mul_u64(value, 10, &value) ||
            !uqff_add_u64(value, (uint64_t)(*p - '0'), &value)) {
            return false;
        }
        p++;
    }
    bool any = p != *text;
    *text = p;
    *out = value;
    return any;
}

static unsigned rounded_up(uint64_t quota, uint64_t period) {
    if (quota == 0 || period == 0) {
        return 0;
    }
    uint64_t cores = quota / period + (quota % period != 0);
    return cores > UINT32_MAX ? 0 : (unsigned)cores;
}

/* Version 2: cpu.max holds "<quota or max> <period>". */
static unsigned limit_v2(const char *directory) {
    char path[4352], text[128];
    uint64_t quota, period;
    const char *p = text;
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    if (!read_small(path, text, sizeof text) || !read_number(&p, &quota) || *p++ != ' ' ||
        !read_number(&p, &period)) {
        return 0;
    }
    return rounded_up(quota, period);
}

/* Version 1: two files; a quota of -1 is no limit, and no number here. */
static unsigned limit_v1(const char *directory) {
    char path[4352], text[128];
    uint64_t quota, period;
    const char *p = text;
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory);
    if (!read_small(path, text, sizeof text) || !read_number(&p, &quota)) {
        return 0;
    }
    p = text;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
    if (!read_small(path, text, sizeof text) || !read_number(&p, &period)) {
        return 0;
    }
    return rounded_up(quota, period);
}

/* The tightest limit of the group and of all above it, for each binds. Inside a container the path
 * may lead outside what is mounted; walking up to the mount itself finds the container's own. */
static unsigned limit_upward(const char *mount, const char *group,
                             unsigned (*limit)(const char *directory)) {
    char directory[4200];
    int length = snprintf(directory, sizeof directory, "%s%s", mount, group);
    size_t root = strlen(mount);
    unsigned tightest = 0;
    if (length < 0 || (size_t)length >= sizeof directory) {
        directory[0] = '\0';
        snprintf(directory, sizeof directory, "%s", mount);
    }
    for (;;) {
        unsigned found = limit(directory);
        if (found != 0 && (tightest == 0 || found < tightest)) {
            tightest = found;
        }
        char *slash = strrchr(directory, '/');
        if (slash == NULL || slash < directory + root) {
            return tightest;
        }
        *slash = '\0';
    }
}

/* True when the comma-separated list of controllers has "cpu". */
static bool lists_cpu(const char *list) {
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        if (n == 3 && memcmp(list, "cpu", 3) == 0) {
            return true;
        }
        list += n + (list[n] == ',');
    }
    return false;
}

unsigned uqff_cgroup_threads(const char *groups, const char *mount) {
    char text[8192], hierarchy[4096];
    unsigned tightest = 0;
    if (!read_small(groups, text, sizeof text)) {
        return 0;
    }
    /* Lines are "number:controllers:path"; version 2 has number 0 and no controllers. */
    for (char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        char *next = line + length + (line[length] == '\n');
        line[length] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (path != NULL) {
            *path++ = '\0';
            controllers++;
            unsigned found = 0;
            if (*controllers == '\0') {
                found = limit_upward(mount, path, limit_v2);
            } else if (lists_cpu(controllers)) {
                snprintf(hierarchy, sizeof hierarchy, "%s/%s", mount, controllers);
                found = limit_upward(hierarchy, path, limit_v1);
                if (found == 0) {
                    snprintf(hierarchy, sizeof hierarchy, "%s/cpu", mount);
                    found = limit_upward(hierarchy, path, limit_v1);
                }
            }
            if (found != 0 && (tightest == 0 || found < tightest)) {
                tightest = found;
            }
        }
        line = next;
    }
    return tightest;
}

static unsigned affinity_threads(void) {
#ifdef __linux__
    /* The kernel refuses a set smaller than its own, which never exceeds 8192 cores. */
    cpu_set_t sets[8192 / CPU_SETSIZE];
    if (sched_getaffinity(0, sizeof sets, sets) == 0) {
        int count = CPU_COUNT_S(sizeof sets, sets);
        if (count > 0) {
            return (unsigned)count;
        }
    }
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : (unsigned)online;
}

unsigned uqff_available_threads(void) {
    /* Asked for by every loop; the answer takes a dozen system calls and does not change. */
    static atomic_uint cached;
    unsigned threads = atomic_load_explicit(&cached, memory_order_relaxed);
    if (threads == 0) {
        threads = affinity_threads();
        unsigned quota = uqff_cgroup_threads("/proc/self/cgroup", "/sys/fs/cgroup");
        if (quota != 0 && quota < threads) {
            threads = quota;
        }
        atomic_store_explicit(&cached, threads, memory_order_relaxed);
    }
    return threads;
}
