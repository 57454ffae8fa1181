#include "pack/verify_scan.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    SLAB_BYTES = 4 << 20,    /* that a thread reads at a time */
    CHUNK_FLOATS = 64 << 10, /* that it decodes at a time; a multiple of every block */
    F8Q8_BLOCK = 33,
};

struct worker {
    unsigned char *bytes;
    float *floats;
    struct uqff_hasher *hasher;
};

struct scan {
    struct verify *verify;
    struct scan_entry *entries;
    struct worker *workers;
    uint64_t total;
    atomic_uint_least64_t done;
};

enum scan_kind uqff_verify_scan_kind(uint32_t type) {
    const struct uqff_type_info *info = uqff_type_info(type);
    if (info == NULL || (info->flags & UQFF_TYPE_CAN_DECODE) == 0) {
        return SCAN_OPAQUE;
    }
    if ((info->flags & UQFF_TYPE_IS_QUANTIZED) != 0) {
        return SCAN_BLOCKS;
    }
    switch (type) {
    case UQFF_TYPE_F8_E4M3:
    case UQFF_TYPE_F8_E5M2:
    case UQFF_TYPE_F8_E8M0:
        return SCAN_VALUES;
    default:
        return (info->flags & UQFF_TYPE_IS_FLOAT) != 0 ? SCAN_VALUES : SCAN_OPAQUE;
    }
}

/* ---- one slab -------------------------------------------------------------------------------- */

static void note_bad(struct scan_entry *entry, uint64_t place, uint64_t count) {
    if (entry->bad == 0) {
        entry->first_bad = place;
    }
    entry->bad += count;
}

/* True when one of n floats is something else than zero. */
static bool any_nonzero(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (x[i] != 0.0f) {
            return true;
        }
    }
    return false;
}

static void judge_floats(struct scan_entry *entry, const float *x, size_t n, uint64_t base) {
    size_t i = uqff_find_nonfinite(x, n);
    if (i < n) {
        uint64_t count = 0;
        const uint64_t first = base + i;
        for (; i < n; i++) {
            count += isfinite(x[i]) ? 0 : 1;
        }
        note_bad(entry, first, count);
    }
    entry->nonzero = entry->nonzero || any_nonzero(x, n);
}

/* Decodes a slab piece by piece. `base` is the index of its first element. */
static enum uqff_code scan_values(struct scan_entry *entry, const struct worker *worker,
                                  uint64_t base, size_t elements, struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(entry->type);
    for (size_t first = 0; first < elements; first += CHUNK_FLOATS) {
        const size_t left = elements - first;
        const size_t n = left < CHUNK_FLOATS ? left : CHUNK_FLOATS;
        const unsigned char *bytes = worker->bytes + first / info->block_length * info->block_bytes;
        enum uqff_code code = uqff_dequantize_row(entry->type, bytes, worker->floats, n, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (entry->kind == SCAN_BLOCKS) {
            entry->nonzero = entry->nonzero || any_nonzero(worker->floats, n);
            if (entry->nonzero) {
                break;
            }
        } else {
            judge_floats(entry, worker->floats, n, base + first);
        }
    }
    return UQFF_OK;
}

static enum uqff_code scan_blocks(struct scan_entry *entry, const struct worker *worker,
                                  uint64_t base, size_t elements, struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(entry->type);
    struct uqff_scale_range range;
    enum uqff_code code = uqff_scan_scales(entry->type, worker->bytes, elements, &range, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (range.nonfinite) {
        note_bad(entry, base / info->block_length + range.first_bad_block, 1);
    }
    if (entry->nonzero || range.min != 0.0f || range.max != 0.0f) {
        entry->nonzero = true;
        return UQFF_OK;
    }
    /* No block has a scale. A type with minimums may hold values even so. */
    return scan_values(entry, worker, base, elements, err);
}

/* Bytes `step` apart, of which `bad` tells which must not be; `first` is the index of the first. */
static void scan_bytes(struct scan_entry *entry, const unsigned char *bytes, size_t n, size_t step,
                       uint64_t first, bool (*bad)(unsigned char byte)) {
    for (size_t i = 0; i < n; i += step) {
        if (bad(bytes[i])) {
            note_bad(entry, first + i / step, 1);
        }
    }
    entry->nonzero = true;
}

static bool is_nan_e8m0(unsigned char byte) {
    return byte == 0xff;
}
static bool is_nan_e4m3(unsigned char byte) {
    return (byte & 0x7f) == 0x7f;
}
static bool is_not_zero(unsigned char byte) {
    return byte != 0;
}

static enum uqff_code scan_slab(struct scan_entry *entry, const struct worker *worker, uint64_t at,
                                size_t n, struct uqff_error *err) {
    const struct uqff_type_info *info = uqff_type_info(entry->type);
    switch (entry->kind) {
    case SCAN_OPAQUE:
        break;
    case SCAN_E8M0:
        scan_bytes(entry, worker->bytes, n, 1, at, is_nan_e8m0);
        break;
    case SCAN_F8Q8:
        scan_bytes(entry, worker->bytes, n, F8Q8_BLOCK, at / F8Q8_BLOCK, is_nan_e4m3);
        break;
    case SCAN_ZEROS:
        scan_bytes(entry, worker->bytes, n, 1, at, is_not_zero);
        break;
    case SCAN_VALUES:
    case SCAN_SCALES:
        return scan_values(entry, worker, at / info->block_bytes * info->block_length,
                           n / info->block_bytes * info->block_length, err);
    case SCAN_BLOCKS:
        return scan_blocks(entry, worker, at / info->block_bytes * info->block_length,
                           n / info->block_bytes * info->block_length, err);
    }
    return UQFF_OK;
}

/* ---- one entry ------------------------------------------------------------------------------- */

static enum uqff_code prepare(struct worker *worker, struct uqff_error *err) {
    if (worker->bytes == NULL) {
        worker->bytes = uqff_alloc_aligned(SLAB_BYTES);
        worker->floats = uqff_alloc_aligned(CHUNK_FLOATS * sizeof(float));
        worker->hasher = uqff_hasher_new();
    }
    if (worker->bytes == NULL || worker->floats == NULL || worker->hasher == NULL) {
        return uqff_fail_memory(err);
    }
    uqff_hasher_reset(worker->hasher);
    return UQFF_OK;
}

/* The largest slab that holds whole blocks. */
static size_t slab_bytes(const struct scan_entry *entry) {
    size_t block = 1;
    if (entry->kind == SCAN_F8Q8) {
        block = F8Q8_BLOCK;
    } else if (entry->kind == SCAN_VALUES || entry->kind == SCAN_SCALES ||
               entry->kind == SCAN_BLOCKS) {
        block = uqff_type_info(entry->type)->block_bytes;
    }
    return SLAB_BYTES / block * block;
}

static enum uqff_code scan_entry(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    struct scan *scan = (struct scan *)context;
    struct scan_entry *entry = &scan->entries[i];
    struct worker *worker = &scan->workers[thread];
    enum uqff_code code = prepare(worker, err);
    const size_t step = slab_bytes(entry);
    for (uint64_t at = 0; at < entry->bytes && code == UQFF_OK; at += step) {
        const size_t n = entry->bytes - at < step ? (size_t)(entry->bytes - at) : step;
        code = uqff_source_read(entry->source, entry->offset + at, worker->bytes, n, err);
        if (code != UQFF_OK) {
            break;
        }
        if (entry->has_digest) {
            uqff_hasher_update(worker->hasher, worker->bytes, n);
        }
        code = scan_slab(entry, worker, at, n, err);
        const uint64_t done = atomic_fetch_add(&scan->done, n) + n;
        /* Thread 0 is the one that called: progress is promised to come from one thread. */
        if (code == UQFF_OK && thread == 0) {
            code = uqff_progress_update(scan->verify->progress, "verify", done, scan->total, err);
        }
    }
    if (code == UQFF_OK && entry->has_digest) {
        const struct uqff_digest digest = uqff_hasher_digest(worker->hasher);
        entry->mismatch = !uqff_digest_equal(&digest, &entry->digest);
    }
    return code;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void report_bad(struct verify *verify, const struct scan_entry *entry, const char *where,
                       const char *name) {
    const unsigned long long bad = entry->bad, first = entry->first_bad;
    switch (entry->kind) {
    case SCAN_VALUES:
        uqff_findings_add(verify, UQFF_WARNING, "nonfinite",
                          "%s: tensor '%s': %llu of its elements are NaN or infinite, the first "
                          "is element %llu",
                          where, name, bad, first);
        break;
    case SCAN_SCALES:
        uqff_findings_add(verify, UQFF_FAILURE, "nonfinite-scale",
                          "%s: tensor '%s': scale %llu is NaN or infinite, expected finite scales",
                          where, name, first);
        break;
    case SCAN_BLOCKS:
    case SCAN_F8Q8:
    case SCAN_E8M0:
        uqff_findings_add(verify, UQFF_FAILURE, "nonfinite-scale",
                          "%s: tensor '%s': block %llu has a scale that is NaN or infinite, "
                          "expected finite scales",
                          where, name, first);
        break;
    case SCAN_ZEROS:
        uqff_findings_add(verify, UQFF_WARNING, "padding",
                          "%s: '%s': byte %llu of the padding is not zero", where, name, first);
        break;
    case SCAN_OPAQUE:
        break;
    }
}

static void report(struct verify *verify, const struct scan_entry *entry) {
    const char *where = uqff_source_name(entry->source);
    const char *name = entry->name;
    if (entry->mismatch) {
        uqff_findings_add(verify, UQFF_FAILURE, "digest",
                          "%s: '%s': its bytes do not match their digest", where, name);
    }
    if (entry->bad > 0) {
        report_bad(verify, entry, where, name);
    }
    if (entry->is_weight && entry->bytes > 0 && !entry->nonzero && entry->bad == 0 &&
        entry->kind != SCAN_OPAQUE) {
        uqff_findings_add(verify, UQFF_NOTE, "zero", "%s: tensor '%s': all its values are zero",
                          where, name);
    }
}

enum uqff_code uqff_verify_scan(struct verify *verify, struct scan_entry *entries, size_t count,
                                struct uqff_error *err) {
    struct scan scan = {.verify = verify, .entries = entries};
    unsigned threads = verify->options->threads;
    threads = threads != 0 ? threads : uqff_available_threads();
    threads = threads < count ? threads : (unsigned)count;
    threads = threads > 0 ? threads : 1;
    atomic_init(&scan.done, 0);
    for (size_t i = 0; i < count; i++) {
        scan.total += entries[i].bytes; /* they all lie in files, so the sum fits */
    }
    scan.workers = uqff_alloc_array(threads, sizeof *scan.workers);
    if (scan.workers == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_parallel_for(count, threads, scan_entry, &scan, err);
    for (unsigned i = 0; i < threads; i++) {
        uqff_free_aligned(scan.workers[i].bytes);
        uqff_free_aligned(scan.workers[i].floats);
        uqff_hasher_free(scan.workers[i].hasher);
    }
    uqff_free(scan.workers);
    for (size_t i = 0; code == UQFF_OK && i < count; i++) {
        report(verify, &entries[i]);
    }
    return code;
}
