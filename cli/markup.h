/* Text from files within XML, HTML and Markdown: nothing in it can become markup. */
#ifndef UQFF_CLI_MARKUP_H
#define UQFF_CLI_MARKUP_H

#include "uqff/base.h"

/* Made printable, then & < > " ' as entities: for XML and HTML, in text and in attributes. */
void markup_xml(struct uqff_buffer *out, const char *text);
/* Made printable, then with a backslash before each character that Markdown gives a meaning. */
void markup_markdown(struct uqff_buffer *out, const char *text);

#endif
