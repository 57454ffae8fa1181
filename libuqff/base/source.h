/* What sinks need to know of sources. */
#ifndef UQFF_BASE_SOURCE_H
#define UQFF_BASE_SOURCE_H

#include "uqff/base.h"

/* The descriptor of a source that is a file, or -1. */
int uqff_source_descriptor(const struct uqff_source *source);

/* UQFF_E_TRUNCATED unless n bytes at offset lie inside the source. */
enum uqff_code uqff_source_check_range(const struct uqff_source *source, uint64_t offset,
                                       uint64_t n, struct uqff_error *err);

#endif
