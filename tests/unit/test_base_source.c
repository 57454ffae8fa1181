/* File names, directories, byte sources. */
#include "tests/support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/os.h"

/* ---- file names ------------------------------------------------------------------------------ */

static void test_components(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t n;
        bool safe;
    } cases[] = {
        {"model-00001-of-00002.safetensors", 32, true},
        {"a", 1, true},
        {"...", 3, true},
        {".hidden", 7, true},
        {"sp ace", 6, true},
        {"\xC3\xA9", 2, true},
        {"", 0, false},
        {".", 1, false},
        {"..", 2, false},
        {"a/b", 3, false},
        {"/a", 2, false},
        {"a\\b", 3, false},
        {"C:a", 3, false},
        {"a\0b", 3, false},
        {"a\nb", 3, false},
        {"a\x7f", 2, false},
        {"\xFF", 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(uqff_name_is_safe_component(cases[i].name, cases[i].n), cases[i].safe);
    }
    char longs[256];
    memset(longs, 'a', sizeof longs);
    assert_true(uqff_name_is_safe_component(longs, 255));
    assert_false(uqff_name_is_safe_component(longs, 256));
}

static void check_join(const char *directory, const char *name, const char *expected) {
    char *path = uqff_path_join(directory, name);
    assert_non_null(path);
    assert_string_equal(path, expected);
    uqff_free(path);
}

static void check_split(const char *path, const char *directory, const char *name) {
    char *found = uqff_path_directory(path);
    assert_non_null(found);
    assert_string_equal(found, directory);
    assert_string_equal(uqff_path_name(path), name);
    uqff_free(found);
}

static void test_paths(void **state) {
    (void)state;
    check_join("a", "b", "a/b");
    check_join("a/", "b", "a/b");
    check_join("/", "b", "/b");
    check_join("", "b", "b");
    check_join(NULL, "b", "b");
    check_split("a/b", "a", "b");
    check_split("b", ".", "b");
    check_split("/b", "/", "b");
    check_split("a//b", "a", "b");
    check_split("a/b/", "a/b", "");
    check_split("", ".", "");
    assert_true(uqff_path_is_directory(scratch()));
    assert_true(uqff_path_exists(scratch()));
    const char *dangling = scratch_file("dangling");
    assert_int_equal(symlink("nowhere", dangling), 0);
    assert_true(uqff_path_exists(dangling));
    assert_false(uqff_path_is_directory(dangling));
    assert_false(uqff_path_exists(scratch_file("absent")));
}

static void test_directories(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_arena arena = {0};
    const char **names;
    size_t count;
    char directory[4096];
    snprintf(directory, sizeof directory, "%s/list", scratch());
    assert_ok(uqff_make_directory(directory, &err), &err);
    assert_ok(uqff_make_directory(directory, &err), &err);
    assert_ok(uqff_list_directory(directory, &arena, &names, &count, &err), &err);
    assert_int_equal(count, 0);
    static const char *const files[] = {"b", "B", "a10", "a2", "\xFF", ".h", "a"};
    static const char *const sorted[] = {".h", "B", "a", "a10", "a2", "b", "\xFF"};
    for (size_t i = 0; i < 7; i++) {
        char path[4200];
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        write_file(path, "", 0);
    }
    assert_ok(uqff_list_directory(directory, &arena, &names, &count, &err), &err);
    assert_int_equal(count, 7);
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(names[i], sorted[i]);
    }
    fail_allocation(0);
    assert_ok(uqff_list_directory(directory, &arena, &names, &count, &err), &err);
    size_t allocations = fail_allocation(0);
    for (size_t i = 1; i <= allocations; i++) {
        fail_allocation(i);
        assert_fails(uqff_list_directory(directory, &arena, &names, &count, &err), UQFF_E_MEMORY,
                     &err, "memory");
    }
    uqff_set_allocator(NULL);
    uqff_arena_free(&arena);
    char path[4200];
    snprintf(path, sizeof path, "%s/a", directory);
    assert_fails(uqff_make_directory(path, &err), UQFF_E_EXISTS, &err, "/list/a");
    assert_fails(uqff_list_directory(path, &arena, &names, &count, &err), UQFF_E_NOT_FOUND, &err,
                 "ot a directory");
    assert_fails(uqff_make_directory(scratch_file("no/where"), &err), UQFF_E_NOT_FOUND, &err,
                 "No such file");
}

/* ---- opening --------------------------------------------------------------------------------- */

static void test_open_refusals(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source = NULL;
    assert_fails(uqff_source_open(scratch_file("absent"), &source, &err), UQFF_E_NOT_FOUND, &err,
                 "absent: cannot open: No such file");
    assert_fails(uqff_source_open("", &source, &err), UQFF_E_NOT_FOUND, &err, "cannot open");
    assert_fails(uqff_source_open(scratch(), &source, &err), UQFF_E_NOT_REGULAR, &err,
                 "it is a directory, expected a regular file");
    assert_fails(uqff_source_open("/dev/null", &source, &err), UQFF_E_NOT_REGULAR, &err,
                 "it is a device");

    /* A FIFO without a writer: an ordinary open would wait for ever. */
    const char *fifo = scratch_file("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    alarm(20);
    assert_fails(uqff_source_open(fifo, &source, &err), UQFF_E_NOT_REGULAR, &err, "it is a FIFO");
    alarm(0);

    const char *loop = scratch_file("loop");
    assert_int_equal(symlink("loop", loop), 0);
    assert_fails(uqff_source_open(loop, &source, &err), UQFF_E_NOT_FOUND, &err,
                 "symbolic links form a loop");

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", scratch());
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        assert_fails(uqff_source_open(address.sun_path, &source, &err), UQFF_E_NOT_REGULAR, &err,
                     "socket");
    }
    close(fd);

    const char *secret = scratch_file("secret");
    write_file(secret, "x", 1);
    assert_int_equal(chmod(secret, 0), 0);
    if (geteuid() != 0) { /* the superuser may read it all the same */
        assert_fails(uqff_source_open(secret, &source, &err), UQFF_E_PERMISSION, &err,
                     "Permission denied");
    }
    const char *odd = scratch_file("odd\n\x1b[2J");
    assert_fails(uqff_source_open(odd, &source, &err), UQFF_E_NOT_FOUND, &err,
                 "odd\\x0a\\x1b[2J: cannot open");
    assert_null(source);
}

static void test_read(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source;
    char out[16], *content;
    size_t size;
    write_file(scratch_file("plain"), "0123456789", 10);
    assert_int_equal(symlink("plain", scratch_file("link")), 0);
    const char *path = scratch_file("link");
    assert_ok(uqff_source_open(path, &source, &err), &err);
    assert_int_equal(uqff_source_size(source), 10);
    assert_string_equal(uqff_source_name(source), path);
    assert_ok(uqff_source_read(source, 3, out, 4, &err), &err);
    assert_memory_equal(out, "3456", 4);
    assert_ok(uqff_source_read(source, 10, NULL, 0, &err), &err);
    assert_fails(uqff_source_read(source, 7, out, 4, &err), UQFF_E_TRUNCATED, &err,
                 "4 bytes are needed at byte 7, but the size is 10");
    assert_fails(uqff_source_read(source, UINT64_MAX, out, 4, &err), UQFF_E_TRUNCATED, &err,
                 "size is 10");
    assert_fails(uqff_source_read(source, 11, out, 0, &err), UQFF_E_TRUNCATED, &err, "byte 11");
    const char *map = uqff_source_map(source);
    assert_non_null(map);
    assert_memory_equal(map, "0123456789", 10);
    assert_ptr_equal(uqff_source_map(source), map);
    assert_ok(uqff_source_read_all(source, 10, &content, &size, &err), &err);
    assert_int_equal(size, 10);
    assert_string_equal(content, "0123456789");
    uqff_free(content);
    assert_fails(uqff_source_read_all(source, 9, &content, &size, &err), UQFF_E_LIMIT, &err,
                 "the size is 10 bytes, at most 9");
    assert_true(uqff_source_is_file(source, scratch_file("plain")));
    assert_false(uqff_source_is_file(source, scratch_file("absent")));
    assert_false(uqff_source_is_file(source, scratch()));
    assert_ok(uqff_source_unchanged(source, &err), &err);
    uqff_source_close(source);
    uqff_source_close(NULL);
}

static void test_empty_and_memory(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source;
    char *content, out[4];
    size_t size;
    write_file(scratch_file("empty"), "", 0);
    assert_ok(uqff_source_open(scratch_file("empty"), &source, &err), &err);
    assert_int_equal(uqff_source_size(source), 0);
    assert_non_null(uqff_source_map(source));
    assert_ok(uqff_source_read_all(source, 0, &content, &size, &err), &err);
    assert_int_equal(size, 0);
    assert_string_equal(content, "");
    uqff_free(content);
    uqff_source_close(source);

    assert_ok(uqff_source_memory("abcd", 4, "text", &source, &err), &err);
    assert_ok(uqff_source_read(source, 1, out, 2, &err), &err);
    assert_memory_equal(out, "bc", 2);
    assert_memory_equal(uqff_source_map(source), "abcd", 4);
    assert_fails(uqff_source_read(source, 1, out, 4, &err), UQFF_E_TRUNCATED, &err,
                 "text: 4 bytes");
    assert_false(uqff_source_is_file(source, scratch()));
    assert_ok(uqff_source_unchanged(source, &err), &err);
    uqff_source_close(source);
    assert_ok(uqff_source_memory(NULL, 0, "none", &source, &err), &err);
    assert_ok(uqff_source_read_all(source, 0, &content, &size, &err), &err);
    uqff_free(content);
    uqff_source_close(source);
}

/* A source of somebody else's, of which only reading is known. */
static enum uqff_code sevens(void *self, uint64_t offset, void *out, size_t n,
                             struct uqff_error *err) {
    (void)self, (void)offset, (void)err;
    memset(out, 7, n);
    return UQFF_OK;
}

static void test_custom(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source;
    const struct uqff_source_ops ops = {.read = sevens};
    unsigned char out[3] = {0};
    assert_ok(uqff_source_new(&ops, NULL, 1000, "sevens", &source, &err), &err);
    assert_ok(uqff_source_read(source, 997, out, 3, &err), &err);
    assert_int_equal(out[2], 7);
    assert_null(uqff_source_map(source));
    assert_fails(uqff_source_read(source, 998, out, 3, &err), UQFF_E_TRUNCATED, &err, "sevens");
    uqff_source_close(source);
}

static void test_sparse(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source;
    unsigned char out[8] = {1};
    const char *path = scratch_file("sparse");
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    uint64_t size = UINT64_C(1) << 60;
    while (ftruncate(fd, (off_t)size) != 0 && size > 1) {
        size /= 2; /* as much as this file system allows */
    }
    close(fd);
    assert_ok(uqff_source_open(path, &source, &err), &err);
    assert_true(uqff_source_size(source) == size);
    assert_ok(uqff_source_read(source, size - 8, out, 8, &err), &err);
    assert_int_equal(out[0], 0);
    assert_fails(uqff_source_read(source, size - 7, out, 8, &err), UQFF_E_TRUNCATED, &err,
                 "sparse");
    (void)uqff_source_map(source);
    uqff_source_close(source);
    unlink(path);
}

static void test_changed(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source;
    char out[16];
    const char *path = scratch_file("shrinking");
    write_file(path, "0123456789", 10);
    assert_ok(uqff_source_open(path, &source, &err), &err);
    assert_int_equal(truncate(path, 4), 0);
    assert_fails(uqff_source_read(source, 0, out, 10, &err), UQFF_E_CHANGED, &err,
                 "shrinking: ends at byte 4, but had 10 bytes");
    assert_int_equal(err.offset, 4);
    assert_fails(uqff_source_unchanged(source, &err), UQFF_E_CHANGED, &err, "4 bytes now, 10");
    assert_int_equal(truncate(path, 10), 0);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_fails(uqff_source_unchanged(source, &err), UQFF_E_CHANGED, &err, "was written to");
    uqff_source_close(source);
}

/* ---- opening in a directory ------------------------------------------------------------------ */

static enum uqff_code open_in(const char *directory, const char *name, struct uqff_source **out,
                              struct uqff_error *err) {
    return uqff_source_open_in(directory, name, strlen(name), out, err);
}

static void test_open_in(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source = NULL;
    char directory[4096], path[4200];
    snprintf(directory, sizeof directory, "%s/set", scratch());
    assert_ok(uqff_make_directory(directory, &err), &err);
    snprintf(path, sizeof path, "%s/Part.bin", directory);
    write_file(path, "part", 4);
    snprintf(path, sizeof path, "%s/linked.bin", directory);
    assert_int_equal(symlink("../set/Part.bin", path), 0);
    snprintf(path, sizeof path, "%s/loop.bin", directory);
    assert_int_equal(symlink("loop.bin", path), 0);
    snprintf(path, sizeof path, "%s/dangling.bin", directory);
    assert_int_equal(symlink("nowhere", path), 0);
    snprintf(path, sizeof path, "%s/fifo.bin", directory);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/sub", directory);
    assert_ok(uqff_make_directory(path, &err), &err);

    /* The name need not end in a NUL. */
    assert_ok(uqff_source_open_in(directory, "Part.bin.more", 8, &source, &err), &err);
    assert_int_equal(uqff_source_size(source), 4);
    assert_non_null(strstr(uqff_source_name(source), "/set/Part.bin"));
    uqff_source_close(source);
    assert_ok(open_in(directory, "linked.bin", &source, &err), &err);
    uqff_source_close(source);
    source = NULL;

    static const char *const unsafe[] = {
        "", ".", "..", "../set/Part.bin", "/etc/passwd", "a:b", "sub\\x", "a\nb", "sub/x"};
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++) {
        assert_fails(open_in(directory, unsafe[i], &source, &err), UQFF_E_NAME, &err,
                     "not allowed as a file name");
    }
    assert_fails(uqff_source_open_in(directory, "Part.bin\0x", 10, &source, &err), UQFF_E_NAME,
                 &err, "not allowed");
    char longs[5001];
    memset(longs, 'a', 5000);
    longs[5000] = '\0';
    assert_fails(open_in(directory, longs, &source, &err), UQFF_E_NAME, &err, "not allowed");
    longs[255] = '\0';
    assert_fails(open_in(directory, longs, &source, &err), UQFF_E_NOT_FOUND, &err, "No such file");

    assert_fails(open_in(directory, "part.BIN", &source, &err), UQFF_E_NOT_FOUND, &err,
                 "'Part.bin' is there, whose name differs in case");
    assert_fails(open_in(directory, "absent", &source, &err), UQFF_E_NOT_FOUND, &err,
                 "set/absent: cannot open: No such file");
    assert_fails(open_in(directory, "dangling.bin", &source, &err), UQFF_E_NOT_FOUND, &err,
                 "dangling.bin: cannot open");
    assert_fails(open_in(directory, "loop.bin", &source, &err), UQFF_E_NOT_FOUND, &err, "loop");
    assert_fails(open_in(directory, "sub", &source, &err), UQFF_E_NOT_REGULAR, &err, "directory");
    alarm(20);
    assert_fails(open_in(directory, "fifo.bin", &source, &err), UQFF_E_NOT_REGULAR, &err, "FIFO");
    alarm(0);
    assert_fails(open_in(scratch_file("nodir"), "x", &source, &err), UQFF_E_NOT_FOUND, &err,
                 "nodir: cannot open the directory");
    assert_fails(open_in("", "no-such-file-here", &source, &err), UQFF_E_NOT_FOUND, &err,
                 "./no-such-file-here");
    assert_null(source);

    fail_allocation(0);
    assert_ok(open_in(directory, "Part.bin", &source, &err), &err);
    uqff_source_close(source);
    size_t allocations = fail_allocation(0);
    for (size_t i = 1; i <= allocations; i++) {
        fail_allocation(i);
        assert_fails(open_in(directory, "Part.bin", &source, &err), UQFF_E_MEMORY, &err, "memory");
    }
    uqff_set_allocator(NULL);
}

/* ---- injected faults ------------------------------------------------------------------------- */

static int interruptions;
static int failing_number;

static ssize_t faulty_read(int fd, void *out, size_t n, off_t offset) {
    if (interruptions > 0 && interruptions-- > 0) {
        errno = EINTR;
        return -1;
    }
    if (failing_number != 0) {
        errno = failing_number;
        return -1;
    }
    return pread(fd, out, n < 3 ? n : 3, offset); /* short reads, three bytes at a time */
}

static int faulty_open(int directory, const char *name, int flags, mode_t mode) {
    if (interruptions > 0 && interruptions-- > 0) {
        errno = EINTR;
        return -1;
    }
    if (failing_number != 0) {
        errno = failing_number;
        return -1;
    }
    return uqff_os_default.open_at(directory, name, flags, mode);
}

static int faulty_stat(int fd, struct stat *status) {
    (void)fd, (void)status;
    errno = EIO;
    return -1;
}

static void *faulty_map(int fd, size_t n) {
    (void)fd, (void)n;
    return NULL;
}

static void test_faults(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_source *source;
    char out[10];
    const char *path = scratch_file("faulty");
    write_file(path, "0123456789", 10);
    interruptions = 2;
    failing_number = 0;
    uqff_os.open_at = faulty_open;
    assert_ok(uqff_source_open(path, &source, &err), &err);
    uqff_os.map = faulty_map;
    assert_null(uqff_source_map(source));
    uqff_os.read = faulty_read;
    interruptions = 5;
    assert_ok(uqff_source_read(source, 0, out, 10, &err), &err);
    assert_memory_equal(out, "0123456789", 10);
    failing_number = EIO;
    assert_fails(uqff_source_read(source, 2, out, 4, &err), UQFF_E_READ, &err,
                 "faulty: cannot read: Input/output error");
    assert_int_equal(err.offset, 2);
    char *content;
    size_t size;
    assert_fails(uqff_source_read_all(source, 10, &content, &size, &err), UQFF_E_READ, &err,
                 "read");
    uqff_os.stat = faulty_stat;
    assert_fails(uqff_source_unchanged(source, &err), UQFF_E_READ, &err, "cannot inspect");
    uqff_source_close(source);

    failing_number = 0;
    assert_fails(uqff_source_open(path, &source, &err), UQFF_E_READ, &err, "cannot inspect");
    static const struct {
        int number;
        enum uqff_code code;
    } numbers[] = {{EACCES, UQFF_E_PERMISSION},
                   {EMFILE, UQFF_E_LIMIT},
                   {ENOMEM, UQFF_E_MEMORY},
                   {EIO, UQFF_E_READ},
                   {ENXIO, UQFF_E_NOT_REGULAR}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        failing_number = numbers[i].number;
        assert_fails(uqff_source_open(path, &source, &err), numbers[i].code, &err, "cannot open");
    }
    uqff_os = uqff_os_default;

    fail_allocation(0);
    assert_ok(uqff_source_open(path, &source, &err), &err);
    uqff_source_close(source);
    size_t allocations = fail_allocation(0);
    assert_true(allocations > 0);
    for (size_t i = 1; i <= allocations; i++) {
        fail_allocation(i);
        assert_fails(uqff_source_open(path, &source, &err), UQFF_E_MEMORY, &err, "memory");
    }
    fail_allocation(0);
    assert_ok(uqff_source_open(path, &source, &err), &err);
    fail_allocation(1);
    assert_fails(uqff_source_read_all(source, 10, &content, &size, &err), UQFF_E_MEMORY, &err,
                 "memory");
    uqff_set_allocator(NULL);
    uqff_source_close(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_components),  cmocka_unit_test(test_paths),
        cmocka_unit_test(test_directories), cmocka_unit_test(test_open_refusals),
        cmocka_unit_test(test_read),        cmocka_unit_test(test_empty_and_memory),
        cmocka_unit_test(test_custom),      cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_changed),     cmocka_unit_test(test_open_in),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
