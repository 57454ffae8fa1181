/* An index of names: numbers them in the order added, finds them in constant time. */
#ifndef UQFF_SAFETENSORS_NAMES_H
#define UQFF_SAFETENSORS_NAMES_H

#include "uqff/base.h"

/* One name. `text` is borrowed and holds no NUL; names differ in bytes or length. */
struct uqff_st_name {
    const char *text;
    size_t length;
    uint64_t hash;
};

/* Zero-initialise. `items` may be read directly: item i is the i-th name that was added. */
struct uqff_st_names {
    struct uqff_st_name *items;
    size_t count, capacity;
    size_t *slots;     /* number + 1 of a name, 0 when empty; linear probing */
    size_t slot_count; /* 0 or a power of two, at least twice `count` */
    uint64_t salt;
};

/* Adds a name of `n` bytes that outlives the index, unless it is there; *number is its number. */
enum uqff_code uqff_st_names_add(struct uqff_st_names *names, const char *text, size_t n,
                                 size_t *number, bool *added,
                                 struct uqff_error *err) UQFF_MUST_CHECK;
/* False when the name is not there. */
bool uqff_st_names_find(const struct uqff_st_names *names, const char *text, size_t n,
                        size_t *number);
void uqff_st_names_free(struct uqff_st_names *names);

/* Bytewise order, a prefix before what it begins: for qsort and binary searches. */
int uqff_st_name_compare(const char *a, size_t a_length, const char *b, size_t b_length);

#endif
