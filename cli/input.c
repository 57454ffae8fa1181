/* input: reads texts that are not in a file. */
#include "input.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool input_is_stream(const char *name) {
    return strcmp(name, "-") == 0;
}

enum uqff_code input_read(struct uqff_buffer *text, uint64_t limit, struct uqff_error *err) {
    char chunk[65536];
    size_t n;
    while (!text->failed && (n = fread(chunk, 1, sizeof chunk, stdin)) > 0) {
        if (n > limit - text->size) {
            return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                             "standard input: found more than %llu bytes",
                             (unsigned long long)limit);
        }
        uqff_buffer_append(text, chunk, n);
    }
    if (ferror(stdin)) {
        return uqff_fail(err, UQFF_E_READ, UQFF_NO_OFFSET, "standard input: %s", strerror(errno));
    }
    return text->failed ? uqff_fail_memory(err) : UQFF_OK;
}
