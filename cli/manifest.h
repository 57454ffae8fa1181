/* Manifests: lists of files with their digests, as coreutils' SHA256SUMS or as uqff's own JSON. */
#ifndef UQFF_CLI_MANIFEST_H
#define UQFF_CLI_MANIFEST_H

#include "command.h"

struct manifest_entry {
    const char *name; /* relative to the manifest's directory, components separated by '/' */
    char sha256[65];  /* lower-case hex */
    uint64_t bytes;   /* UINT64_MAX when the manifest does not tell */
};

struct manifest {
    const char *directory;
    struct manifest_entry *entries;
    size_t count;
};

/* Reads a manifest of either form, told apart by its first character. Names must lie below the
 * manifest's directory. Everything lives in the program's arena. */
enum uqff_code manifest_read(struct cli *cli, const char *path, struct manifest *out,
                             struct uqff_error *err) UQFF_MUST_CHECK;

/* Appends a line "hex  name" as sha256sum writes it. UQFF_E_NAME for a name with control
 * characters. */
enum uqff_code manifest_put_line(struct uqff_buffer *out, const char *hex, const char *name,
                                 struct uqff_error *err) UQFF_MUST_CHECK;

#endif
