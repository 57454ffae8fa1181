/* Renders a batch of templates, for comparison with another implementation.
 *
 * Standard input, any number of times:   u32 n | n bytes of template | u32 m | m bytes of JSON
 * Standard output, once for each:        u32 code | u32 n | n bytes of text, or of the error
 *
 * All numbers are little-endian. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uqff/validation.h"

static bool read_exactly(void *out, size_t n) {
    return fread(out, 1, n, stdin) == n;
}

/* A block with its length before it; NULL at the end of the input. */
static char *read_block(size_t *size) {
    unsigned char length[4];
    if (!read_exactly(length, sizeof length)) {
        return NULL;
    }
    *size = uqff_load_le32(length);
    char *block = malloc(*size + 1);
    if (block == NULL || !read_exactly(block, *size)) {
        fputs("render_templates: the input is cut off\n", stderr);
        exit(1);
    }
    return block;
}

static void write_block(enum uqff_code code, const char *text, size_t size) {
    unsigned char head[8];
    uqff_store_le32(head, (uint32_t)code);
    uqff_store_le32(head + 4, (uint32_t)size);
    fwrite(head, 1, sizeof head, stdout);
    fwrite(text, 1, size, stdout);
}

int main(void) {
    size_t size, variables_size;
    for (char *text; (text = read_block(&size)) != NULL;) {
        struct uqff_error err = {0};
        struct uqff_buffer out = {0};
        struct uqff_template *tmpl = NULL;
        char *variables = read_block(&variables_size);
        if (variables == NULL) {
            return 1;
        }
        enum uqff_code code = uqff_template_open(text, size, "template", &tmpl, &err);
        if (code == UQFF_OK) {
            code = uqff_template_render(tmpl, variables, variables_size, &out, &err);
        }
        if (code == UQFF_OK) {
            write_block(code, out.data != NULL ? out.data : "", out.size);
        } else {
            write_block(code, err.text, strlen(err.text));
        }
        uqff_template_close(tmpl);
        uqff_buffer_free(&out);
        free(variables);
        free(text);
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
