/* JSON documents for --json: built and printed by cJSON, with text and numbers rendered here, so
 * that integers are exact and no control character of a file reaches a terminal. */
#ifndef UQFF_CLI_JSON_H
#define UQFF_CLI_JSON_H

#include <cjson/cJSON.h>

#include "command.h"

/* Appends a JSON string. Controls (C0, DEL, C1, bidirectional, zero-width) are written as \uXXXX;
 * bytes that are not UTF-8 as U+FFFD: where the exact bytes matter, json_bytes() is used. */
void json_quote(struct uqff_buffer *out, const void *bytes, size_t n);

/* A document of the command that runs: {"schema":"uqff.<command>/1", ...}. */
cJSON *json_document(const struct cli *cli);
cJSON *json_document_of(const char *schema);
/* Adds "warnings", prints the document on one line, and frees it. UQFF_E_MEMORY when building it
 * had failed anywhere. */
enum uqff_code json_print(struct cli *cli, cJSON *document, struct uqff_error *err) UQFF_MUST_CHECK;
/* The same text, for a file: appended to `out`. */
enum uqff_code json_render(cJSON *document, struct uqff_buffer *out,
                           struct uqff_error *err) UQFF_MUST_CHECK;

/* Members and items. With key NULL the value is appended to an array. Keys are literals: they are
 * not copied. All take a NULL parent, after memory ran out. */
cJSON *json_object(cJSON *parent, const char *key);
cJSON *json_array(cJSON *parent, const char *key);
void json_u64(cJSON *parent, const char *key, uint64_t value);
void json_i64(cJSON *parent, const char *key, int64_t value);
void json_double(cJSON *parent, const char *key, double value); /* null when it is not finite */
void json_bool(cJSON *parent, const char *key, bool value);
void json_null(cJSON *parent, const char *key);
void json_text(cJSON *parent, const char *key, const char *text); /* null for NULL */
/* A string, or where the bytes are not valid UTF-8 {"hex":"…"}: every byte is kept. */
void json_bytes(cJSON *parent, const char *key, const void *bytes, size_t n);
/* Text that is JSON already. */
void json_raw(cJSON *parent, const char *key, const char *json);
/* The same; takes the text over and frees it. */
void json_raw_buffer(cJSON *parent, const char *key, struct uqff_buffer *json);
/* A list that may be long is written as text at once, a node for each value being ten times its
 * size. Takes the text over and frees it. */
void json_list(cJSON *parent, const char *key, struct uqff_buffer *items);
/* Appends bytes as json_bytes() writes them. */
void json_put_bytes(struct uqff_buffer *out, const void *bytes, size_t n);
void json_put_double(struct uqff_buffer *out, double value);
void json_put_shape(struct uqff_buffer *out, const uint64_t *shape, unsigned rank);

#endif
