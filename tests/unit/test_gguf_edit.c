/* Editing of GGUF metadata: in place, by a copy, with a way back from every fault. */
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

#include "test_gguf_made.h"

/* ---- one edit -------------------------------------------------------------------------------- */

/* Sets general.name, or with NULL nothing. */
static enum uqff_code edit_name(const char *path, const char *name,
                                const struct uqff_gguf_edit_options *options,
                                enum uqff_gguf_edit_way *way) {
    struct uqff_gguf *file = NULL;
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_code code = uqff_gguf_open_path(path, NULL, &file, &err);
    if (code == UQFF_OK) {
        code = uqff_gguf_edit_begin(file, &layout, &err);
    }
    if (code == UQFF_OK && name != NULL) {
        code = uqff_gguf_set_string(layout, "general.name", name, strlen(name), &err);
    }
    if (code == UQFF_OK) {
        code = uqff_gguf_edit(file, layout, options, NULL, way, &err);
    }
    uqff_gguf_layout_free(layout);
    uqff_gguf_close(file);
    return code;
}

static void assert_name(const char *path, const char *name) {
    struct uqff_gguf *file = open_model(path);
    const struct uqff_gguf_value *value = uqff_gguf_find_value(file, "general.name");
    assert_non_null(value);
    assert_int_equal(value->as.string.length, strlen(name));
    assert_memory_equal(value->as.string.bytes, name, strlen(name));
    uqff_gguf_close(file);
}

static void must_edit(const char *path, const char *name, enum uqff_gguf_edit_way expected) {
    static const struct uqff_gguf_edit_options options = {0};
    enum uqff_gguf_edit_way way = UQFF_GGUF_EDIT_NOTHING;
    assert_ok(edit_name(path, name, &options, &way), &err);
    assert_int_equal(way, expected);
    assert_name(path, name);
}

static void test_in_place(void **state) {
    (void)state;
    char *path = path_of("m.gguf");
    char *copy = path_of("copy.gguf");
    make_model(path, 32);
    make_model(copy, 32);
    ino_t inode = inode_of(path);
    must_edit(path, "five", UQFF_GGUF_EDIT_IN_PLACE);
    must_edit(path, "five", UQFF_GGUF_EDIT_NOTHING);
    must_edit(path, "fiv", UQFF_GGUF_EDIT_IN_PLACE);
    assert_same_tensors(path, copy);
    assert_int_equal(inode, inode_of(path));
    assert_int_equal(count_entries(), 2);
    /* As long as the padding goes. */
    size_t n = 3;
    char name[64] = "fiv";
    enum uqff_gguf_edit_way way = UQFF_GGUF_EDIT_IN_PLACE;
    while (way == UQFF_GGUF_EDIT_IN_PLACE) {
        static const struct uqff_gguf_edit_options options = {0};
        assert_true(n < 40);
        name[n++] = 'x';
        assert_ok(edit_name(path, name, &options, &way), &err);
        assert_name(path, name);
        assert_same_tensors(path, copy);
    }
    assert_int_equal(way, UQFF_GGUF_EDIT_COPIED);
    assert_int_not_equal(inode, inode_of(path));
    assert_int_equal(count_entries(), 2);
    remove_all();
    free(path);
    free(copy);
}

static void test_copied(void **state) {
    (void)state;
    static const char longer[] = "a name that is longer than what padding there is";
    char *path = path_of("m.gguf");
    char *copy = path_of("copy.gguf");
    make_model(path, 32);
    make_model(copy, 32);
    assert_int_equal(chmod(path, 0640), 0);
    must_edit(path, longer, UQFF_GGUF_EDIT_COPIED);
    assert_same_tensors(path, copy);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    /* Back again: the same bytes as before. */
    struct content before = content_of(copy);
    must_edit(path, "four", UQFF_GGUF_EDIT_COPIED);
    assert_true(content_is(path, &before));
    /* When it is asked for. */
    enum uqff_gguf_edit_way way;
    const struct uqff_gguf_edit_options copying = {.copy = true};
    ino_t inode = inode_of(path);
    assert_ok(edit_name(path, "five", &copying, &way), &err);
    assert_int_equal(way, UQFF_GGUF_EDIT_COPIED);
    assert_int_not_equal(inode, inode_of(path));
    /* To another file, even without a change. */
    char *other = path_of("other.gguf");
    struct uqff_gguf_edit_options options = {.output = other};
    assert_ok(edit_name(copy, NULL, &options, &way), &err);
    assert_int_equal(way, UQFF_GGUF_EDIT_COPIED);
    assert_true(content_is(other, &before));
    assert_fails(edit_name(copy, "x", &options, &way), UQFF_E_EXISTS, &err, "other.gguf");
    assert_true(content_is(other, &before));
    options.overwrite = true;
    assert_ok(edit_name(copy, "x", &options, &way), &err);
    assert_name(other, "x");
    assert_name(copy, "four");
    options.output = copy;
    assert_fails(edit_name(copy, "x", &options, &way), UQFF_E_IS_INPUT, &err, "copy.gguf");
    options.output = scratch_file("m-00001-of-00002.gguf");
    assert_fails(edit_name(copy, "x", &options, &way), UQFF_E_ARGUMENT, &err, "one of several");
    assert_int_equal(count_entries(), 3);
    free(before.bytes);
    remove_all();
    free(path);
    free(copy);
    free(other);
}

/* Another alignment moves the data. */
static void test_alignment(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {0};
    char *path = path_of("m.gguf");
    char *copy = path_of("copy.gguf");
    make_model(path, 32);
    make_model(copy, 32);
    struct uqff_gguf *file = open_model(path);
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_gguf_edit_way way;
    assert_ok(uqff_gguf_edit_begin(file, &layout, &err), &err);
    assert_fails(uqff_gguf_set_u64(layout, "general.alignment", UQFF_GGUF_U64, 64, &err),
                 UQFF_E_FIELD, &err, "expected u32");
    assert_fails(uqff_gguf_set_u64(layout, "general.alignment", UQFF_GGUF_U32, 65, &err),
                 UQFF_E_FIELD, &err, "65");
    assert_ok(uqff_gguf_set_u64(layout, "general.alignment", UQFF_GGUF_U32, 64, &err), &err);
    assert_fails(uqff_gguf_rename_key(layout, "general.alignment", "a", &err), UQFF_E_ARGUMENT,
                 &err, "general.alignment");
    assert_ok(uqff_gguf_edit(file, layout, &options, NULL, &way, &err), &err);
    assert_int_equal(way, UQFF_GGUF_EDIT_COPIED);
    uqff_gguf_layout_free(layout);
    uqff_gguf_close(file);
    assert_same_tensors(path, copy);
    file = open_model(path);
    assert_int_equal(uqff_gguf_alignment(file), 64);
    uqff_gguf_close(file);
    remove_all();
    free(path);
    free(copy);
}

static void test_names_of_keys(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {0};
    char *path = path_of("m.gguf");
    make_model(path, 32);
    struct uqff_gguf *file = open_model(path);
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_gguf_edit_way way;
    assert_ok(uqff_gguf_edit_begin(file, &layout, &err), &err);
    assert_ok(uqff_gguf_rename_key(layout, "general.name", "general.title", &err), &err);
    assert_fails(uqff_gguf_rename_key(layout, "general.name", "x", &err), UQFF_E_UNKNOWN, &err,
                 "'general.name' is not set");
    assert_fails(uqff_gguf_rename_key(layout, "numbers", "general.title", &err), UQFF_E_DUPLICATE,
                 &err, "'numbers'");
    assert_fails(uqff_gguf_rename_key(layout, "numbers", "", &err), UQFF_E_NAME, &err, "0 bytes");
    assert_ok(uqff_gguf_rename_key(layout, "numbers", "numbers", &err), &err);
    /* A name that is free again, before and after it was used. */
    assert_ok(uqff_gguf_set_bool(layout, "general.name", true, &err), &err);
    uqff_gguf_unset(layout, "llama.block_count");
    assert_ok(uqff_gguf_rename_key(layout, "general.name", "llama.block_count", &err), &err);
    assert_ok(uqff_gguf_edit(file, layout, &options, NULL, &way, &err), &err);
    uqff_gguf_layout_free(layout);
    uqff_gguf_close(file);
    file = open_model(path);
    assert_int_equal(uqff_gguf_kv_count(file), 4);
    assert_string_equal(uqff_gguf_key(file, 1), "general.title");
    assert_string_equal(uqff_gguf_key(file, 3), "llama.block_count");
    assert_int_equal(uqff_gguf_value(file, 3)->kind, UQFF_GGUF_BOOL);
    uqff_gguf_close(file);
    remove_all();
    free(path);
}

/* ---- room for edits ---------------------------------------------------------------------------
 */

static uint64_t room_of(const char *path) {
    struct uqff_gguf *file = open_model(path);
    const struct uqff_gguf_value *value = uqff_gguf_find_value(file, "uqff.padding");
    uint64_t room = value == NULL ? 0 : value->as.array.count;
    uqff_gguf_close(file);
    return room;
}

static uint64_t begin_of(const char *path) {
    struct uqff_gguf *file = open_model(path);
    uint64_t begin = uqff_gguf_data_offset(file, 0);
    uqff_gguf_close(file);
    return begin;
}

static void test_reserve(void **state) {
    (void)state;
    char *path = path_of("m.gguf");
    char *copy = path_of("copy.gguf");
    char longer[3000];
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    make_model(path, 32);
    make_model(copy, 32);
    uint64_t begin = begin_of(path);
    struct uqff_gguf_edit_options options = {.reserve = 4000};
    enum uqff_gguf_edit_way way;
    assert_ok(edit_name(path, "four", &options, &way), &err);
    assert_int_equal(way, UQFF_GGUF_EDIT_COPIED);
    uint64_t room = room_of(path);
    assert_true(room >= 4000);
    assert_same_tensors(path, copy);
    /* The data has moved by whole blocks. */
    assert_int_equal((begin_of(path) - begin) % 65536, 0);
    must_edit(path, longer, UQFF_GGUF_EDIT_IN_PLACE);
    assert_int_equal(room_of(path), room - (sizeof longer - 1 - 4));
    must_edit(path, longer, UQFF_GGUF_EDIT_NOTHING);
    must_edit(path, "five", UQFF_GGUF_EDIT_IN_PLACE);
    assert_int_equal(room_of(path), room);
    assert_ok(edit_name(path, "five", &options, &way), &err);
    assert_int_equal(way, UQFF_GGUF_EDIT_NOTHING);
    /* A copy keeps it. */
    options = (struct uqff_gguf_edit_options){.copy = true};
    assert_ok(edit_name(path, "five", &options, &way), &err);
    assert_int_equal(way, UQFF_GGUF_EDIT_COPIED);
    assert_int_equal(room_of(path), room);
    /* More is asked for, or more than there can be. */
    options = (struct uqff_gguf_edit_options){.reserve = room + 1};
    assert_ok(edit_name(path, "five", &options, &way), &err);
    assert_int_equal(way, UQFF_GGUF_EDIT_COPIED);
    assert_true(room_of(path) > room);
    options.reserve = (uint64_t)1 << 30;
    assert_fails(edit_name(path, "six", &options, &way), UQFF_E_LIMIT, &err, "room");
    options.reserve = UINT64_MAX;
    assert_fails(edit_name(path, "six", &options, &way), UQFF_E_LIMIT, &err, "room");
    assert_name(path, "five");
    assert_same_tensors(path, copy);
    assert_int_equal(count_entries(), 2);
    remove_all();
    free(path);
    free(copy);
}

/* Room that is used up is made again when the file is written anew. */
static void test_reserve_used_up(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {.reserve = 1};
    char *path = path_of("m.gguf");
    char *copy = path_of("copy.gguf");
    make_model(path, 256);
    make_model(copy, 256);
    enum uqff_gguf_edit_way way;
    assert_ok(edit_name(path, "four", &options, &way), &err);
    uint64_t room = room_of(path);
    assert_true(room >= 1 && room < 65536 + 256);
    char *name = (char *)calloc((size_t)room + 64, 1);
    assert_non_null(name);
    memset(name, 'h', (size_t)room + 63);
    must_edit(path, name, UQFF_GGUF_EDIT_COPIED);
    assert_true(room_of(path) >= room);
    assert_same_tensors(path, copy);
    free(name);
    remove_all();
    free(path);
    free(copy);
}

/* Padding that is not zero between tensors does not travel with them. */
static void test_gaps(void **state) {
    (void)state;
    char *path = path_of("m.gguf");
    char *copy = path_of("copy.gguf");
    make_model(path, 32);
    struct content sound = content_of(path);
    struct content odd = content_of(path);
    struct uqff_gguf *file = open_model(path);
    const struct uqff_gguf_tensor *tensor = uqff_gguf_tensor(file, 1);
    memset((char *)odd.bytes + tensor->offset + tensor->bytes, '?', 32 - (size_t)tensor->bytes);
    uqff_gguf_close(file);
    write_file(path, odd.bytes, odd.size);
    const struct uqff_gguf_edit_options options = {.output = copy};
    enum uqff_gguf_edit_way way;
    assert_ok(edit_name(path, NULL, &options, &way), &err);
    assert_true(content_is(copy, &sound));
    free(sound.bytes);
    free(odd.bytes);
    remove_all();
    free(path);
    free(copy);
}

/* ---- files that are not as uqff writes them -------------------------------------------------- */

static struct builder old_file(uint32_t version, bool big) {
    struct builder b = begin(version, big, 2, 1);
    put_key(&b, "general.name", UQFF_GGUF_STRING);
    put_string(&b, "four");
    put_row(&b, "second", 4, UQFF_TYPE_F32, 32);
    put_row(&b, "first", 4, UQFF_TYPE_F32, 0);
    put_pad(&b, 32);
    put(&b, "0123456789abcdef", 16);
    put_pad(&b, 32);
    put(&b, "ABCDEFGHIJKLMNOP", 16);
    put_pad(&b, 32);
    return b;
}

static void test_foreign_files(void **state) {
    (void)state;
    char *path = path_of("old.gguf");
    char *copy = path_of("copy.gguf");
    for (uint32_t version = 1; version <= 3; version++) {
        struct builder b = old_file(version, false);
        write_file(path, b.bytes, b.size);
        write_file(copy, b.bytes, b.size);
        free(b.bytes);
        /* Infos are put in order, so the data moves. */
        must_edit(path, "five", UQFF_GGUF_EDIT_COPIED);
        assert_same_tensors(path, copy);
        struct uqff_gguf *file = open_model(path);
        assert_int_equal(uqff_gguf_file_version(file), 3);
        assert_true(uqff_gguf_tensor(file, 0)->offset < uqff_gguf_tensor(file, 1)->offset);
        uqff_gguf_close(file);
    }
    struct builder big = old_file(3, true);
    write_file(path, big.bytes, big.size);
    free(big.bytes);
    enum uqff_gguf_edit_way way;
    static const struct uqff_gguf_edit_options options = {0};
    assert_fails(edit_name(path, "five", &options, &way), UQFF_E_UNSUPPORTED, &err, "big-endian");
    remove_all();
    free(path);
    free(copy);
}

/* A version 2 file has the layout of version 3, so its header is written over as well. */
static void test_version_2(void **state) {
    (void)state;
    char *path = path_of("m.gguf");
    make_model(path, 32);
    struct content content = content_of(path);
    ((unsigned char *)content.bytes)[4] = 2;
    write_file(path, content.bytes, content.size);
    must_edit(path, "five", UQFF_GGUF_EDIT_IN_PLACE);
    struct uqff_gguf *file = open_model(path);
    assert_int_equal(uqff_gguf_file_version(file), 3);
    uqff_gguf_close(file);
    free(content.bytes);
    remove_all();
    free(path);
}

static void test_links(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {0};
    enum uqff_gguf_edit_way way;
    char *path = path_of("m.gguf");
    char *hard = path_of("hard.gguf");
    char *soft = path_of("soft.gguf");
    make_model(path, 32);
    assert_int_equal(symlink("m.gguf", soft), 0);
    assert_fails(edit_name(soft, "five", &options, &way), UQFF_E_NOT_REGULAR, &err,
                 "symbolic link");
    assert_int_equal(link(path, hard), 0);
    must_edit(path, "five", UQFF_GGUF_EDIT_COPIED);
    assert_name(hard, "four");
    remove_all();
    free(path);
    free(hard);
    free(soft);
}

/* ---- sets ------------------------------------------------------------------------------------ */

static void test_set(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {0};
    char *path = path_of("m.gguf");
    char *first = path_of("m-00001-of-00003.gguf");
    char *second = path_of("m-00002-of-00003.gguf");
    make_model(path, 32);
    struct uqff_gguf *file = open_model(path);
    const struct uqff_gguf_split_options split = {.max_tensors = 2};
    char *stem = path_of("m");
    assert_ok(uqff_gguf_split(file, stem, &split, NULL, NULL, &err), &err);
    free(stem);
    uqff_gguf_close(file);
    struct content other = content_of(second);
    must_edit(first, "five", UQFF_GGUF_EDIT_IN_PLACE);
    must_edit(first, "a name that is longer than what padding there is", UQFF_GGUF_EDIT_COPIED);
    assert_true(content_is(second, &other));
    assert_same_tensors(path, first);
    free(other.bytes);

    enum uqff_gguf_edit_way way;
    struct uqff_gguf_edit_options elsewhere = {.output = scratch_file("o.gguf")};
    assert_fails(edit_name(first, "x", &elsewhere, &way), UQFF_E_ARGUMENT, &err, "merge them");
    assert_fails(edit_name(second, "x", &options, &way), UQFF_E_ARGUMENT, &err, "part 2 of 3");
    static const struct {
        const char *key;
        enum uqff_gguf_kind kind;
    } changes[] = {
        {"split.no", UQFF_GGUF_U16},                   /* another value */
        {"split.count", UQFF_GGUF_U32},                /* another kind */
        {"split.tensors.count", UQFF_GGUF_KIND_COUNT}, /* unset */
    };
    for (size_t i = 0; i < 3; i++) {
        struct uqff_gguf_layout *layout = NULL;
        file = open_model(first);
        assert_ok(uqff_gguf_edit_begin(file, &layout, &err), &err);
        if (changes[i].kind == UQFF_GGUF_KIND_COUNT) {
            uqff_gguf_unset(layout, changes[i].key);
        } else {
            assert_ok(uqff_gguf_set_u64(layout, changes[i].key, changes[i].kind, 3, &err), &err);
        }
        assert_fails(uqff_gguf_edit(file, layout, &options, NULL, &way, &err), UQFF_E_ARGUMENT,
                     &err, changes[i].key);
        uqff_gguf_layout_free(layout);
        uqff_gguf_close(file);
    }
    remove_all();
    free(path);
    free(first);
    free(second);
}

/* What merging by other programs leaves behind may be taken out, but not be set. */
static void test_leftover_split_keys(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {0};
    char *path = path_of("merged.gguf");
    struct builder b = begin(3, false, 1, 1);
    put_key(&b, "split.count", UQFF_GGUF_U16);
    put_number(&b, 0, 2);
    put_row(&b, "t", 4, UQFF_TYPE_F32, 0);
    put_pad(&b, 32);
    put_zeros(&b, 32);
    write_file(path, b.bytes, b.size);
    free(b.bytes);
    must_edit(path, "n", UQFF_GGUF_EDIT_COPIED);
    struct uqff_gguf *file = open_model(path);
    struct uqff_gguf_layout *layout = NULL;
    enum uqff_gguf_edit_way way;
    assert_non_null(uqff_gguf_find_value(file, "split.count"));
    assert_ok(uqff_gguf_edit_begin(file, &layout, &err), &err);
    assert_ok(uqff_gguf_set_u64(layout, "split.no", UQFF_GGUF_U16, 0, &err), &err);
    assert_fails(uqff_gguf_edit(file, layout, &options, NULL, &way, &err), UQFF_E_ARGUMENT, &err,
                 "split.no");
    uqff_gguf_unset(layout, "split.no");
    uqff_gguf_unset(layout, "split.count");
    assert_ok(uqff_gguf_edit(file, layout, &options, NULL, &way, &err), &err);
    uqff_gguf_layout_free(layout);
    uqff_gguf_close(file);
    file = open_model(path);
    assert_null(uqff_gguf_find_value(file, "split.count"));
    uqff_gguf_close(file);
    remove_all();
    free(path);
}

/* ---- size ------------------------------------------------------------------------------------ */

/* 70 GiB that are nearly all hole: an edit in place touches the header alone. */
static void test_large(void **state) {
    (void)state;
    char *path = path_of("large.gguf");
    const uint64_t ne = (uint64_t)70 << 28;
    struct uqff_gguf_layout *layout = NULL;
    struct uqff_buffer header = {0};
    assert_ok(uqff_gguf_layout_new(32, &layout, &err), &err);
    assert_ok(uqff_gguf_set_string(layout, "general.name", "four", 4, &err), &err);
    assert_ok(uqff_gguf_layout_add(layout, "t", UQFF_TYPE_F32, &ne, 1, &err), &err);
    assert_ok(uqff_gguf_layout_finish(layout, 0, 0, &err), &err);
    assert_ok(uqff_gguf_layout_header(layout, 0, &header, &err), &err);
    write_file(path, header.data, header.size);
    int whole = truncate(path, (off_t)uqff_gguf_layout_file_bytes(layout, 0));
    uqff_buffer_free(&header);
    uqff_gguf_layout_free(layout);
    if (whole != 0) {
        remove_all();
        free(path);
        skip(); /* the file system has no files of this size */
    }
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    must_edit(path, "five", UQFF_GGUF_EDIT_IN_PLACE);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    assert_true(ended.tv_sec - begun.tv_sec <= 2);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_blocks < 1000);
    remove_all();
    free(path);
}

/* ---- the way back ---------------------------------------------------------------------------- */

/* An edit whose journal cannot be removed, and what each state of the file then means. */
static void test_journal(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {0};
    enum uqff_gguf_edit_way way;
    enum uqff_patch_state found;
    char *path = path_of("m.gguf");
    char *journal = path_of(".m.gguf.uqff-undo");
    make_model(path, 32);
    struct content before = content_of(path);
    assert_ok(uqff_patch_recover(path, &found, &err), &err);
    assert_int_equal(found, UQFF_PATCH_NONE);
    inject(UNLINK, 1, true);
    enum uqff_code code = edit_name(path, "FIVE", &options, &way);
    heal();
    assert_fails(code, UQFF_E_PERMISSION, &err, "is changed, but the journal stays");
    struct content after = content_of(path);
    struct content undo = content_of(journal);
    assert_false(content_is(path, &before));

    /* Complete: it reads, and stays. */
    assert_name(path, "FIVE");
    assert_fails(edit_name(path, "six!", &options, &way), UQFF_E_CHANGED, &err, "cut off");
    assert_ok(uqff_patch_recover(path, &found, &err), &err);
    assert_int_equal(found, UQFF_PATCH_NEW);
    assert_true(content_is(path, &after));
    assert_int_equal(count_entries(), 1);
    /* Not begun. */
    write_file(path, before.bytes, before.size);
    write_file(journal, undo.bytes, undo.size);
    assert_name(path, "four");
    assert_ok(uqff_patch_recover(path, &found, &err), &err);
    assert_int_equal(found, UQFF_PATCH_OLD);
    assert_true(content_is(path, &before));
    assert_int_equal(count_entries(), 1);
    /* Cut off within. */
    struct content torn = content_of(path);
    size_t place = 0;
    while (((char *)before.bytes)[place] == ((char *)after.bytes)[place]) {
        place++;
    }
    ((char *)torn.bytes)[place] = ((char *)after.bytes)[place];
    write_file(path, torn.bytes, torn.size);
    write_file(journal, undo.bytes, undo.size);
    struct uqff_gguf *file = NULL;
    assert_fails(uqff_gguf_open_path(path, NULL, &file, &err), UQFF_E_CHANGED, &err, "cut off");
    assert_ok(uqff_patch_recover(path, &found, &err), &err);
    assert_int_equal(found, UQFF_PATCH_TORN);
    assert_true(content_is(path, &before));
    assert_int_equal(count_entries(), 1);
    /* Another file under the name: it is read, and neither is touched. */
    ((char *)torn.bytes)[place] = '?';
    write_file(path, torn.bytes, torn.size);
    write_file(journal, undo.bytes, undo.size);
    struct warnings warnings = {0};
    const struct uqff_warner warner = {collect, &warnings};
    assert_ok(uqff_gguf_open_path(path, &warner, &file, &err), &err);
    uqff_gguf_close(file);
    assert_non_null(strstr(warnings.text, "journal"));
    assert_fails(uqff_patch_recover(path, &found, &err), UQFF_E_CHANGED, &err, ".m.gguf.uqff-undo");
    assert_true(content_is(path, &torn));
    /* Longer by a byte, or shorter than the journal's range. */
    write_file(path, before.bytes, before.size - 1);
    assert_fails(uqff_patch_recover(path, &found, &err), UQFF_E_CHANGED, &err, "not the file");
    write_file(path, before.bytes, 20);
    assert_fails(uqff_patch_recover(path, &found, &err), UQFF_E_CHANGED, &err, "not the file");
    write_file(path, before.bytes, before.size);
    /* A journal that is none. */
    for (size_t cut = 0; cut < undo.size; cut += 7) {
        write_file(journal, undo.bytes, cut);
        assert_fails(uqff_patch_recover(path, &found, &err), UQFF_E_DIGEST, &err, "journal");
        assert_name(path, "four");
    }
    for (size_t i = 0; i < undo.size; i++) {
        ((char *)undo.bytes)[i] ^= 4;
        write_file(journal, undo.bytes, undo.size);
        assert_fails(uqff_patch_recover(path, &found, &err), UQFF_E_DIGEST, &err, "journal");
        ((char *)undo.bytes)[i] ^= 4;
    }
    assert_true(content_is(path, &before));
    free(torn.bytes);
    free(undo.bytes);
    free(before.bytes);
    free(after.bytes);
    remove_all();
    free(path);
    free(journal);
}

/* The machine stops while the header is written: nothing works from the n-th write on, not even
 * putting the old bytes back. */
static void test_cut_off(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {0};
    enum uqff_gguf_edit_way way;
    enum uqff_patch_state found;
    char *path = path_of("m.gguf");
    make_model(path, 32);
    struct content before = content_of(path);
    size_t torn = 0;
    for (size_t n = 1;; n++) {
        inject(WRITE, n, true);
        enum uqff_code code = edit_name(path, "FIVE", &options, &way);
        size_t calls = heal();
        if (calls < n) {
            assert_int_equal(code, UQFF_OK);
            break;
        }
        assert_int_equal(code, UQFF_E_NO_SPACE);
        assert_ok(uqff_patch_look(path, &found, &err), &err);
        if (found == UQFF_PATCH_TORN) {
            struct uqff_gguf *file = NULL;
            assert_fails(uqff_gguf_open_path(path, NULL, &file, &err), UQFF_E_CHANGED, &err,
                         "cut off");
            torn++;
        }
        assert_ok(uqff_patch_recover(path, &found, &err), &err);
        assert_true(content_is(path, &before));
        assert_int_equal(count_entries(), 1);
    }
    assert_true(torn > 0);
    assert_name(path, "FIVE");
    free(before.bytes);
    remove_all();
    free(path);
}

/* The n-th call of every kind fails, once and from then on. After recovering, the file is the old
 * one or the new one, the new one if the edit says so, and nothing else is there. */
static void fault_edit(const char *name, enum fault kind, bool stays) {
    static const struct uqff_gguf_edit_options options = {0};
    char *path = path_of("m.gguf");
    make_model(path, 32);
    struct content before = content_of(path);
    enum uqff_gguf_edit_way way;
    assert_ok(edit_name(path, name, &options, &way), &err);
    struct content after = content_of(path);
    for (size_t n = 1;; n++) {
        write_file(path, before.bytes, before.size);
        inject(kind, n, stays);
        enum uqff_code code = edit_name(path, name, &options, &way);
        size_t calls = heal();
        enum uqff_patch_state found;
        if (code != UQFF_OK) {
            assert_true(err.text[0] != '\0');
        }
        assert_ok(uqff_patch_recover(path, &found, &err), &err);
        bool is_new = content_is(path, &after);
        if (!is_new && !content_is(path, &before)) {
            fail_msg("fault %d, call %zu: the file is neither old nor new", (int)kind, n);
        }
        assert_true(code != UQFF_OK || is_new);
        /* A temporary file stays only where removing files is what fails. */
        if (kind != UNLINK) {
            assert_int_equal(count_entries(), 1);
        }
        remove_all();
        if (calls < n) {
            assert_int_equal(code, UQFF_OK);
            break;
        }
    }
    free(before.bytes);
    free(after.bytes);
    free(path);
}

static void test_faults_in_place(void **state) {
    (void)state;
    for (int kind = 0; kind < FAULTS; kind++) {
        fault_edit("five", (enum fault)kind, false);
        if (kind != ALLOCATION) {
            fault_edit("five", (enum fault)kind, true);
        }
    }
}

static void test_faults_copying(void **state) {
    (void)state;
    for (int kind = 0; kind < FAULTS; kind++) {
        fault_edit("a name that is longer than what padding there is", (enum fault)kind, false);
    }
}

/* Another process holds the file. */
static void test_lock(void **state) {
    (void)state;
    static const struct uqff_gguf_edit_options options = {0};
    enum uqff_gguf_edit_way way;
    char *path = path_of("m.gguf");
    make_model(path, 32);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_fails(edit_name(path, "five", &options, &way), UQFF_E_CHANGED, &err, "another process");
    close(fd);
    must_edit(path, "five", UQFF_GGUF_EDIT_IN_PLACE);
    remove_all();
    free(path);
}

/* The file changes between reading and writing. */
static void test_changed(void **state) {
    (void)state;
    char *path = path_of("m.gguf");
    make_model(path, 32);
    struct content content = content_of(path);
    const char *bytes = (const char *)content.bytes;
    assert_fails(uqff_patch_file(path, 8, "........", "12345678", 8, &err), UQFF_E_CHANGED, &err,
                 "changed since");
    assert_fails(uqff_patch_file(path, content.size - 4, bytes, bytes, 8, &err), UQFF_E_CHANGED,
                 &err, "not what the edit");
    assert_true(content_is(path, &content));
    assert_ok(
        uqff_patch_file(path, content.size - 8, bytes + content.size - 8, "12345678", 8, &err),
        &err);
    assert_false(content_is(path, &content));
    assert_fails(uqff_patch_file(scratch(), 0, "", "", 0, &err), UQFF_E_NOT_REGULAR, &err, "");
    free(content.bytes);
    remove_all();
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_copied),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_names_of_keys),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_reserve_used_up),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_leftover_split_keys),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_faults_in_place),
        cmocka_unit_test(test_faults_copying),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
