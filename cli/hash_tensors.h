/* Digests of the tensors in a file. */
#ifndef UQFF_CLI_HASH_TENSORS_H
#define UQFF_CLI_HASH_TENSORS_H

#include <cjson/cJSON.h>

#include "digest.h"

struct hash_tensors {
    struct uqff_source *source;
    const char *name; /* as lines name the file */
    const char *path;
    const enum algorithm *algorithms; /* a UUID last */
    size_t count;
    bool all_only; /* no list of the tensors: a UUID alone was asked for */
    const struct uqff_progress *progress;
    cJSON *object;            /* of the file, under --json; else NULL */
    struct uqff_buffer *text; /* takes the lines */
};

/* True for the endings of containers that hold tensors. */
bool hash_has_tensors(const char *path);
/* Appends "algorithm  hex  FILE:tensor" lines, or adds "tensors" to the object. */
enum uqff_code hash_tensors(const struct hash_tensors *request,
                            struct uqff_error *err) UQFF_MUST_CHECK;

#endif
