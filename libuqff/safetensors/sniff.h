/* What a file that is no safetensors file may be instead. */
#ifndef UQFF_SAFETENSORS_SNIFF_H
#define UQFF_SAFETENSORS_SNIFF_H

#include "uqff/base.h"

enum { UQFF_ST_SNIFF_BYTES = 64 }; /* as many of a file's first bytes as the answer can need */

/* A phrase for "looks like ...", with a cure where there is one, or NULL. Meant for files that are
 * known not to parse: a few of the patterns also begin valid files. */
const char *uqff_st_looks_like(const void *bytes, size_t n);

#endif
