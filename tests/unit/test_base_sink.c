/* Sinks: what is left behind, in success and in every failure. */
#include "tests/support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/os.h"

/* Each test works in a directory of its own. */
static char directory[4096];

static int enter(void **state) {
    static unsigned number;
    struct uqff_error err;
    (void)state;
    snprintf(directory, sizeof directory, "%s/%u", scratch(), number++);
    uqff_os = uqff_os_default;
    return uqff_make_directory(directory, &err) == UQFF_OK ? 0 : -1;
}

static const char *in_directory(const char *name) {
    static char paths[2][4400];
    static unsigned next;
    char *path = paths[next++ % 2];
    snprintf(path, 4400, "%s/%s", directory, name);
    return path;
}

static size_t entries(void) {
    struct uqff_arena arena = {0};
    struct uqff_error err;
    const char **names;
    size_t count;
    assert_ok(uqff_list_directory(directory, &arena, &names, &count, &err), &err);
    uqff_arena_free(&arena);
    return count;
}

static void assert_content(const char *name, const char *expected) {
    size_t size;
    char *content = read_file(in_directory(name), &size);
    assert_string_equal(content, expected);
    free(content);
}

static void test_publish(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    mode_t mask = umask(027);
    assert_ok(uqff_sink_create(in_directory("out.bin"), false, &sink, &err), &err);
    umask(mask);
    assert_string_equal(uqff_sink_path(sink), in_directory("out.bin"));
    const char *temporary = uqff_sink_temporary_path(sink);
    assert_non_null(strstr(temporary, "/.out.bin."));
    assert_string_equal(temporary + strlen(temporary) - 8, ".partial");
    assert_true(uqff_path_exists(temporary));
    assert_false(uqff_path_exists(in_directory("out.bin")));
    assert_ok(uqff_sink_write(sink, 6, "world", 5, &err), &err);
    assert_ok(uqff_sink_write(sink, 0, "hello ", 6, &err), &err);
    assert_ok(uqff_sink_write(sink, 3, NULL, 0, &err), &err);
    assert_ok(uqff_sink_flush(sink, &err), &err);
    size_t size;
    char *content = read_file(temporary, &size);
    assert_string_equal(content, "hello world");
    free(content);
    assert_ok(uqff_sink_publish(sink, &err), &err);
    assert_string_equal(uqff_sink_temporary_path(sink), in_directory("out.bin"));
    assert_fails(uqff_sink_publish(sink, &err), UQFF_E_INTERNAL, &err, "twice");
    assert_fails(uqff_sink_write(sink, 0, "x", 1, &err), UQFF_E_INTERNAL, &err, "finished");
    uqff_sink_close(sink);
    uqff_sink_close(NULL);
    assert_content("out.bin", "hello world");
    assert_int_equal(entries(), 1);
    struct stat status;
    assert_int_equal(stat(in_directory("out.bin"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void test_abandoned(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    assert_ok(uqff_sink_create(in_directory("out.bin"), false, &sink, &err), &err);
    assert_ok(uqff_sink_write(sink, 0, "x", 1, &err), &err);
    assert_int_equal(entries(), 1);
    uqff_sink_close(sink);
    assert_int_equal(entries(), 0);
}

static void test_overwrite(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    const char *path = in_directory("out.bin");
    write_file(path, "old", 3);
    assert_fails(uqff_sink_create(path, false, &sink, &err), UQFF_E_EXISTS, &err,
                 "out.bin: already exists");
    assert_fails(uqff_write_file(path, "new", 3, false, &err), UQFF_E_EXISTS, &err, "exists");
    assert_content("out.bin", "old");
    assert_ok(uqff_sink_create(path, true, &sink, &err), &err);
    assert_ok(uqff_sink_write(sink, 0, "new", 3, &err), &err);
    assert_content("out.bin", "old");
    assert_ok(uqff_sink_publish(sink, &err), &err);
    uqff_sink_close(sink);
    assert_content("out.bin", "new");
    assert_ok(uqff_write_file(path, "newer", 5, true, &err), &err);
    assert_content("out.bin", "newer");
    assert_ok(uqff_write_file(in_directory("empty"), NULL, 0, false, &err), &err);
    assert_content("empty", "");
    assert_int_equal(symlink("nowhere", in_directory("dangling")), 0);
    assert_fails(uqff_sink_create(in_directory("dangling"), false, &sink, &err), UQFF_E_EXISTS,
                 &err, "exists");
    assert_int_equal(entries(), 3);
}

static void test_bad_targets(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    assert_fails(uqff_sink_create(directory, true, &sink, &err), UQFF_E_NOT_REGULAR, &err,
                 "not a regular file");
    assert_fails(uqff_sink_create("/dev/null", true, &sink, &err), UQFF_E_NOT_REGULAR, &err,
                 "not a regular file");
    assert_int_equal(symlink("/dev/null", in_directory("null")), 0);
    assert_fails(uqff_sink_create(in_directory("null"), true, &sink, &err), UQFF_E_NOT_REGULAR,
                 &err, "not a regular file");
    assert_fails(uqff_sink_create("", true, &sink, &err), UQFF_E_ARGUMENT, &err, "directory");
    assert_fails(uqff_sink_create(in_directory("sub/"), true, &sink, &err), UQFF_E_ARGUMENT, &err,
                 "directory");
    assert_fails(uqff_sink_create(in_directory(".."), true, &sink, &err), UQFF_E_ARGUMENT, &err,
                 "directory");
    assert_fails(uqff_sink_create(in_directory("no/x"), true, &sink, &err), UQFF_E_NOT_FOUND, &err,
                 "cannot open its directory");
    char longs[300];
    memset(longs, 'n', sizeof longs);
    longs[255] = '\0';
    assert_ok(uqff_write_file(in_directory(longs), "x", 1, false, &err), &err);
    assert_int_equal(entries(), 2);
    longs[255] = 'n';
    longs[256] = '\0';
    assert_fails(uqff_sink_create(in_directory(longs), false, &sink, &err), UQFF_E_NOT_FOUND, &err,
                 "cannot be written: File name too long");
    assert_int_equal(entries(), 2);
}

/* A file of that name appears while ours is being written. */
static void test_appeared(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    assert_ok(uqff_sink_create(in_directory("out.bin"), false, &sink, &err), &err);
    assert_ok(uqff_sink_write(sink, 0, "ours", 4, &err), &err);
    write_file(in_directory("out.bin"), "theirs", 6);
    assert_fails(uqff_sink_publish(sink, &err), UQFF_E_EXISTS, &err, "out.bin");
    uqff_sink_close(sink);
    assert_content("out.bin", "theirs");
    assert_int_equal(entries(), 1);
}

/* ---- injected faults ------------------------------------------------------------------------- */

static int number_of(int *number) {
    errno = *number;
    return -1;
}

static int write_number = 0, interruptions = 0;

static ssize_t faulty_write(int fd, const void *bytes, size_t n, off_t offset) {
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    if (offset >= 4 && write_number != 0) {
        return write_number < 0 ? 0 : number_of(&write_number);
    }
    return pwrite(fd, bytes, n < 2 ? n : 2, offset); /* short writes */
}

static void test_write_faults(void **state) {
    (void)state;
    static const struct {
        int number;
        enum uqff_code code;
    } cases[] = {
        {0, UQFF_OK},
        {ENOSPC, UQFF_E_NO_SPACE},
        {EDQUOT, UQFF_E_NO_SPACE},
        {EIO, UQFF_E_WRITE},
        {EFBIG, UQFF_E_WRITE},
        {-1, UQFF_E_WRITE},
        {EROFS, UQFF_E_PERMISSION},
    };
    struct uqff_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_number = cases[i].number;
        interruptions = 3;
        uqff_os.write = faulty_write;
        enum uqff_code code = uqff_write_file(in_directory("out"), "0123456789", 10, true, &err);
        uqff_os = uqff_os_default;
        assert_int_equal(code, cases[i].code);
        if (code == UQFF_OK) {
            assert_content("out", "0123456789");
            unlink(in_directory("out"));
        } else {
            assert_int_equal(err.offset, 4);
            assert_non_null(strstr(err.text, "/out: cannot write: "));
        }
        assert_int_equal(entries(), 0);
    }
}

static int sync_countdown, close_countdown;

static int faulty_sync(int fd) {
    if (interruptions > 0) {
        interruptions--;
        errno = EINTR;
        return -1;
    }
    if (sync_countdown > 0 && --sync_countdown == 0) {
        errno = EIO;
        return -1;
    }
    return fsync(fd);
}

static int faulty_close(int fd) {
    close(fd);
    if (close_countdown > 0 && --close_countdown == 0) {
        errno = EDQUOT;
        return -1;
    }
    return 0;
}

static void test_flush_faults(void **state) {
    (void)state;
    struct uqff_error err;
    uqff_os.sync = faulty_sync;
    uqff_os.close = faulty_close;
    interruptions = 2;
    sync_countdown = 1;
    assert_fails(uqff_write_file(in_directory("out"), "x", 1, false, &err), UQFF_E_WRITE, &err,
                 "cannot flush");
    assert_int_equal(entries(), 0);
    close_countdown = 1;
    assert_fails(uqff_write_file(in_directory("out"), "x", 1, false, &err), UQFF_E_NO_SPACE, &err,
                 "cannot close");
    assert_int_equal(entries(), 0);
    /* The directory's flush fails when the file has its name already: said, and left in place. */
    sync_countdown = 2;
    assert_fails(uqff_write_file(in_directory("out"), "x", 1, false, &err), UQFF_E_WRITE, &err,
                 "is in place, but its directory");
    assert_content("out", "x");
    assert_int_equal(entries(), 1);
}

static int rename_number, link_number, renames;

static int faulty_rename(int fd, const char *from, const char *to, bool replace) {
    renames++;
    if (!replace || rename_number == EIO) {
        return number_of(&rename_number);
    }
    return uqff_os_default.rename(fd, from, to, replace);
}

static int faulty_link(int fd, const char *from, const char *to) {
    return link_number != 0 ? number_of(&link_number) : uqff_os_default.link(fd, from, to);
}

static void test_rename_faults(void **state) {
    (void)state;
    struct uqff_error err;
    uqff_os.rename = faulty_rename;
    uqff_os.link = faulty_link;
    rename_number = EIO;
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        assert_fails(uqff_write_file(in_directory("out"), "x", 1, overwrite, &err), UQFF_E_WRITE,
                     &err, "cannot give the finished file its name");
        assert_int_equal(entries(), 0);
    }
    /* No promise from rename: a link; no links either: a look and a plain rename. */
    static const int links[] = {0, EPERM, EOPNOTSUPP};
    rename_number = EINVAL;
    for (size_t i = 0; i < 3; i++) {
        struct uqff_sink *sink;
        link_number = links[i];
        assert_ok(uqff_write_file(in_directory("out"), "x", 1, false, &err), &err);
        assert_content("out", "x");
        assert_int_equal(entries(), 1);
        unlink(in_directory("out"));

        assert_ok(uqff_sink_create(in_directory("out"), false, &sink, &err), &err);
        write_file(in_directory("out"), "theirs", 6);
        assert_fails(uqff_sink_publish(sink, &err), UQFF_E_EXISTS, &err, "out");
        uqff_sink_close(sink);
        assert_content("out", "theirs");
        assert_int_equal(entries(), 1);
        unlink(in_directory("out"));
    }
    link_number = EIO;
    assert_fails(uqff_write_file(in_directory("out"), "x", 1, false, &err), UQFF_E_WRITE, &err,
                 "its name");
    assert_int_equal(entries(), 0);
}

static int opens, open_number;

static int faulty_open(int fd, const char *name, int flags, mode_t mode) {
    if (flags & O_CREAT) {
        opens++;
        if (open_number != 0) {
            return number_of(&open_number);
        }
        if (opens < 5) {
            errno = EEXIST; /* somebody else's temporary file has the same name */
            return -1;
        }
    }
    return uqff_os_default.open_at(fd, name, flags, mode);
}

static void test_create_faults(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    uqff_os.open_at = faulty_open;
    open_number = opens = 0;
    assert_ok(uqff_write_file(in_directory("out"), "x", 1, false, &err), &err);
    assert_int_equal(opens, 5);
    open_number = EACCES;
    assert_fails(uqff_sink_create(in_directory("out2"), false, &sink, &err), UQFF_E_PERMISSION,
                 &err, "out2: cannot create a temporary file");
    open_number = EEXIST;
    assert_fails(uqff_sink_create(in_directory("out2"), false, &sink, &err), UQFF_E_EXISTS, &err,
                 "cannot create");
    uqff_os = uqff_os_default;

    fail_allocation(0);
    assert_ok(uqff_write_file(in_directory("out3"), "x", 1, false, &err), &err);
    size_t allocations = fail_allocation(0);
    for (size_t i = 1; i <= allocations; i++) {
        fail_allocation(i);
        assert_fails(uqff_write_file(in_directory("out4"), "x", 1, false, &err), UQFF_E_MEMORY,
                     &err, "memory");
        assert_int_equal(entries(), 2);
    }
    uqff_set_allocator(NULL);
}

/* ---- ranges and copies ----------------------------------------------------------------------- */

static void test_ranges(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    assert_ok(uqff_sink_create(in_directory("out"), false, &sink, &err), &err);
    assert_fails(uqff_sink_write(sink, UINT64_MAX, "x", 1, &err), UQFF_E_WRITE, &err,
                 "beyond what a file can hold");
    assert_fails(uqff_sink_write(sink, INT64_MAX, "x", 1, &err), UQFF_E_WRITE, &err, "beyond");
    uqff_sink_close(sink);
    assert_int_equal(entries(), 0);
}

enum { BIG = 3000001 };

static int copies;
static ssize_t refusing_copy(int from, off_t at, int to, off_t there, size_t n) {
    (void)from, (void)at, (void)to, (void)there, (void)n;
    copies++;
    errno = EXDEV;
    return -1;
}

static ssize_t stopping_copy(int from, off_t at, int to, off_t there, size_t n) {
    if (copies++ % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    /* A part, then nothing: the rest is read and written. */
    return copies > 5 ? 0 : uqff_os_default.copy(from, at, to, there, n < 1000 ? n : 1000);
}

static ssize_t full_copy(int from, off_t at, int to, off_t there, size_t n) {
    (void)from, (void)at, (void)to, (void)there, (void)n;
    errno = ENOSPC;
    return -1;
}

static void check_copies(struct uqff_source *source, const unsigned char *data) {
    struct uqff_error err;
    struct uqff_sink *sink;
    size_t size;
    assert_ok(uqff_sink_create(in_directory("copy"), true, &sink, &err), &err);
    assert_ok(uqff_sink_copy(sink, 10, source, 1, BIG - 1, &err), &err);
    assert_ok(uqff_sink_copy(sink, 0, source, BIG - 10, 10, &err), &err);
    assert_ok(uqff_sink_copy(sink, 0, source, BIG, 0, &err), &err);
    assert_fails(uqff_sink_copy(sink, 0, source, 2, BIG - 1, &err), UQFF_E_TRUNCATED, &err,
                 "but the size is 3000001");
    assert_ok(uqff_sink_publish(sink, &err), &err);
    uqff_sink_close(sink);
    unsigned char *content = read_file(in_directory("copy"), &size);
    assert_int_equal(size, BIG + 9);
    assert_memory_equal(content, data + BIG - 10, 10);
    assert_memory_equal(content + 10, data + 1, BIG - 1);
    free(content);
}

static void test_copy(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source;
    struct uqff_sink *sink;
    struct test_random random = {3};
    unsigned char *data = malloc(BIG);
    assert_non_null(data);
    for (size_t i = 0; i < BIG; i++) {
        data[i] = (unsigned char)random_u64(&random);
    }
    write_file(in_directory("in"), data, BIG);
    assert_ok(uqff_source_open(in_directory("in"), &source, &err), &err);
    check_copies(source, data);
    uqff_os.copy = refusing_copy;
    check_copies(source, data);
    assert_true(copies > 0);
    uqff_os.copy = stopping_copy;
    copies = 0;
    check_copies(source, data);

    assert_ok(uqff_sink_create(in_directory("full"), true, &sink, &err), &err);
    uqff_os.copy = full_copy;
    assert_fails(uqff_sink_copy(sink, 0, source, 0, 100, &err), UQFF_E_NO_SPACE, &err, "full");
    uqff_os.copy = refusing_copy;
    fail_allocation(1);
    assert_fails(uqff_sink_copy(sink, 0, source, 0, 100, &err), UQFF_E_MEMORY, &err, "memory");
    uqff_set_allocator(NULL);
    assert_int_equal(truncate(in_directory("in"), 50), 0);
    assert_fails(uqff_sink_copy(sink, 0, source, 0, 100, &err), UQFF_E_CHANGED, &err, "cut");
    uqff_os = uqff_os_default;
    assert_fails(uqff_sink_copy(sink, 0, source, 0, 100, &err), UQFF_E_CHANGED, &err, "cut");
    uqff_sink_close(sink);
    uqff_source_close(source);

    assert_ok(uqff_source_memory(data, BIG, "memory", &source, &err), &err);
    check_copies(source, data);
    uqff_source_close(source);
    free(data);
    assert_int_equal(entries(), 2);
}

static enum uqff_code write_part(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    (void)thread;
    char part[1000];
    memset(part, 'a' + (int)(i % 26), sizeof part);
    return uqff_sink_write(context, i * sizeof part, part, sizeof part, err);
}

static void test_threads(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    assert_ok(uqff_sink_create(in_directory("out"), false, &sink, &err), &err);
    assert_ok(uqff_parallel_for(200, 4, write_part, sink, &err), &err);
    assert_ok(uqff_sink_publish(sink, &err), &err);
    uqff_sink_close(sink);
    size_t size;
    char *content = read_file(in_directory("out"), &size);
    assert_int_equal(size, 200000);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(content[i], 'a' + (char)(i / 1000 % 26));
    }
    free(content);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void leave(int number) {
    uqff_sink_remove_all_temporary();
    _exit(number);
}

/* The child came to leave(), and by the signal. */
static void assert_left(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SIGTERM);
}

static void test_signal(void **state) {
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct uqff_error err;
        struct uqff_sink *kept, *sinks[3];
        signal(SIGTERM, leave);
        bool good = uqff_sink_create(in_directory("done"), false, &kept, &err) == UQFF_OK &&
                    uqff_sink_publish(kept, &err) == UQFF_OK;
        for (size_t i = 0; i < 3; i++) {
            char name[8];
            snprintf(name, sizeof name, "s%zu", i);
            good = good && uqff_sink_create(in_directory(name), false, &sinks[i], &err) == UQFF_OK;
        }
        /* A relative name would not survive this; the directory is held open instead. */
        good = good && chdir("/") == 0;
        if (good) {
            raise(SIGTERM);
        }
        _exit(99);
    }
    assert_left(child);
    assert_int_equal(entries(), 1);
    assert_true(uqff_path_exists(in_directory("done")));
}

static void test_removed_early(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    assert_ok(uqff_sink_create(in_directory("out"), false, &sink, &err), &err);
    uqff_sink_remove_all_temporary();
    assert_int_equal(entries(), 0);
    assert_fails(uqff_sink_publish(sink, &err), UQFF_E_NOT_FOUND, &err, "its name");
    uqff_sink_close(sink);
    assert_int_equal(entries(), 0);
}

static void limit_descriptors(rlim_t most) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = most;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Slots come back: many more sinks than slots, one after the other. */
static void test_slots(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    for (size_t i = 0; i < 20000; i++) {
        assert_ok(uqff_sink_create(in_directory("out"), true, &sink, &err), &err);
        uqff_sink_close(sink);
    }
    assert_int_equal(entries(), 0);
}

/* A model of more shards than a process may have descriptors, written and read. */
static void test_many(void **state) {
    (void)state;
    struct uqff_error err;
    enum { MANY = 200 };
    struct uqff_sink *sinks[MANY];
    struct uqff_source *sources[MANY], *text;
    struct uqff_directory *listed;
    char name[16], expected[16], found[16];
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit_descriptors(64);
    assert_ok(uqff_source_memory("shard ", 6, "text", &text, &err), &err);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "s%03zu", i);
        assert_ok(uqff_sink_create(in_directory(name), false, &sinks[i], &err), &err);
        assert_ok(uqff_sink_copy(sinks[i], 0, text, 0, 6, &err), &err);
        assert_ok(uqff_sink_write(sinks[i], 6, name, 4, &err), &err);
        assert_ok(uqff_sink_flush(sinks[i], &err), &err);
        assert_ok(uqff_source_open(uqff_sink_temporary_path(sinks[i]), &sources[i], &err), &err);
    }
    uqff_source_close(text);
    for (size_t i = 0; i < MANY; i++) {
        assert_ok(uqff_source_read(sources[i], 0, found, 10, &err), &err);
        uqff_source_close(sources[i]);
        assert_ok(uqff_sink_publish(sinks[i], &err), &err);
        uqff_sink_close(sinks[i]);
    }
    assert_ok(uqff_directory_open(directory, &listed, &err), &err);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "s%03zu", i);
        assert_ok(uqff_directory_source(listed, name, 4, &sources[i], &err), &err);
    }
    uqff_directory_close(listed);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(expected, sizeof expected, "shard s%03zu", i);
        assert_ok(uqff_source_read(sources[i], 0, found, 10, &err), &err);
        assert_memory_equal(found, expected, 10);
        assert_non_null(uqff_source_map(sources[i]));
        assert_memory_equal(uqff_source_map(sources[i]), expected, 10);
        assert_ok(uqff_source_unchanged(sources[i], &err), &err);
    }
    /* From one that is opened for each use to another. */
    assert_ok(uqff_sink_create(in_directory("copy"), false, &sinks[0], &err), &err);
    assert_ok(uqff_sink_copy(sinks[0], 0, sources[MANY - 1], 0, 10, &err), &err);
    assert_ok(uqff_sink_publish(sinks[0], &err), &err);
    uqff_sink_close(sinks[0]);
    assert_content("copy", "shard s199");
    /* Another file of the same name is not read. */
    assert_ok(uqff_write_file(in_directory("s198"), "shard s198", 10, true, &err), &err);
    assert_fails(uqff_source_read(sources[198], 0, found, 10, &err), UQFF_E_CHANGED, &err,
                 "another file has its name");
    assert_int_equal(truncate(in_directory("s197"), 5), 0);
    assert_fails(uqff_source_read(sources[197], 0, found, 10, &err), UQFF_E_CHANGED, &err, "cut");
    assert_fails(uqff_source_unchanged(sources[197], &err), UQFF_E_CHANGED, &err, "5 bytes now");
    for (size_t i = 0; i < MANY; i++) {
        uqff_source_close(sources[i]);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(entries(), MANY + 1);
}

/* A signal removes the files of all of many sinks, also of those that hold no descriptor. */
static void test_many_signal(void **state) {
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct uqff_error err;
        struct uqff_sink *sink;
        bool good = true;
        limit_descriptors(64);
        signal(SIGTERM, leave);
        for (size_t i = 0; i < 100; i++) {
            good = good && uqff_sink_create(in_directory("out"), true, &sink, &err) == UQFF_OK;
        }
        if (good) {
            raise(SIGTERM);
        }
        _exit(99);
    }
    assert_left(child);
    assert_int_equal(entries(), 0);
}

/* ---- folders --------------------------------------------------------------------------------- */

static void test_folder(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_folder *folder, *inner;
    assert_ok(uqff_folder_make(directory, &folder, &err), &err);
    assert_null(folder);
    uqff_folder_close(NULL, false);
    assert_ok(uqff_folder_make(in_directory("a"), &folder, &err), &err);
    assert_non_null(folder);
    assert_ok(uqff_folder_make(in_directory("a/b"), &inner, &err), &err);
    uqff_folder_close(inner, true);
    uqff_folder_close(folder, false); /* not empty */
    assert_true(uqff_path_is_directory(in_directory("a/b")));
    assert_ok(uqff_folder_make(in_directory("c"), &folder, &err), &err);
    uqff_folder_close(folder, false);
    assert_false(uqff_path_exists(in_directory("c")));
    assert_fails(uqff_folder_make(in_directory("no/c"), &folder, &err), UQFF_E_NOT_FOUND, &err,
                 "cannot make the directory");
    write_file(in_directory("file"), "x", 1);
    assert_fails(uqff_folder_make(in_directory("file"), &folder, &err), UQFF_E_EXISTS, &err,
                 "cannot make the directory");
    fail_allocation(1);
    assert_fails(uqff_folder_make(in_directory("c"), &folder, &err), UQFF_E_MEMORY, &err, "memory");
    uqff_set_allocator(NULL);
}

/* A run that is ended leaves no folder that it has made, but one in which there is something. */
static void test_folder_signal(void **state) {
    (void)state;
    struct uqff_error err;
    assert_ok(uqff_make_directory(in_directory("before"), &err), &err);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct uqff_folder *folder;
        struct uqff_sink *sink;
        static const char *const names[] = {"before", "closed", "a", "a/b", "a/b/c", "d"};
        bool good = true;
        signal(SIGTERM, leave);
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            good = good && uqff_folder_make(in_directory(names[i]), &folder, &err) == UQFF_OK;
            if (good && i == 1) {
                uqff_folder_close(folder, false); /* its slot is that of "a/b" or so */
            }
        }
        good = good && uqff_sink_create(in_directory("a/b/f"), false, &sink, &err) == UQFF_OK &&
               uqff_write_file(in_directory("d/f"), "x", 1, false, &err) == UQFF_OK;
        if (good) {
            raise(SIGTERM);
        }
        _exit(99);
    }
    assert_left(child);
    assert_int_equal(entries(), 2);
    assert_true(uqff_path_exists(in_directory("before")));
    assert_true(uqff_path_exists(in_directory("d/f")));
}

/* ---- what a file that is replaced hands on --------------------------------------------------- */

static mode_t mode_of(const char *name) {
    struct stat status;
    assert_int_equal(lstat(in_directory(name), &status), 0);
    return status.st_mode & (S_IFMT | 07777);
}

static int refuse_number;

static int refusing_chmod(int fd, mode_t mode) {
    (void)fd, (void)mode;
    errno = refuse_number;
    return -1;
}

static void test_mode(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    struct stat status;
    static const mode_t modes[] = {0444, 0640, 0600, 0777, 0};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        unlink(in_directory("out"));
        write_file(in_directory("out"), "old", 3);
        assert_int_equal(chmod(in_directory("out"), modes[i]), 0);
        assert_ok(uqff_sink_create(in_directory("out"), true, &sink, &err), &err);
        /* Until it is complete it is read by its owner only. */
        assert_int_equal(stat(uqff_sink_temporary_path(sink), &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        assert_ok(uqff_sink_write(sink, 0, "new", 3, &err), &err);
        assert_ok(uqff_sink_publish(sink, &err), &err);
        uqff_sink_close(sink);
        assert_int_equal(mode_of("out"), S_IFREG | modes[i]);
        assert_int_equal(stat(in_directory("out"), &status), 0);
        assert_int_equal(status.st_size, 3);
    }
    assert_int_equal(chmod(in_directory("out"), 0640), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(in_directory("out"), 12345, 23456), 0);
        assert_ok(uqff_write_file(in_directory("out"), "newer", 5, true, &err), &err);
        assert_int_equal(stat(in_directory("out"), &status), 0);
        assert_int_equal(status.st_uid, 12345);
        assert_int_equal(status.st_gid, 23456);
    }
    uqff_os.chmod = refusing_chmod;
    refuse_number = EIO;
    assert_fails(uqff_write_file(in_directory("out"), "x", 1, true, &err), UQFF_E_WRITE, &err,
                 "the mode it had");
    refuse_number = EPERM; /* a file system without modes */
    assert_ok(uqff_write_file(in_directory("out"), "x", 1, true, &err), &err);
    uqff_os = uqff_os_default;
    assert_int_equal(entries(), 1);
}

static void test_links(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_sink *sink;
    assert_ok(uqff_make_directory(in_directory("far"), &err), &err);
    write_file(in_directory("far/file"), "old", 3);
    assert_int_equal(chmod(in_directory("far/file"), 0640), 0);
    assert_int_equal(symlink("file", in_directory("far/near")), 0);
    assert_int_equal(symlink("far/near", in_directory("link")), 0);
    assert_int_equal(symlink(in_directory("link"), in_directory("absolute")), 0);
    static const char *const names[] = {"link", "absolute", "far/near"};
    for (size_t i = 0; i < 3; i++) {
        assert_fails(uqff_sink_create(in_directory(names[i]), false, &sink, &err), UQFF_E_EXISTS,
                     &err, "exists");
        assert_ok(uqff_sink_create(in_directory(names[i]), true, &sink, &err), &err);
        assert_non_null(strstr(uqff_sink_temporary_path(sink), "/far/.file."));
        assert_ok(uqff_sink_write(sink, 0, names[i], strlen(names[i]), &err), &err);
        assert_ok(uqff_sink_publish(sink, &err), &err);
        uqff_sink_close(sink);
        assert_content("far/file", names[i]);
        assert_int_equal(mode_of(names[i]) & S_IFMT, S_IFLNK);
        assert_int_equal(mode_of("far/file"), S_IFREG | 0640);
    }
    assert_int_equal(symlink("far/new", in_directory("dangling")), 0);
    assert_ok(uqff_write_file(in_directory("dangling"), "x", 1, true, &err), &err);
    assert_content("far/new", "x");
    assert_int_equal(symlink("loop", in_directory("loop")), 0);
    assert_fails(uqff_write_file(in_directory("loop"), "x", 1, true, &err), UQFF_E_NOT_FOUND, &err,
                 "loop");
    assert_int_equal(symlink("none/new", in_directory("lost")), 0);
    assert_fails(uqff_write_file(in_directory("lost"), "x", 1, true, &err), UQFF_E_NOT_FOUND, &err,
                 "none/new: cannot open its directory");
    size_t allocations = 0;
    fail_allocation(0);
    assert_ok(uqff_write_file(in_directory("link"), "x", 1, true, &err), &err);
    allocations = fail_allocation(0);
    for (size_t i = 1; i <= allocations; i++) {
        fail_allocation(i);
        assert_fails(uqff_write_file(in_directory("link"), "x", 1, true, &err), UQFF_E_MEMORY, &err,
                     "memory");
    }
    uqff_set_allocator(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_publish, enter),
        cmocka_unit_test_setup(test_abandoned, enter),
        cmocka_unit_test_setup(test_overwrite, enter),
        cmocka_unit_test_setup(test_bad_targets, enter),
        cmocka_unit_test_setup(test_appeared, enter),
        cmocka_unit_test_setup(test_write_faults, enter),
        cmocka_unit_test_setup(test_flush_faults, enter),
        cmocka_unit_test_setup(test_rename_faults, enter),
        cmocka_unit_test_setup(test_create_faults, enter),
        cmocka_unit_test_setup(test_ranges, enter),
        cmocka_unit_test_setup(test_copy, enter),
        cmocka_unit_test_setup(test_threads, enter),
        cmocka_unit_test_setup(test_signal, enter),
        cmocka_unit_test_setup(test_removed_early, enter),
        cmocka_unit_test_setup(test_slots, enter),
        cmocka_unit_test_setup(test_many, enter),
        cmocka_unit_test_setup(test_many_signal, enter),
        cmocka_unit_test_setup(test_folder, enter),
        cmocka_unit_test_setup(test_folder_signal, enter),
        cmocka_unit_test_setup(test_mode, enter),
        cmocka_unit_test_setup(test_links, enter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
