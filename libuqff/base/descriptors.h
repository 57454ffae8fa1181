/* File descriptors are few, and the shards of a model are many. */
#ifndef UQFF_BASE_DESCRIPTORS_H
#define UQFF_BASE_DESCRIPTORS_H

#include "uqff/base.h"

/* Whether one more descriptor may stay open: sources and sinks share half of those that the process
 * may have. Who may not opens its file anew for each use. Thread-safe. */
bool uqff_descriptor_take(void);
void uqff_descriptor_give(void);

/* A descriptor of the directory, shared by all who hold it; -1 and errno on failure. Thread-safe.
 */
int uqff_directory_hold(const char *path);
void uqff_directory_drop(int fd); /* -1 is fine */

#endif
