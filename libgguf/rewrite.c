/* Files made from those of a reader: copied, checked, and published together. Split and merge. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "writer.h"

#define COPY_STEP ((uint64_t)64 << 20) /* between two reports of progress */
/* Files that are written at once: each needs two descriptors until all are complete. */
#define LARGEST_SET 256u

enum uqff_code uqff_gguf_rewrite_check(const struct uqff_gguf *file, struct uqff_error *err) {
    if (file->big_endian) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: the file is big-endian, expected little-endian: the numbers in its "
                         "tensors would have to be turned",
                         uqff_source_name(file->source));
    }
    return UQFF_OK;
}

enum uqff_code uqff_gguf_rewrite_layout(const struct uqff_gguf *file, bool first_only,
                                        struct uqff_gguf_layout **out, struct uqff_error *err) {
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_code code = uqff_gguf_layout_new(GGUF_DEFAULT_ALIGNMENT, &layout, err);
    for (size_t i = 0; code == UQFF_OK && i < file->entry_count; i++) {
        code = uqff_gguf_set_copy(layout, file, i, err);
    }
    for (size_t i = 0; code == UQFF_OK && i < file->tensor_count; i++) {
        const struct uqff_gguf_tensor *tensor = &file->tensors[i];
        if (first_only && tensor->file != 0) {
            break; /* tensors are in the order of the files */
        }
        code = uqff_gguf_layout_add(layout, tensor->name, tensor->type, tensor->ne, tensor->n_dims,
                                    err);
    }
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "%s", uqff_source_name(file->source));
        uqff_gguf_layout_free(layout);
        return code;
    }
    *out = layout;
    return UQFF_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct run {
    const struct gguf_rewrite *rewrite;
    struct uqff_sink **sinks;
    bool *existed;
    size_t count;
    uint64_t copied, total; /* bytes */
};

static enum uqff_code check_inputs(const struct run *run, const char *path,
                                   struct uqff_error *err) {
    const struct uqff_gguf *file = run->rewrite->file;
    for (size_t i = 0; i < uqff_gguf_file_count(file); i++) {
        if (uqff_source_is_file(uqff_gguf_source(file, i), path)) {
            return uqff_fail(err, UQFF_E_IS_INPUT, UQFF_NO_OFFSET, "%s: is an input", path);
        }
    }
    return UQFF_OK;
}

static enum uqff_code open_sinks(struct run *run, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    size_t count = run->rewrite->layout->file_count;
    run->sinks = (struct uqff_sink **)uqff_alloc_array(count, sizeof(struct uqff_sink *));
    run->existed = (bool *)uqff_alloc_array(count, sizeof(bool));
    if (run->sinks == NULL || run->existed == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; code == UQFF_OK && i < count; i++) {
        const char *path = run->rewrite->paths[i];
        if (!run->rewrite->replaces_source) {
            code = check_inputs(run, path, err);
        }
        if (code == UQFF_OK) {
            run->existed[i] = uqff_path_exists(path);
            code = uqff_sink_create(path, run->rewrite->overwrite, &run->sinks[i], err);
        }
        run->count += code == UQFF_OK;
    }
    return code;
}

/* Tensors that follow each other in the old file as in the new one, which one copy moves. */
struct stretch {
    size_t first, last;
    uint64_t from, to; /* offsets of the first */
    uint64_t bytes;    /* up to the end of the last, what lies between included */
};

static struct stretch find_stretch(const struct gguf_rewrite *rewrite, size_t first) {
    const struct uqff_gguf_tensor *tensors = rewrite->file->tensors;
    struct stretch s = {.first = first, .last = first, .from = tensors[first].offset};
    size_t file, next_file;
    uint64_t to, bytes;
    uqff_gguf_layout_place(rewrite->layout, first, &file, &s.to, &s.bytes);
    for (size_t i = first + 1; i < rewrite->layout->tensor_count; i++) {
        uqff_gguf_layout_place(rewrite->layout, i, &next_file, &to, &bytes);
        if (next_file != file || tensors[i].file != tensors[first].file ||
            tensors[i].offset < s.from || tensors[i].offset - s.from != to - s.to) {
            break;
        }
        s.last = i;
        s.bytes = to - s.to + bytes;
    }
    return s;
}

/* What lay between the tensors was copied as well, and need not have been zeros. */
static enum uqff_code clear_gaps(const struct run *run, const struct stretch *s, size_t file,
                                 struct uqff_error *err) {
    static const unsigned char zeros[4096];
    enum uqff_code code = UQFF_OK;
    for (size_t i = s->first; i < s->last; i++) {
        size_t in;
        uint64_t offset, bytes, next, ignored;
        uqff_gguf_layout_place(run->rewrite->layout, i, &in, &offset, &bytes);
        uqff_gguf_layout_place(run->rewrite->layout, i + 1, &in, &next, &ignored);
        for (uint64_t at = offset + bytes; code == UQFF_OK && at < next;) {
            uint64_t n = next - at < sizeof zeros ? next - at : sizeof zeros;
            code = uqff_sink_write(run->sinks[file], at, zeros, (size_t)n, err);
            at += n;
        }
    }
    return code;
}

/* Steps end at multiples of their size in the source: where the distance between old and new place
 * is whole blocks, a file system that can do so shares them instead of copying. */
static enum uqff_code copy_stretch(struct run *run, const struct stretch *s,
                                   struct uqff_error *err) {
    const struct gguf_rewrite *rewrite = run->rewrite;
    size_t file = rewrite->layout->tensors[s->first].file;
    struct uqff_source *source =
        uqff_gguf_source(rewrite->file, rewrite->file->tensors[s->first].file);
    enum uqff_code code = UQFF_OK;
    uint64_t done = 0;
    while (code == UQFF_OK && done < s->bytes) {
        uint64_t whole = COPY_STEP - (s->from + done) % COPY_STEP;
        uint64_t step = s->bytes - done < whole ? s->bytes - done : whole;
        code = uqff_sink_copy(run->sinks[file], s->to + done, source, s->from + done, step, err);
        done += step;
        run->copied += step;
        if (code == UQFF_OK) {
            code = uqff_progress_update(rewrite->progress, rewrite->stage, run->copied, run->total,
                                        err);
        }
    }
    return code == UQFF_OK ? clear_gaps(run, s, file, err) : code;
}

static enum uqff_code copy_all(struct run *run, struct uqff_error *err) {
    const struct gguf_rewrite *rewrite = run->rewrite;
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; i < rewrite->layout->tensor_count;) {
        const struct stretch s = find_stretch(rewrite, i);
        run->total += s.bytes; /* no more than the layout has summed up */
        i = s.last + 1;
    }
    for (size_t i = 0; code == UQFF_OK && i < run->count; i++) {
        code = uqff_gguf_layout_write_header(run->rewrite->layout, i, run->sinks[i], err);
    }
    for (size_t i = 0; code == UQFF_OK && i < rewrite->layout->tensor_count;) {
        const struct stretch s = find_stretch(rewrite, i);
        code = copy_stretch(run, &s, err);
        i = s.last + 1;
    }
    for (size_t i = 0; code == UQFF_OK && i < uqff_gguf_file_count(rewrite->file); i++) {
        code = uqff_source_unchanged(uqff_gguf_source(rewrite->file, i), err);
    }
    return code;
}

/* ---- publishing ------------------------------------------------------------------------------ */

enum uqff_code uqff_gguf_read_back(const struct uqff_sink *sink, struct uqff_error *err) {
    struct uqff_source *source = NULL;
    struct uqff_gguf *file = NULL;
    enum uqff_code code = uqff_source_open(uqff_sink_temporary_path(sink), &source, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_open(source, NULL, &file, err);
    }
    uqff_gguf_close(file);
    uqff_source_close(source);
    if (code != UQFF_OK) {
        uqff_error_prefix(err, "%s: reading back", uqff_sink_path(sink));
    }
    return code;
}

static bool is_published(const struct uqff_sink *sink) {
    return strcmp(uqff_sink_path(sink), uqff_sink_temporary_path(sink)) == 0;
}

static enum uqff_code publish(const struct run *run, struct uqff_error *err) {
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; code == UQFF_OK && i < run->count; i++) {
        code = uqff_sink_flush(run->sinks[i], err);
        if (code == UQFF_OK) {
            code = uqff_gguf_read_back(run->sinks[i], err);
        }
    }
    for (size_t i = run->count; code == UQFF_OK && i > 0; i--) {
        code = uqff_sink_publish(run->sinks[i - 1], err);
    }
    /* With its first file in place a set is complete. */
    for (size_t i = 0; code != UQFF_OK && !is_published(run->sinks[0]) && i < run->count; i++) {
        if (is_published(run->sinks[i]) && !run->existed[i]) {
            (void)unlink(run->rewrite->paths[i]);
        }
    }
    return code;
}

enum uqff_code uqff_gguf_rewrite_run(const struct gguf_rewrite *rewrite, struct uqff_error *err) {
    struct run run = {.rewrite = rewrite};
    enum uqff_code code = open_sinks(&run, err);
    if (code == UQFF_OK) {
        code = copy_all(&run, err);
    }
    if (code == UQFF_OK) {
        code = publish(&run, err);
    }
    for (size_t i = 0; i < run.count; i++) {
        uqff_sink_close(run.sinks[i]);
    }
    uqff_free(run.sinks);
    uqff_free(run.existed);
    return code;
}

/* ---- split and merge ------------------------------------------------------------------------- */

static enum uqff_code lay_out_split(const struct uqff_gguf *file,
                                    const struct uqff_gguf_split_options *options,
                                    struct uqff_gguf_layout **out, struct uqff_error *err) {
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_code code = uqff_gguf_rewrite_check(file, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_rewrite_layout(file, false, &layout, err);
    }
    if (code == UQFF_OK) {
        if (options->empty_first) {
            uqff_gguf_layout_empty_first(layout);
        }
        code = uqff_gguf_layout_finish(layout, options->max_bytes, options->max_tensors, err);
    }
    if (code == UQFF_OK && layout->file_count == 1) {
        code = uqff_fail(
            err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
            "%s: %zu tensors of %" PRIu64 " bytes fit into one file: there is nothing to split",
            uqff_source_name(file->source), layout->tensor_count, layout->files[0].data_bytes);
    }
    if (code == UQFF_OK && layout->file_count > LARGEST_SET) {
        code = uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                         "%s: the split makes %zu files, expected at most %u: allow larger ones",
                         uqff_source_name(file->source), layout->file_count, LARGEST_SET);
    }
    if (code != UQFF_OK) {
        uqff_gguf_layout_free(layout);
        return code;
    }
    *out = layout;
    return UQFF_OK;
}

enum uqff_code uqff_gguf_split(const struct uqff_gguf *file, const char *stem,
                               const struct uqff_gguf_split_options *options,
                               const struct uqff_progress *progress, struct uqff_gguf_layout **out,
                               struct uqff_error *err) {
    struct uqff_gguf_layout *layout = NULL;
    char **paths = NULL;
    size_t count = 0;
    enum uqff_code code = lay_out_split(file, options, &layout, err);
    if (code != UQFF_OK) {
        return code;
    }
    paths = (char **)uqff_alloc_array(layout->file_count, sizeof(char *));
    if (paths == NULL) {
        code = uqff_fail_memory(err);
    }
    for (; code == UQFF_OK && count < layout->file_count; count++) {
        paths[count] = uqff_gguf_layout_file_name(layout, stem, count);
        code = paths[count] == NULL ? uqff_fail_memory(err) : UQFF_OK;
    }
    if (code == UQFF_OK && !options->dry_run) {
        const struct gguf_rewrite rewrite = {.file = file,
                                             .layout = layout,
                                             .paths = (const char *const *)paths,
                                             .overwrite = options->overwrite,
                                             .stage = "split",
                                             .progress = progress};
        code = uqff_gguf_rewrite_run(&rewrite, err);
    }
    for (size_t i = 0; i < count; i++) {
        uqff_free(paths[i]);
    }
    uqff_free(paths);
    if (code != UQFF_OK || out == NULL) {
        uqff_gguf_layout_free(layout);
        return code;
    }
    *out = layout;
    return UQFF_OK;
}

enum uqff_code uqff_gguf_check_single_name(const char *path, struct uqff_error *err) {
    if (uqff_gguf_names_part(path)) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: the name says that the file is one of several, and it is not", path);
    }
    return UQFF_OK;
}

enum uqff_code uqff_gguf_merge(const struct uqff_gguf *file, const char *output, bool overwrite,
                               const struct uqff_progress *progress, struct uqff_error *err) {
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_code code = uqff_gguf_rewrite_check(file, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_check_single_name(output, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_rewrite_layout(file, false, &layout, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_layout_finish(layout, 0, 0, err);
    }
    if (code == UQFF_OK) {
        const struct gguf_rewrite rewrite = {.file = file,
                                             .layout = layout,
                                             .paths = &output,
                                             .overwrite = overwrite,
                                             .stage = "merge",
                                             .progress = progress};
        code = uqff_gguf_rewrite_run(&rewrite, err);
    }
    uqff_gguf_layout_free(layout);
    return code;
}
