/* What several test programs need: cmocka's includes, test data, scratch folders. */
#ifndef UQFF_TEST_SUPPORT_H
#define UQFF_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "uqff/base.h"

/* Asserts UQFF_OK, printing the error's text otherwise. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        enum uqff_code code_ = (call);                                                             \
        if (code_ != UQFF_OK) {                                                                    \
            fail_msg("%s: %s (%s)", #call, (err)->text, uqff_code_name(code_));                    \
        }                                                                                          \
    } while (0)

/* Asserts a certain failure, and that its text is one printable line that holds `needle`. */
void assert_fails_(enum uqff_code found, enum uqff_code expected, const struct uqff_error *err,
                   const char *needle, const char *call, const char *file, int line);
#define assert_fails(call, expected, err, needle)                                                  \
    assert_fails_((call), (expected), (err), (needle), #call, __FILE__, __LINE__)

/* Path of a file under testdata/, or under the directory that UQFF_EXTRA_DATA names: NULL when the
 * variable is unset (the caller then skips), a test failure when the directory is absent. Both
 * return static storage, overwritten by the fourth call after. */
const char *test_data(const char *name);
const char *extra_data(const char *name);

/* Whether long measurements fit into this build: without optimization, or with a sanitizer, they
 * would take minutes, and shorter tests run the same code. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__)
enum { FAST_BUILD = 1 };
#else
enum { FAST_BUILD = 0 };
#endif

/* A fresh scratch directory, removed with all it holds when the program ends. */
const char *scratch(void);
const char *scratch_file(const char *name); /* a path in it; static storage as above */

/* The whole file, malloc'ed; the size may be NULL. Fails the test when it cannot be read. */
void *read_file(const char *path, size_t *size);
void write_file(const char *path, const void *bytes, size_t n);

/* The unpacked malformed corpus: unpacks testdata/badfiles/corpus.tar.xz into the scratch directory
 * on first use and gives the path of one case. */
const char *bad_file(const char *name);

/* One row of testdata/badfiles/MANIFEST.tsv. */
struct bad_case {
    char *file, *verdict, *reason, *level, *basis;
};
/* All rows of one level; *count of them. The memory lives until the program ends. */
const struct bad_case *bad_cases(const char *level, size_t *count);

/* A small deterministic generator (xorshift64*), the same on every machine. */
struct test_random {
    uint64_t state;
};
uint64_t random_u64(struct test_random *random);
float random_float(struct test_random *random); /* uniform in [-1, 1) */
float random_gauss(struct test_random *random); /* roughly normal, unit deviation */

/* Fault injection: the n-th allocation from now on fails (0: none does). Returns how many
 * allocations were asked for since the last call. */
size_t fail_allocation(size_t n);

#endif
