/* What the fuzz targets share. Each target is one file with LLVMFuzzerTestOneInput; it must not
 * crash, hang or allocate out of proportion, whatever it is given. tests/fuzz/run builds and runs
 * them. */
#ifndef UQFF_TESTS_FUZZ_H
#define UQFF_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "uqff/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A target's promise is broken: stop where the fuzzer sees it. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* An error must be one printable line. */
static inline void require_printable(const struct uqff_error *err) {
    for (const char *c = err->text; *c != '\0'; c++) {
        REQUIRE((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
    REQUIRE(err->text[0] != '\0');
}

#endif
