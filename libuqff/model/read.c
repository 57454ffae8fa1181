/* Reading tensors: raw bytes, and rows as float32. Two families: tensors whose listed bytes are a
 * rearrangement of the stored ones (rows are those bytes, decoded), and tensors that are listed as
 * float32 because no other type holds what they mean (raw bytes are those values, stored).
 *
 * Nothing here is shared between calls, so that any number of threads may read. Scratch memory is a
 * piece of PIECE bytes, whatever the tensor's size. */
#include <string.h>

#include "model/internal.h"

#define PIECE 262144u
/* Elements decoded at a time where values are computed: a multiple of every block length. */
#define PIECE_ELEMENTS 16384u

static enum uqff_code check_readable(const struct tensor *t, struct uqff_error *err) {
    if (t->refusal == NULL) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET, "%s", t->refusal);
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* ---- rearranged bytes ------------------------------------------------------------------------ */

/* Where row `row` of Hugging Face's order lies in a GGUF: within a head of D rows, the halves
 *     x0 x1 … | y0 y1 …     are stored as     x0 y0 x1 y1 …                                    */
static uint64_t rotated_row(const struct tensor *t, uint64_t rows, uint64_t row) {
    uint64_t per_head = rows / t->heads;
    uint64_t in_head = row % per_head, half = per_head / 2;
    return row - in_head + 2 * (in_head % half) + in_head / half;
}

/* What can be said of a tensor whose rows lie in that order. The permuted unit is a row, or for a
 * bias an element. */
struct rotated {
    const struct tensor *t;
    uint64_t units, per_head, unit; /* all of them, those of a head, bytes of one */
};

/* Units [first, first + count) of one head, which are all of it or lie in one of its halves. Their
 * stored places are next to each other but for what the other half has in between; everything up to
 * the last is read, some units at a time, and what belongs here is kept. */
static enum uqff_code gather_units(const struct rotated *r, uint64_t first, uint64_t count,
                                   unsigned char *scratch, size_t room, unsigned char *out,
                                   struct uqff_error *err) {
    uint64_t head = first - first % r->per_head, half = r->per_head / 2;
    bool all = count == r->per_head;
    uint64_t stored = all ? head : rotated_row(r->t, r->units, first);
    uint64_t end = all ? head + count : rotated_row(r->t, r->units, first + count - 1) + 1;
    while (stored < end) {
        uint64_t n = least(end - stored, room / r->unit);
        enum uqff_code code = uqff_source_read(r->t->source, r->t->offset + stored * r->unit,
                                               scratch, (size_t)(n * r->unit), err);
        if (code != UQFF_OK) {
            return code;
        }
        for (uint64_t i = 0; i < n; i++) {
            uint64_t in_head = stored + i - head;
            uint64_t to = head + in_head / 2 + in_head % 2 * half;
            if (to >= first && to < first + count) {
                memcpy(out + (to - first) * r->unit, scratch + i * r->unit, (size_t)r->unit);
            }
        }
        stored += n;
    }
    return UQFF_OK;
}

/* How many units from `first` on, of `left`, gather_units takes at once. */
static uint64_t gathered(const struct rotated *r, uint64_t first, uint64_t left) {
    uint64_t in_head = first % r->per_head, half = r->per_head / 2;
    if (in_head == 0 && left >= r->per_head) {
        return r->per_head;
    }
    return least(left, in_head < half ? half - in_head : r->per_head - in_head);
}

static enum uqff_code read_rotated(const struct tensor *t, uint64_t offset, unsigned char *out,
                                   size_t n, struct uqff_error *err) {
    /* Small enough for the heap: a larger block would be mapped, and touched, anew every time. */
    enum { ROOM = 64 << 10 };
    struct rotated r = {.t = t, .units = t->info.rank < 2 ? t->columns : t->rows};
    r.per_head = r.units / t->heads;
    r.unit = t->info.bytes / r.units;
    unsigned char *scratch = NULL;
    enum uqff_code code = UQFF_OK;
    if (n >= 4 * r.unit && r.unit <= ROOM / 2 && (scratch = uqff_alloc(ROOM)) == NULL) {
        return uqff_fail_memory(err);
    }
    while (n > 0 && code == UQFF_OK) {
        uint64_t row = offset / r.unit, within = offset % r.unit;
        size_t take = (size_t)least(n, r.unit - within);
        uint64_t whole = within == 0 && scratch != NULL ? n / r.unit : 0;
        if (whole > 1) {
            uint64_t count = gathered(&r, row, whole);
            take = (size_t)(count * r.unit);
            code = gather_units(&r, row, count, scratch, ROOM, out, err);
        } else {
            uint64_t from = t->offset + rotated_row(t, r.units, row) * r.unit + within;
            code = uqff_source_read(t->source, from, out, take, err);
        }
        offset += take;
        out += take;
        n -= take;
    }
    uqff_free(scratch);
    return code;
}

/* One block of 32: ggml keeps the scale's exponent before the nibbles and puts element j beside
 * element j + 16; the stored form has neighbours in one byte.
 *     stored   byte i:  element 2i low, 2i+1 high
 *     ggml     byte 0: exponent; byte 1 + j: element j low, j + 16 high                         */
static void shuffle_mxfp4(unsigned char exponent, const unsigned char *in, unsigned char *out) {
    out[0] = exponent;
    for (unsigned j = 0; j < 16; j++) {
        unsigned shift = 4 * (j % 2);
        unsigned low = (unsigned)in[j / 2] >> shift & 15u;
        unsigned high = (unsigned)in[8 + j / 2] >> shift & 15u;
        out[1 + j] = (unsigned char)(low | high << 4);
    }
}

#define MXFP4_BYTES 17u
#define MXFP4_BLOCKS 128u /* at a time */

static enum uqff_code read_mxfp4(const struct tensor *t, uint64_t offset, unsigned char *out,
                                 size_t n, struct uqff_error *err) {
    unsigned char nibbles[16 * MXFP4_BLOCKS], exponents[MXFP4_BLOCKS];
    unsigned char blocks[MXFP4_BYTES * MXFP4_BLOCKS];
    while (n > 0) {
        uint64_t first = offset / MXFP4_BYTES, within = offset % MXFP4_BYTES;
        uint64_t left = t->info.bytes / MXFP4_BYTES - first;
        size_t count = (size_t)least(left, (within + n + MXFP4_BYTES - 1) / MXFP4_BYTES);
        count = (size_t)least(count, MXFP4_BLOCKS);
        enum uqff_code code =
            uqff_source_read(t->source, t->offset + 16 * first, nibbles, 16 * count, err);
        if (code == UQFF_OK) {
            code =
                uqff_source_read(t->scales.source, t->scales.offset + first, exponents, count, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
        for (size_t i = 0; i < count; i++) {
            shuffle_mxfp4(exponents[i], nibbles + 16 * i, blocks + MXFP4_BYTES * i);
        }
        size_t take = (size_t)least(n, MXFP4_BYTES * count - within);
        memcpy(out, blocks + within, take);
        offset += take;
        out += take;
        n -= take;
    }
    return UQFF_OK;
}

static enum uqff_code read_bytes(const struct tensor *t, uint64_t offset, void *out, size_t n,
                                 struct uqff_error *err) {
    switch (t->reading) {
    case READ_ROTATED:
        return read_rotated(t, offset, out, n, err);
    case READ_MXFP4:
        return read_mxfp4(t, offset, out, n, err);
    default:
        return uqff_source_read(t->source, t->offset + offset, out, n, err);
    }
}

/* ---- computed values ------------------------------------------------------------------------- */

/* `n` elements of a row as stored, from a column that is a multiple of the block length. */
static enum uqff_code stored_elements(const struct tensor *t, uint64_t row, uint64_t column,
                                      float *out, size_t n, struct uqff_error *err) {
    unsigned char scratch[4096];
    const struct uqff_type_info *info = uqff_type_info(t->stored_type);
    uint64_t row_bytes = t->columns / info->block_length * info->block_bytes;
    uint64_t from = t->offset + row * row_bytes + column / info->block_length * info->block_bytes;
    size_t step = sizeof scratch / info->block_bytes * info->block_length;
    while (n > 0) {
        size_t take = n < step ? n : step;
        size_t bytes = take / info->block_length * info->block_bytes;
        enum uqff_code code = uqff_source_read(t->source, from, scratch, bytes, err);
        code =
            code != UQFF_OK ? code : uqff_dequantize_row(t->stored_type, scratch, out, take, err);
        if (code != UQFF_OK) {
            return code;
        }
        from += bytes;
        out += take;
        n -= take;
    }
    return UQFF_OK;
}

/* Multiplies by the scales of the row's band, a few hundred at a time. */
static enum uqff_code scale_elements(const struct tensor *t, uint64_t row, uint64_t column,
                                     float *out, size_t n, struct uqff_error *err) {
    enum { SCALES = 256 };
    unsigned char bytes[SCALES * 8];
    float scales[SCALES];
    const struct companion *s = &t->scales;
    const struct uqff_type_info *info = uqff_type_info(s->type);
    uint64_t matrix_rows = t->info.rank < 2 ? 1 : t->info.shape[t->info.rank - 2];
    uint64_t band = row / matrix_rows * s->rows + row % matrix_rows / s->row_height;
    size_t at = 0;
    while (at < n) {
        uint64_t first = (column + at) / s->column_width;
        uint64_t last = (column + n - 1) / s->column_width;
        size_t count = (size_t)least(last - first + 1, SCALES);
        uint64_t from = s->offset + (band * s->columns + first) * info->block_bytes;
        enum uqff_code code =
            uqff_source_read(s->source, from, bytes, count * info->block_bytes, err);
        code = code != UQFF_OK ? code : uqff_dequantize_row(s->type, bytes, scales, count, err);
        if (code != UQFF_OK) {
            return code;
        }
        for (size_t i = 0; i < count; i++) {
            size_t end = (size_t)least(n, (first + i + 1) * s->column_width - column);
            for (; at < end; at++) {
                out[at] *= scales[i];
            }
        }
    }
    return UQFF_OK;
}

/* `n` elements of a row of a tensor that is listed as float32; `column` is a multiple of 256. */
static enum uqff_code computed_elements(const struct tensor *t, uint64_t row, uint64_t column,
                                        float *out, size_t n, struct uqff_error *err) {
    enum uqff_code code = stored_elements(t, row, column, out, n, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (t->reading == READ_FP8) {
        return scale_elements(t, row, column, out, n, err);
    }
    for (size_t i = 0; i < n && t->shift != 0; i++) {
        out[i] += t->shift;
    }
    return UQFF_OK;
}

static void store_floats(const float *values, unsigned char *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uqff_store_le_f32(out + 4 * i, values[i]);
    }
}

/* Raw bytes of computed values: whole pieces of a row are computed, and what was asked for copied.
 */
static enum uqff_code computed_bytes(const struct uqff_model *model, const struct tensor *t,
                                     uint64_t offset, unsigned char *out, size_t n,
                                     struct uqff_error *err) {
    bool is_blob = t->reading == READ_BLOB;
    size_t room = (size_t)(is_blob ? t->columns : least(t->columns, PIECE_ELEMENTS));
    float *values = uqff_alloc_array(room, sizeof *values);
    unsigned char *bytes = uqff_alloc_array(room, 4);
    enum uqff_code code = UQFF_OK;
    if (values == NULL || bytes == NULL) {
        code = uqff_fail_memory(err);
    }
    while (n > 0 && code == UQFF_OK) {
        uint64_t element = offset / 4;
        uint64_t row = element / t->columns, column = element % t->columns;
        uint64_t begin = is_blob ? 0 : column / 256 * 256;
        size_t count = (size_t)least(t->columns - begin, room);
        code = is_blob ? uqff_model_blob_rows(model, t, row, 1, values, err)
                       : computed_elements(t, row, begin, values, count, err);
        if (code != UQFF_OK) {
            break;
        }
        store_floats(values, bytes, count);
        size_t within = (size_t)((column - begin) * 4 + offset % 4);
        size_t take = (size_t)least(n, 4 * count - within);
        memcpy(out, bytes + within, take);
        offset += take;
        out += take;
        n -= take;
    }
    uqff_free(values);
    uqff_free(bytes);
    return code;
}

static bool is_computed(const struct tensor *t) {
    return t->reading == READ_FP8 || t->reading == READ_SHIFTED || t->reading == READ_BLOB;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static enum uqff_code computed_rows(const struct uqff_model *model, const struct tensor *t,
                                    uint64_t first, uint64_t rows, float *out,
                                    struct uqff_error *err) {
    if (t->reading == READ_BLOB) {
        return uqff_model_blob_rows(model, t, first, rows, out, err);
    }
    for (uint64_t row = first; row < first + rows; row++) {
        for (uint64_t column = 0; column < t->columns; column += PIECE_ELEMENTS) {
            size_t n = (size_t)least(t->columns - column, PIECE_ELEMENTS);
            enum uqff_code code = computed_elements(t, row, column, out, n, err);
            if (code != UQFF_OK) {
                return code;
            }
            out += n;
        }
    }
    return UQFF_OK;
}

/* Rows that are stored without gaps are one run of blocks: it is read and decoded by pieces. */
static enum uqff_code decoded_rows(const struct tensor *t, uint64_t first, uint64_t rows,
                                   float *out, struct uqff_error *err) {
    unsigned char small[4096], *scratch = small;
    const struct uqff_type_info *info = uqff_type_info(t->info.type);
    uint64_t left = rows * (t->columns / info->block_length); /* in blocks */
    uint64_t offset = first * (t->columns / info->block_length) * info->block_bytes;
    size_t room = left * info->block_bytes <= sizeof small ? sizeof small : PIECE;
    enum uqff_code code = UQFF_OK;
    if (room > sizeof small && (scratch = uqff_alloc(room)) == NULL) {
        return uqff_fail_memory(err);
    }
    while (left > 0 && code == UQFF_OK) {
        size_t blocks = (size_t)least(left, room / info->block_bytes);
        code = read_bytes(t, offset, scratch, blocks * info->block_bytes, err);
        if (code == UQFF_OK) {
            code =
                uqff_dequantize_row(t->info.type, scratch, out, blocks * info->block_length, err);
        }
        offset += blocks * info->block_bytes;
        out += blocks * info->block_length;
        left -= blocks;
    }
    if (scratch != small) {
        uqff_free(scratch);
    }
    return code;
}

/* ---- the public functions -------------------------------------------------------------------- */

enum uqff_code uqff_model_read(const struct uqff_model *model, size_t tensor, uint64_t offset,
                               void *out, size_t n, struct uqff_error *err) {
    const struct tensor *t = &model->tensors[tensor];
    enum uqff_code code = check_index(model, "tensor", tensor, model->tensor_count, err);
    code = code != UQFF_OK ? code : check_readable(t, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (offset > t->info.bytes || n > t->info.bytes - offset) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "tensor '%s': asked for bytes %llu to %llu, found %llu", t->info.name,
                         (unsigned long long)offset, (unsigned long long)(offset + n),
                         (unsigned long long)t->info.bytes);
    }
    if (n == 0) {
        return UQFF_OK;
    }
    return is_computed(t) ? computed_bytes(model, t, offset, out, n, err)
                          : read_bytes(t, offset, out, n, err);
}

enum uqff_code uqff_model_read_rows(const struct uqff_model *model, size_t tensor, uint64_t first,
                                    uint64_t rows, float *out, struct uqff_error *err) {
    const struct tensor *t = &model->tensors[tensor];
    enum uqff_code code = check_index(model, "tensor", tensor, model->tensor_count, err);
    code = code != UQFF_OK ? code : check_readable(t, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (first > t->rows || rows > t->rows - first) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "tensor '%s': asked for rows %llu to %llu, found %llu", t->info.name,
                         (unsigned long long)first, (unsigned long long)(first + rows),
                         (unsigned long long)t->rows);
    }
    const struct uqff_type_info *info = uqff_type_info(t->info.type);
    if (info == NULL || (info->flags & UQFF_TYPE_CAN_DECODE) == 0) {
        return uqff_fail(err, UQFF_E_TYPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found type %s, expected one that can be decoded",
                         model->path, t->info.name, uqff_type_name(t->info.type));
    }
    if (t->columns % info->block_length != 0) {
        return uqff_fail(err, UQFF_E_SHAPE, UQFF_NO_OFFSET,
                         "%s: tensor '%s': found rows of %llu, expected a multiple of %u",
                         model->path, t->info.name, (unsigned long long)t->columns,
                         info->block_length);
    }
    return is_computed(t) ? computed_rows(model, t, first, rows, out, err)
                          : decoded_rows(t, first, rows, out, err);
}
