/* The test vector of spec/gguf.md, read from the page itself. */
#ifndef UQFF_TEST_GGUF_VECTOR_H
#define UQFF_TEST_GGUF_VECTOR_H

#include "test_gguf_builder.h"

/* The bytes of lines like "0010  02 00 00   comment": pairs of digits with one space between them.
 */
static inline struct builder read_vector(void) {
    struct builder b = {0};
    size_t n;
    char *page = (char *)read_file(UQFF_TESTDATA "/../spec/gguf.md", &n);
    page = (char *)realloc(page, n + 1);
    assert_non_null(page);
    page[n] = '\0';
    char *rest = NULL;
    for (char *line = strtok_r(page, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        unsigned char position[2];
        if (strlen(line) < 8 || memcmp(line + 4, "  ", 2) != 0 || !uqff_unhex(position, line, 2)) {
            continue;
        }
        assert_int_equal(uqff_load_be16(position), b.size);
        for (const char *p = line + 5; *p == ' ' && p[1] != ' '; p += 3) {
            unsigned char byte;
            assert_true(uqff_unhex(&byte, p + 1, 1));
            put(&b, &byte, 1);
        }
    }
    free(page);
    return b;
}

#endif
