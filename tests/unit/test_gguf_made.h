/* GGUF files on disk for the tests of split, merge and edit, and faults for them. */
#ifndef UQFF_TEST_GGUF_MADE_H
#define UQFF_TEST_GGUF_MADE_H

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"
#include "test_gguf_builder.h"

static struct uqff_error err;

/* ---- files ----------------------------------------------------------------------------------- */

struct content {
    void *bytes;
    size_t size;
};
static inline struct content content_of(const char *path) {
    struct content content = {0};
    content.bytes = read_file(path, &content.size);
    return content;
}
static inline bool content_is(const char *path, const struct content *content) {
    struct content found = content_of(path);
    bool same = found.size == content->size && memcmp(found.bytes, content->bytes, found.size) == 0;
    free(found.bytes);
    return same;
}

static inline ino_t inode_of(const char *path) {
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_ino;
}

/* A scratch path that stays. */
static inline char *path_of(const char *name) {
    char *path = strdup(scratch_file(name));
    assert_non_null(path);
    return path;
}

/* Entries of the scratch folder: whatever a failure leaves behind counts. */
static inline size_t count_entries(void) {
    struct uqff_arena arena = {0};
    const char **names;
    size_t count;
    assert_ok(uqff_list_directory(scratch(), &arena, &names, &count, &err), &err);
    uqff_arena_free(&arena);
    return count;
}

static inline void remove_all(void) {
    struct uqff_arena arena = {0};
    const char **names;
    size_t count;
    assert_ok(uqff_list_directory(scratch(), &arena, &names, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        unlink(scratch_file(names[i]));
    }
    uqff_arena_free(&arena);
}

/* Writes a file with a few keys and five tensors, whose bytes tell where they belong. */
static inline void make_model(const char *path, uint64_t alignment) {
    static const uint64_t lengths[5] = {8, 1, 40, 0, 7};
    struct uqff_gguf_layout *layout = NULL;
    struct uqff_buffer bytes = {0};
    assert_ok(uqff_gguf_layout_new(alignment, &layout, &err), &err);
    assert_ok(uqff_gguf_set_string(layout, "general.architecture", "llama", 5, &err), &err);
    assert_ok(uqff_gguf_set_string(layout, "general.name", "four", 4, &err), &err);
    assert_ok(uqff_gguf_set_u64(layout, "llama.block_count", UQFF_GGUF_U32, 2, &err), &err);
    assert_ok(uqff_gguf_set_array(layout, "numbers", UQFF_GGUF_U16, "\1\2\3\4", 2, &err), &err);
    char name[] = "tensor.0";
    for (unsigned i = 0; i < 5; i++, name[7]++) {
        assert_ok(uqff_gguf_layout_add(layout, name, UQFF_TYPE_F32, &lengths[i], 1, &err), &err);
    }
    assert_ok(uqff_gguf_layout_finish(layout, 0, 0, &err), &err);
    assert_ok(uqff_gguf_layout_header(layout, 0, &bytes, &err), &err);
    for (size_t i = 0; i < 5; i++) {
        size_t file;
        uint64_t offset, size;
        uqff_gguf_layout_place(layout, i, &file, &offset, &size);
        while (bytes.size < offset) {
            uqff_buffer_append(&bytes, "", 1);
        }
        for (uint64_t k = 0; k < size; k++) {
            const char byte = (char)(16 * i + k % 13 + 1);
            uqff_buffer_append(&bytes, &byte, 1);
        }
    }
    while (bytes.size < uqff_gguf_layout_file_bytes(layout, 0)) {
        uqff_buffer_append(&bytes, "", 1);
    }
    write_file(path, bytes.data, bytes.size);
    uqff_buffer_free(&bytes);
    uqff_gguf_layout_free(layout);
}

static inline struct uqff_gguf *open_model(const char *path) {
    struct uqff_gguf *file = NULL;
    assert_ok(uqff_gguf_open_path(path, NULL, &file, &err), &err);
    return file;
}

/* The tensors of two files or sets have the same names, types, shapes and bytes, in one order. */
static inline void assert_same_tensors(const char *a, const char *b) {
    struct uqff_gguf *x = open_model(a);
    struct uqff_gguf *y = open_model(b);
    assert_int_equal(uqff_gguf_tensor_count(x), uqff_gguf_tensor_count(y));
    for (size_t i = 0; i < uqff_gguf_tensor_count(x); i++) {
        const struct uqff_gguf_tensor *s = uqff_gguf_tensor(x, i);
        const struct uqff_gguf_tensor *t = uqff_gguf_find_tensor(y, s->name);
        assert_non_null(t);
        assert_true(s->type == t->type && s->n_dims == t->n_dims && s->bytes == t->bytes);
        assert_memory_equal(s->ne, t->ne, sizeof s->ne);
        char *p = (char *)malloc((size_t)s->bytes + 1);
        char *q = (char *)malloc((size_t)s->bytes + 1);
        assert_true(p != NULL && q != NULL);
        assert_ok(
            uqff_source_read(uqff_gguf_source(x, s->file), s->offset, p, (size_t)s->bytes, &err),
            &err);
        assert_ok(
            uqff_source_read(uqff_gguf_source(y, t->file), t->offset, q, (size_t)s->bytes, &err),
            &err);
        assert_memory_equal(p, q, (size_t)s->bytes);
        free(p);
        free(q);
    }
    uqff_gguf_close(x);
    uqff_gguf_close(y);
}

/* ---- faults: the n-th call of a kind fails, or every one from the n-th on -------------------- */

static size_t fault_calls, fault_at;
static bool fault_stays;

static inline bool fault_now(void) {
    fault_calls++;
    return fault_at != 0 && (fault_stays ? fault_calls >= fault_at : fault_calls == fault_at);
}
static inline ssize_t fault_read(int fd, void *out, size_t n, off_t offset) {
    if (fault_now()) {
        errno = EIO;
        return -1;
    }
    return uqff_os_default.read(fd, out, n, offset);
}
/* Takes half of what it was given first: a change that is cut off is cut off anywhere. */
static inline ssize_t fault_write(int fd, const void *bytes, size_t n, off_t offset) {
    if (fault_now()) {
        errno = ENOSPC;
        return -1;
    }
    return uqff_os_default.write(fd, bytes, n > 1 ? n / 2 : n, offset);
}
static inline ssize_t fault_copy(int from, off_t at, int to, off_t there, size_t n) {
    if (fault_now()) {
        errno = ENOSPC;
        return -1;
    }
    return uqff_os_default.copy(from, at, to, there, n);
}
static inline int fault_sync(int fd) {
    if (fault_now()) {
        errno = EIO;
        return -1;
    }
    return uqff_os_default.sync(fd);
}
static inline int fault_rename(int directory, const char *from, const char *to, bool replace) {
    if (fault_now()) {
        errno = EACCES;
        return -1;
    }
    return uqff_os_default.rename(directory, from, to, replace);
}
static inline int fault_open(int directory, const char *name, int flags, mode_t mode) {
    if (fault_now()) {
        errno = EMFILE;
        return -1;
    }
    return uqff_os_default.open_at(directory, name, flags, mode);
}
static inline int fault_unlink(int directory, const char *name) {
    if (fault_now()) {
        errno = EACCES;
        return -1;
    }
    return uqff_os_default.unlink(directory, name);
}
static inline int fault_close(int fd) {
    /* A descriptor is gone, whatever closing it says. */
    int result = uqff_os_default.close(fd);
    if (fault_now()) {
        errno = EIO;
        return -1;
    }
    return result;
}
static inline int fault_stat(int fd, struct stat *status) {
    if (fault_now()) {
        errno = EIO;
        return -1;
    }
    return uqff_os_default.stat(fd, status);
}

enum fault { READ, WRITE, COPY, SYNC, RENAME, OPEN, UNLINK, CLOSE, STAT, ALLOCATION, FAULTS };

static inline void inject(enum fault fault, size_t n, bool stays) {
    fault_calls = 0;
    fault_at = n;
    fault_stays = stays;
    uqff_os = uqff_os_default;
    switch (fault) {
    case READ:
        uqff_os.read = fault_read;
        break;
    case WRITE:
        uqff_os.write = fault_write;
        break;
    case COPY:
        uqff_os.copy = fault_copy;
        break;
    case SYNC:
        uqff_os.sync = fault_sync;
        break;
    case RENAME:
        uqff_os.rename = fault_rename;
        break;
    case OPEN:
        uqff_os.open_at = fault_open;
        break;
    case UNLINK:
        uqff_os.unlink = fault_unlink;
        break;
    case CLOSE:
        uqff_os.close = fault_close;
        break;
    case STAT:
        uqff_os.stat = fault_stat;
        break;
    default:
        fail_allocation(n);
        break;
    }
}
/* Back to normal; how often the kind at hand was called. */
static inline size_t heal(void) {
    uqff_os = uqff_os_default;
    size_t allocations = fail_allocation(0);
    return fault_calls != 0 ? fault_calls : allocations;
}

#endif
