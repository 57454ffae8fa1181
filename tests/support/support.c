#include "tests/support/support.h"

#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- assertions ------------------------------------------------------------------------------ */

void assert_fails_(enum uqff_code found, enum uqff_code expected, const struct uqff_error *err,
                   const char *needle, const char *call, const char *file, int line) {
    if (found != expected) {
        print_error("%s: code %s, expected %s (%s)\n", call, uqff_code_name(found),
                    uqff_code_name(expected), found == UQFF_OK ? "" : err->text);
        _fail(file, line);
    }
    if (err->code != found) {
        print_error("%s: returned %s, but the error says %s\n", call, uqff_code_name(found),
                    uqff_code_name(err->code));
        _fail(file, line);
    }
    if (needle != NULL && strstr(err->text, needle) == NULL) {
        print_error("%s: text '%s' lacks '%s'\n", call, err->text, needle);
        _fail(file, line);
    }
    /* Printable text is left as it is but for its backslashes, which are doubled. */
    size_t n = strnlen(err->text, sizeof err->text), backslashes = 0;
    for (size_t i = 0; i < n; i++) {
        backslashes += err->text[i] == '\\';
    }
    if (n == 0 || n == sizeof err->text ||
        uqff_printable(NULL, 0, err->text, n) != n + backslashes) {
        print_error("%s: the text is not one printable line\n", call);
        _fail(file, line);
    }
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* One of four buffers in turn. */
static char *next_path(void) {
    static char paths[4][4096];
    static unsigned next;
    return paths[next++ % 4];
}

static const char *joined(const char *directory, const char *name) {
    char *path = next_path();
    int length = snprintf(path, 4096, "%s/%s", directory, name);
    assert_in_range(length, 1, 4095);
    return path;
}

const char *test_data(const char *name) {
    return joined(UQFF_TESTDATA, name);
}

const char *extra_data(const char *name) {
    const char *directory = getenv("UQFF_EXTRA_DATA");
    if (directory == NULL || directory[0] == '\0') {
        return NULL;
    }
    if (!uqff_path_is_directory(directory)) {
        fail_msg("UQFF_EXTRA_DATA names '%s', which is not a directory", directory);
    }
    return joined(directory, name);
}

static char scratch_path[4096];
static pid_t scratch_owner;

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    remove(path);
    return 0;
}

static void remove_scratch(void) {
    /* A child that a test has forked must not take the directory away from its parent. */
    if (getpid() == scratch_owner) {
        nftw(scratch_path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

const char *scratch(void) {
    if (scratch_path[0] == '\0') {
        const char *parent = getenv("TMPDIR");
        if (parent == NULL || parent[0] == '\0') {
            parent = "/tmp";
        }
        snprintf(scratch_path, sizeof scratch_path, "%s/uqff-test-XXXXXX", parent);
        if (mkdtemp(scratch_path) == NULL) {
            fail_msg("cannot make '%s': %s", scratch_path, strerror(errno));
        }
        scratch_owner = getpid();
        atexit(remove_scratch);
    }
    return scratch_path;
}

const char *scratch_file(const char *name) {
    return joined(scratch(), name);
}

/* ---- files ----------------------------------------------------------------------------------- */

void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("cannot open '%s': %s", path, strerror(errno));
    }
    size_t used = 0, capacity = 4096;
    char *content = malloc(capacity + 1);
    assert_non_null(content);
    for (;;) {
        used += fread(content + used, 1, capacity - used, file);
        if (used < capacity) {
            break;
        }
        capacity *= 2;
        content = realloc(content, capacity + 1);
        assert_non_null(content);
    }
    if (ferror(file)) {
        fail_msg("cannot read '%s'", path);
    }
    fclose(file);
    content[used] = '\0';
    if (size != NULL) {
        *size = used;
    }
    return content;
}

void write_file(const char *path, const void *bytes, size_t n) {
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        fail_msg("cannot create '%s': %s", path, strerror(errno));
    }
    bool whole = n == 0 || fwrite(bytes, 1, n, file) == n;
    if (fclose(file) != 0 || !whole) {
        fail_msg("cannot write '%s'", path);
    }
}

/* ---- the malformed corpus -------------------------------------------------------------------- */

static void unpack(const char *archive, const char *directory) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execlp("tar", "tar", "-xf", archive, "-C", directory, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("tar cannot unpack '%s' (status %d)", archive, status);
    }
}

const char *bad_file(const char *name) {
    static char directory[4200];
    if (directory[0] == '\0') {
        char path[4200];
        snprintf(path, sizeof path, "%s/badfiles", scratch());
        if (mkdir(path, 0700) != 0) {
            fail_msg("cannot make '%s': %s", path, strerror(errno));
        }
        unpack(test_data("badfiles/corpus.tar.xz"), path);
        memcpy(directory, path, sizeof directory);
    }
    return joined(directory, name);
}

/* Cuts the line at its next tab and returns what stood before it; NULL when the line is used up. */
static char *next_field(char **line) {
    char *field = *line;
    if (field == NULL) {
        return NULL;
    }
    char *tab = strchr(field, '\t');
    *line = tab == NULL ? NULL : tab + 1;
    if (tab != NULL) {
        *tab = '\0';
    }
    return field;
}

static struct bad_case *manifest;
static size_t manifest_rows;
static char *manifest_text;
static struct bad_case *selections[64];
static size_t selections_made;

static void free_manifest(void) {
    for (size_t i = 0; i < selections_made; i++) {
        free(selections[i]);
    }
    free(manifest);
    free(manifest_text);
}

static void read_manifest(void) {
    size_t capacity = 1;
    manifest_text = read_file(test_data("badfiles/MANIFEST.tsv"), NULL);
    for (const char *p = manifest_text; *p != '\0'; p++) {
        capacity += *p == '\n';
    }
    manifest = calloc(capacity, sizeof *manifest);
    assert_non_null(manifest);
    atexit(free_manifest);
    for (char *line = manifest_text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
        }
        char *rest = line;
        struct bad_case row = {0};
        row.file = next_field(&rest);
        row.verdict = next_field(&rest);
        row.reason = next_field(&rest);
        row.level = next_field(&rest);
        row.basis = next_field(&rest);
        assert_non_null(row.basis);
        if (line != manifest_text) { /* the first line is the heading */
            manifest[manifest_rows++] = row;
        }
        line = end == NULL ? NULL : end + 1;
    }
}

const struct bad_case *bad_cases(const char *level, size_t *count) {
    if (manifest == NULL) {
        read_manifest();
    }
    assert_true(selections_made < sizeof selections / sizeof *selections);
    struct bad_case *rows = calloc(manifest_rows + 1, sizeof *rows);
    assert_non_null(rows);
    selections[selections_made++] = rows;
    *count = 0;
    for (size_t i = 0; i < manifest_rows; i++) {
        if (strcmp(manifest[i].level, level) == 0) {
            rows[(*count)++] = manifest[i];
        }
    }
    return rows;
}

/* ---- random numbers -------------------------------------------------------------------------- */

uint64_t random_u64(struct test_random *random) {
    uint64_t x = random->state;
    if (x == 0) {
        x = UINT64_C(0x9E3779B97F4A7C15); /* zero would stay zero */
    }
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    random->state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

float random_float(struct test_random *random) {
    /* 24 bits, an integer that float holds exactly. */
    int32_t bits = (int32_t)(random_u64(random) >> 40) - (1 << 23);
    return (float)bits / (float)(1 << 23);
}

float random_gauss(struct test_random *random) {
    /* Twelve uniform numbers of variance 1/3 have variance 4. */
    float sum = 0;
    for (int i = 0; i < 12; i++) {
        sum += random_float(random);
    }
    return sum / 2;
}

/* ---- fault injection ------------------------------------------------------------------------- */

static atomic_size_t allocations, failing;

static void *counted_reallocate(void *context, void *block, size_t size) {
    (void)context;
    size_t number = atomic_fetch_add(&allocations, 1) + 1;
    return number == atomic_load(&failing) ? NULL : realloc(block, size);
}

static void plain_release(void *context, void *block) {
    (void)context;
    free(block);
}

size_t fail_allocation(size_t n) {
    static const struct uqff_allocator counting = {counted_reallocate, plain_release, NULL};
    uqff_set_allocator(&counting);
    atomic_store(&failing, n);
    return atomic_exchange(&allocations, 0);
}
