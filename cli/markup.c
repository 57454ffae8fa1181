/* markup: escapes text for documents. */
#include "markup.h"

#include <string.h>

/* Printable text of a name; what does not fit is cut. */
enum { TEXT_ROOM = 4096 };

void markup_xml(struct uqff_buffer *out, const char *text) {
    char printable[TEXT_ROOM];
    uqff_printable(printable, sizeof printable, text, strlen(text));
    for (const char *c = printable; *c != '\0'; c++) {
        switch (*c) {
        case '&':
            uqff_buffer_append(out, "&amp;", 5);
            break;
        case '<':
            uqff_buffer_append(out, "&lt;", 4);
            break;
        case '>':
            uqff_buffer_append(out, "&gt;", 4);
            break;
        case '"':
            uqff_buffer_append(out, "&quot;", 6);
            break;
        case '\'':
            uqff_buffer_append(out, "&#39;", 5);
            break;
        default:
            uqff_buffer_append(out, c, 1);
        }
    }
}

static bool is_word(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void markup_markdown(struct uqff_buffer *out, const char *text) {
    char printable[TEXT_ROOM];
    uqff_printable(printable, sizeof printable, text, strlen(text));
    for (const char *c = printable; *c != '\0'; c++) {
        /* Within a word, '_' is a letter. */
        const bool inner = *c == '_' && c > printable && is_word(c[-1]) && is_word(c[1]);
        if (strchr("\\`*_{}[]<>#!|~@&:$", *c) != NULL && !inner) {
            uqff_buffer_append(out, "\\", 1);
        }
        uqff_buffer_append(out, c, 1);
    }
}
