/* Writing a container and reading it back; shard sets; the corpus. */
#include "unit/test_container_builder.h"

#include <zlib.h>

#include "libuqff/container/internal.h"

static struct uqff_container *open_ok(const char *path) {
    struct uqff_error err;
    struct uqff_container *container;
    struct warnings warnings = {0};
    struct uqff_warner warner = {collect_warning, &warnings};
    struct uqff_container_options options = {.warner = &warner};
    assert_ok(uqff_container_open(path, &options, &container, &err), &err);
    if (warnings.count > 0) {
        fail_msg("unexpected warning: %s", warnings.text);
    }
    return container;
}

/* The content of an entry as the reader finds it. */
static unsigned char *read_entry(const struct uqff_container *container, struct uqff_entry entry) {
    struct uqff_error err;
    unsigned char *bytes = malloc((size_t)entry.tensor->bytes + 1);
    assert_non_null(bytes);
    struct uqff_source *source =
        uqff_safetensors_source(uqff_container_shard(container, entry.shard));
    assert_ok(
        uqff_source_read(source, entry.tensor->offset, bytes, (size_t)entry.tensor->bytes, &err),
        &err);
    return bytes;
}

static void assert_content(const struct uqff_container *container, struct uqff_entry entry,
                           const struct uqff_container_plan *plan, enum uqff_plan_kind kind,
                           size_t index, uint32_t type) {
    size_t i = uqff_container_plan_find(plan, kind, index, type);
    assert_true(i != UQFF_NONE);
    const struct uqff_plan_entry *planned = uqff_container_plan_entry(plan, i);
    assert_int_equal(planned->bytes, entry.tensor->bytes);
    assert_int_equal(planned->offset, entry.tensor->offset);
    assert_int_equal(planned->shard, entry.shard);
    assert_string_equal(planned->name, entry.tensor->name);
    unsigned char *expected = content(planned), *found = read_entry(container, entry);
    assert_memory_equal(expected, found, (size_t)planned->bytes);
    struct uqff_digest digest, computed = uqff_hash(found, (size_t)planned->bytes);
    if (uqff_container_is_multi(container)) {
        assert_true(uqff_container_entry_digest(container, entry, &digest));
        assert_memory_equal(digest.bytes, computed.bytes, sizeof digest.bytes);
    } else {
        assert_false(uqff_container_entry_digest(container, entry, &digest));
    }
    free(expected);
    free(found);
}

static void assert_modules(const struct uqff_container *container,
                           const struct uqff_container_spec *spec,
                           const struct uqff_container_plan *plan) {
    assert_int_equal(uqff_container_module_count(container), spec->module_count);
    for (size_t m = 0; m < spec->module_count; m++) {
        const struct uqff_module *found = uqff_container_module(container, m);
        const struct uqff_spec_module *module = &spec->modules[m];
        assert_string_equal(found->name, module->name);
        assert_int_equal(uqff_container_find_module(container, module->name), m);
        assert_int_equal(found->rank, module->rank);
        assert_memory_equal(found->shape, module->shape, module->rank * sizeof *module->shape);
        assert_int_equal(found->has_bias, module->has_bias);
        if (module->has_bias && spec->multi && spec->default_variant == UQFF_NONE) {
            assert_content(container, found->bias, plan, UQFF_PLAN_RESIDUAL_BIAS, m, 0);
        } else if (module->has_bias) {
            assert_content(container, found->bias, plan, UQFF_PLAN_BIAS, m, 0);
        }
    }
}

static void assert_variants(const struct uqff_container *container,
                            const struct uqff_container_spec *spec,
                            const struct uqff_container_plan *plan) {
    assert_int_equal(uqff_container_variant_count(container), spec->variant_count);
    for (size_t v = 0; v < spec->variant_count; v++) {
        const struct uqff_variant *variant = uqff_container_variant(container, v);
        uint64_t bytes = 0, weights = 0;
        for (size_t m = 0; m < spec->module_count; m++) {
            const struct uqff_blob *blob = uqff_container_blob(container, variant->blobs[m]);
            assert_int_equal(blob->module, m);
            assert_int_equal(blob->type, spec->variants[v].types[m]);
            assert_string_equal(blob->label, uqff_type_label(blob->type));
            assert_content(container, blob->entry, plan, UQFF_PLAN_BLOB, m, blob->type);
            bytes += blob->bytes;
            weights += uqff_container_module(container, m)->weights;
        }
        assert_int_equal(variant->bytes, bytes);
        assert_int_equal(variant->weights, weights);
        if (spec->multi) {
            assert_string_equal(variant->name, spec->variants[v].name);
            assert_string_equal(variant->recipe, spec->variants[v].recipe);
            assert_int_equal(variant->type, spec->variants[v].type);
            assert_int_equal(uqff_container_find_variant(container, variant->name), v);
        }
    }
}

static size_t find_residual(const struct uqff_container *container, const char *name) {
    for (size_t i = 0; i < uqff_container_residual_count(container); i++) {
        if (strcmp(uqff_container_residual(container, i)->name, name) == 0) {
            return i;
        }
    }
    return UQFF_NONE;
}

static void assert_extras(const struct uqff_container *container,
                          const struct uqff_container_spec *spec,
                          const struct uqff_container_plan *plan) {
    size_t biases = 0;
    for (size_t m = 0; m < spec->module_count; m++) {
        const struct uqff_spec_module *module = &spec->modules[m];
        char name[256];
        snprintf(name, sizeof name, "%s.bias", module->name);
        bool kept =
            module->has_bias && (module->bias_kept_exactly || spec->default_variant == UQFF_NONE);
        size_t i = find_residual(container, name);
        assert_int_equal(i != UQFF_NONE, kept);
        if (kept) {
            biases++;
            assert_content(container, uqff_container_residual(container, i)->entry, plan,
                           UQFF_PLAN_RESIDUAL_BIAS, m, 0);
        }
    }
    assert_int_equal(uqff_container_residual_count(container), spec->residual_count + biases);
    for (size_t i = 0; i < spec->residual_count; i++) {
        size_t found = find_residual(container, spec->residual[i].name);
        assert_true(found != UQFF_NONE);
        assert_content(container, uqff_container_residual(container, found)->entry, plan,
                       UQFF_PLAN_RESIDUAL, i, 0);
    }
    assert_int_equal(uqff_container_asset_count(container), spec->asset_count);
    for (size_t i = 0; i < spec->asset_count; i++) {
        size_t found = 0;
        while (strcmp(uqff_container_asset(container, found)->path, spec->assets[i].path) != 0) {
            found++;
            assert_true(found < spec->asset_count);
        }
        assert_int_equal(uqff_container_asset(container, found)->compressed,
                         spec->assets[i].compressed);
        assert_content(container, uqff_container_asset(container, found)->entry, plan,
                       UQFF_PLAN_ASSET, i, 0);
    }
}

/* Writes, reads back and compares everything. Returns the number of shards. */
static size_t round_trip(const struct uqff_container_spec *spec, const char *directory) {
    struct uqff_error err;
    struct uqff_container_plan *plan;
    assert_ok(uqff_container_plan_new(spec, &plan, &err), &err);
    assert_ok(write_spec(spec, directory, false, &err), &err);
    size_t shards = uqff_container_plan_shard_count(plan);
    assert_int_equal(count_files(directory), shards);
    for (size_t s = 0; s < shards; s++) {
        size_t size;
        free(read_file(in_directory(directory, uqff_container_plan_shard_name(plan, s)), &size));
        assert_int_equal(size, uqff_container_plan_shard_bytes(plan, s));
    }
    /* Any shard opens the set. */
    const char *last = uqff_container_plan_shard_name(plan, shards - 1);
    struct uqff_container *container = open_ok(in_directory(directory, last));
    assert_int_equal(uqff_container_shard_count(container), shards);
    assert_int_equal(uqff_container_is_multi(container), spec->multi);
    assert_int_equal(uqff_container_default(container), spec->multi ? spec->default_variant : 0);
    uint32_t version[3];
    uqff_container_version(container, version);
    assert_int_equal(version[0] * 100 + version[1] * 10 + version[2], 120);
    assert_string_equal(uqff_container_metadata(container, "uqff.producer"), "uqff");
    assert_modules(container, spec, plan);
    assert_variants(container, spec, plan);
    if (spec->multi) {
        assert_extras(container, spec, plan);
        for (size_t s = 0; s < shards; s++) {
            struct uqff_digest stored, found;
            found = uqff_safetensors_header_digest(uqff_container_shard(container, s));
            assert_true(uqff_container_header_digest(container, s, &stored));
            assert_memory_equal(stored.bytes, found.bytes, sizeof stored.bytes);
        }
    }
    uqff_container_close(container);
    uqff_container_plan_free(plan);
    return shards;
}

static void test_multi(void **state) {
    (void)state;
    struct uqff_container_spec spec = tiny_spec();
    assert_int_equal(round_trip(&spec, fresh_directory("multi")), 1);
    spec.alignment = 4096;
    assert_int_equal(round_trip(&spec, fresh_directory("multi-4096")), 1);
    spec.default_variant = 1;
    spec.residual_count = 0;
    spec.asset_count = 0;
    assert_int_equal(round_trip(&spec, fresh_directory("multi-q8")), 1);
}

static void test_multi_without_default(void **state) {
    (void)state;
    struct uqff_container_spec spec = tiny_spec();
    spec.default_variant = UQFF_NONE;
    assert_int_equal(round_trip(&spec, fresh_directory("multi-none")), 1);
    spec.max_shard = 8192;
    assert_true(round_trip(&spec, fresh_directory("multi-none-shards")) > 1);
}

static void test_multi_shards(void **state) {
    (void)state;
    struct uqff_container_spec spec = tiny_spec();
    struct uqff_error err;
    struct uqff_container_plan *plan;
    spec.max_shard = 12000;
    size_t shards = round_trip(&spec, fresh_directory("multi-shards"));
    assert_true(shards > 2);
    assert_ok(uqff_container_plan_new(&spec, &plan, &err), &err);
    for (size_t s = 0; s < shards; s++) {
        assert_true(uqff_container_plan_shard_bytes(plan, s) <= spec.max_shard);
    }
    uqff_container_plan_free(plan);
}

static void test_plain(void **state) {
    (void)state;
    struct uqff_container_spec spec = tiny_plain_spec();
    const char *directory = fresh_directory("plain");
    assert_int_equal(round_trip(&spec, directory), 1);
    struct uqff_container *container = open_ok(in_directory(directory, "tiny-0.uqff"));
    assert_string_equal(uqff_container_variant(container, 0)->name, "tiny");
    assert_string_equal(uqff_container_variant(container, 0)->recipe, "");
    assert_int_equal(uqff_container_variant(container, 0)->type, UQFF_TYPE_Q4_K);
    uqff_container_close(container);
    spec.max_shard = 2000;
    assert_true(round_trip(&spec, fresh_directory("plain-shards")) > 2);
}

/* The same spec gives the same bytes, and no entry depends on the order of the calls. */
static void test_same_bytes(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container_spec spec = tiny_spec();
    const char *one = fresh_directory("same-1"), *two = fresh_directory("same-2");
    size_t m, n;
    assert_ok(write_spec(&spec, one, false, &err), &err);
    assert_ok(write_spec(&spec, two, false, &err), &err);
    char *a = read_file(in_directory(one, "tiny.uqff"), &m);
    char *b = read_file(in_directory(two, "tiny.uqff"), &n);
    assert_int_equal(m, n);
    assert_memory_equal(a, b, m);
    free(a);
    free(b);
}

struct parallel_fill {
    const struct uqff_container_plan *plan;
    struct uqff_container_writer *writer;
};

static enum uqff_code fill_entry(void *context, size_t i, unsigned thread, struct uqff_error *err) {
    const struct parallel_fill *f = context;
    const struct uqff_plan_entry *entry = uqff_container_plan_entry(f->plan, i);
    enum uqff_code code = UQFF_OK;
    (void)thread;
    for (uint64_t k = 0; by_caller(entry) && k < entry->bytes && code == UQFF_OK; k += 100) {
        unsigned char piece[100];
        size_t n = entry->bytes - k < 100 ? (size_t)(entry->bytes - k) : 100;
        for (size_t j = 0; j < n; j++) {
            piece[j] = content_byte(entry, k + j);
        }
        code = uqff_container_writer_append(f->writer, i, piece, n, err);
    }
    return code;
}

/* Entries filled by several threads at once, in pieces of another size. */
static void test_threads(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container_spec spec = tiny_spec();
    struct uqff_container_plan *plan;
    struct uqff_container_writer *writer;
    const char *one = fresh_directory("thread-1"), *many = fresh_directory("thread-4");
    size_t m, n;
    assert_ok(write_spec(&spec, one, false, &err), &err);
    assert_ok(uqff_container_plan_new(&spec, &plan, &err), &err);
    assert_ok(uqff_container_writer_new(plan, many, false, &writer, &err), &err);
    struct parallel_fill fill_context = {plan, writer};
    assert_ok(
        uqff_parallel_for(uqff_container_plan_count(plan), 4, fill_entry, &fill_context, &err),
        &err);
    assert_ok(uqff_container_writer_publish(writer, &err), &err);
    uqff_container_writer_free(writer);
    uqff_container_plan_free(plan);
    char *a = read_file(in_directory(one, "tiny.uqff"), &m);
    char *b = read_file(in_directory(many, "tiny.uqff"), &n);
    assert_int_equal(m, n);
    assert_memory_equal(a, b, m);
    free(a);
    free(b);
}

static void test_corpus(void **state) {
    (void)state;
    size_t count;
    const struct bad_case *cases = bad_cases("uqff", &count);
    assert_true(count >= 12);
    for (size_t i = 0; i < count; i++) {
        struct uqff_error err = {0};
        struct uqff_container *container = NULL;
        enum uqff_code code = uqff_container_open(bad_file(cases[i].file), NULL, &container, &err);
        bool accepted = code == UQFF_OK;
        if (accepted != (strcmp(cases[i].verdict, "accept") == 0)) {
            fail_msg("%s (%s): expected %s, found '%s'", cases[i].file, cases[i].reason,
                     cases[i].verdict, accepted ? "accepted" : err.text);
        }
        if (!accepted) {
            assert_int_equal(err.code, code);
            assert_int_equal(uqff_code_family(code), UQFF_FAMILY_INPUT);
            assert_non_null(strstr(err.text, cases[i].file));
            assert_null(strchr(err.text, '\n'));
        }
        uqff_container_close(container);
    }
}

static void test_corpus_names_old_files(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container *container;
    struct uqff_container_options newer = {.allow_newer_minor = true};
    assert_fails(uqff_container_open(bad_file("u_old_numeric_names.uqff"), NULL, &container, &err),
                 UQFF_E_VERSION, &err, "a pre-1.0 UQFF file");
    assert_fails(
        uqff_container_open(bad_file("u_version_minor_newer.uqff"), NULL, &container, &err),
        UQFF_E_VERSION, &err, "1.0 to 1.2");
    assert_ok(uqff_container_open(bad_file("u_version_minor_newer.uqff"), &newer, &container, &err),
              &err);
    uqff_container_close(container);
    assert_fails(uqff_container_open(bad_file("u_format_unknown.uqff"), NULL, &container, &err),
                 UQFF_E_TYPE, &err, "200");
}

static void test_shard_sets(void **state) {
    (void)state;
    struct uqff_error err;
    struct uqff_container *container;
    struct uqff_container_spec spec = tiny_spec();
    size_t stem;
    uint64_t number;
    assert_true(uqff_shard_name_parse("a-b-12.uqff", &stem, &number));
    assert_int_equal(stem, 3);
    assert_int_equal(number, 12);
    assert_false(uqff_shard_name_parse("-0.uqff", &stem, &number));
    assert_false(uqff_shard_name_parse("a-01.uqff", &stem, &number));
    assert_false(uqff_shard_name_parse("a.uqff", &stem, &number));
    assert_false(uqff_shard_name_parse("a-1.gguf", &stem, &number));
    assert_false(uqff_shard_name_parse("a-99999999999999999999.uqff", &stem, &number));
    assert_false(uqff_shard_name_parse("", &stem, &number));

    spec.max_shard = 6000;
    const char *directory = fresh_directory("sets");
    assert_true(round_trip(&spec, directory) > 3);
    char kept[1024];
    snprintf(kept, sizeof kept, "%s", in_directory(directory, "tiny-0.uqff"));
    /* A gap is named. */
    assert_int_equal(rename(in_directory(directory, "tiny-1.uqff"), in_directory(directory, "x")),
                     0);
    assert_fails(uqff_container_open(kept, NULL, &container, &err), UQFF_E_MISSING, &err,
                 "'tiny-1.uqff' is missing");
    assert_fails(
        uqff_container_open(in_directory(directory, "tiny-1.uqff"), NULL, &container, &err),
        UQFF_E_MISSING, &err, "'tiny-1.uqff' is missing");
    assert_fails(
        uqff_container_open(in_directory(directory, "tiny-99.uqff"), NULL, &container, &err),
        UQFF_E_NOT_FOUND, &err, "tiny-99.uqff");
    /* So is a name that two shards have. */
    size_t n;
    char *bytes = read_file(kept, &n);
    write_file(in_directory(directory, "tiny-1.uqff"), bytes, n);
    free(bytes);
    assert_fails(uqff_container_open(kept, NULL, &container, &err), UQFF_E_DUPLICATE, &err,
                 "tiny-0.uqff");
}

/* ---- side files ------------------------------------------------------------------------------ */

struct asset_case {
    const char *text;
    size_t size;
    int repeat; /* of text */
    int cut;    /* bytes taken from the end of the stream */
    int tail;   /* bytes put behind it */
    enum uqff_code code;
    const char *needle;
};

static void check_asset(const struct asset_case *c, const char *directory) {
    struct uqff_error err;
    size_t size = c->size * (size_t)c->repeat;
    unsigned char *text = malloc(size + 1), *stream = malloc(compressBound(size) + 8);
    for (int i = 0; i < c->repeat; i++) {
        memcpy(text + (size_t)i * c->size, c->text, c->size);
    }
    uLongf n = compressBound(size);
    assert_int_equal(compress2(stream, &n, text, size, 9), Z_OK);
    memset(stream + n, 'x', 8);
    n = n - (uLongf)c->cut + (uLongf)c->tail;
    struct uqff_container_spec spec = tiny_spec();
    struct uqff_spec_asset asset = {.path = "tokenizer.json", .size = n, .compressed = true};
    spec.assets = &asset;
    spec.asset_count = 1;
    struct uqff_container_plan *plan;
    struct uqff_container_writer *writer;
    assert_ok(uqff_container_plan_new(&spec, &plan, &err), &err);
    assert_ok(uqff_container_writer_new(plan, directory, true, &writer, &err), &err);
    for (size_t i = 0; i < uqff_container_plan_count(plan); i++) {
        const struct uqff_plan_entry *entry = uqff_container_plan_entry(plan, i);
        if (by_caller(entry)) {
            unsigned char *bytes = content(entry);
            assert_ok(uqff_container_writer_append(writer, i,
                                                   entry->kind == UQFF_PLAN_ASSET ? stream : bytes,
                                                   (size_t)entry->bytes, &err),
                      &err);
            free(bytes);
        }
    }
    assert_ok(uqff_container_writer_publish(writer, &err), &err);
    uqff_container_writer_free(writer);
    uqff_container_plan_free(plan);
    struct uqff_container *container = open_ok(in_directory(directory, "tiny.uqff"));
    char *out = NULL;
    size_t out_size = 0;
    enum uqff_code code = uqff_container_read_asset(container, 0, &out, &out_size, &err);
    if (c->code == UQFF_OK) {
        assert_ok(code, &err);
        assert_int_equal(out_size, size);
        assert_memory_equal(out, text, size);
        assert_int_equal(out[out_size], 0);
        uqff_free(out);
    } else {
        assert_fails(code, c->code, &err, c->needle);
    }
    uqff_container_close(container);
    free(text);
    free(stream);
}

static void test_compressed_assets(void **state) {
    (void)state;
    static const struct asset_case cases[] = {
        {"{\"a\":[1,2,3]}", 13, 100, 0, 0, UQFF_OK, NULL},
        {"", 0, 1, 0, 0, UQFF_OK, NULL},
        {"0123456789abcdefghij", 20, 5, 0, 0, UQFF_OK, NULL},
        {"0123456789abcdefghij", 20, 5, 4, 0, UQFF_E_SYNTAX, "cut"},
        {"0123456789abcdefghij", 20, 5, 0, 1, UQFF_E_SYNTAX, "behind"},
        {"0", 1, 1 << 20, 0, 0, UQFF_E_LIMIT, "limit"},
    };
    const char *directory = fresh_directory("assets");
    for (size_t i = 0; i < COUNT(cases); i++) {
        check_asset(&cases[i], directory);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multi),        cmocka_unit_test(test_multi_without_default),
        cmocka_unit_test(test_multi_shards), cmocka_unit_test(test_plain),
        cmocka_unit_test(test_same_bytes),   cmocka_unit_test(test_threads),
        cmocka_unit_test(test_corpus),       cmocka_unit_test(test_corpus_names_old_files),
        cmocka_unit_test(test_shard_sets),   cmocka_unit_test(test_compressed_assets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
