/* verify_scan: reads entries of files once, in slabs, on all threads, and judges their bytes. */
#ifndef UQFF_PACK_VERIFY_SCAN_H
#define UQFF_PACK_VERIFY_SCAN_H

#include "pack/findings.h"

enum scan_kind {
    SCAN_OPAQUE, /* nothing but the digest */
    SCAN_VALUES, /* floats of a tensor: NaN and infinity are odd */
    SCAN_SCALES, /* floats that scale others: NaN and infinity ruin them */
    SCAN_BLOCKS, /* a block type, scales inside */
    SCAN_E8M0,   /* bytes that are exponents; 255 is NaN */
    SCAN_F8Q8,   /* blocks of 33 bytes, the first an E4M3 scale */
    SCAN_ZEROS,  /* padding */
};

struct scan_entry {
    const char *name;
    struct uqff_source *source;
    uint64_t offset, bytes;
    enum scan_kind kind;
    uint32_t type;  /* of VALUES, SCALES and BLOCKS */
    bool is_weight; /* worth a note when all its values are zero */
    bool has_digest;
    struct uqff_digest digest; /* what the file says */

    /* Results. */
    bool mismatch, nonzero;
    uint64_t bad, first_bad; /* elements, blocks for BLOCKS and F8Q8, bytes for E8M0 and ZEROS */
};

/* Scans all entries and adds what was found, in the order of the entries. An error is one of
 * reading, of memory, or a stop that the progress callback asked for. */
enum uqff_code uqff_verify_scan(struct verify *verify, struct scan_entry *entries, size_t count,
                                struct uqff_error *err) UQFF_MUST_CHECK;

/* The kind of scan for a tensor of that type. */
enum scan_kind uqff_verify_scan_kind(uint32_t type);

#endif
