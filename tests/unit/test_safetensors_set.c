/* Sets of safetensors files: the index, its shards, and how they may disagree. */
#include "support/support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uqff/safetensors.h"

static char warnings[1024];

static void note_warning(void *context, const char *text) {
    (void)context;
    size_t used = strlen(warnings);
    snprintf(warnings + used, sizeof warnings - used, "%s\n", text);
}

static const struct uqff_warner warner = {note_warning, NULL};

static char folder[512];

static const char *in_folder(const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* A fresh folder for one test. */
static int enter_folder(void **state) {
    (void)state;
    static int number;
    char name[32];
    snprintf(name, sizeof name, "set%d", number++);
    snprintf(folder, sizeof folder, "%s", scratch_file(name));
    warnings[0] = '\0';
    return mkdir(folder, 0777);
}

/* Writes a shard with one U8 tensor of two bytes for each letter of `names`. */
static void write_shard(const char *file, const char *names) {
    struct uqff_error err;
    struct uqff_st_layout *layout;
    struct uqff_buffer out = {0};
    assert_ok(uqff_st_layout_new(&layout, &err), &err);
    for (const char *p = names; *p != '\0'; p++) {
        const char name[] = {*p, '\0'};
        assert_ok(uqff_st_layout_add(layout, name, UQFF_DTYPE_U8, (uint64_t[]){2}, 1, NULL, &err),
                  &err);
    }
    assert_ok(uqff_st_layout_header(layout, 8, &out, &err), &err);
    for (const char *p = names; *p != '\0'; p++) {
        uqff_buffer_append(&out, "..", 2);
    }
    assert_false(out.failed);
    write_file(in_folder(file), out.data, out.size);
    uqff_buffer_free(&out);
    uqff_st_layout_free(layout);
}

static enum uqff_code open_index(const char *text, struct uqff_safetensors_set **set,
                                 struct uqff_error *err) {
    write_file(in_folder("m.index.json"), text, strlen(text));
    *set = NULL;
    return uqff_safetensors_set_open(in_folder("m.index.json"), &warner, set, err);
}

static void expect_failure(const char *text, enum uqff_code code, const char *needle) {
    struct uqff_error err = {0};
    struct uqff_safetensors_set *set;
    assert_fails(open_index(text, &set, &err), code, &err, needle);
    assert_null(set);
    assert_int_equal(open_index(text, &set, NULL), code);
}

#define ONE "one.safetensors"
#define TWO "two.safetensors"

static void opens_shards(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_safetensors_set *set;
    write_shard(ONE, "db");
    write_shard(TWO, "ac");
    assert_ok(open_index("{\"metadata\":{\"total_size\":8,\"x\":[{}]},\"other\":[1],"
                         "\"weight_map\":{\"a\":\"" TWO "\",\"b\":\"" ONE "\",\"c\":\"" TWO
                         "\",\"d\":\"" ONE "\"}}",
                         &set, &err),
              &err);
    assert_string_equal(warnings, "");
    assert_int_equal(uqff_safetensors_set_file_count(set), 2);
    assert_int_equal(uqff_safetensors_set_count(set), 4);
    for (size_t i = 0; i < 4; i++) {
        struct uqff_st_set_tensor t = uqff_safetensors_set_tensor(set, i), found;
        const char name[] = {"abcd"[i], '\0'};
        assert_string_equal(t.tensor->name, name);
        assert_int_equal(t.file, i % 2 == 0); /* files in order of name: one, two */
        assert_true(uqff_safetensors_set_find(set, name, &found));
        assert_ptr_equal(found.tensor, t.tensor);
        assert_int_equal(found.file, t.file);
        assert_ptr_equal(uqff_safetensors_find(uqff_safetensors_set_file(set, t.file), name),
                         t.tensor);
    }
    struct uqff_st_set_tensor found;
    assert_false(uqff_safetensors_set_find(set, "e", &found));
    assert_false(uqff_safetensors_set_find(set, "", &found));
    uqff_safetensors_set_close(set);
    uqff_safetensors_set_close(NULL);
}

static void opens_a_single_file(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_safetensors_set *set;
    write_shard(ONE, "cab");
    assert_ok(uqff_safetensors_set_open(in_folder(ONE), &warner, &set, &err), &err);
    assert_int_equal(uqff_safetensors_set_file_count(set), 1);
    assert_int_equal(uqff_safetensors_set_count(set), 3);
    assert_string_equal(uqff_safetensors_set_tensor(set, 0).tensor->name, "a");
    uqff_safetensors_set_close(set);

    write_shard(ONE, "");
    assert_ok(uqff_safetensors_set_open(in_folder(ONE), &warner, &set, &err), &err);
    struct uqff_st_set_tensor found;
    assert_int_equal(uqff_safetensors_set_count(set), 0);
    assert_false(uqff_safetensors_set_find(set, "a", &found));
    uqff_safetensors_set_close(set);

    set = NULL;
    assert_fails(uqff_safetensors_set_open(in_folder(TWO), &warner, &set, &err), UQFF_E_NOT_FOUND,
                 &err, TWO);
    assert_fails(uqff_safetensors_set_open(in_folder("no.json"), &warner, &set, &err),
                 UQFF_E_NOT_FOUND, &err, "no.json");
    assert_null(set);
}

static void warns_of_total_size(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_safetensors_set *set;
    static const struct {
        const char *metadata;
        const char *needle; /* NULL: no warning */
    } cases[] = {
        {"{\"total_size\":2}", NULL},
        {"{\"total_size\":2.0}", NULL},
        {"{}", NULL},
        {"null", NULL},
        {"\"text\"", NULL},
        {"[{\"total_size\":9}]", NULL},
        {"{\"total_size\":3}", "total_size is 3, the tensors have 2 bytes"},
        {"{\"total_size\":-1e300}", "total_size"},
        {"{\"total_size\":\"2\"}", "no number"},
        {"{\"total_size\":{\"a\":1}}", "no number"},
    };
    write_shard(ONE, "a");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"metadata\":%s,\"weight_map\":{\"a\":\"" ONE "\"}}",
                 cases[i].metadata);
        warnings[0] = '\0';
        assert_ok(open_index(text, &set, &err), &err);
        uqff_safetensors_set_close(set);
        if (cases[i].needle == NULL) {
            assert_string_equal(warnings, "");
        } else if (strstr(warnings, cases[i].needle) == NULL) {
            fail_msg("%s: %s", cases[i].metadata, warnings);
        }
    }
}

static void refuses_shard_names(void **state) {
    (void)state;
    static const char *const names[] = {
        "../one.safetensors",
        "/etc/passwd",
        "sub/one.safetensors",
        "sub\\\\one.safetensors",
        "C:one.safetensors",
        "file:///one.safetensors",
        "",
        ".",
        "..",
        ".safetensors",
        "one.safetensors\\u0000",
        "one\\u0000.safetensors",
        "one\\n.safetensors",
        "one.bin",
        "one.safetensors.index.json",
    };
    write_shard(ONE, "a");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        expect_failure(text, UQFF_E_NAME, "tensor 'a': shard '");
    }
}

static void refuses_indexes(void **state) {
    (void)state;
    write_shard(ONE, "a");
    expect_failure("", UQFF_E_TRUNCATED, "index is empty");
    expect_failure("not", UQFF_E_SYNTAX, "m.index.json");
    expect_failure("[]", UQFF_E_FIELD, "index");
    expect_failure("{}", UQFF_E_FIELD, "weight_map is missing");
    expect_failure("{\"weight_map\":{}}", UQFF_E_FIELD, "weight_map is empty");
    expect_failure("{\"weight_map\":[]}", UQFF_E_FIELD, "weight_map");
    expect_failure("{\"weight_map\":{\"a\":null}}", UQFF_E_FIELD, "'a'");
    expect_failure("{\"weight_map\":{\"a\\u0000\":\"" ONE "\"}}", UQFF_E_NAME,
                   "'a' goes on behind a NUL");
    expect_failure("{\"weight_map\":{\"a\":\"" ONE "\",\"\\u0061\":\"" ONE "\"}}", UQFF_E_DUPLICATE,
                   "a");
    expect_failure("{\"weight_map\":{\"a\":\"" ONE "\"}} x", UQFF_E_SYNTAX, "m.index.json");
    expect_failure("version https://git-lfs.github.com/spec/v1\n", UQFF_E_MAGIC, "git lfs pull");
}

static void refuses_disagreement(void **state) {
    (void)state;
    write_shard(ONE, "ab");
    write_shard(TWO, "c");
#define MAP(c) "{\"weight_map\":{\"a\":\"" ONE "\",\"b\":\"" ONE "\",\"c\":\"" c "\"}}"
    expect_failure(MAP(ONE), UQFF_E_MISSING, "tensor 'c' is not in shard '" ONE "'");
    expect_failure(MAP("three.safetensors"), UQFF_E_MISSING,
                   "shard 'three.safetensors', which should hold tensor 'c': ");
    expect_failure("{\"weight_map\":{\"a\":\"" ONE "\",\"c\":\"" TWO "\"}}", UQFF_E_MISSING,
                   "tensor 'b' of shard '" ONE "' is not in the index");
    expect_failure("{\"weight_map\":{\"a\":\"" TWO "\",\"b\":\"" ONE "\",\"c\":\"" TWO "\"}}",
                   UQFF_E_MISSING, "but in '" ONE "'");
    write_shard(TWO, "cb");
    expect_failure(MAP(TWO), UQFF_E_DUPLICATE, "tensor 'b' is in two shards, '" ONE "' and '" TWO);
    write_file(in_folder(TWO), "<html>", 6);
    expect_failure(MAP(TWO), UQFF_E_MAGIC, TWO ": no safetensors file: it looks like an HTML page");
    assert_int_equal(unlink(in_folder(TWO)), 0);
    assert_int_equal(mkfifo(in_folder(TWO), 0666), 0);
    expect_failure(MAP(TWO), UQFF_E_NOT_REGULAR, "shard '" TWO "', which should hold tensor 'c': ");
#undef MAP
}

static void follows_links_into_blobs(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_safetensors_set *set;
    assert_int_equal(mkdir(in_folder("blobs"), 0777), 0);
    write_shard("blobs/f00d", "a");
    assert_int_equal(mkdir(in_folder("snapshot"), 0777), 0);
    assert_int_equal(symlink("../blobs/f00d", in_folder("snapshot/" ONE)), 0);
    strcat(folder, "/snapshot");
    assert_ok(open_index("{\"weight_map\":{\"a\":\"" ONE "\"}}", &set, &err), &err);
    assert_int_equal(uqff_safetensors_set_count(set), 1);
    uqff_safetensors_set_close(set);
}

static void limits_the_number_of_shards(void **state) {
    (void)state;
    struct uqff_buffer text = {0};
    for (unsigned i = 0; i <= UQFF_SAFETENSORS_MAX_SHARDS; i++) {
        uqff_buffer_printf(&text, "%s\"%u\":\"%u.safetensors\"", i == 0 ? "{\"weight_map\":{" : ",",
                           i, i);
    }
    uqff_buffer_append(&text, "}}", 2);
    assert_false(text.failed);
    expect_failure(text.data, UQFF_E_LIMIT, "10000");
    uqff_buffer_free(&text);
}

static void survives_failed_allocations(void **state) {
    (void)state;
    write_shard(ONE, "ab");
    write_shard(TWO, "c");
    static const char text[] =
        "{\"weight_map\":{\"a\":\"" ONE "\",\"b\":\"" ONE "\",\"c\":\"" TWO "\"}}";
    write_file(in_folder("m.index.json"), text, strlen(text));
    enum uqff_code code = UQFF_E_MEMORY;
    size_t n = 0;
    while (code != UQFF_OK) {
        struct uqff_error err;
        struct uqff_safetensors_set *set = NULL;
        fail_allocation(++n);
        code = uqff_safetensors_set_open(in_folder("m.index.json"), NULL, &set, &err);
        fail_allocation(0);
        uqff_safetensors_set_close(set);
        assert_true(code == UQFF_OK || code == UQFF_E_MEMORY);
        assert_true(n < 1000);
    }
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(opens_shards, enter_folder),
        cmocka_unit_test_setup(opens_a_single_file, enter_folder),
        cmocka_unit_test_setup(warns_of_total_size, enter_folder),
        cmocka_unit_test_setup(refuses_shard_names, enter_folder),
        cmocka_unit_test_setup(refuses_indexes, enter_folder),
        cmocka_unit_test_setup(refuses_disagreement, enter_folder),
        cmocka_unit_test_setup(follows_links_into_blobs, enter_folder),
        cmocka_unit_test_setup(limits_the_number_of_shards, enter_folder),
        cmocka_unit_test_setup(survives_failed_allocations, enter_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
