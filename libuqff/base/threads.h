/* Parts of uqff_available_threads() that tests look at. */
#ifndef UQFF_BASE_THREADS_H
#define UQFF_BASE_THREADS_H

/* Cores that the control groups grant, rounded up, at least 1; 0 when they set no limit. `groups`
 * is /proc/self/cgroup, `mount` is /sys/fs/cgroup. */
unsigned uqff_cgroup_threads(const char *groups, const char *mount);

#endif
