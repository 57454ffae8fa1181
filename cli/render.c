/* render: how the parts of a page look on a terminal and in roff. */
#include "manual.h"

#include <string.h>

#include "uqff/version.h"

/* ---- text ------------------------------------------------------------------------------------ */

static void spaces(struct uqff_buffer *out, size_t n) {
    while (n-- > 0) {
        uqff_buffer_append(out, " ", 1);
    }
}

/* Appends text broken at spaces; the cursor is at `column`, further lines begin at `indent`. */
static void wrap(struct renderer *r, const char *text, size_t column, size_t indent) {
    bool first = true;
    while (*text != '\0') {
        const size_t length = strcspn(text, " ");
        size_t width = 0; /* in code points */
        for (size_t i = 0; i < length; i++) {
            width += ((unsigned char)text[i] & 0xC0) != 0x80;
        }
        if (!first && column + 1 + width > r->columns) {
            uqff_buffer_append(r->out, "\n", 1);
            spaces(r->out, indent);
            column = indent;
        } else if (!first) {
            uqff_buffer_append(r->out, " ", 1);
            column++;
        }
        uqff_buffer_append(r->out, text, length);
        column += width;
        first = false;
        text += length;
        text += strspn(text, " ");
    }
    uqff_buffer_append(r->out, "\n", 1);
}

static void text_section(struct renderer *r, const char *title) {
    uqff_buffer_printf(r->out, "\n%s%s\n", title, r->indent == 0 ? ":" : "");
    r->fresh = true;
}

static void text_begin(struct renderer *r, const char *page, const char *summary) {
    r->indent = 2; /* a whole page: bodies stand out from the headings */
    uqff_buffer_printf(r->out, "NAME\n  %s - ", page);
    wrap(r, summary, 5 + strlen(page), 4);
}

static void text_paragraph(struct renderer *r, const char *text) {
    if (!r->fresh) {
        uqff_buffer_append(r->out, "\n", 1);
    }
    r->fresh = false;
    spaces(r->out, r->indent);
    wrap(r, text, r->indent, r->indent);
}

static void text_verbatim(struct renderer *r, const char *text) {
    uqff_buffer_printf(r->out, "%s\n", text);
    r->fresh = false;
}

static void text_item(struct renderer *r, const char *head, const char *text) {
    const size_t width = uqff_text_width(head);
    uqff_buffer_printf(r->out, "  %s", head);
    if (width + 4 > r->item_width) {
        uqff_buffer_append(r->out, "\n", 1);
        spaces(r->out, r->item_width);
    } else {
        spaces(r->out, r->item_width - width - 2);
    }
    wrap(r, text, r->item_width, r->item_width);
    r->fresh = false;
}

struct renderer renderer_text(struct uqff_buffer *out, unsigned columns) {
    return (struct renderer){.out = out,
                             .columns = columns > 100 ? 100 : columns,
                             .begin = text_begin,
                             .section = text_section,
                             .paragraph = text_paragraph,
                             .verbatim = text_verbatim,
                             .item = text_item};
}

/* ---- roff ------------------------------------------------------------------------------------ */

/* Code point of the character at *text, which moves behind it. Help texts are valid UTF-8. */
static uint32_t next_character(const char **text) {
    const unsigned char *s = (const unsigned char *)*text;
    size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    uint32_t value = length == 1 ? s[0] : s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        value = value << 6 | (s[i] & 0x3Fu);
    }
    *text += length;
    return value;
}

/* Text with roff's own characters escaped; a line never begins with a control character. */
static void roff_text(struct uqff_buffer *out, const char *text) {
    bool line_begins = true;
    while (*text != '\0') {
        if (line_begins && (*text == '.' || *text == '\'')) {
            uqff_buffer_printf(out, "\\&");
        }
        uint32_t c = next_character(&text);
        line_begins = c == '\n';
        if (c == '\\') {
            uqff_buffer_printf(out, "\\e");
        } else if (c == '-') {
            uqff_buffer_printf(out, "\\-");
        } else if (c == '"') {
            uqff_buffer_printf(out, "\\(dq");
        } else if (c >= 0x80) {
            uqff_buffer_printf(out, "\\[u%04X]", (unsigned)c);
        } else {
            const char byte = (char)c;
            uqff_buffer_append(out, &byte, 1);
        }
    }
    uqff_buffer_append(out, "\n", 1);
}

static void roff_begin(struct renderer *r, const char *page, const char *summary) {
    uqff_buffer_printf(r->out, ".TH \"");
    for (const char *c = page; *c != '\0'; c++) {
        const char upper = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
        uqff_buffer_append(r->out, &upper, 1);
    }
    /* No date: the page is the same whenever it is built. */
    uqff_buffer_printf(r->out, "\" \"1\" \"\" \"uqff " UQFF_VERSION "\" \"uqff manual\"\n");
    uqff_buffer_printf(r->out, ".nh\n.ad l\n.SH NAME\n%s \\- ", page);
    roff_text(r->out, summary);
}

static void roff_section(struct renderer *r, const char *title) {
    uqff_buffer_printf(r->out, ".SH ");
    roff_text(r->out, title);
}

static void roff_paragraph(struct renderer *r, const char *text) {
    uqff_buffer_printf(r->out, ".PP\n");
    roff_text(r->out, text);
}

static void roff_verbatim(struct renderer *r, const char *text) {
    uqff_buffer_printf(r->out, ".PP\n.nf\n.RS 4\n");
    while (*text != '\0') {
        /* The indent is the page's, not the text's. */
        for (int i = 0; i < 4 && *text == ' '; i++) {
            text++;
        }
        char line[256];
        const size_t length = strcspn(text, "\n");
        const size_t kept = length < sizeof line ? length : sizeof line - 1;
        memcpy(line, text, kept);
        line[kept] = '\0';
        roff_text(r->out, line);
        text += length + (text[length] == '\n');
    }
    uqff_buffer_printf(r->out, ".RE\n.fi\n");
}

static void roff_item(struct renderer *r, const char *head, const char *text) {
    uqff_buffer_printf(r->out, ".TP\n.B ");
    roff_text(r->out, head + strspn(head, " "));
    roff_text(r->out, text);
}

struct renderer renderer_roff(struct uqff_buffer *out) {
    return (struct renderer){.out = out,
                             .begin = roff_begin,
                             .section = roff_section,
                             .paragraph = roff_paragraph,
                             .verbatim = roff_verbatim,
                             .item = roff_item};
}
