/* Importance matrices in all three forms, which have no magic to speak of: what is accepted is
 * finite and not negative. The reader wants a path, so the input goes through a file in memory. */
#include <math.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "uqff/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = memfd_create("fuzz", 0);
    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct uqff_imatrix *imatrix = NULL;
    struct uqff_error err;
    if (uqff_imatrix_open(path, &imatrix, &err) == UQFF_OK) {
        for (size_t i = 0; i < uqff_imatrix_count(imatrix); i++) {
            const struct uqff_imatrix_entry *entry = uqff_imatrix_entry(imatrix, i);
            for (uint64_t k = 0; k < entry->matrices * entry->columns; k++) {
                REQUIRE(isfinite(entry->values[k]) && entry->values[k] >= 0.0f);
            }
        }
        uqff_imatrix_close(imatrix);
    } else {
        require_printable(&err);
    }
    close(fd);
    return 0;
}
