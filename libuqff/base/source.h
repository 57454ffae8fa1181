/* What sinks need to know of sources. */
#ifndef UQFF_BASE_SOURCE_H
#define UQFF_BASE_SOURCE_H

#include "uqff/base.h"

/* A descriptor for one use of a source that is a file; *fd is -1 where it is none. Thread-safe. */
enum uqff_code uqff_source_acquire(const struct uqff_source *source, int *fd,
                                   struct uqff_error *err);
void uqff_source_release(const struct uqff_source *source, int fd); /* -1 is fine */

/* UQFF_E_TRUNCATED unless n bytes at offset lie inside the source. */
enum uqff_code uqff_source_check_range(const struct uqff_source *source, uint64_t offset,
                                       uint64_t n, struct uqff_error *err);

#endif
