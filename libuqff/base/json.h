/* The parts of the JSON parser: json.c drives, json_string.c reads strings, json_keys.c knows the
 * keys of the objects that are open. */
#ifndef UQFF_BASE_JSON_H
#define UQFF_BASE_JSON_H

#include "uqff/base.h"

/* ---- keys ------------------------------------------------------------------------------------ */

/* A set of the digests of one object's keys. The digests themselves lie on one stack for all open
 * objects; an object that has many gets an index over its part of the stack. */
struct uqff_json_index {
    uint32_t *slots; /* position within the object's part + 1, or 0: free */
    size_t capacity; /* of the block, kept from object to object */
    unsigned bits;   /* 2^bits slots are in use; 0: no index yet */
};

struct uqff_json_keys {
    struct uqff_digest *digests;
    size_t count, capacity;
};

/* Adds a key to the object whose keys begin at `first`. *duplicate tells whether it was there.
 * `secret` is odd and spreads digests that were chosen to meet. */
enum uqff_code uqff_json_keys_add(struct uqff_json_keys *keys, struct uqff_json_index *index,
                                  size_t first, uint64_t secret, const char *key, size_t n,
                                  bool *duplicate, struct uqff_error *err);

/* ---- strings --------------------------------------------------------------------------------- */

enum uqff_json_fault {
    UQFF_JSON_FINE,
    UQFF_JSON_UNENDED,
    UQFF_JSON_CONTROL, /* a raw control character */
    UQFF_JSON_BAD_UTF8,
    UQFF_JSON_BAD_ESCAPE,
    UQFF_JSON_SURROGATE, /* half of a surrogate pair */
};

/* Scans the string whose opening quote is before text[at]. On success *end is the offset of the
 * closing quote and *escaped tells whether there is a backslash; else *end is where the fault is.
 */
enum uqff_json_fault uqff_json_scan_string(const char *text, size_t n, size_t at, size_t *end,
                                           bool *escaped);

/* Unescapes n bytes that uqff_json_scan_string() found fine; the result is never longer than they
 * are. Returns its length. */
size_t uqff_json_unescape(char *out, const char *text, size_t n);

#endif
