/* Editing the metadata of a file: in place where the data can stay where it is, else by a copy. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "writer.h"

enum uqff_code uqff_gguf_edit_begin(const struct uqff_gguf *file, struct uqff_gguf_layout **out,
                                    struct uqff_error *err) {
    enum uqff_code code = uqff_gguf_rewrite_check(file, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_rewrite_layout(file, true, out, err);
    }
    if (code == UQFF_OK) {
        (*out)->keep_split = true;
    }
    return code;
}

/* ---- what may not be edited ------------------------------------------------------------------ */

static bool same_value(const struct uqff_gguf *file, size_t key, const struct layout_key *now,
                       bool *same) {
    struct uqff_buffer before = {0};
    uqff_gguf_encode_value(&before, file, key);
    bool encoded = !before.failed;
    *same = encoded && before.size == now->value.size &&
            memcmp(before.data, now->value.data, before.size) == 0;
    uqff_buffer_free(&before);
    return encoded;
}

/* A file's place in its set is told by its name too, and by the keys of the others. */
static enum uqff_code check_split_key(const struct uqff_gguf *file,
                                      const struct uqff_gguf_layout *layout, const char *key,
                                      struct uqff_error *err) {
    size_t i;
    bool same = false;
    bool was = uqff_gguf_index_find(&file->keys, key, &i);
    const struct layout_key *now = uqff_gguf_layout_find(layout, key);
    if (now == NULL && (!was || uqff_gguf_file_count(file) == 1)) {
        return UQFF_OK;
    }
    if (was && now != NULL && !same_value(file, i, now, &same)) {
        return uqff_fail_memory(err);
    }
    if (same) {
        return UQFF_OK;
    }
    return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                     "%s: key '%s' cannot be edited: it tells the file's place in a set",
                     uqff_source_name(file->source), key);
}

static enum uqff_code check_edit(const struct uqff_gguf *file,
                                 const struct uqff_gguf_layout *layout,
                                 const struct uqff_gguf_edit_options *options,
                                 struct uqff_error *err) {
    static const char *const keys[] = {"split.no", "split.count", "split.tensors.count"};
    enum uqff_code code = UQFF_OK;
    for (size_t i = 0; code == UQFF_OK && i < sizeof keys / sizeof keys[0]; i++) {
        code = check_split_key(file, layout, keys[i], err);
    }
    if (code != UQFF_OK || options->output == NULL) {
        return code;
    }
    if (uqff_gguf_file_count(file) > 1) {
        return uqff_fail(err, UQFF_E_ARGUMENT, UQFF_NO_OFFSET,
                         "%s: is one of %zu files and cannot leave them for '%s': merge them first",
                         uqff_source_name(file->source), uqff_gguf_file_count(file),
                         options->output);
    }
    return uqff_gguf_check_single_name(options->output, err);
}

/* ---- room for later edits -------------------------------------------------------------------- */

static enum uqff_code fail_room(const struct uqff_gguf *file, struct uqff_error *err) {
    return uqff_fail(err, UQFF_E_LIMIT, UQFF_NO_OFFSET,
                     "%s: the header with the room that it is to have takes more than %" PRIu64
                     " bytes",
                     uqff_source_name(file->source), GGUF_MAX_HEADER);
}

/* Where the data is to begin that has to move: behind the room, and at the distance of whole blocks
 * of any file system from where it is, so that one that can share blocks need not copy them. */
static bool new_data_offset(const struct uqff_gguf *file, const struct uqff_gguf_layout *layout,
                            uint64_t reserve, uint64_t *out) {
    static const uint64_t block = 65536;
    uint64_t now = uqff_gguf_layout_padding(layout);
    uint64_t room = reserve > now ? reserve : now;
    if (!uqff_add_u64(uqff_gguf_layout_least(layout), room, out) ||
        !uqff_align_u64(*out, layout->alignment, out) || *out > GGUF_MAX_HEADER) {
        return false;
    }
    /* Both offsets are multiples of an alignment that divides the block, so that steps of the
     * alignment lead there. */
    if (layout->alignment == file->alignment && layout->alignment < block) {
        *out += (file->data_offset - *out) % block;
    }
    return true;
}

/* Lengthens or shortens the padding key, if there is one. */
static enum uqff_code fit_padding(const struct uqff_gguf *file, struct uqff_gguf_layout *layout,
                                  uint64_t reserve, bool may_stay, struct uqff_error *err) {
    if (!uqff_gguf_has_padding(layout)) {
        return UQFF_OK;
    }
    uint64_t least = uqff_gguf_layout_least(layout);
    uint64_t wanted = file->data_offset;
    bool stays = may_stay && least <= wanted && wanted - least >= reserve;
    if (!stays && !new_data_offset(file, layout, reserve, &wanted)) {
        return fail_room(file, err);
    }
    bool fits = false;
    enum uqff_code code = uqff_gguf_layout_fit(layout, wanted, &fits, err);
    return code == UQFF_OK && !fits ? fail_room(file, err) : code;
}

/* ---- in place -------------------------------------------------------------------------------- */

/* Whether every tensor of the layout lies where it lies in the file. */
static bool data_stays(const struct uqff_gguf *file, const struct uqff_gguf_layout *layout) {
    if (layout->tensor_count == 0) {
        return false; /* there is nothing that a copy would have to move */
    }
    for (size_t i = 0; i < layout->tensor_count; i++) {
        size_t number;
        uint64_t offset, bytes;
        uqff_gguf_layout_place(layout, i, &number, &offset, &bytes);
        if (offset != file->tensors[i].offset) {
            return false;
        }
    }
    return layout->files[0].data_offset == file->data_offset;
}

/* A file of several names would change under all of them. */
static bool has_other_names(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink > 1;
}

/* The file as it is going to be: a new header before the old data. */
struct preview {
    const char *header;
    uint64_t size;
    struct uqff_source *rest;
};

static enum uqff_code read_preview(void *self, uint64_t offset, void *out, size_t n,
                                   struct uqff_error *err) {
    const struct preview *preview = (const struct preview *)self;
    size_t first = 0;
    if (offset < preview->size) {
        uint64_t left = preview->size - offset;
        first = left < n ? (size_t)left : n;
        memcpy(out, preview->header + offset, first);
    }
    return first == n ? UQFF_OK
                      : uqff_source_read(preview->rest, offset + first, (char *)out + first,
                                         n - first, err);
}

/* Opens the edited file with the strict reader before a byte of it is written. */
static enum uqff_code check_preview(const struct uqff_gguf *file, const struct uqff_buffer *header,
                                    struct uqff_error *err) {
    static const struct uqff_source_ops ops = {read_preview, NULL, NULL};
    struct preview preview = {header->data, header->size, file->source};
    struct uqff_source *source = NULL;
    struct uqff_gguf *edited = NULL;
    enum uqff_code code =
        uqff_source_new(&ops, &preview, file->size, uqff_source_name(file->source), &source, err);
    if (code == UQFF_OK) {
        code = uqff_gguf_open(source, NULL, &edited, err);
    }
    uqff_gguf_close(edited);
    uqff_source_close(source);
    return code;
}

/* Narrows [*begin, *end) to the bytes that differ; empty when none do. */
static void narrow(const char *a, const char *b, size_t *begin, size_t *end) {
    while (*begin < *end && a[*begin] == b[*begin]) {
        ++*begin;
    }
    while (*end > *begin && a[*end - 1] == b[*end - 1]) {
        --*end;
    }
}

/* *way stays as it is when the change is too large for a journal. */
static enum uqff_code edit_in_place(const struct uqff_gguf *file,
                                    const struct uqff_gguf_layout *layout,
                                    enum uqff_gguf_edit_way *way, struct uqff_error *err) {
    const char *path = uqff_source_name(file->source);
    struct uqff_buffer header = {0};
    char *before = NULL;
    enum uqff_code code = uqff_gguf_layout_header(layout, 0, &header, err);
    size_t begin = 0, end = header.size;
    if (code == UQFF_OK) {
        before = (char *)uqff_alloc(header.size);
        code = before == NULL ? uqff_fail_memory(err)
                              : uqff_source_read(file->source, 0, before, header.size, err);
    }
    if (code != UQFF_OK) {
        goto out;
    }
    narrow(before, header.data, &begin, &end);
    if (begin == end) {
        *way = UQFF_GGUF_EDIT_NOTHING;
        goto out;
    }
    if (end - begin > UQFF_PATCH_LARGEST) {
        goto out;
    }
    code = check_preview(file, &header, err);
    if (code == UQFF_OK) {
        code = uqff_source_unchanged(file->source, err);
    }
    if (code == UQFF_OK) {
        code = uqff_patch_file(path, begin, before + begin, header.data + begin, end - begin, err);
    }
    *way = UQFF_GGUF_EDIT_IN_PLACE;
out:
    uqff_free(before);
    uqff_buffer_free(&header);
    return code;
}

/* ---- both ways ------------------------------------------------------------------------------- */

static enum uqff_code edit_by_copy(const struct uqff_gguf *file,
                                   const struct uqff_gguf_layout *layout,
                                   const struct uqff_gguf_edit_options *options,
                                   const struct uqff_progress *progress, struct uqff_error *err) {
    const char *path = options->output != NULL ? options->output : uqff_source_name(file->source);
    const struct gguf_rewrite rewrite = {.file = file,
                                         .layout = layout,
                                         .paths = &path,
                                         .overwrite = options->output == NULL || options->overwrite,
                                         .replaces_source = options->output == NULL,
                                         .stage = "edit",
                                         .progress = progress};
    return uqff_gguf_rewrite_run(&rewrite, err);
}

/* The file that would be changed is the one that is open, under a name of its own. A sink follows
 * a link to what it is told to overwrite. Here nobody has named what the link leads to, and that
 * may be one of a cache's blobs, which is known by its digest and is what other names lead to as
 * well: with other bytes it would be taken for what was published. Files of several hard links are
 * spared for the same reason. */
static enum uqff_code check_path(const struct uqff_gguf *file, struct uqff_error *err) {
    const char *path = uqff_source_name(file->source);
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode)) {
        return uqff_fail(err, UQFF_E_NOT_REGULAR, UQFF_NO_OFFSET,
                         "%s: is a symbolic link, expected the file itself: what it leads to may "
                         "belong to others; an output under another name is possible",
                         path);
    }
    if (!uqff_source_is_file(file->source, path)) {
        return uqff_fail(err, UQFF_E_CHANGED, UQFF_NO_OFFSET, "%s: was replaced meanwhile", path);
    }
    return UQFF_OK;
}

enum uqff_code uqff_gguf_edit(const struct uqff_gguf *file, struct uqff_gguf_layout *layout,
                              const struct uqff_gguf_edit_options *options,
                              const struct uqff_progress *progress, enum uqff_gguf_edit_way *way,
                              struct uqff_error *err) {
    static const struct uqff_gguf_edit_options defaults = {.output = NULL};
    options = options != NULL ? options : &defaults;
    enum uqff_code code = check_edit(file, layout, options, err);
    if (code == UQFF_OK && options->output == NULL) {
        code = check_path(file, err);
    }
    if (code == UQFF_OK && options->reserve > 0 && !uqff_gguf_has_padding(layout)) {
        code = uqff_gguf_set_padding(layout, 0, err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_layout_finish(layout, 0, 0, err);
    }
    bool may_stay = options->output == NULL && !options->copy &&
                    !has_other_names(uqff_source_name(file->source));
    if (code == UQFF_OK) {
        code = fit_padding(file, layout, options->reserve, may_stay, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    *way = UQFF_GGUF_EDIT_COPIED;
    if (may_stay && data_stays(file, layout)) {
        code = edit_in_place(file, layout, way, err);
    }
    if (code == UQFF_OK && *way == UQFF_GGUF_EDIT_COPIED) {
        code = edit_by_copy(file, layout, options, progress, err);
    }
    return code;
}
