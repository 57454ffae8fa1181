/* Rows of a blob as float32. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "container/internal.h"

/* About what is read at once; a single row may be larger. */
#define SLAB ((uint64_t)1 << 20)

/* Rows of one blob: what they take in the weight, the scales and the zeros. */
struct slab {
    const struct uqff_blob *blob;
    const struct uqff_coding *coding; /* NULL for formats 0 and 1 */
    size_t columns;
    size_t rows; /* at hand */
    unsigned char *weight, *scales, *zeros;
    float *scale_values, *zero_values; /* AFQ: rows * columns / group of them */
};

/* s eeee mmm, bias 7, no infinity: s1111111 is NaN. */
static float decode_e4m3(unsigned byte) {
    int exponent = (int)(byte >> 3 & 15), mantissa = (int)(byte & 7);
    float value;
    if (exponent == 15 && mantissa == 7) {
        value = NAN;
    } else if (exponent == 0) {
        value = ldexpf((float)mantissa, -9);
    } else {
        value = ldexpf((float)(mantissa + 8), exponent - 10);
    }
    return (byte & 0x80) != 0 ? -value : value;
}

/* A scale of eight bits: 2^(b - 127); 255 is NaN. */
static float decode_e8m0(unsigned byte) {
    return byte == 255 ? NAN : ldexpf(1.0f, (int)byte - 127);
}

/* ---- one function a format: slab->rows rows to out ------------------------------------------- */

static enum uqff_code decode_blocks(const struct slab *slab, float *out, struct uqff_error *err) {
    uint32_t type = slab->blob->type;
    if (type == UQFF_TYPE_F8_E4M3) {
        for (size_t i = 0; i < slab->rows * slab->columns; i++) {
            out[i] = decode_e4m3(slab->weight[i]);
        }
        return UQFF_OK;
    }
    /* Rows are whole blocks, so all rows are one run of blocks. */
    return uqff_dequantize_row(type, slab->weight, out, slab->rows * slab->columns, err);
}

static enum uqff_code decode_fp8(const struct slab *slab, float *out, struct uqff_error *err) {
    (void)err;
    for (size_t i = 0; i < slab->rows * slab->columns; i++) {
        out[i] = decode_e4m3(slab->weight[i]) * slab->coding->scale;
    }
    return UQFF_OK;
}

static enum uqff_code decode_afq(const struct slab *slab, float *out, struct uqff_error *err) {
    const struct uqff_coding *coding = slab->coding;
    size_t groups = slab->columns / coding->group;
    uint32_t type = uqff_type_from_dtype(coding->scales.tensor->dtype);
    enum uqff_code code;
    if ((code = uqff_dequantize_row(type, slab->scales, slab->scale_values, slab->rows * groups,
                                    err)) != UQFF_OK ||
        (code = uqff_dequantize_row(type, slab->zeros, slab->zero_values, slab->rows * groups,
                                    err)) != UQFF_OK) {
        return code;
    }
    size_t row_bytes = slab->columns * coding->bits / 8;
    unsigned mask = (1u << coding->bits) - 1;
    for (size_t r = 0; r < slab->rows; r++) {
        const unsigned char *row = slab->weight + r * row_bytes;
        for (size_t c = 0; c < slab->columns; c++) {
            size_t bit = c * coding->bits, byte = bit / 8;
            unsigned shift = (unsigned)(bit % 8), window = row[byte];
            /* A value reaches into the next byte only where there is one: a row is whole words. */
            if (shift + coding->bits > 8) {
                window |= (unsigned)row[byte + 1] << 8;
            }
            size_t group = r * groups + c / coding->group;
            out[r * slab->columns + c] =
                (float)(window >> shift & mask) * slab->scale_values[group] +
                slab->zero_values[group];
        }
    }
    return UQFF_OK;
}

static enum uqff_code decode_mxfp4(const struct slab *slab, float *out, struct uqff_error *err) {
    static const float values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                     -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    (void)err;
    size_t n = slab->rows * slab->columns;
    for (size_t g = 0; g < n / 32; g++) {
        float scale = decode_e8m0(slab->scales[g]);
        for (size_t i = 0; i < 16; i++) {
            unsigned byte = slab->weight[g * 16 + i];
            out[g * 32 + 2 * i] = values[byte & 15] * scale;
            out[g * 32 + 2 * i + 1] = values[byte >> 4] * scale;
        }
    }
    return UQFF_OK;
}

/* ---- formats whose rows lie on their own ----------------------------------------------------- */

static uint64_t row_count(const struct uqff_module *module) {
    return module->weights / module->shape[module->rank - 1];
}

static enum uqff_code read_part(const struct uqff_container *container,
                                const struct uqff_entry *entry, uint64_t total_rows,
                                uint64_t first_row, size_t rows, void *out,
                                struct uqff_error *err) {
    uint64_t row_bytes = entry->tensor->bytes / total_rows;
    return uqff_source_read(container->shards[entry->shard].source,
                            entry->tensor->offset + first_row * row_bytes, out,
                            (size_t)row_bytes * rows, err);
}

/* Room for `rows` rows of an entry; nothing for one that the format has not. */
static bool make_room(const struct uqff_entry *entry, uint64_t total_rows, size_t rows,
                      unsigned char **out) {
    uint64_t row_bytes = entry->tensor->bytes / total_rows;
    size_t n;
    if (!uqff_to_size(row_bytes, &n)) {
        return false;
    }
    *out = uqff_realloc_array(NULL, rows, n);
    return *out != NULL;
}

static enum uqff_code open_slab(struct slab *slab, uint64_t total_rows, size_t rows,
                                struct uqff_error *err) {
    const struct uqff_coding *coding = slab->coding;
    bool ok = make_room(&slab->blob->entry, total_rows, rows, &slab->weight);
    if (ok && coding != NULL && coding->scales.tensor != NULL) {
        ok = make_room(&coding->scales, total_rows, rows, &slab->scales);
    }
    if (ok && coding != NULL && coding->zeros.tensor != NULL) {
        size_t groups = slab->columns / coding->group;
        ok = make_room(&coding->zeros, total_rows, rows, &slab->zeros);
        slab->scale_values = uqff_alloc_array(rows, groups * sizeof *slab->scale_values);
        slab->zero_values = uqff_alloc_array(rows, groups * sizeof *slab->zero_values);
        ok = ok && slab->scale_values != NULL && slab->zero_values != NULL;
    }
    return ok ? UQFF_OK : uqff_fail_memory(err);
}

static void close_slab(struct slab *slab) {
    uqff_free(slab->weight);
    uqff_free(slab->scales);
    uqff_free(slab->zeros);
    uqff_free(slab->scale_values);
    uqff_free(slab->zero_values);
}

typedef enum uqff_code decode_slab(const struct slab *slab, float *out, struct uqff_error *err);

static enum uqff_code read_by_rows(const struct uqff_container *container, struct slab *slab,
                                   decode_slab *decode, uint64_t first_row, uint64_t rows,
                                   float *out, struct uqff_error *err) {
    const struct uqff_module *module = &container->modules[slab->blob->module];
    uint64_t total = row_count(module), row_bytes = slab->blob->entry.tensor->bytes / total;
    uint64_t at_once = row_bytes == 0 || row_bytes > SLAB ? 1 : SLAB / row_bytes;
    size_t most = (size_t)(at_once < rows ? at_once : rows);
    enum uqff_code code = open_slab(slab, total, most, err);
    for (uint64_t done = 0; done < rows && code == UQFF_OK; done += slab->rows) {
        uint64_t row = first_row + done;
        slab->rows = rows - done < most ? (size_t)(rows - done) : most;
        code = read_part(container, &slab->blob->entry, total, row, slab->rows, slab->weight, err);
        if (code == UQFF_OK && slab->scales != NULL) {
            code = read_part(container, &slab->coding->scales, total, row, slab->rows, slab->scales,
                             err);
        }
        if (code == UQFF_OK && slab->zeros != NULL) {
            code = read_part(container, &slab->coding->zeros, total, row, slab->rows, slab->zeros,
                             err);
        }
        if (code == UQFF_OK) {
            code = decode(slab, out + (size_t)done * slab->columns, err);
        }
    }
    close_slab(slab);
    return code;
}

/* ---- formats over the whole tensor ----------------------------------------------------------- */

typedef enum uqff_code decode_run(uint32_t type, const unsigned char *blocks, size_t count,
                                  float *out, struct uqff_error *err);

static enum uqff_code run_f8q8(uint32_t type, const unsigned char *blocks, size_t count, float *out,
                               struct uqff_error *err) {
    (void)type;
    (void)err;
    for (size_t b = 0; b < count; b++) {
        float scale = decode_e4m3(blocks[33 * b]) / 448.0f;
        for (size_t i = 0; i < 32; i++) {
            out[32 * b + i] = (float)(int8_t)blocks[33 * b + 1 + i] * scale;
        }
    }
    return UQFF_OK;
}

static enum uqff_code run_ggml(uint32_t type, const unsigned char *blocks, size_t count, float *out,
                               struct uqff_error *err) {
    return uqff_dequantize_row(type, blocks, out, count * uqff_type_info(type)->block_length, err);
}

/* Blocks run over the ends of rows: the first and the last one may be cut by what is asked for. */
static enum uqff_code read_by_blocks(const struct uqff_container *container,
                                     const struct uqff_blob *blob, decode_run *decode,
                                     size_t length, size_t bytes, uint64_t first, uint64_t count,
                                     float *out, struct uqff_error *err) {
    enum { AT_ONCE = 1024 };
    struct uqff_source *source = container->shards[blob->entry.shard].source;
    unsigned char *blocks = uqff_alloc(bytes * AT_ONCE);
    float *values = uqff_alloc(length * AT_ONCE * sizeof *values);
    enum uqff_code code = blocks == NULL || values == NULL ? uqff_fail_memory(err) : UQFF_OK;
    uint64_t end = first + count; /* at most the module's weights */
    uint64_t block = first / length, last = (end - 1) / length;
    for (; block <= last && code == UQFF_OK; block += AT_ONCE) {
        size_t n = last - block < AT_ONCE ? (size_t)(last - block) + 1 : AT_ONCE;
        code = uqff_source_read(source, blob->entry.tensor->offset + block * bytes, blocks,
                                n * bytes, err);
        if (code == UQFF_OK) {
            code = decode(blob->type, blocks, n, values, err);
        }
        if (code == UQFF_OK) {
            uint64_t start = block * length, stop = start + n * length;
            uint64_t from = start < first ? first : start, to = stop > end ? end : stop;
            memcpy(out + (from - first), values + (from - start),
                   (size_t)(to - from) * sizeof *out);
        }
    }
    uqff_free(blocks);
    uqff_free(values);
    return code;
}

static enum uqff_code read_hqq(const struct uqff_container *container, const struct uqff_blob *blob,
                               const struct uqff_coding *coding, float *out,
                               struct uqff_error *err) {
    const struct uqff_module *module = &container->modules[blob->module];
    size_t columns = (size_t)(module->weights / 64), bytes = (size_t)blob->entry.tensor->bytes;
    unsigned char *weight = uqff_alloc(bytes);
    unsigned char *scales = uqff_alloc(columns * 4), *zeros = uqff_alloc(columns * 4);
    enum uqff_code code;
    if (weight == NULL || scales == NULL || zeros == NULL) {
        code = uqff_fail_memory(err);
        goto out;
    }
    if ((code = read_part(container, &blob->entry, 1, 0, 1, weight, err)) != UQFF_OK ||
        (code = read_part(container, &coding->scales, 1, 0, 1, scales, err)) != UQFF_OK ||
        (code = read_part(container, &coding->zeros, 1, 0, 1, zeros, err)) != UQFF_OK) {
        goto out;
    }
    for (size_t r = 0; r < 64; r++) {
        for (size_t c = 0; c < columns; c++) {
            unsigned q = coding->bits == 8 ? weight[r * columns + c]
                         : r < 32          ? weight[r * columns + c] >> 4
                                           : weight[(r - 32) * columns + c] & 15;
            out[r * columns + c] =
                ((float)q - uqff_load_le_f32(zeros + 4 * c)) * uqff_load_le_f32(scales + 4 * c);
        }
    }
out:
    uqff_free(weight);
    uqff_free(scales);
    uqff_free(zeros);
    return code;
}

enum uqff_code uqff_container_read_rows(const struct uqff_container *container, size_t blob,
                                        uint64_t first_row, uint64_t rows, float *out,
                                        struct uqff_error *err) {
    static decode_slab *const decoders[] = {
        [UQFF_FORMAT_GGUF] = decode_blocks, [UQFF_FORMAT_UNQUANT] = decode_blocks,
        [UQFF_FORMAT_FP8] = decode_fp8,     [UQFF_FORMAT_AFQ] = decode_afq,
        [UQFF_FORMAT_MXFP4] = decode_mxfp4,
    };
    enum uqff_code code = check_index(container, "blob", blob, container->blob_count, err);
    if (code != UQFF_OK) {
        return code;
    }
    const struct uqff_blob *b = &container->blobs[blob];
    const struct uqff_module *module = &container->modules[b->module];
    const char *where = uqff_container_where(container, b->entry.shard);
    uint64_t total = row_count(module), columns = module->shape[module->rank - 1], last;
    size_t n;
    if (!uqff_add_u64(first_row, rows, &last) || last > total) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: '%s': rows %llu to %llu, but it has %llu", where,
                         b->entry.tensor->name, (unsigned long long)first_row,
                         (unsigned long long)last, (unsigned long long)total);
    }
    if (!uqff_to_size(module->weights, &n) || n > SIZE_MAX / sizeof *out) {
        return uqff_fail_memory(err);
    }
    if (rows == 0) {
        return UQFF_OK;
    }
    if (b->format == UQFF_FORMAT_F8Q8) {
        return read_by_blocks(container, b, run_f8q8, 32, 33, first_row * columns, rows * columns,
                              out, err);
    }
    const struct uqff_type_info *info = uqff_type_info(b->type);
    if (b->format == UQFF_FORMAT_GGUF && columns % info->block_length != 0) {
        return read_by_blocks(container, b, run_ggml, info->block_length, info->block_bytes,
                              first_row * columns, rows * columns, out, err);
    }
    if (b->format == UQFF_FORMAT_HQQ) {
        if (rows != total) {
            return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                             "%s: '%s': an HQQ tensor is decoded as a whole, all %llu rows of it",
                             where, b->entry.tensor->name, (unsigned long long)total);
        }
        return read_hqq(container, b, container->codings[blob], out, err);
    }
    struct slab slab = {.blob = b, .coding = container->codings[blob], .columns = (size_t)columns};
    code = read_by_rows(container, &slab, decoders[b->format], first_row, rows, out, err);
    if (code != UQFF_OK && uqff_code_family(code) == UQFF_FAMILY_INPUT) {
        uqff_error_prefix(err, "%s: '%s'", where, b->entry.tensor->name);
    }
    return code;
}
