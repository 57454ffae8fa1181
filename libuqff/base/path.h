/* Listing a directory that is open. */
#ifndef UQFF_BASE_PATH_H
#define UQFF_BASE_PATH_H

#include "uqff/base.h"

/* As uqff_list_directory(), for a descriptor, which stays open. */
enum uqff_code uqff_list_descriptor(int fd, const char *path, struct uqff_arena *arena,
                                    const char ***names, size_t *count, struct uqff_error *err);

#endif
