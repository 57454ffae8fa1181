/* Whatever fails while a container is written or opened: no leak, no file left behind. */
#include "unit/test_container_builder.h"

#include <errno.h>
#include <unistd.h>

#include "libuqff/base/os.h"

/* ---- allocations ----------------------------------------------------------------------------- */

static void test_write_without_memory(void **state) {
    (void)state;
    const char *directory = fresh_directory("no-memory");
    for (int plain = 0; plain < 2; plain++) {
        struct uqff_container_spec spec = plain ? tiny_plain_spec() : tiny_spec();
        spec.max_shard = plain ? 3000 : 12000;
        enum uqff_code code = UQFF_E_MEMORY;
        for (size_t n = 1; code != UQFF_OK; n++) {
            struct uqff_error err;
            fail_allocation(n);
            code = write_spec(&spec, directory, false, &err);
            fail_allocation(0);
            if (code != UQFF_OK) {
                assert_int_equal(code, UQFF_E_MEMORY);
                assert_int_equal(count_files(directory), 0);
            }
        }
        assert_true(count_files(directory) >= 3);
        for (size_t s = 0; count_files(directory) > 0; s++) {
            char name[32];
            snprintf(name, sizeof name, "tiny-%zu.uqff", s);
            assert_int_equal(unlink(in_directory(directory, name)), 0);
        }
    }
}

static void test_open_without_memory(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container_spec spec = tiny_spec();
    const char *directory = fresh_directory("open-no-memory");
    spec.default_variant = UQFF_NONE;
    spec.max_shard = 12000;
    assert_ok(write_spec(&spec, directory, false, &err), &err);
    const char *path = in_directory(directory, "tiny-0.uqff");
    enum uqff_code code = UQFF_E_MEMORY;
    for (size_t n = 1; code != UQFF_OK; n++) {
        struct uqff_container *container = NULL;
        fail_allocation(n);
        code = uqff_container_open(path, NULL, &container, &err);
        if (code == UQFF_OK) {
            /* The views that allocate, too. */
            char *text;
            size_t size;
            float row[256];
            fail_allocation(1);
            assert_int_equal(uqff_container_read_asset(container, 0, &text, &size, &err),
                             UQFF_E_MEMORY);
            fail_allocation(1);
            assert_int_equal(uqff_container_read_rows(container, 0, 0, 1, row, &err),
                             UQFF_E_MEMORY);
        } else {
            assert_int_equal(code, UQFF_E_MEMORY);
        }
        fail_allocation(0);
        uqff_container_close(container);
    }
}

static void test_report_without_memory(void **state) {
    (void)state;
    static const char text[] =
        "{\"schema\":1,\"outputs\":[{\"quant\":\"q4k\",\"shards\":[\"q4k-0.uqff\"]}]}";
    enum uqff_code code = UQFF_E_MEMORY;
    for (size_t n = 1; code != UQFF_OK; n++) {
        struct uqff_error err;
        struct uqff_arena arena = {0};
        struct uqff_report_entry *entries;
        size_t count;
        fail_allocation(n);
        code = uqff_report_parse(text, sizeof text - 1, "report", &arena, &entries, &count, &err);
        fail_allocation(0);
        assert_true(code == UQFF_OK || code == UQFF_E_MEMORY);
        uqff_arena_free(&arena);
    }
}

/* ---- system calls ---------------------------------------------------------------------------- */

static int calls_left; /* before one fails; negative: none does */

static bool fails_now(void) {
    return calls_left >= 0 && calls_left-- == 0;
}

static ssize_t failing_write(int fd, const void *bytes, size_t n, off_t offset) {
    if (fails_now()) {
        errno = ENOSPC;
        return -1;
    }
    return uqff_os_default.write(fd, bytes, n, offset);
}

static int failing_sync(int fd) {
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return uqff_os_default.sync(fd);
}

static int failing_rename(int directory, const char *from, const char *to, bool replace) {
    if (fails_now()) {
        errno = EACCES;
        return -1;
    }
    return uqff_os_default.rename(directory, from, to, replace);
}

static int failing_open(int directory, const char *name, int flags, mode_t mode) {
    if (fails_now()) {
        errno = EACCES;
        return -1;
    }
    return uqff_os_default.open_at(directory, name, flags, mode);
}

static ssize_t failing_read(int fd, void *out, size_t n, off_t offset) {
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return uqff_os_default.read(fd, out, n, offset);
}

static void fail_each(const char *name) {
    struct uqff_container_spec spec = tiny_spec();
    const char *directory = fresh_directory(name);
    spec.max_shard = 12000;
    enum uqff_code code = UQFF_E_WRITE;
    for (int n = 0; code != UQFF_OK; n++) {
        struct uqff_error err;
        calls_left = n;
        code = write_spec(&spec, directory, false, &err);
        bool reached = calls_left < 0;
        calls_left = -1;
        if (code != UQFF_OK) {
            assert_true(reached);
            assert_int_equal(uqff_code_family(code), UQFF_FAMILY_IO);
            bool in_place = strstr(err.text, "tiny-0.uqff: is in place") != NULL;
            if (in_place) {
                assert_int_equal(count_files(directory), 4);
                break;
            }
            if (count_files(directory) != 0) {
                fail_msg("%s %d: files left behind after '%s'", name, n, err.text);
            }
        }
        assert_true(n < 1000);
    }
    assert_true(count_files(directory) >= 3);
    uqff_os = uqff_os_default;
}

static void test_failing_calls(void **state) {
    (void)state;
    uqff_os.write = failing_write;
    fail_each("failing-write");
    uqff_os.rename = failing_rename;
    fail_each("failing-rename");
    uqff_os.open_at = failing_open;
    fail_each("failing-open");
    uqff_os.read = failing_read;
    fail_each("failing-read");
    uqff_os.sync = failing_sync;
    fail_each("failing-sync");
}

/* ---- a writer used wrongly ------------------------------------------------------------------- */

static void test_misuse(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container_spec spec = tiny_spec();
    struct uqff_container_plan *plan;
    struct uqff_container_writer *writer;
    const char *directory = fresh_directory("misuse");
    unsigned char bytes[8192] = {0};
    assert_ok(uqff_container_plan_new(&spec, &plan, &err), &err);
    assert_ok(uqff_container_writer_new(plan, directory, false, &writer, &err), &err);
    size_t blob = uqff_container_plan_find(plan, UQFF_PLAN_BLOB, 0, UQFF_TYPE_Q6_K);
    size_t size = (size_t)uqff_container_plan_entry(plan, blob)->bytes;
    assert_fails(uqff_container_writer_append(writer, 0, bytes, 4, &err), UQFF_E_INTERNAL, &err,
                 "uqff.version.major");
    assert_ok(uqff_container_writer_append(writer, blob, bytes, size - 1, &err), &err);
    assert_fails(uqff_container_writer_append(writer, blob, bytes, 2, &err), UQFF_E_INTERNAL, &err,
                 "more than the planned");
    assert_fails(uqff_container_writer_publish(writer, &err), UQFF_E_INTERNAL, &err,
                 "were written");
    assert_fails(uqff_container_writer_metadata(writer, "uqff.multi.source", "{}", &err),
                 UQFF_E_INTERNAL, &err, "uqff.multi.source");
    assert_fails(uqff_container_writer_metadata(writer, "nothing", "{}", &err), UQFF_E_INTERNAL,
                 &err, "nothing");
    uqff_container_writer_free(writer);
    assert_int_equal(count_files(directory), 0);
    uqff_container_plan_free(plan);
}

static void test_existing_files(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container *container;
    struct uqff_container_spec spec = tiny_spec();
    const char *directory = fresh_directory("existing");
    assert_ok(write_spec(&spec, directory, false, &err), &err);
    assert_fails(write_spec(&spec, directory, false, &err), UQFF_E_EXISTS, &err, "tiny.uqff");
    assert_ok(write_spec(&spec, directory, true, &err), &err);
    assert_int_equal(count_files(directory), 1);
    /* A set of many shards replaced by one of few: none of the old ones may be left. */
    spec.max_shard = 6000;
    assert_ok(write_spec(&spec, directory, false, &err), &err);
    size_t many = count_files(directory);
    spec.max_shard = 12000;
    assert_fails(write_spec(&spec, directory, false, &err), UQFF_E_EXISTS, &err, "tiny-");
    assert_ok(write_spec(&spec, directory, true, &err), &err);
    assert_true(count_files(directory) < many);
    assert_ok(uqff_container_open(in_directory(directory, "tiny-0.uqff"), NULL, &container, &err),
              &err);
    assert_int_equal(uqff_container_shard_count(container), count_files(directory) - 1);
    uqff_container_close(container);
    /* Further shards alone are enough to refuse. */
    directory = fresh_directory("existing-stale");
    write_file(in_directory(directory, "tiny-77.uqff"), "x", 1);
    assert_fails(write_spec(&spec, directory, false, &err), UQFF_E_EXISTS, &err, "tiny-77.uqff");
    assert_int_equal(count_files(directory), 1);
}

/* Copying from another container, with and without digests, gives the bytes of a fresh writing. */
static void test_copy(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container_spec spec = tiny_spec();
    const char *from = fresh_directory("copy-from"), *to = fresh_directory("copy-to");
    struct uqff_container *old;
    struct uqff_container_plan *plan;
    struct uqff_container_writer *writer;
    assert_ok(write_spec(&spec, from, false, &err), &err);
    assert_ok(uqff_container_open(in_directory(from, "tiny.uqff"), NULL, &old, &err), &err);
    assert_ok(uqff_container_plan_new(&spec, &plan, &err), &err);
    assert_ok(uqff_container_writer_new(plan, to, false, &writer, &err), &err);
    struct uqff_safetensors *file = uqff_container_shard(old, 0);
    for (size_t i = 0; i < uqff_container_plan_count(plan); i++) {
        const struct uqff_plan_entry *entry = uqff_container_plan_entry(plan, i);
        if (!by_caller(entry)) {
            continue;
        }
        struct uqff_entry stored = {.tensor = uqff_safetensors_find(file, entry->name)};
        struct uqff_digest digest;
        assert_non_null(stored.tensor);
        assert_true(uqff_container_entry_digest(old, stored, &digest));
        assert_ok(uqff_container_writer_copy(writer, i, uqff_safetensors_source(file),
                                             stored.tensor->offset, i % 2 == 0 ? &digest : NULL,
                                             &err),
                  &err);
    }
    assert_ok(
        uqff_container_writer_metadata(writer, "uqff.multi.source", "{\"digest\":\"1234\"}", &err),
        &err);
    assert_ok(
        uqff_container_writer_metadata(writer, "uqff.multi.source", "{\"digest\":\"0000\"}", &err),
        &err);
    assert_ok(uqff_container_writer_publish(writer, &err), &err);
    uqff_container_writer_free(writer);
    uqff_container_plan_free(plan);
    uqff_container_close(old);
    size_t m, n;
    char *a = read_file(in_directory(from, "tiny.uqff"), &m);
    char *b = read_file(in_directory(to, "tiny.uqff"), &n);
    assert_int_equal(m, n);
    assert_memory_equal(a, b, m);
    free(a);
    free(b);
}

/* ---- size ------------------------------------------------------------------------------------ */

/* Tens of thousands of entries: nothing may take quadratic time. */
static void test_many_entries(void **state) {
    (void)state;
    enum { MODULES = 4000, VARIANTS = 8 };
    static struct uqff_spec_module modules[MODULES];
    static char names[MODULES][48], variant_names[VARIANTS][8];
    static uint32_t types[VARIANTS][MODULES];
    static struct uqff_spec_variant variants[VARIANTS];
    static const uint32_t pool[VARIANTS] = {UQFF_TYPE_Q4_0, UQFF_TYPE_Q4_1, UQFF_TYPE_Q5_0,
                                            UQFF_TYPE_Q5_1, UQFF_TYPE_Q8_0, UQFF_TYPE_IQ4_NL,
                                            UQFF_TYPE_BF16, UQFF_TYPE_MXFP4};
    static const uint64_t shape[] = {1, 32};
    for (size_t m = 0; m < MODULES; m++) {
        snprintf(names[m], sizeof names[m], "model.layers.%zu.mlp.experts.gate_proj", m);
        modules[m] = (struct uqff_spec_module){.name = names[m], .rank = 2, .shape = shape};
    }
    for (size_t v = 0; v < VARIANTS; v++) {
        snprintf(variant_names[v], sizeof variant_names[v], "v%zu", v);
        for (size_t m = 0; m < MODULES; m++) {
            types[v][m] = pool[v == 0 ? 0 : (v + m) % VARIANTS];
        }
        variants[v] = (struct uqff_spec_variant){
            .name = variant_names[v], .recipe = "", .type = pool[v], .types = types[v]};
    }
    struct uqff_error err;
    struct uqff_container *container;
    struct uqff_container_spec spec = {.multi = true,
                                       .stem = "many",
                                       .modules = modules,
                                       .module_count = MODULES,
                                       .variants = variants,
                                       .variant_count = VARIANTS,
                                       .default_variant = 0};
    const char *directory = fresh_directory("many");
    assert_ok(write_spec(&spec, directory, false, &err), &err);
    assert_ok(uqff_container_open(in_directory(directory, "many.uqff"), NULL, &container, &err),
              &err);
    assert_int_equal(uqff_container_module_count(container), MODULES);
    assert_true(uqff_container_blob_count(container) >= MODULES * (VARIANTS - 1));
    uqff_container_close(container);
}

int main(void) {
    calls_left = -1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_without_memory),
        cmocka_unit_test(test_open_without_memory),
        cmocka_unit_test(test_report_without_memory),
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_existing_files),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_many_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
