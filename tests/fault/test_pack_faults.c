/* Packing, exporting and editing under faults: the n-th allocation, read, write, flush, rename
 * fails, for every n. Each time there is a clean error, and what was there before is all that is
 * there after. */
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "libuqff/base/os.h"
#include "tests/unit/test_pack_support.h"

/* ---- faults ---------------------------------------------------------------------------------- */

static atomic_size_t calls; /* of the kind at hand */
static size_t fail_at;

static bool fails_now(void) {
    return atomic_fetch_add(&calls, 1) + 1 == fail_at;
}

static ssize_t faulty_read(int fd, void *out, size_t n, off_t offset) {
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return uqff_os_default.read(fd, out, n, offset);
}

static ssize_t faulty_write(int fd, const void *bytes, size_t n, off_t offset) {
    if (fails_now()) {
        errno = ENOSPC;
        return -1;
    }
    return uqff_os_default.write(fd, bytes, n, offset);
}

static ssize_t faulty_copy(int from, off_t at, int to, off_t there, size_t n) {
    if (fails_now()) {
        errno = ENOSPC;
        return -1;
    }
    return uqff_os_default.copy(from, at, to, there, n);
}

/* No power fails here, and thousands of runs would wait for the disk. */
static int no_sync(int fd) {
    (void)fd;
    return 0;
}

static int faulty_sync(int fd) {
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return no_sync(fd);
}

static int faulty_rename(int directory, const char *from, const char *to, bool replace) {
    if (fails_now()) {
        errno = EACCES;
        return -1;
    }
    return uqff_os_default.rename(directory, from, to, replace);
}

static int faulty_open(int directory, const char *name, int flags, mode_t mode) {
    if (fails_now()) {
        errno = EMFILE;
        return -1;
    }
    return uqff_os_default.open_at(directory, name, flags, mode);
}

enum fault { ALLOCATION, READ, WRITE, COPY, SYNC, RENAME, OPEN, FAULTS };
static const char *const fault_names[] = {"allocation", "read",   "write", "copy",
                                          "flush",      "rename", "open"};

static void inject(enum fault fault, size_t n) {
    calls = 0;
    fail_at = n;
    uqff_os.sync = no_sync;
    switch (fault) {
    case ALLOCATION:
        fail_allocation(n);
        break;
    case READ:
        uqff_os.read = faulty_read;
        break;
    case WRITE:
        uqff_os.write = faulty_write;
        break;
    case COPY:
        uqff_os.copy = faulty_copy;
        break;
    case SYNC:
        uqff_os.sync = faulty_sync;
        break;
    case RENAME:
        uqff_os.rename = faulty_rename;
        break;
    case OPEN:
        uqff_os.open_at = faulty_open;
        break;
    case FAULTS:
        break;
    }
}

/* Ends the injection; true when the fault was met. */
static bool was_met(enum fault fault, size_t n) {
    uqff_os = uqff_os_default;
    if (fault == ALLOCATION) {
        calls = fail_allocation(0);
    }
    return calls >= n;
}

/* ---- operations ------------------------------------------------------------------------------ */

/* One run that is to be disturbed. `prepare` makes what must be there before, in an empty
 * directory. */
struct operation {
    const char *name;
    bool replaces; /* a file that was there */
    void (*prepare)(const char *directory);
    enum uqff_code (*run)(const char *directory, struct uqff_error *err);
};

static const char *tiny; /* the model */
static const char *told; /* the same with a tokenizer */
static const char *const two[] = {"q8_0", "bf16"};

static void prepare_nothing(const char *directory) {
    (void)directory;
}

static enum uqff_code pack_as(enum uqff_pack_format format, const char *output, unsigned threads,
                              struct uqff_error *err) {
    struct uqff_model *model = NULL;
    struct uqff_model_options open = {0};
    enum uqff_code code = uqff_model_open(tiny, &open, &model, err);
    if (code != UQFF_OK) {
        return code;
    }
    struct uqff_pack_options options = pack_options(output, two, COUNT(two));
    options.format = format;
    options.sidecars = true;
    options.threads = threads;
    /* Several slabs and several shards, so that faults fall between them too. */
    options.memory = 8192;
    options.max_shard = 48 << 10;
    options.compress_assets = true;
    code = try_pack(model, &options, err);
    uqff_model_close(model);
    return code;
}

static enum uqff_code run_multi(const char *directory, struct uqff_error *err) {
    char path[600];
    snprintf(path, sizeof path, "%s/m.uqff", directory);
    return pack_as(UQFF_PACK_UQFF, path, 1, err);
}

/* Whoever meets the fault, the others end as well. */
static enum uqff_code run_threads(const char *directory, struct uqff_error *err) {
    char path[600];
    snprintf(path, sizeof path, "%s/m.uqff", directory);
    return pack_as(UQFF_PACK_UQFF, path, 3, err);
}

static enum uqff_code run_plain(const char *directory, struct uqff_error *err) {
    char path[600];
    snprintf(path, sizeof path, "%s/out", directory);
    return pack_as(UQFF_PACK_MISTRALRS, path, 1, err);
}

static enum uqff_code pack_gguf(const char *model_path, struct uqff_pack_options *options,
                                struct uqff_error *err) {
    struct uqff_model *model = NULL;
    struct uqff_model_options open = {0};
    enum uqff_code code = uqff_model_open(model_path, &open, &model, err);
    if (code == UQFF_OK) {
        options->format = UQFF_PACK_GGUF;
        options->threads = 1;
        options->max_shard = 48 << 10;
        code = try_pack(model, options, err);
    }
    uqff_model_close(model);
    return code;
}

static enum uqff_code run_gguf(const char *directory, struct uqff_error *err) {
    struct uqff_pack_options options = pack_options(directory, two, COUNT(two));
    options.memory = 8192;
    return pack_gguf(told, &options, err);
}

static void prepare_gguf(const char *directory) {
    char path[600];
    snprintf(path, sizeof path, "%s/in.gguf", directory);
    struct uqff_pack_options options = pack_options(path, two, 1);
    options.format = UQFF_PACK_GGUF;
    pack(told, &options);
}

/* Copies what stays, and encodes the rest again. */
static enum uqff_code run_regguf(const char *directory, struct uqff_error *err) {
    char in[600], out[600];
    const struct uqff_type_rule rule = {"attn_k", UQFF_TYPE_Q4_0};
    snprintf(in, sizeof in, "%s/in.gguf", directory);
    snprintf(out, sizeof out, "%s/out.gguf", directory);
    struct uqff_pack_options options = pack_options(out, two, 1);
    options.recipe.rules = &rule;
    options.recipe.rule_count = 1;
    options.allow_requantize = true;
    return pack_gguf(in, &options, err);
}

static void prepare_multi(const char *directory) {
    char path[600];
    snprintf(path, sizeof path, "%s/in.uqff", directory);
    struct uqff_pack_options options = pack_options(path, two, COUNT(two));
    pack(tiny, &options);
}

static enum uqff_code run_export(const char *directory, struct uqff_error *err) {
    char in[600], out[600];
    snprintf(in, sizeof in, "%s/in.uqff", directory);
    snprintf(out, sizeof out, "%s/out", directory);
    struct uqff_model *model = NULL;
    struct uqff_model_options open = {0};
    enum uqff_code code = uqff_model_open(in, &open, &model, err);
    if (code == UQFF_OK) {
        struct uqff_export_options options = {
            .format = UQFF_EXPORT_SAFETENSORS,
            .output = out,
            .dtype = uqff_type_info(UQFF_TYPE_F32),
            .max_shard = 64 << 10,
            .threads = 1,
        };
        code = uqff_export(model, &options, NULL, err);
    }
    uqff_model_close(model);
    return code;
}

static enum uqff_code run_edit(const char *directory, struct uqff_error *err) {
    char in[600];
    snprintf(in, sizeof in, "%s/in.uqff", directory);
    static const char *const add[] = {"q4_0"};
    struct uqff_model *model = NULL;
    struct uqff_model_options open = {0};
    enum uqff_code code = uqff_model_open(tiny, &open, &model, err);
    if (code == UQFF_OK) {
        struct uqff_pack_options options = pack_options(NULL, NULL, 0);
        options.threads = 1;
        struct uqff_variants_edit edit = {
            .add = add,
            .add_count = 1,
            .from = model,
            .default_variant = "bf16",
            .pack = &options,
        };
        code = uqff_variants_rewrite(in, &edit, NULL, err);
    }
    uqff_model_close(model);
    return code;
}

static const struct operation operations[] = {
    {"pack", false, prepare_nothing, run_multi},
    {"pack for mistral.rs", false, prepare_nothing, run_plain},
    {"export", false, prepare_multi, run_export},
    {"edit", true, prepare_multi, run_edit},
    {"pack as GGUF", false, prepare_nothing, run_gguf},
    {"pack from GGUF", false, prepare_gguf, run_regguf},
    {"pack with threads", false, prepare_nothing, run_threads},
};

/* ---- every n --------------------------------------------------------------------------------- */

/* Names, sizes and content of all files, in one digest. */
static struct uqff_digest fingerprint(const char *directory) {
    struct uqff_arena arena = {0};
    struct uqff_error err;
    struct uqff_buffer all = {0};
    const char **names = NULL;
    size_t count = 0;
    assert_ok(uqff_list_directory(directory, &arena, &names, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        uqff_buffer_append(&all, names[i], strlen(names[i]) + 1);
        if (!uqff_path_is_directory(path)) {
            size_t size = 0;
            char *content = read_file(path, &size);
            uqff_buffer_append(&all, content, size);
            free(content);
        }
    }
    struct uqff_digest digest = uqff_hash(all.data != NULL ? all.data : "", all.size);
    uqff_buffer_free(&all);
    uqff_arena_free(&arena);
    return digest;
}

/* A fresh directory with what the operation needs. */
static struct uqff_digest prepare(const struct operation *operation, char directory[512]) {
    static unsigned serial;
    struct uqff_error err;
    char name[32];
    snprintf(name, sizeof name, "fault%u", serial++);
    snprintf(directory, 512, "%s", scratch_file(name));
    assert_ok(uqff_make_directory(directory, &err), &err);
    operation->prepare(directory);
    return fingerprint(directory);
}

static void disturb(const struct operation *operation, enum fault fault) {
    char directory[512];
    struct uqff_error err = {0};
    struct uqff_digest before = prepare(operation, directory);
    for (size_t n = 1;; n++) {
        inject(fault, n);
        enum uqff_code code = operation->run(directory, &err);
        bool met = was_met(fault, n);
        if (!met) {
            assert_ok(code, &err);
            assert_true(n > 1 || fault == COPY);
            return;
        }
        if (code != UQFF_OK && (err.text[0] == '\0' || err.code != code)) {
            fail_msg("%s, %s %zu: failed without a text", operation->name, fault_names[fault], n);
        }
        if (code != UQFF_OK && fault == ALLOCATION && code != UQFF_E_MEMORY) {
            fail_msg("%s, allocation %zu: '%s'", operation->name, n, err.text);
        }
        struct uqff_digest after = fingerprint(directory);
        bool changed = !uqff_digest_equal(&before, &after);
        /* Some faults have another way out. And once a new file has replaced an old one, a
         * directory that cannot be flushed is an error, but no reason to take the new one away. */
        bool finished =
            code == UQFF_OK || (operation->replaces && strstr(err.text, "is in place") != NULL);
        if (changed && !finished) {
            fail_msg("%s, %s %zu (%s): something was left or changed", operation->name,
                     fault_names[fault], n, err.text);
        }
        if (changed) {
            before = prepare(operation, directory);
        }
    }
}

static void test_faults(void **state) {
    const struct operation *operation = *state;
    for (enum fault fault = ALLOCATION; fault < FAULTS; fault++) {
        disturb(operation, fault);
    }
}

static int make_model(void **state) {
    (void)state;
    tiny = tiny_qwen2_model("model");
    told = tiny_qwen2_model("told");
    add_tiny_tokenizer(told, LLAMA3_RULE);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_faults, (void *)&operations[0]),
        cmocka_unit_test_prestate(test_faults, (void *)&operations[1]),
        cmocka_unit_test_prestate(test_faults, (void *)&operations[2]),
        cmocka_unit_test_prestate(test_faults, (void *)&operations[3]),
        cmocka_unit_test_prestate(test_faults, (void *)&operations[4]),
        cmocka_unit_test_prestate(test_faults, (void *)&operations[5]),
        cmocka_unit_test_prestate(test_faults, (void *)&operations[6]),
    };
    return cmocka_run_group_tests(tests, make_model, NULL);
}
