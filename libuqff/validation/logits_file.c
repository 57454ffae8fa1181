/* llama.cpp's file of logits, written and read:
 *     0   "_logits_"
 *     8   u32 context | i32 vocabulary | i32 chunks
 *     20  i32 tokens[chunks * context]
 *         rows, those of a chunk's scored positions in turn, each
 *             f32 scale | f32 minimum | u16 code[vocabulary], and one more where that is odd
 * log p[i] = scale * code[i] + minimum. What is more than 16 below the largest has code 0. */
#include <math.h>
#include <string.h>

#include "validation/math.h"
#include "validation/measure.h"

#define MAGIC "_logits_"

size_t uqff_logits_row_bytes(size_t vocabulary) {
    return 2 * (2 * ((vocabulary + 1) / 2) + 4);
}

size_t uqff_logits_rows(size_t context) {
    return context - 1 - context / 2;
}

bool uqff_logits_offset(const struct logits_header *header, uint64_t chunk, uint64_t row,
                        uint64_t *out) {
    uint64_t tokens, rows, bytes;
    return uqff_mul_u64(header->chunks, header->context, &tokens) &&
           uqff_mul_u64(tokens, 4, &tokens) &&
           uqff_mul_u64(chunk, uqff_logits_rows(header->context), &rows) &&
           uqff_add_u64(rows, row, &rows) &&
           uqff_mul_u64(rows, uqff_logits_row_bytes(header->vocabulary), &bytes) &&
           uqff_add_u64(bytes, tokens, &bytes) && uqff_add_u64(bytes, UQFF_LOGITS_HEADER, out);
}

/* The nearest integer, ties to even, of 0 <= x < 2^22. */
static uint16_t nearest(float x) {
    float shifted = x + 0x1.8p23f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    return (uint16_t)(bits & 0xffff);
}

void uqff_logits_encode(const float *x, const struct row_shape *shape, size_t n,
                        unsigned char *out) {
    float smallest = x[0];
    for (size_t i = 1; i < n; i++) {
        smallest = x[i] < smallest ? x[i] : smallest;
    }
    if (smallest < shape->largest - 16) {
        smallest = shape->largest - 16;
    }
    float log_sum = (float)(shape->log_sum - (double)shape->largest);
    float scale = (shape->largest - smallest) / 65535.0f;
    float inverse = scale != 0 ? 1 / scale : 0;
    uqff_store_le_f32(out, scale);
    uqff_store_le_f32(out + 4, smallest - shape->largest - log_sum);
    out += 8;
    for (size_t i = 0; i < n; i++) {
        uqff_store_le16(out + 2 * i, x[i] > smallest ? nearest(inverse * (x[i] - smallest)) : 0);
    }
    if (n % 2 != 0) {
        uqff_store_le16(out + 2 * n, 0);
    }
}

bool uqff_logits_decode(const unsigned char *row, size_t n, float *out) {
    float scale = uqff_load_le_f32(row), smallest = uqff_load_le_f32(row + 4);
    if (!isfinite(scale) || !isfinite(smallest)) {
        return false;
    }
    row += 8;
    for (size_t i = 0; i < n; i++) {
        out[i] = scale * (float)uqff_load_le16(row + 2 * i) + smallest;
    }
    return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct writer {
    struct uqff_sink *sink;
    const struct uqff_ops *ops;
    struct logits_header header;
    unsigned threads;
    struct room rows;
    const float *logits; /* that are being encoded */
};

static enum uqff_code encode_row(void *context, size_t row, unsigned thread,
                                 struct uqff_error *err) {
    struct writer *w = context;
    size_t n = w->header.vocabulary;
    const float *x = w->logits + row * n;
    struct row_shape shape = uqff_row_shape(w->ops, x, n);
    (void)thread, (void)err;
    uqff_logits_encode(x, &shape, n,
                       (unsigned char *)w->rows.data + row * uqff_logits_row_bytes(n));
    return UQFF_OK;
}

static enum uqff_code write_rows(void *context, size_t chunk, size_t first, size_t count,
                                 const float *rows, struct uqff_error *err) {
    struct writer *w = context;
    size_t bytes = uqff_logits_row_bytes(w->header.vocabulary);
    uint64_t offset;
    if (!uqff_logits_offset(&w->header, chunk, first, &offset)) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET, "%s: the file would be too large",
                         uqff_sink_path(w->sink));
    }
    w->logits = rows;
    enum uqff_code code = uqff_room(&w->rows, count, bytes, err);
    code = code != UQFF_OK ? code : uqff_parallel_for(count, w->threads, encode_row, w, err);
    return code != UQFF_OK ? code
                           : uqff_sink_write(w->sink, offset, w->rows.data, count * bytes, err);
}

static enum uqff_code write_header(const struct writer *w, const uint32_t *tokens,
                                   struct uqff_error *err) {
    unsigned char header[UQFF_LOGITS_HEADER] = MAGIC, piece[4096];
    size_t count = (size_t)w->header.chunks * w->header.context, room = sizeof piece / 4;
    uqff_store_le32(header + 8, w->header.context);
    uqff_store_le32(header + 12, w->header.vocabulary);
    uqff_store_le32(header + 16, w->header.chunks);
    enum uqff_code code = uqff_sink_write(w->sink, 0, header, sizeof header, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i += room) {
        size_t n = count - i < room ? count - i : room;
        for (size_t k = 0; k < n; k++) {
            uqff_store_le32(piece + 4 * k, tokens[i + k]);
        }
        code = uqff_sink_write(w->sink, UQFF_LOGITS_HEADER + 4 * (uint64_t)i, piece, 4 * n, err);
    }
    return code;
}

/* The number of rows of the embedding, as the transformer sees it. */
static enum uqff_code vocabulary_of(const struct uqff_model *model, uint32_t *out,
                                    struct uqff_error *err) {
    struct uqff_transformer *transformer = NULL;
    enum uqff_code code = uqff_transformer_open(model, NULL, &transformer, err);
    if (code == UQFF_OK) {
        *out = uqff_transformer_vocabulary(transformer);
    }
    uqff_transformer_close(transformer);
    return code;
}

enum uqff_code uqff_logits_write(const struct uqff_model *base, const uint32_t *tokens,
                                 size_t token_count, uint32_t bos, bool add_bos,
                                 const struct uqff_measure_options *options, const char *path,
                                 bool overwrite, uqff_measure_progress *progress, void *context,
                                 struct uqff_measure *out, struct uqff_error *err) {
    struct writer w = {.ops = uqff_ops_in_use()};
    struct measure_task task = {
        .candidates = &base,
        .count = 1,
        .tokens = tokens,
        .token_count = token_count,
        .bos = bos,
        .add_bos = add_bos,
        .least_chunks = 2,
        .hook = {.write = write_rows, .context = &w},
        .progress = progress,
        .progress_context = context,
    };
    struct measure_plan plan;
    if (options != NULL) {
        task.options = *options;
    }
    task.options.stride = 0; /* the file has no place for one */
    w.threads = task.options.threads;
    enum uqff_code code = uqff_measure_plan(&task.options, token_count, 2, &plan, err);
    code = code != UQFF_OK ? code : vocabulary_of(base, &w.header.vocabulary, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (plan.length > INT32_MAX || plan.chunks > INT32_MAX || w.header.vocabulary > INT32_MAX) {
        return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET,
                         "%s: found %zu chunks of %zu tokens, more than the file can hold", path,
                         plan.chunks, plan.length);
    }
    w.header.context = (uint32_t)plan.length;
    w.header.chunks = (uint32_t)plan.chunks;
    code = uqff_sink_create(path, overwrite, &w.sink, err);
    code = code != UQFF_OK ? code : write_header(&w, tokens, err);
    code = code != UQFF_OK ? code : uqff_measure_run(&task, out, err);
    code = code != UQFF_OK ? code : uqff_sink_flush(w.sink, err);
    code = code != UQFF_OK ? code : uqff_sink_publish(w.sink, err);
    uqff_sink_close(w.sink);
    uqff_room_free(&w.rows);
    return code;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reader {
    struct uqff_source *source;
    struct logits_header header;
    uint32_t *tokens;
    struct room row;
};

static enum uqff_code fail_header(const struct reader *r, uint64_t offset, const char *what,
                                  uint32_t found, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_FIELD, offset, "%s: %s: found %d, expected a positive number",
                     uqff_source_name(r->source), what, (int32_t)found);
}

static enum uqff_code read_header(struct reader *r, struct uqff_error *err) {
    unsigned char bytes[UQFF_LOGITS_HEADER];
    const char *name = uqff_source_name(r->source);
    uint64_t size = uqff_source_size(r->source), needed;
    if (size < sizeof bytes) {
        return uqff_fail(err, UQFF_E_TRUNCATED, 0, "%s: found %llu bytes, expected a header of %zu",
                         name, (unsigned long long)size, sizeof bytes);
    }
    enum uqff_code code = uqff_source_read(r->source, 0, bytes, sizeof bytes, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (memcmp(bytes, MAGIC, 8) != 0) {
        return uqff_fail(err, UQFF_E_MAGIC, 0,
                         "%s: is no file of logits: expected it to begin "
                         "with '" MAGIC "'",
                         name);
    }
    r->header.context = uqff_load_le32(bytes + 8);
    r->header.vocabulary = uqff_load_le32(bytes + 12);
    r->header.chunks = uqff_load_le32(bytes + 16);
    if (r->header.context < 4 || r->header.context > INT32_MAX) {
        return fail_header(r, 8, "context", r->header.context, err);
    }
    if (r->header.vocabulary == 0 || r->header.vocabulary > INT32_MAX) {
        return fail_header(r, 12, "vocabulary", r->header.vocabulary, err);
    }
    if (r->header.chunks == 0 || r->header.chunks > INT32_MAX) {
        return fail_header(r, 16, "chunks", r->header.chunks, err);
    }
    if (!uqff_logits_offset(&r->header, r->header.chunks, 0, &needed) || needed > size) {
        return uqff_fail(err, UQFF_E_TRUNCATED, size,
                         "%s: found %llu bytes, too few for %u chunks of %u tokens and a "
                         "vocabulary of %u",
                         name, (unsigned long long)size, r->header.chunks, r->header.context,
                         r->header.vocabulary);
    }
    return UQFF_OK;
}

/* The bytes are there: the header's check has seen to that. */
static enum uqff_code read_tokens(struct reader *r, size_t count, struct uqff_error *err) {
    r->tokens = uqff_alloc_array(count, sizeof *r->tokens);
    if (r->tokens == NULL) {
        return uqff_fail_memory(err);
    }
    unsigned char piece[4096];
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < count && code == UQFF_OK; i += sizeof piece / 4) {
        size_t n = count - i < sizeof piece / 4 ? count - i : sizeof piece / 4;
        code = uqff_source_read(r->source, UQFF_LOGITS_HEADER + 4 * (uint64_t)i, piece, 4 * n, err);
        for (size_t k = 0; k < n && code == UQFF_OK; k++) {
            r->tokens[i + k] = uqff_load_le32(piece + 4 * k);
        }
    }
    return code;
}

static enum uqff_code read_rows(void *context, size_t chunk, size_t first, size_t count,
                                float *rows, struct uqff_error *err) {
    struct reader *r = context;
    size_t n = r->header.vocabulary, bytes = uqff_logits_row_bytes(n);
    uint64_t offset;
    enum uqff_code code = uqff_room(&r->row, bytes, 1, err);
    for (size_t i = 0; i < count && code == UQFF_OK; i++) {
        if (!uqff_logits_offset(&r->header, chunk, first + i, &offset)) {
            return uqff_fail(err, UQFF_E_OVERFLOW, UQFF_NO_OFFSET, "%s: is too large",
                             uqff_source_name(r->source));
        }
        code = uqff_source_read(r->source, offset, r->row.data, bytes, err);
        if (code == UQFF_OK && !uqff_logits_decode(r->row.data, n, rows + i * n)) {
            code = uqff_fail(err, UQFF_E_NONFINITE, offset,
                             "%s: chunk %zu: the scale or minimum of row %zu is NaN or infinite",
                             uqff_source_name(r->source), chunk, first + i);
        }
    }
    return code;
}

/* llama.cpp takes the beginning of chunks from the vocabulary of the model that is measured. */
static enum uqff_code find_bos(const struct uqff_model *model, struct measure_task *task,
                               struct uqff_error *err) {
    struct uqff_vocabulary *vocabulary = NULL;
    enum uqff_code code = uqff_vocabulary_open(model, NULL, &vocabulary, err);
    if (code == UQFF_E_MISSING) {
        return UQFF_OK;
    }
    if (code == UQFF_OK) {
        const struct uqff_vocabulary_info *info = uqff_vocabulary_info(vocabulary);
        task->bos = info->bos;
        task->add_bos = info->add_bos && info->bos != UQFF_NO_TOKEN;
    }
    uqff_vocabulary_close(vocabulary);
    return code;
}

static enum uqff_code measure(struct reader *r, const struct uqff_model *candidate,
                              const struct uqff_measure_options *options,
                              uqff_measure_progress *progress, void *context,
                              struct uqff_measure *out, struct uqff_error *err) {
    struct measure_task task = {
        .candidates = &candidate,
        .count = 1,
        .vocabulary = r->header.vocabulary,
        .least_chunks = 1,
        .hook = {.read = read_rows, .context = r},
        .progress = progress,
        .progress_context = context,
    };
    if (options != NULL) {
        task.options = *options;
    }
    if (task.options.context != 0 && task.options.context != r->header.context) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: found chunks of %u tokens, expected the %zu that were asked for",
                         uqff_source_name(r->source), r->header.context, task.options.context);
    }
    task.options.context = r->header.context;
    task.options.stride = 0;
    task.token_count = (size_t)r->header.context * r->header.chunks;
    enum uqff_code code = read_tokens(r, task.token_count, err);
    task.tokens = r->tokens;
    code = code != UQFF_OK ? code : find_bos(candidate, &task, err);
    return code != UQFF_OK ? code : uqff_measure_run(&task, out, err);
}

enum uqff_code uqff_measure_against_file(const char *logits_path,
                                         const struct uqff_model *candidate,
                                         const struct uqff_measure_options *options,
                                         uqff_measure_progress *progress, void *context,
                                         struct uqff_measure *out, struct uqff_error *err) {
    struct reader r = {0};
    enum uqff_code code = uqff_source_open(logits_path, &r.source, err);
    code = code != UQFF_OK ? code : read_header(&r, err);
    code = code != UQFF_OK ? code : measure(&r, candidate, options, progress, context, out, err);
    uqff_source_close(r.source);
    uqff_free(r.tokens);
    uqff_room_free(&r.row);
    return code;
}
